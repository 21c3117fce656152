// Package engine delivers the events of one source to many destinations, each
// at its own pace.
//
// A front reader decompresses, indexes and selects the input once and puts it,
// block by block, into a shared [ring]. Every destination has a [lane] of its own. The
// archive is the queue: a lane that falls off the ring's tail opens the source again at
// its own position, so nobody waits for anybody, and memory stays bounded whatever a
// partner does.
//
// A lane has parts, in the order in which a delivery meets them:
//
//   - [reader]: the lane's place in the input
//   - [router]: what the destination makes of an event (Route); for lanes that keep up
//     that is done when a block is prepared
//   - [Packer]: which deliveries go in one request
//   - [queue] and [sequencer]: batches that may go, wait, or are on their way, and the
//     order of a user's deliveries
//   - [pacer]: when the next request may go
//   - [sender]: the call into the destination's code (Send)
//   - [verdicts] and [bisector]: what an answer means; the only place where a delivery
//     is rejected or given up
//   - [ledger]: outcomes, counts, and the mark behind which everything is settled
//   - [memory] and [notes]: what the lane holds, and what people are told of it
//
// A request is begun in the journal before it is sent, and its verdicts are written
// before the checkpoint passes them. When all deliveries of all events of a block are
// settled, and those of the blocks before it, the lane's checkpoint moves.
//
// What goes into a request depends on the input and the caps, never on time. The
// destination says whether to retry; the engine says when. Partner code runs behind
// recover and a deadline. Time comes from Config.Now and timers, so that whole runs can
// be tested in simulated time.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/stock"
)

// Config is a run.
type Config struct {
	Source source.Source
	// Selection is what of the source goes to the lanes. It is not changed any more.
	Selection selection.Selection
	Lanes     []LaneConfig
	Run       *journal.Run

	Now    func() time.Time
	Rand   func() float64 // in [0,1), for jitter; safe for concurrent use
	Logger *slog.Logger
	// Linger is how long there has to be no new input before requests that are not
	// full go out; 0: a minute, so that what goes into a request of an archive does not
	// depend on the time. For streams that a person waits for it is short.
	Linger time.Duration
	// Follows says that no end of the input is expected.
	Follows bool
	// Known, if not nil, says of an entry of the manifest that another run has read it: the events
	// of these are counted ([Engine.Overlap]).
	Known func(object uint32) bool
	// Memory bounds what blocks and lanes hold, in bytes; 0: 256 MiB.
	Memory int64
	// Stop, when closed, ends the run early: nothing new is sent, what is in
	// flight is finished and saved. Cancelling the context instead drops what
	// is in flight; a resume repeats it.
	Stop <-chan struct{}
}

// LaneConfig is one destination of a run.
type LaneConfig struct {
	Name, Type string
	Sender     destination.Sender
	Transport  destination.Transport
	// Limiter shares the partner's limits with other processes that send to the same account
	// there; nil: there are no others. Account names that account, without telling a secret.
	Limiter Limiter
	Account string
	Filter  *filter.Filter // the destination's own; nil: everything
	Consent []string       // what the consent of an event has to grant, see destination.Env
	// Harmless: there is a stand-in, or nobody, at the other end, so that nothing is started.
	Harmless bool
	Options  Options
	// Delivered, when set, is called with the text of each event that the partner has
	// accepted, one after the other, before the checkpoint passes it; after a crash
	// perhaps again.
	Delivered func(raw []byte)
	// Event, when set, returns the event that a record is about where the record is not
	// itself one (a redrive reads dead letters): order is kept for its user.
	Event func(*event.Event) *event.Event
	// Course is how the run went before this process; nil: there was none.
	Course *Course
	// Letter, when set, may change a dead letter before it is written. It is called by
	// many goroutines.
	Letter func(*journal.DeadLetter)
}

// Options are what a user can set for any destination.
type Options struct {
	PaceOptions
	VerdictOptions
	// TriggerLive: events of long ago may start at the partner what new ones start, see
	// destination.Live. Without it the lane stops at the first that would.
	TriggerLive bool
	Timeout     time.Duration // of one request; 0: 30 s
	Hold        bool          // keep what was in doubt after a crash, do not send it again
}

// Engine is a run under way. Make it with New, run it with Run, look at it with
// Progress.
type Engine struct {
	c     Config
	ring  *ring
	lanes []*lane
	cpu   *processors
	hands *hands // that route
	front front
	paths *event.PathSet // that the lanes look for; nil: too many
	// groups are all lanes. Where blocks are routed as they are prepared ahead is set; else each
	// lane does it when it gets there.
	groups []*group
	ahead  bool
	log    *slog.Logger
	start  time.Time

	// forgets: nobody looks at an event once it has been routed ahead; gone stands for it.
	forgets bool
	gone    *event.Event

	stockBlocks     stock.Stock[block]
	stockRouted     stock.Stock[routed]
	stockLaneBlocks stock.Stock[laneBlock]
}

// New prepares a run: it reads where every lane resumes.
func New(c Config) *Engine {
	c.Memory = memoryOf(c.Memory)
	if c.Linger <= 0 {
		c.Linger = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		c:     c,
		log:   c.Logger.With("run", c.Run.Name()),
		cpu:   newProcessors(runtime.GOMAXPROCS(0), c.Now),
		hands: newHands(),
		start: c.Now(),
	}
	// What becomes of records that are no events, and how far the input is read, is journalled
	// as a lane of its own: it is of no destination.
	e.front.bad = c.Run.Lane("_source")
	e.stockBlocks = stock.New[block](kept)
	e.stockRouted = stock.New[routed](kept + 2*len(c.Lanes))
	e.stockLaneBlocks = stock.New[laneBlock](kept + 2*len(c.Lanes))
	// A sixteenth of the memory for the shared ring, up to an eighth for what lanes have
	// taken out of it; the rest is for readers, bodies, and the collector,
	// which lets the heap grow to twice what lives.
	ring := c.Memory / 16
	if len(c.Lanes) == 1 {
		ring /= 4 // nobody to share it with
	}
	e.ring = newRing(ring, c.Now)
	e.ring.most = c.Memory / 4
	for i := range c.Lanes {
		e.lanes = append(e.lanes, newLane(e, &c.Lanes[i]))
	}
	e.pair()
	e.follow()
	e.gone, e.forgets = new(event.Event), true
	for _, l := range e.lanes {
		e.forgets = e.forgets && l.c.Event == nil
	}
	return e
}

// follow has the paths that any lane looks for found while events are indexed, in one pass
// for all.
func (e *Engine) follow() {
	var sets []*event.PathSet
	for _, l := range e.lanes {
		sets = append(sets, l.plan.Paths...)
	}
	if len(sets) > 0 {
		e.paths = event.Join(sets...)
	}
}

// kept is how many pieces of memory that nobody uses are kept of a kind. So many
// are in use at times and not at others: with 4 a run takes a quarter more CPU, and
// hardly less memory at its peak.
const kept = 32

// Run works until everything is settled, or Stop, or the context ends. The
// error is one of the machine (journal, input), not of events: those are in the
// summary.
func (e *Engine) Run(ctx context.Context) (*Summary, error) {
	readCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	defer close(e.hands.done)

	from := e.front.bad.Resume().Mark
	for _, l := range e.lanes {
		if at := l.reader.cursor; at.Ordinal < from.Ordinal {
			from = at
		}
	}
	var readers, lanes sync.WaitGroup
	readers.Go(func() { e.readFront(readCtx, from) })
	for _, l := range e.lanes {
		lanes.Go(func() { l.run(ctx) })
	}
	lanes.Wait()
	// With every lane done or stopped nobody needs what the front still
	// reads; a lane that is done has seen the end, so then it has, too.
	stopReading()
	e.ring.close()
	readers.Wait()

	var errs []error
	for _, l := range e.lanes {
		errs = append(errs, l.save(), l.err)
	}
	errs = append(errs, e.front.err, ctx.Err())
	if err := e.c.Run.Sync(context.WithoutCancel(ctx)); err != nil {
		errs = append(errs, err)
	}
	s := e.Summary()
	if err := errors.Join(errs...); err != nil {
		s.Status = "incomplete"
		return s, err
	}
	return s, e.reconcile(s)
}

// StopLane ends one lane: what is in flight is finished, the rest of its events
// stay pending. The others go on.
func (e *Engine) StopLane(name, why string) {
	for _, l := range e.lanes {
		if l.c.Name == name {
			l.halt(why, nil)
		}
	}
}

// stopped says that the run is to end early.
func (e *Engine) stopped() bool {
	select {
	case <-e.c.Stop:
		return true
	default:
		return false
	}
}
