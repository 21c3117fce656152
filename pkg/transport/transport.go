// Package transport is the one way out: the chain of http.RoundTrippers that
// every request to a partner passes.
//
// From the destination to the network: the recorder or any other hook, then
// credentials, then the user agent, then compression, then the connection. So a
// credential in a header or query cannot reach a cassette, and a destination
// never knows which of these there are. Each decorator is one concern; [New]
// is the one place that composes them.
//
// Redirects are not followed: a partner's API answers at the address that its
// documentation names, and data must not choose where credentials go.
package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/fanfold/fanfold/pkg/destination"
)

// Options compose a chain.
type Options struct {
	// Network is the bottom: a Dial, a stand-in, a replayer. Required.
	Network http.RoundTripper
	Auth    destination.Auth
	// UserAgent for requests that set none.
	UserAgent string
	// Gzip compresses request bodies of at least GzipFrom bytes.
	Gzip     bool
	GzipFrom int // 0: 1 KiB
	// Now tells when a token ends that Auth asks for, and signatures the time. nil: a token is used until it is
	// refused, and no time is signed.
	Now func() time.Time
	// Secret is told the tokens that were given, so that nobody prints them. It is called by
	// many goroutines.
	Secret func(values ...string)
	// Kept keeps the refresh tokens that a partner gives in place of that of Auth. Saying is told each time one was
	// kept (nil), or why it could not be, by many goroutines. Without both nothing is kept.
	Kept   *Kept
	Saying func(error)
	// Hook wraps the chain above the credentials: a recorder.
	Hook func(http.RoundTripper) http.RoundTripper
}

// New composes the chain.
func New(o Options) http.RoundTripper {
	rt := o.Network
	if _, repeats := rt.(*http.Transport); repeats {
		rt = once{rt}
	}
	if o.Gzip {
		from := o.GzipFrom
		if from == 0 {
			from = 1 << 10
		}
		rt = &compressor{rt, from}
	}
	id := &identity{next: rt, auth: o.Auth, agent: o.UserAgent, now: o.Now}
	if g := o.Auth.Grant(); g != nil {
		id.tokens = &tokens{next: rt, grant: g, now: o.Now, learned: o.Secret, kept: o.Kept, said: o.Saying}
	}
	rt = id
	if o.Hook != nil {
		rt = o.Hook(rt)
	}
	return rt
}

// once keeps Go's transport from sending a request again by itself because it has a key
// of idempotency: whoever counts requests and keeps to rates has to know of each. It looks
// for the header's usual spelling, and headers have no case on the wire. What provably
// was not sent at all is still sent over another connection.
//
// It also leaves what follows a 101 unread, because nobody has asked for another protocol: Go hands the connection
// itself over as the body, whose end no deadline brings.
type once struct{ next http.RoundTripper }

func (t once) RoundTrip(req *http.Request) (*http.Response, error) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := req.Header[name]; ok {
			header := req.Header.Clone()
			delete(header, name)
			header[strings.ToLower(name)] = values
			req = req.WithContext(req.Context()) // a shallow copy: the caller's headers stay
			req.Header = header
		}
	}
	resp, err := t.next.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		_ = resp.Body.Close() // the connection is of no more use
		resp.Body = http.NoBody
	}
	return resp, err
}

// Dial returns the network: connections are reused, HTTP/2 is used where a TLS
// server offers it, and proxies come from the environment. It serves one lane,
// so that no lane waits for another's connections. maxConns is the number of
// connections kept to a host.
func Dial(maxConns int, roots *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: dialing(&net.Dialer{
			Timeout:   15 * time.Second,
			KeepAlive: 30 * time.Second,
		}),
		TLSClientConfig:       roots,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          0,
		MaxIdleConnsPerHost:   max(maxConns, 4),
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ExpectContinueTimeout: time.Second,
		// A small body and what stands before it are one write.
		WriteBufferSize: 36 << 10,
		ReadBufferSize:  16 << 10,
		// Answers are small, and reading them is the runtime's business:
		// asking for gzip would only hide what the partner said from the
		// recorder.
		DisableCompression: true,
		HTTP2:              Pings(),
	}
}

// Pings are the settings of HTTP/2 that find a connection on which nothing arrives
// any more (a proxy or a NAT has forgotten it, or the other end lost its power).
// Without them all requests to a host go on over the one dead connection and time
// out, as long as the run lasts: closing a timed-out request closes a connection
// of HTTP/1, but only a stream of HTTP/2. Such a connection is closed 25 seconds
// after its last frame, before a request's own 30 seconds are over. Every
// http.Transport of the program has them.
func Pings() *http.HTTP2Config {
	return &http.HTTP2Config{
		SendPingTimeout:  15 * time.Second,
		PingTimeout:      10 * time.Second,
		WriteByteTimeout: 20 * time.Second,
	}
}

// identity adds credentials and the user agent.
type identity struct {
	next   http.RoundTripper
	auth   destination.Auth
	agent  string
	now    func() time.Time // nil: the zero time
	tokens *tokens          // nil: no token is asked for
}

func (t *identity) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.agent != "" && req.Header.Get("User-Agent") == "" {
		req.Header["User-Agent"] = []string{t.agent}
	}
	if !t.auth.IsZero() {
		header := req.Header
		req = req.WithContext(req.Context()) // a shallow copy: the caller's headers stay without secrets
		req.Header = header.Clone()
		t.auth.Apply(req, t.time(), nonce)
	}
	send := t.next.RoundTrip
	if t.tokens != nil && t.auth.IsFor(req) {
		send = t.signed
	}
	resp, err := send(req)
	if err != nil {
		return nil, clean(err)
	}
	return resp, nil
}

// time is when a request is sent.
func (t *identity) time() (now time.Time) {
	if t.now != nil {
		now = t.now()
	}
	return now
}

// nonce is a text that no other request has.
func nonce() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// clean takes the URL out of network errors, since it may hold a credential.
func clean(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case errors.As(err, &op):
		return op
	}
	return err
}

// compressor gzips request bodies at the fastest level: what a faster network
// path gains from a higher one is less than it costs.
type compressor struct {
	next http.RoundTripper
	from int
}

var gzips = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is valid
	return z
}}

func (t *compressor) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.ContentLength < int64(t.from) || req.Header.Get("Content-Encoding") != "" {
		return t.next.RoundTrip(req)
	}
	data, ok := destination.RequestBytes(req)
	if !ok {
		return t.next.RoundTrip(req)
	}
	var buf bytes.Buffer
	buf.Grow(len(data) / 4)
	z := gzips.Get().(*gzip.Writer)
	z.Reset(&buf)
	_, err := z.Write(data)
	if err == nil {
		err = z.Close()
	}
	gzips.Put(z)
	if err != nil {
		return nil, fmt.Errorf("compressing the request: %w", err)
	}
	old := req.Body
	small := req.WithContext(req.Context())
	small.Header = req.Header.Clone()
	small.Header.Set("Content-Encoding", "gzip")
	small.ContentLength = int64(buf.Len())
	small.Body = io.NopCloser(bytes.NewReader(buf.Bytes()))
	small.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	// The plain body is done with.
	if old != nil {
		if err := old.Close(); err != nil {
			return nil, fmt.Errorf("closing the plain body: %w", err)
		}
	}
	return t.next.RoundTrip(small)
}

// Captured is a request that was not sent.
type Captured struct {
	Method string
	URL    string
	Header http.Header
	Body   []byte
}

// Capture records requests and sends nothing: the network of a preview. It is
// safe for concurrent use.
type Capture struct {
	// Answer is the body of a 200 for every request. "": destination.ErrNotSent.
	Answer string

	mu       sync.Mutex
	requests []Captured
}

// RoundTrip records the request and answers with Answer, or ErrNotSent.
func (c *Capture) RoundTrip(req *http.Request) (*http.Response, error) {
	var data []byte
	if req.Body != nil {
		var err error
		if data, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, Captured{req.Method, req.URL.String(), req.Header.Clone(), data})
	if c.Answer == "" {
		return nil, destination.ErrNotSent
	}
	h := http.Header{"Content-Type": {"application/json"}}
	return &http.Response{
		StatusCode:    http.StatusOK,
		Header:        h,
		Body:          io.NopCloser(strings.NewReader(c.Answer)),
		ContentLength: int64(len(c.Answer)),
		Request:       req,
	}, nil
}

// Take returns the requests recorded since the last Take.
func (c *Capture) Take() []Captured {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.requests
	c.requests = nil
	return out
}
