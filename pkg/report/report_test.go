package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/transport"
)

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Second: "10s", time.Minute: "1m", 30 * time.Minute: "30m", 2 * time.Hour: "2h",
		90 * time.Second: "1m30s", 72 * time.Hour: "3 days",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}

// TestNotes: what a summary's counts mean is said in a sentence, and only where there
// is something to say.
func TestNotes(t *testing.T) {
	all := map[string]uint64{"not_mapped": 3}
	for _, c := range []struct {
		name string
		sum  engine.Summary
		held []string
		want string // "": nothing is said
	}{
		{name: "all is well", sum: engine.Summary{Read: 3, Destinations: []engine.LaneSummary{{Name: "d", Delivered: 3}}}},
		{"--filter", engine.Summary{Read: 5, BadRecords: 1, Dropped: map[string]uint64{"filter": 4}}, nil,
			"--filter matched none of 4 events"},
		{"its filter", engine.Summary{Read: 3, Destinations: []engine.LaneSummary{{Name: "d", Filtered: 3}}}, nil,
			"the filter of d matched none of 3 events"},
		{"skipped", engine.Summary{Read: 3, Destinations: []engine.LaneSummary{{Name: "d", Skipped: all,
			SkippedExamples: map[string]string{"not_mapped": "m1"}}}}, nil,
			"warning: d was sent nothing: all of its 3 events were skipped: not_mapped 3, like m1"},
		{"some skipped", engine.Summary{Read: 4, Destinations: []engine.LaneSummary{{Name: "d", Skipped: all, Delivered: 1}}},
			nil, ""},
		{"stopped", engine.Summary{Read: 2, Destinations: []engine.LaneSummary{{Name: "d", Pending: 2, Stopped: "no"}}}, nil,
			"d was stopped: its 2 pending events go out when the same command runs again with the same standard input"},
		{"stopped until", engine.Summary{Read: 1, Destinations: []engine.LaneSummary{{Name: "d", Pending: 1, Stopped: "no",
			Until: "the credentials are right"}}}, nil, "d was stopped: its 1 pending event goes out when the same command " +
			"runs again with the same standard input, once the credentials are right"},
		{"held", engine.Summary{}, []string{"d"}, "d: events whose request had no answer yet at a crash are held back; " +
			"look whether the partner has them; --opt d.in_doubt=resend sends them again"},
	} {
		j := &run.Job{Input: run.Input{Stream: &run.Stream{Name: "standard input"}}}
		got := strings.Join(Notes(j, &run.Result{Summary: &c.sum, Held: c.held}), "\n")
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// A rehearsal that was stopped is not gone on with: it is said so.
func TestStoppedRehearsal(t *testing.T) {
	sum := &engine.Summary{Read: 2, Destinations: []engine.LaneSummary{{Name: "d", Pending: 2, Stopped: "no"}}}
	const want = "d was stopped with 2 events pending; a rehearsal does not go on: the same command begins anew"
	if got := strings.Join(Notes(&run.Job{Rehearse: true}, &run.Result{Summary: sum}), "\n"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestEveryNoticeIsSaid: each kind of notice has a sentence that names its run.
func TestEveryNoticeIsSaid(t *testing.T) {
	for _, n := range []run.Notice{
		run.Resuming{Run: "r1"}, run.NewStream{Run: "r1"}, run.NewPresets{Run: "r1"}, run.NewObjects{Run: "r1"},
		run.Replaced{Run: "r1"}, run.Renamed{Run: "r1"},
		run.NothingNew{Run: "r1"}, run.NothingNew{Run: "r1", Rejected: 1}, run.NothingNew{Run: "r1", Rejected: 1, Left: 1},
		run.RedrivenAgain{Run: "r1"}, run.RedrivenAgain{Run: "r1", Left: 1},
	} {
		if got := Notice(n); !strings.Contains(got, "r1") {
			t.Errorf("%T: %q", n, got)
		}
	}
}

// TestCurlIsQuoted: what a command of a shell is made of cannot end its quotes.
func TestCurlIsQuoted(t *testing.T) {
	got := curl(&transport.Captured{Method: "POST", URL: "https://a.example/'x", Body: []byte("it's")})
	want := `curl -X POST 'https://a.example/'\''x' --data-binary 'it'\''s'` + "\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got := comment("a\nb"); got != "a b" {
		t.Errorf("a comment has a line end in it: %q", got)
	}
}

// TestPlansOfBefore: a report takes a plan in the form of today and in the one before.
func TestPlansOfBefore(t *testing.T) {
	for _, text := range []string{
		`{"bad_records":2,"bad_reasons":{"syntax":2},"destinations":[{"name":"d","delivered":7,"skipped":{"too_old":2},` +
			`"rejected":{"no_time":1},"deliveries":7,"needs_trigger_live":"why"}]}`,
		`{"bad_records":{"syntax":{"count":2}},"destinations":[{"name":"d","events":7,"skipped":{"too_old":{"count":2,` +
			`"detail":"x"}},"rejected":{"no_time":{"count":1}},"deliveries":7,"needs_trigger_live":true}]}`,
	} {
		var p page
		p.planned(&run.Story{Plan: []byte(text), Summary: &engine.Summary{Destinations: []engine.LaneSummary{{Name: "d"}}}})
		got := ""
		for _, row := range p.Plan {
			got += row.What + " " + row.Planned + ", "
		}
		if want := "events delivered 7, events skipped 2, events rejected 1, deliveries 7, "; !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %s of %s", got, want, text)
		}
	}
}

func TestSuite(t *testing.T) {
	s := Suite{Name: "n"}
	s.Add(Check{File: "f", Name: "a"})
	s.Add(Check{File: "f", Name: "b", Failed: "1 finding", Findings: []string{"x < y"}, Seconds: 0.25})
	s.Add(Check{File: "f", Name: "c", Skipped: "no events"})
	var b strings.Builder
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<testsuite name="n" tests="3" failures="1" skipped="1">`, `<testcase classname="f" name="a" time="0.000">`,
		`<failure message="1 finding">x &lt; y</failure>`, `time="0.250"`, `<skipped message="no events">`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is not in\n%s", want, b.String())
		}
	}
	if got := fmt.Sprint(printable.Size(999), printable.Size(1500),
		printable.Size(2_000_000)); got != "999 B1.5 kB2.0 MB" {
		t.Errorf("sizes: %s", got)
	}
}

// TestWindowAsJSON: programs are told of every side of a partner's window.
func TestWindowAsJSON(t *testing.T) {
	const docs = "https://partner.example"
	for _, c := range []struct {
		window destination.Window
		want   string
	}{
		{destination.Window{Since: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), Violation: "refuses", Docs: docs},
			`{"since":"1990-01-01T00:00:00Z","violation":"refuses","docs":"https://partner.example"}`},
		{destination.Window{Past: time.Hour, Docs: docs, But: &destination.PastOf{Field: "kind", Value: "shop",
			Past: time.Minute, Docs: docs}}, `{"past_seconds":3600,"but":{"field":"kind","value":"shop","past_seconds":60,` +
			`"docs":"https://partner.example"},"docs":"https://partner.example"}`},
		{destination.Window{}, "null"},
	} {
		got, err := json.Marshal(limitsOf(destination.Limits{Window: c.window}).Window)
		if err != nil || string(got) != c.want {
			t.Errorf("%s, want %s; %v", got, c.want, err)
		}
	}
}

// TestJobIsTold: people and programs are told that a partner works a request through later.
func TestJobIsTold(t *testing.T) {
	d := destination.Destination{Actions: []destination.ActionInfo{{Slug: "send",
		Job: &destination.Job{Patience: 5 * time.Minute, Docs: "https://partner.example/jobs"}}, {Slug: "other"}}}
	var text strings.Builder
	Manual(&text, d)
	const told = "what goes wrong then is asked for, for up to 5m (https://partner.example/jobs)"
	if strings.Count(text.String(), told) != 1 {
		t.Errorf("people are told %s", &text)
	}
	data, err := json.Marshal(DestinationOf(d).Actions)
	const job = `"job":{"patience_seconds":300,"docs":"https://partner.example/jobs"}`
	if err != nil || strings.Count(string(data), job) != 1 {
		t.Errorf("programs are told %s; %v", data, err)
	}
}
