package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
)

// service is what record and replay serve to a program.
type service struct {
	rt        http.RoundTripper
	upstreams []cassette.Upstream
	proxy     bool
	allow     []string
	strict    bool // the proxy passes nothing on
	listen    string
	tls       bool
	wrap      func(http.Handler) http.Handler // chaos
	choose    func(method, url string) bool
	admin     http.Handler
	adminAddr string
	// ending is called before connections are cut off because we are to end.
	ending func()
	links  cassette.Links
	// passed are, in the end, the hosts that were asked for past the proxy's
	// cover, and how often.
	passed map[string]int
}

// stage is a service while it runs.
type stage struct {
	s       *service
	dir     string // of the authority's certificate
	ca      *cassette.Authority
	trust   []string // tells programs of the authority
	closers []io.Closer
	forward *cassette.ForwardProxy

	urls  map[string]string // of the upstreams, by name
	ready map[string]any
	env   []string
}

// serve starts the listeners and runs the command, or waits for a signal where
// there is none.
func (a *app) serve(ctx context.Context, s *service, args []string) (code int, err error) {
	dir, err := os.MkdirTemp("", "fanfold-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t := &stage{s: s, dir: dir, urls: map[string]string{}}
	defer func() { err = errors.Join(err, t.close()) }()
	t.ready = map[string]any{"ready": true, "urls": t.urls}
	if t.ca, err = cassette.NewAuthority(time.Now()); err != nil {
		return 0, err
	}
	if s.tls || s.proxy {
		if t.trust, err = a.trust(dir, t.ca.PEM()); err != nil {
			return 0, err
		}
		t.ready["ca"] = filepath.Join(dir, "ca.pem")
	}
	t.env = slices.Clone(t.trust)
	if err := errors.Join(t.startUpstreams(), t.startProxy(a), t.startAdmin()); err != nil {
		return 0, err
	}
	if len(args) > 0 {
		return a.child(ctx, args, t.env)
	}
	return 0, a.untilSignal(ctx, t)
}

// untilSignal says that all is ready, and waits to be stopped.
func (a *app) untilSignal(ctx context.Context, t *stage) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	if err := e.Encode(t.ready); err != nil {
		return err
	}
	select {
	case <-a.interrupts.taken():
	case <-ctx.Done():
	}
	if t.s.ending != nil {
		t.s.ending()
	}
	return nil
}

// start serves a handler at an address.
func (t *stage) start(addr string, h http.Handler, secure bool) (net.Addr, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, usagef("listening: %w", err)
	}
	at := l.Addr()
	server := &http.Server{
		Handler: h, Protocols: cassette.Protocols(), ReadHeaderTimeout: time.Minute,
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

// close ends all listeners and connections.
func (t *stage) close() (err error) {
	for _, c := range t.closers {
		err = errors.Join(err, c.Close())
	}
	if t.forward != nil {
		t.s.passed = t.forward.Passed()
	}
	return err
}

// startUpstreams serves the upstreams: each at an address of its own, or all at
// the one that was asked for.
func (t *stage) startUpstreams() error {
	s := t.s
	scheme := "http://"
	if s.tls {
		scheme = "https://"
	}
	serve := func(addr string, ups []cassette.Upstream, choose func(method, url string) bool) (string, error) {
		h := cassette.Reverse(ups, s.rt, choose, &s.links)
		if s.wrap != nil {
			h = s.wrap(h)
		}
		at, err := t.start(addr, h, s.tls)
		if err != nil {
			return "", err
		}
		return scheme + at.String(), nil
	}
	switch {
	case s.listen != "" && len(s.upstreams) > 0:
		base, err := serve(s.listen, s.upstreams, s.choose)
		if err != nil {
			return err
		}
		for _, u := range s.upstreams {
			if t.urls[u.Name] = base; len(s.upstreams) > 1 {
				t.urls[u.Name] += "/__to/" + u.Name
			}
		}
	case s.listen == "":
		for _, u := range s.upstreams {
			base, err := serve("127.0.0.1:0", []cassette.Upstream{u}, nil)
			if err != nil {
				return err
			}
			t.urls[u.Name] = base
		}
	}
	for _, u := range s.upstreams {
		s.links.Add(u, t.urls[u.Name])
		t.env = append(t.env, u.Env()+"="+t.urls[u.Name])
	}
	return nil
}

// startProxy serves as a proxy, where that is asked for.
func (t *stage) startProxy(a *app) error {
	if !t.s.proxy {
		return nil
	}
	addr := "127.0.0.1:0"
	if t.s.listen != "" && len(t.s.upstreams) == 0 {
		addr = t.s.listen
	}
	t.forward = cassette.Forward(cassette.ForwardOptions{
		Answer: t.s.rt, CA: t.ca, Covers: allowed(t.s.allow), Strict: t.s.strict, Upstream: http.ProxyFromEnvironment,
	})
	at, err := t.start(addr, t.forward, false)
	t.closers = append(t.closers, t.forward)
	if err != nil {
		return err
	}
	t.env = a.proxyEnv(at, t.env)
	t.ready["proxy"] = "http://" + at.String()
	return nil
}

// startAdmin serves the questions about a replay.
func (t *stage) startAdmin() error {
	if t.s.admin == nil {
		return nil
	}
	at, err := t.start(t.s.adminAddr, t.s.admin, false)
	if err != nil {
		return err
	}
	t.ready["admin"] = "http://" + at.String()
	t.env = append(t.env, "FANFOLD_REPLAY_ADMIN=http://"+at.String())
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
