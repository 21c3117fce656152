package engine

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// TestCourse: however long a run takes and however far its events are apart, its course is small, and
// adds up.
func TestCourse(t *testing.T) {
	start := time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)
	c := &Course{}
	var want Slot
	paused := time.Duration(0)
	for i := range 5000 {
		now := start.Add(time.Duration(i) * 7 * time.Second)
		took := time.Duration(i%900) * time.Millisecond
		c.request(now, took, i%10 == 0, i%100 == 0, 3, 1)
		want.add(Slot{Requests: 1, Delivered: 3, Rejected: 1, Took: Seconds(took.Seconds()),
			Slowest: Seconds(took.Seconds())})
		if i%1000 == 0 {
			c.pauses(now, now.Add(time.Hour))
			c.pauses(now, now.Add(30*time.Minute)) // shorter than what is noted
			paused += time.Hour
		}
		c.day(int32(i*3-7000), 3)
	}
	c.day(undatedDay, 2)
	c.request(start.Add(-time.Hour), time.Second, false, false, 1, 0) // the clock was set back
	var got Slot
	for _, s := range c.Slots {
		got.add(s)
	}
	if len(c.Slots) > mostSlots || got.Requests != want.Requests || got.Delivered != want.Delivered ||
		got.Rejected != want.Rejected || got.Retries != 500 || got.Failed != 50 || got.Slowest != want.Slowest {
		t.Errorf("%d intervals of %v s: %+v, want %+v", len(c.Slots), c.Width, got, want)
	}
	if d := time.Duration(float64(got.Paused) * 1e9); d.Round(time.Second) != paused {
		t.Errorf("paused for %v, want %v", d, paused)
	}
	n := uint64(0)
	for day, k := range c.Days {
		if n += k; day%c.DayWidth != 0 {
			t.Errorf("day %d of width %d", day, c.DayWidth)
		}
	}
	if len(c.Days) > mostDays || n != 15000 || c.Undated != 2 {
		t.Errorf("%d days with %d events, %d without", len(c.Days), n, c.Undated)
	}
	text, err := json.Marshal(c)
	if err != nil || len(text) > 40_000 {
		t.Errorf("%v: it takes %d bytes", err, len(text))
	}
	c.pauses(start, start.AddDate(5000, 0, 0)) // comes to an end
}

// TestDays: what has arrived of a block is shared out to its days, to the event.
func TestDays(t *testing.T) {
	var d days
	for i := range 1000 {
		d.add(int32(i % 9 * 100))
	}
	c := &Course{}
	c.arrived(&d, 777)
	n := uint64(0)
	for _, k := range c.Days {
		n += k
	}
	if n != 777 || len(c.Days) != len(d.list) {
		t.Errorf("%d of 777 events on %d days", n, len(c.Days))
	}
}

func BenchmarkDay(b *testing.B) {
	ev, err := event.Parse([]byte(`{"type":"track","event":"A","timestamp":"2026-06-01T10:00:00.123Z","messageId":"m"}`))
	if err != nil {
		b.Fatal(err)
	}
	var d days
	for b.Loop() {
		d.add(dayOf(ev))
	}
}

// TestLate: however many requests are taken at a later attempt, a course keeps few stretches of them, which hold all of
// their deliveries.
func TestLate(t *testing.T) {
	c := &Course{}
	for i := range uint64(10_000) {
		at := epoch.Add(time.Duration(i) * time.Second)
		c.late(Late{From: i * 10, To: i*10 + 9, Deliveries: 10, Attempts: int32(2 + i%5), First: at,
			Taken: at.Add(time.Minute),
			Said:  "status 503"})
	}
	all := Late{First: c.Late[0].First}
	for i := range c.Late {
		all.add(&c.Late[i])
	}
	if len(c.Late) > mostLate || all.From != 0 || all.To != 99_999 || all.Deliveries != 100_000 || all.Attempts != 6 ||
		!all.First.Equal(epoch) || all.Taken.Sub(epoch) != 9_999*time.Second+time.Minute {
		t.Errorf("%d stretches: %+v", len(c.Late), all)
	}
	if c.Clone().Late[0] = (Late{}); c.Late[0].Deliveries == 0 {
		t.Error("a clone shares its stretches")
	}
}
