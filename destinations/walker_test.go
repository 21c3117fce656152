package destinations_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/standin"
	"github.com/fanfold/fanfold/pkg/transport"
	"github.com/fanfold/fanfold/pkg/verify"
)

var update = flag.Bool("update", false, "write the requests and results of all cases anew")

// TestCassettes walks the cases of every partner: the events go through today's code, and
// the requests have to be the ones written down, all of them, and to mean what stands there.
// cassettes/<slug>/cases.yaml has the cases, requests.jsonl what is sent for them; beside
// these may lie what was recorded, as cassettes of go-vcr's and their sidecars. What holds
// for every partner is derived from its declaration and its contract, see everybody.
func TestCassettes(t *testing.T) {
	for _, d := range destinations.All() {
		t.Run(d.Info.Slug, func(t *testing.T) {
			t.Parallel()
			cases := casesOf(t, d.Info.Slug)
			if d.Local {
				if len(cases) > 0 {
					t.Error("a destination that is no partner has cases")
				}
				return
			}
			if len(cases) == 0 {
				t.Fatalf("%s has no cases", d.Info.Slug)
			}
			contract := contractOf(t, d)
			if *update {
				t.Cleanup(func() { saveExpectations(t, d.Info.Slug, cases) })
			}
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					walk(t, d, contract, c)
				})
			}
			if !*update {
				t.Run("kinds", func(t *testing.T) {
					t.Parallel()
					checkKinds(t, d, cases)
				})
				t.Run("everybody", func(t *testing.T) {
					t.Parallel()
					everybody(t, d, contract)
				})
			}
		})
	}
}

func contractOf(t *testing.T, d destination.Destination) *standin.Contract {
	t.Helper()
	data, err := cassettes.Contract(d.Info.Slug)
	if err != nil {
		t.Fatal(err)
	}
	contract, err := standin.ParseContract(data)
	if err != nil {
		t.Fatal(err)
	}
	return contract
}

// checkKinds asks for the kinds of case that a partner is bound to need by its declaration,
// beside those that are derived.
func checkKinds(t *testing.T, d destination.Destination, cases []*testCase) {
	seen := map[string]bool{} // words of results
	partial := map[string]bool{}
	for _, c := range cases {
		first := map[string]string{}
		if c.want == nil {
			continue // said elsewhere
		}
		for _, want := range c.want.Results {
			action, result, _ := strings.Cut(want, " ")
			for word := range strings.FieldsSeq(result) {
				seen[word] = true
			}
			if was, ok := first[action]; ok && was != result {
				partial[action] = true
			}
			first[action] = result
		}
	}
	ask := func(bound bool, what, want string) {
		if bound && !seen[want] {
			t.Errorf("%s: no case is about %s: none wants %s", d.Info.Slug, what, want)
		}
	}
	var window, results bool
	for _, a := range d.Actions {
		window = window || a.Limits.Window.Past > 0
		results = results || a.Rung == 4
	}
	ask(true, "a success", destination.Delivered.String())
	ask(window, "an event that is too old", string(destination.TooOld))
	if results && !slices.ContainsFunc(d.Actions, func(a destination.ActionInfo) bool { return partial[a.Slug] }) {
		t.Errorf("%s: no case is about a partial failure: an action has Results, and in none its events end differently",
			d.Info.Slug)
	}
}

func walk(t *testing.T, d destination.Destination, contract *standin.Contract, k *testCase) {
	c, now, err := verify.Case(d, k.meta())
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	partner := standin.New(contract)
	partner.Now = func() time.Time { return now }
	tape := &tape{t: t, contract: contract, plan: s.Plan(), answers: k.answers, next: transport.New(transport.Options{
		Network: partner, Auth: s.Plan().Auth.WithToken("test-access-token")})}
	if k.tape != nil {
		// Every byte that a destination sends counts.
		if tape.old, err = cassette.NewReplayer([]*cassette.Cassette{k.tape}, cassette.ReplayOptions{
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
	if tape.n < len(k.answers) {
		t.Errorf("%d answers, and only %d requests", len(k.answers), tape.n)
	}
	results := make([]string, len(got))
	for i, line := range got {
		results[i] = line.String()
		for _, f := range d.Settings.Fields {
			if f.Secret && f.Example != "" && strings.Contains(line.Detail, f.Example) {
				t.Errorf("the secret %s shows up in a detail: %s", f.Key, line.Detail)
			}
		}
	}
	switch {
	case *update && k.tape == nil:
		k.want = &expectation{Case: k.name, Results: results, Requests: tape.sent}
		return
	case k.want == nil:
		t.Fatal("requests.jsonl has no such case (go test ./destinations -update writes it)")
	case !slices.Equal(results, k.want.Results):
		t.Errorf("results\n  %s\nwant\n  %s", strings.Join(results, "\n  "), strings.Join(k.want.Results, "\n  "))
	}
	for i, r := range tape.sent {
		if i >= len(k.want.Requests) {
			t.Fatalf("request %d, and the case expects none: %s %s %s", i, r.Method, r.URL, r.Body)
		}
		if diff := r.differs(k.want.Requests[i]); diff != "" {
			t.Errorf("request %d is%s", i, diff)
		}
	}
	if n := len(tape.sent); n < len(k.want.Requests) {
		t.Errorf("request %d is missing: %s %s", n, k.want.Requests[n].Method, k.want.Requests[n].URL)
	}
}

// checkRouting routes every event twice: the same has to come of it, and the
// event has to stay as it is.
func checkRouting(t *testing.T, s destination.Sender, events []string, now time.Time) {
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
	t        *testing.T
	contract *standin.Contract
	plan     *destination.Plan
	old      *cassette.Replayer
	answers  []cassette.Answer
	next     http.RoundTripper // with the credentials
	sent     []request
	n        int
}

func (tp *tape) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	i := tp.n
	tp.n++
	header := http.Header{"Content-Type": req.Header["Content-Type"]}
	r := request{Method: req.Method, URL: req.URL.String(), Type: header.Get("Content-Type"), Body: bodyOf(body)}
	tp.sent = append(tp.sent, r)
	whole := req.Clone(req.Context())
	tp.plan.Auth.WithToken("test-access-token").Apply(whole)
	for _, v := range tp.contract.Check(whole, body) {
		tp.t.Errorf("request %d breaks the partner's contract: %v", i, v)
	}
	switch {
	case tp.old != nil:
		got, err := tp.old.Answer("", cassette.Request{Method: r.Method, URL: r.URL, Header: header, Body: string(body)})
		if err != nil {
			tp.t.Fatalf("request %d: %v", i, err)
		}
		return transportAnswer(req, got.Response.Code, got.Response.Headers.Clone(), got.Response.Body), nil
	case i < len(tp.answers):
		a := tp.answers[i]
		h := http.Header{"Content-Type": {"application/json"}}
		for k, v := range a.Headers {
			h.Set(k, v)
		}
		return transportAnswer(req, a.Status, h, a.Body), nil
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	return tp.next.RoundTrip(req)
}

func transportAnswer(req *http.Request, status int, h http.Header, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Header: h,
		Body: io.NopCloser(strings.NewReader(body)), Request: req, ProtoMajor: 1, ProtoMinor: 1}
}

// fixed answers every request with one status.
type fixed int

func (f fixed) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return &http.Response{StatusCode: int(f), Header: http.Header{}, Body: io.NopCloser(strings.NewReader("sorry")),
		Request: req}, nil
}

// filledIn are subscriptions to all actions of a destination that sends nothing by itself:
// its fields are what the user says.
func filledIn(d destination.Destination) (subs []destination.Subscription) {
	for _, a := range d.Actions {
		var ms []mapping.Member
		for _, f := range a.Fields {
			if v := f.Default; !v.IsZero() {
				ms = append(ms, mapping.M(f.Key, v))
			} else if f.Required {
				ms = append(ms, mapping.M(f.Key, mapping.Literal("+15005550006")))
			}
			if f.Key == "email" && !f.Required {
				ms = append(ms, mapping.M(f.Key, mapping.Literal("eva@example.com")))
			}
		}
		subs = append(subs, destination.Subscription{Action: a.Slug, Mapping: mapping.Object(ms...)})
	}
	return subs
}

// generated are made-up events of every kind.
func generated(seed uint64, n int) (events []string) {
	g := eventgen.New(eventgen.Options{Seed: seed, Events: n})
	for range n {
		events = append(events, string(bytes.TrimSpace(g.Append(nil))))
	}
	return events
}

// madeOf is what a destination makes of events at some time.
func madeOf(t *testing.T, s destination.Sender, events []string, now time.Time) *destination.Deliveries {
	t.Helper()
	list := new(destination.Deliveries)
	for i, text := range events {
		ev, err := event.Parse([]byte(text))
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		s.Route(ev, &destination.Env{Now: now, Fallback: fmt.Sprintf("f-%d", i)}, list)
	}
	return list
}

// TestEveryStatusHasAnOutcome sends a stream of events of every kind to
// partners that answer with each status there is.
func TestEveryStatusHasAnOutcome(t *testing.T) {
	events := generated(5, 200)
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		t.Run(d.Info.Slug, func(t *testing.T) {
			t.Parallel()
			var s destination.Sender
			var list *destination.Deliveries
			for _, subs := range [][]destination.Subscription{nil, filledIn(d)} {
				var err error
				if s, err = d.Open(destination.Config{Settings: d.Settings.Examples(), Actions: subs}); err != nil {
					t.Fatal(err)
				}
				list = madeOf(t, s, events, time.Date(2024, 3, 1, 1, 0, 0, 0, time.UTC))
				if slices.ContainsFunc(list.List, func(d destination.Delivery) bool { return d.Settled == nil }) {
					break
				}
			}
			plan := s.Plan()
			seen := map[int32]bool{}
			for i := range list.List {
				del := &list.List[i]
				if del.Settled != nil || seen[del.Action] {
					continue
				}
				seen[del.Action] = true
				if most := plan.Actions[del.Action].Limits.EventBytes.N; most > 0 && len(del.Item) > most {
					t.Errorf("an item of %d bytes, the partner takes %d", len(del.Item), most)
				}
				for status := 100; status < 600; status++ {
					rs, err := s.Send(context.Background(), fixed(status),
						&destination.Batch{Deliveries: []*destination.Delivery{del}})
					if err != nil || len(rs) != 1 || rs[0].Outcome == destination.Undecided {
						t.Errorf("%s: status %d: %v %v", plan.Actions[del.Action].Slug, status, rs, err)
						continue
					}
					o := rs[0].Outcome
					switch {
					case status >= 200 && status < 300:
					case o == destination.Delivered:
						t.Errorf("%s: status %d counts as delivered", plan.Actions[del.Action].Slug, status)
					case (status == 429 || status == 500 || status == 503) && o != destination.Retry:
						t.Errorf("%s: status %d is not retried", plan.Actions[del.Action].Slug, status)
					}
				}
			}
			if len(seen) == 0 {
				t.Error("none of 200 events of every kind is sent")
			}
		})
	}
}

// TestCatalogue checks what must hold for every destination's declaration.
func TestCatalogue(t *testing.T) {
	var slugs []string
	for _, d := range destinations.All() {
		slugs = append(slugs, d.Info.Slug)
		if d.Info.Name == "" || d.Info.Summary == "" || d.Info.Backfill == "" || !strings.HasPrefix(d.Info.Docs, "https://") {
			t.Errorf("%s: the info is incomplete", d.Info.Slug)
		}
		check := func(what string, n float64, docs string) {
			if n > 0 && !strings.HasPrefix(docs, "https://") {
				t.Errorf("%s: %s has no source", d.Info.Slug, what)
			}
		}
		limits := []destination.Limits{d.Limits}
		for _, a := range d.Actions {
			limits = append(limits, a.Limits.Alone())
			for _, x := range a.Success {
				check("a success ("+x.String()+")", 1, x.Docs)
			}
			if _, err := mapping.CompileFields(a.Fields, mapping.Value{}); err != nil {
				t.Errorf("%s: %s: %v", d.Info.Slug, a.Slug, err)
			}
		}
		for _, l := range limits {
			for _, r := range l.Rates {
				check("a rate", r.N, r.Docs)
			}
			check("concurrency", float64(l.Concurrency.N), l.Concurrency.Docs)
			check("batch events", float64(l.BatchEvents.N), l.BatchEvents.Docs)
			check("batch bytes", float64(l.BatchBytes.N), l.BatchBytes.Docs)
			check("event bytes", float64(l.EventBytes.N), l.EventBytes.Docs)
			check("the window", float64(l.Window.Past+l.Window.Future), l.Window.Docs)
		}
		lacking := false
		for _, f := range d.Settings.Fields {
			if f.Required && f.Example == "" && f.Default == "" {
				lacking = true
				t.Errorf("%s: the required setting %s has no example tag", d.Info.Slug, f.Key)
			}
		}
		for _, presets := range []string{"automatic", "all"} {
			if lacking {
				break // it cannot be opened
			}
			if _, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: presets}); err != nil {
				t.Errorf("%s: presets %s: %v", d.Info.Slug, presets, err)
			}
		}
	}
	if !slices.IsSorted(slugs) {
		t.Errorf("the catalogue is not sorted: %v", slugs)
	}
}

// TestDestinationsArePure rejects what a destination must not do. Those that
// are no partners (file, s3, stdout) are there to touch the machine.
func TestDestinationsArePure(t *testing.T) {
	files, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := filepath.Glob("internal/agent/*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, shared...)
	for _, path := range files {
		if dir := filepath.Dir(path); dir == "file" || dir == "s3" || dir == "stdout" || strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine", path)
			case *ast.FuncDecl:
				if n.Name.Name == "init" {
					t.Errorf("%s has an init function", path)
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					switch name := x.Name + "." + n.Sel.Name; {
					case name == "time.Now", name == "time.Sleep", name == "http.Client", name == "http.DefaultClient",
						name == "http.Get", name == "http.Post", strings.HasPrefix(name, "os."):
						t.Errorf("%s uses %s", path, name)
					}
				}
			}
			return true
		})
	}
}
