package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/run"
)

func (a *app) deadCommand() *cobra.Command {
	var to, reasons []string
	var group, form string
	c := &cobra.Command{
		Use: "dead RUN", Short: "Show a run's dead letters, or count them by what they have in common",
		Args: cobra.ExactArgs(1),
		Long: `dead shows the deliveries that a run has given up and the records that were no events, one a
line, with the partner's words and the redrive that has delivered them since. --group counts
them by reason, by the name of the event, or by the field that is blamed, as far as it is
named. csv is for spreadsheets; json has the dead letters whole, with their events, one a line.`,
		Example: `  fanfold runs dead latest --group field
  fanfold runs dead k3v5q7w2xy --to hubspot --reason refused -o csv`,
		RunE: func(c *cobra.Command, args []string) error {
			choice := run.DeadChoice{To: flagvalue.Words(to), Reasons: flagvalue.Words(reasons)}
			return a.dead(c.Context(), args[0], choice, group, form)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&to, "to", nil, "only these destinations")
	f.StringArrayVar(&reasons, "reason", nil, "only dead letters with these reasons")
	flagvalue.Choice(f, &group, "group", "", "count them by what they have in common", "none", "reason", "event", "field")
	flagvalue.Output(f, &form, "", "text", "json", "csv")
	return c
}

func (a *app) dead(ctx context.Context, id string, choice run.DeadChoice, group, form string) error {
	runs, err := a.runsFolder()
	if err != nil {
		return err
	}
	dir, err := runs.Find(id)
	if err != nil {
		return err
	}
	if group == "none" {
		return report.Dead(ctx, a.out, dir, choice, form)
	}
	groups, err := run.GroupDead(ctx, dir, choice, group)
	if err != nil {
		return err
	}
	return report.DeadGroups(a.out, groups[group], group, form)
}
