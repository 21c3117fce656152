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
