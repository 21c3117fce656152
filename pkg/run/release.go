package run

import (
	"fmt"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// releaser is a source that keeps copies of its input until they have been passed: spooled standard input, fetched
// objects.
type releaser interface {
	Release(upTo source.Position) error
}

// limited is a releaser that stops reading when it has used up its disk space.
type limited interface {
	Full() (full bool, limit int64)
}

// stuckFor is how long a destination may block a full spool of standard input without its checkpoint moving.
const stuckFor = 15 * time.Minute

// keeper releases, during the run, the input that every lane has durably passed. A full spool can be read on only
// after that, so a lane that makes no progress would in the end block all others. If such a lane has stopped
// already, the input it would have needed is released anyway; if its checkpoint has not moved for long, the lane
// is stopped first. Its events stay pending for a process that is given the same input again.
type keeper struct {
	src     releaser
	lanes   []keptLane
	stopped func(name string) bool
	stop    func(name, why string)

	last  source.Position
	since map[string]heldAt
	gone  map[string]bool
}

type keptLane struct {
	name    string
	durable func() source.Position
}

type heldAt struct {
	at source.Position
	t  time.Time
}

func (k *keeper) step(now time.Time) error {
	low, high := k.bounds()
	if low.Compare(k.last) > 0 {
		k.last = low
		if err := k.src.Release(low); err != nil {
			return err
		}
	}
	l, ok := k.src.(limited)
	if !ok {
		return nil
	}
	full, limit := l.Full()
	if !full || low == high {
		clear(k.since)
		return nil
	}
	for _, lane := range k.lanes[1:] {
		at := lane.durable()
		h, ok := k.since[lane.name]
		if !ok || h.at != at {
			h = heldAt{at, now}
			k.since[lane.name] = h
		}
		switch {
		case k.gone[lane.name] || at != low:
		case k.stopped(lane.name):
			k.gone[lane.name] = true
		case now.Sub(h.t) >= stuckFor:
			k.stop(lane.name, fmt.Sprintf("it has not moved on for %s, and the %d bytes that standard input may take on the "+
				"disk are used up by what it has yet to take", stuckFor, limit))
		}
	}
	return nil
}

// bounds returns the position that every counted lane has passed, and the furthest position of a destination.
func (k *keeper) bounds() (low, high source.Position) {
	low = k.lanes[0].durable() // of the reading itself
	for _, l := range k.lanes[1:] {
		if k.gone[l.name] {
			continue
		}
		p := l.durable()
		if p.Compare(low) < 0 {
			low = p
		}
		if p.Compare(high) > 0 {
			high = p
		}
	}
	return low, high
}

// releasePassed starts a keeper. The returned function ends it and returns its error.
func releasePassed(
	src source.Source, lanes []*journal.Lane, e *engine.Engine, now func() time.Time,
) (stop func() error) {
	r, ok := src.(releaser)
	if !ok || len(lanes) == 0 {
		return func() error { return nil }
	}
	k := &keeper{src: r, since: map[string]heldAt{}, gone: map[string]bool{}, stop: e.StopLane,
		stopped: func(name string) bool {
			return slices.ContainsFunc(e.Progress(), func(p engine.Progress) bool { return p.Name == name && p.Stopped })
		}}
	for _, l := range lanes {
		k.lanes = append(k.lanes, keptLane{l.Name, func() source.Position { return l.Durable().Position }})
	}
	quit, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				done <- nil
				return
			case <-tick.C:
			}
			if err := k.step(now()); err != nil {
				done <- err
				<-quit
				return
			}
		}
	}()
	return func() error {
		close(quit)
		return <-done
	}
}
