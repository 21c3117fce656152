package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fanfold/fanfold/pkg/engine"
)

// scraped are the samples of a scrape, by name and labels.
func scraped(t *testing.T, text string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		if m := regexp.MustCompile(`^(\w+)\{(.*)\} (\S+)$`).FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			n, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				t.Fatal(err)
			}
			out[m[1]+" "+regexp.MustCompile(`,?run="\w+"`).ReplaceAllString(m[2], "")] = n
		}
	}
	return out
}

// TestMetrics: what is scraped while a run goes on adds up, and what is sent by OTLP at its end is its
// summary.
func TestMetrics(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	sent := map[string]float64{}
	otlp := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collector.ExportMetricsServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		if err != nil || r.URL.Path != "/v1/metrics" {
			t.Errorf("%s: %v", r.URL.Path, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rm := range req.ResourceMetrics {
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					for _, p := range m.GetSum().GetDataPoints() {
						name := m.Name
						for _, a := range p.Attributes {
							if a.Key == "outcome" {
								name += " " + a.Value.GetStringValue()
							}
						}
						sent[name] = p.GetAsDouble()
					}
				}
			}
		}
	}))
	defer otlp.Close()

	a := testApp(nil)
	address := func() string {
		m := regexp.MustCompile(`metrics of the run are at (\S+)`).FindStringSubmatch(fmt.Sprint(a.err))
		if m == nil {
			return ""
		}
		return m[1]
	}
	requests, scrapes := 0, 0
	p := newPartner(t)
	p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		requests++
		if requests%7 == 0 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		}
		if res, err := http.Get(address()); err == nil {
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			scrapes++
			of := scraped(t, string(text))
			settled, pending := 0.0, of[`fanfold_events_pending destination="webhook"`]
			for name, n := range of {
				if strings.HasPrefix(name, `fanfold_events_total destination="webhook"`) {
					settled += n
				}
			}
			if read := of["fanfold_records_read_total "]; settled+pending != read || read == 0 {
				t.Errorf("%v settled, %v pending, %v read:\n%s", settled, pending, read, text)
			}
			for _, name := range []string{"fanfold_request_duration_seconds_count", "fanfold_oldest_pending_seconds",
				"fanfold_requests_in_flight", "fanfold_retries_total", "fanfold_request_size_bytes_total"} {
				if _, ok := of[name+` destination="webhook"`]; !ok {
					t.Errorf("there is no %s:\n%s", name, text)
				}
			}
		}
		if strings.HasSuffix(ids[0], "5") {
			http.Error(w, "no", http.StatusBadRequest)
			return true
		}
		return false
	})
	a.env = func(key string) (string, bool) {
		v, ok := map[string]string{"XDG_STATE_HOME": t.TempDir(), "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.URL}[key]
		return v, ok
	}
	in := file(t, "in.jsonl", events(60))
	code := a.execute(t.Context(), []string{"forward", "--from", in, "--to", "webhook", "--set", "webhook.url=" + p.URL,
		"--opt", "webhook.batch_events=1", "--opt", "webhook.concurrency=1", "--metrics", "127.0.0.1:0", "-o", "json"})
	d := summaryOf(t, fmt.Sprint(a.out)).Destinations[0]
	if code != exitRejected || scrapes == 0 {
		t.Fatalf("exit code %d, %d scrapes: %s", code, scrapes, a.err)
	}
	mu.Lock()
	defer mu.Unlock()
	for name, want := range map[string]uint64{"fanfold.events delivered": d.Delivered, "fanfold.requests": d.Requests,
		"fanfold.events rejected": engine.Total(d.Rejected), "fanfold.retries": d.Retries, "fanfold.request.size": d.Bytes} {
		if sent[name] != float64(want) {
			t.Errorf("by OTLP %s is %v, the summary has %d", name, sent[name], want)
		}
	}
}

// TestNotify: those who want to know are told of success and of failure, without secrets; a notice that
// fails changes nothing.
func TestNotify(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := map[string][]string{}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if got[r.URL.Path] = append(got[r.URL.Path], string(body)); r.URL.Path == "/gone/a-secret-path" {
			http.Error(w, "no such hook", http.StatusNotFound)
		}
	}))
	defer hook.Close()
	p := newPartner(t)
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	told := filepath.Join(t.TempDir(), "told")
	in := file(t, "in.jsonl", events(3))
	args := []string{"forward", "--from", in, "--to", "webhook", "--set", "webhook.url=" + p.URL,
		"--notify", "webhook=" + hook.URL + "/hook", "--notify", "slack=" + hook.URL + "/slack",
		"--notify", "exec=cat > " + told + "; echo $FANFOLD_STATUS >> " + told,
		"--notify", "webhook=" + hook.URL + "/gone/a-secret-path"}
	code, _, said := invoke(t, env, "", args...)
	if code != exitOK || !strings.Contains(said, "nobody was told by --notify: webhook: it answered with status 404") ||
		strings.Contains(said, "a-secret-path") {
		t.Errorf("exit code %d: %s", code, said)
	}
	var n struct {
		Status   string
		Headline string
		ExitCode int `json:"exit_code"`
		Summary  engine.Summary
	}
	if err := json.Unmarshal([]byte(got["/hook"][0]), &n); err != nil || n.Status != "complete" ||
		n.Summary.Destinations[0].Delivered != 3 || n.Headline != "3 of 3 arrived" || n.ExitCode != 0 {
		t.Errorf("%v: %+v", err, n)
	}
	if text := got["/slack"][0]; !strings.Contains(text, `is complete (exit code 0): 3 of 3 arrived"}`) {
		t.Errorf("Slack is told %s", text)
	}
	text, err := os.ReadFile(told)
	if err != nil || !strings.HasSuffix(string(text), "complete\n") || !strings.Contains(string(text), `"headline"`) {
		t.Errorf("%v: the command is told %s", err, text)
	}
	// A run that cannot be begun is a failure that somebody wants to know, too.
	code, _, _ = invoke(t, env, "", "forward", "--from", in+".missing", "--to", "webhook", "--set", "webhook.url="+p.URL,
		"--notify", "webhook="+hook.URL+"/failed")
	if code != exitUsage || len(got["/failed"]) != 1 || !strings.Contains(got["/failed"][0], `"status":"failed","exit_code":2`) ||
		!strings.Contains(got["/failed"][0], "missing") {
		t.Errorf("exit code %d: %v", code, got["/failed"])
	}
}
