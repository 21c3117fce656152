package mapping

import (
	"strings"
	"testing"
)

func TestReferenceRuns(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range Reference() {
		if !seen[e.Name] && e.Doc == "" {
			t.Errorf("%s has no documentation", e.Name)
		}
		seen[e.Name] = true
		out, defined, err := resolveTwice([]byte(e.Mapping), []byte(e.Event))
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		got := string(out)
		if !defined {
			got = "undefined"
		}
		if got != e.Result {
			t.Errorf("%s\nmapping %s\nwant %s\ngot  %s", e.Name, e.Mapping, e.Result, got)
		}
		if !strings.Contains(e.Mapping, `"`+e.Name+`"`) {
			t.Errorf("the example of %s does not use it", e.Name)
		}
	}
	for _, name := range directiveNames() {
		if !seen[name] {
			t.Errorf("%s is not documented", name)
		}
		if _, ok := directiveOf(name); !ok {
			t.Errorf("%s is listed but does not exist", name)
		}
	}
	if len(seen) != len(directiveNames()) {
		t.Errorf("%d directives are documented, %d exist", len(seen), len(directiveNames()))
	}
}
