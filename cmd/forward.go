package cmd

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/stock"
)

// runOptions are the flags of forward beyond the selection.
type runOptions struct {
	fresh    bool
	goOn     bool
	follow   bool
	poll     string
	progress string
	output   string
	reserve  string
	memory   string
	spool    string
	limits   limitOptions
	observe  observeOptions
	plan     string
	summed   bool // the summary was printed
	beside   bool // it goes to standard error, because events go where it would
}

// limitOptions are how hard destinations are asked.
type limitOptions struct {
	pace      string
	maxErrors int
}

func (o *limitOptions) flags(f *pflag.FlagSet) {
	flagvalue.Choice(f, &o.pace, "pace", "", "with --rehearse, how fast the stand-ins may be sent to", "fast", "real")
	flagvalue.Count(f, &o.maxErrors, "max-errors", 1000,
		"stop a destination after this many events in a row that it rejects "+
			"with the same answer; 0: never")
}

// read puts the options into a job.
func (o *limitOptions) read(j *run.Job) error {
	if o.pace == "real" && !j.Rehearse {
		return usagef("--pace real is for --rehearse: a run keeps the partners' rates anyhow")
	}
	j.RealPace = o.pace == "real"
	if j.MaxErrors = o.maxErrors; o.maxErrors == 0 {
		j.MaxErrors = -1
	}
	return nil
}

func (a *app) forwardCommand() *cobra.Command {
	var s selection
	var o runOptions
	c := &cobra.Command{
		Use:   "forward --from INPUT --to DESTINATION",
		Short: "Deliver events to destinations, each at its own pace",
		Long: `forward reads events and delivers them to destinations. It ends with a summary
that accounts for every event. The same command again resumes where it was
stopped, or delivers what is new in its input. See help topics sources, config,
resume and exit-codes.`,
		Example: `  fanfold forward --from events.jsonl.zst --to mixpanel --set mixpanel.project_token=env:MP_TOKEN
  fanfold forward --from archive/ --since 2024-01-01 --filter 'type = "track"'
  zcat *.gz | fanfold forward --from - --to webhook --set webhook.url=http://localhost:8080/`,
		Annotations: inOrder(),
		Args:        cobra.NoArgs,
		RunE:        func(c *cobra.Command, _ []string) error { return a.forward(c.Context(), &s, &o) },
	}
	s.flags(c, a.schemes())
	f := c.Flags()
	f.BoolVar(&o.fresh, "fresh", false, "send everything again, as a new run")
	f.BoolVar(&o.goOn, "continue", false,
		"go on behind what an earlier run delivered, with a configuration that has changed")
	f.BoolVar(&o.follow, "follow", false, "expect no end: go on with what is new, until stopped")
	f.StringVar(&o.poll, "poll", "10s", "with --follow, how often a prefix, and what no notice comes of, is looked at")
	globalFlag(f, &o.progress, "progress")
	flagvalue.Output(f, &o.output, "form of the summary", "text", "json")
	o.limits.flags(f)
	o.observe.flags(f)
	f.StringVar(&o.plan, "plan", "", "begin only if this plan, which plan --save has written, still holds")
	f.StringVar(&o.reserve, "reserve-for-live", "", "share of each partner's quota left to live traffic, like 30%")
	globalFlag(f, &o.memory, "memory")
	f.StringVar(&o.spool, "spool", "10GiB",
		"disk space for standard input that a destination has still to read")
	return c
}

// prepareJob checks all that a command says of a run. edit, if not nil, may change
// what destinations are opened with.
func (a *app) prepareJob(s *selection, o *runOptions, edit func(*config.Opened)) (*run.Job, error) {
	if len(s.from) == 0 {
		return nil, usagef("no input: say what to read with --from (a file, a directory, a glob, or - for standard input)")
	}
	conf, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	j := &run.Job{Steps: conf.Pipeline, Config: configPath(conf), Profile: a.profile, Limit: s.limit,
		Rehearse: s.rehearse, Fresh: o.fresh, Continue: o.goOn}
	if o.fresh && o.goOn {
		return nil, usagef("--continue and --fresh are contradictory: give one of them")
	}
	if j.Input, err = a.input(s); err != nil {
		return nil, err
	}
	if err = o.following(&j.Input); err != nil {
		return nil, err
	}
	if s.filter != "" {
		if j.Filter, err = filter.Written(s.filter); err != nil {
			return nil, usagef("--%w", err)
		}
		a.doubt("--filter", j.Filter)
	}
	if j.Suppress, err = a.suppression(conf); err != nil {
		return nil, err
	}
	if s.limit < 0 {
		return nil, usagef("--limit has to be a positive number")
	}
	if err = o.sizes(j); err != nil {
		return nil, err
	}
	picked, err := a.choose(conf, config.Choice{To: s.to, Set: s.sets, Opt: s.opts,
		Live: flagvalue.Words(s.live), Rehearse: s.rehearse})
	if err != nil {
		return nil, err
	}
	o.printsEvents(picked, s.rehearse)
	if j.Destinations, err = a.open(conf, picked, config.OpenOptions{Rehearse: s.rehearse, Edit: edit}); err != nil {
		return nil, err
	}
	for _, d := range j.Destinations {
		a.doubt(d.Name+": filter", d.Filter)
	}
	return j, nil
}

// doubt warns of what in a filter is mostly a slip.
func (a *app) doubt(where string, f *filter.Filter) {
	for _, d := range f.Doubts() {
		a.sayf("warning: %s: %s", where, d)
	}
}

// configPath is where a run finds its configuration again; "": there is none.
func configPath(f *config.File) string {
	if f.Path == "" || f.Piped {
		return ""
	}
	return absolute(f.Path)
}

// following reads the options of --follow into an input.
func (o *runOptions) following(in *run.Input) error {
	if o.poll == "" { // of a command that has no such flag
		return nil
	}
	poll, err := time.ParseDuration(o.poll)
	if err != nil || poll < time.Second {
		return usagef("--poll has to be a duration of a second or more, like 30s, not %q", o.poll)
	}
	if !o.follow {
		return nil
	}
	if in.Until != "" {
		return usagef("--follow expects no end, and --until is one: give one of them")
	}
	in.Follow, in.Options.Follow = true, &source.Follow{Poll: poll}
	return nil
}

// sizes reads the options that are numbers into a job.
func (o *runOptions) sizes(j *run.Job) (err error) {
	if err := o.limits.read(j); err != nil {
		return err
	}
	if o.reserve != "" {
		if j.Reserve, err = config.Share(o.reserve); err != nil {
			return usagef("--reserve-for-live %w", err)
		}
	}
	if o.memory != "" {
		if j.Memory, err = config.Bytes(o.memory); err != nil {
			return usagef("--memory %w", err)
		}
	}
	if o.spool != "" {
		if j.Spool, err = config.Bytes(o.spool); err != nil {
			return usagef("--spool %w", err)
		}
	}
	return nil
}

// runWorld is what runs take from this process.
func (a *app) runWorld() *run.World {
	w := &run.World{
		Now: a.now, Rand: rand.Float64, Log: a.log, Redact: a.secrets.redact, Hide: a.secrets.Replace,
		Secret:    a.secrets.add,
		UserAgent: "fanfold/" + a.build.Version,
		StandIn:   a.standIn, Notice: func(n run.Notice) { a.say(report.Notice(n)) },
	}
	if a.wire != nil {
		w.Hook = a.wire.Hook
	}
	return w
}

// runsFolder is where runs are kept.
func (a *app) runsFolder() (run.Folder, error) {
	dir, err := a.runsDir()
	return run.Folder(dir), err
}

func (a *app) forward(ctx context.Context, s *selection, o *runOptions) (err error) {
	if err = o.observe.read(a); err != nil {
		return err
	}
	defer func() { a.tell(&o.observe, err) }()
	st, opening, running := a.stopper(ctx)
	defer func() { err = a.notBegun(o, "", a.ended(st, err)) }()
	j, err := a.prepareJob(s, o, nil)
	if err != nil {
		return err
	}
	plan, err := a.planned(opening, j, o.plan)
	if err != nil {
		return err
	}
	j.Plan = plan
	open := func(runs run.Folder) (*run.Run, error) {
		r, err := a.runWorld().Open(opening, runs, j)
		var changed *run.ChangedError
		if errors.As(err, &changed) {
			err = usagef("%w:%s", err, report.Commands(a.args, "--continue", "--fresh"))
		}
		return r, err
	}
	return a.deliver(running, st, j, o, open)
}

// deliver opens a run, shows how far it is, and says what became of it.
func (a *app) deliver(
	ctx context.Context, st *stopper, j *run.Job, o *runOptions, open func(run.Folder) (*run.Run, error),
) error {
	runs, err := a.runsFolder()
	if err != nil {
		return err
	}
	if a.wire != nil {
		if err = a.wire.Begin(j.Destinations); err != nil {
			return err
		}
	}
	a.tuneMemory(j)
	r, err := open(runs)
	if err != nil {
		return err
	}
	st.begin()
	res, runErr := a.watched(ctx, r, &o.observe, func() (*run.Result, error) {
		defer a.showProgress(r, o.progress, o.beside)()
		return r.Do(ctx, st.stop)
	})
	if res == nil {
		return runErr
	}
	if err := a.sum(o, res.Summary); err != nil {
		return errors.Join(runErr, err)
	}
	a.say(report.Notes(j, res)...)
	if runErr != nil {
		return runErr
	}
	return a.verdict(j, res)
}

// printsEvents notes whether events go to standard output.
func (o *runOptions) printsEvents(picked []*config.Destination, rehearse bool) {
	isStdout := func(d *config.Destination) bool { return d.Slug == "stdout" }
	o.beside = !rehearse && slices.ContainsFunc(picked, isStdout)
}

// sum prints the summary of a run.
func (a *app) sum(o *runOptions, s *engine.Summary) error {
	o.summed = true
	if o.beside {
		return printSummary(a.err, s, o.output)
	}
	return printSummary(a.out, s, o.output)
}

// notBegun prints a summary for programs if a command without a mistake has ended before a run was there to have one:
// it was stopped, another process works on it, or a redrive (of a run) has nothing to send.
func (a *app) notBegun(o *runOptions, redrives string, err error) error {
	code := exitCode(err)
	if o.output != "json" || o.summed || code != exitOK && code != exitIncomplete {
		return err
	}
	s := &engine.Summary{Status: run.Incomplete, Dropped: map[string]uint64{}, RedriveOf: redrives,
		Destinations: []engine.LaneSummary{}}
	var busy *journal.BusyError
	if errors.As(err, &busy) {
		s.Run = filepath.Base(busy.Dir)
	}
	if code == exitOK {
		s.Status = run.Complete
	}
	if e := a.sum(o, s); e != nil {
		return errors.Join(err, e)
	}
	return err
}

// printSummary writes a summary as table or json.
func printSummary(w io.Writer, s *engine.Summary, form string) error {
	if form == "json" {
		return report.JSON(w, s)
	}
	return report.Summary(w, s)
}

// tuneStart has Go's garbage collector wait until what commands read at their start is
// there: it took a third of the time that `config check` takes with sixteen destinations.
func (a *app) tuneStart() {
	if _, set := a.env("GOGC"); !set {
		a.collecting = stock.Collect(20<<20, 100)
	}
}

// tuneMemory sets Go's garbage collector for a run, unless the user has. What moves is
// mostly bytes without pointers in memory that is used again: collecting early costs next
// to nothing and keeps the process small. Measured on a million events to one destination:
// 20 instead of 100 saves half of the memory for three per cent of the time. Nothing is
// collected before the heap has half of what many destinations come to hold.
func (a *app) tuneMemory(j *run.Job) {
	if _, set := a.env("GOGC"); !set {
		first := 36<<20 + int64(len(j.Destinations))*(4<<20)
		a.collecting.Stop()
		a.collecting = stock.Collect(min(first, j.MemoryNeeded()/2), 20)
	}
	if _, set := a.env("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(j.MemoryNeeded())
	}
}

// verdict says how a run without errors has ended, as an exit code.
func (a *app) verdict(j *run.Job, res *run.Result) error {
	sum := res.Summary
	if res.Rests && sum.Status != run.Complete {
		a.sayf("run %s: nothing is pending; the same command goes on with it", sum.Run)
	} else if sum.Status != run.Complete {
		stopped := func(d engine.LaneSummary) bool { return d.Stopped != "" }
		if j.Rehearse {
			return outcome(exitIncomplete)
		}
		if !slices.ContainsFunc(sum.Destinations, stopped) { // else it was said
			a.sayf("run %s is incomplete: the same command goes on with it", sum.Run)
		} else {
			a.say(report.Rejections(res)...)
		}
		return outcome(exitIncomplete)
	}
	if !j.Rehearse {
		a.say(report.Rejections(res)...)
	}
	if res.Left+sum.BadRecords > 0 {
		return outcome(exitRejected)
	}
	return nil
}
