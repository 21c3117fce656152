package redact

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

// TestSecretsInBrackets checks that a secret is replaced although it looks like a placeholder or a documented key:
// its name announced it, or its header.
func TestSecretsInBrackets(t *testing.T) {
	const secret = "s3cr3tVa1ueAbcdef9876"
	values := []string{"<" + secret + ">", "{{x}}" + secret + "}}", "{{" + secret + "}}", "<a " + secret + ">",
		"<REDACTED> " + secret + ">", "${A}" + secret + "}", "${A}" + secret + "{B}", "<user>:" + secret + ">",
		"<" + secret, "<token>" + secret + "</token>", "<auth token='" + secret + "'/>", "%{" + secret + "}",
		"${TOKEN:-" + secret + "}", secret + "EXAMPLE", secret + "EXAMPLEKEY", "sk_live_51H" + secret + "EXAMPLE",
		"your_" + secret, secret + " %s", "<%= " + secret + " %>", "${{ " + secret + " }}"}
	check := func(where, v string, i *Interaction) {
		red := redacted(i)
		if all := fmt.Sprint(i.Request); strings.Contains(all, "s3cr3t") {
			t.Errorf("%s, %s: left is %s", where, v, all)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s, %s: %v", where, v, leaks)
		}
	}
	for _, v := range values {
		for _, v := range []string{v, "Bearer " + v, "Basic " + v} {
			for _, h := range []string{"Authorization", "X-Api-Key", "Cookie"} {
				i := plainly()
				i.Request.Headers.Set(h, map[bool]string{true: "sid="}[h == "Cookie"]+v)
				check(h, v, i)
			}
			i := plainly()
			quoted, _ := json.Marshal(map[string]string{"token": v, "password": v})
			i.Request.Body = string(quoted)
			check("JSON", v, i)
			i = plainly()
			i.Request.URL += "&api_key=" + url.QueryEscape(v)
			i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
			i.Request.Body = "client_secret=" + url.QueryEscape(v)
			check("form", v, i)
		}
		i := plainly() // what nobody has redacted is found
		quoted, _ := json.Marshal(map[string]string{"token": v})
		i.Request.Body = string(quoted)
		if leaks := redactor([]byte("k"), nil).Scan(0, i); len(leaks) == 0 && !strings.ContainsAny(v, "'") {
			t.Errorf("%s: no leak", quoted)
		}
	}
}

// TestNamesInPlaceholders checks that the words of placeholders can be told from what is made by chance.
func TestNamesInPlaceholders(t *testing.T) {
	for _, v := range []string{"REDACTED", "access_token", "your access token here", "yourAccessTokenHere", "userId",
		"YourClientIdHere", "OAuth2Token", "sha256_hash", "API_KEY_1", "secrets.API_KEY", " ENV['STRIPE_SECRET_KEY'] ",
		"****", "XXXXXXXX", "...", "AUTHENTICATION_CREDENTIALS", "TWILIO_ACCOUNT_SID", "Kundenschlüssel", "user1_token2",
		"base64(user:password)", "REMOVED BY VCR", ""} {
		if !isTemplate("<"+v+">") || !isTemplate("${"+v+"}") {
			t.Errorf("%s is no placeholder", v)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, letters := range []string{"0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"} {
		names := 0
		for range 1000 {
			b := make([]byte, 24)
			for n := range b {
				b[n] = letters[random.IntN(len(letters))]
			}
			if isTemplate("<" + string(b) + ">") {
				names++
			}
		}
		if names > 10 {
			t.Errorf("of 1000 values of %s, %d are taken for names", letters, names)
		}
	}
}
