// Package progress shows how far a run is: as bars at the bottom of a terminal, one a
// destination, or as plain lines.
package progress

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/printable"
)

// Display is where and how progress is shown.
type Display struct {
	Screen *Screen   // nil: plain lines are written, every ten seconds
	Lines  io.Writer // where plain lines go
	AtEnd  bool      // plain lines are written once more at the end
	Now    func() time.Time
}

// Show shows progress until the function that it returns is called. progress is
// called by another goroutine.
func (d *Display) Show(progress func() []engine.Progress) (ended func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if d.Screen != nil {
			newPainter().run(d.Screen, d.Now, progress, stop)
		} else {
			d.lines(progress, stop)
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

func (d *Display) lines(progress func() []engine.Progress, stop <-chan struct{}) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	said := map[string]string{}
	for {
		select {
		case <-stop:
			if d.AtEnd {
				plain(d.Lines, progress(), said)
			}
			return
		case <-tick.C:
			plain(d.Lines, progress(), said)
		}
	}
}

// plain prints a line for each destination of which there is something new
// to say.
func plain(w io.Writer, ps []engine.Progress, said map[string]string) {
	for _, p := range ps {
		line := fmt.Sprintf("%s: %s, %d of %s events, %d in flight, %d retries, %d rejected\n",
			p.Name, p.State, p.Done, totalText(p), p.InFlight, p.Retries, p.Rejected)
		if p.Problem != "" {
			line = strings.TrimSuffix(line, "\n") + "; the last problem: " + p.Problem + "\n"
		}
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
	meters map[string]*meter
}

func newPainter() *painter { return &painter{meters: map[string]*meter{}} }

func (p *painter) run(s *Screen, now func() time.Time, progress func() []engine.Progress, stop <-chan struct{}) {
	defer s.leave()
	paint := func() {
		width, height := s.size()
		s.draw(p.lines(progress(), now(), width, height))
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
		text := lineOf(s, rate, longest)
		if s.Problem != "" {
			text = troubleOf(s, longest, width)
		}
		line := []rune(printable.Text(text))
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

// lineOf renders one line. Until the input is read to its end, the bar's total is
// estimated from the bytes that are read, or there is no bar: reading is never far
// ahead of delivering, so that a bar of what is read would always look nearly full.
func lineOf(s engine.Progress, rate float64, longest int) string {
	var text string
	if !s.AllRead {
		s.Total = max(rounded(s.About), s.Done)
	}
	if (s.AllRead || s.About > 0) && s.Total > 0 {
		// A progressbar takes what a run begins with for work of this process, and
		// cannot go back once it was full: it only draws, the rest is ours.
		bar := progressbar.NewOptions64(int64(s.Total),
			progressbar.OptionSetWriter(io.Discard), progressbar.OptionSetWidth(16), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(false), progressbar.OptionUseANSICodes(false),
			progressbar.OptionSetDescription(fmt.Sprintf("%-*s", longest, s.Name)),
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

// shortName is how much of a name is left where news would not fit beside it, in runes.
const shortName = 12

// troubleOf renders the line of a destination that something is wrong with: what is wrong
// goes before everything else where there is not room for all.
func troubleOf(s engine.Progress, longest, width int) string {
	count, retries, state := fmt.Sprintf(", %d of %s", s.Done, totalText(s)), "", ""
	if s.Retries > 0 {
		retries = fmt.Sprintf(", %d retries", s.Retries)
	}
	if s.State != "running" {
		state = ", " + s.State
	}
	whole, short := fmt.Sprintf("%-*s", longest, s.Name), s.Name
	if r := []rune(s.Name); len(r) > shortName {
		short = string(r[:shortName-1]) + "…"
	}
	news := []rune(s.Problem)
	var line string
	for _, before := range []string{
		whole + count + retries + state, short + count + retries + state, short + retries + state, short + retries, short} {
		line = before + ": "
		if len([]rune(line))+len(news) < width {
			return line + s.Problem
		}
	}
	// Of an answer the beginning says the most, of what the way to a partner said the end.
	if room := max(width-1-len([]rune(line)), 1); strings.HasPrefix(s.Problem, "status ") {
		news = append(news[:room-1], '…')
	} else {
		news = append([]rune{'…'}, news[len(news)-room+1:]...)
	}
	return line + string(news)
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
