package engine

import (
	"bytes"
	"strings"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/destination"
)

// A lane's memory is counted twice. What is not settled is held, and routing
// waits while that is over the lane's budget. But blocks are passed in order,
// and one delivery that waits (for its next attempt, for others of its rare
// kind) keeps its block and all that come after it, settled or not: that is
// pinned. So what waits is moved out of blocks that are mostly settled, which
// then give their memory back, however long the wait is.

// When a lane's blocks are swept, and how many times what is held has to fit into a
// block for that to be worth it. Held deliveries alone can pin four budgets. Variables,
// so that tests can sweep at other times.
var (
	sweepDue            = func(pinned, budget int64) bool { return pinned >= 2*budget }
	worthSweeping int64 = 4
)

// pinnedMost is how many budgets of a lane may be pinned before routing waits.
// What is over four is pinned by requests that take long while others go on.
const pinnedMost = 6

// memoryOf is how many bytes a run may hold: so many, or the default.
func memoryOf(memory int64) int64 {
	if memory <= 0 {
		return 256 << 20
	}
	return memory
}

// laneMemory is how many bytes a lane may hold in deliveries that have still to go
// into a request, and as many again in those that are on their way.
func laneMemory(plan *destination.Plan, memory int64, lanes int) int64 {
	memory, lanes = memoryOf(memory), max(lanes, 1)
	mine := min(max(memory/8/int64(lanes), 1<<20), 5<<20)
	if plan.Positions {
		// Objects are as large as their batches: those that are full are worth more
		// memory, as long as there is some.
		for _, a := range plan.Actions {
			mine = max(mine, min(3*int64(a.Limits.BatchBytes.N), memory/4/int64(lanes)))
		}
	}
	return mine
}

// What a lane's notes take for each delivery and each event, in bytes.
const (
	workBytes  = int64(unsafe.Sizeof(work{}))
	eventBytes = int64(unsafe.Sizeof(laneEvent{}))
)

// sweep moves the deliveries that wait out of the blocks that are mostly
// settled. The caller holds mu.
func (l *lane) sweep() {
	for _, lb := range l.blocks {
		lb.flying = false
	}
	for b := range l.apart {
		for _, w := range b.works {
			w.ev.b.flying = true
		}
	}
	var lean []*laneBlock
	for _, lb := range l.blocks {
		if !lb.lean && !lb.flying && lb.held*worthSweeping <= lb.size {
			lb.lean = true
			lean = append(lean, lb)
		}
	}
	if len(lean) == 0 {
		return
	}
	m := mover{events: map[*laneEvent]*laneEvent{}}
	l.packer.Each(m.works)
	for _, b := range l.ready {
		m.works(b.works)
	}
	for _, b := range l.later {
		m.works(b.works)
	}
	for b := range l.seq.behind {
		m.works(b.works)
	}
	for _, ln := range l.seq.users {
		m.works(ln.held)
	}
	for _, lb := range lean {
		l.shed(lb)
	}
}

// mover copies deliveries out of the blocks that are lean.
type mover struct {
	events map[*laneEvent]*laneEvent
}

func (m *mover) works(ws []*work) {
	for i, w := range ws {
		if !w.moved && w.ev.b.lean {
			ws[i] = m.work(w)
		}
	}
}

func (m *mover) work(w *work) *work {
	n, d := *w, *w.d
	d.Item = bytes.Clone(d.Item)
	d.InsertID = strings.Clone(d.InsertID)
	n.d, n.ev, n.moved = &d, m.event(w.ev), true
	if n.parked != nil {
		n.parked = m.work(n.parked)
	}
	return &n
}

func (m *mover) event(le *laneEvent) *laneEvent {
	n := m.events[le]
	if n == nil {
		c := *le
		c.raw = bytes.Clone(le.raw)
		n = &c
		m.events[le] = n
	}
	return n
}

// shed gives back the memory of a block of which nothing is needed any more but
// its counts. The caller holds mu.
func (l *lane) shed(lb *laneBlock) {
	l.pinned -= lb.size
	lb.size = 0
	if lb.large > 0 {
		l.e.ring.giveLarge(l, lb.large)
		lb.large = 0
	}
	if lb.text != nil {
		lb.text.Release()
		lb.text = nil
	}
	if l.hung {
		lb.routed.spoiled.Store(true)
	}
	lb.routed.release()
	lb.routed = nil
	if cap(lb.raw) >= 2<<20 || l.hung {
		lb.works, lb.events, lb.raw, lb.marked = nil, nil, nil, marked{}
		return
	}
	clear(lb.works)
	clear(lb.events)
	clear(lb.marked.list)
	lb.works, lb.events, lb.raw = lb.works[:0], lb.events[:0], lb.raw[:0]
}
