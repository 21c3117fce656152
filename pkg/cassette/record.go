package cassette

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/printable"
)

// RecordOptions say what a [Recorder] does.
type RecordOptions struct {
	// Network answers; required.
	Network http.RoundTripper
	// Redactor takes secrets out before anything is kept; required.
	Redactor *redact.Redactor
	// MaxBody is the largest body that is kept; 0: 8 MiB. What is larger is
	// passed on and not recorded.
	MaxBody int64
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Warn tells of what was not recorded; nil: nobody.
	Warn func(string)
}

// Recorder passes requests on and keeps what was said, redacted. It is an
// http.RoundTripper, safe for concurrent use. Close it with Finish or Abandon.
//
// The client never waits for it: what is said is passed on as it comes, and
// redacted behind, by one goroutine, in the order in which answers ended, so
// that what one answer gave away is known in what follows it.
//
// The recording itself is go-vcr's, one of its recorders for each request, so
// that interactions can be kept in the order in which requests began, and so
// that what it keeps is never shared with what the program gets.
type Recorder struct {
	opts RecordOptions
	path string

	mu      sync.Mutex
	changed *sync.Cond
	next    int
	kept    []kept
	err     error
	omitted []string
	flying  int         // requests whose answers have not ended
	queue   []*exchange // ended, and not redacted
	waiting int64       // bytes of the queue
	working bool
	ending  bool // answers that do not come now are not the partner's fault
	closed  bool
	// settling says that somebody waits for redaction.
	settling bool

	journalMu sync.Mutex
	journal   *os.File

	// Redaction gives way to requests under way that are no streams, and a moment longer,
	// as one comes seldom alone.
	urgent atomic.Int64
	recent atomic.Bool
	calm   *time.Timer // ends what is recent
	blocks blocks      // of answers under way

	beforeRedaction func() // holds it up, in tests
}

// kept is a redacted interaction.
type kept struct {
	n       int
	i       *Interaction
	details Details
	leaks   []redact.Leak
	old     bool // was there before
}

// partial is a line of the crash journal.
type partial struct {
	N           int          `json:"n"`
	Interaction *Interaction `json:"interaction"`
	Details     *Details     `json:"details,omitempty"`
	// Bodies that are no valid UTF-8 are not kept by JSON as they are.
	RequestBody  []byte `json:"request_body"`
	ResponseBody []byte `json:"response_body"`
}

// maxWaiting bounds the bytes that wait to be redacted; from there on clients
// wait, too, for memory is bounded.
const maxWaiting = 256 << 20

// NewRecorder begins a recording that is to become the cassette at path. Until
// then its crash journal lies beside it.
func NewRecorder(path string, o RecordOptions) (*Recorder, error) {
	if o.MaxBody == 0 {
		o.MaxBody = 8 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(partialPath(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is what an interrupted recording left, or another is under way: "+
			"go on from it with --resume, or remove it: %w", partialPath(path), fs.ErrExist)
	}
	if err != nil {
		return nil, err
	}
	r := &Recorder{opts: o, path: path, journal: f, blocks: make(blocks, freeBlocks)}
	r.changed = sync.NewCond(&r.mu)
	go r.work()
	return r, nil
}

// Recover returns what an interrupted recording left, and removes its journal.
// A line that was cut off by the crash is left out.
func Recover(path string) (*Cassette, error) {
	c := &Cassette{Path: path}
	f, err := os.Open(partialPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []partial
	r := bufio.NewReader(io.LimitReader(f, maxFile))
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // nothing, or half a line
		}
		if err != nil {
			return nil, err
		}
		var p partial
		if err := json.Unmarshal(line, &p); err != nil || p.Interaction == nil {
			return nil, fmt.Errorf("%s is damaged: %w (remove it, and record anew)", partialPath(path), err)
		}
		p.Interaction.Request.Body, p.Interaction.Response.Body = string(p.RequestBody), string(p.ResponseBody)
		lines = append(lines, p)
	}
	slices.SortStableFunc(lines, func(a, b partial) int { return a.N - b.N })
	for n, p := range lines {
		c.Interactions = append(c.Interactions, p.Interaction)
		if p.Details != nil {
			p.Details.Interaction = n
			c.Meta.Details = append(c.Meta.Details, *p.Details)
		}
	}
	return c, os.Remove(partialPath(path))
}

// Add puts interactions before those that are recorded from now on: what a
// cassette holds already.
func (r *Recorder) Add(c *Cassette) {
	details := c.detailsByNumber()
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

// patience is how long the redaction of one exchange gives way in all: of a large one,
// for a small one is done at once, and is to be in the crash journal soon. How much
// waits is bounded in bytes besides.
func patience(size int64) time.Duration {
	return min(10*time.Second, time.Duration(size)*time.Microsecond)
}

// givesWay returns what redaction calls every now and then: it waits while requests
// are under way, so that the processor is theirs, but not for ever, nor when much is
// waiting or the recording ends.
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

// moment is how long after a request redaction waits for the next one.
const moment = 2 * time.Millisecond

// answered notes that a request is no longer under way. It needs r.mu.
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

// put keeps an interaction, redacted, here and in the journal; not one that was not
// searched all through: then it returns where. Looking for what is left of secrets
// takes long, so no lock is held meanwhile.
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
	if len(k.leaks) == 0 { // else not even in the journal
		copied := *k.i
		copied.Request.Body, copied.Response.Body = "", ""
		p := partial{N: k.n, Interaction: &copied, RequestBody: []byte(k.i.Request.Body),
			ResponseBody: []byte(k.i.Response.Body)}
		if !k.details.plain() {
			p.Details = &k.details
		}
		var line []byte
		if line, err = json.Marshal(p); err == nil {
			r.journalMu.Lock()
			_, err = r.journal.Write(append(line, '\n'))
			r.journalMu.Unlock()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, *k)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("writing %s: %w", r.journal.Name(), err)
	}
	return nil
}

// work redacts what has ended, until the recorder is closed.
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

// keep redacts an exchange and keeps it. Where that fails nothing may be
// written: nobody knows what it held.
func (r *Recorder) keep(x *exchange) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("redacting %s: %v", r.opts.Redactor.URL(Address(x.req)), v)
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

// omit notes a request that is passed on and not recorded.
func (r *Recorder) omit(req *http.Request, why string) {
	r.opts.Warn("not recorded: " + r.Omit(req.Method, Address(req), why))
}

// maxOmitted bounds the list of what was not recorded.
const maxOmitted = 1000

// Omit notes in the sidecar what was not recorded, and why. It returns the
// line.
func (r *Recorder) Omit(method, address, why string) string {
	line := method + " " + r.opts.Redactor.URL(address) + ": " + why
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.omitted) < maxOmitted {
		r.omitted = append(r.omitted, line)
	}
	return line
}

// End says that the recording is about to end with clients still there: what
// they have no answer to by now did not time out.
func (r *Recorder) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = true
}

// settle waits until all answers have ended and are redacted. Whoever calls it
// has cut off the clients; an answer that does not end all the same is given
// up after some time.
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

// Finish writes the cassette, in the order in which requests began, and removes
// the crash journal. Without interactions nothing is written. Before it is
// called clients have to be gone.
func (r *Recorder) Finish(meta Meta) (*Cassette, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settle()
	r.close()
	if r.err != nil {
		return nil, errors.Join(r.err, r.journal.Close())
	}
	slices.SortStableFunc(r.kept, func(a, b kept) int { return a.n - b.n })
	c := &Cassette{Path: r.path, Meta: meta, HasMeta: true}
	c.Meta.Unrecorded = r.omitted
	r.settleSecrets()
	var leaks []redact.Leak
	for n, k := range r.kept {
		c.Interactions = append(c.Interactions, k.i)
		if !k.details.plain() {
			k.details.Interaction = n
			c.Meta.Details = append(c.Meta.Details, k.details)
		}
		for _, l := range k.leaks {
			l.Interaction = n
			leaks = append(leaks, l)
		}
	}
	if err := unreached(r.kept); err != nil {
		return nil, errors.Join(err, r.drop())
	}
	if len(c.Interactions) > 0 {
		if err := c.write(r.opts.Redactor, leaks); err != nil {
			return nil, errors.Join(err, r.drop())
		}
	}
	return c, r.drop()
}

// settleSecrets takes out of what is kept the values that only later answers
// have announced, and looks again at what has changed by that.
func (r *Recorder) settleSecrets() {
	list := make([]*Interaction, len(r.kept))
	was := make([]Interaction, len(r.kept))
	for n := range r.kept {
		list[n], was[n] = r.kept[n].i, *r.kept[n].i
	}
	r.opts.Redactor.Settle(list)
	for n := range r.kept {
		k := &r.kept[n]
		if k.i.Response.Body != was[n].Response.Body {
			k.details.recut(was[n].Response.Body, k.i.Response.Body)
		}
		if len(k.leaks) > 0 || k.i.Response.Body != was[n].Response.Body || k.i.Request.Body != was[n].Request.Body ||
			k.i.Request.URL != was[n].Request.URL {
			k.leaks = r.opts.Redactor.Scan(n, k.i)
		}
	}
}

// UnreachedError says that no partner could be reached: nothing is written.
type UnreachedError struct {
	Requests int
	First    string // what became of the first
}

func (e *UnreachedError) Error() string {
	return fmt.Sprintf("nothing was recorded: %d requests came, and none was answered; the first: %s", e.Requests,
		e.First)
}

// unreached is an error where requests came and nobody was there for any.
func unreached(list []kept) error {
	e := &UnreachedError{}
	for _, k := range list {
		switch {
		case k.old:
		case k.details.Broken != BreakRefused && k.details.Broken != BreakUnreachable:
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

// Abandon gives the recording up.
func (r *Recorder) Abandon() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close()
	for r.working {
		r.changed.Wait()
	}
	return r.drop()
}

func (r *Recorder) close() {
	r.closed = true
	r.queue = nil
	if r.calm != nil {
		r.calm.Stop()
	}
	r.changed.Broadcast()
}

func (r *Recorder) drop() error {
	return errors.Join(r.journal.Close(), os.Remove(r.journal.Name()))
}
