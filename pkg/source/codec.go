package source

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/pierrec/lz4/v4"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// errGarbage is returned when a complete compressed stream is followed by bytes that are neither another stream
// nor padding.
var errGarbage = errors.New("trailing bytes that are not compressed data")

// decompress recognises the compression by the first bytes, never by the name, and returns the plain stream. codec
// is "" if the object is not compressed.
func decompress(br *bufio.Reader) (r io.Reader, codec string, err error) {
	// Peeking at more than one byte may block, because a live stream may not have sent more yet. So that is done
	// only if the first byte may begin a compressed stream.
	head, _ := br.Peek(1)
	const begins = "\x1f\x28B\xfd\x04\xff\xfeO\x89P"
	if len(head) == 1 && (head[0]&0xf0 == 0x50 || strings.IndexByte(begins, head[0]) >= 0) {
		head, _ = br.Peek(10)
	}
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case has("\x1f\x8b"):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, "gzip", err
		}
		z.Multistream(false)
		return &members{br: br, next: z, reset: func() error {
			if err := z.Reset(br); err != nil {
				return err
			}
			z.Multistream(false)
			return nil
		}, magic: "\x1f\x8b"}, "gzip", nil
	case has("\x28\xb5\x2f\xfd"), len(head) >= 4 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18":
		z, err := newZstd(br)
		if err != nil {
			return nil, "zstd", err
		}
		return z, "zstd", nil
	case has("BZh"):
		return bzip2.NewReader(br), "bzip2", nil
	case has("\xfd7zXZ\x00"):
		z, err := newXZ(br)
		return z, "xz", err
	case has("\x04\x22\x4d\x18"):
		z := lz4.NewReader(br)
		again := func() error { z.Reset(br); return nil }
		return &members{br: br, next: z, reset: again, magic: "\x04\x22\x4d\x18"}, "lz4", nil
	case has("\xff\x06\x00\x00sNaPpY"), has("\xff\x06\x00\x00S2sTwO"):
		return s2.NewReader(br), "snappy", nil
	case has("\xff\xfe"):
		return wide(br, false, unicode.ExpectBOM), wideLittle, nil
	case has("\xfe\xff"):
		return wide(br, true, unicode.ExpectBOM), wideBig, nil
	case has("PAR1"):
		return nil, "Parquet", errNoPlaces
	case has("PK\x03\x04"), has("PK\x05\x06"):
		return nil, "zip", errors.New("a zip archive is read as a file of its own, and this one is damaged or " +
			"inside something else")
	case has("Obj\x01"):
		a, err := newAvro(br)
		return a, "Avro", err
	case has("\x89LZO\x00\r\n"):
		return nil, "lzo", &InputError{Err: errors.New("lzo is not read: pack it as something else first")}
	}
	return br, "", nil
}

// The names of UTF-16, by the order of its bytes.
const (
	wideLittle = "UTF-16"
	wideBig    = "UTF-16 (big-endian)"
)

// wide decodes UTF-16.
func wide(r io.Reader, big bool, mark unicode.BOMPolicy) io.Reader {
	order := unicode.LittleEndian
	if big {
		order = unicode.BigEndian
	}
	return transform.NewReader(r, unicode.UTF16(order, mark).NewDecoder())
}

// members reads compressed streams that follow each other (cat a.gz b.gz). It ignores zero padding after them, and
// distinguishes other trailing bytes from a truncated stream.
type members struct {
	br    *bufio.Reader
	next  io.Reader
	reset func() error
	magic string
	err   error
}

func (m *members) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	for {
		n, err := m.next.Read(p)
		if err != io.EOF {
			if err != nil {
				m.err = err
			}
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		head, peekErr := m.br.Peek(len(m.magic))
		switch {
		case string(head) == m.magic:
			if err := m.reset(); err != nil {
				m.err = err
				return 0, err
			}
			continue
		case len(head) == 0 && peekErr == io.EOF:
			m.err = io.EOF
		default:
			m.err = io.EOF
			for {
				b, err := m.br.ReadByte()
				if err != nil {
					break
				}
				if b != 0 {
					m.err = errGarbage
					break
				}
			}
		}
		return 0, m.err
	}
}
