package engine_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
)

// TestEverythingIsLogged has a run meet all that may be in a run's way: of each
// kind there is a structured line that says when, which run and destination, what
// and why, and there are as many as the summary counts.
func TestEverythingIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 30
		path := input(t, n, nil)
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("{no event}\n"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		p := newPartner(1)
		p.plan.Limits.Concurrency.N = 1
		same := func(o destination.Outcome, reason destination.Reason, status int, after time.Duration) []destination.Result {
			return []destination.Result{
				{Outcome: o, Reason: reason, Status: status, Detail: "said so", RetryAfter: after},
			}
		}
		p.answer = func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			switch {
			case p.requests == 1:
				return same(destination.Retry, destination.RateLimited, 429, time.Minute), nil
			case p.requests < 20:
				return same(destination.Retry, destination.Unavailable, 503, 0), nil
			case ids[0]%10 == 5:
				return same(destination.Rejected, destination.Refused, 400, 0), nil
			case ids[0] == 28:
				return same(destination.Retry, destination.Unauthorized, 401, 0), nil
			}
			return ok(len(ids)), nil
		}
		var text bytes.Buffer
		l := lane("shop", p)
		l.Options.Attempts = 100
		s := setup{
			path:  path,
			dir:   filepath.Join(t.TempDir(), "run-7"),
			lanes: []engine.LaneConfig{l},
			change: func(c *engine.Config) {
				c.Logger = slog.New(slog.NewJSONHandler(&text, nil))
			},
		}
		d := s.mustRun(t).Destinations[0]
		p.answer = nil
		last := s.mustRun(t).Destinations[0]

		count := map[string]int{}
		for line := range bytes.Lines(text.Bytes()) {
			var m struct {
				Time                              time.Time
				Level, Msg, Run, Destination, Why string
			}
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if m.Time.IsZero() || m.Run != "run-7" || m.Why == "" ||
				m.Destination != "shop" && m.Msg != engine.LogNoEvent {
				t.Errorf("something is missing in %s", line)
			}
			if want := map[bool]string{true: "ERROR", false: "INFO"}[m.Msg == engine.LogStop]; m.Level != want {
				t.Errorf("%s is no %s", line, want)
			}
			count[m.Msg]++
		}
		for what, want := range map[string]int{
			engine.LogPause: 1, engine.LogOpen: 1, engine.LogRecover: 1, engine.LogStop: 1, engine.LogNoEvent: 1,
			engine.LogResume:   1,
			engine.LogRejected: int(d.Rejected["refused"]), engine.LogRetry: 19,
		} {
			if count[what] != want || want == 0 {
				t.Errorf("%d lines %q, want %d", count[what], what, want)
			}
		}
		if count[engine.LogProbe] < 5 || last.Pending != 0 {
			t.Errorf("%d probes were logged; at the end %d pending", count[engine.LogProbe], last.Pending)
		}
	})
}
