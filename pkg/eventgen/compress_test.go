package eventgen

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A file that is cut is the beginning of the one that is not.
func TestWriteFileCuts(t *testing.T) {
	dir := t.TempDir()
	read := func(name string, cut int) []byte {
		path := filepath.Join(dir, name)
		if err := WriteFile(path, Options{Seed: 1, Events: 20}, cut); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, ext := range []string{".jsonl", ".jsonl.gz", ".jsonl.zst"} {
		whole := read("whole"+ext, 0)
		if got := read("cut"+ext, 7); !bytes.Equal(got, whole[:len(whole)-7]) {
			t.Errorf("%s: %d bytes are left of %d", ext, len(got), len(whole))
		}
		if got := read("gone"+ext, len(whole)+1); len(got) > 0 {
			t.Errorf("%s: %d bytes are left of nothing", ext, len(got))
		}
	}
}
