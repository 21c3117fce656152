package record

import (
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// maxChunks limits how many pieces of a stream are kept apart. All later ones form one
// piece.
const maxChunks = 10_000

// mark says how many bytes of a body had arrived at a time.
type mark struct {
	at time.Duration
	to int
}

// aPause is the shortest pause within a body that is worth recording.
const aPause = 20 * time.Millisecond

// paused is true if there were pauses while a body arrived.
func paused(marks []mark) bool {
	for n := 2; n < len(marks); n++ { // the first mark stands for the headers
		if marks[n].at-marks[n-1].at >= aPause {
			return true
		}
	}
	return false
}

// unpack undoes the Content-Encoding of a body, and converts the marks to positions in
// the plain text. If cut is true, only a beginning is there to decode. ok is false if
// the body cannot be decoded.
func unpack(encoding string, body []byte, marks []mark, cut bool) (plain []byte, plainMarks []mark, ok bool) {
	plain, ok = wire.Decode(encoding, body, wire.MaxBody)
	if wire.IsIdentity(encoding) || !ok && !cut || ok && len(marks) == 0 {
		return plain, marks, ok
	}
	// What the decoder can make of the bytes up to a mark is what the client could read
	// by then.
	steps := &steps{data: body, marks: marks}
	r, err := wire.Decoder(encoding, steps)
	if err != nil {
		return body, marks, false
	}
	var out []byte
	buf := make([]byte, 16<<10)
	steps.reached = func() int { return len(out) }
	for {
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if err != nil || len(out) > wire.MaxBody {
			break
		}
	}
	if c, isCloser := r.(io.Closer); isCloser {
		_ = c.Close() // frees memory
	}
	for len(steps.done) < len(marks) {
		steps.done = append(steps.done, mark{marks[len(steps.done)].at, len(out)})
	}
	if !ok { // a stream that the client left, or that broke, is incomplete
		return out, steps.done, len(out) > 0
	}
	return plain, steps.done, true
}

// steps is a reader that stops at each mark. When the decoder asks for more, it records
// how much plain text came of the data so far.
type steps struct {
	data    []byte
	marks   []mark
	at      int
	reached func() int
	done    []mark
}

func (s *steps) limit() int {
	for len(s.done) < len(s.marks) {
		if m := s.marks[len(s.done)]; m.to > s.at {
			return m.to
		}
		reached := 0
		if s.reached != nil {
			reached = s.reached()
		}
		s.done = append(s.done, mark{s.marks[len(s.done)].at, reached})
	}
	return len(s.data)
}

func (s *steps) Read(p []byte) (int, error) {
	limit := s.limit()
	if s.at >= limit {
		return 0, io.EOF
	}
	n := copy(p, s.data[s.at:limit])
	s.at += n
	return n, nil
}

// ReadByte prevents decoders from reading ahead through a buffer of their own.
func (s *steps) ReadByte() (byte, error) {
	limit := s.limit()
	if s.at >= limit {
		return 0, io.EOF
	}
	s.at++
	return s.data[s.at-1], nil
}

// chunksOf converts marks in a text into chunks of the redacted text. Redaction changes
// lines, but keeps their number.
func chunksOf(marks []mark, was, now string) []cassette.Chunk {
	var out []cassette.Chunk
	from := 0
	m := newMover(was, now)
	for _, k := range marks {
		to := max(m.move(k.to), from)
		out = append(out, cassette.Chunk{MS: k.at.Milliseconds(), Bytes: to - from})
		from = to
	}
	if n := len(out); n > 0 && from < len(now) {
		out[n-1].Bytes += len(now) - from
	}
	return out
}

// recut adapts the chunks of a body after it was changed once more.
func recut(d *cassette.Details, was, now string) {
	if len(d.Chunks) == 0 {
		return
	}
	var marks []mark
	to := 0
	for _, c := range d.Chunks {
		to += c.Bytes
		marks = append(marks, mark{time.Duration(c.MS) * time.Millisecond, to})
	}
	d.Chunks = chunksOf(marks, was, now)
}

// mover converts positions in a text to positions in its redacted form.
type mover struct {
	was, now string
	// Where each line begins; nil if the number of lines has changed.
	wasLines, nowLines []int
}

func newMover(was, now string) *mover {
	m := &mover{was: was, now: now}
	if was == now {
		return m
	}
	if a, b := lineStarts(was), lineStarts(now); len(a) == len(b) {
		m.wasLines, m.nowLines = a, b
	}
	return m
}

func lineStarts(s string) []int {
	out := []int{0}
	for i := range len(s) {
		if s[i] == '\n' {
			out = append(out, i+1)
		}
	}
	return out
}

func (m *mover) move(at int) int {
	at = min(at, len(m.was))
	switch {
	case m.was == m.now:
		return at
	case m.wasLines == nil: // the lines do not help, so estimate
		return boundary(m.now, int(int64(at)*int64(len(m.now))/int64(max(1, len(m.was)))))
	}
	n, exact := slices.BinarySearch(m.wasLines, at)
	if exact {
		return m.nowLines[n]
	}
	n--
	lineWas, lineNow := m.line(m.was, m.wasLines, n), m.line(m.now, m.nowLines, n)
	column := at - m.wasLines[n]
	switch {
	case strings.HasPrefix(lineNow, lineWas[:column]): // changed after this position, or not at all
		return m.nowLines[n] + column
	case strings.HasSuffix(lineNow, lineWas[column:]): // changed before this position
		return m.nowLines[n] + len(lineNow) - (len(lineWas) - column)
	}
	return boundary(m.now, m.nowLines[n]+min(column, len(lineNow)))
}

func (m *mover) line(s string, starts []int, n int) string {
	if n+1 < len(starts) {
		return s[starts[n]:starts[n+1]]
	}
	return s[starts[n]:]
}

// boundary moves a position back to the begin of a character.
func boundary(s string, at int) int {
	for at > 0 && at < len(s) && !utf8.RuneStart(s[at]) {
		at--
	}
	return at
}
