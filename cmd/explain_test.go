package cmd

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
)

// notArrived is one cause of not arriving, and what a newcomer is told of it.
type notArrived struct {
	cause  string
	event  string // the line that is asked for, if it is not that of the id m
	before string // a line before it
	config string
	flags  []string
	want   []string
}

const (
	orderEvent = `{"type":"track","event":"order completed","userId":"u","messageId":"m","timestamp":"2026-06-01T00:00:00Z",` +
		`"properties":{"total":"12","Plan":"pro"}}`
	toHook  = "destinations:\n  hook: {type: webhook, settings: {url: 'http://127.0.0.1:9/'}"
	hookAll = toHook + "}\n"
)

func causesOfNotArriving() []notArrived {
	return []notArrived{
		{cause: "broken JSON", event: `{"type":"track","messageId":"m"`,
			want: []string{"✗ read", "it is no event: truncated: the object ends in the middle of a record"}},
		{cause: "no type", event: `{"event":"A","messageId":"m"}`, want: []string{"✗ read", `it has no "type"`}},
		{cause: "no object", event: `"m"`, want: []string{"✗ read", "it is no event: not_an_event"}},
		{cause: "before --since", flags: []string{"--since", "2026-07-01"},
			want: []string{"✗ range: it happened before --since 2026-07-01T00:00:00Z"}},
		{cause: "after --until", flags: []string{"--until", "2026-05-01"},
			want: []string{"✗ range: it happened at or after --until 2026-05-01T00:00:00Z"}},
		{cause: "no time, in a range", event: `{"type":"track","event":"A","messageId":"m"}`,
			flags: []string{"--since", "2026-05-01"},
			want:  []string{"✓ time: nobody knows when it happened", "✗ range: without a time it is in no range"}},
		{cause: "no time, --undated skip", event: `{"type":"track","event":"A","messageId":"m","timestamp":"03/04/2026"}`,
			flags: []string{"--undated", "skip"},
			want: []string{`✗ time: nobody knows when it happened: its timestamp "03/04/2026" cannot be read`,
				"--undated skip"}},
		{cause: "filter, another case", flags: []string{"--filter", `event = "Order Completed"`},
			want: []string{`✗ --filter: it does not match: event = "Order Completed", but event is "order completed", ` +
				`differs in case`}},
		{cause: "filter, a text for a number", flags: []string{"--filter", `properties.total > 5`},
			want: []string{`properties.total > 5, but properties.total is "12", which is a string and no number`}},
		{cause: "filter, a member of another case", flags: []string{"--filter", `properties.plan = "pro"`},
			want: []string{`properties.plan is missing; there is properties.Plan`}},
		{cause: "filter, a member of another object", flags: []string{"--filter", `traits.total = "12"`},
			want: []string{`traits.total is missing; there is properties.total`}},
		{cause: "transform drop", config: "transform:\n  - drop: type = \"track\"\n" + hookAll,
			want: []string{`✗ transform 1 drop (line 2): dropped: type = "track"`}},
		{cause: "transform keep", config: "transform:\n  - keep: type = \"page\"\n" + hookAll,
			want: []string{`✗ transform 1 keep (line 2): dropped: type = "page", but type is "track"`}},
		{cause: "transform sample", config: "transform:\n  - sample: 0%\n" + hookAll,
			want: []string{"✗ transform 1 sample", "not in the share that is kept"}},
		{cause: "a repeat", config: "transform:\n  - dedupe: true\n" + hookAll, before: orderEvent,
			want: []string{"✗ transform 1 dedupe", "stands at an earlier place of the input already"}},
		{cause: "transform changes what a filter asks for",
			config: "transform:\n  - set: {event: Renamed}\n" + toHook + ", filter: 'event = \"order completed\"'}\n",
			want: []string{"✓ transform 1 set (line 2): changed", `event: "order completed" -> "Renamed"`,
				`✗ filter of hook: it does not match: event = "order completed", but event is "Renamed"`}},
		{cause: "suppressed", config: "suppress: [gone.txt]\n" + hookAll,
			want: []string{"✗ suppression: whose event it is stands in the suppression list", "skipped, suppressed"}},
		{cause: "no consent", config: toHook + ", consent: [advertising]}\n",
			want: []string{"✗ consent: the event's consent (context.consent.categoryPreferences) does not grant advertising"}},
		{cause: "opted out by name", event: strings.Replace(orderEvent, "{", `{"integrations":{"Webhook":false},`, 1),
			want: []string{`✗ integrations: the event's integrations object has "Webhook": false`, "skipped, opted_out"}},
		{cause: "opted out by All", event: strings.Replace(orderEvent, "{", `{"integrations":{"All":false},`, 1),
			want: []string{`✗ integrations: the event's integrations object has "All": false`}},
		{cause: "the destination's filter", config: toHook + ", filter: 'type = \"identify\"'}\n",
			want: []string{`✗ filter of hook: it does not match: type = "identify", but type is "track"`}},
		{cause: "no action for the type", flags: []string{"--to", "hubspot"},
			want: []string{"skipped, unsupported: no action is subscribed to events of this type, only to"}},
		{cause: "no action for the name", config: "destinations:\n  ads:\n    type: webhook\n" +
			"    settings: {url: 'http://127.0.0.1:9/'}\n" +
			"    actions: [{action: send, subscribe: 'type = \"track\" and event = \"Order Completed\"'}]\n",
			want: []string{`✗ trigger of send: it does not fire: event = "Order Completed", but event is "order completed", differs in case`,
				`no action is subscribed to it: send asks for event = "Order Completed"`}},
		{cause: "a required field",
			event: `{"type":"identify","userId":"u","messageId":"m","timestamp":"2026-06-01T00:00:00Z","traits":{}}`,
			flags: []string{"--to", "hubspot"},
			want:  []string{"not in the event: email ($.traits.email", "rejected, missing_identity: email is required"}},
		{cause: "a required field of a mapping",
			event: `{"type":"track","userId":"u","messageId":"m","timestamp":"2026-06-01T00:00:00Z"}`,
			flags: []string{"--to", "mixpanel"},
			want: []string{"✗ fields of trackEvent", "missing the required field 'event'", "✗ event", "$.event", "missing",
				"rejected, invalid"}},
		{cause: "no time for the partner", event: `{"type":"track","event":"A","userId":"u","messageId":"m"}`,
			flags: []string{"--to", "mixpanel"},
			want:  []string{"✗ fields of trackEvent: none of its timestamp", "rejected, no_time"}},
		{cause: "too old", event: strings.Replace(orderEvent, "2026", "1999", 1),
			flags: []string{"--to", "google-analytics-4"},
			want:  []string{"skipped, too_old: the event is from 1999-06-01"}},
		{cause: "too new", event: strings.Replace(orderEvent, "2026", "2199", 1), flags: []string{"--to", "mixpanel"},
			want: []string{"skipped, too_new: the event is from 2199-06-01"}},
		{cause: "too large", event: strings.Replace(orderEvent, `"12"`, `"`+strings.Repeat("x", 1_100_000)+`"`, 1),
			flags: []string{"--to", "mixpanel"}, want: []string{"rejected, too_large"}},
	}
}

// TestExplainCauses: for each cause of not arriving, what a newcomer is told names the gate and what
// it saw there, and the document says the same.
func TestExplainCauses(t *testing.T) {
	t.Parallel()
	for i, c := range causesOfNotArriving() {
		t.Run(c.cause, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write := func(name, text string) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			if c.event == "" {
				c.event = orderEvent
			}
			if c.config == "" {
				c.config = hookAll
			}
			write("gone.txt", "u\n")
			in := write("in.jsonl", strings.TrimPrefix(c.before+"\n"+c.event, "\n"))
			env := map[string]string{"XDG_STATE_HOME": dir, "FANFOLD_MIXPANEL_PROJECT_TOKEN": "a-very-secret-token",
				"FANFOLD_MIXPANEL_API_SECRET": "s", "FANFOLD_HUBSPOT_ACCESS_TOKEN": "t",
				"FANFOLD_GOOGLE_ANALYTICS_4_API_SECRET":     "s",
				"FANFOLD_GOOGLE_ANALYTICS_4_MEASUREMENT_ID": "G-1"}
			config := write("fanfold.yaml", strings.ReplaceAll(c.config, "gone.txt", filepath.Join(dir, "gone.txt")))
			args := append([]string{"explain", "--config", config, "--from", in, "--id", "m"}, c.flags...)
			code, said, wrong := invoke(t, env, "", args...)
			if code != exitOK {
				t.Fatalf("exit code %d: %s%s", code, said, wrong)
			}
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%.6000s", want, said)
				}
			}
			if len(said) > 20_000 || strings.Contains(said, "a-very-secret-token") {
				t.Errorf("it says too much, %d bytes:\n%.1000s", len(said), said)
			}
			if i%5 != 0 { // of each kind, one: a command takes a while
				return
			}
			code, out, wrong := invoke(t, env, "", append(args, "-o", "json")...)
			var doc struct {
				Gates        []struct{ Passed bool }
				Destinations []struct {
					Requests []json.RawMessage
					NotSent  []struct{ Skipped, Rejected string } `json:"not_sent"`
				}
			}
			for line := range strings.Lines(out) {
				if err := json.Unmarshal([]byte(line), &doc); err != nil {
					t.Fatalf("exit code %d, %v: %s%.300s", code, err, wrong, out)
				}
			}
			for _, d := range doc.Destinations {
				if len(d.Requests) > 0 {
					t.Errorf("the document has a request: %.1000s", out)
				}
			}
			if len(doc.Destinations) == 0 && doc.Gates[len(doc.Gates)-1].Passed {
				t.Errorf("the document says nowhere why: %.1000s", out)
			}
		})
	}
}

// TestExplainRun: what became of an event in a run, before and after a redrive.
func TestExplainRun(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		if ids[0] == "m" {
			http.Error(w, "this one \x1b[31mnever", http.StatusBadRequest)
			return true
		}
		return false
	})
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	in := file(t, "in.jsonl", orderEvent+"\n"+strings.Replace(orderEvent, `"m"`, `"n"`, 1)+"\n"+
		strings.Replace(orderEvent, `"m"`, `"M "`, 1)+"\n")
	args := []string{"--from", in, "--to", "webhook", "--set", "webhook.url=" + p.URL, "--opt", "webhook.batch_events=1"}
	if code, _, wrong := invoke(t, env, "", append([]string{"forward"}, args...)...); code != exitRejected {
		t.Fatalf("exit code %d: %s", code, wrong)
	}
	of := "latest"
	says := func(id string, want ...string) {
		t.Helper()
		code, said, wrong := invoke(t, env, "", append([]string{"explain", "--id", id, "--run", of}, args...)...)
		for _, text := range want {
			if code != exitOK || !strings.Contains(said, text) || strings.Contains(said, "\x1b") {
				t.Errorf("exit code %d: it does not say %q:\n%s%s", code, text, said, wrong)
			}
		}
	}
	says("m", ": rejected: 1 of its deliveries became dead letters", "send: refused, status 400 after 1 attempt",
		"this one ", "fanfold redrive ", "--to webhook --reason refused")
	says("n", ": delivered: the run has settled everything up to here")
	p.answers(nil)
	code, _, wrong := invoke(t, env, "", "redrive", "latest", "--set", "webhook.url="+p.URL)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, wrong)
	}
	_, runs, _ := invoke(t, env, "", "runs", "list")
	for line := range strings.Lines(runs) {
		if id, rest, _ := strings.Cut(line, " "); strings.Contains(rest, "redriven since") {
			of = id // the latest is the redrive
			var said string
			code, said, wrong = invoke(t, env, "", append([]string{"explain", "--id", "m", "--run", id}, args...)...)
			if code != exitOK || !strings.Contains(said, "it was rejected, and a redrive has delivered it since") {
				t.Errorf("exit code %d: %s%s", code, said, wrong)
			}
		}
	}
	args = append(args, "--limit", "1") // of explanations, not what the run has read
	says("n", ": delivered: the run has settled everything up to here")
	args = args[:len(args)-2]
	// What the configuration makes of an event today says nothing of a run that had another one.
	args = append(args, "--opt", `webhook.filter=type = "page"`)
	says("n", ": unknown: it is none of the run's dead letters, and the run had another configuration of webhook: filter")
	args = append(args[:len(args)-2], "--since", "2025-01-01")
	says("n", ": unknown: it is none of the run's dead letters, and the run has read or selected something else: since")
	args = args[:len(args)-2]
	code, _, wrong = invoke(t, env, "", append([]string{"explain", "--id", "N"}, args...)...)
	if code != exitUsage || !strings.Contains(wrong, "none of the 3 records read is such an event; there is n") {
		t.Errorf("exit code %d: %s", code, wrong)
	}
	if code, _, wrong = invoke(t, env, "", append([]string{"explain"}, args...)...); code != exitUsage {
		t.Errorf("exit code %d: %s", code, wrong)
	}
}

// TestExplainLate: what of an event was taken only at a later attempt says so, with what the partner said before,
// and what was taken at once says that.
func TestExplainLate(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	var refused atomic.Int32
	p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		if ids[0] == "m" && refused.Add(1) < 3 {
			http.Error(w, "the database sleeps", http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	in := file(t, "in.jsonl", strings.Replace(orderEvent, `"m"`, `"n"`, 1)+"\n"+orderEvent+"\n")
	args := []string{"--from", in, "--to", "webhook", "--set", "webhook.url=" + p.URL, "--opt", "webhook.batch_events=1"}
	if code, _, wrong := invoke(t, env, "", append([]string{"forward"}, args...)...); code != exitOK {
		t.Fatalf("exit code %d: %s", code, wrong)
	}
	for id, want := range map[string]string{
		"m": "the request with it was taken at attempt 3, at ", "n": ", and was taken the first time"} {
		code, said, wrong := invoke(t, env, "", append([]string{"explain", "--id", id, "--run", "latest"}, args...)...)
		if code != exitOK || !strings.Contains(said, want) || !strings.Contains(said, "it was settled by ") ||
			id == "m" != strings.Contains(said, "before that: status 503: the database sleeps") {
			t.Errorf("%s: exit code %d: it does not say %q:\n%s%s", id, code, want, said, wrong)
		}
		_, out, _ := invoke(t, env, "", append([]string{"explain", "--id", id, "--run", "latest", "-o", "json"}, args...)...)
		var doc struct {
			Destinations []struct {
				Became struct{ Late []engine.Late }
			}
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatal(err)
		}
		if late := doc.Destinations[0].Became.Late; id == "m" != (len(late) == 1 && late[0].Attempts == 3 &&
			late[0].From == 1) {
			t.Errorf("%s: the document has %+v", id, late)
		}
	}
}

// TestExplainHistory: what an event of long ago would start is a gate, which --trigger-live opens; and an action that
// stands in for another one says so.
func TestExplainHistory(t *testing.T) {
	t.Parallel()
	now := strings.Replace(orderEvent, "2026-06-01T00:00:00Z", time.Now().UTC().Format(time.RFC3339), 1)
	old := strings.Replace(orderEvent, "2026", "2023", 1)
	for _, c := range []struct {
		event string
		flags []string
		want  []string
	}{
		{old, []string{"--to", "slack"}, []string{"✗ history: event m is of 2023-06-01",
			"unless --trigger-live slack says that it is meant"}},
		{old, []string{"--to", "slack", "--trigger-live", "slack"},
			[]string{"✓ history: event m is of 2023-06-01", "which --trigger-live says is meant"}},
		{now, []string{"--to", "slack"}, []string{"✓ history: postToChannel posts a message", "less than a day ago"}},
		{strings.Replace(old, "order completed", "Order Completed", 1), []string{"--to", "braze"},
			[]string{"· fields of ecommerce: ",
				"✓ instead of ecommerce: the event lacks what ecommerce needs, so trackEvent takes it"}},
	} {
		args := append([]string{"explain", "--rehearse", "--from", file(t, "in.jsonl", c.event), "--id", "m"}, c.flags...)
		code, said, wrong := invoke(t, map[string]string{"XDG_STATE_HOME": t.TempDir()}, "", args...)
		for _, want := range c.want {
			if code != exitOK || !strings.Contains(said, want) {
				t.Errorf("%v: exit code %d, without %q:\n%s%s", c.flags, code, want, said, wrong)
			}
		}
	}
}
