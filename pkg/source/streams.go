package source

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
)

// headOfStream is how many bytes at the beginning of a stream identify it.
const headOfStream = 64 << 10

// streamMark says where in the spooled data the current stream begins, if it is not the first one: a stream that
// cannot be continued is followed by the next one.
type streamMark struct {
	Start int64  `json:"start"`          // in the spooled data
	Head  []byte `json:"head,omitempty"` // what the stream begins with, once that is released
}

func (s *Spool) markPath() string { return filepath.Join(s.dir, "stream.json") }

// readMark loads which stream was being read.
func (s *Spool) readMark() error {
	data, err := readFile(s.o.Disk, s.markPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && json.Unmarshal(data, &s.stream) != nil {
		err = fmt.Errorf("%s is damaged; start over with --fresh", s.markPath())
	}
	return err
}

func (s *Spool) writeMark(m streamMark) error {
	data, err := json.Marshal(m)
	if err == nil {
		err = replaceFile(s.o.Disk, s.markPath(), data)
	}
	return err
}

// head is the beginning of the stream that was being read.
func (s *Spool) head() ([]byte, error) {
	if len(s.stream.Head) > 0 {
		return s.stream.Head, nil
	}
	s.mu.Lock()
	frames := slices.Clone(s.frames)
	s.mu.Unlock()
	return s.headIn(frames)
}

// headIn reads the beginning of the stream from frames.
func (s *Spool) headIn(frames []frame) (head []byte, err error) {
	for _, fr := range frames {
		if fr.end() <= s.stream.Start {
			continue
		}
		if len(head) >= headOfStream {
			break
		}
		if fr.start > s.stream.Start+int64(len(head)) {
			return nil, nil // an older version of fanfold has released it
		}
		data, err := s.read(fr)
		if err != nil {
			return nil, err
		}
		head = append(head, data[max(0, s.stream.Start-fr.start):]...)
	}
	return head[:min(len(head), headOfStream)], nil
}

// keepHead stores the stream's beginning before it is released. The caller holds mu.
func (s *Spool) keepHead(released []frame) error {
	if len(s.stream.Head) > 0 || len(released) == 0 || released[len(released)-1].end() <= s.stream.Start {
		return nil
	}
	head, err := s.headIn(s.frames)
	if err == nil && len(head) > 0 {
		s.stream.Head = head
		err = s.writeMark(s.stream)
	}
	return err
}

// meet compares the beginning of the stream with what was spooled before. If it is the same stream, it skips the part
// that was spooled already; otherwise the old stream is closed and the new one follows it. ended says that there is
// nothing more.
func (w *spoolWriter) meet(check *spooled) (ended bool, err error) {
	if pad := w.stream.Start - w.written; pad > 0 { // the process was killed before this was written
		w.buf = append(w.buf, '\n')
		if err = w.frame(1); err != nil {
			return true, err
		}
	}
	w.sum.Reset()
	if check.bytes -= w.stream.Start; check.bytes <= 0 {
		return false, nil
	}
	head, err := w.head()
	if err != nil {
		return true, fmt.Errorf("looking at what was spooled of %s: %w", w.o.Name, err)
	}
	had := make([]byte, 0, headOfStream)
	for len(had) < len(head) {
		n, err := w.src.Read(had[len(had):len(head)])
		had = had[:len(had)+n]
		if fault := w.raw.fatal(); fault != nil {
			return true, fmt.Errorf("reading %s: %w", w.o.Name, fault)
		}
		if !bytes.Equal(had, head[:len(had)]) {
			return false, w.follow(had)
		}
		if err != nil && len(had) == 0 {
			return true, w.enough() // nothing, or nothing readable, so there is nothing to add
		}
		if err != nil && len(had) < len(head) {
			return true, changedf(w.o.Name, "it ends after %d bytes, of which %d were read before: all of it has to be "+
				"given again, or something else", len(had), check.bytes)
		}
	}
	w.tell(true, check.bytes)
	w.sum.Write(had)
	return false, w.compare(check, int64(len(had)))
}

// follow appends the stream as a new one after what was spooled. had is what was read of it.
func (w *spoolWriter) follow(had []byte) error {
	if m := w.kind; m != lines && m != bodies && m != documents {
		return changedf(w.o.Name, "what was read of it before is not finished, and is a table or one document, behind which "+
			"nothing else can stand")
	}
	if err := w.enough(); err != nil || w.owed() > 0 {
		return cmp.Or(err, error(changedf(w.o.Name, "what was read of it before had to go from the disk, and is needed: all "+
			"of it has to be given again")))
	}
	start := w.written
	if w.endsWith != '\n' {
		start++
	}
	err := errors.Join(w.writeMark(streamMark{Start: start}), removeIfThere(w.o.Disk, filepath.Join(w.dir, "complete")))
	if err != nil {
		return fmt.Errorf("spooling %s: %w", w.o.Name, err)
	}
	if start > w.written {
		w.buf = append(w.buf, '\n')
		if err := w.frame(1); err != nil {
			return err
		}
	}
	w.mu.Lock()
	w.stream, w.broken = streamMark{Start: start}, ""
	w.mu.Unlock()
	w.sum.Reset()
	w.tell(false, start)
	w.buf = append(w.buf, had...)
	return nil
}

// tell reports whether the stream is the one of which before bytes were read earlier.
func (s *Spool) tell(same bool, before int64) {
	if s.o.Told != nil {
		s.o.Told(same, before)
	}
}

// compare skips the part of the stream that was spooled before, which has to be the same. had bytes of it were
// read already.
func (w *spoolWriter) compare(check *spooled, had int64) error {
	n, err := io.CopyN(w.sum, w.src, check.bytes-had)
	n += had
	if w.raw.fatal() != nil {
		err = w.raw.fatal()
	}
	switch {
	case err != nil && err != io.EOF:
		return fmt.Errorf("reading %s: %w", w.o.Name, err)
	case n < check.bytes:
		return changedf(w.o.Name, "it ends after %d bytes, of which %d were read before: all of it has to be "+
			"given again", n, check.bytes)
	case w.sum.Sum64() != check.sum:
		return changedf(w.o.Name, "it begins as it did, and its first %d bytes are others now", check.bytes)
	}
	return nil
}

// Rests says whether no complete record is spooled after a position.
func (s *Spool) Rests(upTo Position) bool {
	s.mu.Lock()
	frames := slices.Clone(s.frames)
	s.mu.Unlock()
	for _, fr := range frames {
		if fr.end() <= upTo.Offset {
			continue
		}
		data, err := s.read(fr)
		if err != nil || bytes.IndexByte(data[max(0, upTo.Offset-fr.start):], '\n') >= 0 {
			return false
		}
	}
	return true
}

// read reads a frame.
func (s *Spool) read(fr frame) ([]byte, error) {
	f, err := s.o.Disk.Open(fr.path)
	if err != nil {
		return nil, err
	}
	packed := make([]byte, fr.size)
	_, err = f.ReadAt(packed, fr.at)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return s.unpack(packed, fr)
}
