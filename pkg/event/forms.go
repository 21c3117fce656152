package event

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Form is what events have in common that have the same keys in the same order,
// the same kinds of values, and the same bytes between their values: all of an
// index but the places of the values. Sources write few forms, and most of what
// there is to find out of an event is so of all of its form.
//
// Forms are immutable. Events whose [Event.Form] is the same pointer, and not nil,
// have the same form; others may, too, since what was learned can be forgotten.
type Form struct {
	nodes   []node
	names   []byte // what the nodes' names are places in
	top     [topCount]int32
	learned bool
}

// Size is about how many bytes of memory the form takes.
func (f *Form) Size() int { return len(f.nodes)*int(unsafe.Sizeof(node{})) + len(f.names) + 128 }

// Forms learns the forms of events and recognises them: the bytes between two
// values, keys and punctuation, are compared with those of earlier events, so
// that only the values have to be read. An event of a known form is indexed in
// half the time (see BenchmarkIndex), and what readers found out of the form,
// they need not find out again.
//
// It is a trie over what stands between values, so that an event is of a form
// exactly when it would be indexed alike. What it learns is bounded; events of
// other forms are indexed all the same. The zero Forms is ready, and safe for
// concurrent use.
type Forms struct {
	root atomic.Pointer[state]

	mu      sync.Mutex // of learning
	states  int
	bytes   int
	full    bool
	credit  int // how many events may still be learned, see count
	hits    uint64
	misses  uint64
	strange int // events not recognised that have not paid yet
}

// state is a place in the trie: what has been read of an event up to the end of a
// value. The states of one event stand side by side, as it goes through them, and
// so does their text: following them is mostly waiting for memory.
type state struct {
	first edge
	rest  atomic.Pointer[[]edge] // ways on beside the first
}

// edge is a way on: the bytes up to the next value, and its kind.
type edge struct {
	glue  string // up to the first byte of the value; that of a String included
	marks []mark // containers that begin or end in it
	to    *state // nil: the text ends here
	form  *Form  // then: what it is
	value int32  // index of the value; the number of values at the end of the text
	kind  Kind   // Missing: the text ends here
}

// mark is a beginning or an end of a container.
type mark struct {
	at     int32 // index of the container
	offset uint32
	end    bool
}

// Bounds of what is learned, so that data that others wrote cannot make it grow:
// some 10 MiB at most.
const (
	maxStates     = 1 << 15
	maxFormBytes  = 4 << 20
	maxEdges      = 24
	maxFormValues = 1024
	maxFormDepth  = 64
	maxFormText   = 32 << 10 // bytes between the values of one
	// learning is how many events may be learned in a row without one that is
	// recognised, and paidBy how many of those pay for a further one: learning
	// costs a multiple of indexing.
	learning = 512
	paidBy   = 16
	// So many that are not recognised pay for one, too, lest a flood of strange
	// events ends the learning for good.
	strangePay = 256
	// When there is no room left and fewer events are recognised than not, over
	// so many, what was learned is forgotten: the input has changed.
	patience = 1 << 16
)

// expect indexes an event whose form is known; nil: it is not, or it is no event.
func (p *Parser) expect(raw []byte) (form *Form, where []place, empty bool) {
	st := p.Forms.root.Load()
	if _, depth := p.limits(); st == nil || depth < maxFormDepth {
		return nil, nil, false
	}
	p.places.room(maxFormValues, slabPlaces)
	places := p.places.free
	i := 0
next:
	for {
		e := &st.first
		for k := -1; ; k++ {
			if k >= 0 {
				rest := st.rest.Load()
				if rest == nil || k >= len(*rest) {
					return nil, nil, false
				}
				e = &(*rest)[k]
			}
			start := i + len(e.glue)
			if start > len(raw) || string(raw[i:start]) != e.glue {
				continue
			}
			end, stop := start, uint32(0)
			switch e.kind {
			case String:
				var esc bool
				var msg string
				if end, esc, msg = scanString(raw, start); msg != "" {
					return nil, nil, false
				}
				start--
				empty = empty || end-start == 2
				stop = uint32(end)
				if esc {
					stop |= hasEscapes
				}
			case Number:
				if start == len(raw) {
					return nil, nil, false
				}
				var msg string
				if end, msg = scanNumber(raw, start); msg != "" {
					continue
				}
				stop = uint32(end)
			case Bool, Null:
				if end = word(raw, start, e.kind); end < 0 {
					continue
				}
				stop = uint32(end)
			default:
				if start != len(raw) {
					continue
				}
			}
			for _, m := range e.marks {
				if m.end {
					places[m.at].end = uint32(i) + m.offset
				} else {
					places[m.at].start = uint32(i) + m.offset
				}
			}
			if e.to == nil {
				return e.form, p.places.take(int(e.value), 0), empty
			}
			places[e.value] = place{uint32(start), stop}
			i, st = end, e.to
			continue next
		}
	}
}

// word returns the end of the true, false or null that begins at raw[i]; -1: there
// is none.
func word(raw []byte, i int, k Kind) int {
	for _, w := range [...]string{"true", "false", "null"} {
		if len(raw)-i >= len(w) && string(raw[i:i+len(w)]) == w && (k == Null) == (w[0] == 'n') {
			return i + len(w)
		}
	}
	return -1
}

// count takes note of how many events were recognised and how many were not.
func (f *Forms) count(hits, misses int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hits += uint64(hits)
	f.misses += uint64(misses)
	f.strange += misses
	f.credit = min(f.credit+hits/paidBy+f.strange/strangePay, 0)
	f.strange %= strangePay
	if n := f.hits + f.misses; n > patience {
		if f.full && f.misses > f.hits {
			f.root.Store(nil)
			f.states, f.bytes, f.full = 0, 0, false
		}
		f.hits, f.misses = 0, 0
	}
}

// learn adds the form of an event that was indexed.
func (f *Forms) learn(raw []byte, form *Form, places []place) {
	if len(form.nodes) > maxFormValues {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full || f.credit <= -learning {
		return
	}
	f.credit--
	l := learner{raw: raw, form: form, places: places}
	if !l.value(0, 0) {
		return
	}
	l.step(Missing, int32(len(form.nodes)), len(raw))
	text := 0
	for i := range l.steps {
		text += len(l.steps[i].glue)
	}
	if text > maxFormText {
		return
	}
	if f.states+len(l.steps) > maxStates || f.bytes+text > maxFormBytes {
		f.full = true
		return
	}
	// What is known already is followed; the rest is added as a whole.
	st := f.root.Load()
	if st == nil {
		f.root.Store(f.chain(l.steps, form))
		return
	}
	for i := range l.steps {
		s := &l.steps[i]
		var rest []edge
		if p := st.rest.Load(); p != nil {
			rest = *p
		}
		var known *edge
		if same(&st.first, s) {
			known = &st.first
		}
		for k := range rest {
			if same(&rest[k], s) {
				known = &rest[k]
			}
		}
		if known == nil {
			way := f.chain(l.steps[i:], form).first
			rest = slices.Clone(rest)
			if len(rest) < maxEdges {
				rest = append(rest, way)
			} else { // keys that are data: the ones that were there may as well go
				rest[f.states%maxEdges] = way
			}
			st.rest.Store(&rest)
			return
		}
		if st = known.to; st == nil {
			return
		}
	}
}

func same(a, b *edge) bool { return a.kind == b.kind && a.glue == b.glue }

// chain makes the states that steps lead through.
func (f *Forms) chain(steps []edge, form *Form) *state {
	states := make([]state, len(steps))
	size := 0
	for i := range steps {
		size += len(steps[i].glue)
	}
	var text strings.Builder
	text.Grow(size)
	for i := range steps {
		text.WriteString(steps[i].glue)
	}
	glue := text.String()
	for i := range steps {
		e := &states[i].first
		*e = steps[i]
		e.glue, glue = glue[:len(e.glue)], glue[len(e.glue):]
		if i+1 < len(steps) {
			e.to = &states[i+1]
		} else {
			e.form = f.keep(form)
		}
	}
	f.states += len(steps)
	f.bytes += size
	return &states[0]
}

// keep copies a form out of the memory of a parser and the text of an event.
func (f *Forms) keep(form *Form) *Form {
	k := &Form{nodes: append([]node(nil), form.nodes...), top: form.top, learned: true}
	for i := range k.nodes {
		n := &k.nodes[i]
		if n.name == 0 {
			continue // no member
		}
		key := n.key(form.names)
		k.names = append(k.names, '"')
		n.name = uint32(len(k.names))
		k.names = append(append(k.names, key...), '"')
	}
	f.bytes += k.Size()
	return k
}

// learner finds the steps through the trie that recognise an event.
type learner struct {
	raw    []byte
	form   *Form
	places []place
	steps  []edge
	marks  []mark
	fresh  int // the first mark since the last value
	from   int // the end of the last value
}

func (l *learner) step(k Kind, value int32, start int) {
	l.steps = append(l.steps, edge{glue: string(l.raw[l.from:start]), marks: slices.Clip(l.marks[l.fresh:]), value: value, kind: k})
	l.fresh = len(l.marks)
}

func (l *learner) value(at uint32, depth int) bool {
	if depth > maxFormDepth {
		return false
	}
	n, p := &l.form.nodes[at], l.places[at]
	k := n.kind()
	if k < Array {
		start := int(p.start)
		if k == String {
			start++
		}
		l.step(k, int32(at), start)
		l.from = int(p.stop())
		return true
	}
	l.marks = append(l.marks, mark{int32(at), p.start - uint32(l.from), false})
	for c := at + 1; c < n.next; c = l.form.nodes[c].next {
		if !l.value(c, depth+1) {
			return false
		}
	}
	l.marks = append(l.marks, mark{int32(at), p.stop() - uint32(l.from), true})
	return true
}

// Size is about how many bytes of memory hold what was learned.
func (f *Forms) Size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.states*stateBytes + f.bytes
}

// stateBytes is what a state takes with the edge that leads to it, without its
// text.
const stateBytes = 160
