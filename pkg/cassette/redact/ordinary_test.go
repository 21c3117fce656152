package redact

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestOrdinaryWords checks that text which only looks like a credential passes the
// redactor and the gate unchanged.
func TestOrdinaryWords(t *testing.T) {
	red := redactor([]byte("a key of some length"), []Secret{{Name: "PIN", Value: "83914276"}})
	for _, body := range []string{
		`{"plan":"Basic Subscription","access":"bearer authentication is needed","note":"Basic authentication"}`,
		`{"files":["icon@2x.png","logo@3x.webp"],"repo":"git@github.com:fanfold/fanfold.git","unit":"getty@tty1.service"}`,
		`{"author":"me","authority":"x","authenticated":true,"tokenize":"yes","secretary":"Ms Smith","passport":"no"}`,
		`{"auth":{"client":"web","scopes":["read:orders","write:orders"],"expires_at":"2026-01-01T00:00:00Z"}}`,
		`{"card":"4242 4242 4242 4242","iban":"none","order":"1234567890123456","snowflake":1234567890123456789}`,
		`{"name":"Ada Lovelace","ip":"81.2.69.142","microphone":"on","iphone":"15"}`,
		"<order><id>7</id><total>12.50</total><password/></order>",
		"version = 1\ntokens = 12\nkey = value\nauthor = somebody who wrote it\n",
		"curl -u user: https://api.shop.example/v1",
		"message.append(signature=signature, *args); login(password=password, api_key=key)\n",
		"c.api_key = \"YOUR API KEY\"; const base64Credentials = base64Convertor(credentials)\n" +
			"secret=events[0]?.credentials\n",
		`{"token":"YOUR_PROJECT_TOKEN","password":"$POSTGRES_PASSWORD"}`,
		"def __init__(self, default_token='Bearer', key=_key): pass\nprivate_key: \"_PrivateKey\"\n",
		"curl -u user:password https://api.shop.example/v1; curl -u $USER:$PASS x; curl --user <user>:<pass> y",
		"docker run -u 1000:1000 shop; curl -a http://api.shop.example",
		`url.replace(/token=[0-9]+/, "token=x"); path =~ "secret=\\w+&password=(.*)"`,
		"token=[0-9a-f]{8}&password=[^&]+",
		"get(url, auth_username=auth[0], auth_password=auth[1])",
		"Your password, please\nthanks, bye\n",
		"token,kind,line\nfunc,keyword,1\nmain,name,1\n",
		"| Token | What it is |\n|-------|------------|\n| a1b2c3d4 | yours |\n",
		"password: |\n  how it is kept\n",
		"data: {\"n\":1,\ndata: \"m\":2}\n\n",
		"\x82\xa4user\xa3ada\xa5token\xc3",
		`{"dependencies":{"cookie-signature":"~1.0.6","csrf-token":"^4.1.10","jwt":">=9.0.2"}}`,
		`{"invalid_signature":"The webhook does not contain a valid signature.","api_key":"${{ secrets.API_KEY }}"}`,
		`{"password":"{{ vault.password }}","token":"#{stripe_token}","secret":"<your secret>","authorization":"Bearer %s"}`,
		"'Authorization' => authorization,\n'ApiKey' => EasyPost::Models::ApiKey,\n",
		`{"body":"a line\n@ada.lovelace.info wrote\n\t@shop.co"}`,
		`{"sid":"SM3f786850e387550fdab836ed7e6dc881","account_sid":"AC3f786850e387550fdab836ed7e6dc881"}`,
		`<input name="first" value="something"><meta name="description" content="a shop"><key>color</key><string>blue</string>`,
		`{"template":"Bearer {{token}}","shell":"Authorization: Bearer ${TOKEN}","doc":"AKIAIOSFODNN7EXAMPLE"}`,
	} {
		i := ordinary()
		i.Request.Body, i.Response.Body = body, body
		red.Interaction(i)
		if i.Response.Body != body {
			t.Errorf("changed:\n%s\n%s", body, i.Response.Body)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("refused: %v\n%s", leaks, body)
		}
	}
	for name, v := range map[string]string{
		"Set-Cookie":       "sid=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
		"Www-Authenticate": `Bearer resource_metadata="https://id.shop.example/.well-known/oauth-protected-resource"`,
		"Link":             `<https://api.shop.example/v1/orders?page=2>; rel="next"`,
		"Cookie":           "theme=",
		"Etag":             `"33a64df551425fcc55e4d42a148795d9f25f89d4"`,
		"X-Request-Id":     "0b8b2c1e-7a5e-4ad1-a0c3-0d2b0a2e5b6f",
		"User-Agent":       "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
		"Idempotency-Key":  "0b8b2c1e-7a5e-4ad1-a0c3-0d2b0a2e5b6f",
	} {
		i := ordinary()
		i.Response.Headers = http.Header{name: {v}}
		red.Interaction(i)
		if got := i.Response.Headers.Get(name); got != v {
			t.Errorf("%s: %s became %s", name, v, got)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s: refused: %v", name, leaks)
		}
	}
}

// TestSeveralCookies checks that each cookie in a line is redacted, and that dates
// stay.
func TestSeveralCookies(t *testing.T) {
	red := redactor([]byte("a key of some length"), nil)
	i := ordinary()
	i.Response.Headers.Set("Set-Cookie",
		`sid="first-cookie-1"; Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT, cart=second-cookie-2; Secure; SameSite=Lax`)
	i.Request.Headers.Set("Cookie", "a=third-cookie-3; b=fourth-cookie-4;c=fifth-cookie-5")
	red.Interaction(i)
	got := i.Response.Headers.Get("Set-Cookie") + i.Request.Headers.Get("Cookie")
	for _, v := range []string{"first", "second", "third", "fourth", "fifth"} {
		if strings.Contains(got, v+"-cookie") {
			t.Errorf("%s survives: %s", v, got)
		}
	}
	if !strings.Contains(got, "; Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT, cart=REDACTED:cookie:") ||
		!strings.Contains(got, "; Secure; SameSite=Lax") {
		t.Errorf("attributes are gone: %s", got)
	}
	if leaks := red.Scan(0, i); len(leaks) > 0 {
		t.Error(leaks)
	}
}

// TestNumbersStayNumbers checks that a secret number in JSON becomes another number,
// and always the same one for the same value.
func TestNumbersStayNumbers(t *testing.T) {
	red := redactor([]byte("a key of some length"), []Secret{{Name: "PIN", Value: "83914276"}})
	got := red.Text(`{"id":83914276,"ids":[1,83914276],"token":555123987,"pin":4711,"cvc":123,"phone":442079460958,"n":12,"text":"as 83914276 says"}`)
	values, ok := valuesOf(got)
	if !ok || strings.Contains(got, "83914276") || strings.Contains(got, "555123987") || strings.Contains(got,
		"4711") || strings.Contains(got, "442079460958") || !strings.Contains(got, `"n":12,`) {
		t.Fatalf("redacted: %s", got)
	}
	m := values[0].(map[string]any)
	for _, name := range []string{"id", "token", "pin", "cvc", "phone"} {
		if _, is := m[name].(json.Number); !is {
			t.Errorf("%s is no number: %s", name, got)
		}
	}
	if m["id"] != m["ids"].([]any)[1] {
		t.Errorf("equal values are not equal: %s", got)
	}
	if again := red.Text(got); again != got {
		t.Errorf("a second time:\n%s\n%s", got, again)
	}
	if kind, hit := red.find(got, 0); kind != "" {
		t.Errorf("the gate: %s %s in %s", kind, hit, got)
	}
	if flat := red.Text(`log: {"id":83914276, "next": 1}`); !strings.Contains(flat, `{"id":999000`) {
		t.Errorf("in text: %s", flat)
	}
}

// TestBase64InEscapedLines checks that base64 over several escaped lines in JSON is
// redacted, even if an address in it is split between two lines, and that the gate
// reads it as one text.
func TestBase64InEscapedLines(t *testing.T) {
	red := redactor([]byte("a key of some length"), nil)
	for pad := range 60 {
		plain := strings.Repeat("x", pad) +
			" written by grace.hopper@shop-mail.co.uk, who is somebody, for all who read this file"
		text := base64.StdEncoding.EncodeToString([]byte(plain))
		var lines []string
		for ; len(text) > 60; text = text[60:] {
			lines = append(lines, text[:60])
		}
		body := quoted(map[string]string{"content": strings.Join(append(lines, text), "\n")})
		i := ordinary()
		i.Response.Body = body
		red.Interaction(i)
		if i.Response.Body == body {
			t.Errorf("padded by %d it survives", pad)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("padded by %d: %v", pad, leaks)
		}
	}
}

// TestNamesBeside checks secrets whose name is in another attribute, or in the tag
// before.
func TestNamesBeside(t *testing.T) {
	const secret = "Korrekt77-pferd"
	for _, body := range []string{
		`<input type="hidden" name="csrf_token" value="` + secret + `">`,
		`<input value='` + secret + `' name='authenticity_token' type=hidden>`,
		`<meta name="csrf-token" content="` + secret + `" />`,
		`<dict><key>password</key> <string>` + secret + `</string></dict>`,
		`<member><name>password</name><value><string>` + secret + `</string></value></member>`,
		"data: {\"access_token\":\ndata: \"" + secret + "\"}\n\n",
		"event: x\r\ndata:{\"user\":{\"password\":\r\ndata:\"" + secret + "\"}}\r\n\r\n",
		"{\"password\": /* of the shop */ \"" + secret + "\"} // the end",
		"{\n \"client_secret\":\n  // from the console\n  \"" + secret + "\"\n}",
		"const config = {password: /* of the shop */ '" + secret + "'}",
		"user: ada\npassword: |-\n  " + secret + "\n",
		"curl -u ada:" + secret + " https://api.shop.example",
		"curl -sS https://api.shop.example \\\n  --user 'ada:" + secret + "'",
		"http --auth ada:" + secret + " GET api.shop.example",
		`{"run":"curl -X POST -u ada:` + secret + ` https://api.shop.example"}`,
		"user,password\nada," + secret + "\n",
		"id;API Key;name\r\n1;\"" + secret + "\";a\r\n2;;b\r\n",
		"user\taccess_token\nada\t" + secret,
		`{"file":"user,password\nada,` + secret + `\n"}`,
		"\x82\xa4user\xa3ada\xa8password\xaf" + secret,
		"\xde\x00\x01\xa7clients\x91\x81\xd9\x0dclient_secret\xc4\x0f" + secret,
		"\xd9\xd9\xf7\xa1\x68password\x6f" + secret,
		base64.StdEncoding.EncodeToString([]byte("\xa2\x61n\x19\x03\xe8\x66secret\x4f" + secret)),
		"AccountName=shop;AccountKey=" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(secret, 4))) + ";",
		base64.StdEncoding.EncodeToString([]byte("\x00\x00\x00\x00\x20\x0a\x28sk_live_4eC39HqLyjWDarjtT1zdp7dc")),
	} {
		red := redactor([]byte("a key of some length"), nil)
		i := ordinary()
		i.Response.Body = body
		if leaks := red.Scan(0, i); len(leaks) == 0 {
			t.Errorf("passes the gate: %s", body)
		}
		red.Interaction(i)
		if strings.Contains(i.Response.Body, secret) || i.Response.Body == body {
			t.Errorf("survives: %s", i.Response.Body)
		}
		if isBinary(body) != isBinary(i.Response.Body) {
			t.Errorf("is no such object any more: %q", i.Response.Body)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s: %v", i.Response.Body, leaks)
		}
	}
}

// TestTokensOfWebSockets checks the tokens that browsers send in the only header that
// they can set.
func TestTokensOfWebSockets(t *testing.T) {
	const secret = "Korrekt77-pferd"
	for line, want := range map[string]string{
		"v1.shop, bearer." + secret:                "v1.shop, bearer.REDACTED",
		"authorization, " + secret + ", v1":        "authorization, REDACTED",
		"v1, token-" + secret:                      "v1, token-REDACTED",
		"base64url.bearer." + secret + ".x":        "base64url.bearer.REDACTED",
		"graphql-ws, graphql-transport-ws, v1.4.2": "graphql-ws, graphql-transport-ws, v1.4.2",
	} {
		red := redactor([]byte("a key of some length"), nil)
		i := ordinary()
		i.Request.Headers.Set(protocolHeader, line)
		if leaks := red.Scan(0, i); len(leaks) == 0 && strings.Contains(line, secret) {
			t.Errorf("passes the gate: %s", line)
		}
		red.Interaction(i)
		got := i.Request.Headers.Get(protocolHeader)
		if strings.Contains(got, secret) || !strings.HasPrefix(got, want) {
			t.Errorf("%s became %s", line, got)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s: %v", got, leaks)
		}
	}
}

// TestAloneOnly checks that an announced value which is little more than a word is not
// replaced within other words, nor where it means something else.
func TestAloneOnly(t *testing.T) {
	red := redactor([]byte("a key of some length"), nil)
	red.Text(`{"password":"@pollyjs","token":"Passw0rd","secret":"Zk3-9fXq77Lm.2201"}`)
	for text, stays := range map[string]bool{
		"import { Polly } from '@pollyjs/core'": true, "see Passw0rds, xPassw0rd": true, "passw0rd": true,
		"it is Passw0rd.": false, "aZk3-9fXq77Lm.2201b": false,
	} {
		if now := red.Text(text); (now == text) != stays {
			t.Errorf("%s became %s", text, now)
		}
	}
}

// TestNamesElsewhere checks that a name also announces a value after other members, or
// in an array or object below it, both for redaction and for the gate.
func TestNamesElsewhere(t *testing.T) {
	const secret = "Korrekt77-pferd"
	for _, body := range []string{
		`{"name":"password","id":7,"type":"text","value":"` + secret + `"}`,
		`[{"value":"` + secret + `","id":7,"enabled":true,"key":"api_key"}]`,
		`{"password":["` + secret + `"]}`,
		`{"password":{"id":7,"value":"` + secret + `"}}`,
		`{"file":"` + base64.StdEncoding.EncodeToString([]byte(`{"token":"Korrekt77\u002dpferd"}`)) + `"}`,
		`{"file":"` + base64.StdEncoding.EncodeToString([]byte(`{"name":"token","id":7,"value":"Korrekt77\u002dpferd"}`)) + `"}`,
		"note: =70=61=73=73=77=6F=72=64=3D=4B=6F=72=72=65=6B=74=37=37=2D=70=66=65=72=64",
		"note: =70=61=73=73=77=6F=72=64: =4B=6F=72=72=65=6B=74=37=37=2D=70=66=65=72=64 .",
	} {
		red := redactor([]byte("a key of some length"), nil)
		i := ordinary()
		i.Response.Body = body
		if leaks := red.Scan(0, i); len(leaks) == 0 {
			t.Errorf("passes the gate: %s", body)
		}
		red.Interaction(i)
		if i.Response.Body == body || strings.Contains(i.Response.Body, secret) ||
			strings.Contains(i.Response.Body, "=4B=6F=72") {
			t.Errorf("%s survives: %s", body, i.Response.Body)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s: %v", i.Response.Body, leaks)
		}
	}
}
