package journal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// faultyLog fails at one of its calls.
type faultyLog struct {
	journal.Log
	left  int // calls until it fails
	fault fault
	fired bool
}

// fault is what a disk does: it may have done what it was told, or a part of it, before it
// says that it has not.
type fault struct {
	name  string
	err   error
	done  bool // what was asked for, all the same
	half  bool // of a frame of dead letters
	syncs bool // what is asked for before is synced, which takes long
}

func (l *faultyLog) now() bool {
	if l.fired {
		return true // a disk that has failed goes on failing
	}
	l.left--
	l.fired = l.left < 0
	return l.fired
}

func (l *faultyLog) Append(ctx context.Context, c journal.Commit) error {
	if !l.now() {
		c.Sync = c.Sync && l.fault.syncs
		return l.Log.Append(ctx, c)
	}
	if l.fault.done && l.left == -1 {
		if err := l.Log.Append(ctx, c); err != nil {
			return err
		}
		l.left--
	}
	return l.fault.err
}

func (l *faultyLog) AppendDead(ctx context.Context, file journal.LetterFile, at int64, frame []byte) error {
	if !l.now() {
		return l.Log.AppendDead(ctx, file, at, frame)
	}
	if (l.fault.done || l.fault.half) && l.left == -1 {
		if l.fault.half {
			frame = frame[:len(frame)/2]
		}
		if err := l.Log.AppendDead(ctx, file, at, frame); err != nil {
			return err
		}
		l.left--
	}
	return l.fault.err
}

// did is what a process was told, or has handed over.
type did struct {
	objects int
	value   int
	begun   map[journal.DeliveryID]bool // Begin has returned
	ended   map[journal.DeliveryID]bool // handed over
	mark    uint64                      // handed over
	letters map[uint64]bool             // handed over, by their event
	durable map[uint64]bool             // what of that was there when Sync has returned
	passed  uint64
}

// work does what lanes do, until the journal says no.
func work(r *journal.Run) (d did, err error) {
	d = did{begun: map[journal.DeliveryID]bool{}, ended: map[journal.DeliveryID]bool{}, letters: map[uint64]bool{},
		durable: map[uint64]bool{}}
	for step := range uint64(5) {
		if err := r.Extend([]source.Object{{Name: fmt.Sprint("object ", step)}}); err != nil {
			return d, err
		}
		d.objects++
		l := r.Lane([]string{"one", "two"}[step%2])
		ids := span(step*10, step*10+10)
		req, err := l.Begin("act", ids, 1, false)
		if err != nil {
			return d, err
		}
		for _, id := range ids {
			d.begun[id] = true
		}
		var dead []journal.DeadLetter
		var except []journal.Verdict
		if step%3 < 2 {
			except = []journal.Verdict{{ID: ids[3], Outcome: journal.Rejected, Reason: "refused"}}
			dead = []journal.DeadLetter{{Raw: []byte("{}"), Destination: l.Name, Ordinal: ids[3].Ordinal, Detail: "no"}}
			d.letters[ids[3].Ordinal] = true
		}
		if err := l.End(req, journal.Delivered, "", except, dead); err != nil {
			return d, err
		}
		for _, id := range ids {
			d.ended[id] = true
		}
		if err := r.Put("step", step); err != nil {
			return d, err
		}
		d.value = int(step)
		if step >= 3 {
			d.mark = ids[0].Ordinal - 20
			if err := l.Advance(journal.Mark{Ordinal: d.mark}, journal.Counts{Delivered: d.mark}, nil); err != nil {
				return d, err
			}
		}
		if err := r.Sync(context.Background()); err != nil {
			return d, err
		}
		d.passed = d.mark
		for o := range d.letters {
			d.durable[o] = true
		}
	}
	return d, nil
}

// TestFaultyDisk lets the disk fail at each of the journal's calls in turn, in several
// ways: the process is told, and the next one finds all that was acknowledged, with no
// dead letter twice and none without its verdict.
func TestFaultyDisk(t *testing.T) {
	for _, f := range []fault{
		{name: "full", err: syscall.ENOSPC, syncs: true},
		{name: "an error of writing", err: syscall.EIO},
		{name: "half a frame", err: syscall.ENOSPC, half: true},
		{name: "an error of syncing, after the writing", err: syscall.EIO, done: true},
	} {
		t.Run(f.name, func(t *testing.T) {
			for at := 1; ; at++ { // the first makes the run
				dir := filepath.Join(t.TempDir(), "run")
				if err := os.MkdirAll(filepath.Join(dir, "dead"), 0o700); err != nil {
					t.Fatal(err)
				}
				log, err := journal.OpenSQLite(dir)
				if err != nil {
					t.Fatal(err)
				}
				o := opts()
				faulty := &faultyLog{Log: log, left: at, fault: f}
				o.Log = faulty
				r, err := journal.Open(dir, nil, o)
				if err != nil {
					t.Fatal(err)
				}
				d, err := work(r)
				closed := r.Close()
				if !faulty.fired {
					if err != nil || closed != nil {
						t.Fatalf("without a fault: %v, %v", err, closed)
					}
					if at < 20 {
						t.Fatalf("there were only %d calls", at)
					}
					return
				}
				if !errors.Is(err, f.err) && !errors.Is(closed, f.err) {
					t.Errorf("call %d: the process was told %v, %v", at, err, closed)
				}
				found(t, fmt.Sprint("call ", at), dir, d)
			}
		})
	}
}

// unsynced is a log of which the files of dead letters that were there before are not on the disk yet.
type unsynced struct {
	journal.Log
	files map[journal.LetterFile]bool
	early []journal.LetterFile // those that were still missing when a commit that tells of them was synced
}

func (l *unsynced) AppendDead(ctx context.Context, file journal.LetterFile, at int64, frame []byte) error {
	delete(l.files, file) // the next commit that is synced has it synced before
	return l.Log.AppendDead(ctx, file, at, frame)
}

func (l *unsynced) Append(ctx context.Context, c journal.Commit) error {
	if c.Sync {
		l.early = slices.AppendSeq(l.early, maps.Keys(l.files))
	}
	return l.Log.Append(ctx, c)
}

// TestLettersOfKilledAreSynced: dead letters that a killed process has written are on the disk before a commit of the
// next process is, so that a loss of power does not leave a journal that knows more letters than there are.
func TestLettersOfKilledAreSynced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r, err := journal.Open(dir, nil, opts())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = work(r); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "run") // what a killed process leaves
	if err = errors.Join(os.CopyFS(copied, os.DirFS(dir)), r.Close()); err != nil {
		t.Fatal(err)
	}
	log, err := journal.OpenSQLite(copied)
	if err != nil {
		t.Fatal(err)
	}
	o, left := opts(), &unsynced{Log: log, files: map[journal.LetterFile]bool{{Lane: "one"}: true, {Lane: "two"}: true}}
	o.Log = left
	if r, err = journal.Open(copied, nil, o); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if n, _ := r.Lane(name).DeadLetters(); n == 0 {
			t.Fatalf("%s has no dead letters", name)
		}
	}
	if err = errors.Join(r.Sync(context.Background()), r.Close()); err != nil || len(left.early) > 0 {
		t.Errorf("a commit was synced before %v (%v)", left.early, err)
	}
}

// found opens the run as the next process does.
func found(t *testing.T, what, dir string, d did) {
	t.Helper()
	r, err := journal.Open(dir, nil, opts())
	if err != nil {
		t.Errorf("%s: the next process: %v", what, err)
		return
	}
	defer r.Close()
	if n := len(r.Manifest()); n < d.objects || n > d.objects+1 {
		t.Errorf("%s: %d objects, want %d", what, n, d.objects)
	}
	step := -1
	if ok, err := r.Get("step", &step); err != nil || ok && step != d.value && step != d.value+1 || !ok && d.value > 0 {
		t.Errorf("%s: step %d, want %d (%v)", what, step, d.value, err)
	}
	doubt, written := map[journal.DeliveryID]bool{}, map[uint64]bool{}
	states := map[string]*journal.State{}
	for _, name := range []string{"one", "two"} {
		l := r.Lane(name)
		states[name] = l.Resume()
		for _, q := range l.Resume().InDoubt {
			for _, id := range q.IDs {
				doubt[id] = true
			}
		}
		n, path := l.DeadLetters()
		if err := l.CheckDeadLetters(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n > 0 {
			for _, letter := range letters(t, path) {
				ordinal := uint64(letter["ordinal"].(float64))
				if written[ordinal] || !d.letters[ordinal] {
					t.Errorf("%s: a dead letter of event %d, which has one, or none", what, ordinal)
				}
				written[ordinal] = true
			}
		}
	}
	for o := range d.durable {
		if !written[o] {
			t.Errorf("%s: the dead letter of event %d is gone", what, o)
		}
	}
	for id := range d.begun {
		s := states[[]string{"one", "two"}[id.Ordinal/10%2]]
		if s.Mark.Ordinal > d.mark || s.Mark.Ordinal > id.Ordinal && !d.ended[id] {
			t.Errorf("%s: the checkpoint is at %d", what, s.Mark.Ordinal)
		}
		v, settled := s.Settled(id)
		switch {
		case settled && !d.ended[id]:
			t.Errorf("%s: %v was settled by nobody", what, id)
		case !settled && !doubt[id] && id.Ordinal >= s.Mark.Ordinal:
			t.Errorf("%s: %v was begun and is neither settled nor in doubt", what, id)
		case settled && v.Outcome == journal.Rejected && !written[id.Ordinal]:
			t.Errorf("%s: %v was rejected and has no dead letter", what, id)
		}
	}
}

// TestFenced: when another owner has written to the log, the process stops, and says why.
func TestFenced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.MkdirAll(filepath.Join(dir, "dead"), 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := journal.OpenSQLite(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := opts()
	o.Log = log
	r, err := journal.Open(dir, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	l := r.Lane("one")
	if _, err = l.Begin("act", span(0, 1), 1, false); err != nil {
		t.Fatal(err)
	}
	if err = log.Append(t.Context(), journal.Commit{Seq: 3, Data: journal.Seal(nil)}); err != nil { // the other one
		t.Fatal(err)
	}
	_, err = l.Begin("act", span(1, 2), 1, false)
	var busy *journal.BusyError
	if !errors.As(err, &busy) || !busy.Taken {
		t.Errorf("begun with %v", err)
	}
	if err := r.Close(); !errors.As(err, &busy) {
		t.Errorf("closed with %v", err)
	}
}

// TestManyLanes has more lanes than one byte can number, and more deliveries of an event
// than two can.
func TestManyLanes(t *testing.T) {
	const lanes = 300
	dir := filepath.Join(t.TempDir(), "run")
	r := open(t, dir)
	for i := range uint64(lanes) {
		l := r.Lane(fmt.Sprint("lane ", i))
		if _, err := l.Begin("act", append(span(i, i+2), journal.DeliveryID{Ordinal: i, K: 70_000}), 1, false); err != nil {
			t.Fatal(err)
		}
		if err := l.Settle([]journal.Verdict{{ID: journal.DeliveryID{Ordinal: i, K: 66_000}, Outcome: journal.Skipped}},
			nil); err != nil {
			t.Fatal(err)
		}
		if err := l.Advance(journal.Mark{Ordinal: i}, journal.Counts{Delivered: i}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	copied := crash(t, dir)
	for range 2 { // the last one reads a snapshot
		again := open(t, copied)
		for i := range uint64(lanes) {
			s := again.Lane(fmt.Sprint("lane ", i)).Resume()
			_, settled := s.Settled(journal.DeliveryID{Ordinal: i, K: 66_000})
			_, low := s.Settled(journal.DeliveryID{Ordinal: i, K: 66_000 & 0xffff})
			if s.Mark.Ordinal != i || s.Counts.Delivered != i || !settled || low || len(s.InDoubt) != 1 ||
				len(s.InDoubt[0].IDs) != 3 || !s.Doubted(journal.DeliveryID{Ordinal: i, K: 70_000}) {
				t.Fatalf("lane %d resumes at %+v", i, s)
			}
		}
		l := again.Lane("lane 299")
		for range 520 {
			if err := again.Put("x", 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Advance(l.Resume().Mark, l.Resume().Counts, nil); err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNewerVersions: what a newer fanfold has written is refused, and not guessed at.
func TestNewerVersions(t *testing.T) {
	for name, c := range map[string]journal.Commit{
		"records": {Data: resealed(journal.RecordsVersion + 1)},
		"objects": {Data: journal.Seal(nil), Objects: [][]byte{[]byte(`3 {"name":"a"}`)}},
		"values":  {Data: journal.Seal(nil), Values: map[string][]byte{"user:x": []byte(`3 1`)}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := aRun(t, false, nil)
			log, err := journal.OpenSQLite(dir)
			if err != nil {
				t.Fatal(err)
			}
			commits, err := log.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for row, err := range commits.Log {
				if err != nil {
					t.Fatal(err)
				}
				c.Seq = row.Seq + 1
			}
			if err := errors.Join(log.Append(t.Context(), c), log.Close()); err != nil {
				t.Fatal(err)
			}
			var damaged *journal.DamagedError
			if _, err := journal.Open(dir, nil, opts()); !errors.As(err, &damaged) ||
				!errorHas(err, "a newer one has written it") {
				t.Errorf("opened with %v", err)
			}
		})
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte("L\x00\x03oneB\x00\x01\x03act\x00\x02\x05\x00\x02E\x00\x01\x01\x00\x00S\x00\x01\x07\x00\x02\x01xD\x00\x05\x01"))
	f.Add([]byte("L\x00\x03oneC\x00\x1c{\"mark\":{\"ordinal\":5,\"x\":1}}"))
	f.Add([]byte("L\x01\x03one"))
	f.Add([]byte("L\x00\x00B\x00\x01\x00\x00\xff\xff\x07\x00\x00\xff\xff\x07"))
	f.Fuzz(func(t *testing.T, records []byte) {
		_ = journal.Replay(journal.Seal(records)) // any error, and no panic
		_ = journal.Replay(records)
	})
}

// TestClockJumps sets the clock back and forth: what was passed becomes durable all the
// same, and nothing waits for a time that has gone.
func TestClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"back": -24 * time.Hour, "forward": 24 * time.Hour, "to and fro": 0,
		"not at all": 0} {
		t.Run(name, func(t *testing.T) { clockJumps(t, name, jump) })
	}
}

func clockJumps(t *testing.T, name string, jump time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		var offset atomic.Int64
		o := journal.Options{Now: func() time.Time { return time.Now().Round(0).Add(time.Duration(offset.Load())) }}
		dir := filepath.Join(t.TempDir(), "run")
		r, err := journal.Open(dir, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		l := r.Lane("a")
		for i := range uint64(3) {
			req, begun := l.Begin("act", span(10*i, 10*i+10), 1, false)
			if begun != nil {
				t.Fatal(begun)
			}
			if err = l.End(req, journal.Delivered, "", nil, nil); err != nil {
				t.Fatal(err)
			}
			if name == "to and fro" {
				jump = 24 * time.Hour * time.Duration(1-2*int(i%2))
			}
			offset.Add(int64(jump))
			mark := journal.Mark{Ordinal: 10*i + 10}
			if err = l.Advance(mark, journal.Counts{Delivered: mark.Ordinal}, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // of simulated time
			if got := l.Durable().Ordinal; got != mark.Ordinal {
				t.Errorf("durable up to %d, want %d", got, mark.Ordinal)
			}
		}
		if _, err = l.Begin("act", span(30, 35), 1, false); err != nil {
			t.Fatal(err)
		}
		if err = r.Close(); err != nil {
			t.Fatal(err)
		}
		offset.Add(int64(jump))
		if r, err = journal.Open(dir, nil, o); err != nil {
			t.Fatal(err)
		}
		s := r.Lane("a").Resume()
		if s.Mark.Ordinal != 30 || s.Counts.Delivered != 30 || len(s.InDoubt) != 1 || len(s.InDoubt[0].IDs) != 5 {
			t.Errorf("resumed at %+v", s)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// resealed is the data of a commit of another version.
func resealed(version byte) []byte { return unversionedData([]byte{version}) }

// unversionedData is a commit's data as version 1 had it.
func unversionedData(records []byte) []byte {
	sum := crc32.Checksum(records, crc32.MakeTable(crc32.Castagnoli))
	return append(binary.LittleEndian.AppendUint32(nil, sum), records...)
}

func errorHas(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }
