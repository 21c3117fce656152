package source

import (
	"context"
	"iter"
)

// Prepare makes something of every chunk, in goroutines of its own, at most workers at a time, ahead of
// whoever takes it, and yields it in the order of the chunks. What is made belongs to whoever takes
// it; what nobody takes is given to drop. It ends with the first error of the chunks, unless the
// context has ended.
func Prepare[T any](ctx context.Context, chunks func(context.Context) iter.Seq2[*Chunk, error], workers int,
	each func(*Chunk) T, drop func(T),
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		jobs, slots := prepare(inner, chunks, workers, each, drop)
		defer func() {
			cancel()
			for j := range jobs {
				if j.done != nil {
					drop(<-j.done)
				}
			}
		}()
		for j := range jobs {
			if j.err != nil {
				if inner.Err() == nil {
					var none T
					yield(none, j.err)
				}
				return
			}
			made := <-j.done
			<-slots
			if !yield(made, nil) {
				return
			}
		}
	}
}

// prepared is what is, or will be, made of a chunk.
type prepared[T any] struct {
	done chan T
	err  error // of the chunks
}

// prepare begins to read. A place in slots is taken by each chunk that is under way, or waits to be taken.
func prepare[T any](ctx context.Context, chunks func(context.Context) iter.Seq2[*Chunk, error], workers int,
	each func(*Chunk) T, drop func(T),
) (jobs chan prepared[T], slots chan struct{}) {
	jobs, slots = make(chan prepared[T], workers), make(chan struct{}, workers)
	go func() {
		defer close(jobs)
		for c, err := range chunks(ctx) {
			j := prepared[T]{err: err}
			if err == nil {
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				j.done = make(chan T, 1)
				go func() { j.done <- each(c) }()
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				if j.done != nil {
					drop(<-j.done)
				}
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return jobs, slots
}
