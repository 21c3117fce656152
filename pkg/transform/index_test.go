package transform

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

// TestIndexAfterKills kills a process again and again before it has synced its index, so
// that what is counted there is far too little: the table grows all the same, and every
// key keeps its first position.
func TestIndexAfterKills(t *testing.T) {
	const kills, each = 12, 700
	name := filepath.Join(t.TempDir(), "repeats.idx")
	at := func(i int) source.Position { return source.Position{Offset: int64(i)} }
	key := func(i int) [32]byte { return sha256.Sum256(fmt.Append(nil, i)) }
	for kill := range kills {
		x, err := openIndex(name, kill > 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range each * (kill + 1) { // from the beginning, as a run that has no checkpoint yet
			if first, found := x.first(key(i), at(i)); found != nil || first != at(i) {
				t.Fatalf("kill %d: key %d was first at %v, %v", kill, i, first, found)
			}
			if first, found := x.first(key(i), at(i+1)); found != nil || first != at(i) {
				t.Fatalf("kill %d: the repeat of key %d: %v, %v", kill, i, first, found)
			}
		}
		// Killed: what was written is there, the header is that of the last sync.
		left, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err = x.close(); err != nil {
			t.Fatal(err)
		}
		if err = os.WriteFile(name, left, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
