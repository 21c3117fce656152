package standin

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Sink is a partner that accepts and counts every request, as cheaply as possible. It
// is made for benchmarks. GET /stats returns the counts.
type Sink struct {
	mark                   string
	requests, size, events atomic.Int64
	buffers                sync.Pool // of *[64 << 10]byte
}

// NewSink returns a sink. It counts events by a text that every event contains exactly
// once; "": events are not counted.
func NewSink(mark string) *Sink {
	return &Sink{mark: mark, buffers: sync.Pool{New: func() any { return new([64 << 10]byte) }}}
}

// Counts returns, as JSON, the number of requests, of the events in them, and of the
// bytes of their bodies before compression.
func (s *Sink) Counts() string {
	return fmt.Sprintf(`{"requests":%d,"events":%d,"bytes":%d}`, s.requests.Load(), s.events.Load(), s.size.Load())
}

// Serve answers at a listener until a signal comes or the context ends.
func (s *Sink) Serve(ctx context.Context, l net.Listener, signals <-chan os.Signal) error {
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: s}
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
		}
		server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP implements [http.Handler].
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet && r.URL.Path == "/stats" {
		_, _ = fmt.Fprintln(w, s.Counts()) // if it fails, the client is gone
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		if z, err := gzip.NewReader(body); err == nil {
			body = z
		}
	}
	size, events := s.drain(body)
	s.requests.Add(1)
	s.size.Add(size)
	s.events.Add(events)
	if strings.HasSuffix(r.URL.Path, "/import") {
		fmt.Fprintf(w, `{"code":200,"num_records_imported":%d,"status":"OK"}`, events)
	} else {
		_, _ = io.WriteString(w, `{"error":null,"status":1}`)
	}
}

// drain reads a body to its end and counts the marks in it.
func (s *Sink) drain(r io.Reader) (size, events int64) {
	p := s.buffers.Get().(*[64 << 10]byte)
	defer s.buffers.Put(p)
	buf, mark := p[:], []byte(s.mark)
	keep := 0
	for {
		n, err := r.Read(buf[keep:])
		size += int64(n)
		if len(mark) > 0 {
			text := buf[:keep+n]
			events += int64(bytes.Count(text, mark))
			// The last bytes may be the beginning of a mark, so they are kept for the
			// next round.
			tail := max(0, len(text)-len(mark)+1)
			keep = copy(buf, text[tail:])
		}
		if err != nil {
			return size, events
		}
	}
}
