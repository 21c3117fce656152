package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/destination"
)

// TestDoubtfulVariables: only a variable that nothing reads makes destinations be declared that nobody asked for.
func TestDoubtfulVariables(t *testing.T) {
	var made []string
	toy, _ := toys().Catalogue.Find("toy")
	w := &World{}
	for _, slug := range []string{"other", "toy"} {
		w.Catalogue = append(w.Catalogue, destination.Lazy(slug, func() destination.Destination {
			made = append(made, slug)
			d := toy
			d.Info.Slug = slug
			return d
		}))
	}
	for _, row := range []struct{ variable, doubt, made string }{
		{"PATH", "", ""},
		{"FANFOLD_PROFILE", "", ""},
		{"FANFOLD_STATE_DIR", "", ""},
		{"FANFOLD_TOY_TOKEN", "", "toy"},
		{"FANFOLD_TOY_TOKN", "is it FANFOLD_TOY_TOKEN?", "toy other"},
	} {
		doubts := strings.Join(w.DoubtfulVariables([]string{row.variable}, func(string) bool { return false }), "\n")
		if !strings.HasSuffix(doubts, row.doubt) || (doubts == "") != (row.doubt == "") {
			t.Errorf("%s: %q, want %q", row.variable, doubts, row.doubt)
		}
		if got := strings.Join(slices.Compact(made), " "); got != row.made {
			t.Errorf("%s: %q were declared, want %q", row.variable, got, row.made)
		}
	}
}
