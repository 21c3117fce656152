package redact

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// bigBodies are large answers, of seven megabytes, as partners send them.
func bigBodies() map[string]string {
	const size = 7 << 20
	r := rand.New(rand.NewPCG(3, 4))
	fill := func(open, end string, one func(n int) string) string {
		var b strings.Builder
		b.WriteString(open)
		for n := 0; b.Len() < size; n++ {
			b.WriteString(one(n))
		}
		return b.String() + end
	}
	random := make([]byte, size)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	return map[string]string{
		"JSON": fill(`[{}`, "]", func(n int) string {
			return fmt.Sprintf(`,{"id":%d,"name":"Tent for two","url":"https:\/\/shop.example\/p\/%d?a=1&b=2","sku":"G-%x","note":"said \"yes\", at 50%% off"}`, n, n, r.Uint64())
		}),
		"HTML": fill("<html>", "</html>", func(n int) string {
			return fmt.Sprintf("<li class=\"item\"><a href='/p/%d?x=1&amp;y=2'>Tent &amp; pole &#233; = %d</a></li>\n", n, n)
		}),
		"text": fill("", "", func(n int) string {
			return fmt.Sprintf("2026-01-01T10:00:00Z info: order %d of user=%d took %d ms; status=ok\n", n, n%997, n%100)
		}),
		"base64":  `{"image":"` + base64.StdEncoding.EncodeToString(random[:size*3/4]) + `"}`,
		"bytes":   string(random),
		"escapes": fill(`{"a":"`, `"}`, func(n int) string { return fmt.Sprintf(`\u00e9\/%%2F%%20line\n%d`, n) }),
	}
}

// BenchmarkBig measures redaction and search of a large answer.
func BenchmarkBig(b *testing.B) {
	for name, body := range bigBodies() {
		red := redactor([]byte("a key of some length"), []Secret{{Name: "S", Value: "correct horse battery"}})
		b.Run(name+"/redact", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				red.Body("", body)
			}
		})
		b.Run(name+"/gate", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				red.find(body, 0)
			}
		})
	}
}

// TestTextsOfNothingButSigns checks that the time for a text grows only in proportion
// to its length, even if every few bytes may begin a secret. If the text were searched
// again from each of them, this test would not end.
func TestTextsOfNothingButSigns(t *testing.T) {
	red := redactor([]byte("a key of some length"), []Secret{{Name: "S", Value: "correct horse battery"}})
	for _, unit := range []string{">", "a>b", "<a>", "token:", "token=a.", "token: /*", "token: //", "4111 ",
		"eyJabcdefgh.", "-----BEGIN PRIVATE KEY-----", "://a:", "a@b.", "&amp;", `\\`, "\ndata:"} {
		text := strings.Repeat(unit, (1<<20)/len(unit))
		red.Text(text)
		red.find(text, 0)
	}
}

// growths are texts of any length in which a part is repeated.
func growths() map[string]func(n int) string {
	out := map[string]func(n int) string{}
	numbered := func(name, open, format, end string) {
		out[name] = func(size int) string {
			var b strings.Builder
			b.WriteString(open)
			for n := 0; b.Len() < size; n++ {
				fmt.Fprintf(&b, format, n)
			}
			return b.String() + end
		}
	}
	numbered("addresses", "", "a%08d@shop.co.uk\n", "")
	numbered("names behind values", "[0", `,{"value":"x%08dabcdefgh","name":"password"}`, "]")
	numbered("tokens that begin alike", "[0",
		`,{"token":"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIx%08d"}`, "]")
	numbered("columns", "id,password\n", "%08d,hunter2hunter2\n", "")
	numbered("cookies", "", "<input name=token value=\"abc%08d\"> ", "")
	numbered("lines of base64", "", "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVy%08d\n", "")
	out["deep"] = func(n int) string { return strings.Repeat("[", n/2) + strings.Repeat("]", n/2) }
	out["an array in an array"] = func(n int) string { return strings.Repeat("\x91", n) }
	// Also random combinations of parts that have a meaning.
	parts := []string{"<token>", "</token>", "<![CDATA[", "]]>", "eyJ", "AKIA", "://", "@", "password=", `"token":"`,
		"value=\"", "name='password'", "{", "}", "[", "]", ",", "\n", `\`, `\u0026`, "&amp;", "%25", "=\n", "=3D", "+", "  ",
		"-----BEGIN PRIVATE KEY-----", "4111 ", "1234", "sk_live_", "Bearer ", "a.b", "\ndata:", "/*", "//", "<", ">",
		"=", "=>", ":", "\"", "'", "x@y.zz", "é", "aGVsbG8gd29ybGQh", "68656c6c6f20776f726c64", "REDACTED:", "curl -u a:b "}
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		unit := ""
		for range 1 + r.IntN(5) {
			unit += parts[r.IntN(len(parts))]
		}
		out[fmt.Sprintf("%q", unit)] = func(n int) string { return strings.Repeat(unit, n/len(unit)+1) }
	}
	return out
}

// TestEffortGrowsWithTheText checks that four times the text takes at most five times
// the effort, in bytes searched. With quadratic effort it would be sixteen times.
func TestEffortGrowsWithTheText(t *testing.T) {
	of := func(text string, f func(red *Redactor, text string)) int64 {
		red := redactor([]byte("a key of some length"), []Secret{{Name: "S", Value: "correct horse battery"}})
		e := &effort{}
		red.effort, red.known.effort = e, e
		f(red, text)
		return e.n.Load()
	}
	for name, text := range growths() {
		for what, f := range map[string]func(red *Redactor, text string){
			"redaction":  func(red *Redactor, text string) { red.Text(text) },
			"the search": func(red *Redactor, text string) { red.find(text, 0) },
			"a header":   func(red *Redactor, text string) { red.cookie(text, true) },
		} {
			// Below a limit of the search, the effort may still grow like that.
			grows := func(n int) bool { return of(text(4*n), f) > 5*of(text(n), f)+int64(n) }
			if grows(1<<12) && grows(1<<15) {
				t.Errorf("%s of %s: more than five times the effort for four times the text", what, name)
			}
		}
	}
}
