package redact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// packing is a compression, or another encoding, of a whole text.
type packing struct {
	name   string
	unpack func(s string) (plain string, err error) // errNotPacked, errLarge
	pack   func(plain string) string
}

// packings are recognised by their first bytes. Those without a signature are
// recognised because they unpack to text; they come last.
func packings() []packing { return allPackings[:] }

var allPackings = [...]packing{
	{"gzip", gunzip, compressed("gzip")},
	{"zlib", unzlib, compressed("deflate")},
	{"zstd", unzstd, compressed("zstd")},
	{"UTF-16", fromUTF16, toUTF16},
	{"brotli", unbrotli, compressed("br")},
	{"deflate", rawInflate, compressed("raw deflate")},
}

// mayBePacked is true if a text begins with bytes that plain text does not have. Packed
// data without a signature has such a byte soon.
func mayBePacked(s string) bool {
	return len(s) >= MinSecret && (traitsOf(s[:min(len(s), 64)])&(high|control) != 0 || s[0] == 'x')
}

// MaxUnpacked is how many bytes of one packed text are unpacked and searched.
// maxUnpackedAll limits the sum for one interaction, with packed data inside packed
// data. Anything larger is not searched, so the gate reports it and it is not kept.
const (
	MaxUnpacked    = 64 << 20
	maxUnpackedAll = 4 * MaxUnpacked
)

// maxWindow limits the memory that a compressed body can make the decoder use.
const maxWindow = 128 << 20

var (
	errNotPacked = errors.New("not packed in this way")
	errLarge     = errors.New("too large to be looked into")
)

// Decompress reads data in an encoding of HTTP: gzip, deflate, br or zstd.
func Decompress(encoding string, r io.Reader) (io.Reader, error) {
	switch encoding {
	case "gzip":
		return gzip.NewReader(r)
	case "deflate":
		return inflate(r)
	case "br":
		return brotli.NewReader(r), nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("unknown encoding %s", encoding)
}

// inflate reads "deflate". The standard means zlib's format, but many servers send the
// raw data without zlib's header.
func inflate(r io.Reader) (io.Reader, error) {
	head := make([]byte, 2)
	n, err := io.ReadFull(r, head)
	if err != nil {
		return nil, err
	}
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	if isZlib(string(head)) {
		return zlib.NewReader(r)
	}
	return flate.NewReader(r), nil
}

func isZlib(s string) bool { return s[0]&0x0f == 8 && (uint(s[0])<<8|uint(s[1]))%31 == 0 }

// Compress is the opposite of [Decompress]. It knows raw deflate as well.
func Compress(encoding string, data []byte) ([]byte, error) {
	var buf bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&buf)
	case "deflate":
		w = zlib.NewWriter(&buf)
	case "raw deflate":
		w, err = flate.NewWriter(&buf, flate.DefaultCompression)
	case "br":
		w = brotli.NewWriter(&buf)
	case "zstd":
		w, err = zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
	default:
		err = fmt.Errorf("unknown encoding %s", encoding)
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	return buf.Bytes(), err
}

func compressed(encoding string) func(plain string) string {
	return func(plain string) string {
		data, err := Compress(encoding, []byte(plain))
		if err != nil {
			panic(err) // the encoding is known, and writing to memory never fails
		}
		return string(data)
	}
}

// gunzip, unzlib and unzstd recognise their data by its first bytes.
func gunzip(s string) (string, error) { return opened("gzip", s, strings.HasPrefix(s, "\x1f\x8b")) }

func unzlib(s string) (string, error) { return opened("deflate", s, len(s) >= 8 && isZlib(s)) }

func unzstd(s string) (string, error) {
	return opened("zstd", s, strings.HasPrefix(s, "\x28\xb5\x2f\xfd"))
}

func opened(encoding, s string, looks bool) (string, error) {
	if !looks {
		return "", errNotPacked
	}
	r, err := Decompress(encoding, strings.NewReader(s))
	if err != nil {
		return "", errNotPacked
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close() // frees memory
	}
	return bounded(r)
}

func bounded(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxUnpacked+1))
	switch {
	case len(data) > MaxUnpacked, errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return "", errLarge
	case err != nil:
		return "", errNotPacked
	}
	return string(data), nil
}

// untold reads a stream that has no signature. It counts as packed only if all of the
// result is text.
func untold(r io.Reader) (string, error) {
	head := make([]byte, 64)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) || n < MinSecret || !IsText(string(cutRune(head[:n]))) {
		return "", errNotPacked
	}
	plain, err := bounded(io.MultiReader(bytes.NewReader(head[:n]), r))
	if err == nil && !IsText(plain) {
		err = errNotPacked
	}
	return plain, err
}

// cutRune removes an incomplete character from the end.
func cutRune(b []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if c := b[len(b)-n]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-n:]) {
				return b[:len(b)-n]
			}
			break
		}
	}
	return b
}

// opaque is true if bytes are not text, and long enough to be a stream without a
// signature.
func opaque(s string) bool {
	if len(s) < 28 { // shorter ones are ids
		return false
	}
	for i := range 24 {
		if c := s[i]; c < ' ' && c != '\n' && c != '\r' && c != '\t' || c >= 0x80 {
			return true
		}
	}
	return false
}

// brotlis and flates are pools of readers: without them, allocating their memory would
// be most of the work.
var (
	brotlis = sync.Pool{New: func() any { return brotli.NewReader(nil) }}
	flates  = sync.Pool{New: func() any { return flate.NewReader(strings.NewReader("")) }}
)

func unbrotli(s string) (string, error) {
	if !opaque(s) {
		return "", errNotPacked
	}
	z := brotlis.Get().(*brotli.Reader)
	defer brotlis.Put(z)
	if z.Reset(strings.NewReader(s)) != nil {
		return "", errNotPacked
	}
	return untold(z)
}

func rawInflate(s string) (string, error) {
	if !opaque(s) || s[0]>>1&3 == 3 { // no block has this type
		return "", errNotPacked
	}
	z := flates.Get().(io.ReadCloser)
	defer flates.Put(z)
	if z.(flate.Resetter).Reset(strings.NewReader(s), nil) != nil {
		return "", errNotPacked
	}
	return untold(z)
}
