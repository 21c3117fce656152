package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// Became is the outcome of an event at one destination of a run.
type Became struct {
	Run     string `json:"run"`
	Outcome string `json:"outcome"` // delivered, not sent, skipped, rejected, pending, in doubt, unknown
	Says    string `json:"says"`
	// Settled is the time by which it was settled, if that is known; zero: not known. Late are requests that were
	// accepted at a later attempt, and which may have contained the event.
	Settled time.Time     `json:"settled_by,omitzero"`
	Late    []engine.Late `json:"late,omitempty"`
	Letters []Letter      `json:"dead_letters,omitempty"` // of its rejected deliveries
}

// Letter is what a dead letter says about the reason.
type Letter struct {
	Destination string `json:"-"`
	Object      string `json:"-"`
	Line        int64  `json:"-"`
	Action      string `json:"action"`
	Reason      string `json:"reason"`
	Status      int    `json:"status,omitempty"`
	Attempts    int    `json:"attempts"`
	First       string `json:"first,omitempty"`
	Last        string `json:"last,omitempty"`
	Detail      string `json:"detail"`
	RedrivenBy  string `json:"redriven_by,omitempty"`

	name    letterName
	offset  int64
	element uint32
}

func letterOf(v event.Value) Letter {
	num := func(key string) int64 {
		n, _ := v.Get(key).Int()
		return n
	}
	text := func(key string) string { return v.Get(key).Text() }
	l := Letter{Destination: text("destination"), Action: text("action"), Reason: text("reason"), Detail: text("detail"),
		Status: int(num("status")), Attempts: int(num("attempts")), First: text("first"), Last: text("last"),
		Object: text("object"), Line: num("line"), name: nameOf(v), offset: num("offset")}
	if p, err := source.ParsePosition(text("position")); err == nil {
		l.element = p.Element
	}
	return l
}

// became adds to each explanation the outcome of its event in the run in a folder. src is the input as it is
// today.
func (w *World) became(ctx context.Context, j *Job, dir string, src source.Source, list []*Explanation) error {
	s, err := Standing(dir)
	if err != nil {
		return err
	}
	of, err := journal.Open(dir, nil, journal.Options{Now: w.Now, Redact: w.Redact})
	var busy *journal.BusyError
	if errors.As(err, &busy) {
		of, err = nil, nil // the dead letters can still be read
	}
	if err != nil {
		return err
	}
	if of != nil {
		defer func() { _ = of.Close() }() // nothing was written
	}
	history := readHistory(dir)
	doubts := w.doubts(j, dir, s)
	for i := range s.Destinations {
		d := &s.Destinations[i]
		letters, err := lettersFor(ctx, dir, d.Name, list)
		if err != nil {
			return err
		}
		for _, x := range list {
			k := slices.IndexFunc(x.Destinations, func(l *ExplainedLane) bool { return l.Name == d.Name })
			if k < 0 {
				continue
			}
			b := &Became{Run: s.Run, Letters: letters[x]}
			x.Destinations[k].Became = b
			b.tell(s, d, of, src, x, history)
			if len(b.Letters) == 0 && (b.Outcome == "delivered" || b.Outcome == "pending") {
				b.doubt(x.Destinations[k], doubts[d.Name])
			}
		}
	}
	for _, x := range list {
		for _, l := range x.Destinations {
			if l.Became == nil {
				l.Became = &Became{Run: s.Run, Outcome: "unknown", Says: "the run had no such destination"}
			}
		}
	}
	return nil
}

// doubts says, by destination, why today's explanation of an event may not be how the run treated it: the run had
// another configuration.
func (w *World) doubts(j *Job, dir string, s *engine.Summary) map[string]string {
	why := map[string]string{}
	kept, err := readIdentity(dir)
	meta := j.identity()
	seen := meta
	if err == nil {
		seen = w.see(kept, meta)
	}
	for i, d := range meta.Destinations {
		switch {
		case err != nil:
			why[d.Name] = "the run does not say what its configuration was"
		case kept.Input != hashOf(meta.input()) && !onlyTheLimit(kept.Identity, seen):
			why[d.Name] = "the run has read or selected something else: " +
				strings.Join(inputsThatDiffer(kept.Identity, seen), ", ")
		case j.Input.Bounds.Relative:
			why[d.Name] = "the range of times is another one every time"
		case kept.Identity.Transform != seen.Transform:
			why[d.Name] = "the run had another transform"
		case !hasDestination(kept, d.Name):
			why[d.Name] = "the run had another configuration of " + d.Name
		case changed(kept, d, seen.Destinations[i]) != "":
			why[d.Name] = "the run had another configuration of " + d.Name + ": " +
				changed(kept, d, seen.Destinations[i])
		case slices.ContainsFunc(s.Continued, func(c engine.Continued) bool { return c.Destination == d.Name }):
			why[d.Name] = "the configuration was changed in the middle of the run"
		}
	}
	return why
}

// changed names what has changed of a destination since the run; "": nothing.
func changed(k *keptIdentity, d, seen destinationIdentity) string {
	keys, _ := k.differs(d, seen)
	return strings.Join(keys, ", ")
}

// onlyTheLimit says whether two inputs differ only in their limit, which counts explanations here.
func onlyTheLimit(a, b identity) bool { return slices.Equal(inputsThatDiffer(a, b), []string{"limit"}) }

// doubt marks the outcome of a settled event as uncertain, if today's configuration does not tell how the run
// treated it.
func (b *Became) doubt(l *ExplainedLane, why string) {
	if why != "" {
		b.Outcome, b.Says = "unknown", "it is none of the run's dead letters, and "+why
		return
	}
	if b.Outcome != "delivered" || l.sent() {
		return
	}
	b.Outcome, b.Says = "not sent", "the run has settled it without sending anything, as above"
	for _, s := range l.Shown {
		switch r := s.Settled.Reason; r {
		case destination.Suppressed, destination.NoConsent, destination.TooOld, destination.TooNew:
			b.Outcome, b.Says = "unknown", fmt.Sprintf("the run has settled it, and it is no dead letter; "+
				"whether it was %s then, too, is not kept", r)
		}
	}
}

// lettersFor finds the dead letters of a destination that belong to one of the events.
func lettersFor(ctx context.Context, dir, name string, list []*Explanation) (map[*Explanation][]Letter, error) {
	letters, err := journal.Letters(dir, name)
	if err != nil || len(letters) == 0 {
		return nil, err
	}
	known, err := (&redriven{dir: redrivenDir(dir)}).read(name)
	if err != nil {
		return nil, err
	}
	found := map[*Explanation][]Letter{}
	err = eachLetter(ctx, letters, func(v event.Value) {
		l := letterOf(v)
		for _, x := range list {
			if l.Object == x.Object && l.offset == x.Offset && l.element == x.end.Element {
				l.RedrivenBy = known[l.name]
				found[x] = append(found[x], l)
			}
		}
	})
	return found, err
}

// tell determines the outcome of an event, which may have dead letters.
func (b *Became) tell(s *engine.Summary, d *engine.LaneSummary, of *journal.Run, src source.Source, x *Explanation,
	h *History,
) {
	if len(b.Letters) > 0 {
		b.Outcome, b.Says = "rejected", fmt.Sprintf("%d of its deliveries became dead letters", len(b.Letters))
		redriven := !slices.ContainsFunc(b.Letters, func(l Letter) bool { return l.RedrivenBy == "" })
		if redriven {
			b.Outcome, b.Says = "delivered", "it was rejected, and a redrive has delivered it since"
		}
		return
	}
	if of == nil {
		b.Outcome, b.Says = "unknown", "a process works on the run: it is not among the dead letters so far"
		return
	}
	at, ok := positionIn(of.Manifest(), src.Manifest(), x.end)
	if !ok {
		b.Outcome, b.Says = "unknown", fmt.Sprintf("the run has not read this object (%s), or not with these bytes", x.Object)
		return
	}
	state := of.Lane(d.Name).Resume()
	switch {
	case at.Compare(state.Mark.Position) <= 0:
		b.Outcome = "delivered"
		b.Says = fmt.Sprintf("the run has settled everything up to here, and this is none of its %d dead letters for %s "+
			"(%d requests, %d of them retries)", d.Letters, d.Name, d.Requests, d.Retries)
		if sameBefore(of.Manifest(), src.Manifest(), at) && at == x.end {
			b.course(h.Courses[d.Name], x.ordinal, h.whole())
		}
	case state.UnderWay():
		b.above(state, x, at)
	default:
		b.Outcome, b.Says = "pending", "the run has not come to it yet at this destination"
		if d.Stopped != "" {
			b.Says += ", which has stopped: " + d.Stopped
		}
	}
	if s.Status == Complete && b.Outcome == "pending" {
		b.Outcome, b.Says = "unknown",
			"the run was complete before this record was in the input, or its limit ended before it"
	}
}

// course finds when an event was settled and at which attempt, if the run's course knows. whole: the course is
// complete.
func (b *Became) course(c *engine.Course, ordinal uint64, whole bool) {
	if c == nil {
		return
	}
	width := time.Duration(float64(c.Width) * float64(time.Second))
	if i := slices.IndexFunc(c.Slots, func(s engine.Slot) bool { return s.Mark > ordinal }); i >= 0 {
		b.Settled = c.Start.Add(time.Duration(i+1) * width)
		b.Says += "; it was settled by " + b.Settled.UTC().Format(time.DateTime)
	}
	for i := range c.Late {
		l := &c.Late[i]
		if ordinal < l.From || ordinal > l.To {
			continue
		}
		b.Late = append(b.Late, *l)
	}
	if len(b.Late) == 0 && whole && !b.Settled.IsZero() {
		b.Says += ", and was taken the first time"
	}
}

// sameBefore says whether the input before a position is the same today as in the manifest of a run, so that
// events have the same numbers.
func sameBefore(objects []source.Object, today *source.Manifest, at source.Position) bool {
	for i := range int(at.Object) {
		if i >= len(objects) || i >= today.Len() || objects[i].Fingerprint != today.At(i).Fingerprint {
			return false
		}
	}
	return true
}

// above determines the outcome of an event after the mark, where the journal knows each delivery.
func (b *Became) above(state *journal.State, x *Explanation, at source.Position) {
	b.Outcome, b.Says = "pending", "it waits for its turn, or for another attempt"
	if at != x.end {
		return // today's reading may number it differently than the run did
	}
	for k := range uint32(64) {
		id := journal.DeliveryID{Ordinal: x.ordinal, K: k}
		if v, ok := state.Settled(id); ok {
			b.Outcome = map[journal.Outcome]string{journal.Delivered: "delivered", journal.Skipped: "skipped",
				journal.Rejected: "rejected"}[v.Outcome]
			b.Says = "settled ahead of others that are still pending"
			if v.Reason != "" {
				b.Says += ": " + v.Reason
			}
		} else if state.Doubted(id) {
			b.Outcome, b.Says = "in doubt", "it was on its way when the process ended: nobody knows whether the partner has it"
			return
		}
	}
}

// positionIn translates a position of today's reading to the manifest of a run; false: the run does not know the
// object, or the object has other bytes now.
func positionIn(objects []source.Object, today *source.Manifest, at source.Position) (source.Position, bool) {
	now := today.At(int(at.Object))
	for _, named := range []bool{true, false} { // a rotated file has another name
		for i, o := range objects {
			if (o.Name == now.Name || !named) && o.Fingerprint == now.Fingerprint {
				at.Object = uint32(i)
				return at, true
			}
		}
	}
	return at, false
}
