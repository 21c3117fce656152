package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
)

func (a *app) configTestCommand() *cobra.Command {
	var form string
	c := &cobra.Command{
		Use: "test", Short: "Run the tests of the configuration: an event in, requests or reasons out", Args: cobra.NoArgs,
		Long: `test has the destinations make requests of the events in tests:, without an account and
without sending anything, and compares them with what is expected. See help config.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.testConfig(c.Context(), form) },
	}
	choiceP(c.Flags(), &form, "output", "o", "json is one line a test", "text", "json", "junit")
	return c
}

// testConfig runs all tests. Settings that are not set are examples.
func (a *app) testConfig(ctx context.Context, form string) error {
	conf, err := a.loadConfig()
	if err != nil {
		return err
	}
	if len(conf.Tests) == 0 {
		return usagef("there are no tests in the configuration (see `fanfold help config`)")
	}
	picked, err := a.choose(conf, config.Choice{Rehearse: true})
	if err != nil {
		return err
	}
	dests, err := a.open(conf, picked, config.OpenOptions{Rehearse: true})
	if err != nil {
		return err
	}
	var trials []config.Trial
	failed := 0
	for _, t := range conf.Tests {
		trial, wrong := conf.Try(ctx, t, dests, a.now())
		if wrong != nil {
			return fmt.Errorf("test %q: %w", t.Name, wrong)
		}
		if len(trial.Findings) > 0 {
			failed++
		}
		trials = append(trials, trial)
	}
	if err = a.printTrials(conf, form, trials); err != nil {
		return err
	}
	if failed > 0 {
		fmt.Fprintf(a.err, "fanfold: %d of %d tests failed\n", failed, len(trials))
		return outcome(exitFinding)
	}
	return nil
}

func (a *app) printTrials(conf *config.File, form string, trials []config.Trial) error {
	suite := junitSuite{Name: "fanfold config test", Tests: len(trials)}
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	for _, t := range trials {
		lines := a.findings(t)
		status := "ok"
		c := junitCase{Class: conf.Path, Name: t.Test.Name, Time: "0.000"}
		if len(lines) > 0 {
			status = "failed"
			suite.Failures++
			c.Failure = &junitMessage{fmt.Sprintf("line %d: %d findings", t.Test.Line, len(lines)), strings.Join(lines, "\n")}
		}
		suite.Cases = append(suite.Cases, c)
		switch form {
		case "json":
			if err := e.Encode(struct {
				Test     string   `json:"test"`
				Line     int      `json:"line"`
				Status   string   `json:"status"`
				Findings []string `json:"findings,omitempty"`
			}{t.Test.Name, t.Test.Line, status, lines}); err != nil {
				return err
			}
		case "text":
			fmt.Fprintf(a.out, "%-6s %s\n", status, t.Test.Name)
			for _, l := range lines {
				fmt.Fprintf(a.out, "%s:%d: %s\n", conf.Path, t.Test.Line, strings.TrimRight(l, "\n"))
			}
		}
	}
	if form == "junit" {
		return writeJUnit(a.out, suite)
	}
	return nil
}

// findings are what a test found, each with its diff below.
func (a *app) findings(t config.Trial) (lines []string) {
	for _, f := range t.Findings {
		line := f.What
		if f.Destination != "" {
			line = f.Destination + ": " + line
		}
		if f.Want != f.Got {
			line += "\n" + string(diff.Diff("expected", []byte(f.Want), "made", []byte(f.Got)))
		}
		lines = append(lines, a.secrets.redact(line))
	}
	return lines
}
