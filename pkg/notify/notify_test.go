package notify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"webhook=https://a.example/x?k=v": "", "slack=https://hooks.example/T/B/x": "", "exec=mail -s done me": "",
		"webhook": "webhook=URL, slack=URL or exec=COMMAND", "exec=": "exec=COMMAND",
		"https://s3cret.example":       "exec=COMMAND",
		"pager=https://s3cret.example": "there are webhook, slack and exec", "webhook=s3cret": "begins with http",
		"slack=file:///s3cret": "begins with http", "webhook=https://": "begins with http",
	} {
		_, err := Parse(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		} else if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error tells the address: %v", text, err)
		}
	}
}

// A notice is tried again where that helps, and no more; what a receiver is told fits it.
func TestSend(t *testing.T) {
	n := &Notice{Run: "r1", Status: "complete", Headline: "3 <of> 3 & all"}
	for _, c := range []struct {
		kind     string
		statuses []int
		err      string
		body     string
	}{
		{"webhook", []int{200}, "", `"headline":"3 \u003cof\u003e 3 \u0026 all"`},
		{"slack", []int{200}, "", `3 \u0026lt;of\u0026gt; 3 \u0026amp; all`},
		{"webhook", []int{503, 429, 204}, "", ""},
		{"webhook", []int{500, 500, 500}, "status 500", ""},
		{"slack", []int{404}, "slack: it answered with status 404: gone", ""},
	} {
		came, body := 0, ""
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			body = string(text)
			if came >= len(c.statuses) {
				t.Errorf("%s: it was sent too often", c.kind)
				return
			}
			w.WriteHeader(c.statuses[came])
			came++
			if c.statuses[0] == 404 {
				_, _ = io.WriteString(w, "gone")
			}
		}))
		err := To{c.kind, server.URL}.Send(context.Background(), http.DefaultTransport, n, func(time.Duration) {})
		server.Close()
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s %v: %v", c.kind, c.statuses, err)
		}
		if came != len(c.statuses) || !strings.Contains(body, c.body) {
			t.Errorf("%s %v: %d came, the last: %s", c.kind, c.statuses, came, body)
		}
	}
}

// A command is told on its standard input and by variables. What it starts may go on; what it
// prints may be endless.
func TestExec(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: the commands are those of a Unix shell")
	}
	out := filepath.Join(t.TempDir(), "out")
	for command, want := range map[string]string{
		"cat > " + out + "; echo $FANFOLD_RUN $FANFOLD_EXIT_CODE >> " + out: "",
		"(sleep 5 &) ; exit 0":           "",
		"echo no mail >&2; exit 3":       "the command failed: exit status 3: no mail",
		"yes | head -c 10000000; exit 1": "the command failed: exit status 1: y\ny",
		"no-such-program-of-mine":        "the command failed: exit status 127",
	} {
		err := To{"exec", command}.Send(context.Background(), nil, &Notice{Run: "r1", Status: "complete", ExitCode: 3}, nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) ||
			len(err.Error()) > 400) {
			t.Errorf("%s: %v", command, err)
		}
	}
	if text, err := os.ReadFile(out); err != nil || !strings.Contains(string(text), `"run":"r1"`) ||
		!strings.HasSuffix(string(text), "r1 3\n") {
		t.Errorf("told %s, %v", text, err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (To{"exec", "sleep 5"}).Send(gone, nil, &Notice{}, nil); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a command that was stopped: %v", err)
	}
}
