package engine

import (
	"context"
	"slices"
	"sync"
	"time"
)

// ring holds the blocks between the slowest and the fastest lane, within its budget.
type ring struct {
	now func() time.Time

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	blocks   []*block
	bytes    int64  // of all that the blocks hold
	own      int64  // of their texts and indexes alone
	budget   int64  // for bytes, as long as no lane starves; then for own
	needs    int64  // bytes of a block for which there is no room yet; 0: there is none
	head     uint64 // ordinal after the last block
	ended    bool   // no more blocks will come
	closed   bool
	cursors  map[*reader]uint64    // the ordinal that each lane reads next
	standing map[*reader]standing  // lanes that are busy are waited for, others are not
	late     map[*reader]time.Time // when a lane was last waited for without success
	most     int64                 // bytes of large chunks that lanes may hold together
	large    map[*reader]largeHold
}

func newRing(budget int64, now func() time.Time) *ring {
	return &ring{now: now, changed: make(chan struct{}), budget: budget, cursors: map[*reader]uint64{},
		standing: map[*reader]standing{}, late: map[*reader]time.Time{}, large: map[*reader]largeHold{}}
}

func (r *ring) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// push adds a block. It waits while the ring is full and no lane has read all of it. The front follows the fastest
// lane; a lane that is too far behind falls off the tail. How far that is depends on the blocks alone, not on what was
// routed ahead: a lane gives its part back as it goes, nothing is routed ahead for one that lags (see nearBlocks), and
// to read the input again would take it more time and memory than all that is kept for it here.
func (r *ring) push(ctx context.Context, b *block, stop <-chan struct{}) bool {
	grace := true
	for {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			b.release()
			return false
		}
		starved := false
		for _, at := range r.cursors {
			starved = starved || at >= r.head && at != done
		}
		r.trim(0, grace)
		hasRoom := func() bool {
			return len(r.blocks) == 0 || r.bytes+b.bytes <= r.budget || starved && r.own+b.own <= r.budget
		}
		if !hasRoom() && starved {
			r.trim(b.own, grace)
		}
		if hasRoom() {
			r.blocks = append(r.blocks, b)
			r.bytes += b.bytes
			r.own += b.own
			r.needs = 0
			r.head = b.end.Ordinal
			r.signal()
			r.mu.Unlock()
			return true
		}
		ch := r.changed
		r.needs = b.bytes
		r.mu.Unlock()
		var over <-chan time.Time
		waits := starved && grace
		if waits {
			over = time.After(tailGrace)
		}
		select {
		case <-ch:
		case <-over:
			grace = false
			r.mu.Lock()
			for l, at := range r.cursors {
				if len(r.blocks) > 0 && at < r.blocks[0].end.Ordinal && r.standing[l] == awaits {
					r.late[l] = r.now()
				}
			}
			r.mu.Unlock()
		case <-ctx.Done():
			b.release()
			return false
		case <-stop:
			b.release()
			return false
		}
	}
}

// lighten notes that a block holds n bytes less than before, if it is in the ring.
func (r *ring) lighten(b *block, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n == 0 || !slices.Contains(r.blocks, b) {
		return
	}
	b.bytes -= n
	r.bytes -= n
	if r.needs > 0 && r.bytes+r.needs <= r.budget {
		r.signal()
	}
}

// done is the cursor of a lane that reads no more.
const done = ^uint64(0)

// tailGrace is how long the front waits for lanes that are at the ring's tail and wait for their partners, because
// reading the blocks again would cost such a lane far more. A lane for which the wait was in vain is not waited
// for again for a while, so that all these waits take less than a hundredth of the time.
const (
	tailGrace  = 30 * time.Millisecond
	graceAgain = 5 * time.Second
)

// standing is what a lane is doing, for deciding whether to wait for it.
type standing uint8

const (
	busy    standing = iota // routes its events: lanes that share the processors progress at about the same pace
	awaits                  // waits for its partner
	nowhere                 // its partner accepts nothing, or it has stopped
)

// trim drops the blocks that every lane has passed, and as many more of the oldest as room requires.
func (r *ring) trim(room int64, grace bool) {
	least := uint64(done)
	for _, at := range r.cursors {
		least = min(least, at)
	}
	for len(r.blocks) > 0 {
		b := r.blocks[0]
		if b.end.Ordinal > least && (room == 0 || r.own+room <= r.budget || r.wanted(b, grace)) {
			return
		}
		r.blocks[0] = nil
		r.blocks = r.blocks[1:]
		r.bytes -= b.bytes
		r.own -= b.own
		b.release()
	}
}

// wanted says whether a lane still has to read a block and is about to: it waits for a processor, not for its
// partner. Lanes that share the processors progress at about the same pace, and letting each of them read the
// block for itself would cost all of them more than a short wait.
func (r *ring) wanted(b *block, grace bool) bool {
	for l, at := range r.cursors {
		if at >= b.end.Ordinal {
			continue
		}
		waits := grace && at >= b.start.Ordinal && r.standing[l] == awaits && r.now().Sub(r.late[l]) > graceAgain
		if waits || r.standing[l] == busy {
			return true
		}
	}
	return false
}

// largeChunk is the length in bytes from which only a few lanes may route a chunk at the same time, because each
// of them makes copies of it.
const largeChunk = 3 << 20

// takeLarge says whether a lane may take a large chunk now. If not, it returns a channel to wait on and how long
// to wait before asking again. All lanes together may hold a quarter of the memory in what they made of large
// chunks. A lane that has held its part so long that its partner must be slow does not count, so that others do
// not wait for it.
func (r *ring) takeLarge(l *reader, n int) (wait <-chan struct{}, again time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	var used int64
	again = largePatience
	for other, h := range r.large {
		if left := largePatience - now.Sub(h.since); other != l && left > 0 {
			used += h.bytes
			again = min(again, left)
		}
	}
	if used > 0 && used+int64(n) > r.most && !r.closed {
		return r.changed, again
	}
	h := r.large[l]
	r.large[l] = largeHold{h.bytes + int64(n), now}
	return nil, 0
}

// largeHold is how much a lane holds of large chunks, and since when.
type largeHold struct {
	bytes int64
	since time.Time
}

// largePatience is how long the large chunks that a lane holds count against the others.
const largePatience = 2 * time.Second

func (r *ring) giveLarge(l *reader, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.large[l]
	if h.bytes -= int64(n); h.bytes <= 0 {
		delete(r.large, l)
	} else {
		r.large[l] = h
	}
	r.signal()
}

// stands notes what a lane is doing.
func (r *ring) stands(l *reader, why standing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.standing[l] != why {
		r.standing[l] = why
		r.signal()
	}
}

func (r *ring) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.signal()
}

func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.ended = true, true
	for _, b := range r.blocks {
		b.release()
	}
	r.blocks, r.bytes, r.own = nil, 0, 0
	r.signal()
}

// want notes the ordinal that a lane reads next.
func (r *ring) want(l *reader, at uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	starved := at >= r.head
	r.cursors[l] = at
	if starved || len(r.blocks) > 0 && r.blocks[0].end.Ordinal <= at {
		r.trim(0, false)
		r.signal()
	}
}

// ahead is how many blocks in the ring the lane has not read yet. If it has fallen off the tail, it is all of them
// and one more.
func (r *ring) ahead(l *reader) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.cursors[l]
	for _, b := range r.blocks {
		if at < b.end.Ordinal {
			n++
		}
	}
	if at == done || len(r.blocks) > 0 && at < r.blocks[0].start.Ordinal || len(r.blocks) == 0 && at < r.head {
		n = max(n, nearBlocks) + 1
	}
	return n
}

// get returns the block that contains an ordinal, retained. If there is none, it says that the ordinal is behind
// the tail, or returns a channel to wait on, or nothing at the end of the input.
func (r *ring) get(at uint64) (b *block, behind bool, wait <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.blocks) > 0 && at < r.blocks[0].start.Ordinal || len(r.blocks) == 0 && at < r.head {
		return nil, true, nil
	}
	for _, b := range r.blocks {
		if at < b.end.Ordinal {
			b.retain()
			return b, false, nil
		}
	}
	if r.ended {
		return nil, false, nil
	}
	return nil, false, r.changed
}
