package journal_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
)

// slowLog takes its time to append, and notes when each commit was there.
type slowLog struct {
	journal.Log
	commits []written
}

// written is one commit: when its writing began and ended, and whether it was synced.
type written struct {
	from, to time.Time
	synced   bool
}

func (l *slowLog) Append(ctx context.Context, c journal.Commit) error {
	w := written{from: time.Now(), synced: c.Sync}
	time.Sleep(time.Millisecond) // of simulated time
	if c.Sync {
		time.Sleep(7 * time.Millisecond)
	}
	err := l.Log.Append(ctx, c)
	w.to = time.Now()
	l.commits = append(l.commits, w)
	return err
}

// TestWhatIsCommittedIsSynced: whatever a lane does and when, and also if it does nothing more, each commit is synced
// 200 ms after it was written at the latest, and when all is synced nothing is written any more.
func TestWhatIsCommittedIsSynced(t *testing.T) {
	for name, does := range map[string]func(t *testing.T, l *journal.Lane, i uint64){
		"begins and waits for an answer": func(t *testing.T, l *journal.Lane, i uint64) {
			begin(t, l, i)
			time.Sleep(2 * time.Second)
		},
		"begins every 17 ms": func(t *testing.T, l *journal.Lane, i uint64) {
			begin(t, l, i)
			time.Sleep(17 * time.Millisecond)
		},
		"begins twice, and waits": func(t *testing.T, l *journal.Lane, i uint64) {
			begin(t, l, 2*i)
			time.Sleep(time.Duration(i) * 11 * time.Millisecond)
			begin(t, l, 2*i+1)
			time.Sleep(time.Second)
		},
		"ends every 90 ms": func(t *testing.T, l *journal.Lane, i uint64) {
			end(t, l, begin(t, l, i))
			time.Sleep(90 * time.Millisecond)
		},
		"moves its mark every 130 ms": func(t *testing.T, l *journal.Lane, i uint64) {
			end(t, l, begin(t, l, i))
			if err := l.Advance(journal.Mark{Ordinal: i + 1}, journal.Counts{}, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(130 * time.Millisecond)
		},
		"ends long after": func(t *testing.T, l *journal.Lane, i uint64) {
			req := begin(t, l, i)
			time.Sleep(time.Duration(i) * 29 * time.Millisecond)
			end(t, l, req)
			time.Sleep(700 * time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "run")
				// A process that is killed leaves commits that it has not synced.
				if err := open(t, dir).Close(); err != nil {
					t.Fatal(err)
				}
				log, err := journal.OpenSQLite(dir)
				if err != nil {
					t.Fatal(err)
				}
				slow := &slowLog{Log: log}
				o := opts()
				o.Log = slow
				opened := time.Now()
				r, err := journal.Open(dir, nil, o)
				if err != nil {
					t.Fatal(err)
				}
				l := r.Lane("one")
				for i := range uint64(20) {
					does(t, l, i)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				commits := slow.commits
				isSynced(t, append([]written{{to: opened}}, commits...))
				time.Sleep(time.Minute)
				synctest.Wait()
				if more := len(slow.commits) - len(commits); more > 0 {
					t.Errorf("%d more commits although there is nothing to write", more)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// isSynced fails the test for commits that no commit has synced in time.
func isSynced(t *testing.T, commits []written) {
	t.Helper()
	for i, c := range commits {
		for _, later := range commits[i:] {
			if late := later.from.Sub(c.to); later.synced && late > 200*time.Millisecond {
				t.Errorf("commit %d of %d was synced %s after it was written", i, len(commits), late)
			}
			if later.synced {
				break
			}
		}
		if i == len(commits)-1 && !c.synced {
			t.Errorf("the last commit was never synced")
		}
	}
}

func begin(t *testing.T, l *journal.Lane, ordinal uint64) uint64 {
	t.Helper()
	req, err := l.Begin("act", span(ordinal, ordinal+1), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func end(t *testing.T, l *journal.Lane, req uint64) {
	t.Helper()
	if err := l.End(req, journal.Delivered, "", nil, nil); err != nil {
		t.Fatal(err)
	}
}

// TestSyncDuringACommit: a Sync that is called while a commit is being written, which is synced, waits for its own.
// So does Close.
func TestSyncDuringACommit(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, l *journal.Lane){
		"a beginning": func(_ *testing.T, l *journal.Lane) {
			time.Sleep(300 * time.Millisecond)                          // so that the next commit is synced
			go func() { _, _ = l.Begin("act", span(1, 2), 1, false) }() // its commit takes 8 ms
			time.Sleep(4 * time.Millisecond)
			go func() { _, _ = l.Begin("act", span(2, 3), 1, false) }()
			time.Sleep(time.Millisecond)
		},
		"a checkpoint": func(t *testing.T, l *journal.Lane) {
			req := begin(t, l, 1)
			time.Sleep(194 * time.Millisecond)
			end(t, l, req) // gathered for 5 ms, then committed with a sync
			time.Sleep(9 * time.Millisecond)
			if err := l.Advance(journal.Mark{Ordinal: 2}, journal.Counts{}, nil); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, way := range []string{"Sync", "Close"} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r, slow := slowly(t, filepath.Join(t.TempDir(), "run"), 0)
					before(t, r.Lane("one"))
					if way == "Sync" {
						if err := r.Sync(t.Context()); err != nil {
							t.Fatal(err)
						}
						defer r.Close()
					} else if err := r.Close(); err != nil {
						t.Fatal(err)
					}
					if n := len(slow.commits); n == 0 || !slow.commits[n-1].synced {
						t.Errorf("%s has returned after %d commits, of which the last is not synced", way, n)
					}
				})
			})
		}
	}
}

// slowly opens a run, made before, with a slow log.
func slowly(t *testing.T, dir string, every time.Duration) (*journal.Run, *slowLog) {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		if err = open(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
	}
	log, err := journal.OpenSQLite(dir)
	if err != nil {
		t.Fatal(err)
	}
	o, slow := opts(), &slowLog{Log: log}
	o.Log, o.SyncEvery = slow, every
	r, err := journal.Open(dir, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return r, slow
}

// TestNothingIsDurableBeforeASync: what a killed process has committed may not be on the disk. The next one takes no
// mark for durable before it has synced something.
func TestNothingIsDurableBeforeASync(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r, _ := slowly(t, dir, time.Hour)
	defer r.Close()
	l := r.Lane("one")
	begin(t, l, 0) // synced, as the first
	end(t, l, begin(t, l, 1))
	if err := l.Advance(journal.Mark{Ordinal: 2}, journal.Counts{}, nil); err != nil {
		t.Fatal(err)
	}
	begin(t, l, 3) // commits the mark, without a sync
	next, slow := slowly(t, crash(t, dir), time.Hour)
	if at := next.Lane("one").Durable().Ordinal; at != 0 || len(slow.commits) > 0 {
		t.Errorf("%d counts as durable after a kill, and %d commits", at, len(slow.commits))
	}
	if err := next.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := next.Lane("one").Durable().Ordinal; at != 2 {
		t.Errorf("%d counts as durable after a sync, want 2", at)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
}
