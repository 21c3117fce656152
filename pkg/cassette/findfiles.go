package cassette

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// FindFiles returns the files to search for secrets: the files named by the arguments,
// and of folders everything that may be a cassette, ours or another program's, with the
// files that belong to it: sidecars, even if their cassette is gone, and what
// interrupted recordings left behind. Sorted.
func FindFiles(args []string) ([]string, error) {
	var paths []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if errors.Is(err, fs.ErrNotExist) {
			if info2, err2 := os.Stat(arg + ".yaml"); err2 == nil {
				arg, info, err = arg+".yaml", info2, nil
			}
		}
		switch {
		case err != nil:
			return nil, err
		case !info.IsDir():
			paths = append(paths, arg)
			for _, beside := range []string{MetaPath(arg), partialPath(arg)} {
				if _, gone := os.Stat(beside); gone == nil && beside != arg {
					paths = append(paths, beside)
				}
			}
			continue
		}
		err = filepath.WalkDir(arg, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && slices.Contains([]string{".yaml", ".yml", ".json", ".har", ".jsonl"},
				filepath.Ext(p)) {
				paths = append(paths, p)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}
