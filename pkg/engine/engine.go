// Package engine delivers the events of one source to many destinations, each at its own pace.
//
// A front reader decompresses, indexes and selects the input once and puts it, block by block, into a shared
// [ring]. Every destination has a [lane] of its own. The archive is the queue: a lane that falls off the ring's
// tail opens the source again at its own position. So no lane waits for another, and memory stays bounded whatever
// a partner does.
//
// A lane has parts, in the order in which a delivery meets them:
//
//   - [reader]: the lane's place in the input
//   - [router]: what the destination makes of an event (Route); for lanes that keep up
//     that is done when a block is prepared
//   - [Packer]: which deliveries go in one request
//   - [queue] and [sequencer]: batches that may go, wait, or are in flight, and the
//     order of a user's deliveries
//   - [pacer]: when the next request may go
//   - [sender]: the call into the destination's code (Send)
//   - [verdicts] and [bisector]: what an answer means; the only place where a delivery
//     is rejected or given up
//   - [ledger]: outcomes, counts, and the mark before which everything is settled
//   - [memory] and [notes]: what the lane holds, and what people are told about it
//
// A request is entered in the journal before it is sent, and its verdicts are written before the checkpoint passes
// them. When all deliveries of all events of a block and of the blocks before it are settled, the lane's
// checkpoint moves.
//
// What goes into a request depends on the input and the limits, never on time. The destination says whether to
// retry; the engine says when. Partner code runs behind recover and a deadline. Time comes from Config.Now and
// timers, so that whole runs can be tested in simulated time.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"
	"unsafe"

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
	// Selection decides which events of the source go to the lanes. It must not change any more.
	Selection selection.Selection
	Lanes     []LaneConfig
	Run       *journal.Run

	Now    func() time.Time
	Rand   func() float64 // in [0,1), for jitter; safe for concurrent use
	Logger *slog.Logger
	// Linger is how long no new input must arrive before requests that are not full are sent; 0: a minute, so that
	// for an archive the content of requests does not depend on time. It is short for streams whose output a
	// person waits for.
	Linger time.Duration
	// Follows says that the input is not expected to end.
	Follows bool
	// Known, if not nil, says whether another run has read an entry of the manifest. Events of such entries are
	// counted ([Engine.Overlap]).
	Known func(object uint32) bool
	// Memory bounds what blocks and lanes hold, in bytes; 0: 256 MiB.
	Memory int64
	// Stop, when closed, ends the run early: nothing new is sent, but requests in flight are finished and their
	// results saved. Cancelling the context drops what is in flight instead; a resumed run repeats it.
	Stop <-chan struct{}
}

// LaneConfig is one destination of a run.
type LaneConfig struct {
	Name, Type string
	Sender     destination.Sender
	Transport  destination.Transport
	// Limiter shares the partner's limits with other processes that send to the same account; nil, as in every run
	// today: there are none.
	// Account identifies the account without revealing a secret.
	Limiter Limiter
	Account string
	Filter  *filter.Filter // the destination's own filter; nil: everything
	Consent []string       // categories that an event's consent must grant, see destination.Env
	// Harmless: requests go to a stand-in, or nowhere, so that nothing is started at a partner.
	Harmless bool
	Options  Options
	// Delivered, if set, is called with the text of each event that the partner has accepted, one at a time,
	// before the checkpoint passes it. After a crash it may be called again for the same event.
	Delivered func(raw []byte)
	// Event, if set, returns the event inside a record that is not an event itself (a redrive reads dead letters),
	// so that the order of its user's events is kept.
	Event func(*event.Event) *event.Event
	// Course is the history of the run before this process; nil: there is none.
	Course *Course
	// Letter, if set, may change a dead letter before it is written. It is called concurrently.
	Letter func(*journal.DeadLetter)
}

// Options are what a user can set for any destination, but for those that pkg/run/lane.go sets for all lanes of a run:
// Reserve, MaxErrors, NoRates, Outage.
type Options struct {
	PaceOptions
	VerdictOptions
	// TriggerLive: old events may start at the partner what new ones start, see destination.Live. Without it the
	// lane stops before the first event that would.
	TriggerLive bool
	Timeout     time.Duration // of one request; 0: 30 s
	Hold        bool          // keep deliveries that were in doubt after a crash, instead of sending them again
}

// Engine is a run in progress. Make it with New, run it with Run, watch it with Progress.
type Engine struct {
	c     Config
	ring  *ring
	lanes []*lane
	cpu   *processors
	hands *hands // goroutines that route
	front front
	paths *event.PathSet // the paths that the lanes read; nil: too many
	// groups holds all lanes. When ahead is set, blocks are routed while they are prepared; otherwise each lane
	// routes them when it gets there.
	groups []*group
	ahead  bool
	log    *slog.Logger
	start  time.Time

	// forgets: no lane reads an event after it was routed ahead, so its index is freed and gone takes its place.
	forgets bool
	gone    *event.Event

	stockBlocks     stock.Stock[block]
	stockRouted     stock.Stock[routed]
	stockLaneBlocks stock.Stock[laneBlock]
	stockRows       stock.Stock[rows]
	stockPieces     stock.Stock[piece]
	stockTrips      stock.Stock[trip]
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
	// Bad records, and how far the input has been read, belong to no destination, so the journal keeps them as a
	// lane of their own.
	e.front.bad = c.Run.Lane("_source")
	e.stockBlocks = stock.New[block](kept)
	e.stockRouted = stock.New[routed](kept + 2*len(c.Lanes))
	e.stockLaneBlocks = stock.New[laneBlock](kept + 2*len(c.Lanes))
	e.stockRows = stock.New[rows](kept + 2*len(c.Lanes))
	e.stockPieces = stock.New[piece](int(c.Memory / 16 / int64(unsafe.Sizeof(piece{}))))
	e.stockTrips = stock.New[trip](kept)
	// A twentieth of the memory is for the shared ring, up to an eighth for what lanes have taken out of it. The
	// rest is for readers, bodies, and the garbage collector. The ring has room for four blocks of one lane, for
	// eight of four lanes, and for two of sixteen that are not alike: more take more memory, and no lane is faster.
	ring := c.Memory / 64 * 3
	if len(c.Lanes) == 1 {
		ring /= 4 // there is no other lane to share it with
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

// follow makes the parser find all paths that any lane reads while it indexes events, in one pass for all lanes.
func (e *Engine) follow() {
	var sets []*event.PathSet
	for _, l := range e.lanes {
		sets = append(sets, l.plan.Paths...)
	}
	if len(sets) > 0 {
		e.paths = event.Join(sets...)
	}
}

// kept is how many unused buffers of each kind are kept for reuse. About that many are in use at some times and
// not at others: with 4, a run takes a quarter more CPU, and hardly less memory at its peak.
const kept = 32

// Run works until everything is settled, Stop is closed, or the context ends. The error concerns the machine
// (journal, input), never single events: those are in the summary.
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
	// When every lane is done or stopped, what the front still reads is not needed. A lane that is done has seen
	// the end of the input, so the front has seen it, too.
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

// StopLane ends one lane: its requests in flight are finished, its other events stay pending. The other lanes go
// on.
func (e *Engine) StopLane(name, why string) {
	for _, l := range e.lanes {
		if l.c.Name == name {
			l.halt(why, nil)
		}
	}
}

// stopped says whether the run is to end early.
func (e *Engine) stopped() bool {
	select {
	case <-e.c.Stop:
		return true
	default:
		return false
	}
}
