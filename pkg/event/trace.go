package event

import "bytes"

// Trace notes what somebody who reads an event learns from it beyond its [Form]:
// each note is a condition under which another event of the same form would
// have been read as the same. Whatever was done with what was read then holds
// for that event, too.
//
// A trace is of one event and one goroutine. Every way to a value's text leads
// past it; keys, kinds and numbers of elements are the form's.
type Trace struct {
	notes  []note
	paused int
	void   bool
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
	noteEmpty                 // whether the text is empty
	noteTest                  // what a function says
)

// maxNotes bounds a trace: whoever reads so much hardly does the same again.
const maxNotes = 256

// Traced returns an event like e, whose reading is noted in t.
func (e *Event) Traced(t *Trace) *Event {
	c := *e
	c.doc.trace = t
	return &c
}

// Pause stops noting until Resume; the pairs nest. It is for those who read
// what they answer for otherwise.
func (t *Trace) Pause() { t.paused++ }

// Resume goes on noting.
func (t *Trace) Resume() { t.paused-- }

// Void says that what is done depends on more than can be noted.
func (t *Trace) Void() { t.void = true }

// IsVoid says that the trace is of no use.
func (t *Trace) IsVoid() bool { return t.void }

func (t *Trace) add(v Value, n note) {
	if t.paused > 0 || v.at < 0 {
		return
	}
	at, ok := v.source()
	if !ok || len(t.notes) >= maxNotes {
		t.void = true
		return
	}
	n.at = at
	for i := range t.notes {
		m := &t.notes[i]
		if m.at == n.at && m.what == n.what && n.f == nil && bytes.Equal(m.text, n.text) {
			return
		}
	}
	n.text = bytes.Clone(n.text)
	t.notes = append(t.notes, n)
}

// source is the value of the event that v is, or was copied from.
func (v Value) source() (at int32, ok bool) {
	if v.doc.refs != nil {
		at = v.doc.refs[v.at]
		return at, at >= 0
	}
	return v.at, true
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
type Conditions struct{ notes []note }

// Conditions returns what was noted.
func (t *Trace) Conditions() Conditions { return Conditions{t.notes} }

// Hold says whether an event of the traced one's form would have been read as
// the same.
func (c Conditions) Hold(e *Event) bool {
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
			if e.at(n.at).isText(string(n.text)) != n.yes {
				return false
			}
		default:
			if n.f(e.at(n.at)) != n.yes {
				return false
			}
		}
	}
	return true
}

func (e *Event) at(i int32) Value {
	return Value{doc: &e.doc, at: i, kind: e.doc.form.nodes[i].kind()}
}
