package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
)

// oddTargets are paths and queries that net/url would write differently, or that
// proxies like to normalize.
var oddTargets = []string{
	"/projects/group%2Fproject", "/a%2fb", "/%41%42", "/a%7Eb", "/a~b", "/a%21b", "/a!b", "/a%27b", "/a'b", "/a%28b%29",
	"/a(b)", "/a%2Ab", "/a*b",
	"/a%3Bb;c", "/a%3Ab:c", "/a%40b@c", "/a%26b&c", "/a%3Db=c", "/a%2Bb+c", "/a%24b$c", "/a%2Cb,c", "/a[b]", "/a%5Bb%5D",
	"/a{b}|c^d`e", "/a\"b<c>d", "/a\\b",
	"/z\xc3\xbcrich/z%C3%BCrich/z%c3%bcrich", "/a//b", "//a/b", "//a%2Fb/c[d]", "/a/./b/../c", "/a/%2e%2e/b", "/", "/?",
	"/x?", "/x??a", "/x?a=b?c", "/x?a;b", "/x?a=%zz",
	"/x?q=a%20b+c&q=&&x", "/x?u=http://h/p%2F?", "/x?a=[1]&b={c}|^`\"<>", "/x%00y", "/100%25", "/;v=1/x", "/x?%61=%62",
}

// listenRaw records the request lines exactly as they arrive, and answers each request.
func listenRaw(t *testing.T) (base string, lines chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines = make(chan string, 1000)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					lines <- strings.TrimSpace(line)
					for strings.TrimSpace(line) != "" {
						if line, err = r.ReadString('\n'); err != nil {
							return
						}
					}
					fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), lines
}

// sendRaw sends request lines unchanged, and returns the statuses.
func sendRaw(t *testing.T, host string, targets []string) (statuses []string) {
	t.Helper()
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, target := range targets {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		statuses = append(statuses, resp.Status)
	}
	return statuses
}

// TestAddresses checks that an address arrives byte for byte as the client sent it, is
// recorded like that, and is found again, through both kinds of proxy.
func TestAddresses(t *testing.T) {
	ca, err := NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		prefix string // the upstream's own path
		proxy  func(rt http.RoundTripper, base *url.URL) (h http.Handler, targets func(string) string)
	}{
		{"reverse", "/api%2Fv2", func(rt http.RoundTripper, base *url.URL) (http.Handler, func(string) string) {
			return Reverse([]cassette.Upstream{{Name: "x", URL: base}}, rt, nil, nil), func(s string) string { return s }
		}},
		{"forward", "", func(rt http.RoundTripper, base *url.URL) (http.Handler, func(string) string) {
			p := Forward(ForwardOptions{Answer: rt, CA: ca, Strict: true})
			t.Cleanup(func() { p.Close() })
			return p, func(s string) string { return base.String() + s }
		}},
		{"with a case", "", func(rt http.RoundTripper, base *url.URL) (http.Handler, func(string) string) {
			ups := []cassette.Upstream{{Name: "x", URL: base}, {Name: "y", URL: base}}
			return Reverse(ups, rt, nil, nil), func(s string) string { return "/__case/c/__to/y" + s }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, lines := listenRaw(t)
			u, err := url.Parse(base + c.prefix)
			if err != nil {
				t.Fatal(err)
			}
			rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
			h, asked := c.proxy(rec, u)
			server := httptest.NewServer(h)
			defer server.Close()
			var all []string
			for _, target := range oddTargets {
				all = append(all, asked(target))
			}
			for n, status := range sendRaw(t, server.Listener.Addr().String(), all) {
				got := <-lines
				got = strings.Replace(got, "GET "+base+"//", "GET //", 1) // same address in the form for //paths
				if want := "GET " + c.prefix + oddTargets[n] + " HTTP/1.1"; got != want || status != "200 OK" {
					t.Errorf("the partner got %q, want %q (%s)", got, want, status)
				}
			}
			p := finish(t, rec, replay.Options{})
			for n, target := range oddTargets {
				if got, want := p.c.Interactions[n].Request.URL, base+c.prefix+target; got != want {
					t.Errorf("recorded %q, want %q", got, want)
				}
			}
			h, _ = c.proxy(p, u)
			replay := httptest.NewServer(h)
			defer replay.Close()
			for n, status := range sendRaw(t, replay.Listener.Addr().String(), all) {
				if status != "200 OK" {
					t.Errorf("%s is replayed with %s", all[n], status)
				}
			}
			if got := len(p.Usage().Unused); got > 0 {
				t.Errorf("%d interactions are not used", got)
			}
		})
	}
}
