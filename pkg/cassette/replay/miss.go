package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
	"github.com/fanfold/fanfold/pkg/shell"
)

// Miss is a request that is not in the cassette, with the nearest recorded requests:
// one of them is probably the one that was meant.
type Miss struct {
	Case    string  `json:"case,omitempty"`
	Method  string  `json:"method"`
	URL     string  `json:"url"`
	Why     string  `json:"why"`
	Nearest []Close `json:"nearest"`
}

// Close is a recorded request that is similar to a missed one.
type Close struct {
	Cassette    string             `json:"cassette"`
	Interaction int                `json:"interaction"`
	Method      string             `json:"method"`
	URL         string             `json:"url"`
	Used        bool               `json:"used"` // was used as an answer already
	Differences []match.Difference `json:"differences"`
	// Ignore lists the rules with which it would match.
	Ignore []string `json:"ignore,omitempty"`
}

// Error is the report of the miss.
func (m *Miss) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s is not in the cassette: %s", m.Method, m.URL, m.Why)
	for n, c := range m.Nearest {
		used := ""
		if c.Used {
			used = ", used already"
		}
		fmt.Fprintf(&b, "\n  nearest %d (a guess): %s %s (%s, interaction %d%s)", n+1, c.Method, c.URL, c.Cassette,
			c.Interaction, used)
		for k, d := range c.Differences {
			if k == 8 {
				fmt.Fprintf(&b, "\n    and %d more differences", len(c.Differences)-k)
				break
			}
			fmt.Fprintf(&b, "\n    %s", d)
		}
		if len(c.Ignore) > 0 && len(c.Ignore) <= 8 {
			b.WriteString("\n    would match with")
			for _, r := range c.Ignore {
				b.WriteString(" --ignore " + shell.Word(r))
			}
		}
	}
	return b.String()
}

// MissHeader marks the answer to a miss.
const MissHeader = "X-Replay-Miss"

// response is the answer to a miss. Its status is one that no client retries.
func (m *Miss) response(req *http.Request) *http.Response {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"error": "not in the cassette", "miss": m}); err != nil {
		panic(err) // strings can always be encoded
	}
	return &http.Response{
		Status: "501 Not Implemented", StatusCode: http.StatusNotImplemented, Proto: "HTTP/1.1", ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{"Content-Type": {"application/json"}, MissHeader: {"1"}}, ContentLength: int64(buf.Len()),
		Body: io.NopCloser(&buf), Request: req,
	}
}

// cannot answers requests that are never recorded: for a WebSocket, and for gRPC in its
// own protocol.
func (p *Replayer) cannot(req *http.Request) *http.Response {
	what := "a WebSocket"
	if wire.IsGRPC(req) {
		what = "a call of gRPC"
	}
	m := &Miss{Case: req.Header.Get(wire.CaseHeader), Method: req.Method, URL: wire.Address(req), Nearest: []Close{}}
	if r := p.opts.Redactor; r != nil {
		m.URL = r.URL(m.URL)
	}
	m.Why = "this is " + what + ", which is passed on and never recorded"
	p.mu.Lock()
	s := p.session(m.Case)
	if len(s.misses) < maxMisses {
		s.misses = append(s.misses, m)
	}
	for _, c := range p.cassettes {
		for _, line := range c.Meta.Unrecorded {
			if strings.Contains(line, strings.TrimPrefix(what, "a ")) || wire.IsGRPC(req) && strings.Contains(line, "gRPC") {
				m.Why += "; " + c.Path + " says so of " + line
				break
			}
		}
	}
	p.mu.Unlock()
	if !wire.IsGRPC(req) {
		return m.response(req)
	}
	const unimplemented = "12" // https://grpc.io/docs/guides/status-codes/
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: http.Header{
			"Content-Type": {"application/grpc"}, "Grpc-Status": {unimplemented}, "Grpc-Message": {url.PathEscape(m.Error())},
			MissHeader: {"1"},
		},
		Body: http.NoBody, Request: req,
	}
}

// maxMisses limits how many misses are kept.
const maxMisses = 1000

// miss looks for the nearest recorded requests: with the same method and resource, or
// else the same host, or else any. The caller holds the lock of the session.
func (p *Replayer) miss(s *session, q *match.Request, same []int32) *Miss {
	m := &Miss{Case: s.name, Method: q.Method, URL: q.URL, Nearest: []Close{}}
	head := p.match.Resource(q.URL)
	list := p.byPath[q.Method+" "+head]
	switch {
	case len(same) > 0 && s.only == nil:
		m.Why = fmt.Sprintf("it was recorded %d times and is asked for once more (--repeat last answers again)", len(same))
		if len(same) == 1 {
			m.Why = "it was recorded once and is asked for again (--repeat last answers again)"
		}
		list = same
	case len(list) > 0:
		m.Why = "requests to this address were recorded, this one was not"
	case len(p.byHost[hostOf(head)]) > 0:
		list = p.byHost[hostOf(head)]
		m.Why = "nothing was recorded for this method and path"
	case len(p.entries) == 0:
		m.Why = "the cassette is empty"
	default:
		m.Why = "nothing was recorded for this host"
		for n := range p.entries {
			list = append(list, int32(n))
		}
	}
	_, leaves := p.match.KeyAndLeaves(q)
	type scored struct {
		at    int32
		score int
	}
	var best []scored
	for _, at := range list {
		e := &p.entries[at]
		if s.only != nil && e.cassette != s.only {
			continue
		}
		// Each shared part adds to the score, each other part lowers it. Method and
		// path count more than everything else.
		score := 2*shared(leaves, e.leaves) - len(leaves) - len(e.leaves)
		if e.i.Request.Method == q.Method {
			score += 1000
		}
		score += 100 * sharedSegments(head, p.match.Resource(e.url))
		best = append(best, scored{at, score})
		if len(best) > 64 {
			slices.SortStableFunc(best, func(a, b scored) int { return b.score - a.score })
			best = best[:3]
		}
	}
	slices.SortStableFunc(best, func(a, b scored) int { return b.score - a.score })
	for _, b := range best[:min(3, len(best))] {
		e := &p.entries[b.at]
		c := Close{Cassette: e.cassette.Path, Interaction: e.number, Method: e.i.Request.Method, URL: e.url,
			Used: s.used[b.at]}
		was := match.Recorded(e.i)
		d := p.match.Compare(&was, q)
		if c.Differences = d.Differences; !d.Hard {
			c.Ignore = d.Rules
		}
		m.Nearest = append(m.Nearest, c)
	}
	if len(s.misses) < maxMisses {
		s.misses = append(s.misses, m)
		p.missed = append(p.missed, *q)
	}
	if len(s.log) < maxSeen {
		s.log = append(s.log, Seen{Case: s.name, Method: q.Method, URL: q.URL, Interaction: -1, Miss: true})
	}
	return m
}

// shared counts the elements that two sorted lists have in common.
func shared(a, b []uint64) (n int) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			n++
			a, b = a[1:], b[1:]
		case a[0] < b[0]:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return n
}

func sharedSegments(a, b string) (n int) {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for k := range min(len(as), len(bs)) {
		if as[k] != bs[k] {
			break
		}
		n++
	}
	return n
}
