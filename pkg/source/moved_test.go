package source_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

// TestMovedWhileRead moves a log away, or copies and empties it, at every step of opening and reading it after a kill, and
// between two looks at what it has grown by: all of it is read, once, and nothing is refused.
func TestMovedWhileRead(t *testing.T) {
	t.Parallel()
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
	for way, move := range ways {
		for _, pass := range []source.Pass{source.First, source.Again} {
			for step := 0; ; step++ {
				dir := t.TempDir()
				name := filepath.Join(dir, "app.log")
				if err := os.WriteFile(name, []byte(old), 0o600); err != nil {
					t.Fatal(err)
				}
				first := open(t, source.Options{From: []string{dir}})
				frozen := first.Manifest().Objects()
				begins := mustRead(t, first, source.Position{})[499].end
				steps, moved := 0, false
				d := &failingDisk{fail: func(op, n string) error {
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
				wake <- struct{}{}
				wake <- struct{}{}
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
				want := 1010
				if moved && way == "copied, emptied and written to" {
					want++
				}
				if failed := s.Failures(); n != want && n != 1010 || voided != nil || failed != nil {
					t.Errorf("%s at step %d: %d records, want %d; voided %v, failed %v", way, step, n, want, voided, failed)
				}
				s.Close()
				if !moved {
					break // it has had no such step
				}
			}
		}
	}
}
