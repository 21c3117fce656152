package cmd

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/secret"
)

// explainOptions are the flags of explain beyond the selection.
type explainOptions struct {
	question   run.Question
	where, run string
	output     string
}

func (a *app) explainCommand() *cobra.Command {
	var s selection
	var o explainOptions
	c := &cobra.Command{
		Use:   "explain --from INPUT --id MESSAGE_ID",
		Short: "Say what becomes of an event, gate by gate, and send nothing",
		Long: `explain takes apart what forward would make of an event: how it is read, its time, the
filter term by term, each step of transform: with what it changed, and for each destination
consent, integrations, filter, the triggers of its actions, every field with where its value
comes from and which rule it breaks, and the request as it would go out, with secrets masked.
With --run it also says what became of the event in that run.`,
		Example: `  fanfold explain --from archive/ --id m-17 --to hubspot
  fanfold explain --from archive/ --user u-42 --limit 3 --run latest
  fanfold explain --from archive/ --where 'event = "Order Completed"' --limit 1 -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.explain(c.Context(), &s, &o) },
	}
	s.flags(c, a.schemes())
	f := c.Flags()
	f.StringVar(&o.question.ID, "id", "", "the event with this messageId")
	f.StringVar(&o.question.User, "user", "", "events of this userId or anonymousId")
	f.StringVar(&o.where, "where", "", "events that match, in FQL, whatever --filter says of them")
	f.StringVar(&o.run, "run", "", "a run, to say what became of them there")
	f.Lookup("limit").Usage = "explain at most so many events (default 10)"
	flagvalue.Output(f, &o.output, "for a person, or one line of JSON an event", "text", "json")
	return c
}

func (a *app) explain(ctx context.Context, s *selection, o *explainOptions) (err error) {
	q := &o.question
	if q.ID+q.User+o.where == "" {
		return usagef("say which events to explain: --id MESSAGE_ID, --user ID or --where FQL")
	}
	if o.where != "" {
		if q.Where, err = filter.Written(o.where); err != nil {
			return usagef("--where: %w", err)
		}
	}
	if o.run != "" {
		runs, failed := a.runsFolder()
		if failed != nil {
			return failed
		}
		if q.Run, err = runs.Find(o.run); err != nil {
			return err
		}
	}
	j, err := a.prepareJob(s, &runOptions{}, func(d *config.Opened) {
		d.Config.Settings = d.Spec.Settings.Starred(d.Config.Settings, secret.Shortest)
	})
	if err != nil {
		return err
	}
	if q.Limit = int(s.limit); q.Limit == 0 {
		q.Limit = 10
	}
	dir, err := os.MkdirTemp("", "fanfold-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	answers, err := a.runWorld().Explain(ctx, j, q, dir)
	if err != nil {
		return err
	}
	if len(answers.Explanations) == 0 {
		near := ""
		if len(answers.Near) > 0 {
			near = "; there is " + strings.Join(answers.Near, ", ")
		}
		return usagef("none of the %d records read is such an event%s", answers.Read, near)
	}
	write := report.Explain
	if o.output == "json" {
		write = report.ExplainJSON
	}
	return write(a.out, answers, a.secrets.redact)
}
