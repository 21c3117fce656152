package engine

import (
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// When a partner refuses a batch without saying which event is at fault, the lane sends parts of it again, down to
// single events, so that one bad event does not cost the whole batch. The same is done when a batch conflicts with
// something, and when it has failed at its last attempt. A large refused batch is first probed with single events
// from all over it.
//
// The number of such requests is bounded, because a partner that accepts nothing should not be asked about every
// event. A batch may be answered in vain patience times as long as nothing of it is accepted; then the rest of
// it is given up. Each further batch in a row that ends this way halves the budget of the next, and anything that
// the partner accepts restores it. Refusing costs a partner little, so a refused batch always gets at least its
// probes. Failing costs the lane time, since it waits for the breaker: a failing batch gets a few requests for
// each attempt that a delivery has; a few for one attempt, once the partner has failed everything for as long as a
// delivery may be retried; and none after some such batches. So a batch with few bad events never loses a good
// one. What can be lost are the good events of a batch of which nothing was accepted, however many parts of it
// were tried. They become dead letters, and redrive can send them again.
const (
	patience  = 64
	probes    = 16
	probeFrom = 64 // batches with more deliveries than this are probed
	few       = 4
)

// bisector searches for the bad events of batches that were refused as a whole. The lane's lock guards it.
type bisector struct {
	order    bool
	queue    *queue
	verdicts *verdicts
	vain     int // batches in a row that were given up with nothing accepted
}

// bisect is what is known about a batch that was refused as a whole.
type bisect struct {
	accepted bool // something of it was
	probing  int  // probes in flight
	asked    int  // how often the batch, or a part of it, was answered in vain
	givenUp  bool
	rest     *batch // the deliveries that wait for the result of the probes
	words    destination.Result
}

// allows is how often a batch may be answered in vain.
func (x *bisector) allows(kind fault, hopeless bool) int {
	most := patience
	if kind == failing {
		most = min(patience, few*x.verdicts.opt.Attempts)
		if hopeless {
			most = few
		}
	}
	most >>= min(x.vain, 10)
	if kind != failing {
		most = max(most, probes)
	}
	return most
}

// accepted notes that the partner has accepted something, which restores the whole budget.
func (x *bisector) accepted() { x.vain = 0 }

// giveUpOn says whether a batch has been answered in vain too often.
func (x *bisector) giveUpOn(s *bisect, kind fault, hopeless bool) bool {
	most := x.allows(kind, hopeless)
	if s == nil {
		return most == 0
	}
	if s.accepted || s.asked < most {
		return false
	}
	if !s.givenUp {
		s.givenUp = true
		x.vain++
	}
	return true
}

// fault is what the answer says about a batch as a whole.
type fault uint8

const (
	none     fault = iota
	refused        // the partner refuses all of it
	conflict       // a delivery conflicts with another one of the batch, or with something at the partner
	failing        // the last attempt has failed: perhaps the partner fails because of one event
)

// faultOf returns the fault if the results of all deliveries are the same kind of fault.
func faultOf(rs []destination.Result) fault {
	for i := range rs {
		if rs[i].Outcome != rs[0].Outcome || rs[i].Status != rs[0].Status || rs[i].Reason != rs[0].Reason ||
			rs[i].Detail != rs[0].Detail {
			return none
		}
	}
	switch r := &rs[0]; {
	case r.Outcome == destination.Rejected &&
		(r.Reason == destination.Refused || r.Reason == destination.TooLarge || r.Reason == destination.Invalid):
		return refused
	case r.Outcome == destination.Retry && r.Reason == destination.Conflict:
		return conflict
	case r.Outcome == destination.Retry && r.Reason == destination.Unavailable && r.Status >= 500:
		return failing
	}
	return none
}

// divides says whether a batch is to be sent again in parts. Refused and conflicting batches are divided at once;
// failing ones only when they would be given up otherwise. hopeless: the partner has failed everything for a long
// time.
func (x *bisector) divides(b *batch, rs []destination.Result, hopeless bool, now time.Time) bool {
	if len(b.works) < 2 {
		return false
	}
	switch kind := faultOf(rs); kind {
	case refused:
		return true
	case conflict:
		return !x.giveUpOn(b.bisect, kind, hopeless)
	case failing:
		for _, w := range b.works {
			if !hopeless && !x.verdicts.spent(w, int(w.attempts)+1, now) {
				return false
			}
		}
		return !x.giveUpOn(b.bisect, kind, hopeless)
	}
	return false
}

// split sends a batch again, in parts.
func (x *bisector) split(b *batch, rs []destination.Result, now time.Time) error {
	kind, words := faultOf(rs), rs[0]
	s := b.bisect
	if s == nil {
		s = &bisect{}
		b.bisect = s
		if kind == refused && len(b.works) > probeFrom && !x.order && words.Reason != destination.TooLarge {
			s.words = words
			x.probe(b, s)
			return nil
		}
	}
	if kind == failing {
		for _, w := range b.works {
			x.verdicts.tried(w, &words, now)
		}
	}
	if kind == refused {
		if s.words = words; s.givenUp && !s.accepted {
			return x.giveUp(b)
		}
	}
	s.asked++
	x.queue.halve(b)
	if kind != refused {
		return nil
	}
	return x.losePatience(s)
}

// probe sends single events from all over a batch. The rest waits for the answers.
func (x *bisector) probe(b *batch, s *bisect) {
	var rest []*work
	step := len(b.works) / probes
	for i, w := range b.works {
		if i%step == step/2 && s.probing < probes {
			p := x.queue.rebatch(b, []*work{w})
			p.probe = true
			s.probing++
			x.queue.readyPart(p)
		} else {
			rest = append(rest, w)
		}
	}
	s.rest = x.queue.rebatch(b, rest)
	x.queue.immovable[s.rest] = struct{}{}
	x.queue.waiting++
}

// losePatience gives up a batch whose parts were refused too often, with nothing accepted.
func (x *bisector) losePatience(s *bisect) error {
	if s.givenUp || x.order || s.words.Outcome != destination.Rejected || !x.giveUpOn(s, refused, false) {
		return nil
	}
	return x.abandon(s, x.giveUp)
}

// abandon gives up the waiting parts of a batch. Parts in flight are given up when their answers arrive.
func (x *bisector) abandon(s *bisect, giveUp func(*batch) error) error {
	q := x.queue
	keep := q.ready[:0]
	var out []*batch
	for _, r := range q.ready {
		if r.bisect == s {
			out = append(out, r)
		} else {
			keep = append(keep, r)
		}
	}
	clear(q.ready[len(keep):])
	q.ready = keep
	for _, r := range out {
		if err := giveUp(r); err != nil {
			return err
		}
	}
	return nil
}

// answered notes the answer to a part.
func (x *bisector) answered(b *batch, rs []destination.Result, now time.Time) error {
	s := b.bisect
	if s.givenUp && !s.accepted && !x.order && faultOf(rs) == failing {
		return x.abandon(s, func(r *batch) error {
			words, _ := x.verdicts.judge(r, r.works[0], rs[0], true, now)
			return x.verdicts.giveUp(r, words)
		})
	}
	all := true // every delivery is refused
	for i := range rs {
		all = all && rs[i].Outcome == destination.Rejected
		if rs[i].Outcome == destination.Delivered || rs[i].Outcome == destination.Skipped {
			s.accepted = true
			x.accepted()
		}
	}
	if all {
		s.asked++
	}
	if b.probe {
		b.probe = false
		if s.probing--; s.probing > 0 || s.rest == nil {
			return nil
		}
		rest := s.rest
		s.rest = nil
		delete(x.queue.immovable, rest)
		x.queue.waiting--
		x.queue.halve(rest)
	}
	return x.losePatience(s)
}

// giveUp rejects deliveries that were never sent on their own.
func (x *bisector) giveUp(b *batch) error {
	r := b.bisect.words
	r.Detail = destination.Cut("refused with its batch, of which the partner took nothing: "+r.Detail, 400)
	return x.verdicts.giveUp(b, r)
}
