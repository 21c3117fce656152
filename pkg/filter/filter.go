// Package filter compiles FQL, the language of Segment's triggers and
// destination filters, and matches events against it.
//
//	type = "track" and (event = "Order Completed" or match(event, "Product *"))
//	'dark-mode' in properties.features
//	!contains(lowercase(traits.email), "@internal.example")
//
// The language is FQL as Segment documents it: a boolean statement over the
// fields of one JSON object, with the usual precedence (! before comparison
// before and before or) and parentheses to any depth. A field that is missing
// is null, and null counts as false. Values of different types are never
// equal. [Reference] lists the operators and functions with examples.
//
// Segment's destination triggers pass through a second, lossy parser that
// reads some statements differently. fanfold follows the documentation;
// [Differences] names what the other parser would make of a statement, so that
// a user who pastes a trigger is told.
//
// A filter is compiled once and matches without allocating. It is immutable
// and safe for concurrent use.
package filter

import (
	"bytes"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
)

// Filter is a compiled statement. The nil Filter matches everything.
type Filter struct {
	source string
	root   *expr
	calls  bool // needs scratch memory for the results of functions
}

// String returns the statement as it was written.
func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	return f.source
}

// Match says whether the statement holds for the object v.
func (f *Filter) Match(v event.Value) bool {
	if f == nil {
		return true
	}
	if !f.calls {
		return f.root.truth(v, nil)
	}
	s := scratches.Get().(*scratch)
	s.buf = s.buf[:0]
	ok := f.root.truth(v, s)
	if cap(s.buf) <= 1<<16 {
		scratches.Put(s)
	}
	return ok
}

// Bound returns the texts one of which a member has to be for the statement to
// hold, and whether it says so much: who knows the member need not match at all
// where it is something else. Most statements ask for one type of event. rest is what the
// statement says beside that, nil for nothing: it decides where the member is one of
// these texts.
func (f *Filter) Bound(key string) (texts []string, rest *Filter, ok bool) {
	if f == nil {
		return nil, nil, false
	}
	texts, left, ok := f.root.bound(key)
	if ok && left != nil {
		rest = &Filter{source: f.source, root: left, calls: f.calls}
	}
	return texts, rest, ok
}

// bound is [Filter.Bound] of an expression; left is nil when nothing is left.
func (e *expr) bound(key string) (texts []string, left *expr, ok bool) {
	switch e.op {
	case opEqual:
		path, lit := e.args[0], e.args[1]
		if path.op == opLiteral {
			path, lit = lit, path
		}
		if path.op == opPath && lit.op == opLiteral && lit.lit.kind == text &&
			slices.Equal(path.path.Steps(), []string{key}) {
			return []string{string(lit.lit.raw)}, nil, true
		}
	case opAnd:
		for i, a := range e.args {
			t, rest, bounds := a.bound(key)
			if !bounds {
				continue
			}
			args := slices.Delete(slices.Clone(e.args), i, i+1)
			if rest != nil {
				args = slices.Insert(args, i, rest)
			}
			if len(args) == 0 {
				return t, nil, true
			}
			return t, &expr{op: opAnd, args: args, col: e.col}, true
		}
	case opOr:
		for _, a := range e.args {
			t, l, ok := a.bound(key)
			if !ok {
				return nil, nil, false
			}
			if texts = append(texts, t...); l != nil {
				left = e // which of the texts it was matters
			}
		}
		return texts, left, true
	}
	return nil, nil, false
}

// scratch holds the texts that functions make during one match.
type scratch struct{ buf []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// op is what an expr does.
type op uint8

const (
	opLiteral op = iota
	opPath
	opList
	opAnd
	opOr
	opNot
	opEqual
	opUnequal
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
	opIn
	opCall
)

// expr is a node of the compiled statement.
type expr struct {
	op   op
	args []*expr
	lit  operand    // opLiteral
	text string     // of one that is a text
	path event.Path // opPath
	fn   function   // opCall
	glob glob       // opCall match with a literal pattern
	col  int        // where it begins, in characters from 1
}

// kind is FQL's idea of types; see typeof.
type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

// operand is a value during a match: of a literal, of the event, or made by a
// function.
type operand struct {
	kind kind
	b    bool
	num  float64
	raw  []byte      // number: digits as written, for exact comparison; text: decoded
	v    event.Value // list, object, and texts that are not decoded yet
	lazy bool        // text: v holds it, raw does not
	list []*expr     // list: of a literal
}

func fromEvent(v event.Value) operand {
	switch v.Kind() {
	case event.Bool:
		return operand{kind: boolean, b: v.Bool()}
	case event.Number:
		f, _ := v.Float()
		return operand{kind: number, num: f, raw: v.Raw()}
	case event.String:
		if b, ok := v.Plain(); ok {
			return operand{kind: text, raw: b}
		}
		return operand{kind: text, v: v, lazy: true}
	case event.Array:
		return operand{kind: list, v: v}
	case event.Object:
		return operand{kind: object, v: v}
	}
	return operand{}
}

// decoded returns a text's bytes; s keeps those that had escapes.
func (o *operand) decoded(s *scratch) []byte {
	if !o.lazy {
		return o.raw
	}
	if s == nil {
		return o.v.AppendString(nil)
	}
	from := len(s.buf)
	s.buf = o.v.AppendString(s.buf)
	return s.buf[from:len(s.buf):len(s.buf)]
}

func (e *expr) truth(v event.Value, s *scratch) bool {
	switch e.op {
	case opAnd:
		for _, a := range e.args {
			if !a.truth(v, s) {
				return false
			}
		}
		return true
	case opOr:
		for _, a := range e.args {
			if a.truth(v, s) {
				return true
			}
		}
		return false
	case opNot:
		return !e.args[0].truth(v, s)
	case opEqual:
		return e.args[0].equal(e.args[1], v, s)
	case opUnequal:
		return !e.args[0].equal(e.args[1], v, s)
	}
	return e.value(v, s)
}

// value is truth of what needs operands. They are large, and a function that has them takes as
// long to begin as the usual statement takes as a whole.
func (e *expr) value(v event.Value, s *scratch) bool {
	switch e.op {
	case opLess, opLessEqual, opGreater, opGreaterEqual:
		if e.args[0].op == opPath && v.Find(e.args[0].path).Kind() != event.Number {
			return false
		}
		a, b := e.args[0].eval(v, s), e.args[1].eval(v, s)
		if a.kind != number || b.kind != number {
			return false
		}
		c := compareNumbers(&a, &b)
		switch e.op {
		case opLess:
			return c < 0
		case opLessEqual:
			return c <= 0
		case opGreater:
			return c > 0
		}
		return c >= 0
	case opIn:
		return contained(e.args[0].eval(v, s), e.args[1].eval(v, s), v, s)
	}
	r := e.eval(v, s)
	return r.kind == boolean && r.b
}

func (e *expr) eval(v event.Value, s *scratch) operand {
	switch e.op {
	case opLiteral:
		return e.lit
	case opPath:
		return fromEvent(v.Find(e.path))
	case opList:
		return operand{kind: list, list: e.args}
	case opCall:
		return e.call(v, s)
	}
	return operand{kind: boolean, b: e.truth(v, s)}
}

// equal has a short way for what nearly all filters are made of, a field
// against a literal: it halves the time of a match.
func (e *expr) equal(f *expr, v event.Value, s *scratch) bool {
	if e.op == opPath && f.op == opLiteral {
		got := v.Find(e.path)
		switch f.lit.kind {
		case text:
			return got.IsText(f.text)
		case null:
			return got.Nullish()
		case boolean:
			return got.Kind() == event.Bool && got.Bool() == f.lit.b
		}
	}
	return e.equalValue(f, v, s)
}

// equalValue is equal of any operands.
func (e *expr) equalValue(f *expr, v event.Value, s *scratch) bool {
	a, b := e.eval(v, s), f.eval(v, s)
	return equalOperands(&a, &b, v, s)
}

func equalOperands(a, b *operand, v event.Value, s *scratch) bool {
	if a.kind != b.kind {
		return false
	}
	switch a.kind {
	case null:
		return true
	case boolean:
		return a.b == b.b
	case number:
		return compareNumbers(a, b) == 0
	case text:
		return bytes.Equal(a.decoded(s), b.decoded(s))
	case list:
		n := a.len()
		if n != b.len() {
			return false
		}
		for i := range n {
			x, y := a.at(i, v, s), b.at(i, v, s)
			if !equalOperands(&x, &y, v, s) {
				return false
			}
		}
		return true
	}
	return false // objects cannot be written, so nothing equals one
}

func (o *operand) len() int {
	if o.list != nil {
		return len(o.list)
	}
	return o.v.Len()
}

func (o *operand) at(i int, v event.Value, s *scratch) operand {
	if o.list != nil {
		return o.list[i].eval(v, s)
	}
	return fromEvent(o.v.Index(i))
}

func contained(x, in operand, v event.Value, s *scratch) bool {
	if in.kind != list || x.kind == list || x.kind == object {
		return false
	}
	if in.list != nil {
		for _, e := range in.list {
			y := e.eval(v, s)
			if equalOperands(&x, &y, v, s) {
				return true
			}
		}
		return false
	}
	for el := range in.v.Elements() {
		y := fromEvent(el)
		if equalOperands(&x, &y, v, s) {
			return true
		}
	}
	return false
}

// compareNumbers compares by value: 1.0 and 1 are equal, and integers beyond
// the precision of float64 are told apart.
func compareNumbers(a, b *operand) int {
	switch {
	case a.num < b.num:
		return -1
	case a.num > b.num:
		return 1
	}
	const exact = 1 << 53
	if a.num > -exact && a.num < exact || len(a.raw) == 0 || len(b.raw) == 0 || len(a.raw) > 400 || len(b.raw) > 400 ||
		bytes.ContainsAny(a.raw, "eE") || bytes.ContainsAny(b.raw, "eE") {
		return 0
	}
	x, ok1 := new(big.Rat).SetString(string(a.raw))
	y, ok2 := new(big.Rat).SetString(string(b.raw))
	if !ok1 || !ok2 {
		return 0
	}
	return x.Cmp(y)
}

// function is one of the language's functions.
type function uint8

const (
	fnContains function = iota
	fnMatch
	fnLength
	fnLowercase
	fnUppercase
	fnSnakecase
	fnKebabcase
	fnTitlecase
	fnTypeof
	fnBool
	fnString
	fnNumber
)

func functionNamed(name string) (f function, args int, ok bool) {
	switch name {
	case "contains":
		return fnContains, 2, true
	case "match":
		return fnMatch, 2, true
	case "length":
		return fnLength, 1, true
	case "lowercase":
		return fnLowercase, 1, true
	case "uppercase":
		return fnUppercase, 1, true
	case "snakecase":
		return fnSnakecase, 1, true
	case "kebabcase":
		return fnKebabcase, 1, true
	case "titlecase":
		return fnTitlecase, 1, true
	case "typeof":
		return fnTypeof, 1, true
	case "bool":
		return fnBool, 1, true
	case "string":
		return fnString, 1, true
	case "number":
		return fnNumber, 1, true
	}
	return 0, 0, false
}

var typeNames = [...][]byte{null: []byte("null"), boolean: []byte("bool"), number: []byte("number"),
	text: []byte("string"), list: []byte("list"), object: []byte("object")}

func (e *expr) call(v event.Value, s *scratch) operand {
	x := e.args[0].eval(v, s)
	switch e.fn {
	case fnContains, fnMatch:
		if x.kind != text {
			return operand{kind: boolean}
		}
		if e.fn == fnMatch && e.glob != nil {
			return operand{kind: boolean, b: e.glob.match(x.decoded(s))}
		}
		y := e.args[1].eval(v, s)
		if y.kind != text {
			return operand{kind: boolean}
		}
		if e.fn == fnContains {
			return operand{kind: boolean, b: bytes.Contains(x.decoded(s), y.decoded(s))}
		}
		g, err := compileGlob(string(y.decoded(s)))
		return operand{kind: boolean, b: err == nil && g.match(x.decoded(s))}
	case fnLength:
		switch x.kind {
		case null:
			return operand{kind: number}
		case list:
			return operand{kind: number, num: float64(x.len())}
		case text:
			return operand{kind: number, num: float64(len(x.decoded(s)))}
		}
		return operand{}
	case fnTypeof:
		return operand{kind: text, raw: typeNames[x.kind]}
	case fnBool:
		switch x.kind {
		case boolean:
			return x
		case number:
			return operand{kind: boolean, b: x.num != 0}
		case text:
			return operand{kind: boolean, b: string(x.decoded(s)) == "true"}
		}
		return operand{kind: boolean}
	case fnNumber:
		switch x.kind {
		case number:
			return x
		case boolean:
			if x.b {
				return operand{kind: number, num: 1}
			}
			return operand{kind: number}
		case text:
			b := bytes.TrimSpace(x.decoded(s))
			if n, err := event.ParseValue(b); err == nil && n.Kind() == event.Number {
				return fromEvent(n)
			}
		}
		return operand{}
	case fnString:
		switch x.kind {
		case text, null:
			return x
		case boolean:
			return operand{kind: text, raw: strconv.AppendBool(nil, x.b)}
		case number:
			if x.raw == nil {
				return operand{kind: text, raw: event.AppendFloatJS(nil, x.num)}
			}
			return operand{kind: text, raw: x.raw}
		}
		return operand{}
	}
	if x.kind != text {
		return operand{}
	}
	return operand{kind: text, raw: s.convert(e.fn, x.decoded(s))}
}

// convert writes the changed text behind what the scratch already holds.
func (s *scratch) convert(fn function, in []byte) []byte {
	from := len(s.buf)
	first := true
	for len(in) > 0 {
		r, size := utf8.DecodeRune(in)
		if r == utf8.RuneError && size == 1 { // not UTF-8: stays as it is
			s.buf = append(s.buf, in[0])
			in = in[1:]
			first = false
			continue
		}
		in = in[size:]
		space := unicode.IsSpace(r)
		switch fn {
		case fnLowercase:
			r = unicode.ToLower(r)
		case fnUppercase:
			r = unicode.ToUpper(r)
		case fnSnakecase:
			if r == ' ' {
				r = '_'
			}
		case fnKebabcase:
			if r == ' ' {
				r = '-'
			}
		case fnTitlecase:
			if first {
				r = unicode.ToTitle(r)
			}
		}
		first = space
		s.buf = utf8.AppendRune(s.buf, r)
	}
	return s.buf[from:len(s.buf):len(s.buf)]
}

// glob is a compiled pattern that has to match a whole text.
type glob []globPart

type globPart struct {
	any  bool // *
	one  bool // ?
	set  []runeRange
	char rune
}

type runeRange struct{ lo, hi rune }

// compileGlob compiles a pattern: * any run, ? one character, [abc] and [a-z]
// one of a set, \x the character x.
func compileGlob(p string) (glob, error) {
	g := glob{}
	for i := 0; i < len(p); {
		r, size := utf8.DecodeRuneInString(p[i:])
		i += size
		switch r {
		case '*':
			if len(g) == 0 || !g[len(g)-1].any {
				g = append(g, globPart{any: true})
			}
		case '?':
			g = append(g, globPart{one: true})
		case '[':
			end := i
			for end < len(p) && p[end] != ']' {
				if p[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(p) {
				return nil, errorf(0, "the pattern %q has a [ without its ]", p)
			}
			part := globPart{set: []runeRange{}}
			set := []rune{}
			lit := []bool{} // escaped characters are no range signs
			for j := i; j < end; {
				r, size := utf8.DecodeRuneInString(p[j:])
				j += size
				esc := r == '\\' && j < end
				if esc {
					r, size = utf8.DecodeRuneInString(p[j:])
					j += size
				}
				set, lit = append(set, r), append(lit, esc)
			}
			for j := 0; j < len(set); j++ {
				if j+2 < len(set) && set[j+1] == '-' && !lit[j+1] {
					part.set = append(part.set, runeRange{set[j], set[j+2]})
					j += 2
				} else {
					part.set = append(part.set, runeRange{set[j], set[j]})
				}
			}
			g = append(g, part)
			i = end + 1
		case '\\':
			if i < len(p) {
				r, size = utf8.DecodeRuneInString(p[i:])
				i += size
			}
			g = append(g, globPart{char: r})
		default:
			g = append(g, globPart{char: r})
		}
	}
	return g, nil
}

func (p *globPart) takes(r rune) bool {
	if p.set != nil {
		for _, s := range p.set {
			if r >= s.lo && r <= s.hi {
				return true
			}
		}
		return false
	}
	return p.one || p.char == r
}

// match backs up to the last star only, so that its time is bounded by the
// product of the lengths.
func (g glob) match(s []byte) bool {
	i, star, from := 0, -1, 0
	for pos := 0; pos < len(s) || i < len(g); {
		if i < len(g) {
			if g[i].any {
				star, from = i, pos
				i++
				continue
			}
			if pos < len(s) {
				if r, size := utf8.DecodeRune(s[pos:]); g[i].takes(r) {
					i++
					pos += size
					continue
				}
			}
		}
		if star < 0 || from >= len(s) {
			return false
		}
		_, size := utf8.DecodeRune(s[from:])
		from += size
		i, pos = star+1, from
	}
	return true
}

// Paths returns the fields that the filter reads, in dotted form.
func (f *Filter) Paths() []string {
	var out []string
	var walk func(e *expr)
	walk = func(e *expr) {
		if e.op == opPath {
			out = append(out, strings.Join(e.path.Steps(), "."))
		}
		for _, a := range e.args {
			walk(a)
		}
	}
	if f != nil {
		walk(f.root)
	}
	return out
}
