package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// commitLoop is the only writer of commits. Whatever nobody has woken it for is committed, and whatever it has
// committed is synced, at most SyncEvery later.
func (r *Run) commitLoop() {
	defer close(r.done)
	due := time.NewTimer(r.opt.SyncEvery)
	defer due.Stop()
	for ; ; due.Reset(r.untilDue()) {
		select {
		case <-r.quit:
			return
		case <-due.C:
		case <-r.kick:
			// A letter or a checkpoint is not urgent: waiting a few milliseconds turns many commits into one. (A verdict
			// alone wakes nobody.)
			if r.isUrgent() {
				r.letOthersBegin()
			} else {
				r.gather()
			}
		}
		r.commit()
	}
}

// untilDue is how long the committer may sleep. What was committed without a sync is synced with the first commit
// that is SyncEvery younger than the last sync, so it must not oversleep that.
func (r *Run) untilDue() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.unsynced || r.err != nil {
		return r.opt.SyncEvery
	}
	return min(max(r.lastSync.Add(r.opt.SyncEvery).Sub(r.opt.Now()), 0), r.opt.SyncEvery)
}

func (r *Run) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// wait returns a channel that the next commit answers. The caller holds mu, and wakes the committer afterwards.
func (r *Run) wait() <-chan error {
	ch := make(chan error, 1)
	r.waiters = append(r.waiters, ch)
	r.urgent = true
	return ch
}

func (r *Run) isUrgent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.urgent
}

// record appends one record to the next commit. The caller holds mu.
func (r *Run) record(appendTo func([]byte) []byte) { appendRecord(&r.pending, appendTo) }

func appendRecord(to *bytes.Buffer, appendTo func([]byte) []byte) {
	to.Write(appendTo(to.AvailableBuffer()))
}

// gather waits a few milliseconds for more verdicts, or until somebody waits for a commit.
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
			if r.isUrgent() {
				return
			}
		}
	}
}

// snapshotEvery is how many commits there are between snapshots, each of which replaces all earlier commits.
const snapshotEvery = 512

// take is the content of one commit.
type take struct {
	waiters []chan error
	sync    bool
	fresh   []byte // records of lanes that must be committed before their first letters are written
	frames  []laneLetters
	marks   []Mark // marks of the lanes, in order
}

// laneLetters are the dead letters of one lane.
type laneLetters struct {
	lane  *Lane
	lines []letters
	file  deadDay // the file to which they are written
}

func (r *Run) commit() {
	t := r.takeNext()
	if t == nil {
		return
	}
	err := r.writeLetters(t)
	if err == nil {
		err = r.writeCommit(t)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.err = r.wrap("writing the journal", err)
	} else if r.unsynced = !t.sync; t.sync {
		r.lastSync = r.opt.Now()
		for i, m := range t.marks {
			r.order[i].durable = m
		}
	}
	for _, ch := range t.waiters {
		ch <- r.err
	}
}

// takeNext takes what is to be committed; nil: there is nothing, and whoever waited is told.
func (r *Run) takeNext() *take {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &take{waiters: r.waiters}
	r.waiters, r.urgent = nil, false
	answer := func(err error) *take {
		for _, ch := range t.waiters {
			ch <- err
		}
		return nil
	}
	if r.err != nil {
		return answer(r.err)
	}
	dirty := r.pending.Len()+r.fresh.Len()+len(r.added)+len(r.news) > 0
	for _, l := range r.order {
		if l.dirty {
			dirty, l.dirty = true, false
			r.record(l.appendCheckpoint)
		}
	}
	since := r.opt.Now().Sub(r.lastSync)
	t.sync = r.mustSync || since >= r.opt.SyncEvery || since < 0 || r.lastSync.IsZero() // negative: the clock went back
	if !dirty && (!t.sync || !r.unsynced && len(t.waiters) == 0) {
		return answer(nil)
	}
	r.mustSync = false
	day := r.letterDay()
	for _, l := range r.order {
		if len(l.dead.lines) == 0 {
			continue
		}
		file := l.dead.of(day)
		if file == nil { // bytes in a file that no commit mentions are not ours
			l.dead.set(deadDay{day: day})
			file = l.dead.of(day)
			appendRecord(&r.fresh, func(b []byte) []byte { return l.appendDead(b, *file) })
		}
		t.frames = append(t.frames, laneLetters{lane: l, lines: l.dead.lines, file: *file})
		l.dead.lines = nil
	}
	if len(t.frames) > 0 && r.fresh.Len() > 0 {
		t.fresh = seal(r.fresh.Bytes())
		r.fresh.Reset()
	}
	return t
}

// letterDay is the day whose file new letters go into; "": there is one file for all.
func (r *Run) letterDay() string {
	if !r.opt.Daily {
		return ""
	}
	return r.opt.Now().UTC().Format(time.DateOnly)
}

// writeLetters writes dead letters to their files, before the commit that states their lengths. A lane and its
// file are committed before the first letters are written. So letters of a lane that no commit mentions are a sign
// of damage, and those in an unknown file of a day are not ours.
func (r *Run) writeLetters(t *take) error {
	ctx := context.Background()
	if t.fresh != nil {
		r.seq++
		r.rows++
		if err := r.log.Append(ctx, Commit{Seq: r.seq, Data: t.fresh}); err != nil {
			return err
		}
	}
	for i := range t.frames {
		f := &t.frames[i]
		frame := pack(f.lines, r.packer)
		if err := r.log.AppendDead(ctx, LetterFile{f.lane.Name, f.file.day}, f.file.size, frame); err != nil {
			return err
		}
		f.file.size += int64(len(frame))
		for _, l := range f.lines {
			f.file.count += uint64(l.n)
		}
	}
	return nil
}

// writeCommit hands all records to the log.
func (r *Run) writeCommit(t *take) error {
	r.mu.Lock()
	for _, f := range t.frames {
		f.lane.dead.set(f.file)
		r.record(func(b []byte) []byte { return f.lane.appendDead(b, f.file) })
	}
	c := Commit{Seq: r.seq + 1, Sync: t.sync, Snapshot: r.rows >= snapshotEvery,
		Objects: r.added, From: r.total - len(r.added), Drop: r.drop, Before: r.before}
	if c.Snapshot {
		c.Data = seal(r.appendSnapshot(nil))
	} else {
		c.Data = seal(r.fresh.Bytes(), r.pending.Bytes())
	}
	r.fresh.Reset()
	r.pending.Reset()
	for _, key := range r.news {
		if c.Values == nil {
			c.Values = map[string][]byte{}
		}
		c.Values[key] = versioned(r.values[key])
	}
	r.added, r.news, r.drop = nil, nil, nil
	t.marks = make([]Mark, len(r.order))
	for i, l := range r.order {
		t.marks[i] = l.mark
	}
	r.mu.Unlock()

	if err := r.log.Append(context.Background(), c); err != nil {
		return err
	}
	r.seq = c.Seq
	if r.rows++; c.Snapshot {
		r.rows = 1
	}
	return nil
}

// errVersion is the error for a row that a newer version of fanfold has written.
func errVersion(v any) error {
	return fmt.Errorf("it is of version %v, which this fanfold does not know: a newer one has written it", v)
}

var errChecksum = errors.New("it does not match its checksum")
