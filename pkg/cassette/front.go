package cassette

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"time"
)

// place is where a request that was received goes.
type place struct {
	scheme, host string
	target       string // path and query, byte for byte
	// modify, if not nil, changes an answer before it is passed on.
	modify func(*http.Response)
	// proto is the client's version of HTTP.
	proto int
	// cut says how the answer broke off, once it has.
	cut Break
}

// Protocols are what our servers speak: HTTP/1.1 and HTTP/2, the latter with
// TLS and, for clients that know beforehand, without.
func Protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// Idle is how long our servers keep a connection on which nothing comes: as short as
// Node's, for there are programs that only end when their connections are closed.
const Idle = 5 * time.Second

// front passes requests on, each to its place, and changes nothing about them that is
// not the connection's own. It is behind both kinds of proxy.
type front struct {
	to      http.RoundTripper
	buffers *buffers
}

func newFront(to http.RoundTripper) *front { return &front{to, &buffers{}} }

// serve answers a request with what is said at its place.
func (f *front) serve(w http.ResponseWriter, r *http.Request, at *place) {
	at.proto = r.ProtoMajor
	// Offers to change the protocol are for the next server only, and net/http
	// takes up none: Java's client and curl --http2 make them.
	if !IsWebSocket(r) {
		r.Header.Del("Upgrade")
		r.Header.Del("Http2-Settings")
	}
	// Without this net/http guesses a type where the partner gives none.
	w.Header()["Content-Type"] = nil
	// An answer that breaks off ends in a panic, by which net/http closes the
	// connection; a reset is more than that.
	defer func() {
		v := recover()
		if v != nil && at.cut == BreakReset {
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
		FlushInterval:  -1, // streams are passed on as they come
		BufferPool:     f.buffers,
		ErrorHandler:   unanswered,
		ErrorLog:       log.New(io.Discard, "", 0), // clients that go away
	}
	proxy.ServeHTTP(oneContinue{w}, r)
}

// address makes the request that goes to the place of one that was received.
func (at *place) address(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.URL.User = at.scheme, at.host, nil
	setTarget(p.Out.URL, at.target)
	p.Out.Host = at.host
	p.Out.Trailer = p.In.Trailer // is filled when the body has been read
	p.Out.Header.Del("Expect")   // our server tells the client to go on
	// As the client has them: not Go's, and not dropped.
	for _, name := range asSent {
		if v, ok := p.In.Header[name]; ok || name == "User-Agent" {
			p.Out.Header[name] = v
		}
	}
}

// answer changes what the connection's own is of an answer.
func (at *place) answer(resp *http.Response) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	if at.modify != nil {
		at.modify(resp)
	}
	if at.proto == 1 { // clients that know do not use it at the last moment
		resp.Header.Set("Keep-Alive", "timeout="+strconv.Itoa(int(Idle/time.Second)))
	}
	if len(resp.Trailer) > 0 {
		resp.Header.Del("Content-Length") // HTTP/1.1 has trailers behind chunks only
	}
	ctx := resp.Request.Context()
	resp.Body = &watched{resp.Body, func(err error) { at.cut = broken(ctx, err).How }}
	return nil
}

// unanswered tells the client that there is no answer, or breaks off as it did.
func unanswered(w http.ResponseWriter, r *http.Request, err error) {
	if how := broken(r.Context(), err).How; how != BreakRefused && how != BreakUnreachable {
		breakOff(w, r, how)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = io.WriteString(w, "no answer: "+err.Error()+"\n") // a client that is gone needs none
}

// oneContinue leaves it to our server to tell a client to go on: it does so when the
// body is read, and a partner that says so, too, would be once too often for Java.
type oneContinue struct{ http.ResponseWriter }

func (w oneContinue) WriteHeader(code int) {
	if code != http.StatusContinue {
		w.ResponseWriter.WriteHeader(code)
	}
}

// Unwrap is for [http.ResponseController].
func (w oneContinue) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// asSent are headers that net/http's proxy makes up or drops.
var asSent = []string{"User-Agent", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// IsWebSocket tells whether a request asks for a WebSocket.
func IsWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// IsGRPC tells whether a request is a call of gRPC, which is a protocol of its
// own over HTTP/2. gRPC-Web is not: its requests are ordinary ones.
func IsGRPC(r *http.Request) bool {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/grpc" || strings.HasPrefix(media, "application/grpc+")
}

// buffers are what bodies are copied through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 256<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
