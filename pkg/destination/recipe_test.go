package destination

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
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
