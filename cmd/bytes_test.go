package cmd

import (
	"bytes"
	"context"
	"net/http"
	"testing"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/transport"
)

// TestBytesAreTheServers packs real events for every partner: the bytes that a request
// counts as, by which its size is kept and which the summary shows, are those of the body
// that the partner gets.
func TestBytesAreTheServers(t *testing.T) {
	var text bytes.Buffer
	if err := eventgen.Write(&text, eventgen.Options{Seed: 7, Events: 1000}); err != nil {
		t.Fatal(err)
	}
	var events []*event.Event
	for line := range bytes.Lines(text.Bytes()) {
		ev, err := event.Parse(bytes.Clone(bytes.TrimSpace(line)))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, ev)
	}
	now, ok := events[len(events)-1].Timestamp()
	if !ok {
		t.Fatal("the last event has no time")
	}
	total := 0
	for _, d := range testApp(nil).catalogue.All() {
		if d.Local {
			continue
		}
		t.Run(d.Info.Slug, func(t *testing.T) {
			s, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: "all"})
			if err != nil {
				t.Fatal(err)
			}
			plan := s.Plan()
			owns := map[string]bool{} // actions that own their conversations
			for _, a := range d.Actions {
				owns[a.Slug] = a.Rung == 5
			}
			requests := 0
			p := engine.NewPacker(
				plan,
				engine.PackOptionsOf(plan, engine.Options{}, 0, 1),
				func(b *engine.Packed[*destination.Delivery]) {
					net := &transport.Capture{}
					_, _ = s.Send(context.Background(), net, &destination.Batch{Deliveries: b.Values, Now: now})
					got := net.Take()
					if len(got) != 1 || owns[plan.Actions[b.Group.Action].Slug] || got[0].Method == http.MethodGet {
						return
					}
					if requests++; len(got[0].Body) != b.Bytes {
						t.Errorf(
							"%s: a body of %d bytes with %d items counts as %d",
							plan.Actions[b.Group.Action].Slug,
							len(got[0].Body),
							len(b.Values),
							b.Bytes,
						)
					}
				},
			)
			var list destination.Deliveries
			for i, ev := range events {
				list.Detach()
				s.Route(ev, &destination.Env{Now: now, Fallback: "f"}, &list)
				for k := range list.List {
					if del := &list.List[k]; del.Settled == nil {
						p.Add(
							engine.Parcel[*destination.Delivery]{
								Delivery: del,
								Value:    del,
								User:     engine.UserKey(ev),
								Record:   uint64(i),
								Held:     len(del.Item),
							},
						)
					}
				}
			}
			p.Flush()
			total += requests
		})
	}
	if total < 1000 {
		t.Errorf("only %d requests were looked at", total)
	}
}
