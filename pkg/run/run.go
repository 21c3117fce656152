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

// World is what runs take from outside.
type World struct {
	Now  func() time.Time
	Rand func() float64 // in [0,1), for jitter; safe for concurrent use
	Log  *slog.Logger
	// Redact takes secrets out of a text. It is called by many goroutines.
	Redact func(string) string
	// Secret, if not nil, is told values that must never be printed or stored. It is called
	// by many goroutines.
	Secret func(values ...string)
	// Notice, if not nil, is told what a person may want to know while a run is
	// opened. It is called by many goroutines, also while the run is under way.
	Notice func(Notice)
	// UserAgent is what requests say of who sends them.
	UserAgent string
	// Hook, if not nil, wraps the network of every destination, above the
	// credentials: a recorder does.
	Hook func(http.RoundTripper) http.RoundTripper
	// StandIn makes the partner that answers a rehearsal.
	StandIn func(*config.Opened) (http.RoundTripper, error)
}

// Job is a run made ready: all of it was checked, nothing is open yet.
type Job struct {
	Input        Input
	Config       string // the configuration file, as an absolute path; "": there is none
	Profile      string // of the configuration; "": none
	Steps        *transform.Pipeline
	Destinations []*config.Opened
	Filter       *filter.Filter
	Suppress     *suppress.Set // who must not be sent anything; nil: nobody
	seen         *selection.Seen
	Limit        int64 // events selected; 0: all
	Rehearse     bool
	Plan         []byte  // with which it is begun, for its report; nil: none
	Fresh        bool    // send everything again, as a new run
	Continue     bool    // go on although the configuration has changed
	RealPace     bool    // a rehearsal keeps the partners' rates, too
	MaxErrors    int     // events in a row with the same refusal before a destination is stopped: see engine.Options
	Reserve      float64 // share of each partner's quota that is left to live traffic
	Memory       int64   // for blocks and deliveries, in bytes; 0: as many destinations need
	Spool        int64   // of disk for what of a stream not every destination has passed, in bytes
}

// Follow says that the input is followed: no end is expected.
func (j *Job) Follow() bool { return j.Input.Follow }

// MemoryNeeded is Memory, or what so many destinations need: with less for each of
// many, the garbage collector would be most of the work.
func (j *Job) MemoryNeeded() int64 {
	if j.Memory > 0 {
		return j.Memory
	}
	return 256<<20 + int64(max(len(j.Destinations)-16, 0))*(8<<20)
}

// Run is one run under way. Make it with [World.Open].
type Run struct {
	w        *World
	job      *Job
	dir      string
	resumed  bool            // an earlier process has worked on it
	before   *engine.Summary // of an earlier process; nil: none, or it was killed in its first run
	redrive  *redriveOf      // nil: it is none
	picked   picked          // of a redrive only dir and resumed
	changed  []engine.Continued
	overlaps string  // the folder of the run that this one overlaps with; "": none
	left     []error // of destinations that cannot take part
	cut      uint64  // ordinal at which the steps changed last

	journal *journal.Run
	open    closers // all but the journal
	source  source.Source
	input   *source.Input // the source, when it is no stream
	bounds  Bounds
	lanes   []engine.LaneConfig
	engine  *engine.Engine
	history *History
	aging   []aging
	old     []error // of what has got old and could not be ended
	stop    chan struct{}
}

// Result is what became of a run.
type Result struct {
	Summary *engine.Summary
	// Left is how many rejected events no redrive has delivered yet, and Redrive the run whose redrive
	// sends those.
	Left    uint64
	Redrive string
	// Again says that the run was complete before: at most what was new was sent.
	Again bool
	// Rests says of input that is followed that all of it that was read is settled.
	Rests bool
	// Held are the destinations that keep back what was in doubt after a crash.
	Held []string
	// Input is what was read; nil: dead letters.
	Input Described
}

// Described is an input that says what it was taken for: a [source.Input], or a [source.Spool].
type Described interface{ Describe() []string }

// Dir is the run's folder.
func (r *Run) Dir() string { return r.dir }

// Progress is how every destination stands. It may be asked for at any time after
// [World.Open].
func (r *Run) Progress() []engine.Progress {
	ps := r.engine.Progress()
	for i := range ps { // a partner may say anything
		ps[i].State, ps[i].Problem = r.w.Redact(ps[i].State), r.w.Redact(ps[i].Problem)
		ps[i].Last = r.w.Redact(ps[i].Last)
	}
	return ps
}

// Open opens everything of a job in the folder of runs: the run's journal, the
// source, the steps, the destinations. When it fails, all of it is closed again.
// ctx is that of the opening, and of whatever goes on reading afterwards.
func (w *World) Open(ctx context.Context, runs Folder, j *Job) (*Run, error) {
	// The input is looked at before the run's folder is made: a mistake in the
	// command leaves no trace.
	if err := j.Input.look(ctx); err != nil {
		return nil, err
	}
	r := &Run{w: w, job: j}
	if err := r.choose(runs); err != nil {
		return nil, err
	}
	meta, _, err := j.identity(w.Redact)
	if err != nil {
		return nil, err
	}
	return r.begin(ctx, meta)
}

// choose takes the run's folder: that of the run that has the job's destinations, or the
// next one. Where a finished run's command means something else by now, that is the next.
func (r *Run) choose(runs Folder) (err error) {
	j := r.job
	if r.picked, err = runs.pick(j, r.w.Redact); err != nil {
		return err
	}
	r.dir, r.resumed = r.picked.dir, r.picked.resumed
	id := filepath.Base(r.dir)
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
			if r.picked, err = runs.pick(&again, r.w.Redact); err != nil {
				return err
			}
			if j.Input.Stream == nil && j.Input.Until == "" {
				r.overlaps = filepath.Join(string(runs), id)
			}
			r.dir, r.resumed = r.picked.dir, false
			if j.Input.Stream != nil { // another pipe is other events, as far as anybody can know
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

// done says that a summary is that of a run that has nothing left to do for the job's
// destinations.
func (j *Job) done(s *engine.Summary) bool {
	if s == nil || s.Status != Complete {
		return false
	}
	events := s.Read - s.BadRecords - engine.Total(s.Dropped)
	for _, d := range j.Destinations {
		of := func(l engine.LaneSummary) bool { // one that was left out may not have had all
			return l.Name == d.Name && l.Filtered+engine.Total(l.Skipped)+l.Delivered+engine.Total(l.Rejected) == events
		}
		if !slices.ContainsFunc(s.Destinations, of) && !slices.ContainsFunc(s.Removed, of) {
			return false
		}
	}
	return true
}

// begin opens the run in its folder.
func (r *Run) begin(ctx context.Context, meta any) (*Run, error) {
	var err error
	if r.before, err = ReadSummary(r.dir); err != nil {
		// One that was killed has left its counts, with one event of each reason, and is not complete.
		if r.before, err = readCounts(countsPath(r.dir)); err != nil {
			r.before = nil
		}
	}
	if r.journal, err = journal.Open(r.dir, meta, journal.Options{Now: r.w.Now, Redact: r.w.Redact,
		Daily: r.job.Follow()}); err != nil {
		return nil, err
	}
	if r.job.Plan != nil {
		if err = os.WriteFile(planPath(r.dir), r.job.Plan, 0o600); err != nil {
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
	if r.redrive != nil { // letters are no events: what is in them is read where they are routed
		selected.Rules, selected.Suppress, selected.SkipUndated, selected.Seen = nil, nil, false, nil
	}
	c := engine.Config{Source: r.source, Selection: selected,
		Run: r.journal, Lanes: r.lanes, Now: r.w.Now, Rand: r.w.Rand, Logger: r.w.Log, Memory: j.MemoryNeeded(), Stop: r.stop}
	if c.Known, err = r.known(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	c.Follows = j.Follow()
	if _, ok := r.source.(*source.Spool); ok || j.Follow() {
		c.Linger = time.Second // somebody may wait for what a slow stream has brought
	}
	r.engine = engine.New(c)
	return r, nil
}

// freezePresets keeps what the destinations are subscribed to. A letter is one
// delivery, whatever the presets are.
func (r *Run) freezePresets(context.Context) error {
	if r.redrive != nil {
		return nil
	}
	var changed []string // by the user
	for _, d := range r.picked.differs {
		changed = append(changed, d.Destination)
	}
	return freezeSubscriptions(r.journal, r.job.Destinations, changed, r.notice, r.w.Redact)
}

// freezeBounds keeps the instants to which relative times were resolved at the
// first start.
func (r *Run) freezeBounds(context.Context) error {
	r.bounds = r.job.Input.Bounds
	return r.freeze("times", &r.bounds.Times)
}

// freeze keeps a value of the first start in the journal, or takes it from there.
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

// begun says that an earlier process has passed events.
func (r *Run) begun() bool {
	return slices.ContainsFunc(r.journalLanes(), func(l *journal.Lane) bool { return l.Resume().Mark.Ordinal > 0 })
}

// Close closes what is open. Do does that by itself.
func (r *Run) Close() error {
	err := r.open.close()
	if r.journal != nil {
		err = errors.Join(err, r.journal.Close())
		r.journal = nil
	}
	return err
}

// Do delivers until everything is settled, or stop is closed: then what is in
// flight is finished and saved. Cancelling ctx drops what is in flight, and the
// next process repeats it. At the end everything is closed, and the summary is
// written. There is a result beside every error.
//
// An error is one of the machine, or of the input; several are joined.
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
	err = errors.Join(append(r.left, err, released())...)
	if j := r.job; j.Follow() && r.input != nil { // nobody has read to an end that would say it
		err = errors.Join(err, r.input.Failures())
	}
	noted()
	// output that could not be completed is not delivered for good
	if e := errors.Join(append(r.old, r.open.close())...); e != nil {
		err, sum.Status = errors.Join(err, e), Incomplete
	}
	if len(r.left) > 0 {
		sum.Status = Incomplete
	}
	rests := r.rests(sum)
	if held := r.held(); len(held) > 0 {
		sum.Status = Incomplete
		r.notice(Held{r.journal.Name(), held})
	}
	r.finish(sum)
	res := &Result{Summary: sum, Again: r.wasComplete(), Rests: rests}
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
			return nil // said by the summary: what was in flight is in doubt
		case sent && errors.As(err, &input):
			return &SentError{err}
		}
		return err
	})
}

// held are the files that end in what is no record yet. One that is followed may go on for ever.
func (r *Run) held() []string {
	if r.input == nil || r.job.Follow() {
		return nil
	}
	return r.input.Held()
}

// rests says that input that is followed has nothing pending, at a destination or on the disk.
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

// journalLanes are the run's lanes as the journal has them: that of the reading first
// (records that are no events), then one for each destination.
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
