package profile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	f := Files{CPU: filepath.Join(dir, "cpu"), Trace: filepath.Join(dir, "trace"), Heap: filepath.Join(dir, "heap")}
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	if err := f.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{f.CPU, f.Trace, f.Heap} {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	nowhere := Files{CPU: filepath.Join(dir, "no", "cpu"), Heap: filepath.Join(dir, "no", "heap")}
	if nowhere.Start() == nil || nowhere.Stop() == nil {
		t.Error("a folder that is not there is no mistake")
	}
	if none := (Files{}); none.Start() != nil || none.Stop() != nil {
		t.Error("no profile is a mistake")
	}
}
