package replay

import (
	"context"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
)

// playback is the body of a recorded stream. It gives the recorded chunks at the
// recorded times, scaled by Latency.
type playback struct {
	due    func(at time.Duration) error // waits until a recorded time; the error says why it could not
	done   <-chan struct{}              // closed when the client has gone
	text   string
	chunks []cassette.Chunk
	// end is returned after the body: io.EOF, or the recorded break. nil: the body
	// stays open until the client leaves.
	end error
}

func (b *playback) Read(p []byte) (int, error) {
	for len(b.chunks) > 0 {
		c := &b.chunks[0]
		if err := b.due(time.Duration(c.MS) * time.Millisecond); err != nil {
			return 0, err
		}
		if n := copy(p, b.text[:min(c.Bytes, len(b.text))]); n > 0 {
			b.text = b.text[n:]
			c.Bytes -= n
			return n, nil
		}
		b.chunks = b.chunks[1:]
	}
	if len(b.text) > 0 {
		n := copy(p, b.text)
		b.text = b.text[n:]
		return n, nil
	}
	if b.end == nil {
		<-b.done
		return 0, b.due(0) // why the client is gone
	}
	return 0, b.end
}

func (b *playback) Close() error { return nil }

// sleep waits for a duration, or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
