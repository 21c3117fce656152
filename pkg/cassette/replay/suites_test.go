package replay

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
	"go.yaml.in/yaml/v3"
)

// asked is a short form of a suite's request.
type asked struct{ Method, URL, Type, Body string }

func (a asked) request() match.Request {
	q := match.Request{Method: a.Method, URL: a.URL, Header: http.Header{"Content-Type": {a.Type}}, Body: a.Body}
	if q.Method == "" {
		q.Method = "POST"
	}
	if q.URL == "" {
		q.URL = "/v1/things"
	}
	q.URL = "https://api.shop.example" + q.URL
	if a.Type == "" {
		q.Header.Set("Content-Type", "application/json")
	}
	return q
}

// TestSuites replays suites whose requests are different in every run. With the
// proposed rules all suites but one have to match. Requests that really are different
// ones must still not match.
func TestSuites(t *testing.T) {
	data, err := os.ReadFile("testdata/suites.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var suites []struct {
		Name            string
		Free, Never     bool
		Was, Now, Still []asked
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&suites); err != nil {
		t.Fatal(err)
	}
	reached := 0
	for _, s := range suites {
		var list []*cassette.Interaction
		for _, a := range s.Was {
			q := a.request()
			list = append(list, &cassette.Interaction{Request: vcr.Request{Method: q.Method, URL: q.URL, Headers: q.Header,
				Body: q.Body}, Response: vcr.Response{Code: 200, Body: "{}"}})
		}
		misses := func(ignore []string, now []asked) (*Replayer, int) {
			p := replayerOf(t, list, Options{Ignore: ignore, Redactor: sample.Redactor("a key of some length")})
			n := 0
			for _, a := range now {
				if _, err := p.Answer("", a.request()); err != nil {
					n++
				}
			}
			return p, n
		}
		p, n := misses(nil, s.Now)
		if s.Free != (n == 0) {
			t.Errorf("%s: %d of %d requests are missed without rules", s.Name, n, len(s.Now))
		}
		rules, err := p.Propose()
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if _, left := misses(rules.Ignore, s.Now); left == 0 {
			reached++
			if rules.Matched != n {
				t.Errorf("%s: the proposal says that %d of %d match", s.Name, rules.Matched, n)
			}
		} else if !s.Never {
			t.Errorf("%s: %d requests are missed with %q", s.Name, left, rules.Ignore)
		}
		for _, a := range s.Still {
			if _, left := misses(rules.Ignore, []asked{a}); left == 0 {
				t.Errorf("%s: another request matches with %q: %+v", s.Name, rules.Ignore, a)
			}
		}
		if out, err := rules.YAML(); err != nil || len(rules.Ignore) > 0 && !strings.Contains(string(out),
			"ignore:\n    - ") {
			t.Errorf("%s: %v %s", s.Name, err, out)
		}
		t.Logf("%s: %s", s.Name, strings.Join(rules.Ignore, "  "))
	}
	t.Logf("%d of %d suites match", reached, len(suites))
	if len(suites) != 35 || reached < 34 {
		t.Errorf("%d of %d suites match, 34 of 35 have to", reached, len(suites))
	}
}
