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
		vain     int // batches before, given up with nothing accepted
		hopeless bool
		asked    int  // parts of this batch, in vain; -1: it was not divided
		accepted bool // something of it
		want     bool
	}{
		{name: "refused", answer: refusedAll, works: 2, asked: -1, want: true},
		{name: "a single one", answer: refusedAll, works: 1, asked: -1},
		{name: "in conflict", answer: conflicts, works: 2, asked: patience - 1, want: true},
		{name: "in conflict for long", answer: conflicts, works: 2, asked: patience},
		{name: "in conflict for long, but some was taken", answer: conflicts, works: 2, asked: patience, accepted: true,
			want: true},
		{name: "in conflict after many others", answer: conflicts, works: 2, vain: 50, asked: probes - 1, want: true},
		{name: "fails for the first time", answer: fails, works: 2, attempts: 5, asked: -1},
		{name: "fails for the last time", answer: fails, works: 2, attempts: 5, tried: 4, asked: -1, want: true},
		{name: "after one that failed", answer: fails, works: 2, attempts: 5, tried: 4, vain: 1, asked: few*5/2 - 1,
			want: true},
		{name: "after one that failed, for long", answer: fails, works: 2, attempts: 5, tried: 4, vain: 1,
			asked: few * 5 / 2},
		{name: "after many that failed", answer: fails, works: 2, attempts: 5, tried: 4, vain: 5, asked: -1},
		{name: "without hope", answer: fails, works: 2, attempts: 5, hopeless: true, asked: few - 1, want: true},
		{name: "without hope, for long", answer: fails, works: 2, attempts: 5, tried: 4, hopeless: true, asked: few},
		{name: "with two attempts", answer: fails, works: 2, attempts: 2, tried: 1, asked: 2*few - 1, want: true},
		{name: "with two attempts, for long", answer: fails, works: 2, attempts: 2, tried: 1, asked: 2 * few},
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
		x := &bisector{verdicts: v, queue: v.queue, vain: c.vain}
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
