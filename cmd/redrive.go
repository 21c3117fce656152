package cmd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
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
		Example: `  fanfold redrive k3v5q7w2xy --to mixpanel --reason exhausted`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.redrive(c.Context(), args[0], &o) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.to, "to", nil, "only these destinations")
	f.StringArrayVar(&o.reasons, "reason", nil, "only dead letters with these reasons")
	f.StringVar(&o.since, "since", "", "only dead letters whose last attempt was since then")
	f.StringArrayVar(&o.sets, "set", nil, "a setting: NAME.KEY=VALUE")
	f.StringArrayVar(&o.opts, "opt", nil, "an option: NAME.KEY=VALUE")
	f.BoolVar(&o.rehearse, "rehearse", false, "send to built-in stand-ins of the partners")
	f.StringVar(&o.run.progress, "progress", "auto", "auto, always or never")
	choiceP(f, &o.run.output, "output", "o", "form of the summary", "table", "json")
	return c
}

func (a *app) redrive(ctx context.Context, id string, o *redriveOptions) (err error) {
	dir, err := a.findRun(id)
	if err != nil {
		return err
	}
	parent, err := readSummary(dir)
	if err != nil {
		return usagef("run %s has not come to a summary yet: run its command again first", id)
	}
	if parent.Rehearsal && !o.rehearse {
		return usagef("run %s was a rehearsal: no partner has refused its dead letters; --rehearse sends them to the stand-ins again", id)
	}
	if a.configFile == "" && parent.Config != "" && parent.Config != absolute(a.findConfig()) {
		// What the run had, and not what happens to lie in this folder.
		if _, err := os.Stat(parent.Config); err == nil {
			a.configFile = parent.Config
			fmt.Fprintf(a.err, "fanfold: the configuration is that of run %s, %s (--config names another)\n", id, parent.Config)
		}
	}
	conf, err := a.loadConfig()
	if err != nil {
		return err
	}
	since, _, err := parseTime("--since", o.since, a.now())
	if err != nil {
		return err
	}
	if err := o.check(id, parent); err != nil {
		return err
	}
	var names, files []string
	for _, d := range parent.Destinations {
		if d.DeadLetters == "" || len(o.to) > 0 && !slices.Contains(commas(o.to), d.Name) {
			continue
		}
		names = append(names, d.Name)
		files = append(files, filepath.Join(dir, "dead", filepath.Base(d.DeadLetters)))
		if !slices.ContainsFunc(conf.destinations, func(c *destConfig) bool { return c.name == d.Name }) && d.Name != d.Type {
			where := "no fanfold.yaml was found"
			if conf.path != "" {
				where = conf.path + " has none of this name"
			}
			if parent.Config != "" {
				where += "; the run had " + parent.Config
			}
			return usagef("destination %s of run %s is not configured: %s (see --config)", d.Name, id, where)
		}
	}
	if len(names) == 0 {
		fmt.Fprintf(a.err, "fanfold: run %s has no dead letters to send again\n", id)
		return nil
	}
	lock, err := journal.Lock(dir, "redrive.lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	picked, err := a.pick(conf, names, o.sets, o.opts, o.rehearse)
	if err != nil {
		return err
	}
	j := &job{conf: conf}
	if j.dests, err = a.open(conf, picked, o.rehearse, nil); err != nil {
		return err
	}
	for _, d := range j.dests {
		d.filter = nil // the letter has passed it
	}
	s := &selection{from: append([]string{"redrive:" + id, strings.Join(o.reasons, ","), o.since}, files...), rehearse: o.rehearse}
	meta, runID := j.identity(s)
	redriveDir, resumed, err := a.runDir(runID, o.rehearse)
	if err != nil {
		return err
	}
	src, err := source.Open(ctx, source.Options{From: files, DeadLetters: true})
	if err != nil {
		return err
	}
	re := &redirect{source: src, parent: id}
	// A rehearsal delivers nothing.
	var notes []*redriven
	if !o.rehearse {
		if notes, err = a.redrivenOf(id, filepath.Base(redriveDir)); err != nil {
			return err
		}
		defer func() {
			for _, n := range notes {
				err = errors.Join(err, n.close())
			}
		}()
	}
	re.wrap = func(d *opened, lane *engine.LaneConfig) {
		plan := *d.sender.Plan()
		plan.Content = "" // what it routes is its own letters
		r := &redriver{Sender: lane.Sender, name: d.conf.name, reasons: o.reasons, since: since, plan: &plan}
		lane.Sender, lane.Letter = r, original
		if len(notes) == 0 {
			return
		}
		r.done = map[letterName]bool{}
		for _, n := range notes {
			maps.Copy(r.done, n.known[d.conf.name])
		}
		lane.Delivered = func(raw []byte) {
			ev, err := event.Parse(raw)
			if err != nil {
				return // it could not have been sent
			}
			which := nameOf(innermost(ev.Root()))
			for _, n := range notes {
				n.add(d.conf.name, which)
			}
		}
	}
	s.from = files
	o.run.memory = ""
	return a.run(ctx, j, s, &o.run, redriveDir, meta, resumed, re)
}

func commas(lists []string) []string { return strings.Split(strings.Join(lists, ","), ",") }

// check finds what is asked for and is not there: a script would take a run that
// sends nothing for success.
func (o *redriveOptions) check(id string, parent *engine.Summary) error {
	var names []string
	reasons := map[string]uint64{}
	for _, d := range parent.Destinations {
		names = append(names, d.Name)
		for r, n := range d.Rejected {
			reasons[r] += n
		}
	}
	for _, name := range commas(o.to) {
		if len(o.to) > 0 && !slices.Contains(names, name) {
			return usagef("--to: run %s has %s", id, strings.TrimPrefix(unknown(name, "destination", names), "there is "))
		}
	}
	o.reasons = slices.DeleteFunc(commas(o.reasons), func(r string) bool { return r == "" })
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

// redriver routes dead letters: of each it sends the one delivery that was
// given up, as its destination would route it today.
type redriver struct {
	destination.Sender
	name    string
	reasons []string
	since   time.Time
	plan    *destination.Plan
	done    map[letterName]bool // by earlier redrives
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
	inner, err := event.Parse(textOf(letter))
	if err != nil {
		out.List = append(out.List, destination.Delivery{Settled: &destination.Result{Outcome: destination.Rejected, Reason: destination.Invalid, Detail: err.Error()}})
		return
	}
	insertID := letter.Get("insert_id").Text()
	own := *env
	own.Fallback = insertID
	from := len(out.List)
	r.Sender.Route(inner, &own, out)
	k, _ := letter.Get("k").Int()
	if i := from + int(k); i < len(out.List) {
		d := out.List[i]
		d.Wait = false
		out.List = append(out.List[:from], d)
		return
	}
	out.List = out.List[:from]
	skip(destination.Unneeded, "today's settings make no such delivery of it")
}

// innermost is a dead letter, or the one that it is of: redrives of old wrapped them.
func innermost(letter event.Value) event.Value {
	for range 100 {
		inner := letter.Get("event")
		if !inner.Get("dead_letter").Exists() || !inner.Get("insert_id").Exists() {
			break
		}
		letter = inner
	}
	return letter
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
	if err != nil || !ev.Root().Get("dead_letter").Exists() {
		return
	}
	letter := innermost(ev.Root())
	num := func(key string) int64 {
		n, _ := letter.Get(key).Int()
		return n
	}
	d.Raw, d.Valid = textOf(letter), false
	d.Object, d.Offset, d.Line = letter.Get("object").Text(), num("offset"), num("line")
	d.Ordinal, d.K, d.Step = uint64(num("ordinal")), uint16(num("k")), int(num("step"))
	d.Action, d.InsertID = letter.Get("action").Text(), letter.Get("insert_id").Text()
	d.Attempts += int(num("attempts"))
	if p, err := source.ParsePosition(letter.Get("position").Text()); err == nil {
		d.Position = p
	}
	if t, ok := event.ParseTime(letter.Get("first")); ok {
		d.First = t
	}
}

// letterName tells a dead letter from the others of its run and destination: the
// event's number in the input, and the delivery's among those of the event.
type letterName struct{ ordinal, k int64 }

func nameOf(letter event.Value) letterName {
	ordinal, _ := letter.Get("ordinal").Int()
	k, _ := letter.Get("k").Int()
	return letterName{ordinal, k}
}

// redriven is which of a run's dead letters redrives have delivered: a file for each
// destination in the run's folder, with a line for each letter, written when the
// partner has accepted it.
type redriven struct {
	dir   string
	by    string // the redrive that is under way
	known map[string]map[letterName]bool

	mu    sync.Mutex
	files map[string]*os.File
	err   error
}

// redrivenOf are the notes of a run and, if it is a redrive itself, of the runs whose
// dead letters it has sent.
func (a *app) redrivenOf(id, by string) (notes []*redriven, err error) {
	for seen := map[string]bool{}; id != "" && !seen[id]; {
		seen[id] = true
		dir := filepath.Join(a.runsDir(), id)
		s, err := readSummary(dir)
		if err != nil {
			break // an ancestor that was removed
		}
		n := &redriven{dir: filepath.Join(dir, "redriven"), by: by, known: map[string]map[letterName]bool{}, files: map[string]*os.File{}}
		for _, d := range s.Destinations {
			if d.DeadLetters == "" {
				continue
			}
			if n.known[d.Name], err = n.read(d.Name); err != nil {
				return nil, err
			}
		}
		notes = append(notes, n)
		id = s.RedriveOf
	}
	return notes, nil
}

func (n *redriven) path(destination string) string {
	return filepath.Join(n.dir, journal.FileName(destination))
}

// read returns what is known of a destination. A line that is not whole was being
// written when its process was killed.
func (n *redriven) read(destination string) (map[letterName]bool, error) {
	data, err := os.ReadFile(n.path(destination))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	known := map[letterName]bool{}
	for line := range strings.Lines(string(data)) {
		var l letterName
		if _, err := fmt.Sscanf(line, "%d %d ", &l.ordinal, &l.k); err == nil && strings.HasSuffix(line, "\n") {
			known[l] = true
		}
	}
	return known, nil
}

// add notes a letter that was delivered.
func (n *redriven) add(destination string, l letterName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.files[destination]
	if f == nil {
		err := os.MkdirAll(n.dir, 0o700)
		if err != nil {
			n.err = err
			return
		}
		if f, err = os.OpenFile(n.path(destination), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			n.err = err
			return
		}
		n.files[destination] = f
		if _, err := f.WriteString("\n"); err != nil { // ends one that is not whole
			n.err = err
		}
	}
	if _, err := fmt.Fprintf(f, "%d %d %s\n", l.ordinal, l.k, n.by); err != nil {
		n.err = err
	}
}

func (n *redriven) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.err
	for _, f := range n.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// redrivenCount is how many of a run's dead letters redrives have delivered.
func (a *app) redrivenCount(id string, s *engine.Summary) (total int, each map[string]int) {
	n := &redriven{dir: filepath.Join(a.runsDir(), id, "redriven")}
	each = map[string]int{}
	for _, d := range s.Destinations {
		if known, err := n.read(d.Name); err == nil && len(known) > 0 {
			each[d.Name] = len(known)
			total += len(known)
		}
	}
	return total, each
}
