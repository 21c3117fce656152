package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// smallXZ is a stream of xz whose block asks for a dictionary of this size: byte 18 is one of 2 MiB, 32 of 256 MiB, 33
// of 384 MiB, 40 of 4 GiB.
// https://tukaani.org/xz/xz-file-format.txt
func smallXZ(t testing.TB, plain string, dictionary byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.WriterConfig{DictCap: lzma.MinDictCap}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.WriteString(w, plain); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	header := b.Bytes()[12:]
	header = header[:4*(int(header[0])+1)]
	at := bytes.Index(header, []byte{0x21, 1})
	if at < 0 {
		t.Fatalf("no LZMA2 in % x", header)
	}
	header[at+2] = dictionary
	sum := len(header) - 4
	binary.LittleEndian.PutUint32(header[sum:], crc32.ChecksumIEEE(header[:sum]))
	return b.Bytes()
}

// smallZstd is a frame of one byte whose window has this exponent and mantissa.
// https://www.rfc-editor.org/rfc/rfc8878#name-window-descriptor
func smallZstd(exponent, mantissa byte) []byte {
	return []byte{0x28, 0xb5, 0x2f, 0xfd, 0, (exponent-10)<<3 | mantissa, 9, 0, 0, '\n'}
}

// TestAskingForMemory: a few bytes that ask a decoder for much memory are refused before it is taken, wherever they
// stand, and the error says which bound they exceed.
func TestAskingForMemory(t *testing.T) {
	const event = `{"type":"track"}` + "\n"
	const schema = `{"type":"record","name":"E","fields":[{"name":"type","type":"string"}]}`
	record := avroText("track")
	inAvro := func(codec string, blocks ...[]byte) []byte {
		out := avroFile(t, codec, schema)
		for _, b := range blocks {
			out = append(out, joined(avroLong(1), avroLong(int64(len(b))), b, []byte(avroSync))...)
		}
		return out
	}
	const dictionary = "dictionary is larger than 256 MiB"
	const window = "window is larger than 512 MiB"
	huge := binary.AppendUvarint(nil, 1<<32-1) // the length that a block of snappy says to have
	for _, tc := range []struct {
		name string
		data []byte
		want string // of the error; "": it is read
		most uint64 // MiB that are allocated at most
	}{
		{"xz, 4 GiB", smallXZ(t, event, 40), dictionary, 8},
		{"xz, 1.5 GiB", smallXZ(t, event, 37), dictionary, 8},
		{"xz, 384 MiB", smallXZ(t, event, 33), dictionary, 8},
		{"xz, 256 MiB", smallXZ(t, event, 32), "", 264},
		{"xz, in the second stream", joined(smallXZ(t, event, 18), smallXZ(t, event, 40)), dictionary, 16},
		{"xz, behind padding", joined(smallXZ(t, event, 18), make([]byte, 8), smallXZ(t, event, 40)), dictionary, 16},
		{"Avro and xz", inAvro("xz", smallXZ(t, string(record), 40)), dictionary, 8},
		{"Avro and xz, in the second block", inAvro("xz", smallXZ(t, string(record), 18), smallXZ(t, string(record), 40)),
			dictionary, 16},
		{"Avro and many blocks of xz", inAvro("xz", bytes.Split(bytes.Repeat(append(smallXZ(t, string(record), 26), "|||"...),
			30), []byte("|||"))[:30]...), "", 48},
		{"zstd, 3.75 TiB", smallZstd(41, 7), window, 8},
		{"zstd, 576 MiB", smallZstd(29, 1), window, 8},
		{"zstd, in the second frame", joined(smallZstd(20, 0), smallZstd(31, 0)), window, 16},
		{"zstd, 512 MiB", smallZstd(29, 0), "", 520},
		{"Avro and zstd", inAvro("zstandard", smallZstd(31, 0)), "window is larger than 64 MiB", 8},
		{"Avro and snappy", inAvro("snappy", append(huge, "\x04track1234"...)), errAvro.Error(), 8},
		{"snappy", joined([]byte("\xff\x06\x00\x00sNaPpY\x00\x0c\x00\x00sums"), huge, []byte("\x00x\x00")), "corrupt", 8},
		{"s2", joined([]byte("\xff\x06\x00\x00S2sTwO\x00\x0c\x00\x00sums"), huge, []byte("\x00x\x00")), "corrupt", 16},
		{"lz4, blocks of 4 MiB", joined([]byte("\x04\x22\x4d\x18\x60\x70\x73"), []byte{0xff, 0xff, 0x3f, 0}), "EOF", 32},
		{"bzip2, blocks of 900 kB", []byte("BZh91AY&SY\x00\x00\x00\x00\x00\xff\xff\xff"), "EOF", 16},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := readAvro(tc.data)
		runtime.ReadMemStats(&after)
		took := (after.TotalAlloc - before.TotalAlloc) >> 20
		if read := err == nil && got != ""; read != (tc.want == "") || !read && !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s: %v, want %q (read %q)", tc.name, err, tc.want, got)
		}
		if took > tc.most {
			t.Errorf("%s: %d MiB were allocated for %d bytes, want at most %d", tc.name, took, len(tc.data), tc.most)
		}
	}
}

// TestFilesOfXZ: what the xz program writes is read.
func TestFilesOfXZ(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("skipped: there is no xz program to make files with")
	}
	plain := strings.Repeat(`{"type":"track","event":"Bought","userId":"u1","properties":{"n":123456}}`+"\n", 20000)
	for _, args := range []string{"-9e", "-0", "-9e --check=none", "-6 --check=crc32", "-6 --check=sha256",
		"-1 --block-size=100000", "-T2 --block-size=300000", "-6 --flush-timeout=0", "--x86 --lzma2=preset=6",
		"--delta=dist=4 --lzma2=dict=128MiB"} {
		cmd := exec.Command("xz", append(strings.Fields(args), "-c")...)
		cmd.Stdin = strings.NewReader(plain)
		packed, err := cmd.Output()
		if err != nil {
			t.Fatalf("xz %s: %v", args, err)
		}
		for name, data := range map[string][]byte{"": packed, ", with padding and another stream": joined(packed,
			make([]byte, 16), packed)} {
			got, err := readAvro(data)
			if want := strings.Repeat(plain, len(data)/len(packed)); err != nil || got != want {
				t.Errorf("xz %s%s: %d bytes, want %d (%v)", args, name, len(got), len(want), err)
			}
		}
		for _, n := range []int{10, len(packed) / 2, len(packed) - 1} {
			if got, err := readAvro(packed[:n]); err == nil || !strings.HasPrefix(plain, got) {
				t.Errorf("xz %s, cut off after %d bytes: read %d, %v", args, n, len(got), err)
			}
		}
	}
}
