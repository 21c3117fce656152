package run

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
)

// TestSubscriptionsAreFrozen gives a run another catalogue: where deliveries under way are
// numbered by the presets of the old one, it is refused.
func TestSubscriptionsAreFrozen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	plan := func(subscribed ...string) []*config.Opened {
		return []*config.Opened{{Destination: &config.Destination{Name: "ads"},
			Sender: planned{&destination.Plan{Subscribed: subscribed}}}}
	}
	try := func(dests []*config.Opened, do func(l *journal.Lane)) (string, error) {
		t.Helper()
		run, err := journal.Open(dir, nil, journal.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		var said string
		err = freezeSubscriptions(run, dests, nil, func(n Notice) { said += n.(NewPresets).Changes }, strings.Clone)
		if do != nil {
			do(run.Lane("ads"))
		}
		if e := run.Close(); e != nil {
			t.Fatal(e)
		}
		return said, err
	}
	begin := func(l *journal.Lane) {
		if _, err := l.Begin("purchase", []journal.DeliveryID{{Ordinal: 7, K: 1}}, 1, false); err != nil {
			t.Fatal(err)
		}
	}
	pass := func(l *journal.Lane) {
		if err := l.Advance(journal.Mark{Ordinal: 8}, journal.Counts{Delivered: 8}, nil); err != nil {
			t.Fatal(err)
		}
	}
	old, other := plan("purchase: a", "event: b"), plan("event: b", "purchase: a")
	for i, c := range []struct {
		dests []*config.Opened
		do    func(*journal.Lane)
		err   string
		said  string
	}{
		{dests: old, do: begin},
		{dests: other, err: "in another order"},
		{dests: plan("event: b"), err: "then purchase: a"},
		{dests: old, do: pass},
		{dests: other, said: "in another order"},
		{dests: other},
		{dests: old, said: "in another order"},
	} {
		said, err := try(c.dests, c.do)
		if err == nil != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) ||
			!strings.Contains(said, c.said) || c.said == "" && said != "" {
			t.Errorf("%d: it says %q, and %v", i, said, err)
		}
	}
}

// planned is a sender of which only the plan is asked.
type planned struct{ plan *destination.Plan }

func (p planned) Plan() *destination.Plan { return p.plan }
func (planned) Route(*event.Event, *destination.Env, *destination.Deliveries) {
	panic("nothing is routed here")
}
func (planned) Send(context.Context, destination.Transport, *destination.Batch) ([]destination.Result, error) {
	panic("nothing is sent here")
}
