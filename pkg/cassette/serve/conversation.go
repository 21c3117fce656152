// Package serve is what a program talks to while it is recorded or replayed.
//
// A [Conversation] answers each request from a cassette, from the network, or from both, as the
// modes of the record command need it. Programs reach it through [Reverse], with one address for
// each upstream, or through [Forward], a proxy with certificates of its own. Neither changes more
// than the addresses that would lead a program past it, see [Links].
package serve

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// Conversation answers from a recording, from the network, or from both. With Old alone
// it never uses the network. With Rec alone it records everything. With both it records
// only what Old does not have.
type Conversation struct {
	Old *replay.Replayer
	Rec *record.Recorder
	// Network, if not nil, is used instead of the recorder's network.
	Network http.RoundTripper
	// Front, if not nil, answers every request: it is a partner that misbehaves and can
	// pass requests on to Old.
	Front http.RoundTripper
}

func (c *Conversation) live(req *http.Request) (*http.Response, error) {
	if c.Network != nil {
		return c.Rec.Over(c.Network, req)
	}
	return c.Rec.RoundTrip(req)
}

// RoundTrip implements http.RoundTripper.
func (c *Conversation) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case c.Front != nil:
		return c.Front.RoundTrip(req)
	case c.Old == nil && c.Rec == nil:
		return nil, errors.New("there is neither a cassette to answer from nor one to record")
	case c.Rec == nil:
		return c.Old.RoundTrip(req)
	case c.Old == nil, wire.IsWebSocket(req), wire.IsGRPC(req): // a cassette never holds WebSockets or gRPC
		return c.live(req)
	}
	var data []byte
	if req.Body != nil && req.Body != http.NoBody {
		var err error
		if data, err = io.ReadAll(io.LimitReader(req.Body, wire.MaxBody+1)); err != nil {
			return nil, err
		}
		if len(data) > wire.MaxBody {
			req.Body = wire.Body{Reader: io.MultiReader(bytes.NewReader(data), req.Body), Closer: req.Body}
			return c.live(req)
		}
		req.Body.Close()
	}
	copied := *req
	copied.Body = io.NopCloser(bytes.NewReader(data))
	q, err := match.ReadRequest(&copied, wire.MaxBody)
	if err != nil {
		return nil, err
	}
	if resp, err := c.Old.Try(req, q); resp != nil || err != nil {
		return resp, err
	}
	if copied.Body = http.NoBody; len(data) > 0 {
		copied.Body = io.NopCloser(bytes.NewReader(data))
	}
	return c.live(&copied)
}
