package cassette

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
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
		m, err := NewMatching(c.ignore, c.exact)
		if err != nil {
			t.Fatal(err)
		}
		q := func(s side) *Request {
			return &Request{"POST", s.url, http.Header{"Content-Type": {s.contentType}}, s.body}
		}
		if got := m.canon(q(c.a), false).key == m.canon(q(c.b), false).key; got != c.same {
			t.Errorf("%s: same is %v", c.name, got)
		}
		if ds := m.Compare(q(c.a), q(c.b)); (len(ds) == 0) != c.same {
			t.Errorf("%s: differences %v", c.name, ds)
		}
	}
}

// TestRules checks that invalid rules are refused.
func TestRules(t *testing.T) {
	for _, bad := range []string{"", "body.", "query.", "x=banana", "cookie.a", "body..a"} {
		if _, err := ParseRule(bad); err == nil {
			t.Errorf("%q is taken for a rule", bad)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"body.a[*].b", "body.**.c=time", "query.x", "header.X-Y", "name", "body.a[0][1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRule(s)
		if err == nil {
			r.matches([]string{"a", "[0]", "b"})
		}
	})
}

func interactions(n int) []*Interaction {
	var out []*Interaction
	for k := range n {
		body := fmt.Sprintf(`{"event":"Order Completed","messageId":"m-%d","userId":"u-%d","properties":{"total":%d,"currency":"EUR","note":"%s","products":[{"sku":"G-%d","quantity":%d}]},"context":{"ip":"81.2.69.142","locale":"en-GB","page":{"path":"/checkout/%d"}}}`, k, k, k, strings.Repeat("lorem ipsum ", 12), k, k%7, k)
		out = append(out, &Interaction{
			Request: vcr.Request{Method: "POST", URL: "https://api.shop.example/v1/track",
				Headers: http.Header{"Content-Type": {"application/json"}}, Body: body},
			Response: vcr.Response{Code: 200, Status: "200 OK", Headers: http.Header{"Content-Type": {"application/json"}},
				Body: fmt.Sprintf(`{"ok":true,"n":%d}`, k)},
		})
	}
	return out
}

func replayerOf(t testing.TB, list []*Interaction, o ReplayOptions) *Replayer {
	t.Helper()
	p, err := NewReplayer([]*Cassette{{Path: "shop/order.yaml", Interactions: list}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestMiss checks that the nearest recorded request comes first, with all differing
// fields and the rule with which it would match, and that no secret is shown.
func TestMiss(t *testing.T) {
	p := replayerOf(t, interactions(100),
		ReplayOptions{Redactor: newRedactor([]byte("k"), []redact.Secret{{Name: "S", Value: "hunter2hunter2"}})})
	q := recorded(interactions(100)[42])
	q.Body = strings.Replace(q.Body, `"total":42`, `"total":4200`, 1)
	q.URL += "?api_key=hunter2hunter2"
	_, err := p.Answer("", q)
	m, ok := err.(*Miss)
	if !ok || len(m.Nearest) != 3 {
		t.Fatalf("%v", err)
	}
	near := m.Nearest[0]
	if near.Interaction != 42 {
		t.Errorf("nearest is %+v", near)
	}
	q.URL = strings.TrimSuffix(q.URL, "?api_key=hunter2hunter2")
	_, err = p.Answer("", q)
	text := err.Error()
	for _, want := range []string{"interaction 42", "body.properties.total: recorded 42, sent 4200",
		"--ignore body.properties.total"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	for _, miss := range p.Usage().Missed {
		if strings.Contains(miss.Error(), "hunter2") {
			t.Errorf("the report holds a secret:\n%s", miss.Error())
		}
	}
	// With this rule it matches.
	p = replayerOf(t, interactions(100), ReplayOptions{Ignore: []string{"body.properties.total"}})
	if i, err := p.Answer("", q); err != nil || i.Response.Body != `{"ok":true,"n":42}` {
		t.Errorf("%v %v", i, err)
	}
}

// TestCases checks that each case has cursors of its own, and that the name of a
// cassette selects it.
func TestCases(t *testing.T) {
	one, two := interactions(1), interactions(1)
	two[0].Response.Body = "two"
	p, err := NewReplayer([]*Cassette{{Path: "shop/one.yaml", Interactions: one},
		{Path: "shop/two.yaml", Interactions: two}}, ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	q := recorded(one[0])
	for _, c := range []struct{ name, want string }{{"two", "two"}, {"two#a", "two"}, {"two#b", "two"},
		{"one", `{"ok":true,"n":0}`}, {"", `{"ok":true,"n":0}`}, {"", "two"}, {"worker-7", `{"ok":true,"n":0}`}} {
		i, err := p.Answer(c.name, q)
		if err != nil || i.Response.Body != c.want {
			t.Errorf("case %q: %v %v, want %s", c.name, i, err, c.want)
		}
	}
	if _, err := p.Answer("two#a", q); err == nil {
		t.Error("a case answers twice")
	}
}

// TestForeignKey checks that tokens are compared by their place if the recording's key
// is missing: equal tokens still have to be equal.
func TestForeignKey(t *testing.T) {
	there := newRedactor([]byte("there"), nil)
	i := plainly()
	i.Request.Body = `{"from":"a@real.io","to":"b@real.io","again":"a@real.io"}`
	q := recorded(i)
	q.Header = i.Request.Headers.Clone()
	there.Interaction(i)
	c := &Cassette{Path: "c.yaml", Interactions: []*Interaction{i}, Meta: Meta{Key: there.Fingerprint()}}
	p, err := NewReplayer([]*Cassette{c}, ReplayOptions{Redactor: newRedactor([]byte("here"), nil)})
	if err != nil || !p.Foreign() {
		t.Fatal(err, p.Foreign())
	}
	other := q
	other.Body = `{"from":"a@real.io","to":"b@real.io","again":"b@real.io"}`
	if _, err := p.Answer("", other); err == nil {
		t.Error("another pattern of equal values matches")
	}
	if _, err := p.Answer("", q); err != nil {
		t.Error(err)
	}
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

// TestHAR writes a HAR file and reads it again.
func TestHAR(t *testing.T) {
	i := plainly()
	i.Request.Body, i.Response.Body = "\x00\xff", `{"ok":true}`
	i.Response.Duration = 12 * time.Millisecond
	c := &Cassette{Interactions: append(interactions(3), i), Meta: Meta{Date: "2026-11-23"}}
	data, err := c.HAR("fanfold 1.0")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ImportHAR(data)
	if err != nil {
		t.Fatal(err)
	}
	back := got.Interactions
	if len(back) != 4 {
		t.Fatalf("%d interactions", len(back))
	}
	for n, b := range back {
		a := c.Interactions[n]
		if a.Request.Body != b.Request.Body || a.Request.URL != b.Request.URL || a.Response.Body != b.Response.Body ||
			a.Response.Status != b.Response.Status || a.Response.Duration != b.Response.Duration ||
			!reflect.DeepEqual(a.Response.Headers, b.Response.Headers) {
			t.Errorf("%d: %+v became %+v", n, a, b)
		}
	}
}

// TestImportV4 reads what go-vcr v4 writes.
func TestImportV4(t *testing.T) {
	got, err := ImportV4([]byte(`---
version: 2
interactions:
    - id: 0
      request:
        proto: HTTP/1.1
        proto_major: 1
        proto_minor: 1
        content_length: 7
        transfer_encoding: []
        trailer: {}
        host: api.shop.example
        remote_addr: ""
        request_uri: ""
        body: '{"a":1}'
        form: {}
        headers:
            Content-Type:
                - application/json
        url: https://api.shop.example/v1/x
        method: POST
      response:
        proto: HTTP/2.0
        proto_major: 2
        proto_minor: 0
        transfer_encoding: []
        trailer: {}
        content_length: 2
        uncompressed: true
        body: ok
        headers:
            Content-Type:
                - text/plain
        status: 200 OK
        code: 200
        duration: 12.5ms
`))
	if err != nil {
		t.Fatal(err)
	}
	list := got.Interactions
	if len(list) != 1 || list[0].Request.Body != `{"a":1}` || list[0].Response.Body != "ok" ||
		list[0].Response.Duration != 12500*time.Microsecond {
		t.Errorf("%+v", list[0])
	}
	if _, err := ImportV4([]byte("version: 1\ninteractions: []\n")); err == nil {
		t.Error("format 1 is taken for format 2")
	}
}

// TestLoadRefuses checks the errors for files that are no cassettes.
func TestLoadRefuses(t *testing.T) {
	for text, want := range map[string]string{"version: 2\ninteractions: []\n": "import go-vcr-v4",
		"version: 9\n": "version 9", "a: [": "is no cassette", "a: b\n": "is no cassette",
		"version: 1\ninteractions:\n- null\n": "interaction 0 is empty"} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzImport(f *testing.F) {
	c := &Cassette{Interactions: interactions(1)}
	if data, err := c.HAR("x"); err == nil {
		f.Add(data)
	}
	f.Add([]byte("version: 2\ninteractions:\n- request: {url: x}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		red := newRedactor(nil, nil)
		for _, read := range []func([]byte) (*Imported, error){ImportHAR, ImportV4} {
			list, err := read(data)
			if err != nil {
				continue
			}
			for _, i := range list.Interactions {
				red.Interaction(i)
			}
		}
	})
}

// BenchmarkLookup takes the same time for 100 and for 10,000 interactions. raw is a
// request that is equal byte for byte, canonical one with another message id.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		list := interactions(n)
		for _, way := range []string{"raw", "canonical"} {
			b.Run(fmt.Sprintf("%s/%d", way, n), func(b *testing.B) {
				p := replayerOf(b, list, ReplayOptions{Redactor: newRedactor([]byte("k"), nil)})
				qs := make([]Request, n)
				for k, i := range list {
					qs[k] = recorded(i)
					if way == "canonical" {
						qs[k].Body = strings.Replace(qs[k].Body, `"messageId":"m-`, `"messageId":"n-`, 1)
					}
				}
				k := 0
				for b.Loop() {
					if k == n {
						b.StopTimer()
						p.Reset("")
						k = 0
						b.StartTimer()
					}
					if _, err := p.Answer("", qs[k]); err != nil {
						b.Fatal(err)
					}
					k++
				}
			})
		}
	}
}

// BenchmarkMiss measures the report of a miss with 10,000 interactions of one address.
func BenchmarkMiss(b *testing.B) {
	p := replayerOf(b, interactions(10000), ReplayOptions{})
	q := recorded(interactions(10000)[4242])
	q.Body = strings.Replace(q.Body, `"total":4242`, `"total":1`, 1)
	for b.Loop() {
		if _, err := p.Answer("", q); err == nil {
			b.Fatal("it matched")
		}
	}
}

// BenchmarkLoad reads and indexes 10,000 interactions.
func BenchmarkLoad(b *testing.B) {
	c := &Cassette{Path: filepath.Join(b.TempDir(), "c.yaml"), Interactions: interactions(10000)}
	if err := c.Save(newRedactor(nil, nil)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		back, err := Load(c.Path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := NewReplayer([]*Cassette{back}, ReplayOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkServe measures the whole server with 16 clients on the same processors. The
// requests match in their canonical form.
func BenchmarkServe(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := interactions(n)
			p := replayerOf(b, list, ReplayOptions{Repeat: "cycle", Redactor: newRedactor([]byte("k"), nil)})
			u, err := url.Parse("https://api.shop.example")
			if err != nil {
				b.Fatal(err)
			}
			server := httptest.NewServer(Reverse([]Upstream{{"shop", u}}, p, nil, nil))
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
			var next atomic.Int64
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for {
						k := int(next.Add(1)) - 1
						if k >= b.N {
							return
						}
						body := strings.Replace(list[k%n].Request.Body, `"messageId":"m-`, `"messageId":"n-`, 1)
						began := time.Now()
						resp, err := client.Post(server.URL+"/v1/track", "application/json", strings.NewReader(body))
						if err != nil {
							b.Error(err)
							return
						}
						_, err = io.Copy(io.Discard, resp.Body)
						took[k] = time.Since(began)
						if resp.Body.Close(); err != nil || resp.StatusCode != 200 {
							b.Errorf("%d %v", resp.StatusCode, err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		})
	}
}
