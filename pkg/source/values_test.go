package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"
)

// leafOf is a column of a schema.
func leafOf(name string, kind format.Type, of format.FieldRepetitionType) format.SchemaElement {
	return format.SchemaElement{Type: some(kind), RepetitionType: some(of), Name: name}
}

// storedPage is a page of version 1 whose values are stored in one of the ways that there are.
func storedPage(how format.Encoding, values int32, data []byte) thinPage {
	p := v1Page(int32(len(data)), values, data)
	p.DataPageHeader.V.Encoding = how
	p.DataPageHeader.V.DefinitionLevelEncoding = format.RLE
	p.DataPageHeader.V.RepetitionLevelEncoding = format.RLE
	return p
}

// dictionaryOf is a page with the values of a dictionary.
func dictionaryOf(values int32, data []byte) thinPage {
	size := int32(len(data))
	return thinPage{format.PageHeader{Type: format.DictionaryPage, UncompressedPageSize: size, CompressedPageSize: size,
		DictionaryPageHeader: some(format.DictionaryPageHeader{NumValues: values})}, data}
}

// varints are numbers as they stand before runs and differences.
func varints(numbers ...uint64) (out []byte) {
	for _, n := range numbers {
		out = binary.AppendUvarint(out, n)
	}
	return out
}

// counted is data behind its length.
func counted(data []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data...)
}

const many = 1<<31 - 1

// TestHostileValues: few bytes that stand for many values are refused before these are unpacked, or the values are
// no more than may be held at once.
func TestHostileValues(t *testing.T) {
	const required, optional, repeated = format.Required, format.Optional, format.Repeated
	run := append(varints(many<<1), 0, 0, 0, 0) // of the same value
	groups := varints(1<<28<<1 | 1)             // of eight values that take no bits
	differences := varints(128, 4, many, 0)     // that take no bits
	long := counted(make([]byte, 1<<20))        // a text of 1 MiB
	snappy := func(p thinPage) thinPage {
		p.data = s2.EncodeSnappy(nil, p.data)
		p.CompressedPageSize = int32(len(p.data))
		return p
	}
	gzipped := func(data []byte) thinPage { // it says to have one byte
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(data)
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		p := storedPage(format.Plain, 1, b.Bytes())
		p.UncompressedPageSize = 1
		return p
	}
	tooMuch := gzipped(make([]byte, mostPageSize+1))
	var boastful []thinPage
	for range 40 {
		p := gzipped(joined(counted(varints(2, 1)), make([]byte, 4)))
		p.UncompressedPageSize = 32 << 20
		boastful = append(boastful, p)
	}
	v2 := func(levels []byte, deep bool) thinPage {
		h := format.DataPageHeaderV2{NumValues: 1, NumRows: 1, DefinitionLevelsByteLength: int32(len(levels))}
		if deep {
			h.RepetitionLevelsByteLength, h.DefinitionLevelsByteLength = int32(len(levels)), 0
		}
		return thinPage{format.PageHeader{Type: format.DataPageV2, UncompressedPageSize: int32(len(levels)) + 4,
			CompressedPageSize: int32(len(levels)) + 4, DataPageHeaderV2: some(h)}, append(bytes.Clone(levels), 1, 0, 0, 0)}
	}
	places := func(values int32, data []byte) thinPage { return storedPage(format.RLEDictionary, values, data) }
	oneRow := func(values uint64) thinPage { // all of them are the first of the dictionary
		return places(int32(values), joined(counted(joined(varints(2), []byte{0}, varints((values-1)<<1), []byte{1})),
			counted(append(varints(values<<1), 1)), []byte{1}, varints(values<<1), []byte{0}))
	}
	one := func(leaf format.SchemaElement, pages ...thinPage) []byte {
		return thinTable(t, format.Uncompressed, 1, []format.SchemaElement{leaf}, pages)
	}
	number, text := leafOf("n", format.Int32, required), leafOf("event", format.ByteArray, required)
	entry := dictionaryOf(1, []byte{1, 0, 0, 0})
	var wide [][]thinPage
	var wider []format.SchemaElement
	for i := range 2 {
		const most = mostPageSize / 8
		wide = append(wide, []thinPage{dictionaryOf(1, make([]byte, 8)),
			storedPage(format.RLEDictionary, most, append([]byte{1}, append(varints(most<<1), 0)...))})
		wider = append(wider, leafOf(fmt.Sprint("n", i), format.Int64, required))
	}
	const more = "more values than the 1 that it says"
	for _, tc := range []struct {
		name string
		data []byte
		want string
		most uint64 // MiB
	}{
		{"nothing wrong", one(number, entry, storedPage(format.RLEDictionary, 1, []byte{1, 2, 0})), "", 4},
		{"a run of a dictionary", one(number, entry, places(1, joined([]byte{1}, run))), more, 4},
		{"two of them", one(number, entry, storedPage(format.RLEDictionary, 1, joined([]byte{1, 2, 0}, run))), more, 4},
		{"by its old name", one(number, entry, storedPage(plainDictionary, 1, append([]byte{1}, run...))), more, 4},
		{"groups without bits", one(number, entry, places(1, joined([]byte{0}, groups))), more, 4},
		{"packed", thinTable(t, format.Snappy, 1, []format.SchemaElement{number}, []thinPage{snappy(entry),
			snappy(storedPage(format.RLEDictionary, 1, append([]byte{1}, run...)))}), more, 4},
		{"gzip that says less", thinTable(t, format.Gzip, 1, []format.SchemaElement{leafOf("n", format.Int32, optional)},
			[]thinPage{gzipped(joined(counted(varints(2, 1)), make([]byte, 4)))}), "", 4},
		{"gzip that says more", thinTable(t, format.Gzip, 41, []format.SchemaElement{leafOf("n", format.Int32, optional)},
			// 40 times 256 if it were believed; pools forget under the race detector
			boastful), "end after 40 of 41 rows", 1024},
		{"gzip of too much", thinTable(t, format.Gzip, 1, []format.SchemaElement{leafOf("n", format.Int32, optional)},
			[]thinPage{tooMuch}), "unpacks to more", 4},
		{"a run of levels", one(leafOf("n", format.Int32, optional), storedPage(format.Plain, 1, counted(run))), more, 4},
		{"of nested ones", one(leafOf("n", format.Int32, repeated), storedPage(format.Plain, 1, counted(run))), more, 4},
		{"in version 2", one(leafOf("n", format.Int32, optional), v2(run, false)), more, 4},
		{"nested in version 2", one(leafOf("n", format.Int32, repeated), v2(run, true)), more, 4},
		{"a run of booleans", one(leafOf("yes", format.Boolean, required), storedPage(format.RLE, 1, counted(run))), more, 4},
		{"a run of numbers", one(number, storedPage(format.RLE, 1, run)), errValues.Error(), 4},
		{"differences", one(number, storedPage(format.DeltaBinaryPacked, 1, differences)), more, 4},
		{"lengths of texts", one(text, storedPage(format.DeltaLengthByteArray, 1, differences)), more, 4},
		{"lengths of beginnings", one(text, storedPage(format.DeltaByteArray, 1, differences)), more, 4},
		{"beginnings of 1 MiB", one(text, storedPage(format.DeltaByteArray, 2000, beginnings(t, 2000, 1<<20))),
			"the texts of a page take more than", 8},
		{"many columns", thinTable(t, format.Uncompressed, 1, wider, wide...), "take more than 768 MiB at once", 512},
		{"a row of many long texts", thinTable(t, format.Uncompressed, 1,
			[]format.SchemaElement{leafOf("event", format.ByteArray, repeated)}, []thinPage{dictionaryOf(1, long),
				oneRow(1 << 20)}), "too long", 48},
		{"a row of many numbers", thinTable(t, format.Uncompressed, 1,
			[]format.SchemaElement{leafOf("n", format.Int32, repeated)}, []thinPage{entry,
				oneRow(1 << 22)}), "too long", 256},
		{"a footer of many parts", footerOf(1 << 20), "more than 524288 parts", 4},
		{"names of columns", one(leafOf(strings.Repeat("x", mostNames+1), format.Int32, required),
			storedPage(format.Plain, 1, make([]byte, 4))), "the names of the columns have", 256},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rows, err := readParquet(tc.data)
		runtime.ReadMemStats(&after)
		if read := rows == 1 && err == nil; read != (tc.want == "") || !read && !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s: %d rows, %v, want %q", tc.name, rows, err, tc.want)
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > tc.most {
			t.Errorf("%s: %d MiB were allocated for %d bytes, want at most %d", tc.name, took, len(tc.data), tc.most)
		}
	}
}

// beginnings are texts of this size that all are the same, of which only the first is written.
func beginnings(t testing.TB, count, size int) (out []byte) {
	shared, own := make([]int32, count), make([]int32, count)
	for i := range shared {
		shared[i] = int32(size)
	}
	shared[0], own[0] = 0, int32(size)
	for _, lengths := range [][]int32{shared, own} {
		data, err := parquet.DeltaBinaryPacked.EncodeInt32(nil, lengths)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, data...)
	}
	return append(out, make([]byte, size)...)
}

// footerOf is a file whose metadata is a list of structs in which nothing is.
func footerOf(parts int) []byte {
	footer := joined([]byte{0x49, 0xfc}, varints(uint64(parts)), make([]byte, parts), []byte{0})
	return joined([]byte("PAR1"), footer, binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), []byte("PAR1"))
}

// FuzzPageValues: whatever the bytes of a page are, no more memory is taken for it than for the values that its
// header says.
func FuzzPageValues(f *testing.F) {
	kinds := []format.Type{format.Boolean, format.Int32, format.Int64, format.Int96, format.Double, format.ByteArray,
		format.FixedLenByteArray}
	run := append(varints(many<<1), 0, 0, 0, 0)
	f.Add(uint8(1), uint8(0), uint8(8), uint16(1), []byte{1, 2, 0})
	f.Add(uint8(1), uint8(0), uint8(8), uint16(1), append([]byte{1}, run...))
	f.Add(uint8(1), uint8(1), uint8(0), uint16(3), counted(run))
	f.Add(uint8(5), uint8(0), uint8(7), uint16(300), beginnings(f, 300, 100))
	f.Add(uint8(2), uint8(0), uint8(5), uint16(4), varints(128, 4, many, 0))
	f.Add(uint8(0), uint8(2), uint8(3), uint16(9), counted(run))
	f.Fuzz(func(t *testing.T, kind, nested, how uint8, count uint16, data []byte) {
		leaf := leafOf("c", kinds[int(kind)%len(kinds)], format.FieldRepetitionType(nested%3))
		if leaf.Type.V == format.FixedLenByteArray {
			leaf.TypeLength = some(int32(8))
		}
		entry := make([]byte, 16)
		table := thinTable(t, format.Uncompressed, int64(count), []format.SchemaElement{leaf},
			[]thinPage{dictionaryOf(1, entry), storedPage(format.Encoding(how%12), int32(count), data)})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = readParquet(table)
		runtime.ReadMemStats(&after)
		if took := int64(after.TotalAlloc - before.TotalAlloc); took > 8<<20+64*int64(len(data))+256*int64(count) {
			t.Fatalf("%d bytes were allocated for %d bytes and %d values", took, len(data), count)
		}
	})
}

// TestStoredValues: what the library writes in any of its ways passes the checks, and all rows are read.
func TestStoredValues(t *testing.T) {
	type way struct {
		name string
		node parquet.Node
		how  encoding.Encoding
		one  func(*rand.Rand) parquet.Value
	}
	texts := func(r *rand.Rand) parquet.Value {
		return parquet.ByteArrayValue([]byte(strings.Repeat("shared/", r.IntN(4)) + fmt.Sprint(r.IntN(1000))))
	}
	ints := func(r *rand.Rand) parquet.Value { return parquet.Int32Value(int32(r.Uint32())) }
	longs := func(r *rand.Rand) parquet.Value { return parquet.Int64Value(int64(r.Uint64()) >> r.IntN(64)) }
	same := func(r *rand.Rand) parquet.Value { return parquet.Int64Value(int64(r.IntN(100) / 99)) }
	yes := func(r *rand.Rand) parquet.Value { return parquet.BooleanValue(r.IntN(10) == 0) }
	doubles := func(r *rand.Rand) parquet.Value { return parquet.DoubleValue(r.NormFloat64() * math.Pi) }
	ways := []way{
		{"plain texts", parquet.Leaf(parquet.ByteArrayType), &parquet.Plain, texts},
		{"a dictionary of texts", parquet.Leaf(parquet.ByteArrayType), &parquet.RLEDictionary, texts},
		{"lengths", parquet.Leaf(parquet.ByteArrayType), &parquet.DeltaLengthByteArray, texts},
		{"beginnings", parquet.Leaf(parquet.ByteArrayType), &parquet.DeltaByteArray, texts},
		{"differences", parquet.Leaf(parquet.Int32Type), &parquet.DeltaBinaryPacked, ints},
		{"long differences", parquet.Leaf(parquet.Int64Type), &parquet.DeltaBinaryPacked, longs},
		{"a dictionary of few", parquet.Leaf(parquet.Int64Type), &parquet.RLEDictionary, same},
		{"booleans", parquet.Leaf(parquet.BooleanType), &parquet.Plain, yes},
		{"runs of booleans", parquet.Leaf(parquet.BooleanType), &parquet.RLE, yes},
		{"split bytes", parquet.Leaf(parquet.DoubleType), &parquet.ByteStreamSplit, doubles},
	}
	codecs := []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Zstd, &parquet.Gzip, &parquet.Brotli}
	r := rand.New(rand.NewPCG(1, 2))
	for _, w := range ways {
		for nested, wrap := range []func(parquet.Node) parquet.Node{
			func(n parquet.Node) parquet.Node { return n }, parquet.Optional, parquet.Repeated} {
			for i, size := range []int{0, 1, 32, 33, 129, 257, 2000} {
				codec, version := codecs[i%len(codecs)], 1+r.IntN(2)
				node := wrap(parquet.Compressed(parquet.Encoded(w.node, w.how), codec))
				var file bytes.Buffer
				out := parquet.NewWriter(&file, parquet.NewSchema("t", parquet.Group{"c": node}),
					parquet.DataPageVersion(version), parquet.PageBufferSize(1000+r.IntN(4000)))
				for range size {
					var row parquet.Row
					values := [3]int{1, r.IntN(2), r.IntN(200) * r.IntN(2)}[nested]
					for k := range values {
						row = append(row, w.one(r).Level(min(k, 1), min(nested, 1), 0))
					}
					if values == 0 {
						row = append(row, parquet.NullValue().Level(0, 0, 0))
					}
					if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
						t.Fatal(err)
					}
				}
				if err := out.Close(); err != nil {
					t.Fatal(err)
				}
				if got, err := readParquet(file.Bytes()); got != size || err != nil {
					t.Errorf("%s, nesting %d, %v, version %d: %d of %d rows: %v", w.name, nested, codec, version, got, size, err)
				}
			}
		}
	}
}
