package api_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/fanfold/fanfold/pkg/transport"
	"github.com/fanfold/fanfold/pkg/verify"
)

// oddPartner reads one request of each connection and answers with bytes, whatever these are.
type oddPartner struct {
	net.Listener
	mu    sync.Mutex
	asked int
}

func newOddPartner(t *testing.T, answer func(net.Conn)) *oddPartner {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &oddPartner{Listener: l}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				if _, err := io.Copy(io.Discard, req.Body); err != nil {
					return
				}
				p.mu.Lock()
				p.asked++
				p.mu.Unlock()
				answer(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the accepting
		conns.Wait()
	})
	return p
}

// says answers with a text.
func says(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) } // a client that has gone needs nothing
}

// withBody is an answer of a status line, headers and a body.
func withBody(status, header, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, header, len(body),
		body)
}

// bomb is so many bytes of an answer, which are few on the wire.
func bomb(t *testing.T, begins string, size int) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, begins); err != nil {
		t.Fatal(err)
	}
	zeros := bytes.Repeat([]byte(" "), 1<<20)
	for range size >> 20 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOddAnswers gives a destination that is described what only a partner in trouble, or somebody on the
// way, says: on the wire, by a real connection. None of it is a delivery but what the description calls
// one, nothing is followed, and nothing of it costs time or memory without bound.
func TestOddAnswers(t *testing.T) {
	const js = "Content-Type: application/json\r\n"
	elsewhere := newOddPartner(t, says(withBody("200 OK", js, `{"ok":true}`)))
	good := withBody("200 OK", js, `{"ok":true}`)
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		want   string // of the delivery; "error": nothing is known
	}{
		{"the documented one", says(good), "delivered"},
		{"with another type", says(withBody("200 OK", "Content-Type: text/html\r\n", `{"ok":true}`)), "delivered"},
		{"after hints",
			says("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + good), "delivered"},
		{"two answers", says(good + good), "delivered"},
		{"in chunks",
			says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"ok\":true}\r\n0\r\n\r\n"), "delivered"},
		{"no end of hints", func(c net.Conn) {
			for range 1000 {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n"); err != nil {
					return
				}
			}
		}, "error"},
		{"a page", says(withBody("200 OK", "Content-Type: text/html\r\n", "<html>sign in</html>")), "retry unexpected"},
		{"nothing", says("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), "retry unexpected"},
		{"an empty body", says(withBody("200 OK", js, "")), "retry unexpected"},
		{"another word", says(withBody("200 OK", js, `{"ok":"true"}`)), "retry unexpected"},
		{"no JSON", says(withBody("200 OK", js, `{'ok': true}`)), "retry unexpected"},
		{"a mark before it", says(withBody("200 OK", js, "\xef\xbb\xbf{\"ok\":true}")), "delivered"},
		{"two documents", says(withBody("200 OK", js, `{"ok":true}{"ok":true}`)), "retry unexpected"},
		{"zeros in it", says(withBody("200 OK", js, "{\"ok\":true,\"a\":\"\x00\"}")), "retry unexpected"},
		{"very deep",
			says(withBody("200 OK", js, `{"ok":true,"a":`+strings.Repeat("[", 200_000)+strings.Repeat("]", 200_000)+"}")),
			"retry unexpected"},
		{"redirected", says("HTTP/1.1 302 Found\r\nLocation: http://" + elsewhere.Addr().String() +
			"/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "rejected refused"},
		{"redirected for good, with the body", says("HTTP/1.1 308 Permanent Redirect\r\nLocation: http://" +
			elsewhere.Addr().String() + "/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "rejected refused"},
		{"switched",
			says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), "retry unavailable"},
		{"truncated", says("HTTP/1.1 200 OK\r\n" + js + "Content-Length: 4000\r\n\r\n{\"ok\":true}"), "error"},
		{"a chunk that is cut",
			says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"ok\":true}"), "error"},
		{"chunks without an end",
			says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"ok\":true}\r\n"), "error"},
		{"no chunks", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{\"ok\":true}"), "error"},
		{"two lengths", says("HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Length: 3\r\n\r\n{\"ok\":true}"), "error"},
		{"a length below zero", says("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{\"ok\":true}"), "error"},
		{"gone", func(net.Conn) {}, "error"},
		{"reset in the middle", func(c net.Conn) {
			says("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":")(c)
			_ = c.(*net.TCPConn).SetLinger(0) // closing it resets it
		}, "error"},
		{"garbage", says("\x16\x03\x01\x02\x00\x01 who is there?\r\n\r\n"), "error"},
		{"a status of its own",
			says("HTTP/1.1 999 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "rejected refused"},
		{"many headers", func(c net.Conn) {
			says("HTTP/1.1 200 OK\r\n")(c)
			for i := range 100_000 {
				if _, err := fmt.Fprintf(c, "X-Header-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}, "error"},
		{"a header without an end", func(c net.Conn) {
			says("HTTP/1.1 200 OK\r\nX-Long: ")(c)
			for range 100_000 {
				if _, err := io.WriteString(c, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}, "error"},
		{"a bomb",
			says(withBody("200 OK", js+"Content-Encoding: gzip\r\n", bomb(t, `{"ok":true}`, 512<<20))), "retry unexpected"},
		{"packed, and it is none", says(withBody("200 OK", js+"Content-Encoding: gzip\r\n", `{"ok":true}`)), "delivered"},
		{"packed, unasked for",
			says(withBody("200 OK", js+"Content-Encoding: br\r\n", "\x0b\x05\x80")), "retry unexpected"},
		{"a drip without an end", func(c net.Conn) {
			says("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")(c)
			for { // until the client has enough of it
				if _, err := io.WriteString(c, " "); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}, "error"},
		{"a body without an end", func(c net.Conn) {
			says("HTTP/1.1 200 OK\r\n\r\n{\"ok\":true}")(c)
			for {
				if _, err := io.WriteString(c, strings.Repeat("{}", 64<<10)); err != nil {
					return
				}
			}
		}, "retry unexpected"},
		{"a refusal that says much",
			says(withBody("400 Bad Request", js, strings.Repeat("no ", 1<<20))), "rejected refused"},
		{"busy for ever", says("HTTP/1.1 429 Slow\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n" +
			"Connection: close\r\n\r\n"), "retry rate_limited"},
		{"busy until yesterday", says("HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n" +
			"Content-Length: 0\r\nConnection: close\r\n\r\n"), "retry unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newOddPartner(t, c.answer)
			s := opened(t, "base_url: http://"+p.Addr().String()+"\ndocs: https://own.example/docs\nactions:\n"+
				"  - {action: send, subscribe: 'type = \"track\"', path: /e, success: {status: 200, json: {ok: true}}}\n", nil)
			rt := transport.New(transport.Options{Network: transport.Dial(1, nil), Auth: s.Plan().Auth})
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			if strings.Contains(c.name, "drip") {
				ctx, cancel = context.WithTimeout(context.Background(), 300*time.Millisecond) // as the option timeout has it
			}
			defer cancel()
			got, err := verify.Converse(ctx, s, rt, []string{event("a", nil)}, time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC))
			have := "error"
			if err == nil {
				have = strings.TrimSpace(got[0].Outcome + " " + got[0].Reason)
			}
			if have != c.want {
				t.Errorf("it is %s, want %s: %+v, %v", have, c.want, got, err)
			}
			if !strings.Contains(c.name, "drip") && ctx.Err() != nil {
				t.Error("it took as long as it may")
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.asked != 1 {
				t.Errorf("it was asked %d times", p.asked)
			}
		})
	}
	elsewhere.mu.Lock()
	defer elsewhere.mu.Unlock()
	if elsewhere.asked > 0 {
		t.Error("a redirection was followed")
	}
}
