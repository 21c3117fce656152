package engine

import (
	"slices"
	"time"
)

// arrivals remember when records were read, so that the engine can say how long the oldest unsettled event has
// waited. Their number is bounded: neighbours are merged, the older the coarser, and a record then counts as read
// when the first record of the merged arrival was.
type arrivals []Arrival

// Arrival is when some records were read: those before the ordinal Before, from the previous arrival on.
type Arrival struct {
	Before uint64    `json:"before"`
	At     time.Time `json:"at"`
}

const (
	mostArrivals = 64
	// Records that are read within arrivalsApart count as read at the same time.
	arrivalsApart = time.Second
)

// note says that everything before an ordinal had been read by now.
func (a *arrivals) note(before uint64, now time.Time) {
	s := *a
	if n := len(s); n > 0 && before <= s[n-1].Before {
		return
	}
	if n := len(s); n > 0 {
		// A clock that was set back must not make what comes now look older than what came before.
		if d := now.Sub(s[n-1].At); d < arrivalsApart {
			s[n-1].Before = before
			return
		}
	}
	if s = append(s, Arrival{before, now}); len(s) > mostArrivals {
		s = s.merged(now)
	}
	*a = s
}

// merged joins the two neighbours whose distance is smallest in relation to their age. So a wait may be reported a
// quarter too long, however long it is.
func (a arrivals) merged(now time.Time) arrivals {
	apart := func(i int) float64 {
		return float64(a[i+1].At.Sub(a[i].At)) / float64(max(now.Sub(a[i+1].At), arrivalsApart))
	}
	least := 0
	for i := 1; i < len(a)-1; i++ {
		if apart(i) < apart(least) {
			least = i
		}
	}
	a[least+1].At = a[least].At
	return slices.Delete(a, least, least+1)
}

// passed forgets what every lane has settled.
func (a *arrivals) passed(ordinal uint64) {
	*a = slices.DeleteFunc(*a, func(x Arrival) bool { return x.Before <= ordinal })
}

// of returns when the record with an ordinal was read; zero: not known.
func (a arrivals) of(ordinal uint64) time.Time {
	for _, x := range a {
		if x.Before > ordinal {
			return x.At
		}
	}
	return time.Time{}
}
