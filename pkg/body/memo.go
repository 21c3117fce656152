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

// texts keeps texts that occur again and again, so that each is made a string once.
type texts struct{ list [128]string }

// of is b as a string.
func (t *texts) of(b []byte) string {
	if len(b) > maxMemo {
		return string(b)
	}
	at := &t.list[xxh3.Hash(b)%uint64(len(t.list))]
	if *at != string(b) {
		*at = string(b)
	}
	return *at
}

// shared is b as a string, for texts that occur again and again.
func (w *writing) shared(b []byte) string { return w.texts.of(b) }
