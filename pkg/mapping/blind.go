package mapping

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// Some nodes put values elsewhere and look at none of them: what they make follows
// from the form of an event and from which texts are empty. Where each value goes is
// found out by letting them do it once with names in the values' places. Flattening
//
//	{"a": {"b": 1, "c": "x"}}        makes   {"a.b": 1, "a.c": "x"}
//	{"a": {"b": "#7", "c": "#8"}}    makes   {"a.b": "#7", "a.c": "#8"}
//
// so that in every event of the form a.b is a copy of its value 7, and a.c of 8.

// isBlind says that a node is one of these, and so are those in it.
func isBlind(n node) bool {
	switch n := n.(type) {
	case *literalNode, *pathNode:
		return true
	case *flattenNode:
		_, is := n.sep.(*literalNode)
		return is && isBlind(n.arg)
	case *applyNode:
		return n.blind && isBlind(n.arg)
	}
	return false
}

// blinded makes a node say that it is blind, as far as its argument is.
func blinded(compile func(arg *tree, stack []string) node) func(arg *tree, stack []string) node {
	return func(arg *tree, stack []string) node {
		n := compile(arg, stack)
		if a, ok := n.(*applyNode); ok {
			a.blind = true
		}
		return n
	}
}

// nameMark begins a name that stands for a value. Where it stands in what is made
// without names nothing is told from it.
const nameMark = "\ue000"

// appendNamed appends a value with names in the places of texts that are not empty,
// numbers, true and false. It reports false when one of them has no source.
func (rec *Recorder) appendNamed(dst []byte, v event.Value) ([]byte, bool) {
	var ok bool
	switch k := v.Kind(); k {
	case event.Object:
		dst = append(dst, '{')
		n := len(dst)
		for k, m := range v.Members() {
			if len(dst) > n {
				dst = append(dst, ',')
			}
			if dst, ok = rec.appendNamed(append(append(dst, k.Raw()...), ':'), m); !ok {
				return dst, false
			}
		}
		return append(dst, '}'), true
	case event.Array:
		dst = append(dst, '[')
		n := len(dst)
		for e := range v.Elements() {
			if len(dst) > n {
				dst = append(dst, ',')
			}
			if dst, ok = rec.appendNamed(dst, e); !ok {
				return dst, false
			}
		}
		return append(dst, ']'), true
	case event.Null:
		return append(dst, "null"...), true
	default:
		at, ok := rec.Trace.Source(v)
		if k == event.String && v.Len() == 0 {
			return append(dst, `""`...), ok
		}
		dst = strconv.AppendInt(append(dst, `"`+nameMark...), int64(at), 10)
		return append(dst, '"'), ok && at >= 0
	}
}

// noteEmpty notes of all texts in a value whether they are empty.
func noteEmpty(v event.Value) {
	v.IsEmptyText()
	for _, m := range v.Members() {
		noteEmpty(m)
	}
	for e := range v.Elements() {
		noteEmpty(e)
	}
}

// blind makes a member of blind nodes a field of the payload, and notes where the
// values in it come from. It reports false, with nothing made, when that cannot be
// told.
func (p *Program) blind(r *Resolver, m *member) bool {
	rec, s := r.rec, &r.now
	if m.s == nil || !m.bound || m.tested || !m.s.asIs[event.Object] || !isBlind(m.n) {
		return false
	}
	rec.Trace.Pause()
	made, parts, ok := p.named(r, m)
	rec.Trace.Resume()
	if !ok {
		return false
	}
	for _, slot := range m.slots {
		noteEmpty(r.slots[slot])
	}
	if made != nil {
		start := len(s.out)
		s.out = append(s.out, made...)
		s.made(m.s, start)
		rec.parts[uint16(m.s.number)] = parts
	}
	return true
}

// named runs a member's node with the event's values and with names, and compares.
func (p *Program) named(r *Resolver, m *member) (made []byte, parts []int32, ok bool) {
	real := m.n.eval(r, event.Value{})
	if r.err != nil || real.kind != event.Missing && real.kind != event.Object || bytes.Contains(real.raw, []byte(nameMark)) {
		return nil, nil, false
	}
	values := make([]event.Value, len(m.slots))
	for i, slot := range m.slots {
		values[i] = r.slots[slot]
	}
	defer func() {
		for i, slot := range m.slots {
			r.slots[slot] = values[i]
		}
	}()
	var parser event.Parser
	for i, slot := range m.slots {
		if !values[i].Exists() {
			continue
		}
		text, ok := r.rec.appendNamed(nil, values[i])
		if !ok {
			return nil, nil, false
		}
		v, err := parser.ParseValue(text)
		if err != nil {
			return nil, nil, false
		}
		r.slots[slot] = v
	}
	names := m.n.eval(r, event.Value{})
	switch {
	case r.err != nil:
		r.err = nil
		return nil, nil, false
	case names.kind != real.kind:
		return nil, nil, false
	case real.kind == event.Missing:
		return nil, nil, true
	}
	a, err := parser.ParseValue(bytes.Clone(names.raw))
	if err != nil {
		return nil, nil, false
	}
	b, err := parser.ParseValue(bytes.Clone(real.raw))
	if err != nil {
		return nil, nil, false
	}
	if made, parts, ok = pair(nil, nil, a, b); !ok || !bytes.Equal(made, real.raw) {
		return nil, nil, false
	}
	return made, parts, true
}

// pair appends a value as a recipe writes it, and what the values in it are copied
// from by the names in their places.
func pair(dst []byte, parts []int32, names, v event.Value) ([]byte, []int32, bool) {
	k := v.Kind()
	if k < event.Array {
		source := int32(refNone)
		if name, is := strings.CutPrefix(names.Text(), nameMark); is {
			at, err := strconv.Atoi(name)
			if err != nil {
				return dst, parts, false
			}
			source = int32(at)
		} else if !bytes.Equal(names.Raw(), v.Raw()) {
			return dst, parts, false
		}
		return append(dst, v.Raw()...), append(parts, source), true
	}
	if names.Kind() != k || names.Len() != v.Len() {
		return dst, parts, false
	}
	parts = append(parts, refNone)
	var ok bool
	if k == event.Array {
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, parts, ok = pair(dst, parts, names.Index(i), v.Index(i)); !ok {
				return dst, parts, false
			}
		}
		return append(dst, ']'), parts, true
	}
	var keys, places []event.Value
	for k, m := range names.Members() {
		keys, places = append(keys, k), append(places, m)
	}
	dst = append(dst, '{')
	i := 0
	for k, m := range v.Members() {
		if !bytes.Equal(k.Raw(), keys[i].Raw()) {
			return dst, parts, false
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, k.Raw()...), ':')
		if dst, parts, ok = pair(dst, parts, places[i], m); !ok {
			return dst, parts, false
		}
		i++
	}
	return append(dst, '}'), parts, true
}
