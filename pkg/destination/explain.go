package destination

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/payload"
)

// Explainer is a [Sender] that can explain how Route arrives at its deliveries. The Sender of a Spec is one.
type Explainer interface {
	// Explain does not change the event. Its result is for people, and it takes many times as long as Route.
	Explain(ev *event.Event, env *Env) Routing
}

// Routing is how a destination comes to its deliveries of one event.
type Routing struct {
	Names []string // by which an event's integrations object addresses the destination, beside "All"
	// OptedOut is the member of the integrations object that keeps the event out; "": none does.
	OptedOut      string
	Subscriptions []Considered // none when the event is opted out
}

// Considered is a subscription and how it judges one event.
type Considered struct {
	Action    string // slug
	Subscribe string // its trigger; "": everything
	Takes     bool
	Trigger   filter.Term // taken apart
	// Instead is the action whose trigger matched but which lacks something in the event, so that this action
	// takes it. Lacks says what that action misses.
	Instead string
	Lacks   bool
	// The rest is set for a subscription that takes the event.
	Timeless string // why the event has no time that the partner could be told; "": it has, or need not
	Fields   []payload.Explained
	Problems []string // of no field in particular
	Batch    ActionLimits
}

// Explain implements [Explainer].
func (o *sender) Explain(ev *event.Event, env *Env) Routing {
	r := Routing{Names: o.names}
	if o.optedOut(ev) {
		r.OptedOut = o.optsOut(ev)
		return r
	}
	for i := range o.subs {
		s := &o.subs[i]
		a := &o.actions[s.action]
		c := Considered{Action: a.Slug, Subscribe: s.filter.String(), Takes: s.takes(ev),
			Trigger: s.filter.Explain(ev.Root())}
		if c.Takes {
			o.explain(&c, s, ev)
		}
		if c.Takes && s.otherwise != nil {
			var made Deliveries
			made.begin()
			o.fire(s, ev, ev.Root(), idOf(ev, env), env, &made)
			made.Rest()
			c.Lacks = lacks(made.List)
		}
		r.Subscriptions = append(r.Subscriptions, c)
		if c.Lacks {
			other := Considered{Action: o.actions[s.otherwise.action].Slug, Takes: true, Instead: a.Slug}
			o.explain(&other, s.otherwise, ev)
			r.Subscriptions = append(r.Subscriptions, other)
		}
	}
	return r
}

// explain describes what a subscription that takes an event makes of it.
func (o *sender) explain(c *Considered, s *subscription, ev *event.Event) {
	if s.dated {
		c.Timeless = timeless(ev)
	}
	a := &o.actions[s.action]
	c.Fields, c.Problems = s.program.Explain(s.written, ev.Root())
	c.Batch = a.limits
}

// optsOut finds the member of an integrations object that keeps an event out.
func (o *sender) optsOut(ev *event.Event) (found string) {
	for k, m := range ev.Integrations().Members() {
		if m.Kind() == event.Bool && !m.Bool() {
			name := k.Text()
			if !strings.EqualFold(name, "all") {
				for _, own := range o.names {
					if strings.EqualFold(name, own) {
						return name
					}
				}
			} else if found == "" {
				found = name
			}
		}
	}
	return found
}

// term is one of the conditions that must all hold.
type term struct {
	filter *filter.Filter
	fails  string // the message when it does not hold
}

// tellSubscriptions prepares the messages for events that no action subscribes to. They are written once, because
// there may be as many such events as there are events.
func (o *sender) tellSubscriptions() {
	taken := map[event.Type][]*subscription{}
	var types []string
	for t := range event.Alias + 1 {
		for i := range o.subs {
			if s := &o.subs[i]; s.types>>t&1 != 0 {
				taken[t] = append(taken[t], s)
			}
		}
		if t != event.Other && len(taken[t]) > 0 {
			types = append(types, t.String())
		}
	}
	for t := range event.Alias + 1 {
		subs := taken[t]
		switch {
		case len(o.subs) == 0:
			o.lacks[t] = "no action is subscribed to anything: `actions:` is empty"
		case len(subs) == 0:
			o.lacks[t] = fmt.Sprintf("no action is subscribed to events of this type, only to %s", listed(types))
		case len(subs) > 1:
			var asks []string
			for _, s := range subs {
				asks = append(asks, s.rest.String())
			}
			o.lacks[t] = Cut("no action is subscribed to it: none of these holds: "+strings.Join(asks, "; "), 300)
		}
	}
	for i := range o.subs {
		s := &o.subs[i]
		slug := o.actions[s.action].Slug
		for _, f := range s.rest.Conditions() {
			s.terms = append(s.terms, term{f,
				Cut(fmt.Sprintf("no action is subscribed to it: %s asks for %s", slug, f), 300)})
		}
	}
}

// unsubscribed says why no action takes an event: if one subscription is for its type, the condition that fails;
// otherwise what the type alone tells.
func (o *sender) unsubscribed(ev *event.Event) string {
	t := ev.Type()
	if said := o.lacks[t]; said != "" {
		return said
	}
	for i := range o.subs {
		s := &o.subs[i]
		if s.types>>t&1 == 0 {
			continue
		}
		for _, term := range s.terms {
			if !term.filter.Match(ev.Root()) {
				return term.fails
			}
		}
	}
	return "no action is subscribed to it"
}

func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// ErrOpaque says that a destination cannot explain itself, because it is not a partner and takes events as they
// are.
var ErrOpaque = errors.New("this destination takes every event as it is")

// Explain calls s.Explain, or returns [ErrOpaque].
func Explain(s Sender, ev *event.Event, env *Env) (Routing, error) {
	if e, ok := s.(Explainer); ok {
		return e.Explain(ev, env), nil
	}
	return Routing{}, ErrOpaque
}
