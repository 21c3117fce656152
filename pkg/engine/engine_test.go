package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// partner is a scripted destination in memory. Its events are numbered by
// their messageId.
type partner struct {
	plan destination.Plan
	// answer decides the result of a request, under the lock.
	answer func(p *partner, now time.Time, ids []int) ([]destination.Result, error)
	delay  time.Duration
	route  func(ev *event.Event, n int, out *destination.Deliveries)
	check  func(d *destination.Delivery) // of every delivery of a request

	mu       sync.Mutex
	seen     map[string]int // times each insert id was accepted
	order    []int
	requests int
	sizes    []int
	flying   int
	most     int
	tries    map[int]int
}

func newPartner(batch int) *partner {
	return &partner{
		plan: destination.Plan{
			Actions: []destination.ActionPlan{
				{Slug: "act", Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: batch}}},
			},
		},
		seen:  map[string]int{},
		tries: map[int]int{},
	}
}

func (p *partner) Plan() *destination.Plan { return &p.plan }

func (p *partner) Route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	id := ev.MessageID().Text()
	n, _ := strconv.Atoi(id)
	if p.route != nil {
		p.route(ev, n, out)
		return
	}
	out.Add(destination.Delivery{Item: ev.Raw(), InsertID: id})
}

func (p *partner) Send(
	ctx context.Context, _ destination.Transport, b *destination.Batch,
) ([]destination.Result, error) {
	p.mu.Lock()
	p.requests++
	p.sizes = append(p.sizes, len(b.Deliveries))
	p.flying++
	p.most = max(p.most, p.flying)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.flying--
		p.mu.Unlock()
	}()
	if p.delay > 0 {
		select {
		case <-time.After(p.delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ids := make([]int, len(b.Deliveries))
	for i, d := range b.Deliveries {
		if p.check != nil {
			p.check(d)
		}
		ids[i], _ = strconv.Atoi(strings.SplitN(d.InsertID, ":", 2)[0])
	}
	p.mu.Lock()
	rs, err := []destination.Result(nil), error(nil)
	if p.answer != nil {
		func() {
			defer p.mu.Unlock()
			for _, id := range ids {
				p.tries[id]++
			}
			rs, err = p.answer(p, b.Now, ids)
		}()
		if rs == nil && err == nil { // hangs
			<-ctx.Done()
			return nil, ctx.Err()
		}
		p.mu.Lock()
	} else {
		rs = destination.Same(destination.Result{Outcome: destination.Delivered}, len(ids))
	}
	defer p.mu.Unlock()
	if err == nil {
		for i, r := range rs {
			if r.Outcome == destination.Delivered {
				p.seen[b.Deliveries[i].InsertID]++
				p.order = append(p.order, ids[i])
			}
		}
	}
	return rs, err
}

func input(t testing.TB, n int, user func(i int) string) string {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		u := "u"
		if user != nil {
			u = user(i)
		}
		const form = `{"type":"track","event":"E","messageId":"%d","userId":%q,"timestamp":"2024-05-01T00:00:00Z"}` + "\n"
		fmt.Fprintf(&b, form, i, u)
	}
	path := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type setup struct {
	path   string
	dir    string
	lanes  []engine.LaneConfig
	change func(*engine.Config)
	ctx    context.Context
	now    func() time.Time // nil: the bubble's own clock
	made   func(*engine.Engine)
}

func lane(name string, p *partner) engine.LaneConfig {
	return engine.LaneConfig{Name: name, Type: "test", Sender: p}
}

func (s setup) run(t testing.TB) (*engine.Summary, error) {
	t.Helper()
	ctx := s.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	now := s.now
	if now == nil {
		now = time.Now
	}
	r, err := journal.Open(s.dir, nil, journal.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.Open(ctx, source.Options{From: []string{s.path}, Frozen: r.Manifest()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Extend(src.Manifest().Objects()[len(r.Manifest()):]); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(1, 2))
	c := engine.Config{Source: src, Run: r, Lanes: s.lanes, Now: now, Rand: func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return rng.Float64()
	}}
	if s.change != nil {
		s.change(&c)
	}
	e := engine.New(c)
	if s.made != nil {
		s.made(e)
	}
	sum, runErr := e.Run(ctx)
	if err := r.Close(); err != nil && runErr == nil {
		t.Fatal(err)
	}
	return sum, runErr
}

func (s setup) mustRun(t testing.TB) *engine.Summary {
	t.Helper()
	sum, err := s.run(t)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func once(t testing.TB, p *partner, want int) {
	t.Helper()
	if len(p.seen) != want {
		t.Errorf("%d events arrived, want %d", len(p.seen), want)
	}
	for id, n := range p.seen {
		if n != 1 {
			t.Errorf("event %s arrived %d times", id, n)
			return
		}
	}
}

func dead(t testing.TB, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(all)), "\n")
}

func TestDeliversEverythingOnce(t *testing.T) {
	a, b := newPartner(100), newPartner(1)
	s := setup{path: input(t, 5000, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", a), lane("b", b)}}
	sum := s.mustRun(t)
	once(t, a, 5000)
	once(t, b, 5000)
	if sum.Status != "complete" || sum.Read != 5000 || sum.Destinations[0].Delivered != 5000 ||
		sum.Destinations[1].Requests != 5000 {
		t.Errorf("summary %+v", sum)
	}
	// The same again: nothing is left to do.
	if again := s.mustRun(t); again.Destinations[0].Delivered != 5000 || again.Status != "complete" {
		t.Errorf("second summary %+v", again)
	}
	once(t, a, 5000)
}

func ok(n int) []destination.Result {
	return destination.Same(destination.Result{Outcome: destination.Delivered}, n)
}

func TestVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartner(50)
		p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
			rs := ok(len(ids))
			for i, id := range ids {
				switch {
				case id%10 == 1:
					rs[i] = destination.Result{
						Outcome: destination.Rejected,
						Reason:  destination.Refused,
						Detail:  "bad " + strconv.Itoa(id),
						Status:  400,
					}
				case id%10 == 2 && p.tries[id] < 3:
					rs[i] = destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503}
				case id%100 == 3:
					rs[i] = destination.Result{
						Outcome: destination.Retry,
						Reason:  destination.Unavailable,
						Status:  500,
						Detail:  "never",
					}
				}
			}
			return rs, nil
		}
		s := setup{path: input(t, 1000, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}
		d := s.mustRun(t).Destinations[0]
		if d.Delivered != 890 || d.Rejected["refused"] != 100 || d.Rejected["exhausted"] != 10 || d.Pending != 0 {
			t.Errorf("summary %+v", d)
		}
		once(t, p, 890)
		letters := dead(t, d.DeadLetters)
		if len(letters) != 110 {
			t.Fatalf("%d dead letters, want 110", len(letters))
		}
		for _, l := range letters {
			if strings.Contains(l, `"reason":"exhausted"`) &&
				(strings.Contains(l, `"attempts":1,`) || !strings.Contains(l, "never")) ||
				!strings.Contains(l, `"event":{"type"`) {
				t.Errorf("dead letter %s", l)
			}
		}
	})
}

func TestOneBadEventNeverCostsItsBatch(t *testing.T) {
	for _, n := range []int{50, 2000} {
		for _, bad := range []int{1, 3, 25} {
			t.Run(fmt.Sprint(n, "/", bad), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPartner(n)
					isBad := map[int]bool{}
					for i := range bad {
						isBad[(i*37+5)%n] = true
					}
					p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
						for _, id := range ids {
							if isBad[id] {
								return destination.Same(
									destination.Result{
										Outcome: destination.Rejected,
										Reason:  destination.Refused,
										Status:  400,
										Detail:  "no",
									},
									len(ids),
								), nil
							}
						}
						return ok(len(ids)), nil
					}
					s := setup{path: input(t, n, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}
					d := s.mustRun(t).Destinations[0]
					if int(d.Delivered) != n-bad || int(d.Rejected["refused"]) != bad {
						t.Errorf("summary %+v", d)
					}
					once(t, p, n-bad)
				})
			})
		}
	}
}

func TestPartnerThatRefusesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartner(1000)
		p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
			return destination.Same(
				destination.Result{Outcome: destination.Rejected, Reason: destination.Refused, Status: 400},
				len(ids),
			), nil
		}
		s := setup{path: input(t, 10000, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}
		s.lanes[0].Options.MaxErrors = -1
		d := s.mustRun(t).Destinations[0]
		if d.Rejected["refused"] != 10000 {
			t.Errorf("summary %+v", d)
		}
		if p.requests > 1000 {
			t.Errorf("asked %d times about 10000 events", p.requests)
		}
	})
}

func TestCredentialsRefusedStopTheLane(t *testing.T) {
	p, q := newPartner(10), newPartner(10)
	answers := 0 // not p.requests, which others that are on their way may have raised
	p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
		if answers++; answers > 5 {
			return destination.Same(
				destination.Result{
					Outcome: destination.Retry,
					Reason:  destination.Unauthorized,
					Status:  401,
					Detail:  "who are you",
				},
				len(ids),
			), nil
		}
		return ok(len(ids)), nil
	}
	s := setup{path: input(t, 1000, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p), lane("b", q)}}
	sum := s.mustRun(t)
	d := sum.Destinations[0]
	if d.Delivered != 50 || d.Pending != 950 || len(d.Rejected) != 0 || !strings.Contains(d.Stopped, "401") ||
		sum.Status != "incomplete" {
		t.Errorf("summary %+v", d)
	}
	once(t, q, 1000)
	// With the right credentials the same command goes on.
	p.answer = nil
	if d := s.mustRun(t).Destinations[0]; d.Delivered != 1000 || d.Pending != 0 {
		t.Errorf("after the resume %+v", d)
	}
	once(t, p, 1000)
}

func TestRetryAfterPausesTheWholeLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartner(10)
		p.delay = time.Millisecond
		var until time.Time
		p.answer = func(p *partner, _ time.Time, ids []int) ([]destination.Result, error) {
			now := time.Now()
			if p.requests >= 20 && until.IsZero() {
				until = now.Add(30 * time.Second)
			}
			if now.Before(until) {
				return destination.Same(
					destination.Result{
						Outcome:    destination.Retry,
						Reason:     destination.RateLimited,
						Status:     429,
						RetryAfter: until.Sub(now),
					},
					len(ids),
				), nil
			}
			return ok(len(ids)), nil
		}
		s := setup{path: input(t, 2000, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}
		start := time.Now()
		d := s.mustRun(t).Destinations[0]
		once(t, p, 2000)
		if d.Delivered != 2000 || time.Since(start) < 30*time.Second {
			t.Errorf("after %s: %+v", time.Since(start), d)
		}
		// Only what was in flight when the pause began may come back with 429.
		if d.Retries > 8 {
			t.Errorf("%d retries during one pause", d.Retries)
		}
	})
}

func TestRatesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartner(10)
		p.plan.Limits.Rates = []destination.Rate{{N: 100, Per: time.Second, Of: destination.Events}}
		s := setup{path: input(t, 2000, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}
		s.lanes[0].Options.Reserve = 0.5
		start := time.Now()
		state := ""
		s.made = func(e *engine.Engine) {
			time.AfterFunc(10*time.Second+50*time.Millisecond, func() { state = e.Progress()[0].State })
		}
		s.mustRun(t)
		if state != "keeps to its rate limit" {
			t.Errorf("meanwhile it is said to be %q", state)
		}
		once(t, p, 2000)
		// A twentieth at once, and nineteen twentieths of 50 a second from then on.
		if d := time.Since(start); d < 41*time.Second || d > 43*time.Second {
			t.Errorf("2000 events at 50/s took %s of simulated time", d)
		}
	})
}

func TestOrderWithinAUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPartner(7)
		p.plan.Order = true
		p.delay = 3 * time.Millisecond
		rng := rand.New(rand.NewPCG(7, 7))
		p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
			rs := ok(len(ids))
			if rng.IntN(4) == 0 {
				return destination.Same(
					destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503},
					len(ids),
				), nil
			}
			return rs, nil
		}
		user := func(i int) string { return fmt.Sprint("user", i*i%23) }
		s := setup{path: input(t, 2000, user), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}
		s.lanes[0].Options.Attempts = 100
		s.mustRun(t)
		once(t, p, 2000)
		last := map[string]int{}
		for _, id := range p.order {
			u := user(id)
			if at, ok := last[u]; ok && at > id {
				t.Fatalf("%s: event %d arrived after %d", u, id, at)
			}
			last[u] = id
		}
		if p.most < 2 {
			t.Error("requests of different users never overlapped")
		}
	})
}

// fallback is a partner whose insert ids are chosen as a Spec's are.
type fallback struct{ *partner }

func (p fallback) Route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	id := ev.MessageID().Text()
	if destination.NeedsFallback(ev) {
		id = env.Fallback
	}
	out.Add(destination.Delivery{Item: ev.Raw(), InsertID: id})
}

// TestFallbackIDs: every event without a usable messageId has an id of its own, the
// same in every run.
func TestFallbackIDs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.jsonl")
	var b strings.Builder
	for i := range 400 {
		id := []string{`"messageId":"null",`, ``, `"messageId":"",`, `"messageId":"nu\u006cl",`, `"messageId":7,`,
			fmt.Sprintf(`"messageId":"m%d",`, i)}[i%6]
		fmt.Fprintf(&b, `{%s"type":"track","n":%d}`+"\n", id, i)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var first map[string]int
	for range 2 {
		p := newPartner(50)
		p.plan.Content = "same" // routed where the index is made
		c := lane("p", p)
		c.Sender = fallback{p}
		s := setup{path: path, dir: t.TempDir(), lanes: []engine.LaneConfig{c}}
		s.mustRun(t)
		if len(p.seen) != 400 || p.seen[""] > 0 {
			t.Errorf("400 events have %d ids, %d have none", len(p.seen), p.seen[""])
		}
		if first != nil && !maps.Equal(first, p.seen) {
			t.Error("another run has other ids")
		}
		first = p.seen
	}
}

func TestPanicsStayInTheirLane(t *testing.T) {
	p, q, r := newPartner(10), newPartner(10), newPartner(10)
	p.route = func(ev *event.Event, n int, out *destination.Deliveries) {
		if n%100 == 7 {
			panic("cannot route " + strconv.Itoa(n))
		}
		out.Add(destination.Delivery{Item: ev.Raw(), InsertID: strconv.Itoa(n)})
	}
	q.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
		for _, id := range ids {
			if id == 555 {
				panic("cannot send")
			}
		}
		return ok(len(ids)), nil
	}
	r.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) { panic("never") }
	s := setup{
		path:  input(t, 1000, nil),
		dir:   t.TempDir(),
		lanes: []engine.LaneConfig{lane("p", p), lane("q", q), lane("r", r)},
	}
	sum := s.mustRun(t)
	if d := sum.Destinations[0]; d.Delivered != 990 || d.Rejected["panic"] != 10 {
		t.Errorf("panics in Route: %+v", d)
	}
	if d := sum.Destinations[1]; d.Delivered != 990 || d.Rejected["panic"] != 10 {
		t.Errorf("a panic in Send: %+v", d)
	}
	if l := dead(t, sum.Destinations[1].DeadLetters)[0]; !strings.Contains(l, "cannot send") ||
		!strings.Contains(l, "goroutine") {
		t.Errorf("no stack in %s", l)
	}
	if d := sum.Destinations[2]; d.Stopped == "" || d.Pending == 0 {
		t.Errorf("a destination that always panics goes on: %+v", d)
	}
}

func TestHangingPartner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, q := newPartner(10), newPartner(10)
		p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
			if ids[0] < 50 {
				return nil, nil
			}
			return ok(len(ids)), nil
		}
		s := setup{path: input(t, 500, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("p", p), lane("q", q)}}
		s.lanes[0].Options.Attempts = 2
		sum := s.mustRun(t)
		if d := sum.Destinations[0]; d.Delivered != 450 || d.Rejected["exhausted"] != 50 {
			t.Errorf("summary %+v", d)
		}
		once(t, q, 500)
	})
}

// TestResumeAtAnyPoint stops a run hard after every few requests and starts it
// again, with two lanes of different fates, until it is done.
func TestResumeAtAnyPoint(t *testing.T) {
	p, q := newPartner(9), newPartner(1)
	rng := rand.New(rand.NewPCG(3, 3))
	p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
		rs := ok(len(ids))
		for i, id := range ids {
			if id%50 == 3 {
				rs[i] = destination.Result{
					Outcome: destination.Rejected,
					Reason:  destination.Refused,
					Status:  400,
					Detail:  "no",
				}
			}
		}
		return rs, nil
	}
	s := setup{path: input(t, 3000, nil), dir: t.TempDir()}
	var sum *engine.Summary
	runs := 0
	for ; runs < 200; runs++ {
		ctx, cancel := context.WithCancel(context.Background())
		left := 1 + rng.IntN(40)
		var mu sync.Mutex
		count := func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel()
			}
		}
		q.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
			count()
			return ok(len(ids)), nil
		}
		s.lanes = []engine.LaneConfig{lane("p", p), lane("q", q)}
		s.ctx = ctx
		var err error
		sum, err = s.run(t)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if d := sum.Destinations[0]; d.Delivered != 2940 || d.Rejected["refused"] != 60 || d.Pending != 0 {
		t.Errorf("after %d runs: %+v", runs, d)
	}
	if n := len(dead(t, sum.Destinations[0].DeadLetters)); n != 60 {
		t.Errorf("%d dead letters, want 60", n)
	}
	if d := sum.Destinations[1]; d.Delivered != 3000 {
		t.Errorf("after %d runs: %+v", runs, d)
	}
	if len(p.seen) != 2940 || len(q.seen) != 3000 {
		t.Errorf("%d and %d events arrived", len(p.seen), len(q.seen))
	}
	if runs < 3 {
		t.Errorf("only %d runs: the test does not test much", runs)
	}
}

func TestStop(t *testing.T) {
	p := newPartner(10)
	stop := make(chan struct{})
	enough := sync.OnceFunc(func() { close(stop) })
	p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
		if p.requests >= 10 {
			enough()
		}
		return ok(len(ids)), nil
	}
	s := setup{
		path:   input(t, 50_000, nil),
		dir:    t.TempDir(),
		lanes:  []engine.LaneConfig{lane("a", p)},
		change: func(c *engine.Config) { c.Stop = stop },
	}
	sum := s.mustRun(t)
	if d := sum.Destinations[0]; sum.Status != "incomplete" || d.Pending == 0 || d.Delivered == 0 ||
		int(d.Delivered) != len(p.seen) {
		t.Errorf("summary %+v", sum)
	}
	p.answer = nil
	s.change = nil
	if d := s.mustRun(t).Destinations[0]; d.Delivered != 50_000 || d.InDoubt != 0 {
		t.Errorf("after the resume %+v", d)
	}
	once(t, p, 50_000)
}

// TestLaggard has one lane that is far slower than the ring is large, so that
// it reads the source by itself.
func TestLaggard(t *testing.T) {
	fast, slow := newPartner(500), newPartner(100)
	gateway := make(chan struct{})
	slow.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
		<-gateway // nothing until the other is done
		return ok(len(ids)), nil
	}
	n := 0
	fast.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
		if n += len(ids); n == 60_000 {
			close(gateway)
		}
		return ok(len(ids)), nil
	}
	s := setup{
		path:   input(t, 60_000, nil),
		dir:    t.TempDir(),
		lanes:  []engine.LaneConfig{lane("fast", fast), lane("slow", slow)},
		change: func(c *engine.Config) { c.Memory = 8 << 20 },
	}
	sum := s.mustRun(t)
	once(t, fast, 60_000)
	once(t, slow, 60_000)
	if sum.Status != "complete" {
		t.Errorf("summary %+v", sum)
	}
}

func TestSteps(t *testing.T) {
	p := newPartner(10)
	p.route = func(ev *event.Event, n int, out *destination.Deliveries) {
		out.Add(destination.Delivery{Item: ev.Raw(), InsertID: strconv.Itoa(n)})
		out.Add(destination.Delivery{Item: ev.Raw(), InsertID: strconv.Itoa(n) + ":1", Step: 1, Wait: true})
	}
	p.answer = func(p *partner, now time.Time, ids []int) ([]destination.Result, error) {
		rs := ok(len(ids))
		for i, id := range ids {
			if id == 5 {
				rs[i] = destination.Result{Outcome: destination.Rejected, Reason: destination.Refused}
			}
		}
		return rs, nil
	}
	s := setup{path: input(t, 100, nil), dir: t.TempDir(), lanes: []engine.LaneConfig{lane("a", p)}}
	d := s.mustRun(t).Destinations[0]
	if d.Delivered != 99 || d.Deliveries != 198 || d.Rejected["blocked"]+d.Rejected["refused"] != 1 {
		t.Errorf("summary %+v", d)
	}
	at := map[int]int{}
	for i, id := range p.order {
		if at[id]++; at[id] > 2 {
			t.Fatalf("event %d arrived %d times by %d", id, at[id], i)
		}
	}
}

var _ http.RoundTripper = (destination.Transport)(nil)

// counting is a partner that counts what arrives in one unit until its process is killed.
type counting struct {
	*partner
	cost   func(*destination.Batch) float64
	sum    float64
	atOnce bool // it is killed with its first request
	kill   func()
	killed bool
}

func (c *counting) Send(
	ctx context.Context, t destination.Transport, b *destination.Batch,
) ([]destination.Result, error) {
	c.mu.Lock()
	if !c.killed {
		c.sum += c.cost(b)
	}
	c.mu.Unlock()
	if c.atOnce {
		c.kill()
	}
	return c.partner.Send(ctx, t, b)
}

// TestPaceSurvivesKills: whatever a rate is of, what was sent before a kill counts towards it in the next process, also
// while the checkpoint stands still, because the partner hangs or an early event is not settled. It holds for a lane
// that has its deliveries from another one, which has no such rate.
func TestPaceSurvivesKills(t *testing.T) {
	path := input(t, 2000, func(i int) string { return fmt.Sprintf("user-%04d", i) })
	// What a request has of each unit, and a rate so low that a pace which begins anew is seen: each event has a user
	// of its own, and a text of about 100 bytes.
	units := map[destination.Unit]struct {
		perMinute float64
		of        func(*destination.Batch) float64
	}{
		destination.Requests: {3, func(*destination.Batch) float64 { return 1 }},
		destination.Events:   {20, func(b *destination.Batch) float64 { return float64(len(b.Deliveries)) }},
		destination.Bytes: {2000, func(b *destination.Batch) (n float64) {
			for _, d := range b.Deliveries {
				n += float64(len(d.Item))
			}
			return n
		}},
	}
	for _, unit := range destination.Units() {
		u, is := units[unit]
		if !is {
			t.Errorf("nobody has said here how many %s are in a request", unit)
			continue
		}
		rate := destination.Rate{N: u.perMinute, Per: time.Minute, Of: unit}
		for name, change := range map[string]func(*counting){
			"the partner hangs":             func(p *counting) { p.delay = time.Hour },
			"killed with its first request": func(p *counting) { p.delay, p.atOnce = time.Hour, true },
			"an early event is not settled": func(p *counting) {
				p.answer = func(_ *partner, _ time.Time, ids []int) ([]destination.Result, error) {
					rs := ok(len(ids))
					for i, id := range ids {
						if id == 0 {
							rs[i] = destination.Result{Outcome: destination.Retry, Reason: destination.Conflict, Status: 409}
						}
					}
					return rs, nil
				}
			},
		} {
			t.Run(unit.String()+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if sent := sentOverKills(t, path, rate, u.of, change); sent > rate.N || sent < rate.N/4 {
						t.Errorf("%v %s in ten seconds, of %v in a minute", sent, unit, rate.N)
					}
				})
			})
		}
	}
}

// sentOverKills is how much a partner is sent by eight processes, each of which is killed after 1.2 seconds, or before.
func sentOverKills(t *testing.T, path string, rate destination.Rate, cost func(*destination.Batch) float64,
	change func(*counting)) (sent float64) {
	dir := filepath.Join(t.TempDir(), "run")
	for range 8 {
		free, p := newPartner(5), &counting{partner: newPartner(5), cost: cost}
		free.delay = time.Hour
		p.plan.Actions[0].Limits.Rates = []destination.Rate{rate}
		free.plan.Content, p.plan.Content = "same", "same"
		change(p)
		ctx, cancel := context.WithTimeout(context.Background(), 1300*time.Millisecond)
		copied := filepath.Join(t.TempDir(), "run")
		done := make(chan error, 1)
		p.kill = sync.OnceFunc(func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.killed = true
			done <- os.CopyFS(copied, os.DirFS(dir))
		})
		time.AfterFunc(1200*time.Millisecond, p.kill)
		lanes := []engine.LaneConfig{lane("free", free), {Name: "a", Type: "test", Sender: p}}
		if _, err := (setup{path: path, dir: dir, lanes: lanes, ctx: ctx}).run(t); err != nil &&
			!errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		dir = copied
		sent += p.sum
	}
	return sent
}

// TestTooManyRequests: a partner that says "too many" without saying for how long is asked again later each time, and
// waited for without end unless the user has set an end; one that takes some is kept busy.
func TestTooManyRequests(t *testing.T) {
	path := input(t, 3000, nil)
	tooMany := destination.Result{Outcome: destination.Retry, Reason: destination.RateLimited, Status: 429}
	for name, test := range map[string]struct {
		batch     int
		perSecond int
		most      time.Duration // of a delivery
		stop      time.Duration
		requests  [2]int // least and most
		delivered uint64
		stopped   bool
	}{
		"always":           {batch: 1, stop: 10 * time.Minute, requests: [2]int{12, 40}},
		"always, max_time": {batch: 1, most: 3 * time.Second, stop: time.Hour, requests: [2]int{3, 20}, stopped: true},
		"fifty a second":   {batch: 1, perSecond: 50, stop: 2 * time.Minute, requests: [2]int{3000, 4500}, delivered: 3000},
		"a fifth of every request": {batch: 100, most: time.Second, stop: time.Minute, requests: [2]int{30, 300},
			delivered: 3000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPartner(test.batch)
				p.delay = 20 * time.Millisecond
				var second, took int64
				p.answer = func(_ *partner, now time.Time, ids []int) ([]destination.Result, error) {
					if test.batch > 1 {
						rs := ok(len(ids))
						for i := range rs {
							if took++; took%5 == 0 {
								rs[i] = tooMany
							}
						}
						return rs, nil
					}
					if now.Unix() != second {
						second, took = now.Unix(), 0
					}
					if took++; took > int64(test.perSecond) {
						return []destination.Result{tooMany}, nil
					}
					return ok(len(ids)), nil
				}
				l := lane("a", p)
				l.Options.MaxTime = test.most
				stop := make(chan struct{})
				end := time.AfterFunc(test.stop, func() { close(stop) })
				defer end.Stop()
				sum := setup{path: path, dir: t.TempDir(), lanes: []engine.LaneConfig{l},
					change: func(c *engine.Config) { c.Stop = stop }}.mustRun(t)
				d := sum.Destinations[0]
				if d.Delivered != test.delivered || engine.Total(d.Rejected) != 0 || (d.Stopped != "") != test.stopped ||
					p.requests < test.requests[0] || p.requests > test.requests[1] {
					t.Errorf("%d delivered, %d rejected by %d requests; it stopped because %q", d.Delivered,
						engine.Total(d.Rejected), p.requests, d.Stopped)
				}
			})
		})
	}
}

// TestDownAfterTooMany: a partner that has said "too many", and then fails everything, is asked as seldom as one that
// only fails.
func TestDownAfterTooMany(t *testing.T) {
	path := input(t, 5000, nil)
	sent := map[bool]int{}
	for _, tooMany := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := newPartner(1)
			p.answer = func(p *partner, _ time.Time, _ []int) ([]destination.Result, error) {
				r := destination.Result{Outcome: destination.Retry, Reason: destination.Unavailable, Status: 503}
				if tooMany && p.requests < 10 {
					r.Reason, r.Status = destination.RateLimited, 429
				}
				return []destination.Result{r}, nil
			}
			stop := make(chan struct{})
			time.AfterFunc(10*time.Minute, func() { close(stop) })
			l := lane("a", p)
			l.Options.Outage = time.Hour
			setup{path: path, dir: t.TempDir(), lanes: []engine.LaneConfig{l},
				change: func(c *engine.Config) { c.Stop = stop }}.mustRun(t)
			sent[tooMany] = p.requests
		})
	}
	if sent[true] > sent[false]+50 {
		t.Errorf("%d requests, and %d without the 429s before", sent[true], sent[false])
	}
}
