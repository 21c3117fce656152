package standin

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Mischief is a partner that misbehaves according to a [Script]. As an
// [http.RoundTripper] it returns the errors of broken connections without having any;
// it is an [http.Handler] as well. It is safe for concurrent use.
type Mischief struct {
	script Script
	paths  [][]string   // paths of the rules
	ids    [][]string   // paths of the script's ids
	next   http.Handler // answers if no rule fires; may be nil
	now    func() time.Time
	stop   chan struct{}
	once   sync.Once

	mu       sync.Mutex
	rand     *rand.Rand
	matched  []int // number of requests that each rule matched
	fired    []int
	events   map[string]Count
	requests int
}

// Count is what a partner knows about one event.
type Count struct {
	Seen  int // requests that contained it
	Taken int // times it was stored, whatever the sender was told
}

// Misbehave returns a partner that follows a script. If no rule fires, next answers (a
// [Partner], for example), and its status tells whether the events were taken. If next
// is nil, the script's own Answer is used. now is the clock for dates in Retry-After.
func Misbehave(s Script, next http.Handler, now func() time.Time) (*Mischief, error) {
	s.Rules = slices.Clone(s.Rules)
	if err := s.check(); err != nil {
		return nil, err
	}
	m := &Mischief{
		script: s, next: next, now: now, stop: make(chan struct{}),
		rand:    rand.New(rand.NewPCG(s.Seed, s.Seed^0x9e3779b97f4a7c15)),
		matched: make([]int, len(s.Rules)), fired: make([]int, len(s.Rules)), events: map[string]Count{},
	}
	for _, r := range s.Rules {
		var p []string
		if r.Path != "" {
			p = strings.Split(r.Path[1:], "/")
		}
		m.paths = append(m.paths, p)
	}
	for _, id := range s.IDs {
		m.ids = append(m.ids, strings.Split(id, "."))
	}
	return m, nil
}

// Stop ends every request that hangs or waits, and every later one that would. It may
// be called more than once.
func (m *Mischief) Stop() { m.once.Do(func() { close(m.stop) }) }

// Events returns what the partner knows about each event, by id.
func (m *Mischief) Events() map[string]Count {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]Count, len(m.events))
	for id, c := range m.events {
		out[id] = c
	}
	return out
}

// Requests returns the number of requests so far.
func (m *Mischief) Requests() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests
}

// Fired returns how often each rule of the script fired.
func (m *Mischief) Fired() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.fired)
}

// act is what the partner does with one request.
type act struct {
	fault  *Fault // nil: none
	reply  *Reply
	body   string
	header http.Header
	ids    []string
}

// plan counts a request and decides what to do with it.
func (m *Mischief) plan(req *http.Request, body []byte) *act {
	a := &act{ids: m.idsOf(req, body)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
	for _, id := range a.ids {
		c := m.events[id]
		c.Seen++
		m.events[id] = c
	}
	for i := range m.script.Rules {
		r := &m.script.Rules[i]
		if r.Method != "" && r.Method != req.Method || m.paths[i] != nil && !matchPath(m.paths[i], req.URL.EscapedPath()) ||
			r.ID != "" && !slices.Contains(a.ids, r.ID) {
			continue
		}
		m.matched[i]++
		n := m.matched[i] - r.Skip
		if n <= 0 || r.Every > 0 && n%r.Every != 0 || r.Times > 0 && m.fired[i] >= r.Times ||
			r.Rate > 0 && m.rand.Float64() >= r.Rate {
			continue
		}
		m.fired[i]++
		a.fault = &r.Fault
		break
	}
	a.reply = &m.script.Answer
	if a.fault != nil {
		a.reply = &a.fault.Reply
	}
	v := m.verdict(a)
	a.body = a.reply.fill(v)
	a.header = a.reply.header(a.body)
	switch {
	case a.fault == nil && m.next != nil: // next decides what is taken
	case a.fault != nil && a.fault.Lost:
	case a.fault == nil || a.fault.Kind == Answer || a.fault.Kind == Huge || a.fault.Kind == Partial:
		if a.reply.Status/100 == 2 || a.fault != nil && a.fault.Kind == Partial {
			m.take(a.ids, v)
		}
	case a.fault.Took:
		m.take(a.ids, v)
	}
	return a
}

// verdict marks the events that a partial failure rejects.
func (m *Mischief) verdict(a *act) *verdict {
	v := &verdict{items: make([]item, len(a.ids)), taken: len(a.ids), ids: a.ids}
	if a.fault == nil || a.fault.Kind != Partial {
		return v
	}
	for i, id := range a.ids {
		if m.rejects(a.fault, id) {
			v.items[i].bad = true
			v.taken--
			v.violations = append(v.violations, Violation{Item: i, Msg: "refused by the script"})
		}
	}
	return v
}

func (m *Mischief) rejects(f *Fault, id string) bool {
	if slices.Contains(f.RejectIDs, id) {
		return true
	}
	if f.Reject == 0 {
		return false
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s", m.script.Seed, id) // a hash never fails
	return rand.New(rand.NewPCG(h.Sum64(), m.script.Seed)).Float64() < f.Reject
}

func (m *Mischief) take(ids []string, v *verdict) {
	for i, id := range ids {
		if !v.items[i].bad {
			c := m.events[id]
			c.Taken++
			m.events[id] = c
		}
	}
}

func (m *Mischief) idsOf(req *http.Request, body []byte) (ids []string) {
	if len(m.ids) == 0 {
		return nil
	}
	var w scratch
	if req.Header.Get("Content-Encoding") == "gzip" {
		plain, err := w.gunzip(body)
		if err != nil {
			return nil // an unreadable body contains no events
		}
		body = plain
	}
	collect := func(root event.Value) {
		for _, path := range m.ids {
			walk(root, path, func(v event.Value) bool {
				if !v.Nullish() {
					ids = append(ids, v.Text())
				}
				return true
			})
		}
	}
	if root, err := w.parser.ParseValue(body); err == nil {
		collect(root)
		return ids
	}
	for line := range bytes.Lines(body) {
		if root, err := w.parser.ParseValue(bytes.TrimSpace(line)); err == nil {
			collect(root)
		}
	}
	return ids
}

// wait waits for a fault's delay. It returns false if the client leaves or Stop is
// called.
func (m *Mischief) wait(req *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.stop:
	case <-req.Context().Done():
	}
	return false
}

func (m *Mischief) hang(req *http.Request) {
	select {
	case <-m.stop:
	case <-req.Context().Done():
	}
}

func (m *Mischief) retryAfter(f *Fault, h http.Header) {
	switch {
	case f.RetryAfter == 0:
	case f.RetryAfterDate:
		h.Set("Retry-After", m.now().Add(f.RetryAfter).UTC().Format(http.TimeFormat))
	default:
		h.Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
}

// errStopped is the error of a request that was waiting when Stop was called.
var errStopped = errors.New("standin: the partner was stopped")

// RoundTrip implements [http.RoundTripper].
func (m *Mischief) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	body, err := readBody(req.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	a := m.plan(req, body)
	if a.fault == nil {
		if m.next != nil {
			return m.pass(req, body, a), nil
		}
		return a.reply.response(req, a.body), nil
	}
	m.begin(req, body, a)
	gone := func() error {
		if err := req.Context().Err(); err != nil {
			return err
		}
		return errStopped
	}
	if !m.wait(req, a.fault.Delay) {
		return nil, gone()
	}
	resp := a.reply.response(req, a.body)
	resp.Header = a.header
	m.retryAfter(a.fault, resp.Header)
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	half := strings.NewReader(a.body[:len(a.body)/2])
	switch a.fault.Kind {
	case Hang:
		m.hang(req)
		return nil, gone()
	case Reset:
		return nil, reset
	case ResetBody:
		resp.Body = io.NopCloser(io.MultiReader(half, failing{reset}))
		resp.ContentLength = int64(len(a.body) + 1)
	case Truncated:
		resp.Body = io.NopCloser(io.MultiReader(half, failing{io.ErrUnexpectedEOF}))
		resp.ContentLength = int64(len(a.body) + 1)
	case Huge:
		resp.Body = io.NopCloser(io.LimitReader(endless{}, a.fault.Size))
		resp.ContentLength = -1
	case Garbage:
		return nil, errors.New(
			`net/http: HTTP/1.x transport connection broken: malformed HTTP response "\x00\x01garbage"`,
		)
	case BadChunk:
		resp.Body = io.NopCloser(io.MultiReader(half, failing{errors.New("invalid byte in chunk length")}))
		resp.ContentLength = -1
	case Dribble:
		resp.Body = io.NopCloser(&dribble{m, req, a.fault.Pause, []byte(a.body)})
	case Untrusted:
		return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	}
	return resp, nil
}

// failing is a body that ends with an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// endless is a body of spaces without an end, in which the JSON never begins.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// begin takes next's answer as the beginning of a broken one, unless the fault has an
// answer of its own.
func (m *Mischief) begin(req *http.Request, body []byte, a *act) {
	if m.next == nil || a.fault.Reply.Body != "" {
		return
	}
	switch a.fault.Kind {
	case ResetBody, Truncated, BadChunk, Dribble:
	case Answer:
		if a.fault.Delay == 0 || a.fault.Reply.Status != http.StatusOK {
			return
		}
		// The answer is only late, not broken.
	default:
		return
	}
	w := m.ask(req, body)
	a.reply = &Reply{Status: w.status}
	a.body, a.header = w.body.String(), w.header
	a.header.Del("Content-Length")
}

// dribble is a body that arrives byte by byte.
type dribble struct {
	m     *Mischief
	req   *http.Request
	pause time.Duration
	rest  []byte
}

func (d *dribble) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		return 0, io.EOF
	}
	if !d.m.wait(d.req, d.pause) {
		if err := d.req.Context().Err(); err != nil {
			return 0, err
		}
		return 0, errStopped
	}
	n := copy(p, d.rest[:1])
	d.rest = d.rest[n:]
	return n, nil
}

// pass lets next answer. The status of that answer tells whether the events were taken.
func (m *Mischief) pass(req *http.Request, body []byte, a *act) *http.Response {
	w := m.ask(req, body)
	m.taken(w.status, a)
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: req,
	}
}

// ask returns the answer of next.
func (m *Mischief) ask(req *http.Request, body []byte) *recorder {
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	inner := req.Clone(req.Context())
	inner.Body = io.NopCloser(bytes.NewReader(body))
	m.next.ServeHTTP(w, inner)
	return w
}

func (m *Mischief) taken(status int, a *act) {
	if status/100 != 2 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(a.ids, &verdict{items: make([]item, len(a.ids))})
}

// recorder keeps the answer of a handler.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// ServeHTTP implements [http.Handler]. Faults that break the connection need a
// ResponseWriter that can be hijacked. With any other they panic with
// [http.ErrAbortHandler], which breaks the connection as well.
func (m *Mischief) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := readBody(req.Body)
	if err != nil {
		return // the client is gone
	}
	a := m.plan(req, body)
	if a.fault == nil {
		if m.next != nil {
			resp := m.pass(req, body, a)
			for k, v := range resp.Header {
				w.Header()[k] = v
			}
			w.WriteHeader(resp.StatusCode)
			_, _ = io.Copy(w, resp.Body) // if it fails, the client is gone
			return
		}
		m.write(w, a)
		return
	}
	m.begin(req, body, a)
	if !m.wait(req, a.fault.Delay) {
		panic(http.ErrAbortHandler)
	}
	m.retryAfter(a.fault, a.header)
	head := func(length string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n%s\r\n", a.reply.Status, http.StatusText(a.reply.Status), length)
		_ = a.header.Write(&b) // writing to memory never fails
		return b.String() + "\r\n"
	}
	half := a.body[:len(a.body)/2]
	switch a.fault.Kind {
	case Answer, Partial:
		m.write(w, a)
	case Hang:
		m.hang(req)
		panic(http.ErrAbortHandler)
	case Reset, Untrusted:
		m.raw(w, "", true)
	case ResetBody:
		m.raw(w, head(fmt.Sprintf("Content-Length: %d", len(a.body)+1))+half, true)
	case Truncated:
		m.raw(w, head(fmt.Sprintf("Content-Length: %d", len(a.body)+1))+half, false)
	case Garbage:
		m.raw(w, "\x00\x01garbage\r\n\r\n", false)
	case BadChunk:
		m.raw(w, head("Transfer-Encoding: chunked")+fmt.Sprintf("%x\r\n%s\r\nzz\r\n", len(half)+1, half+" "), false)
	case Dribble:
		for k, v := range a.header {
			w.Header()[k] = v
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
		w.WriteHeader(a.reply.Status)
		rc := http.NewResponseController(w)
		for i := range len(a.body) {
			_, err := io.WriteString(w, a.body[i:i+1])
			if err = errors.Join(err, rc.Flush()); err != nil || !m.wait(req, a.fault.Pause) {
				panic(http.ErrAbortHandler)
			}
		}
	case Huge:
		for k, v := range a.header {
			w.Header()[k] = v
		}
		w.WriteHeader(a.reply.Status)
		_, _ = io.Copy(w, &stopping{io.LimitReader(endless{}, a.fault.Size), m.stop}) // until the client has had enough
	}
}

// stopping is a body that ends when the partner is stopped.
type stopping struct {
	r    io.Reader
	stop chan struct{}
}

func (s *stopping) Read(p []byte) (int, error) {
	select {
	case <-s.stop:
		return 0, errStopped
	default:
		return s.r.Read(p)
	}
}

func (m *Mischief) write(w http.ResponseWriter, a *act) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.reply.Status)
	_, _ = io.WriteString(w, a.body) // if it fails, the client is gone
}

// raw writes bytes to the connection and closes it; with reset, by a reset.
func (m *Mischief) raw(w http.ResponseWriter, text string, reset bool) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	_, _ = buf.WriteString(text) // if it fails, the client is gone
	_ = buf.Flush()
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // closing then sends RST instead of FIN
	}
}
