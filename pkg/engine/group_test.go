package engine_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
)

// TestAlike: lanes that make the same of every event share the work, and each
// has its own verdicts and stamps all the same.
func TestAlike(t *testing.T) {
	const n = 20000
	path := input(t, n, nil)
	synctest.Test(t, func(t *testing.T) {
		var calls, alone atomic.Int64
		make := func(content, stamp string, calls *atomic.Int64) *partner {
			p := newPartner(100)
			p.plan.Content, p.plan.Stamp = content, stamp
			p.route = func(ev *event.Event, i int, out *destination.Deliveries) {
				calls.Add(1)
				if i%10 == 3 {
					out.Add(
						destination.Delivery{
							Settled: &destination.Result{Outcome: destination.Skipped, Reason: destination.Unneeded},
						},
					)
					return
				}
				if i%10 != 4 {
					out.Add(destination.Delivery{Item: ev.Raw(), InsertID: ev.MessageID().Text()})
					return
				}
				k, half := int32(len(out.List)), len(ev.Raw())/2
				item := slices.Concat([]byte(stamp), ev.Raw()[:half], []byte(stamp), ev.Raw()[half:])
				out.Stamps = append(
					out.Stamps,
					destination.Stamp{Delivery: k},
					destination.Stamp{Delivery: k, At: int32(len(stamp) + half)},
				)
				if i%100 == 44 {
					panic("in the middle")
				}
				out.Add(destination.Delivery{Item: item, InsertID: ev.MessageID().Text()})
			}
			p.check = func(d *destination.Delivery) {
				i, _ := strconv.Atoi(d.InsertID)
				want := 0
				if i%10 == 4 {
					want = 2
				}
				if bytes.Count(d.Item, []byte(stamp)) != want || bytes.Count(d.Item, []byte("~")) != want ||
					!json.Valid(bytes.ReplaceAll(d.Item, []byte(stamp), nil)) {
					t.Errorf("a lane with the stamp %s sends %s", stamp, d.Item)
				}
			}
			return p
		}
		a, slow, refuses, other := make(
			"same",
			"~aa",
			&calls,
		), make(
			"same",
			"~bb",
			&calls,
		), make(
			"same",
			"~cc",
			&calls,
		), make(
			"other",
			"~aa",
			&alone,
		)
		slow.delay = 50 * time.Millisecond
		refuses.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			rs := ok(len(ids))
			for i, id := range ids {
				if id%7 == 0 {
					rs[i] = destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400}
				}
			}
			return rs, nil
		}
		s := setup{
			path: path,
			dir:  t.TempDir(),
			lanes: []engine.LaneConfig{
				lane("a", a),
				lane("slow", slow),
				lane("refuses", refuses),
				lane("other", other),
			},
		}
		sum := s.mustRun(t)
		const sent = n - n/10 - n/100
		once(t, a, sent)
		once(t, slow, sent)
		once(t, other, sent)
		for _, d := range sum.Destinations {
			if d.Skipped["unneeded"] != n/10 || d.Pending != 0 {
				t.Errorf("%s ended as %+v", d.Name, d)
			}
		}
		if d := sum.Destinations[2]; d.Delivered+d.Rejected["refused"] != sent || d.Rejected["panic"] != n/100 ||
			d.Rejected["refused"] == 0 {
			t.Errorf("refuses ended as %+v", d)
		}
		if calls.Load() >= 2*n || alone.Load() != n {
			t.Errorf("three that are alike routed %d times, one alone %d times", calls.Load(), alone.Load())
		}
	})
}

// TestForgottenIndex: who needs events after all whose index was given back gets them as
// they were judged, in the spec's form and not as they were read.
func TestForgottenIndex(t *testing.T) {
	c := &source.Chunk{Records: []source.Record{
		{Raw: []byte(`{"type":"TRACK","event":"A","messageId":"1","timestamp":"2024-05-01T00:00:00Z"}`)},
		{Raw: []byte(`{"type":"track","event":"B","messageId":"2","timestamp":"2024-05-02T00:00:00Z"}`)},
		{Raw: []byte(`no event`)},
	}}
	s := &selection.Selection{Rules: &normalize.Rules{}}
	judged, again := engine.Forgotten(s, c)
	if !slices.Equal(judged, again) || !strings.Contains(judged[0], `"type":"track"`) || judged[2] != "none" {
		t.Errorf("judged %q, again %q", judged, again)
	}
}

// TestStampsOfTheRest: lanes that make the same deliveries but for the stamp go on under another configuration, of
// which some events were settled before. The others keep their own stamp and their own account.
func TestStampsOfTheRest(t *testing.T) {
	const n = 20000
	path := input(t, n, nil)
	synctest.Test(t, func(t *testing.T) {
		stamped := func(stamp string) *partner {
			p := newPartner(100)
			p.plan.Content, p.plan.Stamp = "same", stamp
			p.route = func(ev *event.Event, i int, out *destination.Deliveries) {
				item := ev.Raw()
				if i%2200 < 2 || i > n-5 {
					out.Stamps = append(out.Stamps, destination.Stamp{Delivery: int32(len(out.List))})
					item = slices.Concat([]byte(stamp), item)
				}
				out.Add(destination.Delivery{Item: item, InsertID: ev.MessageID().Text()})
			}
			p.check = func(d *destination.Delivery) {
				if bytes.HasPrefix(d.Item, []byte("~")) && !bytes.HasPrefix(d.Item, []byte(stamp)) ||
					!bytes.Contains(d.Item, []byte(`"`+d.InsertID+`"`)) {
					t.Errorf("%s sends %s as %s", stamp, d.Item, d.InsertID)
				}
			}
			return p
		}
		dir := t.TempDir()
		stop := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(stop) })
		few := func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			rs := ok(len(ids))
			for i, id := range ids {
				if id%50 != 3 {
					rs[i] = destination.Result{Outcome: destination.Retry, Reason: destination.Conflict, Status: 409}
				}
			}
			return rs, nil
		}
		sick, ill := stamped("~aa"), stamped("~bb")
		sick.answer, ill.answer = few, few
		s := setup{path: path, dir: dir, lanes: []engine.LaneConfig{lane("a", sick), lane("b", ill)},
			change: func(c *engine.Config) { c.Stop = stop }}
		if _, err := s.run(t); err != nil {
			t.Fatal(err)
		}
		if before := amend(t, dir, "a", "b"); before["a"] == 0 || before["b"] == 0 {
			t.Fatal("no event was settled before others")
		}
		a, b := stamped("~aa"), stamped("~bb")
		s = setup{path: path, dir: dir, lanes: []engine.LaneConfig{lane("a", a), lane("b", b)}}
		sum, err := s.run(t)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range sum.Destinations {
			if d.Delivered != n || d.Pending != 0 {
				t.Errorf("%s: %d delivered, %d pending", d.Name, d.Delivered, d.Pending)
			}
		}
		for id := range n {
			key := strconv.Itoa(id)
			if x, y := sick.seen[key]+a.seen[key], ill.seen[key]+b.seen[key]; x != 1 || y != 1 {
				t.Errorf("event %d was delivered %d and %d times", id, x, y)
			}
		}
	})
}

// amend does what going on under another configuration does to lanes: what they have settled above their mark is
// kept as whole events. It returns how many these are.
func amend(t *testing.T, dir string, lanes ...string) map[string]int {
	r, err := journal.Open(dir, nil, journal.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var as []journal.Amendment
	wholes := map[string]int{}
	for _, name := range lanes {
		l := r.Lane(name)
		w, _ := l.Above()
		wholes[name] = len(w)
		as = append(as, journal.Amendment{Lane: name, Mark: l.Resume().Mark, Counts: l.Resume().Counts, Forget: true,
			Wholes: w})
	}
	if err := r.Amend("x", 1, as); err != nil {
		t.Fatal(err)
	}
	return wholes
}
