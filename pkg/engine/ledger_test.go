package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
)

// testLedger is a ledger over a journal of its own.
func testLedger(t *testing.T) *ledger {
	t.Helper()
	now := func() time.Time { return epoch }
	run, err := journal.Open(t.TempDir(), nil, journal.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run.Close(); err != nil {
			t.Error(err)
		}
	})
	g := newLedger(run.Lane("a"), now)
	g.state = func() []byte { return nil }
	g.passed = func(*laneBlock) {}
	return g
}

// testBlock is a block of events, each with so many deliveries, from an ordinal on.
func testBlock(from uint64, deliveries ...int) *laneBlock {
	lb := &laneBlock{object: "in.jsonl", end: journal.Mark{Ordinal: from + uint64(len(deliveries))}}
	lb.events = make([]laneEvent, 0, len(deliveries))
	n := 0
	for _, k := range deliveries {
		n += k
	}
	lb.works = make([]work, 0, n)
	for i, k := range deliveries {
		lb.events = append(lb.events, laneEvent{b: lb, raw: []byte(`{"type":"track"}`), open: int32(k)})
		for j := range k {
			lb.works = append(
				lb.works,
				work{ev: &lb.events[i], id: journal.DeliveryID{Ordinal: from + uint64(i), K: uint32(j)},
					d: &destination.Delivery{Item: []byte("x"), Step: int32(j), Wait: j > 0}},
			)
		}
	}
	return lb
}

// TestLedger: an event is what the worst of its deliveries is, and the mark moves over
// blocks that are settled, in their order.
func TestLedger(t *testing.T) {
	g := testLedger(t)
	var passed []uint64
	g.passed = func(lb *laneBlock) { passed = append(passed, lb.end.Ordinal) }
	var arrived []string
	g.arrived = func(raw []byte) { arrived = append(arrived, string(raw)) }
	first, second := testBlock(0, 1, 2), testBlock(2, 1)
	g.add(first)
	g.add(second)
	g.settle(&second.works[0], journal.Delivered, "")
	g.pass()
	if len(passed) > 0 || g.mark.Ordinal != 0 {
		t.Errorf("the mark is at %d although an earlier block is open", g.mark.Ordinal)
	}
	first.works[1].parked = &first.works[2]
	if next := g.settle(&first.works[1], journal.Delivered, ""); next != &first.works[2] {
		t.Error("the next step is not known")
	}
	g.settle(&first.works[2], journal.Rejected, "refused")
	g.settle(&first.works[2], journal.Delivered, "") // is settled
	g.settle(&first.works[0], journal.Skipped, "unneeded")
	g.pass()
	if len(passed) != 2 || g.mark.Ordinal != 3 || g.settled() != 3 {
		t.Errorf("passed %v, the mark is at %d, %d are settled", passed, g.mark.Ordinal, g.settled())
	}
	if c := g.counts; c.Delivered != 1 || c.Rejected["refused"] != 1 || c.Skipped["unneeded"] != 1 ||
		c.Deliveries != 2 {
		t.Errorf("counts %+v", c)
	}
	if len(arrived) != 1 || !strings.Contains(arrived[0], "track") {
		t.Errorf("told of %q", arrived)
	}
	if _, err := g.saveDue(); err != nil || g.dirty != true {
		t.Errorf("saved too early: %v", err)
	}
	if err := g.save(); err != nil || g.dirty {
		t.Errorf("not saved: %v", err)
	}
}
