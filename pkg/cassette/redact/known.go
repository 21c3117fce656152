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
	// Name says where the value comes from: an environment variable or a setting.
	Name  string
	Value string
	// Example, if not empty, replaces the value: a replay of the conversation uses it
	// in the same place. Otherwise a token replaces it.
	Example string
}

// MinSecret is the shortest value, in characters, that can be told from ordinary text.
// Values from the environment are searched for even if they have only MinShort
// characters. What is replaced then may have been something else.
const (
	MinSecret = 8
	MinShort  = 6
)

// form is a secret value, and its replacement.
type form struct {
	name, text, with string
	alone            bool // counts only in the same letter case, and with no letter or digit directly beside it
}

// known finds secret values in text: the values given at the start, and those that a
// name has announced since. It is safe for concurrent use.
//
// A text is searched only once, no matter how many values there are: see
// [Redactor.search].
type known struct {
	mu    sync.RWMutex
	marks marks              // first bytes of the values, and of everything else that is searched for
	begin map[uint64]*bucket // by windowOf
	whole map[string]form
	added int // how many values were added
	most  int // length of the longest value

	effort *effort
}

// bucket holds values whose first characters are the same.
type bucket struct {
	// sorted is in alphabetical order, ignoring case, for a binary search. There may be
	// thousands of values, because tokens of one service begin with the same
	// characters.
	sorted []form
	// others hold characters beyond ASCII, where letter case is more complicated. The
	// longest comes first, because one may be a part of another.
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
	// Insert before values that differ only in case: find searches backwards, so that
	// the value added first is found first.
	at, _ := slices.BinarySearchFunc(b.sorted, f.text, func(have form, text string) int {
		order, _ := compareFolded(have.text, text)
		return order
	})
	b.sorted = slices.Insert(b.sorted, at, f)
}

// find returns the longest value with which a text begins and which ok accepts.
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
			if same < len(f.text) { // values before f that begin t cannot be longer than the common part
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

// compareFolded compares two texts without regard to case. It also returns the length
// of their common beginning in bytes.
func compareFolded(a, b string) (order, same int) {
	for ; same < len(a) && same < len(b); same++ {
		if x, y := folded[a[same]], folded[b[same]]; x != y {
			return int(x) - int(y), same
		}
	}
	return len(a) - len(b), same
}

// effort counts the bytes that were searched, for tests. nil: nothing is counted.
type effort struct{ n atomic.Int64 }

func (e *effort) add(n int) {
	if e != nil {
		e.n.Add(int64(n))
	}
}

// newKnown has no values yet. Its marks begin with those of the shapes, so that one
// search finds both.
func newKnown(s *shapes) *known {
	return &known{marks: s.marks, begin: map[uint64]*bucket{}, whole: map[string]form{}}
}

// fold makes a letter lower-case.
func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// folded is a table of fold's results.
var folded = func() (table [256]byte) {
	for c := range table {
		table[c] = fold(byte(c))
	}
	return table
}()

// add makes a value known. If the value is already known, its form stays.
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

// of returns the form of a value. ok is false if the value is not known.
func (k *known) of(value string) (form, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	f, ok := k.whole[value]
	return f, ok
}

// count is the number of known values.
func (k *known) count() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.added
}

// windowOf returns the first MinShort bytes of a text, in lower case.
func windowOf(s string) (w uint64) {
	for i := range MinShort {
		w = w<<8 | uint64(fold(s[i]))
	}
	return w
}

// at returns the known value that begins at an index. The caller holds k.mu.
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

// standsAlone is true if a text is at an index in the same letter case, and is not a
// part of a word.
func standsAlone(s string, at int, text string) bool {
	end := at + len(text)
	return s[at:end] == text && (at == 0 || !IsAlnum(s[at-1]) || !IsAlnum(s[at])) &&
		(end == len(s) || !IsAlnum(s[end]) || !IsAlnum(s[end-1]))
}

// longest is the length of the longest known value.
func (k *known) longest() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.most
}

// find returns all known values in a text. They never overlap.
func (k *known) find(s string) []match { return k.findIn(s, []span{{0, len(s)}}, nil) }

// findIn appends the known values that begin in some parts of a text.
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

// learnable is true if a value that a name has announced can be searched for
// everywhere. It must not be an ordinary word, which would occur for other reasons.
func learnable(v string) bool {
	if len(v) < MinSecret || len(v) > 1<<14 || strings.Contains(v, "://") {
		return false
	}
	var lower, upper, digit, other int
	// Punctuation at either end does not make a word a secret: @scope, word!
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
