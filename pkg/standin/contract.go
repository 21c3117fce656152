package standin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/event"
)

// Contract describes a partner's API, from its documentation.
type Contract struct {
	Partner   string     `yaml:"partner"`
	Written   string     `yaml:"written"` // "from documentation"
	Date      string     `yaml:"date"`
	Docs      []string   `yaml:"docs"`
	Hosts     []string   `yaml:"hosts"`
	Auth      Auth       `yaml:"auth"`
	Endpoints []Endpoint `yaml:"endpoints"`
}

// Auth is how the partner knows its callers.
type Auth struct {
	Kind string `yaml:"kind"` // basic, bearer, header, query, body or none
	Name string `yaml:"name"` // of the header, the parameter, or the body's member
	Docs string `yaml:"docs"`
	// Status is the answer to a caller that is not known; 0: 401.
	Status int    `yaml:"status"`
	Body   string `yaml:"body"`
}

// Endpoint is one path of the API.
type Endpoint struct {
	Method      string            `yaml:"method"` // default POST
	Path        string            `yaml:"path"`   // may hold * for one segment
	Query       map[string]string `yaml:"query"`  // parameters that have to be there; "" for any value
	Docs        string            `yaml:"docs"`
	ContentType string            `yaml:"content_type"` // default application/json
	// Items is where the events of the body are: "array" (the body is one),
	// "single" (the body is one), "lines", or the name of the member that
	// holds the array.
	Items        string            `yaml:"items"`
	MaxItems     int               `yaml:"max_items"`
	MaxBytes     int               `yaml:"max_bytes"`
	MaxItemBytes int               `yaml:"max_item_bytes"`
	Required     map[string]string `yaml:"required"` // dotted member: type (text, number, boolean, object, array, any)
	OneOf        [][]string        `yaml:"one_of"`   // of each group at least one member has to be there
	InsertID     string            `yaml:"insert_id"`
	Answer       Reply             `yaml:"answer"`
	// Refused answers a request of which nothing is taken; {error} is why.
	Refused Reply `yaml:"refused"`
	// Partial answers a request of which some items are refused. Failed is
	// repeated for each, with {index}, {id} and {error}; it stands in Body as
	// {failed}. Without it one bad item refuses the whole request.
	Partial Reply  `yaml:"partial"`
	Failed  string `yaml:"failed"`
}

// Reply is an answer. In its body {n} is the number of items taken.
type Reply struct {
	Status int    `yaml:"status"`
	Body   string `yaml:"body"`
}

// ParseContract reads a contract; what it does not know, it refuses.
func ParseContract(data []byte) (*Contract, error) {
	if len(data) > 1<<20 {
		return nil, fmt.Errorf("a contract has at most 1 MiB")
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var c Contract
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("reading the contract: %w", err)
	}
	if c.Partner == "" || c.Written == "" || len(c.Docs) == 0 || len(c.Endpoints) == 0 {
		return nil, fmt.Errorf("a contract has to name its partner, how it was written, its sources and at least one endpoint")
	}
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		if e.Method == "" {
			e.Method = http.MethodPost
		}
		if e.ContentType == "" {
			e.ContentType = "application/json"
		}
		if e.Path == "" || e.Items == "" || e.Docs == "" {
			return nil, fmt.Errorf("endpoint %d of %s has to say its path, where its items are, and its documentation", i, c.Partner)
		}
		if _, err := path.Match(e.Path, "/"); err != nil {
			return nil, fmt.Errorf("endpoint %s of %s: %w", e.Path, c.Partner, err)
		}
		if e.Answer.Status == 0 {
			e.Answer.Status = 200
		}
		if e.Refused.Status == 0 {
			e.Refused.Status = 400
		}
	}
	return &c, nil
}

// Violation is a way in which a request breaks the contract.
type Violation struct {
	Item int // index; -1: the request as a whole
	Msg  string
	Docs string
}

func (v Violation) Error() string {
	if v.Item < 0 {
		return v.Msg + " (" + v.Docs + ")"
	}
	return fmt.Sprintf("item %d: %s (%s)", v.Item, v.Msg, v.Docs)
}

// Partner answers as the contract says. It is an http.RoundTripper, which
// needs no socket, and an http.Handler. It is safe for concurrent use.
type Partner struct {
	c *Contract

	mu         sync.Mutex
	Requests   int
	Accepted   int
	violations []Violation
}

// New returns a partner that keeps a contract.
func New(c *Contract) *Partner { return &Partner{c: c} }

// Violations returns what was wrong with the requests so far, at most a
// hundred of it.
func (p *Partner) Violations() []Violation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.violations)
}

// RoundTrip implements http.RoundTripper.
func (p *Partner) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	body, err := readBody(req.Body)
	if err != nil {
		return nil, err
	}
	status, header, answer := p.answer(req, body)
	return &http.Response{Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(strings.NewReader(answer)), ContentLength: int64(len(answer)), Request: req}, nil
}

// ServeHTTP implements http.Handler.
func (p *Partner) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := readBody(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status, header, answer := p.answer(req, body)
	for k, v := range header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer) // a client that is gone needs no answer
}

const maxBody = 64 << 20

func readBody(r io.ReadCloser) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(b) > maxBody {
		err = fmt.Errorf("a body of more than %d bytes", maxBody)
	}
	return b, err
}

func (p *Partner) answer(req *http.Request, body []byte) (int, http.Header, string) {
	header := http.Header{"Content-Type": {"application/json"}}
	e, n, vs := p.c.check(req, body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Requests++
	for _, v := range vs {
		if len(p.violations) < 100 {
			p.violations = append(p.violations, v)
		}
	}
	fill := func(s string, taken int, why string) string {
		return strings.NewReplacer("{n}", strconv.Itoa(taken), "{error}", quoteInner(why)).Replace(s)
	}
	if len(vs) == 0 {
		p.Accepted += n
		return e.Answer.Status, header, fill(e.Answer.Body, n, "")
	}
	first := vs[0]
	switch {
	case e == nil && first.Docs == authDocs:
		status := p.c.Auth.Status
		if status == 0 {
			status = 401
		}
		return status, header, fill(p.c.Auth.Body, 0, first.Msg)
	case e == nil:
		return 404, header, fill(`{"error":"{error}"}`, 0, first.Msg)
	case first.Item >= 0 && e.Partial.Status != 0:
		var failed []string
		seen := map[int]bool{}
		for _, v := range vs {
			if v.Item >= 0 && !seen[v.Item] {
				seen[v.Item] = true
				failed = append(failed, strings.NewReplacer("{index}", strconv.Itoa(v.Item), "{error}", quoteInner(v.Msg)).Replace(e.Failed))
			}
		}
		p.Accepted += n - len(seen)
		return e.Partial.Status, header, strings.Replace(fill(e.Partial.Body, n-len(seen), first.Msg), "{failed}", strings.Join(failed, ","), 1)
	case strings.HasPrefix(first.Msg, "the body has"):
		return 413, header, fill(`{"error":"{error}"}`, 0, first.Msg)
	}
	return e.Refused.Status, header, fill(e.Refused.Body, 0, first.Msg)
}

func quoteInner(s string) string {
	q := event.AppendQuoted(nil, s)
	return string(q[1 : len(q)-1])
}

// authDocs marks the violation that the caller is not known.
const authDocs = "auth"

// Check says how a request breaks the contract. body is the request's body as
// sent; it may be gzip'd.
func (c *Contract) Check(req *http.Request, body []byte) []Violation {
	_, _, vs := c.check(req, body)
	return vs
}

func (c *Contract) check(req *http.Request, body []byte) (e *Endpoint, items int, vs []Violation) {
	whole := func(docs, format string, args ...any) []Violation {
		return []Violation{{-1, fmt.Sprintf(format, args...), docs}}
	}
	if host := req.URL.Hostname(); len(c.Hosts) > 0 && host != "" && !slices.Contains(c.Hosts, host) && host != "127.0.0.1" && host != "localhost" {
		return nil, 0, whole(c.Docs[0], "there is no such host: %s", host)
	}
	for i := range c.Endpoints {
		x := &c.Endpoints[i]
		if ok, _ := path.Match(x.Path, req.URL.Path); ok && x.Method == req.Method {
			e = x
			break
		}
	}
	if e == nil {
		return nil, 0, whole(c.Docs[0], "there is no endpoint %s %s", req.Method, req.URL.Path)
	}
	known := true
	switch a := c.Auth; a.Kind {
	case "basic":
		user, _, ok := req.BasicAuth()
		known = ok && user != ""
	case "bearer":
		known = len(req.Header.Get("Authorization")) > len("Bearer ")
	case "header":
		known = req.Header.Get(a.Name) != ""
	case "query":
		known = req.URL.Query().Get(a.Name) != ""
	}
	if !known {
		return nil, 0, []Violation{{-1, "the caller is not known: " + c.Auth.Kind + " credentials are missing", authDocs}}
	}
	for k, want := range e.Query {
		if got := req.URL.Query().Get(k); got == "" || want != "" && got != want {
			return e, 0, whole(e.Docs, "the parameter %s is missing or wrong", k)
		}
	}
	if got, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";"); got != e.ContentType {
		return e, 0, whole(e.Docs, "the content type is %q, not %q", got, e.ContentType)
	}
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, err = readBody(z)
		}
		if err != nil {
			return e, 0, whole(e.Docs, "the body is not gzip: %v", err)
		}
	}
	if e.MaxBytes > 0 && len(body) > e.MaxBytes {
		return e, 0, whole(e.Docs, "the body has %d bytes; at most %d are taken", len(body), e.MaxBytes)
	}
	var list []event.Value
	add := func(raw []byte) error {
		v, err := event.ParseValue(raw)
		if err == nil {
			list = append(list, v)
		}
		return err
	}
	var err error
	switch e.Items {
	case "single":
		err = add(body)
	case "lines":
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 && err == nil {
				err = add(line)
			}
		}
	default:
		var v event.Value
		if v, err = event.ParseValue(body); err == nil {
			if c.Auth.Kind == "body" && v.Get(c.Auth.Name).Nullish() {
				return nil, 0, []Violation{{-1, "the caller is not known: " + c.Auth.Name + " is missing", authDocs}}
			}
			if e.Items != "array" {
				v = v.Get(e.Items)
			}
			if v.Kind() != event.Array {
				return e, 0, whole(e.Docs, "the body does not hold an array of items")
			}
			for el := range v.Elements() {
				list = append(list, el)
			}
		}
	}
	if err != nil {
		return e, 0, whole(e.Docs, "the body cannot be read: %v", err)
	}
	if e.MaxItems > 0 && len(list) > e.MaxItems {
		return e, len(list), whole(e.Docs, "the request has %d items; at most %d are taken", len(list), e.MaxItems)
	}
	for i, v := range list {
		if msg := e.item(v); msg != "" {
			vs = append(vs, Violation{i, msg, e.Docs})
		}
	}
	return e, len(list), vs
}

// item says what is wrong with one item.
func (e *Endpoint) item(v event.Value) string {
	if e.MaxItemBytes > 0 && len(v.Raw()) > e.MaxItemBytes {
		return fmt.Sprintf("it has %d bytes; at most %d are taken", len(v.Raw()), e.MaxItemBytes)
	}
	for name, want := range e.Required {
		m := v.Find(event.Keys(strings.Split(name, ".")...))
		got := map[event.Kind]string{event.String: "text", event.Number: "number", event.Bool: "boolean", event.Object: "object", event.Array: "array", event.Null: "null", event.Missing: "missing"}[m.Kind()]
		if m.Nullish() || want != "any" && got != want {
			return fmt.Sprintf("%s has to be %s, it is %s", name, want, got)
		}
	}
	for _, group := range e.OneOf {
		if !slices.ContainsFunc(group, func(name string) bool {
			m := v.Find(event.Keys(strings.Split(name, ".")...))
			return !m.Nullish() && !m.IsEmptyText()
		}) {
			return "it needs one of " + strings.Join(group, ", ")
		}
	}
	return ""
}
