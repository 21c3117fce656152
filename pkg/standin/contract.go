package standin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/document"
)

// Contract describes a partner's API, as its documentation does. It is safe for
// concurrent use after parsing.
type Contract struct {
	Partner string   `yaml:"partner"`
	Written string   `yaml:"written"` // always "from documentation", because a contract is never recorded
	Date    string   `yaml:"date"`    // when the documentation was read: 2006-01-02
	Docs    []string `yaml:"docs"`
	// Hosts are the partner's regions; * stands for one label of a host name. None: any
	// host.
	Hosts []string `yaml:"hosts"`
	// Auth lists the accepted methods of authentication. None: no credentials are
	// needed.
	Auth Auths `yaml:"auth"`
	// Headers lists the required headers and their patterns.
	Headers map[string]string `yaml:"headers"`
	// Limited is the documented answer to a client that sends too fast. The partner in
	// a rehearsal never gives it, but a [Script] can.
	Limited Reply `yaml:"limited"`
	// Wait is how long such a client has to wait, in seconds, where the documentation says it
	// or a header of Limited, read at noon of 2024-05-30.
	Wait      float64    `yaml:"wait"`
	Endpoints []Endpoint `yaml:"endpoints"`
	// Differences are the places where other programs are known to send what the
	// documentation does not allow. The contract follows the documentation.
	Differences []string `yaml:"differences"`

	headers map[string]*regexp.Regexp
	scratch sync.Pool // *scratch
}

// Auth is one method by which a partner authenticates its callers.
type Auth struct {
	// Kind is basic, bearer, header, query or body.
	Kind string `yaml:"kind"`
	// Name is the name of the header, the parameter or the member of the body.
	Name string `yaml:"name"`
	// Prefix is the beginning of the value, before the secret part.
	Prefix string `yaml:"prefix"`
	// Password is true if basic auth needs a password in addition to the user.
	Password bool   `yaml:"password"`
	Docs     string `yaml:"docs"`
	// Refused is the answer to wrong or missing credentials; status 401 by default.
	Refused Reply `yaml:"refused"`
}

// Endpoint is one path of the API.
type Endpoint struct {
	Method string `yaml:"method"` // POST by default
	// Path is matched segment by segment: {name} stands for any one segment, ** at the
	// end for any rest. Several paths are different spellings of the same endpoint.
	Path Texts  `yaml:"path"`
	Docs string `yaml:"docs"`
	// Hosts are those of the contract's hosts that have this endpoint. None: all of
	// them.
	Hosts []string `yaml:"hosts"`
	// Headers lists required headers, in addition to those of the contract.
	Headers map[string]string `yaml:"headers"`
	// Query lists the required parameters and their patterns. If several endpoints have
	// the same path, the first is used whose Query matches.
	Query map[string]string `yaml:"query"`
	// Auth replaces the contract's. With an entry of kind none, no credentials are
	// needed.
	Auth        Auths `yaml:"auth"`
	ContentType Texts `yaml:"content_type"` // application/json by default
	// Form is the parameter that holds the JSON if the body is a form. "*": the
	// parameters are the members of the event. Their values are texts or, if a name
	// occurs several times, arrays of texts.
	Form string `yaml:"form"`
	// Gzip is true if the documentation says that compressed bodies are accepted.
	Gzip bool `yaml:"gzip"`
	// Items says where a body has its events: array (the body is an array of them),
	// single (the body is one event), either, lines (one event per line), none (the
	// body is not read), or the dotted members that hold arrays of events. In these a
	// segment that ends in [] stands for every element. A body of type
	// application/x-ndjson is read as lines.
	Items Texts `yaml:"items"`
	// Frames are ways in which events stand in a body: the first counts that fits one; else Items does.
	Frames       []Frame `yaml:"frames"`
	MaxItems     Cap     `yaml:"max_items"` // in all arrays together
	MaxBytes     Cap     `yaml:"max_bytes"` // before compression
	MaxItemBytes Cap     `yaml:"max_item_bytes"`
	Body         Schema  `yaml:"body"` // for the body around the items
	Item         Schema  `yaml:"item"` // for every item
	// Kinds are further rules for items of a kind. If there are any, every item has to
	// be of one of these kinds.
	Kinds []Kind `yaml:"kinds"`
	// InsertID is the path of the partner's dedupe key in an item.
	InsertID string `yaml:"insert_id"`
	Window   Window `yaml:"window"`

	// Success describes the answers by which the partner says that it took the request.
	// A destination must not treat any other answer as a delivery.
	Success Successes `yaml:"success"`
	Answer  Reply     `yaml:"answer"` // status 200 by default
	// Refused is the answer if nothing of the request is taken; status 400 by default.
	Refused Reply `yaml:"refused"`
	// TooLarge is the answer to a body over a limit; status 413 by default.
	TooLarge Reply `yaml:"too_large"`
	// Partial is the answer if some items are refused and the others taken. Without it,
	// one bad item refuses the whole request.
	Partial Reply `yaml:"partial"`

	paths      [][]string
	query      map[string]*regexp.Regexp
	headers    map[string]*regexp.Regexp
	containers [][]string
	insertID   []string
}

// Frame is a body of events: in a list at a path, or, without one, as text, with other text around and between them.
// Above says that each event has a JSON value of its own before it.
type Frame struct {
	Path  []string `yaml:"path"`
	Open  string   `yaml:"open"`
	Sep   string   `yaml:"sep"`
	Close string   `yaml:"close"`
	Above bool     `yaml:"above"`
}

// Kind is a kind of item: the items of one array, or those with certain members.
type Kind struct {
	In     string            `yaml:"in"`   // the array of Items that contains them
	When   map[string]string `yaml:"when"` // dotted member and its text
	Schema `yaml:",inline"`

	when []condition
}

type condition struct {
	path []string
	text string
}

// Schema lists the rules for an item.
type Schema struct {
	// Value is the rule for an item that is no object, such as an id in a list of ids: there is then no other.
	Value  *Field `yaml:"value"`
	Fields Fields `yaml:"fields"`
	// OneOf lists groups of dotted members. Of each group at least one member has to be
	// there, and not be null or empty. If the members are in elements (a.b[].c), every
	// element needs one.
	OneOf [][]string `yaml:"one_of"`

	oneOf []group
}

// group is a compiled group of OneOf: members of one object or, with each, of every
// object at that path.
type group struct {
	each    []string
	members [][]string
}

// Fields are rules for members, in the order in which they are written.
type Fields []Field

// Field is the rule for one member. In YAML it is a type, or a mapping with more rules.
type Field struct {
	// Name is a dotted path; a segment that ends in [] stands for every element.
	Name string `yaml:"-"`
	// Type is text, number, integer, boolean, object, array or any. Several types are
	// joined by |.
	Type      string   `yaml:"type"`
	Optional  bool     `yaml:"optional"` // may be missing or null
	Enum      []string `yaml:"enum"`
	Not       []string `yaml:"not"` // refused texts, compared without regard to case
	Pattern   string   `yaml:"pattern"`
	Min       *float64 `yaml:"min"`
	Max       *float64 `yaml:"max"`
	MinLength int      `yaml:"min_length"` // of a text, in characters
	// MinLengthFrom is the path of a number in the body that is used instead of
	// MinLength.
	MinLengthFrom string `yaml:"min_length_from"`
	MaxLength     int    `yaml:"max_length"`
	MaxItems      int    `yaml:"max_items"` // elements of an array, or members of an object
	MaxBytes      int    `yaml:"max_bytes"` // of the value's JSON
	// Keys is a pattern for the member names of an object, and MaxValueLength the
	// greatest length of its texts in characters.
	Keys           string `yaml:"keys"`
	MaxValueLength int    `yaml:"max_value_length"`
	Docs           string `yaml:"docs"` // source of the numbers; by default the endpoint's

	path    []string
	minFrom []string
	kinds   uint
	integer bool
	pattern *regexp.Regexp
	keys    *regexp.Regexp
}

// Window says how old an event may be, and how far in the future.
type Window struct {
	Field string `yaml:"field"` // dotted path of the time in an item
	Unit  string `yaml:"unit"`  // s, ms or us for numbers; iso for texts
	// Whole is the path of a time beside the items. It counts for items without a time.
	Whole  string        `yaml:"whole"`
	Past   time.Duration `yaml:"past"` // 0: no limit
	Future time.Duration `yaml:"future"`
	// But is a different Past for the items in which a member has a certain text.
	But struct {
		Field string        `yaml:"field"`
		Is    string        `yaml:"is"`
		Past  time.Duration `yaml:"past"`
	} `yaml:"but"`
	// Drops is true if the partner accepts the request, but silently discards the
	// event.
	Drops bool   `yaml:"drops"`
	Docs  string `yaml:"docs"`

	field, whole []string
}

// Cap is a limit of the partner, and the documentation that states it.
type Cap struct {
	N    int    `yaml:"n"`
	Docs string `yaml:"docs"`
}

// Reply is an answer. Its body may contain placeholders. {n} is the number of items
// taken, {refused} the number of the others, {n:array} the number taken of one array,
// and {error} the first violation as JSON text without its quotes. {failed} is Failed
// for every refused item, joined by commas, with its {index}, {id}, {field} and
// {error}. {missing} and {invalid} are JSON objects that map a field to the indexes of
// the items in which it is missing or wrong. {items} is Each for every item taken,
// joined by commas, with its {index} and {id}. In Failed, {in} is the array that
// contains the item, and {at} the item's index there.
type Reply struct {
	Status  int               `yaml:"status"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	Failed  string            `yaml:"failed"`
	Each    string            `yaml:"each"`
}

// Texts is a list of texts. In YAML it may be a single text.
type Texts []string

// Auths is a list of methods of authentication. In YAML it may be a single one.
type Auths []Auth

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *Texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*t = Texts{n.Value}
		return nil
	}
	return n.Decode((*[]string)(t))
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (a *Auths) UnmarshalYAML(n *yaml.Node) error {
	return oneOrMore(n, (*[]Auth)(a))
}

// oneOrMore reads a list that may be a single element in YAML.
func oneOrMore[T any](n *yaml.Node, list *[]T) error {
	if n.Kind == yaml.MappingNode {
		*list = make([]T, 1)
		return strict(n, &(*list)[0])
	}
	return strict(n, list)
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *Cap) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&c.N)
	}
	type plain Cap
	return strict(n, (*plain)(c))
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (f *Fields) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: fields are a mapping of member to rule", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		field := Field{Name: n.Content[i].Value}
		if err := field.UnmarshalYAML(n.Content[i+1]); err != nil {
			return fmt.Errorf("line %d: field %s: %w", n.Content[i].Line, field.Name, err)
		}
		*f = append(*f, field)
	}
	return nil
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (f *Field) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode {
		f.Type = n.Value
		return nil
	}
	type plain Field
	return strict(n, (*plain)(f))
}

// strict decodes a node, and returns an error for keys that v does not have. The
// decoder's own check does not reach types that decode themselves.
func strict(n *yaml.Node, v any) error {
	budget := maxNodes
	plain, err := resolve(n, &budget)
	if err != nil {
		return err
	}
	return document.DecodeNode(plain, v)
}

// maxNodes limits the size of a rule after its aliases are expanded.
const maxNodes = 10_000

// resolve copies a node and expands its aliases, because their anchors may be elsewhere
// in the document.
func resolve(n *yaml.Node, budget *int) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if *budget--; *budget < 0 {
		return nil, fmt.Errorf("line %d: aliases make this too large", n.Line)
	}
	out := *n
	out.Anchor, out.Content = "", nil
	for _, c := range n.Content {
		r, err := resolve(c, budget)
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, r)
	}
	return &out, nil
}

// maxContract limits the size of a contract's YAML in bytes. The largest partner needs
// a few KiB.
const maxContract = 1 << 20

// ParseContract reads a contract. Unknown names are errors, because a rule with a
// misspelt name would check nothing.
func ParseContract(data []byte) (*Contract, error) {
	if len(data) > maxContract {
		return nil, fmt.Errorf("a contract has at most %d bytes, this one has %d", maxContract, len(data))
	}
	c := new(Contract)
	if err := document.Decode(data, c); err != nil {
		return nil, fmt.Errorf("reading the contract: %w", err)
	}
	if err := c.compile(); err != nil {
		return nil, fmt.Errorf("contract of %q: %w", c.Partner, err)
	}
	return c, nil
}

// part is something that has to be said.
type part struct {
	what string
	gone bool
}

// lacks says what is missing.
func lacks(parts ...part) error {
	var missing []string
	for _, p := range parts {
		if p.gone {
			missing = append(missing, p.what)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("it lacks %s", strings.Join(missing, "; and "))
}

func (c *Contract) compile() error {
	if err := lacks(part{"partner: its name", c.Partner == ""},
		part{"docs: the addresses of its documentation", len(c.Docs) == 0},
		part{"endpoints: at least one", len(c.Endpoints) == 0}); err != nil {
		return err
	}
	if c.Written != "from documentation" {
		return fmt.Errorf(`written has to be "from documentation"`)
	}
	if _, err := time.Parse(time.DateOnly, c.Date); err != nil {
		return fmt.Errorf("date: %w", err)
	}
	var err error
	if c.headers, err = patterns(c.Headers); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	if err := c.Auth.compile(); err != nil {
		return err
	}
	if err := c.Limited.compile(http.StatusTooManyRequests); err != nil {
		return fmt.Errorf("limited: %w", err)
	}
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		if err := e.compile(); err != nil {
			return fmt.Errorf("endpoint %d %s %s: %w", i, e.Method, strings.Join(e.Path, " "), err)
		}
	}
	return nil
}

func (a Auths) compile() error {
	for i := range a {
		switch x := &a[i]; x.Kind {
		case "basic", "bearer", "none":
		case "header", "query", "body":
			if x.Name == "" {
				return fmt.Errorf("auth of kind %s needs a name", x.Kind)
			}
		default:
			return fmt.Errorf("auth: unknown kind %q; known are basic, bearer, header, query, body, none", x.Kind)
		}
		if err := a[i].Refused.compile(http.StatusUnauthorized); err != nil {
			return fmt.Errorf("auth: %w", err)
		}
	}
	return nil
}

func (e *Endpoint) compile() error {
	if e.Method == "" {
		e.Method = http.MethodPost
	}
	if len(e.ContentType) == 0 {
		e.ContentType = Texts{"application/json"}
	}
	if err := lacks(part{"path: what is asked for, like /v1/events", len(e.Path) == 0},
		part{"docs: the address of its documentation", e.Docs == ""},
		part{"items: where a body has its events (single: it is the one event; array, lines, none, or the member that is " +
			"the list)", len(e.Items) == 0}); err != nil {
		return err
	}
	for _, p := range e.Path {
		if !strings.HasPrefix(p, "/") {
			return fmt.Errorf("the path %q has to begin with /", p)
		}
		e.paths = append(e.paths, strings.Split(p[1:], "/"))
	}
	if slices.Contains(e.ContentType, formType) && e.Form == "" {
		return fmt.Errorf("a form needs the parameter that holds the JSON, or \"*\" when all of them are the event")
	}
	var err error
	if e.query, err = patterns(e.Query); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	if e.headers, err = patterns(e.Headers); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	if err := e.Auth.compile(); err != nil {
		return err
	}
	if !slices.Contains([]string{"array", "single", "either", "lines", "none"}, e.Items[0]) {
		for _, name := range e.Items {
			e.containers = append(e.containers, strings.Split(name, "."))
		}
	} else if len(e.Items) > 1 {
		return fmt.Errorf("items: %s stands alone", e.Items[0])
	}
	for _, c := range []*Cap{&e.MaxItems, &e.MaxBytes, &e.MaxItemBytes} {
		if c.N < 0 {
			return fmt.Errorf("a cap is below zero")
		}
		if c.Docs == "" {
			c.Docs = e.Docs
		}
	}
	if e.InsertID != "" {
		e.insertID = strings.Split(e.InsertID, ".")
	}
	if err := e.Window.compile(e.Docs); err != nil {
		return err
	}
	if err := e.compileItems(); err != nil {
		return err
	}
	return e.compileAnswers()
}

// compileItems compiles the rules for the body and its items.
func (e *Endpoint) compileItems() error {
	if err := e.Body.compile(e.Docs); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if err := e.Item.compile(e.Docs); err != nil {
		return fmt.Errorf("item: %w", err)
	}
	for i := range e.Kinds {
		k := &e.Kinds[i]
		if k.In != "" && !slices.Contains(e.Items, k.In) {
			return fmt.Errorf("kind %d stands in %s, which holds no items", i, k.In)
		}
		for name, text := range k.When {
			k.when = append(k.when, condition{strings.Split(name, "."), text})
		}
		if err := k.compile(e.Docs); err != nil {
			return fmt.Errorf("kind %d: %w", i, err)
		}
	}
	return nil
}

// compileAnswers compiles the answers, and checks that they are answers of a success.
func (e *Endpoint) compileAnswers() error {
	for _, r := range []struct {
		name string
		*Reply
		status int
	}{{"answer", &e.Answer, 200}, {"refused", &e.Refused, 400}, {"too_large", &e.TooLarge, 413}} {
		if err := r.compile(r.status); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	if err := e.Success.compile(e.Docs); err != nil {
		return fmt.Errorf("success: %w", err)
	}
	if len(e.Success) > 0 {
		if err := e.Success.describe(e.Answer.Status, []byte(e.Answer.fill(sampleVerdict())), nil, -1); err != nil {
			return fmt.Errorf("the answer is none that success describes: %w", err)
		}
	}
	if e.Partial.Status != 0 {
		if err := e.Partial.compile(0); err != nil {
			return fmt.Errorf("partial: %w", err)
		}
	}
	return nil
}

// compile splits the paths of the members that hold the time.
func (w *Window) compile(docs string) error {
	if w.Field != "" {
		w.field = strings.Split(w.Field, ".")
	}
	if w.Whole != "" {
		w.whole = strings.Split(w.Whole, ".")
	}
	if (w.Past != 0 || w.Future != 0) &&
		(w.field == nil && w.whole == nil || !slices.Contains([]string{"s", "ms", "us", "iso"}, w.Unit)) {
		return fmt.Errorf("window: it needs a field and a unit out of s, ms, us, iso")
	}
	if w.Docs == "" {
		w.Docs = docs
	}
	return nil
}

func (s *Schema) compile(docs string) error {
	if s.Value != nil {
		if len(s.Fields)+len(s.OneOf) > 0 {
			return fmt.Errorf("value: it is for items that are no objects, which have no fields and no one_of")
		}
		if err := s.Value.compile(docs); err != nil {
			return fmt.Errorf("value: %w", err)
		}
	}
	for i := range s.Fields {
		if err := s.Fields[i].compile(docs); err != nil {
			return fmt.Errorf("field %s: %w", s.Fields[i].Name, err)
		}
	}
	for _, names := range s.OneOf {
		if len(names) == 0 {
			return fmt.Errorf("one_of: a group names no member")
		}
		var g group
		prefix := ""
		if i := strings.LastIndex(names[0], "[]."); i >= 0 {
			prefix = names[0][:i+3]
			g.each = strings.Split(prefix[:len(prefix)-1], ".")
		}
		for _, name := range names {
			member, ok := strings.CutPrefix(name, prefix)
			if !ok || strings.Contains(member, "[]") {
				return fmt.Errorf("one_of: the members of a group have to stand in the same elements")
			}
			g.members = append(g.members, strings.Split(member, "."))
		}
		s.oneOf = append(s.oneOf, g)
	}
	return nil
}

func (f *Field) compile(docs string) error {
	f.path = strings.Split(f.Name, ".")
	if f.MinLengthFrom != "" {
		f.minFrom = strings.Split(f.MinLengthFrom, ".")
	}
	if f.Docs == "" {
		f.Docs = docs
	}
	for name := range strings.SplitSeq(f.Type, "|") {
		bit := typeBits(name)
		if bit == 0 {
			return fmt.Errorf("unknown type %q; known are text, number, integer, boolean, object, array, any", name)
		}
		f.kinds |= bit
		f.integer = f.integer || name == "integer"
	}
	var err error
	if f.Pattern != "" {
		if f.pattern, err = regexp.Compile(f.Pattern); err != nil {
			return err
		}
	}
	if f.Keys != "" {
		if f.keys, err = regexp.Compile(f.Keys); err != nil {
			return err
		}
	}
	return nil
}

// compile sets the default status and tries out the body. Otherwise an answer that is
// not valid JSON would be noticed only in the middle of a rehearsal.
func (r *Reply) compile(status int) error {
	if r.Status == 0 {
		r.Status = status
	}
	if r.Status < 100 || r.Status > 599 {
		return fmt.Errorf("there is no status %d", r.Status)
	}
	sample := r.fill(sampleVerdict())
	if strings.HasPrefix(r.Body, "{") && !json.Valid([]byte(sample)) {
		return fmt.Errorf("the body is no JSON once filled in: %s", sample)
	}
	return nil
}

// sampleVerdict is a verdict on two items, one of which is taken.
func sampleVerdict() *verdict {
	return &verdict{
		violations: []Violation{{Item: 0, Field: "f", Msg: `a "sample"`}},
		items:      []item{{bad: true}, {}},
		taken:      1,
	}
}

func patterns(m map[string]string) (map[string]*regexp.Regexp, error) {
	out := make(map[string]*regexp.Regexp, len(m))
	for name, text := range m {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = re
	}
	return out, nil
}
