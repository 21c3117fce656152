package source_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/fanfold/fanfold/pkg/source"
)

type packedRow struct {
	Event string   `parquet:"event"`
	Kind  string   `parquet:"kind,dict"`
	Note  *string  `parquet:"note"`
	Tags  []string `parquet:"tags,list"`
	N     int64    `parquet:"n"`
}

func packedRows(n int) (rows []packedRow) {
	for i := range n {
		r := packedRow{Event: fmt.Sprint("e", i), Kind: "k" + fmt.Sprint(i%3), N: int64(i) << 40}
		if i%2 == 0 {
			note := strings.Repeat("n", i%97)
			r.Note, r.Tags = &note, []string{"a", "b", fmt.Sprint(i)}
		}
		rows = append(rows, r)
	}
	return rows
}

func packedTable(t testing.TB, rows []packedRow, o ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[packedRow](&b, o...)
	for i, r := range rows {
		if _, err := w.Write([]packedRow{r}); err != nil {
			t.Fatal(err)
		}
		if i == len(rows)/2 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPackedParquet: a table says the same however it is packed, from every row on.
func TestPackedParquet(t *testing.T) {
	rows := packedRows(3000)
	plain := open(t, source.Options{From: []string{write(t, "plain", packedTable(t, rows))}})
	want := mustRead(t, plain, source.Position{})
	for name, codec := range map[string]compress.Codec{"LZ4_RAW": &parquet.Lz4Raw, "snappy": &parquet.Snappy,
		"zstd": &parquet.Zstd, "gzip": &parquet.Gzip, "brotli": &parquet.Brotli} {
		for _, version := range []int{1, 2} {
			data := packedTable(t, rows, parquet.Compression(codec), parquet.DataPageVersion(version),
				parquet.PageBufferSize(2000))
			s := open(t, source.Options{From: []string{write(t, "in", data)}})
			if got := mustRead(t, s, source.Position{}); raws(got) != raws(want) {
				t.Errorf("%s, version %d: %d rows read otherwise", name, version, len(got))
			}
			for _, at := range []int{1, 1499, 1501, 2999} {
				if got := mustRead(t, s, want[at].end); raws(got) != raws(want[at+1:]) {
					t.Errorf("%s, version %d: after row %d %d rows read otherwise", name, version, at+1, len(got))
				}
			}
		}
	}
}

// TestParquetOfOthers reads what the library does not.
func TestParquetOfOthers(t *testing.T) {
	const four = `{"c0":1593604800,"c1":"abc","v11":42} {"c0":1593604800,"c1":"def","v11":7.7} ` +
		`{"c0":1593604801,"c1":"abc","v11":42.125} {"c0":1593604801,"c1":"def","v11":7.7}`
	for name, want := range map[string]string{"hadoop_lz4_compressed": four, "non_hadoop_lz4_compressed": four,
		"column_chunk_key_value_metadata": ""} {
		s := open(t, source.Options{From: []string{"testdata/parquet/" + name + ".parquet"}, Format: "segment"})
		if got := raws(mustRead(t, s, source.Position{})); got != want {
			t.Errorf("%s: read %s, want %s", name, got, want)
		}
	}
}

// TestDamagedPages: a page that cannot be unpacked costs the rows from it on, and says so.
func TestDamagedPages(t *testing.T) {
	data := packedTable(t, packedRows(3000), parquet.Compression(&parquet.Lz4Raw), parquet.PageBufferSize(2000))
	for _, at := range []int{len(data) / 3, len(data) / 2} {
		broken := bytes.Clone(data)
		for i := range 200 {
			broken[at+i] ^= 0xa5
		}
		all := mustRead(t, open(t, source.Options{From: []string{write(t, "in", broken)}}), source.Position{})
		if last := all[len(all)-1]; last.reason != source.Truncated {
			t.Errorf("damaged at %d: %d rows, the last is %+v", at, len(all), last)
		}
	}
	lost := bytes.Clone(data)
	binary.LittleEndian.PutUint32(lost[len(lost)-8:], 1<<31)
	all := mustRead(t, open(t, source.Options{From: []string{write(t, "in", lost)}}), source.Position{})
	if len(all) != 1 || all[0].reason != source.Truncated {
		t.Errorf("a footer of 2 GiB: %+v", all)
	}
}

// TestLyingFooter: a list in a footer of a few bytes that says that it has hundreds of millions of elements takes no
// memory for them.
func TestLyingFooter(t *testing.T) {
	footer := append([]byte{0x15, 0x02, 0x19, 0xfc}, binary.AppendUvarint(nil, 200_000_000)...) // version, schema
	footer = append(footer, "\x48\x01a\x00"...)
	file := append([]byte("PAR1"), footer...)
	file = append(binary.LittleEndian.AppendUint32(file, uint32(len(footer))), "PAR1"...)
	all := mustRead(t, open(t, source.Options{From: []string{write(t, "in", file)}}), source.Position{})
	if len(all) != 1 || all[0].reason != source.Truncated {
		t.Errorf("%+v", all)
	}
}

// TestLongRows: a row beyond the cap is too long, wherever it stands and whatever it stands in; the rest is read.
func TestLongRows(t *testing.T) {
	long := strings.Repeat("x", 3000)
	rows := func(places ...int) (out []packedRow) {
		for i := range 5 {
			r := packedRow{Event: fmt.Sprint("e", i)}
			for _, p := range places {
				if p == i {
					r.Kind = long
				}
			}
			out = append(out, r)
		}
		return out
	}
	for _, places := range [][]int{{0}, {2}, {4}, {0, 1, 4}} {
		in := rows(places...)
		var lines, table, list strings.Builder
		table.WriteString("event,kind\n")
		for i, r := range in {
			fmt.Fprintf(&lines, `{"type":"track","event":%q,"kind":%q}`+"\n", r.Event, r.Kind)
			fmt.Fprintf(&table, "%s,%s\n", r.Event, r.Kind)
			fmt.Fprintf(&list, `,{"type":"track","event":%q,"kind":%q}`, r.Event, r.Kind)
			if i == 0 {
				text := "[" + list.String()[1:]
				list.Reset()
				list.WriteString(text)
			}
		}
		for name, data := range map[string][]byte{"JSON lines": []byte(lines.String()), "CSV": []byte(table.String()),
			"an array": []byte(list.String() + "]"), "an envelope": []byte(`{"batch":` + list.String() + "]}"),
			"glued": []byte(strings.ReplaceAll(lines.String(), "\n", "")), "Parquet": packedTable(t, in)} {
			s := open(t, source.Options{From: []string{write(t, "in", data)}, MaxRecord: 1000})
			all := mustRead(t, s, source.Position{})
			good, bad := 0, 0
			for _, r := range all {
				switch r.reason {
				case "":
					good++
				case source.TooLong:
					bad++
				default:
					t.Errorf("%s, long at %v: %s", name, places, r.reason)
				}
			}
			if good != 5-len(places) || bad != len(places) {
				t.Errorf("%s, long at %v: %d events, %d too long", name, places, good, bad)
			}
			for i, r := range all {
				if rest := mustRead(t, s, r.end); fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
					t.Errorf("%s, long at %v: after record %d %d follow", name, places, i+1, len(rest))
				}
			}
		}
	}
}

// TestXzTakesWhatItAsksFor: a file that is packed with a small dictionary is read with one, however many there are.
func TestXzTakesWhatItAsksFor(t *testing.T) {
	var packed bytes.Buffer
	w, err := xz.WriterConfig{DictCap: lzma.MinDictCap}.NewWriter(&packed)
	if err == nil {
		_, err = w.Write([]byte(asEvent("a1") + "\n"))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".jsonl.xz")), packed.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if got := idsOf(mustRead(t, open(t, source.Options{From: []string{dir}}), source.Position{})); got != "a1 a1 a1" {
		t.Errorf("read %s", got)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 30<<20 {
		t.Errorf("%d bytes were allocated for three files", n)
	}
}
