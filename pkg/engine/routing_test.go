package engine

import (
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
)

// routes is a destination that only routes.
type routes struct {
	destination.Sender
	route func(*destination.Deliveries)
}

func (r routes) Route(_ *event.Event, _ *destination.Env, out *destination.Deliveries) { r.route(out) }

// TestPanicRejectsOneEvent: what a destination had made of an event before it panicked is
// taken back, what it made of earlier events stays; only the first panics have a stack.
func TestPanicRejectsOneEvent(t *testing.T) {
	ev, err := event.Parse([]byte(`{"type":"track"}`))
	if err != nil {
		t.Fatal(err)
	}
	bad := false
	r := &router{hands: newHands(), sender: routes{route: func(out *destination.Deliveries) {
		out.Add(destination.Delivery{Item: []byte("x"), InsertID: "i"})
		if bad {
			panic("no such thing")
		}
	}}}
	var out destination.Deliveries
	r.event(ev, &destination.Env{}, &out)
	bad = true
	for range maxStacks + 1 {
		r.event(ev, &destination.Env{}, &out)
	}
	if len(out.List) != maxStacks+2 || out.List[0].Settled != nil {
		t.Fatalf("%d deliveries were made", len(out.List))
	}
	first, last := out.List[1].Settled, out.List[len(out.List)-1].Settled
	if first == nil || first.Outcome != destination.Rejected || first.Reason != destination.Panicked ||
		!strings.Contains(first.Detail, "no such thing") || !strings.Contains(first.Detail, "goroutine") {
		t.Errorf("the first panic: %+v", first)
	}
	if last == nil || !strings.Contains(last.Detail, "no such thing") || strings.Contains(last.Detail, "goroutine") {
		t.Errorf("one more panic: %+v", last)
	}
}

// TestPartsOfABlock: the parts that goroutines route by themselves are all of a block, and
// none of them is tiny.
func TestPartsOfABlock(t *testing.T) {
	for _, records := range []int{0, 1, shareable - 1, shareable, 5 * shareable, 5000} {
		var r routed
		r.split(records)
		from, next := 7, 7
		for i := range r.n {
			first, end := r.part(from, from+records, i)
			if first != next || r.n > 1 && end-first < shareable {
				t.Errorf("%d records: part %d is %d to %d, after %d", records, i, first, end, next)
			}
			next = end
		}
		if next != from+records {
			t.Errorf("%d records: the parts end at %d", records, next-from)
		}
	}
}
