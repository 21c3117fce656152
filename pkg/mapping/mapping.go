// Package mapping turns an event into what a partner is to be sent.
//
// A mapping is a JSON document in which some objects are directives: an object
// with one key that begins with "@" is replaced by what the directive makes of
// the event, and everything else stands for itself.
//
//	{"email": {"@path": "$.traits.email"},
//	 "name":  {"@template": "{{traits.first}} {{traits.last}}"},
//	 "plan":  {"@if": {"exists": {"@path": "$.traits.plan"},
//	                   "then": {"@path": "$.traits.plan"}, "else": "free"}}}
//
// The language is Segment's, so that a mapping pasted from a Segment
// subscription means here what it means there, and more directives of our own
// for what is code elsewhere: hashing with the normalisation that ad platforms
// ask for, times, numbers, joins, look-ups, cuts. [Reference] lists them all,
// each with an example that runs. Go writes the same documents with [Doc], and the
// usual parts of them with [Path], [If], [Object] and a few more constructors.
//
// The one rule: a mapping is compiled once ([Compile]) and then run on any
// number of events ([Mapping.Append]). Running reads raw slices off the
// event's index and splices them into the output, so numbers keep all their
// digits and texts their escapes, and decodes only what it changes.
//
// A mapping by itself knows no types. An action's fields and their rules, and what
// becomes of an event by both, are pkg/payload, which takes a mapping member by member
// ([CompileParts]). What single values are and become is pkg/jsonval.
//
// "Undefined" is not null. A path that leads nowhere is undefined: the member
// that would have held it is left out. Null is a value like any other and is
// kept.
package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// Limits against mappings and events that others wrote.
const (
	maxDepth  = 200      // nesting of a mapping document
	maxSource = 4 << 20  // bytes of a mapping document
	MaxOutput = 64 << 20 // bytes that one run may produce
)

// Value is a mapping that is not compiled yet: a JSON document, or a part of
// one, whose directives have not been looked at. The zero Value is absent.
// Values are immutable and may be shared.
type Value struct{ t *tree }

// IsZero reports whether v is absent.
func (v Value) IsZero() bool { return v.t == nil }

// Member is a member of a mapping that is an object, or absent.
func (v Value) Member(key string) Value { return Value{v.t.get(key)} }

// MarshalJSON writes the mapping as a document, for showing it.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.t == nil {
		return []byte("null"), nil
	}
	return v.t.appendJSON(nil), nil
}

// String returns the mapping as a document.
func (v Value) String() string {
	b, _ := v.MarshalJSON()
	return string(b)
}

// form is what a tree node is.
type form uint8

const (
	scalar form = iota
	array
	object
	faulty
)

// tree is a mapping as written. Object keys are unique; a repeated key keeps its first place and its
// last value, as JSON.parse has it.
type tree struct {
	form form
	kind event.Kind // of a scalar
	raw  []byte     // scalar: its JSON
	keys []string   // object
	vals []*tree    // object, array
	err  error      // faulty
}

func (t *tree) appendJSON(dst []byte) []byte {
	if t == nil {
		return dst
	}
	switch t.form {
	case scalar:
		return append(dst, t.raw...)
	case array:
		dst = append(dst, '[')
		for i, v := range t.vals {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = v.appendJSON(dst)
		}
		return append(dst, ']')
	case object:
		dst = append(dst, '{')
		for i, v := range t.vals {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = event.AppendQuoted(dst, t.keys[i])
			dst = append(dst, ':')
			dst = v.appendJSON(dst)
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

func (t *tree) get(key string) *tree {
	if t == nil || t.form != object {
		return nil
	}
	for i, k := range t.keys {
		if k == key {
			return t.vals[i]
		}
	}
	return nil
}

// text returns the decoded text of a string scalar.
func (t *tree) text() (string, bool) {
	if t == nil || t.form != scalar || t.kind != event.String {
		return "", false
	}
	return jsonval.Text(t.raw), true
}

// truthy is JavaScript's idea of a value as written.
func (t *tree) truthy() bool {
	if t == nil {
		return false
	}
	if t.form != scalar {
		return true
	}
	return jsonval.Truthy(t.kind, t.raw)
}

// jsType names the type as error messages do.
func (t *tree) jsType() string {
	if t == nil {
		return "undefined"
	}
	switch t.form {
	case array:
		return "array"
	case object:
		for _, k := range t.keys {
			if strings.HasPrefix(k, "@") {
				return "directive"
			}
		}
		return "object"
	case faulty:
		return "fault"
	}
	return jsonval.KindName(t.kind)
}

// set replaces or appends a member.
func (t *tree) set(key string, v *tree) {
	for i, k := range t.keys {
		if k == key {
			t.vals[i] = v
			return
		}
	}
	t.keys = append(t.keys, key)
	t.vals = append(t.vals, v)
}

// Parse reads a mapping document, checks it, and reports everything that is
// wrong with it in one error ([*SyntaxError]). It does not keep src.
func Parse(src []byte) (Value, error) {
	if len(src) > maxSource {
		return Value{}, fmt.Errorf("mapping: the document has %d bytes; at most %d are read", len(src), maxSource)
	}
	v, err := event.ParseValue(append([]byte(nil), src...))
	if err != nil {
		return Value{}, fmt.Errorf("mapping: not valid JSON: %w", err)
	}
	t, err := grow(v, 0)
	if err != nil {
		return Value{}, err
	}
	m := Value{t}
	if _, err := Compile(m); err != nil {
		return Value{}, err
	}
	return m, nil
}

// grow builds the tree of a parsed document.
func grow(v event.Value, depth int) (*tree, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("mapping: nested more than %d levels deep", maxDepth)
	}
	switch v.Kind() {
	case event.Array:
		t := &tree{form: array}
		for e := range v.Elements() {
			c, err := grow(e, depth+1)
			if err != nil {
				return nil, err
			}
			t.vals = append(t.vals, c)
		}
		return t, nil
	case event.Object:
		t := &tree{form: object}
		at := map[string]int{}
		for k, e := range v.Members() {
			c, err := grow(e, depth+1)
			if err != nil {
				return nil, err
			}
			key := k.Text()
			if i, ok := at[key]; ok {
				t.vals[i] = c
				continue
			}
			at[key] = len(t.keys)
			t.keys = append(t.keys, key)
			t.vals = append(t.vals, c)
		}
		return t, nil
	}
	return &tree{form: scalar, kind: v.Kind(), raw: v.Raw()}, nil
}

// SyntaxError is what is wrong with a mapping, all of it.
type SyntaxError struct {
	Problems []string // each "/path/to/@directive what is wrong."
}

func (e *SyntaxError) Error() string { return "mapping: " + strings.Join(e.Problems, " ") }

// ErrTooLarge ends a run whose output grows without bound, such as templates
// that double through nested @transform.
var ErrTooLarge = fmt.Errorf("mapping: the result is larger than %d bytes", MaxOutput)

// ErrNotObject says that a mapping was run on something that is no JSON object.
var ErrNotObject = errors.New("mapping: data must be an object")

// The constructors.

func text(s string) *tree {
	return &tree{form: scalar, kind: event.String, raw: event.AppendQuoted(nil, s)}
}

func boolean(b bool) *tree {
	if b {
		return &tree{form: scalar, kind: event.Bool, raw: []byte("true")}
	}
	return &tree{form: scalar, kind: event.Bool, raw: []byte("false")}
}

func directive(name string, arg *tree) Value {
	return Value{&tree{form: object, keys: []string{name}, vals: []*tree{arg}}}
}

// options builds a directive's argument object; absent values are left out.
func options(ms ...Member) *tree {
	t := &tree{form: object}
	for _, m := range ms {
		if m.v.t != nil {
			t.set(m.key, m.v.t)
		}
	}
	return t
}

func list(vs []Value) *tree {
	t := &tree{form: array}
	for _, v := range vs {
		if v.t == nil {
			v.t = &tree{form: scalar, kind: event.Null, raw: []byte("null")}
		}
		t.vals = append(t.vals, v.t)
	}
	return t
}

// Doc is a mapping as a document. It panics when the document is none.
func Doc(text string) Value {
	v, err := Parse([]byte(text))
	if err != nil {
		panic("mapping: " + err.Error() + ": " + text)
	}
	return v
}

// Path is the value at a path of the event, such as "$.properties.revenue".
func Path(p string) Value { return directive("@path", text(p)) }

// Template is text with {{path}} placeholders.
func Template(t string) Value { return directive("@template", text(t)) }

// Literal is v as encoding/json writes it. Directives in it run.
func Literal(v any) Value {
	switch v := v.(type) {
	case string:
		return Value{text(v)}
	case bool:
		return Value{boolean(v)}
	}
	b, err := json.Marshal(v)
	if err == nil && b[0] != '{' && b[0] != '[' {
		return Value{&tree{form: scalar, kind: jsonval.KindOf(b), raw: b}}
	}
	if err == nil {
		var p event.Value
		if p, err = event.ParseValue(b); err == nil {
			var t *tree
			if t, err = grow(p, 0); err == nil {
				return Value{t}
			}
		}
	}
	return Value{&tree{form: faulty, err: fmt.Errorf("literal %T: %w", v, err)}}
}

// If is then when exists is neither undefined nor null, else otherwise. Absent
// branches give undefined. As in Segment, an otherwise that is a literal 0,
// false, "" or null gives undefined too.
func If(exists, then, otherwise Value) Value {
	return directive("@if", options(M("exists", exists), M("then", then), M("else", otherwise)))
}

// Member is one key of an Object.
type Member struct {
	key string
	v   Value
}

// M makes a Member.
func M(key string, v Value) Member { return Member{key, v} }

// Object is an object with the members whose values are defined.
func Object(ms ...Member) Value { return Value{options(ms...)} }

// Array is an array; an undefined element becomes null.
func Array(vs ...Value) Value { return Value{list(vs)} }

// ArrayPath is the array at path with each element resolved through shape,
// inside which paths start at the element. A lone object counts as an array of
// one. An absent shape leaves the value as it is.
func ArrayPath(path string, shape Value) Value {
	return ArrayOf(Value{text(path)}, shape)
}

// ArrayOf is ArrayPath over any value instead of a path.
func ArrayOf(of, shape Value) Value {
	if shape.IsZero() {
		return directive("@arrayPath", list([]Value{of}))
	}
	return directive("@arrayPath", list([]Value{of, shape}))
}

// Flatten makes one level of nested objects and arrays, their keys joined by
// separator.
func Flatten(v Value, separator string, omitArrays bool) Value {
	o := options(M("value", v), M("separator", Literal(separator)))
	if omitArrays {
		o.set("omitArrays", boolean(true))
	}
	return directive("@flatten", o)
}

// Upper is v in upper case.
func Upper(v Value) Value {
	return directive("@case", options(M("operator", Literal("upper")), M("value", v)))
}

// Join is the texts of vs, and of the elements of those that are arrays,
// joined by separator; empty ones are left out. Undefined when nothing is left.
func Join(separator string, vs ...Value) Value {
	return directive("@join", options(M("values", Array(vs...)), M("separator", Literal(separator))))
}

// KeyCase is v with its keys in "snake", "camel", "pascal", "title", "kebab" or
// "lower" case, at every depth when deep.
func KeyCase(style string, deep bool, v Value) Value {
	o := options(M("value", v), M("case", Literal(style)))
	if deep {
		o.set("deep", boolean(true))
	}
	return directive("@keys", o)
}

// Compact is v without null, "", [] and {}, at every depth. Undefined when
// nothing is left.
func Compact(v Value) Value { return directive("@compact", options(M("value", v))) }

// Limit is the array or object v with at most n items. When more is not empty
// it is the last item of an array that was cut, with {n} replaced by the
// number left out.
func Limit(n int, more string, v Value) Value {
	return directive("@limit", options(M("value", v), M("items", Literal(n)), M("more", optionalText(more))))
}

func optionalText(s string) Value {
	if s == "" {
		return Value{}
	}
	return Literal(s)
}

// Where says in a few words where a value comes from: paths as they are, texts in quotes, anything else as
// the JSON that it is written in.
func (v Value) Where() string {
	switch {
	case v.t == nil:
		return ""
	case v.t.form == object && len(v.t.keys) == 1:
		switch text, isText := v.t.vals[0].text(); {
		case isText && v.t.keys[0] == "@path":
			return text
		case isText && v.t.keys[0] == "@template":
			return "template " + text
		case v.t.keys[0] == "@first" && v.t.vals[0].form == array:
			var parts []string
			for _, one := range v.t.vals[0].vals {
				parts = append(parts, Value{one}.Where())
			}
			return "the first of " + strings.Join(parts, ", ")
		case v.t.keys[0] == "@if" && v.t.vals[0].form == object:
			o := v.t.vals[0]
			exists, then, otherwise := Value{o.get("exists")}, Value{o.get("then")}, Value{o.get("else")}
			if !exists.IsZero() && exists.String() == then.String() {
				return strings.TrimSuffix(then.Where()+", else "+otherwise.Where(), ", else ")
			}
		}
	}
	return v.String()
}
