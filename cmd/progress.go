package cmd

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/run"
)

// showProgress paints one line a destination on a terminal, or prints plain
// lines every ten seconds, until the function it returns is called. Bars would
// paint over events that go to the same terminal.
func (a *app) showProgress(r *run.Run, mode string, toStdout bool) (ended func()) {
	f, isFile := under(a.out).(*os.File)
	shared := toStdout && isFile && term.IsTerminal(int(f.Fd()))
	if mode == "never" {
		return func() {}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if s, ok := under(a.err).(*screen); ok && !shared {
			newPainter(s).run(r.Progress, stop)
			return
		}
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		said := map[string]string{}
		for {
			select {
			case <-stop:
				if mode == "always" {
					plainProgress(a.err, r.Progress(), said)
				}
				return
			case <-tick.C:
				plainProgress(a.err, r.Progress(), said)
			}
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// plainProgress prints a line for each destination of which there is something new
// to say.
func plainProgress(w io.Writer, ps []engine.Progress, said map[string]string) {
	for _, p := range ps {
		line := fmt.Sprintf("%s: %s, %d of %s events, %d in flight, %d retries, %d rejected\n", p.Name, p.State, p.Done, totalText(p), p.InFlight, p.Retries, p.Rejected)
		if said[p.Name] != line {
			said[p.Name] = line
			fmt.Fprint(w, line)
		}
	}
}

func totalText(p engine.Progress) string {
	if p.AllRead {
		return fmt.Sprint(p.Total)
	}
	return fmt.Sprintf("%d+", max(p.Total, p.Done)) // a run that resumes has read nothing yet
}

// screen is standard error when it is a terminal. It owns the bars at the bottom:
// what anybody else writes meanwhile appears above them.
type screen struct {
	w    io.Writer
	size func() (width, height int)

	mu   sync.Mutex
	bars []string
	rest []byte // of a line whose end is not written yet
}

// standardError is where the program says what is not its result.
func standardError() io.Writer {
	fd := int(os.Stderr.Fd())
	if !term.IsTerminal(fd) {
		return os.Stderr
	}
	return &screen{w: os.Stderr, size: func() (int, int) {
		width, height, err := term.GetSize(fd)
		if err != nil {
			return 80, 24
		}
		return max(width, 40), max(height, 4)
	}}
}

// up goes back to the first line of the bars.
func (s *screen) up() string {
	if len(s.bars) == 0 {
		return "\r"
	}
	return fmt.Sprintf("\r\x1b[%dA", len(s.bars))
}

// The rest of the screen is erased, too: the terminal itself writes a ^C there.
const eraseLine, eraseBelow = "\x1b[K", "\x1b[J"

// draw shows lines as the bars, in place of those that are there.
func (s *screen) draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.up()
	for _, l := range lines {
		text += eraseLine + l + "\r\n"
	}
	s.bars = lines
	_, _ = io.WriteString(s.w, text+eraseBelow) // there is nobody to tell
}

// leave lets the bars stand as they are: what is written from now on is below.
func (s *screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.w.Write(s.rest)
	s.bars, s.rest = nil, nil
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bars) == 0 {
		return s.w.Write(p)
	}
	s.rest = append(s.rest, p...)
	end := bytes.LastIndexByte(s.rest, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	text := s.up() + eraseBelow + string(s.rest[:end])
	for _, l := range s.bars {
		text += l + "\r\n"
	}
	s.rest = s.rest[end:]
	_, err := io.WriteString(s.w, text)
	return len(p), err
}

// painter draws the lines of all destinations at once.
type painter struct {
	screen *screen
	meters map[string]*meter
}

func newPainter(s *screen) *painter {
	return &painter{screen: s, meters: map[string]*meter{}}
}

func (p *painter) run(progress func() []engine.Progress, stop <-chan struct{}) {
	defer p.screen.leave()
	paint := func() {
		width, height := p.screen.size()
		p.screen.draw(p.lines(progress(), time.Now(), width, height))
	}
	paint() // from here on rates are counted
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			paint()
			return
		case <-tick.C:
			paint()
		}
	}
}

// lines renders each destination's bar and what stands behind it. Of more than
// there is room for, those are shown that are at work.
func (p *painter) lines(ps []engine.Progress, now time.Time, width, height int) []string {
	longest, working := 0, 0
	for _, s := range ps {
		longest = max(longest, len(s.Name))
		if s.State != "done" {
			working++
		}
	}
	room := len(ps)
	if room >= height { // a line is left for the cursor, and one for the rest
		room = height - 2
	}
	spare := max(room-working, 0) // for those that are done
	var lines []string
	for _, s := range ps {
		m := p.meters[s.Name]
		if m == nil {
			m = &meter{}
			p.meters[s.Name] = m
		}
		rate := m.rate(s.Done, now)
		if len(lines) == room || s.State == "done" && spare == 0 {
			continue
		}
		if s.State == "done" {
			spare--
		}
		line := []rune(lineOf(s, rate, longest))
		if len(line) >= width {
			line = line[:width-1]
		}
		lines = append(lines, string(line))
	}
	if n := len(ps) - len(lines); n > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", n))
	}
	return lines
}

// lineOf renders one line. Until the end of the input is known the bar is of what
// there is about, judged by the bytes that are read, or there is none: what is read is
// never far ahead of what is done, which would always look like nearly everything.
func lineOf(s engine.Progress, rate float64, longest int) string {
	var text string
	if !s.AllRead {
		s.Total = max(rounded(s.About), s.Done)
	}
	if (s.AllRead || s.About > 0) && s.Total > 0 {
		// A progressbar takes what a run begins with for work of this process, and
		// cannot go back once it was full: it only draws, the rest is ours.
		bar := progressbar.NewOptions64(int64(s.Total),
			progressbar.OptionSetWriter(io.Discard), progressbar.OptionSetWidth(16), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetDescription(fmt.Sprintf("%-*s", longest, s.Name)), progressbar.OptionUseANSICodes(false),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "·", BarStart: "", BarEnd: ""}))
		_ = bar.Set64(int64(min(s.Done, s.Total))) // a count beyond the total is the only error, and cannot be
		text = strings.Trim(bar.String(), "\r\n ")
		if i := strings.LastIndexByte(text, '/'); i >= 0 && !s.AllRead {
			text = text[:i+1] + "~" + text[i+1:]
		}
	} else {
		text = fmt.Sprintf("%-*s  %d events", longest, s.Name, s.Done)
		if s.Objects > 1 {
			text += fmt.Sprintf(", object %d of %d", min(int(s.Position.Object)+1, s.Objects), s.Objects)
		}
	}
	if rate > 0 && s.State != "done" {
		text += ", " + rateText(rate)
		if (s.AllRead || s.About > 0) && s.Total > s.Done {
			left := time.Duration(float64(s.Total-s.Done) / rate * float64(time.Second))
			text += fmt.Sprintf(", %s left", left.Round(time.Second))
		}
	}
	text += fmt.Sprintf(", %d in flight", s.InFlight)
	if s.Retries > 0 {
		text += fmt.Sprintf(", %d retries", s.Retries)
	}
	if s.Rejected > 0 {
		text += fmt.Sprintf(", %d rejected", s.Rejected)
	}
	if s.State != "running" {
		text += ", " + s.State
	}
	return text
}

// rounded keeps the three first digits: the others change all the time.
func rounded(n uint64) uint64 {
	unit := uint64(1)
	for n/unit >= 1000 {
		unit *= 10
	}
	return (n + unit/2) / unit * unit
}

// rateText is a rate in the unit in which it can be told from nothing.
func rateText(perSecond float64) string {
	if perSecond < 1 {
		return fmt.Sprintf("%.0f events/min", perSecond*60)
	}
	return fmt.Sprintf("%.0f events/s", perSecond)
}

// meter is how fast one destination is: what it settled in the last ten seconds,
// and nothing of what an earlier process did.
type meter struct{ samples []sample }

type sample struct {
	at   time.Time
	done uint64
}

// rate notes what is done by now, and returns how much that is a second; 0 when
// it is too early to say.
func (m *meter) rate(done uint64, now time.Time) float64 {
	m.samples = append(m.samples, sample{now, done})
	for now.Sub(m.samples[0].at) > 10*time.Second {
		m.samples = m.samples[1:]
	}
	first := m.samples[0]
	took := now.Sub(first.at).Seconds()
	if took < 1 || done < first.done {
		return 0
	}
	return float64(done-first.done) / took
}

// inIsTerminal says that standard input is a person.
func (a *app) inIsTerminal() bool {
	f, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
