package source_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

const shared = "../../../shared/data/"

// there skips a test whose files are not at hand.
func there(t *testing.T, name string) string {
	t.Helper()
	path := shared + name
	if _, err := os.Stat(path); err != nil {
		t.Skip("skipped: the shared data is not here")
	}
	return path
}

// TestRealClients reads what real client libraries sent: one event a line, and
// batches as they came. Both hold the same events.
func TestRealClients(t *testing.T) {
	count := func(name string) (good int) {
		path, err := filepath.Abs(there(t, "real-client/"+name))
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, source.Options{From: []string{path}})
		for _, r := range mustRead(t, s, source.Position{}) {
			if r.reason != "" {
				t.Fatalf("%s: a record is %s", name, r.reason)
			}
			good++
		}
		return good
	}
	events := count("events.jsonl.gz")
	batches := count("batches.jsonl.gz")
	f, err := os.Open(there(t, "real-client/events.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(text, []byte("\n")); events != lines || events < 100 {
		t.Errorf("%d events of %d lines", events, lines)
	}
	if batches < 100 {
		t.Errorf("%d events in batches", batches)
	}
	t.Logf("%d events, %d in batches", events, batches)
}

// TestZstdCorpora reads what was made to break decompressors: what is good is
// read whole, what is bad ends in a record that says so, and nothing hangs or
// crashes.
func TestZstdCorpora(t *testing.T) {
	for _, c := range []struct {
		name string
		good bool
		most int
	}{{"good.zip", true, 1000}, {"bad.zip", false, 1000}, {"comp-crashers.zip", false, 60},
		{"decode-regression.zip", false, 1000}, {"headers.zip", false, 60}, {"large.zip", true, 100}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			z, err := zip.OpenReader(there(t, "compressed/"+c.name))
			if err != nil {
				t.Fatal(err)
			}
			defer z.Close()
			dir := t.TempDir()
			n, bad := 0, 0
			for _, f := range z.File {
				if f.FileInfo().IsDir() || c.good && !strings.HasSuffix(f.Name, ".zst") || n == c.most {
					continue
				}
				n++
				r, err := f.Open()
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(io.LimitReader(r, 16<<20))
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, "in.zst")
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				s, err := source.Open(context.Background(), source.Options{From: []string{path}, Format: "segment"})
				if err != nil {
					if c.good {
						t.Errorf("%s: %v", f.Name, err)
					}
					continue
				}
				size := 0
				for chunk, err := range s.Chunks(context.Background(), source.Position{}, source.First) {
					if err != nil {
						if c.good {
							t.Errorf("%s: %v", f.Name, err)
						}
						break
					}
					for _, rec := range chunk.Records {
						if rec.Err != nil && rec.Err.Reason == "truncated" {
							bad++
							if c.good {
								t.Errorf("%s: %v", f.Name, rec.Err)
							}
						}
					}
					if size += len(chunk.Data); size > 64<<20 { // as large as one likes
						break
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%d files, %d of them damaged", n, bad)
		})
	}
}
