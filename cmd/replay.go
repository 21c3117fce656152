package cmd

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/keyring"
	"github.com/fanfold/fanfold/pkg/listen"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/standin"
)

type replayOptions struct {
	to, ignore, headers   []string
	listen, admin         string
	latency, repeat       string
	chaos, name, report   string
	propose               string
	seed                  uint64
	failUnused, tls       bool
	exact, proxy, proxied bool
	child                 bool // a command ran, and was to send something
	rules                 redactionFlags
}

func (a *app) replayCommand() *cobra.Command {
	var o replayOptions
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
			return a.replay(c.Context(), &o, files, command)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.to, "to", nil, "a partner: NAME=URL, instead of those that the cassettes name (repeatable)")
	f.StringVar(&o.listen, "listen", "", "serve here until Ctrl-C; port 0 chooses one")
	f.BoolVar(&o.tls, "tls", false, "serve HTTPS, with a certificate of an authority made for this run")
	f.BoolVar(&o.proxy, "proxy", false, "serve as a proxy, too (cassettes recorded through one say so)")
	f.StringVar(&o.admin, "admin", "", "address for questions: /requests, /unmatched, /unused, and POST /reset")
	f.StringArrayVar(&o.ignore, "ignore", nil, "a part of requests that may differ (repeatable; see help cassettes)")
	o.rules.add(f)
	f.StringArrayVar(&o.headers, "match-header", nil, "a header that has to be the same (repeatable)")
	f.BoolVar(&o.exact, "exact", false, "compare the times and message ids of events, too")
	f.StringVar(&o.repeat, "repeat", "error", "when a request comes more often than it was recorded: error, last or cycle")
	f.BoolVar(&o.failUnused, "fail-unused", false, "fail when an interaction was not used")
	f.StringVar(&o.latency, "latency", "none", "none, recorded, or a factor like 0.5")
	f.StringVar(&o.name, "case", "", "answer from this one of the cassettes")
	f.StringVar(&o.chaos, "chaos", "", "file that says which requests go wrong, and how (see help cassettes)")
	f.Uint64Var(&o.seed, "seed", 0, "for --chaos: the same seed and requests give the same faults")
	f.StringVar(&o.report, "report", "", "write what was used, unused and missed to this file, as JSON")
	f.StringVar(&o.propose, "propose", "",
		"write the rules under which what was missed would match to this file, ready for the sidecar")
	c.AddCommand(a.verifyCommand())
	return c
}

// propose writes rules for what was missed, or says how to get them.
func (a *app) propose(p *cassette.Replayer, path string, missed int) error {
	if missed == 0 {
		return nil
	}
	if path == "" {
		a.say("--propose FILE writes the rules under which they would match")
		return nil
	}
	rules, err := p.Propose()
	if err != nil {
		return err
	}
	data, err := rules.YAML()
	if err != nil {
		return err
	}
	a.sayf("%d rules in %s make %d of %d missed requests match", len(rules.Ignore), path,
		rules.Matched, rules.Missed)
	return cassette.WriteFile(path, data)
}

// loadCassettes reads the files that arguments mean.
func loadCassettes(args []string) ([]*cassette.Cassette, error) {
	if len(args) == 0 {
		return nil, usagef("name a cassette, or a folder with some")
	}
	paths, err := cassette.Find(args)
	if err != nil {
		return nil, usagef("%w", err)
	}
	var list []*cassette.Cassette
	for _, p := range paths {
		c, err := cassette.Load(p)
		if err != nil {
			return nil, usagef("%w", err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, usagef("there is no cassette in %s", strings.Join(args, ", "))
	}
	return list, nil
}

// replaying is a run of replay.
type replaying struct {
	o       *replayOptions
	list    []*cassette.Cassette
	latency float64
	key     []byte
	secrets []cassette.Secret
	chaos   *standin.Script // nil: nothing goes wrong
}

// isEvents says that the first line of a file is an event of the spec.
func isEvents(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // it was only read
	line, _ := bufio.NewReader(io.LimitReader(f, 1<<20)).ReadBytes('\n')
	ev, err := event.Parse(line)
	return err == nil && ev.Type() != event.Other
}

// replay answers a command, or whoever asks, from cassettes.
func (a *app) replay(ctx context.Context, o *replayOptions, files, command []string) error {
	if len(command) == 0 && o.listen == "" {
		for _, name := range files {
			if isEvents(name) {
				return usagef("%s is no cassette, it holds events: `fanfold forward --from %s` sends them", name, name)
			}
		}
		return usagef("no command: give one after --, or --listen 127.0.0.1:8089 to answer until Ctrl-C")
	}
	r, err := a.prepareReplay(o, files)
	if err != nil {
		return err
	}
	for _, c := range r.list {
		o.proxied = o.proxied || len(c.Meta.Proxy) > 0
	}
	o.child = len(command) > 0
	if len(command) > 0 && len(o.to) == 0 && !o.proxied && isOurs(command) {
		return a.replayOwn(ctx, r, command)
	}
	p, err := a.openReplay(r, nil)
	if err != nil {
		return err
	}
	if p.Foreign() {
		a.sayf("the redaction key of the recording is not here ($FANFOLD_REDACTION_KEY, %s): "+
			"secrets are compared by their place only", keyring.File)
	}
	s, err := r.service(p)
	if err != nil {
		return err
	}
	stop, err := a.wrapInChaos(r, s)
	if err != nil {
		return err
	}
	defer stop()
	code, err := a.serve(ctx, s, command, nil)
	a.sayWhatPassed(s, nil)
	if err != nil {
		return err
	}
	return a.replayed(p, o, code)
}

// prepareReplay reads what the options name.
func (a *app) prepareReplay(o *replayOptions, files []string) (*replaying, error) {
	r := &replaying{o: o}
	var err error
	if r.list, err = loadCassettes(files); err != nil {
		return nil, err
	}
	if o.name != "" {
		r.list = slices.DeleteFunc(r.list, func(c *cassette.Cassette) bool { return c.Case() != o.name })
		if len(r.list) == 0 {
			return nil, usagef("--case: none of the cassettes is called %q", o.name)
		}
	}
	switch o.latency {
	case "", "none":
	case "recorded":
		r.latency = 1
	default:
		r.latency, err = strconv.ParseFloat(o.latency, 64)
		if err != nil || !(r.latency >= 0 && r.latency <= 1000) { // also not a number
			return nil, usagef("--latency has to be none, recorded, or a factor like 0.5, not %q", o.latency)
		}
	}
	if r.key, err = a.redactionKey(r.list[0].Path, false); err != nil {
		return nil, err
	}
	if r.secrets, err = a.secretEnv(nil); err != nil {
		return nil, err
	}
	r.chaos, err = a.chaos(o)
	return r, err
}

// openReplay makes a replayer, given the secrets of the run's destinations.
func (a *app) openReplay(r *replaying, more []cassette.Secret) (*cassette.Replayer, error) {
	red, err := a.redactor(r.key, append(more, r.secrets...), &r.o.rules)
	if err != nil {
		return nil, err
	}
	p, err := cassette.NewReplayer(r.list, cassette.ReplayOptions{
		Ignore: r.o.ignore, Exact: r.o.exact, Headers: r.o.headers, Repeat: r.o.repeat, Latency: r.latency, Redactor: red,
	})
	if err != nil {
		return nil, usagef("%w", err)
	}
	return p, nil
}

// replayOwn answers one of fanfold's own commands.
func (a *app) replayOwn(ctx context.Context, r *replaying, command []string) error {
	var p *cassette.Replayer
	w := &wire{open: func(more []cassette.Secret) (*cassette.Conversation, error) {
		var err error
		if p, err = a.openReplay(r, more); err != nil {
			return nil, err
		}
		conv := &cassette.Conversation{Old: p}
		if r.chaos != nil {
			m, err := standin.Misbehave(*r.chaos, listen.Handler(p), a.now)
			if err != nil {
				return nil, err
			}
			conv.Front = m
		}
		return conv, nil
	}}
	code := a.ownRun(ctx, w, command)
	if w.conv == nil {
		return outcome(code)
	}
	return a.replayed(p, r.o, code)
}

// service is what is served of a replay.
func (r *replaying) service(p *cassette.Replayer) (*listen.Service, error) {
	o := r.o
	s := &listen.Service{
		Answer: p, Proxy: o.proxy || o.proxied, Strict: true, Listen: o.listen, TLS: o.tls, Choose: p.Knows,
	}
	for _, t := range o.to {
		u, err := cassette.ParseUpstream(t)
		if err != nil {
			return nil, usagef("--to: %w", err)
		}
		s.Upstreams = append(s.Upstreams, u)
	}
	if len(o.to) == 0 {
		var err error
		if s.Upstreams, err = cassette.Upstreams(r.list); err != nil {
			return nil, usagef("%w", err)
		}
	}
	if o.admin != "" {
		s.Admin, s.AdminAddr = listen.Admin(p), o.admin
	}
	return s, nil
}

// wrapInChaos lets requests go wrong, where that is asked for, until stop is
// called.
func (a *app) wrapInChaos(r *replaying, s *listen.Service) (stop func(), err error) {
	if r.chaos == nil {
		return func() {}, nil
	}
	if s.Proxy {
		return nil, usagef("--chaos breaks connections, which a proxy does not have: replay with --to NAME=URL")
	}
	var all []*standin.Mischief
	s.Wrap = func(h http.Handler) http.Handler {
		m, err := standin.Misbehave(*r.chaos, h, a.now)
		if err != nil {
			panic(err) // it was read and checked
		}
		all = append(all, m)
		return m
	}
	return func() {
		for _, m := range all {
			m.Stop()
		}
	}, nil
}

// chaos reads the script of faults.
func (a *app) chaos(o *replayOptions) (*standin.Script, error) {
	if o.chaos == "" {
		return nil, nil
	}
	data, err := os.ReadFile(o.chaos)
	if err != nil {
		return nil, usagef("--chaos: %w", err)
	}
	s, err := standin.ParseScript(data)
	if err != nil {
		return nil, usagef("--chaos %s: %w", o.chaos, err)
	}
	if o.seed != 0 {
		s.Seed = o.seed
	}
	a.sayf("chaos with --seed %d", s.Seed)
	return s, nil
}

// replayed says what was used, and turns it into an exit code.
func (a *app) replayed(p *cassette.Replayer, o *replayOptions, code int) error {
	u := p.Usage()
	if o.report != "" {
		data, err := json.MarshalIndent(u, "", "  ")
		if err != nil {
			return err
		}
		if err := cassette.WriteFile(o.report, append(data, '\n')); err != nil {
			return err
		}
	}
	for n, m := range u.Missed {
		if n == 10 {
			a.sayf("and %d more requests that are not in the cassette", len(u.Missed)-n)
			break
		}
		a.say(a.secrets.redact(m.Error()))
	}
	if err := a.propose(p, o.propose, len(u.Missed)); err != nil {
		return err
	}
	if o.failUnused && len(u.Missed) == 0 && code == 0 {
		a.say(report.Unused(u.Unused, p.Size)...)
	}
	a.sayf("%d interactions used, %d unused, %d requests missed", u.Used, len(u.Unused),
		len(u.Missed))
	silent := o.child && code == 0 && u.Used == 0 && len(u.Missed) == 0 && len(u.Unused) > 0
	if silent {
		hint := "it may not use <NAME>_BASE_URL"
		if o.proxied || o.proxy {
			hint = "some programs go past a proxy (Node before 24, Go and Java to loopback addresses)"
		}
		a.sayf("nothing was replayed: the command sent no request here; %s", hint)
	}
	switch {
	case len(u.Missed) > 0, silent, o.failUnused && len(u.Unused) > 0 && code == 0:
		return outcome(exitFinding)
	case code != 0:
		return outcome(code)
	}
	return nil
}
