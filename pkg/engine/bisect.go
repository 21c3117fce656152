package engine

import (
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
)

// When a partner refuses a batch without saying which event is at fault, the
// lane asks again with halves, down to single events, so that one bad event
// never costs its batch. The same is done when it finds a batch in conflict with
// something, and with one that has failed until the last attempt.
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
	lastParts   = 2 // instead of patience, for batches that fail where there is little hope
	divideMost  = 4 // batches that fail to the last, while nothing is accepted, that are divided
)

// bisector owns the search for the bad events of batches that were refused as a whole.
// The lane's lock guards it.
type bisector struct {
	order    bool
	queue    *queue
	verdicts *verdicts
	refused  int // batches in a row that the partner refused to the last probe
	failed   int // batches divided because they failed to the last, since the partner last took something
}

// bisect is what is known of a batch that was refused whole.
type bisect struct {
	accepted bool // anything of it
	probing  int  // probes on their way
	asked    int  // parts refused since the probes
	givenUp  bool
	rest     *batch // what waits for the probes
	words    destination.Result
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
	kind := faultOf(rs)
	switch {
	case kind == none || len(b.works) < 2:
		return false
	case kind == refused: // losePatience ends it
		return true
	case !b.bisect.may(x.bound(b.bisect, kind, hopeless)):
		return false
	case kind == conflict:
		return true
	}
	for _, w := range b.works {
		if !x.verdicts.spent(w, int(w.attempts)+1, now) {
			return false
		}
	}
	return true
}

// bound is how many parts of a batch may be refused, or fail, while nothing of it is
// accepted; less than 0: it is not divided at all. The parts of a few batches that fail
// tell whether events are at fault or the partner: where it has failed these, too, asking
// about every batch would only wait for the breaker each time. Whoever wants few attempts
// wants few of these.
func (x *bisector) bound(s *bisect, kind fault, hopeless bool) int {
	if kind != failing {
		return patience
	}
	batches := min(max(x.verdicts.opt.Attempts-1, 1), divideMost)
	switch {
	case s == nil && x.failed >= batches:
		return -1
	case hopeless || batches == 1:
		return lastParts
	}
	return patience
}

// may says that parts of a batch may be asked about, when so many may be in vain. A nil
// receiver is a batch that was not divided yet.
func (s *bisect) may(most int) bool {
	if s == nil {
		return most >= 0
	}
	return s.accepted || s.asked <= most
}

// split asks again about a batch, in parts.
func (x *bisector) split(b *batch, rs []destination.Result, now time.Time) error {
	kind, words := faultOf(rs), rs[0]
	s := b.bisect
	if s == nil {
		s = &bisect{}
		b.bisect = s
		if kind == failing {
			x.failed++
		}
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
		if s.words = words; s.givenUp {
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
			x.queue.ready = append(x.queue.ready, p)
		} else {
			rest = append(rest, w)
		}
	}
	s.rest = x.queue.rebatch(b, rest)
	x.queue.apart[s.rest] = struct{}{}
	x.queue.waiting++
}

// losePatience gives a batch up of which dozens of parts were refused and
// nothing was accepted.
func (x *bisector) losePatience(s *bisect) error {
	if s.may(patience) || s.givenUp || x.order || s.words.Outcome != destination.Rejected {
		return nil
	}
	s.givenUp = true
	x.refused++
	// The parts that are on their way are given up when they come back; those
	// that wait, now.
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
		if err := x.giveUp(r); err != nil {
			return err
		}
	}
	return nil
}

// answered takes note of the answer to a part.
func (x *bisector) answered(b *batch, rs []destination.Result) error {
	s := b.bisect
	all := true // is refused
	for i := range rs {
		all = all && rs[i].Outcome == destination.Rejected
		if rs[i].Outcome == destination.Delivered || rs[i].Outcome == destination.Skipped {
			s.accepted = true
			x.refused, x.failed = 0, 0
		}
	}
	if all && !b.probe {
		s.asked++
	}
	if !b.probe {
		return x.losePatience(s)
	}
	b.probe = false
	if s.probing--; s.probing > 0 || s.rest == nil {
		return nil
	}
	rest := s.rest
	s.rest = nil
	delete(x.queue.apart, rest)
	x.queue.waiting--
	if !s.accepted && x.refused >= givesUpSoon {
		s.givenUp = true
		x.refused++
		return x.giveUp(rest)
	}
	x.queue.halve(rest)
	return nil
}

// giveUp rejects deliveries that the partner was not asked about one by one.
func (x *bisector) giveUp(b *batch) error {
	r := b.bisect.words
	r.Detail = destination.Cut("refused with its batch, of which the partner took nothing: "+r.Detail, 400)
	return x.verdicts.giveUp(b, r)
}
