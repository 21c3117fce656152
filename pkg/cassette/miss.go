package cassette

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Miss is a request that is not in the cassette, and a guess at which recorded
// one it was meant to be.
type Miss struct {
	Case    string  `json:"case,omitempty"`
	Method  string  `json:"method"`
	URL     string  `json:"url"`
	Why     string  `json:"why"`
	Nearest []Close `json:"nearest"`
}

// Close is a recorded request that is near.
type Close struct {
	Cassette    string       `json:"cassette"`
	Interaction int          `json:"interaction"`
	Method      string       `json:"method"`
	URL         string       `json:"url"`
	Used        bool         `json:"used"` // was answered with already
	Differences []Difference `json:"differences"`
	// Ignore are the rules that would make it match.
	Ignore []string `json:"ignore,omitempty"`
}

// Difference is one field that is not the same.
type Difference struct {
	Path     string `json:"path"`
	Recorded string `json:"recorded"` // absent where it is not there
	Sent     string `json:"sent"`
}

const absent = "(absent)"

func (d Difference) String() string {
	return d.Path + ": recorded " + d.Recorded + ", sent " + d.Sent
}

// Error is the report.
func (m *Miss) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s is not in the cassette: %s", m.Method, m.URL, m.Why)
	for n, c := range m.Nearest {
		used := ""
		if c.Used {
			used = ", used already"
		}
		fmt.Fprintf(&b, "\n  nearest %d (a guess): %s %s (%s, interaction %d%s)", n+1, c.Method, c.URL, c.Cassette, c.Interaction, used)
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
				b.WriteString(" --ignore " + shellQuote(r))
			}
		}
	}
	return b.String()
}

func shellQuote(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("._-=/:", r) && !isAlnum(r) }) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func isAlnum(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// missHeader marks the answer to a request that is not in the cassette.
const missHeader = "X-Replay-Miss"

// response is what the program gets that sent the request: a status that no
// client retries.
func (m *Miss) response(req *http.Request) *http.Response {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"error": "not in the cassette", "miss": m}); err != nil {
		panic(err) // texts cannot fail
	}
	return &http.Response{
		Status: "501 Not Implemented", StatusCode: http.StatusNotImplemented, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}, missHeader: {"1"}}, ContentLength: int64(buf.Len()), Body: io.NopCloser(&buf), Request: req,
	}
}

// cannot answers what is never recorded: a WebSocket, or gRPC in its own way.
func (p *Replayer) cannot(req *http.Request) *http.Response {
	what := "a WebSocket"
	if IsGRPC(req) {
		what = "a call of gRPC"
	}
	m := &Miss{Case: caseOf(req), Method: req.Method, URL: Address(req), Nearest: []Close{}}
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
			if strings.Contains(line, strings.TrimPrefix(what, "a ")) || IsGRPC(req) && strings.Contains(line, "gRPC") {
				m.Why += "; " + c.Path + " says so of " + line
				break
			}
		}
	}
	p.mu.Unlock()
	if !IsGRPC(req) {
		return m.response(req)
	}
	const unimplemented = "12" // https://grpc.io/docs/guides/status-codes/
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: http.Header{
			"Content-Type": {"application/grpc"}, "Grpc-Status": {unimplemented}, "Grpc-Message": {url.PathEscape(m.Error())}, missHeader: {"1"},
		},
		Body: http.NoBody, Request: req,
	}
}

// maxMisses bounds what is remembered of misses.
const maxMisses = 1000

// miss looks for the nearest recorded requests: of the same method and
// resource, else of the same host, else any. The session's lock is held.
func (p *Replayer) miss(s *session, q *Request, same []int32) *Miss {
	m := &Miss{Case: s.name, Method: q.Method, URL: q.URL, Nearest: []Close{}}
	head, _ := splitURL(q.URL)
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
	leaves := p.match.canon(q, true).leaves
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
		// What is shared counts for it, what is not against it; method and
		// path before the rest.
		score := 2*shared(leaves, e.leaves) - len(leaves) - len(e.leaves)
		if e.i.Request.Method == q.Method {
			score += 1000
		}
		eh, _ := splitURL(e.url)
		score += 100 * sharedSegments(head, eh)
		best = append(best, scored{at, score})
		if len(best) > 64 {
			slices.SortStableFunc(best, func(a, b scored) int { return b.score - a.score })
			best = best[:3]
		}
	}
	slices.SortStableFunc(best, func(a, b scored) int { return b.score - a.score })
	for _, b := range best[:min(3, len(best))] {
		e := &p.entries[b.at]
		c := Close{Cassette: e.cassette.Path, Interaction: e.number, Method: e.i.Request.Method, URL: e.url, Used: s.used[b.at]}
		was := recorded(e.i)
		c.Differences = p.match.Compare(&was, q)
		c.Ignore = ignoreRules(c.Differences)
		m.Nearest = append(m.Nearest, c)
	}
	if len(s.misses) < maxMisses {
		s.misses = append(s.misses, m)
	}
	if len(s.log) < maxSeen {
		s.log = append(s.log, Seen{Case: s.name, Method: q.Method, URL: q.URL, Interaction: -1, Miss: true})
	}
	return m
}

// shared counts the elements of two sorted lists that are in both.
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

// ignoreRules are the rules under which the differences would not count; none
// when a rule cannot help.
func ignoreRules(ds []Difference) (rules []string) {
	for _, d := range ds {
		if d.Recorded == absent || d.Sent == absent || !strings.HasPrefix(d.Path, "body.") && !strings.HasPrefix(d.Path, "body[") && !strings.HasPrefix(d.Path, "query.") {
			return nil
		}
		var b strings.Builder // elements by their place are all of them
		for i := 0; i < len(d.Path); i++ {
			if d.Path[i] == '[' {
				if end := strings.IndexByte(d.Path[i:], ']'); end > 0 {
					b.WriteString("[*]")
					i += end
					continue
				}
			}
			b.WriteByte(d.Path[i])
		}
		rule := b.String()
		if strings.HasPrefix(rule, "body[") {
			rule = "body." + rule[4:]
		}
		if !slices.Contains(rules, rule) {
			rules = append(rules, rule)
		}
	}
	return rules
}

// maxDifferences bounds a report.
const maxDifferences = 50

// Compare returns the fields in which two requests differ, as matching sees
// them.
func (m *Matching) Compare(was, now *Request) []Difference {
	d := differ{m: m}
	if was.Method != now.Method {
		d.add("method", was.Method, now.Method)
	}
	h1, q1 := splitURL(was.URL)
	h2, q2 := splitURL(now.URL)
	if h1 != h2 {
		d.add("url", h1, h2)
	}
	v1, err1 := url.ParseQuery(q1)
	v2, err2 := url.ParseQuery(q2)
	if err1 != nil || err2 != nil {
		if q1 != q2 {
			d.add("query", q1, q2)
		}
	} else {
		d.values("query.", v1, v2, func(name string) bool { return m.query[name] || m.credential(name) })
	}
	for _, name := range m.fields {
		if a, b := was.Header.Get(name), now.Header.Get(name); a != b {
			d.add("header."+name, a, b)
		}
	}
	d.bodies(was, now)
	return d.list
}

type differ struct {
	m    *Matching
	list []Difference
}

func (d *differ) add(path, was, now string) {
	if len(d.list) < maxDifferences {
		d.list = append(d.list, Difference{path, short(was), short(now)})
	}
}

func (d *differ) values(prefix string, a, b url.Values, ignored func(string) bool) {
	names := map[string]bool{}
	for k := range a {
		names[k] = true
	}
	for k := range b {
		names[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		if !ignored(k) && !slices.Equal(a[k], b[k]) {
			d.add(prefix+k, orAbsent(a, k), orAbsent(b, k))
		}
	}
}

func orAbsent(v url.Values, k string) string {
	if _, ok := v[k]; !ok {
		return absent
	}
	return strconv.Quote(strings.Join(v[k], ", "))
}

func (d *differ) bodies(was, now *Request) {
	if was.Body == now.Body {
		return
	}
	if was.Body == "" || now.Body == "" {
		d.add("body", orNothing(was.Body), orNothing(now.Body))
		return
	}
	v1, ok1 := parseJSON(was.Body)
	v2, ok2 := parseJSON(now.Body)
	if ok1 && ok2 {
		w := &walker{m: d.m}
		if len(v1) == 1 && len(v2) == 1 {
			d.json(w, v1[0], v2[0])
			return
		}
		d.json(w, v1, v2)
		return
	}
	media, _, err := mime.ParseMediaType(now.Header.Get("Content-Type"))
	if err == nil && media == "application/x-www-form-urlencoded" {
		f1, err1 := url.ParseQuery(was.Body)
		f2, err2 := url.ParseQuery(now.Body)
		if err1 == nil && err2 == nil {
			d.values("body.", f1, f2, func(name string) bool {
				w := &walker{m: d.m, path: []string{name}}
				_, ok := w.volatile(f2.Get(name))
				return ok
			})
			return
		}
	}
	if string(canonBody(d.m, was)) == string(canonBody(d.m, now)) {
		return
	}
	d.add("body", was.Body, now.Body)
}

func canonBody(m *Matching, q *Request) []byte {
	w := walker{m: m}
	return w.body(nil, q.Header.Get("Content-Type"), q.Body)
}

func orNothing(s string) string {
	if s == "" {
		return absent
	}
	return s
}

// json compares two values at the walker's path.
func (d *differ) json(w *walker, a, b any) {
	if len(d.list) >= maxDifferences {
		return
	}
	sa, oka := w.volatile(a)
	sb, okb := w.volatile(b)
	if oka && okb && sa == sb {
		return
	}
	depth := len(w.path)
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		names := map[string]bool{}
		for k := range x {
			names[k] = true
		}
		for k := range y {
			names[k] = true
		}
		for _, k := range slices.Sorted(maps.Keys(names)) {
			w.path = append(w.path[:depth], k)
			va, ok1 := x[k]
			vb, ok2 := y[k]
			switch {
			case !ok1:
				d.add(pathText(w.path, false), absent, jsonText(vb))
			case !ok2:
				d.add(pathText(w.path, false), jsonText(va), absent)
			default:
				d.json(w, va, vb)
			}
		}
		w.path = w.path[:depth]
		return
	case []any:
		y, ok := b.([]any)
		if !ok {
			break
		}
		if len(x) != len(y) {
			d.add(pathText(w.path, false)+" (elements)", strconv.Itoa(len(x)), strconv.Itoa(len(y)))
		}
		for n := range min(len(x), len(y)) {
			w.path = append(w.path[:depth], "["+strconv.Itoa(n)+"]")
			d.json(w, x[n], y[n])
		}
		w.path = w.path[:depth]
		return
	case json.Number:
		if y, ok := b.(json.Number); ok && number(string(x)) == number(string(y)) {
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		d.add(pathText(w.path, false), jsonText(a), jsonText(b))
	}
}

func jsonText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}
