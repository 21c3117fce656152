package destinations_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
)

// TestCompiledBodies routes events for every partner with compiled bodies and with
// interpreted ones: what comes of them has to be the same, to the byte.
// FANFOLD_EVENTS=50000 is the long form.
func TestCompiledBodies(t *testing.T) {
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
	eachOpened(t, func(t *testing.T, s destination.Sender) {
		plain := destination.Interpreted(s)
		var got, want destination.Deliveries
		for i, ev := range events {
			env := destination.Env{
				Now:      time.Date(2024, 3, 2, i%24, 0, 0, 0, time.UTC),
				Fallback: fmt.Sprint("fallback-", i),
			}
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

func shown(list []destination.Delivery) (s string) {
	for _, d := range list {
		item := d.Item
		d.Item = nil
		s += fmt.Sprintf("\n%.2000s\n%+v %+v", item, d, d.Verdict())
	}
	return s
}
