package engine_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
)

// Some deliveries wait while all others go on: for their next attempt, for more
// of their rare kind, behind their user, or for an earlier step. None of them
// keeps more than its own memory, and none of them holds the others up.
func TestWhatWaitsPinsLittle(t *testing.T) {
	const n, pad = 12_000, 2_000
	var text bytes.Buffer
	for i := range n {
		fmt.Fprintf(&text, `{"type":"track","messageId":"%d","userId":"u%d","p":"%0*d"}`+"\n", i, i, pad, i)
	}
	path := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	one := func(_ *event.Event, id int, out *destination.Deliveries) {
		out.Add(destination.Delivery{Item: fmt.Appendf(nil, "%d", id), InsertID: fmt.Sprint(id)})
	}
	fails := func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
		rs := ok(len(ids))
		for i, id := range ids {
			if id%1000 == 7 && p.tries[id] == 1 {
				rs[i] = destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503}
			}
		}
		return rs, nil
	}
	for name, c := range map[string]struct {
		order  bool
		route  func(*event.Event, int, *destination.Deliveries)
		answer func(*partner, time.Time, []int) ([]destination.Result, error)
		late   func(id int) bool // sent after nearly everything
	}{
		"attempt": {route: one, answer: fails, late: func(id int) bool { return id%1000 == 7 }},
		"kind": {route: func(_ *event.Event, id int, out *destination.Deliveries) {
			d := destination.Delivery{Item: fmt.Appendf(nil, "%d", id), InsertID: fmt.Sprint(id)}
			if id%1000 == 7 {
				d.To = &destination.Address{Key: fmt.Sprint("rare", id%2)}
			}
			out.Add(d)
		}},
		"user": {order: true, route: one, answer: fails, late: func(id int) bool { return id%1000 == 7 }},
		"step": {route: func(_ *event.Event, id int, out *destination.Deliveries) {
			one(nil, id, out)
			if id%1000 == 7 {
				out.Add(destination.Delivery{Item: []byte("2"), Step: 1, Wait: true, InsertID: fmt.Sprint(id, ":1")})
			}
		}, answer: fails, late: func(id int) bool { return id%1000 == 7 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPartner(50)
				p.plan.Order = c.order
				p.route = c.route
				var e *engine.Engine
				most := int64(0)
				p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
					most = max(most, e.Pinned(0))
					if c.answer == nil {
						return ok(len(ids)), nil
					}
					return c.answer(p, now, ids)
				}
				s := setup{
					path:   path,
					dir:    t.TempDir(),
					lanes:  []engine.LaneConfig{lane("a", p)},
					made:   func(made *engine.Engine) { e = made },
					change: func(c *engine.Config) { c.Memory = 8 << 20 },
				}
				sum := s.mustRun(t)
				if d := sum.Destinations[0]; d.Delivered != n || sum.Status != "complete" {
					t.Fatalf("%+v", d)
				}
				for id, times := range p.seen {
					if times != 1 {
						t.Errorf("event %s arrived %d times", id, times)
					}
				}
				// A budget is 1 MiB, a block no more than 3.
				if most > 10<<20 || most == 0 {
					t.Errorf("%d bytes were pinned, of an input of %d", most, text.Len())
				}
				for i, id := range p.order {
					if c.late != nil && c.late(id) && i < n*9/10 {
						t.Errorf("event %d was sent as number %d: the lane waited for it", id, i)
					}
				}
			})
		})
	}
}

// TestSkippedBehindOneThatWaits: a delivery that waits for others of its kind, while everything behind it is skipped,
// does not hold the lane up, however much that is.
func TestSkippedBehindOneThatWaits(t *testing.T) {
	const n, pad = 60_000, 20
	var text bytes.Buffer
	for i := range n {
		fmt.Fprintf(&text, `{"type":"track","messageId":"%d","userId":"u%d","p":"%0*d"}`+"\n", i, i, pad, i)
	}
	path := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPartner(50)
		p.route = func(_ *event.Event, id int, out *destination.Deliveries) {
			d := destination.Delivery{Item: fmt.Appendf(nil, "%d", id), InsertID: fmt.Sprint(id)}
			if id != 3 {
				d = destination.Delivery{Settled: &destination.Result{Outcome: destination.Skipped,
					Reason: destination.Unsupported}}
			}
			out.Add(d)
		}
		s := setup{path: path, dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)},
			change: func(c *engine.Config) { c.Memory = 8 << 20 }}
		sum := s.mustRun(t)
		if d := sum.Destinations[0]; d.Delivered != 1 || engine.Total(d.Skipped) != n-1 || sum.Status != "complete" {
			t.Fatalf("%+v", d)
		}
	})
}
