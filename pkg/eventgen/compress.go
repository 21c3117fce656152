package eventgen

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
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
