package jsonval

import (
	"bytes"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
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

// FormatLabel is what messages call a format.
func FormatLabel(format string) string {
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
func plainEmail(s []byte) bool {
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

// HasFormat checks a JSON string against a format of JSON Schema, as the validator that Segment uses has it: "date",
// "email", "uri" … An unknown one holds for every text.
func HasFormat(format string, raw []byte) bool {
	if format == "date-time" && IsPlainISO(raw) && (raw[9] < '2' || raw[9] == '2' && raw[10] <= '8') {
		return true // nearly all, but for the last days of a month
	}
	text := raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		text = event.AppendUnquoted(nil, raw)
	}
	switch {
	case format == "email" && plainEmail(text):
		return true
	case format == "uri":
		return formatScheme.Match(text) && isReference(text[bytes.IndexByte(text, ':')+1:])
	}
	s := string(text)
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
		return (c == 't' || c == 'T' || IsSpace(c)) && isTime(s[10+n:])
	case "duration":
		return s != "P" && !strings.HasSuffix(s, "T") && formatDuration.MatchString(s)
	case "email":
		return formatEmail.MatchString(s)
	case "hostname":
		return len(strings.TrimSuffix(s, ".")) <= 253 && formatHost.MatchString(s)
	case "ipv4":
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is4()
	case "ipv6":
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is6()
	case "uri-reference":
		return isReference(text[len(formatScheme.Find(text)):])
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
func isReference(s []byte) bool {
	s, fragment, _ := bytes.Cut(s, []byte("#"))
	s, query, _ := bytes.Cut(s, []byte("?"))
	if rest, ok := bytes.CutPrefix(s, []byte("//")); ok {
		authority, path := rest, []byte(nil)
		if i := bytes.IndexByte(rest, '/'); i >= 0 {
			authority, path = rest[:i], rest[i:]
		}
		host := authority
		if i := bytes.LastIndexByte(authority, '@'); i >= 0 {
			if !uriChars(authority[:i], ":") {
				return false
			}
			host = authority[i+1:]
		}
		if bytes.HasPrefix(host, []byte("[")) {
			i := bytes.IndexByte(host, ']')
			if i < 0 {
				return false
			}
			if a, err := netip.ParseAddr(string(host[1:i])); err != nil || !a.Is6() {
				return false
			}
			host = append([]byte("h"), host[i+1:]...)
		}
		name, port, _ := bytes.Cut(host, []byte(":"))
		if !uriChars(name, "") || len(bytes.Trim(port, "0123456789")) > 0 {
			return false
		}
		s = path
	}
	return uriChars(s, "/:@") && uriChars(query, "/:@?") && uriChars(fragment, "/:@?")
}

// uriChars reports whether s has only unreserved characters, sub-delimiters,
// percent escapes and those of extra.
func uriChars(s []byte, extra string) bool {
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

// IsDateLike reports whether a JSON string can be read as a time in the sense of a datetime field: a Unix time in
// decimal, or what the date library of Segment's destinations and JavaScript's Date take.
func IsDateLike(raw []byte) bool {
	if IsPlainISO(raw) {
		return true
	}
	s := Text(raw)
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

// IsPlainISO says that a JSON string has the form that almost all times have: "2024-05-06T07:08:09.123Z". The short
// way of [IsDateLike].
func IsPlainISO(raw []byte) bool {
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
	if err != nil || FormatFloat(f) != s {
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
	d := dateText{s: s, offset: -1}
	for d.i < len(s) {
		if !d.token() {
			return false
		}
	}
	return d.valid()
}

// dateText is such a text while it is read, and what was found in it.
type dateText struct {
	s         string
	i         int
	day       []int
	month     bool
	clock     []int
	done      bool // the time of day is complete
	afternoon bool // am or pm was given
	zone      bool // a zone or UTC was given
	offset    int  // state of "+hh:mm": 0 expects minutes
	numbers   bool
}

func (d *dateText) peek(i int) byte {
	if i < len(d.s) {
		return d.s[i]
	}
	return 0
}

// while is the end of what holds from a place on.
func (d *dateText) while(i int, holds func(c byte) bool) int {
	for i < len(d.s) && holds(d.s[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// token reads what comes next; false: it is no date.
func (d *dateText) token() bool {
	c := d.s[d.i]
	switch {
	case isDigit(c):
		return d.number()
	case isLetter(c):
		return d.word()
	case (c == '+' || c == '-') && (d.zone || len(d.clock) > 0):
		return d.shift()
	case (c == '+' || c == '-' || c == ')') && d.numbers:
		return false
	case c == '(':
		d.comment()
	default:
		d.i++
	}
	return true
}

func (d *dateText) number() bool {
	j := d.while(d.i, isDigit)
	n := 1 << 30
	if j-d.i <= 9 {
		n = number(d.s[d.i:j])
	}
	d.i, d.numbers = j, true
	at := len(d.clock)
	expects := at > 0 && !d.done && at < 4 && (at == 1 && n < 60 || at == 2 && n < 60)
	switch {
	case d.peek(j) == ':':
		d.i++
		next := d.peek(d.i)
		if d.done || at >= 2 && next != ':' && at > 2 {
			return false
		}
		if next != ':' {
			d.clock = append(d.clock, n)
			break
		}
		if at > 0 {
			return false
		}
		d.i++
		d.clock = append(d.clock, n, 0)
	case d.peek(j) == '.' && expects:
		d.i++
		d.clock = append(d.clock, n)
		if !isDigit(d.peek(d.i)) {
			return false
		}
		d.i, d.done = d.while(d.i, isDigit), true
	case d.offset == 0:
		d.offset = 1
		return n <= 59
	case expects:
		d.clock, d.done = append(d.clock, n), true
		p := d.peek(j)
		return p == 0 || IsSpace(rune(p)) || p|0x20 == 'z' || p == '+' || p == '-'
	default:
		if d.peek(d.i) == '.' {
			d.i++
		}
		if len(d.day) == 3 {
			return false
		}
		d.day = append(d.day, n)
		if d.peek(d.i) == '-' {
			d.i++
		}
	}
	return true
}

func (d *dateText) word() bool {
	j := d.while(d.i, isLetter)
	word := strings.ToLower(d.s[d.i:j])
	d.i = j
	switch {
	case (word == "am" || word == "pm") && len(d.clock) > 0:
		d.afternoon = true
	case len(word) >= 3 && strings.Contains("jan feb mar apr may jun jul aug sep oct nov dec", word[:3]):
		if d.month = true; d.peek(j) == '-' {
			d.i++
		}
	case d.numbers && isZone(word):
		d.zone = true
	case word == "t" && len(d.day) == 3 && len(d.clock) == 0:
	case d.numbers, isDigit(d.peek(j)):
		return false
	}
	return true
}

// shift reads a zone's distance from UTC.
func (d *dateText) shift() bool {
	j := d.while(d.i+1, isDigit)
	digits := j - d.i - 1
	d.i, d.numbers, d.done = j, true, true
	switch {
	case d.peek(j) == ':':
		d.i++
		d.offset = 0
	case digits < 1 || digits > 4:
		return false
	}
	d.zone = true
	return true
}

// comment passes over what stands in parentheses.
func (d *dateText) comment() {
	depth := 0
	for ; d.i < len(d.s); d.i++ {
		switch d.s[d.i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				d.i++
				return
			}
		}
	}
}

// valid says that what was found is a date.
func (d *dateText) valid() bool {
	n := len(d.day)
	if n < 1 {
		return false
	}
	day, clock := d.day, d.clock
	for len(day) < 3 {
		day = append(day, 1)
	}
	mo, date := 1, day[0]
	isDay := func(n int) bool { return n >= 1 && n <= 31 }
	switch {
	case !d.month && !isDay(day[0]):
		mo, date = day[1], day[2]
	case !d.month:
		mo, date = day[0], day[1]
	case n > 1 && !isDay(day[0]):
		date = day[1]
	}
	if mo < 1 || mo > 12 || !isDay(date) {
		return false
	}
	for len(clock) < 3 {
		clock = append(clock, 0)
	}
	h := clock[0]
	if d.afternoon && (h < 1 || h > 12) {
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
