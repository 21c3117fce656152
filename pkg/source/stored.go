package source

import (
	"archive/zip"
	"cmp"
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

	"github.com/zeebo/xxh3"
)

const (
	aheadObjects = 6       // fetched at the same time
	aheadBytes   = 1 << 30 // at most, of objects that no reading has asked for yet
	publishEvery = 1000    // objects
)

// stored lists and opens the objects of a store, whose addresses are scheme://bucket/key.
type stored struct {
	s      *Input
	prefix string // "s3://"
	store  Store
	cache  *cache
	// listings are those of followed input, by their index in Options.From.
	listings map[int]*listing
}

// inStore makes the reader of a store's objects for the addresses of a scheme.
func inStore(s *Input, scheme string, store Store) (objects, error) {
	c, err := newCache(s.o.Disk, s.o.CacheDir, s.o.CacheBytes)
	if err != nil {
		return nil, err
	}
	return &stored{s, scheme + "://", store, c, map[int]*listing{}}, nil
}

func (k *stored) release(before uint32) { k.cache.release(before) }
func (k *stored) close() error          { return k.cache.close() }

// cut splits a name into bucket and key.
func (k *stored) cut(name string) (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(name, k.prefix), "/")
	return bucket, key
}

// body reads an object from an offset on.
func (k *stored) body(ctx context.Context, obj Object, off int64) *body {
	bucket, key := k.cut(obj.Name)
	return &body{
		ctx: ctx, store: k.store, bucket: bucket, key: key, name: obj.Name,
		etag: obj.Fingerprint, size: obj.Size, off: off,
	}
}

// listing lists the objects of one bucket and prefix.
type listing struct {
	*stored
	from           int
	bucket, prefix string
	layout         *layout
	known          known                   // what the manifest had of it before
	seen           map[xxh3.Uint128]uint64 // what was found since, if it is followed
	added          []Object
}

// known are objects as sorted hashes of their names, with the hashes of their etags, because there may be
// millions.
type known []knownObject

type knownObject struct {
	name xxh3.Uint128
	tag  uint64
}

// has says whether an object with this name is known, and one with the same etag, too. There may be several with
// one name: one that could not be read, and the one that replaced it.
func (k known) has(name xxh3.Uint128, tag uint64) (had, same bool) {
	i, _ := slices.BinarySearchFunc(k, name, func(o knownObject, n xxh3.Uint128) int { return compare128(o.name, n) })
	for ; i < len(k) && k[i].name == name && !same; i++ {
		had, same = true, k[i].tag == tag
	}
	return had, same
}

// has says whether an object is in the manifest, or was found before. If it has changed since, it is refused: what
// was read of it is not what is there now.
func (l *listing) has(o Object) bool {
	name, tag := xxh3.HashString128(o.Name), xxh3.HashString(o.Fingerprint)
	before, had := l.seen[name]
	same := before == tag
	if !had {
		had, same = l.known.has(name, tag)
	}
	if replaced := l.s.isReplaced(o); l.seen != nil && (!had || replaced) {
		l.seen[name] = tag
		had = had && !replaced
	}
	if had && !same {
		l.s.fail(changedf(o.Name, "it has another etag"))
	}
	return had
}

func compare128(a, b xxh3.Uint128) int {
	return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo))
}

// list asks for the first keys, so that mistakes are found at once and the layout can be recognised.
//
// Everything is listed again, even if it was listed before: an object may have come in between others, or may have
// been skipped because it could not be read at the time.
func (k *stored) list(ctx context.Context, from int, address string) (lister, error) {
	if l := k.listings[from]; l != nil { // it is followed
		return l.run, nil
	}
	l := &listing{stored: k, from: from}
	if k.s.o.Follow != nil {
		l.seen = map[xxh3.Uint128]uint64{}
		k.listings[from] = l
	}
	l.bucket, l.prefix = k.cut(address)
	if l.bucket == "" {
		return nil, inputf("%s names no bucket", address)
	}
	s := k.s
	for _, o := range s.o.Frozen {
		if o.From == from && strings.HasPrefix(o.Name, k.prefix) && !s.wasUnread(o.Name) {
			l.known = append(l.known, knownObject{xxh3.HashString128(o.Name), xxh3.HashString(o.Fingerprint)})
		}
	}
	slices.SortFunc(l.known, func(a, b knownObject) int { return compare128(a.name, b.name) })
	page, err := k.store.List(ctx, ListRequest{Bucket: l.bucket, Prefix: l.prefix})
	if err != nil {
		return nil, err
	}
	if len(page.Keys) == 0 && !s.o.AllowEmpty {
		return nil, inputf("there is nothing at %s (--allow-empty takes that for no events)", address)
	}
	if !s.o.Since.IsZero() || !s.o.Until.IsZero() {
		var names []string
		for _, key := range page.Keys {
			names = append(names, key.Name)
		}
		if l.layout, err = s.o.chooseLayout(names); err != nil {
			return nil, err
		}
		if l.layout != nil {
			s.stats.Layout = l.layout.name
		}
	}
	return l.run, nil
}

func (l *listing) run(ctx context.Context) error {
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

// flat lists everything below a prefix. The next page is requested while the current one is processed.
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
			page, err := l.store.List(ctx, r)
			ch <- answer{page, err}
		}()
		return ch
	}
	r := ListRequest{Bucket: l.bucket, Prefix: prefix}
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

// level lists one folder level at a time, and does not enter folders whose time was not asked for. Keys come in
// the same order as in a flat listing.
func (l *listing) level(ctx context.Context, prefix string) error {
	// Below the pattern's last folder there is no further time to check.
	if strings.Count(prefix, "/") >= l.layout.depth+len(l.layout.parts) {
		return l.flat(ctx, prefix)
	}
	r := ListRequest{Bucket: l.bucket, Prefix: prefix, Delimiter: "/"}
	for {
		page, err := l.store.List(ctx, r)
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

// key adds one object to the manifest, or the members of an archive, unless it is there already or was not asked
// for.
func (l *listing) key(ctx context.Context, k Key) error {
	s := l.s
	name := l.stored.prefix + l.bucket + "/" + k.Name
	obj := Object{Name: name, Size: k.Size, Fingerprint: k.ETag, ModTime: k.Modified, From: l.from}
	if k.Size == 0 || strings.HasSuffix(k.Name, "/") || marker(path.Base(k.Name)) ||
		hidden(strings.TrimPrefix(k.Name, l.prefix)) {
		s.skip()
		return nil
	}
	if l.pruned(k) {
		return nil
	}
	if k.Size < 0 {
		s.fail(fmt.Errorf("%s was not read: its store does not say how large it is, so a part of it could be taken for all",
			name))
		return nil
	}
	switch k.StorageClass {
	case "GLACIER", "DEEP_ARCHIVE":
		if had, _ := l.known.has(xxh3.HashString128(obj.Name), 0); !had {
			s.fail(fmt.Errorf("%s lies in the archive class %s and was not read: restore it first",
				obj.Name, k.StorageClass))
		}
		return nil
	}
	found := []Object{obj}
	if isZip(k.Name) {
		var err error
		if found, err = l.members(ctx, obj); err != nil {
			s.fail(fmt.Errorf("%s was not read: %w", obj.Name, err))
			return nil
		}
	}
	for _, o := range found {
		if l.has(o) {
			continue
		}
		if left, ok := s.rest(ctx, o); ok {
			l.added = append(l.added, left)
		}
	}
	if len(l.added) >= publishEvery {
		return l.flush()
	}
	return nil
}

// pruned says whether a key's path shows that the object contains nothing of the requested time.
func (l *listing) pruned(k Key) bool {
	s := l.s
	if l.layout == nil && s.o.Since.IsZero() && s.o.Until.IsZero() {
		return false
	}
	sp, ok := l.layout.span(k.Name)
	out := ok && !sp.overlaps(s.o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok {
		s.stats.Undated++
	} else if out {
		s.stats.Pruned++
		s.stats.PrunedBytes += k.Size
	}
	return out
}

// members are the objects in an archive. A damaged archive is one object, and reading it reports the damage.
func (l *listing) members(ctx context.Context, archive Object) (found []Object, err error) {
	flt := &fault{}
	at := &faultReaderAt{&ranges{ctx: ctx, stored: l.stored, obj: archive}, flt, archive.Name, archive.Size}
	z, err := zip.NewReader(at, archive.Size)
	if flt.fatal() != nil {
		return nil, flt.fatal()
	}
	if err != nil {
		return []Object{archive}, nil
	}
	for _, f := range z.File {
		if !f.FileInfo().IsDir() && !marker(f.FileInfo().Name()) && !hidden(f.Name) {
			m := archive
			m.Name += "!" + f.Name
			found = append(found, m)
		}
	}
	return found, nil
}

func isZip(name string) bool {
	return len(name) > 4 && strings.EqualFold(name[len(name)-4:], ".zip")
}

// cutMember splits an object's name into archive and member.
func cutMember(name string) (archive, member string) {
	for i := range len(name) {
		if name[i] == '!' && isZip(name[:i]) {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

// open opens an object of a store, and starts to fetch the next ones.
func (k *stored) open(ctx context.Context, obj Object, index int) (*opened, error) {
	whole := obj
	var member string
	whole.Name, member = cutMember(obj.Name)
	c := k.cache.get(k, whole, index, true)
	k.fetchAhead(index)
	o := &opened{size: obj.Size, fault: &fault{}, close: func() error { return nil }}
	var at io.ReaderAt
	var stream io.Reader
	if c != nil {
		r := &cachedReader{ctx: ctx, c: c}
		at, stream = r, io.NewSectionReader(r, 0, obj.Size)
		stop := context.AfterFunc(ctx, func() {
			c.owner.mu.Lock()
			c.owner.cond.Broadcast()
			c.owner.mu.Unlock()
		})
		o.close = func() error { stop(); k.cache.done(c); return nil }
	} else {
		// It is too large for the cache, or the cache is full of what other readings need.
		b := k.body(ctx, whole, 0)
		at, stream = &ranges{ctx: ctx, stored: k, obj: whole}, b
		o.close = b.Close
	}
	o.at = &faultReaderAt{at, o.fault, whole.Name, obj.Size}
	o.Reader = &faultReader{Reader: stream, fault: o.fault, name: obj.Name, size: obj.Size}
	if member == "" {
		return o, nil
	}
	m, err := openMember(o.at, o.fault, obj.Size, member, obj)
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	inner := m.close
	m.close = func() error { return errors.Join(inner(), o.close()) }
	return m, nil
}

// fetchAhead starts to fetch the objects after one.
func (k *stored) fetchAhead(index int) {
	for i := index + 1; i <= index+aheadObjects; i++ {
		next := k.s.manifest.At(i)
		if next.Name == "" {
			return
		}
		if !strings.HasPrefix(next.Name, k.prefix) {
			continue
		}
		next.Name, _ = cutMember(next.Name)
		if k.cache.get(k, next, i, false) == nil {
			return
		}
	}
}

// body reads an object from its beginning to its end, over as many connections as are needed.
type body struct {
	ctx         context.Context
	store       Store
	bucket, key string
	name        string
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
		if errors.As(err, new(*ChangedError)) || errors.As(err, new(*InputError)) {
			return 0, err
		}
		// The connection broke: continue from the same byte, unless it breaks there again and again.
		if b.failures++; b.failures >= 6 {
			return 0, fmt.Errorf("%s breaks off at byte %d of %d: %w", b.name, b.off, b.size, err)
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

// ranges reads pieces of an object, one mebibyte at a time.
type ranges struct {
	ctx    context.Context
	stored *stored
	obj    Object

	mu     sync.Mutex
	pieces []piece // the most recently used one is last
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
		if off >= r.obj.Size {
			return n, io.EOF
		}
		at := off / pieceBytes * pieceBytes
		i := slices.IndexFunc(r.pieces, func(x piece) bool { return x.at == at })
		var x piece
		if i >= 0 {
			x = r.pieces[i]
			r.pieces = slices.Delete(r.pieces, i, i+1)
		} else {
			x = piece{at, make([]byte, min(pieceBytes, r.obj.Size-at))}
			b := r.stored.body(r.ctx, r.obj, at)
			_, err := io.ReadFull(b, x.data)
			if err = errors.Join(err, b.Close()); err != nil {
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

// cache keeps fetched objects in files. So objects are fetched ahead of the reader, and only once for all readings
// that are close to each other.
type cache struct {
	disk Disk
	dir  string
	own  bool // the folder was created here
	cap  int64

	mu       sync.Mutex
	cond     sync.Cond
	items    map[string]*cached
	used     int64
	low      uint32 // nothing before this entry will be read again
	fetching int
	made     int // number of files created so far
}

// cached is one object in the cache, completely or partly fetched.
type cached struct {
	owner   *cache
	name    string
	index   int
	size    int64
	f       File
	have    int64
	err     error
	asked   bool // a reading has used it
	readers int
	fetched bool // the fetch has ended
	gone    bool // to be removed as soon as nobody uses it
	stop    context.CancelFunc
}

func newCache(disk Disk, dir string, capacity int64) (*cache, error) {
	if capacity <= 0 {
		capacity = 2 << 30
	}
	c := &cache{disk: disk, dir: dir, cap: capacity, items: map[string]*cached{}}
	c.cond.L = &c.mu
	if dir == "" {
		made, err := os.MkdirTemp("", "fanfold-objects-")
		if err != nil {
			return nil, fmt.Errorf("making a folder for fetched objects: %w", err)
		}
		c.dir, c.own = made, true
		return c, nil
	}
	if err := disk.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("making a folder for fetched objects: %w", err)
	}
	// Files that a killed process has left.
	old, err := filesLike(disk, dir, "object-*")
	if err != nil {
		return nil, fmt.Errorf("clearing the folder for fetched objects: %w", err)
	}
	for _, name := range old {
		if err := disk.Remove(name); err != nil {
			return nil, fmt.Errorf("clearing the folder for fetched objects: %w", err)
		}
	}
	return c, nil
}

// get returns an object in the cache, or starts to fetch it. nil means that there is no space. With wanted it
// counts as a reading, which has to call done.
func (c *cache) get(k *stored, obj Object, index int, wanted bool) *cached {
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
		if !c.room(obj.Size, wanted) {
			return nil
		}
		c.made++
		f, err := c.disk.Create(filepath.Join(c.dir, fmt.Sprintf("object-%d", c.made)), os.O_RDWR|os.O_TRUNC)
		if err != nil {
			return nil // the object is read without a copy
		}
		ctx, stop := context.WithCancel(context.Background())
		it = &cached{owner: c, name: obj.Name, index: index, size: obj.Size, f: f, stop: stop}
		c.items[obj.Name] = it
		c.used += obj.Size
		c.fetching++
		go it.fetch(k.body(ctx, obj, 0))
	}
	it.index = max(it.index, index)
	if wanted {
		it.asked = true
		it.readers++
	}
	return it
}

// room makes space by dropping objects that nobody reads at the moment: first those that were read already, oldest
// first.
func (c *cache) room(size int64, wanted bool) bool {
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

// settle frees a dropped item once nobody uses it; c.mu is held.
func (c *cache) settle(it *cached) {
	if it.gone && it.fetched && it.readers == 0 && it.f != nil {
		it.f.Close()
		c.disk.Remove(it.f.Name()) // if that fails, the next process removes it
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

// release drops the objects before an entry.
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
			c.drop(it) // the next reading that wants it tries again
		}
	}
	it.fetched = true
	c.fetching--
	c.settle(it)
	c.cond.Broadcast()
}

// cachedReader reads a cached object for one reading. It waits for parts that are not fetched yet.
type cachedReader struct {
	ctx context.Context
	c   *cached
}

func (r *cachedReader) ReadAt(p []byte, off int64) (n int, err error) {
	it := r.c
	for n < len(p) {
		have, err := r.wait(off + int64(n))
		if err != nil {
			return n, err
		}
		part := p[n:min(int64(len(p)), have-off)]
		k, err := it.f.ReadAt(part, off+int64(n))
		n += k
		switch {
		case k == len(part):
		case err == io.EOF:
			return n, fmt.Errorf("the copy of %s on the disk has lost its end", it.name)
		default:
			return n, err
		}
	}
	return n, nil
}

// wait waits until the object has more bytes than an offset, and returns how many there are.
func (r *cachedReader) wait(off int64) (have int64, err error) {
	it, c := r.c, r.c.owner
	c.mu.Lock()
	defer c.mu.Unlock()
	for it.have <= off && it.have < it.size && it.err == nil && !it.gone && r.ctx.Err() == nil {
		c.cond.Wait()
	}
	switch {
	case r.ctx.Err() != nil:
		return 0, r.ctx.Err()
	case off >= it.size:
		return 0, io.EOF
	case it.have > off:
		return it.have, nil
	case it.err != nil:
		return 0, it.err
	}
	return 0, errors.New("the source was closed")
}
