package source

import (
	"context"
	"iter"
)

// Prepare computes a value for every chunk, in at most workers goroutines, ahead of the receiver, and yields the
// values in the order of the chunks. The receiver owns the values it gets; values that it does not take are passed
// to drop. It ends with the first error of the chunks, unless the context has ended.
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

// prepared is the value of a chunk, now or later.
type prepared[T any] struct {
	done chan T
	err  error // from reading the chunks
}

// prepare starts reading. Each chunk that is being worked on, or waits for the receiver, takes a place in slots.
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
