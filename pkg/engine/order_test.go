package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
)

// TestSequencer sends batches of random users with random failures: a user's deliveries
// arrive in their order, each once, and one that is tried again holds up nobody but its
// user.
func TestSequencer(t *testing.T) {
	for seed := range 200 {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		plan := &destination.Plan{
			Order: true,
			Actions: []destination.ActionPlan{
				{Slug: "a", Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 1 + rng.IntN(6)}}},
			},
		}
		released := uint64(0)
		q := newQueue(plan, PackOptions{Concurrency: 1 + rng.IntN(4)}, &released)
		n, users := 300, 1+rng.IntN(30)
		lb := testBlock(0, make([]int, n)...)
		next, arrived := 0, 0
		last := map[uint64]uint64{}
		for arrived < n {
			for range rng.IntN(20) {
				if next < n {
					lb.events[next].open = 1
					q.offer(
						&work{
							ev:   &lb.events[next],
							d:    &destination.Delivery{Item: []byte("x")},
							user: uint64(rng.IntN(users)),
							id:   journal.DeliveryID{Ordinal: uint64(next)},
						},
					)
					if next++; next == n {
						q.flush()
					}
				}
			}
			var flying []*batch
			for range 1 + rng.IntN(4) {
				if b, _ := q.pick(epoch, func(*batch) (time.Duration, bool) { return 0, true }); b != nil {
					flying = append(flying, b)
				}
			}
			rng.Shuffle(len(flying), func(i, j int) { flying[i], flying[j] = flying[j], flying[i] })
			for _, b := range flying {
				delete(q.apart, b)
				q.returned(b.bytes)
				var again []*work
				failed := map[uint64]bool{}
				for _, w := range b.works {
					// The partner takes nothing behind what it has not taken.
					if failed[w.user] && w.user != 0 || rng.IntN(5) == 0 {
						failed[w.user] = true
						again = append(again, w)
						continue
					}
					arrived++
					if at, ok := last[w.user]; ok && w.user != 0 && at > w.id.Ordinal {
						t.Fatalf("seed %d: of user %d, %d arrives before %d", seed, w.user, at, w.id.Ordinal)
					}
					last[w.user] = w.id.Ordinal
				}
				var rest *batch
				if len(again) > 0 {
					rest = q.retry(b, again, epoch)
				}
				q.finish(b, rest, b.works)
			}
			if len(flying) == 0 && next == n && !q.sends() && arrived < n {
				t.Fatalf(
					"seed %d: %d of %d arrived, and nothing goes any more; %d held, %d behind",
					seed,
					arrived,
					n,
					q.seq.held,
					len(q.seq.behind),
				)
			}
		}
		if !q.idle() || released != 0 || len(q.seq.users) != 0 {
			t.Errorf("seed %d: at the end %d users are known, %d were released", seed, len(q.seq.users), released)
		}
	}
}
