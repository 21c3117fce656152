package source

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// The most memory that compressed data may ask a decoder for. It is asked for in a few bytes of a header, before there
// is any data, and the decoders take it at once.
const (
	// maxWindow is the largest window of a zstd frame.
	maxWindow = 512 << 20
	// maxDictionary is the largest dictionary of an xz block. xz -9 asks for 64 MiB, and the highest level of 7-Zip for
	// 256 MiB.
	maxDictionary = 256 << 20
)

// asksTooMuch says that data asks for more memory than is taken for it.
func asksTooMuch(what string, most int64) error {
	return fmt.Errorf("its %s is larger than %d MiB, the most that is read: pack it again with a smaller one", what,
		most>>20)
}

// xzReader reads xz, with its errors in the words of this package.
type xzReader struct{ z *xz.Reader }

func newXZ(r io.Reader) (xzReader, error) {
	z, err := xz.NewReader(r, maxDictionary)
	return xzReader{z}, xzError(err)
}

// Read is an [io.Reader].
func (x xzReader) Read(p []byte) (int, error) {
	n, err := x.z.Read(p)
	return n, xzError(err)
}

// reset begins with another stream, in the same memory.
func (x xzReader) reset(r io.Reader) error { return xzError(x.z.Reset(r)) }

func xzError(err error) error {
	switch {
	case errors.Is(err, xz.ErrMemlimit):
		return asksTooMuch("dictionary", maxDictionary)
	case errors.Is(err, xz.ErrBuf):
		return io.ErrUnexpectedEOF
	}
	return err
}

// zstdReader reads zstd, and frees its decoder when it is closed.
type zstdReader struct{ z *zstd.Decoder }

// newZstd makes a reader with a bound for the window of each frame.
func newZstd(r io.Reader) (zstdReader, error) {
	// One goroutine and little memory: measured faster per CPU second
	// than more, and the stream is decoded ahead of its reader anyway.
	z, err := zstd.NewReader(r,
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	return zstdReader{z}, err
}

// Read is an [io.Reader].
func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.z.Read(p)
	return n, zstdError(err, maxWindow)
}

// Close is an [io.Closer].
func (z zstdReader) Close() error { z.z.Close(); return nil }

func zstdError(err error, most int64) error {
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return asksTooMuch("window", most)
	}
	return err
}
