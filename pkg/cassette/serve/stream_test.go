package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/foreign"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
	"github.com/klauspost/compress/gzip"
)

// clock is a clock that a test can set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// reverseOf serves one partner by rt.
func reverseOf(t *testing.T, partner string, rt http.RoundTripper) *httptest.Server {
	t.Helper()
	u, err := url.Parse(partner)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(Reverse([]cassette.Upstream{{Name: "x", URL: u}}, rt, nil, nil))
	t.Cleanup(s.Close)
	return s
}

// TestStreamsPass checks that every piece of a stream reaches the client before the
// partner sends the next, and that the pieces and their times are recorded and
// replayed.
func TestStreamsPass(t *testing.T) {
	const events = 4
	for _, c := range []struct{ name, contentType, encoding, piece string }{
		{"server-sent events", "text/event-stream", "", "data: {\"n\":%d,\"at\":\"SELF/x\"}\n\n"},
		{"server-sent events, gzip", "text/event-stream; charset=utf-8", "gzip", "data: {\"n\":%d}\n\n"},
		{"lines of JSON", "application/x-ndjson", "", "{\"n\":%d,\"mail\":\"ada.lovelace@analytical-engines.co.uk\"}\n"},
		{"text with pauses", "text/plain", "", "line %d\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan bool)
			var self string
			now := &clock{now: time.Unix(1e9, 0)}
			partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				var to io.Writer = w
				flush := func() { w.(http.Flusher).Flush() }
				if c.encoding == "gzip" {
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(w)
					defer z.Close()
					to = z
					flush = func() { _ = z.Flush(); w.(http.Flusher).Flush() }
				}
				flush()
				select {
				case <-got:
				case <-r.Context().Done():
					return
				}
				for n := range events {
					now.add(100 * time.Millisecond)
					fmt.Fprint(to, strings.ReplaceAll(fmt.Sprintf(c.piece, n), "SELF", self))
					flush()
					select {
					case <-got:
					case <-r.Context().Done():
						return
					}
				}
			}))
			defer partner.Close()
			self = partner.URL
			path := filepath.Join(t.TempDir(), "c.yaml")
			rec := newRecorder(t, path, record.Options{Now: now.Now})
			local := reverseOf(t, partner.URL, rec)
			resp, err := http.Get(local.URL + "/stream")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got <- true // for the headers
			pieces := bufio.NewReader(resp.Body)
			end := c.piece[len(c.piece)-1]
			for n := range events {
				want := strings.ReplaceAll(fmt.Sprintf(c.piece, n), "SELF", local.URL)
				for text := ""; !strings.HasSuffix(text, want); {
					line, failed := pieces.ReadString(end)
					if text += line; failed != nil {
						t.Fatalf("%q, then %v", text, failed)
					}
				}
				got <- true // lets the partner continue
			}
			p := finish(t, rec, replay.Options{})
			partner.Close()
			d := p.c.DetailsOf(0)
			if d == nil || len(d.Chunks) < events+1 {
				t.Fatalf("recorded %+v", d)
			}
			if c.encoding == "" { // a compressed frame has an end of its own
				var times []int64
				for _, k := range d.Chunks {
					times = append(times, k.MS)
				}
				if want := []int64{0, 100, 200, 300, 400}; !slices.Equal(times, want) {
					t.Errorf("the pieces came after %v ms, want %v", times, want)
				}
			}
			// The replay has the same pieces.
			req, err := http.NewRequest("GET", partner.URL+"/stream", nil)
			if err != nil {
				t.Fatal(err)
			}
			back, err := p.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 1<<16)
			for n := range events {
				k, err := back.Body.Read(buf)
				want := strings.ReplaceAll(fmt.Sprintf(c.piece, n), "SELF", self)
				if c.contentType == "application/x-ndjson" {
					want = want[:10]
				}
				if err != nil || !strings.HasPrefix(string(buf[:k]), want) || buf[k-1] != '\n' {
					t.Errorf("piece %d is %q, %v, want %q", n, buf[:k], err, want)
				}
			}
			if rest, err := io.ReadAll(back.Body); err != nil || len(rest) > 0 {
				t.Errorf("behind it %q, %v", rest, err)
			}
		})
	}
}

// TestStreamLeft checks that a stream without an end is recorded when the client
// leaves, and that a replay of it does not end before the client leaves either.
func TestStreamLeft(t *testing.T) {
	partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer partner.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	check := func(base string) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", base+"/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		buf := make([]byte, 9)
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "data: 1\n\n" {
			t.Errorf("%q, %v", buf, err)
		}
		cancel()
		if _, err := resp.Body.Read(buf); !errors.Is(err, context.Canceled) {
			t.Errorf("behind it: %v", err)
		}
	}
	live := reverseOf(t, partner.URL, rec)
	check(live.URL)
	live.Close()
	p := finish(t, rec, replay.Options{})
	if d := p.c.DetailsOf(0); d == nil || !d.Left || len(d.Chunks) != 2 {
		t.Errorf("recorded %+v", d)
	}
	check(reverseOf(t, partner.URL, p).URL)
}

// TestEncodingsStay checks that a body which stays compressed keeps its
// Content-Encoding, and that no other body does.
func TestEncodingsStay(t *testing.T) {
	text := "ordinary text, long enough to be compressed: " + strings.Repeat("again ", 50)
	compressed := func(name string) string {
		data, err := wire.Encode(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	raw := compressed("deflate")
	raw = raw[2 : len(raw)-4] // without the header and checksum of zlib
	for name, c := range map[string]struct{ encoding, body, wantEncoding, want string }{
		"gzip":               {"gzip", compressed("gzip"), "", text},
		"x-gzip":             {"X-GZIP", compressed("gzip"), "", text},
		"deflate":            {"deflate", compressed("deflate"), "", text},
		"deflate, raw":       {"deflate", raw, "", text},
		"br":                 {"br", compressed("br"), "", text},
		"zstd":               {"zstd", compressed("zstd"), "", text},
		"two":                {"deflate, gzip", compressed("deflate, gzip"), "", text},
		"unknown":            {"aes128gcm", "\x00\x01\x02", "aes128gcm", "\x00\x01\x02"},
		"broken gzip":        {"gzip", compressed("gzip")[:20], "gzip", compressed("gzip")[:20]},
		"decoded by another": {"gzip", text, "", text},
		"decoded, br":        {"br", text, "", text},
		"nothing":            {"gzip", "", "", ""},
		"identity":           {"identity", text, "", text},
		"unknown, and text": {"aws-chunked", "5;chunk-signature=x\r\nhello\r\n", "aws-chunked",
			"5;chunk-signature=x\r\nhello\r\n"},
		"unknown within gzip": {"custom, gzip", compressed("gzip"), "custom, gzip", compressed("gzip")},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{"Content-Encoding": {c.encoding}}
			if got := wire.Plain(h, c.body); got != c.want || h.Get("Content-Encoding") != c.wantEncoding {
				t.Errorf("%q as %q, want %q as %q", got, h.Get("Content-Encoding"), c.want, c.wantEncoding)
			}
			// A client gets the same live and replayed.
			partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				w.Header().Set("Content-Encoding", c.encoding)
				_, _ = io.WriteString(w, c.body)
			}))
			defer partner.Close()
			rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
			live := sample.Ask(t, rec, "GET", partner.URL+"/x", "", nil)
			if string(live.Body) != c.body || live.Header.Get("Content-Encoding") != c.encoding {
				t.Errorf("live: %q as %q", live.Body, live.Header.Get("Content-Encoding"))
			}
			p := finish(t, rec, replay.Options{})
			back := sample.Ask(t, p, "GET", partner.URL+"/x", "", nil)
			h = http.Header{"Content-Encoding": {c.encoding}}
			if got := wire.Plain(back.Header, string(back.Body)); got != wire.Plain(h, c.body) ||
				back.Header.Get("Content-Encoding") != h.Get("Content-Encoding") {
				t.Errorf("replayed: %q as %q", got, back.Header.Get("Content-Encoding"))
			}
			// A cassette of go-vcr whose client asked for the encoding itself; and a
			// HAR file that is written and read again.
			i := sample.Order()
			i.Request.Method, i.Request.Body = "GET", ""
			i.Response.Body, i.Response.Headers = c.body, http.Header{"Content-Encoding": {c.encoding},
				"Content-Type": {"text/plain"}}
			k := &cassette.Cassette{Path: "c.yaml", Interactions: []*cassette.Interaction{i}}
			old, err := replay.New([]*cassette.Cassette{k}, replay.Options{})
			if err != nil {
				t.Fatal(err)
			}
			back = sample.Ask(t, old, "GET", i.Request.URL, "", nil)
			if string(back.Body) != c.want || back.Header.Get("Content-Encoding") != c.wantEncoding {
				t.Errorf("from go-vcr: %q as %q", back.Body, back.Header.Get("Content-Encoding"))
			}
			har, err := foreign.HAR(k, "test 1")
			if err != nil {
				t.Fatal(err)
			}
			reader, ok := foreign.For(har)
			if !ok {
				t.Fatal("the HAR file is not recognised")
			}
			got, err := reader.Read(har, foreign.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := got.Interactions[0].Response; got.Body != c.want || got.Headers.Get("Content-Encoding") != c.wantEncoding {
				t.Errorf("from HAR: %q as %q", got.Body, got.Headers.Get("Content-Encoding"))
			}
		})
	}
}

// TestTrailers checks that trailers are kept, live, recorded and replayed, and that no
// content type is added if the partner sends none.
func TestTrailers(t *testing.T) {
	partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header()["Content-Type"] = nil
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "<html>%s %s", data, r.Trailer.Get("X-Sent"))
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
	}))
	defer partner.Close()
	send := func(base string) *http.Response {
		t.Helper()
		req, err := http.NewRequest("POST", base+"/x", io.NopCloser(strings.NewReader("hello")))
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Sent": {"behind"}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil || string(data) != "<html>hello behind" {
			t.Errorf("%q, %v", data, err)
		}
		if resp.Trailer.Get("X-Sum") != "42" || resp.Trailer.Get("X-Late") != "unannounced" {
			t.Errorf("trailers %v", resp.Trailer)
		}
		if v, ok := resp.Header["Content-Type"]; ok {
			t.Errorf("a type was made up: %v", v)
		}
		return resp
	}
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	live := reverseOf(t, partner.URL, rec)
	send(live.URL)
	live.Close()
	p := finish(t, rec, replay.Options{})
	send(reverseOf(t, partner.URL, p).URL)
	if got := p.c.Interactions[0].Response.Body; !bytes.Contains([]byte(got), []byte("hello")) {
		t.Errorf("recorded %q", got)
	}
}
