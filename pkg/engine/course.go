package engine

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Course is the history of a run at one destination, over all processes of the run: what happened when, and from
// which days the delivered events are. Its size is bounded: when there are too many intervals, their width
// doubles. It is meant for plots, so losing the last seconds in a crash is acceptable.
type Course struct {
	Start time.Time `json:"start,omitzero"` // of the first interval
	Width Seconds   `json:"width"`          // of an interval
	Slots []Slot    `json:"slots"`
	// Days counts the delivered events by the day of the event: days since 1970, or the first day of each DayWidth
	// days.
	Days     map[int32]uint64 `json:"days,omitempty"`
	DayWidth int32            `json:"day_width"`
	Undated  uint64           `json:"undated,omitempty"` // arrived without a time
	// Latency counts requests by response time: less than 1, 2, 4, … milliseconds.
	Latency [latencies]uint64 `json:"latency"`
	Took    Seconds           `json:"took"` // all requests together
	// Late are the deliveries that needed more than one attempt, in the order in which they were accepted. When
	// there are too many, neighbours are merged.
	Late []Late `json:"late,omitempty"`

	until time.Time // end of the pause that was noted last
}

// Seconds is a duration that is written as a number of seconds.
type Seconds float64

// Slot is one interval of a [Course].
type Slot struct {
	Requests  uint64  `json:"requests,omitempty"`
	Retries   uint64  `json:"retries,omitempty"` // of them
	Failed    uint64  `json:"failed,omitempty"`  // those of them that were not accepted
	Delivered uint64  `json:"delivered,omitempty"`
	Rejected  uint64  `json:"rejected,omitempty"`
	Took      Seconds `json:"took,omitempty"`    // sum over all requests
	Slowest   Seconds `json:"slowest,omitempty"` // of them
	Paused    Seconds `json:"paused,omitempty"`  // because the partner asked for it, or failed
	// Mark is the number of the input event up to which everything was settled at the end of the interval.
	Mark uint64 `json:"mark,omitempty"`
}

// Late are deliveries of a request that were not accepted at the first attempt.
type Late struct {
	From       uint64    `json:"from"` // number in the input of the first event
	To         uint64    `json:"to"`   // and of the last
	Deliveries uint64    `json:"deliveries"`
	Attempts   int32     `json:"attempts"` // of the delivery that took most, with those that were told to wait
	First      time.Time `json:"first"`    // attempt
	Taken      time.Time `json:"taken"`
	Said       string    `json:"said,omitempty"` // of an attempt before the last
}

const (
	mostSlots = 240
	mostLate  = 200
	mostDays  = 400
	latencies = 20
)

// Clone returns a copy that shares nothing with c.
func (c *Course) Clone() *Course {
	out := *c
	out.Slots, out.Days, out.Late = slices.Clone(c.Slots), maps.Clone(c.Days), slices.Clone(c.Late)
	return &out
}

// at returns the interval that a time belongs to; nil: it is before the first one.
func (c *Course) at(t time.Time) *Slot {
	if c.Start.IsZero() {
		c.Width = max(c.Width, 1)
		c.Start = t.Truncate(time.Second)
	}
	for {
		i := int(t.Sub(c.Start).Seconds() / float64(c.Width))
		switch {
		case i < 0:
			return nil
		case i < mostSlots:
			if i >= len(c.Slots) {
				c.Slots = append(c.Slots, make([]Slot, i+1-len(c.Slots))...)
			}
			return &c.Slots[i]
		}
		for k := range c.Slots {
			if k%2 == 1 {
				c.Slots[k/2].add(c.Slots[k])
			} else {
				c.Slots[k/2] = c.Slots[k]
			}
		}
		c.Slots = c.Slots[:(len(c.Slots)+1)/2]
		c.Width *= 2
	}
}

func (s *Slot) add(o Slot) {
	s.Requests, s.Retries, s.Failed = s.Requests+o.Requests, s.Retries+o.Retries, s.Failed+o.Failed
	s.Delivered, s.Rejected = s.Delivered+o.Delivered, s.Rejected+o.Rejected
	s.Took, s.Paused, s.Slowest = s.Took+o.Took, s.Paused+o.Paused, max(s.Slowest, o.Slowest)
	s.Mark = max(s.Mark, o.Mark)
}

// passed notes up to which event everything is settled.
func (c *Course) passed(now time.Time, mark uint64) {
	if s := c.at(now); s != nil {
		s.Mark = max(s.Mark, mark)
	}
}

// late notes deliveries that were accepted at a later attempt than the first.
func (c *Course) late(l Late) {
	if c.Late = append(c.Late, l); len(c.Late) <= mostLate {
		return
	}
	for k := range c.Late {
		if k%2 == 1 {
			c.Late[k/2].add(&c.Late[k])
		} else {
			c.Late[k/2] = c.Late[k]
		}
	}
	c.Late = c.Late[:(len(c.Late)+1)/2]
}

func (l *Late) add(o *Late) {
	l.From, l.To, l.Deliveries = min(l.From, o.From), max(l.To, o.To), l.Deliveries+o.Deliveries
	l.Said = cmp.Or(l.Said, o.Said)
	l.Attempts = max(l.Attempts, o.Attempts)
	if o.First.Before(l.First) {
		l.First = o.First
	}
	if o.Taken.After(l.Taken) {
		l.Taken = o.Taken
	}
}

// request notes an answered request and the outcomes of its events.
func (c *Course) request(now time.Time, took time.Duration, again, failed bool, delivered, rejected uint64) {
	s := c.at(now)
	if s == nil {
		return // the clock was set back
	}
	one := Slot{Requests: 1, Delivered: delivered, Rejected: rejected, Took: Seconds(took.Seconds()),
		Slowest: Seconds(took.Seconds())}
	if again {
		one.Retries = 1
	}
	if failed {
		one.Failed = 1
	}
	s.add(one)
	c.Took += one.Took
	c.Latency[min(bits.Len64(uint64(max(took.Milliseconds(), 0))), latencies-1)]++
}

// pauses notes that the partner has asked for a pause, or for a longer one.
func (c *Course) pauses(now, until time.Time) {
	if c.until.After(now) {
		now = c.until
	}
	if until.After(now) {
		c.pause(now, until)
		c.until = until
	}
}

// pause notes that nothing is sent between two times.
func (c *Course) pause(from, to time.Time) {
	for from.Before(to) {
		s := c.at(from)
		if s == nil {
			return
		}
		end := from.Add(time.Duration(float64(c.Width) * float64(time.Second)))
		if end.After(to) {
			end = to
		}
		s.Paused += Seconds(end.Sub(from).Seconds())
		if from = end; len(c.Slots) >= mostSlots && to.Sub(from).Hours() > 1e4 {
			return // the answer asks for a pause of years
		}
	}
}

// dayCount counts the events of one day in a block.
type dayCount struct {
	day int32 // since 1970
	n   uint32
}

// days counts a block's events by day. Parsing a time is slow, so only some events are looked at. A block spans
// one day or a few; further days are added to the last one.
type days struct {
	list [6]dayCount
	n    int
	seen uint32
}

const lookAt = 8 // only one event in so many is looked at

// see counts an event of the block.
func (d *days) see(ev *event.Event) {
	if d.seen%lookAt == 0 {
		d.add(dayOf(ev))
	}
	d.seen++
}

const undatedDay = int32(-1 << 31)

func (d *days) add(day int32) {
	for i := range d.n {
		if d.list[i].day == day {
			d.list[i].n++
			return
		}
	}
	if d.n < len(d.list) {
		d.list[d.n] = dayCount{day, 1}
		d.n++
	} else {
		d.list[d.n-1].n++
	}
}

// arrived adds n delivered events, divided among the days of their block.
func (c *Course) arrived(d *days, n uint64) {
	all := uint64(0)
	for _, one := range d.list[:d.n] {
		all += uint64(one.n)
	}
	if d.n == 0 {
		c.Undated += n
	}
	left := n
	for i, one := range d.list[:d.n] {
		part := n * uint64(one.n) / max(all, 1)
		if i == d.n-1 {
			part = left
		}
		left -= part
		c.day(one.day, part)
	}
}

func (c *Course) day(day int32, n uint64) {
	if n == 0 {
		return
	}
	if day == undatedDay {
		c.Undated += n
		return
	}
	if c.Days == nil {
		c.Days, c.DayWidth = map[int32]uint64{}, 1
	}
	c.Days[floor(day, c.DayWidth)] += n
	for len(c.Days) > mostDays {
		wide := map[int32]uint64{}
		c.DayWidth *= 2
		for d, k := range c.Days {
			wide[floor(d, c.DayWidth)] += k
		}
		c.Days = wide
	}
}

// floor is the largest multiple of width that is not above day.
func floor(day, width int32) int32 {
	if m := day % width; m < 0 {
		return day - m - width
	} else {
		return day - m
	}
}

// dayOf is the day of an event.
func dayOf(ev *event.Event) int32 {
	at, ok := ev.Timestamp()
	if !ok {
		return undatedDay
	}
	return int32(floorDiv(at.Unix(), 24*60*60))
}

func floorDiv(a, b int64) int64 {
	if q := a / b; a%b < 0 {
		return q - 1
	} else {
		return q
	}
}

// Courses returns what has happened so far, by destination.
func (e *Engine) Courses() map[string]*Course {
	out := map[string]*Course{}
	for _, l := range e.lanes {
		l.mu.Lock()
		out[l.c.Name] = l.course.Clone()
		l.mu.Unlock()
	}
	return out
}
