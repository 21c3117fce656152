package mapping

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The formats of string fields, as the JSON Schema validator that Segment uses
// has them.
var (
	formatDate     = regexp.MustCompile(`^(\d{4})-(\d\d)-(\d\d)$`)
	formatTime     = regexp.MustCompile(`^(?i)(\d\d):(\d\d):(\d\d)(\.\d+)?(z|[+-]\d\d(:?\d\d)?)?$`)
	formatDuration = regexp.MustCompile(`^P((\d+Y)?(\d+M)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?|(\d+W)?)$`)
	formatEmail    = regexp.MustCompile(
		"^(?i)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@" +
			"([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
	)
	formatHost = regexp.MustCompile(
		`^(?i)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([-0-9a-z]{0,61}[0-9a-z])?)*\.?$`,
	)
	formatUUID    = regexp.MustCompile(`^(?i)(urn:uuid:)?[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)
	formatPointer = regexp.MustCompile(`^(/([^~/]|~0|~1)*)*$`)
	formatScheme  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)
)

func formatLabel(format string) string {
	switch format {
	case "date-time":
		return "date and time"
	case "email":
		return "email address"
	case "ipv4":
		return "IPv4 address"
	case "ipv6":
		return "IPv6 address"
	case "uri":
		return "URI"
	case "uri-reference":
		return "URI Reference"
	case "json-pointer":
		return "JSON Pointer"
	case "regex":
		return "regular expression"
	}
	return format
}

// plainEmail says that a text is an address of letters and digits, with dots,
// hyphens, underscores and pluses between them: most are, and to see it takes a
// tenth of what formatEmail does.
func plainEmail(s string) bool {
	letter := func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' }
	at, dots := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case letter(c):
			continue
		case i == 0 || i == len(s)-1 || !letter(s[i-1]) || !letter(s[i+1]):
			return false
		case c == '@' && at == 0:
			at = i
		case c == '.' && at > 0:
			dots++
		case c != '.' && c != '-' && (at > 0 || c != '_' && c != '+'):
			return false
		}
	}
	return at > 0 && dots > 0
}

// formatOK checks a JSON string against a format.
func formatOK(format string, raw []byte) bool {
	if format == "date-time" && isPlainISO(raw) && (raw[9] < '2' || raw[9] == '2' && raw[10] <= '8') {
		return true // nearly all, but for the last days of a month
	}
	s := decodeText(raw)
	switch format {
	case "date":
		return isDate(s)
	case "time":
		return isTime(s)
	case "date-time":
		// A date always has ten characters; one separator follows.
		if len(s) < 11 || !isDate(s[:10]) {
			return false
		}
		c, n := utf8.DecodeRuneInString(s[10:])
		return (c == 't' || c == 'T' || jsSpace(c)) && isTime(s[10+n:])
	case "duration":
		return s != "P" && !strings.HasSuffix(s, "T") && formatDuration.MatchString(s)
	case "email":
		return plainEmail(s) || formatEmail.MatchString(s)
	case "hostname":
		return len(strings.TrimSuffix(s, ".")) <= 253 && formatHost.MatchString(s)
	case "ipv4":
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is4()
	case "ipv6":
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is6()
	case "uri":
		return formatScheme.MatchString(s) && isReference(s[strings.IndexByte(s, ':')+1:])
	case "uri-reference":
		if m := formatScheme.FindString(s); m != "" {
			return isReference(s[len(m):])
		}
		return isReference(s)
	case "uuid":
		return formatUUID.MatchString(s)
	case "json-pointer":
		return formatPointer.MatchString(s)
	case "regex":
		_, err := regexp.Compile(s)
		return err == nil
	}
	return true
}

func isDate(s string) bool {
	m := formatDate.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	y, mo, d := number(m[1]), number(m[2]), number(m[3])
	return mo >= 1 && mo <= 12 && d >= 1 && d <= daysIn(y, mo)
}

func daysIn(y, m int) int {
	switch m {
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

func isTime(s string) bool {
	m := formatTime.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	h, mi, sec := number(m[1]), number(m[2]), number(m[3])
	return h <= 23 && mi <= 59 && sec <= 59 || h == 23 && mi == 59 && sec == 60
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// isReference checks what follows the scheme of a URI (RFC 3986).
func isReference(s string) bool {
	s, fragment, _ := strings.Cut(s, "#")
	s, query, _ := strings.Cut(s, "?")
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		authority, path := rest, ""
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			authority, path = rest[:i], rest[i:]
		}
		host := authority
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			if !uriChars(authority[:i], ":") {
				return false
			}
			host = authority[i+1:]
		}
		if strings.HasPrefix(host, "[") {
			i := strings.IndexByte(host, ']')
			if i < 0 {
				return false
			}
			if a, err := netip.ParseAddr(host[1:i]); err != nil || !a.Is6() {
				return false
			}
			host = "h" + host[i+1:]
		}
		name, port, _ := strings.Cut(host, ":")
		if !uriChars(name, "") || strings.Trim(port, "0123456789") != "" {
			return false
		}
		s = path
	}
	return uriChars(s, "/:@") && uriChars(query, "/:@?") && uriChars(fragment, "/:@?")
}

// uriChars reports whether s has only unreserved characters, sub-delimiters,
// percent escapes and those of extra.
func uriChars(s, extra string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-._~!$&'()*+,;=", c) >= 0, strings.IndexByte(extra, c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			i += 2
		default:
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// dayText is the text that a popular date library reads without the help of
// the engine's own date parser, whatever its numbers are.
var dayText = regexp.MustCompile(
	`^(\d{4})[-/]?(\d{1,2})?[-/]?(\d{0,2})[Tt\s]*(\d{1,2})?:?(\d{1,2})?:?(\d{1,2})?[.:]?(\d+)?$`,
)

// isoText is the date-time form that JavaScript engines must read.
var isoText = regexp.MustCompile(
	`^(\d{4}|[+-]\d{6})(-(\d\d)(-(\d\d))?)?(T(\d\d):(\d\d)(:(\d\d)(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$`,
)

// dateLike reports whether a JSON string can be read as a time in the sense of
// a datetime field: a Unix time in decimal, or what the date library of
// Segment's destinations and JavaScript's Date take.
func dateLike(raw []byte) bool {
	if isPlainISO(raw) {
		return true
	}
	s := decodeText(raw)
	if n, ok := jsNumber(s); ok {
		// 8.64e15 ms is as far from 1970 as a JavaScript date can be.
		return n >= -8.64e12 && n <= 8.64e12
	}
	if s != "" && s[len(s)-1]|0x20 != 'z' && dayText.MatchString(s) {
		return true
	}
	if m := isoText.FindStringSubmatch(s); m != nil {
		return iso(m)
	}
	return legacyDate(s)
}

// isPlainISO is the short way for the form that almost all times have:
// "2024-05-06T07:08:09.123Z".
func isPlainISO(raw []byte) bool {
	const form = `"0000-00-00T00:00:00`
	if len(raw) < len(form)+2 || raw[len(raw)-2] != 'Z' {
		return false
	}
	for i := 1; i < len(form); i++ {
		if c := raw[i]; form[i] == '0' && (c < '0' || c > '9') || form[i] != '0' && c != form[i] {
			return false
		}
	}
	two := func(i int) int { return int(raw[i]-'0')*10 + int(raw[i+1]-'0') }
	if mo, d := two(6), two(9); mo < 1 || mo > 12 || d < 1 || d > 31 || two(12) > 23 || two(15) > 59 || two(18) > 59 {
		return false
	}
	frac := raw[len(form) : len(raw)-2]
	if len(frac) == 0 {
		return true
	}
	return frac[0] == '.' && allDigits(frac[1:])
}

// jsNumber returns the number that s is in JavaScript's own spelling.
func jsNumber(s string) (float64, bool) {
	if s == "" || len(s) > 30 || strings.Trim(s, "0123456789.e+-") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || formatFloat(f) != s {
		return 0, false
	}
	return f, true
}

func iso(m []string) bool {
	mo, d := 1, 1
	if m[3] != "" {
		mo = number(m[3])
	}
	if m[5] != "" {
		d = number(m[5])
	}
	h, mi, s := number(m[7]), number(m[8]), number(m[10])
	midnight := h == 24 && mi == 0 && s == 0 && strings.Trim(m[11], ".0") == ""
	return m[1] != "-000000" && mo >= 1 && mo <= 12 && d >= 1 && d <= 31 && mi <= 59 && s <= 59 && (h <= 23 || midnight)
}

// legacyDate is the grammar of last resort of the engine that Segment runs on:
// numbers, names of months, zones and am/pm in nearly any order, words before
// the first number and text in parentheses ignored.
func legacyDate(s string) bool {
	var (
		day       []int
		month     bool
		clock     []int
		done      bool // the time of day is complete
		afternoon bool // am or pm was given
		zone      bool // a zone or UTC was given
		offset    = -1 // state of "+hh:mm": 0 expects minutes
		numbers   bool
	)
	peek := func(i int) byte {
		if i < len(s) {
			return s[i]
		}
		return 0
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			j := i
			for j < len(s) && s[j] >= '0' && s[j] <= '9' {
				j++
			}
			n := 1 << 30
			if j-i <= 9 {
				n = number(s[i:j])
			}
			i, numbers = j, true
			expects := len(clock) > 0 && !done && len(clock) < 4 &&
				(len(clock) == 1 && n < 60 || len(clock) == 2 && n < 60)
			switch {
			case peek(i) == ':':
				i++
				if done || len(clock) >= 2 && peek(i) != ':' && len(clock) > 2 {
					return false
				}
				if peek(i) == ':' {
					if len(clock) > 0 {
						return false
					}
					i++
					clock = append(clock, n, 0)
				} else {
					clock = append(clock, n)
				}
			case peek(i) == '.' && expects:
				i++
				clock = append(clock, n)
				if peek(i) < '0' || peek(i) > '9' {
					return false
				}
				for i < len(s) && s[i] >= '0' && s[i] <= '9' {
					i++
				}
				done = true
			case offset == 0:
				offset = 1
				if n > 59 {
					return false
				}
			case expects:
				clock, done = append(clock, n), true
				if p := peek(i); p != 0 && !jsSpace(rune(p)) && p|0x20 != 'z' && p != '+' && p != '-' {
					return false
				}
			default:
				if peek(i) == '.' {
					i++
				}
				if len(day) == 3 {
					return false
				}
				day = append(day, n)
				if peek(i) == '-' {
					i++
				}
			}
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			j := i
			for j < len(s) && s[j]|0x20 >= 'a' && s[j]|0x20 <= 'z' {
				j++
			}
			word := strings.ToLower(s[i:j])
			i = j
			switch {
			case (word == "am" || word == "pm") && len(clock) > 0:
				afternoon = true
			case len(word) >= 3 && strings.Contains("jan feb mar apr may jun jul aug sep oct nov dec", word[:3]):
				month = true
				if len(day) == 0 || peek(i) == '-' {
					if peek(i) == '-' {
						i++
					}
				}
			case numbers && isZone(word):
				zone = true
			case word == "t" && len(day) == 3 && len(clock) == 0:
			case numbers:
				return false
			case peek(i) >= '0' && peek(i) <= '9':
				return false
			}
		case (c == '+' || c == '-') && (zone || len(clock) > 0):
			j := i + 1
			for j < len(s) && s[j] >= '0' && s[j] <= '9' {
				j++
			}
			digits := j - i - 1
			i, numbers, done = j, true, true
			switch {
			case peek(i) == ':':
				i++
				offset = 0
			case digits < 1 || digits > 4:
				return false
			}
			zone = true
		case (c == '+' || c == '-' || c == ')') && numbers:
			return false
		case c == '(':
			depth := 0
			for ; i < len(s); i++ {
				if s[i] == '(' {
					depth++
				} else if s[i] == ')' {
					if depth--; depth == 0 {
						i++
						break
					}
				}
			}
		default:
			i++
		}
	}
	if len(day) < 1 {
		return false
	}
	n := len(day)
	for len(day) < 3 {
		day = append(day, 1)
	}
	mo, d := 1, day[0]
	isDay := func(n int) bool { return n >= 1 && n <= 31 }
	switch {
	case !month && !isDay(day[0]):
		mo, d = day[1], day[2]
	case !month:
		mo, d = day[0], day[1]
	case n > 1 && !isDay(day[0]):
		d = day[1]
	}
	if mo < 1 || mo > 12 || !isDay(d) {
		return false
	}
	for len(clock) < 3 {
		clock = append(clock, 0)
	}
	h := clock[0]
	if afternoon && (h < 1 || h > 12) {
		return false
	}
	return (h <= 23 || h == 24 && clock[1] == 0 && clock[2] == 0) && clock[1] <= 59 && clock[2] <= 59
}

func isZone(word string) bool {
	switch word {
	case "z", "ut", "utc", "gmt", "est", "edt", "cst", "cdt", "mst", "mdt", "pst", "pdt":
		return true
	}
	return false
}
