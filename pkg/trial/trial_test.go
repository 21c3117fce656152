package trial

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/transport"
)

// TestAgainst: a request that has at least what was expected is the same as that, and any other one differs.
func TestAgainst(t *testing.T) {
	request := func(contentType, body string) *transport.Captured {
		return &transport.Captured{Method: "POST", URL: "https://a.example/v1/us%2Fers?x=1", Body: []byte(body),
			Header: http.Header{"Content-Type": {contentType}, "X-Two": {"a", "b"}}}
	}
	const json = "application/json"
	for _, c := range []struct {
		name        string
		want        config.WantRequest
		contentType string
		body        string
		same        bool
	}{
		{"nothing is expected", config.WantRequest{}, json, `{}`, true},
		{"method in any case", config.WantRequest{Method: "post"}, json, `{}`, true},
		{"another method", config.WantRequest{Method: "PUT"}, json, `{}`, false},
		{"path without query", config.WantRequest{Path: "/v1/us%2Fers"}, json, `{}`, true},
		{"path with query", config.WantRequest{Path: "/v1/us%2Fers?x=1"}, json, `{}`, true},
		{"path with another query", config.WantRequest{Path: "/v1/us%2Fers?x=2"}, json, `{}`, false},
		{"path that was decoded", config.WantRequest{Path: "/v1/us/ers"}, json, `{}`, false},
		{"url", config.WantRequest{URL: "https://a.example/v1/us%2Fers?x=1"}, json, `{}`, true},
		{"header", config.WantRequest{Headers: map[string]string{"x-two": "a, b"}}, json, `{}`, true},
		{"header that is not there", config.WantRequest{Headers: map[string]string{"x-three": ""}}, json, `{}`, false},
		{"members", config.WantRequest{Body: []byte(`{"a":{"b":1}}`)}, json, `{"z":0,"a":{"c":2,"b":1}}`, true},
		{"a number in other digits", config.WantRequest{Body: []byte(`{"a":1.0}`)}, json, `{"a":1}`, true},
		{"digits that a double has not", config.WantRequest{Body: []byte(`{"a":12345678901234567890}`)}, json,
			`{"a":12345678901234567891}`, false},
		{"a text for a number", config.WantRequest{Body: []byte(`{"a":1}`)}, json, `{"a":"1"}`, false},
		{"null is not absent", config.WantRequest{Body: []byte(`{"a":null}`)}, json, `{}`, false},
		{"a list as a whole", config.WantRequest{Body: []byte(`[{"a":1},{}]`)}, json, `[{"a":1},{"b":2}]`, true},
		{"a list of another length", config.WantRequest{Body: []byte(`[{"a":1}]`)}, json, `[{"a":1},{"b":2}]`, false},
		{"an element of a batch", config.WantRequest{Body: []byte(`{"b":2}`)}, json, `[{"a":1},{"b":2}]`, true},
		{"a line of many", config.WantRequest{Body: []byte(`{"b":2}`)}, "application/x-ndjson", "{\"a\":1}\n{\"b\":2}\n",
			true},
		{"a form", config.WantRequest{Body: []byte(`{"a":"1 2","b":"x,y"}`)}, "application/x-www-form-urlencoded",
			"a=1+2&b=x&b=y&c=", true},
		{"a text", config.WantRequest{Body: []byte(`"hello"`)}, "text/plain", "hello", true},
		{"another text", config.WantRequest{Body: []byte(`"hello"`)}, "text/plain", "hello!", false},
		{"no body", config.WantRequest{Body: []byte(`{"a":1}`)}, json, "", false},
	} {
		want, got := against(&c.want, request(c.contentType, c.body))
		if (want == got) != c.same {
			t.Errorf("%s: want\n%s\ngot\n%s", c.name, want, got)
		}
	}
}

// TestCompare: what was expected of an event's fate, and what is said when it was another one.
func TestCompare(t *testing.T) {
	sent := []transport.Captured{{Method: "POST", URL: "https://a.example/"}}
	for _, c := range []struct {
		name string
		want config.Expectation
		got  made
		says string // "": nothing
	}{
		{"as expected", config.Expectation{Skipped: "opted_out"}, made{skipped: []string{"opted_out"}}, ""},
		{"another reason", config.Expectation{Skipped: "opted_out"}, made{skipped: []string{"suppressed"}},
			"it is not skipped as opted_out, but skipped: suppressed"},
		{"sent instead", config.Expectation{Rejected: "no_time"}, made{requests: sent},
			"it is not rejected as no_time, but sent in 1 request"},
		{"filtered", config.Expectation{Filtered: true}, made{filtered: true}, ""},
		{"not filtered", config.Expectation{Filtered: true}, made{requests: sent}, "its filter takes the event"},
		{"filtered by surprise", config.Expectation{None: true}, made{filtered: true}, "its filter keeps the event out"},
		{"no requests", config.Expectation{None: true}, made{skipped: []string{"x"}}, ""},
		{"requests that must not be", config.Expectation{None: true}, made{requests: sent}, "expected: 0 requests"},
		{"too few", config.Expectation{Requests: make([]config.WantRequest, 2)}, made{requests: sent},
			"expected: 2 requests"},
		{"a request that differs", config.Expectation{Requests: []config.WantRequest{{Method: "GET"}}}, made{requests: sent},
			"request 1 differs"},
		{"why it was rejected", config.Expectation{Requests: make([]config.WantRequest, 1)},
			made{rejected: []string{"invalid"}, details: []string{"E-mail is missing"}},
			"expected: 1 request, and it is rejected: invalid, E-mail is missing"},
	} {
		c.want.Destination = "crm"
		found := compare(&c.want, &c.got)
		if c.says == "" && len(found) > 0 || c.says != "" && (len(found) != 1 || !strings.HasPrefix(found[0].What, c.says)) {
			t.Errorf("%s: %+v, want %q", c.name, found, c.says)
		}
		for _, f := range found {
			if f.Destination != "crm" {
				t.Errorf("%s: it does not say of whom: %+v", c.name, f)
			}
		}
	}
}
