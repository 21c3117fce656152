package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transform"
)

// Question selects the events to explain: those that meet all conditions that are set.
type Question struct {
	ID    string         // messageId
	User  string         // userId or anonymousId
	Where *filter.Filter // on the event in the spec's form, before the user's transform steps
	Limit int            // how many events to explain; reading ends there
	// Run is the folder of the run whose outcomes are added; "": none.
	Run string
}

// Explanation lists every gate (decision) that one record of the input passes, in order.
type Explanation struct {
	Event   string // its messageId, or position
	Name    string // of a track call; otherwise its type
	Object  string
	Line    int64
	Offset  int64
	Gates   []Gate // before the destinations
	Stopped bool   // at the last of these gates
	// Destinations are in the order of the job; empty if the event stops before them.
	Destinations []*ExplainedLane

	end     source.Position
	ordinal uint64
}

// Gate is one decision about an event. Scripts rely on the names that it has in JSON, and those of [GateField],
// [Became] and [Letter].
type Gate struct {
	Name   string       `json:"gate"`
	Passed bool         `json:"passed"`
	Says   string       `json:"says"`             // what was found, in one sentence
	Terms  *filter.Term `json:"terms,omitempty"`  // the parsed filter of a filter gate
	Fields []GateField  `json:"fields,omitempty"` // of a mapping gate
	Before Text         `json:"before,omitempty"` // the event before the gate changed it
	After  Text         `json:"after,omitempty"`
	// Considered says that this gate alone does not decide: another one of its kind lets the event pass.
	Considered bool `json:"-"`
}

// GateField is one field of a payload.
type GateField struct {
	Name     string   `json:"name"`
	From     string   `json:"from,omitempty"`
	Value    Text     `json:"value,omitempty"`   // nil: missing
	Default  bool     `json:"default,omitempty"` // the value comes from the action's default
	Required bool     `json:"required,omitempty"`
	Problems []string `json:"problems,omitempty"`
}

// Text is JSON of somebody else's. In a document it is at most 256 KiB: what is longer, or is no JSON, stands there cut
// off, as one text.
type Text []byte

// MarshalJSON implements [json.Marshaler].
func (t Text) MarshalJSON() ([]byte, error) {
	const most = 256 << 10
	if len(t) <= most && json.Valid(t) {
		return t, nil
	}
	return json.Marshal(destination.Cut(string(t), most))
}

// ExplainedLane is how a destination treats an event.
type ExplainedLane struct {
	Name, Type string
	Gates      []Gate
	Shown      []Shown // what would be sent, and what would not
	Share      int     // the most events that share such a request in a run; 0: the event is sent alone
	Became     *Became // the outcome in the run that was asked for; nil: none was
}

// sent says whether anything is sent for the event.
func (l *ExplainedLane) sent() bool {
	return slices.ContainsFunc(l.Shown, func(s Shown) bool { return s.Settled == nil })
}

// Answers are the explanations for a question, and some counts of the input.
type Answers struct {
	Read         uint64
	Explanations []*Explanation
	// Near are ids similar to the one that was asked for.
	Near []string
}

// explainer answers a question.
type explainer struct {
	w     *World
	q     *Question
	sel   selection.Selection
	lanes []*dryLane
	seen  struct { // what the transform steps did with the event at hand
		end   source.Position
		ask   bool
		steps map[source.Position][]Gate
	}
	answers *Answers
	shown   []Shown
	parser  event.Parser
}

// errEnough ends a reading that has found enough.
var errEnough = errors.New("enough")

// mostNear bounds how many similar ids are suggested.
const mostNear = 3

// Explain reads the input of a job until it has found the events that were asked for, and explains how a run would
// treat each of them. It uses the selection, the routing and the packing of a run. Bodies are written by the
// interpreter that runs use to check their compiled bodies. Nothing is sent. dir is a folder for what does not fit
// in memory; the caller removes it.
func (w *World) Explain(ctx context.Context, j *Job, q *Question, dir string) (*Answers, error) {
	e := &explainer{w: w, q: q, answers: &Answers{}}
	e.seen.steps = map[source.Position][]Gate{}
	all := *j
	all.Limit = 0 // the limit of the question counts explanations instead
	err := w.dryRead(ctx, &all, dir, func(src source.Source, s *selection.Selection) {
		s.Watch = e.watch
		e.sel = *s
		for _, d := range j.Destinations {
			own := *d
			own.Sender = destination.Interpreted(d.Sender)
			p := w.dryLane(&all, &own, src)
			w.shows(ctx, p, func(s Shown) error {
				e.shown = append(e.shown, copied(s))
				return nil
			})
			e.lanes = append(e.lanes, p)
		}
	}, e.record)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if q.Run != "" {
		if err := w.became(ctx, j, q.Run, e.lanes[0].src, e.answers.Explanations); err != nil {
			return nil, err
		}
	}
	return e.answers, nil
}

// copied returns a copy that shares no memory with the lane.
func copied(s Shown) Shown {
	if s.Settled != nil {
		r := *s.Settled
		s.Settled = &r
	}
	s.Item = bytes.Clone(s.Item)
	if s.Request != nil {
		r := *s.Request
		r.Body, r.Header = bytes.Clone(r.Body), r.Header.Clone()
		s.Request = &r
	}
	return s
}

// record explains a record if it was asked for.
func (e *explainer) record(r *selection.Record) error {
	e.answers.Read++
	defer delete(e.seen.steps, r.End)
	ev, isEvent := e.asked(r)
	if !isEvent && !(r.Bad != nil && e.holds(r.Raw)) {
		return nil
	}
	x := &Explanation{Object: r.Object, Line: r.Line, Offset: r.Offset, end: r.End, ordinal: r.Ordinal,
		Event: r.End.String()}
	e.answers.Explanations = append(e.answers.Explanations, x)
	e.common(x, r, ev)
	if !x.Stopped {
		for _, p := range e.lanes {
			l, err := e.lane(p, r)
			if err != nil {
				return err
			}
			x.Destinations = append(x.Destinations, l)
		}
	}
	if len(e.answers.Explanations) >= e.q.Limit {
		return errEnough
	}
	return nil
}

// holds says whether a text that is no event may be of the event that was asked for.
func (e *explainer) holds(raw []byte) bool {
	for _, id := range []string{e.q.ID, e.q.User} {
		if id != "" && !bytes.Contains(raw, []byte(id)) {
			return false
		}
	}
	return e.q.Where == nil && e.q.ID+e.q.User != ""
}

// asked says whether a record was asked for, judging by the event it is read as.
func (e *explainer) asked(r *selection.Record) (*event.Event, bool) {
	if r.Bad != nil {
		return nil, false
	}
	e.parser.Reset()
	ev, err := e.parser.Parse(r.Raw)
	if err == nil {
		ev, err = e.sel.Rules.Event(&e.parser, ev)
	}
	return ev, err == nil && e.matches(ev, true)
}

// matches says whether an event was asked for. note: remember ids that are similar to the one asked for.
func (e *explainer) matches(ev *event.Event, note bool) bool {
	q := e.q
	if id := ev.MessageID().Text(); q.ID != "" && id != q.ID {
		if note && strings.EqualFold(strings.TrimSpace(id), strings.TrimSpace(q.ID)) && len(e.answers.Near) < mostNear {
			e.answers.Near = append(e.answers.Near, id)
		}
		return false
	}
	if q.User != "" && ev.UserID().Text() != q.User && ev.AnonymousID().Text() != q.User {
		return false
	}
	return q.Where.Match(ev.Root())
}

// watch notes what a transform step does with an event that was asked for.
func (e *explainer) watch(ev *event.Event, end source.Position, a transform.Applied) {
	if e.seen.end != end || len(e.seen.steps[end]) == 0 {
		e.seen.end, e.seen.ask = end, e.matches(ev, false)
	}
	if !e.seen.ask {
		return
	}
	name := "transform " + a.Step
	if a.Line > 0 {
		name += " (line " + strconv.Itoa(a.Line) + ")"
	}
	g := Gate{Name: name, Passed: a.Did != "dropped", Says: a.Did}
	if a.Why != "" {
		g.Says += ": " + a.Why
	}
	statement := a.FQL
	if a.Did == "not for it" {
		g.Says, statement = "not for it: its `when` does not hold", a.When
	}
	if f, err := filter.Compile(statement); err == nil {
		if before, err := event.ParseValue(a.Before); err == nil {
			terms := f.Explain(before)
			g.Terms = &terms
		}
	}
	if a.Did == "dropped" && g.Terms == nil {
		g.Says = dropText[strings.TrimLeft(a.Step, "0123456789 ")] + strings.TrimPrefix(g.Says, "dropped")
	}
	if a.After != nil {
		g.Before, g.After = bytes.Clone(a.Before), bytes.Clone(a.After)
	}
	e.seen.steps[end] = append(e.seen.steps[end], g)
}

// dropText explains, for steps without a filter, why they drop an event.
var dropText = map[string]string{
	"sample": "dropped: the event's user is not in the share that is kept",
	"dedupe": "dropped: what it is recognised by stands at an earlier place of the input already",
	"mask":   "dropped: it cannot be masked, and goes nowhere unmasked",
}

// common adds the gates before the destinations.
func (e *explainer) common(x *Explanation, r *selection.Record, ev *event.Event) {
	add := func(g Gate) bool {
		x.Gates = append(x.Gates, g)
		x.Stopped = !g.Passed
		return g.Passed
	}
	as := r.As
	if as == "" {
		as = "records"
	}
	read := Gate{Name: "read", Passed: r.Bad == nil, Says: fmt.Sprintf("from %s, taken for %s", r.Object, as)}
	if r.Bad != nil {
		read.Says += fmt.Sprintf("; it is no event: %s: %s", r.Bad.Reason, r.Bad.Detail)
		add(read)
		return
	}
	if x.Event, x.Name = r.End.String(), nameIn(ev); ev.MessageID().Text() != "" {
		x.Event = ev.MessageID().Text()
	}
	read.After = bytes.Clone(r.Raw)
	add(read)
	if !bytes.Equal(ev.Raw(), r.Raw) {
		add(Gate{Name: "form", Passed: true, Says: "brought to the form of Segment's spec", Before: read.After,
			After: bytes.Clone(ev.Raw())})
	}
	if !add(e.time(ev, r)) || !add(e.inRange(ev, r)) {
		return
	}
	if e.sel.Filter != nil {
		if !add(filterGate("--filter", e.sel.Filter, ev)) {
			return
		}
	}
	for _, g := range e.seen.steps[r.End] {
		if !add(g) {
			return
		}
	}
}

// nameIn is the event name of a track call, and the type of any other.
func nameIn(ev *event.Event) string {
	if name := ev.Name(); name.Kind() == event.String && name.Text() != "" {
		return name.Text()
	}
	return ev.TypeValue().Text()
}

func filterGate(name string, f *filter.Filter, ev *event.Event) Gate {
	terms := f.Explain(ev.Root())
	g := Gate{Name: name, Passed: terms.Holds, Says: "it matches", Terms: &terms}
	if !terms.Holds {
		g.Says = "it does not match"
	}
	return g
}

func (e *explainer) time(ev *event.Event, r *selection.Record) Gate {
	if at, ok := ev.Timestamp(); ok {
		return Gate{Name: "time", Passed: true, Says: "it happened at " + at.UTC().Format(time.RFC3339Nano)}
	}
	g := Gate{Name: "time", Passed: r.Dropped != selection.NoTime, Says: "nobody knows when it happened"}
	if _, err := ev.TimeIn(event.AnyOrder); err != nil && !ev.TimestampMember().Nullish() {
		g.Says += fmt.Sprintf(": its timestamp %s cannot be read: %v",
			destination.Cut(string(ev.TimestampMember().Raw()), 60), err)
	}
	if !g.Passed {
		g.Says += "; dropped, as --undated skip says"
	}
	return g
}

func (e *explainer) inRange(ev *event.Event, r *selection.Record) Gate {
	g := Gate{Name: "range", Passed: r.Dropped != selection.TimeRange, Says: "no --since or --until"}
	if e.sel.Since.IsZero() && e.sel.Until.IsZero() {
		return g
	}
	at, dated := ev.Timestamp()
	var why []string
	if !e.sel.Since.IsZero() {
		why = append(why, "--since "+e.sel.Since.UTC().Format(time.RFC3339))
	}
	if !e.sel.Until.IsZero() {
		why = append(why, "--until "+e.sel.Until.UTC().Format(time.RFC3339))
	}
	says := strings.Join(why, ", ")
	switch {
	case g.Passed:
		g.Says = "inside " + says
	case !dated:
		g.Says = "without a time it is in no range (" + says + ")"
	case at.Before(e.sel.Since):
		g.Says = fmt.Sprintf("it happened before %s", why[0])
	default:
		g.Says = fmt.Sprintf("it happened at or after %s", why[len(why)-1])
	}
	return g
}

// lane explains how a destination treats an event.
func (e *explainer) lane(p *dryLane, r *selection.Record) (*ExplainedLane, error) {
	d := p.d
	l := &ExplainedLane{Name: d.Name, Type: d.Slug}
	e.shown = nil
	if d.Filter != nil {
		g := filterGate("filter of "+d.Name, d.Filter, r.Event)
		if l.Gates = append(l.Gates, g); !g.Passed {
			return l, nil
		}
	}
	if err := p.event(r); err != nil {
		return nil, err
	}
	// The gates read the event, which packing does not change.
	e.admitted(l, d, r)
	if err := p.flush(); err != nil {
		return nil, err
	}
	l.Shown = e.shown
	l.history(p.plan, d.Options.TriggerLive)
	return l, nil
}

// history adds the gate for what the event would start at the partner: messages to people, or deletions.
func (l *ExplainedLane) history(plan *destination.Plan, asked bool) {
	g := Gate{Name: "history", Passed: true}
	for _, s := range l.Shown {
		i := slices.IndexFunc(plan.Actions, func(a destination.ActionPlan) bool { return a.Slug == s.Action })
		switch {
		case s.Settled != nil || i < 0 || plan.Actions[i].Live.Does == "":
		case s.Live == "" && g.Says == "":
			g.Says = fmt.Sprintf("%s %s; it happened less than a day ago, so that is as ever", s.Action,
				plan.Actions[i].Live.Does)
		case s.Live != "" && asked:
			g.Says = s.Live + ", which --trigger-live says is meant"
		case s.Live != "":
			g.Passed, g.Says = false, s.Live+": a run stops before that, and all behind it waits, unless --trigger-live "+
				l.Name+" says that it is meant"
		}
	}
	if g.Says != "" {
		l.Gates = append(l.Gates, g)
	}
}

// admitted adds the gates before Route.
func (e *explainer) admitted(l *ExplainedLane, d *config.Opened, r *selection.Record) {
	env := destination.Env{Now: e.w.Now(), Consent: d.Consent, Suppressed: r.Suppressed}
	env.Fallback = selection.Fallback(e.lanes[0].src.Manifest(), r.End)
	add := func(g Gate) { l.Gates = append(l.Gates, g) }
	if e.sel.Suppress.Len() > 0 {
		g := Gate{Name: "suppression", Passed: !r.Suppressed, Says: "whose event it is stands in no suppression list"}
		if r.Suppressed {
			g.Says = "whose event it is stands in the suppression list"
		}
		if add(g); r.Suppressed {
			return
		}
	}
	if len(d.Consent) > 0 {
		g := Gate{Name: "consent", Passed: true, Says: "it grants " + strings.Join(d.Consent, ", ")}
		if verdict, ok := env.Admit(r.Event); !ok {
			g.Passed, g.Says = false, verdict.Detail
		}
		if add(g); !g.Passed {
			return
		}
	}
	routing, err := destination.Explain(d.Sender, r.Event, &env)
	if err != nil {
		add(Gate{Name: "actions", Passed: true, Says: err.Error()})
		return
	}
	e.routing(l, r.Event, &routing)
}

// routing adds the destination's own gates.
func (e *explainer) routing(l *ExplainedLane, ev *event.Event, routing *destination.Routing) {
	add := func(g Gate) { l.Gates = append(l.Gates, g) }
	in := Gate{Name: "integrations", Passed: routing.OptedOut == "",
		Says: "the event says nothing against this destination"}
	if !in.Passed {
		in.Says = fmt.Sprintf("the event's integrations object has %q: false; "+
			"this destination is addressed there by All or %s",
			routing.OptedOut, strings.Join(routing.Names, ", "))
	} else if ev.Integrations().Kind() == event.Object && ev.Integrations().Len() > 0 {
		in.Says = "its integrations object, " + destination.Cut(string(ev.Integrations().Raw()), 100) +
			", says nothing against this destination"
	}
	if add(in); !in.Passed {
		return
	}
	taken := false
	for i := range routing.Subscriptions {
		taken = taken || routing.Subscriptions[i].Takes
	}
	for i := range routing.Subscriptions {
		c := &routing.Subscriptions[i]
		g := Gate{Name: "trigger of " + c.Action, Passed: c.Takes, Says: "it fires", Terms: &c.Trigger, Considered: taken}
		if !c.Takes {
			g.Says = "it does not fire"
		}
		switch {
		case c.Instead != "":
			g = Gate{Name: "instead of " + c.Instead, Passed: true,
				Says: fmt.Sprintf("the event lacks what %s needs, so %s takes it", c.Instead, c.Action)}
		case c.Subscribe == "":
			g.Says, g.Terms = "it fires for every event", nil
		}
		if add(g); c.Takes {
			add(fieldsOf(c))
			l.Share = max(l.Share, c.Batch.BatchEvents.N)
		}
	}
	if len(routing.Subscriptions) == 0 {
		add(Gate{Name: "trigger", Says: "there are no actions: `actions:` is empty"})
	}
}

// fieldsOf makes the gate of a subscription's mapping.
func fieldsOf(c *destination.Considered) Gate {
	g := Gate{Name: "fields of " + c.Action, Passed: true, Says: "all rules are kept"}
	wrong := append([]string{}, c.Problems...)
	for _, f := range c.Fields {
		if f.From.IsZero() && f.Value == nil && len(f.Problems) == 0 {
			continue
		}
		x := GateField{Name: f.Field.Key, From: f.From.Where(), Value: f.Value, Default: f.Default, Required: f.Required,
			Problems: f.Problems}
		if f.Field.Type.String() == "password" && x.Value != nil {
			x.Value = Text(`"***"`)
		}
		g.Fields = append(g.Fields, x)
		wrong = append(wrong, f.Problems...)
	}
	if c.Timeless != "" {
		wrong = append([]string{c.Timeless}, wrong...)
	}
	g.Considered = c.Lacks // another action takes the event
	if len(wrong) > 0 {
		g.Passed, g.Says = false, strings.Join(wrong, " ")
	}
	return g
}
