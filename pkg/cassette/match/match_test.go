package match

import (
	"net/http"
	"reflect"
	"testing"
)

// TestMatching is a table of pairs of requests: url, content type, body.
func TestMatching(t *testing.T) {
	type side struct{ url, contentType, body string }
	js := func(body string) side { return side{"https://h/p", "application/json", body} }
	form := func(body string) side { return side{"https://h/p", "application/x-www-form-urlencoded", body} }
	for _, c := range []struct {
		name   string
		a, b   side
		ignore []string
		exact  bool
		same   bool
	}{
		{name: "members in another order", a: js(`{"a":1,"b":[{"c":2,"d":3}]}`),
			b: js(` { "b": [ {"d":3,"c":2} ], "a": 1 } `), same: true},
		{name: "elements in another order", a: js(`[1,2]`), b: js(`[2,1]`)},
		{name: "escapes", a: js(`{"a":"\u00e9\/"}`), b: js(`{"a":"é/"}`), same: true},
		{name: "numbers", a: js(`{"a":1.0,"b":1e2}`), b: js(`{"a":1,"b":100}`), same: true},
		{name: "large numbers", a: js(`{"a":12345678901234567890}`), b: js(`{"a":12345678901234567891}`)},
		{name: "number and text", a: js(`{"a":1}`), b: js(`{"a":"1"}`)},
		{name: "null and nothing", a: js(`{"a":null}`), b: js(`{}`)},
		{name: "volatile", a: js(`{"messageId":"1","sentAt":"2024-01-01T00:00:00Z","properties":{"x":1}}`),
			b: js(`{"messageId":"2","sentAt":"2024-01-02T00:00:00.123Z","properties":{"x":1}}`), same: true},
		{name: "volatile, in batches", a: js(`{"batch":[{"messageId":"1"}]}`), b: js(`{"batch":[{"messageId":"2"}]}`),
			same: true},
		{name: "volatile without its shape", a: js(`{"sentAt":"2024-01-01T00:00:00Z"}`), b: js(`{"sentAt":"yesterday"}`)},
		{name: "volatile, missing", a: js(`{"messageId":"1"}`), b: js(`{}`)},
		{name: "volatile, exact", a: js(`{"messageId":"1"}`), b: js(`{"messageId":"2"}`), exact: true},
		{name: "identity counts", a: js(`{"userId":"1"}`), b: js(`{"userId":"2"}`)},
		{name: "ignored by path", a: js(`{"a":{"b":[{"c":1}]}}`), b: js(`{"a":{"b":[{"c":2}]}}`),
			ignore: []string{"body.a.b[*].c"}, same: true},
		{name: "ignored by another path", a: js(`{"a":{"c":1}}`), b: js(`{"a":{"c":2}}`), ignore: []string{"body.c"}},
		{name: "ignored at any depth", a: js(`{"a":{"c":1}}`), b: js(`{"a":{"c":2}}`), ignore: []string{"body.**.c"},
			same: true},
		{name: "ignored by name", a: js(`{"a":{"c":1}}`), b: js(`{"a":{"c":2}}`), ignore: []string{"c"}, same: true},
		{name: "ignored by a shape", a: js(`{"c":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}`),
			b: js(`{"c":"6ba7b811-9dad-11d1-80b4-00c04fd430c8"}`), ignore: []string{"c=uuid"}, same: true},
		{name: "not of the shape", a: js(`{"c":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}`), b: js(`{"c":"x"}`),
			ignore: []string{"c=uuid"}},
		{name: "credentials", a: js(`{"auth":{"token":"abcdefgh"},"x":1}`), b: js(`{"auth":{"token":""},"x":1}`), same: true},
		{name: "credentials, exact", a: js(`{"token":"abcdefgh"}`), b: js(`{"token":"other"}`), exact: true},
		{name: "credentials that are not there", a: js(`{"token":"abcdefgh"}`), b: js(`{}`)},
		{name: "credentials in parameters", a: side{"https://h/p?api_key=abcdefgh&x=1", "", ""},
			b: side{"https://h/p?x=1&api_key=", "", ""}, same: true},
		{name: "credentials in forms", a: form("client_secret=abcdefgh"), b: form("client_secret=x"), same: true},
		{name: "e-mail addresses", a: js(`{"email":"a@x.io"}`), b: js(`{"email":"b@x.io"}`)},
		{name: "a path that only one program escapes", a: side{"https://h/a<b>/z\xc3\xbcrich", "", ""},
			b: side{"https://h/a%3Cb%3E/z%C3%BCrich", "", ""}, same: true},
		{name: "a path with another escape", a: side{"https://h/a%2Fb", "", ""}, b: side{"https://h/a/b", "", ""}},
		{name: "query in another order", a: side{"https://h/p?a=1&b=2", "", ""}, b: side{"https://h/p?b=2&a=1", "", ""},
			same: true},
		{name: "query", a: side{"https://h/p?a=1", "", ""}, b: side{"https://h/p?a=2", "", ""}},
		{name: "query ignored", a: side{"https://h/p?a=1&t=1", "", ""}, b: side{"https://h/p?t=2&a=1", "", ""},
			ignore: []string{"query.t"}, same: true},
		{name: "default port and case", a: side{"https://H:443/p", "", ""}, b: side{"https://h/p", "", ""}, same: true},
		{name: "host", a: side{"https://h/p", "", ""}, b: side{"https://g/p", "", ""}},
		{name: "forms", a: form("b=2&a=1"), b: form("a=1&b=2"), same: true},
		{name: "form values", a: form("a=1"), b: form("a=2")},
		{name: "form ignored", a: form("a=1"), b: form("a=2"), ignore: []string{"a"}, same: true},
		{name: "lines", a: js("{\"a\":1}\n{\"b\":2}\n"), b: js("{ \"a\":1}\n{\"b\":2}"), same: true},
		{name: "lines that differ", a: js("{\"a\":1}\n{\"b\":2}\n"), b: js("{\"a\":1}\n{\"b\":3}\n")},
		{name: "multipart boundaries", a: side{"https://h/p", "multipart/form-data; boundary=aa",
			"--aa\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--aa--\r\n"}, b: side{"https://h/p",
			"multipart/form-data; boundary=bb",
			"--bb\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--bb--\r\n"}, same: true},
		{name: "multipart values", a: side{"https://h/p", "multipart/form-data; boundary=aa",
			"--aa\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--aa--\r\n"}, b: side{"https://h/p",
			"multipart/form-data; boundary=bb", "--bb\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n2\r\n--bb--\r\n"}},
		{name: "bytes", a: side{"https://h/p", "application/octet-stream", "\x00\x01"},
			b: side{"https://h/p", "application/octet-stream", "\x00\x02"}},
	} {
		m, err := New(Options{Ignore: c.ignore, Exact: c.exact})
		if err != nil {
			t.Fatal(err)
		}
		q := func(s side) *Request {
			return &Request{"POST", s.url, http.Header{"Content-Type": {s.contentType}}, s.body}
		}
		if got := m.Key(q(c.a)) == m.Key(q(c.b)); got != c.same {
			t.Errorf("%s: same is %v", c.name, got)
		}
		if ds := m.Compare(q(c.a), q(c.b)).Differences; (len(ds) == 0) != c.same {
			t.Errorf("%s: differences %v", c.name, ds)
		}
	}
}

// TestRules checks that invalid rules are refused.
func TestRules(t *testing.T) {
	for _, bad := range []string{"", "body.", "query.", "x=banana", "cookie.a", "body..a"} {
		if _, err := parseRule(bad); err == nil {
			t.Errorf("%q is taken for a rule", bad)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"body.a[*].b", "body.**.c=time", "query.x", "header.X-Y", "name", "body.a[0][1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseRule(s)
		if err == nil {
			r.matches([]string{"a", "[0]", "b"})
		}
	})
}

// TestDrift compares answers by shape.
func TestDrift(t *testing.T) {
	for _, c := range []struct {
		was, now string
		want     []string
	}{
		{`{"a":1,"b":[{"c":"x"}]}`, `{"a":2,"b":[{"c":"y"},{"c":"z"}]}`, nil},
		{`{"a":1}`, `{"a":"1"}`, []string{"body.a: recorded number, sent string"}},
		{`{"a":1}`, `{"b":1}`, []string{"body.a: recorded number, sent (absent)", "body.b: recorded (absent), sent number"}},
		{`{"a":null}`, `{"a":1}`, nil},
		{`{}`, `<html>`, []string{"body: recorded JSON, sent text"}},
		{`ok`, `fine`, nil},
	} {
		var got []string
		for _, d := range Drift(200, c.was, 200, c.now) {
			got = append(got, d.String())
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s to %s: %q, want %q", c.was, c.now, got, c.want)
		}
	}
	if ds := Drift(200, "", 429, ""); len(ds) != 1 || ds[0].Path != "status" {
		t.Errorf("%v", ds)
	}
}
