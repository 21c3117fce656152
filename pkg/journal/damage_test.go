package journal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/journal"
)

// aRun makes a run with a thousand deliveries in a hundred requests, of which some have
// caused dead letters. end is called before it is closed.
func aRun(t *testing.T, rejects bool, end func(dir string, r *journal.Run)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	r := open(t, dir)
	l := r.Lane("one")
	for i := range uint64(100) {
		id, err := l.Begin("a", span(i*10, i*10+10), 1, false)
		if err != nil {
			t.Fatal(err)
		}
		outcome, dead := journal.Delivered, []journal.DeadLetter(nil)
		if rejects {
			outcome, dead = journal.Rejected, []journal.DeadLetter{{Raw: []byte("{}"), Destination: "one", Ordinal: i}}
		}
		if err := l.End(id, outcome, "refused", nil, dead); err != nil {
			t.Fatal(err)
		}
	}
	if end != nil {
		end(dir, r)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// damage is something that happens to a run's folder.
type damage func(dir string) error

func writeFile(name, text string) damage {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
}

func makeFolder(name string) damage {
	return func(dir string) error { return os.Mkdir(filepath.Join(dir, name), 0o700) }
}

func cutAt(name string, size int64) damage {
	return func(dir string) error { return os.Truncate(filepath.Join(dir, name), size) }
}

func remove(names ...string) damage {
	return func(dir string) error {
		var err error
		for _, name := range names {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
		return err
	}
}

// flip changes a bit in a place of the file that holds a text.
func flip(name, text string) damage {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		i := bytes.LastIndex(b, []byte(text))
		if strings.HasSuffix(name, "-wal") { // the last one is of a commit that was not synced
			i = bytes.Index(b, []byte(text))
		}
		if i < 0 {
			return errors.New("the file does not hold what it should")
		}
		b[i] ^= 1
		return os.WriteFile(path, b, 0o600)
	}
}

func both(a, b damage) damage {
	return func(dir string) error { return errors.Join(a(dir), b(dir)) }
}

// TestDamageIsRefused damages the state of a run in all ways: what does not hold what was
// written is neither a new run, nor one that has done less.
func TestDamageIsRefused(t *testing.T) {
	var killed string
	closed := aRun(t, true, func(dir string, r *journal.Run) {
		if err := r.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Lane("one").Begin("a", span(2000, 2001), 1, false); err != nil {
			t.Fatal(err)
		}
		killed = crash(t, dir)
	})
	delivered := aRun(t, false, nil)
	young := youngRun(t)
	const db, wal, number, letters = "journal.db", "journal.db-wal", "committed", "dead/one.jsonl.zst"
	for _, c := range []struct {
		name string
		dir  string
		do   damage
	}{
		{"a flipped byte in the journal", closed, flip(db, "refused")},
		{"a journal cut short", closed, cutAt(db, 5000)},
		{"a journal that is gone", closed, remove(db)},
		{"a journal that was emptied", closed, writeFile(db, "")},
		{"no database at all", closed, writeFile(db, strings.Repeat("garbage ", 1000))},
		{"dead letters cut short", closed, cutAt(letters, 10)},
		{"dead letters gone", closed, remove(letters)},
		{"dead letters of nobody", closed, writeFile("dead/two.jsonl.zst", "x")},
		{"a journal gone, without dead letters", delivered, remove(db)},
		{"a journal emptied, without dead letters", delivered, writeFile(db, "")},
		{"a journal gone, with a summary alone", delivered, both(remove(db, number), writeFile("summary.json", "{}"))},
		{"a journal gone, with counts alone", delivered, both(remove(db, number), writeFile("counts.json", "{}"))},
		{"a journal gone, with a spool alone", delivered, both(remove(db, number), makeFolder("spool"))},
		{"a write-ahead log that is lost, with dead letters", killed, remove(wal)},
		{"a write-ahead log that is lost, without", young, remove(wal)},
		{"a write-ahead log that was emptied", killed, writeFile(wal, "")},
		{"a flipped byte in the write-ahead log", killed, flip(wal, "refused")},
		{"a write-ahead log that is lost, and no number", killed, remove(wal, number)},
		{"a number that is damaged", closed, flip(number, "0")},
		{"all is gone but the number and the lock", closed, remove(db, letters)},
	} {
		t.Run(c.name, func(t *testing.T) {
			copied := crash(t, c.dir)
			if err := c.do(copied); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first look mends nothing
				r, err := journal.Open(copied, nil, opts())
				var damaged *journal.DamagedError
				if !errors.As(err, &damaged) {
					t.Errorf("opened with %v", err)
				}
				if err == nil && r.Close() != nil {
					t.Error("and cannot be closed")
				}
			}
		})
	}
	for _, dir := range []string{closed, killed, delivered, young} {
		whole(t, crash(t, dir))
	}
}

// whole opens a run that has no damage.
func whole(t *testing.T, dir string) {
	t.Helper()
	r, err := journal.Open(dir, nil, opts())
	if err != nil {
		t.Errorf("whole, and refused: %v", err)
		return
	}
	if err := r.Lane("one").CheckDeadLetters(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// youngRun is a run that was killed when it had begun its first request.
func youngRun(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	r := open(t, dir)
	if _, err := r.Lane("one").Begin("a", span(0, 10), 1, false); err != nil {
		t.Fatal(err)
	}
	copied := crash(t, dir)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return copied
}

// TestOlderCopy puts an older copy of the database back.
func TestOlderCopy(t *testing.T) {
	dir := aRun(t, false, nil)
	before, err := os.ReadFile(filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	if _, err = r.Lane("one").Begin("a", span(5000, 5001), 1, false); err != nil {
		t.Fatal(err)
	}
	if err = r.Close(); err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(filepath.Join(dir, "journal.db"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = journal.Open(dir, nil, opts())
	var damaged *journal.DamagedError
	if !errors.As(err, &damaged) || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("opened with %v", err)
	}
}

// TestJournalOfAnotherRun puts the journal of one run into the folder of another.
func TestJournalOfAnotherRun(t *testing.T) {
	dir := aRun(t, false, nil)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	_, err := journal.Open(other, nil, opts())
	var damaged *journal.DamagedError
	if !errors.As(err, &damaged) || !strings.Contains(err.Error(), "that of run run") {
		t.Errorf("opened with %v", err)
	}
}

// TestNoDamage: what is not the fault of the state is not called damage, whose remedy would
// be to remove it.
func TestNoDamage(t *testing.T) {
	dir := aRun(t, false, nil)
	db := filepath.Join(dir, "journal.db")
	if err := errors.Join(os.Rename(db, db+".kept"), os.Mkdir(db, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err := journal.Open(dir, nil, opts())
	var damaged *journal.DamagedError
	if err == nil || errors.As(err, &damaged) {
		t.Errorf("opened with %v", err)
	}
}

// TestHalfMade kills a process at each step of making a run's folder: the next one makes
// it.
func TestHalfMade(t *testing.T) {
	for name, made := range map[string][]string{
		"nothing":           nil,
		"the folder":        {"dead/"},
		"its lock":          {"dead/", "lock"},
		"a half database":   {"dead/", "lock", "journal.db.new"},
		"locked by redrive": {"dead/", "lock", "redrive.lock"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			for _, m := range made {
				err := os.MkdirAll(filepath.Join(dir, filepath.Dir(m)), 0o700)
				if err == nil && !strings.HasSuffix(m, "/") {
					err = os.WriteFile(filepath.Join(dir, m), nil, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := open(t, dir).Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
