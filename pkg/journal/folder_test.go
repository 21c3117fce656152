package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFolderOfRuns: where no run can be kept, the error says what to do.
func TestFolderOfRuns(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "open", Path: "lock", Err: syscall.EACCES}, "denied: what runs have done is kept there"},
		{&os.PathError{Op: "open", Path: "lock", Err: syscall.EROFS}, "--state-dir names another folder"},
		{&os.PathError{Op: "mkdir", Path: "run", Err: syscall.ENOSPC}, "is the disk full? --state-dir"},
		{fs.ErrNotExist, fs.ErrNotExist.Error()},
	} {
		if got := ofFolder(tc.err); !errors.Is(got, tc.err) || !strings.Contains(got.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.err, got, tc.want)
		}
	}
	if os.Geteuid() <= 0 {
		t.Skip("skipped in part: who runs this may write everywhere, or has no id")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(dir, "run"), nil, Options{Now: time.Now})
	if err == nil || !strings.Contains(err.Error(), "--state-dir") {
		t.Errorf("a folder that is not writable: %v", err)
	}
}
