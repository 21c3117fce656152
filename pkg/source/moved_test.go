package source_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/walk"
)

// TestMovedWhileRead moves a log away, or copies and empties it, at every step of opening and
// reading it after a kill, and
// between two looks at what it has grown by: all of it is read, once, and nothing is refused.
//
// A step meets each way in one of the two passes; FANFOLD_WALKS=all go test -run TestMovedWhileRead ./pkg/source has
// it meet both.
func TestMovedWhileRead(t *testing.T) {
	t.Parallel()
	w := walk.New(t, os.Getenv("FANFOLD_WALKS"), os.Getenv("FANFOLD_SEED"))
	old, more := string(numbered(0, 1500)), string(numbered(1500, 1510))
	ways := map[string]func(name string){
		"copied and emptied": func(name string) {
			data, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name+".1", data, 0o600)
			}
			if err == nil {
				err = os.Truncate(name, 0)
			}
			if err != nil {
				t.Error(err)
			}
		},
		"copied, emptied and written to": func(name string) {
			data, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name+".1", data, 0o600)
			}
			if err == nil {
				err = os.WriteFile(name, numbered(9000, 9001), 0o600)
			}
			if err != nil {
				t.Error(err)
			}
		},
		"moved": func(name string) {
			if err := os.Rename(name, name+".1"); err != nil {
				t.Error(err)
			}
		},
	}
	for i, way := range slices.Sorted(maps.Keys(ways)) {
		move := ways[way]
		for j, pass := range []source.Pass{source.First, source.Again} {
			for step := 0; ; step++ {
				if !w.Takes(0, i+j+step, 2) {
					continue
				}
				dir := t.TempDir()
				name := filepath.Join(dir, "app.log")
				if err := os.WriteFile(name, []byte(old), 0o600); err != nil {
					t.Fatal(err)
				}
				first := open(t, source.Options{From: []string{dir}})
				frozen := first.Manifest().Objects()
				begins := mustRead(t, first, source.Position{})[499].end
				var mu sync.Mutex
				steps, moved := 0, false
				d := &failingDisk{fail: func(op, n string) error {
					mu.Lock()
					defer mu.Unlock()
					if n != name || moved {
						return nil
					}
					if steps == step {
						moved = true
						move(name)
					}
					steps++
					return nil
				}}
				wake := make(chan struct{})
				ctx, cancel := context.WithCancel(context.Background())
				var voided error
				s, err := source.Open(ctx, source.Options{From: []string{dir}, Disk: d, Frozen: frozen,
					Follow: &source.Follow{Wake: wake},
					Voided: func(_ int, _ source.Place, why error) error { voided = why; return nil }})
				if err != nil {
					t.Fatal(err)
				}
				f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
				if err == nil {
					_, err = f.WriteString(more)
				}
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
				var leading sync.WaitGroup
				if pass == source.Again { // behind one that leads
					leading.Go(func() {
						for c := range s.Chunks(ctx, begins, source.First) {
							if c != nil {
								c.Release()
							}
						}
					})
				}
				leading.Go(func() {
					for ctx.Err() == nil {
						select {
						case wake <- struct{}{}:
						case <-ctx.Done():
						}
					}
				})
				n, missing := 0, fmt.Sprintf(`"n":%d,`, 1509)
				for c, err := range s.Chunks(ctx, begins, pass) {
					if err != nil {
						t.Fatalf("%s at step %d: %v", way, step, err)
					}
					n += len(c.Records)
					if strings.Contains(string(c.Data), missing) || voided != nil {
						break
					}
				}
				cancel()
				leading.Wait()
				failed := s.Failures()
				s.Close()
				want := 1010
				if moved && way == "copied, emptied and written to" {
					want++
				}
				if n != want && n != 1010 || voided != nil || failed != nil {
					t.Errorf("%s at step %d: %d records, want %d; voided %v, failed %v", way, step, n, want, voided, failed)
				}
				if !moved {
					break // it has had no such step
				}
			}
		}
	}
}

// TestMovedAmongMany: files that were moved are found among more of them than are compared with one, in a folder that
// cannot be listed apart.
func TestMovedAmongMany(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	write := func(name string, from, to int) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(name), numbered(from, to), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const many = 2050
	for i := range many {
		write(fmt.Sprintf("e%04d.jsonl", i), i, i+1)
	}
	write("web.log", 5000, 5010)
	write("zz/a.jsonl", 6000, 6005)
	write("zz/b.jsonl", 6005, 6010)
	closed := ""
	disk := &failingDisk{fail: func(op, name string) error {
		if closed != "" && strings.HasPrefix(name, closed) {
			return &fs.PathError{Op: op, Path: name, Err: syscall.EACCES}
		}
		return nil
	}}
	first := open(t, source.Options{From: []string{dir}, Disk: disk})
	frozen := first.Manifest().Objects()
	mustRead(t, first, source.Position{})
	for from, to := range map[string]string{"web.log": "web.log.1", "zz": "yy"} {
		if err := os.Rename(path(from), path(to)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range many { // new ones, which may be what was moved
		write(fmt.Sprintf("f%04d.jsonl", i), 10000+i, 10001+i)
	}
	write("web.log", 7000, 7003)
	again := open(t, source.Options{From: []string{dir}, Frozen: frozen, Disk: disk})
	if n := len(again.Manifest().Objects()) - len(frozen); n != many+1 {
		t.Errorf("%d new files, want %d", n, many+1)
	}
	frozen = again.Manifest().Objects()
	write("g.jsonl", 8000, 8001)
	closed = path("yy")
	again = open(t, source.Options{From: []string{dir}, Frozen: frozen, Disk: disk})
	if n := len(again.Manifest().Objects()) - len(frozen); n != 1 {
		t.Errorf("with a closed folder, %d new files", n)
	}
}
