package config

import (
	"encoding/json"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/document"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Test is one entry of `tests:`: an event, and what has to become of it.
type Test struct {
	Name    string
	Line    int
	Event   []byte    // JSON
	Now     time.Time // when it is sent; zero: at the event's own time
	Dropped bool      // the steps have to drop it
	Expect  []Expectation
}

// Expectation is what one destination has to make of the event.
type Expectation struct {
	Destination string
	Line        int
	Filtered    bool          // its filter keeps the event out
	Skipped     string        // the reason, or ""
	Rejected    string        // the reason, or ""
	Requests    []WantRequest // in order, all of them; nil: they do not matter
	None        bool          // Requests was given, and is empty
}

// WantRequest is what a request has to have at least. What is empty does not matter.
type WantRequest struct {
	Line    int
	Method  string
	Path    string // with the query if it has one
	URL     string
	Headers map[string]string
	Body    json.RawMessage
}

// readTests reads `tests:`.
func (f *File) readTests(n *yaml.Node, p *problems) {
	if n.Kind != yaml.SequenceNode {
		p.add(n.Line, "tests has to be a list, not %s", nodeKind(n))
		return
	}
	names := map[string]int{}
	for _, item := range n.Content {
		before := len(p.errs)
		t := f.readTest(item, p)
		if len(p.errs) > before {
			continue
		}
		if at, twice := names[t.Name]; twice {
			p.add(t.Line, "two tests are called %q, the first on line %d", t.Name, at)
			continue
		}
		names[t.Name] = t.Line
		f.Tests = append(f.Tests, t)
	}
}

func (f *File) readTest(item *yaml.Node, p *problems) Test {
	t := Test{Line: item.Line}
	keys := []string{"name", "event", "now", "dropped", "expect"}
	before := len(p.errs)
	eachPair(item, p, "a test", func(k, v *yaml.Node) {
		switch k.Value {
		case "name":
			t.Name = v.Value
		case "event":
			var err error
			if t.Event, err = document.JSON(v); err == nil {
				_, err = event.Parse(t.Event)
			}
			if err != nil {
				p.add(v.Line, "event of a test: %w", err)
			}
		case "now":
			var err error
			if t.Now, err = time.Parse(time.RFC3339, v.Value); err != nil {
				p.add(v.Line, "now has to be a time like 2024-06-01T00:00:00Z, not %q", v.Value)
			}
		case "dropped":
			yes, want := boolean(v.Value)
			if t.Dropped = yes; want != "" {
				p.add(v.Line, "dropped has to be %s, not %q", want, v.Value)
			}
		case "expect":
			eachPair(v, p, "expect", func(name, what *yaml.Node) { t.Expect = append(t.Expect, readExpectation(name, what, p)) })
		default:
			p.add(k.Line, "%s", setting.Unknown(k.Value, "key of a test", keys))
		}
	})
	switch {
	case len(p.errs) > before:
	case t.Name == "":
		p.add(item.Line, "a test has no name")
	case t.Event == nil:
		p.add(item.Line, "test %q has no event", t.Name)
	case len(t.Expect) == 0 && !t.Dropped:
		p.add(item.Line, "test %q expects nothing", t.Name)
	}
	return t
}

func readExpectation(name, n *yaml.Node, p *problems) Expectation {
	e := Expectation{Destination: name.Value, Line: name.Line}
	keys := []string{"requests", "skipped", "rejected", "filtered"}
	said := 0
	eachPair(n, p, "what "+name.Value+" has to make of it", func(k, v *yaml.Node) {
		said++
		switch k.Value {
		case "skipped":
			e.Skipped = v.Value
		case "rejected":
			e.Rejected = v.Value
		case "filtered":
			yes, want := boolean(v.Value)
			if e.Filtered = yes; want != "" || !yes {
				p.add(v.Line, "filtered has to be true, not %q", v.Value)
			}
		case "requests":
			e.None = v.Kind == yaml.SequenceNode && len(v.Content) == 0
			if v.Kind != yaml.SequenceNode {
				p.add(v.Line, "requests has to be a list, not %s", nodeKind(v))
				return
			}
			for _, one := range v.Content {
				e.Requests = append(e.Requests, readWantRequest(one, p))
			}
		default:
			p.add(k.Line, "%s", setting.Unknown(k.Value, "expectation", keys))
		}
	})
	if said == 0 {
		p.add(name.Line, "nothing is expected of %s: requests, skipped, rejected or filtered", name.Value)
	}
	return e
}

func readWantRequest(n *yaml.Node, p *problems) WantRequest {
	r := WantRequest{Line: n.Line}
	keys := []string{"method", "path", "url", "headers", "body"}
	eachPair(n, p, "a request", func(k, v *yaml.Node) {
		switch k.Value {
		case "method":
			r.Method = v.Value
		case "path":
			r.Path = v.Value
		case "url":
			r.URL = v.Value
		case "headers":
			r.Headers = map[string]string{}
			eachPair(v, p, "headers", func(name, value *yaml.Node) { r.Headers[name.Value] = value.Value })
		case "body":
			var err error
			if r.Body, err = document.JSON(v); err != nil {
				p.add(v.Line, "body: %w", err)
			}
		default:
			p.add(k.Line, "%s", setting.Unknown(k.Value, "part of a request", keys))
		}
	})
	return r
}

// checkTests finds tests of destinations that are not there.
func (f *File) checkTests(p *problems) {
	var names []string
	for _, d := range f.Destinations {
		names = append(names, d.Name)
	}
	for _, t := range f.Tests {
		for _, e := range t.Expect {
			if !slices.Contains(names, e.Destination) && !slices.Contains(f.takenOut, e.Destination) {
				p.add(e.Line, "test %q: %s", t.Name, setting.Unknown(e.Destination, "destination", names))
			}
		}
	}
}
