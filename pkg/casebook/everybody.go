package casebook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/standin"
	"github.com/fanfold/fanfold/pkg/transport"
)

// Everybody holds a partner to what follows from its declaration and its contract, for every
// action that a standard event reaches: refused credentials stop the lane, a rate limit is
// waited for, what is too large is rejected, nobody is sent without an identity that the
// partner needs, and whoever opted out is left alone.
func Everybody(t T, d destination.Destination, contract *standin.Contract, shared map[string]string) {
	settings := d.Settings.Examples()
	s, err := d.Open(destination.Config{Settings: settings, Presets: "all"})
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(shared))
	list := new(destination.Deliveries)
	var taken []string // events that are sent
	for _, name := range names {
		n := len(list.List)
		routeOne(t, s, shared[name], list)
		if slices.ContainsFunc(list.List[n:], func(d destination.Delivery) bool { return d.Settled == nil }) {
			taken = append(taken, shared[name])
		}
	}
	p := &derived{t: t, d: d, s: s, contract: contract}
	seen := map[int32]bool{}
	for i := range list.List {
		if del := &list.List[i]; del.Settled == nil && !del.Wait && !seen[del.Action] {
			seen[del.Action] = true
			p.refused(del)
			p.limited(del)
			p.tooLarge(del)
		}
	}
	if len(seen) == 0 {
		// Its actions ask for choices that a user makes: its own cases have to be about these.
		t.Logf("no standard event reaches %s", d.Info.Slug)
		return
	}
	for _, text := range taken {
		p.optedOut(text)
	}
	for _, name := range names {
		p.nobody(shared[name])
	}
	usual, err := d.Open(destination.Config{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	p.oversize(taken, s, usual)
}

// StandardDay is shortly after the standard events happened.
func StandardDay() time.Time { return time.Date(2024, 5, 30, 12, 0, 0, 0, time.UTC) }

func routeOne(t T, s destination.Sender, text string, list *destination.Deliveries) {
	t.Helper()
	ev, err := event.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	s.Route(ev, &destination.Env{Now: StandardDay(), Fallback: "fallback"}, list)
}

// derived are the cases that everybody has.
type derived struct {
	t        T
	d        destination.Destination
	s        destination.Sender
	contract *standin.Contract
}

// send sends one delivery to something that answers.
func (p *derived) send(del *destination.Delivery, rt http.RoundTripper) destination.Result {
	p.t.Helper()
	rs, err := p.s.Send(context.Background(), rt, &destination.Batch{Deliveries: []*destination.Delivery{del},
		Now: StandardDay()})
	if err != nil || len(rs) != 1 {
		p.t.Fatalf("%s: %d results: %v", p.action(del), len(rs), err)
	}
	return rs[0]
}

func (p *derived) action(del *destination.Delivery) string {
	return p.s.Plan().Actions[del.Action].Slug
}

// said is an answer of the contract's to everything.
type said struct{ standin.Reply }

func (r said) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	h := http.Header{"Content-Type": {"application/json"}}
	for k, v := range r.Headers {
		h.Set(k, v)
	}
	return answerOf(req, r.Status, h, strings.ReplaceAll(r.Body, "{error}", "sorry")), nil
}

// stranger takes the credentials out of requests: also those that stand in a body.
type stranger struct {
	next    http.RoundTripper
	secrets []string
	status  int
}

func (x *stranger) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := ReadBody(req)
	if err != nil {
		return nil, err
	}
	for _, secret := range x.secrets {
		body = bytes.ReplaceAll(body, []byte(secret), nil)
	}
	again := req.Clone(req.Context())
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := x.next.RoundTrip(again)
	if err == nil {
		x.status = resp.StatusCode
	}
	return resp, err
}

// refused sends without credentials: the partner's refusal stops the lane.
func (p *derived) refused(del *destination.Delivery) {
	p.t.Helper()
	if !slices.ContainsFunc(p.contract.Auth, func(a standin.Auth) bool {
		// Some take everything, and never say that they do not know a caller.
		return a.Refused.Body != "" || a.Refused.Status != http.StatusNoContent
	}) {
		return
	}
	partner := standin.New(p.contract)
	partner.Now = StandardDay
	x := &stranger{next: partner}
	for _, f := range p.d.Settings.Fields {
		if f.Secret && f.Example != "" {
			x.secrets = append(x.secrets, f.Example)
		}
	}
	r := p.send(del, x)
	if r.Outcome == destination.Retry && r.Reason == destination.Unauthorized {
		return
	}
	for _, v := range partner.Violations() {
		p.t.Errorf("%s: without credentials the partner says %d, which counts as %v %v: %v", p.action(del), x.status,
			r.Outcome,
			r.Reason, v)
	}
}

// limited answers that the partner is asked too often.
func (p *derived) limited(del *destination.Delivery) {
	p.t.Helper()
	if len(p.contract.Auth) == 0 {
		return // anybody's endpoint: it has no documentation
	}
	r := p.send(del, said{p.contract.Limited})
	if r.Outcome != destination.Retry || r.Reason != destination.RateLimited &&
		p.contract.Limited.Status == http.StatusTooManyRequests {
		p.t.Errorf("%s: the partner's rate limit counts as %v %v", p.action(del), r.Outcome, r.Reason)
	}
	if want := time.Duration(p.contract.Wait * float64(time.Second)); r.RetryAfter != want {
		p.t.Errorf("%s: the partner wants to be asked again after %v, and is after %v", p.action(del), want, r.RetryAfter)
	}
}

// tooLarge answers that the request is too large: of one event, it always will be.
func (p *derived) tooLarge(del *destination.Delivery) {
	p.t.Helper()
	r := p.send(del, said{standin.Reply{Status: http.StatusRequestEntityTooLarge}})
	if r.Outcome != destination.Rejected ||
		r.Reason != destination.TooLarge {
		p.t.Errorf("%s: 413 counts as %v %v", p.action(del), r.Outcome, r.Reason)
	}
	for i := range p.contract.Endpoints {
		e := &p.contract.Endpoints[i]
		plain := slices.Contains(e.Path, del.Address().Path) || len(p.contract.Endpoints) == 1
		if !plain {
			continue
		}
		if r := p.send(del, said{e.TooLarge}); r.Outcome != destination.Rejected {
			p.t.Errorf("%s: what the partner says to a request that is too large (%d %s) counts as %v %v", p.action(del),
				e.TooLarge.Status, e.TooLarge.Body, r.Outcome, r.Reason)
		}
	}
}

// optedOut says no to everybody, and to the partner by each of its names.
func (p *derived) optedOut(text string) {
	p.t.Helper()
	for _, name := range append([]string{"All", p.d.Info.Name, p.d.Info.Slug}, p.d.Info.Integrations...) {
		said, err := eventOf(`it {"integrations":{`+strconv.Quote(name)+`:false}}`, map[string]string{"it": text}, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		list := new(destination.Deliveries)
		routeOne(p.t, p.s, said, list)
		for _, del := range list.List {
			if r := del.Settled; r == nil || r.Outcome != destination.Skipped || r.Reason != destination.OptedOut {
				p.t.Errorf("%s is off, and %s is sent: %s", name, p.action(&del), said)
			}
		}
	}
}

// nobody takes out of an event all that says who it was: what is sent all the same keeps the
// partner's contract, and what is not is rejected for that.
func (p *derived) nobody(text string) {
	p.t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		p.t.Fatal(err)
	}
	for _, who := range []string{"userId", "anonymousId", "previousId", "groupId", "traits", "context"} {
		delete(members, who)
	}
	left, err := json.Marshal(members)
	if err != nil {
		p.t.Fatal(err)
	}
	list := new(destination.Deliveries)
	routeOne(p.t, p.s, string(left), list)
	for i := range list.List {
		del := &list.List[i]
		if r := del.Settled; r != nil {
			if r.Outcome == destination.Rejected && r.Reason != destination.MissingIdentity && r.Reason != destination.Invalid {
				p.t.Errorf("of an event of nobody comes %v %v: %s", r.Outcome, r.Reason, left)
			}
			continue
		}
		if del.Wait {
			continue
		}
		partner := standin.New(p.contract)
		partner.Now = StandardDay
		p.send(del, transport.New(transport.Options{Network: partner, Auth: p.s.Plan().Auth.WithToken("test-access-token")}))
		for _, v := range partner.Violations() {
			p.t.Errorf("%s is sent of nobody, and the partner complains: %v: %s", p.action(del), v, left)
		}
	}
}

// oversize makes events larger than the partner takes one.
func (p *derived) oversize(taken []string, senders ...destination.Sender) {
	p.t.Helper()
	most := 0
	for _, a := range p.s.Plan().Actions {
		most = max(most, a.Limits.EventBytes.N)
	}
	if most == 0 {
		return
	}
	large := strings.Repeat("x", most)
	changes := fmt.Sprintf(`it {"properties":{"large":%q},"traits":{"large":%q}}`, large, large)
	var reasons []destination.Reason
	for _, text := range taken {
		wide, err := eventOf(changes, map[string]string{"it": text}, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, s := range senders {
			list := new(destination.Deliveries)
			routeOne(p.t, s, wide, list)
			for i := range list.List {
				del := &list.List[i]
				if r := del.Settled; r != nil {
					if reasons = append(reasons, r.Reason); r.Reason == destination.TooLarge {
						return
					}
				} else if n := s.Plan().Actions[del.Action].Limits.EventBytes.N; n > 0 && len(del.Item) > n {
					p.t.Errorf("%s: an item of %d bytes, the partner takes %d", p.action(del), len(del.Item), n)
				}
			}
		}
	}
	p.t.Errorf("no event is too large, however large it is: %v", reasons)
}
