package cassette

import (
	"html"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// view is a text with one layer of escapes undone, and where each of its bytes
// came from.
type view struct {
	text string
	at   []int32 // nil: as it is; else one more than bytes
}

// place is where a part of the view stands in the text that it was made of.
func (v *view) place(from, to int) (int, int) {
	if v.at == nil {
		return from, to
	}
	return int(v.at[from]), int(v.at[to])
}

// undo undoes the escapes of URLs, JSON, JavaScript, shells and HTML wherever they
// stand: %2F, \u002F, \x2f, \/, &amp;, &#x2F;. ok is false when there are none.
// Escapes within escapes are the next layer.
func undo(s string, plus bool) (v view, ok bool) {
	if !strings.ContainsAny(s, `%\&`) && !(plus && strings.Contains(s, "+")) || len(s) > 1<<31-1 {
		return view{}, false
	}
	text := make([]byte, 0, len(s))
	at := make([]int32, 0, len(s)+1)
	for i := 0; i < len(s); {
		n := 1
		var b [utf8.UTFMax]byte
		put := b[:0]
		switch s[i] {
		case '%':
			if c, is := hexByte(s, i+1); is {
				n, put = 3, append(put, c)
			}
		case '\\':
			put, n = undoBackslash(s, i, put)
		case '&':
			put, n = undoEntity(s, i, put)
		case '+':
			if plus {
				put = append(put, ' ')
			}
		}
		if len(put) == 0 {
			put, n = append(put, s[i]), 1
		} else if n > 1 || s[i] == '+' {
			ok = true
		}
		for _, c := range put {
			text, at = append(text, c), append(at, int32(i))
		}
		i += n
	}
	return view{string(text), append(at, int32(len(s)))}, ok
}

func hexByte(s string, i int) (byte, bool) {
	if i+2 > len(s) {
		return 0, false
	}
	n, err := strconv.ParseUint(s[i:i+2], 16, 8)
	return byte(n), err == nil && s[i] != '+'
}

// undoBackslash undoes one escape of JSON or of a programming language.
func undoBackslash(s string, i int, put []byte) ([]byte, int) {
	if i+1 >= len(s) {
		return put, 1
	}
	switch c := s[i+1]; c {
	case 'u':
		if i+6 <= len(s) {
			if n, err := strconv.ParseUint(s[i+2:i+6], 16, 16); err == nil {
				return utf8.AppendRune(put, rune(n)), 6
			}
		}
	case 'x':
		if b, ok := hexByte(s, i+2); ok {
			return append(put, b), 4
		}
	case 'n', 'r', 't':
		return append(put, ' '), 2
	case '/', '"', '\\', '\'':
		return append(put, c), 2
	}
	return put, 1
}

// undoEntity undoes one entity of HTML or XML.
func undoEntity(s string, i int, put []byte) ([]byte, int) {
	end := strings.IndexByte(s[i:min(len(s), i+12)], ';')
	if end < 3 {
		return put, 1
	}
	plain := html.UnescapeString(s[i : i+end+1])
	if plain == s[i:i+end+1] || len(plain) > utf8.UTFMax {
		return put, 1
	}
	return append(put, plain...), end + 1
}

// undoPrintable undoes quoted-printable, the soft line ends of which are what
// tells it; ok is false when there are none.
func undoPrintable(s string) (v view, ok bool) {
	if !strings.Contains(s, "=\r\n") && !strings.Contains(s, "=\n") && !strings.Contains(s, "=3D") || len(s) > 1<<31-1 {
		return view{}, false
	}
	text := make([]byte, 0, len(s))
	at := make([]int32, 0, len(s)+1)
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "=\r\n"):
			i += 3
			continue
		case strings.HasPrefix(s[i:], "=\n"):
			i += 2
			continue
		}
		c, n := s[i], 1
		if c == '=' {
			if b, ok := hexByte(s, i+1); ok && strings.ToUpper(s[i+1:i+3]) == s[i+1:i+3] {
				c, n = b, 3
			}
		}
		text, at = append(text, c), append(at, int32(i))
		i += n
	}
	return view{string(text), append(at, int32(len(s)))}, true
}

// layers is how many escapes within escapes are undone.
const layers = 3

// nthView is the n-th of the views of a text that are looked at: as it is, with one
// to three layers of escapes undone, with + for blanks, and without the escapes of
// quoted-printable. Its text is empty where there is no such view; more is false
// behind the last.
func nthView(s string, n int) (v view, more bool) {
	switch {
	case n == 0:
		return view{text: s}, true
	case n <= layers:
		return undone(s, n, false), true
	case n <= 2*layers:
		if strings.Contains(s, "+") || strings.Contains(s, "%") && (strings.Contains(s, "2B") || strings.Contains(s, "2b")) {
			v = undone(s, n-layers, true)
		}
		return v, true
	case n == 2*layers+1:
		v, _ = undoPrintable(s)
		return v, true
	}
	return view{}, false
}

// lastView is the number of the last view that a text can have.
func lastView(s string) int {
	switch {
	case len(s) > 1<<16 && !utf8.ValidString(s): // bytes have no escapes
		return 0
	case strings.Contains(s, "=") && strings.ContainsAny(s, "\n3"):
		return 2*layers + 1
	case strings.Contains(s, "+"):
		return 2 * layers
	case strings.Contains(s, "%"):
		return 2 * layers
	case strings.ContainsAny(s, `\&`):
		return layers
	}
	return 0
}

// undone has n layers of escapes undone; it is empty where there are not so many.
func undone(s string, n int, plus bool) view {
	v, ok := undo(s, plus)
	for k := 1; ok && k < n; k++ {
		var inner view
		if inner, ok = undo(v.text, plus); ok {
			for i := range inner.at {
				inner.at[i] = v.at[inner.at[i]]
			}
			v = inner
		}
	}
	if !ok {
		return view{}
	}
	return v
}

// like writes a replacement as what it replaces was written.
func like(raw, with string) string {
	switch {
	case strings.Contains(raw, "%"):
		return url.QueryEscape(with)
	case strings.Contains(raw, `\`):
		q := quote(with)
		return string(q[1 : len(q)-1])
	case strings.Contains(raw, "&") && strings.Contains(raw, ";"):
		return html.EscapeString(with)
	}
	return with
}
