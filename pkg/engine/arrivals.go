package engine

import (
	"slices"
	"time"
)

// arrivals remember when records were read, so that it can be said for how long the oldest
// event that is not settled has waited. There are few of them, whatever happens: of long ago
// less is known, and then a record counts as read when the first of its neighbours was.
type arrivals []Arrival

// Arrival is when records were read, those before an ordinal and behind that of the arrival before.
type Arrival struct {
	Before uint64    `json:"before"`
	At     time.Time `json:"at"`
}

const (
	mostArrivals = 64
	// arrivalsApart is how long records count as read at once.
	arrivalsApart = time.Second
)

// note says that everything before an ordinal was read by now.
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

// merged makes one arrival of the two neighbours that are the least apart for how long ago they were:
// so what has waited for long may be said to have waited for a quarter longer, however long that is.
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

// of is when the record with an ordinal was read; zero: that is not known.
func (a arrivals) of(ordinal uint64) time.Time {
	for _, x := range a {
		if x.Before > ordinal {
			return x.At
		}
	}
	return time.Time{}
}
