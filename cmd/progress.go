package cmd

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/fanfold/fanfold/pkg/engine"
)

// showProgress paints one line a destination on a terminal, or prints plain
// lines every ten seconds, until the function it returns is called.
func (a *app) showProgress(e *engine.Engine, mode string) (ended func()) {
	f, isFile := a.err.(*os.File)
	terminal := isFile && term.IsTerminal(int(f.Fd()))
	if mode == "never" {
		return func() {}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if terminal {
			newPainter(a.err, int(f.Fd())).run(e, stop)
			return
		}
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		said := map[string]string{}
		for {
			select {
			case <-stop:
				if mode == "always" {
					plainProgress(a.err, e.Progress(), said)
				}
				return
			case <-tick.C:
				plainProgress(a.err, e.Progress(), said)
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

// painter draws the lines of all destinations at once.
type painter struct {
	w      io.Writer
	fd     int
	meters map[string]*meter
	drawn  int
}

func newPainter(w io.Writer, fd int) *painter {
	return &painter{w: w, fd: fd, meters: map[string]*meter{}}
}

func (p *painter) run(e *engine.Engine, stop <-chan struct{}) {
	p.paint(e.Progress(), time.Now()) // from here on rates are counted
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			p.paint(e.Progress(), time.Now())
			return
		case <-tick.C:
			p.paint(e.Progress(), time.Now())
		}
	}
}

func (p *painter) paint(ps []engine.Progress, now time.Time) {
	width, _, err := term.GetSize(p.fd)
	if err != nil || width < 40 {
		width = 80
	}
	var out strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", p.drawn)
	}
	for _, line := range p.lines(ps, now, width) {
		out.WriteString("\r\x1b[K" + line + "\n")
	}
	p.drawn = len(ps)
	fmt.Fprint(p.w, out.String())
}

// lines renders each destination's bar and what stands behind it.
func (p *painter) lines(ps []engine.Progress, now time.Time, width int) []string {
	longest := 0
	for _, s := range ps {
		longest = max(longest, len(s.Name))
	}
	var lines []string
	for _, s := range ps {
		m := p.meters[s.Name]
		if m == nil {
			m = &meter{}
			p.meters[s.Name] = m
		}
		line := []rune(lineOf(s, m.rate(s.Done, now), longest))
		if len(line) >= width {
			line = line[:width-1]
		}
		lines = append(lines, string(line))
	}
	return lines
}

// lineOf renders one line. There is no bar before the end of the input is known:
// what is read is never far ahead of what is done, which would always look like
// nearly everything.
func lineOf(s engine.Progress, rate float64, longest int) string {
	var text string
	if s.AllRead && s.Total > 0 {
		// A progressbar takes what a run begins with for work of this process, and
		// cannot go back once it was full: it only draws, the rest is ours.
		bar := progressbar.NewOptions64(int64(s.Total),
			progressbar.OptionSetWriter(io.Discard), progressbar.OptionSetWidth(16), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetDescription(fmt.Sprintf("%-*s", longest, s.Name)), progressbar.OptionUseANSICodes(false),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "·", BarStart: "", BarEnd: ""}))
		_ = bar.Set64(int64(min(s.Done, s.Total))) // a count beyond the total is the only error, and cannot be
		text = strings.Trim(bar.String(), "\r\n ")
	} else {
		text = fmt.Sprintf("%-*s  %d events", longest, s.Name, s.Done)
		if s.Objects > 1 {
			text += fmt.Sprintf(", object %d of %d", min(int(s.Position.Object)+1, s.Objects), s.Objects)
		}
	}
	if rate > 0 && s.State != "done" {
		text += ", " + rateText(rate)
		if s.AllRead && s.Total > s.Done {
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
