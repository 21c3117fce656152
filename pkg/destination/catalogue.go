package destination

import (
	"slices"
	"sync"
)

// Catalogue holds destinations by slug, in an order. Each is made when it is first asked for: most runs have one or
// two, and to declare all of them takes longer than everything else at the start. It may be used concurrently.
type Catalogue []Listed

// Listed is a destination of a Catalogue.
type Listed struct {
	Slug string
	make func() Destination
}

// Lazy lists the destination that newDestination makes. slug has to be its slug.
func Lazy(slug string, newDestination func() Destination) Listed {
	return Listed{slug, sync.OnceValue(newDestination)}
}

// Find returns the destination with a slug.
func (c Catalogue) Find(slug string) (d Destination, ok bool) {
	i := slices.IndexFunc(c, func(l Listed) bool { return l.Slug == slug })
	if i < 0 {
		return Destination{}, false
	}
	return c[i].make(), true
}

// All returns all destinations.
func (c Catalogue) All() []Destination {
	all := make([]Destination, len(c))
	for i, l := range c {
		all[i] = l.make()
	}
	return all
}
