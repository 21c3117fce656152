package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// A file at a known path may be another one than the file that was read: a log that was moved away, or emptied, and
// begun anew. It is told by its lines: it begins otherwise, and neither what the other one began with nor its last line
// is among them. Everything else was changed, and is refused: what was sent before would be sent again. So are files
// without lines: a compressed file has other bytes whenever it is written.

const (
	mostOfBeginning = 4 << 10
	leastOfLine     = 4 // a shorter line, such as [ or ], stands in files of every content
	mostOfLast      = 64 << 10
	mostSearched    = 64 << 20 // for the lines of another file
)

// beginningOf returns how many bytes at the start of a file identify it: its first line, and of a table the first two,
// because all files of a kind may have the same header. whole says that these bytes are all there, however the file
// may grow; n is 0 for a file that has no lines.
func beginningOf(at io.ReaderAt, size int64) (n int64, whole bool, err error) {
	data := make([]byte, min(size, mostOfBeginning))
	if _, err := io.ReadFull(io.NewSectionReader(at, 0, int64(len(data))), data); err != nil {
		return 0, false, err
	}
	if codecAt(at, 0) != "" || bytes.IndexByte(data, 0) >= 0 {
		return 0, false, nil
	}
	lines := 1
	if !beginsAsJSON(at) {
		lines = 2
	}
	for i := 0; lines > 0; {
		end := bytes.IndexByte(data[i:], '\n')
		if end < 0 {
			return int64(len(data)), len(data) == mostOfBeginning, nil
		}
		if i, n = i+end+1, n+int64(end)+1; n >= leastOfLine {
			lines--
		}
	}
	return n, true, nil
}

// headOf is what identifies a file of a size: the fingerprints of its beginning and of its last line; "": it is empty,
// or has no lines.
func headOf(at io.ReaderAt, size int64) (head string, err error) {
	n, _, err := beginningOf(at, size)
	if err != nil || n == 0 {
		return "", err
	}
	data := make([]byte, n+min(size, mostOfLast))
	for i, part := range [][]byte{data[:n], data[n:]} {
		if _, err := at.ReadAt(part, int64(i)*(size-int64(len(part)))); err != nil && err != io.EOF {
			return "", err
		}
	}
	lines := bytes.Split(data[n:], []byte{'\n'})
	last := []byte(nil)
	for i := len(lines) - 1; i >= 0 && last == nil && (i > 0 || size <= mostOfLast); i-- {
		if len(lines[i]) >= leastOfLine {
			last = lines[i]
		}
	}
	return printOf(data[:n]) + "/" + printOf(last), nil
}

// printOf is the fingerprint of a line, or of a few.
func printOf(text []byte) string { return fmt.Sprintf("%d-%016x", len(text), xxh3.Hash(text)) }

// Grown says whether another object certainly is this file with what was appended to it: it has its name, is no
// shorter, and begins with the same line.
func (o Object) Grown(now Object) bool {
	begins, _, noted := strings.Cut(o.Head, "/")
	begin, _, _ := strings.Cut(now.Head, "/")
	return noted && begins == begin && now.Name == o.Name && now.Size >= o.Size
}

// beginsOtherwise says whether a file certainly begins otherwise than the one that this identifies. While it is too
// short to tell, it does not.
func beginsOtherwise(at io.ReaderAt, size int64, head string) (bool, error) {
	first, _, _ := strings.Cut(head, "/")
	n := headSize(head)
	if n == 0 {
		return false, nil // it has no lines, or an older version has not noted them
	}
	if size < n {
		_, whole, failed := beginningOf(at, size)
		return whole, failed
	}
	data := make([]byte, n)
	if _, err := at.ReadAt(data, 0); err != nil && err != io.EOF {
		return false, err
	}
	return printOf(data) != first, nil
}

// headSize is how many bytes the beginning of a file has that is identified by it; 0: it is not.
func headSize(head string) int64 {
	first, _, noted := strings.Cut(head, "/")
	length, _, _ := strings.Cut(first, "-")
	n, err := strconv.ParseInt(length, 10, 64)
	if !noted || err != nil || n <= 0 || n > mostOfBeginning {
		return 0
	}
	return n
}

// holds says whether lines of the file that this identifies stand in another one.
func holds(at io.ReaderAt, size int64, head string) (bool, error) {
	first, last, _ := strings.Cut(head, "/")
	in := bufio.NewReaderSize(io.NewSectionReader(at, 0, min(size, mostSearched)), 1<<20)
	header := []byte(nil) // of a table
	if beginsAsJSON(at) {
		header = []byte{}
	}
	for {
		line, err := in.ReadSlice('\n')
		text := bytes.TrimSuffix(line, []byte{'\n'})
		switch {
		case len(text) >= leastOfLine && printOf(text) == last:
			return true, nil
		case header == nil:
			header = bytes.Clone(line)
		case printOf(append(header[:len(header):len(header)], line...)) == first:
			return true, nil
		}
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			return false, nil
		default:
			return false, err
		}
	}
}

// isReplaced says whether another file has the name of a chain's file, which is nowhere else. The caller holds mu, or
// nothing is read yet.
func (c *chains) isReplaced(ch *chain) (bool, error) {
	if other := c.claimed[ch.last.Name]; other != nil && other != ch {
		return true, nil
	}
	f, info, err := openFile(c.disk, ch.last.Name)
	if err != nil {
		return false, err
	}
	defer f.Close() // nothing was written
	at := &faultReaderAt{f, &fault{}, ch.last.Name, info.Size()}
	return isAnother(at, info.Size(), ch.last.Head)
}

// isCopy says whether a file has the same bytes as one that was read, wherever that one is: where both a file and
// what has its name are read, it would be sent twice. The caller holds mu, or nothing is read yet.
func (c *chains) isCopy(path string) bool {
	f, info, err := openFile(c.disk, path)
	if err != nil {
		return false // reading it will report the error
	}
	defer f.Close() // nothing was written
	print := ""
	for _, ch := range c.all {
		if info.Size() == 0 || ch.last.Size != info.Size() || ch.untouched() {
			continue
		}
		if print == "" {
			if print, err = fingerprint(&faultReaderAt{f, &fault{}, path, info.Size()}, info.Size()); err != nil {
				return false
			}
		}
		if print == ch.last.Fingerprint {
			return true
		}
	}
	return false
}

// isBeingCopied says whether a file has the name of a log with something behind it, and nothing
// but what that log has, or
// begins with: the log is copied before it is emptied. The caller holds mu.
func (c *chains) isBeingCopied(path string) bool {
	for _, ch := range c.all {
		if ch.path == "" || ch.found || len(path) <= len(ch.path) || !strings.HasPrefix(path, ch.path) {
			continue
		}
		if is, err := c.isCopying(ch, path); is || err != nil && errors.As(err, new(*ChangedError)) {
			return true
		}
	}
	return false
}

// isCopying says whether a log begins with all that its copy has, or is not what it was any more, so that it has to be
// looked for first.
func (c *chains) isCopying(ch *chain, copied string) (bool, error) {
	f, info, err := openFile(c.disk, copied)
	if err != nil {
		return false, err
	}
	defer f.Close() // nothing was written
	of, whole, err := openFile(c.disk, ch.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist), err
	}
	defer of.Close() // nothing was written
	log := &faultReaderAt{of, &fault{}, ch.path, whole.Size()}
	is, err := c.stillIs(ch, log)
	if err != nil || !is {
		return !is, err
	}
	n := info.Size()
	if n > whole.Size() {
		return false, nil
	}
	print, err := fingerprint(&faultReaderAt{f, &fault{}, copied, n}, n)
	if err != nil {
		return false, err
	}
	was, err := fingerprint(log, n)
	return print == was, err
}

// beginsAnew says whether what is in the place of a chain's file is too short to tell whether it is another one. The
// caller holds mu, or nothing is read yet.
func (c *chains) beginsAnew(ch *chain) (bool, error) {
	if ch.last.Head == "" || c.claimed[ch.last.Name] != nil {
		return false, nil
	}
	f, info, err := openFile(c.disk, ch.last.Name)
	if err != nil {
		return false, err
	}
	defer f.Close() // nothing was written
	at := &faultReaderAt{f, &fault{}, ch.last.Name, info.Size()}
	if info.Size() >= headSize(ch.last.Head) || codecAt(at, 0) != "" {
		return false, nil
	}
	_, whole, err := beginningOf(at, info.Size())
	return err == nil && !whole, err
}

// isAnother says whether a file is certainly another one than the one that this identifies, however it was changed.
func isAnother(at io.ReaderAt, size int64, head string) (bool, error) {
	if codecAt(at, 0) != "" {
		return false, nil
	}
	if is, err := beginsOtherwise(at, size, head); err != nil || !is {
		return false, err
	}
	held, err := holds(at, size, head)
	return err == nil && !held, err
}

// replaces tells that a file is read as a new one, although a file of that name was read before.
func (s *Input) replaces(name string, read int64) {
	if s.o.Replaced != nil {
		s.o.Replaced(name, read)
	}
	if s.o.Follow != nil && s.o.Log != nil {
		s.o.Log.Info("input", "file", name, "why", "it is another file than the one of this name that was read")
	}
}
