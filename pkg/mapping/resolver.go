package mapping

import (
	"bytes"
	"fmt"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// Resolver is the scratch memory of running mappings. The zero Resolver is
// ready for use. It is not safe for concurrent use: one per goroutine, reused
// for every event, so that a steady stream of events allocates nothing.
type Resolver struct {
	// Refs are what the paths of a [Scope] lead to in the event: whoever has bound a mapping to one finds them.
	Refs event.Refs

	arena  []byte   // values computed during a run
	temps  [][]byte // buffers being written, innermost last
	ntemps int
	parser event.Parser // for paths into computed values
	keep   bool         // write undefined as jsonval.Undefined instead of dropping it
	err    error
	merged []entry
}

// Reset prepares for a run of its own.
func (r *Resolver) Reset() {
	if cap(r.arena) > 1<<20 {
		r.arena = nil // one huge event must not pin its size for ever
	}
	r.arena, r.ntemps, r.keep, r.err = r.arena[:0], 0, false, nil
	r.merged = r.merged[:0]
	r.parser.Reset()
}

// Scratch returns an empty slice with room for n bytes that stays valid during the run.
func (r *Resolver) Scratch(n int) []byte {
	if cap(r.arena)-len(r.arena) < n {
		r.arena = make([]byte, 0, max(n, 2*cap(r.arena)))
	}
	at := len(r.arena)
	r.arena = r.arena[:at+n]
	return r.arena[at : at : at+n]
}

// Parse indexes a value that was computed during the run.
func (r *Resolver) Parse(raw []byte) (event.Value, error) { return r.parser.ParseValue(raw) }

// Err is what the run failed of; nil: nothing.
func (r *Resolver) Err() error { return r.err }

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

// Store copies bytes into the arena, where they stay until the run ends.
func (r *Resolver) Store(b []byte) []byte {
	at := len(r.arena)
	r.arena = append(r.arena, b...)
	return r.arena[at:len(r.arena):len(r.arena)]
}

// Result is what a node resolves to. Raw belongs to the event, the program or
// the resolver's arena; Kind Missing is undefined. Event is the indexed value
// where there is one.
type Result struct {
	Raw   []byte
	Kind  event.Kind
	Event event.Value
}

func of(v event.Value) Result { return Result{v.Raw(), v.Kind(), v} }

func (v Result) nullish() bool { return v.Kind <= event.Null }

// value returns v with an index, building one when there is none.
func (v Result) value(r *Resolver) event.Value {
	if v.Event.Exists() || v.Kind == event.Missing {
		return v.Event
	}
	if bytes.IndexByte(v.Raw, jsonval.Undefined) >= 0 {
		buf := jsonval.AppendStripped(r.temp(), v.Raw)
		v.Raw = r.Store(buf)
		r.done(buf)
	}
	e, err := r.parser.ParseValue(v.Raw)
	if err != nil {
		r.fail(fmt.Errorf("mapping: a value that the mapping made: %w", err))
	}
	return e
}

// computed resolves a node by writing it.
func computed(n node, r *Resolver, in event.Value) Result {
	buf, ok := n.write(r, r.temp(), in)
	var v Result
	if ok {
		v.Raw = r.Store(buf)
		v.Kind = jsonval.KindOf(v.Raw)
	}
	r.done(buf)
	return v
}

// node is a compiled mapping.
type node interface {
	// eval resolves the node against a payload.
	eval(r *Resolver, in event.Value) Result
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
	r.Reset()
	if in, err = RootOf(in); err != nil {
		return dst, false, err
	}
	out, defined = m.root.write(r, dst, in)
	if r.err != nil {
		return dst, false, r.err
	}
	return out, defined, nil
}

var emptyObject, _ = event.ParseValue([]byte("{}"))

// RootOf is what a mapping is resolved against: an object, or an empty one where there is nothing. The error is
// [ErrNotObject].
func RootOf(in event.Value) (event.Value, error) {
	switch in.Kind() {
	case event.Object:
		return in, nil
	case event.Missing:
		return emptyObject, nil
	}
	return in, fmt.Errorf("%w, got %s", ErrNotObject, jsonval.KindName(in.Kind()))
}
