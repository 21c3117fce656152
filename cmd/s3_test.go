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
	env := append(os.Environ(), "FANFOLD_TEST_MAIN=1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=testsecret", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent")
	forward := func(args ...string) *exec.Cmd {
		c := exec.Command(self, append([]string{"forward", "--state-dir", dir, "-o", "json"}, args...)...)
		c.Env = env
		return c
	}
	to := []string{"--from", in, "--to", "s3", "--set", "s3.bucket=events", "--set", "s3.prefix=archive", "--set", "s3.template={Y}/{M}/{D}/{H}", "--set", "s3.endpoint=" + server.URL, "--set", "s3.path_style=true", "--opt", "s3.batch_events=700"}
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
	objects, err := backend.ListBucket("events", &gofakes3.Prefix{HasPrefix: true, Prefix: "archive/2024/"}, gofakes3.ListBucketPage{})
	if err != nil || len(objects.Contents) < 5 {
		t.Fatalf("%d objects, %v", len(objects.Contents), err)
	}
	// And back, through our own reading of buckets.
	out := filepath.Join(dir, "out")
	back := forward("--from", "s3://events/archive/", "--s3-endpoint", server.URL, "--s3-path-style", "--layout", "{Y}/{M}/{D}/{H}", "--to", "file", "--set", "file.path="+out)
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
	// Sending all of it again writes the same objects.
	before := len(objects.Contents)
	if out, err := forward(append(to, "--fresh")...).CombinedOutput(); err != nil {
		t.Fatalf("again: %v\n%s", err, out)
	}
	objects, err = backend.ListBucket("events", &gofakes3.Prefix{HasPrefix: true, Prefix: "archive/"}, gofakes3.ListBucketPage{})
	if err != nil || len(objects.Contents) != before {
		t.Errorf("%d objects after the second time, %d before: %v", len(objects.Contents), before, err)
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
	code := a.execute(context.Background(), []string{"forward", "--from", "../cassettes/events/shop.jsonl.zst", "--limit", "10", "--to", "s3", "--set", "s3.bucket=none", "--set", "s3.endpoint=" + server.URL, "--set", "s3.path_style=true"})
	if text := fmt.Sprint(a.err); code != 4 || !strings.Contains(text, "NoSuchBucket") {
		t.Errorf("exit code %d\n%s%s", code, a.out, text)
	}
}
