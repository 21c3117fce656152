package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/setting"
)

func tempDir() (string, func(), error) {
	dir, err := os.MkdirTemp("", "fanfold-")
	return dir, func() { os.RemoveAll(dir) }, err
}

func (a *app) runsDir() string { return filepath.Join(a.stateDir(), "runs") }

// runIDs lists the runs, newest first.
func (a *app) runIDs() ([]string, error) {
	entries, err := os.ReadDir(a.runsDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(x, y fs.DirEntry) int {
		i, err1 := x.Info()
		j, err2 := y.Info()
		if err1 != nil || err2 != nil {
			return 0
		}
		return j.ModTime().Compare(i.ModTime())
	})
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// findRun returns a run's folder.
func (a *app) findRun(id string) (string, error) {
	ids, err := a.runIDs()
	if err != nil {
		return "", err
	}
	if !slices.Contains(ids, id) {
		msg := fmt.Sprintf("there is no run %q in %s", id, a.runsDir())
		if near := setting.Nearest(id, ids); near != "" {
			msg += "; did you mean " + near + "?"
		}
		return "", usagef("%s (see `fanfold runs list`)", msg)
	}
	return filepath.Join(a.runsDir(), id), nil
}

func (a *app) runsCommand() *cobra.Command {
	c := &cobra.Command{Use: "runs", Short: "Past and unfinished runs", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var listForm, showForm string
	list := &cobra.Command{
		Use: "list", Short: "List runs, newest first", Args: cobra.NoArgs,
		Long: `list shows what became of the runs in the state folder, newest first. The counts
are events, over all destinations. With -o json every run is a line of its own: the
same document as that of its summary.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ids, err := a.runIDs()
			if err != nil {
				return err
			}
			if listForm == "json" {
				e := json.NewEncoder(a.out)
				for _, id := range ids {
					if err := e.Encode(a.listed(id)); err != nil {
						return err
					}
				}
				return nil
			}
			t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "RUN\tSTATUS\tREAD\tDELIVERED\tREJECTED\tPENDING\tDESTINATIONS\tLAST USED\t")
			for _, id := range ids {
				s := a.listed(id)
				when := ""
				if info, err := os.Stat(filepath.Join(a.runsDir(), id)); err == nil {
					when = info.ModTime().Format("2006-01-02 15:04:05")
				}
				var names, note string
				var delivered, pending uint64
				for i, d := range s.Destinations {
					if i > 0 {
						names += ","
					}
					names += d.Name
					delivered, pending = delivered+d.Delivered, pending+d.Pending
				}
				if s.Rehearsal {
					note = "rehearsal"
				}
				if s.RedriveOf != "" {
					note = strings.TrimSpace("redrive of " + s.RedriveOf + " " + note)
				}
				if n, _ := a.redrivenCount(id, s); n > 0 {
					note = strings.TrimSpace(note + fmt.Sprintf(" %d redriven since", n))
				}
				fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", id, s.Status, s.Read, delivered, rejectedOf(s), pending, names, when, note)
			}
			return t.Flush()
		},
	}
	choiceP(list.Flags(), &listForm, "output", "o", "", "table", "json")
	show := &cobra.Command{
		Use: "show RUN", Short: "Show a run's summary, its reasons, and where its dead letters are", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := a.findRun(args[0])
			if err != nil {
				return err
			}
			s, err := standing(dir)
			if err != nil {
				return err
			}
			if err := printSummary(a.out, s, showForm); err != nil {
				return err
			}
			if _, each := a.redrivenCount(args[0], s); showForm != "json" {
				for _, d := range s.Destinations {
					if n := each[d.Name]; n > 0 {
						fmt.Fprintf(a.out, "%s: %d of the rejected were delivered by a redrive since\n", d.Name, n)
					}
				}
			}
			if s.Status == killed {
				fmt.Fprintf(a.err, "fanfold: run %s was killed; its command, run again, goes on with it\n", args[0])
			}
			return nil
		},
	}
	choiceP(show.Flags(), &showForm, "output", "o", "", "table", "json")
	rm := &cobra.Command{
		Use: "rm RUN...", Short: "Remove runs, with their dead letters", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, id := range args {
				dir, err := a.findRun(id)
				if err != nil {
					return err
				}
				r, err := journal.Open(dir, nil, journal.Options{Now: a.now})
				var busy *journal.BusyError
				if errors.As(err, &busy) {
					return err
				}
				if err == nil {
					if err := r.Close(); err != nil {
						return err
					}
				}
				if err := os.RemoveAll(dir); err != nil {
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
