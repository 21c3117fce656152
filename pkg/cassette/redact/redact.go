// Package redact replaces secrets in recorded conversations.
//
// A [Redactor] replaces each secret by a token. Equal values get the same token, so they
// stay equal. It recognises the values that it is given, shapes that only credentials
// have (shapes.tsv, and gitleaks' rules.tsv), names that announce a secret (names.go),
// and all values that such names have announced. It undoes compression, encodings and
// escapes (view.go, encoded.go, json.go, binary.go). [Redactor.Scan],
// [Redactor.ScanFiles] and [Redactor.ScanFile] search for secrets that were missed: for
// the gate before anything is written, and in files.
package redact

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"

	"github.com/fanfold/fanfold/pkg/document"
)

// Interaction is a request and its answer, as go-vcr keeps it.
type Interaction = vcr.Interaction

// Redactor replaces secrets. It is safe for concurrent use.
//
// It parses texts according to their type (JSON, forms, multipart, XML), undoes
// compression and escapes, and searches for known values, for shapes that only secrets
// have, and for names that announce a secret. A value that a name has announced becomes
// a known value, and is searched for everywhere from then on. [Redactor.Settle]
// replaces it in what was redacted before.
type Redactor struct {
	key      []byte
	known    *known
	shapes   *shapes
	custom   []*rule // the user's rules
	names    bool    // whether names of people are redacted
	ips      bool    // whether IP addresses are redacted
	places   []Place // parts of messages that are always secret
	allow    []allow // values that are never secret
	tokens   tokens  // tokens in the replayed cassettes
	own      int     // number of known values at the start, without those that names announced
	examples []string
	short    []string // names of secrets so short that they may occur by chance
	quick    bool     // search for known values only
	pause    func()   // called regularly while searching; nil: never
	effort   *effort
	opened   *atomic.Int64 // unpacked bytes of the interaction; nil: not limited
}

type allow struct {
	value string
	re    *regexp.Regexp // nil: only the value itself
}

// Options are a user's additions to the default rules.
type Options struct {
	// Redact lists further things to replace. Each is a place (body.card.number,
	// query.sid, header.X-Shop-Key), a regular expression (only its first group is
	// replaced, if it has one), or one of the words ip and names.
	Redact []string
	// Allow lists values that are no secrets, or regular expressions for such values.
	Allow []string
}

// New returns a redactor with the given secrets, the default rules, and the user's
// rules. Tokens are computed with the key: without it, nobody can find a value by
// trying. Values shorter than MinShort characters are ignored. If a rule is not valid,
// the error names it.
func New(key []byte, secrets []Secret, o Options) (*Redactor, error) {
	r := &Redactor{key: key, shapes: newShapes()}
	r.known = newKnown(r.shapes)
	for _, text := range o.Allow {
		re, err := regexp.Compile("^(?:" + text + ")$")
		if err != nil {
			re = nil // plain text, not a regular expression
		}
		r.allow = append(r.allow, allow{text, re})
	}
	for _, text := range o.Redact {
		switch {
		case text == "ip":
			r.ips = true
		case text == "names":
			r.names = true
		case isPlace(text):
			place, err := ParsePlace(text)
			if err == nil && !strings.Contains(text, `"`) && strings.ContainsAny(text, "=~{}") {
				err = fmt.Errorf("%q is more than a place: what is redacted is redacted whatever its shape", text)
			}
			if err != nil {
				return nil, err
			}
			r.places = append(r.places, place)
		default:
			re, err := regexp.Compile(text)
			if err != nil {
				return nil, fmt.Errorf("%q is neither a path (body.x, query.x, header.X) nor a regular expression: %w", text, err)
			}
			if re.MatchString("") {
				return nil, fmt.Errorf("%q matches the empty text, and so everything", text)
			}
			r.custom = append(r.custom, &rule{kind: "custom", source: text})
		}
	}
	r.addSecrets(secrets)
	r.own = r.known.count()
	return r, nil
}

func (r *Redactor) addSecrets(secrets []Secret) {
	for _, s := range secrets {
		if len(s.Value) < MinShort || r.allowed(s.Value) {
			continue
		}
		if len(s.Value) < MinSecret && !slices.Contains(r.short, s.Name) {
			r.short = append(r.short, s.Name)
		}
		with := s.Example
		if with == "" {
			with = r.token("secret", s.Value)
		} else {
			r.examples = append(r.examples, with)
		}
		r.known.add(form{name: s.Name, text: s.Value, with: with})
		if trimmed := strings.TrimSpace(s.Value); trimmed != s.Value && len(trimmed) >= MinSecret {
			r.known.add(form{name: s.Name, text: trimmed, with: with})
		}
	}
}

// Short returns the names of the secrets with fewer than MinSecret characters. A short
// value can also occur by chance, so a replacement may have hit something else.
func (r *Redactor) Short() []string { return slices.Clone(r.short) }

func (r *Redactor) allowed(v string) bool {
	return slices.ContainsFunc(r.allow, func(a allow) bool { return a.value == v || a.re != nil && a.re.MatchString(v) })
}

// Interaction redacts an interaction in place. No other goroutine may use the
// interaction meanwhile.
func (r *Redactor) Interaction(i *Interaction) {
	r = r.counting()
	r.Header(i.Request.Headers)
	i.Request.URL = r.URL(i.Request.URL)
	i.Request.Body = r.Body(i.Request.Headers.Get("Content-Type"), i.Request.Body)
	i.Request.Form = r.values(i.Request.Form)
	r.Header(i.Response.Headers)
	i.Response.Body = r.Body(i.Response.Headers.Get("Content-Type"), i.Response.Body)
	i.Response.Status = r.Text(i.Response.Status)
}

// Pausing returns the same redactor, except that it calls f regularly while it works.
func (r *Redactor) Pausing(f func()) *Redactor {
	one := *r
	one.pause = f
	return &one
}

// Recognising returns the same redactor, except that it also replaces the values for
// which the given texts have tokens, no matter by which name or place they were
// recognised when they were recorded.
func (r *Redactor) Recognising(texts iter.Seq[string]) *Redactor {
	one := *r
	one.tokens = tokens{}
	for s := range texts {
		one.tokens.collect(s)
	}
	return &one
}

// Settle redacts again interactions that were already redacted, to replace the values
// that only later ones have announced.
func (r *Redactor) Settle(list []*Interaction) {
	for before := r.own; before != r.known.count(); {
		before = r.known.count()
		quick := *r
		quick.quick = true
		for _, i := range list {
			quick.Interaction(i)
		}
	}
}

// Header redacts headers in place.
func (r *Redactor) Header(h http.Header) {
	for name, values := range h {
		key := http.CanonicalHeaderKey(name)
		kind := secretHeader(key)
		if kind == "" && r.pathSecret("header", []string{key}) {
			kind = "custom"
		}
		for n, v := range values {
			switch {
			case kind == "authorization":
				values[n] = r.authorization(v)
			case key == protocolHeader:
				values[n] = r.protocols(v)
			case kind == "cookie":
				values[n] = r.cookie(v, strings.HasPrefix(key, "Set-"))
			case kind != "":
				values[n] = r.member(kind, v, 0)
			case key == "Location" || key == "Referer" || key == "Content-Location" || key == "Origin":
				values[n] = r.URL(v)
			default:
				values[n] = r.Text(v)
			}
		}
	}
}

// authorization redacts the header's value, but keeps the scheme.
func (r *Redactor) authorization(v string) string {
	scheme, rest, ok := strings.Cut(v, " ")
	if !ok || rest == "" || !saysName(scheme) {
		return r.whole("authorization", v)
	}
	rest = strings.TrimSpace(rest)
	if plain, _, ok := unbase64(rest); ok && strings.EqualFold(scheme, "basic") {
		if _, password, _ := strings.Cut(plain, ":"); learnable(password) {
			r.whole("password", password) // so that it is replaced elsewhere, too
		}
	}
	return scheme + " " + r.whole(strings.ToLower(scheme), rest)
}

// cookieAttributes are what Set-Cookie can contain beside the cookie itself.
var cookieAttributes = map[string]bool{
	"path": true, "domain": true, "expires": true, "max-age": true, "secure": true, "httponly": true,
	"samesite": true, "priority": true, "partitioned": true, "version": true, "comment": true,
}

// cookie redacts the values of cookies, and keeps their names and attributes. A line
// may have several cookies.
func (r *Redactor) cookie(v string, set bool) string {
	var b strings.Builder
	for n, one := range cookies(v, set) {
		if n > 0 {
			b.WriteByte(',')
		}
		parts := strings.Split(one, ";")
		for k, p := range parts {
			name, value, ok := strings.Cut(p, "=")
			switch plain := strings.ToLower(strings.TrimSpace(name)); {
			case set && k > 0 && cookieAttributes[plain]:
			case ok:
				quotes := ""
				if inner := strings.Trim(value, `"`); len(inner)+2 == len(value) {
					value, quotes = inner, `"`
				}
				parts[k] = name + "=" + quotes + r.whole("cookie", value) + quotes
			case strings.TrimSpace(p) != "":
				lead := p[:len(p)-len(strings.TrimLeft(p, " "))]
				parts[k] = lead + r.whole("cookie", p[len(lead):])
			}
		}
		b.WriteString(strings.Join(parts, ";"))
	}
	return b.String()
}

// cookies splits a Set-Cookie line with several cookies. A comma within a date does not
// separate cookies.
func cookies(v string, set bool) []string {
	if !set {
		return []string{v}
	}
	var out []string
	from := 0
	for i := 0; i < len(v); i++ {
		if v[i] != ',' {
			continue
		}
		rest := strings.TrimLeft(v[i+1:], " ")
		if end := strings.IndexAny(rest, "=; ,"); end > 0 && rest[end] == '=' {
			out = append(out, v[from:i])
			from = i + 1
		}
	}
	return append(out, v[from:])
}

// whole replaces a value that a name or a place has announced, and adds it to the known
// values. Values that are no secret stay.
func (r *Redactor) whole(kind, v string) string {
	if v == "" || IsToken(v) || r.allowed(v) || kind != "custom" && isTemplate(v) {
		return v
	}
	if f, ok := r.known.of(v); ok { // the example, if the value has one
		return f.with
	}
	if r.isExample(v) || r.quick {
		return r.flat(v)
	}
	token := r.token(kind, v)
	r.learn(kind, v, token)
	return token
}

// learn makes an announced value a known value, if it can be told from ordinary text. A
// short one only counts where it stands alone.
func (r *Redactor) learn(kind, v, token string) {
	if learnable(v) && !personal(kind) {
		r.known.add(form{name: kind, text: v, with: token, alone: len(v) < 16})
	}
}

// isExample is true for a value that is already the replacement of a secret, or a part
// of one.
func (r *Redactor) isExample(s string) bool {
	return slices.ContainsFunc(r.examples, func(e string) bool {
		return s == e || len(s) >= MinSecret &&
			strings.Contains(e, s)
	})
}

// member replaces a value whose name announces a secret.
func (r *Redactor) member(kind, v string, depth int) string {
	if isHash(v) && (kind == "email" || kind == "hashed" || kind == "phone") {
		return r.token("hashed", v)
	}
	if strings.TrimSpace(v) == "" {
		return v
	}
	if kind == "cookie" {
		_, _, set := strings.Cut(strings.ToLower(v), "path=")
		return r.cookie(v, set)
	}
	if now := r.replacement(kind, v); now != v {
		return now
	}
	return r.text(v, depth)
}

// isCookie is true for the names of cookie headers, which can also be names of JSON
// members.
func isCookie(name string) bool {
	return strings.EqualFold(name, "cookie") || strings.EqualFold(name, "set-cookie")
}

func isHash(s string) bool {
	if len(s) != 32 && len(s) != 40 && len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := fold(s[i]); !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// URL redacts an address: the credentials before the host, the parameters, and the
// path.
func (r *Redactor) URL(s string) string {
	if scheme, rest, ok := strings.Cut(s, "://"); ok { // rest has to keep every byte
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
			for part := range strings.SplitSeq(rest[:at], ":") {
				if plain, err := url.PathUnescape(part); err == nil && learnable(plain) {
					r.whole("userinfo", plain) // so that it is replaced elsewhere, too
				}
			}
			s = scheme + "://" + rest[at+1:]
		}
	}
	head, query, ok := strings.Cut(s, "?")
	query, fragment, hasFragment := strings.Cut(query, "#")
	head = r.Text(head)
	if ok {
		head += "?" + r.form(query, "query", 0)
	}
	if hasFragment {
		head += "#" + r.form(fragment, "", 0)
	}
	return head
}

// field redacts one value of a flat list of names and values.
func (r *Redactor) field(part, name, value string, depth int) string {
	if r.pathSecret(part, []string{name}) {
		return r.whole("custom", value)
	}
	if kind := r.kindOf(name, value); kind != "" {
		return r.member(kind, value, depth)
	}
	return r.text(value, depth)
}

// kindOf is the kind of secret that a name announces, alone or together with its value.
func (r *Redactor) kindOf(name, value string) string {
	if kind := r.keyKind(last(name)); kind != "" {
		return kind
	}
	if kind := likelyKind(last(name), value); kind != "" {
		return kind
	}
	if isCookie(name) && strings.IndexByte(value, '=') > 0 {
		return "cookie"
	}
	if r.quick || len(value) < 10 || len(value) > 400 || !r.shapes.mentioned(name) {
		return ""
	}
	pair := name + `="` + value + `"`
	for _, m := range r.search(pair, nil, false, nil) {
		if m.from == len(name)+2 && m.to == len(pair)-1 && !personal(m.kind) {
			return m.kind
		}
	}
	return ""
}

// pathSecret is true if one of the user's rules makes this path secret.
func (r *Redactor) pathSecret(part string, path []string) bool {
	return slices.ContainsFunc(r.places, func(p Place) bool { return p.Is(part, path) })
}

// last is the last part of a name: of a[b][name] or a.b.name.
func last(key string) string {
	key = strings.TrimSuffix(key, "[]")
	if strings.HasSuffix(key, "]") {
		if i := strings.LastIndexByte(key, '['); i >= 0 {
			return key[i+1 : len(key)-1]
		}
	}
	return key[strings.LastIndexByte(key, '.')+1:]
}

func (r *Redactor) values(v url.Values) url.Values {
	if v == nil {
		return nil
	}
	out := make(url.Values, len(v))
	for _, key := range slices.Sorted(maps.Keys(v)) {
		now := again(key, func(sent string) string { return r.formName(sent, 0) })
		for _, one := range v[key] {
			value := again(one, func(sent string) string { return r.formValue("body", key, sent, 0) })
			out[now] = append(out[now], value)
		}
	}
	return out
}

// again redacts a decoded part of a form as f does when it is sent.
func again(plain string, f func(sent string) string) string {
	sent := url.QueryEscape(plain)
	now := f(sent)
	if got, err := url.QueryUnescape(now); err == nil && now != sent {
		return got
	}
	return plain
}

// Body redacts a body according to its type: JSON, lines of JSON, forms and multipart.
// Anything else is redacted as text.
func (r *Redactor) Body(contentType, s string) string { return r.body(contentType, s, 0) }

// maxDepth limits how many encodings within encodings are undone.
const maxDepth = 5

func (r *Redactor) body(contentType, s string, depth int) string {
	if s == "" || depth > maxDepth {
		return s
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err == nil {
		switch {
		case media == "application/x-www-form-urlencoded" && !strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "{"):
			return r.form(s, "body", depth)
		case strings.HasPrefix(media, "multipart/") && params["boundary"] != "":
			return r.multipart(params["boundary"], s, depth)
		}
	}
	return r.text(s, depth)
}

// Text redacts a text of unknown kind.
func (r *Redactor) Text(s string) string { return r.text(s, 0) }

func (r *Redactor) text(s string, depth int) string {
	if len(s) < 4 || depth > maxDepth {
		return s
	}
	r.effort.add(len(s))
	if mayBePacked(s) {
		if now, ok := r.binary(s, depth); ok {
			return now
		}
		switch plain, p, err := r.unpacked(s); {
		case err == nil:
			if now := r.text(plain, depth+1); now != plain {
				return p.pack(now)
			}
			return s
		case errors.Is(err, errLarge): // not searched, which the gate will report
			return s
		}
	}
	trimmed := strings.TrimLeft(s, " \t\r\n")
	if trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[' || trimmed[0] == '"') {
		if now, ok := r.json(s, depth); ok {
			return now
		}
	}
	return r.deep(s, depth)
}

// flat replaces secrets in a text as it is, and after undoing escapes, layer by layer.
func (r *Redactor) flat(s string) string {
	eachView(s, func(v view, _ int) (string, bool) {
		s = r.splice(s, &v)
		return s, true
	})
	return s
}

// deep is flat, but also decodes parts of the text that may be base64 or hexadecimal
// digits.
func (r *Redactor) deep(s string, depth int) string {
	eachView(s, func(v view, layer int) (string, bool) {
		now := r.splice(s, &v)
		if layer > 1 { // nobody encodes within two layers of escapes
			s = now
			return s, true
		}
		if now != s {
			again := undone(now, layer, false)
			if s = now; again == nil {
				return s, true
			}
			v = *again
		}
		s = r.encoded(s, &v, depth)
		return s, true
	})
	return s
}

// splice replaces the secrets that are found in a view of a text.
func (r *Redactor) splice(s string, v *view) string {
	found := r.matchesIn(v)
	if len(found) == 0 {
		return s
	}
	var b strings.Builder
	at := 0
	for _, m := range found {
		from, to := v.place(m.from, m.to)
		if from < at {
			continue
		}
		value := v.text[m.from:m.to]
		with := m.with
		switch {
		case with == "":
			with = r.replacement(m.kind, value)
		case len(digits(value)) == len(value) && IsDigits(s[from:to]) && with[0] == 'R' && bareNumber(s, from, to):
			with = r.number(value)
		}
		if with == value {
			continue
		}
		b.WriteString(s[at:from])
		if v.stretches != nil {
			with = like(s[from:to], with)
		}
		b.WriteString(with)
		at = to
	}
	b.WriteString(s[at:])
	return b.String()
}

// replacement returns what replaces a value that was found in a text. It is the value
// itself if that is not what its name announces.
func (r *Redactor) replacement(kind, v string) string {
	switch {
	case stays(kind, v):
		return v
	case kind == "email" || kind == "hashed":
		return r.token(kind, v)
	}
	return r.whole(kind, v)
}

// isResource is true for the id of a resource that some services call sid: two capital
// letters and 32 digits. Keys look the same, but begin with SK.
func isResource(v string) bool {
	return len(v) == 34 && isHash(v[2:]) && v[0] >= 'A' && v[0] <= 'Z' && v[1] >= 'A' && v[1] <= 'Z' && v[:2] != "SK"
}

// stays is true if a value is not of the kind that its name announces.
func stays(kind, v string) bool {
	if kind != "custom" && !personal(kind) && noSecret(v) {
		return true
	}
	switch kind {
	case "session":
		return isResource(v)
	case "email":
		return !isEmail(v)
	case "hashed":
		return !isHash(v)
	case "phone":
		n := len(digits(v))
		return n < 7 || n > 15 || len(v) > 24 || harmless(kind, v)
	case "iban", "card":
		return len(digits(v)) < 3 || slices.Contains(testCards, digits(v))
	}
	return false
}

// bareNumber is true if digits in a text stand where JSON would have a number.
func bareNumber(s string, from, to int) bool {
	head, tail := strings.TrimRight(s[:from], " \t"), strings.TrimLeft(s[to:], " \t")
	return (strings.HasSuffix(head, ":") || strings.HasSuffix(head, "[") || strings.HasSuffix(head, ",")) &&
		tail != "" && strings.IndexByte(",}]", tail[0]) >= 0
}

// matches returns the secrets in a flat text, from left to right and without overlap.
// Where two overlap, a known value is preferred, then one of the user's rules, then the
// longer one.
func (r *Redactor) matches(s string) []match { return r.matchesOf(s, r.quick, nil, nil) }

// matchesIn returns the secrets in a view that are not in the text below it already.
func (r *Redactor) matchesIn(v *view) []match {
	if v.stretches == nil || r.quick {
		return r.matches(v.text)
	}
	places, known := v.fresh(r.known.longest())
	r.effort.add(len(v.text))
	return r.matchesOf(v.text, false, places, known)
}

// matchesOf is matches. If quick is true, it searches for known values only. If places
// is not nil, it searches only these for what begins there, and the parts in known for
// known values.
func (r *Redactor) matchesOf(s string, quick bool, places, known []span) []match {
	found := r.recognised(s, nil)
	if quick {
		found = r.known.find(s)
	} else {
		found = r.columns(s, r.search(s, r.known.findIn(s, known, found), true, places))
		for _, rule := range r.custom {
			found = rule.everywhere(s, found)
		}
		if r.ips {
			found = findIPs(s, found)
		}
	}
	if len(found) == 0 {
		return nil
	}
	rank := func(m match) int {
		switch {
		case m.exact:
			return 0
		case m.kind == "custom", m.kind == "userinfo": // followed by a host, userinfo looks like an email address
			return 1
		}
		return 2
	}
	slices.SortStableFunc(found, func(a, b match) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return (b.to - b.from) - (a.to - a.from)
	})
	var out []match
	taken := newTaken(s, len(found))
	for _, m := range found {
		value := s[m.from:m.to]
		if m.kind == "email" && endsInToken(s[max(0, m.from-48):m.from+strings.IndexByte(value, '@')]) {
			continue // a token and a host, not an email address
		}
		if r.allowed(value) || !m.exact && (replaced(value) || IsToken(value) ||
			m.kind == "email" && beginsWithAddress(value) || value == "null" ||
			value == "true" || value == "false" || r.isExample(value)) {
			continue
		}
		r.effort.add((m.to-m.from)/64 + 1)
		if taken.take(m.from, m.to) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b match) int { return a.from - b.from })
	return out
}

// beginsWithAddress is true for an address that stands for a replaced one, with what ends
// a sentence or a link behind it: another address there is found by itself.
func beginsWithAddress(v string) bool {
	at := emailRE.FindStringIndex(v)
	return at != nil && at[0] == 0
}

// taken is a set of the bytes of a text in which something was found, with one bit for
// each byte.
type taken []uint64

func newTaken(s string, n int) taken {
	if n < 2 {
		return nil // a single match overlaps nothing
	}
	return make(taken, len(s)/64+1)
}

// take marks a part of the text. It returns false if a byte of it was already taken.
func (t taken) take(from, to int) bool {
	if t == nil || from >= to {
		return true
	}
	first, last := from/64, (to-1)/64
	mask := func(n int) uint64 {
		m := ^uint64(0)
		if n == first {
			m &= ^uint64(0) << (from % 64)
		}
		if n == last {
			m &= ^uint64(0) >> (63 - (to-1)%64)
		}
		return m
	}
	for n := first; n <= last; n++ {
		if t[n]&mask(n) != 0 {
			return false
		}
	}
	for n := first; n <= last; n++ {
		t[n] |= mask(n)
	}
	return true
}

// search goes through a text once, and appends the known values, shapes and email
// addresses in it. If pairs is true, it also appends values that are announced by a
// name. If places is not nil, it searches only for what begins in these. A value may
// end elsewhere, and its name may be elsewhere.
func (r *Redactor) search(s string, found []match, pairs bool, places []span) []match {
	if places == nil {
		return r.searchIn(s, span{0, len(s)}, found, pairs)
	}
	for _, p := range places {
		found = r.searchIn(s, p, found, pairs)
	}
	return found
}

func (r *Redactor) searchIn(s string, p span, found []match, pairs bool) []match {
	k := r.known
	k.mu.RLock()
	defer k.mu.RUnlock()
	q := searching{r: r, s: s, from: p.from, pairs: pairs, bracket: -1, found: found,
		done: gone{effort: r.effort}}
	var w uint32
	for i := p.from; i < p.to; {
		const stretch = 1 << 14
		r.effort.add(min(p.to-i, stretch))
		for end := min(p.to, i+stretch); i < end; i++ {
			var mark uint8
			if i, w, mark = k.marks.next(s[:end], i, w); i < end {
				q.at(i, w, mark)
			}
		}
		if i < p.to && r.pause != nil {
			k.mu.RUnlock()
			r.pause()
			k.mu.RLock()
		}
	}
	return q.found
}

// searching is a search in progress. The caller holds the lock of the known values.
type searching struct {
	r     *Redactor
	s     string
	from  int
	pairs bool
	found []match

	afterKnown, afterPair int // everything before these indexes is already part of a value
	bracket               int // index of the next <
	done                  gone
}

// at handles a mark. i is the index of the last of its three bytes.
func (q *searching) at(i int, w uint32, mark uint8) {
	at := i - 2
	if mark&(markKnown|markShape|markCard) != 0 && at >= q.from {
		if mark&markKnown != 0 && at >= q.afterKnown {
			if m, ok := q.r.known.at(q.s, at); ok {
				q.afterKnown = m.to
				if q.s[m.from:m.to] != m.with {
					q.found = append(q.found, m)
				}
			}
		}
		if mark&markShape != 0 {
			q.found = q.r.shapes.at(q.s, at, w, &q.done, q.found)
		}
		if mark&markCard != 0 {
			if m, ok := cardAt(q.s, at); ok {
				q.found = append(q.found, m)
			}
		}
	}
	if mark&markMail != 0 {
		if m, ok := emailAt(q.s, i); ok {
			q.found = append(q.found, m)
		}
	}
	if mark&markSign != 0 && q.pairs && i >= q.afterPair {
		q.pair(i)
	}
}

// pair handles a sign that may be between a name and a value.
func (q *searching) pair(i int) {
	if q.s[i] == '>' && q.bracket < i {
		q.bracket = nextByte(q.s, i, '<')
	}
	if !mayBePair(q.s, i, q.bracket) {
		return
	}
	m, ok := q.r.pairAt(q.s, i)
	q.r.effort.add(max(m.to-i, 0))
	if ok {
		q.found = append(q.found, m)
	}
	if ok || m.to-i > longValue { // do not try the other signs of a long text again
		q.afterPair = m.to
	}
}

func endsInToken(s string) bool {
	all := tokenRE.FindAllStringIndex(s, -1)
	return len(all) > 0 && all[len(all)-1][1] == len(s)
}

// everywhere applies a rule to the whole text.
func (r *rule) everywhere(s string, found []match) []match {
	for _, m := range r.compiled().FindAllStringSubmatchIndex(s, -1) {
		a, b := m[0], m[1]
		if len(m) > 2 && m[2] >= 0 {
			a, b = m[2], m[3]
		}
		found = append(found, match{from: a, to: b, kind: r.kind})
	}
	return found
}

var ipRE = regexp.MustCompile(`\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[0-9a-fA-F]{1,4}:){2,7}[0-9a-fA-F:]{1,20}`)

// findIPs appends IP addresses, except those that belong to nobody.
func findIPs(s string, found []match) []match {
	for _, m := range ipRE.FindAllStringIndex(s, -1) {
		ip, err := netip.ParseAddr(s[m[0]:m[1]])
		if err != nil || ip.IsLoopback() || ip.IsUnspecified() || documentation(ip) {
			continue
		}
		found = append(found, match{from: m[0], to: m[1], kind: "ip"})
	}
	return found
}

// documentation is true for the addresses that RFC 5737 and RFC 3849 reserve for
// examples.
func documentation(ip netip.Addr) bool {
	for _, p := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"} {
		if netip.MustParsePrefix(p).Contains(ip) {
			return true
		}
	}
	return false
}

// encoded redacts the parts of a view that encode other bytes.
func (r *Redactor) encoded(s string, v *view, depth int) string {
	var b strings.Builder
	at := 0
	for e := range runs(v.text) {
		from, to := v.place(e.from, e.to)
		if from < at {
			continue
		}
		if now, changed := r.inside(e.plain, depth); changed {
			b.WriteString(s[at:from])
			b.WriteString(like(s[from:to], e.encode(now)))
			at = to
		}
	}
	if at == 0 {
		return s
	}
	return b.String() + s[at:]
}

// inside redacts decoded bytes. Text and packed text are redacted completely. In other
// bytes only known values and long credentials are replaced.
func (r *Redactor) inside(plain string, depth int) (string, bool) {
	r.effort.add(len(plain))
	if IsText(plain) || isBinary(plain) || r.packed(plain) {
		now := r.text(plain, depth+1)
		return now, now != plain
	}
	now := plain
	for _, m := range slices.Backward(r.inBytes(plain)) {
		with := m.with
		if with == "" {
			with = r.whole(m.kind, plain[m.from:m.to])
		}
		now = now[:m.from] + with + now[m.to:]
	}
	return now, now != plain
}

// shortestShape is how long a credential within binary data must be to be recognised by
// its shape.
const shortestShape = 16

// longestText is the length of the longest printable part of a text.
func longestText(s string) (most int) {
	n := 0
	for i := range len(s) {
		if n++; traitTable[s[i]]&(high|control) != 0 {
			n = 0
		}
		most = max(most, n)
	}
	return most
}

// inBytes finds known values in binary data, and credentials that have a recognisable
// shape.
func (r *Redactor) inBytes(plain string) []match {
	if len(r.tokens) == 0 && longestText(plain) < shortestShape {
		return r.matchesOf(plain, true, nil, nil)
	}
	found := r.matches(plain)
	return slices.DeleteFunc(found, func(m match) bool {
		return !m.exact && (personal(m.kind) || !IsText(plain[m.from:m.to]) ||
			m.to-m.from < shortestShape)
	})
}

func (r *Redactor) packed(s string) bool {
	_, _, err := r.unpacked(s)
	return !errors.Is(err, errNotPacked)
}

// unpacked unpacks a text. The error is errNotPacked, or errLarge if the result, alone
// or together with everything unpacked before, is too large to be searched.
func (r *Redactor) unpacked(s string) (plain string, p packing, err error) {
	if !mayBePacked(s) {
		return "", p, errNotPacked
	}
	for _, p := range packings() {
		plain, err := p.unpack(s)
		if errors.Is(err, errNotPacked) {
			continue
		}
		if err == nil && r.opened != nil && r.opened.Add(int64(len(plain))) > maxUnpackedAll {
			err = errLarge
		}
		return plain, p, err
	}
	return "", p, errNotPacked
}

// counting returns the redactor for one interaction, with a limit on how much is
// unpacked for it.
func (r *Redactor) counting() *Redactor {
	one := *r
	one.opened = new(atomic.Int64)
	return &one
}

// multipart redacts the parts, and keeps the boundary lines.
func (r *Redactor) multipart(boundary, s string, depth int) string {
	mark := "--" + boundary
	parts := strings.Split(s, mark)
	for n, p := range parts {
		head, body, ok := strings.Cut(p, "\r\n\r\n")
		if !ok || n == 0 {
			parts[n] = r.text(p, depth+1)
			continue
		}
		name, contentType := partHead(head)
		end := ""
		if strings.HasSuffix(body, "\r\n") {
			body, end = body[:len(body)-2], "\r\n"
		}
		switch kind := r.keyKind(last(name)); {
		case r.pathSecret("body", []string{name}):
			body = r.whole("custom", body)
		case kind != "":
			body = r.member(kind, body, depth+1)
		default:
			body = r.body(contentType, body, depth+1)
		}
		parts[n] = r.text(head, depth+1) + "\r\n\r\n" + body + end
	}
	return strings.Join(parts, mark)
}

// partHead reads the name and the type of a part of multipart.
func partHead(head string) (name, contentType string) {
	for line := range strings.Lines(head) {
		k, v, _ := strings.Cut(line, ":")
		v = strings.TrimSpace(v)
		switch strings.ToLower(strings.TrimSpace(k)) {
		case "content-disposition":
			if _, params, err := mime.ParseMediaType(v); err == nil {
				name = params["name"]
			}
		case "content-type":
			contentType = v
		}
	}
	return name, contentType
}

func quote(s string) []byte {
	text, err := document.Encode(s)
	if err != nil {
		panic(err) // texts can be encoded
	}
	return text
}
