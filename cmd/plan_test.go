package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/eventgen"
)

// planned is what plan and forward say alike.
type planned struct {
	Read         uint64
	Destinations []struct {
		Name                                               string
		Filtered, Delivered, Deliveries, Requests, Retries uint64
		Bytes, Pending                                     uint64
		Skipped, Rejected                                  map[string]uint64
		Depends                                            bool `json:"depends_on_answers"`
	}
}

// ages writes an archive of many forms whose events are of long ago, of lately, and of the future: of each side of
// the windows that partners have.
func ages(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	const day = 24 * time.Hour
	for i, age := range []time.Duration{3650 * day, 1900 * day, 800 * day, 370 * day, 95 * day, 64 * day, 35 * day,
		20 * day,
		8 * day, 6 * day, 4 * day, 80 * time.Hour, 25 * time.Hour, 2 * time.Hour, -2 * time.Hour, -8 * day, -400 * day} {
		err := eventgen.Write(&b, eventgen.Options{Seed: uint64(i), Events: 40, Users: 9, Start: time.Now().Add(-age),
			Step: time.Second, Variety: 40, Messy: i%4 == 0})
		if err != nil {
			t.Fatal(err)
		}
	}
	return file(t, "ages.jsonl", b.String())
}

// TestPlanIsWhatForwardDoes: for every destination, the events, deliveries, skips,
// rejections, requests and bytes of a plan are those of the run, on archives that are
// mixed, dirty, and old.
func TestPlanIsWhatForwardDoes(t *testing.T) {
	t.Parallel()
	old := file(t, "old.jsonl",
		`{"type":"track","event":"Order Completed","userId":"u","messageId":"m1","timestamp":"2012-01-01T00:00:00Z","properties":{"revenue":1,"currency":"USD"}}
{"type":"track","event":"A","userId":"u","messageId":"m2"}
{"type":"identify","userId":"","messageId":"m3","traits":{"email":"ann@shop.example"},"timestamp":"2031-01-01T00:00:00Z"}
{"type":"Track","event":"B","userId":"u","messageId":"m4","timestamp":"03/01/2024 10:00"}
not an event
`)
	for name, args := range map[string][]string{
		"shop":  {"--from", filepath.Join("..", "cassettes", "events", "shop.jsonl.zst"), "--limit", "700"},
		"messy": {"--from", filepath.Join("..", "cassettes", "events", "messy.jsonl.gz"), "--limit", "700"},
		"old":   {"--from", old},
		"ages":  {"--from", ages(t)},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
			args = append(args, "--rehearse", "-o", "json")
			var plan, ran planned
			for command, into := range map[string]*planned{"plan": &plan, "forward": &ran} {
				code, out, said := invoke(t, env, "", append([]string{command}, args...)...)
				if err := json.Unmarshal([]byte(out), into); err != nil {
					t.Fatalf("%s: exit code %d, %v: %s", command, code, err, said)
				}
			}
			if plan.Read != ran.Read || len(plan.Destinations) != len(ran.Destinations) {
				t.Fatalf("read %d, planned %d", ran.Read, plan.Read)
			}
			compared, windows := uint64(0), 0
			for i, p := range plan.Destinations {
				r := ran.Destinations[i]
				if r.Retries > 0 {
					t.Logf("%s is not compared: the stand-in has refused something", p.Name)
				}
				if skipped := p.Skipped; skipped["too_old"] > 0 {
					windows++
				}
				if p.Depends { // how many requests there are depends on answers, and what turns out to be there already
					p.Requests, p.Bytes = r.Requests-r.Retries, r.Bytes
					n := r.Skipped["unneeded"]
					r.Delivered, r.Deliveries = r.Delivered+n, r.Deliveries+n
					delete(r.Skipped, "unneeded")
				}
				for what, n := range map[string][2]uint64{
					"filtered": {p.Filtered, r.Filtered}, "delivered": {p.Delivered, r.Delivered + r.Pending},
					"deliveries": {p.Deliveries, r.Deliveries}, "requests": {p.Requests, r.Requests - r.Retries},
					"bytes": {p.Bytes, r.Bytes},
				} {
					if n[0] != n[1] && r.Retries == 0 {
						t.Errorf("%s: %d %s were planned, the run had %d", p.Name, n[0], what, n[1])
					}
				}
				for what, by := range map[string][2]map[string]uint64{
					"skipped":  {p.Skipped, r.Skipped},
					"rejected": {p.Rejected, r.Rejected},
				} {
					if !maps.Equal(by[0], by[1]) && r.Retries == 0 {
						t.Errorf("%s: %s: %v was planned, the run had %v", p.Name, what, by[0], by[1])
					}
				}
				compared += p.Deliveries
			}
			if compared == 0 && name != "old" || windows < 5 && name == "ages" {
				t.Errorf("%d deliveries were compared, of %d destinations with a window", compared, windows)
			}
		})
	}
}

// TestPlanSays: what would happen, in words and numbers, with prices, and what went before.
func TestPlanSays(t *testing.T) {
	in := file(t, "in.jsonl", `{"type":"track","event":"A","userId":"u","messageId":"m1","timestamp":"2024-01-01T00:00:00Z"}
{"type":"track","event":"A","userId":"u","messageId":"m2"}
`)
	env := map[string]string{"XDG_STATE_HOME": t.TempDir(), "FANFOLD_MIXPANEL_PROJECT_TOKEN": "t",
		"FANFOLD_MIXPANEL_API_SECRET": "s"}
	out := t.TempDir()
	args := []string{"--from", in, "--to", "mixpanel,file", "--set", "file.path=" + out}
	code, said, _ := invoke(t, env, "", append([]string{"plan", "--price", "mixpanel=0.28/1k", "--price", "file=5/MB"},
		args...)...)
	if code != exitRejected {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	for _, want := range []string{"mixpanel: rejected 1: no_time, like ", "in.jsonl line 2 (A m2)",
		"mixpanel: price 0.00028 (1 events at 0.28 for 1000)",
		"events are from 2024-01-01T00:00:00Z", "without a time: 1", "most frequent: A (2)"} {
		if !strings.Contains(said, want) {
			t.Errorf("the plan does not say %q:\n%s", want, said)
		}
	}
	args = []string{"--from", in, "--to", "file", "--set", "file.path=" + out}
	if code, _, wrong := invoke(t, env, "", append([]string{"forward"}, args...)...); code != 0 {
		t.Fatalf("exit code %d: %s", code, wrong)
	}
	if _, said, _ := invoke(t, env, "", append([]string{"plan"}, args...)...); !strings.Contains(said,
		"of this command is complete") {
		t.Errorf("the plan does not know the run that was:\n%s", said)
	}
	more, err := os.OpenFile(in, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = more.WriteString(events(3))
	if err = errors.Join(err, more.Close()); err != nil {
		t.Fatal(err)
	}
	if _, said, _ := invoke(t, env, "", append([]string{"plan"}, args...)...); !strings.Contains(said,
		"what is new in its input: 3 events for file, and all of the above with --fresh") {
		t.Errorf("the plan does not know what is left:\n%s", said)
	}
	for _, price := range []string{"mixpanel", "mixpanel=1", "mixpanel=x/1k", "nobody=1/1k", "mixpanel=1/0",
		"mixpanel=NaN/1k", "mixpanel=1/hour", "mixpanel=-1/k"} {
		args := []string{"plan", "--from", in, "--to", "mixpanel", "--price", price}
		if code, _, wrong := invoke(t, env, "", args...); code != exitUsage || !strings.Contains(wrong, "--price") {
			t.Errorf("--price %s: exit code %d: %s", price, code, wrong)
		}
	}
}

// TestPlanOfWhatIsLeft: what a run has delivered of files that are gone is not taken from what is planned.
func TestPlanOfWhatIsLeft(t *testing.T) {
	t.Parallel()
	all := strings.SplitAfter(events(40), "\n")
	text := func(from, to int) string { return strings.Join(all[from:to], "") }
	for name, c := range map[string]struct {
		now  map[string]string
		want string // "": it is not known
	}{
		"nothing new": {map[string]string{"1.jsonl": text(0, 20)}, "0 events for file"},
		"a new one":   {map[string]string{"1.jsonl": text(0, 20), "2.jsonl": text(20, 30)}, "10 events for file"},
		"grown":       {map[string]string{"1.jsonl": text(0, 25)}, "5 events for file"},
		"moved":       {map[string]string{"3.jsonl": text(0, 20), "4.jsonl": text(20, 21)}, "1 event for file"},
		"gone":        {map[string]string{"2.jsonl": text(20, 30)}, ""},
		"another":     {map[string]string{"1.jsonl": text(10, 40)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in, env := t.TempDir(), map[string]string{"XDG_STATE_HOME": t.TempDir()}
			args := []string{"--from", in, "--to", "file", "--set", "file.path=" + t.TempDir()}
			put := func(name, text string) {
				if err := os.WriteFile(filepath.Join(in, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put("1.jsonl", text(0, 20))
			if code, _, wrong := invoke(t, env, "", append([]string{"forward"}, args...)...); code != 0 {
				t.Fatalf("exit code %d: %s", code, wrong)
			}
			if err := os.Remove(filepath.Join(in, "1.jsonl")); err != nil {
				t.Fatal(err)
			}
			for name, text := range c.now {
				put(name, text)
			}
			_, said, _ := invoke(t, env, "", append([]string{"plan"}, args...)...)
			if known := strings.Contains(said, " for file"); !strings.Contains(said, "is complete: forward would send only") ||
				known != (c.want != "") || !strings.Contains(said, c.want) {
				t.Errorf("want %q:\n%s", c.want, said)
			}
		})
	}
}

// TestPlanOfTwoMachines: an archive that is divided by hand, with half of the quota for each machine, takes as long
// as one machine would, as help backfill says: more machines do not raise a partner's limit.
func TestPlanOfTwoMachines(t *testing.T) {
	t.Parallel()
	seconds := func(n int, more ...string) float64 {
		args := append([]string{"plan", "-o", "json", "--from", file(t, "in.jsonl", events(n)), "--to", "webhook",
			"--set", "webhook.url=http://127.0.0.1:9/", "--opt", "webhook.batch_events=1", "--opt", "webhook.rate=2/s"}, more...)
		code, out, wrong := invoke(t, map[string]string{"XDG_STATE_HOME": t.TempDir()}, "", args...)
		var doc struct{ Destinations []struct{ Seconds float64 } }
		if err := json.Unmarshal([]byte(out), &doc); err != nil || code != exitOK {
			t.Fatalf("exit code %d, %v: %s", code, err, wrong)
		}
		return doc.Destinations[0].Seconds
	}
	one, two := seconds(400), seconds(200, "--reserve-for-live", "50%")
	if one < 150 || math.Abs(two/one-1) > 0.05 {
		t.Errorf("one machine takes %.1f s, each of two %.1f s", one, two)
	}
}
