package source_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

// TestTrimmedManifest: of a folder that is followed the manifest forgets the files that were passed and are
// gone, and a later process goes on with what is left of it: what is there is not read
// again, what is new is, under numbers that nothing had before.
func TestTrimmedManifest(t *testing.T) {
	dir := t.TempDir()
	write := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			text := fmt.Sprintf(`{"type":"track","event":"E","messageId":"m%d"}`+"\n", i)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.jsonl", i)), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if err := os.Remove(filepath.Join(dir, fmt.Sprintf("%05d.jsonl", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	var mu sync.Mutex
	var rows []source.Object // as a journal keeps them
	dropped := 0
	wake := make(chan struct{})
	options := source.Options{From: []string{dir}, Freeze: func(added []source.Object) error {
		mu.Lock()
		defer mu.Unlock()
		rows = append(rows, added...)
		return nil
	}, Follow: &source.Follow{Wake: wake, Trim: func(before int, entries []int) error {
		mu.Lock()
		defer mu.Unlock()
		for _, i := range entries {
			if i >= before {
				t.Errorf("entry %d is forgotten, which is not before %d", i, before)
			}
			rows[i] = source.Object{}
			dropped++
		}
		return nil
	}}}
	write(0, 1200)
	s, err := source.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	looked := func() { // twice: the second is taken when what the first has found was dealt with
		wake <- struct{}{}
		wake <- struct{}{}
	}
	looked()
	release := func(object uint32) {
		t.Helper()
		if wrong := s.Release(source.Position{Object: object}); wrong != nil {
			t.Fatal(wrong)
		}
	}
	release(1100)
	remove(0, 1000)
	write(1200, 2300)
	looked()
	release(2200)
	if mu.Lock(); dropped != 1000 || len(rows) != 2300 {
		t.Errorf("%d of %d rows are forgotten, want 1000 of 2300", dropped, len(rows))
	}
	mu.Unlock()
	if err = s.Close(); err != nil {
		t.Fatal(err)
	}
	// The next process, which does not follow: files have gone and come meanwhile, also before the others.
	remove(1000, 2295)
	write(0, 3)
	write(2300, 2303)
	options.Follow, options.Frozen = nil, slices.Clone(rows)
	if s, err = source.Open(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	var got []string
	for c, err := range s.Chunks(t.Context(), source.Position{Object: 2300}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			if r.End.Object < 2300 {
				t.Errorf("record %s has a number that was taken", r.Raw)
			}
			got = append(got, string(r.Raw[41:len(r.Raw)-2]))
		}
		c.Release()
	}
	if want := []string{"m0", "m1", "m2", "m2300", "m2301", "m2302"}; !slices.Equal(got, want) {
		t.Errorf("it reads %q, want %q", got, want)
	}
	if n := len(s.Refused()); n > 0 {
		t.Errorf("%d entries are refused", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
