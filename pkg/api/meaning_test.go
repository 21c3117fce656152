package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/api"
	"github.com/fanfold/fanfold/pkg/destination"
)

const sends = "actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /e}\n"

// TestMeanings: an answer means what the description says of it, whatever its status, and the first that fits counts;
// what fits none means what its status does.
func TestMeanings(t *testing.T) {
	const list = `answers:
  - {status: 400, json: {message: API key is invalid}, means: unauthorized}
  - {status: [403, 5xx], contains: [Quota, '"limit"'], means: rate_limited, wait: 90s}
  - {json: {error.code: [4, busy*]}, means: conflict}
  - {status: 200, contains: 'err code="', means: refused}
  - {status: 409, contains: already, means: delivered}
  - {status: 404, means: unavailable}
  - {status: 202, headers: {x-dropped: ["1", bot*]}, means: refused}
`
	for _, c := range []struct{ answer, want string }{
		{`400 {"message":"API key is invalid"}`, "retry unauthorized"},
		{`400 {"message":"API key is invalid, or so"}`, "rejected refused"},
		{`401 {"message":"API key is invalid"}`, "retry unauthorized"},
		{`403 over QUOTA`, "retry rate_limited"}, {`503 {"limit":5}`, "retry rate_limited"},
		{`403 no`, "retry unauthorized"}, {`503 no`, "retry unavailable"},
		{`200 {"error":{"code":4}}`, "retry conflict"}, {`400 {"error":{"code":"busy now"}}`, "retry conflict"},
		{`200 {"error":{"code":5}}`, "delivered"}, {`200 {}`, "delivered"},
		{`200 <rsp stat="fail"><err code="4">no</err></rsp>`, "rejected refused"},
		{`409 it is there already`, "delivered"}, {`409 no`, "rejected refused"},
		{`404 `, "retry unavailable"}, {`410 `, "rejected refused"},
	} {
		p := partner{answers: []string{c.answer}}
		s := opened(t, head+list+sends, nil)
		if got := strings.Join(p.send(t, s, event("a", nil)), "|"); got != c.want {
			t.Errorf("%s: %s, want %s", c.answer, got, c.want)
		}
	}
	for value, want := range map[string]string{"1": "rejected refused", "bots": "rejected refused", "0": "delivered"} {
		p := partner{answers: []string{"202 "}, header: http.Header{"X-Dropped": {value}}}
		if got := p.send(t, opened(t, head+list+sends, nil), event("a", nil)); got[0] != want {
			t.Errorf("x-dropped %s: %s, want %s", value, got, want)
		}
	}
	d, _ := read(t, head+list+sends)
	if got := d.Sayings[1].After.String(); got != "1m30s" || d.Sayings[1].Docs != "https://own.example/docs" {
		t.Errorf("it waits %s: %+v", got, d.Sayings[1])
	}
	other, _ := read(t, head+sends)
	if d.Made != other.Made {
		t.Error("what answers mean changes what is sent")
	}
	for _, word := range api.Meanings() {
		text := head + "answers: [{status: 418, means: " + word + "}]\n" + sends
		if d, problems := read(t, text); len(problems) > 0 || d.Sayings[0].Then == destination.Undecided {
			t.Errorf("%s: %v %v", word, d.Sayings, problems)
		}
	}
}

// TestWrongMeanings: each mistake in what answers mean is refused.
func TestWrongMeanings(t *testing.T) {
	for text, want := range map[string]string{
		"{status: 400, means: refused}":                    "has to be a list",
		"[{status: 400}]":                                  "means has to be one of conflict, delivered, rate_limited",
		"[{status: 400, means: lost}]":                     `not "lost"`,
		"[{means: refused}]":                               "every answer",
		"[{status: 700, means: refused}]":                  `"700" is no status`,
		"[{status: 1xx, means: refused}]":                  `"1xx" is no status`,
		"[{contains: '', means: refused}]":                 "contains is empty",
		"[{json: {a: 1, b: 2}, means: refused}]":           "one path",
		"[{json: {a: 1}, contains: x, means: refused}]":    "one path",
		"[{json: {$: 1}, means: refused}]":                 "one path",
		"[{json: {a..b: 1}, means: refused}]":              "one path",
		"[{headers: {'a b': 1}, means: refused}]":          "one of its headers",
		"[{headers: {a: 1, b: 1}, means: refused}]":        "one of its headers",
		"[{status: 400, means: refused, wait: 5s}]":        "nobody waits",
		"[{status: 401, means: unauthorized, wait: 5s}]":   "nobody waits",
		"[{status: 429, means: rate_limited, wait: soon}]": `not "soon"`,
		"[{status: 429, means: rate_limited, wait: 25h}]":  "up to 24h",
		"[{contains: x, means: delivered}]":                "needs the statuses",
		"[{status: 4xx, contains: x, means: delivered}]":   "needs the statuses",
		"[{status: 400, means: refused, says: x}]":         "says",
		"[none]": "table",
		"[{status: 400, contains: {a: b}, json: x, means: refused}]": "text",
	} {
		_, problems := read(t, head+"answers: "+text+"\n"+sends)
		var said []string
		for _, p := range problems {
			said = append(said, p.Msg)
		}
		if all := strings.Join(said, "\n"); !strings.Contains(all, want) {
			t.Errorf("%s: %q, want %q", text, all, want)
		}
	}
}
