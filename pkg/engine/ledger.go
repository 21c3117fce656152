package engine

import (
	"time"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// ledger owns what is known about a lane's events: the blocks that are routed and not yet passed by the mark, the
// outcome of each delivery, the counts, and the mark before which everything is settled. Only verdicts decides
// outcomes. The lane's lock guards it.
type ledger struct {
	j       *journal.Lane
	resumed *journal.State
	doubt   map[journal.DeliveryID]doubted
	arrived func(raw []byte) // called with each event that the partner has accepted; nil: not needed
	passed  func(*laneBlock) // called with each block that the mark has passed
	left    func(*piece)     // called when an event is settled, with the piece that holds it; nil: it is in its block
	flush   func() error     // makes durable what the checkpoint depends on
	state   func() []byte    // state of the pacer, saved with the checkpoint
	now     func() time.Time

	blocks []*laneBlock // routed and not passed by the mark, in order
	came   uint64       // ordinal before which everything is routed
	mark   journal.Mark
	counts journal.Counts // up to the mark
	live   journal.Counts // of everything that is settled
	base   journal.Counts // at the checkpoint from which this process went on
	// past counts the events of live that earlier processes have settled: those up to that checkpoint, and those above
	// it, as they are read again. The rest is this process's.
	past  journal.Counts
	sent  uint64 // deliveries that the partner has accepted, but for those up to the checkpoint
	held  int    // events in doubt that are not sent again
	saved time.Time
	dirty bool
}

// laneBlock is a block as one lane has routed it.
type laneBlock struct {
	end    journal.Mark
	object string // the object that it was read from
	days   days   // the days of its events
	routed *routed
	rows
	text    *source.Chunk // everything that was read, instead of raw, when most events are kept; nil: see raw
	large   int           // bytes of a large chunk that count against ring.takeLarge until they are given back
	open    int           // events not settled
	size    int64         // roughly the bytes of all this
	held    int64         // bytes of deliveries that are not settled
	flying  bool          // some deliveries are in batches that must not be moved in memory: see compact
	emptied bool          // its memory has been freed: see compact
	counts  journal.Counts
}

// rows are a lane's notes on the events and deliveries of a block. Their memory is reused for another block.
type rows struct {
	works  []work
	events []laneEvent
	raw    []byte // text of events that may become dead letters, copied out of the input
	marked marked // copies of deliveries with this lane's stamp, if items contain one: see group.go
}

// laneEvent is one event of a block in this lane. It is kept small, because there may be as many as there are
// events in progress, times the lanes.
type laneEvent struct {
	b        *laneBlock
	raw      []byte
	end      source.Position // of its record
	offset   int64           // where the record begins
	line     int64
	reason   string
	moved    *laneEvent // its copy, after compaction has moved it out of the block
	piece    *piece     // of a copy: the piece that holds it
	open     int32      // deliveries that are not settled
	worst    journal.Outcome
	doubtful bool // in doubt since an earlier process, or settled by one
	held     bool // one of its deliveries is in doubt and is not sent again
	counted  bool // counted among the rejected events in a row: see verdicts.mayReject
}

// work is one delivery until it is settled.
type work struct {
	d        *destination.Delivery
	ev       *laneEvent
	id       journal.DeliveryID
	user     uint64
	parked   *work         // the next step, which waits for this delivery
	piece    *piece        // the piece that holds it after compaction, see compact
	past     *past         // how it was sent before, where its batch does not say so; nil: its batch does
	since    time.Duration // when its max time began: see verdicts.elapsed and verdicts.goes
	attempts int32
	outcome  journal.Outcome
	settled  bool
	doubtful bool
	limited  bool // it waits because it was too much
}

// What a lane's notes take for each delivery and each event, in bytes.
const (
	workBytes  = int64(unsafe.Sizeof(work{}))
	eventBytes = int64(unsafe.Sizeof(laneEvent{}))
)

// doubted identifies the request of a delivery that an earlier process began and did not finish: its number,
// counted from 1, and how many deliveries are in it. The zero doubted: there is none.
type doubted struct{ request, of int32 }

func newLedger(j *journal.Lane, now func() time.Time) *ledger {
	g := &ledger{j: j, resumed: j.Resume(), doubt: map[journal.DeliveryID]doubted{}, now: now, saved: now()}
	g.mark, g.came = g.resumed.Mark, g.resumed.Mark.Ordinal
	g.counts, g.base = g.resumed.Counts.Clone(), g.resumed.Counts.Clone()
	g.live, g.past = g.counts.Clone(), g.counts.Clone()
	for i, r := range g.resumed.InDoubt {
		for _, id := range r.IDs {
			g.doubt[id.Name()] = doubted{int32(i + 1), int32(len(r.IDs))}
		}
	}
	return g
}

// whole returns the outcome of an event that was settled under another configuration than today's.
func (g *ledger) whole(ordinal uint64) (w journal.Whole, is bool) {
	if ordinal < g.resumed.Mark.Ordinal || !g.resumed.Wholes() {
		return w, false
	}
	return g.resumed.Whole(ordinal)
}

// earlier returns the outcome of a delivery that an earlier process of the run has settled.
func (g *ledger) earlier(id journal.DeliveryID) (journal.Verdict, bool) {
	if id.Ordinal < g.resumed.Mark.Ordinal {
		return journal.Verdict{}, false
	}
	return g.resumed.Settled(id)
}

// add takes a routed block.
func (g *ledger) add(lb *laneBlock) {
	g.blocks, g.came = append(g.blocks, lb), lb.end.Ordinal
	lb.open = len(lb.events)
	g.live.Filtered += lb.counts.Filtered
	g.live.Deliveries += lb.counts.Deliveries // of events that were settled under another configuration
	g.sent += lb.counts.Deliveries
}

// suspect counts the event of a delivery that was in doubt at the end of an earlier process, once. settled says that
// a process since then has counted and settled it.
func (g *ledger) suspect(w *work, settled bool) {
	if w.ev.doubtful {
		return
	}
	w.ev.doubtful = true
	if settled {
		g.past.InDoubt++
	}
	g.live.InDoubt++
	w.ev.b.counts.InDoubt++
}

// again counts the events of a routed block that earlier processes have settled: all of their deliveries, but for those
// that are skipped once more.
func (g *ledger) again(lb *laneBlock) {
	if !g.resumed.UnderWay() {
		return
	}
	var last *laneEvent
	for i := range lb.works {
		w := &lb.works[i]
		if _, is := g.earlier(w.id); is && w.ev != last && w.ev.open == 0 {
			last = w.ev
			g.past.Count(last.worst, last.reason)
		}
	}
}

// hold notes that a delivery in doubt is not sent again, so its event stays pending.
func (g *ledger) hold(w *work) {
	if !w.ev.held {
		w.ev.held = true
		g.held++
	}
}

// settle notes the outcome of a delivery, and returns the next step that waits for it. The outcome of an event is
// the worst of its deliveries.
func (g *ledger) settle(w *work, o journal.Outcome, reason string) (next *work) {
	if w.settled {
		return nil
	}
	w.settled, w.outcome = true, o
	le := w.ev
	if o == journal.Delivered {
		g.live.Deliveries++
		le.b.counts.Deliveries++
	}
	le.worst, le.reason = worse(le.worst, le.reason, o, reason)
	next, w.parked = w.parked, nil
	if le.open--; le.open == 0 {
		g.settleEvent(le, le.worst, le.reason)
	}
	return next
}

// worse returns the worse of two outcomes: rejected is the worst, then delivered, then skipped.
func worse(a journal.Outcome, ar string, b journal.Outcome, br string) (journal.Outcome, string) {
	rank := [...]int{journal.Requeued: 0, journal.Skipped: 1, journal.Delivered: 2, journal.Rejected: 3}
	if rank[b] > rank[a] {
		return b, br
	}
	return a, ar
}

func (g *ledger) settleEvent(le *laneEvent, o journal.Outcome, reason string) {
	if o == journal.Delivered && g.arrived != nil {
		g.arrived(le.raw)
	}
	g.live.Count(o, reason)
	le.b.counts.Count(o, reason)
	le.b.open--
	if le.piece != nil {
		g.left(le.piece)
	}
}

// pass moves the mark over the blocks that are settled.
func (g *ledger) pass() {
	for len(g.blocks) > 0 && g.blocks[0].open == 0 {
		lb := g.blocks[0]
		g.blocks[0] = nil
		g.blocks = g.blocks[1:]
		g.mark = lb.end
		g.counts.Add(lb.counts)
		g.dirty = true
		g.passed(lb)
	}
}

// saveEvery is how often the checkpoint moves.
const saveEvery = 100 * time.Millisecond

// saveDue saves the checkpoint if it is time, or says how long until it is; 0: there is nothing to save.
func (g *ledger) saveDue() (time.Duration, error) {
	if !g.dirty {
		return 0, nil
	}
	now := g.now()
	if since := now.Sub(g.saved); since >= 0 && since < saveEvery {
		return saveEvery - since, nil
	}
	g.saved = now
	return 0, g.save()
}

// save writes the checkpoint.
func (g *ledger) save() error {
	g.dirty = false
	if g.flush != nil {
		if err := g.flush(); err != nil {
			return err
		}
	}
	c := g.counts.Clone()
	c.Released = g.live.Released // the journal counts requests itself, when they begin
	return g.j.Advance(g.mark, c, g.state())
}

// settled is the number of settled events.
func (g *ledger) settled() uint64 { return g.live.Settled() }
