package printable

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func text(s string) string { return string(appendText(nil, []byte(s))) }

// TestText: what a terminal would obey is written out, the rest stays.
func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain, with\ttabs\nand äöü, 漢字, 🙂": "plain, with\ttabs\nand äöü, 漢字, 🙂",
		"\x1b[31mred\x1b]0;title\x07":       `\u001b[31mred\u001b]0;title\u0007`,
		"\u009b31m":                         `\u009b31m`,
		"\x9b31m":                           `\ufffd31m`,
		"\u202egnp.exe\u202c \u2066x\u2069": `\u202egnp.exe\u202c \u2066x\u2069`,
		"a\rb":                              `a\u000db`,
		"a\r\nb":                            "a\r\nb",
		"\x00\x08\x7f":                      `\u0000\u0008\u007f`,
		"\ufeff\u200b\u00ad":                `\ufeff\u200b\u00ad`,
		"\U000e0041":                        `\udb40\udc41`,
		"👩\u200d💻":                          "👩\u200d💻",
		"a\u2028b":                          `a\u2028b`,
	} {
		if got := text(in); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
		if got := text(text(in)); got != want {
			t.Errorf("%q: doing it twice makes %q", in, got)
		}
	}
}

// TestWriter: a character may come in parts, and JSON stays the same JSON.
func TestWriter(t *testing.T) {
	type doc struct{ A string }
	in, err := json.Marshal(doc{"x\x1b\u009b\u202e\x7f🙂ä\u2028"})
	if err != nil {
		t.Fatal(err)
	}
	for size := 1; size < 8; size++ {
		var b bytes.Buffer
		w := NewWriter(&b, nil)
		for i := 0; i < len(in); i += size {
			part := in[i:min(i+size, len(in))]
			if n, err := w.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if strings.ContainsAny(b.String(), "\u009b\u202e\x7f") || !utf8.Valid(b.Bytes()) {
			t.Errorf("in parts of %d: %q", size, b.String())
		}
		var was, is doc
		if json.Unmarshal(in, &was) != nil || json.Unmarshal(b.Bytes(), &is) != nil || was != is {
			t.Errorf("in parts of %d: %q is other JSON than %q", size, b.String(), in)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b[2J\u009b\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := text(s)
		for _, r := range got {
			if hidden(r) {
				t.Errorf("%q left %q", s, got)
			}
		}
		if text(got) != got {
			t.Errorf("%q: %q changes again", s, got)
		}
	})
}
