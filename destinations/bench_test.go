package destinations_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
)

// BenchmarkRoute maps and writes 2,000 events for every partner; ns/event and
// allocs/event are of that alone, without reading, sending and journal: of events of forms that are
// known, and of others.
func BenchmarkRoute(b *testing.B) {
	var text bytes.Buffer
	if err := eventgen.Write(&text, eventgen.Options{Seed: 1, Events: 2000}); err != nil {
		b.Fatal(err)
	}
	read := func(forms *event.Forms) (events []*event.Event) {
		parser := event.Parser{Forms: forms}
		for line := range bytes.Lines(text.Bytes()) {
			ev, err := parser.Parse(bytes.TrimSpace(line))
			if err != nil {
				b.Fatal(err)
			}
			events = append(events, ev)
		}
		return events
	}
	forms := new(event.Forms)
	read(forms)
	events := map[string][]*event.Event{"known": read(forms), "strange": read(nil)}
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		for _, name := range []string{"strange", "known"} {
			s, err := d.Open(destination.Config{Settings: d.Settings.Examples()})
			if err != nil {
				b.Fatalf("%s: %v", d.Info.Slug, err)
			}
			b.Run(d.Info.Slug+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				var out destination.Deliveries
				env := destination.Env{Now: time.Date(2024, 3, 2, 0, 0, 0, 0, time.UTC)}
				events := events[name]
				for b.Loop() {
					out.Reset()
					for _, ev := range events {
						s.Route(ev, &env, &out)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
			})
		}
	}
}
