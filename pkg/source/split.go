package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/encoding/unicode"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/stock"
)

// mode is how the records are arranged in an object's text.
type mode uint8

const (
	lines     mode = iota // one document per line
	bodies                // one envelope per line: {"batch":[…]}
	documents             // documents one after the other, over several lines or without separators
	array                 // one top-level array
	envelope              // one document with an array of events in it
	rows                  // a table: CSV and similar
)

// envelopes are the members in which exports wrap their events.
var envelopes = [...]string{"batch", "Records", "records", "events", "logs", "data", "Messages"}

const (
	// ChunkBytes is how long the text of a [Chunk] is, unless a record is longer. With twice as much a run takes as long,
	// and 3 to 15 MiB more.
	ChunkBytes   = 256 << 10
	headBytes    = 1 << 20 // how much of an object is examined to recognise it
	chunkRecords = 2000
	badBytes     = 64 << 10 // how much of a bad record is kept
)

// reading is one pass over one object.
type reading struct {
	letters bool // yield dead letters themselves, not the events in them
	ctx     context.Context
	name    string
	object  uint32
	max     int
	pool    stock.Stock[Chunk]
	yield   func(*Chunk) bool

	src    io.Reader
	buf    []byte // read but not yet yielded
	off    int64  // offset of buf[0] in the decompressed stream
	eof    bool
	broken error // why the stream ended early
	line   int64
	chunk  *Chunk
	last   Position
	mode   mode
	parser event.Parser
	past   Position    // records up to here were read before; for an envelope, which is read from its beginning
	common event.Value // what the envelope says about all events in it

	choose  chooser
	convert *converter
	skip    uint32 // events of the next document that were read before
	why     string // reason for the mode
	hint    string // see Chunk.Hint
	foreign string // see Chunk.Foreign
	found   []converted
	mended  bool // the table is read through mend
	noted   func(why string)
	raw     interface{ fatal() error } // why reading the object failed, below src
	live    interface{ idle() bool }   // set for a stream that may have to be waited for
	growth  *growth                    // the part of the object to read; nil: all
	most    int64                      // number of plain bytes to read; 0: all
	failed  error
	open    Openness // of the object
	held    bool     // its end is not yet a record, and was not read
}

// halt returns the reason to stop: the receiver's context, or a failure to read the object. Damaged data is not a
// reason.
func (r *reading) halt() error {
	if r.failed != nil {
		return r.failed
	}
	return r.ctx.Err()
}

// run reads the object from a position on. Errors in the data become bad records. It returns errStopped, the
// context's error, or the reason why the object itself could not be read or recognised.
func (r *reading) run(f io.Reader, from Position) error {
	br := bufio.NewReaderSize(f, 256<<10)
	src, codec, err := decompress(br)
	if closer, ok := src.(io.Closer); ok && codec != "" {
		defer closer.Close()
	}
	if r.raw.fatal() != nil {
		return r.raw.fatal()
	}
	var input *InputError
	if errors.As(err, &input) {
		return inputf("%s: %w", r.name, err)
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if r.open == OpenLine && errors.Is(err, io.ErrUnexpectedEOF) {
			r.held = true // it may have only begun to be written
			return nil
		}
		r.last = from
		return r.bad(nil, 0, Truncated, "the "+codec+" stream cannot be read: "+err.Error())
	}
	inner, is := untar(src, true)
	if is {
		codec = strings.TrimSuffix("tar, "+codec, ", ")
	}
	if r.most > 0 {
		inner = io.LimitReader(inner, r.most)
	}
	r.src, r.line, r.last = inUTF8(inner, r.choose.encoding), 1, from
	r.take()
	r.fill(headBytes)
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.failed != nil {
		// What the records are is decided by the whole first megabyte: with less of it, another reading could
		// decide differently.
		return r.failed
	}
	if r.mode, err = r.recognise(); err != nil {
		return err
	}
	if codec != "" {
		r.why += ", " + codec
	}
	if r.noted != nil {
		r.noted(r.why)
	}
	r.chunk.As = r.why
	r.bom(from)
	if r.growth != nil {
		if err := r.toGrowth(codec); err != nil {
			return err
		}
	}
	if r.mode == envelope {
		r.past = from // what applies to all its events may be at the beginning
	} else if err := r.skipTo(from.Offset); err != nil {
		return err
	}
	return r.records(from)
}

// growth is the part of an object that was appended. Its offsets continue from its start, counted in bytes as they
// are stored.
type growth struct {
	start int64
	src   io.Reader // from the start of the growth on
	close io.Closer // closes the decompressor; nil: there is none
}

// toGrowth continues reading in the part that was appended, once the object's beginning has told what it is.
func (r *reading) toGrowth(codec string) error {
	g := r.growth
	if r.mode == array || r.mode == envelope {
		return changedf(r.name, "it has grown, and is one JSON document, which cannot be appended to")
	}
	r.src = inUTF8(g.src, r.choose.encoding)
	if codec == wideLittle || codec == wideBig {
		r.src = wide(g.src, codec == wideBig, unicode.IgnoreBOM)
	} else if codec != "" {
		src, _, err := decompress(bufio.NewReaderSize(g.src, 256<<10))
		if r.raw.fatal() != nil {
			return r.raw.fatal()
		}
		if err != nil {
			return changedf(r.name, "it has grown, and what is new cannot be read: %v", err)
		}
		r.src = inUTF8(src, r.choose.encoding)
		g.close, _ = src.(io.Closer)
	}
	r.buf, r.off, r.eof, r.broken, r.line = r.chunk.Data[:0], g.start, false, nil, 0
	return nil
}

// bom skips a byte order mark at the beginning of the object.
func (r *reading) bom(from Position) {
	if from.Offset == 0 && bytes.HasPrefix(r.buf, bom) {
		r.buf, r.off = r.buf[len(bom):], int64(len(bom))
	}
}

// records yields the records after a position; buf begins there.
func (r *reading) records(from Position) error {
	r.chunk.Start = from
	var err error
	switch r.mode {
	case lines, bodies:
		err = r.readLines(from.Element)
	case rows:
		err = r.readRows(from.Element)
	default:
		if r.mode == envelope {
			err = r.readStream(false)
			break
		}
		resumed := from.Element > 0 && r.mode != documents
		r.skip = from.Element
		if resumed {
			r.skip--
		}
		err = r.readStream(resumed)
	}
	if err == nil {
		err = r.halt()
	}
	if err != nil {
		return err
	}
	// The record that reports how the object breaks off ends one byte after the last byte, so that a reading that
	// starts at the object's end does not yield it again.
	if r.broken != nil && r.open == OpenLine {
		r.held, r.broken = true, nil
	}
	if r.broken == errCut { // between two records
		r.broken = nil
	}
	if end := (Position{r.object, r.off + int64(len(r.buf)) + 1, 0}); r.broken != nil && end.Compare(from) > 0 {
		detail := "the object breaks off: " + r.broken.Error()
		if errors.Is(r.broken, errGarbage) {
			detail = "the object ends in " + r.broken.Error()
		}
		r.add(Record{Line: r.line, End: end, Err: &RecordError{Truncated, detail, r.name, end.Offset - 1, r.line}})
	}
	return r.flush(nil)
}

var bom = []byte("\xef\xbb\xbf")

// take starts a chunk in pooled memory.
func (r *reading) take() {
	r.chunk = r.pool.Take()
	c := r.chunk
	if cap(c.Data) < ChunkBytes {
		c.Data = make([]byte, 0, ChunkBytes)
	}
	clear(c.Records)
	*c = Chunk{Data: c.Data[:0], Records: c.Records[:0], Start: r.last, Name: r.name, As: r.why, Hint: r.hint,
		Foreign: r.foreign, pool: r.pool, copies: c.copies}
	r.buf = c.Data
}

// flush yields the chunk, and starts a new one with the rest of the data.
func (r *reading) flush(rest []byte) error {
	c := r.chunk
	if len(c.Records) == 0 {
		return r.ctx.Err()
	}
	r.unnumber(c.Records)
	c.End = c.Records[len(c.Records)-1].End
	c.Data = r.buf[:len(r.buf):cap(r.buf)]
	r.last = c.End
	consumed := len(r.buf) - len(rest)
	r.take()
	if cap(r.buf) < len(rest)+ChunkBytes/4 {
		r.buf = make([]byte, 0, len(rest)+ChunkBytes)
	}
	r.buf = append(r.buf, rest...)
	r.off += int64(consumed)
	if !r.yield(c) {
		return errStopped
	}
	return r.ctx.Err()
}

// fill reads until buf has n bytes or the stream ends. For a live stream, one record is enough.
func (r *reading) fill(n int) {
	if r.live != nil && r.mayHold() && r.live.idle() {
		return
	}
	r.pull(n)
}

// mayHold says whether buf may have a whole record in it.
func (r *reading) mayHold() bool {
	switch r.mode {
	case documents, array, envelope: // they need no line end
		return len(r.buf) > 0
	}
	return bytes.IndexByte(r.buf, '\n') >= 0
}

// pull is fill, but reads at least once.
func (r *reading) pull(n int) {
	for len(r.buf) < n && !r.eof {
		if len(r.buf) == cap(r.buf) {
			grown := make([]byte, len(r.buf), 2*cap(r.buf))
			copy(grown, r.buf)
			r.buf = grown
		}
		// No more than a chunk, so that chunks are of one size: memory is kept for the largest.
		k, err := r.src.Read(r.buf[len(r.buf):min(max(n, ChunkBytes), cap(r.buf))])
		r.buf = r.buf[:len(r.buf)+k]
		if err != nil {
			r.eof = true
			if err != io.EOF {
				r.broken = err
			}
			r.failed = r.raw.fatal()
			return
		}
		if r.live != nil && k > 0 && r.mayHold() && r.live.idle() {
			return
		}
	}
}

// more reads more into buf, up to MaxRecord. It may move buf, so records that point into it must be flushed
// before.
func (r *reading) more() bool {
	if r.eof {
		return false
	}
	before := len(r.buf)
	r.pull(before + ChunkBytes/2)
	return len(r.buf) > before
}

// forward makes buf begin at an offset of it, and reads more, or says that there is none.
func (r *reading) forward(at int) (more bool, err error) {
	if len(r.chunk.Records) > 0 {
		if err := r.flush(r.buf[at:]); err != nil {
			return false, err
		}
	} else {
		r.off += int64(at)
		r.buf = append(r.buf[:0], r.buf[at:]...)
	}
	return r.more() || !r.eof, r.halt()
}

// skipTo discards everything before an offset.
func (r *reading) skipTo(to int64) error {
	for r.off < to {
		if n := to - r.off; n <= int64(len(r.buf)) {
			r.line += int64(bytes.Count(r.buf[:n], []byte{'\n'}))
			r.buf = append(r.chunk.Data[:0], r.buf[n:]...)
			r.off = to
			return nil
		}
		r.line += int64(bytes.Count(r.buf, []byte{'\n'}))
		r.off += int64(len(r.buf))
		r.buf = r.chunk.Data[:0]
		if err := r.halt(); err != nil {
			return err
		}
		if r.fill(ChunkBytes); len(r.buf) == 0 {
			return nil // shorter than it was, or already read to its end
		}
	}
	return nil
}

func (r *reading) add(rec Record) {
	if rec.End.Compare(r.past) > 0 || r.past == (Position{}) {
		r.chunk.Records = append(r.chunk.Records, rec)
	}
}

// bad yields a chunk with a single bad record.
func (r *reading) bad(raw []byte, at int64, reason Reason, detail string) error {
	c := &Chunk{Start: r.last, Name: r.name}
	c.End = Position{r.object, at + int64(len(raw)) + 1, 0}
	if c.End.Compare(r.last) <= 0 {
		return nil // it was yielded before
	}
	c.Records = []Record{{Raw: raw, End: c.End, Line: r.line, Err: &RecordError{reason, detail, r.name, at, r.line}}}
	r.unnumber(c.Records)
	if !r.yield(c) {
		return errStopped
	}
	return nil
}

// unnumber removes line numbers from records if the lines before them were not counted.
func (r *reading) unnumber(records []Record) {
	if r.growth == nil {
		return
	}
	for i := range records {
		records[i].Line = 0
		if records[i].Err != nil {
			records[i].Err.Line = 0
		}
	}
}

// detect examines the first document of the object. It depends only on the object's first megabyte, so that every
// reading comes to the same result.
func (r *reading) detect() mode {
	head := bytes.TrimPrefix(r.buf[:min(len(r.buf), headBytes)], bom)
	i := event.SkipSpace(head, 0)
	if i == len(head) {
		return lines
	}
	end, ok := scanValue(head, i)
	nl := bytes.IndexByte(head[i:], '\n')
	if nl >= 0 {
		nl += i
	}
	switch head[i] {
	case '[':
		// An array that ends with its line, and is followed by further lines, is a line that is no event, unless
		// it contains objects.
		if ok && nl >= 0 && end <= nl && event.SkipSpace(head, nl) < len(head) {
			if j := event.SkipSpace(head, i+1); head[j] != '{' {
				return lines
			}
		}
		return array
	case '{':
	default:
		return lines
	}
	if !ok {
		if nl < 0 {
			if envelopeIn(head[i:]) != "" {
				return envelope
			}
			return documents
		}
		// It does not end within the first megabyte, but there are lines: either a document over several lines, or
		// a broken first line.
		line := bytes.TrimSpace(head[i:nl])
		if n := len(line); n > 0 && (line[n-1] == '{' || line[n-1] == ',' || line[n-1] == '[') {
			if envelopeIn(head[i:]) != "" {
				return envelope
			}
			return documents
		}
		return lines
	}
	if nl >= 0 && nl < end {
		if event.Valid(head[i:end]) != nil {
			return lines // a quote or bracket in the first line is not closed
		}
		if envelopeIn(head[i:end]) != "" {
			return envelope
		}
		return documents
	}
	if v, err := event.ParseValue(head[i:end]); err == nil && isEnvelope(v).Exists() {
		if event.SkipSpace(head, end) == len(head) {
			if r.live != nil && !r.eof && end < len(head) {
				return bodies // of a stream that may bring more of them
			}
			return envelope
		}
		if next := skipBlank(head, end); next < len(head) && head[next] != '\n' {
			return envelope
		}
		return bodies
	}
	if next := skipBlank(head, end); next < len(head) && head[next] == '{' {
		return documents
	}
	return lines
}

// isEnvelope returns the array of events inside a document that is not an event itself; if there is none, a Value
// that does not exist.
func isEnvelope(v event.Value) event.Value {
	if v.Kind() != event.Object || v.Get("type").Kind() == event.String {
		return event.Value{}
	}
	for _, name := range envelopes {
		if a := v.Get(name); a.Kind() == event.Array && (a.Len() == 0 || a.Index(0).Kind() == event.Object) {
			return a
		}
	}
	return event.Value{}
}

// envelopeIn finds the member that wraps the events of a document, which may be incomplete. It looks only at the
// top level.
func envelopeIn(b []byte) string {
	i := event.SkipSpace(b, 1)
	for i < len(b) && b[i] == '"' {
		end, ok := scanString(b, i)
		if !ok {
			return ""
		}
		key := string(b[i+1 : end-1])
		if key == "type" {
			return ""
		}
		i = event.SkipSpace(b, end)
		if i >= len(b) || b[i] != ':' {
			return ""
		}
		i = event.SkipSpace(b, i+1)
		if i < len(b) && b[i] == '[' {
			for _, name := range envelopes {
				if j := event.SkipSpace(b, i+1); key == name && j < len(b) && (b[j] == '{' || b[j] == ']') {
					return name
				}
			}
		}
		if i, ok = scanValue(b, i); !ok {
			return ""
		}
		if i = event.SkipSpace(b, i); i >= len(b) || b[i] != ',' {
			return ""
		}
		i = event.SkipSpace(b, i+1)
	}
	return ""
}

// skipBlank is event.SkipSpace within a line.
func skipBlank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// scanString returns the offset after the string that begins at i.
func scanString(b []byte, i int) (int, bool) {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1, true
		}
	}
	return len(b), false
}

// scanValue returns the offset after the value that begins at i, looking only at brackets and quotes. ok is false
// if b ends before the value does.
func scanValue(b []byte, i int) (end int, ok bool) {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i, ok = scanString(b, i); !ok {
				return len(b), false
			}
			if depth == 0 {
				return i, true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return i + 1, true
			}
		default:
			if depth == 0 {
				for i < len(b) {
					switch b[i] {
					case ',', ']', '}', '{', '[', '"', ' ', '\t', '\r', '\n':
						return i, true
					}
					i++
				}
				return i, false
			}
		}
		i++
	}
	return i, false
}

// readLines yields one record per line, or, from envelopes, one per element. skip is the number of elements of the
// first line that were read before.
func (r *reading) readLines(skip uint32) error {
	for {
		r.fill(ChunkBytes)
		if err := r.ctx.Err(); err != nil {
			return err
		}
		end := bytes.LastIndexByte(r.buf, '\n') + 1
		if r.eof && r.failed == nil {
			end = len(r.buf)
		}
		if end == 0 {
			if r.failed != nil {
				return r.failed
			}
			if r.eof {
				return nil
			}
			if len(r.buf) > r.max {
				if err := r.skipLine(); err != nil {
					return err
				}
				continue
			}
			if r.more() || r.eof {
				continue
			}
			return nil
		}
		for i := 0; i < end; {
			n := bytes.IndexByte(r.buf[i:end], '\n')
			next, tail := i+n+1, false
			if n < 0 {
				n = end - i
				next, tail = end, true
			}
			line := r.buf[i : i+n]
			if len(line) > 0 && (line[n-1] == '\r' || line[n-1] <= ' ' || line[0] <= ' ') {
				line = bytes.Trim(line, " \t\r")
			}
			if len(line) > 2 && line[0] == bom[0] {
				line = bytes.TrimPrefix(line, bom)
			}
			if len(line) > 0 {
				if err := r.addLine(line, i, next, tail, skip); err != nil {
					return err
				}
			}
			skip = 0
			r.line++
			i = next
			if len(r.chunk.Records) >= chunkRecords {
				// Counted from here on, because buf begins at i.
				if err := r.flush(r.buf[i:]); err != nil {
					return err
				}
				end -= i
				i = 0
			}
		}
		done := r.eof && (end == len(r.buf) || r.failed != nil)
		if len(r.chunk.Records) == 0 { // only blank lines
			r.off += int64(end)
			r.buf = append(r.chunk.Data[:0], r.buf[end:]...)
		} else if err := r.flush(r.buf[end:]); err != nil {
			return err
		}
		if done {
			return r.failed
		}
	}
}

// addLine adds the records of one line. i and next are its extent in buf.
func (r *reading) addLine(line []byte, i, next int, tail bool, skip uint32) error {
	at := r.off + int64(i)
	after := Position{r.object, r.off + int64(next), 0}
	if len(line) > r.max {
		r.add(Record{Raw: cut(line), End: after, Line: r.line, Err: r.tooLong(int64(len(line)), at, r.line)})
		return nil
	}
	if tail && r.open == OpenLine && event.Valid(line) != nil {
		r.held, r.broken = true, nil
		return nil
	}
	if tail && r.broken != nil && event.Valid(line) != nil {
		after.Offset++ // see records
		broken := &RecordError{Truncated, "the object breaks off: " + r.broken.Error(), r.name, at, r.line}
		r.add(Record{Raw: cut(line), End: after, Line: r.line, Err: broken})
		r.broken = nil // no separate record reports it
		return nil
	}
	if r.mode == bodies {
		r.parser.Reset()
		if v, err := r.parser.ParseValue(line); err == nil {
			if a := isEnvelope(v); a.Exists() {
				r.found = r.found[:0]
				for el := range a.Elements() {
					if raw, _ := inherit(v, el); r.convert != nil {
						r.found = r.convert.apply(raw, r.found)
					} else {
						r.found = append(r.found, converted{event: raw})
					}
				}
				r.addFound(line, at, after, r.line, false, skip, 0, 1)
				return nil
			}
		}
	}
	if r.convert != nil {
		r.addConverted(line, at, after, r.line, tail, skip, 0, 1)
		return nil
	}
	if !r.letters && bytes.HasPrefix(line, deadLetter) {
		if ev, ok := unletter(line, &r.parser); ok {
			line = ev
		}
	}
	r.add(Record{Raw: line, End: after, Line: r.line, Tail: tail})
	return nil
}

func (r *reading) tooLong(bytes, at, line int64) *RecordError {
	detail := fmt.Sprintf("the record has %d bytes; at most %d are read", bytes, r.max)
	return &RecordError{TooLong, detail, r.name, at, line}
}

func cut(b []byte) []byte { return b[:min(len(b), badBytes)] }

// skipLine reports the line at the start of buf as too long, and skips the rest of it without keeping it in
// memory.
func (r *reading) skipLine() error {
	start, line := r.off, r.line
	kept := bytes.Clone(cut(r.buf))
	total := int64(0)
	for {
		n := bytes.IndexByte(r.buf, '\n')
		if n >= 0 || r.eof {
			if n < 0 {
				n = len(r.buf) - 1
			}
			total += int64(n)
			r.off += int64(n + 1)
			rest := bytes.Clone(r.buf[n+1:])
			r.take()
			r.buf = append(r.buf, rest...)
			r.line++
			c := &Chunk{Start: r.last, End: Position{r.object, r.off, 0}, Name: r.name}
			c.Records = []Record{{Raw: kept, End: c.End, Line: line, Err: r.tooLong(total, start, line)}}
			r.last, r.chunk.Start = c.End, c.End
			if !r.yield(c) {
				return errStopped
			}
			return r.halt()
		}
		total += int64(len(r.buf))
		r.off += int64(len(r.buf))
		r.buf = r.chunk.Data[:0]
		if cap(r.buf) > 2*ChunkBytes || cap(r.buf) == 0 {
			r.buf = make([]byte, 0, ChunkBytes)
		}
		r.fill(ChunkBytes)
	}
}

// States of a streamReader.
const (
	outside = iota // between documents
	atKey          // at a key of an envelope
	inside         // between the elements of the array
)

// streamReader yields documents that are not one per line: without separators, pretty-printed, in one array, or
// inside an envelope.
//
// Positions between the elements of an array have Element 1, so that a reading that starts there knows that it is
// inside the array.
type streamReader struct {
	*reading
	state int
	at    int    // offset in buf of what is read next
	said  bool   // a record has reported that the object breaks off
	early []byte // for an envelope that is too large to read ahead: what it has said so far about all its events
	large bool   // the envelope is that large, or the object ends in it
	torn  bool   // the object ends in it
	// opened says that events of the envelope were read already.
	opened bool
}

// readStream yields documents. resumed says that reading begins inside an array.
func (r *reading) readStream(resumed bool) error {
	s := &streamReader{reading: r}
	if resumed {
		s.state = inside
	}
	for {
		if len(r.chunk.Records) >= chunkRecords {
			if err := r.flush(r.buf[s.at:]); err != nil {
				return err
			}
			s.at = 0
		}
		s.skipSpace()
		if s.at == len(r.buf) {
			more, err := s.need()
			if err != nil {
				return err
			}
			if more {
				continue
			}
			if s.state != outside && r.broken == nil && !s.said {
				r.broken = errors.New("the array or document is not closed")
			}
			return r.flush(nil)
		}
		if s.state == outside && s.mode == envelope && s.buf[s.at] == '{' {
			if err := s.ahead(); err != nil {
				return err
			}
			if s.at == len(r.buf) {
				continue
			}
		}
		if s.bracket() {
			continue
		}
		if err := s.value(); err != nil {
			return err
		}
	}
}

// skipSpace moves to the next document or bracket.
func (s *streamReader) skipSpace() {
	for s.at < len(s.buf) {
		switch c := s.buf[s.at]; {
		case c == '\n':
			s.line++
		case c == ' ', c == '\t', c == '\r', c == ',' && s.state != outside:
		case bytes.HasPrefix(s.buf[s.at:], bom):
			s.at += len(bom) - 1
		default:
			return
		}
		s.at++
	}
}

// need reads more text, or says that there is none.
func (s *streamReader) need() (bool, error) {
	if s.eof {
		return false, nil
	}
	more, err := s.forward(s.at)
	s.at = 0
	return more, err
}

// ahead looks for what an envelope says about all its events, which may come before or after them.
func (s *streamReader) ahead() error {
	r := s.reading
	r.common, s.early, s.large, s.opened = event.Value{}, nil, false, false
	for {
		end, ok := scanValue(r.buf, s.at)
		if ok && end-s.at <= r.max { // even if more has been read already: every reading has to decide the same
			r.common = commonOf(r.buf[s.at:end])
			return nil
		}
		if s.torn = r.eof && len(r.buf)-s.at <= r.max; s.torn && r.open == OpenLine {
			s.held, s.broken = true, nil // it may still be written
			s.buf = s.buf[:s.at]
			return nil
		}
		if r.eof || len(r.buf)-s.at > r.max {
			s.large = true
			return nil
		}
		if _, err := s.need(); err != nil {
			return err
		}
		r.pull(2 * len(r.buf)) // doubled, so that the repeated scans cost little in total
		if err := r.halt(); err != nil {
			return err
		}
	}
}

// commonOf returns what an envelope says about all its events, in its own memory; if there is nothing, a Value
// that does not exist.
func commonOf(envelope []byte) event.Value {
	v, err := event.ParseValue(envelope)
	if err != nil {
		return event.Value{}
	}
	var own []byte
	for _, key := range commonKeys {
		if said := v.Get(key); !said.Nullish() {
			own = append(append(append(event.AppendQuoted(own, key), ':'), said.Raw()...), ',')
		}
	}
	if own == nil {
		return event.Value{}
	}
	own[len(own)-1] = '}'
	v, _ = event.ParseValue(append([]byte{'{'}, own...))
	return v
}

// bracket handles a bracket that opens or closes the array of events.
func (s *streamReader) bracket() bool {
	c := s.buf[s.at]
	switch {
	case s.state == inside && c == ']' && s.mode == array:
		s.state = outside
	case s.state == inside && c == ']':
		s.state = atKey
	case s.state == outside && c == '[' && s.mode == array:
		s.state = inside
	case s.state == outside && c == '{' && s.mode == envelope:
		s.state = atKey
	case s.state == atKey && c == '}':
		s.state = outside
	default:
		return false
	}
	s.at++
	return true
}

// value handles a document, or a member of an envelope.
func (s *streamReader) value() error {
	end, ok := scanValue(s.buf, s.at)
	if ok && s.state == atKey {
		var taken bool
		if end, ok, taken = s.member(end); taken {
			return nil
		}
	}
	if !ok && len(s.buf)-s.at <= s.max {
		more, err := s.need()
		if err != nil || more {
			return err
		}
		if s.state == atKey { // the object ends in a member
			end = len(s.buf)
		} else if end, ok = scanValue(s.buf, s.at); !ok && event.Valid(s.buf[s.at:]) == nil {
			end, ok = len(s.buf), true // a number at the very end
		}
	}
	value := s.buf[s.at:end]
	switch {
	case ok && len(value) <= s.max && event.Valid(value) == nil:
		s.emit(value, s.at, end, s.state == inside, nil)
		s.at = end
	case !ok && s.eof && s.open == OpenLine && len(value) <= s.max && resync(s.buf, s.at, end) == end:
		s.held, s.broken, s.said = true, nil, true // it may still be written
		s.buf = s.buf[:s.at]
	default:
		s.broke(value, end, ok)
	}
	return nil
}

// member handles a key that ends at an offset, together with its value. It returns where the value ends, and
// whether it is complete.
func (s *streamReader) member(end int) (valueEnd int, ok, taken bool) {
	k := event.SkipSpace(s.buf, end)
	if k < len(s.buf) && s.buf[k] == ':' {
		k = event.SkipSpace(s.buf, k+1)
	}
	if k == len(s.buf) {
		return end, false, false
	}
	if s.buf[k] == '[' && isEnvelopeName(s.buf[s.at:end]) {
		s.state, s.at, s.opened = inside, k+1, true
		if s.large && s.early != nil {
			s.common = commonOf(append(append([]byte{'{'}, s.early[:len(s.early)-1]...), '}'))
		}
		s.early = nil
		return end, true, true
	}
	if valueEnd, ok = scanValue(s.buf, k); ok {
		if s.large {
			s.lateSaying(s.buf[s.at:valueEnd], string(s.buf[s.at+1:end-1]), valueEnd)
		}
		s.at = valueEnd
		return valueEnd, true, true
	}
	return valueEnd, false, false
}

// lateSaying keeps what a large envelope says about all its events. If events of it were read already, it comes
// too late: an event that opted out of a destination may have been sent.
func (s *streamReader) lateSaying(member []byte, key string, end int) {
	if !slices.Contains(commonKeys[:], key) {
		return
	}
	if !s.opened {
		s.early = append(append(s.early, member...), ',')
		return
	}
	reason := NotEvent
	if s.torn { // when the rest comes, this counts for all of them
		reason = Truncated
	}
	s.add(Record{Raw: cut(member), End: Position{s.object, s.off + int64(end), 0}, Line: s.line, Err: &RecordError{
		reason, fmt.Sprintf("its %s is meant for all events of the document, but stands behind them, and the "+
			"document is broken, or has more than %d bytes, so that it was not looked at first", key, s.max),
		s.name, s.off + int64(s.at), s.line}})
}

// broke yields what comes next as a broken record, up to where the next document can be recognised.
func (s *streamReader) broke(value []byte, end int, ok bool) {
	reason, detail := Syntax, "not JSON"
	switch err := event.Valid(value); {
	case len(value) > s.max:
		reason, detail = TooLong, fmt.Sprintf("the record has more than %d bytes", s.max)
	case !ok && s.eof:
		reason, detail = Truncated, "the object ends in the middle of a record"
		if s.broken != nil {
			detail = "the object breaks off: " + s.broken.Error()
		}
	case err != nil:
		detail = err.Error()
	}
	cutAt := resync(s.buf, s.at, end)
	if cutAt < end && reason == Truncated {
		reason, detail = Syntax, "not JSON"
	}
	end = cutAt
	if reason == Truncated {
		s.broken, s.said = nil, true
		end++ // see records
	}
	bad := &RecordError{reason, detail, s.name, s.off + int64(s.at), s.line}
	s.emit(s.buf[s.at:cutAt], s.at, end, s.state == inside, bad)
	s.at = cutAt
	if s.state == atKey {
		s.state = outside
	}
}

func isEnvelopeName(quoted []byte) bool {
	for _, name := range envelopes {
		if string(quoted) == `"`+name+`"` {
			return true
		}
	}
	return false
}

// emit adds the document between two offsets of buf.
func (r *reading) emit(value []byte, i, end int, inside bool, bad *RecordError) {
	rec := Record{Raw: value, End: Position{r.object, r.off + int64(end), 0}, Line: r.line, Err: bad}
	lines := int64(bytes.Count(value, []byte{'\n'}))
	if inside {
		rec.End.Element = 1
	}
	if inside && bad == nil && r.common.Exists() {
		if el, err := event.ParseValue(value); err == nil {
			value, _ = inherit(r.common, el)
			rec.Raw = value
		}
	}
	switch {
	case bad != nil:
		rec.Raw = cut(value)
		r.add(rec)
	case r.convert != nil:
		// Each of several events in a document has its own position: the document's offset, with elements counted
		// from base.
		base := rec.End.Element
		r.addConverted(value, r.off+int64(i), rec.End, rec.Line, false, r.skip, base, 1)
	default:
		if !r.letters && bytes.HasPrefix(value, deadLetter) {
			if ev, ok := unletter(value, &r.parser); ok {
				rec.Raw = ev
			}
		}
		r.add(rec)
	}
	r.skip = 0
	r.line += lines
}

// resync finds where the next document may begin after a broken one at i: at a line that begins with a bracket, or
// between a } and a { that follows it directly. If there is none, it returns end.
func resync(b []byte, i, end int) int {
	for j := i + 1; j < len(b); j++ {
		switch b[j] {
		case '\n':
			if k := event.SkipSpace(b, j); k < len(b) && (b[k] == '{' || b[k] == '[') {
				return k
			}
		case '}':
			k := event.SkipSpace(b, j+1)
			if k < len(b) && b[k] == '{' {
				return k
			}
			if k < len(b) && b[k] == ',' {
				if k = event.SkipSpace(b, k+1); k < len(b) && b[k] == '{' && j+1 <= end {
					return k
				}
			}
		}
	}
	if end <= i {
		return min(i+1, len(b))
	}
	return end
}
