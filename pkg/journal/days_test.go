package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
)

// daily is a run whose dead letters go into a file a day, with a clock of its own.
type daily struct {
	t   *testing.T
	dir string
	now time.Time
	r   *journal.Run
	n   uint64
}

func (d *daily) open(daily bool) {
	d.t.Helper()
	var err error
	d.r, err = journal.Open(d.dir, map[string]string{"run": "test"},
		journal.Options{Now: func() time.Time { return d.now }, Daily: daily})
	if err != nil {
		d.t.Fatal(err)
	}
}

// reject writes a dead letter of a lane.
func (d *daily) reject(lane string) {
	d.t.Helper()
	id := journal.DeliveryID{Ordinal: d.n}
	d.n++
	err := d.r.Lane(lane).Settle([]journal.Verdict{{ID: id, Outcome: journal.Rejected, Reason: "refused"}},
		[]journal.DeadLetter{{Raw: []byte("{}"), Destination: lane, Reason: "refused", Ordinal: id.Ordinal}})
	if err == nil {
		err = d.r.Sync(d.t.Context())
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// has fails unless a lane's letters are in such files, and so many are known.
func (d *daily) has(lane string, known uint64, want ...string) {
	d.t.Helper()
	files, err := journal.Letters(d.dir, lane)
	if err != nil {
		d.t.Fatal(err)
	}
	var got []string
	for _, path := range files {
		name, err := filepath.Rel(filepath.Join(d.dir, "dead"), path)
		if err != nil {
			d.t.Fatal(err)
		}
		var events []string
		for _, l := range letters(d.t, path) {
			events = append(events, fmt.Sprint(l["ordinal"]))
		}
		got = append(got, filepath.ToSlash(name)+" "+strings.Join(events, ","))
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("letters %q, want %q", got, want)
	}
	l := d.r.Lane(lane)
	if n, _ := l.DeadLetters(); n != known {
		d.t.Errorf("%d letters are known, not %d", n, known)
	}
	if err := l.CheckDeadLetters(); err != nil {
		d.t.Error(err)
	}
}

// TestLettersByDay: each day's dead letters are in a file of their own, after a crash, too, and with a clock
// that is set back. The folder of a day may be removed; a file that was cut is damage; what
// somebody else has put into such a folder is left alone.
func TestLettersByDay(t *testing.T) {
	d := &daily{t: t, dir: filepath.Join(t.TempDir(), "run"), now: time.Date(2024, 5, 30, 23, 59, 0, 0, time.UTC)}
	d.open(false)
	d.reject("hook")
	if err := d.r.Close(); err != nil {
		t.Fatal(err)
	}
	d.open(true) // it is followed from now on
	d.reject("hook")
	d.reject("a/b")
	d.now = d.now.Add(2 * time.Minute)
	d.reject("hook")
	d.reject("hook")
	d.now = d.now.Add(-time.Hour) // the clock is set back
	d.reject("hook")
	d.now = d.now.Add(48 * time.Hour)
	d.reject("hook")
	whole := []string{"hook.jsonl.zst 0", "2024-05-30/hook.jsonl.zst 1,5", "2024-05-31/hook.jsonl.zst 3,4",
		"2024-06-01/hook.jsonl.zst 6"}
	d.has("hook", 6, whole...)
	d.has("a/b", 1, "2024-05-30/a%2Fb.jsonl.zst 2")
	if _, where := d.r.Lane("hook").DeadLetters(); where != filepath.Join(d.dir, "dead", "*", "hook.jsonl.zst") {
		t.Error(where)
	}
	d.dir = crash(t, d.dir)
	tail := filepath.Join(d.dir, "dead", "2024-06-01", "hook.jsonl.zst")
	f, err := os.OpenFile(tail, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteString("torn"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	first := d.r
	defer first.Close()
	d.open(true)
	d.has("hook", 6, whole...)
	// Many commits later, when one stands for all, nothing is forgotten.
	for range 600 {
		if err := d.r.Put("x", 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(d.dir, "dead", "2024-05-30")); err != nil {
		t.Fatal(err)
	}
	// Somebody puts a file back that the run has forgotten, or never knew.
	foreign := filepath.Join(d.dir, "dead", "2023-01-01", "hook.jsonl.zst")
	if err := os.MkdirAll(filepath.Dir(foreign), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, []byte("of somebody"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.open(true)
	if data, err := os.ReadFile(foreign); err != nil || string(data) != "of somebody" {
		t.Errorf("what somebody has put there is %q, %v", data, err)
	}
	if err := os.RemoveAll(filepath.Dir(foreign)); err != nil {
		t.Fatal(err)
	}
	d.has("hook", 4, whole[0], whole[2], whole[3])
	d.has("a/b", 0)
	d.reject("a/b")
	d.has("a/b", 1, "2024-06-01/a%2Fb.jsonl.zst 7")
	if err := d.r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(tail, 5); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(d.dir, nil, journal.Options{Now: time.Now, Daily: true}); !errorHas(err, "has 5 bytes") {
		t.Errorf("error %v", err)
	}
}
