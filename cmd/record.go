package cmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/recording"
)

func (a *app) recordCommand() *cobra.Command {
	var o recording.RecordOptions
	c := &cobra.Command{
		Use:   "record --cassette FILE --to NAME=URL -- COMMAND",
		Short: "Record what a program says to partners, as a cassette without secrets",
		Long: `record runs a program and keeps its conversations with partners in a cassette,
from which replay answers. The program finds each partner under an address of
our own, in the environment variable <NAME>_BASE_URL; or, with --proxy, it sends
everything through a proxy. fanfold's own commands need neither.

Secrets are replaced before anything is written, and the result is searched for
what may be left: a cassette that would hold a secret is not written. See help
cassettes.`,
		Example: `  fanfold record --to shop=https://api.shop.example --cassette cassettes/shop/order.yaml -- npm test
  fanfold record --proxy --allow api.shop.example --cassette cassettes/shop/order.yaml -- pytest
  fanfold record --cassette cassettes/mixpanel/first.yaml -- fanfold forward --from events.jsonl --to mixpanel`,
		Args:        cobra.ArbitraryArgs,
		Annotations: inOrder(),
		RunE: func(c *cobra.Command, args []string) error {
			return codeOfRecording(a.recordings().Record(c.Context(), &o, args))
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.To, "to", nil, "a partner: NAME=URL (repeatable)")
	f.StringVar(&o.Cassette, "cassette", "", "file to write")
	f.StringVar(&o.Mode, "mode", "", "once: record when the cassette is missing; new: add what is missing; "+
		"all: anew; none: never go live (default once; none in CI)")
	f.StringVar(&o.Listen, "listen", "", "serve the one partner here, until Ctrl-C when there is no command")
	f.BoolVar(&o.Proxy, "proxy", false, "record through a proxy, HTTPS too")
	f.StringArrayVar(&o.Allow, "allow", nil,
		"with --proxy, a host to record, or a pattern like *.shop.example, the rest passes by; "+
			"else, and beside that, "+allowUsage)
	f.StringArrayVar(&o.Secret, "secret", nil,
		"an environment variable whose value is secret, beyond those whose names say so (repeatable)")
	f.StringArrayVar(&o.Ignore, "ignore", nil,
		"a part of requests that may differ at replay (repeatable; see help cassettes)")
	redactFlag(f, &o.Redact)
	f.BoolVar(&o.Exact, "exact", false, "compare the times and message ids of events, too")
	f.StringVar(&o.UpstreamCA, "upstream-ca", "", "file of certificates to trust at partners, beside the system's")
	f.StringVar(&o.MaxBody, "max-body", "8MiB", "larger bodies are passed on and not recorded")
	f.BoolVar(&o.KeepOnError, "keep-on-error", false, "write the cassette though the command failed")
	f.BoolVar(&o.Resume, "resume", false, "go on from what an interrupted recording left")
	return c
}

// recordings is what recording and replaying need of the outside world.
func (a *app) recordings() *recording.World {
	return &recording.World{
		Version: a.build.Version, Now: a.now, Env: a.env, Say: a.say, Hide: a.secrets.redact, Key: a.redactionKey,
		Secrets: a.secretEnv, Redactor: a.redactor, Serve: a.serve, Ours: isOurs, Own: a.ownRun,
	}
}

// codeOfRecording makes an exit code of how a recording or a replay ended.
func codeOfRecording(err error) error {
	var child *recording.ChildError
	switch {
	case errors.Is(err, recording.ErrFinding):
		return outcome(exitFinding)
	case errors.As(err, &child):
		return outcome(child.Code)
	}
	return err
}

// ownRun runs one of fanfold's own commands in this process, on the wire.
func (a *app) ownRun(ctx context.Context, w *recording.Wire, args []string) int {
	b := &app{
		build: a.build, in: a.in, disk: a.disk, schemes: a.schemes, out: a.out, err: a.err, env: a.env, now: a.now,
		catalogue: a.catalogue, wire: w, interrupts: a.interrupts,
	}
	return b.execute(ctx, args[1:])
}
