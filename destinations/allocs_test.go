package destinations_test

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
)

// mostAllocations is how often routing an event may allocate in the steady state: what takes more keeps the collector
// busy. The partners took 0.01 to 0.10 of varied events when it was set, and Mixpanel 0.3 of uniform ones.
const mostAllocations = 0.4

// ceilings are those of partners that need more, each with the reason. None may be above 1.
func ceilings() map[string]float64 {
	return map[string]float64{}
}

// TestAllocations counts what routing takes of new memory, for every partner on events that it has not seen before, a
// block at a time as the engine does. -v shows the figures. FANFOLD_PRESETS=all fires every action by its own
// trigger, as `presets: all` does, and holds nobody to anything.
func TestAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates for itself; go test without -race counts")
	}
	const warm, each, times = 3000, 1000, 5
	presets := os.Getenv("FANFOLD_PRESETS")
	// A collection empties pools, which are filled again: that is not what is counted.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	inputs := map[int][][]byte{}
	for _, variety := range []int{eventgen.DefaultVariety, 0} {
		var text bytes.Buffer
		if err := eventgen.Write(&text, eventgen.Options{Seed: 1, Events: warm + each*times, Variety: variety}); err != nil {
			t.Fatal(err)
		}
		inputs[variety] = slices.Collect(bytes.Lines(text.Bytes()))
	}
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		t.Run(d.Info.Slug, func(t *testing.T) {
			s, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: presets})
			if err != nil {
				t.Fatal(err)
			}
			most, own := ceilings()[d.Info.Slug]
			if !own {
				most = mostAllocations
			}
			for variety, lines := range inputs {
				var allocs, sizes []float64
				measure := routing(t, s)
				measure(lines[:warm])
				for some := range slices.Chunk(lines[warm:], each) {
					n, size := measure(some)
					allocs, sizes = append(allocs, n), append(sizes, size)
				}
				slices.Sort(allocs)
				slices.Sort(sizes)
				t.Logf("variety=%-3d %-42s %.2f allocations an event (at most %.2f), %4.0f bytes", variety, d.Info.Slug,
					allocs[times/2], allocs[times-1], sizes[times/2])
				if allocs[times/2] > most && presets == "" {
					t.Errorf("%.2f allocations an event, at most %.2f are allowed: go test -bench 'Route/%s/variety=%d' "+
						"-memprofile says where", allocs[times/2], most, d.Info.Slug, variety)
				}
			}
		})
	}
}

// routing returns a function that routes events and says how often an event allocates, and how much.
func routing(t *testing.T, s destination.Sender) func(lines [][]byte) (allocs, size float64) {
	var parser event.Parser
	if p := s.Plan().Paths; len(p) > 0 {
		parser.Follow = event.Join(p...)
	}
	var out destination.Deliveries
	env := destination.Env{Now: time.Date(2024, 3, 2, 0, 0, 0, 0, time.UTC)}
	return func(lines [][]byte) (allocs, size float64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for block := range slices.Chunk(lines, 500) {
			parser.Reset()
			out.Reset()
			for _, line := range block {
				ev, err := parser.Parse(line)
				if err != nil {
					t.Fatal(err)
				}
				s.Route(ev, &env, &out)
			}
		}
		runtime.ReadMemStats(&after)
		n := float64(len(lines))
		return float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n
	}
}
