package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// A token stands for a secret. The same value always gets the same token, whatever its
// name is and wherever it stands, so that equal values stay equal. It depends on a key:
// without that, nobody can find the value by trying. Numbers that have to stay numbers,
// and email addresses, have tokens in a form of their own.
const (
	tokenMark   = "REDACTED:"
	numberMark  = "999000" // followed by nine digits
	tokenLength = 16       // hexadecimal digits; 8 in cassettes of earlier versions
)

var (
	tokenRE  = regexp.MustCompile(`REDACTED(?::|%3[Aa])([a-z0-9_]+)(?::|%3[Aa])([0-9a-f]{16}|[0-9a-f]{8})`)
	emailRE  = regexp.MustCompile(`user-([0-9a-f]{16}|[0-9a-f]{8})(?:@|%40)example\.invalid`)
	numberRE = regexp.MustCompile(`\b999000\d{9}\b`)
	wholeRE  = regexp.MustCompile(`^(?:REDACTED(?::|%3[Aa])[a-z0-9_]+(?::|%3[Aa])(?:[0-9a-f]{16}|[0-9a-f]{8})|` +
		`user-(?:[0-9a-f]{16}|[0-9a-f]{8})(?:@|%40)example\.invalid|999000\d{9})$`)
)

// IsToken is true if a text is a token and nothing else.
func IsToken(s string) bool { return wholeRE.MatchString(s) }

// replaced is true for a text with tokens in the place of what was secret in it. What else it says are names and words:
// a part with letters and digits, as long as a password, is not among them.
func replaced(s string) bool {
	if !tokenRE.MatchString(s) {
		return false
	}
	for _, word := range strings.FieldsFunc(tokenRE.ReplaceAllString(s, " "), func(c rune) bool {
		return c > 0x7f || !IsAlnum(byte(c))
	}) {
		if len(word) >= 8 && strings.ContainsAny(word, "0123456789") &&
			strings.ContainsFunc(word, func(c rune) bool { return c > '9' }) {
			return false
		}
	}
	return true
}

// Token is a token in a text, and the kind of the value that it replaces.
type Token struct{ Text, Kind string }

// Tokens returns the tokens in a text, but at most so many of each form.
func Tokens(s string, most int) (out []Token) {
	if !strings.Contains(s, tokenMark[:len(tokenMark)-1]) && !strings.Contains(s, "example.invalid") &&
		!strings.Contains(s, numberMark) {
		return nil
	}
	for _, m := range tokenRE.FindAllStringSubmatch(s, most) {
		out = append(out, Token{m[0], m[1]})
	}
	for _, m := range emailRE.FindAllString(s, most) {
		out = append(out, Token{m, "email"})
	}
	for _, m := range numberRE.FindAllString(s, most) {
		out = append(out, Token{m, "number"})
	}
	return out
}

// ReplaceTokens replaces each token that is not a number by the result of f, which is
// called with the kind (token or email) and the text.
func ReplaceTokens(b []byte, f func(kind, text string) string) []byte {
	b = tokenRE.ReplaceAllFunc(b, func(m []byte) []byte { return []byte(f("token", string(m))) })
	return emailRE.ReplaceAllFunc(b, func(m []byte) []byte { return []byte(f("email", string(m))) })
}

// sum is a keyed hash of a value.
func (r *Redactor) sum(value string) []byte {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(value))
	return mac.Sum(nil)
}

// token returns the token for a value.
func (r *Redactor) token(kind, value string) string {
	sum := hex.EncodeToString(r.sum(value)[:tokenLength/2])
	if kind == "email" {
		return "user-" + sum + "@example.invalid"
	}
	return tokenMark + kindInToken(kind) + ":" + sum
}

func kindInToken(kind string) string {
	kind = strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_':
			return c
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		}
		return -1
	}, kind)
	if kind == "" {
		return "secret"
	}
	return kind
}

// number returns the token for a value that is a number in JSON.
func (r *Redactor) number(value string) string {
	return numberMark + fmt.Sprintf("%09d", binary.BigEndian.Uint64(r.sum(value)[:8])%1e9)
}

// Fingerprint identifies the key without revealing it.
func (r *Redactor) Fingerprint() string {
	sum := sha256.Sum256(append([]byte("fanfold redaction key 2\x00"), r.key...))
	return hex.EncodeToString(sum[:4])
}

// tokens are the tokens in the replayed cassettes, with the kind of each by its digits.
// With them, a later run recognises the same values in its requests. By its digits a
// token is also found where it is encoded.
type tokens map[string]string

// collect adds the tokens in a text, also those within base64 and hexadecimal digits.
func (t tokens) collect(s string) {
	add := func(digits, kind string) {
		if t[digits] == "" { // the first kind is the one that the value has everywhere
			t[digits] = kind
		}
	}
	for _, m := range tokenRE.FindAllStringSubmatch(s, -1) {
		add(m[2], m[1])
	}
	for _, m := range emailRE.FindAllStringSubmatch(s, -1) {
		add(m[1], "email")
	}
	for _, m := range numberRE.FindAllString(s, -1) {
		add(m, "number")
	}
	for e := range runs(s) {
		if strings.Contains(e.plain, tokenMark) || strings.Contains(e.plain, "example.invalid") {
			t.collect(e.plain)
		}
	}
}

// recognised appends the words of a text for which a cassette has a token. When they
// were recorded, some name or place announced them as secret; here that does not
// matter.
func (r *Redactor) recognised(s string, found []match) []match {
	if len(r.tokens) == 0 || len(s) < 4 {
		return found
	}
	try := func(from, to int) bool {
		v := s[from:to]
		if len(v) < 4 || len(v) > 1<<12 || IsToken(v) || !learnable(v) {
			return false // also when it was recorded such a value was only replaced where a name or place announced it
		}
		kind := r.tokens[hex.EncodeToString(r.sum(v)[:tokenLength/2])]
		if kind == "" || personal(kind) {
			return false
		}
		found = append(found, match{from: from, to: to, kind: "secret", with: r.token(kind, v), exact: true})
		return true
	}
	if try(0, len(s)) {
		return found
	}
	for i := 0; i < len(s); i++ {
		if !IsWord(s[i]) {
			continue
		}
		from := i
		for i < len(s) && IsWord(s[i]) {
			i++
		}
		if !try(from, i) {
			for _, between := range []string{"/", "/=", "/=.+"} { // the parts of the word
				eachPart(s, from, i, between, try)
			}
		}
	}
	return found
}

// eachPart calls f with the parts of a word that are separated by certain bytes.
func eachPart(s string, from, to int, between string, f func(from, to int) bool) {
	for at := from; at < to; {
		end := at
		for end < to && strings.IndexByte(between, s[end]) < 0 {
			end++
		}
		if end-at < to-from {
			f(at, end)
		}
		at = end + 1
	}
}

// SameTokens reduces tokens to the value for which they stand. The kind is dropped,
// because it depends on which name announced the value first. Colons may be escaped.
func SameTokens(b []byte) []byte {
	if !bytes.Contains(b, []byte("REDACTED")) && !bytes.Contains(b, []byte("example.invalid")) {
		return b
	}
	b = tokenRE.ReplaceAll(b, []byte("<token $2>"))
	return emailRE.ReplaceAll(b, []byte("<token $1>"))
}
