package run

import (
	"fmt"
	"strings"
	"testing"
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
