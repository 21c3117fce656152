package journal

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/filelock"
	"github.com/fanfold/fanfold/pkg/secret"
	"github.com/fanfold/fanfold/pkg/source"
)

// Options of a run folder.
type Options struct {
	Now       func() time.Time    // required; time.Now has what is measured by it go on when the clock is set
	SyncEvery time.Duration       // fsync; 0: 200 ms
	Redact    func(string) string // applied to the partners' messages; nil: nothing is secret
	// Daily writes dead letters to one file per day, whose folder may be removed later.
	Daily bool
	// Log stores the commits; nil: a database in the run's folder. The run closes it.
	Log Log
}

// DamagedError is returned for a run folder that lacks something it should contain.
type DamagedError struct {
	Dir string
	Err error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the state in %s is damaged (%v): nothing is guessed; "+
		"remove it with `runs rm`, or start over with --fresh", e.Dir, e.Err)
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// BusyError is returned for a run that another process works on.
type BusyError struct {
	Dir   string
	Taken bool // another process has taken the run over while this one worked on it
}

func (e *BusyError) Error() string {
	if e.Taken {
		return fmt.Sprintf("another process has taken over the run in %s, so this one stops; "+
			"what it had in flight may be sent again", e.Dir)
	}
	return fmt.Sprintf("another process works on the run in %s, so nothing was done here: wait for it, or stop it", e.Dir)
}

// Run is an open run folder. It is safe for concurrent use.
type Run struct {
	Dir    string
	lock   *os.File
	log    Log
	opt    Options
	packer func() *zstd.Encoder

	mu       sync.Mutex
	lanes    map[string]*Lane
	order    []*Lane
	fresh    bytes.Buffer // records of lanes that are not committed yet
	pending  bytes.Buffer // the other records of the next commit
	waiters  []chan error
	manifest []source.Object   // as loaded
	total    int               // number of its rows, including those that Extend added: the rows of years are not kept in memory
	added    [][]byte          // the added rows that are not committed yet
	drop     []int             // rows of the manifest to delete
	before   int               // all of drop are before this one
	values   map[string][]byte // of Put
	news     []string          // names of values that are not committed yet
	urgent   bool              // somebody waits for the commit
	err      error             // what ended the committer; nothing is accepted after that
	lastSync time.Time         // zero: the next commit has to be synced
	mustSync bool              // so it has: somebody waits for that. A commit that is being written now is too early
	unsynced bool              // there was a commit since
	meta     json.RawMessage

	// Used only by the committer.
	seq  int64 // number of the last commit
	rows int   // commits since the last snapshot

	kick  chan struct{}
	quit  chan struct{}
	done  chan struct{}
	group grouping
}

const (
	lockName = "lock"
	// RedriveLock is the name of the lock for sending a run's dead letters again.
	RedriveLock = "redrive.lock"
)

// Open opens and locks a run folder, and creates it if it does not exist. meta is stored with a new run, and Meta
// returns it later. The error is a *BusyError if another process has the run open, and a *DamagedError if the
// folder lacks something it should contain.
func Open(dir string, meta any, opt Options) (*Run, error) {
	if opt.SyncEvery == 0 {
		opt.SyncEvery = 200 * time.Millisecond
	}
	if err := os.MkdirAll(filepath.Join(dir, deadName), 0o700); err != nil {
		return nil, fmt.Errorf("making the run's folder: %w", ofFolder(err))
	}
	r := &Run{Dir: dir, log: opt.Log, opt: opt, packer: sync.OnceValue(newPacker),
		lanes: map[string]*Lane{}, values: map[string][]byte{},
		kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	if err := r.takeLock(); err != nil {
		return nil, err
	}
	if err := r.openLog(meta); err != nil {
		if r.log != nil {
			err = errors.Join(err, r.log.Close())
		}
		return nil, errors.Join(err, r.lock.Close())
	}
	go r.commitLoop()
	return r, nil
}

func (r *Run) takeLock() (err error) {
	path := filepath.Join(r.Dir, lockName)
	if r.lock, err = filelock.Try(path); errors.Is(err, filelock.ErrLocked) {
		time.Sleep(50 * time.Millisecond) // the lock may be held only for a moment, by a call of Busy
		r.lock, err = filelock.Try(path)
	}
	switch {
	case errors.Is(err, filelock.ErrLocked):
		return &BusyError{Dir: r.Dir}
	case err != nil:
		return fmt.Errorf("locking the run: %w", ofFolder(err))
	}
	return nil
}

func (r *Run) openLog(meta any) (err error) {
	if r.log == nil {
		log, failed := openSQLite(r.Dir)
		if failed != nil {
			return r.wrap("opening the journal", failed)
		}
		r.log = log
	}
	c, err := r.log.Load(context.Background())
	if err == nil {
		err = r.load(c)
	}
	if err != nil {
		return r.wrap("opening the journal", err)
	}
	if r.meta != nil {
		r.lastSync, r.unsynced = r.opt.Now(), true // a process that was killed may have synced less than it has committed
		return nil
	}
	if r.meta, err = json.Marshal(meta); err != nil {
		return fmt.Errorf("describing the run: %w", err)
	}
	if r.opt.Redact != nil {
		r.meta = secret.JSON(r.meta, r.opt.Redact) // an address may contain a password
	}
	name, err := json.Marshal(r.Name())
	if err != nil {
		return err
	}
	r.seq, r.rows = 1, 1
	first := Commit{Seq: r.seq, Data: seal(nil), Sync: true,
		Values: map[string][]byte{metaKey: versioned(r.meta), nameKey: versioned(name)}}
	return r.wrap("making the journal", r.log.Append(context.Background(), first))
}

// wrap adds to an error where it happened, and what to do if the disk is full.
func (r *Run) wrap(what string, err error) error {
	var damaged *DamagedError
	var busy *BusyError
	switch {
	case err == nil || errors.As(err, &damaged) || errors.As(err, &busy):
		return err
	case errors.Is(err, ErrFenced):
		return &BusyError{Dir: r.Dir, Taken: true}
	case strings.Contains(err.Error(), "disk is full"), strings.Contains(err.Error(), "disk I/O error"),
		errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%s in %s: %w: is the disk full? Nothing is lost: the same command resumes once there is room",
			what, r.Dir, err)
	}
	return fmt.Errorf("%s in %s: %w", what, r.Dir, err)
}

// Lock takes a named lock, for what a process does with a run besides working on it. The lock ends when the result
// is closed, or with the process. The error is a *BusyError if another process has the lock.
func Lock(dir, name string) (io.Closer, error) {
	f, err := filelock.Try(filepath.Join(dir, name))
	if errors.Is(err, filelock.ErrLocked) {
		return nil, &BusyError{Dir: dir}
	}
	return f, ofFolder(err)
}

// ofFolder adds what to do to an error that comes of a folder in which nothing may be written, or is no room.
func ofFolder(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: what runs have done is kept there, so it has to be writable; --state-dir names another folder",
			err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: is the disk full? --state-dir names another folder", err)
	}
	return err
}

// Busy says whether a process works on the run in a folder.
func Busy(dir string) bool {
	path := filepath.Join(dir, lockName)
	if _, err := os.Stat(path); err != nil {
		return false
	}
	f, err := filelock.Try(path)
	if err == nil {
		err = f.Close()
	}
	return errors.Is(err, filelock.ErrLocked)
}

// Name is the run's id: the name of its folder.
func (r *Run) Name() string { return filepath.Base(r.Dir) }

// Meta returns the meta that the run was created with.
func (r *Run) Meta() json.RawMessage { return r.meta }

// ReadMeta returns the meta that the run in a folder was created with, without opening or changing the run. nil:
// there is none. The error is an [fs.ErrNotExist] if there is no journal, and a *BusyError if a process works on
// the run.
func ReadMeta(dir string) (meta json.RawMessage, err error) {
	err = look(dir, func(db *sql.DB) (err error) {
		meta, err = readMeta(db)
		return err
	})
	return meta, err
}

// ReadManifest returns the manifest of the run in a folder, in the same way as ReadMeta. An entry that was dropped is a
// zero Object.
func ReadManifest(dir string) (objects []source.Object, err error) {
	err = look(dir, func(db *sql.DB) (err error) {
		objects, err = readManifest(db)
		return err
	})
	return objects, err
}

func look(dir string, ask func(*sql.DB) error) error {
	_, err := os.Stat(filepath.Join(dir, databaseName))
	if left := remains(dir); errors.Is(err, fs.ErrNotExist) && left != "" {
		return &DamagedError{dir, fmt.Errorf("%s is missing beside %s", databaseName, left)}
	}
	if err != nil {
		return err
	}
	lock, err := Lock(dir, lockName)
	if err != nil {
		return err
	}
	return errors.Join(inDatabase(dir, ask), lock.Close())
}

// Manifest returns the objects that were in the manifest when the run was opened.
func (r *Run) Manifest() []source.Object { return slices.Clone(r.manifest) }

// Extend appends objects to the manifest, and returns once they are durable: an object may not be read before
// that. Its cost does not depend on the length of the manifest.
func (r *Run) Extend(added []source.Object) error {
	var rows [][]byte
	for _, o := range added {
		text, err := json.Marshal(o)
		if err != nil {
			return err
		}
		rows = append(rows, versioned(text))
	}
	r.mu.Lock()
	r.added = append(r.added, rows...)
	r.total += len(added)
	r.mu.Unlock()
	return r.Sync(context.Background())
}

// Drop deletes rows of the manifest with the next commit. All of them must be before the given row.
func (r *Run) Drop(before int, rows []int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop, r.before = append(r.drop, rows...), max(r.before, before)
	return r.err
}

// Put stores a small value with the run, such as the times to which relative times were resolved. It returns once
// the value would survive a kill of the process. A power cut can lose it only together with everything written
// later.
func (r *Run) Put(key string, value any) error { return r.put(key, value, func() {}) }

// Note is Put without waiting: the value is part of the next commit.
func (r *Run) Note(key string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[valueKey+key] = data
	if !slices.Contains(r.news, valueKey+key) {
		r.news = append(r.news, valueKey+key)
	}
	return r.err
}

// put is Put with further changes in the same commit: it calls also with the lock held.
func (r *Run) put(key string, value any, also func()) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return r.err
	}
	also()
	r.values[valueKey+key] = data
	r.news = append(r.news, valueKey+key)
	ch := r.wait()
	r.mu.Unlock()
	r.wake()
	return <-ch
}

// Get reads a value that Put has stored; false if there is none.
func (r *Run) Get(key string, into any) (bool, error) {
	r.mu.Lock()
	data, ok := r.values[valueKey+key]
	r.mu.Unlock()
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(data, into)
}

// Names of stored values: the meta of the run, its id, and the prefix of the values of Put.
const (
	metaKey  = "meta"
	nameKey  = "run"
	valueKey = "user:"
)

// Sync returns once everything recorded so far is on the disk.
func (r *Run) Sync(ctx context.Context) error {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return r.err
	}
	ch := r.wait()
	r.mustSync = true
	r.mu.Unlock()
	r.wake()
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close commits what is left and unlocks the run.
func (r *Run) Close() error {
	err := r.Sync(context.Background())
	close(r.quit)
	<-r.done
	return errors.Join(err, r.log.Close(), r.lock.Close())
}

// Lane returns the lane of a destination, new or as it was left.
func (r *Run) Lane(name string) *Lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lanes[name]
	if l == nil {
		l = r.newLane(name)
		appendRecord(&r.fresh, l.appendLane)
	}
	l.state = l.resume()
	return l
}

func (r *Run) newLane(name string) *Lane {
	l := &Lane{r: r, id: len(r.order), Name: name, open: map[uint64]openRequest{}}
	r.lanes[name] = l
	r.order = append(r.order, l)
	return l
}

// load rebuilds the state of all lanes from the last snapshot and the commits after it.
func (r *Run) load(c *Commits) error {
	damaged := func(err error) error { return &DamagedError{r.Dir, err} }
	for key, value := range c.Values {
		data, err := unversioned(value)
		if err != nil {
			return damaged(fmt.Errorf("the value %q: %w", key, err))
		}
		r.values[key] = data
	}
	r.meta = r.values[metaKey]
	// Journals of version 1 do not store the run's name.
	var name string
	if text := r.values[nameKey]; text != nil && (json.Unmarshal(text, &name) != nil || name != r.Name()) {
		return damaged(fmt.Errorf("its journal is that of run %s", name))
	}
	for row, err := range c.Manifest {
		if err != nil {
			return damaged(err)
		}
		var obj source.Object
		if row == nil { // the row was deleted
			r.manifest = append(r.manifest, obj)
			continue
		}
		data, err := unversioned(row)
		if err == nil {
			err = json.Unmarshal(data, &obj)
		}
		if err != nil {
			return damaged(fmt.Errorf("row %d of the manifest: %w", len(r.manifest), err))
		}
		r.manifest = append(r.manifest, obj)
	}
	r.total = len(r.manifest)
	for row, err := range c.Log {
		if err != nil {
			return damaged(err)
		}
		r.seq = row.Seq
		r.rows++
		if err := r.replay(row.Data); err != nil {
			return damaged(fmt.Errorf("commit %d: %w", row.Seq, err))
		}
	}
	if r.meta == nil && (r.seq > 0 || r.total > 0 || len(c.Dead) > 0) {
		return damaged(errors.New("it does not say which run it is"))
	}
	return r.restore(c.Dead)
}

// restore cuts the dead letters of the lanes to the lengths in the last commit: what follows was being written
// when the process ended.
func (r *Run) restore(sizes map[LetterFile]int64) error {
	for file := range sizes {
		if r.lanes[file.Lane] == nil {
			// A lane is committed before its first dead letter is written.
			return &DamagedError{r.Dir,
				fmt.Errorf("there are dead letters of %s, of which no commit knows: the last commits are lost", file.Lane)}
		}
	}
	for _, l := range r.order {
		if err := r.restoreLetters(l, sizes); err != nil {
			return err
		}
		for id, o := range l.open {
			o.old = true
			l.open[id] = o
		}
	}
	return nil
}

// restoreLetters does that for one lane. The letters of a day may have been removed.
func (r *Run) restoreLetters(l *Lane, sizes map[LetterFile]int64) error {
	days := l.dead.days
	l.dead.days = nil
	for _, d := range days {
		file := LetterFile{l.Name, d.day}
		size, there := sizes[file]
		switch {
		case !there && d.size > 0 && d.day != "":
			continue
		case !there && d.size > 0:
			return &DamagedError{r.Dir, fmt.Errorf("%s is missing", file.Path(r.Dir))}
		case size < d.size:
			return &DamagedError{r.Dir, fmt.Errorf("%s has %d bytes, %d were written", file.Path(r.Dir), size, d.size)}
		case size > d.size:
			if err := r.log.AppendDead(context.Background(), file, d.size, nil); err != nil {
				return err
			}
		}
		l.dead.set(d)
	}
	// The last file may not be synced: the next commit that is must not say how long it is before that. (The log syncs a
	// file of letters when it goes on to another one.)
	if n := len(l.dead.days); n > 0 && l.dead.days[n-1].size > 0 {
		last := l.dead.days[n-1]
		return r.log.AppendDead(context.Background(), LetterFile{l.Name, last.day}, last.size, nil)
	}
	return nil
}

// resume computes where a lane starts from what is known about it.
func (l *Lane) resume() *State {
	slices.SortStableFunc(l.begun, func(a, b Begun) int { return a.At.Compare(b.At) }) // a snapshot is in no order
	s := &State{Mark: l.mark, Counts: l.total().Clone(), Pace: l.pace, Begun: l.begun,
		settled: map[DeliveryID]Verdict{}, doubted: map[DeliveryID]bool{}, wholes: maps.Clone(l.wholes)}
	for _, e := range l.ended {
		s.add(e)
	}
	for _, id := range slices.Sorted(maps.Keys(l.open)) {
		o := l.open[id]
		var req Request
		for d := range o.ids.all() {
			if d.Ordinal < l.mark.Ordinal {
				continue
			}
			s.doubted[d.Name()] = true
			if _, done := s.settled[d.Name()]; !done {
				req.IDs = append(req.IDs, d)
			}
		}
		if len(req.IDs) > 0 {
			s.InDoubt = append(s.InDoubt, req)
		}
	}
	return s
}

// add adds the verdicts of a request, or of verdicts without one, above the mark.
func (s *State) add(e ended) {
	special := map[DeliveryID]Verdict{}
	for _, v := range e.except {
		special[v.ID.Name()] = v
	}
	put := func(v Verdict) {
		if v.Outcome != Requeued && v.ID.Ordinal >= s.Mark.Ordinal {
			s.settled[v.ID.Name()] = v
		}
	}
	for id := range e.ids.all() {
		v, ok := special[id.Name()]
		if !ok {
			v = Verdict{ID: id, Outcome: e.def, Reason: e.reason}
		}
		put(v)
		delete(special, id.Name())
	}
	for _, v := range special {
		put(v)
	}
}
