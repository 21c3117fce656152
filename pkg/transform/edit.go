package transform

import (
	"bytes"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// editor changes the places of an event that a path leads to and copies all
// other bytes as they are. It works on the text: finding a place needs no
// index, and the event is not indexed again between two edits.
//
// Of a repeated key every occurrence is changed, so that what was to be
// removed or masked is nowhere.
type editor struct {
	path   []string
	remove bool
	create bool                         // make what is missing on the way
	with   func(dst, old []byte) []byte // the new value; old is nil for a created one
	hits   int
}

// run returns the edited event in one of the worker's buffers, or nil when
// nothing changed.
func (e *editor) run(w *Worker, raw []byte) []byte {
	// What is read, and what the step began with, stand in two of the three
	// buffers at most.
	b := &w.bufs[0]
	for i := range w.bufs {
		if b = &w.bufs[i]; !same(*b, raw) && !same(*b, w.before) {
			break
		}
	}
	from := event.SkipSpace(raw, 0)
	to := event.SkipValue(raw, from)
	out := append((*b)[:0], raw[:from]...)
	out = e.value(out, raw[from:to], e.path)
	out = append(out, raw[to:]...)
	*b = out
	if e.hits == 0 || bytes.Equal(out, raw) {
		return nil
	}
	return out
}

func same(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && &a[0] == &b[0] }

// value copies a value, edited below the given steps.
func (e *editor) value(dst, raw []byte, steps []string) []byte {
	if len(steps) == 0 {
		e.hits++
		return e.with(dst, raw)
	}
	switch raw[0] {
	case '{', '[':
		return e.inside(dst, raw, steps)
	case 'n':
		if e.create && steps[0] != "*" {
			return e.inside(dst, []byte("{}"), steps)
		}
	}
	return append(dst, raw...)
}

// inside copies an object or an array, edited below the given steps.
func (e *editor) inside(dst, raw []byte, steps []string) []byte {
	isObject, want := raw[0] == '{', -1
	if !isObject && steps[0] != "*" {
		n, err := strconv.Atoi(steps[0])
		if err != nil || n < 0 {
			return append(dst, raw...)
		}
		want = n
	}
	last := e.remove && len(steps) == 1
	found, kept, n := false, 0, 0
	from := 0 // first byte not copied yet
	for x := range entries(raw) {
		match := steps[0] == "*" || isObject && event.IsQuoted(x.key, steps[0]) || n == want
		n++
		found = found || match
		switch {
		case match && last:
			e.hits++
			dst = append(dst, raw[from:x.at]...)
			if from = x.next; !x.more {
				// The last one goes: so does the comma before it.
				if from = x.end; kept > 0 {
					dst = bytes.TrimRight(dst, " \t\r\n")
					dst = dst[:len(dst)-1]
				}
			}
			continue
		case match:
			dst = append(dst, raw[from:x.val]...)
			dst = e.value(dst, raw[x.val:x.end], steps[1:])
			from = x.end
		}
		kept++
	}
	if isObject && e.create && !found && steps[0] != "*" {
		end := len(raw) - 1
		dst = append(dst, raw[from:end]...)
		if kept > 0 {
			dst = append(dst, ',')
		}
		dst = event.AppendQuoted(dst, steps[0])
		dst = append(dst, ':')
		dst = e.made(dst, steps[1:])
		from = end
	}
	return append(dst, raw[from:]...)
}

// entry is where a member of an object, or an element of an array, stands in its text.
type entry struct {
	key          []byte // with its quotes; nil: an element
	at, val, end int    // where it begins, and where its value begins and ends
	next         int    // where the one behind it begins
	more         bool   // there is one behind it
}

// entries are those of an object or an array.
func entries(raw []byte) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		i := event.SkipSpace(raw, 1)
		for i < len(raw) && raw[i] != '}' && raw[i] != ']' {
			x := entry{at: i}
			if raw[0] == '{' {
				i = event.SkipString(raw, i)
				x.key = raw[x.at:i]
				i = event.SkipSpace(raw, event.SkipSpace(raw, i)+1)
			}
			x.val = i
			x.end = event.SkipValue(raw, i)
			i = event.SkipSpace(raw, x.end)
			if x.more = i < len(raw) && raw[i] == ','; x.more {
				i = event.SkipSpace(raw, i+1)
			}
			if x.next = i; !yield(x) {
				return
			}
		}
	}
}

// made writes a value that was missing, inside the objects that lead to it.
func (e *editor) made(dst []byte, steps []string) []byte {
	for _, s := range steps {
		dst = append(dst, '{')
		dst = event.AppendQuoted(dst, s)
		dst = append(dst, ':')
	}
	e.hits++
	dst = e.with(dst, nil)
	for range steps {
		dst = append(dst, '}')
	}
	return dst
}

// lookup returns the value that a path leads to; of repeated keys the last.
func lookup(raw []byte, steps []string) (val []byte, ok bool) {
	raw = raw[event.SkipSpace(raw, 0):]
	for _, s := range steps {
		var next []byte
		switch {
		case len(raw) > 0 && raw[0] == '{':
			event.EachMember(raw, func(key, val []byte) {
				if event.IsQuoted(key, s) {
					next = val
				}
			})
		case len(raw) > 0 && raw[0] == '[':
			want, err := strconv.Atoi(s)
			if err != nil {
				return nil, false
			}
			n := 0
			event.EachElement(raw, func(val []byte) {
				if n == want {
					next = val
				}
				n++
			})
		}
		if next == nil {
			return nil, false
		}
		raw = next
	}
	return raw[:event.SkipValue(raw, 0)], true
}

// settable reports whether a value can be moved to a path: everything on the
// way must be an object, an element that exists, null or missing. What is to
// move away does not stand in the way.
func settable(raw []byte, old, steps []string) bool {
	for i := range steps {
		if i > 0 && slices.Equal(old, steps[:i]) {
			return true
		}
		val, ok := lookup(raw, steps[:i])
		if !ok || val[0] == 'n' {
			return true
		}
		if val[0] == '[' {
			if _, ok := lookup(val, steps[i:i+1]); !ok {
				return false
			}
		} else if val[0] != '{' {
			return false
		}
	}
	return true
}

// eachScalar copies a value with f's text for every scalar in it.
func eachScalar(dst, raw []byte, f func(dst, scalar []byte) []byte) []byte {
	if raw[0] != '{' && raw[0] != '[' {
		return f(dst, raw)
	}
	from := 0
	for x := range entries(raw) {
		dst = append(dst, raw[from:x.val]...)
		dst = eachScalar(dst, raw[x.val:x.end], f)
		from = x.end
	}
	return append(dst, raw[from:]...)
}

// decode returns the text of a JSON string.
func decode(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	return event.AppendUnquoted(nil, raw)
}

// timeLayouts are the forms of a time in text that shifting keeps, without
// their fraction of a second.
var timeLayouts = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05",
}

// appendShifted appends a time moved by d in the form and with the precision
// that it has: text with as many decimals, the same zone, the same Unix unit.
// What is no time stays.
func appendShifted(dst, old []byte, d time.Duration) []byte {
	if len(old) == 0 {
		return dst
	}
	if old[0] != '"' {
		if out, ok := shiftUnix(dst, string(old), d); ok {
			return out
		}
		return append(dst, old...)
	}
	s := string(decode(old))
	if out, ok := shiftUnix(append(dst, '"'), s, d); ok {
		return append(out, '"')
	}
	if t, err := time.Parse("2006-01-02", s); err == nil {
		return event.AppendQuoted(dst, t.Add(d).Format("2006-01-02"))
	}
	for _, layout := range timeLayouts {
		t, err := time.Parse(layout, s) // takes a fraction where there is one
		if err != nil {
			continue
		}
		if y := t.Add(d).Year(); y < 0 || y > 9999 {
			break
		}
		if i := strings.LastIndexByte(s, '.'); i > 0 {
			n := 0
			for i+1+n < len(s) && s[i+1+n] >= '0' && s[i+1+n] <= '9' {
				n++
			}
			layout = strings.Replace(layout, "05", "05."+strings.Repeat("0", min(n, 9)), 1)
		}
		return event.AppendQuoted(dst, t.Add(d).Format(layout))
	}
	return append(dst, old...)
}

// shiftUnix moves a Unix time written as a decimal number. The unit is told
// by the magnitude, as in reading.
func shiftUnix(dst []byte, s string, d time.Duration) ([]byte, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		unit := time.Nanosecond
		switch a := math.Abs(float64(n)); {
		case a < 1e11:
			unit = time.Second
		case a < 1e14:
			unit = time.Millisecond
		case a < 1e17:
			unit = time.Microsecond
		}
		by := int64(d / unit)
		if by > 0 && n > math.MaxInt64-by || by < 0 && n < math.MinInt64-by {
			return dst, false
		}
		return strconv.AppendInt(dst, n+by, 10), true
	}
	whole, frac, ok := strings.Cut(s, ".")
	if !ok || frac == "" || strings.Trim(frac, "0123456789") != "" || len(frac) > 9 {
		return dst, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 0 || n >= 1e11 {
		return dst, false
	}
	nanos, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	t := time.Unix(n, nanos).Add(d)
	if t.Unix() < 0 {
		return dst, false
	}
	dst = strconv.AppendInt(dst, t.Unix(), 10)
	digits := strconv.FormatInt(1e9+int64(t.Nanosecond()), 10)[1:]
	return append(append(dst, '.'), digits[:len(frac)]...), true
}
