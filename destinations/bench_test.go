package destinations_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
)

// BenchmarkRoute maps and writes 2,000 events for every partner; cpu-ns/event is the
// processor's time, which says something on a busy machine, too. Reading, sending and
// journal are not in it: of varied events, and of a uniform stream's. index is what
// indexing the events takes, for comparison.
func BenchmarkRoute(b *testing.B) {
	for _, variety := range []int{eventgen.DefaultVariety, 0} {
		var text bytes.Buffer
		if err := eventgen.Write(&text, eventgen.Options{Seed: 1, Events: 2000, Variety: variety}); err != nil {
			b.Fatal(err)
		}
		var parser event.Parser
		var events []*event.Event
		for line := range bytes.Lines(text.Bytes()) {
			ev, err := parser.Parse(bytes.TrimSpace(line))
			if err != nil {
				b.Fatal(err)
			}
			events = append(events, ev)
		}
		b.Run(fmt.Sprintf("index/variety=%d", variety), func(b *testing.B) {
			var parser event.Parser
			began := processorTime()
			for b.Loop() {
				parser.Reset()
				for line := range bytes.Lines(text.Bytes()) {
					if _, err := parser.Parse(line); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64((processorTime()-began).Nanoseconds())/float64(b.N*len(events)), "cpu-ns/event")
		})
		for _, d := range slices.DeleteFunc(destinations.All(), func(d destination.Destination) bool { return d.Local }) {
			s, err := d.Open(destination.Config{Settings: d.Settings.Examples()})
			if err != nil {
				b.Fatalf("%s: %v", d.Info.Slug, err)
			}
			b.Run(fmt.Sprintf("%s/variety=%d", d.Info.Slug, variety), func(b *testing.B) {
				b.ReportAllocs()
				var out destination.Deliveries
				env := destination.Env{Now: time.Date(2024, 3, 2, 0, 0, 0, 0, time.UTC)}
				began := processorTime()
				for b.Loop() {
					out.Reset()
					for _, ev := range events {
						s.Route(ev, &env, &out)
					}
				}
				b.ReportMetric(float64((processorTime()-began).Nanoseconds())/float64(b.N*len(events)), "cpu-ns/event")
			})
		}
	}
}
