package cassette

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"github.com/dnaeon/go-vcr/v2/recorder"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// exchange is a request and its answer while they pass. As the answer's body it
// notes what is read of it.
type exchange struct {
	r     *Recorder
	n     int
	req   *http.Request
	sent  *noted
	began time.Time

	resp   *http.Response
	header http.Header // as it came
	length int64       // as it was announced; -1: not
	from   io.ReadCloser
	stream bool
	answer heard
	marks  []mark
	skip   string // why it is not recorded

	once    sync.Once
	took    time.Duration
	details Details
}

// errLeft ends an answer that nobody reads any more.
var errLeft = errors.New("the client left")

// RoundTrip passes a request on and keeps what was said.
func (r *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.over(r.opts.Network, req)
}

// over is RoundTrip with a network of its own: of one of several lanes that are
// recorded together.
func (r *Recorder) over(network http.RoundTripper, req *http.Request) (*http.Response, error) {
	req = withoutCase(req)
	switch {
	case IsWebSocket(req):
		r.omit(req, "a WebSocket is passed on; what is said on it is no request and no answer")
		return network.RoundTrip(req)
	case IsGRPC(req):
		r.omit(req, "gRPC is passed on; it is a protocol of its own, over HTTP/2")
		return network.RoundTrip(req)
	}
	live := req.Clone(req.Context())
	live.Trailer = req.Trailer // is filled when the body has been read
	sent, ok, err := r.note(req, live)
	if err != nil {
		return nil, err
	}
	if !ok {
		r.omit(req, fmt.Sprintf("the request has more than %d bytes", r.opts.MaxBody))
		return network.RoundTrip(live)
	}
	r.mu.Lock()
	// A copy: who sent the request may change it and send it again.
	x := &exchange{r: r, n: r.next, req: req.Clone(req.Context()), sent: sent, began: r.opts.Now()}
	r.next++
	r.flying++
	r.mu.Unlock()
	r.urgent.Add(1)
	resp, err := network.RoundTrip(live)
	if err != nil {
		b := broken(req.Context(), err)
		x.end(b)
		return nil, b
	}
	// Whoever gets the answer may change it: what is kept is a copy.
	x.resp, x.header, x.length, x.from = resp, resp.Header.Clone(), resp.ContentLength, resp.Body
	if x.stream = isStream(x.header.Get("Content-Type")); x.stream {
		r.urgent.Add(-1) // nobody gives way for hours
	}
	x.marks = append(x.marks, mark{at: r.opts.Now().Sub(x.began)})
	if resp.Body == http.NoBody || resp.ContentLength == 0 || req.Method == http.MethodHead {
		x.end(io.EOF)
		return resp, nil
	}
	x.answer.free, x.answer.expected = r.blocks, max(x.length, 0)
	resp.Body = x
	return resp, nil
}

// note makes a live request whose body is noted while it is sent: held, where
// its length is known, so that it can be sent again; else as it comes. ok is
// false when it is too large to be recorded.
func (r *Recorder) note(req, live *http.Request) (sent *noted, ok bool, err error) {
	sent = &noted{limit: r.opts.MaxBody}
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return sent, true, nil
	case req.ContentLength < 0:
		sent.ReadCloser = req.Body
		live.Body = sent
		return sent, true, nil
	}
	data, err := readUpTo(req.Body, req.ContentLength, r.opts.MaxBody+1)
	if err != nil {
		req.Body.Close()
		return nil, false, err
	}
	if int64(len(data)) > r.opts.MaxBody {
		live.Body = held{io.MultiReader(bytes.NewReader(data), req.Body), req.Body}
		return nil, false, nil
	}
	req.Body.Close()
	sent.data = data
	live.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	live.Body = io.NopCloser(bytes.NewReader(data))
	live.ContentLength = int64(len(data))
	live.TransferEncoding = nil
	return sent, true, nil
}

// noted is a request's body that is noted while it is read.
type noted struct {
	io.ReadCloser
	limit int64

	mu   sync.Mutex
	data []byte
	over bool
}

func (b *noted) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over:
	case int64(len(b.data)+n) > b.limit:
		b.over, b.data = true, nil
	default:
		b.data = append(b.data, p[:n]...)
	}
	return n, err
}

// body is what was sent; ok is false where it was too large to be noted.
func (b *noted) body() (data []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data, !b.over
}

// Read passes the answer on.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.from.Read(p)
	x.hear(p[:n])
	if err != nil {
		x.end(err)
	}
	return n, err
}

func (x *exchange) hear(p []byte) {
	switch {
	case len(p) == 0 || x.skip != "":
		return
	case int64(x.answer.n+len(p)) > x.r.opts.MaxBody:
		x.skip = fmt.Sprintf("the answer has more than %d bytes", x.r.opts.MaxBody)
		x.answer.release()
		x.marks = nil
		return
	}
	x.answer.add(p)
	m := mark{x.r.opts.Now().Sub(x.began), x.answer.n}
	if len(x.marks) > maxChunks {
		x.marks[len(x.marks)-1] = m
	} else {
		x.marks = append(x.marks, m)
	}
}

// Close ends the answer. Of one that is no stream the rest is read first: who
// has read enough does not change what the partner said.
func (x *exchange) Close() error {
	x.once.Do(func() {
		err := errLeft
		if x.length == int64(x.answer.n) {
			err = io.EOF
		}
		for buf := []byte(nil); !x.stream && x.skip == "" && errors.Is(err, errLeft); {
			if buf == nil {
				buf = make([]byte, 32<<10)
			}
			n, e := x.from.Read(buf)
			x.hear(buf[:n])
			if e != nil {
				err = e
			}
		}
		x.ended(err)
	})
	return x.from.Close()
}

func (x *exchange) end(err error) { x.once.Do(func() { x.ended(err) }) }

// ended hands the exchange over to be redacted. It takes no time.
func (x *exchange) ended(err error) {
	r := x.r
	x.took = r.opts.Now().Sub(x.began)
	gone := x.req.Context().Err() != nil
	r.mu.Lock()
	ending := r.ending
	r.mu.Unlock()
	switch {
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && x.resp != nil:
		if len(x.resp.Trailer) > 0 {
			x.details.Trailers = x.resp.Trailer.Clone()
		}
	case ending && gone && !x.stream:
		x.skip = "it was under way when the recording ended"
	case x.resp != nil && (gone || errors.Is(err, errLeft)):
		x.details.Left = true
	default:
		b := broken(x.req.Context(), err)
		x.details.Broken, x.details.Error = b.How, b.lasting()
	}
	if x.cut() {
		x.details.Length = max(x.length, 0)
	}
	if data, ok := x.sent.body(); ok {
		x.sent = &noted{data: data} // what is sent from now on came too late
	} else if x.skip == "" {
		x.skip = fmt.Sprintf("the request has more than %d bytes", r.opts.MaxBody)
	}
	if x.skip != "" {
		r.omit(x.req, x.skip)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for x.skip == "" && r.waiting > maxWaiting && !r.closed {
		r.changed.Wait()
	}
	if x.skip == "" && !r.closed {
		r.waiting += x.size()
		r.queue = append(r.queue, x)
	}
	r.flying--
	if !x.stream {
		r.answered()
	}
	r.changed.Broadcast()
}

// cut tells whether only a beginning of the answer came.
func (x *exchange) cut() bool { return x.details.Left || x.details.Broken != "" }

// size is the memory that the exchange takes, about.
func (x *exchange) size() int64 { return int64(x.answer.n+len(x.sent.data)) + 4096 }

// tooLarge says what of the exchange is too large, once it is unpacked, to be searched
// for secrets; empty where nothing is.
func (x *exchange) tooLarge() string {
	if over(x.req.Header.Get("Content-Encoding"), x.sent.data) {
		return fmt.Sprintf("the request unpacks to more than %d bytes", redact.MaxUnpacked)
	}
	if x.resp != nil && over(x.header.Get("Content-Encoding"), x.answer.bytes()) {
		return fmt.Sprintf("the answer unpacks to more than %d bytes", redact.MaxUnpacked)
	}
	return ""
}

// redacted makes an interaction of the exchange.
func (x *exchange) redacted(red *redact.Redactor) *kept {
	answer := x.answer.bytes()
	shown, marks := answer, x.marks
	if x.resp == nil {
		x.resp = &http.Response{Status: "0 no answer", Header: http.Header{}}
		x.header = http.Header{}
	} else if plain, at, ok := unpack(x.header.Get("Content-Encoding"), answer, x.marks, x.cut()); ok {
		shown, marks = plain, at
		x.header.Del("Content-Encoding")
	}
	i := capture(x.req, x.sent.data, x.resp, x.header, shown)
	i.Response.Duration = x.took
	was := i.Response.Body
	red.Interaction(i)
	if x.details.Error != "" {
		x.details.Error = red.Text(x.details.Error)
	}
	if x.details.Trailers != nil {
		red.Header(x.details.Trailers)
	}
	if len(marks) > 0 && (x.stream || x.length < 0 && paused(marks)) {
		x.details.Chunks = chunksOf(marks, was, i.Response.Body)
	}
	return &kept{n: x.n, i: i, details: x.details}
}

// notKept are headers that belong to the connection, or are told by the body.
var notKept = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Http2-Settings",
	"Accept-Encoding", "Content-Length", "X-Forwarded-For", CaseHeader,
}

// capture has go-vcr make an interaction of copies: headers are its own, bodies
// are decoded.
func capture(req *http.Request, sent []byte, resp *http.Response, header http.Header, shown []byte) *Interaction {
	q := req.Clone(req.Context())
	plain, decoded := decode(q.Header.Get("Content-Encoding"), sent, maxRequest)
	if decoded {
		q.Header.Del("Content-Encoding")
	}
	for _, name := range notKept {
		q.Header.Del(name)
	}
	for name, values := range q.Header {
		if len(values) == 0 {
			delete(q.Header, name)
		}
	}
	q.TransferEncoding = nil
	q.ContentLength = int64(len(plain))
	q.Body = http.NoBody
	if len(plain) > 0 {
		q.Body = io.NopCloser(bytes.NewReader(plain))
	}
	for _, name := range notKept {
		if name != "Content-Length" || req.Method != http.MethodHead { // which has nothing else to tell it
			header.Del(name)
		}
	}
	header.Del("Date") // is another in every recording
	canned := func(req *http.Request) (*http.Response, error) {
		if req.Body != nil { // go-vcr keeps what is read of it
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return nil, err
			}
		}
		return &http.Response{Status: resp.Status, StatusCode: resp.StatusCode, Header: header,
			Body: io.NopCloser(bytes.NewReader(shown))}, nil
	}
	var i *Interaction
	// Recording mode opens no file, and nothing is saved that is not stopped.
	rec, err := recorder.NewAsMode("", recorder.ModeRecording, roundTripper(canned))
	if err == nil {
		rec.SkipRequestLatency = true
		rec.AddFilter(func(got *vcr.Interaction) error { i = got; return nil })
		_, err = rec.RoundTrip(q)
	}
	if err != nil || i == nil { // a form that is none, say: go-vcr gives up, and there is a request to keep
		i = &Interaction{
			Request:  vcr.Request{Body: string(plain), Headers: q.Header, Method: req.Method},
			Response: vcr.Response{Body: string(shown), Headers: header, Status: resp.Status, Code: resp.StatusCode},
		}
	}
	i.Request.URL = Address(req)
	if i.Response.Status == "" {
		i.Response.Status = strconv.Itoa(i.Response.Code) + " " + http.StatusText(i.Response.Code)
	}
	return i
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// heard is the bytes of an answer, in blocks, so that none is copied again while more
// come in.
type heard struct {
	free     blocks // to take blocks from
	expected int64  // what was announced; 0: nothing
	blocks   [][]byte
	n        int
}

const (
	blockSize  = 256 << 10
	firstBlock = 4 << 10
	freeBlocks = 64 // that are kept for the next answers
)

// blocks are free ones. The collector of garbage takes none away: redaction makes much
// of it, and new memory costs more than the copy.
type blocks chan []byte

func (h *heard) add(p []byte) {
	h.n += len(p)
	for len(p) > 0 {
		last := len(h.blocks) - 1
		if last < 0 || len(h.blocks[last]) == cap(h.blocks[last]) {
			h.blocks = append(h.blocks, h.block())
			last++
		}
		b := h.blocks[last]
		n := copy(b[len(b):cap(b)], p)
		h.blocks[last] = b[:len(b)+n]
		p = p[n:]
	}
}

// block is an empty one: small for what is, or may be, small.
func (h *heard) block() []byte {
	switch {
	case h.expected > 0 && h.expected < blockSize && len(h.blocks) == 0:
		return make([]byte, 0, h.expected)
	case h.expected == 0 && len(h.blocks) == 0:
		return make([]byte, 0, firstBlock)
	}
	select {
	case b := <-h.free:
		return b[:0]
	default:
		return make([]byte, 0, blockSize)
	}
}

// bytes is all of it, as one; the blocks are given back.
func (h *heard) bytes() []byte {
	if len(h.blocks) > 1 {
		all := make([]byte, 0, h.n)
		for _, b := range h.blocks {
			all = append(all, b...)
		}
		h.giveBack()
		h.blocks = [][]byte{all}
	}
	if len(h.blocks) == 0 {
		return nil
	}
	return h.blocks[0]
}

func (h *heard) giveBack() {
	for _, b := range h.blocks {
		if cap(b) == blockSize {
			select {
			case h.free <- b:
			default: // there are enough
			}
		}
	}
}

// release forgets it.
func (h *heard) release() {
	h.giveBack()
	h.blocks, h.n = nil, 0
}
