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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/standin"
	"github.com/fanfold/fanfold/pkg/transport"
)

var update = flag.Bool("update", false, "write the requests of all cassettes anew")

// TestCassettes walks cassettes/<slug>/<case>: the events go through today's
// code, and the requests have to be the recorded ones, all of them, answered
// with the recorded answers, and to mean what the sidecar says.
func TestCassettes(t *testing.T) {
	for _, d := range destinations.All() {
		t.Run(d.Info.Slug, func(t *testing.T) {
			t.Parallel()
			cases, err := filepath.Glob("../cassettes/" + d.Info.Slug + "/*.meta.yaml")
			if err != nil {
				t.Fatal(err)
			}
			if len(cases) == 0 && !d.Local {
				t.Errorf("%s has no cassettes", d.Info.Slug)
			}
			var contract *standin.Contract
			if !d.Local {
				data, err := cassettes.Contract(d.Info.Slug)
				if err != nil {
					t.Fatal(err)
				}
				if contract, err = standin.ParseContract(data); err != nil {
					t.Fatal(err)
				}
			}
			for _, meta := range cases {
				name := strings.TrimSuffix(meta, ".meta.yaml")
				t.Run(filepath.Base(name), func(t *testing.T) {
					t.Parallel()
					walk(t, d, contract, name)
				})
			}
			if contract != nil && !*update {
				t.Run("kinds", func(t *testing.T) {
					t.Parallel()
					checkKinds(t, d, contract, cases)
				})
			}
		})
	}
}

// checkKinds asks for the kinds of case that a partner is bound to need by its
// contract and its declaration. The README lists those, too, that only somebody
// who knows the partner can tell.
func checkKinds(t *testing.T, d destination.Destination, contract *standin.Contract, sidecars []string) {
	seen := map[string]bool{} // words of results
	partial := map[string]bool{}
	for _, path := range sidecars {
		m, err := cassette.LoadMeta(path)
		if err != nil {
			t.Fatal(err)
		}
		first := map[string]string{}
		for _, want := range m.Want {
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
	var auth, window, large, results bool
	for _, a := range contract.Auth {
		// Some take everything, and never say that they do not know a caller.
		auth = auth || a.Refused.Body != "" || a.Refused.Status != http.StatusNoContent
	}
	for _, a := range d.Actions {
		window = window || a.Limits.Window.Past > 0
		large = large || a.Limits.EventBytes.N > 0
		results = results || a.Rung == 4
	}
	ask(true, "a success", destination.Delivered.String())
	ask(auth, "refused credentials", string(destination.Unauthorized))
	ask(len(contract.Auth) > 0, "a rate limit", string(destination.RateLimited))
	ask(window, "an event that is too old", string(destination.TooOld))
	ask(large, "an event that is too large", string(destination.TooLarge))
	if results && !slices.ContainsFunc(d.Actions, func(a destination.ActionInfo) bool { return partial[a.Slug] }) {
		t.Errorf("%s: no case is about a partial failure: an action has Results, and in none its events end differently", d.Info.Slug)
	}
}

func walk(t *testing.T, d destination.Destination, contract *standin.Contract, name string) {
	m, err := cassette.LoadMeta(name + ".meta.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if m.URL == "" || m.Date == "" || m.Provenance != "written: from documentation" && m.Provenance != "recorded: live" {
		t.Error("the sidecar does not say where its answers come from")
	}
	c, now, err := destinations.Case(d, m)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	tape := &tape{t: t, contract: contract, plan: s.Plan()}
	if *update {
		tape.answers = m.Answers
	} else if len(m.Answers) > 0 {
		c, err := cassette.Load(name + ".yaml")
		if err != nil {
			t.Fatalf("%v (go test ./destinations -update writes it)", err)
		}
		// Every byte that a destination sends counts.
		if tape.old, err = cassette.NewReplayer([]*cassette.Cassette{c}, cassette.ReplayOptions{Exact: true, Headers: []string{"Content-Type"}}); err != nil {
			t.Fatal(err)
		}
	}
	checkRouting(t, s, m.Events, now)
	got, err := destinations.Converse(context.Background(), s, transport.New(transport.Options{Network: tape, Auth: s.Plan().Auth}), m.Events, now)
	if err != nil {
		t.Fatal(err)
	}
	if tape.old != nil {
		for _, u := range tape.old.Usage().Unused {
			t.Errorf("interaction %d was not used: %s %s", u.Interaction, u.Method, u.URL)
		}
	}
	for _, line := range got {
		for _, f := range d.Settings.Fields {
			if f.Secret && f.Example != "" && strings.Contains(line.Detail, f.Example) {
				t.Errorf("the secret %s shows up in a detail: %s", f.Key, line.Detail)
			}
		}
	}
	var want []string
	for _, g := range got {
		want = append(want, g.String())
	}
	if *update {
		m.Want = want
		out, err := yaml.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+".meta.yaml", out, 0o644); err != nil {
			t.Fatal(err)
		}
		if len(tape.recorded) > 0 {
			c := vcr.New(name)
			for i := range tape.recorded {
				c.AddInteraction(&tape.recorded[i])
			}
			if err := c.Save(); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if !slices.Equal(want, m.Want) {
		t.Errorf("results\n  %s\nwant\n  %s", strings.Join(want, "\n  "), strings.Join(m.Want, "\n  "))
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
				t.Errorf("delivery %d of event %d has the insert id of an earlier one, %s: the partner would take it for that", k, i, d.InsertID)
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

// tape answers from a cassette and holds requests against it and the contract.
type tape struct {
	t        *testing.T
	contract *standin.Contract
	plan     *destination.Plan
	old      *cassette.Replayer
	answers  []cassette.Answer
	recorded []cassette.Interaction
	n        int
}

func (tp *tape) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body.Close()
	i := tp.n
	tp.n++
	for _, v := range tp.contract.Check(req, body) {
		tp.t.Errorf("request %d breaks the partner's contract: %v", i, v)
	}
	// What a cassette holds of a request is what it is without credentials.
	url := *req.URL
	q := url.Query()
	header := http.Header{"Content-Type": req.Header["Content-Type"]}
	for _, secret := range tp.plan.Auth.Secrets() {
		for k, vs := range q {
			if slices.Contains(vs, secret) {
				q.Del(k)
			}
		}
	}
	url.RawQuery = q.Encode()
	if *update {
		a := tp.answers
		if i >= len(a) {
			tp.t.Fatalf("request %d has no answer in the sidecar", i)
		}
		h := http.Header{"Content-Type": {"application/json"}}
		for k, v := range a[i].Headers {
			h.Set(k, v)
		}
		tp.recorded = append(tp.recorded, cassette.Interaction{
			Request:  vcr.Request{Body: string(body), Headers: header, URL: url.String(), Method: req.Method},
			Response: vcr.Response{Body: a[i].Body, Headers: h, Status: fmt.Sprintf("%d %s", a[i].Status, http.StatusText(a[i].Status)), Code: a[i].Status},
		})
		return transportAnswer(req, &tp.recorded[i].Response), nil
	}
	if tp.old == nil {
		tp.t.Fatalf("request %d, and the case expects none: %s %s", i, req.Method, url.String())
	}
	got, err := tp.old.Answer("", cassette.Request{Method: req.Method, URL: url.String(), Header: header, Body: string(body)})
	if err != nil {
		tp.t.Fatalf("request %d: %v", i, err)
	}
	return transportAnswer(req, &got.Response), nil
}

func transportAnswer(req *http.Request, r *vcr.Response) *http.Response {
	return &http.Response{StatusCode: r.Code, Status: r.Status, Header: r.Headers.Clone(), Body: io.NopCloser(strings.NewReader(r.Body)), Request: req, ProtoMajor: 1, ProtoMinor: 1}
}

// fixed answers every request with one status.
type fixed int

func (f fixed) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return &http.Response{StatusCode: int(f), Header: http.Header{}, Body: io.NopCloser(strings.NewReader("sorry")), Request: req}, nil
}

// TestEveryStatusHasAnOutcome sends a stream of events of every kind to
// partners that answer with each status there is.
func TestEveryStatusHasAnOutcome(t *testing.T) {
	g := eventgen.New(eventgen.Options{Seed: 5, Events: 200})
	var raws [][]byte
	for range 200 {
		raws = append(raws, g.Append(nil))
	}
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		t.Run(d.Info.Slug, func(t *testing.T) {
			t.Parallel()
			s, err := d.Open(destination.Config{Settings: d.Settings.Examples()})
			if err != nil {
				t.Fatal(err)
			}
			plan := s.Plan()
			var list destination.Deliveries
			for _, raw := range raws {
				ev, err := event.Parse(raw)
				if err != nil {
					t.Fatal(err)
				}
				s.Route(ev, &destination.Env{Now: time.Date(2024, 3, 1, 1, 0, 0, 0, time.UTC), Fallback: "f"}, &list)
			}
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
					rs, err := s.Send(context.Background(), fixed(status), &destination.Batch{Deliveries: []*destination.Delivery{del}})
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
					case name == "time.Now", name == "time.Sleep", name == "http.Client", name == "http.DefaultClient", name == "http.Get", name == "http.Post", strings.HasPrefix(name, "os."):
						t.Errorf("%s uses %s", path, name)
					}
				}
			}
			return true
		})
	}
}
