// Package engine delivers the events of one source to many destinations, each
// at its own pace.
//
// A front reader decompresses, indexes and selects the input once and puts it,
// block by block, into a shared [ring]. Every destination has a [lane]: a
// cursor over that ring with its own batches, pace, retries, breaker and
// checkpoint. The archive is the queue: a lane that falls off the ring's tail
// opens the source again at its own position, so nobody waits for anybody, and
// memory stays bounded whatever a partner does.
//
// A delivery's life in its lane: routed (by the destination), batched, paced,
// begun in the journal, sent, and then settled by the partner's verdict, or
// tried again with backoff until its budget runs out. When all deliveries of
// all events of a block are settled, and those of the blocks before it, the
// lane's checkpoint moves.
//
// The destination says whether to retry; the engine says when. Partner code
// runs behind recover and a deadline. Time comes from Config.Now and timers,
// so that whole runs can be tested in simulated time.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/stock"
	"github.com/fanfold/fanfold/pkg/transform"
)

// Config is a run.
type Config struct {
	Source    source.Source
	Filter    *filter.Filter      // of the selection; nil: everything
	Since     time.Time           // inclusive; zero: no bound
	Until     time.Time           // exclusive; zero: no bound
	Limit     int64               // events selected; 0: all
	Transform *transform.Pipeline // nil: none
	Lanes     []LaneConfig
	Run       *journal.Run

	Now    func() time.Time
	Rand   func() float64 // in [0,1), for jitter; safe for concurrent use
	Logger *slog.Logger
	// Linger is how long there has to be no new input before requests that are not
	// full go out; 0: a minute, so that what goes into a request of an archive does not
	// depend on the time. For streams that a person waits for it is short.
	Linger time.Duration
	// Memory bounds what blocks and lanes hold, in bytes; 0: 256 MiB.
	Memory int64
	// Stop, when closed, ends the run early: nothing new is sent, what is in
	// flight is finished and saved. Cancelling the context instead drops what
	// is in flight; a resume repeats it.
	Stop <-chan struct{}
	// Hold keeps in-doubt deliveries back instead of sending them again, for
	// lanes whose options say so.
}

// LaneConfig is one destination of a run.
type LaneConfig struct {
	Name, Type string
	Sender     destination.Sender
	Transport  destination.Transport
	// Limiter shares the limits of Account with other processes; nil: there are none.
	Limiter Limiter
	Account string         // a name for it that tells no secret
	Filter  *filter.Filter // the destination's own; nil: everything
	Options Options
	// Delivered, when set, is called with the text of each event that the partner has
	// accepted, one after the other, before the checkpoint passes it; after a crash
	// perhaps again.
	Delivered func(raw []byte)
	// Event, when set, is the event that a record of the source is about, whose user
	// counts where order matters.
	Event func(*event.Event) *event.Event
	// Letter, when set, may change a dead letter before it is written. It is called by
	// many goroutines.
	Letter func(*journal.DeadLetter)
}

// Options are what a user can set for any destination.
type Options struct {
	// Rate is of the whole lane, instead of the partner's for the same unit; nil: none.
	// Those of its actions stay, but for lower ones under Override.
	Rate        *destination.Rate
	Override    bool
	NoRates     bool          // no rate is kept at all
	Concurrency int           // 0: as declared
	Timeout     time.Duration // of one request; 0: 30 s
	Attempts    int           // of one delivery; 0: 8
	MaxTime     time.Duration // of one delivery, from its first attempt; 0: 15 min
	Hold        bool          // in_doubt: hold
	Reserve     float64       // share of the partner's quota left to live traffic
}

// Summary is what became of a run, in the form of the command line's JSON.
type Summary struct {
	Run        string            `json:"run"`
	Status     string            `json:"status"` // complete or incomplete
	Read       uint64            `json:"read"`
	BadRecords uint64            `json:"bad_records"`
	Dropped    map[string]uint64 `json:"dropped"`
	// BadReasons are the bad records by what is wrong with them, and BadExamples says
	// of one of each what, and where it is.
	BadReasons  map[string]uint64 `json:"bad_reasons,omitempty"`
	BadExamples map[string]string `json:"bad_examples,omitempty"`
	// Rehearsal says that stand-ins were sent to. The caller sets it, and what follows:
	// the run whose dead letters were sent, and the configuration.
	Rehearsal bool   `json:"rehearsal,omitempty"`
	RedriveOf string `json:"redrive_of,omitempty"`
	Root      string `json:"redrive_root,omitempty"` // the run in which those letters began
	Config    string `json:"config,omitempty"`
	// DeadLetters is where the records are that are no events, if there are any.
	DeadLetters  string        `json:"dead_letters,omitempty"`
	Destinations []LaneSummary `json:"destinations"`
}

// LaneSummary is one destination's part of it.
type LaneSummary struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Filtered    uint64            `json:"filtered"`
	Skipped     map[string]uint64 `json:"skipped"`
	Delivered   uint64            `json:"delivered"`
	Rejected    map[string]uint64 `json:"rejected"`
	Pending     uint64            `json:"pending"`
	InDoubt     uint64            `json:"in_doubt"`
	Deliveries  uint64            `json:"deliveries"`
	Requests    uint64            `json:"requests"`
	Retries     uint64            `json:"retries"`
	Bytes       uint64            `json:"bytes"`
	Seconds     float64           `json:"seconds"` // of this process
	Rate        float64           `json:"rate"`    // events a second that it has delivered
	DeadLetters string            `json:"dead_letters,omitempty"`
	// Letters is how many dead letters there are: one for each delivery that was
	// rejected, of which an event may have several.
	Letters uint64 `json:"letters,omitempty"`
	// Redriven are the rejected events that redrives have delivered since, by the
	// redrive's run. The caller sets it.
	Redriven map[string]uint64 `json:"redriven,omitempty"`
	// Stopped says why the lane gave up early, if it did.
	Stopped string `json:"stopped,omitempty"`
	// Problem is what the partner, or the way to it, said last of something that
	// was not accepted, and Examples of one event for each reason of Rejected. Like
	// Stopped they may hold anything: redact them.
	Problem  string            `json:"last_problem,omitempty"`
	Examples map[string]string `json:"examples,omitempty"`
	// SkippedExamples say of one event for each reason of Skipped where it is, and why.
	SkippedExamples map[string]string `json:"skipped_examples,omitempty"`
	// Released counts events sent out of their user's order because the
	// user's queue had grown too long.
	Released uint64 `json:"released,omitempty"`
}

// MismatchError is a summary that does not add up: a bug in fanfold.
type MismatchError struct{ Msg string }

func (e *MismatchError) Error() string {
	return "the summary does not add up (" + e.Msg + "): this is a bug in fanfold; the run's folder holds what is needed to find it"
}

// Engine is a run under way. Make it with New, run it with Run, look at it with
// Progress.
type Engine struct {
	c     Config
	ring  *ring
	lanes []*lane
	cpu   *gate
	forms event.Forms
	ahead *lane // routes for all lanes when blocks are prepared; nil: each does it when it gets there
	log   *slog.Logger
	start time.Time

	stockBlocks     stock.Stock[block]
	stockRouted     stock.Stock[routed]
	stockLaneBlocks stock.Stock[laneBlock]

	bad *journal.Lane // of the records that are no events

	mu       sync.Mutex
	front    journal.Mark      // what has been read
	passed   float64           // part of the input's bytes that is read; 0: not known
	badOnes  map[string]uint64 // bad records by reason
	badFirst map[string]string // one of each
	frontErr error
	atEnd    bool
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
	e := &Engine{c: c, log: c.Logger.With("run", c.Run.Name()), cpu: newGate(runtime.GOMAXPROCS(0)), start: c.Now(), bad: c.Run.Lane("_source")}
	e.stockBlocks = stock.New[block](kept)
	e.stockRouted = stock.New[routed](kept + 2*len(c.Lanes))
	e.stockLaneBlocks = stock.New[laneBlock](kept + 2*len(c.Lanes))
	// A sixteenth of the memory for the shared ring, up to an eighth for what lanes have
	// taken out of it; the rest is for readers, bodies, and the collector,
	// which lets the heap grow to twice what lives.
	ring := c.Memory / 16
	if len(c.Lanes) == 1 {
		ring /= 2 // nobody to share it with
	}
	e.ring = newRing(ring)
	e.ring.most = c.Memory / 4
	for i := range c.Lanes {
		share := laneMemory(c.Lanes[i].Sender.Plan(), c.Memory, len(c.Lanes))
		e.lanes = append(e.lanes, newLane(e, &c.Lanes[i], share))
	}
	e.pair()
	return e
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

	from := e.lanes[0].cursor
	for _, l := range e.lanes {
		if l.cursor.Ordinal < from.Ordinal {
			from = l.cursor
		}
	}
	bad := e.bad
	if m := bad.Resume().Mark; m.Ordinal < from.Ordinal {
		from = m
	}

	var readers, lanes sync.WaitGroup
	readers.Go(func() { e.readFront(readCtx, from, bad) })
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
	errs = append(errs, e.frontErr, ctx.Err())
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

// Summary returns the counts as they are now. It may be asked for while the run
// is under way.
func (e *Engine) Summary() *Summary {
	e.mu.Lock()
	front, atEnd := e.front, e.atEnd
	s := &Summary{Run: e.c.Run.Name(), Status: "complete", Read: front.Ordinal, BadRecords: front.Bad, Dropped: map[string]uint64{},
		BadReasons: maps.Clone(e.badOnes), BadExamples: maps.Clone(e.badFirst)}
	e.mu.Unlock()
	maps.Copy(s.Dropped, front.Dropped)
	if n, path := e.bad.DeadLetters(); n > 0 {
		s.DeadLetters = path
	}
	if !atEnd {
		s.Status = "incomplete"
	}
	for _, l := range e.lanes {
		ls := l.summary(selected(front))
		if ls.Pending > 0 {
			s.Status = "incomplete"
		}
		s.Destinations = append(s.Destinations, ls)
	}
	return s
}

// selected is how many of the records up to a mark go to the lanes.
func selected(m journal.Mark) uint64 {
	n := m.Ordinal - m.Bad
	for _, d := range m.Dropped {
		n -= d
	}
	return n
}

// reconcile checks the summary's equation against counters that were kept apart
// from it.
func (e *Engine) reconcile(s *Summary) error {
	events := s.Read - s.BadRecords - sum(s.Dropped)
	for i, l := range e.lanes {
		d := s.Destinations[i]
		total := d.Filtered + sum(d.Skipped) + d.Delivered + sum(d.Rejected) + d.Pending
		switch {
		case total != events:
			return &MismatchError{fmt.Sprintf("%s: %d events were selected, %d are accounted for", d.Name, events, total)}
		case l.finished && l.offered != events:
			return &MismatchError{fmt.Sprintf("%s: it was offered %d events of %d", d.Name, l.offered, events)}
		case l.finished && l.stop == "" && !e.stopped() && d.Pending != uint64(l.heldEvents):
			return &MismatchError{fmt.Sprintf("%s: it is done with %d events pending, %d of them held", d.Name, d.Pending, l.heldEvents)}
		case l.sent != d.Deliveries-l.base.Deliveries:
			return &MismatchError{fmt.Sprintf("%s: %d deliveries were counted, %d were accepted", d.Name, d.Deliveries-l.base.Deliveries, l.sent)}
		}
	}
	return nil
}

func sum(m map[string]uint64) uint64 {
	var n uint64
	for _, v := range m {
		n += v
	}
	return n
}

// Progress is how a lane stands, for people to look at.
type Progress struct {
	Name      string
	Done      uint64 // events settled, filtered ones included
	Total     uint64 // events selected so far
	AllRead   bool   // Total is final
	About     uint64 // what Total will be, judged by the bytes that are read; 0: not known
	Delivered uint64
	Rejected  uint64
	Retries   uint64
	InFlight  int // requests
	State     string
	Stopped   bool // the lane has given up
	Position  source.Position
	Objects   int // of the whole input; 0: not all are known yet
}

// Progress returns how all lanes stand.
func (e *Engine) Progress() []Progress {
	e.mu.Lock()
	front, atEnd, passed := e.front, e.atEnd, e.passed
	e.mu.Unlock()
	objects := 0
	if m := e.c.Source.Manifest(); m.Done() {
		objects = m.Len()
	}
	var ps []Progress
	for _, l := range e.lanes {
		p := l.progress()
		p.Total, p.AllRead, p.Objects = selected(front), atEnd, objects
		if passed > 0 && !atEnd {
			p.About = uint64(float64(p.Total) / passed)
		}
		ps = append(ps, p)
	}
	return ps
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
