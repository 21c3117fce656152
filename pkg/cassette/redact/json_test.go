package redact

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzUnquoteJSON checks that a JSON text is decoded as encoding/json does.
func FuzzUnquoteJSON(f *testing.F) {
	for _, s := range []string{`a`, `\"\\\/\b\f\n\r\t`, `é\ud83d\ude00\ud83dx\ude00\ud83d\u0041`, "\xff\u00e9", `\ud83d`,
		`\u12`, `\`, `ends in \\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want string
		if json.Unmarshal([]byte(`"`+s+`"`), &want) != nil {
			return
		}
		got := unquoteJSON(`"` + s + `"`)
		// The number of U+FFFD for invalid bytes in a row may differ.
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
