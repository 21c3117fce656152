package redact

import (
	"net/http"
	"strings"
	"testing"
)

// TestWhatIsKnown checks that values which are told by names, shapes and checksums are
// replaced, that the gate refuses each, and that the text around them stays.
func TestWhatIsKnown(t *testing.T) {
	red := redactor([]byte("a key of some length"), nil)
	for _, c := range []struct {
		name, body, gone, stays string
		placed                  bool // recognised only by its place in JSON, which the gate does not check
	}{
		{"an XML element", `<login><user>ada</user><Password>zx-81-word</Password></login>`, "zx-81-word",
			"<user>ada</user>", false},
		{"an XML element with a prefix", `<ns:ApiKey xml:lang="en"> k9-zz-1234 </ns:ApiKey>`, "k9-zz-1234",
			`<ns:ApiKey xml:lang="en"> `, false},
		{"CDATA", `<secret><![CDATA[k9<zz>1234]]></secret>`, "k9<zz>1234", "]]></secret>", false},
		{"an attribute", `<add key="x" password="zx-81-word"/>`, "zx-81-word", `key="x"`, false},
		{"PGP", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF1234abcd\n-----END PGP PRIVATE KEY BLOCK-----\nafter",
			"lQOYBF1234abcd", "after", false},
		{"a name beside its value",
			`{"headers":[{"name":"X-Auth-Token","value":"zx81word"},{"name":"Accept","value":"text/html"}]}`, "zx81word",
			"text/html", true},
		{"a value before its name", `{"value":"zx81word","key":"client_secret"}`, "zx81word", `"key":"client_secret"`,
			true},
		{"the value within a secret", `{"token":{"value":"zx81word","expires":"2026-01-01"}}`, "zx81word", "2026-01-01",
			true},
		{"a maker's name with its shape", `{"adafruit_io":"0123456789abcdef0123456789abcd12"}`, "0123456789abcdef",
			"adafruit_io", false},
		{"the same in text", `datadog_api = "0123456789abcdef0123456789abcdef01234567" # prod`, "0123456789abcdef",
			"# prod", false},
		{"a phone number without +", `{"phone":"030 901820 12","mobile":4917612345678}`, "030 901820 12", "mobile", false},
		{"a phone number as a number", `{"msisdn":4917612345678,"n":1}`, "4917612345678", `"n":1`, true},
		{"a card", `{"note":"pay with 4929 1234 5678 9015 now"}`, "5678", "pay with ", false},
		{"a card as a number", `{"pan":4929123456789015}`, "4929123456789015", "pan", false},
		{"an account number", `transfer to GB29 NWBK 6016 1331 9268 19 today`, "NWBK", " today", false},
		{"a password of a database", `postgres://shop:p4ss-w0rd@db.shop.example/orders`, "p4ss-w0rd",
			"db.shop.example/orders", false},
		{"an address behind a token", `REDACTED:token:0123456789abcdef ada@analytical-engines.co.uk`, "analytical",
			"REDACTED:token:0123456789abcdef ", false},
		{"a token in a log", `level=info token=zx81wordzx81 user=ada`, "zx81wordzx81", "user=ada", false},
		{"a token in a command", `curl -H 'Authorization: Bearer zx81.word-zx81' https://a.example`, "zx81.word-zx81",
			"https://a.example", false},
		{"name => value", `array("api_secret" => "zx81word")`, "zx81word", "array(", false},
		{"a session", `PHPSESSID=k9zz12345678; theme=dark`, "k9zz12345678", "theme=dark", false},
	} {
		i := ordinary()
		i.Response.Headers.Set("Content-Type", "text/plain")
		i.Response.Body = c.body
		if leaks := red.Scan(0, i); len(leaks) == 0 && !c.placed {
			t.Errorf("%s passes the gate", c.name)
		}
		red.Interaction(i)
		if got := i.Response.Body; strings.Contains(got, c.gone) || !strings.Contains(got, c.stays) {
			t.Errorf("%s: %s", c.name, got)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s, redacted: %v in %s", c.name, leaks, i.Response.Body)
		}
	}
}

// TestTokensInAddresses checks the tokens of bots, which are in the path.
func TestTokensInAddresses(t *testing.T) {
	red := redactor([]byte("a key of some length"), nil)
	const token = "123456789:AA" + "HdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"
	got := red.URL("https://api.telegram.org/bot" + token + "/sendMessage?chat_id=1")
	if strings.Contains(got, token) || !strings.HasPrefix(got, "https://api.telegram.org/botREDACTED:telegram:") ||
		!strings.HasSuffix(got, "/sendMessage?chat_id=1") {
		t.Error(got)
	}
	if got := red.URL("https://ada:p4ss-w0rd@a.example/x%2Fy?sig=zx81wordzx81#access_token=zx81word"); got == "" ||
		strings.Contains(got, "zx81") || strings.Contains(got, "p4ss") || !strings.Contains(got, "a.example/x%2Fy?") {
		t.Error(got)
	}
}

// TestVendorHeaders checks headers of vendors that hold credentials, even if the name
// does not say so.
func TestVendorHeaders(t *testing.T) {
	red := redactor([]byte("a key of some length"), nil)
	for _, name := range []string{"X-Honeycomb-Team", "Dd-Api-Key", "Ocp-Apim-Subscription-Key", "X-Vault-Token",
		"Private-Token", "Stripe-Signature", "X-Hub-Signature-256", "X-Shopify-Access-Token", "Apikey",
		"X-Functions-Key"} {
		i := ordinary()
		i.Request.Headers = http.Header{name: {"k9-zz-123"}}
		if leaks := red.Scan(0, i); len(leaks) == 0 {
			t.Errorf("%s passes the gate", name)
		}
		red.Interaction(i)
		if strings.Contains(i.Request.Headers.Get(name), "k9-zz") {
			t.Errorf("%s: %v", name, i.Request.Headers)
		}
	}
}

// TestLearnable checks that no ordinary word becomes a value that is searched for
// everywhere.
func TestLearnable(t *testing.T) {
	for v, want := range map[string]bool{
		"required": false, "production": false, "application/json": false, "https://id.shop.example/x1": false,
		"12345678": false, "read write": false, "access_token": false,
		"Zk3-9fXq77Lm": true, "0123456789": true, "deadbeefcafe0123": true, "pässwörd-1": true, "sk_shop_42abcdef": true,
	} {
		if learnable(v) != want {
			t.Errorf("%q: %v", v, !want)
		}
	}
}
