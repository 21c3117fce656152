package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
)

// VerdictOptions say how long a lane goes on with what is not accepted.
type VerdictOptions struct {
	Attempts int           // of one delivery; 0: 8
	MaxTime  time.Duration // of one delivery, from its first attempt; 0: 15 min
	// MaxErrors is how many events in a row may be rejected with the same answer of the
	// partner, with nothing accepted, before the lane stops; 0: 1,000, less: any number.
	MaxErrors int
	// Outage is for how long a partner may fail everything before that counts against what is sent:
	// until then no delivery is given up, and none of its attempts counts. 0: not at all. It is for
	// input that is followed, which waits, where an archive is to be done some time.
	Outage time.Duration
}

func (o VerdictOptions) withDefaults() VerdictOptions {
	if o.Attempts <= 0 {
		o.Attempts = 8
	}
	if o.MaxTime <= 0 {
		o.MaxTime = 15 * time.Minute
	}
	if o.MaxErrors == 0 {
		o.MaxErrors = 1000
	}
	return o
}

// verdicts owns what the partner's answers mean for a lane's deliveries. It is the only
// place where a delivery is rejected or given up. The lane's lock guards it, but for
// writing dead letters of what Route has rejected.
type verdicts struct {
	opt    Options
	ledger *ledger
	memory *memory
	queue  *queue
	notes  *notes
	letter letterFunc
	jitter func() float64
	start  time.Time        // of the engine
	stop   func(why string) // ends the lane
	late   func(Late)       // is told what was taken at a later attempt than the first

	down outage

	same destination.Result // what was said of the last ones that were rejected: status and reason
	row  int                // events in a row of which it was said
	full bool               // there were too many of them: nothing more is rejected
}

// decision is what the journal has to be told of one request.
type decision struct {
	verdicts []journal.Verdict
	dead     []journal.DeadLetter
}

// reject makes a dead letter of a delivery. Every rejection comes through here.
func (v *verdicts) reject(d *decision, w *work, r destination.Result) {
	d.verdicts = append(d.verdicts, journal.Verdict{ID: w.id, Outcome: journal.Rejected, Reason: string(r.Reason)})
	d.dead = append(d.dead, v.letter(w, r))
}

// mayReject says whether a delivery may be rejected for what the partner has said, and counts
// it: it stops the lane when it is one too many. Events in a
// row that are rejected with the same answer, while nothing is accepted, are the fault of
// an address, a setting or a mapping, not of the events: after so many of them, and not
// one more, the lane stops, and the rest stays pending.
func (v *verdicts) mayReject(w *work, r destination.Result) bool {
	if v.full {
		return false
	}
	if r.Status != v.same.Status || r.Reason != v.same.Reason {
		v.same, v.row = r, 0
	}
	if !w.ev.counted {
		w.ev.counted = true
		v.row++
	}
	if v.opt.MaxErrors > 0 && v.row >= v.opt.MaxErrors {
		v.full = true
		what := destination.Cut(r.Detail, 200)
		if r.Status != 0 {
			what = strings.TrimSuffix(fmt.Sprintf("status %d: %s", r.Status, what), ": ")
		}
		const why = "%d events in a row were rejected with the same answer (%s); --max-errors allows more"
		v.stop(fmt.Sprintf(why, v.row, what))
	}
	return true
}

// accepted notes that the partner has taken something.
func (v *verdicts) accepted() { v.row = 0 }

// deadLetter tells the journal what Route has rejected, in steps, and calls between after
// each. That is most of the work of a lane that gets nowhere, so it is done without
// the lock; accept settles the deliveries.
func (v *verdicts) deadLetter(lb *laneBlock, between func()) error {
	var d decision
	size := 0
	for i := range lb.works {
		w := &lb.works[i]
		if w.d.Settled == nil || w.d.Settled.Outcome != destination.Rejected {
			continue
		}
		if _, ok := v.ledger.earlier(w.id); ok {
			continue
		}
		v.reject(&d, w, *w.d.Settled)
		// Steps are short, so that those who may go first need not wait.
		if size += len(w.ev.raw); size >= 48<<10 || len(d.dead) == 200 {
			if err := v.ledger.j.Settle(d.verdicts, d.dead); err != nil {
				return err
			}
			d.verdicts, d.dead, size = d.verdicts[:0], d.dead[:0], 0 // the journal keeps neither
			between()
		}
	}
	if len(d.dead) == 0 {
		return nil
	}
	return v.ledger.j.Settle(d.verdicts, d.dead)
}

// routed settles what Route has decided about a delivery; false: it has decided nothing.
func (v *verdicts) routed(w *work) bool {
	r := w.d.Settled
	switch {
	case r == nil:
		return false
	case r.Outcome == destination.Rejected:
		v.settle(w, journal.Rejected, string(r.Reason)) // deadLetter has told the journal
		v.notes.refused++
		v.notes.rejected(w.ev, *r)
	default:
		v.notes.skipped(w.ev, r.Reason, r.Detail)
		v.settle(w, journal.Skipped, string(r.Reason))
	}
	return true
}

// settle notes the outcome of a delivery, and what that means for the next step of its
// event, if one waits for it.
func (v *verdicts) settle(w *work, o journal.Outcome, reason string) {
	next := v.ledger.settle(w, o, reason)
	if next == nil {
		return
	}
	v.queue.waiting--
	if o == journal.Rejected {
		v.block(next)
		return
	}
	v.queue.steps = append(v.queue.steps, next) // finish sends it
}

// block rejects a step whose earlier step was rejected.
func (v *verdicts) block(w *work) {
	r := destination.Result{
		Outcome: destination.Rejected,
		Reason:  destination.Blocked,
		Detail:  "an earlier step of the same event was rejected",
	}
	var d decision
	v.notes.rejected(w.ev, r)
	v.reject(&d, w, r)
	if err := v.ledger.j.Settle(d.verdicts, d.dead); err != nil {
		v.notes.fail(err)
	}
	v.memory.drop(w)
	v.settle(w, journal.Rejected, string(r.Reason))
}

// answered settles the deliveries of a request that are settled, and puts the rest
// back.
func (v *verdicts) answered(req uint64, b *batch, rs []destination.Result, hopeless bool, now time.Time) error {
	def := journal.Requeued
	for i := range rs {
		if rs[i].Outcome == destination.Delivered {
			def = journal.Delivered
			break
		}
	}
	var d decision
	var again []*work
	var due time.Time
	late := Late{Attempts: b.tries + 1, Taken: now, Said: b.said}
	for i, w := range b.works {
		r := &rs[i]
		v.tried(w, r, now)
		last, outcome := v.judge(w, *r, hopeless, now)
		if outcome == journal.Rejected && !v.mayReject(w, last) {
			outcome = journal.Requeued // stays pending
		}
		switch outcome {
		case journal.Requeued:
			again = append(again, w)
			if r.Reason != destination.Unauthorized {
				if t := now.Add(max(backoff(int(w.attempts), v.jitter()), r.RetryAfter)); t.After(due) {
					due = t
				}
			}
			if outcome != def {
				d.verdicts = append(d.verdicts, journal.Verdict{ID: w.id, Outcome: outcome})
			}
			continue
		case journal.Rejected:
			v.notes.rejected(w.ev, last)
			v.reject(&d, w, last)
		case journal.Delivered:
			v.ledger.sent++
			last.Reason = ""
			late.see(w, v.start.Add(w.first))
			fallthrough
		default:
			v.accepted()
			if outcome != def {
				d.verdicts = append(
					d.verdicts,
					journal.Verdict{ID: w.id, Outcome: outcome, Reason: string(last.Reason)},
				)
			}
		}
		v.memory.drop(w)
		v.settle(w, outcome, string(last.Reason))
	}
	if err := v.ledger.j.End(req, def, "", d.verdicts, d.dead); err != nil {
		return err
	}
	var rest *batch
	if len(again) > 0 {
		rest = v.queue.retry(b, again, due)
		rest.said = saidOf(rs)
		v.notes.retry(again, rs, due, now)
	}
	if b.tries > 0 && late.Deliveries > 0 {
		v.late(late)
	}
	v.queue.finish(b, rest, b.works)
	return nil
}

// outage is that a partner accepts nothing.
type outage struct {
	is    bool          // it does not, and not for too long
	since time.Duration // the engine started
	sure  bool          // so often that it is not one delivery alone that fails
}

// spares says that an attempt does not count: nothing was accepted since the delivery was first tried.
// A delivery that fails while others are accepted has no such excuse.
func (o outage) spares(w *work) bool {
	return o.is && (o.sure || w.first == 0 || w.first >= o.since)
}

// see counts a delivery that was taken.
func (l *Late) see(w *work, first time.Time) {
	if l.Deliveries == 0 {
		l.From, l.To, l.First = w.id.Ordinal, w.id.Ordinal, first
	}
	l.From, l.To, l.Deliveries = min(l.From, w.id.Ordinal), max(l.To, w.id.Ordinal), l.Deliveries+1
	if first.Before(l.First) {
		l.First = first
	}
}

// saidOf is why the first delivery of a request that is sent again was not taken.
func saidOf(rs []destination.Result) string {
	for i := range rs {
		if r := &rs[i]; r.Outcome == destination.Retry {
			if r.Status != 0 {
				return destination.Cut(strings.TrimSuffix(fmt.Sprintf("status %d: %s", r.Status, r.Detail), ": "), 200)
			}
			return destination.Cut(r.Detail, 200)
		}
	}
	return ""
}

// tried counts an attempt.
func (v *verdicts) tried(w *work, r *destination.Result, now time.Time) {
	spared := v.down.spares(w)
	if w.attempts == 0 || spared {
		w.first = now.Sub(v.start)
	}
	if spared {
		return
	}
	if !(r.Outcome == destination.Retry && (r.Reason == destination.RateLimited || r.Reason == destination.Unauthorized)) {
		w.attempts++ // being told to wait is no attempt
	}
}

// spent says that the budget of a delivery is used up.
func (v *verdicts) spent(w *work, attempts int, now time.Time) bool {
	return !v.down.spares(w) && (attempts >= v.opt.Attempts || now.Sub(v.start)-w.first >= v.opt.MaxTime)
}

// judge says what becomes of one delivery after an answer: Requeued when it is sent
// again. hopeless: the partner has failed everything for so long that a failure is the
// last one.
func (v *verdicts) judge(
	w *work, r destination.Result, hopeless bool, now time.Time,
) (destination.Result, journal.Outcome) {
	switch r.Outcome {
	case destination.Delivered:
		return r, journal.Delivered
	case destination.Skipped:
		return r, journal.Skipped
	case destination.Rejected:
		return r, journal.Rejected
	}
	if r.Reason == destination.Unauthorized || !hopeless && !v.spent(w, int(w.attempts), now) {
		return r, journal.Requeued
	}
	r.Reason = destination.Exhausted
	took := (now.Sub(v.start) - w.first).Round(time.Millisecond)
	r.Detail = fmt.Sprintf("given up after %s in %s; the last: %s", attempts(int(w.attempts)), took, r.Detail)
	return r, journal.Rejected
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}

// giveUp rejects deliveries that the partner was not asked about one by one, with what
// it said of all of them.
func (v *verdicts) giveUp(b *batch, r destination.Result) error {
	v.notes.rejected(b.works[0].ev, r)
	var d decision
	var out []*work
	for _, w := range b.works {
		if v.mayReject(w, r) {
			v.reject(&d, w, r)
			out = append(out, w)
		}
	}
	if err := v.ledger.j.Settle(d.verdicts, d.dead); err != nil {
		return err
	}
	for _, w := range out {
		v.memory.drop(w)
		v.settle(w, journal.Rejected, string(r.Reason))
	}
	if len(out) == len(b.works) { // else the lane ends
		v.queue.finish(b, nil, b.works)
	}
	return nil
}

// letterFunc makes the dead letter of a delivery.
type letterFunc func(*work, destination.Result) journal.DeadLetter

// letterOf makes the dead letter of a delivery of a lane.
func letterOf(c *LaneConfig, plan *destination.Plan, start time.Time, now func() time.Time) letterFunc {
	return func(w *work, r destination.Result) journal.DeadLetter {
		slug := ""
		if int(w.d.Action) < len(plan.Actions) {
			slug = plan.Actions[w.d.Action].Slug
		}
		d := journal.DeadLetter{
			Raw: w.ev.raw, Valid: true, Destination: c.Name, Type: c.Type, Action: slug, Step: int(w.d.Step), K: w.id.K,
			Reason: string(r.Reason), Detail: destination.Cut(r.Detail, 2000), Status: r.Status,
			Attempts: int(w.attempts), Position: w.ev.end, Object: w.ev.b.object, Offset: w.ev.offset, Line: w.ev.line,
			Ordinal: w.id.Ordinal, InsertID: w.d.InsertID,
		}
		if w.attempts > 0 {
			d.Last = now()
			d.First = d.Last.Add(w.first - d.Last.Sub(start)) // as the clock stands now
		}
		if c.Letter != nil {
			c.Letter(&d)
		}
		return d
	}
}
