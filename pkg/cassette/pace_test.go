package cassette

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// largeJSON is an answer of about seven megabytes, like a shop's export.
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
		case "/large-bytes":
			w.Header().Set("Content-Type", "application/octet-stream")
		case "/far", "/far-fast":
			began := time.Now()
			const piece = 64 << 10
			byteTakes := 10 * time.Nanosecond
			if r.URL.Path == "/far-fast" {
				byteTakes = time.Nanosecond
			}
			for at := 0; at < len(large); at += piece {
				time.Sleep(time.Until(began.Add(20*time.Millisecond + time.Duration(at)*byteTakes)))
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

// TestNobodyWaitsForRedaction checks that the redaction of a large answer delays
// neither its own client nor others.
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
	<-held // redaction has begun, and is held up
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

// way is a route from a client to a partner.
type way struct{ name, base string }

// waysTo returns the routes to a partner that are compared: a direct one; a relay that
// copies bytes without parsing HTTP, so that no proxy can be faster; net/http's reverse
// proxy; and a recorder.
func waysTo(b *testing.B, partner string) []way {
	u, err := url.Parse(partner)
	if err != nil {
		b.Fatal(err)
	}
	bare := httptest.NewServer(httputil.NewSingleHostReverseProxy(u))
	b.Cleanup(bare.Close)
	rec := newRecorder(b, filepath.Join(b.TempDir(), "c.yaml"), RecordOptions{})
	ours := httptest.NewServer(Reverse([]Upstream{{"x", u}}, rec, nil, nil))
	b.Cleanup(func() {
		ours.Close()
		if err := rec.Abandon(); err != nil {
			b.Error(err)
		}
	})
	return []way{{"direct", partner}, {"relay", relay(b, u.Host)}, {"bare", bare.URL}, {"recorded", ours.URL}}
}

// relay copies bytes to and from an address. It returns its own address.
func relay(b *testing.B, to string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var busy sync.WaitGroup
	b.Cleanup(func() {
		_ = l.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // closes the idle connections of its clients
		busy.Wait()
	})
	busy.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			busy.Go(func() {
				defer client.Close()
				if partner, err := net.Dial("tcp", to); err == nil {
					splice(client, client, partner)
					_ = partner.Close()
				}
			})
		}
	})
	return "http://" + l.Addr().String()
}

// quantiles reports the median and the 99th percentile of each route, and the median as
// a multiple of the direct route's.
func quantiles(b *testing.B, ways []way, took [][]time.Duration) {
	at := func(n int, q float64) float64 {
		slices.Sort(took[n])
		return float64(took[n][int(float64(len(took[n])-1)*q)])
	}
	for n, w := range ways {
		b.ReportMetric(at(n, .5)/1e6, w.name+"-p50-ms")
		b.ReportMetric(at(n, .99)/1e6, w.name+"-p99-ms")
		if n > 0 {
			b.ReportMetric(at(n, .5)/at(0, .5), w.name+"-x")
		}
	}
}

// BenchmarkSevenMiB transfers a large answer over each route in turn, so that other
// load on the machine affects all of them equally. The answer comes in chunks, with a
// length, as binary data that is not searched for links, and from a distant partner (20
// ms, 100 MB/s and 1 GB/s). Run it with -benchtime 30x.
//
// The requirement: from a distant partner, a recorded answer takes at most 1.3 times as
// long as a direct one. On the loopback every proxy takes longer, because the network
// costs nothing there; the relay shows how much.
func BenchmarkSevenMiB(b *testing.B) {
	for _, path := range []string{"/large", "/large-known", "/large-bytes", "/far", "/far-fast"} {
		b.Run(path[1:], func(b *testing.B) {
			ways := waysTo(b, exportShop(b).URL)
			took := make([][]time.Duration, len(ways))
			for b.Loop() {
				for n, w := range ways {
					began := time.Now()
					fetchAll(b, w.base+path)
					took[n] = append(took[n], time.Since(began))
				}
			}
			quantiles(b, ways, took)
		})
	}
}

// BenchmarkSmallBeside sends small requests over the same route while a large answer
// arrives and, if it is recorded, is then redacted.
func BenchmarkSmallBeside(b *testing.B) {
	ways := waysTo(b, exportShop(b).URL)
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for n, w := range ways {
			done := make(chan bool)
			go func() {
				defer close(done)
				fetchAll(b, w.base+"/far")
			}()
			for range 30 {
				began := time.Now()
				fetchAll(b, w.base+"/small")
				took[n] = append(took[n], time.Since(began))
			}
			<-done
		}
	}
	quantiles(b, ways, took)
}

func fetchAll(b *testing.B, url string) {
	resp, err := http.Get(url)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		err = errors.Join(err, resp.Body.Close())
	}
	if err != nil {
		b.Error(err)
	}
}

// BenchmarkRedaction measures what happens after an answer of seven megabytes.
func BenchmarkRedaction(b *testing.B) {
	body := string(largeJSON("https://api.shop.example"))
	r := newRedactor([]byte("key"), []redact.Secret{{Name: "S", Value: "hunter2-hunter2"}})
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		i := plainly()
		i.Response.Body = body
		r.Interaction(i)
		if leaks := r.Scan(0, i); len(leaks) > 0 {
			b.Fatal(leaks)
		}
	}
}

// TestRedactionGivesWay checks that the redaction of a large answer waits while a
// request is under way, and a moment longer, but that of a small answer does not.
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
