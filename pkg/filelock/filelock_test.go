package filelock_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/fanfold/fanfold/pkg/filelock"
)

// TestLock: one has it at a time, whoever waits gets it next, and a folder is no file.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.Try(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = filelock.Try(path); !errors.Is(err, filelock.ErrLocked) {
		t.Fatalf("a second one gets it: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		f, failed := filelock.Wait(path)
		if failed == nil {
			failed = f.Close()
		}
		got <- failed
	}()
	if err = first.Close(); err != nil {
		t.Fatal(err)
	}
	if err = <-got; err != nil {
		t.Fatal(err)
	}
	if f, free := filelock.Try(path); free != nil {
		t.Fatal(free)
	} else if err = f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = filelock.Wait(filepath.Dir(path)); err == nil || errors.Is(err, filelock.ErrLocked) {
		t.Errorf("a folder: %v", err)
	}
}
