package cassette

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// Conversation answers from what is recorded, from the network, or from both:
// with Old alone it never goes live, with Rec alone everything is recorded, and
// with both what is missing is.
type Conversation struct {
	Old *Replayer
	Rec *Recorder
	// Network, when there is one, takes the place of the recorder's.
	Network http.RoundTripper
	// Front, when there is one, answers everything: a partner that misbehaves,
	// with Old behind it.
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
	case c.Old == nil, IsWebSocket(req), IsGRPC(req): // the latter two are in no cassette
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
