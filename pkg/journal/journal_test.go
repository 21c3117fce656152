package journal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

func opts() journal.Options { return journal.Options{Now: time.Now} }

func open(t testing.TB, dir string) *journal.Run {
	t.Helper()
	r, err := journal.Open(dir, map[string]string{"who": "test"}, opts())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func span(from, to uint64) []journal.DeliveryID {
	var ids []journal.DeliveryID
	for o := from; o < to; o++ {
		ids = append(ids, journal.DeliveryID{Ordinal: o})
	}
	return ids
}

// crash copies the folder as a killed process would leave it.
func crash(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "run"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "run")
}

func letters(t testing.TB, path string) []map[string]any {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	for line := range bytes.Lines(data) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

func TestResumeAfterACrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r := open(t, dir)
	if err := r.Extend([]source.Object{{Name: "a", Size: 5, Fingerprint: "f"}}); err != nil {
		t.Fatal(err)
	}
	l := r.Lane("one")
	other := r.Lane("two")
	first, err := l.Begin("act", span(0, 10), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Begin("act", append(span(10, 15), journal.DeliveryID{Ordinal: 15, K: 1},
		journal.DeliveryID{Ordinal: 20, K: 3}), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	// The verdicts of the first, a dead letter, and the checkpoint behind it.
	dead := journal.DeadLetter{Raw: []byte(`{"a":1}`), Destination: "one", Action: "act", Reason: "refused",
		Detail: "no", Ordinal: 3, Position: source.Position{Offset: 4}}
	if err = l.End(first, journal.Delivered, "", []journal.Verdict{{ID: journal.DeliveryID{Ordinal: 3},
		Outcome: journal.Rejected, Reason: "refused"}}, []journal.DeadLetter{dead}); err != nil {
		t.Fatal(err)
	}
	mark := journal.Mark{Position: source.Position{Offset: 40}, Ordinal: 5, Bad: 1,
		Dropped: map[string]uint64{"filter": 2}}
	counts := journal.Counts{Requests: 2, Bytes: 2, Delivered: 4, Rejected: map[string]uint64{"refused": 1}}
	if err = l.Advance(mark, counts, []byte("pace")); err != nil {
		t.Fatal(err)
	}
	if _, err = other.Begin("x", span(7, 8), 1, false); err != nil { // waits for the commit that holds all of the above
		t.Fatal(err)
	}
	check := func(r *journal.Run, inDoubt string) {
		t.Helper()
		s := r.Lane("one").Resume()
		if fmt.Sprint(s.Mark) != fmt.Sprint(mark) || fmt.Sprint(s.Counts) != fmt.Sprint(counts) || string(s.Pace) != "pace" {
			t.Errorf("resumes at %v with %v and %q", s.Mark, s.Counts, s.Pace)
		}
		for o := range uint64(20) {
			if _, ok := s.Settled(journal.DeliveryID{Ordinal: o}); ok != (o >= 5 && o < 10) {
				t.Errorf("ordinal %d settled: %v", o, ok)
			}
		}
		if got := fmt.Sprint(len(s.InDoubt)); len(s.InDoubt) > 0 && fmt.Sprint(s.InDoubt[0].IDs) != inDoubt ||
			inDoubt == "" && got != "0" || inDoubt != "" && got != "1" {
			t.Errorf("in doubt: %v, want %s", s.InDoubt, inDoubt)
		}
		if m := r.Manifest(); len(m) != 1 || m[0].Name != "a" {
			t.Errorf("manifest %v", m)
		}
		if n, path := r.Lane("one").DeadLetters(); n != 1 || len(letters(t, path)) != 1 {
			t.Errorf("%d dead letters", n)
		}
	}
	copied := crash(t, dir)
	// A dead letter that no commit vouches for: a torn tail.
	f, err := os.OpenFile(filepath.Join(copied, "dead", "one.jsonl.zst"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("torn")
	f.Close()
	again := open(t, copied)
	check(again, "[{10 0 0} {11 0 0} {12 0 0} {13 0 0} {14 0 0} {15 1 0} {20 3 0}]")
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}

	if err := l.End(second, journal.Requeued, "", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	defer r.Close()
	check(r, "")
}

// TestSnapshots makes so many commits that the log is rewritten several times,
// with lanes working at the same time, and compares what a resume finds with
// what was done.
func TestSnapshots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r := open(t, dir)
	var wg sync.WaitGroup
	const lanes, requests = 3, 500
	started := time.Now().Truncate(time.Millisecond)
	for n := range lanes {
		wg.Go(func() {
			l := r.Lane(fmt.Sprint("lane", n))
			for i := range uint64(requests) {
				id, err := l.Begin("a", span(i*2, i*2+2), 1, false)
				if err != nil {
					t.Error(err)
					return
				}
				if i%10 == 9 {
					continue // never answered
				}
				if err := l.End(id, journal.Delivered, "", nil, nil); err != nil {
					t.Error(err)
				}
				if i == 250 {
					if err := l.Advance(journal.Mark{Ordinal: 12}, journal.Counts{Delivered: 12}, nil); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	defer r.Close()
	for n := range lanes {
		s := r.Lane(fmt.Sprint("lane", n)).Resume()
		if s.Mark.Ordinal != 12 {
			t.Errorf("mark %v", s.Mark)
		}
		doubt := 0
		for _, req := range s.InDoubt {
			doubt += len(req.IDs)
		}
		// The pace that was saved knows none of them, so all that were sent above the mark have to be told of.
		sent, last := 0, started
		for _, b := range s.Begun {
			if b.Action != "a" || b.Deliveries != 2 || b.Bytes != 1 || b.At.Before(last) {
				t.Fatalf("begun after %v: %+v", last, b)
			}
			sent, last = sent+1, b.At
		}
		if above := requests - 12/2; sent < above || sent > requests {
			t.Errorf("%d requests were begun, want %d or some more", sent, above)
		}
		if want := requests/10*2 - 0; doubt != want {
			t.Errorf("%d in doubt, want %d", doubt, want)
		}
		for o := uint64(12); o < requests*2; o++ {
			if _, ok := s.Settled(journal.DeliveryID{Ordinal: o}); ok == (o/2%10 == 9) {
				t.Fatalf("ordinal %d settled: %v", o, ok)
			}
		}
	}
}

func TestTwoProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r := open(t, dir)
	defer r.Close()
	_, err := journal.Open(dir, nil, opts())
	var busy *journal.BusyError
	if !errors.As(err, &busy) {
		t.Errorf("the second was let in: %v", err)
	}
	// Also when somebody has removed the lock, as a leftover.
	if _, err = r.Lane("one").Begin("act", span(0, 1), 1, false); err != nil {
		t.Fatal(err)
	}
	if err = os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err = journal.Open(dir, nil, opts()); !errors.As(err, &busy) {
		t.Errorf("without the lock, the second was let in: %v", err)
	}
}

func TestDeadLetterForms(t *testing.T) {
	for raw, want := range map[string]string{
		`{"n":12345678901234567890}`: `"event":{"n":12345678901234567890}`,
		"{\n\"a\":1}":                `"event_base64":"ewoiYSI6MX0="`,
		`{"broken`:                   `"event_base64":"eyJicm9rZW4="`,
		"\xff\xfe":                   `"event_base64":"//4="`,
	} {
		d := journal.DeadLetter{Raw: []byte(raw), Reason: "syntax", Object: "a\"b", First: time.Unix(1, 0),
			Last: time.Unix(2, 0)}
		line := d.AppendJSON(nil, "run1")
		if !json.Valid(line) || !strings.Contains(string(line), want) {
			t.Errorf("%q: %s, want %s", raw, line, want)
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	o := opts()
	o.Redact = func(s string) string { return strings.ReplaceAll(s, "hunter2", "***") }
	r, err := journal.Open(dir, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	l := r.Lane("one")
	if err := l.Settle([]journal.Verdict{{Outcome: journal.Rejected, Reason: "refused"}},
		[]journal.DeadLetter{{Raw: []byte("{}"), Destination: "one", Detail: "bad token hunter2"}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := letters(t, filepath.Join(dir, "dead", "one.jsonl.zst"))[0]["detail"]; got != "bad token ***" {
		t.Errorf("detail %q", got)
	}
}

// BenchmarkBegin is one request of a partner that takes one event a request,
// with many in flight, as a lane makes them.
func BenchmarkBegin(b *testing.B) {
	r := open(b, filepath.Join(b.TempDir(), "run"))
	defer r.Close()
	l := r.Lane("one")
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		var n uint64
		for pb.Next() {
			id, err := l.Begin("a", span(n, n+1), 1, false)
			if err != nil {
				b.Fatal(err)
			}
			if err := l.End(id, journal.Delivered, "", nil, nil); err != nil {
				b.Fatal(err)
			}
			if n++; n%1000 == 0 {
				if err := l.Advance(journal.Mark{Ordinal: l.Resume().Mark.Ordinal}, journal.Counts{}, nil); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// TestWhatWasSentIsCounted: requests are counted as they are begun, also those that no
// checkpoint has seen before the process was killed, and none of them twice, whatever was
// rewritten since.
func TestWhatWasSentIsCounted(t *testing.T) {
	dir := t.TempDir()
	var want journal.Counts
	for process := range 4 {
		r, err := journal.Open(dir, "meta", opts())
		if err != nil {
			t.Fatal(err)
		}
		l := r.Lane("one")
		if got := l.Resume().Counts; got.Requests != want.Requests || got.Retries != want.Retries ||
			got.Bytes != want.Bytes {
			t.Fatalf("process %d: %+v, want %+v", process, got, want)
		}
		begin := func(at uint64, size int, again bool) uint64 {
			t.Helper()
			id, err := l.Begin("act", span(at, at+1), size, again)
			if err != nil {
				t.Fatal(err)
			}
			want.Requests++
			want.Bytes += uint64(size)
			if again {
				want.Retries++
			}
			return id
		}
		at := uint64(process * 1000)
		begin(at+900, 7, true)       // never ends
		for i := range uint64(600) { // more than there are between two snapshots
			id := begin(at+i, 100, i%3 == 0)
			if err := l.End(id, journal.Delivered, "", nil, nil); err != nil {
				t.Fatal(err)
			}
			if i == 300 && process%2 == 0 {
				if err := l.Advance(journal.Mark{Ordinal: at + i}, journal.Counts{Delivered: at + i}, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		begin(at+901, 9, false) // never ends
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
