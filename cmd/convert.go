package cmd

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/convert"
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
				data, err = k.HAR("fanfold " + a.build.Version)
				data = append(data, '\n')
			} else {
				data, err = k.WireMock()
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
	rules          redactionFlags
	har, v4        bool
	out, base, dir string
	secret, vars   []string
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
	f.BoolVar(&o.har, "har", false, "the file is HAR 1.2")
	f.BoolVar(&o.v4, "go-vcr-v4", false, "the file is a cassette of go-vcr v3 or v4 (format 2)")
	f.StringVarP(&o.out, "output", "o", "", "cassette to write")
	f.StringVar(&o.base, "base-url", "", "the service's address, where the files have paths only (WireMock, Postman)")
	f.StringVar(&o.dir, "files", "", "folder of the bodies that mappings of WireMock name")
	f.StringArrayVar(&o.vars, "var", nil, "NAME=VALUE of a variable in a collection of Postman (repeatable)")
	f.StringArrayVar(&o.secret, "secret", nil, "an environment variable whose value is secret (repeatable)")
	o.rules.add(f)
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
	format, files, err := o.format(args)
	if err != nil {
		return err
	}
	r := convert.Reader{Format: format, Left: func(path, what string) {
		a.sayf("not imported: %s: %s", path, report.OneLine(a.secrets.redact(what)))
	}}
	if r.Options, err = o.importOptions(); err != nil {
		return err
	}
	k := &cassette.Cassette{Path: o.out, HasMeta: true, Meta: cassette.Meta{Tool: "fanfold " + a.build.Version}}
	for _, path := range files {
		if err := r.Add(k, path); err != nil {
			return &usageError{err}
		}
	}
	if len(k.Interactions) == 0 {
		return usagef("%s holds no conversation", strings.Join(args, ", "))
	}
	return a.saveImported(k, o.secret, &o.rules)
}

// format finds the format that is asked for, "" for none, and the files.
func (o *importOptions) format(args []string) (format string, files []string, err error) {
	switch {
	case o.har && o.v4:
		return "", nil, usagef("say what the file is: --har or --go-vcr-v4")
	case o.har:
		format = "har"
	case o.v4:
		format = "go-vcr-v4"
	case len(args) > 1 && convert.Known(args[0]):
		format, args = args[0], args[1:]
	}
	if files, err = convert.Files(args); err == nil {
		return format, files, nil
	}
	if _, wrong := os.Stat(args[0]); wrong != nil && len(args) > 1 {
		if _, wrong := os.Stat(args[len(args)-1]); wrong == nil {
			return "", nil, usagef("there is no file and no format %s; the formats are\n%s", args[0], convert.Formats())
		}
	}
	return "", nil, &usageError{err}
}

func (o *importOptions) importOptions() (cassette.ImportOptions, error) {
	opts := cassette.ImportOptions{Base: o.base, Variables: map[string]string{}}
	if o.base != "" {
		if _, err := cassette.ParseUpstream("x=" + o.base); err != nil {
			return opts, usagef("--base-url has to be like https://api.shop.example, not %q", o.base)
		}
	}
	for _, v := range o.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return opts, usagef("--var has to be NAME=VALUE, not %q", v)
		}
		opts.Variables[name] = value
	}
	if o.dir != "" {
		var err error
		if opts.File, err = convert.Folder(o.dir); err != nil {
			return opts, usagef("--files: %w", err)
		}
	}
	return opts, nil
}

// saveImported redacts a cassette and writes it.
func (a *app) saveImported(k *cassette.Cassette, secret []string, rules *redactionFlags) error {
	key, err := a.redactionKey(k.Path, true)
	if err != nil {
		return err
	}
	secrets, err := a.secretEnv(secret)
	if err != nil {
		return err
	}
	red, err := a.redactor(key, secrets, rules)
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
	a.sayf("%d interactions in %s", len(k.Interactions), k.Path)
	return nil
}

// save writes a cassette, unless it would hold a secret.
func (a *app) save(k *cassette.Cassette, red *cassette.Redactor) error {
	err := k.Save(red)
	var leak *cassette.LeakError
	if errors.As(err, &leak) {
		a.say(a.secrets.redact(leak.Error()))
		return outcome(exitFinding)
	}
	return err
}
