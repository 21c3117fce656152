package engine

import (
	"context"
	"iter"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/transform"
)

// read yields finished blocks after a mark, in order. At most workers goroutines prepare them in parallel.
func (e *Engine) read(ctx context.Context, from journal.Mark, workers int, yield func(*block) bool) error {
	if e.c.Selection.Full(from) {
		return nil
	}
	start := from.Position
	chunks := func(ctx context.Context) iter.Seq2[*source.Chunk, error] {
		return e.c.Source.Chunks(ctx, start, source.First)
	}
	each := func(c *source.Chunk) *block { return e.prepare(c, nil, true, false) }
	w := new(transform.Worker)
	for b, err := range source.Prepare(ctx, chunks, workers, each, (*block).release) {
		if err != nil {
			return err
		}
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

// readAlone reads one block after the other. It is for lanes that lag, of which there may be many.
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
		b := e.prepare(c, l, isUrgent, true)
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
