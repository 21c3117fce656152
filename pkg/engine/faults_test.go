package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
)

// TestIsolation runs a healthy destination alone and beside six sick ones, in
// simulated time: it may take at most five per cent longer, and each of the
// others has to end as its script demands.
func TestIsolation(t *testing.T) {
	const n = 3000
	healthy := func() *partner {
		p := newPartner(50)
		p.delay = 20 * time.Millisecond
		return p
	}
	alone := 0.0
	synctest.Test(t, func(t *testing.T) {
		s := setup{path: input(t, n, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("healthy", healthy())}}
		alone = s.mustRun(t).Destinations[0].Seconds
	})
	synctest.Test(t, func(t *testing.T) {
		all := func(r destination.Result) func(*partner, time.Time, []int) ([]destination.Result, error) {
			return func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
				return destination.Same(r, len(ids)), nil
			}
		}
		well := healthy()
		hang, slow, refuses := newPartner(500), newPartner(50), newPartner(500)
		fails, limited, panics := newPartner(500), newPartner(50), newPartner(50)
		hang.answer = func(*partner, time.Time, []int) ([]destination.Result, error) { return nil, nil }
		slow.delay = time.Second
		refuses.answer = all(
			destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400},
		)
		fails.answer = all(destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 500})
		var until time.Time
		limited.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			switch now := time.Now(); {
			case until.IsZero():
				until = now.Add(30 * time.Second)
				fallthrough
			case now.Before(until):
				return destination.Same(
					destination.Result{
						Outcome:    destination.Retry,
						Reason:     destination.RateLimited,
						Status:     429,
						RetryAfter: 30 * time.Second,
					},
					len(ids),
				), nil
			}
			return ok(len(ids)), nil
		}
		panics.route = func(*event.Event, int, *destination.Deliveries) { panic("always") }
		s := setup{path: input(t, n, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{
			lane(
				"hang",
				hang,
			), lane("slow", slow), lane("refuses", refuses), lane("fails", fails), lane("limited", limited),
			lane("panics", panics), lane("healthy", well)}}
		for i := range s.lanes[:6] {
			s.lanes[i].Options.Attempts, s.lanes[i].Options.MaxErrors = 2, -1
		}
		sum := s.mustRun(t)
		with := sum.Destinations[6].Seconds
		t.Logf("alone %.2f s, beside six sick ones %.2f s of simulated time", alone, with)
		if with > alone*1.05 {
			t.Errorf("the healthy destination took %.2f s instead of %.2f s", with, alone)
		}
		once(t, well, n)
		once(t, slow, n)
		once(t, limited, n)
		for i, want := range []string{"exhausted", "", "refused", "exhausted", "", "panic"} {
			d := sum.Destinations[i]
			if want != "" && d.Rejected[want] != n || d.Pending != 0 || want == "" && d.Delivered != n {
				t.Errorf("%s ended as %+v", d.Name, d)
			}
		}
	})
}

// TestFaults runs seeded mixtures of faults in simulated time and compares the
// outcome of every event with a model that knows only the script.
//
// FANFOLD_FAULTS=5000 go test -run TestFaults ./pkg/engine is the long form.
func TestFaults(t *testing.T) {
	rounds := 60
	if s := os.Getenv("FANFOLD_FAULTS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("FANFOLD_FAULTS: %v", err)
		}
		rounds = n
	}
	for seed := range rounds {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			// At every opportunity all is moved before it flies; at times, what
			// flies then has to stay where it is.
			compact := func(*engine.Engine) {}
			if often := []int64{0, 1, 0, 8}[seed%4]; often > 0 {
				var n atomic.Int64
				compact = func(e *engine.Engine) { e.Compact(func() bool { return n.Add(1)%often == 0 }) }
			}
			synctest.Test(t, func(t *testing.T) { faults(t, uint64(seed), compact) })
		})
	}
}

func faults(t *testing.T, seed uint64, made func(*engine.Engine)) {
	rng := rand.New(rand.NewPCG(seed, 99))
	n := 50 + rng.IntN(400)
	batch := []int{1, 7, 50, 200}[rng.IntN(4)]
	wholesale := rng.IntN(2) == 0 // refuses a batch with a bad event as a whole
	bad := map[int]bool{}
	failures := map[int]int{} // times an event fails before it is taken
	for i := range n {
		switch rng.IntN(25) {
		case 0:
			bad[i] = true
		case 1, 2:
			failures[i] = 1 + rng.IntN(3)
		}
	}
	p := newPartner(batch)
	p.plan.Order = rng.IntN(3) == 0
	p.delay = time.Duration(rng.IntN(50)) * time.Millisecond
	var paused time.Time
	p.answer = func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
		now := time.Now()
		if now.Before(paused) {
			return destination.Same(
				destination.Result{
					Outcome:    destination.Retry,
					Reason:     destination.RateLimited,
					Status:     429,
					RetryAfter: paused.Sub(now),
				},
				len(ids),
			), nil
		}
		// Troubles of the whole request, each bounded by the script.
		switch rng.IntN(40) {
		case 0:
			paused = now.Add(time.Duration(1+rng.IntN(20)) * time.Second)
			return destination.Same(
				destination.Result{
					Outcome:    destination.Retry,
					Reason:     destination.RateLimited,
					Status:     429,
					RetryAfter: paused.Sub(now),
				},
				len(ids),
			), nil
		case 1:
			return nil, errors.New("connection reset")
		case 2:
			return nil, nil // hangs
		case 3:
			return []destination.Result{}, nil // an answer that makes no sense
		}
		rs := ok(len(ids))
		refuse := false
		for i, id := range ids {
			switch {
			case bad[id]:
				rs[i] = destination.Result{
					Outcome: destination.Rejected,
					Reason:  destination.Refused,
					Status:  400,
					Detail:  "bad",
				}
				refuse = true
			case failures[id] > 0:
				failures[id]--
				rs[i] = destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503}
			}
		}
		if refuse && wholesale {
			return destination.Same(
				destination.Result{
					Outcome: destination.Rejected,
					Reason:  destination.Refused,
					Status:  400,
					Detail:  "bad",
				},
				len(ids),
			), nil
		}
		return rs, nil
	}
	user := func(i int) string { return fmt.Sprint(i % 11) }
	s := setup{
		path:  input(t, n, user),
		dir:   t.TempDir(),
		lanes: []engine.LaneConfig{lane("a", p), lane("b", newPartner(10))},
		made:  made,
	}
	s.lanes[0].Options.Attempts, s.lanes[0].Options.MaxTime = 50, 100*time.Hour
	s.lanes[0].Options.Timeout = 5 * time.Second
	sum := s.mustRun(t)
	d := sum.Destinations[0]
	if int(d.Rejected["refused"]) != len(bad) || int(d.Delivered) != n-len(bad) || d.Pending != 0 {
		t.Errorf("seed %d: %+v, want %d delivered and %d refused", seed, d, n-len(bad), len(bad))
	}
	for i := range n {
		got, want := p.seen[strconv.Itoa(i)], 1
		if bad[i] {
			want = 0
		}
		if got != want {
			t.Errorf("seed %d: event %d was taken %d times, want %d", seed, i, got, want)
		}
	}
	if sum.Destinations[1].Delivered != uint64(n) {
		t.Errorf("seed %d: the other destination: %+v", seed, sum.Destinations[1])
	}
}
