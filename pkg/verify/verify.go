// Package verify holds what is in cassettes against today: the requests that today's
// code makes of a case's events, or the answers that the partner itself gives now.
package verify

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/transport"
)

// Status is what came of one cassette.
type Status string

// The values of a status. Scripts rely on them.
const (
	OK      Status = "ok"
	Drift   Status = "drift" // something differs: see the findings
	Skipped Status = "skipped"
)

// Result is what was found out about one cassette.
type Result struct {
	Cassette string   `json:"cassette"`
	Status   Status   `json:"status"`
	Detail   string   `json:"detail,omitempty"`
	Findings []string `json:"findings,omitempty"`
	Seconds  float64  `json:"-"`
}

// Verifier verifies cassettes, one after the other.
type Verifier struct {
	Catalogue []destination.Destination
	UserAgent string
	Now       func() time.Time
	Live      *Live // nil: the partner is not asked
}

// Live is how the partner itself is asked.
type Live struct {
	Network http.RoundTripper
	// Settings puts the user's own settings in place of the examples of a case.
	Settings func(slug string, c destination.Config) (destination.Config, error)
	// Header is set in requests that are sent as they were recorded.
	Header http.Header
	Unsafe bool // requests that change something are sent, too
}

// Cassette verifies one cassette. What differs is a finding, and no error.
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
	i := slices.IndexFunc(v.Catalogue, func(d destination.Destination) bool { return d.Info.Slug == slug })
	if i < 0 {
		return Result{Status: Skipped, Detail: "there is no destination " + slug}, nil
	}
	d := v.Catalogue[i]
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

// replayed holds the requests that a case's events give today against the recorded
// ones, and what the answers mean against what they meant.
func replayed(
	ctx context.Context, s destination.Sender, k *cassette.Cassette, now time.Time,
) (findings []string, err error) {
	player, err := cassette.NewReplayer([]*cassette.Cassette{k}, cassette.ReplayOptions{Exact: true})
	if err != nil {
		return nil, err
	}
	// Above the credentials, as recordings are.
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
