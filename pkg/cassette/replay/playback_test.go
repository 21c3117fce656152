package replay

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

// TestLatency checks that the recorded latency is scaled, and ends when the client
// stops waiting.
func TestLatency(t *testing.T) {
	i := sample.Order()
	i.Request.Body = ""
	i.Request.Method = "GET"
	i.Response.Duration = time.Hour
	p, err := New([]*cassette.Cassette{{Path: "c.yaml", Interactions: []*cassette.Interaction{i}}}, Options{Latency: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", i.Request.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.RoundTrip(req); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestPlaybackKeepsTimes checks that a piece which was recorded after an hour does not
// come earlier, and that a client can stop waiting.
func TestPlaybackKeepsTimes(t *testing.T) {
	i := sample.Order()
	i.Request.Method, i.Request.Body, i.Response.Body = "GET", "", "ab"
	c := &cassette.Cassette{Path: "c.yaml", Interactions: []*cassette.Interaction{i},
		Meta: cassette.Meta{Details: []cassette.Details{{
			Chunks: []cassette.Chunk{{}, {Bytes: 1}, {MS: 3600_000, Bytes: 1}}}}}}
	p, err := New([]*cassette.Cassette{c}, Options{Latency: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", i.Request.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := resp.Body.Read(buf); n != 1 || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
	cancel()
	if n, err := resp.Body.Read(buf); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", buf[:n], err)
	}
}
