package source

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/event"
)

// headOfStream is how many bytes at the beginning of a stream identify it.
const headOfStream = 64 << 10

// stream is one of the streams that were spooled one after the other, each recognised for itself: behind a table
// there may be another one with other columns, or JSON. It is an entry of the manifest, and offsets of positions
// count from its start.
type stream struct {
	Start int64 `json:"start"`           // in what was spooled
	End   int64 `json:"end,omitempty"`   // where the next one begins; 0: it is the last one
	Lines int64 `json:"lines,omitempty"` // line ends before it
	// Broken is how its data ended, if not properly. Cut says that it may have been longer: it was not read to its end,
	// and something else came then.
	Broken string `json:"broken,omitempty"`
	Cut    bool   `json:"cut,omitempty"`
	spoolMeta
	convert *converter
}

// errCut is the end of a stream that was cut.
const errCut = errBroken("it was not read to its end before another one came")

// ended is the error with which reading the stream ends.
func (st *stream) ended() error {
	switch {
	case st.Cut:
		return errCut
	case st.Broken != "":
		return errBroken(st.Broken)
	}
	return io.EOF
}

// compile makes the converter for the stream's records.
func (st *stream) compile(o chooser) (err error) {
	if st.Shape != "" && st.convert == nil {
		st.convert, err = newConverter(strings.Split(st.Shape, chained), o, st.Header)
	}
	return err
}

// meta recognises what was read so far.
func (r *reading) meta() (*spoolMeta, error) {
	m, err := r.recognise()
	if err != nil {
		return nil, err
	}
	meta := &spoolMeta{Version: 1, Mode: m, Why: r.why, Hint: r.hint, Foreign: r.foreign, Fingerprint: firstLineOf(r.buf)}
	if r.convert != nil {
		meta.Shape, meta.Header = strings.Join(r.convert.chain, chained), r.convert.header
	}
	return meta, nil
}

// firstLineOf identifies a stream by its first line.
func firstLineOf(head []byte) string {
	first, _, _ := bytes.Cut(head[:min(len(head), badBytes)], []byte{'\n'})
	return fmt.Sprintf("head-%016x", xxh3.Hash(first))
}

// streamMark lists the streams, once there are several.
type streamMark struct {
	// Start is where the current stream begins. In older versions streams that followed each other were one entry.
	Start   int64    `json:"start"`
	Head    []byte   `json:"head,omitempty"` // what the current stream begins with, once that is released
	First   int      `json:"first,omitempty"`
	Streams []stream `json:"streams,omitempty"`
	// HeadBefore is the Head of the stream before, should nothing be spooled of the current one.
	HeadBefore []byte `json:"head_before,omitempty"`
}

func (s *Spool) markPath() string    { return filepath.Join(s.dir, "stream.json") }
func (s *Spool) metaPath() string    { return filepath.Join(s.dir, "spool.json") }
func (s *Spool) refusedPath() string { return filepath.Join(s.dir, "refused") }

// readMark loads which streams there are, and what they are.
func (s *Spool) readMark() error {
	if err := readJSON(s.o.Disk, s.markPath(), &s.mark); err != nil {
		return err
	}
	s.first, s.streams = s.mark.First, s.mark.Streams
	if len(s.streams) == 0 {
		s.streams = []stream{{}}
	}
	if s.first == 0 {
		meta := &s.streams[0].spoolMeta
		if err := readJSON(s.o.Disk, s.metaPath(), meta); err != nil {
			return err
		}
		if meta.Version > 1 {
			return fmt.Errorf("%s is of a newer version of fanfold; start over with --fresh", s.metaPath())
		}
	}
	for i := range s.streams {
		if err := s.streams[i].compile(s.o.choose()); err != nil {
			return err
		}
	}
	return nil
}

// dropUnbegun forgets a stream of which nothing was spooled before the process was killed.
func (s *Spool) dropUnbegun() {
	n := len(s.streams) - 1
	if n == 0 || s.streams[n].Start < s.written {
		return
	}
	if entry := uint32(s.first + n); s.o.Need.Object >= entry || s.o.Reached.Object >= entry {
		return // it was read, and then its end was lost: nothing else may be taken for it
	}
	before := &s.streams[n-1]
	s.streams, before.End = s.streams[:n], 0
	s.complete = !before.Cut
	before.Cut = false
	s.mark.Start, s.mark.Head = before.Start, s.mark.HeadBefore
}

// forget removes what was spooled of a stream that could not be recognised, so that the command was refused.
func (s *Spool) forget(segments []string) ([]string, error) {
	if _, err := s.o.Disk.Stat(s.refusedPath()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return segments, err
	}
	for _, path := range append(segments, filepath.Join(s.dir, "complete"), s.markPath(), s.refusedPath()) {
		if err := removeIfThere(s.o.Disk, path); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// stream is one of the streams; false: there is none of this number, or it was released. The caller holds mu.
func (s *Spool) stream(entry int) (st stream, ok bool) {
	if i := entry - s.first; i >= 0 && i < len(s.streams) {
		return s.streams[i], true
	}
	return st, false
}

func (s *Spool) streamAt(entry int) (st stream, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream(entry)
}

// last is the stream that is read now. The caller holds mu.
func (s *Spool) last() *stream { return &s.streams[len(s.streams)-1] }

// wakes has everybody who waits look again when a context ends, until stop is called.
func (s *Spool) wakes(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cond.Broadcast()
	})
}

// await waits for a stream; false: there will be none.
func (s *Spool) await(ctx context.Context, entry int) (st stream, ok bool, err error) {
	defer s.wakes(ctx)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		st, ok = s.stream(entry)
		switch {
		case ctx.Err() != nil:
			return st, false, ctx.Err()
		case ok:
			return st, true, nil
		case entry < s.first:
			return st, false, fmt.Errorf("%s: what was read of it first was released and cannot be read again", s.o.Name)
		case s.complete:
			return st, false, nil
		case s.err != nil:
			return st, false, s.err
		case s.closed:
			return st, false, fmt.Errorf("%s is not spooled any more", s.o.Name)
		}
		s.cond.Wait()
	}
}

// readStream yields the records of a stream after a position. dry says not to wait for what is not there yet.
func (s *Spool) readStream(ctx context.Context, st stream, after Position, dry bool, yield func(*Chunk) bool) error {
	off := st.Start + after.Offset
	if st.End > 0 && off >= st.End && after.Element == 0 {
		return nil
	}
	sr := &spoolReader{s: s, ctx: ctx, entry: int(after.Object), off: off, dry: dry}
	if st.Mode == envelope { // what applies to all its events may be at the beginning
		sr.off = st.Start
	}
	defer sr.stop()
	r := s.reading(ctx, sr, st)
	r.yield, r.object, r.last, r.off = yield, after.Object, after, sr.off-st.Start
	line, err := sr.line(st)
	if err != nil {
		return err
	}
	r.line = line
	if st.Mode == envelope {
		r.past = after
	}
	r.take()
	r.fill(1)
	if r.off == 0 {
		r.bom(Position{})
	}
	return r.records(after)
}

// global is the offset of a position in what was spooled. The caller holds mu, or is the only user.
func (s *Spool) global(p Position) int64 {
	st, ok := s.stream(int(p.Object))
	switch {
	case ok:
		return st.Start + p.Offset
	case int(p.Object) < s.first:
		return 0
	}
	return s.written + p.Offset
}

// needed is the offset from which on what was spooled is needed to read on after a position: an envelope is read from
// its beginning. The caller holds mu, or is the only user.
func (s *Spool) needed(p Position) int64 {
	if st, ok := s.stream(int(p.Object)); ok && st.Mode == envelope && (st.End == 0 || st.Start+p.Offset < st.End) {
		return st.Start
	}
	return s.global(p)
}

// entry is the entry of a stream in the manifest.
func (s *Spool) entry(st stream) Object { return Object{Name: s.object(), Fingerprint: st.Fingerprint} }

// head is the beginning of the stream that was being read.
func (s *Spool) head() ([]byte, error) {
	s.mu.Lock()
	known, frames := s.mark.Head, slices.Clone(s.frames)
	s.mu.Unlock()
	if len(known) > 0 {
		return known, nil
	}
	return s.headIn(frames)
}

// headIn reads the beginning of the stream from frames.
func (s *Spool) headIn(frames []frame) (head []byte, err error) {
	for _, fr := range frames {
		if fr.end() <= s.mark.Start {
			continue
		}
		if len(head) >= headOfStream {
			break
		}
		if fr.start > s.mark.Start+int64(len(head)) {
			return nil, nil // an older version of fanfold has released it
		}
		data, err := s.read(fr)
		if err != nil {
			return nil, err
		}
		head = append(head, data[max(0, s.mark.Start-fr.start):]...)
	}
	return head[:min(len(head), headOfStream)], nil
}

// keepHead stores the stream's beginning before it is released. The caller holds mu.
func (s *Spool) keepHead(released []frame) error {
	if len(s.mark.Head) > 0 || len(released) == 0 || released[len(released)-1].end() <= s.mark.Start {
		return nil
	}
	head, err := s.headIn(s.frames)
	if err == nil && len(head) > 0 {
		s.mark.Head, s.mark.First, s.mark.Streams = head, s.first, s.streams
		err = replaceJSON(s.o.Disk, s.markPath(), s.mark)
	}
	return err
}

// meet compares the beginning of the stream with what was spooled before. If it is the same stream, it skips the part
// that was spooled already. another says that it is another one, of which some is in buf; ended, that there is nothing
// more.
func (w *spoolWriter) meet(check *spooled) (another, ended bool, err error) {
	if start := w.last().Start; w.mark.Start > max(start, w.written) { // an older version was killed before it wrote this
		w.buf = append(w.buf, '\n')
		if err = w.frame(1); err != nil {
			return false, true, err
		}
	}
	w.sum.Reset()
	if check.bytes -= w.mark.Start; check.bytes <= 0 {
		return false, false, nil
	}
	head, err := w.head()
	if err != nil {
		return false, true, fmt.Errorf("looking at what was spooled of %s: %w", w.o.Name, err)
	}
	had := make([]byte, 0, headOfStream)
	for len(had) < len(head) {
		n, err := w.src.Read(had[len(had):len(head)])
		had = had[:len(had)+n]
		if fault := w.raw.fatal(); fault != nil {
			return false, true, fmt.Errorf("reading %s: %w", w.o.Name, fault)
		}
		if !bytes.Equal(had, head[:len(had)]) {
			w.buf = append(w.buf, had...)
			return true, false, nil
		}
		if err != nil && (len(had) == 0 || w.empty(had)) {
			return false, true, w.nothing() // or nothing readable, so there is nothing to add
		}
		if err != nil && len(had) < len(head) {
			return false, true, changedf(w.o.Name, "it ends after %d bytes, of which %d were read before: all of it has to be "+
				"given again, or something else", len(had), check.bytes)
		}
	}
	w.tell(true, check.bytes, "")
	w.sum.Write(had)
	if err := w.compare(check, int64(len(had))); err != nil {
		return false, false, err
	}
	w.mu.Lock()
	w.complete, w.last().Cut, w.last().Broken = false, false, ""
	w.mu.Unlock()
	return false, false, nil
}

// empty says whether a text that a table begins with is nothing but its header.
func (w *spoolWriter) empty(head []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.last()
	return st.Mode == rows && st.convert != nil && !st.convert.table.Given &&
		bytes.IndexByte(bytes.TrimSpace(head), '\n') < 0
}

// nothing ends what was spooled, because the new stream has nothing in it.
func (w *spoolWriter) nothing() error {
	w.mu.Lock()
	if last := w.last(); !w.whole {
		last.Cut = true
	}
	w.mu.Unlock()
	return w.enough()
}

// follow makes the stream that has begun in buf the one behind what was spooled. ended says that there is nothing more.
func (w *spoolWriter) follow() (ended bool, err error) {
	if err = w.enough(); err != nil || w.owed() > 0 {
		return true, cmp.Or(err, error(changedf(w.o.Name, "what was read of it before had to go from the disk, and is "+
			"needed: all of it has to be given again")))
	}
	end, ok, err := w.beginning()
	if !ok || err != nil {
		return true, err
	}
	meta, how, err := w.recognise(end != nil)
	if err != nil {
		return true, err
	}
	start, err := w.record(meta)
	if err != nil {
		return true, fmt.Errorf("spooling %s: %w", w.o.Name, err)
	}
	w.sum.Reset()
	w.tell(false, start, how)
	return w.take(end)
}

// record adds a stream behind the others, on the disk before any reading knows of it.
func (s *Spool) record(meta *spoolMeta) (start int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.cond.Broadcast()
	start = s.written
	next := stream{Start: start, Lines: s.lines, spoolMeta: *meta}
	if err := next.compile(s.o.choose()); err != nil {
		return 0, err
	}
	before := s.last()
	before.End, before.Cut = start, before.Cut || !s.whole
	s.streams = append(s.streams, next)
	for len(s.streams) > 1 && s.first < int(s.o.Need.Object) {
		s.streams, s.first = s.streams[1:], s.first+1
	}
	s.mark = streamMark{Start: start, First: s.first, Streams: s.streams, HeadBefore: s.mark.Head}
	if s.begun {
		s.manifest.add([]Object{s.entry(next)})
	}
	return start, errors.Join(replaceJSON(s.o.Disk, s.markPath(), s.mark),
		removeIfThere(s.o.Disk, filepath.Join(s.dir, "complete")))
}

// shows says whether the beginning of a stream shows what it is: by a line that is not blank, by the first element of
// an array, or by what follows a document on its line.
func shows(head []byte) bool {
	head = bytes.TrimPrefix(head, bom)
	head = head[event.SkipSpace(head, 0):]
	if bytes.IndexByte(head, '\n') > 0 {
		return true
	}
	switch {
	case len(head) == 0:
		return false
	case head[0] == '[':
		_, ok := scanValue(head, event.SkipSpace(head, 1))
		return ok
	}
	end, ok := scanValue(head, 0)
	return ok && head[0] == '{' && skipBlank(head, end) < len(head)
}

// beginning reads as much of the stream into buf as shows what it is, and what arrives with it. end is how the stream
// has ended meanwhile. ok is false when the spool was closed.
func (w *spoolWriter) beginning() (end error, ok bool, err error) {
	for end == nil && len(w.buf) < headBytes {
		var p part
		if shows(w.buf) {
			select {
			case p = <-w.parts:
			default:
				return nil, true, nil
			}
		} else {
			select {
			case p = <-w.parts:
			case <-w.quit:
				return nil, false, nil
			}
		}
		w.buf, end = append(w.buf, p.data...), p.err
		if fault := w.raw.fatal(); fault != nil {
			return end, true, fmt.Errorf("reading %s: %w", w.o.Name, fault)
		}
	}
	return end, true, nil
}

// recognise says what the stream in buf is. how is a text about it, if it is something else than the stream before.
func (w *spoolWriter) recognise(ended bool) (meta *spoolMeta, how string, err error) {
	w.mu.Lock()
	before := *w.last()
	w.mu.Unlock()
	r := w.reading(context.Background(), nil, stream{}) // live, but all there is of it for now is in buf
	r.src, r.raw, r.choose = bytes.NewReader(nil), w.raw, w.o.choose()
	r.take()
	r.buf, r.eof = append(r.buf, w.buf...), ended
	if names := r.columnsBefore(before); names != nil {
		meta := before.spoolMeta
		meta.Fingerprint = firstLineOf(r.buf)
		return &meta, "it has no header, so that its columns are those of the one before: " + strings.Join(names, ", "), nil
	}
	if meta, err = r.meta(); err != nil {
		return nil, "", err
	}
	if meta.Why != before.Why {
		how = "it is " + meta.Why
	}
	return meta, how, nil
}

// columnsBefore returns the columns of the stream before, if that was a table and this is one without a header, as from
// a tail -f; nil: it is not.
func (r *reading) columnsBefore(before stream) []string {
	head := bytes.TrimPrefix(r.buf[:min(len(r.buf), headBytes)], bom)
	first := event.SkipSpace(head, 0)
	if before.Mode != rows || before.convert == nil || before.convert.table.Given || first == len(head) ||
		head[first] == '{' || head[first] == '[' {
		return nil
	}
	table := before.convert.table
	row, sep := firstRow(head[first:])
	values := cells(bytes.TrimRight(row, "\r"), table.Comma[0], table.Plain)
	names := table.Names
	if table.Read != nil {
		names = table.Read
	}
	known := 0
	for _, v := range values {
		v = strings.TrimSpace(v)
		if slices.Contains(names, v) {
			return nil
		}
		if specName(v) != "" {
			known++
		}
	}
	if sep != "" || len(values) != len(names) || known > 1 || r.fitsHeader(values) {
		return nil
	}
	return names
}

// tell reports whether the stream is the one of which before bytes were read earlier.
func (s *Spool) tell(same bool, before int64, how string) {
	if s.o.Told != nil {
		s.o.Told(same, before, how)
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
	rests := true
	for ; rests; upTo = (Position{Object: upTo.Object + 1}) {
		st, ok := s.streamAt(int(upTo.Object))
		if !ok {
			break
		}
		err := s.readStream(context.Background(), st, upTo, true, func(c *Chunk) bool {
			rests = !slices.ContainsFunc(c.Records, func(r Record) bool { return r.Err == nil || r.Err.Reason != Truncated })
			return rests
		})
		rests = rests && err == nil
	}
	return rests
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
