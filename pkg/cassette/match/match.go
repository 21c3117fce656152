// Package match decides whether a request is a recorded one, and says what two requests differ in.
//
// A [Matcher] brings both into a canonical form, without the parts that may differ: times and ids
// that are new in every run, credentials, and whatever a rule names. Requests that match have
// the same [Key]. [Matcher.Compare] returns the differences of two that do not, with the rules
// that would allow them, and [Drift] compares answers by their shape.
package match

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
	"golang.org/x/net/http/httpguts"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// Options say which parts of requests may differ.
type Options struct {
	// Ignore lists rules, such as body.batch[*].id=uuid, query.ts or path[2]; see parseRule.
	Ignore []string
	// Exact switches off the default rules.
	Exact bool
	// Headers lists the headers that have to be equal, too.
	Headers []string
	// Anonymous compares tokens by their place only, because the key that made them is not available.
	Anonymous bool
}

// Matcher decides whether a request matches a recorded one.
type Matcher struct {
	rules  []rule           // of the body
	names  map[string]shape // the rules "**.name", which are the most frequent
	query  map[string]shape
	path   []rule
	fields []string // headers that have to be equal
	// credentials is true if credentials are not compared: a replay has other ones than
	// the recording, or none.
	credentials bool
	// anonymous is true if tokens are compared by their place only, because the key
	// that made them is not available.
	anonymous bool
}

// volatile lists the members of events that are new in every run.
var volatile = []string{
	"sentAt=time", "timestamp=time", "originalTimestamp=time", "receivedAt=time",
	"messageId=id", "message_id=id", "insertId=id", "insert_id=id", "$insert_id=id", "idempotency_key=id",
	"idempotencyKey=id", "dedup_id=id",
}

// New compiles rules. Unless Exact is set, it adds the default rules: members
// of events that change from run to run (times and ids of messages) only have to keep
// their shape, and values whose name says that they are credentials are not compared.
func New(o Options) (*Matcher, error) {
	m := &Matcher{names: map[string]shape{}, query: map[string]shape{}, credentials: !o.Exact, anonymous: o.Anonymous}
	all := o.Ignore
	if !o.Exact {
		all = slices.Concat(volatile, o.Ignore)
	}
	for _, s := range all {
		r, err := parseRule(s)
		if err != nil {
			return nil, err
		}
		switch {
		case r.Part == "query":
			m.query[r.Path[0]] = r.want
		case r.Part == "path":
			m.path = append(m.path, r)
		case r.Part == "header": // headers are compared only on request
		case len(r.Path) == 2 && r.Path[0] == "**" && r.Path[1] != "*" && r.re == nil && !r.names &&
			r.want != shapeOptional && r.want != shapeUnordered:
			m.names[r.Path[1]] = r.want
		default:
			m.rules = append(m.rules, r)
		}
	}
	for _, h := range o.Headers {
		if !httpguts.ValidHeaderFieldName(h) {
			return nil, fmt.Errorf("%q is no name of a header", h)
		}
		m.fields = append(m.fields, http.CanonicalHeaderKey(h))
	}
	return m, nil
}

// Request is a request in the form in which it is compared: with its whole body,
// decoded.
type Request struct {
	Method string
	URL    string
	Header http.Header
	Body   string
}

// ReadRequest reads a request with its whole body, decoded. A body larger than limit is
// an error.
func ReadRequest(req *http.Request, limit int64) (Request, error) {
	q := Request{Method: req.Method, URL: wire.Address(req), Header: req.Header}
	if req.Body == nil {
		return q, nil
	}
	data, err := io.ReadAll(io.LimitReader(req.Body, limit+1))
	if err != nil {
		return q, err
	}
	if int64(len(data)) > limit {
		return q, fmt.Errorf("the request has a body of more than %d bytes", limit)
	}
	plain, _ := wire.Decode(req.Header.Get("Content-Encoding"), data, limit)
	q.Body = string(plain)
	return q, nil
}

// Key is equal for two requests that match. It is a hash of 128 bits of the canonical
// form: the request without the parts that do not matter.
type Key = xxh3.Uint128

// Key returns the key of a request that is already redacted.
func (m *Matcher) Key(q *Request) Key {
	k, _ := m.canon(q, false)
	return k
}

// KeyAndLeaves returns, beside the key, sorted hashes of path and value of each part of the query and the body.
// The more of them two requests share, the more similar they are.
func (m *Matcher) KeyAndLeaves(q *Request) (Key, []uint64) { return m.canon(q, true) }

func (m *Matcher) canon(q *Request, wantLeaves bool) (Key, []uint64) {
	var w walker
	w.m, w.collect = m, wantLeaves
	head, query := m.splitURL(q.URL)
	b := append(w.buf, q.Method...)
	b = append(b, ' ')
	b = append(b, head...)
	b = append(b, '\n')
	b = m.canonQuery(b, query, &w)
	b = append(b, '\n')
	b = w.body(b, q.Header.Get("Content-Type"), q.Body)
	for _, name := range m.fields {
		b = append(append(append(b, '\n'), name...), q.Header.Get(name)...)
	}
	if m.anonymous {
		b = anonymize(b)
	} else {
		b = redact.SameTokens(b)
	}
	slices.Sort(w.leaves)
	return xxh3.Hash128(b), w.leaves
}

// Resource is an address without its parameters, its fragment and a default port, and with placeholders for the
// segments of its path that may differ.
func (m *Matcher) Resource(address string) string {
	head, _ := m.splitURL(address)
	return head
}

// splitURL is the function [splitURL], with the placeholders of the path's rules in the
// result.
func (m *Matcher) splitURL(s string) (head, query string) {
	head, query = splitURL(s)
	if len(m.path) == 0 {
		return head, query
	}
	host, path, ok := cutPath(head)
	if !ok {
		return head, query
	}
	all := strings.Split(path, "/")
	now := slices.Clone(all)
	for i := range all {
		for k := range m.path {
			if stand, ok := m.path[k].segment(all, i); ok {
				now[i] = stand
				break
			}
		}
	}
	return host + "/" + strings.Join(now, "/"), query
}

// cutPath separates scheme and host from the path, and drops the path's first slash.
func cutPath(head string) (host, path string, ok bool) {
	from := 0
	if i := strings.Index(head, "://"); i >= 0 {
		from = i + 3
	}
	i := strings.IndexByte(head[from:], '/')
	if i < 0 {
		return head, "", false
	}
	return head[:from+i], head[from+i+1:], true
}

// splitURL separates the resource from the parameters. It drops a default port and the
// fragment, and escapes what only some programs escape in a path.
func splitURL(s string) (head, query string) {
	s, _, _ = strings.Cut(s, "#")
	head, query, _ = strings.Cut(s, "?")
	scheme, rest, ok := strings.Cut(head, "://")
	if !ok {
		return head, query
	}
	host, path, _ := strings.Cut(rest, "/")
	host = strings.ToLower(host)
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + host + "/" + wire.Sendable(path), query
}

func (m *Matcher) canonQuery(b []byte, query string, w *walker) []byte {
	if query == "" {
		return b
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return append(b, query...)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		want, ruled := m.query[name]
		if ruled && want == shapeAny {
			continue
		}
		if m.credential(name) {
			b = append(append(b, name...), "=<credential>&"...)
			continue
		}
		for _, v := range values[name] {
			if ruled && want.has(v) {
				v = "<" + string(want) + ">"
			}
			b = append(append(append(append(b, name...), '='), v...), '&')
			w.leaf("query."+name, v)
		}
	}
	return b
}

// anonymize replaces each token by a number, in the order in which they first occur.
func anonymize(b []byte) []byte {
	seen := map[string]int{}
	return redact.ReplaceTokens(b, func(kind, text string) string {
		n, ok := seen[text]
		if !ok {
			n = len(seen)
			seen[text] = n
		}
		return fmt.Sprintf("<%s %d>", kind, n)
	})
}

// walker writes the canonical form of bodies.
type walker struct {
	m       *Matcher
	buf     []byte
	path    []string
	collect bool
	leaves  []uint64
	hash    []byte
}

func (w *walker) leaf(path, value string) {
	if w.collect {
		w.hash = append(append(append(w.hash[:0], path...), 0), value...)
		w.leaves = append(w.leaves, xxh3.Hash(w.hash))
	}
}

func (w *walker) body(b []byte, contentType, s string) []byte {
	t := parseTree(contentType, s)
	if t.kind == "" {
		return b
	}
	w.path = w.path[:0]
	return w.json(append(append(b, t.kind...), '\n'), t.v)
}

// json writes a value with its members sorted. A volatile value is replaced by its
// shape.
func (w *walker) json(b []byte, v any) []byte {
	if s, ok := w.volatile(v); ok {
		w.leaf(w.at(), s)
		return append(b, s...)
	}
	switch v := v.(type) {
	case map[string]any:
		return w.object(b, v)
	case []any:
		return w.array(b, v)
	case string:
		if inner, ok := jsonIn(v); ok {
			return w.json(append(b, "text of "...), inner)
		}
		v = w.parts(v)
		w.leaf(w.at(), v)
		return strconv.AppendQuote(b, v)
	case json.Number:
		s := number(string(v))
		w.leaf(w.at(), s)
		return append(b, s...)
	}
	s := fmt.Sprint(v)
	w.leaf(w.at(), s)
	return append(b, s...)
}

// object writes the members that matter. If the names of the members do not matter,
// they are sorted by their contents.
func (w *walker) object(b []byte, v map[string]any) []byte {
	depth := len(w.path)
	nameless := w.nameless()
	var members []string
	b = append(b, '{')
	for _, k := range slices.Sorted(maps.Keys(v)) {
		w.path = append(w.path[:depth], k)
		if w.dropped(v[k]) {
			continue
		}
		if nameless {
			members = append(members, string(w.json(nil, v[k])))
			continue
		}
		b = strconv.AppendQuote(b, k)
		b = append(w.json(append(b, ':'), v[k]), ',')
	}
	w.path = w.path[:depth]
	slices.Sort(members)
	for _, m := range members {
		b = append(append(append(b, "<name>:"...), m...), ',')
	}
	return append(b, '}')
}

func (w *walker) array(b []byte, v []any) []byte {
	depth := len(w.path)
	unordered := w.ruled(shapeUnordered)
	var elements []string
	b = append(b, '[')
	for n, e := range v {
		w.path = append(w.path[:depth], "["+strconv.Itoa(n)+"]")
		if unordered {
			elements = append(elements, string(w.json(nil, e)))
			continue
		}
		b = append(w.json(b, e), ',')
	}
	w.path = w.path[:depth]
	slices.Sort(elements)
	for _, e := range elements {
		b = append(append(b, e...), ',')
	}
	return append(b, ']')
}

// dropped is true if a rule says that the current member is ignored.
func (w *walker) dropped(v any) bool {
	if w.m == nil || len(w.path) == 0 {
		return false
	}
	if want, ok := w.m.names[w.path[len(w.path)-1]]; ok && want == shapeAny {
		return true
	}
	for i := range w.m.rules {
		r := &w.m.rules[i]
		if r.names || r.re != nil || r.want != shapeAny && (r.want != shapeOptional || v != nil) {
			continue
		}
		if r.matches(w.path) {
			return true
		}
	}
	return false
}

// ruled is true if a rule asks for this way of comparing the current value.
func (w *walker) ruled(want shape) bool {
	return w.m != nil && slices.ContainsFunc(w.m.rules, func(r rule) bool {
		return r.want == want && r.re == nil &&
			r.matches(w.path)
	})
}

// nameless is true if a rule says that the names of the current object's members may
// differ.
func (w *walker) nameless() bool {
	return w.m != nil && slices.ContainsFunc(w.m.rules, func(r rule) bool { return r.names && r.matches(w.path) })
}

// parts replaces those parts of a text that may differ by <any>.
func (w *walker) parts(s string) string {
	if w.m == nil {
		return s
	}
	for i := range w.m.rules {
		if r := &w.m.rules[i]; r.re != nil && r.matches(w.path) {
			s = r.re.ReplaceAllLiteralString(s, "<any>")
		}
	}
	return s
}

// number writes 1, 1.0 and 1e0 in the same way, but never rounds a number that a float
// cannot hold.
func number(s string) string {
	if strings.ContainsAny(s, ".eE") {
		if f, err := strconv.ParseFloat(s, 64); err == nil && len(s) < 17 {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
	}
	return s
}

// at is the path of the current value. It is the same for all elements of an array,
// because the search for the nearest requests ignores their order.
func (w *walker) at() string {
	if !w.collect {
		return ""
	}
	return pathText(w.path, true)
}

// pathText writes a path in the syntax of rules.
func pathText(path []string, star bool) string {
	var b strings.Builder
	b.WriteString("body")
	for _, p := range path {
		switch {
		case star && strings.HasPrefix(p, "[") && strings.HasSuffix(p, "]"):
			b.WriteString("[*]")
		case strings.HasPrefix(p, "[") && strings.HasSuffix(p, "]"):
			b.WriteString(p)
		case p == "" || strings.ContainsAny(p, `.[]={}~" `):
			b.WriteString(`."` + strings.ReplaceAll(p, `"`, "") + `"`)
		default:
			b.WriteByte('.')
			b.WriteString(p)
		}
	}
	return b.String()
}

// credential is true if a name says that its value is a credential, and credentials are
// not compared.
func (m *Matcher) credential(name string) bool {
	if !m.credentials {
		return false
	}
	switch redact.KindOfName(name) {
	case "", "email", "phone", "hashed", "card", "ssn":
		return false
	}
	return true
}

// volatile returns the placeholder of a value for which there is a rule. ok is false if
// there is none, or if the value does not have the shape that the rule asks for.
func (w *walker) volatile(v any) (string, bool) {
	if w.m == nil || len(w.path) == 0 {
		return "", false
	}
	if _, ok := v.(string); ok && w.m.credential(w.path[len(w.path)-1]) {
		return "<credential>", true
	}
	if want, ok := w.m.names[w.path[len(w.path)-1]]; ok && want.has(v) {
		return "<" + string(want) + ">", true
	}
	for i := range w.m.rules {
		if r := &w.m.rules[i]; r.re == nil && !r.names && r.want.has(v) && r.matches(w.path) {
			return "<" + string(r.want) + ">", true
		}
	}
	return "", false
}

// Raw is the key of the fast path, for requests that are equal byte for byte.
func (q *Request) Raw() uint64 {
	var h xxh3.Hasher
	for _, s := range []string{q.Method, q.URL} {
		_, _ = h.WriteString(s) // a hash never fails
		var n [4]byte
		binary.LittleEndian.PutUint32(n[:], uint32(len(s)))
		_, _ = h.Write(n[:])
	}
	_, _ = h.WriteString(q.Body)
	return h.Sum64()
}

// String is the request as messages name it.
func (q *Request) String() string { return q.Method + " " + q.URL }

// Recorded returns the request of an interaction.
func Recorded(i *redact.Interaction) Request {
	q := Request{Method: i.Request.Method, URL: i.Request.URL, Header: i.Request.Headers, Body: i.Request.Body}
	if q.Header.Get("Content-Encoding") != "" { // other programs record the body in its encoding
		q.Header = q.Header.Clone()
		q.Body = wire.Plain(q.Header, q.Body)
	}
	return q
}

// short truncates a text for a message. It writes binary data in hexadecimal digits.
func short(s string) string {
	if !bytes.ContainsFunc([]byte(s), func(r rune) bool {
		return r == 0xfffd || r < ' ' && r != '\n' && r != '\t' &&
			r != '\r'
	}) {
		if len(s) > 120 {
			return s[:120] + "…"
		}
		return s
	}
	if len(s) > 32 {
		return "0x" + hex.EncodeToString([]byte(s[:32])) + "…"
	}
	return "0x" + hex.EncodeToString([]byte(s))
}
