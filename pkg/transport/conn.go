package transport

import (
	"context"
	"io"
	"net"
)

// conn has bodies write themselves: net/http would copy them to the system in 32 KiB, each of which wakes the
// reader at the other end, and this took a fifteenth of the CPU of a run to a server nearby. Connections with TLS
// write records of their own size and get nothing from it.
type conn struct{ *net.TCPConn }

// ReadFrom implements io.ReaderFrom.
func (c conn) ReadFrom(r io.Reader) (n int64, err error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if b, ok := l.R.(whole); ok && int64(b.Len()) <= l.N {
			n, err = b.WriteTo(c.TCPConn)
			l.N -= n
			return n, err
		}
	}
	return c.TCPConn.ReadFrom(r)
}

// whole is a body in memory, which knows how much of it is left to read.
type whole interface {
	io.WriterTo
	Len() int
}

// dialing makes connections of the dialer's TCP ones.
func dialing(d *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := d.DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			return conn{tcp}, err
		}
		return c, err
	}
}
