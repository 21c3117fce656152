package engine

import (
	"testing"
	"time"
)

// TestArrivals: whatever is read, over weeks, few arrivals are kept; what waits is never said to
// have been read later than it was, and of what was read just now it is known to the second.
func TestArrivals(t *testing.T) {
	begin := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	var a arrivals
	read := map[uint64]time.Time{}
	now := begin
	for n := uint64(0); n < 30*24*60; n++ {
		now = now.Add(time.Minute)
		read[n] = now
		a.note(n+1, now)
		if len(a) > mostArrivals {
			t.Fatalf("%d arrivals", len(a))
		}
	}
	for n, at := range read {
		if got := a.of(n); got.IsZero() || got.After(at) || at.Sub(got) > now.Sub(at)/3+2*time.Minute {
			t.Fatalf("record %d was read at %s, not at %s", n, at, got)
		}
	}
	if got := a.of(uint64(len(read) - 1)); !got.Equal(now) {
		t.Errorf("the last one was read at %s, not at %s", got, now)
	}
	if got := a.of(uint64(len(read))); !got.IsZero() {
		t.Errorf("what was not read was read at %s", got)
	}
	// A clock that is set back makes nothing younger than what came after.
	a.note(uint64(len(read)+10), now.Add(-time.Hour))
	if got := a.of(uint64(len(read) + 5)); got.After(now) || got.IsZero() {
		t.Errorf("read at %s", got)
	}
	a.passed(uint64(len(read) + 10))
	if len(a) != 0 {
		t.Errorf("%d arrivals of what is settled", len(a))
	}
}
