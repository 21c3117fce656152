package engine

import (
	"time"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// ledger owns what is known of a lane's events: the blocks that are routed and not yet
// passed, the outcome of each delivery, the counts, and the mark behind which
// everything is settled. Only verdicts decides outcomes. The lane's lock guards it.
type ledger struct {
	j       *journal.Lane
	resumed *journal.State
	doubt   map[journal.DeliveryID]doubted
	arrived func(raw []byte) // told of each event that the partner has accepted; nil: nobody wants to know
	passed  func(*laneBlock) // given each block that the mark has passed
	left    func(*piece)     // told of each event that is settled where it lies; nil: in its block
	flush   func() error     // makes durable what the checkpoint depends on
	state   func() []byte    // of the pace, to be saved with the checkpoint
	now     func() time.Time

	blocks []*laneBlock // routed and not passed by the mark, in order
	mark   journal.Mark
	counts journal.Counts // up to the mark
	live   journal.Counts // of everything settled
	base   journal.Counts // at the start
	sent   uint64         // deliveries that the partner accepted in this process
	held   int            // events that are in doubt and not sent again
	saved  time.Time
	dirty  bool
}

// laneBlock is a block as one lane has routed it.
type laneBlock struct {
	end    journal.Mark
	object string // that it is of
	days   days   // of the events
	routed *routed
	rows
	text    *source.Chunk // all that was read, instead of raw, when most of it may; nil: see raw
	large   int           // bytes of an unusually large chunk, to be given back to the ring: see ring.takeLarge
	open    int           // events not settled
	size    int64         // bytes of all this, about
	held    int64         // bytes of deliveries that are not settled
	flying  bool          // deliveries are in batches that have to stay where they are: see compact
	emptied bool          // it has given its memory back: see compact
	counts  journal.Counts
}

// rows are a lane's notes on a block, in memory that goes to another one when the block gives
// it back.
type rows struct {
	works  []work
	events []laneEvent
	raw    []byte // the text of events that may still become dead letters, copied out of what was read
	marked marked // copies of deliveries with this lane's stamp, where items bear one: see group.go
}

// laneEvent is one event of a block in this lane. There are as many as there are
// events under way, times the lanes: it is kept small.
type laneEvent struct {
	b        *laneBlock
	raw      []byte
	end      source.Position // of its record
	offset   int64           // where the record begins
	line     int64
	reason   string
	moved    *laneEvent // its copy, once it is moved out of its block
	piece    *piece     // of a copy: where it lies
	open     int32      // works not settled
	worst    journal.Outcome
	doubtful bool // in doubt since an earlier process, or once settled by one
	held     bool // one of its deliveries is in doubt and not sent again
	counted  bool // among those in a row that were rejected: see verdicts.mayReject
}

// work is one delivery on its way.
type work struct {
	d        *destination.Delivery
	ev       *laneEvent
	id       journal.DeliveryID
	user     uint64
	parked   *work         // the next step, which waits for this one
	piece    *piece        // where it lies, once it is moved out of its block: see compact
	first    time.Duration // when it was first tried, since the engine started
	attempts int32
	outcome  journal.Outcome
	settled  bool
	doubtful bool
}

// What a lane's notes take for each delivery and each event, in bytes.
const (
	workBytes  = int64(unsafe.Sizeof(work{}))
	eventBytes = int64(unsafe.Sizeof(laneEvent{}))
)

// doubted says which request a delivery was in that an earlier process began and did not end:
// its number, from 1 on, and how many deliveries are in it. The zero doubted is of none.
type doubted struct{ request, of int32 }

func newLedger(j *journal.Lane, now func() time.Time) *ledger {
	g := &ledger{j: j, resumed: j.Resume(), doubt: map[journal.DeliveryID]doubted{}, now: now, saved: now()}
	g.mark = g.resumed.Mark
	g.counts, g.base = g.resumed.Counts.Clone(), g.resumed.Counts.Clone()
	g.live = g.counts.Clone()
	for i, r := range g.resumed.InDoubt {
		for _, id := range r.IDs {
			g.doubt[nameOf(id)] = doubted{int32(i + 1), int32(len(r.IDs))}
		}
	}
	return g
}

// nameOf is the id by which a delivery is known, whatever is said of its event.
func nameOf(id journal.DeliveryID) journal.DeliveryID {
	return journal.DeliveryID{Ordinal: id.Ordinal, K: id.K}
}

// whole returns what became of an event under another configuration than today's.
func (g *ledger) whole(ordinal uint64) (w journal.Whole, is bool) {
	if ordinal < g.resumed.Mark.Ordinal || !g.resumed.Wholes() {
		return w, false
	}
	return g.resumed.Whole(ordinal)
}

// earlier returns what an earlier process of the run has settled a delivery as.
func (g *ledger) earlier(id journal.DeliveryID) (journal.Verdict, bool) {
	if id.Ordinal < g.resumed.Mark.Ordinal {
		return journal.Verdict{}, false
	}
	return g.resumed.Settled(id)
}

// add takes a routed block.
func (g *ledger) add(lb *laneBlock) {
	g.blocks = append(g.blocks, lb)
	lb.open = len(lb.events)
	g.live.Filtered += lb.counts.Filtered
	g.live.Deliveries += lb.counts.Deliveries // of events that were settled under another configuration
	g.sent += lb.counts.Deliveries
}

// suspect counts the event of a delivery that was in doubt at the end of an earlier
// process, once.
func (g *ledger) suspect(w *work) {
	if w.ev.doubtful {
		return
	}
	w.ev.doubtful = true
	g.live.InDoubt++
	w.ev.b.counts.InDoubt++
}

// keep notes that a delivery in doubt is not sent again: its event stays pending.
func (g *ledger) keep(w *work) {
	if !w.ev.held {
		w.ev.held = true
		g.held++
	}
}

// settle notes what has become of a delivery, and returns the next step that waits for
// it. The worst of an event's deliveries is what becomes of the event.
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

// worse keeps the worst outcome of an event's deliveries: rejected, then
// delivered, then skipped.
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
	for _, c := range []*journal.Counts{&g.live, &le.b.counts} {
		switch o {
		case journal.Delivered:
			c.Delivered++
		case journal.Skipped:
			if c.Skipped == nil {
				c.Skipped = map[string]uint64{}
			}
			c.Skipped[reason]++
		case journal.Rejected:
			if c.Rejected == nil {
				c.Rejected = map[string]uint64{}
			}
			c.Rejected[reason]++
		}
	}
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
		add(&g.counts, lb.counts)
		g.dirty = true
		g.passed(lb)
	}
}

// saveEvery is how often the checkpoint moves.
const saveEvery = 100 * time.Millisecond

// saveDue saves the checkpoint if that is due, or says when it will be; 0: there
// is nothing to save.
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
	c.Released = g.live.Released // requests are not of one event, and counted by the journal as they are begun
	return g.j.Advance(g.mark, c, g.state())
}

// settled is how many events are.
func (g *ledger) settled() uint64 {
	return g.live.Filtered + Total(g.live.Skipped) + g.live.Delivered + Total(g.live.Rejected)
}

func add(to *journal.Counts, c journal.Counts) {
	to.Filtered += c.Filtered
	to.Delivered += c.Delivered
	to.Deliveries += c.Deliveries
	to.InDoubt += c.InDoubt
	for k, v := range c.Skipped {
		if to.Skipped == nil {
			to.Skipped = map[string]uint64{}
		}
		to.Skipped[k] += v
	}
	for k, v := range c.Rejected {
		if to.Rejected == nil {
			to.Rejected = map[string]uint64{}
		}
		to.Rejected[k] += v
	}
}
