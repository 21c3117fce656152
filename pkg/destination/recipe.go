package destination

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Most events of a source have one of a few forms, and what becomes of an event
// follows from its form and a few of its values: which filters match, which fields
// there are, what an Item writes and in what order. So the first event of a form
// is routed with a trace (see [event.Trace]) that notes every value that is looked
// at, and a recorder ([mapping.Recorder]) that notes where every byte written came
// from. What comes of it is a recipe: under these conditions, write this. For the
// events that follow the conditions are checked and the recipe is played, which
// takes a quarter to two fifths of the time (see BenchmarkRoute). An event that no recipe is good
// for is routed as if there were none.
//
// Nothing has to be declared for it, as long as an Item is pure: a function of its
// input and the settings. Code that reads a value in a way that cannot be foreseen
// makes a condition of its text: right, but of little use if the values are many.
// [Output.Compute] is for those. The insert id and the time, read outside of it, leave
// an event without a recipe.

// recipe is how an event was routed.
type recipe struct {
	conditions event.Conditions
	steps      []step
	size       int // bytes of memory
}

// step is what one subscription made of it.
type step struct {
	program *mapping.Program // nil: nothing was mapped
	made    []mapping.Made
	further string // what stands behind the event's insert id
	window  Window
	time    mapping.Origin // of what the window looks at
	field   bool           // it is a field of the payload
	dishes  []dish
}

// dish is one delivery.
type dish struct {
	text    mapping.Recipe
	encode  func([]byte) []byte // nil: the text is the item
	written bool                // else it was settled
	max     int                 // bytes of an item
	sure    int                 // bytes that an item may have with no part too large; 0: no matter
	del     Delivery
}

// Bounds of what is remembered.
const (
	maxRecipes     = 16        // of a form
	maxRecordings  = 6         // of a form, to begin with
	worth          = 64        // events played pay for a further one, which takes as long as some dozen do
	maxRecipeBytes = 8 << 20   // of a destination; then none is added, and with a further form all are forgotten
	maxPlayed      = 256 << 10 // bytes of an event: larger ones are few
	playEvery      = 16        // how many events stand for one that is counted
)

// recipes are those of one sender.
type recipes struct {
	byForm sync.Map // *event.Form to *ways
	size   atomic.Int64
}

// ways are the recipes for a form.
type ways struct {
	known atomic.Pointer[[]*recipe]
	hits  atomic.Int64
	mu    sync.Mutex // of adding
	tries int
}

// of returns what is remembered of an event's form; nil: the event is routed
// without.
func (rs *recipes) of(ev *event.Event) *ways {
	form := ev.Form()
	if form == nil || ev.Root().Size() > maxPlayed {
		return nil
	}
	if w, ok := rs.byForm.Load(form); ok {
		return w.(*ways)
	}
	if rs.size.Add(int64(unsafe.Sizeof(ways{}))+64+int64(form.Size())) > maxRecipeBytes {
		rs.byForm.Clear()
		rs.size.Store(0)
	}
	w, _ := rs.byForm.LoadOrStore(form, new(ways))
	return w.(*ways)
}

// record says whether the next event should be routed with a recording: not when
// those until now were of little use.
func (w *ways) record(debug func(string)) *recording {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known := w.known.Load(); known != nil && len(*known) >= maxRecipes {
		return nil
	}
	if w.tries++; w.tries > maxRecordings && w.hits.Load() < int64(w.tries)*worth {
		if w.tries == 1<<10 {
			w.known.Store(nil) // to look at them takes longer than they save
		}
		return nil
	}
	r := &recording{trace: event.Trace{Debug: debug}}
	r.recorder.Trace = &r.trace
	return r
}

// keep adds a recipe, if it is one.
func (rs *recipes) keep(w *ways, r *recipe, ev *event.Event) {
	if r == nil || rs.size.Load()+int64(r.size) > maxRecipeBytes {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var known []*recipe
	if p := w.known.Load(); p != nil {
		known = *p
	}
	for _, k := range known {
		if k.conditions.Hold(ev) {
			return // another goroutine was faster
		}
	}
	rs.size.Add(int64(r.size))
	known = append(append(make([]*recipe, 0, len(known)+1), known...), r)
	w.known.Store(&known)
}

// recording is a recipe in the making.
type recording struct {
	trace    event.Trace
	recorder mapping.Recorder
	steps    []step
	encoded  mapping.Recipe // of what an Item has encoded
	f        func([]byte) []byte
	sure     int // see dish
}

// fire begins with a subscription.
func (r *recording) fire(p *mapping.Program, further string) {
	r.steps = append(r.steps, step{program: p, further: further})
}

func (r *recording) step() *step { return &r.steps[len(r.steps)-1] }

func (r *recording) window(field event.Value, win Window) {
	s := r.step()
	s.window, s.field = win, field.Exists()
	var ok bool
	if s.time, ok = r.recorder.Origin(field); !ok {
		r.trace.Void()
	}
}

// encode keeps how a text was written. What it becomes is not recorded.
func (r *recording) encode(o *Output, f func([]byte) []byte) {
	r.encoded, r.f = r.recorder.Cut(&o.Writer), f
	o.Writer.Record(nil)
}

// within notes that a part of the item has at most so many bytes. It has when the
// item has.
func (r *recording) within(bytes int) {
	if r.sure == 0 || bytes < r.sure {
		r.sure = bytes
	}
}

func (r *recording) emit(o *Output, del Delivery) {
	s := r.step()
	s.made = r.recorder.Made()
	d := dish{text: r.encoded, encode: r.f, written: true, max: o.max, sure: r.sure, del: del}
	r.sure = 0
	if d.encode == nil {
		d.text = r.recorder.Cut(&o.Writer)
	} else {
		r.f = nil
		o.Writer.Record(&r.recorder)
	}
	s.dishes = append(s.dishes, d)
}

func (r *recording) settle(del Delivery) {
	s := r.step()
	r.sure = 0
	if r.f != nil { // what was encoded is not written after all
		r.f = nil
		r.trace.Void()
	}
	s.made = r.recorder.Made()
	s.dishes = append(s.dishes, dish{del: del})
}

// done returns the recipe; nil: there is none.
func (r *recording) done() *recipe {
	if r.trace.IsVoid() {
		return nil
	}
	out := &recipe{conditions: r.trace.Conditions(), steps: r.steps, size: r.trace.Size()}
	for i := range out.steps {
		s := &out.steps[i]
		out.size += int(unsafe.Sizeof(*s))
		for k := range s.dishes {
			out.size += int(unsafe.Sizeof(s.dishes[k])) + s.dishes[k].text.Size()
		}
	}
	return out
}

// play routes an event by a recipe. It reports false, with nothing done, when none
// is good for it.
func (o *sender) play(w *ways, ev *event.Event, env *Env, out *Deliveries) bool {
	known := w.known.Load()
	if known == nil {
		return false
	}
	for _, r := range *known {
		if r.conditions.Hold(ev) {
			if !r.play(ev, env, out) {
				return false
			}
			if out.Played++; out.Played%playEvery == 0 {
				w.hits.Add(playEvery)
			}
			return true
		}
	}
	return false
}

func (r *recipe) play(ev *event.Event, env *Env, out *Deliveries) bool {
	deliveries, size := len(out.List), len(out.arena)
	undo := func() {
		out.Cut(deliveries)
		out.arena = out.arena[:size]
	}
	id := ""
	w := &out.out.Writer
	for i := range r.steps {
		s := &r.steps[i]
		if s.program != nil {
			if i == 0 || id == "" {
				id = idOf(ev, env)
			}
			if !s.takes(ev, env, out) {
				undo()
				return false
			}
		}
		own := id
		if s.further != "" {
			own += s.further
		}
		for k := range s.dishes {
			d := &s.dishes[k]
			late := &out.out.late
			*late = mapping.NewLate(&out.resolver, env.Now, own, int(d.del.Step))
			del := d.del
			if s.program != nil {
				del.InsertID = late.InsertID()
			}
			if !d.written {
				out.List = append(out.List, del)
				continue
			}
			w.Reset(out.arena)
			var ok bool
			out.marks, ok = d.text.Play(w, ev, &out.resolver, late, out.marks[:0])
			if _, n := w.Written(); !ok || d.sure > 0 && n > d.sure {
				undo()
				return false
			}
			if d.encode != nil {
				out.marks = out.marks[:0]
				buf, n := w.Written()
				text := d.encode(buf[len(buf)-n:])
				w.Truncate(0)
				w.Raw(text)
			}
			for _, at := range out.marks {
				out.Stamps = append(out.Stamps, Stamp{int32(len(out.List)), int32(at)})
			}
			buf, n := w.Written()
			out.emit(del, buf, n, d.max)
		}
	}
	return true
}

// takes makes what the step needs of the payload, and says whether the step is as
// it was recorded.
func (s *step) takes(ev *event.Event, env *Env, out *Deliveries) bool {
	if len(s.made) > 0 && !s.program.Make(&out.resolver, ev.Root(), s.made) {
		return false
	}
	if s.window.Past > 0 || s.window.Future > 0 {
		var field event.Value
		if s.field {
			field = s.time.Value(ev, &out.resolver)
		}
		if _, outside := outside(s.window, ev, field, env); outside {
			return false
		}
	}
	return true
}
