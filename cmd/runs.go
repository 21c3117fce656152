package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/run"
)

func tempDir() (string, func(), error) {
	dir, err := os.MkdirTemp("", "fanfold-")
	return dir, func() { os.RemoveAll(dir) }, err
}

// runsDir is the folder of all runs.
func (a *app) runsDir() (string, error) {
	dir, err := a.stateDir()
	return filepath.Join(dir, "runs"), err
}

func (a *app) runsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "runs", Short: "Past and unfinished runs", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var listForm, showForm string
	list := &cobra.Command{
		Use: "list", Short: "List runs, newest first", Args: cobra.NoArgs,
		Long: `list shows what became of the runs in the state folder, newest first. The counts
are events, over all destinations. With -o json every run is a line of its own: the
same document as that of its summary.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.listRuns(c.Context(), listForm) },
	}
	choiceP(list.Flags(), &listForm, "output", "o", "", "table", "json")
	show := &cobra.Command{
		Use: "show RUN", Short: "Show a run's summary, its reasons, and where its dead letters are", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.showRun(c.Context(), args[0], showForm) },
	}
	choiceP(show.Flags(), &showForm, "output", "o", "", "table", "json")
	rm := &cobra.Command{
		Use: "rm RUN...", Short: "Remove runs, with their dead letters", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, id := range args {
				if err := a.removeRun(id); err != nil {
					return err
				}
				fmt.Fprintf(a.out, "removed %s\n", id)
			}
			return nil
		},
	}
	c.AddCommand(list, show, rm)
	return c
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
		e := json.NewEncoder(a.out)
		for _, dir := range dirs {
			if err := e.Encode(run.Listed(ctx, dir)); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tSTATUS\tREAD\tDELIVERED\tREJECTED\tPENDING\tDESTINATIONS\tLAST USED\t")
	for _, dir := range dirs {
		s := run.Listed(ctx, dir)
		when := ""
		if info, err := os.Stat(dir); err == nil {
			when = info.ModTime().Format("2006-01-02 15:04:05")
		}
		var names []string
		var delivered, pending uint64
		for _, d := range s.Destinations {
			names = append(names, d.Name)
			delivered, pending = delivered+d.Delivered, pending+d.Pending
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", filepath.Base(dir), s.Status, s.Read,
			delivered, run.Rejected(s), pending, strings.Join(names, ","), when, remark(s))
	}
	return t.Flush()
}

// remark is what a list of runs says of a run beside its counts.
func remark(s *engine.Summary) string {
	var notes []string
	if s.RedriveOf != "" {
		notes = append(notes, "redrive of "+s.RedriveOf)
	}
	if s.Rehearsal {
		notes = append(notes, "rehearsal")
	}
	var redriven uint64
	for _, d := range s.Destinations {
		redriven += total(d.Redriven)
	}
	if redriven > 0 {
		notes = append(notes, fmt.Sprintf("%d redriven since", redriven))
	}
	return strings.Join(notes, " ")
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
	if err := printSummary(a.out, s, form); err != nil {
		return err
	}
	if left == 0 && run.Rejected(s) > 0 {
		fmt.Fprintf(a.err, "fanfold: run %s: every rejected event was delivered by a redrive since\n", id)
	}
	if s.Status == run.Killed {
		fmt.Fprintf(a.err, "fanfold: run %s was killed; its command, run again, goes on with it\n", id)
	}
	return nil
}

// removeRun removes a run that no process works on; it may be damaged.
func (a *app) removeRun(id string) error {
	runs, err := a.runsFolder()
	if err != nil {
		return err
	}
	dir, err := runs.Find(id)
	if err != nil {
		return err
	}
	if journal.Busy(dir) {
		return &journal.BusyError{Dir: dir}
	}
	return os.RemoveAll(dir)
}
