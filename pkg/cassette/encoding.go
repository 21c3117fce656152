package cassette

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encodings are the names in a Content-Encoding, the outermost first.
func encodings(s string) []string {
	var out []string
	names := strings.Split(strings.ToLower(s), ",")
	for n := len(names) - 1; n >= 0; n-- {
		if name := strings.TrimSpace(names[n]); name != "" && name != "identity" {
			out = append(out, strings.TrimPrefix(name, "x-"))
		}
	}
	return out
}

// isIdentity tells whether a Content-Encoding leaves bytes as they are.
func isIdentity(s string) bool { return len(encodings(s)) == 0 }

// decoder undoes a Content-Encoding while data comes in.
func decoder(encoding string, r io.Reader) (io.Reader, error) {
	for _, name := range encodings(encoding) {
		var err error
		switch name {
		case "gzip":
			r, err = gzip.NewReader(r)
		case "deflate":
			r, err = inflate(r)
		case "br":
			r = brotli.NewReader(r)
		case "zstd":
			var z *zstd.Decoder
			z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(redact.MaxWindow))
			if err == nil {
				r = z.IOReadCloser()
			}
		default:
			err = fmt.Errorf("unknown encoding %s", name)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// inflate reads "deflate", which is zlib's format by the standard and often
// comes without its frame.
func inflate(r io.Reader) (io.Reader, error) {
	head := make([]byte, 2)
	n, err := io.ReadFull(r, head)
	if err != nil {
		return nil, err
	}
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		return zlib.NewReader(r)
	}
	return flate.NewReader(r), nil
}

// decode undoes a Content-Encoding. ok is false, and the data as it was, where
// it is none that is known or the data is not what it says.
func decode(encoding string, data []byte, limit int64) (plain []byte, ok bool) {
	if isIdentity(encoding) {
		return data, true
	}
	if len(data) == 0 {
		return data, false
	}
	r, err := decoder(encoding, bytes.NewReader(data))
	if err != nil {
		return data, false
	}
	plain, err = io.ReadAll(io.LimitReader(r, limit+1))
	if c, isCloser := r.(io.Closer); isCloser {
		_ = c.Close() // gives memory back
	}
	if err != nil || int64(len(plain)) > limit {
		return data, false
	}
	return plain, true
}

// over tells whether data unpacks to more than is looked into. It holds none of it.
func over(encoding string, data []byte) bool {
	if isIdentity(encoding) || len(data) == 0 {
		return false
	}
	r, err := decoder(encoding, bytes.NewReader(data))
	if err != nil {
		return false
	}
	n, _ := io.Copy(io.Discard, io.LimitReader(r, redact.MaxUnpacked+1)) // what is damaged is what it is
	if c, isCloser := r.(io.Closer); isCloser {
		_ = c.Close() // gives memory back
	}
	return n > redact.MaxUnpacked
}

// encode is decode's opposite.
func encode(encoding string, plain []byte) ([]byte, error) {
	names := encodings(encoding)
	for n := len(names) - 1; n >= 0; n-- {
		var buf bytes.Buffer
		var w io.WriteCloser
		var err error
		switch names[n] {
		case "gzip":
			w = gzip.NewWriter(&buf)
		case "deflate":
			w = zlib.NewWriter(&buf)
		case "br":
			w = brotli.NewWriter(&buf)
		case "zstd":
			w, err = zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
		default:
			err = fmt.Errorf("unknown encoding %s", names[n])
		}
		if err == nil {
			_, err = w.Write(plain)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			return nil, err
		}
		plain = buf.Bytes()
	}
	return plain, nil
}

// Plain returns a body without its Content-Encoding, and drops the header that
// tells of it where it does not hold any more: where the body was decoded, and
// where it was already, as in many files that other programs write. Bytes that
// stay compressed keep it.
func Plain(h http.Header, body string) string {
	encoding := h.Get("Content-Encoding")
	if encoding == "" {
		return body
	}
	plain, ok := decode(encoding, []byte(body), maxRequest)
	switch {
	case ok:
		h.Del("Content-Encoding")
		return string(plain)
	case body == "", onlyKnown(encoding) && (isPlainText(body) || !looksPacked(encoding, body)):
		h.Del("Content-Encoding")
	}
	return body
}

// looksPacked tells whether a body begins as the outermost of its encodings
// does; those that begin in no certain way are believed.
func looksPacked(encoding, body string) bool {
	switch encodings(encoding)[0] {
	case "gzip":
		return strings.HasPrefix(body, "\x1f\x8b")
	case "zstd":
		return strings.HasPrefix(body, "\x28\xb5\x2f\xfd") || len(body) > 3 &&
			body[1:4] == "\x2a\x4d\x18" // a frame, or one to skip
	}
	return true
}

// onlyKnown tells whether all of an encoding is known here: what else it may be,
// text would show it.
func onlyKnown(encoding string) bool {
	for _, name := range encodings(encoding) {
		switch name {
		case "gzip", "deflate", "br", "zstd":
		default:
			return false
		}
	}
	return true
}

// isPlainText tells text from compressed bytes.
func isPlainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f
	})
}
