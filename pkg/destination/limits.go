package destination

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Limits are declared data: what the partner documents. There are two kinds. Limits of the lane hold for all its
// requests together; the engine's pacer keeps them. Limits of an action hold for its requests alone. Only one part
// of the code reads each of them.

// Unit is what a rate counts.
type Unit uint8

const (
	Requests Unit = iota
	Events
	Bytes
	units // how many there are
)

// unitNames are the names of the units in the plural.
var unitNames = [units]string{Requests: "requests", Events: "events", Bytes: "bytes"}

// Units are all units. Tests walk them, and fail for one that is not counted wherever a lane has to count it.
func Units() (all []Unit) {
	for i := range unitNames {
		all = append(all, Unit(i))
	}
	return all
}

// String is the unit's name in the plural.
func (u Unit) String() string { return unitNames[u] }

// Rate is a documented rate limit: N of a unit in a rolling window.
type Rate struct {
	N    float64
	Per  time.Duration
	Of   Unit
	Docs string // the partner's URL for the number
}

// Rates are the rates that a partner documents at one address, each like "10/s", "1666/10s", "1500events/30s" or
// "20MB/s": see [ParseRate]. It panics for a text that is no rate.
func Rates(docs string, rates ...string) (list []Rate) {
	for _, text := range rates {
		r, err := ParseRate(text)
		if err != nil || r == nil {
			panic("destination: " + text + " is no rate")
		}
		r.Docs = docs
		list = append(list, *r)
	}
	return list
}

// Day is what windows are counted in.
const Day = 24 * time.Hour

// PerSecond is the rate per second.
func (r Rate) PerSecond() float64 { return r.N / r.Per.Seconds() }

// Cap is a documented maximum. N == 0: no limit.
type Cap struct {
	N    int
	Docs string
}

// Window is the range of event times, relative to now, that a partner accepts. A zero duration means no limit on
// that side.
type Window struct {
	Past, Future time.Duration
	Since        time.Time // earlier events are never accepted; zero: no limit
	// But replaces Past for events of one kind; nil: there is none.
	But       *PastOf
	Violation string // what the partner does with an event outside the window
	Docs      string
}

// PastOf is how far back a partner accepts events in which a field has a certain value.
type PastOf struct {
	Field, Value string
	Past         time.Duration
	Docs         string
}

// Retries are how often, for how long and at what intervals a partner wants what it has not taken to be sent again,
// as it documents that. What is zero is left to the engine. A user may lower Attempts and MaxTime; more than declared
// needs override_limits, as a higher rate does.
type Retries struct {
	// Attempts is how often one delivery is sent, the first time included. Being told that there was too much (429) is
	// no attempt. A batch that has failed as a whole to the last is then sent in parts, as one delivery may be the cause.
	Attempts int
	// MaxTime is how long one delivery is tried, from its first attempt: with the next answer that is later than that it
	// is given up. So a partner that asks for a longer wait gets the attempt that it has asked for: giving up without it,
	// or stopping the lane, would cost more than the wait. Neither counts while a partner accepts nothing and the lane
	// may wait for it (input that is followed).
	MaxTime time.Duration
	// First is the shortest wait before the second attempt, and after a 429; before each further one it is twice as long,
	// but no longer than Longest. A Retry-After or a [Saying.Wait] that is longer goes before.
	First, Longest time.Duration
	Docs           string // the partner's URL for the numbers
}

// Dedupe is how a partner recognises a repeated event.
type Dedupe struct {
	Field  string
	Window time.Duration // 0: not stated
	Docs   string
}

// Limits are what a destination declares: those of its lane, and defaults for its actions.
type Limits struct {
	// Of the lane.
	Rates       []Rate  // of all requests together
	Concurrency Cap     // requests in flight
	Gzip        Cap     // N == 1: the partner accepts Content-Encoding: gzip
	Retries     Retries // of what was not taken

	// Of each action that does not declare its own.
	BatchEvents Cap // deliveries in a request; 0: the engine's default, 1: no batching
	BatchBytes  Cap // body bytes, uncompressed
	EventBytes  Cap // bytes of one item
	Window      Window
	Dedupe      Dedupe
}

// LaneLimits hold for all requests of a lane together. The engine keeps them.
type LaneLimits struct {
	Rates       []Rate
	Concurrency Cap
	Gzip        Cap
	Retries     Retries
}

// ActionLimits hold for the requests of one action. Its rates apply in addition to the lane's. The engine keeps
// the rates and the sizes of batches, Route those of events.
type ActionLimits struct {
	Rates       []Rate
	BatchEvents Cap
	BatchBytes  Cap
	EventBytes  Cap
	Window      Window
	Dedupe      Dedupe
}

// Lane returns the limits of the whole lane.
func (l Limits) Lane() LaneLimits { return LaneLimits{l.Rates, l.Concurrency, l.Gzip, l.Retries} }

// Or fills what an action leaves open with the destination's defaults.
func (a ActionLimits) Or(l Limits) ActionLimits {
	pick := func(c *Cap, def Cap) {
		if c.N == 0 {
			*c = def
		}
	}
	pick(&a.BatchEvents, l.BatchEvents)
	pick(&a.BatchBytes, l.BatchBytes)
	pick(&a.EventBytes, l.EventBytes)
	if a.Window == (Window{}) {
		a.Window = l.Window
	}
	if a.Dedupe == (Dedupe{}) {
		a.Dedupe = l.Dedupe
	}
	return a
}

// Alone returns the limits as those of a destination without any others.
func (a ActionLimits) Alone() Limits {
	return Limits{Rates: a.Rates, BatchEvents: a.BatchEvents, BatchBytes: a.BatchBytes, EventBytes: a.EventBytes,
		Window: a.Window, Dedupe: a.Dedupe}
}

// Own returns the limits without those that equal the destination's defaults.
func (a ActionLimits) Own(l Limits) ActionLimits {
	clear := func(c *Cap, def Cap) {
		if *c == def {
			*c = Cap{}
		}
	}
	clear(&a.BatchEvents, l.BatchEvents)
	clear(&a.BatchBytes, l.BatchBytes)
	clear(&a.EventBytes, l.EventBytes)
	if a.Window == l.Window {
		a.Window = Window{}
	}
	if a.Dedupe == l.Dedupe {
		a.Dedupe = Dedupe{}
	}
	return a
}

// MostRate returns the highest rate of a unit that all requests together can reach within the partner's limits:
// the lowest rate of the lane, or, if it has none, the highest of its actions. ok is false when nothing limits
// them.
func (d Destination) MostRate(of Unit) (most Rate, ok bool) {
	for _, r := range d.Limits.Rates {
		if r.Of == of && (!ok || r.PerSecond() < most.PerSecond()) {
			most, ok = r, true
		}
	}
	if ok {
		return most, true
	}
	for _, a := range d.Actions {
		for _, r := range a.Limits.Rates {
			if r.Of == of && (!ok || r.PerSecond() > most.PerSecond()) {
				most, ok = r, true
			}
		}
	}
	return most, ok
}

// RatePattern is the regular expression of a rate as a user writes it, but for none.
const RatePattern = `^\s*([0-9.]+)\s*(requests?|events?|[kKMG]?B|[KMG]iB|)\s*/\s*([1-9]\d{0,4})?(s|sec|m|min|h|d|day)\s*$`

// RateForms shows people rates: one of each unit, at least.
const RateForms = "50/s, 1000/m, 100events/s or 20MB/s"

var rateForm = regexp.MustCompile(RatePattern)

// ParseRate reads 50/s, 1000/m, 1666/10s, 100events/s, 20MB/s or none (nil).
func ParseRate(s string) (*Rate, error) {
	if s == "none" {
		return nil, nil
	}
	wrong := fmt.Errorf("rate has to be like %s, not %q", RateForms, s)
	m := rateForm.FindStringSubmatch(s)
	if m == nil {
		return nil, wrong
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n <= 0 {
		return nil, wrong
	}
	per := map[string]time.Duration{
		"s": time.Second, "sec": time.Second, "m": time.Minute, "min": time.Minute,
		"h": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour,
	}
	r := &Rate{N: n, Per: per[m[4]]}
	if many, err := strconv.Atoi(m[3]); err == nil {
		r.Per *= time.Duration(many)
	}
	switch u := m[2]; {
	case strings.HasPrefix(u, "event"):
		r.Of = Events
	case strings.HasSuffix(u, "B"):
		r.Of = Bytes
		r.N *= map[string]float64{"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20,
			"GiB": 1 << 30}[u]
	}
	return r, nil
}
