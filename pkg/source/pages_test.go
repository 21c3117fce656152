package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

func some[T any](v T) thrift.Null[T] { return thrift.Null[T]{V: v, Valid: true} }

// thinPage is one page of a hostile file: its header, and what follows it.
type thinPage struct {
	format.PageHeader
	data []byte
}

// v1Page is a page of data with these claims about it.
func v1Page(plain, values int32, data []byte) thinPage {
	return thinPage{format.PageHeader{Type: format.DataPage, UncompressedPageSize: plain,
		CompressedPageSize: int32(len(data)), DataPageHeader: some(format.DataPageHeader{NumValues: values})}, data}
}

// thinParquet is a file with one column of texts (or of bytes with a width), whose pages are in one row group.
func thinParquet(t testing.TB, codec format.CompressionCodec, width int32, pages ...thinPage) []byte {
	t.Helper()
	leaf := format.SchemaElement{Type: some(format.ByteArray), RepetitionType: some(format.Required), Name: "event"}
	if width > 0 {
		leaf.Type, leaf.TypeLength = some(format.FixedLenByteArray), some(width)
	}
	return thinTable(t, codec, 1, []format.SchemaElement{leaf}, pages)
}

// thinTable is a file with one row group, with these columns and the pages of each.
func thinTable(
	t testing.TB, codec format.CompressionCodec, rows int64, leaves []format.SchemaElement, columns ...[]thinPage,
) []byte {
	t.Helper()
	file := []byte("PAR1")
	group := format.RowGroup{NumRows: rows}
	for i, pages := range columns {
		at := int64(len(file))
		c := format.ColumnMetaData{Type: leaves[i].Type.V, Encoding: []format.Encoding{format.Plain}, Codec: codec,
			PathInSchema: []string{leaves[i].Name}, NumValues: rows, DataPageOffset: at}
		for _, p := range pages {
			head, err := thrift.Marshal(new(thrift.CompactProtocol), p.PageHeader)
			if err != nil {
				t.Fatal(err)
			}
			if p.Type == format.DictionaryPage {
				c.DictionaryPageOffset, c.DataPageOffset = at, at+int64(len(head)+len(p.data))
			}
			file = append(append(file, head...), p.data...)
			c.TotalUncompressedSize += int64(p.UncompressedPageSize)
		}
		c.TotalCompressedSize = int64(len(file)) - at
		group.TotalByteSize += c.TotalUncompressedSize
		group.Columns = append(group.Columns, format.ColumnChunk{MetaData: c})
	}
	root := format.SchemaElement{Name: "r", NumChildren: some(int32(len(leaves)))}
	m := format.FileMetaData{Version: 1, NumRows: rows, Schema: append([]format.SchemaElement{root}, leaves...),
		RowGroups: []format.RowGroup{group}}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), m)
	if err != nil {
		t.Fatal(err)
	}
	file = append(file, footer...)
	return append(binary.LittleEndian.AppendUint32(file, uint32(len(footer))), "PAR1"...)
}

// readParquet is how many rows a table has, and how that ended.
func readParquet(data []byte) (rows int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	if _, err = readFooter(bytes.NewReader(data), int64(len(data))); err != nil {
		return 0, err
	}
	f, err := openGuarded(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return 0, err
	}
	writer := rowWriter{most: DefaultMaxRecord}
	var json []byte
	for _, g := range f.RowGroups() {
		r := newTableRows(g, leafColumns(f.Root(), nil))
		defer r.close()
		for {
			values, long, err := r.next(writer.most)
			if err == io.EOF {
				break
			}
			if err != nil {
				return rows, err
			}
			if json = writer.group(json[:0], f.Schema(), values, 0, 0); long || len(json) > writer.most {
				return rows, errors.New("too long")
			}
			rows++
		}
	}
	return rows, nil
}

// TestHostilePages: no page takes more memory than a page may have, whatever its header and its data say.
func TestHostilePages(t *testing.T) {
	text := []byte("\x01\x00\x00\x00x")
	squeezed := func(open func(io.Writer) (io.WriteCloser, error), size int) []byte {
		var b bytes.Buffer
		w, err := open(&b)
		if err == nil {
			_, err = io.CopyN(w, zeros{}, int64(size))
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	zipped := func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }
	zstded := func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 16, 0, 0, 0, 9, 0, 0, 'x'} // it says to have 64 GiB
	good := squeezed(zstded, 4)                                                          // an empty text
	v1 := v1Page(5, 1, text)
	dictionary := thinPage{format.PageHeader{Type: format.DictionaryPage, UncompressedPageSize: 5, CompressedPageSize: 5,
		DictionaryPageHeader: some(format.DictionaryPageHeader{NumValues: 1 << 30})}, text}
	v2 := thinPage{format.PageHeader{Type: format.DataPageV2, UncompressedPageSize: 5, CompressedPageSize: 5,
		DataPageHeaderV2: some(format.DataPageHeaderV2{NumValues: 1 << 30, NumRows: 1})}, text}
	lying := v1Page(5, 1, text)
	lying.CompressedPageSize = 1 << 30
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing wrong", thinParquet(t, format.Uncompressed, 0, v1), ""},
		{"nothing wrong, snappy", thinParquet(t, format.Snappy, 0, v1Page(5, 1, s2.EncodeSnappy(nil, text))), ""},
		{"nothing wrong, zstd", thinParquet(t, format.Zstd, 0, v1Page(4, 1, good)), ""},
		{"the size of a page", thinParquet(t, format.Zstd, 0, v1Page(1<<30, 1, good)), "a page has 1073741824 bytes"},
		{"of the second page", thinParquet(t, format.Zstd, 0, v1Page(4, 1, good), v1Page(1<<30, 1, good)),
			"a page has 1073741824 bytes"},
		{"its size in the file", thinParquet(t, format.Uncompressed, 0, lying), "its column no more than 5 are left"},
		{"its values", thinParquet(t, format.Uncompressed, 0, v1Page(5, 1<<30, text)), "a page has 1073741824 values"},
		{"values of a page of version 2", thinParquet(t, format.Uncompressed, 0, v2), "a page has 1073741824 values"},
		{"values of a dictionary", thinParquet(t, format.Uncompressed, 0, dictionary), "a page has 1073741824 values"},
		{"wide values", thinParquet(t, format.Uncompressed, 1<<20, v1Page(5, 1<<12, text)), "a page has 4096 values"},
		{"snappy", thinParquet(t, format.Snappy, 0, v1Page(5, 1, binary.AppendUvarint(nil, 1<<32-1))), "unpacks to more"},
		{"zstd", thinParquet(t, format.Zstd, 0, v1Page(5, 1, frame)), "unpacks to more"},
		{"zstd, in the second frame", thinParquet(t, format.Zstd, 0, v1Page(5, 1, joined(good, frame))), "unpacks to more"},
		{"zstd, behind what is skipped", thinParquet(t, format.Zstd, 0, v1Page(5, 1,
			joined([]byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x"), frame))), "unpacks to more"},
		{"zstd of many blocks", thinParquet(t, format.Zstd, 0, v1Page(5, 1, squeezed(zstded, 300<<20))), "unpacks to more"},
		{"gzip", thinParquet(t, format.Gzip, 0, v1Page(5, 1, squeezed(zipped, 300<<20))), "unpacks to more"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rows, err := readParquet(tc.data)
		runtime.ReadMemStats(&after)
		if read := rows == 1 && err == nil; read != (tc.want == "") || !read && !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s: %d rows, %v, want %q", tc.name, rows, err, tc.want)
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 16 {
			t.Errorf("%s: %d MiB were allocated for %d bytes", tc.name, took, len(tc.data))
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
