package mapping

import (
	"bytes"
	"fmt"

	"github.com/fanfold/fanfold/pkg/event"
)

// Resolver is the scratch memory of running mappings. The zero Resolver is
// ready for use. It is not safe for concurrent use: one per goroutine, reused
// for every event, so that a steady stream of events allocates nothing.
type Resolver struct {
	// Plain has programs run member by member, without the ways that are shorter and what
	// was found while the event was indexed: to compare with, and to fall back to.
	Plain bool

	arena  []byte   // values computed during a run
	temps  [][]byte // buffers being written, innermost last
	ntemps int
	parser event.Parser // for paths into computed values
	writer Writer       // for Go functions
	keep   bool         // write undefined as undefinedMark instead of dropping it
	err    error
	merged []entry
	trail  []byte     // the place in the payload of what is being coerced, for problems
	refs   event.Refs // what a Program's paths lead to, see scope
	now    payloadScratch
}

// reset prepares for a run of its own.
func (r *Resolver) reset() {
	if cap(r.arena) > 1<<20 {
		r.arena = nil // one huge event must not pin its size for ever
	}
	r.arena, r.ntemps, r.keep, r.err = r.arena[:0], 0, false, nil
	r.merged = r.merged[:0]
	r.parser.Reset()
}

// Scratch returns an empty slice with room for n bytes that stays valid
// during the run, for Go functions.
func (r *Resolver) Scratch(n int) []byte {
	if cap(r.arena)-len(r.arena) < n {
		r.arena = make([]byte, 0, max(n, 2*cap(r.arena)))
	}
	at := len(r.arena)
	r.arena = r.arena[:at+n]
	return r.arena[at : at : at+n]
}

// fail ends the run with an error. The first one counts.
func (r *Resolver) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *Resolver) failf(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("mapping: "+format, args...)
	}
}

// temp hands out a buffer; done takes it back. They nest.
func (r *Resolver) temp() []byte {
	if r.ntemps == len(r.temps) {
		r.temps = append(r.temps, nil)
	}
	r.ntemps++
	return r.temps[r.ntemps-1][:0]
}

func (r *Resolver) done(buf []byte) {
	r.ntemps--
	if cap(buf) <= 1<<20 {
		r.temps[r.ntemps] = buf
	}
}

// store copies bytes into the arena, where they stay until the run ends.
func (r *Resolver) store(b []byte) []byte {
	at := len(r.arena)
	r.arena = append(r.arena, b...)
	return r.arena[at:len(r.arena):len(r.arena)]
}

// result is what a node resolves to. raw belongs to the event, the program or
// the resolver's arena; kind Missing is undefined. ev is the indexed value
// where there is one.
type result struct {
	raw  []byte
	kind event.Kind
	ev   event.Value
}

func of(v event.Value) result { return result{v.Raw(), v.Kind(), v} }

func (v result) nullish() bool { return v.kind <= event.Null }

// value returns v with an index, building one when there is none.
func (v result) value(r *Resolver) event.Value {
	if v.ev.Exists() || v.kind == event.Missing {
		return v.ev
	}
	if bytes.IndexByte(v.raw, undefinedMark) >= 0 {
		buf := appendStripped(r.temp(), v.raw)
		v.raw = r.store(buf)
		r.done(buf)
	}
	e, err := r.parser.ParseValue(v.raw)
	if err != nil {
		r.fail(fmt.Errorf("mapping: a value that the mapping made: %w", err))
	}
	return e
}

// computed resolves a node by writing it.
func computed(n node, r *Resolver, in event.Value) result {
	buf, ok := n.write(r, r.temp(), in)
	var v result
	if ok {
		v.raw = r.store(buf)
		v.kind = kindOf(v.raw)
	}
	r.done(buf)
	return v
}

// node is a compiled mapping.
type node interface {
	// eval resolves the node against a payload.
	eval(r *Resolver, in event.Value) result
	// write appends the resolved JSON to dst. It reports false, with nothing
	// appended, when the value is undefined.
	write(r *Resolver, dst []byte, in event.Value) ([]byte, bool)
}

// Mapping is a compiled mapping. It is immutable and safe for concurrent use.
type Mapping struct{ root node }

// Append resolves the mapping against an event and appends the result to dst.
// defined is false, with nothing appended, when the mapping as a whole is
// undefined. in must be a JSON object, or Missing for an empty one; it is not
// changed. The error says what a directive could not do at run time.
func (m *Mapping) Append(r *Resolver, dst []byte, in event.Value) (out []byte, defined bool, err error) {
	r.reset()
	if in, err = payloadOf(in); err != nil {
		return dst, false, err
	}
	out, defined = m.root.write(r, dst, in)
	if r.err != nil {
		return dst, false, r.err
	}
	return out, defined, nil
}

var emptyObject, _ = event.ParseValue([]byte("{}"))

func payloadOf(in event.Value) (event.Value, error) {
	switch in.Kind() {
	case event.Object:
		return in, nil
	case event.Missing:
		return emptyObject, nil
	}
	return in, fmt.Errorf("%w, got %s", ErrNotObject, kindName(in.Kind()))
}
