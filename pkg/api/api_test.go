package api_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/api"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/standin"
	"github.com/fanfold/fanfold/pkg/transport"
	"github.com/fanfold/fanfold/pkg/verify"
)

// read reads a description; actions are indented by two.
func read(t testing.TB, text string) (destination.Destination, []*api.Problem) {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return api.Read(doc.Content[0], "own")
}

const head = "base_url: https://api.own.example/v1\ndocs: https://own.example/docs\n"

func opened(t testing.TB, text string, settings map[string]any) destination.Sender {
	t.Helper()
	d, problems := read(t, text)
	for _, p := range problems {
		t.Errorf("line %d: %v", p.Line, p)
	}
	s, err := d.Open(destination.Config{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// partner keeps requests and gives answers, the last of them for ever.
type partner struct {
	answers []string // "status body"
	sent    []string // "METHOD URL body"
	headers []http.Header
	header  http.Header // of answers
}

func (p *partner) RoundTrip(req *http.Request) (*http.Response, error) {
	body := []byte{}
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	p.sent = append(p.sent, strings.TrimSpace(req.Method+" "+req.URL.String()+" "+string(body)))
	p.headers = append(p.headers, req.Header.Clone())
	answer := "200 {}"
	if n := len(p.answers); n > 0 {
		answer = p.answers[min(len(p.sent), n)-1]
	}
	var status int
	if _, err := fmt.Sscan(answer, &status); err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	maps.Copy(header, p.header)
	return &http.Response{StatusCode: status, Header: header,
		Body: io.NopCloser(strings.NewReader(answer[min(len(answer), 4):])), Request: req}, nil
}

// send sends events and returns what became of each delivery.
func (p *partner) send(t testing.TB, s destination.Sender, events ...string) (results []string) {
	t.Helper()
	rt := transport.New(transport.Options{Network: p, Auth: s.Plan().Auth})
	got, err := verify.Converse(context.Background(), s, rt, events, time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range got {
		results = append(results, strings.TrimSpace(v.Outcome+" "+v.Reason))
	}
	return results
}

func event(id string, properties any) string {
	data, err := json.Marshal(map[string]any{"type": "track", "event": "Plan Upgraded", "messageId": id,
		"userId":    "u-" + id,
		"timestamp": "2024-05-31T10:00:00Z", "properties": properties})
	if err != nil {
		panic(err)
	}
	return string(data)
}

// TestRequests: what a description says of a request, and the request.
func TestRequests(t *testing.T) {
	one := event("1", map[string]any{"plan": "team", "seats": 12, "gone": nil})
	for _, c := range []struct{ name, action, want string }{
		{"the event itself", "path: /e", "POST https://api.own.example/v1/e " + one},
		{"a mapping is the body", `{path: /e, mapping: {name: {"@path": $.event}, seats: {"@path": $.properties.seats}}}`,
			`POST https://api.own.example/v1/e {"name":"Plan Upgraded","seats":12}`},
		{"what stands in the path is not in the body",
			`{method: PUT, path: '/users/{{id}}/e?n={{n}}', mapping: {id: {"@path": $.userId}, n: {"@path": $.event}, k: 1}}`,
			`PUT https://api.own.example/v1/users/u-1/e?n=Plan+Upgraded {"k":1}`},
		{"a body of its own", `{path: /e, mapping: {p: {"@path": $.properties}}, body: {a: ["{{p.plan}}", 1.50, true, null],
        "b": {c: 'plan: {{p.plan}}', no: "{{p.gone}}"}, id: "{{insert_id}}", empty: {}}}`,
			`POST https://api.own.example/v1/e {"a":["team",1.50,true,null],"b":{"c":"plan: team","no":null},"id":"1","empty":{}}`},
		{"a mapping that is one directive", `{path: /e, mapping: {"@path": $.properties}}`,
			`POST https://api.own.example/v1/e {"gone":null,"plan":"team","seats":12}`},
		{"a query", `{method: GET, path: /e, mapping: {plan: {"@path": $.properties.plan}, q: "a&b"}}`,
			`GET https://api.own.example/v1/e?plan=team&q=a%26b`},
		{"a form", `{path: /e, encoding: form, mapping: {plan: {"@path": $.properties.plan}, q: "a&b"}}`,
			`POST https://api.own.example/v1/e plan=team&q=a%26b`},
		{"no body", `{method: DELETE, path: '/users/{{id}}', body: none, mapping: {id: {"@path": $.userId}}}`,
			`DELETE https://api.own.example/v1/users/u-1`},
		{"types", `{path: /e, mapping: {n: {"@path": $.properties.seats}, s: "7"}, types: {n: text, s: integer}}`,
			`POST https://api.own.example/v1/e {"n":"12","s":7}`},
		{"an array", `{path: /e, batch: {events: 10}, mapping: {n: {"@path": $.properties.seats}}}`,
			`POST https://api.own.example/v1/e [{"n":12}]`},
		{"lines", `{path: /e, batch: {envelope: lines}, mapping: {n: {"@path": $.properties.seats}}}`,
			`POST https://api.own.example/v1/e {"n":12}`},
		{"an envelope", `{path: /e, batch: {envelope: {v: 2, data: {list: "{{items}}"}}}, mapping: {n: 1}}`,
			`POST https://api.own.example/v1/e {"v":2,"data":{"list":[{"n":1}]}}`},
		{"an envelope as texts", `{path: /e, batch: {open: '{"v":2,"list":[', sep: ',', close: ']}'}, mapping: {n: 1}}`,
			`POST https://api.own.example/v1/e {"v":2,"list":[{"n":1}]}`},
		{"lines before the events, as text",
			`{path: /e, batch: {open: "{\"create\":{}}\n", sep: "\n{\"create\":{}}\n", close: "\n"},
        mapping: {n: 1}}`, "POST https://api.own.example/v1/e {\"create\":{}}\n{\"n\":1}"},
		{"a line before each event", `{path: /e, batch: {before: {create: {_id: "{{insert_id}}", no: "{{gone}}"}}},
        mapping: {n: 1, gone: {"@path": $.properties.gone}}, body: {n: "{{n}}"}}`,
			"POST https://api.own.example/v1/e {\"create\":{\"_id\":\"1\"}}\n{\"n\":1}"},
		{"one that stays when nothing is in it", `{path: /e, batch: {envelope: lines, before: {create: {x: "{{gone}}"}}},
        mapping: {n: 1, gone: {"@path": $.properties.nowhere}}, body: {n: "{{n}}"}}`,
			"POST https://api.own.example/v1/e {\"create\":{}}\n{\"n\":1}"},
		{"and text around them", `{path: /e, batch: {open: "<<\n", sep: "\n--\n", close: "\n>>", before: {a: 1}}, mapping: {n: 1}}`,
			"POST https://api.own.example/v1/e <<\n{\"a\":1}\n{\"n\":1}\n>>"},
		{"a setting in the path, an id in a header",
			`{path: '/{{settings.project}}/e', headers: {X-Id: "{{insert_id}}"}, mapping: {n: 1}}`,
			`POST https://api.own.example/v1/p%2F1/e {"n":1}`},
		{"braces in a path", `{path: '/a{b}', mapping: {n: 1}}`, `POST https://api.own.example/v1/a%7Bb%7D {"n":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p partner
			action := c.action
			if !strings.HasPrefix(action, "{") {
				action = "{" + action + "}"
			}
			s := opened(t, head+"settings: {project: {default: p/1}}\nactions:\n"+
				"  - {action: send, subscribe: 'type = \"track\"', "+
				action[1:]+"\n", nil)
			if got := p.send(t, s, one); len(p.sent) != 1 || p.sent[0] != c.want || got[0] != "delivered" {
				t.Errorf("%v\n%s\nwant\n%s", got, strings.Join(p.sent, "\n"), c.want)
			}
		})
	}
}

// TestManyInText: several events in a body that is text, each on one line however the event was written, and a
// rehearsal that reads them.
func TestManyInText(t *testing.T) {
	events := []string{event("a", map[string]any{"n": 1}), event("b", map[string]any{"n": "x\n}"})}
	for i, e := range events { // as a document has it that people read
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(e), "", "  "); err != nil {
			t.Fatal(err)
		}
		events[i] = b.String()
	}
	for _, c := range []struct{ batch, want string }{
		{"{envelope: lines}", "@a\n@b\n"},
		{`{sep: "\n"}`, "@a\n@b\n"},
		{`{sep: "\n", close: "\n"}`, "@a\n@b\n"},
		{`{sep: " "}`, "@a @b"},
		{`{open: "{\"create\":{}}\n", sep: "\n{\"create\":{}}\n", close: "\n"}`,
			"{\"create\":{}}\n@a\n{\"create\":{}}\n@b\n"},
		{`{before: {index: {_id: "{{insert_id}}"}, p: "{{p}}"}}`,
			"{\"index\":{\"_id\":\"a\"},\"p\":@a}\n{\"p\":@a}\n{\"index\":{\"_id\":\"b\"},\"p\":@b}\n{\"p\":@b}\n"},
		{`{open: '{"v":1,"l":[', sep: ",\n", close: ']}'}`, `{"v":1,"l":[` + "@a,@b" + `]}`},
	} {
		body := `, body: {p: "{{p}}"}`
		want := c.want
		if !strings.Contains(c.batch, "before") {
			want = strings.NewReplacer("@a", `{"p":@a}`, "@b", `{"p":@b}`).Replace(want)
		}
		want = strings.NewReplacer("@a", `{"n":1}`, "@b", `{"n":"x\n}"}`).Replace(want)
		text := head + "actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /e, mapping: {p: {'@path': " +
			"$.properties}}" + body + ", results: {by: position, list: r, status: s}, batch: " + c.batch + "}\n"
		p := partner{answers: []string{`200 {"r":[{"s":201},{"s":400}]}`}}
		got := p.send(t, opened(t, text, nil), events...)
		sent := strings.TrimPrefix(p.sent[0], "POST https://api.own.example/v1/e ")
		if strings.HasPrefix(c.batch, "{open: '") { // a list of JSON may have line ends
			var b bytes.Buffer
			if err := json.Compact(&b, []byte(sent)); err != nil {
				t.Fatal(err)
			}
			sent = b.String()
		}
		if sent != strings.TrimSpace(want) || fmt.Sprint(got) != "[delivered rejected refused]" {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.batch, got, sent, want)
		}
		d, _ := read(t, text)
		c, err := api.StandIn(d)
		if err != nil {
			t.Fatal(err)
		}
		if got := rehearsed(t, d, c, events...); fmt.Sprint(got) != "[delivered delivered]" {
			t.Errorf("%s, rehearsed: %v", text, got)
		}
	}
}

// TestEventOnTwoLines: an event with a line before it is known by what is in it.
func TestEventOnTwoLines(t *testing.T) {
	p := partner{answers: []string{`200 {"errors":[{"id":"u-b"}]}`}}
	s := opened(t, head+`actions:
  - action: send
    subscribe: type = "track"
    path: /e
    mapping: {u: {"@path": $.userId}}
    batch: {before: {create: {}}}
    results: {by: id, list: errors, id: id, item: u}
`, nil)
	if got := p.send(t, s, event("a", nil), event("b", nil)); fmt.Sprint(got) != "[delivered rejected refused]" {
		t.Error(got)
	}
}

// TestRefusedDescriptions: what could not be what is meant is said when it is read.
func TestRefusedDescriptions(t *testing.T) {
	for text, want := range map[string]string{
		`batch: {open: '{"a":[', close: ']'}`:                                    "JSON around the events",
		`batch: {open: '{"a":[', sep: "\n", close: ']}'}`:                        "a comma",
		`batch: {open: "{{u}}", sep: "\n"}`:                                      "as they stand",
		`batch: {sep: "\n\0"}`:                                                   "control character",
		`batch: {before: {a: 1}, envelope: {l: "{{items}}"}}`:                    "envelope: lines",
		`batch: {before: {a: 1}, sep: " "}`:                                      "line end",
		`batch: {before: {a: 1}, sep: ","}`:                                      "line end",
		`batch: {before: {a: "{{nobody}}"}}`:                                     "no field",
		`batch: {events: 2}, results: {by: position, list: "", status: s}`:       "is no path",
		`batch: {events: 2}, results: {by: index, list: 'a[*]', index: i}`:       "is no path",
		`batch: {events: 2}, results: {by: index, list: 'a..b', index: i}`:       "is no path",
		`batch: {events: 2}, results: {by: index, list: a, index: i, taken: ok}`: "does not read taken",
		`success: {json: {/a.b: 1}}`:                                             "is no path",
		`success: {json: {a: 1.5}}`:                                              "whole number",
		`success: {matches: '(a'}`:                                               "regular expression",
		`success: {matches: 'a^b'}`:                                              "no answer could match",
		`success: {contains: ''}`:                                                "is empty",
		`success: {text: '', has: a}`:                                            "without a body",
	} {
		_, problems := read(t, head+"actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /e, mapping: {u: 1}, "+
			text+"}\n")
		if len(problems) == 0 || !strings.Contains(problems[0].Msg, want) {
			t.Errorf("%s: %v, want %q", text, problems, want)
		}
	}
}

// TestHostileValues: whatever an event holds, requests go to the API's host and below its path,
// with the headers that the description names.
func TestHostileValues(t *testing.T) {
	s := opened(t, head+`actions:
  - action: send
    subscribe: type = "track"
    path: /users/{{v}}/x?q={{v}}
    headers: {X-V: "{{v}}"}
    mapping: {v: {"@path": $.properties.v}, rest: "{{properties.v}}"}
`, nil)
	for _, v := range []any{"..", ".", "", "../../admin", "//evil.example/", "@evil.example", "https://evil.example",
		"a/b?c#d",
		"%2e%2e", "%2F", "a\r\nX-Evil: 1", "a\nb", "\x00", "\u2028", "größe 😀", strings.Repeat("x", 1<<20), "{{v}}", "{v}",
		"{settings.a}",
		nil, 12, true, []any{"a"}, map[string]any{"a": 1}, "\\..\\", ";", "a b", "\u202e"} {
		var p partner
		got := p.send(t, s, event("1", map[string]any{"v": v}))
		for i, line := range p.sent {
			_, rest, _ := strings.Cut(line, " ")
			rest, under := strings.CutPrefix(rest, "https://api.own.example/v1/users/")
			segment, _, _ := strings.Cut(rest, "/x?q=")
			if !under || strings.ContainsAny(segment, "/?#\\ \r\n") || segment == "" || segment == "." || segment == ".." ||
				p.headers[i].Get("X-Evil") != "" || strings.ContainsAny(p.headers[i].Get("X-V"), "\r\n") {
				t.Errorf("%.40v: %.200s %.200v", v, line, p.headers[i])
			}
		}
		if sent := got[0] == "delivered"; sent != (len(p.sent) == 1) || !sent && !strings.HasPrefix(got[0], "rejected ") {
			t.Errorf("%.40v: %v, %d requests", v, got, len(p.sent))
		}
	}
}

// TestAnswers: what answers mean, also those that nobody expects.
func TestAnswers(t *testing.T) {
	const batch = "mapping: {id: {\"@path\": $.messageId}}, batch: {events: 3}, "
	three := []string{event("a", nil), event("b", nil), event("c", nil)}
	for _, c := range []struct{ name, action, answer, want string }{
		{"2xx", "", "204 ", "delivered"},
		{"a status that was not named", "success: [202]", "200 {}", "retry unexpected"},
		{"one that was", "success: [200, 202]", "202 x", "delivered"},
		{"a login page", "success: {status: 200, json: {ok: true}}", "200 <html>", "retry unexpected"},
		{"what was asked for", "success: {status: 200, json: {ok: true}, has: [data.id]}",
			`200 {"ok":true,"data":{"id":"x"}}`,
			"delivered"},
		{"without a member", "success: {status: 200, json: {ok: true}, has: [data.id]}", `200 {"ok":true}`,
			"retry unexpected"},
		{"a count", batch + "success: {counts: taken}", `200 {"taken":3}`, "delivered"},
		{"too small a count", batch + "success: {counts: taken}", `200 {"taken":2}`, "retry unexpected"},
		{"the usual", "", "500 ", "retry unavailable"}, {"the usual no", "", "400 no", "rejected refused"},
		{"retry_on", "retry_on: [400, 5xx]", "400 no", "retry unavailable"},
		{"a class", "reject_on: [5xx]", "503 no", "rejected refused"},
		{"one says more than a class", "{reject_on: [5xx], retry_on: [503]}", "503 no", "retry unavailable"},
		{"a class leaves credentials alone", "reject_on: [4xx]", "401 no", "retry unauthorized"},
		{"and rates", "reject_on: [4xx]", "429 no", "retry rate_limited"},
		{"unless they are named", "reject_on: [401]", "401 no", "rejected refused"},
		{"a redirection", "", "302 ", "rejected refused"},
		{"by index", batch + "results: {by: index, list: errors, index: i, message: why}",
			`200 {"errors":[{"i":1,"why":"x"}]}`,
			"delivered|rejected refused|delivered"},
		{"by index, as a pointer", batch + "results: {by: index, list: /a/errors, index: /i}",
			`200 {"a":{"errors":[{"i":2}]}}`,
			"delivered|delivered|rejected refused"},
		{"by id", batch + "results: {by: id, list: errors, id: id, item: id}", `200 {"errors":[{"id":"c"}]}`,
			"delivered|delivered|rejected refused"},
		{"by pointer", batch + "results: {by: pointer, list: errors, pointer: at, others: taken}",
			`400 {"errors":[{"at":"/0/x"}]}`,
			"rejected refused|delivered|delivered"},
		{"by position", batch + "results: {by: position, list: r, status: s}", `200 {"r":[{"s":200},{"s":429},{"s":400}]}`,
			"delivered|retry rate_limited|rejected refused"},
		{"a list that is none", batch + "results: {by: index, list: errors, index: i}", `200 {"errors":{"i":1}}`,
			"retry unexpected"},
		{"no errors", batch + "results: {by: index, list: errors, index: i}", `200 {"errors":null}`, "delivered"},
		{"an empty list of them", batch + "results: {by: index, list: errors, index: i}", `200 {"errors":[]}`, "delivered"},
		{"an index that leads nowhere", batch + "results: {by: index, list: errors, index: i}", `200 {"errors":[{"i":99}]}`,
			"retry unexpected"},
		{"one that is no number", batch + "results: {by: index, list: errors, index: i}", `200 {"errors":[{"i":1.5}]}`,
			"retry unexpected"},
		{"twice the same", batch + "results: {by: index, list: errors, index: i}", `200 {"errors":[{"i":1},{"i":1}]}`,
			"delivered|rejected refused|delivered"},
		{"an id twice", batch + "results: {by: id, list: errors, id: id, item: id}", `200 {"errors":[{"id":"c"},{"id":"c"}]}`,
			"delivered|delivered|rejected refused"},
		{"a negative one", batch + "results: {by: index, list: errors, index: i}", `400 {"errors":[{"i":-1}]}`,
			"rejected refused"},
		{"no index at all", batch + "results: {by: index, list: errors, index: x.y.z}", `400 {"errors":[{"i":1}]}`,
			"rejected refused"},
		{"an id of nobody", batch + "results: {by: id, list: errors, id: id}", `400 {"errors":[{"id":"zzz"}]}`,
			"rejected refused"},
		{"positions of others", batch + "results: {by: position, list: r, status: s}", `200 {"r":[{"s":200}]}`,
			"retry unexpected"},
		{"no positions", batch + "results: {by: position, list: r, status: s}", `200 {}`, "retry unexpected"},
		{"positions without a status", batch + "results: {by: position, list: r, status: s}", `200 {"r":[{},{},{}]}`,
			"retry unexpected"},
		{"no JSON", batch + "results: {by: index, list: errors, index: i}", "400 <html>", "rejected refused"},
		{"the answer is the list", batch + "results: {by: position, list: $, status: success, message: 'errors.0.message'}",
			`200 [{"success":true},{"success":false,"errors":[{"message":"no"}]},{"success":true}]`,
			"delivered|rejected refused|delivered"},
		{"and says more than it was asked for", batch + "results: {by: position, list: $, status: success}",
			`200 [{"success":true},{"success":true},{"success":true},{"success":true}]`, "retry unexpected"},
		{"errors in a list that is the answer", batch + "results: {by: index, list: $, index: i}", `200 [{"i":0}]`,
			"rejected refused|delivered|delivered"},
		{"indexes alone", batch + "results: {by: index, list: failed, index: $}", `200 {"failed":[0,"2"]}`,
			"rejected refused|delivered|rejected refused"},
		{"statuses in quotes", batch + "results: {by: position, list: r, status: s}",
			`200 {"r":[{"s":"201"},{"s":"503"},{"s":"400"}]}`, "delivered|retry unavailable|rejected refused"},
		{"statuses that are none", batch + "results: {by: position, list: r, status: s}",
			`200 {"r":[{"s":"fine"},{"s":"fine"},{"s":"fine"}]}`, "retry unexpected"},
		{"words", batch + "results: {by: position, list: r, status: s, taken: [ok, queued, 0]}",
			`200 {"r":[{"s":"ok"},{"s":0},{"s":"bad"}]}`, "delivered|delivered|rejected refused"},
		{"words and statuses", batch + "results: {by: position, list: r, status: s, taken: ok}",
			`200 {"r":[{"s":"ok"},{"s":429},{"s":7}]}`, "delivered|retry rate_limited|rejected refused"},
		{"an error that passes", batch + "results: {by: index, list: e, index: i, again: {c: [LOCKED, 5]}}",
			`200 {"e":[{"i":0,"c":"LOCKED"},{"i":1,"c":"BAD"},{"i":2,"c":5}]}`,
			"retry conflict|rejected refused|retry conflict"},
		{"one of an element", batch + "results: {by: position, list: $, status: ok, again: {errors.0.code: LOCKED}}",
			`200 [{"ok":true,"errors":[{"code":"LOCKED"}]},{"ok":false,"errors":[{"code":"LOCKED"}]},{"ok":false,"errors":[]}]`,
			"delivered|retry conflict|rejected refused"},
		{"beside statuses", batch + "results: {by: position, list: $, status: s, again: {c: LOCKED}}",
			`200 [{"s":429,"c":"LOCKED"},{"s":400,"c":"LOCKED"},{"s":413}]`, "retry rate_limited|retry conflict|rejected too_large"},
		{"a null status", batch + "results: {by: position, list: r, status: s}",
			`200 {"r":[{"s":null},{"s":200},{"s":200}]}`, "retry unexpected"},
		{"an element's element", "success: {json: {'a.b.0.c': 1}}", `200 {"a":{"b":[{"c":1}]}}`, "delivered"},
		{"as other languages write it", "success: {json: {'$.a.b[0].c': 1}, has: [/a/b/0]}", `200 {"a":{"b":[{"c":1}]}}`,
			"delivered"},
		{"another element", "success: {json: {'a.0.c': 1}}", `200 {"a":[{"c":2},{"c":1}]}`, "retry unexpected"},
		{"of a list that is the answer", "success: {json: {'0.ok': true}}", `200 [{"ok":true}]`, "delivered"},
		{"one of two words", "success: {json: {s: [ok, queued]}}", `200 {"s":"queued"}`, "delivered"},
		{"neither of them", "success: {json: {s: [ok, queued]}}", `200 {"s":"bad"}`, "retry unexpected"},
		{"any JSON", "success: {has: $}", `200 [1]`, "delivered"},
		{"which it is not", "success: {has: $}", `200 x`, "retry unexpected"},
		{"a list that counts", batch + "success: {counts: ids}", `200 {"ids":[1,2,3]}`, "delivered"},
		{"a list that counts less", batch + "success: {counts: ids}", `200 {"ids":[1,2]}`, "retry unexpected"},
		{"a text", "success: {text: OK}", "200 OK\n", "delivered"}, {"another text", "success: {text: OK}", "200 OK?",
			"retry unexpected"},
		{"no body", `success: {status: 2xx, text: ""}`, "202 ", "delivered"},
		{"some body", `success: {status: 2xx, text: ""}`, "202 x", "retry unexpected"},
		{"XML", "success: {contains: '<code>0</code>'}", "200 <?xml version='1.0'?><r><code>0</code></r>", "delivered"},
		{"XML that says no", "success: {contains: '<code>0</code>'}", "200 <r><code>7</code></r>", "retry unexpected"},
		{"all of several texts", "success: {contains: [<r>, '</r>']}", "200 <r>", "retry unexpected"},
		{"a pattern", `success: {matches: '(?i)<code>\s*0\s*</code>'}`, "200 <R><CODE>\n 0 </CODE></R>", "delivered"},
		{"which is not there", `success: {matches: '<code>\s*0\s*</code>'}`, "200 <r><code>10</code></r>",
			"retry unexpected"},
		{"of any 2xx", `success: {status: 2xx, contains: ok}`, "207 ok", "delivered"},
		{"invalid UTF-8", "success: {has: [a]}", "200 {\"b\":\"\xff\"}", "retry unexpected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Trim(c.action, "{}")
			if strings.Contains(c.action, "{") && !strings.HasPrefix(c.action, "{") {
				text = c.action
			}
			if text != "" {
				text = ", " + text
			}
			events := three
			if !strings.Contains(text, "batch") {
				events = three[:1]
			}
			want := strings.Split(c.want, "|")
			for len(want) < len(events) {
				want = append(want, want[0])
			}
			p := partner{answers: []string{c.answer}}
			s := opened(t, head+"actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /e"+text+"}\n", nil)
			if got := p.send(t, s, events...); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}

// TestUnreadable: where an answer may say which events were refused, one that nobody can read, or
// that has something else
// in the place of a list, is no delivery, in whatever way it would have said it. One that lists nothing is.
func TestUnreadable(t *testing.T) {
	events := []string{event("a", nil), event("b", nil), event("c", nil)}
	for _, by := range []string{"by: index, index: i", "by: id, id: id", "by: pointer, pointer: at",
		"by: position, status: s"} {
		for _, c := range []struct{ success, answer, want string }{
			{"", `200 {"errors":[{"i":1`, "retry unexpected"},
			{"", "200 <html>login</html>", "retry unexpected"},
			{"", "200 \xff\xfe{\x00}\x00", "retry unexpected"},
			{"", "200 " + strings.Repeat("text ", 4<<20), "retry unexpected"},
			{"", "200 [1]", "retry unexpected"}, {"", `200 {"errors":"none"}`, "retry unexpected"},
			{"", `200 {"errors":{}}`, "retry unexpected"}, {"", `200 "ok"`, "retry unexpected"},
			{"success: 202, ", "202 ok", "retry unexpected"},
			{"success: [{status: 200}, 202], ", "202 ok", "retry unexpected"},
			{"", "400 <html>", "rejected refused"},
			// What else an answer has to be is the description's to say.
			{"success: {json: {ok: true}}, ", `200 {"ok":true}`, "delivered"},
			{"success: {text: ''}, ", "200 ", "delivered"},
			{"", "204 ", "delivered"}, {"success: [202, 204], ", "204 ", "delivered"},
			// Many name errors only when there are some.
			{"", "200 {}", "delivered"}, {"", "202 ", "delivered"}, {"", `201 {"ok":true}`, "delivered"},
			{"", `207 {"errors":null}`, "delivered"}, {"success: 202, ", "202 ", "delivered"},
			{"success: 202, ", "200 ", "retry unexpected"},
		} {
			if strings.Contains(by, "position") && c.want == "delivered" {
				continue // it has to have an element for every event
			}
			p := partner{answers: []string{c.answer}}
			s := opened(t, head+"actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /e, batch: {events: 3}, "+
				c.success+"results: {"+by+", list: errors}}\n", nil)
			if got := p.send(t, s, events...); !slices.Equal(got, []string{c.want, c.want, c.want}) {
				t.Errorf("%s %s %.60q: %v, want %s", by, c.success, c.answer, got, c.want)
			}
		}
	}
}

// TestStandsIn: an API that answers as its description says takes everything, so that a rehearsal ends.
func TestStandsIn(t *testing.T) {
	for _, answers := range []string{
		"results: {by: index, list: a.errors, index: i}", "results: {by: id, list: $, id: i}",
		"results: {by: position, list: r, status: create.status}", "results: {by: position, list: $, status: $, taken: fine}",
		"success: {counts: r}, results: {by: position, list: r, status: s}", "success: {counts: n}",
		"success: {json: {'a.1.b': [x, y]}, has: [c]}", "success: {contains: [<r>, <s>]}", "success: {text: OK}",
		`success: {contains: x, matches: '^\s*x? (yes|no){2} [0-9]+\b'}`, "success: {status: 2xx, text: ''}",
		"success: {has: $}",
	} {
		const where = "actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /e, batch: {events: 2}, "
		d, problems := read(t, head+where+answers+"}\n")
		if len(problems) > 0 {
			t.Errorf("%s: %v", answers, problems[0])
			continue
		}
		c, err := api.StandIn(d)
		if err != nil {
			t.Fatal(err)
		}
		if got := rehearsed(t, d, c, event("a", nil), event("b", nil), event("c", nil)); fmt.Sprint(got) !=
			"[delivered delivered delivered]" {
			t.Errorf("%s: %v", answers, got)
		}
	}
}

// rehearsed sends events to a stand-in.
func rehearsed(t *testing.T, d destination.Destination, c *standin.Contract, events ...string) (results []string) {
	t.Helper()
	s, err := d.Open(destination.Config{})
	if err != nil {
		t.Fatal(err)
	}
	rt := transport.New(transport.Options{Network: standin.New(c), Auth: s.Plan().Auth})
	got, err := verify.Converse(context.Background(), s, rt, events, time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range got {
		results = append(results, strings.TrimSpace(v.Outcome+" "+v.Reason))
	}
	return results
}

// TestAuth: who is calling, as the user or the description says it; secrets are known as such.
func TestAuth(t *testing.T) {
	const one = "actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /e, mapping: {a: 1}}\n"
	const file = head + "settings: {k: {required: true}, who: {default: me}}\n"
	for _, c := range []struct {
		name, text string
		settings   map[string]any
		header     string
		want       string
	}{
		{"bearer", head + one, map[string]any{"auth.bearer": "sesame-1"}, "Authorization", "Bearer sesame-1"},
		{"basic", head + one, map[string]any{"auth.basic.user": "me", "auth.basic.password": "sesame-1"}, "Authorization",
			"Basic bWU6c2VzYW1lLTE="},
		{"header", head + one, map[string]any{"auth.header.name": "X-Key", "auth.header.value": "sesame-1"}, "X-Key",
			"sesame-1"},
		{"query", head + one, map[string]any{"auth.query.name": "key", "auth.query.value": "sesame-1"}, "", "key=sesame-1"},
		{"hmac", head + one, map[string]any{"auth.hmac.secret": "sesame-1"}, "X-Signature",
			"HMAC"},
		{"a description's bearer", file + "auth: {bearer: 'Key {{settings.k}}'}\n" + one, map[string]any{"k": "sesame-1"},
			"Authorization", "Bearer Key sesame-1"},
		{"a description's basic", file + "auth: {basic: {user: '{{settings.who}}', password: '{{settings.k}}'}}\n" + one,
			map[string]any{"k": "sesame-1"}, "Authorization", "Basic bWU6c2VzYW1lLTE="},
		{"basic without a user", head + one, map[string]any{"auth.basic.user": "", "auth.basic.password": "sesame-1"},
			"Authorization", "Basic OnNlc2FtZS0x"},
		{"a description's, without a user", file + "auth: {basic: {user: '', password: '{{settings.k}}'}}\n" + one,
			map[string]any{"k": "sesame-1"}, "Authorization", "Basic OnNlc2FtZS0x"},
		{"a description's, without a password", file + "auth: {basic: {user: '{{settings.k}}', password: ''}}\n" + one,
			map[string]any{"k": "sesame-1"}, "Authorization", "Basic c2VzYW1lLTE6"},
		{"none", head + "idempotency_header: none\n" + one, nil, "Idempotency-Key", ""},
		{"a key", head + one, nil, "Idempotency-Key", "1"},
		{"a key of another name", head + "idempotency_header: X-Once\n" + one, nil, "X-Once", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p partner
			s := opened(t, c.text, c.settings)
			p.send(t, s, event("1", nil))
			got := p.headers[0].Get(c.header)
			if c.header == "" {
				_, got, _ = strings.Cut(strings.Fields(p.sent[0])[1], "?")
			}
			if want := c.want; want == "HMAC" {
				m := hmac.New(sha256.New, []byte("sesame-1"))
				m.Write([]byte(`{"a":1}`))
				if want = hex.EncodeToString(m.Sum(nil)); got != want {
					t.Errorf("the signature is %q, want %q", got, want)
				}
			} else if got != want {
				t.Errorf("%s: %q, want %q", c.header, got, c.want)
			}
			hidden := strings.Join(append(s.Plan().Secrets, s.Plan().Auth.Secrets()...), "\n")
			if _, secret := c.settings["auth.bearer"]; (secret || c.settings["k"] != nil) &&
				!strings.Contains(hidden, "sesame-1") {
				t.Errorf("the secret is none: %q", hidden)
			}
		})
	}
}

// TestProblems: each mistake is said with its line, and none hides another.
func TestProblems(t *testing.T) {
	d, problems := read(t, `base_url: https://api.{{settings.nowhere}}.example
docs: nowhere
order: any
settings: {k: {type: colour}, "a b": {doc: x}}
auth: {bearer: sesame, basic: {user: u}}
limits: {rate: lots, window: {past: long}, gzip: maybe}
actions:
  - action: send
    subscribe: type =
    path: /{{user}}/../{{settings.k}}
    headers: {Host: x, X-A: "{{usr}}"}
    mapping: {user: {"@path": $.userId}}
    required: [usr]
    body: {a: "{{usr}}", b: "{{user"}
    batch: {envelope: {a: 1}, events: none}
    results: {by: name}
    retry_on: [200]
    success: [99]
    encoding: xml
  - {action: send, path: x, typo: 1, mapping: {a: 1}}
`)
	if len(problems) < 22 || d.Open != nil {
		t.Errorf("%d problems", len(problems))
	}
	lines := map[int]bool{}
	for _, p := range problems {
		lines[p.Line] = true
		if p.Line == 0 || strings.Contains(p.Msg, "%!") || len(p.Msg) > 300 {
			t.Errorf("%d: %s", p.Line, p)
		}
	}
	for _, line := range []int{1, 2, 3, 4, 5, 6, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20} {
		if !lines[line] {
			t.Errorf("nothing is said of line %d", line)
		}
	}
}

// TestSecretsStayOutOfSight: a secret stands where nothing shows it, or not at all.
func TestSecretsStayOutOfSight(t *testing.T) {
	for _, action := range []string{"path: '/{{settings.k}}'", "path: /, headers: {X-Key: '{{settings.k}}'}"} {
		_, problems := read(t, head+
			"settings: {k: {secret: true}}\nactions:\n  - {action: send, subscribe: 'type = \"track\"', "+
			action+"}\n")
		if len(problems) != 1 || !strings.Contains(problems[0].Msg, "secret") {
			t.Errorf("%s: %v", action, problems)
		}
	}
}

// TestHostIsOfSettings: a setting that is part of the address cannot lead elsewhere.
func TestHostIsOfSettings(t *testing.T) {
	d, problems := read(t, "base_url: https://{{settings.region}}.own.example\nsettings: {region: {required: true}}\n"+
		"actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /e}\n")
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	for region, ok := range map[string]bool{"eu": true, "eu-1": true, "evil.example/": false, "a@b": false, "a:1": false,
		"a#": false, "": false} {
		if _, err := d.Open(destination.Config{Settings: map[string]any{"region": region}}); (err == nil) != ok {
			t.Errorf("%q: %v", region, err)
		}
	}
}

// TestOneAuthorization: what would take another's place in a request is refused.
func TestOneAuthorization(t *testing.T) {
	const action = "actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /e, mapping: {a: 1}"
	const key = head + "settings: {k: {required: true}}\nauth: "
	for _, text := range []string{
		key + "{bearer: '{{settings.k}}', basic: {user: u, password: '{{settings.k}}'}}\n" + action + "}\n",
		key + "{bearer: '{{settings.k}}', header: {name: authorization, value: '{{settings.k}}'}}\n" + action + "}\n",
		key + "{bearer: '{{settings.k}}'}\n" + action + ", headers: {authorization: Basic}}\n",
		"base_url: https://u:p4ss@own.example\n" + action + "}\n",
		key + "{basic: {user: me, password: ''}}\n" + action + "}\n",
	} {
		if _, problems := read(t, text); len(problems) != 1 || strings.Contains(problems[0].Msg, "p4ss") {
			t.Errorf("%s: %v", text, problems)
		}
	}
	d, _ := read(t, head+action+"}\n")
	for _, settings := range []map[string]any{
		{"auth.bearer": "sesame-1", "auth.basic.password": "sesame-2"},
		{"auth.basic.user": "u", "auth.header.name": "AUTHORIZATION", "auth.header.value": "sesame-1"},
	} {
		if _, err := d.Open(destination.Config{Settings: settings}); err == nil || strings.Contains(err.Error(), "sesame") ||
			!strings.Contains(err.Error(), "Authorization") {
			t.Errorf("%v: %v", settings, err)
		}
	}
}

// TestWhatIsSent: what a description says to people, and how fast the API may be asked, is no part of what is sent.
func TestWhatIsSent(t *testing.T) {
	text := func(swap ...string) string {
		return strings.NewReplacer(swap...).Replace(`base_url: https://own.example
name: Own
summary: one
docs: https://own.example/docs
settings: {k: {doc: A key}}
limits: {rate: 5/s, window: {past: 3d}}
actions:
  - {action: send, name: Send, doc: Sends., subscribe: 'type = "track"', path: /e, mapping: {a: 1}}
`)
	}
	was, problems := read(t, text())
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	for _, c := range []struct {
		same bool
		swap []string
	}{
		{true, []string{"summary: one", "summary: two"}}, {true, []string{"own.example/docs", "own.example/help"}},
		{true, []string{"A key", "The key"}}, {true, []string{"Sends.", "Sends it."}},
		{true, []string{"name: Send", "name: Post"}},
		{true, []string{"5/s", "6/s"}}, {true, []string{"rate: 5/s", "gzip: true"}},
		{false, []string{"name: Own", "name: Other"}}, {false, []string{"3d", "4d"}}, {false, []string{"/e", "/f"}},
		{false, []string{"a: 1", "a: 2"}}, {false, []string{"base_url: https://own", "base_url: https://other"}},
		{false, []string{"doc: A key", "default: x"}},
	} {
		now, problems := read(t, text(c.swap...))
		if len(problems) > 0 {
			t.Fatal(problems[0])
		}
		if (now.Made == was.Made) != c.same || maps.Equal(now.Parts, was.Parts) != c.same {
			t.Errorf("%q: %s", c.swap, now.Made)
		}
	}
	bare, _ := read(t, text("limits: {rate: 5/s, window: {past: 3d}}\n", ""))
	if fast, _ := read(t, text(", window: {past: 3d}", "")); fast.Made != bare.Made {
		t.Errorf("a rate alone is sent: %s", fast.Made)
	}
}

// FuzzRead: no description breaks the reader, and one without problems can be opened and
// asked about an event.
func FuzzRead(f *testing.F) {
	f.Add(head + "actions:\n  - {action: a, subscribe: 'type = \"track\"', path: '/{{x}}', mapping: {x: 1}, body: {y: " +
		"['{{x}}']}}\n")
	f.Add(head + "settings: {k: {secret: true}}\nauth: {header: {name: X, value: '{{settings.k}}'}}\nactions:\n" +
		"  - {action: a, " +
		"subscribe: 'type = \"track\"', path: /, batch: {envelope: {a: '{{items}}'}, events: 1}, results: {by: id, list: " +
		"e, id: i}}\n")
	f.Add(head + "limits: {rate: [1/s, 2MB/s], window: {past: 3d}}\n" +
		"actions: [{action: a, subscribe: 'type != null', path: /, " +
		"mapping: {'@path': $.x}, encoding: form, success: [{json: {a: 1}, has: b}], reject_on: 4xx}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(text), &doc) != nil || len(doc.Content) == 0 || len(text) > 4096 {
			return
		}
		d, problems := api.Read(doc.Content[0], "own")
		if len(problems) > 0 {
			return
		}
		s, err := d.Open(destination.Config{Settings: d.Settings.Examples()})
		if err != nil {
			return
		}
		var p partner
		p.send(t, s, event("1", map[string]any{"x": "../..", "e": []any{1, nil}}))
		for _, line := range p.sent {
			if address := strings.Fields(line)[1]; strings.Contains(text, head) && !strings.HasPrefix(address,
				"https://api.own.example/v1/") {
				t.Errorf("a request goes to %s", address)
			}
		}
		if _, err := api.StandIn(d); err != nil {
			t.Error(err)
		}
	})
}

// TestNothingWithoutAForm: a description that has a value without a form in JSON is refused. Otherwise a change of it
// could not be told from the same description.
func TestNothingWithoutAForm(t *testing.T) {
	const action = "actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /x, mapping: {a: 1}}\n"
	for _, text := range []string{
		head + "summary: .inf\n" + action, head + "name: .nan\n" + action,
		head + "actions:\n  - {action: send, subscribe: 'type = \"track\"', path: /x, mapping: {a: .inf}}\n",
		head + "actions:\n  - {action: send, subscribe: 'type = \"track\"', path: .inf, mapping: {a: 1}}\n",
	} {
		if _, problems := read(t, text); len(problems) == 0 {
			t.Errorf("%s is taken", text)
		}
	}
	if _, problems := read(t, head+action); len(problems) > 0 {
		t.Errorf("%v", problems[0])
	}
}
