package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// conn writes large bodies in large steps. net/http hands them on in 32 KiB,
// each of which is a system call here and a reader woken at the other end: a
// fifteenth of the CPU of a run to a server nearby. Connections with TLS write
// records of their own size and get nothing from it.
type conn struct{ *net.TCPConn }

const writeStep = 256 << 10

var steps = sync.Pool{New: func() any { return new([writeStep]byte) }}

// ReadFrom implements io.ReaderFrom.
func (c conn) ReadFrom(r io.Reader) (n int64, err error) {
	step := steps.Get().(*[writeStep]byte)
	defer steps.Put(step)
	for {
		k, readErr := r.Read(step[:])
		if k > 0 {
			written, err := c.Write(step[:k])
			n += int64(written)
			if err != nil {
				return n, err
			}
		}
		if errors.Is(readErr, io.EOF) {
			return n, nil
		} else if readErr != nil {
			return n, readErr
		}
	}
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
