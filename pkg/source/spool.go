package source

import (
	"bufio"
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

	"github.com/fanfold/fanfold/pkg/stock"
)

// SpoolOptions say how standard input is spooled.
type SpoolOptions struct {
	// Cap bounds the bytes on the disk; 0: 10 GiB. When it is reached the input
	// is read no further until segments are released.
	Cap int64
	// SegmentBytes is the size from which on a segment is closed and can be
	// released; 0: 64 MiB, or a sixteenth of Cap.
	SegmentBytes int64
	// MaxRecord bounds one record; 0: DefaultMaxRecord.
	MaxRecord int
	// Need is where reading will begin. When what follows it was released, the
	// stream is copied anew from its beginning, which has to be the same.
	Need Position
	// Interactive says that a person would have to type the stream: when all of
	// it was spooled, it is not asked for again.
	Interactive bool
	// Shapes and Format as in Options.
	Format  string
	Shapes  []Shape
	Columns []string
}

// Spool gives a stream that can be read once (standard input) the positions
// of a file: it is copied to compressed segment files in a folder while it is
// being read, and any number of readings follow the copy, from any position,
// in this process or in a later one.
//
// A segment is a series of zstd frames, each behind a skippable frame that says
// what it holds, so that zstd itself can read the files and a process that was
// killed loses nothing but the frame it was writing. A later process is given
// the same input from its beginning: what was spooled is compared, not copied
// again, and a different beginning is a *ChangedError. So is what was released
// and is needed after all: of released frames the hashes are kept, and nothing
// of a new copy is read before it has matched them.
//
// A Spool is a Source of one object, and safe for concurrent use.
type Spool struct {
	dir      string
	o        SpoolOptions
	manifest Manifest
	chunks   stock.Stock[Chunk]
	mode     mode
	shape    *converter
	why      string

	mu       sync.Mutex
	cond     sync.Cond
	frames   []frame // of the segments still there
	segments []segment
	written  int64 // bytes of the stream spooled
	lines    int64 // line ends among them
	sum      *xxh3.Hasher
	disk     int64
	complete bool
	broken   string // how the data ended, when not well
	err      error
	full     bool             // the writer waits for room
	known    map[int64]uint64 // hashes of the stream up to places where it was read before
	ends     []int64          // those places, in order
	stale    []string         // segments of the last copy, while the stream is copied anew
	closed   bool
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
	at    int64 // in the file, of the zstd frame
	size  int32
	start int64 // in the stream
	bytes int32
	lines int64  // line ends before it
	sum   uint64 // of the stream up to its end
}

func (f frame) end() int64 { return f.start + int64(f.bytes) }

const (
	frameBytes  = 1 << 20
	frameHeader = 8 + 40
	frameMagic  = 0x184D2A5D // a skippable frame
)

// spoolMeta is what has to stay the same for every reading of the spool.
type spoolMeta struct {
	Version     int    `json:"version"`
	Mode        mode   `json:"mode"`
	Shape       string `json:"shape,omitempty"`
	Header      []byte `json:"header,omitempty"`
	Why         string `json:"why,omitempty"`
	Fingerprint string `json:"fingerprint"`
}

// OpenSpool starts to spool in into dir, which is created with the permissions
// of its owner alone, or goes on with what an earlier process left there. It
// returns once the stream's first record can be recognised. The caller keeps in
// open until Close.
func OpenSpool(ctx context.Context, dir string, in io.Reader, o SpoolOptions) (*Spool, error) {
	if o.Cap <= 0 {
		o.Cap = 10 << 30
	}
	if o.SegmentBytes <= 0 {
		// Of a small cap, too, only a part may be in a segment that is not
		// closed yet.
		o.SegmentBytes = min(64<<20, max(o.Cap/16, 1))
	}
	if o.MaxRecord <= 0 {
		o.MaxRecord = DefaultMaxRecord
	}
	s := &Spool{dir: dir, o: o, sum: xxh3.New(), quit: make(chan struct{}), stopped: make(chan struct{})}
	s.cond.L = &s.mu
	s.chunks = stock.New[Chunk](keptChunks)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for standard input: %w", err)
	}
	check, err := s.recover()
	if err != nil {
		return nil, err
	}
	if s.complete {
		close(s.stopped)
		if !o.Interactive {
			if err := s.compare(in); err != nil {
				return nil, err
			}
		}
	} else {
		go s.write(in, check)
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// recover takes up what an earlier process spooled. It returns how the stream
// has to begin.
func (s *Spool) recover() (check *spooled, err error) {
	names, err := filepath.Glob(filepath.Join(s.dir, "segment-*.zst"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	check = &spooled{}
	for i, name := range names {
		good, err := s.recoverSegment(name, check)
		if err != nil {
			return nil, err
		}
		if good == 0 && i == len(names)-1 {
			if err := os.Remove(name); err != nil {
				return nil, err
			}
		}
	}
	// The mark is written after the last frame, so it holds only when there are
	// frames, or when the stream was empty.
	why, err := os.ReadFile(filepath.Join(s.dir, "complete"))
	if err == nil && (s.written > 0 || len(names) == 0) {
		s.complete, s.broken = true, string(why)
	}
	if err := s.recall(); err != nil {
		return nil, err
	}
	if len(s.segments) > 0 && s.o.Need.Object == 0 && s.o.Need.Offset < s.segments[0].start {
		if _, ok := s.known[s.segments[0].start]; ok {
			return &spooled{}, s.startOver()
		}
	}
	return check, nil
}

// compare reads a stream of which all was spooled before. Nothing at all is as
// good as the same: there is nothing that it could add. Anything else is other
// input, which must not be taken for what is spooled.
func (s *Spool) compare(in io.Reader) error {
	total, want := s.written, uint64(0)
	if len(s.frames) > 0 {
		want = s.frames[len(s.frames)-1].sum
	}
	if n := len(s.ends); n > 0 && s.ends[n-1] >= total {
		total = s.ends[n-1]
		want = s.known[total]
	}
	raw := &rawFile{Reader: in}
	src, _, err := decompress(bufio.NewReaderSize(raw, 256<<10))
	if err != nil {
		if raw.err != nil {
			return fmt.Errorf("reading standard input: %w", raw.err)
		}
		return &ChangedError{"standard input", "it was read to its end before, and is something else now"}
	}
	if c, ok := src.(io.Closer); ok {
		defer c.Close()
	}
	sum := xxh3.New()
	n, err := io.CopyN(sum, src, total)
	if raw.err != nil {
		return fmt.Errorf("reading standard input: %w", raw.err)
	}
	if n == 0 && err == io.EOF {
		return nil
	}
	if n < total || sum.Sum64() != want {
		return &ChangedError{"standard input", fmt.Sprintf("%d bytes of it were read to its end before, and are others now", total)}
	}
	if more, _ := io.CopyN(io.Discard, src, 1); more > 0 {
		return &ChangedError{"standard input", fmt.Sprintf("it ended after %d bytes before, and goes on now", total)}
	}
	return nil
}

// recall reads what is known of released frames.
func (s *Spool) recall() error {
	s.known = map[int64]uint64{}
	data, err := os.ReadFile(filepath.Join(s.dir, "released"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for ; len(data) >= 16; data = data[16:] {
		s.note(int64(binary.LittleEndian.Uint64(data)), binary.LittleEndian.Uint64(data[8:]))
	}
	slices.Sort(s.ends)
	if len(data) > 0 { // torn by a crash
		return os.Truncate(filepath.Join(s.dir, "released"), int64(len(s.ends)*16))
	}
	return nil
}

func (s *Spool) note(end int64, sum uint64) bool {
	_, ok := s.known[end]
	if !ok {
		s.known[end] = sum
		s.ends = append(s.ends, end)
	}
	return !ok
}

// remember keeps the hashes of frames that are about to go: at the end of each
// segment, and within it about one for each frameBytes.
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
	f, err := os.OpenFile(filepath.Join(s.dir, "released"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// startOver has the stream copied anew. The files of the last copy go when the
// stream has proved to be the same for the first time.
func (s *Spool) startOver() error {
	if err := s.remember(s.frames); err != nil {
		return err
	}
	for _, seg := range s.segments {
		s.stale = append(s.stale, seg.path)
	}
	s.frames, s.segments, s.written, s.lines, s.disk = nil, nil, 0, 0, 0
	s.complete, s.broken = false, ""
	return nil
}

// owed is how far it is to the next place up to which the stream is known; 0
// beyond the last.
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

// dropStale removes the last copy.
func (s *Spool) dropStale() error {
	for _, path := range append(s.stale, filepath.Join(s.dir, "complete")) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
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

func (s *Spool) recoverSegment(name string, check *spooled) (good int64, err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	seg := segment{path: name, start: -1}
	var h [frameHeader]byte
	for {
		if _, err := f.ReadAt(h[:], good); err != nil {
			break
		}
		if binary.LittleEndian.Uint32(h[:]) != frameMagic || binary.LittleEndian.Uint32(h[4:]) != frameHeader-8 || binary.LittleEndian.Uint64(h[40:]) != xxh3.Hash(h[8:40]) {
			break
		}
		fr := frame{path: name, at: good + frameHeader, start: int64(binary.LittleEndian.Uint64(h[8:])), bytes: int32(binary.LittleEndian.Uint32(h[16:])), size: int32(binary.LittleEndian.Uint32(h[20:])), lines: int64(binary.LittleEndian.Uint64(h[24:])), sum: binary.LittleEndian.Uint64(h[32:])}
		if fr.at+int64(fr.size) > info.Size() || s.written > 0 && fr.start != s.written {
			break
		}
		data, err := s.load(f, fr)
		if err != nil {
			break
		}
		if seg.start < 0 {
			seg.start = fr.start
		}
		s.written = fr.start + int64(fr.bytes)
		s.lines = fr.lines + int64(bytes.Count(data, []byte{'\n'}))
		check.bytes, check.sum = s.written, binary.LittleEndian.Uint64(h[32:])
		s.frames = append(s.frames, fr)
		good = fr.at + int64(fr.size)
	}
	if good > 0 {
		seg.end, seg.size = s.written, good
		s.segments = append(s.segments, seg)
		s.disk += good
	}
	if good < info.Size() {
		return good, f.Truncate(good)
	}
	return good, nil
}

func (s *Spool) load(f io.ReaderAt, fr frame) ([]byte, error) {
	packed := make([]byte, fr.size)
	if _, err := f.ReadAt(packed, fr.at); err != nil {
		return nil, err
	}
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

// write copies the stream to segments. It is the only writer.
func (s *Spool) write(in io.Reader, check *spooled) {
	defer close(s.stopped)
	err := s.copy(in, check)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case err == nil:
		if err = os.WriteFile(filepath.Join(s.dir, "complete"), []byte(s.broken), 0o600); err == nil {
			s.complete = true
		}
	}
	if err != nil && s.err == nil {
		s.err = err
	}
	s.cond.Broadcast()
}

func (s *Spool) copy(in io.Reader, check *spooled) error {
	raw := &rawFile{Reader: in}
	src, codec, err := decompress(bufio.NewReaderSize(raw, 256<<10))
	if err != nil {
		if raw.err != nil {
			err = raw.err
		}
		return &InputError{fmt.Errorf("standard input: the %s stream cannot be read: %w", codec, err)}
	}
	if c, ok := src.(io.Closer); ok && codec != "" {
		defer c.Close()
	}
	if check.bytes > 0 {
		n, err := io.CopyN(s.sum, src, check.bytes)
		if err != nil && err != io.EOF {
			return fmt.Errorf("reading standard input: %w", err)
		}
		if n < check.bytes || s.sum.Sum64() != check.sum {
			return &ChangedError{"standard input", fmt.Sprintf("its first %d bytes were read before, and are others now", check.bytes)}
		}
	}
	// Reading is a goroutine of its own so that what has come is written at
	// once when nothing more is there, and in whole frames when there is.
	type part struct {
		data []byte
		err  error
	}
	parts := make(chan part, 4)
	go func() {
		for {
			p := part{data: make([]byte, 256<<10)}
			n, err := src.Read(p.data)
			p.data, p.err = p.data[:n], err
			select {
			case parts <- p:
			case <-s.quit:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	var buf []byte
	var out *os.File
	defer func() {
		if out != nil {
			out.Close()
		}
	}()
	for {
		var p part
		if len(buf) > 0 && s.owed() == 0 {
			select {
			case p = <-parts:
			default:
				if out, err = s.append(out, enc, buf); err != nil {
					return err
				}
				buf = buf[:0]
				continue
			}
		} else {
			select {
			case p = <-parts:
			case <-s.quit:
				return nil
			}
		}
		buf = append(buf, p.data...)
		owed := s.owed()
		for ; owed > 0 && len(buf) >= owed; owed = s.owed() {
			if out, err = s.append(out, enc, buf[:owed]); err != nil {
				return err
			}
			buf = append(buf[:0], buf[owed:]...)
		}
		if owed > 0 && p.err == nil {
			continue
		} else if owed > 0 && raw.err == nil {
			return &ChangedError{"standard input", "it is shorter than what was read of it before"}
		}
		if p.err != nil && p.err != io.EOF {
			// What can be read of a broken stream is kept.
			if len(buf) > 0 && owed == 0 {
				if out, err = s.append(out, enc, buf); err != nil {
					return err
				}
			}
			if raw.err != nil {
				return fmt.Errorf("reading standard input: %w", raw.err)
			}
			s.mu.Lock()
			s.broken = p.err.Error()
			s.mu.Unlock()
			return nil
		}
		for len(buf) >= frameBytes || p.err == io.EOF && len(buf) > 0 {
			n := min(len(buf), frameBytes)
			if out, err = s.append(out, enc, buf[:n]); err != nil {
				return err
			}
			buf = append(buf[:0], buf[n:]...)
		}
		if p.err == io.EOF {
			return nil
		}
	}
}

// append writes one frame and makes it known to the readings.
func (s *Spool) append(out *os.File, enc *zstd.Encoder, data []byte) (*os.File, error) {
	s.mu.Lock()
	for s.disk >= s.o.Cap && !s.closed {
		s.full = true
		s.cond.Wait()
	}
	s.full = false
	if s.closed {
		s.mu.Unlock()
		return out, errStopped
	}
	start, lines := s.written, s.lines
	s.sum.Write(data)
	sum := s.sum.Sum64()
	if want, ok := s.known[start+int64(len(data))]; ok && want != sum {
		s.mu.Unlock()
		return out, &ChangedError{"standard input", fmt.Sprintf("its first %d bytes were read before, and are others now", start+int64(len(data)))}
	}
	if s.stale != nil {
		if err := s.dropStale(); err != nil {
			s.mu.Unlock()
			return out, fmt.Errorf("spooling standard input: %w", err)
		}
	}
	fresh := out == nil
	if n := len(s.segments); n > 0 && !fresh && s.segments[n-1].size >= s.o.SegmentBytes {
		fresh = true
	}
	s.mu.Unlock()
	path := filepath.Join(s.dir, fmt.Sprintf("segment-%016x.zst", start))
	var at int64
	if fresh {
		if out != nil {
			if err := out.Close(); err != nil {
				return nil, fmt.Errorf("spooling standard input: %w", err)
			}
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("spooling standard input: %w", err)
		}
		out = f
	} else {
		path = out.Name()
		info, err := out.Stat()
		if err != nil {
			return out, fmt.Errorf("spooling standard input: %w", err)
		}
		at = info.Size()
	}
	packed := enc.EncodeAll(data, make([]byte, frameHeader, frameHeader+len(data)/3))
	size := len(packed) - frameHeader
	binary.LittleEndian.PutUint32(packed, frameMagic)
	binary.LittleEndian.PutUint32(packed[4:], frameHeader-8)
	binary.LittleEndian.PutUint64(packed[8:], uint64(start))
	binary.LittleEndian.PutUint32(packed[16:], uint32(len(data)))
	binary.LittleEndian.PutUint32(packed[20:], uint32(size))
	binary.LittleEndian.PutUint64(packed[24:], uint64(lines))
	binary.LittleEndian.PutUint64(packed[32:], sum)
	binary.LittleEndian.PutUint64(packed[40:], xxh3.Hash(packed[8:40]))
	if _, err := out.Write(packed); err != nil {
		return out, fmt.Errorf("spooling standard input: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fresh {
		s.segments = append(s.segments, segment{path: path, start: start})
	}
	seg := &s.segments[len(s.segments)-1]
	s.frames = append(s.frames, frame{path: path, at: at + frameHeader, size: int32(size), start: start, bytes: int32(len(data)), lines: lines, sum: sum})
	s.written += int64(len(data))
	s.lines += int64(bytes.Count(data, []byte{'\n'}))
	seg.end, seg.size = s.written, at+int64(len(packed))
	s.disk += int64(len(packed))
	s.cond.Broadcast()
	return out, nil
}

// begin finds out what the stream is, once: every reading, of this process or a
// later one, has to see the same.
func (s *Spool) begin(ctx context.Context) error {
	path := filepath.Join(s.dir, "spool.json")
	var meta spoolMeta
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &meta); err != nil || meta.Version != 1 {
			return fmt.Errorf("%s is damaged; start over with --fresh", path)
		}
	case errors.Is(err, fs.ErrNotExist):
		sr := &spoolReader{s: s, ctx: ctx}
		defer sr.stop()
		r := &reading{ctx: ctx, name: "-", max: s.o.MaxRecord, pool: s.chunks, src: sr, live: sr, raw: sr, choose: chooser{s.o.Format, s.o.Shapes, s.o.Columns}}
		r.take()
		r.fill(headBytes)
		if r.broken != nil && len(r.buf) == 0 {
			return r.broken
		}
		meta = spoolMeta{Version: 1}
		var err error
		if meta.Mode, err = r.recognise(); err != nil {
			return err
		}
		if r.convert != nil {
			meta.Shape, meta.Header = r.convert.shape.Name, r.convert.header
		}
		meta.Why = r.why
		first, _, _ := bytes.Cut(r.buf[:min(len(r.buf), badBytes)], []byte{'\n'})
		meta.Fingerprint = fmt.Sprintf("head-%016x", xxh3.Hash(first))
		data, err := json.Marshal(meta)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path+".new", data, 0o600); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	default:
		return err
	}
	s.mode, s.why = meta.Mode, meta.Why
	if meta.Shape != "" {
		c, err := newConverter(meta.Shape, s.o.Shapes, meta.Header, s.o.Columns)
		if err != nil {
			return err
		}
		s.shape = c
	}
	s.manifest.add([]Object{{Name: "-", Fingerprint: meta.Fingerprint}})
	s.manifest.finish(nil)
	return nil
}

// Manifest has one entry, named "-".
func (s *Spool) Manifest() *Manifest { return &s.manifest }

// Describe says what the stream was recognised as.
func (s *Spool) Describe() []string { return []string{"standard input: " + s.why} }

// Chunks implements Source. At the end of what is spooled it waits for more.
func (s *Spool) Chunks(ctx context.Context, after Position) iter.Seq2[*Chunk, error] {
	return ahead(ctx, func(ctx context.Context, yield func(*Chunk) bool) error {
		if after.Object > 0 {
			return nil
		}
		sr := &spoolReader{s: s, ctx: ctx, off: after.Offset}
		defer sr.stop()
		r := &reading{ctx: ctx, name: "-", max: s.o.MaxRecord, pool: s.chunks, yield: yield, src: sr, live: sr, raw: sr, mode: s.mode, convert: s.shape.clone()}
		line, err := sr.line()
		if err != nil {
			return err
		}
		r.line, r.off, r.last = line, after.Offset, after
		r.take()
		r.fill(1)
		r.bom(after)
		err = r.records(after)
		if errors.Is(err, errStopped) || ctx.Err() != nil {
			return nil
		}
		return err
	})
}

// Release deletes the segments that end at or before a position. Nothing before
// it can be read any more.
func (s *Spool) Release(upTo Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.segments)-1 && (s.segments[n].end <= upTo.Offset || upTo.Object > 0) {
		n++
	}
	if n == 0 {
		return nil
	}
	k, _ := slices.BinarySearchFunc(s.frames, s.segments[n].start, func(f frame, at int64) int {
		return int(max(-1, min(1, f.start-at)))
	})
	if err := s.remember(s.frames[:k]); err != nil {
		return fmt.Errorf("releasing spooled input: %w", err)
	}
	for _, seg := range s.segments[:n] {
		if err := os.Remove(seg.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("releasing spooled input: %w", err)
		}
		s.disk -= seg.size
	}
	s.segments = slices.Delete(s.segments, 0, n)
	s.frames = slices.Delete(s.frames, 0, k)
	s.cond.Broadcast()
	return nil
}

// Full says that the input is read no further until something is released, and
// how many bytes of disk are the limit.
func (s *Spool) Full() (full bool, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full, s.o.Cap
}

// Spooled returns the bytes of the stream so far, and whether it has ended.
func (s *Spool) Spooled() (bytes int64, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written, s.complete
}

// Close stops spooling. The files stay, for a later process or for whoever
// removes the folder. Readings end with an error.
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

// errBroken says how the spooled data breaks off.
type errBroken string

func (e errBroken) Error() string { return string(e) }

// spoolReader reads the spooled stream from an offset on and waits at its end.
type spoolReader struct {
	s      *Spool
	ctx    context.Context
	off    int64
	data   []byte // of the frame at hand, from off on
	file   *os.File
	dec    *zstd.Decoder
	packed []byte
	plain  []byte
	failed error
}

// next waits for the frame that holds an offset.
func (r *spoolReader) next() (frame, error) {
	s := r.s
	defer context.AfterFunc(r.ctx, func() {
		s.mu.Lock()
		s.cond.Broadcast()
		s.mu.Unlock()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case r.ctx.Err() != nil:
			return frame{}, r.ctx.Err()
		case r.off < s.written:
			k, exact := slices.BinarySearchFunc(s.frames, r.off, func(f frame, at int64) int {
				return int(max(-1, min(1, f.start-at)))
			})
			if !exact {
				k--
			}
			if k < 0 {
				return frame{}, fmt.Errorf("standard input: byte %d was released and cannot be read again", r.off)
			}
			return s.frames[k], nil
		case s.complete && s.broken != "":
			return frame{}, errBroken(s.broken)
		case s.complete:
			return frame{}, io.EOF
		case s.err != nil:
			return frame{}, s.err
		case s.closed:
			return frame{}, errors.New("standard input is not spooled any more")
		}
		s.cond.Wait()
	}
}

// line returns the number of the line in which the reader stands.
func (r *spoolReader) line() (int64, error) {
	if r.off == 0 {
		return 1, nil
	}
	fr, err := r.next()
	var broken errBroken
	if err == io.EOF || errors.As(err, &broken) {
		return 1, nil // nothing follows that could stand in a line
	}
	if err != nil {
		return 0, err
	}
	if err := r.load(fr); err != nil {
		return 0, err
	}
	before := r.plain[:len(r.plain)-len(r.data)]
	return 1 + fr.lines + int64(bytes.Count(before, []byte{'\n'})), nil
}

func (r *spoolReader) load(fr frame) error {
	if r.file == nil || r.file.Name() != fr.path {
		if r.file != nil {
			r.file.Close()
		}
		f, err := os.Open(fr.path)
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
		return fmt.Errorf("the spooled input in %s is damaged: start over with --fresh: %w", fr.path, errors.Join(err, io.ErrUnexpectedEOF))
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
			// Not a property of the data: it ends the iteration.
			r.failed = err
			return 0, err
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	r.off += int64(n)
	return n, nil
}

// fatal says why spooling failed, which is no property of the data.
func (r *spoolReader) fatal() error { return r.failed }

// idle says that the next Read may have to wait.
func (r *spoolReader) idle() bool {
	if len(r.data) > 0 {
		return false
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.off >= r.s.written && !r.s.complete && r.s.err == nil
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
