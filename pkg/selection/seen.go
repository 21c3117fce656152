package selection

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fanfold/fanfold/pkg/event"
)

// mostTypes bounds how many types are remembered, and typeBytes how much of each.
const (
	mostTypes = 8
	typeBytes = 64
)

// Seen remembers the types of events that are no calls of the spec, as long as no event is one: an archive of
// something else is no archive of events, whatever its records call their type. The zero value is ready; many
// goroutines may use it.
type Seen struct {
	known atomic.Bool
	mu    sync.Mutex
	types []string
}

func (s *Seen) note(ev *event.Event) {
	if s == nil || s.known.Load() {
		return
	}
	if ev.Type() != event.Other {
		s.known.Store(true)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.types) == mostTypes {
		return
	}
	name := ev.TypeValue().Text()
	if name = name[:min(len(name), typeBytes)]; !slices.Contains(s.types, name) {
		s.types = append(s.types, name)
	}
}

// Foreign are the first types seen, when no event was of a type of the spec.
func (s *Seen) Foreign() []string {
	if s == nil || s.known.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.types)
}
