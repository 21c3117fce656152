package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// sender owns the calls into a destination's code that reach its partner: each behind
// recover and a deadline.
type sender struct {
	to        destination.Sender
	plan      *destination.Plan // nil: nothing is asked about afterwards
	transport destination.Transport
	timeout   time.Duration
	stop      <-chan struct{} // of the run
	atOnce    bool            // nobody is there who would need time
	hung      atomic.Bool     // a call has not come back: memory it may look at is not used again
}

// grace is how much longer than its deadline a call may take. The transport ends with
// the context; only code that ignores it takes longer.
const grace = 5 * time.Second

type panicError struct{ text string }

func (e *panicError) Error() string { return "panic in partner code" }

// pause waits for what the partner works through later.
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

// send makes the request of a batch. A call that does not come back after its
// deadline is given up; it keeps the memory it may still look at.
func (s *sender) send(ctx context.Context, works []*work, now time.Time) ([]destination.Result, error) {
	patience := time.Duration(0)
	if i := int(works[0].d.Action); s.plan != nil && i < len(s.plan.Actions) {
		patience = s.plan.Actions[i].Patience
	}
	after, end := context.WithTimeout(ctx, s.timeout+patience)
	defer end()
	ctx, cancel := context.WithTimeout(after, s.timeout)
	defer cancel()
	batch := &destination.Batch{Now: now, Deliveries: make([]*destination.Delivery, len(works)), Pause: s.pause,
		After: after}
	for i, w := range works {
		batch.Deliveries[i] = w.d
	}
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
	if a.err == nil && len(a.rs) != len(works) {
		return nil, fmt.Errorf("%d results for %d deliveries: a mistake in the destination", len(a.rs), len(works))
	}
	return a.rs, a.err
}
