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
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/stock"
)

// Reason says why a record is not an event.
type Reason string

const (
	Syntax    Reason = "syntax"       // not JSON
	NotEvent  Reason = "not_an_event" // JSON, but no event
	TooLong   Reason = "too_long"     // longer than MaxRecord
	Truncated Reason = "truncated"    // cut off: the object ends or breaks in the middle
)

// RecordError says what is wrong with a record, and where the record is.
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

// Place describes where the record is.
func (e *RecordError) Place() string {
	at := fmt.Sprintf("%s, byte %d", e.Object, e.Offset)
	if e.Line > 0 {
		at += fmt.Sprintf(" (line %d)", e.Line)
	}
	return at
}

// Record is one JSON document as it was read.
type Record struct {
	Raw  []byte   // part of the chunk's Data; for a bad record what could be read, at most 64 KiB
	End  Position // just after the record
	Line int64    // from 1; 0: unknown
	Tail bool     // the object ended without a line end after it
	Err  *RecordError
}

// keptChunks is how many unused chunks are kept for reuse.
const keptChunks = 32

// Chunk is a sequence of consecutive records of one object. It belongs to the receiver.
type Chunk struct {
	Data    []byte
	Records []Record
	Start   Position // before the first record
	End     Position // after the last
	Name    string   // of the object
	As      string   // how the object was recognised, as a text for people; "": an earlier chunk said it
	Hint    string   // advice about records that are not JSON; "": none
	Foreign string   // advice about records that are not events; "": none
	pool    stock.Stock[Chunk]
	others  atomic.Int32 // holders besides the first

	mu     sync.Mutex
	copies map[*byte][]byte // see Copy
}

// Retain adds a holder, which has to release the chunk, too.
func (c *Chunk) Retain() { c.others.Add(1) }

// Release frees the chunk's memory once every holder has called it; the chunk must not be used afterwards. A chunk
// that is not released is left to the garbage collector.
func (c *Chunk) Release() {
	if c.others.Add(-1) >= 0 {
		return
	}
	c.others.Store(0)
	clear(c.copies)
	if cap(c.Data) <= 2*ChunkBytes {
		c.pool.Put(c)
	} else if cap(c.Data) <= 4<<20 {
		c.pool.PutLarge(c)
	}
}

// Copy returns a copy of a record's text, the same one to all who ask for it while they hold the chunk. It may be
// kept after the chunk is released. It is safe for concurrent use.
func (c *Chunk) Copy(raw []byte) []byte {
	if len(raw) == 0 {
		return bytes.Clone(raw) // nil must not become an empty text
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copies == nil {
		c.copies = map[*byte][]byte{}
	}
	kept := c.copies[&raw[0]]
	if len(kept) != len(raw) {
		kept = bytes.Clone(raw)
		c.copies[&raw[0]] = kept
	}
	return kept
}

// Source yields the records of a run's input.
type Source interface {
	// Chunks yields the records after a position, in order. Every call starts a new reading, and readings may run
	// concurrently. A non-nil error ends the iteration; every record before it has been yielded.
	Chunks(ctx context.Context, after Position, pass Pass) iter.Seq2[*Chunk, error]
	// Manifest is what is being read.
	Manifest() *Manifest
}

// Pass says what a reading is for.
type Pass uint8

const (
	// First is the leading reading: it reads ahead of its receiver, its progress is that of the run, and it
	// reports what could not be listed.
	First Pass = iota
	// Again is a reading of what First has passed already. There may be many, so each holds one chunk in memory
	// instead of four, and is slower.
	Again
)

// Object is one entry of a manifest.
type Object struct {
	Name        string    `json:"name"` // path, s3://bucket/key, archive!member, or "-"
	Size        int64     `json:"size"`
	Fingerprint string    `json:"fingerprint"` // changes when the bytes do
	ModTime     time.Time `json:"mod_time,omitzero"`
	From        int       `json:"from,omitempty"` // which of Options.From it belongs to, from 0
	// Start is where the entry begins in the bytes that Size and Fingerprint describe. After is one more than the
	// index of the entry that it continues, if it is what was appended to a file. 0: it is the whole file.
	Start int64  `json:"start,omitempty"`
	After uint32 `json:"after,omitempty"`
	// Skip is how many plain bytes of a file were read before it was compressed.
	Skip int64 `json:"skip,omitempty"`
	// Begin is the place from which on it is read: an earlier entry has what is before that.
	Begin Place `json:"begin,omitzero"`
	// Head is the fingerprint of the beginning of a local file, by which a file that has taken its name is told from the
	// same file with other bytes; "": not known.
	Head string `json:"head,omitempty"`
	// Open says that the object was being written when it was examined: its end is not yet a record.
	Open Openness `json:"open,omitempty"`
}

// Openness says when the end of an object without a final line end may be only the beginning of a record.
type Openness uint8

// Kinds of Openness. A line of JSON shows by itself whether it is complete, a row of a table does not.
const (
	Closed   Openness = iota // never: it is a record
	OpenRow                  // if it is a row of a table
	OpenLine                 // always
)

// Tail is the place of the last record of an object, if the object ends in the middle of it.
type Tail struct {
	Place
	Kind TailKind
	// Bad is how many bad records there are from that place on, by reason; nil: one truncated record, if Kind is
	// CutOff.
	Bad map[Reason]int
}

// TailKind says how the incomplete record was treated.
type TailKind uint8

// How an incomplete record was treated.
const (
	CutOff  TailKind = iota // counted as a truncated record
	HeldOff                 // not read
	Nothing                 // there was nothing at all: no part of the object is a record
	Whole                   // it is a complete record, but the compressed data may not end there
)

// keptTail is the JSON form of a tail.
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

// length is how many bytes of the object belong to the entry.
func (o Object) length() int64 { return o.Size - o.Start }

// ID is a short name for the object's bytes. Insert ids of events without messageId are made from it.
func (o Object) ID() string {
	return fmt.Sprintf("%016x", xxh3.HashString(o.Fingerprint+"\x00"+o.Name))
}

// InputError is a mistake in the command: a selection, or an object in it, cannot be read at all. It is found
// before anything of it is read.
type InputError struct {
	Err error
	All bool // it concerns the whole store: no other object can be read, either
}

func inputf(format string, args ...any) *InputError {
	return &InputError{Err: fmt.Errorf(format, args...)}
}

func (e *InputError) Error() string { return e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// ChangedError is an object that differs from the manifest.
type ChangedError struct {
	Object string
	What   string
	Gone   bool // the object does not exist any more
	Begins bool // what is in its place is empty, or too short to tell yet whether it is another one
	Shrank bool // it became shorter while it was looked at
}

func changedf(object, format string, args ...any) *ChangedError {
	return &ChangedError{Object: object, What: fmt.Sprintf(format, args...)}
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s has changed since the run began (%s): resuming would mix two inputs; "+
		"restore it, or start over with --fresh", e.Object, e.What)
}

// DefaultMaxRecord is the length in bytes above which a record is too long.
const DefaultMaxRecord = 16 << 20

// Options select the input.
type Options struct {
	// From are addresses of the Schemes: files, directories (walked, sorted), globs, s3://bucket/prefix.
	From []string
	// MaxRecord bounds one record; 0: DefaultMaxRecord.
	MaxRecord int
	// Follow, if not nil, says that the input is not expected to end: it is examined again and again, and new
	// input is read. An incomplete line waits, and so does a compressed file that is still growing.
	Follow *Follow
	// AllowEmpty says that a folder, a pattern or a prefix may be empty.
	AllowEmpty bool
	// Frozen is the manifest of the run that is resumed: its objects come first, in this order, and must be
	// unchanged. Further objects found by From come after them.
	Frozen []Object
	// Freeze is called with objects that are added to the manifest after Frozen, before any of their records is
	// yielded. What it stores is passed as Frozen when the run resumes. It is never called concurrently. nil: not
	// needed.
	Freeze func(added []Object) error
	// Void are entries of Frozen that are read only up to a place, because the rest could not be read; the zero
	// Place is the beginning. If the rest becomes readable, it is a new entry.
	Void map[int]Place
	// Voided is called with an entry that cannot be read further because of the object itself, not of a failure
	// around it. From then on the entry ends at that place, and reading continues after it. An error ends the
	// reading. nil: reading ends at such an object.
	Voided func(entry int, at Place, why error) error

	// Barren are entries of Frozen that are damaged from the start: whatever is in their place later counts as
	// new. NotedBarren is called with each one that is found.
	Barren      []int
	NotedBarren func(entry int) error

	// Ended is the place where an entry of Frozen ends; the object is not examined again once all of it was read.
	// NotedEnd is called with each entry that was read to its end. nil: nobody stores it.
	Ended    Position
	NotedEnd func(end Position) error

	// Tails are the entries of Frozen that ended in the middle of a record, as reported to NotedTail.
	Tails     map[int]Tail
	NotedTail func(entry int, tail Tail) error
	// Rest is how long a file must not have been written before its last row counts as complete without a line
	// end, by the clock Now; nil: every file counts as finished.
	Rest time.Duration
	Now  func() time.Time

	// Format names the shape of the records: "auto" (or ""), "segment",
	// "table", or one of Shapes.
	Format string
	Shapes []Shape
	// Columns names the columns of tables that have no header.
	Columns []string
	// Separator separates the cells of tables; "": detect it.
	Separator string
	// Types are the types of a table's columns, each as COLUMN=TYPE: number, boolean, json, time or text. Without
	// one, cells stay texts. DateOrder is how times in cells are read.
	Types     []string
	DateOrder event.DateOrder
	// Unwrap is the path in each record of the events, or of records of a known shape: see Shape.
	Unwrap string
	// Encoding is the encoding of text: utf-8 or latin1; "": UTF-8, and a table in another encoding is refused.
	Encoding string

	// Since (inclusive) and Until (exclusive) leave out objects whose path says that they contain no event of that
	// time. Layout says where the path has its time ("": detect it), and Lateness how long after an event its
	// object may have been written (0: 72 h). The events themselves are not checked.
	Since, Until time.Time
	Layout       string
	Layouts      []Layout // those that Layout may name
	Lateness     time.Duration

	// Schemes are the kinds of addresses for From; nil: [Known].
	Schemes Schemes
	// Disk is the file system for local input and for fetched objects; nil: [OSDisk].
	Disk Disk
	// Replaced is told of each file that is read as a new one, although a file of its name was read before: that one is
	// gone, of which so many bytes were read, and this one begins otherwise. It may be called in a goroutine of the
	// input. nil: not needed.
	Replaced func(name string, read int64)
	// Log is told about requests to object stores that are retried; nil: no logging.
	Log *slog.Logger
	// CacheDir keeps fetched objects until Release; "": a temporary folder. CacheBytes bounds it; 0: 2 GiB.
	// Nothing else may use the folder.
	CacheDir   string
	CacheBytes int64
	// DeadLetters yields the dead letters of a run themselves, for a redrive, instead of the events in them.
	DeadLetters bool
}

// Follow says when followed input is examined again.
type Follow struct {
	// Poll is how long to wait before examining the input again if no change is reported; 0: 10 s.
	Poll time.Duration
	// Wake, if not nil, replaces the timer and the system's notifications: the input is examined each time it
	// delivers a value.
	Wake <-chan struct{}
	// Trim, if not nil, is called from time to time with entries of the manifest that need not be remembered any
	// more. All of them are before an entry that will not be forgotten.
	Trim func(before int, drop []int) error
}

// Stats counts what the selection left out. The counts grow while a listing goes on.
type Stats struct {
	Skipped      int      // marker files, hidden directories, placeholders of empty directories
	NoFiles      int      // entries of a directory or pattern that are no files: pipes, links to directories
	Passed       []string // the first of these, with a description
	Pruned       int      // objects left out because of the time in their path
	PrunedBytes  int64    // their sizes
	PrunedGroups int      // whole folders left out for the same reason, without listing them
	Undated      int      // objects that were read although a time was asked for, because their path has none
	Layout       string   // the layout used for paths; "": none
	Listed       bool     // the listing is complete
}
