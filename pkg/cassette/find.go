package cassette

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Find returns the cassette files that the arguments name: files as they are, and of
// folders every file below them that looks like a cassette. Sorted.
func Find(args []string) ([]string, error) { return find(args, isCassette) }

// FindFiles returns the files to search for secrets: the files named by the arguments,
// and of folders everything that may be a cassette, ours or another program's, with the
// files that belong to it: sidecars, even if their cassette is gone, and what
// interrupted recordings left behind. Sorted.
func FindFiles(args []string) ([]string, error) {
	return find(args, func(path string) bool {
		return slices.Contains([]string{".yaml", ".yml", ".json", ".har", ".jsonl"}, filepath.Ext(path))
	}, MetaPath, partialPath)
}

// find walks through folders. Of a file that an argument names, it also returns the files beside it,
// if they are there.
func find(args []string, wanted func(path string) bool, beside ...func(path string) string) ([]string, error) {
	var paths []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if errors.Is(err, fs.ErrNotExist) {
			if other, missing := os.Stat(arg + ".yaml"); missing == nil {
				arg, info, err = arg+".yaml", other, nil
			}
		}
		if err == nil && info.IsDir() {
			err = filepath.WalkDir(arg, func(p string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() && wanted(p) {
					paths = append(paths, p)
				}
				return err
			})
		} else if err == nil {
			paths = append(paths, arg)
			for _, of := range beside {
				if _, missing := os.Stat(of(arg)); missing == nil {
					paths = append(paths, of(arg))
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// isCassette looks at the beginning of a file, because configuration and contracts can
// be in the same folder.
func isCassette(path string) bool {
	if !strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".meta.yaml") {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, _ := f.Read(head) // an empty file is no cassette
	for line := range strings.Lines(string(head[:n])) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "version:") {
			return strings.Contains(string(head[:n]), "\ninteractions:")
		} else if line != "" && line != "---" && line[0] != '#' {
			return false
		}
	}
	return false
}
