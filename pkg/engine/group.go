package engine

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/fanfold/fanfold/pkg/destination"
)

// Lanes that make the same deliveries of every event share the result of routing: these are copies of one
// destination for other accounts, projects, regions or addresses. Sixteen of them cost 6 times the CPU of one, and
// 10 times when each routes for itself. Each lane still has its own notes, batches and verdicts. Where an item
// contains a stamp (the token of a project), each lane has its own copy of the item, with its own stamp.

// group is a set of lanes that make the same deliveries of every event, or a single lane.
type group struct {
	lanes []*lane
	maps  int // groups with the same number have mappings in common; they stand side by side in Engine.groups
}

type sharedRoute struct {
	by *group
	r  *routed
}

// share returns the shared routing result of a block for the group, and adds a holder. mine says that the caller
// is the first lane, which has to do the routing.
func (b *block) share(by *group) (r *routed, mine bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.shared {
		if b.shared[i].by == by {
			b.shared[i].r.holders.Add(1)
			return b.shared[i].r, false
		}
	}
	r = b.routed()
	r.done = make(chan struct{})
	r.holders.Store(2) // the second holder is the block
	b.shared = append(b.shared, sharedRoute{by, r})
	return r, true
}

// routedFor returns the routing result of the block for a group; nil: there is none yet.
func (b *block) routedFor(by *group) *routed {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.shared {
		if b.shared[i].by == by {
			return b.shared[i].r
		}
	}
	return nil
}

// taken gives up the block's hold on what was routed for a lane that shares it with no other, once the lane has it,
// and returns how many bytes that is. From then on they count as the lane's alone.
func (b *block) taken(by *group) (bytes int64) {
	if by == nil || len(by.lanes) > 1 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.shared, func(s sharedRoute) bool { return s.by == by })
	if i < 0 {
		return 0
	}
	r := b.shared[i].r
	b.shared = slices.Delete(b.shared, i, i+1)
	for _, p := range r.parts[:r.n] {
		bytes += int64(p.list.Size())
	}
	r.release()
	return bytes
}

// pair finds the lanes that make the same deliveries of every event.
func (e *Engine) pair() {
	groups := map[string]*group{}
	var senders []destination.Sender
	for _, l := range e.lanes {
		senders = append(senders, l.router.sender)
	}
	maps := destination.MapAlike(senders)
	for i, l := range e.lanes {
		g := &group{maps: maps[i]}
		if l.plan.Content != "" && !l.plan.Positions {
			key := fmt.Sprint(l.plan.Content, "\x00", l.c.Filter, "\x00", strings.Join(l.c.Consent, "\x00"), "\x00",
				l.c.Options.TriggerLive, l.plan.Order)
			if groups[key] == nil {
				groups[key] = g
			}
			g = groups[key]
		}
		if l.router.group = g; len(g.lanes) == 0 {
			e.groups = append(e.groups, g)
		}
		g.lanes = append(g.lanes, l)
	}
	slices.SortStableFunc(e.groups, func(a, b *group) int { return a.maps - b.maps })
	// Blocks are routed while they are prepared only if no steps and no limit can change them afterwards. The
	// results for the blocks that all processors prepare at the same time may take at most a quarter of the memory.
	made := int64(runtime.GOMAXPROCS(0)) * int64(len(e.groups)) * madeOfBlock
	e.ahead = e.c.Selection.Steps.Empty() && e.c.Selection.Limit == 0 && (len(e.groups) == 1 || made <= e.c.Memory/4)
}

// marked are copies of deliveries with another stamp, and the memory of their items.
type marked struct {
	list  []destination.Delivery
	items []byte
}

// stamped is a copy of a delivery with another stamp.
func (m *marked) stamped(d *destination.Delivery, at []destination.Stamp, stamp string) *destination.Delivery {
	from := len(m.items)
	m.items = append(m.items, d.Item...)
	item := m.items[from:len(m.items):len(m.items)]
	for _, s := range at {
		copy(item[s.At:], stamp)
	}
	m.list = append(m.list, *d)
	out := &m.list[len(m.list)-1]
	out.Item = item
	return out
}

// stamp copies deliveries that another lane has made and replaces the stamp in them by this lane's. It returns how
// many bytes of memory the copies take.
func (l *lane) stamp(lb *laneBlock) int64 {
	list, items := 0, 0
	for i := range lb.routed.n {
		p := lb.routed.parts[i]
		if p.stamp == l.plan.Stamp {
			continue
		}
		last := int32(-1)
		for _, s := range p.list.Stamps {
			if s.Delivery != last {
				list, items = list+1, items+len(p.list.List[s.Delivery].Item)
			}
			last = s.Delivery
		}
	}
	if list == 0 {
		return 0
	}
	m := &lb.marked
	m.list, m.items = slices.Grow(m.list[:0], list), slices.Grow(m.items[:0], items)
	at := 0 // in works, which has no deliveries of events that were settled under an earlier configuration
	for i := range lb.routed.n {
		p := lb.routed.parts[i]
		stamps := p.list.Stamps
		if p.stamp == l.plan.Stamp {
			stamps = nil
		}
		for k := range p.list.List {
			d := &p.list.List[k]
			n := 0
			for n < len(stamps) && int(stamps[n].Delivery) == k {
				n++
			}
			if at < len(lb.works) && lb.works[at].d == d {
				if n > 0 {
					lb.works[at].d = m.stamped(d, stamps[:n], l.plan.Stamp)
				}
				at++
			}
			stamps = stamps[n:]
		}
	}
	return int64(items) + int64(list)*int64(unsafe.Sizeof(destination.Delivery{}))
}
