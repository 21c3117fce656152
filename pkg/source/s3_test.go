package source_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/source"
)

// bucket is a store in memory. Keys are listed in pages.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	class   map[string]string
	unsized map[string]bool // the listing does not say how large they are
	page    int
	lists   atomic.Int64
	gets    atomic.Int64
	sent    atomic.Int64
	keys    func(i int) string // instead of objects, for many
	count   int
	breakAt int // bytes after which a connection breaks
	fail    func(key string) error
}

func tagOf(data []byte) string {
	return fmt.Sprintf("%x-%d", len(data), bytes.Count(data, []byte{'\n'}))
}

func (b *bucket) List(ctx context.Context, r source.ListRequest) (*source.ListPage, error) {
	b.lists.Add(1)
	size := b.page
	if size == 0 {
		size = 1000
	}
	var page source.ListPage
	after := max(r.After, r.Token)
	if b.keys != nil {
		i := 0
		if after != "" {
			i = sort.Search(b.count, func(i int) bool { return b.keys(i) > after })
		}
		for ; i < b.count && len(page.Keys) < size; i++ {
			page.Keys = append(page.Keys, source.Key{Name: b.keys(i), Size: 1000,
				ETag: fmt.Sprintf("%032x", uint64(i)*0x9e3779b97f4a7c15)})
		}
		if i < b.count {
			page.Next = page.Keys[len(page.Keys)-1].Name
		}
		return &page, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.objects {
		if strings.HasPrefix(name, r.Prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	last := ""
	for _, name := range names {
		group := ""
		if r.Delimiter != "" {
			if n := strings.Index(name[len(r.Prefix):], r.Delimiter); n >= 0 {
				group = name[:len(r.Prefix)+n+1]
			}
		}
		if name <= after || group != "" && (group == last || group <= after) {
			continue
		}
		if len(page.Keys)+len(page.Prefixes) == size {
			page.Next = last
			break
		}
		if group != "" {
			page.Prefixes = append(page.Prefixes, group)
			last = group
			continue
		}
		data := b.objects[name]
		page.Keys = append(page.Keys, source.Key{Name: name, Size: int64(len(data)), ETag: tagOf(data),
			StorageClass: b.class[name]})
		if b.unsized[name] {
			page.Keys[len(page.Keys)-1].Size = -1
		}
		last = name
	}
	return &page, nil
}

func (b *bucket) Get(ctx context.Context, name, key, etag string, from int64) (io.ReadCloser, error) {
	b.gets.Add(1)
	if b.fail != nil {
		if err := b.fail(key); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	data, ok := b.objects[key]
	b.mu.Unlock()
	if !ok || tagOf(data) != etag {
		return nil, &source.ChangedError{Object: "s3://" + name + "/" + key, What: "test"}
	}
	r := data[from:]
	b.sent.Add(int64(len(r)))
	if b.breakAt > 0 && len(r) > b.breakAt {
		return io.NopCloser(io.MultiReader(bytes.NewReader(r[:b.breakAt]), failing{io.ErrUnexpectedEOF})), nil
	}
	return io.NopCloser(bytes.NewReader(r)), nil
}

func inBucket(t testing.TB, b *bucket, o source.Options) *source.Input {
	t.Helper()
	o.Schemes = source.Schemes{source.Files(), source.S3(&source.S3Options{Store: b})}
	s, err := source.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestBucket(t *testing.T) {
	b := &bucket{objects: map[string][]byte{}, class: map[string]string{}, page: 7, breakAt: 1000}
	var want []string
	for i := range 40 {
		var data []byte
		for k := range 50 {
			line := fmt.Sprintf(`{"type":"track","n":%d}`, i*50+k)
			data = append(data, line+"\n"...)
			want = append(want, line)
		}
		b.objects[fmt.Sprintf("logs/%03d.gz", i)] = pack(t, codecs[i%len(codecs)], data)
	}
	var z bytes.Buffer
	zw := zip.NewWriter(&z)
	for _, n := range []string{"1.gz", "2.gz"} {
		w, err := zw.Create(n)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(pack(t, "gzip", []byte(`{"type":"track","member":"`+n+`"}`)))
		want = append(want, `{"type":"track","member":"`+n+`"}`)
	}
	zw.Close()
	b.objects["logs/zz.zip"] = z.Bytes()
	b.objects["logs/_SUCCESS"] = nil
	b.objects["logs/folder/"] = nil

	var frozen []source.Object
	s := inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}, Freeze: func(added []source.Object) error {
		frozen = append(frozen, added...)
		return nil
	}})
	all := mustRead(t, s, source.Position{})
	if got := raws(all); got != strings.Join(want, " ") {
		t.Fatalf("read %d records, want %d, or others", len(all), len(want))
	}
	if st := s.Stats(); st.Skipped != 2 || !st.Listed {
		t.Errorf("stats %+v", st)
	}
	if len(frozen) != 42 || s.Manifest().Len() != 42 {
		t.Fatalf("%d objects frozen, %d in the manifest", len(frozen), s.Manifest().Len())
	}
	// A second reading takes what the first fetched.
	gets := b.gets.Load()
	if again := mustRead(t, s, all[1000].end); fmt.Sprint(again) != fmt.Sprint(all[1001:]) {
		t.Errorf("again: %d records", len(again))
	}
	if n := b.gets.Load() - gets; n != 0 {
		t.Errorf("fetched %d times again", n)
	}
	// A run that ended in the middle of the listing goes on behind it, and one
	// with a small cache reads the same.
	for _, k := range []int{1, 7, 20, 41, 42} {
		s := inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}, Frozen: frozen[:k], CacheBytes: 2000,
			CacheDir: t.TempDir()})
		if got := mustRead(t, s, all[25].end); fmt.Sprint(got) != fmt.Sprint(all[26:]) {
			t.Errorf("resumed with %d objects: %d records, want %d", k, len(got), len(all)-26)
		}
	}
	// What changed is refused.
	b.objects["logs/003.gz"] = []byte("{}\n")
	s = inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}, Frozen: frozen})
	var changed *source.ChangedError
	if _, err := read(t, s, source.Position{}); !errors.As(err, &changed) {
		t.Errorf("changed: %v", err)
	}
	// What lies in an archive class is said, and the rest is read.
	b.class["logs/005.gz"] = "DEEP_ARCHIVE"
	s = inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}})
	if got, err := read(t, s, source.Position{}); err == nil ||
		!strings.Contains(err.Error(), "logs/005.gz lies in the archive class") || len(got) != len(want)-50-50+1 {
		t.Errorf("archived: %d records, %v", len(got), err)
	}
	// So is what nobody knows the size of.
	b.class, b.unsized = nil, map[string]bool{"logs/005.gz": true}
	s = inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}})
	if got, err := read(t, s, source.Position{}); err == nil ||
		!strings.Contains(err.Error(), "logs/005.gz was not read: its store does not say how large it is") ||
		len(got) != len(want)-50-50+1 {
		t.Errorf("of unknown size: %d records, %v", len(got), err)
	}
	b.class, b.unsized = map[string]string{}, nil
	// An outage ends the reading; nothing behind it is taken for read.
	b.fail = func(key string) error {
		if key == "logs/010.gz" {
			return errors.New("no route")
		}
		return nil
	}
	delete(b.class, "logs/005.gz")
	s = inBucket(t, b, source.Options{From: []string{"s3://my/logs/"}})
	if got, err := read(t, s, source.Position{}); err == nil || !strings.Contains(err.Error(), "logs/010.gz") ||
		len(got) != 500-50+1 {
		t.Errorf("outage: %d records, %v", len(got), err)
	}
	for from, want := range map[string]string{"s3://my/nothing": "there is nothing", "s3://": "names no bucket"} {
		var input *source.InputError
		if _, err := source.Open(context.Background(),
			source.Options{From: []string{from},
				Schemes: source.Schemes{source.S3(&source.S3Options{Store: b})}}); !errors.As(err, &input) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", from, err)
		}
	}
}

var layouts = []source.Layout{
	{Name: "segment", Patterns: []string{"segment-logs/*/{epoch}", "segment-logs/*/{date}"}},
	{Name: "hourly", Patterns: []string{"{date}/{H}"}},
	{Name: "hive", Patterns: []string{"year={Y}/month={M}/day={D}/hour={H}", "year={Y}/month={M}/day={D}"}},
	{Name: "dated", Patterns: []string{"{Y}/{M}/{D}/{H}", "{Y}/{M}/{D}", "*{date}*"}},
}

func TestTimeInPaths(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC) }
	cases := []struct {
		name, layout string
		path         func(at time.Time) string
		want         string // the layout found
		folders      bool   // whole folders are left out
	}{
		{"segment", "", func(at time.Time) string {
			return fmt.Sprintf("a/segment-logs/src/%d/f%02d.gz", at.Truncate(24*time.Hour).UnixMilli(), at.Hour())
		}, "segment (segment-logs/*/{epoch})", true},
		{"hours without zero", "", func(at time.Time) string {
			return fmt.Sprintf("src/gw/%s/%d/f.gz", at.Format("2006-01-02"), at.Hour())
		}, "hourly ({date}/{H})", true},
		{"hive", "", func(at time.Time) string { return at.Format("t/year=2006/month=01/day=02/hour=15/f") },
			"hive (year={Y}/month={M}/day={D}/hour={H})", true},
		{"in the name", "", func(at time.Time) string { return at.Format("x/p_2006-01-02_15#0.gz") }, "dated (*{date}*)",
			false},
		{"given", "d-{mdy}", func(at time.Time) string { return at.Format("x/d-01-02-2006/15") }, "d-{mdy}", true},
		{"none", "", func(at time.Time) string { return fmt.Sprintf("x/%d", at.Unix()/7) }, "", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := &bucket{objects: map[string][]byte{}, page: 10}
			dir := t.TempDir()
			for h := range 9 * 24 {
				at := day(8).Add(time.Duration(h) * time.Hour)
				data := []byte(fmt.Sprintf("{\"at\":%q}\n", at.Format(time.RFC3339)))
				key := c.path(at)
				b.objects[key] = data
				if c.want == "" {
					continue
				}
				file := filepath.Join(dir, filepath.FromSlash(key))
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			o := source.Options{From: []string{"s3://my/"}, Layouts: layouts, Layout: c.layout, Since: day(10), Until: day(12),
				Lateness: 48 * time.Hour}
			s := inBucket(t, b, o)
			got := raws(mustRead(t, s, source.Position{}))
			st := s.Stats()
			if st.Layout != c.want {
				t.Errorf("layout %q, want %q", st.Layout, c.want)
			}
			if c.want == "" {
				if st.Undated != 9*24 || strings.Count(got, "at") != 9*24 {
					t.Errorf("%+v", st)
				}
				return
			}
			// Whatever may hold events of the 10th and 11th: to the unit before
			// and 48 hours behind.
			for d := 10; d < 14; d++ {
				for h := range 24 {
					if at := day(d).Add(time.Duration(h) * time.Hour).Format(time.RFC3339); !strings.Contains(got, at) {
						t.Fatalf("%s was left out", at)
					}
				}
			}
			if n := strings.Count(got, `"at"`); n > 24*6 || int64(n) != b.gets.Load() {
				t.Errorf("%d objects were read with %d requests: nothing was left out", n, b.gets.Load())
			}
			if c.folders != (st.PrunedGroups > 0) {
				t.Errorf("%+v", st)
			}
			// Local folders are pruned alike.
			o.From = []string{dir}
			local := open(t, o)
			if n := len(mustRead(t, local, source.Position{})); n != strings.Count(got, `"at"`) {
				t.Errorf("%d local files, %d objects", n, strings.Count(got, `"at"`))
			}
			// A resume in the middle of the listing.
			o.From = []string{"s3://my/"}
			objects := s.Manifest().Objects()
			o.Frozen = objects[:len(objects)/2]
			if again := raws(mustRead(t, inBucket(t, b, o), source.Position{})); again != got {
				t.Errorf("resumed listing reads other objects: %d, want %d", strings.Count(again, "at"), strings.Count(got, `"at"`))
			}
		})
	}
	for _, bad := range []string{"{Y}/{X}", "folder", "{H}", "weekly"} {
		var input *source.InputError
		if _, err := source.Open(context.Background(), source.Options{Layout: bad, Layouts: layouts}); !errors.As(err,
			&input) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestMillionKeys lists more keys than fit unpacked.
func TestMillionKeys(t *testing.T) {
	b := &bucket{count: 1_000_000, keys: func(i int) string {
		return fmt.Sprintf("segment-logs/VhBYQcAjH5/1432684800000/%08x%016x.gz", i, uint64(i)*0x9e3779b97f4a7c15)
	}}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := inBucket(t, b, source.Options{From: []string{"s3://my/"}})
	if err := s.Manifest().Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := s.Manifest().Len(); n != b.count {
		t.Fatalf("%d keys", n)
	}
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 80<<20 {
		t.Errorf("a million keys take %d MiB", used>>20)
	}
	for _, i := range []int{0, 1023, 1024, 500_000, 999_999} {
		if o := s.Manifest().At(i); o.Name != "s3://my/"+b.keys(i) ||
			o.Fingerprint != fmt.Sprintf("%032x", uint64(i)*0x9e3779b97f4a7c15) || o.Size != 1000 {
			t.Errorf("entry %d: %+v", i, o)
		}
	}
}

// server starts a real S3 server, or skips.
func server(t testing.TB) (endpoint, dir string) {
	t.Helper()
	bin := os.Getenv("FANFOLD_S3_SERVER")
	if bin == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip("no S3 server: no cache folder: ", err)
		}
		cache = filepath.Join(cache, "fanfold-test", "versitygw-1.8.0")
		bin = filepath.Join(cache, "versitygw")
		if _, err := os.Stat(bin); err != nil {
			if os.Getenv("FANFOLD_S3_SERVER_INSTALL") == "" {
				t.Skip("no S3 server: set FANFOLD_S3_SERVER_INSTALL=1 to have versitygw v1.8.0 built into ", cache,
					", or FANFOLD_S3_SERVER to a versitygw")
			}
			cmd := exec.Command("go", "install", "github.com/versity/versitygw/cmd/versitygw@v1.8.0")
			cmd.Env = append(os.Environ(), "GOBIN="+cache, "GOFLAGS=-mod=mod")
			cmd.Dir = t.TempDir()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Skipf("no S3 server: it cannot be built: %v\n%s", err, out)
			}
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir = t.TempDir()
	cmd := exec.Command(bin, "--port", addr, "--access", "test", "--secret", "testsecret", "--quiet", "posix", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 1000 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return "http://" + addr, dir
		}
		runtime.Gosched()
		probe, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		<-probe.Done()
		cancel()
	}
	t.Fatal("the S3 server does not answer")
	return "", ""
}

// TestRealServer reads 2,000 objects through a proxy that throttles, breaks
// connections and counts.
func TestRealServer(t *testing.T) {
	endpoint, dir := server(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	all := 0
	for i := range 2000 {
		day := start.AddDate(0, 0, i*30/2000)
		var data bytes.Buffer
		for k := range 20 {
			fmt.Fprintf(&data, `{"type":"track","messageId":"%d-%d","timestamp":%q}`+"\n", i, k, day.Format(time.RFC3339))
			all++
		}
		codec := codecs[1+i%2] // gzip, zstd
		file := filepath.Join(dir, "my-archive", "segment-logs", "src", fmt.Sprint(day.UnixMilli()),
			fmt.Sprintf("%04d.gz", i))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, pack(t, codec, data.Bytes()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var gets, calls atomic.Int64
	var rough atomic.Bool
	forward := &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host // the signature covers it
	}}
	forward.ModifyResponse = func(r *http.Response) error {
		if rough.Load() && strings.HasSuffix(r.Request.URL.Path, ".gz") && calls.Load()%5 == 0 &&
			r.StatusCode == http.StatusOK {
			r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, 100), failing{io.ErrUnexpectedEOF}))
		}
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ErrorLog: nil, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := calls.Add(1)
		if rough.Load() && n%11 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>slow down</Message></Error>`)
			return
		}
		if strings.HasSuffix(r.URL.Path, ".gz") {
			gets.Add(1)
		}
		forward.ServeHTTP(w, r)
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })

	o := source.Options{From: []string{"s3://my-archive/segment-logs/"}, Layouts: layouts}
	reach := source.S3Options{Endpoint: "http://" + l.Addr().String(), Region: "us-east-1", PathStyle: true}
	o.Schemes = source.Schemes{source.S3(&reach)}
	openIt := func(o source.Options) *source.Input {
		t.Helper()
		s, err := source.Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	whole := mustRead(t, openIt(o), source.Position{})
	if len(whole) != all {
		t.Fatalf("%d records, want %d", len(whole), all)
	}
	if n := gets.Load(); n != 2000 {
		t.Errorf("%d downloads of 2000 objects", n)
	}
	// Three days, the unit before and no lateness but an hour: four or five
	// days' objects.
	gets.Store(0)
	ranged := o
	ranged.Since, ranged.Until, ranged.Lateness = start.AddDate(0, 0, 10), start.AddDate(0, 0, 13), time.Hour
	s := openIt(ranged)
	part := mustRead(t, s, source.Position{})
	if n := gets.Load(); n < 3*66 || n > 5*67 || int(n)*20 != len(part) {
		t.Errorf("%d downloads, %d records for three days of thirty", n, len(part))
	}
	t.Logf("three days of thirty: %d of 2000 objects, %+v", gets.Load(), s.Stats())
	// Throttled and with connections that break.
	rough.Store(true)
	if got := mustRead(t, openIt(ranged), part[5777].end); fmt.Sprint(got) != fmt.Sprint(part[5778:]) {
		t.Errorf("through a bad network: %d records, want %d", len(got), len(part)-5778)
	}
	rough.Store(false)
	// Errors that a person makes.
	for what, change := range map[string]func(*source.Options){
		"there is no bucket": func(o *source.Options) { o.From = []string{"s3://other-archive/x"} },
		"no access": func(o *source.Options) {
			anonymous := reach
			anonymous.Anonymous = true
			o.Schemes = source.Schemes{source.S3(&anonymous)}
		},
	} {
		bad := o
		change(&bad)
		_, err := source.Open(context.Background(), bad)
		var input *source.InputError
		if !errors.As(err, &input) || !strings.Contains(err.Error(), what) {
			t.Errorf("want %q: %v", what, err)
		}
	}
}
