package recording

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

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/serve"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/keyring"
	"github.com/fanfold/fanfold/pkg/listen"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/standin"
)

// ReplayOptions are the user's options for a replay.
type ReplayOptions struct {
	To      []string // partners as NAME=URL; none: those in the cassettes
	Ignore  []string // rules of matching
	Headers []string // headers that have to be equal
	Redact  []string // rules of redaction
	Allow   []string // values that are no secrets
	Listen  string   // one address for all partners
	Admin   string   // address for queries about the replay; "": none
	Latency string   // none, recorded, or a factor
	Repeat  string   // error, last or cycle
	Chaos   string   // a file with a script of faults
	Case    string   // the only cassette to use; "": all
	Report  string   // file for the report of what was used and missed
	Propose string   // file for proposed rules
	Seed    uint64   // of the faults; 0: the script's own

	FailUnused, TLS, Exact, Proxy bool

	proxied bool // the cassettes were recorded through a proxy
	child   bool // a command ran and should have sent something
}

// propose writes rules for the missed requests to a file, or tells the user how to get
// them.
func (w *World) propose(p *replay.Replayer, path string, missed int) error {
	if missed == 0 {
		return nil
	}
	if path == "" {
		w.Say("--propose FILE writes the rules under which they would match")
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
	w.sayf("with the %s in %s, %d of %s would match", printable.Count(len(rules.Ignore), "rule"), path,
		rules.Matched, printable.Count(rules.Missed, "missed request"))
	return cassette.WriteFile(path, data)
}

// Load reads the cassettes that the arguments name.
func Load(args []string) ([]*cassette.Cassette, error) {
	if len(args) == 0 {
		return nil, mistakef("name a cassette, or a folder with some")
	}
	paths, err := cassette.Find(args)
	if err != nil {
		return nil, mistakef("%w", err)
	}
	var list []*cassette.Cassette
	for _, p := range paths {
		c, err := cassette.Load(p)
		if err != nil {
			return nil, mistakef("%w", err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, mistakef("there is no cassette in %s", strings.Join(args, ", "))
	}
	return list, nil
}

// replaying is one run of the replay command.
type replaying struct {
	o       *ReplayOptions
	list    []*cassette.Cassette
	latency float64
	key     []byte
	secrets []redact.Secret
	chaos   *standin.Script // nil: no faults
}

// isEvents is true if the first line of a file is an event of the spec.
func isEvents(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read, so an error does not matter
	line, _ := bufio.NewReader(io.LimitReader(f, 1<<20)).ReadBytes('\n')
	ev, err := event.Parse(line)
	return err == nil && ev.Type() != event.Other
}

// Replay answers the requests of a command, or of any client, from cassettes.
func (w *World) Replay(ctx context.Context, o *ReplayOptions, files, command []string) error {
	if len(command) == 0 && o.Listen == "" {
		for _, name := range files {
			if isEvents(name) {
				return mistakef("%s is no cassette, it holds events: `fanfold forward --from %s` sends them", name, name)
			}
		}
		return mistakef("no command: give one after --, or --listen 127.0.0.1:8089 to answer until Ctrl-C")
	}
	r, err := w.prepareReplay(o, files)
	if err != nil {
		return err
	}
	for _, c := range r.list {
		o.proxied = o.proxied || len(c.Meta.Proxy) > 0
	}
	o.child = len(command) > 0
	if len(command) > 0 && len(o.To) == 0 && !o.proxied && w.Ours(command) {
		return w.replayOwn(ctx, r, command)
	}
	p, err := w.openReplay(r, nil)
	if err != nil {
		return err
	}
	if p.Foreign() {
		w.sayf("the redaction key of the recording is not here ($FANFOLD_REDACTION_KEY, %s): "+
			"secrets are compared by their place only", keyring.File)
	}
	s, err := r.service(p)
	if err != nil {
		return err
	}
	stop, err := w.wrapInChaos(r, s)
	if err != nil {
		return err
	}
	defer stop()
	code, err := w.Serve(ctx, s, command, nil)
	w.sayWhatPassed(s, nil)
	if err != nil {
		return err
	}
	return w.replayed(p, o, code)
}

// prepareReplay reads the files and values that the options name.
func (w *World) prepareReplay(o *ReplayOptions, files []string) (*replaying, error) {
	r := &replaying{o: o}
	var err error
	if r.list, err = Load(files); err != nil {
		return nil, err
	}
	if o.Case != "" {
		r.list = slices.DeleteFunc(r.list, func(c *cassette.Cassette) bool { return c.Case() != o.Case })
		if len(r.list) == 0 {
			return nil, mistakef("--case: none of the cassettes is called %q", o.Case)
		}
	}
	switch o.Latency {
	case "", "none":
	case "recorded":
		r.latency = 1
	default:
		r.latency, err = strconv.ParseFloat(o.Latency, 64)
		if err != nil || !(r.latency >= 0 && r.latency <= 1000) { // also rejects NaN
			return nil, mistakef("--latency has to be none, recorded, or a factor like 0.5, not %q", o.Latency)
		}
	}
	if r.key, err = w.Key(r.list[0].Path, false); err != nil {
		return nil, err
	}
	if r.secrets, err = w.Secrets(nil); err != nil {
		return nil, err
	}
	r.chaos, err = w.chaos(o)
	return r, err
}

// openReplay makes a replayer. more are the secrets of the run's destinations.
func (w *World) openReplay(r *replaying, more []redact.Secret) (*replay.Replayer, error) {
	red, err := w.Redactor(r.key, append(more, r.secrets...), r.o.Redact, r.o.Allow)
	if err != nil {
		return nil, err
	}
	p, err := replay.New(r.list, replay.Options{
		Ignore: r.o.Ignore, Exact: r.o.Exact, Headers: r.o.Headers, Repeat: r.o.Repeat, Latency: r.latency,
		Redactor: red, Now: w.Now,
	})
	if err != nil {
		return nil, mistakef("%w", err)
	}
	return p, nil
}

// replayOwn answers the requests of one of fanfold's own commands.
func (w *World) replayOwn(ctx context.Context, r *replaying, command []string) error {
	var p *replay.Replayer
	own := &Wire{open: func(more []redact.Secret) (*serve.Conversation, error) {
		var err error
		if p, err = w.openReplay(r, more); err != nil {
			return nil, err
		}
		conv := &serve.Conversation{Old: p}
		if r.chaos != nil {
			m, err := standin.Misbehave(*r.chaos, listen.Handler(p), w.Now)
			if err != nil {
				return nil, err
			}
			conv.Front = m
		}
		return conv, nil
	}}
	code := w.Own(ctx, own, command)
	if own.conv == nil {
		return &ChildError{code}
	}
	return w.replayed(p, r.o, code)
}

// service describes what a replay serves.
func (r *replaying) service(p *replay.Replayer) (*listen.Service, error) {
	o := r.o
	s := &listen.Service{
		Answer: p, Proxy: o.Proxy || o.proxied, Strict: true, Listen: o.Listen, TLS: o.TLS, Choose: p.Knows,
	}
	var err error
	if s.Upstreams, err = upstreams(o.To); err != nil {
		return nil, err
	}
	if len(o.To) == 0 {
		if s.Upstreams, err = cassette.Upstreams(r.list); err != nil {
			return nil, mistakef("%w", err)
		}
	}
	if o.Admin != "" {
		s.Admin, s.AdminAddr = listen.Admin(p), o.Admin
	}
	return s, nil
}

// wrapInChaos adds faults to the answers, if the user asked for them, until stop is
// called.
func (w *World) wrapInChaos(r *replaying, s *listen.Service) (stop func(), err error) {
	if r.chaos == nil {
		return func() {}, nil
	}
	if s.Proxy {
		return nil, mistakef("--chaos breaks connections, which a proxy does not have: replay with --to NAME=URL")
	}
	var all []*standin.Mischief
	s.Wrap = func(h http.Handler) http.Handler {
		m, err := standin.Misbehave(*r.chaos, h, w.Now)
		if err != nil {
			panic(err) // it was checked when it was read
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
func (w *World) chaos(o *ReplayOptions) (*standin.Script, error) {
	if o.Chaos == "" {
		return nil, nil
	}
	data, err := os.ReadFile(o.Chaos)
	if err != nil {
		return nil, mistakef("--chaos: %w", err)
	}
	s, err := standin.ParseScript(data)
	if err != nil {
		return nil, mistakef("--chaos %s: %w", o.Chaos, err)
	}
	if o.Seed != 0 {
		s.Seed = o.Seed
	}
	w.sayf("chaos with --seed %d", s.Seed)
	return s, nil
}

// replayed reports what was used, and returns the error that determines the exit code.
func (w *World) replayed(p *replay.Replayer, o *ReplayOptions, code int) error {
	u := p.Usage()
	if o.Report != "" {
		data, err := json.MarshalIndent(u, "", "  ")
		if err != nil {
			return err
		}
		if err := cassette.WriteFile(o.Report, append(data, '\n')); err != nil {
			return err
		}
	}
	for n, m := range u.Missed {
		if n == 10 {
			w.sayf("and %d more requests that are not in the cassette", len(u.Missed)-n)
			break
		}
		w.Say(w.Hide(m.Error()))
	}
	if err := w.propose(p, o.Propose, len(u.Missed)); err != nil {
		return err
	}
	if o.FailUnused && len(u.Missed) == 0 && code == 0 {
		w.Say(report.Unused(u.Unused, p.Size)...)
	}
	w.sayf("%s used, %d unused, %s missed", printable.Count(u.Used, "interaction"), len(u.Unused),
		printable.Count(len(u.Missed), "request"))
	silent := o.child && code == 0 && u.Used == 0 && len(u.Missed) == 0 && len(u.Unused) > 0
	if silent {
		hint := "it may not use <NAME>_BASE_URL"
		if o.proxied || o.Proxy {
			hint = "some programs go past a proxy (Node before 24, Go and Java to loopback addresses)"
		}
		w.sayf("nothing was replayed: the command sent no request here; %s", hint)
	}
	switch {
	case len(u.Missed) > 0, silent, o.FailUnused && len(u.Unused) > 0 && code == 0:
		return ErrFinding
	case code != 0:
		return &ChildError{code}
	}
	return nil
}
