package cmd

import (
	"bytes"
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
	return fmt.Sprintf("%d+", p.Total)
}

// painter draws all bars at once. A progressbar draws one bar to one writer,
// so each renders into a buffer, and this is the one place that repaints.
type painter struct {
	w     io.Writer
	fd    int
	bars  map[string]*lineBar
	drawn int
}

type lineBar struct {
	bar *progressbar.ProgressBar
	buf bytes.Buffer
	max int64
}

func newPainter(w io.Writer, fd int) *painter {
	return &painter{w: w, fd: fd, bars: map[string]*lineBar{}}
}

func (p *painter) run(e *engine.Engine, stop <-chan struct{}) {
	p.paint(e) // bars count their rates from when they are first drawn
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			p.paint(e)
			return
		case <-tick.C:
			p.paint(e)
		}
	}
}

func (p *painter) paint(e *engine.Engine) {
	width, _, err := term.GetSize(p.fd)
	if err != nil || width < 40 {
		width = 80
	}
	var out strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", p.drawn)
	}
	ps := e.Progress()
	longest := 0
	for _, s := range ps {
		longest = max(longest, len(s.Name))
	}
	for _, s := range ps {
		line := p.line(s, longest, width)
		out.WriteString("\r\x1b[K" + line + "\n")
	}
	p.drawn = len(ps)
	fmt.Fprint(p.w, out.String())
}

// line renders one destination's bar and what stands behind it.
func (p *painter) line(s engine.Progress, longest, width int) string {
	b := p.bars[s.Name]
	most := max(int64(s.Total), 1)
	if b == nil {
		b = &lineBar{max: most}
		b.bar = progressbar.NewOptions64(most,
			progressbar.OptionSetWriter(&b.buf), progressbar.OptionSetWidth(16), progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("ev"),
			progressbar.OptionSetDescription(fmt.Sprintf("%-*s", longest, s.Name)), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(0), progressbar.OptionUseANSICodes(false),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "·", BarStart: "", BarEnd: ""}))
		p.bars[s.Name] = b
	}
	if most != b.max {
		b.max = most
		b.bar.ChangeMax64(most)
	}
	b.buf.Reset()
	_ = b.bar.Set64(min(int64(s.Done), most)) // a count beyond the total is the only error, and cannot be
	text := b.buf.String()
	if i := strings.LastIndexByte(strings.TrimRight(text, "\r\n "), '\r'); i >= 0 {
		text = text[i+1:]
	}
	text = strings.TrimSpace(strings.Trim(text, "\r\n"))
	if text == "" {
		text = b.bar.String()
	}
	tail := fmt.Sprintf("  %d in flight", s.InFlight)
	if s.Retries > 0 {
		tail += fmt.Sprintf(", %d retries", s.Retries)
	}
	if s.Rejected > 0 {
		tail += fmt.Sprintf(", %d rejected", s.Rejected)
	}
	if s.State != "running" {
		tail += ", " + s.State
	}
	line := []rune(text + tail)
	if len(line) >= width {
		line = line[:width-1]
	}
	return string(line)
}

// inIsTerminal says that standard input is a person.
func (a *app) inIsTerminal() bool {
	f, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
