package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
)

// TestStopBeforeTheReadingHasCaughtUp stops a resume that reads again what a faster lane
// has settled long ago: the sums add up, and no count is lower than it was.
func TestStopBeforeTheReadingHasCaughtUp(t *testing.T) {
	const events = 20_000
	fast, slow := newPartner(100), newPartner(10)
	all, stop := make(chan struct{}), make(chan struct{})
	taken := 0
	fast.answer = func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
		if taken += len(ids); taken == events {
			close(all)
		}
		return ok(len(ids)), nil
	}
	end := sync.OnceFunc(func() { <-all; close(stop) })
	slow.answer = func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
		if p.requests >= 3 {
			end()
		}
		return ok(len(ids)), nil
	}
	s := setup{
		path:   input(t, events, nil),
		dir:    t.TempDir(),
		lanes:  []engine.LaneConfig{lane("fast", fast), lane("slow", slow)},
		change: func(c *engine.Config) { c.Stop = stop },
	}
	first := s.mustRun(t)
	if first.Destinations[0].Delivered != events || first.Destinations[1].Pending == 0 {
		t.Fatalf("nothing to be seen: %+v", first)
	}
	for range 3 { // stopped before it begins
		var e *engine.Engine
		s.made = func(made *engine.Engine) { e = made }
		again := s.mustRun(t)
		if again.Read < first.Read || again.Status != "incomplete" {
			t.Errorf("read %d, then %d (%s)", first.Read, again.Read, again.Status)
		}
		for _, p := range e.Progress() {
			if p.Total < p.Done {
				t.Errorf("%s is done with %d of %d", p.Name, p.Done, p.Total)
			}
		}
	}
	slow.answer, s.change = nil, nil
	if end := s.mustRun(t); end.Read != events || end.Status != "complete" {
		t.Errorf("at the end: %+v", end)
	}
	once(t, fast, events)
	once(t, slow, events)
}

// TestDoubtIsRemembered ends three processes with a request in flight each: the last one
// tells of all events that any of them had in doubt, also of those that have been settled
// since.
func TestDoubtIsRemembered(t *testing.T) {
	p := newPartner(10)
	l := lane("a", p)
	l.Options.Concurrency = 1
	s := setup{path: input(t, 100, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}
	for kill := range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		requests := 0
		p.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			if requests++; requests > kill {
				cancel()
				return nil, context.Canceled
			}
			return ok(len(ids)), nil
		}
		s.ctx = ctx
		if _, err := s.run(t); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	p.answer, s.ctx = nil, nil
	if d := s.mustRun(t).Destinations[0]; d.Delivered != 100 || d.InDoubt != 30 {
		t.Errorf("%d delivered, %d in doubt, want 30", d.Delivered, d.InDoubt)
	}
	if d := s.mustRun(t).Destinations[0]; d.InDoubt != 30 {
		t.Errorf("once more: %d in doubt, want 30", d.InDoubt)
	}
}

// TestThisTimeIsOfOneProcess kills processes with requests in flight, and stops one: each says what it has settled
// itself, also of events above the checkpoint, and of events of which an earlier one has settled a part.
func TestThisTimeIsOfOneProcess(t *testing.T) {
	const events = 200
	p := newPartner(10)
	p.route = func(ev *event.Event, n int, out *destination.Deliveries) {
		for k := range 1 + n%2 {
			out.Add(destination.Delivery{Item: ev.Raw(), InsertID: fmt.Sprintf("%d:%d", n, k)})
		}
	}
	l := lane("a", p)
	l.Options.Concurrency = 1
	s := setup{path: input(t, events, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}
	var delivered, rejected, doubt uint64
	for process := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		stop := make(chan struct{})
		requests := 0
		p.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			rs := ok(len(ids))
			for i, id := range ids {
				if id%50 == 4 {
					rs[i] = destination.Result{Outcome: destination.Rejected, Reason: destination.Refused}
				}
			}
			switch requests++; {
			case process == 2 && requests == 7:
				close(stop)
			case process < 4 && process != 2 && requests == 7:
				cancel()
				return nil, context.Canceled
			}
			return rs, nil
		}
		s.ctx, s.change = ctx, func(c *engine.Config) { c.Stop = stop }
		sum, err := s.run(t)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		d := sum.Destinations[0]
		if process == 0 {
			d.ThisTime = &engine.ThisTime{Delivered: d.Delivered, Rejected: d.Rejected}
		}
		delivered, rejected = delivered+d.ThisTime.Delivered, rejected+engine.Total(d.ThisTime.Rejected)
		doubt += d.ThisTime.InDoubt
		if process > 0 && d.ThisTime.Delivered == 0 || delivered != d.Delivered || rejected != engine.Total(d.Rejected) {
			t.Errorf("process %d: %+v; %d delivered and %d rejected together: %+v", process, d.ThisTime, delivered, rejected, d)
		}
	}
	if delivered != events-4 || rejected != 4 || doubt == 0 {
		t.Errorf("%d delivered, %d rejected, %d in doubt", delivered, rejected, doubt)
	}
}

// TestSkippedAreExplained: of each reason to skip one event is named.
func TestSkippedAreExplained(t *testing.T) {
	p := newPartner(10)
	p.route = func(ev *event.Event, n int, out *destination.Deliveries) {
		if n%2 == 1 {
			out.Add(
				destination.Delivery{
					Settled: &destination.Result{
						Outcome: destination.Skipped,
						Reason:  destination.TooOld,
						Detail:  "the partner takes a week",
					},
				},
			)
		}
	}
	d := setup{path: input(t, 10, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}.mustRun(
		t).Destinations[0]
	if d.Skipped["too_old"] != 5 || d.Skipped["unsupported"] != 5 {
		t.Fatalf("skipped %v", d.Skipped)
	}
	for reason, want := range map[string]string{"too_old": `in.jsonl, line 2 (track "E"): the partner takes a week`,
		"unsupported": `in.jsonl, line 1 (track "E")`} {
		if got := d.SkippedExamples[reason]; !strings.Contains(got, want) {
			t.Errorf("%s: %q, want …%q", reason, got, want)
		}
	}
}

// TestHoldAfterSeveralEnds holds back what is in doubt, where some deliveries of an event
// are settled, some in doubt and some have not been tried, after several ends.
func TestHoldAfterSeveralEnds(t *testing.T) {
	const events = 30
	p := newPartner(4)
	p.plan.Actions[0].Limits.BatchEvents.N = 4
	p.route = func(ev *event.Event, n int, out *destination.Deliveries) {
		for k := range 3 {
			out.Add(destination.Delivery{Item: ev.Raw(), InsertID: fmt.Sprintf("%d:%d", n, k)})
		}
	}
	l := lane("a", p)
	l.Options.Concurrency, l.Options.Hold = 1, true
	s := setup{path: input(t, events, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{l}}
	for end := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		requests := 0
		p.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			if requests++; requests > 2+end {
				cancel()
				return nil, context.Canceled
			}
			return ok(len(ids)), nil
		}
		s.ctx = ctx
		if _, err := s.run(t); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	p.answer, s.ctx = nil, nil
	d := s.mustRun(t).Destinations[0]
	if d.Pending == 0 || d.Delivered+d.Pending != events || d.InDoubt < d.Pending {
		t.Errorf("held back: %+v", d)
	}
	for id, n := range p.seen {
		if n != 1 {
			t.Errorf("%s arrived %d times", id, n)
		}
	}
	l.Options.Hold = false
	s.lanes = []engine.LaneConfig{l}
	if d = s.mustRun(t).Destinations[0]; d.Delivered != events || len(p.seen) != 3*events {
		t.Errorf("sent again: %+v, %d deliveries", d, len(p.seen))
	}
}
