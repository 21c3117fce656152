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
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
)

// edit is a replacement of a part of a text.
type edit struct {
	from, to int
	with     string
}

// level is one of the nested objects or arrays at the current position in JSON.
type level struct {
	object bool
	key    string // of the current member
	isKey  bool   // the next token is a member's name
	n      int    // elements so far
	kind   string // what the name of this array or object announces: for its elements, or for its member "value"
	label  string // the value of a member like "name"; in an array, the previous element
	value  *labelled
}

// labelled is a member like "value" that came before the object's "name".
type labelled struct {
	from, to int
	text     string
}

// labels are members whose value is a name, and values are the members of the same
// object that hold what the name announces.
var (
	labels = map[string]bool{"name": true, "key": true, "param": true, "header": true, "field": true,
		"parameter": true, "property": true, "label": true, "k": true}
	values = map[string]bool{"value": true, "val": true, "v": true, "content": true, "stringvalue": true,
		"defaultvalue": true}
	inners = map[string]bool{"value": true, "raw": true, "plain": true, "plaintext": true, "text": true,
		"data": true, "content": true, "current": true, "default": true, "stringvalue": true, "s": true}
)

// jsonWalk redacts JSON and keeps its layout.
type jsonWalk struct {
	r     *Redactor
	s     string
	depth int
	stack []level
	path  []string
	edits []edit
	// beside, if not nil, is called for values whose name is not directly before them;
	// nothing is redacted then. Values that can be found in the plain text are left
	// out, because they were searched for already.
	beside func(kind, value string)
}

// json redacts JSON, one value or several. ok is false if the text is not JSON.
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

// validJSON is true if a text is one JSON value, or several.
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

// walk goes through the text, which has to be valid JSON.
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

// stringEnd is the index behind the string that begins at i.
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

// unquoteJSON is the text of a JSON string, which is given with its quotes and has to be
// valid. Invalid UTF-8 and single surrogates become U+FFFD, as in encoding/json.
func unquoteJSON(quoted string) string {
	return strings.ToValidUTF8(string(event.AppendUnquoted(nil, []byte(quoted))), "\uFFFD")
}

func (w *jsonWalk) top() *level {
	if len(w.stack) == 0 {
		return nil
	}
	return &w.stack[len(w.stack)-1]
}

// string handles the string between two indexes: the name of a member, or a value.
func (w *jsonWalk) string(start, end int) {
	t := w.s[start+1 : end-1]
	if strings.IndexByte(t, '\\') >= 0 || !utf8.ValidString(t) {
		t = unquoteJSON(w.s[start:end])
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

// delim enters or leaves an object or array.
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

// next ends the current value.
func (w *jsonWalk) next(top *level) {
	if top != nil {
		top.isKey = top.object
		top.n++
	}
}

// place is the path of the current value.
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

// kind returns which kind of secret the current value is. It depends on the value's
// name, on the name of its array or object, or on a label in the same object.
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

// afterName returns what the previous element of an array announces: ["password", "…"],
// or a list in which header names and values alternate. Words without digits never
// count as credentials, because the array may be a list of words.
func (r *Redactor) afterName(top *level, value string) string {
	if top.n%2 == 0 || top.label == "" || !learnable(value) || !HasDigit(value) ||
		strings.Contains(value, " ") || strings.ContainsAny(top.label, " :=/") || r.keyKind(last(value)) != "" {
		return ""
	}
	return cmp.Or(r.keyKind(last(top.label)), likelyKind(last(top.label), value))
}

// text redacts the string between two indexes.
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

// look calls beside if the current value is announced by a name that is not directly
// before it.
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

// number redacts the number that ends at an index. The replacement is a number, too.
func (w *jsonWalk) number(top *level, end int, t string) {
	if now, is := w.r.numberFor(w.kind(top, ""), t); is {
		w.edits = append(w.edits, edit{end - len(t), end, now})
	}
}

// numberFor returns the replacement of a number that is secret because of its name, or
// by itself. From then on the number is a known value.
func (r *Redactor) numberFor(kind, t string) (now string, is bool) {
	if !r.numberIsSecret(kind, t) {
		return "", false
	}
	if kind != "" && !r.quick {
		r.learn(kind, t, r.token(kind, t))
	}
	return r.number(t), true
}

// numberIsSecret is true if a number has to be replaced.
func (r *Redactor) numberIsSecret(kind, t string) bool {
	whole := IsDigits(t)
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

// put records the replacement of a text, unless it is the same text.
func (w *jsonWalk) put(from, to int, was, now string) {
	if now == was {
		return
	}
	// Drop an earlier edit of the same value. There is one if the value's name came
	// after it; it is near the end of the list.
	for n := len(w.edits) - 1; n >= 0 && w.edits[n].from >= from; n-- {
		w.r.effort.add(1)
		if w.edits[n].from == from {
			w.edits = slices.Delete(w.edits, n, n+1)
		}
	}
	w.edits = append(w.edits, edit{from, to, string(quote(now))})
}
