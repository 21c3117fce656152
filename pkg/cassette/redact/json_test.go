package redact

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzUnquoteJSON: a text of JSON says the same here as it does to encoding/json.
func FuzzUnquoteJSON(f *testing.F) {
	for _, s := range []string{`a`, `\"\\\/\b\f\n\r\t`, `é\ud83d\ude00\ud83dx\ude00\ud83d\u0041`, "\xff\u00e9", `\ud83d`,
		`\u12`, `\`, `ends in \\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := unquoteJSON(s) // never panics
		var want string
		if json.Unmarshal([]byte(`"`+s+`"`), &want) != nil {
			return
		}
		// Of bytes that are no character in a row either says as many as it likes.
		one := func(s string) string {
			for strings.Contains(s, "\uFFFD\uFFFD") {
				s = strings.ReplaceAll(s, "\uFFFD\uFFFD", "\uFFFD")
			}
			return s
		}
		if one(got) != one(want) {
			t.Errorf("%q says %q, and not %q", s, want, got)
		}
	})
}
