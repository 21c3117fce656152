package cmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/serve"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/recording"
	"github.com/fanfold/fanfold/pkg/standin"
)

// scales stands before a partner and weighs what it gets.
type scales struct {
	next http.RoundTripper
	mu   sync.Mutex
	most int // bytes of a body
	n    int
}

func (s *scales) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil { // it asks for something
		return s.next.RoundTrip(req)
	}
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body.Close()
	s.mu.Lock()
	s.most = max(s.most, len(data))
	s.n++
	s.mu.Unlock()
	again := req.Clone(req.Context())
	again.Body = io.NopCloser(bytes.NewReader(data))
	return s.next.RoundTrip(again)
}

// TestCapsOfBatches sends events of many sizes, full of characters of several
// bytes, to every partner through the whole engine: no request is larger than
// the partner takes, to the byte, and the stand-in, which counts items and
// bytes by the partner's own rules, finds nothing to complain of.
func TestCapsOfBatches(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wide.jsonl")
	var lines bytes.Buffer
	at := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	const events = 2500
	for n := range events {
		text := strings.Repeat([]string{"ü", "€", "𝄞", "\\\"", "\\u00e9"}[n%5], n%700)
		kind := []string{`"type":"track","event":"Wide"`, `"type":"track","event":"Signed Up"`,
			fmt.Sprintf(`"type":"identify","traits":{"email":"u%d@example.com","firstName":"ü","note":"%s"}`, n, text)}[n%3]
		fmt.Fprintf(&lines, `{%s,"messageId":"m-%d","userId":"u-%d","anonymousId":"a-%d","timestamp":%q,"context":{"traits":{"email":"u%d@example.com"},"userAgent":"x"},"properties":{"text":"%s"}}`+"\n", kind, n, n, n, at, n, text)
	}
	if err := os.WriteFile(path, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range destinations.All() {
		if d.Local || d.Info.Slug == "slack" { // one message a second
			continue
		}
		t.Run(d.Info.Slug, func(t *testing.T) {
			t.Parallel()
			data, err := cassettes.Contract(d.Info.Slug)
			if err != nil {
				t.Fatal(err)
			}
			c, err := standin.ParseContract(data)
			if err != nil {
				t.Fatal(err)
			}
			c.Auth = nil // credentials come below
			for i := range c.Endpoints {
				c.Endpoints[i].Auth = nil
			}
			p := standin.New(c)
			s := &scales{next: p}
			a := testApp(map[string]string{"XDG_STATE_HOME": t.TempDir()})
			a.now = time.Now
			a.wire = recording.NewWire(func([]redact.Secret) (*serve.Conversation, error) {
				return &serve.Conversation{Front: s}, nil
			})
			code := a.execute(context.Background(),
				[]string{"forward", "--from", path, "--to", d.Info.Slug, "--rehearse", "--limit", fmt.Sprint(limitOf(d)),
					"-o", "json"})
			if code != 0 && code != 3 {
				t.Fatalf("exit code %d\n%s%s", code, a.out, a.err)
			}
			sender, err := d.Open(destination.Config{Settings: d.Settings.Examples()})
			if err != nil {
				t.Fatal(err)
			}
			most := 0
			for _, act := range sender.Plan().Actions {
				if most = max(most, act.Limits.BatchBytes.N); act.Limits.BatchBytes.N == 0 {
					most = 0
					break
				}
			}
			if most > 0 && s.most > most {
				t.Errorf("a request of %d bytes, the partner takes %d", s.most, most)
			}
			for _, v := range p.Violations() {
				t.Errorf("the partner complains: %v", v)
			}
			if s.n == 0 {
				if why := noneFits(t, fmt.Sprint(a.out)); why != "" {
					t.Skip("nothing of what is sent here is for this partner: ", why)
				}
				t.Error("nothing was sent")
			}
			t.Logf("%d requests, the largest of %d bytes, cap %d", s.n, s.most, most)
		})
	}
}

// noneFits says why all events were skipped: a partner without presets gets none, and one
// that takes the last weeks only none of an old archive.
func noneFits(t *testing.T, out string) (why string) {
	s := summaryOf(t, out)
	if d := s.Destinations[0]; engine.Total(d.Skipped) == s.Read {
		why = fmt.Sprint(d.Skipped)
	}
	return why
}

// limitOf keeps partners that take one event a request from taking long.
func limitOf(d destination.Destination) int {
	for _, a := range d.Actions {
		if a.Limits.BatchEvents.N == 1 {
			return 50
		}
	}
	return 2500
}
