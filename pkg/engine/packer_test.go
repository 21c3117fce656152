package engine_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
)

// TestPacker packs random deliveries under random caps: every one goes out once, no
// request is over a cap, and a user's deliveries go in their order when the requests
// do, of which as many in a row as may be in flight have no user in common.
func TestPacker(t *testing.T) {
	for seed := range 300 {
		rng := rand.New(rand.NewPCG(uint64(seed), 5))
		most := []int{1, 3, 20, 500}[rng.IntN(4)]
		plan := &destination.Plan{Order: rng.IntN(2) == 0}
		for i := range 1 + rng.IntN(3) {
			events := most
			if i == 1 {
				events = 1
			}
			plan.Actions = append(
				plan.Actions,
				destination.ActionPlan{Slug: fmt.Sprint("a", i), Overhead: 10, PerItem: 1,
					Limits: destination.ActionLimits{
						BatchEvents: destination.Cap{N: events},
						BatchBytes:  destination.Cap{N: 100 + rng.IntN(2000)},
					}},
			)
		}
		o := engine.PackOptions{Concurrency: 1 + rng.IntN(8), Memory: int64(rng.IntN(2) * 20_000)}
		n, users, groups := 2000, 1+rng.IntN(400), 1+rng.IntN(3)
		var to []*destination.Address
		for i := range groups {
			to = append(to, &destination.Address{Key: strconv.Itoa(i)})
		}
		pack := func() (all []*engine.Packed[int], user []uint64) {
			rng := rand.New(rand.NewPCG(uint64(seed), 6))
			p := engine.NewPacker(plan, o, func(b *engine.Packed[int]) { all = append(all, b) })
			for i := range n {
				d := &destination.Delivery{
					Item:   make([]byte, 1+rng.IntN(60)),
					Action: int32(rng.IntN(len(plan.Actions))),
					To:     to[rng.IntN(groups)],
				}
				u := uint64(rng.IntN(users))
				user = append(user, u)
				p.Add(engine.Parcel[int]{Delivery: d, Value: i, User: u, Record: uint64(i), Held: 2 * len(d.Item)})
				if o.Memory > 0 && p.Held() > o.Memory {
					t.Fatalf("seed %d: %d bytes are held, the bound is %d", seed, p.Held(), o.Memory)
				}
			}
			p.Flush()
			if !p.Empty() || p.Held() != 0 {
				t.Fatalf("seed %d: after Flush %d bytes are held", seed, p.Held())
			}
			return all, user
		}
		all, user := pack()
		again, _ := pack()
		seen, last := map[int]bool{}, map[uint64]int{}
		for i, b := range all {
			if !slices.Equal(b.Values, again[i].Values) || b.Bytes != again[i].Bytes {
				t.Fatalf("seed %d: request %d is another when the same is packed again", seed, i)
			}
			limits := plan.Actions[b.Group.Action].Limits
			if len(b.Values) > limits.BatchEvents.N || b.Bytes > limits.BatchBytes.N && len(b.Values) > 1 ||
				len(b.Values) == 0 {
				t.Errorf("seed %d: a request of %d events and %d bytes", seed, len(b.Values), b.Bytes)
			}
			for _, v := range b.Values {
				if seen[v] {
					t.Fatalf("seed %d: %d is packed twice", seed, v)
				}
				seen[v] = true
				if at, ok := last[user[v]]; ok && at > v && plan.Order && user[v] != 0 {
					t.Fatalf("seed %d: of user %d, %d goes before %d", seed, user[v], at, v)
				}
				last[user[v]] = v
			}
		}
		if len(seen) != n {
			t.Errorf("seed %d: %d of %d are packed", seed, len(seen), n)
		}
	}
}

// TestNeighboursShareNoUser: where order matters, requests that follow each other can
// be in flight together.
func TestNeighboursShareNoUser(t *testing.T) {
	const events, concurrency = 50, 8
	plan := &destination.Plan{
		Order: true,
		Actions: []destination.ActionPlan{
			{Slug: "a", Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: events}}},
		},
	}
	var all []*engine.Packed[uint64]
	p := engine.NewPacker(
		plan,
		engine.PackOptions{Concurrency: concurrency},
		func(b *engine.Packed[uint64]) { all = append(all, b) },
	)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 { // sessions: the same users again and again, and new ones
		u := uint64(1 + i/10 + rng.IntN(500))
		p.Add(
			engine.Parcel[uint64]{
				Delivery: &destination.Delivery{Item: []byte("x")},
				Value:    u,
				User:     u,
				Record:   uint64(i),
				Held:     1,
			},
		)
	}
	full := len(all)
	p.Flush()
	for i, b := range all[:full] {
		for _, before := range all[max(0, i-concurrency+1):i] {
			for _, u := range b.Values {
				if slices.Contains(before.Values, u) {
					t.Fatalf("request %d has user %d in common with one of the last %d", i, u, concurrency)
				}
			}
		}
	}
	if full < 20_000/events*9/10 {
		t.Errorf("only %d requests are full", full)
	}
}

// requests is a partner that writes down what stands in each request.
func requests(rng *rand.Rand, batch, bytes int) (p *partner, all func() []string) {
	var got []string
	p = newPartner(batch)
	p.delay = time.Duration(rng.IntN(200)) * time.Millisecond
	p.plan.Actions = append(
		p.plan.Actions,
		destination.ActionPlan{
			Slug:   "other",
			Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: batch/2 + 1}},
		},
	)
	p.plan.Actions[0].Limits.BatchBytes.N = bytes
	p.route = func(_ *event.Event, n int, out *destination.Deliveries) {
		id := strconv.Itoa(n)
		d := destination.Delivery{Item: bytesOf(n), InsertID: id, Action: int32(n % 7 / 6)}
		if n%3 == 0 {
			d.To = &destination.Address{Key: strconv.Itoa(n % 2)}
		}
		out.Add(d)
	}
	p.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
		got = append(got, fmt.Sprint(ids))
		return ok(len(ids)), nil
	}
	return p, func() []string { slices.Sort(got); return got }
}

func bytesOf(n int) []byte { return bytes.Repeat([]byte("x"), 20+n%50) }

// TestSameRequestsWhateverTheTime runs one archive against partners of various speeds,
// alone and in company: every time the requests are the same, and the same that a
// Packer makes without a network.
func TestSameRequestsWhateverTheTime(t *testing.T) {
	const n = 3000
	long := strings.Repeat("u", 700) // events that wait take all memory there is, where there is little
	user := func(i int) string { return fmt.Sprint(long, i/20+i*i%13) }
	path := input(t, n, user)
	for _, order := range []bool{false, true} {
		for _, memory := range []int64{0, 4 << 20} {
			t.Run(fmt.Sprint("order ", order, " memory ", memory), func(t *testing.T) {
				want := packed(t, path, order, memory, requests)
				for seed := range 3 {
					synctest.Test(t, func(t *testing.T) {
						p, all := requests(rand.New(rand.NewPCG(uint64(seed), 1)), 90, 3000)
						p.plan.Order = order
						s := setup{
							path:   path,
							dir:    t.TempDir(),
							lanes:  []engine.LaneConfig{lane("a", p)},
							change: func(c *engine.Config) { c.Memory = memory },
						}
						if seed == 2 { // beside a slow one, so that the ring is full at times
							slow := newPartner(10)
							slow.delay = time.Second
							s.lanes = append(s.lanes, lane("slow", slow))
							if memory > 0 {
								return // two lanes have other budgets than one
							}
						}
						s.mustRun(t)
						once(t, p, n)
						if got := all(); !slices.Equal(got, want) {
							t.Errorf(
								"seed %d: %d requests, without a network %d; %s",
								seed,
								len(got),
								len(want),
								difference(got, want),
							)
						}
						if order && p.most < 2 {
							t.Error("requests never overlapped")
						}
					})
				}
			})
		}
	}
}

func difference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return "the first that differs is " + got[i] + ", want " + want[i]
		}
	}
	return "one is a part of the other"
}

// packed are the requests of an archive as a Packer makes them by itself.
func packed(
	t *testing.T,
	path string,
	order bool,
	memory int64,
	make func(*rand.Rand, int, int) (*partner, func() []string),
) (all []string) {
	t.Helper()
	p, _ := make(rand.New(rand.NewPCG(1, 1)), 90, 3000)
	p.plan.Order = order
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	packer := engine.NewPacker(
		&p.plan,
		engine.PackOptionsOf(&p.plan, engine.Options{}, memory, 1),
		func(b *engine.Packed[int]) {
			all = append(all, fmt.Sprint(b.Values))
		},
	)
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		ev, err := event.Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		var list destination.Deliveries
		p.Route(ev, &destination.Env{}, &list)
		for k := range list.List {
			d := &list.List[k]
			packer.Add(
				engine.Parcel[int]{
					Delivery: d,
					Value:    i,
					User:     engine.UserKey(ev),
					Record:   uint64(i),
					Held:     len(d.Item) + len(line),
				},
			)
		}
	}
	packer.Flush()
	slices.Sort(all)
	return all
}

// TestPackAsBegun: what was in one request at the end of an earlier process is in one again,
// whatever comes between and however much would fit.
func TestPackAsBegun(t *testing.T) {
	for _, order := range []bool{false, true} {
		plan := &destination.Plan{Order: order, Actions: []destination.ActionPlan{{}}}
		plan.Actions[0].Limits.BatchEvents.N = 5
		var got []string
		p := engine.NewPacker(plan, engine.PackOptions{Concurrency: 2}, func(b *engine.Packed[int]) {
			got = append(got, fmt.Sprint(b.Values))
		})
		// 0, 3 and 4 were in one request, 1 and 7 in another, of which 9 never comes again.
		begun := map[int]int32{0: 1, 3: 1, 4: 1, 1: 2, 7: 2}
		of := map[int32]int32{1: 3, 2: 3}
		for i := range 9 {
			n := begun[i]
			p.Add(engine.Parcel[int]{Delivery: &destination.Delivery{Item: []byte("x")}, Value: i, User: uint64(i + 1),
				Record: uint64(i), Apart: n, Of: of[n]})
		}
		p.Flush()
		slices.Sort(got)
		if want := "[[0 3 4] [1 7] [2 5 6 8]]"; fmt.Sprint(got) != want || !p.Empty() {
			t.Errorf("order %v: %v, want %s", order, got, want)
		}
	}
}

// TestOnceARequest: what a partner takes only once a request stands in no request twice, and all
// goes out, in the order of each name.
func TestOnceARequest(t *testing.T) {
	for seed := range 100 {
		rng := rand.New(rand.NewPCG(uint64(seed), 9))
		plan := &destination.Plan{Order: rng.IntN(2) == 0, Actions: []destination.ActionPlan{{Slug: "a", Once: "id",
			Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 1 + rng.IntN(50)}}}}}
		names, got, last := []string{}, 0, map[string]int{}
		p := engine.NewPacker(plan, engine.PackOptions{Concurrency: 1 + rng.IntN(4)}, func(b *engine.Packed[int]) {
			in := map[string]bool{}
			for _, i := range b.Values {
				if name := names[i]; name != "" {
					if in[name] || i < last[name] {
						t.Fatalf("seed %d: %s stands in a request twice, or comes after a later one", seed, name)
					}
					in[name], last[name] = true, i
				}
			}
			got += len(b.Values)
		})
		n, few := 500, 1+rng.IntN(60)
		for i := range n {
			k := rng.IntN(few)
			name, item := fmt.Sprint("n-", k), fmt.Sprintf(`{"id":"N-%d"}`, k) // whatever its case
			if k == 0 {
				name, item = "", `{}`
			}
			names = append(names, name)
			p.Add(engine.Parcel[int]{Delivery: &destination.Delivery{Item: []byte(item)}, Value: i,
				User: uint64(1 + k), Record: uint64(i), Held: 20})
		}
		p.Flush()
		if got != n {
			t.Fatalf("seed %d: %d of %d went out", seed, got, n)
		}
	}
}

// TestPackAsBegunInOrder: where users wait for each other, a request that is made again lists
// its deliveries as it did before: in the order of the input.
func TestPackAsBegunInOrder(t *testing.T) {
	for seed := range 200 {
		rng := rand.New(rand.NewPCG(uint64(seed), 9))
		users := make([]uint64, 200)
		for i := range users {
			users[i] = 1 + rng.Uint64N(7)
		}
		plan := &destination.Plan{Order: true, Actions: []destination.ActionPlan{{}}}
		plan.Actions[0].Limits.BatchEvents.N = 10
		pack := func(skip func(i int) bool, begun map[int]int32, of map[int32]int32) (all [][]int) {
			p := engine.NewPacker(plan, engine.PackOptions{Concurrency: 4}, func(b *engine.Packed[int]) {
				all = append(all, b.Values)
			})
			for i, u := range users {
				if !skip(i) {
					p.Add(engine.Parcel[int]{Delivery: &destination.Delivery{Item: []byte("x")}, Value: i, User: u,
						Record: uint64(i), Apart: begun[i], Of: of[begun[i]]})
				}
			}
			p.Flush()
			return all
		}
		first := pack(func(int) bool { return false }, nil, nil)
		settled := rng.IntN(len(first)) // and the one after them was begun
		begun, done := map[int]int32{}, map[int]bool{}
		for n, b := range first[:settled+1] {
			for _, i := range b {
				if done[i] = n < settled; n == settled {
					begun[i] = 1
				}
			}
		}
		again := pack(func(i int) bool { return done[i] }, begun, map[int32]int32{1: int32(len(first[settled]))})
		if !slices.ContainsFunc(again, func(b []int) bool { return slices.Equal(b, first[settled]) }) {
			t.Fatalf("seed %d: %v was begun, and is not made again: %v", seed, first[settled], again)
		}
	}
}
