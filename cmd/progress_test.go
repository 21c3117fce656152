package cmd

import (
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/engine"
)

// TestPlainProgress says nothing of a destination twice.
func TestPlainProgress(t *testing.T) {
	var out strings.Builder
	said := map[string]string{}
	done := engine.Progress{Name: "a", Done: 3, Total: 3, AllRead: true, State: "done"}
	plainProgress(&out, []engine.Progress{done, {Name: "b", Done: 1, Total: 3, State: "running"}}, said)
	plainProgress(&out, []engine.Progress{done, {Name: "b", Done: 2, Total: 3, State: "running"}}, said)
	want := `a: done, 3 of 3 events, 0 in flight, 0 retries, 0 rejected
b: running, 1 of 3+ events, 0 in flight, 0 retries, 0 rejected
b: running, 2 of 3+ events, 0 in flight, 0 retries, 0 rejected
`
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", out.String(), want)
	}
}
