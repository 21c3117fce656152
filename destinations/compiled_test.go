package destinations_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// TestCompiledBodies routes events for every partner with compiled bodies and with
// interpreted ones: what comes of them has to be the same, to the byte.
// FANFOLD_EVENTS=50000 is the long form.
func TestCompiledBodies(t *testing.T) {
	events := spoilt(t)
	eachOpened(t, func(t *testing.T, s destination.Sender) {
		plain := destination.Interpreted(s)
		var got, want destination.Deliveries
		for i, ev := range events {
			env := envOf(i)
			got.Reset()
			want.Reset()
			s.Route(ev, &env, &got)
			plain.Route(ev, &env, &want)
			if !reflect.DeepEqual(got.List, want.List) || !reflect.DeepEqual(got.Stamps, want.Stamps) {
				t.Fatalf("%.2000s\ncompiled %s\nand has to be %s", ev.Raw(), shown(got.List), shown(want.List))
			}
		}
		if c, ok := s.(destination.Checked); ok && c.Difference() != "" {
			t.Error(c.Difference())
		}
	})
}

// TestMappedTogether routes events for several Senders of every partner, one after the other, with mappings that they
// share: each makes of them what one that shares nothing makes. They have other settings, one takes half of the events,
// one has all presets, and one has the same triggers with another mapping.
func TestMappedTogether(t *testing.T) {
	events := spoilt(t)
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		t.Run(d.Info.Slug, func(t *testing.T) {
			t.Parallel()
			var alone []destination.Sender
			open := func(name, presets string, subs ...destination.Subscription) destination.Sender {
				c := destination.Config{Settings: d.Settings.Examples(), Presets: presets, Actions: subs}
				for key, v := range d.Settings.Examples() {
					if text, is := v.(string); is && name != "" {
						c.Settings[key] = text + name
						if _, err := d.Open(c); err != nil {
							c.Settings[key] = text // one of a few choices, perhaps
						}
					}
				}
				s, err := d.Open(c)
				if err != nil {
					t.Fatal(err)
				}
				other, err := d.Open(c)
				if err != nil {
					t.Fatal(err)
				}
				alone = append(alone, other)
				return s
			}
			senders := []destination.Sender{open("", "automatic"), open("x", "automatic"), open("y", "all"), open("", ""),
				open("z", "", otherwise(d)...)}
			numbers := destination.MapAlike(senders)
			if len(senders[0].Plan().Subscribed) > 0 && !slices.Equal([]int{numbers[1], numbers[3]}, []int{0, 0}) {
				t.Errorf("they map as %d", numbers)
			}
			lists, want := make([]destination.Deliveries, len(senders)), destination.Deliveries{}
			for i, ev := range events {
				if i%70 == 0 {
					for k := range lists {
						lists[k].Rest()
					}
					for k := range lists[1:] {
						lists[1+k].Join(&lists[0])
					}
				}
				env := envOf(i)
				lists[0].Next()
				for k, s := range senders {
					lists[k].Reset()
					if k == 0 && i%2 == 0 {
						continue
					}
					s.Route(ev, &env, &lists[k])
					want.Reset()
					alone[k].Route(ev, &env, &want)
					if got := &lists[k]; !reflect.DeepEqual(got.List, want.List) || !slices.Equal(got.Stamps, want.Stamps) {
						t.Fatalf("%d: %.2000s\ntogether %s\nalone %s", k, ev.Raw(), shown(got.List), shown(want.List))
					}
				}
			}
		})
	}
}

// otherwise are subscriptions with the triggers that all of a partner's actions have, and without the half of what they
// map.
func otherwise(d destination.Destination) (subs []destination.Subscription) {
	for _, a := range d.Actions {
		ms := []mapping.Member{}
		for i, f := range a.Fields {
			if !f.Default.IsZero() && i%2 == 0 {
				ms = append(ms, mapping.M(f.Key, f.Default))
			}
		}
		if a.Trigger != "" && len(ms) > 0 {
			subs = append(subs, destination.Subscription{Action: a.Slug, Subscribe: a.Trigger, Mapping: mapping.Object(ms...)})
		}
	}
	return subs
}

// envOf is the environment of the ith event.
func envOf(i int) destination.Env {
	return destination.Env{
		Now:      time.Date(2024, 3, 2, i%24, 0, 0, 0, time.UTC),
		Fallback: fmt.Sprint("fallback-", i),
	}
}

// spoilt are varied and uniform events, two of three with values that they should not have.
func spoilt(t *testing.T) []*event.Event {
	t.Helper()
	n := 1500
	if s := os.Getenv("FANFOLD_EVENTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("FANFOLD_EVENTS: %v", err)
		}
	}
	var text bytes.Buffer
	for _, variety := range []int{0, eventgen.DefaultVariety} {
		if err := eventgen.Write(&text,
			eventgen.Options{Seed: 5, Events: 600, Messy: true, Variety: variety}); err != nil {
			t.Fatal(err)
		}
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	var lines [][]byte
	for line := range bytes.Lines(text.Bytes()) {
		lines = append(lines, bytes.TrimSpace(line))
	}
	var events []*event.Event
	for i := range n {
		raw := lines[rnd.IntN(len(lines))]
		if i%3 > 0 {
			raw = vary(rnd, raw, []int{4, 40}[i%2], `"Iterable"`)
		}
		if ev, err := event.Parse(raw); err == nil {
			events = append(events, ev)
		}
	}
	return events
}

func shown(list []destination.Delivery) (s string) {
	for _, d := range list {
		item := d.Item
		d.Item = nil
		s += fmt.Sprintf("\n%.2000s\n%+v %+v", item, d, d.Verdict())
	}
	return s
}
