package source

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/zeebo/xxh3"
)

// Files is the scheme of local paths: files, folders, globs, and pipes.
func Files() Scheme {
	return Scheme{
		Name:    "file",
		Form:    "a file, a directory, a glob",
		Objects: func(_ context.Context, s *Input) (objects, error) { return &files{s}, nil },
		Stream:  pipeAt,
	}
}

// files lists and opens local files.
type files struct{ s *Input }

// list resolves a path, a folder or a glob immediately.
func (l *files) list(ctx context.Context, from int, address string) (lister, error) {
	names, err := l.resolve(address)
	if err != nil {
		return nil, err
	}
	if err = l.s.local.locate(names); err != nil {
		return nil, err
	}
	if len(names) == 1 && names[0] == address {
		names = append(l.s.local.between(address), address)
	}
	if names, err = l.prune(names); err != nil {
		return nil, err
	}
	if err := l.rest(ctx, names); err != nil {
		return nil, err
	}
	if !l.s.listed {
		l.refuse(from)
	}
	return func(ctx context.Context) error { return l.add(ctx, from, names) }, nil
}

// refuse notes the entries of an address whose files have changed.
func (l *files) refuse(from int) {
	for i, o := range l.s.o.Frozen {
		if at, is := l.s.o.Void[i]; o.From != from || isRemote(o.Name) || is && (at == (Place{}) || at == o.Begin) ||
			slices.Contains(l.s.o.Barren, i) {
			continue
		}
		ch := l.s.local.byEntry[i]
		switch {
		case ch == nil:
			if err := Verify(l.s.o.Disk, o); err != nil {
				l.s.refuse(i, err)
			}
		case ch.path == "":
			// A missing file may come back, so only readings that need it wait for it.
			var changed *ChangedError
			if err := l.whatBecame(ch); !errors.As(err, &changed) || !changed.Gone {
				l.s.refuse(i, err)
			}
		}
	}
}

// whatBecame says why the file of a chain was not found.
func (l *files) whatBecame(ch *chain) error {
	info, err := l.s.o.Disk.Stat(ch.last.Name)
	if err != nil {
		return gone(ch.last, err)
	}
	if !info.Mode().IsRegular() { // something that is not a file counts as if nothing were there
		return &ChangedError{Object: ch.last.Name, What: "in its place is " + kindOf(info.Mode()), Gone: true}
	}
	if info.Size() == 0 {
		return &ChangedError{Object: ch.last.Name, What: "it is empty", Gone: true, Begins: true}
	}
	if l.s.o.Follow != nil {
		if is, err := l.s.local.beginsAnew(ch); err != nil {
			return gone(ch.last, err)
		} else if is {
			return &ChangedError{Object: ch.last.Name, What: "its first line is being written", Gone: true, Begins: true}
		}
	}
	if is, err := l.s.local.isReplaced(ch); err != nil {
		return gone(ch.last, err)
	} else if is {
		return &ChangedError{Object: ch.last.Name, What: "it is gone, and another file has its name", Gone: true}
	}
	return changed(ch.last, info.Size())
}

func (l *files) release(uint32) {}
func (l *files) close() error   { return nil }

// resolve turns one --from into file names.
func (l *files) resolve(from string) ([]string, error) {
	d := l.s.o.Disk
	info, err := d.Stat(from)
	switch {
	case err == nil && info.IsDir():
		names := l.walk(from, nil)
		if len(names) == 0 && !l.s.failed() && !l.s.o.AllowEmpty {
			return nil, inputf("there are no files in the directory %s%s (--allow-empty takes that for no events)", from,
				l.s.passedOver())
		}
		slices.Sort(names)
		return names, nil
	case err == nil && info.Mode().IsRegular():
		return []string{from}, nil
	case err == nil:
		return nil, inputf("%s is %s, which is no file: a pipe has to be the only input, anything else cannot "+
			"be read", from, kindOf(info.Mode()))
	case strings.ContainsAny(from, "*?["):
		return l.matching(from)
	case errors.Is(err, fs.ErrNotExist):
		return nil, inputf("%s: no such file or directory%s", from, l.near(from))
	}
	return nil, inputError(err)
}

// near suggests a file whose name begins the same.
func (l *files) near(from string) string {
	entries, err := l.s.o.Disk.ReadDir(filepath.Dir(from))
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), strings.SplitN(filepath.Base(from), ".", 2)[0]) && !e.IsDir() {
			return "; there is " + filepath.Join(filepath.Dir(from), e.Name())
		}
	}
	return ""
}

// walk appends the files in a folder and below. If a part of it cannot be read, the rest is still read; the error
// is reported at the end, and the next process tries again.
func (l *files) walk(dir string, names []string) []string {
	entries, err := l.s.o.Disk.ReadDir(dir)
	if err != nil {
		l.s.fail(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() && hidden(e.Name()), !e.IsDir() && marker(e.Name()):
			l.s.skip()
		case e.IsDir():
			names = l.walk(path, names)
		case e.Type().IsRegular() || l.regular(path, e.Type()):
			names = append(names, path)
		}
	}
	return names
}

// regular says whether a path is a file that can be read. If not, it notes what it is, for the report. It follows
// links to files, never to folders: those could lead anywhere, even upwards.
func (l *files) regular(path string, mode fs.FileMode) bool {
	if mode&fs.ModeSymlink != 0 {
		info, err := l.s.o.Disk.Stat(path)
		switch {
		case err != nil:
			l.s.fail(err)
			return false
		case info.IsDir():
			l.s.passOver(path, "a symbolic link to a directory (--from reads what it is given itself)")
			return false
		}
		mode = info.Mode()
	}
	if mode.IsRegular() {
		return true
	}
	l.s.passOver(path, kindOf(mode))
	return false
}

// kindOf describes a path that is not a regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// matching returns the files that match a pattern.
func (l *files) matching(pattern string) ([]string, error) {
	if _, err := filepath.Match(pattern, ""); err != nil {
		return nil, inputf("the pattern %s is malformed: %w", pattern, err)
	}
	var out []string
	for _, name := range l.glob(pattern) {
		if marker(filepath.Base(name)) || throughHidden(pattern, name) {
			l.s.skip()
			continue
		}
		info, err := l.s.o.Disk.Stat(name)
		switch {
		case err != nil:
			l.s.fail(err)
		case l.regular(name, info.Mode()):
			out = append(out, name)
		}
	}
	if len(out) == 0 && !l.s.failed() && !l.s.o.AllowEmpty {
		return nil, inputf("no file matches %s%s (--allow-empty takes that for no events)", pattern, l.s.passedOver())
	}
	return out, nil
}

// glob is filepath.Glob, but reports what it could not read.
func (l *files) glob(pattern string) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}
	}
	dir, last := filepath.Split(pattern)
	if dir == "" {
		dir = "."
	} else if filepath.Dir(dir) != dir {
		dir = dir[:len(dir)-1]
	}
	var out []string
	for _, parent := range l.glob(dir) {
		entries, err := l.s.o.Disk.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			l.s.fail(err)
		}
		for _, e := range entries {
			if ok, err := filepath.Match(last, e.Name()); ok && err == nil {
				out = append(out, filepath.Join(parent, e.Name()))
			}
		}
	}
	return out
}

// prune removes files whose path says that they contain nothing of the requested time.
func (l *files) prune(names []string) ([]string, error) {
	s := l.s
	if s.o.Since.IsZero() && s.o.Until.IsZero() {
		return names, nil
	}
	slashed := make([]string, len(names))
	for i, n := range names {
		slashed[i] = filepath.ToSlash(n)
	}
	layout, err := s.o.chooseLayout(slashed)
	if err != nil {
		return nil, err
	}
	if layout != nil {
		s.count(func(st *Stats) { st.Layout = layout.name })
	}
	var out []string
	for i, n := range names {
		span, ok := layout.span(slashed[i])
		switch {
		case !ok:
			s.count(func(st *Stats) { st.Undated++ })
		case !span.overlaps(s.o):
			info, err := s.o.Disk.Stat(n)
			s.count(func(st *Stats) {
				if st.Pruned++; err == nil {
					st.PrunedBytes += info.Size()
				}
			})
			continue
		}
		out = append(out, n)
	}
	return out, nil
}

// add adds files to the manifest that are not in it yet. A file that cannot be examined is left out: it is
// reported at the end, and is new to the next process.
func (l *files) add(ctx context.Context, from int, names []string) error {
	var added []Object
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if l.known(name) {
			continue
		}
		found, err := l.describe(name)
		if err != nil {
			l.failed(fmt.Errorf("%s: %w", name, err))
			continue
		}
		for _, obj := range found {
			// The file with that name may be a different one by now.
			if obj.Name != name && l.s.seen[obj.Name] && !l.s.wasUnread(obj.Name) {
				continue
			}
			l.s.seen[obj.Name] = true
			obj.From = from
			if left, ok := l.s.rest(ctx, obj); ok {
				added = append(added, left)
			}
		}
	}
	return l.s.publish(append(added, l.growths(ctx, from)...))
}

// known says whether a file is in the manifest already. A file whose name is in the manifest but whose content has
// changed is refused, because its content may have been sent.
func (l *files) known(name string) bool {
	c := l.s.local
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.claimed[name]; ch != nil {
		if !ch.untouched() {
			return true
		}
		if info, err := c.disk.Stat(name); err != nil || info.Size() == ch.last.Size {
			return true
		}
		c.drop(ch) // it has grown since, and nothing of it was read
		return false
	}
	ch := c.named(name)
	switch {
	case (ch == nil || ch.path != "") && c.isBeingCopied(name):
		return true // once the log is emptied, this is where the bytes that were read are
	case ch == nil || ch.path != "":
		return false // new, or in the place of a moved file
	case ch.untouched():
		c.drop(ch)
		return false
	}
	var changed *ChangedError
	why := l.whatBecame(ch)
	if errors.As(why, &changed) && changed.Gone {
		if changed.Begins {
			return true // what is written into it next says whether it is another file
		}
		if c.isCopy(name) {
			return true // what was read lies beside it, too
		}
		l.s.replaces(name, ch.end)
		return false
	}
	l.s.fail(why)
	return true
}

// settles returns the check for files that may still grow; nil: every file is read as it is.
func (l *files) settles() func(string, fs.FileInfo) bool {
	if l.s.o.Follow == nil {
		return nil
	}
	return l.s.settles
}

// openness says how a file may end.
func (l *files) openness(written time.Time) Openness {
	switch {
	case l.s.o.Follow != nil:
		return OpenLine
	case !l.s.rests(written):
		return OpenRow
	}
	return Closed
}

// finished says whether a followed file has probably been finished: then it is read up to its end, and only what is not
// whole is left. Otherwise it is looked at again soon.
func (l *files) finished(written time.Time) bool {
	is := l.s.o.Now != nil && l.s.rests(written)
	if l.s.o.Now != nil && !is {
		l.s.early.Store(true)
	}
	return is
}

// rests says whether a file last written at a time has probably been finished.
func (s *Input) rests(written time.Time) bool {
	if s.o.Now == nil {
		return true
	}
	age := s.o.Now().Sub(written)
	return age >= s.o.Rest || age <= -s.o.Rest // the file's clock may differ from ours
}

// rest waits until files that were just written are known to be finished. That matters only for plain tables whose
// last row has no line end.
func (l *files) rest(ctx context.Context, names []string) error {
	if l.s.o.Now == nil || l.s.o.Follow != nil {
		return nil
	}
	var wait time.Duration
	for _, name := range names {
		info, err := l.s.o.Disk.Stat(name)
		if err != nil || l.s.rests(info.ModTime()) || !l.endsInRow(name) {
			continue
		}
		wait = max(wait, min(l.s.o.Rest-l.s.o.Now().Sub(info.ModTime()), l.s.o.Rest))
	}
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endsInRow says whether a file may be a plain table whose last row has no line end.
func (l *files) endsInRow(name string) bool {
	f, info, err := openFile(l.s.o.Disk, name)
	if err != nil {
		return false // reading it will report the error
	}
	defer f.Close() // nothing was written
	var first, last [1]byte
	if info.Size() == 0 || codecAt(f, 0) != "" {
		return false
	}
	_, err1 := f.ReadAt(first[:], 0)
	_, err2 := f.ReadAt(last[:], info.Size()-1)
	return errors.Join(err1, err2) == nil && last[0] != '\n' && !strings.Contains("{[ \t\r\n", string(first[:]))
}

// failed notes that a file could not be examined. One that was moved or emptied meanwhile is looked at again if it is
// followed.
func (l *files) failed(err error) {
	var changed *ChangedError
	if l.s.o.Follow != nil && (errors.Is(err, fs.ErrNotExist) || errors.As(err, &changed) && changed.Shrank) {
		l.s.early.Store(true)
		return
	}
	l.s.fail(err)
}

// growths returns entries for what was appended to the files of an address.
func (l *files) growths(ctx context.Context, from int) (added []Object) {
	for _, ch := range l.s.local.ofInput(from) {
		for _, o := range l.s.local.leftOf(ch) {
			if err := l.s.probe(ctx, o); err != nil {
				l.s.fail(err)
			} else {
				added = append(added, o)
			}
		}
		o, ok, err := l.s.local.grown(ch, l.settles(), l.finished, l.s.hasRead)
		if err != nil {
			l.failed(err)
		} else if ok {
			o.Open = l.openness(o.ModTime)
			added = append(added, o)
			continue
		}
		if l.s.o.Follow != nil {
			continue // its last bytes are left for later
		}
		if o, ok := l.s.local.rested(ch, l.s.rests); ok {
			added = append(added, o)
		} else if l.s.local.holds(ch) {
			l.s.holds(ch.path)
		}
	}
	return added
}

// describe makes the manifest entries for a file: the file itself, or the members of an archive. A damaged archive
// becomes one entry, and reading it reports the damage.
func (l *files) describe(name string) (found []Object, err error) {
	f, info, err := openFile(l.s.o.Disk, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	at := &faultReaderAt{f, &fault{}, name, info.Size()}
	size := info.Size()
	if settles := l.settles(); settles != nil {
		switch codec := codecAt(at, 0); {
		case codec != "" && (!settles(name, info) || !hasEnd(at, codec)):
			size = 0
		case codec == "" && !l.finished(info.ModTime()):
			size, err = wholeLines(at, 0, size)
		}
		if l.s.unfinished(name, size < info.Size()); err != nil || size == 0 {
			return nil, err
		}
	}
	print, err := fingerprint(at, size)
	if err != nil {
		return nil, err
	}
	head, err := headOf(at, size)
	if err != nil {
		return nil, err
	}
	whole := Object{Name: name, Size: size, Fingerprint: print, ModTime: info.ModTime(), Head: head,
		Open: l.openness(info.ModTime())}
	if !zipped(at) {
		return []Object{whole}, at.fatal()
	}
	z, err := zip.NewReader(at, info.Size())
	if at.fatal() != nil {
		return nil, at.fatal()
	}
	if err != nil {
		return []Object{whole}, nil
	}
	for _, m := range z.File {
		if !m.FileInfo().IsDir() && !marker(m.FileInfo().Name()) && !hidden(m.Name) {
			found = append(found, memberObject(name, m))
		}
	}
	return found, nil
}

// hasEnd says whether a file of a kind whose end says what is in it has such an end. Others need none.
func hasEnd(at *faultReaderAt, codec string) bool {
	switch codec {
	case "Parquet":
		var magic [4]byte
		n, _ := at.ReadAt(magic[:], max(at.size-4, 0))
		return at.size >= 12 && n == 4 && string(magic[:3]) == "PAR"
	case "a zip archive":
		_, err := zip.NewReader(at, at.size)
		return err == nil
	}
	return true
}

func memberObject(archive string, m *zip.File) Object {
	size := int64(m.UncompressedSize64)
	h := xxh3.New()
	fmt.Fprintf(h, "%d:", size)
	return Object{Name: archive + "!" + m.Name, Size: size, Fingerprint: printed(size, h), ModTime: m.Modified}
}

// zipped says whether a file begins as a zip archive does.
func zipped(at io.ReaderAt) bool {
	var magic [4]byte
	n, _ := at.ReadAt(magic[:], 0)
	return n == 4 && (string(magic[:]) == "PK\x03\x04" || string(magic[:]) == "PK\x05\x06")
}

// openFile opens a regular file.
func openFile(d Disk, name string) (File, fs.FileInfo, error) {
	// Opening a pipe would block until somebody writes to it.
	info, err := d.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("is %s", kindOf(info.Mode()))
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := d.Open(name)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// fingerprint hashes the size and the first and last 64 KiB. That is enough to detect that a file was replaced or
// has grown, without reading all of it.
func fingerprint(r io.ReaderAt, size int64) (string, error) {
	const part = 64 << 10
	h := xxh3.New()
	fmt.Fprintf(h, "%d:", size)
	for _, from := range []int64{0, max(part, size-part)} {
		if n := min(size-from, part); n > 0 {
			if _, err := io.Copy(h, io.NewSectionReader(r, from, n)); err != nil {
				return "", err
			}
		}
	}
	return printed(size, h), nil
}

func printed(size int64, h *xxh3.Hasher) string {
	return fmt.Sprintf("%d-%032x", size, h.Sum128().Bytes())
}

// split separates a name into archive and member. A file that has the whole name takes precedence.
func split(d Disk, name string) (archive, member string, err error) {
	if !strings.Contains(name, "!") {
		return name, "", nil
	}
	if _, err = d.Stat(name); err == nil {
		return name, "", nil
	}
	for i := 0; i < len(name) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)); i++ {
		if name[i] != '!' {
			continue
		}
		var info fs.FileInfo
		if info, err = d.Stat(name[:i]); err == nil && info.Mode().IsRegular() {
			return name[:i], name[i+1:], nil
		} else if err == nil {
			err = fs.ErrNotExist
		}
	}
	return "", "", err
}

// open opens a file, or a member of one, and checks that it is the one in the manifest.
func (l *files) open(_ context.Context, obj Object, index int) (*opened, error) {
	path, packed := l.s.local.whereIs(index, obj.Name)
	return openLocal(l.s.o.Disk, path, packed, obj)
}

// openLocal opens the file of an entry at its current path. packed: it was compressed since.
func openLocal(d Disk, path string, packed bool, obj Object) (*opened, error) {
	obj.Name = path
	archive, member, err := split(d, obj.Name)
	if err != nil {
		return nil, gone(obj, err)
	}
	f, info, err := openFile(d, archive)
	if err != nil {
		return nil, gone(obj, err)
	}
	flt := &fault{}
	at := &faultReaderAt{f, flt, archive, info.Size()}
	if member != "" {
		o, err := openMember(at, flt, info.Size(), member, obj)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		inner := o.close
		o.close = func() error { return errors.Join(inner(), f.Close()) }
		return o, nil
	}
	if packed { // its bytes were compared when it was found
		stream := &faultReader{Reader: f, fault: flt, name: obj.Name, size: info.Size()}
		return &opened{Reader: stream, at: at, size: info.Size(), fault: flt, close: f.Close, most: obj.Size}, nil
	}
	print := ""
	if info.Size() >= obj.Size {
		print, err = fingerprint(at, obj.Size)
	}
	if err == nil && print != obj.Fingerprint {
		err = changed(obj, info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	at.size = obj.Size // what was appended since is another entry
	stream := &faultReader{Reader: io.LimitReader(f, obj.Size), fault: flt, name: obj.Name, size: obj.Size}
	o := &opened{Reader: stream, at: at, size: obj.Size, fault: flt, close: f.Close}
	if obj.Start > 0 {
		o.growth = &growth{start: obj.Start, src: &faultReader{Reader: io.NewSectionReader(f, obj.Start, obj.length()),
			fault: flt, name: obj.Name, size: obj.length()}}
	}
	return o, nil
}

// gone turns the absence of an object in the manifest into a *ChangedError.
func gone(obj Object, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &ChangedError{Object: obj.Name, What: "it is gone", Gone: true}
	}
	return err
}

func changed(obj Object, size int64) error {
	return changedf(obj.Name, "it had %d bytes and has %d, and those are others now", obj.Size, size)
}

// openMember opens a member of an archive. An error in the member itself is reported when it is read: see opened.
func openMember(at io.ReaderAt, flt *fault, size int64, member string, obj Object) (*opened, error) {
	z, err := zip.NewReader(at, size)
	if flt.fatal() != nil {
		return nil, flt.fatal()
	}
	if err != nil {
		return nil, &ChangedError{Object: obj.Name, What: "the archive cannot be read as one any more: " + err.Error()}
	}
	i := slices.IndexFunc(z.File, func(f *zip.File) bool { return f.Name == member })
	if i < 0 {
		return nil, &ChangedError{Object: obj.Name, What: "the archive has no such member any more"}
	}
	m := z.File[i]
	o := &opened{size: int64(m.UncompressedSize64), fault: flt, close: func() error { return nil }}
	if m.Flags&1 != 0 {
		o.damaged = errors.New("the member is encrypted: decrypt the archive and give that")
		return o, nil
	}
	r, err := m.Open()
	switch {
	case flt.fatal() != nil:
		return nil, flt.fatal()
	case errors.Is(err, zip.ErrAlgorithm):
		o.damaged = fmt.Errorf("the member is packed by method %d of zip, which is not read: pack the archive "+
			"anew", m.Method)
	case err != nil:
		o.damaged = fmt.Errorf("the member cannot be unpacked: %w", err)
	default:
		o.Reader, o.close = r, r.Close
	}
	return o, nil
}

// Verify says whether a local object in a run's manifest is unchanged: it returns a *ChangedError if its bytes
// differ. A missing object passes: a run that has read it does not need it any more, and a run that has not will
// fail when it gets there. Remote objects are checked when they are read.
//
// d is the disk with the object; nil: [OSDisk].
func Verify(d Disk, obj Object) error {
	if d == nil {
		d = OSDisk{}
	}
	if strings.Contains(obj.Name, "://") || obj.Name == "-" {
		return nil
	}
	archive, member, err := split(d, obj.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var now Object
	if err == nil {
		now, err = objectAt(d, archive, member, obj)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, new(*ChangedError)):
		return err
	case err != nil:
		return fmt.Errorf("looking at %s: %w", obj.Name, err)
	case now.Fingerprint != obj.Fingerprint:
		return changed(obj, now.Size)
	}
	return nil
}

// objectAt describes an object as it is now.
func objectAt(d Disk, archive, member string, was Object) (now Object, err error) {
	f, info, err := openFile(d, archive)
	if err != nil {
		return now, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	at := &faultReaderAt{f, &fault{}, archive, info.Size()}
	if member == "" {
		print, err := fingerprint(at, info.Size())
		return Object{Size: info.Size(), Fingerprint: print}, err
	}
	z, err := zip.NewReader(at, info.Size())
	if at.fatal() != nil {
		return now, at.fatal()
	}
	if err == nil {
		for _, m := range z.File {
			if m.Name == member {
				return memberObject(archive, m), nil
			}
		}
	}
	return now, &ChangedError{Object: was.Name, What: "the archive has no such member any more, or is none"}
}

// marker says whether a file is only a marker that some program leaves beside its output.
func marker(name string) bool {
	switch {
	case name == "_SUCCESS", name == "manifest.json", strings.HasSuffix(name, "_$folder$"):
		return true
	case strings.HasPrefix(name, "."), strings.HasSuffix(name, ".crc"), strings.HasSuffix(name, ".tmp"),
		strings.HasSuffix(name, ".lzo.index"), strings.HasSuffix(name, ".part"):
		return true
	}
	return false
}

// hidden says whether a path, with slashes, contains a name that begins with a dot: snapshots of file systems,
// repositories, unfinished output.
func hidden(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(name, ".") && name != "." && name != ".." {
			return true
		}
	}
	return false
}

// throughHidden says whether a pattern has matched a file in a hidden folder that it does not name explicitly, as
// * does.
func throughHidden(pattern, name string) bool {
	patterns, names := strings.Split(filepath.ToSlash(pattern), "/"), strings.Split(filepath.ToSlash(name), "/")
	// Compare from the end, because the beginning may be spelled differently.
	for i := 2; i <= min(len(patterns), len(names)); i++ {
		if p := patterns[len(patterns)-i]; p != "" && strings.ContainsAny(p[:1], "*?[") && hidden(names[len(names)-i]) {
			return true
		}
	}
	return false
}

// inputError classifies an error of examining a path: it is a mistake in the command if the path is wrong,
// otherwise a failure of the machine.
func inputError(err error) error {
	mistakes := []error{fs.ErrNotExist, fs.ErrPermission, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG}
	for _, mistake := range mistakes {
		if errors.Is(err, mistake) {
			return &InputError{Err: err}
		}
	}
	return err
}

// pipeAt returns the stream for a path that is a pipe, a terminal or another device that can only be read from
// start to end.
func pipeAt(d Disk, _ io.Reader, path string) *Stream {
	info, err := d.Stat(path)
	if err != nil || info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) == 0 {
		return nil
	}
	return &Stream{Name: path, In: &lazy{disk: d, path: path}}
}

// lazy opens a path only when it is first read, because opening a pipe blocks until somebody writes to it.
type lazy struct {
	disk Disk
	path string
	f    File
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.f == nil {
		f, err := l.disk.Open(l.path)
		if err != nil {
			return 0, err
		}
		l.f = f
	}
	return l.f.Read(p)
}
