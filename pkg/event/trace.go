package event

import (
	"bytes"
	"unsafe"
)

// Trace notes what somebody who reads an event learns from it beyond its [Form]:
// each note is a condition under which another event of the same form would
// have been read as the same. Whatever was done with what was read then holds
// for that event, too.
//
// A trace is of one event and one goroutine. Every way to a value's text leads
// past it; keys, kinds and numbers of elements are the form's.
type Trace struct {
	doc    *doc // of the event
	notes  []note
	paused int
	void   bool

	// Debug, when it is set, is called where the trace becomes void ("void"), and
	// where a text is read ("text"), which holds for few other events.
	Debug func(what string)
}

// note is one condition.
type note struct {
	at   int32 // of the event's values
	what noteKind
	yes  bool   // of is and test: the answer
	text []byte // of is: compared with; of text: what it was, escapes and all
	f    func(Value) bool
}

type noteKind uint8

const (
	noteText  noteKind = iota // the text is the same, to the byte
	noteIs                    // whether the decoded text is one given
	noteEmpty                 // of strings: whether it is ""
	noteTest                  // what a function says
)

// maxNotes bounds a trace: whoever reads so much hardly does the same again.
const (
	maxNotes = 256
	maxNoted = 1024 // bytes of one text
)

// Traced returns an event like e, whose reading is noted in t.
func (e *Event) Traced(t *Trace) *Event {
	c := *e
	c.doc.trace, t.doc = t, &c.doc
	return &c
}

// Pause stops noting until Resume; the pairs nest. It is for those who read
// what they answer for otherwise.
func (t *Trace) Pause() { t.paused++ }

// Resume goes on noting.
func (t *Trace) Resume() { t.paused-- }

// Void says that what is done depends on more than can be noted.
func (t *Trace) Void() {
	t.void = true
	if t.Debug != nil {
		t.Debug("void")
	}
}

// IsVoid says that the trace is of no use.
func (t *Trace) IsVoid() bool { return t.void }

func (t *Trace) add(v Value, n note) {
	if t.paused > 0 || t.void || v.at < 0 {
		return
	}
	at, ok := v.source()
	if at == -1 && v.kind < Array {
		return // a constant among values of the event
	}
	if !ok || len(t.notes) >= maxNotes || len(n.text) > maxNoted {
		t.Void()
		return
	}
	n.at = at
	for i := range t.notes {
		m := &t.notes[i]
		if m.at == n.at && m.what == n.what && n.f == nil && bytes.Equal(m.text, n.text) {
			return
		}
	}
	if t.Debug != nil && n.what == noteText {
		t.Debug("text")
	}
	n.text = bytes.Clone(n.text)
	t.notes = append(t.notes, n)
}

// source is the value of the event that v is, or was copied from.
func (v Value) source() (at int32, ok bool) {
	if v.doc.refs == nil {
		return v.at, true
	}
	if int(v.at) >= len(v.doc.refs) {
		return 0, false
	}
	at = v.doc.refs[v.at]
	return at, at >= 0
}

func (t *Trace) text(v Value) {
	if v.kind != Missing {
		t.add(v, note{what: noteText, text: v.raw()})
	}
}

func (t *Trace) is(v Value, s string) bool {
	yes := v.isText(s)
	if s == "" {
		t.add(v, note{what: noteEmpty, yes: yes})
	} else {
		t.add(v, note{what: noteIs, yes: yes, text: []byte(s)})
	}
	return yes
}

func (t *Trace) test(v Value, f func(Value) bool) bool {
	t.Pause()
	yes := f(v)
	t.Resume()
	t.add(v, note{what: noteTest, yes: yes, f: f})
	return yes
}

// Conditions are what a trace has noted. They are immutable and safe for
// concurrent use.
type Conditions struct {
	notes []note
	full  []int32 // strings that are not "": most notes are of this kind, and hold nearly always
}

// Conditions returns what was noted.
func (t *Trace) Conditions() (c Conditions) {
	for _, n := range t.notes {
		if n.what == noteEmpty && !n.yes {
			c.full = append(c.full, n.at)
		} else {
			c.notes = append(c.notes, n)
		}
	}
	return c
}

// Hold says whether an event of the traced one's form would have been read as
// the same.
func (c *Conditions) Hold(e *Event) bool {
	for i := range c.notes {
		n := &c.notes[i]
		p := e.doc.places[n.at]
		switch n.what {
		case noteText:
			if string(e.doc.raw[p.start:p.stop()]) != string(n.text) {
				return false
			}
		case noteEmpty:
			if (p.stop()-p.start == 2) != n.yes {
				return false
			}
		case noteIs:
			if e.Value(n.at).isText(string(n.text)) != n.yes {
				return false
			}
		default:
			if n.f(e.Value(n.at)) != n.yes {
				return false
			}
		}
	}
	if e.doc.empty {
		for _, at := range c.full {
			if p := e.doc.places[at]; p.stop()-p.start == 2 {
				return false
			}
		}
	}
	return true
}

// Source returns the value of the traced event that v is or was copied from: its
// number, or what [Trace.CopiedFrom] was told, -1 for what was put together. Not ok:
// v is none of it.
func (t *Trace) Source(v Value) (at int32, ok bool) {
	if v.kind == Missing || v.doc.trace != t || v.at < 0 {
		return 0, false
	}
	if v.doc.refs == nil {
		return v.at, true
	}
	if int(v.at) >= len(v.doc.refs) { // in what was made as a whole: see CopiedFrom
		return -1, true
	}
	return v.doc.refs[v.at], true
}

// Sources appends the sources of a value and of all values in it, in their order;
// -1 for those that have none.
func (t *Trace) Sources(dst []int32, v Value) []int32 {
	end := int32(v.node().next)
	for at := v.at; at < end; at++ {
		source, ok := t.Source(Value{doc: v.doc, at: at, kind: v.kind})
		if !ok {
			source = -1
		}
		dst = append(dst, source)
	}
	return dst
}

// CopiedFrom says what a value that was made of the event, and the values in it,
// were copied from, one after the other; numbers below 0 are the caller's. To
// read the text of those voids the trace.
func (t *Trace) CopiedFrom(v Value, sources []int32) {
	v.doc.trace, v.doc.refs = t, sources
}

// Raw is v.Raw(), unnoticed: for who copies it and notes where it came from.
func (t *Trace) Raw(v Value) []byte {
	if v.kind == Missing {
		return nil
	}
	return v.raw()
}

// Follows says that in every event of the form exactly between stands from the end
// of one value to the beginning of another; both are sources.
func (t *Trace) Follows(a, b int32, between []byte) bool {
	d := t.doc
	return uint32(b) == d.form.nodes[a].next && string(d.raw[d.places[a].stop():d.places[b].start]) == string(between)
}

// Texts are the texts of an event's values by their numbers, for who copies many.
type Texts struct {
	raw    []byte
	places []place
}

// Texts returns those of the event.
func (e *Event) Texts() Texts { return Texts{e.doc.raw, e.doc.places} }

// Append appends the text from the beginning of one value to the end of another,
// both of numbers that were sources.
func (t Texts) Append(dst []byte, from, to int32) []byte {
	return append(dst, t.raw[t.places[from].start:t.places[to].stop()]...)
}

// Value returns the event's value of a number that was a source.
func (e *Event) Value(at int32) Value {
	return Value{doc: &e.doc, at: at, kind: e.doc.form.nodes[at].kind()}
}

// Size is about how many bytes of memory the notes take.
func (t *Trace) Size() int {
	n := cap(t.notes) * int(unsafe.Sizeof(note{}))
	for i := range t.notes {
		n += len(t.notes[i].text)
	}
	return n
}
