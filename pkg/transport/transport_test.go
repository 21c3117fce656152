package transport_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/transport"
)

func request(t *testing.T, url, body string) *http.Request {
	t.Helper()
	req, err := destination.NewRequest(context.Background(), "POST", url, "application/json", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// TestSignedWithTheTime: a signature may need the request, the time, and what no other request has.
func TestSignedWithTheTime(t *testing.T) {
	c := &transport.Capture{Answer: "{}"}
	rt := transport.New(transport.Options{Network: c, Now: func() time.Time { return time.Unix(1714979289, 0).UTC() },
		Auth: destination.QueryAuth("key", "k").And(destination.SignRequest(func(s *destination.Signing) {
			s.Header.Set("X-Signed", strings.Join([]string{s.Method, s.URL.RequestURI(), string(s.Body),
				s.Now.Format(time.RFC3339)}, " "))
			s.Header.Set("X-Nonce", s.Nonce())
		}))})
	nonces := map[string]bool{}
	for range 3 {
		resp, err := rt.RoundTrip(request(t, "https://api.example/import", `[1]`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		h := c.Take()[0].Header
		if got := h.Get("X-Signed"); got != "POST /import?key=k [1] 2024-05-06T07:08:09Z" {
			t.Errorf("signed %q", got)
		}
		nonces[h.Get("X-Nonce")] = true
	}
	for n := range nonces {
		if len(nonces) != 3 || len(n) != 32 {
			t.Errorf("the nonces are %v", nonces)
		}
	}
}

func TestCredentialsStayBelowTheHook(t *testing.T) {
	seen := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Clone(context.Background())
	}))
	defer server.Close()
	var hooked *http.Request
	signed := ""
	rt := transport.New(transport.Options{
		Network: transport.Dial(1, nil), UserAgent: "fanfold/test",
		Auth: destination.Basic(
			"user",
			"hunter2",
		).And(
			destination.QueryAuth("api_key", "k&1"),
		).And(
			destination.Sign(func(h http.Header, body []byte) {
				signed = string(body)
				h.Set("X-Signature", "s")
			}),
		),
		Hook: func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				hooked = r
				return next.RoundTrip(r)
			})
		},
	})
	resp, err := rt.RoundTrip(request(t, server.URL+"/import?strict=1", `[1]`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	r := <-seen
	if user, pass, _ := r.BasicAuth(); user != "user" || pass != "hunter2" || r.URL.Query().Get("api_key") != "k&1" ||
		r.URL.Query().Get("strict") != "1" ||
		r.UserAgent() != "fanfold/test" ||
		r.Header.Get("X-Signature") != "s" ||
		signed != "[1]" {
		t.Errorf("the server saw %v %v, signed %q", r.URL, r.Header, signed)
	}
	if h := hooked; h.Header.Get("Authorization") != "" || h.URL.Query().Has("api_key") ||
		h.Header.Get("X-Signature") != "" {
		t.Errorf("the hook saw credentials: %v %v", h.URL, h.Header)
	}
}

func TestCompression(t *testing.T) {
	var got []byte
	var encoding string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		encoding = r.Header.Get("Content-Encoding")
		body := io.Reader(r.Body)
		if encoding == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		got, _ = io.ReadAll(body)
	}))
	defer server.Close()
	rt := transport.New(transport.Options{Network: transport.Dial(1, nil), Gzip: true})
	for _, body := range []string{"small", strings.Repeat("large ", 5000)} {
		resp, err := rt.RoundTrip(request(t, server.URL, body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if string(got) != body || (encoding == "gzip") != (len(body) > 1024) {
			t.Errorf("%d bytes arrived as %d with encoding %q", len(body), len(got), encoding)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	hits := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer server.Close()
	a, err := destination.Do(
		transport.New(transport.Options{Network: transport.Dial(1, nil)}),
		request(t, server.URL, "{}"),
	)
	if err != nil || a.Status != 302 || hits != 1 {
		t.Errorf("status %d, %d hits, %v", a.Status, hits, err)
	}
}

func TestErrorsHoldNoCredential(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close() // nobody listens there any more
	rt := transport.New(
		transport.Options{
			Network: transport.Dial(1, nil),
			Auth:    destination.QueryAuth("access_token", "hunter2hunter2"),
		},
	)
	_, err := rt.RoundTrip(request(t, server.URL, "{}"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	req := request(t, server.URL, "{}").WithContext(ctx)
	if _, err := rt.RoundTrip(req); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

func TestCapture(t *testing.T) {
	c := &transport.Capture{}
	rt := transport.New(transport.Options{Network: c, Auth: destination.Bearer("t")})
	_, err := rt.RoundTrip(request(t, "https://api.example.com/x", `{"a":1}`))
	if !errors.Is(err, destination.ErrNotSent) {
		t.Fatal(err)
	}
	got := c.Take()
	if len(got) != 1 || got[0].URL != "https://api.example.com/x" || !bytes.Equal(got[0].Body, []byte(`{"a":1}`)) ||
		got[0].Header.Get("Authorization") != "Bearer t" ||
		len(c.Take()) != 0 {
		t.Errorf("captured %+v", got)
	}
}

// TestHugeAnswerIsBounded answers without end: what is kept is bounded, and the
// connection is given up rather than read.
func TestHugeAnswerIsBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	a, err := destination.Do(
		transport.New(transport.Options{Network: transport.Dial(1, nil)}),
		request(t, server.URL, "{}"),
	)
	if err != nil || len(a.Body) != destination.MaxAnswer {
		t.Errorf("%d bytes, %v", len(a.Body), err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A request whose connection breaks after it was sent is not sent again behind the back of
// whoever counts requests, with a key of idempotency or without.
func TestRequestsAreSentOnce(t *testing.T) {
	for _, header := range []string{"", "Idempotency-Key", "X-Idempotency-Key"} {
		came := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if header != "" && r.URL.Path == "/1" && r.Header.Get(header) != "k" {
				t.Errorf("%s is %q", header, r.Header.Get(header))
			}
			if came++; r.URL.Path == "/1" {
				panic(http.ErrAbortHandler)
			}
		}))
		rt := transport.New(transport.Options{Network: transport.Dial(1, nil)})
		for _, path := range []string{"/0", "/1"} { // the second goes over the first one's connection
			req, err := http.NewRequest(http.MethodPost, server.URL+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			if header != "" {
				req.Header.Set(header, "k")
			}
			resp, err := rt.RoundTrip(req)
			if (err == nil) != (path == "/0") {
				t.Errorf("%s with %q: %v", path, header, err)
			}
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
		server.Close()
		if came != 2 {
			t.Errorf("with %q: %d requests came, want 2", header, came)
		}
	}
}

// TestEarlyAnswer: a partner that answers, or goes away, before it has read the request does not hold up whoever
// waits for the answer, and one that says nothing holds them up until the request's time is over.
func TestEarlyAnswer(t *testing.T) {
	const refused = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
	const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nhello"
	for _, row := range []struct {
		says   string
		closes bool
		status int
	}{{refused, false, 413}, {switched, false, 101}, {"", true, 0}, {"", false, 0}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			c, failed := l.Accept()
			if failed != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, 1<<20)) // of 64
			_, _ = io.WriteString(c, row.says)
			if !row.closes {
				<-ended
			}
			c.Close()
		}()
		ctx, cancel := context.WithCancel(context.Background())
		if row.says == "" && !row.closes {
			var end context.CancelFunc
			ctx, end = context.WithTimeout(ctx, 50*time.Millisecond)
			defer end()
		}
		req, err := destination.NewRequest(ctx, "POST", "http://"+l.Addr().String(), "text/plain", make([]byte, 64<<20))
		if err != nil {
			t.Fatal(err)
		}
		a, err := destination.Do(transport.New(transport.Options{Network: transport.Dial(1, nil)}), req)
		if (err == nil) != (row.status > 0) || err == nil && a.Status != row.status {
			t.Errorf("%+v: %v, %v", row, a, err)
		}
		cancel()
		close(ended)
		l.Close()
	}
}
