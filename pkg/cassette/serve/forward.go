package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette/wire"
	"github.com/fanfold/fanfold/pkg/transport"
)

// ForwardOptions configure a [ForwardProxy].
type ForwardOptions struct {
	// Answer handles requests to covered hosts; required.
	Answer http.RoundTripper
	// CA signs the certificates for covered hosts; required.
	CA *Authority
	// Covers returns true if a host, given with or without its port, is covered.
	Covers func(host string) bool
	// Strict covers every host, so that no request bypasses Answer.
	Strict bool
	// Upstream is the proxy through which passed-on requests have to go; nil: none.
	Upstream func(*http.Request) (*url.URL, error)
}

// ForwardProxy is a proxy for programs that read a proxy's address from their
// environment. Requests to a covered host are answered here; for HTTPS the authority
// signs the certificates. All other requests are passed on unchanged and counted. Call
// Close at the end.
type ForwardProxy struct {
	opts   ForwardOptions
	answer *front
	other  *front       // passes on what is not covered
	inner  *http.Server // serves the inside of tunnels to covered hosts
	conns  *queuedConns
	done   chan struct{}

	mu      sync.Mutex
	passed  map[string]int
	tunnels map[io.Closer]bool
	closed  bool
}

// Forward starts a forward proxy.
func Forward(o ForwardOptions) *ForwardProxy {
	p := &ForwardProxy{
		opts: o, answer: newFront(o.Answer), done: make(chan struct{}),
		conns:  &queuedConns{queue: make(chan net.Conn), closed: make(chan struct{})},
		passed: map[string]int{}, tunnels: map[io.Closer]bool{},
	}
	network := transport.Dial(64, nil)
	network.Proxy = o.Upstream
	p.other = newFront(wire.RoundTripper(func(req *http.Request) (*http.Response, error) {
		return network.RoundTrip(wire.WithoutCase(req))
	}))
	p.inner = &http.Server{
		Handler:                      http.HandlerFunc(p.inside),
		Protocols:                    Protocols(),
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            time.Minute,
		IdleTimeout:                  Idle,
		ErrorLog:                     log.New(io.Discard, "", 0), // clients that disconnect are no error
	}
	go func() {
		defer close(p.done)
		_ = p.inner.Serve(p.conns) // returns after Close
	}()
	return p
}

// Close ends all connections.
func (p *ForwardProxy) Close() error {
	err := p.inner.Close()
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.tunnels {
		_ = c.Close() // the other end may have closed it already
	}
	return err
}

// Passed returns the hosts that were requested but are not covered, with the number of
// requests.
func (p *ForwardProxy) Passed() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]int, len(p.passed))
	maps.Copy(out, p.passed)
	return out
}

// maxHosts limits how many hosts are counted.
const maxHosts = 10_000

// covers is true if requests to a host are answered here. It counts the requests to all
// other hosts.
func (p *ForwardProxy) covers(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if p.opts.Strict || p.opts.Covers(host) || p.opts.Covers(hostport) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.passed[hostport]; ok || len(p.passed) < maxHosts {
		p.passed[hostport]++
	}
	return false
}

// inside answers a request from inside a tunnel to a covered host. The host is the
// local address of the connection, see tunnelEnd.
func (p *ForwardProxy) inside(w http.ResponseWriter, r *http.Request) {
	to, ok := r.Context().Value(http.LocalAddrContextKey).(tunnelEnd)
	if !ok {
		http.Error(w, "this connection came through no tunnel", http.StatusInternalServerError)
		return
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	p.answer.serve(w, r, &place{scheme: scheme, host: wire.BareHost(scheme, string(to)), target: targetOf(r)})
}

// tunnelEnd is the host with its port to which a tunnel leads.
type tunnelEnd string

// Network implements net.Addr.
func (tunnelEnd) Network() string { return "tunnel" }

func (e tunnelEnd) String() string { return string(e) }

// ServeHTTP answers a client of the proxy.
func (p *ForwardProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case r.URL.Host == "" || r.URL.Scheme != "http":
		http.Error(w, "this is a proxy: it takes requests for http://HOST/PATH, and CONNECT", http.StatusBadRequest)
	default:
		next := p.other
		if p.covers(r.URL.Host) {
			next = p.answer
		}
		next.serve(w, r, &place{scheme: "http", host: wire.BareHost("http", r.URL.Host), target: targetOf(r)})
	}
}

// connect opens a tunnel: for a covered host to our own server, for any other host to
// the host itself.
func (p *ForwardProxy) connect(w http.ResponseWriter, r *http.Request) {
	var out net.Conn
	ours := p.covers(r.Host)
	if !ours {
		var err error
		if out, err = p.dial(r.Context(), r.Host); err != nil {
			http.Error(w, fmt.Sprintf("no connection to %s: %v", r.Host, err), http.StatusBadGateway)
			return
		}
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		if out != nil {
			_ = out.Close() // nothing was sent on it
		}
		http.Error(w, "CONNECT needs HTTP/1.1", http.StatusNotImplemented)
		return
	}
	if !p.keep(conn) {
		return
	}
	defer p.drop(conn)
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	if ours {
		p.answerInside(&tunnelled{Conn: conn, from: buf.Reader, host: r.Host, gone: make(chan struct{})})
		return
	}
	if !p.keep(out) {
		return
	}
	defer p.drop(out)
	splice(conn, buf.Reader, out)
}

// keep remembers a connection for Close. It returns false if Close was called already.
func (p *ForwardProxy) keep(c io.Closer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close() // the proxy is closed already
		return false
	}
	p.tunnels[c] = true
	return true
}

func (p *ForwardProxy) drop(c io.Closer) {
	p.mu.Lock()
	delete(p.tunnels, c)
	p.mu.Unlock()
	_ = c.Close() // it may be closed already
}

// answerInside hands a tunnel to the inner server, and returns when the tunnel is
// closed. It speaks TLS if the client begins with a handshake.
func (p *ForwardProxy) answerInside(t *tunnelled) {
	first, err := t.from.Peek(1)
	if err != nil {
		return
	}
	var c net.Conn = t
	const handshake = 0x16 // the type of TLS's first record
	if first[0] == handshake {
		name, _, err := net.SplitHostPort(t.host)
		if err != nil {
			name = t.host
		}
		conf := p.opts.CA.TLS(name)
		conf.NextProtos = []string{"h2", "http/1.1"}
		c = tls.Server(t, conf)
	}
	if p.conns.put(c) {
		<-t.gone
	}
}

// dial connects to a host that is not covered, through the upstream proxy if there is
// one.
func (p *ForwardProxy) dial(ctx context.Context, host string) (net.Conn, error) {
	var via *url.URL
	var err error
	if p.opts.Upstream != nil {
		via, err = p.opts.Upstream(&http.Request{URL: &url.URL{Scheme: "https", Host: host}})
		if err != nil {
			return nil, err
		}
	}
	dialer := &net.Dialer{Timeout: time.Minute}
	if via == nil {
		return dialer.DialContext(ctx, "tcp", host)
	}
	if via.Scheme != "http" {
		return nil, fmt.Errorf("the proxy %s is none that is known here: only http:// proxies are", via.Redacted())
	}
	at := via.Host
	if via.Port() == "" {
		at = net.JoinHostPort(via.Hostname(), "80")
	}
	conn, err := dialer.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	head := "CONNECT " + host + " HTTP/1.1\r\nHost: " + host + "\r\n"
	if via.User != nil {
		password, _ := via.User.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(via.User.Username() + ":" + password))
		head += "Proxy-Authorization: Basic " + basic + "\r\n"
	}
	from := bufio.NewReader(conn)
	_, err = io.WriteString(conn, head+"\r\n")
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(from, &http.Request{Method: http.MethodConnect})
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the proxy %s answers %s", via.Redacted(), resp.Status)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &tunnelled{Conn: conn, from: from, gone: make(chan struct{})}, nil
}

// splice copies in both directions until one side ends.
func splice(client net.Conn, fromClient io.Reader, host net.Conn) {
	ended := make(chan struct{}, 2)
	send := func(to net.Conn, from io.Reader) {
		_, _ = io.Copy(to, from) // when either side ends, both end
		if c, ok := to.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		} else {
			_ = to.Close()
		}
		ended <- struct{}{}
	}
	go send(host, fromClient)
	go send(client, host)
	<-ended
	<-ended
}

// tunnelled is a connection whose first bytes were already read into a buffer.
type tunnelled struct {
	net.Conn
	from *bufio.Reader
	host string
	once sync.Once
	gone chan struct{}
}

func (t *tunnelled) Read(p []byte) (int, error) { return t.from.Read(p) }

// LocalAddr is the host that the client wants to reach, if this is our end of a tunnel.
func (t *tunnelled) LocalAddr() net.Addr {
	if t.host != "" {
		return tunnelEnd(t.host)
	}
	return t.Conn.LocalAddr()
}

func (t *tunnelled) Close() error {
	t.once.Do(func() { close(t.gone) })
	return t.Conn.Close()
}

// queuedConns is a listener that accepts connections which are already open.
type queuedConns struct {
	queue  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// put queues a connection for Accept. It returns false after Close.
func (q *queuedConns) put(c net.Conn) bool {
	select {
	case q.queue <- c:
		return true
	case <-q.closed:
		return false
	}
}

func (q *queuedConns) Accept() (net.Conn, error) {
	select {
	case c := <-q.queue:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queuedConns) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *queuedConns) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
