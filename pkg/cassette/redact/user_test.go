package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
)

// TestRulesOfTheUser checks that patterns and paths are redacted, and that allowed
// values stay.
func TestRulesOfTheUser(t *testing.T) {
	red, err := New([]byte("a key of some length"), []Secret{{Name: "URL_KEY",
		Value: "https://id.shop.example"}}, Options{
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
	for _, bad := range []string{`(`, "a*", "body..x", "query.", "body.x=uuid", "body.x~[0-9]", "body.users{}"} {
		if _, err := New(nil, nil, Options{Redact: []string{bad}}); err == nil ||
			!strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

const someKey = "a key of some length"

// redacted takes the secrets out of interactions, as a recording does.
func redacted(list ...*Interaction) *Redactor {
	red := redactor([]byte(someKey), nil)
	for _, i := range list {
		red.Interaction(i)
	}
	red.Settle(list)
	return red
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
		{header: "X-Api-Key", value: "<abcd1234Z>"}, {header: "Authorization", value: "Bearer <REDACTED>"},
		{header: "Cookie", value: "sid=<REDACTED>; theme=${THEME}"}, {body: "auth=Basic+%3CREDACTED%3E"},
		{header: "X-Api-Key", value: "AKIAIOSFODNN7EXAMPLE"},
		{body: "secret_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"},
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
		was := fmt.Sprint(i.Request)
		red := redacted(i)
		if leaks := red.Scan(0, i); len(leaks) > 0 || fmt.Sprint(i.Request) != was {
			t.Errorf("%+v: %v, it becomes %+v", c, leaks, i.Request)
		}
		scan := red.ScanFile("c.yaml", []byte("request: {headers: {"+c.header+": '"+c.value+"'}}\n"))
		if len(scan.Leaks) > 0 {
			t.Errorf("%+v: in a file %v", c, scan.Leaks)
		}
	}
}

// TestNumbersBehindAPlus checks that a number of JSON in a form, whose blank is a plus there, is not taken for a
// phone number, and that phone numbers in the same places still are.
func TestNumbersBehindAPlus(t *testing.T) {
	for text, stays := range map[string]bool{
		`{"at":+1717236000123,"b":+1}`: true, `%7B%22at%22:+1717236000123%7D`: true,
		`%7B%22at%22%3A+1717236000123%2C%22b%22%3A+1%7D`: true,
		`{"to":"+4917612345678"}`:                        false, `tel:+4917612345678,`: false, `[+4917612345678]`: false,
		`{"phone":+4917612345678}`: false, `"to":+4917612345678 said`: false,
		`{"to":+4917612345678,"a":1}`: false, `{"mobile":"+4917612345679","cc":+4917612345678}`: false,
		`{"userId":+4917612345678,"user_id":+12125550123,"total":+4917612345}`: true, `{"n":+1717236000}`: true,
		`{"to":+12125560187}`: false,
	} {
		i := plainly()
		i.Request.URL += "&d=" + strings.ReplaceAll(text, " ", "+")
		i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
		i.Request.Body = "d=" + text
		i.Response.Headers.Set("Content-Type", "text/plain")
		i.Response.Body = text
		red := redacted(i)
		if strings.Contains(i.Response.Body, "REDACTED:phone") == stays {
			t.Errorf("%s becomes %s", text, i.Response.Body)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s: %v", text, leaks)
		}
		sent, _ := url.QueryUnescape(strings.TrimPrefix(i.Request.Body, "d="))
		if text[0] == '{' && !json.Valid([]byte(sent)) {
			t.Errorf("%s: no JSON any more: %s", text, sent)
		} else if strings.Contains(sent, "4917612345678") && !stays {
			t.Errorf("%s: in a form left is %s", text, sent)
		}
	}
}

// TestPlusOfAnAddress checks that the whole of an email address is replaced in a form, whether or not its plus was
// escaped there, and that a plus beside it is still a blank.
func TestPlusOfAnAddress(t *testing.T) {
	const address = "anna.lang+tag@shop-gmbh.de"
	of := func(form string) string {
		i := plainly()
		i.Request.URL += "&" + form
		i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
		i.Request.Body = form
		i.Request.Form, _ = url.ParseQuery(form)
		i.Response.Body = `{"it":"` + address + `"}`
		red := redacted(i)
		all := fmt.Sprint(i.Request.URL, i.Request.Body, i.Request.Form)
		if leaks := red.Scan(0, i); len(leaks) > 0 || strings.Contains(all, "anna") || strings.Contains(all, "shop-gmbh") {
			t.Errorf("%s becomes %s: %v", form, all, leaks)
		}
		got, err := url.ParseQuery(i.Request.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(fmt.Sprint(got), strings.TrimSuffix(i.Response.Body[7:], `"}`), "IT")
	}
	for form, want := range map[string]string{
		"email=" + address + "&x=a+b%2B":                               "map[email:[IT] x:[a b+]]",
		"email=anna.lang%2Btag%40shop-gmbh.de":                         "map[email:[IT]]",
		"to=anna.lang+tag%40shop-gmbh.de":                              "map[to:[IT]]",
		`d={"to":+"` + address + `","note":"a+b"}`:                     `map[d:[{"to": "IT","note":"a b"}]]`,
		"d=%7B%22to%22:%22" + address + "%22,%22n%22:%22a%2Bb+c%22%7D": `map[d:[{"to":"IT","n":"a+b c"}]]`,
		"note=(" + address + ")+a%2Bb+c":                               "map[note:[(IT) a+b c]]",
		"[%22" + address + "%22]":                                      `map[["IT"]:[]]`,
	} {
		if got := of(form); got != want {
			t.Errorf("%s becomes %s, want %s", form, got, want)
		}
	}
	of("to=x+anna.lang@shop-gmbh.de") // an address or two words, nobody can tell
	of("note=to+" + address + "+and+x+anna@shop-gmbh.de")
	for _, form := range []string{"d=me+@+home&e=a+b%2Bc&f=x+y@z", "d={\"at\":+1,+\"b\":+2}"} {
		i := plainly()
		i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
		i.Request.Body = form
		if redacted(i); i.Request.Body != form {
			t.Errorf("%s becomes %s", form, i.Request.Body)
		}
	}
	i := plainly()
	i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
	i.Request.Body = "password=s3cr3t+Va1ue"
	i.Response.Body = `{"said":"s3cr3t Va1ue"}`
	if redacted(i); strings.Contains(i.Response.Body, "s3cr3t") {
		t.Errorf("the password with a blank stays: %s", i.Response.Body)
	}
}

// TestAddressesBesideEachOther checks that of two addresses with nothing but a plus or an escape between them, none
// keeps a part.
func TestAddressesBesideEachOther(t *testing.T) {
	for _, between := range []string{"+", "+and+", "%2C", "%20", ",", "+%2B"} {
		i := plainly()
		i.Response.Headers.Set("Content-Type", "text/plain")
		i.Response.Body = "to anna@shop-gmbh.de" + between + "bob@shop-gmbh.de"
		red := redacted(i)
		if leaks := red.Scan(0, i); len(leaks) > 0 || strings.Contains(i.Response.Body, "anna") ||
			strings.Contains(i.Response.Body, "bob") || strings.Contains(i.Response.Body, "shop") {
			t.Errorf("%s: left is %s, %v", between, i.Response.Body, leaks)
		}
	}
}

// TestLongAddresses checks that no part of an email address is left, however long it is: some services put a whole
// address, or an id, before the @.
func TestLongAddresses(t *testing.T) {
	for _, n := range []int{60, 65, 200, 3000, 5200, 100_000} {
		user := strings.Repeat("bounce-", n/7+1)[:n]
		i := plainly()
		i.Request.Body = `{"email":"` + user + `@shop-gmbh.de","note":"to ` + user + `@shop-gmbh.de, it said"}`
		red := redacted(i)
		if strings.Contains(i.Request.Body, "bounce") {
			t.Errorf("%d characters: %s", n, i.Request.Body)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%d characters: %v", n, leaks)
		}
	}
}

// TestUserinfoIsCut checks that only the userinfo is removed from an address.
func TestUserinfoIsCut(t *testing.T) {
	r := redactor([]byte("k"), nil)
	for in, want := range map[string]string{
		"https://user:pass@h.example/a%2Fb{c}?x=%7E": "https://h.example/a%2Fb{c}?x=%7E",
		"https://h.example/a@b?c=d@e#f@g":            "https://h.example/a@b?c=d@e#f@g",
		"https://u:p@ss@h.example":                   "https://h.example",
	} {
		if got := r.URL(in); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
}

func plainly() *Interaction {
	return &Interaction{
		Request: vcr.Request{Method: "POST", URL: "https://api.shop.example/v1/orders?x=1",
			Headers: http.Header{"Content-Type": {"application/json"}}, Form: url.Values{}, Body: `{"a":1}`},
		Response: vcr.Response{Code: 200, Status: "200 OK", Headers: http.Header{"Content-Type": {"application/json"}},
			Body: `{"ok":true}`},
	}
}

// TestAddressesOfSomebody: a domain with a word of documentation in it belongs to somebody all the same.
func TestAddressesOfSomebody(t *testing.T) {
	for text, stays := range map[string]bool{
		"write to info@example-shop.de": false, "cc my.example@firma.de now": false, "from a@your-bank.com": false,
		"to kundin@your-shop.example.de": false, "an ada@firma.example": true, "an ada@example.com": true,
		"a <your-name@example.org>": true, "x xxxx@firma.de": true,
	} {
		i := plainly()
		i.Request.Headers.Set("Content-Type", "text/plain")
		i.Request.Body = text
		if red := redacted(i); (i.Request.Body == text) != stays {
			t.Errorf("%s becomes %s", text, i.Request.Body)
		} else if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s: %v", text, leaks)
		}
	}
}

// TestTokensAndMore: a value that is redacted in part is found by the gate, as long as what is
// left looks like a secret.
func TestTokensAndMore(t *testing.T) {
	const token = "REDACTED:token:0123456789abcdef"
	for value, fine := range map[string]bool{
		token: true, "Bearer " + token: true, token + "; path=/": true, "user:" + token: true, token + "." + token: true,
		"https://a.example/in?t=" + token: true, token + ":hunter2hunter2": false, "x7Gq2mWz9" + token: false,
		token + ".c2VjcmV0MTIz": false,
	} {
		i := plainly()
		i.Request.Headers.Set("X-Api-Key", value)
		if leaks := redacted(plainly()).Scan(0, i); (len(leaks) == 0) != fine {
			t.Errorf("%s: %v", value, leaks)
		}
	}
}
