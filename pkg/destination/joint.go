package destination

import (
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/payload"
)

// Destinations of one partner often differ in their settings alone, or in a filter: what their mappings make of an
// event is the same. Lists into which such Senders route an event one after the other can share it.

// MapAlike has Senders share the mappings and triggers that they have in common, before they are used, and returns for
// each of them a number: those with the same number have some in common.
func MapAlike(senders []Sender) []int {
	first := map[string]int{} // number of the sender that had the mapping first
	programs := map[string]*payload.Program{}
	triggers := map[string]trigger{}
	numbers := make([]int, len(senders))
	for i, s := range senders {
		numbers[i] = i
		o, is := s.(*sender)
		if !is {
			continue
		}
		for k := range o.subs {
			for sub := &o.subs[k]; sub != nil; sub = sub.otherwise {
				text := sub.filter.String()
				if _, known := triggers[text]; !known {
					triggers[text] = trigger{sub.rest, len(triggers)}
				}
				sub.trigger = triggers[text]
				key := o.actions[sub.action].mapsBy(sub)
				if programs[key] == nil {
					programs[key], first[key] = sub.program, numbers[i]
					continue
				}
				sub.program = programs[key]
				if numbers[i] == i {
					numbers[i] = first[key]
				}
			}
		}
	}
	return numbers
}

// mapsBy is all that a subscription's program depends on.
func (a *openAction) mapsBy(sub *subscription) string {
	var b strings.Builder
	if len(a.Fields) > 0 {
		fmt.Fprintf(&b, "%p %d", &a.Fields[0], len(a.Fields)) // declared once for all Senders of a destination
	}
	fmt.Fprintf(&b, "\x00%s", sub.written)
	for _, d := range a.places.List() {
		fmt.Fprintf(&b, "\x00%d %q", d.Field, d.Path.Steps())
	}
	return b.String()
}

// trigger is the filter of subscriptions, beyond the type of events, with its number among the different ones.
type trigger struct {
	*filter.Filter
	number int
}

// judged is whether a trigger takes an event.
type judged struct {
	by    *filter.Filter
	turn  uint64
	takes bool
}

// takes says whether the subscription takes the event of this turn.
func (d *Deliveries) takes(s *subscription, ev *event.Event) bool {
	if d.joint == apart || s.trigger.number >= len(d.judged) {
		return s.takes(ev)
	}
	if s.types>>ev.Type()&1 == 0 {
		return false
	}
	j := &d.judged[s.trigger.number]
	if j.turn != d.turn || j.by != s.trigger.Filter {
		*j = judged{s.trigger.Filter, d.turn, s.rest.Match(ev.Root())}
	}
	return j.takes
}

// mapped is what a program made of an event.
type mapped struct {
	by       *payload.Program // nil: nothing
	turn     uint64
	plain    bool
	resolver payload.Resolver
	payload  *payload.Payload
	err      error
}

// mapping runs a program for the event of this turn, unless it has done so already.
func (d *Deliveries) mapping(p *payload.Program, root event.Value) (*payload.Payload, error) {
	var m *mapped
	for i := range d.mapped {
		at := &d.mapped[i]
		if at.turn != d.turn || at.by == nil {
			m = at
			break
		}
		if at.by == p && at.plain == d.body.Plain {
			return at.payload, at.err
		}
	}
	if m == nil {
		m = &d.mapped[len(d.mapped)-1]
	}
	m.by, m.turn, m.plain = nil, d.turn, d.body.Plain // it may panic
	m.resolver.Plain = m.plain
	m.payload, m.err = p.Run(&m.resolver, root)
	m.by = p
	return m.payload, m.err
}

// Join has the list use the scratch memory of another one, until its next Rest. Before each event that is routed into
// the two, Next is called for the other one.
func (d *Deliveries) Join(lead *Deliveries) {
	lead.begin()
	lead.joint, d.joint, d.scratch = leads, follows, lead.scratch
}

// Next says that what is routed from now on into the list, and into those that have joined it, is another event.
func (d *Deliveries) Next() {
	d.begin()
	d.turn++
}

// joint says whose scratch memory a list uses.
type joint uint8

const (
	apart   joint = iota // its own
	leads                // its own, which others use, too
	follows              // another one's
)
