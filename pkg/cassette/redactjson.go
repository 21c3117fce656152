package cassette

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
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
	label  string // what a member like "name" says
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
		"data": true, "content": true, "current": true}
)

// jsonWalk redacts JSON without touching its layout.
type jsonWalk struct {
	r     *Redactor
	s     string
	depth int
	stack []level
	path  []string
	edits []edit
	at    int // what the edits have come to: tokens begin behind it
}

// json redacts JSON, one value or several. ok is false when it is none.
func (r *Redactor) json(s string, depth int) (out string, ok bool) {
	w := jsonWalk{r: r, s: s, depth: depth}
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || !w.token(tok, int(dec.InputOffset())) {
			return "", false
		}
	}
	if len(w.stack) > 0 {
		return "", false
	}
	slices.SortFunc(w.edits, func(a, b edit) int { return a.from - b.from })
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

func (w *jsonWalk) top() *level {
	if len(w.stack) == 0 {
		return nil
	}
	return &w.stack[len(w.stack)-1]
}

// token takes the token that ends at a place; false when the text is not what the
// decoder says.
func (w *jsonWalk) token(tok json.Token, end int) bool {
	top := w.top()
	switch t := tok.(type) {
	case json.Delim:
		w.delim(t)
		w.at = end
		return true
	case string:
		start := jsonStart(w.s, w.at, end)
		if start < 0 {
			return false
		}
		if top != nil && top.object && top.isKey {
			top.key, top.isKey = t, false
			w.put(start, end, t, w.r.text(t, w.depth+1))
		} else {
			w.text(top, start, end, t)
		}
		w.at = end
	case json.Number:
		w.number(top, end, t.String())
		w.next(top)
	default:
		w.next(top)
	}
	return true
}

// delim goes into an object or array, or out of it.
func (w *jsonWalk) delim(t json.Delim) {
	top := w.top()
	if t == '}' || t == ']' {
		w.stack = w.stack[:len(w.stack)-1]
		w.next(w.top())
		return
	}
	l := level{object: t == '{', isKey: t == '{'}
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
	case len(w.r.paths) > 0 && w.r.pathSecret("body", w.place()):
		return "custom"
	case !top.object:
		return top.kind
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

// text redacts the text that stands at a place.
func (w *jsonWalk) text(top *level, start, end int, t string) {
	defer w.next(top)
	kind := w.kind(top, t)
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

// number redacts the number that ends at a place; it stays a number.
func (w *jsonWalk) number(top *level, end int, t string) {
	whole := digitsOnly(t)
	kind := w.kind(top, "")
	switch f, ok := w.r.known.of(t); {
	case isToken(t) || w.r.allowed(t):
		return
	case ok && f.text != f.with, whole && len(w.r.tokens) > 0 && !w.r.quick && w.r.tokens[w.r.number(t)]:
	case w.r.quick:
		return
	case kind == "phone" && (len(t) < 7 || len(t) > 15 || harmless("phone", t)), kind == "card" && len(t) < 3,
		kind == "iban", kind == "hashed", kind == "email":
		return
	case kind == "password" && len(t) >= 4, kind == "card" || kind == "ssn" || kind == "phone" || kind == "custom",
		kind != "" && len(t) >= 6 && whole:
		if learnable(t) && !personal(kind) {
			w.r.known.add(form{kind, t, w.r.token(kind, t)})
		}
	case whole && isCard(t):
	default:
		return
	}
	w.edits = append(w.edits, edit{end - len(t), end, w.r.number(t)})
	w.at = end
}

// put notes what takes the place of a text, unless it is the same.
func (w *jsonWalk) put(from, to int, was, now string) {
	if now == was {
		return
	}
	w.edits = slices.DeleteFunc(w.edits, func(e edit) bool { return e.from == from })
	w.edits = append(w.edits, edit{from, to, string(quote(now))})
}

// jsonStart finds where the string that ends at end began: the decoder tells
// only where tokens end. Between at and there may be other tokens.
func jsonStart(s string, at, end int) int {
	for i := end - 2; i >= at; i-- {
		if s[i] != '"' {
			continue
		}
		back := 0
		for k := i - 1; k >= at && s[k] == '\\'; k-- {
			back++
		}
		if back%2 == 0 {
			return i
		}
	}
	return -1
}
