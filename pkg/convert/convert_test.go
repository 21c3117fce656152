package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette"
)

const har = `{"log":{"version":"1.2","creator":{"name":"x","version":"1"},"entries":[{"startedDateTime":` +
	`"2024-05-01T00:00:00Z","time":5,"request":{"method":"GET","url":"https://api.shop.example/v1/x","httpVersion":` +
	`"HTTP/1.1","headers":[],"queryString":[],"cookies":[],"headersSize":-1,"bodySize":0},"response":{"status":200,` +
	`"statusText":"OK","httpVersion":"HTTP/1.1","headers":[],"cookies":[],"content":{"size":2,"mimeType":` +
	`"application/json","text":"{}"},"redirectURL":"","headersSize":-1,"bodySize":2},"cache":{},"timings":{}}]}}`

// TestAdd checks that a format is recognised, or has to fit the one that was asked for,
// and that all files go into one cassette, which names their services.
func TestAdd(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.har": har, "sub/b.json": har, "note.txt": "no"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Files([]string{dir})
	if err != nil || len(files) != 2 {
		t.Fatalf("files: %q, %v", files, err)
	}
	k := &cassette.Cassette{}
	r := reader{Left: func(path, what string) { t.Errorf("%s: left: %s", path, what) }}
	for _, f := range files {
		if err := r.add(k, f); err != nil {
			t.Fatal(err)
		}
	}
	Upstreams(k)
	if len(k.Interactions) != 2 || k.Meta.Provenance != "imported: har" || k.Meta.Date == "" ||
		k.Meta.Upstreams["api_shop_example"] != "https://api.shop.example" {
		t.Errorf("%d interactions, %+v", len(k.Interactions), k.Meta)
	}

	for format, want := range map[string]string{"vcrpy": "looks like a HAR file", "nope": "there is no format nope"} {
		wrong := reader{Format: format}
		if err := wrong.add(k, files[0]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", format, err)
		}
	}
	if err := r.add(k, filepath.Join(dir, "note.txt")); err == nil || !strings.Contains(err.Error(), "wiremock") {
		t.Errorf("no format: %v", err)
	}
}

// TestFolder checks that no name in a file leads out of the folder of bodies.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	read, err := folder(filepath.Join(dir, "files"))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := read("../secret"); err == nil {
		t.Errorf("it read %q", data)
	}
}
