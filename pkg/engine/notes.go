package engine

import (
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
)

// notes keeps what people are told about a lane's problems: the partner's last message, and one example for each
// reason. The lane's lock guards it.
type notes struct {
	// log writes a line of the run's log; nil: logging is off.
	log func(level slog.Level, what string, attrs ...slog.Attr)

	slug    string            // of the destination
	problem string            // the last message about something that was not accepted
	status  int               // of the last failure; 0: there was no answer
	failing bool              // the last request was not accepted, and will be retried
	refused int               // deliveries refused in a row
	like    map[string]string // for each reason to reject, one event and the message about it
	skips   map[string]string // for each reason to skip, one event and the message about it
	lacks   map[string]uint64 // how often each condition has kept events out of every action
	err     error             // of the machine
	live    string            // see LaneSummary.Live
}

// stuckAfter is the number of deliveries refused in a row from which a lane counts as making no progress, so that
// other lanes go first.
const stuckAfter = 1000

// stuck says whether the partner accepts nothing.
func (n *notes) stuck() bool { return n.refused >= stuckAfter }

// heard keeps the partner's message about something that it did not accept.
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

// which identifies an event for people: by the position of its record, and, while its text is kept, by what it is.
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
		name = root.Get("name") // the name of a page or screen
	}
	if kind == "" {
		return what
	}
	if name.Kind() == event.String && name.Text() != "" {
		kind += fmt.Sprintf(" %q", destination.Cut(name.Text(), 60))
	}
	return what + " (" + destination.Cut(kind, 100) + ")"
}

// rejected keeps an example of a rejected event for each reason, with the message.
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

// skipped keeps an example of a skipped event for each reason: where it is, and why it was skipped.
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

// mostLacks bounds how many conditions are counted. There are one or a few for each subscription and type of
// event.
const mostLacks = 64

// skipExamples returns the examples of skipped events. For events that no action subscribes to, it adds the
// condition that kept most of them out, if it was not the same for all.
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

// retry logs that deliveries of a request will be retried, and when.
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

// refusal is the message for a lane whose credentials the partner refuses.
func refusal(r *destination.Result) string {
	what := destination.Cut(r.Detail, 200) // the error text of a local destination
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
