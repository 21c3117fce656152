package source

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Disk is the file system that input is read from and that copies of input are
// kept on. It is used by many goroutines at once. [OSDisk] is the real one; a
// test gives one that fails.
type Disk interface {
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Create opens a file for writing, for its owner alone, with the os.O_ flags
	// given beside os.O_CREATE.
	Create(name string, flag int) (File, error)
	// Stat follows symbolic links.
	Stat(name string) (fs.FileInfo, error)
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// MkdirAll makes a folder for its owner alone, and those above it.
	MkdirAll(name string) error
	// Remove removes a file; that it is not there is an error.
	Remove(name string) error
	// Rename replaces the target.
	Rename(from, to string) error
}

// File is an open file of a [Disk].
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Closer
	Name() string
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
}

// OSDisk is the disk of the machine.
type OSDisk struct{}

func (OSDisk) Open(name string) (File, error) { return asFile(os.Open(name)) }

func (OSDisk) Create(name string, flag int) (File, error) {
	return asFile(os.OpenFile(name, os.O_CREATE|flag, 0o600))
}

func (OSDisk) Stat(name string) (fs.FileInfo, error)      { return os.Stat(name) }
func (OSDisk) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (OSDisk) MkdirAll(name string) error                 { return os.MkdirAll(name, 0o700) }
func (OSDisk) Remove(name string) error                   { return os.Remove(name) }
func (OSDisk) Rename(from, to string) error               { return os.Rename(from, to) }

// asFile keeps a nil *os.File from becoming a File that is not nil.
func asFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

var _ Disk = OSDisk{}

// readFile returns a file's bytes.
func readFile(d Disk, name string) (data []byte, err error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

// replaceFile writes a file that is there whole or not at all, whatever happens
// to the process.
func replaceFile(d Disk, name string, data []byte) error {
	f, err := d.Create(name+".new", os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return d.Rename(name+".new", name)
}

// removeIfThere removes a file that may be gone already.
func removeIfThere(d Disk, name string) error {
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// filesLike lists the files of one folder whose names match a pattern.
func filesLike(d Disk, dir, pattern string) ([]string, error) {
	entries, err := d.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if ok, err := filepath.Match(pattern, e.Name()); err != nil {
			return nil, err
		} else if ok {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

// fault is the first failure of reading an object that says nothing about its
// bytes: the disk, the network, the process. What a decoder makes of it looks
// like damaged data, but is not: after a fault nothing may be taken for the end
// of the object.
type fault struct {
	mu  sync.Mutex
	err error
}

func (f *fault) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

// fatal returns the failure; nil: there was none.
func (f *fault) fatal() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// faultReader notes how reading a stream fails. It goes on failing then: whoever
// looked ahead may have taken the failure for the end of what there is to see, and must
// not go on as if nothing had been. Of an object of a known size an end that comes
// too early is a failure, too.
type faultReader struct {
	io.Reader
	*fault
	name string
	size int64 // -1: not known
	n    int64
}

func (r *faultReader) Read(p []byte) (int, error) {
	if err := r.fatal(); err != nil {
		return 0, err
	}
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	switch {
	case err == nil:
	case err != io.EOF:
		r.note(err)
	case r.size >= 0 && r.n < r.size:
		err = shorter(r.name, r.n, r.size)
		r.note(err)
	}
	return n, err
}

// faultReaderAt is faultReader for reading at any place.
type faultReaderAt struct {
	io.ReaderAt
	*fault
	name string
	size int64
}

func (r *faultReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if err := r.fatal(); err != nil {
		return 0, err
	}
	n, err := r.ReaderAt.ReadAt(p, off)
	switch {
	case err == nil:
	case err != io.EOF:
		r.note(err)
	case n < len(p) && off+int64(n) < r.size:
		err = shorter(r.name, off+int64(n), r.size)
		r.note(err)
	}
	return n, err
}

func shorter(name string, n, size int64) error {
	return changedf(name, "it had %d bytes and ends after %d", size, n)
}
