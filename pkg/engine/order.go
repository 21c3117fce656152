package engine

import "slices"

// How many deliveries of a user may wait behind an earlier one, and in how many batches they may be. Beyond that
// they are sent out of order, and counted: a user with so many events would block the lane.
const (
	maxHeld   = 1000
	maxBehind = 32
)

// sequencer keeps the order of each user's deliveries, in lanes where that matters. It knows which closed batches
// a user is in, and which batches have to wait for others: a batch may go when none of its users is in an earlier
// one. While a delivery is retried, later deliveries of its user are taken out of their batches and held, so that
// other users need not wait. The lane's lock guards it.
type sequencer struct {
	users  map[uint64]*line
	n      int // number of batches that have entered
	held   int // deliveries that are held
	behind map[*batch]struct{}
}

// line is one user's batches, in order.
type line struct {
	key     uint64
	batches []*batch // the first may be in flight
	waiting int      // number of deliveries in the others
	blocked bool     // the first is being retried, so later deliveries are held
	held    []*work
}

func newSequencer() *sequencer {
	return &sequencer{users: map[uint64]*line{}, behind: map[*batch]struct{}{}}
}

// enter adds a closed batch. It returns the batches that may go now, and held deliveries that are now sent
// regardless of order. released counts all that are sent regardless of order, including those that stay in their
// batches.
func (s *sequencer) enter(b *batch) (ready []*batch, free []*work, released int) {
	s.n++
	b.number = s.n
	kept := b.works[:0]
	var busy []*line
	for _, w := range b.works {
		if w.user == 0 {
			kept = append(kept, w)
			continue
		}
		ln := s.users[w.user]
		if ln == nil {
			ln = &line{key: w.user}
			s.users[w.user] = ln
		}
		if ln.blocked {
			free = append(free, s.hold(ln, w)...)
			continue
		}
		kept = append(kept, w)
		if n := len(ln.batches); n == 0 || ln.batches[n-1] != b {
			if n > 0 {
				b.behind++
			}
			ln.batches = append(ln.batches, b)
		}
		if len(ln.batches) > 1 {
			if ln.waiting++; ln.waiting > maxHeld && len(ln.batches) > maxBehind {
				busy = append(busy, ln)
			}
		}
	}
	clear(b.works[len(kept):])
	b.works = kept
	if b.behind > 0 {
		s.behind[b] = struct{}{}
	} else if len(b.works) > 0 {
		ready = append(ready, b)
	}
	released = len(free)
	for _, ln := range busy {
		more, n := s.release(ln)
		ready, released = append(ready, more...), released+n
	}
	return ready, free, released
}

// release lets all batches of a user after the first go, as far as this user is concerned.
func (s *sequencer) release(ln *line) (ready []*batch, released int) {
	for _, b := range ln.batches[1:] {
		for _, w := range b.works {
			if w.user == ln.key {
				w.user = 0
				released++
			}
		}
		ready = s.ahead(b, ready)
	}
	ln.batches, ln.waiting = ln.batches[:1:1], 0
	return ready, released
}

// hold keeps a delivery back. When too many of its user are held, it releases them.
func (s *sequencer) hold(ln *line, w *work) (released []*work) {
	ln.held = append(ln.held, w)
	s.held++
	if len(ln.held) <= maxHeld {
		return nil
	}
	released, ln.held = ln.held, nil
	s.held -= len(released)
	for _, w := range released {
		w.user = 0
	}
	return released
}

// follow adds a batch directly behind one that is in flight: the next steps of its events.
func (s *sequencer) follow(b, after *batch) {
	s.n++
	b.number = s.n
	for _, w := range b.works {
		ln := s.users[w.user]
		if w.user == 0 || ln == nil || len(ln.batches) == 0 || ln.batches[0] != after {
			continue
		}
		ln.waiting++
		if !slices.Contains(ln.batches, b) {
			b.behind++
			ln.batches = slices.Insert(ln.batches, 1, b)
		}
	}
	if b.behind > 0 {
		s.behind[b] = struct{}{}
	}
}

// replace puts a part of a batch in the place of the whole batch.
func (s *sequencer) replace(b, part *batch) {
	part.number = b.number
	for _, w := range part.works {
		if ln := s.users[w.user]; ln != nil && len(ln.batches) > 0 && ln.batches[0] == b {
			ln.batches[0] = part
		}
	}
}

// split replaces a batch of a single user by its first delivery, and holds the others.
func (s *sequencer) split(b, first *batch, rest []*work) (ready []*batch) {
	s.replace(b, first)
	ln := s.users[first.works[0].user]
	if ln == nil {
		return nil
	}
	held := append([]*work(nil), rest...)
	ready = s.block([]*line{ln})
	s.held += len(held)
	ln.held = append(held, ln.held...)
	return ready
}

// done removes a batch. Some of its deliveries are settled; the rest, if any, continues as again. It returns the
// batches that may go now, and held deliveries that are free.
func (s *sequencer) done(b, again *batch, ws []*work) (ready []*batch, free []*work) {
	var blocked []*line
	if again != nil {
		again.number = b.number
		for _, w := range again.works {
			if ln := s.users[w.user]; w.user != 0 && ln != nil && len(ln.batches) > 0 && ln.batches[0] == b {
				ln.batches[0] = again
				if !ln.blocked {
					blocked = append(blocked, ln)
				}
			}
		}
	}
	for _, w := range ws {
		ln := s.users[w.user]
		if w.user == 0 || ln == nil || len(ln.batches) == 0 || ln.batches[0] != b {
			continue
		}
		ln.batches = ln.batches[1:]
		ln.blocked = len(ln.held) > 0
		switch {
		case len(ln.batches) > 0:
			first := ln.batches[0]
			for _, w := range first.works {
				if w.user == ln.key {
					ln.waiting--
				}
			}
			ready = s.ahead(first, ready)
		case len(ln.held) > 0:
			s.held -= len(ln.held)
			free = append(free, ln.held...)
			delete(s.users, w.user)
		default:
			delete(s.users, w.user)
		}
	}
	return append(ready, s.block(blocked)...), free
}

// ahead notes that a batch has become the first one of one more of its users.
func (s *sequencer) ahead(b *batch, ready []*batch) []*batch {
	if b.behind--; b.behind > 0 {
		return ready
	}
	delete(s.behind, b)
	if len(b.works) == 0 {
		return ready
	}
	return append(ready, b)
}

// block holds the deliveries behind the first batch of some users. It returns the batches that were waiting only
// for these users.
func (s *sequencer) block(lines []*line) (ready []*batch) {
	var affected []*batch
	users := map[uint64]*line{}
	for _, ln := range lines {
		ln.blocked = true
		users[ln.key] = ln
		affected = append(affected, ln.batches[1:]...)
		ln.batches, ln.waiting = ln.batches[:1:1], 0
	}
	slices.SortFunc(affected, func(a, b *batch) int { return a.number - b.number })
	for i, b := range affected {
		if i > 0 && affected[i-1] == b {
			ready = s.ahead(b, ready)
			continue
		}
		kept := b.works[:0]
		for _, w := range b.works {
			if ln := users[w.user]; ln != nil {
				ln.held = append(ln.held, w)
				s.held++
			} else {
				kept = append(kept, w)
			}
		}
		clear(b.works[len(kept):])
		b.works = kept
		ready = s.ahead(b, ready)
	}
	return ready
}

// idle says whether nothing waits.
func (s *sequencer) idle() bool { return s.held == 0 && len(s.behind) == 0 }
