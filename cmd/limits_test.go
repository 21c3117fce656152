package cmd

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
)

// TestEveryLimitIsKept asks of each number that a destination of the catalogue declares
// who keeps it. Rates, concurrency and sizes of requests: the engine says so itself, of
// what its parts read. A size or an age of events: TestSizesAndAges of destinations sends
// such events. A new kind of limit fails here until somebody keeps it.
func TestEveryLimitIsKept(t *testing.T) {
	byRoute := map[string]bool{"EventBytes": true, "Window": true}
	told := map[string]bool{"Dedupe": true, "Gzip": true} // what a partner offers, no limit
	whats := map[string]string{"Concurrency": "concurrency", "BatchEvents": "batch events", "BatchBytes": "batch bytes"}
	for _, d := range testApp(nil).catalogue.All() {
		s, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: "all"})
		if err != nil {
			t.Errorf("%s: %v", d.Info.Slug, err)
			continue
		}
		plan := s.Plan()
		kept := engine.Keeps(plan, engine.Options{})
		ask := func(action, what string, n float64, per time.Duration, docs string) {
			if n > 0 && !slices.Contains(kept, engine.Kept{Action: action, What: what, N: n, Per: per, Docs: docs}) {
				t.Errorf("%s: %s: nobody keeps %v %s in %s (%s)", d.Info.Slug, action, n, what, per, docs)
			}
		}
		walk := func(action string, limits any) {
			v := reflect.ValueOf(limits)
			for i := range v.NumField() {
				name := v.Type().Field(i).Name
				switch x := v.Field(i).Interface().(type) {
				case []destination.Rate:
					for _, r := range x {
						ask(action, r.Of.String(), r.N, r.Per, r.Docs)
					}
				case destination.Cap:
					if what := whats[name]; what != "" {
						ask(action, what, float64(x.N), 0, x.Docs)
					} else if !byRoute[name] && !told[name] {
						t.Errorf("%s: who keeps %s?", d.Info.Slug, name)
					}
				default:
					if !byRoute[name] && !told[name] {
						t.Errorf("%s: who keeps %s?", d.Info.Slug, name)
					}
				}
			}
		}
		walk("", d.Limits.Lane())
		for i, a := range d.Actions {
			limits := a.Limits
			// One event a request is more than a partner demands of an action that cannot
			// send several.
			if limits.BatchEvents.N > plan.Actions[i].Limits.BatchEvents.N {
				limits.BatchEvents = plan.Actions[i].Limits.BatchEvents
			}
			walk(a.Slug, limits)
		}
	}
}

// TestWrongAddressStopsTheRun: a partner that answers everything with a redirect does not
// make a dead letter of every event.
func TestWrongAddressStopsTheRun(t *testing.T) {
	const n = 3000
	partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://www.example.com/", http.StatusFound)
	}))
	defer partner.Close()
	var events strings.Builder
	for i := range n {
		fmt.Fprintf(&events, `{"type":"track","event":"E","messageId":"m%d","userId":"u"}`+"\n", i)
	}
	in := file(t, "in.jsonl", events.String())
	for most, want := range map[string]struct {
		code              int
		rejected, pending uint64
	}{"1000": {4, 1000, n - 1000}, "70": {4, 70, n - 70}, "0": {3, n, 0}} {
		t.Run(most, func(t *testing.T) {
			args := []string{"forward", "--from", in, "--to", "webhook", "--set", "webhook.url=" + partner.URL, "--opt",
				"webhook.batch_events=40", "-o", "json", "--state-dir", t.TempDir()}
			if most != "1000" { // the default
				args = append(args, "--max-errors", most)
			}
			code, out, errOut := invoke(t, nil, "", args...)
			d := summaryOf(t, out).Destinations[0]
			if code != want.code || d.Rejected["refused"] != want.rejected || d.Pending != want.pending {
				t.Errorf("exit code %d: %s%s", code, out, errOut)
			}
			if said := strings.Contains(d.Until, "--max-errors") && strings.Contains(d.Stopped, "302") &&
				strings.Contains(errOut, "runs again, once its cause is mended, or --max-errors allows more\n") &&
				strings.Contains(errOut, "` sends the rejected events again"); said != (want.code == 4) {
				t.Errorf("stopped: %q, until %q: %s", d.Stopped, d.Until, errOut)
			}
		})
	}
}

// TestRehearsalIsFast: stand-ins have no limits that could be reached. At Slack's pace of
// one request a second this would take half an hour.
func TestRehearsalIsFast(t *testing.T) {
	in := filepath.Join(t.TempDir(), "in.jsonl")
	if code, _, errOut := invoke(t, nil, "", "generate", "--to", in, "--events", "2000"); code != 0 {
		t.Fatal(errOut)
	}
	code, out, errOut := invoke(
		t,
		nil,
		"",
		"forward",
		"--from",
		in,
		"--to",
		"slack",
		"--rehearse",
		"-o",
		"json",
		"--state-dir",
		t.TempDir(),
	)
	if d := summaryOf(t, out).Destinations[0]; code != 0 || d.Pending != 0 || d.Requests < 100 {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}
