// Package casebook holds a destination against a partner's contract and cases: events in,
// requests and verdicts out, as they were written down. It is how the catalogue is tested,
// and how `fanfold destinations test` tests a description of the user's own.
//
// Beside the cases that are written there are those that everybody has, since they follow
// from the declaration and the contract: see [Everybody].
package casebook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/document"
	"github.com/fanfold/fanfold/pkg/event"
)

// T is what findings are told, such as a [testing.T]. Fatal and Fatalf do not return.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Error(args ...any)
	Fatalf(format string, args ...any)
	Fatal(args ...any)
}

// Standard are the events that cases of all partners name, of the text of their file.
func Standard(text []byte) (map[string]string, error) {
	var f struct {
		Written string
		Events  map[string]string
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("reading the events of all partners: %w", err)
	}
	return f.Events, nil
}

// File is cassettes/<slug>/cases.yaml: what a partner is asked to take in tests. What
// was sent for every case, and what became of it, is in requests.jsonl beside it.
type File struct {
	Written string                     `yaml:"written"` // always "from documentation"
	Date    string                     `yaml:"date"`    // when that was read
	Docs    string                     `yaml:"docs"`    // of the cases that name none of their own
	Presets string                     `yaml:"presets"` // of the cases that have none, and no action
	Events  map[string]string          `yaml:"events"`  // the partner's own, by name
	Answers map[string]cassette.Answer `yaml:"answers"` // by name
	Cases   map[string]*Case           `yaml:"cases"`

	// What the tests of the whole catalogue have to be told of a partner. Elsewhere is what other tools call it: the
	// tool (segment or rudderstack), the code and the name; an empty list says that they do not have it.
	Elsewhere [][3]string `yaml:"elsewhere"`
	// Residence are the settings that say where data resides, with what other tools say instead.
	Residence map[string][]Residence `yaml:"residence"`
	// Harmless are actions whose words sound as if they reached people or deleted something, with what they do.
	Harmless map[string]string `yaml:"harmless"`
	Differs  Differs           `yaml:"differs"`
}

// Residence is one way in which another tool says where data resides, in YAML a list: the tool, the code of the
// destination there, its setting, the value, and the value of the setting here. That is "" for its default or none,
// "base:" and an address for base_url, and "?" for a value that the setting here refuses.
type Residence struct {
	Tool, Code, Key string
	Value           any
	Want            string
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *Residence) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode || len(n.Content) != 5 {
		return fmt.Errorf("line %d: a residence is [tool, code, setting there, its value, value here]", n.Line)
	}
	for i, into := range []any{&r.Tool, &r.Code, &r.Key, &r.Value, &r.Want} {
		if err := n.Content[i].Decode(into); err != nil {
			return err
		}
	}
	return nil
}

// Differs is where a partner rightly sends something else than Segment's own code does, each with the reason.
type Differs struct {
	Fields map[string]string `yaml:"fields"` // in all rows: path, method, header X, query X, .member
	Rows   map[string]string `yaml:"rows"`   // whole rows, by the beginning of their ids
	More   string            `yaml:"more"`   // events are sent that Segment rejects
}

// Case is one case: events, how they are sent, and what answers beside the stand-in.
type Case struct {
	Docs     string         `yaml:"docs"`
	Settings map[string]any `yaml:"settings"` // beyond the examples
	Presets  string         `yaml:"presets"`
	Action   string         `yaml:"action"`  // for every event, instead of the presets
	Mapping  string         `yaml:"mapping"` // of that action, as JSON
	Now      string         `yaml:"now"`
	// Events are names of events, JSON, or a name and JSON: the event with these members
	// instead of its own.
	Events []string `yaml:"events"`
	// Answers are given to the first requests; the stand-in answers the others.
	Answers []answerRef `yaml:"answers"`

	Name  string             `yaml:"-"`
	Given []cassette.Answer  `yaml:"-"` // Answers, without names
	Want  *Expectation       `yaml:"-"`
	Tape  *cassette.Cassette `yaml:"-"` // of go-vcr's, where the case was recorded
}

// answerRef is an answer, or the name of one.
type answerRef struct {
	name string
	cassette.Answer
}

func (a *answerRef) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&a.name)
	}
	return n.Decode(&a.Answer)
}

// Expectation is a line of requests.jsonl.
type Expectation struct {
	Case     string    `json:"case"`
	Results  []string  `json:"results"` // one a delivery: action outcome [reason]
	Requests []Request `json:"requests,omitempty"`
}

// Request is one that was sent, without its credentials.
type Request struct {
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Type   string          `json:"type,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"` // JSON as it was sent; anything else as a text
}

// BodyOf is the member Body for a request's body.
func BodyOf(text []byte) json.RawMessage {
	if len(text) == 0 {
		return nil
	}
	if json.Valid(text) && strings.ContainsRune("{[", rune(text[0])) && !bytes.ContainsAny(text, "\r\n") {
		return text
	}
	return event.AppendQuoted(nil, text)
}

// line is the Expectation in the file. Bodies stay as they are, to the byte.
func (e *Expectation) line() []byte {
	quote := func(b *bytes.Buffer, key, text string) {
		b.WriteString(key)
		b.Write(event.AppendQuoted(nil, text))
	}
	var b bytes.Buffer
	quote(&b, `{"case":`, e.Case)
	for i, r := range e.Results {
		quote(&b, []string{",", `,"results":[`}[bool01(i == 0)], r)
	}
	if len(e.Results) > 0 {
		b.WriteByte(']')
	}
	for i, r := range e.Requests {
		b.WriteString([]string{",", `,"requests":[`}[bool01(i == 0)])
		quote(&b, `{"method":`, r.Method)
		quote(&b, `,"url":`, r.URL)
		if r.Type != "" {
			quote(&b, `,"type":`, r.Type)
		}
		if r.Body != nil {
			b.WriteString(`,"body":`)
			b.Write(r.Body)
		}
		b.WriteByte('}')
	}
	if len(e.Requests) > 0 {
		b.WriteByte(']')
	}
	b.WriteString("}\n")
	return b.Bytes()
}

func bool01(b bool) int {
	if b {
		return 1
	}
	return 0
}

// differs says how a request is not the one wanted, or nothing. The order of an object's
// members is no difference.
func (r Request) differs(want Request) string {
	if r.Method == want.Method && r.URL == want.URL && r.Type == want.Type && sameBody(r.Type, r.Body, want.Body) {
		return ""
	}
	return fmt.Sprintf("\n  %s %s %s\n  %s\nwant\n  %s %s %s\n  %s", r.Method, r.URL, r.Type, r.Body,
		want.Method, want.URL, want.Type, want.Body)
}

// sameBody compares bodies: forms by the values of their parameters.
func sameBody(contentType string, a, b json.RawMessage) bool {
	if contentType != "application/x-www-form-urlencoded" {
		return sameJSON(a, b)
	}
	var texts [2]string
	var forms [2]url.Values
	for i, body := range []json.RawMessage{a, b} {
		var err error
		if json.Unmarshal(body, &texts[i]) != nil {
			return false
		}
		if forms[i], err = url.ParseQuery(texts[i]); err != nil {
			return false
		}
	}
	return len(texts[0]) == len(texts[1]) && maps.EqualFunc(forms[0], forms[1], func(x, y []string) bool {
		return slices.EqualFunc(x, y, func(x, y string) bool { return sameJSON([]byte(x), []byte(y)) })
	})
}

// sameJSON compares documents without white space. A member that stands there twice makes one
// of them longer.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var values [2]any
	for i, text := range [][]byte{a, b} {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if d.Decode(&values[i]) != nil {
			return false
		}
	}
	return len(a) == len(b) && reflect.DeepEqual(values[0], values[1])
}

// Read reads the text of a cases.yaml, and of the requests.jsonl that says what is expected of
// its cases. shared are events that cases of all partners name.
func Read(text, requests []byte, shared map[string]string) (f *File, list []*Case, err error) {
	f = new(File)
	if err = document.Decode(text, f); err != nil {
		return nil, nil, fmt.Errorf("reading the cases: %w", err)
	}
	want, err := expectations(requests)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(f.Cases)) {
		c := f.Cases[name]
		if c == nil {
			return nil, nil, fmt.Errorf("the case %s is empty", name)
		}
		c.Name, c.Want = name, want[name]
		if c.Docs == "" {
			c.Docs = f.Docs
		}
		if c.Presets == "" && c.Action == "" {
			c.Presets = f.Presets
		}
		for i, e := range c.Events {
			if c.Events[i], err = eventOf(e, f.Events, shared); err != nil {
				return nil, nil, fmt.Errorf("the case %s: %w", name, err)
			}
		}
		for _, a := range c.Answers {
			if a.name != "" {
				named, ok := f.Answers[a.name]
				if !ok {
					return nil, nil, fmt.Errorf("the case %s: there is no answer %q", name, a.name)
				}
				a.Answer = named
			}
			if a.Status == 0 {
				a.Status = 200
			}
			c.Given = append(c.Given, a.Answer)
		}
		list = append(list, c)
	}
	return f, list, nil
}

// expectations are the lines of requests.jsonl, by case.
func expectations(data []byte) (map[string]*Expectation, error) {
	out := map[string]*Expectation{}
	n := 0
	for line := range bytes.Lines(data) {
		if n++; string(line) == writtenLine {
			continue
		}
		var e Expectation
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("reading the expected requests, line %d: %w; --update writes them anew", n, err)
		}
		out[e.Case] = &e
	}
	return out, nil
}

// writtenLine stands first in requests.jsonl: the persons in it are made up.
const writtenLine = `{"written":"from documentation"}` + "\n"

// Lines is the requests.jsonl of cases, as they have been walked or read.
func Lines(cases []*Case) []byte {
	b := bytes.NewBufferString(writtenLine)
	for _, c := range cases {
		if c.Want != nil && c.Tape == nil {
			c.Want.Case = c.Name
			b.Write(c.Want.line())
		}
	}
	return b.Bytes()
}

// Meta is the case as [verify.Case] takes it.
func (c *Case) Meta() cassette.Meta {
	return cassette.Meta{Settings: c.Settings, Presets: c.Presets, Action: c.Action, Mapping: c.Mapping, Now: c.Now}
}

// eventOf reads an event of a case.
func eventOf(text string, own, shared map[string]string) (string, error) {
	if strings.HasPrefix(text, "{") {
		return text, nil
	}
	name, changes, changed := strings.Cut(text, " ")
	base, ok := own[name]
	if !ok {
		base, ok = shared[name]
	}
	if !ok {
		return "", fmt.Errorf("there is no event %q", name)
	}
	if !strings.HasPrefix(base, "{") {
		var err error
		if base, err = eventOf(base, nil, shared); err != nil {
			return "", err
		}
	}
	if !changed {
		return base, nil
	}
	a, err := event.ParseValue([]byte(base))
	if err != nil {
		return "", fmt.Errorf("the event %s: %w", name, err)
	}
	b, err := event.ParseValue([]byte(changes))
	if err != nil {
		return "", fmt.Errorf("the changes to the event %s: %w", name, err)
	}
	return string(merged(nil, a, b)), nil
}

// merged appends the object a with the members of b instead of its own, and b's others
// behind them.
func merged(dst []byte, a, b event.Value) []byte {
	sep := byte('{')
	for k, v := range a.Members() {
		dst = append(append(append(dst, sep), k.Raw()...), ':')
		sep = ','
		switch w := b.Get(k.Text()); {
		case !w.Exists():
			dst = append(dst, v.Raw()...)
		case v.Kind() == event.Object && w.Kind() == event.Object:
			dst = merged(dst, v, w)
		default:
			dst = append(dst, w.Raw()...)
		}
	}
	for k, v := range b.Members() {
		if !a.Get(k.Text()).Exists() {
			dst = append(append(append(append(dst, sep), k.Raw()...), ':'), v.Raw()...)
			sep = ','
		}
	}
	if sep == '{' {
		dst = append(dst, '{')
	}
	return append(dst, '}')
}
