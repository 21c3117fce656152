package cmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/klauspost/compress/zstd"
)

// gate stands before a server and can hold a request to it.
type gate struct {
	next  http.Handler
	mu    sync.Mutex
	puts  int
	holdN int           // the upload to hold, after it was stored
	held  chan struct{} // closed when it is
	fail  func(n int) int
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut && r.Method != http.MethodPost {
		g.next.ServeHTTP(w, r)
		return
	}
	g.mu.Lock()
	g.puts++
	n, hold, fail := g.puts, g.puts == g.holdN, g.fail
	g.mu.Unlock()
	if fail != nil {
		if status := fail(n); status != 0 {
			_, _ = io.Copy(io.Discard, r.Body)
			http.Error(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`, status)
			return
		}
	}
	if hold {
		rec := httptest.NewRecorder()
		g.next.ServeHTTP(rec, r) // stored, and nobody is told
		close(g.held)
		<-r.Context().Done()
		return
	}
	g.next.ServeHTTP(w, r)
}

// linesOf are the events of an archive, sorted.
func linesOf(t *testing.T, data []byte) []string {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(plain), "\n"), "\n")
	slices.Sort(lines)
	return lines
}

// TestS3RoundTrip forwards an archive to a bucket, is killed when an object is
// stored and nobody was told, resumes, and reads the bucket back: every event
// once, byte for byte.
func TestS3RoundTrip(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("events"); err != nil {
		t.Fatal(err)
	}
	throttled := 0
	g := &gate{next: gofakes3.New(backend).Server(), holdN: 3, held: make(chan struct{}), fail: func(n int) int {
		if n == 2 {
			throttled++
			return http.StatusServiceUnavailable
		}
		return 0
	}}
	server := httptest.NewServer(g)
	defer server.Close()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := filepath.Abs("../cassettes/events/shop.jsonl.zst")
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "FANFOLD_TEST_MAIN=1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=testsecret",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent")
	forward := func(args ...string) *exec.Cmd {
		c := exec.Command(self, append([]string{"forward", "--state-dir", dir, "-o", "json"}, args...)...)
		c.Env = env
		return c
	}
	to := []string{"--from", in, "--to", "s3", "--set", "s3.bucket=events", "--set", "s3.prefix=archive",
		"--set", "s3.template={Y}/{M}/{D}/{H}", "--set", "s3.endpoint=" + server.URL, "--set", "s3.path_style=true",
		"--opt", "s3.batch_events=700"}
	c := forward(to...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-g.held
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if out, err := forward(to...).CombinedOutput(); err != nil || !strings.Contains(string(out), `"status":"complete"`) {
		t.Fatalf("resuming: %v\n%s", err, out)
	}
	if throttled == 0 {
		t.Error("nothing was throttled")
	}
	objects, err := backend.ListBucket("events", &gofakes3.Prefix{HasPrefix: true, Prefix: "archive/2024/"},
		gofakes3.ListBucketPage{})
	if err != nil || len(objects.Contents) < 5 {
		t.Fatalf("%d objects, %v", len(objects.Contents), err)
	}
	// And back, through our own reading of buckets.
	out := filepath.Join(dir, "out")
	back := forward("--from", "s3://events/archive/", "--s3-endpoint", server.URL,
		"--s3-path-style", "--layout", "{Y}/{M}/{D}/{H}", "--to", "file", "--set", "file.path="+out)
	if text, err := back.CombinedOutput(); err != nil {
		t.Fatalf("reading back: %v\n%s", err, text)
	}
	want, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	files, err := filepath.Glob(out + "/*.zst")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, linesOf(t, data)...)
	}
	slices.Sort(got)
	if all := linesOf(t, want); !slices.Equal(got, all) {
		t.Errorf("%d events came back of %d", len(got), len(all))
	}
}

// TestS3DestinationStops where the bucket is not there: nothing is lost, and it
// says what to do.
func TestS3DestinationStops(t *testing.T) {
	server := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	defer server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
	a := testApp(map[string]string{"XDG_STATE_HOME": t.TempDir()})
	code := a.execute(context.Background(),
		[]string{"forward", "--from", "../cassettes/events/shop.jsonl.zst", "--limit", "10", "--to", "s3",
			"--set", "s3.bucket=none", "--set", "s3.endpoint=" + server.URL, "--set", "s3.path_style=true"})
	if text := fmt.Sprint(a.err); code != 4 || !strings.Contains(text, "NoSuchBucket") {
		t.Errorf("exit code %d\n%s%s", code, a.out, text)
	}
}

// breaking is a connection to a store that throttles and breaks now and then.
type breaking struct {
	next http.Handler
	mu   sync.Mutex
	gets map[string]int // objects, by how often they were asked for
	n    int
}

func (b *breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.n++
	n := b.n
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, ".zst") {
		b.gets[r.URL.Path]++
	}
	b.mu.Unlock()
	switch {
	case n%11 == 5:
		http.Error(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`, http.StatusServiceUnavailable)
	case n%7 == 3 && strings.Contains(r.URL.Path, ".zst"):
		rec := httptest.NewRecorder()
		b.next.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		body := rec.Body.Bytes()
		_, _ = w.Write(body[:len(body)/2]) // and then the connection breaks
		panic(http.ErrAbortHandler)
	default:
		b.next.ServeHTTP(w, r)
	}
}

// TestS3Crash kills runs that read a range of days from a store that throttles
// and breaks connections: every event of the range arrives, repeats are what
// was in flight, and objects outside the range are never asked for.
func TestS3Crash(t *testing.T) {
	t.Parallel()
	backend := s3mem.New()
	if err := backend.CreateBucket("events"); err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	const perObject, perDay = 60, 4
	for day := 1; day <= 30; day++ {
		for o := range perDay {
			var lines bytes.Buffer
			for n := range perObject {
				fmt.Fprintf(&lines, `{"type":"track","event":"E","messageId":"%02d-%d-%d","userId":"u","timestamp":"2024-06-%02dT%02d:00:00Z"}`+"\n", day, o, n, day, o*6)
			}
			key := fmt.Sprintf("logs/2024/06/%02d/%02d.jsonl.zst", day, o)
			data := enc.EncodeAll(lines.Bytes(), nil)
			if _, err := backend.PutObject("events", key, map[string]string{}, bytes.NewReader(data), int64(len(data)),
				nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := &breaking{next: gofakes3.New(backend).Server(), gets: map[string]int{}}
	server := httptest.NewServer(b)
	defer server.Close()
	p := newPartner(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Three days; objects are read of one more on either side, for clocks that
	// are wrong and for --lateness.
	const want = 3 * perDay * perObject
	hold := make(chan struct{})
	requests := 0
	p.answers(func(w http.ResponseWriter, r *http.Request, ids []string) bool {
		if requests++; requests == 9 || requests == 17 {
			close(hold)
			for _, id := range ids {
				p.seen[id]++
			}
			<-r.Context().Done() // taken, and nobody is told
			return true
		}
		return false
	})
	args := []string{"forward", "--from", "s3://events/logs/", "--s3-endpoint", server.URL,
		"--s3-path-style", "--layout", "{Y}/{M}/{D}", "--lateness", "24h", "--since", "2024-06-10", "--until", "2024-06-13",
		"--to", "webhook", "--set", "webhook.url=" + p.URL, "--opt", "webhook.batch_events=25",
		"--opt", "webhook.concurrency=1", "--state-dir", t.TempDir(), "-o", "json"}
	for kills := 0; ; kills++ {
		c := exec.Command(self, args...)
		c.Env = append(os.Environ(), "FANFOLD_TEST_MAIN=1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=testsecret",
			"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent")
		var out, errOut bytes.Buffer
		c.Stdout, c.Stderr = &out, &errOut
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if kills < 2 {
			<-hold
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait()
			p.mu.Lock() // until the request that hung is gone
			hold = make(chan struct{})
			p.mu.Unlock()
			continue
		}
		if err := c.Wait(); err != nil {
			t.Fatalf("%v\n%s%s", err, out.String(), errOut.String())
		}
		if s := summaryOf(t, out.String()); s.Destinations[0].Delivered != want || s.Status != "complete" {
			t.Errorf("summary %s", out.String())
		}
		break
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	again := 0
	for _, n := range p.seen {
		again += n - 1
	}
	if len(p.seen) != want || again > 2*25 {
		t.Errorf("%d events arrived, want %d; %d repeats", len(p.seen), want, again)
	}
	for path := range b.gets {
		if day := strings.Split(path, "/")[5]; day < "09" || day > "14" {
			t.Errorf("%s was asked for", path)
		}
	}
}
