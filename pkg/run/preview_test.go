package run_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/standin"
)

// arrived is what stand-ins were sent, by destination. A request that was refused is
// asked again in parts, which a preview cannot know: those do not count.
type arrived struct {
	mu       sync.Mutex
	requests map[string][]string
	refused  map[string]bool
}

// tap stands in front of a stand-in.
type tap struct {
	name string
	next http.RoundTripper
	to   *arrived
}

func (p *tap) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	text := describe(req.Method, req.URL.String(), req.Header, body)
	resp, err := p.next.RoundTrip(req)
	p.to.mu.Lock()
	defer p.to.mu.Unlock()
	p.to.requests[p.name] = append(p.to.requests[p.name], text)
	if err != nil || resp.StatusCode >= 300 {
		p.to.refused[p.name] = true
	}
	return resp, err
}

func describe(method, url string, h http.Header, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", method, url)
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for k := range h {
			if !yield(k) {
				return
			}
		}
	}) {
		fmt.Fprintf(&b, "%s: %s\n", k, strings.Join(h[k], ", "))
	}
	return b.String() + "\n" + string(body)
}

// previewCase is one random selection, configuration and set of destinations.
type previewCase struct {
	t    *testing.T
	rnd  *rand.Rand
	dir  string
	from []string
	yaml string
	to   []string
	// batch is the largest number of events in a request, by destination.
	batch map[string]int
}

func newPreviewCase(t *testing.T, seed uint64) *previewCase {
	c := &previewCase{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), dir: t.TempDir(), batch: map[string]int{}}
	for i := range 1 + c.rnd.IntN(3) {
		c.write(i)
	}
	steps := [][]string{nil, {"drop: event = \"Product Viewed\""}, {"sample: 60%"},
		{"keep: type = \"track\" or type = \"identify\"", "set: {context.traits.source: backfill}"}}[c.rnd.IntN(4)]
	if steps != nil {
		c.yaml += "transform:\n"
		for _, s := range steps {
			c.yaml += "  - " + s + "\n"
		}
	}
	c.yaml += "destinations:\n"
	all := destinations.All()
	for _, i := range c.rnd.Perm(len(all))[:4] {
		slug := all[i].Info.Slug
		c.to = append(c.to, slug)
		c.yaml += "  " + slug + ":\n    type: " + slug + "\n    concurrency: 1\n"
		if c.rnd.IntN(3) > 0 {
			c.batch[slug] = 1 + c.rnd.IntN(20)
		}
		if c.rnd.IntN(3) == 0 {
			c.yaml += "    filter: type != \"page\"\n"
		}
	}
	return c
}

// write makes one file of events: lines or envelopes, packed or not, some events
// without a messageId.
func (c *previewCase) write(i int) {
	c.t.Helper()
	var lines bytes.Buffer
	if err := eventgen.Write(&lines, eventgen.Options{Seed: c.rnd.Uint64(), Events: 40 + c.rnd.IntN(200),
		Start: time.Date(2024, 5, 30, 0, 0, 0, 0, time.UTC), Step: time.Minute}); err != nil {
		c.t.Fatal(err)
	}
	var out bytes.Buffer
	envelope := c.rnd.IntN(2) == 0
	var batch []string
	for line := range strings.Lines(lines.String()) {
		line = strings.TrimSpace(line)
		if c.rnd.IntN(3) == 0 {
			line = strings.Replace(line, `"messageId"`, `"formerId"`, 1)
		}
		batch = append(batch, line)
		if !envelope {
			out.WriteString(line + "\n")
		} else if len(batch) == 7 {
			out.WriteString(`{"batch":[` + strings.Join(batch, ",") + `],"sentAt":"2024-05-31T00:00:00Z"}` + "\n")
			batch = nil
		}
	}
	data := out.Bytes()
	if c.rnd.IntN(2) == 0 {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, err := z.Write(data)
		if err = errors.Join(err, z.Close()); err != nil {
			c.t.Fatal(err)
		}
		data = packed.Bytes()
	}
	path := filepath.Join(c.dir, fmt.Sprintf("in-%d.jsonl", i))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.from = append(c.from, path)
}

// job is the case as a run takes it, with everything opened anew.
func (c *previewCase) job(limit int64, f *filter.Filter, since time.Time) *run.Job {
	c.t.Helper()
	w := &config.World{Catalogue: destinations.Catalogue(), Env: func(string) (string, bool) {
		return "", false
	}, ReadFile: os.ReadFile, Secret: func(...string) {}}
	file, err := w.Parse("fanfold.yaml", []byte(c.yaml))
	if err != nil {
		c.t.Fatalf("%v in\n%s", err, c.yaml)
	}
	picked, err := w.Choose(file, config.Choice{Rehearse: true})
	if err != nil {
		c.t.Fatal(err)
	}
	opened, err := w.Open(file, picked, config.OpenOptions{Rehearse: true, Edit: func(o *config.Opened) {
		o.Config.BatchEvents = c.batch[o.Name]
	}})
	if err != nil {
		c.t.Fatalf("%v in\n%s", err, c.yaml)
	}
	for _, d := range opened {
		d.Options.NoRates = true // the clock stands still
		d.Compression = "none"
	}
	return &run.Job{Steps: file.Pipeline, Destinations: opened, Filter: f, Limit: limit, Rehearse: true,
		Input: run.Input{From: c.from, Options: source.Options{From: c.from, Format: "auto"},
			Bounds: run.Bounds{Times: run.Times{Since: since}}}}
}

// incomparable says why what arrived at a destination cannot be known before; "": it can.
func (c *previewCase) incomparable(name string, to *arrived) string {
	for _, d := range destinations.All() {
		if d.Info.Slug == name && d.Rung() == 5 {
			return "what it sends depends on answers"
		}
	}
	if to.refused[name] {
		return "it has refused some, and was asked again in parts"
	}
	return ""
}

// TestPreviewIsWhatARunSends: for random inputs, selections, configurations and
// destinations, the requests of the preview are those that arrive at the partners'
// stand-ins, byte for byte and batch for batch.
func TestPreviewIsWhatARunSends(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	compared, cases := 0, 12
	if testing.Short() {
		cases = 4
	}
	for seed := range uint64(cases) {
		c := newPreviewCase(t, seed)
		limit := []int64{0, 0, 25, 100}[c.rnd.IntN(4)]
		var f *filter.Filter
		var err error
		if c.rnd.IntN(3) == 0 {
			if f, err = filter.Compile(`type = "track"`); err != nil {
				t.Fatal(err)
			}
		}
		var since time.Time
		if c.rnd.IntN(3) == 0 {
			since = time.Date(2024, 5, 30, 1, 0, 0, 0, time.UTC)
		}
		to := &arrived{requests: map[string][]string{}, refused: map[string]bool{}}
		w := &run.World{Now: func() time.Time { return now }, Rand: func() float64 {
			return 0.5
		}, Log: slog.New(slog.DiscardHandler), Redact: func(s string) string { return s }, UserAgent: "fanfold/test",
			StandIn: func(d *config.Opened) (http.RoundTripper, error) {
				data, err := cassettes.Contract(d.Slug)
				if err != nil {
					return nil, err
				}
				contract, err := standin.ParseContract(data)
				if err != nil {
					return nil, err
				}
				p := standin.New(contract)
				p.Now = func() time.Time { return now }
				return &tap{d.Name, p, to}, nil
			}}
		shown := map[string][]string{}
		_, err = w.Preview(context.Background(), c.job(limit, f, since), t.TempDir(), func(s run.Shown) error {
			if s.Request != nil {
				shown[s.Destination] = append(shown[s.Destination],
					describe(s.Request.Method, s.Request.URL, s.Request.Header, s.Request.Body))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := w.Open(context.Background(), run.Folder(t.TempDir()), c.job(limit, f, since))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Do(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		for _, name := range c.to {
			if why := c.incomparable(name, to); why != "" {
				t.Logf("seed %d: %s is not compared: %s", seed, name, why)
				continue
			}
			want, got := to.requests[name], shown[name]
			slices.Sort(want)
			slices.Sort(got)
			compared += len(want)
			if !slices.Equal(got, want) {
				t.Errorf("seed %d: %s: %d requests were previewed, %d arrived, limit %d\n%s", seed, name, len(got), len(want),
					limit, firstDifference(got, want))
			}
		}
	}
	if compared < 10*cases {
		t.Errorf("only %d requests were compared", compared)
	}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Sprintf("previewed:\n%.900s\narrived:\n%.900s", g, w)
		}
	}
	return ""
}
