// Package wire owns what HTTP messages are on their way: addresses to the byte, encodings of
// bodies, how answers break off, and what belongs to a connection and not to a message. It knows
// nothing of cassettes.
package wire

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// MaxBody limits how many bytes of a body are read into memory, and how many a compressed one may become.
const MaxBody = 64 << 20

// CaseHeader names the case of a request. It is never sent to a partner.
const CaseHeader = "X-Replay-Case"

// WithoutCase is a request as it is sent to a partner.
func WithoutCase(req *http.Request) *http.Request {
	if _, ok := req.Header[CaseHeader]; !ok {
		return req
	}
	live := *req
	live.Header = req.Header.Clone()
	live.Header.Del(CaseHeader)
	return &live
}

// DropConnection removes the headers that belong to a connection, and those that follow from the body.
func DropConnection(h http.Header) {
	for _, name := range []string{
		"Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Http2-Settings",
		"Accept-Encoding", "Content-Length", "X-Forwarded-For", CaseHeader,
	} {
		h.Del(name)
	}
}

// IsWebSocket is true if a request asks for a WebSocket.
func IsWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// IsGRPC is true if a request is a call of gRPC, which is a protocol of its own over
// HTTP/2. gRPC-Web does not count: its requests are ordinary ones.
func IsGRPC(r *http.Request) bool {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/grpc" || strings.HasPrefix(media, "application/grpc+")
}

// IsStream is true if bodies of a content type arrive bit by bit, with meaningful
// pauses.
func IsStream(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && slices.Contains([]string{
		"text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines",
		"application/x-jsonlines", "application/json-seq", "application/stream+json", "multipart/x-mixed-replace",
		"application/vnd.amazon.eventstream",
	}, media)
}

// ReadUpTo reads a body, but no more than limit bytes. length is its announced length,
// -1 for unknown.
func ReadUpTo(body io.Reader, length int64, limit int64) ([]byte, error) {
	var buf bytes.Buffer
	if length > 0 {
		buf.Grow(int(min(length, limit)) + bytes.MinRead) // one allocation instead of several doublings
	}
	_, err := buf.ReadFrom(io.LimitReader(body, limit))
	return buf.Bytes(), err
}

// Body is a body that is read from one place and closed at another, as its beginning was read already.
type Body struct {
	io.Reader
	io.Closer
}

// RoundTripper is a function as an [http.RoundTripper].
type RoundTripper func(*http.Request) (*http.Response, error)

func (f RoundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
