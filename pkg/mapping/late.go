package mapping

import (
	"reflect"
	"strconv"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Compute writes what is worked out of a value.
type Compute func(w *Writer, v event.Value, l *Late)

// Late is what differs from delivery to delivery beside the event itself.
type Late struct {
	Now  time.Time
	ID   string // insert id of the first delivery
	Step int    // number of the delivery
	r    *Resolver
}

// NewLate makes a Late that uses a resolver's memory.
func NewLate(r *Resolver, now time.Time, id string, step int) Late { return Late{now, id, step, r} }

// InsertID is the insert id of the delivery.
func (l *Late) InsertID() string {
	if l.Step == 0 {
		return l.ID
	}
	return l.ID + ":" + strconv.Itoa(l.Step)
}

// Recall is f of a value's text, from memory when that was asked for lately: user
// agents and the like are few, and reading one takes longer than most events
// do. f has to be a pure function at the top level of its package; what it makes must
// not be changed.
func Recall[T any](l *Late, v event.Value, f func(text string) *T) *T {
	text, ok := v.Plain()
	if !ok || len(text) > maxMemo {
		return f(v.Text())
	}
	m, known := l.r.memo.of(reflect.ValueOf(f).Pointer(), text)
	if !known {
		m.made = f(m.text)
	}
	return m.made.(*T)
}

// Compute writes f of v, which may be missing.
func (w *Writer) Compute(v event.Value, l *Late, f Compute) { f(w, v, l) }
