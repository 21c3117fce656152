// Package listen serves partners to a program that is recorded or replayed: each
// partner at an address of its own, or all of them through a proxy, and tells the
// program so by its environment.
package listen

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/serve"
)

// Service is what is served, and to whom.
type Service struct {
	Answer    http.RoundTripper // records, or replays
	Upstreams []cassette.Upstream
	Listen    string // one address for all upstreams; "": one each, chosen by the system
	TLS       bool
	Wrap      func(http.Handler) http.Handler // may break answers; nil: they are as they are
	Choose    func(method, url string) bool   // of the upstreams at one address, whether it is this one

	Proxy   bool
	Allow   []string // hosts, or patterns of hosts, that the proxy answers for
	Strict  bool     // the proxy passes nothing on
	ProxyOf func(*http.Request) (*url.URL, error)
	// Links are rewritten in answers, so that they lead here.
	Links serve.Links
	// Passed are, once the stage is closed, the hosts that the proxy passed on to, and
	// how often.
	Passed map[string]int

	Admin     http.Handler // answers questions; nil: there is none
	AdminAddr string

	Env func(string) (string, bool) // of this process
}

// Stage is a service while it runs.
type Stage struct {
	Ready map[string]any    // the addresses, for a line of JSON
	URLs  map[string]string // of the upstreams, by name
	Env   []string          // tells programs of the addresses and the certificate

	s       *Service
	dir     string // of the authority's certificate
	ca      *serve.Authority
	closers []io.Closer
	forward *serve.ForwardProxy
}

// Start starts the listeners. Certificates are written to dir, which the caller
// removes after [Stage.Close]. An address that cannot be listened at is a
// [net.OpError].
func (s *Service) Start(dir string, now time.Time) (t *Stage, err error) {
	t = &Stage{s: s, dir: dir, URLs: map[string]string{}}
	t.Ready = map[string]any{"ready": true, "urls": t.URLs}
	if t.ca, err = serve.NewAuthority(now); err != nil {
		return nil, err
	}
	if s.TLS || s.Proxy {
		if t.Env, err = t.writeTrust(); err != nil {
			return nil, err
		}
		t.Ready["ca"] = filepath.Join(dir, "ca.pem")
	}
	if err := errors.Join(t.startUpstreams(), t.startProxy(), t.startAdmin()); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// start serves a handler at an address.
func (t *Stage) start(addr string, h http.Handler, secure bool) (net.Addr, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	at := l.Addr()
	server := &http.Server{
		Handler: h, Protocols: serve.Protocols(), ReadHeaderTimeout: time.Minute,
		IdleTimeout:                  serve.Idle,
		DisableGeneralOptionsHandler: true,                       // OPTIONS * is for the partner, too
		ErrorLog:                     log.New(io.Discard, "", 0), // clients that go away
	}
	t.closers = append(t.closers, server)
	if secure {
		host, _, _ := net.SplitHostPort(at.String()) // a listener's address is one
		server.TLSConfig = t.ca.TLS(host)
		go func() { _ = server.ServeTLS(l, "", "") }() // ends with ErrServerClosed
	} else {
		go func() { _ = server.Serve(l) }()
	}
	return at, nil
}

// Close ends all listeners and connections.
func (t *Stage) Close() (err error) {
	for _, c := range t.closers {
		err = errors.Join(err, c.Close())
	}
	if t.forward != nil {
		t.s.Passed = t.forward.Passed()
	}
	return err
}

// startUpstreams serves the upstreams: each at an address of its own, or all at
// the one that was asked for.
func (t *Stage) startUpstreams() error {
	s := t.s
	scheme := "http://"
	if s.TLS {
		scheme = "https://"
	}
	serve := func(addr string, ups []cassette.Upstream, choose func(method, url string) bool) (string, error) {
		h := serve.Reverse(ups, s.Answer, choose, &s.Links)
		if s.Wrap != nil {
			h = s.Wrap(h)
		}
		at, err := t.start(addr, h, s.TLS)
		if err != nil {
			return "", err
		}
		return scheme + at.String(), nil
	}
	switch {
	case s.Listen != "" && len(s.Upstreams) > 0:
		base, err := serve(s.Listen, s.Upstreams, s.Choose)
		if err != nil {
			return err
		}
		for _, u := range s.Upstreams {
			if t.URLs[u.Name] = base; len(s.Upstreams) > 1 {
				t.URLs[u.Name] += "/__to/" + u.Name
			}
		}
	case s.Listen == "":
		for _, u := range s.Upstreams {
			base, err := serve("127.0.0.1:0", []cassette.Upstream{u}, nil)
			if err != nil {
				return err
			}
			t.URLs[u.Name] = base
		}
	}
	for _, u := range s.Upstreams {
		s.Links.Add(u, t.URLs[u.Name])
		t.Env = append(t.Env, u.Env()+"="+t.URLs[u.Name])
	}
	return nil
}

// startProxy serves as a proxy, where that is asked for.
func (t *Stage) startProxy() error {
	if !t.s.Proxy {
		return nil
	}
	addr := "127.0.0.1:0"
	if t.s.Listen != "" && len(t.s.Upstreams) == 0 {
		addr = t.s.Listen
	}
	t.forward = serve.Forward(serve.ForwardOptions{
		Answer: t.s.Answer, CA: t.ca, Covers: allowed(t.s.Allow), Strict: t.s.Strict, Upstream: t.s.ProxyOf,
	})
	at, err := t.start(addr, t.forward, false)
	t.closers = append(t.closers, t.forward)
	if err != nil {
		return err
	}
	t.Env = t.proxyEnv(at)
	t.Ready["proxy"] = "http://" + at.String()
	return nil
}

// startAdmin serves the questions about a replay.
func (t *Stage) startAdmin() error {
	if t.s.Admin == nil {
		return nil
	}
	at, err := t.start(t.s.AdminAddr, t.s.Admin, false)
	if err != nil {
		return err
	}
	t.Ready["admin"] = "http://" + at.String()
	t.Env = append(t.Env, "FANFOLD_REPLAY_ADMIN=http://"+at.String())
	return nil
}

// allowed matches hosts against the patterns of --allow.
func allowed(patterns []string) func(string) bool {
	return func(host string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			ok, err := path.Match(strings.ToLower(p), strings.ToLower(host))
			return err == nil && ok
		})
	}
}
