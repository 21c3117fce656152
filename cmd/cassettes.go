package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
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
	c.AddCommand(a.lintCommand(), a.statusCommand(), a.showCommand(), a.diffCommand(), a.exportCommand(), a.importCommand(), a.dropCommand())
	return c
}

func (a *app) lintCommand() *cobra.Command {
	var secret []string
	c := &cobra.Command{
		Use:   "lint PATH...",
		Short: "Search cassettes for secrets and personal data",
		Long: `lint searches cassettes and their sidecars for the values of this environment's
secrets, for the shapes of credentials, and for personal data, in every encoding
that record looks through. Exit code 5 when it finds something. The persons of
cases that were written, not recorded, are made up.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			list, err := loadCassettes(args)
			if err != nil {
				return err
			}
			secrets, err := secretEnv(os.Environ(), secret)
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
			red := cassette.NewRedactor(nil, secrets)
			found := 0
			for _, k := range list {
				leaks, err := red.Scan(k)
				if err != nil {
					return err
				}
				for _, l := range leaks {
					if strings.HasPrefix(k.Meta.Provenance, "written:") && l.Personal() {
						continue // of nobody: whoever wrote the case made it up
					}
					found++
					fmt.Fprintf(a.out, "%s: %s\n", k.Path, l)
				}
				if info, err := os.Stat(k.Path); err == nil && info.Size() > 1<<20 {
					fmt.Fprintf(a.err, "fanfold: %s has %d KiB: a cassette that people review is smaller\n", k.Path, info.Size()>>10)
				}
			}
			if found > 0 {
				fmt.Fprintf(a.err, "fanfold: %d leaks in %d cassettes: record them anew, or take the values out and revoke them\n", found, len(list))
				return outcome(exitFinding)
			}
			fmt.Fprintf(a.err, "fanfold: no leaks in %d cassettes\n", len(list))
			return nil
		},
	}
	c.Flags().StringArrayVar(&secret, "secret", nil, "an environment variable whose value is secret, beyond those whose names say so (repeatable)")
	return c
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
				r := cassetteStatus{Path: k.Path, Interactions: len(k.Interactions), Provenance: k.Meta.Provenance, Date: k.Meta.Date, Tool: k.Meta.Tool, Upstreams: k.Meta.Upstreams}
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
				fmt.Fprintf(a.err, "fanfold: %d of %d cassettes are older than %s, or of unknown age\n", stale, len(list), days(limit))
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
				fmt.Fprintf(a.out, "%s: %d interactions, %s %s\n", k.Path, len(k.Interactions), k.Meta.Provenance, k.Meta.Date)
				for n, i := range k.Interactions {
					fmt.Fprintf(a.out, "%4d  %s %s  %d bytes -> %s, %d bytes, %s\n", n, i.Request.Method, i.Request.URL, len(i.Request.Body), i.Response.Status, len(i.Response.Body), i.Response.Duration.Round(time.Millisecond))
					if body {
						fmt.Fprintf(a.out, "      > %s\n      < %s\n", oneLine(i.Request.Body), oneLine(i.Response.Body))
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

func (a *app) exportCommand() *cobra.Command {
	var asHAR bool
	var out string
	c := &cobra.Command{
		Use:   "export --har CASSETTE",
		Short: "Write a cassette as a HAR file",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !asHAR {
				return usagef("say which form: --har")
			}
			k, err := cassette.Load(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			data, err := k.HAR("fanfold " + a.build.Version)
			if err != nil {
				return err
			}
			data = append(data, '\n')
			if out == "" {
				_, err = a.out.Write(data)
				return err
			}
			return cassette.WriteFile(out, data)
		},
	}
	c.Flags().BoolVar(&asHAR, "har", false, "HAR 1.2, which browsers and proxies read")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write (default standard output)")
	return c
}

func (a *app) importCommand() *cobra.Command {
	var fromHAR, fromV4 bool
	var out string
	var secret []string
	c := &cobra.Command{
		Use:   "import --har|--go-vcr-v4 FILE -o CASSETTE.yaml",
		Short: "Make a cassette of a HAR file or of a go-vcr v3 or v4 cassette",
		Long: `import takes secrets out and searches the result for what is left, as record
does: a cassette that would hold a secret is not written (exit code 5).`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case fromHAR == fromV4:
				return usagef("say what the file is: --har or --go-vcr-v4")
			case !strings.HasSuffix(out, ".yaml") || strings.HasSuffix(out, ".meta.yaml"):
				return usagef("-o has to name the cassette, a file that ends in .yaml")
			}
			if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
				return usagef("%s is there already", out)
			}
			info, err := os.Stat(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			if info.Size() > 512<<20 {
				return usagef("%s has %d bytes, more than a cassette may have", args[0], info.Size())
			}
			data, err := os.ReadFile(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			k := &cassette.Cassette{Path: out, HasMeta: true}
			k.Meta = cassette.Meta{Date: info.ModTime().UTC().Format("2006-01-02"), Tool: "fanfold " + a.build.Version, Upstreams: map[string]string{}}
			var got *cassette.Imported
			if fromHAR {
				k.Meta.Provenance = "imported: HAR"
				got, err = cassette.ImportHAR(data)
			} else {
				k.Meta.Provenance = "imported: go-vcr format 2"
				got, err = cassette.ImportV4(data)
			}
			if err != nil {
				return usagef("%s: %w", args[0], err)
			}
			for _, line := range got.Left {
				fmt.Fprintln(a.err, "fanfold: not imported: "+oneLine(a.secrets.redact(line)))
			}
			k.Interactions = got.Interactions
			if len(k.Interactions) == 0 {
				return usagef("%s holds no conversation", args[0])
			}
			key, err := a.redactionKey(out, true)
			if err != nil {
				return err
			}
			secrets, err := secretEnv(os.Environ(), secret)
			if err != nil {
				return err
			}
			red := cassette.NewRedactor(key, secrets)
			k.Meta.Key = red.Fingerprint()
			for _, i := range k.Interactions {
				red.Interaction(i)
				if u, err := url.Parse(i.Request.URL); err == nil && u.Host != "" {
					name := strings.NewReplacer(".", "_", ":", "_", "-", "_").Replace(u.Host)
					k.Meta.Upstreams[name] = u.Scheme + "://" + u.Host
				}
			}
			err = k.Save(red)
			var leak *cassette.LeakError
			if errors.As(err, &leak) {
				fmt.Fprintln(a.err, "fanfold: "+a.secrets.redact(leak.Error()))
				return outcome(exitFinding)
			}
			if err == nil {
				fmt.Fprintf(a.err, "fanfold: %d interactions in %s\n", len(k.Interactions), out)
			}
			return err
		},
	}
	f := c.Flags()
	f.BoolVar(&fromHAR, "har", false, "the file is HAR 1.2")
	f.BoolVar(&fromV4, "go-vcr-v4", false, "the file is a cassette of go-vcr v3 or v4 (format 2)")
	f.StringVarP(&out, "output", "o", "", "cassette to write")
	f.StringArrayVar(&secret, "secret", nil, "an environment variable whose value is secret (repeatable)")
	return c
}
