package engine

import (
	"bytes"
	"slices"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/stock"
)

// memory limits how much a lane may hold. It counts twice. Unsettled deliveries are `held`: routing waits while
// they exceed the lane's budget. But blocks are passed in order, so one delivery that waits (for its next attempt,
// or for others of its rare kind) keeps its block and all later ones in memory, settled or not: these bytes are
// `pinned`. So waiting deliveries are moved out of blocks that are mostly settled, and the blocks are then freed,
// however long the wait is. The lane's lock guards it.
type memory struct {
	budget int64 // for what is held outside the packer
	held   int64 // bytes of unsettled deliveries
	pinned int64 // bytes of all that blocks hold, settled or not
	large  func(n int)
	policy compaction
	mover  mover
	rows   stock.Stock[rows] // unused rows; safe without the lock
}

// compaction says when blocks are compacted.
type compaction struct {
	due   func(pinned, budget int64) bool
	worth int64 // a block is compacted when what it holds fits into it this many times
}

// Held deliveries alone can pin four budgets.
func defaultCompaction() compaction {
	return compaction{func(pinned, budget int64) bool { return pinned >= budget+budget/2 }, 4}
}

// pinnedMost is how many budgets of a lane may be pinned before routing waits. More than four are pinned when slow
// requests keep their blocks while others go on.
const pinnedMost = 6

// memoryOf is how many bytes a run may hold: the given number, or the default.
func memoryOf(memory int64) int64 {
	if memory <= 0 {
		return 256 << 20
	}
	return memory
}

// laneMemory is how many bytes a lane may hold in deliveries that are not yet in a request. It may hold as many
// again in requests in flight.
func laneMemory(plan *destination.Plan, memory int64, lanes int) int64 {
	memory, lanes = memoryOf(memory), max(lanes, 1)
	mine := min(max(memory/8/int64(lanes), 1<<20), 5<<20)
	if plan.Positions {
		// A batch becomes one object in a store. Full objects are worth more memory, if there is some.
		for _, a := range plan.Actions {
			mine = max(mine, min(3*int64(a.Limits.BatchBytes.N), memory/4/int64(lanes)))
		}
	}
	return mine
}

// room says whether the lane may take more events, when packing bytes are still in the packer.
func (m *memory) room(packing int64) bool {
	return m.held-packing < m.budget && m.pinned < pinnedMost*m.budget
}

// take counts the memory of a routed block.
func (m *memory) take(lb *laneBlock) { m.pinned += lb.size }

// keep counts the bytes that a delivery holds.
func (m *memory) keep(w *work) { m.count(w, 1) }

// drop stops counting them: the delivery is settled, or about to be.
func (m *memory) drop(w *work) {
	m.count(w, -1)
	m.mover.leave(w.piece)
}

func (m *memory) count(w *work, sign int64) {
	n := sign * int64(len(w.d.Item)+len(w.ev.raw))
	m.held += n
	w.ev.b.held += n
}

// compact moves waiting deliveries out of blocks that are mostly settled, when that is due.
func (m *memory) compact(blocks []*laneBlock, q *queue, hung bool) {
	m.mover.reuse(hung)
	if !m.policy.due(m.pinned, m.budget) {
		return
	}
	var emptied []*laneBlock
	for _, lb := range blocks {
		if lb.flying = false; !lb.emptied && lb.held*m.policy.worth <= lb.size {
			emptied = append(emptied, lb)
		}
	}
	if len(emptied) == 0 {
		return // as is mostly so: what follows looks at each delivery
	}
	for b := range q.immovable {
		for _, w := range b.works {
			w.ev.b.flying = true
		}
	}
	emptied = slices.DeleteFunc(emptied, func(lb *laneBlock) bool {
		lb.emptied = !lb.flying
		return lb.flying
	})
	if len(emptied) == 0 {
		return
	}
	q.each(m.mover.works)
	for _, lb := range emptied {
		m.free(lb, hung)
	}
}

// mover copies deliveries out of blocks that are to be freed. The copies lie in pieces, each shared by several
// deliveries of one action: those that wait together are mostly sent together, and then their piece can be reused.
// A piece is small, because one waiting delivery keeps all of it.
type mover struct {
	// shares says that there are several lanes, of which those that keep the text of a block share one copy of an
	// event's: the same events wait in all lanes that pack alike, and sixteen had a sixth of their memory in copies.
	// It is left to the collector; a single lane has it in the piece, to be used again.
	shares  bool
	filling []*piece // by action
	left    []*piece // pieces whose contents are all settled, but which may not be reused yet: see reuse
	free    stock.Stock[piece]
	ids     stock.Texts
	to      *destination.Address // of the delivery moved last
}

// piece is memory for moved deliveries.
type piece struct {
	works  [pieceOfMoved]work
	made   [pieceOfMoved]destination.Delivery
	events [pieceOfMoved]laneEvent
	text   [textOfMoved]byte
	// How much of each is used, and how many works and events in the piece are not settled.
	nworks, nevents, ntext, open int
	action                       int32
}

const (
	pieceOfMoved = 24
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
	text := len(w.d.Item)
	if !m.shares {
		text += len(w.ev.raw)
	}
	p := m.room(w.d.Action, text)
	n, d := &p.works[p.nworks], &p.made[p.nworks]
	p.nworks++
	p.open++
	*n, *d = *w, *w.d
	d.Item, d.InsertID = p.copy(d.Item), stock.Keep(&m.ids, d.InsertID)
	d.To = m.address(d.To)
	n.d, n.ev, n.piece = d, m.event(p, w.ev), p
	if n.parked != nil {
		n.parked = m.work(n.parked)
	}
	return n
}

// address copies an address, which lies in memory with those of many deliveries that do not wait.
func (m *mover) address(a *destination.Address) *destination.Address {
	if a == nil {
		return nil
	}
	if m.to == nil || *m.to != *a {
		keep := func(s string) string { return stock.Keep(&m.ids, s) }
		m.to = &destination.Address{
			Method: keep(a.Method), Path: keep(a.Path), Key: keep(a.Key), Header: keep(a.Header),
		}
	}
	return m.to
}

// event returns the copy of an event, which all of its deliveries share.
func (m *mover) event(p *piece, le *laneEvent) *laneEvent {
	if le.moved == nil {
		n := &p.events[p.nevents]
		p.nevents++
		p.open++
		*n = *le
		n.piece = p
		if text := le.b.text; m.shares && text != nil {
			n.raw = text.Copy(le.raw)
		} else {
			n.raw = p.copy(le.raw)
		}
		le.moved = n
	}
	return le.moved
}

// room returns a piece with space for one more delivery of an action, and its text.
func (m *mover) room(action int32, text int) *piece {
	for int(action) >= len(m.filling) {
		m.filling = append(m.filling, nil)
	}
	if p := m.filling[action]; p != nil && p.nworks < pieceOfMoved && (p.ntext+text <= textOfMoved || p.nworks == 0) {
		return p
	}
	p := m.free.Take()
	m.filling[action], p.action = p, action
	return p
}

// copy copies a text into the piece, or into memory of its own when it is large.
func (p *piece) copy(b []byte) []byte {
	if len(b) == 0 || len(b) >= textOfMoved/4 || p.ntext+len(b) > textOfMoved {
		return bytes.Clone(b) // nil must not become an empty text
	}
	from := p.ntext
	p.ntext += copy(p.text[from:], b)
	return p.text[from:p.ntext:p.ntext]
}

// leave notes that a delivery or an event in a piece is settled; nil: it is in none.
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

// reuse makes settled pieces available again, to all lanes. It is called when nobody reads settled deliveries any
// more. hung: a call that never returned may still read them.
func (m *mover) reuse(hung bool) {
	for i, p := range m.left {
		m.left[i] = nil
		if hung {
			continue
		}
		clear(p.works[:p.nworks])
		clear(p.made[:p.nworks])
		clear(p.events[:p.nevents])
		p.nworks, p.nevents, p.ntext = 0, 0, 0
		m.free.Put(p)
	}
	m.left = m.left[:0]
}

// pass frees the memory of a block that the mark has passed.
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

// free frees the memory of a block of which only the counts are still needed. hung: a call that never returned may
// still read it.
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
