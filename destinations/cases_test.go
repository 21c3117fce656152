package destinations_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/event"
)

// caseFile is cassettes/<slug>/cases.yaml: what a partner is asked to take in tests. What
// was sent for every case, and what became of it, is in requests.jsonl beside it.
type caseFile struct {
	Written string                     `yaml:"written"` // always "from documentation"
	Date    string                     `yaml:"date"`    // when that was read
	Docs    string                     `yaml:"docs"`    // of the cases that name none of their own
	Presets string                     `yaml:"presets"` // of the cases that have none, and no action
	Events  map[string]string          `yaml:"events"`  // the partner's own, by name
	Answers map[string]cassette.Answer `yaml:"answers"` // by name
	Cases   map[string]*testCase       `yaml:"cases"`
}

// testCase is one case: events, how they are sent, and what answers beside the stand-in.
type testCase struct {
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

	name    string
	answers []cassette.Answer
	want    *expectation
	tape    *cassette.Cassette // of go-vcr's, where the case was recorded
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

// expectation is a line of requests.jsonl.
type expectation struct {
	Case     string    `json:"case"`
	Results  []string  `json:"results"` // one a delivery: action outcome [reason]
	Requests []request `json:"requests,omitempty"`
}

// request is one that was sent, without its credentials.
type request struct {
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Type   string          `json:"type,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"` // JSON as it was sent; anything else as a text
}

// bodyOf is the member Body for a request's body.
func bodyOf(text []byte) json.RawMessage {
	if len(text) == 0 {
		return nil
	}
	if json.Valid(text) && strings.ContainsRune("{[", rune(text[0])) && !bytes.ContainsAny(text, "\r\n") {
		return text
	}
	return event.AppendQuoted(nil, text)
}

// line is the expectation in the file. Bodies stay as they are, to the byte.
func (e *expectation) line() []byte {
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
func (r request) differs(want request) string {
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

// standard are the events that cases of all partners name: cassettes/events/standard.yaml.
func standard(t *testing.T) map[string]string {
	t.Helper()
	var f struct {
		Written string
		Events  map[string]string
	}
	decodeFile(t, "../cassettes/events/standard.yaml", &f)
	return f.Events
}

func decodeFile(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// casesOf are a partner's cases, by name: those of cases.yaml, and what was recorded.
func casesOf(t *testing.T, slug string) []*testCase {
	t.Helper()
	dir := filepath.Join("../cassettes", slug)
	var list []*testCase
	if _, err := os.Stat(filepath.Join(dir, "cases.yaml")); !errors.Is(err, fs.ErrNotExist) {
		var f caseFile
		decodeFile(t, filepath.Join(dir, "cases.yaml"), &f)
		if _, err := time.Parse(time.DateOnly, f.Date); f.Written != "from documentation" || err != nil {
			t.Errorf("%s: cases.yaml does not say where its answers come from (written, date)", slug)
		}
		list = f.list(t, slug)
	}
	metas, err := filepath.Glob(filepath.Join(dir, "*.meta.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range metas {
		m, err := cassette.LoadMeta(path)
		if err != nil {
			t.Fatal(err)
		}
		if m.URL == "" || m.Date == "" {
			t.Errorf("%s: the sidecar does not say where its answers come from", path)
		}
		tape, err := cassette.Load(strings.TrimSuffix(path, ".meta.yaml") + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		c := &testCase{name: strings.TrimSuffix(filepath.Base(path), ".meta.yaml"), tape: tape, Docs: m.URL,
			Settings: m.Settings,
			Presets:  m.Presets, Action: m.Action, Mapping: m.Mapping, Now: m.Now, Events: m.Events,
			want: &expectation{Results: m.Want}}
		for _, i := range tape.Interactions {
			c.want.Requests = append(c.want.Requests, request{Method: i.Request.Method, URL: i.Request.URL,
				Type: i.Request.Headers.Get("Content-Type"), Body: bodyOf([]byte(i.Request.Body))})
		}
		list = append(list, c)
	}
	return list
}

func (f *caseFile) list(t *testing.T, slug string) (list []*testCase) {
	t.Helper()
	want := expectations(t, slug)
	shared := standard(t)
	for _, name := range slices.Sorted(maps.Keys(f.Cases)) {
		c := f.Cases[name]
		c.name, c.want = name, want[name]
		if c.Docs == "" {
			c.Docs = f.Docs
		}
		if c.Presets == "" && c.Action == "" {
			c.Presets = f.Presets
		}
		if !strings.HasPrefix(c.Docs, "https://") {
			t.Errorf("%s: the case %s has no address of documentation", slug, name)
		}
		for i, e := range c.Events {
			var err error
			if c.Events[i], err = eventOf(e, f.Events, shared); err != nil {
				t.Fatalf("%s: the case %s: %v", slug, name, err)
			}
		}
		for _, a := range c.Answers {
			if a.name != "" {
				named, ok := f.Answers[a.name]
				if !ok {
					t.Fatalf("%s: the case %s: there is no answer %q", slug, name, a.name)
				}
				a.Answer = named
			}
			if a.Status == 0 {
				a.Status = 200
			}
			c.answers = append(c.answers, a.Answer)
		}
		list = append(list, c)
	}
	return list
}

// expectations are the lines of requests.jsonl, by case.
func expectations(t *testing.T, slug string) map[string]*expectation {
	t.Helper()
	out := map[string]*expectation{}
	data, err := os.ReadFile(filepath.Join("../cassettes", slug, "requests.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return out
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimPrefix(data, []byte(writtenLine)), []byte("\n"))
	for _, line := range lines[:len(lines)-1] {
		var e expectation
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("cassettes/%s/requests.jsonl: %v", slug, err)
		}
		out[e.Case] = &e
	}
	return out
}

// writtenLine stands first in requests.jsonl: the persons in it are made up.
const writtenLine = `{"written":"from documentation"}` + "\n"

// saveExpectations writes what cases gave; those that were not asked for stay as they are.
func saveExpectations(t *testing.T, slug string, cases []*testCase) {
	b := bytes.NewBufferString(writtenLine)
	for _, c := range cases {
		if c.want != nil && c.tape == nil {
			c.want.Case = c.name
			b.Write(c.want.line())
		}
	}
	if err := os.WriteFile(filepath.Join("../cassettes", slug, "requests.jsonl"), b.Bytes(), 0o644); err != nil {
		t.Error(err)
	}
}

// meta is the case as [verify.Case] takes it.
func (c *testCase) meta() cassette.Meta {
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
