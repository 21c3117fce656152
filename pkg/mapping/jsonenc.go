package mapping

import (
	"bytes"
	"strconv"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

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
		n.f = func(r *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
			if v.Kind == event.Missing {
				return dst, false
			}
			buf := jsonval.AppendCanonical(r.temp(), v.Raw)
			dst = event.AppendQuoted(dst, buf)
			r.done(buf)
			return dst, true
		}
	case "decode":
		n.f = func(r *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
			if v.Kind != event.String {
				return append(dst, v.Raw...), v.Kind != event.Missing
			}
			text := event.AppendUnquoted(r.temp(), v.Raw)
			defer r.done(text)
			if event.Valid(text) != nil {
				return append(dst, v.Raw...), true
			}
			return jsonval.AppendCanonical(dst, bytes.TrimSpace(text)), true
		}
	default:
		// Segment's validator takes the mode in any case, its runtime only in
		// lower case. The value is still resolved, for its errors.
		n.f = func(_ *Resolver, dst []byte, _ Result, _ event.Value) ([]byte, bool) { return dst, false }
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

func (n *flattenNode) eval(r *Resolver, in event.Value) Result { return computed(n, r, in) }

func (n *flattenNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	sep := n.sep.eval(r, in)
	if r.err != nil {
		return dst, false
	}
	if sep.Kind != event.String {
		r.failf("@flatten: requires a string separator")
		return dst, false
	}
	v := evalKeeping(n.arg, r, in, true)
	if r.err != nil {
		return dst, false
	}
	if v.Kind == event.Missing {
		v.Raw = undefinedText
	}
	f := flattening{sep: sep.Raw[1 : len(sep.Raw)-1], omit: n.omit, out: merging{r: r, from: len(r.merged)}}
	if !f.walk(v.Raw, emptyText) {
		r.fail(ErrTooLarge)
		return dst, false
	}
	out := r.merged[f.out.from:]
	r.merged = r.merged[:f.out.from]
	dst = append(dst, '{')
	start := len(dst)
	for _, e := range out {
		if !r.keep && jsonval.KindOf(e.val) == event.Missing {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(dst, e.key...), ':')
		if r.keep {
			dst = append(dst, e.val...)
		} else {
			dst = jsonval.AppendStripped(dst, e.val)
		}
	}
	return append(dst, '}'), true
}

// flattening collects the leaves of a value. Keys are kept as JSON text, so that they can be joined without
// decoding.
type flattening struct {
	sep  []byte
	omit bool
	out  merging
	size int // of the leaves, in bytes
	// keys is the total length of the keys, including those without a leaf: deep nesting makes keys long, so their
	// total length has to be bounded, not only their number.
	keys int
}

// walk collects what stands below a key.
func (f *flattening) walk(raw, key []byte) bool {
	ok := true
	child := func(name, val []byte) {
		if !ok {
			return
		}
		n := len(key) + len(f.sep) + len(name)
		if f.keys += n; f.keys > MaxOutput {
			ok = false
			return
		}
		joined := append(f.out.r.Scratch(n), key[:len(key)-1]...)
		if len(key) > len(`""`) {
			joined = append(joined, f.sep...)
		}
		ok = f.walk(val, append(append(joined, name...), '"'))
	}
	switch k := jsonval.KindOf(raw); {
	case k == event.Object:
		jsonval.EachUnique(raw, func(name, val []byte) { child(name[1:len(name)-1], val) })
		return ok
	case k == event.Array && !f.omit:
		i := 0
		var digits [20]byte
		event.EachElement(raw, func(val []byte) {
			child(strconv.AppendInt(digits[:0], int64(i), 10), val)
			i++
		})
		return ok
	}
	if f.size += len(key) + 2 + len(raw); f.size > MaxOutput {
		return false
	}
	f.out.put(key, raw)
	return true
}
