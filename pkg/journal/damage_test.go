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
		id, err := l.Begin("a", span(i*10, i*10+10))
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

// TestDamageIsRefused damages the state of a run in all ways: what does not hold what was
// written is neither a new run, nor one that has done less.
func TestDamageIsRefused(t *testing.T) {
	var killed string
	closed := aRun(t, true, func(dir string, r *journal.Run) {
		if err := r.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Lane("one").Begin("a", span(2000, 2001)); err != nil {
			t.Fatal(err)
		}
		killed = crash(t, dir)
	})
	delivered := aRun(t, false, nil)
	write := func(name, text string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	}
	remove := func(names ...string) func(string) error {
		return func(dir string) error {
			var err error
			for _, name := range names {
				err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
			}
			return err
		}
	}
	flip := func(name, after string) func(string) error {
		return func(dir string) error {
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			i := bytes.LastIndex(b, []byte(after))
			if strings.HasSuffix(name, "-wal") { // the last one is of a commit that was not synced
				i = bytes.Index(b, []byte(after))
			}
			if i < 0 {
				return errors.New("the file does not hold what it should")
			}
			b[i] ^= 1
			return os.WriteFile(path, b, 0o600)
		}
	}
	both := func(fs ...func(string) error) func(string) error {
		return func(dir string) error {
			var err error
			for _, f := range fs {
				err = errors.Join(err, f(dir))
			}
			return err
		}
	}
	for _, c := range []struct {
		name string
		dir  string
		do   func(dir string) error
	}{
		{"a flipped byte in the journal", closed, flip("journal.db", "refused")},
		{"a journal cut short", closed, func(dir string) error { return os.Truncate(filepath.Join(dir, "journal.db"), 5000) }},
		{"a journal that is gone", closed, remove("journal.db")},
		{"a journal that was emptied", closed, write("journal.db", "")},
		{"no database at all", closed, write("journal.db", strings.Repeat("garbage ", 1000))},
		{"dead letters cut short", closed, func(dir string) error { return os.Truncate(filepath.Join(dir, "dead", "one.jsonl.zst"), 10) }},
		{"dead letters gone", closed, remove("dead/one.jsonl.zst")},
		{"dead letters of nobody", closed, write("dead/two.jsonl.zst", "x")},
		{"a journal gone, without dead letters", delivered, remove("journal.db")},
		{"a journal emptied, without dead letters", delivered, write("journal.db", "")},
		{"a journal gone, with a summary alone", delivered, both(remove("journal.db", "committed"), write("summary.json", "{}"))},
		{"a journal gone, with counts alone", delivered, both(remove("journal.db", "committed"), write("counts.json", "{}"))},
		{"a journal gone, with a spool alone", delivered, both(remove("journal.db", "committed"), func(dir string) error { return os.Mkdir(filepath.Join(dir, "spool"), 0o700) })},
		{"a write-ahead log that is lost, with dead letters", killed, remove("journal.db-wal")},
		{"a write-ahead log that is lost, without", closed, nil},
		{"a write-ahead log that was emptied", killed, write("journal.db-wal", "")},
		{"a flipped byte in the write-ahead log", killed, flip("journal.db-wal", "refused")},
		{"a write-ahead log that is lost, and no number", killed, remove("journal.db-wal", "committed")},
		{"a number that is damaged", closed, flip("committed", "0")},
		{"all is gone but the number and the lock", closed, remove("journal.db", "dead/one.jsonl.zst")},
	} {
		t.Run(c.name, func(t *testing.T) {
			copied := crash(t, c.dir)
			if c.do == nil {
				copied = youngRun(t)
			} else if err := c.do(copied); err != nil {
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
	for name, dir := range map[string]string{"closed": closed, "killed": killed, "delivered": delivered} {
		r, err := journal.Open(crash(t, dir), nil, opts())
		if err != nil {
			t.Errorf("%s: whole, and refused: %v", name, err)
			continue
		}
		if err := r.Lane("one").CheckDeadLetters(); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// youngRun is a run that has begun one request, was killed and has lost its write-ahead
// log.
func youngRun(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	r := open(t, dir)
	if _, err := r.Lane("one").Begin("a", span(0, 10)); err != nil {
		t.Fatal(err)
	}
	copied := crash(t, dir)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(copied, "journal.db-wal")); err != nil {
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
	if _, err = r.Lane("one").Begin("a", span(5000, 5001)); err != nil {
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
