package engine_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
)

// BenchmarkIsolation runs a destination that is bound by the processor alone
// and beside six sick ones, in turn and in real time, and reports how much
// longer it takes in their company: the ratio of the medians.
func BenchmarkIsolation(b *testing.B) {
	const n = 100000
	pad := strings.Repeat("u", 1000)
	path := input(b, n, func(int) string { return pad })
	run := func(name string, others func() []engine.LaneConfig) {
		b.Run(name, func(b *testing.B) {
			var alone, beside []float64
			for b.Loop() {
				alone = append(alone, healthySeconds(b, path, n, nil))
				beside = append(beside, healthySeconds(b, path, n, others()))
			}
			slices.Sort(alone)
			slices.Sort(beside)
			b.ReportMetric(alone[len(alone)/2]*1e3, "ms-alone")
			b.ReportMetric(beside[len(beside)/2]/alone[len(alone)/2], "beside/alone")
		})
	}
	run("all", sick)
	for i, l := range sick() {
		run(l.Name, func() []engine.LaneConfig { return sick()[i : i+1] })
	}
}

// BenchmarkSmallRequests has a destination send one event a request, one after the
// other to a partner that takes a millisecond for each, alone and beside four that
// map heavily and keep all processors busy, and reports how much longer it takes.
func BenchmarkSmallRequests(b *testing.B) {
	const n, requests = 40000, 300
	path := input(b, n, func(int) string { return strings.Repeat("u", 1000) })
	heavy := func() (lanes []engine.LaneConfig) {
		for i := range 4 {
			p := newPartner(500)
			p.route = func(ev *event.Event, _ int, out *destination.Deliveries) {
				for range 40 {
					if !json.Valid(ev.Raw()) {
						panic("not JSON")
					}
				}
				out.Add(destination.Delivery{Item: ev.Raw(), InsertID: ev.MessageID().Text()})
			}
			lanes = append(lanes, lane(fmt.Sprint("heavy", i), p))
		}
		return lanes
	}
	seconds := func(others []engine.LaneConfig) float64 {
		stop := make(chan struct{})
		p := newPartner(1)
		p.delay = time.Millisecond
		p.route = func(ev *event.Event, i int, out *destination.Deliveries) {
			if i < requests {
				out.Add(destination.Delivery{Item: ev.Raw(), InsertID: ev.MessageID().Text()})
			}
		}
		start, left := time.Now(), requests
		var took float64
		p.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			if left -= len(ids); left == 0 {
				took = time.Since(start).Seconds()
				close(stop)
			}
			return ok(len(ids)), nil
		}
		s := setup{
			path:   path,
			dir:    b.TempDir(),
			lanes:  append(others, lane("small", p)),
			change: func(c *engine.Config) { c.Stop = stop },
		}
		s.lanes[len(s.lanes)-1].Options.Concurrency = 1
		if _, err := s.run(b); err != nil {
			b.Fatal(err)
		}
		return took
	}
	var alone, beside []float64
	for b.Loop() {
		alone = append(alone, seconds(nil))
		beside = append(beside, seconds(heavy()))
	}
	slices.Sort(alone)
	slices.Sort(beside)
	b.ReportMetric(alone[len(alone)/2]*1e3, "ms-alone")
	b.ReportMetric(beside[len(beside)/2]/alone[len(alone)/2], "beside/alone")
}

// healthySeconds is how long a healthy destination takes for n events.
func healthySeconds(b *testing.B, path string, n int, others []engine.LaneConfig) float64 {
	stop := make(chan struct{})
	well := newPartner(500)
	well.route = func(ev *event.Event, i int, out *destination.Deliveries) {
		for range 4 { // some 10 microseconds
			if !json.Valid(ev.Raw()) {
				panic("not JSON")
			}
		}
		out.Add(destination.Delivery{Item: ev.Raw(), InsertID: ev.MessageID().Text()})
	}
	start := time.Now()
	var took float64
	left := n
	well.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
		if left -= len(ids); left == 0 {
			took = time.Since(start).Seconds()
			close(stop) // what the others have not done is of no interest
		}
		return ok(len(ids)), nil
	}
	s := setup{
		path:   path,
		dir:    b.TempDir(),
		lanes:  append(others, lane("healthy", well)),
		change: func(c *engine.Config) { c.Stop = stop },
	}
	for i := range s.lanes {
		s.lanes[i].Options.Timeout, s.lanes[i].Options.MaxErrors = 2*time.Second, -1
	}
	if _, err := s.run(b); err != nil {
		b.Fatal(err)
	}
	return took
}

// sick are destinations that hang, are slow, refuse, fail, limit and panic.
func sick() []engine.LaneConfig {
	always := func(r destination.Result) func(*partner, time.Time, []int) ([]destination.Result, error) {
		return func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			return destination.Same(r, len(ids)), nil
		}
	}
	hang, slow, refuses := newPartner(500), newPartner(50), newPartner(500)
	fails, limited, panics := newPartner(500), newPartner(50), newPartner(50)
	hang.answer = func(*partner, time.Time, []int) ([]destination.Result, error) { return nil, nil }
	slow.delay = time.Second
	refuses.answer = always(destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400})
	fails.answer = always(destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 500})
	limited.answer = always(
		destination.Result{
			Outcome:    destination.Retry,
			Reason:     destination.RateLimited,
			Status:     429,
			RetryAfter: 30 * time.Second,
		},
	)
	panics.route = func(*event.Event, int, *destination.Deliveries) { panic("always") }
	return []engine.LaneConfig{
		lane("hang", hang),
		lane("slow", slow),
		lane("refuses", refuses),
		lane("fails", fails),
		lane("limited", limited),
		lane("panics", panics),
	}
}
