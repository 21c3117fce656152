package cmd

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/transport"
)

type recordOptions struct {
	to, allow, secret, ignore []string
	cassette, mode, listen    string
	upstreamCA                string
	maxBody                   string
	proxy, exact              bool
	keepOnError, resume       bool
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
	f.StringVar(&o.mode, "mode", "", "once: record when the cassette is missing; new: add what is missing; all: anew; none: never go live (default once; none where CI=true)")
	f.StringVar(&o.listen, "listen", "", "serve the one partner here, until Ctrl-C when there is no command")
	f.BoolVar(&o.proxy, "proxy", false, "record through a proxy, HTTPS too")
	f.StringArrayVar(&o.allow, "allow", nil, "with --proxy, a host to record, or a pattern like *.shop.example (repeatable); the rest passes by")
	f.StringArrayVar(&o.secret, "secret", nil, "an environment variable whose value is secret, beyond those whose names say so (repeatable)")
	f.StringArrayVar(&o.ignore, "ignore", nil, "a part of requests that may differ at replay (repeatable; see help cassettes)")
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

// secretEnv are the environment's values that look like credentials by the
// names of their variables, and those that the user names.
func secretEnv(environ []string, more []string) (out []cassette.Secret, err error) {
	values := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		values[name] = value
		upper := strings.ToUpper(name)
		for _, mark := range []string{"KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "_AUTH"} {
			if strings.Contains(upper, mark) || strings.HasSuffix(upper, "PASS") {
				out = append(out, cassette.Secret{Name: name, Value: value})
				break
			}
		}
	}
	for _, name := range more {
		v, ok := values[name]
		if !ok {
			return nil, usagef("--secret %s: there is no such environment variable", name)
		}
		if len(v) < 8 {
			return nil, usagef("--secret %s: its value has less than 8 characters, too few to be told from ordinary text", name)
		}
		out = append(out, cassette.Secret{Name: name, Value: v})
	}
	return out, nil
}

// keyFile holds the key of the tokens that stand for secrets.
const keyFile = ".fanfold-redaction-key"

// redactionKey returns the key for cassettes at a path: from the environment,
// or from a file beside or above it, up to the repository's root. With create
// a missing one is made.
func (a *app) redactionKey(cassettePath string, create bool) ([]byte, error) {
	if v, ok := a.env("FANFOLD_REDACTION_KEY"); ok && v != "" {
		a.secrets.add(v)
		return []byte(v), nil
	}
	dir, err := filepath.Abs(filepath.Dir(cassettePath))
	if err != nil {
		return nil, err
	}
	place := dir
	for at := dir; ; at = filepath.Dir(at) {
		data, err := os.ReadFile(filepath.Join(at, keyFile))
		if err == nil {
			return bytes.TrimSpace(data), nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			place = at
			break
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if !create {
		return nil, nil
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	text := []byte(hex.EncodeToString(key))
	if err := os.MkdirAll(place, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(place, keyFile), append(slices.Clone(text), '\n'), 0o600); err != nil {
		return nil, err
	}
	fmt.Fprintf(a.err, "fanfold: made %s: with it, equal values get equal tokens. Keep it out of public repositories; elsewhere $FANFOLD_REDACTION_KEY holds it.\n", filepath.Join(place, keyFile))
	return text, nil
}

func (a *app) record(ctx context.Context, o *recordOptions, args []string) error {
	if o.cassette == "" {
		return usagef("say where to record to with --cassette FILE.yaml")
	}
	if !strings.HasSuffix(o.cassette, ".yaml") || strings.HasSuffix(o.cassette, ".meta.yaml") {
		return usagef("--cassette has to end in .yaml, and not in .meta.yaml: %s", o.cassette)
	}
	own := len(args) > 0 && len(o.to) == 0 && !o.proxy && isOurs(args)
	switch {
	case len(args) == 0 && o.listen == "":
		return usagef("no command: give one after --, or --listen 127.0.0.1:8089 to record until Ctrl-C")
	case len(o.to) == 0 && !o.proxy && !own:
		return usagef("say which partner is to be recorded, with --to NAME=URL or with --proxy --allow HOST")
	case o.proxy && len(o.allow) == 0:
		return usagef("--proxy records the hosts given by --allow HOST (--allow '*' for all)")
	case o.listen != "" && len(o.to)+b2i(o.proxy) != 1:
		return usagef("--listen serves one partner: give one --to, or --proxy")
	}
	ci, _ := a.env("CI")
	if o.mode == "" {
		o.mode = "once"
		if ci == "true" {
			o.mode = "none"
		}
	}
	maxBody, err := config.Bytes(o.maxBody)
	if err != nil {
		return usagef("--max-body %w", err)
	}
	m := cassette.Meta{Provenance: "recorded: live", Date: a.now().UTC().Format("2006-01-02"), Tool: "fanfold " + a.build.Version, Ignore: o.ignore, Exact: o.exact}
	if o.proxy {
		m.Proxy = o.allow
	}
	var ups []cassette.Upstream
	for _, s := range o.to {
		u, err := cassette.ParseUpstream(s)
		if err != nil {
			return usagef("--to: %w", err)
		}
		if m.Upstreams == nil {
			m.Upstreams = map[string]string{}
		}
		if m.Upstreams[u.Name] != "" {
			return usagef("--to: %s is given twice", u.Name)
		}
		m.Upstreams[u.Name] = u.URL.String()
		ups = append(ups, u)
	}
	if _, err := cassette.NewMatching(o.ignore, o.exact); err != nil {
		return usagef("--ignore: %w", err)
	}
	old, err := cassette.Load(o.cassette)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usagef("%w", err)
	}
	live := true
	switch o.mode {
	case "once":
		live = !exists
	case "none":
		live = false
	case "new", "all":
	default:
		return usagef("--mode has to be once, new, all or none, not %q", o.mode)
	}
	if !live && !exists {
		hint := ""
		if ci == "true" {
			hint = " (CI=true makes none the default; --mode once records here)"
		}
		return usagef("%s is not there, and --mode none never goes live%s", o.cassette, hint)
	}
	key, err := a.redactionKey(o.cassette, live)
	if err != nil {
		return err
	}
	secrets, err := secretEnv(os.Environ(), o.secret)
	if err != nil {
		return err
	}
	network, err := a.liveNetwork(o.upstreamCA)
	if err != nil {
		return err
	}
	w := &wire{}
	w.open = func(more []cassette.Secret) (*cassette.Conversation, error) {
		red := cassette.NewRedactor(key, append(more, secrets...))
		m.Key = red.Fingerprint()
		var conv cassette.Conversation
		if live {
			conv.Rec, err = a.recorder(o, red, network, maxBody)
			if err != nil {
				return nil, err
			}
		}
		if exists && o.mode != "all" {
			conv.Old, err = cassette.NewReplayer([]*cassette.Cassette{old}, cassette.ReplayOptions{Ignore: o.ignore, Exact: o.exact, Redactor: red})
			if err != nil {
				return nil, usagef("%w", err)
			}
			if conv.Rec != nil {
				conv.Rec.Add(old.Interactions)
			}
		}
		return &conv, nil
	}
	var before int
	if exists && o.mode == "new" {
		before = len(old.Interactions)
	}

	var code int
	switch {
	case own:
		code = a.ownRun(ctx, w, args)
		if w.conv == nil { // ended before any lane was there: it has said why
			return outcome(code)
		}
	default:
		if w.conv, err = w.open(nil); err != nil {
			return err
		}
		s := &service{rt: w.conv, upstreams: ups, proxy: o.proxy, allow: o.allow, listen: o.listen}
		code, err = a.serve(ctx, s, args)
		a.sayWhatPassed(s, w.conv.Rec)
		if err != nil {
			if w.conv.Rec != nil {
				err = errors.Join(err, w.conv.Rec.Abandon())
			}
			return err
		}
	}
	if w.conv.Rec == nil {
		if o.mode == "once" {
			fmt.Fprintf(a.err, "fanfold: %s exists: it was replayed, and nothing was recorded; --mode all records anew, --mode new adds what is missing\n", o.cassette)
		}
		return a.replayed(w.conv.Old, &replayOptions{}, code)
	}
	return a.recorded(o, w.conv.Rec, m, code, before)
}

// sayWhatPassed tells of links that were turned to us, and of hosts that the
// program asked past what is recorded.
func (a *app) sayWhatPassed(s *service, rec *cassette.Recorder) {
	if line := s.links.Sentence(); line != "" {
		fmt.Fprintln(a.err, "fanfold: "+line)
	}
	hosts := slices.Sorted(maps.Keys(s.passed))
	for n, host := range hosts {
		if n == 10 {
			fmt.Fprintf(a.err, "fanfold: and %d more hosts\n", len(hosts)-n)
			break
		}
		fmt.Fprintf(a.err, "fanfold: passed by, not recorded: %d connections to %s (--allow records a host)\n", s.passed[host], oneLine(host))
	}
	if rec != nil {
		for _, host := range hosts {
			rec.Omit("CONNECT", host, fmt.Sprintf("not covered by --allow, %d connections", s.passed[host]))
		}
	}
}

// recorder begins a recording, with what an interrupted one left.
func (a *app) recorder(o *recordOptions, red *cassette.Redactor, network http.RoundTripper, maxBody int64) (*cassette.Recorder, error) {
	var left []*cassette.Interaction
	var err error
	if o.resume {
		if left, err = cassette.Recover(o.cassette); err != nil {
			return nil, err
		}
		fmt.Fprintf(a.err, "fanfold: %d interactions of an interrupted recording are kept\n", len(left))
	}
	rec, err := cassette.NewRecorder(o.cassette, cassette.RecordOptions{
		Network: network, Redactor: red, MaxBody: maxBody, Now: time.Now,
		Warn: func(s string) { fmt.Fprintln(a.err, "fanfold: "+s) },
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
func (a *app) recorded(o *recordOptions, rec *cassette.Recorder, m cassette.Meta, code, before int) error {
	if code != 0 && !o.keepOnError {
		fmt.Fprintf(a.err, "fanfold: the command failed (exit code %d): %s is not written (--keep-on-error writes it)\n", code, o.cassette)
		if err := rec.Abandon(); err != nil {
			return err
		}
		return outcome(code)
	}
	n := rec.Count()
	c, err := rec.Finish(m)
	var leak *cassette.LeakError
	if errors.As(err, &leak) {
		fmt.Fprintln(a.err, "fanfold: "+a.secrets.redact(leak.Error()))
		return outcome(exitFinding)
	}
	if err != nil {
		return err
	}
	if n == 0 && c != nil && len(c.Meta.Failures) > 0 {
		f := c.Meta.Failures[0]
		return fmt.Errorf("nothing was recorded: %d requests came, and none was answered; the first: %s", len(c.Meta.Failures), a.secrets.redact(f.Method+" "+f.URL+": "+f.Error))
	}
	if n == 0 {
		hint := "it may not use <NAME>_BASE_URL"
		if o.proxy {
			hint = "some programs go past a proxy (Node before 24, Go and Java to loopback addresses): use --to NAME=URL"
		} else if len(o.to) == 0 {
			hint = "nothing was sent"
		}
		return fmt.Errorf("nothing was recorded: the command sent no request here; %s", hint)
	}
	fmt.Fprintf(a.err, "fanfold: %d interactions recorded in %s\n", n-before, c.Path)
	if len(c.Meta.Failures) > 0 {
		fmt.Fprintf(a.err, "fanfold: %d requests got no answer: see %s\n", len(c.Meta.Failures), strings.TrimSuffix(c.Path, ".yaml")+".meta.yaml")
	}
	if code != 0 {
		return outcome(code)
	}
	return nil
}

// ownRun runs one of fanfold's own commands in this process, on the wire.
func (a *app) ownRun(ctx context.Context, w *wire, args []string) int {
	b := &app{build: a.build, in: a.in, out: a.out, err: a.err, env: a.env, now: a.now, catalogue: a.catalogue, wire: w, interrupts: a.interrupts}
	return b.execute(ctx, args[1:])
}

// liveNetwork is the way to the real partners.
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
	return newWays(t), nil
}

// ways are connections for what HTTP has different kinds of.
type ways struct{ usual, http1, http2 *http.Transport }

func newWays(usual *http.Transport) *ways {
	w := &ways{usual: usual, http1: usual.Clone(), http2: usual.Clone()}
	w.http1.Protocols = new(http.Protocols)
	w.http1.Protocols.SetHTTP1(true)
	w.http1.ForceAttemptHTTP2 = false
	w.http2.Protocols = new(http.Protocols)
	w.http2.Protocols.SetHTTP2(true)
	w.http2.Protocols.SetUnencryptedHTTP2(true)
	return w
}

// RoundTrip sends WebSockets over HTTP/1.1, which alone has them here, and gRPC
// over HTTP/2 though there be no TLS.
func (w *ways) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case cassette.IsWebSocket(req):
		return w.http1.RoundTrip(req)
	case cassette.IsGRPC(req):
		return w.http2.RoundTrip(req)
	}
	return w.usual.RoundTrip(req)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
