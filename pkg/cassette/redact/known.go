package redact

import (
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
)

// Secret is a value that must not be in a cassette.
type Secret struct {
	// Name is where it comes from: an environment variable, a setting.
	Name  string
	Value string
	// Example, when there is one, takes its place: the value with which the
	// conversation is replayed. Else a token does.
	Example string
}

// MinSecret is the length from which a value can be told from ordinary text, in
// characters. Values of the environment are looked for down to MinShort, where
// what is replaced may not have been the secret.
const (
	MinSecret = 8
	MinShort  = 6
)

// form is a secret value, and what replaces it.
type form struct {
	name, text, with string
	alone            bool // it is one only where no letter or digit stands beside it, and in its own letter case
}

// known finds secret values in text: those of the run, and those that a name has
// announced so far. It is safe for concurrent use.
//
// A text is gone through once, however many values there are: see [Redactor.search].
type known struct {
	mu    sync.RWMutex
	marks marks              // of what they begin with, and of what else a text is searched for
	begin map[uint64]*bucket // by windowOf
	whole map[string]form
	added int // so often
	most  int // the length of the longest

	effort *effort
}

// bucket are values that begin alike.
type bucket struct {
	// sorted are in the order of their letters, whatever their case, so that the longest
	// of thousands that begins a text is found by halving: tokens begin alike.
	sorted []form
	// others have characters beyond ASCII, which have cases of their own; the longest
	// first, as one may be part of another.
	others []form
}

func (b *bucket) add(f form) {
	for i := range len(f.text) {
		if f.text[i] >= 0x80 {
			b.others = append(b.others, f)
			slices.SortStableFunc(b.others, func(a, b form) int { return len(b.text) - len(a.text) })
			return
		}
	}
	// Of those that differ in their case only, the first is found first: from behind.
	at, _ := slices.BinarySearchFunc(b.sorted, f.text, func(have form, text string) int {
		order, _ := compareFolded(have.text, text)
		return order
	})
	b.sorted = slices.Insert(b.sorted, at, f)
}

// find is the longest value that begins a text and for which ok says so.
func (b *bucket) find(t string, e *effort, ok func(f *form) bool) *form {
	for n := range b.others {
		f := &b.others[n]
		e.add(len(f.text))
		if len(f.text) <= len(t) && strings.EqualFold(t[:len(f.text)], f.text) && ok(f) {
			return f
		}
	}
	list := b.sorted
	for len(list) > 0 {
		end := sort.Search(len(list), func(n int) bool {
			order, same := compareFolded(list[n].text, t)
			e.add(same + 1)
			return order > 0
		})
		list = list[:end]
		for len(list) > 0 {
			f := &list[len(list)-1]
			_, same := compareFolded(f.text, t)
			e.add(same + 1)
			if same < len(f.text) { // what begins t, and stands before f, is no longer than that
				t = t[:same]
				break
			}
			if ok(f) {
				return f
			}
			list = list[:len(list)-1]
		}
	}
	return nil
}

// compareFolded says which of two texts comes first, and how many bytes are the same,
// whatever their case.
func compareFolded(a, b string) (order, same int) {
	for ; same < len(a) && same < len(b); same++ {
		if x, y := folded[a[same]], folded[b[same]]; x != y {
			return int(x) - int(y), same
		}
	}
	return len(a) - len(b), same
}

// effort counts how many bytes were looked at, for tests; nil: nobody counts.
type effort struct{ n atomic.Int64 }

func (e *effort) add(n int) {
	if e != nil {
		e.n.Add(int64(n))
	}
}

// newKnown knows nothing. A text is searched for what the shapes have marked, too.
func newKnown(s *shapes) *known {
	return &known{marks: s.marks, begin: map[uint64]*bucket{}, whole: map[string]form{}}
}

// fold is a lower-case letter for an upper-case one.
func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// folded has them all.
var folded = func() (table [256]byte) {
	for c := range table {
		table[c] = fold(byte(c))
	}
	return table
}()

// add makes a value known. The first of two forms of the same value stays.
func (k *known) add(f form) {
	if len(f.text) < MinShort {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.whole[f.text]; ok {
		return
	}
	k.added++
	k.most = max(k.most, len(f.text))
	k.whole[f.text] = f
	w := windowOf(f.text)
	k.marks.put(f.text, markKnown)
	if k.begin[w] == nil {
		k.begin[w] = &bucket{}
	}
	k.begin[w].add(f)
}

// of is the form of a value that is known as a whole.
func (k *known) of(value string) (form, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	f, ok := k.whole[value]
	return f, ok
}

// count is how many values are known.
func (k *known) count() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.added
}

// windowOf is the first MinShort bytes of a text, in lower case.
func windowOf(s string) (w uint64) {
	for i := range MinShort {
		w = w<<8 | uint64(fold(s[i]))
	}
	return w
}

// at is the known value that begins at a place, if any. It needs k.mu.
func (k *known) at(s string, at int) (m match, ok bool) {
	if len(s)-at < MinShort {
		return match{}, false
	}
	b := k.begin[windowOf(s[at:])]
	if b == nil {
		return match{}, false
	}
	f := b.find(s[at:], k.effort, func(f *form) bool { return !f.alone || standsAlone(s, at, f.text) })
	if f == nil {
		return match{}, false
	}
	return match{from: at, to: at + len(f.text), kind: "the value of " + f.name, with: f.with, exact: true}, true
}

// standsAlone says that a text stands at a place as it is, and is no part of a word.
func standsAlone(s string, at int, text string) bool {
	end := at + len(text)
	return s[at:end] == text && (at == 0 || !isAlnumByte(s[at-1]) || !isAlnumByte(s[at])) &&
		(end == len(s) || !isAlnumByte(s[end]) || !isAlnumByte(s[end-1]))
}

// longest is the length of the longest value.
func (k *known) longest() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.most
}

// find yields the places of known values in a text, none of which overlap.
func (k *known) find(s string) []match { return k.findIn(s, []span{{0, len(s)}}, nil) }

// findIn appends the known values that begin in parts of a text.
func (k *known) findIn(s string, parts []span, found []match) []match {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if len(s) < MinShort || len(k.begin) == 0 {
		return found
	}
	after := 0
	for _, p := range parts {
		found, after = k.findFrom(s, p, after, found)
	}
	return found
}

func (k *known) findFrom(s string, p span, after int, found []match) ([]match, int) {
	var w uint32
	after = max(after, p.from)
	for i := p.from; i < p.to; i++ {
		var mark uint8
		if i, w, mark = k.marks.next(s[:p.to], i, w); mark&markKnown == 0 || i-2 < after {
			continue
		}
		if m, ok := k.at(s, i-2); ok {
			after = m.to
			if s[m.from:m.to] != m.with {
				found = append(found, m)
			}
		}
	}
	return found, after
}

// learnable says whether a value that a name has announced is looked for
// everywhere: it must not be a word that is met for other reasons.
func learnable(v string) bool {
	if len(v) < MinSecret || len(v) > 1<<14 || strings.Contains(v, "://") {
		return false
	}
	var lower, upper, digit, other int
	// A sign before a word, or behind it, makes another use of it: @scope, word!
	for _, c := range []byte(strings.TrimFunc(v, unicode.IsPunct)) {
		switch {
		case c >= 'a' && c <= 'z':
			lower = 1
		case c >= 'A' && c <= 'Z':
			upper = 1
		case c >= '0' && c <= '9':
			digit = 1
		case c == ' ' || c == '_' || c == '-' || c == '.' || c == '/':
		default:
			other = 1
		}
	}
	return lower+upper+digit+other >= 2 && (digit+other > 0 || len(v) >= 20) || digit == 1 && len(v) >= 10 ||
		len(v) >= 24 && !strings.ContainsAny(v, " _-./")
}
