package destination

import (
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
)

// HistoryAfter is how old an event has to be to be history: at the partner it starts
// nothing, unless the user asks for that.
const HistoryAfter = 24 * time.Hour

// Live says what an action does at the partner now, also for an event of long ago, for which
// the partner has no flag or endpoint that would keep it from it: messages to people, campaigns
// and flows, what is billed by message, deletions. An old event for such an action needs the
// user's word, see [Delivery.Live].
type Live struct {
	Does string // ends a sentence that begins with the action: "posts a message that people are notified of"
	Docs string // the partner's URL that says so
	// Until is the age from which on the partner itself starts nothing; 0: there is none.
	Until time.Duration
}

// LiveInfo is a Live with what it hangs on, for documentation.
type LiveInfo struct {
	Live
	Sometimes bool // it hangs on the event or on settings
}

// live is a Live in its action's scope.
type live struct {
	Live
	when *body.Test // nil: always
}

// Live declares what the action does at the partner whatever the event's age, instead of what
// the spec declares for all. With conditions it does so only where they hold.
func (d *Declared) Live(l Live, when ...body.Cond) *Declared {
	d.live, d.liveWhen, d.quiet = l, when, false
	return d
}

// Quiet says that the action starts nothing, though others of the partner do.
func (d *Declared) Quiet() *Declared { d.live, d.quiet = Live{}, true; return d }

// liveInfo is the action's Live, or the one of all actions.
func (d *Declared) liveInfo(all Live) LiveInfo {
	if d.live.Does == "" && !d.quiet {
		return LiveInfo{Live: all}
	}
	return LiveInfo{d.live, len(d.liveWhen) > 0}
}

// bindLive is that in the action's scope; nil: it starts nothing.
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

// historyOf says whether an event is history, and how old it is. One that nobody knows the
// time of may be of any age.
func historyOf(ev *event.Event, now time.Time) (old bool, age time.Duration) {
	at, ok := ev.Timestamp()
	if !ok || now.IsZero() {
		return !ok, 0
	}
	age = now.Sub(at)
	return age > HistoryAfter, age
}

// Unasked says what an action would do for an event of long ago, for whoever has to ask for it.
// place is where the event lies.
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
