package casebook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/standin"
	"github.com/fanfold/fanfold/pkg/transport"
	"github.com/fanfold/fanfold/pkg/verify"
)

// Walk sends the events of a case as today's code does, to the stand-in of a contract or to
// the answers of the case: requests and results have to be the ones written down. With update they are
// written down.
func Walk(t T, d destination.Destination, contract *standin.Contract, k *Case, update bool) {
	c, now, err := verify.Case(d, k.Meta())
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	partner := standin.New(contract)
	partner.Now = func() time.Time { return now }
	tape := &tape{t: t, contract: contract, plan: s.Plan(), answers: k.Given, now: now,
		next: transport.New(transport.Options{Network: partner, Auth: s.Plan().Auth.WithToken("test-access-token"),
			Now: partner.Now})}
	if k.Tape != nil {
		// Every byte that a destination sends counts.
		if tape.old, err = replay.New([]*cassette.Cassette{k.Tape}, replay.Options{
			Exact: true, Headers: []string{"Content-Type"}}); err != nil {
			t.Fatal(err)
		}
	}
	checkRouting(t, s, k.Events, now)
	got, err := verify.Converse(context.Background(), s, tape, k.Events, now)
	if err != nil {
		t.Fatal(err)
	}
	if tape.old != nil {
		for _, u := range tape.old.Usage().Unused {
			t.Errorf("interaction %d was not used: %s %s", u.Interaction, u.Method, u.URL)
		}
	}
	if tape.n < len(k.Given) {
		t.Errorf("%d answers, and only %d requests", len(k.Given), tape.n)
	}
	results := make([]string, len(got))
	for i, line := range got {
		results[i] = line.String()
		if line.Detail != "" {
			t.Logf("%s: %s", line.String(), line.Detail) // the author wants to know why; what is written down is the kind
		}
		for _, f := range d.Settings.Fields {
			if f.Secret && f.Example != "" && strings.Contains(line.Detail, f.Example) {
				t.Errorf("the secret %s shows up in a detail: %s", f.Key, line.Detail)
			}
		}
	}
	switch {
	case update && k.Tape == nil:
		k.Want = &Expectation{Case: k.Name, Results: results, Requests: tape.sent}
		return
	case k.Want == nil:
		t.Fatal("requests.jsonl has no such case (--update writes it)")
	case !slices.Equal(results, k.Want.Results):
		t.Errorf("results\n  %s\nwant\n  %s", strings.Join(results, "\n  "), strings.Join(k.Want.Results, "\n  "))
	}
	for i, r := range tape.sent {
		if i >= len(k.Want.Requests) {
			t.Fatalf("request %d, and the case expects none: %s %s %s", i, r.Method, r.URL, r.Body)
		}
		if diff := r.differs(k.Want.Requests[i]); diff != "" {
			t.Errorf("request %d is%s", i, diff)
		}
	}
	if n := len(tape.sent); n < len(k.Want.Requests) {
		t.Errorf("request %d is missing: %s %s", n, k.Want.Requests[n].Method, k.Want.Requests[n].URL)
	}
}

// checkRouting routes every event twice: the same has to come of it, and the
// event has to stay as it is.
func checkRouting(t T, s destination.Sender, events []string, now time.Time) {
	t.Helper()
	for i, text := range events {
		raw := []byte(text)
		ev, err := event.Parse(raw)
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
		env := &destination.Env{Now: now, Fallback: fmt.Sprintf("fallback-%d", i)}
		var once, again destination.Deliveries
		s.Route(ev, env, &once)
		s.Route(ev, env, &again)
		if !sameDeliveries(once.List, again.List) {
			t.Errorf("event %d is routed differently the second time", i)
		}
		if string(raw) != text {
			t.Errorf("event %d was changed", i)
		}
		ids := map[string]bool{}
		for k := range once.List {
			switch d := &once.List[k]; {
			case d.Settled == nil && d.InsertID == "":
				t.Errorf("delivery %d of event %d has no insert id", k, i)
			case d.Settled == nil && ids[d.InsertID]:
				t.Errorf("delivery %d of event %d has the insert id of an earlier one, %s: the partner would take it for that", k,
					i, d.InsertID)
			default:
				ids[d.InsertID] = true
			}
		}
	}
}

func sameDeliveries(a, b []destination.Delivery) bool {
	return slices.EqualFunc(a, b, func(x, y destination.Delivery) bool {
		return bytes.Equal(x.Item, y.Item) && x.InsertID == y.InsertID && x.Group() == y.Group() && x.Verdict() == y.Verdict()
	})
}

// tape keeps requests, holds them against the contract, and answers: with what is written or
// was recorded, or as the stand-in does. It stands above the credentials, as recorders do.
type tape struct {
	t        T
	contract *standin.Contract
	plan     *destination.Plan
	old      *replay.Replayer
	answers  []cassette.Answer
	now      time.Time
	next     http.RoundTripper // with the credentials
	sent     []Request
	n        int
}

// ReadBody reads the body of a request, which is used up by that.
func ReadBody(req *http.Request) (body []byte, err error) {
	if req.Body == nil {
		return nil, nil
	}
	defer func() { err = errors.Join(err, req.Body.Close()) }()
	return io.ReadAll(req.Body)
}

func (tp *tape) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := ReadBody(req)
	if err != nil {
		return nil, err
	}
	i := tp.n
	tp.n++
	header := http.Header{"Content-Type": req.Header["Content-Type"]}
	r := Request{Method: req.Method, URL: req.URL.String(), Type: header.Get("Content-Type"), Body: BodyOf(body)}
	tp.sent = append(tp.sent, r)
	whole := req.Clone(req.Context())
	tp.plan.Auth.WithToken("test-access-token").Apply(whole, tp.now, func() string { return strings.Repeat("0123", 8) })
	for _, v := range tp.contract.Check(whole, body) {
		tp.t.Errorf("request %d breaks the partner's contract: %v", i, v)
	}
	switch {
	case tp.old != nil:
		got, err := tp.old.Answer("", match.Request{Method: r.Method, URL: r.URL, Header: header, Body: string(body)})
		if err != nil {
			tp.t.Fatalf("request %d: %v", i, err)
		}
		return answerOf(req, got.Response.Code, got.Response.Headers.Clone(), got.Response.Body), nil
	case i < len(tp.answers):
		a := tp.answers[i]
		h := http.Header{"Content-Type": {"application/json"}}
		for k, v := range a.Headers {
			h.Set(k, v)
		}
		return answerOf(req, a.Status, h, a.Body), nil
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	return tp.next.RoundTrip(req)
}

func answerOf(req *http.Request, status int, h http.Header, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Header: h,
		Body: io.NopCloser(strings.NewReader(body)), Request: req, ProtoMajor: 1, ProtoMinor: 1}
}

// CheckKinds asks for the kinds of case that a partner is bound to need by its declaration,
// beside those that are derived: an action is delivered in one, with every all of them are, an event is too old where
// the partner has a window, and events of a request end differently where an answer may say so of each.
func CheckKinds(t T, d destination.Destination, cases []*Case, every bool) {
	tooOld := false
	delivered := map[string]bool{}
	partial := map[string]bool{}
	for _, c := range cases {
		first := map[string]string{}
		if c.Want == nil {
			continue // said elsewhere
		}
		for _, want := range c.Want.Results {
			action, result, _ := strings.Cut(want, " ")
			tooOld = tooOld || strings.HasSuffix(result, " "+string(destination.TooOld))
			delivered[action] = delivered[action] || result == destination.Delivered.String()
			if was, ok := first[action]; ok && was != result {
				partial[action] = true
			}
			first[action] = result
		}
	}
	var window bool
	var some, told []string // actions whose answers say of each event what became of it, and those where a case shows it
	for _, a := range d.Actions {
		window = window || a.Limits.Window.Past > 0
		if every && !delivered[a.Slug] {
			t.Errorf("%s: no case has %s delivered", d.Info.Slug, a.Slug)
		}
		if a.Rung == 4 || a.Verdicts != nil {
			some = append(some, a.Slug)
			if partial[a.Slug] {
				told = append(told, a.Slug)
			}
		}
	}
	if !slices.Contains(slices.Collect(maps.Values(delivered)), true) {
		t.Errorf("%s: no case has an event delivered", d.Info.Slug)
	}
	if window && !tooOld {
		t.Errorf("%s: there is a window, and in no case is an event %s", d.Info.Slug, destination.TooOld)
	}
	if len(some) > 0 && len(told) == 0 {
		t.Errorf("%s: the answers to %s say of each event what became of it, and in no case do events of one end differently",
			d.Info.Slug, strings.Join(some, ", "))
	}
}
