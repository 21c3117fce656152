package body

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// What is here is made of the other nodes and steps: shorter words for what many partners ask for.

// Within is a member in objects that have no other: Within("data.attributes", n) writes {"attributes": n} under the
// key data.
func Within(path string, n Node) Members {
	key, rest, deeper := strings.Cut(path, ".")
	if deeper {
		n = Object(Within(rest, n))
	}
	return Member(key, n)
}

// Batch is a request that has many items under one key, as in {"events": [ … ]}: see [Items].
func Batch(key string, of ...Node) Node { return Object(Member(key, Items(of...))) }

// Pair is an object with one member, which has its name and its value from two paths.
func Pair(name, value string) Value {
	return From(name).As("the name of "+value, func(dst []byte, v event.Value, c *Context) []byte {
		of := c.Field(value)
		if !of.Exists() {
			return dst
		}
		dst = append(event.AppendQuoted(append(dst, '{'), v.Text()), ':')
		return append(append(dst, of.Raw()...), '}')
	})
}

// May holds when a value passes its conditions, and when there is no value at all.
func May(v Value) Cond {
	there := v
	there.steps = nil
	return Any(Not(there), v)
}

// Some holds when one of several members has a value.
func Some(of ...Members) Cond {
	var some []Cond
	for _, m := range Together(of...).members() {
		c := written(m.node)
		if m.cond != nil {
			c = All(m.cond, c)
		}
		some = append(some, c)
	}
	return Any(some...)
}

// written holds when a node writes something. It panics for nodes that cannot be asked.
func written(n Node) Cond {
	switch n := n.(type) {
	case Value:
		return n
	case each: // an element may have nothing to write
		return writes{n}
	case first:
		var any []Cond
		for _, n := range n.nodes {
			any = append(any, written(n))
		}
		return Any(any...)
	case when:
		return All(n.cond, written(n.node))
	}
	panic(fmt.Sprintf("body: Some: whether a %T is written cannot be asked", n))
}

// writes holds when a node writes something.
type writes struct{ node Node }

// AtMost is the value if its text has at most n characters; of a list or an object, if it has at most n elements.
func (v Value) AtMost(n int) Value {
	return v.Where("at most "+strconv.Itoa(n), func(v event.Value) bool {
		if v.Kind() >= event.Array {
			return v.Len() <= n
		}
		return v.Size() <= n || utf8.RuneCountInString(v.Text()) <= n
	})
}

// Every is the value if test returns true for each element of a list, or each value in an object. what describes
// this in words. test is a pure function.
func (v Value) Every(what string, test func(event.Value) bool) Value {
	return v.Where(what, func(v event.Value) bool {
		for c := v.Cursor(); c.Next(); {
			if !test(c.Value()) {
				return false
			}
		}
		return true
	})
}

// Times is a number multiplied by another.
func (v Value) Times(by float64) Value {
	return v.number("times "+strconv.FormatFloat(by, 'g', -1, 64), func(f float64) float64 { return f * by })
}

// Round is the whole number next to a number; of two that are equally near, the greater.
func (v Value) Round() Value {
	return v.number("rounded", func(f float64) float64 { return math.Floor(f + 0.5) })
}

func (v Value) number(what string, f func(float64) float64) Value {
	return v.IsNumber().As(what, func(dst []byte, v event.Value, _ *Context) []byte {
		n, _ := v.Float()
		return event.AppendFloatJS(dst, f(n))
	})
}

// Epoch is a point in time as a number of units since 1970, to the millisecond; a unit is a millisecond or less. What
// is a number already, or a text of digits, is taken for that number.
func (v Value) Epoch(unit time.Duration) Value {
	return v.As("a number of units of "+unit.String(), func(dst []byte, v event.Value, _ *Context) []byte {
		text := v.Raw()
		if b, ok := v.Plain(); ok {
			text = b
		}
		if jsonval.IsPlainInteger(text) {
			if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
				return strconv.AppendInt(dst, n, 10)
			}
		}
		if v.Kind() == event.Number {
			return append(dst, v.Raw()...)
		}
		if at, ok := event.ParseTime(v); ok {
			return strconv.AppendInt(dst, at.UnixMilli()*int64(time.Millisecond/unit), 10)
		}
		return dst
	})
}

// Pairs is an object as a list with one element for each member, {"name": …, "value": …}, for partners that have names
// among the values: EachOf(From("traits").Pairs(), Object(Copy("key = name", "v = value"))).
func (v Value) Pairs() Value {
	return v.IsObject().As(`a list of {"name", "value"}`, func(dst []byte, v event.Value, _ *Context) []byte {
		dst = append(dst, '[')
		for name, value := range v.Members() {
			if dst[len(dst)-1] != '[' {
				dst = append(dst, ',')
			}
			dst = append(append(dst, `{"name":`...), name.Raw()...)
			dst = append(append(append(dst, `,"value":`...), value.Raw()...), '}')
		}
		return append(dst, ']')
	})
}

// mostFlat is how many bytes the names that [Value.Flat] makes of one value may have together: those of values that lie
// deep are long.
const mostFlat = 1 << 20

// Flat is an object without objects or lists in it: what lies deeper is called by the names on the way to it, with sep
// between them, and an element of a list by its number, from 0. What is empty is left out, and null stays. Where the
// names would together be longer than a megabyte, what is left stays as deep as it is.
func (v Value) Flat(sep string) Value {
	quoted := event.AppendQuoted(nil, sep)
	between := quoted[1 : len(quoted)-1]
	return v.IsObject().As("without depth, names joined by "+string(quoted),
		func(dst []byte, v event.Value, c *Context) []byte {
			f := &c.w.flat
			f.sep, f.name, f.size = between, f.name[:0], 0
			return append(f.walk(append(dst, '{'), v, 0), '}')
		})
}

// flattening writes the members of an object under names without depth.
type flattening struct {
	sep  []byte
	name []byte // of the value being written, escaped
	size int    // of what names repeat of the way to them
}

func (f *flattening) walk(dst []byte, v event.Value, depth int) []byte {
	if v.Kind() >= event.Array && depth > 0 {
		f.size += v.Len() * (len(f.name) + len(f.sep))
	}
	if depth > 0 && (v.Kind() < event.Array || f.size > mostFlat) {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), f.name...), '"', ':')
		return append(dst, v.Raw()...)
	}
	at := len(f.name)
	i := 0
	for cur := v.Cursor(); cur.Next(); i++ {
		if f.name = f.name[:at]; depth > 0 {
			f.name = append(f.name, f.sep...)
		}
		if v.Kind() == event.Array {
			f.name = strconv.AppendInt(f.name, int64(i), 10)
		} else {
			key := cur.Key().Raw()
			f.name = append(f.name, key[1:len(key)-1]...)
		}
		dst = f.walk(dst, cur.Value(), depth+1)
	}
	f.name = f.name[:at]
	return dst
}

// Deep replaces every value in an object, at any depth, by what f appends for it; with lists also those in lists.
// what describes this in words. f is a pure function, and is not called for objects, nor for lists that it looks
// into.
func (v Value) Deep(what string, lists bool, f func(dst []byte, v event.Value) []byte) Value {
	return v.As(what, func(dst []byte, v event.Value, _ *Context) []byte { return appendDeep(dst, v, lists, f) })
}

func appendDeep(dst []byte, v event.Value, lists bool, f func(dst []byte, v event.Value) []byte) []byte {
	from := len(dst) + 1
	sep := func() {
		if len(dst) > from {
			dst = append(dst, ',')
		}
	}
	switch {
	case v.Kind() == event.Object:
		dst = append(dst, '{')
		for k, m := range v.Members() {
			sep()
			dst = appendDeep(append(append(dst, k.Raw()...), ':'), m, lists, f)
		}
		return append(dst, '}')
	case v.Kind() == event.Array && lists:
		dst = append(dst, '[')
		for e := range v.Elements() {
			sep()
			dst = appendDeep(dst, e, lists, f)
		}
		return append(dst, ']')
	}
	return f(dst, v)
}
