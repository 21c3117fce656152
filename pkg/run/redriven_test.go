package run

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/engine"
)

// TestSeveralLettersOfAnEvent: an event is redriven when all of its letters are.
func TestSeveralLettersOfAnEvent(t *testing.T) {
	var letters strings.Builder
	for _, l := range []letterName{{1, 0}, {1, 1}, {2, 0}, {3, 0}, {3, 1}, {4, 1}} {
		fmt.Fprintf(&letters, `{"dead_letter":1,"run":"r","destination":"d","ordinal":%d,"k":%d,"insert_id":"","event":{}}`+
			"\n", l.ordinal, l.k)
	}
	path := filepath.Join(t.TempDir(), "d.jsonl")
	if err := os.WriteFile(path, []byte(letters.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &engine.LaneSummary{Rejected: map[string]uint64{"refused": 4}, Letters: 6}
	known := map[letterName]string{{1, 0}: "a", {2, 0}: "a", {3, 0}: "a", {3, 1}: "b"}
	if got, err := redrivenEvents(t.Context(), []string{path}, d, known); err != nil || fmt.Sprint(got) != "map[a:1 b:1]" {
		t.Errorf("%v, %v", got, err)
	}
	d.Letters = 0 // as in summaries of older versions
	if got, err := redrivenEvents(t.Context(), []string{path}, d, known); err != nil || fmt.Sprint(got) != "map[a:1 b:1]" {
		t.Errorf("without their number: %v, %v", got, err)
	}
	d.Letters = 7 // some are lost
	if got, err := redrivenEvents(t.Context(), []string{path}, d, known); err != nil || len(got) != 0 {
		t.Errorf("of damaged letters: %v, %v", got, err)
	}
}

// TestNotesOfRedrives: lines that are damaged or not whole count for nothing, those of
// older versions do.
func TestNotesOfRedrives(t *testing.T) {
	whole := noteText(letterName{12, 3}, "run-2")
	for line, want := range map[string]bool{
		whole: true, strings.TrimSuffix(whole, "\n"): false, strings.Replace(whole, "12", "13", 1): false,
		"7 0 run\n": true, "7 0 r": false, "7 0\n": false, "\n": false, "x y z\n": false, "3" + whole[1:]: false,
	} {
		if l, by, ok := parseNote(line); ok != want || ok && by == "" {
			t.Errorf("%q: %v %q %v", line, l, by, ok)
		}
	}
}
