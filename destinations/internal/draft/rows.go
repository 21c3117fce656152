package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// rowsOf is where the rows of a partner are, below the repository.
func rowsOf(slug string) string {
	return filepath.Join("destinations", "testdata", "segment", "partners", slug+".jsonl.gz")
}

// addRows writes what is known of a partner's requests where the project's tests compare it with them, and says how
// many rows there are; a file that is there stays as it is.
func addRows(from, to, slug string) (added int, err error) {
	path := filepath.Join(to, rowsOf(slug))
	if _, err := os.Stat(path); err == nil {
		return 0, nil
	}
	var all bytes.Buffer
	err = lines(filepath.Join(from, "requests-all.jsonl.gz"), func(line []byte) error {
		var r struct{ Destination string }
		err := json.Unmarshal(line, &r)
		if r.Destination == slug {
			added++
			all.Write(append(bytes.Clone(line), '\n'))
		}
		return err
	})
	if err != nil || added == 0 {
		return 0, err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	_, err = z.Write(all.Bytes())
	if err := errors.Join(err, z.Close()); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, err
	}
	return added, os.WriteFile(path, packed.Bytes(), 0o644)
}
