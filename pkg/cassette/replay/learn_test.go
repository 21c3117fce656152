package replay

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

// conversation returns interactions in which an answer names a token. The token is used
// in every possible place, and once before the answer.
func conversation(token string) []*cassette.Interaction {
	ask := func(method, url, contentType, body, answer string) *cassette.Interaction {
		i := sample.Order()
		i.Request.Method, i.Request.URL, i.Request.Body, i.Response.Body = method, url, body, answer
		i.Request.Headers = http.Header{"Content-Type": {contentType}}
		return i
	}
	const js = "application/json"
	list := []*cassette.Interaction{
		ask("POST", "https://id.shop.example/trace", js, `{"seen":"`+token+`"}`, `{}`),
		ask("POST", "https://id.shop.example/login", js, `{"user":"ada","password":"correct-horse-7"}`,
			`{"access_token":"`+token+`","auth":{"client":"web","scopes":["read","write"],"expires":3600}}`),
		ask("GET", "https://api.shop.example/v1/sessions/"+token+"/orders", "", "", `{"orders":[]}`),
		ask("GET", "https://api.shop.example/v1/orders?ticket="+token, "", "",
			`{"next":"https://api.shop.example/v1/orders?ticket=`+token+`&page=2"}`),
		ask("POST", "https://api.shop.example/v1/orders", js, `{"note":"as `+token+` said","id":7}`, `{"ok":true}`),
		ask("POST", "https://api.shop.example/v1/form", "application/x-www-form-urlencoded", "who="+token+"&x=1", `ok`),
		ask("POST", "https://api.shop.example/v1/again", js, `{"confirm":"correct-horse-7"}`, `{}`),
	}
	list[4].Request.Headers.Set("Cookie", "theme=dark; ticket="+token)
	list[4].Request.Headers.Set("X-Trace", "by "+token)
	return list
}

// TestNamedOnceSecretEverywhere checks that a token which one answer names is redacted
// everywhere, before and after that answer. A client gets its answers from the cassette
// with the redaction token as well as with the real value.
func TestNamedOnceSecretEverywhere(t *testing.T) {
	const token, key = "Zk3-9fXq77Lm.2201", "a key of some length"
	red := sample.Redactor(key)
	c := &cassette.Cassette{Path: filepath.Join(t.TempDir(), "c.yaml"), Interactions: conversation(token)}
	for _, i := range c.Interactions {
		red.Interaction(i)
	}
	if err := c.Save(red); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), token) || strings.Contains(string(data), "correct-horse") {
		t.Fatalf("it survives:\n%s", data)
	}
	want := `"auth":{"client":"web","scopes":["read","write"],"expires":3600}`
	if got := c.Interactions[1].Response.Body; !strings.Contains(got, want) {
		t.Errorf("what stands below auth is gone: %s", got)
	}
	stand := redact.Tokens(c.Interactions[1].Response.Body, 1)[0].Text
	for name, sent := range map[string]string{"its token": stand, "the real value": token} {
		p, err := New([]*cassette.Cassette{c}, Options{Redactor: sample.Redactor(key)})
		if err != nil {
			t.Fatal(err)
		}
		for n, i := range conversation(sent) {
			if _, err := p.Answer("", match.Recorded(i)); err != nil {
				t.Errorf("a client with %s, request %d: %v", name, n, err)
			}
		}
	}
}
