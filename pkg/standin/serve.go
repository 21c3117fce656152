package standin

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"
)

// Server is a partner behind a real socket on the loopback interface.
type Server struct {
	URL string

	server *http.Server
	stop   func()
	done   chan struct{}
}

// Serve starts a partner behind a socket. The system chooses the port.
func Serve(h http.Handler) (*Server, error) { return serve(h, nil) }

// ServeTLS is Serve with a certificate that clients must not trust: it is self-signed
// and for a different name.
func ServeTLS(h http.Handler) (*Server, error) {
	cert, err := untrusted()
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	return serve(h, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
}

func serve(h http.Handler, config *tls.Config) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a partner: %w", err)
	}
	s := &Server{
		URL: "http://" + l.Addr().String(), done: make(chan struct{}), stop: func() {},
		// Errors here are intended, so they are not logged.
		server: &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute},
	}
	if m, ok := h.(*Mischief); ok {
		s.stop = m.Stop
	}
	if config != nil {
		s.URL = "https://" + l.Addr().String()
		l = tls.NewListener(l, config)
	}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l) // returns ErrServerClosed at the end
	}()
	return s, nil
}

// Stop ends hanging requests, closes every connection and waits until the server has
// ended.
func (s *Server) Stop() {
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // closes what did not end by itself
	}
	<-s.done
}

func untrusted() (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "untrusted.invalid"},
		DNSNames:  []string{"untrusted.invalid"},
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}
