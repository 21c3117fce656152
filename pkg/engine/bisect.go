package engine

import (
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/journal"
)

// When a partner refuses a batch without saying which event is at fault, the
// lane asks again with halves, down to single events, so that one bad event
// never costs its batch.
//
// A partner that refuses everything must not be asked 2N times for that. A
// large batch is therefore probed first with single events from all over it.
// As soon as anything of the batch is accepted, it is bisected to the end,
// whatever that takes. If every probe is refused, the halving goes on for a
// bounded number of requests, and if nothing was accepted then either, the
// rest is rejected with the partner's words: at most 1 + probes + patience
// requests. After two such batches in a row the probes alone decide. So a
// batch with few bad events never loses a good one; what can be lost (to the
// dead letters, from where redrive sends it again) are the good ones of a
// batch in which sixteen events from all over it and dozens of parts were
// refused without exception.
const (
	probes      = 16
	probeFrom   = 64 // deliveries in a batch from which on it is probed
	patience    = 64
	givesUpSoon = 2
)

// bisect is what is known of a batch that was refused whole.
type bisect struct {
	accepted bool // anything of it
	probing  int  // probes on their way
	asked    int  // parts refused since the probes
	givenUp  bool
	rest     *batch // what waits for the probes
	words    destination.Result
}

// refusedWhole says that the partner refused all deliveries of a batch with one
// and the same verdict.
func (l *lane) refusedWhole(b *batch, rs []destination.Result) bool {
	for i := range rs {
		if rs[i].Outcome != destination.Rejected || rs[i].Status != rs[0].Status || rs[i].Reason != rs[0].Reason || rs[i].Detail != rs[0].Detail {
			return false
		}
	}
	return rs[0].Reason == destination.Refused || rs[0].Reason == destination.TooLarge || rs[0].Reason == destination.Invalid
}

// split asks again about a refused batch, in parts. The caller holds mu.
func (l *lane) split(b *batch, words destination.Result, now time.Time) {
	s := b.bisect
	if s == nil {
		s = &bisect{words: words}
		if len(b.works) > probeFrom && !l.plan.Order && words.Reason != destination.TooLarge {
			var rest []*work
			step := len(b.works) / probes
			for i, w := range b.works {
				if i%step == step/2 && s.probing < probes {
					p := l.rebatch(b, []*work{w})
					p.bisect, p.probe = s, true
					s.probing++
					l.ready = append(l.ready, p)
				} else {
					rest = append(rest, w)
				}
			}
			s.rest = l.rebatch(b, rest)
			s.rest.bisect = s
			l.apart[s.rest] = struct{}{}
			l.waiting++ // the rest is in no queue
			return
		}
	}
	s.words = words
	if s.givenUp {
		l.giveUp(b, now)
		return
	}
	s.asked++
	l.halve(b, s)
	l.losePatience(s, now)
}

// losePatience gives a batch up of which dozens of parts were refused and
// nothing was accepted.
func (l *lane) losePatience(s *bisect, now time.Time) {
	if s.accepted || s.asked <= patience || s.givenUp || l.plan.Order {
		return
	}
	s.givenUp = true
	l.refuses++
	// The parts that are on their way are given up when they come back; those
	// that wait, now.
	keep := l.ready[:0]
	var out []*batch
	for _, r := range l.ready {
		if r.bisect == s {
			out = append(out, r)
		} else {
			keep = append(keep, r)
		}
	}
	clear(l.ready[len(keep):])
	l.ready = keep
	for _, r := range out {
		l.giveUp(r, now)
	}
}

// halve sends a batch again in two parts. Where order counts, a user's deliveries stay
// in one of them, and those of a single user go one after the other.
func (l *lane) halve(b *batch, s *bisect) {
	var left, right []*work
	if !l.plan.Order {
		n := len(b.works) / 2
		left, right = b.works[:n:n], b.works[n:]
	} else {
		left, right = byUser(b.works)
	}
	parts := [][]*work{left, right}
	if len(right) == 0 { // one user
		first := l.rebatch(b, left[:1:1])
		first.bisect = s
		ready := l.seq.split(b, first, left[1:])
		l.ready = append(l.ready, first)
		l.makeReady(ready)
		return
	}
	for _, ws := range parts {
		n := l.rebatch(b, ws)
		n.bisect = s
		l.seq.replace(b, n)
		l.ready = append(l.ready, n)
	}
}

// byUser splits deliveries so that those of a user stay together; right is empty when
// there is only one.
func byUser(ws []*work) (left, right []*work) {
	sides := map[uint64]bool{}
	n := 0
	for _, w := range ws {
		side, ok := sides[w.user]
		if !ok || w.user == 0 {
			side = n%2 == 1
			n++
			sides[w.user] = side
		}
		if side {
			right = append(right, w)
		} else {
			left = append(left, w)
		}
	}
	return left, right
}

// bisected takes note of the answer to a part.
func (l *lane) bisected(b *batch, rs []destination.Result) {
	s := b.bisect
	refused := true
	for i := range rs {
		if rs[i].Outcome != destination.Rejected {
			refused = false
		}
	}
	if !refused {
		s.accepted = true
		l.refuses = 0
	} else if !b.probe {
		s.asked++
	}
	now := l.e.c.Now()
	if b.probe {
		b.probe = false
		if s.probing--; s.probing == 0 && s.rest != nil {
			rest := s.rest
			s.rest = nil
			delete(l.apart, rest)
			l.waiting--
			if !s.accepted && l.refuses >= givesUpSoon {
				s.givenUp = true
				l.refuses++
				l.giveUp(rest, now)
				return
			}
			l.halve(rest, s)
		}
		return
	}
	l.losePatience(s, now)
}

// giveUp rejects deliveries that the partner was not asked about one by one.
func (l *lane) giveUp(b *batch, now time.Time) {
	r := b.bisect.words
	r.Detail = destination.Cut("refused with its batch, of which the partner took nothing: "+r.Detail, 400)
	l.noteRejected(r)
	var vs []journal.Verdict
	var dead []journal.DeadLetter
	for _, w := range b.works {
		vs = append(vs, journal.Verdict{ID: w.id, Outcome: journal.Rejected, Reason: string(r.Reason)})
		dead = append(dead, l.letter(w, r))
	}
	if err := l.j.Settle(vs, dead); err != nil {
		l.haltLocked("", err)
		return
	}
	for _, w := range b.works {
		l.drop(w)
		l.settle(w, journal.Rejected, string(r.Reason))
	}
	l.finish(b, nil, b.works)
}
