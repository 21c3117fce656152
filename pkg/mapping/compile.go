package mapping

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// rootKey holds a directive that is applied to the rest of a mapping.
const rootKey = "__segment_internal_directive"

// directiveSpec is what the compiler knows about one directive.
type directiveSpec struct {
	check   check1
	compile func(arg *tree, stack []string) node
}

// Compile checks and compiles a mapping. The error names everything that is
// wrong with it ([*SyntaxError]).
func Compile(v Value) (*Mapping, error) {
	t, err := checked(v)
	if err != nil {
		return nil, err
	}
	return &Mapping{compile(t, nil)}, nil
}

// checked is the tree of a mapping in which nothing is wrong.
func checked(v Value) (*tree, error) {
	if v.t == nil {
		return nil, errors.New("mapping: there is none")
	}
	t, err := rootTree(v.t)
	if err != nil {
		return nil, err
	}
	return t, check(t)
}

// rootTree applies the rules for the root of a mapping: text and arrays are
// spread into objects, other scalars are empty objects, and a root directive
// gets all other keys as its "mapping".
func rootTree(t *tree) (*tree, error) {
	switch {
	case t.form == array:
		o := &tree{form: object}
		for i, v := range t.vals {
			o.set(fmt.Sprint(i), v)
		}
		return o, nil
	case t.form == scalar && t.kind == event.Null:
		return nil, errors.New("mapping: cannot be null; it should be an object")
	case t.form == scalar && t.kind == event.String:
		o := &tree{form: object}
		i := 0
		jsonval.EachUnit(t.raw, func(unit []byte) {
			o.set(fmt.Sprint(i), &tree{form: scalar, kind: event.String, raw: append([]byte(nil), unit...)})
			i++
		})
		return o, nil
	case t.form == scalar:
		return &tree{form: object}, nil
	}
	d := t.get(rootKey)
	if d == nil {
		return t, nil
	}
	rest := &tree{form: object}
	for i, k := range t.keys {
		if k != rootKey {
			rest.keys, rest.vals = append(rest.keys, k), append(rest.vals, t.vals[i])
		}
	}
	if d.form != object || len(d.keys) > 1 {
		return nil, &SyntaxError{[]string{"/" + rootKey + " must be a single directive object."}}
	}
	if len(d.keys) == 0 || d.vals[0].form != object {
		return nil, &SyntaxError{[]string{"/" + rootKey + " must hold a directive whose argument is an object."}}
	}
	arg := &tree{form: object}
	for i, k := range d.vals[0].keys {
		arg.set(k, d.vals[0].vals[i])
	}
	arg.set("mapping", rest)
	return &tree{form: object, keys: d.keys, vals: []*tree{arg}}, nil
}

// isDirective reports whether an object runs as a directive.
func (t *tree) isDirective() bool {
	if t.form != object {
		return false
	}
	at := false
	for _, k := range t.keys {
		if strings.HasPrefix(k, "@") {
			at = true
		} else if k != "_metadata" {
			return false
		}
	}
	return at
}

// compile makes the node of a tree. stack is where it stands, for errors at
// run time.
func compile(t *tree, stack []string) node {
	switch {
	case t == nil:
		return undefinedNode{}
	case t.form == scalar:
		return &literalNode{Result{Raw: t.raw, Kind: t.kind}}
	case t.form == faulty:
		return &errorNode{t.err}
	case t.isDirective():
		for i, k := range t.keys {
			if !strings.HasPrefix(k, "@") {
				continue
			}
			d, ok := directiveOf(k)
			if !ok {
				return &errorNode{fmt.Errorf("mapping: /%s has an invalid directive: %s", strings.Join(stack, "/"), k)}
			}
			return d.compile(t.vals[i], push(stack, k))
		}
	case static(t):
		raw := t.appendJSON(nil)
		return &literalNode{Result{Raw: raw, Kind: jsonval.KindOf(raw)}}
	case t.form == array:
		n := &arrayNode{}
		for i, v := range t.vals {
			n.vals = append(n.vals, compile(v, push(stack, fmt.Sprint(i))))
		}
		return n
	}
	n := &objectNode{}
	for i, k := range t.keys {
		m := objectMember{name: k, key: append(event.AppendQuoted(nil, k), ':'), n: compile(t.vals[i], push(stack, k))}
		if p, ok := m.n.(*pathNode); ok {
			m.path = &p.path
		}
		n.members = append(n.members, m)
	}
	paths := make([]*event.Path, len(n.members))
	for i := range n.members {
		paths[i] = n.members[i].path
	}
	var from []int
	n.shared, from = sharePrefixes(paths)
	for i := range n.members {
		n.members[i].from, n.members[i].path = from[i], paths[i]
	}
	return n
}

// prefix is a path that several paths of one object share, such as $.context.page. Finding its value only once
// saved a third of the time of a mapping of twenty paths.
type prefix struct {
	from int // the prefix that it continues; -1: the payload
	path event.Path
}

// maxShared bounds the prefixes whose values are kept while an object is written.
const maxShared = 16

// places are the values at an object's shared prefixes.
type places [maxShared]event.Value

func (p *places) find(shared []prefix, in event.Value) {
	for i := range shared {
		s := &shared[i]
		from := in
		if s.from >= 0 {
			from = p[s.from]
		}
		p[i] = from.Lookup(s.path)
	}
}

// sharePrefixes finds the common prefixes of the paths and shortens the paths in place: path i then starts at
// prefix from[i], or at the payload for -1. Following a path in two parts gives the same result as in one, because
// a walk that stops early stays where it stopped.
func sharePrefixes(paths []*event.Path) (shared []prefix, from []int) {
	count := map[string]int{}
	name := func(steps []string) string { return strings.Join(steps, "\x00") }
	for _, p := range paths {
		if p == nil {
			continue
		}
		steps := p.Steps()
		for n := 1; n < len(steps); n++ {
			count[name(steps[:n])]++
		}
	}
	slot := map[string]int{}
	from = make([]int, len(paths))
	for i, p := range paths {
		from[i] = -1
		if p == nil {
			continue
		}
		steps := p.Steps()
		done := 0
		for n := 1; n < len(steps); n++ {
			key := name(steps[:n])
			if count[key] < 2 {
				break
			}
			at, ok := slot[key]
			if !ok {
				if len(shared) == maxShared {
					break
				}
				at = len(shared)
				slot[key] = at
				shared = append(shared, prefix{from[i], event.Keys(steps[done:n]...)})
			}
			from[i], done = at, n
		}
		if done > 0 {
			rest := event.Keys(steps[done:]...)
			paths[i] = &rest
		}
	}
	return shared, from
}

// static reports whether a tree has no directive in it.
func static(t *tree) bool {
	switch t.form {
	case scalar:
		return true
	case array, object:
		if t.isDirective() {
			return false
		}
		for _, v := range t.vals {
			if !static(v) {
				return false
			}
		}
		return true
	}
	return false
}

// silent says whether resolving a tree can neither fail nor have effects: it consists only of values, paths and
// templates.
func silent(t *tree) bool {
	if t.form == faulty {
		return false
	}
	if t.isDirective() && t.form == object {
		for i, k := range t.keys {
			if strings.HasPrefix(k, "@") {
				_, isText := t.vals[i].text()
				return (k == "@path" || k == "@template") && isText
			}
		}
	}
	for _, v := range t.vals {
		if !silent(v) {
			return false
		}
	}
	return true
}
