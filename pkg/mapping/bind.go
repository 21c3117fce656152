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

// bind binds the paths of a node, and of the nodes in it that resolve against
// the same value. A node that is not known here looks its paths up by itself. It
// says whether the node reads nothing but what it binds: when none of that is
// there, the node's value is always the same.
func (s *scope) bind(n node) bool {
	switch n := n.(type) {
	case *literalNode, undefinedNode, *errorNode:
		return true
	case *pathNode:
		s.at(n.path, &n.slot)
		return true
	case *templateNode:
		for i := range n.pieces {
			if p := &n.pieces[i]; p.is {
				s.at(p.path, &p.slot)
			}
		}
		return true
	case *objectNode:
		n.bound = true
		all := true
		for i := range n.members {
			all = s.bind(n.members[i].n) && all
		}
		return all
	case *arrayNode:
		return s.all(n.vals...)
	case *ifNode:
		return s.all(n.cond, n.then, n.els)
	case *firstNode:
		return s.all(n.vals...)
	case *joinNode:
		return s.all(n.vals...)
	case *lookupNode:
		all := s.all(n.arg, n.els)
		for _, c := range n.table {
			_, is := c.(*literalNode)
			all = all && is
		}
		return all
	case *arrayPathNode:
		return s.bind(n.root) // the shape starts at an element
	case *applyNode:
		return s.bind(n.arg) && !n.more
	case *flattenNode:
		return s.all(n.arg, n.sep)
	case *caseNode:
		return s.bind(n.arg)
	case *replaceNode:
		return s.bind(n.arg)
	}
	return false
}

func (s *scope) all(nodes ...node) bool {
	all := true
	for _, n := range nodes {
		all = s.bind(n) && all
	}
	return all
}
