package engine

import (
	"runtime"
	"sync"
	"time"
)

// processors admits as many goroutines to CPU work as there are processors. Urgent ones, of lanes that make
// progress, go first; the others get in only while no urgent one runs or waits. So that nobody starves, one of the
// others is admitted now and then, until its next yield, for a small share of the time that urgent ones take.
type processors struct {
	now func() time.Time

	mu     sync.Mutex
	free   int
	inside [2]int
	queue  [2][]chan struct{}
	credit time.Duration // time that lazy ones may still take while urgent ones wait
	at     time.Time     // when credit was last updated
}

func newProcessors(n int, now func() time.Time) *processors { return &processors{now: now, free: n} }

// The two kinds of work: that of lanes that make progress, and the rest.
const (
	urgent = iota
	lazy
)

const (
	// lazyShare is the share of the CPU time of urgent goroutines, as a divisor, that the others get anyway. The
	// share is counted in time: counted in admissions, a lane that panics at every event took an eighth of two
	// processors away from a healthy one.
	lazyShare = 25
	// lazyBurst is the most time that lazy goroutines can save up, or overdraw.
	lazyBurst = 10 * time.Millisecond
)

// count updates the credit to now. The caller holds mu.
func (p *processors) count() {
	now := p.now()
	d := max(now.Sub(p.at), 0) // the clock may go back
	p.at = now
	if p.inside[urgent] == 0 && len(p.queue[urgent]) == 0 {
		return // nobody urgent waits for them
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

// admit lets in every goroutine that may go now. The caller holds mu.
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

// another says whether one more urgent goroutine would find a place that no other urgent one waits for: a free
// one, or one that will be yielded soon.
func (p *processors) another() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue[urgent]) == 0 && p.free+p.inside[lazy] > 0
}

// yield lets urgent goroutines go first. The caller is inside and is not urgent.
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

// slice gives up the processor now and then during long work, so that other goroutines can run. Lanes that send
// small requests one after the other compute for microseconds; without this they would wait each time for the ten
// milliseconds after which the scheduler preempts a goroutine. Beside four lanes that map heavily, such a lane
// took fifteen times as long (BenchmarkSmallRequests).
type slice struct {
	now   func() time.Time
	since time.Time
}

const sliceTime = 100 * time.Microsecond

// over yields the processor when the slice has lasted long enough.
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
