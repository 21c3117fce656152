package run

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// Input is what a run reads.
type Input struct {
	// From is the location of the input, as part of the run's identity.
	From []string
	// Options say how to read the input. The run itself sets bounds, manifest and cache.
	Options source.Options
	// Stream is set if the input can be read only once; nil: Options describe the input.
	Stream *Stream
	// Follow says that the input is not expected to end. Options.Follow says how files and stores are watched.
	Follow bool
	// Bounds select events by their time.
	Bounds Bounds

	// DateOrder says how dates such as 03/04/2024 are read. Undated says what becomes of events without a time:
	// UndatedNow, UndatedSkip, or "", which rejects their deliveries to partners that are told the time. Both are
	// part of the identity.
	DateOrder event.DateOrder
	Undated   string

	// Since, Until, Lateness and Map are the texts that the user wrote. The identity has these texts, because a
	// relative time means another time on every start.
	Since, Until, Lateness, Map string
	// Schemes is what the flags of the sources in use add to the identity, by scheme.
	Schemes map[string]string
}

// Stream is input that can be read only once.
type Stream struct {
	Name string // for messages
	In   io.Reader
	// Interactive says that a person types the input, who should not have to wait for a full block.
	Interactive bool
}

// What becomes of events without a time.
const (
	UndatedNow  = "now"
	UndatedSkip = "skip"
)

// Times are the times from which and before which events are selected, and the time that is used for events
// without one. Zero: no bound, or no such time.
type Times struct {
	Since, Until time.Time
	Undated      time.Time `json:",omitzero"`
}

// Bounds are Times, and whether they are relative to the start of the command.
type Bounds struct {
	Times
	Relative bool
}

// Check finds mistakes in how the input is to be read, wherever it comes from.
func (in *Input) Check() error {
	o := in.Options
	o.Since, o.Until = in.Bounds.Since, in.Bounds.Until
	return o.Check()
}

// look opens the input and closes it again, to find mistakes early.
func (in *Input) look(ctx context.Context) error {
	if in.Stream != nil {
		return nil
	}
	o := in.Options
	o.Since, o.Until = in.Bounds.Since, in.Bounds.Until
	o.AllowEmpty, o.Follow = o.AllowEmpty || in.Follow, nil
	look, err := source.Open(ctx, o)
	if err != nil {
		return err
	}
	return look.Close()
}

// openOnce opens the input for one reading without a run. A stream is spooled to dir.
func (in *Input) openOnce(ctx context.Context, dir string, most int64, open *closers) (source.Source, error) {
	if in.Stream != nil {
		spool, err := source.OpenSpool(ctx, dir, in.Stream.In, in.spoolOptions(most))
		if err != nil {
			return nil, err
		}
		open.add(spool.Close)
		return spool, nil
	}
	o := in.Options
	o.Since, o.Until = in.Bounds.Since, in.Bounds.Until
	o.Voided = func(int, source.Place, error) error { return nil } // reported at the end of the reading
	input, err := source.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	open.add(input.Close)
	return input, nil
}

// spoolOptions are the options for spooling a stream to at most this many bytes of disk.
func (in *Input) spoolOptions(most int64) source.SpoolOptions {
	o := in.Options
	return source.SpoolOptions{
		Name: in.Stream.Name, Disk: o.Disk, Format: o.Format, Shapes: o.Shapes, Columns: o.Columns, Separator: o.Separator,
		Types: o.Types, DateOrder: o.DateOrder, Unwrap: o.Unwrap, Encoding: o.Encoding,
		Cap: most, Interactive: in.Stream.Interactive,
	}
}

// openSource opens the input of the run, and reports what is new in it.
func (r *Run) openSource(ctx context.Context) error {
	switch {
	case r.redrive != nil:
		return r.openLetters(ctx)
	case r.job.Input.Stream != nil:
		return r.openStream(ctx)
	}
	in := &r.job.Input
	known := r.journal.Manifest()
	o := in.Options
	o.Since, o.Until = r.bounds.Since, r.bounds.Until
	o.Frozen, o.Freeze, o.CacheDir = known, r.journal.Extend, filepath.Join(r.dir, "cache")
	if o.Log != nil {
		o.Log = o.Log.With("run", r.journal.Name())
	}
	var err error
	if o.Void, err = r.ends(voidKey); err != nil {
		return err
	}
	if o.Barren, err = r.barren(); err != nil {
		return err
	}
	if _, err = r.journal.Get(endedKey, &o.Ended); err != nil {
		return err
	}
	if o.Tails, err = r.tails(); err != nil {
		return err
	}
	o.NotedTail, o.Rest, o.Now = r.notedTail, restsAfter, r.w.Now
	o.Voided, o.NotedBarren = r.voided, r.notedBarren
	o.NotedEnd = func(end source.Position) error { return r.journal.Note(endedKey, end) }
	name, notice := r.journal.Name(), r.w.Notice
	if notice != nil {
		o.Replaced = func(file string, read int64) { notice(Replaced{name, file, read}) }
	}
	if in.Follow {
		follow := source.Follow{}
		if o.Follow != nil {
			follow = *o.Follow
		}
		follow.Trim = r.journal.Drop
		o.Follow = &follow
	}
	if r.input, err = source.Open(ctx, o); err != nil {
		return err
	}
	r.source = r.input
	r.open.add(r.input.Close)
	if err = r.passRefused(ctx); err != nil {
		return err
	}
	if !r.wasComplete() {
		r.noticeResuming()
		return nil
	}
	if in.Follow { // it does not end
		r.noticeResuming()
		return r.takeBack(r.input.Completed())
	}
	if err = r.input.Manifest().Wait(ctx); err != nil {
		return err
	}
	if err = r.takeBack(r.input.Completed()); err != nil {
		return err
	}
	if n := r.input.Manifest().Len() - len(known); n > 0 {
		r.notice(NewObjects{r.journal.Name(), n})
		return nil
	}
	if len(r.left) > 0 || r.input.Failures() != nil {
		r.noticeResuming() // something is there that was not delivered, and the end says why
		return nil
	}
	left, err := NoteRedriven(ctx, r.dir, r.before)
	r.settled = true
	r.notice(NothingNew{Run: r.journal.Name(), Finished: finishedAt(r.dir), Bad: r.before.BadRecords,
		Rejected: Rejected(r.before), Left: left, Redrive: r.again()})
	return err
}

// restsAfter is how long a file must not have been written before its last row counts as complete without a line
// end.
const restsAfter = 2 * time.Second

// known returns a function that says which entries of the manifest were read by the run that this one overlaps
// with; nil: there is no such run.
func (r *Run) known() (func(entry uint32) bool, error) {
	if r.overlaps == "" || r.input == nil {
		return nil, nil
	}
	objects, err := journal.ReadManifest(r.overlaps)
	if err != nil {
		return nil, fmt.Errorf("looking at what the last run has read: %w", err)
	}
	had := map[string]bool{}
	for _, o := range objects {
		if o.Name != "" { // else it was dropped
			had[o.Fingerprint] = true
		}
	}
	return func(entry uint32) bool { return had[r.input.Manifest().At(int(entry)).Fingerprint] }, nil
}

// openStream spools the input to disk, so that it can be read again.
func (r *Run) openStream(ctx context.Context) error {
	in := &r.job.Input
	o := in.spoolOptions(r.job.Spool)
	o.Need, o.Reached = needed(r.journalLanes())
	run, notice := r.journal.Name(), r.w.Notice // the stream may report it after the run was closed
	o.Told = func(same bool, before int64, how string) {
		if notice != nil {
			notice(StreamGoesOn{run, in.Stream.Name, same, before, how})
		}
	}
	spool, err := source.OpenSpool(ctx, filepath.Join(r.dir, "spool"), in.Stream.In, o)
	if err != nil {
		return err
	}
	r.source = spool
	r.open.add(spool.Close)
	r.noticeResuming()
	return nil
}

// wasComplete says whether an earlier process has finished the run.
func (r *Run) wasComplete() bool {
	return r.resumed && r.job.done(r.before)
}

func (r *Run) noticeResuming() {
	if r.resumed {
		r.notice(Resuming{r.journal.Name()})
	}
}

// needed returns the position from which a run will read, and the furthest that was read.
func needed(lanes []*journal.Lane) (low, high source.Position) {
	low = lanes[0].Resume().Mark.Position
	for _, l := range lanes {
		p := l.Resume().Mark.Position
		if p.Compare(low) < 0 {
			low = p
		}
		if p.Compare(high) > 0 {
			high = p
		}
	}
	return low, high
}
