package destinations_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// caller is the line of a destination that reads, if one does, else that of the
// runtime.
func caller(slug string) string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	first := ""
	for {
		f, more := frames.Next()
		at := fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		if strings.Contains(f.File, "/destinations/"+slug+"/") {
			return at + " through " + first
		}
		if first == "" && !strings.Contains(f.File, "/pkg/event/") {
			first = at
		}
		if !more {
			return first
		}
	}
}

// comparison routes events with what is remembered of earlier ones, and without.
type comparison struct {
	with, without destination.Sender
	known         event.Parser // the others are parsed alone, with nothing read ahead
	got, want     destination.Deliveries
	n             int
}

// compare opens a destination twice; nil: it cannot be opened.
func compare(t *testing.T, open func() (destination.Sender, error)) *comparison {
	with, err := open()
	if err != nil {
		return nil
	}
	without, err := open()
	if err != nil {
		t.Fatal(err)
	}
	return &comparison{with: with, without: without, known: event.Parser{Forms: new(event.Forms)}}
}

// route ends the test when an event, if it is one, becomes something else with what
// is remembered.
func (c *comparison) route(t *testing.T, raw []byte, env *destination.Env) {
	t.Helper()
	a, err := c.known.Parse(raw)
	if err != nil {
		return
	}
	b, err := event.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	c.got.Reset()
	c.want.Reset()
	c.with.Route(a, env, &c.got)
	c.without.Route(b, env, &c.want)
	if !reflect.DeepEqual(c.got.List, c.want.List) || !reflect.DeepEqual(c.got.Stamps, c.want.Stamps) {
		show := func(list []destination.Delivery) (s string) {
			for _, d := range list {
				item := d.Item
				d.Item = nil
				s += fmt.Sprintf("\n%.2000s\n%+v", item, d)
			}
			return s
		}
		t.Fatalf("event %d differs from the same without recipes; does a Compute capture something of an event? %.2000s\nbecame %s %v\nand has to be %s %v", c.n, raw, show(c.got.List), c.got.Stamps, show(c.want.List), c.want.Stamps)
	}
	if c.n++; c.n%200 == 0 {
		c.known.Reset()
	}
}

// mapped is a destination that sends its payloads.
func mapped(fields []mapping.Field, m mapping.Value) (destination.Sender, error) {
	return destination.Spec[struct{}]{
		Info:    destination.Info{Slug: "test", Name: "Test"},
		Success: []destination.Success{destination.NoBody("https://test.example", 200)},
		Actions: destination.Coded[struct{}]{{Slug: "a", Fields: fields}},
	}.Destination().Open(destination.Config{Actions: []destination.Subscription{{Action: "a", Mapping: m}}})
}

// TestRecipes routes events of the same forms and different values with and
// without what is remembered of earlier ones: what comes of them has to be the
// same, to the byte, for every destination. With -v it says what keeps recipes from
// being of use, and where; FANFOLD_EVENTS=50000 is the long form.
func TestRecipes(t *testing.T) {
	var text bytes.Buffer
	if err := eventgen.Write(&text, eventgen.Options{Seed: 5, Events: 300, Messy: true}); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	var lines [][]byte
	for line := range bytes.Lines(text.Bytes()) {
		lines = append(lines, bytes.TrimSpace(line))
	}
	var events [][]byte
	n := 2000
	if s := os.Getenv("FANFOLD_EVENTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("FANFOLD_EVENTS: %v", err)
		}
	}
	for i := range n {
		raw := lines[rnd.IntN(len(lines))]
		if i%3 > 0 {
			raw = eventgen.Vary(rnd, raw, []int{4, 40}[i%2], `"Iterable"`)
		}
		events = append(events, raw)
	}
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		for _, presets := range []string{"automatic", "all"} {
			t.Run(d.Info.Slug+"/"+presets, func(t *testing.T) {
				t.Parallel()
				p := compare(t, func() (destination.Sender, error) {
					return d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: presets})
				})
				if p == nil {
					t.Fatal("it cannot be opened with its examples: see TestCatalogue")
				}
				reasons := map[string]int{}
				p.got.Debug = func(what string) { reasons[what+" at "+caller(d.Info.Slug)]++ }
				for i, raw := range events {
					p.route(t, raw, &destination.Env{Now: time.Date(2024, 3, 2, i%24, 0, 0, 0, time.UTC), Fallback: fmt.Sprint("fallback-", i)})
				}
				for _, why := range slices.SortedFunc(maps.Keys(reasons), func(a, b string) int { return reasons[b] - reasons[a] }) {
					t.Logf("%d recordings: %s", reasons[why], why)
				}
			})
		}
	}
}

// TestRecipesOfRareForms routes events that recipes have been wrong about.
func TestRecipesOfRareForms(t *testing.T) {
	blob := func(s string) string {
		return `{"type":"track","event":"e","userId":"u","messageId":"m","timestamp":"2024-03-01T00:00:00Z","properties":{"blob":"` + s + `"}}`
	}
	blobs := []string{blob(`{}`), blob(`{}`), blob(`{\"a\":1}`), blob(`{}`), blob(`[]`)}
	decoded := func(field string) string {
		return `{"time":{"@path":"$.timestamp"},"event":{"@path":"$.event"},"name":{"@path":"$.event"},"external_id":{"@path":"$.userId"},"user_id":{"@path":"$.userId"},"event_type":{"@path":"$.event"},"` + field + `":{"@json":{"mode":"decode","value":{"@path":"$.properties.blob"}}}}`
	}
	agent := func(s string) string {
		return `{"type":"track","event":"Order Completed","messageId":"m","timestamp":"2024-03-01T00:00:00Z","context":{"userAgent":"` + s + `"},"properties":{"products":[{"time":1,"distinct_id":"u","$insert_id":"i","$browser":"b"}]}}`
	}
	chrome := "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
	order := `{"event":{"@path":"$.event"},"time":{"@path":"$.timestamp"},"generatePurchaseEventPerProduct":true,"userAgent":{"@path":"$.context.userAgent"},"products":{"@path":"$.properties.products"},"event_properties":{"@path":"$.properties"}}`
	for _, c := range []struct {
		what, slug, action, mapping string
		events                      []string
	}{
		{"an object that was empty at first", "mixpanel", "trackEvent", decoded("event_properties"), blobs},
		{"an object that was empty at first", "amplitude", "logEvent", decoded("user_properties"), blobs},
		{"an object that was empty at first", "braze", "trackEvent", decoded("properties"), blobs},
		{"nothing computed at first", "mixpanel", "trackPurchase", order, []string{agent("weird"), agent("weird"), agent(chrome)}},
		{"nothing computed at last", "mixpanel", "trackPurchase", order, []string{agent(chrome), agent(chrome), agent("weird")}},
	} {
		t.Run(c.slug+"/"+c.what, func(t *testing.T) {
			at := slices.IndexFunc(destinations.All(), func(d destination.Destination) bool { return d.Info.Slug == c.slug })
			d := destinations.All()[at]
			m, err := mapping.Parse([]byte(c.mapping))
			if err != nil {
				t.Fatal(err)
			}
			p := compare(t, func() (destination.Sender, error) {
				return d.Open(destination.Config{Settings: d.Settings.Examples(), Actions: []destination.Subscription{{Action: c.action, Mapping: m}}})
			})
			if p == nil {
				t.Fatal("it cannot be opened with its examples: see TestCatalogue")
			}
			for _, raw := range c.events {
				p.route(t, []byte(raw), &destination.Env{Now: time.Date(2024, 3, 2, 0, 0, 0, 0, time.UTC)})
			}
		})
	}
}

// TestRecipesOfMappings runs all the mappings there are examples of, for fields of
// every type, on events of the same form and different values, with and without
// recipes: both have to give the same.
func TestRecipesOfMappings(t *testing.T) {
	type one struct{ Mapping, Payload json.RawMessage }
	var cases []one
	for _, e := range mapping.Reference() {
		cases = append(cases, one{json.RawMessage(e.Mapping), json.RawMessage(e.Event)})
	}
	if b, err := os.ReadFile("../../shared/segment/mapping-cases.json"); err == nil {
		var more []one
		if err := json.Unmarshal(b, &more); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, more...)
	} else {
		t.Log("skipped: the reference cases ../shared/segment/mapping-cases.json are not there")
	}
	rnd := rand.New(rand.NewPCG(3, 3))
	types := []mapping.Type{mapping.TypeString, mapping.TypeObject, mapping.TypeNumber, mapping.TypeInteger, mapping.TypeBoolean, mapping.TypeDatetime}
	played, routed := 0, 0
	for _, c := range cases {
		m, err := mapping.Parse(c.Mapping)
		if err != nil {
			continue
		}
		var keys, payload map[string]json.RawMessage
		if json.Unmarshal(c.Mapping, &keys) != nil || json.Unmarshal(c.Payload, &payload) != nil {
			continue
		}
		if _, ok := keys["@path"]; len(keys) == 1 && !ok { // a directive as a whole: make it a member
			m, keys = mapping.Object(mapping.M("x", m)), map[string]json.RawMessage{"x": nil}
		}
		for round, typ := range types {
			var fields []mapping.Field
			for k := range keys {
				f := mapping.Field{Key: k, Type: typ, Multiple: round%2 == 1 && rnd.IntN(3) == 0, AllowNull: rnd.IntN(3) == 0, Required: rnd.IntN(6) == 0}
				if typ == mapping.TypeObject && rnd.IntN(2) == 0 {
					f.AdditionalProperties = rnd.IntN(2) == 0
					f.Properties = []mapping.Field{{Key: "a", Type: mapping.TypeString}, {Key: "id", Type: mapping.TypeInteger}, {Key: "sku", Type: mapping.TypeString, Multiple: rnd.IntN(2) == 0}, {Key: "city", Type: mapping.TypeString}}
				}
				fields = append(fields, f)
			}
			p := compare(t, func() (destination.Sender, error) { return mapped(fields, m) })
			if p == nil {
				continue
			}
			payload["type"], payload["messageId"] = json.RawMessage(`"track"`), json.RawMessage(`"m"`)
			base, err := json.Marshal(payload)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 24 {
				raw := base
				if i%3 > 0 {
					raw = eventgen.Vary(rnd, base, 1+i%7*3)
				}
				p.route(t, raw, &destination.Env{Now: time.Date(2024, 3, 2, 0, 0, 0, 0, time.UTC), Fallback: fmt.Sprint("f", i)})
				routed++
			}
			played += p.got.Played
		}
	}
	t.Logf("%d of %d events were played", played, routed)
	if played < routed/10 {
		t.Errorf("of %d events %d were played: recipes are of no use any more", routed, played)
	}
}

// TestRecipesOfOddTexts: the names that stand for values while a recipe is made may
// stand in a mapping, too; and what is too large is refused with a recipe as without.
func TestRecipesOfOddTexts(t *testing.T) {
	var many []mapping.Field
	var ms []mapping.Member
	for i := range 400 {
		many = append(many, mapping.Field{Key: fmt.Sprint("f", i), Type: mapping.TypeString})
		ms = append(ms, mapping.M(fmt.Sprint("f", i), mapping.Path("$.s")))
	}
	big := mapping.Object(ms...)
	limit := func(more string) mapping.Value {
		m, err := mapping.Parse([]byte(`{"a":{"@flatten":{"separator":".","value":{"@limit":{"items":2,"more":"` + more + `","value":{"@path":"$.l"}}}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	list := func(s string) string { return `{"type":"track","messageId":"m","l":["` + s + `","b","c"]}` }
	text := func(n int) string {
		return `{"type":"track","messageId":"m","s":"` + strings.Repeat("y", n) + `"}`
	}
	for _, c := range []struct {
		fields []mapping.Field
		m      mapping.Value
		events []string
	}{
		{[]mapping.Field{{Key: "a", Type: mapping.TypeObject}}, limit("\ue0001"), []string{list("a"), list("a"), list("z")}},
		{[]mapping.Field{{Key: "a", Type: mapping.TypeObject}}, limit("\ue000999"), []string{list("a"), list("a"), list("z")}},
		{many, big, []string{text(5), text(5), text(200_000)}},
	} {
		p := compare(t, func() (destination.Sender, error) { return mapped(c.fields, c.m) })
		for _, raw := range c.events {
			p.route(t, []byte(raw), &destination.Env{})
		}
	}
}
