package cmd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/setting"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transform"
)

// redriveOptions select dead letters.
type redriveOptions struct {
	to, reasons []string
	since       string
	sets, opts  []string
	rehearse    bool
	run         runOptions
}

func (a *app) redriveCommand() *cobra.Command {
	var o redriveOptions
	c := &cobra.Command{
		Use:   "redrive RUN",
		Short: "Send a run's dead letters again",
		Long: `redrive sends the deliveries that a run has given up: only the failed pairs of
event and destination, with their original insert ids. It is itself a run, with
its own summary; what it delivers is not sent again by any other redrive. Without
--config it takes the configuration that the run had.`,
		Example:     `  fanfold redrive k3v5q7w2xy --to mixpanel --reason exhausted`,
		Annotations: inOrder(),
		Args:        cobra.ExactArgs(1),
		RunE:        func(c *cobra.Command, args []string) error { return a.redrive(c.Context(), args[0], &o) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.to, "to", nil, "only these destinations")
	f.StringArrayVar(&o.reasons, "reason", nil, "only dead letters with these reasons")
	f.StringVar(&o.since, "since", "", "only dead letters whose last attempt was since then")
	f.StringArrayVar(&o.sets, "set", nil, "a setting: NAME.KEY=VALUE")
	f.StringArrayVar(&o.opts, "opt", nil, "an option: NAME.KEY=VALUE")
	f.BoolVar(&o.rehearse, "rehearse", false, "send to built-in stand-ins of the partners")
	globalFlag(f, &o.run.progress, "progress")
	globalFlag(f, &o.run.memory, "memory")
	choiceP(f, &o.run.output, "output", "o", "form of the summary", "table", "json")
	return c
}

func (a *app) redrive(ctx context.Context, id string, o *redriveOptions) (err error) {
	st := a.stopper(ctx)
	defer func() { err = a.ended(st, err) }()
	ctx = st.opening
	dir, err := a.findRun(id)
	if err != nil {
		return err
	}
	parent, err := readSummary(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("run %s has not come to a summary yet: run its command again first", id)
	}
	if err != nil {
		return fmt.Errorf("reading the summary of run %s: %w: its command, run again, writes a new one", id, err)
	}
	if parent.Rehearsal && !o.rehearse {
		return usagef("run %s was a rehearsal: no partner has refused its dead letters; --rehearse sends them to the stand-ins again", id)
	}
	conf, err := a.configOf(id, parent)
	if err != nil {
		return err
	}
	since, relative, err := parseTime("--since", o.since, a.now())
	if err != nil {
		return err
	}
	// One redrive at a time of a run and of all that its letters came from and went
	// to; and the run itself stands still meanwhile, with no letter half written.
	runs := filepath.Dir(dir)
	family := familyOf(runs, id, parent)
	lock, err := journal.Lock(filepath.Join(runs, family[len(family)-1]), journal.RedriveLock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	of, err := journal.Open(dir, nil, journal.Options{Now: a.now, Redact: a.secrets.redact})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, of.Close()) }()

	var all, names, files, sizes []string
	for _, d := range parent.Destinations {
		all = append(all, d.Name)
		lane := of.Lane(d.Name)
		n, path := lane.DeadLetters()
		if n == 0 || len(o.to) > 0 && !slices.Contains(commas(o.to), d.Name) {
			continue
		}
		if err := lane.CheckDeadLetters(); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		names, files = append(names, d.Name), append(files, path)
		// A run that has gained letters since has other ones.
		sizes = append(sizes, fmt.Sprintf("%s:%d", path, info.Size()))
		if !slices.ContainsFunc(conf.Destinations, func(c *config.Destination) bool { return c.Name == d.Name }) && d.Name != d.Type {
			where := "no fanfold.yaml was found"
			if conf.Path != "" {
				where = conf.Path + " has none of this name"
			}
			return usagef("destination %s of run %s is not configured: %s (see --config)", d.Name, id, where)
		}
	}
	if err := o.check(ctx, id, all, files); err != nil {
		return err
	}
	if len(names) == 0 {
		fmt.Fprintf(a.err, "fanfold: run %s has no dead letters to send again\n", id)
		return nil
	}
	picked, err := a.choose(conf, config.Choice{To: names, Set: o.sets, Opt: o.opts, Rehearse: o.rehearse})
	if err != nil {
		return err
	}
	j := &job{conf: conf}
	if o.run.memory != "" {
		if j.memory, err = config.Bytes(o.run.memory); err != nil {
			return usagef("--memory %w", err)
		}
	}
	if j.dests, err = a.open(conf, picked, config.OpenOptions{Rehearse: o.rehearse}); err != nil {
		return err
	}
	for _, d := range j.dests {
		d.Filter = nil // the letter has passed it
	}
	steps := conf.Pipeline.WithoutPositions()
	what := fmt.Sprintf("redrive://%s?reason=%s&since=%s", id, strings.Join(o.reasons, ","), o.since)
	if !steps.Empty() {
		what += "&transform=" + steps.Identity()
	}
	s := &selection{from: append([]string{what}, sizes...), rehearse: o.rehearse}
	meta, runID := j.identity(s)
	redriveDir, resumed, err := a.runDir(runID, o.rehearse)
	if err != nil {
		return err
	}
	if sum, err := readSummary(redriveDir); resumed && relative && err == nil && sum.Status == "complete" {
		if redriveDir, resumed, err = a.runDir(runID, true); err != nil {
			return err
		}
	}
	src, err := source.Open(ctx, source.Options{From: files, DeadLetters: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	now, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	had, has := actionsOf(of.Meta()), actionsOf(now)
	subscribed, err := subscribedOf(of)
	if err != nil {
		return err
	}
	re := &redirect{source: src, parent: id, root: family[len(family)-1], since: since}
	// A rehearsal delivers nothing.
	var notes []*redriven
	if !o.rehearse {
		if notes, err = redrivenOf(runs, family, names, filepath.Base(redriveDir), a.now); err != nil {
			return err
		}
		defer func() {
			for _, n := range notes {
				err = errors.Join(err, n.close())
			}
		}()
	}
	re.wrap = func(d *config.Opened, lane *engine.LaneConfig) {
		plan := *d.Sender.Plan()
		plan.Content = "" // what it routes is its own letters
		before, known := subscribed[d.Name]
		changed := !slices.Equal(had[d.Name], has[d.Name]) || known && !slices.Equal(before, plan.Subscribed)
		r := &redriver{Sender: lane.Sender, name: d.Name, reasons: o.reasons, since: re.since, plan: &plan, steps: steps, changed: changed}
		lane.Sender, lane.Letter, lane.Event = r, original, eventOf
		if len(notes) == 0 {
			return
		}
		r.done = map[letterName]bool{}
		for _, n := range notes {
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
			for _, n := range notes {
				n.add(d.Name, which)
			}
		}
	}
	s.from = files
	return a.run(st, j, s, &o.run, redriveDir, meta, resumed, re)
}

// configOf is the configuration that a run had, and not what happens to lie in this
// folder, unless --config names one.
func (a *app) configOf(id string, s *engine.Summary) (*config.File, error) {
	switch {
	case a.configGiven:
	case s.Config == "":
		return &config.File{}, nil
	case a.configFile == "" || s.Config != absolute(a.configFile):
		if _, err := os.Stat(s.Config); err != nil {
			return nil, usagef("run %s had the configuration %s, which cannot be read: name one with --config (%w)", id, s.Config, err)
		}
		a.configFile = s.Config
		fmt.Fprintf(a.err, "fanfold: the configuration is that of run %s, %s (--config names another)\n", id, s.Config)
	}
	return a.loadConfig()
}

// familyOf are a run, those whose dead letters it has sent, as far as they are still
// there, and last the one in which all of them began.
func familyOf(runs, id string, s *engine.Summary) (ids []string) {
	ids = []string{id}
	for _, next := range []string{s.RedriveOf, s.Root} {
		for next != "" && !slices.Contains(ids, next) {
			older, err := readSummary(filepath.Join(runs, next))
			if err != nil {
				break // it was removed
			}
			ids = append(ids, next)
			next = older.RedriveOf
		}
	}
	return ids
}

func commas(lists []string) []string { return strings.Split(strings.Join(lists, ","), ",") }

// check finds what is asked for and is not there: a script would take a run that
// sends nothing for success.
func (o *redriveOptions) check(ctx context.Context, id string, names, files []string) error {
	for _, name := range commas(o.to) {
		if len(o.to) > 0 && !slices.Contains(names, name) {
			return usagef("--to: run %s has %s", id, strings.TrimPrefix(setting.Unknown(name, "destination", names), "there is "))
		}
	}
	o.reasons = slices.DeleteFunc(commas(o.reasons), func(r string) bool { return r == "" })
	if len(o.reasons) == 0 {
		return nil
	}
	reasons, err := reasonsOf(ctx, files)
	if err != nil {
		return err
	}
	for _, r := range o.reasons {
		if reasons[r] == 0 {
			var has []string
			for _, k := range sortedKeys(reasons) {
				has = append(has, fmt.Sprintf("%s (%d)", k, reasons[k]))
			}
			if len(has) == 0 {
				has = []string{"none"}
			}
			return usagef("--reason: run %s has no dead letter with the reason %q; it has %s", id, r, strings.Join(has, ", "))
		}
	}
	return nil
}

// reasonsOf counts dead letters by their reason.
func reasonsOf(ctx context.Context, files []string) (reasons map[string]int, err error) {
	reasons = map[string]int{}
	if len(files) == 0 {
		return reasons, nil
	}
	err = eachLetter(ctx, files, func(letter event.Value) { reasons[letter.Get("reason").Text()]++ })
	return reasons, err
}

// redriver routes dead letters: of each it sends the one delivery that was
// given up, as its destination would route it today.
type redriver struct {
	destination.Sender
	name    string
	reasons []string
	since   time.Time
	plan    *destination.Plan
	steps   *transform.Pipeline // the user's, but for those that ask where an event stands
	changed bool                // the destination's actions have, since the letters were written
	done    map[letterName]bool // by earlier redrives
}

var transformers = sync.Pool{New: func() any { return new(transform.Worker) }}

// transformed is an event as the user's steps leave it; nil: they drop it.
func (r *redriver) transformed(ev *event.Event) (*event.Event, error) {
	if r.steps.Empty() {
		return ev, nil
	}
	w := transformers.Get().(*transform.Worker)
	defer transformers.Put(w)
	out, dropped, err := r.steps.Apply(w, ev, source.Position{})
	if err != nil || dropped != "" || out == nil {
		if dropped != "" {
			ev = nil
		}
		return ev, err
	}
	return event.Parse(bytes.Clone(out))
}

// Plan is the destination's own, but for what it makes of events.
func (r *redriver) Plan() *destination.Plan { return r.plan }

func (r *redriver) Route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	letter := innermost(ev.Root())
	skip := func(reason destination.Reason, why string) {
		out.List = append(out.List, destination.Delivery{Settled: &destination.Result{Outcome: destination.Skipped, Reason: reason, Detail: why}})
	}
	switch last, ok := event.ParseTime(letter.Get("last")); {
	case !letter.Get("destination").IsText(r.name):
		skip(destination.NotSelected, "another destination's")
		return
	case len(r.reasons) > 0 && !slices.Contains(r.reasons, letter.Get("reason").Text()):
		skip(destination.NotSelected, "another reason")
		return
	case !r.since.IsZero() && (!ok || last.Before(r.since)):
		skip(destination.NotSelected, "before --since")
		return
	case r.done[nameOf(letter)]:
		skip(destination.Redriven, "an earlier redrive has delivered it")
		return
	}
	reject := func(why string) {
		out.List = append(out.List, destination.Delivery{Settled: &destination.Result{Outcome: destination.Rejected, Reason: destination.Invalid, Detail: why}})
	}
	inner, err := event.Parse(textOf(letter))
	if err == nil {
		inner, err = r.transformed(inner)
	}
	if err != nil {
		reject(err.Error())
		return
	}
	if inner == nil {
		skip(destination.Unneeded, "the transform drops it")
		return
	}
	own := *env
	// The insert id of an event without a messageId, less what tells its deliveries
	// from each other.
	own.Fallback, _, _ = strings.Cut(letter.Get("insert_id").Text(), ":")
	from := len(out.List)
	r.Sender.Route(inner, &own, out)
	made := out.List[from:]
	if len(made) == 1 && made[0].Settled != nil && made[0].InsertID == "" {
		return // nothing is made of it any more
	}
	i, several := r.pick(letter, made)
	if i < 0 || several && r.changed {
		out.List = out.List[:from]
		if i < 0 {
			reject("today's settings make no such delivery of it")
		} else {
			reject("the actions have changed since, and which of several deliveries it is cannot be told")
		}
		return
	}
	d := made[i]
	d.Wait = false
	out.List = append(out.List[:from], d)
}

// pick returns which of an event's deliveries a letter is of: that of its action and
// step, and where there are several in its place. -1: none.
func (r *redriver) pick(letter event.Value, made []destination.Delivery) (found int, several bool) {
	k, _ := letter.Get("k").Int()
	step, _ := letter.Get("step").Int()
	action := letter.Get("action").Text()
	found = -1
	for i, d := range made {
		slug := ""
		if int(d.Action) < len(r.plan.Actions) {
			slug = r.plan.Actions[d.Action].Slug
		}
		if slug != action || int64(d.Step) != step {
			continue
		}
		several = several || found >= 0
		if found < 0 || i == int(k) {
			found = i
		}
	}
	return found, several
}

// actionsOf is what a run's destinations make of events, by name.
func actionsOf(meta json.RawMessage) map[string][]string {
	var m struct {
		Destinations []struct {
			Name, Type, Presets string
			Actions             []string
		}
	}
	if json.Unmarshal(meta, &m) != nil {
		return nil
	}
	out := map[string][]string{}
	for _, d := range m.Destinations {
		out[d.Name] = append(d.Actions, d.Type, d.Presets)
	}
	return out
}

// innermost is a dead letter, or the one that it is of: redrives of old wrapped them.
func innermost(letter event.Value) event.Value {
	for range 100 {
		inner := letter.Get("event")
		if !isLetter(inner) {
			break
		}
		letter = inner
	}
	return letter
}

func isLetter(v event.Value) bool {
	n, _ := v.Get("dead_letter").Int()
	return n == 1 && v.Get("run").Exists() && v.Get("destination").Exists() && v.Get("ordinal").Exists() && v.Get("k").Exists() && v.Get("insert_id").Exists() && (v.Get("event").Exists() || v.Get("event_base64").Exists())
}

// eventOf is the event in a record that is a dead letter: whose user counts where
// order matters.
func eventOf(ev *event.Event) *event.Event {
	if inner, err := event.Parse(textOf(innermost(ev.Root()))); err == nil {
		return inner
	}
	return ev
}

// textOf is the event in a dead letter.
func textOf(letter event.Value) []byte {
	if v := letter.Get("event"); v.Exists() {
		return v.Raw()
	}
	text, err := base64.StdEncoding.DecodeString(letter.Get("event_base64").Text())
	if err != nil {
		return nil // which is no event
	}
	return text
}

// original makes the letter of a letter that was refused again one of the event, with
// its place in the input that it was first read from, so that it can be sent again
// like that one.
func original(d *journal.DeadLetter) {
	ev, err := event.Parse(d.Raw)
	if err != nil || !isLetter(ev.Root()) {
		return
	}
	letter := innermost(ev.Root())
	num := func(key string) int64 {
		n, _ := letter.Get(key).Int()
		return n
	}
	d.Raw, d.Valid = textOf(letter), false
	d.Object, d.Offset, d.Line = letter.Get("object").Text(), num("offset"), num("line")
	d.Ordinal, d.K, d.Step = uint64(num("ordinal")), uint32(num("k")), int(num("step"))
	d.Action, d.InsertID = letter.Get("action").Text(), letter.Get("insert_id").Text()
	d.Attempts += int(num("attempts"))
	if p, err := source.ParsePosition(letter.Get("position").Text()); err == nil {
		d.Position = p
	}
	if t, ok := event.ParseTime(letter.Get("first")); ok {
		d.First = t
	}
}
