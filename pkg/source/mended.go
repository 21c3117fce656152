package source

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// Bounds against files that are made to be expensive to read.
const (
	mostPages    = 1 << 20
	mostPageSize = 256 << 20
	mostFooter   = 64 << 20
	pageHead     = 16 << 20 // a page's own metadata, including statistics
)

// mended presents a Parquet file that the library cannot read in a form that it can: without metadata that it does
// not need and may fail at, with what old writers left out, and with LZ4 pages decompressed, because for those the
// library returns nothing. The new layout exists only as a table of offsets: a page is decompressed when it is
// read. It is safe for concurrent use.
type mended struct {
	at     io.ReaderAt
	pages  []page
	footer []byte
	size   int64

	mu    sync.Mutex
	cache [4]unpacked
	next  int
}

// page is one page of a column, at its place in the new layout.
type page struct {
	start  int64 // of its header in the new layout
	header []byte
	size   int64 // of its data in the new layout
	from   int64 // offset of its data in the file
	packed int64 // and its length there
	codec  format.CompressionCodec
	levels int64 // of the data, which are never compressed
}

type unpacked struct {
	page int // its index plus 1
	data []byte
}

var parquetMagic = []byte("PAR1")

// mend computes the new layout of a file with this footer.
func mend(at io.ReaderAt, raw []byte) (*mended, error) {
	m := &mended{at: at, size: int64(len(parquetMagic))}
	fields, _, err := splitStruct(raw)
	if err != nil {
		return nil, err
	}
	needed := []member{integer(1, thriftI32, 1), integer(3, thriftI64, 0), {4, thriftList, []byte{thriftStruct}}}
	fields = keep(fields, needed, 1, 2, 3, 4)
	for i, f := range fields {
		if f.id == 4 {
			if fields[i].raw, err = m.each(f.raw, m.group); err != nil {
				return nil, err
			}
		}
	}
	footer := appendStruct(fields)
	m.footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	m.footer = append(m.footer, parquetMagic...)
	m.size += int64(len(m.footer))
	return m, nil
}

// each changes the structs of a list.
func (m *mended) each(list []byte, change func([]member) ([]member, error)) ([]byte, error) {
	kind, elements, err := splitList(list)
	if err != nil || kind != thriftStruct && len(elements) > 0 {
		return nil, errThrift
	}
	for i, e := range elements {
		fields, _, err := splitStruct(e)
		if err != nil {
			return nil, err
		}
		if fields, err = change(fields); err != nil {
			return nil, err
		}
		elements[i] = appendStruct(fields)
	}
	return appendList(nil, thriftStruct, elements), nil
}

// group is a row group: its columns, its size and the number of its rows.
func (m *mended) group(fields []member) ([]member, error) {
	fields = keep(fields, []member{integer(2, thriftI64, 0), integer(3, thriftI64, 0)}, 1, 2, 3)
	if len(fields) < 3 || fields[0].kind != thriftList {
		return nil, errThrift
	}
	var err error
	fields[0].raw, err = m.each(fields[0].raw, m.chunk)
	return fields, err
}

// chunk is a column of a row group.
func (m *mended) chunk(fields []member) ([]member, error) {
	if _, elsewhere := find(fields, 1); elsewhere {
		return nil, errors.New("a column lies in another file")
	}
	fields = keep(fields, []member{integer(2, thriftI64, 0)}, 2, 3)
	if len(fields) < 2 || fields[1].kind != thriftStruct {
		return nil, errThrift
	}
	column, _, err := splitStruct(fields[1].raw)
	if err != nil {
		return nil, err
	}
	none := integer(0, thriftI64, 0)
	needed := []member{{2, thriftList, []byte{thriftI32}}, integer(4, thriftI32, 0)}
	for _, id := range []int64{5, 6, 7, 9} {
		needed = append(needed, member{id, thriftI64, none.raw})
	}
	column = keep(column, needed, 1, 2, 3, 4, 5, 6, 7, 9, 11)
	value := func(id int64) int64 { f, _ := find(column, id); return f.number() }
	codec, start := format.CompressionCodec(value(4)), value(9)
	if dictionary := value(11); dictionary > 0 && (dictionary < start || start < 4) {
		start = dictionary
	}
	base, first := m.size, len(m.pages)
	if err := m.scan(start, start+value(7), codec); err != nil {
		return nil, err
	}
	data := base
	dictionary := len(m.pages) > first && m.pages[first].isDictionary()
	if dictionary {
		data += int64(len(m.pages[first].header)) + m.pages[first].size
	}
	if codec == format.Lz4 || codec == format.Lz4Raw {
		codec = format.Uncompressed
	}
	changed := []member{integer(4, thriftI32, int64(codec)), integer(7, thriftI64, m.size-base),
		integer(9, thriftI64, data)}
	if dictionary {
		changed = append(changed, integer(11, thriftI64, base))
	}
	column = keep(changed, column, 1, 2, 3, 4, 5, 6, 7, 9)
	if dictionary {
		column = append(column, changed[3])
	}
	fields[1].raw = appendStruct(column)
	return fields, nil
}

// scan adds the pages between two places of the file to the layout.
func (m *mended) scan(at, end int64, codec format.CompressionCodec) error {
	if at == end {
		return nil // a column without rows
	}
	if at < 4 || end < at {
		return errThrift
	}
	for at < end {
		fields, n, err := readPageHead(m.at, at, end)
		if err != nil {
			return err
		}
		p, err := newPage(fields, codec)
		if err != nil {
			return err
		}
		p.from, p.start = at+int64(n), m.size
		if p.from+p.packed > end {
			return fmt.Errorf("a page has %d bytes, and its column no more than %d are left", p.packed, end-p.from)
		}
		if m.pages = append(m.pages, p); len(m.pages) > mostPages {
			return fmt.Errorf("the table has more than %d pages", mostPages)
		}
		m.size += int64(len(p.header)) + p.size
		at = p.from + p.packed
	}
	return nil
}

// readPageHead reads the metadata of a page.
func readPageHead(in io.ReaderAt, at, end int64) (fields []member, n int, err error) {
	for size := int64(1 << 10); ; size *= 8 {
		buf := make([]byte, min(size, end-at))
		k, err := in.ReadAt(buf, at)
		if err != nil && (err != io.EOF || k == 0) {
			return nil, 0, err
		}
		if fields, n, err = splitStruct(buf[:k]); err == nil {
			return fields, n, nil
		}
		if size >= pageHead || size >= end-at {
			return nil, 0, err
		}
	}
}

const (
	v1Header         = 5
	dictionaryHeader = 7
	v2Header         = 8
)

// newPage makes a page from its header. It drops the checksum, which is of the compressed bytes.
func newPage(fields []member, codec format.CompressionCodec) (p page, err error) {
	value := func(id int64) int64 { f, _ := find(fields, id); return f.number() }
	plain, packed := value(2), value(3)
	if most := max(plain, packed); plain < 0 || packed < 0 || most > mostPageSize {
		return p, fmt.Errorf("a page has %d bytes; at most %d are read", most, mostPageSize)
	}
	p = page{packed: packed, size: packed}
	if codec == format.Lz4 || codec == format.Lz4Raw {
		p.codec, p.size = codec, plain
	}
	rle := integer(0, thriftI32, 3).raw
	zero := integer(0, thriftI32, 0).raw
	out := keep(fields, []member{integer(1, thriftI32, 0)}, 1, 2)
	out = append(out, integer(3, thriftI32, p.size))
	for _, h := range fields {
		if h.id != v1Header && h.id != dictionaryHeader && h.id != v2Header || h.kind != thriftStruct {
			continue
		}
		inner, _, err := splitStruct(h.raw)
		if err != nil {
			return p, err
		}
		switch h.id {
		case v1Header:
			inner = keep(inner, []member{{1, thriftI32, zero}, {2, thriftI32, zero}, {3, thriftI32, rle}, {4, thriftI32, rle}},
				1, 2, 3, 4)
		case dictionaryHeader:
			inner = keep(inner, []member{{1, thriftI32, zero}, {2, thriftI32, zero}}, 1, 2, 3)
		case v2Header:
			number := func(id int64) int64 { f, _ := find(inner, id); return f.number() }
			if f, ok := find(inner, 7); ok && f.kind == thriftFalse && p.codec != 0 {
				p.codec, p.size = 0, packed
				out[len(out)-1] = integer(3, thriftI32, p.size)
			}
			p.levels = number(5) + number(6)
			if p.levels < 0 || p.levels > min(plain, packed) {
				return p, errThrift
			}
			unpacked := []member{{7, thriftFalse, nil}}
			if p.codec == 0 {
				unpacked = keep(inner, nil, 7)
			}
			inner = append(keep(inner, []member{{1, thriftI32, zero}, {2, thriftI32, zero}, {3, thriftI32, zero},
				{4, thriftI32, zero}, {5, thriftI32, zero}, {6, thriftI32, zero}}, 1, 2, 3, 4, 5, 6), unpacked...)
		}
		out = append(out, member{h.id, thriftStruct, appendStruct(inner)})
	}
	p.header = appendStruct(out)
	return p, nil
}

// isDictionary says whether the page holds the dictionary of its column.
func (p *page) isDictionary() bool {
	fields, _, err := splitStruct(p.header)
	if err != nil {
		return false
	}
	_, is := find(fields, dictionaryHeader)
	return is
}

// ReadAt implements io.ReaderAt over the new layout.
func (m *mended) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		k, err := m.readSome(p[n:], off+int64(n))
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (m *mended) readSome(p []byte, off int64) (int, error) {
	foot := m.size - int64(len(m.footer))
	switch {
	case off < 0 || off >= m.size:
		return 0, io.EOF
	case off < int64(len(parquetMagic)):
		return copy(p, parquetMagic[off:]), nil
	case off >= foot:
		return copy(p, m.footer[off-foot:]), nil
	}
	i, exact := slices.BinarySearchFunc(m.pages, off, func(p page, off int64) int { return cmp.Compare(p.start, off) })
	if !exact {
		i--
	}
	page := &m.pages[i]
	at := off - page.start
	if at < int64(len(page.header)) {
		return copy(p, page.header[at:]), nil
	}
	at -= int64(len(page.header))
	if page.codec == 0 {
		p = p[:min(int64(len(p)), page.size-at)]
		n, err := m.at.ReadAt(p, page.from+at)
		if n == len(p) {
			err = nil
		}
		return n, err
	}
	data, err := m.unpack(i)
	if err != nil {
		return 0, err
	}
	return copy(p, data[at:]), nil
}

// unpack returns the data of a page that is compressed with LZ4.
func (m *mended) unpack(i int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.cache {
		if c.page == i+1 {
			return c.data, nil
		}
	}
	p := &m.pages[i]
	packed := make([]byte, p.packed)
	if n, err := m.at.ReadAt(packed, p.from); n < len(packed) {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	data := make([]byte, p.size)
	copy(data, packed[:p.levels])
	if err := unLZ4(data[p.levels:], packed[p.levels:], p.codec == format.Lz4Raw); err != nil {
		return nil, fmt.Errorf("a page packed with LZ4 is damaged: %w", err)
	}
	if len(data) > mostKept {
		m.cache = [len(m.cache)]unpacked{}
	}
	m.cache[m.next] = unpacked{i + 1, data}
	m.next = (m.next + 1) % len(m.cache)
	return data, nil
}

// unLZ4 decompresses src into dst. What Parquet calls LZ4 can be one of three formats: blocks as Hadoop writes
// them, a frame as the lz4 program writes it, or a single block, as in LZ4_RAW.
// https://github.com/apache/parquet-format/blob/master/Compression.md
func unLZ4(dst, src []byte, raw bool) error {
	if len(dst) == 0 {
		return nil
	}
	if !raw {
		if unHadoop(dst, src) {
			return nil
		}
		if bytes.HasPrefix(src, []byte("\x04\x22\x4d\x18")) {
			_, err := io.ReadFull(lz4.NewReader(bytes.NewReader(src)), dst)
			return err
		}
	}
	n, err := lz4.UncompressBlock(src, dst)
	if err == nil && n != len(dst) {
		err = fmt.Errorf("it has %d bytes instead of %d", n, len(dst))
	}
	return err
}

// unHadoop decompresses Hadoop's format: frames with a length, and in each of them blocks with a length.
func unHadoop(dst, src []byte) bool {
	for len(dst) > 0 {
		if len(src) < 4 {
			return false
		}
		left := int64(binary.BigEndian.Uint32(src))
		src = src[4:]
		if left > int64(len(dst)) || left == 0 {
			return false
		}
		for left > 0 {
			if len(src) < 4 {
				return false
			}
			size := int64(binary.BigEndian.Uint32(src))
			src = src[4:]
			if size > int64(len(src)) {
				return false
			}
			n, err := lz4.UncompressBlock(src[:size], dst[:left])
			if err != nil || n == 0 {
				return false
			}
			dst, src, left = dst[n:], src[size:], left-int64(n)
		}
	}
	return len(src) == 0
}
