// Package transform is the user's own steps between reading an event and
// offering it to the destinations: the `transform:` list of the config.
//
//	transform:
//	  - drop: 'type = "track" and match(event, "debug *")'
//	  - set: {context.traits.source: backfill}
//	  - remove: [properties.password]
//	  - mask: {paths: [traits.email], key: "${MASK_KEY}"}
//	    when: type = "identify"
//	  - sample: 10%
//
// Steps run in order, each on what the one before it left. Every step may have
// a `when`: a filter that says which events it is for.
//
//	drop: FQL                       the events that match go no further
//	keep: FQL                       only these go on
//	set: {path: value, …}           writes values; a value may be a mapping
//	remove: [path, …]               deletes members
//	rename: {old path: new path}    moves members
//	mask: {paths, as, key, text}    hash (hex HMAC-SHA-256 under key), token (a
//	                                short pseudonym under key) or text (a fixed
//	                                text) in the place of every scalar there
//	sample: 10% | {rate, by, seed}  keeps a share of the users, always the same
//	shift: 24h | {by, fields}       moves the event's times, in the form they have
//	dedupe: true | {by: path}       drops an event whose messageId stands at an
//	                                earlier position of the input already
//
// Paths are those of mappings (properties.products[0].sku), and * stands for
// every member or element.
//
// The one rule: a pipeline is a function of an event and its position, so that
// reading the input again gives the same events again. Nothing here knows the
// time or throws dice. Edits splice: every byte that no step touches stays as
// it was read.
package transform

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/source"
)

// Dropped is what Apply names events that a step drops: their count in the
// run's summary. Which step it was, [Pipeline.Counters] tells.
const Dropped = "transform"

// Step is one step as the user wrote it. Steps come from [Parse].
type Step struct {
	Kind string // drop, keep, set, remove, rename, mask, sample, shift, dedupe
	Line int    // in the file it was read from; 0 when unknown
	when string

	fql    string
	sets   []assignment
	paths  [][]string
	moves  [][2][]string
	mask   masking
	sample sampling
	shift  shifting
	by     string

	written string // the step as JSON without secrets, for the run's identity
}

type assignment struct {
	path  []string
	value mapping.Value
}

type masking struct{ as, key, text string }

type sampling struct {
	rate float64
	seed string
}

type shifting struct{ by time.Duration }

// Pipeline is a compiled list of steps. It is safe for concurrent use, each
// goroutine with a [Worker] of its own. The nil Pipeline has no steps.
type Pipeline struct {
	steps    []*step
	identity string
}

// step is a compiled Step.
type step struct {
	Step
	when    *filter.Filter
	match   *filter.Filter
	values  []*mapping.Mapping // of set; nil for a constant
	by      event.Path
	index   *index
	touched atomic.Int64
	dropped atomic.Int64
	failed  atomic.Int64
}

// Worker is one goroutine's scratch memory. The zero Worker is ready for use.
type Worker struct {
	// Again marks a worker that reads what another has read before, such as a
	// lane that fell behind: what it does is not counted a second time.
	Again bool
	// Trace, unless it is nil, is told what each step makes of an event.
	Trace func(Applied)

	parser   event.Parser
	resolver mapping.Resolver
	bufs     [3][]byte
	before   []byte // what the step began with; not overwritten while it works
	text     []byte
}

// Applied is what a step made of one event. Before and After are valid during the call.
type Applied struct {
	Step          string // its number and kind, such as "2 drop"
	Line          int    // in the file it was read from; 0 when unknown
	When          string // the events that it is for; "": all
	FQL           string // of drop and keep
	Did           string // not for it, passed, changed, dropped or failed
	Why           string
	Before, After []byte // the event; After is nil unless it was changed
}

// trace tells whoever watches what a step has made of an event.
func (w *Worker) trace(i int, s *step, did string, err error, before, after []byte) {
	if w.Trace == nil {
		return
	}
	a := Applied{Step: fmt.Sprintf("%d %s", i+1, s.Kind), Line: s.Line, When: s.Step.when, FQL: s.fql, Did: did,
		Before: before, After: after}
	if err != nil {
		a.Why = err.Error()
	}
	w.Trace(a)
}

// Counter is what one step has done.
type Counter struct {
	Step    string // its number and kind, such as "2 drop"
	Touched int64  // events it changed
	Dropped int64  // events it dropped
	Failed  int64  // events that it could not change: left as they were, or by mask dropped
}

// Compile compiles steps. The error names every step that is wrong, with its
// line.
func Compile(steps []Step) (*Pipeline, error) {
	p := &Pipeline{}
	var errs []error
	h := sha256.New()
	for i := range steps {
		s := &step{Step: steps[i]}
		if err := s.compile(); err != nil {
			errs = append(errs, s.located(err))
		}
		fmt.Fprintf(h, "%d:%s;", len(s.written), s.written)
		p.steps = append(p.steps, s)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(steps) > 0 {
		p.identity = hex.EncodeToString(h.Sum(nil)[:16])
	}
	return p, nil
}

func (s *Step) located(err error) error {
	return &Error{s.Line, s.Kind, err}
}

func (s *step) compile() error {
	var err error
	if s.Step.when != "" {
		if s.when, err = filter.Written(s.Step.when); err != nil {
			return fmt.Errorf("when: %w", err)
		}
	}
	switch s.Kind {
	case "drop", "keep":
		s.match, err = filter.Written(s.fql)
		return err
	case "set":
		for _, a := range s.sets {
			m, err := mapping.Compile(mapping.Object(mapping.M("v", a.value)))
			if err != nil {
				return err
			}
			s.values = append(s.values, m)
		}
	case "sample", "dedupe":
		s.by = event.CompilePath(s.Step.by)
	case "remove", "rename", "mask", "shift":
	default:
		return errNobody
	}
	return nil
}

// errNobody is a kind of steps that can be written, and that nothing does. TestEveryKindIsDone finds it.
var errNobody = errors.New("nobody does such a step")

// Identity is a digest of the steps as written, without secrets: what a run's
// identity takes from them. It is empty when there are none.
func (p *Pipeline) Identity() string {
	if p == nil {
		return ""
	}
	return p.identity
}

// Written is each step as it was written: its kind, and all of it as JSON, where values of the environment may stand.
func (p *Pipeline) Written() (steps []string) {
	if p == nil {
		return nil
	}
	for _, s := range p.steps {
		steps = append(steps, s.Kind+" "+s.written)
	}
	return steps
}

// Empty reports whether there are no steps, so that events need not be
// offered at all.
func (p *Pipeline) Empty() bool { return p == nil || len(p.steps) == 0 }

// Ordered reports whether events must be offered in the order of their
// positions when they are read for the first time, by one goroutine at a time.
// It is so when repeats are dropped: what is a repeat depends on what stands
// before it. Positions that have been offered before may be offered again at
// any time and by anybody.
func (p *Pipeline) Ordered() bool { return p.indexed() != nil }

func (p *Pipeline) indexed() []*step {
	if p == nil {
		return nil
	}
	var steps []*step
	for _, s := range p.steps {
		if s.Kind == "dedupe" {
			steps = append(steps, s)
		}
	}
	return steps
}

// WithoutPositions returns the pipeline without the steps that depend on
// positions, for events that are sent again out of their place (redrive).
func (p *Pipeline) WithoutPositions() *Pipeline {
	if !p.Ordered() {
		return p
	}
	q := &Pipeline{identity: p.identity}
	for _, s := range p.steps {
		if s.Kind != "dedupe" {
			q.steps = append(q.steps, s)
		}
	}
	return q
}

// Counters returns what each step has done so far.
func (p *Pipeline) Counters() []Counter {
	if p == nil {
		return nil
	}
	out := make([]Counter, len(p.steps))
	for i, s := range p.steps {
		out[i] = Counter{fmt.Sprintf("%d %s", i+1, s.Kind), s.touched.Load(), s.dropped.Load(), s.failed.Load()}
	}
	return out
}

// Apply runs an event through the steps. out is the event as the steps left
// it, nil when it is unchanged; it belongs to w until its next Apply, and is
// an event that can be parsed. dropped is [Dropped] when a step dropped the
// event, else "". The event is not changed. at is the event's position, for
// steps that depend on it.
//
// A step that cannot change an event (its mapping fails on it, or the result
// would be larger or deeper than an event may be) leaves it as it is and
// counts it; an event that cannot be masked is dropped instead. An error
// ([ErrIndex], [ErrNotOpen]) is the end of the run: nothing can be decided any more.
func (p *Pipeline) Apply(w *Worker, ev *event.Event, at source.Position) (out []byte, dropped string, err error) {
	if p == nil || len(p.steps) == 0 {
		return nil, "", nil
	}
	raw, root, fresh := ev.Raw(), ev.Root(), true
	w.parser.Reset()
	current := func() (event.Value, error) {
		if !fresh {
			w.parser.Reset()
			e, err := w.parser.Parse(raw)
			if err != nil {
				return event.Value{}, err
			}
			root, fresh = e.Root(), true
		}
		return root, nil
	}
	for i, s := range p.steps {
		if s.when != nil {
			v, err := current()
			if err != nil {
				return nil, "", s.located(err)
			}
			if !s.when.Match(v) {
				w.trace(i, s, "not for it", nil, raw, nil)
				continue
			}
		}
		switch s.Kind {
		case "drop", "keep", "sample", "dedupe":
			v, err := current()
			gone := false
			if err == nil {
				gone, err = s.drops(w, v, at)
			}
			if err != nil {
				return nil, "", s.located(err)
			}
			if gone {
				s.count(w, &s.dropped)
				w.trace(i, s, "dropped", nil, raw, nil)
				return nil, Dropped, nil
			}
			w.trace(i, s, "passed", nil, raw, nil)
			continue
		}
		before := raw
		w.before = before
		next, changed, err := s.edit(w, raw, current)
		if err == nil && changed && (s.Kind == "set" || s.Kind == "rename" || len(next) > len(before)) {
			// It may have become larger or deeper than an event may be.
			raw, fresh = next, false
			_, err = current()
		}
		if err != nil {
			s.count(w, &s.failed)
			if s.Kind == "mask" {
				w.trace(i, s, "dropped", err, before, nil)
				return nil, Dropped, nil
			}
			w.trace(i, s, "failed", err, before, nil)
			raw, fresh = before, false
			continue
		}
		if !changed {
			w.trace(i, s, "passed", nil, before, nil)
			continue
		}
		w.trace(i, s, "changed", nil, before, next)
		s.count(w, &s.touched)
		if &raw[0] != &next[0] {
			fresh = false
		}
		raw, out = next, next
	}
	return out, "", nil
}

// count counts an event, unless it was counted when it came for the first time.
func (s *step) count(w *Worker, n *atomic.Int64) {
	if !w.Again {
		n.Add(1)
	}
}

// drops decides for the steps that let an event pass or not.
func (s *step) drops(w *Worker, v event.Value, at source.Position) (bool, error) {
	switch s.Kind {
	case "drop":
		return s.match.Match(v), nil
	case "keep":
		return !s.match.Match(v), nil
	case "sample":
		return !s.sampled(w, v), nil
	}
	if s.Kind != "dedupe" {
		return false, errNobody
	}
	id := v.Lookup(s.by)
	if id.Nullish() || id.IsEmptyText() {
		return false, nil // nothing to recognise it by
	}
	if s.index == nil {
		return false, ErrNotOpen
	}
	w.text = id.AppendString(w.text[:0])
	first, err := s.index.first(sha256.Sum256(w.text), at)
	if err != nil {
		return false, err
	}
	return first.Compare(at) < 0, nil
}

// sampled says whether an event's user is among those that are kept. The
// share of a user does not depend on anything but the user and the seed.
func (s *step) sampled(w *Worker, v event.Value) bool {
	id := event.Value{}
	if s.Step.by != "" {
		id = v.Lookup(s.by)
	}
	for _, key := range [...]string{"userId", "anonymousId", "messageId"} {
		if s.Step.by == "" && (id.Nullish() || id.IsEmptyText()) {
			id = v.Get(key)
		}
	}
	w.text = append(w.text[:0], s.sample.seed...)
	w.text = append(w.text, 0)
	w.text = id.AppendString(w.text)
	sum := sha256.Sum256(w.text)
	return float64(binary.BigEndian.Uint64(sum[:]))/math.MaxUint64 < s.sample.rate
}

// edit runs a step that changes events.
func (s *step) edit(w *Worker, raw []byte, current func() (event.Value, error)) ([]byte, bool, error) {
	changed := false
	apply := func(e *editor) {
		if out := e.run(w, raw); out != nil {
			raw, changed = out, true
		}
	}
	switch s.Kind {
	case "remove":
		for _, p := range s.paths {
			apply(&editor{path: p, remove: true})
		}
	case "set":
		// All values are read off the event before any is written.
		v, err := current()
		if err != nil {
			return nil, false, err
		}
		values := make([][]byte, len(s.sets))
		w.text = w.text[:0]
		for j := range s.sets {
			from := len(w.text)
			var defined bool
			if w.text, defined, err = s.values[j].Append(&w.resolver, w.text, v); err != nil {
				return nil, false, err
			}
			values[j] = w.text[from:len(w.text):len(w.text)]
			if !defined {
				values[j] = nil
			}
		}
		for j := range s.sets {
			// The value stands in {"v":…}, or there is none.
			if val := values[j]; len(val) > len(`{"v":}`) {
				val = val[len(`{"v":`) : len(val)-1]
				with := func(dst, _ []byte) []byte { return append(dst, val...) }
				apply(&editor{path: s.sets[j].path, create: true, with: with})
			}
		}
	case "rename":
		for _, m := range s.moves {
			val, ok := lookup(raw, m[0])
			if !ok || !settable(raw, m[0], m[1]) {
				continue
			}
			val = append([]byte(nil), val...)
			apply(&editor{path: m[0], remove: true})
			apply(&editor{path: m[1], create: true, with: func(dst, _ []byte) []byte { return append(dst, val...) }})
		}
	case "mask":
		for _, p := range s.paths {
			apply(&editor{path: p, with: s.mask.replace})
		}
	case "shift":
		for _, p := range s.paths {
			apply(&editor{path: p, with: func(dst, old []byte) []byte { return appendShifted(dst, old, s.shift.by) }})
		}
	default:
		return nil, false, errNobody
	}
	return raw, changed, nil
}

// replace masks every scalar of a value; null stays null.
func (m *masking) replace(dst, old []byte) []byte {
	return eachScalar(dst, old, func(dst, scalar []byte) []byte {
		if scalar[0] == 'n' {
			return append(dst, scalar...)
		}
		if m.as == "text" {
			return event.AppendQuoted(dst, m.text)
		}
		text := scalar
		if scalar[0] == '"' {
			text = decode(scalar)
		}
		mac := hmac.New(sha256.New, []byte(m.key))
		mac.Write(text)
		sum := mac.Sum(nil)
		dst = append(dst, '"')
		if m.as == "token" {
			dst = append(dst, "tok_"...)
			sum = sum[:10] // 80 bits: no two of a billion people share one
		}
		dst = hex.AppendEncode(dst, sum)
		return append(dst, '"')
	})
}

// writtenJSON is how a step enters the run's identity.
func writtenJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%#v", v)
	}
	return string(b)
}
