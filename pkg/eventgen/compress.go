package eventgen

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// WriteAs writes a stream that is compressed as a file's name says: .zst, .gz, or not.
func WriteAs(w io.Writer, name string, o Options) error {
	var z io.WriteCloser
	switch {
	case strings.HasSuffix(name, ".zst"):
		enc, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)) // the same bytes everywhere
		if err != nil {
			return err
		}
		z = enc
	case strings.HasSuffix(name, ".gz"):
		z = gzip.NewWriter(w)
	default:
		b := bufio.NewWriterSize(w, 1<<20)
		return errors.Join(Write(b, o), b.Flush())
	}
	return errors.Join(Write(z, o), z.Close())
}

// WriteFile writes a stream to a file as [WriteAs] does, and cuts so many bytes off its end, as a copy that was
// broken off is.
func WriteFile(path string, o Options, cut int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err = WriteAs(f, path, o); err != nil || cut <= 0 {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Truncate(max(0, info.Size()-int64(cut)))
}
