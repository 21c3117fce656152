package run

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/journal"
)

// keptIdentity is the identity of a run as a file in its folder. It is separate from the journal, because the
// journal cannot be opened while a process works on the run. Runs made by older versions have none.
type keptIdentity struct {
	Version int    `json:"version"`
	Input   string `json:"input"` // hash of what is read
	// Transform and Destinations are hashes of what Identity has; older versions took them with the secrets.
	Transform    string                `json:"transform"`
	Destinations map[string]keptHashes `json:"destinations"`
	Steps        []string              `json:"steps,omitempty"` // the kind of each, and its text; once a hash of that
	Identity     identity              `json:"identity"`        // sealed; of older versions: masked
}

// keptHashes are the hashes of a destination: of where it is, and of that together with what it is sent. Sealed says
// that Identity tells whether they have changed, since all secrets in it are sealed.
type keptHashes struct {
	Who    string `json:"who"`
	All    string `json:"all"`
	Sealed bool   `json:"sealed,omitempty"`
}

const identityVersion = 1

func identityPath(dir string) string { return filepath.Join(dir, "identity.json") }

// keep makes the stored form of an identity. salt is that of the run that has it; "": it is a new run.
func (w *World) keep(meta identity, salt string) *keptIdentity {
	id := hashOf(meta.input())
	sealed := w.see(&keptIdentity{Identity: identity{Salt: cmp.Or(salt, id)}}, meta)
	k := keepStored(sealed)
	k.Input, k.Steps = id, sealed.steps
	return k
}

// keepStored is the stored form of an identity that a journal has.
func keepStored(id identity) *keptIdentity {
	k := &keptIdentity{Version: identityVersion, Input: cmp.Or(id.Salt, hashOf(id.input())),
		Transform:    hashOf(id.Transform),
		Destinations: map[string]keptHashes{}, Identity: id}
	for _, d := range id.Destinations {
		k.Destinations[d.Name] = keptHashes{hashOf(d.who()), hashOf(d), id.Salt != ""}
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

// see is today's identity as a run would have stored it: what has not changed is as the run has it, and what has is
// sealed. So a difference between the two is a change.
func (w *World) see(k *keptIdentity, now identity) identity {
	salt := k.Identity.Salt
	own := k.salt()
	seen := retold(w, salt, own, k.Identity.input(), now.input())
	seen.Salt, seen.Transform, seen.steps = salt, now.Transform, slices.Clone(now.steps)
	for i, text := range now.steps {
		old := ""
		if i < len(k.Steps) {
			old = k.Steps[i]
		}
		kind, written, _ := strings.Cut(text, " ")
		if salt == "" && old == kind+" "+hashBefore(written, 8) || salt != "" && w.stands(salt, old, text) {
			seen.steps[i] = old
		} else {
			seen.steps[i] = w.seal(own, text)
		}
	}
	if len(now.steps) > 0 && (salt != "" || now.Transform != k.Identity.Transform) {
		seen.Transform = hashOf(seen.steps)
	}
	for _, d := range now.Destinations {
		seen.Destinations = append(seen.Destinations, w.seeDestination(k, own, d))
	}
	return seen
}

func (w *World) seeDestination(k *keptIdentity, own string, d destinationIdentity) destinationIdentity {
	old, ok := k.destination(d.Name)
	salt := k.Identity.Salt
	if ok && !k.Destinations[d.Name].Sealed {
		salt = ""
	}
	seen := retold(w, salt, own, old, d)
	seen.Name, seen.Type = d.Name, d.Type // also if they are like some secret
	if d.Parts == nil {
		return seen
	}
	for key, text := range d.Parts {
		if was := old.Parts[key]; salt == "" && was == hashBefore(text, 4) {
			seen.Parts[key] = was
		}
	}
	if len(old.Actions) > 0 && old.Actions[0] == d.Actions[0] {
		seen.Actions[0] = d.Actions[0]
	} else {
		seen.Actions[0] = described + hashOf(seen.Parts)
	}
	return seen
}

// retold is a part of today's identity with the texts that are stored instead, where they stand for its own.
func retold[T any](w *World, salt, own string, stored, now T) (out T) {
	old, members := membersOf(stored), membersOf(now)
	for key, v := range members {
		members[key] = w.asStored(salt, old[key], v, own)
	}
	data, err := json.Marshal(members)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil { // texts and numbers
		panic(err)
	}
	return out
}

func membersOf(v any) (members map[string]any) {
	data, err := json.Marshal(v)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		err = d.Decode(&members)
	}
	if err != nil { // texts and numbers
		panic(err)
	}
	return members
}

// destination returns a destination of the run.
func (k *keptIdentity) destination(name string) (destinationIdentity, bool) {
	return k.Identity.destination(name)
}

// has says whether the run has a destination of a job. seen is the destination as the run would have stored it.
func (k *keptIdentity) has(d, seen destinationIdentity) bool {
	old, ok := k.destination(d.Name)
	if !ok {
		return false
	}
	same := hashOf(old.who()) == hashOf(seen.who())
	if of := k.Destinations[d.Name]; !of.Sealed { // the hash may be of what is masked in the identity
		return of.Who == hashOf(d.who()) || of.Who == hashOf(old.who()) && same
	}
	return same
}

// differs names what has changed of a destination since the run has stored it. seen is the destination as the run
// would have stored it.
func (k *keptIdentity) differs(d, seen destinationIdentity) (keys []string, rerouted bool) {
	old, _ := k.destination(d.Name)
	of := k.Destinations[d.Name]
	if !of.Sealed && (of.All == hashOf(d.hashed()) || old.Parts == nil && of.All == hashOf(d.partless())) {
		return nil, false
	}
	keys, rerouted = keysThatDiffer(old, seen)
	if len(keys) == 0 && !of.Sealed && of.All != hashOf(old) {
		keys = []string{fromElsewhere} // which one, the run has not stored
	}
	return keys, rerouted
}

// fromElsewhere stands for a setting that cannot be named.
const fromElsewhere = "a value from the environment"

// salt is that of the seals of a run; "" without one.
func (k *keptIdentity) salt() string {
	if k == nil {
		return ""
	}
	return cmp.Or(k.Identity.Salt, k.Input)
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
func (f Folder) family(w *World, meta identity) (runs []knownRun, err error) {
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
	if err = add(hashOf(meta.before()), w.keep(meta, "")); err != nil || len(runs) > 0 {
		return runs, err
	}
	dirs, err := f.Dirs()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if k := identityOfBefore(dir, w, meta); k != nil {
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
	return keepStored(id), nil
}

// identityOfBefore returns the identity of a run that an older version of fanfold has begun, if it reads the same;
// nil: it does not, or that cannot be found out.
func identityOfBefore(dir string, w *World, now identity) *keptIdentity {
	same := func(k *keptIdentity) *keptIdentity {
		if hashOf(k.Identity.input()) != hashOf(w.see(k, now.input()).input()) {
			return nil
		}
		return k
	}
	k, err := readIdentity(dir)
	if err == nil {
		return same(k)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s, err := Standing(dir) // cheaper to read than a journal
	if err != nil || len(s.From) != len(now.From) {
		return nil
	}
	meta, err := journal.ReadMeta(dir)
	var id identity
	if err != nil || json.Unmarshal(meta, &id) != nil {
		return nil
	}
	return same(keepStored(id))
}

// keptOf is what a run now sends to whom: it may have continued with another configuration than it began with.
func keptOf(r *journal.Run) (*keptIdentity, error) {
	k, err := readIdentity(r.Dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	var id identity
	if err = json.Unmarshal(r.Meta(), &id); err != nil {
		return nil, &journal.DamagedError{Dir: r.Dir, Err: fmt.Errorf("what it says of itself: %w", err)}
	}
	return keepStored(id), nil
}
