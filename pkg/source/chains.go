package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/event"
)

// chain is a local file in the manifest: one entry for what it had when it was first seen, and one for each piece
// appended since. It is identified by its bytes, not by its name, because a rotated log has another name.
type chain struct {
	entries []int  // indices in the manifest
	last    Object // the last of them
	end     int64  // how many bytes of the file are in the manifest
	// left is the part of it that could not be read.
	left []leftOver
	// barren is how many of the entries are damaged from the start.
	barren int
	// packed is the entry at which the file was found compressed: earlier entries are of the plain file. 0: it was
	// never compressed. found: it has just been found compressed, and has no such entry yet.
	packed int
	found  bool

	path string // current path; "": not found
	size int64  // when it was last looked at
	at   time.Time
}

// chains are the local files in a manifest. They are safe for concurrent use.
type chains struct {
	disk Disk
	void map[int]Place
	// barren are the entries that are damaged from the start.
	barren []int

	mu      sync.Mutex
	tails   map[int]Tail   // of entries that end in the middle of a record
	whole   map[Reason]int // bad records that were cut off when they were read and can now be read whole
	all     []*chain
	byEntry map[int]*chain
	claimed map[string]*chain // by path
	copies  map[string]seenFile
	seen    glances // used while chains are located
}

func newChains(d Disk, frozen []Object, void map[int]Place, barren []int) *chains {
	c := &chains{disk: d, void: void, barren: barren, byEntry: map[int]*chain{}, claimed: map[string]*chain{}}
	for i, o := range frozen {
		if o.Name != "" && !strings.Contains(o.Name, "://") && !isMember(d, o.Name) {
			c.add(i, o)
		}
	}
	return c
}

// isMember says whether a name is that of an archive's member.
func isMember(d Disk, name string) bool {
	if !strings.Contains(name, "!") {
		return false
	}
	_, member, err := split(d, name)
	return err == nil && member != "" || err != nil && isZip(name[:strings.IndexByte(name, '!')])
}

// add adds an entry of the manifest to its chain.
func (c *chains) add(i int, o Object) *chain {
	ch := c.byEntry[int(o.After)-1]
	if o.After == 0 || ch == nil {
		ch = &chain{}
		c.all = append(c.all, ch)
	}
	ch.left = slices.DeleteFunc(ch.left, func(l leftOver) bool {
		is := l.at == o.Begin && l.obj.Start == o.Start && l.obj.Size == o.Size && l.obj.Fingerprint == o.Fingerprint
		if is && l.at == l.obj.Begin { // it contains nothing
			ch.entries = slices.DeleteFunc(ch.entries, func(e int) bool { return e == l.entry })
		}
		return is
	})
	ch.entries = append(ch.entries, i)
	if o.Size >= ch.end || o.Skip > 0 {
		ch.last, ch.end = o, o.Size
	}
	if o.Skip > 0 {
		ch.packed, ch.found = i, false
	}
	c.byEntry[i] = ch
	if at, is := c.void[i]; is {
		ch.leave(i, o, at)
	}
	if slices.Contains(c.barren, i) {
		ch.barren++
	}
	return ch
}

// endsIn notes that an entry ends in the middle of a record.
func (c *chains) endsIn(entry int, tail Tail) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tails == nil {
		c.tails = map[int]Tail{}
	}
	c.tails[entry] = tail
}

// tail returns the place of the incomplete record at the end of the file, as far as the file was read.
func (c *chains) tail(ch *chain) (Tail, bool) {
	if ch.found || ch.packed > 0 || len(ch.entries) == 0 {
		return Tail{}, false
	}
	t, is := c.tails[ch.entries[len(ch.entries)-1]]
	return t, is
}

// rested returns a new entry for the unread last bytes of a file, if nobody has written to the file for long
// enough: then they count as a complete record.
func (c *chains) rested(ch *chain, rests func(time.Time) bool) (o Object, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, is := c.tail(ch)
	if !is || t.Kind != HeldOff || ch.path == "" || ch.size != ch.end || !rests(ch.at) {
		return o, false
	}
	o = ch.last
	o.Name, o.Begin, o.Open, o.After = ch.path, t.Place, Closed, uint32(ch.entries[len(ch.entries)-1]+1)
	return o, true
}

// holds says whether a file ends in an incomplete record that was not read.
func (c *chains) holds(ch *chain) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, is := c.tail(ch)
	return is && t.Kind == HeldOff && ch.path != ""
}

// ending adds to names those of files that end in something that was not read, by where they are now.
func (c *chains) ending(names []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.all {
		t, is := c.tail(ch)
		if ch.path == "" || slices.Contains(names, ch.path) {
			continue
		}
		if info, err := c.disk.Stat(ch.path); err == nil && (info.Size() > ch.end || is && t.Kind == HeldOff) {
			names = append(names, ch.path)
		}
	}
	return names
}

// completes notes that records which were cut off when they were read are complete now.
func (c *chains) completes(bad map[Reason]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.complete(bad)
}

func (c *chains) complete(bad map[Reason]int) {
	if c.whole == nil {
		c.whole = map[Reason]int{}
	}
	for reason, n := range bad {
		c.whole[reason] += n
	}
}

// leave notes that an entry was not read beyond a place.
func (ch *chain) leave(i int, o Object, at Place) {
	if l, is := leftOf(o, at); is {
		l.entry = i
		ch.left = append(ch.left, l)
	}
}

// untouched says whether nothing of the file was read.
func (ch *chain) untouched() bool {
	n := ch.barren
	for _, l := range ch.left {
		if l.at == (Place{}) {
			n++
		}
	}
	return n > 0 && n == len(ch.entries)
}

// end notes that an entry is no longer read beyond a place; false: the entry is not of a local file.
func (c *chains) end(i int, o Object, at Place) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.byEntry[i]
	if ch != nil {
		ch.leave(i, o, at)
	}
	return ch != nil
}

// leftOf returns entries for the parts of a file that could not be read, if the file is at a known path.
func (c *chains) leftOf(ch *chain) (some []Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.path == "" || ch.found || ch.packed > 0 {
		return nil
	}
	for _, l := range ch.left {
		o := l.obj
		o.Name, o.Begin, o.After = ch.path, l.at, uint32(ch.entries[len(ch.entries)-1]+1)
		some = append(some, o)
	}
	return some
}

// drop forgets a file of which nothing was read: another file has taken its name.
func (c *chains) drop(ch *chain) {
	c.complete(map[Reason]int{Truncated: ch.barren})
	c.all = slices.DeleteFunc(c.all, func(other *chain) bool { return other == ch })
	for _, i := range ch.entries {
		delete(c.byEntry, i)
		delete(c.tails, i)
	}
	if ch.path != "" {
		delete(c.claimed, ch.path)
	}
}

// note is add for new entries, whose files are where they were just found.
func (c *chains) note(from int, objects []Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, o := range objects {
		if strings.Contains(o.Name, "://") || isMember(c.disk, o.Name) {
			continue
		}
		ch := c.add(from+i, o)
		if ch.path == "" {
			ch.path, ch.size, ch.at = o.Name, o.Size, o.ModTime
		}
		c.claimed[ch.path] = ch
	}
}

// ofInput returns the chains of one address.
func (c *chains) ofInput(from int) (some []*chain) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.all {
		if ch.last.From == from {
			some = append(some, ch)
		}
	}
	return some
}

// forget removes the entries before one, and returns them. It keeps the last entry of each file that still exists,
// so that the file is recognised.
func (c *chains) forget(before int) (entries []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.all[:0]
	for _, ch := range c.all {
		last := ch.entries[len(ch.entries)-1]
		gone := last < before && ch.path == "" // with all that was in it
		ch.entries = slices.DeleteFunc(ch.entries, func(i int) bool {
			old := i < before && (i != last || gone)
			if old {
				delete(c.byEntry, i)
				delete(c.tails, i)
				entries = append(entries, i)
			}
			return old
		})
		if !gone {
			kept = append(kept, ch)
		}
	}
	clear(c.all[len(kept):])
	c.all = kept
	return entries
}

// isTwin says whether a compressed file contains what the chain knows of a plain file: log rotation may have
// compressed it.
func (c *chains) isTwin(ch *chain, path string) (is bool, err error) {
	f, info, err := openFile(c.disk, path)
	if err != nil {
		return false, err
	}
	defer f.Close() // nothing was written
	if codec := codecAt(f, 0); codec == "" || codec == "UTF-16" || continues(f, 0) != nil {
		return false, nil
	}
	plain, _, err := decompress(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		return false, nil // reading it will report the error
	}
	if z, ok := plain.(io.Closer); ok {
		defer z.Close()
	}
	print, err := fingerprintOf(plain, ch.last.Size)
	if err != nil || print != ch.last.Fingerprint {
		return false, nil
	}
	ch.path, ch.size, ch.at, ch.found = path, info.Size(), info.ModTime(), true
	return true, nil
}

// fingerprintOf is the fingerprint of the first size bytes of a stream.
func fingerprintOf(r io.Reader, size int64) (string, error) {
	const part = 64 << 10
	h := xxh3.New()
	fmt.Fprintf(h, "%d:", size)
	if _, err := io.CopyN(h, r, min(size, part)); err != nil {
		return "", err
	}
	if size > part {
		from := max(part, size-part)
		if _, err := io.CopyN(io.Discard, r, from-part); err != nil {
			return "", err
		}
		if _, err := io.CopyN(h, r, size-from); err != nil {
			return "", err
		}
	}
	return printed(size, h), nil
}

// glances cache what was found out about files and folders while chains are located, because many chains are
// searched for among the same files.
type glances struct {
	files   map[string]*glance
	folders map[string][]fs.DirEntry
	begins  map[string][]byte
}

// glance is one file: its size, and fingerprints of its first bytes.
type glance struct {
	err    error
	size   int64
	at     time.Time
	prints map[int64]string // by the number of bytes
}

// print is the fingerprint of the first size bytes of a file; "": it is shorter.
func (c *chains) print(path string, size int64) (g *glance, print string, err error) {
	if g = c.seen.files[path]; g == nil {
		g = &glance{prints: map[int64]string{}}
		c.seen.files[path] = g
	} else if old, known := g.prints[size]; known || g.err != nil || g.size < size {
		return g, old, g.err
	}
	f, info, err := openFile(c.disk, path)
	if err != nil {
		g.err = err
		return g, "", err
	}
	defer f.Close() // nothing was written
	if g.size, g.at = info.Size(), info.ModTime(); g.size < size {
		return g, "", nil
	}
	at := &faultReaderAt{f, &fault{}, path, info.Size()}
	if print, err = fingerprint(at, size); err == nil {
		g.prints[size] = print
	}
	return g, print, err
}

// entries lists a folder.
func (c *chains) entries(dir string) ([]fs.DirEntry, error) {
	if list, known := c.seen.folders[dir]; known {
		return list, nil
	}
	list, err := c.disk.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	c.seen.folders[dir] = list
	return list, nil
}

// isAt says whether a chain's file is at a path.
func (c *chains) isAt(ch *chain, path string) (is bool, err error) {
	g, print, err := c.print(path, ch.last.Size)
	if err != nil || print == "" || print != ch.last.Fingerprint {
		return false, err
	}
	ch.path, ch.size, ch.at = path, g.size, g.at
	return true, nil
}

// locate finds the current paths of the files: under their own names, or as another file of names or of their
// folder whose name begins the same. It looks at the newest chain first, because the original name of a log
// belongs to the file that is written now.
func (c *chains) locate(names []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = glances{map[string]*glance{}, map[string][]fs.DirEntry{}, map[string][]byte{}}
	defer func() { c.seen = glances{} }()
	var lost []*chain
	claimed := map[string]*chain{}
	for _, ch := range slices.Backward(c.all) {
		is := false
		if ch.path != "" && claimed[ch.path] == nil && c.unchanged(ch) {
			is = true
		}
		for _, path := range []string{ch.path, ch.last.Name} {
			if is || path == "" || claimed[path] != nil {
				continue
			}
			var err error
			if is, err = c.isAt(ch, path); err != nil && !errors.Is(err, fs.ErrNotExist) && !isOwn(path, err) {
				return fmt.Errorf("looking at %s: %w", path, err)
			}
		}
		if is {
			claimed[ch.path] = ch
			continue
		}
		ch.path = ""
		lost = append(lost, ch)
	}
	c.claimed = claimed
	for _, ch := range lost {
		if err := c.search(ch, names); err != nil {
			return err
		}
	}
	return nil
}

// unchanged says whether a file is the same as when it was last looked at, by its time and size.
func (c *chains) unchanged(ch *chain) bool {
	info, err := c.disk.Stat(ch.path)
	return err == nil && info.Size() == ch.size && info.ModTime().Equal(ch.at) && info.Mode().IsRegular()
}

// mostSiblings bounds how many files are compared as a whole with one that was moved.
const mostSiblings = 2000

// search looks for the file of a chain that is not under its name any more: beside it, and among names.
func (c *chains) search(ch *chain, names []string) error {
	dir, base := filepath.Split(ch.last.Name)
	stem, _, _ := strings.Cut(base, ".")
	entries, err := c.entries(filepath.Clean(dir))
	if err != nil && !isOwn(dir, err) {
		return err
	}
	var candidates []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stem) && e.Type().IsRegular() {
			candidates = append(candidates, filepath.Join(dir, e.Name()))
		}
	}
	compared := 0
	for _, path := range slices.Concat(candidates, names) {
		if c.claimed[path] != nil || c.beginsApart(ch, path) {
			continue
		}
		if compared++; compared > mostSiblings {
			break
		}
		if is, err := c.isAt(ch, path); err == nil && is {
			c.claimed[path] = ch
			return nil
		}
	}
	if ch.last.Size == 0 || ch.packed > 0 {
		return nil
	}
	compared = 0
	for _, path := range slices.Concat(candidates, names) {
		if c.claimed[path] != nil || !strings.HasPrefix(filepath.Base(path), stem) {
			continue
		}
		if compared++; compared > mostSiblings {
			break
		}
		if is, err := c.isTwin(ch, path); err == nil && is {
			c.claimed[path] = ch
			return nil
		}
	}
	return nil
}

// beginsApart says whether a file begins otherwise than a chain's, which is seen without reading all of it.
func (c *chains) beginsApart(ch *chain, path string) bool {
	first, _, _ := strings.Cut(ch.last.Head, "/")
	size := int(headSize(ch.last.Head))
	if size == 0 {
		return false
	}
	begins, known := c.seen.begins[path]
	if !known {
		f, _, err := openFile(c.disk, path)
		if err != nil {
			return false // comparing it will say so
		}
		defer f.Close() // nothing was written
		begins = make([]byte, mostOfBeginning)
		n, _ := f.ReadAt(begins, 0)
		begins = begins[:n]
		if len(c.seen.begins) < mostSiblings {
			c.seen.begins[path] = begins
		}
	}
	return len(begins) >= size && printOf(begins[:size]) != first
}

// named is the newest chain whose file last had this name.
func (c *chains) named(name string) *chain {
	for _, ch := range slices.Backward(c.all) {
		if ch.last.Name == name {
			return ch
		}
	}
	return nil
}

// whereIs returns the path of an entry's file, and searches for the file if it is not where it was.
func (c *chains) whereIs(entry int, name string) (path string, packed bool) {
	c.mu.Lock()
	ch := c.byEntry[entry]
	if ch == nil {
		c.mu.Unlock()
		return name, false
	}
	known := ch.path != "" && c.unchanged(ch)
	c.mu.Unlock()
	if !known {
		if err := c.locate(nil); err != nil {
			return name, false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.path == "" {
		return name, false
	}
	return ch.path, ch.found || entry < ch.packed
}

// isThere says whether the file of an entry is found, wherever it is by now.
func (c *chains) isThere(entry int) bool {
	c.mu.Lock()
	ch := c.byEntry[entry]
	c.mu.Unlock()
	if ch == nil || c.locate(nil) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return ch.path != ""
}

// grown returns the entry for what was appended to a file since the manifest was written; ok is false if nothing
// was. settled, if not nil, is asked whether a compressed file has stopped growing; the last line without a line end is
// then left for later, too, until the file rests. For a followed file, read is asked whether an entry has been read,
// because only then is it known in what the entry ended.
func (c *chains) grown(
	ch *chain, settled func(string, fs.FileInfo) bool, rests func(time.Time) bool, read func(entry int) bool,
) (o Object, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.path == "" || ch.size <= ch.end && !ch.found {
		return o, false, nil
	}
	f, info, err := openFile(c.disk, ch.path)
	if err != nil {
		return o, false, err
	}
	defer f.Close() // nothing was written
	at := &faultReaderAt{f, &fault{}, ch.path, info.Size()}
	is, err := c.stillIs(ch, at)
	if err != nil || !is {
		return o, false, err
	}
	o = Object{Name: ch.path, Size: info.Size(), Start: 0, ModTime: info.ModTime(), From: ch.last.From,
		After: uint32(ch.entries[len(ch.entries)-1] + 1)}
	codec := codecAt(at, 0)
	packed := codec != ""
	if o.Head, err = headOf(at, o.Size); err != nil {
		return o, false, err
	}
	if ch.found {
		o.Start, o.Skip = 0, ch.end
		o.Fingerprint, err = fingerprint(at, o.Size)
		return o, err == nil, err
	}
	if settled != nil && packed && !settled(ch.path, info) {
		return o, false, nil
	}
	if settled != nil && !read(ch.entries[len(ch.entries)-1]) {
		return o, false, nil
	}
	tail, cut := c.tail(ch)
	switch {
	case ch.end < leastEvent && canGrow(codec): // there was no record yet, and perhaps not even a sign of what it is
	case cut && canGrow(codec) && (tail.Kind != Whole || packed && continues(at, ch.end) != nil):
		// The incomplete record is read again from its beginning.
		o.Start, o.Begin = ch.last.Start, tail.Place
	case cut && !packed && tail.Kind == Whole && beginsAsJSON(at):
		o.Start, cut = ch.end, false
	case ch.end > 0:
		if err = continues(at, ch.end); err != nil {
			return o, false, &ChangedError{Object: ch.path, What: err.Error()}
		}
		if o.Start, err = startOfGrowth(at, ch.end); err != nil {
			return o, false, err
		}
		cut = o.Start < ch.end && beginsAsJSON(at)
	}
	if settled != nil && !packed && !rests(info.ModTime()) {
		if o.Size, err = wholeLines(at, ch.end, o.Size); err != nil || o.Size <= ch.end {
			return o, false, err
		}
	}
	if o.Fingerprint, err = fingerprint(at, o.Size); err == nil && cut && tail.Kind == CutOff {
		if tail.Bad == nil {
			tail.Bad = map[Reason]int{Truncated: 1}
		}
		c.complete(tail.Bad)
	}
	return o, err == nil, err
}

// stillIs says whether an open file is the chain's, although it may have been emptied or replaced since it was found.
func (c *chains) stillIs(ch *chain, at *faultReaderAt) (is bool, err error) {
	if ch.found {
		return true, nil // it is compared when it is read
	}
	if at.size >= ch.last.Size {
		print, err := fingerprint(at, ch.last.Size)
		if err != nil || print == ch.last.Fingerprint {
			return err == nil, err
		}
	}
	ch.at = time.Time{} // it is looked for again
	return false, nil
}

// beginsAsJSON says whether a plain file begins as JSON, so that it is no table.
func beginsAsJSON(at io.ReaderAt) bool {
	var first [1]byte
	n, _ := at.ReadAt(first[:], 0)
	return n == 1 && (first[0] == '{' || first[0] == '[')
}

// leastEvent is a size below which a file cannot contain an event.
const leastEvent = 16

// canGrow says whether a file with this compression may end in the middle, and be continued later.
func canGrow(codec string) bool {
	switch codec {
	case "Parquet", "a zip archive", "Avro": // the end says what is in it, or what is behind its blocks is another file
		return false
	}
	return true
}

// continues checks that what comes after a place of a file can be a continuation of what comes before it.
func continues(at io.ReaderAt, end int64) error {
	codec := codecAt(at, 0)
	switch codec {
	case "":
		return nil
	case "gzip", "zstd", "bzip2", "xz", "lz4", "snappy":
		if codecAt(at, end) == codec {
			return nil
		}
		return fmt.Errorf("it has grown, and what is new is no %s stream of its own: it was being written when it was read",
			codec)
	case wideLittle:
		if end%2 == 0 {
			return nil
		}
	}
	return fmt.Errorf("it has grown, and is %s, which cannot be appended to", codec)
}

// codecAt names the compression or kind of file that begins at a place; "": none.
func codecAt(at io.ReaderAt, from int64) string {
	var head [265]byte
	n, _ := at.ReadAt(head[:], from)
	has := func(magic string) bool { return bytes.HasPrefix(head[:n], []byte(magic)) }
	switch {
	case has("\x1f\x8b"):
		return "gzip"
	case has("\x28\xb5\x2f\xfd"), n >= 4 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18":
		return "zstd"
	case has("BZh"):
		return "bzip2"
	case has("\xfd7zXZ\x00"):
		return "xz"
	case has("\x04\x22\x4d\x18"):
		return "lz4"
	case has("\xff\x06\x00\x00"):
		return "snappy"
	case has("\xff\xfe"), has("\xfe\xff"):
		return "UTF-16"
	case has("PAR1"):
		return "Parquet"
	case has("Obj\x01"):
		return "Avro"
	case has("PK"):
		return "a zip archive"
	case n >= tarHead && string(head[257:tarHead]) == "ustar":
		return "a tar archive"
	}
	return ""
}

// startOfGrowth returns where to start reading what was appended at a place. That is the place itself, unless the
// file then ended in the middle of a line that was no record: that line is read again, whole.
func startOfGrowth(at io.ReaderAt, end int64) (int64, error) {
	if codecAt(at, 0) != "" {
		return end, nil
	}
	var around [2]byte
	if _, err := at.ReadAt(around[:], end-1); err != nil {
		return 0, err
	}
	if around[0] == '\n' || around[1] == '\n' || around[1] == '\r' {
		return end, nil
	}
	from := max(0, end-DefaultMaxRecord)
	line, err := lastLine(at, from, end)
	if err != nil {
		return 0, err
	}
	if areValues(line) {
		return end, nil // what is in the last line are records, and another record follows
	}
	return end - int64(len(line)), nil
}

// areValues says whether a text is one whole document of JSON, or several.
func areValues(text []byte) bool {
	i := event.SkipSpace(text, 0)
	for i < len(text) {
		end, ok := scanValue(text, i)
		if !ok && end < len(text) || event.Valid(text[i:end]) != nil {
			return false
		}
		i = event.SkipSpace(text, end)
	}
	return len(text) > 0
}

// lastLine is the text after the last line end in a part of a file.
func lastLine(at io.ReaderAt, from, end int64) (line []byte, err error) {
	const step = 64 << 10
	for end > from {
		n := min(step, end-from)
		part := make([]byte, n, int(n)+len(line))
		if _, err := at.ReadAt(part, end-n); err != nil {
			return nil, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return append(part[i+1:], line...), nil
		}
		line, end = append(part, line...), end-n
	}
	return line, nil
}

// wholeLines is the size of a part of a file up to its last line end.
func wholeLines(at io.ReaderAt, start, size int64) (int64, error) {
	line, err := lastLine(at, max(start, size-DefaultMaxRecord), size)
	if err != nil || int64(len(line)) >= DefaultMaxRecord {
		return size, err // longer than a record may be, so it will be rejected as it is
	}
	return size - int64(len(line)), nil
}
