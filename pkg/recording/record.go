package recording

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

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/serve"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/listen"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/transport"
)

// RecordOptions are the user's options for a recording.
type RecordOptions struct {
	To         []string // partners, NAME=URL
	Allow      []string // with Proxy: hosts to record; also values that are no secrets
	Secret     []string // further environment variables that hold secrets
	Ignore     []string // rules of matching
	Redact     []string // rules of redaction
	Cassette   string   // the file to write
	Mode       string   // once, new, all or none; "": depends on the environment
	Listen     string   // the address for the one partner; "": the system chooses
	UpstreamCA string   // a file of trusted certificates
	MaxBody    string   // a size

	Proxy, Exact, KeepOnError, Resume bool
}

// recording is one run of the record command.
type recording struct {
	o       *RecordOptions
	own     bool // the command is one of fanfold's own
	ups     []cassette.Upstream
	meta    cassette.Meta
	old     *cassette.Cassette // nil: there is none
	live    bool               // requests go to the partners
	maxBody int64
	key     []byte
	secrets []redact.Secret
	network http.RoundTripper
}

// Record runs a command, or serves until it is stopped, and records the conversation.
func (w *World) Record(ctx context.Context, o *RecordOptions, args []string) error {
	r := &recording{o: o, own: len(args) > 0 && len(o.To) == 0 && !o.Proxy && w.Ours(args)}
	for _, step := range []func() error{
		func() error { return r.check(args) },
		func() error { return w.describe(r) },
		func() error { return w.chooseMode(r) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	var err error
	if r.key, err = w.Key(o.Cassette, r.live); err != nil {
		return err
	}
	if r.secrets, err = w.Secrets(o.Secret); err != nil {
		return err
	}
	if r.network, err = LiveNetwork(o.UpstreamCA); err != nil {
		return err
	}
	own := &Wire{open: func(more []redact.Secret) (*serve.Conversation, error) { return w.converse(r, more) }}
	code, err := w.runRecorded(ctx, r, own, args)
	switch {
	case err != nil:
		return err
	case own.conv == nil: // it ended before it opened a lane, and has printed why
		return &ChildError{code}
	case own.conv.Rec == nil:
		if o.Mode == "once" {
			w.sayf("%s exists: it was replayed, and nothing was recorded; "+
				"--mode all records anew, --mode new adds what is missing", o.Cassette)
		}
		return w.replayed(own.conv.Old, &ReplayOptions{child: len(args) > 0}, code)
	}
	return w.recorded(r, own.conv, code)
}

// check finds options that are missing, wrong or contradict each other.
func (r *recording) check(args []string) error {
	o := r.o
	switch {
	case o.Cassette == "":
		return mistakef("say where to record to with --cassette FILE.yaml")
	case !strings.HasSuffix(o.Cassette, ".yaml") || strings.HasSuffix(o.Cassette, ".meta.yaml"):
		return mistakef("--cassette has to end in .yaml, and not in .meta.yaml: %s", o.Cassette)
	case len(args) == 0 && o.Listen == "":
		return mistakef("no command: give one after --, or --listen 127.0.0.1:8089 to record until Ctrl-C")
	case len(o.To) == 0 && !o.Proxy && !r.own:
		return mistakef("say which partner is to be recorded, with --to NAME=URL or with --proxy --allow HOST")
	case o.Proxy && len(o.Allow) == 0:
		return mistakef("--proxy records the hosts given by --allow HOST (--allow '*' for all)")
	case o.Listen != "" && len(o.To)+b2i(o.Proxy) != 1:
		return mistakef("--listen serves one partner: give one --to, or --proxy")
	}
	if o.Proxy {
		r.o.Allow = hostsApart(o.Allow)
	}
	var err error
	if r.maxBody, err = config.Bytes(o.MaxBody); err != nil {
		return mistakef("--max-body %w", err)
	}
	if _, err := match.New(match.Options{Ignore: o.Ignore, Exact: o.Exact}); err != nil {
		return mistakef("--ignore: %w", err)
	}
	return nil
}

// hostsApart splits lists of hosts at their commas, because other programs accept such
// lists and no host contains a comma. A text that is no list of hosts may be a regular
// expression and is kept.
func hostsApart(allow []string) (out []string) {
	notOfHost := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-*:", c))
	}
	for _, a := range allow {
		parts := strings.Split(a, ",")
		for n := range parts {
			parts[n] = strings.TrimSpace(parts[n])
		}
		if slices.ContainsFunc(parts, func(p string) bool { return p == "" || strings.ContainsFunc(p, notOfHost) }) {
			parts = []string{a}
		}
		out = append(out, parts...)
	}
	return out
}

// describe fills in the sidecar of the recording.
func (w *World) describe(r *recording) error {
	r.meta = cassette.Meta{
		Provenance: "recorded: live", Date: w.Now().UTC().Format("2006-01-02"), Tool: "fanfold " + w.Version,
		Ignore: r.o.Ignore, Exact: r.o.Exact,
	}
	if r.o.Proxy {
		r.meta.Proxy = r.o.Allow
	}
	var err error
	if r.ups, err = upstreams(r.o.To); err != nil {
		return err
	}
	r.meta.Upstreams = map[string]string{}
	for _, u := range r.ups {
		r.meta.Upstreams[u.Name] = u.URL.String()
	}
	return nil
}

// upstreams reads the values of --to.
func upstreams(to []string) (list []cassette.Upstream, err error) {
	for _, s := range to {
		u, err := cassette.ParseUpstream(s)
		if err != nil {
			return nil, mistakef("--to: %w", err)
		}
		if slices.ContainsFunc(list, func(o cassette.Upstream) bool { return o.Name == u.Name }) {
			return nil, mistakef("--to: %s is given twice", u.Name)
		}
		list = append(list, u)
	}
	return list, nil
}

// inCI is true in continuous integration: CI is true, 1, or anything else that does not
// mean no.
func (w *World) inCI() bool {
	v, _ := w.Env("CI")
	return !slices.Contains([]string{"", "0", "false", "no", "off"}, strings.ToLower(strings.TrimSpace(v)))
}

// chooseMode decides whether requests go to the partners.
func (w *World) chooseMode(r *recording) error {
	o, hint := r.o, ""
	if o.Mode == "" {
		o.Mode = "once"
		if w.inCI() {
			v, _ := w.Env("CI")
			o.Mode, hint = "none", fmt.Sprintf(" (CI=%s makes none the default; --mode once records here)", report.OneLine(v))
		}
	}
	old, err := cassette.Load(o.Cassette)
	switch {
	case err == nil:
		r.old = old
	case !errors.Is(err, fs.ErrNotExist):
		return mistakef("%w", err)
	}
	switch o.Mode {
	case "once":
		r.live = r.old == nil
	case "none":
	case "new", "all":
		r.live = true
	default:
		return mistakef("--mode has to be once, new, all or none, not %q", o.Mode)
	}
	if !r.live && r.old == nil {
		return mistakef("%s is not there, and --mode none never goes live%s", o.Cassette, hint)
	}
	return nil
}

// converse opens the conversation of a recording. more are the secrets of the run's
// destinations.
func (w *World) converse(r *recording, more []redact.Secret) (*serve.Conversation, error) {
	red, err := w.Redactor(r.key, append(more, r.secrets...), r.o.Redact, r.o.Allow)
	if err != nil {
		return nil, err
	}
	r.meta.Key = red.Fingerprint()
	var conv serve.Conversation
	if r.live {
		if conv.Rec, err = w.recorder(r, red); err != nil {
			return nil, err
		}
	}
	if r.old != nil && r.o.Mode != "all" {
		conv.Old, err = replay.New([]*cassette.Cassette{r.old}, replay.Options{
			Ignore: r.o.Ignore, Exact: r.o.Exact, Redactor: red,
		})
		if err != nil {
			return nil, mistakef("%w", err)
		}
		if conv.Rec != nil {
			conv.Rec.Add(r.old)
		}
	}
	return &conv, nil
}

// runRecorded runs the command, or serves until it is stopped.
func (w *World) runRecorded(ctx context.Context, r *recording, own *Wire, args []string) (code int, err error) {
	if r.own {
		return w.Own(ctx, own, args), nil
	}
	if own.conv, err = own.open(nil); err != nil {
		return 0, err
	}
	s := &listen.Service{
		Answer: own.conv, Upstreams: r.ups, Proxy: r.o.Proxy, Allow: r.o.Allow, Listen: r.o.Listen,
	}
	var ending func()
	if own.conv.Rec != nil {
		ending = own.conv.Rec.End
	}
	code, err = w.Serve(ctx, s, args, ending)
	w.sayWhatPassed(s, own.conv.Rec)
	if err != nil && own.conv.Rec != nil {
		err = errors.Join(err, own.conv.Rec.Abandon())
	}
	return code, err
}

// sayWhatPassed reports the links that were replaced, and the hosts that the program
// used but that are not recorded.
func (w *World) sayWhatPassed(s *listen.Service, rec *record.Recorder) {
	if line := s.Links.Sentence(); line != "" {
		w.Say(line)
	}
	hosts := slices.Sorted(maps.Keys(s.Passed))
	for n, host := range hosts {
		if n == 10 {
			w.sayf("and %d more hosts", len(hosts)-n)
			break
		}
		w.sayf("passed by, not recorded: %d connections to %s (--allow records a host)",
			s.Passed[host], report.OneLine(host))
	}
	if rec != nil {
		for _, host := range hosts {
			rec.Omit("CONNECT", host, fmt.Sprintf("not covered by --allow, %d connections", s.Passed[host]))
		}
	}
}

// recorder begins a recording, including what an interrupted one has left.
func (w *World) recorder(r *recording, red *redact.Redactor) (*record.Recorder, error) {
	left := &cassette.Cassette{}
	var err error
	if r.o.Resume {
		if left, err = cassette.Recover(r.o.Cassette); err != nil {
			return nil, err
		}
		w.sayf("%d interactions of an interrupted recording are kept", len(left.Interactions))
	}
	rec, err := record.New(r.o.Cassette, record.Options{
		Network: r.network, Redactor: red, MaxBody: r.maxBody, Now: w.Now,
		Warn: func(s string) { w.Say(s) },
	})
	if errors.Is(err, fs.ErrExist) {
		return nil, mistakef("%w", err)
	}
	if err == nil {
		rec.Add(left)
	}
	return rec, err
}

// recorded ends a recording and reports the result.
func (w *World) recorded(r *recording, conv *serve.Conversation, code int) error {
	o := r.o
	if code != 0 && !o.KeepOnError {
		w.sayf("the command failed (exit code %d): "+
			"%s is not written (--keep-on-error writes it)", code, o.Cassette)
		if err := conv.Rec.Abandon(); err != nil {
			return err
		}
		return &ChildError{code}
	}
	c, err := conv.Rec.Finish(r.meta)
	var leak *redact.LeakError
	if errors.As(err, &leak) {
		w.Say(w.Hide(leak.Error()))
		return ErrFinding
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
	w.sayf("%s recorded in %s", printable.Count(len(c.Interactions)-before, "interaction"), c.Path)
	w.sayHowTheyEnded(c)
	if code != 0 {
		return &ChildError{code}
	}
	return nil
}

// nothingRecorded returns an error if no request came.
func nothingRecorded(r *recording, conv *serve.Conversation, c *cassette.Cassette, before int) error {
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

// hint suggests why a command may have sent no requests here.
func (r *recording) hint() string {
	switch {
	case r.o.Proxy:
		return "some programs go past a proxy (Node before 24, Go and Java to loopback addresses): use --to NAME=URL"
	case len(r.o.To) == 0:
		return "nothing was sent"
	}
	return "it may not use <NAME>_BASE_URL"
}

// sayHowTheyEnded reports the answers that broke off.
func (w *World) sayHowTheyEnded(c *cassette.Cassette) {
	n := 0
	for _, d := range c.Meta.Details {
		if d.Broken != "" {
			n++
		}
	}
	if n > 0 {
		w.sayf("%d of them broke off, and will in replay: see %s", n, cassette.MetaPath(c.Path))
	}
	if n := len(c.Meta.Unrecorded); n > 0 {
		w.sayf("%d requests were not recorded: see %s", n, cassette.MetaPath(c.Path))
	}
}

// LiveNetwork is the network of the real partners. It trusts the system's certificates
// and those in a file; "" for no file.
func LiveNetwork(caFile string) (http.RoundTripper, error) {
	t := transport.Dial(64, nil)
	if caFile != "" {
		data, err := os.ReadFile(caFile)
		if err != nil {
			return nil, mistakef("--upstream-ca: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, mistakef("--upstream-ca: there is no certificate in %s", caFile)
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
