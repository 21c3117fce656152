// Package source reads events where they lie: files, directories, globs,
// standard input and object stores, in any of the usual compressions, as
// records with positions.
//
// What a run reads is frozen first as a [Manifest]: the objects in order, each
// with its size and fingerprint. A [Position] is an entry of the manifest and
// an offset into the decompressed object, so reading can start again after any
// record, in this process or in another; an object that has changed since is
// refused ([ChangedError]), never silently re-read.
//
// [Source.Chunks] yields runs of consecutive records of one object. The bytes
// are split, not parsed: whether a record is an event is for the reader to
// find out. What cannot be a record (a line beyond the cap, the end of a
// truncated file) is yielded as a record with an Err, and reading goes on: bad
// input never loses good input.
//
// Memory is bounded by a few chunks and the record cap, whatever the size of
// the input.
package source

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/stock"
)

// Reason says why a record is no event.
type Reason string

const (
	Syntax    Reason = "syntax"       // not JSON
	NotEvent  Reason = "not_an_event" // JSON, but no event
	TooLong   Reason = "too_long"     // beyond the record cap
	Truncated Reason = "truncated"    // cut off: the object ends or breaks in the middle
)

// RecordError says what is wrong with a record, and where it is.
type RecordError struct {
	Reason Reason
	Detail string
	Object string
	Offset int64 // where the record begins in the decompressed object
	Line   int64 // from 1; 0: unknown
}

func (e *RecordError) Error() string {
	return e.Place() + ": " + string(e.Reason) + ": " + e.Detail
}

// Place says where the record is.
func (e *RecordError) Place() string {
	at := fmt.Sprintf("%s, byte %d", e.Object, e.Offset)
	if e.Line > 0 {
		at += fmt.Sprintf(" (line %d)", e.Line)
	}
	return at
}

// Record is one JSON document as it was read.
type Record struct {
	Raw  []byte   // inside the chunk's Data; of a bad record what could be read, at most 64 KiB
	End  Position // just after the record
	Line int64    // from 1; 0: unknown
	Tail bool     // the object ended without a line end behind it
	Err  *RecordError
}

// keptChunks is how many chunks are kept while nobody uses them.
const keptChunks = 32

// Chunk is a run of consecutive records of one object. It belongs to whoever
// receives it.
type Chunk struct {
	Data    []byte
	Records []Record
	Start   Position // before the first record
	End     Position // after the last
	Name    string   // of the object
	As      string   // what the object was taken for, as a text for people; "": it was found out earlier
	Hint    string   // what to do about records that are no JSON; "": nothing is known
	Foreign string   // what to do about records that are no events; "": nothing is known
	pool    stock.Stock[Chunk]
	others  atomic.Int32 // holders beside the first
}

// Retain adds a holder, who has to release the chunk, too.
func (c *Chunk) Retain() { c.others.Add(1) }

// Release gives the chunk's memory back once every holder has; nothing of it may
// be used afterwards. A chunk that is not released is left to the garbage
// collector.
func (c *Chunk) Release() {
	if c.others.Add(-1) >= 0 {
		return
	}
	c.others.Store(0)
	if cap(c.Data) <= 2*chunkBytes {
		c.pool.Put(c)
	} else if cap(c.Data) <= 4<<20 {
		c.pool.PutLarge(c)
	}
}

// Source yields the records of a run's input.
type Source interface {
	// Chunks yields the records after a position, in order. Every call is a
	// reading of its own, and readings may run at the same time. A non-nil
	// error ends the iteration; every record before it has been yielded.
	Chunks(ctx context.Context, after Position, pass Pass) iter.Seq2[*Chunk, error]
	// Manifest is what is being read.
	Manifest() *Manifest
}

// Pass says what a reading is for.
type Pass uint8

const (
	// First is the reading that leads: it runs ahead of its receiver, its progress
	// is that of the run, and it says what could not be listed.
	First Pass = iota
	// Again is a reading of what First has passed, of which there may be many: it
	// holds one chunk in memory instead of four, and is slower.
	Again
)

// Object is one entry of a manifest.
type Object struct {
	Name        string    `json:"name"` // path, s3://bucket/key, archive!member, or "-"
	Size        int64     `json:"size"`
	Fingerprint string    `json:"fingerprint"` // changes when the bytes do
	ModTime     time.Time `json:"mod_time,omitzero"`
	From        int       `json:"from,omitempty"` // which of Options.From it belongs to, from 0
	// Start is where it begins in the bytes that Size and Fingerprint are of, and After one more
	// than the entry of the manifest that it continues: it is what a file had grown by. 0: it is
	// the whole.
	Start int64  `json:"start,omitempty"`
	After uint32 `json:"after,omitempty"`
	// Skip is how many plain bytes of a compressed file were read before it was compressed.
	Skip int64 `json:"skip,omitempty"`
	// From where on it is read, as a position in it: an entry before has what is in front of that.
	Begin Place `json:"begin,omitzero"`
	// Open says that it was being written when it was looked at: what it ends with is no record yet.
	Open Openness `json:"open,omitempty"`
}

// Openness is what of an object that ends without a line end may be the beginning of a record only.
type Openness uint8

// What it may be. A line of JSON tells by itself whether it is whole, a row of a table does not.
const (
	Closed   Openness = iota // nothing: it is a record
	OpenRow                  // a row of a table
	OpenLine                 // whatever it is
)

// Tail is where the last record of an object begins, of which only the beginning was there.
type Tail struct {
	Place
	Kind TailKind
	// Bad is how many bad records there are from there on, by their reasons; nil: one that is truncated,
	// where it is CutOff.
	Bad map[Reason]int
}

// TailKind is what became of the beginning of a record.
type TailKind uint8

// What becomes of it.
const (
	CutOff  TailKind = iota // it counts as a record that is cut off
	HeldOff                 // it was not read
	Nothing                 // there was not even that: nothing of the object is a record
	Whole                   // it is a whole record, but what is compressed may not end there
)

// keptTail is a tail as it is written.
type keptTail struct {
	At   Place          `json:"at"`
	Kind TailKind       `json:"kind,omitempty"`
	Bad  map[Reason]int `json:"bad,omitempty"`
}

// MarshalJSON writes a tail as an object.
func (t Tail) MarshalJSON() ([]byte, error) { return json.Marshal(keptTail{t.Place, t.Kind, t.Bad}) }

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Tail) UnmarshalJSON(data []byte) error {
	var k keptTail
	err := json.Unmarshal(data, &k)
	*t = Tail{k.At, k.Kind, k.Bad}
	return err
}

// length is how many bytes of the object the entry is.
func (o Object) length() int64 { return o.Size - o.Start }

// ID is a short name for the object's bytes, for insert ids of events without
// messageId.
func (o Object) ID() string {
	return fmt.Sprintf("%016x", xxh3.HashString(o.Fingerprint+"\x00"+o.Name))
}

// InputError is a selection, or an object of it, that cannot be read at all: a mistake in
// the command, found before anything of it is read.
type InputError struct {
	Err error
	All bool // it is of the whole store: no other object can be read, either
}

func inputf(format string, args ...any) *InputError {
	return &InputError{Err: fmt.Errorf(format, args...)}
}

func (e *InputError) Error() string { return e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// ChangedError is an object that is not what the manifest says.
type ChangedError struct {
	Object string
	What   string
	Gone   bool // it is not there at all
}

func changedf(object, format string, args ...any) *ChangedError {
	return &ChangedError{Object: object, What: fmt.Sprintf(format, args...)}
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s has changed since the run began (%s): resuming would mix two inputs; "+
		"restore it, or start over with --fresh", e.Object, e.What)
}

// DefaultMaxRecord is the length of a record in bytes from which on it is too
// long.
const DefaultMaxRecord = 16 << 20

// Options select the input.
type Options struct {
	// From are addresses of the Schemes: files, directories (walked, sorted),
	// globs, s3://bucket/prefix.
	From []string
	// MaxRecord bounds one record; 0: DefaultMaxRecord.
	MaxRecord int
	// Follow, unless it is nil, says that no end is expected: the input is looked at again and
	// again, and what is new in it is read. A line that is not complete, and a compressed file that still
	// grows, wait.
	Follow *Follow
	// AllowEmpty says that a folder, a pattern or a prefix may have nothing in it.
	AllowEmpty bool
	// Frozen is the manifest of the run that is resumed: its objects come
	// first, in this order, and have to be there unchanged; what From has
	// beyond them comes after.
	Frozen []Object
	// Freeze is called with the objects that the manifest has got beyond
	// Frozen, before any of their records is yielded: what it keeps is what
	// a resume is given as Frozen. It is never called at the same time twice.
	// nil: none.
	Freeze func(added []Object) error
	// Void are entries of Frozen that are read up to a place and no further, since they could
	// not be: the zero Place is the beginning. What such an object still has, or has again,
	// is another entry.
	Void map[int]Place
	// Voided is called with an entry that cannot be read any further, and that only itself is
	// to blame for: it ends at that place from then on, and what is behind it is read. An error
	// ends the reading. nil: that is the end of it.
	Voided func(entry int, at Place, why error) error

	// Barren are entries of Frozen of which nothing could be read but that they are damaged: what
	// is in their places later is new. NotedBarren is called with each that is found to be one.
	Barren      []int
	NotedBarren func(entry int) error

	// Ended is where an entry of Frozen ends, which is not looked at again by whoever has read all of it;
	// NotedEnd is told of each entry that was read to its end. nil: nobody remembers it.
	Ended    Position
	NotedEnd func(end Position) error

	// Tails are the entries of Frozen that ended in the middle of a record, by what NotedTail was told.
	Tails     map[int]Tail
	NotedTail func(entry int, tail Tail) error
	// Rest is for how long a file must not have been written before what it ends with is a row
	// of a table although no line end follows, by the clock Now; nil: all files rest.
	Rest time.Duration
	Now  func() time.Time

	// Format names the shape of the records: "auto" (or ""), "segment",
	// "table", or one of Shapes.
	Format string
	Shapes []Shape
	// Columns names the columns of tables that have no header.
	Columns []string
	// Separator is what stands between the cells of tables; "": found out.
	Separator string
	// Types say what the cells of a table's columns are, each as COLUMN=TYPE: number, boolean, json, time or
	// text. Cells of texts are texts otherwise. DateOrder is how times among them are read.
	Types     []string
	DateOrder event.DateOrder
	// Unwrap is where in each record the events, or records of a known shape, lie: see Shape.
	Unwrap string
	// Encoding is what texts are written in: utf-8 or latin1; "": UTF-8, and a table that is none is refused.
	Encoding string

	// Since (inclusive) and Until (exclusive) leave out objects whose path
	// says that they hold no event of that time; Layout says where the path
	// has its time ("": found out), and Lateness how long after an event its
	// object may have been written (0: 72 h). The events themselves are not
	// looked at.
	Since, Until time.Time
	Layout       string
	Layouts      []Layout // that Layout may name
	Lateness     time.Duration

	// Schemes are what From may name; nil: [Known].
	Schemes Schemes
	// Disk is where local input lies and fetched objects are kept; nil: [OSDisk].
	Disk Disk
	// Log is told of requests to object stores that are tried again; nil: nobody
	// is.
	Log *slog.Logger
	// CacheDir keeps fetched objects until Release; "": a temporary folder.
	// CacheBytes bounds it; 0: 2 GiB. The folder is the source's alone.
	CacheDir   string
	CacheBytes int64
	// DeadLetters yields the dead letters of a run themselves, for a redrive,
	// not the events in them.
	DeadLetters bool
}

// Follow says when input is looked at again.
type Follow struct {
	// Poll is how long nothing is looked at when nothing says that there is something new; 0: 10 s.
	Poll time.Duration
	// Wake, if not nil, stands in for time and for what the system says of changes in
	// folders: the input is looked at each time it gives something.
	Wake <-chan struct{}
	// Trim, if not nil, is told from time to time which entries of the manifest nobody has to
	// know any more. All of them are before an entry that will not be forgotten.
	Trim func(before int, drop []int) error
}

// Stats counts what the selection left out. While a listing goes on the counts
// grow.
type Stats struct {
	Skipped      int      // marker files, hidden directories, empty directories' placeholders
	NoFiles      int      // what a directory or a pattern has that is no file: pipes, links to directories
	Passed       []string // the first of these, with what they are
	Pruned       int      // objects left out by the time in their path
	PrunedBytes  int64    // their sizes
	PrunedGroups int      // whole folders left out likewise, unlisted
	Undated      int      // objects read although a time was asked for: their path has none
	Layout       string   // by which paths were understood; "": none
	Listed       bool     // everything has been listed
}
