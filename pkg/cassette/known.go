package cassette

import (
	"slices"
	"strings"
	"sync"
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
type form struct{ name, text, with string }

// known finds secret values in text: those of the run, and those that a name has
// announced so far. It is safe for concurrent use.
//
// A text is gone through once, however many values there are: the letters' case is
// folded, and the value of each window of MinShort bytes looked up.
type known struct {
	mu    sync.RWMutex
	may   [1 << 12]uint64 // a bit for each window that a value begins with
	begin map[uint64][]form
	whole map[string]form
	added int // so often
}

func newKnown() *known { return &known{begin: map[uint64][]form{}, whole: map[string]form{}} }

const window = 1<<(8*MinShort) - 1

func spread(w uint64) (word, bit uint64) {
	h := w * 0x9e3779b97f4a7c15
	return h >> 52, h >> 46 & 63
}

// fold is a lower-case letter for an upper-case one.
func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

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
	k.whole[f.text] = f
	var w uint64
	for i := range MinShort {
		w = w<<8 | uint64(fold(f.text[i]))
	}
	word, bit := spread(w)
	k.may[word] |= 1 << bit
	// The longest first: a secret may be part of another.
	list := append(k.begin[w], f)
	slices.SortStableFunc(list, func(a, b form) int { return len(b.text) - len(a.text) })
	k.begin[w] = list
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

// find yields the places of known values in a text, none of which overlap.
func (k *known) find(s string) (found []match) {
	if len(s) < MinShort {
		return nil
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if len(k.begin) == 0 {
		return nil
	}
	var w uint64
	next := 0
	for i := range len(s) {
		w = (w<<8 | uint64(fold(s[i]))) & window
		at := i - MinShort + 1
		if word, bit := spread(w); at < next || k.may[word]>>bit&1 == 0 {
			continue
		}
		for _, f := range k.begin[w] {
			if len(f.text) <= len(s)-at && strings.EqualFold(s[at:at+len(f.text)], f.text) {
				if f.text != f.with {
					found = append(found, match{from: at, to: at + len(f.text), kind: "the value of " + f.name, with: f.with,
						exact: true})
				}
				next = at + len(f.text)
				break
			}
		}
	}
	return found
}

// learnable says whether a value that a name has announced is looked for
// everywhere: it must not be a word that is met for other reasons.
func learnable(v string) bool {
	if len(v) < MinSecret || len(v) > 1<<14 || strings.Contains(v, "://") {
		return false
	}
	var lower, upper, digit, other int
	for i := range len(v) {
		switch c := v[i]; {
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
