package cassette

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decode undoes a Content-Encoding. ok is false, and the data as it was, where
// it is none that is known or the data is not what it says.
func decode(encoding string, data []byte, limit int64) (plain []byte, ok bool) {
	plain = data
	names := strings.Split(encoding, ",")
	for n := len(names) - 1; n >= 0; n-- {
		var r io.Reader
		var err error
		switch name := strings.ToLower(strings.TrimSpace(names[n])); name {
		case "", "identity":
			continue
		case "gzip", "x-gzip":
			r, err = gzip.NewReader(bytes.NewReader(plain))
		case "deflate":
			r, err = zlib.NewReader(bytes.NewReader(plain))
		case "br":
			r = brotli.NewReader(bytes.NewReader(plain))
		case "zstd":
			var z *zstd.Decoder
			z, err = zstd.NewReader(bytes.NewReader(plain), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)))
			if err == nil {
				defer z.Close()
				r = z
			}
		default:
			err = fmt.Errorf("unknown encoding %s", name)
		}
		if err != nil {
			return data, false
		}
		if plain, err = io.ReadAll(io.LimitReader(r, limit+1)); err != nil || int64(len(plain)) > limit {
			return data, false
		}
	}
	return plain, true
}
