package engine

import (
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// When a partner refuses a batch without saying which event is at fault, the lane asks again
// with parts of it, down to single events, so that one bad event never costs its batch. The
// same is done when it finds a batch in conflict with something, and with one that has failed
// to the last attempt. A large batch that is refused is first asked about with single events
// from all over it.
//
// One rule keeps a partner that takes nothing from being asked about every event. A batch may
// be answered in vain patience times, as long as nothing of it is accepted; then the rest of it
// is given up. Each batch in a row that ended so halves what the next one gets, and anything
// that the partner accepts gives all of it back. To refuse costs a partner little, so a refused
// batch gets at least its probes, however many were in vain before. To fail costs the lane
// time, since it waits for the breaker: such a batch gets a few times for each attempt that a
// delivery has, for one when the partner has failed everything for as long as a delivery may be
// tried, and after some batches none. So a batch with few bad events never loses a good one;
// what can be lost (to the dead letters, from where redrive sends it again) are the good ones of
// a batch of which nothing was accepted, however many parts of it were tried.
const (
	patience  = 64
	probes    = 16
	probeFrom = 64 // deliveries in a batch from which on it is probed
	few       = 4
)

// bisector owns the search for the bad events of batches that were refused as a whole.
// The lane's lock guards it.
type bisector struct {
	order    bool
	queue    *queue
	verdicts *verdicts
	vain     int // batches in a row that were given up with nothing accepted
}

// bisect is what is known of a batch that was refused whole.
type bisect struct {
	accepted bool // anything of it
	probing  int  // probes on their way
	asked    int  // times that it, or a part of it, was answered in vain
	givenUp  bool
	rest     *batch // what waits for the probes
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

// accepted notes that the partner takes something.
func (x *bisector) accepted() { x.vain = 0 }

// giveUpOn says that a batch has been answered in vain too often.
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

// fault is what was said of a batch as a whole.
type fault uint8

const (
	none     fault = iota
	refused        // the partner refuses all of it
	conflict       // something of it is in conflict with something else, or with another of the batch
	failing        // it fails, for the last time that it would be tried: one event may be what the partner fails at
)

// faultOf says what was said of all deliveries of a batch in one and the same way.
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

// divides says that a batch is to be sent again in parts. What is refused or in conflict
// is divided at once, what fails only when it would be given up otherwise. hopeless: the
// partner has failed everything for long.
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

// split asks again about a batch, in parts.
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

// probe asks about single events from all over a batch. The rest waits for that.
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
	x.queue.apart[s.rest] = struct{}{}
	x.queue.waiting++
}

// losePatience gives a batch up whose parts were refused too often, with nothing
// accepted.
func (x *bisector) losePatience(s *bisect) error {
	if s.givenUp || x.order || s.words.Outcome != destination.Rejected || !x.giveUpOn(s, refused, false) {
		return nil
	}
	return x.abandon(s, x.giveUp)
}

// abandon gives up the parts of a batch that wait. Those that are on their way are given up
// when they come back.
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

// answered takes note of the answer to a part.
func (x *bisector) answered(b *batch, rs []destination.Result, now time.Time) error {
	s := b.bisect
	if s.givenUp && !s.accepted && !x.order && faultOf(rs) == failing {
		return x.abandon(s, func(r *batch) error {
			words, _ := x.verdicts.judge(r.works[0], rs[0], true, now)
			return x.verdicts.giveUp(r, words)
		})
	}
	all := true // is refused
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
		delete(x.queue.apart, rest)
		x.queue.waiting--
		x.queue.halve(rest)
	}
	return x.losePatience(s)
}

// giveUp rejects deliveries that the partner was not asked about one by one.
func (x *bisector) giveUp(b *batch) error {
	r := b.bisect.words
	r.Detail = destination.Cut("refused with its batch, of which the partner took nothing: "+r.Detail, 400)
	return x.verdicts.giveUp(b, r)
}
