package mapping

import "github.com/fanfold/fanfold/pkg/event"

// Scope collects the paths of a mapping that start at the event, so that one
// walk over the event finds them all.
type Scope struct {
	paths []event.Path
	set   []func(slot int)
}

// At asks for the value at a path; slot is set to its number, from 1 on, when
// the scope is closed.
func (s *Scope) At(p event.Path, slot *int) {
	s.paths = append(s.paths, p)
	s.set = append(s.set, func(n int) { *slot = n + 1 })
}

// Close returns nil when there are too many paths.
func (s *Scope) Close() *event.PathSet {
	set, slots := event.NewPathSet(s.paths)
	if set == nil {
		return nil
	}
	for i, set := range s.set {
		set(slots[i])
	}
	return set
}

// bind binds the paths of a node, and of the nodes in it that read from the same value. A node of a type that is
// not handled here looks up its paths by itself.
func (s *Scope) bind(n node) {
	switch n := n.(type) {
	case *pathNode:
		s.At(n.path, &n.slot)
	case *templateNode:
		for i := range n.pieces {
			if p := &n.pieces[i]; p.is {
				s.At(p.path, &p.slot)
			}
		}
	case *objectNode:
		n.bound = true
		for i := range n.members {
			s.bind(n.members[i].n)
		}
	case *arrayNode:
		s.all(n.vals...)
	case *ifNode:
		s.all(n.cond, n.then, n.els)
	case *firstNode:
		s.all(n.vals...)
	case *joinNode:
		s.all(n.vals...)
	case *lookupNode:
		s.all(n.arg, n.els)
	case *arrayPathNode:
		s.bind(n.root) // the shape starts at an element
	case *applyNode:
		s.bind(n.arg)
	case *flattenNode:
		s.all(n.arg, n.sep)
	case *caseNode:
		s.bind(n.arg)
	case *replaceNode:
		s.bind(n.arg)
	}
}

// Bind adds the paths of a part, and of the parts in it that read from the same value, to the scope. Its
// [Part.Path] then has a slot, and resolving it uses the values in [Resolver.Refs].
func (s *Scope) Bind(p Part) { s.bind(p.n) }

// Len is how many paths there are.
func (s *Scope) Len() int { return len(s.paths) }

func (s *Scope) all(nodes ...node) {
	for _, n := range nodes {
		s.bind(n)
	}
}
