package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// removedPrefix begins the name of a folder that is being removed.
const removedPrefix = ".removed-"

// Remove removes a run's folder, whatever is in it, unless a process works on the run:
// the error is a *BusyError then. The folder gets another name first, so that what a
// process that is killed meanwhile leaves is no run.
func Remove(dir string) error {
	lock, err := lockFile(filepath.Join(dir, lockName))
	if errors.Is(err, errLocked) {
		return &BusyError{Dir: dir}
	}
	if err == nil { // else it is damaged, and may go all the same
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

// Removed says that a folder among runs is what is left of one that was being removed.
func Removed(name string) bool { return strings.HasPrefix(name, removedPrefix) }
