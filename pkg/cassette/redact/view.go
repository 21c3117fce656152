package redact

import (
	"html"
	"math"
	"net/url"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/escape"
)

// view is a text with its escapes undone. It knows where each of its bytes came from.
type view struct {
	text string
	// stretches are sorted by their position. Without any, the text is the original.
	stretches []stretch
	// under is the view with one layer of escapes less; nil: there is none.
	under *view
}

// stretch is a part of a view. Its bytes are either copies from the text below, or the
// result of one escape.
type stretch struct {
	at, source int32
	escape     bool
	// plain is true for an escape whose result cannot help to recognise a credential. A
	// known value may contain it, though.
	plain bool
}

// place converts a range of the view to a range of the original text.
func (v *view) place(from, to int) (int, int) {
	if v.stretches == nil {
		return from, to
	}
	from, to = v.source(from), v.source(to)
	if v.under != nil {
		return v.under.place(from, to)
	}
	return from, to
}

func (v *view) source(at int) int {
	n := sort.Search(len(v.stretches), func(n int) bool { return int(v.stretches[n].at) > at }) - 1
	s := v.stretches[n]
	if s.escape {
		return int(s.source)
	}
	return int(s.source) + at - int(s.at)
}

// span is a range of a text.
type span struct{ from, to int }

// nearby is how far before an escape a value, or its name, can begin. It is twice the
// distance that is searched around a key.
const nearby = 640

// fresh returns the parts of a view, around each escape, in which something may begin
// that is not in the text below. nil: in all of it. In the parts known, only a known
// value may begin, and none of these is longer than longest.
func (v *view) fresh(longest int) (list, known []span) {
	total := 0
	for n, s := range v.stretches {
		if n == 0 && !s.escape {
			continue // nothing comes before it
		}
		at := int(s.at)
		if s.plain || n > 0 && v.stretches[n-1].plain && !s.escape {
			from, to := max(0, at-longest), min(len(v.text), at+3)
			if last := len(known) - 1; last >= 0 && from <= known[last].to {
				known[last].to = to
			} else {
				known = append(known, span{from, to})
			}
			continue
		}
		if len(list) > 0 && at < list[len(list)-1].to-nearby/2 { // covered well enough
			continue
		}
		from, to := max(0, at-nearby), min(len(v.text), at+2*nearby)
		for from > 0 && IsWord(v.text[from-1]) && at-from < longWord {
			from--
		}
		if last := len(list) - 1; last >= 0 && from <= list[last].to {
			total += to - list[last].to
			list[last].to = to
		} else {
			list = append(list, span{from, to})
			total += to - from
		}
		if total > len(v.text)/2 {
			return nil, nil
		}
	}
	if list == nil {
		list = []span{}
	}
	return list, known
}

// undoing builds a view from a text.
type undoing struct {
	s    string
	text strings.Builder
	list []stretch
	done int // how much of s is already in text
	some bool
	// expected is roughly the number of escapes.
	expected int
}

// replace replaces s[from:to] by bytes, after copying what comes before.
func (u *undoing) replace(from, to int, with []byte) {
	if !u.some {
		u.some = true
		u.text.Grow(len(u.s))
		u.list = make([]stretch, 0, 2*u.expected+2)
	}
	if from > u.done || len(u.list) == 0 {
		u.list = append(u.list, stretch{at: int32(u.text.Len()), source: int32(u.done)})
		u.text.WriteString(u.s[u.done:from])
	}
	if len(with) > 0 {
		u.list = append(u.list, stretch{int32(u.text.Len()), int32(from), true, tellsNothing(u.s, from, to, with[0])})
		u.text.Write(with)
	}
	u.done = to
}

// tellsNothing is true if an escape may be left in a text and no shape or named value
// is missed by that. One such escape is that of & in HTML, because the escape ends a
// value just as & itself does. The other is that of a letter beyond ASCII, which no
// credential contains, unless it may be within a value that has a name.
func tellsNothing(s string, from, to int, first byte) bool {
	if first == '&' {
		return s[from] == '&' && s[to-1] == ';'
	}
	if first < 0x80 {
		return false
	}
	for i := from - 1; i >= 0; i-- {
		switch s[i] {
		case ' ', '\n', '\t', '\r', '<', ',':
			return true
		case '=', ':', '>', '"', '\'', '\\':
			return false
		}
		if from-i > 64 {
			return true
		}
	}
	return true
}

// view returns the finished view. ok is false if nothing was replaced.
func (u *undoing) view() (v view, ok bool) {
	if !u.some {
		return view{}, false
	}
	u.list = append(u.list, stretch{at: int32(u.text.Len()), source: int32(u.done)})
	u.text.WriteString(u.s[u.done:])
	return view{text: u.text.String(), stretches: u.list}, true
}

// undo undoes one layer of the escapes of URLs, JSON, JavaScript, shells and HTML: %2F,
// \u002F, \x2f, \/, &amp;, &#x2F;. ok is false if there are none.
func undo(s string, plus bool) (v view, ok bool) {
	if len(s) > math.MaxInt32 {
		return view{}, false
	}
	u := undoing{s: s, expected: strings.Count(s, "&") + strings.Count(s, "%") + strings.Count(s, `\`)}
	for i := 0; i < len(s); {
		c := s[i]
		if traitTable[c]&(escapes|pluses) == 0 {
			i++
			continue
		}
		var b [utf8.UTFMax]byte
		put, n := b[:0], 0
		if c != '+' {
			put, n = escape.Undo(put, s, i)
		} else if plus {
			put, n = append(put, ' '), 1
		}
		if n > 0 {
			u.replace(i, i+n, put)
		}
		i += max(n, 1)
	}
	return u.view()
}

func hexByte(s string, i int) (byte, bool) {
	if i+2 > len(s) {
		return 0, false
	}
	high, low := hexDigit(s[i]), hexDigit(s[i+1])
	return high<<4 | low, high < 16 && low < 16
}

// hexDigit is the value of a hexadecimal digit; 255 for other bytes.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// mayBePrintable is a quick check for quoted-printable: a soft line end, an escaped =,
// or four escapes in a row.
func mayBePrintable(s string) bool {
	for i := 0; ; i++ {
		n := strings.IndexByte(s[i:], '=')
		if n < 0 || i+n+1 >= len(s) {
			return false
		}
		i += n
		if c := s[i+1]; c == '\n' || c == '\r' && strings.HasPrefix(s[i+1:], "\r\n") || strings.HasPrefix(s[i+1:], "3D") {
			return true
		}
		row := 0
		for at := i; row < 4 && at+2 < len(s) && s[at] == '='; at += 3 {
			if _, ok := hexByte(s, at+1); !ok {
				break
			}
			row++
		}
		if row == 4 {
			return true
		}
	}
}

// undoPrintable undoes quoted-printable, which it recognises by the soft line ends. ok
// is false if there are none.
func undoPrintable(s string) (v view, ok bool) {
	if len(s) > math.MaxInt32 || !mayBePrintable(s) {
		return view{}, false
	}
	u := undoing{s: s}
	for i := 0; i < len(s); {
		next := strings.IndexByte(s[i:], '=')
		if next < 0 {
			break
		}
		i += next
		switch {
		case strings.HasPrefix(s[i:], "=\r\n"):
			u.replace(i, i+3, nil)
			i += 3
			continue
		case strings.HasPrefix(s[i:], "=\n"):
			u.replace(i, i+2, nil)
			i += 2
			continue
		}
		b, ok := hexByte(s, i+1)
		if !ok || strings.ToUpper(s[i+1:i+3]) != s[i+1:i+3] {
			i++
			continue
		}
		u.replace(i, i+3, []byte{b})
		i += 3
	}
	return u.view()
}

// undoEvents joins the lines of server-sent events that belong to one text. ok is false
// if there are none.
func undoEvents(s string) (v view, ok bool) {
	const next = "\ndata:"
	if len(s) > math.MaxInt32 {
		return view{}, false
	}
	u := undoing{s: s}
	for i := 0; ; {
		n := strings.Index(s[i:], next)
		if n < 0 {
			return u.view()
		}
		i += n
		if strings.HasPrefix(s[strings.LastIndexByte(s[:i], '\n')+1:i], next[1:]) {
			end := i + len(next)
			if end < len(s) && s[end] == ' ' {
				end++
			}
			u.replace(i, end, []byte{'\n'})
		}
		i += len(next)
	}
}

// layers is how many layers of escapes are undone.
const layers = 3

// eachView calls f with each view of a text that is searched: the text itself, with one
// to three layers of escapes undone, the same with + as a blank, and with
// quoted-printable undone. layer is the number of layers, 0 for the text itself, and
// more than layers if + or other encodings were undone, too. f returns the text, which
// it may have changed, and whether to continue.
func eachView(s string, f func(v view, layer int) (now string, more bool)) {
	s, more := f(view{text: s}, 0)
	t := traitsOf(s)
	if more && t&signs != 0 {
		if v, ok := undoEvents(s); ok {
			s, more = f(v, 2*layers+2)
		}
	}
	if !more || t&(escapes|pluses|equals) == 0 || len(s) > 1<<16 && t&high != 0 && !utf8.ValidString(s) {
		return // binary data has no escapes
	}
	for _, plus := range []bool{false, true} {
		switch {
		case plus && t&pluses == 0 && !hidesPlus(s), !plus && t&escapes == 0:
			continue
		}
		v := &view{text: s}
		for n := 1; n <= layers; n++ {
			next, ok := undo(v.text, plus)
			if !ok {
				break
			}
			if v.stretches != nil {
				next.under = v
			}
			v = &next
			layer := n
			if plus {
				layer += layers
			}
			now, more := f(next, layer)
			if !more {
				return
			}
			if now != s {
				if s, v = now, undone(now, n, plus); v == nil {
					break
				}
			}
		}
	}
	if v, ok := undoPrintable(s); ok {
		f(v, 2*layers+1)
	}
}

// hidesPlus is a quick check whether a text may contain an escaped plus, even in
// several layers.
func hidesPlus(s string) bool {
	return strings.Contains(s, "%") && (strings.Contains(s, "2B") || strings.Contains(s, "2b"))
}

// undone returns the view with n layers of escapes undone, or nil if there are fewer.
func undone(s string, n int, plus bool) *view {
	v := &view{text: s}
	for range n {
		next, ok := undo(v.text, plus)
		if !ok {
			return nil
		}
		if v.stretches != nil {
			next.under = v
		}
		v = &next
	}
	return v
}

// like escapes a replacement in the way in which the original was escaped.
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

// traits are the kinds of bytes in a text. They tell for what the text has to be
// searched.
type traits uint8

const (
	escapes traits = 1 << iota // begin an escape
	pluses
	equals
	signs   // may, like equals, be between a name and a value
	mails   // @
	high    // beyond ASCII
	control // except white space
	wordy   // of base64, except the plus
)

// traitsOf returns the traits of a text.
func traitsOf(s string) (t traits) {
	for i := range len(s) {
		t |= traitTable[s[i]]
	}
	return t
}

// traitTable holds the traits of each byte.
var traitTable = func() (table [256]traits) {
	for c := range 256 {
		switch {
		case c == '%' || c == '\\' || c == '&':
			table[c] = escapes
		case c == '+':
			table[c] = pluses
		case c == '=':
			table[c] = equals
		case c == ':' || c == '>':
			table[c] = signs
		case c == '@':
			table[c] = mails
		case c >= 0x80:
			table[c] = high
		case isBase64(byte(c)):
			table[c] = wordy
		case c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f:
			table[c] = control
		}
	}
	return table
}()
