package destination

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/payload"
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

	fields       []payload.Field
	needs        []need
	checks       []func(c *body.Context) string
	steps        []Step
	group        []body.Value
	headers      []header
	limits       ActionLimits
	success      []Success
	allOrNothing bool
	timeField    string
	once         string
	parts        []part
	dated        bool
	results      func(a *Answer, b *Batch) []Result
	item         func(in *Input, out *Output)
	live         Live
	liveWhen     []body.Cond
	quiet        bool
	job          *Job
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

// MemberFits rejects an item in which the JSON at a path is longer than the partner takes,
// also where it is one of many of an event: that item alone.
func (d *Declared) MemberFits(path string, bytes int, detail string) *Declared {
	d.parts = append(d.parts, part{path, bytes, detail})
	return d
}

// part is a member of an item that has a size of its own.
type part struct {
	path   string
	most   int // bytes
	detail string
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
	base         string
	as           encoding
	contentType  string
	wait         bool

	success     []Success
	takes       []taking
	whenTaken   string
	unlessTaken string

	from   string        // key of a setting
	kept   time.Duration // 0: not
	revise func(body []byte, answer func(step int) event.Value) ([]byte, Result)
}

// taking is a value of an answer that later steps use.
type taking struct {
	name      string
	of        func(a *Answer) string
	refused   bool   // of an answer that is no success
	otherwise Result // when there is none; Undecided: the conversation goes on
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

// Of is the content type of the request, instead of application/json or that of a form.
func (s Step) Of(contentType string) Step { s.contentType = contentType; return s }

// At is the address above the path, for a request to a host of its own; in it
// {settings.key} stands for a setting.
func (s Step) At(base string) Step { s.base = base; return s }

// Success are the answers by which this request was taken, instead of the action's. Where one
// step of an action has its own, all have to, or the action has some for them.
func (s Step) Success(list ...Success) Step { s.success = list; return s }

// Take keeps what f reads out of the answer, for the later steps of the event: there
// {answer.name} stands in paths, and [body.Taken] in bodies. "" is nothing. f is a pure
// function.
func (s Step) Take(name string, f func(a *Answer) string) Step {
	return s.take(taking{name: name, of: f})
}

// TakeRefused is Take of an answer that is no success: when f reads something out of it, the
// event goes on all the same.
func (s Step) TakeRefused(name string, f func(a *Answer) string) Step {
	return s.take(taking{name: name, of: f, refused: true})
}

// Otherwise settles the event when the last Take has found nothing.
func (s Step) Otherwise(o Outcome, r Reason, detail string) Step {
	s.takes = slices.Clone(s.takes)
	s.takes[len(s.takes)-1].otherwise = Result{Outcome: o, Reason: r, Detail: detail}
	return s
}

func (s Step) take(t taking) Step { s.takes = append(slices.Clone(s.takes), t); return s }

// IfTaken makes the request only when an earlier step has taken something by that name.
func (s Step) IfTaken(name string) Step { s.whenTaken = name; return s }

// UnlessTaken makes the request only when none has.
func (s Step) UnlessTaken(name string) Step { s.unlessTaken = name; return s }

// From is where the request goes: the whole address stands in a setting. It is for steps of
// which a later one uses the answer.
func (s Step) From(setting string) Step { s.from = setting; return s }

// Kept makes the request once for many events: its answer, when it is a success, is used for so
// long. Nothing in the request may be an event's own.
func (s Step) Kept(d time.Duration) Step { s.kept = d; return s }

// Revise lets a Go function look at the answers to earlier steps before the body is sent, where
// no [body.Answer] or [body.Taken] says what is needed: a list to look an id up in, say. f is a
// pure function of the body and of the answers; it returns the body, or what settles the event
// instead.
func (s Step) Revise(f func(body []byte, answer func(step int) event.Value) ([]byte, Result)) Step {
	s.revise = f
	return s
}

// After sends the request only after the one before it was delivered. It is a delivery of
// its own.
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
// nothing are left out. When one of them needs something of an earlier answer ([Step.Take],
// [body.Answer]) they are one delivery, which is repeated from its beginning: what is done
// first has to bear being done again. [Step.After] begins another delivery.
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

// Limits are instead of the destination's where they are not zero.
func (d *Declared) Limits(l ActionLimits) *Declared { d.limits = l; return d }

// Success are the answers that say that a request was taken, instead of the spec's. Of
// [Declared.Steps] every answer has to be one of them.
func (d *Declared) Success(s ...Success) *Declared { d.success = s; return d }

// AllOrNothing: one bad item makes the partner refuse the whole request without naming
// it.
func (d *Declared) AllOrNothing() *Declared { d.allOrNothing = true; return d }

// Once says that the partner refuses a request in which the same value stands twice at a path
// of its items: further ones go into a request of their own, after the first.
func (d *Declared) Once(path string) *Declared { d.once = path; return d }

// TimeField is the field with the event's time, for the partner's historical window. By
// default it is the event's own timestamp.
func (d *Declared) TimeField(key string) *Declared { d.timeField = key; return d }

// Dated says that the partner is told when the event happened, though no field has it: an
// event that nobody knows the time of is rejected. It need not be said of fields that are
// mapped to the event's times.
func (d *Declared) Dated() *Declared { d.dated = true; return d }

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
