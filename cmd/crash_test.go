package cmd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/eventgen"
)

// built is the real binary, made once.
var built struct {
	once     sync.Once
	dir, bin string
	err      error
}

// build makes the real binary.
func build(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "fanfold-test-"); built.err != nil {
			return
		}
		built.bin = filepath.Join(built.dir, "fanfold")
		if out, err := exec.Command("go", "build", "-o", built.bin, "..").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.bin
}

// TestCrash kills the real binary at random instants of runs with two
// destinations, one of which fails now and then, and runs the same command
// again until it is through. Every event has to have arrived at both; what
// arrived twice was in flight at a kill.
//
// FANFOLD_CRASHES=200 go test -run TestCrash ./cmd is the long form.
func TestCrash(t *testing.T) {
	kills := 12
	if s := os.Getenv("FANFOLD_CRASHES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("FANFOLD_CRASHES: %v", err)
		}
		kills = n
	}
	bin := build(t)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("FANFOLD_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("FANFOLD_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("FANFOLD_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	const events = 4000
	for round := 0; kills > 0; round++ {
		name := []string{"in.jsonl.gz", "in.jsonl.zst", "in.jsonl"}[round%3]
		path := filepath.Join(t.TempDir(), name)
		if out, err := exec.Command(bin, "generate", "--to", path, "--events", fmt.Sprint(events), "--seed", fmt.Sprint(round)).CombinedOutput(); err != nil {
			t.Fatalf("generate: %v\n%s", err, out)
		}
		a, b := newPartner(t), newPartner(t)
		flaky := 0
		b.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
			if flaky++; flaky%7 == 3 {
				http.Error(w, "try later", http.StatusServiceUnavailable)
				return true
			}
			return false
		})
		conf := filepath.Join(t.TempDir(), "fanfold.yaml")
		text := fmt.Sprintf("destinations:\n  a: {type: webhook, settings: {url: %q}, batch_events: 50, concurrency: 4}\n  b: {type: webhook, settings: {url: %q}, batch_events: 20, concurrency: 4}\n", a.URL, b.URL)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		state := t.TempDir()
		killed := 0
		for {
			c := exec.Command(bin, "forward", "--from", path, "--config", conf, "--state-dir", state, "-o", "json")
			var out, errOut bytes.Buffer
			c.Stdout, c.Stderr = &out, &errOut
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- c.Wait() }()
			if kills > 0 && killed < 8 {
				select {
				case <-ended:
				case <-time.After(time.Duration(20+rng.IntN(250)) * time.Millisecond):
					if c.Process.Kill() == nil {
						<-ended
						killed++
						kills--
						continue
					}
				}
			} else {
				<-ended
			}
			if c.ProcessState.ExitCode() != 0 {
				t.Fatalf("exit code %d: %s%s", c.ProcessState.ExitCode(), out.String(), errOut.String())
			}
			s := summaryOf(t, out.String())
			for _, d := range s.Destinations {
				if d.Delivered != events {
					t.Errorf("%s: %s", d.Name, out.String())
				}
			}
			break
		}
		if killed == 0 {
			kills-- // a machine so fast that nothing could be killed ends all the same
		}
		for _, p := range []*partner{a, b} {
			p.mu.Lock()
			again := 0
			for _, n := range p.seen {
				again += n - 1
			}
			if len(p.seen) != events {
				t.Errorf("%s: %d events arrived, want %d", name, len(p.seen), events)
			}
			// Four requests of at most fifty events can be in flight.
			if again > killed*4*50 {
				t.Errorf("%s: %d repeats after %d kills", name, again, killed)
			}
			t.Logf("%s: %d kills, %d repeats", name, killed, again)
			p.mu.Unlock()
		}
	}
}

// TestInterrupt presses Ctrl-C once: what is in flight is finished, the exit
// code is 4, and the same command goes on without a repeat.
func TestInterrupt(t *testing.T) {
	bin := build(t)
	var in bytes.Buffer
	if err := eventgen.Write(&in, eventgen.Options{Seed: 1, Events: 3000}); err != nil {
		t.Fatal(err)
	}
	path := file(t, "in.jsonl", in.String())
	p := newPartner(t)
	first := make(chan struct{}, 1)
	hold := make(chan struct{})
	requests := 0
	p.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
		if requests++; requests == 5 {
			first <- struct{}{}
			<-hold // in flight when the signal comes
		}
		return false
	})
	args := []string{"forward", "--from", path, "--to", "webhook", "--set", "webhook.url=" + p.URL, "--opt", "webhook.batch_events=10", "--opt", "webhook.concurrency=1", "--state-dir", t.TempDir(), "-o", "json"}
	c := exec.Command(bin, args...)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-first
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	close(hold)
	_ = c.Wait() // the exit code says it
	if code := c.ProcessState.ExitCode(); code != 4 || !strings.Contains(errOut.String(), "stopping") {
		t.Fatalf("exit code %d: %s%s", code, out.String(), errOut.String())
	}
	if s := summaryOf(t, out.String()); s.Status != "incomplete" || s.Destinations[0].Pending == 0 || s.Destinations[0].InDoubt != 0 {
		t.Errorf("summary %s", out.String())
	}
	data, err := exec.Command(bin, args...).Output()
	if err != nil {
		t.Fatalf("the resume: %v", err)
	}
	if s := summaryOf(t, string(data)); s.Destinations[0].Delivered != 3000 {
		t.Errorf("summary %s", data)
	}
	p.once(t, 3000)
}

// TestCompressions forwards the same events from a plain, a gzip'd and a zstd'd
// file: each gives the same events, once each.
//
// FANFOLD_EVENTS=100000 go test -run TestCompressions ./cmd is the long form.
func TestCompressions(t *testing.T) {
	n := 3000
	if s := os.Getenv("FANFOLD_EVENTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("FANFOLD_EVENTS: %v", err)
		}
	}
	for _, name := range []string{"in.jsonl", "in.jsonl.gz", "in.jsonl.zst"} {
		path := filepath.Join(t.TempDir(), name)
		if code, _, errOut := run(t, nil, "", "generate", "--to", path, "--events", fmt.Sprint(n)); code != 0 {
			t.Fatal(errOut)
		}
		p := newPartner(t)
		code, out, errOut := run(t, map[string]string{"XDG_STATE_HOME": t.TempDir()}, "", "forward", "--from", path, "--to", "webhook", "--set", "webhook.url="+p.URL, "-o", "json")
		if s := summaryOf(t, out); code != 0 || s.Destinations[0].Delivered != uint64(n) {
			t.Fatalf("%s: exit code %d: %s%s", name, code, out, errOut)
		}
		p.once(t, n)
	}
}
