package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/stock"
)

// Input is a Source of objects: files, and objects in stores.
type Input struct {
	o        Options
	manifest Manifest
	kinds    map[string]objects // by scheme; not changed after Open
	seen     map[string]bool    // names in the manifest, of schemes that list at once
	local    *chains            // local files in the manifest
	void     ends
	trimmed  int  // entries before this one have been trimmed already
	listed   bool // listed once: further listings look for what is new
	chunks   stock.Stock[Chunk]
	cancel   context.CancelFunc
	grown    chan struct{} // closed when the manifest is complete
	early    atomic.Bool   // a file has grown, but its entry has not been read yet
	leads    atomic.Int64  // the entry that the First reading is in
	passed   atomic.Int64  // bytes of objects that the First reading has passed
	tables   atomic.Bool   // some objects are not read sequentially

	mu         sync.Mutex
	stats      Stats
	unreadable []error
	earlier    []error // of the look before, while the input is looked at again
	unread     unread
	held       []string
	partial    map[string]bool // see unfinished
	refused    map[int]error
	growing    map[string]seenFile // compressed files that may still grow
	described  map[string]string
	order      []string
}

// Open resolves the selection and freezes its manifest; the listing of an object store goes on while the source is
// read. What cannot be found or understood is an *InputError. Close frees what the source holds.
func Open(ctx context.Context, o Options) (*Input, error) {
	o.defaults()
	s := &Input{o: o, kinds: map[string]objects{}, seen: map[string]bool{}, described: map[string]string{}}
	s.grown = make(chan struct{})
	s.chunks = stock.New[Chunk](keptChunks)
	if err := o.Check(); err != nil {
		return nil, err
	}
	s.void.of = maps.Clone(o.Void)
	s.local = newChains(o.Disk, o.Frozen, o.Void, o.Barren)
	s.local.tails = maps.Clone(o.Tails)
	s.manifest.add(o.Frozen)
	for i, obj := range o.Frozen {
		if !isRemote(obj.Name) {
			s.seen[obj.Name] = true
		}
		if s.local.byEntry[i] != nil || obj.Name == "" {
			continue
		}
		at, is := o.Void[i]
		switch {
		case is:
			s.unread.add(obj, at)
		case slices.Contains(o.Barren, i):
			s.unread.add(obj, Place{})
			s.unread.barren(obj.Name)
		default:
			s.unread.drop(obj.Name)
		}
	}
	parts, remote, err := s.list(ctx)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.listed = true
	grow := func(ctx context.Context) error {
		for _, list := range parts {
			if err := list(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	if remote || o.Follow != nil {
		growing, cancel := context.WithCancel(context.WithoutCancel(ctx))
		s.cancel = cancel
		go func() {
			defer close(s.grown)
			err := grow(growing)
			s.mu.Lock()
			s.stats.Listed = err == nil
			s.mu.Unlock()
			if err == nil && s.o.Follow != nil {
				s.follow(growing)
			}
			s.manifest.finish(err)
		}()
		return s, nil
	}
	if err := grow(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.stats.Listed = true
	s.manifest.finish(nil)
	close(s.grown)
	if s.manifest.Len() == 0 && len(s.unreadable) > 0 {
		for i, err := range s.unreadable {
			s.unreadable[i] = inputError(err)
		}
		return nil, errors.Join(s.unreadable...)
	}
	return s, nil
}

func (o *Options) defaults() {
	if o.MaxRecord <= 0 {
		o.MaxRecord = DefaultMaxRecord
	}
	if o.Lateness == 0 {
		o.Lateness = 72 * time.Hour
	}
	if o.Disk == nil {
		o.Disk = OSDisk{}
	}
	if o.Schemes == nil {
		o.Schemes = Known()
	}
	o.AllowEmpty = o.AllowEmpty || o.Follow != nil
}

// Check finds mistakes in the options themselves and returns an *InputError. Open calls it, too; for a stream,
// which is not opened by Open, it has to be called.
func (o *Options) Check() error {
	if err := o.choose().check(); err != nil {
		return err
	}
	if !o.Since.IsZero() && !o.Until.IsZero() && !o.Since.Before(o.Until) {
		return inputf("--since %s is not before --until %s",
			o.Since.Format(time.RFC3339), o.Until.Format(time.RFC3339))
	}
	_, err := o.chooseLayout(nil)
	return err
}

// list looks at every address. What can be listed quickly is resolved at once, so that mistakes are found early;
// of other addresses, the beginning is listed.
func (s *Input) list(ctx context.Context) (parts []lister, remote bool, err error) {
	for i, from := range s.o.From {
		scheme, err := s.o.Schemes.Of(from)
		if err != nil {
			return nil, false, err
		}
		remote = remote || scheme.Remote
		kind := s.kinds[scheme.Name]
		if kind == nil {
			if scheme.Objects == nil {
				return nil, false, inputf("%s: %w", from, errNoObjects)
			}
			if kind, err = scheme.Objects(ctx, s); err != nil {
				return nil, false, err
			}
			s.kinds[scheme.Name] = kind
		}
		part, err := kind.list(ctx, i, from)
		if err != nil {
			return nil, false, err
		}
		parts = append(parts, part)
	}
	return parts, remote, nil
}

// Close stops a listing and removes cached objects. No reading may be in progress.
func (s *Input) Close() error {
	if s.cancel != nil {
		s.cancel()
		<-s.grown
	}
	var errs []error
	for _, k := range s.kinds {
		errs = append(errs, k.close())
	}
	return errors.Join(errs...)
}

// Release says that nothing before a position will be read again, so fetched objects before it can be dropped.
func (s *Input) Release(upTo Position) error {
	for _, k := range s.kinds {
		k.release(upTo.Object)
	}
	return s.trim(int(upTo.Object))
}

// trimEvery is how many entries of the manifest are passed before they are forgotten.
const trimEvery = 1000

// trim forgets the entries before one, except those that are needed to recognise which files were read.
func (s *Input) trim(before int) error {
	if s.o.Follow == nil || s.o.Follow.Trim == nil || before < s.trimmed+trimEvery {
		return nil
	}
	s.trimmed = before
	return s.o.Follow.Trim(before, s.local.forget(before))
}

// count changes the statistics of the selection.
func (s *Input) count(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}

// Describe says how the objects read so far were recognised, one line for each different result.
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

// fail keeps the reason why a part of the selection is not in the manifest.
func (s *Input) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unreadable) >= 100 || isAmong(s.unreadable, err) {
		return
	}
	s.unreadable = append(s.unreadable, err)
	if s.o.Follow != nil && s.o.Log != nil && !isAmong(s.earlier, err) { // there is no end at which it would be reported
		s.o.Log.Warn("input", "why", err.Error())
	}
}

func (s *Input) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.unreadable) > 0
}

func (s *Input) skip() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Skipped++
}

// passOver notes what in a folder or pattern is not a file, for the notice at the end.
func (s *Input) passOver(path, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.NoFiles++
	if len(s.stats.Passed) < 10 {
		s.stats.Passed = append(s.stats.Passed, path+" is "+what)
	}
}

// passedOver completes the message that there is nothing to read: it says what was skipped.
func (s *Input) passedOver() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stats.Passed) == 0 {
		return ""
	}
	return ": " + s.stats.Passed[0]
}

// publish adds objects to the manifest, and freezes them; from then on they may be read.
func (s *Input) publish(objects []Object) error {
	if len(objects) == 0 {
		return nil
	}
	if s.o.Freeze != nil {
		if err := s.o.Freeze(objects); err != nil {
			return fmt.Errorf("keeping the list of objects: %w", err)
		}
	}
	s.local.note(s.manifest.Len(), objects)
	s.manifest.add(objects)
	return nil
}

func (s *Input) Manifest() *Manifest { return &s.manifest }

// Stats returns what the selection left out.
func (s *Input) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Passed returns how many stored bytes of the objects the last [First] reading has passed, and how many there are;
// 0 if that is not known yet.
func (s *Input) Passed() (bytes, all int64) {
	if !s.manifest.Done() || s.tables.Load() {
		return s.passed.Load(), 0
	}
	return s.passed.Load(), s.manifest.Bytes()
}

// Unread is how many stored bytes of the known objects the last [First] reading has not passed.
func (s *Input) Unread() int64 { return max(s.manifest.Bytes()-s.passed.Load(), 0) }

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

// Chunks implements Source. When an object cannot be read further, the reading continues with the next object, and
// [Options.Voided] is called with the place up to which it was read: the places of records must not depend on what
// happens to be readable. When the object is not to blame, the reading ends, and a later reading continues there.
func (s *Input) Chunks(ctx context.Context, after Position, pass Pass) iter.Seq2[*Chunk, error] {
	return chunks(ctx, pass, func(ctx context.Context, yield func(*Chunk) bool) error {
		return s.read(ctx, after, pass, yield)
	})
}

// Refused are the entries of the manifest passed to Open that are missing or have changed, with the reason for
// each.
func (s *Input) Refused() map[int]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.refused)
}

// Completed is how many records that a run has read cut off are whole in the manifest now, by the reasons why they
// were bad.
func (s *Input) Completed() map[Reason]int {
	s.local.mu.Lock()
	defer s.local.mu.Unlock()
	return maps.Clone(s.local.whole)
}

// refuse notes that an entry cannot be read.
func (s *Input) refuse(entry int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = map[int]error{}
	}
	s.refused[entry] = err
}

// errStopped ends a reading whose receiver has stopped.
var errStopped = errors.New("stopped")

func (s *Input) readObject(
	ctx context.Context, obj Object, from Position, pass Pass, yield func(*Chunk) bool,
) (held bool, err error) {
	scheme, err := s.o.Schemes.Of(obj.Name)
	if err != nil {
		return false, err
	}
	kind := s.kinds[scheme.Name]
	if kind == nil {
		return false, &ChangedError{Object: obj.Name, What: "the command does not name it any more"}
	}
	f, err := kind.open(ctx, obj, int(from.Object))
	if err != nil {
		return false, err
	}
	// Nothing was written, so an error of closing does not concern what was read.
	defer f.Close()
	if f.size == 0 {
		return false, nil
	}
	r := &reading{
		ctx: ctx, name: obj.Name, object: from.Object, max: s.o.MaxRecord, pool: s.chunks, yield: yield,
		raw: f.fault, open: obj.Open, letters: s.o.DeadLetters, choose: s.o.choose(),
		noted: func(why string) { s.note(obj.Name, why) },
	}
	if r.most = f.most; r.most > 0 || obj.Skip > 0 {
		from.Offset = max(from.Offset, obj.Start, obj.Skip)
	}
	if begin := obj.Begin.In(int(from.Object)); from.Compare(begin) < 0 {
		from = begin
	}
	if f.growth != nil {
		r.growth = f.growth
		defer func() {
			if r.growth.close != nil {
				r.growth.close.Close() // nothing was written
			}
		}()
	}
	if f.damaged != nil {
		r.last, r.line = from, 0
		return false, r.bad(nil, 0, Truncated, f.damaged.Error())
	}
	switch {
	case pass == First && f.growth != nil:
		f.growth.src = passing{f.growth.src, &s.passed}
	case pass == First:
		f.Reader = passing{f.Reader, &s.passed}
	}
	var magic [4]byte
	if f.at != nil {
		n, _ := f.at.ReadAt(magic[:], 0)
		if err = f.fault.fatal(); err != nil {
			return false, err
		}
		if n == 4 && string(magic[:]) == "PARE" {
			return false, inputf("%s is a Parquet file whose metadata is encrypted: decrypt it first", obj.Name)
		}
		if n == 4 && string(magic[:]) == "PAR1" {
			s.tables.Store(true)
			return false, r.runParquet(f.at, f.size, from)
		}
	}
	err = r.run(f, from)
	return r.held, err
}

// chunks yields the chunks of read, either on demand or read ahead.
func chunks(
	ctx context.Context, pass Pass, read func(context.Context, func(*Chunk) bool) error,
) iter.Seq2[*Chunk, error] {
	if pass == First {
		return ahead(ctx, read)
	}
	return func(yield func(*Chunk, error) bool) {
		if err := read(ctx, func(c *Chunk) bool { return yield(c, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// ahead runs a reading up to two chunks ahead of its receiver, so that reading, decompressing and splitting
// overlap with the receiver's work.
func ahead(ctx context.Context, read func(context.Context, func(*Chunk) bool) error) iter.Seq2[*Chunk, error] {
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
