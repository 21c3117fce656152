package cmd

import (
	"bytes"
	"context"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/report"
)

func (a *app) reportCommand() *cobra.Command {
	var form, file string
	c := &cobra.Command{
		Use: "report RUN", Short: "Write a report of a run: one HTML page, Markdown or JSON", Args: cobra.ExactArgs(1),
		Long: `report shows what became of a run: how many events arrived where and why the others did
not, requests, latency, retries and pauses over its time, dead letters with the command that
redrives them, resumes and redrives as one story, the plan beside what happened, the input
and the settings, without secrets. The page needs nothing from the network.`,
		Example: `  fanfold report latest --file report.html
  fanfold report k3v5q7w2xy -o md | gh pr comment --body-file -`,
		RunE: func(c *cobra.Command, args []string) error { return a.report(c.Context(), args[0], form, file) },
	}
	flagvalue.Output(c.Flags(), &form, "", "html", "md", "json")
	c.Flags().StringVar(&file, "file", "", "where to write it (default: standard output)")
	return c
}

func (a *app) report(ctx context.Context, id, form, file string) (err error) {
	runs, err := a.runsFolder()
	if err != nil {
		return err
	}
	dir, err := runs.Find(id)
	if err != nil {
		return err
	}
	w := a.runWorld()
	st, err := w.Story(ctx, runs, dir)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	switch form {
	case "md":
		err = report.Markdown(&b, st, w.UserAgent, a.now())
	case "json":
		err = report.StoryJSON(&b, st)
	default:
		err = report.HTML(&b, st, w.UserAgent, a.now())
	}
	if err != nil {
		return err
	}
	text := a.secrets.redact(b.String())
	if file == "" {
		_, err = a.out.Write([]byte(text))
		return err
	}
	return writeFile("--file", file, text)
}
