package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// Break is the way in which an answer failed to arrive, or to arrive completely.
type Break string

// The kinds of break.
const (
	BreakReset       Break = "reset"       // the partner reset the connection
	BreakClosed      Break = "closed"      // the partner closed it
	BreakTimeout     Break = "timeout"     // no answer came until the client gave up
	BreakRefused     Break = "refused"     // no server listens on the port
	BreakUnreachable Break = "unreachable" // no address, no route, no trusted certificate, no HTTP
)

// Broken is the error of a broken answer, live or replayed.
type Broken struct {
	How Break
	Err error // the error of the network
}

func (b *Broken) Error() string { return b.Err.Error() }

// Unwrap returns the error of the network, live or replayed: ECONNRESET, EOF,
// ECONNREFUSED, or an expired deadline.
func (b *Broken) Unwrap() error { return b.Err }

// Lasting is the error text that is kept. Addresses are left out where there was a
// connection, because their ports are different in every recording.
func (b *Broken) Lasting() string {
	if b.How == BreakRefused || b.How == BreakUnreachable {
		return b.Error() // this text is what the client is told
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

// BrokenBy classifies the error of a failed request. ctx is the client's context: it is
// done when the client has given up.
func BrokenBy(ctx context.Context, err error) *Broken {
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

// Replayed returns the error for an answer that was recorded as broken, with the recorded text.
func Replayed(how Break, text string) *Broken {
	is := map[Break]error{
		BreakReset: syscall.ECONNRESET, BreakClosed: io.ErrUnexpectedEOF,
		BreakTimeout: context.DeadlineExceeded, BreakRefused: syscall.ECONNREFUSED,
	}[how]
	if is == nil {
		is = net.UnknownNetworkError(text)
	}
	return &Broken{how, &said{text, is}}
}

// said is a replayed error: it has the recorded text and unwraps to the error that a
// live connection would give.
type said struct {
	text string
	is   error
}

func (s *said) Error() string { return s.text }

func (s *said) Unwrap() error { return s.is }
