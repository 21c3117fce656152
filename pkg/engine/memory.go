package engine

import (
	"bytes"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/stock"
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
	mover  mover
	looked bool              // at the blocks, since something was settled
	rows   stock.Stock[rows] // that nobody uses; safe without the lock
}

// compaction says when blocks are compacted.
type compaction struct {
	due   func(pinned, budget int64) bool
	worth int64 // how many times what is held has to fit into a block for it to be worth it
}

// Held deliveries alone can pin four budgets.
func defaultCompaction() compaction {
	return compaction{func(pinned, budget int64) bool { return pinned >= budget+budget/2 }, 4}
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

// drop counts it no more: it is settled, or about to be.
func (m *memory) drop(w *work) {
	m.count(w, -1)
	m.looked = false
	m.mover.leave(w.piece)
}

func (m *memory) count(w *work, sign int64) {
	n := sign * int64(len(w.d.Item)+len(w.ev.raw))
	m.held += n
	w.ev.b.held += n
}

// compact moves the deliveries that wait out of the blocks that are mostly settled,
// when that is due.
func (m *memory) compact(blocks []*laneBlock, q *queue, hung bool) {
	m.mover.reuse(2*m.budget, hung)
	if m.looked || !m.policy.due(m.pinned, m.budget) {
		return
	}
	m.looked = true
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
	q.each(m.mover.works)
	for _, lb := range emptied {
		m.free(lb, hung)
	}
}

// mover copies deliveries out of the blocks that are emptied. What it copies lies in
// pieces that several of an action share: those that wait together mostly go together, and
// then their piece is used again. A piece is small enough for one of them to keep it.
type mover struct {
	filling []*piece // by action
	left    []*piece // by all that was in them, and not yet to be used again: see reuse
	free    []*piece
	ids     []byte // insert ids: who has heard of one may keep it, so that they are not written again
}

// piece is memory of what was moved.
type piece struct {
	works  [pieceOfMoved]work
	made   [pieceOfMoved]destination.Delivery
	events [pieceOfMoved]laneEvent
	text   [textOfMoved]byte
	// How many of each are used, and how many works and events of them are not settled.
	nworks, nevents, ntext, open int
	action                       int32
}

const (
	pieceOfMoved = 16
	textOfMoved  = 32 << 10
)

func (m *mover) works(ws []*work) {
	for i, w := range ws {
		if w.piece == nil && w.ev.b.emptied {
			ws[i] = m.work(w)
		}
	}
}

func (m *mover) work(w *work) *work {
	p := m.room(w.d.Action, len(w.d.Item)+len(w.ev.raw))
	n, d := &p.works[p.nworks], &p.made[p.nworks]
	p.nworks++
	p.open++
	*n, *d = *w, *w.d
	d.Item, d.InsertID = p.copy(d.Item), m.id(d.InsertID)
	n.d, n.ev, n.piece = d, m.event(p, w.ev), p
	if n.parked != nil {
		n.parked = m.work(n.parked)
	}
	return n
}

// event is the copy of an event: one for all of its deliveries.
func (m *mover) event(p *piece, le *laneEvent) *laneEvent {
	if le.moved == nil {
		n := &p.events[p.nevents]
		p.nevents++
		p.open++
		*n = *le
		n.raw, n.piece = p.copy(le.raw), p
		le.moved = n
	}
	return le.moved
}

// room is a piece for one more delivery of an action, with as much text.
func (m *mover) room(action int32, text int) *piece {
	for int(action) >= len(m.filling) {
		m.filling = append(m.filling, nil)
	}
	if p := m.filling[action]; p != nil && p.nworks < pieceOfMoved && (p.ntext+text <= textOfMoved || p.nworks == 0) {
		return p
	}
	var p *piece
	if n := len(m.free); n > 0 {
		p, m.free = m.free[n-1], m.free[:n-1]
	} else {
		p = new(piece)
	}
	m.filling[action], p.action = p, action
	return p
}

// copy copies a text into the piece, or by itself when it is large.
func (p *piece) copy(b []byte) []byte {
	if len(b) == 0 || len(b) >= textOfMoved/4 || p.ntext+len(b) > textOfMoved {
		return bytes.Clone(b) // nothing is not the same as an empty text
	}
	from := p.ntext
	p.ntext += copy(p.text[from:], b)
	return p.text[from:p.ntext:p.ntext]
}

// id copies an insert id.
func (m *mover) id(s string) string {
	if cap(m.ids)-len(m.ids) < len(s) {
		m.ids = make([]byte, 0, max(4<<10, len(s)))
	}
	from := len(m.ids)
	m.ids = append(m.ids, s...)
	return unsafe.String(unsafe.SliceData(m.ids[from:]), len(s)) // nobody writes to it again
}

// leave notes that a delivery or an event of a piece is settled; nil: it is of none.
func (m *mover) leave(p *piece) {
	if p == nil {
		return
	}
	if p.open--; p.open > 0 {
		return
	}
	if m.left = append(m.left, p); m.filling[p.action] == p {
		m.filling[p.action] = nil
	}
}

// reuse takes the pieces again that nothing is in any more, as many as there is room for in
// so many bytes. It is called when nobody looks at what has been settled any more; hung: code that
// has not come back may.
func (m *mover) reuse(room int64, hung bool) {
	for i, p := range m.left {
		m.left[i] = nil
		if hung || int64(len(m.free)+1)*int64(unsafe.Sizeof(piece{})) > room {
			continue
		}
		clear(p.works[:p.nworks])
		clear(p.made[:p.nworks])
		clear(p.events[:p.nevents])
		p.nworks, p.nevents, p.ntext = 0, 0, 0
		m.free = append(m.free, p)
	}
	m.left = m.left[:0]
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
	r := lb.rows
	lb.rows = rows{}
	if cap(r.raw) >= 2<<20 || hung {
		return
	}
	clear(r.works)
	clear(r.events)
	clear(r.marked.list)
	r.works, r.events, r.raw = r.works[:0], r.events[:0], r.raw[:0]
	m.rows.Put(&r)
}
