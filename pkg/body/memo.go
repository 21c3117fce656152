package body

import (
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/stock"
)

// What is remembered of recent texts lies in pairs of places: a text has one of the two of its pair, the first if it
// is the one seen last. So two texts that fall on the same pair do not chase each other away, which one place each
// would make of them for every event.

// memo remembers the results of functions for texts that occur again and again. Its memory is made when it is first
// used, as that of [texts] is: what is written once when a destination is opened needs neither.
type memo struct {
	pairs *[512][2]memoized
	last  *memoized // the last one asked for: usually several things are read from the same text
}

// maxMemo is the length up to which a text is remembered.
const maxMemo = 1024

type memoized struct {
	by   uintptr // which function
	text string
	made any // nil: the function has not returned
}

// of returns the place for a function's result for a text. If known is false, the function has to be called: also when
// it was called before, and has panicked.
func (m *memo) of(by uintptr, text []byte, t *texts) (at *memoized, known bool) {
	is := func(at *memoized) bool { return at != nil && at.by == by && at.text == string(text) }
	if is(m.last) {
		return m.last, m.last.made != nil
	}
	if m.pairs == nil {
		m.pairs = new([512][2]memoized)
	}
	pair := &m.pairs[(xxh3.Hash(text)^uint64(by))%uint64(len(m.pairs))]
	m.last = &pair[0]
	if is(m.last) {
		return m.last, m.last.made != nil
	}
	pair[0], pair[1] = pair[1], pair[0]
	if is(m.last) {
		return m.last, m.last.made != nil
	}
	pair[0] = memoized{by: by, text: stock.Keep(&t.made, text)}
	return m.last, false
}

// texts keeps texts that occur again and again, so that each is made a string once.
type texts struct {
	pairs *[128][2]string
	made  stock.Texts
}

// of is b as a string.
func (t *texts) of(b []byte) string {
	if len(b) > maxMemo {
		return string(b)
	}
	if t.pairs == nil {
		t.pairs = new([128][2]string)
	}
	pair := &t.pairs[xxh3.Hash(b)%uint64(len(t.pairs))]
	if pair[0] != string(b) {
		if pair[0], pair[1] = pair[1], pair[0]; pair[0] != string(b) {
			pair[0] = stock.Keep(&t.made, b)
		}
	}
	return pair[0]
}

// shared is b as a string, for texts that occur again and again.
func (w *writing) shared(b []byte) string { return w.texts.of(b) }

// rewritings are recent results of a pure function of texts, such as names: there are few different ones. Each is
// written once, and read by all. It is safe for concurrent use; its memory is made when it is first used.
type rewritings struct {
	sets atomic.Pointer[[512][4]atomic.Pointer[rewritten]]
}

// rewritten is what the function makes of a text.
type rewritten struct {
	from, to string
	number   uint8 // of to among the names of an object, if found
	found    bool
}

// mostRewritten is the length in bytes up to which texts are remembered.
const mostRewritten = 128

// of returns what f makes of a text, and where that stands among some names; nil: there are none.
func (k *rewritings) of(f func(text string) string, n *names, t *texts, text []byte) *rewritten {
	sets := k.sets.Load()
	if sets == nil {
		k.sets.CompareAndSwap(nil, new([512][4]atomic.Pointer[rewritten]))
		sets = k.sets.Load()
	}
	set := &sets[xxh3.Hash(text)%uint64(len(sets))]
	for i := range set {
		if r := set[i].Load(); r != nil && r.from == string(text) {
			return r
		}
	}
	r := &rewritten{from: stock.Keep(&t.made, text)}
	if r.to = f(r.from); n != nil {
		r.number, r.found = n.of([]byte(r.to))
	}
	if len(r.from)+len(r.to) <= 2*mostRewritten {
		for i := len(set) - 1; i > 0; i-- { // the oldest goes
			set[i].Store(set[i-1].Load())
		}
		set[0].Store(r)
	}
	return r
}
