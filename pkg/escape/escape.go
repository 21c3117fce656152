// Package escape undoes the escapes with which servers and programs write other people's texts: those of URLs, JSON,
// JavaScript, shells and HTML. Whoever looks for a secret in a text has to see what its readers will see.
package escape

import (
	"html"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Signs are the bytes with which an escape begins.
const Signs = `%\&`

// LongestEntity is how many bytes of an entity of HTML are understood, with & and semicolon.
const LongestEntity = 12

// Undo appends the text that the escape at s[i] stands for: %2F, \u002F, \x2f, \/, &amp;, &#x2F;. n is the escape's
// length; 0: none begins there.
func Undo(dst []byte, s string, i int) (out []byte, n int) {
	switch s[i] {
	case '%':
		if v, ok := hexOf(s, i+1, 2); ok {
			return append(dst, byte(v)), 3
		}
	case '\\':
		return undoBackslash(dst, s[i:])
	case '&':
		end := strings.IndexByte(s[i:min(len(s), i+LongestEntity)], ';')
		if end < 3 {
			break
		}
		entity := s[i : i+end+1]
		if plain := html.UnescapeString(entity); plain != entity && len(plain) <= utf8.UTFMax {
			return append(dst, plain...), end + 1
		}
	}
	return dst, 0
}

// undoBackslash undoes the escape at the beginning of a text. What no language escapes is part of the text, as in a
// path of Windows.
func undoBackslash(dst []byte, s string) (out []byte, n int) {
	if len(s) < 2 {
		return dst, 0
	}
	switch c := s[1]; c {
	case 'u':
		v, ok := hexOf(s, 2, 4)
		if !ok {
			return dst, 0
		}
		if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
			if low, ok := hexOf(s, 8, 4); ok {
				if r := utf16.DecodeRune(rune(v), rune(low)); r != utf8.RuneError {
					return utf8.AppendRune(dst, r), 12
				}
			}
		}
		return utf8.AppendRune(dst, rune(v)), 6
	case 'x':
		if v, ok := hexOf(s, 2, 2); ok {
			return append(dst, byte(v)), 4
		}
	case '/', '"', '\'', '\\', '&', '<', '>':
		return append(dst, c), 2
	default:
		if k := strings.IndexByte("nrtbf", c); k >= 0 {
			return append(dst, "\n\r\t\b\f"[k]), 2
		}
	}
	return dst, 0
}

// hexOf reads hexadecimal digits.
func hexOf(s string, at, digits int) (v uint64, ok bool) {
	if at+digits > len(s) {
		return 0, false
	}
	v, err := strconv.ParseUint(s[at:at+digits], 16, 16)
	return v, err == nil
}
