package engine

import (
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
)

// Forgotten are the events of a chunk as they are judged, and again when their index was
// given back and somebody needs them after all.
func Forgotten(s *selection.Selection, c *source.Chunk) (judged, again []string) {
	e := &Engine{gone: new(event.Event)}
	e.c.Selection = *s
	b := &block{chunk: c}
	list := func() (texts []string) {
		for i := range b.items {
			text := "none"
			if ev := b.items[i].Event; ev == e.gone {
				text = "gone"
			} else if ev != nil {
				text = string(ev.Raw())
			}
			texts = append(texts, text)
		}
		return texts
	}
	for i := range c.Records {
		b.items = append(b.items, e.c.Selection.Judge(&b.parser, c, i))
	}
	judged = list()
	e.forget(b, 0, len(b.items))
	if len(b.items) > 0 && b.items[0].Event != e.gone {
		return judged, nil
	}
	b.indexed()
	return judged, list()
}

// Compact has lanes compact what they can whenever due says so. due is called by many
// goroutines.
func (e *Engine) Compact(due func() bool) {
	for _, l := range e.lanes {
		l.memory.policy = compaction{func(int64, int64) bool { return due() }, 0}
	}
}

// Pinned returns how many bytes a lane's blocks pin.
func (e *Engine) Pinned(i int) int64 {
	l := e.lanes[i]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory.pinned
}

// MapTogether has all lanes routed as those are that have mappings in common.
func (e *Engine) MapTogether() {
	for _, g := range e.groups {
		g.maps = 0
	}
}
