package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
)

// Unused lists the folders of runs that no command has worked on since a time: complete ones, unfinished ones, whose
// progress would be lost with them, and busy ones, on which a process is working.
func (f Folder) Unused(since time.Time) (complete, unfinished, busy []string, err error) {
	dirs, err := f.Dirs()
	if err != nil {
		return nil, nil, nil, err
	}
	for _, dir := range dirs {
		if used := LastUsed(dir); used.IsZero() || used.After(since) {
			continue
		}
		switch s, err := Standing(dir); {
		case err == nil && s.Status == Running:
			busy = append(busy, dir)
		case err == nil && s.Status == Complete:
			complete = append(complete, dir)
		default:
			unfinished = append(unfinished, dir)
		}
	}
	return complete, unfinished, busy, nil
}

// Clear finishes the removal of runs that was interrupted.
func (f Folder) Clear() error {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if journal.Removed(e.Name()) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(string(f), e.Name())))
		}
	}
	return err
}

// LastUsed is when a process of a run last wrote its progress. Commands that only look at a run open its journal,
// too, and do not count. Zero: the folder is gone.
func LastUsed(dir string) (at time.Time) {
	for _, path := range []string{countsPath(dir), summaryPath(dir)} {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
	}
	if !at.IsZero() {
		return at
	}
	info, err := os.Stat(dir)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Size is how many bytes the files in a run's folder hold, as far as they can be read.
func Size(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, gone := d.Info(); gone == nil {
				size += info.Size()
			}
		}
		return nil // what cannot be read is left out
	})
	return size
}
