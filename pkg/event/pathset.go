package event

import "slices"

// PathSet finds the values of many paths in one walk over a value: every member
// of an object is looked at once, however many paths go through it. A mapping
// of fifty paths takes an eighth of the time that as many lookups take (see
// BenchmarkPathSet). It is safe for concurrent use.
type PathSet struct {
	paths []Path
	tree  []branch
	inner int // branches with children: each has a slot of its own behind those of the paths

	// Of a set that others were joined into: where it has the slots of each of them, and of
	// the members that almost every reader asks for.
	joined map[*PathSet][]uint16
	common [topCount]uint16
}

// branch is a key that paths go through or end at. The slots of a subtree stand
// side by side.
type branch struct {
	key    string
	word   uint64      // a key of 1 to 8 bytes, in the upper ones
	bucket *[32]uint16 // children by hash; nil: it has none, and is not the root
	slot   int32       // of the path that ends here; -1: none does
	lo, hi int32       // slots of the paths that go on
	kids   int32       // children
	been   int32       // slot that says that the branch was gone along, of one with children
	chain  uint16      // the next sibling in the same bucket; 0: none
	hash   uint8
	size   uint8   // of a key of 1 to 8 bytes; 0: it is another one
	_      [8]byte // so that each is one line of a processor's cache
}

// maxBranches is how many keys, counted along all paths, a set can have.
const maxBranches = 1<<16 - 1

// NewPathSet compiles the paths. slots says where the value of each is found:
// the same path twice has one slot. The set is nil when the paths are too many.
func NewPathSet(paths []Path) (set *PathSet, slots []int) {
	type trie struct {
		key  string
		ends bool
		kids []*trie
	}
	root, branches := &trie{}, 1
	ends := make([]*trie, len(paths))
	for i, p := range paths {
		at := root
		for _, s := range p.steps {
			k := slices.IndexFunc(at.kids, func(t *trie) bool { return t.key == s.key })
			if k < 0 {
				k = len(at.kids)
				at.kids = append(at.kids, &trie{key: s.key})
				if branches++; branches > maxBranches {
					return nil, nil
				}
			}
			at = at.kids[k]
		}
		at.ends = true
		ends[i] = at
	}
	set = &PathSet{}
	slotOf := map[*trie]int{}
	var add func(t *trie, steps []string) uint16
	add = func(t *trie, steps []string) uint16 {
		at := len(set.tree)
		set.tree = append(set.tree, branch{key: t.key, hash: hashKey(t.key), slot: -1, kids: int32(len(t.kids))})
		if n := len(t.key); n >= 1 && n <= 8 {
			set.tree[at].size = uint8(n)
			for i := range n {
				set.tree[at].word |= uint64(t.key[i]) << (64 - 8*n + 8*i)
			}
		}
		if t.ends {
			slotOf[t] = len(set.paths)
			set.tree[at].slot = int32(len(set.paths))
			set.paths = append(set.paths, Keys(steps...))
		}
		set.tree[at].lo = int32(len(set.paths))
		if at == 0 || len(t.kids) > 0 {
			set.tree[at].bucket = new([32]uint16)
		}
		for _, k := range t.kids {
			kid := add(k, append(slices.Clone(steps), k.key))
			b := &set.tree[at].bucket[hashKey(k.key)&31]
			set.tree[kid].chain, *b = *b, kid
		}
		set.tree[at].hi = int32(len(set.paths))
		if len(t.kids) > 0 {
			set.tree[at].been = int32(set.inner)
			set.inner++
		}
		return uint16(at)
	}
	add(root, nil)
	for i := range set.tree {
		set.tree[i].been += int32(len(set.paths))
	}
	for _, t := range ends {
		slots = append(slots, slotOf[t])
	}
	return set, slots
}

// Len is the number of slots.
func (s *PathSet) Len() int { return len(s.paths) }

// Join makes one set of several, for a [Parser] that is to find what the paths of all of
// them lead to. It is nil when the paths are too many.
func Join(sets ...*PathSet) *PathSet {
	var paths []Path
	for _, s := range sets {
		paths = append(paths, s.paths...)
	}
	for _, name := range commonNames() {
		paths = append(paths, Keys(name))
	}
	all, slots := NewPathSet(paths)
	if all == nil {
		return nil
	}
	all.joined = map[*PathSet][]uint16{}
	for _, s := range sets {
		table := make([]uint16, len(s.paths))
		for i := range table {
			table[i], slots = uint16(slots[0]), slots[1:]
		}
		all.joined[s] = table
	}
	for i := range all.common {
		all.common[i] = uint16(slots[i])
	}
	return all
}

// ask is what a slot holds when the path has to be asked: it goes on from what is no
// object.
const ask = FreeRef

// Find finds what [Value.Lookup] gives for each slot's path. It has been found already
// where the value is an event, and its parser followed a set that this one was joined into.
func (s *PathSet) Find(v Value, to *Refs) {
	if v.at == 0 && v.kind == Object && v.doc.followed != nil {
		if table := v.doc.followed.joined[s]; table != nil {
			s.gather(v, table, to)
			return
		}
	}
	s.Look(v, to)
}

// Look is Find that takes nothing for granted: it walks over the value.
func (s *PathSet) Look(v Value, to *Refs) {
	to.reset(v, len(s.paths))
	if s.tree[0].slot >= 0 {
		to.slots[s.tree[0].slot] = v.ref()
	}
	s.descend(0, v, v, to)
}

// gather takes what the parser found.
func (s *PathSet) gather(v Value, table []uint16, to *Refs) {
	to.renew(v, len(s.paths))
	found, slots := v.doc.found, to.slots[:len(table)]
	for i, at := range table {
		slots[i] = found[at]
	}
	if !v.doc.asks {
		return
	}
	for i, f := range slots {
		if f == ask {
			slots[i] = to.note(v.Lookup(s.paths[i]))
		}
	}
}

// descend goes on from a branch that stands for v.
func (s *PathSet) descend(at uint16, v, root Value, to *Refs) {
	b := &s.tree[at]
	slots := to.slots
	switch {
	case b.kids == 0 || v.kind == Missing:
		return
	case v.kind == Object:
	case v.kind == Null || v.kind < Array && v.Falsy():
		f := to.note(v)
		for i := b.lo; i < b.hi; i++ {
			slots[i] = f
		}
		return
	default: // elements, units, lengths: seldom, and not worth a tree
		for i := b.lo; i < b.hi; i++ {
			slots[i] = to.note(root.Lookup(s.paths[i]))
		}
		return
	}
	nodes, raw := v.doc.nodes, v.doc.raw
	end, dup := nodes[v.at].next, nodes[v.at].bits&repeats != 0
	left := b.kids
	for c := uint32(v.at) + 1; c < end; {
		n := &nodes[c]
		var kid uint16
		if n.bits&oddName == 0 {
			for kid = b.bucket[n.hash&31]; kid != 0; kid = s.tree[kid].chain {
				k := &s.tree[kid]
				if k.hash == n.hash && int(n.nameLen) == min(len(k.key), longName) && string(n.key(raw)) == k.key {
					break
				}
			}
		} else {
			kid = s.escaped(b, n.key(raw))
		}
		if kid != 0 {
			k := &s.tree[kid]
			if k.slot >= 0 {
				slots[k.slot] = Ref(c)<<refShift | Ref(n.kind())
			}
			if k.kids > 0 {
				if dup {
					clear(slots[k.lo:k.hi]) // of a repeated key the last one counts
				}
				s.descend(kid, Value{doc: v.doc, at: int32(c), kind: n.kind()}, root, to)
			}
			if left--; left == 0 && !dup {
				return
			}
		}
		c = n.next
	}
}

// escaped finds the child whose key a name with escapes spells.
func (s *PathSet) escaped(b *branch, name []byte) uint16 {
	for _, kid := range b.bucket {
		for ; kid != 0; kid = s.tree[kid].chain {
			if equalEscaped(name, s.tree[kid].key) {
				return kid
			}
		}
	}
	return 0
}
