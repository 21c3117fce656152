package source

import (
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
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// leastWidth is how many bytes of memory a value takes at least, also where equal ones take none in the file.
const leastWidth = 4

// guarded reads a Parquet file for the library, which takes the sizes in it at their word: those of a page, the number
// of its values, and what its compressed data says of itself. So no byte of a page's header is given to the library
// before these were checked. It is safe for concurrent use.
type guarded struct {
	at   io.ReaderAt
	size int64

	mu     sync.Mutex
	chunks []*guardedChunk // by where they start
	ends   []int64         // the last end of a chunk, up to this one
}

// guardedChunk is a column in a row group. Its pages follow each other.
type guardedChunk struct {
	start, end int64
	next       int64 // the header of the first page that was not checked
	err        error // what is wrong with that
	asleep     bool  // not checked before something is read at its start
	codec      format.CompressionCodec
	width      int64 // bytes of memory for a value
}

// watch begins with the checks of the file's pages. Without it none of them can be read.
func (g *guarded) watch(m *format.FileMetaData) {
	var widths []int64
	for i, e := range m.Schema {
		switch {
		case i == 0 || e.NumChildren.V > 0: // a group
		case e.Type.V == format.FixedLenByteArray:
			widths = append(widths, max(int64(e.TypeLength.V), leastWidth))
		default:
			widths = append(widths, leastWidth)
		}
	}
	for _, group := range m.RowGroups {
		for i := range group.Columns {
			c := &group.Columns[i].MetaData
			start := cmp.Or(c.DictionaryPageOffset, c.DataPageOffset)
			if start < 0 || c.TotalCompressedSize <= 0 {
				continue
			}
			chunk := guardedChunk{start: start, next: start, end: g.size, width: leastWidth, codec: c.Codec}
			if first := m.RowGroups[0].Columns; i < len(first) {
				chunk.codec = first[i].MetaData.Codec // as which the library unpacks all pages of a column
			}
			if c.TotalCompressedSize < g.size-start {
				chunk.end = start + c.TotalCompressedSize
			}
			if i < len(widths) {
				chunk.width = widths[i]
			}
			g.chunks = append(g.chunks, &chunk)
			if data := c.DataPageOffset; data > start && data < chunk.end {
				// A search for a row begins there. It is often wrong, where nobody searches.
				behind := chunk
				behind.start, behind.next, behind.asleep = data, data, true
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
		if c.asleep = c.asleep && c.start != from; c.asleep {
			continue
		}
		for c.err == nil && c.next < min(to, c.end) {
			var size int64
			if size, c.err = g.page(c); c.err == nil {
				c.next += size
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
	}
	levels, isPacked := int64(0), true
	for _, f := range fields {
		if f.kind != thriftStruct {
			continue
		}
		inner, _, bad := splitStruct(f.raw)
		if bad != nil || !distinct(inner) {
			return 0, errThrift
		}
		number := func(id int64) int64 { in, _ := find(inner, id); return in.number() }
		if most := mostPageSize / c.width; number(1) > most {
			return 0, fmt.Errorf("a page has %d values; at most %d are read", number(1), most)
		}
		if f.id == v2Header {
			flag, is := find(inner, 7)
			levels, isPacked = number(5)+number(6), !is || flag.kind != thriftFalse
		}
	}
	if levels < 0 || levels > packed {
		return 0, errThrift
	}
	if isPacked {
		at := c.next + int64(n) + levels
		err = checkPacked(c.codec, io.NewSectionReader(g.at, at, packed-levels))
	}
	return int64(n) + packed, err
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
	if err == nil {
		g.watch(f.Metadata())
	}
	return f, err
}
