package cmd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/pkg/api"
	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/report"
)

func (a *app) destinationTestCommand() *cobra.Command {
	var form string
	var update bool
	c := &cobra.Command{
		Use: "test FILE", Short: "Test the description of an HTTP API with its cases", Args: cobra.ExactArgs(1),
		Long: `test holds the description in FILE (` + "`api: FILE`" +
			` of a destination of type http) against the cases beside it, as
the catalogue is tested, without an account and without a network: OWN.cases.yaml has events and answers, OWN.requests.jsonl
what is sent for them and what becomes of each, and OWN.contract.yaml what the API asks of requests. Refused credentials,
rate limits, requests and events that are too large, events of nobody and of people who opted out are tested without being
written down. See help http.`,
		RunE: func(_ *cobra.Command, args []string) error { return a.testDestination(args[0], form, update) },
	}
	flagvalue.Output(c.Flags(), &form, "json is one line a case", "text", "json", "junit")
	c.Flags().BoolVar(&update, "update", false, "write what is sent for all cases to OWN.requests.jsonl")
	return c
}

// testDestination tries all cases of a description.
func (a *app) testDestination(path, form string, update bool) error {
	d, wrong := a.world().API(path, strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	if len(wrong) > 0 {
		return &usageError{errors.Join(wrong...)}
	}
	shared, err := casebook.Standard(cassettes.Standard())
	if err != nil {
		return err
	}
	anything, err := api.StandIn(d)
	if err != nil {
		return err
	}
	book, files := &casebook.Book{Destination: d, Standard: shared}, casebook.Beside(path)
	notes, err := book.Open(files, a.world().ReadFile, anything)
	if err != nil {
		return &usageError{err}
	}
	for _, note := range notes {
		a.sayf("%s", note)
	}
	results := book.Try(update)
	if err := report.Cases(a.out, path, form, results); err != nil {
		return err
	}
	if update && len(book.Cases) > 0 {
		if err := os.WriteFile(files.Requests, casebook.Lines(book.Cases), 0o644); err != nil {
			return err
		}
	}
	failed := 0
	for _, r := range results {
		if len(r.Findings) > 0 {
			failed++
		}
	}
	if failed > 0 {
		a.sayf("%d of %s failed", failed, printable.Count(len(results), "case"))
		return outcome(exitFinding)
	}
	return nil
}
