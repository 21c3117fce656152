package destination

import (
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
)

// HistoryAfter is the age from which an event counts as history. History starts nothing at the partner unless the
// user asks for that.
const HistoryAfter = 24 * time.Hour

// Live says what an action starts at the partner right away, even for an old event, because the partner has no
// flag or endpoint that prevents it: messages to people, campaigns and flows, charges per message, deletions. Such
// an action sends old events only with the user's consent, see [Delivery.Live].
type Live struct {
	Does string // completes a sentence whose subject is the action: "posts a message that people are notified of"
	Docs string // the partner's URL that says so
	// Until is the age from which the partner itself starts nothing any more; 0: there is none.
	Until time.Duration
}

// LiveInfo is a Live and whether it is conditional, for documentation.
type LiveInfo struct {
	Live
	Sometimes bool // it depends on the event or on settings
}

// live is a Live whose condition is compiled for an opened destination.
type live struct {
	Live
	when *body.Test // nil: always
}

// Live declares what the action starts at the partner whatever the event's age, and the partner's URL that says so,
// instead of what the spec declares for all actions: see [Live]. With conditions it holds only where they do.
func (d *Declared) Live(does, docs string, when ...body.Cond) *Declared {
	d.live, d.liveWhen, d.quiet = Live{Does: does, Docs: docs}, when, false
	return d
}

// LiveUntil is the age of events from which what [Declared.Live] declares does not happen any more.
func (d *Declared) LiveUntil(age time.Duration) *Declared { d.live.Until = age; return d }

// Quiet says that this action starts nothing, though other actions of the partner do.
func (d *Declared) Quiet() *Declared { d.live, d.quiet = Live{}, true; return d }

// liveInfo is the action's Live, or the one of all actions.
func (d *Declared) liveInfo(all Live) LiveInfo {
	if d.live.Does == "" && !d.quiet {
		return LiveInfo{Live: all}
	}
	return LiveInfo{d.live, len(d.liveWhen) > 0}
}

// bindLive compiles it for an opened destination; nil: the action starts nothing.
func (d *Declared) bindLive(all Live, sc body.Scope) (*live, error) {
	l := d.liveInfo(all).Live
	if l.Does == "" {
		return nil, nil
	}
	out := &live{Live: l}
	if len(d.liveWhen) > 0 {
		t, err := sc.BindCond(body.All(d.liveWhen...))
		if err != nil {
			return nil, err
		}
		if out.when = t; t.Never() {
			return nil, nil
		}
	}
	return out, nil
}

// historyOf says whether an event is history, and how old it is. An event without a known time counts as history
// of any age.
func historyOf(ev *event.Event, now time.Time) (old bool, age time.Duration) {
	at, ok := ev.Timestamp()
	if !ok || now.IsZero() {
		return !ok, 0
	}
	age = now.Sub(at)
	return age > HistoryAfter, age
}

// Unasked says what an action would start for an old event, for the message to the user who has to allow it. place
// is where the event is in the input.
func Unasked(a *ActionPlan, ev *event.Event, place string) string {
	name, when := ev.ID(), "has no time that can be read, so that it may be of long ago"
	if name == "" {
		name = "at " + place
	}
	if at, ok := ev.Timestamp(); ok {
		when = "is of " + at.UTC().Format(time.RFC3339) + ", more than a day ago"
	}
	return "event " + Cut(name, 80) + " " + when + ", and " + a.Slug + " " + a.Live.Does
}
