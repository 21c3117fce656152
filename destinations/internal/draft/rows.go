package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// addRows adds what is known of a partner's requests to the rows that the project's tests
// compare partners with, and says how many there were; rows that are there stay as they are.
func addRows(from, to, slug string) (added int, err error) {
	path := filepath.Join(to, "destinations", "testdata", "segment", "catalogue.jsonl.gz")
	var all bytes.Buffer
	of := func(line []byte) (string, error) {
		var r struct{ Destination string }
		err := json.Unmarshal(line, &r)
		return r.Destination, err
	}
	there := false
	err = lines(path, func(line []byte) error {
		name, err := of(line)
		there = there || name == slug
		all.Write(append(bytes.Clone(line), '\n'))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) || there {
		return 0, err
	}
	err = lines(filepath.Join(from, "requests-all.jsonl.gz"), func(line []byte) error {
		name, err := of(line)
		if name == slug {
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
