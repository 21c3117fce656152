package serve

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
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

// BenchmarkServe measures the whole server with 16 clients on the same processors. The
// requests match in their canonical form.
func BenchmarkServe(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := sample.Events(n)
			p, err := replay.New([]*cassette.Cassette{{Path: "c.yaml", Interactions: list}},
				replay.Options{Repeat: "cycle", Redactor: sample.Redactor("k")})
			if err != nil {
				b.Fatal(err)
			}
			u, err := url.Parse("https://api.shop.example")
			if err != nil {
				b.Fatal(err)
			}
			server := httptest.NewServer(Reverse([]cassette.Upstream{{Name: "shop", URL: u}}, p, nil, nil))
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
			var next atomic.Int64
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for {
						k := int(next.Add(1)) - 1
						if k >= b.N {
							return
						}
						body := strings.Replace(list[k%n].Request.Body, `"messageId":"m-`, `"messageId":"n-`, 1)
						began := time.Now()
						resp, err := client.Post(server.URL+"/v1/track", "application/json", strings.NewReader(body))
						if err != nil {
							b.Error(err)
							return
						}
						_, err = io.Copy(io.Discard, resp.Body)
						took[k] = time.Since(began)
						if resp.Body.Close(); err != nil || resp.StatusCode != 200 {
							b.Errorf("%d %v", resp.StatusCode, err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		})
	}
}

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
	rec := newRecorder(b, filepath.Join(b.TempDir(), "c.yaml"), record.Options{})
	ours := httptest.NewServer(Reverse([]cassette.Upstream{{Name: "x", URL: u}}, rec, nil, nil))
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
	r := sample.Redactor("key", redact.Secret{Name: "S", Value: "hunter2-hunter2"})
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		i := sample.Order()
		i.Response.Body = body
		r.Interaction(i)
		if leaks := r.Scan(0, i); len(leaks) > 0 {
			b.Fatal(leaks)
		}
	}
}
