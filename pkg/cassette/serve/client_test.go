package serve

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

// TestOneContinue checks that a client which waits before it sends its body gets one
// "100 Continue", even if the partner sends one, too.
func TestOneContinue(t *testing.T) {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusContinue)
		_, _ = io.Copy(w, r.Body)
	}))
	defer shop.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	local := reverseOf(t, shop.URL, rec)
	conn, err := net.Dial("tcp", strings.TrimPrefix(local.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn,
		"POST /x HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(conn)
	line, err := from.ReadString('\n')
	if err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err = io.WriteString(conn, "{}"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(from)
	if err != nil || !strings.HasPrefix(string(rest), "\r\nHTTP/1.1 200 OK\r\n") ||
		!strings.HasSuffix(string(rest), "{}") ||
		!strings.Contains(string(rest), "\r\nConnection: close\r\n") {
		t.Errorf("%q, %v", rest, err)
	}
	local.Close()
	if err := rec.Abandon(); err != nil {
		t.Error(err)
	}
}

// TestClientsAreTold checks that clients learn how long a connection is kept. Some wait
// for its end, others must not use it in its last moment.
func TestClientsAreTold(t *testing.T) {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
	}))
	defer shop.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	local := reverseOf(t, shop.URL, rec)
	got := sample.Ask(t, http.DefaultTransport, "GET", local.URL, "", nil)
	if got.Header.Get("Keep-Alive") != "timeout=5" {
		t.Errorf("%v", got.Header)
	}
	local.Close()
	c, err := rec.Finish(cassette.Meta{})
	if err != nil || c.Interactions[0].Response.Headers.Get("Keep-Alive") != "" {
		t.Errorf("%v, %v", c, err)
	}
}
