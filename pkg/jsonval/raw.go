// Package jsonval reads and writes single JSON values: what they are to JavaScript (kind, truth, text, number), whose
// rules the mapping language has; and what forms of them partners ask for (times, hashes, personal data). Values are
// raw JSON text, known to be valid. It knows nothing of mappings, fields or partners.
package jsonval

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
)

// Article is the indefinite article of a word, for messages.
func Article(s string) string {
	if s != "" && strings.IndexByte("aeiou", s[0]) >= 0 {
		return "an"
	}
	return "a"
}

// TrimText is a text without what JavaScript holds to be white space at its ends.
func TrimText(b []byte) []byte {
	return bytes.TrimFunc(b, IsSpace)
}

// IsSpace says that a character is white space to JavaScript's trim.
func IsSpace(c rune) bool {
	switch c {
	case '\t', '\n', '\v', '\f', '\r', ' ', 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff:
		return true
	}
	return c >= 0x2000 && c <= 0x200a
}

// KindName names a kind as messages do, and JavaScript mostly.
func KindName(k event.Kind) string {
	switch k {
	case event.Null:
		return "null"
	case event.Bool:
		return "boolean"
	case event.Number:
		return "number"
	case event.String:
		return "string"
	case event.Array:
		return "array"
	case event.Object:
		return "object"
	}
	return "undefined"
}

// CutText returns at most limit bytes of text, cut between characters, as
// mapping.Cut does.
func CutText(text []byte, limit int, more string) []byte {
	if len(text) <= limit {
		return text
	}
	clip := func(b []byte, n int) []byte {
		n = max(n, 0)
		for n > 0 && n < len(b) && !utf8.RuneStart(b[n]) {
			n--
		}
		return b[:min(n, len(b))]
	}
	if more == "" {
		return clip(text, limit)
	}
	// The note's own length depends on the count in it, so cut until both fit.
	room := limit
	for {
		kept := clip(text, room)
		note := strings.ReplaceAll(more, "{n}", strconv.Itoa(utf8.RuneCount(text)-utf8.RuneCount(kept)))
		if len(kept)+len(note) <= limit {
			return append(bytes.Clone(kept), note...)
		}
		if len(kept) == 0 {
			return clip(text, limit) // there is no room for the note at all
		}
		room = min(limit-len(note), len(kept)-1)
	}
}

// Undefined is a byte that cannot occur in JSON text. In values that a mapping has computed it stands for what is
// undefined, between directives that tell that from null.
const Undefined = 0x01

// KindOf tells the kind of a value from its first byte. What is empty, or [Undefined], is missing.
func KindOf(raw []byte) event.Kind {
	if len(raw) == 0 {
		return event.Missing
	}
	switch raw[0] {
	case '{':
		return event.Object
	case '[':
		return event.Array
	case '"':
		return event.String
	case 't', 'f':
		return event.Bool
	case 'n':
		return event.Null
	case Undefined:
		return event.Missing
	}
	return event.Number
}

// IsEmpty reports whether raw is {} or [].
func IsEmpty(raw []byte) bool {
	if len(raw) < 2 || raw[0] != '{' && raw[0] != '[' {
		return false
	}
	return event.SkipSpace(raw, 1) == len(raw)-1
}

// AppendStripped appends a value without its [Undefined] marks: members that are undefined go, elements become null.
// Text without marks is copied.
func AppendStripped(dst, raw []byte) []byte {
	if bytes.IndexByte(raw, Undefined) < 0 {
		return append(dst, raw...)
	}
	switch KindOf(raw) {
	case event.Missing:
		return append(dst, "null"...)
	case event.Object:
		dst = append(dst, '{')
		n := len(dst)
		event.EachMember(raw, func(key, val []byte) {
			if KindOf(val) == event.Missing {
				return
			}
			if len(dst) > n {
				dst = append(dst, ',')
			}
			dst = append(append(dst, key...), ':')
			dst = AppendStripped(dst, val)
		})
		return append(dst, '}')
	case event.Array:
		dst = append(dst, '[')
		n := len(dst)
		event.EachElement(raw, func(val []byte) {
			if len(dst) > n {
				dst = append(dst, ',')
			}
			dst = AppendStripped(dst, val)
		})
		return append(dst, ']')
	}
	return append(dst, raw...)
}

// hex4 reads four hex digits; the text is valid.
func hex4(s []byte) rune {
	n, _ := strconv.ParseUint(string(s[:4]), 16, 16)
	return rune(n)
}

// Text is the decoded text of a JSON string.
func Text(raw []byte) string { return string(event.AppendUnquoted(nil, raw)) }

// AppendCanonicalText appends a JSON string as JSON.stringify writes it, keeping half a surrogate pair as the escape
// that it can only be.
func AppendCanonicalText(dst, raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return append(dst, raw...)
	}
	dst = append(dst, '"')
	s := raw[1 : len(raw)-1]
	for len(s) > 0 {
		if s[0] != '\\' {
			k := bytes.IndexByte(s, '\\')
			if k < 0 {
				k = len(s)
			}
			dst = append(dst, s[:k]...)
			s = s[k:]
			continue
		}
		switch s[1] {
		case '/':
			dst, s = append(dst, '/'), s[2:]
		case 'u':
			r := hex4(s[2:])
			n := 6
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
					pair = utf16.DecodeRune(r, hex4(s[8:]))
				}
				if pair == utf8.RuneError {
					dst = append(dst, bytes.ToLower(s[:6])...)
				} else {
					dst, n = utf8.AppendRune(dst, pair), 12
				}
			} else {
				var b [utf8.UTFMax]byte
				q := event.AppendQuoted(nil, b[:utf8.EncodeRune(b[:], r)])
				dst = append(dst, q[1:len(q)-1]...)
			}
			s = s[n:]
		default:
			dst, s = append(dst, s[:2]...), s[2:]
		}
	}
	return append(dst, '"')
}

// IsPlainInteger reports whether a number's text is an integer without exponent. Such numbers are kept digit for digit
// everywhere, so that ids beyond 2^53 survive, which JavaScript would round.
func IsPlainInteger(raw []byte) bool {
	for i, c := range raw {
		if (c < '0' || c > '9') && (c != '-' || i != 0) {
			return false
		}
	}
	return len(raw) > 0 && string(raw) != "-0"
}

// AppendNumber appends a number's text as JavaScript prints it.
func AppendNumber(dst, raw []byte) []byte {
	if IsPlainInteger(raw) {
		return append(dst, raw...)
	}
	// An overflow gives an infinity, as in JavaScript.
	f, _ := strconv.ParseFloat(string(raw), 64)
	return event.AppendFloatJS(dst, f)
}

// Truthy is JavaScript's idea of whether a value is true.
func Truthy(k event.Kind, raw []byte) bool {
	switch k {
	case event.Missing, event.Null:
		return false
	case event.Bool:
		return raw[0] == 't'
	case event.String:
		return len(raw) > 2
	case event.Number:
		f, _ := strconv.ParseFloat(string(raw), 64)
		return f != 0
	}
	return true
}

// AppendText appends what String(value) gives in JavaScript, decoded. Null and undefined give nothing, as they do
// inside arrays and templates.
func AppendText(dst, raw []byte) []byte {
	switch KindOf(raw) {
	case event.String:
		return event.AppendUnquoted(dst, raw)
	case event.Number:
		return AppendNumber(dst, raw)
	case event.Bool:
		return append(dst, raw...)
	case event.Object:
		return append(dst, "[object Object]"...)
	case event.Array:
		first := true
		event.EachElement(raw, func(val []byte) {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = AppendText(dst, val)
		})
	}
	return dst
}

// EachUnit calls f with every UTF-16 unit of a JSON string, as a JSON string: what JavaScript gets when it indexes a
// string. f must not keep it.
func EachUnit(raw []byte, f func(unit []byte)) {
	s := raw[1 : len(raw)-1]
	var buf [16]byte
	escaped := func(u rune) {
		f(append(strconv.AppendUint(append(buf[:0], `"\u`...), uint64(u), 16), '"'))
	}
	for len(s) > 0 {
		if s[0] == '\\' {
			n := 2
			if s[1] == 'u' {
				n = 6
				if u := hex4(s[2:]); !utf16.IsSurrogate(u) {
					f(event.AppendQuoted(buf[:0], utf8.AppendRune(nil, u)))
					s = s[n:]
					continue
				}
			}
			f(append(append(append(buf[:0], '"'), s[:n]...), '"'))
			s = s[n:]
			continue
		}
		c, n := utf8.DecodeRune(s)
		if c > 0xffff {
			a, b := utf16.EncodeRune(c)
			escaped(a)
			escaped(b)
		} else {
			f(append(append(append(buf[:0], '"'), s[:n]...), '"'))
		}
		s = s[n:]
	}
}
