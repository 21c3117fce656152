// Package filelock takes locks on files. Such a lock ends when its file is closed, or with the process, however that
// ends, so that nothing is left behind by a kill. Only processes that ask for the lock are held off by it.
package filelock

import (
	"errors"
	"os"
)

// ErrLocked says that another process, or another file of this one, has the lock.
var ErrLocked = errors.New("locked")

// Try takes the lock on the file at a path, which is made if it is not there. The error is [ErrLocked] if somebody
// has it.
func Try(path string) (*os.File, error) { return take(path, false) }

// Wait is Try, but it waits until nobody has the lock.
func Wait(path string) (*os.File, error) { return take(path, true) }

// Hold takes the lock on an open file, which has it until it is closed. The error is as in [Try].
func Hold(f *os.File) error { return lock(f, false) }

func take(path string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err = lock(f, wait); err != nil {
		f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}
