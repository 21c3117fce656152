package source

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

const (
	// leastWidth is how many bytes of memory a value takes at least, also where equal ones take none in the file.
	leastWidth = 4
	// tableMemory is what the pages of a table take at once at most: one and the dictionary of each column. Checking
	// a page takes another of [mostPageSize] for a moment.
	tableMemory = 768 << 20
	// mostNames is how many bytes the names of all columns have at most: they are in the JSON of each row.
	mostNames = 16 << 20
)

// guarded reads a Parquet file for the library, which takes the sizes in it at their word: those of a page, the number
// of its values, and what its compressed data says of itself. So no byte of a page's header is given to the library
// before these were checked. It is safe for concurrent use.
type guarded struct {
	at   io.ReaderAt
	size int64

	mu     sync.Mutex
	chunks []*guardedChunk // by where they start
	ends   []int64         // the last end of a chunk, up to this one
	group  int             // the row group that is read
	held   int64           // bytes of memory for its pages
	packed []byte          // memory for a page
	unpack unpacker
}

// guardedChunk is a column in a row group. Its pages follow each other.
type guardedChunk struct {
	start, end int64
	next       int64 // the header of the first page that was not checked
	err        error // what is wrong with that
	asleep     bool  // not checked before something is read at its start
	covered    bool  // another chunk has the same pages
	codec      format.CompressionCodec
	column     *guardedColumn
	group      int
	dictionary int64 // bytes of memory for it
	largest    int64 // and for the largest page
	behind     *guardedChunk
}

// guardedColumn is what the schema says of the values of a column.
type guardedColumn struct {
	kind                   parquet.Kind
	width                  int64 // bytes of memory for a value
	repetition, definition int
}

// leafColumns lists the columns that have values.
func leafColumns(c *parquet.Column, list []*guardedColumn) []*guardedColumn {
	if !c.Leaf() {
		for _, child := range c.Columns() {
			list = leafColumns(child, list)
		}
		return list
	}
	g := &guardedColumn{kind: c.Type().Kind(), width: leastWidth, repetition: c.MaxRepetitionLevel(),
		definition: c.MaxDefinitionLevel()}
	switch g.kind {
	case parquet.Int64, parquet.Double:
		g.width = 8
	case parquet.Int96:
		g.width = 12
	case parquet.FixedLenByteArray:
		g.width = max(int64(c.Type().Length()), leastWidth)
	}
	return append(list, g)
}

// watch begins with the checks of the file's pages. Without it none of them can be read.
func (g *guarded) watch(f *parquet.File) {
	m, columns := f.Metadata(), leafColumns(f.Root(), nil)
	for k, group := range m.RowGroups {
		for i := range min(len(group.Columns), len(columns)) {
			c := &group.Columns[i].MetaData
			start := cmp.Or(c.DictionaryPageOffset, c.DataPageOffset)
			if start < 0 || c.TotalCompressedSize <= 0 {
				continue
			}
			chunk := guardedChunk{start: start, next: start, end: g.size, column: columns[i], codec: c.Codec, group: k}
			if first := m.RowGroups[0].Columns; i < len(first) {
				chunk.codec = first[i].MetaData.Codec // as which the library unpacks all pages of a column
			}
			if c.TotalCompressedSize < g.size-start {
				chunk.end = start + c.TotalCompressedSize
			}
			g.chunks = append(g.chunks, &chunk)
			if data := c.DataPageOffset; data > start && data < chunk.end {
				// A search for a row begins there. It is often wrong, where nobody searches.
				behind := chunk
				behind.start, behind.next, behind.asleep = data, data, true
				chunk.behind = &behind
				g.chunks = append(g.chunks, &behind)
			}
		}
	}
	slices.SortStableFunc(g.chunks, func(a, b *guardedChunk) int { return cmp.Compare(a.start, b.start) })
	end := int64(math.MinInt64)
	for _, c := range g.chunks {
		end = max(end, c.end)
		g.ends = append(g.ends, end)
	}
}

// ReadAt implements [io.ReaderAt].
func (g *guarded) ReadAt(p []byte, off int64) (int, error) {
	end, refused := g.check(off, off+int64(len(p)))
	n, err := g.at.ReadAt(p[:max(0, end-off)], off)
	if err == nil && refused != nil {
		err = refused
	}
	return n, err
}

// check checks the pages whose headers are between two places. It returns where what can be read ends, and why.
func (g *guarded) check(from, to int64) (int64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var refused error
	behind, _ := slices.BinarySearchFunc(g.chunks, to, func(c *guardedChunk, to int64) int {
		return cmp.Compare(c.start, to)
	})
	for i := behind - 1; i >= 0 && g.ends[i] > from; i-- {
		c := g.chunks[i]
		if c.asleep = c.asleep && c.start != from; c.asleep || c.covered {
			continue
		}
		for c.err == nil && c.next < min(to, c.end) {
			var size int64
			if size, c.err = g.page(c); c.err == nil {
				c.next += size
				if c.behind != nil && c.next == c.behind.start && c.behind.err == nil {
					c.behind.covered = true
				}
			}
		}
		if c.err != nil && c.next < to {
			to, refused = c.next, c.err
		}
	}
	return to, refused
}

// page checks the next page of a chunk, and returns its size with its header.
func (g *guarded) page(c *guardedChunk) (int64, error) {
	fields, n, err := readPageHead(g.at, c.next, c.end)
	if err != nil {
		return 0, err
	}
	value := func(id int64) int64 { f, _ := find(fields, id); return f.number() }
	plain, packed := value(2), value(3)
	switch {
	case !distinct(fields) || plain < 0 || packed < 0:
		return 0, errThrift
	case plain > mostPageSize:
		return 0, fmt.Errorf("a page has %d bytes; at most %d are read", plain, mostPageSize)
	case packed > c.end-c.next-int64(n):
		return 0, fmt.Errorf("a page has %d bytes, and its column no more than %d are left", packed, c.end-c.next-int64(n))
	case packed > mostPageSize:
		return 0, fmt.Errorf("a page has %d bytes; at most %d are read", packed, mostPageSize)
	}
	for _, f := range fields {
		if f.kind != thriftStruct || f.id != v1Header && f.id != dictionaryHeader && f.id != v2Header {
			continue
		}
		inner, _, bad := splitStruct(f.raw)
		if bad != nil || !distinct(inner) {
			return 0, errThrift
		}
		if err = g.values(c, f.id, inner, c.next+int64(n), packed, plain); err != nil {
			return 0, err
		}
	}
	return int64(n) + packed, nil
}

// values checks the data of a page with a header of this kind.
func (g *guarded) values(c *guardedChunk, kind int64, header []member, at, packed, plain int64) error {
	number := func(id int64) int64 { in, _ := find(header, id); return in.number() }
	p := pageValues{kind: c.column.kind, count: number(1), encoding: format.Encoding(number(2))}
	if most := mostPageSize / c.column.width; p.count < 0 || p.count > most {
		return fmt.Errorf("a page has %d values; at most %d are read", p.count, most)
	}
	isPacked := true
	switch kind {
	case v1Header:
		p.levels = [2]level{{c.column.repetition, format.Encoding(number(4))},
			{c.column.definition, format.Encoding(number(3))}}
	case dictionaryHeader:
		if p.encoding == plainDictionary {
			p.encoding = format.Plain
		}
	case v2Header:
		p.encoding = format.Encoding(number(4))
		p.levels = [2]level{{c.column.repetition, format.RLE}, {c.column.definition, format.RLE}}
		flag, is := find(header, 7)
		isPacked = !is || flag.kind != thriftFalse
		for i, size := range [2]int64{number(6), number(5)} {
			if size < 0 || size > packed {
				return errThrift
			}
			data, err := g.read(at, size)
			if err == nil {
				err = p.checkLevels(p.levels[i], data)
			}
			if err != nil {
				return err
			}
			at, packed = at+size, packed-size
			p.levels[i].most = 0
		}
	}
	size, beside, err := plain, plain, error(nil)
	if codec := c.codec; !p.expands() {
		if isPacked {
			err = checkPacked(codec, io.NewSectionReader(g.at, at, packed))
		}
	} else {
		size, beside, err = g.unpackedValues(&p, codec, isPacked, at, packed, plain)
	}
	if err != nil {
		return err
	}
	return g.hold(c, kind == dictionaryHeader, max(plain, size)+beside+packed+p.count*(c.column.width+2))
}

// unpackedValues unpacks the data of a page and returns its length, and how many bytes its values take beside it.
func (g *guarded) unpackedValues(
	p *pageValues, codec format.CompressionCodec, isPacked bool, at, packed, plain int64,
) (size, beside int64, err error) {
	if isPacked && packed > 0 && codec != format.Gzip && codec != format.Brotli { // those are bounded while they are read
		if err = checkPacked(codec, io.NewSectionReader(g.at, at, packed)); err != nil {
			return 0, 0, err
		}
	}
	data, err := g.read(at, packed)
	if err == nil && isPacked && packed > 0 {
		data, err = g.unpack.page(codec, data, plain)
	}
	if err != nil {
		return 0, 0, err
	}
	rest, err := p.cutLevels(data)
	if err == nil {
		beside, err = p.memory(rest)
	}
	return int64(len(data)), beside, err
}

// read reads bytes of the file. They are valid until the next call.
func (g *guarded) read(at, size int64) ([]byte, error) {
	buf := g.packed
	if size > int64(cap(buf)) {
		if buf = make([]byte, size); size <= mostKept {
			g.packed = buf
		}
	}
	n, err := g.at.ReadAt(buf[:size], at)
	if int64(n) == size {
		return buf[:n], nil
	}
	return nil, cmp.Or(err, io.ErrUnexpectedEOF)
}

// hold counts the memory of a page, and of all that are held with it: the dictionary and a page of each column of the
// row group.
func (g *guarded) hold(c *guardedChunk, dictionary bool, size int64) error {
	if g.group != c.group {
		g.group, g.held = c.group, 0
	}
	part := &c.largest
	if dictionary {
		part = &c.dictionary
	}
	g.held -= min(g.held, *part)
	*part = max(*part, size)
	if g.held += *part; g.held > tableMemory {
		return fmt.Errorf("the pages of its columns take more than %d MiB at once, the most that is read", tableMemory>>20)
	}
	return nil
}

// distinct says whether no field is there twice: readers do not agree which one counts.
func distinct(fields []member) bool {
	for i, f := range fields {
		if slices.ContainsFunc(fields[:i], func(o member) bool { return o.id == f.id }) {
			return false
		}
	}
	return true
}

// unpacker unpacks the data of pages. Its memory is used again.
type unpacker struct {
	zstd  *zstd.Decoder
	plain []byte
}

// mostKept is the size of a buffer that is kept for the next page.
const mostKept = 4 << 20

// usualRatio is how much larger than its packed data a page usually is at most. One that is larger is unpacked twice.
const usualRatio = 16

// page unpacks the data of a page, which says to have a size when it is unpacked. Data of Snappy and zstd was checked
// by [checkPacked] before. The result is valid until the next call.
func (u *unpacker) page(codec format.CompressionCodec, data []byte, size int64) (plain []byte, err error) {
	size = min(size, usualRatio*int64(len(data))) // what it says costs nothing to say
	switch codec {
	case format.Snappy:
		plain, err = s2.Decode(u.plain[:cap(u.plain)], data)
	case format.Zstd:
		if u.zstd == nil {
			if u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxMemory(mostPageSize)); err != nil {
				return nil, err
			}
		}
		plain, err = u.zstd.DecodeAll(data, u.plain[:0])
	case format.Gzip:
		plain, err = u.all(size, func() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(data)) })
	case format.Brotli:
		plain, err = u.all(size, func() (io.Reader, error) { return brotli.NewReader(bytes.NewReader(data)), nil })
	default:
		return data, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the packed data of a page is damaged: %w", err)
	}
	if cap(plain) <= mostKept {
		u.plain = plain
	}
	return plain, nil
}

// all reads a stream that says to have a size. One that has more is read once more, when it is known how much. That it
// ends too early is left to the library.
func (u *unpacker) all(size int64, open func() (io.Reader, error)) ([]byte, error) {
	for {
		in, err := open()
		if err != nil {
			return nil, err
		}
		buf := u.plain[:cap(u.plain)]
		if int64(len(buf)) <= size {
			buf = make([]byte, size+1)
		}
		n, err := io.ReadFull(in, buf)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return buf[:n], nil
		}
		if err != nil {
			return nil, err
		}
		if size = int64(n) + unpackedLength(in); size > mostPageSize {
			return nil, fmt.Errorf("a page unpacks to more than %d bytes, the most that is read", mostPageSize)
		}
	}
}

// checkPacked returns an error if the compressed data of a page unpacks to more than a page may have, whatever the
// page says.
func checkPacked(codec format.CompressionCodec, in *io.SectionReader) error {
	var plain int64
	var err error
	switch codec {
	case format.Snappy:
		var head [binary.MaxVarintLen64]byte
		n, _ := in.ReadAt(head[:], 0)
		size, _ := binary.Uvarint(head[:n])
		plain = int64(min(size, math.MaxInt64))
	case format.Zstd:
		plain, err = zstdLength(in)
	case format.Gzip:
		if in.Size() <= mostPageSize/1032 { // the most that DEFLATE unpacks to
			return nil
		}
		if z, bad := gzip.NewReader(in); bad == nil {
			plain = unpackedLength(z)
		}
	case format.Brotli:
		plain = unpackedLength(brotli.NewReader(in))
	}
	if plain > mostPageSize {
		return fmt.Errorf("a page unpacks to more than %d bytes, the most that is read", mostPageSize)
	}
	return err
}

// unpackedLength counts the bytes of a stream that says nothing about them. That it is damaged is left to its reader.
func unpackedLength(plain io.Reader) int64 {
	n, _ := io.Copy(io.Discard, io.LimitReader(plain, mostPageSize+1))
	return n
}

// zstdLength returns how many bytes frames of zstd have at most, by the headers of the frames and of their blocks.
// https://www.rfc-editor.org/rfc/rfc8878
func zstdLength(in io.ReaderAt) (plain int64, err error) {
	for at := int64(0); plain <= mostPageSize; {
		var head [zstd.HeaderMaxSize]byte
		n, err := in.ReadAt(head[:], at)
		if n == 0 && err == io.EOF {
			return plain, nil
		}
		var h zstd.Header
		if err := h.Decode(head[:n]); err != nil {
			return 0, err
		}
		at += int64(h.HeaderSize)
		if h.Skippable {
			at += int64(h.SkippableSize)
			continue
		}
		sum := int64(0)
		for last := false; !last; {
			var b [4]byte
			if n, err := in.ReadAt(b[:3], at); n < 3 {
				return 0, errors.Join(err, io.ErrUnexpectedEOF)
			}
			block := int64(binary.LittleEndian.Uint32(b[:]))
			size := block >> 3
			last = block&1 == 1
			at += 3
			switch block >> 1 & 3 {
			case 0:
				sum, at = sum+size, at+size
			case 1:
				sum, at = sum+size, at+1
			default:
				sum, at = sum+(128<<10), at+size // no block has more
			}
		}
		if h.HasCheckSum {
			at += 4
		}
		if h.HasFCS {
			// It is taken at its word, and what it does not announce is not unpacked.
			sum = int64(min(h.FrameContentSize, math.MaxInt32))
		}
		plain += sum
	}
	return plain, nil
}

// openGuarded opens a table.
func openGuarded(at io.ReaderAt, size int64) (*parquet.File, error) {
	g := &guarded{at: at, size: size}
	f, err := parquet.OpenFile(g, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	names := 0
	for _, e := range f.Metadata().Schema {
		names += len(e.Name)
	}
	if names > mostNames {
		return nil, fmt.Errorf("the names of the columns have %d bytes; at most %d are read", names, mostNames)
	}
	g.watch(f)
	return f, nil
}
