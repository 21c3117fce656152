package run

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/fanfold/fanfold/pkg/journal"
)

// keptIdentity is the identity of a run as a file in its folder. It is separate from the journal, because the
// journal cannot be opened while a process works on the run. Runs made by older versions have none.
type keptIdentity struct {
	Version int    `json:"version"`
	Input   string `json:"input"` // hash of what is read
	// Transform and Destinations are hashes, so that changes of secrets show, too: Identity is redacted.
	Transform    string                `json:"transform"`
	Destinations map[string]keptHashes `json:"destinations"`
	Steps        []string              `json:"steps,omitempty"` // what each is, and a hash
	Identity     identity              `json:"identity"`
}

// keptHashes are the hashes of a destination: of where it is, and of that together with what it is sent.
type keptHashes struct {
	Who string `json:"who"`
	All string `json:"all"`
}

const identityVersion = 1

func identityPath(dir string) string { return filepath.Join(dir, "identity.json") }

// keep makes the stored form of an identity.
func keep(meta, shown identity) *keptIdentity {
	k := &keptIdentity{Version: identityVersion, Input: hashOf(meta.input()), Transform: hashOf(meta.Transform),
		Destinations: map[string]keptHashes{}, Identity: shown}
	for _, d := range meta.Destinations {
		k.Destinations[d.Name] = keptHashes{hashOf(d.who()), hashOf(d)}
	}
	return k
}

// with adds the destinations that a run had before and no longer has, unchanged. A run keeps its own name for its
// input.
func (k *keptIdentity) with(before *keptIdentity) *keptIdentity {
	k.Input = before.Input
	for _, d := range before.Identity.Destinations {
		if _, has := k.Destinations[d.Name]; !has {
			k.Destinations[d.Name] = before.Destinations[d.Name]
			k.Identity.Destinations = append(slices.Clone(k.Identity.Destinations), d)
		}
	}
	return k
}

// destination returns a destination of the run, redacted.
func (k *keptIdentity) destination(name string) (destinationIdentity, bool) {
	for _, d := range k.Identity.Destinations {
		if d.Name == name {
			return d, true
		}
	}
	return destinationIdentity{}, false
}

// has says whether the run has a destination of a job.
func (k *keptIdentity) has(d, shown destinationIdentity) bool {
	old, ok := k.destination(d.Name)
	return ok && (k.Destinations[d.Name].Who == hashOf(d.who()) || hashOf(old.who()) == hashOf(shown.who()))
}

// readIdentity reads the identity in a folder. An [fs.ErrNotExist] means that an older version made the run.
func readIdentity(dir string) (*keptIdentity, error) {
	data, err := os.ReadFile(identityPath(dir))
	if err != nil {
		return nil, err
	}
	k := &keptIdentity{}
	if err = json.Unmarshal(data, k); err == nil && k.Version != identityVersion {
		err = fmt.Errorf("it is of version %d, which this fanfold does not know", k.Version)
	}
	if err != nil {
		return nil, &journal.DamagedError{Dir: dir, Err: fmt.Errorf("%s: %w", identityPath(dir), err)}
	}
	return k, nil
}

func writeIdentity(dir string, k *keptIdentity) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(identityPath(dir)); err == nil && string(old) == string(data)+"\n" {
		return nil
	}
	return replaceFile(identityPath(dir), append(data, '\n'))
}

// knownRun is an existing run of a job's input.
type knownRun struct {
	dir  string
	kept *keptIdentity
}

// family finds the runs that read the same as a job, newest first; runs made by older versions come last.
func (f Folder) family(meta, shown identity) (runs []knownRun, err error) {
	entries, err := f.entries()
	if err != nil {
		return nil, err
	}
	add := func(id string, assume *keptIdentity) error {
		for _, n := range numbers(entries, id) {
			dir := filepath.Join(string(f), runName(id, n))
			k, wrong := identityOf(dir, assume)
			if wrong != nil {
				return wrong
			}
			if k != nil {
				runs = append(runs, knownRun{dir, k})
			}
		}
		return nil
	}
	if err = add(hashOf(meta.input()), nil); err != nil {
		return nil, err
	}
	if err = add(hashOf(meta), keep(meta, shown)); err != nil || len(runs) > 0 {
		return runs, err
	}
	dirs, err := f.Dirs()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if k := identityOfBefore(dir, shown); k != nil {
			runs = append(runs, knownRun{dir, k})
		}
	}
	return runs, nil
}

// next is the folder for a new run of the same input.
func (f Folder) next(meta identity) (dir string, err error) {
	entries, err := f.entries()
	if err != nil {
		return "", err
	}
	id := hashOf(meta.input())
	all := numbers(entries, id)
	if len(all) == 0 {
		return filepath.Join(string(f), id), nil
	}
	newest := filepath.Join(string(f), runName(id, all[0]))
	if k, err := identityOf(newest, nil); k == nil && err == nil {
		return newest, nil
	}
	return filepath.Join(string(f), runName(id, all[0]+1)), nil // earlier runs may have been removed
}

// numbers lists the numbers of the runs with an id, highest first.
func numbers(entries []fs.DirEntry, id string) (all []int) {
	for _, e := range entries {
		if n := runNumber(id, e.Name()); n > 0 {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b int) int { return cmp.Compare(b, a) })
	return all
}

// identityOf returns the identity of a run whose name tells what it reads. assume is used for a run made by an
// older version; nil: it is read from the journal. The result is nil if nothing was ever done in the folder.
func identityOf(dir string, assume *keptIdentity) (*keptIdentity, error) {
	k, err := readIdentity(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if assume != nil {
		return assume, nil
	}
	meta, err := journal.ReadMeta(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && meta == nil {
		return nil, nil // a process was killed just after it created the folder
	}
	if err != nil {
		return nil, err
	}
	var id identity
	if err = json.Unmarshal(meta, &id); err != nil {
		return nil, &journal.DamagedError{Dir: dir, Err: fmt.Errorf("what it says of itself: %w", err)}
	}
	return keep(id, id), nil
}

// identityOfBefore returns the identity of a run that an older version of fanfold has begun, if it reads the same;
// nil: it does not, or that cannot be found out.
func identityOfBefore(dir string, shown identity) *keptIdentity {
	k, err := readIdentity(dir)
	if err == nil && hashOf(k.Identity.input()) == hashOf(shown.input()) {
		return k
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s, err := Standing(dir) // cheaper to read than a journal
	if err != nil || !slices.Equal(s.From, shown.From) {
		return nil
	}
	meta, err := journal.ReadMeta(dir)
	var id identity
	if err != nil || json.Unmarshal(meta, &id) != nil || hashOf(id.input()) != hashOf(shown.input()) {
		return nil
	}
	return keep(id, id)
}

// metaOf is what a run now sends to whom: it may have continued with another configuration than it began with.
func metaOf(r *journal.Run) (json.RawMessage, error) {
	k, err := readIdentity(r.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r.Meta(), nil
	case err != nil:
		return nil, err
	}
	return json.Marshal(k.Identity)
}
