package standin

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Partner answers as its contracts say. It is an [http.RoundTripper], which needs no
// socket, and an [http.Handler]. It is safe for concurrent use. Set its fields before
// the first request.
type Partner struct {
	// Now is the clock for historical windows; nil: events may be of any age.
	Now func() time.Time

	contracts []*Contract

	mu         sync.Mutex
	stats      Stats
	endpoints  map[string]int
	violations []Violation
}

// Stats counts what a partner has received.
type Stats struct {
	Requests  int            // all of them
	Refused   int            // requests with at least one violation
	Items     int            // items that could be read
	Taken     int            // items accepted
	Endpoints map[string]int // requests by "METHOD path", with the path as in the contract
}

// New returns a partner that follows its contracts. If there are several, the one with
// the request's host answers, or else the first.
func New(contracts ...*Contract) *Partner {
	if len(contracts) == 0 {
		panic("standin: a partner needs a contract")
	}
	return &Partner{contracts: contracts, endpoints: map[string]int{}}
}

// maxViolations limits how many violations a partner keeps.
const maxViolations = 100

// Violations returns the violations in the requests so far, but no more than the first
// hundred.
func (p *Partner) Violations() []Violation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.violations)
}

// Stats returns the counts so far.
func (p *Partner) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Endpoints = make(map[string]int, len(p.endpoints))
	for k, n := range p.endpoints {
		s.Endpoints[k] = n
	}
	return s
}

// RoundTrip implements [http.RoundTripper].
func (p *Partner) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	body, err := readBody(req.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	reply, answer := p.answer(req, body)
	return reply.response(req, answer), nil
}

// ServeHTTP implements [http.Handler].
func (p *Partner) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := readBody(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply, answer := p.answer(req, body)
	for k, v := range reply.header(answer) {
		w.Header()[k] = v
	}
	w.WriteHeader(reply.Status)
	_, _ = io.WriteString(w, answer) // if it fails, the client is gone
}

func readBody(r io.ReadCloser) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(b) > maxBody {
		err = fmt.Errorf("the body has more than %d bytes", maxBody)
	}
	return b, err
}

func (p *Partner) contract(host string) *Contract {
	if len(p.contracts) > 1 {
		for _, c := range p.contracts {
			if len(c.Hosts) > 0 && serves(c.Hosts, host) {
				return c
			}
		}
	}
	return p.contracts[0]
}

func (p *Partner) answer(req *http.Request, body []byte) (*Reply, string) {
	c := p.contract(req.URL.Hostname())
	var now time.Time
	if p.Now != nil {
		now = p.Now()
	}
	v := c.check(now, req, body)
	defer c.release(v)
	p.count(v)
	return v.reply, v.reply.fill(v)
}

func (p *Partner) count(v *verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Requests++
	p.stats.Items += len(v.items)
	if v.endpoint != nil {
		p.endpoints[v.endpoint.Method+" "+v.endpoint.Path[0]]++
	}
	if len(v.violations) > 0 {
		p.stats.Refused++
		room := maxViolations - len(p.violations)
		p.violations = append(p.violations, v.violations[:min(room, len(v.violations))]...)
	}
	p.stats.Taken += v.taken
}

// fill returns a reply's body for a verdict.
func (r *Reply) fill(v *verdict) string {
	if !strings.Contains(r.Body, "{") {
		return r.Body
	}
	var first string
	if len(v.violations) > 0 {
		first = quoteInner(v.violations[0].Msg)
	}
	pairs := []string{"{n}", strconv.Itoa(v.taken), "{refused}", strconv.Itoa(len(v.items) - v.taken), "{error}", first}
	if strings.Contains(r.Body, "{failed}") {
		pairs = append(pairs, "{failed}", r.failed(v))
	}
	if strings.Contains(r.Body, "{items}") {
		pairs = append(pairs, "{items}", r.each(v))
	}
	if strings.Contains(r.Body, "{missing}") || strings.Contains(r.Body, "{invalid}") {
		pairs = append(pairs, "{missing}", byField(v.violations, true), "{invalid}", byField(v.violations, false))
	}
	if strings.Contains(r.Body, "{n:") {
		for rest := r.Body; ; {
			_, after, ok := strings.Cut(rest, "{n:")
			if !ok {
				break
			}
			name, more, _ := strings.Cut(after, "}")
			n := 0
			for _, it := range v.items {
				if it.in == name && !it.bad && v.taken > 0 {
					n++
				}
			}
			pairs = append(pairs, "{n:"+name+"}", strconv.Itoa(n))
			rest = more
		}
	}
	return strings.NewReplacer(pairs...).Replace(r.Body)
}

func (r *Reply) failed(v *verdict) string {
	var b strings.Builder
	for _, bad := range v.violations {
		if bad.Item < 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		in, place := v.items[bad.Item].in, 0
		for i := range bad.Item {
			if v.items[i].in == in {
				place++
			}
		}
		words := strings.NewReplacer("{index}", strconv.Itoa(bad.Item), "{id}", v.id(bad.Item),
			"{field}", quoteInner(bad.Field), "{error}", quoteInner(bad.Msg),
			"{in}", quoteInner(in), "{at}", strconv.Itoa(place))
		_, _ = words.WriteString(&b, r.Failed)
	}
	return b.String()
}

func (r *Reply) each(v *verdict) string {
	var b strings.Builder
	for i := range v.items {
		if v.items[i].bad || v.taken == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		_, _ = strings.NewReplacer("{index}", strconv.Itoa(i), "{id}", v.id(i)).WriteString(&b, r.Each)
	}
	return b.String()
}

// id is the insert id of an item, as JSON text without its quotes.
func (v *verdict) id(i int) string {
	if i < len(v.ids) {
		return quoteInner(v.ids[i])
	}
	if v.endpoint == nil || v.endpoint.insertID == nil {
		return ""
	}
	id := at(v.items[i].v, v.endpoint.insertID)
	if id.Nullish() {
		return ""
	}
	return quoteInner(id.Text())
}

// byField is a JSON object. It maps a field to the indexes of the items in which it is
// missing or, without missing, wrong.
func byField(vs []Violation, missing bool) string {
	var names []string
	at := map[string][]byte{}
	for _, v := range vs {
		if v.Item < 0 || v.Gone != missing {
			continue
		}
		if at[v.Field] == nil {
			names = append(names, v.Field)
		} else {
			at[v.Field] = append(at[v.Field], ',')
		}
		at[v.Field] = strconv.AppendInt(at[v.Field], int64(v.Item), 10)
	}
	out := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = event.AppendQuoted(out, name)
		out = append(append(append(out, ":["...), at[name]...), ']')
	}
	return string(append(out, '}'))
}

func quoteInner(s string) string {
	q := event.AppendQuoted(nil, s)
	return string(q[1 : len(q)-1])
}

func (r *Reply) header(body string) http.Header {
	h := http.Header{}
	switch {
	case strings.HasPrefix(body, "{"), strings.HasPrefix(body, "["):
		h.Set("Content-Type", "application/json")
	case body != "":
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	for k, v := range r.Headers {
		h.Set(k, v)
	}
	return h
}

func (r *Reply) response(req *http.Request, body string) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(r.Status) + " " + http.StatusText(r.Status), StatusCode: r.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: r.header(body), Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		Request: req,
	}
}
