package wholefile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestWrite: a file is made, replaced with the mode that it has, and found through a link; what must not be written to
// is left, and nothing is left beside it.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	is := func(name, want string, mode os.FileMode) {
		t.Helper()
		data, err := os.ReadFile(at(name))
		info, wrong := os.Lstat(at(name))
		if err = errors.Join(err, wrong); err != nil || string(data) != want {
			t.Fatalf("%s is %q, want %q: %v", name, data, want, err)
		}
		if runtime.GOOS != "windows" && info.Mode() != mode {
			t.Errorf("%s has the mode %v, want %v", name, info.Mode(), mode)
		}
	}
	for _, text := range []string{"one", "two"} {
		if err := Write(at("new"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		is("new", text, 0o600)
	}
	if err := errors.Join(os.WriteFile(at("old"), []byte("x"), 0o644), os.Chmod(at("old"), 0o640)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("old", at("link")); err != nil {
		t.Skipf("skipped: no links can be made here: %v", err)
	}
	if err := Write(at("link"), []byte("y"), 0o600); err != nil {
		t.Fatal(err)
	}
	is("old", "y", 0o640)
	if to, err := os.Readlink(at("link")); err != nil || to != "old" {
		t.Errorf("the link leads to %q: %v", to, err)
	}
	if err := errors.Join(os.Symlink("later", at("ahead")), Write(at("ahead"), []byte("z"), 0o600)); err != nil {
		t.Fatal(err)
	}
	is("later", "z", 0o600) // a link to what is not there yet
	if err := Write(filepath.Join(at("none"), "file"), nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a folder that is not there: %v", err)
	}
	if left, err := filepath.Glob(at(".*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left: %v", left, err)
	}
}
