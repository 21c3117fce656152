package standin

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

const acme = `
partner: Acme
written: from documentation
date: 2026-11-23
docs: [https://acme.example/docs]
hosts: [api.acme.example, 'eu-*.acme.example']
headers: {Revision: '^\d{4}$'}
auth: {kind: bearer, prefix: 'sk_', docs: https://acme.example/auth, refused: {body: '{"why":"{error}"}'}}
limited: {status: 429, headers: {Retry-After: "7"}, body: '{"why":"slow down"}'}
endpoints:
  - path: ['/v1/{project}/events', '/v1/{project}/events/']
    docs: https://acme.example/events
    query: {mode: '^(strict|lax)$'}
    gzip: true
    items: [events, users]
    max_items: {n: 3, docs: https://acme.example/caps}
    max_bytes: 600
    max_item_bytes: 150
    insert_id: id
    body: {fields: {test: {type: boolean, optional: true}}}
    kinds:
      - in: events
        fields:
          name: {type: text, min_length: 2, max_length: 6, pattern: '^[^!]*$'}
          at: {type: integer, min: 10, max: 4102444800}
          sort: {type: text, optional: true, enum: [a, b]}
          tags: {type: array, optional: true, max_items: 2}
          'tags[]': text
          more: {type: object, optional: true, keys: '^[a-z]+$', max_value_length: 5}
        one_of: [[user, device]]
      - {in: users, fields: {user: text, role: {type: text, optional: true, not: [none, n/a]}}}
    window: {field: at, unit: s, past: 24h, future: 1h}
    answer: {body: '{"events":{n:events},"users":{n:users},"ids":[{items}]}', each: '"{id}"'}
    partial: {status: 207, body: '{"taken":{n},"lost":{refused},"errors":[{failed}],"missing":{missing},"invalid":{invalid}}', failed: '{"at":{at},"in":"{in}","index":{index},"id":"{id}","field":"{field}","why":"{error}"}'}
    refused: {status: 422, body: '{"why":"{error}"}'}
    too_large: {status: 413, body: '{"why":"too large"}'}
  - {path: /v1/lines, docs: https://acme.example/lines, content_type: application/x-ndjson, items: lines, item: {fields: {n: number}}}
  - path: /v1/form
    docs: https://acme.example/form
    auth: {kind: body, name: key, refused: {status: 403}}
    content_type: [application/json, application/x-www-form-urlencoded]
    form: data
    items: either
    item: {fields: {n: number}}
    answer: {body: ok}
  - {method: DELETE, path: /v1/**, docs: https://acme.example/delete, auth: {kind: none}, items: none, answer: {status: 204}}
`

func parse(t testing.TB, text string) *Contract {
	t.Helper()
	c, err := ParseContract([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const eventsURL = "https://api.acme.example/v1/p1/events?mode=strict"

func request(t testing.TB, method, url, contentType, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer sk_1")
	req.Header.Set("Revision", "2026")
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Del(headers[i]); headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	return req
}

func ask(t testing.TB, p *Partner, req *http.Request) (int, string) {
	t.Helper()
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(string(body), "{") && !json.Valid(body) {
		t.Errorf("the answer is no JSON: %s", body)
	}
	return resp.StatusCode, string(body)
}

const good = `{"id":"i1","name":"ab","at":1000,"user":"u"}`

func TestPartnerAnswers(t *testing.T) {
	const js = "application/json"
	events := func(list string) string { return `{"events":[` + list + `]}` }
	long := strings.Repeat("x", 700)
	for _, c := range []struct {
		name, method, url, contentType, body string
		headers                              []string
		status                               int
		answer                               string // part of it
	}{
		{name: "good", body: events(good), status: 200, answer: `{"events":1,"users":0,"ids":["i1"]}`},
		{name: "trailing slash", url: "https://eu-1.acme.example/v1/p1/events/?mode=lax", body: events(good), status: 200},
		{name: "two arrays", body: `{"events":[` + good + `],"users":[{"user":"u"}]}`, status: 200, answer: `"users":1`},
		{name: "charset", contentType: "application/json; charset=UTF-8", body: events(good), status: 200},
		{name: "escaped id", body: events(`{"id":"a\"b","name":"ab","at":1000,"user":"u"}`), status: 200, answer: `["a\"b"]`},
		{name: "other host", url: "https://evil.example/v1/p1/events?mode=strict", body: events(good), status: 404},
		{name: "other path", url: "https://api.acme.example/v1/events?mode=strict", body: events(good), status: 404},
		{name: "empty parameter of the path", url: "https://api.acme.example/v1//events?mode=strict", body: events(good),
			status: 404},
		{name: "other method", method: "PUT", body: events(good), status: 404},
		{name: "no credentials", headers: []string{"Authorization", ""}, body: events(good), status: 401,
			answer: "bearer token"},
		{name: "credentials of another form", headers: []string{"Authorization", "Bearer pk_1"}, body: events(good),
			status: 401},
		{name: "no header", headers: []string{"Revision", ""}, body: events(good), status: 422, answer: "Revision"},
		{name: "wrong parameter", url: "https://api.acme.example/v1/p1/events?mode=x", body: events(good), status: 422,
			answer: "mode"},
		{name: "content type", contentType: "text/plain", body: events(good), status: 422, answer: "content type"},
		{name: "wrong charset", contentType: "application/json; charset=latin1", body: events(good), status: 422,
			answer: "utf-8"},
		{name: "encoding", headers: []string{"Content-Encoding", "br"}, body: events(good), status: 422, answer: "encoding"},
		{name: "not gzip", headers: []string{"Content-Encoding", "gzip"}, body: events(good), status: 422,
			answer: "decompressed"},
		{name: "no JSON", body: `{"events":[`, status: 422, answer: "no JSON"},
		{name: "empty body", body: "", status: 422, answer: "no JSON"},
		{name: "no array", body: `{"events":{}}`, status: 422, answer: "array"},
		{name: "nothing", body: `{}`, status: 422, answer: "events or users"},
		{name: "beside the items", body: `{"test":1,"events":[` + good + `]}`, status: 422, answer: "test has to be boolean"},
		{name: "too many", body: `{"events":[` + good + `,` + good + `],"users":[{"user":"u"},{"user":"u"}]}`, status: 413,
			answer: "too large"},
		{name: "too large", body: events(`{"x":"` + long + `"}`), status: 413, answer: "too large"},
		{name: "large item", body: events(good + `,{"x":"` + long[:200] + `"}`), status: 207, answer: `"taken":1,"lost":1`},
		{name: "missing member", body: events(good + `,{"id":"i2","at":1000,"user":"u"}`), status: 207,
			answer: `{"at":1,"in":"events","index":1,"id":"i2","field":"name","why":"name is missing"}`},
		{name: "missing map", body: events(`{"at":1000,"user":"u"},` + good), status: 207,
			answer: `"missing":{"name":[0]},"invalid":{}`},
		{name: "invalid map", body: events(`{"name":1,"at":1000,"user":"u"},` + good), status: 207,
			answer: `"missing":{},"invalid":{"name":[0]}`},
		{name: "index in its array", body: `{"events":[` + good + `],"users":[{"user":1}]}`, status: 207,
			answer: `{"at":0,"in":"users","index":1,`},
		{name: "null", body: events(`{"name":null,"at":1000,"user":"u"}`), status: 207, answer: "name is missing"},
		{name: "short", body: events(`{"name":"a","at":1000,"user":"u"}`), status: 207, answer: "at least 2"},
		{name: "long in characters, not bytes", body: events(`{"name":"äöüäöü","at":1000,"user":"u"}`), status: 200},
		{name: "long", body: events(`{"name":"äöüäöüä","at":1000,"user":"u"}`), status: 207, answer: "more than 6"},
		{name: "pattern", body: events(`{"name":"ab!","at":1000,"user":"u"}`), status: 207, answer: "form"},
		{name: "fraction", body: events(`{"name":"ab","at":1000.5,"user":"u"}`), status: 207, answer: "whole"},
		{name: "below", body: events(`{"name":"ab","at":1,"user":"u"}`), status: 207, answer: "below 10"},
		{name: "above", body: events(`{"name":"ab","at":41024448000,"user":"u"}`), status: 207, answer: "above"},
		{name: "enum", body: events(`{"name":"ab","at":1000,"user":"u","sort":"c"}`), status: 207, answer: "one of a, b"},
		{name: "elements", body: events(`{"name":"ab","at":1000,"user":"u","tags":["a",1]}`), status: 207, answer: "tags[]"},
		{name: "many elements", body: events(`{"name":"ab","at":1000,"user":"u","tags":["a","b","c"]}`), status: 207,
			answer: "3 members"},
		{name: "keys", body: events(`{"name":"ab","at":1000,"user":"u","more":{"A":1}}`), status: 207,
			answer: "name is not of its form"},
		{name: "values", body: events(`{"name":"ab","at":1000,"user":"u","more":{"a":"123456"}}`), status: 207,
			answer: "more than 5"},
		{name: "refused text", body: `{"users":[{"user":"u","role":"None"}]}`, status: 207,
			answer: "role holds a text that is refused"},
		{name: "other text", body: `{"users":[{"user":"u","role":"some"}]}`, status: 200, answer: `"users":1`},
		{name: "nobody", body: events(`{"name":"ab","at":1000,"user":""}`), status: 207, answer: "one of user, device"},
		{name: "no object", body: events(`1`), status: 207, answer: "object"},
		{name: "lines", url: "https://api.acme.example/v1/lines", contentType: "application/x-ndjson",
			body: "{\"n\":1}\n\n{\"n\":2}\r\n", status: 200},
		{name: "bad line", url: "https://api.acme.example/v1/lines", contentType: "application/x-ndjson",
			body: "{\"n\":1}\n{", status: 400},
		{name: "form", url: "https://api.acme.example/v1/form", contentType: formType,
			body: "key=k&data=%5B%7B%22n%22%3A1%7D%5D", status: 200, answer: "ok"},
		{name: "form without a key", url: "https://api.acme.example/v1/form", contentType: formType,
			body: "data=%7B%22n%22%3A1%7D", status: 403},
		{name: "key in JSON", url: "https://api.acme.example/v1/form", body: `{"key":"k","n":1}`, status: 200, answer: "ok"},
		{name: "empty key in JSON", url: "https://api.acme.example/v1/form", body: `{"key":"","n":1}`, status: 403},
		{name: "rest of a path, nobody asked", method: "DELETE", url: "https://api.acme.example/v1/a/b/c",
			headers: []string{"Authorization", ""}, status: 204},
	} {
		t.Run(c.name, func(t *testing.T) {
			or := func(s, def string) string {
				if s == "" {
					return def
				}
				return s
			}
			p := New(parse(t, acme))
			req := request(t, or(c.method, "POST"), or(c.url, eventsURL), or(c.contentType, js), c.body, c.headers...)
			status, answer := ask(t, p, req)
			if status != c.status || !strings.Contains(answer, c.answer) {
				t.Errorf("got %d %s; want %d with %s", status, answer, c.status, c.answer)
			}
			if refused := p.Stats().Refused == 1; refused != (status >= 300 || status == 207) ||
				refused != (len(p.Violations()) > 0) {
				t.Errorf("status %d, refused %v, violations %v", status, refused, p.Violations())
			}
			for _, v := range p.Violations() {
				if !strings.HasPrefix(v.Docs, "https://acme.example/") {
					t.Errorf("%v does not name its documentation", v)
				}
			}
		})
	}
}

func TestGzip(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(`{"events":[` + good + `]}`))
	_ = z.Close()
	p := New(parse(t, acme))
	if status, answer := ask(t, p, request(t, "POST", eventsURL, "application/json", b.String(), "Content-Encoding",
		"gzip")); status != 200 {
		t.Errorf("got %d %s", status, answer)
	}
	// The limit applies to the body before compression.
	b.Reset()
	z = gzip.NewWriter(&b)
	_, _ = z.Write([]byte(`{"events":[` + strings.Repeat(" ", 1000) + good + `]}`))
	_ = z.Close()
	if status, answer := ask(t, p, request(t, "POST", eventsURL, "application/json", b.String(), "Content-Encoding",
		"gzip")); status != 413 {
		t.Errorf("got %d %s", status, answer)
	}
	if status, _ := ask(t, p, request(t, "POST", "https://api.acme.example/v1/lines", "application/x-ndjson", b.String(),
		"Content-Encoding", "gzip")); status != 400 {
		t.Errorf("an endpoint that is not documented to take gzip took it: %d", status)
	}
}

func TestWindow(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	p := New(parse(t, acme))
	p.Now = func() time.Time { return now }
	for at, status := range map[string]int{"1000000": 200, "913600": 200, "913599": 207, "1003600": 200, "1003601": 207} {
		body := `{"events":[{"name":"ab","at":` + at + `,"user":"u"}]}`
		if got, answer := ask(t, p, request(t, "POST", eventsURL, "application/json", body)); got != status {
			t.Errorf("at %s: got %d %s, want %d", at, got, answer, status)
		}
	}
	if vs := parse(t, acme).Check(request(t, "POST", eventsURL, "application/json", ""),
		[]byte(`{"events":[{"name":"ab","at":11,"user":"u"}]}`)); vs != nil {
		t.Errorf("Check looks at ages: %v", vs)
	}
}

// Without a Partial answer, one bad item refuses its whole request.
func TestAllOrNothing(t *testing.T) {
	p := New(parse(t, acme))
	status, _ := ask(
		t,
		p,
		request(t, "POST", "https://api.acme.example/v1/lines", "application/x-ndjson", "{\"n\":1}\n{}\n"),
	)
	if s := p.Stats(); status != 400 || s.Taken != 0 || s.Items != 2 {
		t.Errorf("got %d, %+v", status, s)
	}
}

// TestItemsThatAreNoObjects: lists of ids, and of rows, have rules for their elements.
func TestItemsThatAreNoObjects(t *testing.T) {
	c := parse(t, `
partner: Lists
written: from documentation
date: 2026-11-29
docs: [https://lists.example/docs]
endpoints:
  - {path: /add, docs: 'https://lists.example/add', items: ids, item: {value: {type: text, min_length: 2}}}
  - {path: /rows, docs: 'https://lists.example/rows', items: array, item: {value: array}}
`)
	for _, v := range []struct{ path, body, want string }{
		{"/add", `{"ids":["ab","cd"]}`, ""},
		{"/add", `{"ids":["ab",{"id":"cd"}]}`, "it has to be text, not object"},
		{"/add", `{"ids":["a"]}`, "it has to have at least 2 characters"},
		{"/add", `{"ids":[null]}`, "it is missing"},
		{"/rows", `[["a",1],[]]`, ""},
		{"/rows", `["a"]`, "it has to be array, not string"},
	} {
		var said []string
		req := request(t, "POST", "https://lists.example"+v.path, "application/json", "")
		for _, v := range c.Check(req, []byte(v.body)) {
			said = append(said, v.Msg)
		}
		if got := strings.Join(said, "; "); got != v.want {
			t.Errorf("%s %s: %q, want %q", v.path, v.body, got, v.want)
		}
	}
}

// TestSuccessInText: of an answer in XML a contract says what stands in it.
func TestSuccessInText(t *testing.T) {
	const text = `
partner: Lists
written: from documentation
date: 2026-11-29
docs: [https://lists.example/docs]
endpoints:
  - path: /xml
    docs: https://lists.example/xml
    content_type: text/xml
    items: none
    success: {contains: [<SUCCESS>true<, </Envelope>]}
    answer: {body: '<Envelope><SUCCESS>true</SUCCESS></Envelope>'}
`
	c := parse(t, text)
	req := request(t, "POST", "https://lists.example/xml", "text/xml", "<a/>")
	for answer, ok := range map[string]bool{"<Envelope> <SUCCESS>true</SUCCESS></Envelope>\n": true,
		"<Envelope><SUCCESS>false</SUCCESS></Envelope>": false, "<Envelope><SUCCESS>true</": false, "": false} {
		if err := c.Describes(req, []byte("<a/>"), 200, []byte(answer), 0); (err == nil) != ok {
			t.Errorf("%q: %v", answer, err)
		}
	}
	wrong := strings.Replace(text, "true</SUCCESS></Env", "false</SUCCESS></Env", 1)
	if _, err := ParseContract([]byte(wrong)); err == nil {
		t.Error("an answer that is no success is taken")
	}
}

// TestStats: a partner counts what it was sent, and what of it it has taken.
func TestStats(t *testing.T) {
	p := New(parse(t, acme))
	bad := `{"id":"i3","at":1000,"user":"u"}`
	other := `{"id":"i2","name":"ab","at":1000,"user":"u"}`
	for _, list := range []string{good, good + "," + other, other + "," + bad} {
		ask(t, p, request(t, "POST", eventsURL, "application/json", `{"events":[`+list+`]}`))
	}
	if s := p.Stats(); s.Taken != 4 || s.Items != 5 || s.Requests != 3 ||
		s.Endpoints["POST /v1/{project}/events"] != 3 {
		t.Errorf("got %+v", s)
	}
}

func TestHandlerAndHosts(t *testing.T) {
	first, second := parse(
		t,
		acme,
	), parse(
		t,
		strings.ReplaceAll(strings.ReplaceAll(acme, "acme.example", "bolt.example"), "partner: Acme", "partner: Bolt"),
	)
	p := New(first, second)
	if status, _ := ask(t, p, request(t, "POST", "https://api.bolt.example/v1/p/events?mode=lax", "application/json",
		`{"events":[`+good+`]}`)); status != 200 {
		t.Errorf("the second contract did not answer for its host: %d", status)
	}
	srv := httptest.NewServer(p)
	defer srv.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			resp, err := http.DefaultClient.Do(
				request(t, "POST", srv.URL+"/v1/p/events?mode=lax", "application/json", `{"events":[`+good+`]}`),
			)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("got %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"))
			}
		})
	}
	wg.Wait()
	if s := p.Stats(); s.Taken != 9 {
		t.Errorf("got %+v", s)
	}
}

// A violation names place and reason, but never the value, because that may be a
// secret.
func TestViolationsHoldNoValues(t *testing.T) {
	c := parse(t, acme)
	body := `{"events":[{"name":"hunter2!","at":1,"sort":"hunter2","user":"hunter2"}]}`
	req := request(t, "POST", eventsURL, "application/json", body, "Authorization", "Basic hunter2")
	for _, v := range c.Check(req, []byte(body)) {
		if strings.Contains(v.Error(), "hunter2") {
			t.Error(v)
		}
	}
	req.Header.Set("Authorization", "Bearer sk_hunter2")
	for _, v := range c.Check(req, []byte(body)) {
		if strings.Contains(v.Error(), "hunter2") {
			t.Error(v)
		}
	}
}

func TestParseContractRefuses(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"unknown key", "partner: Acme", "partner: Acme\npartnr: x", "partnr"},
		{"unknown key of a rule", "{type: boolean, optional: true}", "{type: boolean, optinal: true}", "optinal"},
		{"unknown key of auth", "auth: {kind: bearer", "auth: {knid: x, kind: bearer", "knid"},
		{"unknown key of a cap", "{n: 3,", "{n: 3, m: 4,", `no key "m"`},
		{"recorded", "from documentation", "recorded", "written"},
		{"date", "2026-11-23", "yesterday", "date"},
		{"auth", "kind: bearer", "kind: handshake", "handshake"},
		{"type", "users, fields: {user: text,", "users, fields: {user: string,", "string"},
		{"pattern", "'^[^!]*$'", "'['", "name"},
		{"no JSON", `"lost":{refused}`, `"lost":"{refused}`, "JSON"},
		{"status", "status: 207", "status: 2070", "2070"},
		{"array of a kind", "in: users", "in: user", "user"},
		{"window", "unit: s", "unit: h", "unit"},
		{"path", "path: /v1/lines", "path: v1/lines", "v1/lines"},
		{"form", "    form: data\n", "", "form"},
		{"a value with fields", "item: {fields: {n: number}}", "item: {value: text, fields: {n: number}}", "no objects"},
		{"the type of a value", "item: {fields: {n: number}}", "item: {value: string}", "string"},
		{"docs", "docs: https://acme.example/lines, ", "", "docs"},
	} {
		text := strings.Replace(acme, c.from, c.to, 1)
		if text == acme {
			t.Fatalf("%s: the contract does not hold %q", c.name, c.from)
		}
		if _, err := ParseContract([]byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error that names %s", c.name, err, c.want)
		}
	}
}

func FuzzParseContract(f *testing.F) {
	f.Add([]byte(acme), []byte(`{"events":[`+good+`]}`))
	f.Add([]byte("partner: x\nendpoints: [{items: &a [*a]}]"), []byte(`[]`))
	f.Add([]byte("a: &a [x,x]\nb: &b [*a,*a]\nauth: {kind: *b}"), []byte(`{`))
	f.Fuzz(func(t *testing.T, text, body []byte) {
		c, err := ParseContract(text)
		if err != nil {
			return
		}
		for _, e := range c.Endpoints {
			req := &http.Request{Method: e.Method, Header: http.Header{"Content-Type": {e.ContentType[0]}}}
			var u strings.Builder
			u.WriteString("http://localhost")
			for _, seg := range e.paths[0] {
				u.WriteString("/" + seg)
			}
			parsed, err := http.NewRequest("POST", u.String(), nil)
			if err != nil {
				continue
			}
			req.URL = parsed.URL
			req.Body = io.NopCloser(bytes.NewReader(body))
			resp, err := New(c).RoundTrip(req)
			if err != nil || resp.StatusCode < 100 {
				t.Fatalf("got %v, %v", resp, err)
			}
		}
	})
}

func BenchmarkPartner(b *testing.B) {
	c := parse(
		b,
		strings.NewReplacer(
			"n: 3",
			"n: 5000",
			"max_bytes: 600",
			"max_bytes: 6000000",
			`,"ids":[{items}]`,
			"",
		).Replace(
			acme,
		),
	)
	body := []byte(`{"events":[` + strings.TrimSuffix(strings.Repeat(good+",", 1000), ",") + `]}`)
	p := New(c)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		req := request(b, "POST", eventsURL, "application/json", "")
		req.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := p.RoundTrip(req)
		if err != nil || resp.StatusCode != 200 {
			b.Fatal(resp, err)
		}
	}
}
