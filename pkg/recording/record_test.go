package recording

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/listen"
)

// TestHostsApart checks that lists of hosts are split at commas, and that expressions
// are not.
func TestHostsApart(t *testing.T) {
	for in, want := range map[string][]string{
		"api.shop.example":                 {"api.shop.example"},
		"api.shop.example,*.other.example": {"api.shop.example", "*.other.example"},
		"127.0.0.1:8080, [::1]":            {"127.0.0.1:8080, [::1]"},
		" a.example , b.example:443":       {"a.example", "b.example:443"},
		`public-\d{1,3}`:                   {`public-\d{1,3}`},
		"a.example,":                       {"a.example,"},
	} {
		if got := hostsApart([]string{in}); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// world returns a World whose command is a function. It is called with the address of
// the shop.
func world(t *testing.T, said *[]string, command func(base string) int) *World {
	t.Helper()
	now := func() time.Time { return time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC) }
	return &World{
		Version: "1.2.3", Now: now, Env: func(string) (string, bool) { return "", false },
		Say:     func(s ...string) { *said = append(*said, s...) },
		Hide:    func(s string) string { return s },
		Key:     func(string, bool) ([]byte, error) { return []byte("a key of some length"), nil },
		Secrets: func([]string) ([]redact.Secret, error) { return nil, nil },
		Redactor: func(key []byte, secrets []redact.Secret, also, allow []string) (*redact.Redactor, error) {
			return redact.New(key, secrets, redact.Options{Redact: also, Allow: allow})
		},
		Serve: func(_ context.Context, s *listen.Service, _ []string, ending func()) (int, error) {
			stage, err := s.Start(t.TempDir(), now())
			if err != nil {
				return 0, err
			}
			code := command(stage.URLs["shop"])
			if ending != nil {
				ending()
			}
			return code, stage.Close()
		},
		Ours: func([]string) bool { return false },
	}
}

// ask is a command that logs in and uses the token that it gets.
func ask(t *testing.T, base string) int {
	t.Helper()
	for _, path := range []string{"/login", "/orders"} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Error(err)
			return 1
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return 1
		}
	}
	return 0
}

// TestRecordAndReplay checks that a command is recorded without its secrets, is
// answered again without the partner, and that a missing interaction is a finding.
func TestRecordAndReplay(t *testing.T) {
	const secret = "Korrekt77-pferd"
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"token":"`+secret+`"}`)
	}))
	path := filepath.Join(t.TempDir(), "c.yaml")
	var said []string
	w := world(t, &said, func(base string) int { return ask(t, base) })
	o := &RecordOptions{To: []string{"shop=" + shop.URL}, Cassette: path, Mode: "once", MaxBody: "1MiB"}
	if err := w.Record(t.Context(), o, []string{"client"}); err != nil {
		t.Fatalf("%v, %q", err, said)
	}
	shop.Close()
	data, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(data), secret) || strings.Count(string(data), "url:") != 2 {
		t.Errorf("%v, %s", err, data)
	}
	c, err := cassette.Load(path)
	if err != nil || c.Meta.Tool != "fanfold 1.2.3" || c.Meta.Date != "2026-11-28" {
		t.Errorf("%v, %+v", err, c)
	}
	if err = w.Replay(t.Context(), &ReplayOptions{}, []string{path}, []string{"client"}); err != nil {
		t.Errorf("%v, %q", err, said)
	}
	more := world(t, &said, func(base string) int {
		resp, e := http.Get(base + "/other")
		if e != nil || resp.StatusCode != http.StatusNotImplemented {
			t.Errorf("%v, %v", e, resp)
			return 0
		}
		resp.Body.Close()
		return 0
	})
	err = more.Replay(t.Context(), &ReplayOptions{}, []string{path}, []string{"client"})
	if !errors.Is(err, ErrFinding) {
		t.Errorf("%v, %q", err, said)
	}
	// A command that fails does not change the cassette.
	failing := world(t, &said, func(string) int { return 3 })
	o.Mode = "all"
	var child *ChildError
	if err := failing.Record(t.Context(), o, []string{"client"}); !errors.As(err, &child) || child.Code != 3 {
		t.Errorf("%v", err)
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(data) {
		t.Errorf("%v, %s", err, again)
	}
}

// TestMistakes checks that the error for an impossible recording says what to do.
func TestMistakes(t *testing.T) {
	to := []string{"shop=https://api.shop.example"}
	for want, o := range map[string]*RecordOptions{
		"--cassette FILE.yaml": {To: to, MaxBody: "1MiB"},
		"has to end in .yaml":  {To: to, Cassette: "c.json", MaxBody: "1MiB"},
		"--to NAME=URL":        {Cassette: "c.yaml", MaxBody: "1MiB"},
		"--allow HOST":         {Proxy: true, Cassette: "c.yaml", MaxBody: "1MiB"},
		"--listen serves one partner": {To: to, Proxy: true, Allow: []string{"x"}, Listen: "127.0.0.1:0",
			Cassette: "c.yaml"},
		"--max-body":                  {To: to, Cassette: "c.yaml", MaxBody: "much"},
		"--ignore":                    {To: to, Cassette: "c.yaml", MaxBody: "1MiB", Ignore: []string{"body..x"}},
		"--mode has to be once, new":  {To: to, Cassette: "c.yaml", MaxBody: "1MiB", Mode: "twice"},
		"has to be NAME=URL":          {To: []string{"shop"}, Cassette: "c.yaml", MaxBody: "1MiB"},
		"--mode none never goes live": {To: to, Cassette: "gone.yaml", MaxBody: "1MiB", Mode: "none"},
		"has to be without credential": {To: []string{"shop=https://a:b@api.shop.example"}, Cassette: "c.yaml",
			MaxBody: "1MiB"},
	} {
		var said []string
		w := world(t, &said, func(string) int { t.Error("it was run"); return 0 })
		if err := w.Record(t.Context(), o, []string{"client"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
}
