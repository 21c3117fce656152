package engine

import (
	"github.com/fanfold/fanfold/pkg/destination"
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

// bisector owns the search for the bad events of batches that were refused as a whole.
// The lane's lock guards it.
type bisector struct {
	order    bool
	queue    *queue
	verdicts *verdicts
	refused  int // batches in a row that the partner refused to the last probe
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

// refusedWhole says that the partner refused all deliveries of a batch with one
// and the same verdict.
func refusedWhole(rs []destination.Result) bool {
	for i := range rs {
		if rs[i].Outcome != destination.Rejected || rs[i].Status != rs[0].Status || rs[i].Reason != rs[0].Reason || rs[i].Detail != rs[0].Detail {
			return false
		}
	}
	return rs[0].Reason == destination.Refused || rs[0].Reason == destination.TooLarge || rs[0].Reason == destination.Invalid
}

// split asks again about a refused batch, in parts.
func (x *bisector) split(b *batch, words destination.Result) error {
	s := b.bisect
	if s == nil {
		s = &bisect{words: words}
		b.bisect = s
		if len(b.works) > probeFrom && !x.order && words.Reason != destination.TooLarge {
			x.probe(b, s)
			return nil
		}
	}
	s.words = words
	if s.givenUp {
		return x.giveUp(b)
	}
	s.asked++
	x.queue.halve(b)
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
	if s.accepted || s.asked <= patience || s.givenUp || x.order {
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
	refused := true
	for i := range rs {
		if rs[i].Outcome != destination.Rejected {
			refused = false
		}
	}
	if !refused {
		s.accepted = true
		x.refused = 0
	} else if !b.probe {
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
