package engine

import (
	"context"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transform"
)

// read yields finished blocks after a mark, in order, prepared in parallel by
// at most workers goroutines.
func (e *Engine) read(ctx context.Context, from journal.Mark, workers int, yield func(*block) bool) error {
	if e.c.Selection.Full(from) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type job struct {
		done chan *block
		err  error
	}
	jobs := make(chan job, workers)
	slots := make(chan struct{}, workers) // blocks under way or waiting to be taken
	go func() {
		defer close(jobs)
		for c, err := range e.c.Source.Chunks(ctx, from.Position, source.First) {
			j := job{err: err}
			if err == nil {
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				j.done = make(chan *block, 1)
				go func() { j.done <- e.prepare(c, true, false) }()
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		cancel()
		for j := range jobs {
			if j.done != nil {
				(<-j.done).release()
			}
		}
	}()
	w := new(transform.Worker)
	for j := range jobs {
		if j.err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return j.err
		}
		b := <-j.done
		<-slots
		end, err := e.finish(b, from, w)
		if err != nil {
			b.release()
			return err
		}
		from = b.end
		if !yield(b) || end {
			return nil
		}
	}
	return nil
}

// readAlone reads one block after the other: the reading of a lane that lags,
// of which there may be many.
func (e *Engine) readAlone(ctx context.Context, l *lane, from journal.Mark, yield func(*block) bool) error {
	if e.c.Selection.Full(from) {
		return nil
	}
	w := &transform.Worker{Again: true}
	for c, err := range e.c.Source.Chunks(ctx, from.Position, source.Again) {
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		isUrgent := l.getsSomewhere()
		e.cpu.enter(isUrgent)
		b := e.prepare(c, isUrgent, true)
		e.cpu.leave(isUrgent)
		end, err := e.finish(b, from, w)
		if err != nil {
			b.release()
			return err
		}
		from = b.end
		if !yield(b) || end {
			return nil
		}
	}
	return nil
}
