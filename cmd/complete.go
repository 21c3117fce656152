package cmd

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/setting"
)

// arguments has every command say what is wrong with its arguments in our own
// words, and what it takes.
func (a *app) arguments(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			switch {
			case err == nil:
				return nil
			case c.HasSubCommands() && len(args) > 0:
				return usagef("%s (see `%s --help`)", setting.Unknown(args[0], "command", commandNames(c)), c.CommandPath())
			case c.Flags().Lookup("from") != nil && len(args) > 0:
				return usagef("%s takes no arguments: the input is given with --from %s (see `%s --help`)", c.CommandPath(),
					args[0], c.CommandPath())
			}
			if name := valueBehind(c); name != "" && len(args) > 0 {
				return usagef("%s is an argument too many: a value of --%s is written --%s=%s", args[0], name, name, args[0])
			}
			return usagef("usage: %s (see `%s --help`)", c.UseLine(), c.CommandPath())
		}
	}
	for _, sub := range c.Commands() {
		a.arguments(sub)
	}
}

// valueBehind is a flag that was given and takes a value only behind an equals sign; "": there is none.
func valueBehind(c *cobra.Command) (name string) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if f.NoOptDefVal != "" && f.Value.Type() != "bool" {
			name = f.Name
		}
	})
	return name
}

func commandNames(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	return names
}

// completions offers values where a shell asks for them.
func (a *app) completions(c *cobra.Command) {
	// Nothing is made before a shell asks: this runs at every start.
	offer := func(values func() []string) cobra.CompletionFunc {
		return func(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return values(), cobra.ShellCompDirectiveNoFileComp
		}
	}
	slugs := func() []string { return a.world().Slugs() }
	runs := func(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ids := []string{run.Latest}
		var entries []os.DirEntry
		if dir, err := a.runsDir(); err == nil {
			entries, _ = os.ReadDir(dir) // none: nothing to offer
		}
		for _, e := range entries {
			if !journal.Removed(e.Name()) {
				ids = append(ids, e.Name())
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
	// Names from the configuration, and slugs, behind the last comma.
	destinations := func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		names := slugs()
		if conf, err := a.loadConfig(); err == nil {
			for _, d := range conf.Destinations {
				names = append(names, d.Name)
			}
		}
		slices.Sort(names)
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		for i := range names {
			names[i] = before + names[i]
		}
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	flag := func(c *cobra.Command, name string, f cobra.CompletionFunc) {
		if c.Flags().Lookup(name) != nil {
			if err := c.RegisterFlagCompletionFunc(name, f); err != nil {
				panic(err) // the flag is there, and has none yet
			}
		}
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if words := flagvalue.Choices(f.Value); words != nil {
			flag(c, f.Name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	})
	switch c.CommandPath() {
	case "fanfold forward", "fanfold plan", "fanfold preview", "fanfold explain", "fanfold redrive":
		flag(c, "to", destinations)
	}
	if c.CommandPath() == "fanfold explain" {
		flag(c, "run", runs)
	}
	switch c.CommandPath() {
	case "fanfold redrive", "fanfold runs show", "fanfold runs dead", "fanfold runs rm", "fanfold report", "fanfold top":
		c.ValidArgsFunction = runs
	case "fanfold destinations show":
		c.ValidArgsFunction = offer(slugs)
	case "fanfold help":
		c.ValidArgsFunction = offer(func() []string { return append(commandNames(c.Root()), topicNames...) })
	}
	for _, sub := range c.Commands() {
		a.completions(sub)
	}
}
