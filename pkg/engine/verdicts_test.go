package engine

import (
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
)

// testVerdicts are verdicts with the parts that they need.
func testVerdicts(t *testing.T) (v *verdicts, letters *[]destination.Result) {
	t.Helper()
	g := testLedger(t)
	plan := &destination.Plan{Actions: []destination.ActionPlan{{Slug: "a"}}}
	letters = new([]destination.Result)
	return &verdicts{
		opt: Options{}.withDefaults(&destination.LaneLimits{}), ledger: g,
		memory: &memory{budget: 1 << 20, policy: defaultCompaction()}, notes: &notes{}, pauses: &pauses{},
		queue: newQueue(plan, PackOptions{}, &g.live.Released), jitter: func() float64 { return 0.5 }, start: epoch,
		late: func(Late) {},
		letter: func(w *work, r destination.Result, _ time.Duration) journal.DeadLetter {
			*letters = append(*letters, r)
			return journal.DeadLetter{Raw: w.ev.raw, Valid: true, Reason: string(r.Reason), Ordinal: w.id.Ordinal}
		},
	}, letters
}

// testBatch takes all deliveries of a block as one batch on its way.
func testBatch(t *testing.T, v *verdicts, lb *laneBlock) (*batch, uint64) {
	t.Helper()
	v.ledger.add(lb)
	for i := range lb.works {
		v.memory.keep(&lb.works[i])
		v.queue.offer(&lb.works[i], doubted{})
	}
	v.queue.flush()
	b, _ := v.queue.pick(epoch, func(*batch) (time.Duration, bool) { return 0, true })
	var ids []journal.DeliveryID
	for _, w := range b.works {
		ids = append(ids, w.id)
	}
	req, err := v.ledger.j.Begin("a", ids, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	return b, req
}

// TestWhatAnswersMean: each verdict has its outcome, and what is to be tried again is, with its
// attempts counted, until they are used up.
func TestWhatAnswersMean(t *testing.T) {
	v, letters := testVerdicts(t)
	v.opt.Attempts = 2
	lb := testBlock(0, 1, 1, 1, 1, 1)
	b, req := testBatch(t, v, lb)
	answer := []destination.Result{
		{Outcome: destination.Delivered},
		{Outcome: destination.Skipped, Reason: destination.Unneeded},
		{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400, Detail: "no"},
		{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503, Detail: "later"},
		{Outcome: destination.Retry, Reason: destination.RateLimited, Status: 429, RetryAfter: time.Minute},
	}
	if err := v.answered(req, b, answer, false, epoch); err != nil {
		t.Fatal(err)
	}
	c := v.ledger.live
	if c.Delivered != 1 || c.Skipped["unneeded"] != 1 || c.Rejected["refused"] != 1 || len(*letters) != 1 ||
		v.notes.like["refused"] != "in.jsonl, offset 0 (track): status 400: no" {
		t.Errorf("counts %+v, letters %+v, examples %v", c, *letters, v.notes.like)
	}
	v.queue.returned(b.bytes)
	again := v.queue.later[0]
	if len(again.works) != 2 || again.works[0].attempts != 1 || again.works[1].attempts != 0 ||
		again.due.Before(epoch.Add(time.Minute)) {
		t.Fatalf("%d are tried again, at %s", len(again.works), again.due)
	}
	at := again.due
	b, _ = v.queue.pick(at, func(*batch) (time.Duration, bool) { return 0, true })
	req, err := v.ledger.j.Begin("a", []journal.DeliveryID{b.works[0].id, b.works[1].id}, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.answered(req, b, []destination.Result{answer[3], answer[3]}, false, at); err != nil {
		t.Fatal(err)
	}
	if last := (*letters)[1]; v.ledger.live.Rejected["exhausted"] != 1 || last.Reason != destination.Exhausted ||
		len(v.queue.later) != 1 {
		t.Errorf("after two attempts: %+v, %+v", v.ledger.live, last)
	}
	if len(v.queue.later[0].works) != 1 || v.memory.held != int64(len(lb.works[4].d.Item)+len(lb.events[4].raw)) {
		t.Errorf("%d bytes are held for %d deliveries", v.memory.held, len(v.queue.later[0].works))
	}
}

// TestStepsOfOneEvent: a step goes when the one before it is delivered, and is blocked
// when that is rejected.
func TestStepsOfOneEvent(t *testing.T) {
	v, letters := testVerdicts(t)
	lb := testBlock(0, 3)
	v.ledger.add(lb)
	lb.works[0].parked, lb.works[1].parked = &lb.works[1], &lb.works[2]
	v.queue.waiting = 2
	v.settle(&lb.works[0], journal.Delivered, "")
	if len(v.queue.steps) != 1 || v.queue.steps[0] != &lb.works[1] || v.queue.waiting != 1 {
		t.Errorf("%d steps go, %d wait", len(v.queue.steps), v.queue.waiting)
	}
	v.settle(&lb.works[1], journal.Rejected, "refused")
	if lb.open != 0 || v.queue.waiting != 0 || len(*letters) != 1 || (*letters)[0].Reason != destination.Blocked {
		t.Errorf("%d events are open, letters %+v", lb.open, *letters)
	}
}
