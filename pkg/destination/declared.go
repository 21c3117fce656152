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
//			field.UserID("userId"),
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

	fields    []payload.Field
	needs     []need
	checks    []func(c *body.Context) string
	steps     []Step
	group     []body.Value
	headers   []header
	limits    ActionLimits
	success   []Success
	timeField string
	once      string
	parts     []part
	dated     bool
	results   func(a *Answer, b *Batch) []Result
	verdicts  *Verdicts
	item      func(in *Input, out *Output)
	live      Live
	liveWhen  []body.Cond
	quiet     bool
	job       *Job
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

// Doc describes the action in one or two sentences.
func (d *Declared) Doc(s string) *Declared { d.doc = s; return d }

// Fields are the fields that the action takes from an event.
func (d *Declared) Fields(sets ...field.Set) *Declared {
	d.fields = append(d.fields, field.Of(sets...)...)
	return d
}

// Needs rejects events for which the condition does not hold. detail is the sentence that tells the user what is
// required.
func (d *Declared) Needs(c body.Cond, detail string) *Declared {
	d.needs = append(d.needs, need{c, Rejected, Invalid, detail})
	return d
}

// NeedsIdentity is [Declared.Needs] for conditions on who the event is about.
func (d *Declared) NeedsIdentity(c body.Cond, detail string) *Declared {
	d.needs = append(d.needs, need{c, Rejected, MissingIdentity, detail})
	return d
}

// MemberFits rejects an item in which the JSON at a path is longer than the partner accepts. Only that item is
// rejected, even if the event has others.
func (d *Declared) MemberFits(path string, bytes int, detail string) *Declared {
	d.parts = append(d.parts, part{path, bytes, detail})
	return d
}

// part is a member of an item that has a size limit of its own.
type part struct {
	path   string
	most   int // bytes
	detail string
}

// NeedsOneOf rejects events in which every one of some identifying fields is missing, null, false, 0 or empty.
func (d *Declared) NeedsOneOf(paths ...string) *Declared {
	detail := strings.Join(paths, " or ") + " is required"
	if n := len(paths) - 1; n > 0 {
		detail = "one of " + strings.Join(paths[:n], ", ") + " and " + paths[n] + " is required"
	}
	d.needs = append(d.needs, need{body.From(paths...).Given(), Rejected, MissingIdentity, detail})
	return d
}

// Check rejects events in which f finds a problem. It is for rules that no condition can express. f is a pure
// function.
func (d *Declared) Check(f func(c *body.Context) (problem string)) *Declared {
	d.checks = append(d.checks, f)
	return d
}

// Only skips events for which the condition does not hold, because there is nothing to send for them.
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
	kept   time.Duration // how long its answer is used again; 0: the answer is not kept
	revise func(body []byte, answer func(step int) event.Value) ([]byte, Result)
}

// taking is a value that is read from an answer, for later steps.
type taking struct {
	name      string
	at        string // path of the value in the answer, which stays what it is; "": it is the text that of returns
	of        func(a *Answer) string
	refused   bool   // it is read from answers that are no success
	otherwise Result // settles the event when no value is found; Undecided: the conversation goes on
}

// encoding is how a body is encoded in a request.
type encoding uint8

const (
	asJSON encoding = iota
	asForm
	asQuery
)

// Send is a request with a body: nil is all fields, or none of a GET, HEAD or DELETE. In method and path, {name}
// stands for the field of that name and {settings.key} for a setting. See [body.Items] for requests with many events.
func Send(method, path string, n body.Node) Step { return Step{method: method, path: path, node: n} }

// If makes the request only when the condition holds. A condition on settings alone is decided once, when the
// destination is opened.
func (s Step) If(c body.Cond) Step { s.when = c; return s }

// AsForm sends the body, which has to be an object, as a form.
func (s Step) AsForm() Step { s.as = asForm; return s }

// AsQuery sends the body, which has to be an object, as the query of the address. The request itself has no body
// then.
func (s Step) AsQuery() Step { s.as = asQuery; return s }

// To writes the path with a node. The text is used without escaping: it is for addresses that the user got from
// the partner.
func (s Step) To(path body.Node) Step { s.to = path; return s }

// Of sets the content type of the request, instead of application/json or that of a form.
func (s Step) Of(contentType string) Step { s.contentType = contentType; return s }

// At sets the address before the path, for a request that goes to another host. {settings.key} in it stands for a
// setting.
func (s Step) At(base string) Step { s.base = base; return s }

// Success lists the answers by which the partner has accepted this request, instead of the action's list. If one
// step of an action has its own list, all steps need one, or the action has to have a list for the others.
func (s Step) Success(list ...Success) Step { s.success = list; return s }

// Take keeps what f reads from the answer, for later steps of the same event: {answer.name} in a path, or
// [body.Taken] in a body. When f returns "", nothing is kept. f is a pure function.
func (s Step) Take(name string, f func(a *Answer) string) Step {
	return s.take(taking{name: name, of: f})
}

// TakeAt is Take of the value at a path of the answer, in which a number is an element of a list: "data.0.id". null and
// "" count as nothing. [body.Taken] writes the value as it stands in the answer: a number stays a number.
func (s Step) TakeAt(name, path string) Step {
	return s.take(taking{name: name, at: path, of: func(a *Answer) string {
		if v := at(a.JSON, path); !v.Nullish() {
			return v.Text()
		}
		return ""
	}})
}

// TakeRefused is Take for answers that are no success: when f finds a value in such an answer, the event goes on
// as if the request had succeeded.
func (s Step) TakeRefused(name string, f func(a *Answer) string) Step {
	return s.take(taking{name: name, of: f, refused: true})
}

// Otherwise settles the event when the last Take found no value.
func (s Step) Otherwise(o Outcome, r Reason, detail string) Step {
	s.takes = slices.Clone(s.takes)
	s.takes[len(s.takes)-1].otherwise = Result{Outcome: o, Reason: r, Detail: detail}
	return s
}

func (s Step) take(t taking) Step { s.takes = append(slices.Clone(s.takes), t); return s }

// IfTaken makes the request only when an earlier step has kept a value under that name.
func (s Step) IfTaken(name string) Step { s.whenTaken = name; return s }

// UnlessTaken makes the request only when no earlier step has kept a value under that name.
func (s Step) UnlessTaken(name string) Step { s.unlessTaken = name; return s }

// From takes the whole address of the request from a setting. It is for steps whose answer a later step uses.
func (s Step) From(setting string) Step { s.from = setting; return s }

// Kept makes the request once for many events: a successful answer is used again for this long. So nothing in the
// request may come from an event.
func (s Step) Kept(d time.Duration) Step { s.kept = d; return s }

// Revise lets a Go function look at the answers to earlier steps before the body is sent. It is for what
// [body.Answer] and [body.Taken] cannot express, such as looking up an id in a list. f is a pure function of the
// body and the answers. It returns the body to send, or a result that settles the event instead.
func (s Step) Revise(f func(body []byte, answer func(step int) event.Value) ([]byte, Result)) Step {
	s.revise = f
	return s
}

// After sends the request only once the step before it was delivered. It begins a delivery of its own.
func (s Step) After() Step { s.wait = true; return s }

// Post sets the action's request: a POST with a body. In the path, {name} stands for the field of that name and
// {settings.key} for a setting. With [body.Items] in the body, one request carries many events.
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

// Get sets the action's request: a GET with the members of an object as its query.
func (d *Declared) Get(path string, n body.Node) *Declared {
	return d.Steps(Send(http.MethodGet, path, n).AsQuery())
}

// PostForm is [Declared.Post] with a form as the body.
func (d *Declared) PostForm(path string, n body.Node) *Declared {
	return d.Steps(Send(http.MethodPost, path, n).AsForm())
}

// Steps makes several requests for one event, in this order. A step whose body writes nothing is left out. When a
// step uses an earlier answer ([Step.Take], [body.Answer]), they are all one delivery and a retry begins with the
// first step again. So the earlier steps must be safe to repeat. [Step.After] begins another delivery.
func (d *Declared) Steps(steps ...Step) *Declared { d.steps = append(d.steps, steps...); return d }

// Group keeps events in different requests when these values differ, even if the rest of the request body around
// them is the same.
func (d *Declared) Group(of ...body.Value) *Declared { d.group = append(d.group, of...); return d }

// Header adds a header to every request: a constant, a setting, or a value from the event. With a value from the
// event, each event gets a request of its own. An event whose value cannot be in a header is rejected.
func (d *Declared) Header(name string, v body.Value) *Declared {
	d.headers = append(d.headers, header{name, v})
	return d
}

// Limits replaces the destination's limits where they are not zero.
func (d *Declared) Limits(l ActionLimits) *Declared { d.limits = l; return d }

// Rates are the action's own, in addition to the lane's: see [Rates].
func (d *Declared) Rates(docs string, rates ...string) *Declared {
	d.limits.Rates = Rates(docs, rates...)
	return d
}

// BatchEvents is how many deliveries a request may have, instead of the destination's limit.
func (d *Declared) BatchEvents(n int, docs string) *Declared {
	d.limits.BatchEvents = Cap{n, docs}
	return d
}

// BatchBytes is how long a request's body may be, uncompressed, instead of the destination's limit.
func (d *Declared) BatchBytes(n int, docs string) *Declared {
	d.limits.BatchBytes = Cap{n, docs}
	return d
}

// EventBytes is how long an item may be, instead of the destination's limit.
func (d *Declared) EventBytes(n int, docs string) *Declared {
	d.limits.EventBytes = Cap{n, docs}
	return d
}

// Dedupe is how the partner recognises a repeat of this action's events: see [Dedupe].
func (d *Declared) Dedupe(field string, window time.Duration, docs string) *Declared {
	d.limits.Dedupe = Dedupe{field, window, docs}
	return d
}

// Success lists the answers by which the partner has accepted a request, instead of the spec's list. With
// [Declared.Steps], the answer to every step has to match.
func (d *Declared) Success(s ...Success) *Declared { d.success = s; return d }

// Once says that the partner refuses a request in which two items have the same value at a path, in any case. Lanes
// put items with a repeated value into a later request: see [ActionPlan.Once].
func (d *Declared) Once(path string) *Declared { d.once = path; return d }

// TimeField names the field that holds the event's time, which is checked against the partner's historical window.
// By default it is the event's own timestamp.
func (d *Declared) TimeField(key string) *Declared { d.timeField = key; return d }

// Timed is [Declared.TimeField], and rejects events in which the field is no time.
func (d *Declared) Timed(key string) *Declared {
	at := body.From(key)
	return d.TimeField(key).Needs(body.Any(body.Not(at.Given()), at.IsTime()), key+" is no time")
}

// Dated says that the partner is told when the event happened although no field holds it. Then an event without a
// known time is rejected. It need not be declared for fields that are mapped from the event's times.
func (d *Declared) Dated() *Declared { d.dated = true; return d }

// Verdicts reads one result for every item from an answer: [ByIndex], [ByID], [ByPointer]. Without it, or when the
// answer lists nothing, the status decides.
func (d *Declared) Verdicts(v Verdicts) *Declared {
	d.results, d.verdicts = v.read, &v
	return d
}

// Results is [Declared.Verdicts] in Go. It returns nil to let the status decide.
func (d *Declared) Results(f func(a *Answer, b *Batch) []Result) *Declared {
	d.results = f
	return d
}

// Item writes the items of an event in Go, for what a declared body cannot express. The action's needs are checked
// first. The request is that of its single step, whose body is not used.
func (d *Declared) Item(f func(in *Input, out *Output)) *Declared { d.item = f; return d }
