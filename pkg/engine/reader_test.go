package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// numbered is a block of n records from an ordinal on.
func numbered(from, n uint64, size int64) *block {
	b := &block{
		chunk: &source.Chunk{},
		start: journal.Mark{Ordinal: from},
		end:   journal.Mark{Ordinal: from + n},
		bytes: size,
		own:   size,
	}
	b.refs.Store(1)
	b.chunk.Retain()
	return b
}

// TestReader: a reader takes blocks from the ring, reads by itself once it has fallen off
// the ring's tail, and comes back to the ring when it has caught up.
func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(100, time.Now)
		fast, slow := newReader(r, journal.Mark{}, time.Second), newReader(r, journal.Mark{}, time.Second)
		alone := 0
		slow.again = func(_ context.Context, from journal.Mark, yield func(*block) bool) error {
			for at := from.Ordinal; at < 100; at += 10 {
				alone++
				if !yield(numbered(at, 10, 50)) {
					return nil
				}
			}
			return nil
		}
		r.stands(slow, nowhere) // nobody waits for it
		go func() {
			for at := uint64(0); at < 100; at += 10 {
				if !r.push(t.Context(), numbered(at, 10, 50), nil) {
					t.Error("the ring is closed")
				}
			}
			r.finish()
		}()
		read := func(rd *reader) (n int) {
			for {
				b, err := rd.read(t.Context(), waiting{idle: func() {}, over: func() bool { return false }})
				if err != nil {
					t.Fatal(err)
				}
				if b == nil {
					return n
				}
				if b.start.Ordinal != rd.cursor.Ordinal {
					t.Fatalf("at %d it reads %d", rd.cursor.Ordinal, b.start.Ordinal)
				}
				rd.pass(b)
				n++
			}
		}
		if n := read(fast); n != 10 {
			t.Errorf("the fast one has read %d blocks", n)
		}
		if n := read(slow); n != 10 || alone == 0 || alone == 10 {
			t.Errorf("the slow one has read %d blocks, %d of them by itself", n, alone)
		}
		fast.close()
		slow.close()
	})
}

// TestRingOfRouted: the front waits for room for what is routed ahead, which lanes give back as they go. A lane that
// lags is not made to read by itself for it.
func TestRingOfRouted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(100, time.Now)
		fast, slow := newReader(r, journal.Mark{}, time.Second), newReader(r, journal.Mark{}, time.Second)
		r.stands(slow, nowhere)
		blocks := []*block{numbered(0, 10, 90), numbered(10, 10, 90), numbered(20, 10, 90)}
		pushed := 0
		go func() {
			for _, b := range blocks {
				b.own = 30
				r.push(t.Context(), b, nil)
				pushed++
			}
		}()
		for i, step := range []struct {
			what   string
			do     func()
			pushed int
		}{
			{"an empty ring", func() {}, 1},
			{"a lane has taken half of what is for it", func() { r.lighten(blocks[0], 40) }, 1},
			{"it has taken all", func() { r.lighten(blocks[0], 40) }, 2},
			{"a block that is not in the ring", func() { r.lighten(numbered(0, 10, 90), 90) }, 2},
			{"a lane has read everything", func() { r.want(fast, 20) }, 3},
		} {
			step.do()
			if synctest.Wait(); pushed != step.pushed {
				t.Errorf("%d: %s: %d blocks are in the ring, want %d", i, step.what, pushed, step.pushed)
			}
		}
		if b, behind, _ := r.get(0); behind || b != blocks[0] {
			t.Error("the slow one has fallen off")
		}
		slow.close()
		fast.close()
	})
}

// TestReaderLingers: when nothing comes for a while, what is open may go.
func TestReaderLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(100, time.Now)
		rd := newReader(r, journal.Mark{}, time.Minute)
		start, idle := time.Now(), time.Duration(0)
		time.AfterFunc(time.Hour, r.finish)
		b, err := rd.read(
			t.Context(),
			waiting{idle: func() { idle = time.Since(start) }, over: func() bool { return false }},
		)
		if b != nil || err != nil || idle != time.Minute {
			t.Errorf("%v, %v, idle after %s", b, err, idle)
		}
	})
}

// TestReaderTriesAgain: what passes costs a lane some time and nothing else, what lasts
// ends its reading after a bounded time, and what cannot be mended by asking at once.
func TestReaderTriesAgain(t *testing.T) {
	trouble := errors.New("too many open files")
	for name, c := range map[string]struct {
		err   error
		times int // that it fails, each after one more block; less: always
		asked int
		takes time.Duration
	}{
		"once":          {trouble, 1, 2, 250 * time.Millisecond},
		"now and then":  {trouble, 9, 10, 9 * 250 * time.Millisecond},
		"for good":      {trouble, -1, 5, 3750 * time.Millisecond},
		"changed input": {&source.ChangedError{}, -1, 1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			rd := newReader(newRing(100, time.Now), journal.Mark{}, time.Hour)
			asked := 0
			rd.again = func(_ context.Context, from journal.Mark, yield func(*block) bool) error {
				asked++
				for at := from.Ordinal; at < 100; at += 10 {
					if c.times < 0 || asked <= c.times && at > from.Ordinal {
						return c.err
					}
					if !yield(numbered(at, 10, 50)) {
						return nil
					}
				}
				return nil
			}
			began, n := time.Now(), 0
			for {
				b, err := rd.readOwn(t.Context(), waiting{over: func() bool { return false }})
				if c.times < 0 && err == nil || c.times >= 0 && err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if b == nil {
					break
				}
				rd.cursor = b.end
				n++
			}
			if took := time.Since(began); asked != c.asked || took != c.takes || c.times >= 0 && n != 10 {
				t.Errorf("%s: %d blocks, asked %d times within %s, want %d and %s", name, n, asked, took, c.asked, c.takes)
			}
			rd.close()
		})
	}
}
