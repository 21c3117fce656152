package record

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

func newRecorder(t *testing.T, path string) *Recorder {
	t.Helper()
	r, err := New(path, Options{Redactor: sample.Redactor("key"), Network: http.DefaultTransport})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func journalOf(path string) string { return strings.TrimSuffix(path, ".yaml") + ".partial.jsonl" }

// settled waits until everything is redacted and in the journal.
func settled(r *Recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle()
}

// TestRequestsAreNotTouched checks that redaction does not change the program's own
// requests and answers.
func TestRequestsAreNotTouched(t *testing.T) {
	const secret = "hunter2hunter2"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			w.WriteHeader(401)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q}`, secret)
	}))
	defer server.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"))
	req, err := http.NewRequest("GET", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	resp, err := rec.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || !strings.Contains(string(body), secret) ||
		req.Header.Get("Authorization") != "Bearer "+secret {
		t.Errorf("%d %s %v", resp.StatusCode, body, req.Header)
	}
	settled(rec)
	journal, err := os.ReadFile(journalOf(rec.path))
	if err != nil {
		t.Fatal(err)
	}
	c, err := rec.Finish(cassette.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(journal), secret) || strings.Contains(string(data), secret) {
		t.Errorf("a secret is on disk:\n%s\n%s", journal, data)
	}
}

// TestRecover continues from a journal whose last line is incomplete.
func TestRecover(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "\xff", r.URL.Path)
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "c.yaml")
	rec := newRecorder(t, path)
	for n := range 3 {
		sample.Ask(t, rec, "GET", fmt.Sprintf("%s/%d", server.URL, n), "", nil)
	}
	settled(rec)
	// As after kill -9: nothing is closed, and half a line written.
	f, err := os.OpenFile(journalOf(path), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteString(`{"n":3,"interac`); err != nil {
		t.Fatal(err)
	}
	if err = f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = New(path, Options{}); !errors.Is(err, fs.ErrExist) ||
		!strings.Contains(err.Error(), "--resume") {
		t.Errorf("a second recording: %v", err)
	}
	left, err := cassette.Recover(path)
	if err != nil || len(left.Interactions) != 3 {
		t.Fatalf("%+v, %v", left, err)
	}
	again := newRecorder(t, path)
	again.Add(left)
	sample.Ask(t, again, "GET", server.URL+"/3", "", nil)
	c, err := again.Finish(cassette.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := replay.New([]*cassette.Cassette{c}, replay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		got := sample.Ask(t, p, "GET", fmt.Sprintf("%s/%d", server.URL, n), "", nil)
		if string(got.Body) != fmt.Sprintf("\xff/%d", n) {
			t.Errorf("%d: %q", n, got.Body)
		}
	}
}
