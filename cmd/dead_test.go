package cmd

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/engine"
)

// TestDeadLetters: dead letters are shown, counted by what they have in common, and a redrive counts
// before it sends just what it then sends, also with a filter.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		if strings.HasPrefix(ids[0], "bad") {
			http.Error(w, `{"param":"email","message":"no \u001b[31m"}`, http.StatusBadRequest)
			return true
		}
		return false
	})
	var lines strings.Builder
	for i := range 9 {
		id, name := fmt.Sprintf("good-%d", i), "A"
		if i%3 > 0 {
			id = fmt.Sprintf("bad-%d", i)
		}
		if i%3 == 2 {
			name = "=HYPERLINK(1)"
		}
		fmt.Fprintf(&lines, `{"type":"track","event":%q,"userId":"u","messageId":%q,"timestamp":"2026-06-01T00:00:00Z"}`+"\n",
			name, id)
	}
	lines.WriteString("no event\n")
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	in := file(t, "in.jsonl", lines.String())
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, wrong := invoke(t, env, "", args...)
		if code != want {
			t.Fatalf("%v: exit code %d: %s%s", args, code, out, wrong)
		}
		return out
	}
	hook := []string{"--set", "webhook.url=" + p.URL, "--opt", "webhook.batch_events=1", "--opt",
		"webhook.concurrency=1"} // the letters are in the order of the events
	forward := append([]string{"forward", "--from", in, "--to", "webhook", "-o", "json"}, hook...)
	id := summaryOf(t, run(exitRejected, forward...)).Run

	table := run(exitOK, "runs", "dead", id)
	if strings.Count(table, "\n") != 8 || strings.Contains(table, "\x1b") || !strings.Contains(table, "bad-1") ||
		!strings.Contains(table, "syntax") {
		t.Errorf("the table:\n%s", table)
	}
	sheet := run(exitOK, "runs", "dead", id, "--to", "webhook", "-o", "csv")
	cells, err := csv.NewReader(strings.NewReader(sheet)).ReadAll()
	if err != nil || len(cells) != 7 || !strings.Contains(sheet, ",'=HYPERLINK(1),") {
		t.Errorf("%v: the table for spreadsheets: %q", err, cells)
	}
	for line := range strings.Lines(run(exitOK, "runs", "dead", id, "--reason", "refused", "-o", "jsonl")) {
		if !json.Valid([]byte(line)) || !strings.Contains(line, `"event":{`) {
			t.Errorf("a letter: %s", line)
		}
	}
	for group, want := range map[string]string{"reason": "6 0 webhook refused, status 400",
		"event": "3 0 webhook =HYPERLINK(1)", "field": "6 0 webhook email"} {
		if said := run(exitOK, "runs", "dead", id, "--group", group); !strings.Contains(spaced(said), want) {
			t.Errorf("by %s, without %q:\n%s", group, want, said)
		}
	}

	code, _, wrong := invoke(t, env, "", "runs", "dead", id, "--reason", "refuse", "-o", "jsonl")
	if code != exitUsage || !strings.Contains(wrong,
		`no dead letter with the reason "refuse"; it has refused (6), syntax (1)`) {
		t.Errorf("a reason that none has: exit code %d: %s", code, wrong)
	}

	p.answers(nil)
	redrive := append([]string{"redrive", id, "--filter", `event = "A"`}, hook...)
	said := run(exitOK, append(redrive, "--dry-run")...)
	if !strings.Contains(said, "nothing was sent; 6 dead letters read") ||
		!strings.Contains(said, "webhook: not sent 3: not_selected, like "+in+
			" line 3 (=HYPERLINK(1) bad-2): --filter does not") {
		t.Errorf("the count:\n%s", said)
	}
	var doc planned
	if err := json.Unmarshal([]byte(run(exitOK, append(redrive, "--dry-run", "-o", "json")...)), &doc); err != nil {
		t.Fatal(err)
	}
	p.once(t, 3)
	sent := summaryOf(t, run(exitOK, append(redrive, "-o", "json")...)).Destinations[0]
	if d := doc.Destinations[0]; d.Deliveries != sent.Deliveries || d.Requests != sent.Requests || d.Bytes != sent.Bytes ||
		sent.Delivered != 3 {
		t.Errorf("counted %d deliveries in %d requests of %d bytes, sent %+v", d.Deliveries, d.Requests, d.Bytes, sent)
	}
	p.once(t, 6)
	if said = run(exitOK, append(redrive, "--dry-run")...); !strings.Contains(said, "were sent again already, by run ") {
		t.Errorf("the count of what was sent:\n%s", said)
	}
	said = run(exitOK, append([]string{"redrive", id, "--dry-run"}, hook...)...)
	if !strings.Contains(said, "webhook: not sent 3: redriven") {
		t.Errorf("the count of the rest:\n%s", said)
	}
	if said = run(exitOK, "runs", "dead", id, "--group", "reason"); !strings.Contains(spaced(said), "6 3 webhook") {
		t.Errorf("by reason, later:\n%s", said)
	}
}

// TestRedriveAgain: with several destinations, too, a redrive does what its count said, each destination
// by reason; and from then on whoever asks what to do about the rest is sent to the redrive, not to the
// run that has nothing more to send.
func TestRedriveAgain(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		http.Error(w, "no", http.StatusBadRequest)
		return true
	})
	conf := file(t, "fanfold.yaml", "destinations:\n  one: {type: webhook, settings: {url: '"+p.URL+
		"'}, batch_events: 1}\n"+
		"  two: {type: webhook, settings: {url: '"+p.URL+"'}, batch_events: 1, filter: 'event != \"E0\"'}\n")
	in := file(t, "in.jsonl", events(6))
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	run := func(want int, args ...string) (out, said string) {
		t.Helper()
		code, out, said := invoke(t, env, "", append(args, "--config", conf)...)
		if code != want {
			t.Fatalf("%v: exit code %d: %s%s", args, code, out, said)
		}
		return out, said
	}
	hint := func(of, want string, args ...string) {
		t.Helper()
		code, out, said := invoke(t, env, "", append(args, "--config", conf)...)
		if !strings.Contains(out+said, "`fanfold redrive "+want+"` sends") || code != exitRejected && args[0] == "forward" {
			t.Errorf("%s: %v, exit code %d, does not name %s:\n%s%s", of, args, code, want, out, said)
		}
	}
	out, said := run(exitRejected, "forward", "--from", in, "-o", "json")
	first := summaryOf(t, out).Run
	if !strings.Contains(said, "`fanfold redrive "+first+"` sends") {
		t.Errorf("the run does not say what to do: %s", said)
	}
	hint("before", first, "runs", "show", first)
	last := first
	for range 2 {
		var doc planned
		out, _ = run(exitOK, "redrive", last, "--dry-run", "-o", "json")
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatal(err)
		}
		out, _ = run(exitRejected, "redrive", last, "-o", "json")
		sent := summaryOf(t, out)
		if sent.Read != doc.Read || len(sent.Destinations) != len(doc.Destinations) {
			t.Errorf("%d letters were counted, %d read", doc.Read, sent.Read)
		}
		for i, d := range sent.Destinations {
			if c := doc.Destinations[i]; !maps.Equal(c.Skipped, d.Skipped) || c.Requests != d.Requests ||
				c.Delivered != engine.Total(d.Rejected) {
				t.Errorf("%s: counted %+v, then %+v", d.Name, c, d)
			}
		}
		if before := last; sent.Run != before {
			last = sent.Run
			hint("the run", last, "runs", "show", first)
			hint("the same command", last, "forward", "--from", in)
			hint("a count", last, "redrive", before, "--dry-run")
		}
	}
	p.answers(nil)
	if run(exitOK, "redrive", last); last == first {
		t.Error("no redrive was a run of its own")
	}
	for _, args := range [][]string{{"runs", "show", first}, {"runs", "show", last}} {
		if out, said := run(exitOK, args...); strings.Contains(out+said, "`fanfold redrive ") {
			t.Errorf("%v asks for a redrive of what is delivered:\n%s%s", args, out, said)
		}
	}
}

// spaced is a text with one space between two words.
func spaced(s string) string { return strings.Join(strings.Fields(s), " ") }
