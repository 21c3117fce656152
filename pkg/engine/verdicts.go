package engine

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
)

// VerdictOptions limit how long a lane retries what is not accepted.
type VerdictOptions struct {
	Attempts int // of one delivery; 0: as the partner declares, else 8
	// MaxTime is that of one delivery, from its first attempt; 0: as the partner declares, else 15 min. What a partner
	// does not take because there was too much (429) is not given up for that, and the time that is waited then does not
	// count: if the user has set MaxTime, the lane stops once the partner has said so for that long.
	MaxTime time.Duration
	// MaxErrors is how many events in a row may be rejected with the same answer, while nothing is accepted,
	// before the lane stops; 0: 1,000, negative: no limit.
	MaxErrors int
	// Outage is how long a partner may fail everything before that counts against the deliveries: until then none
	// is given up, and no attempt counts. 0: failures count at once. It is for followed input, which can wait; an
	// archive should be finished some time.
	Outage time.Duration

	later time.Duration // MaxTime, if the user has set it
	waits waits         // the partner's
}

// WithDefaults fills in what the user has left open: what the partner declares, or else the engine's own numbers. It is
// the only place that knows them.
func (o VerdictOptions) WithDefaults(r destination.Retries) VerdictOptions {
	o.later, o.waits = o.MaxTime, waits{r.First, r.Longest}
	if o.Attempts <= 0 {
		o.Attempts = cmp.Or(r.Attempts, 8)
	}
	if o.MaxTime <= 0 {
		o.MaxTime = cmp.Or(r.MaxTime, 15*time.Minute)
	}
	if o.MaxErrors == 0 {
		o.MaxErrors = 1000
	}
	return o
}

// verdicts decides what the partner's answers mean for a lane's deliveries. It is the only place where a delivery
// is rejected or given up. The lane's lock guards it, except while dead letters are written for what Route has
// rejected.
type verdicts struct {
	opt    Options
	ledger *ledger
	memory *memory
	queue  *queue
	notes  *notes
	letter letterFunc
	jitter func() float64
	start  time.Time               // of the engine
	pauses *pauses                 // the pacer's
	stop   func(why, until string) // ends the lane; until completes "once …"
	late   func(Late)              // called with what was accepted at a later attempt than the first

	down outage

	same destination.Result // status and reason of the last rejections
	row  int                // events in a row that were rejected with it
	full bool               // there were too many: nothing more is rejected
}

// decision is what has to be written to the journal about one request.
type decision struct {
	first    time.Duration // see past.first
	verdicts []journal.Verdict
	dead     []journal.DeadLetter
}

// reject makes a dead letter of a delivery. Every rejection passes through here, those of Route without the lane's lock
// (see deadLetter), so this is no place to count: [verdicts.mayReject] counts the partner's answers, the ledger all.
func (v *verdicts) reject(d *decision, w *work, r destination.Result) {
	d.verdicts = append(d.verdicts, journal.Verdict{ID: w.id, Outcome: journal.Rejected, Reason: string(r.Reason)})
	d.dead = append(d.dead, v.letter(w, r, d.first))
}

// mayReject says whether a delivery may be rejected because of the partner's answer, and counts it. Many events in
// a row that are rejected with the same answer, while nothing is accepted, point to a wrong address, setting or
// mapping, not to bad events. So after MaxErrors of them the lane stops, and the rest stays pending.
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
		v.stop(fmt.Sprintf("%d events in a row were rejected with the same answer (%s)", v.row, what),
			"its cause is mended, or --max-errors allows more")
	}
	return true
}

// accepted notes that the partner has accepted something.
func (v *verdicts) accepted() { v.row = 0 }

// deadLetter writes what Route has rejected to the journal, in steps, and calls between after each. In a lane that
// makes no progress this is most of the work, so it is done without the lock; accept settles the deliveries.
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
		// Steps are short, so that urgent work need not wait long.
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

// routed settles a delivery that Route has decided; false: Route has left it open.
func (v *verdicts) routed(w *work) bool {
	r := w.d.Settled
	switch {
	case r == nil:
		return false
	case r.Outcome == destination.Rejected:
		v.settle(w, journal.Rejected, string(r.Reason)) // deadLetter has written it to the journal
		v.notes.refused++
		v.notes.rejected(w.ev, *r)
	default:
		v.notes.skipped(w.ev, r.Reason, r.Detail)
		v.settle(w, journal.Skipped, string(r.Reason))
	}
	return true
}

// settle notes the outcome of a delivery, and handles the next step of its event, if one waits for it.
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
	v.queue.steps = append(v.queue.steps, next) // finish queues it
}

// block rejects a step because an earlier step was rejected.
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

// answered settles the deliveries of a request whose result is final, and puts the others back into the queue.
func (v *verdicts) answered(req uint64, b *batch, rs []destination.Result, hopeless bool, now time.Time) error {
	def := journal.Requeued
	for i := range rs {
		if rs[i].Outcome == destination.Delivered {
			def = journal.Delivered
			break
		}
	}
	d := decision{first: b.first}
	var again []*work
	var due time.Time
	late := Late{Attempts: b.tries + 1, First: v.start.Add(b.first), Taken: now, Said: b.said}
	for i, w := range b.works {
		r := &rs[i]
		v.tried(w, r, now)
		last, outcome := v.judge(b, w, *r, hopeless, now)
		if outcome == journal.Rejected && !v.mayReject(w, last) {
			outcome = journal.Requeued // its event stays pending
		}
		switch outcome {
		case journal.Requeued:
			again = append(again, w)
			if r.Reason != destination.Unauthorized {
				if t := now.Add(max(v.opt.waits.backoff(int(w.attempts), v.jitter()), r.RetryAfter)); t.After(due) {
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
			late.see(w)
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

// outage is a time in which a partner accepts nothing.
type outage struct {
	is    bool          // it is such a time, and not too long yet
	since time.Duration // when it began: see verdicts.elapsed
	sure  bool          // enough failures to rule out that a single delivery is the cause
}

// spares says whether an attempt does not count, because nothing was accepted since the delivery was first tried.
// A delivery that fails while others are accepted is not spared.
func (o outage) spares(w *work) bool {
	return o.is && (o.sure || w.since == 0 || w.since >= o.since)
}

// see counts a delivery that was accepted.
func (l *Late) see(w *work) {
	if l.Deliveries == 0 {
		l.From, l.To = w.id.Ordinal, w.id.Ordinal
	}
	l.From, l.To, l.Deliveries = min(l.From, w.id.Ordinal), max(l.To, w.id.Ordinal), l.Deliveries+1
}

// saidOf is the reason why the first delivery of a request that is sent again was not accepted.
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

// elapsed is the time since the engine started that counts towards a max time: all but the pauses.
func (v *verdicts) elapsed(now time.Time) time.Duration {
	return now.Sub(v.start) - v.pauses.sum(now)
}

// goes notes that a batch is sent now. Where one of its deliveries has waited because it was itself too much, the time
// since then does not count. Until now its since is the negative of what has counted by then.
func (v *verdicts) goes(b *batch, now time.Time) {
	if !b.again {
		return
	}
	for _, w := range b.works {
		if w.limited {
			w.since, w.limited = w.since+v.elapsed(now), false
		}
	}
}

// tried counts an attempt.
func (v *verdicts) tried(w *work, r *destination.Result, now time.Time) {
	spared := v.down.spares(w)
	if w.attempts == 0 || spared {
		w.since = max(v.elapsed(now), 1)
	}
	if spared {
		return
	}
	switch {
	case r.Outcome == destination.Retry && r.Reason == destination.RateLimited:
		// Being told to wait is no attempt, and the time of waiting does not count: see goes.
		if w.attempts > 0 {
			w.since, w.limited = w.since-v.elapsed(now), true
		}
	case r.Outcome == destination.Retry && r.Reason == destination.Unauthorized:
	default:
		w.attempts++
	}
}

// spent says whether a delivery has used up its attempts or its time.
func (v *verdicts) spent(w *work, attempts int, now time.Time) bool {
	return !v.down.spares(w) && (attempts >= v.opt.Attempts || v.elapsed(now)-w.since >= v.opt.MaxTime)
}

// judge decides the outcome of a delivery of a batch after an answer: Requeued when it is sent again. hopeless: the
// partner has failed everything for so long that this failure is the last one.
func (v *verdicts) judge(
	b *batch, w *work, r destination.Result, hopeless bool, now time.Time,
) (destination.Result, journal.Outcome) {
	switch r.Outcome {
	case destination.Delivered:
		return r, journal.Delivered
	case destination.Skipped:
		return r, journal.Skipped
	case destination.Rejected:
		return r, journal.Rejected
	}
	switch {
	case r.Reason == destination.Unauthorized || r.Reason == destination.RateLimited,
		!hopeless && !v.spent(w, int(w.attempts), now):
		return r, journal.Requeued
	}
	r.Reason = destination.Exhausted
	took := max(now.Sub(v.start)-b.first, 0).Round(time.Millisecond)
	r.Detail = fmt.Sprintf("given up after %s in %s; the last: %s", attempts(int(w.attempts)), took, r.Detail)
	return r, journal.Rejected
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}

// giveUp rejects deliveries that were never sent on their own, with the answer to all of them.
func (v *verdicts) giveUp(b *batch, r destination.Result) error {
	v.notes.rejected(b.works[0].ev, r)
	d := decision{first: b.first}
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
	if len(out) == len(b.works) { // otherwise the lane ends
		v.queue.finish(b, nil, b.works)
	}
	return nil
}

// letterFunc makes the dead letter of a delivery whose request was first made at a time since the engine started.
type letterFunc func(w *work, r destination.Result, first time.Duration) journal.DeadLetter

// letterOf returns the function that makes a lane's dead letters.
func letterOf(c *LaneConfig, plan *destination.Plan, start time.Time, now func() time.Time) letterFunc {
	return func(w *work, r destination.Result, first time.Duration) journal.DeadLetter {
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
			d.First = d.Last.Add(first - d.Last.Sub(start)) // relative to the clock of today
		}
		if c.Letter != nil {
			c.Letter(&d)
		}
		return d
	}
}
