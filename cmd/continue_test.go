package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
)

// changing is one run whose configuration changes while it is under way.
type changing struct {
	t     *testing.T
	rng   *rand.Rand
	bin   string
	dir   string
	count int // events in the input
	with  variant
	all   []variant // that were used
	kills int

	mu   sync.Mutex
	came map[string]int // by event and action
	asks chan struct{}  // of one element: a request has come
}

// variant is one configuration. Of seven kinds of events each leaves out at most one by each of its parts.
type variant struct {
	filter, step, trigger int // kind that is left out; 0: none
	mapping               int
	two                   bool // two deliveries of each event
}

const (
	changingBatch       = 9
	changingConcurrency = 2
)

func (v variant) excludes(kind int) bool {
	return kind > 0 && (v.filter == kind || v.step == kind || v.trigger == kind)
}

func (c *changing) variant() variant {
	some := func() int { return max(c.rng.IntN(8)-3, 0) }
	return variant{some(), some(), some(), c.rng.IntN(2), c.rng.IntN(4) == 0}
}

// write writes the configuration.
func (c *changing) write(url string) {
	c.t.Helper()
	v := c.with
	var b strings.Builder
	if v.step > 0 {
		fmt.Fprintf(&b, "transform:\n  - drop: 'event = \"E%d\"'\n", v.step)
	}
	fmt.Fprintf(&b, "destinations:\n  one:\n    type: webhook\n    settings: {url: %q}\n    batch_events: %d\n"+
		"    concurrency: %d\n", url, changingBatch, changingConcurrency)
	if v.filter > 0 {
		fmt.Fprintf(&b, "    filter: 'event != \"E%d\"'\n", v.filter)
	}
	b.WriteString("    actions:\n")
	for _, k := range []string{"A", "B"}[:1+map[bool]int{true: 1}[v.two]] {
		trigger := `type = "track"`
		if v.trigger > 0 {
			trigger += fmt.Sprintf(` and event != "E%d"`, v.trigger)
		}
		fmt.Fprintf(&b, "      - action: send\n        subscribe: '%s'\n        mapping: {body: {messageId: "+
			"{\"@path\": $.messageId}, k: %s, as: v%d}}\n", trigger, k, v.mapping)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "fanfold.yaml"), []byte(b.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// grow appends events to the input.
func (c *changing) grow(n int) {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.dir, "in.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	for range n {
		fmt.Fprintf(f, `{"type":"track","event":"E%d","messageId":"m%d","userId":"u%d"}`+"\n", c.count%7, c.count, c.count%5)
		c.count++
	}
	if err := f.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// serve counts what arrives, and takes its time.
func (c *changing) serve(w http.ResponseWriter, r *http.Request) {
	var events []struct{ MessageID, K string }
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &events) != nil {
		http.Error(w, "no events", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	for _, e := range events {
		c.came[e.MessageID+"/"+e.K]++
	}
	c.mu.Unlock()
	select {
	case c.asks <- struct{}{}:
	default:
	}
	time.Sleep(2 * time.Millisecond) // what makes it slow
	fmt.Fprint(w, "{}")
}

// run runs the command; how ends it after some requests, or nothing does.
func (c *changing) run(how os.Signal, after int) (code int, sum engine.Summary, errOut string) {
	c.t.Helper()
	cmd := exec.Command(c.bin, "--state-dir", filepath.Join(c.dir, "state"), "forward", "--from", "in.jsonl", "--continue",
		"--progress", "never", "-o", "json")
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, &out, &errs
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	var err error
	for n := 0; ; {
		select {
		case <-c.asks:
			if n++; how != nil && n == after {
				_ = cmd.Process.Signal(how) // it may be through already
			}
			continue
		case err = <-over:
		}
		break
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	if how == syscall.SIGKILL && cmd.ProcessState.ExitCode() < 0 {
		c.kills++
		return -1, sum, ""
	}
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &sum); err != nil {
			c.t.Fatalf("%v: %s", err, out.String())
		}
	}
	return cmd.ProcessState.ExitCode(), sum, errs.String()
}

// TestContinue goes on with a run again and again, each time with another filter, other steps, triggers, mappings or
// actions, with --continue, while its input grows, and ends it at random instants.
//
// What no configuration left out has to have arrived, and what arrived twice was in flight when a process was killed.
// Only where the deliveries of an event are several the change may be refused in the middle; then the old configuration
// finishes.
//
// FANFOLD_CONTINUES=200 go test -run TestContinue ./cmd is the long form, of as many runs; FANFOLD_SEED repeats one.
func TestContinue(t *testing.T) {
	t.Parallel()
	rounds, seed := 3, uint64(1)
	if s := os.Getenv("FANFOLD_CONTINUES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("FANFOLD_CONTINUES: %v", err)
		}
		rounds = n
	}
	if s := os.Getenv("FANFOLD_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("FANFOLD_SEED: %v", err)
		}
		seed, rounds = n, 1
	}
	refused := 0
	for range rounds {
		c := &changing{t: t, rng: rand.New(rand.NewPCG(seed, 24)), bin: build(t), dir: t.TempDir(), came: map[string]int{},
			asks: make(chan struct{}, 1)}
		refused += c.round()
		if t.Failed() {
			t.Fatalf("FANFOLD_SEED=%d", seed)
		}
		seed++
	}
	t.Logf("%d runs, %d changes refused", rounds, refused)
}

func (c *changing) round() (refused int) {
	c.t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(c.serve))
	defer srv.Close()
	c.grow(200 + c.rng.IntN(200))
	c.with = c.variant()
	c.all = append(c.all, c.with)
	c.write(srv.URL)
	for range 3 + c.rng.IntN(3) {
		how := []os.Signal{syscall.SIGINT, syscall.SIGKILL, syscall.SIGTERM, nil}[c.rng.IntN(4)]
		code, _, errOut := c.run(how, 1+c.rng.IntN(25))
		if code == exitError {
			c.t.Fatalf("exit code 1: %s", errOut)
		}
		if code == exitUsage {
			if !strings.Contains(errOut, "only some of the deliveries") || !c.all[len(c.all)-1].two && !c.with.two {
				c.t.Fatalf("refused: %s", errOut)
			}
			refused++
			c.with = c.all[len(c.all)-1]
			c.write(srv.URL)
			if code, _, errOut = c.run(nil, 0); code != exitOK {
				c.t.Fatalf("the old configuration: exit code %d: %s", code, errOut)
			}
		} else {
			c.all = append(c.all, c.with)
		}
		if c.rng.IntN(2) == 0 {
			c.grow(c.rng.IntN(80))
		}
		if c.rng.IntN(4) > 0 {
			c.with = c.variant()
			c.write(srv.URL)
		}
	}
	code, sum, errOut := c.run(nil, 0)
	if code == exitUsage {
		refused++
		c.with = c.all[len(c.all)-1]
		c.write(srv.URL)
		code, sum, errOut = c.run(nil, 0)
	}
	c.all = append(c.all, c.with)
	if code != exitOK {
		c.t.Fatalf("exit code %d: %s", code, errOut)
	}
	c.check(sum)
	return refused
}

// check holds what has arrived against what should have.
func (c *changing) check(sum engine.Summary) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	inFlight := c.kills * changingBatch * changingConcurrency
	twice, lost, arrived := 0, 0, 0
	for i := range c.count {
		id := fmt.Sprintf("m%d", i)
		excluded, both := false, true
		for _, v := range c.all {
			excluded = excluded || v.excludes(i%7)
			both = both && v.two
		}
		a, b := c.came[id+"/A"], c.came[id+"/B"]
		twice += max(a-1, 0) + max(b-1, 0)
		if a > 0 {
			arrived++
		}
		if !excluded && (a == 0 || both && b == 0) {
			lost++
		}
	}
	delivered := int(sum.Destinations[0].Delivered)
	if twice > inFlight || lost > 0 || delivered > arrived || delivered < arrived-inFlight {
		c.t.Errorf("%d deliveries came twice with %d in flight at %d kills, %d events are lost, %d of %d arrived and %d "+
			"are said "+
			"to be delivered; %+v", twice, inFlight, c.kills, lost, arrived, c.count, delivered, c.all)
	}
}
