package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
)

// sent is what a pacer let through, and when.
type sent struct {
	at   time.Time
	cost float64
}

// most is the largest sum in any span of a window's length: what a partner counts
// that counts strictly.
func most(all []sent, window time.Duration) float64 {
	best, sum, first := 0.0, 0.0, 0
	for _, s := range all {
		sum += s.cost
		for s.at.Sub(all[first].at) > window {
			sum -= all[first].cost
			first++
		}
		best = max(best, sum)
	}
	return best
}

// flood sends batches of so many events as fast as the pacer lets it, for a while of
// simulated time.
func flood(p *pacer, now time.Time, action int32, events func() int, span time.Duration) (all []sent) {
	for end := now.Add(span); now.Before(end); {
		n := events()
		for {
			d := p.wait(now, action, n, n*100)
			if d <= 0 {
				break
			}
			now = now.Add(d)
		}
		all = append(all, sent{now, float64(n)})
	}
	return all
}

// TestEveryUnitIsCounted: a unit that a rate can be of has a name, is counted by the pacer, can be written by a user,
// who is told how, and is told in a plan. A new one fails here until that is so.
func TestEveryUnitIsCounted(t *testing.T) {
	shown := map[destination.Unit]bool{}
	for _, text := range strings.Split(strings.ReplaceAll(destination.RateForms, " or ", ", "), ", ") {
		r, err := destination.ParseRate(text)
		if err != nil {
			t.Fatal(err)
		}
		shown[r.Of] = true
	}
	names := map[string]bool{"": true}
	for _, u := range destination.Units() {
		if names[u.String()] || !shown[u] {
			t.Errorf("unit %d is called %q, and RateForms shows a rate of it: %v", u, u, shown[u])
		}
		names[u.String()] = true
		text := map[destination.Unit]string{destination.Requests: "6/m", destination.Events: "6events/m",
			destination.Bytes: "6B/m"}[u]
		r, err := destination.ParseRate(text)
		if err != nil || r == nil || r.Of != u {
			t.Errorf("%s: a user cannot write them: %v, %v", u, r, err)
			continue
		}
		b := bucket{of: u}
		if one, more := b.cost(1, 1, 1), b.cost(2, 2, 2); one <= 0 || more <= one {
			t.Errorf("%s: %v for one, %v for two", u, one, more)
		}
		plan := &destination.Plan{Actions: []destination.ActionPlan{{Slug: "a", Requests: 1}}}
		f := NewForecast(scripted{plan}, Options{PaceOptions: PaceOptions{Rate: r}})
		for range 10 {
			f.Request(0, 1, 1)
		}
		if k, ok := f.Binding(); !ok || k.What != u.String() || f.Span() < time.Minute {
			t.Errorf("%s: ten of six a minute take %v (%+v)", u, f.Span(), k)
		}
	}
}

// costOf is what a request counts towards a rate of a unit, counted by hand. What is missing here fails the tests that
// walk all units: a new one needs its line, and then the tests say where it is not counted yet.
func costOf(t *testing.T, u destination.Unit, deliveries, bytes int) float64 {
	t.Helper()
	cost, is := map[destination.Unit]float64{
		destination.Requests: 1,
		destination.Events:   float64(deliveries),
		destination.Bytes:    float64(bytes),
	}[u]
	if !is {
		t.Fatalf("nobody has said here how many %s are in a request", u)
	}
	return cost
}

// TestNoBatchBeyondAnyRate: whatever a rate is of, no request is larger than what it lets through in its time, whether
// the packer has made it, in one order or another, or the queue has made it of deliveries that had to wait.
func TestNoBatchBeyondAnyRate(t *testing.T) {
	for _, u := range destination.Units() {
		rate := destination.Rate{N: 5 * costOf(t, u, 1, 100), Per: time.Minute, Of: u}
		for _, order := range []bool{false, true} {
			plan := &destination.Plan{Order: order, Actions: []destination.ActionPlan{{Slug: "a", Requests: 1}}}
			plan.Actions[0].Limits.BatchEvents.N = 50
			o := PackOptionsOf(plan, Options{PaceOptions: PaceOptions{Rate: &rate}}, 0, 1)
			check := func(who string, deliveries, bytes int) {
				if cost := costOf(t, u, deliveries, bytes); cost > rate.N {
					t.Errorf("%v %s a minute, and %s makes a request of %v", rate.N, u, who, cost)
				}
			}
			p := NewPacker(plan, o, func(b *Packed[*work]) { check("the packer", len(b.Values), b.Bytes) })
			q := newQueue(plan, o, new(uint64))
			var ws []*work
			for i := range 100 {
				w := &work{d: &destination.Delivery{Item: make([]byte, 100)}, user: uint64(i + 1),
					id: journal.DeliveryID{Ordinal: uint64(i)}}
				ws = append(ws, w)
				p.Add(Parcel[*work]{Delivery: w.d, Value: w, User: w.user, Record: w.id.Ordinal})
			}
			p.Flush()
			for _, b := range q.repack(ws) {
				check("the queue", len(b.works), b.bytes)
			}
		}
	}
}

// TestNoBatchBeyondARate: however large a batch could be, no window sees more than a rate lets through.
func TestNoBatchBeyondARate(t *testing.T) {
	plan := &destination.Plan{Actions: []destination.ActionPlan{{Slug: "a", Requests: 1}}}
	plan.Actions[0].Limits.BatchEvents.N = 10
	for _, c := range []struct {
		rate    destination.Rate
		reserve float64
		most    int
	}{
		{destination.Rate{N: 5, Per: time.Minute, Of: destination.Events}, 0, 5},
		{destination.Rate{N: 5, Per: time.Minute, Of: destination.Events}, 0.5, 2},
		{destination.Rate{N: 0.5, Per: time.Minute, Of: destination.Events}, 0, 1},
		{destination.Rate{N: 350, Per: time.Minute, Of: destination.Bytes}, 0, 3},
		{destination.Rate{N: 5, Per: time.Minute, Of: destination.Requests}, 0, 10},
	} {
		o := Options{PaceOptions: PaceOptions{Rate: &c.rate, Reserve: c.reserve}}
		for _, o.NoRates = range []bool{false, true} {
			largest := 0
			p := NewPacker(plan, PackOptionsOf(plan, o, 0, 1), func(b *Packed[int]) { largest = max(largest, len(b.Values)) })
			d := destination.Delivery{Item: make([]byte, 100)}
			for i := range 100 {
				p.Add(Parcel[int]{Delivery: &d, Value: i, Record: uint64(i)})
			}
			if p.Flush(); largest != c.most {
				t.Errorf("%+v, %v in reserve: a request has %d deliveries, not %d", c.rate, c.reserve, largest, c.most)
			}
		}
	}
}

// scripted is a Sender of which only the plan is asked.
type scripted struct{ plan *destination.Plan }

func (s scripted) Plan() *destination.Plan { return s.plan }

func (scripted) Route(*event.Event, *destination.Env, *destination.Deliveries) {}

func (scripted) Send(context.Context, destination.Transport, *destination.Batch) ([]destination.Result, error) {
	return nil, nil
}

var epoch = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)

func pacerFor(t *testing.T, c LaneConfig, plan *destination.Plan, saved []byte, now time.Time) *pacer {
	t.Helper()
	c.Sender = scripted{plan}
	return newPacer(&c, limitsOf(plan, c.Options), saved, now)
}

// TestStrictWindow: however a partner lays its window, it never sees more than its
// limit, from the first request on; and what may be sent is sent.
func TestStrictWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(18, 24))
	for _, c := range []struct {
		rate   destination.Rate
		events func() int // of a request
		least  float64    // part of the limit that gets through
	}{
		{destination.Rate{N: 1, Per: time.Second, Of: destination.Requests}, func() int { return 1 }, 0.9},
		{destination.Rate{N: 10, Per: time.Second, Of: destination.Requests}, func() int { return 7 }, 0.9},
		{destination.Rate{N: 100, Per: 10 * time.Second, Of: destination.Requests}, func() int { return 1 }, 0.9},
		{destination.Rate{N: 250_000, Per: time.Hour, Of: destination.Requests}, func() int { return 1 }, 0.9},
		{destination.Rate{N: 1500, Per: 30 * time.Second, Of: destination.Events}, func() int { return 500 }, 0.9},
		// two fit, three do not
		{destination.Rate{N: 1000, Per: time.Second, Of: destination.Events}, func() int { return 400 }, 0.75},
		{destination.Rate{N: 1000, Per: time.Second, Of: destination.Events}, func() int { return 1 + rng.IntN(300) }, 0.8},
		{destination.Rate{N: 1000, Per: time.Second, Of: destination.Events}, func() int { return 1000 }, 0.9},
		{destination.Rate{N: 30_000, Per: time.Second, Of: destination.Events}, func() int { return 2000 }, 0.9},
	} {
		t.Run(fmt.Sprint(c.rate.N, c.rate.Of, c.rate.Per), func(t *testing.T) {
			plan := &destination.Plan{
				Limits:  destination.LaneLimits{Rates: []destination.Rate{c.rate}},
				Actions: []destination.ActionPlan{{Slug: "a"}},
			}
			const windows = 20
			all := flood(pacerFor(t, LaneConfig{}, plan, nil, epoch), epoch, 0, c.events, windows*c.rate.Per)
			total := 0.0
			for i := range all {
				if c.rate.Of == destination.Requests {
					all[i].cost = 1
				}
				total += all[i].cost
			}
			if got := most(all, c.rate.Per); got > c.rate.N {
				t.Errorf("%v in one window", got)
			}
			if got := total / windows / c.rate.N; got < c.least {
				t.Errorf("only %.3f of the limit is used", got)
			}
		})
	}
}

// TestRatesOfActions: a rate of an action holds back its requests and no others, and
// counts towards the lane's.
func TestRatesOfActions(t *testing.T) {
	perSecond := func(n float64) []destination.Rate {
		return []destination.Rate{{N: n, Per: time.Second, Of: destination.Requests}}
	}
	plan := &destination.Plan{Limits: destination.LaneLimits{Rates: perSecond(100)}, Actions: []destination.ActionPlan{
		{Slug: "slow", Limits: destination.ActionLimits{Rates: perSecond(10)}}, {Slug: "free"}}}
	one := func() int { return 1 }
	count := func(o Options, action int32) int {
		return len(flood(pacerFor(t, LaneConfig{Options: o}, plan, nil, epoch), epoch, action, one, 10*time.Second))
	}
	rate := func(n float64) *destination.Rate { return &perSecond(n)[0] }
	for name, c := range map[string]struct {
		o          Options
		slow, free int
	}{
		"as declared":         {Options{}, 95, 950},
		"lowered":             {Options{PaceOptions: PaceOptions{Rate: rate(5)}}, 48, 48},
		"raised for the lane": {Options{PaceOptions: PaceOptions{Rate: rate(50)}}, 95, 475},
		"raised for actions":  {Options{PaceOptions: PaceOptions{Rate: rate(50), Override: true}}, 475, 475},
		"half for live":       {Options{PaceOptions: PaceOptions{Reserve: 0.5}}, 48, 475},
		"of another unit": {Options{PaceOptions: PaceOptions{Rate: &destination.Rate{N: 20, Per: time.Second,
			Of: destination.Events}}}, 95, 190},
		"another's, overriden": {Options{PaceOptions: PaceOptions{Rate: &destination.Rate{N: 20, Per: time.Second,
			Of: destination.Events},
			Override: true}}, 95, 190},
	} {
		t.Run(name, func(t *testing.T) {
			for action, want := range []int{c.slow, c.free} {
				if got := count(c.o, int32(action)); got < want-3 || got > want+7 {
					t.Errorf("action %d: %d requests in ten seconds, want about %d", action, got, want)
				}
			}
		})
	}
	if p := pacerFor(t, LaneConfig{Options: Options{PaceOptions: PaceOptions{NoRates: true}}}, plan, nil,
		epoch); len(p.buckets) != 0 {
		t.Errorf("%d limits are kept although none should be", len(p.buckets))
	}
	// What one action has used of the lane's limit the other one lacks.
	p := pacerFor(t, LaneConfig{}, plan, nil, epoch)
	for p.wait(epoch, 1, 1, 1) == 0 {
	}
	if p.wait(epoch, 0, 1, 1) == 0 {
		t.Error("the lane's limit does not hold for both actions together")
	}
}

// TestSeveralRequestsOfADelivery: what takes several requests, the answer to one of which is
// needed for the next, counts as so many.
func TestSeveralRequestsOfADelivery(t *testing.T) {
	rate := destination.Rate{N: 25, Per: time.Second, Of: destination.Requests}
	plan := &destination.Plan{
		Actions: []destination.ActionPlan{{Slug: "one"}, {Slug: "three", Requests: 3}},
		Limits:  destination.LaneLimits{Rates: []destination.Rate{rate}},
	}
	p := pacerFor(t, LaneConfig{}, plan, nil, epoch)
	all := flood(p, epoch, 1, func() int { return 3 }, 20*time.Second)
	if got := most(all, rate.Per); got > rate.N {
		t.Errorf("%v requests in one window", got)
	}
	if got := len(all); got < 20*7 {
		t.Errorf("%d deliveries in 20 seconds", got)
	}
}

// TestPaceSurvivesAResume: what went out before counts after.
func TestPaceSurvivesAResume(t *testing.T) {
	rate := destination.Rate{N: 1000, Per: time.Minute, Of: destination.Events}
	plan := &destination.Plan{
		Actions: []destination.ActionPlan{
			{Slug: "a", Limits: destination.ActionLimits{Rates: []destination.Rate{rate}}},
		},
	}
	var all []sent
	now := epoch
	var saved []byte
	for range 40 { // processes, each of which lives for two seconds
		p := pacerFor(t, LaneConfig{}, plan, saved, now)
		end := now.Add(2 * time.Second)
		for now.Before(end) {
			d := p.wait(now, 0, 300, 0)
			if d <= 0 {
				all = append(all, sent{now, 300})
				continue
			}
			now = now.Add(min(d, end.Sub(now)))
		}
		saved = p.save(now)
	}
	if got := most(all, rate.Per); got > rate.N || len(all) < 4 {
		t.Errorf("%v in one window, %d requests", got, len(all))
	}
}

// shares is a Limiter that deals out what a test says.
type shares struct {
	part  float64
	until time.Time
	said  []string
}

func (s *shares) Share(a string) (float64, time.Time) { return s.part, s.until }
func (s *shares) Want(a string, wants bool)           { s.said = append(s.said, fmt.Sprint(a, " wants ", wants)) }
func (s *shares) Paused(a string, until time.Time)    { s.said = append(s.said, a+" is paused") }

// TestLimiter: the pacer keeps to its share, asks again when that is over, and tells
// what others have to know, once.
func TestLimiter(t *testing.T) {
	plan := &destination.Plan{Actions: []destination.ActionPlan{{Slug: "a"}},
		Limits: destination.LaneLimits{
			Rates: []destination.Rate{{N: 1000, Per: time.Second, Of: destination.Requests}},
		}}
	s := &shares{part: 0.25, until: epoch.Add(10 * time.Second)}
	p := pacerFor(t, LaneConfig{Limiter: s, Account: "acme"}, plan, nil, epoch)
	one := func() int { return 1 }
	if got := len(flood(p, epoch, 0, one, 10*time.Second)); got < 2350 || got > 2520 {
		t.Errorf("%d requests in ten seconds with a quarter of 1000", got)
	}
	s.part, s.until = 0, epoch.Add(20*time.Second)
	if d := p.wait(epoch.Add(11*time.Second), 0, 1, 1); d != 9*time.Second {
		t.Errorf("without a share it waits for %s", d)
	}
	s.part, s.until = 1, time.Time{}
	if got := len(flood(p, epoch.Add(20*time.Second), 0, one, 10*time.Second)); got < 9450 || got > 10050 {
		t.Errorf("%d requests in ten seconds with all of 1000", got)
	}
	p.want(true)
	p.want(true)
	p.pause(epoch.Add(time.Hour))
	p.pause(epoch.Add(time.Minute)) // is over by then
	p.want(false)
	if want := []string{"acme wants true", "acme is paused", "acme wants false"}; !slices.Equal(s.said, want) {
		t.Errorf("the limiter was told %q", s.said)
	}
}
