package record

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

// TestNobodyWaitsForRedaction checks that the redaction of a large answer delays
// neither its own client nor others.
func TestNobodyWaitsForRedaction(t *testing.T) {
	large := []byte(`{"orders":[` + strings.Repeat(`{"item":"A chair, wood","price":7.50},`, 7<<20/37) + `{}]}`)
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/small" {
			large = []byte(`{"ok":true}`)
		}
		_, _ = w.Write(large)
	}))
	defer shop.Close()
	held, release := make(chan bool), make(chan bool)
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"))
	rec.beforeRedaction = func() {
		held <- true
		<-release
	}
	if got := sample.Ask(t, rec, "GET", shop.URL+"/large", "", nil); len(got.Body) != len(large) {
		t.Errorf("%d bytes", len(got.Body))
	}
	<-held // redaction has begun, and is held up
	for range 20 {
		if got := sample.Ask(t, rec, "GET", shop.URL+"/small", "", nil); string(got.Body) != `{"ok":true}` {
			t.Errorf("%s", got.Body)
		}
	}
	rec.mu.Lock()
	if len(rec.queue) != 20 || len(rec.kept) != 0 {
		t.Errorf("%d wait, %d are kept", len(rec.queue), len(rec.kept))
	}
	rec.beforeRedaction = nil
	rec.mu.Unlock()
	close(release)
	c, err := rec.Finish(cassette.Meta{})
	if err != nil || len(c.Interactions) != 21 || !strings.HasSuffix(c.Interactions[0].Request.URL, "/large") {
		t.Errorf("%v, %v", c, err)
	}
}

// TestRedactionGivesWay checks that the redaction of a large answer waits while a
// request is under way, and a moment longer, but that of a small answer does not.
func TestRedactionGivesWay(t *testing.T) {
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"))
	rec.urgent.Add(1)
	rec.givesWay(0)() // would wait for ever
	done := make(chan bool)
	go func() {
		rec.givesWay(1 << 30)()
		close(done)
	}()
	rec.mu.Lock()
	rec.answered()
	rec.mu.Unlock()
	<-done
	if rec.recent.Load() {
		t.Error("it went on at once")
	}
	if err := rec.Abandon(); err != nil {
		t.Error(err)
	}
}
