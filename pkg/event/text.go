package event

import (
	"bytes"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// appendUnescaped appends the decoded form of a string's bytes, which the
// scanner has validated.
func appendUnescaped(dst, s []byte) []byte {
	for len(s) > 0 {
		k := bytes.IndexByte(s, '\\')
		if k < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:k]...)
		r, size := unescape(s[k:])
		dst = utf8.AppendRune(dst, r)
		s = s[k+size:]
	}
	return dst
}

// unescape decodes the escape that s begins with.
func unescape(s []byte) (r rune, size int) {
	switch s[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r = hex4(s[2:])
		if utf16.IsSurrogate(r) {
			if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
				if both := utf16.DecodeRune(r, hex4(s[8:])); both != utf8.RuneError {
					return both, 12
				}
			}
			return utf8.RuneError, 6
		}
		return r, 6
	}
	return rune(s[1]), 2
}

func hex4(s []byte) rune {
	var r rune
	for _, c := range s[:4] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c | 0x20 - 'a' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}

// equalEscaped says that the decoded form of s is t.
func equalEscaped(s []byte, t string) bool {
	for len(s) > 0 {
		if s[0] != '\\' {
			if len(t) == 0 || t[0] != s[0] {
				return false
			}
			s, t = s[1:], t[1:]
			continue
		}
		r, size := unescape(s)
		var b [utf8.UTFMax]byte
		n := utf8.EncodeRune(b[:], r)
		if !strings.HasPrefix(t, string(b[:n])) {
			return false
		}
		s, t = s[size:], t[n:]
	}
	return len(t) == 0
}

// AppendQuoted appends s as a JSON string, written as JSON.stringify writes
// it: only quotes, backslashes and control characters are escaped. Bytes that
// are not UTF-8 pass through.
func AppendQuoted[T string | []byte](dst []byte, s T) []byte {
	i := special(s)
	if n := len(dst); i == len(s) { // nearly always
		if cap(dst)-n < i+2 {
			dst = slices.Grow(dst, i+2)
		}
		dst = dst[:n+i+2]
		dst[n], dst[n+i+1] = '"', '"'
		copy(dst[n+1:], s)
		return dst
	}
	dst = append(dst, '"')
	for from := 0; ; i = from + special(s[from:]) {
		dst = append(dst, s[from:i]...)
		if i == len(s) {
			return append(dst, '"')
		}
		from = i + 1
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
	}
}

// special is the index of the first byte of s that cannot stand in a JSON string
// as it is, else the length of s. It looks at eight bytes at a time (see
// scanner.str), the last of which may be some that it has seen: half the time of
// one byte after the other for a user agent, and no more for a short key.
func special[T string | []byte](s T) int {
	if len(s) < 8 {
		for i := 0; i < len(s); i++ {
			if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
				return i
			}
		}
		return len(s)
	}
	for i := 0; ; i += 8 {
		i = min(i, len(s)-8)
		c := s[i : i+8]
		w := uint64(c[0]) | uint64(c[1])<<8 | uint64(c[2])<<16 | uint64(c[3])<<24 | uint64(c[4])<<32 | uint64(
			c[5])<<40 | uint64(c[6])<<48 | uint64(c[7])<<56
		q, e := w^0x2222222222222222, w^0x5c5c5c5c5c5c5c5c
		m := ((w - 0x2020202020202020) &^ w) | ((q - 0x0101010101010101) &^ q) | ((e - 0x0101010101010101) &^ e)
		if m &= 0x8080808080808080; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		if i == len(s)-8 {
			return len(s)
		}
	}
}

// AppendFloatJS appends f as JavaScript's Number-to-string conversion writes
// it: 1e+21, 1e-7, 0.1, 100. NaN and the infinities by their JavaScript names.
func AppendFloatJS(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	case f == 0:
		return append(dst, '0')
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// Go writes at least two digits of exponent; JavaScript writes no zero in
	// front.
	if n := len(dst); n >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// Float returns a Number as a float64 and whether it is one. Values beyond the
// range of float64 become infinities, as they do in JavaScript.
func (v Value) Float() (float64, bool) {
	if v.kind != Number {
		return 0, false
	}
	if i, ok := v.Int(); ok && i > -1<<53 && i < 1<<53 {
		return float64(i), true
	}
	f, _ := strconv.ParseFloat(string(v.Raw()), 64)
	return f, true
}

// Int returns a Number written as an integer that fits int64, and whether it
// is one.
func (v Value) Int() (int64, bool) {
	if v.kind != Number {
		return 0, false
	}
	b := v.Raw()
	neg := b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) > 18 {
		i, err := strconv.ParseInt(string(v.Raw()), 10, 64)
		return i, err == nil
	}
	var n int64
	for _, c := range b {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if neg {
		n = -n
	}
	return n, true
}

// ParseTime reads the forms that events carry times in: those of [ReadTimeText], and Unix
// seconds, milliseconds, microseconds or nanoseconds, told apart by magnitude.
func ParseTime(v Value) (time.Time, bool) {
	switch v.kind {
	case String:
		if v.at > 0 && v.at == v.doc.timed {
			return time.Unix(v.doc.secs, int64(v.doc.nanos)).UTC(), true
		}
		if b, ok := v.Plain(); ok {
			return ParseTimeText(b)
		}
		return ParseTimeText(v.AppendString(nil))
	case Number:
		if i, ok := v.Int(); ok {
			return unixTime(i), true
		}
		f, _ := v.Float()
		return unixFloat(f)
	}
	return time.Time{}, false
}

func unixTime(i int64) time.Time {
	a := i
	if a < 0 {
		a = -a
	}
	switch {
	case a < 1e11: // seconds until the year 5138
		return time.Unix(i, 0).UTC()
	case a < 1e14:
		return time.UnixMilli(i).UTC()
	case a < 1e17:
		return time.UnixMicro(i).UTC()
	}
	return time.Unix(0, i).UTC()
}

func unixFloat(f float64) (time.Time, bool) {
	if math.IsNaN(f) || math.Abs(f) > 1e19 {
		return time.Time{}, false
	}
	if math.Abs(f) < 1e11 {
		whole, frac := math.Modf(f)
		return time.Unix(int64(whole), int64(math.Round(frac*1e6))*1000).UTC(), true
	}
	return unixTime(int64(f)), true
}

// ParseTimeText is [ParseTime] for decoded text.
func ParseTimeText(b []byte) (time.Time, bool) {
	// Nearly all events have the one form that takes no general parser.
	if t, ok := fastTime(b); ok {
		return t, true
	}
	t, err := ReadTimeText(b, AnyOrder)
	return t, err == nil
}

// fastTime reads 2006-01-02T15:04:05[.fff]Z.
func fastTime(b []byte) (time.Time, bool) {
	n := len(b) - 1
	if n < 19 || n > 29 || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[n] != 'Z' {
		return time.Time{}, false
	}
	bad := byte(0) // more than 9 when something is no digit
	two := func(i int) int {
		x, y := b[i]-'0', b[i+1]-'0'
		bad = max(bad, x, y)
		return int(x)*10 + int(y)
	}
	year, month, day := two(0)*100+two(2), two(5), two(8)
	hour, minute, sec := two(11), two(14), two(17)
	nanos := 0
	if n > 19 {
		if b[19] != '.' || n == 20 {
			return time.Time{}, false
		}
		for i := 20; i < n; i++ {
			bad = max(bad, b[i]-'0')
			nanos = nanos*10 + int(b[i]-'0')
		}
		for i := n - 20; i < 9; i++ {
			nanos *= 10
		}
	}
	if bad > 9 || month < 1 || month > 12 || hour > 23 || minute > 59 || sec > 59 {
		return time.Time{}, false
	}
	const most = "\x1f\x1c\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f" // days of a month; 29 February goes the long way
	if day < 1 || day > int(most[month-1]) {
		return time.Time{}, false
	}
	// Days since 1970-01-01, in years that begin in March: leap days come last.
	y, m := year, month-3
	if m < 0 {
		y, m = y-1, m+12
	}
	era := (y + 400) / 400 // y is -1 at the least
	y -= (era - 1) * 400
	days := (era-1)*146097 + y*365 + y/4 - y/100 + (153*m+2)/5 + day - 1 - 719468
	return time.Unix(int64(days)*86400+int64(hour*3600+minute*60+sec), int64(nanos)).UTC(), true
}
