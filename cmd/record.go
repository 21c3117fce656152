package cmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/listen"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/transport"
)

type recordOptions struct {
	to, allow, secret, ignore []string
	cassette, mode, listen    string
	upstreamCA                string
	maxBody                   string
	proxy, exact              bool
	keepOnError, resume       bool
	rules                     redactionFlags
}

func (a *app) recordCommand() *cobra.Command {
	var o recordOptions
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
		RunE:        func(c *cobra.Command, args []string) error { return a.record(c.Context(), &o, args) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.to, "to", nil, "a partner: NAME=URL (repeatable)")
	f.StringVar(&o.cassette, "cassette", "", "file to write")
	f.StringVar(&o.mode, "mode", "", "once: record when the cassette is missing; new: add what is missing; "+
		"all: anew; none: never go live (default once; none in CI)")
	f.StringVar(&o.listen, "listen", "", "serve the one partner here, until Ctrl-C when there is no command")
	f.BoolVar(&o.proxy, "proxy", false, "record through a proxy, HTTPS too")
	f.StringArrayVar(&o.allow, "allow", nil,
		"with --proxy, a host to record, or a pattern like *.shop.example, the rest passes by; "+
			"else, and beside that, "+allowUsage)
	f.StringArrayVar(&o.secret, "secret", nil,
		"an environment variable whose value is secret, beyond those whose names say so (repeatable)")
	f.StringArrayVar(&o.ignore, "ignore", nil,
		"a part of requests that may differ at replay (repeatable; see help cassettes)")
	o.rules.addRedact(f)
	f.BoolVar(&o.exact, "exact", false, "compare the times and message ids of events, too")
	f.StringVar(&o.upstreamCA, "upstream-ca", "", "file of certificates to trust at partners, beside the system's")
	f.StringVar(&o.maxBody, "max-body", "8MiB", "larger bodies are passed on and not recorded")
	f.BoolVar(&o.keepOnError, "keep-on-error", false, "write the cassette though the command failed")
	f.BoolVar(&o.resume, "resume", false, "go on from what an interrupted recording left")
	return c
}

// wire is where fanfold's own requests go while it is recorded or replayed.
type wire struct {
	// open returns the conversation, given the secrets of all destinations.
	open func(secrets []cassette.Secret) (*cassette.Conversation, error)
	conv *cassette.Conversation
}

// begin opens the wire, once the destinations of a run are known.
func (w *wire) begin(dests []*config.Opened) (err error) {
	var secrets []cassette.Secret
	for _, d := range dests {
		for _, f := range d.Spec.Settings.Fields {
			if v, ok := d.Config.Settings[f.Key].(string); ok && f.Secret {
				secrets = append(secrets, cassette.Secret{Name: d.Name + "." + f.Key, Value: v, Example: f.Example})
			}
		}
		for _, v := range append(slices.Clone(d.Sender.Plan().Secrets), d.Sender.Plan().Auth.Secrets()...) {
			secrets = append(secrets, cassette.Secret{Name: d.Name, Value: v})
		}
	}
	w.conv, err = w.open(secrets)
	return err
}

// hook puts the conversation into a lane's transport, above its credentials.
func (w *wire) hook(next http.RoundTripper) http.RoundTripper {
	if w.conv.Rec == nil {
		return w.conv
	}
	return &cassette.Conversation{Old: w.conv.Old, Rec: w.conv.Rec, Network: next}
}

// recording is a run of record.
type recording struct {
	o       *recordOptions
	own     bool // one of fanfold's own commands
	ups     []cassette.Upstream
	meta    cassette.Meta
	old     *cassette.Cassette // nil: there is none
	live    bool               // goes to the partners
	maxBody int64
	key     []byte
	secrets []cassette.Secret
	network http.RoundTripper
}

// record runs a command, or serves until it is stopped, and keeps what was said.
func (a *app) record(ctx context.Context, o *recordOptions, args []string) error {
	r := &recording{o: o, own: len(args) > 0 && len(o.to) == 0 && !o.proxy && isOurs(args)}
	for _, step := range []func() error{
		func() error { return r.check(args) },
		func() error { return a.describe(r) },
		func() error { return a.chooseMode(r) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	var err error
	if r.key, err = a.redactionKey(o.cassette, r.live); err != nil {
		return err
	}
	if r.secrets, err = a.secretEnv(o.secret); err != nil {
		return err
	}
	if r.network, err = a.liveNetwork(o.upstreamCA); err != nil {
		return err
	}
	w := &wire{open: func(more []cassette.Secret) (*cassette.Conversation, error) { return a.converse(r, more) }}
	code, err := a.runRecorded(ctx, r, w, args)
	switch {
	case err != nil:
		return err
	case w.conv == nil: // ended before any lane was there: it has said why
		return outcome(code)
	case w.conv.Rec == nil:
		if o.mode == "once" {
			a.sayf("%s exists: it was replayed, and nothing was recorded; "+
				"--mode all records anew, --mode new adds what is missing", o.cassette)
		}
		return a.replayed(w.conv.Old, &replayOptions{child: len(args) > 0}, code)
	}
	return a.recorded(r, w.conv, code)
}

// check holds the options against each other.
func (r *recording) check(args []string) error {
	o := r.o
	switch {
	case o.cassette == "":
		return usagef("say where to record to with --cassette FILE.yaml")
	case !strings.HasSuffix(o.cassette, ".yaml") || strings.HasSuffix(o.cassette, ".meta.yaml"):
		return usagef("--cassette has to end in .yaml, and not in .meta.yaml: %s", o.cassette)
	case len(args) == 0 && o.listen == "":
		return usagef("no command: give one after --, or --listen 127.0.0.1:8089 to record until Ctrl-C")
	case len(o.to) == 0 && !o.proxy && !r.own:
		return usagef("say which partner is to be recorded, with --to NAME=URL or with --proxy --allow HOST")
	case o.proxy && len(o.allow) == 0:
		return usagef("--proxy records the hosts given by --allow HOST (--allow '*' for all)")
	case o.listen != "" && len(o.to)+b2i(o.proxy) != 1:
		return usagef("--listen serves one partner: give one --to, or --proxy")
	}
	var err error
	if r.maxBody, err = config.Bytes(o.maxBody); err != nil {
		return usagef("--max-body %w", err)
	}
	if _, err := cassette.NewMatching(o.ignore, o.exact); err != nil {
		return usagef("--ignore: %w", err)
	}
	return nil
}

// describe fills what the sidecar says of the recording.
func (a *app) describe(r *recording) error {
	r.meta = cassette.Meta{
		Provenance: "recorded: live", Date: a.now().UTC().Format("2006-01-02"), Tool: "fanfold " + a.build.Version,
		Ignore: r.o.ignore, Exact: r.o.exact,
	}
	if r.o.proxy {
		r.meta.Proxy = r.o.allow
	}
	for _, s := range r.o.to {
		u, err := cassette.ParseUpstream(s)
		if err != nil {
			return usagef("--to: %w", err)
		}
		if r.meta.Upstreams == nil {
			r.meta.Upstreams = map[string]string{}
		}
		if r.meta.Upstreams[u.Name] != "" {
			return usagef("--to: %s is given twice", u.Name)
		}
		r.meta.Upstreams[u.Name] = u.URL.String()
		r.ups = append(r.ups, u)
	}
	return nil
}

// inCI tells whether a continuous integration runs us: CI is true, 1, or
// anything but no.
func (a *app) inCI() bool {
	v, _ := a.env("CI")
	return !slices.Contains([]string{"", "0", "false", "no", "off"}, strings.ToLower(strings.TrimSpace(v)))
}

// chooseMode finds out whether to go live.
func (a *app) chooseMode(r *recording) error {
	o, hint := r.o, ""
	if o.mode == "" {
		o.mode = "once"
		if a.inCI() {
			v, _ := a.env("CI")
			o.mode, hint = "none", fmt.Sprintf(" (CI=%s makes none the default; --mode once records here)", report.OneLine(v))
		}
	}
	old, err := cassette.Load(o.cassette)
	switch {
	case err == nil:
		r.old = old
	case !errors.Is(err, fs.ErrNotExist):
		return usagef("%w", err)
	}
	switch o.mode {
	case "once":
		r.live = r.old == nil
	case "none":
	case "new", "all":
		r.live = true
	default:
		return usagef("--mode has to be once, new, all or none, not %q", o.mode)
	}
	if !r.live && r.old == nil {
		return usagef("%s is not there, and --mode none never goes live%s", o.cassette, hint)
	}
	return nil
}

// converse opens the conversation of a recording, given the secrets of the
// run's destinations.
func (a *app) converse(r *recording, more []cassette.Secret) (*cassette.Conversation, error) {
	red, err := a.redactor(r.key, append(more, r.secrets...), &redactionFlags{r.o.rules.redact, r.o.allow})
	if err != nil {
		return nil, err
	}
	r.meta.Key = red.Fingerprint()
	var conv cassette.Conversation
	if r.live {
		if conv.Rec, err = a.recorder(r, red); err != nil {
			return nil, err
		}
	}
	if r.old != nil && r.o.mode != "all" {
		conv.Old, err = cassette.NewReplayer([]*cassette.Cassette{r.old}, cassette.ReplayOptions{
			Ignore: r.o.ignore, Exact: r.o.exact, Redactor: red,
		})
		if err != nil {
			return nil, usagef("%w", err)
		}
		if conv.Rec != nil {
			conv.Rec.Add(r.old)
		}
	}
	return &conv, nil
}

// runRecorded runs the command, or serves until it is stopped.
func (a *app) runRecorded(ctx context.Context, r *recording, w *wire, args []string) (code int, err error) {
	if r.own {
		return a.ownRun(ctx, w, args), nil
	}
	if w.conv, err = w.open(nil); err != nil {
		return 0, err
	}
	s := &listen.Service{
		Answer: w.conv, Upstreams: r.ups, Proxy: r.o.proxy, Allow: r.o.allow, Listen: r.o.listen,
	}
	var ending func()
	if w.conv.Rec != nil {
		ending = w.conv.Rec.End
	}
	code, err = a.serve(ctx, s, args, ending)
	a.sayWhatPassed(s, w.conv.Rec)
	if err != nil && w.conv.Rec != nil {
		err = errors.Join(err, w.conv.Rec.Abandon())
	}
	return code, err
}

// sayWhatPassed tells of links that were turned to us, and of hosts that the
// program asked past what is recorded.
func (a *app) sayWhatPassed(s *listen.Service, rec *cassette.Recorder) {
	if line := s.Links.Sentence(); line != "" {
		a.say(line)
	}
	hosts := slices.Sorted(maps.Keys(s.Passed))
	for n, host := range hosts {
		if n == 10 {
			a.sayf("and %d more hosts", len(hosts)-n)
			break
		}
		a.sayf("passed by, not recorded: %d connections to %s (--allow records a host)",
			s.Passed[host], report.OneLine(host))
	}
	if rec != nil {
		for _, host := range hosts {
			rec.Omit("CONNECT", host, fmt.Sprintf("not covered by --allow, %d connections", s.Passed[host]))
		}
	}
}

// recorder begins a recording, with what an interrupted one left.
func (a *app) recorder(r *recording, red *cassette.Redactor) (*cassette.Recorder, error) {
	left := &cassette.Cassette{}
	var err error
	if r.o.resume {
		if left, err = cassette.Recover(r.o.cassette); err != nil {
			return nil, err
		}
		a.sayf("%d interactions of an interrupted recording are kept", len(left.Interactions))
	}
	rec, err := cassette.NewRecorder(r.o.cassette, cassette.RecordOptions{
		Network: r.network, Redactor: red, MaxBody: r.maxBody, Now: time.Now,
		Warn: func(s string) { a.say(s) },
	})
	if errors.Is(err, fs.ErrExist) {
		return nil, usagef("%w", err)
	}
	if err == nil {
		rec.Add(left)
	}
	return rec, err
}

// recorded ends a recording and says what came of it.
func (a *app) recorded(r *recording, conv *cassette.Conversation, code int) error {
	o := r.o
	if code != 0 && !o.keepOnError {
		a.sayf("the command failed (exit code %d): "+
			"%s is not written (--keep-on-error writes it)", code, o.cassette)
		if err := conv.Rec.Abandon(); err != nil {
			return err
		}
		return outcome(code)
	}
	c, err := conv.Rec.Finish(r.meta)
	var leak *cassette.LeakError
	if errors.As(err, &leak) {
		a.say(a.secrets.redact(leak.Error()))
		return outcome(exitFinding)
	}
	if err != nil {
		return err
	}
	before := 0
	if conv.Old != nil {
		before = len(r.old.Interactions)
	}
	if err := nothingRecorded(r, conv, c, before); err != nil {
		return err
	}
	a.sayf("%d interactions recorded in %s", len(c.Interactions)-before, c.Path)
	a.sayHowTheyEnded(c)
	if code != 0 {
		return outcome(code)
	}
	return nil
}

// nothingRecorded is an error where no request came.
func nothingRecorded(r *recording, conv *cassette.Conversation, c *cassette.Cassette, before int) error {
	if len(c.Interactions) > before {
		return nil
	}
	switch {
	case conv.Old != nil && conv.Old.Usage().Used > 0:
		return nil
	case len(c.Meta.Unrecorded) > 0:
		return fmt.Errorf("nothing was recorded: %d requests came, and none could be; the first: %s",
			len(c.Meta.Unrecorded), c.Meta.Unrecorded[0])
	}
	return errors.New("nothing was recorded: the command sent no request here; " + r.hint())
}

// hint says why a command may have sent nothing here.
func (r *recording) hint() string {
	switch {
	case r.o.proxy:
		return "some programs go past a proxy (Node before 24, Go and Java to loopback addresses): use --to NAME=URL"
	case len(r.o.to) == 0:
		return "nothing was sent"
	}
	return "it may not use <NAME>_BASE_URL"
}

// sayHowTheyEnded tells of answers that broke.
func (a *app) sayHowTheyEnded(c *cassette.Cassette) {
	n := 0
	for _, d := range c.Meta.Details {
		if d.Broken != "" {
			n++
		}
	}
	if n > 0 {
		a.sayf("%d of them broke off, and will in replay: see %s",
			n, strings.TrimSuffix(c.Path, ".yaml")+".meta.yaml")
	}
	if n := len(c.Meta.Unrecorded); n > 0 {
		a.sayf("%d requests were not recorded: see %s",
			n, strings.TrimSuffix(c.Path, ".yaml")+".meta.yaml")
	}
}

// ownRun runs one of fanfold's own commands in this process, on the wire.
func (a *app) ownRun(ctx context.Context, w *wire, args []string) int {
	b := &app{
		build: a.build, in: a.in, disk: a.disk, schemes: a.schemes, out: a.out, err: a.err, env: a.env, now: a.now,
		catalogue: a.catalogue, wire: w, interrupts: a.interrupts,
	}
	return b.execute(ctx, args[1:])
}

// liveNetwork is the network of the real partners.
func (a *app) liveNetwork(caFile string) (http.RoundTripper, error) {
	t := transport.Dial(64, nil)
	if caFile != "" {
		data, err := os.ReadFile(caFile)
		if err != nil {
			return nil, usagef("--upstream-ca: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, usagef("--upstream-ca: there is no certificate in %s", caFile)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return listen.Network(t), nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
