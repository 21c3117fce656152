package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/recording"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/verify"
)

func (a *app) cassettesCommand() *cobra.Command {
	return group("cassettes", "Check, show, compare and convert cassettes", a.lintCommand(), a.statusCommand(),
		a.showCommand(), a.diffCommand(), a.exportCommand(), a.importCommand(), a.dropCommand(), a.browseCommand())
}

func (a *app) lintCommand() *cobra.Command {
	var secret []string
	var redact, allow []string
	c := &cobra.Command{
		Use:   "lint PATH...",
		Short: "Search cassettes for secrets and personal data",
		Long: `lint searches files for the values of this environment's secrets, for the shapes of
credentials, and for personal data, in every encoding that record looks through: in
cassettes and their sidecars, in comments and in members that no cassette has, in
what interrupted recordings left, and in the cassettes of other programs (YAML,
JSON, HAR). Exit code 5 when it finds something. The persons of cases that were
written, not recorded, are made up.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.lint(args, secret, redact, allow) },
	}
	c.Flags().StringArrayVar(&secret, "secret", nil,
		"an environment variable whose value is secret, beyond those whose names say so (repeatable)")
	redactionFlags(c.Flags(), &redact, &allow)
	return c
}

func (a *app) lint(args, secret, also, allow []string) error {
	paths, err := cassette.FindFiles(args)
	if err != nil {
		return usagef("%w", err)
	}
	if len(paths) == 0 {
		return usagef("there is nothing to search in %s: no .yaml, .yml, .json, .har or .jsonl file",
			strings.Join(args, ", "))
	}
	secrets, err := a.secretEnv(secret)
	if err != nil {
		return err
	}
	for _, d := range a.catalogue.All() { // with which its cases are written
		for _, f := range d.Settings.Fields {
			if f.Secret && f.Example != "" {
				secrets = append(secrets, redact.Secret{Name: d.Info.Slug + "." + f.Key, Value: f.Example, Example: f.Example})
			}
		}
	}
	red, err := a.redactor(nil, secrets, also, allow)
	if err != nil {
		return err
	}
	found := 0
	for _, path := range paths {
		scan, err := cassette.ScanFile(red, path)
		if err != nil {
			return err
		}
		for _, l := range scan.Leaks {
			if scan.Written && l.Personal() {
				continue // of nobody: whoever wrote the case made it up
			}
			found++
			fmt.Fprintf(a.out, "%s: %s\n", path, l)
		}
		if scan.Bytes > 1<<20 {
			a.sayf("%s has %d KiB: that is too much to review", path, scan.Bytes>>10)
		}
	}
	if found > 0 {
		a.sayf("%s in %s: record them anew, or take the values out and revoke them", printable.Count(found, "leak"),
			printable.Count(len(paths), "file"))
		return outcome(exitFinding)
	}
	a.sayf("no leaks in %s", printable.Count(len(paths), "file"))
	return nil
}

func (a *app) statusCommand() *cobra.Command {
	var maxAge, output string
	c := &cobra.Command{
		Use:   "status PATH...",
		Short: "Show where cassettes come from and how old they are",
		Long: `status shows each cassette's interactions, size, provenance and age. With
--max-age it exits with code 5 when one is older, or of unknown age: what
partners answer changes.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			list, err := recording.Load(args)
			if err != nil {
				return err
			}
			return a.status(list, maxAge, output)
		},
	}
	c.Flags().StringVar(&maxAge, "max-age", "", "fail when a cassette is older, like 90d")
	flagvalue.Output(c.Flags(), &output, "json is one line a cassette", "text", "json")
	return c
}

func (a *app) status(list []*cassette.Cassette, maxAge, output string) error {
	limit, err := 90*24*time.Hour, error(nil)
	if maxAge != "" {
		if limit, err = flagvalue.Age(maxAge); err != nil {
			return usagef("--max-age: %w", err)
		}
	}
	stale := 0
	var ages []verify.Age
	for _, k := range list {
		age := verify.AgeOf(k, a.now(), limit, maxAge != "")
		if age.Stale {
			stale++
		}
		ages = append(ages, age)
	}
	if output == "json" {
		for _, age := range ages {
			if err := report.JSON(a.out, age); err != nil {
				return err
			}
		}
	} else if err := report.Ages(a.out, ages); err != nil {
		return err
	}
	if stale > 0 {
		a.sayf("%d of %d cassettes are older than %s, or of unknown age", stale, len(list), report.Duration(limit))
		if maxAge != "" {
			return outcome(exitFinding)
		}
	}
	return nil
}

func (a *app) showCommand() *cobra.Command {
	var body bool
	c := &cobra.Command{
		Use:   "show PATH...",
		Short: "Show what is in cassettes",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			list, err := recording.Load(args)
			if err != nil {
				return err
			}
			for _, k := range list {
				report.Cassette(a.out, k, body)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&body, "body", false, "show the bodies")
	return c
}

func (a *app) diffCommand() *cobra.Command {
	var ignore []string
	var exact bool
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare two cassettes, interaction by interaction",
		Long: `diff compares requests field by field, and answers by status and by the shape of
their JSON. Exit code 5 when they differ.`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := match.New(match.Options{Ignore: ignore, Exact: exact})
			if err != nil {
				return usagef("--ignore: %w", err)
			}
			var k [2]*cassette.Cassette
			for n, path := range args {
				if k[n], err = cassette.Load(path); err != nil {
					return usagef("%w", err)
				}
			}
			found := report.Diff(a.out, m, k[0], k[1])
			if found > 0 {
				a.sayf("%d interactions differ", found)
				return outcome(exitFinding)
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&ignore, "ignore", nil, "a part of requests that may differ (repeatable)")
	c.Flags().BoolVar(&exact, "exact", false, "compare the times and message ids of events, too")
	return c
}
