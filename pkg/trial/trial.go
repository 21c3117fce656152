// Package trial runs the tests of a configuration: an event in, requests or reasons out,
// made by the same code as in a run, without an account and without a network.
package trial

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/suppress"
	"github.com/fanfold/fanfold/pkg/transform"
	"github.com/fanfold/fanfold/pkg/transport"
)

// Result is what became of the event of a test, in the words of the test.
type Result struct {
	Test     config.Test
	Findings []Finding // none: it is as expected
	Left     []string  // destinations of which something is expected, and that are not there
}

// Finding is one way in which what became of an event is not what was expected.
type Finding struct {
	Destination string // "": of all
	What        string // one line
	Want, Got   string // texts of several lines, for a diff; may be empty
}

// made is what one destination made of an event.
type made struct {
	filtered bool
	skipped  []string // reasons
	rejected []string
	details  []string
	requests []transport.Captured
}

// Try runs a test on destinations that are open. suppressed are those who must not be sent anything. now is when
// events are sent that have no time, of tests that do not say when. The error is one of the machine.
func Try(
	ctx context.Context, steps *transform.Pipeline, t config.Test, dests []*config.Opened, suppressed *suppress.Set,
	now time.Time,
) (Result, error) {
	out := Result{Test: t}
	ev, err := event.Parse(t.Event)
	if err != nil {
		return out, err
	}
	if at, ok := ev.Timestamp(); ok {
		now = at
	}
	if !t.Now.IsZero() {
		now = t.Now
	}
	rules := normalize.Rules{} // of a run whose user has said nothing about events without a time
	if ev, err = rules.Event(nil, ev); err != nil {
		return out, err
	}
	barred := suppressed.Has(ev)
	dropped := ""
	if steps = steps.WithoutPositions(); !steps.Empty() {
		var changed []byte
		var worker transform.Worker
		if changed, dropped, err = steps.Apply(&worker, ev, source.Position{}); err != nil {
			return out, err
		}
		if changed != nil {
			if ev, err = event.Parse(slices.Clone(changed)); err == nil {
				ev, err = rules.Event(nil, ev)
			}
			if err != nil {
				return out, err
			}
		}
	}
	switch {
	case dropped != "" && !t.Dropped:
		out.Findings = append(out.Findings, Finding{What: "the steps drop it: " + dropped})
		return out, nil
	case dropped == "" && t.Dropped:
		out.Findings = append(out.Findings, Finding{What: "the steps do not drop it"})
	}
	for _, e := range t.Expect {
		i := slices.IndexFunc(dests, func(o *config.Opened) bool { return o.Name == e.Destination })
		if i < 0 {
			out.Left = append(out.Left, e.Destination)
		}
		if i < 0 || dropped != "" {
			continue
		}
		m, err := requestsOf(ctx, dests[i], ev, barred || suppressed.Has(ev), now)
		if err != nil {
			return out, fmt.Errorf("%s: %w", e.Destination, err)
		}
		out.Findings = append(out.Findings, compare(&e, m)...)
	}
	return out, nil
}

// requestsOf has a destination make requests of an event, as a run does.
func requestsOf(
	ctx context.Context, o *config.Opened, ev *event.Event, barred bool, now time.Time,
) (*made, error) {
	m := &made{}
	if !o.Filter.Match(ev.Root()) {
		m.filtered = true
		return m, nil
	}
	w := &run.World{Now: func() time.Time { return now }}
	it := selection.Item{Event: ev, Suppressed: barred}
	err := w.PreviewEvent(ctx, o, it, "test-0", func(s run.Shown) error {
		switch r := s.Settled; {
		case r == nil && s.Request == nil:
			m.requests = append(m.requests, transport.Captured{Method: "WRITE", Body: slices.Clone(s.Item)})
		case r == nil:
			m.requests = append(m.requests, *s.Request)
		case r.Outcome == destination.Skipped:
			m.skipped, m.details = append(m.skipped, string(r.Reason)), append(m.details, r.Detail)
		default:
			m.rejected, m.details = append(m.rejected, string(r.Reason)), append(m.details, r.Detail)
		}
		return nil
	})
	return m, err
}

// compare holds what was expected against what was made.
func compare(e *config.Expectation, m *made) (found []Finding) {
	add := func(format string, args ...any) {
		found = append(found, Finding{Destination: e.Destination, What: fmt.Sprintf(format, args...)})
	}
	if e.Filtered != m.filtered {
		add("%s", map[bool]string{true: "its filter keeps the event out: " + m.fate(),
			false: "its filter takes the event: " + m.fate()}[m.filtered])
		return found
	}
	if e.Skipped != "" && !slices.Contains(m.skipped, e.Skipped) {
		add("it is not skipped as %s, but %s", e.Skipped, m.fate())
	}
	if e.Rejected != "" && !slices.Contains(m.rejected, e.Rejected) {
		add("it is not rejected as %s, but %s", e.Rejected, m.fate())
	}
	if e.Requests == nil && !e.None {
		return found
	}
	if len(e.Requests) != len(m.requests) {
		add("expected: %s, and it is %s", printable.Count(len(e.Requests), "request"), m.fate())
	}
	for i := range min(len(e.Requests), len(m.requests)) {
		want, got := against(&e.Requests[i], &m.requests[i])
		if want != got {
			found = append(found, Finding{Destination: e.Destination, What: fmt.Sprintf("request %d differs", i+1), Want: want,
				Got: got})
		}
	}
	return found
}

// fate says in one line what became of an event.
func (m *made) fate() string {
	var parts []string
	if m.filtered {
		parts = append(parts, "filtered")
	}
	for _, r := range m.skipped {
		parts = append(parts, "skipped: "+r)
	}
	for _, r := range m.rejected {
		parts = append(parts, "rejected: "+r)
	}
	for _, d := range m.details {
		if d != "" {
			parts = append(parts, d)
		}
	}
	if n := len(m.requests); n > 0 || len(parts) == 0 {
		parts = append([]string{"sent in " + printable.Count(n, "request")}, parts...)
	}
	return strings.Join(parts, ", ")
}

// against returns what was expected of a request, and as much of the request: texts that
// are the same when it has at least that.
func against(r *config.WantRequest, c *transport.Captured) (want, got string) {
	w, g := map[string]any{}, map[string]any{}
	if r.Method != "" {
		w["method"], g["method"] = strings.ToUpper(r.Method), c.Method
	}
	if r.URL != "" {
		w["url"], g["url"] = r.URL, c.URL
	}
	if r.Path != "" {
		w["path"], g["path"] = r.Path, pathOf(c.URL, strings.Contains(r.Path, "?"))
	}
	if len(r.Headers) > 0 {
		wh, gh := map[string]any{}, map[string]any{}
		for name, value := range r.Headers {
			wh[name] = value
			if have, ok := c.Header[http.CanonicalHeaderKey(name)]; ok {
				gh[name] = strings.Join(have, ", ")
			}
		}
		w["headers"], g["headers"] = wh, gh
	}
	if r.Body != nil {
		w["body"] = decoded(r.Body)
		g["body"] = likeliest(w["body"], bodiesOf(c))
	}
	return pretty(w), pretty(g)
}

func pathOf(address string, query bool) string {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return address
	case query:
		return u.RequestURI()
	}
	return u.EscapedPath()
}

// bodiesOf are the documents that a body may be read as: itself, and, of a list or of
// lines, each element.
func bodiesOf(c *transport.Captured) (docs []any) {
	if strings.HasPrefix(c.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(c.Body)); err == nil {
			doc := map[string]any{}
			for name, values := range form {
				doc[name] = strings.Join(values, ",")
			}
			return []any{doc}
		}
	}
	if json.Valid(c.Body) {
		doc := decoded(c.Body)
		docs = append(docs, doc)
		if elements, ok := doc.([]any); ok {
			docs = append(docs, elements...)
		}
		return docs
	}
	for line := range strings.Lines(string(c.Body)) {
		if json.Valid([]byte(line)) {
			docs = append(docs, decoded([]byte(line)))
		}
	}
	return append(docs, string(c.Body))
}

// decoded is a JSON document whose numbers keep their digits.
func decoded(doc []byte) any {
	d := json.NewDecoder(strings.NewReader(string(doc)))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(doc)
	}
	return v
}

// likeliest is as much of one of several documents as was expected: the one that has it,
// or else the first of its kind.
func likeliest(want any, docs []any) any {
	for _, doc := range docs {
		if got := part(want, doc); pretty(got) == pretty(want) {
			return got
		}
	}
	for _, doc := range docs {
		if reflect.TypeOf(doc) == reflect.TypeOf(want) {
			return part(want, doc)
		}
	}
	if len(docs) == 0 {
		return nil
	}
	return part(want, docs[0])
}

// part is as much of a document as was expected: of an object those members, of a list
// all elements.
func part(want, got any) any {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return got
		}
		out := map[string]any{}
		for k := range w {
			if v, has := g[k]; has {
				out[k] = part(w[k], v)
			}
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return got
		}
		out := make([]any, len(g))
		for i := range g {
			out[i] = part(w[i], g[i])
		}
		return out
	case json.Number:
		if g, ok := got.(json.Number); ok {
			a, err1 := w.Float64()
			b, err2 := g.Float64()
			whole := strings.Trim(string(w+g), "-0123456789") == "" // whose digits all count: ids are longer than a double's
			if err1 == nil && err2 == nil && a == b && !whole {
				return w // 1 and 1.0 are the same number
			}
		}
	}
	return got
}

func pretty(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return b.String()
}
