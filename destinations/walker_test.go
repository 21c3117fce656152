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
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/standin"
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
				t.Cleanup(func() {
					path := filepath.Join("../cassettes", d.Info.Slug, "requests.jsonl")
					if err := os.WriteFile(path, casebook.Lines(cases), 0o644); err != nil {
						t.Error(err)
					}
				})
			}
			for _, c := range cases {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					casebook.Walk(t, d, contract, c, *update)
				})
			}
			if !*update {
				t.Run("kinds", func(t *testing.T) {
					t.Parallel()
					casebook.CheckKinds(t, d, cases, true)
				})
				t.Run("everybody", func(t *testing.T) {
					t.Parallel()
					casebook.Everybody(t, d, contract, standard(t))
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
			fill := mapping.Literal("+15005550006")
			if len(f.Choices) > 0 {
				fill = mapping.Literal(f.Choices[0])
			}
			switch v := f.Default; {
			case f.Required && !v.IsZero():
				ms = append(ms, mapping.M(f.Key, mapping.If(v, v, fill)))
			case f.Required:
				ms = append(ms, mapping.M(f.Key, fill))
			case !v.IsZero():
				ms = append(ms, mapping.M(f.Key, v))
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

// sourceless finds facts about partners without the address of the documentation that says so: of whatever has Docs
// beside it, wherever it stands in a declaration.
func sourceless(what string, v reflect.Value) (found []string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			found = sourceless(what, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			found = append(found, sourceless(what, v.Index(i))...)
		}
	case reflect.Struct:
		said := false
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && field.Name != "Docs" {
				said = said || !v.Field(i).IsZero()
				found = append(found, sourceless(what+": "+field.Name, v.Field(i))...)
			}
		}
		if docs := v.FieldByName("Docs"); docs.IsValid() && said && !strings.HasPrefix(docs.String(), "https://") {
			found = append(found, fmt.Sprintf("%s: %+v has no source", what, v.Interface()))
		}
	}
	return found
}

// TestSourceless: every fact that a limit can hold is found when it has no source.
func TestSourceless(t *testing.T) {
	const docs = "https://partner.example/docs"
	bare := destination.Limits{
		Rates: destination.Rates(docs, "5/s"), Concurrency: destination.Cap{N: 1},
		EventBytes: destination.Cap{N: 1, Docs: docs},
		Retries:    destination.Retries{Longest: time.Minute}, Dedupe: destination.Dedupe{Field: "id", Docs: "somebody"},
		Window: destination.Window{Since: time.Unix(1, 0), But: &destination.PastOf{Past: 1}},
	}
	bare.Rates = append(bare.Rates, destination.Rate{N: 1})
	if found := sourceless("limits", reflect.ValueOf(bare)); len(found) != 6 {
		t.Errorf("of 6 facts without a source %d are found: %q", len(found), found)
	}
}

// TestCatalogue checks what must hold for every destination's declaration.
func TestCatalogue(t *testing.T) {
	var slugs []string
	for i, d := range destinations.All() {
		slugs = append(slugs, d.Info.Slug)
		if l := destinations.Catalogue()[i]; l.Slug != d.Info.Slug {
			t.Errorf("%s is listed as %s", d.Info.Slug, l.Slug)
		}
		t.Run(d.Info.Slug, func(t *testing.T) { checkDeclaration(t, d) })
	}
	if !slices.IsSorted(slugs) {
		t.Errorf("the catalogue is not sorted: %v", slugs)
	}
}

// checkDeclaration checks one destination's declaration.
func checkDeclaration(t *testing.T, d destination.Destination) {
	for what, text := range map[string]string{
		"Name": d.Info.Name, "Summary": d.Info.Summary, "Backfill": d.Info.Backfill,
	} {
		if text == "" || strings.Contains(text, "TODO") {
			t.Errorf("Info.%s says nothing yet", what)
		}
	}
	for _, f := range d.Settings.Fields {
		if strings.Contains(f.Doc, "TODO") {
			t.Errorf("the setting %s says nothing yet of what it is", f.Key)
		}
	}
	for _, a := range d.Actions {
		if strings.Contains(a.Doc, "TODO") {
			t.Errorf("the action %s says nothing yet of what it does", a.Slug)
		}
	}
	if !strings.HasPrefix(d.Info.Docs, "https://") {
		t.Errorf("Info.Docs is %q, no address of the API's documentation", d.Info.Docs)
	}
	found := slices.Concat(sourceless("limits", reflect.ValueOf(d.Limits)),
		sourceless("answers", reflect.ValueOf(d.Sayings)), sourceless("differences", reflect.ValueOf(d.Info.Differences)))
	for _, a := range d.Actions {
		found = append(found, sourceless(a.Slug+": limits", reflect.ValueOf(a.Limits))...)
		found = append(found, sourceless(a.Slug+": successes", reflect.ValueOf(a.Success))...)
		found = append(found, sourceless(a.Slug+": job", reflect.ValueOf(a.Job))...)
		if _, err := payload.Compile(a.Fields, mapping.Value{}); err != nil {
			t.Errorf("%s: %v", a.Slug, err)
		}
	}
	for _, what := range found {
		t.Error(what)
	}
	if r := d.Limits.Retries; min(r.MaxTime, r.First, r.Longest) < 0 || r.Attempts < 0 ||
		r.Longest > 0 && r.First > r.Longest {
		t.Errorf("no lane can keep these retries: %+v", r)
	}
	lacking := false
	for _, f := range d.Settings.Fields {
		if f.Required && f.Example == "" && f.Default == "" {
			lacking = true
			t.Errorf("the required setting %s has no example tag", f.Key)
		}
	}
	for _, presets := range []string{"automatic", "all"} {
		if lacking {
			break // it cannot be opened
		}
		if _, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: presets}); err != nil {
			t.Errorf("presets %s: %v", presets, err)
		}
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
