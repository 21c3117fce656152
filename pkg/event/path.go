package event

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Path is a compiled way to a value. The zero Path leads to the value it
// starts from. Paths are immutable and safe for concurrent use.
type Path struct{ steps []step }

type step struct {
	key   string
	hash  uint8
	index int // the key as an array index; -1 when it is none
	top   int // which of an event's common members the key is, from 1; 0: none
}

func newStep(key string) step {
	names := commonNames()
	s := step{key: key, hash: hashKey(key), index: -1, top: slices.Index(names[:], key) + 1}
	if key != "" && key[0]-'0' < 10 {
		if n, err := strconv.Atoi(key); err == nil && strconv.Itoa(n) == key {
			s.index = n
		}
	}
	return s
}

// Keys returns the path that descends through the given keys, each taken
// literally.
func Keys(keys ...string) Path {
	var p Path
	for _, k := range keys {
		p.steps = append(p.steps, newStep(k))
	}
	return p
}

// Steps returns the keys of the path.
func (p Path) Steps() []string {
	keys := make([]string, len(p.steps))
	for i, s := range p.steps {
		keys[i] = s.key
	}
	return keys
}

// CompilePath compiles a path in the notation of Segment's mappings. The first
// "$." is removed wherever it stands; an empty path or "." is the whole value;
// keys are separated by dots or stand in brackets (a[0].b, a['b c']); quotes
// are dropped.
func CompilePath(s string) Path {
	return CompileTemplatePath(strings.Replace(s, "$.", "", 1))
}

// quotes takes quotation marks out of names.
var quotes = strings.NewReplacer(`'`, "", `"`, "")

// CompileTemplatePath is [CompilePath] for the placeholders of templates,
// where "$." has no meaning.
func CompileTemplatePath(s string) Path {
	var p Path
	if s == "" || s == "." {
		return p
	}
	special := func(c byte) bool { return c == '"' || c == '\'' || c >= '0' && c <= '9' }
	from := 0
	cut := func(end, next int) {
		if end > from {
			p.steps = append(p.steps, newStep(quotes.Replace(s[from:end])))
		}
		from = next
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '.':
			cut(i, i+1)
		case s[i] == '[' && i+1 < len(s) && special(s[i+1]):
			cut(i, i+1)
		case s[i] == ']' && i > 0 && special(s[i-1]):
			end := i
			for i+1 < len(s) && s[i+1] == ']' {
				i++
			}
			cut(end, i+1)
		}
	}
	cut(len(s), len(s))
	return p
}

// Lookup walks the path as JavaScript would: at a value that counts as false
// (null, false, 0, "") the walk stops and returns that value; strings have
// units by index and a length, arrays have elements by index and a length.
func (v Value) Lookup(p Path) Value {
	for i := range p.steps {
		if v.kind <= Null || v.kind < Array && v.Falsy() {
			return v
		}
		s := &p.steps[i]
		switch v.kind {
		case Object:
			v = v.step(s)
		case Array:
			switch {
			case s.index >= 0:
				v = v.Index(s.index)
			case s.key == "length":
				v = number(v.Len())
			default:
				return Value{}
			}
		case String:
			switch {
			case s.index >= 0:
				v = v.unit(s.index)
			case s.key == "length":
				v = number(v.units())
			default:
				return Value{}
			}
		default:
			return Value{}
		}
	}
	return v
}

// Find walks the path through members of objects and elements of arrays and
// nothing else: what is not there is Missing.
func (v Value) Find(p Path) Value {
	for i := range p.steps {
		s := &p.steps[i]
		switch v.kind {
		case Object:
			v = v.step(s)
		case Array:
			v = v.Index(s.index)
		default:
			return Value{}
		}
	}
	return v
}

// step is the member of an object that a step leads to.
func (v Value) step(s *step) Value {
	if v.at != 0 || s.top == 0 || v.doc.followed == nil {
		return v.get(s.key, s.hash)
	}
	f := v.doc.found[v.doc.followed.common[s.top-1]]
	if f == 0 {
		return Value{}
	}
	return Value{doc: v.doc, at: int32(f >> refShift), kind: f.Kind()}
}

// number makes a value of its own, for lengths.
func number(n int) Value {
	raw := strconv.AppendInt(nil, int64(n), 10)
	return single(raw, Number)
}

func single(raw []byte, k Kind) Value {
	p := place{end: uint32(len(raw))}
	if k == String {
		p.end |= hasEscapes
	}
	return Value{doc: &doc{raw: raw, nodes: []node{{next: 1, bits: uint8(k)}}, places: []place{p}}, kind: k}
}

// units is a String's length in UTF-16 units, as JavaScript counts.
func (v Value) units() int {
	n := 0
	v.eachUnit(func(uint16) bool { n++; return true })
	return n
}

// unit is a String's UTF-16 unit i as a string of its own.
func (v Value) unit(i int) Value {
	var out Value
	v.eachUnit(func(u uint16) bool {
		if i == 0 {
			raw := []byte{'"'}
			switch {
			case utf16.IsSurrogate(rune(u)):
				raw = append(raw, `\u`...)
				raw = append(raw, strconv.FormatUint(uint64(u), 16)...)
			case u < utf8.RuneSelf:
				raw = AppendQuoted(raw[:0], string(rune(u)))
				raw = raw[:len(raw)-1]
			default:
				raw = utf8.AppendRune(raw, rune(u))
			}
			out = single(append(raw, '"'), String)
			return false
		}
		i--
		return true
	})
	return out
}

func (v Value) eachUnit(yield func(uint16) bool) {
	s := v.text()
	for len(s) > 0 {
		var r rune
		size := 0
		if s[0] == '\\' {
			if s[1] == 'u' { // a unit by itself, also half of a pair
				if !yield(uint16(hex4(s[2:]))) {
					return
				}
				s = s[6:]
				continue
			}
			r, size = unescape(s)
		} else {
			r, size = utf8.DecodeRune(s)
		}
		s = s[size:]
		if r > 0xffff {
			a, b := utf16.EncodeRune(r)
			if !yield(uint16(a)) || !yield(uint16(b)) {
				return
			}
		} else if !yield(uint16(r)) {
			return
		}
	}
}
