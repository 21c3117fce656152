package cmd

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/source"
)

// oneRefused is a reason for which one object of three cannot be read.
type oneRefused struct {
	name string
	data string // of the object
	// when is which opening of the object fails, from 1 on; 0: none. what becomes of it then, cause why.
	when  int
	cause error
	now   string // what it is from then on; "": nothing, it is gone, unless there is a cause
	// barren: it counts as one record that is damaged.
	barren bool
	// healed: what it is now can be read, so that only the run under which it changed is not complete.
	healed bool
	only   string // kind of input for which it is; "": all
	flags  uint16 // of a zip member
}

func threeEvents(first int) (text string) {
	for n := first; n < first+3; n++ {
		text += fmt.Sprintf(`{"type":"track","event":"E","messageId":"m%d","userId":"u"}`+"\n", n)
	}
	return text
}

func refusals() []oneRefused {
	columns := new(strings.Builder)
	columns.WriteString("type,event,")
	for i := range 10001 {
		fmt.Fprintf(columns, "c%d,", i)
	}
	return []oneRefused{
		{name: "table of nothing", data: "a,id\n1,2\n"},
		{name: "too many columns", data: columns.String() + "z\ntrack,E\n"},
		{name: "not UTF-8", data: "type,event,city\ntrack,E,K\xf6ln\n"},
		{name: "no Avro", data: "Obj\x01" + strings.Repeat("x", 100), barren: true},
		{name: "lzo", data: "\x89LZO\x00\r\n\x1a\n" + strings.Repeat("x", 100)},
		{name: "encrypted Parquet", data: "PARE" + strings.Repeat("x", 100) + "PARE", only: "folder s3"},
		{name: "damaged Parquet", data: "PAR1" + strings.Repeat("x", 100) + "PAR1", barren: true, only: "folder s3"},
		{name: "no gzip", data: "\x1f\x8b\x07 is no method", barren: true},
		{name: "no zip", data: "PK\x03\x04" + strings.Repeat("x", 100), barren: true, only: "folder"},
		{name: "encrypted member", data: threeEvents(100), flags: 1, barren: true, only: "zip"},
		{name: "permission", data: threeEvents(100), when: 3, cause: syscall.EACCES, only: "folder"},
		{name: "disk", data: threeEvents(100), when: 3, cause: syscall.EIO, only: "folder"},
		{name: "vanishes", data: threeEvents(100), when: 3, only: "folder", healed: true},
		{name: "changes", data: threeEvents(100), when: 3, now: threeEvents(200), only: "folder", healed: true},
		{name: "vanishes", data: threeEvents(100), when: 1, only: "s3", healed: true},
		{name: "changes", data: threeEvents(100), when: 1, now: threeEvents(200), only: "s3", healed: true},
	}
}

// refusedCase is one reason, in one place, of one kind of input.
type refusedCase struct {
	oneRefused
	kind   string
	at     int // 0, 1 or 2
	dir    string
	mu     sync.Mutex // the run's readers may still be at work when the test goes on
	files  map[string]string
	opened int
	app    *partner
	state  string
}

// file is what is in a file now.
func (c *refusedCase) file(name string) (data string, there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, there = c.files[name]
	return data, there
}

// write changes a file, or with there false removes it.
func (c *refusedCase) write(name, data string, there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files[name] = data; !there {
		delete(c.files, name)
	}
}

// set changes what happens when the object is read.
func (c *refusedCase) set(flags uint16, when int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flags, c.when = flags, when
}

func (c *refusedCase) object(i int) string { return string(rune('a'+i)) + ".x" }

// put has the objects be there as they are in files, in a folder or as the members of an archive; a bucket is the
// files themselves.
func (c *refusedCase) put(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Helper()
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range c.files {
			if !yield(name) {
				return
			}
		}
	})
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	for i := range 3 {
		_ = os.Remove(filepath.Join(c.dir, c.object(i))) // it may not be there
	}
	for _, name := range names {
		if c.kind == "folder" {
			path := filepath.Join(c.dir, name)
			if err := os.WriteFile(path, []byte(c.files[name]), 0o600); err != nil {
				t.Fatal(err)
			}
			old := time.Now().Add(-time.Hour) // else how it ends is looked at, too, if it is opened soon
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.WriteString(f, c.files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if c.kind != "zip" {
		return
	}
	data := z.Bytes()
	if c.files[c.object(c.at)] == c.data && c.flags != 0 { // in the list of the archive
		at := bytes.LastIndex(data, []byte(c.object(c.at))) - 46
		binary.LittleEndian.PutUint16(data[at+8:], binary.LittleEndian.Uint16(data[at+8:])|c.flags)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "all.zip"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// open counts an opening of an object, and has happen what happens to it then.
func (c *refusedCase) open(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name != c.object(c.at) || c.when == 0 {
		return nil
	}
	if c.opened++; c.opened < c.when {
		return nil
	}
	if c.cause != nil {
		return &fs.PathError{Op: "open", Path: name, Err: c.cause}
	}
	if c.opened > c.when {
		return nil
	}
	c.files[name] = c.now
	if c.now == "" {
		delete(c.files, name)
	}
	if c.kind == "folder" {
		path := filepath.Join(c.dir, name)
		if c.now == "" {
			return os.Remove(path)
		}
		return os.WriteFile(path, []byte(c.now), 0o600)
	}
	return nil
}

// refusedDisk and refusedStore are where the objects lie.
type refusedDisk struct {
	source.OSDisk
	*refusedCase
}

func (d refusedDisk) Open(name string) (source.File, error) {
	if err := d.open(filepath.Base(name)); err != nil {
		return nil, err
	}
	return d.OSDisk.Open(name)
}

type refusedStore struct{ *refusedCase }

func tagOf(data string) string { return fmt.Sprintf("%x", len(data)) + data[:min(len(data), 60)] }

func (s refusedStore) List(context.Context, source.ListRequest) (*source.ListPage, error) {
	page := &source.ListPage{}
	for i := range 3 {
		if data, there := s.file(s.object(i)); there {
			page.Keys = append(page.Keys, source.Key{Name: "in/" + s.object(i), Size: int64(len(data)), ETag: tagOf(data)})
		}
	}
	return page, nil
}

func (s refusedStore) Get(_ context.Context, _, key, etag string, from int64) (io.ReadCloser, error) {
	name := strings.TrimPrefix(key, "in/")
	if err := s.open(name); err != nil {
		return nil, err
	}
	data, there := s.file(name)
	switch {
	case !there:
		return nil, &source.ChangedError{Object: key, What: "it is gone", Gone: true}
	case tagOf(data) != etag:
		return nil, &source.ChangedError{Object: key, What: "its etag is another one"}
	}
	return io.NopCloser(strings.NewReader(data[from:])), nil
}

func (c *refusedCase) run(t *testing.T) (code int, out, errOut string) {
	t.Helper()
	a := testApp(map[string]string{"XDG_STATE_HOME": c.state})
	a.disk = refusedDisk{refusedCase: c}
	a.schemes = func() source.Schemes {
		return append(source.Known()[:2:2], source.S3(&source.S3Options{Store: refusedStore{c}}))
	}
	from := map[string]string{"folder": c.dir, "zip": filepath.Join(c.dir, "all.zip"), "s3": "s3://bucket/in/"}[c.kind]
	code = a.execute(t.Context(), []string{"forward", "--from", from, "--to", "webhook",
		"--set", "webhook.url=" + c.app.URL,
		"--progress", "never", "-o", "json"})
	return code, fmt.Sprint(a.out), fmt.Sprint(a.err)
}

// TestOneIsRefused: an object that cannot be read is refused alone, whatever the reason and wherever it
// stands. What is beside it is delivered at once; once it is removed, or mended, the same command is complete.
//
// Of each reason in each kind of input there is one place and one fate, so that each meets each other;
// FANFOLD_REFUSED=all go test -run TestOneIsRefused ./cmd is the long form, of all of them.
func TestOneIsRefused(t *testing.T) {
	all := os.Getenv("FANFOLD_REFUSED") == "all"
	n := 0
	for _, reason := range refusals() {
		for _, kind := range []string{"folder", "zip", "s3"} {
			if reason.only != "" && !strings.Contains(reason.only, kind) {
				continue
			}
			n++
			for i := range 9 {
				at, fate := i%3, []string{"left", "removed", "mended"}[i/3]
				if !all && i != n*4%9 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d/%s", reason.name, kind, at, fate), func(t *testing.T) {
					c := &refusedCase{oneRefused: reason, kind: kind, at: at, dir: t.TempDir(), files: map[string]string{},
						app: newPartner(t), state: t.TempDir()}
					c.check(t, fate)
				})
			}
		}
	}
}

func (c *refusedCase) check(t *testing.T, fate string) {
	t.Helper()
	others := 0
	for i := range 3 {
		c.write(c.object(i), threeEvents(10*i), true)
	}
	c.write(c.object(c.at), c.data, true)
	c.put(t)
	want := exitError
	if c.barren {
		want = exitRejected
	}
	code, out, errOut := c.run(t)
	others = 6
	if c.app.count() != others || code != want {
		t.Fatalf("exit code %d, want %d; %d of %d events beside it\n%s%s", code, want, c.app.count(), others, out, errOut)
	}
	if said := out + errOut; !c.barren && !strings.Contains(said, c.object(c.at)) {
		t.Errorf("nothing is said of %s: %s", c.object(c.at), said)
	}
	switch fate {
	case "left":
		if c.healed { // what is there now is another one, or nothing
			want = exitOK
			if c.now != "" {
				others += 3
			}
		}
	case "removed":
		c.write(c.object(c.at), "", false)
		c.set(c.flags, 0)
		c.put(t)
		if want = exitOK; c.barren {
			want = exitRejected // it was read, and is counted
		}
	case "mended":
		c.write(c.object(c.at), threeEvents(300), true)
		c.set(0, 0)
		c.put(t)
		want, others = exitOK, others+3
	}
	for range 2 {
		code, out, errOut = c.run(t)
		if c.app.count() != others || code != want {
			t.Fatalf("afterwards: exit code %d, want %d; %d of %d events\n%s%s", code, want, c.app.count(), others, out,
				errOut)
		}
	}
	c.app.once(t, others)
}
