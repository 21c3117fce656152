package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/transport"
)

type verifyOptions struct {
	live, unsafe bool
	output       string
	sets         []string
	headers      []string
	upstreamCA   string
}

// verified is what verify found out about one cassette.
type verified struct {
	Cassette string   `json:"cassette"`
	Status   string   `json:"status"` // ok, drift, skipped
	Detail   string   `json:"detail,omitempty"`
	Findings []string `json:"findings,omitempty"`
	seconds  float64
}

func (a *app) verifyCommand() *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Hold today's code, or the live partner, against what was recorded",
		Long: `verify sends the events that are stored with a case through today's destination
code: the requests have to be the recorded ones, and the answers have to mean
what they meant. The folder's name says which destination.

With --live nothing is compared with the recording but the answers: the events
are sent to the real partner, with the settings of the configuration, --set and
the environment, and status and shape of the answers have to be as recorded. A
cassette without events is sent as it was recorded: GET and HEAD, or with
--allow-unsafe everything. Exit code 5 when something differs.`,
		Example: `  fanfold replay verify cassettes/mixpanel
  fanfold replay verify cassettes/ -o junit > report.xml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.verify(c.Context(), &o, args) },
	}
	f := c.Flags()
	f.BoolVar(&o.live, "live", false, "ask the real partner")
	f.BoolVar(&o.unsafe, "allow-unsafe", false, "with --live, send recorded requests that change something, too")
	choiceP(f, &o.output, "output", "o", "json is one line a cassette", "text", "json", "junit")
	f.StringArrayVar(&o.sets, "set", nil, "with --live, a setting: SLUG.KEY=VALUE, as for forward (repeatable)")
	f.StringArrayVar(&o.headers, "header", nil,
		"with --live, a header for recorded requests: NAME=env:VARIABLE (repeatable)")
	f.StringVar(&o.upstreamCA, "upstream-ca", "", "with --live, file of certificates to trust beside the system's")
	return c
}

func (a *app) verify(ctx context.Context, o *verifyOptions, args []string) error {
	list, err := loadCassettes(args)
	if err != nil {
		return err
	}
	var out []verified
	drift := 0
	for _, k := range list {
		began := time.Now()
		v, err := a.verifyOne(ctx, o, k)
		if err != nil {
			return err
		}
		v.Cassette, v.seconds = k.Path, time.Since(began).Seconds()
		if v.Status == "drift" {
			drift++
		}
		for n := range v.Findings {
			v.Findings[n] = a.secrets.redact(v.Findings[n])
		}
		out = append(out, v)
	}
	if err := printVerified(a.out, o.output, out); err != nil {
		return err
	}
	if drift > 0 {
		fmt.Fprintf(a.err, "fanfold: %d of %d cassettes differ\n", drift, len(list))
		return outcome(exitFinding)
	}
	return nil
}

func (a *app) verifyOne(ctx context.Context, o *verifyOptions, k *cassette.Cassette) (v verified, err error) {
	v.Status = "ok"
	if len(k.Meta.Events) == 0 {
		if o.live {
			return a.resend(ctx, o, k)
		}
		return verified{Status: "skipped", Detail: "it holds no events"}, nil
	}
	slug := filepath.Base(filepath.Dir(k.Path))
	all := a.catalogue()
	i := slices.IndexFunc(all, func(d destination.Destination) bool { return d.Info.Slug == slug })
	if i < 0 {
		return verified{Status: "skipped", Detail: "there is no destination " + slug}, nil
	}
	d := all[i]
	c, now, err := destinations.Case(d, k.Meta)
	if err != nil {
		return v, fmt.Errorf("%s: %w", k.Path, err)
	}
	if o.live {
		conf, err := a.loadConfig()
		if err != nil {
			return v, err
		}
		picked, err := a.choose(conf, config.Choice{To: []string{slug}, Set: o.sets})
		if err != nil {
			return v, err
		}
		as := func(o *config.Opened) {
			o.Config.Presets, o.Config.Actions = c.Presets, c.Actions
			c = o.Config
		}
		if _, err := a.open(conf, picked, config.OpenOptions{Edit: as}); err != nil {
			return v, err
		}
	}
	s, err := d.Open(c)
	if err != nil {
		return v, fmt.Errorf("%s: %w", k.Path, err)
	}
	player, err := cassette.NewReplayer([]*cassette.Cassette{k}, cassette.ReplayOptions{Exact: true})
	if err != nil {
		return v, fmt.Errorf("%s: %w", k.Path, err)
	}
	if o.live {
		network, err := a.liveNetwork(o.upstreamCA)
		if err != nil {
			return v, err
		}
		lt := &liveTape{network: transport.New(transport.Options{Network: network, Auth: s.Plan().Auth,
			UserAgent: "fanfold/" + a.build.Version}), was: k.Interactions}
		_, err = destinations.Converse(ctx, s, lt, k.Meta.Events, a.now())
		v.Findings = lt.findings
		if err != nil {
			v.Findings = append(v.Findings, err.Error())
		}
	} else {
		// Above the credentials, as recordings are.
		got, err := destinations.Converse(ctx, s, transport.New(transport.Options{Network: player,
			Hook: func(http.RoundTripper) http.RoundTripper { return player }}), k.Meta.Events, now)
		if err != nil {
			v.Findings = append(v.Findings, err.Error())
		}
		u := player.Usage()
		for _, m := range u.Missed {
			v.Findings = append(v.Findings, m.Error())
		}
		for _, n := range u.Unused {
			v.Findings = append(v.Findings, fmt.Sprintf("interaction %d is not asked for any more: %s %s",
				n.Interaction, n.Method, n.URL))
		}
		var verdicts []string
		for _, g := range got {
			verdicts = append(verdicts, g.String())
		}
		if len(v.Findings) == 0 && len(k.Meta.Want) > 0 && !slices.Equal(verdicts, k.Meta.Want) {
			v.Findings = append(v.Findings, fmt.Sprintf("the verdicts are %q, recorded %q", verdicts, k.Meta.Want))
		}
	}
	if len(v.Findings) > 0 {
		v.Status = "drift"
	}
	return v, nil
}

// liveTape sends to the partner, and holds each answer against the recorded
// one in its place.
type liveTape struct {
	network  http.RoundTripper
	was      []*cassette.Interaction
	n        int
	findings []string
}

func (t *liveTape) RoundTrip(req *http.Request) (*http.Response, error) {
	n := t.n
	t.n++
	resp, err := t.network.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if n >= len(t.was) {
		t.findings = append(t.findings, fmt.Sprintf("request %d was not recorded: %s %s", n, req.Method,
			req.URL.Redacted()))
		return resp, nil
	}
	was := t.was[n].Response
	// Both without their encoding: partners compress though nobody asks.
	text, wasText := cassette.Plain(resp.Header.Clone(), string(body)), cassette.Plain(was.Headers.Clone(), was.Body)
	for _, d := range cassette.Drift(was.Code, wasText, resp.StatusCode, text) {
		t.findings = append(t.findings, fmt.Sprintf("answer %d, %s: recorded %s, now %s", n, d.Path, d.Recorded,
			d.Sent))
	}
	return resp, nil
}

// resend sends recorded requests to where they were recorded.
func (a *app) resend(ctx context.Context, o *verifyOptions, k *cassette.Cassette) (v verified, err error) {
	network, err := a.liveNetwork(o.upstreamCA)
	if err != nil {
		return v, err
	}
	lt := &liveTape{network: network, was: k.Interactions}
	left, broken := 0, 0
	for n, i := range k.Interactions {
		if i.Request.Method != http.MethodGet && i.Request.Method != http.MethodHead && !o.unsafe {
			left++
			continue
		}
		if i.Response.Code == 0 {
			broken++
			continue
		}
		req, err := http.NewRequestWithContext(ctx, i.Request.Method, "/", strings.NewReader(i.Request.Body))
		if err == nil {
			err = cassette.SetAddress(req, i.Request.URL)
		}
		if err != nil {
			return v, fmt.Errorf("%s: interaction %d: %w", k.Path, n, err)
		}
		for name, values := range i.Request.Headers {
			if !strings.Contains(strings.Join(values, ""), "REDACTED:") {
				req.Header[name] = values
			}
		}
		for _, h := range o.headers {
			name, value, ok := strings.Cut(h, "=")
			variable, isEnv := strings.CutPrefix(value, "env:")
			secret, found := a.env(variable)
			if !ok || !isEnv || !found {
				return v, usagef("--header has to be NAME=env:VARIABLE, with a variable that is set: %q", name)
			}
			a.secrets.add(secret)
			req.Header.Set(name, secret)
		}
		lt.n = n
		if _, err := lt.RoundTrip(req); err != nil {
			lt.findings = append(lt.findings, fmt.Sprintf("interaction %d: %v", n, err))
		}
	}
	v = verified{Status: "ok", Findings: lt.findings}
	if left > 0 {
		v.Detail = fmt.Sprintf("%d requests that change something were not sent (--allow-unsafe)", left)
	}
	if broken > 0 {
		v.Detail = strings.TrimPrefix(fmt.Sprintf("%s; %d that broke off when they were recorded were not sent",
			v.Detail, broken), "; ")
	}
	switch {
	case len(v.Findings) > 0:
		v.Status = "drift"
	case left+broken == len(k.Interactions):
		v.Status = "skipped"
	}
	return v, nil
}

// The parts of JUnit's XML that CI systems read.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes what CI servers read.
func writeJUnit(w io.Writer, s junitSuite) error {
	data, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, data)
	return err
}

func printVerified(w io.Writer, form string, list []verified) error {
	switch form {
	case "json":
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		for _, v := range list {
			if err := e.Encode(v); err != nil {
				return err
			}
		}
		return nil
	case "junit":
		s := junitSuite{Name: "fanfold replay verify", Tests: len(list)}
		for _, v := range list {
			c := junitCase{Class: filepath.Dir(v.Cassette),
				Name: strings.TrimSuffix(filepath.Base(v.Cassette), ".yaml"), Time: fmt.Sprintf("%.3f", v.seconds)}
			switch v.Status {
			case "drift":
				s.Failures++
				c.Failure = &junitMessage{fmt.Sprintf("%d differences", len(v.Findings)),
					strings.Join(v.Findings, "\n")}
			case "skipped":
				s.Skipped++
				c.Skipped = &junitMessage{Message: v.Detail}
			}
			s.Cases = append(s.Cases, c)
		}
		return writeJUnit(w, s)
	}
	for _, v := range list {
		detail := ""
		if v.Detail != "" {
			detail = ": " + v.Detail
		}
		if _, err := fmt.Fprintf(w, "%-8s%s%s\n", v.Status, v.Cassette, detail); err != nil {
			return err
		}
		for _, f := range v.Findings {
			if _, err := fmt.Fprintf(w, "        %s\n", strings.ReplaceAll(f, "\n", "\n        ")); err != nil {
				return err
			}
		}
	}
	return nil
}
