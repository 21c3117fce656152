// Package journal is a run's memory: what was about to be sent, what came of
// it, what was refused, and up to where each destination is done.
//
// A run is a folder. It holds the manifest of the input, one checkpoint per
// destination, a ledger of requests, the dead letters and the summary. After a
// crash at any instant the same folder tells which deliveries are settled,
// which were in flight, and where reading starts again.
//
// The order of writes is the promise. An intent (which deliveries, in which
// request) is with the kernel before the request goes out: [Lane.Begin]
// returns then. Verdicts and the dead letters they cause stand before the
// checkpoint that passes them. All lanes' records go through one group
// committer: a commit is one transaction, however many requests wait for it.
// Surviving a killed process needs no more than that; surviving a power cut
// needs fsync, which happens every [Options.SyncEvery].
//
// Every record of the input has an ordinal, counted in reading order over the
// frozen manifest, and every delivery an id: the event's ordinal and the
// delivery's place among those of that event. Both are the same whenever the
// same input is read, which is what makes a resume exact.
//
// Where commits are kept is a [Log]: today a database in the run's folder. What they say,
// and what follows from them, is here.
package journal

import (
	"maps"
	"time"

	"github.com/fanfold/fanfold/pkg/source"
)

// Mark is a checkpoint: everything before Ordinal is settled, and Position is where to start reading again. The
// counts are the results of reading up to here.
type Mark struct {
	Position source.Position   `json:"position"`
	Ordinal  uint64            `json:"ordinal"` // records read
	Bad      uint64            `json:"bad,omitempty"`
	Dropped  map[string]uint64 `json:"dropped,omitempty"`
}

// DeliveryID identifies one delivery of a run.
type DeliveryID struct {
	Ordinal uint64
	K       uint32 // index among the deliveries of the event
	// Of is how many deliveries of the event the journal keeps; 0: not known. It is not part of the identity.
	Of uint32
}

// Name is the id without what is said about its event, so that equal names mean the same delivery.
func (id DeliveryID) Name() DeliveryID { return DeliveryID{Ordinal: id.Ordinal, K: id.K} }

// Whole is the outcome of an event above the mark that was settled under another configuration than today's: its
// deliveries have other numbers now, or no longer exist.
type Whole struct {
	Outcome    Outcome // the worst of its deliveries; Requeued: nothing is settled
	Reason     string
	Deliveries uint32 // those that the partner has accepted
	Doubted    bool   // some of them were in flight when a process ended
}

// Outcome is the outcome of a verdict. It is the journal's own type, so that the journal needs no destination.
type Outcome uint8

const (
	Requeued  Outcome = iota // goes back to the queue: neither settled nor in doubt
	Delivered                // the partner has it
	Skipped                  // rightly not sent
	Rejected                 // a dead letter
)

// Verdict settles one delivery.
type Verdict struct {
	ID      DeliveryID
	Outcome Outcome
	Reason  string
}

// Counts are the outcomes of a lane's events up to a mark. They are cumulative. Requests, Retries and Bytes count
// everything that was begun, also after the mark.
type Counts struct {
	Filtered   uint64            `json:"filtered,omitempty"`
	Skipped    map[string]uint64 `json:"skipped,omitempty"`
	Delivered  uint64            `json:"delivered,omitempty"`
	Rejected   map[string]uint64 `json:"rejected,omitempty"`
	Deliveries uint64            `json:"deliveries,omitempty"`
	Requests   uint64            `json:"requests,omitempty"`
	Retries    uint64            `json:"retries,omitempty"`
	Bytes      uint64            `json:"bytes,omitempty"`
	InDoubt    uint64            `json:"in_doubt,omitempty"`
	Released   uint64            `json:"released,omitempty"`
	// Lost are events that were read once and cannot be read again, because their object has changed before they
	// were settled.
	Lost uint64 `json:"lost,omitempty"`
}

// Clone returns a copy that shares nothing with c.
func (c Counts) Clone() Counts {
	c.Skipped, c.Rejected = maps.Clone(c.Skipped), maps.Clone(c.Rejected)
	return c
}

// Request is a request that was begun and did not end: it is in doubt.
type Request struct {
	IDs []DeliveryID // those that are not settled
}

// Begun is a request that an earlier process has begun, whatever became of it.
type Begun struct {
	Action     string
	At         time.Time
	Deliveries int
	Bytes      int
}

// State is where a lane resumes.
type State struct {
	Mark    Mark
	Counts  Counts
	InDoubt []Request
	Pace    []byte
	// Begun are the latest requests, oldest first. Pace does not yet know those that were begun after it was saved.
	Begun   []Begun
	settled map[DeliveryID]Verdict
	doubted map[DeliveryID]bool
	wholes  map[uint64]Whole
}

// Wholes says whether some events above the mark are known only as a whole.
func (s *State) Wholes() bool { return len(s.wholes) > 0 }

// Whole returns the outcome of an event that was settled under another configuration.
func (s *State) Whole(ordinal uint64) (Whole, bool) {
	w, ok := s.wholes[ordinal]
	return w, ok
}

// UnderWay says whether deliveries above the mark are settled or in doubt: these are identified only by their
// numbers.
func (s *State) UnderWay() bool { return len(s.settled) > 0 || len(s.InDoubt) > 0 }

// Settled returns the verdict on a delivery above the mark.
func (s *State) Settled(id DeliveryID) (Verdict, bool) {
	v, ok := s.settled[id.Name()]
	return v, ok
}

// Ahead counts what is settled above the mark, of the events from one ordinal to before another. An event of which
// only a part of the deliveries is settled counts for these deliveries alone.
func (s *State) Ahead(from, to uint64) (c Counts) {
	worst, settled := map[uint64]Verdict{}, map[uint64]uint32{}
	for id, v := range s.settled {
		if id.Ordinal < from || id.Ordinal >= to {
			continue
		}
		if v.Outcome == Delivered {
			c.Deliveries++
		}
		settled[id.Ordinal]++
		if w, is := worst[id.Ordinal]; !is || v.Outcome == Rejected || v.Outcome == Delivered && w.Outcome != Rejected {
			worst[id.Ordinal] = v
		}
	}
	for ordinal, v := range worst {
		if settled[ordinal] >= v.ID.Of {
			c.Count(v.Outcome, v.Reason)
		}
	}
	for ordinal, w := range s.wholes {
		if ordinal >= from && ordinal < to && w.Outcome != Requeued {
			c.Deliveries += uint64(w.Deliveries)
			c.Count(w.Outcome, w.Reason)
		}
	}
	return c
}

// Count counts the outcome of a settled event.
func (c *Counts) Count(o Outcome, reason string) {
	switch o {
	case Delivered:
		c.Delivered++
	case Skipped:
		c.Skipped = more(c.Skipped, reason, 1)
	case Rejected:
		c.Rejected = more(c.Rejected, reason, 1)
	}
}

// Add adds other counts of events and deliveries: all but those of requests, which [Lane.Begin] counts.
func (c *Counts) Add(o Counts) {
	c.Filtered += o.Filtered
	c.Delivered += o.Delivered
	c.Deliveries += o.Deliveries
	c.InDoubt += o.InDoubt
	for reason, n := range o.Skipped {
		c.Skipped = more(c.Skipped, reason, n)
	}
	for reason, n := range o.Rejected {
		c.Rejected = more(c.Rejected, reason, n)
	}
}

// Settled is the number of settled events.
func (c *Counts) Settled() (n uint64) {
	n = c.Filtered + c.Delivered
	for _, k := range c.Skipped {
		n += k
	}
	for _, k := range c.Rejected {
		n += k
	}
	return n
}

func more(m map[string]uint64, reason string, n uint64) map[string]uint64 {
	if m == nil {
		m = map[string]uint64{}
	}
	m[reason] += n
	return m
}

// Doubted says whether a delivery above the mark was in flight when an earlier process ended, even if a later one
// has settled it since.
func (s *State) Doubted(id DeliveryID) bool { return s.doubted[id.Name()] }
