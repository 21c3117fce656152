// Package progress shows how far a run is: as bars at the bottom of a terminal, one a
// destination, or as plain lines.
package progress

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

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
	said, p := map[string]string{}, newPainter()
	p.rates(progress(), d.Now()) // from here on rates are counted
	for {
		select {
		case <-stop:
			if d.AtEnd {
				p.plain(d.Lines, progress(), d.Now(), said)
			}
			return
		case <-tick.C:
			p.plain(d.Lines, progress(), d.Now(), said)
		}
	}
}

// plain prints a line for each destination of which there is something new to say: those first
// that something is wrong with.
func (p *painter) plain(w io.Writer, ps []engine.Progress, now time.Time, said map[string]string) {
	rates := p.rates(ps, now)
	for _, i := range byNews(ps) {
		s := ps[i]
		line := fmt.Sprintf("%s: %s, %d of %s events", s.Name, s.State, s.Done, totalText(s))
		if s.Follows {
			line = fmt.Sprintf("%s: %s, %s", s.Name, s.State, printable.Count(s.Done, "event"))
		}
		if text := paceText(s, rates[i], now); text != "" {
			line += ", " + text
		}
		line += fmt.Sprintf(", %d in flight%s, %d rejected", s.InFlight, cmp.Or(retriesText(s.Retries), ", 0 retries"),
			s.Rejected)
		if problem := cmp.Or(s.Problem, s.Last); problem != "" {
			line += "; the last problem: " + problem
		}
		if said[s.Name] != line {
			said[s.Name] = line
			fmt.Fprintln(w, line)
		}
	}
}

// byNews orders destinations: those first that something is wrong with, last those that are done.
func byNews(ps []engine.Progress) []int {
	rank := func(s *engine.Progress) int {
		switch {
		case s.Stopped:
			return 0
		case s.Problem != "":
			return 1
		case s.State == "done":
			return 3
		}
		return 2
	}
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(&ps[a]) - rank(&ps[b]) })
	return order
}

// paceText is how fast a destination is, and how long it will take, or, where no end is expected, how
// far it lags behind; "": it is not known, or done.
func paceText(s engine.Progress, rate float64, now time.Time) string {
	if s.Follows {
		if rate <= 0 {
			return lagText(s, now)
		}
		return rateText(rate) + ", " + lagText(s, now)
	}
	if rate <= 0 || s.State == "done" || s.Stopped || s.Problem != "" { // nothing moves while a partner fails
		return ""
	}
	text := rateText(rate)
	total := s.Total
	if !s.AllRead {
		total = max(rounded(s.About), s.Done)
	}
	if (s.AllRead || s.About > 0) && total > s.Done {
		left := time.Duration(float64(total-s.Done) / rate * float64(time.Second))
		text += ", " + leftText(left) + " left"
	}
	return text
}

// leftText is how long something will still take, no more exactly than anybody can know it.
func leftText(d time.Duration) string {
	if d >= time.Hour {
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(time.Second).String()
}

// lagText says how far a destination lags behind input that has no end: for how long the oldest
// event that it has not settled has been there, how many there are, and what is not even read.
func lagText(s engine.Progress, now time.Time) string {
	var behind []string
	if n := max(s.Total, s.Done) - s.Done; n > 0 {
		behind = append(behind, printable.Count(n, "event"))
	}
	if s.Unread > 0 && !s.Stopped {
		behind = append(behind, printable.Size(s.Unread)+" to read")
	}
	if len(behind) == 0 {
		return "up to date"
	}
	text := strings.Join(behind, " and ") + " behind"
	if lag := now.Sub(s.Oldest); !s.Oldest.IsZero() && lag >= time.Second {
		return "lag " + lag.Round(time.Second).String() + ", " + text
	}
	return text
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

// rates are how fast destinations are.
func (p *painter) rates(ps []engine.Progress, now time.Time) []float64 {
	out := make([]float64, len(ps))
	for i, s := range ps {
		m := p.meters[s.Name]
		if m == nil {
			m = &meter{}
			p.meters[s.Name] = m
		}
		out[i] = m.rate(s.Done, now, s.Waits)
	}
	return out
}

// lines renders each destination's bar and what stands behind it, those first that something is wrong
// with. Of more than there is room for, those are left out that are done, and then the last.
func (p *painter) lines(ps []engine.Progress, now time.Time, width, height int) []string {
	rates := p.rates(ps, now)
	room := len(ps)
	if room >= height { // a line is left for the cursor, and one for the rest
		room = height - 2
	}
	order := byNews(ps)[:room]
	longest := 0
	for _, i := range order {
		longest = max(longest, printable.Width(ps[i].Name))
	}
	var lines []string
	for _, i := range order {
		var text string
		if s := ps[i]; s.Problem != "" {
			text = troubleOf(s, width, now)
		} else {
			text = lineOf(s, rates[i], longest, width, now)
		}
		lines = append(lines, printable.Begin(printable.Text(text), width-1))
	}
	if n := len(ps) - len(lines); n > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", n))
	}
	return lines
}

// short is a name of which so many columns are left, and that takes all of them. Its end stays, too:
// names of several environments or accounts often differ only there.
func short(name string, room int) string {
	if printable.Width(name) > room {
		end := strings.TrimPrefix(printable.End(name, min(4, room/3)+1), "…")
		name = printable.Begin(name, room-printable.Width(end)) + end
	}
	return name + strings.Repeat(" ", max(room-printable.Width(name), 0))
}

// retriesText is how many requests were retries; "": none.
func retriesText(n uint64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", 1 retry"
	}
	return fmt.Sprintf(", %d retries", n)
}

// lineOf renders one line. What does not fit is given up in this order: the name down to a few letters,
// half of the bar, the words of the news, how many requests are in flight or the count, the bar, the pace; what has
// failed stays.
func lineOf(s engine.Progress, rate float64, longest, width int, now time.Time) string {
	rejected, retries, state := "", retriesText(s.Retries), ""
	if s.Rejected > 0 {
		rejected = fmt.Sprintf(", %d rejected", s.Rejected)
	}
	if s.State != "running" {
		state = ", " + s.State
	}
	news, brief := rejected+retries+state, rejected+strings.NewReplacer("keeps to its rate limit", "rate limit",
		"paused by the partner for", "paused").Replace(state)
	pace := paceText(s, rate, now)
	if pace != "" {
		pace = ", " + pace
	}
	flying := fmt.Sprintf(", %d in flight", s.InFlight)
	last := ""
	if s.Last != "" && s.State != "done" && !s.Stopped {
		last = "; last: " + s.Last
	}
	name := min(longest, shortName)
	for _, try := range []struct {
		name, bar          int
		counted            bool
		flying, pace, news string
	}{{longest, 16, true, flying, pace, news}, {name, 16, true, flying, pace, news}, {name, 8, true, flying, pace, news},
		{name, 8, true, flying, pace, brief}, {name, 8, true, "", pace, brief}, {name, 8, false, flying, pace, brief},
		{name, 8, false, "", pace, brief}, {name, 0, true, flying, pace, news}, {name, 0, true, "", pace, news},
		{name, 0, true, "", pace, brief}, {name, 0, true, "", "", news}} {
		line := head(s, try.name, try.bar, try.counted) + try.pace + try.flying + try.news
		if n := width - 1 - printable.Width(line); n >= 0 {
			if n > 24 || printable.Width(last) <= n {
				return line + printable.Begin(last, n)
			}
			return line
		}
	}
	return head(s, name, 0, true) + news
}

// head is the beginning of a line: name, bar and count. Until the input is read to its end, the bar's total
// is estimated from the bytes that are read, or there is no bar: reading is never far ahead of
// delivering, so that a bar of what is read would always look nearly full.
func head(s engine.Progress, name, bar int, counted bool) string {
	title, about := short(s.Name, name), ""
	if s.Follows { // a bar of what has no end would say nothing
		return title + "  " + printable.Count(s.Done, "event")
	}
	if !s.AllRead {
		s.Total, about = max(rounded(s.About), s.Done), "~"
	}
	switch {
	case (s.AllRead || s.About > 0) && s.Total > 0:
		done := min(s.Done, s.Total)
		line := fmt.Sprintf("%s %3d%%", title, done*100/s.Total)
		if bar > 0 {
			full := int(done * uint64(bar) / s.Total)
			line += " " + strings.Repeat("█", full) + strings.Repeat("·", bar-full)
		}
		if counted {
			line += fmt.Sprintf(" (%d/%s%d)", done, about, s.Total)
		}
		return line
	case s.Objects > 1 && bar > 0:
		return fmt.Sprintf("%s  %s, object %d of %d", title, printable.Count(s.Done, "event"), min(int(s.Position.Object)+1,
			s.Objects), s.Objects)
	}
	return title + "  " + printable.Count(s.Done, "event")
}

// shortName is how much of a name is left where news would not fit beside it, in columns.
const shortName = 12

// troubleOf renders the line of a destination that something is wrong with: what is wrong
// goes before everything else where there is not room for all.
func troubleOf(s engine.Progress, width int, now time.Time) string {
	count, retries, state := fmt.Sprintf(", %d of %s", s.Done, totalText(s)), retriesText(s.Retries), ""
	if s.Follows {
		count = ", " + lagText(s, now)
	}
	if s.State != "running" {
		state = ", " + s.State
	}
	whole, short := s.Name, strings.TrimRight(short(s.Name, shortName), " ")
	news := printable.Width(s.Problem)
	var line string
	for _, before := range []string{
		whole + count + retries + state, short + count + retries + state, short + retries + state, short + retries, short} {
		line = before + ": "
		if printable.Width(line)+news < width {
			return line + s.Problem
		}
	}
	// Of an answer the beginning says the most, of what the way to a partner said the end.
	room := max(width-1-printable.Width(line), 1)
	if strings.HasPrefix(s.Problem, "status ") {
		return line + printable.Begin(s.Problem, room)
	}
	return line + printable.End(s.Problem, room)
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

// meter is how fast one destination is: what it settled in the last ten seconds, or where a limit lets
// it do nothing for longer, in the last minutes; and nothing of what an earlier process did.
type meter struct{ samples []sample }

type sample struct {
	at   time.Time
	done uint64
}

const (
	recent   = 10 * time.Second
	remember = 5 * time.Minute
)

// rate notes what is done by now, and returns how much that is a second; 0 when
// it is too early to say. waits says that a limit holds it back.
func (m *meter) rate(done uint64, now time.Time, waits bool) float64 {
	if n := len(m.samples); n < 2 || now.Sub(m.samples[n-2].at) >= 500*time.Millisecond {
		m.samples = append(m.samples, sample{now, done})
	} else {
		m.samples[n-1] = sample{now, done}
	}
	for now.Sub(m.samples[0].at) > remember {
		m.samples = m.samples[1:]
	}
	i, _ := slices.BinarySearchFunc(m.samples, now.Add(-recent), func(s sample,
		at time.Time) int {
		return s.at.Compare(at)
	})
	if waits { // it goes in leaps: what it did lately says little
		i = 0
	}
	return since(m.samples[min(i, len(m.samples)-1)], done, now)
}

// since is how much was done a second since a sample.
func since(s sample, done uint64, now time.Time) float64 {
	took := now.Sub(s.at).Seconds()
	if took < 1 || done < s.done {
		return 0
	}
	return float64(done-s.done) / took
}
