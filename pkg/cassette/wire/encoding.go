package wire

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// encodings returns the names in a Content-Encoding, the outermost encoding first.
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

// IsIdentity is true if a Content-Encoding leaves the bytes unchanged.
func IsIdentity(s string) bool { return len(encodings(s)) == 0 }

// Decoder decodes a Content-Encoding while the data comes in.
func Decoder(encoding string, r io.Reader) (io.Reader, error) {
	for _, name := range encodings(encoding) {
		var err error
		if r, err = redact.Decompress(name, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Decode undoes a Content-Encoding. If it does not know the encoding, or the data is
// not encoded that way, it returns the data unchanged and ok is false.
func Decode(encoding string, data []byte, limit int64) (plain []byte, ok bool) {
	if IsIdentity(encoding) {
		return data, true
	}
	if len(data) == 0 {
		return data, false
	}
	r, err := Decoder(encoding, bytes.NewReader(data))
	if err != nil {
		return data, false
	}
	plain, err = io.ReadAll(io.LimitReader(r, limit+1))
	if c, isCloser := r.(io.Closer); isCloser {
		_ = c.Close() // frees memory
	}
	if err != nil || int64(len(plain)) > limit {
		return data, false
	}
	return plain, true
}

// TooLarge is true if data unpacks to more than the redactor searches. It does not keep the
// unpacked data.
func TooLarge(encoding string, data []byte) bool {
	if IsIdentity(encoding) || len(data) == 0 {
		return false
	}
	r, err := Decoder(encoding, bytes.NewReader(data))
	if err != nil {
		return false
	}
	n, _ := io.Copy(io.Discard, io.LimitReader(r, redact.MaxUnpacked+1)) // an error does not matter: only the size counts
	if c, isCloser := r.(io.Closer); isCloser {
		_ = c.Close() // frees memory
	}
	return n > redact.MaxUnpacked
}

// Encode is the opposite of Decode.
func Encode(encoding string, plain []byte) ([]byte, error) {
	for _, name := range slices.Backward(encodings(encoding)) {
		var err error
		if plain, err = redact.Compress(name, plain); err != nil {
			return nil, err
		}
	}
	return plain, nil
}

// Plain returns a body without its Content-Encoding, and removes the header once it is
// no longer true: when the body was decoded here, or was decoded already, as in many
// files of other programs. A body that stays compressed keeps the header.
func Plain(h http.Header, body string) string {
	encoding := h.Get("Content-Encoding")
	if encoding == "" {
		return body
	}
	plain, ok := Decode(encoding, []byte(body), MaxBody)
	switch {
	case ok:
		h.Del("Content-Encoding")
		return string(plain)
	case body == "", onlyKnown(encoding) && (redact.IsText(body) || !looksPacked(encoding, body)):
		h.Del("Content-Encoding")
	}
	return body
}

// looksPacked is true if a body begins with the signature of its outermost encoding.
// Encodings without a signature are assumed to be right.
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

// onlyKnown is true if every part of an encoding is known here. An unknown one may be
// anything, even plain text.
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

// DecodedAlready is [Plain] for the bodies of HAR files, which are decoded already: the
// Content-Encoding is removed, unless the body still begins with that encoding's
// signature.
func DecodedAlready(h http.Header, body string) string {
	encoding := h.Get("Content-Encoding")
	body = Plain(h, body)
	if h.Get("Content-Encoding") != "" && onlyKnown(encoding) {
		if first := encodings(encoding)[0]; first != "gzip" && first != "zstd" {
			h.Del("Content-Encoding")
		}
	}
	return body
}
