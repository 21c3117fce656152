// Package replay answers requests from cassettes.
//
// A [Replayer] finds the recorded interaction for a request by an index, and never uses the
// network. A request that it does not find is a [Miss], which names the nearest recorded requests
// and the differences. [Replayer.Propose] finds the rules with which missed requests would match.
package replay

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// Options configure a [Replayer].
type Options struct {
	// Ignore lists rules of matching that are added to those of the cassettes.
	Ignore []string
	// Exact switches off the default rules.
	Exact bool
	// Headers lists the headers that have to be equal, too.
	Headers []string
	// Repeat says what happens when all interactions for a request were used: "error"
	// (the default), "last" (answer with the last again) or "cycle" (begin again with
	// the first).
	Repeat string
	// Latency is the factor for the recorded duration; 0: answer at once.
	Latency float64
	// Redactor redacts requests, so that they can be compared with the recorded ones.
	// nil: they are compared as they are.
	Redactor *redact.Redactor
	// Now is the clock that Latency uses; nil: time.Now.
	Now func() time.Time
}

// Replayer answers requests from cassettes. It never uses the network. It is safe for
// concurrent use.
type Replayer struct {
	opts      Options
	match     *match.Matcher
	rules     match.Options // of match
	cassettes []*cassette.Cassette

	entries []entry
	raw     map[uint64][]int32
	canon   map[match.Key][]int32
	byPath  map[string][]int32 // by method and resource
	byHost  map[string][]int32

	mu       sync.Mutex
	sessions map[string]*session
	missed   []match.Request // redacted; Propose uses them
}

// entry is an interaction in the index.
type entry struct {
	cassette *cassette.Cassette
	number   int
	i        *cassette.Interaction
	url      string
	leaves   []uint64
	details  *cassette.Details // nil: there are none
}

// session is the state of one case: a set of cursors. Tests that run at the same time
// each have their own.
type session struct {
	name   string
	only   *cassette.Cassette // if not nil, only this cassette is used
	used   []bool
	cursor map[cursorKey]int
	log    []Seen
	misses []*Miss
}

type cursorKey struct {
	raw   uint64
	canon match.Key
}

// Seen is a request and the interaction that answered it.
type Seen struct {
	Case        string `json:"case,omitempty"`
	Method      string `json:"method"`
	URL         string `json:"url"`
	Cassette    string `json:"cassette,omitempty"`
	Interaction int    `json:"interaction"`
	Miss        bool   `json:"miss,omitempty"`
}

// maxSeen limits how many requests are kept.
const maxSeen = 10_000

// New indexes cassettes. Their order determines the order of the answers.
func New(cassettes []*cassette.Cassette, o Options) (*Replayer, error) {
	rules := match.Options{Ignore: slices.Clone(o.Ignore), Exact: o.Exact, Headers: o.Headers}
	for _, c := range cassettes {
		rules.Ignore = append(rules.Ignore, c.Meta.Ignore...)
		rules.Exact = rules.Exact || c.Meta.Exact
		if o.Redactor != nil && c.Meta.Key != "" && c.Meta.Key != o.Redactor.Fingerprint() {
			rules.Anonymous = true
		}
	}
	switch o.Repeat {
	case "":
		o.Repeat = "error"
	case "error", "last", "cycle":
	default:
		return nil, fmt.Errorf("repeat has to be error, last or cycle, not %q", o.Repeat)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m, err := match.New(rules)
	if err != nil {
		return nil, err
	}
	p := &Replayer{
		opts: o, match: m, rules: rules, cassettes: cassettes, sessions: map[string]*session{},
		raw: map[uint64][]int32{}, canon: map[match.Key][]int32{}, byPath: map[string][]int32{}, byHost: map[string][]int32{},
	}
	var texts []string
	for _, c := range cassettes {
		details := c.DetailsByNumber()
		for n, i := range c.Interactions {
			p.add(c, n, i, details[n])
			if o.Redactor != nil && !rules.Anonymous {
				texts = append(texts, i.Request.URL, i.Request.Body)
			}
		}
	}
	if o.Redactor != nil {
		p.opts.Redactor = o.Redactor.Recognising(slices.Values(texts))
	}
	return p, nil
}

func (p *Replayer) add(c *cassette.Cassette, n int, i *cassette.Interaction, d *cassette.Details) {
	q := match.Recorded(i)
	key, leaves := p.match.KeyAndLeaves(&q)
	at := int32(len(p.entries))
	p.entries = append(p.entries, entry{c, n, i, q.URL, leaves, d})
	raw := q.Raw()
	p.raw[raw] = append(p.raw[raw], at)
	p.canon[key] = append(p.canon[key], at)
	head := p.match.Resource(q.URL)
	p.byPath[q.Method+" "+head] = append(p.byPath[q.Method+" "+head], at)
	h := hostOf(head)
	p.byHost[h] = append(p.byHost[h], at)
}

func hostOf(head string) string {
	_, rest, ok := strings.Cut(head, "://")
	if !ok {
		return ""
	}
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// Size returns how many interactions a cassette holds.
func (p *Replayer) Size(path string) int {
	for _, c := range p.cassettes {
		if c.Path == path {
			return len(c.Interactions)
		}
	}
	return 0
}

// Foreign is true if the key with which the cassettes were redacted is not available.
// Tokens are then compared by their place, not by their value.
func (p *Replayer) Foreign() bool { return p.rules.Anonymous }

// Knows is true if any request with this method and resource was recorded.
func (p *Replayer) Knows(method, url string) bool {
	head := p.match.Resource(url)
	return len(p.byPath[method+" "+head]) > 0
}

// session returns the session of a case, and creates it if necessary. If the name is
// that of a cassette, alone or before a #, the session uses only this cassette.
func (p *Replayer) session(name string) *session {
	s := p.sessions[name]
	if s == nil {
		s = &session{name: name, used: make([]bool, len(p.entries)), cursor: map[cursorKey]int{}}
		base, _, _ := strings.Cut(name, "#")
		if base != "" {
			for i := range p.entries {
				c := p.entries[i].cassette
				if trimmed := strings.TrimSuffix(c.Path, ".yaml"); c.Case() == base || trimmed == base ||
					strings.HasSuffix(trimmed, "/"+base) {
					s.only = c
					break
				}
			}
		}
		p.sessions[name] = s
	}
	return s
}

// Answer finds the interaction for a request of a case, and marks it as used. If there
// is none, the error is a *Miss.
func (p *Replayer) Answer(caseName string, q match.Request) (*cassette.Interaction, error) {
	e, err := p.answer(caseName, q)
	if err != nil {
		return nil, err
	}
	return e.i, nil
}

func (p *Replayer) answer(caseName string, q match.Request) (*entry, error) {
	e, red, list := p.find(caseName, q)
	if e != nil {
		return e, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return nil, p.miss(p.session(caseName), &red, list)
}

// find returns the interaction for a request. If there is none, it returns the redacted
// request, and the interactions that match but were all used.
func (p *Replayer) find(caseName string, q match.Request) (*entry, match.Request, []int32) {
	raw := q.Raw()
	p.mu.Lock()
	s := p.session(caseName)
	if at := p.take(s, cursorKey{raw: raw}, p.raw[raw], &q); at >= 0 {
		e := &p.entries[at]
		s.see(&q, e)
		p.mu.Unlock()
		return e, q, nil
	}
	p.mu.Unlock()
	// The slow path: redact the request and compare its canonical form.
	if r := p.opts.Redactor; r != nil {
		if len(p.rules.Headers) > 0 {
			q.Header = q.Header.Clone()
			r.Header(q.Header)
		}
		q.URL = r.URL(q.URL)
		q.Body = r.Body(q.Header.Get("Content-Type"), q.Body)
	}
	key := p.match.Key(&q)
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.canon[key]
	at := p.take(s, cursorKey{canon: key}, list, nil)
	if at < 0 {
		at = p.again(s, cursorKey{canon: key}, list)
	}
	if at < 0 {
		return nil, q, list
	}
	e := &p.entries[at]
	s.see(&q, e)
	return e, q, nil
}

// take returns the first unused entry of a list and marks it as used, so that entries
// are used in order and once. If q is not nil, the entry has to be equal byte for byte.
func (p *Replayer) take(s *session, k cursorKey, list []int32, q *match.Request) int32 {
	for n := s.cursor[k]; n < len(list); n++ {
		at := list[n]
		e := &p.entries[at]
		if s.used[at] || s.only != nil && e.cassette != s.only || q != nil &&
			(e.url != q.URL || e.i.Request.Body != q.Body || e.i.Request.Method != q.Method) {
			continue
		}
		s.cursor[k] = n + 1
		s.used[at] = true
		return at
	}
	return -1
}

// again returns an entry from a list that was used up, if Repeat allows it.
func (p *Replayer) again(s *session, k cursorKey, list []int32) int32 {
	if s.only != nil {
		list = slices.DeleteFunc(slices.Clone(list), func(at int32) bool { return p.entries[at].cassette != s.only })
	}
	switch {
	case len(list) == 0 || p.opts.Repeat == "error":
		return -1
	case p.opts.Repeat == "last":
		return list[len(list)-1]
	}
	n := max(s.cursor[k], len(list))
	s.cursor[k] = n + 1
	return list[n%len(list)]
}

func (s *session) see(q *match.Request, e *entry) {
	if len(s.log) < maxSeen {
		s.log = append(s.log, Seen{Case: s.name, Method: q.Method, URL: q.URL, Cassette: e.cassette.Path,
			Interaction: e.number})
	}
}

// Usage is a summary of which interactions a replay used.
type Usage struct {
	Used   int     `json:"used"`
	Unused []Seen  `json:"unused"`
	Missed []*Miss `json:"missed"`
}

// Usage returns, over all cases, which interactions were used, which were not, and
// which requests were missed.
func (p *Replayer) Usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := Usage{Unused: []Seen{}, Missed: []*Miss{}}
	used := p.used()
	for _, s := range p.sessions {
		u.Missed = append(u.Missed, s.misses...)
	}
	for n := range p.entries {
		e := &p.entries[n]
		if used[n] {
			u.Used++
		} else {
			u.Unused = append(u.Unused, Seen{Method: e.i.Request.Method, URL: e.url, Cassette: e.cassette.Path,
				Interaction: e.number})
		}
	}
	return u
}

// used says which interactions were used in any session. The caller holds p.mu.
func (p *Replayer) used() []bool {
	used := make([]bool, len(p.entries))
	for _, s := range p.sessions {
		for n := range s.used {
			used[n] = used[n] || s.used[n]
		}
	}
	return used
}

// Requests returns the requests so far, of one case or, for "", of all cases.
func (p *Replayer) Requests(caseName string) []Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []Seen{}
	for name, s := range p.sessions {
		if caseName == "" || name == caseName {
			out = append(out, s.log...)
		}
	}
	return out
}

// Reset makes all interactions unused again, for one case or, for "", for all cases.
func (p *Replayer) Reset(caseName string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if caseName == "" {
		clear(p.sessions)
	} else {
		delete(p.sessions, caseName)
	}
}

// RoundTrip answers a request. A miss is answered with status 501 and the nearest
// recorded requests, as JSON. If the recorded answer was broken, the error is a
// [*Broken].
func (p *Replayer) RoundTrip(req *http.Request) (*http.Response, error) {
	if wire.IsWebSocket(req) || wire.IsGRPC(req) {
		if req.Body != nil {
			if req.ContentLength >= 0 { // HTTP/2 resets a stream if its request was not read
				_, _ = io.Copy(io.Discard, io.LimitReader(req.Body, wire.MaxBody)) // an error does not matter
			}
			req.Body.Close()
		}
		return p.cannot(req), nil
	}
	q, err := match.ReadRequest(req, wire.MaxBody)
	if req.Body != nil {
		req.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	e, err := p.answer(req.Header.Get(wire.CaseHeader), q)
	if miss, ok := err.(*Miss); ok {
		return miss.response(req), nil
	} else if err != nil {
		return nil, err
	}
	return p.play(req, e)
}

// Try is RoundTrip for a request that was read already. It returns nil if the request is not in
// the cassettes, and that does not count as a miss.
func (p *Replayer) Try(req *http.Request, q match.Request) (*http.Response, error) {
	e, _, _ := p.find("", q)
	if e == nil {
		return nil, nil
	}
	return p.play(req, e)
}

// play gives the recorded answer, with the recorded timing if Latency is set.
func (p *Replayer) play(req *http.Request, e *entry) (*http.Response, error) {
	ctx, began := req.Context(), p.opts.Now()
	wait := e.i.Response.Duration
	if d := e.details; d != nil && len(d.Chunks) > 0 {
		wait = time.Duration(d.Chunks[0].MS) * time.Millisecond
	}
	if err := sleep(ctx, time.Duration(float64(wait)*p.opts.Latency)); err != nil {
		return nil, err
	}
	d := e.details
	if d != nil && d.Broken != "" && e.i.Response.Code == 0 {
		if d.Broken == wire.BreakTimeout {
			<-ctx.Done()
		}
		return nil, wire.Replayed(d.Broken, d.Error)
	}
	resp := respond(req, e.i)
	text := e.i.Response.Body
	if d == nil || resp.Body == http.NoBody {
		return resp, nil
	}
	due := func(at time.Duration) error {
		return sleep(ctx, began.Add(time.Duration(float64(at)*p.opts.Latency)).Sub(p.opts.Now()))
	}
	body := &playback{due: due, done: ctx.Done(), text: text, chunks: slices.Clone(d.Chunks),
		end: io.EOF}
	switch {
	case d.Broken != "":
		body.end = wire.Replayed(d.Broken, d.Error)
	case d.Left:
		body.end = nil
	}
	resp.Body = body
	if len(d.Chunks) > 0 || len(d.Trailers) > 0 || d.Broken != "" || d.Left {
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	}
	if d.Length > int64(len(text)) {
		resp.ContentLength = d.Length
		resp.Header.Set("Content-Length", strconv.FormatInt(d.Length, 10))
	}
	if len(d.Trailers) > 0 {
		resp.Trailer = d.Trailers.Clone()
	}
	return resp, nil
}

// respond makes an http.Response from a recorded one.
func respond(req *http.Request, i *cassette.Interaction) *http.Response {
	h := i.Response.Headers.Clone()
	if h == nil {
		h = http.Header{}
	}
	body := wire.Plain(h, i.Response.Body)
	for _, name := range []string{"Transfer-Encoding", "Connection", "Keep-Alive", "Trailer"} {
		h.Del(name)
	}
	status := i.Response.Status
	if status == "" {
		status = strconv.Itoa(i.Response.Code) + " " + http.StatusText(i.Response.Code)
	}
	r := &http.Response{
		Status: status, StatusCode: i.Response.Code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
	switch {
	case req.Method == http.MethodHead: // the length that GET would have
		r.ContentLength = -1
		if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil {
			r.ContentLength = n
		}
		r.Body = http.NoBody
	case r.StatusCode == http.StatusNoContent || r.StatusCode == http.StatusNotModified:
		h.Del("Content-Length")
		r.Body, r.ContentLength = http.NoBody, 0
	default:
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return r
}
