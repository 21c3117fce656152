package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/transport"
)

// maxAnswer is how much of an answer is compared, in bytes.
const maxAnswer = 8 << 20

// converse sends a case's events to the partner.
func (v *Verifier) converse(ctx context.Context, s destination.Sender, k *cassette.Cassette) []string {
	c := &comparer{network: transport.New(transport.Options{
		Network: v.Live.Network, Auth: s.Plan().Auth, UserAgent: v.UserAgent,
	}), recorded: k.Interactions}
	if _, err := Converse(ctx, s, c, k.Meta.Events, v.Now()); err != nil {
		c.findings = append(c.findings, err.Error())
	}
	return c.findings
}

// comparer sends requests to the partner. It compares the n-th answer with the n-th
// recorded one.
type comparer struct {
	network  http.RoundTripper
	recorded []*cassette.Interaction
	n        int // number of the next request
	findings []string
}

// RoundTrip implements [http.RoundTripper], for one request at a time.
func (c *comparer) RoundTrip(req *http.Request) (*http.Response, error) {
	n := c.n
	c.n++
	resp, err := c.network.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if n >= len(c.recorded) {
		c.findings = append(c.findings,
			fmt.Sprintf("request %d was not recorded: %s %s", n, req.Method, req.URL.Redacted()))
		return resp, nil
	}
	was := c.recorded[n].Response
	// Compare without compression, because partners compress even if nobody asks for
	// it.
	text, wasText := wire.Plain(resp.Header.Clone(), string(body)), wire.Plain(was.Headers.Clone(), was.Body)
	for _, d := range match.Drift(was.Code, wasText, resp.StatusCode, text) {
		c.findings = append(c.findings,
			fmt.Sprintf("answer %d, %s: recorded %s, now %s", n, d.Path, d.Recorded, d.Sent))
	}
	return resp, nil
}

// resend sends the recorded requests again, to the addresses where they were recorded.
func (l *Live) resend(ctx context.Context, k *cassette.Cassette) (r Result, err error) {
	c := &comparer{network: l.Network, recorded: k.Interactions}
	unsafe, broken := 0, 0
	for n, i := range k.Interactions {
		switch {
		case i.Request.Method != http.MethodGet && i.Request.Method != http.MethodHead && !l.Unsafe:
			unsafe++
			continue
		case i.Response.Code == 0:
			broken++
			continue
		}
		req, err := l.request(ctx, i)
		if err != nil {
			return r, fmt.Errorf("%s: interaction %d: %w", k.Path, n, err)
		}
		c.n = n
		if _, err := c.RoundTrip(req); err != nil {
			c.findings = append(c.findings, fmt.Sprintf("interaction %d: %v", n, err))
		}
	}
	r.Findings = c.findings
	var left []string
	if unsafe > 0 {
		left = append(left, fmt.Sprintf("%d requests that change something were not sent (--allow-unsafe)", unsafe))
	}
	if broken > 0 {
		left = append(left, fmt.Sprintf("%d that broke off when they were recorded were not sent", broken))
	}
	r.Detail = strings.Join(left, "; ")
	if len(r.Findings) == 0 && unsafe+broken == len(k.Interactions) {
		r.Status = Skipped
	}
	return r, nil
}

// request is a recorded request. Its redacted headers are left out, and the given ones
// added.
func (l *Live) request(ctx context.Context, i *cassette.Interaction) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, i.Request.Method, "/", strings.NewReader(i.Request.Body))
	if err == nil {
		err = wire.SetAddress(req, i.Request.URL)
	}
	if err != nil {
		return nil, err
	}
	for name, values := range i.Request.Headers {
		if !strings.Contains(strings.Join(values, ""), "REDACTED:") {
			req.Header[name] = values
		}
	}
	for name, values := range l.Header {
		req.Header[name] = values
	}
	return req, nil
}
