package cmd

import (
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// releaser is a source that keeps copies of its input until they have been
// passed: spooled standard input, fetched objects.
type releaser interface {
	Release(upTo source.Position) error
}

// releasePassed drops, as the run goes on, what every lane has durably passed. A
// spool that is full goes on reading only then. The function that it returns
// stops it and gives its error.
func releasePassed(src source.Source, lanes []*journal.Lane) (stop func() error) {
	r, ok := src.(releaser)
	if !ok || len(lanes) == 0 {
		return func() error { return nil }
	}
	quit, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		var last source.Position
		for {
			select {
			case <-quit:
				done <- nil
				return
			case <-tick.C:
			}
			low := lowest(lanes)
			if low.Compare(last) <= 0 {
				continue
			}
			last = low
			if err := r.Release(low); err != nil {
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

// lowest is the position that every lane has durably passed.
func lowest(lanes []*journal.Lane) source.Position {
	low := lanes[0].Durable().Position
	for _, l := range lanes[1:] {
		if p := l.Durable().Position; p.Compare(low) < 0 {
			low = p
		}
	}
	return low
}
