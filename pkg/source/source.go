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
	"time"

	"github.com/zeebo/xxh3"
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
	at := fmt.Sprintf("%s, byte %d", e.Object, e.Offset)
	if e.Line > 0 {
		at += fmt.Sprintf(" (line %d)", e.Line)
	}
	return at + ": " + string(e.Reason) + ": " + e.Detail
}

// Record is one JSON document as it was read.
type Record struct {
	Raw  []byte   // inside the chunk's Data; of a bad record what could be read, at most 64 KiB
	End  Position // just after the record
	Line int64    // from 1; 0: unknown
	Tail bool     // the object ended without a line end behind it
	Err  *RecordError
}

// Chunk is a run of consecutive records of one object. It belongs to whoever
// receives it.
type Chunk struct {
	Data    []byte
	Records []Record
	Start   Position // before the first record
	End     Position // after the last
	Name    string   // of the object
	pool    *sync.Pool
}

// Release gives the chunk's memory back; nothing of it may be used afterwards.
// A chunk that is not released is left to the garbage collector.
func (c *Chunk) Release() {
	if c.pool != nil && cap(c.Data) <= 4<<20 {
		p := c.pool
		c.pool = nil
		p.Put(c)
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
}

// ID is a short name for the object's bytes, for insert ids of events without
// messageId.
func (o Object) ID() string {
	return fmt.Sprintf("%016x", xxh3.HashString(o.Fingerprint+"\x00"+o.Name))
}

// Manifest is the ordered list of a run's objects. It may grow at its end. It
// is safe for concurrent use.
type Manifest struct {
	mu      sync.Mutex
	objects []Object
}

// Len returns the number of objects so far.
func (m *Manifest) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.objects)
}

// At returns entry i.
func (m *Manifest) At(i int) Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i < 0 || i >= len(m.objects) {
		return Object{}
	}
	return m.objects[i]
}

// Objects returns all entries so far.
func (m *Manifest) Objects() []Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.objects)
}

// Bytes returns the objects' sizes added up.
func (m *Manifest) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var n int64
	for _, o := range m.objects {
		n += o.Size
	}
	return n
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
	// From are files, directories (walked, sorted) and globs.
	From []string
	// MaxRecord bounds one record; 0: DefaultMaxRecord.
	MaxRecord int
	// Frozen is the manifest of the run that is resumed: its objects come
	// first, in this order, and have to be there unchanged; what From has
	// beyond them comes after.
	Frozen []Object
}

// Stats counts what the selection left out.
type Stats struct {
	Skipped int // marker files, empty directories' placeholders
}

// files is a Source over local files.
type files struct {
	manifest   Manifest
	maxRecord  int
	stats      Stats
	unreadable []error
	chunks     sync.Pool
}

// Open resolves the selection and freezes its manifest. What cannot be found is
// an *InputError.
func Open(ctx context.Context, o Options) (Source, error) {
	s := &files{maxRecord: o.MaxRecord}
	if s.maxRecord <= 0 {
		s.maxRecord = DefaultMaxRecord
	}
	s.chunks.New = func() any { return new(Chunk) }
	seen := map[string]bool{}
	for _, obj := range o.Frozen {
		seen[obj.Name] = true
		s.manifest.objects = append(s.manifest.objects, obj)
	}
	var names []string
	for _, from := range o.From {
		found, err := s.resolve(from)
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		members, err := zipMembers(name)
		if err != nil {
			s.unreadable = append(s.unreadable, fmt.Errorf("%s: %w", name, err))
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
				s.unreadable = append(s.unreadable, fmt.Errorf("%s: %w", m, err))
				continue
			}
			s.manifest.objects = append(s.manifest.objects, obj)
		}
	}
	if len(s.manifest.objects) == 0 && len(s.unreadable) > 0 {
		return nil, &InputError{errors.Join(s.unreadable...)}
	}
	return s, nil
}

// resolve turns one --from into file names.
func (s *files) resolve(from string) ([]string, error) {
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
			if marker(filepath.Base(n)) {
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

func (s *files) Manifest() *Manifest { return &s.manifest }

// Stats returns what the selection left out.
func (s *files) Stats() Stats { return s.stats }

// Chunks implements Source.
func (s *files) Chunks(ctx context.Context, after Position) iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) {
		// Reading, decompressing and splitting run ahead of the receiver by
		// two chunks, so that they overlap with its work.
		type item struct {
			c   *Chunk
			err error
		}
		ctx, cancel := context.WithCancel(ctx)
		ch := make(chan item, 2)
		done := make(chan struct{})
		defer func() {
			cancel()
			for range ch {
			}
			<-done
		}()
		go func() {
			defer close(done)
			defer close(ch)
			err := s.read(ctx, after, func(c *Chunk) bool {
				select {
				case ch <- item{c: c}:
					return true
				case <-ctx.Done():
					return false
				}
			})
			if err != nil {
				select {
				case ch <- item{err: err}:
				case <-ctx.Done():
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

func (s *files) read(ctx context.Context, after Position, yield func(*Chunk) bool) error {
	errs := slices.Clone(s.unreadable)
	for i := int(after.Object); i < s.manifest.Len(); i++ {
		from := Position{Object: uint32(i)}
		if i == int(after.Object) {
			from = after
		}
		err := s.readObject(ctx, s.manifest.At(i), from, yield)
		var changed *ChangedError
		switch {
		case err == nil:
		case errors.Is(err, errStopped) || ctx.Err() != nil:
			return nil
		case errors.As(err, &changed):
			return err
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// errStopped says that the receiver wants no more.
var errStopped = errors.New("stopped")

func (s *files) readObject(ctx context.Context, obj Object, from Position, yield func(*Chunk) bool) error {
	f, size, _, err := openRaw(obj.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return &ChangedError{obj.Name, "it is gone"}
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", obj.Name, err)
	}
	defer f.Close()
	print, err := fingerprint(f, size)
	if err != nil {
		return fmt.Errorf("reading %s: %w", obj.Name, err)
	}
	if print != obj.Fingerprint {
		return &ChangedError{obj.Name, fmt.Sprintf("it had %d bytes and has %d, with another fingerprint", obj.Size, size)}
	}
	if size == 0 {
		return nil
	}
	r := &reading{ctx: ctx, name: obj.Name, object: from.Object, max: s.maxRecord, pool: &s.chunks, yield: yield}
	return r.run(f, from)
}
