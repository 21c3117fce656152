package engine

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/stock"
)

// sender makes the calls into a destination's code that reach its partner, each behind recover and a deadline.
type sender struct {
	to        destination.Sender
	plan      *destination.Plan // nil: there are no later questions about a request
	transport destination.Transport
	timeout   time.Duration
	stop      <-chan struct{} // of the run
	atOnce    bool            // the other end needs no time, so nothing waits
	hung      atomic.Bool     // a call never returned, so memory that it may read is not reused
	trips     stock.Stock[trip]
}

// trip is the memory for one request, besides that of its deliveries.
type trip struct {
	ids        []journal.DeliveryID
	deliveries []*destination.Delivery
	results    []destination.Result
}

// trip takes memory for a request with these deliveries.
func (s *sender) trip(works []*work) *trip {
	t, n := s.trips.Take(), len(works)
	t.ids = slices.Grow(t.ids[:0], n)[:n]
	t.deliveries = slices.Grow(t.deliveries[:0], n)[:n]
	t.results = slices.Grow(t.results[:0], n)
	for i, w := range works {
		t.ids[i], t.deliveries[i] = w.id, w.d
	}
	return t
}

// back returns the memory of a request that is over, with that of its results.
func (s *sender) back(t *trip) {
	if s.hung.Load() {
		return
	}
	clear(t.results[:len(t.deliveries)]) // trip has made room for so many
	clear(t.deliveries)
	s.trips.Put(t)
}

// grace is how much longer than its deadline a call may take. The transport ends with the context; only code that
// ignores the context takes longer.
const grace = 5 * time.Second

type panicError struct{ text string }

func (e *panicError) Error() string { return "panic in partner code" }

// pause waits for a job that the partner works through later.
func (s *sender) pause(ctx context.Context, d time.Duration) error {
	if s.atOnce {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stop:
		return context.Canceled
	}
}

// send makes the request of a batch. A call that does not return after its deadline is given up; the memory it may
// still read is not reused.
func (s *sender) send(ctx context.Context, t *trip, now time.Time) ([]destination.Result, error) {
	patience := time.Duration(0)
	if i := int(t.deliveries[0].Action); s.plan != nil && i < len(s.plan.Actions) {
		patience = s.plan.Actions[i].Patience
	}
	after, end := context.WithTimeout(ctx, s.timeout+patience)
	defer end()
	ctx, cancel := context.WithTimeout(after, s.timeout)
	defer cancel()
	batch := &destination.Batch{Now: now, Deliveries: t.deliveries, Room: t.results, Pause: s.pause, After: after}
	type answer struct {
		rs  []destination.Result
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				ch <- answer{err: &panicError{panicText(p)}}
			}
		}()
		rs, err := s.to.Send(ctx, s.transport, batch)
		ch <- answer{rs, err}
	}()
	var a answer
	select {
	case a = <-ch:
	case <-after.Done():
		late := time.NewTimer(grace)
		defer late.Stop()
		select {
		case a = <-ch:
		case <-late.C:
			s.hung.Store(true)
			return nil, fmt.Errorf("the destination's code hangs past its deadline of %s", s.timeout)
		}
	}
	if a.err == nil && len(a.rs) != len(t.deliveries) {
		return nil, fmt.Errorf("%d results for %d deliveries: a mistake in the destination", len(a.rs), len(t.deliveries))
	}
	return a.rs, a.err
}
