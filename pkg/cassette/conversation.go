package cassette

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// Conversation answers from a recording, from the network, or from both. With Old alone
// it never uses the network. With Rec alone it records everything. With both it records
// only what Old does not have.
type Conversation struct {
	Old *Replayer
	Rec *Recorder
	// Network, if not nil, is used instead of the recorder's network.
	Network http.RoundTripper
	// Front, if not nil, answers every request: it is a partner that misbehaves and can
	// pass requests on to Old.
	Front http.RoundTripper
}

func (c *Conversation) live(req *http.Request) (*http.Response, error) {
	if c.Network != nil {
		return c.Rec.over(c.Network, req)
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
	case c.Old == nil, IsWebSocket(req), IsGRPC(req): // a cassette never holds WebSockets or gRPC
		return c.live(req)
	}
	var data []byte
	if req.Body != nil && req.Body != http.NoBody {
		var err error
		if data, err = io.ReadAll(io.LimitReader(req.Body, maxRequest+1)); err != nil {
			return nil, err
		}
		if len(data) > maxRequest {
			req.Body = held{io.MultiReader(bytes.NewReader(data), req.Body), req.Body}
			return c.live(req)
		}
		req.Body.Close()
	}
	copied := *req
	copied.Body = io.NopCloser(bytes.NewReader(data))
	q, err := ReadRequest(&copied, maxRequest)
	if err != nil {
		return nil, err
	}
	if e, _, _ := c.Old.find("", q); e != nil {
		return c.Old.play(req, e)
	}
	if copied.Body = http.NoBody; len(data) > 0 {
		copied.Body = io.NopCloser(bytes.NewReader(data))
	}
	return c.live(&copied)
}
