package cmd

import (
	"context"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/recording"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/verify"
)

type verifyOptions struct {
	live, unsafe bool
	output       string
	sets         []string
	headers      []string
	upstreamCA   string
}

func (a *app) verifyCommand() *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Compare today's code, or the live partner, with what was recorded",
		Long: `verify sends the events that are stored with a case through today's destination
code: the requests have to be the recorded ones, and the answers have to mean
what they meant. The folder's name says which destination.

With --live only the answers are compared with the recording: the events are sent
to the real partner, with the settings of the configuration, --set and the
environment, and status and shape of the answers have to be as recorded. A
cassette without events is sent as it was recorded: GET and HEAD, or with
--allow-unsafe everything. Exit code 5 when something differs.`,
		Example: `  fanfold replay verify cassettes/mixpanel
  fanfold replay verify cassettes/ -o junit > report.xml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.verify(c.Context(), &o, args) },
	}
	f := c.Flags()
	f.BoolVar(&o.live, "live", false, "ask the real partner")
	f.BoolVar(&o.unsafe, "allow-unsafe", false, "with --live, send recorded requests that change something, too")
	flagvalue.Output(f, &o.output, "json is one line a cassette", "text", "json", "junit")
	f.StringArrayVar(&o.sets, "set", nil, "with --live, a setting: SLUG.KEY=VALUE, as for forward (repeatable)")
	f.StringArrayVar(&o.headers, "header", nil,
		"with --live, a header for recorded requests: NAME=env:VARIABLE (repeatable)")
	f.StringVar(&o.upstreamCA, "upstream-ca", "", "with --live, file of certificates to trust beside the system's")
	return c
}

func (a *app) verify(ctx context.Context, o *verifyOptions, args []string) error {
	list, err := recording.Load(args)
	if err != nil {
		return err
	}
	if !o.live && (o.unsafe || o.upstreamCA != "" || len(o.sets)+len(o.headers) > 0) {
		return usagef("--set, --header, --allow-unsafe and --upstream-ca say how partners are asked: they need --live")
	}
	v := &verify.Verifier{Catalogue: a.catalogue, UserAgent: "fanfold/" + a.build.Version, Now: a.now}
	if o.live {
		if v.Live, err = a.live(o); err != nil {
			return err
		}
	}
	var out []verify.Result
	drift := 0
	for _, k := range list {
		r, err := v.Cassette(ctx, k)
		if err != nil {
			return err
		}
		if r.Status == verify.Drift {
			drift++
		}
		for n := range r.Findings {
			r.Findings[n] = a.secrets.redact(r.Findings[n])
		}
		out = append(out, r)
	}
	if err := report.Verified(a.out, o.output, out); err != nil {
		return err
	}
	if drift > 0 {
		a.sayf("%d of %d cassettes differ", drift, len(list))
		return outcome(exitFinding)
	}
	return nil
}

// live is how the partners themselves are asked: with the settings of this
// configuration.
func (a *app) live(o *verifyOptions) (l *verify.Live, err error) {
	l = &verify.Live{Header: http.Header{}, Unsafe: o.unsafe}
	if l.Network, err = recording.LiveNetwork(o.upstreamCA); err != nil {
		return nil, err
	}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, "=")
		variable, isEnv := strings.CutPrefix(value, "env:")
		secret, found := a.env(variable)
		if !ok || !isEnv || !found {
			return nil, usagef("--header has to be NAME=env:VARIABLE, with a variable that is set: %q", name)
		}
		a.secrets.add(secret)
		l.Header.Set(name, secret)
	}
	l.Settings = func(slug string, c destination.Config) (destination.Config, error) {
		conf, err := a.loadConfig()
		if err != nil {
			return c, err
		}
		picked, err := a.choose(conf, config.Choice{To: []string{slug}, Set: o.sets})
		if err != nil {
			return c, err
		}
		as := func(o *config.Opened) {
			o.Config.Presets, o.Config.Actions = c.Presets, c.Actions
			c = o.Config
		}
		_, err = a.open(conf, picked, config.OpenOptions{Edit: as})
		return c, err
	}
	return l, nil
}
