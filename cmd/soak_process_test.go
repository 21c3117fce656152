package cmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/secret"
)

// soakSpec is what a process of TestSoak is told at its start.
type soakSpec struct {
	Now      time.Time // simulated
	From     string
	Config   string
	State    string
	Sent     string // file to which the partner writes what it accepts
	Continue bool
}

// soakMemory is what the process may use for blocks and deliveries. What is written while a partner is down is several
// times as large.
const soakMemory = 8 << 20

const soakVariable = "FANFOLD_SOAK_PROCESS"

// TestSoakProcess is not a test: it is the process that TestSoak starts, and kills. It delivers as
// `fanfold forward --follow` does, with the real run, journal, source and engine, in simulated time:
// an hour takes as long as its work does. It does what it is told on its standard input, a line a
// command, and the clock stands still while it waits for the next one.
func TestSoakProcess(t *testing.T) {
	text := os.Getenv(soakVariable)
	if text == "" {
		t.Skip("it is a part of TestSoak")
	}
	var spec soakSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { newSoakProcess(t, &spec).obey() })
}

type soakProcess struct {
	t       *testing.T
	partner *soakPartner
	wake    chan struct{}
	r       *run.Run
	stop    chan struct{}
	done    chan struct{}
	res     *run.Result
	err     error

	mu   sync.Mutex
	base time.Time
	from time.Time // in the bubble, which was at base
}

func (s *soakProcess) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base.Add(time.Since(s.from)).Round(0)
}

// newSoakProcess begins the run.
func newSoakProcess(t *testing.T, spec *soakSpec) *soakProcess {
	s := &soakProcess{t: t, partner: &soakPartner{mode: "up"}, wake: make(chan struct{}), stop: make(chan struct{}),
		done: make(chan struct{}), base: spec.Now, from: time.Now()}
	var err error
	if s.partner.sent, err = os.OpenFile(spec.Sent, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		t.Fatal(err)
	}
	a := testApp(nil)
	a.now, a.err, a.configFile = s.now, os.Stderr, spec.Config
	a.log, err = secret.NewLogger(os.Stderr, "error", "text", a.secrets.redact)
	if err != nil {
		t.Fatal(err)
	}
	sel := selection{from: []string{spec.From}, format: "auto", schemes: a.schemes()}
	o := runOptions{follow: true, poll: "10s", goOn: spec.Continue, limits: limitOptions{maxErrors: 1000},
		memory: fmt.Sprintf("%dMiB", soakMemory>>20)}
	j, err := a.prepareJob(&sel, &o, nil)
	if err != nil {
		t.Fatal(err)
	}
	j.Input.Options.Follow.Wake = s.wake
	w := a.runWorld()
	w.Hook = func(http.RoundTripper) http.RoundTripper { return s.partner }
	if s.r, err = w.Open(t.Context(), run.Folder(spec.State), j); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		s.res, s.err = s.r.Do(context.WithoutCancel(t.Context()), s.stop)
	}()
	return s
}

// obey does what it is told, and says so when it is done, until it is told to stop.
func (s *soakProcess) obey() {
	commands := bufio.NewScanner(os.Stdin)
	for s.says("ready"); commands.Scan(); {
		words := strings.Fields(commands.Text())
		switch words[0] {
		case "partner":
			s.partner.set(words[1])
			s.says("ok")
		case "clock":
			d, err := time.ParseDuration(words[1])
			if err != nil {
				s.t.Fatal(err)
			}
			s.mu.Lock()
			s.base = s.base.Add(d)
			s.mu.Unlock()
			s.says("ok")
		case "pass":
			d, err := time.ParseDuration(words[1])
			if err != nil {
				s.t.Fatal(err)
			}
			s.pass(d)
			s.says("ok")
		case "settle":
			n := 0
			s.pass(time.Minute) // it looks at what is there
			for ; !s.settled() && n < 360; n++ {
				s.pass(20 * time.Second)
			}
			s.says("ok " + strconv.FormatBool(n < 360))
		case "lag":
			s.says(fmt.Sprintf("ok %d", int(s.lag().Seconds())))
		case "heap":
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			s.says(fmt.Sprintf("ok %d", m.HeapAlloc))
		case "stop":
			close(s.stop)
			<-s.done
			if s.err != nil {
				s.t.Error(s.err)
			}
			s.says(fmt.Sprintf("ok %v %s", s.res.Rests, s.res.Summary.Run))
			return
		default:
			s.t.Fatalf("what is %q?", words)
		}
	}
}

func (s *soakProcess) says(text string) { fmt.Println("soak:", text) }

// pass lets time pass; the input is looked at every ten seconds, as --poll has it.
func (s *soakProcess) pass(d time.Duration) {
	for ; d > 0; d -= 10 * time.Second {
		select {
		case s.wake <- struct{}{}:
		case <-time.After(time.Minute): // it is being looked at for so long
		case <-s.done:
			s.t.Fatalf("the run has ended: %v", s.err)
		}
		time.Sleep(min(d, 10*time.Second))
	}
}

func (s *soakProcess) settled() bool {
	for _, p := range s.r.Progress() {
		if p.Done < p.Total || p.Unread > 0 {
			return false
		}
	}
	return true
}

// lag is the longest of a destination.
func (s *soakProcess) lag() (most time.Duration) {
	for _, p := range s.r.Progress() {
		if !p.Oldest.IsZero() {
			most = max(most, s.now().Sub(p.Oldest))
		}
	}
	return most
}

// soakPartner answers for all destinations of the soak. What it accepts is in the kernel before it
// says so.
type soakPartner struct {
	sent *os.File
	mu   sync.Mutex
	mode string
	n    int
}

func (p *soakPartner) set(mode string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
}

var soakID = regexp.MustCompile(`"(?:id|messageId)":"m(\d+)"`)

// soakWicked says of an event that the partner refuses it.
func soakWicked(n int) bool { return n%97 == 13 }

// RoundTrip is safe for concurrent use.
func (p *soakPartner) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	time.Sleep(50 * time.Millisecond) // simulated
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	answer := func(status int, header http.Header) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("{}")), Request: req,
			ProtoMajor: 1, ProtoMinor: 1}, nil
	}
	shaky := strings.HasPrefix(req.URL.Path, "/shaky")
	switch {
	case shaky && p.mode == "down" && p.n%3 == 0:
		return answer(http.StatusBadGateway, http.Header{})
	case shaky && p.mode == "down":
		return nil, errors.New("connect: connection refused")
	case shaky && p.mode == "storm" && p.n%5 != 0:
		return answer(http.StatusTooManyRequests, http.Header{"Retry-After": {"20"}})
	}
	line := req.URL.Path
	for _, m := range soakID.FindAllStringSubmatch(string(body), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, err
		}
		if shaky && soakWicked(n) {
			return answer(http.StatusBadRequest, http.Header{})
		}
		line += " " + m[1]
	}
	if strings.Contains(string(body), `"configuration":"second"`) {
		line += " second"
	}
	if _, err := p.sent.WriteString(line + "\n"); err != nil {
		return nil, err
	}
	return answer(http.StatusOK, http.Header{})
}
