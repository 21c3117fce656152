package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// coded is a Sender whose Send is what a test says.
type coded struct {
	scripted
	send func(ctx context.Context, n int) ([]destination.Result, error)
}

func (c coded) Send(ctx context.Context, _ destination.Transport, b *destination.Batch) ([]destination.Result, error) {
	return c.send(ctx, len(b.Deliveries))
}

// TestSenderOutlivesItsDestination: whatever a destination's code does, there is an
// answer, in bounded time.
func TestSenderOutlivesItsDestination(t *testing.T) {
	end := errors.New("connection reset")
	for name, c := range map[string]struct {
		send func(ctx context.Context, n int) ([]destination.Result, error)
		want string // of the error; "": an answer
		hung bool
	}{
		"answers": {func(_ context.Context, n int) ([]destination.Result, error) {
			return make([]destination.Result, n), nil
		}, "", false},
		"fails":  {func(context.Context, int) ([]destination.Result, error) { return nil, end }, "reset", false},
		"panics": {func(context.Context, int) ([]destination.Result, error) { panic("oh") }, "panic", false},
		"cannot count": {func(context.Context, int) ([]destination.Result, error) { return nil, nil }, "0 results for 3",
			false},
		"is late": {func(ctx context.Context, _ int) ([]destination.Result, error) { <-ctx.Done(); return nil, ctx.Err() },
			"deadline", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sender{to: coded{send: c.send}, timeout: 10 * time.Second}
				lb := testBlock(0, 1, 1, 1)
				rs, err := s.send(t.Context(), s.trip([]*work{&lb.works[0], &lb.works[1], &lb.works[2]}), epoch)
				if c.want == "" && (err != nil || len(rs) != 3) ||
					c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) ||
					s.hung.Load() {
					t.Errorf("%v, %v", rs, err)
				}
			})
		})
	}
	t.Run("hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			forever := make(chan struct{})
			defer close(forever)
			s := &sender{
				timeout: 10 * time.Second,
				to: coded{send: func(context.Context, int) ([]destination.Result, error) {
					<-forever
					return nil, nil
				}},
			}
			lb := testBlock(0, 1)
			start := time.Now()
			if _, err := s.send(t.Context(), s.trip([]*work{&lb.works[0]}), epoch); err == nil || !s.hung.Load() ||
				time.Since(start) != 15*time.Second {
				t.Errorf("after %s: %v", time.Since(start), err)
			}
		})
	})
}
