package cassette

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"github.com/dnaeon/go-vcr/v2/recorder"
)

// RecordOptions say what a [Recorder] does.
type RecordOptions struct {
	// Network answers; required.
	Network http.RoundTripper
	// Redactor takes secrets out before anything is kept; required.
	Redactor *Redactor
	// MaxBody is the largest body that is kept; 0: 8 MiB. What is larger is
	// passed on and not recorded.
	MaxBody int64
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Warn tells of what was not recorded; nil: nobody.
	Warn func(string)
}

// Recorder passes requests on and keeps what was said, redacted. It is an
// http.RoundTripper, safe for concurrent use. Close it with Finish or Abandon.
//
// The recording itself is go-vcr's, one of its recorders for each request, so
// that interactions can be kept in the order in which requests began, and so
// that what it keeps is never shared with what the program gets.
type Recorder struct {
	opts RecordOptions
	path string

	mu       sync.Mutex
	next     int
	kept     []numbered
	journal  *os.File
	err      error
	leaks    []Leak
	failures []Failure
	omitted  []string
}

type numbered struct {
	n int
	i *Interaction
}

// partial is a line of the crash journal.
type partial struct {
	N           int          `json:"n"`
	Interaction *Interaction `json:"interaction"`
	// Bodies that are no valid UTF-8 are not kept by JSON as they are.
	RequestBody  []byte `json:"request_body"`
	ResponseBody []byte `json:"response_body"`
}

// NewRecorder begins a recording that is to become the cassette at path. Until
// then its crash journal lies beside it.
func NewRecorder(path string, o RecordOptions) (*Recorder, error) {
	if o.MaxBody == 0 {
		o.MaxBody = 8 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(partialPath(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is what an interrupted recording left, or another is under way: go on from it with --resume, or remove it: %w", partialPath(path), fs.ErrExist)
	}
	if err != nil {
		return nil, err
	}
	return &Recorder{opts: o, path: path, journal: f}, nil
}

// Recover returns the interactions that an interrupted recording left, and
// removes its journal. A line that was cut off by the crash is left out.
func Recover(path string) ([]*Interaction, error) {
	f, err := os.Open(partialPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []partial
	r := bufio.NewReader(io.LimitReader(f, maxFile))
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // nothing, or half a line
		}
		if err != nil {
			return nil, err
		}
		var p partial
		if err := json.Unmarshal(line, &p); err != nil || p.Interaction == nil {
			return nil, fmt.Errorf("%s is damaged: %w (remove it, and record anew)", partialPath(path), err)
		}
		p.Interaction.Request.Body, p.Interaction.Response.Body = string(p.RequestBody), string(p.ResponseBody)
		lines = append(lines, p)
	}
	slices.SortStableFunc(lines, func(a, b partial) int { return a.N - b.N })
	var out []*Interaction
	for _, p := range lines {
		out = append(out, p.Interaction)
	}
	return out, os.Remove(partialPath(path))
}

// Add puts interactions before those that are recorded from now on: what a
// cassette holds already.
func (r *Recorder) Add(list []*Interaction) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range list {
		r.put(r.next, i)
		r.next++
	}
}

// put keeps an interaction, redacted, here and in the journal. The lock is
// held.
func (r *Recorder) put(n int, i *Interaction) {
	r.kept = append(r.kept, numbered{n, i})
	leaks := r.opts.Redactor.scanInteraction(n, i)
	if len(leaks) > 0 {
		r.leaks = append(r.leaks, leaks...) // not even in the journal
		return
	}
	copied := *i
	copied.Request.Body, copied.Response.Body = "", ""
	line, err := json.Marshal(partial{n, &copied, []byte(i.Request.Body), []byte(i.Response.Body)})
	if err == nil {
		_, err = r.journal.Write(append(line, '\n'))
	}
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("writing %s: %w", r.journal.Name(), err)
	}
}

// omit notes a request that is passed on and not recorded.
func (r *Recorder) omit(req *http.Request, why string) {
	r.opts.Warn("not recorded: " + r.Omit(req.Method, Address(req), why))
}

// maxOmitted bounds the list of what was not recorded.
const maxOmitted = 1000

// Omit notes in the sidecar what was not recorded, and why. It returns the
// line.
func (r *Recorder) Omit(method, address, why string) string {
	line := method + " " + r.opts.Redactor.URL(address) + ": " + why
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.omitted) < maxOmitted {
		r.omitted = append(r.omitted, line)
	}
	return line
}

// RoundTrip passes a request on and keeps what was said.
func (r *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.over(r.opts.Network, req)
}

// over is RoundTrip with a network of its own: of one of several lanes that are
// recorded together.
func (r *Recorder) over(network http.RoundTripper, req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	n := r.next
	r.next++
	r.mu.Unlock()

	live := req.Clone(req.Context())
	var sent []byte
	if req.Body != nil && req.Body != http.NoBody {
		var err error
		if sent, err = io.ReadAll(io.LimitReader(req.Body, r.opts.MaxBody+1)); err != nil {
			req.Body.Close()
			return nil, err
		}
		if int64(len(sent)) > r.opts.MaxBody {
			r.omit(req, fmt.Sprintf("the request has more than %d bytes", r.opts.MaxBody))
			live.Body = held{io.MultiReader(bytes.NewReader(sent), req.Body), req.Body}
			return network.RoundTrip(live)
		}
		req.Body.Close()
		live.Body = io.NopCloser(bytes.NewReader(sent))
		live.ContentLength = int64(len(sent))
		live.TransferEncoding = nil
		live.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(sent)), nil }
	}
	began := r.opts.Now()
	resp, err := network.RoundTrip(live)
	if err != nil {
		r.fail(req, err)
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		r.omit(req, "a stream has no end to wait for")
		return resp, nil
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, r.opts.MaxBody+1))
	took := r.opts.Now().Sub(began)
	if err != nil {
		resp.Body.Close()
		r.fail(req, err)
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if int64(len(answer)) > r.opts.MaxBody {
		r.omit(req, fmt.Sprintf("the answer has more than %d bytes", r.opts.MaxBody))
		resp.Body = held{io.MultiReader(bytes.NewReader(answer), resp.Body), resp.Body}
		return resp, nil
	}
	if err := resp.Body.Close(); err != nil {
		r.fail(req, err)
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	i := r.capture(req, sent, resp, answer)
	i.Response.Duration = took
	r.opts.Redactor.Interaction(i)
	r.mu.Lock()
	r.put(n, i)
	r.mu.Unlock()
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	return resp, nil
}

func (r *Recorder) fail(req *http.Request, err error) {
	f := Failure{req.Method, r.opts.Redactor.URL(Address(req)), r.opts.Redactor.Text(err.Error())}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, f)
}

// notKept are headers that belong to the connection, or are told by the body.
var notKept = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Http2-Settings", "Accept-Encoding", "Content-Length", "X-Forwarded-For", CaseHeader}

// capture has go-vcr make an interaction of copies: headers are its own, bodies
// are decoded.
func (r *Recorder) capture(req *http.Request, sent []byte, resp *http.Response, answer []byte) *Interaction {
	q := req.Clone(req.Context())
	plain, decoded := decode(q.Header.Get("Content-Encoding"), sent, maxRequest)
	if decoded {
		q.Header.Del("Content-Encoding")
	}
	for _, name := range notKept {
		q.Header.Del(name)
	}
	q.TransferEncoding = nil
	q.ContentLength = int64(len(plain))
	q.Body = http.NoBody
	if len(plain) > 0 {
		q.Body = io.NopCloser(bytes.NewReader(plain))
	}
	shown := answer
	header := resp.Header.Clone()
	if got, ok := decode(header.Get("Content-Encoding"), answer, maxRequest); ok {
		shown = got
		header.Del("Content-Encoding")
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
		return &http.Response{Status: resp.Status, StatusCode: resp.StatusCode, Header: header, Body: io.NopCloser(bytes.NewReader(shown))}, nil
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
			Request:  vcr.Request{Body: string(plain), Headers: q.Header, URL: Address(req), Method: req.Method},
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

// Count returns how many interactions are kept.
func (r *Recorder) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.kept)
}

// Finish writes the cassette, in the order in which requests began, and removes
// the crash journal. Without interactions nothing is written.
func (r *Recorder) Finish(meta Meta) (*Cassette, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, errors.Join(r.err, r.journal.Close())
	}
	slices.SortStableFunc(r.kept, func(a, b numbered) int { return a.n - b.n })
	c := &Cassette{Path: r.path, Meta: meta}
	c.HasMeta = true
	c.Meta.Failures, c.Meta.Unrecorded = r.failures, r.omitted
	for _, k := range r.kept {
		c.Interactions = append(c.Interactions, k.i)
	}
	if len(c.Interactions) > 0 {
		if err := c.Save(r.opts.Redactor); err != nil {
			return nil, errors.Join(err, r.drop())
		}
	}
	return c, r.drop()
}

// Abandon gives the recording up.
func (r *Recorder) Abandon() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drop()
}

func (r *Recorder) drop() error {
	return errors.Join(r.journal.Close(), os.Remove(r.journal.Name()))
}
