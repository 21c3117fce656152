package cassette

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// newRedactor returns a redactor without user's rules.
func newRedactor(key []byte, secrets []redact.Secret) *redact.Redactor {
	r, err := NewRedactor(key, secrets, RedactOptions{})
	if err != nil {
		panic(err) // cannot fail without rules
	}
	return r
}

func plainly() *Interaction {
	return &Interaction{
		Request: vcr.Request{Method: "POST", URL: "https://api.shop.example/v1/orders?x=1",
			Headers: http.Header{"Content-Type": {"application/json"}}, Form: url.Values{}, Body: `{"a":1}`},
		Response: vcr.Response{Code: 200, Status: "200 OK", Headers: http.Header{"Content-Type": {"application/json"}},
			Body: `{"ok":true}`},
	}
}

// TestRulesOfTheUser checks that patterns and paths are redacted, and that allowed
// values stay.
func TestRulesOfTheUser(t *testing.T) {
	red, err := NewRedactor([]byte("a key of some length"), []redact.Secret{{Name: "URL_KEY",
		Value: "https://id.shop.example"}}, RedactOptions{
		Redact: []string{`sk_shop_\w+`, "body.card.owner", "body.items[*].note", "query.who", "header.X-Shop", "ip",
			"names"},
		Allow: []string{"https://id.shop.example", `public-\d+`},
	})
	if err != nil {
		t.Fatal(err)
	}
	i := plainly()
	i.Request.URL += "&who=somebody"
	i.Request.Headers.Set("X-Shop", "private words")
	i.Request.Body = `{"k":"see sk_shop_12ab34","card":{"owner":"me myself","brand":"visa"},"owner":"stays","items":[{"note":"a secret note"}],"from":"81.2.69.142","host":"127.0.0.1","doc":"192.0.2.7","firstName":"Ada","issuer":"https://id.shop.example","token":"public-12345"}`
	red.Interaction(i)
	for _, gone := range []string{"sk_shop_12ab34", "me myself", "a secret note", "81.2.69.142", "Ada", "somebody",
		"private words"} {
		if strings.Contains(i.Request.Body+i.Request.URL+i.Request.Headers.Get("X-Shop"), gone) {
			t.Errorf("%s survives: %+v", gone, i.Request)
		}
	}
	for _, stays := range []string{`"brand":"visa"`, `"owner":"stays"`, "127.0.0.1", "192.0.2.7",
		"https://id.shop.example", "public-12345"} {
		if !strings.Contains(i.Request.Body, stays) {
			t.Errorf("%s is gone: %s", stays, i.Request.Body)
		}
	}
	if leaks := red.Scan(0, i); len(leaks) > 0 {
		t.Error(leaks)
	}
	for _, bad := range []string{`(`, "a*", "body..x"} {
		if _, err := NewRedactor(nil, nil, RedactOptions{Redact: []string{bad}}); err == nil ||
			!strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestGateNamesThePlace checks that a leak names its place, and masks the value.
func TestGateNamesThePlace(t *testing.T) {
	red := newRedactor(nil, []redact.Secret{{Name: "API_KEY", Value: "hunter2hunter2"}})
	i := plainly()
	i.Response.Body = `{"users":[{"note":"fine"},{"note":"hunter2hunter2"}]}`
	c := &Cassette{Path: filepath.Join(t.TempDir(), "c.yaml"), Interactions: []*Interaction{plainly(), i}}
	err := c.Save(red)
	want := "interaction 1, response.body $.users[1].note: the value of API_KEY, hu******r2 (14 characters)"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if strings.Contains(err.Error(), "hunter2hunter2") {
		t.Error("the report holds the secret")
	}
	if entries, err := os.ReadDir(filepath.Dir(c.Path)); err != nil || len(entries) > 0 {
		t.Errorf("files were written: %v %v", entries, err)
	}
}

// TestLinesThatSayTheyAreWritten checks that the persons in a file of lines count as
// invented only if its first line says so.
func TestLinesThatSayTheyAreWritten(t *testing.T) {
	const said, person = `{"written":"from documentation"}` + "\n", `{"body":{"email":"eva.muster@mail.test-shop.com"}}` +
		"\n"
	for text, want := range map[string]bool{said + person: true, person + said: false, person: false} {
		path := filepath.Join(t.TempDir(), "requests.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		scan, err := ScanFile(newRedactor(nil, nil), path)
		if err != nil {
			t.Fatal(err)
		}
		if scan.Written != want || len(scan.Leaks) == 0 {
			t.Errorf("%s: written: %v, %d leaks", text, scan.Written, len(scan.Leaks))
		}
	}
}

// TestEveryLeakIsListed checks that one leak in a body does not hide the others.
func TestEveryLeakIsListed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	body := `{"user":"eva.muster@mail.test-shop.com","keys":{"a":"AKIA` + `QYLPMN5HHHFPZAM2"}}`
	log := "login of eva.muster@mail.test-shop.com\nwith password=Korrekt77-pferd\n"
	c := &Cassette{Path: path, Interactions: []*Interaction{plainly(), plainly(), plainly()}}
	c.Interactions[0].Response.Body, c.Interactions[1].Response.Body = body, log
	c.Interactions[2].Response.Body = `{"log":"a line\nlogin of ada.k@mail.test-shop.com\n","json":"{\"password\":\"Korrekt78-pferd\"}"}`
	data, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	scan, err := ScanFile(newRedactor(nil, nil), path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range scan.Leaks {
		got = append(got, fmt.Sprintf("%d %s %s", l.Interaction, l.Path, l.Kind))
	}
	want := []string{"0 response.body $.keys.a aws", "0 response.body $.user email", "1 response.body email",
		"1 response.body password", "2 response.body $.json $.password password", "2 response.body $.log email"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// answersItself records interactions, and checks that the same requests are answered.
func answersItself(t *testing.T, made func() []*Interaction) {
	t.Helper()
	c := &Cassette{Interactions: made()}
	redacted(c.Interactions...)
	p, err := NewReplayer([]*Cassette{c}, ReplayOptions{Redactor: newRedactor([]byte(someKey), nil)})
	if err != nil {
		t.Fatal(err)
	}
	for n, i := range made() {
		if _, err := p.Answer("", recorded(i)); err != nil {
			t.Errorf("request %d: %v", n, err)
		}
	}
}

const someKey = "a key of some length"

// redacted takes the secrets out of interactions, as a recording does.
func redacted(list ...*Interaction) *redact.Redactor {
	red := newRedactor([]byte(someKey), nil)
	for _, i := range list {
		red.Interaction(i)
	}
	red.Settle(list)
	return red
}

// TestEncodedLaterIsTheSameToken checks that a client gets its answer even if it sends
// the secret in another encoding than before.
func TestEncodedLaterIsTheSameToken(t *testing.T) {
	const secret = "Kq7Zt2MnV9xWb4RcYh6P"
	made := func() []*Interaction {
		a, b, c := plainly(), plainly(), plainly()
		a.Request.Body = `{"password":"` + secret + `"}`
		b.Request.Body = `{"x":"` + hex.EncodeToString([]byte(secret)) + `"}`
		c.Request.Headers.Set("Content-Type", "text/plain")
		c.Request.Body = "b64 " + base64.StdEncoding.EncodeToString([]byte(secret))
		d := plainly() // only the answer shows that the value in the request is secret
		d.Request.URL, d.Request.Body = "https://api.shop.example/v1/other", `{"x":"`+hex.EncodeToString([]byte(secret+"-2"))+
			`"}`
		d.Response.Body = `{"token":"` + secret + `-2"}`
		return []*Interaction{a, b, c, d}
	}
	answersItself(t, made)
}

// TestSecretThatIsAWord checks that a request is found again if its secret is a word that
// also stands elsewhere in it, as a value or as a name: when it is recorded, only the
// announced value is replaced.
func TestSecretThatIsAWord(t *testing.T) {
	made := func() (list []*Interaction) {
		for _, body := range []string{
			`username=admin&password=admin`, `{"username":"admin","password":"admin"}`, `{"password":"password"}`,
			`{"private_key":"private_key"}`, `{"password":"letmein","note":"letmein"}`, `{"email":"anna","password":"anna1"}`,
		} {
			i := plainly()
			if body[0] != '{' {
				i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			i.Request.Body = body
			list = append(list, i)
		}
		return list
	}
	answersItself(t, made)
}

// TestBase64StaysPadded checks that base64 in which a secret is replaced can still be
// decoded by programs that want padding.
func TestBase64StaysPadded(t *testing.T) {
	i := plainly()
	i.Response.Body = `{"policy":"` +
		base64.StdEncoding.EncodeToString([]byte(`{"x-amz-security-token":"FQoGZXIvYXdzEJq7Zx9Kp2Lm4Nw8RtYu3"}`)) + `"}`
	redacted(i)
	var got struct{ Policy string }
	if err := json.Unmarshal([]byte(i.Response.Body), &got); err != nil {
		t.Fatal(err)
	}
	plain, err := base64.StdEncoding.DecodeString(got.Policy)
	if err != nil || !strings.Contains(string(plain), "REDACTED:") {
		t.Errorf("%s: %s %v", got.Policy, plain, err)
	}
}

// TestImportedBodyIsAValue checks that the body which vcrpy writes as a value is not lost.
func TestImportedBodyIsAValue(t *testing.T) {
	got, err := importTree([]any{map[string]any{
		"request": map[string]any{"method": "POST", "uri": "https://api.shop.example/",
			"body": map[string]any{"hidden": true}},
		"response": map[string]any{"status": map[string]any{"code": 200}, "body": map[string]any{"string": "ok"}},
	}})
	if err != nil || len(got.Interactions) != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	if i := got.Interactions[0]; i.Request.Body != `{"hidden":true}` || i.Response.Body != "ok" {
		t.Errorf("%q, %q", i.Request.Body, i.Response.Body)
	}
}

// TestAnnouncedAddressInText checks that the gate takes the address that redaction puts
// into a text for a replaced one, whatever follows it.
func TestAnnouncedAddressInText(t *testing.T) {
	for _, text := range []string{"email: jane.doe@gmail.com.", "(e-mail: bob@shop-gmbh.de)!",
		"mail: ann@shop-gmbh.de?subject=x",
		"email: ann@shop-gmbh.de,", "email: ann@shop-gmbh.de, bob@shop-gmbh.de."} {
		i := plainly()
		i.Response.Body = `{"imprint":"` + text + `"}`
		red := redacted(i)
		if strings.Contains(i.Response.Body, "shop-gmbh") || strings.Contains(i.Response.Body, "gmail") {
			t.Errorf("%s: left is %s", text, i.Response.Body)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s: %s: %v", text, i.Response.Body, leaks)
		}
	}
}

// TestPlaceholdersPass checks that what redaction leaves, since it stands for a secret in
// an example, is no leak to the gate either.
func TestPlaceholdersPass(t *testing.T) {
	for _, c := range []struct{ header, value, url, body string }{
		{body: "Secret=%3Cstring%3E&a=1"}, {body: "token=%7B%7Btoken%7D%7D"}, {body: "password=%24%7BFOO%7D"},
		{url: "https://api.shop.example/x?Session=%3Cstring%3E"}, {header: "Token", value: "<string>"},
		{header: "X-Api-Key", value: "<abcd1234Z>"},
	} {
		i := plainly()
		if c.url != "" {
			i.Request.URL = c.url
		}
		if c.header != "" {
			i.Request.Headers.Set(c.header, c.value)
		}
		if c.body != "" {
			i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
			i.Request.Body = c.body
		}
		red := redacted(i)
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%+v: %v", c, leaks)
		}
	}
}
