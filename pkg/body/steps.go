package body

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
	"github.com/fanfold/fanfold/pkg/payload"
)

// do is the kind of a step.
type do uint8

const (
	given do = iota
	filled
	notNull
	notEmpty
	isOneOf
	isNoneOf
	ofKind
	isTime
	contains
	matches
	where
	text
	trim
	lower
	upper
	cut
	last
	prefix
	suffix
	replace
	uuid
	number
	integer
	boolean
	wrapped
	asJSON
	join
	lookup
	asTime
	iso
	layout
	normal
	hash
	rewrite
	as
)

// step is one thing that is done with a value: a condition, which makes it missing if it does not hold, or a
// conversion.
type step struct {
	do    do
	text  string
	texts []string
	n     int
	kind  event.Kind
	re    *regexp.Regexp
	test  func(event.Value) bool
	table map[string]string
	// rewrite is of [Value.Rewritten], known its results; nil: it is called each time.
	rewrite func(text string) string
	known   *rewritings
	f       func(dst []byte, v event.Value, c *Context) []byte
}

// state is the current form of an item.
type state uint8

const (
	asIs   state = iota // a value of an event, or of a payload
	asText              // a decoded text
	asRaw               // JSON
	asAt                // a time
)

// item is a value that passes through its steps.
type item struct {
	v     event.Value
	bytes []byte // for asText and asRaw
	at    time.Time
	state state
}

// Input is what a body is written from.
type Input struct {
	Event   event.Value
	Payload *payload.Payload
	Now     time.Time
	ID      string // insert id of the event's first request for the action
	Step    int    // index of this request among those
	// History: the event is history, and must not start anything at the partner.
	History bool
	// Settings are the user's, for Context.Setting: see [Scope.Values].
	Settings map[string]event.Value
}

// insertID is the insert id of the request being written.
func (in *Input) insertID() string {
	if in.Step == 0 {
		return in.ID
	}
	return string(AppendStepID(nil, in.ID, in.Step))
}

// AppendStepID appends the insert id of one of the requests of an event, which are counted from 0: id is that of the
// first.
func AppendStepID(dst []byte, id string, step int) []byte {
	if dst = append(dst, id...); step == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, ':'), int64(step), 10)
}

// Context is what a function of [Value.As] can read besides the value. It is valid during the call.
type Context struct{ w *writing }

// Now is roughly the time of sending.
func (c *Context) Now() time.Time { return c.w.in.Now }

// InsertID is what the node [InsertID] writes.
func (c *Context) InsertID() string { return c.w.in.insertID() }

// EventID is what the node [EventID] writes.
func (c *Context) EventID() string { return c.w.in.ID }

// Index is the index of the current element of [Each], from 0.
func (c *Context) Index() int { return c.w.index }

// Field is the value at a path of the action's fields, or Missing.
func (c *Context) Field(path string) event.Value {
	key, rest, _ := strings.Cut(path, ".")
	return find(c.w.in.Payload.Get(key), rest)
}

// Recall returns f of a value's text, and remembers recent results: there are few different user agents, for
// example, and parsing one takes longer than most events do. f is a pure function at the top level of its package;
// its result must not be changed.
func Recall[T any](c *Context, v event.Value, f func(text string) *T) *T {
	text, ok := v.Plain()
	if !ok || len(text) > maxMemo {
		return f(v.Text())
	}
	m, known := c.w.memo.of(reflect.ValueOf(f).Pointer(), text, &c.w.texts)
	if !known {
		m.made = f(m.text)
	}
	return m.made.(*T)
}

// Setting is the value of a setting, or Missing when it is "", false, 0 or empty.
func (c *Context) Setting(key string) event.Value { return c.w.in.Settings[key] }

// Event is the value at a path of the event itself, or Missing.
func (c *Context) Event(path string) event.Value { return find(c.w.in.Event, path) }

// This is the current element of [Each], or Missing.
func (c *Context) This() event.Value { return c.w.element }

// writing is the state and the memory of writing a body.
type writing struct {
	in      *Input
	buf     []byte
	base    int    // where the body begins in buf
	marks   []int  // offsets of the stamp, from base
	holes   []Hole // places for values from answers, from base
	hole    int    // offset of the items in an envelope
	element event.Value
	inside  bool // in an Each
	index   int
	tmp     []byte // intermediate texts
	lists   []byte // lists of such
	memo    memo
	texts   texts
	context Context
	flat    flattening // of [Value.Flat]
	parser  event.Parser
}

// Hole is a place that a value from the answer to an earlier request will fill. Until then it contains null.
type Hole struct {
	At   int // in bytes
	Step int // of the request, from 1
	Path string
	// Maybe leaves out the member or element that the place is, when there is no value for it.
	Maybe bool
}

func (w *writing) begin(in *Input, dst []byte) {
	w.in, w.buf, w.base, w.marks, w.hole = in, dst, len(dst), w.marks[:0], -1
	w.holes = w.holes[:0]
	w.element, w.inside, w.index = event.Value{}, false, 0
	if cap(w.tmp) > 1<<20 {
		w.tmp = nil // one huge event must not keep that much memory for ever
	}
	if cap(w.flat.name) > 1<<20 {
		w.flat.name = nil
	}
	if cap(w.lists) > 1<<20 {
		w.lists = nil
	}
	w.tmp, w.lists = w.tmp[:0], w.lists[:0]
	w.parser.Reset()
}

// sep writes the comma between two values.
func (w *writing) sep() {
	if n := len(w.buf); n > w.base {
		switch w.buf[n-1] {
		case '{', '[', ':', ',', '\n': // a line end stands only above an item
		default:
			w.buf = append(w.buf, ',')
		}
	}
}

// cut removes what was written after a place in buf.
func (w *writing) cut(to int) {
	w.buf = w.buf[:to]
	for n := len(w.marks); n > 0 && w.marks[n-1] >= to-w.base; n-- {
		w.marks = w.marks[:n-1]
	}
	for n := len(w.holes); n > 0 && w.holes[n-1].At >= to-w.base; n-- {
		w.holes = w.holes[:n-1]
	}
	if w.hole >= to-w.base {
		w.hole = -1
	}
}

// textOf is the item's text, decoded.
func (w *writing) textOf(it *item) []byte {
	switch it.state {
	case asText:
		return it.bytes
	case asAt:
		at := len(w.tmp)
		w.tmp = it.at.UTC().AppendFormat(w.tmp, isoLayout)
		return w.tmp[at:]
	case asRaw:
		if len(it.bytes) > 1 && it.bytes[0] == '"' {
			at := len(w.tmp)
			w.tmp = event.AppendUnquoted(w.tmp, it.bytes)
			return w.tmp[at:]
		}
		return it.bytes
	}
	if b, ok := it.v.Plain(); ok {
		return b
	}
	at := len(w.tmp)
	w.tmp = it.v.AppendString(w.tmp)
	return w.tmp[at:]
}

// valueOf is the item as a value, with an index over what was made.
func (w *writing) valueOf(it *item) event.Value {
	if it.state == asIs {
		return it.v
	}
	at := len(w.tmp)
	w.tmp = appendItem(w.tmp, it)
	v, err := w.parser.ParseValue(w.tmp[at:len(w.tmp):len(w.tmp)])
	if err != nil {
		return event.Value{} // cannot happen: it was made of valid values
	}
	return v
}

const isoLayout = "2006-01-02T15:04:05.000Z07:00"

func appendItem(dst []byte, it *item) []byte {
	switch it.state {
	case asText:
		return event.AppendQuoted(dst, it.bytes)
	case asRaw:
		return append(dst, it.bytes...)
	case asAt:
		dst = append(dst, '"')
		dst = it.at.UTC().AppendFormat(dst, isoLayout)
		return append(dst, '"')
	}
	return append(dst, it.v.Raw()...)
}

// timeOf is the item as a time.
func (w *writing) timeOf(it *item) (time.Time, bool) {
	switch it.state {
	case asAt:
		return it.at, true
	case asIs:
		return event.ParseTime(it.v)
	}
	return event.ParseTime(w.valueOf(it))
}

// kind is the item's kind in JSON.
func (it *item) kind() event.Kind {
	switch it.state {
	case asIs:
		return it.v.Kind()
	case asText, asAt:
		return event.String
	}
	return jsonval.KindOf(it.bytes)
}

// ask evaluates a step that is a condition; known is false for a conversion.
func (w *writing) ask(s *step, it *item) (yes, known bool) {
	switch s.do {
	case given:
		switch {
		case it.state == asIs:
			return !it.v.Falsy(), true
		case it.state == asText:
			return len(it.bytes) > 0, true
		case it.state == asAt:
			return true, true
		case it.kind() != event.Number: // one that was made needs no index to be looked at
			return it.kind() >= event.Array || it.bytes[0] == 't' || it.bytes[0] == '"' && len(it.bytes) > 2, true
		}
		return !w.valueOf(it).Falsy(), true
	case filled:
		return it.kind() > event.Null && !w.isEmptyText(it), true
	case notNull:
		return it.kind() > event.Null, true
	case notEmpty:
		k := it.kind()
		return !w.isEmptyText(it) && (k < event.Array || w.valueOf(it).Len() > 0), true
	case isOneOf, isNoneOf:
		return w.isOneOf(s, it) == (s.do == isOneOf), true
	case ofKind:
		return it.kind() == s.kind, true
	case isTime:
		_, ok := w.timeOf(it)
		return ok, true
	case contains:
		return bytes.Contains(w.textOf(it), []byte(s.text)), true
	case matches:
		return s.re.Match(w.textOf(it)), true
	case where:
		return s.test(w.valueOf(it)), true
	}
	return false, false
}

func (w *writing) isEmptyText(it *item) bool {
	switch it.state {
	case asIs:
		return it.v.IsEmptyText()
	case asText:
		return len(it.bytes) == 0
	}
	return it.state == asRaw && string(it.bytes) == `""`
}

func (w *writing) isOneOf(s *step, it *item) bool {
	for _, t := range s.texts {
		if it.state == asIs && it.v.Kind() == event.String {
			if it.v.IsText(t) {
				return true
			}
		} else if string(w.textOf(it)) == t {
			return true
		}
	}
	return false
}

// through applies steps to an item; false: the value is missing.
func (w *writing) through(steps []step, it *item) bool {
	for i := range steps {
		s := &steps[i]
		if yes, known := w.ask(s, it); known {
			if !yes {
				return false
			}
		} else if !w.form(s, it) {
			return false
		}
	}
	return true
}

// setText makes the item the text that was appended to w.tmp from an offset on.
func (w *writing) setText(it *item, from int) bool {
	it.state, it.bytes = asText, w.tmp[from:len(w.tmp):len(w.tmp)]
	return true
}

func (w *writing) setRaw(it *item, from int) bool {
	it.state, it.bytes = asRaw, w.tmp[from:len(w.tmp):len(w.tmp)]
	return len(w.tmp) > from
}

// form applies a conversion to an item.
func (w *writing) form(s *step, it *item) bool {
	switch s.do {
	case number, integer, boolean, wrapped, asJSON, join, as:
		return w.formJSON(s, it)
	case asTime, iso, layout:
		return w.formTime(s, it)
	case normal, hash:
		return w.formPersonal(s, it)
	case lookup:
		t, ok := s.table[string(w.textOf(it))]
		from := len(w.tmp)
		w.tmp = append(w.tmp, t...)
		return w.setText(it, from) && ok
	}
	if it.kind() == event.Null {
		return false // null has no text
	}
	if s.do == text && it.kind() == event.String {
		return true
	}
	b := w.textOf(it)
	from := len(w.tmp)
	switch s.do {
	case text:
		it.bytes = b
	case trim:
		it.bytes = jsonval.TrimText(b)
	case lower:
		w.tmp = jsonval.AppendLower(w.tmp, b)
		return w.setText(it, from)
	case upper:
		w.tmp = append(w.tmp, bytes.ToUpper(b)...)
		return w.setText(it, from)
	case cut:
		it.bytes = jsonval.CutText(b, s.n, "")
	case last:
		if it.bytes = b; len(b) > s.n {
			if it.bytes = b[len(b)-s.n:]; !utf8.Valid(it.bytes) {
				it.bytes = bytes.ToValidUTF8(it.bytes, []byte("-"))
			}
		}
	case prefix:
		w.tmp = append(append(w.tmp, s.text...), b...)
		return w.setText(it, from)
	case suffix:
		w.tmp = append(append(w.tmp, b...), s.text...)
		return w.setText(it, from)
	case replace:
		w.tmp = append(w.tmp, bytes.ReplaceAll(b, []byte(s.text), []byte(s.texts[0]))...)
		return w.setText(it, from)
	case uuid:
		w.tmp = AppendUUID(w.tmp, b)
		return w.setText(it, from)
	case rewrite:
		it.state = asText
		if s.known == nil {
			it.bytes = []byte(s.rewrite(string(b)))
		} else {
			it.bytes = w.text(s.known.of(s.rewrite, nil, &w.texts, b).to)
		}
		return len(it.bytes) > 0
	}
	it.state = asText
	return true
}

func (w *writing) formJSON(s *step, it *item) bool {
	v := w.valueOf(it)
	from := len(w.tmp)
	ok := true
	switch s.do {
	case number, integer:
		if w.tmp, ok = jsonval.AppendNumberOf(w.tmp, v.Kind(), v.Raw()); ok && s.do == integer {
			ok = w.truncate(from)
		}
	case boolean:
		w.tmp, ok = jsonval.AppendBoolOf(w.tmp, v.Kind(), v.Raw())
	case wrapped:
		if v.Kind() == event.Array {
			return true
		}
		w.tmp = append(append(append(w.tmp, '['), v.Raw()...), ']')
	case asJSON:
		it.state, it.bytes = asText, v.Raw()
		return true
	case join:
		if v.Kind() != event.Array {
			return w.form(&step{do: text}, it)
		}
		n := 0
		for e := range v.Elements() {
			if e.Kind() == event.Null {
				continue
			}
			if n++; n > 1 {
				w.tmp = append(w.tmp, s.text...)
			}
			w.tmp = e.AppendString(w.tmp)
		}
		w.setText(it, from)
		return n > 0
	case as:
		w.context.w = w
		w.tmp = s.f(w.tmp, v, &w.context)
	}
	return w.setRaw(it, from) && ok
}

// truncate cuts off the decimals of the number at the end of w.tmp.
func (w *writing) truncate(from int) bool {
	b := w.tmp[from:]
	if !bytes.ContainsAny(b, ".eE") {
		return true
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return false
	}
	w.tmp = event.AppendFloatJS(w.tmp[:from], math.Trunc(f)+0) // + 0 makes -0 a 0
	return true
}

func (w *writing) formTime(s *step, it *item) bool {
	if s.do == iso && it.state == asIs && isISO(it.v) {
		return true
	}
	at, ok := w.timeOf(it)
	if !ok {
		return false
	}
	from := len(w.tmp)
	switch s.do {
	case iso:
		if y := at.UTC().Year(); y < 0 || y > 9999 {
			return false
		}
		it.state, it.at = asAt, at
		return true
	case asTime:
		switch s.text {
		case "seconds":
			w.tmp = strconv.AppendInt(w.tmp, at.Unix(), 10)
		case "millis":
			w.tmp = strconv.AppendInt(w.tmp, at.UnixMilli(), 10)
		default:
			w.tmp, ok = jsonval.AppendTime(w.tmp, at, s.text)
		}
		return w.setRaw(it, from) && ok
	}
	w.tmp = at.UTC().AppendFormat(w.tmp, s.text)
	return w.setText(it, from)
}

// isISO says whether a value is a text that begins with a date and continues with a time.
func isISO(v event.Value) bool {
	b, ok := v.Plain()
	return ok && len(b) >= 19 && b[4] == '-' && b[7] == '-' && b[10] == 'T'
}

// formPersonal writes a normal form, or its hash. For a list it does so for every element.
func (w *writing) formPersonal(s *step, it *item) bool {
	if it.kind() != event.Array {
		if it.kind() <= event.Null || it.kind() == event.Object {
			return false
		}
		b, ok := w.personal(s, w.textOf(it))
		it.state, it.bytes = asText, b
		return ok
	}
	v := w.valueOf(it)
	from := len(w.lists)
	w.lists = append(w.lists, '[')
	for e := range v.Elements() {
		if k := e.Kind(); k <= event.Null || k >= event.Array {
			continue
		}
		b, ok := w.personal(s, w.textOf(&item{v: e}))
		if !ok {
			continue
		}
		if len(w.lists) > from+1 {
			w.lists = append(w.lists, ',')
		}
		w.lists = event.AppendQuoted(w.lists, b)
	}
	w.lists = append(w.lists, ']')
	it.state, it.bytes = asRaw, w.lists[from:len(w.lists):len(w.lists)]
	return len(it.bytes) > len("[]")
}

func (w *writing) personal(s *step, b []byte) ([]byte, bool) {
	from := len(w.tmp)
	if s.do == hash && jsonval.IsHashed(b) {
		w.tmp = jsonval.AppendLower(w.tmp, b)
		return w.tmp[from:], true
	}
	switch s.text {
	case "compact":
		w.tmp = jsonval.AppendLower(w.tmp, b)
		low := w.tmp[from:]
		for from = len(w.tmp); len(low) > 0; {
			c, n := utf8.DecodeRune(low)
			if low = low[n:]; !strings.ContainsRune(" \t\n\v\f\r\u0085\u00a0", c) {
				w.tmp = utf8.AppendRune(w.tmp, c)
			}
		}
	case "alphanumeric":
		for _, c := range b {
			switch {
			case c >= 'A' && c <= 'Z':
				w.tmp = append(w.tmp, c+'a'-'A')
			case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
				w.tmp = append(w.tmp, c)
			}
		}
	case "email_plain":
		w.tmp = jsonval.AppendLower(w.tmp, jsonval.TrimText(b))
		low := w.tmp[from:]
		user, domain, ok := bytes.Cut(low, []byte("@"))
		if from = len(w.tmp); !ok {
			w.tmp = append(w.tmp, low...)
			break
		}
		user, _, _ = bytes.Cut(user, []byte("+"))
		for _, c := range user {
			if c != '.' {
				w.tmp = append(w.tmp, c)
			}
		}
		w.tmp = append(append(w.tmp, '@'), domain...)
	default:
		w.tmp = jsonval.AppendNormal(w.tmp, s.text, b, "")
	}
	made := w.tmp[from:]
	if len(made) == 0 {
		return nil, false
	}
	if s.do == hash {
		sum := sha256.Sum256(made)
		w.tmp = hex.AppendEncode(w.tmp[:from], sum[:])
	}
	return w.tmp[from:len(w.tmp):len(w.tmp)], true
}

// AppendUUID appends a text in lower case if it is a UUID, otherwise a UUID that is derived from it and always the
// same for the same text.
func AppendUUID(dst, id []byte) []byte {
	if isUUID(id) {
		return jsonval.AppendLower(dst, id)
	}
	sum := sha256.Sum256(id)
	// https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-8
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	for i, b := range sum[:16] {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, []byte{b})
	}
	return dst
}

func isUUID(id []byte) bool {
	if len(id) != 36 {
		return false
	}
	for i, c := range id {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if c-'0' > 9 && (c|0x20)-'a' > 5 {
			return false
		}
	}
	return true
}
