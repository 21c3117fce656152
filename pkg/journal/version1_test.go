package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/journal"
)

// version1 copies two runs of the version of fanfold before journals had versions in
// their records, with 60 events and the destinations a and b: one was killed with two
// requests to b in flight, the other is complete. a has rejected two events.
func version1(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/version1")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestVersion1 goes on with what an older fanfold has left, several times.
func TestVersion1(t *testing.T) {
	dir := version1(t)
	for i := range 3 {
		r := open(t, filepath.Join(dir, "killed"))
		if !strings.Contains(string(r.Meta()), `"Format":"auto"`) || len(r.Manifest()) != 1 || r.Manifest()[0].Size != 7780 {
			t.Errorf("it is run %s of %v", r.Meta(), r.Manifest())
		}
		if ok, err := r.Get("times", &struct{ Since, Until string }{}); !ok || err != nil {
			t.Errorf("its times: %v, %v", ok, err)
		}
		for name, settled := range map[string]int{"a": 60, "b": 15} {
			s := r.Lane(name).Resume()
			n := 0
			for o := range uint64(60) {
				if _, ok := s.Settled(journal.DeliveryID{Ordinal: o}); ok {
					n++
				}
			}
			if n != settled || s.Mark.Ordinal != 0 {
				t.Errorf("%s: %d are settled above %d, want %d", name, n, s.Mark.Ordinal, settled)
			}
		}
		if got := fmt.Sprint(r.Lane("b").Resume().InDoubt[0].IDs,
			r.Lane("b").Resume().InDoubt[1].IDs); got != "[{15 0 0} {16 0 0} {17 0 0} {18 0 0} {19 0 0}] [{20 0 0} {21 0 0} "+
			"{22 0 0} {23 0 0} "+
			"{24 0 0}]" {
			t.Errorf("in doubt: %s", got)
		}
		if n, _ := r.Lane("a").DeadLetters(); n != 2 || r.Lane("a").CheckDeadLetters() != nil {
			t.Errorf("%d dead letters: %v", n, r.Lane("a").CheckDeadLetters())
		}
		if m := r.Lane("_source").Resume().Mark; m.Ordinal != 60 {
			t.Errorf("read up to %d", m.Ordinal)
		}
		// Something new, so that commits of both versions stand side by side.
		if _, err := r.Lane(fmt.Sprint("new", i)).Begin("act", span(0, 1), 1, false); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, filepath.Join(dir, "done"))
	if s := r.Lane("a").Resume(); s.Mark.Ordinal != 60 || s.Counts.Delivered != 58 || s.Counts.Rejected["refused"] != 2 {
		t.Errorf("the complete one: %+v", s)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestVersion1IsRefused: what an older fanfold could not tell apart is not guessed.
func TestVersion1IsRefused(t *testing.T) {
	var records []byte
	for i := range 300 {
		name := fmt.Sprintf("d%03d", i)
		records = append(records, 'L', byte(i), byte(len(name)))
		records = append(records, name...)
	}
	if err := journal.Replay(unversionedData(records)); !errorHas(err, "more than 255 destinations") {
		t.Errorf("300 lanes of one byte: %v", err)
	}
	if err := journal.Replay(unversionedData(records[:256*7])); err != nil {
		t.Errorf("256 lanes: %v", err)
	}
}
