package cmd

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/journal"
)

// TestSoak follows a folder of logs through a day, in simulated time, as somebody's server has it: the
// log grows, also by half lines, is rotated by renaming or by copying and cutting, is compressed
// later and removed at last; the process is killed (SIGKILL) at random instants and started again; one
// destination's partner is down for three hours, answers with storms of 429 and refuses some
// events; that destination's mapping is changed on the way (--continue); the clock is set back
// and forth. One destination is a partner that is well, one is files.
//
// In the end every event has arrived everywhere, or is one dead letter; what has arrived twice was in
// flight at a kill; dead letters are by day; how far the destination was behind was known all the
// time; and neither what is live in memory nor the state on the disk has grown.
//
// FANFOLD_SOAK=24h go test -run TestSoak ./cmd is the long form, of so many hours; the short
// one passes the same in less time, with more kills and rotations an hour.
func TestSoak(t *testing.T) {
	t.Parallel()
	long, span := false, 2*time.Hour
	if text := os.Getenv("FANFOLD_SOAK"); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil || span < 6*time.Hour {
			t.Fatalf("FANFOLD_SOAK has to be six hours or more, like 24h: %v", err)
		}
		long = true
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FANFOLD_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FANFOLD_SEED=%d", seed)
	s := newSoak(t, rand.New(rand.NewPCG(seed, 1)), long, span)
	s.run()
	s.check()
}

// soak is the world around the process.
type soak struct {
	t    *testing.T
	rng  *rand.Rand
	long bool
	span time.Duration
	step time.Duration

	dir   string // of everything
	now   time.Time
	begin time.Time
	n     int       // events written
	torn  string    // rest of a line
	turns int       // rotations
	mode  string    // of the partner
	down  time.Time // since when it is
	other bool      // the configuration has changed
	goOn  bool      // the next process has to be told so

	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	kills int
	heap  []uint64 // of a process that lives on
	disk  []int64  // of the run, but its dead letters
	lags  []time.Duration
	held  []uint64 // heap while the partner is down, in a process that lives on
	begun uint64   // heap when it went down
}

func newSoak(t *testing.T, rng *rand.Rand, long bool, span time.Duration) *soak {
	s := &soak{t: t, rng: rng, long: long, span: span, step: time.Minute, dir: t.TempDir(), mode: "up",
		begin: time.Date(2024, 5, 30, 23, 0, 0, 0, time.UTC)} // midnight is in it
	s.now = s.begin
	if err := os.Mkdir(s.path("logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.configure("first")
	return s
}

func (s *soak) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// configure writes the configuration.
func (s *soak) configure(name string) {
	text := fmt.Sprintf(`destinations:
  shaky:
    type: http
    base_url: http://partner.example/shaky
    concurrency: 2
    actions:
      - action: send
        subscribe: type = "track"
        path: /events
        mapping: {id: {"@path": $.messageId}, configuration: %s}
        batch: {events: 10}
        reject_on: [4xx]
  steady: {type: webhook, settings: {url: http://partner.example/steady}, batch_events: 10, concurrency: 2}
  files: {type: file, settings: {path: %s, compression: none, max_age: 1h}, batch_events: 10}
`, name, s.path("out"))
	if err := os.WriteFile(s.path("fanfold.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// must fails the test on an error.
func (s *soak) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("after %s: %v", s.now.Sub(s.begin), err)
	}
}

// start begins a process.
func (s *soak) start() {
	s.t.Helper()
	spec, err := json.Marshal(soakSpec{Now: s.now, From: s.path("logs"), Config: s.path("fanfold.yaml"),
		State: s.path("state"), Sent: s.path("sent"), Continue: s.goOn})
	s.must(err)
	s.goOn = false
	s.cmd = exec.Command(os.Args[0], "-test.run=^TestSoakProcess$", "-test.timeout=0")
	s.cmd.Env = append(os.Environ(), soakVariable+"="+string(spec))
	s.cmd.Stderr = os.Stderr
	s.in, err = s.cmd.StdinPipe()
	s.must(err)
	out, err := s.cmd.StdoutPipe()
	s.must(err)
	s.out = bufio.NewScanner(out)
	s.must(s.cmd.Start())
	cmd := s.cmd
	s.t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, as a rule
	s.hears("ready")
	s.asks("partner " + s.mode)
}

// hears waits for an answer of the process, and returns what follows its first word.
func (s *soak) hears(word string) string {
	s.t.Helper()
	var all []string
	for s.out.Scan() {
		all = append(all, s.out.Text())
		if text, is := strings.CutPrefix(s.out.Text(), "soak: "); is {
			answer, is := strings.CutPrefix(text, word)
			if !is {
				s.t.Fatalf("it said %q, not %q", text, word)
			}
			return strings.TrimSpace(answer)
		}
	}
	s.t.Fatalf("after %s the process has ended:\n%s", s.now.Sub(s.begin), strings.Join(all, "\n"))
	return ""
}

func (s *soak) tells(command string) {
	s.t.Helper()
	_, err := io.WriteString(s.in, command+"\n")
	s.must(err)
}

func (s *soak) asks(command string) string {
	s.t.Helper()
	s.tells(command)
	return s.hears("ok")
}

// number asks for one.
func (s *soak) number(command string) uint64 {
	s.t.Helper()
	n, err := strconv.ParseUint(s.asks(command), 10, 64)
	s.must(err)
	return n
}

// kill ends the process in the middle of what it does.
func (s *soak) kill() {
	s.t.Helper()
	s.tells("pass " + s.step.String())
	time.Sleep(time.Duration(s.rng.IntN(40)) * time.Millisecond) // no synchronisation: any instant will do
	s.must(s.cmd.Process.Kill())
	s.end()
	s.kills++
	s.heap = nil
}

// end waits for a process that has been ended.
func (s *soak) end() {
	for s.out.Scan() {
	}
	_ = s.cmd.Wait() // how it ended is known
}

// writes has the log grow, at times by half a line, unless it has to be whole. While the partner is down events are
// large, so that more waits for it than fits into memory.
func (s *soak) writes(n int, whole bool) {
	s.t.Helper()
	var grown strings.Builder
	grown.WriteString(s.torn)
	s.torn = ""
	pad := ""
	if s.mode == "down" {
		pad = strings.Repeat("x", 20<<10)
		if !s.long {
			pad = strings.Repeat("x", 256<<10)
		}
	}
	for range n {
		fmt.Fprintf(&grown, `{"type":"track","event":"E","messageId":"m%d","userId":"u%d","timestamp":%q,"properties":{"pad":%q}}`+
			"\n", s.n, s.n%17, s.now.Format(time.RFC3339), pad)
		s.n++
	}
	text := grown.String()
	if s.rng.IntN(3) == 0 && len(text) > 30 && !whole {
		text, s.torn = text[:len(text)-20], text[len(text)-20:]
	}
	f, err := os.OpenFile(s.path("logs", "app.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.must(err)
	_, err = f.WriteString(text)
	s.must(errors.Join(err, f.Close()))
}

// keptLogs is how many generations of the log are kept.
const keptLogs = 9

// rotates makes app.log app.log.1 and so on, as logrotate does: the older ones are compressed, the
// oldest goes.
func (s *soak) rotates() {
	s.t.Helper()
	log := func(i int, end string) string { return s.path("logs", fmt.Sprintf("app.log.%d%s", i, end)) }
	s.writes(0, true) // who writes has the file of a line open until that is whole
	s.remove(log(keptLogs, ".gz"))
	for i := keptLogs - 1; i >= 1; i-- {
		for _, end := range []string{"", ".gz"} {
			if _, err := os.Stat(log(i, end)); err == nil {
				s.must(os.Rename(log(i, end), log(i+1, end)))
			}
		}
	}
	if _, err := os.Stat(log(2, "")); err == nil {
		s.compresses(log(2, ""))
	}
	s.turns++
	if s.turns%2 == 0 {
		s.must(os.Rename(s.path("logs", "app.log"), log(1, "")))
		return
	}
	data, err := os.ReadFile(s.path("logs", "app.log"))
	s.must(err)
	s.must(os.WriteFile(log(1, ""), data, 0o600))
	s.must(os.Truncate(s.path("logs", "app.log"), 0))
}

func (s *soak) remove(path string) {
	s.t.Helper()
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		s.must(err)
	}
}

func (s *soak) compresses(path string) {
	s.t.Helper()
	data, err := os.ReadFile(path)
	s.must(err)
	f, err := os.Create(path + ".gz")
	s.must(err)
	z := gzip.NewWriter(f)
	_, err = z.Write(data)
	s.must(errors.Join(err, z.Close(), f.Close(), os.Remove(path)))
}

// at says that the simulated day has come to a part of its length.
func (s *soak) at(part float64) bool {
	at := time.Duration(float64(s.span) * part).Truncate(s.step)
	return s.now.Sub(s.begin) == at
}

// run lets the day pass.
func (s *soak) run() {
	hour := 60 // steps between rotations
	if !s.long {
		hour, s.step = 8, 3*time.Minute
	}
	s.start()
	for step := 0; s.now.Sub(s.begin) < s.span; step++ {
		s.happens()
		s.writes(10+s.rng.IntN(20), step%hour == hour-1)
		if step%hour == hour-1 {
			s.rotates()
		}
		if s.rng.IntN(hour*3) == 0 || s.at(0.3) || s.at(0.45) {
			s.kill()
			s.now = s.now.Add(s.step)
			s.start()
			continue
		}
		s.asks("pass " + s.step.String())
		s.now = s.now.Add(s.step)
		if s.mode == "down" {
			s.behind()
			s.holds()
		}
		if s.long && step%60 == 59 {
			s.measure()
		}
	}
	s.writes(1, true)
	s.asks("partner up")
	if got := s.asks("settle"); got != "true" {
		s.t.Errorf("after hours something is pending still")
	}
	answer := strings.Fields(s.asks("stop"))
	s.end()
	if answer[0] != "true" {
		s.t.Errorf("it says that something is pending: %s", answer)
	}
}

// happens is what befalls the process, besides being killed.
func (s *soak) happens() {
	change := func(mode string) {
		s.mode = mode
		s.asks("partner " + mode)
	}
	switch {
	case s.at(0.125), s.at(0.75):
		change("storm")
	case s.at(0.2), s.at(0.8):
		change("up")
	case s.at(0.375):
		s.down, s.begun = s.now, s.number("heap")
		change("down")
	case s.at(0.5): // three hours of the long form
		change("up")
	case s.at(0.6):
		s.asks("clock 1h")
	case s.at(0.65):
		s.asks("clock -90m")
	case s.at(0.9):
		s.asks("clock 30m")
	case s.at(0.55): // the mapping is another one from now on
		s.asks("stop")
		s.end()
		s.heap = nil
		s.configure("second")
		s.goOn, s.other = true, true
		s.start()
	}
}

// behind holds what is said of a destination whose partner is down against how long it has been.
func (s *soak) behind() {
	lag := time.Duration(s.number("lag")) * time.Second
	s.lags = append(s.lags, lag)
	if down := s.now.Sub(s.down); lag < down-2*s.step || lag > down+down/3+2*s.step {
		s.t.Errorf("the partner has been down for %s, and the lag is %s", down, lag)
	}
}

// holds notes what is live in memory while a partner is down: what waits for it takes --memory, and no more.
func (s *soak) holds() {
	heap := s.number("heap")
	s.held = append(s.held, heap)
	if heap > s.begun+soakMemory+soakMemory {
		s.t.Errorf("%s after the partner went down, what is live in memory has grown from %d to %d", s.now.Sub(s.down),
			s.begun, heap)
	}
}

// measure notes what is live in memory, and how large the state is.
func (s *soak) measure() {
	if s.mode != "up" { // what waits for a partner takes memory, up to --memory
		return
	}
	s.heap, s.disk = append(s.heap, s.number("heap")), append(s.disk, s.size())
	if n := len(s.heap); n > 2 && s.heap[n-1] > s.heap[0]+32<<20 {
		s.t.Errorf("what is live in memory grows: %d", s.heap)
	}
}

// size is how large the state of runs is, but for dead letters.
func (s *soak) size() (n int64) {
	s.must(filepath.WalkDir(s.path("state"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was there a moment ago
		}
		if err == nil && e.IsDir() && e.Name() == "dead" {
			return fs.SkipDir
		}
		if info, wrong := e.Info(); err == nil && wrong == nil && !e.IsDir() {
			n += info.Size()
		}
		return err
	}))
	return n
}

// check holds what has arrived against what was written.
func (s *soak) check() {
	counts := map[string]map[int]int{"/shaky/events": {}, "/steady": {}, "files": {}, "dead": {}}
	second := 0
	f, err := os.Open(s.path("sent"))
	s.must(err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		for _, w := range words[1:] {
			if n, odd := strconv.Atoi(w); odd == nil {
				counts[words[0]][n]++
			} else if second++; !s.other {
				s.t.Fatal("the second configuration was used before it was there")
			}
		}
	}
	parts, err := filepath.Glob(s.path("out", "*"))
	s.must(err)
	for _, part := range parts {
		if strings.HasSuffix(part, ".part") {
			s.t.Errorf("%s was not closed", part)
		}
		data, wrong := os.ReadFile(part)
		s.must(wrong)
		s.countIn(counts["files"], data)
	}
	runs, err := os.ReadDir(s.path("state"))
	s.must(err)
	if len(runs) != 1 {
		s.t.Fatalf("there are %d runs", len(runs))
	}
	letters, err := journal.Letters(s.path("state", runs[0].Name()), "shaky")
	s.must(err)
	for _, path := range letters {
		s.countIn(counts["dead"], s.unpacked(path))
	}
	if len(letters) < 2 {
		s.t.Errorf("dead letters are in %q", letters)
	}
	repeats := map[string]int{}
	for name, seen := range counts {
		for n := range s.n {
			times, want := seen[n], 1
			if name == "/shaky/events" && soakWicked(n) || name == "dead" && !soakWicked(n) {
				want = 0
			}
			if times < want || want == 0 && times > 0 || times > want && name == "dead" {
				s.t.Errorf("%s: event m%d is there %d times", name, n, times)
			}
			repeats[name] += max(times-1, 0)
		}
	}
	// What was on its way, and what had been answered in the moment before, for each of two requests at a time.
	if most := s.kills * 2 * 2 * 10; max(repeats["/shaky/events"], repeats["/steady"], repeats["files"]) > most {
		s.t.Errorf("%d kills, and repeats %v", s.kills, repeats)
	}
	if second == 0 {
		s.t.Error("the second configuration was never used")
	}
	if n := len(s.disk); n >= 4 && slices.Max(s.disk[n/2:]) > slices.Max(s.disk[:n/2])+4<<20 {
		s.t.Errorf("the state grows: %d", s.disk)
	}
	s.t.Logf("%d events, %d rotations, %d kills, repeats %v, %d files, letters in %d files, heap %d, state %d, lags %v, "+
		"heap while the partner is down %d", s.n, s.turns, s.kills, repeats, len(parts), len(letters), s.heap, s.disk, s.lags,
		append([]uint64{s.begun}, s.held...))
}

func (s *soak) countIn(seen map[int]int, data []byte) {
	for _, m := range soakID.FindAllSubmatch(data, -1) {
		n, err := strconv.Atoi(string(m[1]))
		s.must(err)
		seen[n]++
	}
}

func (s *soak) unpacked(path string) []byte {
	data, err := os.ReadFile(path)
	s.must(err)
	dec, err := zstd.NewReader(nil)
	s.must(err)
	defer dec.Close()
	text, err := dec.DecodeAll(data, nil)
	s.must(err)
	return text
}
