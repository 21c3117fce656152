package cassette

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Break is how an answer failed to come, or to come to its end.
type Break string

// The breaks that are told apart.
const (
	BreakReset       Break = "reset"       // the partner reset the connection
	BreakClosed      Break = "closed"      // the partner closed it
	BreakTimeout     Break = "timeout"     // no answer came until the client gave up
	BreakRefused     Break = "refused"     // nobody listens there
	BreakUnreachable Break = "unreachable" // no address, no route, no trusted certificate, no HTTP
)

// Broken is the error of an answer that broke: of a live one, or of one that was
// recorded so.
type Broken struct {
	How Break
	Err error // what the network said
}

func (b *Broken) Error() string { return b.Err.Error() }

// Unwrap returns what the network said, live or replayed: ECONNRESET, EOF,
// ECONNREFUSED, or that the deadline has passed.
func (b *Broken) Unwrap() error { return b.Err }

// lasting is what is kept of the error: of a connection that was there, without
// its addresses, whose ports are others in every recording.
func (b *Broken) lasting() string {
	if b.How == BreakRefused || b.How == BreakUnreachable {
		return b.Error() // is what the client is told
	}
	err := b.Err
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}

// Timeout makes it a net.Error.
func (b *Broken) Timeout() bool { return b.How == BreakTimeout }

// Temporary completes net.Error.
func (b *Broken) Temporary() bool { return false }

// broken says how a request failed. ctx is the client's: it is done when the
// client has given up.
func broken(ctx context.Context, err error) *Broken {
	var b *Broken
	if errors.As(err, &b) {
		return b
	}
	text := err.Error()
	switch {
	case ctx.Err() != nil:
		return &Broken{BreakTimeout, err}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), strings.Contains(text, "stream error:"),
		strings.Contains(text, "forcibly closed"):
		return &Broken{BreakReset, err}
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(text, "actively refused"):
		return &Broken{BreakRefused, err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		strings.Contains(text, "GOAWAY"), strings.Contains(text, "server closed"),
		strings.Contains(text, "connection lost"),
		strings.Contains(text, "malformed chunked encoding"), strings.Contains(text, "transport connection broken"):
		return &Broken{BreakClosed, err}
	}
	return &Broken{BreakUnreachable, err}
}

// replayed is the error of an answer that was recorded as broken.
func (d *Details) replayed() *Broken {
	is := map[Break]error{
		BreakReset: syscall.ECONNRESET, BreakClosed: io.ErrUnexpectedEOF,
		BreakTimeout: context.DeadlineExceeded, BreakRefused: syscall.ECONNREFUSED,
	}[d.Broken]
	if is == nil {
		is = net.UnknownNetworkError(d.Error)
	}
	return &Broken{d.Broken, &said{d.Error, is}}
}

// said is an error in the words of a recording.
type said struct {
	text string
	is   error
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.is }

// breakOff ends an exchange as the partner did: with a reset, by closing, or
// not at all until the client gives up.
func breakOff(w http.ResponseWriter, r *http.Request, how Break) {
	if how == BreakTimeout {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2 resets the stream
		panic(http.ErrAbortHandler)
	}
	_ = buf.Flush() // what was sent so far
	if how == BreakReset {
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
	_ = conn.Close() // is broken on purpose
}

// watched notes why an answer could not be read to its end.
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
