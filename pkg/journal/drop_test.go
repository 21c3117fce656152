package journal_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// TestDroppedRows: rows of the manifest that were dropped are none when the run is opened again, after a
// crash, too, and the others keep their numbers; a row that is missing without having been dropped is
// damage, which TestDamageIsRefused has.
func TestDroppedRows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r := open(t, dir)
	var objects []source.Object
	for i := range 10 {
		objects = append(objects, source.Object{Name: fmt.Sprint("file ", i), Size: 1})
	}
	if err := r.Extend(objects); err != nil {
		t.Fatal(err)
	}
	if err := r.Drop(6, []int{0, 1, 2, 4}); err != nil {
		t.Fatal(err)
	}
	if err := r.Extend([]source.Object{{Name: "file 10"}}); err != nil { // with the commit of the next rows
		t.Fatal(err)
	}
	for _, at := range []string{crash(t, dir), dir} {
		if at == dir {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		again := open(t, at)
		rows := again.Manifest()
		if len(rows) != 11 {
			t.Fatalf("%d rows", len(rows))
		}
		for i, o := range rows {
			want := fmt.Sprint("file ", i)
			if i < 3 || i == 4 {
				want = ""
			}
			if o.Name != want {
				t.Errorf("row %d is %q, want %q", i, o.Name, want)
			}
		}
		if err := again.Extend([]source.Object{{Name: "file 11"}}); err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		left, err := journal.ReadManifest(at)
		if err != nil || len(left) != 12 || left[4].Name != "" || left[5].Name != "file 5" || left[11].Name != "file 11" {
			t.Errorf("%d rows are there: %v, %v", len(left), left, err)
		}
	}
}
