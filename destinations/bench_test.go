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

// BenchmarkRoute indexes, maps and writes 2,000 events for every partner; cpu-ns/event is
// the processor's time, which says something on a busy machine, too. Reading, sending and
// journal are not in it: of varied events, and of a uniform stream's. index is what
// indexing the events takes by itself; all is for all partners together, as in one run.
func BenchmarkRoute(b *testing.B) {
	for _, variety := range []int{eventgen.DefaultVariety, 0} {
		var text bytes.Buffer
		if err := eventgen.Write(&text, eventgen.Options{Seed: 1, Events: 2000, Variety: variety}); err != nil {
			b.Fatal(err)
		}
		var senders []destination.Sender
		for _, d := range destinations.All() {
			if d.Local {
				continue
			}
			s, err := d.Open(destination.Config{Settings: d.Settings.Examples()})
			if err != nil {
				b.Fatalf("%s: %v", d.Info.Slug, err)
			}
			b.Run(fmt.Sprintf("%s/variety=%d", d.Info.Slug, variety), func(b *testing.B) { route(b, text.Bytes(), s) })
			senders = append(senders, s)
		}
		b.Run(fmt.Sprintf("all/variety=%d", variety), func(b *testing.B) { route(b, text.Bytes(), senders...) })
		b.Run(fmt.Sprintf("index/variety=%d", variety), func(b *testing.B) { route(b, text.Bytes()) })
	}
}

// route is one of BenchmarkRoute's: a block of the engine's size at a time.
func route(b *testing.B, text []byte, senders ...destination.Sender) {
	b.ReportAllocs()
	var parser event.Parser
	var paths []*event.PathSet
	for _, s := range senders {
		paths = append(paths, s.Plan().Paths...)
	}
	if len(paths) > 0 {
		parser.Follow = event.Join(paths...)
	}
	outs := make([]destination.Deliveries, len(senders))
	env := destination.Env{Now: time.Date(2024, 3, 2, 0, 0, 0, 0, time.UTC)}
	lines := slices.Collect(bytes.Lines(text))
	var events []*event.Event
	began := processorTime()
	for b.Loop() {
		for block := range slices.Chunk(lines, 500) {
			parser.Reset()
			events = events[:0]
			for _, line := range block {
				ev, err := parser.Parse(line)
				if err != nil {
					b.Fatal(err)
				}
				events = append(events, ev)
			}
			for i, s := range senders {
				outs[i].Reset()
				for _, ev := range events {
					s.Route(ev, &env, &outs[i])
				}
			}
		}
	}
	b.ReportMetric(float64((processorTime()-began).Nanoseconds())/float64(b.N*len(lines)), "cpu-ns/event")
}
