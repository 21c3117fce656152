package cmd

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/run"
)

// runsDir is the folder of all runs.
func (a *app) runsDir() (string, error) {
	dir, err := a.stateDir()
	return filepath.Join(dir, "runs"), err
}

func (a *app) runsCommand() *cobra.Command {
	var listForm, showForm, rmForm string
	list := &cobra.Command{
		Use: "list", Short: "List runs, newest first", Args: cobra.NoArgs,
		Long: `list shows what became of the runs in the state folder, newest first. The counts
are events, over all destinations; the size is that of the run's folder, with its dead
letters. With -o json every run is a line of its own: the same document as that of its
summary, with last_used and state_bytes.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.listRuns(c.Context(), listForm) },
	}
	flagvalue.Output(list.Flags(), &listForm, "", "text", "json")
	show := &cobra.Command{
		Use: "show RUN", Short: "Show a run's summary, its reasons, and where its dead letters are", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.showRun(c.Context(), args[0], showForm) },
	}
	flagvalue.Output(show.Flags(), &showForm, "", "text", "json")
	rm := &cobra.Command{
		Use: "rm RUN...", Short: "Remove runs, with their dead letters", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			runs, err := a.runsFolder()
			if err != nil {
				return err
			}
			var dirs []string // all of them are found before one is removed
			for _, id := range args {
				dir, err := runs.Find(id)
				if err != nil {
					return err
				}
				dirs = append(dirs, dir)
			}
			return a.removeRuns(dirs, rmForm, false)
		},
	}
	flagvalue.Output(rm.Flags(), &rmForm, "", "text", "json")
	c := group("runs", "Past and unfinished runs", list, show, a.deadCommand(), rm, a.pruneCommand())
	c.Long = `runs shows and removes what forward and redrive have left. A RUN is an id, a
beginning of one that no other run has, or latest.`
	return c
}

func (a *app) pruneCommand() *cobra.Command {
	var o struct {
		olderThan, form string
		unfinished      bool
		keepIncomplete  bool
		dryRun          bool
	}
	c := &cobra.Command{
		Use: "prune --older-than 30d", Short: "Remove old runs, with their dead letters", Args: cobra.NoArgs,
		Long: `prune removes runs that no command has used for the given time. A run that is removed
is forgotten: the same command sends everything again, and its dead letters can no
longer be redriven. A run that has work pending, or was killed, is kept unless
--unfinished is given; one that a process works on always is.`,
		Example: `  fanfold runs prune --older-than 30d --dry-run`,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.olderThan == "" {
				return usagef("say with --older-than how long a run has not been used, like --older-than 30d")
			}
			age, err := flagvalue.Age(o.olderThan)
			if err != nil {
				return usagef("--older-than: %w", err)
			}
			if o.unfinished && o.keepIncomplete {
				return usagef("--unfinished and --keep-incomplete are contradictory: give one of them")
			}
			runs, err := a.runsFolder()
			if err != nil {
				return err
			}
			dirs, kept, busy, err := runs.Unused(a.now().Add(-age))
			if err != nil {
				return err
			}
			if o.unfinished {
				dirs, kept = append(dirs, kept...), nil
			}
			a.say(report.Kept(c.Context(), append(kept, busy...))...)
			if !o.dryRun {
				if err = runs.Clear(); err != nil {
					return err
				}
			}
			return a.removeRuns(dirs, o.form, o.dryRun)
		},
	}
	f := c.Flags()
	f.StringVar(&o.olderThan, "older-than", "", "how long a run has not been used: 30d, 4w, 12h")
	f.BoolVar(&o.unfinished, "unfinished", false, "remove also runs that have work pending, or were killed")
	f.BoolVar(&o.keepIncomplete, "keep-incomplete", false, "keep those runs, which is so anyhow")
	f.BoolVar(&o.dryRun, "dry-run", false, "only say what would be removed")
	flagvalue.Output(f, &o.form, "", "text", "json")
	return c
}

// removeRuns removes runs, or with dry only says that it would, and how much they hold.
func (a *app) removeRuns(dirs []string, form string, dry bool) error {
	for _, dir := range dirs {
		size := run.Size(dir)
		if !dry {
			if err := journal.Remove(dir); err != nil {
				return err
			}
		}
		if err := report.Removed(a.out, form, filepath.Base(dir), size, !dry); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) listRuns(ctx context.Context, form string) error {
	runs, err := a.runsFolder()
	if err != nil {
		return err
	}
	dirs, err := runs.Dirs()
	if err != nil {
		return err
	}
	if form == "json" {
		return report.RunsJSON(ctx, a.out, dirs)
	}
	return report.Runs(ctx, a.out, dirs)
}

func (a *app) showRun(ctx context.Context, id, form string) error {
	runs, err := a.runsFolder()
	if err != nil {
		return err
	}
	dir, err := runs.Find(id)
	if err != nil {
		return err
	}
	s, err := run.Standing(dir)
	if err != nil {
		return err
	}
	left, err := run.NoteRedriven(ctx, dir, s)
	if err != nil {
		return err
	}
	if form == "text" { // what is new was told by the command that has found it
		s.ThisTime = nil
	}
	if err := printSummary(a.out, s, form); err != nil {
		return err
	}
	id = filepath.Base(dir)
	if left == 0 && run.Rejected(s) > 0 {
		a.sayf("run %s: every rejected event was delivered by a redrive since", id)
	}
	if left > 0 && s.Status == run.Complete && !s.Rehearsal {
		a.sayf("once the cause is fixed, `fanfold redrive %s` sends the rejected events again", runs.Again(id))
	}
	if from := report.Origin(s); from != "" {
		a.sayf("run %s was begun with %s", id, from)
	}
	if s.Status == run.Killed {
		a.sayf("run %s was killed; its command, run again, goes on with it", id)
	}
	return nil
}
