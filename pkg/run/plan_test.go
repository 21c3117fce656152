package run

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

// TestPlanIsRedacted: nothing that a plan quotes of events is left with a secret in it.
func TestPlanIsRedacted(t *testing.T) {
	quoted := func() map[string]Planned {
		return map[string]Planned{"r": {N: 1, Example: Example{"a SECRET", 1, "b SECRET", "c SECRET", "d SECRET"}}}
	}
	l := &PlannedLane{Skipped: quoted(), Rejected: quoted(), Live: map[string]PlannedLive{"a": {Planned: quoted()["r"]}}}
	p := &Plan{Bad: quoted(), Destinations: []*PlannedLane{l}, Names: []*PlannedName{{Name: "e SECRET"}}}
	p.Redact(func(s string) string { return strings.ReplaceAll(s, "SECRET", "***") })
	for _, part := range []any{p.Bad, l.Skipped, l.Rejected, l.Live, *p.Names[0]} {
		if text := fmt.Sprintf("%+v", part); strings.Contains(text, "SECRET") || !strings.Contains(text, "***") {
			t.Errorf("%s", text)
		}
	}
}

// TestLeftIsKnown: what was settled of a file that is no part of what is planned, or may be none, is not taken off.
func TestLeftIsKnown(t *testing.T) {
	old := source.Object{Name: "app.log", Fingerprint: "1"}
	grown := source.Object{Name: "app.log", Fingerprint: "2", After: 2} // behind the second entry
	other := source.Object{Name: "other.log", Fingerprint: "3"}
	for _, tc := range []struct {
		had, now []source.Object
		want     bool
	}{
		{nil, nil, true},
		{[]source.Object{old}, []source.Object{old, other}, true},
		{[]source.Object{other}, []source.Object{old}, false},
		{[]source.Object{{}, old, grown}, []source.Object{grown}, false},
		{[]source.Object{other, old, grown}, []source.Object{other, grown}, true},
		{[]source.Object{{}}, []source.Object{old}, false},
	} {
		if got := among(tc.had, tc.now); got != tc.want {
			t.Errorf("%v among %v: %v", tc.had, tc.now, got)
		}
	}
}
