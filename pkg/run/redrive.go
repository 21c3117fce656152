package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/setting"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/suppress"
	"github.com/fanfold/fanfold/pkg/transform"
)

// LetterChoice selects the dead letters of a run that are sent again.
type LetterChoice struct {
	To      []string // destinations; none: all
	Reasons []string // none: all
	// Since is what the user wrote, and Last the time it stands for: letters whose last attempt was earlier are
	// not sent. Zero: all are. Relative: Since means another time on every start.
	Since    string
	Last     time.Time
	Relative bool
	// Filter is applied to the events in the letters, in the spec's form; nil: all pass.
	Filter *filter.Filter
}

// Letters are a run's dead letters that are to be sent again. Until Close, that run is locked, and so are the runs
// that its letters come from and the redrives of it.
type Letters struct {
	w      *World
	runs   Folder
	id     string
	choice LetterChoice
	family []string // the run, then those whose letters it has sent; the last is the one in which all began
	kept   *keptIdentity
	// subscribed is what the destinations were subscribed to when the letters were written; nil: the run was made
	// by a version of fanfold that did not store it.
	subscribed map[string][]string
	names      []string // destinations with letters
	files      []string // files with the letters
	sizes      []string // they tell whether letters were added since
	open       closers
}

// Refused returns the summary of a run whose dead letters are to be sent again.
func (f Folder) Refused(id string, rehearse bool) (*engine.Summary, error) {
	dir, err := f.Find(id)
	if err != nil {
		return nil, err
	}
	s, err := ReadSummary(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && journal.Busy(dir):
		return nil, &journal.BusyError{Dir: dir}
	case errors.Is(err, fs.ErrNotExist):
		return nil, mistakef("run %s has not come to a summary yet: run its command again first", filepath.Base(dir))
	case err != nil:
		return nil, fmt.Errorf("reading the summary of run %s: %w: its command, run again, writes a new one", id, err)
	case s.Rehearsal && !rehearse:
		return nil, mistakef("run %s was a rehearsal: no partner has refused its dead letters; --rehearse sends them to "+
			"the stand-ins again", id)
	}
	// The same command continues a redrive that was stopped, even if the redrive is the latest run by now. A
	// redrive without dead letters of its own has nothing to send again.
	if id == Latest && s.RedriveOf != "" && (s.Status != Complete || Rejected(s) == 0) {
		return f.Refused(s.RedriveOf, rehearse)
	}
	return s, nil
}

// Letters chooses dead letters of a run, whose summary is s. Asking for letters that do not exist is a mistake: a
// script would take a run that sends nothing for success.
func (w *World) Letters(
	ctx context.Context, runs Folder, s *engine.Summary, choice LetterChoice,
) (_ *Letters, err error) {
	l := &Letters{w: w, runs: runs, id: s.Run, choice: choice, family: familyOf(runs, s.Run, s)}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	// Only one redrive at a time, and no process may be writing letters of the run.
	root := l.family[len(l.family)-1]
	lock, err := journal.Lock(filepath.Join(string(runs), root), journal.RedriveLock)
	if err != nil {
		return nil, err
	}
	l.open.add(lock.Close)
	of, err := journal.Open(filepath.Join(string(runs), s.Run), nil, journal.Options{Now: w.Now, Redact: w.Redact})
	if err != nil {
		return nil, err
	}
	l.open.add(of.Close)
	if l.kept, err = keptOf(of); err != nil {
		return nil, err
	}
	if l.subscribed, err = subscribedOf(of); err != nil {
		return nil, err
	}
	var all []string
	for _, d := range s.Destinations {
		all = append(all, d.Name)
		if err := l.add(of.Dir, of.Lane(d.Name)); err != nil {
			return nil, err
		}
	}
	return l, l.check(ctx, all)
}

// add adds the letters of a destination, if they were asked for.
func (l *Letters) add(dir string, lane *journal.Lane) error {
	n, _ := lane.DeadLetters()
	if n == 0 || len(l.choice.To) > 0 && !slices.Contains(l.choice.To, lane.Name) {
		return nil
	}
	if err := lane.CheckDeadLetters(); err != nil {
		return err
	}
	files, err := journal.Letters(dir, lane.Name)
	if err != nil {
		return err
	}
	l.names = append(l.names, lane.Name)
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		// The sizes tell whether the run has got more letters since.
		l.files, l.sizes = append(l.files, path), append(l.sizes, fmt.Sprintf("%s:%d", path, info.Size()))
	}
	return nil
}

// check finds destinations and reasons that were asked for but do not occur.
func (l *Letters) check(ctx context.Context, destinations []string) error {
	for _, name := range l.choice.To {
		if !slices.Contains(destinations, name) {
			return mistakef("--to: run %s has %s", l.id,
				strings.TrimPrefix(setting.Unknown(name, "destination", destinations), "there is "))
		}
	}
	if len(l.choice.Reasons) == 0 {
		return nil
	}
	reasons := map[string]int{}
	if len(l.files) > 0 {
		err := eachLetter(ctx, l.files, func(letter event.Value) { reasons[letter.Get("reason").Text()]++ })
		if err != nil {
			return err
		}
	}
	return noSuchReason(l.id, l.choice.Reasons, reasons)
}

// Destinations are the names of the destinations with letters to send.
func (l *Letters) Destinations() []string { return l.names }

// Close unlocks the runs.
func (l *Letters) Close() error { return l.open.close() }

// Open opens the run that sends the letters to the destinations of a job. The job's input, filter and steps are
// empty. steps are those of the configuration: events pass the steps that do not depend on their position in the
// input.
func (l *Letters) Open(ctx context.Context, j *Job, steps *transform.Pipeline) (*Run, error) {
	re := l.of(j, steps)
	r := &Run{w: l.w, job: j, redrive: re}
	if err := r.chooseRedrive(l.runs, l.w.named(l.runs, re, j)); err != nil {
		return nil, err
	}
	l.compare(re, j)
	if !j.Rehearse { // a rehearsal delivers nothing
		var err error
		if re.notes, err = redrivenOf(string(l.runs), l.family, l.names, filepath.Base(r.dir), l.w.Now); err != nil {
			return nil, err
		}
		for _, n := range re.notes {
			r.open.add(n.close)
		}
	}
	return r.begin(ctx)
}

// chooseRedrive takes the folder of the newest redrive with this identity, or the next one, also when the time
// that was asked for has changed.
func (r *Run) chooseRedrive(runs Folder, id string) (err error) {
	j := r.job
	if r.dir, r.resumed, err = runs.choose(id, j.Fresh || j.Rehearse); err != nil || !r.resumed {
		return err
	}
	if s, wrong := ReadSummary(r.dir); j.Input.Bounds.Relative && wrong == nil && s.Status == Complete {
		r.dir, r.resumed, err = runs.choose(id, true)
	}
	return err
}

// of makes a job a redrive of the letters.
func (l *Letters) of(j *Job, steps *transform.Pipeline) *redriveOf {
	for _, d := range j.Destinations {
		d.Filter = nil // the letter has passed it already
	}
	re := &redriveOf{parent: l.id, root: l.family[len(l.family)-1], since: l.choice.Last, reasons: l.choice.Reasons,
		filter: l.choice.Filter,
		files:  l.files, steps: steps.WithoutPositions(), suppress: j.Suppress, skip: j.Input.Undated == UndatedSkip}
	re.rules = normalize.Rules{Order: j.Input.DateOrder, Undated: j.Input.Bounds.Undated}
	if re.rules.Order == event.AnyOrder { // as the run has read it
		re.rules.Order = l.kept.Identity.DateOrder
	}
	what := fmt.Sprintf("redrive://%s?reason=%s&since=%s", l.id, strings.Join(l.choice.Reasons, ","), l.choice.Since)
	if l.choice.Filter != nil {
		what += "&filter=" + l.choice.Filter.String()
	}
	if re.before = what; !re.steps.Empty() {
		re.before += "&transform=" + re.steps.Identity()
		what += "&transform=" + l.w.sealer.print(l.id, strings.Join(re.steps.Written(), "\n"))
	}
	j.Input.From, j.Input.Bounds.Relative = append([]string{what}, l.sizes...), l.choice.Relative
	return re
}

// named is the id of a redrive in a folder of runs. It is a hash of all that is sent to whom, with its secrets, so
// it takes as long to make as a seal. A redrive that an older version has begun keeps the id that this gave it.
func (w *World) named(runs Folder, re *redriveOf, j *Job) string {
	meta := j.identity()
	before := meta
	before.From = append([]string{re.before}, meta.From[1:]...)
	id := hashOf(before.before())
	if _, found, err := runs.choose(id, false); err == nil && found && !j.Fresh && !j.Rehearse {
		return id
	}
	data, err := json.Marshal(meta)
	if err != nil { // texts and numbers
		panic(err)
	}
	return w.sealer.print(re.parent, string(data))
}

// compare tells the redrive whether the destinations still make the same deliveries of events as when the letters
// were written.
func (l *Letters) compare(re *redriveOf, j *Job) {
	re.had = actionsOf(l.kept.Identity)
	re.has, re.redact, re.subscribed = actionsOf(l.w.see(l.kept, j.identity())), l.w.Redact, l.subscribed
}

// Plan says what a redrive of the letters would send to the destinations of a job, and sends nothing. What is not
// sent is among the skipped, by reason.
func (l *Letters) Plan(ctx context.Context, j *Job, steps *transform.Pipeline) (_ *Plan, err error) {
	re := l.of(j, steps)
	l.compare(re, j)
	id := l.w.named(l.runs, re, j)
	if !j.Rehearse && !l.choice.Relative { // as Open would find it
		dir, found, failed := l.runs.choose(id, false)
		if failed != nil {
			return nil, failed
		}
		if s, none := ReadSummary(dir); found && none == nil && s.Status == Complete {
			again := &Earlier{Run: s.Run, Status: s.Status}
			left, unread := NoteRedriven(ctx, dir, s)
			if left > 0 {
				again.Redrive = l.runs.Again(s.Run)
			}
			return &Plan{Sample: 1, Run: s.Run, Earlier: again}, unread
		}
	}
	if !j.Rehearse {
		if re.notes, err = redrivenOf(string(l.runs), l.family, l.names, "", l.w.Now); err != nil {
			return nil, err
		}
	}
	src, err := source.Open(ctx, source.Options{From: l.files, DeadLetters: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	p := &Plan{Sample: 1, Run: id, Bad: map[string]Planned{}, Dropped: map[string]uint64{},
		Objects: len(l.files)}
	var lanes []*dryLane
	for _, d := range j.Destinations {
		lane := engine.LaneConfig{Name: d.Name, Sender: d.Sender}
		re.wrap(d, &lane)
		own := *d
		own.Sender, own.Consent = lane.Sender, nil // consent is not checked again: a letter is no event
		lanes = append(lanes, p.lane(l.w, j, &own, src))
		p.Destinations[len(p.Destinations)-1].example = exampleOfLetter
	}
	var whole selection.Selection
	for r, err := range whole.Records(ctx, src, journal.Mark{}) {
		if err != nil {
			return nil, err
		}
		p.Read++
		for _, lane := range lanes {
			if r.Event == nil {
				continue
			}
			if err := lane.event(&r); err != nil {
				return nil, err
			}
		}
	}
	for _, lane := range lanes {
		if err := lane.flush(); err != nil {
			return nil, err
		}
	}
	p.spans()
	return p, nil
}

// redriveOf is what makes a run a redrive of another run.
type redriveOf struct {
	parent  string    // the run
	root    string    // the run in which its letters began
	since   time.Time // as resolved at the first start
	reasons []string
	filter  *filter.Filter
	files   []string
	before  string // what the redrive is of, as older versions wrote it
	steps   *transform.Pipeline
	had     map[string][]string // what the destinations made of events when the letters were written
	has     map[string][]string // and what they make of them today
	notes   []*redriven
	// The events in the letters are normalized by these rules, and admitted like any other.
	rules    normalize.Rules
	suppress *suppress.Set
	skip     bool // skip events without a time

	redact     func(string) string
	subscribed map[string][]string // what they were subscribed to then; nil: not known
}

// openLetters opens the letters as the source of the run.
func (r *Run) openLetters(ctx context.Context) error {
	src, err := source.Open(ctx, source.Options{From: r.redrive.files, DeadLetters: true})
	if err != nil {
		return err
	}
	r.open.add(src.Close)
	r.source = src
	if err = r.freeze("redrive_since", &r.redrive.since); err != nil {
		return err
	}
	if !r.wasComplete() {
		r.noticeResuming()
		return nil
	}
	left, err := NoteRedriven(ctx, r.dir, r.before)
	r.settled = true
	r.notice(RedrivenAgain{Run: r.journal.Name(), Finished: finishedAt(r.dir), Left: left, Redrive: r.again()})
	return err
}

// wrap makes a lane send letters instead of events.
func (re *redriveOf) wrap(d *config.Opened, lane *engine.LaneConfig) {
	plan := *d.Sender.Plan()
	plan.Content = "" // what it routes is its own letters
	before, known := re.subscribed[d.Name]
	changed := !slices.Equal(re.had[d.Name], re.has[d.Name]) || known && !slices.Equal(before, subscribedTo(d, re.redact))
	r := &redriver{Sender: lane.Sender, name: d.Name, reasons: re.reasons, filter: re.filter, since: re.since,
		plan: &plan, steps: re.steps,
		changed: changed, rules: re.rules, suppress: re.suppress, skip: re.skip, consent: d.Consent}
	lane.Consent = nil // a letter is no event
	lane.Sender, lane.Letter, lane.Event = r, original, eventOf
	if len(re.notes) == 0 {
		return
	}
	r.done = map[letterName]bool{}
	for _, n := range re.notes {
		for letter := range n.known[d.Name] {
			r.done[letter] = true
		}
	}
	lane.Delivered = func(raw []byte) {
		ev, err := event.Parse(raw)
		if err != nil {
			return // it could not have been sent
		}
		which := nameOf(innermost(ev.Root()))
		for _, n := range re.notes {
			n.add(d.Name, which)
		}
	}
}

// familyOf returns a run, the runs whose dead letters it has sent, as far as they still exist, and last the one in
// which all letters began.
func familyOf(runs Folder, id string, s *engine.Summary) (ids []string) {
	ids = []string{id}
	for _, next := range []string{s.RedriveOf, s.Root} {
		for next != "" && !slices.Contains(ids, next) {
			older, err := ReadSummary(filepath.Join(string(runs), next))
			if err != nil {
				break // it was removed
			}
			ids = append(ids, next)
			next = older.RedriveOf
		}
	}
	return ids
}

// actionsOf returns what a run's destinations make of events, by name.
func actionsOf(meta identity) map[string][]string {
	out := map[string][]string{}
	for _, d := range meta.Destinations {
		out[d.Name] = append(slices.Clone(d.Actions), d.Type, d.Presets)
	}
	return out
}
