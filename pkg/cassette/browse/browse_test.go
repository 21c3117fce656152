package browse

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

func browsed() *Browser {
	i := sample.Order()
	i.Request.URL = "https://api.shop.example/v1/orders?api_key=hunter2hunter2hunter2"
	i.Request.Headers["Authorization"] = []string{"Bearer hunter2hunter2hunter2"}
	i.Request.Body = `{"b":[1.50,{"email":"ada.lovelace@analytical-engines.co.uk"}],"note":"<img src=x onerror=alert(1)>"}`
	sample.Redactor("k").Interaction(i)
	form := sample.Order()
	form.Request.Headers["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	form.Request.Body, form.Response.Body = "a=1&b=%3Cscript%3E", "\x00\xff\x01"
	return New([]*cassette.Cassette{{Path: "c/order.yaml", Interactions: []*cassette.Interaction{i, form},
		Meta: cassette.Meta{Provenance: "recorded: live"}}}, []*replay.Miss{{Method: "GET", URL: "https://api.shop.example/x",
		Why: "because"}})
}

func browse(t *testing.T, host, method, path string) (int, http.Header, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "http://"+host+path, nil)
	browsed().ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.String()
}

// TestBrowse checks that bodies are formatted, and that redactions are listed with
// place and reason.
func TestBrowse(t *testing.T) {
	code, _, body := browse(t, "127.0.0.1:1", "GET", "/interaction?cassette=0&n=0")
	var i shownInteraction
	if err := json.Unmarshal([]byte(body), &i); err != nil || code != 200 {
		t.Fatalf("%d %s %v", code, body, err)
	}
	if i.Request.Form != "JSON" || !strings.Contains(i.Request.Body, "\n    1.50,\n") {
		t.Errorf("%s: %s", i.Request.Form, i.Request.Body)
	}
	var said []string
	for _, r := range i.Redacted {
		said = append(said, r.Place+": "+r.Why)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"address: its name or its header says", "request header Authorization: ",
		"request body $.b[1].email: an address of email"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	_, _, body = browse(t, "127.0.0.1:1", "GET", "/interaction?cassette=0&n=1")
	if err := json.Unmarshal([]byte(body), &i); err != nil || i.Request.Body != "a=1\nb=<script>" ||
		i.Request.Form != "form" || i.Response.Form != "bytes" || !strings.HasPrefix(i.Response.Body, "00000000  00 ff 01") {
		t.Errorf("%v %+v", err, i)
	}
	for path, want := range map[string]string{"/list": `"redacted":3`, "/misses": `"why":"because"`,
		"/": "<!doctype html>"} {
		if code, _, body := browse(t, "localhost:1", "GET", path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

// TestBrowseIsNobodyElses checks that only the names of this machine are answered, that
// nothing can be changed, and that no content of a cassette is run as part of the page.
func TestBrowseIsNobodyElses(t *testing.T) {
	for _, c := range []struct {
		host, method, path string
		want               int
	}{
		{"evil.example:1", "GET", "/list", 403}, {"127.0.0.1.evil.example", "GET", "/", 403},
		{"127.0.0.1:1", "POST", "/list", 405},
		{"127.0.0.1:1", "GET", "/nothing", 404}, {"127.0.0.1:1", "GET", "/interaction?cassette=1&n=0", 404},
		{"127.0.0.1:1", "GET", "/interaction?cassette=0&n=-1", 404},
		{"[::1]:1", "GET", "/list", 200},
	} {
		if code, _, _ := browse(t, c.host, c.method, c.path); code != c.want {
			t.Errorf("%s %s at %s: %d, want %d", c.method, c.path, c.host, code, c.want)
		}
	}
	_, h, page := browse(t, "127.0.0.1:1", "GET", "/")
	if policy := h.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") ||
		strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	if m := regexp.MustCompile(
		`innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|https?://|//[a-z]+\.`).FindString(page); m != "" {
		t.Errorf("the page has %q in it", m)
	}
}
