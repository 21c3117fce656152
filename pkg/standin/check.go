package standin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"

	"github.com/fanfold/fanfold/pkg/event"
)

// Violation is one way in which a request breaks the contract. It never contains a
// value of the request, because that may be personal data or a secret.
type Violation struct {
	Item  int    // index among all items of the request; -1: the whole request
	Field string // dotted path of the member at fault, if it is one member
	Gone  bool   // the member is missing; false: it is wrong
	Msg   string
	Docs  string
}

// Error implements error.
func (v Violation) Error() string {
	if v.Item < 0 {
		return v.Msg + " (" + v.Docs + ")"
	}
	return fmt.Sprintf("item %d: %s (%s)", v.Item, v.Msg, v.Docs)
}

// Check returns the ways in which a request breaks the contract; nil: none. body is the
// request's body as it was sent, compressed or not; req.Body is not read. Check ignores
// the age of events, see [Contract.CheckAt].
func (c *Contract) Check(req *http.Request, body []byte) []Violation {
	return c.CheckAt(time.Time{}, req, body)
}

// CheckAt is Check at a given time, from which the partner's historical window is
// counted.
func (c *Contract) CheckAt(now time.Time, req *http.Request, body []byte) []Violation {
	v := c.check(now, req, body)
	defer c.release(v)
	return v.violations
}

// verdict is the result of checking a request against a contract.
type verdict struct {
	endpoint   *Endpoint
	items      []item
	violations []Violation
	reply      *Reply // the answer
	taken      int
	ids        []string // ids of the items, if the items themselves are not there
	work       *scratch
}

// item is one event of a request.
type item struct {
	v   event.Value
	in  string // the array that contains it
	bad bool
}

// scratch is the memory for one check. It is returned to the contract's pool.
type scratch struct {
	parser event.Parser
	items  []item
	plain  bytes.Buffer
	unzip  gzip.Reader
}

func (c *Contract) release(v *verdict) {
	if v.work == nil {
		return
	}
	v.work.items = v.items[:0]
	v.work.parser.Reset()
	if v.work.plain.Cap() <= 32<<20 {
		c.scratch.Put(v.work)
	}
	v.work, v.items = nil, nil
}

// maxBody limits how much of a body is read, compressed or not. It is three times the
// largest cap of any partner.
const maxBody = 64 << 20

const formType = "application/x-www-form-urlencoded"

func (c *Contract) check(now time.Time, req *http.Request, body []byte) *verdict {
	work, _ := c.scratch.Get().(*scratch)
	if work == nil {
		work = new(scratch)
	}
	k := &checker{Contract: c, v: &verdict{work: work, items: work.items}, req: req}
	switch {
	case !k.address() || !k.caller() || !k.head():
	case k.e.Items[0] == "none":
		k.v.reply = &k.e.Answer
	case k.decode(body) && k.document():
		k.items(now)
	}
	return k.v
}

// checker checks one request against a contract, in steps. A step returns false if it
// refuses the whole request; it has then written the verdict.
type checker struct {
	*Contract
	v   *verdict
	req *http.Request

	query  url.Values
	e      *Endpoint
	inBody *Auth  // set if the credentials are expected in the body
	kind   string // content type
	body   []byte // decompressed; of a form, the JSON in it
	form   url.Values
	root   event.Value
}

func (k *checker) refuse(r *Reply, docs, format string, args ...any) bool {
	k.v.violations = append(k.v.violations, Violation{Item: -1, Msg: fmt.Sprintf(format, args...), Docs: docs})
	k.v.reply = r
	return false
}

// address finds the endpoint.
func (k *checker) address() bool {
	unknown := &Reply{Status: http.StatusNotFound, Body: `{"error":"{error}"}`}
	if host := k.req.URL.Hostname(); !serves(k.Hosts, host) {
		return k.refuse(unknown, k.Docs[0], "%s is no host of %s", host, k.Partner)
	}
	k.query = url.Values{}
	if k.req.URL.RawQuery != "" {
		k.query = k.req.URL.Query()
	}
	k.e = k.endpoint(k.req, k.query)
	k.v.endpoint = k.e
	if k.e == nil {
		return k.refuse(unknown, k.Docs[0], "there is no endpoint %s %s", k.req.Method, k.req.URL.Path)
	}
	return true
}

// caller checks the credentials, except those in the body.
func (k *checker) caller() bool {
	auths := k.Auth
	if len(k.e.Auth) > 0 {
		auths = k.e.Auth
	}
	if len(auths) == 0 || slices.ContainsFunc(auths, func(a Auth) bool { return a.knows(k.req, k.query) }) {
		return true
	}
	if n := slices.IndexFunc(auths, func(a Auth) bool { return a.Kind == "body" }); n >= 0 {
		k.inBody = &auths[n]
		return true
	}
	return k.unknown(&auths[0])
}

func (k *checker) unknown(a *Auth) bool {
	docs := a.Docs
	if docs == "" {
		docs = k.e.Docs
	}
	return k.refuse(&a.Refused, docs, "the caller is not known: %s", a.lacks())
}

// head checks the headers and parameters.
func (k *checker) head() bool {
	for _, asked := range []map[string]*regexp.Regexp{k.headers, k.e.headers} {
		for name, re := range asked {
			if got := k.req.Header.Get(name); got == "" || !re.MatchString(got) {
				return k.refuse(&k.e.Refused, k.Docs[0], "the header %s is missing or not of its form", name)
			}
		}
	}
	if name := k.e.lacksQuery(k.query); name != "" {
		return k.refuse(&k.e.Refused, k.e.Docs, "the parameter %s is missing or not of its form", name)
	}
	return true
}

// decode decompresses the body and checks its size.
func (k *checker) decode(body []byte) bool {
	e := k.e
	kind, params, err := mime.ParseMediaType(k.req.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(e.ContentType, kind) && !slices.Contains(e.ContentType, "*/*") {
		return k.refuse(&e.Refused, e.Docs, "the content type has to be %s", strings.Join(e.ContentType, " or "))
	}
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") {
		return k.refuse(&e.Refused, e.Docs, "the charset has to be utf-8")
	}
	switch k.req.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		if !e.Gzip {
			return k.refuse(&e.Refused, e.Docs, "compressed bodies are not documented to be taken")
		}
		if body, err = k.v.work.gunzip(body); err != nil {
			return k.refuse(&e.Refused, e.Docs, "the body cannot be decompressed: %v", err)
		}
	default:
		return k.refuse(&e.Refused, e.Docs, "the content encoding is not known")
	}
	if e.MaxBytes.N > 0 && len(body) > e.MaxBytes.N || len(body) > maxBody {
		return k.refuse(&e.TooLarge, e.MaxBytes.Docs, "the body has %d bytes; at most %d are taken",
			len(body), e.MaxBytes.N)
	}
	k.kind, k.body = kind, body
	return true
}

// document parses the body, and checks everything in it except the items.
func (k *checker) document() bool {
	e, v := k.e, k.v
	k.form = url.Values{}
	if k.kind == formType {
		var err error
		if k.form, err = url.ParseQuery(string(k.body)); err != nil {
			return k.refuse(&e.Refused, e.Docs, "the form cannot be read")
		}
		k.body = e.formBody(k.form)
	}
	root, msg := v.find(k.body, k.kind)
	k.root = root
	if a := k.inBody; a != nil && !k.signed(a) {
		return k.unknown(a)
	}
	if msg != "" {
		return k.refuse(&e.Refused, e.Docs, "%s", msg)
	}
	if e.MaxItems.N > 0 && len(v.items) > e.MaxItems.N {
		return k.refuse(&e.TooLarge, e.MaxItems.Docs, "the request has %d items; at most %d are taken",
			len(v.items), e.MaxItems.N)
	}
	if bad := e.Body.check(root, root, e.Docs); bad != nil {
		bad.Item = -1
		v.violations = append(v.violations, *bad)
		v.reply = &e.Refused
		return false
	}
	return true
}

// signed is true if the body has the caller's credentials.
func (k *checker) signed(a *Auth) bool {
	if text := k.form.Get(a.Name); text != "" && strings.HasPrefix(text, a.Prefix) {
		return true
	}
	got := at(k.root, strings.Split(a.Name, "."))
	return got.Kind() == event.String && !got.IsEmptyText() && strings.HasPrefix(got.Text(), a.Prefix)
}

// items checks each item.
func (k *checker) items(now time.Time) {
	e, v := k.e, k.v
	for i := range v.items {
		it := &v.items[i]
		bad := e.checkItem(it, k.root)
		if bad == nil && !now.IsZero() {
			bad = e.Window.check(now, it.v, k.root)
		}
		if bad != nil {
			bad.Item = i
			it.bad = true
			v.violations = append(v.violations, *bad)
		}
	}
	switch {
	case len(v.violations) == 0:
		v.taken, v.reply = len(v.items), &e.Answer
	case e.Partial.Status != 0:
		v.taken, v.reply = len(v.items)-len(v.violations), &e.Partial
	default:
		v.reply = &e.Refused
	}
}

// serves is true if requests to a host are for this partner. The host is empty in
// requests that came through a socket.
func serves(hosts []string, host string) bool {
	return len(hosts) == 0 || host == "" || host == "localhost" || host == "127.0.0.1" || host == "::1" ||
		slices.ContainsFunc(hosts, func(p string) bool {
			ok, _ := path.Match(p, host) // a malformed pattern matches nothing, and a test of the contracts reports it
			return ok
		})
}

// endpoint returns the first endpoint with the request's path and parameters, or else
// the first with its path.
func (c *Contract) endpoint(req *http.Request, query url.Values) (first *Endpoint) {
	escaped := req.URL.EscapedPath()
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		if e.Method != req.Method || !serves(e.Hosts, req.URL.Hostname()) ||
			!slices.ContainsFunc(e.paths, func(p []string) bool { return matchPath(p, escaped) }) {
			continue
		}
		if e.lacksQuery(query) == "" {
			return e
		}
		if first == nil {
			first = e
		}
	}
	return first
}

// lacksQuery returns a parameter that is missing or wrong. Of several it returns the
// first by name, so that equal requests always get the same answer.
func (e *Endpoint) lacksQuery(query url.Values) (name string) {
	for k, re := range e.query {
		if got := query.Get(k); (got == "" || !re.MatchString(got)) && (name == "" || k < name) {
			name = k
		}
	}
	return name
}

// matchPath matches an escaped path. An escaped slash does not separate segments.
func matchPath(pattern []string, p string) bool {
	p = strings.TrimPrefix(p, "/")
	for _, seg := range pattern {
		if seg == "**" {
			return true
		}
		if p == "\x00" {
			return false
		}
		got, rest, more := strings.Cut(p, "/")
		if plain, err := url.PathUnescape(got); err == nil {
			got = plain
		}
		if strings.HasPrefix(seg, "{") && got == "" || !strings.HasPrefix(seg, "{") && got != seg {
			return false
		}
		if p = rest; !more {
			p = "\x00" // marks the end of the path, because no path contains NUL
		}
	}
	return p == "\x00"
}

func (a *Auth) knows(req *http.Request, query url.Values) bool {
	has := func(s, prefix string) bool { return len(s) > len(prefix) && strings.HasPrefix(s, prefix) }
	switch a.Kind {
	case "none":
		return true
	case "basic":
		user, password, ok := req.BasicAuth()
		return ok && has(user, a.Prefix) && (password != "" || !a.Password)
	case "bearer":
		scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
		return strings.EqualFold(scheme, "Bearer") && has(token, a.Prefix)
	case "header":
		return has(req.Header.Get(a.Name), a.Prefix)
	case "query":
		return has(query.Get(a.Name), a.Prefix)
	}
	return false
}

func (a *Auth) lacks() string {
	switch a.Kind {
	case "basic":
		if a.Password {
			return "it needs basic auth with a user and a password"
		}
		return "it needs basic auth"
	case "bearer":
		return "it needs a bearer token"
	}
	return fmt.Sprintf("%s %s is missing or not of its form", a.Kind, a.Name)
}

func (w *scratch) gunzip(body []byte) ([]byte, error) {
	if err := w.unzip.Reset(bytes.NewReader(body)); err != nil {
		return nil, err
	}
	w.plain.Reset()
	n, err := w.plain.ReadFrom(io.LimitReader(&w.unzip, maxBody+1))
	if err == nil && n > maxBody {
		err = fmt.Errorf("it has more than %d bytes", maxBody)
	}
	return w.plain.Bytes(), err
}

// framed collects the items of a body that fits a frame; false: it does not.
func (v *verdict) framed(f *Frame, body []byte) bool {
	if len(f.Path) > 0 {
		root, err := v.work.parser.ParseValue(body)
		list := at(root, f.Path)
		for e := range list.Elements() {
			v.items = append(v.items, item{v: e})
		}
		return err == nil && list.Kind() == event.Array
	}
	rest, fits := bytes.CutPrefix(body, []byte(f.Open))
	for n := len(v.items); fits; {
		values := 1
		if f.Above {
			values = 2
		}
		var raw json.RawMessage
		for range values {
			d := json.NewDecoder(bytes.NewReader(rest))
			if d.Decode(&raw) != nil {
				v.items = v.items[:n]
				return false
			}
			rest = rest[d.InputOffset():]
		}
		one, err := v.work.parser.ParseValue(raw)
		if err != nil {
			v.items = v.items[:n]
			return false
		}
		v.items = append(v.items, item{v: one})
		if string(rest) == f.Close {
			return true
		}
		if rest, fits = bytes.CutPrefix(rest, []byte(f.Sep)); !fits {
			v.items = v.items[:n]
		}
	}
	return false
}

// find collects the items of a body. It returns the parsed body, and a message if there
// are no items.
func (v *verdict) find(body []byte, contentType string) (root event.Value, msg string) {
	e := v.endpoint
	for i := range e.Frames {
		if v.framed(&e.Frames[i], body) {
			return root, ""
		}
	}
	if e.Items[0] == "lines" || contentType == "application/x-ndjson" {
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				one, err := v.work.parser.ParseValue(line)
				if err != nil {
					return root, "the body holds a line that is no JSON: " + err.Error()
				}
				v.items = append(v.items, item{v: one})
			}
		}
		return root, ""
	}
	root, err := v.work.parser.ParseValue(body)
	if err != nil {
		return root, "the body is no JSON: " + err.Error()
	}
	add := func(list event.Value, in string) {
		for el := range list.Elements() {
			v.items = append(v.items, item{v: el, in: in})
		}
	}
	switch e.Items[0] {
	case "single":
		v.items = append(v.items, item{v: root})
		return root, ""
	case "either":
		if root.Kind() != event.Array {
			v.items = append(v.items, item{v: root})
			return root, ""
		}
		add(root, "")
		return root, ""
	case "array":
		if root.Kind() != event.Array {
			return root, "the body has to be an array of items"
		}
		add(root, "")
		return root, ""
	}
	found := false
	for i, c := range e.containers {
		if !walk(root, c, func(list event.Value) bool {
			found = found || list.Kind() == event.Array
			add(list, e.Items[i])
			return list.Kind() == event.Array || list.Kind() == event.Missing
		}) {
			return root, e.Items[i] + " has to be an array of items"
		}
	}
	if !found {
		return root, "the body needs an array of items in " + strings.Join(e.Items, " or ")
	}
	return root, ""
}

// walk calls do with each value at a path, until do returns false; walk then returns
// false, too. In the path a segment that ends in [] stands for every element.
func walk(v event.Value, path []string, do func(event.Value) bool) bool {
	for i, name := range path {
		inner, each := strings.CutSuffix(name, "[]")
		if inner != "" {
			v = v.Get(inner)
		}
		if each {
			for el := range v.Elements() {
				if !walk(el, path[i+1:], do) {
					return false
				}
			}
			return true
		}
	}
	return do(v)
}

func at(v event.Value, path []string) event.Value {
	for _, name := range path {
		v = v.Get(name)
	}
	return v
}

func (e *Endpoint) checkItem(it *item, root event.Value) *Violation {
	if e.Item.Value == nil && it.v.Kind() != event.Object {
		return &Violation{Msg: "an item has to be an object (item: {value: …} is for those that are none)", Docs: e.Docs}
	}
	if n := len(it.v.Raw()); e.MaxItemBytes.N > 0 && n > e.MaxItemBytes.N {
		return &Violation{
			Msg:  fmt.Sprintf("it has %d bytes; at most %d are taken", n, e.MaxItemBytes.N),
			Docs: e.MaxItemBytes.Docs,
		}
	}
	if bad := e.Item.check(it.v, root, e.Docs); bad != nil {
		return bad
	}
	for i := range e.Kinds {
		k := &e.Kinds[i]
		if (k.In == "" || k.In == it.in) &&
			!slices.ContainsFunc(k.when, func(c condition) bool { return !at(it.v, c.path).IsText(c.text) }) {
			return k.check(it.v, root, e.Docs)
		}
	}
	if len(e.Kinds) > 0 {
		return &Violation{Msg: "it is of no known kind", Docs: e.Docs}
	}
	return nil
}

func (s *Schema) check(v, root event.Value, docs string) *Violation {
	if s.Value != nil {
		if msg := s.Value.check(v, root); msg != "" {
			return &Violation{Gone: v.Nullish(), Msg: "it " + msg, Docs: s.Value.Docs}
		}
	}
	for i := range s.Fields {
		f := &s.Fields[i]
		var bad *Violation
		walk(v, f.path, func(m event.Value) bool {
			if msg := f.check(m, root); msg != "" {
				bad = &Violation{Field: f.Name, Gone: m.Nullish(), Msg: f.Name + " " + msg, Docs: f.Docs}
			}
			return bad == nil
		})
		if bad != nil {
			return bad
		}
	}
	for i, g := range s.oneOf {
		if !walk(v, g.each, func(el event.Value) bool {
			return slices.ContainsFunc(g.members, func(path []string) bool {
				m := at(el, path)
				return !m.Nullish() && !m.IsEmptyText() && (m.Kind() != event.Array || m.Len() > 0)
			})
		}) {
			return &Violation{
				Field: s.OneOf[i][0],
				Gone:  true,
				Msg:   "it needs one of " + strings.Join(s.OneOf[i], ", "),
				Docs:  docs,
			}
		}
	}
	return nil
}

// typeBits returns the kinds of JSON that a type's name stands for; 0: unknown name.
func typeBits(name string) uint {
	switch name {
	case "text":
		return 1 << event.String
	case "number", "integer":
		return 1 << event.Number
	case "boolean":
		return 1 << event.Bool
	case "object":
		return 1 << event.Object
	case "array":
		return 1 << event.Array
	case "any":
		return 1<<event.String | 1<<event.Number | 1<<event.Bool | 1<<event.Object | 1<<event.Array
	}
	return 0
}

func (f *Field) check(v, root event.Value) string {
	if v.Nullish() {
		if f.Optional {
			return ""
		}
		return "is missing"
	}
	if f.kinds&(1<<v.Kind()) == 0 {
		return fmt.Sprintf("has to be %s, not %s", strings.ReplaceAll(f.Type, "|", " or "), v.Kind())
	}
	if f.MaxBytes > 0 && len(v.Raw()) > f.MaxBytes {
		return fmt.Sprintf("has %d bytes; at most %d are taken", len(v.Raw()), f.MaxBytes)
	}
	if v.Kind() != event.String && f.Enum != nil && !slices.Contains(f.Enum, string(v.Raw())) {
		return "has to be one of " + strings.Join(f.Enum, ", ")
	}
	switch v.Kind() {
	case event.String:
		return f.checkText(v, root)
	case event.Number:
		n, ok := v.Float()
		switch {
		case !ok, f.integer && n != math.Trunc(n):
			return "has to be a whole number"
		case f.Min != nil && n < *f.Min:
			return fmt.Sprintf("is below %v", *f.Min)
		case f.Max != nil && n > *f.Max:
			return fmt.Sprintf("is above %v", *f.Max)
		}
	case event.Array, event.Object:
		if f.MaxItems > 0 && v.Len() > f.MaxItems {
			return fmt.Sprintf("has %d members; at most %d are taken", v.Len(), f.MaxItems)
		}
		if v.Kind() == event.Object && (f.keys != nil || f.MaxValueLength > 0) {
			for key, m := range v.Members() {
				if f.keys != nil && !f.keys.MatchString(key.Text()) {
					return "has a member whose name is not of its form"
				}
				if f.MaxValueLength > 0 && m.Kind() == event.String && length(m) > f.MaxValueLength {
					return fmt.Sprintf("has a member of more than %d characters", f.MaxValueLength)
				}
			}
		}
	}
	return ""
}

func (f *Field) checkText(v, root event.Value) string {
	least := f.MinLength
	if f.minFrom != nil {
		if n, ok := at(root, f.minFrom).Int(); ok && n >= 0 {
			least = int(min(n, maxBody))
		}
	}
	if f.Enum != nil && !slices.ContainsFunc(f.Enum, v.IsText) {
		return "has to be one of " + strings.Join(f.Enum, ", ")
	}
	if f.Not != nil && slices.ContainsFunc(f.Not, func(s string) bool { return strings.EqualFold(s, v.Text()) }) {
		return "holds a text that is refused"
	}
	if least > 0 && length(v) < least {
		return fmt.Sprintf("has to have at least %d characters", least)
	}
	if f.MaxLength > 0 && length(v) > f.MaxLength {
		return fmt.Sprintf("has more than %d characters", f.MaxLength)
	}
	if f.pattern != nil && !f.pattern.MatchString(v.Text()) {
		return "is not of its form"
	}
	return ""
}

func length(v event.Value) int {
	if plain, ok := v.Plain(); ok {
		return utf8.RuneCount(plain)
	}
	return utf8.RuneCountInString(v.Text())
}

func (w *Window) check(now time.Time, it, root event.Value) *Violation {
	if w.Past == 0 && w.Future == 0 {
		return nil
	}
	v, name := at(it, w.field), w.Field
	if w.field == nil || v.Nullish() {
		if v, name = at(root, w.whole), w.Whole; w.whole == nil {
			return nil // the partner uses its own time then
		}
	}
	var t time.Time
	if w.Unit == "iso" {
		plain, _ := v.Plain()
		var ok bool
		if t, ok = event.ParseTimeText(plain); !ok {
			return nil
		}
	} else {
		n, ok := v.Float()
		if !ok {
			return nil
		}
		t = time.UnixMicro(int64(n * map[string]float64{"s": 1e6, "ms": 1e3, "us": 1}[w.Unit]))
	}
	past := w.Past
	if w.But.Past > 0 && at(it, strings.Split(w.But.Field, ".")).IsText(w.But.Is) {
		past = w.But.Past
	}
	switch {
	case past > 0 && now.Sub(t) > past:
		return &Violation{Field: name, Msg: fmt.Sprintf("%s is more than %s ago", name, past), Docs: w.Docs}
	case w.Future > 0 && t.Sub(now) > w.Future:
		return &Violation{Field: name, Msg: fmt.Sprintf("%s is more than %s ahead", name, w.Future), Docs: w.Docs}
	}
	return nil
}

// formBody returns the JSON in a form.
func (e *Endpoint) formBody(form url.Values) []byte {
	if e.Form != "*" {
		return []byte(form.Get(e.Form))
	}
	members := make(map[string]any, len(form))
	for k, vs := range form {
		if members[k] = vs; len(vs) == 1 {
			members[k] = vs[0]
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		return nil // cannot fail for strings
	}
	return text
}
