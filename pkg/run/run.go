// Package run is one run, from a checked configuration to its summary.
//
// A run has a folder with its journal, its dead letters and its summary. Which
// folder follows from what is read and what is sent to whom ([Job], identity.go):
// the same job resumes. [World.Open] opens everything in one order, [Run.Do]
// delivers and closes in the opposite one, and what became of everything is a
// [Result]. [World.Letters] makes a run of another run's dead letters, and
// [World.Preview] gives the requests of a run without sending them.
//
// Nothing here prints, reads the environment or ends the process: what people may
// want to know while a run is opened is a [Notice], how far it is a value
// ([Run.Progress]), and mistakes of whoever asked are errors of their own type
// ([MistakeError]).
package run

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/suppress"
	"github.com/fanfold/fanfold/pkg/transform"
)

// World is what runs need from outside.
type World struct {
	Now  func() time.Time
	Rand func() float64 // in [0,1), for jitter; safe for concurrent use
	Log  *slog.Logger
	// Redact removes secrets from a text. It is called concurrently.
	Redact func(string) string
	// Hide, if not nil, replaces every stretch of a text that Redact would mask. It is called concurrently.
	Hide func(text string, with func(stretch string) string) string
	// Secret, if not nil, is called with values that must never be printed or stored. It is called concurrently.
	Secret func(values ...string)
	// Notice, if not nil, is called with what a person may want to know while a run is opened. It is called
	// concurrently, also during the run.
	Notice func(Notice)
	// UserAgent is the User-Agent of requests.
	UserAgent string
	// Hook, if not nil, wraps the network of every destination, above the credentials. A recorder uses it.
	Hook func(http.RoundTripper) http.RoundTripper
	// StandIn makes the stand-in for a partner that answers a rehearsal.
	StandIn func(*config.Opened) (http.RoundTripper, error)

	sealer sealer
}

// Job is a run that is ready to start: everything was checked, and nothing is open yet.
type Job struct {
	Input        Input
	Config       string // the configuration file, as an absolute path; "": there is none
	Profile      string // of the configuration; "": none
	Steps        *transform.Pipeline
	Destinations []*config.Opened
	Filter       *filter.Filter
	Suppress     *suppress.Set // users to whom nothing may be sent; nil: nobody
	seen         *selection.Seen
	Limit        int64 // events to select; 0: all
	Rehearse     bool
	Plan         []byte  // the plan it was started with, for its report; nil: none
	Fresh        bool    // send everything again, as a new run
	Continue     bool    // continue although the configuration has changed
	RealPace     bool    // a rehearsal keeps the partners' rates, too
	MaxErrors    int     // events in a row with the same refusal that stop a destination: see engine.Options
	Reserve      float64 // share of each partner's quota that is left to live traffic
	Memory       int64   // for blocks and deliveries, in bytes; 0: depends on the number of destinations
	Spool        int64   // bytes of disk for the part of a stream that not every destination has passed yet
}

// Follow says that the input is followed and not expected to end.
func (j *Job) Follow() bool { return j.Input.Follow }

// MemoryNeeded is Memory, or what this many destinations need: with less memory for each of many, the garbage
// collector would do most of the work.
func (j *Job) MemoryNeeded() int64 {
	if j.Memory > 0 {
		return j.Memory
	}
	return 256<<20 + int64(max(len(j.Destinations)-16, 0))*(8<<20)
}

// Run is a run in progress. Make it with [World.Open].
type Run struct {
	w        *World
	job      *Job
	dir      string
	resumed  bool            // an earlier process has worked on it
	before   *engine.Summary // from an earlier process; nil: there is none, or it was killed in its first run
	settled  bool            // a notice has said that all was settled already
	redrive  *redriveOf      // nil: it is no redrive
	picked   picked          // for a redrive, only dir and resumed are set
	changed  []engine.Continued
	overlaps string  // the folder of the run that this one overlaps with; "": none
	left     []error // why destinations cannot take part
	cut      uint64  // ordinal at which the steps changed last

	journal *journal.Run
	open    closers // everything but the journal
	source  source.Source
	input   *source.Input // the source, unless it is a stream
	bounds  Bounds
	lanes   []engine.LaneConfig
	engine  *engine.Engine
	history *History
	aging   []aging
	old     []error // errors of [destination.Aging.Age]
	stop    chan struct{}
}

// Result is the result of a run.
type Result struct {
	Summary *engine.Summary
	// Left is how many rejected events no redrive has delivered yet, and Redrive is the run whose redrive would
	// send them.
	Left    uint64
	Redrive string
	// Settled says that a notice has said that all was settled already, and how many events are rejected.
	Settled bool
	// Rests says, for followed input, that everything that was read is settled.
	Rests bool
	// Held are the destinations that hold deliveries that were in doubt after a crash.
	Held []string
	// Input describes what was read; nil: dead letters.
	Input Described
}

// Described is an input that says how it was recognised: a [source.Input] or a [source.Spool].
type Described interface{ Describe() []string }

// Progress returns the state of every destination. It may be called at any time after [World.Open].
func (r *Run) Progress() []engine.Progress {
	ps := r.engine.Progress()
	for i := range ps { // the text comes from a partner, and may contain anything
		ps[i].State, ps[i].Problem = r.w.Redact(ps[i].State), r.w.Redact(ps[i].Problem)
		ps[i].Last = r.w.Redact(ps[i].Last)
	}
	return ps
}

// Open opens everything that a job needs in the folder of runs: the run's journal, the source, the steps, the
// destinations. If it fails, everything is closed again. ctx is used for opening, and for reading afterwards.
func (w *World) Open(ctx context.Context, runs Folder, j *Job) (*Run, error) {
	// The input is checked before the run's folder is created, so that a mistake in the command leaves nothing
	// behind.
	if err := j.Input.look(ctx); err != nil {
		return nil, err
	}
	r := &Run{w: w, job: j}
	if err := r.choose(runs); err != nil {
		return nil, err
	}
	return r.begin(ctx)
}

// choose takes the run's folder: that of the run that has the job's destinations, or the next one. The next one is
// also taken when the run is finished and the same command now means something else.
func (r *Run) choose(runs Folder) (err error) {
	j := r.job
	if r.picked, err = runs.pick(r.w, j); err != nil {
		return err
	}
	r.dir, r.resumed = r.picked.dir, r.picked.resumed
	id := filepath.Base(r.dir)
	for _, n := range r.picked.renamed {
		local := func(o *config.Opened) bool { return o.Name == n.Destination && o.Sender.Plan().Local }
		if n.Delivered > 0 && !slices.ContainsFunc(j.Destinations, local) {
			r.notice(n)
		}
	}
	if !r.resumed {
		if o := r.picked.other; o != nil {
			if n := r.otherSettings(o); len(n.Differences) > 0 {
				r.notice(n)
			}
		}
		return nil
	}
	if j.Input.Bounds.Relative || j.Input.Stream != nil {
		if s, wrong := ReadSummary(r.dir); wrong == nil && j.done(s) {
			again := *j
			again.Fresh = true
			if r.picked, err = runs.pick(r.w, &again); err != nil {
				return err
			}
			if j.Input.Stream == nil && j.Input.Until == "" {
				r.overlaps = filepath.Join(string(runs), id)
			}
			r.dir, r.resumed = r.picked.dir, false
			if j.Input.Stream != nil { // another pipe has to be treated as different events
				r.notice(NewStream{Done: id, Run: filepath.Base(r.dir), Name: j.Input.Stream.Name})
			}
			return nil
		}
	}
	if len(r.picked.differs) > 0 && !j.Continue {
		return &MistakeError{&ChangedError{id, r.picked.differs}}
	}
	return nil
}

// done says whether the summary is that of a run with nothing left to do for the job's destinations.
func (j *Job) done(s *engine.Summary) bool {
	if s == nil || s.Status != Complete {
		return false
	}
	events := s.Read - s.BadRecords - engine.Total(s.Dropped)
	for _, d := range j.Destinations {
		of := func(l engine.LaneSummary) bool { // a destination that was left out may not have had all
			return l.Name == d.Name && l.Filtered+engine.Total(l.Skipped)+l.Delivered+engine.Total(l.Rejected) == events
		}
		if !slices.ContainsFunc(s.Destinations, of) && !slices.ContainsFunc(s.Removed, of) {
			return false
		}
	}
	return true
}

// begin opens the run in its folder.
func (r *Run) begin(ctx context.Context) (*Run, error) {
	var err error
	// A process that was killed has left its counts, with one example for each reason: whatever the summary of the one
	// before it says, the run is not complete then.
	if r.before, err = readCounts(countsPath(r.dir)); err != nil {
		if r.before, err = ReadSummary(r.dir); err != nil {
			r.before = nil
		}
	}
	if r.journal, err = journal.Open(r.dir, r.w.keep(r.job.identity(), "").Identity,
		journal.Options{Now: r.w.Now, Redact: r.w.Redact,
			Daily: r.job.Follow()}); err != nil {
		return nil, err
	}
	if r.job.Plan != nil {
		if err = replaceFile(planPath(r.dir), r.job.Plan); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	r.openHistory()
	for _, step := range []func(context.Context) error{
		r.goOn, r.freezePresets, r.freezeBounds, r.openSource, r.openSteps, r.openLanes} {
		if err = step(ctx); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	j := r.job
	r.stop = make(chan struct{})
	selected := j.selection(r.bounds.Times)
	selected.Cut = r.cut
	if r.redrive != nil { // letters are no events: what is in them is normalized when they are routed
		selected.Rules, selected.Suppress, selected.SkipUndated, selected.Seen = nil, nil, false, nil
	}
	c := engine.Config{Source: r.source, Selection: selected,
		Run: r.journal, Lanes: r.lanes, Now: r.w.Now, Rand: r.w.Rand, Logger: r.w.Log, Memory: j.MemoryNeeded(), Stop: r.stop}
	if c.Known, err = r.known(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	c.Follows = j.Follow()
	if _, ok := r.source.(*source.Spool); ok || j.Follow() {
		c.Linger = time.Second // somebody may be waiting for the output of a slow stream
	}
	r.engine = engine.New(c)
	return r, nil
}

// freezePresets stores what the destinations are subscribed to. For a redrive this is not needed: a letter is one
// delivery, whatever the presets are.
func (r *Run) freezePresets(context.Context) error {
	if r.redrive != nil {
		return nil
	}
	var changed []string // those that the user has changed
	for _, d := range r.picked.differs {
		changed = append(changed, d.Destination)
	}
	return freezeSubscriptions(r.journal, r.job.Destinations, changed, r.notice, r.w.Redact)
}

// freezeBounds stores the times to which relative times were resolved at the first start.
func (r *Run) freezeBounds(context.Context) error {
	r.bounds = r.job.Input.Bounds
	return r.freeze("times", &r.bounds.Times)
}

// freeze stores a value in the journal at the first start, and reads it from there later.
func (r *Run) freeze(key string, v any) error {
	found, err := r.journal.Get(key, v)
	if err != nil || found {
		return err
	}
	return r.journal.Put(key, v)
}

func (r *Run) openSteps(context.Context) error {
	if r.job.Steps == nil {
		return nil
	}
	if err := r.job.Steps.Open(r.dir, r.cut == 0 && r.begun()); err != nil {
		return err
	}
	r.open.add(r.job.Steps.Close)
	return nil
}

// begun says whether an earlier process has passed events.
func (r *Run) begun() bool {
	return slices.ContainsFunc(r.journalLanes(), func(l *journal.Lane) bool { return l.Resume().Mark.Ordinal > 0 })
}

// Close closes what is open. Do calls it itself.
func (r *Run) Close() error {
	err := r.open.close()
	if r.journal != nil {
		err = errors.Join(err, r.journal.Close())
		r.journal = nil
	}
	return err
}

// Do delivers until everything is settled or stop is closed; then requests in flight are finished and saved.
// Cancelling ctx drops what is in flight, and the next process repeats it. At the end everything is closed and the
// summary is written. There is a result even if there is an error.
//
// An error concerns the machine or the input; several are joined.
func (r *Run) Do(ctx context.Context, stop <-chan struct{}) (*Result, error) {
	over := make(chan struct{})
	go func() {
		select {
		case <-stop:
			close(r.stop)
		case <-over:
		}
	}()
	released := releasePassed(r.source, r.journalLanes(), r.engine, r.w.Now)
	noted := r.noteCounts()
	sum, err := r.engine.Run(ctx)
	close(over)
	for _, l := range r.lanes {
		if c, is := l.Sender.(destination.Checked); is && c.Difference() != "" {
			r.w.Log.Error("a body was compiled wrongly: this is a bug in fanfold", "destination", l.Name, "why", c.Difference())
		}
	}
	kept := released() // input that could not be removed, though all destinations have passed it
	err = errors.Join(append(r.left, err)...)
	if j := r.job; j.Follow() && r.input != nil { // otherwise nothing has been read to an end that would report it
		err = errors.Join(err, r.input.Failures())
	}
	noted()
	// Output that could not be completed does not count as delivered.
	if e := errors.Join(append(r.old, r.open.close())...); e != nil {
		err, sum.Status = errors.Join(err, e), Incomplete
	}
	if len(r.left) > 0 {
		sum.Status = Incomplete
	}
	rests := r.rests(sum)
	if held := r.held(); len(held) > 0 {
		if !r.job.Follow() { // that is never complete
			sum.Status = Incomplete
		}
		r.notice(Held{r.journal.Name(), held})
	}
	if kept != nil && err == nil && sum.Status == Complete {
		// Nothing is missing at any partner: an error would have the user start again from the beginning.
		r.w.Log.Warn("what was kept of the input could not be removed", "why", kept)
	} else {
		err = errors.Join(err, kept)
	}
	r.finish(sum)
	res := &Result{Summary: sum, Settled: r.settled, Rests: rests}
	if r.redrive == nil {
		res.Input, _ = r.source.(Described)
	}
	err = errors.Join(err, r.noteHistory(sum))
	if e := writeSummary(r.dir, sum); e != nil {
		err = errors.Join(err, e)
	} else if e := os.Remove(countsPath(r.dir)); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	var e error
	res.Left, e = NoteRedriven(ctx, r.dir, sum)
	if res.Left > 0 {
		res.Redrive = r.again()
	}
	err = errors.Join(err, e, r.Close())
	for i, d := range sum.Destinations {
		if r.lanes[i].Options.Hold && d.InDoubt > 0 && d.Pending > 0 {
			res.Held = append(res.Held, d.Name)
		}
	}
	sent := slices.ContainsFunc(sum.Destinations, func(d engine.LaneSummary) bool { return d.Requests > 0 })
	return res, Distinct(err, func(err error) error {
		var input *source.InputError
		switch {
		case errors.Is(err, context.Canceled) && ctx.Err() != nil:
			return nil // the summary says that what was in flight is in doubt
		case sent && errors.As(err, &input):
			return &SentError{err}
		}
		return err
	})
}

// held lists the files that end in an incomplete record.
func (r *Run) held() []string {
	if r.input == nil {
		return nil
	}
	return r.input.Held()
}

// rests says whether nothing of followed input is pending, at a destination or on the disk.
func (r *Run) rests(s *engine.Summary) bool {
	if !r.job.Follow() {
		return false
	}
	for _, d := range s.Destinations {
		if d.Pending > 0 || d.Stopped != "" {
			return false
		}
	}
	if spool, is := r.source.(*source.Spool); is {
		low, _ := needed(r.journalLanes())
		return spool.Rests(low)
	}
	return true
}

// journalLanes are the run's lanes in the journal: first that of the reading (bad records), then one for each
// destination.
func (r *Run) journalLanes() []*journal.Lane {
	lanes := []*journal.Lane{r.journal.Lane("_source")}
	for _, d := range r.job.Destinations {
		lanes = append(lanes, r.journal.Lane(d.Name))
	}
	return lanes
}

func (r *Run) notice(n Notice) {
	if r.w.Notice != nil {
		r.w.Notice(n)
	}
}
