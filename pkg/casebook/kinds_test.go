package casebook

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// TestKindsThatAreAskedFor: a partner's declaration says which cases it needs.
func TestKindsThatAreAskedFor(t *testing.T) {
	some := destination.ByIndex("errors", "index", "message")
	d := destination.Destination{Info: destination.Info{Slug: "p"}, Actions: []destination.ActionInfo{
		{Slug: "one", Verdicts: &some, Limits: destination.ActionLimits{Window: destination.Window{Past: time.Hour}}},
		{Slug: "two"},
	}}
	for _, c := range []struct {
		results []string
		every   bool
		want    string
	}{
		{[]string{"one delivered", "one rejected refused", "- skipped too_old", "two delivered"}, true, ""},
		{[]string{"one delivered", "one rejected refused", "- skipped too_old", "two retry conflict"}, true,
			"no case has two delivered"},
		{[]string{"one delivered", "one rejected refused", "- skipped too_old"}, false, ""},
		{[]string{"one delivered", "one rejected refused"}, false, "in no case is an event too_old"},
		{[]string{"one delivered", "one delivered", "- skipped too_old"}, false,
			"in no case do events of one end differently"},
		{[]string{"one rejected refused", "one retry conflict", "- skipped too_old"}, false,
			"no case has an event delivered"},
	} {
		cases := []*Case{{Want: &Expectation{Results: c.results}}, {}}
		found := collect(func(t T) { CheckKinds(t, d, cases, c.every) })
		if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 ||
			!slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, c.want) })) {
			t.Errorf("%q: %q, want %q", c.results, found, c.want)
		}
	}
}
