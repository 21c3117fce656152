package mapping

import (
	"github.com/fanfold/fanfold/pkg/event"
)

// Part is a compiled part of a mapping. It shows its form and its content to callers that know more about the use
// of its values than the mapping does.
type Part struct{ n node }

// Form is the kind of a [Part].
type Form uint8

const (
	Computed Form = iota // anything that is not listed here
	Nothing              // it is undefined
	Constant
	AtPath
	FromTemplate // a template that was known when the mapping was compiled
	Exists       // an If: Parts are the condition, then, and otherwise
	NotBlank     // an IfNotBlank: likewise
	FirstOf      // First: Parts are the values
	ObjectOf     // an object: Names and Parts are its members
	ListOf       // an array: Parts are the elements
	EachOf       // an ArrayPath with a shape: Parts are the array, and the shape
)

// Form says what a part does.
func (p Part) Form() Form {
	switch n := p.n.(type) {
	case undefinedNode:
		return Nothing
	case *literalNode:
		return Constant
	case *pathNode:
		return AtPath
	case *templateNode:
		return FromTemplate
	case *ifNode:
		if n.blank {
			return NotBlank
		}
		return Exists
	case *firstNode:
		return FirstOf
	case *objectNode:
		return ObjectOf
	case *arrayNode:
		return ListOf
	case *arrayPathNode:
		if n.shape != nil {
			return EachOf
		}
	}
	return Computed
}

// Parts are what a part consists of; see the forms.
func (p Part) Parts() []Part {
	switch n := p.n.(type) {
	case *ifNode:
		return []Part{{n.cond}, {n.then}, {n.els}}
	case *firstNode:
		return parts(n.vals)
	case *arrayNode:
		return parts(n.vals)
	case *objectNode:
		out := make([]Part, len(n.members))
		for i := range n.members {
			out[i] = Part{n.members[i].n}
		}
		return out
	case *arrayPathNode:
		return []Part{{n.root}, {n.shape}}
	}
	return nil
}

func parts(nodes []node) []Part {
	out := make([]Part, len(nodes))
	for i, n := range nodes {
		out[i] = Part{n}
	}
	return out
}

// Names are those of the members of an ObjectOf, in the order of Parts.
func (p Part) Names() []string {
	n, ok := p.n.(*objectNode)
	if !ok {
		return nil
	}
	out := make([]string, len(n.members))
	for i := range n.members {
		out[i] = n.members[i].name
	}
	return out
}

// Same says of an Exists or NotBlank whether the value that it tests is also the one that it chooses, which is the
// usual form.
func (p Part) Same() bool {
	n, ok := p.n.(*ifNode)
	return ok && n.same
}

// Constant is the JSON of a Constant.
func (p Part) Constant() []byte {
	if n, ok := p.n.(*literalNode); ok {
		return n.v.Raw
	}
	return nil
}

// Path is that of an AtPath, and its slot: from 1 on the number of the path among those that a [Scope] looks for; 0: it
// was not bound, and is looked up.
func (p Part) Path() (path event.Path, slot int) {
	if n, ok := p.n.(*pathNode); ok {
		return n.path, n.slot
	}
	return event.Path{}, 0
}

// Resolve gives the value of a part of an event, or of an element of it. It is valid until the Resolver is reset.
func (p Part) Resolve(r *Resolver, in event.Value) Result { return p.n.eval(r, in) }

// Append appends the JSON of the value. It reports false, with nothing appended, when that is undefined.
func (p Part) Append(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	return p.n.write(r, dst, in)
}

// NamedPart is a member of a mapping that is a plain object.
type NamedPart struct {
	Name string
	Part Part
	// Silent says that resolving it can neither fail nor have effects: it is made of values, paths
	// and templates only.
	Silent bool
}

// CompileParts is [Compile] for whoever takes the members of a mapping one by one. Of a mapping that is no plain object
// they are nil, and whole gives its value; else there is no whole.
func CompileParts(v Value) (members []NamedPart, whole Part, err error) {
	t, err := checked(v)
	if err != nil {
		return nil, Part{}, err
	}
	if t.form != object || t.jsType() != "object" {
		return nil, Part{compile(t, nil)}, nil
	}
	members = make([]NamedPart, len(t.keys))
	for i, k := range t.keys {
		members[i] = NamedPart{Name: k, Part: Part{compile(t.vals[i], []string{k})}, Silent: silent(t.vals[i])}
	}
	return members, Part{}, nil
}
