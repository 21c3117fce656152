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
