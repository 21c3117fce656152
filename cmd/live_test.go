package cmd

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// noticeBoard answers as Slack, PostHog, Klaviyo and Customer.io do, and keeps what it was sent.
type noticeBoard struct {
	mu     sync.Mutex
	bodies []string
	refuse bool // of Slack
}

func (n *noticeBoard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	n.mu.Lock()
	n.bodies = append(n.bodies, string(body))
	refuses := n.refuse
	n.mu.Unlock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/services/") && refuses:
		http.Error(w, "channel_is_archived", http.StatusGone)
	case strings.HasPrefix(r.URL.Path, "/services/"):
		fmt.Fprint(w, "ok")
	case r.URL.Path == "/batch/":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"status":1}`)
	case strings.HasPrefix(r.URL.Path, "/api/event"):
		w.WriteHeader(http.StatusAccepted)
	default:
		fmt.Fprint(w, "{}")
	}
}

func (n *noticeBoard) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := strings.Join(n.bodies, "\n")
	n.bodies = nil
	return all
}

// TestBackfillStartsNothing: events of more than a day ago start nothing at a partner unless the
// user says so, whether by a partner's own flag or because the lane stops before them.
func TestBackfillStartsNothing(t *testing.T) {
	board := new(noticeBoard)
	server := httptest.NewServer(board)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	track := func(id, event, at string) string {
		if at != "" {
			at = `,"timestamp":"` + at + `"`
		}
		return `{"type":"track","event":"` + event + `","messageId":"` + id + `","userId":"u-1","properties":{}` + at + "}\n"
	}
	const recent, old = "2024-06-01T10:00:00Z", "2024-05-29T10:00:00Z"
	fresh := write("fresh.jsonl", track("m-1", "A", recent))
	mixed := write("mixed.jsonl", track("m-1", "A", recent)+track("m-2", "B", old)+track("m-3", "C", old))
	undated := write("undated.jsonl", track("m-1", "A", ""))
	deletion := write("deletion.jsonl", track("m-1", "User Deleted", old))
	config := write("fanfold.yaml", "destinations:\n  chat:\n    type: slack\n    settings:\n"+
		"      url: https://hooks.slack.com/services/T/B/X\n    trigger_live: true\n    rate: none\n"+
		"    override_limits: true\n    base_url: "+server.URL+"\n")
	slack := []string{"--to", "slack", "--set", "slack.url=https://hooks.slack.com/services/T/B/X",
		"--opt", "slack.base_url=" + server.URL, "--opt", "slack.rate=none", "--opt", "slack.override_limits=true"}
	posthog := []string{"--to", "posthog", "--set", "posthog.api_key=k", "--opt", "posthog.base_url=" + server.URL}
	klaviyo := []string{"--to", "klaviyo", "--set", "klaviyo.api_key=k", "--opt", "klaviyo.base_url=" + server.URL}
	customer := []string{"--to", "customerio", "--set", "customerio.site_id=s", "--set", "customerio.api_key=k",
		"--opt", "customerio.base_url=" + server.URL}
	state := t.TempDir()
	run := func(args ...string) (int, string) {
		a := testApp(map[string]string{"XDG_STATE_HOME": state, "HOME": dir})
		start := time.Now()
		a.now = func() time.Time { return time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC).Add(time.Since(start)) }
		code := a.execute(context.Background(), args)
		return code, fmt.Sprint(a.out) + fmt.Sprint(a.err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		says string // of the command; in what was sent when it begins with "sent "
		sent int    // requests, or -1: some
	}{
		{"new events go out", append([]string{"forward", "--from", fresh}, slack...), 0, "", 1},
		{"it is planned", append([]string{"plan", "--from", mixed}, slack...), 0,
			"forward stops before the first of these, unless it is said that they are meant: --trigger-live slack", 0},
		{"it is previewed", append([]string{"preview", "--from", mixed}, slack...), 0, "--trigger-live slack says", 0},
		{"it is rehearsed", []string{"forward", "--from", mixed, "--to", "slack,mixpanel", "--rehearse"}, 0,
			"for real, slack would stop before events of more than a day ago", 0},
		{"it stops before the first", append([]string{"forward", "--from", mixed}, slack...), 4,
			"event m-2 is of 2024-05-29T10:00:00Z, more than a day ago, and postToChannel posts a message", 0},
		{"and says how to go on", append([]string{"forward", "--from", mixed}, slack...), 4, "--trigger-live slack", 0},
		{"it goes on", append([]string{"forward", "--from", mixed, "--trigger-live", "slack"}, slack...), 0, "", 3},
		{"the file may say it", []string{"forward", "--config", config, "--from", mixed}, 0, "", 3},
		{"who knows how old", append([]string{"forward", "--from", undated}, slack...), 4, "has no time that can be read", 0},
		{"it is new", append([]string{"forward", "--from", undated, "--undated", "now"}, slack...), 0, "", 1},
		{"a flag", append([]string{"forward", "--from", mixed}, posthog...), 0, `sent "historical_migration":true`, 2},
		{"no flag for new ones", append([]string{"forward", "--from", fresh}, posthog...), 0,
			`sent "historical_migration":false`, 1},
		{"no flag when it is meant", append([]string{"forward", "--fresh", "--from", mixed, "--trigger-live", "posthog"},
			posthog...), 0, `sent "historical_migration":false`, 1},
		{"a flag of each event", append([]string{"forward", "--from", mixed}, klaviyo...), 0, `sent "backfill":true`, 1},
		{"flows that are meant", append([]string{"forward", "--fresh", "--from", mixed, "--trigger-live", "klaviyo"},
			klaviyo...), 0, `sent "backfill":false`, 1},
		{"a deletion", append([]string{"forward", "--from", deletion}, customer...), 4, "deletePerson deletes a person", 0},
		{"a deletion that is meant", append([]string{"forward", "--from", deletion, "--trigger-live", "customerio"},
			customer...), 0, "", 1},
		{"nobody of that name", append([]string{"forward", "--from", fresh, "--trigger-live", "slak"}, slack...), 2,
			"did you mean slack", 0},
		{"no partner", []string{"forward", "--from", fresh, "--to", "file", "--set", "file.path=" + dir + "/out",
			"--trigger-live", "file"}, 2, "trigger_live is of no use", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out := run(c.args...)
			sent := board.take()
			n := strings.Count(sent, "\n") + 1
			if sent == "" {
				n = 0
			}
			says, in := strings.CutPrefix(c.says, "sent ")
			where := out
			if in {
				where = sent
			}
			if code != c.code || !strings.Contains(where, says) || n != c.sent {
				t.Errorf("exit %d, %d requests, want %d and %d, and %q:\n%s\n%s", code, n, c.code, c.sent, c.says, out, sent)
			}
			if strings.HasSuffix(c.says, "migration\":true") && strings.Count(sent, "true") != 1 {
				t.Errorf("new events are called history:\n%s", sent)
			}
		})
	}
	t.Run("a redrive asks, too", func(t *testing.T) {
		board.refuse = true
		code, out := run(append([]string{"forward", "--fresh", "--from", mixed, "--trigger-live", "slack"}, slack...)...)
		if board.refuse = false; code != 3 {
			t.Fatalf("exit %d, want 3: %s", code, out)
		}
		board.take()
		again := append([]string{"redrive", "latest"}, slack...)
		if code, out = run(again...); code != 4 || !strings.Contains(out, "--trigger-live slack") || board.take() != "" {
			t.Fatalf("exit %d, want 4: %s", code, out)
		}
		if code, out = run(append(again, "--trigger-live", "slack")...); code != 0 || strings.Count(board.take(), "\n") != 2 {
			t.Fatalf("exit %d, want 0: %s", code, out)
		}
	})
}
