package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/walk"
)

// nonsense are values that mostly mean nothing.
var nonsense = []string{
	`""`, "null", "~", "x y", "-1", "0", "NaN", "Inf", "1e400", "1e30GiB", "9999999999999999999", "0x10", "[1, 2]",
	"{a: b}", "true", "5",
	"1/0", "NaN/s", "-5/s", "1e400/s", "5/fortnight", "http://", "ftp://x.example", "yes please", `"\e[31m"`, "attempts=0",
	"max_time=-1s", "5s",
}

// sense is a value of each option that is right for some destination and is not its
// default.
var sense = map[string]string{
	"presets": "all", "order": "user", "filter": `'type = "track"'`,
	"rate": "1/h", "concurrency": "1", "batch_events": "1", "batch_bytes": "1000",
	"compression": "none", "timeout": "7s", "base_url": "http://127.0.0.1:9/x", "retry": "{attempts: 3}",
	"in_doubt":        "hold",
	"trigger_live":    "true",
	"override_limits": "true", "consent": "[advertising]", "actions": `[{action: ACTION, subscribe: 'type = "track"'}]`,
}

// TestOptionsAreUsedOrRefused: whatever an option of a destination holds, it changes
// what the destination is opened with, or is refused by its name. Nonsense is given to
// a destination of one kind, and with FANFOLD_WALKS=all to one of each.
func TestOptionsAreUsedOrRefused(t *testing.T) {
	t.Parallel()
	walks := walk.New(t, os.Getenv("FANFOLD_WALKS"), os.Getenv("FANFOLD_SEED"))
	w := &config.World{
		Catalogue: destinations.Catalogue(), Secret: func(...string) {},
		Env: func(string) (string, bool) { return "", false },
	}
	open := func(slug, option string) (*config.Opened, string, error) {
		text := "destinations:\n  a:\n    type: " + slug + "\n" + option
		f, err := w.Parse("f.yaml", []byte(text))
		if err != nil {
			return nil, "", err
		}
		dests, err := w.Choose(f, config.Choice{Rehearse: true})
		if err != nil {
			return nil, "", err
		}
		opened, err := w.Open(f, dests, config.OpenOptions{Rehearse: true})
		if err != nil {
			return nil, "", err
		}
		o := opened[0]
		kept := (&run.Job{Reserve: 0.25, MaxErrors: 7}).OptionsOf(o)
		return o, fmt.Sprintf("%+v %v %s %+v %+v", kept, o.Filter, o.Compression, o.Config, o.Sender.Plan().Actions) +
			fmt.Sprint(o.Consent, o.Sender.Plan().Order), nil
	}
	unset := map[string]string{} // by destination
	var kinds []string           // of each kind one destination
	for _, spec := range w.Catalogue.All() {
		if spec.Local || spec.Info.Slug == "mixpanel" || spec.Info.Slug == "webhook" {
			kinds = append(kinds, spec.Info.Slug)
		}
	}
	for k, key := range config.OptionKeys() {
		if sense[key] == "" {
			t.Errorf("option %s: this test does not know a value of it that makes sense", key)
		}
		used := false
		for _, spec := range w.Catalogue.All() {
			slug := spec.Info.Slug
			if unset[slug] == "" {
				var err error
				if _, unset[slug], err = open(slug, ""); err != nil {
					t.Fatal(err)
				}
			}
			before, values := unset[slug], []string{sense[key]}
			if kind := slices.Index(kinds, slug); kind >= 0 {
				for i, value := range nonsense {
					if walks.Takes(0, kind+k+i, len(kinds)) {
						values = append(values, value)
					}
				}
			}
			for _, value := range values {
				for _, a := range spec.Actions { // one that needs no mapping of the user's
					if !slices.ContainsFunc(a.Fields, func(f payload.Field) bool { return f.Required && f.Default.IsZero() }) {
						value = strings.ReplaceAll(value, "ACTION", a.Slug)
					}
				}
				if strings.Contains(value, "ACTION") && len(spec.Actions) > 0 {
					continue
				}
				o, after, err := open(slug, "    "+key+": "+value+"\n")
				switch {
				case err != nil && (!strings.Contains(err.Error(), key) &&
					!(key == "filter" && strings.Contains(err.Error(), "f.yaml:4")) || !strings.Contains(err.Error(), "f.yaml:4")):
					t.Errorf("%s: %s: %s: the error does not say which option, and where: %v", slug, key, value, err)
				case err == nil && after == before && !isDefault(key, o):
					t.Errorf("%s: %s: %s is taken, and changes nothing", slug, key, value)
				}
				used = used || err == nil && (after != before || key == "override_limits")
			}
		}
		if !used {
			t.Errorf("option %s is of no use to any destination", key)
		}
	}
}

// isDefault says that an option was given the value that it has anyhow: of a
// permission, either.
func isDefault(key string, o *config.Opened) bool {
	switch key {
	case "override_limits":
		return true
	case "trigger_live":
		return !o.Options.TriggerLive
	case "order":
		return o.Spec.Order
	case "compression":
		return o.Compression == "auto"
	}
	return false
}

// wrongFlags holds values that flags refuse, by the flag or, where commands differ, by
// the command and the flag. freeFlags are those that take any text, and why.
var wrongFlags = map[string][]string{
	"since": {"soon", "2024-13-01", "1h 5m", "NaN"}, "until": {"soon", "99999999999999999999h"},
	"filter": {"type =", ")"}, "limit": {"-1", "many", "1e3", "99999999999999999999"},
	"separator": {"::", "\n", "\""}, "format": {"telegram"}, "layout": {"%Y/%q"}, "lateness": {"-1h", "soon", "NaN"},
	"map": {"no/such.json"},
	"to":  {"nobody", "a,,nobody"}, "set": {"file", "file.path", "nobody.a=b", "file.nothing=1", "file.path=env:NOT_SET",
		"file.path=file:no/such"},
	"trigger-live": {"nobody", "stdout"},
	"opt":          {"file", "file.rate", "nobody.rate=1/s", "file.nothing=1", "file.rate=", "file.rate=NaN/s"},
	"pace":         {"walking", "real"}, "max-errors": {"-1", "many", "1e3"},
	"rehearse": {"maybe"}, "fresh": {"maybe"}, "continue": {"maybe"}, "allow-empty": {"maybe"}, "follow": {"maybe"},
	"poll": {"often", "1ms", "-1s"}, "output": {"xml", ""},
	"progress":         {"often", "AUTO"},
	"memory":           {"lots", "-1MiB", "0", "NaN", "Inf", "1e30GiB", "NaNGiB", "1e400", "1 2GiB"},
	"spool":            {"lots", "-1GiB", "0", "NaN", "Inf", "1e30GiB"},
	"reserve-for-live": {"NaN%", "Inf%", "-Inf%", "100%", "-1%", "30", "%", "1e400%"},
	"log-level":        {"loud", "warn+1"}, "log-format": {"xml"}, "config": {"no/such.yaml", "."},
	"from": {"no/such", "gopher://x", "telegram://x/y"}, "s3-path-style": {"maybe"}, "s3-anonymous": {"maybe"},
	"s3-requester-pays": {"maybe"},
	"profile":           {"nobody"},
	"now":               {"soon", "-1h"}, "batch-events": {"-1", "x"}, "show-secrets": {"maybe"},
	"help": {"maybe"}, "types": {"price", "price=integer", "=number", "a=number,a=text"}, "encoding": {"ebcdic", "UTF 8"},
	"unwrap": {".", strings.Repeat("a.", 20) + "a"}, "undated": {"tomorrow", "", "NOW"}, "date-order": {"ymd", "", "MDY"},
	"id": {"nobody"}, "user": {"nobody"}, "where": {"type =", ")"}, "run": {"nobody"},

	"sample": {"0%", "1", "200%", "NaN%"}, "save": {"no/such/plan.json", "."}, "plan": {"no/such.json", "."},
	"metrics": {"nowhere", "127.0.0.1:99999999"}, "notify": {"", "mail=x", "slack=", "webhook=ftp://x", "exec="},

	"update": {"maybe"},

	"redrive reason": {"no_such_reason"}, "group": {"user", ""}, "file": {"no/such/report.html",
		"."}, "runs dead to": {"nobody"},
	"record to": {"shop", "shop=", "=http://127.0.0.1:1", "shop=ftp://x", "SHOP SHOP=http://127.0.0.1:1"},
	"replay to": {"shop", "shop=", "=http://127.0.0.1:1", "shop=ftp://x"},
	"cassette":  {"", "x.json", "x.meta.yaml"}, "mode": {"twice", "ONCE"},
	"listen":   {"nowhere", "127.0.0.1:99999999", "127.0.0.1:-1"},
	"max-body": {"lots", "-1MiB", "0", "NaN", "1e30GiB"}, "upstream-ca": {"no/such.pem"}, "ignore": {"body.["},
	"redact": {"["},
	"proxy":  {"maybe"}, "exact": {"maybe"}, "keep-on-error": {"maybe"}, "resume": {"maybe"},
	"latency": {"slow", "-1", "NaN", "Inf"}, "repeat": {"often"}, "chaos": {"no/such.yaml"}, "case": {"nobody"},
	"seed":        {"-1", "x"},
	"fail-unused": {"maybe"}, "tls": {"maybe"}, "match-header": {"", "a b"}, "admin": {"nowhere"},
	"live": {"maybe"}, "allow-unsafe": {"maybe", "true"}, "header": {"X-Key", "X-Key=env:NOT_SET", "X-Key=literal"},
	"replay verify set": {"nobody", "nobody.a=b"},
	"max-age":           {"-1d", "soon", "NaN", "99999999999999d"}, "body": {"maybe"}, "har": {"maybe"},
	"wiremock": {"maybe"}, "go-vcr-v4": {"maybe"},
	"base-url": {"shop", "ftp://x"}, "files": {"no/such"}, "var": {"x", "=x"},
	"cassettes browse listen": {"0.0.0.0:0", "nowhere"},
	"report":                  {"no/such.json"}, "cassettes import output": {"", "x.json"},
	"price": {"file", "file=1", "nobody=1/1k", "file=x/1k", "file=1/0", "file=NaN/k", "file=1/hour"},
	"rungs": {"maybe"}, "unfinished": {"maybe"}, "mapping": {"no/such.json", "{"},
	"older-than": {"", "soon", "-1d", "NaNd", "99999999999d"},
	"dry-run":    {"maybe"}, "keep-incomplete": {"maybe"},
	"events": {"-1", "x", "1e3"}, "variety": {"-1", "x", "2147483647"}, "messy": {"maybe"}, "long-line": {"-1", "x"},
	"cut": {"-1", "x"},
}

var freeFlags = map[string]string{
	"columns": "names of columns", "s3-region": "the service knows its regions",
	"s3-endpoint": "looked at where an s3:// source is opened", "state-dir": "any path",
	"cpuprofile": "any path", "memprofile": "any path", "exectrace": "any path",
	"runs dead reason": "there may be none of a reason",
	"secret":           "names of variables, which need not be set", "allow": "values, or patterns of values or hosts",
	"propose": "any path", "count": "any text", "generate to": "any path",
	"cassettes export output": "any path", "replay report": "any path", "replay header": "any name",
}

// TestFlagsAreUsedOrRefused gives nonsense to every flag of every command. A flag or a
// command that is new has to be given its nonsense, or its arguments, here.
//
// All nonsense of a flag is given to some command, and some of it to every other one that
// has the flag; FANFOLD_WALKS=all gives all of it to each.
func TestFlagsAreUsedOrRefused(t *testing.T) {
	t.Parallel()
	in := file(t, "in.jsonl", `{"type":"track","event":"E","messageId":"m","userId":"u"}`+"\n")
	state, one := t.TempDir(), filepath.Join("..", "cassettes", "mixpanel", "track.yaml")
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer refuses.Close()
	hook := "webhook.url=" + refuses.URL
	code, out, errOut := invoke(t, map[string]string{"XDG_STATE_HOME": state}, "",
		"forward", "--from", in, "--to", "webhook", "--set", hook, "-o", "json")
	if code != exitRejected {
		t.Fatal(code, out, errOut)
	}
	conf := file(t, "fanfold.yaml", `
destinations: {webhook: {type: webhook, settings: {url: "http://127.0.0.1:1"}}}
tests: [{name: n, event: {type: track, event: E, messageId: m, userId: u}, expect: {webhook: {requests: [{method: POST}]}}}]
`)
	to := []string{"--to", "file", "--set", "file.path=" + t.TempDir()}
	lines := map[string][]string{ // command lines that are otherwise right
		"forward": append([]string{"--from", in}, to...), "forward -": append([]string{"--from", "-"}, to...),
		"preview": append([]string{"--from", in}, to...), "preview -": append([]string{"--from", "-"}, to...),
		"plan":    append([]string{"--from", in}, to...),
		"explain": append([]string{"--from", in, "--id", "m"}, to...),
		"redrive": {summaryOf(t, out).Run, "--set", hook},
		"record":  {"--cassette", filepath.Join(t.TempDir(), "c.yaml"), "--to", "shop=http://127.0.0.1:1", "--", "true"},
		"replay":  {one, "--", "true"}, "replay verify": {one},
		"cassettes browse": {one}, "cassettes diff": {one, one}, "cassettes drop": {one, "0"},
		"cassettes export": {one, "--har"},
		"cassettes import": {one, "-o", filepath.Join(t.TempDir(), "d.yaml")}, "cassettes lint": {one},
		"cassettes show": {one}, "cassettes status": {one},
		"cassettes": {}, "config": {}, "config check": {"--config", conf}, "config init": {}, "config schema": {},
		"config show":  {},
		"config test":  {"--config", conf},
		"destinations": {}, "destinations list": {}, "destinations show": {"webhook"},
		"destinations test": {"../docs/examples/statsig.yaml"}, "eval": {"--filter",
			"type = null"}, "generate": {"--to", os.DevNull},
		"help": {"config"}, "import": {}, "import rudderstack": {in}, "import segment": {in},
		"runs": {}, "runs list": {}, "runs show": {"latest"}, "runs dead": {"latest"}, "report": {"latest"},
		"top":     {"latest"},
		"runs rm": {"nobody"}, "runs prune": {"--older-than", "10000d"},
		"sink": {}, "version": {}, "write-completions": {filepath.Join(in,
			"nowhere")}, "man": {filepath.Join(in, "nowhere")}, "": {},
	}
	unfit := map[string]string{
		"sink": "serves", "cassettes browse": "serves", "runs rm": "would take away the run of the others",
		"import rudderstack": "no export lies here", "import segment": "no export lies here",
		"cassettes import": "no export lies here",
		"cassettes drop":   "would change the catalogue",
	}
	wrong := &wrongs{Walk: walk.New(t, os.Getenv("FANFOLD_WALKS"), os.Getenv("FANFOLD_SEED")), state: state,
		given: map[string]bool{}}
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		name := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "fanfold"), " ")
		if line, ok := lines[name]; ok {
			if a := testApp(map[string]string{"XDG_STATE_HOME": state}); unfit[name] == "" {
				if code := a.execute(context.Background(), append(strings.Fields(name), line...)); code == exitUsage {
					t.Errorf("%s: the line without nonsense is refused: %s", name, a.err)
				}
			}
			wrong.flagsOf(t, c, name, line)
		} else if c.Runnable() && !strings.HasPrefix(name, "completion") { // cobra's own
			t.Errorf("%s: this test does not know a command line of it", name)
		}
		for _, sub := range c.Commands() {
			each(sub)
		}
		if streamed := name + " -"; lines[streamed] != nil {
			wrong.flagsOf(t, c, name, lines[streamed])
		}
	}
	each(testApp(nil).root())
}

// wrongs gives nonsense to commands.
type wrongs struct {
	walk.Walk
	state    string
	given    map[string]bool // which nonsense some command was given, by flag
	commands int
}

// flagsOf gives nonsense to every flag of a command.
func (w *wrongs) flagsOf(t *testing.T, c *cobra.Command, name string, line []string) {
	t.Helper()
	w.commands++
	eachFlag(c, func(f *pflag.Flag) {
		if freeFlags[f.Name] != "" || freeFlags[name+" "+f.Name] != "" {
			return
		}
		wrong := wrongFlags[name+" "+f.Name]
		if wrong == nil {
			wrong = wrongFlags[f.Name]
		}
		if len(wrong) == 0 {
			t.Errorf("%s --%s: this test does not know what is nonsense to it", name, f.Name)
		}
		for i, value := range wrong {
			given := fmt.Sprintf("%s=%q of %q", f.Name, value, wrong)
			if w.given[given] && !w.Takes(0, w.commands+i, len(wrong)) {
				continue
			}
			w.given[given] = true
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			a := testApp(map[string]string{"XDG_STATE_HOME": w.state})
			args, command := line, []string(nil)
			if dash := slices.Index(line, "--"); dash >= 0 {
				args, command = line[:dash], line[dash:]
			}
			code := a.execute(ctx, slices.Concat(strings.Fields(name), args, []string{"--" + f.Name + "=" + value}, command))
			cancel()
			if said := fmt.Sprint(a.err); code != exitUsage || strings.Contains(said, "panic") {
				t.Errorf("%s --%s=%s: exit code %d: %s", name, f.Name, value, code, said)
			}
		}
	})
}

func eachFlag(c *cobra.Command, f func(*pflag.Flag)) {
	c.InheritedFlags() // they are the command's only then
	c.Flags().VisitAll(f)
}

// TestGlobalsAreUsedOrRefused: an option of fanfold as a whole is refused wherever it
// stands, when it is nonsense, and reaches the command from wherever it stands.
func TestGlobalsAreUsedOrRefused(t *testing.T) {
	wrong := map[string]string{"log-level": "loud", "log-format": "xml", "progress": "often", "memory": "NaNGiB"}
	right := map[string]string{"state-dir": "/elsewhere", "log-level": "debug", "log-format": "json", "progress": "never",
		"memory": "64MiB"}
	for _, g := range config.GlobalOptions() {
		if right[g.Name] == "" {
			t.Errorf("option %s: this test knows no value of it", g.Name)
		}
		if value := wrong[g.Name]; value != "" {
			for where, set := range map[string][2]string{"file": {g.Name + ": " + value, ""}, "environment": {"", value}} {
				env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
				if set[1] != "" {
					env[config.GlobalEnv(g.Name)] = set[1]
				}
				a := testApp(env)
				code := a.execute(context.Background(), []string{"runs", "list", "--config", file(t, "fanfold.yaml", set[0]+"\n")})
				if said := fmt.Sprint(a.err); code != exitUsage ||
					!strings.Contains(strings.ToLower(strings.ReplaceAll(said, "_", "-")), g.Name) {
					t.Errorf("%s: %s in the %s: exit code %d: %s", g.Name, value, where, code, said)
				}
			}
		}
		value := right[g.Name]
		conf := file(t, "fanfold.yaml", g.Name+": "+value+"\n")
		for where, run := range map[string]struct {
			env  map[string]string
			args []string
		}{
			"file": {nil, []string{"--config", conf}},
			"environment": {map[string]string{config.GlobalEnv(g.Name): value},
				[]string{"--config", file(t, "fanfold.yaml", g.Name+": "+g.Default+"\n")}},
			"flag": {map[string]string{config.GlobalEnv(g.Name): g.Default}, []string{"--" + g.Name + "=" + value}},
		} {
			a := testApp(run.env)
			root := a.root()
			c, _, err := root.Find([]string{"forward"})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.ParseFlags(run.args); err != nil {
				t.Fatal(err)
			}
			if err := a.begin(c); err != nil {
				t.Fatal(err)
			}
			if got := c.Flags().Lookup(g.Name).Value.String(); got != value {
				t.Errorf("%s in the %s: the command sees %q, not %q", g.Name, where, got, value)
			}
		}
	}
}

// TestSlipsInVariablesAreSaid: a variable that looks like ours and that nothing reads is
// not ignored without a word; one that a configuration may have a use for is.
func TestSlipsInVariablesAreSaid(t *testing.T) {
	for name, want := range map[string]string{
		"FANFOLD_MEMROY": "is it FANFOLD_MEMORY?", "FANFOLD_STATEDIR": "is it FANFOLD_STATE_DIR?",
		"fanfold_memory": "is it FANFOLD_MEMORY?",
		"FANFOLDMEMORY":  "is it FANFOLD_MEMORY?", "FANFOLD_MIXPANEL_PROJECT_TOKN": "is it FANFOLD_MIXPANEL_PROJECT_TOKEN?",
		"FANFOLD_MIXPANEL_TOKEN": "`fanfold destinations show mixpanel`", "FANFOLD_CONFIG": "the flag --config says it",
		"FANFOLD_MEMORY": "", "FANFOLD_MIXPANEL_PROJECT_TOKEN": "", "FANFOLD_PROFILE": "", "FANFOLD_OWN_TOKEN": "",
		"MEMROY": "",
	} {
		a := testApp(map[string]string{"XDG_STATE_HOME": t.TempDir()})
		a.environ = func() []string { return []string{"PATH=/bin", name + "=1"} }
		code := a.execute(context.Background(), []string{"runs", "list"})
		said := fmt.Sprint(a.err)
		if code != exitOK || (want == "") != (said == "") || want != "" && !strings.Contains(said, name+"; "+want) {
			t.Errorf("%s: exit code %d: %q, want %q", name, code, said, want)
		}
	}
}

// TestPastedSubscriptions: what stands in a Segment workspace can be pasted as it is.
func TestPastedSubscriptions(t *testing.T) {
	data, err := os.ReadFile("../../shared/segment/pasted.jsonl")
	if err != nil {
		t.Skip("the reference subscriptions are not here: ", err)
	}
	w := &config.World{Catalogue: destinations.Catalogue(), Secret: func(...string) {}, Env: func(string) (string, bool) {
		return "", false
	}}
	said := map[string]bool{}
	for line := range bytes.Lines(data) {
		var row struct {
			Destination, Action, Subscribe string
			Mapping                        json.RawMessage
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		if _, ok := w.Catalogue.Find(row.Destination); !ok {
			continue
		}
		pasted, err := json.Marshal(map[string]any{"id": "5GFh", "name": "n", "actionId": "a", "actionSlug": row.Action,
			"destinationId": "d", "enabled": true, "trigger": row.Subscribe, "settings": row.Mapping})
		if err != nil {
			t.Fatal(err)
		}
		f, err := w.Parse("f.yaml", []byte("destinations:\n  a:\n    type: "+row.Destination+"\n    actions:\n      - "+
			string(pasted)+"\n"))
		if err == nil {
			var dests []*config.Destination
			if dests, err = w.Choose(f, config.Choice{Rehearse: true}); err == nil {
				_, err = w.Open(f, dests, config.OpenOptions{Rehearse: true})
			}
		}
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			t.Errorf("%s: %s: %v", row.Destination, row.Action, err)
		}
	}
}
