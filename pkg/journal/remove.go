package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/fanfold/fanfold/pkg/filelock"
)

// removedPrefix is the prefix of a folder that is being removed.
const removedPrefix = ".removed-"

// Remove removes a run's folder, whatever is in it. If a process is working on the run, it returns a *BusyError
// instead. It renames the folder first, so that a removal which is interrupted by a kill leaves nothing that looks
// like a run.
func Remove(dir string) error {
	lock, err := filelock.Try(filepath.Join(dir, lockName))
	if errors.Is(err, filelock.ErrLocked) {
		return &BusyError{Dir: dir}
	}
	if err == nil { // otherwise it is damaged, and may be removed anyway
		if err = lock.Close(); err != nil { // before: on Windows an open file holds its folder
			return err
		}
	}
	gone := filepath.Join(filepath.Dir(dir), removedPrefix+filepath.Base(dir))
	if err = os.RemoveAll(gone); err != nil {
		return err
	}
	if err = os.Rename(dir, gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// Removed says whether a folder among the runs is left from a removal that was interrupted.
func Removed(name string) bool { return strings.HasPrefix(name, removedPrefix) }
