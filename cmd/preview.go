package cmd

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/secret"
)

func (a *app) previewCommand() *cobra.Command {
	var s selection
	var output, now string
	var batch int
	var show bool
	c := &cobra.Command{
		Use:   "preview --from INPUT --to DESTINATION",
		Short: "Print the requests that forward would send, and send nothing",
		Long: `preview runs the same selection, mappings and checks as forward and prints the
requests instead of sending them, with secrets masked. Events that would not be
sent are printed with the reason; it exits 3 when one would be rejected.`,
		Example: `  fanfold preview --from events.jsonl --to mixpanel --limit 5 -o json | jq .body
  fanfold preview --from events.jsonl --to webhook --batch-events 1 -o curl --show-secrets | sh`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			at := a.now()
			if now != "" {
				t, relative, err := parseTime("--now", now, at)
				if err != nil || relative {
					return usagef("--now has to be a time like 2024-06-01T00:00:00Z, not %q", now)
				}
				at = t
				a.now = func() time.Time { return at }
			}
			j, err := a.prepareJob(&s, &runOptions{}, func(o *config.Opened) {
				if batch > 0 {
					o.Config.BatchEvents = batch
				}
				if !show {
					o.Config.Settings = o.Spec.Settings.Starred(o.Config.Settings, secret.Shortest)
				}
			})
			if err != nil {
				return err
			}
			p := &report.Preview{
				Out: a.out, Redact: a.secrets.redact, Curl: output == "curl", Say: func(s string) { a.say(s) },
			}
			if show {
				p.Redact = nil
			}
			return a.preview(c.Context(), j, p)
		},
	}
	s.flags(c, a.schemes())
	f := c.Flags()
	flagvalue.Output(f, &output, "one line a request, or commands that can be run", "json", "curl")
	f.StringVar(&now, "now", "", "preview as if it were this time")
	flagvalue.Count(f, &batch, "batch-events", 0, "at most so many events in a request; 1 turns batching off")
	f.BoolVar(&show, "show-secrets", false, "do not mask secrets")
	return c
}

// preview prints the requests of a run.
func (a *app) preview(ctx context.Context, j *run.Job, p *report.Preview) (err error) {
	dir, err := os.MkdirTemp("", "fanfold-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	read, err := a.runWorld().Preview(ctx, j, dir, p.Print)
	if err != nil {
		return err
	}
	a.say(report.PreviewNotes(j, read)...)
	if p.Rejected {
		return outcome(exitRejected)
	}
	return nil
}
