package engine

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/stock"
)

// TestBudget: a lane takes more while what it holds outside of the packer is below its
// budget and what its blocks pin below several.
func TestBudget(t *testing.T) {
	for _, c := range []struct {
		held, pinned, packing int64
		room                  bool
	}{
		{0, 0, 0, true}, {99, 0, 0, true}, {100, 0, 0, false}, {150, 0, 60, true},
		{0, pinnedMost*100 - 1, 0, true}, {0, pinnedMost * 100, 0, false},
	} {
		m := &memory{budget: 100, held: c.held, pinned: c.pinned}
		if m.room(c.packing) != c.room {
			t.Errorf("%+v: room is %v", c, !c.room)
		}
	}
}

// TestLaneMemory: many lanes share what there is, and those that write large objects get
// more of it.
func TestLaneMemory(t *testing.T) {
	plain := &destination.Plan{Actions: []destination.ActionPlan{{}}}
	one, many := laneMemory(plain, 0, 1), laneMemory(plain, 0, 1000)
	if one != 5<<20 || many != 1<<20 {
		t.Errorf("one lane has %d bytes, one of a thousand %d", one, many)
	}
	objects := &destination.Plan{Positions: true, Actions: []destination.ActionPlan{{}}}
	objects.Actions[0].Limits.BatchBytes.N = 20 << 20
	if got := laneMemory(objects, 0, 1); got != 60<<20 {
		t.Errorf("a lane that writes objects of 20 MiB has %d bytes", got)
	}
	if got := laneMemory(objects, 0, 64); got > 5<<20 {
		t.Errorf("one of 64 has %d bytes", got)
	}
}

// TestCompact: when much is pinned, deliveries that wait are copied out of blocks that are
// mostly settled, those behind others too, and the blocks give their memory back; blocks
// with requests on their way stay.
func TestCompact(t *testing.T) {
	v, _ := testVerdicts(t)
	due := false
	m := v.memory
	m.policy.due = func(int64, int64) bool { return due }
	idle, busy := testBlock(0, 2), testBlock(1, 1)
	for _, lb := range []*laneBlock{idle, busy} {
		lb.size, lb.routed = 1000, new(routed)
		lb.routed.home = stock.New[routed](1)
		m.take(lb)
		for i := range lb.works {
			m.keep(&lb.works[i])
		}
	}
	idle.works[0].parked = &idle.works[1]
	item := idle.works[0].d
	shared := strings.Repeat("addresses of many ", 10)
	to := &destination.Address{Path: shared[:9], Key: shared[20:30]}
	idle.works[0].d.To, idle.works[1].d.To = to, to
	waiting, flying := &batch{works: []*work{&idle.works[0]}}, &batch{works: []*work{&busy.works[0]}}
	v.queue.ready = append(v.queue.ready, waiting)
	v.queue.immovable[flying] = struct{}{}
	blocks := []*laneBlock{idle, busy}

	m.compact(blocks, v.queue, false)
	if m.pinned != 2000 || idle.emptied {
		t.Fatal("it is compacted though nothing is due")
	}
	due = true
	held := m.held
	m.compact(blocks, v.queue, false)
	w := waiting.works[0]
	switch {
	case !idle.emptied || busy.emptied:
		t.Errorf("emptied are %v and %v", idle.emptied, busy.emptied)
	case m.pinned != 1000 || m.held != held:
		t.Errorf("%d bytes are pinned, %d held", m.pinned, m.held)
	case w.piece == nil || w.d == item || string(w.d.Item) != "x" || string(w.ev.raw) == "":
		t.Errorf("what waits was not copied: %+v", w)
	case w.d.To == to || *w.d.To != *to || unsafe.StringData(w.d.To.Path) == unsafe.StringData(to.Path):
		t.Errorf("its address was not copied: %+v", w.d.To)
	case w.parked.d.To != w.d.To:
		t.Error("an address that two of them have was copied twice")
	case w.parked == nil || w.parked.piece == nil || w.parked.ev != w.ev:
		t.Error("the step behind it was not copied, or lost its event")
	}
	m.mover.free = stock.New[piece](1)
	m.drop(w)
	m.drop(w.parked)
	m.compact(nil, v.queue, false)
	if m.mover.free.Take() == w.piece {
		t.Error("memory is used again in which an event lies that is not settled")
	}
	m.mover.leave(w.ev.piece)
	if m.compact(nil, v.queue, true); m.mover.free.Take() == w.piece {
		t.Error("memory is used again that code which hangs may look at")
	}
	p := m.mover.room(0, 1)
	m.mover.left = append(m.mover.left, p)
	if m.compact(nil, v.queue, false); m.mover.room(0, textOfMoved) != p {
		t.Error("memory of what is settled is not used again")
	}
	m.pass(idle, false)
	if m.pinned != 1000 {
		t.Errorf("%d bytes are pinned when a block is passed that had given its memory back", m.pinned)
	}
}
