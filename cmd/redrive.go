package cmd

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/run"
)

// redriveOptions select dead letters.
type redriveOptions struct {
	to, reasons []string
	since       string
	sets, opts  []string
	live        []string
	rehearse    bool
	filter      string
	dryRun      bool
	run         runOptions
	reading     readingOptions
}

func (a *app) redriveCommand() *cobra.Command {
	var o redriveOptions
	c := &cobra.Command{
		Use:   "redrive RUN",
		Short: "Send a run's dead letters again",
		Long: `redrive sends the deliveries that a run has given up: only the failed pairs of
event and destination, with their original insert ids. It is itself a run, with
its own summary; what it delivers is not sent again by any other redrive. Without
--config it takes the file of the configuration that the run had, as it is now.`,
		Example: `  fanfold redrive k3v5q7w2xy --to mixpanel --reason exhausted
  fanfold redrive latest --filter 'event = "Order Completed"' --dry-run`,
		Annotations: inOrder(),
		Args:        cobra.ExactArgs(1),
		RunE:        func(c *cobra.Command, args []string) error { return a.redrive(c.Context(), args[0], &o) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.to, "to", nil, "only these destinations")
	f.StringArrayVar(&o.reasons, "reason", nil, "only dead letters with these reasons")
	f.StringVar(&o.filter, "filter", "", "only dead letters whose event matches, in FQL")
	f.BoolVar(&o.dryRun, "dry-run", false, "only count what would be sent")
	flagvalue.Moment(f, &o.since, "since", "only dead letters whose last attempt was since then")
	f.StringArrayVar(&o.sets, "set", nil, "a setting: NAME.KEY=VALUE")
	f.StringArrayVar(&o.opts, "opt", nil, "an option: NAME.KEY=VALUE")
	triggerLive(f, &o.live)
	f.BoolVar(&o.rehearse, "rehearse", false, "send to built-in stand-ins of the partners")
	o.reading.flags(f)
	o.run.limits.flags(f)
	o.run.observe.flags(f)
	globalFlag(f, &o.run.progress, "progress")
	globalFlag(f, &o.run.memory, "memory")
	flagvalue.Output(f, &o.run.output, "form of the summary", "text", "json")
	return c
}

func (a *app) redrive(ctx context.Context, id string, o *redriveOptions) (err error) {
	if err = o.run.observe.read(a); err != nil {
		return err
	}
	defer func() { a.tell(&o.run.observe, err) }()
	of := ""
	st, opening, running := a.stopper(ctx)
	defer func() { err = a.notBegun(&o.run, of, a.ended(st, err)) }()
	runs, err := a.runsFolder()
	if err != nil {
		return err
	}
	refused, err := runs.Refused(id, o.rehearse)
	if err != nil {
		return err
	}
	of = refused.Run
	o.run.beside = !o.rehearse && slices.ContainsFunc(refused.Destinations,
		func(d engine.LaneSummary) bool { return d.Type == "stdout" })
	conf, err := a.configOf(refused)
	if err != nil {
		return err
	}
	choice := run.LetterChoice{To: flagvalue.Words(o.to), Reasons: flagvalue.Words(o.reasons), Since: o.since}
	if choice.Last, choice.Relative, err = parseTime("--since", o.since, a.now()); err != nil {
		return err
	}
	if o.filter != "" {
		if choice.Filter, err = filter.Written(o.filter); err != nil {
			return usagef("--%w", err)
		}
	}
	letters, err := a.runWorld().Letters(opening, runs, refused, choice)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	if id != refused.Run {
		a.sayf("%s is run %s", id, refused.Run)
	}
	names := letters.Destinations()
	if len(names) == 0 {
		a.sayf("run %s has no dead letters to send again", refused.Run)
		if o.dryRun && o.run.output == "json" {
			return a.redrivePlan(o, refused.Run, &run.Plan{Sample: 1, Dropped: map[string]uint64{}})
		}
		return nil
	}
	if err = configured(conf, refused, names); err != nil {
		return err
	}
	picked, err := a.choose(conf, config.Choice{To: names, Set: o.sets, Opt: o.opts,
		Live: flagvalue.Words(o.live), Rehearse: o.rehearse})
	if err != nil {
		return err
	}
	j := &run.Job{Config: configPath(conf), Profile: a.profile, Rehearse: o.rehearse}
	o.reading.read(&j.Input, a.now())
	if j.Suppress, err = a.suppression(conf); err != nil {
		return err
	}
	if err = o.run.sizes(j); err != nil {
		return err
	}
	o.run.printsEvents(picked, o.rehearse)
	if j.Destinations, err = a.open(conf, picked, config.OpenOptions{Rehearse: o.rehearse}); err != nil {
		return err
	}
	if o.dryRun {
		plan, err := letters.Plan(opening, j, conf.Pipeline)
		if err != nil {
			return err
		}
		return a.redrivePlan(o, refused.Run, plan)
	}
	return a.deliver(running, st, j, &o.run, func(run.Folder) (*run.Run, error) {
		return letters.Open(opening, j, conf.Pipeline)
	})
}

// redrivePlan prints what a redrive would send.
func (a *app) redrivePlan(o *redriveOptions, id string, plan *run.Plan) error {
	o.run.summed = true
	if plan.Redact(a.secrets.redact); o.run.output == "json" {
		return report.PlanJSON(a.out, plan, nil, nil)
	}
	return report.RedrivePlan(a.out, id, plan)
}

// configured says which of the destinations of a run there is no configuration for.
func configured(conf *config.File, s *engine.Summary, names []string) error {
	for _, d := range s.Destinations {
		known := slices.ContainsFunc(conf.Destinations, func(c *config.Destination) bool { return c.Name == d.Name })
		if known || d.Name == d.Type || !slices.Contains(names, d.Name) {
			continue
		}
		where := "no fanfold.yaml was found"
		if conf.Path != "" {
			where = conf.Path + " has none of this name"
		}
		return usagef("destination %s of run %s is not configured: %s (see --config)", d.Name, s.Run, where)
	}
	return nil
}

// configOf is the configuration that a run had, with its profile, and not what happens to
// lie in this folder, unless --config or --profile names another.
func (a *app) configOf(s *engine.Summary) (*config.File, error) {
	switch {
	case a.configGiven && s.Config != absolute(a.configFile):
		return a.loadConfig()
	case a.configGiven:
	case s.Config == "" && a.hasProfile && a.profile != "":
		return nil, usagef("--profile %s: run %s had no configuration (--config names one)", a.profile, s.Run)
	case s.Config == "":
		return &config.File{}, nil
	case a.configFile == "" || s.Config != absolute(a.configFile):
		if _, err := os.Stat(s.Config); err != nil {
			return nil, usagef("run %s had the configuration %s, which cannot be read: name one with --config (%w)",
				s.Run, s.Config, err)
		}
		a.configFile = s.Config
		a.sayf("the configuration is that of run %s, %s (--config names another)", s.Run, s.Config)
	}
	if s.Profile != "" && !a.hasProfile {
		a.profile = s.Profile
		a.sayf("the profile is that of run %s, %s (--profile names another)", s.Run, s.Profile)
	}
	return a.loadConfig()
}
