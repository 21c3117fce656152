package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/transport"
)

// pipes is a network in memory, with a proxy in the middle that can silence the
// connections there are: they stay open, and nothing that is written to them
// arrives any more, in either direction.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	live []*atomic.Bool // of each connection, whether it is silent
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	silent := new(atomic.Bool)
	p.mu.Lock()
	p.live = append(p.live, silent)
	p.mu.Unlock()
	ours, theirs := net.Pipe()
	select {
	case p.accept <- muffled{theirs, silent}:
		return muffled{ours, silent}, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	}
}

func (p *pipes) silence() (connections int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, silent := range p.live {
		silent.Store(true)
	}
	return len(p.live)
}

type muffled struct {
	net.Conn
	silent *atomic.Bool
}

func (m muffled) Write(b []byte) (int, error) {
	if m.silent.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

// TestSilentConnectionIsGivenUp silences the connection to a healthy partner, as a
// proxy does that has forgotten it: requests that time out are tried again, and
// with the second one at the latest the partner answers.
func TestSilentConnectionIsGivenUp(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipes()
				partner := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, r.Proto)
				}))
				partner.Listener.Close()
				partner.Listener, partner.EnableHTTP2 = network, h2
				partner.StartTLS()
				defer partner.Close()
				dial := transport.Dial(4, partner.Client().Transport.(*http.Transport).TLSClientConfig.Clone())
				dial.DialContext = network.dial
				dial.Proxy = nil
				defer dial.CloseIdleConnections()
				rt := transport.New(transport.Options{Network: dial})
				ask := func() error {
					ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
					defer cancel()
					resp, err := rt.RoundTrip(request(t, partner.URL, "{}").WithContext(ctx))
					if err != nil {
						return err
					}
					defer resp.Body.Close()
					body, err := io.ReadAll(resp.Body)
					if err == nil && (string(body) == "HTTP/2.0") != h2 {
						t.Errorf("the request was made with %s", body)
					}
					return err
				}
				if err := ask(); err != nil {
					t.Fatal(err)
				}
				if n := network.silence(); n != 1 {
					t.Fatalf("there are %d connections", n)
				}
				first := ask()
				if err := ask(); err != nil {
					t.Errorf("the partner is healthy; the first request ended with %v, the second with %v", first, err)
				}
			})
		})
	}
}
