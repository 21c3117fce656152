package cmd

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/flagvalue"
)

// group is a command that only has commands below it: on its own it prints its help.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(commands...)
	return c
}

// parseTime reads a flag that says a time.
func parseTime(flag, s string, now time.Time) (t time.Time, relative bool, err error) {
	if t, relative, err = flagvalue.Time(s, now); err != nil {
		return t, false, usagef("%s %w", flag, err)
	}
	return t, relative, nil
}

// flagError says what is wrong with a command's flags in the words of the user,
// not in those of the parser. Where a command is missing, its flags are no flags
// either: then the command is what is wrong.
func flagError(c *cobra.Command, err error) error {
	if args := c.Flags().Args(); c.HasSubCommands() && len(args) > 0 {
		if wrong := c.ValidateArgs(args); wrong != nil {
			return wrong
		}
	}
	return usagef("%w (see `%s --help`)", flagvalue.Explain(c.Flags(), err), c.CommandPath())
}
