package cassette

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLoadRefuses checks the errors for files that are no cassettes.
func TestLoadRefuses(t *testing.T) {
	for text, want := range map[string]string{"version: 2\ninteractions: []\n": "import go-vcr-v4",
		"version: 9\n": "version 9", "a: [": "is no cassette", "a: b\n": "is no cassette",
		"version: 1\ninteractions:\n- null\n": "interaction 0 is empty"} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
