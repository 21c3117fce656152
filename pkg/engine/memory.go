package engine

import (
	"bytes"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/destination"
)

// memory owns how much a lane may hold. It is counted twice. What is not settled is
// held, and routing waits while that is over the lane's budget. But blocks are passed
// in order, and one delivery that waits (for its next attempt, for others of its rare
// kind) keeps its block and all that come after it, settled or not: that is pinned. So
// what waits is moved out of blocks that are mostly settled, which then give their
// memory back, however long the wait is. The lane's lock guards it.
type memory struct {
	budget int64 // of what is held and no longer in the packer
	held   int64 // bytes of unsettled deliveries
	pinned int64 // bytes of all that blocks hold, with what is settled of it
	large  func(n int)
	policy compaction
}

// compaction says when blocks are compacted.
type compaction struct {
	due   func(pinned, budget int64) bool
	worth int64 // how many times what is held has to fit into a block for it to be worth it
}

// Held deliveries alone can pin four budgets.
func defaultCompaction() compaction {
	return compaction{func(pinned, budget int64) bool { return pinned >= 2*budget }, 4}
}

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

// room says whether the lane may take more, of which so much is still being packed.
func (m *memory) room(packing int64) bool {
	return m.held-packing < m.budget && m.pinned < pinnedMost*m.budget
}

// take counts the memory of a routed block.
func (m *memory) take(lb *laneBlock) { m.pinned += lb.size }

// keep counts what a delivery holds.
func (m *memory) keep(w *work) { m.count(w, 1) }

// drop counts it no more.
func (m *memory) drop(w *work) { m.count(w, -1) }

func (m *memory) count(w *work, sign int64) {
	n := sign * int64(len(w.d.Item)+len(w.ev.raw))
	m.held += n
	w.ev.b.held += n
}

// compact moves the deliveries that wait out of the blocks that are mostly settled,
// when that is due.
func (m *memory) compact(blocks []*laneBlock, q *queue, hung bool) {
	if !m.policy.due(m.pinned, m.budget) {
		return
	}
	for _, lb := range blocks {
		lb.flying = false
	}
	for b := range q.apart {
		for _, w := range b.works {
			w.ev.b.flying = true
		}
	}
	var emptied []*laneBlock
	for _, lb := range blocks {
		if !lb.emptied && !lb.flying && lb.held*m.policy.worth <= lb.size {
			lb.emptied = true
			emptied = append(emptied, lb)
		}
	}
	if len(emptied) == 0 {
		return
	}
	var mv mover
	q.each(mv.works)
	for _, lb := range emptied {
		m.free(lb, hung)
	}
}

// mover copies deliveries out of the blocks that are emptied. What it copies lies in
// pieces that several share, since the collector is asked for each: those that wait
// together mostly go together. A piece is small enough for one of them to keep it.
type mover struct {
	list   []work
	made   []destination.Delivery
	events []laneEvent
	text   []byte
}

const (
	pieceOfMoved = 16
	textOfMoved  = 16 << 10
)

func (m *mover) works(ws []*work) {
	for i, w := range ws {
		if !w.moved && w.ev.b.emptied {
			ws[i] = m.work(w)
		}
	}
}

func (m *mover) work(w *work) *work {
	n, d := another(&m.list, *w), another(&m.made, *w.d)
	d.Item = m.copy(d.Item)
	if d.InsertID != "" {
		id := m.copy(unsafe.Slice(unsafe.StringData(d.InsertID), len(d.InsertID)))
		d.InsertID = unsafe.String(&id[0], len(id)) // nobody writes to it again
	}
	n.d, n.ev, n.moved = d, m.event(w.ev), true
	if n.parked != nil {
		n.parked = m.work(n.parked)
	}
	return n
}

// event is the copy of an event: one for all of its deliveries.
func (m *mover) event(le *laneEvent) *laneEvent {
	if le.moved == nil {
		n := another(&m.events, *le)
		n.raw = m.copy(le.raw)
		le.moved = n
	}
	return le.moved
}

// another puts a copy behind those of a piece, or begins a piece.
func another[T any](piece *[]T, x T) *T {
	if len(*piece) == cap(*piece) {
		*piece = make([]T, 0, pieceOfMoved)
	}
	*piece = append(*piece, x)
	return &(*piece)[len(*piece)-1]
}

// copy copies a text into the piece of memory that is being filled.
func (m *mover) copy(b []byte) []byte {
	if len(b) == 0 || len(b) >= textOfMoved/4 {
		return bytes.Clone(b) // nothing is not the same as an empty text
	}
	if cap(m.text)-len(m.text) < len(b) {
		m.text = make([]byte, 0, textOfMoved)
	}
	from := len(m.text)
	m.text = append(m.text, b...)
	return m.text[from:len(m.text):len(m.text)]
}

// pass gives back the memory of a block that the mark has passed.
func (m *memory) pass(lb *laneBlock, hung bool) {
	if lb.large > 0 {
		m.large(lb.large)
		lb.large = 0
	}
	if !lb.emptied {
		m.free(lb, hung)
	}
	lb.emptied, lb.held = false, 0
}

// free gives back the memory of a block of which nothing is needed any more but
// its counts. hung: code that has not come back may still look at it.
func (m *memory) free(lb *laneBlock, hung bool) {
	m.pinned -= lb.size
	lb.size = 0
	if lb.large > 0 {
		m.large(lb.large)
		lb.large = 0
	}
	if lb.text != nil {
		lb.text.Release()
		lb.text = nil
	}
	if hung {
		lb.routed.spoiled.Store(true)
	}
	lb.routed.release()
	lb.routed = nil
	if cap(lb.raw) >= 2<<20 || hung {
		lb.works, lb.events, lb.raw, lb.marked = nil, nil, nil, marked{}
		return
	}
	clear(lb.works)
	clear(lb.events)
	clear(lb.marked.list)
	lb.works, lb.events, lb.raw = lb.works[:0], lb.events[:0], lb.raw[:0]
}
