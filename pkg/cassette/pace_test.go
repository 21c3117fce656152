package cassette

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// largeJSON is an answer of about seven megabytes, as an export of a shop is.
func largeJSON(self string) []byte {
	var b bytes.Buffer
	b.WriteString(`{"orders":[`)
	for n := 0; b.Len() < 7<<20; n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"ord_%06d","item":"A chair, wood","price":%d.50,"customer":{"name":"Customer %d",`+
			`"email":"customer%d@shop-mail.co.uk","city":"Zürich"},"tags":["new","paid"],"self":"%s/orders/%d"}`, n, n%900, n,
			n%5000, self, n)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// exportShop serves a large answer and a small one.
func exportShop(tb testing.TB) *httptest.Server {
	var large []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/small":
			_, _ = io.WriteString(w, `{"ok":true}`)
			return
		case "/large-known":
			w.Header().Set("Content-Length", strconv.Itoa(len(large)))
		case "/far":
			began := time.Now()
			const piece = 64 << 10
			for at := 0; at < len(large); at += piece {
				due := began.Add(20*time.Millisecond + time.Duration(at)*10) // a byte takes 10 ns
				time.Sleep(time.Until(due))
				_, _ = w.Write(large[at:min(len(large), at+piece)])
			}
			return
		}
		_, _ = w.Write(large)
	}))
	large = largeJSON(s.URL)
	tb.Cleanup(s.Close)
	return s
}

// TestNobodyWaitsForRedaction: while the redaction of a large answer is held up,
// its client has it already, and others are answered.
func TestNobodyWaitsForRedaction(t *testing.T) {
	shop := exportShop(t)
	held, release := make(chan bool), make(chan bool)
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), RecordOptions{})
	rec.beforeRedaction = func() {
		held <- true
		<-release
	}
	local := reverseOf(t, shop.URL, rec)
	if got := ask(t, http.DefaultTransport, "GET", local.URL+"/large", "", nil); len(got.body) < 7<<20 {
		t.Errorf("%d bytes", len(got.body))
	}
	<-held // somebody is at it, and stays there
	for range 20 {
		if got := ask(t, http.DefaultTransport, "GET", local.URL+"/small", "", nil); string(got.body) != `{"ok":true}` {
			t.Errorf("%s", got.body)
		}
	}
	rec.mu.Lock()
	if len(rec.queue) != 20 || len(rec.kept) != 0 {
		t.Errorf("%d wait, %d are kept", len(rec.queue), len(rec.kept))
	}
	rec.beforeRedaction = nil
	rec.mu.Unlock()
	close(release)
	local.Close()
	c, err := rec.Finish(Meta{})
	if err != nil || len(c.Interactions) != 21 || !strings.HasSuffix(c.Interactions[0].Request.URL, "/large") {
		t.Errorf("%v, %v", c, err)
	}
}

// BenchmarkSevenMiB is a large answer without a recorder in between, through a
// proxy that does nothing, and recorded: in chunks, with its length, and from a partner
// that is as far away as one is (20 ms, 100 MB/s). What has to hold: from afar, recorded
// takes at most 1.3 times as long as without. On the loopback any proxy takes longer, as
// the network costs nothing there.
func BenchmarkSevenMiB(b *testing.B) {
	for _, path := range []string{"/large", "/large-known", "/far"} {
		b.Run(path[1:], func(b *testing.B) {
			benchPaths(b, func(b *testing.B, base string) {
				b.SetBytes(7 << 20)
				for b.Loop() {
					fetchAll(b, base+path)
				}
			})
		})
	}
}

// BenchmarkSmallBeside is a small request while large answers come in beside it.
func BenchmarkSmallBeside(b *testing.B) {
	benchPaths(b, func(b *testing.B, base string) {
		fetchAll(b, base+"/large") // is being redacted from now on, if it is recorded
		for b.Loop() {
			fetchAll(b, base+"/small")
		}
	})
}

func fetchAll(b *testing.B, url string) {
	resp, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		b.Fatal(err)
	}
}

func benchPaths(b *testing.B, run func(b *testing.B, base string)) {
	shop := exportShop(b)
	u, err := url.Parse(shop.URL)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("direct", func(b *testing.B) { run(b, shop.URL) })
	b.Run("proxied", func(b *testing.B) {
		s := httptest.NewServer(httputil.NewSingleHostReverseProxy(u))
		defer s.Close()
		run(b, s.URL)
	})
	b.Run("held", func(b *testing.B) { // recorded, without the work behind
		rec := newRecorder(b, filepath.Join(b.TempDir(), "c.yaml"), RecordOptions{})
		wait := make(chan bool)
		rec.beforeRedaction = func() { <-wait }
		s := httptest.NewServer(Reverse([]Upstream{{"x", u}}, rec, nil, nil))
		run(b, s.URL)
		s.Close()
		close(wait)
		if err := rec.Abandon(); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("recorded", func(b *testing.B) {
		rec := newRecorder(b, filepath.Join(b.TempDir(), "c.yaml"), RecordOptions{})
		s := httptest.NewServer(Reverse([]Upstream{{"x", u}}, rec, nil, nil))
		run(b, s.URL)
		s.Close()
		if err := rec.Abandon(); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkRedaction is what is done behind an answer of seven megabytes.
func BenchmarkRedaction(b *testing.B) {
	body := string(largeJSON("https://api.shop.example"))
	r := NewRedactor([]byte("key"), []Secret{{Name: "S", Value: "hunter2-hunter2"}})
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		i := ordinary()
		i.Response.Body = body
		r.Interaction(i)
		if leaks := r.scanInteraction(0, i); len(leaks) > 0 {
			b.Fatal(leaks)
		}
	}
}

// TestRedactionGivesWay: that of a large answer waits while a request is under way, and
// a moment longer; that of a small one does not.
func TestRedactionGivesWay(t *testing.T) {
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), RecordOptions{})
	rec.urgent.Add(1)
	rec.givesWay(0)() // would wait for ever
	done := make(chan bool)
	go func() {
		rec.givesWay(1 << 30)()
		close(done)
	}()
	rec.mu.Lock()
	rec.answered()
	rec.mu.Unlock()
	<-done
	if rec.recent.Load() {
		t.Error("it went on at once")
	}
	if err := rec.Abandon(); err != nil {
		t.Error(err)
	}
}
