package cmd

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
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
its own summary; what it delivers is not sent again by a second redrive.`,
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

func (a *app) redrive(ctx context.Context, id string, o *redriveOptions) error {
	dir, err := a.findRun(id)
	if err != nil {
		return err
	}
	conf, err := a.loadConfig()
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
	since, _, err := parseTime("--since", o.since, a.now())
	if err != nil {
		return err
	}
	var names, files []string
	for _, d := range parent.Destinations {
		if d.DeadLetters == "" || len(o.to) > 0 && !slices.Contains(strings.Split(strings.Join(o.to, ","), ","), d.Name) {
			continue
		}
		names = append(names, d.Name)
		files = append(files, filepath.Join(dir, "dead", filepath.Base(d.DeadLetters)))
		if !slices.ContainsFunc(conf.destinations, func(c *destConfig) bool { return c.name == d.Name }) && d.Name != d.Type {
			return usagef("destination %s of run %s is not in the configuration any more", d.Name, id)
		}
	}
	if len(names) == 0 {
		fmt.Fprintf(a.err, "fanfold: run %s has no dead letters to send again\n", id)
		return nil
	}
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
	redriveDir, resumed, err := a.runDir(runID, false)
	if err != nil {
		return err
	}
	src, err := source.Open(ctx, source.Options{From: files, DeadLetters: true})
	if err != nil {
		return err
	}
	re := &redirect{source: src, wrap: func(d *opened) destination.Sender {
		plan := *d.sender.Plan()
		plan.Content = "" // what it routes is its own letters
		return &redriver{Sender: d.sender, name: d.conf.name, reasons: o.reasons, since: since, plan: &plan}
	}}
	s.from = files
	o.run.memory = ""
	return a.run(ctx, j, s, &o.run, redriveDir, meta, resumed, re)
}

// redriver routes dead letters: of each it sends the one delivery that was
// given up, as its destination would route it today.
type redriver struct {
	destination.Sender
	name    string
	reasons []string
	since   time.Time
	plan    *destination.Plan
}

// Plan is the destination's own, but for what it makes of events.
func (r *redriver) Plan() *destination.Plan { return r.plan }

func (r *redriver) Route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	letter := ev.Root()
	skip := func(why string) {
		out.List = append(out.List, destination.Delivery{Settled: &destination.Result{Outcome: destination.Skipped, Reason: destination.Unneeded, Detail: why}})
	}
	if !letter.Get("destination").IsText(r.name) {
		skip("another destination's")
		return
	}
	if len(r.reasons) > 0 && !slices.Contains(r.reasons, letter.Get("reason").Text()) {
		skip("another reason")
		return
	}
	if last, ok := event.ParseTime(letter.Get("last")); !r.since.IsZero() && (!ok || last.Before(r.since)) {
		skip("before --since")
		return
	}
	inner, err := event.Parse(letter.Get("event").Raw())
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
	skip("today's settings make no such delivery of it")
}
