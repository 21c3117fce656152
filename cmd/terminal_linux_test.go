package cmd

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal, and what was painted on it last.
type terminal struct {
	t      *testing.T
	master *os.File
	width  int

	mu     sync.Mutex
	came   *sync.Cond
	text   string // since the last whole frame
	frame  []string
	ended  bool
	others []string // escape sequences that nobody should write
}

var escapes = regexp.MustCompile(`\x1b(\[[0-9;?]*[a-zA-Z]|.)`)

// newTerminal opens a pseudo-terminal. The file that it returns is the side of a program; the caller closes it.
func newTerminal(t *testing.T, width, height int) (*terminal, *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("skipped: there is no pseudo-terminal here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	tm := &terminal{t: t, master: master}
	tm.came = sync.NewCond(&tm.mu)
	tm.resize(width, height)
	go tm.read()
	return tm, slave
}

// resize makes the terminal another size.
func (tm *terminal) resize(width, height int) {
	tm.t.Helper()
	tm.mu.Lock()
	defer tm.mu.Unlock()
	tm.width, tm.frame = width, nil
	size := &unix.Winsize{Col: uint16(width), Row: uint16(height)}
	if err := unix.IoctlSetWinsize(int(tm.master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		tm.t.Fatal(err)
	}
}

// read takes what is painted until the program has gone.
func (tm *terminal) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := tm.master.Read(buf)
		tm.mu.Lock()
		tm.text += string(buf[:n])
		for { // a frame ends by erasing what is below it
			frame, rest, whole := strings.Cut(tm.text, "\x1b[J")
			if !whole {
				break
			}
			tm.text, tm.frame = rest, nil
			for line := range strings.SplitSeq(frame, "\r\n") {
				for _, e := range escapes.FindAllString(line, -1) {
					if !regexp.MustCompile(`^\x1b\[\d*[AK]$`).MatchString(e) {
						tm.others = append(tm.others, e)
					}
				}
				if line = strings.Trim(escapes.ReplaceAllString(line, ""), "\r\n"); line != "" {
					tm.frame = append(tm.frame, line)
				}
			}
		}
		tm.ended = err != nil
		tm.came.Broadcast()
		tm.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// shows waits for a frame that has a line for each of the patterns, the first of them first, and no line that the
// terminal would break.
func (tm *terminal) shows(what string, patterns ...string) {
	tm.t.Helper()
	tm.mu.Lock()
	defer tm.mu.Unlock()
	fits := func(line string) bool { return utf8.RuneCountInString(line) < tm.width }
	for !tm.ended {
		found := len(tm.frame) > 0 && regexp.MustCompile(patterns[0]).MatchString(tm.frame[0])
		for _, p := range patterns {
			found = found && slices.ContainsFunc(tm.frame, regexp.MustCompile(p).MatchString)
		}
		if found && !slices.ContainsFunc(tm.frame, func(line string) bool { return !fits(line) }) {
			return
		}
		tm.came.Wait()
	}
	tm.t.Fatalf("%s: the program has ended, and never showed %q; at last:\n%s", what, patterns,
		strings.Join(tm.frame, "\n"))
}

// start runs the real binary with its standard error on a terminal.
func (tm *terminal) start(slave *os.File, state string, args ...string) *exec.Cmd {
	tm.t.Helper()
	c := exec.Command(build(tm.t), args...)
	c.Env, c.Stderr = []string{"XDG_STATE_HOME=" + state}, slave
	if err := c.Start(); err != nil {
		tm.t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		tm.t.Fatal(err)
	}
	return c
}

// TestTerminal follows a run on a terminal of 80 columns, wider, and narrower while it goes on, and from another
// terminal: what has failed stands first, with its news; names that differ at their end only can be told apart;
// how fast a destination is and how long it takes is there while a rate limit holds; and no line is broken.
func TestTerminal(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	p.answers(func(w http.ResponseWriter, r *http.Request, _ []string) bool {
		if r.URL.Path != "/down" {
			return false
		}
		http.Error(w, "the database of the partner sleeps and will be back at some time, says the balancer \x1b[2J",
			http.StatusServiceUnavailable)
		return true
	})
	const hook = "  %s: {type: webhook, settings: {url: '%s/%s'}, batch_events: 5%s}\n"
	conf := "destinations:\n"
	for _, d := range [][3]string{{"held-back", "held", ", rate: 1/s"}, {"customer-messaging-of-production", "down", ""},
		{"customer-messaging-of-staging", "down", ""}, {"fine", "fine", ""}} {
		conf += fmt.Sprintf(hook, d[0], p.URL, d[1], d[2])
	}
	state := t.TempDir()
	tm, slave := newTerminal(t, 80, 24)
	run := tm.start(slave, state, "forward", "--from", file(t, "in.jsonl", events(2000)), "--config",
		file(t, "fanfold.yaml", conf))
	down := []string{`^custome…tion.*: status 503: the database of the partner`, `^custome…ging.*: status 503`}
	const held = `^held-back .*%.*/2000\), \d+ events/(s|min), \S+ left.*rate limit`
	tm.shows("80 columns", append(down, held, `^fine .*100%.*done`)...)
	other, slave := newTerminal(t, 80, 24)
	top := other.start(slave, state, "top")
	other.shows("top", append(down, held)...)
	tm.resize(200, 24)
	tm.shows("200 columns", `^customer-messaging-of-(production|staging), 0 of 2000.*, next probe in .*: status 503: the `,
		`^held-back .*[█·]{16} \(\d+/2000\).*left, 0 in flight, keeps to its rate limit`)
	tm.resize(44, 4)
	tm.shows("44 columns, 4 lines", `^custome…(tion|ging): status 503: `, `^and 2 more$`)
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait() // exit code 4
	if err := top.Wait(); err != nil || run.ProcessState.ExitCode() != exitIncomplete {
		t.Errorf("top: %v; forward: exit code %d", err, run.ProcessState.ExitCode())
	}
	for _, tm := range []*terminal{tm, other} {
		tm.mu.Lock()
		if len(tm.others) > 0 {
			t.Errorf("written to the terminal: %q", tm.others)
		}
		tm.mu.Unlock()
	}
}

// TestTablesOnATerminal: what is a table for people is no wider than their terminal, and has all that a file gets.
func TestTablesOnATerminal(t *testing.T) {
	t.Parallel()
	state, in := t.TempDir(), file(t, "in.jsonl", events(3)+"no json\n"+`{"type":"track","messageId":"m","userId":"u"}`+"\n")
	conf := "destinations:\n"
	for _, d := range []string{"customer-messaging-of-production", "crm"} {
		conf += "  " + d + ": {type: hubspot, actions: [{action: sendCustomEvent, subscribe: 'type = \"track\"'}]}\n"
	}
	path := file(t, "fanfold.yaml", conf)
	for _, args := range [][]string{{"forward", "--config", path, "--from", in, "--rehearse"}, {"runs", "show", "latest"},
		{"plan", "--config", path, "--from", in, "--rehearse"}, {"runs", "dead", "latest"}, {"runs", "list"},
		{"runs", "dead", "latest", "--group", "reason"}, {"cassettes", "status", "../cassettes/mixpanel"}} {
		tm, slave := newTerminal(t, 80, 24)
		c := exec.Command(build(t), args...)
		c.Env, c.Stdout = []string{"XDG_STATE_HOME=" + state}, slave
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if err := slave.Close(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // whatever the exit code
		shown := tm.all()
		c = exec.Command(build(t), args...)
		c.Env = []string{"XDG_STATE_HOME=" + state}
		piped, _ := c.Output()
		for line := range strings.Lines(shown) {
			sentence := strings.Contains(line, ": ")
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\r\n")); n > 80 && !sentence {
				t.Errorf("%s: a line has %d characters: %q", args, n, line)
			}
		}
		if args[0] == "forward" { // which was another run
			continue
		}
		for _, word := range strings.Fields(string(piped)) {
			if !strings.Contains(shown, word) && !strings.Contains(shown, strings.ToLower(word)) && !nothingCounted(word) {
				t.Errorf("%s: %q is missing in\n%s", args, word, shown)
			}
		}
	}
}

// nothingCounted says that a word may be left out on a narrow terminal: a count of 0, and the head of a column that
// has no other.
func nothingCounted(word string) bool {
	return word == "0" || word == "-" || regexp.MustCompile(`^([A-Z_]+|filtered|skipped|pending|retries)$`).MatchString(word)
}

// all waits for the program's end, and is all that it has written.
func (tm *terminal) all() string {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	for !tm.ended {
		tm.came.Wait()
	}
	return tm.text
}
