package serve

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

func testSwaps() swaps {
	l := &Links{}
	return l.turnsOf(link{"https://api.shop.example/v2", "http://127.0.0.1:8089"}).answers
}

// TestTurn checks that an upstream's address is replaced in every spelling, and that
// nothing else is, even if it looks similar.
func TestTurn(t *testing.T) {
	turns := testSwaps()
	for in, want := range map[string]string{
		"https://api.shop.example/v2/x":                          "http://127.0.0.1:8089/x",
		"https://api.shop.example/v2":                            "http://127.0.0.1:8089",
		"https://api.shop.example:443/v2?a=1":                    "http://127.0.0.1:8089?a=1",
		`{"next":"https:\/\/api.shop.example\/v2\/x"}`:           `{"next":"http:\/\/127.0.0.1:8089\/x"}`,
		`<https://api.shop.example/v2/a>; rel="next"`:            `<http://127.0.0.1:8089/a>; rel="next"`,
		"/login?to=https%3A%2F%2Fapi.shop.example%2Fv2%2Fx&b":    "/login?to=http%3A%2F%2F127.0.0.1%3A8089%2Fx&b",
		"/login?to=https%3a%2f%2fapi.shop.example%2fv2%2fx":      "/login?to=http%3a%2f%2f127.0.0.1%3a8089%2fx",
		"https://api.shop.example/v20/x":                         "",
		"https://api.shop.example/v1/x":                          "",
		"https://api.shop.example.evil.example/v2/x":             "",
		"https://api.shop.example:8443/v2/x":                     "",
		"to=https%3A%2F%2Fapi.shop.example%2Fv2%3A8443":          "",
		"https://api.shop.examplehttps://api.shop.example/v2/x":  "https://api.shop.examplehttp://127.0.0.1:8089/x",
		"https://api.shop.example/v2https://api.shop.example/v2": "https://api.shop.example/v2http://127.0.0.1:8089",
		"": "", "h": "", "https://": "",
	} {
		if want == "" {
			want = in
		}
		if got, _ := turnString(in, turns); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// FuzzTurn checks that the result does not depend on the pieces in which a text is
// read.
func FuzzTurn(f *testing.F) {
	f.Add([]byte("a https://api.shop.example/v2/b https://api.shop.example/v2x"), uint8(3))
	f.Add([]byte(`https:\/\/api.shop.example\/v2\/`), uint8(1))
	f.Add([]byte("https%3A%2F%2Fapi.shop.example%2Fv2%3"), uint8(7))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		turns := testSwaps()
		want, n, _ := turn(nil, bytes.Clone(data), turns, true)
		r := &turning{from: bytes.NewReader(data), swaps: turns}
		if size > 0 {
			r.from = &few{data, int(size)}
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q in pieces of %d becomes %q, whole %q (%d), %v", data, size, got, want, n, err)
		}
		// The same for a body of known length.
		h := holdLinks(io.NopCloser(&few{data, max(1, int(size))}), len(data), turns, nil)
		got, err = io.ReadAll(h)
		if err != nil || !bytes.Equal(got, want) || len(got) != h.length() && len(h.links) > 0 {
			t.Errorf("%q of known length becomes %q, whole %q, %v", data, got, want, err)
		}
		if n == 0 && !bytes.Equal(want, data) {
			t.Errorf("%q becomes %q without a link in it", data, want)
		}
	})
}

// few is a reader that returns a few bytes at a time.
type few struct {
	data []byte
	n    int
}

func (f *few) Read(p []byte) (int, error) {
	if len(f.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.data[:min(f.n, len(f.data))])
	f.data = f.data[n:]
	return n, nil
}

// TestLinksBothWays checks that a client which follows any kind of link stays with us,
// live and replayed, and that the recording holds the upstream's addresses only.
func TestLinksBothWays(t *testing.T) {
	var self string
	var got []string
	partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if r.Method == "POST" {
			got = append(got, r.URL.Query().Get("back")+" "+string(data)+" "+r.Header.Get("Referer"))
			return
		}
		kind := strings.TrimPrefix(r.URL.Path, "/")
		w.Header().Set("Link", "<"+self+"/next>; rel=\"next\"")
		w.Header().Set("Set-Cookie", "sid=c00kie-c00kie; Domain=127.0.0.1; Secure; Path=/")
		body := []byte(`{"next":"` + self + `/page2","html":"<a href='` + strings.ReplaceAll(self, "/", `\/`) + `\/x'>"}`)
		w.Header().Set("Content-Type", "application/json")
		switch kind {
		case "binary":
			w.Header().Set("Content-Type", "image/png")
		case "digest":
			w.Header().Set("Content-MD5", "x")
		case "streamed":
			for _, b := range body {
				_, _ = w.Write([]byte{b})
				w.(http.Flusher).Flush()
			}
			return
		case "gzip", "br", "deflate", "zstd":
			if body, err = wire.Encode(kind, body); err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Encoding", kind)
		}
		_, _ = w.Write(body)
	}))
	defer partner.Close()
	self = partner.URL
	u, err := url.Parse(self)
	if err != nil {
		t.Fatal(err)
	}
	links := &Links{}
	check := func(rt http.RoundTripper) {
		t.Helper()
		local := httptest.NewServer(Reverse([]cassette.Upstream{{Name: "shop", URL: u}}, rt, nil, links))
		defer local.Close()
		for _, kind := range []string{"plain", "binary", "digest", "streamed", "gzip", "br", "deflate", "zstd"} {
			a := sample.Ask(t, http.DefaultTransport, "GET", local.URL+"/"+kind, "", nil)
			text := wire.Plain(a.Header, string(a.Body))
			want := strings.ReplaceAll(`{"next":"X/page2","html":"<a href='`, "X", local.URL) +
				strings.ReplaceAll(local.URL, "/", `\/`) + `\/x'>"}`
			if kind == "binary" || kind == "digest" {
				want = strings.ReplaceAll(strings.ReplaceAll(want, local.URL, self), strings.ReplaceAll(local.URL, "/", `\/`),
					strings.ReplaceAll(self, "/", `\/`))
			}
			if text != want {
				t.Errorf("%s: %s, want %s", kind, text, want)
			}
			if got, want := a.Header.Get("Link"), "<"+local.URL+"/next>; rel=\"next\""; got != want {
				t.Errorf("%s: Link %s", kind, got)
			}
			if got := a.Header.Get("Set-Cookie"); !strings.HasPrefix(got, "sid=") || strings.Contains(got, "Domain") ||
				strings.Contains(got, "Secure") {
				t.Errorf("%s: Set-Cookie %s", kind, got)
			}
		}
		sample.Ask(t, http.DefaultTransport, "POST", local.URL+"/cb?back="+url.QueryEscape(local.URL+"/a"),
			"application/json", []byte(`{"to":"`+local.URL+`/b"}`), "Referer", local.URL+"/c")
	}
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	check(rec)
	if want := fmt.Sprintf(`%s/a {"to":"%s/b"} %s/c`, self, self, self); len(got) != 1 || got[0] != want {
		t.Errorf("the partner got %q, want %q", got, want)
	}
	if n := links.turned.Load(); n != 8+6*2 {
		t.Errorf("%d links were counted", n)
	}
	if !strings.Contains(links.Sentence(), "20 links") ||
		!strings.Contains(links.Sentence(), "1 answers were not looked through") {
		t.Errorf("it says %s", links.Sentence())
	}
	p := finish(t, rec, replay.Options{})
	check(p)
	if u := p.Usage(); len(u.Missed) > 0 || len(u.Unused) > 0 {
		t.Errorf("%+v", u)
	}
}

// TestTurningHoldsNothingBack checks that each event of a stream is passed on at once,
// with or without links.
func TestTurningHoldsNothingBack(t *testing.T) {
	r := &turning{from: iotest.OneByteReader(strings.NewReader("data: https://api.shop.example/v2/x\n\nhttps://api")),
		swaps: testSwaps()}
	var got []byte
	p := make([]byte, 100)
	for !bytes.HasSuffix(got, []byte("\n\n")) {
		n, err := r.Read(p)
		if err != nil {
			t.Fatalf("%q, then %v", got, err)
		}
		got = append(got, p[:n]...)
	}
	if string(got) != "data: http://127.0.0.1:8089/x\n\n" {
		t.Errorf("%q", got)
	}
}

// TestTurningInAnyMemory checks that a reader gets the same bytes whatever the size of
// its buffer, and wherever that ends within an address.
func TestTurningInAnyMemory(t *testing.T) {
	text := strings.Repeat("a line that has no link in it, only words\n", 5000)
	for n := range 40 {
		text += strings.Repeat("x", n) + " https://api.shop.example/v2/x, https://api.shop.exampl"
	}
	want, _ := turnString(text, testSwaps())
	for _, size := range []int{1, 100, turningSize / 2, turningSize/2 + 7, turningSize, 256 << 10} {
		for name, from := range map[string]io.Reader{"whole": strings.NewReader(text),
			"with the end": iotest.DataErrReader(strings.NewReader(text)),
			"halves":       iotest.HalfReader(strings.NewReader(text))} {
			r := &turning{from: from, swaps: testSwaps()}
			var got []byte
			p := make([]byte, size)
			for {
				n, err := r.Read(p)
				got = append(got, p[:n]...)
				if err != nil {
					break
				}
			}
			if string(got) != want {
				t.Errorf("%s, memory of %d bytes: %d bytes, want %d", name, size, len(got), len(want))
			}
		}
	}
}
