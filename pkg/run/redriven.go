package run

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// letterName identifies a dead letter within its run and destination: by the event's number in the input, and the
// delivery's number within the event.
type letterName struct{ ordinal, k int64 }

func nameOf(letter event.Value) letterName {
	ordinal, _ := letter.Get("ordinal").Int()
	k, _ := letter.Get("k").Int()
	return letterName{ordinal, k}
}

// redriven keeps which of a run's dead letters were delivered by redrives. There is one file for each destination
// in the run's folder, with one line for each letter, written when the partner has accepted it.
//
// A line is "2 ORDINAL K RUN CHECKSUM"; older versions of fanfold wrote lines without the version and the
// checksum. A damaged line, or one that was being written during a kill, is ignored: its letter is sent once more
// rather than never.
type redriven struct {
	dir   string
	by    string // the redrive in progress
	now   func() time.Time
	known map[string]map[letterName]string // by destination: the run that has delivered the letter

	mu     sync.Mutex
	files  map[string]*os.File
	synced time.Time
	err    error
}

// syncNotes is how often the file is synced to survive a power cut, as the journal is.
const syncNotes = 200 * time.Millisecond

func redrivenDir(run string) string { return filepath.Join(run, "redriven") }

// redrivenOf reads the notes of a family of runs, for some destinations.
func redrivenOf(runs string, family, names []string, by string, now func() time.Time) (notes []*redriven, err error) {
	for _, id := range family {
		n := &redriven{dir: redrivenDir(filepath.Join(runs, id)), by: by, now: now,
			known: map[string]map[letterName]string{}, files: map[string]*os.File{}, synced: now()}
		for _, name := range names {
			if n.known[name], err = n.read(name); err != nil {
				return nil, err
			}
		}
		notes = append(notes, n)
	}
	return notes, nil
}

func (n *redriven) path(destination string) string {
	return filepath.Join(n.dir, journal.FileName(destination))
}

// read returns the letters of a destination that were delivered.
func (n *redriven) read(destination string) (map[letterName]string, error) {
	data, err := os.ReadFile(n.path(destination))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	known := map[letterName]string{}
	for line := range strings.Lines(string(data)) {
		if name, by, ok := parseNote(line); ok {
			known[name] = by
		}
	}
	return known, nil
}

func noteText(l letterName, by string) string {
	text := fmt.Sprintf("2 %d %d %s", l.ordinal, l.k, by)
	return fmt.Sprintf("%s %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

// parseNote parses a line; false: it is incomplete or damaged.
func parseNote(line string) (l letterName, by string, ok bool) {
	whole, ok := strings.CutSuffix(line, "\n")
	fields := strings.Fields(whole)
	if !ok || len(fields) != 3 && len(fields) != 5 {
		return l, "", false
	}
	if len(fields) == 5 {
		fields = fields[1:4]
	}
	if _, err := fmt.Sscanf(fields[0]+" "+fields[1], "%d %d", &l.ordinal, &l.k); err != nil {
		return l, "", false
	}
	by = fields[2]
	return l, by, len(strings.Fields(whole)) == 3 || noteText(l, by) == line
}

// add notes that a letter was delivered.
func (n *redriven) add(destination string, l letterName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.files[destination]
	if f == nil {
		err := os.MkdirAll(n.dir, 0o700)
		if err != nil {
			n.err = err
			return
		}
		if f, err = os.OpenFile(n.path(destination), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			n.err = err
			return
		}
		n.files[destination] = f
		if _, err := f.WriteString("\n"); err != nil { // ends a line that was cut off
			n.err = err
		}
	}
	if _, err := f.WriteString(noteText(l, n.by)); err != nil {
		n.err = err
	}
	if now := n.now(); now.Sub(n.synced) >= syncNotes || now.Before(n.synced) {
		n.synced = now
		for _, f := range n.files {
			n.err = errors.Join(n.err, f.Sync())
		}
	}
}

func (n *redriven) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.err
	for _, f := range n.files {
		err = errors.Join(err, f.Sync(), f.Close())
	}
	return err
}

// NoteRedriven sets in the summary which of a run's rejected events redrives have delivered, by redrive, and
// returns how many rejected events are left.
func NoteRedriven(ctx context.Context, dir string, s *engine.Summary) (left uint64, err error) {
	n := &redriven{dir: redrivenDir(dir)}
	for i := range s.Destinations {
		d := &s.Destinations[i]
		d.Redriven = nil
		rejected := engine.Total(d.Rejected)
		if rejected == 0 {
			continue
		}
		known, err := n.read(d.Name)
		if err != nil {
			return 0, err
		}
		letters, err := journal.Letters(dir, d.Name)
		if err != nil {
			return 0, err
		}
		if d.Redriven, err = redrivenEvents(ctx, letters, d, known); err != nil {
			return 0, err
		}
		left += rejected - min(rejected, engine.Total(d.Redriven))
	}
	return left, nil
}

// redrivenEvents counts the events whose letters were all delivered, by the run that delivered the last of them.
func redrivenEvents(ctx context.Context, letters []string, d *engine.LaneSummary, known map[letterName]string) (
	events map[string]uint64, err error,
) {
	if len(known) == 0 {
		return nil, nil
	}
	missing := map[int64]int{}
	if d.Letters == 0 || d.Letters > engine.Total(d.Rejected) && uint64(len(known)) < d.Letters {
		// Some events have several letters, and not all were delivered. Only the letters tell which belong to the
		// same event. Older summaries do not count letters.
		read := uint64(0)
		err = eachLetter(ctx, letters, func(letter event.Value) {
			read++
			if l := nameOf(letter); known[l] == "" {
				missing[l.ordinal]++
			}
		})
		if err != nil {
			return nil, err
		}
		if d.Letters > 0 && read != d.Letters {
			return nil, nil // they are damaged, so none counts as delivered
		}
	}
	last := map[int64]letterName{}
	for l := range known {
		if old, ok := last[l.ordinal]; missing[l.ordinal] == 0 && (!ok || l.k > old.k) {
			last[l.ordinal] = l
		}
	}
	events = map[string]uint64{}
	for _, l := range last {
		events[known[l]]++
	}
	return events, nil
}

// eachLetter reads dead letters, each as it was when its event was first refused.
func eachLetter(ctx context.Context, files []string, each func(letter event.Value)) (err error) {
	src, err := source.Open(ctx, source.Options{From: files, DeadLetters: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	for c, err := range src.Chunks(ctx, source.Position{}, source.First) {
		if err != nil {
			return err
		}
		for _, r := range c.Records {
			if ev, err := event.Parse(r.Raw); err == nil {
				each(innermost(ev.Root()))
			}
		}
		c.Release()
	}
	return nil
}
