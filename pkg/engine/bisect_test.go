package engine

import (
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// TestBoundsOfDividing: which batches are asked about in parts, and for how long while
// nothing of them is accepted.
func TestBoundsOfDividing(t *testing.T) {
	refusedAll := destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400}
	conflicts := destination.Result{Outcome: destination.Retry, Reason: destination.Conflict, Status: 409}
	fails := destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 500}
	for _, c := range []struct {
		name     string
		answer   destination.Result
		works    int
		attempts int // that the lane makes
		tried    int32
		failed   int // batches before
		hopeless bool
		asked    int  // parts of this batch, in vain; -1: it was not divided
		accepted bool // something of it
		want     bool
	}{
		{name: "refused", answer: refusedAll, works: 2, asked: -1, want: true},
		{name: "a single one", answer: refusedAll, works: 1, asked: -1},
		{name: "in conflict", answer: conflicts, works: 2, asked: patience, want: true},
		{name: "in conflict for long", answer: conflicts, works: 2, asked: patience + 1},
		{name: "in conflict for long, but some was taken", answer: conflicts, works: 2, asked: patience + 1, accepted: true,
			want: true},
		{name: "fails for the first time", answer: fails, works: 2, attempts: 5, asked: -1},
		{name: "fails for the last time", answer: fails, works: 2, attempts: 5, tried: 4, asked: -1, want: true},
		{name: "after others that failed", answer: fails, works: 2, attempts: 5, tried: 4, failed: divideMost, asked: -1},
		{name: "is divided while others failed", answer: fails, works: 2, attempts: 5, tried: 4, failed: divideMost, asked: 9,
			want: true},
		{name: "without hope", answer: fails, works: 2, attempts: 5, tried: 4, hopeless: true, asked: lastParts + 1},
		{name: "with two attempts", answer: fails, works: 2, attempts: 2, tried: 1, asked: lastParts, want: true},
		{name: "with two attempts, for long", answer: fails, works: 2, attempts: 2, tried: 1, asked: lastParts + 1},
	} {
		v, _ := testVerdicts(t)
		if c.attempts > 0 {
			v.opt.Attempts = c.attempts
		}
		lb := testBlock(0, make([]int, c.works)...)
		b := &batch{}
		var answer []destination.Result
		for i := range c.works {
			w := &work{ev: &lb.events[i], d: &destination.Delivery{}, attempts: c.tried}
			b.works, answer = append(b.works, w), append(answer, c.answer)
		}
		if c.asked >= 0 {
			b.bisect = &bisect{asked: c.asked, accepted: c.accepted}
		}
		x := &bisector{verdicts: v, queue: v.queue, failed: c.failed}
		if got := x.divides(b, answer, c.hopeless, epoch.Add(time.Second)); got != c.want {
			t.Errorf("%s: divided is %v, want %v", c.name, got, c.want)
		}
	}
}

// TestNoFaultOfTheBatch: answers that differ are of single events, and are not asked about
// again.
func TestNoFaultOfTheBatch(t *testing.T) {
	a := destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400, Detail: "a"}
	b := a
	b.Detail = "b"
	if got := faultOf([]destination.Result{a, b}); got != none {
		t.Errorf("two different refusals are fault %d of the batch", got)
	}
	if got := faultOf([]destination.Result{a, a}); got != refused {
		t.Errorf("two equal refusals are fault %d", got)
	}
}
