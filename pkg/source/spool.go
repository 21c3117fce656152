package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/stock"
)

// SpoolOptions say how a stream is spooled.
type SpoolOptions struct {
	// Cap bounds the bytes on disk; 0: 10 GiB. When it is reached, the stream is not read further until segments
	// are released.
	Cap int64
	// SegmentBytes is the size at which a segment is closed, so that it can be released later; 0: 64 MiB, or a
	// sixteenth of Cap.
	SegmentBytes int64
	// MaxRecord bounds one record; 0: DefaultMaxRecord.
	MaxRecord int
	// Need is the position where reading will begin. If the segments after it were released, the stream is copied
	// again from its beginning, which has to be the same.
	Need Position
	// Reached is the furthest position that was read. If the stream ends before it, or a different stream begins,
	// input is missing.
	Reached Position
	// Interactive says that a person would have to type the stream again: once all of it was spooled, it is not
	// asked for again.
	Interactive bool
	// Shapes and Format as in Options.
	Format  string
	Shapes  []Shape
	Columns []string
	// DateOrder as in Options.
	DateOrder event.DateOrder
	// Separator, Types, Unwrap and Encoding as in Options.
	Separator string
	Types     []string
	Unwrap    string
	Encoding  string
	// Told, if not nil, is called once it is known whether the stream is the one that was partly spooled before,
	// with the number of bytes spooled then. A different stream follows what was spooled; how says what it was
	// recognised as, where that is not what the one before was. It is called in a goroutine of the spool.
	Told func(same bool, before int64, how string)
	// Name is the name of the stream in messages; "": standard input.
	Name string
	// Disk is where the copies are kept; nil: [OSDisk].
	Disk Disk
}

// Spool gives a stream that can be read only once (standard input) the positions of a file. The stream is copied
// to compressed segment files in a folder while it is read, and any number of readings follow the copy, from any
// position, in this process or in a later one.
//
// A segment is a series of zstd frames, each after a skippable frame that describes it. So zstd itself can read
// the files, and a killed process loses only the frame it was writing. A later process is given the same input
// from its beginning: what was spooled already is compared, not copied again, and a stream with a different
// beginning follows it, as one more object of the source ([stream]). If input that was released is needed again, it
// is copied anew: the hashes of released frames are kept, and nothing of the new copy is read before it has matched
// them.
//
// A Spool is safe for concurrent use.
type Spool struct {
	dir      string
	o        SpoolOptions
	manifest Manifest
	chunks   stock.Stock[Chunk]

	mu       sync.Mutex
	cond     sync.Cond
	streams  []stream // what was spooled, in order, from entry first on
	first    int      // earlier ones were released
	begun    bool     // the manifest has the streams
	frames   []frame  // of the segments that still exist
	segments []segment
	written  int64 // bytes of the stream that were spooled
	lines    int64 // line ends in them
	sum      *xxh3.Hasher
	disk     int64
	complete bool
	whole    bool // what was spooled before was spooled to its end
	err      error
	full     bool             // the writer waits for space
	known    map[int64]uint64 // hashes of the stream up to places where it was read before
	ends     []int64          // these places, in order
	stale    []string         // segments of the previous copy, while the stream is copied again
	least    int64            // the stream is known to have at least this many bytes
	closed   bool
	mark     streamMark
	quit     chan struct{}
	stopped  chan struct{}
}

type segment struct {
	path       string
	start, end int64 // in the stream
	size       int64 // of the file
}

type frame struct {
	path  string
	at    int64 // offset in the file of the zstd frame
	size  int32
	start int64 // in the stream
	bytes int32
	lines int64  // line ends before it
	sum   uint64 // hash of its stream up to its end
}

func (f frame) end() int64 { return f.start + int64(f.bytes) }

const (
	frameBytes  = 1 << 20
	frameHeader = 8 + 40
	frameMagic  = 0x184D2A5D // a skippable frame
)

// spoolMeta is what must be the same for every reading of the spool.
type spoolMeta struct {
	Version     int    `json:"version"`
	Mode        mode   `json:"mode"`
	Shape       string `json:"shape,omitempty"`
	Header      []byte `json:"header,omitempty"`
	Why         string `json:"why,omitempty"`
	Hint        string `json:"hint,omitempty"`
	Foreign     string `json:"foreign,omitempty"`
	Fingerprint string `json:"fingerprint"`
}

// OpenSpool starts to spool in into dir, which is created with permissions for its owner only, or continues what
// an earlier process left there. It returns once the stream's first record can be recognised. in must stay open
// until Close.
func OpenSpool(ctx context.Context, dir string, in io.Reader, o SpoolOptions) (*Spool, error) {
	if o.Cap <= 0 {
		o.Cap = 10 << 30
	}
	if o.SegmentBytes <= 0 {
		// Even with a small cap, only a part of it may be in a segment that is not closed yet.
		o.SegmentBytes = min(64<<20, max(o.Cap/16, 1))
	}
	if o.MaxRecord <= 0 {
		o.MaxRecord = DefaultMaxRecord
	}
	if o.Name == "" {
		o.Name = "standard input"
	}
	if o.Disk == nil {
		o.Disk = OSDisk{}
	}
	s := &Spool{dir: dir, o: o, sum: xxh3.New(), quit: make(chan struct{}), stopped: make(chan struct{})}
	s.cond.L = &s.mu
	s.chunks = stock.New[Chunk](keptChunks)
	if err := o.Disk.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("making the folder for %s: %w", o.Name, err)
	}
	check, err := s.recover()
	if err != nil {
		return nil, fmt.Errorf("looking at what was spooled of %s: %w", o.Name, err)
	}
	if s.complete && o.Interactive {
		close(s.stopped)
	} else {
		s.complete = false // until it is known what comes
		go s.write(in, check)
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// recover loads what an earlier process spooled. It returns how the stream has to begin.
//
// After a kill or a power cut the last frames may be damaged: they are cut off, and the stream has to supply them
// again. What merely cannot be read at the moment is left as it is.
func (s *Spool) recover() (check *spooled, err error) {
	d := s.o.Disk
	names, err := filesLike(d, s.dir, "segment-*.zst")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	if names, err = s.forget(names); err != nil {
		return nil, err
	}
	check = &spooled{}
	torn := false
	for _, name := range names {
		if torn {
			// It comes after the part that was cut off.
			if err := d.Remove(name); err != nil {
				return nil, err
			}
			continue
		}
		var good int64
		if good, torn, err = s.recoverSegment(name, check); err != nil {
			return nil, err
		}
		if good == 0 {
			torn = true
			if err := d.Remove(name); err != nil {
				return nil, err
			}
		}
	}
	mark, err := readFile(d, filepath.Join(s.dir, "complete"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if e := errors.Join(s.recall(), s.readMark()); e != nil {
		return nil, e
	}
	if err == nil {
		s.ended(mark, torn, len(names))
	}
	s.dropUnbegun()
	s.whole = s.complete
	need := s.needed(s.o.Need)
	s.least = max(s.least, s.global(s.o.Need), s.global(s.o.Reached))
	if len(s.segments) > 0 && s.mark.Start == 0 && need < s.segments[0].start {
		if _, ok := s.known[s.segments[0].start]; ok {
			return &spooled{}, s.startOver()
		}
	}
	return check, nil
}

// completeMark is written when the stream has ended.
type completeMark struct {
	Bytes  int64  `json:"bytes"`            // that were spooled
	Broken string `json:"broken,omitempty"` // how it ended, when not well
	Cut    bool   `json:"cut,omitempty"`    // see stream.Cut
}

// ended loads whether the stream was spooled to its end, and how it ended. The mark is written after the last frame,
// but may have reached the disk before it. In older versions the mark is only the text of Broken.
func (s *Spool) ended(mark []byte, torn bool, segments int) {
	var m completeMark
	if err := json.Unmarshal(mark, &m); err != nil {
		s.complete, m.Broken = !torn && (s.written > 0 || segments == 0), string(mark)
	} else {
		s.least = max(s.least, m.Bytes)
		s.complete = s.written == m.Bytes
	}
	if s.complete {
		last := s.last()
		last.Broken, last.Cut = m.Broken, m.Cut
	}
}

// raw is the stream itself, before decompression.
func (s *Spool) raw(in io.Reader) *faultReader {
	return &faultReader{Reader: in, fault: &fault{}, name: s.o.Name, size: -1}
}

// recall loads what is known about released frames.
func (s *Spool) recall() error {
	s.known = map[int64]uint64{}
	path := filepath.Join(s.dir, "released")
	data, err := readFile(s.o.Disk, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for ; len(data) >= 16; data = data[16:] {
		s.note(int64(binary.LittleEndian.Uint64(data)), binary.LittleEndian.Uint64(data[8:]))
	}
	slices.Sort(s.ends)
	if len(data) == 0 {
		return nil
	}
	// A crash has left an incomplete line.
	f, err := s.o.Disk.Create(path, os.O_WRONLY)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(len(s.ends)*16)), f.Close())
}

func (s *Spool) note(end int64, sum uint64) bool {
	_, ok := s.known[end]
	if !ok {
		s.known[end] = sum
		s.ends = append(s.ends, end)
	}
	return !ok
}

// remember stores hashes of frames that will be released: one at the end of each segment, and about one for each
// frameBytes within it.
func (s *Spool) remember(frames []frame) error {
	if len(frames) == 0 {
		return nil
	}
	var data []byte
	last := frames[0].start
	for i, f := range frames {
		if i < len(frames)-1 && f.path == frames[i+1].path && frames[i+1].end()-last <= frameBytes {
			continue
		}
		if last = f.end(); s.note(last, f.sum) {
			data = binary.LittleEndian.AppendUint64(data, uint64(last))
			data = binary.LittleEndian.AppendUint64(data, f.sum)
		}
	}
	if len(data) == 0 {
		return nil
	}
	slices.Sort(s.ends)
	f, err := s.o.Disk.Create(filepath.Join(s.dir, "released"), os.O_APPEND|os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// startOver copies the stream again. The files of the previous copy are removed once the stream has first proved
// to be the same.
func (s *Spool) startOver() error {
	if err := s.remember(s.frames); err != nil {
		return err
	}
	for _, seg := range s.segments {
		s.stale = append(s.stale, seg.path)
	}
	s.frames, s.segments, s.written, s.lines, s.disk = nil, nil, 0, 0, 0
	s.complete, s.last().Broken, s.last().Cut = false, "", false
	return nil
}

// owed is the number of bytes to the next place whose hash is known; 0 after the last one.
func (s *Spool) owed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := slices.BinarySearch(s.ends, s.written)
	if ok {
		i++
	}
	if i == len(s.ends) {
		return 0
	}
	return int(s.ends[i] - s.written)
}

// dropStale removes the previous copy.
func (s *Spool) dropStale() error {
	for _, path := range append(s.stale, filepath.Join(s.dir, "complete")) {
		if err := removeIfThere(s.o.Disk, path); err != nil {
			return err
		}
	}
	s.stale = nil
	return nil
}

// spooled is how far the stream was spooled, and the hash up to there.
type spooled struct {
	bytes int64
	sum   uint64
}

// recoverSegment loads the frames of one segment, and cuts off damaged ones at its end. good is the length of what
// it keeps.
func (s *Spool) recoverSegment(name string, check *spooled) (good int64, torn bool, err error) {
	f, err := s.o.Disk.Create(name, os.O_RDWR)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	seg := segment{path: name, start: -1}
	for good < info.Size() {
		fr, sum, ok, err := s.recoverFrame(f, name, good, info.Size())
		if err != nil {
			return 0, false, err
		}
		if !ok {
			torn = true
			break
		}
		if seg.start < 0 {
			seg.start = fr.start
		}
		s.written = fr.end()
		check.bytes, check.sum = s.written, sum
		s.frames = append(s.frames, fr)
		good = fr.at + int64(fr.size)
	}
	if good > 0 {
		seg.end, seg.size = s.written, good
		s.segments = append(s.segments, seg)
		s.disk += good
	}
	if torn {
		return good, true, f.Truncate(good)
	}
	return good, false, nil
}

// recoverFrame reads the frame at an offset of a segment. ok says that it is intact and continues the stream.
func (s *Spool) recoverFrame(f File, name string, at, size int64) (fr frame, sum uint64, ok bool, err error) {
	var h [frameHeader]byte
	if at+frameHeader > size {
		return fr, 0, false, nil
	}
	if _, err := f.ReadAt(h[:], at); err != nil {
		return fr, 0, false, err
	}
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	if u32(h[:]) != frameMagic || u32(h[4:]) != frameHeader-8 || u64(h[40:]) != xxh3.Hash(h[8:40]) {
		return fr, 0, false, nil
	}
	fr = frame{
		path: name, at: at + frameHeader, start: int64(u64(h[8:])), bytes: int32(u32(h[16:])), size: int32(u32(h[20:])),
		lines: int64(u64(h[24:])), sum: u64(h[32:]),
	}
	if fr.at+int64(fr.size) > size || s.written > 0 && fr.start != s.written {
		return fr, 0, false, nil
	}
	packed := make([]byte, fr.size)
	if _, err := f.ReadAt(packed, fr.at); err != nil {
		return fr, 0, false, err
	}
	data, err := s.unpack(packed, fr)
	if err != nil {
		return fr, 0, false, nil
	}
	s.lines = fr.lines + int64(bytes.Count(data, []byte{'\n'}))
	return fr, fr.sum, true, nil
}

func (s *Spool) unpack(packed []byte, fr frame) ([]byte, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*frameBytes))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	data, err := d.DecodeAll(packed, nil)
	if err == nil && len(data) != int(fr.bytes) {
		err = errors.New("a frame of another length than it says")
	}
	return data, err
}

// begin recognises the first stream, once: every reading, of this process or a later one, must treat it the same.
func (s *Spool) begin(ctx context.Context) error {
	st, ok := s.streamAt(0)
	if ok && st.Version == 0 {
		meta, err := s.recogniseFirst(ctx, st)
		if err != nil {
			return err
		}
		if err := replaceJSON(s.o.Disk, s.metaPath(), meta); err != nil {
			return err
		}
		st.spoolMeta = *meta
		if err := st.compile(s.o.choose()); err != nil {
			return err
		}
		s.mu.Lock()
		s.streams[0].spoolMeta, s.streams[0].convert = st.spoolMeta, st.convert
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest.add(make([]Object, s.first)) // nobody needs them any more
	for _, st := range s.streams {
		s.manifest.add([]Object{s.entry(st)})
	}
	s.manifest.finish(nil)
	s.begun = true
	return nil
}

// recogniseFirst waits for the beginning of the first stream.
func (s *Spool) recogniseFirst(ctx context.Context, st stream) (*spoolMeta, error) {
	sr := &spoolReader{s: s, ctx: ctx}
	defer sr.stop()
	r := s.reading(ctx, sr, st)
	r.choose = s.o.choose()
	r.take()
	for !r.eof && len(r.buf) < headBytes && !(shows(r.buf) && sr.idle()) {
		r.pull(len(r.buf) + 1)
	}
	switch {
	case r.failed != nil:
		return nil, r.failed
	case r.broken != nil && len(r.buf) == 0:
		return nil, r.broken
	}
	meta, err := r.meta()
	var input *InputError
	if !errors.As(err, &input) {
		return meta, err
	}
	if st, _ = s.streamAt(0); st.End > 0 { // nobody can give it otherwise any more: its lines are bad records
		return &spoolMeta{Version: 1, Why: "nothing that can be recognised", Fingerprint: firstLineOf(r.buf)}, nil
	}
	// The command is refused. It may be given again with a stream that is better, so this one is not kept.
	return nil, errors.Join(err, replaceFile(s.o.Disk, s.refusedPath(), []byte(err.Error())))
}

// choose returns how the options want records to be read.
func (o *SpoolOptions) choose() chooser {
	return newChooser(chooser{format: o.Format, shapes: o.Shapes, columns: o.Columns, comma: o.Separator,
		types: o.Types, order: o.DateOrder, unwrap: o.Unwrap, encoding: o.Encoding, max: o.MaxRecord})
}

// reading is a pass over a stream.
func (s *Spool) reading(ctx context.Context, sr *spoolReader, st stream) *reading {
	return &reading{ctx: ctx, name: s.object(), max: s.o.MaxRecord, pool: s.chunks, src: sr, live: sr, raw: sr,
		why: st.Why, hint: st.Hint, foreign: st.Foreign, mode: st.Mode, convert: st.convert.clone()}
}

// object is the name of the entries of the manifest.
func (s *Spool) object() string {
	if s.o.Name == "standard input" {
		return "-"
	}
	return s.o.Name
}

// Manifest has an entry for each stream, named "-", or by the name in the options.
func (s *Spool) Manifest() *Manifest { return &s.manifest }

// Describe says what the streams were recognised as.
func (s *Spool) Describe() (said []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		if text := s.o.Name + ": " + st.Why; !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	return said
}

// Chunks implements Source. At the end of what was spooled it waits for more.
func (s *Spool) Chunks(ctx context.Context, after Position, pass Pass) iter.Seq2[*Chunk, error] {
	return chunks(ctx, pass, func(ctx context.Context, yield func(*Chunk) bool) error {
		for {
			st, ok, err := s.await(ctx, int(after.Object))
			if err == nil && ok {
				err = s.readStream(ctx, st, after, false, yield)
			}
			if errors.Is(err, errStopped) || ctx.Err() != nil {
				return nil
			}
			if err != nil || !ok {
				return err
			}
			after = Position{Object: after.Object + 1}
		}
	})
}

// Release deletes the segments that end at or before a position. Nothing before it can be read any more.
func (s *Spool) Release(upTo Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.global(upTo)
	if !s.full {
		at = s.needed(upTo)
	}
	n := 0
	for n < len(s.segments)-1 && s.segments[n].end <= at {
		n++
	}
	if n == 0 {
		return nil
	}
	k, _ := slices.BinarySearchFunc(s.frames, s.segments[n].start, func(f frame, at int64) int {
		return int(max(-1, min(1, f.start-at)))
	})
	if err := errors.Join(s.keepHead(s.frames[:k]), s.remember(s.frames[:k])); err != nil {
		return fmt.Errorf("releasing spooled input: %w", err)
	}
	for _, seg := range s.segments[:n] {
		if err := removeIfThere(s.o.Disk, seg.path); err != nil {
			return fmt.Errorf("releasing spooled input: %w", err)
		}
		s.disk -= seg.size
	}
	s.segments = slices.Delete(s.segments, 0, n)
	s.frames = slices.Delete(s.frames, 0, k)
	s.cond.Broadcast()
	return nil
}

// OnDisk is how many bytes of disk the copy uses now.
func (s *Spool) OnDisk() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk
}

// Full says whether the spool is full, so that the stream is not read further until something is released, and how
// many bytes of disk it may use.
func (s *Spool) Full() (full bool, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full, s.o.Cap
}

// Spooled returns how many bytes of the stream were spooled so far, and whether the stream has ended.
func (s *Spool) Spooled() (bytes int64, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written, s.complete
}

// Close stops spooling. The files stay, for a later process or until the folder is removed. Readings end with an
// error.
func (s *Spool) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	return nil
}

// errBroken describes how the spooled data breaks off.
type errBroken string

func (e errBroken) Error() string { return string(e) }

// spoolReader reads a spooled stream from an offset on, and waits at its end while it may go on.
type spoolReader struct {
	s      *Spool
	ctx    context.Context
	entry  int
	off    int64  // in what was spooled
	dry    bool   // do not wait
	data   []byte // of the current frame, from off on
	file   File
	dec    *zstd.Decoder
	packed []byte
	plain  []byte
	failed error
}

// next waits for the frame that contains an offset.
func (r *spoolReader) next() (frame, error) {
	s := r.s
	defer s.wakes(r.ctx)()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		st, _ := s.stream(r.entry)
		end := s.written
		if st.End > 0 {
			end = st.End
		}
		switch {
		case r.ctx.Err() != nil:
			return frame{}, r.ctx.Err()
		case r.off < end:
			k, exact := slices.BinarySearchFunc(s.frames, r.off, func(f frame, at int64) int {
				return int(max(-1, min(1, f.start-at)))
			})
			if !exact {
				k--
			}
			if k < 0 {
				return frame{}, fmt.Errorf("%s: byte %d was released and cannot be read again", s.o.Name, r.off)
			}
			return s.frames[k], nil
		case st.End > 0, s.complete:
			return frame{}, st.ended()
		case r.dry:
			return frame{}, errCut
		case s.err != nil:
			return frame{}, s.err
		case s.closed:
			return frame{}, fmt.Errorf("%s is not spooled any more", s.o.Name)
		}
		s.cond.Wait()
	}
}

// line returns the number of the line at the reader's offset.
func (r *spoolReader) line(st stream) (int64, error) {
	if r.off == st.Start {
		return 1, nil
	}
	fr, err := r.next()
	var broken errBroken
	if err == io.EOF || errors.As(err, &broken) {
		return 1, nil // nothing follows, so no line is numbered
	}
	if err != nil {
		return 0, err
	}
	if err := r.load(fr); err != nil {
		return 0, err
	}
	before := r.plain[:len(r.plain)-len(r.data)]
	return 1 + fr.lines - st.Lines + int64(bytes.Count(before, []byte{'\n'})), nil
}

func (r *spoolReader) load(fr frame) error {
	if r.file == nil || r.file.Name() != fr.path {
		if r.file != nil {
			r.file.Close()
		}
		f, err := r.s.o.Disk.Open(fr.path)
		if err != nil {
			r.file = nil
			return fmt.Errorf("reading spooled input: %w", err)
		}
		r.file = f
	}
	if r.dec == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*frameBytes))
		if err != nil {
			return err
		}
		r.dec = d
	}
	r.packed = slices.Grow(r.packed[:0], int(fr.size))[:fr.size]
	if _, err := r.file.ReadAt(r.packed, fr.at); err != nil {
		return fmt.Errorf("reading spooled input: %w", err)
	}
	plain, err := r.dec.DecodeAll(r.packed, r.plain[:0])
	if err != nil || len(plain) != int(fr.bytes) {
		return fmt.Errorf("the spooled input in %s is damaged: start over with --fresh: %w",
			fr.path, errors.Join(err, io.ErrUnexpectedEOF))
	}
	r.plain = plain
	r.data = plain[r.off-fr.start:]
	return nil
}

func (r *spoolReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		fr, err := r.next()
		if err == nil {
			err = r.load(fr)
		}
		var broken errBroken
		if err == io.EOF || errors.As(err, &broken) {
			return 0, err
		}
		if err != nil {
			// Not an error in the data, so it ends the iteration.
			r.failed = err
			return 0, err
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	r.off += int64(n)
	return n, nil
}

// fatal returns why reading the spooled data failed; nil: it did not.
func (r *spoolReader) fatal() error { return r.failed }

// idle says whether the next Read may have to wait.
func (r *spoolReader) idle() bool {
	if len(r.data) > 0 {
		return false
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	st, _ := r.s.stream(r.entry)
	return r.off >= r.s.written && st.End == 0 && !r.s.complete && r.s.err == nil
}

func (r *spoolReader) stop() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
	if r.dec != nil {
		r.dec.Close()
		r.dec = nil
	}
}

var _ Source = (*Spool)(nil)
