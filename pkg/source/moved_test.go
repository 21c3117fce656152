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
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/source"
)

// TestMovedWhileRead moves a log away, or copies and empties it, at every step of opening and reading it after a
// kill, and between two looks at what it has grown by: all of it is read, once, and nothing is refused.
func TestMovedWhileRead(t *testing.T) {
	t.Parallel()
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
	for _, way := range slices.Sorted(maps.Keys(ways)) {
		for _, pass := range []source.Pass{source.First, source.Again} {
			for step := 0; ; step++ {
				moved := false
				synctest.Test(t, func(t *testing.T) { moved = movedAt(t, way, ways[way], pass, step) })
				if !moved {
					break // it has had no such step
				}
			}
		}
	}
}

// movedAt moves a log at one step of one pass, and says whether there was such a step.
func movedAt(t *testing.T, way string, move func(name string), pass source.Pass, step int) (moved bool) {
	old, more := string(numbered(0, 600)), string(numbered(600, 610))
	dir := t.TempDir()
	name := filepath.Join(dir, "app.log")
	if err := os.WriteFile(name, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	first := open(t, source.Options{From: []string{dir}})
	frozen := first.Manifest().Objects()
	begins := mustRead(t, first, source.Position{})[199].end
	var mu sync.Mutex
	steps := 0
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
		for looks := 0; ctx.Err() == nil; looks++ {
			if looks > 2 {
				time.Sleep(time.Second) // until nothing else is left to do
			}
			select {
			case wake <- struct{}{}:
			case <-ctx.Done():
			}
		}
	})
	n, missing := 0, fmt.Sprintf(`"n":%d,`, 609)
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
	want := 410
	if moved && way == "copied, emptied and written to" {
		want++
	}
	if n != want && n != 410 || voided != nil || failed != nil {
		t.Errorf("%s at step %d: %d records, want %d; voided %v, failed %v", way, step, n, want, voided, failed)
	}
	return moved
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
