package destinations_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
)

// TestDeliveriesOutliveTheirEvents: the memory of events and of items is used again, while what else a delivery has
// (where it goes, its insert id, why it is not sent) may wait for days. So nothing of that may lie in it.
func TestDeliveriesOutliveTheirEvents(t *testing.T) {
	var text bytes.Buffer
	for _, variety := range []int{0, eventgen.DefaultVariety} {
		if err := eventgen.Write(&text, eventgen.Options{Seed: 9, Events: 400, Messy: true, Variety: variety}); err != nil {
			t.Fatal(err)
		}
	}
	lasting := func(d *destination.Delivery) string {
		return fmt.Sprintf("%+v %q %+v", d.Address(), d.InsertID, d.Verdict())
	}
	eachOpened(t, func(t *testing.T, s destination.Sender) {
		var parser event.Parser
		if p := s.Plan().Paths; len(p) > 0 {
			parser.Follow = event.Join(p...)
		}
		var out destination.Deliveries
		var kept []destination.Delivery
		var want []string
		buf, i := make([]byte, 0, 1<<20), 0
		for line := range bytes.Lines(text.Bytes()) {
			parser.Reset()
			out.Reset()
			buf = append(buf[:0], line...)
			env := destination.Env{Now: time.Date(2024, 3, 2, i%24, 0, 0, 0, time.UTC), Fallback: fmt.Sprint("own-", i)}
			i++
			ev, err := parser.Parse(buf)
			if err != nil {
				continue
			}
			s.Route(ev, &env, &out)
			for _, d := range out.List {
				want = append(want, lasting(&d))
				d.Item = nil
				kept = append(kept, d)
			}
			for j := range buf {
				buf[j] = '#'
			}
		}
		for i := range kept {
			if got := lasting(&kept[i]); got != want[i] {
				t.Fatalf("delivery %d was %s and has become %s", i, want[i], got)
			}
		}
	})
}
