package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSavedPlan: a run begins only with what was planned; whatever of the input, the configuration or the
// catalogue is another by then is named, and nothing is sent.
func TestSavedPlan(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("in/a.jsonl", events(4))
	in := filepath.Join(dir, "in")
	hook := "destinations:\n  hook: {type: webhook, settings: {url: '" + p.URL + "', shared_secret: a-secret-of-the-hook}"
	conf := write("fanfold.yaml", hook+"}\n")
	env := map[string]string{"XDG_STATE_HOME": dir}
	args := []string{"--from", in, "--config", conf}
	plan := filepath.Join(dir, "plan.json")
	code, said, wrong := invoke(t, env, "", append([]string{"plan", "--save", plan}, args...)...)
	if code != exitOK || !strings.Contains(said, "E0 (2)") || !strings.Contains(said, "  E0: to hook\n") {
		t.Fatalf("exit code %d: %s%s", code, said, wrong)
	}
	text, err := os.ReadFile(plan)
	if err != nil || strings.Contains(string(text), "a-secret-of-the-hook") {
		t.Fatalf("%v: the plan holds a secret: %s", err, text)
	}
	forward := append([]string{"forward", "--plan", plan}, args...)
	refused := func(what string, args []string, want ...string) {
		t.Helper()
		got, _, why := invoke(t, env, "", args...)
		for _, w := range want {
			if got != exitUsage || !strings.Contains(why, w) {
				t.Errorf("%s: exit code %d, without %q: %s", what, got, w, why)
			}
		}
		p.once(t, 0)
	}
	write("in/b.jsonl", "")
	refused("another object", forward, "b.jsonl is new", "nothing was sent")
	if err := os.Remove(filepath.Join(in, "b.jsonl")); err != nil {
		t.Fatal(err)
	}
	old := write("in/a.jsonl", events(5))
	refused("another content", forward, "a.jsonl has changed")
	write("in/a.jsonl", events(4))
	if err := os.Rename(old, filepath.Join(in, "c.jsonl")); err != nil {
		t.Fatal(err)
	}
	refused("another name", forward, "c.jsonl is new", "a.jsonl is gone")
	if err := os.Rename(filepath.Join(in, "c.jsonl"), old); err != nil {
		t.Fatal(err)
	}
	refused("another selection", append(forward, "--filter", `type = "page"`), "what is read and selected (filter)")
	for change, want := range map[string]string{
		hook + ", filter: 'type = \"page\"'}\n": "hook has another configuration (filter)",
		hook + ", batch_events: 2}\n":           "what hook is sent has changed, by its options",
		strings.Replace(hook, "hook:", "other:", 1) +
			"}\n": "hook was planned, and is left out; other was not planned",
		"transform:\n  - drop: type = \"page\"\n" + hook + "}\n":              "transform",
		hook + ", actions: [{action: send, subscribe: 'type = \"page\"'}]}\n": "actions",
	} {
		write("fanfold.yaml", change)
		refused(change, forward, want)
	}
	// What a mapping holds is sent, and so planned, secret or not.
	const sends = `, actions: [{action: send, subscribe: type != null, mapping: {body: {key: "${HOOK_KEY}"}}}]}`
	write("fanfold.yaml", hook+sends+"\n")
	env["HOOK_KEY"] = "the-key-as-it-was"
	if code, said, wrong = invoke(t, env, "", append([]string{"plan", "--save", plan}, args...)...); code != exitOK {
		t.Fatalf("exit code %d: %s%s", code, said, wrong)
	}
	env["HOOK_KEY"] = "the-key-as-it-is-now"
	refused("a secret that is sent", forward, "hook has another configuration (actions.send.mapping.body)")
	write("fanfold.yaml", hook+"}\n")
	if code, said, wrong = invoke(t, env, "", append([]string{"plan", "--save", plan}, args...)...); code != exitOK {
		t.Fatalf("exit code %d: %s%s", code, said, wrong)
	}
	refused("no plan", append([]string{"forward", "--plan", conf}, args...), "is no plan")
	refused("a range that moves", append([]string{"plan", "--save", plan, "--since", "72h"}, args...),
		"another one every time")
	refused("a sample", append([]string{"plan", "--save", plan, "--sample", "1%"}, args...), "exclude each other")
	// A credential may be another one by now, as it may be when a run is resumed: it changes nothing of what was
	// planned, and a plan that is handed around holds nothing that a secret could be told by.
	write("fanfold.yaml", strings.Replace(hook, "a-secret-of", "another-of", 1)+"}\n")
	if code, _, wrong = invoke(t, env, "", forward...); code != exitOK {
		t.Fatalf("exit code %d: %s", code, wrong)
	}
	p.once(t, 4)
	_, said, _ = invoke(t, env, "", "report", "latest")
	if !strings.Contains(said, "Plan and outcome") || strings.Contains(said, `class="n off"`) {
		t.Errorf("the report has not the plan, or another one: %.3000s", said[strings.Index(said, "<main"):])
	}
}

// TestSample: a sample says that it is one, and its counts are about those of all.
func TestSample(t *testing.T) {
	t.Parallel()
	in := file(t, "in.jsonl", strings.Repeat(`{"type":"track","event":"A","userId":"u"}`+"\n", 20_000))
	args := []string{"plan", "--from", in, "--to", "webhook", "--set", "webhook.url=http://127.0.0.1:9", "--sample", "10%"}
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	code, said, wrong := invoke(t, env, "", args...)
	if code != exitOK || !strings.Contains(said, "a sample: 10% of the events were routed") {
		t.Errorf("exit code %d: %s%s", code, said, wrong)
	}
	var doc struct {
		planned
		Sample float64
	}
	_, out, _ := invoke(t, env, "", append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	if n := doc.Destinations[0].Delivered; n < 18_000 || n > 22_000 || doc.Read != 20_000 || doc.Sample != 0.1 {
		t.Errorf("%d events of 20000, of %d read: %s", n, doc.Read, out)
	}
}

// TestNothingSampled: a sample that holds none of the events says so, and of no name that it goes nowhere; a filter
// that matches none is told of as by a run.
func TestNothingSampled(t *testing.T) {
	t.Parallel()
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	plan := func(flags ...string) string {
		args := append([]string{"plan", "--from", file(t, "in.jsonl", events(20)), "--to", "webhook", "--set",
			"webhook.url=http://127.0.0.1:9"}, flags...)
		code, out, said := invoke(t, env, "", args...)
		if code != exitOK {
			t.Fatalf("exit code %d: %s", code, said)
		}
		return out + said
	}
	said := plan("--sample", "0.001%")
	if !strings.Contains(said, "none of the events is in it: a larger one says more") ||
		strings.Contains(said, "nowhere") ||
		!strings.Contains(said, "E0: none is in the sample") {
		t.Errorf("a sample without events:\n%s", said)
	}
	if said = plan("--filter", `type = "page"`); !strings.Contains(said, "--filter matched none of 20 events") {
		t.Errorf("a filter that matches nothing:\n%s", said)
	}
}
