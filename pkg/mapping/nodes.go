package mapping

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// undefinedNode resolves to nothing.
type undefinedNode struct{}

func (undefinedNode) eval(*Resolver, event.Value) Result { return Result{} }
func (undefinedNode) write(_ *Resolver, dst []byte, _ event.Value) ([]byte, bool) {
	return dst, false
}

// errorNode fails when it is resolved.
type errorNode struct{ err error }

func (n *errorNode) eval(r *Resolver, _ event.Value) Result { r.fail(n.err); return Result{} }
func (n *errorNode) write(r *Resolver, dst []byte, _ event.Value) ([]byte, bool) {
	r.fail(n.err)
	return dst, false
}

// literalNode is a value as written.
type literalNode struct{ v Result }

func (n *literalNode) eval(*Resolver, event.Value) Result { return n.v }
func (n *literalNode) write(_ *Resolver, dst []byte, _ event.Value) ([]byte, bool) {
	return append(dst, n.v.Raw...), true
}

// pathNode is a value of the payload.
type pathNode struct {
	path event.Path
	slot int // see scope; 0: unbound
}

func (n *pathNode) value(r *Resolver, in event.Value) event.Value {
	if n.slot > 0 {
		return r.Refs.At(n.slot - 1)
	}
	return in.Lookup(n.path)
}

func (n *pathNode) eval(r *Resolver, in event.Value) Result { return of(n.value(r, in)) }
func (n *pathNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	v := n.value(r, in)
	if !v.Exists() {
		return dst, false
	}
	return append(dst, v.Raw()...), true
}

// textArgument resolves a directive's argument that has to be text.
func textArgument(r *Resolver, in event.Value, name string, arg node) (string, bool) {
	v := arg.eval(r, in)
	if r.err != nil {
		return "", false
	}
	if v.Kind != event.String {
		r.failf("%s: expected string, got %s", name, jsonval.KindName(v.Kind))
		return "", false
	}
	return jsonval.Text(v.Raw), true
}

// dynamicPathNode is a path that is itself computed.
type dynamicPathNode struct{ arg node }

func (n *dynamicPathNode) eval(r *Resolver, in event.Value) Result {
	p, ok := textArgument(r, in, "@path", n.arg)
	if !ok {
		return Result{}
	}
	return of(in.Lookup(event.CompilePath(p)))
}

func (n *dynamicPathNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	return writeEval(n, r, dst, in)
}

// writeEval writes what eval resolves to, for nodes that only select.
func writeEval(n node, r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	v := n.eval(r, in)
	if v.Kind == event.Missing {
		return dst, false
	}
	if r.keep {
		return append(dst, v.Raw...), true
	}
	return jsonval.AppendStripped(dst, v.Raw), true
}

// objectNode is an object with something to resolve in it.
type objectNode struct {
	members []objectMember
	shared  []prefix
	bound   bool // its paths are slots
}

type objectMember struct {
	name string
	key  []byte // "name":
	n    node
	path *event.Path // when n is a path: the way from the shared prefix
	from int         // which one; -1: the payload
}

func (n *objectNode) eval(r *Resolver, in event.Value) Result { return computed(n, r, in) }

func (n *objectNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	var at places
	if !n.bound {
		at.find(n.shared, in)
	}
	return n.writeFrom(r, dst, in, &at)
}

func (n *objectNode) writeFrom(r *Resolver, dst []byte, in event.Value, shared *places) ([]byte, bool) {
	dst = append(dst, '{')
	start := len(dst)
	for i := range n.members {
		m := &n.members[i]
		at := len(dst)
		if at > start {
			dst = append(dst, ',')
		}
		dst = append(dst, m.key...)
		if m.path != nil && !n.bound {
			v := in
			if m.from >= 0 {
				v = shared[m.from]
			}
			if v = v.Lookup(*m.path); v.Exists() {
				dst = append(dst, v.Raw()...)
				continue
			}
		} else {
			var ok bool
			if dst, ok = m.n.write(r, dst, in); ok {
				continue
			}
			if r.err != nil {
				return dst, false
			}
		}
		if r.keep {
			dst = append(dst, jsonval.Undefined)
		} else {
			dst = dst[:at]
		}
	}
	if len(dst) > MaxOutput {
		r.fail(ErrTooLarge)
	}
	return append(dst, '}'), true
}

// arrayNode is an array with something to resolve in it.
type arrayNode struct{ vals []node }

func (n *arrayNode) eval(r *Resolver, in event.Value) Result { return computed(n, r, in) }

func (n *arrayNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	dst = append(dst, '[')
	for i, v := range n.vals {
		if i > 0 {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = v.write(r, dst, in); ok {
			continue
		}
		if r.err != nil {
			return dst, false
		}
		dst = appendUndefined(r, dst)
	}
	if len(dst) > MaxOutput {
		r.fail(ErrTooLarge)
	}
	return append(dst, ']'), true
}

// appendUndefined stands for an undefined array element.
func appendUndefined(r *Resolver, dst []byte) []byte {
	if r.keep {
		return append(dst, jsonval.Undefined)
	}
	return append(dst, "null"...)
}

// ifNode chooses a branch.
type ifNode struct {
	cond      node
	blank     bool // the condition is "not blank" instead of "exists"
	same      bool // then is the condition itself, the usual form
	then, els node
}

// choose resolves the condition. It returns the value when that is the result
// already, else the branch to take.
func (n *ifNode) choose(r *Resolver, in event.Value) (Result, node) {
	v := n.cond.eval(r, in)
	if r.err != nil {
		return v, undefinedNode{}
	}
	yes := !v.nullish()
	if yes && n.blank {
		yes = !isBlank(v.Kind, v.Raw)
	}
	switch {
	case yes && n.same:
		return v, nil
	case yes:
		return v, n.then
	}
	return v, n.els
}

func (n *ifNode) branch(r *Resolver, in event.Value) node {
	_, b := n.choose(r, in)
	if b == nil {
		return n.then
	}
	return b
}

// isBlank is JavaScript's value == "".
func isBlank(k event.Kind, raw []byte) bool {
	switch k {
	case event.String:
		return len(raw) == 2
	case event.Bool, event.Number:
		return !jsonval.Truthy(k, raw)
	case event.Array:
		return len(jsonval.AppendText(nil, raw)) == 0
	}
	return false
}

func (n *ifNode) eval(r *Resolver, in event.Value) Result {
	v, b := n.choose(r, in)
	if b == nil {
		return v
	}
	return b.eval(r, in)
}

func (n *ifNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	v, b := n.choose(r, in)
	if b == nil {
		return append(dst, v.Raw...), true
	}
	return b.write(r, dst, in)
}

// firstNode is the first of its values that is not empty.
type firstNode struct{ vals []node }

func (n *firstNode) eval(r *Resolver, in event.Value) Result {
	for _, c := range n.vals {
		if v := c.eval(r, in); !isEmpty(v) {
			return v
		}
	}
	return Result{}
}

// isEmpty reports whether a value is undefined, null, "", [] or {}.
func isEmpty(v Result) bool {
	switch v.Kind {
	case event.Missing, event.Null:
		return true
	case event.String:
		return len(v.Raw) == 2
	case event.Array, event.Object:
		return jsonval.IsEmpty(v.Raw)
	}
	return false
}

func (n *firstNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	return writeEval(n, r, dst, in)
}

// arrayPathNode resolves a shape for every element of an array.
type arrayPathNode struct {
	root  node
	shape node // nil: the array as it is
}

func (n *arrayPathNode) eval(r *Resolver, in event.Value) Result {
	if n.shape == nil {
		return n.root.eval(r, in)
	}
	return computed(n, r, in)
}

func (n *arrayPathNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	v := n.root.eval(r, in)
	if v.Kind == event.Missing || r.err != nil {
		return dst, false
	}
	if n.shape == nil || v.Kind < event.Array {
		if r.keep {
			return append(dst, v.Raw...), true
		}
		return jsonval.AppendStripped(dst, v.Raw), true
	}
	dst = append(dst, '[')
	start := len(dst)
	one := func(e event.Value) bool {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		mark := len(r.arena)
		var ok bool
		if dst, ok = n.shape.write(r, dst, e); !ok {
			dst = appendUndefined(r, dst)
		}
		if mark <= len(r.arena) {
			r.arena = r.arena[:mark] // what the element computed has been copied out
		}
		if len(dst) > MaxOutput {
			r.fail(ErrTooLarge)
		}
		return r.err == nil
	}
	switch {
	case v.Kind == event.Object:
		one(v.value(r))
	case v.Event.Exists():
		for e := range v.Event.Elements() {
			if !one(e) {
				break
			}
		}
	default:
		event.EachElement(v.Raw, func(raw []byte) {
			if r.err == nil {
				one(Result{Raw: raw, Kind: jsonval.KindOf(raw)}.value(r))
			}
		})
	}
	if r.err != nil {
		return dst, false
	}
	return append(dst, ']'), true
}

// applyNode is a directive that makes a value of another one.
type applyNode struct {
	arg node
	f   func(r *Resolver, dst []byte, v Result, in event.Value) ([]byte, bool)
	// keep: the argument is resolved with its undefined members marked.
	keep bool
}

func (n *applyNode) eval(r *Resolver, in event.Value) Result { return computed(n, r, in) }

func (n *applyNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	v := evalKeeping(n.arg, r, in, n.keep)
	if r.err != nil {
		return dst, false
	}
	at := len(dst)
	dst, ok := n.f(r, dst, v, in)
	if r.err != nil {
		return dst, false
	}
	if ok && n.keep && !r.keep && bytes.IndexByte(dst[at:], jsonval.Undefined) >= 0 {
		buf := append(r.temp(), dst[at:]...)
		dst = jsonval.AppendStripped(dst[:at], buf)
		r.done(buf)
	}
	if len(dst) > MaxOutput {
		r.fail(ErrTooLarge)
	}
	return dst, ok
}

// evalKeeping resolves a node, with undefined members marked when keep.
func evalKeeping(n node, r *Resolver, in event.Value, keep bool) Result {
	was := r.keep
	r.keep = keep
	v := n.eval(r, in)
	r.keep = was
	return v
}

// transformNode resolves a mapping against the result of another.
type transformNode struct{ apply, mapping node }

func (n *transformNode) payload(r *Resolver, in event.Value) (event.Value, bool) {
	in, err := RootOf(in)
	if err != nil {
		r.fail(err)
		return event.Value{}, false
	}
	v := evalKeeping(n.apply, r, in, false)
	e := v.value(r)
	return e, r.err == nil
}

func (n *transformNode) eval(r *Resolver, in event.Value) Result {
	e, ok := n.payload(r, in)
	if !ok {
		return Result{}
	}
	return n.mapping.eval(r, e)
}

func (n *transformNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	e, ok := n.payload(r, in)
	if !ok {
		return dst, false
	}
	return n.mapping.write(r, dst, e)
}

// entry is one member on its way into a merged object.
type entry struct {
	key []byte // with quotes
	val []byte // an undefined one is the undefined mark
}

// mergeNode puts objects together.
type mergeNode struct{ items []node }

func (n *mergeNode) eval(r *Resolver, in event.Value) Result { return computed(n, r, in) }

// Nobody writes into these.
var (
	undefinedText = []byte{jsonval.Undefined}
	emptyText     = []byte(`""`)
)

// merging collects the members of an object at the end of r.merged.
type merging struct {
	r       *Resolver
	from    int
	at      map[string]int // decoded key -> its place, once there are many
	escapes bool           // some key has escapes, so that it may be written otherwise than another that is the same
}

// put adds a member, or replaces the one of the same name in its place.
func (m *merging) put(key, val []byte) {
	es := m.r.merged
	m.escapes = m.escapes || bytes.IndexByte(key, '\\') >= 0
	if n := len(es) - m.from; m.at == nil && n >= 64 {
		m.at = make(map[string]int, 2*n)
		for i := m.from; i < len(es); i++ {
			m.at[jsonval.Text(es[i].key)] = i
		}
	}
	if m.at != nil {
		name := jsonval.Text(key)
		if i, ok := m.at[name]; ok {
			es[i].val = val
			return
		}
		m.at[name] = len(es)
	} else {
		for i := m.from; i < len(es); i++ {
			if bytes.Equal(es[i].key, key) || m.escapes && sameKey(es[i].key, key) {
				es[i].val = val
				return
			}
		}
	}
	m.r.merged = append(es, entry{key, val})
}

func sameKey(a, b []byte) bool {
	if bytes.IndexByte(a, '\\') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return false // not equal as bytes, so not at all
	}
	return jsonval.Text(a) == jsonval.Text(b)
}

func (n *mergeNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	from := len(r.merged)
	m := merging{r: r, from: from}
	for _, item := range n.items {
		m.collect(item, in)
		if r.err != nil {
			return dst, false
		}
	}
	dst = append(dst, '{')
	start := len(dst)
	for _, e := range r.merged[from:] {
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
		if len(dst) > MaxOutput {
			r.fail(ErrTooLarge)
			return dst, false
		}
	}
	r.merged = r.merged[:from]
	return append(dst, '}'), true
}

// collect puts the members that Object.assign would copy.
func (m *merging) collect(n node, in event.Value) {
	r := m.r
	switch n := n.(type) {
	case *ifNode:
		m.collect(n.branch(r, in), in)
		return
	case *objectNode:
		for i := range n.members {
			c := &n.members[i]
			v := evalKeeping(c.n, r, in, true)
			if r.err != nil {
				return
			}
			if v.Kind == event.Missing {
				v.Raw = undefinedText
			}
			m.put(c.key[:len(c.key)-1], v.Raw)
		}
		return
	}
	v := evalKeeping(n, r, in, true)
	switch v.Kind {
	case event.Object:
		if v.Event.Exists() {
			for key, val := range v.Event.Members() {
				m.put(key.Raw(), val.Raw())
			}
			return
		}
		event.EachMember(v.Raw, m.put)
	case event.Array:
		i := 0
		event.EachElement(v.Raw, func(val []byte) {
			m.put(indexKey(r, i), val)
			i++
		})
	case event.String:
		i := 0
		jsonval.EachUnit(v.Raw, func(unit []byte) {
			m.put(indexKey(r, i), r.Store(unit))
			i++
		})
	}
}

func indexKey(r *Resolver, i int) []byte {
	return r.Store(fmt.Appendf(nil, `"%d"`, i))
}

// directiveNames lists the directives, Segment's first.
func directiveNames() []string {
	return []string{
		"@path", "@template", "@literal", "@if", "@case", "@replace", "@arrayPath", "@json", "@flatten", "@merge",
		"@transform", "@excludeWhenNull",
		"@first", "@text", "@number", "@boolean", "@time", "@hash", "@normalize", "@join", "@lookup", "@keys",
		"@rename", "@pick", "@omit", "@compact", "@cut", "@limit", "@pairs", "@members", "@described",
		"@after", "@unless", "@values",
	}
}

// directiveOf returns what the compiler knows of a directive.
func directiveOf(name string) (directiveSpec, bool) {
	switch name {
	case "@path":
		return directiveSpec{(*checker).textOrDirective, func(arg *tree, stack []string) node {
			if s, ok := arg.text(); ok {
				return &pathNode{path: event.CompilePath(s)}
			}
			return &dynamicPathNode{compile(arg, stack)}
		}}, true
	case "@template":
		return directiveSpec{(*checker).textOrDirective, func(arg *tree, stack []string) node {
			if s, ok := arg.text(); ok {
				return compileTemplate(s)
			}
			return &dynamicTemplateNode{compile(arg, stack)}
		}}, true
	case "@literal":
		return directiveSpec{(*checker).raw, compile}, true
	case "@if":
		return directiveSpec{
			withOptions(may("exists", (*checker).raw), may("then", (*checker).raw), may("else", (*checker).raw)),
			compileIf,
		}, true
	case "@case":
		return directiveSpec{
			withOptions(may("operator", (*checker).text), may("value", (*checker).textOrDirective)),
			compileCase,
		}, true
	case "@replace":
		return directiveSpec{
			withOptions(
				need("pattern", length(1, maxPattern)),
				may("replacement", length(0, maxPattern)),
				need(
					"value",
					(*checker).textOrDirective,
				),
				may("ignorecase", (*checker).boolean),
				may("global", (*checker).boolean),
			),
			compileReplace,
		}, true
	case "@arrayPath":
		return directiveSpec{checkArrayPath, compileArrayPath}, true
	case "@json":
		return directiveSpec{
			withOptions(need("value", (*checker).raw), need("mode", oneOf("encode", "decode"))),
			compileJSON,
		}, true
	case "@flatten":
		return directiveSpec{
			withOptions(may("separator", (*checker).text), need("value", (*checker).raw)),
			compileFlatten,
		}, true
	case "@merge":
		return directiveSpec{checkMerge, compileMerge}, true
	case "@transform":
		return directiveSpec{
			withOptions(need("apply", (*checker).objectOrDirective), need("mapping", (*checker).objectOrDirective)),
			compileTransform,
		}, true
	case "@excludeWhenNull":
		return directiveSpec{(*checker).raw, compileExclude}, true
	}
	return ownDirective(name)
}

func fault(stack []string, format string, args ...any) node {
	return &errorNode{fmt.Errorf("mapping: /%s: %w", strings.Join(stack, "/"), fmt.Errorf(format, args...))}
}

func compileIf(arg *tree, stack []string) node {
	if arg.form != object || arg.isDirective() {
		return fault(stack, `requires an object with an "exists" key`)
	}
	exists, blank := arg.get("exists"), arg.get("blank")
	if !exists.truthy() && !blank.truthy() {
		return fault(stack, `requires an "exists" key or a "blank" key`)
	}
	n := &ifNode{then: compile(arg.get("then"), push(stack, "then")), els: undefinedNode{}}
	if exists == nil {
		exists, n.blank = blank, true
	}
	n.cond = compile(exists, push(stack, "exists"))
	if _, ok := n.cond.(*pathNode); ok {
		n.same = bytes.Equal(exists.appendJSON(nil), arg.get("then").appendJSON(nil))
	}
	if e := arg.get("else"); e.truthy() {
		n.els = compile(e, push(stack, "else"))
	}
	return n
}

func checkArrayPath(c *checker, t *tree, stack []string) bool {
	if !c.array(t, stack) {
		return false
	}
	var first *tree
	if len(t.vals) > 0 {
		first = t.vals[0]
	}
	if !c.textOrDirective(first, stack) {
		return false
	}
	return len(t.vals) < 2 || c.any(t.vals[1], stack)
}

func compileArrayPath(arg *tree, stack []string) node {
	if arg.form != array {
		return fault(stack, "expected array, got %s", arg.jsType())
	}
	n := &arrayPathNode{root: undefinedNode{}}
	if len(arg.vals) > 0 {
		if s, ok := arg.vals[0].text(); ok {
			n.root = &pathNode{path: event.CompilePath(s)}
		} else {
			n.root = compile(arg.vals[0], push(stack, "0"))
		}
	}
	if len(arg.vals) > 1 {
		if s := arg.vals[1]; s.form == object && len(s.keys) > 0 {
			n.shape = compile(s, push(stack, "1"))
		}
	}
	return n
}

func checkMerge(c *checker, t *tree, stack []string) bool {
	if !withOptions(may("direction", oneOf("left", "right")), need("objects", (*checker).array))(c, t, stack) {
		return false
	}
	ok := true
	for i, o := range t.get("objects").vals {
		ok = c.objectOrDirective(o, append(push(stack, "objects"), fmt.Sprint(i))) && ok
	}
	return ok
}

func compileMerge(arg *tree, stack []string) node {
	if arg.form != object {
		return fault(stack, `requires an object with an "objects" key and a "direction" key`)
	}
	if !arg.get("direction").truthy() {
		return fault(stack, `requires a "direction" key`)
	}
	objects := arg.get("objects")
	if objects == nil || objects.form != array {
		return fault(stack, `requires an "objects" key with an array`)
	}
	n := &mergeNode{}
	for i, o := range objects.vals {
		n.items = append(n.items, compile(o, append(push(stack, "objects"), fmt.Sprint(i))))
	}
	if d, ok := arg.get("direction").text(); ok && d == "left" {
		for i, j := 0, len(n.items)-1; i < j; i, j = i+1, j-1 {
			n.items[i], n.items[j] = n.items[j], n.items[i]
		}
	}
	return n
}

func compileTransform(arg *tree, stack []string) node {
	apply, then := arg.get("apply"), arg.get("mapping")
	if arg.form != object || apply == nil || apply.form != object || !then.truthy() {
		return fault(stack, `requires an object with an "apply" key and a "mapping" key`)
	}
	t, err := rootTree(apply)
	if err == nil {
		err = check(t)
	}
	if err != nil {
		return &errorNode{err}
	}
	return &transformNode{compile(t, push(stack, "apply")), compile(then, push(stack, "mapping"))}
}

func compileExclude(arg *tree, stack []string) node {
	return &applyNode{
		arg:  compile(arg, stack),
		keep: true,
		f: func(r *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
			if v.nullish() {
				return dst, false
			}
			return appendNonNull(dst, v.Raw), true
		},
	}
}

// appendNonNull appends a value without the null members of its objects. It
// does not look into arrays.
func appendNonNull(dst, raw []byte) []byte {
	if jsonval.KindOf(raw) != event.Object {
		return append(dst, raw...)
	}
	dst = append(dst, '{')
	start := len(dst)
	event.EachMember(raw, func(key, val []byte) {
		if jsonval.KindOf(val) == event.Null {
			return
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(dst, key...), ':')
		dst = appendNonNull(dst, val)
	})
	return append(dst, '}')
}

var errNoValue = errors.New(`requires a "value" key`)
