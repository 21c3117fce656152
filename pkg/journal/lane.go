package journal

import (
	"fmt"
	"maps"
	"slices"
)

// Lane is one destination's part of a run. Its methods are safe for concurrent use.
type Lane struct {
	r    *Run
	id   int
	Name string

	state  *State
	mark   Mark
	counts Counts
	pace   []byte
	dirty  bool // the checkpoint, or the dead letters, have changed since the last commit
	open   map[uint64]openRequest
	ended  []ended
	wholes map[uint64]Whole // events that were settled under another configuration
	nextID uint64           // of the last request that was begun
	sent   sent

	durable Mark
	dead    deadFile
}

// sent is what a lane has begun to send, over all processes.
type sent struct{ requests, retries, bytes uint64 }

func (s *sent) add(o openRequest) {
	s.requests++
	s.bytes += o.size
	if o.again {
		s.retries++
	}
}

// total are the lane's counts with what was sent, which goes on beyond the mark.
func (l *Lane) total() Counts {
	c := l.counts
	c.Requests, c.Retries, c.Bytes = l.sent.requests, l.sent.retries, l.sent.bytes
	return c
}

// openRequest is a request that was begun and has not ended.
type openRequest struct {
	action string
	ids    []DeliveryID
	at     int64 // milliseconds since 1970
	size   uint64
	again  bool // some of it was sent before
	old    bool // begun by an earlier process, which has not ended it: nobody will
}

// passed says that all of its deliveries are before an ordinal.
func (o openRequest) passed(ordinal uint64) bool {
	return !slices.ContainsFunc(o.ids, func(id DeliveryID) bool { return id.Ordinal >= ordinal })
}

// ended is a finished request, or a settling without one, above the mark.
type ended struct {
	ids    []DeliveryID
	def    Outcome // of all ids but those in except
	reason string
	except []Verdict
	top    uint64 // highest ordinal
}

// Resume returns where the lane starts.
func (l *Lane) Resume() *State { return l.state }

// Above says of the events above the mark, of which some delivery is settled or in flight, what has become of each
// as a whole. Of some only a part of the deliveries is settled: what they are is known by the numbers that the
// configuration of then gave them, and they are in parts, with how many deliveries that are.
func (l *Lane) Above() (wholes map[uint64]Whole, parts map[uint64]int) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	wholes, parts = maps.Clone(l.wholes), map[uint64]int{}
	if wholes == nil {
		wholes = map[uint64]Whole{}
	}
	s := &State{Mark: l.mark, settled: map[DeliveryID]Verdict{}}
	for _, e := range l.ended {
		s.add(e)
	}
	left := map[uint64]int{} // deliveries that are not settled; below 0: not known
	for id, v := range s.settled {
		w := wholes[id.Ordinal]
		if _, seen := left[id.Ordinal]; !seen {
			left[id.Ordinal] = int(v.ID.Of)
		}
		left[id.Ordinal]--
		parts[id.Ordinal]++
		if v.Outcome == Delivered {
			w.Deliveries++
		}
		if v.Outcome == Rejected || v.Outcome == Delivered && w.Outcome != Rejected || w.Outcome == Requeued {
			w.Outcome, w.Reason = v.Outcome, v.Reason
		}
		wholes[id.Ordinal] = w
	}
	for _, o := range l.open {
		for _, id := range o.ids {
			if _, done := s.settled[id.name()]; !done && id.Ordinal >= l.mark.Ordinal {
				w := wholes[id.Ordinal]
				w.Doubted = true
				wholes[id.Ordinal] = w
			}
		}
	}
	maps.DeleteFunc(parts, func(ordinal uint64, _ int) bool { return left[ordinal] == 0 })
	return wholes, parts
}

// Begin records that the deliveries are about to go out in one request, and
// returns once the kernel has it. size is of its body, in bytes; again says that some of it
// was sent before. The request is counted in the lane's totals from now on.
func (l *Lane) Begin(action string, ids []DeliveryID, size int, again bool) (uint64, error) {
	r := l.r
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return 0, r.err
	}
	now := r.opt.Now()
	l.nextID++
	id, o := l.nextID, openRequest{action: action, ids: slices.Clone(ids), at: now.UnixMilli(), size: uint64(size),
		again: again}
	l.open[id] = o
	l.sent.add(o)
	r.record(func(b []byte) []byte { return l.appendBegin(b, id, o) })
	ch := r.wait()
	r.group.begins(now)
	r.mu.Unlock()
	r.wake()
	return id, <-ch
}

// End records what came of a request: def for all of its deliveries but those
// in except. dead are the dead letters that it caused. It does not wait; it
// stands before any later Advance.
func (l *Lane) End(req uint64, def Outcome, reason string, except []Verdict, dead []DeadLetter) error {
	r, written := l.r, l.lettersOf(dead)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	o, ok := l.open[req]
	if !ok {
		return fmt.Errorf("journal: request %d of %s was not begun", req, l.Name)
	}
	delete(l.open, req)
	e := ended{ids: o.ids, def: def, reason: reason, except: slices.Clone(except)}
	l.end(e)
	r.record(func(b []byte) []byte { return l.appendEnd(b, req, e) })
	l.addLetters(written)
	return nil
}

// Settle records verdicts that needed no request.
func (l *Lane) Settle(vs []Verdict, dead []DeadLetter) error {
	r, written := l.r, l.lettersOf(dead)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	l.end(ended{except: slices.Clone(vs)})
	r.record(func(b []byte) []byte { return appendVerdicts(l.head(b, 'S'), vs) })
	l.addLetters(written)
	return nil
}

func (l *Lane) end(e ended) {
	for _, id := range e.ids {
		e.top = max(e.top, id.Ordinal)
	}
	for _, v := range e.except {
		e.top = max(e.top, v.ID.Ordinal)
	}
	if e.top >= l.mark.Ordinal && (len(e.ids) > 0 || len(e.except) > 0) {
		l.ended = append(l.ended, e)
	}
}

// forget drops what the mark has passed.
func (l *Lane) forget() {
	l.ended = slices.DeleteFunc(l.ended, func(e ended) bool { return e.top < l.mark.Ordinal })
	if len(l.wholes) > 0 {
		maps.DeleteFunc(l.wholes, func(ordinal uint64, _ Whole) bool { return ordinal < l.mark.Ordinal })
	}
}

// addLetters hands dead letters to the next commit. The caller holds the run's lock.
func (l *Lane) addLetters(dead letters) {
	if dead.n == 0 {
		return
	}
	l.dead.lines = append(l.dead.lines, dead)
	l.dirty = true
	l.r.wake()
}

// Advance moves the checkpoint. Requests, Retries and Bytes of the counts are the journal's
// own, see [Lane.Begin]. It does not wait; calls are coalesced.
func (l *Lane) Advance(m Mark, c Counts, pace []byte) error {
	r := l.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if m.Ordinal < l.mark.Ordinal {
		return fmt.Errorf("journal: %s: the checkpoint cannot go back from %d to %d", l.Name, l.mark.Ordinal, m.Ordinal)
	}
	l.mark, l.counts, l.pace, l.dirty = m, c.Clone(), pace, true
	l.forget()
	maps.DeleteFunc(l.open, func(_ uint64, o openRequest) bool { return o.old && o.passed(m.Ordinal) })
	r.wake()
	return nil
}

// Amendment changes where a lane resumes, before anything is done with it.
type Amendment struct {
	Lane   string
	Mark   Mark // its position and ordinal stay, unless it Jumps
	Jumps  bool
	Counts Counts
	// Forget says that what is known of deliveries above the mark no longer holds: they are
	// numbered in another way now. What is known of whole events takes its place.
	Forget bool
	Wholes map[uint64]Whole
}

// Amend changes lanes and keeps a value, all in one commit. It returns as [Run.Put] does.
func (r *Run) Amend(key string, value any, amendments []Amendment) error {
	return r.put(key, value, func() {
		for _, a := range amendments {
			l := r.lanes[a.Lane]
			if l == nil {
				continue
			}
			if !a.Jumps {
				a.Mark.Position, a.Mark.Ordinal = l.mark.Position, l.mark.Ordinal
			}
			l.mark, l.counts, l.dirty = a.Mark, a.Counts.Clone(), true
			l.forget()
			if a.Forget {
				l.ended, l.open, l.wholes = nil, map[uint64]openRequest{}, maps.Clone(a.Wholes)
				r.record(func(b []byte) []byte { return l.appendWholes(l.head(b, 'F')) })
			}
			l.state = l.resume()
		}
	})
}

// Lanes are the names of all lanes that there are, with those that nobody has asked for.
func (r *Run) Lanes() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.order {
		names = append(names, l.Name)
	}
	return names
}

// Furthest is the highest mark of all lanes, as they stand now.
func (r *Run) Furthest() (far Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.order {
		if l.mark.Ordinal >= far.Ordinal && l.mark.Position.Compare(far.Position) >= 0 {
			far = l.mark
		}
	}
	return far
}

// Durable returns the last mark that would survive a power cut.
func (l *Lane) Durable() Mark {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.durable
}

// DeadLetters returns how many dead letters the lane has, and where: in a file, or, where there is one
// for each day, in those of a pattern. Those of the last milliseconds may not be there yet, and those of
// days whose folder was removed are not counted.
func (l *Lane) DeadLetters() (n uint64, where string) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if n = l.dead.count(); n == 0 && len(l.dead.lines) == 0 {
		return 0, ""
	}
	file := LetterFile{Lane: l.Name}
	if l.r.opt.Daily || slices.ContainsFunc(l.dead.days, func(d deadDay) bool { return d.day != "" && d.count > 0 }) {
		file.Day = "*"
	}
	return n, file.Path(l.r.Dir)
}
