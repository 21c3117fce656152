package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Folder is the folder that holds the folders of all runs.
type Folder string

// choose returns the folder of the newest run with an identity, or a new one when everything is to be sent again
// (fresh).
func (f Folder) choose(id string, fresh bool) (dir string, resumed bool, err error) {
	root := string(f)
	entries, err := f.entries()
	if err != nil {
		return "", false, err
	}
	newest := 0
	for _, e := range entries { // earlier runs may have been removed
		newest = max(newest, runNumber(id, e.Name()))
	}
	if fresh || newest == 0 {
		return filepath.Join(root, runName(id, newest+1)), false, nil
	}
	return filepath.Join(root, runName(id, newest)), true, nil
}

// entries lists the folder, and creates it if it is missing.
func (f Folder) entries() ([]fs.DirEntry, error) {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for runs: %w (choose another place with --state-dir)", err)
	}
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, fmt.Errorf("looking for earlier runs: %w (choose another place with --state-dir)", err)
	}
	return entries, nil
}

// runNumber returns a folder's number among the runs with an identity; 0: it is not one of them.
func runNumber(id, name string) int {
	if name == id {
		return 1
	}
	rest, ok := strings.CutPrefix(name, id+"-")
	if n, err := strconv.Atoi(rest); ok && err == nil && n > 1 && runName(id, n) == name {
		return n
	}
	return 0
}

func runName(id string, n int) string {
	if n == 1 {
		return id
	}
	return id + "-" + strconv.Itoa(n)
}

// Dirs lists the folders of the runs, most recently used first.
func (f Folder) Dirs() ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	used := map[string]time.Time{}
	for _, e := range entries {
		if e.IsDir() && !journal.Removed(e.Name()) {
			dir := filepath.Join(string(f), e.Name())
			out, used[dir] = append(out, dir), LastUsed(dir)
		}
	}
	slices.SortStableFunc(out, func(x, y string) int { return used[y].Compare(used[x]) })
	return out, nil
}

// Latest stands for the most recently used run, wherever a run is asked for.
const Latest = "latest"

// Find returns the folder of a run, given its whole id, a prefix of the id that no other run shares, or [Latest].
func (f Folder) Find(id string) (string, error) {
	dirs, err := f.Dirs()
	if err != nil {
		return "", err
	}
	var ids, found []string
	for _, dir := range dirs {
		name := filepath.Base(dir)
		if name == id {
			return dir, nil
		}
		if id != "" && strings.HasPrefix(name, id) {
			found = append(found, name)
		}
		ids = append(ids, name)
	}
	switch {
	case id == Latest && len(dirs) > 0:
		return dirs[0], nil
	case len(found) == 1:
		return filepath.Join(string(f), found[0]), nil
	case len(found) > 1:
		return "", mistakef("several runs begin with %q: %s", id, strings.Join(found, ", "))
	}
	if len(dirs) == 0 && id == Latest {
		return "", mistakef("there are no runs yet in %s", string(f))
	}
	msg := fmt.Sprintf("there is no run %q in %s", id, string(f))
	if near := setting.Nearest(id, ids); near != "" {
		msg += "; did you mean " + near + "?"
	}
	return "", mistakef("%s (see `fanfold runs list`)", msg)
}
