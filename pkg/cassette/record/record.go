// Package record makes cassettes of live traffic.
//
// A [Recorder] is an http.RoundTripper that passes requests on and keeps redacted copies. Each
// interaction is written to a crash journal at once. At the end all of them become the cassette,
// in the order in which the requests began.
package record

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
	"github.com/fanfold/fanfold/pkg/printable"
)

// Options configure a [Recorder].
type Options struct {
	// Network sends requests to the partners; required.
	Network http.RoundTripper
	// Redactor replaces secrets before anything is kept; required.
	Redactor *redact.Redactor
	// MaxBody is the largest body that is recorded, in bytes; 0: 8 MiB. A larger one is
	// passed on, but not recorded.
	MaxBody int64
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Warn is called with a message for each request that is not recorded; nil: no
	// messages.
	Warn func(string)
}

// Recorder passes requests on and keeps a redacted copy of each interaction. It is an
// http.RoundTripper and safe for concurrent use. Call Finish or Abandon at the end.
//
// Clients do not wait for redaction: answers are passed on as they arrive, and put into
// a queue when they have ended. One goroutine redacts the queue in order, so that a
// secret which one answer reveals is known when the next is redacted.
//
// Each interaction is a copy, so that the cassette never shares memory with the program.
type Recorder struct {
	opts Options
	path string

	mu      sync.Mutex
	changed *sync.Cond
	next    int
	kept    []kept
	err     error
	omitted []string
	flying  int         // requests whose answers have not ended yet
	queue   []*exchange // ended, but not redacted yet
	waiting int64       // size of the queue in bytes
	working bool
	ending  bool // an answer that is missing now is not the partner's fault
	closed  bool
	// settling is true while somebody waits until the queue is empty.
	settling bool

	journal *cassette.Journal

	// Redaction pauses while requests other than streams are under way, and for a short
	// moment afterwards, because the next request often follows soon.
	urgent atomic.Int64
	recent atomic.Bool
	calm   *time.Timer // resets recent
	blocks blocks      // free blocks for new answers

	beforeRedaction func() // delays redaction, in tests
}

// kept is a redacted interaction.
type kept struct {
	n       int
	i       *cassette.Interaction
	details cassette.Details
	leaks   []redact.Leak
	old     bool // was in the cassette before
}

// maxWaiting limits the bytes in the queue for redaction, because memory is limited. If
// there are more, clients have to wait.
const maxWaiting = 256 << 20

// New begins a recording. Finish will write the cassette to path; until then a
// crash journal is kept in the same folder.
func New(path string, o Options) (*Recorder, error) {
	if o.MaxBody == 0 {
		o.MaxBody = 8 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	journal, err := cassette.NewJournal(path)
	if err != nil {
		return nil, err
	}
	r := &Recorder{opts: o, path: path, journal: journal, blocks: make(blocks, freeBlocks)}
	r.changed = sync.NewCond(&r.mu)
	go r.work()
	return r, nil
}

// Add puts the interactions of an existing cassette before those recorded from now on.
func (r *Recorder) Add(c *cassette.Cassette) {
	details := c.DetailsByNumber()
	for n, i := range c.Interactions {
		k := kept{i: i, old: true}
		if d := details[n]; d != nil {
			k.details = *d
		}
		r.mu.Lock()
		k.n = r.next
		r.next++
		r.mu.Unlock()
		r.put(&k, r.opts.Redactor)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.omitted = append(r.omitted, c.Meta.Unrecorded...)
}

// patience is the total time for which the redaction of one exchange may pause. It is
// longer for large exchanges. A small one is redacted quickly anyway, and should be in
// the crash journal soon. The size of the queue is limited as well.
func patience(size int64) time.Duration {
	return min(10*time.Second, time.Duration(size)*time.Microsecond)
}

// givesWay returns the function that redaction calls regularly. It waits while requests
// are under way, to leave the processor to them. It does not wait longer than patience
// allows, nor when the queue is long or the recording ends.
func (r *Recorder) givesWay(size int64) func() {
	left := patience(size)
	return func() {
		if r.urgent.Load() == 0 && !r.recent.Load() || left <= 0 {
			runtime.Gosched()
			return
		}
		began := r.opts.Now()
		over := false
		end := time.AfterFunc(left, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			over = true
			r.changed.Broadcast()
		})
		defer end.Stop()
		r.mu.Lock()
		defer r.mu.Unlock()
		for (r.urgent.Load() > 0 || r.recent.Load()) && !over && !r.closed && !r.settling && r.waiting < maxWaiting/2 {
			r.changed.Wait()
		}
		if left -= r.opts.Now().Sub(began); over {
			left = 0
		}
	}
}

// moment is how long redaction waits after a request for the next one.
const moment = 2 * time.Millisecond

// answered records that a request is no longer under way. The caller holds r.mu.
func (r *Recorder) answered() {
	r.urgent.Add(-1)
	if r.closed {
		return
	}
	r.recent.Store(true)
	if r.calm != nil {
		r.calm.Reset(moment)
		return
	}
	r.calm = time.AfterFunc(moment, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.recent.Store(false)
		r.changed.Broadcast()
	})
}

// put adds a redacted interaction to the recording and to the journal. If a part of it
// could not be searched for secrets, it is not kept, and put returns that part. The
// search takes long, so put holds no lock meanwhile.
func (r *Recorder) put(k *kept, red *redact.Redactor) (dark []redact.Leak) {
	k.leaks = red.Scan(k.n, k.i)
	for _, l := range k.leaks {
		if l.Unsearched() && !k.old {
			dark = append(dark, l)
		}
	}
	if len(dark) > 0 {
		return dark
	}
	var err error
	if len(k.leaks) == 0 { // an interaction with a leak must not reach the journal either
		err = r.journal.Append(k.n, k.i, &k.details)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, *k)
	if r.err == nil {
		r.err = err
	}
	return nil
}

// work redacts the queue until the recorder is closed.
func (r *Recorder) work() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for len(r.queue) == 0 && !r.closed {
			r.changed.Wait()
		}
		if r.closed {
			return
		}
		x := r.queue[0]
		r.queue[0] = nil
		r.queue = r.queue[1:]
		r.working = true
		before := r.beforeRedaction
		r.mu.Unlock()
		if before != nil {
			before()
		}
		err := r.keep(x)
		r.mu.Lock()
		if r.err == nil {
			r.err = err
		}
		r.waiting -= x.size()
		r.working = false
		r.changed.Broadcast()
	}
}

// keep redacts an exchange and adds it to the recording. If redaction panics, nothing
// may be written, because the exchange may hold unknown secrets.
func (r *Recorder) keep(x *exchange) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("redacting %s: %v", r.opts.Redactor.URL(wire.Address(x.req)), v)
		}
	}()
	if why := x.tooLarge(); why != "" {
		r.omit(x.req, why)
		return nil
	}
	red := r.opts.Redactor.Pausing(r.givesWay(x.size()))
	k := x.redacted(red)
	if leaks := r.put(k, red); len(leaks) > 0 {
		r.omit(x.req, leaks[0].Path+": "+leaks[0].Kind)
	}
	return nil
}

// omit records that a request was passed on but not recorded, and warns about it.
func (r *Recorder) omit(req *http.Request, why string) {
	r.opts.Warn("not recorded: " + r.Omit(req.Method, wire.Address(req), why))
}

// maxOmitted limits the list of what was not recorded.
const maxOmitted = 1000

// Omit adds a request to the list in the sidecar of what was not recorded, and why. It
// returns the line.
func (r *Recorder) Omit(method, address, why string) string {
	line := method + " " + r.opts.Redactor.URL(address) + ": " + why
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.omitted) < maxOmitted {
		r.omitted = append(r.omitted, line)
	}
	return line
}

// End announces that the recording is about to end while clients are still connected.
// Answers that are missing from now on do not count as timeouts of the partner.
func (r *Recorder) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = true
}

// settle waits until all answers have ended and are redacted. The caller has
// disconnected the clients before. After ten seconds it no longer waits for answers
// that have not ended.
func (r *Recorder) settle() {
	r.settling = true
	r.changed.Broadcast()
	defer func() { r.settling = false }()
	enough := false
	give := time.AfterFunc(10*time.Second, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		enough = true
		r.changed.Broadcast()
	})
	defer give.Stop()
	long := time.AfterFunc(3*time.Second, func() {
		r.mu.Lock()
		n := len(r.queue) + 1
		r.mu.Unlock()
		r.opts.Warn("taking secrets out of " + printable.Count(n, "answer") + " …")
	})
	defer long.Stop()
	for r.flying > 0 && !enough || len(r.queue) > 0 || r.working {
		r.changed.Wait()
	}
}

// Finish writes the cassette, with the interactions in the order in which their
// requests began, and removes the crash journal. Without interactions it writes
// nothing. All clients have to be disconnected before.
func (r *Recorder) Finish(meta cassette.Meta) (*cassette.Cassette, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle()
	r.close()
	if r.err != nil {
		return nil, errors.Join(r.err, r.journal.Close())
	}
	slices.SortStableFunc(r.kept, func(a, b kept) int { return a.n - b.n })
	c := &cassette.Cassette{Path: r.path, Meta: meta}
	c.Meta.Unrecorded = r.omitted
	r.settleSecrets()
	var leaks []redact.Leak
	for n, k := range r.kept {
		c.Interactions = append(c.Interactions, k.i)
		if !k.details.Empty() {
			k.details.Interaction = n
			c.Meta.Details = append(c.Meta.Details, k.details)
		}
		for _, l := range k.leaks {
			l.Interaction = n
			leaks = append(leaks, l)
		}
	}
	if err := unreached(r.kept); err != nil {
		return nil, errors.Join(err, r.journal.Remove())
	}
	if len(c.Interactions) > 0 {
		if err := c.Write(r.opts.Redactor, leaks); err != nil {
			return nil, errors.Join(err, r.journal.Remove())
		}
	}
	return c, r.journal.Remove()
}

// settleSecrets replaces, in all interactions, the secrets that only later answers have
// revealed. It scans again the interactions that this has changed.
func (r *Recorder) settleSecrets() {
	list := make([]*cassette.Interaction, len(r.kept))
	was := make([]cassette.Interaction, len(r.kept))
	for n := range r.kept {
		list[n], was[n] = r.kept[n].i, *r.kept[n].i
	}
	r.opts.Redactor.Settle(list)
	for n := range r.kept {
		k := &r.kept[n]
		if k.i.Response.Body != was[n].Response.Body {
			recut(&k.details, was[n].Response.Body, k.i.Response.Body)
		}
		if len(k.leaks) > 0 || k.i.Response.Body != was[n].Response.Body || k.i.Request.Body != was[n].Request.Body ||
			k.i.Request.URL != was[n].Request.URL {
			k.leaks = r.opts.Redactor.Scan(n, k.i)
		}
	}
}

// UnreachedError means that no partner could be reached. Nothing is written.
type UnreachedError struct {
	Requests int
	First    string // the error of the first request
}

func (e *UnreachedError) Error() string {
	return fmt.Sprintf("nothing was recorded: %d requests came, and none was answered; the first: %s", e.Requests,
		e.First)
}

// unreached returns an error if there were requests and no partner could be reached for
// any of them.
func unreached(list []kept) error {
	e := &UnreachedError{}
	for _, k := range list {
		switch {
		case k.old:
		case k.details.Broken != wire.BreakRefused && k.details.Broken != wire.BreakUnreachable:
			return nil
		default:
			if e.Requests++; e.Requests == 1 {
				e.First = k.i.Request.Method + " " + k.i.Request.URL + ": " + k.details.Error
			}
		}
	}
	if e.Requests == 0 {
		return nil
	}
	return e
}

// Abandon ends the recording without writing a cassette.
func (r *Recorder) Abandon() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close()
	for r.working {
		r.changed.Wait()
	}
	return r.journal.Remove()
}

func (r *Recorder) close() {
	r.closed = true
	r.queue = nil
	if r.calm != nil {
		r.calm.Stop()
	}
	r.changed.Broadcast()
}
