package listen

import (
	"net/http"

	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// protocols are transports for requests that need a certain version of HTTP.
type protocols struct{ usual, http1, http2 *http.Transport }

// Network sends what programs ask for to the partners, by the version of HTTP that each
// request needs.
func Network(usual *http.Transport) http.RoundTripper {
	w := &protocols{usual: usual, http1: usual.Clone(), http2: usual.Clone()}
	w.http1.Protocols = new(http.Protocols)
	w.http1.Protocols.SetHTTP1(true)
	w.http1.ForceAttemptHTTP2 = false
	w.http2.Protocols = new(http.Protocols)
	w.http2.Protocols.SetHTTP2(true)
	w.http2.Protocols.SetUnencryptedHTTP2(true)
	return w
}

// RoundTrip sends WebSockets over HTTP/1.1, which alone has them here, and gRPC
// over HTTP/2 though there be no TLS.
func (w *protocols) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case wire.IsWebSocket(req):
		return w.http1.RoundTrip(req)
	case wire.IsGRPC(req):
		return w.http2.RoundTrip(req)
	}
	return w.usual.RoundTrip(req)
}
