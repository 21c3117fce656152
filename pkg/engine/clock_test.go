package engine_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
)

// TestClockThatJumps sets the clock back and forth by minutes in the middle of a
// run with retries and pauses, for clocks that know no monotonic time: the run
// ends, with everything delivered once.
func TestClockThatJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		var offset atomic.Int64
		p := newPartner(20)
		p.delay = 30 * time.Millisecond
		p.answer = func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			switch p.requests {
			case 10:
				offset.Store(-int64(10 * time.Minute))
			case 30:
				offset.Store(int64(30 * time.Minute))
			case 50:
				offset.Store(-int64(20 * time.Minute))
			}
			switch p.requests % 9 {
			case 1:
				return destination.Same(
					destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503},
					len(ids),
				), nil
			case 2:
				return destination.Same(
					destination.Result{
						Outcome:    destination.Retry,
						Reason:     destination.RateLimited,
						Status:     429,
						RetryAfter: 5 * time.Second,
					},
					len(ids),
				), nil
			}
			return ok(len(ids)), nil
		}
		l := lane("a", p)
		l.Options.Attempts, l.Options.MaxTime = 1000, 24*time.Hour
		s := setup{
			path:  input(t, n, nil),
			dir:   t.TempDir(),
			lanes: []engine.LaneConfig{l},
			now:   func() time.Time { return time.Now().Round(0).Add(time.Duration(offset.Load())) },
		}
		d := s.mustRun(t).Destinations[0]
		once(t, p, n)
		if d.Delivered != n || d.Pending != 0 || d.Seconds < 0 {
			t.Errorf("%+v", d)
		}
	})
}

// TestClockThatWasWrong resumes a run whose first process lived two days in the
// future and was told to wait an hour: its saved pause means nothing now.
func TestClockThatWasWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 300
		p := newPartner(10)
		stop := make(chan struct{})
		p.answer = func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			if p.requests == 10 {
				close(stop)
				return destination.Same(
					destination.Result{
						Outcome:    destination.Retry,
						Reason:     destination.RateLimited,
						Status:     429,
						RetryAfter: time.Hour,
					},
					len(ids),
				), nil
			}
			return ok(len(ids)), nil
		}
		l := lane("a", p)
		l.Options.Concurrency = 1
		l.Options.Rate = &destination.Rate{N: 600, Per: time.Minute, Of: destination.Requests}
		s := setup{
			path:  input(t, n, nil),
			dir:   t.TempDir(),
			lanes: []engine.LaneConfig{l},
			now:   func() time.Time { return time.Now().Add(48 * time.Hour) },
		}
		s.change = func(c *engine.Config) { c.Stop = stop }
		if d := s.mustRun(t).Destinations[0]; d.Pending == 0 {
			t.Fatalf("%+v", d)
		}
		p.mu.Lock()
		p.answer = nil
		p.mu.Unlock()
		s.now, s.change = nil, nil
		start := time.Now()
		d := s.mustRun(t).Destinations[0]
		once(t, p, n)
		if took := time.Since(start); d.Delivered != n || took > time.Minute {
			t.Errorf("after %s: %+v", took, d)
		}
	})
}
