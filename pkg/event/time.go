package event

import (
	"errors"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// DateOrder says how dates in figures are read that begin with the day or the month.
type DateOrder uint8

// The orders.
const (
	// AnyOrder reads 25/12/2024 and 12/25/2024, which can be one date only, and refuses
	// 03/04/2024.
	AnyOrder DateOrder = iota
	MonthFirst
	DayFirst
)

// Why a text is no time.
var (
	ErrNoTime        = errors.New("it is no time that can be read")
	ErrAmbiguousDate = errors.New("day and month cannot be told apart")
	ErrUnknownZone   = errors.New("the time zone's name does not say how far it is from UTC")
)

// ReadTimeText reads a time in any of the forms that logs, databases, spreadsheets and
// programs write, where it can mean one instant only; without a zone it is UTC:
//
//	2024-03-10T02:30:00.123Z   2024-03-10 02:30:00+02   2024-03-10 02:30 UTC   2024-03-10
//	20240310T023000Z           20240310023000           2024-03-09T24:00:00Z   2024/03/10 2:30 PM
//	1710037800                 1710037800000            1710037800.123         1.7100378e12
//	Sun Mar 10 2024 02:30:00 GMT+0000 (Coordinated Universal Time)   Sun, 10 Mar 2024 02:30:00 GMT
//	10/Mar/2024:02:30:00 +0000   March 10, 2024 2:30 AM   10.03.2024 02:30   25/12/2024
//
// Names of zones other than UTC and GMT are refused, since EST or CST mean several.
func ReadTimeText(b []byte, order DateOrder) (time.Time, error) {
	if t, ok := fastTime(b); ok {
		return t, nil
	}
	s := strings.TrimSpace(unsafe.String(unsafe.SliceData(b), len(b))) // nothing keeps it
	if s == "" || len(s) > 96 {
		return time.Time{}, ErrNoTime
	}
	if t, ok := readFigures(s); ok {
		return t, nil
	}
	p := timeText{rest: s}
	for _, read := range []func() error{p.iso, p.figures(order), p.words} {
		p.start(s)
		err := read()
		if err == nil {
			return p.instant()
		}
		if err != ErrNoTime {
			return time.Time{}, err
		}
	}
	return time.Time{}, ErrNoTime
}

// readFigures reads Unix times, and calendars without any mark between.
func readFigures(s string) (time.Time, bool) {
	if i, ok := wholeNumber(s); ok {
		switch len(s) {
		case len("20240310"):
			if t, err := time.Parse("20060102", s); err == nil && t.Year() >= 1900 {
				return t, true
			}
			return time.Time{}, false
		case len("20240310023000"):
			if t, err := time.Parse("20060102150405", s); err == nil && t.Year() >= 1900 && t.Year() < 2200 {
				return t, true
			}
		}
		if len(s) < 9 {
			return time.Time{}, false
		}
		return unixTime(i), true
	}
	if s[0] < '0' || s[0] > '9' || strings.Count(s, ".") > 1 || strings.Trim(s, "0123456789.eE+") != "" ||
		strings.ContainsAny(s[:min(4, len(s))], "+") {
		return time.Time{}, false
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f > 1e8 {
		return unixFloat(f)
	}
	return time.Time{}, false
}

// wholeNumber is an integer that is written with nothing but digits and a sign. Most times are none: to say so,
// strconv makes an error.
func wholeNumber(s string) (int64, bool) {
	if strings.Trim(s[1:], "0123456789") != "" {
		return 0, false
	}
	i, err := strconv.ParseInt(s, 10, 64)
	return i, err == nil
}

// timeText is a time that is being read, and what is left of its text.
type timeText struct {
	rest                       string
	year, month, day           int
	hour, minute, second, nano int
	offset                     int // seconds east of UTC
	nextDay                    bool
}

func (p *timeText) start(s string) { *p = timeText{rest: s} }

// instant is what was read, when it is on the calendar.
func (p *timeText) instant() (time.Time, error) {
	if p.year < 1 || p.month < 1 || p.month > 12 || p.day < 1 || p.hour > 23 || p.minute > 59 || p.second > 60 {
		return time.Time{}, ErrNoTime
	}
	t := time.Date(p.year, time.Month(p.month), p.day, 0, 0, 0, 0, time.UTC)
	if t.Day() != p.day { // 30 February
		return time.Time{}, ErrNoTime
	}
	if p.nextDay {
		t = t.AddDate(0, 0, 1)
	}
	return time.Date(t.Year(), t.Month(), t.Day(), p.hour, p.minute, p.second, p.nano,
		time.UTC).Add(-time.Duration(p.offset) * time.Second), nil
}

// number reads from least to most digits.
func (p *timeText) number(least, most int) (n int, ok bool) {
	i := 0
	for i < len(p.rest) && i < most && p.rest[i] >= '0' && p.rest[i] <= '9' {
		n = n*10 + int(p.rest[i]-'0')
		i++
	}
	if i < least {
		return 0, false
	}
	p.rest = p.rest[i:]
	return n, true
}

// take drops one of some characters from the front.
func (p *timeText) take(chars string) bool {
	if p.rest != "" && strings.IndexByte(chars, p.rest[0]) >= 0 {
		p.rest = p.rest[1:]
		return true
	}
	return false
}

func (p *timeText) blanks() { p.rest = strings.TrimLeft(p.rest, " \t") }

// iso reads dates that begin with the year.
func (p *timeText) iso() error {
	var ok bool
	if p.year, ok = p.number(4, 4); !ok {
		return ErrNoTime
	}
	sep := ""
	if p.rest != "" && strings.IndexByte("-/.", p.rest[0]) >= 0 {
		sep = p.rest[:1]
		p.rest = p.rest[1:]
	}
	least := 2
	if sep != "" {
		least = 1
	}
	if p.month, ok = p.number(least, 2); !ok {
		return ErrNoTime
	}
	if sep != "" && !p.take(sep) {
		return ErrNoTime
	}
	if p.day, ok = p.number(least, 2); !ok {
		return ErrNoTime
	}
	if p.rest == "" {
		return nil
	}
	if p.take("Tt_") {
		return p.clock()
	}
	if p.rest[0] != ' ' {
		return ErrNoTime
	}
	p.blanks()
	return p.clock()
}

// figures reads dates of day, month and year in figures.
func (p *timeText) figures(order DateOrder) func() error {
	return func() error {
		a, ok := p.number(1, 2)
		if !ok || p.rest == "" || strings.IndexByte("/.-", p.rest[0]) < 0 {
			return ErrNoTime
		}
		sep := p.rest[:1]
		p.rest = p.rest[1:]
		b, ok := p.number(1, 2)
		if !ok || !p.take(sep) {
			return ErrNoTime
		}
		before := len(p.rest)
		if p.year, ok = p.number(2, 4); !ok || before-len(p.rest) == 3 {
			return ErrNoTime
		}
		if before-len(p.rest) == 2 {
			if order == AnyOrder {
				return ErrAmbiguousDate
			}
			if p.year += 1900; p.year < 1970 {
				p.year += 100
			}
		}
		switch {
		case order == MonthFirst:
			p.month, p.day = a, b
		case order == DayFirst, sep == ".", a > 12, a == b: // nobody writes months first with full stops
			p.day, p.month = a, b
		case b > 12:
			p.month, p.day = a, b
		default:
			return ErrAmbiguousDate
		}
		p.take(",")
		p.blanks()
		p.take("Tt")
		if p.rest == "" {
			return nil
		}
		return p.clock()
	}
}

// clock reads a time of the day and its zone, to the end of the text.
func (p *timeText) clock() error {
	if err := p.timeOfDay(); err != nil {
		return err
	}
	p.blanks()
	if err := p.half(); err != nil {
		return err
	}
	if err := p.zone(); err != nil {
		return err
	}
	if p.rest != "" {
		return ErrNoTime
	}
	return nil
}

// timeOfDay reads 02:30, 02:30:00, 02:30:00.123, 0230, 023000.
func (p *timeText) timeOfDay() (err error) {
	var ok bool
	if p.hour, ok = p.number(1, 2); !ok {
		return ErrNoTime
	}
	colon := p.take(":")
	if p.minute, ok = p.number(2, 2); !ok {
		return ErrNoTime
	}
	if colon && p.take(":") || !colon && p.rest != "" && p.rest[0] >= '0' && p.rest[0] <= '9' {
		if p.second, ok = p.number(2, 2); !ok {
			return ErrNoTime
		}
		if len(p.rest) > 1 && p.rest[1] >= '0' && p.rest[1] <= '9' && p.take(".,:") {
			p.fraction()
		}
	}
	if p.hour == 24 && p.minute == 0 && p.second == 0 && p.nano == 0 {
		p.hour, p.nextDay = 0, true
	}
	return nil
}

func (p *timeText) fraction() {
	unit := 100_000_000
	for p.rest != "" && p.rest[0] >= '0' && p.rest[0] <= '9' {
		p.nano += int(p.rest[0]-'0') * unit
		unit /= 10
		p.rest = p.rest[1:]
	}
}

// half reads AM and PM.
func (p *timeText) half() error {
	if len(p.rest) < 2 {
		return nil
	}
	half := strings.ToUpper(p.rest[:2])
	if half != "AM" && half != "PM" {
		return nil
	}
	if p.hour < 1 || p.hour > 12 {
		return ErrNoTime
	}
	p.hour %= 12
	if half == "PM" {
		p.hour += 12
	}
	p.rest = p.rest[2:]
	p.blanks()
	return nil
}

// zone reads Z, UTC, GMT, +02, +0200, +02:00, GMT+0200, and remarks behind these, as in
// "+0100 (CET)" and "+01:00[Europe/Berlin]".
func (p *timeText) zone() error {
	name := 0
	for name < len(p.rest) && (p.rest[name]|0x20 >= 'a' && p.rest[name]|0x20 <= 'z') {
		name++
	}
	switch strings.ToUpper(p.rest[:name]) {
	case "", "Z", "UTC", "GMT", "UT":
		p.rest = p.rest[name:]
	default:
		return ErrUnknownZone
	}
	if name > 0 && p.rest == "" {
		return nil
	}
	if p.rest != "" && (p.rest[0] == '+' || p.rest[0] == '-') {
		east := 1
		if p.rest[0] == '-' {
			east = -1
		}
		p.rest = p.rest[1:]
		h, ok := p.number(1, 2)
		m := 0
		if ok && (p.take(":") || p.rest != "" && p.rest[0] >= '0' && p.rest[0] <= '9') {
			m, ok = p.number(2, 2)
		}
		if !ok || h > 18 || m > 59 {
			return ErrNoTime
		}
		p.offset = east * (h*3600 + m*60)
		p.blanks()
		if u := strings.ToUpper(p.rest); u == "UTC" || u == "GMT" { // as Go prints it: +0000 UTC
			p.rest = ""
		}
	}
	p.blanks()
	if n := len(p.rest); n > 1 && (p.rest[0] == '(' && p.rest[n-1] == ')' || p.rest[0] == '[' && p.rest[n-1] == ']') {
		p.rest = ""
	}
	return nil
}

var (
	monthNames = [...]string{
		"january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
		"november", "december",
	}
	dayNames = [...]string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
)

// words reads dates with the month's English name.
func (p *timeText) words() error {
	timed, zoned := false, false
	for p.blanks(); p.rest != ""; p.blanks() {
		c := p.rest[0]
		switch {
		case c == ',' || c == '/':
			p.rest = p.rest[1:]
		case c == '-' && !timed:
			p.rest = p.rest[1:]
		case c == ':' && p.year > 0 && !timed: // 10/Mar/2024:02:30:00
			p.rest = p.rest[1:]
		case c >= '0' && c <= '9':
			clock, err := p.digits(timed)
			if err != nil {
				return err
			}
			timed = timed || clock
		case c == '+' || c == '-' || c == '(':
			if !timed || c == '(' && !zoned {
				return ErrNoTime
			}
			zoned = true
			if err := p.zonePart(); err != nil {
				return err
			}
		default:
			was, err := p.word(timed)
			if err != nil {
				return err
			}
			zoned = zoned || was
		}
	}
	if p.year == 0 || p.month == 0 || p.day == 0 {
		return ErrNoTime
	}
	return nil
}

// digits reads the day, the year, or the time of the day.
func (p *timeText) digits(timed bool) (clock bool, err error) {
	n := 0
	for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
		n++
	}
	next := byte(0)
	if n < len(p.rest) {
		next = p.rest[n]
	}
	switch {
	case n <= 2 && next == ':' && !timed:
		if err = p.timeOfDay(); err == nil {
			p.blanks()
			err = p.half()
		}
		return true, err
	case n == 4 && p.year == 0:
		p.year, _ = p.number(4, 4)
	case n <= 2 && p.day == 0:
		p.day, _ = p.number(1, 2)
		for _, th := range [...]string{"st", "nd", "rd", "th"} {
			if strings.HasPrefix(strings.ToLower(p.rest), th) {
				p.rest = p.rest[2:]
				break
			}
		}
	default:
		return false, ErrNoTime
	}
	return false, nil
}

// word reads the name of a month, of a day of the week, or of a zone.
func (p *timeText) word(timed bool) (zone bool, err error) {
	n := 0
	for n < len(p.rest) && p.rest[n]|0x20 >= 'a' && p.rest[n]|0x20 <= 'z' {
		n++
	}
	if n == 0 {
		return false, ErrNoTime
	}
	w := strings.ToLower(p.rest[:n])
	if m := nameIn(w, monthNames[:]); m > 0 && p.month == 0 {
		p.month = m
	} else if w == "at" || nameIn(w, dayNames[:]) > 0 {
	} else if timed && p.month > 0 {
		return true, p.zonePart()
	} else {
		return false, ErrNoTime
	}
	p.rest = strings.TrimPrefix(p.rest[n:], ".")
	return false, nil
}

// nameIn is which of some names, from 1, a word is or shortens to three letters or more.
func nameIn(w string, names []string) int {
	for i, name := range names {
		if len(w) >= 3 && strings.HasPrefix(name, w) {
			return i + 1
		}
	}
	return 0
}

// zonePart reads a zone before which and behind which other things may stand.
func (p *timeText) zonePart() error {
	if p.rest[0] == '(' {
		_, behind, ok := strings.Cut(p.rest, ")")
		if !ok {
			return ErrNoTime
		}
		p.rest = behind
		return nil
	}
	part, behind, _ := strings.Cut(p.rest, " ")
	p.rest = part
	if err := p.zone(); err != nil {
		return err
	}
	if p.rest != "" {
		return ErrNoTime
	}
	p.rest = behind
	return nil
}
