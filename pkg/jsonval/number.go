package jsonval

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// FormatFloat is a number as JavaScript prints it.
func FormatFloat(f float64) string { return string(event.AppendFloatJS(nil, f)) }

// AppendSpelled appends the number that a JSON string spells by JavaScript's rules. The empty string spells none here,
// a blank one zero.
func AppendSpelled(dst, raw []byte) ([]byte, bool) {
	if len(raw) == 2 {
		return dst, false
	}
	text := raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		text = event.AppendUnquoted(nil, raw)
	}
	return appendJSNumber(dst, text)
}

func appendJSNumber(dst, text []byte) ([]byte, bool) {
	text = TrimText(text)
	if len(text) == 0 {
		return append(dst, '0'), true
	}
	digits := text
	if digits[0] == '-' || digits[0] == '+' {
		digits = digits[1:]
	}
	if len(digits) > 0 && (digits[0] != '0' || len(digits) == 1) && IsPlainInteger(digits) && digits[0] != '-' {
		if text[0] == '-' && digits[0] != '0' {
			dst = append(dst, '-')
		}
		return append(dst, digits...), true
	}
	if len(text) > 2 && text[0] == '0' {
		base := 0
		switch text[1] | 0x20 {
		case 'x':
			base = 16
		case 'o':
			base = 8
		case 'b':
			base = 2
		}
		if base != 0 {
			f := 0.0
			for _, c := range text[2:] {
				d := 99
				switch {
				case c >= '0' && c <= '9':
					d = int(c - '0')
				case c|0x20 >= 'a' && c|0x20 <= 'f':
					d = int(c|0x20-'a') + 10
				}
				if d >= base {
					return dst, false
				}
				f = f*float64(base) + float64(d)
			}
			return appendFloat(dst, f), true
		}
	}
	for _, c := range digits {
		if (c < '0' || c > '9') && c != '.' && c|0x20 != 'e' && c != '+' && c != '-' {
			if string(digits) == "Infinity" {
				return append(dst, "null"...), true // what JSON.stringify makes of it
			}
			return dst, false
		}
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !math.IsInf(f, 0) {
		return dst, false
	}
	return appendFloat(dst, f), true
}

func appendFloat(dst []byte, f float64) []byte {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return append(dst, "null"...)
	}
	return event.AppendFloatJS(dst, f)
}

// AppendNumberOf appends the number that a value is, as mapping.Number does. It reports
// false, with nothing appended, when it is none.
func AppendNumberOf(dst []byte, k event.Kind, raw []byte) ([]byte, bool) {
	at := len(dst)
	switch k {
	case event.Number:
		return append(dst, raw...), true
	case event.Bool:
		if raw[0] == 't' {
			return append(dst, '1'), true
		}
		return append(dst, '0'), true
	case event.String:
		text := TrimText(event.AppendUnquoted(nil, raw))
		if len(text) == 0 {
			return dst, false
		}
		out, ok := appendJSNumber(dst, text)
		if !ok || out[len(out)-1] == 'l' { // null stands for an infinity
			return out[:at], false
		}
		return out, true
	}
	return dst, false
}

// AppendBoolOf appends the boolean that a value is, as mapping.Bool does. It reports
// false, with nothing appended, when it is none.
func AppendBoolOf(dst []byte, k event.Kind, raw []byte) ([]byte, bool) {
	yes := false
	switch k {
	case event.Bool:
		return append(dst, raw...), true
	case event.Number:
		f, _ := strconv.ParseFloat(string(raw), 64)
		if f != 0 && f != 1 {
			return dst, false
		}
		yes = f == 1
	case event.String:
		switch strings.ToLower(strings.TrimSpace(Text(raw))) {
		case "true", "yes", "1":
			yes = true
		case "false", "no", "0":
		default:
			return dst, false
		}
	default:
		return dst, false
	}
	return strconv.AppendBool(dst, yes), true
}
