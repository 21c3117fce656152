package redact

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"go.yaml.in/yaml/v3"
)

// planted are secrets of every kind, in their usual form. None is real.
var planted = map[string]string{
	"the run's own":  "s3cr3t/v@lue+of=run",
	"jwt":            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
	"stripe":         "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
	"github":         "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
	"slack":          "xoxb-" + "123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx",
	"slack webhook":  "https://hooks.slack.com/services/" + "T0ABCDEFG/B0ABCDEFG/abcdefghijklmnopqrstuvwx",
	"aws":            "AKIA" + "QYLPMN5HHHFPZAM2",
	"google":         "AIza" + "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
	"sendgrid":       "SG." + "ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr",
	"hubspot":        "pat-na1-" + "1b2c3d4e-5f60-7a8b-9c0d-1e2f3a4b5c6d",
	"shopify":        "shpat_" + "0123456789abcdef0123456789abcdef",
	"email":          "ada.lovelace@analytical-engines.co.uk",
	"phone":          "+442079460958",
	"pem":            "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA1234\n-----END RSA PRIVATE KEY-----",
	"telegram":       "123456789:AA" + "HdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0",
	"bearer in text": "Authorization: Bearer abcdef0123456789abcdef",
}

// needle is the part of a planted secret that must not survive.
func needle(kind, s string) string {
	switch kind {
	case "slack webhook":
		return "T0ABCDEFG/B0ABCDEFG"
	case "bearer in text":
		return "abcdef0123456789abcdef"
	case "pem":
		return "MIIEowIBAAKCAQEA1234"
	}
	return s
}

// redactor returns a redactor without user's rules.
func redactor(key []byte, secrets []Secret) *Redactor {
	r, err := New(key, secrets, Options{})
	if err != nil {
		panic(err) // cannot fail without rules
	}
	return r
}

// unescape undoes one layer of escapes.
func unescape(s string) string {
	if v, ok := undo(s, false); ok {
		return v.text
	}
	return s
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func quoted(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func multi(t *testing.T, name, value string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.WriteField("plain", "value"); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteField(name, value); err != nil {
		t.Fatal(err)
	}
	f, err := w.CreateFormFile("upload", "events.json")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, `{"note":%s}`, quoted(value))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

func ordinary() *Interaction {
	return &Interaction{
		Request: vcr.Request{Method: "POST", URL: "https://api.shop.example/v1/orders?x=1",
			Headers: http.Header{"Content-Type": {"application/json"}}, Form: url.Values{}, Body: `{"a":1}`},
		Response: vcr.Response{Code: 200, Status: "200 OK", Headers: http.Header{"Content-Type": {"application/json"}},
			Body: `{"ok":true}`},
	}
}

// places are where a secret can be.
func places(t *testing.T, kind, s string) map[string]*Interaction {
	out := map[string]*Interaction{}
	at := func(name string, f func(*Interaction)) {
		i := ordinary()
		f(i)
		out[name] = i
	}
	oneLine := !strings.Contains(s, "\n")
	if oneLine {
		at("request header", func(i *Interaction) { i.Request.Headers.Set("X-Note", s) })
		at("response header", func(i *Interaction) { i.Response.Headers.Set("X-Note", s) })
		at("authorization", func(i *Interaction) { i.Request.Headers.Set("Authorization", "Bearer "+s) })
		at("basic", func(i *Interaction) {
			i.Request.Headers.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("user:"+s)))
		})
		at("cookie", func(i *Interaction) { i.Request.Headers.Set("Cookie", "a=1; sid="+url.QueryEscape(s)) })
		at("set-cookie", func(i *Interaction) {
			i.Response.Headers.Set("Set-Cookie", "sid="+url.QueryEscape(s)+"; Path=/; HttpOnly")
		})
		at("redirect", func(i *Interaction) {
			i.Response.Code, i.Response.Status = 302, "302 Found"
			i.Response.Headers.Set("Location", "https://login.shop.example/cb?state=1&code="+url.QueryEscape(s))
		})
		at("status line", func(i *Interaction) { i.Response.Status = "400 " + s })
	}
	at("query", func(i *Interaction) { i.Request.URL += "&note=" + url.QueryEscape(s) })
	at("query by name", func(i *Interaction) { i.Request.URL += "&api_key=" + url.QueryEscape(s) })
	if !strings.ContainsAny(s, "/\n ") {
		at("path", func(i *Interaction) { i.Request.URL = "https://api.shop.example/v1/" + s + "/orders" })
	}
	at("form", func(i *Interaction) {
		i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
		i.Request.Body = "a=1&note=" + url.QueryEscape(s)
		i.Request.Form = url.Values{"a": {"1"}, "note": {s}}
	})
	at("form by name", func(i *Interaction) {
		i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
		i.Request.Body = "a=1&client_secret=" + url.QueryEscape(s)
		i.Request.Form = url.Values{"a": {"1"}, "client_secret": {s}}
	})
	at("json", func(i *Interaction) { i.Request.Body = `{"batch":[{"properties":{"note":` + quoted(s) + `}}]}` })
	at("json in text", func(i *Interaction) { i.Request.Body = `{"note":` + quoted("call "+s+" now") + `}` })
	at("json by name", func(i *Interaction) { i.Request.Body = `{"auth":{"access_token":[` + quoted(s) + `]}}` })
	at("json in json", func(i *Interaction) { i.Request.Body = `{"payload":` + quoted(`{"note":`+quoted(s)+`}`) + `}` })
	at("json lines", func(i *Interaction) { i.Request.Body = "{\"a\":1}\n{\"note\":" + quoted(s) + "}\n" })
	at("json key", func(i *Interaction) { i.Request.Body = `{"map":{` + quoted(s) + `:1}}` })
	at("base64 of json", func(i *Interaction) {
		i.Request.Body = `{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"note":`+quoted(s)+`}`)) + `"}`
	})
	at("base64 in form", func(i *Interaction) {
		i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
		v := base64.StdEncoding.EncodeToString([]byte(`[{"note":` + quoted(s) + `}]`))
		i.Request.Body, i.Request.Form = "data="+url.QueryEscape(v), url.Values{"data": {v}}
	})
	at("gzip", func(i *Interaction) { i.Request.Body = zipped(`{"note":` + quoted(s) + `}`) })
	at("gzip in base64", func(i *Interaction) {
		i.Request.Body = `{"z":"` + base64.StdEncoding.EncodeToString([]byte(zipped(`{"note":`+quoted(s)+`}`))) + `"}`
	})
	at("multipart", func(i *Interaction) {
		ct, body := multi(t, "note", s)
		i.Request.Headers.Set("Content-Type", ct)
		i.Request.Body = body
	})
	at("multipart by name", func(i *Interaction) {
		ct, body := multi(t, "password", s)
		i.Request.Headers.Set("Content-Type", ct)
		i.Request.Body = body
	})
	at("response body", func(i *Interaction) { i.Response.Body = `{"user":{"contact":` + quoted(s) + `}}` })
	at("error page", func(i *Interaction) {
		i.Response.Code = 500
		i.Response.Headers.Set("Content-Type", "text/html")
		i.Response.Body = "<html><pre>Traceback: request failed for " + s + "</pre></html>"
	})
	return out
}

// forms are the ways in which a file may hold a text.
func forms(s string) []string {
	b64 := base64.RawStdEncoding.EncodeToString([]byte(s))
	return []string{s, url.QueryEscape(s), strings.Trim(quoted(s), `"`), b64}
}

// TestPlantedSecrets puts every secret in every place. None may survive, and the gate
// has to refuse each one that was not redacted.
func TestPlantedSecrets(t *testing.T) {
	red := redactor([]byte("key"), []Secret{{Name: "RUN_SECRET", Value: planted["the run's own"]}})
	n := 0
	for kind, s := range planted {
		for place, i := range places(t, kind, s) {
			n++
			// A password may be any text, so only names announce it.
			if leaks := red.Scan(0, i); len(leaks) == 0 {
				t.Errorf("%s in %s passes the gate", kind, place)
			}
			red.Interaction(i)
			data, err := yaml.Marshal(i)
			if err != nil {
				t.Fatal(err)
			}
			if leaks := red.ScanFiles(red.Scan(0, i), data, nil); len(leaks) > 0 {
				t.Errorf("%s in %s, redacted: %v\n%+v", kind, place, leaks, i)
				continue
			}
			all := string(data)
			// Folded and compressed texts.
			all += strings.ReplaceAll(strings.ReplaceAll(all, "\n      ", " "), "\n    ", " ")
			all += i.Request.Body + i.Response.Body + i.Request.URL
			if plain, err := gunzip(i.Request.Body); err == nil {
				all += plain
			}
			for from, to := range base64Runs(i.Request.Body) {
				if plain, _, ok := unbase64(i.Request.Body[from:to]); ok {
					all += plain
					if deep, err := gunzip(plain); err == nil {
						all += deep
					}
				}
			}
			for _, form := range forms(needle(kind, s)) {
				if strings.Contains(all, form) {
					t.Errorf("%s in %s survives as %q:\n%s", kind, place, form, data)
				}
			}
			again := *i
			again.Request.Headers, again.Response.Headers = i.Request.Headers.Clone(), i.Response.Headers.Clone()
			red.Interaction(&again)
			if again.Request.URL != i.Request.URL || again.Request.Body != i.Request.Body && place != "gzip" ||
				again.Response.Body != i.Response.Body {
				t.Errorf("%s in %s: a second time changes more:\n%+v\n%+v", kind, place, i, again)
			}
		}
	}
	t.Logf("%d secrets", n)
}

// TestEqualStaysEqual checks that equal values have equal tokens, and that another key
// gives other tokens.
func TestEqualStaysEqual(t *testing.T) {
	a, b := redactor([]byte("one"), nil), redactor([]byte("two"), nil)
	body := `{"a":"x@real.io","b":"y@real.io","c":"x@real.io","token":"abcdefgh","other":{"token":"abcdefgh"}}`
	var v struct {
		A, B, C, Token string
		Other          struct{ Token string }
	}
	if err := json.Unmarshal([]byte(a.Text(body)), &v); err != nil {
		t.Fatal(err)
	}
	if v.A != v.C || v.A == v.B || v.Token != v.Other.Token || v.A == "x@real.io" {
		t.Errorf("redacted: %+v", v)
	}
	if a.Text(body) == b.Text(body) {
		t.Error("two keys give the same tokens")
	}
	if a.Fingerprint() == b.Fingerprint() {
		t.Error("two keys have the same fingerprint")
	}
}

// TestOrdinaryTraffic checks that ordinary traffic stays byte for byte the same, and
// passes the gate.
func TestOrdinaryTraffic(t *testing.T) {
	red := redactor([]byte("key"), []Secret{{Name: "RUN_SECRET", Value: planted["the run's own"]}})
	for _, body := range []string{
		`{"type":"track","event":"Order Completed","messageId":"0b8b2c1e-7a5e-4ad1-a0c3-0d2b0a2e5b6f","userId":"u-42","timestamp":"2024-05-29T10:00:00.000Z","properties":{"total":12.50,"currency":"EUR","id":12345678901234567890}}`,
		`{"next_page_token":"CAUQAA","tokens_used":512,"max_tokens":1024,"key":"value","keyboard":"qwerty","author":"me","monkey":"see"}`,
		`{"userAgent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"}`,
		`{"url":"https://www.example.com/a/b?q=shoes&utm_source=news#top","image":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}`,
		`{"email":"ada@example.com","phone":"+1 555-0142","sku":"G-32-XL","ip":"81.2.69.142","price":"1,234.50","range":"2024-01-01..2024-02-01"}`,
		"{ \"spaced\" : [ 1 , 2.50 , 1e3 ] ,\n\t\"unicode\": \"Zürich \\u00e9 \\ud83d\\ude00\" }",
		"name,value\na,1\nb,2\n",
		"<html><body><h1>Not Found</h1><p>The password: must be set.</p></body></html>",
		"\x00\x01\x02\xff\xfe binary \x80",
		`{"hash":"d41d8cd98f00b204e9800998ecf8427e","sha":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","etag":"\"686897696a7c876b7e\""}`,
		`{"message":"time +0000 and 2024-05-29T10:00:00+02:00, 1716976800000, +12"}`,
	} {
		i := ordinary()
		i.Request.Body, i.Response.Body = body, body
		i.Response.Headers.Set("Etag", `W/"abc"`)
		i.Response.Headers.Set("X-Request-Id", "0b8b2c1e-7a5e-4ad1-a0c3-0d2b0a2e5b6f")
		red.Interaction(i)
		if i.Request.Body != body {
			t.Errorf("changed:\n%s\n%s", body, i.Request.Body)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("refused: %v\n%s", leaks, body)
		}
	}
	for _, u := range []string{"https://api.shop.example/v1/orders/123?page=2&sort=-created",
		"http://127.0.0.1:8080/%E2%82%AC?a=b%20c&empty=&flag"} {
		if got := red.URL(u); got != u {
			t.Errorf("%s became %s", u, got)
		}
	}
}

// TestExamplesTakeThePlaceOfSecrets checks that secrets with an example are replaced by
// it, with which a conversation is then replayed.
func TestExamplesTakeThePlaceOfSecrets(t *testing.T) {
	red := redactor(nil, []Secret{{Name: "mp.token", Value: "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
		Example: "0123456789abcdef0123456789abcdef"}})
	i := ordinary()
	i.Request.Body = `[{"token":"9f8e7d6c5b4a39281706f5e4d3c2b1a0"}]`
	i.Request.URL += "&token=9f8e7d6c5b4a39281706f5e4d3c2b1a0"
	red.Interaction(i)
	if i.Request.Body != `[{"token":"0123456789abcdef0123456789abcdef"}]` || !strings.HasSuffix(i.Request.URL,
		"&token=0123456789abcdef0123456789abcdef") {
		t.Errorf("redacted: %+v", i.Request)
	}
	if leaks := red.Scan(0, i); len(leaks) > 0 {
		t.Error(leaks)
	}
}

// FuzzRedact redacts any text. It must not panic, the result has to pass the gate, and
// redacting it again must change nothing.
func FuzzRedact(f *testing.F) {
	for _, s := range planted {
		f.Add("application/json", quoted(map[string]string{"token": s, "x": s}))
		f.Add("application/x-www-form-urlencoded", "a="+url.QueryEscape(s)+"&password="+url.QueryEscape(s))
		f.Add("multipart/form-data; boundary=xx",
			"--xx\r\nContent-Disposition: form-data; name=\"secret\"\r\n\r\n"+s+"\r\n--xx--\r\n")
		f.Add("text/html", "<p>"+s+"</p>")
	}
	secrets := []Secret{{Name: "S", Value: "correct horse battery"}}
	base := redactor([]byte("key"), nil)
	f.Fuzz(func(t *testing.T, contentType, body string) {
		if len(body) > 1<<16 {
			return
		}
		red := *base // so that values learnt from one input do not affect the next
		red.known = newKnown(red.shapes)
		red.addSecrets(secrets)
		once := red.Body(contentType, body)
		if found := red.known.find(once); len(found) > 0 {
			t.Errorf("%v survives in %q", found, once)
		}
		if json.Valid([]byte(body)) && !json.Valid([]byte(once)) {
			t.Errorf("JSON became %q", once)
		}
		i := ordinary()
		i.Request.Headers.Set("Content-Type", contentType)
		i.Request.Body = once
		_ = red.Scan(0, i)
	})
}

// BenchmarkRedact measures what recording a batch of events costs.
func BenchmarkRedact(b *testing.B) {
	red := redactor([]byte("key"), []Secret{{Name: "S", Value: "correct horse battery"}})
	r := rand.New(rand.NewPCG(1, 2))
	var s strings.Builder
	s.WriteString("[")
	for n := range 50 {
		if n > 0 {
			s.WriteString(",")
		}
		fmt.Fprintf(&s,
			`{"event":"Order Completed","properties":{"time":%d,"distinct_id":"u-%d","$insert_id":"%016x-%016x","ip":"81.2.69.%d","$browser":"Chrome","$browser_version":"124.0.0.0","$current_url":"https://shop.example/checkout/%d?utm_source=news","total":12.5,"products":[{"sku":"G-%d","name":"Tent for two","quantity":1}]}}`, 1716976800000+n, n, r.Uint64(), r.Uint64(), n, n, n)
	}
	s.WriteString("]")
	body := s.String()
	b.SetBytes(int64(len(body)))
	b.Run("redact", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			red.Body("application/json", body)
		}
	})
	b.Run("gate", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			red.find(body, 0)
		}
	})
}

// valuesOf returns the values in a JSON text.
func valuesOf(s string) (values []any, ok bool) {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	for {
		var v any
		switch err := dec.Decode(&v); {
		case errors.Is(err, io.EOF):
			return values, len(values) > 0
		case err != nil:
			return nil, false
		}
		values = append(values, v)
	}
}
