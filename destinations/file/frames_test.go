package file

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// FuzzFrames: what is cut off a part is never whole, whatever is behind it, and no more memory is taken than for a
// frame.
func FuzzFrames(f *testing.F) {
	for _, torn := range []string{"", "x", "\x28\xb5\x2f\xfd", "\x1f\x8b\x08", "\n", strings.Repeat("\x00", 4096)} {
		f.Add([]byte(`{"type":"track"}`), []byte(torn))
	}
	f.Fuzz(func(t *testing.T, line, torn []byte) {
		line = append(bytes.ReplaceAll(line, []byte("\n"), nil), '\n')
		for _, compression := range []string{"none", "gzip", "zstd"} {
			o := sender{s: &Settings{Compression: compression}}
			var whole []byte
			for range 3 {
				packed, err := o.pack(line)
				if err != nil {
					t.Fatal(err)
				}
				whole = append(whole, packed...)
			}
			all := append(bytes.Clone(whole), torn...)
			n, err := wholeFrames(bytes.NewReader(all), int64(len(all)), compression)
			if err == nil && n < int64(len(whole)) || n > int64(len(all)) {
				t.Errorf("%s: %d bytes are kept, and %d of %d are whole: %v", compression, n, len(whole), len(all), err)
			}
			for cut := range len(whole) {
				want := cut / (len(whole) / 3) * (len(whole) / 3)
				if n, err := wholeFrames(bytes.NewReader(whole[:cut]), int64(cut), compression); n != int64(want) || err != nil {
					t.Fatalf("%s, cut off after %d of %d bytes: %d are kept, %v", compression, cut, len(whole), n, err)
				}
				if cut > 200 {
					break
				}
			}
		}
	})
}

// TestHostileParts: a part that somebody else has put there, or that is damaged, takes no more memory than one of ours,
// and what was not written here stays as it is.
func TestHostileParts(t *testing.T) {
	zeros := make([]byte, 1<<20)
	squeezed := func(n int, compression string) []byte {
		var b bytes.Buffer
		if compression == "gzip" {
			w := gzip.NewWriter(&b)
			for range n {
				_, _ = w.Write(zeros)
			}
			_ = w.Close()
			return b.Bytes()
		}
		w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			_, _ = w.Write(zeros)
		}
		_ = w.Close()
		return b.Bytes()
	}
	wide := append(binary.LittleEndian.AppendUint32(nil, 0xfd2fb528), 0, 19<<3, 9, 0, 0, '\n') // a window of 512 MiB
	for _, tc := range []struct {
		name, compression string
		data              []byte
		foreign           bool
		whole             int
	}{
		{"much in few bytes", "zstd", squeezed(256, "zstd"), false, -1},
		{"much in few bytes", "gzip", squeezed(256, "gzip"), false, -1},
		{"a large window", "zstd", wide, true, -1},
		{"a large window behind a frame", "zstd", append(squeezed(1, "zstd"), wide...), true, -1},
		{"a long line", "none", bytes.Repeat([]byte("x"), 64<<20), false, 0},
		{"nothing but beginnings", "zstd", bytes.Repeat([]byte("\x28\xb5\x2f\xfd"), 1<<20), false, 0},
		{"nothing but beginnings", "gzip", bytes.Repeat([]byte("\x1f\x8b"), 1<<20), false, 0},
	} {
		part := filepath.Join(t.TempDir(), "events-000001"+extension(tc.compression)+".part")
		if err := os.WriteFile(part, tc.data, 0o600); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := (&sender{s: &Settings{Path: filepath.Dir(part), Prefix: "events", Compression: tc.compression}}).recover()
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s, %s: %v", tc.name, tc.compression, err)
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 48 {
			t.Errorf("%s, %s: %d MiB were allocated", tc.name, tc.compression, took)
		}
		name := part
		if !tc.foreign {
			name = strings.TrimSuffix(part, ".part")
		}
		if tc.whole == 0 {
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(part), "*")); err != nil || len(left) > 0 {
				t.Errorf("%s, %s: %v is left, in which nothing is: %v", tc.name, tc.compression, left, err)
			}
			continue
		}
		if tc.whole < 0 {
			tc.whole = len(tc.data)
		}
		if info, err := os.Stat(name); err != nil || info.Size() != int64(tc.whole) {
			t.Errorf("%s, %s: %v, %v, want %d bytes", tc.name, tc.compression, info, err, tc.whole)
		}
	}
}

// TestNothingWritten: a part in which nothing could be written gets no name, as an empty file can be read as none of
// any compression.
func TestNothingWritten(t *testing.T) {
	dir := t.TempDir()
	o := &sender{s: &Settings{Path: dir, Prefix: "events", Compression: "zstd", MaxBytes: 1}}
	if err := o.next(); err != nil {
		t.Fatal(err)
	}
	written := o.f
	defer written.Close()
	var err error
	if o.f, err = os.Open(written.Name()); err != nil { // so that writing fails
		t.Fatal(err)
	}
	if err = o.append([]byte("x"), time.Time{}); err == nil {
		t.Fatal("it was written to a file that is open for reading")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is there: %v", left, err)
	}
}

// TestPartsInUse: who begins to write into a folder leaves the parts that others are writing there, also those in which
// nothing stands yet, and that a killed process has left is recovered.
func TestPartsInUse(t *testing.T) {
	for _, compression := range []string{"zstd", "gzip", "none"} {
		dir := t.TempDir()
		killed := filepath.Join(dir, "events-000009"+extension(compression)+".part")
		if err := os.WriteFile(killed, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		open := func() *sender {
			return &sender{s: &Settings{Path: dir, Prefix: "events", Compression: compression, MaxBytes: 1 << 20}}
		}
		write := func(o *sender, line string) {
			t.Helper()
			data, err := o.pack([]byte(line + "\n"))
			if err == nil {
				err = o.append(data, time.Time{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		begun, some := open(), open()
		if err := begun.next(); err != nil {
			t.Fatal(err)
		}
		write(some, "one")
		if err := some.append([]byte{0x28}, time.Time{}); err != nil { // as in the middle of a frame
			t.Fatal(err)
		}
		last := open()
		write(last, "two")
		if err := some.f.Truncate(int64(some.size - 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := some.f.Seek(int64(some.size-1), 0); err != nil {
			t.Fatal(err)
		}
		write(begun, "three")
		write(some, "four")
		for _, o := range []*sender{some, last, begun} {
			if err := o.Close(); err != nil {
				t.Error(err)
			}
		}
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(names) != 3 {
			t.Errorf("%s: %v is there: %v", compression, names, err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := wholeFrames(bytes.NewReader(data), int64(len(data)), compression)
			if err != nil || whole != int64(len(data)) || strings.HasSuffix(name, ".part") {
				t.Errorf("%s: of %s %d of %d bytes are whole: %v", compression, name, whole, len(data), err)
			}
		}
	}
}
