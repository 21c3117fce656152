package destination

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/secret"
)

func itoa(n int) string { return strconv.Itoa(n) }

// content is a request body. It is either bytes in memory, or the items of deliveries with what stands around and
// between them; these are joined into one buffer only for readers that need all of it at once.
type content struct {
	mu     sync.Mutex
	buf    []byte
	made   *[]byte // the buffer from the pool that buf is in
	off    int     // how much of buf, or of the current piece, has been read
	read   bool    // by a transport
	closed bool
	again  *content // a second reader of the same body

	// The items belong to the deliveries, so they may be read only until the request is answered.
	items            []*Delivery // nil: it is all in buf
	open, sep, close []byte
	next             int // piece to read: open, then items with sep between them, then close
}

// piece returns the next unread piece, or several if they lie next to each other in memory, and what is next after
// it; ok is false after the last one.
func (b *content) piece() (piece []byte, next int, ok bool) {
	n := 2 * len(b.items)
	next = b.next + 1
	switch {
	case b.next == 0:
		return b.open, next, true
	case b.next < n && b.next&1 == 1:
		piece = b.items[b.next/2].Item
		for ; next < n; next += 2 {
			all, ok := joined(piece, b.sep, b.items[next/2].Item)
			if !ok {
				break
			}
			piece = all
		}
		return piece, next, true
	case b.next < n:
		return b.sep, next, true
	case b.next == n:
		return b.close, next, true
	}
	return nil, next, false
}

// joined returns an item with a separator and another item, if that is what lies in the item's memory behind it.
func joined(item, sep, other []byte) (all []byte, ok bool) {
	at := len(item) + len(sep)
	if len(other) == 0 || cap(item) < at+len(other) {
		return nil, false
	}
	all = item[:at+len(other)]
	return all, &all[at] == &other[0] && string(all[len(item):at]) == string(sep)
}

var errClosed = errors.New("request body read after it was closed")

// Read implements io.Reader. It locks because a transport may close the body of a cancelled request while it still
// reads it.
func (b *content) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errClosed
	}
	b.read = true
	if b.items == nil {
		n = copy(p, b.buf[b.off:])
		b.off += n
	} else {
		for n < len(p) {
			piece, next, ok := b.piece()
			if !ok {
				break
			}
			k := copy(p[n:], piece[b.off:])
			n += k
			if b.off += k; b.off == len(piece) {
				b.next, b.off = next, 0
			}
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Len is how many bytes are left to read.
func (b *content) Len() int {
	n, _ := b.left()
	return n
}

// left is how many bytes are left to read, and in how many pieces they lie.
func (b *content) left() (bytes, pieces int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.items == nil {
		return len(b.buf) - b.off, 1
	}
	bytes = -b.off
	for rest := (&content{items: b.items, open: b.open, sep: b.sep, close: b.close, next: b.next}); ; pieces++ {
		piece, next, ok := rest.piece()
		if !ok {
			return bytes, pieces
		}
		bytes, rest.next = bytes+len(piece), next
	}
}

// WriteTo implements io.WriterTo: a connection takes the items from where they lie. The lock is held while it does,
// so that a body is not closed, and its items are not reused, before. Whoever closes a body early closes its
// connection first, so nobody waits for a partner that reads no more.
//
// Many small pieces are copied together first: the system takes longer for each of them than for a copy.
func (b *content) WriteTo(w io.Writer) (n int64, err error) {
	if bytes, pieces := b.left(); pieces > 1 && bytes < pieces*smallPiece {
		step := steps.Get().(*[writeStep]byte)
		defer steps.Put(step)
		return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{b}, step[:])
	}
	room := rooms.Get().(*[mostPieces][]byte)
	defer rooms.Put(room)
	for {
		k, err := b.writeSome(w, room[:0])
		if n += k; k == 0 || err != nil {
			return n, err
		}
	}
}

const (
	mostPieces = 512       // are written at once
	smallPiece = 512       // bytes that pieces have at least, on the average, to be written from where they lie
	writeStep  = 256 << 10 // bytes of smaller ones that are written at once
)

var (
	rooms = sync.Pool{New: func() any { return new([mostPieces][]byte) }}
	steps = sync.Pool{New: func() any { return new([writeStep]byte) }}
)

// writeSome writes as many pieces as there is room for; 0: everything was written before.
func (b *content) writeSome(w io.Writer, room net.Buffers) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errClosed
	}
	b.read = true
	if b.items == nil {
		n, err := w.Write(b.buf[b.off:])
		b.off += n
		return int64(n), err
	}
	for len(room) < cap(room) {
		piece, next, ok := b.piece()
		if !ok {
			break
		}
		room = append(room, piece[b.off:])
		b.next, b.off = next, 0
	}
	return room.WriteTo(w)
}

// size is the length of the whole body.
func (b *content) size() int {
	if b.items == nil {
		return len(b.buf)
	}
	n := len(b.open) + len(b.sep)*(len(b.items)-1) + len(b.close)
	for _, d := range b.items {
		n += len(d.Item)
	}
	return n
}

// append appends the whole body.
func (b *content) append(dst []byte) []byte {
	if b.items == nil {
		return append(dst, b.buf...)
	}
	dst = append(dst, b.open...)
	for i, d := range b.items {
		if i > 0 {
			dst = append(dst, b.sep...)
		}
		dst = append(dst, d.Item...)
	}
	return append(dst, b.close...)
}

// Close implements io.Closer.
func (b *content) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// end closes the body for all its readers, whatever the transport does with it later. The buffer goes back to the
// pool only if it was used through Bytes alone, by a reader that has closed the body already, as with compressed
// bodies. A transport that reads from the buffer may go on reading, so then it is not reused.
func (b *content) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	done := b.closed
	b.closed = true
	if b.again != nil {
		b.again.end()
	} else if b.made != nil && done && !b.read {
		if cap(b.buf) <= 4<<20 {
			*b.made = b.buf[:0]
			buffers.Put(b.made)
		}
		b.made, b.buf = nil, nil
	}
}

// buffers holds the memory of joined bodies. At a megabyte each, they would otherwise be most of the garbage
// collector's work.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Bytes returns the whole body, for transports that need it at once: to sign,
// compress, record or show it. It is valid until the request is answered.
func (b *content) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.items != nil {
		b.made = buffers.Get().(*[]byte)
		b.buf = b.append(slices.Grow(*b.made, b.size()))
		b.items, b.off = nil, 0
	}
	return b.buf
}

// smallBody is the length in bytes up to which a body is copied into its request.
const smallBody = 32 << 10

func (b *content) request(ctx context.Context, method, url, contentType string, header http.Header) (
	*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	n := b.size()
	switch {
	case n == 0:
	case n <= smallBody:
		// net/http sends a body that it knows to be in memory together with the headers, in one write: this saves
		// a tenth of the cost of a small request.
		data := b.append(make([]byte, 0, n))
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(n)
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	default:
		req.Body = b
		req.ContentLength = int64(n)
		// A transport that has to send the request again, because the partner had closed the connection, reads the
		// bytes from the start.
		req.GetBody = func() (io.ReadCloser, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.again = &content{buf: b.buf, items: b.items, open: b.open, sep: b.sep, close: b.close, again: b.again}
			return b.again, nil
		}
	}
	if n > 0 && contentType != "" {
		req.Header["Content-Type"] = []string{contentType}
	}
	for k, vs := range header {
		req.Header[k] = vs
	}
	return req, nil
}

// NewRequest makes a request for an action's own Send, which builds its requests itself.
func NewRequest(ctx context.Context, method, url, contentType string, data []byte) (*http.Request, error) {
	b := &content{buf: data}
	return b.request(ctx, method, url, contentType, nil)
}

// RequestBytes returns the body of a request without consuming it. ok is false
// for a request whose body can be read only once.
func RequestBytes(req *http.Request) ([]byte, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, true
	}
	if b, ok := req.Body.(*content); ok {
		return b.Bytes(), true
	}
	if req.GetBody == nil {
		return nil, false
	}
	again, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	defer again.Close()
	data, err := io.ReadAll(again)
	return data, err == nil
}

// MaxAnswer is how many bytes of a response are read; the rest is thrown away.
const MaxAnswer = 8 << 20

// Do sends a request and reads the answer whole, up to MaxAnswer bytes. The
// request's body may be reused once it returns without an error.
func Do(t Transport, req *http.Request) (*Answer, error) {
	// A partner may answer before it has read the whole request, and a transport may go on reading after it has
	// returned. The items must not be read any more by then.
	b, _ := req.Body.(*content)
	resp, err := t.RoundTrip(req)
	if err != nil {
		if b != nil {
			b.end()
		}
		return nil, err
	}
	if b != nil {
		defer b.end()
	}
	defer resp.Body.Close()
	a := &Answer{Status: resp.StatusCode, Header: resp.Header}
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer (status %d): %w", resp.StatusCode, err)
	}
	// A byte order mark at the beginning is not part of the data.
	a.Body = bytes.TrimPrefix(a.Body, []byte("\xef\xbb\xbf"))
	if len(a.Body) > 0 && (a.Body[0] == '{' || a.Body[0] == '[' || a.Body[0] <= ' ') {
		if v, err := event.ParseValue(a.Body); err == nil {
			a.JSON = v
		}
	}
	return a, nil
}

// OK says that the status is 2xx.
func (a *Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// Retry is the result for a request that has to be made again, with the partner's words as its detail.
func (a *Answer) Retry(r Reason) Result {
	return Result{Outcome: Retry, Reason: r, Status: a.Status, Detail: a.Words()}
}

// RetryIn is Retry after a while.
func (a *Answer) RetryIn(r Reason, after time.Duration) Result {
	return Result{Outcome: Retry, Reason: r, Status: a.Status, Detail: a.Words(), RetryAfter: after}
}

// Refuse is the result for something that the partner will never accept, with the partner's words.
func (a *Answer) Refuse(detail string) Result {
	return Result{Outcome: Rejected, Reason: Refused, Status: a.Status, Detail: Cut(detail, 400)}
}

// Took is the result for something that the partner has accepted.
func (a *Answer) Took() Result { return Result{Outcome: Delivered, Status: a.Status} }

// Words returns what the partner said, cut to a few hundred bytes, for a
// Result's Detail.
func (a *Answer) Words() string { return Cut(string(a.Body), 400) }

// Ellipsis ends a text that was cut. Redaction looks for it, because a secret may have been cut in the middle just
// before it.
const Ellipsis = secret.Ellipsis

// Cut shortens a text to at most n bytes: it cuts between characters, folds white space, and ends what it cut with
// an Ellipsis.
func Cut(s string, n int) string {
	end := ""
	if len(s) > 4*n {
		s, end = s[:4*n], Ellipsis
	}
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "\ufffd")
	if len(s) <= n {
		return s + end
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + Ellipsis
}

// Verdict is what a status means when the partner's documentation says nothing more: 2xx is delivered, if Confirm
// finds that the answer looks like a success; 408, 425, 429, 5xx except 501 and 505, and 1xx, which is no answer to
// what was asked, are retried; 401, 403 and a proxy's 407 are retried as Unauthorized, which stops the lane; everything
// else is rejected. now is needed for dates in Retry-After.
func (a *Answer) Verdict(now time.Time) Result {
	if a.OK() {
		return Result{Status: a.Status, Outcome: Delivered}
	}
	r := Result{Status: a.Status, Outcome: Rejected, Reason: Refused, Detail: a.Words()}
	switch s := a.Status; {
	case s == 401 || s == 403 || s == 407:
		r.Outcome, r.Reason = Retry, Unauthorized
	case s == 429:
		r.Outcome, r.Reason = Retry, RateLimited
	case s == 413:
		r.Reason = TooLarge
	case s < 200 || s == 408 || s == 425 || s >= 500 && s < 600 && s != 501 && s != 505:
		r.Outcome, r.Reason = Retry, Unavailable
	}
	if r.Outcome == Retry {
		r.RetryAfter = a.RetryAfter(now)
	}
	if r.Detail == "" {
		r.Detail = http.StatusText(a.Status)
	}
	return r
}

// RetryAfter reads how long the partner asks us to wait: from Retry-After, in seconds or as a date; with a 429 or
// a 503 also from the headers that say when a rate limit is reset. It is 0 when no header can be understood, and
// at most a day.
func (a *Answer) RetryAfter(now time.Time) time.Duration {
	if d := a.wait("Retry-After", time.Second, now); d > 0 {
		return d
	}
	if a.Status != http.StatusTooManyRequests && a.Status != http.StatusServiceUnavailable {
		return 0
	}
	if d := a.wait("Retry-After-Ms", time.Millisecond, now); d > 0 {
		return d
	}
	if n, err := strconv.ParseFloat(a.Header.Get("X-RateLimit-Remaining"), 64); err == nil && n > 0 &&
		a.Status != http.StatusTooManyRequests {
		return 0 // there is quota left, so something else is wrong
	}
	var longest time.Duration // when there are several limits, the request has to wait for all of them
	for _, name := range [...]string{"X-RateLimit-Retry-After", "X-RateLimit-Reset-After", "RateLimit-Reset",
		"X-RateLimit-Reset",
		"X-Rate-Limit-Reset"} {
		longest = max(longest, a.wait(name, time.Second, now))
	}
	return longest
}

// Numbers too large to be a waiting time are points in time: seconds since 1970, or milliseconds.
const (
	epochSeconds = 1e8
	epochMillis  = 1e11
)

// wait reads one header: a number of units, an instant since 1970, or a date.
func (a *Answer) wait(name string, unit time.Duration, now time.Time) time.Duration {
	h := strings.TrimSpace(a.Header.Get(name))
	if h == "" {
		return 0
	}
	const day = 24 * time.Hour
	var d time.Duration
	if n, err := strconv.ParseFloat(h, 64); err == nil {
		switch {
		case n != n || n <= 0:
			return 0
		case n >= epochMillis && n < 1e14:
			d = time.UnixMilli(int64(n)).Sub(now)
		case n >= epochSeconds && n < epochMillis && unit == time.Second:
			d = time.UnixMilli(int64(n * 1000)).Sub(now)
		default:
			d = time.Duration(min(n*float64(unit), float64(day)))
		}
	} else if t, err := http.ParseTime(h); err == nil {
		d = t.Sub(now)
	} else if t, err := time.Parse(time.RFC3339Nano, h); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), day)
}

// Line returns an event's bytes on one line. They are copied only if the document had several lines.
func Line(raw []byte) []byte {
	raw = bytes.TrimSpace(raw)
	if bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return raw
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil { // an event is valid JSON
		return raw
	}
	return b.Bytes()
}

// EventLine writes the event itself, on one line.
func EventLine() body.Node {
	return body.First(
		body.Event("").Where("it stands on one line", event.Value.IsLine),
		body.Event("").As("on one line", func(dst []byte, v event.Value, _ *body.Context) []byte {
			return append(dst, Line(v.Raw())...)
		}),
	)
}
