package file

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// TestAge: a part is closed when it is old enough, whether more comes or not, and never before;
// nothing is written to a closed one, and a clock that is set back holds none open for ever.
func TestAge(t *testing.T) {
	dir := t.TempDir()
	s, err := New().Open(destination.Config{Settings: map[string]any{"path": dir, "max_age": "1h", "compression": "none"}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	age := func(after time.Duration) {
		t.Helper()
		now = now.Add(after)
		if err := s.(destination.Aging).Age(now); err != nil {
			t.Fatal(err)
		}
	}
	send := func(text string) {
		t.Helper()
		b := &destination.Batch{Now: now, Deliveries: []*destination.Delivery{{Item: destination.Line([]byte(text))}}}
		if _, err := s.Send(context.Background(), nil, b); err != nil {
			t.Fatal(err)
		}
	}
	has := func(want ...string) {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, path := range found {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, filepath.Base(path)+" "+strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", " "))
		}
		if !slices.Equal(got, want) {
			t.Errorf("there are %q, want %q", got, want)
		}
	}
	age(time.Hour) // nothing is open
	send("1")
	age(59 * time.Minute)
	send("2")
	has("events-000001.jsonl.part 1 2")
	age(time.Minute)
	has("events-000001.jsonl 1 2")
	age(10 * time.Hour)
	has("events-000001.jsonl 1 2") // no empty one is begun
	send("3")
	age(-5 * time.Hour) // the clock is set back
	age(59 * time.Minute)
	has("events-000001.jsonl 1 2", "events-000002.jsonl.part 3")
	age(time.Minute)
	has("events-000001.jsonl 1 2", "events-000002.jsonl 3")
	if _, err := New().Open(destination.Config{Settings: map[string]any{"max_age": "10ms"}}); err == nil ||
		!strings.Contains(err.Error(), "setting max_age: has to be at least 1s") {
		t.Errorf("error %v", err)
	}
}
