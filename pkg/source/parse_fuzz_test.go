package source

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/stock"
)

// FuzzThrift: what is taken apart is put together again, and nothing is read beyond the end.
func FuzzThrift(f *testing.F) {
	f.Add([]byte("\x15\x02\x19\x2c\x15\x04\x00\x15\x06\x00\x18\x03abc\x11\x12\x00"))
	f.Add([]byte("\x1b\x01\x85\x02a\x04\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, n, err := splitStruct(b)
		if err != nil {
			return
		}
		again, m, err := splitStruct(appendStruct(fields))
		if err != nil || m > n+16*len(fields) || len(again) != len(fields) {
			t.Fatalf("%x: %v, %d and %d fields", b[:n], err, len(fields), len(again))
		}
		for i, f := range fields {
			if again[i].id != f.id || again[i].kind != f.kind || !bytes.Equal(again[i].raw, f.raw) {
				t.Fatalf("%x: field %d differs", b[:n], i)
			}
			if f.kind == thriftList {
				kind, elements, err := splitList(f.raw)
				if err != nil {
					continue
				}
				if back, _, err := splitList(appendList(nil, kind, elements)); err != nil || back != kind {
					t.Fatalf("%x: a list differs: %v", f.raw, err)
				}
			}
		}
	})
}

// FuzzMend: a file that is laid out anew is read, or an error; pages never lie outside of it.
func FuzzMend(f *testing.F) {
	for _, name := range []string{
		"hadoop_lz4_compressed", "non_hadoop_lz4_compressed", "column_chunk_key_value_metadata",
	} {
		data, err := os.ReadFile("testdata/parquet/" + name + ".parquet")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		footer, err := readFooter(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		m, err := mend(bytes.NewReader(data), footer)
		if err != nil {
			return
		}
		all := make([]byte, min(m.size, 1<<20))
		if n, err := m.ReadAt(all, 0); err == nil && n != len(all) {
			t.Fatalf("%d of %d bytes, and no error", n, len(all))
		}
		defer func() { _ = recover() }() // the library may panic on what is damaged; runTable expects it
		_, _ = parquet.OpenFile(m, m.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	})
}

// FuzzUnLZ4: damaged pages fill no more than their page.
func FuzzUnLZ4(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05\x00\x00\x00\x06\x50hello"), uint16(5), false)
	f.Add([]byte("\x50hello"), uint16(5), true)
	f.Fuzz(func(t *testing.T, src []byte, size uint16, raw bool) {
		codec := format.Lz4
		if raw {
			codec = format.Lz4Raw
		}
		if err := unLZ4(make([]byte, size), src, codec == format.Lz4Raw); err == nil && size > 0 && len(src) == 0 {
			t.Fatal("something out of nothing")
		}
	})
}

// FuzzZstdLength: nothing unpacks to more than what was counted for it, and what can be unpacked can be counted.
func FuzzZstdLength(f *testing.F) {
	one := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 9, 0, 0, 'x'}
	f.Add(one)
	f.Add(joined([]byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x"), one, one))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x24, 1, 9, 0, 0, 'x', 1, 2, 3, 4})
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 0x23, 0, 0, 'x'})
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(16<<20))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := d.DecodeAll(data, nil)
		if err != nil {
			return
		}
		if n, err := zstdLength(bytes.NewReader(data)); err != nil || n < int64(len(plain)) {
			t.Fatalf("% x: %d bytes (%v), and it unpacks to %d", data, n, err, len(plain))
		}
	})
}

// FuzzUnwrap: whatever lies in a record, what is yielded is an object, and ends.
func FuzzUnwrap(f *testing.F) {
	f.Add([]byte(`{"a":{"b":"{\"type\":\"track\"}"}}`), "a.b")
	f.Add([]byte(`{"a":["eyJ4IjoxfQ==",["x"],null,5]}`), "a")
	f.Add([]byte(`{"a":{"x":"H4sIAAAAAAAA/6tWqlCyMqwFAM5V/SYHAAAA"}}`), "a.*")
	f.Fuzz(func(t *testing.T, raw []byte, path string) {
		u, err := newUnwrapper(path, 1<<16)
		if err != nil || u == nil {
			return
		}
		v, err := event.ParseValue(raw)
		if err != nil || v.Kind() != event.Object {
			return
		}
		u.each(v, func(v event.Value, err error) {
			if err == nil && (v.Kind() != event.Object || event.Valid(v.Raw()) != nil) {
				t.Fatalf("%s in %s: %s", path, raw, v.Raw())
			}
		})
		if u.texts != 0 {
			t.Fatal("a text is still open")
		}
	})
}

// FuzzRow: a row of any columns is an event of a known type, or an error.
func FuzzRow(f *testing.F) {
	f.Add([]byte(`{"id":"1","event_text":"A","context_page_url":"u","context_traits_first_name":"x","products":"[1]"}`),
		"", "")
	f.Add([]byte(`{"RECEIVED_AT":"x","USER_ID":"1","context":"{\"a\":1}","context_a_b":2,"context.a.c":3}`),
		"users", "a=number")
	f.Add([]byte(`{"type":"identify","traits":"{\"address\":5}","address_city":"x","name":"n"}`), "", "")
	f.Fuzz(func(t *testing.T, raw []byte, kind, types string) {
		if kind != "" && !isTableKind(kind) {
			return
		}
		cells, err := readCellTypes([]string{types}, event.AnyOrder)
		if err != nil {
			cells = cellTypes{}
		}
		v, err := event.ParseValue(raw)
		if err != nil || v.Kind() != event.Object {
			return
		}
		m := rowMaker{kind: tableKind(kind), types: cells}
		out, err := m.event(v)
		if err != nil {
			return
		}
		ev, err := event.Parse(out)
		if err != nil || ev.TypeValue().Nullish() {
			t.Fatalf("%s makes %s: %v", raw, out, err)
		}
		if again, err := m.event(v); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%s makes %s, and then %s", raw, out, again)
		}
	})
}

// FuzzRecognise: whatever an object begins with, every reading takes it for the same.
func FuzzRecognise(f *testing.F) {
	shapes := []Shape{{Name: "queue", All: []string{"q", "body"}, Unwrap: "body"},
		{Name: "log", All: []string{"log"}, Unwrap: "log.*"},
		{Name: "wide", Columns: []string{"a", "b", "c", "d", "e"}, Filled: []string{"b"}, All: []string{"a", "b", "e"}}}
	f.Add([]byte(`{"q":1,"body":"{\"log\":{\"x\":{\"type\":\"track\"}}}"}`+"\n"), "")
	f.Add([]byte("1\t2\t\"\t4\t5\n"), "")
	f.Add([]byte("id,received_at,email,email\n1,2,3,4\n"), "latin1")
	f.Add([]byte("event,user_id\n\xe9,1\n"), "utf-8")
	f.Add([]byte(`{"Records":[{"q":1,"body":"[{\"type\":\"page\"},5]"}]}{"Records":[]}`), "")
	f.Fuzz(func(t *testing.T, data []byte, encoding string) {
		if _, err := decoderOf(encoding); err != nil {
			return
		}
		pass := func() (out []string) {
			r := &reading{ctx: context.Background(), name: "in", max: 1 << 16, pool: stock.New[Chunk](1), raw: &fault{},
				choose: newChooser(chooser{shapes: shapes, encoding: encoding, max: 1 << 16})}
			r.yield = func(c *Chunk) bool {
				for _, rec := range c.Records {
					text := string(rec.Raw)
					if rec.Err != nil {
						text = "! " + string(rec.Err.Reason)
					}
					out = append(out, text)
				}
				return true
			}
			if err := r.run(bytes.NewReader(data), Position{}); err != nil {
				out = append(out, err.Error())
			}
			return out
		}
		a, err := json.Marshal(pass())
		b, _ := json.Marshal(pass())
		if err != nil || !bytes.Equal(a, b) {
			t.Fatalf("read as\n%s\nand as\n%s", a, b)
		}
	})
}
