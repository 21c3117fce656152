package source

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// A file at a known path may be another one than the file that was read: a log that was moved away, or emptied, and
// begun anew. It is told by its beginning. A file that begins as the one that was read, and is not the same further
// on, was changed, and is refused.

const (
	mostOfBeginning = 4 << 10
	packedBeginning = 64 // of compressed files and the like, in which lines mean nothing
	leastOfLine     = 4  // a shorter line, such as [, begins files of every content
)

// beginningOf returns how many bytes at the start of a file identify it: its first line, and of a table the first two,
// because all files of a kind may have the same header. whole says that these bytes are all there, however the file
// may grow.
func beginningOf(at io.ReaderAt, size int64) (n int64, whole bool, err error) {
	data := make([]byte, min(size, mostOfBeginning))
	if _, err := io.ReadFull(io.NewSectionReader(at, 0, int64(len(data))), data); err != nil {
		return 0, false, err
	}
	if codecAt(at, 0) != "" {
		return min(size, packedBeginning), size >= packedBeginning, nil
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

// headOf is the fingerprint of the bytes that identify a file of a size; "": it is empty.
func headOf(at io.ReaderAt, size int64) (head string, err error) {
	n, _, err := beginningOf(at, size)
	if err != nil || n == 0 {
		return "", err
	}
	return headPrint(at, n)
}

// headPrint is the fingerprint of the first n bytes of a file.
func headPrint(at io.ReaderAt, n int64) (string, error) {
	h := xxh3.New()
	if _, err := io.CopyN(h, io.NewSectionReader(at, 0, n), n); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d-%016x", n, h.Sum64()), nil
}

// beginsOtherwise says whether a file is certainly another one than the file whose beginning has this fingerprint.
// While a file is too short to tell, it is not.
func beginsOtherwise(at io.ReaderAt, size int64, head string) (bool, error) {
	length, _, _ := strings.Cut(head, "-")
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil || n <= 0 {
		return false, nil // an older version has not noted the beginning
	}
	if size < n {
		_, whole, failed := beginningOf(at, size)
		return size == 0 || whole, failed
	}
	now, err := headPrint(at, n)
	return err == nil && now != head, err
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
	return beginsOtherwise(&faultReaderAt{f, &fault{}, ch.last.Name, info.Size()}, info.Size(), ch.last.Head)
}

// replaces tells that a file is read as a new one, although a file of that name was read before.
func (s *Input) replaces(name string) {
	if s.o.Replaced != nil {
		s.o.Replaced(name)
	}
	if s.o.Follow != nil && s.o.Log != nil {
		s.o.Log.Info("input", "file", name, "why", "it is another file than the one of this name that was read")
	}
}
