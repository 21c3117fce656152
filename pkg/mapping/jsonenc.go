package mapping

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/fanfold/fanfold/pkg/event"
)

// appendCanonical appends a value as JSON.stringify(JSON.parse(value)) would
// print it: no spaces, numbers and escapes in JavaScript's form, keys that are
// array indices first and in order, repeated keys once, undefined members
// left out. Integers keep all their digits.
func appendCanonical(dst, raw []byte) []byte {
	switch kindOf(raw) {
	case event.Missing:
		return append(dst, "null"...)
	case event.String:
		return appendCanonicalString(dst, raw)
	case event.Number:
		if at := len(dst); !plainInteger(raw) {
			if dst = appendNumber(dst, raw); dst[len(dst)-1] == 'y' {
				dst = append(dst[:at], "null"...) // an infinity has no JSON
			}
			return dst
		}
		return append(dst, raw...)
	case event.Array:
		dst = append(dst, '[')
		start := len(dst)
		event.EachElement(raw, func(val []byte) {
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst = appendCanonical(dst, val)
		})
		return append(dst, ']')
	case event.Object:
		type member struct {
			key, val []byte
			index    int64
		}
		var ms []member
		indexed := false
		eachUnique(raw, func(key, val []byte) {
			if kindOf(val) == event.Missing {
				return
			}
			m := member{key, val, arrayIndex(key)}
			indexed = indexed || m.index >= 0
			ms = append(ms, m)
		})
		if indexed {
			slices.SortStableFunc(ms, func(a, b member) int {
				switch {
				case a.index >= 0 && b.index >= 0:
					return int(a.index - b.index)
				case a.index >= 0:
					return -1
				case b.index >= 0:
					return 1
				}
				return 0
			})
		}
		dst = append(dst, '{')
		for i, m := range ms {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendCanonicalString(dst, m.key), ':')
			dst = appendCanonical(dst, m.val)
		}
		return append(dst, '}')
	}
	return append(dst, raw...)
}

// arrayIndex returns the index that a key is to JavaScript, or -1.
func arrayIndex(key []byte) int64 {
	s := key[1 : len(key)-1]
	if len(s) == 0 || len(s) > 10 || !plainInteger(s) || s[0] == '-' || s[0] == '0' && len(s) > 1 {
		return -1
	}
	n, _ := strconv.ParseInt(string(s), 10, 64)
	if n >= 1<<32-1 {
		return -1
	}
	return n
}

func compileJSON(arg *tree, stack []string) node {
	if arg.form != object || !arg.get("mode").truthy() {
		return fault(stack, `requires an object with a "mode" key`)
	}
	if !arg.get("value").truthy() {
		return fault(stack, "%w", errNoValue)
	}
	n := &applyNode{arg: compile(arg.get("value"), push(stack, "value")), keep: true}
	switch mode, _ := arg.get("mode").text(); mode {
	case "encode":
		n.f = func(r *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
			if v.kind == event.Missing {
				return dst, false
			}
			buf := appendCanonical(r.temp(), v.raw)
			dst = event.AppendQuoted(dst, buf)
			r.done(buf)
			return dst, true
		}
	case "decode":
		n.f = func(r *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
			if v.kind != event.String {
				return append(dst, v.raw...), v.kind != event.Missing
			}
			text := event.AppendUnquoted(r.temp(), v.raw)
			defer r.done(text)
			if event.Valid(text) != nil {
				return append(dst, v.raw...), true
			}
			return appendCanonical(dst, bytes.TrimSpace(text)), true
		}
	default:
		// Segment's validator takes the mode in any case, its runtime only in
		// lower case. The value is still resolved, for its errors.
		n.f = func(_ *Resolver, dst []byte, _ result, _ event.Value) ([]byte, bool) { return dst, false }
	}
	return n
}

func compileFlatten(arg *tree, stack []string) node {
	if arg.form != object || !arg.get("separator").truthy() {
		return fault(stack, `requires a "separator" key`)
	}
	n := &flattenNode{
		arg:  compile(arg.get("value"), push(stack, "value")),
		sep:  compile(arg.get("separator"), push(stack, "separator")),
		omit: arg.get("omitArrays").truthy(),
	}
	return n
}

type flattenNode struct {
	arg, sep node
	omit     bool
}

func (n *flattenNode) eval(r *Resolver, in event.Value) result { return computed(n, r, in) }

func (n *flattenNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	sep := n.sep.eval(r, in)
	if r.err != nil {
		return dst, false
	}
	if sep.kind != event.String {
		r.failf("@flatten: requires a string separator")
		return dst, false
	}
	v := evalKeeping(n.arg, r, in, true)
	if r.err != nil {
		return dst, false
	}
	if v.kind == event.Missing {
		v.raw = undefinedText
	}
	f := flattening{sep: sep.raw[1 : len(sep.raw)-1], omit: n.omit, at: map[string]int{}}
	if !f.walk(v.raw, nil) {
		r.fail(errTooLarge)
		return dst, false
	}
	dst = append(dst, '{')
	start := len(dst)
	for _, e := range f.out {
		if !r.keep && kindOf(e.val) == event.Missing {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, '"'), e.key...), '"', ':')
		if r.keep {
			dst = append(dst, e.val...)
		} else {
			dst = appendStripped(dst, e.val)
		}
	}
	return append(dst, '}'), true
}

// flattening collects the leaves of a value. Keys are kept as JSON text
// without quotes, so that joining them needs no decoding.
type flattening struct {
	sep  []byte
	omit bool
	out  []entry
	at   map[string]int // decoded key -> its entry
	size int
}

func (f *flattening) walk(raw, prefix []byte) bool {
	ok := true
	child := func(key, val []byte) {
		if !ok {
			return
		}
		if len(prefix) > 0 {
			key = append(append(append(make([]byte, 0, len(prefix)+len(f.sep)+len(key)), prefix...), f.sep...), key...)
		}
		ok = f.walk(val, key)
	}
	switch k := kindOf(raw); {
	case k == event.Object:
		eachUnique(raw, func(key, val []byte) { child(key[1:len(key)-1], val) })
		return ok
	case k == event.Array && !f.omit:
		i := 0
		event.EachElement(raw, func(val []byte) {
			child(strconv.AppendInt(nil, int64(i), 10), val)
			i++
		})
		return ok
	}
	// Deep nesting makes long keys: what they add up to is bounded, not only
	// their number.
	if f.size += len(prefix) + len(raw) + 4; f.size > maxOutput {
		return false
	}
	name := string(prefix)
	if bytes.IndexByte(prefix, '\\') >= 0 {
		name = decodeText(append(append([]byte{'"'}, prefix...), '"'))
	}
	if i, dup := f.at[name]; dup {
		f.out[i].val = raw
		return true
	}
	f.at[name] = len(f.out)
	f.out = append(f.out, entry{prefix, raw})
	return true
}
