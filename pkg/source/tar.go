package source

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"path"
	"strings"
)

// tarHead is how much of a stream is needed to see that it is a tar archive.
const tarHead = 262

// untar returns what a stream holds when it is a tar archive: the files in it, one
// behind the other, each decompressed; any other stream as it is. A tar archive has no
// list of its members, and is often compressed as a whole, so that going to one
// would mean reading all before it: the archive is one object, and positions
// count the bytes of its files. wait says that the stream may be waited for.
func untar(src io.Reader, wait bool) (r io.Reader, is bool) {
	br := bufio.NewReaderSize(src, 64<<10)
	head, _ := br.Peek(1)
	if len(head) == 0 || strings.IndexByte("{[\" \t\r\n", head[0]) >= 0 {
		return br, false // as JSON begins, and no name of a file
	}
	if n := br.Buffered(); !wait && n < tarHead {
		return br, false // a tar archive is written in larger pieces
	}
	head, _ = br.Peek(tarHead)
	if len(head) < tarHead || string(head[257:tarHead]) != "ustar" {
		return br, false
	}
	return &tarReader{archive: tar.NewReader(br)}, true
}

// tarReader reads the files of an archive one behind the other.
type tarReader struct {
	archive *tar.Reader
	file    io.Reader // the file at hand, decompressed; nil: none
	last    byte      // that was read
	err     error
}

func (t *tarReader) Read(p []byte) (int, error) {
	for t.err == nil {
		if t.file == nil {
			t.err = t.next()
			continue
		}
		n, err := t.file.Read(p)
		if n > 0 {
			t.last = p[n-1]
		}
		switch {
		case err == io.EOF:
			t.close()
			if n == 0 && t.last != '\n' && t.last != 0 {
				p[0], t.last, n = '\n', '\n', 1 // files end where a line does
			}
		case err != nil:
			t.err = err
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, t.err
}

// next goes to the next file that holds data.
func (t *tarReader) next() error {
	for {
		h, err := t.archive.Next()
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || marker(path.Base(name)) || hidden(name) {
			continue
		}
		file, codec, err := decompress(bufio.NewReader(t.archive))
		if err != nil {
			if codec == "Parquet" {
				return err
			}
			return errors.New(h.Name + ": the " + codec + " stream cannot be read: " + err.Error())
		}
		t.file = file
		return nil
	}
}

func (t *tarReader) close() {
	if c, ok := t.file.(io.Closer); ok {
		_ = c.Close() // of a decoder: it frees memory
	}
	t.file = nil
}
