package serve

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// targetOf is the path and query of a received request, exactly as they came over the
// wire.
func targetOf(r *http.Request) string {
	s := r.RequestURI
	switch {
	case s == "":
		return r.URL.RequestURI()
	case s[0] != '/' && s != "*": // the form for proxies
		_, s = wire.SplitAddress(s)
	}
	if s == "" || s[0] == '?' {
		s = "/" + s
	}
	return s
}

// place is the address to which a received request is sent.
type place struct {
	scheme, host string
	target       string // path and query, byte for byte
	// modify, if not nil, changes an answer before it is passed on.
	modify func(*http.Response)
	// proto is the major version of the client's HTTP.
	proto int
	// cut is how the answer broke off; "" until then.
	cut wire.Break
}

// Protocols are the protocols that our servers speak: HTTP/1.1, HTTP/2 with TLS, and
// HTTP/2 without TLS for clients that know beforehand that a server speaks it.
func Protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// Idle is how long our servers keep an idle connection. It is as short as Node's,
// because some programs exit only after their connections were closed.
const Idle = 5 * time.Second

// front passes each request on to its place, and changes nothing but what belongs to
// the connection. Both kinds of proxy use it.
type front struct {
	to      http.RoundTripper
	buffers *buffers
}

func newFront(to http.RoundTripper) *front { return &front{to, &buffers{}} }

// serve passes a request on to its place and returns the answer.
func (f *front) serve(w http.ResponseWriter, r *http.Request, at *place) {
	at.proto = r.ProtoMajor
	// Offers to change the protocol (Java's client and curl --http2 make them) are
	// meant for the next server only, and net/http accepts none.
	if !wire.IsWebSocket(r) {
		r.Header.Del("Upgrade")
		r.Header.Del("Http2-Settings")
	}
	// Otherwise net/http guesses a content type if the partner sends none.
	w.Header()["Content-Type"] = nil
	// An answer that breaks off ends in a panic, upon which net/http closes the
	// connection. A reset needs more than that.
	defer func() {
		v := recover()
		if v != nil && at.cut == wire.BreakReset {
			breakOff(w, r, at.cut)
			return
		}
		if v != nil {
			panic(v)
		}
	}()
	proxy := &httputil.ReverseProxy{
		Rewrite:        at.address,
		Transport:      f.to,
		ModifyResponse: at.answer,
		FlushInterval:  -1, // pass streams on without a delay
		BufferPool:     f.buffers,
		ErrorHandler:   unanswered,
		ErrorLog:       log.New(io.Discard, "", 0), // clients that disconnect are no error
	}
	proxy.ServeHTTP(oneContinue{w}, r)
}

// address turns a received request into the request that is sent on.
func (at *place) address(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.URL.User = at.scheme, at.host, nil
	wire.SetTarget(p.Out.URL, at.target)
	p.Out.Host = at.host
	p.Out.Trailer = p.In.Trailer // is filled when the body has been read
	p.Out.Header.Del("Expect")   // our own server sends "100 Continue"
	// Send the client's own values, neither Go's nor none.
	for _, name := range asSent {
		if v, ok := p.In.Header[name]; ok || name == "User-Agent" {
			p.Out.Header[name] = v
		}
	}
}

// answer adapts an answer to the client's connection.
func (at *place) answer(resp *http.Response) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	if at.modify != nil {
		at.modify(resp)
	}
	if at.proto == 1 { // so that clients do not reuse a connection that we are about to close
		resp.Header.Set("Keep-Alive", "timeout="+strconv.Itoa(int(Idle/time.Second)))
	}
	if len(resp.Trailer) > 0 {
		resp.Header.Del("Content-Length") // HTTP/1.1 allows trailers only after chunks
	}
	ctx := resp.Request.Context()
	resp.Body = &watched{resp.Body, func(err error) { at.cut = wire.BrokenBy(ctx, err).How }}
	return nil
}

// unanswered tells the client that there is no answer, or breaks the connection as the
// partner did.
func unanswered(w http.ResponseWriter, r *http.Request, err error) {
	if how := wire.BrokenBy(r.Context(), err).How; how != wire.BreakRefused && how != wire.BreakUnreachable {
		breakOff(w, r, how)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = io.WriteString(w, "no answer: "+err.Error()+"\n") // if it fails, the client is gone
}

// oneContinue drops the partner's "100 Continue". Our own server sends one when the
// body is read, and Java's client fails on a second one.
type oneContinue struct{ http.ResponseWriter }

func (w oneContinue) WriteHeader(code int) {
	if code != http.StatusContinue {
		w.ResponseWriter.WriteHeader(code)
	}
}

// Unwrap is for [http.ResponseController].
func (w oneContinue) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// asSent are headers that net/http's reverse proxy adds or removes on its own.
var asSent = []string{"User-Agent", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

const bufferSize = 256 << 10

// buffers is a pool of buffers for copying bodies.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// breakOff ends the answer as the partner did: with a reset, by closing the connection,
// or, for a timeout, not before the client gives up.
func breakOff(w http.ResponseWriter, r *http.Request, how wire.Break) {
	if how == wire.BreakTimeout {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2 resets the stream
		panic(http.ErrAbortHandler)
	}
	_ = buf.Flush() // send what was written so far
	if how == wire.BreakReset {
		plain := conn
		if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
			plain = secure.NetConn()
		}
		if tunnel, ok := plain.(*tunnelled); ok {
			plain = tunnel.Conn
		}
		if tcp, ok := plain.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // closing then resets
			_ = tcp.Close()
		}
	}
	_ = conn.Close() // closed on purpose, so its error does not matter
}

// watched reports the error when an answer cannot be read to its end.
type watched struct {
	io.ReadCloser
	broke func(error)
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		b.broke(err)
	}
	return n, err
}
