package cassette

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"
)

// Rule says that a part of a request may differ from the recorded one, as long
// as it keeps its shape.
type Rule struct {
	part string   // body, query or header
	path []string // of the body: names, * for every element, ** for any depth
	name string   // of the query or the header
	want shape
	text string
}

type shape string

// The shapes that a rule can ask for.
const (
	shapeAny    shape = "any"
	shapeTime   shape = "time"   // RFC 3339, or seconds or milliseconds since 1970
	shapeID     shape = "id"     // a text or a whole number, not empty
	shapeUUID   shape = "uuid"   // 8-4-4-4-12 hexadecimal digits
	shapeNumber shape = "number" // any number, or text of one
	shapeString shape = "string" // any text
)

// ParseRule reads a rule: body.batch[*].messageId, body.**.sentAt, query.ts,
// header.X-Request-Id; a name alone means any member of that name. =SHAPE at
// the end asks that the value still be a time, id, uuid, number or string.
func ParseRule(s string) (Rule, error) {
	r := Rule{text: s, want: shapeAny}
	path, want, ok := strings.Cut(s, "=")
	if ok {
		r.want = shape(want)
		if !slices.Contains([]shape{shapeAny, shapeTime, shapeID, shapeUUID, shapeNumber, shapeString}, r.want) {
			return r, fmt.Errorf("the rule %q asks for the shape %q: there are any, time, id, uuid, number and string", s, want)
		}
	}
	part, rest, ok := strings.Cut(path, ".")
	switch {
	case ok && part == "query", ok && part == "header":
		r.part, r.name = part, rest
		if part == "header" {
			r.name = http.CanonicalHeaderKey(rest)
		}
	case ok && part == "body":
		r.part = "body"
		for seg := range strings.SplitSeq(strings.TrimPrefix(rest, "$."), ".") {
			name, index, _ := strings.Cut(seg, "[")
			if name != "" || index == "" {
				r.path = append(r.path, name)
			}
			for index != "" {
				var one string
				one, index, _ = strings.Cut(index, "]")
				r.path = append(r.path, "["+one+"]")
				index = strings.TrimPrefix(index, "[")
			}
		}
	case !ok && path != "":
		r.part, r.path = "body", []string{"**", path}
	}
	if r.part == "" || r.part != "body" && r.name == "" || slices.Contains(r.path, "") {
		return r, fmt.Errorf("the rule %q is none: write body.PATH, query.NAME, header.NAME, or the name of a member", s)
	}
	return r, nil
}

// matches tells whether a body rule is for a path; array elements in the path
// are "[3]".
func (r *Rule) matches(path []string) bool { return matchSegments(r.path, path) }

func matchSegments(rule, path []string) bool {
	for len(rule) > 0 {
		if rule[0] == "**" {
			for n := 0; n <= len(path); n++ {
				if matchSegments(rule[1:], path[n:]) {
					return true
				}
			}
			return false
		}
		if len(path) == 0 || rule[0] != path[0] && rule[0] != "*" && !(rule[0] == "[*]" && strings.HasPrefix(path[0], "[")) {
			return false
		}
		rule, path = rule[1:], path[1:]
	}
	return len(path) == 0
}

// Matching says when a request is a recorded one.
type Matching struct {
	rules  []Rule
	names  map[string]shape // of rules "**.name", which are most
	query  map[string]bool
	fields []string // headers that have to be the same
	// credentials are not compared: who replays has others, or none.
	credentials bool
	// anonymous compares tokens by their place only: the key that made them is
	// not at hand.
	anonymous bool
}

// volatile are the members of customer events that are new in every run.
var volatile = []string{
	"sentAt=time", "timestamp=time", "originalTimestamp=time", "receivedAt=time",
	"messageId=id", "message_id=id", "insertId=id", "insert_id=id", "$insert_id=id", "idempotency_key=id", "idempotencyKey=id", "dedup_id=id",
}

// NewMatching compiles rules. Unless exact, the members of events that change
// from run to run (times and ids of messages) need only keep their shape, and
// what is a credential by its name is not compared.
func NewMatching(ignore []string, exact bool) (*Matching, error) {
	m := &Matching{names: map[string]shape{}, query: map[string]bool{}, credentials: !exact}
	all := ignore
	if !exact {
		all = append(slices.Clone(volatile), ignore...)
	}
	for _, s := range all {
		r, err := ParseRule(s)
		if err != nil {
			return nil, err
		}
		switch {
		case r.part == "query":
			m.query[r.name] = true
		case r.part == "header": // headers are not compared unless asked for
		case len(r.path) == 2 && r.path[0] == "**":
			m.names[r.path[1]] = r.want
		default:
			m.rules = append(m.rules, r)
		}
	}
	return m, nil
}

// Request is a request as it is compared: with its whole body, decoded.
type Request struct {
	Method string
	URL    string
	Header http.Header
	Body   string
}

// ReadRequest takes a request with all of its body, decoded. What is larger
// than limit is an error.
func ReadRequest(req *http.Request, limit int64) (Request, error) {
	q := Request{Method: req.Method, URL: Address(req), Header: req.Header}
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
	plain, _ := decode(req.Header.Get("Content-Encoding"), data, limit)
	q.Body = string(plain)
	return q, nil
}

// key is what two requests share that match: 128 bits of their canonical form.
type key = xxh3.Uint128

// canonical is a request without what does not matter.
type canonical struct {
	key    key
	leaves []uint64 // sorted: path and value of every part of the query and the body
}

// canon brings a request, already redacted, into its canonical form.
func (m *Matching) canon(q *Request, wantLeaves bool) canonical {
	var w walker
	w.m, w.collect = m, wantLeaves
	head, query := splitURL(q.URL)
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
		b = sameTokens(b)
	}
	slices.Sort(w.leaves)
	return canonical{xxh3.Hash128(b), w.leaves}
}

// splitURL separates what names the resource from the parameters, and drops a
// default port and the fragment.
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
	return scheme + "://" + host + "/" + path, query
}

func (m *Matching) canonQuery(b []byte, query string, w *walker) []byte {
	if query == "" {
		return b
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return append(b, query...)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if m.query[name] {
			continue
		}
		if m.credential(name) {
			b = append(append(b, name...), "=<credential>&"...)
			continue
		}
		for _, v := range values[name] {
			b = append(append(append(append(b, name...), '='), v...), '&')
			w.leaf("query."+name, v)
		}
	}
	return b
}

// anonymize numbers tokens by their first place in a text.
func anonymize(b []byte) []byte {
	seen := map[string]int{}
	number := func(kind string) func(m []byte) []byte {
		return func(m []byte) []byte {
			n, ok := seen[string(m)]
			if !ok {
				n = len(seen)
				seen[string(m)] = n
			}
			return fmt.Appendf(nil, "<%s %d>", kind, n)
		}
	}
	b = tokenRE.ReplaceAllFunc(b, number("token"))
	return emailRE.ReplaceAllFunc(b, number("email"))
}

// walker writes canonical bodies.
type walker struct {
	m       *Matching
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
	if s == "" {
		return b
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = ""
	}
	if c := s[0]; c == '{' || c == '[' || strings.Contains(media, "json") {
		if values, ok := parseJSON(s); ok {
			if len(values) > 1 {
				b = append(b, "lines\n"...)
			}
			for n, v := range values {
				if len(values) > 1 {
					w.path = append(w.path[:0], "["+strconv.Itoa(n)+"]")
				}
				b = append(w.json(b, v), '\n')
			}
			return b
		}
	}
	switch {
	case media == "application/x-www-form-urlencoded":
		if values, err := url.ParseQuery(s); err == nil {
			for _, name := range slices.Sorted(maps.Keys(values)) {
				for _, v := range values[name] {
					b = append(b, name...)
					b = append(b, '=')
					w.path = append(w.path[:0], name)
					b = append(w.json(b, v), '&')
				}
			}
			return b
		}
	case strings.HasPrefix(media, "multipart/") && params["boundary"] != "":
		mr := multipart.NewReader(strings.NewReader(s), params["boundary"])
		from := len(b)
		for {
			part, err := mr.NextRawPart()
			if err == io.EOF {
				return b
			}
			if err != nil {
				b = b[:from]
				break
			}
			data, err := io.ReadAll(part)
			if err != nil {
				b = b[:from]
				break
			}
			b = fmt.Appendf(b, "part %s %s %s\n", part.FormName(), part.FileName(), part.Header.Get("Content-Type"))
			w.path = append(w.path[:0], part.FormName())
			b = append(w.body(b, part.Header.Get("Content-Type"), string(data)), '\n')
		}
	}
	w.leaf("body", s)
	return append(b, s...)
}

// parseJSON reads one JSON value, or lines of them.
func parseJSON(s string) (values []any, ok bool) {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	for {
		var v any
		switch err := dec.Decode(&v); err {
		case nil:
			values = append(values, v)
		case io.EOF:
			return values, len(values) > 0
		default:
			return nil, false
		}
	}
}

// json writes a value with sorted members, and in place of a volatile one its
// shape.
func (w *walker) json(b []byte, v any) []byte {
	if s, ok := w.volatile(v); ok {
		w.leaf(w.at(), s)
		return append(b, s...)
	}
	depth := len(w.path)
	switch v := v.(type) {
	case map[string]any:
		b = append(b, '{')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			w.path = append(w.path[:depth], k)
			b = strconv.AppendQuote(b, k)
			b = append(w.json(append(b, ':'), v[k]), ',')
		}
		w.path = w.path[:depth]
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for n, e := range v {
			w.path = append(w.path[:depth], "["+strconv.Itoa(n)+"]")
			b = append(w.json(b, e), ',')
		}
		w.path = w.path[:depth]
		return append(b, ']')
	case string:
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

// number writes 1, 1.0 and 1e0 alike, without rounding what floats cannot hold.
func number(s string) string {
	if strings.ContainsAny(s, ".eE") {
		if f, err := strconv.ParseFloat(s, 64); err == nil && len(s) < 17 {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
	}
	return s
}

// at is the place of a value, the same for all elements of an array: nearness
// does not ask for order.
func (w *walker) at() string {
	if !w.collect {
		return ""
	}
	return pathText(w.path, true)
}

// pathText writes a path as rules do.
func pathText(path []string, star bool) string {
	var b strings.Builder
	b.WriteString("body")
	for _, p := range path {
		switch {
		case star && strings.HasPrefix(p, "["):
			b.WriteString("[*]")
		case strings.HasPrefix(p, "["):
			b.WriteString(p)
		default:
			b.WriteByte('.')
			b.WriteString(p)
		}
	}
	return b.String()
}

// credential tells whether a name announces one that is not compared.
func (m *Matching) credential(name string) bool {
	if !m.credentials {
		return false
	}
	switch keyKind(last(name)) {
	case "", "email", "phone", "hashed", "card", "ssn":
		return false
	}
	return true
}

// volatile returns what stands for a value that a rule is for, if it keeps the
// shape that the rule asks for.
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
		if r := &w.m.rules[i]; r.matches(w.path) && r.want.has(v) {
			return "<" + string(r.want) + ">", true
		}
	}
	return "", false
}

var uuidRE = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// has tells whether a value has the shape.
func (s shape) has(v any) bool {
	text, isText := v.(string)
	num, isNum := v.(json.Number)
	switch s {
	case shapeAny:
		return true
	case shapeString:
		return isText
	case shapeUUID:
		return isText && uuidRE.MatchString(text)
	case shapeID:
		return isText && text != "" || isNum && !strings.ContainsAny(string(num), ".eE")
	case shapeNumber:
		if isText {
			_, err := strconv.ParseFloat(text, 64)
			return err == nil
		}
		return isNum
	case shapeTime:
		if isText {
			if _, err := time.Parse(time.RFC3339Nano, text); err == nil {
				return true
			}
			num = json.Number(text)
		}
		f, err := strconv.ParseFloat(string(num), 64)
		return err == nil && f >= 1e8 && f < 1e14 // 1973 in seconds to 5138 in milliseconds
	}
	return false
}

// raw is the fast path's key: requests that are the same byte for byte.
func (q *Request) raw() uint64 {
	var h xxh3.Hasher
	for _, s := range []string{q.Method, q.URL} {
		_, _ = h.WriteString(s) // a hash takes everything
		var n [4]byte
		binary.LittleEndian.PutUint32(n[:], uint32(len(s)))
		_, _ = h.Write(n[:])
	}
	_, _ = h.WriteString(q.Body)
	return h.Sum64()
}

// String names a request in messages.
func (q *Request) String() string { return q.Method + " " + q.URL }

// recorded is the request of an interaction.
func recorded(i *Interaction) Request {
	q := Request{Method: i.Request.Method, URL: i.Request.URL, Header: i.Request.Headers, Body: i.Request.Body}
	if q.Header.Get("Content-Encoding") != "" { // other programs keep it as it was sent
		q.Header = q.Header.Clone()
		q.Body = Plain(q.Header, q.Body)
	}
	return q
}

// short cuts a text for a message, and shows bytes that are no text in
// hexadecimal.
func short(s string) string {
	if !bytes.ContainsFunc([]byte(s), func(r rune) bool { return r == 0xfffd || r < ' ' && r != '\n' && r != '\t' && r != '\r' }) {
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
