package engine

import (
	"runtime"
	"sync"
	"time"
)

// processors admits as many goroutines to CPU work as there are processors: those of
// lanes that get somewhere, and only while none of these is inside the others.
// So that nobody starves, one of the others gets in now and then, up to its next
// yield, for a small share of the time that the first ones take.
type processors struct {
	now func() time.Time

	mu     sync.Mutex
	free   int
	inside [2]int
	queue  [2][]chan struct{}
	credit time.Duration // what lazy ones may still take while urgent ones want in
	at     time.Time     // when it was last counted
}

func newProcessors(n int, now func() time.Time) *processors { return &processors{now: now, free: n} }

// The two kinds of work: that of lanes that get somewhere, and the rest.
const (
	urgent = iota
	lazy
)

const (
	// lazyShare is the part of the time of urgent ones, as a divisor, that the
	// others get all the same. Counted by how often, not in time, a lane that panics at
	// every event took an eighth of two processors from a healthy one.
	lazyShare = 25
	// lazyBurst is the most that they can have saved up, or overdrawn.
	lazyBurst = 10 * time.Millisecond
)

// count brings the credit up to now. The caller holds mu.
func (p *processors) count() {
	now := p.now()
	d := max(now.Sub(p.at), 0) // clocks go back at times
	p.at = now
	if p.inside[urgent] == 0 && len(p.queue[urgent]) == 0 {
		return // they are in nobody's way
	}
	p.credit += time.Duration(p.inside[urgent]) * d / lazyShare
	p.credit -= time.Duration(p.inside[lazy]) * d
	p.credit = max(min(p.credit, lazyBurst), -lazyBurst)
}

func rank(isUrgent bool) int {
	if isUrgent {
		return urgent
	}
	return lazy
}

func (p *processors) enter(isUrgent bool) {
	p.mu.Lock()
	p.count()
	ch := make(chan struct{})
	r := rank(isUrgent)
	p.queue[r] = append(p.queue[r], ch)
	p.admit()
	p.mu.Unlock()
	<-ch
}

// admit lets in whom it may. The caller holds mu.
func (p *processors) admit() {
	for p.free > 0 {
		r := urgent
		mayLazy := p.credit > 0 || p.inside[urgent] == 0 && len(p.queue[urgent]) == 0
		if mayLazy && len(p.queue[lazy]) > 0 && (p.inside[lazy] == 0 || p.inside[urgent] == 0) {
			r = lazy
		} else if len(p.queue[urgent]) == 0 {
			return
		}
		close(p.queue[r][0])
		p.queue[r] = p.queue[r][1:]
		p.free--
		p.inside[r]++
	}
}

// another says whether a further urgent goroutine would find a place that
// nobody as urgent waits for: a free one, or one that is soon given up.
func (p *processors) another() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue[urgent]) == 0 && p.free+p.inside[lazy] > 0
}

// yield lets those go first that are urgent. The caller is inside and is not.
func (p *processors) yield() {
	p.mu.Lock()
	p.count()
	wanted := len(p.queue[urgent])+p.inside[urgent] > 0 && p.credit <= 0
	p.mu.Unlock()
	if wanted {
		p.leave(false)
		p.enter(false)
	}
}

func (p *processors) leave(wasUrgent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count()
	p.free++
	p.inside[rank(wasUrgent)]--
	p.admit()
}

// slice lets goroutines run that wait for a processor, in between of what takes
// long: those of lanes that send small requests one after the other compute for
// microseconds, and would wait each time for the ten milliseconds after which the
// scheduler takes a processor away. Beside four lanes that map heavily such a lane
// took fifteen times as long without (BenchmarkSmallRequests).
type slice struct {
	now   func() time.Time
	since time.Time
}

const sliceTime = 100 * time.Microsecond

// over gives way when the slice has taken long enough.
func (s *slice) over() {
	now := s.now()
	if d := now.Sub(s.since); d >= 0 && d < sliceTime {
		return
	}
	if !s.since.IsZero() {
		runtime.Gosched()
		now = s.now()
	}
	s.since = now
}
