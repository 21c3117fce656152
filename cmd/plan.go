package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/wholefile"
)

// planOptions are the flags of plan beyond the selection.
type planOptions struct {
	output  string
	prices  []string
	reserve string
	sample  string
	save    string
}

func (a *app) planCommand() *cobra.Command {
	var s selection
	var o planOptions
	c := &cobra.Command{
		Use:   "plan --from INPUT --to DESTINATION",
		Short: "Say what forward would do, exactly, and send nothing",
		Long: `plan reads the input once, routes and packs it as forward would, and sends
nothing: how many events, deliveries, requests and bytes each destination gets, what
would be skipped or rejected and why, with an example each, and how long it takes at
the partner's limits. It exits 3 when something would be rejected. forward --plan FILE
refuses to begin when input, configuration or catalogue are not those of a saved plan.`,
		Example: `  fanfold plan --from archive/ --since 2024-01-01
  fanfold plan --from archive/ --save plan.json && fanfold forward --from archive/ --plan plan.json
  fanfold plan --from events.jsonl.zst --to mixpanel --price mixpanel=0.28/1k -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.plan(c.Context(), &s, &o) },
	}
	s.flags(c, a.schemes())
	f := c.Flags()
	flagvalue.Output(f, &o.output, "form of the plan", "text", "json")
	f.StringArrayVar(&o.prices, "price", nil, "what a destination costs: NAME=0.28/1k, per event, delivery, request or MB")
	f.StringVar(&o.sample, "sample", "", "route only a share of the events, like 1%, for a quick look")
	f.StringVar(&o.save, "save", "", "write the plan to this file, for forward --plan")
	f.StringVar(&o.reserve, "reserve-for-live", "", "share of each partner's quota left to live traffic, like 30%")
	return c
}

func (a *app) plan(ctx context.Context, s *selection, o *planOptions) (err error) {
	j, err := a.prepareJob(s, &runOptions{reserve: o.reserve}, nil)
	if err != nil {
		return err
	}
	var names []string
	for _, d := range j.Destinations {
		names = append(names, d.Name)
	}
	prices, err := report.ParsePrices(o.prices, names)
	if err != nil {
		return usagef("--price %w", err)
	}
	runs, err := a.runsFolder()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fanfold-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w := a.runWorld()
	share, saved, err := a.planKind(ctx, w, j, o)
	if err != nil {
		return err
	}
	p, err := w.Plan(ctx, runs, j, dir, share)
	if err != nil {
		return err
	}
	p.Redact(a.secrets.redact)
	if saved != nil {
		if err = a.savePlan(o.save, p, prices, saved); err != nil {
			return err
		}
	}
	if o.output == "json" {
		err = report.PlanJSON(a.out, p, prices, nil)
	} else {
		err = report.Plan(a.out, p, prices)
	}
	if err != nil {
		return err
	}
	a.say(report.PlanNotes(j, p)...)
	for _, l := range p.Destinations {
		if len(l.Rejected) > 0 {
			return outcome(exitRejected)
		}
	}
	if len(p.Bad) > 0 {
		return outcome(exitRejected)
	}
	return nil
}

// planKind reads how much is planned, and what a plan that is to be kept holds on to.
func (a *app) planKind(ctx context.Context, w *run.World, j *run.Job, o *planOptions) (
	share float64, saved *run.SavedPlan, err error,
) {
	share = 1
	if o.sample != "" {
		if share, err = config.Share(o.sample); err != nil || share <= 0 {
			return 0, nil, usagef("--sample has to be a share like 1%%, not %q", o.sample)
		}
	}
	switch {
	case o.save == "":
		return share, nil, nil
	case share < 1:
		return 0, nil, usagef("--sample and --save exclude each other: a plan that is kept is exact")
	}
	saved, err = w.Save(ctx, j) // before it is read: what changes meanwhile is noticed later
	return share, saved, err
}

// savePlan writes a plan to a file.
func (a *app) savePlan(path string, p *run.Plan, prices map[string]report.Price, saved *run.SavedPlan) error {
	var b strings.Builder
	if err := report.PlanJSON(&b, p, prices, saved); err != nil {
		return err
	}
	return writeFile("--save", path, a.secrets.redact(b.String()))
}

// writeFile writes a file that a flag names, for the user alone. That there is no room for it is no mistake of his.
func writeFile(flag, path, text string) error {
	switch err := wholefile.Write(path, []byte(text), 0o600); {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EIO):
		return fmt.Errorf("%s: %w", flag, err)
	default:
		return usagef("%s: %w", flag, err)
	}
}

// planned reads a plan that has to hold for a run; nil: none was given.
func (a *app) planned(ctx context.Context, j *run.Job, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	plan, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("--plan: %w", err)
	}
	if err := a.runWorld().Holds(ctx, j, plan); err != nil {
		return nil, fmt.Errorf("--plan %s: %w", path, err)
	}
	return plan, nil
}
