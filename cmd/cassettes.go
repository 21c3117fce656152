package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/cassette"
)

func (a *app) cassettesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cassettes",
		Short: "Check, show, compare and convert cassettes",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.lintCommand(), a.statusCommand(), a.showCommand(), a.diffCommand(), a.exportCommand(),
		a.importCommand(), a.dropCommand(), a.browseCommand())
	return c
}

func (a *app) lintCommand() *cobra.Command {
	var secret []string
	var rules redactionFlags
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
		RunE: func(_ *cobra.Command, args []string) error { return a.lint(args, secret, &rules) },
	}
	c.Flags().StringArrayVar(&secret, "secret", nil,
		"an environment variable whose value is secret, beyond those whose names say so (repeatable)")
	rules.add(c.Flags())
	return c
}

func (a *app) lint(args, secret []string, rules *redactionFlags) error {
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
	for _, d := range a.catalogue() { // with which its cases are written
		for _, f := range d.Settings.Fields {
			if f.Secret && f.Example != "" {
				secrets = append(secrets, cassette.Secret{Name: d.Info.Slug + "." + f.Key, Value: f.Example, Example: f.Example})
			}
		}
	}
	red, err := a.redactor(nil, secrets, rules)
	if err != nil {
		return err
	}
	found := 0
	for _, path := range paths {
		scan, err := red.ScanFile(path)
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
			fmt.Fprintf(a.err, "fanfold: %s has %d KiB: a cassette that people review is smaller\n", path, scan.Bytes>>10)
		}
	}
	if found > 0 {
		fmt.Fprintf(a.err, "fanfold: %d leaks in %d files: record them anew, or take the values out and revoke them\n", found,
			len(paths))
		return outcome(exitFinding)
	}
	fmt.Fprintf(a.err, "fanfold: no leaks in %d files\n", len(paths))
	return nil
}

// cassetteStatus is one line of status.
type cassetteStatus struct {
	Path         string            `json:"path"`
	Interactions int               `json:"interactions"`
	Bytes        int64             `json:"bytes"`
	Provenance   string            `json:"provenance"`
	Date         string            `json:"date"`
	AgeDays      *int              `json:"age_days"`
	Stale        bool              `json:"stale"`
	Tool         string            `json:"tool,omitempty"`
	Upstreams    map[string]string `json:"upstreams,omitempty"`
	Interrupted  bool              `json:"interrupted,omitempty"`
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
			limit := 90 * 24 * time.Hour
			if maxAge != "" {
				days, ok := strings.CutSuffix(maxAge, "d")
				d, err := time.ParseDuration(days + "h")
				if !ok || err != nil {
					if d, err = time.ParseDuration(maxAge); err != nil {
						return usagef("--max-age has to be a duration like 90d, not %q", maxAge)
					}
				} else {
					d *= 24
				}
				limit = d
			}
			list, err := loadCassettes(args)
			if err != nil {
				return err
			}
			stale := 0
			var rows []cassetteStatus
			for _, k := range list {
				r := cassetteStatus{Path: k.Path, Interactions: len(k.Interactions), Provenance: k.Meta.Provenance,
					Date: k.Meta.Date, Tool: k.Meta.Tool, Upstreams: k.Meta.Upstreams}
				if info, err := os.Stat(k.Path); err == nil {
					r.Bytes = info.Size()
				}
				if age, ok := k.Meta.Age(a.now()); ok {
					days := int(age / (24 * time.Hour))
					r.AgeDays, r.Stale = &days, age > limit
				} else {
					r.Stale = maxAge != "" // nobody knows that it is not
				}
				if _, err := os.Stat(strings.TrimSuffix(k.Path, ".yaml") + ".partial.jsonl"); err == nil {
					r.Interrupted = true
				}
				if r.Stale {
					stale++
				}
				rows = append(rows, r)
			}
			if output == "json" {
				for _, r := range rows {
					e := json.NewEncoder(a.out)
					e.SetEscapeHTML(false)
					if err := e.Encode(r); err != nil {
						return err
					}
				}
			} else if err := statusTable(a, rows); err != nil {
				return err
			}
			if stale > 0 {
				fmt.Fprintf(a.err, "fanfold: %d of %d cassettes are older than %s, or of unknown age\n", stale,
					len(list), days(limit))
				if maxAge != "" {
					return outcome(exitFinding)
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&maxAge, "max-age", "", "fail when a cassette is older, like 90d")
	choiceP(c.Flags(), &output, "output", "o", "json is one line a cassette", "table", "json")
	return c
}

func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

func statusTable(a *app, rows []cassetteStatus) error {
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "CASSETTE\tINTERACTIONS\tBYTES\tAGE\tPROVENANCE")
	for _, r := range rows {
		age := "unknown"
		if r.AgeDays != nil {
			age = fmt.Sprintf("%d days", *r.AgeDays)
		}
		if r.Stale {
			age += ", stale"
		}
		from := r.Provenance
		if from == "" {
			from = "unknown"
		}
		if r.Interrupted {
			from += " (an interrupted recording lies beside it)"
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\n", r.Path, r.Interactions, r.Bytes, age, from)
	}
	return t.Flush()
}

func (a *app) showCommand() *cobra.Command {
	var body bool
	c := &cobra.Command{
		Use:   "show PATH...",
		Short: "Show what is in cassettes",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			list, err := loadCassettes(args)
			if err != nil {
				return err
			}
			for _, k := range list {
				fmt.Fprintf(a.out, "%s: %d interactions, %s %s\n", k.Path, len(k.Interactions), k.Meta.Provenance,
					k.Meta.Date)
				for n, i := range k.Interactions {
					fmt.Fprintf(a.out, "%4d  %s %s  %d bytes -> %s, %d bytes, %s\n", n, i.Request.Method,
						i.Request.URL, len(i.Request.Body), i.Response.Status, len(i.Response.Body),
						i.Response.Duration.Round(time.Millisecond))
					if body {
						fmt.Fprintf(a.out, "      > %s\n      < %s\n", oneLine(i.Request.Body),
							oneLine(i.Response.Body))
					}
				}
				for _, d := range k.Meta.Details {
					fmt.Fprintf(a.out, "%4d  is %s\n", d.Interaction, d.String())
				}
				for _, f := range k.Meta.Failures {
					fmt.Fprintf(a.out, "   -  %s %s: no answer: %s\n", f.Method, f.URL, f.Error)
				}
				for _, f := range k.Meta.Unrecorded {
					fmt.Fprintf(a.out, "   -  %s\n", f)
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&body, "body", false, "show the bodies")
	return c
}

// oneLine shows a body so that a terminal stays as it is.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return ' '
		}
		return r
	}, s)
	if len(s) > 2000 {
		return s[:2000] + "…"
	}
	return s
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
			m, err := cassette.NewMatching(ignore, exact)
			if err != nil {
				return usagef("--ignore: %w", err)
			}
			var k [2]*cassette.Cassette
			for n, path := range args {
				if k[n], err = cassette.Load(path); err != nil {
					return usagef("%w", err)
				}
			}
			found := 0
			old, now := k[0].Interactions, k[1].Interactions
			for n := range max(len(old), len(now)) {
				switch {
				case n >= len(now):
					found++
					fmt.Fprintf(a.out, "- %d %s %s\n", n, old[n].Request.Method, old[n].Request.URL)
				case n >= len(old):
					found++
					fmt.Fprintf(a.out, "+ %d %s %s\n", n, now[n].Request.Method, now[n].Request.URL)
				default:
					ds := m.CompareInteractions(old[n], now[n])
					if len(ds) > 0 {
						found++
						fmt.Fprintf(a.out, "! %d %s %s\n", n, old[n].Request.Method, old[n].Request.URL)
						for _, d := range ds {
							fmt.Fprintf(a.out, "    %s: %s -> %s\n", d.Path, d.Recorded, d.Sent)
						}
					}
				}
			}
			if found > 0 {
				fmt.Fprintf(a.err, "fanfold: %d interactions differ\n", found)
				return outcome(exitFinding)
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&ignore, "ignore", nil, "a part of requests that may differ (repeatable)")
	c.Flags().BoolVar(&exact, "exact", false, "compare the times and message ids of events, too")
	return c
}
