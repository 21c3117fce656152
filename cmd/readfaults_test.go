package cmd

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/source"
)

// trouble makes system calls and requests of a source fail: the nth of a kind in a
// run, and, when it lasts, every later one of the kind on the same thing.
type trouble struct {
	mu    sync.Mutex
	kind  string // "": none
	nth   int
	lasts bool
	cause error
	part  bool // what is read or written before the failure counts

	calls map[string]int // by kind
	opens map[string]int // by file or object
	hit   string         // what failed
}

func newTrouble() *trouble { return &trouble{calls: map[string]int{}, opens: map[string]int{}} }

// fails counts one call and says how it fails.
func (t *trouble) fails(kind, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls[kind]++
	if kind == "open" || kind == "get" {
		t.opens[name]++
	}
	what := kind + " " + name
	if t.kind == kind && t.calls[kind] == t.nth || t.lasts && t.hit == what {
		t.hit = what
		if t.cause == io.EOF {
			return io.EOF
		}
		return &fs.PathError{Op: kind, Path: name, Err: t.cause}
	}
	return nil
}

// troubledDisk is the machine's disk with trouble.
type troubledDisk struct {
	source.OSDisk
	*trouble
}

func (d troubledDisk) file(f source.File, err error) (source.File, error) {
	if err != nil {
		return nil, err
	}
	return &troubledFile{f, d.trouble}, nil
}

func (d troubledDisk) Open(name string) (source.File, error) {
	if err := d.fails("open", name); err != nil {
		return nil, err
	}
	return d.file(d.OSDisk.Open(name))
}

func (d troubledDisk) Create(name string, flag int) (source.File, error) {
	if err := d.fails("create", name); err != nil {
		return nil, err
	}
	return d.file(d.OSDisk.Create(name, flag))
}

func (d troubledDisk) Stat(name string) (fs.FileInfo, error) {
	if err := d.fails("stat", name); err != nil {
		return nil, err
	}
	return d.OSDisk.Stat(name)
}

func (d troubledDisk) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := d.OSDisk.ReadDir(name)
	if fail := d.fails("readdir", name); fail != nil {
		return entries[:len(entries)/2], fail
	}
	return entries, err
}

func (d troubledDisk) MkdirAll(name string) error {
	if err := d.fails("mkdir", name); err != nil {
		return err
	}
	return d.OSDisk.MkdirAll(name)
}

func (d troubledDisk) Remove(name string) error {
	if err := d.fails("remove", name); err != nil {
		return err
	}
	return d.OSDisk.Remove(name)
}

func (d troubledDisk) Rename(from, to string) error {
	if err := d.fails("rename", from); err != nil {
		return err
	}
	return d.OSDisk.Rename(from, to)
}

type troubledFile struct {
	source.File
	*trouble
}

func (f *troubledFile) Read(p []byte) (int, error) {
	if err := f.fails("read", f.Name()); err != nil {
		if f.part && len(p) > 1 {
			n, _ := f.File.Read(p[:len(p)/2])
			return n, err
		}
		return 0, err
	}
	return f.File.Read(p)
}

func (f *troubledFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fails("readat", f.Name()); err != nil {
		if f.part && len(p) > 1 {
			n, _ := f.File.ReadAt(p[:len(p)/2], off)
			return n, err
		}
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *troubledFile) Write(p []byte) (int, error) {
	if err := f.fails("write", f.Name()); err != nil {
		if f.part {
			n, _ := f.File.Write(p[:len(p)/2])
			return n, err
		}
		return 0, err
	}
	return f.File.Write(p)
}

func (f *troubledFile) Stat() (fs.FileInfo, error) {
	if err := f.fails("fstat", f.Name()); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f *troubledFile) Truncate(size int64) error {
	if err := f.fails("truncate", f.Name()); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *troubledFile) Close() error {
	err := f.File.Close()
	if fail := f.fails("close", f.Name()); fail != nil {
		return fail
	}
	return err
}

// troubledStream is standard input with trouble.
type troubledStream struct {
	io.Reader
	*trouble
}

func (s troubledStream) Read(p []byte) (int, error) {
	if err := s.fails("read", "stdin"); err != nil {
		return 0, err
	}
	return s.Reader.Read(p[:min(len(p), 64<<10)])
}

// troubledStore is a bucket with trouble.
type troubledStore struct {
	objects map[string][]byte
	*trouble
}

func (s troubledStore) List(_ context.Context, r source.ListRequest) (*source.ListPage, error) {
	if err := s.fails("list", r.Prefix+" "+r.Token); err != nil {
		return nil, err
	}
	page := &source.ListPage{}
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(name, r.Prefix) || name <= max(r.After, r.Token) {
			continue
		}
		if len(page.Keys) == 3 {
			page.Next = page.Keys[2].Name
			break
		}
		page.Keys = append(page.Keys, source.Key{Name: name, Size: int64(len(s.objects[name])), ETag: "tag"})
	}
	return page, nil
}

func (s troubledStore) Get(_ context.Context, _, key, _ string, from int64) (io.ReadCloser, error) {
	if err := s.fails("get", key); err != nil {
		return nil, err
	}
	return io.NopCloser(troubledBody{bytes.NewReader(s.objects[key][from:]), s.trouble, key}), nil
}

type troubledBody struct {
	io.Reader
	*trouble
	key string
}

func (b troubledBody) Read(p []byte) (int, error) {
	if err := b.fails("receive", b.key); err != nil {
		return 0, err
	}
	return b.Reader.Read(p[:min(len(p), 16<<10)])
}

// archive is an input of the campaign: files by name, as many records that are
// events, numbered from m0 on, and some that are none.
type archive struct {
	files       map[string][]byte
	stream      []byte
	events, bad int
}

// archiveOf makes an input in which every kind of object stands in front of
// another.
func archiveOf(t *testing.T, events int) *archive {
	t.Helper()
	a := &archive{files: map[string][]byte{}, events: events, bad: 4}
	padding := strings.Repeat("pad ", 2000)
	line := func(n int) string {
		return fmt.Sprintf(`{"type":"track","event":"E","messageId":"m%d","userId":"u%d","properties":{"padding":%q}}`+"\n",
			n, n%7, padding)
	}
	part := func(i int) string { // the ith eighth
		var b strings.Builder
		for n := events * i / 8; n < events*(i+1)/8; n++ {
			b.WriteString(line(n))
		}
		return b.String()
	}
	a.files["a.jsonl"] = []byte(part(0) + "no event\n")
	a.files["b.jsonl.gz"] = pressed(t, "gz", part(1))
	a.files["c.jsonl.zst"] = pressed(t, "zst", part(2)+"{}\n")
	cut := pressed(t, "gz", part(3)+"the rest of it is cut off")
	a.files["d/cut.jsonl.gz"] = cut[:len(cut)-6]
	var csv strings.Builder
	csv.WriteString("type,event,messageId,userId,padding\n")
	for n := events * 4 / 8; n < events*5/8; n++ {
		fmt.Fprintf(&csv, "track,\"E\",m%d,u%d,%s\n", n, n%7, padding)
	}
	a.files["d/e.csv"] = []byte(csv.String())
	var z bytes.Buffer
	zw := zip.NewWriter(&z)
	for i, name := range []string{"x.jsonl", "y.jsonl.gz"} {
		w, err := zw.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		data := []byte(part(5 + i))
		if i == 1 {
			data = pressed(t, "gz", string(data)+"not JSON\n")
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	a.files["f.zip"] = z.Bytes()
	type row struct {
		Type, Event, MessageID, UserID, Padding string
	}
	var rows []row
	for n := events * 7 / 8; n < events; n++ {
		rows = append(rows, row{"track", "E", fmt.Sprint("m", n), fmt.Sprint("u", n%7), padding})
	}
	var p bytes.Buffer
	pw := parquet.NewGenericWriter[row](&p, parquet.MaxRowsPerRowGroup(20))
	if _, err := pw.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := pw.Close(); err != nil {
		t.Fatal(err)
	}
	a.files["g.parquet"] = p.Bytes()
	var all strings.Builder
	for i := range 8 {
		all.WriteString(part(i))
		if i%2 == 0 {
			all.WriteString("no event\n")
		}
	}
	a.stream = pressed(t, "gz", all.String())
	return a
}

func pressed(t *testing.T, codec, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if codec == "zst" {
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readTrouble is one case of the campaign: a run in trouble, maybe another, and
// the same command again without.
type readTrouble struct {
	*archive
	dir          string // of its files
	kind         string // what is read
	fast, slow   *partner
	state        string
	config, from string
}

// command runs the command once.
func (c *readTrouble) command(t *trouble) (code int, out, errOut string) {
	a := testApp(map[string]string{"XDG_STATE_HOME": c.state})
	a.disk = troubledDisk{trouble: t}
	a.schemes = func() source.Schemes {
		return append(source.Known()[:2:2], source.S3(&source.S3Options{Store: troubledStore{c.bucket(), t}}))
	}
	a.in = troubledStream{bytes.NewReader(c.stream), t}
	args := []string{"forward", "--from", c.from, "--memory", "2MiB", "--spool", "4MiB", "-o", "json",
		"--progress", "never", "--to", "fast,slow", "--config", c.config}
	code = a.execute(context.Background(), args)
	return code, fmt.Sprint(a.out), fmt.Sprint(a.err)
}

func (c *readTrouble) bucket() map[string][]byte {
	out := map[string][]byte{}
	for name, data := range c.files {
		out["logs/"+name] = data
	}
	return out
}

// newReadTrouble sets a case up. The slow partner answers when the fast one is
// far ahead, or has got nothing for a while.
func newReadTrouble(t *testing.T, a *archive, dir, kind string) *readTrouble {
	t.Helper()
	c := &readTrouble{archive: a, dir: dir, kind: kind, state: t.TempDir(), fast: newPartner(t), slow: newPartner(t)}
	c.slow.answers(func(w http.ResponseWriter, r *http.Request, _ []string) bool {
		time.Sleep(3 * time.Millisecond) // what makes it slow
		return false
	})
	c.config = filepath.Join(c.state, "fanfold.yaml")
	text := fmt.Sprintf("destinations:\n  fast: {type: webhook, settings: {url: %q}}\n"+
		"  slow: {type: webhook, settings: {url: %q}, concurrency: 1, batch_events: 10}\n", c.fast.URL, c.slow.URL)
	if err := os.WriteFile(c.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.from = map[string]string{"file": filepath.Join(dir, "a.jsonl"), "folder": dir, "glob": filepath.Join(dir, "*", "*"),
		"archive": filepath.Join(dir, "f.zip"), "s3": "s3://bucket/logs/", "stdin": "-"}[kind]
	return c
}

// expected is what a whole run reads.
func (c *readTrouble) expected() (events, bad int) {
	n := c.archive.events
	switch c.kind {
	case "file":
		return n / 8, 1
	case "archive":
		return n*7/8 - n*5/8, 1
	case "glob":
		return n*5/8 - n*3/8, 1
	}
	return n, c.bad
}

// TestReadFaults lets every system call of the source fail, once or for good, in
// the first reading and in that of a lane that lags, and gives the same command
// again without the failure: all events have to have arrived, each once, and
// nothing that was not read may have been taken for read.
//
// FANFOLD_READFAULTS=2000 go test -run TestReadFaults ./cmd is the long form, of
// as many cases; FANFOLD_SEED repeats one.
func TestReadFaults(t *testing.T) {
	cases := 12
	if s := os.Getenv("FANFOLD_READFAULTS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("FANFOLD_READFAULTS: %v", err)
		}
		cases = n
	}
	first := uint64(1)
	if s := os.Getenv("FANFOLD_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("FANFOLD_SEED: %v", err)
		}
		first, cases = n, 1
	}
	a := archiveOf(t, 400)
	dir := t.TempDir()
	for name, data := range a.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kinds := []string{"folder", "s3", "stdin", "folder", "archive", "glob", "s3", "stdin", "file"}
	calls := map[string]map[string]int{}
	hits, own, ran := map[string]int{}, 0, 0
	for seed := first; seed < first+uint64(cases) && !t.Failed(); seed++ {
		rng := rand.New(rand.NewPCG(seed, 18))
		kind := kinds[rng.IntN(len(kinds))]
		if calls[kind] == nil { // how many calls there are
			c := newReadTrouble(t, a, dir, kind)
			quiet := newTrouble()
			c.whole(t, seed, quiet)
			calls[kind] = quiet.calls
			for _, n := range quiet.opens {
				if n > 3 {
					own++
				}
			}
		}
		t.Run(fmt.Sprintf("%d-%s", seed, kind), func(t *testing.T) {
			ran++
			c := newReadTrouble(t, a, dir, kind)
			for range 1 + rng.IntN(2) {
				tr := newTrouble()
				ops := slices.Sorted(maps.Keys(calls[kind]))
				tr.kind = ops[rng.IntN(len(ops))]
				tr.nth, tr.lasts, tr.part = 1+rng.IntN(calls[kind][tr.kind]*11/10+1), rng.IntN(2) == 0, rng.IntN(2) == 0
				tr.cause = []error{syscall.EIO, syscall.EACCES, syscall.ESTALE, syscall.EMFILE}[rng.IntN(4)]
				if strings.HasPrefix(tr.kind, "read") && tr.kind != "readdir" && kind != "stdin" && rng.IntN(4) == 0 {
					tr.cause = io.EOF // the file was cut off meanwhile
				}
				complete := c.troubled(t, tr)
				op, _, _ := strings.Cut(tr.hit, " ")
				hits[op]++
				if complete && kind == "stdin" {
					return // the same command would take it for other input
				}
			}
			c.whole(t, seed, newTrouble())
		})
	}
	t.Logf("%d of %d cases were run; calls of a run %v; failed %v", ran, cases, calls, hits)
	if cases > 100 && (own == 0 ||
		hits["read"]*hits["readat"]*hits["open"]*hits["stat"]*hits["list"]*hits["get"]*hits["receive"]*hits["write"] == 0) {
		t.Errorf("something never failed, or no lane read by itself: %v", hits)
	}
}

// troubled runs the command in trouble: whatever it says has to be true.
func (c *readTrouble) troubled(t *testing.T, tr *trouble) (complete bool) {
	t.Helper()
	before := c.fast.count() + c.slow.count()
	code, out, errOut := c.command(tr)
	events, bad := c.expected()
	note := fmt.Sprintf("%s %d, %q (lasts: %v, part: %v, %v): exit code %d\n%s%s", tr.kind, tr.nth, tr.hit, tr.lasts,
		tr.part, tr.cause, code, out, errOut)
	var s *engine.Summary
	if out != "" {
		x := summaryOf(t, out)
		s = &x
	}
	complete = code == 3
	switch {
	case code == 3 && s != nil && s.Status == "complete" && s.Read == uint64(events+bad) && s.BadRecords == uint64(bad) &&
		c.arrived(events):
	case code == 2 && c.fast.count()+c.slow.count() == before: // nothing was sent
	case (code == 1 || code == 4) && (s == nil || s.Status == "incomplete"):
	default:
		t.Errorf("%s", note)
	}
	if code == 1 && !strings.Contains(errOut, "fanfold: ") {
		t.Errorf("no word about what is wrong: %s", note)
	}
	for _, p := range []*partner{c.fast, c.slow} {
		if id := p.twice(); id != "" {
			t.Errorf("%s arrived twice: %s", id, note)
		}
	}
	return complete
}

// whole runs the command without trouble: everything is there afterwards.
func (c *readTrouble) whole(t *testing.T, seed uint64, quiet *trouble) {
	t.Helper()
	code, out, errOut := c.command(quiet)
	events, bad := c.expected()
	if out == "" {
		t.Fatalf("FANFOLD_SEED=%d: afterwards: exit code %d\n%s", seed, code, errOut)
	}
	s := summaryOf(t, out)
	if code != 3 || s.Status != "complete" || s.Read != uint64(events+bad) || s.BadRecords != uint64(bad) {
		t.Errorf("FANFOLD_SEED=%d: afterwards: exit code %d, %d of %d read, %d bad\n%s%s", seed, code, s.Read, events+bad,
			s.BadRecords, out, errOut)
	}
	for _, d := range s.Destinations {
		if d.Delivered != uint64(events) {
			t.Errorf("FANFOLD_SEED=%d: afterwards: %s has %d of %d", seed, d.Name, d.Delivered, events)
		}
	}
	if !c.arrived(events) {
		t.Errorf("FANFOLD_SEED=%d: afterwards %d and %d of %d events arrived", seed, c.fast.count(), c.slow.count(), events)
	}
	for _, p := range []*partner{c.fast, c.slow} {
		if id := p.twice(); id != "" {
			t.Errorf("FANFOLD_SEED=%d: %s arrived twice", seed, id)
		}
	}
}

func (c *readTrouble) arrived(events int) bool {
	return c.fast.count() == events && c.slow.count() == events
}

func (p *partner) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.seen)
}

// twice returns an event that arrived more than once.
func (p *partner) twice() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, n := range p.seen {
		if n > 1 {
			return id
		}
	}
	return ""
}
