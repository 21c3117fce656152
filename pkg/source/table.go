package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// separators that a table's columns may be told apart by; the first of the most
// frequent in the header wins.
const separators = ",\t;|"

// headerOf splits a table's first line.
func headerOf(line []byte) (names []string, comma byte) {
	line = bytes.TrimRight(line, "\r")
	comma = ','
	most := 0
	for _, c := range []byte(separators) {
		if n := bytes.Count(line, []byte{c}); n > most {
			most, comma = n, c
		}
	}
	for _, f := range cells(line, comma) {
		names = append(names, strings.TrimSpace(f))
	}
	return names, comma
}

// chooseTable decides what the rows are.
func (r *reading) chooseTable(head []byte, format string) error {
	first := event.SkipSpace(head, 0)
	rest := head[first:]
	h := tableHeader{Names: r.choose.columns, Given: len(r.choose.columns) > 0}
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	if c, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r"), []byte("sep=")); ok && len(c) == 1 {
		// What a spreadsheet writes before the header.
		h.Comma = string(c)
		rest = rest[min(len(rest), len(line)+1):]
		line, _, _ = bytes.Cut(rest, []byte{'\n'})
	}
	names, comma := headerOf(line)
	if h.Comma != "" {
		comma = h.Comma[0]
		names = cells(bytes.TrimRight(line, "\r"), comma)
	}
	h.Comma = string(comma)
	if !h.Given {
		h.Names = names
	}
	header, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if format == formatAuto {
		format = formatTable
		row := rowJSON(nil, h.Names, h.Names)
		v, err := event.ParseValue(row)
		if err != nil {
			return err
		}
		switch fits := fitting(r.choose.shapes, v); {
		case len(fits) == 1:
			format = fits[0].Name
		case len(fits) > 1:
			return unsure(r.name, fits)
		case !typedColumns(h.Names):
			return &InputError{fmt.Errorf(`%s is a table, but it is not clear how its rows are events: it has neither a column "type" nor "event"; say so with --columns or --map`, r.name)}
		}
	}
	c, err := newConverter(format, r.choose.shapes, header, nil)
	if err != nil {
		return err
	}
	r.convert = c
	r.why = fmt.Sprintf("a table of %d columns, read as %s", len(h.Names), format)
	return nil
}

func typedColumns(names []string) bool {
	for _, n := range names {
		if s := specName(n); s == "type" || s == "event" {
			return true
		}
	}
	return false
}

// cells splits one row. A cell in quotes may hold separators, line ends and, as
// two, quotes.
func cells(row []byte, comma byte) []string {
	var out []string
	for i := 0; ; {
		if i < len(row) && row[i] == '"' {
			var cell []byte
			i++
			for i < len(row) {
				if row[i] == '"' {
					if i+1 < len(row) && row[i+1] == '"' {
						cell = append(cell, '"')
						i += 2
						continue
					}
					i++
					break
				}
				cell = append(cell, row[i])
				i++
			}
			for i < len(row) && row[i] != comma { // behind the closing quote
				cell = append(cell, row[i])
				i++
			}
			out = append(out, string(cell))
		} else {
			n := bytes.IndexByte(row[i:], comma)
			if n < 0 {
				n = len(row) - i
			}
			out = append(out, string(row[i:i+n]))
			i += n
		}
		if i >= len(row) {
			return out
		}
		i++
		if i == len(row) {
			return append(out, "")
		}
	}
}

// rowJSON writes a row as an object of texts.
func rowJSON(dst []byte, names, values []string) []byte {
	dst = append(dst, '{')
	for i, n := range names {
		if i >= len(values) {
			break
		}
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = append(event.AppendQuoted(dst, strings.ToValidUTF8(n, "\ufffd")), ':')
		dst = event.AppendQuoted(dst, strings.ToValidUTF8(values[i], "\ufffd"))
	}
	return append(dst, '}')
}

// rowEnd returns the offset behind the row that begins at i: its line end that
// is not inside quotes. ok is false when b ends before.
func rowEnd(b []byte, i int, comma byte) (end int, ok bool) {
	for i < len(b) {
		if b[i] == '"' { // a cell in quotes
			for i++; i < len(b); i++ {
				if b[i] == '"' {
					if i+1 < len(b) && b[i+1] == '"' {
						i++
						continue
					}
					break
				}
			}
			if i >= len(b) {
				return len(b), false
			}
		}
		for i < len(b) && b[i] != comma {
			if b[i] == '\n' {
				return i + 1, true
			}
			i++
		}
		i++
	}
	return len(b), false
}

// readRows yields the rows of a table as events.
func (r *reading) readRows() error {
	c := r.convert
	var h tableHeader
	if err := json.Unmarshal(c.header, &h); err != nil {
		return err
	}
	header := !h.Given
	i := 0
	for {
		if len(r.chunk.Records) >= chunkRecords {
			if err := r.flush(r.buf[i:]); err != nil {
				return err
			}
			i = 0
		}
		end, ok := rowEnd(r.buf, i, c.comma)
		if !ok && !r.eof && len(r.buf)-i <= r.max {
			if len(r.chunk.Records) > 0 {
				if err := r.flush(r.buf[i:]); err != nil {
					return err
				}
			} else {
				r.off += int64(i)
				r.buf = append(r.buf[:0], r.buf[i:]...)
			}
			i = 0
			r.more()
			if err := r.halt(); err != nil {
				return err
			}
			continue
		}
		if i >= len(r.buf) {
			return r.flush(nil)
		}
		line := r.line
		row := bytes.TrimRight(r.buf[i:end], "\r\n")
		at := r.off + int64(i)
		if !ok && len(r.buf)-i > r.max {
			// An open quote swallowed the rest, or the row is too long: what
			// follows its first line is read on.
			if n := bytes.IndexByte(r.buf[i:], '\n'); n >= 0 {
				end = i + n + 1
			}
			r.add(Record{Raw: cut(r.buf[i:end]), End: Position{r.object, r.off + int64(end), 0}, Line: line, Err: &RecordError{TooLong, fmt.Sprintf("the row has more than %d bytes", r.max), r.name, at, line}})
			r.line++
			i = end
			continue
		}
		r.line += int64(bytes.Count(r.buf[i:end], []byte{'\n'}))
		after := Position{r.object, r.off + int64(end), 0}
		i = end
		if len(bytes.TrimSpace(row)) == 0 {
			continue
		}
		if at == 0 || at == int64(len(bom)) {
			if bytes.HasPrefix(row, []byte("sep=")) {
				continue
			}
		}
		values := cells(row, c.comma)
		if header && sameRow(values, c.names) {
			continue // the header, also where files were joined
		}
		if !ok && r.broken != nil {
			after.Offset++
			r.add(Record{Raw: cut(row), End: after, Line: line, Err: &RecordError{Truncated, "the object breaks off: " + r.broken.Error(), r.name, at, line}})
			r.broken = nil
			continue
		}
		if len(values) > len(c.names) {
			r.add(Record{Raw: cut(row), End: after, Line: line, Err: &RecordError{Syntax, fmt.Sprintf("the row has %d cells, the table %d columns", len(values), len(c.names)), r.name, at, line}})
			continue
		}
		r.addConverted(rowJSON(nil, c.names, values), at, after, line, !ok, 0, 0)
	}
}

func sameRow(values, names []string) bool {
	if len(values) != len(names) {
		return false
	}
	for i := range values {
		if strings.TrimSpace(values[i]) != names[i] {
			return false
		}
	}
	return true
}

// addConverted adds the events that a shape makes of a record. skip is the
// number of them that were read before, base what the elements of their
// positions count from.
func (r *reading) addConverted(raw []byte, at int64, after Position, line int64, tail bool, skip, base uint32) {
	from := len(r.chunk.Records)
	err := r.convert.apply(raw, func(ev []byte, k, n int) {
		if uint32(k) <= skip {
			return
		}
		end := after
		if k < n {
			end = Position{r.object, at, base + uint32(k)}
		}
		r.add(Record{Raw: ev, End: end, Line: line, Tail: tail})
	})
	if err != nil {
		r.chunk.Records = r.chunk.Records[:from]
		reason := NotEvent
		if event.Valid(raw) != nil {
			reason = Syntax
			if tail {
				reason = Truncated
			}
		}
		r.add(Record{Raw: cut(raw), End: after, Line: line, Err: &RecordError{reason, err.Error(), r.name, at, line}})
	}
}
