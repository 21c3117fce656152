package body

import "github.com/zeebo/xxh3"

// memo remembers the results of functions for texts that occur again and again.
type memo struct {
	list [64]memoized
	last *memoized // the last one asked for: usually several things are read from the same text
}

// maxMemo is the length up to which a text is remembered.
const maxMemo = 1024

type memoized struct {
	by   uintptr // which function
	text string
	made any
}

// of returns the place for a function's result for a text. If known is false, the function has to be called.
func (m *memo) of(by uintptr, text []byte) (at *memoized, known bool) {
	if at = m.last; at != nil && at.by == by && at.text == string(text) {
		return at, true
	}
	at = &m.list[(xxh3.Hash(text)^uint64(by))%uint64(len(m.list))]
	m.last = at
	if at.by == by && at.text == string(text) {
		return at, true
	}
	*at = memoized{by: by, text: string(text)}
	return at, false
}
