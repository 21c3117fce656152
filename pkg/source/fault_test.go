package source_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

// failingDisk fails what fail says.
type failingDisk struct {
	source.OSDisk
	fail func(op, name string) error
}

func (d *failingDisk) Open(name string) (source.File, error) {
	if err := d.fail("open", name); err != nil {
		return nil, err
	}
	f, err := d.OSDisk.Open(name)
	if err != nil {
		return nil, err
	}
	return &failingFile{f, d}, nil
}

func (d *failingDisk) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := d.fail("readdir", name); err != nil {
		return nil, err
	}
	return d.OSDisk.ReadDir(name)
}

type failingFile struct {
	source.File
	d *failingDisk
}

func (f *failingFile) Read(p []byte) (int, error) {
	if err := f.d.fail("read", f.Name()); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *failingFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.d.fail(fmt.Sprintf("readat %d", off), f.Name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func zipOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	for _, n := range names {
		f, err := w.Create(n)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "{\"n\":%q}\n", n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// TestAnObjectThatCannotBeRead: it ends the reading, wherever in it the failure
// is, and whoever goes on gets all of the rest.
func TestAnObjectThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"a.jsonl": []byte("{\"n\":1}\n"), "b.jsonl": []byte("{\"n\":2}\n{\"n\":3}\n"),
		"b.jsonl.gz": pack(t, "gzip", []byte("{\"n\":4}\n")),
		"c.zip":      zipOf(t, "x", "y"), "d.jsonl": []byte("{\"n\":5}\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole := mustRead(t, open(t, source.Options{From: []string{dir}}), source.Position{})
	if len(whole) != 7 {
		t.Fatalf("%d records: %s", len(whole), raws(whole))
	}
	frozen := open(t, source.Options{From: []string{dir}}).Manifest().Objects()
	for _, op := range []string{"open", "read", "readat"} {
		for _, name := range []string{"a.jsonl", "b.jsonl", "b.jsonl.gz", "c.zip", "d.jsonl"} {
			for _, cause := range []error{syscall.EIO, fs.ErrPermission, syscall.EMFILE} {
				if op == "read" && name == "c.zip" {
					continue // it is read at places
				}
				failing := false
				d := &failingDisk{fail: func(o, n string) error {
					if failing && strings.HasPrefix(o+" ", op+" ") && filepath.Base(n) == name {
						return cause
					}
					return nil
				}}
				s := open(t, source.Options{From: []string{dir}, Frozen: frozen, Disk: d})
				failing = true
				got, err := read(t, s, source.Position{})
				if !errors.Is(err, cause) || !strings.Contains(err.Error(), name) {
					t.Errorf("%s %s: %v, want %v", op, name, err, cause)
				}
				failing = false
				after := source.Position{}
				if len(got) > 0 {
					after = got[len(got)-1].end
				}
				got = append(got, mustRead(t, s, after)...)
				if fmt.Sprint(got) != fmt.Sprint(whole) {
					t.Errorf("%s %s %v: read %s, want %s", op, name, cause, raws(got), raws(whole))
				}
			}
		}
	}
}

// TestNotListed: what cannot be looked at is not taken for not being there.
func TestNotListed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/1.jsonl", "b/2.jsonl", "c/3.jsonl"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fmt.Sprintf("{\"n\":%q}\n", name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []string{dir, filepath.Join(dir, "*", "*.jsonl")} {
		for _, what := range []string{"readdir b", "open 2.jsonl"} {
			d := &failingDisk{}
			failing := true
			d.fail = func(op, name string) error {
				if failing && op+" "+filepath.Base(name) == what {
					return syscall.EIO
				}
				return nil
			}
			s := open(t, source.Options{From: []string{from}, Disk: d})
			got, err := read(t, s, source.Position{})
			if !errors.Is(err, syscall.EIO) || raws(got) != `{"n":"a/1.jsonl"} {"n":"c/3.jsonl"}` {
				t.Errorf("%s, %s: %v, %s", from, what, err, raws(got))
			}
			// A lane of its own does not stop for what nobody can read.
			if _, err := s.Manifest(), lastError(s); err != nil {
				t.Errorf("%s, %s: reading again: %v", from, what, err)
			}
			failing = false
			s = open(t, source.Options{From: []string{from}, Disk: d, Frozen: s.Manifest().Objects()})
			if got := mustRead(t, s, got[len(got)-1].end); raws(got) != `{"n":"b/2.jsonl"}` {
				t.Errorf("%s, %s: afterwards %s", from, what, raws(got))
			}
		}
	}
}

func lastError(s source.Source) (last error) {
	for _, err := range s.Chunks(context.Background(), source.Position{}, source.Again) {
		last = err
	}
	return last
}

// TestDamagedArchives are counted, and what is behind them is read: the member
// that is encrypted or packed by a method that is not known, the archive without
// its end.
func TestDamagedArchives(t *testing.T) {
	good := zipOf(t, "x", "y")
	flags, method := bytes.Clone(good), bytes.Clone(good)
	central := bytes.Index(good, []byte("PK\x01\x02"))
	flags[central+8] |= 1
	flags[6] |= 1
	method[central+10], method[8] = 97, 97
	for what, tc := range map[string]struct {
		data         []byte
		want, detail string
	}{
		"encrypted": {flags, `!truncated {"n":"y"} {"n":9}`, "is encrypted"},
		"method":    {method, `!truncated {"n":"y"} {"n":9}`, "method 97"},
		"cut off":   {good[:len(good)-30], `!truncated {"n":9}`, "zip archive"},
		"empty":     {zipOf(t), `{"n":9}`, ""},
	} {
		dir := t.TempDir()
		files := map[string][]byte{"a.zip": tc.data, "b.jsonl": []byte("{\"n\":9}\n")}
		b := &bucket{objects: map[string][]byte{}}
		for name, data := range files {
			b.objects["logs/"+name] = data
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []source.Source{open(t, source.Options{From: []string{dir}}),
			inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}})} {
			var details []string
			for c, err := range s.Chunks(context.Background(), source.Position{}, source.First) {
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				for _, r := range c.Records {
					if r.Err != nil {
						details = append(details, r.Err.Error())
					}
				}
			}
			all := mustRead(t, s, source.Position{})
			if raws(all) != tc.want || tc.detail != "" && !strings.Contains(strings.Join(details, "\n"), tc.detail) {
				t.Errorf("%s: %s, want %s: %s", what, raws(all), tc.want, details)
			}
			for i, r := range all {
				if rest := mustRead(t, s, r.end); fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
					t.Errorf("%s: after %v: %s", what, r.end, raws(rest))
				}
			}
		}
	}
}

// TestBucketThatGrowsInTheMiddle: what was passed over, and what has come
// between other objects since, is read by the next process.
func TestBucketThatGrowsInTheMiddle(t *testing.T) {
	b := &bucket{objects: map[string][]byte{}, class: map[string]string{"logs/b": "GLACIER"}, page: 2}
	for _, k := range []string{"a", "b", "d", "e"} {
		b.objects["logs/"+k] = []byte("{\"n\":\"" + k + "\"}\n")
	}
	s := inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}})
	got, err := read(t, s, source.Position{})
	if err == nil || !strings.Contains(err.Error(), "restore it first") || raws(got) != `{"n":"a"} {"n":"d"} {"n":"e"}` {
		t.Fatalf("%v: %s", err, raws(got))
	}
	frozen := s.Manifest().Objects()
	s = inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}, Frozen: frozen})
	if _, err := read(t, s, got[2].end); err == nil || !strings.Contains(err.Error(), "restore it first") {
		t.Errorf("again: %v", err)
	}
	delete(b.class, "logs/b")
	b.objects["logs/c"] = []byte("{\"n\":\"c\"}\n")
	s = inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}, Frozen: frozen})
	if rest := mustRead(t, s, got[2].end); raws(rest) != `{"n":"b"} {"n":"c"}` {
		t.Errorf("what came between: %s", raws(rest))
	}
}

// TestSpoolKeepsWhatCannotBeRead: an error of the disk is no reason to cut off
// what an earlier process spooled, and what is cut off is asked for again.
func TestSpoolKeepsWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("{\"n\":1}\n", 100)
	spool := func(d source.Disk, in string) (*source.Spool, error) {
		return source.OpenSpool(context.Background(), dir, strings.NewReader(in),
			source.SpoolOptions{Disk: d, SegmentBytes: 1})
	}
	s, err := spool(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(mustRead(t, s, source.Position{})); n != 100 {
		t.Fatalf("%d records", n)
	}
	s.Close()
	for _, op := range []string{"create", "readat 0", "open complete"} {
		d := &failingDisk{fail: func(o, name string) error {
			if o == op || o+" "+filepath.Base(name) == op {
				return syscall.EIO
			}
			return nil
		}}
		if s, err := spool(creating{d}, ""); !errors.Is(err, syscall.EIO) {
			s.Close()
			t.Errorf("%s: %v", op, err)
		}
		s, err := spool(nil, "")
		if err != nil {
			t.Fatalf("%s: afterwards: %v", op, err)
		}
		if n := len(mustRead(t, s, source.Position{})); n != 100 {
			t.Errorf("%s: afterwards %d records", op, n)
		}
		s.Close()
	}
	// Of a stream that was spooled to its end a segment has lost its end.
	segments, err := filepath.Glob(filepath.Join(dir, "segment-*"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	info, err := os.Stat(segments[len(segments)-1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(segments[len(segments)-1], info.Size()-1); err != nil {
		t.Fatal(err)
	}
	s, err = spool(nil, "")
	if err == nil {
		_, err = read(t, s, source.Position{})
		s.Close()
	}
	if !errors.As(err, new(*source.ChangedError)) && !errors.Is(err, io.EOF) {
		t.Errorf("without its end: %v", err)
	}
	if s, err = spool(nil, text); err != nil {
		t.Fatal(err)
	}
	if n := len(mustRead(t, s, source.Position{})); n != 100 {
		t.Errorf("given again: %d records", n)
	}
	s.Close()
}

// creating is a failingDisk that fails creating files, too.
type creating struct{ *failingDisk }

func (c creating) Create(name string, flag int) (source.File, error) {
	if err := c.fail("create", name); err != nil {
		return nil, err
	}
	f, err := c.OSDisk.Create(name, flag)
	if err != nil {
		return nil, err
	}
	return &failingFile{f, c.failingDisk}, nil
}
