package run

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/suppress"
	"github.com/fanfold/fanfold/pkg/transform"
)

// redriver routes dead letters. For each letter it sends only the delivery that was given up, as its destination
// would route it today.
type redriver struct {
	destination.Sender
	name    string
	reasons []string
	filter  *filter.Filter
	since   time.Time
	plan    *destination.Plan
	steps   *transform.Pipeline // the user's steps, except those that depend on the position in the input
	changed bool                // the destination's actions have changed since the letters were written
	done    map[letterName]bool // delivered by earlier redrives

	rules    normalize.Rules
	suppress *suppress.Set
	skip     bool // skip events without a time
	consent  []string
	workers  sync.Pool // for the transform steps
}

// transformed is the event after the user's transform steps; nil: they drop it.
func (r *redriver) transformed(ev *event.Event) (*event.Event, error) {
	if r.steps.Empty() {
		return ev, nil
	}
	w, _ := r.workers.Get().(*transform.Worker)
	if w == nil {
		w = new(transform.Worker)
	}
	defer r.workers.Put(w)
	out, dropped, err := r.steps.Apply(w, ev, source.Position{})
	if err != nil || dropped != "" || out == nil {
		if dropped != "" {
			ev = nil
		}
		return ev, err
	}
	if ev, err = event.Parse(bytes.Clone(out)); err != nil {
		return nil, err
	}
	return r.rules.Event(nil, ev)
}

// Plan is the destination's plan, except for what concerns the content of events.
func (r *redriver) Plan() *destination.Plan { return r.plan }

// Route sends the delivery that a letter is about.
func (r *redriver) Route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	letter := innermost(ev.Root())
	settle := func(o destination.Outcome, reason destination.Reason, why string) {
		out.List = append(out.List,
			destination.Delivery{Settled: &destination.Result{Outcome: o, Reason: reason, Detail: why}})
	}
	if reason, why := r.passedOver(letter); why != "" {
		settle(destination.Skipped, reason, why)
		return
	}
	inner, err := event.Parse(textOf(letter))
	if err == nil {
		inner, err = r.rules.Event(nil, inner)
	}
	if err == nil && !r.filter.Match(inner.Root()) {
		settle(destination.Skipped, destination.NotSelected, "--filter does not match")
		return
	}
	own := *env
	own.Consent = r.consent
	if err == nil {
		own.Suppressed = r.suppress.Has(inner)
		inner, err = r.transformed(inner)
	}
	if err != nil {
		settle(destination.Rejected, destination.Invalid, err.Error())
		return
	}
	if inner == nil {
		settle(destination.Skipped, destination.Unneeded, "the transform drops it")
		return
	}
	if _, dated := inner.Timestamp(); r.skip && !dated {
		settle(destination.Skipped, destination.NoTime, "--undated skip")
		return
	}
	own.Suppressed = own.Suppressed || r.suppress.Has(inner)
	if verdict, ok := own.Admit(inner); !ok {
		out.List = append(out.List, destination.Delivery{Settled: &verdict})
		return
	}
	// The insert id of an event without a messageId, without the suffix that distinguishes the event's deliveries.
	own.Fallback, _, _ = strings.Cut(letter.Get("insert_id").Text(), ":")
	from := len(out.List)
	r.Sender.Route(inner, &own, out)
	made := out.List[from:]
	if len(made) == 1 && made[0].Settled != nil && made[0].InsertID == "" {
		return // the event no longer leads to this delivery
	}
	i, several := r.pick(letter, made)
	switch {
	case i < 0:
		out.List = out.List[:from]
		settle(destination.Rejected, destination.Invalid, "today's settings make no such delivery of it")
	case several && r.changed:
		out.List = out.List[:from]
		settle(destination.Rejected, destination.Invalid,
			"the actions have changed since, and which of several deliveries it is cannot be told")
	default:
		d := made[i]
		d.Wait = false
		out.List = append(out.List[:from], d)
	}
}

// passedOver says why a letter is not sent; "": it is.
func (r *redriver) passedOver(letter event.Value) (reason destination.Reason, why string) {
	switch last, ok := event.ParseTime(letter.Get("last")); {
	case !letter.Get("destination").IsText(r.name):
		return destination.NotSelected, "it is a dead letter of another destination"
	case len(r.reasons) > 0 && !slices.Contains(r.reasons, letter.Get("reason").Text()):
		return destination.NotSelected, "--reason names another reason"
	case !r.since.IsZero() && (!ok || last.Before(r.since)):
		return destination.NotSelected, "its last attempt was before --since"
	case r.done[nameOf(letter)]:
		return destination.Redriven, "an earlier redrive has delivered it"
	}
	return "", ""
}

// pick returns the index of the delivery that a letter is about: the one with the same action and step. several:
// more than one delivery could be meant. -1: none.
func (r *redriver) pick(letter event.Value, made []destination.Delivery) (found int, several bool) {
	k, _ := letter.Get("k").Int()
	step, _ := letter.Get("step").Int()
	action := letter.Get("action").Text()
	found = -1
	for i, d := range made {
		slug := ""
		if int(d.Action) < len(r.plan.Actions) {
			slug = r.plan.Actions[d.Action].Slug
		}
		if slug != action || int64(d.Step) != step {
			continue
		}
		several = several || found >= 0
		if found < 0 || i == int(k) {
			found = i
		}
	}
	return found, several
}

// innermost unwraps a dead letter: redrives of older versions wrapped one letter in another.
func innermost(letter event.Value) event.Value {
	for range 100 {
		inner := letter.Get("event")
		if !isLetter(inner) {
			break
		}
		letter = inner
	}
	return letter
}

func isLetter(v event.Value) bool {
	n, _ := v.Get("dead_letter").Int()
	return n == 1 && v.Get("run").Exists() && v.Get("destination").Exists() && v.Get("ordinal").Exists() &&
		v.Get("k").Exists() && v.Get("insert_id").Exists() && (v.Get("event").Exists() || v.Get("event_base64").Exists())
}

// eventOf is the event in a record that is a dead letter. Its user counts where order matters.
func eventOf(ev *event.Event) *event.Event {
	if inner, err := event.Parse(textOf(innermost(ev.Root()))); err == nil {
		return inner
	}
	return ev
}

// textOf is the text of the event in a dead letter.
func textOf(letter event.Value) []byte {
	if v := letter.Get("event"); v.Exists() {
		return v.Raw()
	}
	text, err := base64.StdEncoding.DecodeString(letter.Get("event_base64").Text())
	if err != nil {
		return nil // which is no event
	}
	return text
}

// original makes the dead letter of a letter that was refused again one of the event itself, with its position in
// the original input, so that it can be sent again like the first one.
func original(d *journal.DeadLetter) {
	ev, err := event.Parse(d.Raw)
	if err != nil || !isLetter(ev.Root()) {
		return
	}
	letter := innermost(ev.Root())
	num := func(key string) int64 {
		n, _ := letter.Get(key).Int()
		return n
	}
	d.Raw, d.Valid = textOf(letter), false
	d.Object, d.Offset, d.Line = letter.Get("object").Text(), num("offset"), num("line")
	d.Ordinal, d.K, d.Step = uint64(num("ordinal")), uint32(num("k")), int(num("step"))
	d.Action, d.InsertID = letter.Get("action").Text(), letter.Get("insert_id").Text()
	d.Attempts += int(num("attempts"))
	if p, err := source.ParsePosition(letter.Get("position").Text()); err == nil {
		d.Position = p
	}
	if t, ok := event.ParseTime(letter.Get("first")); ok {
		d.First = t
	}
}
