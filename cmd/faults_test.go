package cmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/standin"
)

// ended is a process of the real binary that came to its end.
type ended struct {
	code        int
	out, errOut string
}

// fanfold runs the real binary.
func fanfold(bin string, env []string, args ...string) ended {
	c := exec.Command(bin, args...)
	c.Env = append(os.Environ(), env...)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil && c.ProcessState == nil {
		return ended{-1, "", err.Error()}
	}
	return ended{c.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// misbehaving starts a stand-in behind a socket.
func misbehaving(t *testing.T, s standin.Script, tls bool) (*standin.Mischief, string) {
	t.Helper()
	if s.IDs == nil {
		s.IDs = standin.Texts{"[].messageId"}
	}
	m, err := standin.Misbehave(s, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(m)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // what fails here is meant to
	if tls {
		srv.StartTLS() // with a certificate that no client trusts
	} else {
		srv.Start()
	}
	t.Cleanup(func() {
		m.Stop() // ends requests that hang, for which Close would wait
		srv.CloseClientConnections()
		srv.Close()
	})
	return m, srv.URL
}

// letter is what these tests read of a dead letter.
type letter struct {
	Reason, Detail string
	Status         int
	Attempts       int
	Event          struct {
		MessageID string `json:"messageId"`
	}
}

func letters(t *testing.T, path string) map[string]letter {
	t.Helper()
	dead := map[string]letter{}
	if path == "" {
		return dead
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var l letter
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		if _, twice := dead[l.Event.MessageID]; twice {
			t.Errorf("two dead letters for %s", l.Event.MessageID)
		}
		dead[l.Event.MessageID] = l
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return dead
}

// exactlyOnce holds a healthy destination to its promise.
func exactlyOnce(t *testing.T, d engine.LaneSummary, m *standin.Mischief, n int) {
	t.Helper()
	if d.Delivered != uint64(n) || d.Deliveries != uint64(n) || d.Pending+engine.Total(d.Rejected)+d.Retries != 0 ||
		d.Requests != uint64(m.Requests()) {
		t.Errorf("the healthy destination: %+v, %d requests came", d, m.Requests())
	}
	seen := m.Events()
	if len(seen) != n {
		t.Errorf("the healthy destination got %d events, want %d", len(seen), n)
	}
	for id, c := range seen {
		if c != (standin.Count{Seen: 1, Taken: 1}) {
			t.Errorf("the healthy destination: %s %+v", id, c)
			return
		}
	}
}

// truthful compares what a summary says of a sick destination with what its
// partner counted, event by event. took: the partner may have kept what it
// never confirmed.
func truthful(t *testing.T, d engine.LaneSummary, m *standin.Mischief, n int, took bool) {
	t.Helper()
	dead := letters(t, d.DeadLetters)
	if uint64(len(dead)) != engine.Total(d.Rejected) {
		t.Errorf("%d dead letters for %v", len(dead), d.Rejected)
	}
	reasons := map[string]uint64{}
	for _, l := range dead {
		reasons[l.Reason]++
	}
	for r, k := range d.Rejected {
		if reasons[r] != k {
			t.Errorf("%d dead letters say %s, the summary %d", reasons[r], r, k)
		}
	}
	taken, again := 0, 0
	for id, c := range m.Events() {
		if c.Taken == 0 {
			continue
		}
		taken++
		again += c.Taken - 1
		if _, ok := dead[id]; ok && !took {
			t.Errorf("%s is a dead letter, but the partner has it", id)
		}
	}
	if !took && (uint64(taken) != d.Delivered || again > 0) {
		t.Errorf("the partner has %d events, %d repeats; the summary says %d", taken, again, d.Delivered)
	}
	if took && uint64(taken) < d.Delivered {
		t.Errorf("the partner has only %d events of the %d of the summary", taken, d.Delivered)
	}
	if d.Delivered+engine.Total(d.Rejected)+d.Pending != uint64(n) {
		t.Errorf("%d events become %+v", n, d)
	}
}

// sick is one way of a destination to be sick, and how it has to end.
type sick struct {
	name      string
	script    standin.Script
	fault     standin.Fault // of the script's one rule, when it has none
	times     int           // of that rule
	tls, took bool
	kind      string // type and settings, instead of a webhook; %s is the address
	options   string // more of the destination's options, in YAML

	code      int
	delivered int
	rejected  map[string]uint64
	stopped   string // the summary's reason has it
	detail    string // every dead letter has it
	status    int    // of every dead letter
	exact     bool   // times requests more than batches, and as many retries
}

// TestFaultyPartner has the real binary deliver to a healthy destination beside
// one that suffers from a single fault: the healthy one gets everything exactly
// once, and the summary, the exit code and the dead letters tell of the other
// what its partner counted.
func TestFaultyPartner(t *testing.T) {
	t.Parallel()
	const n, batches = 60, 6
	answer := func(status int) standin.Fault {
		return standin.Fault{Kind: standin.Answer, Reply: standin.Reply{Status: status, Body: `{"error":"says the partner"}`}}
	}
	with := func(f standin.Fault, edit func(*standin.Fault)) standin.Fault { edit(&f); return f }
	one := func(kind standin.FaultKind) standin.Fault {
		return standin.Fault{Kind: kind, Reply: standin.Reply{Body: `{"ok":true,"n":{n}}`}}
	}
	all := map[string]uint64{"exhausted": n}
	mixpanel := standin.Script{IDs: standin.Texts{"[].properties.$insert_id"},
		Answer: standin.Reply{Body: `{"code":200,"num_records_imported":{n},"status":"OK"}`}}
	// strange is mixpanel with other answers: some of them, or all (0).
	strange := func(times int, body string) standin.Script {
		s := mixpanel
		s.Rules = []standin.Rule{{Times: times,
			Fault: standin.Fault{Kind: standin.Answer, Lost: true, Reply: standin.Reply{Status: 200, Body: body}}}}
		return s
	}
	const login = "<!DOCTYPE html><title>Sign in</title>"
	analytics := "type: mixpanel, settings: {project_token: not-a-real-token}, base_url: %q"
	refused := []string{"m3", "m17", "m18", "m59"}
	for _, id := range refused {
		mixpanel.Rules = append(mixpanel.Rules, standin.Rule{ID: id, Fault: standin.Fault{
			Kind: standin.Partial, RejectIDs: refused,
			Reply: standin.Reply{Status: 400, Body: `{"code":400,"num_records_imported":{n},"failed_records":[{failed}]}`,
				Failed: `{"index":{index},"insert_id":"{id}","field":"properties.time","message":"says the partner"}`},
		}})
	}
	cases := []sick{
		{name: "slow", fault: with(answer(200), func(f *standin.Fault) { f.Delay = 50 * time.Millisecond }), delivered: n,
			exact: true},
		{name: "hangs twice", fault: one(standin.Hang), times: 2, options: "timeout: 500ms", delivered: n},
		{name: "hangs, but takes", fault: with(one(standin.Hang), func(f *standin.Fault) { f.Took = true }), times: 2,
			took: true, options: "timeout: 500ms", delivered: n},
		{name: "hangs for ever", fault: one(standin.Hang), options: "timeout: 400ms, retry: 2", code: 3, rejected: all,
			detail: "given up after 2 attempts"},
		{name: "resets", fault: one(standin.Reset), times: 3, delivered: n, exact: true},
		{name: "resets, but takes", fault: with(one(standin.Reset), func(f *standin.Fault) { f.Took = true }), times: 3,
			took: true, delivered: n, exact: true},
		{name: "resets always", fault: one(standin.Reset), options: "retry: 1", code: 3, rejected: all,
			detail: "given up after 1 attempt in"},
		{name: "resets in the body", fault: with(one(standin.ResetBody), func(f *standin.Fault) { f.Took = true }), times: 2,
			took: true, delivered: n, exact: true},
		{name: "truncates", fault: one(standin.Truncated), times: 2, delivered: n, exact: true},
		{name: "malformed chunks", fault: one(standin.BadChunk), times: 2, delivered: n, exact: true},
		{name: "garbage", fault: one(standin.Garbage), times: 2, delivered: n, exact: true},
		{name: "garbage always", fault: one(standin.Garbage), options: "retry: 1", code: 3, rejected: all,
			detail: "malformed HTTP"},
		{name: "huge answer", fault: standin.Fault{Kind: standin.Huge, Size: 32 << 20}, times: 1, delivered: n},
		{name: "huge failure", fault: standin.Fault{Kind: standin.Huge, Size: 32 << 20, Reply: standin.Reply{Status: 500}},
			times: 1, delivered: n, exact: true},
		{name: "slow down", fault: with(answer(429), func(f *standin.Fault) { f.RetryAfter = time.Second }), times: 1,
			delivered: n, exact: true},
		{name: "slow down until", fault: with(answer(429), func(f *standin.Fault) {
			f.RetryAfter, f.RetryAfterDate = 2*time.Second, true
		}), times: 1, delivered: n, exact: true},
		{name: "fails in bursts", script: standin.Script{Rules: []standin.Rule{{Times: 2, Fault: answer(503)},
			{Skip: 2, Times: 2, Fault: answer(500)}}}, delivered: n, times: 4, exact: true},
		{name: "fails always", fault: answer(500), options: "retry: 1", code: 3, rejected: all, detail: "says the partner",
			status: 500},
		{name: "refuses the credentials", fault: answer(401), code: 4, stopped: "says the partner"},
		{name: "refuses them later", script: standin.Script{Rules: []standin.Rule{{Skip: 2, Fault: answer(403)}}}, code: 4,
			delivered: 20, stopped: "status 403"},
		{name: "refuses everything", fault: answer(400), code: 3, rejected: map[string]uint64{"refused": n},
			detail: "says the partner", status: 400},
		{name: "refuses whole batches for two events",
			script: standin.Script{Rules: []standin.Rule{{ID: "m7", Fault: answer(400)}, {ID: "m41", Fault: answer(422)}}},
			code:   3, delivered: n - 2, rejected: map[string]uint64{"refused": 2}, detail: "says the partner"},
		{name: "too large", fault: answer(413), times: 1, delivered: n},
		{name: "refuses some", script: mixpanel, kind: analytics, code: 3, delivered: n - 4,
			rejected: map[string]uint64{"refused": 4}, detail: "properties.time: says the partner", status: 400},
		{name: "a login page, for a while", script: strange(2, login), kind: analytics, delivered: n},
		{name: "a login page", script: strange(0, login), kind: analytics, options: "retry: 1", code: 3, rejected: all,
			detail: "the body is no JSON object", status: 200},
		{name: "takes nothing", script: strange(0, `{"code":200,"num_records_imported":0,"status":"OK"}`), kind: analytics,
			options: "retry: 1", code: 3, rejected: all, detail: "num_records_imported says 0 of 10", status: 200},
		{name: "untrusted certificate", tls: true, code: 4, stopped: "certificate does not verify"},
	}
	bin, input := build(t), file(t, "in.jsonl", events(n))
	type pair struct {
		well, ill *standin.Mischief
		end       ended
	}
	results := make([]pair, len(cases))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 6) // most of them wait most of the time
	for i := range cases {
		c, r := &cases[i], &results[i]
		if c.script.Rules == nil && c.fault.Kind != "" {
			c.script.Rules = []standin.Rule{{Times: c.times, Fault: c.fault}}
		}
		var wellURL, illURL string
		r.well, wellURL = misbehaving(t, standin.Script{}, false)
		r.ill, illURL = misbehaving(t, c.script, c.tls)
		if c.kind == "" {
			c.kind = "type: webhook, settings: {url: %q}"
		}
		text := fmt.Sprintf("destinations:\n  well: {type: webhook, settings: {url: %q}, batch_events: 10}\n  ill: {"+c.kind+
			", batch_events: 10, concurrency: 1, %s}\n", wellURL, illURL, c.options)
		conf, state := file(t, "fanfold.yaml", text), t.TempDir()
		wg.Go(func() {
			slots <- struct{}{}
			r.end = fanfold(bin, nil, "forward", "--from", input, "--config", conf, "--state-dir", state, "-o", "json")
			<-slots
		})
	}
	wg.Wait()
	for i := range cases {
		c, r := &cases[i], &results[i]
		t.Run(c.name, func(t *testing.T) {
			if r.end.code != c.code {
				t.Fatalf("exit code %d, want %d: %s%s", r.end.code, c.code, r.end.out, r.end.errOut)
			}
			s := summaryOf(t, r.end.out)
			if complete := c.code != 4; complete != (s.Status == "complete") || s.Read != n {
				t.Errorf("the run: %s", r.end.out)
			}
			exactlyOnce(t, s.Destinations[0], r.well, n)
			d := s.Destinations[1]
			truthful(t, d, r.ill, n, c.took)
			if d.Delivered != uint64(c.delivered) || fmt.Sprint(d.Rejected) != fmt.Sprint(c.rejected) ||
				c.code == 4 != (d.Pending > 0) || d.InDoubt != 0 {
				t.Errorf("the sick destination: %+v", d)
			}
			if !strings.Contains(d.Stopped, c.stopped) || c.stopped == "" && d.Stopped != "" ||
				c.stopped != "" && !strings.Contains(r.end.errOut, c.stopped) {
				t.Errorf("it was stopped for %q\n%s", d.Stopped, r.end.errOut)
			}
			if !c.tls && d.Requests != uint64(r.ill.Requests()) {
				t.Errorf("%d requests were counted, %d came", d.Requests, r.ill.Requests())
			}
			if c.exact && (d.Requests != uint64(batches+c.times) || d.Retries != uint64(c.times)) {
				t.Errorf("%d requests and %d retries, want %d and %d", d.Requests, d.Retries, batches+c.times, c.times)
			}
			for id, l := range letters(t, d.DeadLetters) {
				if !strings.Contains(l.Detail, c.detail) || c.status != 0 && l.Status != c.status {
					t.Errorf("%s: %+v", id, l)
					break
				}
			}
		})
	}
}

// rounds is how often to do what chance decides about.
func rounds(t *testing.T, short int) int {
	t.Helper()
	s := os.Getenv("FANFOLD_FAULTS")
	if s == "" {
		return short
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("FANFOLD_FAULTS: %v", err)
	}
	return n
}

// TestFaultyMixtures has the real binary deliver to a healthy destination beside
// three that suffer from seeded mixtures of faults, each of a bounded number:
// in the end all have everything but what they refuse.
//
// FANFOLD_FAULTS=200 go test -run TestFaultyMixtures ./cmd is the long form.
func TestFaultyMixtures(t *testing.T) {
	t.Parallel()
	const n = 200
	bin, input := build(t), file(t, "in.jsonl", events(n))
	slots := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for seed := range rounds(t, 3) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { mixture(t, bin, input, n, uint64(seed)) })
		})
	}
	wg.Wait()
}

func mixture(t *testing.T, bin, input string, n int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	kinds := []standin.FaultKind{standin.Answer, standin.Hang, standin.Reset, standin.ResetBody, standin.Truncated,
		standin.Huge, standin.Garbage, standin.BadChunk}
	var b strings.Builder
	well, url := misbehaving(t, standin.Script{}, false)
	fmt.Fprintf(&b, "destinations:\n  well: {type: webhook, settings: {url: %q}, batch_events: 10}\n", url)
	const sicks = 3
	var ill [sicks]*standin.Mischief
	var bad [sicks]map[string]bool
	var took [sicks]bool
	for i := range sicks {
		s := standin.Script{Seed: seed}
		bad[i] = map[string]bool{}
		for range rng.IntN(4) {
			id := fmt.Sprint("m", rng.IntN(n))
			bad[i][id] = true
			s.Rules = append(s.Rules, standin.Rule{ID: id,
				Fault: standin.Fault{Kind: standin.Answer,
					Reply: standin.Reply{Status: []int{400, 404, 422}[rng.IntN(3)], Body: "no"}}})
		}
		for range 1 + rng.IntN(4) {
			f := standin.Fault{Kind: kinds[rng.IntN(len(kinds))], Size: 9 << 20,
				Reply: standin.Reply{Status: []int{429, 500, 502, 503, 408}[rng.IntN(5)], Body: `{"n":{n}}`}}
			if f.Kind == standin.Answer && rng.IntN(3) == 0 {
				f.RetryAfter = time.Second
			}
			if f.Kind != standin.Answer && f.Kind != standin.Huge && rng.IntN(2) == 0 {
				f.Took, took[i] = true, true
			}
			s.Rules = append(s.Rules, standin.Rule{Skip: rng.IntN(10), Times: 1 + rng.IntN(3), Every: rng.IntN(4), Fault: f})
		}
		ill[i], url = misbehaving(t, s, false)
		fmt.Fprintf(&b, "  ill%d: {type: webhook, settings: {url: %q}, batch_events: %d, concurrency: %d, timeout: 2s, "+
			"retry: 50}\n", i, url, []int{7, 20, 100}[rng.IntN(3)], 1+rng.IntN(4))
	}
	end := fanfold(bin, nil, "forward", "--from", input, "--config", file(t, "fanfold.yaml", b.String()), "--state-dir",
		t.TempDir(), "-o", "json")
	code := 0
	for i := range bad {
		if len(bad[i]) > 0 {
			code = 3
		}
	}
	if end.code != code {
		t.Fatalf("exit code %d, want %d: %s%s", end.code, code, end.out, end.errOut)
	}
	s := summaryOf(t, end.out)
	exactlyOnce(t, s.Destinations[0], well, n)
	for i := range sicks {
		d := s.Destinations[1+i]
		truthful(t, d, ill[i], n, took[i])
		dead := letters(t, d.DeadLetters)
		if len(dead) != len(bad[i]) || d.Delivered != uint64(n-len(bad[i])) {
			t.Errorf("ill%d refuses %v: %+v", i, bad[i], d)
		}
		for id := range bad[i] {
			if l, ok := dead[id]; !ok || l.Reason != "refused" {
				t.Errorf("ill%d refuses %s: %+v", i, id, l)
			}
		}
		if d.Requests != uint64(ill[i].Requests()) {
			t.Errorf("ill%d: %d requests were counted, %d came", i, d.Requests, ill[i].Requests())
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", b.String(), end.out)
	}
}

// TestExitCodes goes through the table of exit codes, and what wins where
// several hold. Nothing is sent when the code is 2.
func TestExitCodes(t *testing.T) {
	const n = 20
	good := events(n)
	type world struct {
		p     *partner
		state string
		conf  string // a configuration with the destinations a and b, both at p
		in    string
	}
	refuse := func(status int) func(http.ResponseWriter, *http.Request, []string) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
			http.Error(w, "says the partner", status)
			return true
		}
	}
	damage := func(t *testing.T, state string) {
		paths, err := filepath.Glob(filepath.Join(state, "runs", "*", "journal.db"))
		if err != nil || len(paths) != 1 {
			t.Fatalf("%v: %v", paths, err)
		}
		if err := os.WriteFile(paths[0], bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	forward := func(t *testing.T, w *world, more ...string) (int, string, string) {
		return invoke(t, nil, "", append([]string{"forward", "--from", w.in, "--config", w.conf, "--state-dir", w.state,
			"-o", "json", "--progress", "never"}, more...)...)
	}
	oneOf := func(who string, status int) func(http.ResponseWriter, *http.Request, []string) bool {
		return func(w http.ResponseWriter, r *http.Request, _ []string) bool {
			if r.URL.Path == who {
				http.Error(w, "says the partner", status)
				return true
			}
			return false
		}
	}
	for _, c := range []struct {
		name  string
		input string // instead of good events
		code  int
		first func(t *testing.T, w *world) // before the command
		then  func(t *testing.T, w *world) (int, string, string)
	}{
		{name: "all delivered", code: 0},
		{name: "nothing new", code: 0, first: func(t *testing.T, w *world) { forward(t, w) }},
		{name: "empty input", code: 0, input: "\n"},
		{name: "in the place of the state is a file", code: 1, first: func(t *testing.T, w *world) {
			w.state = file(t, "state", "")
		}},
		{name: "state damaged", code: 1, first: func(t *testing.T, w *world) { forward(t, w); damage(t, w.state) }},
		{name: "input changed", code: 1, first: func(t *testing.T, w *world) {
			w.p.answers(refuse(401))
			forward(t, w)
			w.p.answers(nil)
			if err := os.WriteFile(w.in, []byte(events(n)[50:]), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "unknown flag", code: 2, then: func(t *testing.T, w *world) (int, string, string) {
			return forward(t, w, "--nope")
		}},
		{name: "unknown destination", code: 2, then: func(t *testing.T, w *world) (int, string, string) {
			return forward(t, w, "--to", "nope")
		}},
		{name: "no such input", code: 2, first: func(t *testing.T, w *world) { w.in += ".gone" }},
		{name: "malformed filter", code: 2, then: func(t *testing.T, w *world) (int, string, string) {
			return forward(t, w, "--filter", "type =")
		}},
		{name: "malformed configuration", code: 2, first: func(t *testing.T, w *world) {
			w.conf = file(t, "fanfold.yaml", "destinations: {a: {type: webhook}}")
		}},
		{name: "unknown command", code: 2, then: func(t *testing.T, _ *world) (int, string, string) {
			return invoke(t, nil, "", "nope")
		}},
		{name: "events refused", code: 3, first: func(t *testing.T, w *world) { w.p.answers(refuse(400)) }},
		{name: "events refused by one of two", code: 3, first: func(t *testing.T, w *world) {
			w.p.answers(oneOf("/a", 400))
		}},
		{name: "bad records", code: 3, input: good + "no event\n"},
		{name: "nothing but bad records", code: 3, input: "{\"no\":\"event\"}\n"},
		{name: "finished before, with rejections", code: 3, first: func(t *testing.T, w *world) {
			w.p.answers(refuse(400))
			forward(t, w)
			w.p.answers(nil)
		}},
		{name: "a redrive that is refused again", code: 3, first: func(t *testing.T, w *world) {
			w.p.answers(refuse(400))
		}, then: func(t *testing.T, w *world) (int, string, string) {
			_, out, _ := forward(t, w)
			return invoke(t, nil, "", "redrive", summaryOf(t, out).Run, "--config", w.conf, "--state-dir", w.state, "-o", "json",
				"--progress", "never")
		}},
		{name: "a redrive that goes through", code: 0, first: func(t *testing.T, w *world) {
			w.p.answers(refuse(400))
		}, then: func(t *testing.T, w *world) (int, string, string) {
			_, out, _ := forward(t, w)
			w.p.answers(nil)
			return invoke(t, nil, "", "redrive", summaryOf(t, out).Run, "--config", w.conf, "--state-dir", w.state, "-o", "json",
				"--progress", "never")
		}},
		{name: "a preview with bad records", code: 3, input: good + "no event\n",
			then: func(t *testing.T, w *world) (int, string, string) {
				code, out, errOut := invoke(t, nil, "", "preview", "--from", w.in, "--config", w.conf, "-o", "json")
				return code, "", out + errOut
			}},
		{name: "a preview", code: 0, then: func(t *testing.T, w *world) (int, string, string) {
			code, out, errOut := invoke(t, nil, "", "preview", "--from", w.in, "--config", w.conf, "-o", "json")
			return code, "", out + errOut
		}},
		{name: "credentials refused", code: 4, first: func(t *testing.T, w *world) { w.p.answers(refuse(401)) }},
		{name: "resumed after that", code: 0, first: func(t *testing.T, w *world) {
			w.p.answers(refuse(401))
			forward(t, w)
			w.p.answers(nil)
		}},
		{name: "a wrong command beside damaged state", code: 2, first: func(t *testing.T, w *world) {
			// What is wrong with the command is found first, and then nothing
			// else is looked at.
			forward(t, w)
			damage(t, w.state)
			w.in += ".gone"
		}},
		{name: "1 before 3 and 4: state damaged after bad records and refused credentials", code: 1,
			input: good + "no event\n", first: func(t *testing.T, w *world) {
				w.p.answers(refuse(401))
				forward(t, w)
				damage(t, w.state)
			}},
		{name: "2 before 4: work is pending, and the command is wrong", code: 2, first: func(t *testing.T, w *world) {
			w.p.answers(refuse(401))
			forward(t, w)
			w.p.answers(func(http.ResponseWriter, *http.Request, []string) bool { t.Error("something was sent"); return false })
		}, then: func(t *testing.T, w *world) (int, string, string) { return forward(t, w, "--progress", "maybe") }},
		{name: "4 before 3: one refuses events, the other the credentials", code: 4, input: good + "no event\n",
			first: func(t *testing.T, w *world) {
				w.p.answers(func(rw http.ResponseWriter, r *http.Request, ids []string) bool {
					return oneOf("/a", 400)(rw, r, ids) || oneOf("/b", 401)(rw, r, ids)
				})
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{p: newPartner(t), state: t.TempDir()}
			w.conf = file(t, "fanfold.yaml", fmt.Sprintf("destinations:\n  a: {type: webhook, settings: {url: %q}}\n"+
				"  b: {type: webhook, settings: {url: %q}}\n", w.p.URL+"/a", w.p.URL+"/b"))
			if c.input == "" {
				c.input = good
			}
			w.in = file(t, "in.jsonl", c.input)
			if c.first != nil {
				c.first(t, w)
			}
			if c.then == nil {
				c.then = func(t *testing.T, w *world) (int, string, string) { return forward(t, w) }
			}
			w.p.mu.Lock()
			sent := len(w.p.seen)
			w.p.mu.Unlock()
			code, out, errOut := c.then(t, w)
			if code != c.code {
				t.Fatalf("exit code %d, want %d: %s%s", code, c.code, out, errOut)
			}
			if out != "" {
				if s := summaryOf(t, out); s.Status == "incomplete" != (code == 4 || code == 1) {
					t.Errorf("exit code %d: %s", code, out)
				}
			}
			if (code == 1 || code == 2) && !strings.HasPrefix(errOut, "fanfold: ") {
				t.Errorf("no error: %q", errOut)
			}
			w.p.mu.Lock()
			defer w.p.mu.Unlock()
			if code == 2 && len(w.p.seen) != sent {
				t.Errorf("%d events were sent", len(w.p.seen)-sent)
			}
		})
	}
	// What cannot be provoked from outside.
	machine, usage, input := errors.New("disk full"), usagef("no such flag"), error(
		&source.InputError{Err: errors.New("no such file")})
	for i, c := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{errors.Join(nil, nil), 0},
		{&engine.MismatchError{Msg: "one is missing"}, 1},
		{&journal.BusyError{Dir: "d"}, 4},
		{machine, 1},
		{usage, 2},
		{input, 2},
		{&run.SentError{Mistake: input}, 1},
		{fmt.Errorf("doing this: %w", usage), 2},
		{fmt.Errorf("doing %w, and %w", machine, usage), 2}, // one error with two causes
		{outcome(exitFinding), 5},
		{errors.Join(outcome(exitIncomplete), machine), 1},
		{errors.Join(outcome(exitRejected), errors.Join(outcome(exitIncomplete), machine)), 1},
		{errors.Join(usage, machine), 1},
		{errors.Join(machine, usage), 1},
		{errors.Join(outcome(exitIncomplete), usage), 2},
		{errors.Join(outcome(exitRejected), outcome(exitIncomplete)), 4},
		{errors.Join(outcome(exitRejected), nil), 3},
	} {
		if got := exitCode(c.err); got != c.code {
			t.Errorf("%d: %v: exit code %d, want %d", i, c.err, got, c.code)
		}
	}
}

// doubtful is a partner that takes events and, while it is told to, leaves the
// request without an answer.
type doubtful struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[int][]string // insert ids under which each event came
	mute func(request int) bool
	n    int
	held chan struct{} // one for each request that is left without an answer
	free chan struct{}
}

func newDoubtful(t *testing.T, mute func(int) bool) *doubtful {
	d := &doubtful{seen: map[int][]string{}, mute: mute, held: make(chan struct{}, 100), free: make(chan struct{})}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var events []struct {
			Properties struct {
				N        int    `json:"n"`
				InsertID string `json:"$insert_id"`
			} `json:"properties"`
		}
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				http.Error(w, err.Error(), 400)
				return
			}
			body = z
		}
		if err := json.NewDecoder(body).Decode(&events); err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		d.mu.Lock()
		for _, e := range events {
			d.seen[e.Properties.N] = append(d.seen[e.Properties.N], e.Properties.InsertID)
		}
		d.n++
		mute := d.mute(d.n)
		d.mu.Unlock()
		if mute {
			d.held <- struct{}{}
			<-d.free
			return
		}
		fmt.Fprintf(w, `{"code":200,"num_records_imported":%d,"status":"OK"}`, len(events))
	}))
	t.Cleanup(d.Close)
	return d
}

// TestInDoubt kills the real binary while requests are without an answer. With
// in_doubt: hold the next process reports their events as in doubt and does
// not send them again; with resend it does, under the same insert ids.
func TestInDoubt(t *testing.T) {
	t.Parallel()
	const n, batch = 60, 10
	bin := build(t)
	// Some events have no messageId, and so an insert id of ours.
	input := file(t, "in.jsonl", strings.ReplaceAll(events(n), `"messageId":"m3`, `"other":"m3`))
	for _, c := range []struct {
		name          string
		concurrency   int
		answered      int // requests before those that get no answer
		doubts        int
		first, second string // in_doubt of the processes after the kill
	}{
		{"hold, then resend", 1, 2, 1, "hold", "resend"},
		{"hold all that was in flight, then resend", 3, 0, 3, "hold", "resend"},
		{"resend", 1, 3, 1, "resend", "resend"},
		{"the first request of all", 1, 0, 1, "resend", "hold"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoubtful(t, func(k int) bool { return k > c.answered })
			state := t.TempDir()
			args := func(doubt string) []string {
				return []string{"forward", "--from", input, "--to", "mixpanel", "--set", "mixpanel.project_token=not-a-real-token",
					"--opt", "mixpanel.base_url=" + d.URL, "--opt", fmt.Sprint("mixpanel.concurrency=", c.concurrency),
					"--opt", fmt.Sprint("mixpanel.batch_events=", batch), "--opt", "mixpanel.in_doubt=" + doubt, "--state-dir", state,
					"-o", "json", "--progress", "never"}
			}
			victim := exec.Command(bin, args("resend")...)
			if err := victim.Start(); err != nil {
				t.Fatal(err)
			}
			for range c.doubts {
				<-d.held
			}
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = victim.Wait() // it was killed
			d.mu.Lock()
			d.mute = func(int) bool { return false }
			inDoubt := map[int]bool{}
			if len(d.seen) != (c.answered+c.doubts)*batch {
				t.Fatalf("%d events came before the kill", len(d.seen))
			}
			for k := range d.seen {
				inDoubt[k] = true
			}
			before := d.n
			d.mu.Unlock()
			close(d.free)

			step := func(doubt string, code int, delivered, pending, requests int) {
				t.Helper()
				end := fanfold(bin, nil, args(doubt)...)
				if end.code != code {
					t.Fatalf("in_doubt: %s: exit code %d, want %d: %s%s", doubt, end.code, code, end.out, end.errOut)
				}
				s := summaryOf(t, end.out).Destinations[0]
				if s.Delivered != uint64(delivered) || s.Pending != uint64(pending) || s.InDoubt != uint64(c.doubts*batch) ||
					engine.Total(s.Rejected) > 0 {
					t.Errorf("in_doubt: %s: %+v", doubt, s)
				}
				if strings.Contains(end.errOut, "in_doubt=resend") != (pending > 0) {
					t.Errorf("in_doubt: %s: it says %q", doubt, end.errOut)
				}
				d.mu.Lock()
				defer d.mu.Unlock()
				if d.n-before != requests {
					t.Errorf("in_doubt: %s: %d more requests, want %d", doubt, d.n-before, requests)
				}
				before = d.n
			}
			left := n/batch - c.answered - c.doubts
			if c.first == "hold" {
				step("hold", 4, n-c.doubts*batch, c.doubts*batch, left)
				step("hold", 4, n-c.doubts*batch, c.doubts*batch, 0) // it stays so
				d.mu.Lock()
				for k, ids := range d.seen {
					if len(ids) != 1 {
						t.Errorf("event %d came %d times though it was held", k, len(ids))
					}
				}
				d.mu.Unlock()
				step(c.second, 0, n, 0, c.doubts)
			} else {
				step(c.first, 0, n, 0, left+c.doubts)
				step(c.second, 0, n, 0, 0)
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if len(d.seen) != n {
				t.Errorf("%d of %d events came", len(d.seen), n)
			}
			twice := 0
			for k, ids := range d.seen {
				for _, id := range ids {
					if id != ids[0] || id == "" {
						t.Errorf("event %d came under the insert ids %q", k, ids)
					}
				}
				if len(ids) > 2 || len(ids) == 2 && !inDoubt[k] {
					t.Errorf("event %d came %d times", k, len(ids))
				}
				twice += len(ids) - 1
			}
			if twice != c.doubts*batch {
				t.Errorf("%d repeats, want %d", twice, c.doubts*batch)
			}
		})
	}
}

// noise makes events that hardly compress.
func noise(n, size int) string {
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"type":"track","event":"E","messageId":"m%d","userId":"u%d","timestamp":"2024-05-01T00:00:00Z","properties":{"noise":"`, i, i%7)
		for range size / 13 {
			b.WriteString(strconv.FormatUint(rng.Uint64()|1<<63, 36))
		}
		b.WriteString("\"}}\n")
	}
	return b.String()
}

// TestDiskFull has the real binary run into a limit of what it can write, in
// its journal, its dead letters and the spool of standard input: it says so
// once, exits 1, and the same command finishes once there is room.
func TestDiskFull(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell that could set a limit")
	}
	bin := build(t)
	const n = 2000
	small, large := noise(n, 50), noise(n, 500)
	for _, c := range []struct {
		name, input string
		stdin       bool
		batch       int
		refuses     bool
		want        string // the error has it
	}{
		{"journal", small, false, 5, false, "writing the journal"},
		{"dead letters", large, false, 500, true, "writing the journal"},
		{"spool", large, true, 100, false, "spooling standard input"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPartner(t)
			if c.refuses {
				p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
					for _, id := range ids {
						p.seen[id]++
					}
					http.Error(w, "says the partner", 400)
					return true
				})
			}
			state, from := t.TempDir(), file(t, "in.jsonl", c.input)
			if c.stdin {
				from = "-"
			}
			args := []string{bin, "forward", "--from", from, "--to", "webhook", "--set", "webhook.url=" + p.URL, "--opt",
				fmt.Sprint("webhook.batch_events=", c.batch), "--opt", "webhook.concurrency=1", "--state-dir", state, "-o", "json",
				"--progress", "never", "--max-errors", "0"}
			forward := func(limit string) ended {
				// The shell runs the command with the limit, in blocks of 512 bytes.
				cmd := exec.Command(sh, append([]string{"-c", `ulimit -f ` + limit + `; exec "$0" "$@"`}, args...)...)
				if c.stdin {
					cmd.Stdin = strings.NewReader(c.input)
				}
				var out, errOut bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errOut
				_ = cmd.Run() // the exit code says it
				return ended{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
			}
			full := forward("400")
			if full.code != 1 || strings.Count(full.errOut, c.want) != 1 || strings.Contains(full.errOut, "goroutine") {
				t.Fatalf("exit code %d, out %q, said:\n%s", full.code, full.out, full.errOut)
			}
			t.Logf("it says %s", full.errOut)
			if full.out == "" && c.stdin {
				// Nothing could be spooled, so no run began.
			} else if s := summaryOf(t, full.out); s.Status != "incomplete" {
				t.Errorf("summary %s", full.out)
			}
			again := forward("unlimited")
			want := 0
			if c.refuses {
				want = 3
			}
			if again.code != want {
				t.Fatalf("exit code %d once there is room: %s%s", again.code, again.out, again.errOut)
			}
			d := summaryOf(t, again.out).Destinations[0]
			if c.refuses {
				if dead := letters(t, d.DeadLetters); len(dead) != n || d.Rejected["refused"] != n {
					t.Errorf("%d dead letters, %+v", len(dead), d)
				}
			} else if d.Delivered != n {
				t.Errorf("summary %s", again.out)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			repeats := 0
			for _, k := range p.seen {
				repeats += k - 1
			}
			if len(p.seen) != n || !c.refuses && repeats > c.batch {
				t.Errorf("%d events arrived, with %d repeats", len(p.seen), repeats)
			}
		})
	}
}

// TestReadOnlyState takes the right to write into the state away.
func TestReadOnlyState(t *testing.T) {
	if os.Getuid() <= 0 {
		t.Skip("root may write everywhere")
	}
	in, state, p := file(t, "in.jsonl", events(50)), t.TempDir(), newPartner(t)
	forward := func() (int, string, string) {
		return invoke(t, nil, "", "forward", "--from", in, "--to", "webhook", "--set", "webhook.url="+p.URL, "--state-dir",
			state, "-o", "json", "--progress", "never")
	}
	protect := func(mode os.FileMode, paths ...string) {
		for _, path := range paths {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	protect(0o500, state)
	if code, out, errOut := forward(); code != 1 || !strings.Contains(errOut, "--state-dir") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	protect(0o700, state)
	p.answers(func(w http.ResponseWriter, _ *http.Request, _ []string) bool { w.WriteHeader(401); return true })
	if code, out, errOut := forward(); code != 4 {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	p.answers(nil)
	runs, err := filepath.Glob(filepath.Join(state, "runs", "*"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("%v: %v", runs, err)
	}
	files, err := filepath.Glob(filepath.Join(runs[0], "*"))
	if err != nil {
		t.Fatal(err)
	}
	protect(0o500, runs[0])
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && !info.IsDir() {
			protect(0o400, f)
		}
	}
	if code, out, errOut := forward(); code != 1 || strings.Count(strings.TrimSpace(errOut), "\n") > 1 ||
		strings.Contains(errOut, "damaged") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	protect(0o700, runs[0])
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && !info.IsDir() {
			protect(0o600, f)
		}
	}
	if code, out, errOut := forward(); code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	p.once(t, 50)
}

// TestDamagedState damages the state of an unfinished run in every place. It
// is refused, or what was damaged was of no importance: then everything ends
// as it should.
//
// FANFOLD_FAULTS=500 go test -run TestDamagedState ./cmd flips as many bits.
func TestDamagedState(t *testing.T) {
	const n = 60
	p := newPartner(t)
	stage := 0
	p.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
		switch {
		case r.URL.Path == "/refuses":
			http.Error(w, "says the partner", 400)
			return true
		case stage >= 3 && stage < 1000:
			http.Error(w, "says the partner", http.StatusUnauthorized)
			return true
		}
		stage++
		return false
	})
	in, master := file(t, "in.jsonl", events(n)), t.TempDir()
	conf := file(t, "fanfold.yaml", fmt.Sprintf("destinations:\n  a: {type: webhook, settings: {url: %q}, "+
		"batch_events: 10, concurrency: 1}\n  b: {type: webhook, settings: {url: %q}}\n", p.URL+"/stops", p.URL+"/refuses"))
	forward := func(state string, more ...string) (int, string, string) {
		return invoke(t, nil, "", append([]string{"forward", "--from", in, "--config", conf, "--state-dir", state,
			"-o", "json", "--progress", "never"}, more...)...)
	}
	if code, out, errOut := forward(master); code != 4 {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	p.mu.Lock()
	stage = 1000
	p.mu.Unlock()
	garbage := func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("garbage ", 500)), 0o600) }
	half := func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()/2)
	}
	type damage struct {
		name    string
		do      func(run string) error
		refused bool // always
	}
	list := []damage{
		{"none", func(string) error { return nil }, false},
		{"journal is garbage", func(run string) error { return garbage(filepath.Join(run, "journal.db")) }, true},
		{"journal cut", func(run string) error { return half(filepath.Join(run, "journal.db")) }, true},
		{"journal gone", func(run string) error { return os.Remove(filepath.Join(run, "journal.db")) }, true},
		{"journal empty", func(run string) error { return os.Truncate(filepath.Join(run, "journal.db"), 0) }, true},
		{"journal is a folder", func(run string) error {
			path := filepath.Join(run, "journal.db")
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}, true},
		{"dead letters gone", func(run string) error { return os.Remove(filepath.Join(run, "dead", "b.jsonl.zst")) }, true},
		{"dead letters cut", func(run string) error { return half(filepath.Join(run, "dead", "b.jsonl.zst")) }, true},
		{"dead letters with a torn tail", func(run string) error {
			f, err := os.OpenFile(filepath.Join(run, "dead", "b.jsonl.zst"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("torn")
			return errors.Join(err, f.Close())
		}, false},
		{"summary is garbage", func(run string) error { return garbage(filepath.Join(run, "summary.json")) }, false},
		{"a file in the place of the run", func(run string) error { return errors.Join(os.RemoveAll(run), garbage(run)) },
			true},
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range rounds(t, 24) {
		at, bit := rng.Float64(), byte(1<<rng.IntN(8))
		list = append(list, damage{fmt.Sprint("flip ", i), func(run string) error {
			path := filepath.Join(run, "journal.db")
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[int(at*float64(len(data)))] ^= bit
			return os.WriteFile(path, data, 0o600)
		}, false})
	}
	refused := 0
	for _, d := range list {
		t.Run(d.name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			if err := os.CopyFS(state, os.DirFS(master)); err != nil {
				t.Fatal(err)
			}
			runs, err := filepath.Glob(filepath.Join(state, "runs", "*"))
			if err != nil || len(runs) != 1 {
				t.Fatalf("%v: %v", runs, err)
			}
			if err := d.do(runs[0]); err != nil {
				t.Fatal(err)
			}
			count := func() (k int) {
				p.mu.Lock()
				defer p.mu.Unlock()
				for _, c := range p.seen {
					k += c
				}
				return k
			}
			before := count()
			code, out, errOut := forward(state)
			switch {
			case code == 1:
				refused++
				if !strings.Contains(errOut, "fanfold: ") || strings.Contains(errOut, "disk full") {
					t.Errorf("it says %q", errOut)
				}
				if count() != before {
					t.Errorf("%d events were sent all the same", count()-before)
				}
			case d.refused:
				t.Errorf("exit code %d: %s%s", code, out, errOut)
			default:
				s := summaryOf(t, out)
				if code != 3 || s.Destinations[0].Delivered != n || s.Destinations[1].Rejected["refused"] != n ||
					len(letters(t, s.Destinations[1].DeadLetters)) != n {
					t.Errorf("exit code %d: %s%s", code, out, errOut)
				}
				if count()-before != n-30 {
					t.Errorf("%d events were sent", count()-before)
				}
			}
			if code == 1 {
				if code, out, errOut := forward(state, "--fresh"); code != 3 || summaryOf(t, out).Destinations[0].Delivered != n {
					t.Errorf("--fresh: exit code %d: %s%s", code, out, errOut)
				}
			}
		})
	}
	t.Logf("%d of %d were refused", refused, len(list))
}

// TestTwoProcessesOnOneRun starts a second process while the first waits for
// its partner: it is refused, and the first ends as if nothing had been.
func TestTwoProcessesOnOneRun(t *testing.T) {
	t.Parallel()
	bin, p := build(t), newPartner(t)
	asked, hold := make(chan struct{}), make(chan struct{})
	first := true
	p.answers(func(http.ResponseWriter, *http.Request, []string) bool {
		if first {
			first = false
			close(asked)
			<-hold
		}
		return false
	})
	args := []string{"forward", "--from", file(t, "in.jsonl", events(100)), "--to", "webhook",
		"--set", "webhook.url=" + p.URL, "--opt", "webhook.batch_events=10", "--state-dir", t.TempDir(), "-o", "json",
		"--progress", "never"}
	one := make(chan ended, 1)
	go func() { one <- fanfold(bin, nil, args...) }()
	<-asked
	if two := fanfold(bin, nil, args...); two.code != 4 ||
		!strings.Contains(two.errOut, "another process works on the run in ") ||
		summaryOf(t, two.out).Status != run.Incomplete || len(summaryOf(t, two.out).Destinations) > 0 {
		t.Errorf("the second: exit code %d: %s%s", two.code, two.out, two.errOut)
	}
	close(hold)
	if e := <-one; e.code != 0 || summaryOf(t, e.out).Destinations[0].Delivered != 100 {
		t.Errorf("the first: exit code %d: %s%s", e.code, e.out, e.errOut)
	}
	p.once(t, 100)
}
