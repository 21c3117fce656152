package mapping

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// The directives beyond Segment's, for what Segment's destinations do in code. Their arguments are objects (except
// for @first) in which unknown keys are refused.

var keyCases = []string{"snake", "camel", "pascal", "title", "kebab", "lower"}

// ownDirective returns our own directives.
func ownDirective(name string) (directiveSpec, bool) {
	anything := (*checker).any
	value := need("value", anything)
	switch name {
	case "@first":
		return directiveSpec{(*checker).elements, compileFirst}, true
	case "@text":
		return own(valueOf(writeText), value)
	case "@number":
		return own(compileNumber, value, may("as", oneOf("number", "integer", "cents")))
	case "@boolean":
		return own(valueOf(writeBool), value)
	case "@time":
		return own(compileTime, value, need("format", oneOf(jsonval.TimeFormats()...)))
	case "@hash":
		return own(compileHash(true), value, may("as", oneOf(jsonval.NormalForms()...)), may("country", anything))
	case "@normalize":
		return own(compileHash(false), value, need("as", oneOf(jsonval.NormalForms()...)), may("country", anything))
	case "@join":
		return own(compileJoin, need("values", (*checker).elements), may("separator", (*checker).text))
	case "@lookup":
		return own(
			compileLookup,
			value,
			need("table", (*checker).object),
			may("ignorecase", (*checker).boolean),
			may("else", anything),
		)
	case "@keys":
		return own(compileKeys, value, need("case", oneOf(keyCases...)), may("deep", (*checker).boolean))
	case "@rename":
		return own(compileRename, value, need("keys", checkNames))
	case "@pick", "@omit":
		return own(compilePick(name == "@omit"), value, need("keys", checkTexts))
	case "@compact":
		return own(valueOf(writeCompact), value)
	case "@after":
		return own(compileAfter, value, need("prefix", (*checker).text))
	case "@unless":
		return own(compileUnless, value, may("equals", anything), may("prefix", (*checker).text))
	case "@values":
		return own(valueOf(writeValues), value)
	case "@pairs":
		return own(valueOf(writePairs), value)
	case "@members":
		return own(compileMembers, value, need("prefix", (*checker).text), may("open", (*checker).boolean))
	case "@described":
		return own(compileDescribed, value, may("open", (*checker).boolean))
	case "@cut":
		return own(compileCut, value, need("bytes", (*checker).integer), may("more", (*checker).text))
	case "@limit":
		return own(compileLimit, value, need("items", (*checker).integer), may("more", (*checker).text))
	}
	return directiveSpec{}, false
}

func own(f func(arg *tree, stack []string) node, opts ...option) (directiveSpec, bool) {
	checkArg := strictOptions(opts...)
	return directiveSpec{checkArg, func(arg *tree, stack []string) node {
		// Inside arrays nothing has been checked yet.
		c := checker{}
		if !checkArg(&c, arg, stack) {
			return &errorNode{&SyntaxError{c.problems}}
		}
		return f(arg, stack)
	}}, true
}

func checkTexts(c *checker, t *tree, stack []string) bool {
	if !c.array(t, stack) {
		return false
	}
	for _, v := range t.vals {
		if !c.text(v, stack) {
			return false
		}
	}
	return true
}

func checkNames(c *checker, t *tree, stack []string) bool {
	if !c.object(t, stack) {
		return false
	}
	for i, v := range t.vals {
		if !c.text(v, push(stack, t.keys[i])) {
			return false
		}
	}
	return true
}

type writeFunc = func(r *Resolver, dst []byte, v Result, in event.Value) ([]byte, bool)

// valueOf compiles a directive that has a value and no other options.
func valueOf(f writeFunc) func(*tree, []string) node {
	return func(arg *tree, stack []string) node { return onValue(arg, stack, f) }
}

func onValue(arg *tree, stack []string, f writeFunc) *applyNode {
	return &applyNode{arg: compile(arg.get("value"), push(stack, "value")), f: f}
}

func textOption(arg *tree, key string) string {
	s, _ := arg.get(key).text()
	return s
}

// wordOption is textOption for a choice of words, which are taken in any case.
func wordOption(arg *tree, key string) string { return strings.ToLower(textOption(arg, key)) }

func compileFirst(arg *tree, stack []string) node {
	if arg.form != array {
		return fault(stack, "expected array, got %s", arg.jsType())
	}
	n := &firstNode{}
	for i, v := range arg.vals {
		n.vals = append(n.vals, compile(v, push(stack, strconv.Itoa(i))))
	}
	return n
}

// appendPlain appends a scalar's text, or a container's JSON.
func appendPlain(dst []byte, v Result) []byte {
	switch v.Kind {
	case event.Array, event.Object:
		return jsonval.AppendCanonical(dst, v.Raw)
	}
	return jsonval.AppendText(dst, v.Raw)
}

func writeText(r *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
	switch v.Kind {
	case event.Missing, event.Null:
		return dst, false
	case event.String:
		return append(dst, v.Raw...), true
	}
	buf := appendPlain(r.temp(), v)
	dst = event.AppendQuoted(dst, buf)
	r.done(buf)
	return dst, true
}

func compileNumber(arg *tree, stack []string) node {
	as := wordOption(arg, "as")
	return onValue(arg, stack, func(_ *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
		at := len(dst)
		dst, ok := jsonval.AppendNumberOf(dst, v.Kind, v.Raw)
		if !ok || as == "" || as == "number" || as == "integer" && jsonval.IsPlainInteger(dst[at:]) {
			return dst, ok
		}
		f, err := strconv.ParseFloat(string(dst[at:]), 64)
		if err != nil {
			return dst[:at], false
		}
		if as == "integer" {
			f = math.Trunc(f)
		} else if f = math.Round(f * 100); math.IsInf(f, 0) {
			return dst[:at], false
		}
		return event.AppendFloatJS(dst[:at], f+0), true // + 0 makes -0 a 0
	})
}

func writeBool(_ *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
	return jsonval.AppendBoolOf(dst, v.Kind, v.Raw)
}

func compileTime(arg *tree, stack []string) node {
	format := wordOption(arg, "format")
	return onValue(arg, stack, func(r *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
		t, ok := timeOf(r, v)
		if !ok {
			return dst, false
		}
		return jsonval.AppendTime(dst, t, format)
	})
}

func timeOf(r *Resolver, v Result) (time.Time, bool) {
	if v.Event.Exists() {
		return event.ParseTime(v.Event)
	}
	if v.Kind == event.String {
		buf := event.AppendUnquoted(r.temp(), v.Raw)
		defer r.done(buf)
		return event.ParseTimeText(buf)
	}
	return event.ParseTime(v.value(r))
}

func compileHash(hash bool) func(*tree, []string) node {
	return func(arg *tree, stack []string) node {
		as := wordOption(arg, "as")
		var country node = undefinedNode{}
		if c := arg.get("country"); c != nil {
			country = compile(c, push(stack, "country"))
		}
		n := onValue(arg, stack, func(r *Resolver, dst []byte, v Result, in event.Value) ([]byte, bool) {
			where := ""
			if c := country.eval(r, in); c.Kind == event.String {
				where = jsonval.Text(c.Raw)
			}
			one := func(dst []byte, v Result) ([]byte, bool) {
				switch v.Kind {
				case event.String, event.Number, event.Bool:
				default:
					return dst, false
				}
				text := jsonval.AppendText(r.temp(), v.Raw)
				defer r.done(text)
				if hash && jsonval.IsHashed(text) {
					return event.AppendQuoted(dst, bytes.ToLower(text)), true
				}
				out := jsonval.AppendNormal(r.temp(), as, text, where)
				defer r.done(out)
				if len(out) == 0 {
					return dst, false
				}
				if hash {
					return jsonval.AppendHash(dst, out), true
				}
				return event.AppendQuoted(dst, out), true
			}
			if v.Kind != event.Array {
				return one(dst, v)
			}
			at := len(dst)
			dst = append(dst, '[')
			any := false
			event.EachElement(v.Raw, func(raw []byte) {
				before := len(dst)
				if any {
					dst = append(dst, ',')
				}
				var ok bool
				if dst, ok = one(dst, Result{Raw: raw, Kind: jsonval.KindOf(raw)}); !ok {
					dst = dst[:before]
				}
				any = any || ok
			})
			if !any {
				return dst[:at], false
			}
			return append(dst, ']'), true
		})
		return n
	}
}

func compileJoin(arg *tree, stack []string) node {
	n := &joinNode{separator: []byte(textOption(arg, "separator"))}
	for i, v := range arg.get("values").vals {
		n.vals = append(n.vals, compile(v, append(push(stack, "values"), strconv.Itoa(i))))
	}
	return n
}

type joinNode struct {
	vals      []node
	separator []byte
}

func (n *joinNode) eval(r *Resolver, in event.Value) Result { return computed(n, r, in) }

func (n *joinNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	out := r.temp()
	add := func(v Result) {
		if isEmpty(v) {
			return
		}
		at := len(out)
		if at > 0 {
			out = append(out, n.separator...)
		}
		before := len(out)
		if out = appendPlain(out, v); len(out) == before {
			out = out[:at]
		}
	}
	for _, c := range n.vals {
		v := c.eval(r, in)
		if r.err != nil {
			break
		}
		if v.Kind == event.Array {
			event.EachElement(v.Raw, func(raw []byte) { add(Result{Raw: raw, Kind: jsonval.KindOf(raw)}) })
		} else {
			add(v)
		}
		if len(out) > MaxOutput {
			r.fail(ErrTooLarge)
			break
		}
	}
	ok := len(out) > 0 && r.err == nil
	if ok {
		dst = event.AppendQuoted(dst, out)
	}
	r.done(out)
	return dst, ok
}

func compileLookup(arg *tree, stack []string) node {
	n := &lookupNode{
		arg:   compile(arg.get("value"), push(stack, "value")),
		table: map[string]node{},
		els:   undefinedNode{},
		fold:  arg.get("ignorecase").truthy(),
	}
	table := arg.get("table")
	for i, k := range table.keys {
		if n.fold {
			k = strings.ToLower(k)
		}
		n.table[k] = compile(table.vals[i], append(push(stack, "table"), k))
	}
	if e := arg.get("else"); e != nil {
		n.els = compile(e, push(stack, "else"))
	}
	return n
}

type lookupNode struct {
	arg   node
	table map[string]node
	els   node
	fold  bool
}

func (n *lookupNode) choose(r *Resolver, in event.Value) node {
	v := n.arg.eval(r, in)
	if r.err != nil {
		return undefinedNode{}
	}
	switch v.Kind {
	case event.String, event.Number, event.Bool:
		buf := jsonval.AppendText(r.temp(), v.Raw)
		defer r.done(buf)
		if n.fold {
			buf = bytes.ToLower(buf)
		}
		if c, ok := n.table[string(buf)]; ok {
			return c
		}
	}
	return n.els
}

func (n *lookupNode) eval(r *Resolver, in event.Value) Result { return n.choose(r, in).eval(r, in) }
func (n *lookupNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	return n.choose(r, in).write(r, dst, in)
}

// rewrite appends an object with other keys. f appends the new key to dst, or returns false to leave the member
// out. If several members get the same key, the last value is kept, in the place of the first.
func rewrite(
	r *Resolver, dst, obj []byte, f func(dst, key []byte) ([]byte, bool), val func(dst, raw []byte) []byte,
) []byte {
	m := merging{r: r, from: len(r.merged)}
	old, made := r.temp(), r.temp()
	event.EachMember(obj, func(key, raw []byte) {
		text := key[1 : len(key)-1]
		escapes := bytes.IndexByte(text, '\\') >= 0
		if escapes {
			old = event.AppendUnquoted(old[:0], key)
			text = old
		}
		var ok bool
		if made, ok = f(made[:0], text); !ok {
			return
		}
		if escapes || !bytes.Equal(made, text) {
			key = event.AppendQuoted(r.Scratch(len(made)+2), made)
		}
		m.put(key, raw)
	})
	r.done(made)
	r.done(old)
	dst = append(dst, '{')
	end := len(r.merged)
	for i := m.from; i < end; i++ {
		if i > m.from {
			dst = append(dst, ',')
		}
		dst = append(append(dst, r.merged[i].key...), ':')
		dst = val(dst, r.merged[i].val)
	}
	r.merged = r.merged[:m.from]
	return append(dst, '}')
}

func verbatim(dst, raw []byte) []byte { return append(dst, raw...) }

func compileKeys(arg *tree, stack []string) node {
	style, deep := wordOption(arg, "case"), arg.get("deep").truthy()
	return onValue(arg, stack, func(r *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
		if v.Kind == event.Missing {
			return dst, false
		}
		name := func(dst, key []byte) ([]byte, bool) { return appendKeyName(dst, style, key), true }
		var walk func(dst, raw []byte, top bool) []byte
		walk = func(dst, raw []byte, top bool) []byte {
			switch k := jsonval.KindOf(raw); {
			case k == event.Object && (top || deep):
				return rewrite(r, dst, raw, name, func(dst, raw []byte) []byte { return walk(dst, raw, false) })
			case k == event.Array && deep:
				dst = append(dst, '[')
				start := len(dst)
				event.EachElement(raw, func(e []byte) {
					if len(dst) > start {
						dst = append(dst, ',')
					}
					dst = walk(dst, e, false)
				})
				return append(dst, ']')
			}
			return append(dst, raw...)
		}
		return walk(dst, v.Raw, true), true
	})
}

// appendKeyName appends a key in one of the cases of [KeyCase]. A key that has no letter or
// digit stays as it is.
//
// Words begin behind anything that is neither letter nor digit, before an upper-case letter
// after a lower-case one or a digit, and before the last capital of a run that a lower-case
// letter follows (HTTPServer is HTTP, Server).
func appendKeyName(dst []byte, style string, key []byte) []byte {
	sep := ""
	switch style {
	case "snake":
		sep = "_"
	case "kebab":
		sep = "-"
	case "title", "lower":
		sep = " "
	}
	words, inside, prev := 0, false, rune(0)
	for i, n := 0, 0; i < len(key); i += n {
		var c rune
		if c, n = utf8.DecodeRune(key[i:]); !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			inside = false
			continue
		}
		begins := !inside
		if inside && unicode.IsUpper(c) {
			next, _ := utf8.DecodeRune(key[i+n:])
			begins = !unicode.IsUpper(prev) || unicode.IsLower(next)
		}
		inside, prev = true, c
		c = unicode.ToLower(c)
		if begins {
			if words++; words > 1 {
				dst = append(dst, sep...)
			}
			if style == "title" || style == "pascal" || style == "camel" && words > 1 {
				c = unicode.ToUpper(c)
			}
		}
		dst = utf8.AppendRune(dst, c)
	}
	if words == 0 {
		return append(dst, key...)
	}
	return dst
}

func compileRename(arg *tree, stack []string) node {
	names := map[string]string{}
	keys := arg.get("keys")
	for i, k := range keys.keys {
		names[k], _ = keys.vals[i].text()
	}
	return onObject(arg, stack, func(dst, key []byte) ([]byte, bool) {
		if n, ok := names[string(key)]; ok {
			return append(dst, n...), true
		}
		return append(dst, key...), true
	})
}

func compilePick(omit bool) func(*tree, []string) node {
	return func(arg *tree, stack []string) node {
		keys := map[string]bool{}
		var prefixes []string
		for _, v := range arg.get("keys").vals {
			s, _ := v.text()
			if begin, ok := strings.CutSuffix(s, "*"); ok {
				prefixes = append(prefixes, begin)
			}
			keys[s] = true
		}
		named := func(key []byte) bool {
			return keys[string(key)] || slices.ContainsFunc(prefixes, func(p string) bool {
				return len(key) >= len(p) && string(key[:len(p)]) == p
			})
		}
		return onObject(arg, stack, func(dst, key []byte) ([]byte, bool) {
			return append(dst, key...), named(key) != omit
		})
	}
}

// onObject rewrites the keys of an object and leaves other values alone.
func onObject(arg *tree, stack []string, f func(dst, key []byte) ([]byte, bool)) node {
	return onValue(arg, stack, func(r *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
		if v.Kind == event.Object {
			return rewrite(r, dst, v.Raw, f, verbatim), true
		}
		return append(dst, v.Raw...), v.Kind != event.Missing
	})
}

func writeCompact(_ *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
	return appendCompact(dst, v.Raw)
}

// appendCompact appends a value without its empty parts, or nothing when
// nothing is left of it.
func appendCompact(dst, raw []byte) ([]byte, bool) {
	at := len(dst)
	switch jsonval.KindOf(raw) {
	case event.Missing, event.Null:
		return dst, false
	case event.String:
		if len(raw) == 2 {
			return dst, false
		}
	case event.Object:
		dst = append(dst, '{')
		start := len(dst)
		event.EachMember(raw, func(key, val []byte) {
			before := len(dst)
			if before > start {
				dst = append(dst, ',')
			}
			var ok bool
			if dst, ok = appendCompact(append(append(dst, key...), ':'), val); !ok {
				dst = dst[:before]
			}
		})
		if len(dst) == start {
			return dst[:at], false
		}
		return append(dst, '}'), true
	case event.Array:
		dst = append(dst, '[')
		start := len(dst)
		event.EachElement(raw, func(val []byte) {
			before := len(dst)
			if before > start {
				dst = append(dst, ',')
			}
			var ok bool
			if dst, ok = appendCompact(dst, val); !ok {
				dst = dst[:before]
			}
		})
		if len(dst) == start {
			return dst[:at], false
		}
		return append(dst, ']'), true
	}
	return append(dst, raw...), true
}

// integerOf is a number that was checked to be an integer.
func integerOf(t *tree) int {
	n, _ := strconv.Atoi(string(t.raw))
	return n
}

func compileCut(arg *tree, stack []string) node {
	limit, more := integerOf(arg.get("bytes")), textOption(arg, "more")
	return onValue(arg, stack, func(r *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
		if v.Kind == event.Missing {
			return dst, false
		}
		if v.Kind != event.String || len(v.Raw)-2 <= limit {
			return append(dst, v.Raw...), true
		}
		text := event.AppendUnquoted(r.temp(), v.Raw)
		defer r.done(text)
		if len(text) <= limit {
			return append(dst, v.Raw...), true
		}
		return event.AppendQuoted(dst, jsonval.CutText(text, limit, more)), true
	})
}

func compileLimit(arg *tree, stack []string) node {
	limit, more := integerOf(arg.get("items")), textOption(arg, "more")
	return onValue(arg, stack, func(_ *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
		switch v.Kind {
		case event.Missing:
			return dst, false
		case event.Array:
			total := 0
			event.EachElement(v.Raw, func([]byte) { total++ })
			keep := min(total, limit)
			if total > limit && more != "" && limit > 0 {
				keep = limit - 1
			}
			dst = append(dst, '[')
			i := 0
			event.EachElement(v.Raw, func(e []byte) {
				if i < keep {
					if i > 0 {
						dst = append(dst, ',')
					}
					dst = append(dst, e...)
				}
				i++
			})
			if keep < total && more != "" && limit > 0 {
				if keep > 0 {
					dst = append(dst, ',')
				}
				dst = event.AppendQuoted(dst, strings.ReplaceAll(more, "{n}", strconv.Itoa(total-keep)))
			}
			return append(dst, ']'), true
		case event.Object:
			dst = append(dst, '{')
			i := 0
			event.EachMember(v.Raw, func(key, val []byte) {
				if i < limit {
					if i > 0 {
						dst = append(dst, ',')
					}
					dst = append(append(append(dst, key...), ':'), val...)
				}
				i++
			})
			return append(dst, '}'), true
		}
		return append(dst, v.Raw...), true
	})
}
