package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// exchange is a request and its answer on their way through the recorder. It is also
// the answer's body, so that it can copy what the client reads.
type exchange struct {
	r     *Recorder
	n     int
	req   *http.Request
	sent  *noted
	began time.Time

	resp   *http.Response
	header http.Header // as it came
	length int64       // the announced length; -1: unknown
	from   io.ReadCloser
	stream bool
	answer heard
	marks  []mark
	skip   string // why it is not recorded; "": it is

	once    sync.Once
	took    time.Duration
	details cassette.Details
}

// errLeft ends an answer that the client stopped reading.
var errLeft = errors.New("the client left")

// RoundTrip passes a request on and records it with its answer.
func (r *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.Over(r.opts.Network, req)
}

// Over is RoundTrip over another network: each of several lanes that are recorded
// together has its own.
func (r *Recorder) Over(network http.RoundTripper, req *http.Request) (*http.Response, error) {
	req = wire.WithoutCase(req)
	switch {
	case wire.IsWebSocket(req):
		r.omit(req, "a WebSocket is passed on; what is said on it is no request and no answer")
		return network.RoundTrip(req)
	case wire.IsGRPC(req):
		r.omit(req, "gRPC is passed on; it is a protocol of its own, over HTTP/2")
		return network.RoundTrip(req)
	}
	live := req.Clone(req.Context())
	live.Trailer = req.Trailer // filled once the body has been read
	sent, ok, err := r.note(req, live)
	if err != nil {
		return nil, err
	}
	if !ok {
		r.omit(req, fmt.Sprintf("the request has more than %d bytes", r.opts.MaxBody))
		return network.RoundTrip(live)
	}
	r.mu.Lock()
	// A copy, because the caller may change the request and send it again.
	x := &exchange{r: r, n: r.next, req: req.Clone(req.Context()), sent: sent, began: r.opts.Now()}
	r.next++
	r.flying++
	r.mu.Unlock()
	r.urgent.Add(1)
	resp, err := network.RoundTrip(live)
	if err != nil {
		b := wire.BrokenBy(req.Context(), err)
		x.end(b)
		return nil, b
	}
	// A copy, because the client may change the headers of the answer.
	x.resp, x.header, x.length, x.from = resp, resp.Header.Clone(), resp.ContentLength, resp.Body
	if x.stream = wire.IsStream(x.header.Get("Content-Type")); x.stream {
		r.urgent.Add(-1) // a stream may last for hours, too long for redaction to wait
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

// note prepares the live request so that its body is copied. A body of known length is
// read into memory first, so that it can be sent again. Any other body is copied while
// it is sent. ok is false if the body is too large to be recorded.
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
	data, err := wire.ReadUpTo(req.Body, req.ContentLength, r.opts.MaxBody+1)
	if err != nil {
		req.Body.Close()
		return nil, false, err
	}
	if int64(len(data)) > r.opts.MaxBody {
		live.Body = wire.Body{Reader: io.MultiReader(bytes.NewReader(data), req.Body), Closer: req.Body}
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

// noted is the body of a request. It keeps a copy of what is read from it.
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

// body returns the copy. ok is false if the body was too large to be kept.
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

// Close ends the answer. Unless it is a stream, Close first reads the rest: a client
// may stop reading early, but the recording should hold the partner's whole answer.
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

// ended queues the exchange for redaction. It blocks only while too many bytes are
// queued.
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
		b := wire.BrokenBy(x.req.Context(), err)
		x.details.Broken, x.details.Error = b.How, b.Lasting()
	}
	if x.cut() {
		x.details.Length = max(x.length, 0)
	}
	if data, ok := x.sent.body(); ok {
		x.sent = &noted{data: data} // anything sent after the answer does not count
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

// cut is true if only the beginning of the answer came.
func (x *exchange) cut() bool { return x.details.Left || x.details.Broken != "" }

// size is roughly the memory that the exchange takes.
func (x *exchange) size() int64 { return int64(x.answer.n+len(x.sent.data)) + 4096 }

// tooLarge says which part of the exchange is too large, once unpacked, to be searched
// for secrets. It is empty if none is.
func (x *exchange) tooLarge() string {
	if wire.TooLarge(x.req.Header.Get("Content-Encoding"), x.sent.data) {
		return fmt.Sprintf("the request unpacks to more than %d bytes", redact.MaxUnpacked)
	}
	if x.resp != nil && wire.TooLarge(x.header.Get("Content-Encoding"), x.answer.bytes()) {
		return fmt.Sprintf("the answer unpacks to more than %d bytes", redact.MaxUnpacked)
	}
	return ""
}

// redacted turns the exchange into a redacted interaction.
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

// capture makes an interaction of copies, with decoded bodies. It owns the headers of the answer.
func capture(
	req *http.Request, sent []byte, resp *http.Response, header http.Header, shown []byte,
) *cassette.Interaction {
	i := &cassette.Interaction{}
	q, r := &i.Request, &i.Response
	q.Method, q.URL, q.Headers = req.Method, wire.Address(req), req.Header.Clone()
	plain, decoded := wire.Decode(q.Headers.Get("Content-Encoding"), sent, wire.MaxBody)
	if decoded {
		q.Headers.Del("Content-Encoding")
	}
	wire.DropConnection(q.Headers)
	maps.DeleteFunc(q.Headers, func(_ string, values []string) bool { return len(values) == 0 })
	q.Body = string(plain)
	q.Form = cassette.Form(i)
	length := header["Content-Length"]
	if wire.DropConnection(header); req.Method == http.MethodHead && length != nil { // no body tells the length
		header["Content-Length"] = length
	}
	header.Del("Date") // different in every recording
	r.Code, r.Status, r.Headers, r.Body = resp.StatusCode, resp.Status, header, string(shown)
	if r.Status == "" {
		r.Status = strconv.Itoa(r.Code) + " " + http.StatusText(r.Code)
	}
	return i
}

// heard holds the bytes of an answer in blocks, so that the bytes already held are not
// copied again as more arrive.
type heard struct {
	free     blocks // free blocks for reuse
	expected int64  // announced length; 0: unknown
	blocks   [][]byte
	n        int
}

const (
	blockSize  = 256 << 10
	firstBlock = 4 << 10
	freeBlocks = 64 // how many are kept for later answers
)

// blocks is a list of free blocks. It is no sync.Pool, because the garbage collector
// would empty that: redaction makes much garbage, and new memory costs more than the
// copying.
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

// block returns an empty block. It is small if the answer is, or may be, small.
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

// bytes returns everything as one slice, and frees the blocks that are not needed any
// more.
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
			default: // the list is full
			}
		}
	}
}

// release frees the blocks and forgets the bytes.
func (h *heard) release() {
	h.giveBack()
	h.blocks, h.n = nil, 0
}
