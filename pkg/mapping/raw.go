package mapping

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
)

// Values that a mapping computes are JSON text without an index, which event's
// functions for such text walk, with one addition: the byte undefinedMark, which
// cannot occur in JSON text, stands for undefined between directives that tell it
// from null.
const undefinedMark = 0x01

// kindOf tells the kind of a value from its first byte.
func kindOf(raw []byte) event.Kind {
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
	case undefinedMark:
		return event.Missing
	}
	return event.Number
}

// isEmptyContainer reports whether raw is {} or [].
func isEmptyContainer(raw []byte) bool {
	if len(raw) < 2 || raw[0] != '{' && raw[0] != '[' {
		return false
	}
	return event.SkipSpace(raw, 1) == len(raw)-1
}

// appendStripped appends text without its undefined marks: members that are
// undefined go, elements become null. Text without marks is copied.
func appendStripped(dst, raw []byte) []byte {
	if bytes.IndexByte(raw, undefinedMark) < 0 {
		return append(dst, raw...)
	}
	switch kindOf(raw) {
	case event.Missing:
		return append(dst, "null"...)
	case event.Object:
		dst = append(dst, '{')
		n := len(dst)
		event.EachMember(raw, func(key, val []byte) {
			if kindOf(val) == event.Missing {
				return
			}
			if len(dst) > n {
				dst = append(dst, ',')
			}
			dst = append(append(dst, key...), ':')
			dst = appendStripped(dst, val)
		})
		return append(dst, '}')
	case event.Array:
		dst = append(dst, '[')
		n := len(dst)
		event.EachElement(raw, func(val []byte) {
			if len(dst) > n {
				dst = append(dst, ',')
			}
			dst = appendStripped(dst, val)
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

func decodeText(raw []byte) string { return string(event.AppendUnquoted(nil, raw)) }

// appendCanonicalString appends a JSON string as JSON.stringify writes it,
// keeping half a surrogate pair as the escape that it can only be.
func appendCanonicalString(dst, raw []byte) []byte {
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

// plainInteger reports whether a number's text is an integer without
// exponent. Such numbers are kept digit for digit everywhere, so that ids
// beyond 2^53 survive, which JavaScript would round.
func plainInteger(raw []byte) bool {
	for i, c := range raw {
		if (c < '0' || c > '9') && (c != '-' || i != 0) {
			return false
		}
	}
	return len(raw) > 0 && string(raw) != "-0"
}

// appendNumber appends a number's text as JavaScript prints it.
func appendNumber(dst, raw []byte) []byte {
	if plainInteger(raw) {
		return append(dst, raw...)
	}
	// An overflow gives an infinity, as in JavaScript.
	f, _ := strconv.ParseFloat(string(raw), 64)
	return event.AppendFloatJS(dst, f)
}

func truthyRaw(k event.Kind, raw []byte) bool {
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

// appendJSText appends what String(value) gives in JavaScript, decoded.
// Null and undefined give nothing, as they do inside arrays and templates.
func appendJSText(dst, raw []byte) []byte {
	switch kindOf(raw) {
	case event.String:
		return event.AppendUnquoted(dst, raw)
	case event.Number:
		return appendNumber(dst, raw)
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
			dst = appendJSText(dst, val)
		})
	}
	return dst
}
