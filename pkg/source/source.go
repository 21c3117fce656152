// Package source reads events where they lie: files, directories, globs,
// standard input and object stores, in any of the usual compressions, as
// records with positions.
//
// What a run reads is frozen first as a [Manifest]: the objects in order, each
// with its size and fingerprint. A [Position] is an entry of the manifest and
// an offset into the decompressed object, so reading can start again after any
// record, in this process or in another; an object that has changed since is
// refused ([ChangedError]), never silently re-read.
//
// [Source.Chunks] yields runs of consecutive records of one object. The bytes
// are split, not parsed: whether a record is an event is for the reader to
// find out. What cannot be a record (a line beyond the cap, the end of a
// truncated file) is yielded as a record with an Err, and reading goes on: bad
// input never loses good input.
//
// Memory is bounded by a few chunks and the record cap, whatever the size of
// the input.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/stock"
)

// Reason says why a record is no event.
type Reason string

const (
	Syntax    Reason = "syntax"       // not JSON
	NotEvent  Reason = "not_an_event" // JSON, but no event
	TooLong   Reason = "too_long"     // beyond the record cap
	Truncated Reason = "truncated"    // cut off: the object ends or breaks in the middle
)

// RecordError says what is wrong with a record, and where it is.
type RecordError struct {
	Reason Reason
	Detail string
	Object string
	Offset int64 // where the record begins in the decompressed object
	Line   int64 // from 1; 0: unknown
}

func (e *RecordError) Error() string {
	return e.Place() + ": " + string(e.Reason) + ": " + e.Detail
}

// Place says where the record is.
func (e *RecordError) Place() string {
	at := fmt.Sprintf("%s, byte %d", e.Object, e.Offset)
	if e.Line > 0 {
		at += fmt.Sprintf(" (line %d)", e.Line)
	}
	return at
}

// Record is one JSON document as it was read.
type Record struct {
	Raw  []byte   // inside the chunk's Data; of a bad record what could be read, at most 64 KiB
	End  Position // just after the record
	Line int64    // from 1; 0: unknown
	Tail bool     // the object ended without a line end behind it
	Err  *RecordError
}

// keptChunks is how many chunks are kept while nobody uses them.
const keptChunks = 32

// Chunk is a run of consecutive records of one object. It belongs to whoever
// receives it.
type Chunk struct {
	Data    []byte
	Records []Record
	Start   Position // before the first record
	End     Position // after the last
	Name    string   // of the object
	pool    stock.Stock[Chunk]
	others  atomic.Int32 // holders beside the first
}

// Retain adds a holder, who has to release the chunk, too.
func (c *Chunk) Retain() { c.others.Add(1) }

// Release gives the chunk's memory back once every holder has; nothing of it may
// be used afterwards. A chunk that is not released is left to the garbage
// collector.
func (c *Chunk) Release() {
	if c.others.Add(-1) >= 0 {
		return
	}
	c.others.Store(0)
	if cap(c.Data) <= 2*chunkBytes {
		c.pool.Put(c)
	} else if cap(c.Data) <= 4<<20 {
		c.pool.PutLarge(c)
	}
}

// Source yields the records of a run's input.
type Source interface {
	// Chunks yields the records after a position, in order. Every call is a
	// reading of its own, and readings may run at the same time. A non-nil
	// error ends the iteration; every record before it has been yielded.
	Chunks(ctx context.Context, after Position) iter.Seq2[*Chunk, error]
	// Manifest is what is being read.
	Manifest() *Manifest
}

// Object is one entry of a manifest.
type Object struct {
	Name        string    `json:"name"` // path, s3://bucket/key, archive!member, or "-"
	Size        int64     `json:"size"`
	Fingerprint string    `json:"fingerprint"` // changes when the bytes do
	ModTime     time.Time `json:"mod_time,omitzero"`
	From        int       `json:"from,omitempty"` // which of Options.From it belongs to, from 0
}

// ID is a short name for the object's bytes, for insert ids of events without
// messageId.
func (o Object) ID() string {
	return fmt.Sprintf("%016x", xxh3.HashString(o.Fingerprint+"\x00"+o.Name))
}

// InputError is a selection that cannot be read at all: a mistake in the
// command, found before anything is read.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// ChangedError is an object that is not what the manifest says.
type ChangedError struct {
	Object string
	What   string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s has changed since the run began (%s): resuming would mix two inputs; restore it, or start over with --fresh", e.Object, e.What)
}

// DefaultMaxRecord is the length of a record in bytes from which on it is too
// long.
const DefaultMaxRecord = 16 << 20

// Options select the input.
type Options struct {
	// From are files, directories (walked, sorted), globs and
	// s3://bucket/prefix.
	From []string
	// MaxRecord bounds one record; 0: DefaultMaxRecord.
	MaxRecord int
	// Frozen is the manifest of the run that is resumed: its objects come
	// first, in this order, and have to be there unchanged; what From has
	// beyond them comes after.
	Frozen []Object
	// Freeze is called with the objects that the manifest has got beyond
	// Frozen, before any of their records is yielded: what it keeps is what
	// a resume is given as Frozen. It is never called at the same time twice.
	// nil: none.
	Freeze func(added []Object) error

	// Format names the shape of the records: "auto" (or ""), "segment",
	// "table", or one of Shapes.
	Format string
	Shapes []Shape
	// Columns names the columns of tables that have no header.
	Columns []string

	// Since (inclusive) and Until (exclusive) leave out objects whose path
	// says that they hold no event of that time; Layout says where the path
	// has its time ("": found out), and Lateness how long after an event its
	// object may have been written (0: 72 h). The events themselves are not
	// looked at.
	Since, Until time.Time
	Layout       string
	Layouts      []Layout // that Layout may name
	Lateness     time.Duration

	// S3 is how object stores are reached.
	S3 S3Options
	// CacheDir keeps fetched objects until Release; "": a temporary folder.
	// CacheBytes bounds it; 0: 2 GiB. The folder is the source's alone.
	CacheDir   string
	CacheBytes int64
	// DeadLetters yields the dead letters of a run themselves, for a redrive,
	// not the events in them.
	DeadLetters bool
}

// Stats counts what the selection left out. While a listing goes on the counts
// grow.
type Stats struct {
	Skipped      int    // marker files, hidden directories, empty directories' placeholders
	Pruned       int    // objects left out by the time in their path
	PrunedBytes  int64  // their sizes
	PrunedGroups int    // whole folders left out likewise, unlisted
	Undated      int    // objects read although a time was asked for: their path has none
	Layout       string // by which paths were understood; "": none
	Listed       bool   // everything has been listed
}

// Input is a Source over files and object stores.
type Input struct {
	o        Options
	manifest Manifest
	store    Store
	cache    *cache
	chunks   stock.Stock[Chunk]
	cancel   context.CancelFunc
	grown    chan struct{} // closed when the manifest is complete
	passed   atomic.Int64  // bytes of objects that a reading has gone through, which is not Lean
	tables   atomic.Bool   // there are some that are not read from one end to the other

	mu         sync.Mutex
	stats      Stats
	unreadable []error
	described  map[string]string
	order      []string
}

// Open resolves the selection and freezes its manifest; the listing of an
// object store goes on while the source is read. What cannot be found, or
// understood, is an *InputError. Close frees what the source holds.
func Open(ctx context.Context, o Options) (*Input, error) {
	if o.MaxRecord <= 0 {
		o.MaxRecord = DefaultMaxRecord
	}
	if o.Lateness == 0 {
		o.Lateness = 72 * time.Hour
	}
	s := &Input{o: o, described: map[string]string{}, grown: make(chan struct{})}
	s.chunks = stock.New[Chunk](keptChunks)
	if err := (chooser{o.Format, o.Shapes, o.Columns}).check(); err != nil {
		return nil, err
	}
	if !o.Since.IsZero() && !o.Until.IsZero() && !o.Since.Before(o.Until) {
		return nil, &InputError{fmt.Errorf("--since %s is not before --until %s", o.Since.Format(time.RFC3339), o.Until.Format(time.RFC3339))}
	}
	if _, err := s.chooseLayout(nil); err != nil {
		return nil, err
	}
	s.manifest.add(o.Frozen)

	// Local input is resolved at once, so that a mistake costs nothing; an
	// object store is asked for its first keys.
	type part struct {
		names []string
		s3    *listing
	}
	var parts []part
	remote := false
	for i, from := range o.From {
		if rest, ok := strings.CutPrefix(from, "s3://"); ok {
			remote = true
			if err := s.openStore(ctx); err != nil {
				return nil, err
			}
			l, err := s.newListing(ctx, i, rest)
			if err != nil {
				return nil, errors.Join(err, s.Close())
			}
			parts = append(parts, part{s3: l})
			continue
		}
		names, err := s.resolve(from)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		if names, err = s.prune(names); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		parts = append(parts, part{names: names})
	}
	grow := func(ctx context.Context) error {
		seen := map[string]bool{}
		for _, obj := range o.Frozen {
			if !strings.HasPrefix(obj.Name, "s3://") {
				seen[obj.Name] = true
			}
		}
		for i, p := range parts {
			var err error
			if p.s3 != nil {
				err = p.s3.run(ctx)
			} else {
				err = s.addFiles(ctx, i, p.names, seen)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if !remote {
		err := grow(ctx)
		if err != nil {
			return nil, err
		}
		s.stats.Listed = true
		s.manifest.finish(nil)
		close(s.grown)
		if s.manifest.Len() == 0 && len(s.unreadable) > 0 {
			return nil, &InputError{errors.Join(s.unreadable...)}
		}
		return s, nil
	}
	growing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go func() {
		defer close(s.grown)
		err := grow(growing)
		s.mu.Lock()
		s.stats.Listed = err == nil
		s.mu.Unlock()
		s.manifest.finish(err)
	}()
	return s, nil
}

// Close stops a listing and removes what was cached. No reading may go on.
func (s *Input) Close() error {
	if s.cancel != nil {
		s.cancel()
		<-s.grown
	}
	if s.cache != nil {
		return s.cache.close()
	}
	return nil
}

// Release says that nothing before a position will be read again: fetched
// objects before it are dropped.
func (s *Input) Release(upTo Position) error {
	if s.cache != nil {
		s.cache.release(upTo.Object)
	}
	return nil
}

// Describe says of the objects read so far what they were recognised as, one
// line for each different finding.
func (s *Input) Describe() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, why := range s.order {
		out = append(out, s.described[why]+": "+why)
	}
	return out
}

func (s *Input) note(name, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.described[why]; !ok && len(s.order) < 100 {
		s.described[why] = name
		s.order = append(s.order, why)
	}
}

func (s *Input) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unreadable) < 100 {
		s.unreadable = append(s.unreadable, err)
	}
}

// publish freezes objects and lets them be read.
func (s *Input) publish(objects []Object) error {
	if len(objects) == 0 {
		return nil
	}
	if s.o.Freeze != nil {
		if err := s.o.Freeze(objects); err != nil {
			return fmt.Errorf("keeping the list of objects: %w", err)
		}
	}
	s.manifest.add(objects)
	return nil
}

// prune leaves out the files whose path says that they hold nothing of the
// time asked for.
func (s *Input) prune(names []string) ([]string, error) {
	if s.o.Since.IsZero() && s.o.Until.IsZero() {
		return names, nil
	}
	slashed := make([]string, len(names))
	for i, n := range names {
		slashed[i] = filepath.ToSlash(n)
	}
	layout, err := s.chooseLayout(slashed)
	if err != nil {
		return nil, err
	}
	if layout != nil {
		s.stats.Layout = layout.name
	}
	var out []string
	for i, n := range names {
		span, ok := layout.span(slashed[i])
		switch {
		case !ok:
			s.stats.Undated++
		case !span.overlaps(s.o):
			s.stats.Pruned++
			if info, err := os.Stat(n); err == nil {
				s.stats.PrunedBytes += info.Size()
			}
			continue
		}
		out = append(out, n)
	}
	return out, nil
}

// addFiles puts local files in the manifest.
func (s *Input) addFiles(ctx context.Context, from int, names []string, seen map[string]bool) error {
	var added []Object
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		members, err := zipMembers(name)
		if err != nil {
			s.fail(fmt.Errorf("%s: %w", name, err))
			continue
		}
		if members == nil {
			members = []string{name}
		}
		for _, m := range members {
			if seen[m] {
				continue
			}
			seen[m] = true
			obj, err := describe(m)
			if err != nil {
				s.fail(fmt.Errorf("%s: %w", m, err))
				continue
			}
			obj.From = from
			added = append(added, obj)
		}
	}
	return s.publish(added)
}

// resolve turns one --from into file names.
func (s *Input) resolve(from string) ([]string, error) {
	info, err := os.Stat(from)
	switch {
	case err == nil && info.IsDir():
		var names []string
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				// A part that cannot be read does not stop the rest; it is
				// reported at the end.
				s.unreadable = append(s.unreadable, err)
				if d != nil && d.IsDir() {
					return fs.SkipDir
				}
			case d.IsDir():
				if path != from && hidden(d.Name()) {
					s.stats.Skipped++
					return fs.SkipDir
				}
			case marker(d.Name()):
				s.stats.Skipped++
			default:
				names = append(names, path)
			}
			return nil
		})
		if err != nil {
			return nil, &InputError{fmt.Errorf("reading the directory %s: %w", from, err)}
		}
		slices.Sort(names)
		if len(names) == 0 && len(s.unreadable) == 0 {
			return nil, &InputError{fmt.Errorf("there are no files in the directory %s", from)}
		}
		return names, nil
	case err == nil:
		return []string{from}, nil
	case strings.ContainsAny(from, "*?["):
		names, globErr := filepath.Glob(from)
		if globErr != nil {
			return nil, &InputError{fmt.Errorf("the pattern %s is malformed: %w", from, globErr)}
		}
		var out []string
		for _, n := range names {
			info, err := os.Stat(n)
			if err == nil && info.IsDir() {
				continue
			}
			if marker(filepath.Base(n)) || throughHidden(from, n) {
				s.stats.Skipped++
				continue
			}
			out = append(out, n)
		}
		if len(out) == 0 {
			return nil, &InputError{fmt.Errorf("no file matches %s", from)}
		}
		return out, nil
	case errors.Is(err, fs.ErrNotExist):
		hint := ""
		if dir, err := os.ReadDir(filepath.Dir(from)); err == nil {
			for _, d := range dir {
				if strings.HasPrefix(d.Name(), strings.SplitN(filepath.Base(from), ".", 2)[0]) && !d.IsDir() {
					hint = "; there is " + filepath.Join(filepath.Dir(from), d.Name())
					break
				}
			}
		}
		return nil, &InputError{fmt.Errorf("%s: no such file or directory%s", from, hint)}
	}
	return nil, &InputError{err}
}

// marker says that a file is a sign that some writer leaves, not data.
func marker(name string) bool {
	switch {
	case name == "_SUCCESS", name == "manifest.json", strings.HasSuffix(name, "_$folder$"):
		return true
	case strings.HasPrefix(name, "."), strings.HasSuffix(name, ".crc"), strings.HasSuffix(name, ".tmp"), strings.HasSuffix(name, ".lzo.index"), strings.HasSuffix(name, ".part"):
		return true
	}
	return false
}

// hidden says that a path, with slashes, goes through a name with a dot in front:
// snapshots of file systems, repositories, what some writer has not finished.
func hidden(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(name, ".") && name != "." && name != ".." {
			return true
		}
	}
	return false
}

// throughHidden says that a pattern has found a file in a hidden folder that it
// does not name as one, as * does.
func throughHidden(pattern, name string) bool {
	patterns, names := strings.Split(filepath.ToSlash(pattern), "/"), strings.Split(filepath.ToSlash(name), "/")
	// They are compared from the end, as the beginning may be spelled otherwise.
	for i := 2; i <= min(len(patterns), len(names)); i++ {
		if p := patterns[len(patterns)-i]; p != "" && strings.ContainsAny(p[:1], "*?[") && hidden(names[len(names)-i]) {
			return true
		}
	}
	return false
}

// describe makes the manifest's entry of a file.
func describe(name string) (Object, error) {
	f, size, mod, err := openRaw(name)
	if err != nil {
		return Object{}, err
	}
	defer f.Close()
	print, err := fingerprint(f, size)
	if err != nil {
		return Object{}, err
	}
	return Object{Name: name, Size: size, Fingerprint: print, ModTime: mod}, nil
}

// fingerprint hashes the size and the first and last 64 KiB: enough to see that
// a file was replaced or has grown, without reading it.
func fingerprint(f file, size int64) (string, error) {
	const part = 64 << 10
	h := xxh3.New()
	fmt.Fprintf(h, "%d:", size)
	if r, ok := f.(io.ReaderAt); ok {
		for _, from := range []int64{0, max(part, size-part)} {
			if n := min(size-from, part); n > 0 {
				if _, err := io.Copy(h, io.NewSectionReader(r, from, n)); err != nil {
					return "", err
				}
			}
		}
	}
	return fmt.Sprintf("%d-%032x", size, h.Sum128().Bytes()), nil
}

func (s *Input) Manifest() *Manifest { return &s.manifest }

// Stats returns what the selection left out.
func (s *Input) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Chunks implements Source.
func (s *Input) Chunks(ctx context.Context, after Position) iter.Seq2[*Chunk, error] {
	return ahead(ctx, func(ctx context.Context, yield func(*Chunk) bool) error {
		return s.read(ctx, after, yield)
	})
}

// lean marks a context; see Lean.
type lean struct{}

// Lean returns a context whose readings do not run ahead of their receiver:
// slower, with one chunk in memory instead of four. It is for readers of which
// there may be many.
func Lean(ctx context.Context) context.Context { return context.WithValue(ctx, lean{}, true) }

// ahead runs a reading up to two chunks ahead of its receiver, so that reading,
// decompressing and splitting overlap with the receiver's work.
func ahead(ctx context.Context, read func(context.Context, func(*Chunk) bool) error) iter.Seq2[*Chunk, error] {
	if ctx.Value(lean{}) != nil {
		return func(yield func(*Chunk, error) bool) {
			if err := read(ctx, func(c *Chunk) bool { return yield(c, nil) }); err != nil {
				yield(nil, err)
			}
		}
	}
	return func(yield func(*Chunk, error) bool) {
		type item struct {
			c   *Chunk
			err error
		}
		inner, cancel := context.WithCancel(ctx)
		ch := make(chan item, 1)
		defer func() {
			cancel()
			for range ch {
			}
		}()
		go func() {
			defer close(ch)
			err := read(inner, func(c *Chunk) bool {
				if inner.Err() != nil {
					return false
				}
				select {
				case ch <- item{c: c}:
					return true
				case <-inner.Done():
					return false
				}
			})
			if err != nil {
				select {
				case ch <- item{err: err}:
				case <-inner.Done():
				}
			}
		}()
		for it := range ch {
			if !yield(it.c, it.err) || it.err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// Passed returns how many of the objects' bytes, as they are stored, the last reading
// that is not [Lean] has gone through, and how many there are; 0 when that is not
// known yet.
func (s *Input) Passed() (bytes, all int64) {
	if !s.manifest.Done() || s.tables.Load() {
		return s.passed.Load(), 0
	}
	return s.passed.Load(), s.manifest.Bytes()
}

// passing counts what is read of an object.
type passing struct {
	r io.Reader
	n *atomic.Int64
}

func (p passing) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n.Add(int64(n))
	return n, err
}

func (s *Input) read(ctx context.Context, after Position, yield func(*Chunk) bool) error {
	counts := ctx.Value(lean{}) == nil
	before := int64(0) // bytes of the objects before
	for i := 0; counts && i < int(after.Object); i++ {
		before += s.manifest.At(i).Size
	}
	var errs []error
	for i := int(after.Object); ; i++ {
		if counts {
			s.passed.Store(before)
		}
		ok, err := s.manifest.wait(ctx, i)
		if err != nil {
			errs = append(errs, err)
		}
		if !ok {
			break
		}
		before += s.manifest.At(i).Size
		from := Position{Object: uint32(i)}
		if i == int(after.Object) {
			from = after
		}
		err = s.readObject(ctx, s.manifest.At(i), from, yield)
		var changed *ChangedError
		var input *InputError
		switch {
		case err == nil:
		case errors.Is(err, errStopped) || ctx.Err() != nil:
			return nil
		case errors.As(err, &changed), errors.As(err, &input):
			return err
		default:
			errs = append(errs, err)
			if len(errs) >= 100 || strings.HasPrefix(s.manifest.At(i).Name, "s3://") {
				// A store that cannot be reached would only fail again, and
				// what is behind must not be taken for read.
				return errors.Join(errs...)
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	s.mu.Lock()
	errs = append(slices.Clone(s.unreadable), errs...)
	s.mu.Unlock()
	return errors.Join(errs...)
}

// errStopped says that the receiver wants no more.
var errStopped = errors.New("stopped")

func (s *Input) readObject(ctx context.Context, obj Object, from Position, yield func(*Chunk) bool) error {
	var f *opened
	var err error
	if strings.HasPrefix(obj.Name, "s3://") {
		f, err = s.openRemote(ctx, obj, int(from.Object))
		if err != nil {
			return err
		}
	} else {
		if f, err = openLocal(obj); err != nil {
			return err
		}
	}
	defer f.Close()
	if f.size == 0 {
		return nil
	}
	if ctx.Value(lean{}) == nil {
		f.Reader = passing{f.Reader, &s.passed}
	}
	r := &reading{letters: s.o.DeadLetters, ctx: ctx, name: obj.Name, object: from.Object, max: s.o.MaxRecord, pool: s.chunks, yield: yield,
		choose: chooser{s.o.Format, s.o.Shapes, s.o.Columns}, noted: func(why string) { s.note(obj.Name, why) }}
	var magic [4]byte
	if f.at != nil {
		if n, _ := f.at.ReadAt(magic[:], 0); n == 4 && string(magic[:]) == "PAR1" {
			s.tables.Store(true)
			err = r.runParquet(f.at, f.size, from)
		} else {
			err = r.run(f, from)
		}
	} else {
		err = r.run(f, from)
	}
	if err != nil {
		var changed *ChangedError
		var input *InputError
		if errors.Is(err, errStopped) || errors.As(err, &changed) || errors.As(err, &input) || ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("reading %s: %w", obj.Name, err)
	}
	return nil
}

// opened is an object that is open for reading: from its beginning as a stream,
// and when at is not nil at any place.
type opened struct {
	io.Reader
	at    io.ReaderAt
	size  int64
	close func() error
}

func (o *opened) Close() error { return o.close() }

// openLocal opens a file or a member of one and checks that it is the one that
// was frozen.
func openLocal(obj Object) (*opened, error) {
	f, size, _, err := openRaw(obj.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &ChangedError{obj.Name, "it is gone"}
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", obj.Name, err)
	}
	print, err := fingerprint(f, size)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", obj.Name, err)
	}
	if print != obj.Fingerprint {
		f.Close()
		return nil, &ChangedError{obj.Name, fmt.Sprintf("it had %d bytes and has %d, with another fingerprint", obj.Size, size)}
	}
	o := &opened{Reader: f, size: size, close: f.Close}
	o.at, _ = f.(io.ReaderAt)
	return o, nil
}
