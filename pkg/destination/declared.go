package destination

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Actions are declared actions: what is sent is a value, see package body.
//
//	destination.Action("sendEvent", "Send event").On(`type = "track"`).
//		Fields(
//			field.Text("eventName").Required().From("$.event"),
//			field.Email("email"),
//			field.Object("eventProperties").From("$.properties"),
//		).
//		NeedsOneOf("email", "userId").
//		Post("/api/v1/events/send", body.Object(
//			body.Same("email", "userId", "eventName", "eventProperties"),
//		))
type Actions []*Declared

// Declared is one declared action. Its methods change it and return it; a destination
// that has it is made when they have been called.
type Declared struct {
	slug, title, doc, trigger string

	fields       []mapping.Field
	needs        []need
	checks       []func(c *body.Context) string
	steps        []Step
	group        []body.Value
	headers      []header
	base         string
	contentType  string
	limits       ActionLimits
	success      []Success
	allOrNothing bool
	timeField    string
	results      func(a *Answer, b *Batch) []Result
	item         func(in *Input, out *Output)
}

type need struct {
	cond    body.Cond
	outcome Outcome
	reason  Reason
	detail  string
}

type header struct {
	name  string
	value body.Value
}

// Action begins an action. slug is Segment's key for it, where Segment has it.
func Action(slug, title string) *Declared { return &Declared{slug: slug, title: title} }

// On is the trigger that the action has with `presets: all`, in the filter language.
func (d *Declared) On(trigger string) *Declared { d.trigger = trigger; return d }

// Doc says what the action does, in one or two sentences.
func (d *Declared) Doc(s string) *Declared { d.doc = s; return d }

// Fields are what the action takes of an event.
func (d *Declared) Fields(sets ...field.Set) *Declared {
	d.fields = append(d.fields, field.Of(sets...)...)
	return d
}

// Needs rejects events for which the condition does not hold, with the sentence that says
// what has to be.
func (d *Declared) Needs(c body.Cond, detail string) *Declared {
	d.needs = append(d.needs, need{c, Rejected, Invalid, detail})
	return d
}

// NeedsIdentity is [Declared.Needs] of what says who it was.
func (d *Declared) NeedsIdentity(c body.Cond, detail string) *Declared {
	d.needs = append(d.needs, need{c, Rejected, MissingIdentity, detail})
	return d
}

// Fits is [Declared.Needs] of the partner's size for something in the event.
func (d *Declared) Fits(c body.Cond, detail string) *Declared {
	d.needs = append(d.needs, need{c, Rejected, TooLarge, detail})
	return d
}

// NeedsOneOf rejects events that have none of some fields that identify somebody, or
// where all of them are null, false, 0 or empty.
func (d *Declared) NeedsOneOf(paths ...string) *Declared {
	detail := strings.Join(paths, " or ") + " is required"
	if n := len(paths) - 1; n > 0 {
		detail = "one of " + strings.Join(paths[:n], ", ") + " and " + paths[n] + " is required"
	}
	d.needs = append(d.needs, need{body.From(paths...).Given(), Rejected, MissingIdentity, detail})
	return d
}

// Check rejects events for which f says what is wrong, in Go: for rules that take more
// than a condition. f is a pure function.
func (d *Declared) Check(f func(c *body.Context) (problem string)) *Declared {
	d.checks = append(d.checks, f)
	return d
}

// Only skips events for which the condition does not hold, since there is nothing to
// send for them.
func (d *Declared) Only(c body.Cond, reason Reason, detail string) *Declared {
	d.needs = append(d.needs, need{c, Skipped, reason, detail})
	return d
}

// Step is one request for an event.
type Step struct {
	method, path string
	node         body.Node
	when         body.Cond
	to           body.Node
	as           encoding
	contentType  string
	wait         bool
}

// encoding is how a body is written in a request.
type encoding uint8

const (
	asJSON encoding = iota
	asForm
	asQuery
)

// Send is a request with a body. In its path {name} stands for the field of the
// name and {settings.key} for a setting, as in the method. See [body.Items] for bodies of many events.
func Send(method, path string, n body.Node) Step { return Step{method: method, path: path, node: n} }

// If makes the request only when a condition holds. One that settings alone decide is
// decided when the destination is opened.
func (s Step) If(c body.Cond) Step { s.when = c; return s }

// AsForm sends the members of the object that the body is as a form.
func (s Step) AsForm() Step { s.as = asForm; return s }

// AsQuery sends the members of the object that the body is as the query of the
// address, and no body.
func (s Step) AsQuery() Step { s.as = asQuery; return s }

// To is the path as a text that a node writes, taken as it is: for addresses that the user
// has from the partner.
func (s Step) To(path body.Node) Step { s.to = path; return s }

// Of is the content type of the request, instead of the action's.
func (s Step) Of(contentType string) Step { s.contentType = contentType; return s }

// After sends the request only after the one before it was delivered.
func (s Step) After() Step { s.wait = true; return s }

// Post is the action's request: a POST of a body. In its path {name} stands for the field
// of the name, and {settings.key} for a setting. A body with [body.Items] in it is a
// request for many events.
func (d *Declared) Post(path string, n body.Node) *Declared {
	return d.Steps(Send(http.MethodPost, path, n))
}

// Put is [Declared.Post] with the method PUT.
func (d *Declared) Put(path string, n body.Node) *Declared {
	return d.Steps(Send(http.MethodPut, path, n))
}

// Patch is [Declared.Post] with the method PATCH.
func (d *Declared) Patch(path string, n body.Node) *Declared {
	return d.Steps(Send(http.MethodPatch, path, n))
}

// Get is the action's request: a GET with the members of an object as its query.
func (d *Declared) Get(path string, n body.Node) *Declared {
	return d.Steps(Send(http.MethodGet, path, n).AsQuery())
}

// PostForm is [Declared.Post] of a form.
func (d *Declared) PostForm(path string, n body.Node) *Declared {
	return d.Steps(Send(http.MethodPost, path, n).AsForm())
}

// Steps are several requests for one event, in this order. Those whose body writes
// nothing are left out. When a body has a [body.Answer] in it, all are one delivery,
// which is repeated from its beginning.
func (d *Declared) Steps(steps ...Step) *Declared { d.steps = append(d.steps, steps...); return d }

// Group keeps events apart that must not share a request although their envelopes are
// the same.
func (d *Declared) Group(of ...body.Value) *Declared { d.group = append(d.group, of...); return d }

// Header is a header of every request: a constant, a setting, or something of the event.
// With the latter each event has a request of its own. A text that no header can hold
// rejects the event.
func (d *Declared) Header(name string, v body.Value) *Declared {
	d.headers = append(d.headers, header{name, v})
	return d
}

// At is the address above the path, for an action on a host of its own; in it
// {settings.key} stands for a setting.
func (d *Declared) At(base string) *Declared { d.base = base; return d }

// ContentType is instead of application/json, or of that of a form.
func (d *Declared) ContentType(t string) *Declared { d.contentType = t; return d }

// Limits are instead of the destination's where they are not zero.
func (d *Declared) Limits(l ActionLimits) *Declared { d.limits = l; return d }

// Success are the answers that say that a request was taken, instead of the spec's. Of
// [Declared.Steps] every answer has to be one of them.
func (d *Declared) Success(s ...Success) *Declared { d.success = s; return d }

// AllOrNothing: one bad item makes the partner refuse the whole request without naming
// it.
func (d *Declared) AllOrNothing() *Declared { d.allOrNothing = true; return d }

// TimeField is the field with the event's time, for the partner's historical window. By
// default it is the event's own timestamp.
func (d *Declared) TimeField(key string) *Declared { d.timeField = key; return d }

// Verdicts reads one verdict for every item out of an answer: [ByIndex], [ByID],
// [ByPointer]. Without them, and where an answer lists nothing, the status decides.
func (d *Declared) Verdicts(v Verdicts) *Declared { d.results = v.read; return d }

// Results is [Declared.Verdicts] in Go. It returns nil to let the status decide.
func (d *Declared) Results(f func(a *Answer, b *Batch) []Result) *Declared {
	d.results = f
	return d
}

// Item writes the items of an event in Go: the way out for what no body can say. What the
// action needs is asked before, and its request is that of its one step, whose body is not.
func (d *Declared) Item(f func(in *Input, out *Output)) *Declared { d.item = f; return d }

func (list Actions) list(o *opened) ([]action, error) { return list.open(o) }

func (list Actions) open(o *opened) ([]action, error) {
	actions := make([]action, len(list))
	for i, d := range list {
		var err error
		if actions[i], err = d.bind(o); err != nil {
			return nil, fmt.Errorf("action %s: %w", d.slug, err)
		}
	}
	return actions, nil
}

// boundStep is a step in its scope.
type boundStep struct {
	Step
	path  *body.Path
	to    *body.Program // instead of path; nil: the path
	body  *body.Program
	when  *body.Test // nil: always
	first bool       // it goes where the action's requests go
}

// bound is a declared action in its scope.
type bound struct {
	*Declared
	needs []*body.Test
	steps []boundStep
	group []*body.Program
	batch bool

	settings map[string]event.Value

	header http.Header
	each   []boundHeader // those that differ from event to event
}

// boundHeader is a header in its scope.
type boundHeader struct {
	name  string
	value *body.Program
}

// scope is what the names in the action's bodies stand for.
func (d *Declared) scope(c *opened) body.Scope {
	return body.Scope{Fields: d.fields, Settings: c.values, Stamp: c.stamp}
}

func (d *Declared) bind(c *opened) (action, error) {
	a := action{Slug: d.slug, Title: d.title, Doc: d.doc, Trigger: d.trigger, Fields: d.fields, Limits: d.limits, AllOrNothing: d.allOrNothing, TimeField: d.timeField, success: d.success, results: d.results, declared: true}
	b := &bound{Declared: d}
	sc := d.scope(c)
	var err error
	if len(d.steps) == 0 {
		return a, fmt.Errorf("it has no request")
	}
	if b.settings, err = sc.Values(); err != nil {
		return a, err
	}
	for i, s := range d.steps {
		bs, needed, err := s.bind(sc)
		if err != nil {
			return a, fmt.Errorf("step %d: %w", i+1, err)
		}
		if !needed {
			continue
		}
		bs.first = len(b.steps) == 0
		if b.batch = b.batch || bs.body.Batch(); b.batch != bs.body.Batch() {
			return a, fmt.Errorf("step %d: either all requests of an action are for many events, or none", i+1)
		}
		b.steps = append(b.steps, bs)
	}
	if len(b.steps) == 0 {
		return a, fmt.Errorf("with these settings it has no request")
	}
	for _, n := range d.needs {
		t, err := sc.BindCond(n.cond)
		if err != nil {
			return a, fmt.Errorf("needs (%s): %w", n.detail, err)
		}
		b.needs = append(b.needs, t)
	}
	for _, g := range d.group {
		p, err := sc.Bind(g)
		if err != nil {
			return a, fmt.Errorf("its group: %w", err)
		}
		b.group = append(b.group, p)
	}
	r, err := b.request(sc)
	if err != nil {
		return a, err
	}
	a.request, b.header = func() Request { return r }, r.Header
	if a.item = b.write; d.item != nil {
		a.item = b.writeItem
	}
	for _, s := range b.steps {
		if s.body.NeedsAnswers() || s.path.NeedsAnswers() {
			a.converse, a.item = b.converse, b.writeConversation
		}
	}
	return a, nil
}

// bind puts a step into its scope. It is not needed when the settings rule it out.
func (s Step) bind(sc body.Scope) (bs boundStep, needed bool, err error) {
	bs.Step = s
	if s.when != nil {
		if bs.when, err = sc.BindCond(s.when); err != nil {
			return bs, false, fmt.Errorf("its condition: %w", err)
		}
		if bs.when.Never() {
			return bs, false, nil
		}
	}
	method, err := sc.BindPath(s.method)
	if err != nil {
		return bs, false, fmt.Errorf("the method: %w", err)
	}
	if bs.method = method.Static(); bs.method == "" {
		return bs, false, fmt.Errorf("the method %s differs from event to event", s.method)
	}
	if bs.path, err = sc.BindPath(s.path); err != nil {
		return bs, false, fmt.Errorf("the path: %w", err)
	}
	if s.to != nil {
		if bs.to, err = sc.Bind(s.to); err != nil {
			return bs, false, fmt.Errorf("the path: %w", err)
		}
	}
	if bs.node == nil {
		bs.node = body.Payload()
	}
	if bs.body, err = sc.Bind(bs.node); err != nil {
		return bs, false, fmt.Errorf("the body: %w", err)
	}
	return bs, true, nil
}

// address is the path of an event's request, or what it lacks.
func (s *boundStep) address(w *body.Scratch, in *body.Input) (path, lacks string) {
	if s.to == nil {
		return s.path.Append(w, in)
	}
	text, ok := s.to.Append(w, in, nil)
	if !ok {
		return "", "an address"
	}
	v, err := event.ParseValue(text)
	if err != nil || v.Kind() != event.String {
		return "", "an address"
	}
	return v.Text(), ""
}

// static is the path that all events have; "": it is not the same for all.
func (s *boundStep) static() string {
	if s.to != nil {
		return ""
	}
	return s.path.Static()
}

// request is that of the first step.
func (b *bound) request(sc body.Scope) (Request, error) {
	first := &b.steps[0]
	r := Request{Method: first.method, Path: first.static(), Header: http.Header{}}
	r.ContentType = cmp.Or(first.contentType, b.contentType)
	if r.ContentType == "" && first.as == asForm {
		r.ContentType = "application/x-www-form-urlencoded"
	}
	if b.base != "" {
		at, err := sc.BindPath(b.base)
		if err != nil {
			return r, fmt.Errorf("its address: %w", err)
		}
		if r.BaseURL = at.Static(); r.BaseURL == "" {
			return r, fmt.Errorf("its address %s differs from event to event", b.base)
		}
	}
	for _, h := range b.headers {
		p, err := sc.Bind(h.value)
		if err != nil {
			return r, fmt.Errorf("the header %s: %w", h.name, err)
		}
		if p.Varies() {
			b.each = append(b.each, boundHeader{h.name, p})
			continue
		}
		var s body.Scratch
		if text, ok := p.Interpret(&s, &body.Input{}, nil); ok {
			v, err := event.ParseValue(text)
			if err != nil {
				return r, fmt.Errorf("the header %s: %w", h.name, err)
			}
			r.Header.Set(h.name, v.Text())
		}
	}
	if b.batch {
		r.Open, r.Close, _ = first.body.Static()
		if r.Sep = first.body.Separator(); r.Sep == "\n" {
			r.Close += "\n"
		}
		r.envelope = func(key string) (open, close string, ok bool) {
			open, rest, ok := strings.Cut(key, keyCut)
			close, _, _ = strings.Cut(rest, keyCut)
			return open, close, ok
		}
	}
	return r, nil
}

// keyCut stands between the parts of a batch key: what stands before the items, what
// stands behind them, and what else keeps events apart. JSON never has it.
const keyCut = "\x00"

// write writes the items of one event.
func (b *bound) write(in *Input, out *Output) {
	s := &out.d.body
	bi := &out.d.bodyIn
	*bi = body.Input{Event: in.Event.Root(), Payload: in.Payload, Now: in.now, ID: in.id, Settings: b.settings}
	if !b.meets(s, bi, out) {
		return
	}
	group := ""
	for _, g := range b.group {
		if text, ok := g.Append(s, bi, nil); ok {
			group += string(text)
		}
		group += keyCut
	}
	for i := range b.steps {
		st := &b.steps[i]
		if st.when != nil && !st.when.Holds(s, bi) {
			continue
		}
		path, lacks := st.address(s, bi)
		if lacks != "" {
			out.Reject(MissingIdentity, lacks+" is required: it stands in the address of the request")
			return
		}
		if !b.writeHeaders(s, bi, out) {
			return
		}
		out.Method, out.Path, out.Group, out.Wait = "", "", group, st.wait
		if st.method != b.steps[0].method {
			out.Method = st.method
		}
		if !st.first || st.static() == "" {
			out.Path = path
		}
		if b.batch {
			b.writeItems(s, st, bi, out, group)
			continue
		}
		buf, base := out.end()
		buf, ok := st.body.Append(s, bi, buf)
		if !ok {
			continue
		}
		switch st.as {
		case asForm:
			buf = append(buf[:base], formOf(buf[base:])...)
		case asQuery:
			out.Path, buf = withQuery(path, formOf(buf[base:])), buf[:base]
		}
		out.emit(buf, base, s.Marks())
		bi.Step++
	}
}

// writeItem lets the action's own function write the items of one event.
func (b *bound) writeItem(in *Input, out *Output) {
	bi := &out.d.bodyIn
	*bi = body.Input{Event: in.Event.Root(), Payload: in.Payload, Now: in.now, ID: in.id, Settings: b.settings}
	if b.meets(&out.d.body, bi, out) {
		in.settings = b.settings
		b.item(in, out)
	}
}

// meets settles an event that lacks what the action needs.
func (b *bound) meets(s *body.Scratch, bi *body.Input, out *Output) bool {
	for i, t := range b.needs {
		if !t.Holds(s, bi) {
			n := &b.Declared.needs[i]
			out.settle(n.outcome, n.reason, n.detail)
			return false
		}
	}
	for _, f := range b.checks {
		if problem := f(s.Context(bi)); problem != "" {
			out.Reject(Invalid, problem)
			return false
		}
	}
	return true
}

// writeHeaders writes the headers that are an event's own.
func (b *bound) writeHeaders(s *body.Scratch, bi *body.Input, out *Output) bool {
	out.header = ""
	for _, h := range b.each {
		text, ok := h.value.Append(s, bi, nil)
		if !ok {
			continue
		}
		v, err := event.ParseValue(text)
		if err != nil || !httpguts.ValidHeaderFieldValue(v.Text()) {
			out.Reject(Invalid, "the header "+h.name+" cannot hold the value of this event")
			return false
		}
		out.header += h.name + ": " + v.Text() + "\n"
	}
	return true
}

// writeItems writes the items that a step has for a request of many events.
func (b *bound) writeItems(s *body.Scratch, st *boundStep, bi *body.Input, out *Output, group string) {
	open, close, ok := st.body.Envelope(s, bi)
	if !ok {
		return
	}
	if _, _, static := st.body.Static(); !static || !st.first || group != "" {
		out.Group = open + keyCut + close + keyCut + group
	}
	w := &out.d.items
	w.out, w.s, w.in = out, s, bi
	st.body.Items(s, bi, w)
}

// itemWriter takes the items of an event.
type itemWriter struct {
	out  *Output
	s    *body.Scratch
	in   *body.Input
	base int
}

// Next implements [body.Sink].
func (w *itemWriter) Next() (buf []byte) {
	buf, w.base = w.out.end()
	return buf
}

// Emit implements [body.Sink].
func (w *itemWriter) Emit(buf []byte) {
	w.out.emit(buf, w.base, w.s.Marks())
	w.in.Step++
}

// withQuery puts a query behind a path that may have one.
func withQuery(path string, query []byte) string {
	switch {
	case len(query) == 0:
		return path
	case strings.Contains(path, "?"):
		return path + "&" + string(query)
	}
	return path + "?" + string(query)
}

// formOf is an object as a form: texts as they are, other values as their JSON, lists as
// several of the same name. What is null is left out.
func formOf(object []byte) []byte {
	v, err := event.ParseValue(bytes.Clone(object))
	if err != nil {
		return nil // cannot be: it was written from valid values
	}
	var out []byte
	add := func(name string, v event.Value) {
		if v.Kind() == event.Null {
			return
		}
		if len(out) > 0 {
			out = append(out, '&')
		}
		out = append(append(append(out, url.QueryEscape(name)...), '='), url.QueryEscape(v.Text())...)
	}
	for k, m := range v.Members() {
		if m.Kind() != event.Array {
			add(k.Text(), m)
			continue
		}
		for e := range m.Elements() {
			add(k.Text(), e)
		}
	}
	return out
}
