package cmd

import (
	"context"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/progress"
	"github.com/fanfold/fanfold/pkg/run"
)

func (a *app) topCommand() *cobra.Command {
	return &cobra.Command{
		Use: "top [RUN]", Short: "Watch a run that another process works on", Args: cobra.MaximumNArgs(1),
		Long: `top shows how every destination of a run stands, those first that something is wrong with,
until the run ends: as bars on a terminal, else as plain lines. Without RUN it is the one that
was used last. It changes nothing, and can be left with Ctrl-C.`,
		Example: `  fanfold top`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.top(c.Context(), append(args, run.Latest)[0])
		},
	}
}

func (a *app) top(ctx context.Context, id string) error {
	runs, err := a.runsFolder()
	if err != nil {
		return err
	}
	dir, err := runs.Find(id)
	if err != nil {
		return err
	}
	status, last, err := run.ProgressOf(dir)
	if err != nil {
		return err
	}
	a.sayf("run %s is %s", filepath.Base(dir), status)
	d := &progress.Display{Lines: a.out, AtEnd: true, Now: a.now}
	d.Screen, _ = printable.Under(a.err).(*progress.Screen)
	ended := d.Show(func() []engine.Progress {
		if _, ps, err := run.ProgressOf(dir); err == nil {
			last = ps // else it is being written
		}
		return last
	})
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	was := status
	for status == run.Running && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if s, _, err := run.ProgressOf(dir); err == nil {
				status = s
			}
		}
	}
	ended()
	if status != was {
		a.sayf("run %s is %s", filepath.Base(dir), status)
	}
	return nil
}
