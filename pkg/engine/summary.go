package engine

import (
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
)

// Summary is the result of a run, in the form of the command line's JSON.
type Summary struct {
	Run        string            `json:"run"`
	Status     string            `json:"status"` // complete or incomplete
	Read       uint64            `json:"read"`
	BadRecords uint64            `json:"bad_records"`
	Dropped    map[string]uint64 `json:"dropped"`
	// BadReasons are the bad records by reason, and BadExamples describes one record for each, with its place.
	BadReasons  map[string]uint64 `json:"bad_reasons,omitempty"`
	BadExamples map[string]string `json:"bad_examples,omitempty"`
	// ThisTime is what this process has read; nil: it has begun the run, and so all of it. What it has read is bad,
	// dropped, or selected for all destinations, as of the whole run.
	ThisTime *ReadThisTime `json:"this_time,omitempty"`
	// Rehearsal says that requests went to stand-ins. The caller sets it, and the following: the run whose dead
	// letters were sent, and the configuration with its profile.
	Rehearsal bool   `json:"rehearsal,omitempty"`
	RedriveOf string `json:"redrive_of,omitempty"`
	Root      string `json:"redrive_root,omitempty"` // the run in which those letters began
	Config    string `json:"config,omitempty"`
	Profile   string `json:"profile,omitempty"` // of the configuration
	// From is the input. The caller sets it.
	From []string `json:"from,omitempty"`
	// Unread is how many bytes of followed input have not been read yet, as they are stored.
	Unread int64 `json:"unread_bytes,omitempty"`
	// DeadLetters is the file with the bad records, if there are any.
	DeadLetters  string        `json:"dead_letters,omitempty"`
	Destinations []LaneSummary `json:"destinations"`
	// Overlap says that some selected events had already been selected by an earlier run of the same command. The
	// caller sets it.
	Overlap *Overlap `json:"overlap,omitempty"`
	// Removed are destinations of an earlier command that the last one no longer had, as they were left. Continued
	// lists destinations that continued with another configuration. The caller sets both.
	Removed   []LaneSummary `json:"removed,omitempty"`
	Continued []Continued   `json:"continued,omitempty"`
}

// ReadThisTime is what one process of a run has read.
type ReadThisTime struct {
	Read       uint64            `json:"read"`
	BadRecords uint64            `json:"bad_records"`
	Dropped    map[string]uint64 `json:"dropped"`
}

// ThisTime is what one process of a run has settled at a destination. Filtered and Skipped, which are decided again
// after a restart, count from the checkpoint on, unless the caller knows better (see [LaneSummary.Behind]).
type ThisTime struct {
	Filtered  uint64            `json:"filtered"`
	Skipped   map[string]uint64 `json:"skipped"`
	Delivered uint64            `json:"delivered"`
	Rejected  map[string]uint64 `json:"rejected"`
	InDoubt   uint64            `json:"in_doubt"`
}

// Behind leaves out of a destination's counts of this process what the summary of the process before has counted.
func (d *LaneSummary) Behind(before *LaneSummary) {
	now := d.ThisTime
	if now == nil {
		return
	}
	now.Filtered = min(now.Filtered, d.Filtered-min(d.Filtered, before.Filtered))
	now.InDoubt = min(now.InDoubt, d.InDoubt-min(d.InDoubt, before.InDoubt))
	for k, n := range now.Skipped {
		if now.Skipped[k] = min(n, d.Skipped[k]-min(d.Skipped[k], before.Skipped[k])); now.Skipped[k] == 0 {
			delete(now.Skipped, k)
		}
	}
}

// Overlap is how many events of a run an earlier run had selected, too.
type Overlap struct {
	Run    string `json:"run"`
	Events uint64 `json:"events"`
}

// Continued is a destination that goes on with another configuration than it began with.
type Continued struct {
	Destination string    `json:"destination"`
	At          time.Time `json:"at"`
	Changed     []string  `json:"changed"` // keys of the configuration
	// Delivered is how many events had been delivered by then, and After is how many records of the input its
	// checkpoint had passed.
	Delivered uint64 `json:"delivered"`
	After     uint64 `json:"after"`
}

// LaneSummary is the part of one destination.
type LaneSummary struct {
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Filtered   uint64            `json:"filtered"`
	Skipped    map[string]uint64 `json:"skipped"`
	Delivered  uint64            `json:"delivered"`
	Rejected   map[string]uint64 `json:"rejected"`
	Pending    uint64            `json:"pending"`
	InDoubt    uint64            `json:"in_doubt"`
	Deliveries uint64            `json:"deliveries"`
	Requests   uint64            `json:"requests"`
	// Retries are the requests that contain something that was sent before: also parts of a batch that was refused
	// as a whole, and what was in doubt after a crash.
	Retries uint64  `json:"retries"`
	Bytes   uint64  `json:"bytes"`
	Seconds float64 `json:"seconds"` // of this process
	// ThisTime is which of these counts are this process's; nil: it has begun the run, and so all of them.
	ThisTime *ThisTime `json:"this_time,omitempty"`
	Rate     float64   `json:"rate"` // delivered events per second
	// Lag is how many seconds ago the oldest pending event was read, where input is followed.
	Lag         float64 `json:"lag_seconds,omitempty"`
	DeadLetters string  `json:"dead_letters,omitempty"`
	// Letters is the number of dead letters: one for each rejected delivery, so an event may have several.
	Letters uint64 `json:"letters,omitempty"`
	// Redriven counts the rejected events that redrives have delivered since, by the redrive's run. The caller
	// sets it.
	Redriven map[string]uint64 `json:"redriven,omitempty"`
	// Stopped is the reason why the lane ended early, if it did.
	Stopped string `json:"stopped,omitempty"`
	// Until says what has to happen before a stopped lane can go on; "": nothing in particular. It completes a
	// sentence that begins with "once".
	Until string `json:"stopped_until,omitempty"`
	// Live says what old events would start at the partner, if the lane stopped because of that, or would have
	// stopped outside a rehearsal; "": there was no such event, or the user allowed it.
	Live string `json:"needs_trigger_live,omitempty"`
	// Problem is the last message, from the partner or the way to it, about something that was not accepted.
	// Examples has, for each reason in Rejected, one event and the message about it. Like Stopped they may contain
	// anything, so they must be redacted.
	Problem  string            `json:"last_problem,omitempty"`
	Examples map[string]string `json:"examples,omitempty"`
	// SkippedExamples has, for each reason in Skipped, one event: where it is, and why it was skipped.
	SkippedExamples map[string]string `json:"skipped_examples,omitempty"`
	// Released counts events that were sent out of their user's order, because too many deliveries of the user
	// were waiting.
	Released uint64 `json:"released,omitempty"`
}

// MismatchError is a summary whose numbers do not add up: a bug in fanfold.
type MismatchError struct{ Msg string }

func (e *MismatchError) Error() string {
	return "the summary does not add up (" + e.Msg +
		"): this is a bug in fanfold; the run's folder holds what is needed to find it"
}

// Summary returns the current counts. It may be called during the run.
func (e *Engine) Summary() *Summary {
	front, _, atEnd := e.front.at()
	s := &Summary{
		Run:        e.c.Run.Name(),
		Status:     "complete",
		Read:       front.Ordinal,
		BadRecords: front.Bad,
		Dropped:    map[string]uint64{},
	}
	s.BadReasons, s.BadExamples = e.front.reasons()
	maps.Copy(s.Dropped, front.Dropped)
	s.Unread = e.unread()
	if n, path := e.front.bad.DeadLetters(); n > 0 {
		s.DeadLetters = path
	}
	if !atEnd {
		s.Status = "incomplete"
	}
	if before := e.front.before(); before.Ordinal > 0 {
		s.ThisTime = &ReadThisTime{front.Ordinal - before.Ordinal, front.Bad - min(before.Bad, front.Bad),
			since(front.Dropped, before.Dropped)}
	}
	for _, l := range e.lanes {
		ls := l.summary(front)
		if since := e.front.waits(l.passed()); e.c.Follows && ls.Pending > 0 && !since.IsZero() {
			ls.Lag = round(max(e.c.Now().Sub(since).Seconds(), 0))
		}
		if ls.Pending > 0 {
			s.Status = "incomplete"
		}
		if s.ThisTime == nil {
			ls.ThisTime = nil
		}
		s.Destinations = append(s.Destinations, ls)
	}
	return s
}

// selected is how many of the records up to a mark go to the lanes.
func selected(m journal.Mark) uint64 {
	n := m.Ordinal - m.Bad
	for _, d := range m.Dropped {
		n -= d
	}
	return n
}

// reconcile checks that the numbers of the summary add up, against counters that were kept independently.
func (e *Engine) reconcile(s *Summary) error {
	events := s.Read - s.BadRecords - Total(s.Dropped)
	for i, l := range e.lanes {
		d := s.Destinations[i]
		total := d.Filtered + Total(d.Skipped) + d.Delivered + Total(d.Rejected) + d.Pending
		switch {
		case total != events:
			return &MismatchError{
				fmt.Sprintf("%s: %d events were selected, %d are accounted for", d.Name, events, total),
			}
		case l.finished && l.seen != events:
			return &MismatchError{fmt.Sprintf("%s: it was offered %d events of %d", d.Name, l.seen, events)}
		case l.finished && l.stop == "" && !e.stopped() && d.Pending != uint64(l.ledger.held)+l.ledger.base.Lost:
			return &MismatchError{
				fmt.Sprintf("%s: it is done with %d events pending, %d of them held", d.Name, d.Pending, l.ledger.held),
			}
		case l.ledger.sent+l.ahead(s.Read).Deliveries != d.Deliveries-l.ledger.base.Deliveries:
			return &MismatchError{
				fmt.Sprintf(
					"%s: %d deliveries were counted, %d were accepted",
					d.Name,
					d.Deliveries-l.ledger.base.Deliveries,
					l.ledger.sent,
				),
			}
		}
	}
	return nil
}

// since is by how much counts have grown.
func since(now, before map[string]uint64) map[string]uint64 {
	grown := map[string]uint64{}
	for k, n := range now {
		if n > before[k] {
			grown[k] = n - before[k]
		}
	}
	return grown
}

// Total is the sum of counts by reason.
func Total(m map[string]uint64) uint64 {
	var n uint64
	for _, v := range m {
		n += v
	}
	return n
}

// Progress is the current state of a lane, for display.
type Progress struct {
	Name      string
	Done      uint64 // settled events, including filtered ones
	Total     uint64 // events selected so far
	AllRead   bool   // Total will not grow any more
	About     uint64 // estimate of the final Total from the bytes read so far; 0: not known
	Delivered uint64
	Rejected  uint64
	Retries   uint64
	InFlight  int // requests
	State     string
	Problem   string // the last message, while something that was not accepted is being retried
	Stopped   bool   // the lane has ended early
	Waits     bool   // it waits because of a pause, a rate limit, or a failing partner
	// Oldest is roughly when the oldest unsettled event was read, also by an earlier process of a followed run;
	// zero: there is none.
	Oldest time.Time
	// Follows says that the input is not expected to end. Total is then what has been read so far, and Unread is
	// how many bytes of the known input have not been read, as they are stored.
	Follows  bool
	Unread   int64
	Last     string // the last message about something that was not accepted, however long ago
	Position source.Position
	Objects  int // in the whole input; 0: not all are known yet
}

// Progress returns the state of all lanes.
func (e *Engine) Progress() []Progress {
	front, passed, atEnd := e.front.at()
	objects, unread := 0, e.unread()
	if m := e.c.Source.Manifest(); m.Done() {
		objects = m.Len()
	}
	var ps []Progress
	lowest := front.Ordinal
	for _, l := range e.lanes {
		p, mark := l.progress()
		lowest = min(lowest, mark)
		p.Total, p.AllRead, p.Objects = selected(front), atEnd, objects
		p.Follows, p.Unread = e.c.Follows, unread
		if p.Done < p.Total {
			p.Oldest = e.front.waits(mark)
		}
		if passed > 0 && !atEnd {
			p.About = uint64(float64(p.Total) / passed)
		}
		ps = append(ps, p)
	}
	e.front.settled(lowest)
	return ps
}

// unread is how many bytes of followed input have not been read yet.
func (e *Engine) unread() int64 {
	m, ok := e.c.Source.(interface{ Unread() int64 })
	if !ok || !e.c.Follows {
		return 0
	}
	return m.Unread()
}

// passed is the ordinal before which everything is settled.
func (l *lane) passed() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ledger.mark.Ordinal
}

// ahead is what earlier processes have settled above the checkpoint, of the events before an ordinal that this one
// has not come to: a lane that stops at once has come to none. The caller holds mu, or the lane has ended.
func (l *lane) ahead(before uint64) journal.Counts {
	return l.ledger.resumed.Ahead(l.ledger.came, before)
}

func (l *lane) summary(front journal.Mark) LaneSummary {
	l.mu.Lock()
	defer l.mu.Unlock()
	events, now := selected(front), l.ledger.live.Clone()
	c := now.Clone()
	c.Add(l.ahead(front.Ordinal))
	s := LaneSummary{
		Name:            l.c.Name,
		Type:            l.c.Type,
		Filtered:        c.Filtered,
		Skipped:         c.Skipped,
		Delivered:       c.Delivered,
		Rejected:        c.Rejected,
		InDoubt:         c.InDoubt,
		Deliveries:      c.Deliveries,
		Requests:        c.Requests,
		Retries:         c.Retries,
		Bytes:           c.Bytes,
		Stopped:         l.stop,
		Until:           l.until,
		Live:            l.notes.live,
		Problem:         l.notes.problem,
		Examples:        maps.Clone(l.notes.like),
		SkippedExamples: l.notes.skipExamples(),
		Released:        c.Released,
	}
	if s.Skipped == nil {
		s.Skipped = map[string]uint64{}
	}
	if s.Rejected == nil {
		s.Rejected = map[string]uint64{}
	}
	if settled := c.Settled(); settled <= events {
		s.Pending = events - settled
	}
	past := &l.ledger.past
	s.ThisTime = &ThisTime{now.Filtered - past.Filtered, since(now.Skipped, past.Skipped), now.Delivered - past.Delivered,
		since(now.Rejected, past.Rejected), now.InDoubt - past.InDoubt}
	end := l.ended
	if end.IsZero() {
		end = l.e.c.Now()
	}
	s.Seconds = max(end.Sub(l.started).Seconds(), 0)
	if s.Seconds > 0 {
		s.Rate = round(float64(s.ThisTime.Delivered) / s.Seconds)
	}
	if n, path := l.ledger.j.DeadLetters(); n > 0 {
		s.DeadLetters, s.Letters = path, n
	}
	return s
}

// progress is the state of the lane, and the ordinal before which everything is settled.
func (l *lane) progress() (Progress, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := Progress{
		Name:      l.c.Name,
		Delivered: l.ledger.live.Delivered,
		Rejected:  Total(l.ledger.live.Rejected),
		Retries:   l.ledger.live.Retries,
		InFlight:  l.queue.flying,
		State:     "running",
		Stopped:   l.stop != "" || l.err != nil,
		Position:  l.ledger.mark.Position,
	}
	p.Done, p.Last = l.ledger.settled(), l.notes.problem
	if l.notes.failing && l.ended.IsZero() && !p.Stopped {
		p.Problem = l.notes.problem
	}
	now := l.e.c.Now()
	switch {
	case l.err != nil:
		p.State = "failed: " + l.err.Error()
	case l.stop != "":
		p.State = "stopped: " + l.stop
	case l.pacer.breaker.open(now):
		wait := l.pacer.breaker.until.Sub(now).Round(time.Second)
		p.State, p.Waits = "partner fails, next probe in "+wait.String(), true
	case l.pacer.paused.After(now) && l.ended.IsZero():
		p.State, p.Waits = "paused by the partner for "+l.pacer.paused.Sub(now).Round(time.Second).String(), true
	case l.pacer.held.After(now) && l.ended.IsZero():
		p.State, p.Waits = "keeps to its rate limit", true
	case !l.ended.IsZero() && p.Done < selected(l.reader.cursor):
		p.State = "stopped"
	case !l.ended.IsZero():
		p.State = "done"
	}
	return p, l.ledger.mark.Ordinal
}

// round rounds a number to one decimal.
func round(x float64) float64 { return math.Round(x*10) / 10 }
