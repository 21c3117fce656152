package source

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"path"
	"strings"
)

// tarHead is how many bytes of a stream are needed to recognise a tar archive.
const tarHead = 262

// untar returns the content of a tar archive: its files one after the other, each decompressed. Other streams are
// returned unchanged. A tar archive has no index, and is often compressed as a whole, so reaching a member would
// mean reading everything before it. So the archive is one object, and positions count the bytes of its files.
// wait says that reading the stream may block.
func untar(src io.Reader, wait bool) (r io.Reader, is bool) {
	br := bufio.NewReaderSize(src, 64<<10)
	head, _ := br.Peek(1)
	if len(head) == 0 || strings.IndexByte("{[\" \t\r\n", head[0]) >= 0 {
		return br, false // JSON begins like this, and no file name does
	}
	n := br.Buffered()
	if !wait && n < tarHead {
		return br, false // tar archives are written in larger pieces
	}
	if head, _ = br.Peek(n); bytes.IndexByte(head, '\n') >= 0 && n < tarHead {
		return br, false // it is text, of which there may be no more for now
	}
	head, _ = br.Peek(tarHead)
	if len(head) < tarHead || string(head[257:tarHead]) != "ustar" {
		return br, false
	}
	return &tarReader{archive: tar.NewReader(br)}, true
}

// tarReader reads the files of an archive one after the other.
type tarReader struct {
	archive *tar.Reader
	file    io.Reader // the current file, decompressed; nil: none
	last    byte      // the last byte that was read
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
				p[0], t.last, n = '\n', '\n', 1 // the end of a file counts as the end of a line
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

// next moves to the next file that contains data.
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
		_ = c.Close() // a decoder's Close only frees memory
	}
	t.file = nil
}
