package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// pageValues is what a page of a Parquet file says of its values. Few bytes may stand for any number of them: runs
// of equal values, numbers that are stored as differences, texts that share their beginnings.
// https://parquet.apache.org/docs/file-format/data-pages/encodings/
type pageValues struct {
	kind     parquet.Kind
	count    int64 // of the values, by the page's header
	encoding format.Encoding
	levels   [2]level // of repetition and of definition
}

// level is how deep the values of a column may be nested.
type level struct {
	most     int
	encoding format.Encoding
}

var errValues = errors.New("the values of a page are damaged")

// most is how many values are unpacked of a page: some writers fill the last group.
func (p *pageValues) most() int64 { return 2*p.count + 4096 }

func (p *pageValues) tooMany() error {
	return fmt.Errorf("a page unpacks to more values than the %d that it says to have", p.count)
}

// expands says whether the values may take more memory than the bytes that they are in.
func (p *pageValues) expands() bool {
	plain := p.encoding == format.Plain || p.encoding == format.ByteStreamSplit
	return !plain || p.levels[0].most > 0 || p.levels[1].most > 0
}

// cutLevels cuts the levels off the data of a page of version 1, where each begins with its length.
func (p *pageValues) cutLevels(data []byte) (rest []byte, err error) {
	for _, l := range p.levels {
		if l.most == 0 {
			continue
		}
		if len(data) < 4 {
			return nil, errValues
		}
		size := uint64(binary.LittleEndian.Uint32(data))
		if data = data[4:]; size > uint64(len(data)) {
			return nil, errValues
		}
		if err := p.checkLevels(l, data[:size]); err != nil {
			return nil, err
		}
		data = data[size:]
	}
	return data, nil
}

// checkLevels returns an error if there are more levels than values. Packed bits cannot be more than eight times as
// many as their bytes.
func (p *pageValues) checkLevels(l level, data []byte) error {
	if l.most == 0 || l.encoding == format.BitPacked {
		return nil
	}
	_, err := p.runs(data, uint64(bits.Len(uint(l.most))))
	return err
}

// plainDictionary is what writers of the first version of the format call RLEDictionary in pages of values, and Plain
// in those of dictionaries.
//
//lint:ignore SA1019 such files are still there
const plainDictionary = format.PlainDictionary

// memory returns how many bytes the values take at most beside the page's data.
func (p *pageValues) memory(data []byte) (int64, error) {
	switch p.encoding {
	case format.Plain, format.ByteStreamSplit:
		return int64(len(data)), nil // with the places of texts
	case format.RLEDictionary, plainDictionary:
		if len(data) == 0 {
			return 0, nil
		}
		n, err := p.runs(data[1:], uint64(data[0]))
		return 4 * n, err
	case format.RLE:
		if p.kind != parquet.Boolean || len(data) < 4 {
			return 0, errValues
		}
		return p.runs(data[4:], 1)
	case format.DeltaBinaryPacked:
		d := deltas{rest: data}
		err := d.head(p)
		return 8 * d.left, err
	case format.DeltaLengthByteArray:
		d := deltas{rest: data}
		err := d.head(p)
		return 16 * d.left, err
	case format.DeltaByteArray:
		// Each text begins with a part of the one before it: only the lengths say how long all of them are.
		d := deltas{rest: data}
		shared, err := d.sum(p)
		if err != nil {
			return 0, err
		}
		own, err := d.sum(p)
		return 32*p.most() + shared + own, err
	}
	return 0, fmt.Errorf("the values of a page are stored as %v, which is not read", p.encoding)
}

// runs counts values of a number of bits that are stored as runs of equal ones and as groups of eight.
func (p *pageValues) runs(data []byte, width uint64) (n int64, err error) {
	for len(data) > 0 {
		head, k := binary.Uvarint(data)
		if k <= 0 || width > 32 {
			return 0, errValues
		}
		count, size := head>>1, (width+7)/8
		if count > uint64(p.most()) {
			return 0, p.tooMany()
		}
		if head&1 == 1 {
			size = count * width
			count *= 8
		}
		if n += int64(count); n > p.most()+8 {
			return 0, p.tooMany()
		}
		data = data[k:]
		data = data[min(size, uint64(len(data))):]
	}
	return n, nil
}

// deltas are numbers that are stored as differences, in blocks with a number of bits for each part.
type deltas struct {
	rest  []byte
	left  int64 // numbers that were not read
	parts int64 // of a block
	each  int64 // numbers in a part
	last  int64
}

// head reads what stands before the first block.
func (d *deltas) head(p *pageValues) error {
	var head [3]uint64
	for i := range head {
		n, k := binary.Uvarint(d.rest)
		if k <= 0 {
			return errValues
		}
		head[i], d.rest = n, d.rest[k:]
	}
	block, parts, count := head[0], head[1], head[2]
	first, k := binary.Varint(d.rest)
	if k <= 0 || block > 1<<16 || parts == 0 || parts > block || block/parts%32 != 0 {
		return errValues
	}
	if count > uint64(p.most()) {
		return p.tooMany()
	}
	d.rest, d.last = d.rest[k:], first
	d.left, d.parts, d.each = int64(count), int64(parts), int64(block/parts)
	return nil
}

// sum reads all numbers and adds them. They are lengths: none is negative.
func (d *deltas) sum(p *pageValues) (sum int64, err error) {
	if err := d.head(p); err != nil || d.left == 0 {
		return 0, err
	}
	sum = d.last
	for d.left--; d.left > 0; {
		least, k := binary.Varint(d.rest)
		if k <= 0 {
			return 0, errValues
		}
		d.rest = d.rest[k:]
		widths := d.rest[:min(d.parts, int64(len(d.rest)))]
		d.rest = d.rest[len(widths):]
		if len(widths) == 0 {
			return 0, errValues
		}
		for _, width := range widths {
			if d.left == 0 {
				break
			}
			if width > 32 {
				return 0, errValues
			}
			part := d.rest[:min(d.each*int64(width)/8, int64(len(d.rest)))]
			d.rest = d.rest[len(part):]
			n := min(d.each, d.left)
			for i := range n {
				d.last += least + int64(bitsAt(part, i*int64(width), int64(width)))
				if sum += d.last; d.last < 0 || d.last > math.MaxInt32 || sum > mostPageSize {
					return 0, fmt.Errorf("the texts of a page take more than %d bytes, the most that is read", mostPageSize)
				}
			}
			d.left -= n
		}
	}
	return sum, nil
}

// bitsAt is a number of at most 32 bits at a place in packed bits, the lowest ones first. Behind the end there are
// zeros.
func bitsAt(packed []byte, at, width int64) uint64 {
	var word [8]byte
	if first := at / 8; first < int64(len(packed)) {
		copy(word[:], packed[first:])
	}
	return binary.LittleEndian.Uint64(word[:]) >> (at % 8) & (1<<width - 1)
}
