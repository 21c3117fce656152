package journal

import (
	"fmt"
	"maps"
	"slices"
	"time"
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
	dirty  bool // the checkpoint or the dead letters have changed since the last commit
	open   map[uint64]openRequest
	ended  []ended
	wholes map[uint64]Whole // events that were settled under another configuration
	nextID uint64           // of the last request that began
	sent   sent
	begun  []Begun // when the run was loaded: what was sent lately

	durable Mark
	dead    deadFile
}

// sent counts what a lane has begun to send, over all processes.
type sent struct{ requests, retries, bytes uint64 }

func (s *sent) add(o openRequest) {
	s.requests++
	s.bytes += o.size
	if o.again {
		s.retries++
	}
}

// total returns the lane's counts, including what was sent after the mark.
func (l *Lane) total() Counts {
	c := l.counts
	c.Requests, c.Retries, c.Bytes = l.sent.requests, l.sent.retries, l.sent.bytes
	return c
}

// openRequest is a request that has begun and not ended.
type openRequest struct {
	action string
	ids    idRuns
	at     int64 // milliseconds since 1970
	size   uint64
	again  bool // some of it was sent before
	old    bool // begun by an earlier process, so nobody will end it
}

// mostBegun is how many of the latest requests are remembered for the pace, see [State.Begun].
const mostBegun = 4096

// began remembers a request that an earlier process has begun.
func (l *Lane) began(o openRequest) {
	if o.at == 0 {
		return // verdicts without a request, in a snapshot
	}
	if len(l.begun) >= 2*mostBegun {
		l.begun = append(l.begun[:0], l.begun[mostBegun:]...)
	}
	l.begun = append(l.begun, Begun{o.action, time.UnixMilli(o.at), o.ids.count(), int(o.size)})
}

// passed says whether all of its deliveries are before an ordinal.
func (o openRequest) passed(ordinal uint64) bool {
	return o.ids.top() < ordinal
}

// ended is a finished request, or verdicts without a request, above the mark.
type ended struct {
	openRequest         // zero if there was none
	def         Outcome // outcome of all ids except those in except
	reason      string
	except      []Verdict
	top         uint64 // highest ordinal
}

// Resume returns where the lane starts.
func (l *Lane) Resume() *State { return l.state }

// Above returns, for the events above the mark of which some delivery is settled or in flight, the outcome of each
// as a whole. Events of which only a part of the deliveries is settled are in parts, with the number of these
// deliveries: they are identified only by the numbers that the old configuration gave them.
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
	left := map[uint64]int{} // deliveries that are not settled; negative: not known
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
		for id := range o.ids.all() {
			if _, done := s.settled[id.Name()]; !done && id.Ordinal >= l.mark.Ordinal {
				w := wholes[id.Ordinal]
				w.Doubted = true
				wholes[id.Ordinal] = w
			}
		}
	}
	maps.DeleteFunc(parts, func(ordinal uint64, _ int) bool { return left[ordinal] == 0 })
	return wholes, parts
}

// Begin records that the deliveries are about to be sent in one request, and returns once the kernel has the
// record. size is the size of its body in bytes; again says that some of it was sent before. From now on the
// request counts in the lane's totals.
func (l *Lane) Begin(action string, ids []DeliveryID, size int, again bool) (uint64, error) {
	r := l.r
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return 0, r.err
	}
	now := r.opt.Now()
	l.nextID++
	id, o := l.nextID, openRequest{action: action, ids: runsOf(ids), at: now.UnixMilli(), size: uint64(size),
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

// End records the result of a request: def for all of its deliveries except those in except. dead are the dead
// letters that result from it. End does not wait, but its record comes before any later Advance.
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
	e := ended{openRequest: o, def: def, reason: reason, except: slices.Clone(except)}
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
	e.top = e.ids.top()
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

// addLetters adds dead letters to the next commit. The caller holds the run's lock.
func (l *Lane) addLetters(dead letters) {
	if dead.n == 0 {
		return
	}
	l.dead.lines = append(l.dead.lines, dead)
	l.dirty = true
	l.r.wake()
}

// Advance moves the checkpoint. The journal itself counts Requests, Retries and Bytes, see [Lane.Begin]. Advance
// does not wait; calls are coalesced.
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

// Amendment changes where a lane resumes, before anything is done with the lane.
type Amendment struct {
	Lane   string
	Mark   Mark // its position and ordinal must not change, unless it Jumps
	Jumps  bool
	Counts Counts
	// Forget says that what is known about deliveries above the mark is no longer valid, because they are numbered
	// differently now. What is known about whole events replaces it.
	Forget bool
	Wholes map[uint64]Whole
}

// Amend changes lanes and stores a value, all in one commit. It returns when [Run.Put] would.
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

// Lanes lists the names of all existing lanes, even those that nobody has opened.
func (r *Run) Lanes() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.order {
		names = append(names, l.Name)
	}
	return names
}

// Furthest is the highest current mark of all lanes.
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

// DeadLetters returns how many dead letters the lane has, and where: in a file, or, if there is one for each day,
// in the files that match a pattern. Letters of the last milliseconds may not be there yet. Letters of days whose
// folder was removed are not counted.
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
