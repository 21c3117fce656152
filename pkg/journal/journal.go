// Package journal is a run's memory: what was about to be sent, what came of
// it, what was refused, and up to where each destination is done.
//
// A run is a folder. It holds the manifest of the input, one checkpoint per
// destination, a ledger of requests, the dead letters and the summary. After a
// crash at any instant the same folder tells which deliveries are settled,
// which were in flight, and where reading starts again.
//
// The order of writes is the promise. An intent (which deliveries, in which
// request) is with the kernel before the request goes out: [Lane.Begin]
// returns then. Verdicts and the dead letters they cause stand before the
// checkpoint that passes them. All lanes' records go through one group
// committer: a commit is one transaction, however many requests wait for it.
// Surviving a killed process needs no more than that; surviving a power cut
// needs fsync, which happens every [Options.SyncEvery].
//
// Every record of the input has an ordinal, counted in reading order over the
// frozen manifest, and every delivery an id: the event's ordinal and the
// delivery's place among those of that event. Both are the same whenever the
// same input is read, which is what makes a resume exact.
package journal

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/source"
)

// Mark is a checkpoint: everything before Ordinal is settled, and Position is
// where to start reading again. The counts say what reading up to here found.
type Mark struct {
	Position source.Position   `json:"position"`
	Ordinal  uint64            `json:"ordinal"` // records read
	Bad      uint64            `json:"bad,omitempty"`
	Dropped  map[string]uint64 `json:"dropped,omitempty"`
}

// DeliveryID names one delivery of a run.
type DeliveryID struct {
	Ordinal uint64
	K       uint32 // place among the deliveries of the event
}

// Outcome is a verdict's outcome, in the journal's own words so that it needs
// no destination.
type Outcome uint8

const (
	Requeued  Outcome = iota // goes back to the queue: neither settled nor in doubt
	Delivered                // the partner has it
	Skipped                  // rightly not sent
	Rejected                 // a dead letter
)

// Verdict settles one delivery.
type Verdict struct {
	ID      DeliveryID
	Outcome Outcome
	Reason  string
}

// Counts are what became of a lane's events up to a mark. They are cumulative.
type Counts struct {
	Filtered   uint64            `json:"filtered,omitempty"`
	Skipped    map[string]uint64 `json:"skipped,omitempty"`
	Delivered  uint64            `json:"delivered,omitempty"`
	Rejected   map[string]uint64 `json:"rejected,omitempty"`
	Deliveries uint64            `json:"deliveries,omitempty"`
	Requests   uint64            `json:"requests,omitempty"`
	Retries    uint64            `json:"retries,omitempty"`
	Bytes      uint64            `json:"bytes,omitempty"`
	InDoubt    uint64            `json:"in_doubt,omitempty"`
	Released   uint64            `json:"released,omitempty"`
}

// Clone returns a copy that shares nothing.
func (c Counts) Clone() Counts {
	c.Skipped, c.Rejected = maps.Clone(c.Skipped), maps.Clone(c.Rejected)
	return c
}

// Request is a request that was begun and not ended: in doubt.
type Request struct {
	Action string
	IDs    []DeliveryID
	Begun  time.Time
}

// State is where a lane resumes.
type State struct {
	Mark    Mark
	Counts  Counts
	InDoubt []Request
	Pace    []byte
	settled map[DeliveryID]Verdict
	doubted map[DeliveryID]bool
}

// Settled returns the verdict on a delivery that was settled above the mark.
func (s *State) Settled(id DeliveryID) (Verdict, bool) {
	v, ok := s.settled[id]
	return v, ok
}

// Doubted says that a delivery above the mark was in flight when an earlier process
// ended, also if a later one has settled it since.
func (s *State) Doubted(id DeliveryID) bool { return s.doubted[id] }

// Options of a run folder.
type Options struct {
	Now       func() time.Time // required
	SyncEvery time.Duration    // fsync; 0: 200 ms
	Redact    func(string) string
}

// DamagedError is a run folder that does not hold what it should.
type DamagedError struct {
	Dir string
	Err error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the state in %s is damaged (%v): nothing is guessed; remove it with `runs rm`, or start over with --fresh", e.Dir, e.Err)
}
func (e *DamagedError) Unwrap() error { return e.Err }

// BusyError is a run that another process has open.
type BusyError struct{ Dir string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another process works on the run in %s, so nothing was done here: wait for it, or stop it", e.Dir)
}

// Run is an open run folder. It is safe for concurrent use.
type Run struct {
	Dir    string
	db     *sql.DB
	insert *sql.Stmt // of the committer
	wal    string
	lock   *os.File
	opt    Options
	packer func() *zstd.Encoder

	mu       sync.Mutex
	lanes    map[string]*Lane
	order    []*Lane
	pending  bytes.Buffer // encoded records of the next commit
	waiters  []chan error
	manifest []source.Object
	total    int             // rows of the manifest, with those that Extend added: years of objects are not kept
	added    []source.Object // the last of them, which are not committed
	urgent   bool
	err      error // what ended the committer; nothing is accepted any more
	kick     chan struct{}
	quit     chan struct{}
	done     chan struct{}
	seq      int64
	rows     int
	lastSync time.Time
	meta     json.RawMessage

	// See queue. These times are of the processor, not of opt.Now.
	begun    [crowdOf]time.Time // when the last requests were, a ring
	next     int                // the oldest of them
	alone    time.Time          // until when there is no queue
	patience time.Duration      // how long that was
}

// Lane is one destination's part of a run.
type Lane struct {
	r    *Run
	id   byte
	Name string

	state  *State
	mark   Mark
	counts Counts
	pace   []byte
	dirty  bool
	open   map[uint64]openRequest
	ended  []ended
	nextID uint64

	durable Mark
	dead    deadFile
}

type openRequest struct {
	action string
	ids    []DeliveryID
	at     int64
	old    bool // begun by an earlier process, which has not ended it: nobody will
}

// passed says that all of its deliveries are before an ordinal.
func (o openRequest) passed(ordinal uint64) bool {
	return !slices.ContainsFunc(o.ids, func(id DeliveryID) bool { return id.Ordinal >= ordinal })
}

// ended is a finished request, or a settling without one, above the mark.
type ended struct {
	ids    []DeliveryID
	def    Outcome
	reason string
	except []Verdict
	top    uint64 // highest ordinal
}

const schemaVersion = 1

// Open opens a run folder, creating it when it is not there, and locks it. meta
// is kept with a new run and given back by Meta afterwards.
func Open(dir string, meta any, opt Options) (*Run, error) {
	if opt.SyncEvery == 0 {
		opt.SyncEvery = 200 * time.Millisecond
	}
	if err := os.MkdirAll(filepath.Join(dir, "dead"), 0o700); err != nil {
		return nil, fmt.Errorf("making the run's folder: %w", err)
	}
	r := &Run{Dir: dir, opt: opt, packer: sync.OnceValue(newPacker), lanes: map[string]*Lane{}, kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), lastSync: opt.Now()}
	var err error
	path := filepath.Join(dir, "lock")
	if r.lock, err = lockFile(path); errors.Is(err, errLocked) {
		time.Sleep(50 * time.Millisecond) // somebody may only be asking whether it is Busy
		r.lock, err = lockFile(path)
	}
	if err != nil {
		if errors.Is(err, errLocked) {
			return nil, &BusyError{dir}
		}
		return nil, fmt.Errorf("locking the run: %w", err)
	}
	if err := r.openDB(meta); err != nil {
		if r.db != nil {
			r.db.Close()
		}
		r.lock.Close()
		return nil, err
	}
	go r.commitLoop()
	return r, nil
}

// Lock takes the lock of what a process does with a run beside running it, under a
// name; it ends when the file is closed, or with the process. The error is a *BusyError
// when another process has it.
func Lock(dir, name string) (io.Closer, error) {
	f, err := lockFile(filepath.Join(dir, name))
	if errors.Is(err, errLocked) {
		return nil, &BusyError{dir}
	}
	return f, err
}

// Busy says whether a process works on the run in a folder.
func Busy(dir string) bool {
	path := filepath.Join(dir, "lock")
	if _, err := os.Stat(path); err != nil {
		return false
	}
	f, err := lockFile(path)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, errLocked)
}

func (r *Run) openDB(meta any) error {
	path := filepath.Join(r.Dir, "journal.db")
	r.wal = path + "-wal"
	fresh := false
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		if entries, _ := filepath.Glob(filepath.Join(r.Dir, "dead", "*")); len(entries) > 0 {
			return &DamagedError{r.Dir, errors.New("journal.db is missing beside dead letters")}
		}
		if err := r.create(path, meta); err != nil {
			return r.wrap("making the journal", err)
		}
		fresh = true
	}
	db, err := sql.Open("sqlite", address(path, "locking_mode(EXCLUSIVE)", "journal_mode(WAL)", "synchronous(NORMAL)", "wal_autocheckpoint(4000)"))
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	db.SetMaxOpenConns(1) // the lock on the folder is ours, so nobody else asks for the database
	r.db = db
	if fresh {
		return nil
	}
	if err := r.load(); err != nil {
		return &DamagedError{r.Dir, err}
	}
	return nil
}

// address is a database's URI, in which a path may hold any character.
func address(path string, pragmas ...string) string {
	uri := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
	for i, p := range pragmas {
		uri += []string{"?", "&"}[min(i, 1)] + "_pragma=" + p
	}
	return uri
}

// create makes the database beside its place and moves it there when it is
// whole, so that a process killed meanwhile leaves none rather than a half.
func (r *Run) create(path string, meta any) error {
	data, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("describing the run: %w", err)
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	db, err := sql.Open("sqlite", address(tmp, "journal_mode(OFF)", "synchronous(OFF)"))
	if err != nil {
		return err
	}
	_, err = db.Exec(`CREATE TABLE log (seq INTEGER PRIMARY KEY, data BLOB NOT NULL);
		CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
		CREATE TABLE manifest (n INTEGER PRIMARY KEY, object TEXT NOT NULL)`)
	if err == nil {
		_, err = db.Exec(`INSERT INTO kv VALUES ('version', ?), ('meta', ?)`, fmt.Sprint(schemaVersion), data)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := syncPath(tmp); err != nil {
		return err
	}
	r.meta = data
	return os.Rename(tmp, path)
}

func (r *Run) wrap(what string, err error) error {
	if err != nil && (strings.Contains(err.Error(), "disk is full") || strings.Contains(err.Error(), "disk I/O error")) {
		return fmt.Errorf("%s in %s: %w: is the disk full? Nothing is lost: the same command resumes once there is room", what, r.Dir, err)
	}
	return fmt.Errorf("%s in %s: %w", what, r.Dir, err)
}

// Meta returns what the run was made with.
func (r *Run) Meta() json.RawMessage { return r.meta }

// load rebuilds the state of all lanes from the last snapshot and what was
// logged since.
func (r *Run) load() error {
	var check string
	if err := r.db.QueryRow(`PRAGMA quick_check(1)`).Scan(&check); err != nil {
		return err
	} else if check != "ok" {
		return errors.New(check)
	}
	rows, err := r.db.Query(`SELECT key, value FROM kv`)
	if err != nil {
		return err
	}
	kv := map[string][]byte{}
	for rows.Next() {
		var k string
		var v []byte
		if err := rows.Scan(&k, &v); err != nil {
			rows.Close()
			return err
		}
		kv[k] = v
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if v := string(kv["version"]); v != fmt.Sprint(schemaVersion) {
		return fmt.Errorf("it was written by another version of fanfold (journal version %q, this is %d)", v, schemaVersion)
	}
	if r.meta = kv["meta"]; r.meta == nil {
		return errors.New("it does not say which run it is")
	}
	if rows, err = r.db.Query(`SELECT n, object FROM manifest ORDER BY n`); err != nil {
		return err
	}
	for rows.Next() {
		var n int
		var text string
		var obj source.Object
		err := rows.Scan(&n, &text)
		if err == nil {
			err = json.Unmarshal([]byte(text), &obj)
		}
		if err != nil || n != len(r.manifest) {
			rows.Close()
			return fmt.Errorf("row %d of the manifest cannot be read: %v", n, err)
		}
		r.manifest = append(r.manifest, obj)
		r.total++
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if rows, err = r.db.Query(`SELECT seq, data FROM log ORDER BY seq`); err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&r.seq, &data); err != nil {
			return err
		}
		if len(data) < 4 || crc32.Checksum(data[4:], castagnoli) != binary.LittleEndian.Uint32(data) {
			return fmt.Errorf("commit %d does not match its checksum", r.seq)
		}
		r.rows++
		if err := r.replay(data[4:]); err != nil {
			return fmt.Errorf("commit %d: %w", r.seq, err)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, l := range r.order {
		if err := l.dead.restore(filepath.Join(r.Dir, "dead", l.file())); err != nil {
			return err
		}
		l.durable = l.mark
		for id, o := range l.open {
			o.old = true
			l.open[id] = o
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Lane returns the lane of a destination, new or as it was left.
func (r *Run) Lane(name string) *Lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lane(name)
	l.state = &State{Mark: l.mark, Counts: l.counts.Clone(), Pace: l.pace, settled: map[DeliveryID]Verdict{}, doubted: map[DeliveryID]bool{}}
	for _, e := range l.ended {
		l.state.add(e, l.mark.Ordinal)
	}
	for _, id := range slices.Sorted(maps.Keys(l.open)) {
		o := l.open[id]
		req := Request{Action: o.action, Begun: time.UnixMilli(o.at)}
		for _, d := range o.ids {
			if d.Ordinal < l.mark.Ordinal {
				continue
			}
			l.state.doubted[d] = true
			if _, done := l.state.settled[d]; !done {
				req.IDs = append(req.IDs, d)
			}
		}
		if len(req.IDs) > 0 {
			l.state.InDoubt = append(l.state.InDoubt, req)
		}
	}
	return l
}

func (s *State) add(e ended, from uint64) {
	special := map[DeliveryID]Verdict{}
	for _, v := range e.except {
		special[v.ID] = v
	}
	put := func(v Verdict) {
		if v.Outcome != Requeued && v.ID.Ordinal >= from {
			s.settled[v.ID] = v
		}
	}
	for _, id := range e.ids {
		v, ok := special[id]
		if !ok {
			v = Verdict{ID: id, Outcome: e.def, Reason: e.reason}
		}
		put(v)
		delete(special, id)
	}
	for _, v := range special {
		put(v)
	}
}

func (r *Run) lane(name string) *Lane {
	l := r.lanes[name]
	if l == nil {
		l = &Lane{r: r, id: byte(len(r.order)), Name: name, open: map[uint64]openRequest{}}
		r.lanes[name] = l
		r.order = append(r.order, l)
		r.record('L', func(b []byte) []byte { return appendString(append(b, l.id), name) })
	}
	return l
}

// Resume returns where the lane starts.
func (l *Lane) Resume() *State { return l.state }

// Begin records that the deliveries are about to go out in one request, and
// returns once the kernel has it.
func (l *Lane) Begin(action string, ids []DeliveryID) (uint64, error) {
	r := l.r
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return 0, r.err
	}
	l.nextID++
	id, at := l.nextID, r.opt.Now().UnixMilli()
	l.open[id] = openRequest{action: action, ids: slices.Clone(ids), at: at}
	r.record('B', func(b []byte) []byte { return l.appendBegin(b, id, action, at, ids) })
	ch := make(chan error, 1)
	r.waiters = append(r.waiters, ch)
	r.urgent = true
	r.begun[r.next] = time.Now()
	r.next = (r.next + 1) % len(r.begun)
	r.mu.Unlock()
	r.wake()
	return id, <-ch
}

func (l *Lane) appendBegin(b []byte, id uint64, action string, at int64, ids []DeliveryID) []byte {
	b = append(b, l.id)
	b = binary.AppendUvarint(b, id)
	b = appendString(b, action)
	b = binary.AppendVarint(b, at)
	return appendIDs(b, ids)
}

// End records what came of a request: def for all of its deliveries but those
// in except. dead are the dead letters that it caused. It does not wait; it
// stands before any later Advance.
func (l *Lane) End(req uint64, def Outcome, reason string, except []Verdict, dead []DeadLetter) error {
	r, written := l.r, l.lettersOf(dead)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	o, ok := l.open[req]
	if !ok {
		return fmt.Errorf("journal: request %d of %s was not begun", req, l.Name)
	}
	delete(l.open, req)
	e := ended{ids: o.ids, def: def, reason: reason, except: slices.Clone(except)}
	l.end(e)
	r.record('E', func(b []byte) []byte {
		b = append(b, l.id)
		b = binary.AppendUvarint(b, req)
		b = append(b, byte(def))
		return appendVerdicts(appendString(b, reason), except)
	})
	return l.bury(written)
}

// Settle records verdicts that needed no request.
func (l *Lane) Settle(vs []Verdict, dead []DeadLetter) error {
	r, written := l.r, l.lettersOf(dead)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	l.end(ended{except: slices.Clone(vs)})
	r.record('S', func(b []byte) []byte { return appendVerdicts(append(b, l.id), vs) })
	return l.bury(written)
}

func (l *Lane) end(e ended) {
	for _, id := range e.ids {
		e.top = max(e.top, id.Ordinal)
	}
	for _, v := range e.except {
		e.top = max(e.top, v.ID.Ordinal)
	}
	if e.top >= l.mark.Ordinal && (len(e.ids) > 0 || len(e.except) > 0) {
		l.ended = append(l.ended, e)
	}
}

// bury hands letters to the next commit. The caller holds the journal's lock.
func (l *Lane) bury(dead letters) error {
	if dead.n == 0 {
		return nil
	}
	if l.dead.path == "" {
		l.dead.path = filepath.Join(l.r.Dir, "dead", l.file())
	}
	l.dead.lines = append(l.dead.lines, dead)
	l.dirty = true
	l.r.wake()
	return nil
}

// file is the name of the lane's dead letters.
func (l *Lane) file() string { return FileName(l.Name) + ".jsonl.zst" }

// FileName is a destination's name as that of a file, of no other destination.
func FileName(destination string) string {
	var b strings.Builder
	for _, c := range []byte(destination) {
		if c == '/' || c == '\\' || c == ':' || c == '%' || c < ' ' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Advance moves the checkpoint. It does not wait; calls are coalesced.
func (l *Lane) Advance(m Mark, c Counts, pace []byte) error {
	r := l.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if m.Ordinal < l.mark.Ordinal {
		return fmt.Errorf("journal: %s: the checkpoint cannot go back from %d to %d", l.Name, l.mark.Ordinal, m.Ordinal)
	}
	l.mark, l.counts, l.pace, l.dirty = m, c.Clone(), pace, true
	l.ended = slices.DeleteFunc(l.ended, func(e ended) bool { return e.top < m.Ordinal })
	maps.DeleteFunc(l.open, func(_ uint64, o openRequest) bool { return o.old && o.passed(m.Ordinal) })
	r.wake()
	return nil
}

// Durable returns the last mark that would survive a power cut.
func (l *Lane) Durable() Mark {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.durable
}

// DeadLetters returns how many dead letters the lane has, and where.
func (l *Lane) DeadLetters() (n uint64, path string) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.dead.count, l.dead.path
}

// Manifest returns the objects that were frozen before the run was opened, and
// those of Freeze.
func (r *Run) Manifest() []source.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.manifest)
}

// Freeze adds the objects beyond those that the manifest has.
func (r *Run) Freeze(objects []source.Object) error {
	r.mu.Lock()
	if len(objects) > r.total {
		r.added = append(r.added, objects[r.total:]...)
		r.manifest, r.total = slices.Clone(objects), len(objects)
	}
	r.mu.Unlock()
	return r.Sync(context.Background())
}

// Put keeps a small value with the run, such as the instants to which relative
// times were resolved.
func (r *Run) Put(key string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if _, err := r.db.Exec(`INSERT OR REPLACE INTO kv VALUES (?, ?)`, "user:"+key, data); err != nil {
		return r.wrap("writing the journal", err)
	}
	return nil
}

// Get reads what Put kept; false when there is none.
func (r *Run) Get(key string, into any) (bool, error) {
	var data []byte
	err := r.db.QueryRow(`SELECT value FROM kv WHERE key = ?`, "user:"+key).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(data, into)
}

// Sync returns once everything handed over so far is on the disk.
func (r *Run) Sync(ctx context.Context) error {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return r.err
	}
	ch := make(chan error, 1)
	r.waiters = append(r.waiters, ch)
	r.urgent = true
	r.lastSync = time.Time{}
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
	for _, l := range r.order {
		err = errors.Join(err, l.dead.close())
	}
	return errors.Join(err, r.db.Close(), r.lock.Close())
}

func (r *Run) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// record appends one record to the next commit.
func (r *Run) record(kind byte, body func([]byte) []byte) {
	b := r.pending.AvailableBuffer()
	b = append(b, kind)
	r.pending.Write(body(b))
}

// commitLoop is the one writer.
func (r *Run) commitLoop() {
	defer close(r.done)
	tick := time.NewTicker(r.opt.SyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.quit:
			return
		case <-tick.C:
		case <-r.kick:
			// Verdicts alone need not hurry: a few milliseconds make one
			// commit of many.
			r.mu.Lock()
			urgent := r.urgent
			r.mu.Unlock()
			if urgent {
				r.queue()
			} else {
				r.gather()
			}
		}
		r.commit()
	}
}

// queue lets whoever is about to begin a request do so first, so that one commit is
// for all of them: a commit costs as much as a small request, and where many begin,
// the first of them would have one for itself. A turn can be dear: who takes a
// processor then may keep it for milliseconds. So there are turns only while requests
// begin by the thousand in a second, and after a dear one none for a while.
func (r *Run) queue() {
	r.mu.Lock()
	n, now := len(r.waiters), time.Now()
	crowded := now.Sub(r.begun[r.next]) < crowd && now.After(r.alone)
	r.mu.Unlock()
	for turns := 0; crowded && turns < maxTurns; turns++ {
		runtime.Gosched()
		if d := time.Since(now); d > dearTurn {
			r.patience = min(max(2*r.patience, time.Second/4), time.Minute)
			r.alone = time.Now().Add(r.patience)
			return
		}
		r.patience -= r.patience / 256 // one dear turn among many cheap ones is soon forgotten
		r.mu.Lock()
		last := n
		n = len(r.waiters)
		r.mu.Unlock()
		if n == last {
			return
		}
	}
}

const (
	// maxTurns is how often the committer lets others have a processor.
	maxTurns = 4
	// crowd is how little time the last crowdOf requests may span: one in a fifth of a
	// millisecond.
	crowdOf = 16
	crowd   = crowdOf * time.Second / 5000
	// dearTurn is less than a goroutine gets that computes on, and more than those
	// take who are about to begin requests.
	dearTurn = 8 * time.Millisecond
)

// gather waits a few milliseconds for more verdicts, or until somebody waits for
// a commit.
func (r *Run) gather() {
	t := time.NewTimer(5 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-r.quit:
			return
		case <-r.kick:
			r.mu.Lock()
			urgent := r.urgent
			r.mu.Unlock()
			if urgent {
				return
			}
		}
	}
}

func (r *Run) commit() {
	r.mu.Lock()
	dirty := r.pending.Len() > 0 || len(r.added) > 0
	for _, l := range r.order {
		if l.dirty {
			dirty = true
			l.dirty = false
			r.record('C', l.appendCheckpoint)
		}
	}
	waiters := r.waiters
	r.waiters, r.urgent = nil, false
	if r.err != nil {
		for _, ch := range waiters {
			ch <- r.err
		}
		r.mu.Unlock()
		return
	}
	since := r.opt.Now().Sub(r.lastSync)
	sync := since >= r.opt.SyncEvery || since < 0 || r.lastSync.IsZero() // below zero: the clock went back
	if !dirty {
		stale := false
		for _, l := range r.order {
			stale = stale || l.durable.Ordinal != l.mark.Ordinal
		}
		if !sync || !stale && len(waiters) == 0 {
			for _, ch := range waiters {
				ch <- nil
			}
			r.mu.Unlock()
			return
		}
	}
	// Dead letters go to their files first: the commit names the lengths.
	var frames []frame
	for _, l := range r.order {
		if lines := l.dead.take(); len(lines) > 0 {
			frames = append(frames, frame{lane: l, lines: lines})
		}
	}
	r.mu.Unlock()

	var err error
	for i := range frames {
		f := &frames[i]
		if f.size, err = f.lane.dead.write(f.lines, r.packer); err != nil {
			break
		}
	}
	if err == nil && sync {
		for _, l := range r.order {
			err = errors.Join(err, l.dead.sync())
		}
	}

	r.mu.Lock()
	for _, f := range frames {
		f.lane.dead.size += f.size
		for _, l := range f.lines {
			f.lane.dead.count += uint64(l.n)
		}
		r.record('D', func(b []byte) []byte {
			b = append(b, f.lane.id)
			b = binary.AppendUvarint(b, uint64(f.lane.dead.size))
			return binary.AppendUvarint(b, f.lane.dead.count)
		})
	}
	snapshot := r.rows >= 512
	data := make([]byte, 4, 4+r.pending.Len())
	data = append(data, r.pending.Bytes()...)
	r.pending.Reset()
	if snapshot {
		data = r.appendSnapshot(data[:4])
	}
	binary.LittleEndian.PutUint32(data, crc32.Checksum(data[4:], castagnoli))
	objects := r.added
	from := r.total - len(objects)
	r.added = nil
	marks := make([]Mark, len(r.order))
	for i, l := range r.order {
		marks[i] = l.mark
	}
	r.mu.Unlock()

	if err == nil && (len(data) > 4 || len(objects) > 0) {
		err = r.write(data, snapshot, from, objects)
	}
	if err == nil && sync {
		err = syncPath(r.wal)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.err = r.wrap("writing the journal", err)
	} else if sync {
		r.lastSync = r.opt.Now()
		for i, m := range marks {
			r.order[i].durable = m
		}
	}
	for _, ch := range waiters {
		ch <- r.err
	}
}

type frame struct {
	lane  *Lane
	lines []letters
	size  int64
}

func (r *Run) write(data []byte, snapshot bool, from int, objects []source.Object) error {
	if !snapshot && len(objects) == 0 {
		// The usual case: one statement, which is a transaction by itself.
		if r.insert == nil {
			var err error
			if r.insert, err = r.db.Prepare(`INSERT INTO log VALUES (?, ?)`); err != nil {
				return err
			}
		}
		r.seq++
		r.rows++
		_, err := r.insert.Exec(r.seq, data)
		return err
	}
	tx, err := r.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // without effect after the commit
	for i, o := range objects {
		text, err := json.Marshal(o)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO manifest VALUES (?, ?)`, from+i, string(text)); err != nil {
			return err
		}
	}
	if snapshot {
		if _, err := tx.Exec(`DELETE FROM log`); err != nil {
			return err
		}
		r.rows = 0
	}
	r.seq++
	r.rows++
	if _, err := tx.Exec(`INSERT INTO log VALUES (?, ?)`, r.seq, data); err != nil {
		return err
	}
	return tx.Commit()
}

func syncPath(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Name is the run's id: the name of its folder.
func (r *Run) Name() string { return filepath.Base(r.Dir) }
