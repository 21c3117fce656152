package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fanfold/fanfold/pkg/engine"
)

// TestLog: the flags of the log, and their other places, do what they say, and what
// a partner says back of a secret is taken out.
func TestLog(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-of-the-shop"
	dir := t.TempDir()
	in, conf := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "fanfold.yaml")
	if err := os.WriteFile(in, []byte(events(3)+"{no event\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte("log-level: info\nlog-format: json\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	forward := func(t *testing.T, env map[string]string, more ...string) string {
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 1 {
				http.Error(w, "\x1b[31mno access with "+secret, http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(w, "{}")
		}))
		defer server.Close()
		all := map[string]string{"XDG_STATE_HOME": t.TempDir(), "SECRET": secret}
		for k, v := range env {
			all[k] = v
		}
		_, _, said := invoke(t, all, "",
			append([]string{"forward", "--from", in, "--to", "webhook", "--set", "webhook.url=" + server.URL,
				"--set", "webhook.shared_secret=env:SECRET"}, more...)...)
		return said
	}
	json := func(t *testing.T, said string) {
		count := map[string]int{}
		for line := range strings.Lines(said) {
			if !strings.HasPrefix(line, "{") {
				continue
			}
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			for _, key := range []string{"time", "level", "msg", "run", "destination", "why"} {
				if m[key] == nil || m[key] == "" {
					t.Errorf("no %s in %s", key, line)
				}
			}
			count[fmt.Sprint(m["msg"])]++
		}
		if count[engine.LogRetry] != 1 || count[engine.LogNoEvent] != 1 {
			t.Errorf("lines are missing:\n%s", said)
		}
		if strings.Contains(said, secret) || strings.Contains(said, "\x1b") || !strings.Contains(said, "no access with ***") {
			t.Errorf("not as it should be shown:\n%s", said)
		}
	}
	for _, c := range []struct {
		name  string
		env   map[string]string
		args  []string
		check func(t *testing.T, said string)
	}{
		{"flags", nil, []string{"--log-level", "info", "--log-format", "json"}, json},
		{"file", nil, []string{"--config", conf}, json},
		{"env", map[string]string{"FANFOLD_LOG_LEVEL": "info", "FANFOLD_LOG_FORMAT": "json"}, nil, json},
		{"text", nil, []string{"--log-level", "info"}, func(t *testing.T, said string) {
			if !strings.Contains(said, "level=INFO msg=retry run=") || strings.Contains(said, secret) {
				t.Errorf("it said:\n%s", said)
			}
		}},
		{"none", nil, nil, func(t *testing.T, said string) {
			if strings.Contains(said, "msg=") {
				t.Errorf("without a flag single retries are logged:\n%s", said)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.check(t, forward(t, c.env, c.args...))
		})
	}
}

// TestLogOfLibraries: what the standard library has nobody to tell is a line of the
// same log, without secrets.
func TestLogOfLibraries(t *testing.T) {
	a := testApp(nil)
	a.secrets.add("s3cr3t-of-the-shop")
	l := log.New(plainLog{a}, "", 0)
	l.Print("too early: s3cr3t-of-the-shop")
	if code := a.execute(context.Background(), []string{"version"}); code != 0 {
		t.Fatal(code)
	}
	l.Print(`Unsolicited response received on idle HTTP channel starting with "s3cr3t-of-the-shop"`)
	said := fmt.Sprint(a.err)
	if strings.Contains(said, "s3cr3t") || !strings.Contains(said, "fanfold: too early: ***\n") ||
		!strings.Contains(said, `level=WARN msg="Unsolicited response`) {
		t.Errorf("it said:\n%s", said)
	}
}
