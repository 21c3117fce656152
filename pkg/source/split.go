package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/stock"
)

// mode is how an object's records stand in its text.
type mode uint8

const (
	lines     mode = iota // one document a line
	bodies                // one envelope a line: {"batch":[…]}
	documents             // documents one behind the other, over lines or glued
	array                 // one top-level array
	envelope              // one document with an array of events in it
	rows                  // a table: CSV and its like
)

// envelopes are the members in which exports wrap their events.
var envelopes = [...]string{"batch", "Records", "records", "events", "logs", "data"}

const (
	chunkBytes   = 512 << 10
	headBytes    = 1 << 20 // of an object are looked at to find out what it is
	chunkRecords = 2000
	badBytes     = 64 << 10 // of a bad record are kept
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
	buf    []byte // what has been read and not yielded
	off    int64  // of buf[0] in the decompressed stream
	eof    bool
	broken error // why the stream ended early
	line   int64
	chunk  *Chunk
	last   Position
	mode   mode
	parser event.Parser

	choose  chooser
	convert *converter
	skip    uint32 // events of the next document that were read before
	why     string // the mode
	noted   func(why string)
	raw     interface{ fatal() error } // below src: failures that are none of the data
	live    interface{ idle() bool }   // src may have to wait for more
	failed  error
}

// halt says why to stop: the receiver's context, or a failure to read that is
// no property of the data.
func (r *reading) halt() error {
	if r.failed != nil {
		return r.failed
	}
	return r.ctx.Err()
}

// rawFile remembers how reading an object itself failed.
type rawFile struct {
	io.Reader
	err error
}

func (f *rawFile) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

func (f *rawFile) fatal() error { return f.err }

// run reads the object from a position on. Errors of the data become records;
// what it returns is errStopped, the context's error, or why the object itself
// could not be read or recognised.
func (r *reading) run(f io.Reader, from Position) error {
	raw := &rawFile{Reader: f}
	r.raw = raw
	br := bufio.NewReaderSize(raw, 256<<10)
	src, codec, err := decompress(br)
	if closer, ok := src.(io.Closer); ok && codec != "" {
		defer closer.Close()
	}
	if raw.err != nil {
		return raw.err
	}
	var input *InputError
	if errors.As(err, &input) {
		return &InputError{fmt.Errorf("%s: %w", r.name, err)}
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		r.last = from
		return r.bad(nil, 0, Truncated, "the "+codec+" stream cannot be read: "+err.Error())
	}
	r.src, r.line, r.last = src, 1, from
	r.take()
	r.fill(headBytes)
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if len(r.buf) == 0 && r.failed != nil {
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
	r.bom(from)
	if err := r.skipTo(from.Offset); err != nil {
		return err
	}
	return r.records(from)
}

// bom skips a byte order mark that the object begins with.
func (r *reading) bom(from Position) {
	if from.Offset == 0 && bytes.HasPrefix(r.buf, bom) {
		r.buf, r.off = r.buf[len(bom):], int64(len(bom))
	}
}

// records yields what follows a position, in which the reading stands.
func (r *reading) records(from Position) error {
	r.chunk.Start = from
	var err error
	switch r.mode {
	case lines, bodies:
		err = r.readLines(from.Element)
	case rows:
		err = r.readRows()
	default:
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
	// The end of a broken object stands one byte behind its last, so that
	// reading again from there does not report it again.
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
	if cap(c.Data) < chunkBytes {
		c.Data = make([]byte, 0, chunkBytes+chunkBytes/4)
	}
	clear(c.Records)
	*c = Chunk{Data: c.Data[:0], Records: c.Records[:0], Start: r.last, Name: r.name, pool: r.pool}
	r.buf = c.Data
}

// flush yields the chunk and goes on in a new one with what is left.
func (r *reading) flush(rest []byte) error {
	c := r.chunk
	if len(c.Records) == 0 {
		return r.ctx.Err()
	}
	c.End = c.Records[len(c.Records)-1].End
	c.Data = r.buf[:len(r.buf):cap(r.buf)]
	r.last = c.End
	consumed := len(r.buf) - len(rest)
	r.take()
	if cap(r.buf) < len(rest)+chunkBytes/4 {
		r.buf = make([]byte, 0, len(rest)+chunkBytes)
	}
	r.buf = append(r.buf, rest...)
	r.off += int64(consumed)
	if !r.yield(c) {
		return errStopped
	}
	return r.ctx.Err()
}

// fill reads until buf holds n bytes or the stream ends. Of a live stream a
// line is enough.
func (r *reading) fill(n int) {
	if r.live != nil && bytes.IndexByte(r.buf, '\n') >= 0 && r.live.idle() {
		return
	}
	r.pull(n)
}

// pull is fill that reads at least once.
func (r *reading) pull(n int) {
	for len(r.buf) < n && !r.eof {
		if len(r.buf) == cap(r.buf) {
			grown := make([]byte, len(r.buf), 2*cap(r.buf))
			copy(grown, r.buf)
			r.buf = grown
		}
		k, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+k]
		if err != nil {
			r.eof = true
			if err != io.EOF {
				r.broken = err
			}
			if r.raw != nil && r.raw.fatal() != nil {
				r.failed = r.raw.fatal()
			}
			return
		}
		if r.live != nil && k > 0 && r.live.idle() && bytes.IndexByte(r.buf, '\n') >= 0 {
			return
		}
	}
}

// more makes buf longer, up to the record cap. It moves nothing that is kept
// by records: the chunk has to be flushed before.
func (r *reading) more() bool {
	if r.eof {
		return false
	}
	before := len(r.buf)
	r.pull(before + chunkBytes/2)
	return len(r.buf) > before
}

// skipTo throws away what stands before an offset.
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
		if r.fill(chunkBytes); len(r.buf) == 0 {
			return nil // shorter than it was, or read to the end before
		}
	}
	return nil
}

func (r *reading) add(rec Record) { r.chunk.Records = append(r.chunk.Records, rec) }

// bad yields a chunk with nothing but one bad record.
func (r *reading) bad(raw []byte, at int64, reason Reason, detail string) error {
	c := &Chunk{Start: r.last, Name: r.name}
	c.End = Position{r.object, at + int64(len(raw)) + 1, 0}
	if c.End.Compare(r.last) <= 0 {
		return nil // was yielded before
	}
	c.Records = []Record{{Raw: raw, End: c.End, Line: r.line, Err: &RecordError{reason, detail, r.name, at, r.line}}}
	if !r.yield(c) {
		return errStopped
	}
	return nil
}

// detect looks at the first document of the object. It is a function of the
// object's first megabyte, so that every reading finds the same.
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
		// An array that ends with its line and has lines behind it is a
		// line that is no event, unless it holds objects.
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
		// Not closed within the first megabyte, but there are lines: either
		// a document over lines or a broken first line.
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
			return lines // a line with an open text or bracket swallowed others
		}
		if envelopeIn(head[i:end]) != "" {
			return envelope
		}
		return documents
	}
	if v, err := event.ParseValue(head[i:end]); err == nil && isEnvelope(v).Exists() {
		if event.SkipSpace(head, end) == len(head) {
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

// isEnvelope returns the array of events of a document that is no event
// itself, or Missing.
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

// envelopeIn finds which member wraps the events of a document that may not be
// complete, looking at its top level only.
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

// skipBlank is event.SkipSpace within the line.
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

// scanValue returns the offset after the value that begins at i, going by
// brackets and quotes alone. ok is false when b ends before the value does.
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

// readLines yields one record a line; of envelopes one an element. skip is the
// number of elements of the first line that have been read before.
func (r *reading) readLines(skip uint32) error {
	for {
		r.fill(chunkBytes)
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
				// Counting from here on, buf begins at i.
				if err := r.flush(r.buf[i:]); err != nil {
					return err
				}
				end -= i
				i = 0
			}
		}
		done := r.eof && (end == len(r.buf) || r.failed != nil)
		if len(r.chunk.Records) == 0 { // blank lines only
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

// addLine adds what one line holds. i and next are its extent in buf.
func (r *reading) addLine(line []byte, i, next int, tail bool, skip uint32) error {
	at := r.off + int64(i)
	after := Position{r.object, r.off + int64(next), 0}
	if len(line) > r.max {
		r.add(Record{Raw: cut(line), End: after, Line: r.line, Err: &RecordError{TooLong, fmt.Sprintf("the record has %d bytes; at most %d are read", len(line), r.max), r.name, at, r.line}})
		return nil
	}
	if tail && r.broken != nil && event.Valid(line) != nil {
		after.Offset++ // see run
		r.add(Record{Raw: cut(line), End: after, Line: r.line, Err: &RecordError{Truncated, "the object breaks off: " + r.broken.Error(), r.name, at, r.line}})
		r.broken = nil // said
		return nil
	}
	if r.mode == bodies {
		r.parser.Reset()
		if v, err := r.parser.ParseValue(line); err == nil {
			if a := isEnvelope(v); a.Exists() {
				k, n := uint32(0), uint32(a.Len())
				for el := range a.Elements() {
					k++
					if k <= skip {
						continue
					}
					end := Position{r.object, at, k}
					if k == n {
						end = after
					}
					r.add(Record{Raw: inherit(v, el), End: end, Line: r.line})
				}
				return nil
			}
		}
	}
	if r.convert != nil {
		r.addConverted(line, at, after, r.line, tail, skip, 0)
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

func cut(b []byte) []byte { return b[:min(len(b), badBytes)] }

// skipLine reports the line that buf begins with as too long and reads on to
// its end, keeping none of it.
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
			c.Records = []Record{{Raw: kept, End: c.End, Line: line, Err: &RecordError{TooLong, fmt.Sprintf("the record has %d bytes; at most %d are read", total, r.max), r.name, start, line}}}
			r.last, r.chunk.Start = c.End, c.End
			if !r.yield(c) {
				return errStopped
			}
			return r.halt()
		}
		total += int64(len(r.buf))
		r.off += int64(len(r.buf))
		r.buf = r.chunk.Data[:0]
		if cap(r.buf) > 2*chunkBytes || cap(r.buf) == 0 {
			r.buf = make([]byte, 0, chunkBytes)
		}
		r.fill(chunkBytes)
	}
}

// readStream yields documents that do not keep to lines: glued, pretty-printed,
// in one array or inside an envelope.
//
// The positions between the elements of an array have Element 1, so that
// reading again from one knows that it is inside.
func (r *reading) readStream(resumed bool) error {
	const (
		outside = iota // between documents
		members        // at a key of an envelope
		inside         // between the elements of the array
	)
	state, said := outside, false
	if resumed {
		state = inside
	}
	i := 0
	// need gets more text behind buf[i:], or says that there is none.
	need := func() (bool, error) {
		if r.eof {
			return false, nil
		}
		if len(r.chunk.Records) > 0 {
			if err := r.flush(r.buf[i:]); err != nil {
				return false, err
			}
		} else {
			r.off += int64(i)
			r.buf = append(r.buf[:0], r.buf[i:]...)
		}
		i = 0
		return r.more() || !r.eof, r.halt()
	}
	for {
		if len(r.chunk.Records) >= chunkRecords {
			if err := r.flush(r.buf[i:]); err != nil {
				return err
			}
			i = 0
		}
		j := i
		for j < len(r.buf) && (r.buf[j] <= ' ' && (r.buf[j] == ' ' || r.buf[j] == '\n' || r.buf[j] == '\t' || r.buf[j] == '\r') || state != outside && r.buf[j] == ',' || bytes.HasPrefix(r.buf[j:], bom)) {
			if r.buf[j] == '\n' {
				r.line++
			}
			if r.buf[j] == bom[0] {
				j += 2
			}
			j++
		}
		i = j
		if i == len(r.buf) {
			ok, err := need()
			if err != nil {
				return err
			}
			if ok {
				continue
			}
			if state == inside && r.broken == nil && !said {
				r.broken = errors.New("the array is not closed")
			}
			return r.flush(nil)
		}
		c := r.buf[i]
		switch {
		case state == inside && c == ']':
			state = members
			if r.mode == array {
				state = outside
			}
			i++
			continue
		case state == outside && c == '[' && r.mode == array:
			state = inside
			i++
			continue
		case state == outside && c == '{' && r.mode == envelope:
			state = members
			i++
			continue
		case state == members && c == '}':
			state = outside
			i++
			continue
		}
		end, ok := scanValue(r.buf, i)
		if ok && state == members {
			// A key: it is looked at together with what follows it.
			k := event.SkipSpace(r.buf, end)
			if k < len(r.buf) && r.buf[k] == ':' {
				k = event.SkipSpace(r.buf, k+1)
			}
			if k < len(r.buf) {
				if r.buf[k] == '[' && isEnvelopeName(r.buf[i:end]) {
					state, i = inside, k+1
					continue
				}
				if end, ok = scanValue(r.buf, k); ok {
					i = end
					continue
				}
			} else {
				ok = false
			}
		}
		if !ok && len(r.buf)-i <= r.max {
			more, err := need()
			if err != nil {
				return err
			}
			if more {
				continue
			}
			if end, ok = scanValue(r.buf, i); !ok && event.Valid(r.buf[i:]) == nil {
				end, ok = len(r.buf), true // a number at the very end
			}
		}
		value := r.buf[i:end]
		if ok && len(value) <= r.max && event.Valid(value) == nil {
			r.emit(value, i, end, state == inside, nil)
			i = end
			continue
		}
		// Broken. What can be told apart behind it is read on.
		reason, detail := Syntax, "not JSON"
		switch err := event.Valid(value); {
		case len(value) > r.max:
			reason, detail = TooLong, fmt.Sprintf("the record has more than %d bytes", r.max)
		case !ok && r.eof:
			reason, detail = Truncated, "the object ends in the middle of a record"
			if r.broken != nil {
				detail = "the object breaks off: " + r.broken.Error()
			}
		case err != nil:
			detail = err.Error()
		}
		cutAt := resync(r.buf, i, end)
		if cutAt < end && reason == Truncated {
			reason, detail = Syntax, "not JSON"
		}
		end = cutAt
		if reason == Truncated {
			r.broken, said = nil, true
			end++ // see run
		}
		r.emit(r.buf[i:cutAt], i, end, state == inside, &RecordError{reason, detail, r.name, r.off + int64(i), r.line})
		i = cutAt
		if state == members {
			state = outside
		}
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

func (r *reading) emit(value []byte, i, end int, inside bool, bad *RecordError) {
	rec := Record{Raw: value, End: Position{r.object, r.off + int64(end), 0}, Line: r.line, Err: bad}
	if inside {
		rec.End.Element = 1
	}
	switch {
	case bad != nil:
		rec.Raw = cut(value)
		r.add(rec)
	case r.convert != nil:
		// Of a document that holds several events each has a place: it begins
		// at the document and counts from where elements count from.
		base := rec.End.Element
		r.addConverted(value, r.off+int64(i), rec.End, rec.Line, false, r.skip, base)
	default:
		if !r.letters && bytes.HasPrefix(value, deadLetter) {
			if ev, ok := unletter(value, &r.parser); ok {
				rec.Raw = ev
			}
		}
		r.add(rec)
	}
	r.skip = 0
	r.line += int64(bytes.Count(value, []byte{'\n'}))
}

// resync finds where the next document may begin behind a broken one at i: a
// line that begins with a bracket, or a glued }{. Without any it is end.
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
