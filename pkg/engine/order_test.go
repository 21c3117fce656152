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
						}, doubted{},
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
				delete(q.immovable, b)
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

// TestBusyUserIsReleased: a user with more deliveries than may wait does not hold up the
// lane; what goes out of its order is counted, and nothing is lost.
func TestBusyUserIsReleased(t *testing.T) {
	plan := &destination.Plan{Order: true, Actions: []destination.ActionPlan{
		{Slug: "a", Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 1}}}}}
	released := uint64(0)
	q := newQueue(plan, PackOptions{Concurrency: 64}, &released)
	const n = 5000
	lb := testBlock(0, make([]int, n)...)
	for i := range n {
		user := uint64(7)
		if i%100 == 0 {
			user = uint64(1000 + i)
		}
		lb.events[i].open = 1
		q.offer(&work{ev: &lb.events[i], d: &destination.Delivery{Item: []byte("x")}, user: user,
			id: journal.DeliveryID{Ordinal: uint64(i)}}, doubted{})
	}
	q.flush()
	yes := func(*batch) (time.Duration, bool) { return 0, true }
	sent := map[uint64]bool{}
	atOnce := 0
	var flying []*batch
	for b, _ := q.pick(epoch, yes); b != nil; b, _ = q.pick(epoch, yes) {
		flying = append(flying, b)
		atOnce++
	}
	if atOnce < n/2 || released < n/2 {
		t.Errorf("%d of %d may go at once, %d were released", atOnce, n, released)
	}
	for len(flying) > 0 {
		b := flying[0]
		flying = flying[1:]
		delete(q.immovable, b)
		q.returned(b.bytes)
		for _, w := range b.works {
			if sent[w.id.Ordinal] {
				t.Fatalf("%d is sent twice", w.id.Ordinal)
			}
			sent[w.id.Ordinal] = true
		}
		q.finish(b, nil, b.works)
		if b, _ := q.pick(epoch, yes); b != nil {
			flying = append(flying, b)
		}
	}
	if len(sent) != n || !q.idle() || len(q.seq.users) != 0 {
		t.Errorf("%d of %d were sent; %d users are left", len(sent), n, len(q.seq.users))
	}
}
