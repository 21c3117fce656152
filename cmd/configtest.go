package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/trial"
)

func (a *app) configTestCommand() *cobra.Command {
	var form string
	c := &cobra.Command{
		Use: "test", Short: "Run the tests of the configuration: an event in, requests or reasons out", Args: cobra.NoArgs,
		Long: `test has the destinations make requests of the events in tests:, without an account and
without sending anything, and compares them with what is expected. See help config.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.testConfig(c.Context(), form) },
	}
	flagvalue.Output(c.Flags(), &form, "json is one line a test", "text", "json", "junit")
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
	suppressed, err := a.suppression(conf)
	if err != nil {
		return err
	}
	var results []trial.Result
	failed := 0
	for _, t := range conf.Tests {
		result, wrong := trial.Try(ctx, conf.Pipeline, t, dests, suppressed, a.now())
		if wrong != nil {
			return fmt.Errorf("test %q: %w", t.Name, wrong)
		}
		if len(result.Findings) > 0 {
			failed++
		}
		for _, name := range result.Left {
			a.sayf("test %q: what is expected of %s is passed over: profile %s has no such destination", t.Name, name, a.profile)
		}
		results = append(results, result)
	}
	if err = report.Trials(a.out, conf.Path, form, results, a.secrets.redact); err != nil {
		return err
	}
	if failed > 0 {
		a.sayf("%d of %d tests failed", failed, len(results))
		return outcome(exitFinding)
	}
	return nil
}
