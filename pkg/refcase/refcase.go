// Package refcase reads the reference cases that tests of the mapping language and of fields are held against.
package refcase

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
)

// Shared is a file with cases of Segment's own code, which lies beside the repository where it is there at all. It is
// named from the folder of a package below pkg.
func Shared(name string) string { return filepath.Join("..", "..", "..", "shared", "segment", name) }

// Load reads a file of cases. The error is [os.ErrNotExist] if it is not there.
func Load(file string, into any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err = json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// Same compares two JSON documents. The error shows both.
func Same(want, got []byte) error {
	var w, g any
	if err := json.Unmarshal(want, &w); err != nil {
		return fmt.Errorf("the expectation: %w", err)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		return fmt.Errorf("got %q: %w", got, err)
	}
	if !reflect.DeepEqual(w, g) {
		return fmt.Errorf("\nwant %s\ngot  %s", want, got)
	}
	return nil
}
