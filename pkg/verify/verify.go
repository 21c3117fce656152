// Package verify checks whether cassettes are still true. It compares a cassette's
// requests with those that the present code makes of the same events, or its answers
// with those that the partner gives now.
package verify

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/transport"
)

// Status is the result for one cassette.
type Status string

// The statuses. Scripts rely on their names.
const (
	OK      Status = "ok"
	Drift   Status = "drift" // something differs: see the findings
	Skipped Status = "skipped"
)

// Result is the outcome of verifying one cassette.
type Result struct {
	Cassette string   `json:"cassette"`
	Status   Status   `json:"status"`
	Detail   string   `json:"detail,omitempty"`
	Findings []string `json:"findings,omitempty"`
	Seconds  float64  `json:"-"`
}

// Verifier verifies cassettes, one at a time.
type Verifier struct {
	Catalogue destination.Catalogue
	UserAgent string
	Now       func() time.Time
	Live      *Live // nil: no requests to the partner
}

// Live tells how to send requests to the partner itself.
type Live struct {
	Network http.RoundTripper
	// Settings returns a case with the user's own settings instead of the examples.
	Settings func(slug string, c destination.Config) (destination.Config, error)
	// Header is added to recorded requests that are sent again.
	Header http.Header
	Unsafe bool // also send requests that change something
}

// Cassette verifies one cassette. A difference is a finding, not an error.
func (v *Verifier) Cassette(ctx context.Context, k *cassette.Cassette) (Result, error) {
	began := v.Now()
	r, err := v.cassette(ctx, k)
	if err != nil {
		return r, err
	}
	r.Cassette, r.Seconds = k.Path, v.Now().Sub(began).Seconds()
	switch {
	case r.Status != "":
	case len(r.Findings) > 0:
		r.Status = Drift
	default:
		r.Status = OK
	}
	return r, nil
}

func (v *Verifier) cassette(ctx context.Context, k *cassette.Cassette) (r Result, err error) {
	switch {
	case len(k.Meta.Events) > 0:
	case v.Live != nil:
		return v.Live.resend(ctx, k)
	default:
		return Result{Status: Skipped, Detail: "it holds no events"}, nil
	}
	slug := filepath.Base(filepath.Dir(k.Path))
	d, ok := v.Catalogue.Find(slug)
	if !ok {
		return Result{Status: Skipped, Detail: "there is no destination " + slug}, nil
	}
	c, now, err := Case(d, k.Meta)
	if err == nil && v.Live != nil {
		if c, err = v.Live.Settings(slug, c); err != nil {
			return r, err
		}
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", k.Path, err)
	}
	s, err := d.Open(c)
	if err != nil {
		return r, fmt.Errorf("%s: %w", k.Path, err)
	}
	if v.Live != nil {
		r.Findings = v.converse(ctx, s, k)
		return r, nil
	}
	if r.Findings, err = replayed(ctx, s, k, now); err != nil {
		return r, fmt.Errorf("%s: %w", k.Path, err)
	}
	return r, nil
}

// replayed compares the requests that a case's events give today with the recorded
// ones, and today's verdicts on the answers with the recorded verdicts.
func replayed(
	ctx context.Context, s destination.Sender, k *cassette.Cassette, now time.Time,
) (findings []string, err error) {
	player, err := replay.New([]*cassette.Cassette{k}, replay.Options{Exact: true})
	if err != nil {
		return nil, err
	}
	// Replay before credentials are added, because recordings do not have them either.
	rt := transport.New(transport.Options{
		Network: player, Hook: func(http.RoundTripper) http.RoundTripper { return player },
	})
	got, err := Converse(ctx, s, rt, k.Meta.Events, now)
	if err != nil {
		findings = append(findings, err.Error())
	}
	u := player.Usage()
	for _, m := range u.Missed {
		findings = append(findings, m.Error())
	}
	for _, n := range u.Unused {
		findings = append(findings, fmt.Sprintf("interaction %d is not asked for any more: %s %s",
			n.Interaction, n.Method, n.URL))
	}
	var verdicts []string
	for _, g := range got {
		verdicts = append(verdicts, g.String())
	}
	if len(findings) == 0 && len(k.Meta.Want) > 0 && !slices.Equal(verdicts, k.Meta.Want) {
		findings = append(findings, fmt.Sprintf("the verdicts are %q, recorded %q", verdicts, k.Meta.Want))
	}
	return findings, nil
}
