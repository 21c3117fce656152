package engine

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// reader owns a lane's place in the input: a cursor over the ring and, when the lane
// has fallen off the ring's tail, a reading of its own. It belongs to the goroutine
// that routes.
type reader struct {
	ring   *ring
	again  func(ctx context.Context, from journal.Mark, yield func(*block) bool) error // reads the source once more
	linger time.Duration
	cursor journal.Mark // read up to here

	next   func() (*block, error, bool) // of a reading of its own; nil: there is none
	end    func()
	failed int                                  // readings of its own in a row that failed
	told   func(err error, again time.Duration) // of one that is begun anew; nil: nobody is
}

// What fails a reading may pass (a server of files that restarts, too many open files), and a
// lane that stopped for it would have to wait for the next run. So it tries again from where
// it stands, a few times, each after twice the time.
const (
	readAgainMost  = 4
	readAgainAfter = 250 * time.Millisecond
)

// newReader makes a reader that stands at a mark.
func newReader(r *ring, from journal.Mark, linger time.Duration) *reader {
	rd := &reader{ring: r, cursor: from, linger: linger}
	r.want(rd, from.Ordinal)
	return rd
}

// waiting is what a reader that waits also listens to.
type waiting struct {
	stop <-chan struct{} // the run ends early
	wake <-chan struct{} // something has changed in the lane
	idle func()          // there has been nothing to read for a while
	over func() bool     // nothing more is wanted
}

// read returns the block that the cursor stands in or before: from the ring, or from a
// reading of its own; nil at the end, or when nothing more is wanted.
func (r *reader) read(ctx context.Context, w waiting) (*block, error) {
	for {
		b, behind, wait := r.ring.get(r.cursor.Ordinal)
		switch {
		case b != nil:
			r.endOwn() // caught up
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

// await waits for the ring to change. When that takes long, what is in the open batches
// need not wait for more.
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

// readOwn reads the source itself, and once more when that fails. One goroutine does that:
// a lane that lags is not waited for.
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

// isLasting says that reading again cannot help: the input is not what it was, or was
// wrongly named.
func isLasting(err error) bool {
	var changed *source.ChangedError
	var wrong *source.InputError
	return errors.As(err, &changed) || errors.As(err, &wrong)
}

// pause waits; false: nothing more is wanted.
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

// pass moves the cursor behind a block.
func (r *reader) pass(b *block) {
	r.cursor = b.end
	b.release()
	r.ring.want(r, r.cursor.Ordinal)
}

// takeLarge waits until the lane may take a large chunk; false: it is over.
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
