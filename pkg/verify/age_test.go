package verify

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
)

// TestAgeOf checks that a cassette is stale if it is older than the limit or, on
// request, of unknown age, and that a leftover journal is noticed.
func TestAgeOf(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "order.yaml")
	if err := os.WriteFile(path, []byte("version: 1\ninteractions: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		date   string
		strict bool
		days   int // -1: unknown
		stale  bool
	}{
		{"2026-02-01", false, 28, false}, {"2026-02-01", true, 28, false}, {"2025-11-01", false, 120, true},
		{"", false, -1, false}, {"", true, -1, true}, {"soon", true, -1, true},
	} {
		k := &cassette.Cassette{Path: path, Meta: cassette.Meta{Date: c.date}}
		a := AgeOf(k, now, 90*24*time.Hour, c.strict)
		days := -1
		if a.AgeDays != nil {
			days = *a.AgeDays
		}
		if days != c.days || a.Stale != c.stale || a.Interrupted || a.Bytes == 0 {
			t.Errorf("%q, strict %v: %d days, stale %v, %+v", c.date, c.strict, days, a.Stale, a)
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "order.partial.jsonl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := AgeOf(&cassette.Cassette{Path: path}, now, time.Hour, false); !a.Interrupted {
		t.Error("what an interrupted recording left is not noticed")
	}
}
