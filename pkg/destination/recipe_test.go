package destination

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// TestRecipesOfMappings runs all the mappings there are examples of, for fields of
// every type, on events of the same form and different values, with and without
// recipes: both have to give the same.
func TestRecipesOfMappings(t *testing.T) {
	type one struct{ Mapping, Payload json.RawMessage }
	var cases []one
	for _, e := range mapping.Reference() {
		cases = append(cases, one{json.RawMessage(e.Mapping), json.RawMessage(e.Event)})
	}
	if b, err := os.ReadFile("../../../shared/segment/mapping-cases.json"); err == nil {
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
			spec := Spec[struct{}]{
				Info:    Info{Slug: "test", Name: "Test"},
				Actions: []Action[struct{}]{{Slug: "a", Fields: fields}},
			}
			open := func() *sender[struct{}] {
				s, err := spec.open(&struct{}{}, Config{Actions: []Subscription{{Action: "a", Mapping: m}}}, spec.Destination().Settings)
				if err != nil {
					return nil
				}
				return s.(*sender[struct{}])
			}
			with, without := open(), open()
			if with == nil {
				continue
			}
			payload["type"], payload["messageId"] = json.RawMessage(`"track"`), json.RawMessage(`"m"`)
			base, err := json.Marshal(payload)
			if err != nil {
				t.Fatal(err)
			}
			known, strange := event.Parser{Forms: new(event.Forms)}, event.Parser{}
			var got, want Deliveries
			for i := range 24 {
				raw := base
				if i%3 > 0 {
					raw = eventgen.Vary(rnd, base, 1+i%7*3)
				}
				a, err := known.Parse(raw)
				if err != nil {
					t.Fatal(err)
				}
				b, err := strange.Parse(raw)
				if err != nil {
					t.Fatal(err)
				}
				env := Env{Now: time.Date(2024, 3, 2, 0, 0, 0, 0, time.UTC), Fallback: fmt.Sprint("f", i)}
				got.Reset()
				want.Reset()
				turn := got.turns()
				with.Route(a, &env, &got)
				without.Route(b, &env, &want)
				if !reflect.DeepEqual(got.List, want.List) {
					t.Fatalf("mapping %s, fields %+v\nevent %s\nbecame %s %+v\nand has to be %s %+v", m, fields, raw, got.List[0].Item, got.List, want.List[0].Item, want.List)
				}
				routed++
				played += got.turns() - turn
			}
		}
	}
	t.Logf("%d of %d events were played", played, routed)
	if played < routed/10 {
		t.Errorf("of %d events %d were played: recipes are of no use any more", routed, played)
	}
}

// turns is how many events were played.
func (d *Deliveries) turns() int {
	if d.scratch == nil {
		return 0
	}
	return d.turn
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
		spec := Spec[struct{}]{Info: Info{Slug: "test", Name: "Test"}, Actions: []Action[struct{}]{{Slug: "a", Fields: c.fields}}}
		open := func() Sender {
			s, err := spec.open(&struct{}{}, Config{Actions: []Subscription{{Action: "a", Mapping: c.m}}}, spec.Destination().Settings)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		with, without := open(), open()
		known := event.Parser{Forms: new(event.Forms)}
		for _, raw := range c.events {
			a, err := known.Parse([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			b, err := event.Parse([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			var got, want Deliveries
			with.Route(a, &Env{}, &got)
			without.Route(b, &Env{}, &want)
			if !reflect.DeepEqual(got.List, want.List) {
				t.Errorf("%.200s became %.200q %+v and has to be %.200q %+v", raw, got.List[0].Item, got.List[0].Result, want.List[0].Item, want.List[0].Result)
			}
		}
	}
}

// TestRecipesAreBounded routes events of ever new forms, with keys of many bytes:
// what is remembered of them stays small, also of forms that are forgotten.
func TestRecipesAreBounded(t *testing.T) {
	spec := Spec[struct{}]{Info: Info{Slug: "test", Name: "Test"}, Actions: []Action[struct{}]{{Slug: "a", Fields: []mapping.Field{{Key: "u", Type: mapping.TypeString, Default: mapping.Path("$.userId")}}}}}
	opened, err := spec.open(&struct{}{}, Config{Actions: []Subscription{{Action: "a"}}}, spec.Destination().Settings)
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*sender[struct{}])
	p := event.Parser{Forms: new(event.Forms)}
	var out Deliveries
	key := strings.Repeat("x", 16_000)
	route := func(raw string) {
		e, err := p.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		out.Reset()
		s.Route(e, &Env{}, &out)
	}
	for n := range 3000 {
		raw := fmt.Sprintf(`{"type":"track","k%d%s":1}`, n, key)
		route(raw)
		route(raw)
		if n%10 == 9 {
			p.Reset()
		}
	}
	held := int64(0)
	s.recipes.byForm.Range(func(form, _ any) bool {
		held += int64(form.(*event.Form).Size())
		return true
	})
	if size := s.recipes.size.Load(); size > maxRecipeBytes || held > size {
		t.Errorf("forms of %d bytes are held, %d are counted, at most %d may be", held, size, maxRecipeBytes)
	}
}
