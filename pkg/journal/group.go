package journal

import (
	"runtime"
	"time"
)

// grouping decides when the committer yields the processor before it commits, so that requests which are about to
// begin become part of the same commit.
//
// A commit costs as much as a small request. When many goroutines begin requests, the first of them would
// otherwise get a commit of its own. But yielding has a price, too: a goroutine that computes may keep the
// processor for milliseconds. So the committer yields only while thousands of requests begin per second, and stops
// yielding for a while after a yield that took long.
type grouping struct {
	begun   [recentRequests]time.Time // when the last requests began: a ring
	next    int                       // index of the oldest of them
	resume  time.Time                 // no yielding before this time
	backoff time.Duration             // how long yielding was last paused
}

const (
	// maxYields is how often the committer yields before one commit.
	maxYields = 4
	// recentSpan is the time within which the last recentRequests must have begun: one every fifth of a
	// millisecond.
	recentRequests = 16
	recentSpan     = recentRequests * time.Second / 5000
	// slowYield is shorter than the time slice of a goroutine that computes, and longer than the time that
	// goroutines need which only begin a request.
	slowYield = 8 * time.Millisecond
	// The pauses after slow yields grow from minBackoff to maxBackoff.
	minBackoff = time.Second / 4
	maxBackoff = time.Minute
)

// begins notes that a request begins.
func (g *grouping) begins(now time.Time) {
	g.begun[g.next] = now
	g.next = (g.next + 1) % len(g.begun)
}

// pays says whether requests begin so fast that yielding is worth its price.
func (g *grouping) pays(now time.Time) bool {
	if g.resume.Sub(now) > maxBackoff { // the clock was set back
		g.resume = now
	}
	return now.Sub(g.begun[g.next]) < recentSpan && now.After(g.resume)
}

// yielded notes how long a yield took, and says whether it was fast.
func (g *grouping) yielded(from, to time.Time) bool {
	if to.Sub(from) > slowYield {
		g.backoff = min(max(2*g.backoff, minBackoff), maxBackoff)
		g.resume = to.Add(g.backoff)
		return false
	}
	g.backoff -= g.backoff / 256 // one slow yield among many fast ones is soon forgotten
	return true
}

// letOthersBegin yields the processor as long as that makes more requests join the next commit.
func (r *Run) letOthersBegin() {
	r.mu.Lock()
	waiting, from := len(r.waiters), r.opt.Now()
	pays := r.group.pays(from)
	r.mu.Unlock()
	for yields := 0; pays && yields < maxYields; yields++ {
		runtime.Gosched()
		r.mu.Lock()
		before := waiting
		waiting = len(r.waiters)
		fast := r.group.yielded(from, r.opt.Now())
		r.mu.Unlock()
		if !fast || waiting == before {
			return
		}
	}
}
