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
	transport destination.Transport
	timeout   time.Duration
	hung      atomic.Bool // a call has not come back: memory it may look at is not used again
}

// grace is how much longer than its deadline a call may take. The transport ends with
// the context; only code that ignores it takes longer.
const grace = 5 * time.Second

type panicError struct{ text string }

func (e *panicError) Error() string { return "panic in partner code" }

// send makes the request of a batch. A call that does not come back after its
// deadline is given up; it keeps the memory it may still look at.
func (s *sender) send(ctx context.Context, works []*work, now time.Time) ([]destination.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	batch := &destination.Batch{Now: now, Deliveries: make([]*destination.Delivery, len(works))}
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
	case <-ctx.Done():
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
