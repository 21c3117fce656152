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
// not encoded that way, or has more than limit bytes, it returns the data unchanged and ok is false.
func Decode(encoding string, data []byte, limit int64) (plain []byte, ok bool) {
	if IsIdentity(encoding) {
		return data, true
	}
	var buf bytes.Buffer
	if n, err := unpack(&buf, encoding, data, limit); err != nil || n > limit || len(data) == 0 {
		return data, false
	}
	return buf.Bytes(), true
}

// TooLarge is true if data unpacks to more than the redactor searches. It does not keep the
// unpacked data.
func TooLarge(encoding string, data []byte) bool {
	if IsIdentity(encoding) {
		return false
	}
	n, _ := unpack(io.Discard, encoding, data, redact.MaxUnpacked) // an error does not matter: only the size counts
	return n > redact.MaxUnpacked
}

// unpack writes data without its Content-Encoding, at most a byte more than limit. It returns how many.
func unpack(to io.Writer, encoding string, data []byte, limit int64) (int64, error) {
	r, err := Decoder(encoding, bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close() // frees memory
	}
	return io.Copy(to, io.LimitReader(r, limit+1))
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
