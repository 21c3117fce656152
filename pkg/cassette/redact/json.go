package redact

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// edit replaces a part of a text.
type edit struct {
	from, to int
	with     string
}

// level is an object or array that a walk through JSON is in.
type level struct {
	object bool
	key    string // of the member at hand
	isKey  bool   // the next token is a member's name
	n      int    // elements so far
	kind   string // announced by the name of an array, for its elements; or of an object, for its value
	label  string // what a member like "name" says; in an array, the element before
	value  *labelled
}

// labelled is a member like "value", whose object's "name" has not come yet.
type labelled struct {
	from, to int
	text     string
}

// labels are members that name what another member of the same object, one of
// values, holds.
var (
	labels = map[string]bool{"name": true, "key": true, "param": true, "header": true, "field": true,
		"parameter": true, "property": true, "label": true, "k": true}
	values = map[string]bool{"value": true, "val": true, "v": true, "content": true, "stringvalue": true,
		"defaultvalue": true}
	inners = map[string]bool{"value": true, "raw": true, "plain": true, "plaintext": true, "text": true,
		"data": true, "content": true, "current": true, "default": true, "stringvalue": true, "s": true}
)

// jsonWalk redacts JSON without touching its layout.
type jsonWalk struct {
	r     *Redactor
	s     string
	depth int
	stack []level
	path  []string
	edits []edit
	// beside, when there is one, is given what stands beside its name, in an array below
	// it or in an object, and nothing is redacted: what is found in the text as it stands
	// is not asked for again.
	beside func(kind, value string)
}

// json redacts JSON, one value or several. ok is false when it is none.
func (r *Redactor) json(s string, depth int) (out string, ok bool) {
	if !validJSON(s) {
		return "", false
	}
	w := jsonWalk{r: r, s: s, depth: depth}
	w.walk()
	slices.SortFunc(w.edits, func(a, b edit) int { return a.from - b.from })
	if len(w.edits) == 0 {
		return s, true
	}
	var b strings.Builder
	at := 0
	for _, e := range w.edits {
		b.WriteString(s[at:e.from])
		b.WriteString(e.with)
		at = e.to
	}
	b.WriteString(s[at:])
	return b.String(), true
}

// validJSON says that a text is one JSON value, or several.
func validJSON(s string) bool {
	if json.Valid([]byte(s)) {
		return true
	}
	dec := json.NewDecoder(strings.NewReader(s))
	for n := 0; ; n++ {
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return errors.Is(err, io.EOF) && n > 0
		}
	}
}

// walk goes through text that is valid.
func (w *jsonWalk) walk() {
	paused := 0
	for i := 0; i < len(w.s); {
		if i-paused > 1<<13 && w.r.pause != nil {
			paused = i
			w.r.pause()
		}
		switch c := w.s[i]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			i++
		case '{', '[', '}', ']':
			w.delim(c)
			i++
		case '"':
			end := stringEnd(w.s, i)
			w.string(i, end)
			i = end
		default:
			end := i + 1
			for end < len(w.s) && strings.IndexByte(" \t\r\n,:{}[]\"", w.s[end]) < 0 {
				end++
			}
			top := w.top()
			if w.beside == nil && (c == '-' || c >= '0' && c <= '9') {
				w.number(top, end, w.s[i:end])
			}
			w.next(top)
			i = end
		}
	}
}

// stringEnd is where the string that begins at a place ends.
func stringEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// unquoteJSON is what the text between two quotes says, which is valid. Bytes that are
// no character, and halves of one, become U+FFFD, as everywhere.
func unquoteJSON(t string) string {
	b := make([]byte, 0, len(t))
	at := 0
	for i := strings.IndexByte(t, '\\'); i >= 0 && at+i+1 < len(t); i = strings.IndexByte(t[at:], '\\') {
		b = append(b, t[at:at+i]...)
		at += i + 2
		switch c := t[at-1]; c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			one := hex4(t, at)
			at += 4
			if utf16.IsSurrogate(one) {
				pair := rune(utf8.RuneError)
				if strings.HasPrefix(t[min(at, len(t)):], `\u`) {
					pair = utf16.DecodeRune(one, hex4(t, at+2))
				}
				if pair != utf8.RuneError {
					at += 6
				}
				one = pair
			}
			b = utf8.AppendRune(b, one)
		default:
			b = append(b, c)
		}
		at = min(at, len(t))
	}
	plain := string(append(b, t[at:]...))
	if utf8.ValidString(plain) {
		return plain
	}
	return strings.ToValidUTF8(plain, "\uFFFD")
}

// hex4 is the character of four hexadecimal digits; U+FFFD where there are none.
func hex4(t string, at int) rune {
	var r rune
	for i := range 4 {
		d := byte(255)
		if at+i < len(t) {
			d = hexDigit(t[at+i])
		}
		if d > 15 {
			return utf8.RuneError
		}
		r = r<<4 | rune(d)
	}
	return r
}

func (w *jsonWalk) top() *level {
	if len(w.stack) == 0 {
		return nil
	}
	return &w.stack[len(w.stack)-1]
}

// string takes the text, a member's name or a value, that stands at a place.
func (w *jsonWalk) string(start, end int) {
	t := w.s[start+1 : end-1]
	if strings.IndexByte(t, '\\') >= 0 || !utf8.ValidString(t) {
		t = unquoteJSON(t)
	}
	top := w.top()
	if top != nil && top.object && top.isKey {
		top.key, top.isKey = t, false
		if w.beside != nil {
			return
		}
		w.put(start, end, t, w.r.text(t, w.depth+1))
		return
	}
	w.text(top, start, end, t)
}

// delim goes into an object or array, or out of it.
func (w *jsonWalk) delim(c byte) {
	top := w.top()
	if c == '}' || c == ']' {
		w.stack = w.stack[:len(w.stack)-1]
		w.next(w.top())
		return
	}
	l := level{object: c == '{', isKey: c == '{'}
	switch {
	case top == nil:
	case top.object:
		l.kind = w.r.keyKind(top.key)
	case !l.object || !top.object:
		l.kind = top.kind
	}
	w.stack = append(w.stack, l)
}

// next says that a value is done.
func (w *jsonWalk) next(top *level) {
	if top != nil {
		top.isKey = top.object
		top.n++
	}
}

// place is the path of the value at hand.
func (w *jsonWalk) place() []string {
	w.path = w.path[:0]
	for i := range w.stack {
		if l := &w.stack[i]; l.object {
			w.path = append(w.path, l.key)
		} else {
			w.path = append(w.path, "["+strconv.Itoa(l.n)+"]")
		}
	}
	return w.path
}

// kind is what announces the value at hand: its name, that of its array, or what
// stands beside it.
func (w *jsonWalk) kind(top *level, value string) string {
	switch {
	case top == nil:
		return ""
	case len(w.r.places) > 0 && len(w.stack) <= maxNested && w.r.pathSecret("body", w.place()):
		return "custom"
	case !top.object:
		return cmp.Or(top.kind, w.r.afterName(top, value))
	}
	flat := flatName(top.key)
	if top.kind != "" && inners[flat] {
		return top.kind
	}
	if top.label != "" && values[flat] {
		if kind := w.r.keyKind(last(top.label)); kind != "" {
			return kind
		}
	}
	return w.r.kindOf(top.key, value)
}

// afterName is what the element before announces: ["password", "…"], and a list of
// headers and their values by turns. In a list of words nothing is a credential.
func (r *Redactor) afterName(top *level, value string) string {
	if top.n%2 == 0 || top.label == "" || !learnable(value) || !hasDigit(value) ||
		strings.Contains(value, " ") || strings.ContainsAny(top.label, " :=/") || r.keyKind(last(value)) != "" {
		return ""
	}
	return cmp.Or(r.keyKind(last(top.label)), likelyKind(last(top.label), value))
}

// text redacts the text that stands at a place.
func (w *jsonWalk) text(top *level, start, end int, t string) {
	defer w.next(top)
	if w.beside != nil {
		w.look(top, t)
		return
	}
	kind := w.kind(top, t)
	if top != nil && !top.object {
		top.label = t
	}
	if top != nil && top.object && kind == "" {
		switch flat := flatName(top.key); {
		case labels[flat]:
			top.label = t
			if told := w.r.keyKind(last(t)); told != "" && top.value != nil {
				v := top.value
				w.put(v.from, v.to, v.text, w.r.member(told, v.text, w.depth+1))
				top.value = nil
			}
		case values[flat] && top.label == "" && top.value == nil:
			top.value = &labelled{start, end, t}
		}
	}
	if kind == "" {
		w.put(start, end, t, w.r.text(t, w.depth+1))
		return
	}
	if kind == "custom" {
		w.put(start, end, t, w.r.whole(kind, t))
		return
	}
	w.put(start, end, t, w.r.member(kind, t, w.depth+1))
}

// look gives what a name that does not stand before it announces.
func (w *jsonWalk) look(top *level, t string) {
	if top == nil {
		return
	}
	if !top.object {
		if kind := cmp.Or(top.kind, w.r.afterName(top, t)); kind != "" {
			w.beside(kind, t)
		}
		top.label = t
		return
	}
	flat := flatName(top.key)
	switch {
	case isCookie(top.key) && strings.IndexByte(t, '=') > 0:
		if hit := w.r.bare("cookie", http.CanonicalHeaderKey(top.key), t); hit != "" {
			w.beside("cookie", hit)
		}
	case top.kind != "" && inners[flat]:
		w.beside(top.kind, t)
	case likelyKinds[flat] != "":
		if kind := likelyKind(last(top.key), t); kind != "" {
			w.beside(kind, t)
		}
	case labels[flat]:
		top.label = t
		if told := w.r.keyKind(last(t)); told != "" && top.value != nil {
			w.beside(told, top.value.text)
		}
		top.value = nil
	case values[flat] && top.label != "":
		if told := w.r.keyKind(last(top.label)); told != "" {
			w.beside(told, t)
		}
	case values[flat] && top.value == nil:
		top.value = &labelled{text: t}
	}
}

// number redacts the number that ends at a place; it stays a number.
func (w *jsonWalk) number(top *level, end int, t string) {
	if now, is := w.r.numberFor(w.kind(top, ""), t); is {
		w.edits = append(w.edits, edit{end - len(t), end, now})
	}
}

// numberFor is the number that takes the place of one, where it is secret by what
// announces it, or by itself; it is known from then on.
func (r *Redactor) numberFor(kind, t string) (now string, is bool) {
	if !r.numberIsSecret(kind, t) {
		return "", false
	}
	if kind != "" && !r.quick {
		r.learn(kind, t, r.token(kind, t))
	}
	return r.number(t), true
}

// numberIsSecret tells whether a number is.
func (r *Redactor) numberIsSecret(kind, t string) bool {
	whole := digitsOnly(t)
	switch f, ok := r.known.of(t); {
	case IsToken(t) || r.allowed(t):
		return false
	case ok && f.text != f.with, whole && len(r.tokens) > 0 && !r.quick && r.tokens[r.number(t)] != "":
		return true
	case r.quick:
		return false
	case kind == "phone" && (len(t) < 7 || len(t) > 15 || harmless("phone", t)), kind == "card" && len(t) < 3,
		kind == "iban", kind == "hashed", kind == "email":
		return false
	case kind == "password" && len(t) >= 4, kind == "card" || kind == "ssn" || kind == "phone" || kind == "custom",
		kind != "" && len(t) >= 6 && whole:
		return true
	}
	return whole && isCard(t)
}

// put notes what takes the place of a text, unless it is the same.
func (w *jsonWalk) put(from, to int, was, now string) {
	if now == was {
		return
	}
	// A value whose name came behind it, not far from the end.
	for n := len(w.edits) - 1; n >= 0 && w.edits[n].from >= from; n-- {
		w.r.effort.add(1)
		if w.edits[n].from == from {
			w.edits = slices.Delete(w.edits, n, n+1)
		}
	}
	w.edits = append(w.edits, edit{from, to, string(quote(now))})
}
