package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"unicode"
)

// escapings are the ways in which servers write what they were sent.
var escapings = map[string]func(string) string{
	"as it is":           func(s string) string { return s },
	"JSON of Go":         func(s string) string { return inJSON(s, true) },
	"JSON":               func(s string) string { return inJSON(s, false) },
	`JSON with \/`:       func(s string) string { return strings.ReplaceAll(inJSON(s, false), "/", `\/`) },
	"JSON in JSON":       func(s string) string { return inJSON(inJSON(s, true), true) },
	`JSON with \u002F`:   func(s string) string { return everyByte(inJSON(s, false), "/+&=", `\u%04X`) },
	`JSON with \u002f`:   func(s string) string { return everyByte(inJSON(s, false), "/+&=", `\u%04x`) },
	"form":               url.QueryEscape,
	"form, lower case":   func(s string) string { return lowerEscapes(url.QueryEscape(s)) },
	"form with %20":      func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") },
	"form in form":       func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"form in JSON":       func(s string) string { return inJSON(url.QueryEscape(s), true) },
	"path":               url.PathEscape,
	"HTML":               html.EscapeString,
	"HTML, hexadecimal":  func(s string) string { return everyByte(s, "/+&='\"<>", "&#x%x;") },
	"HTML in JSON":       func(s string) string { return inJSON(html.EscapeString(s), true) },
	"JavaScript":         func(s string) string { return everyByte(s, `/+&='"\<>`, `\x%02x`) },
	"upper case":         strings.ToUpper,
	"lower case":         strings.ToLower,
	"hex":                func(s string) string { return hex.EncodeToString([]byte(s)) },
	"hex, upper case":    func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"base64":             func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64url":          func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 of user:it":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte("user:" + s)) },
	"base64 of us:it":    func(s string) string { return base64.StdEncoding.EncodeToString([]byte("us:" + s)) },
	"base64 of user1:it": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("user1:" + s)) },
	"base64url of it:":   func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s + ":")) },
	"base64 in form": func(s string) string {
		return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("x:" + s)))
	},
	"unseen characters":    func(s string) string { return strings.Join(strings.Split(s, ""), "\u200b") },
	"blanks folded":        func(s string) string { return strings.Join(strings.Fields(s), " ") },
	"broken into lines":    func(s string) string { return inMiddle(s, "\r\n ") },
	"with control letters": func(s string) string { return inMiddle(s, "\x1b") },
}

func inJSON(s string, escapeHTML bool) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(escapeHTML)
	if err := e.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String()[1:], "\"\n")
}

func inMiddle(s, what string) string {
	letters := []rune(s)
	return string(letters[:len(letters)/2]) + what + string(letters[len(letters)/2:])
}

func everyByte(s, bytes, format string) string {
	var b strings.Builder
	for _, c := range s {
		if strings.ContainsRune(bytes, c) {
			fmt.Fprintf(&b, format, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

// alphabets are what secrets are made of.
var alphabets = []string{
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=",
	"0123456789abcdef",
	`abcdeABCDE0123456789!"#$%&'()*+,-./:;<=>?@[\]^_{|}~`,
	"abcABC123 \t&/+%\\",
	"aäÄöÖßéÉ漢字🙂bcdefABCDEF",
}

func randomSecret(r *rand.Rand) string {
	letters := []rune(alphabets[r.IntN(len(alphabets))])
	var b strings.Builder
	for range 8 + r.IntN(40) {
		b.WriteRune(letters[r.IntN(len(letters))])
	}
	return b.String()
}

// telling is a beginning of a secret that is long enough to tell it.
func telling(secret string) string {
	for i := range secret {
		if len(text(fold(pieces(secret[:i])))) >= 6 {
			return secret[:i]
		}
	}
	return secret
}

// blanks are what a secret begins with of what is left out when it is compared.
func blanks(secret string) string {
	for i, r := range secret {
		if len(fold(pieces(string(r)))) > 0 {
			return secret[:i]
		}
	}
	return secret
}

// places are where a secret is said back.
var places = []string{
	"%s", "key %s is wrong", `{"error":"bad token %s"}`, "token=%s&x=1", "https://x.example/%s/y", "Bearer %s",
	"<p>%s</p>", "%s%%", "%%41%s",
}

// TestNoEscapingHidesASecret: whatever a server makes of a secret, and wherever it
// stands, also cut off, it is not there any more.
func TestNoEscapingHidesASecret(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		secret := randomSecret(r)
		if len(text(fold(pieces(secret)))) < shortestFolded || strings.TrimSpace(secret) != secret {
			continue // mostly blanks: those are compared as they are
		}
		var s Set
		s.Add("another secret", secret, "yet-another-one")
		for name, escape := range escapings {
			said := escape(secret)
			if name == "lower case" || name == "upper case" {
				if strings.IndexFunc(secret, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
					said = strings.Map(func(r rune) rune {
						if r == 'ß' {
							return r // two letters, in upper case
						}
						return []rune(escape(string(r)))[0]
					}, secret)
				}
			}
			for _, place := range places {
				whole := fmt.Sprintf(place, said)
				if got := s.Redact(whole); strings.Contains(got, said) || !strings.Contains(got, Mask) {
					t.Fatalf("%q, %s, in %q: %q", secret, name, whole, got)
				}
				begin := strings.Index(whole, said)
				cut := begin + r.IntN(len(said))
				got := s.Redact(whole[:cut] + Ellipsis)
				// What is left is less than would tell it, and what stands before it.
				left, _, found := strings.Cut(got, Mask)
				if cut-begin > len(escape(telling(secret)))+8 && (!found || len(left)-begin > 12+len(escape(blanks(secret)))) {
					t.Fatalf("%q, %s, cut off as %q: %q", secret, name, whole[:cut], got)
				}
			}
		}
	}
}

// TestOrdinaryTextStays: what holds no secret is not touched.
func TestOrdinaryTextStays(t *testing.T) {
	var s Set
	s.Add("SECRETTOKEN-abcdefghijklmnop", "another-secret-value", "demo", "https://user:pw123456@hooks.example.com/a/b")
	for _, text := range []string{
		"SE…", "no secret at all…", "…", "a… b… c", "an…", "hooks.example.com said no", "a de mo", "made mode", "100%", `\`,
		"&", "&;", "&#;", "&#x;", "%", "%4",
		`\u12`, "\xff\xfe", "the event's integrations object", strings.Repeat("x", 5000) + "…",
	} {
		if got := s.Redact(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	var none Set
	if got := none.Redact("anything"); got != "anything" {
		t.Error(got)
	}
}

// TestShortSecrets are compared as they are.
func TestShortSecrets(t *testing.T) {
	var s Set
	s.Add("abc", "pass", `a/b&`)
	for text, want := range map[string]string{"abc": "abc", "the pass is": "the *** is", "PASS": "PASS",
		`a\/b\u0026`: "***", "a%2Fb%26": "***", "cGFzcw==": "***", "p ass": "p ass"} {
		if got := s.Redact(text); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}

// TestAddress: of an address that is a secret, its path is one, and its credentials.
func TestAddress(t *testing.T) {
	var s Set
	s.Add("https://ann:hunter22@hooks.example.com/services/T00000000/EXAMPLEEXAMPLE?sig=s1gn4ture")
	for _, text := range []string{
		"POST https://hooks.example.com/services/T00000000/EXAMPLEEXAMPLE",
		"no route /services/T00000000/EXAMPLEEXAMPLE?sig=s1gn4ture",
		"token EXAMPLEEXAMPLE", "password hunter22", "signature S1GN4TURE",
	} {
		if got := s.Redact(text); !strings.Contains(got, Mask) || strings.Contains(got, "EXAMPLEEX") {
			t.Errorf("%s became %s", text, got)
		}
	}
	got := OfAddress("https://ann:hunter22@h.example/p?api_key=k1&page=2&sig=s2")
	if strings.Join(got, " ") != "hunter22 ann:hunter22 k1 s2" && strings.Join(got, " ") != "hunter22 ann:hunter22 s2 k1" {
		t.Errorf("credentials of an address: %q", got)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("hunter2hunter2", `{"a":"hunter2\u0068unter2…"}`)
	f.Add(`a\u0026/%41&#x;`, `\\u0026%2541&amp;#47;…`)
	f.Fuzz(func(t *testing.T, value, said string) {
		var s Set
		s.Add(value)
		got := s.Redact(said)
		if len(value) >= Shortest && !strings.Contains(value, "*") && strings.Contains(got, value) {
			t.Errorf("%q stayed in %q", value, got)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	var s Set
	for i := range 100 {
		s.Add(fmt.Sprintf("secret-number-%d-of-them", i))
	}
	said := `{"error":"invalid value for field properties.price","status":400,"request_id":"f3a1","message":"` +
		strings.Repeat("some words ", 20) + `"}`
	for b.Loop() {
		s.Redact(said)
	}
}
