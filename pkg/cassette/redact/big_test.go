package redact

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// bigBodies are seven megabytes of what partners answer with.
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

// BenchmarkBig is what the redaction and the search of a large answer cost.
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

// TestTextsOfNothingButSigns: the time that a text takes grows with its length, also where
// every few bytes may be the beginning of something. If one of these is gone over again
// for each of them, this test does not end.
func TestTextsOfNothingButSigns(t *testing.T) {
	red := redactor([]byte("a key of some length"), []Secret{{Name: "S", Value: "correct horse battery"}})
	for _, unit := range []string{">", "a>b", "<a>", "token:", "token=a.", "token: /*", "token: //", "4111 ",
		"eyJabcdefgh.", "-----BEGIN PRIVATE KEY-----", "://a:", "a@b.", "&amp;", `\\`, "\ndata:"} {
		text := strings.Repeat(unit, (1<<20)/len(unit))
		red.Text(text)
		red.find(text, 0)
	}
}
