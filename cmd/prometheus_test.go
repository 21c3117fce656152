package cmd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/fanfold/fanfold/pkg/engine"
)

// prometheus is a real one, which scrapes whatever fanfold listens at.
type prometheus struct {
	t       *testing.T
	address string
	targets string // a file
}

// TestPrometheus has a real Prometheus, which FANFOLD_PROMETHEUS names, scrape a run whose
// partners fail, refuse and ask
// for pauses, and whose process is killed and resumed: every sample adds up, for every
// destination, and the last ones do
// not say more than the summary.
func TestPrometheus(t *testing.T) {
	bin := os.Getenv("FANFOLD_PROMETHEUS")
	if bin == "" {
		t.Skip("skipped: FANFOLD_PROMETHEUS names no Prometheus to scrape with")
	}
	p := startPrometheus(t, bin)
	one, two := newPartner(t), newPartner(t)
	running := make(chan *os.Process, 1)
	requests, killed := 0, 0
	one.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		switch requests++; {
		case requests%150 == 149 && killed < 3:
			killed++
			if err := (<-running).Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		case requests%40 == 7:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "slowly", http.StatusTooManyRequests)
			return true
		case requests%5 == 3:
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	two.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		if strings.HasSuffix(ids[0], "7") {
			http.Error(w, "no", http.StatusBadRequest)
			return true
		}
		return false
	})
	conf := file(t, "fanfold.yaml",
		fmt.Sprintf("destinations:\n  one: {type: webhook, settings: {url: %q}, batch_events: 5, "+
			"concurrency: 2, rate: 50/s}\n  two: {type: webhook, settings: {url: %q}, batch_events: 1, concurrency: 2}\n",
			one.URL,
			two.URL))
	in, state := file(t, "in.jsonl", events(3000)+"no event\n"), t.TempDir()
	var out strings.Builder
	for {
		out.Reset()
		process := exec.Command(build(t), "forward", "--from", in, "--config", conf, "--metrics", "127.0.0.1:0", "--progress",
			"never", "-o", "json")
		process.Env, process.Stdout = []string{"XDG_STATE_HOME=" + state}, &out
		said, err := process.StderrPipe()
		if err == nil {
			err = process.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		running <- process.Process
		for s := bufio.NewScanner(said); s.Scan(); {
			if m := regexp.MustCompile(`are at http://(\S+)/metrics`).FindStringSubmatch(s.Text()); m != nil {
				p.scrapes(m[1])
			}
		}
		var exit *exec.ExitError
		if err = process.Wait(); !errors.As(err, &exit) || exit.ExitCode() == exitRejected {
			break
		}
	}
	if killed != 3 {
		t.Errorf("it was killed %d times", killed)
	}
	p.addsUp(summaryOf(t, out.String()))
}

func startPrometheus(t *testing.T, bin string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	p := &prometheus{t: t, targets: filepath.Join(dir, "targets.json")}
	p.scrapes("127.0.0.1:9")
	conf := file(t, "prometheus.yml", "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n"+
		"  - {job_name: fanfold, file_sd_configs: [{files: ['"+p.targets+"'], refresh_interval: 200ms}]}\n")
	c := exec.Command(bin, "--config.file="+conf, "--storage.tsdb.path="+dir, "--web.listen-address=127.0.0.1:0")
	said, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // its data are thrown away
		_ = c.Wait()
	})
	s := bufio.NewScanner(said)
	for s.Scan() && !strings.Contains(s.Text(), "ready to receive web requests") {
		if m := regexp.MustCompile(`address=(127\.0\.0\.1:\d*[1-9]\d*)`).FindStringSubmatch(s.Text()); m != nil {
			p.address = m[1]
		}
	}
	if p.address == "" {
		t.Fatal("Prometheus does not say where it listens")
	}
	go func() {
		for s.Scan() { // so that it never waits to say something
		}
	}()
	return p
}

// scrapes has it scrape there from now on.
func (p *prometheus) scrapes(address string) {
	p.t.Helper()
	tmp := p.targets + ".tmp"
	err := os.WriteFile(tmp, []byte(`[{"targets":["`+address+`"]}]`), 0o600)
	if err = errors.Join(err, os.Rename(tmp, p.targets)); err != nil {
		p.t.Fatal(err)
	}
}

// samples are those of a metric: by time, and by the labels that are asked for.
func (p *prometheus) samples(name string, labels ...string) map[string]map[string]float64 {
	p.t.Helper()
	res, err := http.Get("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(name+"[10m]"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var doc struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]json.RawMessage
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
		p.t.Fatal(err)
	}
	out := map[string]map[string]float64{}
	for _, r := range doc.Data.Result {
		key := ""
		for _, l := range labels {
			key += r.Metric[l] + " "
		}
		for _, v := range r.Values {
			n, err := strconv.ParseFloat(strings.Trim(string(v[1]), `"`), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			at := string(v[0])
			if out[at] == nil {
				out[at] = map[string]float64{}
			}
			out[at][key] += n
		}
	}
	return out
}

// addsUp holds all samples against each other, and the last ones against a summary.
func (p *prometheus) addsUp(s engine.Summary) {
	t := p.t
	read, bad := p.samples("fanfold_records_read_total"), p.samples("fanfold_records_bad_total")
	settled, pending := p.samples("fanfold_events_total", "destination"), p.samples("fanfold_events_pending",
		"destination")
	outcomes := p.samples("fanfold_events_total", "destination", "outcome")
	for at, n := range read {
		for _, d := range s.Destinations {
			key := d.Name + " "
			if _, there := pending[at][key]; !there {
				t.Errorf("at %s nothing is said of %s", at, d.Name)
			}
			if settled[at][key]+pending[at][key] != n[""]-bad[at][""] {
				t.Errorf("at %s: %s: %v settled, %v pending, %v read, %v bad", at, d.Name, settled[at][key], pending[at][key],
					n[""],
					bad[at][""])
			}
			if outcomes[at][key+"delivered "] > float64(d.Delivered) || outcomes[at][key+"rejected "] >
				float64(engine.Total(d.Rejected)) {
				t.Errorf("at %s: %s: more than in the end: %v", at, d.Name, outcomes[at])
			}
		}
	}
	if len(read) < 10 {
		t.Errorf("it has scraped %d times", len(read))
	}
	t.Logf("%d scrapes of %d destinations", len(read), len(s.Destinations))
}
