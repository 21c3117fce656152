package redact

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// TestOddPlaces checks secrets in the places where people put them: configurations,
// commands, statements, lists and headers of all kinds. @S@ stands for the secret, @B@
// for its base64, @L@ for a long secret.
func TestOddPlaces(t *testing.T) {
	const secret, long = "Korrekt77-pferd", "9f8e7d6c5b4a39281706f5e4d3c2b1a0zq"
	write := strings.NewReplacer("@S@", secret, "@B@", base64.StdEncoding.EncodeToString([]byte(secret)), "@L@", long)
	check := func(what string, i *Interaction, gone string) {
		t.Helper()
		red := redactor([]byte("a key of some length"), nil)
		if leaks := red.Scan(0, i); len(leaks) == 0 {
			t.Errorf("passes the gate: %s", what)
		}
		red.Interaction(i)
		if all := i.Response.Body + i.Request.URL + fmt.Sprint(i.Response.Headers); strings.Contains(all, gone) {
			t.Errorf("survives: %s", all)
		}
		if leaks := red.Scan(0, i); len(leaks) > 0 {
			t.Errorf("%s: %v", what, leaks)
		}
	}
	for _, text := range []string{
		"[db]\nsecret_key = @S@\n", "userPassword:: @B@\n", `<input type="password" name="x" value="@S@">`,
		"machine x.shop.example login ada password @S@\n", `{"cmd":"shop --password @S@ --user ada"}`,
		`{"cmd":"shop --api-key '@S@'"}`, "ALTER USER ada IDENTIFIED BY '@S@';", "CREATE ROLE ada WITH PASSWORD '@S@';",
		`[["user","ada"],["password","@S@"]]`, `{"rawHeaders":["Host","x","x-api-key","@S@"]}`, "WIFI:T:WPA;S:net;P:@S@;;",
		`{"variable":{"password":{"default":"@S@"}}}`, `{"Item":{"password":{"S":"@S@"}}}`,
		`{"recovery_codes":["@S@","1234567890"]}`, `{"mnemonic":"legal winner thank year wave sausage @S@"}`,
		`{"headers":{"Cookie":"theme=dark; anything=@S@"}}`, `{"headers":{"set-cookie":"anything=@S@; Path=/; HttpOnly"}}`,
		`{"passwort":"@S@"}`, `{"mot_de_passe":"@S@"}`, `{"senha":"@S@"}`, `{"pass":"@S@"}`, `{"db_pass":"@S@"}`, "pw=@S@",
		`{"session":"@S@"}`, `{"masterKey":"@S@"}`, `{"primaryKey":"@S@"}`, `{"SECRET_KEY_BASE":"@S@"}`, `{"auth_code":"@S@"}`,
	} {
		gone := secret
		if strings.Contains(text, "@B@") {
			gone = write.Replace("@B@")
		}
		i := ordinary()
		i.Response.Body = write.Replace(text)
		check(text, i, gone)
	}
	for _, name := range []string{"X-Session-Id", "Authentication-Info", "X-Jwt-Assertion", "X-Amzn-Oidc-Data",
		"Cb-Access-Sign", "X-Vault-Token", "Private-Token", "Circle-Token"} {
		i := ordinary()
		i.Response.Headers.Set(name, long)
		check(name, i, long)
	}
	for _, address := range []string{"https://api.shop.example/x?user[password]=@S@",
		"https://chat.shop.example/api/webhooks/123456789012345678/@L@@L@"} {
		i := ordinary()
		i.Request.URL = write.Replace(address)
		check(address, i, write.Replace(address[strings.LastIndexAny(address, "=/")+1:]))
	}
}

// TestLikelyNames checks that a name which often means something else announces only
// values that look like a secret.
func TestLikelyNames(t *testing.T) {
	red := redactor([]byte("a key of some length"), nil)
	for _, text := range []string{
		`{"session":"0b8b2c1e-7a5e-4ad1-a0c3-0d2b0a2e5b6f","pass":"12 of 30","pw":"80px","primary_key":"user_id2"}`,
		`{"access":"level2-admin","refresh":"every 30 seconds","ticket":"SHOP-1234","csrf":true,"pass":true}`,
		`["token","password","secret"]`, `["password","at least 8 characters"]`, `["key","id-12345","token","x"]`,
		"refresh=30s; pass: 12 tests", `{"cookie":"oatmeal"}`, "WIFI: on, P: 3", "the password 'must match'",
		"--token is the flag's name", "identified by 'name'", `{"securityCode":"AAPL"}`, "user[name]=ada",
	} {
		if now := red.Text(text); now != text {
			t.Errorf("%s became %s", text, now)
		}
		if kind, hit := red.find(text, 0); kind != "" {
			t.Errorf("the gate: %s, %s in %s", kind, hit, text)
		}
	}
}
