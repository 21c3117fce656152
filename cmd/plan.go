package cmd

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/run"
)

// planOptions are the flags of plan beyond the selection.
type planOptions struct {
	output  string
	prices  []string
	reserve string
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
the partner's limits. It exits 3 when something would be rejected.`,
		Example: `  fanfold plan --from archive/ --since 2024-01-01
  fanfold plan --from events.jsonl.zst --to mixpanel --price mixpanel=0.28/1k -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.plan(c.Context(), &s, &o) },
	}
	s.flags(c, a.schemes())
	f := c.Flags()
	choiceP(f, &o.output, "output", "o", "form of the plan", "table", "json")
	f.StringArrayVar(&o.prices, "price", nil, "what a destination costs: NAME=0.28/1k, per event, delivery, request or MB")
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
	p, err := a.runWorld().Plan(ctx, runs, j, dir)
	if err != nil {
		return err
	}
	a.redactPlan(p)
	write := report.Plan
	if o.output == "json" {
		write = report.PlanJSON
	}
	if err := write(io.Writer(a.out), p, prices); err != nil {
		return err
	}
	a.say(report.Selected(j)...)
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

// redactPlan takes secrets out of what the plan quotes.
func (a *app) redactPlan(p *run.Plan) {
	for _, by := range planQuotes(p) {
		for k, c := range by {
			c.Example.Detail, c.Example.Event = a.secrets.redact(c.Example.Detail), a.secrets.redact(c.Example.Event)
			by[k] = c
		}
	}
}

func planQuotes(p *run.Plan) []map[string]run.Planned {
	all := []map[string]run.Planned{p.Bad}
	for _, l := range p.Destinations {
		all = append(all, l.Skipped, l.Rejected)
	}
	return all
}
