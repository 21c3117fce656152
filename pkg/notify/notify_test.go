package notify

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestSend: what passes is tried again, what does not is not, and no error tells the address.
func TestSend(t *testing.T) {
	calls, status := 0, []int{503, 429, 204}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status[min(calls, len(status)-1)])
		calls++
	}))
	var waits []time.Duration
	send := func(to To) error {
		calls, waits = 0, nil
		return to.Send(context.Background(), http.DefaultTransport, &Notice{Run: "r", Status: "complete"},
			func(d time.Duration) { waits = append(waits, d) })
	}
	hook := To{"webhook", s.URL + "/secret"}
	if err := send(hook); err != nil || calls != 3 || len(waits) != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
	status = []int{404}
	if err := send(hook); err == nil || calls != 1 || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v after %d calls", err, calls)
	}
	s.Close()
	if err := send(hook); err == nil || len(waits) != 2 || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v after %d pauses", err, len(waits))
	}
	if err := send(To{"exec", "exit 3"}); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a command that fails: %v", err)
	}
}

// TestParse: mistakes are found before anything is sent.
func TestParse(t *testing.T) {
	for text, ok := range map[string]bool{"webhook=https://x.example/y": true, "exec=echo a=b": true, "slack=x": false,
		"webhook=": false, "mail=https://x.example": false, "slack=ftp://x.example": false, "exec": false} {
		if _, err := Parse(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
