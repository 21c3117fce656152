package escape

import "testing"

// TestUndo: each escape as its readers see it; what is none stays where it is.
func TestUndo(t *testing.T) {
	for escaped, want := range map[string]string{
		"%2F": "/", "%2f.": "/", `\u002F`: "/", `\ud83d\ude42`: "🙂", `\ud83dx`: "\ufffd", `\x2f`: "/", `\/`: "/",
		`\n`: "\n", `\f`: "\f", `\\`: `\`, "&amp;": "&", "&#47;": "/", "&#x2F;": "/", "&nbsp;": "\u00a0", "&plus;": "+",
		"%": "", "%4": "", "%+1": "", "%4g": "", `\`: "", `\u12`: "", `\u-123`: "", `\x1`: "", `\P`: "", "&": "", "&;": "",
		"&#;": "", "&unknown;": "", "&a-long-one-beyond;": "",
	} {
		out, n := Undo([]byte("before "), escaped, 0)
		if got := string(out[len("before "):]); got != want || (n == 0) != (want == "") || n > len(escaped) {
			t.Errorf("%q became %q, of %d bytes; want %q", escaped, got, n, want)
		}
	}
}
