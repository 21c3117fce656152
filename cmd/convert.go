package cmd

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/foreign"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/convert"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/report"
)

func (a *app) exportCommand() *cobra.Command {
	var asHAR, asWireMock bool
	var out string
	c := &cobra.Command{
		Use:   "export --har|--wiremock CASSETTE",
		Short: "Write a cassette as a HAR file or as mappings of WireMock",
		Long: `export writes a cassette for other programs: a HAR 1.2 file, which browsers and
proxies read, or mappings of WireMock, in which a request that came several
times is a scenario.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if asHAR == asWireMock {
				return usagef("say which form: --har or --wiremock")
			}
			k, err := cassette.Load(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			var data []byte
			if asHAR {
				data, err = foreign.HAR(k, "fanfold "+a.build.Version)
				data = append(data, '\n')
			} else {
				data, err = foreign.WireMock(k)
			}
			if err != nil {
				return err
			}
			if out == "" {
				_, err = a.out.Write(data)
				return err
			}
			return cassette.WriteFile(out, data)
		},
	}
	c.Flags().BoolVar(&asHAR, "har", false, "HAR 1.2, which browsers and proxies read")
	c.Flags().BoolVar(&asWireMock, "wiremock", false, "mappings of WireMock")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write (default standard output)")
	return c
}

type importOptions struct {
	convert.Request
	out                   string
	secret, redact, allow []string
}

func (a *app) importCommand() *cobra.Command {
	var o importOptions
	c := &cobra.Command{
		Use:   "import [FORMAT] FILE... -o CASSETTE.yaml",
		Short: "Make a cassette of another program's files",
		Long: `import reads what other programs recorded or were told, by the format's name or
by what is in the files:
` + convert.Formats() + `
Mappings of WireMock may be a folder of them. Secrets are taken out, and the
result is searched for what is left, as record does: a cassette that would hold
a secret is not written (exit code 5). What a file holds that is no request with
its answer is left out, and named.`,
		Example: `  fanfold cassettes import vcrpy tests/cassettes/orders.yaml -o cassettes/shop/orders.yaml
  fanfold cassettes import wiremock mappings/ --base-url https://api.shop.example -o cassettes/shop/all.yaml
  fanfold cassettes import orders.har -o cassettes/shop/orders.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.importFiles(&o, args) },
	}
	f := c.Flags()
	f.BoolVar(&o.HAR, "har", false, "the file is HAR 1.2")
	f.BoolVar(&o.V4, "go-vcr-v4", false, "the file is a cassette of go-vcr v3 or v4 (format 2)")
	f.StringVarP(&o.out, "output", "o", "", "cassette to write")
	f.StringVar(&o.Base, "base-url", "", "the service's address, where the files have paths only (WireMock, Postman)")
	f.StringVar(&o.Bodies, "files", "", "folder of the bodies that mappings of WireMock name")
	f.StringArrayVar(&o.Variables, "var", nil, "NAME=VALUE of a variable in a collection of Postman (repeatable)")
	f.StringArrayVar(&o.secret, "secret", nil, "an environment variable whose value is secret (repeatable)")
	redactionFlags(f, &o.redact, &o.allow)
	return c
}

// importFiles makes one cassette of files.
func (a *app) importFiles(o *importOptions, args []string) error {
	if !strings.HasSuffix(o.out, ".yaml") || strings.HasSuffix(o.out, ".meta.yaml") {
		return usagef("-o has to name the cassette, a file that ends in .yaml")
	}
	if _, err := os.Stat(o.out); !errors.Is(err, fs.ErrNotExist) {
		return usagef("%s is there already", o.out)
	}
	o.Args = args
	o.Left = func(path, what string) {
		a.sayf("not imported: %s: %s", path, report.OneLine(a.secrets.redact(what)))
	}
	k := &cassette.Cassette{Path: o.out, Meta: cassette.Meta{Tool: "fanfold " + a.build.Version}}
	if err := o.Do(k); err != nil {
		return &usageError{err}
	}
	return a.saveImported(k, o)
}

// saveImported redacts a cassette and writes it.
func (a *app) saveImported(k *cassette.Cassette, o *importOptions) error {
	key, err := a.redactionKey(k.Path, true)
	if err != nil {
		return err
	}
	secrets, err := a.secretEnv(o.secret)
	if err != nil {
		return err
	}
	red, err := a.redactor(key, secrets, o.redact, o.allow)
	if err != nil {
		return err
	}
	k.Meta.Key = red.Fingerprint()
	for _, i := range k.Interactions {
		red.Interaction(i)
	}
	convert.Upstreams(k)
	if err := a.save(k, red); err != nil {
		return err
	}
	a.sayf("%s in %s", printable.Count(len(k.Interactions), "interaction"), k.Path)
	return nil
}

// save writes a cassette, unless it would hold a secret.
func (a *app) save(k *cassette.Cassette, red *redact.Redactor) error {
	err := k.Save(red)
	var leak *redact.LeakError
	if errors.As(err, &leak) {
		a.say(a.secrets.redact(leak.Error()))
		return outcome(exitFinding)
	}
	return err
}
