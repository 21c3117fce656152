package cmd

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transform"
	"github.com/fanfold/fanfold/pkg/transport"
)

// selection is what input a run reads, as the flags say it.
type selection struct {
	from         []string
	since, until string
	filter       string
	limit        int64

	format, layout string
	lateness       string
	columns        []string
	mapFile        string // of a record shape of the user's own
	s3             source.S3Options

	to, sets, opts []string
	rehearse       bool
}

// sourceOptions are the selection as pkg/source takes it.
func (s *selection) sourceOptions(since, until time.Time) (source.Options, error) {
	// The manifest holds names: however a path is spelled, it is the same input.
	from := make([]string, len(s.from))
	for i, f := range s.from {
		from[i] = absolute(f)
	}
	o := source.Options{From: from, Format: s.format, Columns: s.columns, Layout: s.layout, Since: since, Until: until, S3: s.s3}
	if s.lateness != "" {
		d, err := time.ParseDuration(s.lateness)
		if err != nil || d < 0 {
			return o, usagef("--lateness has to be a duration like 72h, not %q", s.lateness)
		}
		o.Lateness = d
	}
	return o, s.recordShapes(&o)
}

// absolute is a local path from the root on; anything else is left alone.
func absolute(from string) string {
	if from == "-" || strings.Contains(from, "://") {
		return from
	}
	if abs, err := filepath.Abs(from); err == nil {
		return abs
	}
	return from
}

func (s *selection) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&s.from, "from", nil, "file, directory, glob, s3://bucket/prefix, or - for standard input (repeatable)")
	f.StringVar(&s.format, "format", "auto", "shape of the records")
	f.StringVar(&s.layout, "layout", "", "where an object's path has its time")
	f.StringVar(&s.lateness, "lateness", "", "how long after an event its object may have been written (default 72h)")
	f.StringSliceVar(&s.columns, "columns", nil, "names of the columns of tables without a header")
	f.StringVar(&s.mapFile, "map", "", "file with the mapping that makes events of the records (see help sources)")
	f.StringVar(&s.s3.Endpoint, "s3-endpoint", "", "address of an S3 server that is not Amazon's")
	f.StringVar(&s.s3.Region, "s3-region", "", "region of the bucket")
	f.BoolVar(&s.s3.PathStyle, "s3-path-style", false, "bucket in the path instead of the host name")
	f.BoolVar(&s.s3.Anonymous, "s3-anonymous", false, "do not sign requests")
	f.BoolVar(&s.s3.RequesterPays, "s3-requester-pays", false, "agree to pay for requests")
	f.StringVar(&s.since, "since", "", "events from this time on: RFC 3339, a date, or a duration back from now (72h)")
	f.StringVar(&s.until, "until", "", "events before this time")
	f.StringVar(&s.filter, "filter", "", "only events that match, in FQL")
	f.Int64Var(&s.limit, "limit", 0, "stop after this many selected events")
	s.destFlags(c)
}

func (s *selection) destFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&s.to, "to", nil, "destinations: names from the configuration, or slugs (repeatable, or separated by commas)")
	f.StringArrayVar(&s.sets, "set", nil, "a setting: NAME.KEY=VALUE, VALUE being env:NAME, file:PATH or a literal (repeatable)")
	f.StringArrayVar(&s.opts, "opt", nil, "an option: NAME.KEY=VALUE (repeatable)")
	f.BoolVar(&s.rehearse, "rehearse", false, "send to built-in stand-ins of the partners instead of the network")
}

// parseTime reads --since and --until.
func parseTime(flag, s string, now time.Time) (t time.Time, relative bool, err error) {
	if s == "" {
		return time.Time{}, false, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), true, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, false, nil
		}
	}
	return time.Time{}, false, usagef("%s has to be a time like 2024-05-01T12:00:00Z, a date, or a duration like 72h, not %q", flag, s)
}

// runOptions are the flags of forward beyond the selection.
type runOptions struct {
	fresh    bool
	progress string
	output   string
	reserve  string
	memory   string
	spool    string
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
	s.flags(c)
	f := c.Flags()
	f.BoolVar(&o.fresh, "fresh", false, "send everything again, as a new run")
	globalFlag(f, &o.progress, "progress")
	choiceP(f, &o.output, "output", "o", "form of the summary", "table", "json")
	f.StringVar(&o.reserve, "reserve-for-live", "", "share of each partner's quota left to live traffic, like 30%")
	globalFlag(f, &o.memory, "memory")
	f.StringVar(&o.spool, "spool", "10GiB", "disk for what of standard input not every destination has passed")
	return c
}

// job is a run made ready: everything is validated, nothing is sent.
type job struct {
	conf         *config.File
	dests        []*config.Opened
	filter       *filter.Filter
	since, until time.Time
	relative     bool
	pipeline     *transform.Pipeline
	reserve      float64
	memory       int64
	spool        int64
}

func (a *app) prepareJob(s *selection, o *runOptions, edit func(*config.Opened)) (*job, error) {
	if len(s.from) == 0 {
		return nil, usagef("no input: say what to read with --from (a file, a directory, a glob, or - for standard input)")
	}
	s.s3.Log = a.log
	j := &job{}
	var err error
	if j.conf, err = a.loadConfig(); err != nil {
		return nil, err
	}
	j.pipeline = j.conf.Pipeline
	now := a.now()
	var rel1, rel2 bool
	if j.since, rel1, err = parseTime("--since", s.since, now); err != nil {
		return nil, err
	}
	if j.until, rel2, err = parseTime("--until", s.until, now); err != nil {
		return nil, err
	}
	j.relative = rel1 || rel2
	if s.filter != "" {
		if j.filter, err = filter.Compile(s.filter); err != nil {
			return nil, usagef("--%w", err)
		}
		for _, d := range j.filter.Doubts() {
			fmt.Fprintf(a.err, "fanfold: warning: --filter: %s\n", d)
		}
	}
	if s.limit < 0 {
		return nil, usagef("--limit has to be a positive number")
	}
	if o.reserve != "" {
		if j.reserve, err = config.Share(o.reserve); err != nil {
			return nil, usagef("--reserve-for-live %w", err)
		}
	}
	if o.memory != "" {
		if j.memory, err = config.Bytes(o.memory); err != nil {
			return nil, usagef("--memory %w", err)
		}
	}
	if o.spool != "" {
		if j.spool, err = config.Bytes(o.spool); err != nil {
			return nil, usagef("--spool %w", err)
		}
	}
	picked, err := a.choose(j.conf, config.Choice{To: s.to, Set: s.sets, Opt: s.opts, Rehearse: s.rehearse})
	if err != nil {
		return nil, err
	}
	if j.dests, err = a.open(j.conf, picked, config.OpenOptions{Rehearse: s.rehearse, Edit: edit}); err != nil {
		return nil, err
	}
	for _, d := range j.dests {
		for _, doubt := range d.Filter.Doubts() {
			fmt.Fprintf(a.err, "fanfold: warning: %s: filter: %s\n", d.Name, doubt)
		}
	}
	return j, nil
}

// identity is what makes two commands the same run: what is read, and what is
// sent to whom; not secrets, rates or concurrency.
func (j *job) identity(s *selection) (any, string) {
	type dest struct {
		Name, Type, Presets, BaseURL, Filter string
		Settings                             map[string]any
		Actions                              []string
	}
	id := struct {
		From                         []string
		Since, Until, Filter         string
		Limit                        int64
		Transform                    string
		Rehearse                     bool
		Destinations                 []dest
		Format, Layout, Lateness, S3 string
		Columns                      []string
		Map                          string `json:",omitempty"`
	}{From: nil, Since: s.since, Until: s.until, Filter: s.filter, Limit: s.limit, Rehearse: s.rehearse, Format: s.format, Layout: s.layout, Lateness: s.lateness, S3: s.s3.Endpoint, Columns: s.columns, Map: s.mapText()}
	for _, f := range s.from {
		id.From = append(id.From, absolute(f))
	}
	if j.pipeline != nil {
		id.Transform = j.pipeline.Identity()
	}
	for _, o := range j.dests {
		d := dest{Name: o.Name, Type: o.Slug, Presets: o.Config.Presets, BaseURL: o.Config.BaseURL, Filter: o.Filter.String(), Settings: map[string]any{}}
		for _, f := range o.Spec.Settings.Fields {
			if v, ok := o.Settings[f.Key]; ok && !f.Secret {
				d.Settings[f.Key] = v
			}
		}
		for _, sub := range o.Config.Actions {
			d.Actions = append(d.Actions, sub.Action+"|"+sub.Subscribe+"|"+sub.Mapping.String())
		}
		id.Destinations = append(id.Destinations, d)
	}
	slices.SortFunc(id.Destinations, func(a, b dest) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.Marshal(id)
	if err != nil {
		panic(err) // texts and numbers cannot fail
	}
	sum := sha256.Sum256(data)
	return id, strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:10])
}

// runDir chooses the run's folder: the newest of its identity, or the next one
// when everything is to be sent again.
func (a *app) runDir(id string, fresh bool) (dir string, resumed bool, err error) {
	root, err := a.runsDir()
	if err != nil {
		return "", false, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", false, fmt.Errorf("making the folder for runs: %w (choose another place with --state-dir)", err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return "", false, fmt.Errorf("looking for earlier runs: %w (choose another place with --state-dir)", err)
	}
	newest := 0
	for _, e := range entries { // those before it may have been removed
		newest = max(newest, runNumber(id, e.Name()))
	}
	if fresh || newest == 0 {
		return filepath.Join(root, runName(id, newest+1)), false, nil
	}
	return filepath.Join(root, runName(id, newest)), true, nil
}

// runNumber is which of the runs with an id a folder is of; 0: none of them.
func runNumber(id, name string) int {
	if name == id {
		return 1
	}
	rest, ok := strings.CutPrefix(name, id+"-")
	if n, err := strconv.Atoi(rest); ok && err == nil && n > 1 && runName(id, n) == name {
		return n
	}
	return 0
}

func runName(id string, n int) string {
	if n == 1 {
		return id
	}
	return id + "-" + strconv.Itoa(n)
}

func (a *app) forward(ctx context.Context, s *selection, o *runOptions) (err error) {
	st := a.stopper(ctx)
	defer func() { err = a.ended(st, err) }()
	ctx = st.opening
	j, err := a.prepareJob(s, o, nil)
	if err != nil {
		return err
	}
	// The input is looked at before the run's folder is made: a mistake in
	// the command leaves no trace.
	if !slices.Contains(s.from, "-") {
		so, err := s.sourceOptions(j.since, j.until)
		if err != nil {
			return err
		}
		look, err := source.Open(ctx, so)
		if err != nil {
			return err
		}
		if err := look.Close(); err != nil {
			return err
		}
	}
	meta, id := j.identity(s)
	dir, resumed, err := a.runDir(id, o.fresh || s.rehearse)
	if err != nil {
		return err
	}
	if stdin := slices.Contains(s.from, "-"); resumed && (j.relative || stdin) {
		if sum, err := readSummary(dir); err == nil && sum.Status == "complete" {
			old := filepath.Base(dir)
			if dir, _, err = a.runDir(id, true); err != nil {
				return err
			}
			resumed = false
			if stdin { // another pipe is other events, as far as anybody can know
				fmt.Fprintf(a.err, "fanfold: run %s is complete: standard input is new input, for run %s\n", old, filepath.Base(dir))
			}
		}
	}
	s.s3.Log = a.log.With("run", filepath.Base(dir))
	return a.run(st, j, s, o, dir, meta, resumed, nil)
}

// redirect makes a run of something else than the selection: a redrive.
type redirect struct {
	source source.Source
	parent string    // run
	root   string    // in which its letters began
	since  time.Time // as it was resolved at the first start
	wrap   func(*config.Opened, *engine.LaneConfig)
}

// times are the instants to which a run's relative times were resolved.
type times struct{ Since, Until time.Time }

// run works on one run's folder until it is done or stopped.
func (a *app) run(st *stopper, j *job, s *selection, o *runOptions, dir string, meta any, resumed bool, re *redirect) (err error) {
	var open closers
	defer func() { err = errors.Join(err, open.close()) }()
	ctx := st.opening
	before, _ := readSummary(dir)
	run, err := journal.Open(dir, meta, journal.Options{Now: a.now, Redact: a.secrets.redact})
	if err != nil {
		return err
	}
	open.add(run.Close)

	if re == nil { // a letter is one delivery, whatever the presets are
		if err := freezeSubscriptions(run, j.dests, a.err); err != nil {
			return err
		}
	}
	frozen := times{j.since, j.until}
	if ok, err := run.Get("times", &frozen); err != nil {
		return err
	} else if !ok {
		if err := run.Put("times", frozen); err != nil {
			return err
		}
	}
	var src source.Source
	switch {
	case re != nil:
		src = re.source
		if ok, err := run.Get("redrive_since", &re.since); err != nil {
			return err
		} else if !ok {
			if err := run.Put("redrive_since", re.since); err != nil {
				return err
			}
		}
		if resumed && before != nil && before.Status == "complete" {
			left, err := noteRedriven(ctx, dir, before)
			if err != nil {
				return err
			}
			again := ""
			if left > 0 {
				again = fmt.Sprintf("; `fanfold redrive %s` sends those that were refused then", run.Name())
			}
			fmt.Fprintf(a.err, "fanfold: run %s: these dead letters were sent again already, %s%s\n", run.Name(), finishedAt(dir), again)
		} else if resumed {
			fmt.Fprintf(a.err, "fanfold: resuming run %s\n", run.Name())
		}
	case slices.Contains(s.from, "-"):
		if len(s.from) > 1 {
			return usagef("--from - cannot be combined with other inputs")
		}
		so, err := s.sourceOptions(frozen.Since, frozen.Until)
		if err != nil {
			return err
		}
		spool, err := source.OpenSpool(ctx, filepath.Join(dir, "spool"), a.in, source.SpoolOptions{Format: so.Format, Shapes: so.Shapes, Columns: so.Columns, Cap: j.spool, Need: needed(j.kept(run)), Interactive: a.inIsTerminal()})
		if err != nil {
			return err
		}
		open.add(spool.Close)
		src = spool
		if resumed {
			fmt.Fprintf(a.err, "fanfold: resuming run %s\n", run.Name())
		}
	default:
		known := run.Manifest()
		so, err := s.sourceOptions(frozen.Since, frozen.Until)
		if err != nil {
			return err
		}
		so.Frozen, so.CacheDir = known, filepath.Join(dir, "cache")
		so.Freeze = run.Extend
		for _, obj := range known {
			if err := source.Verify(obj); err != nil {
				return err
			}
		}
		in, err := source.Open(ctx, so)
		if err != nil {
			return err
		}
		open.add(in.Close)
		defer func() { reportSelection(a.err, in) }()
		src = in
		if resumed && before != nil && before.Status == "complete" {
			if err := in.Manifest().Wait(ctx); err != nil {
				return err
			}
			if n := src.Manifest().Len() - len(known); n > 0 {
				fmt.Fprintf(a.err, "fanfold: run %s: %d new objects in the input since it was complete\n", run.Name(), n)
			} else if err := a.nothingNew(ctx, dir, before); err != nil {
				return err
			}
		} else if resumed {
			fmt.Fprintf(a.err, "fanfold: resuming run %s\n", run.Name())
		}
	}
	if j.pipeline != nil {
		if err := j.pipeline.Open(dir); err != nil {
			return err
		}
		open.add(j.pipeline.Close)
	}

	if j.memory == 0 {
		// With less for each of many, the collector would be most of the work.
		j.memory = 256<<20 + int64(max(len(j.dests)-16, 0))*(8<<20)
	}
	c := engine.Config{Source: src, Filter: j.filter, Since: frozen.Since, Until: frozen.Until, Limit: s.limit, Run: run, Now: a.now, Rand: rand.Float64, Logger: a.log, Memory: j.memory}
	if !j.pipeline.Empty() {
		c.Transform = j.pipeline
	}
	if a.wire != nil {
		if err := a.wire.begin(j.dests); err != nil {
			return err
		}
	}
	for _, d := range j.dests {
		lane, done, err := a.lane(d, s.rehearse, dir)
		if err != nil {
			return err
		}
		if done != nil {
			open.add(done)
		}
		lane.Options.Reserve = j.reserve
		if re != nil {
			re.wrap(d, &lane)
		}
		c.Lanes = append(c.Lanes, lane)
	}
	// What moves is mostly bytes without pointers, which cost the collector
	// next to nothing: collecting early keeps the process small. Measured on a
	// million events to one destination: 20 instead of 100 saves half of the
	// memory for three per cent of the time. With many it costs more.
	if _, set := a.env("GOGC"); !set {
		percent := 40
		if len(c.Lanes) == 1 {
			percent = 20
		}
		debug.SetGCPercent(percent)
	}
	if _, set := a.env("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(j.memory)
	}

	c.Stop = st.stop
	st.begin()
	ctx = st.running

	kept := j.kept(run)
	e := engine.New(c)
	toStdout := slices.ContainsFunc(j.dests, func(d *config.Opened) bool { return d.Slug == "stdout" }) && !s.rehearse
	ended := a.showProgress(e, o.progress, toStdout)
	released := releasePassed(src, kept, e, a.now)
	finish := func(sum *engine.Summary) {
		sum.Rehearsal = s.rehearse
		if re != nil {
			sum.RedriveOf, sum.Root = re.parent, re.root
		}
		if j.conf.Path != "" && !j.conf.Piped {
			sum.Config = absolute(j.conf.Path)
		}
		a.finishSummary(sum, before)
	}
	noted := a.noteCounts(dir, e, finish)
	sum, runErr := e.Run(ctx)
	runErr = errors.Join(runErr, released())
	ended()
	noted()
	finish(sum)
	if err := writeSummary(dir, sum); err != nil {
		runErr = errors.Join(runErr, err)
	} else if err := os.Remove(countsPath(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		runErr = errors.Join(runErr, err)
	}
	left, err := noteRedriven(ctx, dir, sum)
	if err != nil {
		runErr = errors.Join(runErr, err)
	}
	sent := slices.ContainsFunc(sum.Destinations, func(d engine.LaneSummary) bool { return d.Requests > 0 })
	runErr = distinct(runErr, func(err error) error {
		var input *source.InputError
		switch {
		case errors.Is(err, context.Canceled) && ctx.Err() != nil:
			return nil // said by the summary: what was in flight is in doubt
		case sent && errors.As(err, &input):
			return &sentError{err}
		}
		return err
	})
	out := a.out
	if toStdout {
		out = a.err
	}
	if err := printSummary(out, sum, o.output); err != nil {
		return err
	}
	a.noteSteps(j.pipeline)
	a.noteFilters(sum)
	a.noteSkipped(sum)
	for _, d := range sum.Destinations {
		if d.Stopped != "" {
			again := "when the same command runs again"
			if slices.Contains(s.from, "-") {
				again += " with the same standard input"
			}
			fmt.Fprintf(a.err, "fanfold: %s was stopped: %s; its %d pending events go out %s\n", d.Name, d.Stopped, d.Pending, again)
		}
	}
	for i, d := range sum.Destinations {
		if c.Lanes[i].Options.Hold && d.InDoubt > 0 && d.Pending > 0 {
			fmt.Fprintf(a.err, "fanfold: %s: events whose request was without an answer at a crash are held back; look whether the partner has them; --opt %s.in_doubt=resend sends them again\n", d.Name, d.Name)
		}
	}
	if runErr != nil {
		return runErr
	}
	if sum.Status != "complete" {
		stopped := func(d engine.LaneSummary) bool { return d.Stopped != "" }
		if !slices.ContainsFunc(sum.Destinations, stopped) && !s.rehearse { // that was said
			fmt.Fprintf(a.err, "fanfold: run %s is incomplete: the same command goes on with it\n", sum.Run)
		}
		return outcome(exitIncomplete)
	}
	if left > 0 && !s.rehearse && !(resumed && before != nil && before.Status == "complete") {
		fmt.Fprintf(a.err, "fanfold: when what is wrong is mended, `fanfold redrive %s` sends the rejected events again\n", sum.Run)
	}
	if left+sum.BadRecords > 0 {
		return outcome(exitRejected)
	}
	return nil
}

// kept are the run's lanes, that of the reading first.
func (j *job) kept(run *journal.Run) []*journal.Lane {
	lanes := []*journal.Lane{run.Lane("_source")}
	for _, d := range j.dests {
		lanes = append(lanes, run.Lane(d.Name))
	}
	return lanes
}

// lane configures one destination's lane.
func (a *app) lane(d *config.Opened, rehearse bool, dir string) (engine.LaneConfig, func() error, error) {
	l := engine.LaneConfig{Name: d.Name, Type: d.Slug, Sender: d.Sender, Filter: d.Filter, Options: laneOptions(d.Options)}
	plan := d.Sender.Plan()
	if plan.Local {
		if rehearse {
			s, err := rehearseLocal(d, filepath.Join(dir, "rehearsal"))
			if err != nil {
				return l, nil, err
			}
			l.Sender = s
		}
		if c, ok := l.Sender.(io.Closer); ok {
			return l, func() error {
				if err := c.Close(); err != nil {
					return fmt.Errorf("%s: ending what was written: %w", d.Name, err)
				}
				return nil
			}, nil
		}
		return l, nil, nil
	}
	conns := plan.Limits.Concurrency.N
	if d.Options.Concurrency > 0 {
		conns = d.Options.Concurrency
	}
	if conns == 0 {
		conns = 64
	}
	var network http.RoundTripper
	if rehearse {
		s, err := a.standIn(d)
		if err != nil {
			return l, nil, err
		}
		network = s
	} else {
		network = transport.Dial(conns, nil)
	}
	var hook func(http.RoundTripper) http.RoundTripper
	if a.wire != nil {
		hook = a.wire.hook
	}
	l.Transport = transport.New(transport.Options{
		Network: network, Hook: hook, Auth: plan.Auth, UserAgent: "fanfold/" + a.build.Version,
		Gzip: d.Compression == "gzip" || d.Compression != "none" && plan.Limits.Gzip.N > 0 && !rehearse,
	})
	return l, nil, nil
}

// laneOptions are a destination's options as the engine takes them.
func laneOptions(o config.Options) engine.Options {
	return engine.Options{
		Rate: o.Rate, Override: o.Override, NoRates: o.NoRates,
		Concurrency: o.Concurrency, Timeout: o.Timeout, Attempts: o.Attempts, MaxTime: o.MaxTime, Hold: o.Hold,
	}
}

func summaryPath(dir string) string { return filepath.Join(dir, "summary.json") }

func readSummary(dir string) (*engine.Summary, error) { return readCounts(summaryPath(dir)) }

func readCounts(path string) (*engine.Summary, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := new(engine.Summary)
	return s, json.Unmarshal(data, s)
}

func finishedAt(dir string) string {
	if info, err := os.Stat(summaryPath(dir)); err == nil {
		return "on " + info.ModTime().Format("2006-01-02 15:04:05")
	}
	return "before"
}

func writeSummary(dir string, s *engine.Summary) error { return writeCounts(summaryPath(dir), s) }

func writeCounts(path string, s *engine.Summary) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// noteSteps says which steps of the transform could not do their work.
func (a *app) noteSteps(p *transform.Pipeline) {
	for _, c := range p.Counters() {
		switch {
		case c.Failed == 0:
		case strings.HasSuffix(c.Step, " mask"):
			fmt.Fprintf(a.err, "fanfold: transform: step %s: events that could not be masked (too large with it) and went no further: %d\n", c.Step, c.Failed)
		default:
			fmt.Fprintf(a.err, "fanfold: transform: step %s: events that it could not change (its mapping failed, or the result is too large or too deep) and that went on as they were: %d\n", c.Step, c.Failed)
		}
	}
}

// noteFilters says which filters matched nothing: that is mostly a slip.
func (a *app) noteFilters(s *engine.Summary) {
	if n := s.Dropped["filter"]; n > 0 && n == s.Read-s.BadRecords-s.Dropped["time_range"] {
		fmt.Fprintf(a.err, "fanfold: --filter matched none of %d events\n", n)
	}
	for _, d := range s.Destinations {
		if d.Filtered > 0 && d.Delivered+total(d.Skipped)+total(d.Rejected)+d.Pending == 0 {
			fmt.Fprintf(a.err, "fanfold: the filter of %s matched none of %d events\n", d.Name, d.Filtered)
		}
	}
}

// printSummary writes what became of every event.
func printSummary(w io.Writer, s *engine.Summary, form string) error {
	if form == "json" {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(s)
	}
	fmt.Fprintf(w, "run %s: %s", s.Run, s.Status)
	if s.Rehearsal {
		fmt.Fprint(w, " (a rehearsal: stand-ins were sent to, no partner)")
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "read %d", s.Read)
	if s.BadRecords > 0 {
		fmt.Fprintf(w, ", %d of them no events", s.BadRecords)
	}
	for _, k := range sortedKeys(s.Dropped) {
		fmt.Fprintf(w, ", dropped by %s %d", k, s.Dropped[k])
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tdelivered\tskipped\tfiltered\trejected\tpending\trequests\tretries\tevents/s\t")
	for _, d := range s.Destinations {
		rate := "-"
		if d.Rate > 0 {
			rate = fmt.Sprintf("%.0f", d.Rate)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", d.Name, d.Delivered, total(d.Skipped), d.Filtered, total(d.Rejected), d.Pending, d.Requests, d.Retries, rate)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range s.Destinations {
		for _, k := range sortedKeys(d.Skipped) {
			fmt.Fprintf(w, "%s: skipped %d: %s%s\n", d.Name, d.Skipped[k], k, like(d.SkippedExamples[k]))
		}
		for _, k := range sortedKeys(d.Rejected) {
			fmt.Fprintf(w, "%s: rejected %d: %s%s\n", d.Name, d.Rejected[k], k, like(d.Examples[k]))
		}
		if d.Problem != "" && d.Pending > 0 {
			fmt.Fprintf(w, "%s: the last problem: %s\n", d.Name, d.Problem)
		}
		if d.InDoubt > 0 {
			fmt.Fprintf(w, "%s: %d were in doubt after a crash\n", d.Name, d.InDoubt)
		}
		if d.DeadLetters != "" {
			fmt.Fprintf(w, "%s: dead letters in %s\n", d.Name, d.DeadLetters)
		}
		if n := total(d.Redriven); n > 0 {
			fmt.Fprintf(w, "%s: %d of the rejected were delivered by a redrive since (%s)\n", d.Name, n, redrivenText(d.Redriven))
		}
	}
	for _, k := range sortedKeys(s.BadReasons) {
		fmt.Fprintf(w, "no events %d: %s%s\n", s.BadReasons[k], k, like(s.BadExamples[k]))
	}
	if s.DeadLetters != "" {
		fmt.Fprintf(w, "records that are no events: %s\n", s.DeadLetters)
	}
	return nil
}

// like is one of many, if it is known.
func like(example string) string {
	if example == "" {
		return ""
	}
	return ", like " + example
}

// nothingNew says what a finished run has to say when it is asked for again.
func (a *app) nothingNew(ctx context.Context, dir string, s *engine.Summary) error {
	run, when, rejected := filepath.Base(dir), finishedAt(dir), rejectedOf(s)
	left, err := noteRedriven(ctx, dir, s)
	switch {
	case err != nil:
		return err
	case rejected == 0:
		fmt.Fprintf(a.err, "fanfold: run %s: everything was delivered already, %s; --fresh sends it again\n", run, when)
	case left == 0:
		fmt.Fprintf(a.err, "fanfold: run %s: everything was delivered already, %s, the %d rejected events by redrives since; --fresh sends it again\n", run, when, rejected)
	default:
		fmt.Fprintf(a.err, "fanfold: run %s: everything was settled already, %s, and nothing is new; %d were rejected: `fanfold redrive %s` sends those again, --fresh everything\n", run, when, left, run)
	}
	return nil
}

// noteSkipped warns of destinations that were sent nothing because every event was
// skipped, and says why: that is mostly a slip in the actions, or the wrong archive.
func (a *app) noteSkipped(s *engine.Summary) {
	for _, d := range s.Destinations {
		skipped := total(d.Skipped)
		if skipped == 0 || d.Delivered+total(d.Rejected)+d.Pending > 0 {
			continue
		}
		var why []string
		for _, k := range sortedKeys(d.Skipped) {
			why = append(why, fmt.Sprintf("%s %d%s", k, d.Skipped[k], like(d.SkippedExamples[k])))
		}
		fmt.Fprintf(a.err, "fanfold: warning: %s was sent nothing: all of its %d events were skipped: %s\n", d.Name, skipped, strings.Join(why, "; "))
	}
}

func rejectedOf(s *engine.Summary) (n uint64) {
	for _, d := range s.Destinations {
		n += total(d.Rejected)
	}
	return n
}

func total(m map[string]uint64) uint64 {
	var n uint64
	for _, v := range m {
		n += v
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
