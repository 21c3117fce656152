package printable

import (
	"unicode"

	"golang.org/x/text/width"
)

// Width is how many columns of a terminal a text takes: two for a character of East Asia and an emoji, none for a mark
// that stands on another one. What terminals themselves do not agree on, such as families of emoji, may differ.
func Width(s string) (columns int) {
	for _, r := range s {
		switch {
		case r < 0x300: // most texts have no others
			columns++
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		default:
			columns++
			if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
				columns++
			}
		}
	}
	return columns
}

// Begin is as much of the beginning of a text as fits into so many columns, with a mark where something was cut off.
func Begin(s string, columns int) string {
	if Width(s) <= columns {
		return s
	}
	taken := 0
	for i, r := range s {
		if taken += Width(string(r)); taken > columns-1 {
			return s[:i] + "…"
		}
	}
	return "…"
}

// End is as much of the end of a text as fits, in the same way.
func End(s string, columns int) string {
	if Width(s) <= columns {
		return s
	}
	rest := Width(s)
	for i, r := range s {
		if rest <= columns-1 {
			return "…" + s[i:]
		}
		rest -= Width(string(r))
	}
	return "…"
}
