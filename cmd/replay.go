package cmd

import (
	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/recording"
)

func (a *app) replayCommand() *cobra.Command {
	var o recording.ReplayOptions
	c := &cobra.Command{
		Use:   "replay CASSETTE... -- COMMAND",
		Short: "Answer a program from cassettes, never from the network",
		Long: `replay answers requests from cassettes: for one command, which finds the partners
where record put them, or with --listen for any program until Ctrl-C, after a
line of JSON that says where. A folder stands for all the cassettes below it.

A request that is not in the cassette is answered with status 501 and makes the
run exit with code 5; the nearest recorded requests are shown, with what is
different. See help cassettes.`,
		Example: `  fanfold replay cassettes/shop/order.yaml -- npm test
  fanfold replay cassettes/ --listen 127.0.0.1:8089
  fanfold replay verify cassettes/mixpanel`,
		Args:        cobra.ArbitraryArgs,
		Annotations: inOrder(),
		RunE: func(c *cobra.Command, args []string) error {
			files, command := args, []string(nil)
			if n := c.ArgsLenAtDash(); n >= 0 {
				files, command = args[:n], args[n:]
			}
			return codeOfRecording(a.recordings().Replay(c.Context(), &o, files, command))
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.To, "to", nil, "a partner: NAME=URL, instead of those that the cassettes name (repeatable)")
	f.StringVar(&o.Listen, "listen", "", "serve here until Ctrl-C; port 0 chooses one")
	f.BoolVar(&o.TLS, "tls", false, "serve HTTPS, with a certificate of an authority made for this run")
	f.BoolVar(&o.Proxy, "proxy", false, "serve as a proxy, too (cassettes recorded through one say so)")
	f.StringVar(&o.Admin, "admin", "", "address for questions: /requests, /unmatched, /unused, and POST /reset")
	f.StringArrayVar(&o.Ignore, "ignore", nil, "a part of requests that may differ (repeatable; see help cassettes)")
	redactionFlags(f, &o.Redact, &o.Allow)
	f.StringArrayVar(&o.Headers, "match-header", nil, "a header that has to be the same (repeatable)")
	f.BoolVar(&o.Exact, "exact", false, "compare the times and message ids of events, too")
	f.StringVar(&o.Repeat, "repeat", "error", "when a request comes more often than it was recorded: error, last or cycle")
	f.BoolVar(&o.FailUnused, "fail-unused", false, "fail when an interaction was not used")
	f.StringVar(&o.Latency, "latency", "none", "none, recorded, or a factor like 0.5")
	f.StringVar(&o.Case, "case", "", "answer from this one of the cassettes")
	f.StringVar(&o.Chaos, "chaos", "", "file that says which requests go wrong, and how (see help cassettes)")
	f.Uint64Var(&o.Seed, "seed", 0, "for --chaos: the same seed and requests give the same faults")
	f.StringVar(&o.Report, "report", "", "write what was used, unused and missed to this file, as JSON")
	f.StringVar(&o.Propose, "propose", "",
		"write the rules under which what was missed would match to this file, ready for the sidecar")
	c.AddCommand(a.verifyCommand())
	return c
}
