package mapping

import "github.com/fanfold/fanfold/pkg/event"

// scope collects the paths of a mapping that start at the event, so that one
// walk over the event finds them all.
type scope struct {
	paths []event.Path
	set   []func(slot int)
}

// at asks for the value at a path; slot is set to its number, from 1 on, when
// the scope is closed.
func (s *scope) at(p event.Path, slot *int) {
	s.paths = append(s.paths, p)
	s.set = append(s.set, func(n int) { *slot = n + 1 })
}

// close returns nil when the paths are too many.
func (s *scope) close() *event.PathSet {
	set, slots := event.NewPathSet(s.paths)
	if set == nil {
		return nil
	}
	for i, set := range s.set {
		set(slots[i])
	}
	return set
}

// bind binds the paths of a node, and of the nodes in it that resolve against the same
// value. A node that is not known here looks its paths up by itself.
func (s *scope) bind(n node) {
	switch n := n.(type) {
	case *pathNode:
		s.at(n.path, &n.slot)
	case *templateNode:
		for i := range n.pieces {
			if p := &n.pieces[i]; p.is {
				s.at(p.path, &p.slot)
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

func (s *scope) all(nodes ...node) {
	for _, n := range nodes {
		s.bind(n)
	}
}
