package report

import (
	"fmt"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
)

// chart is a plot of bars, 100 high, that is as wide as its page. Its texts stand around it, so that
// they are not stretched.
type chart struct {
	Title, Peak, Says, From, To string
	Width                       float64
	Bars                        []chartBar
	Legend                      []legend
}

type chartBar struct {
	Class, Title string
	X, Y, W, H   float64
}

type legend struct{ Class, Text string }

// bar adds a bar from one height to another, of a whole of most, with gaps beside it.
func (c *chart) bar(class, title string, x float64, from, to, most uint64) {
	if to == from || most == 0 {
		return
	}
	h := 96 * float64(to-from) / float64(most)
	y := 100 - 96*float64(to)/float64(most)
	if h < 1.5 {
		h, y = 1.5, min(y, 98.5)
	}
	c.Bars = append(c.Bars, chartBar{class, title, x + 0.06, y, 0.88, h})
}

// overTime are requests over the time of a run, with their retries and the pauses.
func overTime(k *engine.Course) chart {
	width := time.Duration(float64(k.Width) * float64(time.Second))
	end := k.Start.Add(width * time.Duration(len(k.Slots)))
	c := chart{Title: "Requests over time", Width: float64(len(k.Slots)), From: stamp(k.Start), To: stamp(end)}
	var most, all, retries uint64
	var paused engine.Seconds
	for _, s := range k.Slots {
		most, all, retries, paused = max(most, s.Requests), all+s.Requests, retries+s.Retries, paused+s.Paused
	}
	for i, s := range k.Slots {
		x, at := float64(i), stamp(k.Start.Add(width*time.Duration(i)))
		if s.Paused > 0 {
			c.pause(at+": paused", x, min(float64(s.Paused/k.Width), 1))
		}
		title := fmt.Sprintf("%s: %d requests, %d of them retries, %d events delivered", at, s.Requests,
			s.Retries, s.Delivered)
		c.bar("requests", title, x, 0, s.Requests-min(s.Retries, s.Requests), most)
		c.bar("retries", title, x, s.Requests-min(s.Retries, s.Requests), s.Requests, most)
	}
	c.Peak = fmt.Sprintf("at most %s in %s", grouped(most), Duration(width))
	c.Says = fmt.Sprintf("%s requests from %s to %s, %s of them retries, %s, paused for %s", grouped(all), c.From, c.To,
		grouped(retries), c.Peak, Duration(time.Duration(float64(paused)*float64(time.Second)).Round(time.Second)))
	c.Legend = []legend{{"requests", "requests"}}
	if retries > 0 {
		c.Legend = append(c.Legend, legend{"retries", "retries"})
	}
	if paused > 0 {
		c.Legend = append(c.Legend, legend{"pause", "paused by the partner, or because it failed"})
	}
	return c
}

// pause adds a pause, or makes the one before it longer, if it is the same one: so that it is one
// band, without seams.
func (c *chart) pause(title string, x, width float64) {
	for i := len(c.Bars) - 1; i >= 0; i-- {
		b := &c.Bars[i]
		if b.Class != "pause" {
			continue
		}
		if b.X+b.W >= x-0.001 {
			b.W = x + width - b.X
			return
		}
		break
	}
	c.Bars = append(c.Bars, chartBar{"pause", title, x, 0, width, 100})
}

// latencyOf is how long answers took.
func latencyOf(k *engine.Course) chart {
	first, last := -1, 0
	var most, all uint64
	for i, n := range k.Latency {
		if n > 0 {
			if last = i; first < 0 {
				first = i
			}
			most, all = max(most, n), all+n
		}
	}
	first = max(first, 0)
	upTo := func(i int) string { return Duration(time.Duration(1<<i) * time.Millisecond) }
	c := chart{Title: "Answer times", Width: float64(last - first + 1), To: "under " + upTo(last)}
	c.From = "under " + upTo(first)
	sum, median := uint64(0), ""
	for i := first; i <= last; i++ {
		n := k.Latency[i]
		c.bar("requests", fmt.Sprintf("under %s: %d requests", upTo(i), n), float64(i-first), 0, n, most)
		if sum += n; median == "" && sum*2 >= all && all > 0 {
			median = upTo(i)
		}
	}
	if all > 0 {
		mean := time.Duration(float64(k.Took) / float64(all) * float64(time.Second))
		text := "under 1ms"
		if mean >= time.Millisecond {
			text = Duration(mean.Round(time.Millisecond))
		}
		c.Peak = fmt.Sprintf("half under %s, mean %s", median, text)
	}
	c.Says = "How long the answers to requests took: " + c.Peak
	return c
}

// mostBars is how many bars of days are drawn.
const mostBars = 200

// byDay is from which days the events are that have arrived, of so many in all.
func byDay(k *engine.Course, delivered uint64) chart {
	first, last := int32(1<<31-1), int32(-1<<31)
	for d := range k.Days {
		first, last = min(first, d), max(last, d)
	}
	width := int64(k.DayWidth)
	for (int64(last)-int64(first))/width >= mostBars {
		width *= 2
	}
	bars := make([]uint64, (int64(last)-int64(first))/width+1)
	var most, all uint64
	for d, n := range k.Days {
		i := (int64(d) - int64(first)) / width
		bars[i] += n
		most, all = max(most, bars[i]), all+n
	}
	day := func(i int64) string { return time.Unix(i*24*60*60, 0).UTC().Format(time.DateOnly) }
	c := chart{Title: "Arrived, by day of the event", Width: float64(len(bars)), From: day(int64(first)),
		To: day(int64(last))}
	for i, n := range bars {
		from := int64(first) + int64(i)*width
		c.bar("delivered", fmt.Sprintf("%s: %s events", day(from), grouped(n)), float64(i), 0, n, most)
	}
	per := "a day"
	if width > 1 {
		per = fmt.Sprintf("in %d days", width)
	}
	c.Peak = fmt.Sprintf("at most %s %s", grouped(most), per)
	c.Says = fmt.Sprintf("%s events from %s to %s have arrived, %s", grouped(all), c.From, c.To, c.Peak)
	if k.Undated > 0 {
		c.Peak += fmt.Sprintf("; %s without a day", grouped(k.Undated))
	}
	if known := all + k.Undated; known < delivered {
		c.Peak += fmt.Sprintf("; of %s it is not known: a process was killed", grouped(delivered-known))
	}
	return c
}
