package destination

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// TestRecipesAreBounded routes events of ever new forms, with keys of many bytes:
// what is remembered of them stays small, also of forms that are forgotten.
func TestRecipesAreBounded(t *testing.T) {
	spec := Spec[struct{}]{Info: Info{Slug: "test", Name: "Test"}, Success: []Success{NoBody("https://test.example", 200)}, Actions: Coded[struct{}]{{Slug: "a", Fields: []mapping.Field{{Key: "u", Type: mapping.TypeString, Default: mapping.Path("$.userId")}}}}}
	opened, err := spec.open(&struct{}{}, Config{Actions: []Subscription{{Action: "a"}}}, spec.Destination().Settings)
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*sender)
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

// TestInsertIDs gives each delivery of an event an insert id of its own, also those of
// the same action, with what is remembered and without.
func TestInsertIDs(t *testing.T) {
	spec := Spec[struct{}]{Info: Info{Slug: "test", Name: "Test"}, Success: []Success{NoBody("https://test.example", 200)}, Actions: Coded[struct{}]{
		{Slug: "a", Fields: []mapping.Field{{Key: "u", Type: mapping.TypeString, Default: mapping.Path("$.userId")}}},
		{Slug: "b", Fields: []mapping.Field{{Key: "u", Type: mapping.TypeString, Default: mapping.Path("$.userId")}}},
	}}
	sub := func(action, subscribe string) Subscription {
		return Subscription{Action: action, Subscribe: subscribe, Mapping: mapping.Object(mapping.M("u", mapping.Path("$.userId")))}
	}
	s, err := spec.Destination().Open(Config{Actions: []Subscription{sub("a", ""), sub("a", `userId = "x"`), sub("a", ""), sub("b", ""), sub("a", ""), sub("b", "")}})
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{
		"y": "m m:a m:b m:a.2 m:b.2",
		"x": "m m:a m:a.2 m:b m:a.3 m:b.2",
	} {
		p := event.Parser{Forms: new(event.Forms)}
		for range 4 {
			ev, err := p.Parse([]byte(`{"type":"track","messageId":"m","userId":"` + user + `"}`))
			if err != nil {
				t.Fatal(err)
			}
			var out Deliveries
			s.Route(ev, &Env{}, &out)
			var ids []string
			for _, d := range out.List {
				ids = append(ids, d.InsertID)
			}
			if got := strings.Join(ids, " "); got != want {
				t.Errorf("%s: %s, want %s", user, got, want)
			}
		}
	}
}
