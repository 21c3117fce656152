package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
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
	inSeconds := map[string]string{"MaxTime": "retry seconds", "First": "seconds before a retry",
		"Longest": "seconds between retries"}
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
				case destination.Retries:
					r := reflect.ValueOf(x)
					for i := range r.NumField() {
						switch member := r.Type().Field(i).Name; {
						case member == "Docs":
						case member == "Attempts":
							ask(action, "attempts", float64(x.Attempts), 0, x.Docs)
						case inSeconds[member] != "":
							ask(action, inSeconds[member], time.Duration(r.Field(i).Int()).Seconds(), 0, x.Docs)
						default:
							t.Errorf("who keeps %s of retries?", member)
						}
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

// TestDeclaredAttempts: a partner that declares how often it wants to be asked is asked that often, unless the user
// wants less, or more in spite of it; what is declared is told, as text and as JSON, with its source.
func TestDeclaredAttempts(t *testing.T) {
	const docs = "https://patient.example/retries"
	type settings struct{}
	asked := 0 // the requests come one after the other
	partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer partner.Close()
	patient := destination.Spec[settings]{
		Info: destination.Info{Slug: "patient", Name: "Patient", Summary: "a partner for tests", Docs: docs,
			Backfill: "none"},
		BaseURL: func(*settings) string { return partner.URL },
		Limits: destination.Limits{BatchEvents: destination.Cap{N: 1, Docs: docs}, Retries: destination.Retries{Attempts: 3,
			MaxTime: 2 * time.Minute, First: 10 * time.Millisecond, Longest: 20 * time.Millisecond, Docs: docs}},
		Success: []destination.Success{{Any: true}},
		Actions: destination.Actions{destination.Action("send", "Send").On(`type = "track"`).Post("/", body.Payload())},
	}.Destination()
	run := func(args ...string) (code int, out, errOut string) {
		a := testApp(map[string]string{"XDG_STATE_HOME": t.TempDir()})
		a.catalogue = destination.Catalogue{destination.Lazy("patient", func() destination.Destination { return patient })}
		code = a.execute(context.Background(), args)
		return code, fmt.Sprint(a.out), fmt.Sprint(a.err)
	}
	in := file(t, "in.jsonl", `{"type":"track","event":"E","messageId":"m","userId":"u"}`+"\n")
	for name, c := range map[string]struct {
		opts  []string
		code  int
		asked int
	}{
		"as declared":  {nil, 3, 3},
		"fewer":        {[]string{"patient.retry=2"}, 3, 2},
		"more":         {[]string{"patient.retry=5"}, 2, 0},
		"more, wanted": {[]string{"patient.retry=5", "patient.override_limits=true"}, 3, 5},
	} {
		asked = 0
		args := []string{"forward", "--from", in, "--to", "patient", "-o", "json"}
		for _, o := range c.opts {
			args = append(args, "--opt", o)
		}
		code, out, errOut := run(args...)
		if code != c.code || asked != c.asked || code == 3 && summaryOf(t, out).Destinations[0].Rejected["exhausted"] != 1 {
			t.Errorf("%s: asked %d times, exit code %d: %s%s", name, asked, code, out, errOut)
		}
	}
	_, text, _ := run("destinations", "show", "patient")
	_, data, _ := run("destinations", "show", "patient", "-o", "json")
	for _, want := range []string{"3 attempts of a delivery (" + docs + ")", "2m of attempts of a delivery (" + docs + ")",
		"10ms before something is sent again", "20ms at most before something is sent again",
		"a delivery is tried at most 3 times, and for at most 2m"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in %s", want, text)
		}
	}
	var d struct{ Limits struct{ Retry any } }
	if err := json.Unmarshal([]byte(data), &d); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"attempts": 3.0, "max_seconds": 120.0, "first_wait_seconds": 0.01, "longest_wait_seconds": 0.02,
		"docs": docs}
	if !reflect.DeepEqual(d.Limits.Retry, any(want)) {
		t.Errorf("the JSON has %v, want %v", d.Limits.Retry, want)
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
