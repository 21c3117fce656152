// Package wholefile replaces files as a whole: one that a full disk or a kill interrupts leaves what was there before.
package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Write makes a file of data, or replaces one, which keeps its mode. After a crash there is either the old or the new
// content. A link stays one, and what it leads to is replaced. What is no file, such as /dev/stdout, is written to as
// it is, and so is a file in a folder in which none can be made.
func Write(path string, data []byte, mode os.FileMode) error {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to
	} else if link, wrong := os.Lstat(path); wrong == nil && link.Mode()&fs.ModeSymlink != 0 {
		return os.WriteFile(path, data, mode) // what it leads to is not there
	}
	switch info, err := os.Stat(path); {
	case err == nil && !info.Mode().IsRegular():
		return os.WriteFile(path, data, mode)
	case err == nil:
		mode = info.Mode().Perm()
		// One that must not be written to is not to be replaced, either.
		if err = writable(path); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".fanfold-*")
	if errors.Is(err, fs.ErrPermission) {
		return os.WriteFile(path, data, mode)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func writable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
