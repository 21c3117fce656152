package source

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	aheadObjects = 6       // fetched at the same time
	aheadBytes   = 1 << 30 // at most, of what was not asked for yet
	publishEvery = 1000    // objects
)

func (s *Input) openStore(ctx context.Context) error {
	if s.store != nil {
		return nil
	}
	s.store = s.o.S3.Store
	if s.store == nil {
		st, err := NewStore(ctx, s.o.S3)
		if err != nil {
			return err
		}
		s.store = st
	}
	c, err := newCache(s.o.CacheDir, s.o.CacheBytes, s.store)
	if err != nil {
		return err
	}
	s.cache = c
	return nil
}

// listing is the objects of one s3://bucket/prefix.
type listing struct {
	s              *Input
	from           int
	bucket, prefix string
	layout         *layout
	after          string          // keys up to here are in the manifest
	seen           map[string]bool // names behind after that are in the manifest
	added          []Object
}

// newListing asks for the first keys, so that what is wrong shows at once and
// the layout can be recognised.
func (s *Input) newListing(ctx context.Context, i int, rest string) (*listing, error) {
	l := &listing{s: s, from: i}
	l.bucket, l.prefix, _ = strings.Cut(rest, "/")
	if l.bucket == "" {
		return nil, &InputError{fmt.Errorf("s3://%s names no bucket", rest)}
	}
	for k := len(s.o.Frozen) - 1; k >= 0; k-- {
		o := s.o.Frozen[k]
		if o.From > i {
			// What follows in the manifest was listed after this was done.
			l.after = "\U0010ffff"
			break
		}
		if o.From == i && strings.HasPrefix(o.Name, "s3://"+l.bucket+"/") {
			_, l.after, _ = cutS3(o.Name)
			if archive, _, ok := strings.Cut(l.after, "!"); ok && isZip(archive) {
				// The archive is listed once more, for the members that are
				// not in the manifest.
				l.after = archive[:len(archive)-1]
				l.seen = map[string]bool{}
				for ; k >= 0 && s.o.Frozen[k].Name > "s3://"+l.bucket+"/"+l.after; k-- {
					l.seen[s.o.Frozen[k].Name] = true
				}
			}
			break
		}
	}
	page, err := s.store.List(ctx, ListRequest{Bucket: l.bucket, Prefix: l.prefix})
	if err != nil {
		return nil, err
	}
	if len(page.Keys) == 0 {
		return nil, &InputError{fmt.Errorf("there is nothing at s3://%s/%s", l.bucket, l.prefix)}
	}
	if !s.o.Since.IsZero() || !s.o.Until.IsZero() {
		var names []string
		for _, k := range page.Keys {
			names = append(names, k.Name)
		}
		if l.layout, err = s.chooseLayout(names); err != nil {
			return nil, err
		}
		if l.layout != nil {
			s.stats.Layout = l.layout.name
		}
	}
	return l, nil
}

func cutS3(name string) (bucket, key string, ok bool) {
	rest, ok := strings.CutPrefix(name, "s3://")
	if !ok {
		return "", "", false
	}
	bucket, key, ok = strings.Cut(rest, "/")
	return bucket, key, ok
}

func (l *listing) run(ctx context.Context) error {
	if l.after == "\U0010ffff" {
		return nil
	}
	var err error
	if l.layout != nil && l.layout.depth >= 0 {
		err = l.level(ctx, l.prefix)
	} else {
		err = l.flat(ctx, l.prefix)
	}
	if err != nil {
		return err
	}
	return l.flush()
}

func (l *listing) flush() error {
	err := l.s.publish(l.added)
	l.added = l.added[:0]
	return err
}

// flat lists everything below a prefix. The next page is asked for while one is
// looked at.
func (l *listing) flat(ctx context.Context, prefix string) error {
	type answer struct {
		page *ListPage
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ask := func(r ListRequest) chan answer {
		ch := make(chan answer, 1)
		go func() {
			page, err := l.s.store.List(ctx, r)
			ch <- answer{page, err}
		}()
		return ch
	}
	r := ListRequest{Bucket: l.bucket, Prefix: prefix, After: l.after}
	for ch := ask(r); ch != nil; {
		a := <-ch
		if a.err != nil {
			return a.err
		}
		ch = nil
		if a.page.Next != "" {
			r.Token = a.page.Next
			ch = ask(r)
		}
		for _, k := range a.page.Keys {
			if err := l.key(ctx, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// level goes down a folder at a time and does not enter those whose time is not
// asked for. Keys come in the order of a flat listing.
func (l *listing) level(ctx context.Context, prefix string) error {
	// Below the pattern's last folder nothing more is known.
	if strings.Count(prefix, "/") >= l.layout.depth+len(l.layout.parts) {
		return l.flat(ctx, prefix)
	}
	r := ListRequest{Bucket: l.bucket, Prefix: prefix, Delimiter: "/", After: l.after}
	if strings.HasPrefix(l.after, prefix) {
		// The folder that was being read is gone into again.
		if n := strings.IndexByte(l.after[len(prefix):], '/'); n >= 0 {
			r.After = l.after[:len(prefix)+n]
		}
	}
	for {
		page, err := l.s.store.List(ctx, r)
		if err != nil {
			return err
		}
		i := 0
		for _, p := range page.Prefixes {
			for ; i < len(page.Keys) && page.Keys[i].Name < p; i++ {
				if err := l.key(ctx, page.Keys[i]); err != nil {
					return err
				}
			}
			if p < l.after && !strings.HasPrefix(l.after, p) {
				continue
			}
			if sp, ok := l.layout.folder(p); ok && !sp.overlaps(l.s.o) {
				l.s.mu.Lock()
				l.s.stats.PrunedGroups++
				l.s.mu.Unlock()
				continue
			}
			if err := l.level(ctx, p); err != nil {
				return err
			}
		}
		for ; i < len(page.Keys); i++ {
			if err := l.key(ctx, page.Keys[i]); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		r.Token = page.Next
	}
}

func (l *listing) key(ctx context.Context, k Key) error {
	if k.Name <= l.after {
		return nil
	}
	s := l.s
	name := "s3://" + l.bucket + "/" + k.Name
	if k.Size == 0 || strings.HasSuffix(k.Name, "/") || marker(path.Base(k.Name)) || hidden(strings.TrimPrefix(k.Name, l.prefix)) {
		s.mu.Lock()
		s.stats.Skipped++
		s.mu.Unlock()
		return nil
	}
	if l.layout != nil || !s.o.Since.IsZero() || !s.o.Until.IsZero() {
		sp, ok := l.layout.span(k.Name)
		s.mu.Lock()
		out := ok && !sp.overlaps(s.o)
		if !ok {
			s.stats.Undated++
		} else if out {
			s.stats.Pruned++
			s.stats.PrunedBytes += k.Size
		}
		s.mu.Unlock()
		if out {
			return nil
		}
	}
	switch k.StorageClass {
	case "GLACIER", "DEEP_ARCHIVE":
		s.fail(fmt.Errorf("%s lies in the archive class %s and was not read: restore it first", name, k.StorageClass))
		return nil
	}
	obj := Object{Name: name, Size: k.Size, Fingerprint: k.ETag, ModTime: k.Modified, From: l.from}
	if isZip(k.Name) {
		z, err := zip.NewReader(&ranges{ctx: ctx, store: s.store, bucket: l.bucket, key: k.Name, etag: k.ETag, size: k.Size}, k.Size)
		if err != nil {
			s.fail(fmt.Errorf("%s cannot be read as a zip archive: %w", name, err))
			return nil
		}
		for _, f := range z.File {
			if !f.FileInfo().IsDir() && !marker(f.FileInfo().Name()) && !hidden(f.Name) {
				m := obj
				m.Name += "!" + f.Name
				if !l.seen[m.Name] {
					l.added = append(l.added, m)
				}
			}
		}
	} else if !l.seen[name] {
		l.added = append(l.added, obj)
	}
	if len(l.added) >= publishEvery {
		return l.flush()
	}
	return nil
}

func isZip(name string) bool {
	return len(name) > 4 && strings.EqualFold(name[len(name)-4:], ".zip")
}

// openRemote opens an object of a store and begins to fetch those behind it.
func (s *Input) openRemote(ctx context.Context, obj Object, index int) (*opened, error) {
	archive, member, zipped := strings.Cut(obj.Name, "!")
	if !zipped || !isZip(archive) {
		archive, member, zipped = obj.Name, "", false
	}
	whole := obj
	whole.Name = archive
	c := s.cache.get(whole, index, true)
	for k := index + 1; k <= index+aheadObjects; k++ {
		next := s.manifest.At(k)
		if next.Name == "" {
			break
		}
		if !strings.HasPrefix(next.Name, "s3://") {
			continue
		}
		if a, _, ok := strings.Cut(next.Name, "!"); ok && isZip(a) {
			next.Name = a
		}
		if ahead := s.cache.get(next, k, false); ahead == nil {
			break
		}
	}
	var at io.ReaderAt
	var stream io.Reader
	var done func() error
	if c != nil {
		r := &cachedReader{ctx: ctx, c: c}
		at, stream = r, io.NewSectionReader(r, 0, obj.Size)
		stop := context.AfterFunc(ctx, func() {
			c.owner.mu.Lock()
			c.owner.cond.Broadcast()
			c.owner.mu.Unlock()
		})
		done = func() error { stop(); s.cache.done(c); return nil }
	} else {
		// It is too large for the cache, or that is full of what others read.
		bucket, key, _ := cutS3(archive)
		body := &body{ctx: ctx, store: s.store, bucket: bucket, key: key, etag: obj.Fingerprint, size: obj.Size}
		at = &ranges{ctx: ctx, store: s.store, bucket: bucket, key: key, etag: obj.Fingerprint, size: obj.Size}
		stream = body
		done = body.Close
	}
	if !zipped {
		return &opened{Reader: stream, at: at, size: obj.Size, close: done}, nil
	}
	z, err := zip.NewReader(at, obj.Size)
	if err == nil {
		for _, f := range z.File {
			if f.Name == member {
				r, err := f.Open()
				if err != nil {
					done()
					return nil, fmt.Errorf("reading %s: %w", obj.Name, err)
				}
				return &opened{Reader: r, size: int64(f.UncompressedSize64), close: func() error { return errors.Join(r.Close(), done()) }}, nil
			}
		}
		err = errors.New("the archive has no such member")
	}
	done()
	return nil, fmt.Errorf("reading %s: %w", obj.Name, err)
}

// body reads an object from its beginning to its end over as many connections
// as it takes.
type body struct {
	ctx         context.Context
	store       Store
	bucket, key string
	etag        string
	size, off   int64
	rc          io.ReadCloser
	failures    int
}

func (b *body) Read(p []byte) (int, error) {
	for {
		if b.off >= b.size {
			return 0, io.EOF
		}
		if err := b.ctx.Err(); err != nil {
			return 0, err
		}
		var err error
		if b.rc == nil {
			b.rc, err = b.store.Get(b.ctx, b.bucket, b.key, b.etag, b.off)
		}
		if err == nil {
			var n int
			n, err = b.rc.Read(p[:min(int64(len(p)), b.size-b.off)])
			b.off += int64(n)
			if n > 0 {
				b.failures = 0
				return n, nil
			}
			if err == nil {
				continue
			}
			b.rc.Close()
			b.rc = nil
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
		}
		var changed *ChangedError
		var input *InputError
		if errors.As(err, &changed) || errors.As(err, &input) {
			return 0, err
		}
		// The connection broke: go on where it did, unless it does so again
		// and again at the same byte.
		if b.failures++; b.failures >= 6 {
			return 0, fmt.Errorf("s3://%s/%s breaks off at byte %d of %d: %w", b.bucket, b.key, b.off, b.size, err)
		}
		pause := time.NewTimer(time.Duration(10<<b.failures) * time.Millisecond)
		select {
		case <-pause.C:
		case <-b.ctx.Done():
			pause.Stop()
			return 0, b.ctx.Err()
		}
	}
}

func (b *body) Close() error {
	if b.rc != nil {
		return b.rc.Close()
	}
	return nil
}

// ranges reads pieces of an object, a mebibyte at a time.
type ranges struct {
	ctx         context.Context
	store       Store
	bucket, key string
	etag        string
	size        int64

	mu     sync.Mutex
	pieces []piece // the one used last is at the end
}

type piece struct {
	at   int64
	data []byte
}

const (
	pieceBytes = 1 << 20
	pieceCount = 8
)

func (r *ranges) ReadAt(p []byte, off int64) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) {
		if off >= r.size {
			return n, io.EOF
		}
		at := off / pieceBytes * pieceBytes
		i := slices.IndexFunc(r.pieces, func(x piece) bool { return x.at == at })
		var x piece
		if i >= 0 {
			x = r.pieces[i]
			r.pieces = slices.Delete(r.pieces, i, i+1)
		} else {
			x = piece{at, make([]byte, min(pieceBytes, r.size-at))}
			b := &body{ctx: r.ctx, store: r.store, bucket: r.bucket, key: r.key, etag: r.etag, size: r.size, off: at}
			_, err := io.ReadFull(b, x.data)
			b.Close()
			if err != nil {
				return n, err
			}
		}
		if len(r.pieces) >= pieceCount {
			r.pieces = slices.Delete(r.pieces, 0, 1)
		}
		r.pieces = append(r.pieces, x)
		k := copy(p[n:], x.data[off-at:])
		n += k
		off += int64(k)
	}
	return n, nil
}

// cache keeps fetched objects in files, so that objects are fetched ahead of
// the reader and only once for all readings that are near each other.
type cache struct {
	dir   string
	own   bool // the folder was made here
	cap   int64
	store Store

	mu       sync.Mutex
	cond     sync.Cond
	items    map[string]*cached
	used     int64
	low      uint32 // nothing before is read again
	fetching int
}

// cached is one object in the cache, complete or on its way.
type cached struct {
	owner   *cache
	name    string
	index   int
	size    int64
	f       *os.File
	have    int64
	err     error
	asked   bool // a reading has had it
	readers int
	fetched bool // the fetch has ended
	gone    bool // removed as soon as nobody uses it
	stop    context.CancelFunc
}

func newCache(dir string, capacity int64, store Store) (*cache, error) {
	if capacity <= 0 {
		capacity = 2 << 30
	}
	c := &cache{dir: dir, cap: capacity, store: store, items: map[string]*cached{}}
	c.cond.L = &c.mu
	if dir == "" {
		made, err := os.MkdirTemp("", "fanfold-objects-")
		if err != nil {
			return nil, fmt.Errorf("making a folder for fetched objects: %w", err)
		}
		c.dir, c.own = made, true
		return c, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder for fetched objects: %w", err)
	}
	// What a process that was killed left.
	old, err := filepath.Glob(filepath.Join(dir, "object-*"))
	if err != nil {
		return nil, err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("clearing the folder for fetched objects: %w", err)
		}
	}
	return c, nil
}

// get returns an object that is in the cache or begins to fetch it. nil says
// that there is no room. With wanted it counts as a reading, which ends with
// done.
func (c *cache) get(obj Object, index int, wanted bool) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.items[obj.Name]
	if it == nil {
		if !wanted {
			inFlight, unread := 0, int64(0)
			for _, x := range c.items {
				if !x.fetched {
					inFlight++
				}
				if !x.asked {
					unread += x.size
				}
			}
			if inFlight >= aheadObjects || unread+obj.Size > min(aheadBytes, c.cap/2) {
				return nil
			}
		}
		if !c.room(obj.Size, index, wanted) {
			return nil
		}
		f, err := os.CreateTemp(c.dir, "object-*")
		if err != nil {
			return nil // it is read without
		}
		ctx, stop := context.WithCancel(context.Background())
		it = &cached{owner: c, name: obj.Name, index: index, size: obj.Size, f: f, stop: stop}
		c.items[obj.Name] = it
		c.used += obj.Size
		bucket, key, _ := cutS3(obj.Name)
		c.fetching++
		go it.fetch(&body{ctx: ctx, store: c.store, bucket: bucket, key: key, etag: obj.Fingerprint, size: obj.Size})
	}
	it.index = max(it.index, index)
	if wanted {
		it.asked = true
		it.readers++
	}
	return it
}

// room makes space by dropping what nobody reads at the moment: what was read
// before, the oldest first.
func (c *cache) room(size int64, index int, wanted bool) bool {
	if size > c.cap {
		return false
	}
	for c.used+size > c.cap {
		var oldest *cached
		for _, x := range c.items {
			if x.readers == 0 && x.fetched && (x.asked || wanted) && (oldest == nil || x.index < oldest.index) {
				oldest = x
			}
		}
		if oldest == nil {
			return false
		}
		c.drop(oldest)
	}
	return true
}

// drop removes an item; c.mu is held.
func (c *cache) drop(it *cached) {
	if c.items[it.name] == it {
		delete(c.items, it.name)
	}
	if it.gone {
		return
	}
	it.gone = true
	it.stop()
	c.used -= it.size
	c.settle(it)
}

// settle frees an item that was dropped once nobody uses it; c.mu is held.
func (c *cache) settle(it *cached) {
	if it.gone && it.fetched && it.readers == 0 && it.f != nil {
		it.f.Close()
		os.Remove(it.f.Name()) // at worst the next process does
		it.f = nil
	}
}

func (c *cache) done(it *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	it.readers--
	if it.readers == 0 && (it.err != nil || uint32(it.index) < c.low) {
		c.drop(it)
	}
	c.settle(it)
}

// release drops what lies before an object.
func (c *cache) release(before uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.low = max(c.low, before)
	for _, it := range c.items {
		if uint32(it.index) < c.low && it.readers == 0 {
			c.drop(it)
		}
	}
}

func (c *cache) close() error {
	c.mu.Lock()
	for _, it := range c.items {
		c.drop(it)
	}
	for c.fetching > 0 {
		c.cond.Wait()
	}
	c.mu.Unlock()
	if c.own {
		return os.RemoveAll(c.dir)
	}
	return nil
}

func (it *cached) fetch(b *body) {
	c := it.owner
	defer b.Close()
	buf := make([]byte, 256<<10)
	var err error
	for err == nil {
		var n int
		n, err = b.Read(buf)
		if n > 0 {
			if _, werr := it.f.Write(buf[:n]); werr != nil {
				err = fmt.Errorf("keeping a fetched object: %w", werr)
				n = 0
			}
		}
		c.mu.Lock()
		it.have += int64(n)
		c.cond.Broadcast()
		c.mu.Unlock()
	}
	it.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != io.EOF {
		it.err = err
		if it.readers == 0 {
			c.drop(it) // whoever wants it tries again
		}
	}
	it.fetched = true
	c.fetching--
	c.settle(it)
	c.cond.Broadcast()
}

// cachedReader reads an item for one reading, waiting for what is on its way.
type cachedReader struct {
	ctx context.Context
	c   *cached
}

func (r *cachedReader) ReadAt(p []byte, off int64) (int, error) {
	it, c := r.c, r.c.owner
	want := min(off+int64(len(p)), it.size)
	c.mu.Lock()
	for it.have <= off && it.have < it.size && it.err == nil && !it.gone && r.ctx.Err() == nil {
		c.cond.Wait()
	}
	have, err, gone := it.have, it.err, it.gone
	c.mu.Unlock()
	switch {
	case r.ctx.Err() != nil:
		return 0, r.ctx.Err()
	case off >= it.size:
		return 0, io.EOF
	case have <= off && err != nil:
		return 0, err
	case have <= off && gone:
		return 0, errors.New("the source was closed")
	}
	// A stream takes what there is; whoever asks for a place gets all of it.
	n, err := it.f.ReadAt(p[:min(want, have)-off], off)
	if err == nil || err == io.EOF {
		if off+int64(n) < want {
			m, err := r.ReadAt(p[n:], off+int64(n))
			return n + m, err
		}
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	return n, err
}
