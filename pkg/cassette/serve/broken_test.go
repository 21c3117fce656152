package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// breaking is a server that reads one request from each connection, and then calls do to
// break the connection.
func breaking(t *testing.T, do func(c *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err == nil {
					_, err = io.Copy(io.Discard, req.Body)
				}
				if err == nil {
					do(c.(*net.TCPConn))
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// sees is what a client gets of an answer: the status, the part of the body that
// arrived, and how the answer ended.
func sees(t *testing.T, url string, patience time.Duration) string {
	t.Helper()
	ctx := context.Background()
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/x", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	how := func(err error) string {
		switch {
		case err == nil:
			return "the end"
		case errors.Is(err, context.DeadlineExceeded):
			return "timeout"
		case errors.Is(err, syscall.ECONNRESET):
			return "reset"
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return "closed"
		}
		return err.Error()
	}
	if err != nil {
		return "nothing, " + how(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %q, %s", resp.StatusCode, data, how(err))
}

// TestBroken checks that a broken answer breaks in the same way for the client, is
// recorded as an interaction, and breaks again in the same way when it is replayed.
func TestBroken(t *testing.T) {
	reset := func(c *net.TCPConn) { _ = c.SetLinger(0) }
	say := func(s string, then func(*net.TCPConn)) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			if _, err := io.WriteString(c, s); err == nil && then != nil {
				then(c)
			}
		}
	}
	// Before a reset, the client must have read what came before it.
	for _, c := range []struct {
		name     string
		do       func(*net.TCPConn)
		patience time.Duration
		want     string
		how      wire.Break
	}{
		{"reset", reset, 0, "nothing, reset", wire.BreakReset},
		{"closed", func(*net.TCPConn) {}, 0, "nothing, closed", wire.BreakClosed},
		{"half a header", say("HTTP/1.1 200 OK\r\nContent-Le", nil), 0, "nothing, closed", wire.BreakClosed},
		{"cut off", say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", nil), 0, `200 "hello", closed`, wire.BreakClosed},
		{"cut off between chunks", say("HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", nil), 0,
			`202 "hello", closed`, wire.BreakClosed},
		{"no answer", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, 300 * time.Millisecond, "nothing, timeout",
			wire.BreakTimeout},
		{"no end", say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", func(c *net.TCPConn) {
			_, _ = io.Copy(io.Discard, c)
		}),
			300 * time.Millisecond, `200 "hello", timeout`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			partner := breaking(t, c.do)
			rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
			live := reverseOf(t, partner, rec)
			if got := sees(t, live.URL, c.patience); got != c.want {
				t.Errorf("live the client sees %s, want %s", got, c.want)
			}
			live.Close()
			p := finish(t, rec, replay.Options{})
			d := p.c.DetailsOf(0)
			if d == nil || d.Broken != c.how || d.Left != (c.how == "") {
				t.Errorf("recorded %+v, want %s", d, c.how)
			}
			if d != nil && strings.Contains(d.Error, "127.0.0.1") {
				t.Errorf("an address is kept: %s", d.Error)
			}
			if got := sees(t, reverseOf(t, partner, p).URL, c.patience); got != c.want {
				t.Errorf("replayed the client sees %s, want %s", got, c.want)
			}
			if u := p.Usage(); u.Used != 1 || len(u.Missed) > 0 {
				t.Errorf("%+v", u)
			}
		})
	}
}

// TestResetWithin checks that a reset in the middle of an answer is replayed as a
// reset, and not as a plain close.
func TestResetWithin(t *testing.T) {
	arrived := make(chan bool)
	partner := breaking(t, func(c *net.TCPConn) {
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"); err == nil {
			<-arrived
			_ = c.SetLinger(0)
		}
	})
	read := func(base string, then func()) {
		t.Helper()
		resp, err := http.Get(base + "/x")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		buf := make([]byte, 5)
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "hello" {
			t.Errorf("%q, %v", buf, err)
		}
		then()
		if _, err := resp.Body.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("behind it: %v", err)
		}
	}
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	live := reverseOf(t, partner, rec)
	read(live.URL, func() { arrived <- true })
	live.Close()
	p := finish(t, rec, replay.Options{})
	if d := p.c.DetailsOf(0); d == nil || d.Broken != wire.BreakReset || d.Length != 10 {
		t.Errorf("recorded %+v", d)
	}
	read(reverseOf(t, partner, p).URL, func() {})
}

// TestUnreached checks that nothing is written if no partner could be reached, and that
// an existing cassette stays as it is.
func TestUnreached(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	rec := newRecorder(t, path, record.Options{})
	live := reverseOf(t, "http://127.0.0.1:1", rec)
	if got := sees(t, live.URL, 0); !strings.HasPrefix(got, `502 "no answer: `) || !strings.Contains(got, "refused") {
		t.Errorf("the client sees %s", got)
	}
	live.Close()
	var unreached *record.UnreachedError
	if _, err := rec.Finish(cassette.Meta{}); !errors.As(err, &unreached) || unreached.Requests != 1 ||
		!strings.Contains(err.Error(), "POST http://127.0.0.1:1/x: ") {
		t.Errorf("error %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	// If another request was answered, the unreached one is recorded and replayed.
	fine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fine") }))
	defer fine.Close()
	rec = newRecorder(t, path, record.Options{})
	sample.Ask(t, rec, "GET", fine.URL, "", nil)
	down := reverseOf(t, "http://127.0.0.1:1", rec)
	want := sees(t, down.URL, 0)
	down.Close()
	p := finish(t, rec, replay.Options{})
	if got := sees(t, reverseOf(t, "http://127.0.0.1:1", p).URL, 0); got != want {
		t.Errorf("replayed %s, live %s", got, want)
	}
}

// TestWebSocketsAndGRPC checks that both are passed on, listed in the sidecar, and
// named when a replay misses them.
func TestWebSocketsAndGRPC(t *testing.T) {
	partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !wire.IsWebSocket(r) {
			fmt.Fprint(w, "fine")
			return
		}
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		line, err := buf.ReadString('\n')
		if err == nil {
			_, err = io.WriteString(c, strings.ToUpper(line))
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer partner.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	dial := func(base string) (*http.Response, *bufio.Reader, net.Conn) {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "GET /socket?token=abcdefghijklmnop HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"+
			"Upgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n")
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp, r, c
	}
	live := reverseOf(t, partner.URL, rec)
	resp, r, c := dial(live.URL)
	fmt.Fprint(c, "hello\n")
	if line, err := r.ReadString('\n'); resp.StatusCode != 101 || err != nil || line != "HELLO\n" {
		t.Errorf("%s %q %v", resp.Status, line, err)
	}
	c.Close()
	sample.Ask(t, http.DefaultTransport, "GET", live.URL+"/fine", "", nil)
	sample.Ask(t, http.DefaultTransport, "POST", live.URL+"/shop.Orders/Get", "application/grpc+proto",
		[]byte("\x00\x00\x00\x00\x00"))
	live.Close()
	p := finish(t, rec, replay.Options{})
	said := strings.Join(p.c.Meta.Unrecorded, "\n")
	if len(p.c.Interactions) != 1 || !strings.Contains(said, "/socket?token=REDACTED") ||
		!strings.Contains(said, "a WebSocket is passed on") || !strings.Contains(said, "gRPC") {
		t.Errorf("%d interactions, %s", len(p.c.Interactions), said)
	}
	replay := reverseOf(t, partner.URL, p)
	resp, _, _ = dial(replay.URL)
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 501 || !bytes.Contains(body, []byte("this is a WebSocket")) {
		t.Errorf("%s %s %v", resp.Status, body, err)
	}
	got := sample.Ask(t, http.DefaultTransport, "POST", replay.URL+"/shop.Orders/Get", "application/grpc",
		[]byte("\x00\x00\x00\x00\x00"))
	if got.Status != 200 || got.Header.Get("Grpc-Status") != "12" ||
		!strings.Contains(got.Header.Get("Grpc-Message"), "gRPC") {
		t.Errorf("%d %v", got.Status, got.Header)
	}
	if u := p.Usage(); len(u.Missed) != 2 || !strings.Contains(u.Missed[0].Error(), "unrecorded") &&
		!strings.Contains(u.Missed[0].Error(), "says so") {
		t.Errorf("%+v", u.Missed)
	}
}
