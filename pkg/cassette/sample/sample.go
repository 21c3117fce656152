// Package sample has what the tests of pkg/cassette and of the packages below it share. Nothing else uses it.
package sample

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// Redactor returns a redactor without rules of a user.
func Redactor(key string, secrets ...redact.Secret) *redact.Redactor {
	r, err := redact.New([]byte(key), secrets, redact.Options{})
	if err != nil {
		panic(err) // cannot fail without rules
	}
	return r
}

// Order is an interaction without secrets.
func Order() *redact.Interaction {
	return &redact.Interaction{
		Request: vcr.Request{Method: "POST", URL: "https://api.shop.example/v1/orders?x=1",
			Headers: http.Header{"Content-Type": {"application/json"}}, Form: url.Values{}, Body: `{"a":1}`},
		Response: vcr.Response{Code: 200, Status: "200 OK", Headers: http.Header{"Content-Type": {"application/json"}},
			Body: `{"ok":true}`},
	}
}

// Events returns n interactions that send an event each, to one address.
func Events(n int) (out []*redact.Interaction) {
	for k := range n {
		i := Order()
		i.Request.URL, i.Response.Body = "https://api.shop.example/v1/track", fmt.Sprintf(`{"ok":true,"n":%d}`, k)
		i.Request.Body = fmt.Sprintf(`{"event":"Order Completed","messageId":"m-%d","userId":"u-%d","properties":{"total":%d,`+
			`"currency":"EUR","note":"%s","products":[{"sku":"G-%d","quantity":%d}]},"context":{"ip":"81.2.69.142",`+
			`"locale":"en-GB","page":{"path":"/checkout/%d"}}}`, k, k, k, strings.Repeat("lorem ipsum ", 12), k, k%7, k)
		out = append(out, i)
	}
	return out
}

// Answer is a whole answer.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Ask sends a request, with headers as names and values in turn, and reads the answer to its end.
func Ask(t testing.TB, rt http.RoundTripper, method, address, contentType string, body []byte,
	header ...string) Answer {
	t.Helper()
	req, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for n := 0; n+1 < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, address, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{resp.StatusCode, resp.Header, data}
}
