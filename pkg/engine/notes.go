package engine

import (
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
)

// notes owns what people are told of a lane's trouble: the partner's last words, and
// one example of each reason. The lane's lock guards it.
type notes struct {
	// log writes a line of the run's log; nil: nobody reads.
	log func(level slog.Level, what string, attrs ...slog.Attr)

	slug    string            // of the destination
	problem string            // what was said last of something that was not accepted
	status  int               // of the last failure; 0: there was no answer
	failing bool              // the last request was not accepted, and is tried again
	refused int               // deliveries in a row without one accepted
	like    map[string]string // of each reason to reject, one event and what was said of it
	skips   map[string]string // of each reason to skip, one event and what was said of it
	lacks   map[string]uint64 // how often which condition has kept events from all actions
	err     error             // of the machine
	live    string            // see LaneSummary
}

// stuckAfter is after how many deliveries in a row without one accepted a lane is taken
// to get nowhere: others come first then.
const stuckAfter = 1000

// stuck says that the partner takes nothing.
func (n *notes) stuck() bool { return n.refused >= stuckAfter }

// heard keeps what the partner said of something that it did not accept.
func (n *notes) heard(r *destination.Result) {
	n.status = r.Status
	what := destination.Cut(r.Detail, 200)
	if what == "" {
		return
	}
	n.problem = what
	if r.Status != 0 {
		n.problem = fmt.Sprintf("status %d: %s", r.Status, what)
	}
}

// which names an event: where its record is, and, while its text is kept, what it is.
func which(le *laneEvent) string {
	what := fmt.Sprintf("%s, offset %d", le.b.object, le.offset)
	if le.line > 0 {
		what = fmt.Sprintf("%s, line %d", le.b.object, le.line)
	}
	ev, err := event.Parse(le.raw)
	if le.raw == nil || err != nil {
		return what
	}
	root := ev.Root()
	if inner := root.Get("event"); inner.Kind() == event.Object && root.Get("dead_letter").Exists() {
		root = inner // a dead letter that is sent again
	}
	kind, name := root.Get("type").Text(), root.Get("event")
	if name.Kind() != event.String || name.Text() == "" {
		name = root.Get("name") // of a page or a screen
	}
	if kind == "" {
		return what
	}
	if name.Kind() == event.String && name.Text() != "" {
		kind += fmt.Sprintf(" %q", destination.Cut(name.Text(), 60))
	}
	return what + " (" + destination.Cut(kind, 100) + ")"
}

// rejected keeps what was said of a rejected event, one for each reason.
func (n *notes) rejected(le *laneEvent, r destination.Result) {
	reason := string(r.Reason)
	if n.like[reason] != "" {
		return
	}
	what := which(le)
	if r.Status != 0 {
		what += fmt.Sprintf(": status %d", r.Status)
	}
	if r.Detail != "" {
		what += ": " + destination.Cut(r.Detail, 200)
	}
	if n.like == nil {
		n.like = map[string]string{}
	}
	n.like[reason] = what
}

// skipped keeps where one of the skipped events is, and why it was skipped, for each
// reason.
func (n *notes) skipped(le *laneEvent, reason destination.Reason, detail string) {
	if reason == destination.Unsupported && (n.lacks[detail] > 0 || len(n.lacks) < mostLacks) {
		if n.lacks == nil {
			n.lacks = map[string]uint64{}
		}
		n.lacks[detail]++
	}
	if n.skips[string(reason)] != "" {
		return
	}
	what := which(le)
	if detail != "" {
		what += ": " + destination.Cut(detail, 200)
	}
	if reason == destination.Unsupported && n.slug != "" {
		what += fmt.Sprintf("; see `fanfold destinations show %s`", n.slug)
	}
	if n.skips == nil {
		n.skips = map[string]string{}
	}
	n.skips[string(reason)] = what
}

// mostLacks bounds the conditions that are counted: there is one for each subscription and
// type of event, or a few.
const mostLacks = 64

// skipExamples are the examples of skipped events. Of those that no action is subscribed to it is
// also said what has kept most of them out, where that is not the same for all.
func (n *notes) skipExamples() map[string]string {
	out := maps.Clone(n.skips)
	if len(n.lacks) < 2 {
		return out
	}
	most, all := "", uint64(0)
	for what, count := range n.lacks {
		all += count
		if count > n.lacks[most] || count == n.lacks[most] && what < most {
			most = what
		}
	}
	if most != "" {
		out[string(destination.Unsupported)] += fmt.Sprintf("; most often (%d of %d): %s", n.lacks[most], all,
			destination.Cut(most, 200))
	}
	return out
}

// retry says that deliveries of a request are tried again, and when.
func (n *notes) retry(again []*work, rs []destination.Result, due, now time.Time) {
	if n.log == nil {
		return
	}
	r := rs[0]
	for i := range rs {
		if rs[i].Outcome == destination.Retry {
			r = rs[i]
			break
		}
	}
	n.log(
		slog.LevelInfo,
		LogRetry,
		slog.String("why", destination.Cut(r.Detail, 200)),
		slog.String("reason", string(r.Reason)),
		slog.Int("status", r.Status),
		slog.Int("deliveries", len(again)),
		slog.Int("attempts", int(again[0].attempts)),
		slog.Duration("in", max(due.Sub(now), 0)),
	)
}

// fail keeps an error of the machine, which ends the lane.
func (n *notes) fail(err error) {
	if n.err == nil {
		n.err = err
	}
}

// refusal is what is said of a lane whose credentials the partner refuses.
func refusal(r *destination.Result) string {
	what := destination.Cut(r.Detail, 200) // a local destination's own words
	if r.Status == 0 && what != "" {
		return what
	}
	what = "the partner refused the credentials"
	if r.Status != 0 {
		what += fmt.Sprintf(" (status %d)", r.Status)
	}
	if r.Detail != "" {
		what += ": " + destination.Cut(r.Detail, 200)
	}
	return what
}
