package file

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// wholeFrames returns how many bytes of data are whole frames: what a killed
// process had finished writing.
func wholeFrames(data []byte, compression string) int {
	switch compression {
	case "none":
		return bytes.LastIndexByte(data, '\n') + 1
	case "gzip":
		whole := 0
		r := bytes.NewReader(data)
		for r.Len() > 0 {
			z, err := gzip.NewReader(r)
			if err != nil {
				break
			}
			z.Multistream(false)
			if _, err := io.Copy(io.Discard, z); err != nil {
				break
			}
			whole = len(data) - r.Len()
		}
		return whole
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return 0
	}
	defer dec.Close()
	magic := []byte("\x28\xb5\x2f\xfd")
	// A frame says its length only in its blocks: the longest prefix that
	// ends where a frame begins, or at the end, and decodes is what is whole.
	for end := len(data); end > 0; {
		if _, err := dec.DecodeAll(data[:end], nil); err == nil {
			return end
		}
		end = bytes.LastIndex(data[:end], magic)
		if end < 0 {
			break
		}
	}
	return 0
}
