package cassette

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Secret is a value that must not be in a cassette.
type Secret struct {
	// Name is where it comes from: an environment variable, a setting.
	Name  string
	Value string
	// Example, when there is one, takes its place: the value with which the
	// conversation is replayed. Else a token does.
	Example string
}

// minSecret is the length from which a value can be told from ordinary text.
const minSecret = 8

// Redactor replaces secrets. It is safe for concurrent use.
type Redactor struct {
	key     []byte
	secrets []form
}

// form is a secret as it may be written, and what replaces it.
type form struct{ name, text, with string }

// NewRedactor returns a redactor of the secrets given and of everything that
// the default rules know. Tokens are keyed: without the key, nobody can find
// the value by trying. Values shorter than 8 characters are left out.
func NewRedactor(key []byte, secrets []Secret) *Redactor {
	r := &Redactor{key: key}
	seen := map[string]bool{}
	for _, s := range secrets {
		if len(s.Value) < minSecret {
			continue
		}
		if s.Value == s.Example { // no secret, though its name says so
			if !seen[s.Value] {
				seen[s.Value] = true
				r.secrets = append(r.secrets, form{s.Name, s.Value, s.Value})
			}
			continue
		}
		with := s.Example
		if with == "" {
			with = r.token("secret", s.Value)
		}
		for _, f := range []func(string) string{
			func(s string) string { return s }, url.QueryEscape, url.PathEscape, jsonEscape,
			func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
			func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
			func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
			func(s string) string { return hex.EncodeToString([]byte(s)) },
			func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
		} {
			if text := f(s.Value); !seen[text] {
				seen[text] = true
				r.secrets = append(r.secrets, form{s.Name, text, f(with)})
			}
		}
	}
	// A secret may be part of another.
	slices.SortStableFunc(r.secrets, func(a, b form) int { return len(b.text) - len(a.text) })
	return r
}

func jsonEscape(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return string(data[1 : len(data)-1])
}

// Fingerprint names the key, and does not tell it.
func (r *Redactor) Fingerprint() string {
	sum := sha256.Sum256(append([]byte("fanfold redaction key\x00"), r.key...))
	return hex.EncodeToString(sum[:4])
}

// token is what stands for a value: the same for the same value.
func (r *Redactor) token(kind, value string) string {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(kind))
	mac.Write([]byte{0})
	mac.Write([]byte(value))
	sum := hex.EncodeToString(mac.Sum(nil)[:4])
	if kind == "email" {
		return "user-" + sum + "@example.invalid"
	}
	return tokenMark + kind + ":" + sum
}

// Interaction redacts an interaction in place. The caller owns all of it.
func (r *Redactor) Interaction(i *Interaction) {
	i.Request.URL = r.URL(i.Request.URL)
	i.Request.Body = r.Body(i.Request.Headers.Get("Content-Type"), i.Request.Body)
	r.Header(i.Request.Headers)
	i.Request.Form = r.values(i.Request.Form)
	i.Response.Body = r.Body(i.Response.Headers.Get("Content-Type"), i.Response.Body)
	i.Response.Status = r.Text(i.Response.Status)
	r.Header(i.Response.Headers)
}

// Header redacts headers in place.
func (r *Redactor) Header(h http.Header) {
	for name, values := range h {
		kind := secretHeader(http.CanonicalHeaderKey(name))
		for n, v := range values {
			switch {
			case kind == "authorization":
				values[n] = r.authorization(v)
			case kind == "cookie":
				values[n] = r.cookie(v, http.CanonicalHeaderKey(name) == "Set-Cookie")
			case kind != "":
				values[n] = r.whole(kind, v)
			case name == "Location" || name == "Referer" || name == "Content-Location" || name == "Origin":
				values[n] = r.URL(v)
			default:
				values[n] = r.Text(v)
			}
		}
	}
}

// authorization keeps the scheme.
func (r *Redactor) authorization(v string) string {
	scheme, rest, ok := strings.Cut(v, " ")
	if !ok {
		return r.whole("authorization", v)
	}
	return scheme + " " + r.whole(strings.ToLower(keepLetters(scheme)), rest)
}

func keepLetters(s string) string {
	s = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return -1
	}, s)
	if s == "" {
		return "authorization"
	}
	return s
}

// cookie keeps names and attributes.
func (r *Redactor) cookie(v string, set bool) string {
	parts := strings.Split(v, ";")
	for n, p := range parts {
		if set && n > 0 {
			break // attributes
		}
		name, value, ok := strings.Cut(p, "=")
		if ok {
			parts[n] = name + "=" + r.whole("cookie", value)
		} else {
			parts[n] = r.whole("cookie", p)
		}
	}
	return strings.Join(parts, ";")
}

// whole replaces all of a value, if there is anything to replace.
func (r *Redactor) whole(kind, v string) string {
	if v == "" || isToken(v) {
		return v
	}
	for _, f := range r.secrets { // its example, where it has one
		if v == f.text {
			return f.with
		}
		if v == f.with {
			return v
		}
	}
	return r.token(kind, v)
}

// member replaces the value that a name announces to be secret.
func (r *Redactor) member(kind, v string, depth int) string {
	switch kind {
	case "email", "hashed":
		if isHash(v) && !isToken(v) {
			return r.token("hashed", v)
		}
		return r.text(v, depth)
	case "phone":
		digits := 0
		for _, c := range []byte(v) {
			if c >= '0' && c <= '9' {
				digits++
			}
		}
		if isHash(v) {
			return r.token("hashed", v)
		}
		if digits < 7 || digits > 15 || harmless("phone", v) {
			return r.text(v, depth)
		}
	}
	return r.whole(kind, v)
}

func isHash(s string) bool {
	if len(s) != 32 && len(s) != 40 && len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}

// URL redacts an address: credentials before the host, parameters, and the
// path.
func (r *Redactor) URL(s string) string {
	if scheme, rest, ok := strings.Cut(s, "://"); ok { // the rest keeps every byte
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
			s = scheme + "://" + rest[at+1:]
		}
	}
	head, query, ok := strings.Cut(s, "?")
	query, fragment, hasFragment := strings.Cut(query, "#")
	head = r.Text(head)
	if ok {
		head += "?" + r.form(query, 0)
	}
	if hasFragment {
		head += "#" + r.form(fragment, 0)
	}
	return head
}

// form redacts a urlencoded form, and leaves what needs nothing as it is.
func (r *Redactor) form(s string, depth int) string {
	if s == "" {
		return s
	}
	parts := strings.Split(s, "&")
	for n, p := range parts {
		name, value, ok := strings.Cut(p, "=")
		plain, err1 := url.QueryUnescape(value)
		key, err2 := url.QueryUnescape(name)
		if err1 != nil || err2 != nil {
			parts[n] = r.text(p, depth+1)
			continue
		}
		if now := r.text(key, depth+1); now != key { // JSON posted as a form is a key
			name = url.QueryEscape(now)
		}
		if ok {
			var now string
			if kind := keyKind(last(key)); kind != "" {
				now = r.member(kind, plain, depth+1)
			} else {
				now = r.text(plain, depth+1)
			}
			if now != plain {
				value = url.QueryEscape(now)
			}
			name += "=" + value
		}
		parts[n] = name
	}
	return strings.Join(parts, "&")
}

// last is the name in a[b][name] or a.b.name.
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
		kind := keyKind(last(key))
		now := r.text(key, 1)
		for _, one := range v[key] {
			if kind != "" {
				one = r.member(kind, one, 1)
			} else {
				one = r.text(one, 1)
			}
			out[now] = append(out[now], one)
		}
	}
	return out
}

// Body redacts a body by its type: JSON, lines of JSON, forms, multipart, and
// as text whatever else it is.
func (r *Redactor) Body(contentType, s string) string { return r.body(contentType, s, 0) }

// maxDepth bounds encodings within encodings.
const maxDepth = 5

func (r *Redactor) body(contentType, s string, depth int) string {
	if s == "" || depth > maxDepth {
		return s
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err == nil {
		switch {
		case media == "application/x-www-form-urlencoded" && !strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "{"):
			return r.form(s, depth)
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
	for i := range r.secrets {
		if f := &r.secrets[i]; f.text != f.with && strings.Contains(s, f.text) {
			s = strings.ReplaceAll(s, f.text, f.with)
		}
	}
	if plain, ok := gunzip(s); ok {
		if now := r.text(plain, depth+1); now != plain {
			return gzipped(now)
		}
		return s
	}
	trimmed := strings.TrimLeft(s, " \t\r\n")
	if trimmed != "" && (trimmed[0] == '{' || trimmed[0] == '[') {
		if now, ok := r.json(s, depth); ok {
			return now
		}
	}
	for i := range patterns {
		p := &patterns[i]
		if p.possible(s) {
			s = replaceGroup(p.re, s, p.group, func(m string) string {
				if harmless(p.kind, m) {
					return m
				}
				return r.token(p.kind, m)
			})
		}
	}
	if strings.ContainsAny(s, "=:") {
		var b strings.Builder
		at := 0
		for kind, span := range pairs(s) {
			value := s[span.from:span.to]
			if tokenRE.MatchString(value) {
				continue
			}
			b.WriteString(s[at:span.from])
			b.WriteString(r.member(kind, value, depth+1))
			at = span.to
		}
		if at > 0 {
			b.WriteString(s[at:])
			s = b.String()
		}
	}
	return r.base64(s, depth)
}

// replaceGroup replaces one group of every match.
func replaceGroup(re *regexp.Regexp, s string, group int, f func(string) string) string {
	found := re.FindAllStringSubmatchIndex(s, -1)
	if found == nil {
		return s
	}
	var b strings.Builder
	at := 0
	for _, m := range found {
		from, to := m[2*group], m[2*group+1]
		b.WriteString(s[at:from])
		b.WriteString(f(s[from:to]))
		at = to
	}
	b.WriteString(s[at:])
	return b.String()
}

// json redacts JSON, one value or several, without touching its layout. ok is
// false when it is none.
func (r *Redactor) json(s string, depth int) (out string, ok bool) {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var stack []level
	var b strings.Builder
	at := 0 // copied so far
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(stack) > 1000 {
			return "", false
		}
		var top *level
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		switch t := tok.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				l := level{object: t == '{', isKey: t == '{', kind: top.kindHere()}
				if top != nil {
					top.isKey = true
				}
				stack = append(stack, l)
			} else {
				stack = stack[:len(stack)-1]
			}
			continue
		case string:
			end := int(dec.InputOffset())
			start := jsonStart(s, at, end)
			if start < 0 {
				return "", false
			}
			var now string
			if top != nil && top.object && top.isKey {
				top.key, top.isKey = t, false
				now = r.text(t, depth+1)
			} else {
				if kind := top.kindHere(); kind != "" {
					now = r.member(kind, t, depth+1)
				} else {
					now = r.text(t, depth+1)
				}
				if top != nil {
					top.isKey = true
				}
			}
			if now != t {
				b.WriteString(s[at:start])
				b.Write(quote(now))
				at = end
			}
		case json.Number:
			end := int(dec.InputOffset())
			if kind := top.kindHere(); kind == "phone" || kind == "password" || kind == "card" || kind == "ssn" {
				if now := r.member(kind, t.String(), depth+1); now != t.String() {
					b.WriteString(s[at : end-len(t)])
					b.Write(quote(now))
					at = end
				}
			}
			if top != nil {
				top.isKey = true
			}
		default:
			if top != nil {
				top.isKey = true
			}
		}
	}
	if len(stack) > 0 {
		return "", false
	}
	b.WriteString(s[at:])
	return b.String(), true
}

// level is an object or array that a JSON walk is in.
type level struct {
	object bool
	key    string // of the member at hand
	isKey  bool   // the next token is a member's name
	kind   string // what the name of an enclosing member announced
}

// kindHere is what the name of the value at hand, or of one around it,
// announces.
func (l *level) kindHere() string {
	if l == nil {
		return ""
	}
	if l.object {
		if k := keyKind(l.key); k != "" {
			return k
		}
	}
	return l.kind
}

func quote(s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a text cannot fail
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// jsonStart finds where the string that ends at end began: the decoder tells
// only where tokens end. Between at and there may be other tokens.
func jsonStart(s string, at, end int) int {
	for i := end - 2; i >= at; i-- {
		if s[i] != '"' {
			continue
		}
		back := 0
		for k := i - 1; k >= at && s[k] == '\\'; k-- {
			back++
		}
		if back%2 == 0 {
			return i
		}
	}
	return -1
}

// multipart redacts the parts, and keeps the lines between.
func (r *Redactor) multipart(boundary, s string, depth int) string {
	mark := "--" + boundary
	parts := strings.Split(s, mark)
	for n, p := range parts {
		head, body, ok := strings.Cut(p, "\r\n\r\n")
		if !ok || n == 0 {
			parts[n] = r.text(p, depth+1)
			continue
		}
		var name, contentType string
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
		end := ""
		if strings.HasSuffix(body, "\r\n") {
			body, end = body[:len(body)-2], "\r\n"
		}
		if kind := keyKind(last(name)); kind != "" {
			body = r.member(kind, body, depth+1)
		} else {
			body = r.body(contentType, body, depth+1)
		}
		parts[n] = r.text(head, depth+1) + "\r\n\r\n" + body + end
	}
	return strings.Join(parts, mark)
}

// base64 looks into what may be text in base64.
func (r *Redactor) base64(s string, depth int) string {
	var b strings.Builder
	at := 0
	for from, to := range base64Runs(s) {
		plain, enc, ok := unbase64(s[from:to])
		if !ok {
			continue
		}
		if now := r.text(plain, depth+1); now != plain {
			b.WriteString(s[at:from])
			b.WriteString(enc.EncodeToString([]byte(now)))
			at = to
		}
	}
	if at == 0 {
		return s
	}
	b.WriteString(s[at:])
	return b.String()
}

// base64Runs yields the places of at least 12 characters of base64.
func base64Runs(s string) func(yield func(from, to int) bool) {
	return func(yield func(from, to int) bool) {
		start := -1
		for i := 0; i <= len(s); i++ {
			if i < len(s) && isBase64(s[i]) {
				if start < 0 {
					start = i
				}
				continue
			}
			if start >= 0 {
				end := i
				for end < len(s) && s[end] == '=' && end-i < 2 {
					end++
				}
				if i-start >= 12 && !yield(start, end) {
					return
				}
				start = -1
			}
		}
	}
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}

// unbase64 decodes what is text, or gzip, in base64; ok is false for the rest.
func unbase64(s string) (plain string, enc *base64.Encoding, ok bool) {
	switch padded, urlSafe := strings.HasSuffix(s, "="), strings.ContainsAny(s, "-_"); {
	case padded && urlSafe:
		enc = base64.URLEncoding
	case padded:
		enc = base64.StdEncoding
	case urlSafe:
		enc = base64.RawURLEncoding
	default:
		enc = base64.RawStdEncoding
	}
	data, err := enc.DecodeString(s)
	if err != nil || len(data) < minSecret {
		return "", nil, false
	}
	if len(data) > 2 && data[0] == 0x1f && data[1] == 0x8b {
		return string(data), enc, true
	}
	if !utf8.Valid(data) {
		return "", nil, false
	}
	for _, c := range data {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return "", nil, false
		}
	}
	return string(data), enc, true
}

// maxGunzip bounds what is looked at of a compressed text.
const maxGunzip = 64 << 20

// gunzip opens gzip data; ok is false for anything else.
func gunzip(s string) (plain string, ok bool) {
	if len(s) < 18 || s[0] != 0x1f || s[1] != 0x8b {
		return "", false
	}
	z, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		return "", false
	}
	data, err := io.ReadAll(io.LimitReader(z, maxGunzip))
	if err != nil {
		return "", false
	}
	return string(data), true
}

func gzipped(s string) string {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, err := z.Write([]byte(s))
	if err := errors.Join(err, z.Close()); err != nil {
		panic(err) // memory takes everything
	}
	return buf.String()
}
