package destination

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

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

// boundStep is a step whose names are resolved against the settings of an opened destination.
type boundStep struct {
	Step
	path  *body.Path
	to    *body.Program // instead of path; nil: path is used
	body  *body.Program
	when  *body.Test // nil: always
	first bool       // it goes to the same address as the action's requests

	number int // counted from 1

	origin string  // scheme and host of a step that goes to an address in a setting
	last   *answer // the answer that is kept for many events; nil: none is kept
}

// answer is the answer of a [Step.Kept] request, which serves many events.
type answer struct {
	mu    sync.Mutex
	value event.Value
	until time.Time
}

// bound is a declared action whose names are resolved against the settings of an opened destination.
type bound struct {
	*Declared
	needs []*body.Test
	steps []boundStep
	group []*body.Program
	batch bool
	apart bool // the batch key has to say which step it belongs to

	settings map[string]event.Value

	header http.Header
	each   []boundHeader // headers whose values differ from event to event
	live   *live         // nil: the action starts nothing at the partner
}

// boundHeader is a header whose value is compiled.
type boundHeader struct {
	name  string
	value *body.Program
}

// scope resolves the names that the action's bodies use.
func (d *Declared) scope(c *opened) body.Scope {
	return body.Scope{Fields: d.fields, Settings: c.values, Stamp: c.stamp, Places: new(body.Places)}
}

func (d *Declared) bind(c *opened) (action, error) {
	a := action{Slug: d.slug, Trigger: d.trigger, Fields: d.fields, Limits: d.limits,
		TimeField: d.timeField, success: d.success, results: d.results,
		once: d.once, dated: d.dated, job: d.job}
	b := &bound{Declared: d}
	sc := d.scope(c)
	a.places = sc.Places
	if len(d.steps) == 0 {
		return a, fmt.Errorf("it has no request")
	}
	settings, wrong := sc.Values()
	if wrong != nil {
		return a, wrong
	}
	b.settings = settings
	if b.live, wrong = d.bindLive(c.live, sc); wrong != nil {
		return a, fmt.Errorf("what it does live: %w", wrong)
	}
	if a.ages = b.live != nil; a.ages {
		a.live = b.live.Live
	}
	for i, s := range d.steps {
		bs, needed, err := s.bind(sc)
		if err != nil {
			return a, fmt.Errorf("step %d: %w", i+1, err)
		}
		if !needed {
			continue
		}
		bs.first, bs.number = len(b.steps) == 0, i+1
		if b.batch = b.batch || bs.body.Batch(); b.batch != bs.body.Batch() {
			return a, fmt.Errorf("step %d: either all requests of an action are for many events, or none", i+1)
		}
		b.steps = append(b.steps, bs)
	}
	for _, st := range b.steps {
		a.ages = a.ages || st.body.NeedsHistory() || st.when != nil && st.when.NeedsHistory()
		if d.success == nil {
			a.success = append(a.success, st.success...)
		}
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
	switch {
	case slices.ContainsFunc(b.steps, func(s boundStep) bool { return s.talks() }):
		if slices.ContainsFunc(b.steps, func(s boundStep) bool { return body.IsText(s.node) }) {
			return a, errors.New("a body that is text stands in no conversation")
		}
		a.converse, a.item, a.requests = b.converse, b.writeConversation, b.longest()
	case len(b.steps) > 1 && slices.ContainsFunc(b.steps, func(s boundStep) bool { return s.success != nil }):
		b.apart, a.successOf = true, b.successOf
	}
	return a, nil
}

// longest is the largest number of requests that one conversation makes. Requests whose answer is kept for many
// events do not count.
func (b *bound) longest() (most int) {
	n := 0
	for i := range b.steps {
		if b.steps[i].wait {
			n = 0
		}
		if b.steps[i].last == nil {
			n++
		}
		most = max(most, n)
	}
	return most
}

// bind compiles a step. needed is false when the settings rule the step out.
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
	if s.from != "" {
		if bs.origin, bs.Step.path, err = addressIn(sc, s.from); err != nil {
			return bs, false, err
		}
	}
	if bs.path, err = sc.BindPath(bs.Step.path); err != nil {
		return bs, false, fmt.Errorf("the path: %w", err)
	}
	if s.kept > 0 {
		bs.last = new(answer)
	}
	if s.to != nil {
		if bs.to, err = sc.Bind(s.to); err != nil {
			return bs, false, fmt.Errorf("the path: %w", err)
		}
	}
	switch {
	case bs.node != nil:
	case s.as == asJSON && slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodDelete}, bs.method):
		bs.node, bs.Step.as = body.Empty(), asQuery // a request without a body
	default:
		bs.node = body.Payload()
	}
	if body.IsText(bs.node) && (s.as != asJSON || s.contentType == "") {
		return bs, false, errors.New("its body is text, which is no form, and needs its content type: Of")
	}
	if bs.body, err = sc.Bind(bs.node); err != nil {
		return bs, false, fmt.Errorf("the body: %w", err)
	}
	return bs, true, nil
}

// addressIn reads the address in a setting and splits it: base is what comes before the path, and path is the path
// with its query.
func addressIn(sc body.Scope, key string) (base, path string, err error) {
	text, _ := sc.Settings[key].(string)
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", "", fmt.Errorf("the setting %s has to be an address such as https://partner.example/file", key)
	}
	// A text in braces would be taken for a name.
	return u.Scheme + "://" + u.Host, strings.NewReplacer("{", "%7B", "}", "%7D").Replace(u.RequestURI()), nil
}

// talks says whether the step uses an earlier answer, or keeps part of its own answer for later steps.
func (s Step) talks() bool {
	return len(s.takes) > 0 || s.from != "" || s.kept > 0 || s.revise != nil || s.whenTaken != "" ||
		s.unlessTaken != "" || s.node != nil && body.NeedsAnswers(s.node) || body.NeedsAnswers(body.Format(s.path))
}

// address is the path of an event's request, or, in lacks, what is missing to write it.
func (s *boundStep) address(w *body.Scratch, in *body.Input) (path, lacks string) {
	if s.to == nil {
		return s.path.Append(w, in)
	}
	if path = s.to.Key(w, in); !strings.HasPrefix(path, `"`) {
		return "", "an address"
	}
	if text := path[1 : len(path)-1]; strings.IndexByte(text, '\\') < 0 {
		return text, ""
	}
	return w.Same(event.AppendUnquoted(nil, []byte(path))), ""
}

// static is the path when it is the same for all events; else "".
func (s *boundStep) static() string {
	if s.to != nil {
		return ""
	}
	return s.path.Static()
}

// request describes the HTTP request of the first step.
func (b *bound) request(sc body.Scope) (Request, error) {
	first := &b.steps[0]
	r := Request{Method: first.method, Path: first.static(), Header: http.Header{}, ContentType: first.contentType}
	if r.ContentType == "" && first.as == asForm {
		r.ContentType = "application/x-www-form-urlencoded"
	}
	if base := first.base; base != "" {
		at, err := sc.BindPath(base)
		if err != nil {
			return r, fmt.Errorf("its address: %w", err)
		}
		if r.BaseURL = at.Static(); r.BaseURL == "" {
			return r, fmt.Errorf("its address %s differs from event to event", base)
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
		if first.as == asForm {
			r.Open, r.Close = formAround(r.Open, r.Close)
		}
		r.Sep = first.body.Separator()
		if first.as == asForm {
			r.Sep = "%2C"
		}
		r.envelope = func(key string) (open, close string, ok bool) {
			open, rest, ok := strings.Cut(key, keyCut)
			close, _, _ = strings.Cut(rest, keyCut)
			return open, close, ok
		}
	}
	return r, nil
}

// keyCut separates the parts of a batch key: what comes before the items, what comes after them, and whatever else
// keeps events in different batches. It cannot occur in JSON, nor in a body that is text.
const keyCut = "\x00"

// stepMark comes before the step number at the end of a batch key.
const stepMark = keyCut + "step "

// successOf returns the answers that count as success for a batch key; nil: those of the action.
func (b *bound) successOf(key string) []Success {
	if i := strings.LastIndex(key, stepMark); i >= 0 {
		if n, err := strconv.Atoi(key[i+len(stepMark):]); err == nil && b.step(n) != nil {
			return b.step(n).success
		}
	}
	return nil
}

// begin prepares the input for the bodies. ok is false when the event lacks something the action needs; then it is
// settled.
func (b *bound) begin(in *Input, out *Output) (s *body.Scratch, bi *body.Input, ok bool) {
	s, bi = &out.d.body, &out.d.bodyIn
	*bi = body.Input{Event: in.Event.Root(), Payload: in.Payload, Now: in.now, ID: in.id, Settings: b.settings,
		History: in.old && !in.asked}
	if in.old && b.live != nil {
		out.live = (b.live.Until == 0 || in.age <= b.live.Until) && (b.live.when == nil || b.live.when.Holds(s, bi))
	}
	return s, bi, b.meets(s, bi, out)
}

// prepare writes the headers of a step, and says whether the step makes a request for the event, and to which
// path. ok is false when the event was settled instead.
func (b *bound) prepare(st *boundStep, s *body.Scratch, bi *body.Input, out *Output) (path string, needed, ok bool) {
	if st.when != nil && !st.when.Holds(s, bi) {
		return "", false, true
	}
	path, lacks := st.address(s, bi)
	if lacks != "" {
		out.Reject(MissingIdentity, lacks+" is required: it stands in the address of the request")
		return "", false, false
	}
	return path, true, b.writeHeaders(s, bi, out)
}

// write writes the items of one event.
func (b *bound) write(in *Input, out *Output) {
	s, bi, ok := b.begin(in, out)
	if !ok {
		return
	}
	group := ""
	for _, g := range b.group {
		group = out.d.key(s, group, g.Key(s, bi), keyCut)
	}
	for i := range b.steps {
		st := &b.steps[i]
		path, needed, ok := b.prepare(st, s, bi, out)
		if !ok {
			return
		}
		if !needed {
			continue
		}
		key := group
		if b.apart {
			key = out.d.key(s, group, stepMark, strconv.Itoa(st.number))
		}
		out.Method, out.Path, out.Group, out.Wait = "", "", key, st.wait
		if st.method != b.steps[0].method {
			out.Method = st.method
		}
		if !st.first || st.static() == "" {
			out.Path = path
		}
		if b.batch {
			b.writeItems(s, st, bi, out, key)
			continue
		}
		buf, base := out.end()
		if buf, ok = st.body.Append(s, bi, buf); !ok {
			continue
		}
		if out.oversized(b.parts, buf, base) {
			bi.Step++
			continue
		}
		switch st.as {
		case asForm:
			buf = out.d.form(s, buf, base)
		case asQuery:
			buf = out.d.form(s, buf, base)
			out.d.joined = appendQuery(append(out.d.joined[:0], path...), buf[base:])
			out.Path, buf = s.Same(out.d.joined), buf[:base]
		}
		out.emit(buf, base, s.Marks())
		bi.Step++
	}
}

// writeItem lets the action's own function write the items of one event.
func (b *bound) writeItem(in *Input, out *Output) {
	if _, _, ok := b.begin(in, out); ok {
		in.settings = b.settings
		b.item(in, out)
	}
}

// meets checks what the action needs of an event, and settles the event when something is missing.
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

// writeHeaders writes the headers whose values come from the event.
func (b *bound) writeHeaders(s *body.Scratch, bi *body.Input, out *Output) bool {
	out.header = ""
	for _, h := range b.each {
		text, ok := h.value.Text(s, bi)
		if !ok {
			continue
		}
		if !httpguts.ValidHeaderFieldValue(text) {
			out.Reject(Invalid, "the header "+h.name+" cannot hold the value of this event")
			return false
		}
		out.header = out.d.key(s, out.header, h.name, ": ", text, "\n")
	}
	return true
}

// writeItems writes the items that a step adds to a request of many events.
func (b *bound) writeItems(s *body.Scratch, st *boundStep, bi *body.Input, out *Output, group string) {
	open, close, ok := st.body.Envelope(s, bi)
	if !ok {
		return
	}
	if _, _, static := st.body.Static(); !static || !st.first || group != "" {
		if st.as == asForm {
			open, close = formAround(open, close)
		}
		out.Group = out.d.key(s, open, keyCut, close, keyCut, group)
	}
	w := &out.d.items
	w.b, w.out, w.s, w.in, w.as = b, out, s, bi, st.as
	st.body.Items(s, bi, w)
}

// itemWriter collects the items of an event.
type itemWriter struct {
	b    *bound
	out  *Output
	s    *body.Scratch
	in   *body.Input
	as   encoding
	base int
}

// Next implements [body.Sink].
func (w *itemWriter) Next() (buf []byte) {
	buf, w.base = w.out.end()
	return buf
}

// Emit implements [body.Sink].
func (w *itemWriter) Emit(buf []byte) {
	if w.out.oversized(w.b.parts, buf, w.base) {
		w.in.Step++
		return
	}
	if w.as == asForm {
		d := w.out.d
		d.joined = append(d.joined[:0], buf[w.base:]...)
		buf = jsonval.AppendQueryEscaped(buf[:w.base], d.joined)
	}
	w.out.emit(buf, w.base, w.s.Marks())
	w.in.Step++
}

// appendQuery appends a query to a path that may already have one.
func appendQuery(path, query []byte) []byte {
	switch {
	case len(query) == 0:
		return path
	case bytes.IndexByte(path, '?') >= 0:
		return append(append(path, '&'), query...)
	}
	return append(append(path, '?'), query...)
}

// form turns the object that stands in buf from base on into a form, see appendForm.
func (d *Deliveries) form(s *body.Scratch, buf []byte, base int) []byte {
	d.joined = append(d.joined[:0], buf[base:]...)
	v, err := s.Parse(d.joined)
	if err != nil {
		return buf[:base] // cannot happen: it was written from valid values
	}
	return appendForm(buf[:base], v)
}

// appendForm appends an object as a form: texts as they are, other values as JSON, and lists as several values of the
// same name. Members that are null are left out.
func appendForm(dst []byte, object event.Value) []byte {
	from := len(dst)
	escape := func(v event.Value) {
		if b, ok := v.Plain(); ok {
			dst = jsonval.AppendQueryEscaped(dst, b)
		} else {
			dst = jsonval.AppendQueryEscaped(dst, v.Text())
		}
	}
	add := func(name, v event.Value) {
		if v.Kind() == event.Null {
			return
		}
		if len(dst) > from {
			dst = append(dst, '&')
		}
		escape(name)
		dst = append(dst, '=')
		escape(v)
	}
	for k, m := range object.Members() {
		if m.Kind() != event.Array {
			add(k, m)
			continue
		}
		for e := range m.Elements() {
			add(k, e)
		}
	}
	return dst
}

// formAround turns the object around the items of a batch into a form. The list of items becomes a parameter of
// its own whose value is JSON, and so does every other list or object.
func formAround(open, close string) (before, behind string) {
	const items = `"\u0000items"`
	v, err := event.ParseValue([]byte(open + items + close))
	if err != nil {
		return open, close // cannot happen: it was written from valid values
	}
	form := ""
	for k, m := range v.Members() {
		if form != "" {
			form += "&"
		}
		text := string(m.Raw())
		if m.Kind() == event.String {
			text = m.Text()
		}
		form += url.QueryEscape(k.Text()) + "=" + url.QueryEscape(text)
	}
	before, behind, _ = strings.Cut(form, url.QueryEscape(items))
	return before, behind
}
