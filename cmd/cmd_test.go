package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/source"
)

// safeBuffer is written by the command and its progress at once.
type safeBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// testApp is a command line of its own, in this process, whose collector belongs to all tests: none of them sets it for
// its run unless it says so.
func testApp(env map[string]string) *app {
	return &app{build: Build{Version: "test"}, in: strings.NewReader(""), disk: source.OSDisk{}, schemes: source.Known,
		out: &safeBuffer{}, err: &safeBuffer{}, now: time.Now, catalogue: destinations.Catalogue(),
		env: func(k string) (string, bool) {
			v, ok := env[k]
			return v, ok || k == "GOGC" || k == "GOMEMLIMIT"
		}}
}

// invoke runs one command line and returns what it printed.
func invoke(t *testing.T, env map[string]string, stdin string, args ...string) (code int, out, errOut string) {
	t.Helper()
	a := testApp(env)
	a.in = strings.NewReader(stdin)
	code = a.execute(context.Background(), append([]string{}, args...)) // nil would be the arguments of the test
	return code, fmt.Sprint(a.out), fmt.Sprint(a.err)
}

// partner is an HTTP server that counts every event by its messageId.
type partner struct {
	*httptest.Server
	mu     sync.Mutex
	came   *sync.Cond // something has arrived
	seen   map[string]int
	bodies []string                                                        // of what was taken
	answer func(w http.ResponseWriter, r *http.Request, ids []string) bool // true: answered
}

// await waits until so many different events have arrived.
func (p *partner) await(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.seen) < n {
		p.came.Wait()
	}
}

func newPartner(t *testing.T) *partner {
	t.Helper()
	p := &partner{seen: map[string]int{}}
	p.came = sync.NewCond(&p.mu)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var events []struct {
			MessageID string `json:"messageId"`
		}
		if err := json.Unmarshal(body, &events); err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		var ids []string
		for _, e := range events {
			ids = append(ids, e.MessageID)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.answer != nil && p.answer(w, r, ids) {
			return
		}
		for _, id := range ids {
			p.seen[id]++
		}
		p.bodies = append(p.bodies, string(body))
		p.came.Broadcast()
		fmt.Fprint(w, `{"ok":true}`)
	}))
	t.Cleanup(p.Close)
	return p
}

// answers has the partner answer so from now on.
func (p *partner) answers(f func(w http.ResponseWriter, r *http.Request, ids []string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *partner) once(t *testing.T, want int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) != want {
		t.Errorf("%d events arrived, want %d", len(p.seen), want)
	}
	for id, n := range p.seen {
		if n != 1 {
			t.Errorf("event %s arrived %d times", id, n)
			return
		}
	}
}

func summaryOf(t *testing.T, out string) engine.Summary {
	t.Helper()
	var s engine.Summary
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	for _, d := range s.Destinations {
		if s.Read-s.BadRecords-engine.Total(s.Dropped) != d.Filtered+engine.Total(d.Skipped)+d.Delivered+
			engine.Total(d.Rejected)+d.Pending {
			t.Errorf("%s does not add up: %s", d.Name, out)
		}
	}
	return s
}

func events(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"type":"track","event":"E%d","messageId":"m%d","userId":"u%d","timestamp":"2024-05-01T00:00:00Z","properties":{"n":%d}}`+"\n", i%3, i, i%7, i)
	}
	return b.String()
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNewcomersErrors holds every mistake that a newcomer will make to a line
// or two that say what is wrong, where, and what to do; exit code 2; and
// nothing sent, nor any run left behind.
func TestNewcomersErrors(t *testing.T) {
	in := file(t, "events.jsonl", events(3))
	yaml := func(text string) string { return file(t, "fanfold.yaml", text) }
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"no such file": {[]string{"forward", "--from", in + "x", "--to", "stdout"},
			[]string{"no such file", in}},
		"no input":       {[]string{"forward", "--to", "stdout"}, []string{"--from"}},
		"no destination": {[]string{"forward", "--from", in}, []string{"--to", "fanfold.yaml"}},
		"unknown destination": {[]string{"forward", "--from", in, "--to", "mixpanle"},
			[]string{`"mixpanle"`, "did you mean mixpanel?"}},
		"missing setting": {[]string{"forward", "--from", in, "--to", "mixpanel"},
			[]string{"project_token is required", "FANFOLD_MIXPANEL_PROJECT_TOKEN", "--set mixpanel.project_token"}},
		"unknown setting": {[]string{"forward", "--from", in, "--to", "mixpanel",
			"--set", "mixpanel.projekt_token=x"}, []string{"did you mean project_token?"}},
		"wrong choice": {[]string{"forward", "--from", in, "--to", "mixpanel",
			"--set", "mixpanel.project_token=t", "--set", "mixpanel.api_region=mars"}, []string{"us, eu, in", `"mars"`}},
		"malformed filter": {[]string{"forward", "--from", in, "--to", "stdout", "--filter", `type = "track`},
			[]string{"column 8", "closing"}},
		"malformed time": {[]string{"forward", "--from", in, "--to", "stdout", "--since", "yesterday"},
			[]string{"--since", "72h"}},
		"unknown flag":    {[]string{"forward", "--form", in}, []string{"--form", "--help"}},
		"unknown command": {[]string{"foward"}, []string{"foward"}},
		"unknown run":     {[]string{"runs", "show", "nope"}, []string{`"nope"`, "runs list"}},
		"unknown topic":   {[]string{"help", "filter"}, []string{"filters"}},
		"wrong type in YAML": {[]string{"config", "check", "--config",
			yaml("destinations:\n  a:\n    type: webhook\n    settings: {url: [1]}\n")}, []string{"fanfold.yaml:4", "url",
			"has to be text, not a list"}},
		"unknown key in YAML": {[]string{"config", "check", "--config", yaml("destinatons:\n  a: {}\n")},
			[]string{"fanfold.yaml:1", "did you mean destinations?"}},
		"broken YAML": {[]string{"config", "check", "--config", yaml("destinations: [\n")},
			[]string{"fanfold.yaml:1: "}},
		"filter in YAML": {[]string{"config", "check", "--config",
			yaml("destinations:\n  a:\n    type: stdout\n    filter: type =\n")}, []string{"fanfold.yaml:4", "column"}},
		"two problems at once": {[]string{"config", "check", "--config",
			yaml("destinations:\n  a: {type: webhok}\n  b: {type: mixpanel}\n")}, []string{"did you mean webhook?"}},
		"unset variable": {[]string{"config", "check", "--config",
			yaml("destinations:\n  a:\n    type: webhook\n    settings: {url: '${NOPE_URL}'}\n")}, []string{"fanfold.yaml:4",
			"NOPE_URL is not set"}},
		"rate above the limit": {[]string{"forward", "--from", in, "--to", "segment", "--set", "segment.write_key=w",
			"--opt", "segment.rate=5000/s"}, []string{"above the partner's limit", "override_limits"}},
		"rate above an action's limit": {[]string{"forward", "--from", in, "--to", "iterable", "--set", "iterable.api_key=w",
			"--opt", "iterable.rate=50/s"}, []string{"above the partner's limit", "trackBulk", "override_limits"}},
		"unknown action": {[]string{"config", "check", "--config", yaml("destinations:\n  a:\n    type: mixpanel\n" +
			"    settings: {project_token: t}\n    actions: [{action: trackEvnt}]\n")},
			[]string{"fanfold.yaml:5", "did you mean trackEvent?"}},
		"unknown directive": {[]string{"config", "check", "--config", yaml("destinations:\n  a:\n    type: mixpanel\n" +
			"    settings: {project_token: t}\n    actions: [{action: trackEvent, mapping: {event: {'@pth': x}}}]\n")},
			[]string{"fanfold.yaml:5", "/event"}},
	} {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir()
			code, out, errOut := invoke(t, map[string]string{"XDG_STATE_HOME": state}, "", tc.args...)
			if code != 2 || out != "" {
				t.Errorf("exit code %d, printed %q", code, out)
			}
			for _, want := range tc.want {
				if !strings.Contains(errOut, want) {
					t.Errorf("no %q in:\n%s", want, errOut)
				}
			}
			if n := strings.Count(strings.TrimSpace(errOut), "\n"); n > 2 {
				t.Errorf("%d lines:\n%s", n+1, errOut)
			}
			if left, _ := filepath.Glob(filepath.Join(state, "fanfold", "runs", "*")); len(left) > 0 {
				t.Errorf("a run was left behind: %v", left)
			}
		})
	}
}

func TestForwardToAServer(t *testing.T) {
	p := newPartner(t)
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	in := file(t, "events.jsonl", events(1000))
	args := []string{"forward", "--from", in, "--to", "webhook", "--set", "webhook.url=" + p.URL, "-o", "json"}
	code, out, errOut := invoke(t, env, "", args...)
	if s := summaryOf(t, out); code != 0 || s.Status != "complete" || s.Destinations[0].Delivered != 1000 {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	p.once(t, 1000)
	// The same again sends nothing, and says so.
	code, out, errOut = invoke(t, env, "", args...)
	if s := summaryOf(t, out); code != 0 || s.Destinations[0].Delivered != 1000 ||
		!strings.Contains(errOut, "delivered already") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	p.once(t, 1000)
	// --fresh sends all again, as a run of its own.
	code, out, _ = invoke(t, env, "", append(args, "--fresh")...)
	if s := summaryOf(t, out); code != 0 || s.Destinations[0].Delivered != 1000 || len(p.seen) != 1000 ||
		p.seen["m5"] != 2 {
		t.Errorf("exit code %d: %s", code, out)
	}
	code, out, _ = invoke(t, env, "", "runs", "list")
	if code != 0 || strings.Count(out, "complete") != 2 {
		t.Errorf("runs list: %d %s", code, out)
	}
}

func TestAFolderThatGrows(t *testing.T) {
	p := newPartner(t)
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	dir := t.TempDir()
	all := strings.SplitAfter(events(300), "\n")
	put := func(name string, from, to int) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(all[from:to], "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a.jsonl", 0, 100)
	args := []string{"forward", "--from", dir, "--to", "webhook", "--set", "webhook.url=" + p.URL, "-o", "json"}
	invoke(t, env, "", args...)
	put("b.jsonl", 100, 300)
	code, out, errOut := invoke(t, env, "", args...)
	if s := summaryOf(t, out); code != 0 || s.Read != 300 || !strings.Contains(errOut, "1 new object ") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	p.once(t, 300)
	put("a.jsonl", 0, 99)
	if code, _, errOut := invoke(t, env, "", args...); code != 1 || !strings.Contains(errOut, "changed") {
		t.Errorf("changed input: exit code %d: %s", code, errOut)
	}
}

func TestStdin(t *testing.T) {
	p := newPartner(t)
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	code, out, errOut := invoke(t, env, events(500), "forward", "--from", "-", "--to", "webhook",
		"--set", "webhook.url="+p.URL, "-o", "json")
	if s := summaryOf(t, out); code != 0 || s.Destinations[0].Delivered != 500 {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	p.once(t, 500)
}

func TestRejectedEventsAndRedrive(t *testing.T) {
	p := newPartner(t)
	broken := true
	p.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
		for _, id := range ids {
			if broken && (id == "m7" || id == "m70") {
				http.Error(w, "bad event, token s3cr3t-value", 400)
				return true
			}
		}
		return false
	})
	env := map[string]string{"XDG_STATE_HOME": t.TempDir(), "HOOK_KEY": "s3cr3t-value"}
	in := file(t, "events.jsonl", events(100)+"{broken\n")
	dest := []string{"--set", "webhook.url=" + p.URL, "--set", "webhook.shared_secret=env:HOOK_KEY"}
	code, out, errOut := invoke(t, env, "",
		append([]string{"forward", "--from", in, "--to", "webhook", "-o", "json"}, dest...)...)
	s := summaryOf(t, out)
	if d := s.Destinations[0]; code != 3 || d.Delivered != 98 || d.Rejected["refused"] != 2 || s.BadRecords != 1 {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	p.once(t, 98)
	err := filepath.WalkDir(env["XDG_STATE_HOME"], func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("s3cr3t-value")) {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	broken = false
	for i := range 2 { // the second has nothing left to send
		code, out, errOut = invoke(t, env, "", append([]string{"redrive", s.Run, "-o", "json"}, dest...)...)
		if r := summaryOf(t, out); code != 0 || r.Destinations[0].Delivered != 2 {
			t.Fatalf("exit code %d: %s%s", code, out, errOut)
		}
		if strings.Contains(errOut, "sent again already") != (i == 1) {
			t.Errorf("redrive %d says %q", i+1, errOut)
		}
		p.once(t, 100)
	}
	// Dead letters are a source, too.
	code, out, _ = invoke(t, env, "",
		append([]string{"forward", "--from", s.Destinations[0].DeadLetters, "--to", "webhook", "-o", "json"}, dest...)...)
	if r := summaryOf(t, out); code != 0 || r.Destinations[0].Delivered != 2 || p.seen["m7"] != 2 {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestRedrives sends dead letters again in several ways. What one redrive has
// delivered no other sends, and what is refused again is a dead letter like the first.
func TestRedrives(t *testing.T) {
	p := newPartner(t)
	bad := map[string]bool{"m1": true, "m2": true, "m3": true, "pretty": true}
	p.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
		for _, id := range ids {
			if bad[id] {
				http.Error(w, "bad "+id, 400)
				return true
			}
		}
		return false
	})
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	in := file(t, "events.json", "["+strings.ReplaceAll(strings.TrimSpace(events(6)), "\n", ",")+
		",{\n\"type\":\"track\",\n\"messageId\":\"pretty\",\"event\":\"E\",\"userId\":\"u\"}]")
	dest := []string{"--set", "webhook.url=" + p.URL, "-o", "json"}
	redrive := func(want int, delivered uint64, skipped, rejected map[string]uint64, args ...string) engine.Summary {
		t.Helper()
		code, out, errOut := invoke(t, env, "", slices.Concat([]string{"redrive"}, args, dest)...)
		s := summaryOf(t, out)
		if d := s.Destinations[0]; code != want || d.Delivered != delivered || !maps.Equal(d.Skipped, skipped) ||
			!maps.Equal(d.Rejected, rejected) {
			t.Errorf("redrive %v: exit code %d: %s%s", args, code, out, errOut)
		}
		return s
	}
	none := map[string]uint64{}
	code, out, errOut := invoke(t, env, "", append([]string{"forward", "--from", in, "--to", "webhook"}, dest...)...)
	first := summaryOf(t, out)
	if d := first.Destinations[0]; code != 3 || d.Rejected["refused"] != 4 ||
		!strings.Contains(d.Examples["refused"], "status 400: bad ") {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	if !strings.Contains(errOut, "`fanfold redrive "+first.Run+"`") {
		t.Errorf("it does not say what to do: %s", errOut)
	}
	delete(bad, "m3")
	second := redrive(3, 1, none, map[string]uint64{"refused": 3}, first.Run)
	delete(bad, "m2")
	delete(bad, "pretty")
	redrive(3, 2, none, map[string]uint64{"refused": 1}, second.Run)
	delete(bad, "m1")
	redrive(0, 0, map[string]uint64{"not_selected": 4}, none, first.Run, "--since", "2999-01-01")
	redrive(0, 1, map[string]uint64{"redriven": 3}, none, first.Run, "--since", "2020-01-01")
	redrive(0, 0, map[string]uint64{"redriven": 4}, none, first.Run, "--reason", "refused")
	redrive(0, 0, map[string]uint64{"redriven": 3}, none, second.Run, "--reason", "refused")
	p.once(t, 7)
	for _, args := range [][]string{{"--reason", "refusd"}, {"--to", "webhok"}} {
		if code, _, errOut := invoke(t, env, "", slices.Concat([]string{"redrive", first.Run}, args, dest)...); code != 2 ||
			!strings.Contains(errOut, args[0]+": run "+first.Run+" has no ") {
			t.Errorf("%v: exit code %d: %s", args, code, errOut)
		}
	}
	if _, out, _ := invoke(t, env, "", "runs", "show", first.Run); !strings.Contains(out,
		"4 of the rejected were delivered by a redrive since") {
		t.Error(out)
	}
	if _, out, _ := invoke(t, env, "", "runs", "list"); strings.Count(out, "redrive of "+first.Run) != 4 {
		t.Error(out)
	}
}

// TestRedriveOfAGrowingRun redrives a run with two destinations, which gains letters
// and is redriven again, with its own configuration, also from elsewhere.
func TestRedriveOfAGrowingRun(t *testing.T) {
	p := newPartner(t)
	var refuses atomic.Bool
	p.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
		if refuses.Load() {
			http.Error(w, "no", 400)
		}
		return refuses.Load()
	})
	dir := t.TempDir()
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	conf := file(t, "own.yaml",
		"transform: [{remove: [properties.n]}]\ndestinations:\n  a: {type: webhook, settings: {url: '"+p.URL+
			"/a'}}\n  b: {type: webhook, settings: {url: '"+p.URL+"/b'}, filter: 'messageId != \"m3\"'}\n")
	forward := func(name, text string) engine.Summary {
		t.Helper()
		refuses.Store(true)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errOut := invoke(t, env, "", "forward", "--config", conf, "--from", dir, "-o", "json")
		if code != 3 {
			t.Fatalf("exit code %d: %s%s", code, out, errOut)
		}
		refuses.Store(false)
		return summaryOf(t, out)
	}
	id := forward("1.jsonl", events(5)).Run
	for _, want := range []struct {
		a, b uint64
		more bool
	}{{a: 5, b: 4, more: true}, {a: 3, b: 3}} {
		code, out, errOut := invoke(t, env, "", "redrive", id, "-o", "json")
		s := summaryOf(t, out)
		if code != 0 || s.Destinations[0].Delivered != want.a || s.Destinations[1].Delivered != want.b ||
			!strings.Contains(errOut, conf) {
			t.Errorf("exit code %d: %s%s", code, out, errOut)
		}
		if want.more {
			forward("2.jsonl", strings.ReplaceAll(events(3), `:"m`, `:"x`))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, n := range p.seen {
		if want := 2 - strings.Count(id, "m3"); n != want {
			t.Errorf("%s arrived %d times, want %d", id, n, want)
		}
	}
	if len(p.seen) != 8 || strings.Contains(fmt.Sprint(p.bodies), `"n":`) {
		t.Errorf("%d events arrived: %s", len(p.seen), p.bodies)
	}
	if err := os.Remove(conf); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := invoke(t, env, "", "redrive", id); code != 2 ||
		!strings.Contains(errOut, "which cannot be read: name one with --config") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestPreview(t *testing.T) {
	in := file(t, "events.jsonl", events(3)+
		`{"type":"group","userId":"u","messageId":"g","timestamp":"2024-05-01T00:00:00Z"}`+"\n"+
		`{"type":"alias","userId":"u","messageId":"a"}`+"\n")
	env := map[string]string{"FANFOLD_MIXPANEL_PROJECT_TOKEN": "tok-secret-1", "XDG_STATE_HOME": t.TempDir()}
	code, out, errOut := invoke(t, env, "", "preview", "--from", in, "--to", "mixpanel", "--batch-events", "1",
		"--now", "2024-06-01T00:00:00Z", "-o", "json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 3 || len(lines) != 5 {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	if strings.Contains(out, "tok-secret-1") || strings.Contains(out, "dG9rLXNlY3JldC0x") {
		t.Error("a secret is shown")
	}
	var first struct {
		Destination, Action, Method, URL string
		Events                           []string
		Headers                          map[string]string
		Body                             []map[string]any
	}
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || first.Method != "POST" ||
		first.URL != "https://api.mixpanel.com/import?strict=1" || first.Events[0] != "m0" ||
		first.Body[0]["event"] != "E0" || first.Headers["content-type"] != "application/json" {
		t.Errorf("%v: %s", err, lines[0])
	}
	if !strings.Contains(out, `"event":"g","rejected":"`) ||
		!strings.Contains(out, `"event":"a","skipped":"unsupported"`) {
		t.Errorf("not sent: %s", out)
	}
	if left, _ := filepath.Glob(filepath.Join(env["XDG_STATE_HOME"], "*")); len(left) > 0 {
		t.Errorf("preview left %v", left)
	}
}

func TestEveryTopicAndDestinationCanBeShown(t *testing.T) {
	for _, topic := range topicNames {
		if code, out, errOut := invoke(t, nil, "", "help", topic); code != 0 || len(out) < 200 {
			t.Errorf("help %s: %d %q %s", topic, code, out, errOut)
		}
	}
	for _, d := range destinations.All() {
		code, out, _ := invoke(t, nil, "", "destinations", "show", d.Info.Slug)
		if code != 0 || !strings.Contains(out, d.Info.Name) {
			t.Errorf("show %s: %d %s", d.Info.Slug, code, out)
		}
		code, out2, errOut := invoke(t, nil, "", "destinations", "show", d.Info.Slug, "-o", "json")
		var view struct {
			Slug     string
			Settings []struct{ Key, Type string }
			Actions  []struct {
				Slug   string
				Fields []struct{ Key, Type string }
			}
		}
		if err := json.Unmarshal([]byte(out2), &view); err != nil || code != 0 || view.Slug != d.Info.Slug ||
			len(view.Settings) != len(d.Settings.Fields) || len(view.Actions) != len(d.Actions) {
			t.Fatalf("show %s -o json: %d %v %s%s", d.Info.Slug, code, err, out2, errOut)
		}
		for i, act := range view.Actions {
			for k, f := range act.Fields {
				if want := d.Actions[i].Fields[k]; f.Key != want.Key || f.Type != want.Type.String() {
					t.Errorf("show %s -o json: %s has a field %+v, want %s (%s)", d.Info.Slug, act.Slug, f, want.Key, want.Type)
				}
			}
		}
		for _, f := range d.Settings.Fields {
			if f.Doc == "" || !strings.Contains(out, f.Key) {
				t.Errorf("%s: setting %s is not documented", d.Info.Slug, f.Key)
			}
		}
	}
	if code, out, _ := invoke(t, nil, "", "config", "init"); code != 0 || !strings.Contains(out, "destinations:") {
		t.Errorf("config init: %d %s", code, out)
	}
	env := map[string]string{"MP_TOKEN": "token-for-test", "MP_SECRET": "secret-for-test"}
	_, starterText, _ := invoke(t, nil, "", "config", "init")
	if code, out, errOut := invoke(t, env, "", "config", "check", "--config",
		file(t, "fanfold.yaml", starterText)); code != 0 {
		t.Errorf("the starter configuration: %d %s%s", code, out, errOut)
	}
	if code, out, _ := invoke(t, env, "", "config", "show", "--config", file(t, "fanfold.yaml", starterText)); code != 0 ||
		strings.Contains(out, "-for-test") || !strings.Contains(out, "***") {
		t.Errorf("config show: %d %s", code, out)
	}
}

func TestTransformTopicCompiles(t *testing.T) {
	_, text, _ := invoke(t, nil, "", "help", "transform")
	_, rest, _ := strings.Cut(text, "  transform:\n")
	block, _, ok := strings.Cut(rest, "\n\n")
	conf := file(t, "fanfold.yaml", "transform:\n"+block+"\n")
	env := map[string]string{"MASK_KEY": "key-for-test"}
	if code, out, errOut := invoke(t, env, "", "config", "check", "--config", conf); !ok || code != 0 {
		t.Fatalf("the example of help transform: %d %s%s", code, out, errOut)
	}
	ev := `{"type":"identify","messageId":"m","userId":"u","traits":{"email":"a@b.example"},"properties":{"password":"p","orderId":1},"timestamp":"2024-05-08T00:00:00Z"}` + "\n"
	conf = file(t, "all.yaml", "transform:\n"+strings.Replace(block, "10%", "100%", 1)+"\n")
	code, out, errOut := invoke(t, env, ev, "preview", "--config", conf, "--from", "-", "--to", "webhook",
		"--set", "webhook.url=http://127.0.0.1:1/")
	if code != 0 || strings.Contains(out, "a@b") || strings.Contains(out, "password") ||
		strings.Contains(out, "orderId") || !strings.Contains(out, "2024-05-01T00:00:00") ||
		!strings.Contains(out, "backfill") {
		t.Errorf("its steps: %d %s%s", code, out, errOut)
	}
}

func TestConfigNamesEveryBadStep(t *testing.T) {
	conf := file(t, "bad.yaml", "transform:\n  - dropp: 'type = \"x\"'\n  - drop: 'type = '\n  - sample: 200%\n"+
		"destinations:\n  m: {type: mixpanell}\n")
	code, _, errOut := invoke(t, nil, "", "config", "check", "--config", conf)
	for _, want := range []string{`bad.yaml:2: transform: there is no step "dropp"`, "bad.yaml:3: transform: drop: filter",
		"bad.yaml:4: transform: sample: the rate", "bad.yaml:6: destination m"} {
		if code != 2 || !strings.Contains(errOut, want) {
			t.Errorf("%d, without %q: %s", code, want, errOut)
		}
	}
}

// TestRedriveRemembersTheProfile: a redrive sends where its run has sent.
func TestRedriveRemembersTheProfile(t *testing.T) {
	status := http.StatusBadRequest
	partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer partner.Close()
	conf := file(t, "fanfold.yaml", fmt.Sprintf("destinations: {own: {type: webhook, settings: {url: %q}, retry: 1}}\n"+
		"profiles: {staging: {destinations: {own: {settings: {url: %q}}}}}\n", "http://127.0.0.1:1/production", partner.URL))
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	code, out, errOut := invoke(t, env, "", "forward", "--from", file(t, "in.jsonl", events(2)), "--config", conf,
		"--profile", "staging", "-o", "json")
	if code != exitRejected {
		t.Fatal(code, out, errOut)
	}
	run := summaryOf(t, out).Run
	status = http.StatusOK
	for _, c := range []struct {
		args      []string
		code      int
		delivered uint64
	}{
		{[]string{"--profile", ""}, exitRejected, 0},
		{nil, exitOK, 2},
	} {
		code, out, errOut = invoke(t, env, "", append([]string{"redrive", run, "-o", "json"}, c.args...)...)
		if code != c.code || summaryOf(t, out).Destinations[0].Delivered != c.delivered {
			t.Errorf("%v: exit code %d: %s%s", c.args, code, out, errOut)
		}
		if said := strings.Contains(errOut, "the profile is that of run "+run+", staging"); said != (c.args == nil) {
			t.Errorf("%v: it says %q", c.args, errOut)
		}
	}
}
