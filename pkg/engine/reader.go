package engine

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// reader keeps a lane's place in the input: a cursor in the ring, or, when the lane has fallen off the ring's
// tail, its own reading of the source. It belongs to the routing goroutine.
type reader struct {
	ring   *ring
	again  func(ctx context.Context, from journal.Mark, yield func(*block) bool) error // reads the source again
	linger time.Duration
	cursor journal.Mark // read up to here

	next   func() (*block, error, bool) // next block of its own reading; nil: there is none
	end    func()
	failed int                                  // failures of its own reading in a row
	told   func(err error, again time.Duration) // called when its own reading is started again; nil: not needed
}

// A failure of reading may pass (a file server that restarts, too many open files), and a lane that stopped for it
// would have to wait for the next run. So the lane tries again a few times from where it is, and doubles the wait
// each time.
const (
	readAgainMost  = 4
	readAgainAfter = 250 * time.Millisecond
)

// newReader makes a reader that begins at a mark.
func newReader(r *ring, from journal.Mark, linger time.Duration) *reader {
	rd := &reader{ring: r, cursor: from, linger: linger}
	r.want(rd, from.Ordinal)
	return rd
}

// waiting is what else a waiting reader listens to.
type waiting struct {
	stop <-chan struct{} // the run ends early
	wake <-chan struct{} // something has changed in the lane
	idle func()          // called when there has been nothing to read for a while
	over func() bool     // the lane takes no more events
}

// read returns the block at or after the cursor, from the ring or from the reader's own reading; nil at the end of
// the input, or when the lane takes no more.
func (r *reader) read(ctx context.Context, w waiting) (*block, error) {
	for {
		b, behind, wait := r.ring.get(r.cursor.Ordinal)
		switch {
		case b != nil:
			r.endOwn() // it has caught up with the ring
			return b, nil
		case behind:
			return r.readOwn(ctx, w)
		case wait == nil:
			return nil, nil
		}
		r.await(ctx, wait, w)
		if w.over() || ctx.Err() != nil {
			return nil, nil
		}
	}
}

// await waits for the ring to change. If that takes long, the open batches are not kept waiting for more events.
func (r *reader) await(ctx context.Context, change <-chan struct{}, w waiting) {
	linger := time.NewTimer(r.linger)
	defer linger.Stop()
	for {
		select {
		case <-change:
		case <-ctx.Done():
		case <-w.stop:
		case <-w.wake:
		case <-linger.C:
			w.idle()
			continue
		}
		return
	}
}

// readOwn reads the source itself, and tries again when that fails. It uses a single goroutine, because nobody
// waits for a lane that lags.
func (r *reader) readOwn(ctx context.Context, w waiting) (*block, error) {
	for {
		if r.next == nil {
			from := r.cursor
			r.next, r.end = iter.Pull2(func(yield func(*block, error) bool) {
				if err := r.again(ctx, from, func(b *block) bool { return yield(b, nil) }); err != nil {
					yield(nil, err)
				}
			})
		}
		b, err, ok := r.next()
		if err == nil {
			r.failed = 0
			if !ok {
				return nil, nil
			}
			return b, nil
		}
		r.endOwn()
		if r.failed++; r.failed > readAgainMost || isLasting(err) || ctx.Err() != nil {
			return nil, err
		}
		wait := readAgainAfter << (r.failed - 1)
		if r.told != nil {
			r.told(err, wait)
		}
		if !r.pause(ctx, wait, w) {
			return nil, err
		}
	}
}

// isLasting says whether reading again cannot help: the input has changed, or its address is wrong.
func isLasting(err error) bool {
	var changed *source.ChangedError
	var wrong *source.InputError
	return errors.As(err, &changed) || errors.As(err, &wrong)
}

// pause waits; false: the lane takes no more events.
func (r *reader) pause(ctx context.Context, d time.Duration, w waiting) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		case <-w.stop:
			return false
		case <-w.wake:
			if w.over() {
				return false
			}
		}
	}
}

func (r *reader) endOwn() {
	if r.end != nil {
		r.end()
		r.next, r.end = nil, nil
	}
}

// pass moves the cursor past a block.
func (r *reader) pass(b *block) {
	r.cursor = b.end
	b.release()
	r.ring.want(r, r.cursor.Ordinal)
}

// takeLarge waits until the lane may take a large chunk; false: the lane has ended.
func (r *reader) takeLarge(ctx context.Context, n int, stop <-chan struct{}) bool {
	for {
		wait, again := r.ring.takeLarge(r, n)
		if wait == nil {
			return true
		}
		timer := time.NewTimer(again)
		select {
		case <-wait:
			timer.Stop()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-stop:
			timer.Stop()
			return false
		}
	}
}

// close says that the lane reads no more.
func (r *reader) close() {
	r.ring.want(r, done)
	r.endOwn()
}
