package cmd

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// thinBucket is a server whose listings come in pages of three keys, and that can lose an object in the
// moment in which somebody begins to read it.
type thinBucket struct {
	t       *testing.T
	backend *s3mem.Backend
	next    http.Handler

	mu     sync.Mutex
	more   *sync.Cond // a listing has been asked for to its end
	lists  int
	pages  int
	losing string // key
}

func newThinBucket(t *testing.T) (*thinBucket, string) {
	t.Helper()
	b := &thinBucket{t: t, backend: s3mem.New()}
	b.more = sync.NewCond(&b.mu)
	if err := b.backend.CreateBucket("events"); err != nil {
		t.Fatal(err)
	}
	b.next = gofakes3.New(b.backend).Server()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return b, server.URL
}

// begin starts the real binary, which may read the bucket.
func (b *thinBucket) begin(args ...string) *running {
	b.t.Helper()
	return beginIn(b.t, []string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=testsecret",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent"},
		args...)
}

func (b *thinBucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("list-type") == "2" {
		q.Set("max-keys", "3")
		r.URL.RawQuery = q.Encode()
		rec := httptest.NewRecorder()
		b.next.ServeHTTP(rec, r)
		b.mu.Lock()
		if b.pages++; !strings.Contains(rec.Body.String(), "<IsTruncated>true") {
			b.lists++
			b.more.Broadcast()
		}
		b.mu.Unlock()
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()) // whoever is gone needs nothing
		return
	}
	b.mu.Lock()
	lose := b.losing
	b.mu.Unlock()
	if lose != "" && strings.HasSuffix(r.URL.Path, lose) {
		b.deletes(lose)
	}
	b.next.ServeHTTP(w, r)
}

func (b *thinBucket) puts(key, text string) {
	b.t.Helper()
	data := []byte(text)
	if _, err := b.backend.PutObject("events", key, map[string]string{}, bytes.NewReader(data), int64(len(data)),
		nil); err != nil {
		b.t.Error(err)
	}
}

func (b *thinBucket) deletes(key string) {
	if _, err := b.backend.DeleteObject("events", key); err != nil {
		b.t.Error(err)
	}
}

// listed waits until the prefix has been listed as a whole after now, and once more, so that what a
// listing has found was looked at.
func (b *thinBucket) listed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for until := b.lists + 2; b.lists < until; {
		b.more.Wait()
	}
}

// TestFollowBucket follows a prefix, whose listing comes in pages: objects that are new, also with keys
// before those that are there; objects that are deleted when they were read; a kill; a stop. What is
// overwritten after it was read, and what goes while it is to be read, is refused alone; what comes in the place of the
// latter is read.
func TestFollowBucket(t *testing.T) {
	t.Parallel()
	b, endpoint := newThinBucket(t)
	p := newPartner(t)
	key := func(i int) string { return fmt.Sprintf("logs/%03d.jsonl", i) }
	for i := 10; i < 17; i++ {
		b.puts(key(i), tracks((i-10)*10, (i-9)*10))
	}
	args := []string{"forward", "--from", "s3://events/logs/", "--s3-endpoint", endpoint, "--s3-path-style",
		"--to", "webhook", "--set", "webhook.url=" + p.URL, "--state-dir", t.TempDir(), "--progress", "never", "-o", "json",
		"--follow",
		"--poll", "1s"}
	r := b.begin(args...)
	p.await(70)
	b.puts(key(20), tracks(70, 80))
	p.await(80)
	b.puts(key(5), tracks(80, 90)) // late, with a key before all others
	b.puts(key(13)+".late", tracks(90, 100))
	p.await(100)
	b.deletes(key(10))
	b.deletes(key(20))
	b.listed()
	code, out, said := r.ends(os.Interrupt)
	if code != 0 || !strings.Contains(said, "nothing is pending") || summaryOf(t, out).Read != 100 {
		t.Fatalf("exit code %d: %s%s", code, out, said)
	}
	p.once(t, 100)
	b.mu.Lock()
	if b.pages < 3*b.lists {
		t.Errorf("%d listings had %d pages", b.lists, b.pages)
	}
	b.mu.Unlock()
	r = b.begin(args...)
	b.puts(key(21), tracks(100, 110))
	p.await(110)
	r.ends(syscall.SIGKILL)
	b.puts(key(11), tracks(900, 910)) // another one than the one that was read
	b.puts(key(22), tracks(110, 120))
	r = b.begin(args...)
	p.await(120)
	r.says("s3://events/logs/011.jsonl has changed since the run began")
	b.mu.Lock()
	b.losing = key(23)
	b.mu.Unlock()
	b.puts(key(23), tracks(910, 920))
	r.says("s3://events/logs/023.jsonl")
	b.puts(key(24), tracks(120, 130))
	p.await(130)
	b.mu.Lock()
	b.losing = ""
	b.mu.Unlock()
	b.puts(key(23), tracks(130, 140)) // of the one that went nothing was read, and this is another
	p.await(140)
	b.listed()
	code, out, said = r.ends(syscall.SIGTERM)
	if code != 1 || strings.Count(said, "s3://events/logs/011.jsonl has changed") < 1 || strings.Contains(said, "bug") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	p.onceBut(t, 140, 100, 110) // what may have been in flight at the kill
	// Without --follow, and on the next day, it is the same.
	r = b.begin(args[:len(args)-3]...)
	if code, _, said = r.ends(nil); code != 1 || !strings.Contains(said, "s3://events/logs/011.jsonl has changed") {
		t.Errorf("exit code %d: %s", code, said)
	}
	p.onceBut(t, 140, 100, 110)
}
