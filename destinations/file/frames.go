package file

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is the most memory that a frame may ask for. What [sender.pack] writes asks for 8 MiB at most.
const maxWindow = 64 << 20

// errForeign says that a file was not written by this package.
var errForeign = errors.New("it was packed by another program")

// wholeFrames returns how many bytes of a file are whole frames: what a killed process had finished writing. Its
// memory is bounded, whatever the file holds.
func wholeFrames(f io.ReaderAt, size int64, compression string) (int64, error) {
	switch compression {
	case "none":
		return wholeLines(f, size)
	case "gzip":
		return wholeMembers(f, size)
	}
	return wholeZstd(f, size)
}

// wholeLines looks for the end of the last line, from the end on.
func wholeLines(f io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		part := buf[:min(end, int64(len(buf)))]
		if n, err := f.ReadAt(part, end-int64(len(part))); n < len(part) {
			return 0, err
		}
		if at := bytes.LastIndexByte(part, '\n'); at >= 0 {
			return end - int64(len(part)) + int64(at) + 1, nil
		}
		end -= int64(len(part))
	}
	return 0, nil
}

func wholeMembers(f io.ReaderAt, size int64) (whole int64, err error) {
	in := &counted{r: bufio.NewReader(io.NewSectionReader(f, 0, size))}
	var z gzip.Reader
	for whole < size {
		if z.Reset(in) != nil {
			break
		}
		z.Multistream(false)
		if _, err := io.Copy(io.Discard, &z); err != nil {
			break
		}
		whole = in.n
	}
	return whole, in.failed
}

// counted counts the bytes that were taken. It is read byte by byte, so that none is taken beyond the end of a member.
type counted struct {
	r      *bufio.Reader
	n      int64
	failed error // of reading the file
}

func (c *counted) note(n int, err error) error {
	if c.n += int64(n); err != nil && err != io.EOF {
		c.failed = err
	}
	return err
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	return n, c.note(n, err)
}

func (c *counted) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err != nil {
		return 0, c.note(0, err)
	}
	return b, c.note(1, nil)
}

// wholeZstd looks for the end of each frame, and unpacks it to see whether it is undamaged.
func wholeZstd(f io.ReaderAt, size int64) (whole int64, err error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return 0, err
	}
	defer dec.Close()
	for whole < size {
		end, err := frameEnd(f, whole, size)
		if err != nil {
			return whole, err
		}
		if end < 0 {
			break
		}
		if err = dec.Reset(bufio.NewReader(io.NewSectionReader(f, whole, end-whole))); err == nil {
			_, err = io.Copy(io.Discard, dec)
		}
		if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			return whole, errForeign
		}
		if err != nil {
			break
		}
		whole = end
	}
	return whole, nil
}

// frameEnd returns where a frame ends, by the lengths of its blocks; -1: it is torn, or none.
// https://www.rfc-editor.org/rfc/rfc8878
func frameEnd(f io.ReaderAt, at, size int64) (int64, error) {
	var head [zstd.HeaderMaxSize]byte
	n, err := f.ReadAt(head[:min(size-at, int64(len(head)))], at)
	if err != nil && err != io.EOF {
		return 0, err
	}
	var h zstd.Header
	if h.Decode(head[:n]) != nil {
		return -1, nil
	}
	if h.Skippable {
		return 0, errForeign
	}
	at += int64(h.HeaderSize)
	for last := false; !last; {
		var b [4]byte
		if n, err := f.ReadAt(b[:3], at); n < 3 {
			if err == io.EOF {
				return -1, nil
			}
			return 0, err
		}
		block := int64(binary.LittleEndian.Uint32(b[:]))
		last = block&1 == 1
		at += 3
		if block>>1&3 == 1 { // one byte that is repeated
			at++
		} else {
			at += block >> 3
		}
	}
	if h.HasCheckSum {
		at += 4
	}
	if at > size {
		return -1, nil
	}
	return at, nil
}
