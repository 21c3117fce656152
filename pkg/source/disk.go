package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Disk is the file system from which input is read, and on which copies of input are kept. It is used
// concurrently. [OSDisk] is the real one; tests use one that fails.
type Disk interface {
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Create opens a file for writing, with permissions for its owner only, and with the given os.O_ flags in
	// addition to os.O_CREATE.
	Create(name string, flag int) (File, error)
	// Stat follows symbolic links.
	Stat(name string) (fs.FileInfo, error)
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// MkdirAll creates a folder with permissions for its owner only, and its parents.
	MkdirAll(name string) error
	// Remove removes a file; a missing file is an error.
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

// asFile prevents a nil *os.File from becoming a File that is not nil.
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

// replaceFile writes a file so that it exists completely or not at all, even if the process is killed.
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

// replaceJSON is replaceFile with a value as JSON.
func replaceJSON(d Disk, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return replaceFile(d, name, data)
}

// readJSON reads what replaceJSON has written; v stays as it is when there is no such file.
func readJSON(d Disk, name string, v any) error {
	data, err := readFile(d, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && json.Unmarshal(data, v) != nil {
		err = fmt.Errorf("%s is damaged; start over with --fresh", name)
	}
	return err
}

// removeIfThere removes a file that may not exist.
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

// fault is the first failure of reading an object that does not come from its bytes: of the disk, the network, the
// process. To a decoder it looks like damaged data, but it is not: after a fault, the end of the data must not be
// taken for the end of the object.
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

// faultReader notes the failure of reading a stream, and fails again on every further read: code that looked ahead
// may have taken the failure for the end of the data, and must not continue. For an object of known size, a
// premature end is a failure, too.
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

// faultReaderAt is faultReader for random access.
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
	err := changedf(name, "it had %d bytes and ends after %d", size, n)
	err.Shrank = true
	return err
}
