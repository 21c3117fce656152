package source

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
)

// TestPrepare: what is made of chunks comes in their order, the error of the chunks last, and whatever nobody
// takes is given back.
func TestPrepare(t *testing.T) {
	broken := errors.New("broken")
	chunks := func(n int, fail error) func(context.Context) iter.Seq2[*Chunk, error] {
		return func(context.Context) iter.Seq2[*Chunk, error] {
			return func(yield func(*Chunk, error) bool) {
				for i := range n {
					if !yield(&Chunk{Start: Position{Offset: int64(i)}}, nil) {
						return
					}
				}
				if fail != nil {
					yield(nil, fail)
				}
			}
		}
	}
	for _, workers := range []int{1, 3} {
		for _, take := range []int{0, 1, 7, 100} {
			var made, dropped atomic.Int64
			taken := 0
			var failed error
			for at, err := range Prepare(t.Context(), chunks(20, broken), workers,
				func(c *Chunk) int64 { made.Add(1); return c.Start.Offset }, func(int64) { dropped.Add(1) }) {
				if err != nil {
					failed = err
					break
				}
				if at != int64(taken) {
					t.Fatalf("%d came as number %d", at, taken)
				}
				if taken++; taken > take {
					break
				}
			}
			if whole := take >= 20; whole != errors.Is(failed, broken) || whole && taken != 20 {
				t.Errorf("%d workers: %d were taken, then %v", workers, taken, failed)
			}
			if n := made.Load() - dropped.Load(); n != int64(taken) {
				t.Errorf("%d workers: %d were made, %d dropped, %d taken", workers, made.Load(), dropped.Load(), taken)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range Prepare(ctx, chunks(3, ctx.Err()), 1, func(*Chunk) int { return 0 }, func(int) {}) {
		if err != nil {
			t.Errorf("the end of the context is told as %v", err)
		}
	}
}
