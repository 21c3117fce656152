package cmd

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
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
	"github.com/fanfold/fanfold/pkg/eventgen"
)

// built is the real binary, made once.
var built struct {
	once     sync.Once
	dir, bin string
	err      error
}

// build makes the real binary, as it is shipped.
func build(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "fanfold-test-"); built.err != nil {
			return
		}
		built.bin = filepath.Join(built.dir, "fanfold")
		built.err = goBuild("..", built.bin)
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.bin
}

// goBuild makes a program. go run links what has changed only, where go build links every time.
func goBuild(pkg, bin string) error {
	if out, err := exec.Command("go", "run", "-ldflags=-s -w", "-exec=cp", pkg, bin).CombinedOutput(); err != nil {
		return fmt.Errorf("go run: %w\n%s", err, out)
	}
	return nil
}

// TestCrash ends the real binary at random instants, in all ways, and runs the same
// command again until it is through; then it redrives what was rejected, and ends that,
// too. There are two destinations, one of which fails now and then, while the other one
// rejects some events.
//
// A process is killed (SIGKILL), often twice in a row, the second one while it is still
// finding out where it stands; or stopped (SIGINT or SIGTERM, sometimes twice), also
// while a resume reads again what a faster destination has passed.
//
// Every event has to have arrived at both; what arrived twice was in flight at an end that
// was none of its own will, and the summary says so: in_doubt. Nobody is told of a bug, no
// summary goes back behind an earlier one, and in the end nothing is left of the run.
//
// FANFOLD_CRASHES=200 go test -run TestCrash ./cmd is the long form: so many kills and
// stops. FANFOLD_OLD=/path/to/another/fanfold has that one begin each round, whose state
// this one goes on with.
func TestCrash(t *testing.T) {
	t.Parallel()
	ends := 8
	if s := os.Getenv("FANFOLD_CRASHES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("FANFOLD_CRASHES: %v", err)
		}
		ends = n
	}
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
	for round := 0; ends > 0; round++ {
		c := newCrashes(t, rng, round)
		ends -= max(c.round(min(ends, 9)), 1)
		if t.Failed() {
			t.Fatalf("round %d failed; FANFOLD_SEED=%d", round, seed)
		}
	}
}

// crashes is one round of TestCrash: one run, and its redrives.
type crashes struct {
	t     *testing.T
	rng   *rand.Rand
	bin   string
	old   string // begins the round; "": bin does
	a, b  *partner
	conf  string
	state string
	input string
	asked chan struct{} // of one element: a request has come
	kills int           // and stops that were not waited for
}

const crashEvents = 3000

func newCrashes(t *testing.T, rng *rand.Rand, round int) *crashes {
	c := &crashes{t: t, rng: rng, bin: build(t), old: os.Getenv("FANFOLD_OLD"), a: newPartner(t), b: newPartner(t),
		state: t.TempDir(), asked: make(chan struct{}, 1)}
	steps := c.makeInput(round)
	c.a.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
		c.takeTime()
		for _, id := range ids {
			if wicked(id) {
				http.Error(w, "no", http.StatusBadRequest)
				return true
			}
		}
		return false
	})
	flaky := 0
	keys := map[string]string{} // by event
	c.b.answers(func(w http.ResponseWriter, req *http.Request, ids []string) bool {
		c.takeTime()
		key := req.Header.Get("Idempotency-Key")
		for _, id := range ids {
			if was, again := keys[id]; again && was != key && c.old == "" {
				t.Errorf("the event %s came in a request with the key %q, and comes again with the key %q", id, was, key)
			}
			keys[id] = key
		}
		if flaky++; flaky%7 == 3 {
			http.Error(w, "try later", http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	b := "{type: http, base_url: %q, actions: [{action: send, subscribe: type != null, path: /, batch: {events: 20}}], " +
		"concurrency: 4}\n"
	if c.old != "" {
		b = "{type: webhook, settings: {url: %q}, batch_events: 20, concurrency: 4}\n"
	}
	c.conf = file(t, "fanfold.yaml", steps+fmt.Sprintf(`destinations:
  a: {type: webhook, settings: {url: %q}, batch_events: 50, concurrency: 4}
  b: `+b, c.a.URL, c.b.URL))
	return c
}

// makeInput writes the round's events into a file, or into several with repeats, which the
// steps that it returns drop.
func (c *crashes) makeInput(round int) (steps string) {
	c.t.Helper()
	kind := []string{"in.jsonl.gz", "in.jsonl.zst", "in.jsonl", "folder"}[round%4]
	c.input = filepath.Join(c.t.TempDir(), kind)
	generate := func(path string, events, seed int) {
		c.t.Helper()
		out, err := exec.Command(c.bin, "generate", "--to", path, "--events", fmt.Sprint(events), "--seed",
			fmt.Sprint(seed)).CombinedOutput()
		if err != nil {
			c.t.Fatalf("generate: %v\n%s", err, out)
		}
	}
	if kind != "folder" {
		generate(c.input, crashEvents, round)
		return ""
	}
	if err := os.Mkdir(c.input, 0o700); err != nil {
		c.t.Fatal(err)
	}
	const files = 5
	for i := range files {
		name := fmt.Sprintf("%d.jsonl%s", i, []string{"", ".gz", ".zst"}[i%3])
		generate(filepath.Join(c.input, name), crashEvents/files, 1000*round+i)
		generate(filepath.Join(c.input, "again-"+name), crashEvents/files, 1000*round+files-1-i)
	}
	return "transform: [{dedupe: true}]\n"
}

// takeTime is a partner's work on a request: without, a run is over before anybody can end
// it.
func (c *crashes) takeTime() {
	select {
	case c.asked <- struct{}{}:
	default:
	}
	time.Sleep(time.Millisecond)
}

// wicked are the events that a rejects: some two in a hundred.
func wicked(id string) bool { return crc32.ChecksumIEEE([]byte(id))%53 == 1 }

// inFlight is how many events may be at a destination when a process ends.
const inFlight = 4 * 50

// round runs the command until it is through, and then redrives until nothing is left. It
// returns how often processes were ended.
func (c *crashes) round(ends int) int {
	t := c.t
	last, forwards := c.through(ends*2/3, nil, "forward", "--from", c.input, "--config", c.conf)
	if t.Failed() {
		return forwards
	}
	rejected := engine.Total(last.Destinations[0].Rejected)
	if d := last.Destinations; d[0].Delivered+rejected != crashEvents || rejected == 0 || d[1].Delivered != crashEvents {
		t.Errorf("at the end: %+v", d)
	}
	c.arrived("a", c.a, crashEvents-int(rejected), last.Destinations[0].InDoubt)
	c.arrived("b", c.b, crashEvents, last.Destinations[1].InDoubt)
	t.Logf("%s: %d ends, %d of them hard; %d and %d were in doubt", filepath.Base(c.input), forwards, c.kills,
		last.Destinations[0].InDoubt, last.Destinations[1].InDoubt)

	c.a.answers(func(http.ResponseWriter, *http.Request, []string) bool {
		c.takeTime()
		return false
	})
	before := c.kills
	again, redrives := c.through(ends-forwards, last, "redrive", last.Run, "--config", c.conf, "--opt",
		"a.batch_events=1", "--opt", "a.concurrency=2")
	if t.Failed() {
		return forwards + redrives
	}
	// What a process has delivered and not noted in its journal, its notes of redrives know.
	if d := again.Destinations[0]; d.Delivered+d.Skipped["redriven"] != rejected {
		t.Errorf("redriven: %+v, want %d", d, rejected)
	}
	c.a.mu.Lock()
	for id, n := range c.a.seen {
		if wicked(id) && n > 1+c.kills-before {
			t.Errorf("%s arrived %d times by redrives that were ended %d times", id, n, c.kills-before)
		}
	}
	if len(c.a.seen) != crashEvents {
		t.Errorf("%d events arrived in the end", len(c.a.seen))
	}
	c.a.mu.Unlock()
	if e := fanfold(c.bin, nil, "forward", "--from", c.input, "--config", c.conf, "--state-dir", c.state, "-o",
		"json"); e.code != 0 {
		t.Errorf("when nothing is left: exit code %d: %s%s", e.code, e.out, e.errOut)
	}
	return forwards + redrives
}

// arrived compares what has come to a partner with what is said of it.
func (c *crashes) arrived(name string, p *partner, want int, inDoubt uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	again, twice := 0, 0
	for _, n := range p.seen {
		again += n - 1
		if n > 1 {
			twice++
		}
	}
	if len(p.seen) != want {
		c.t.Errorf("%s: %d events arrived, want %d", name, len(p.seen), want)
	}
	if again > c.kills*inFlight {
		c.t.Errorf("%s: %d repeats after %d hard ends", name, again, c.kills)
	}
	if uint64(twice) > inDoubt {
		c.t.Errorf("%s: %d events arrived twice, and only %d were said to be in doubt", name, twice, inDoubt)
	}
}

// through runs a command again and again, ends it up to so many times, and returns its
// last summary and how often it was ended.
func (c *crashes) through(ends int, parent *engine.Summary, args ...string) (last *engine.Summary, ended int) {
	args = append(args, "--state-dir", c.state, "-o", "json", "--progress", "never")
	bin := c.bin
	if c.old != "" && parent == nil {
		bin = c.old
	}
	var read uint64
	soon := false
	for {
		after, how := time.Duration(-1), os.Signal(nil)
		if ended < ends {
			after = time.Duration(c.rng.Int64N(int64(120 * time.Millisecond)))
			if soon { // while it still finds out where it stands
				after = time.Duration(c.rng.Int64N(int64(40 * time.Millisecond)))
			}
			how = []os.Signal{os.Kill, os.Kill, os.Kill, os.Interrupt, syscall.SIGTERM}[c.rng.IntN(5)]
		}
		twice := how != os.Kill && c.rng.IntN(4) == 0
		code, out, errOut, was := c.process(bin, args, soon, after, how, twice)
		bin = c.bin
		soon = was && c.rng.IntN(3) == 0
		if was {
			ended++
			if how == os.Kill || twice || code == -1 {
				c.kills++
			}
		}
		if code == -1 { // killed, or stopped before it could catch a signal
			continue
		}
		if strings.Contains(errOut, "bug in fanfold") || code != 4 && code != 3 && code != 0 {
			c.t.Errorf("%v, ended by %v after %s: exit code %d: %s%s", args, how, after, code, out, errOut)
			return nil, ended
		}
		if out == "" { // stopped before there was anything to say
			continue
		}
		s := summaryOf(c.t, out)
		if s.Read < read {
			c.t.Errorf("%d records were read, and then %d", read, s.Read)
		}
		read = s.Read
		if code == 4 {
			if s.Status != "incomplete" {
				c.t.Errorf("exit code 4 of a run that is %s", s.Status)
			}
			continue
		}
		return &s, ended
	}
}

// process runs a command, and ends it some time after its start, or after its first
// request, if it lasts so long.
func (c *crashes) process(bin string, args []string, soon bool, after time.Duration, how os.Signal,
	twice bool) (code int, out, errOut string, was bool) {
	select {
	case <-c.asked: // of an earlier process
	default:
	}
	p := exec.Command(bin, args...)
	var stdout, stderr bytes.Buffer
	p.Stdout, p.Stderr = &stdout, &stderr
	if err := p.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	if after >= 0 {
		asked := c.asked
		if soon {
			asked = make(chan struct{}, 1)
			asked <- struct{}{}
		}
		wait := time.Hour
		for waits := true; waits; {
			select {
			case err := <-ended:
				ended <- err
				waits = false
			case <-asked:
				asked, wait = nil, after
				continue
			case <-time.After(wait):
				waits = false
				was = p.Process.Signal(how) == nil
				if twice {
					_ = p.Process.Signal(how) // it may be over
				}
			}
		}
	}
	<-ended
	return p.ProcessState.ExitCode(), stdout.String(), stderr.String(), was
}

// TestInterrupt presses Ctrl-C once: what is in flight is finished, the exit
// code is 4, and the same command goes on without a repeat.
func TestInterrupt(t *testing.T) {
	t.Parallel()
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
	args := []string{"forward", "--from", path, "--to", "webhook", "--set", "webhook.url=" + p.URL, "--opt",
		"webhook.batch_events=10", "--opt", "webhook.concurrency=1", "--state-dir", t.TempDir(), "-o", "json"}
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
	if s := summaryOf(t, out.String()); s.Status != "incomplete" || s.Destinations[0].Pending == 0 ||
		s.Destinations[0].InDoubt != 0 {
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
		if code, _, errOut := invoke(t, nil, "", "generate", "--to", path, "--events", fmt.Sprint(n)); code != 0 {
			t.Fatal(errOut)
		}
		p := newPartner(t)
		code, out, errOut := invoke(t, map[string]string{"XDG_STATE_HOME": t.TempDir()}, "", "forward", "--from", path,
			"--to", "webhook", "--set", "webhook.url="+p.URL, "-o", "json")
		if s := summaryOf(t, out); code != 0 || s.Destinations[0].Delivered != uint64(n) {
			t.Fatalf("%s: exit code %d: %s%s", name, code, out, errOut)
		}
		p.once(t, n)
	}
}
