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

// headerOf splits a table's first line at a separator; "": at the one that it has
// most of.
func headerOf(line []byte, sep string) (names []string, comma byte) {
	line = bytes.TrimRight(line, "\r")
	comma = ','
	most := 0
	for _, c := range []byte(separators) {
		if n := bytes.Count(line, []byte{c}); n > most {
			most, comma = n, c
		}
	}
	if sep != "" {
		comma = sep[0]
	}
	for _, f := range cells(line, comma) {
		names = append(names, strings.TrimSpace(f))
	}
	return names, comma
}

// firstRow is the first row of a table, and the separator that a spreadsheet has
// written in a line before it.
func firstRow(b []byte) (row []byte, sep string) {
	row, rest, _ := bytes.Cut(b, []byte{'\n'})
	if c, ok := bytes.CutPrefix(bytes.TrimRight(row, "\r"), []byte("sep=")); ok && len(c) == 1 {
		row, _, _ = bytes.Cut(rest, []byte{'\n'})
		return row, string(c)
	}
	return row, ""
}

// chooseTable decides what the rows are.
func (r *reading) chooseTable(head []byte, format string) error {
	first := event.SkipSpace(head, 0)
	rest := head[first:]
	h := tableHeader{Names: r.choose.columns, Given: len(r.choose.columns) > 0}
	line, sep := firstRow(rest)
	h.Comma = sep
	if r.choose.comma != "" {
		h.Comma = r.choose.comma
	}
	names, comma := headerOf(line, h.Comma)
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
			return inputf(`%s is a table, but it is not clear how its rows are events: `+
				`it has neither a column "type" nor "event"; say so with --columns or --map`, r.name)
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

// rowEnd returns the offset behind the row that begins at i, at its first line end
// outside quotes. ok is false when b ends before. open says that a quote in it is
// never closed: a cell goes over lines and has text right behind its closing quote,
// so that this quote rather opens a later cell.
func rowEnd(b []byte, i int, comma byte) (end int, ok, open bool) {
	for i < len(b) {
		if b[i] == '"' { // a cell in quotes
			from := i
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
				return len(b), false, false
			}
			i++
			if i < len(b) && b[i] != comma && b[i] != '\n' && b[i] != '\r' && bytes.IndexByte(b[from:i], '\n') >= 0 {
				return i, true, true
			}
		}
		for i < len(b) && b[i] != comma {
			if b[i] == '\n' {
				return i + 1, true, false
			}
			i++
		}
		i++
	}
	return len(b), false, false
}

// rowReader yields the rows of a table.
type rowReader struct {
	*reading
	comma  byte
	names  []string
	header bool // the first line is one
	at     int  // in buf, of the row that is next
	// strict is set behind a quote that was never closed: what follows may have
	// been part of a cell, so only a row with a cell for each column is taken for
	// one. Positions keep it in the lowest bit of Element, for readings that go on;
	// the other bits count the events of a row that were read.
	strict bool
	skip   uint32 // events of the next row that were read before
}

// readRows yields the rows of a table as events.
func (r *reading) readRows(element uint32) error {
	var h tableHeader
	if err := json.Unmarshal(r.convert.header, &h); err != nil {
		return err
	}
	rows := &rowReader{reading: r, comma: r.convert.comma, names: r.convert.names, header: !h.Given}
	rows.strict, rows.skip = element&1 == 1, element>>1
	for {
		if len(r.chunk.Records) >= chunkRecords {
			if err := r.flush(r.buf[rows.at:]); err != nil {
				return err
			}
			rows.at = 0
		}
		end, ok, open := rowEnd(r.buf, rows.at, rows.comma)
		if !ok && !r.eof && len(r.buf)-rows.at <= r.max {
			if err := rows.refill(); err != nil {
				return err
			}
			continue
		}
		if rows.at >= len(r.buf) {
			return r.flush(nil)
		}
		line := end
		if !ok || open {
			line = rows.lineEnd()
		}
		switch {
		case !ok && len(r.buf)-rows.at > r.max:
			rows.reject(line, TooLong, fmt.Sprintf("the row has more than %d bytes", r.max))
		case open || !ok && line < len(r.buf):
			rows.strict = true
			rows.reject(line, Syntax, "a quote opens in this row and is never closed")
		default:
			rows.row(end, ok)
		}
	}
}

// refill reads on behind the row that is not whole yet.
func (rows *rowReader) refill() error {
	r := rows.reading
	if len(r.chunk.Records) > 0 {
		if err := r.flush(r.buf[rows.at:]); err != nil {
			return err
		}
	} else {
		r.off += int64(rows.at)
		r.buf = append(r.buf[:0], r.buf[rows.at:]...)
	}
	rows.at = 0
	r.more()
	return r.halt()
}

// lineEnd is the offset behind the line that the row begins with.
func (rows *rowReader) lineEnd() int {
	if n := bytes.IndexByte(rows.buf[rows.at:], '\n'); n >= 0 {
		return rows.at + n + 1
	}
	return len(rows.buf)
}

// after is the position behind the row that ends at an offset of buf.
func (rows *rowReader) after(end int) Position {
	p := Position{rows.object, rows.off + int64(end), 0}
	if rows.strict {
		p.Element = 1
	}
	return p
}

// reject takes a line for a broken row; what follows it is read on.
func (rows *rowReader) reject(end int, reason Reason, detail string) {
	at := rows.off + int64(rows.at)
	rows.add(Record{Raw: cut(rows.buf[rows.at:end]), End: rows.after(end), Line: rows.line,
		Err: &RecordError{reason, detail, rows.name, at, rows.line}})
	rows.line += int64(bytes.Count(rows.buf[rows.at:end], []byte{'\n'}))
	rows.at = end
}

// row yields the row that ends at an offset of buf. whole is false for one that
// the object ends in.
func (rows *rowReader) row(end int, whole bool) {
	r := rows.reading
	row := bytes.TrimRight(r.buf[rows.at:end], "\r\n")
	at := r.off + int64(rows.at)
	values := cells(row, rows.comma)
	first := at == 0 || at == int64(len(bom))
	switch {
	case len(bytes.TrimSpace(row)) == 0,
		first && bytes.HasPrefix(row, []byte("sep=")),
		rows.header && sameRow(values, rows.names): // also where files were joined
		r.line += int64(bytes.Count(r.buf[rows.at:end], []byte{'\n'}))
		rows.at = end
	case !whole && r.broken != nil:
		rows.reject(end, Truncated, "the object breaks off: "+r.broken.Error())
		r.chunk.Records[len(r.chunk.Records)-1].End.Offset++ // see records
		r.broken = nil                                       // it needs no record of its own
	case !whole && oddQuote(row, rows.comma):
		rows.reject(end, Truncated, "the object ends inside the quotes of a cell")
	case len(values) > len(rows.names):
		rows.reject(end, Syntax, fmt.Sprintf("the row has %d cells, the table %d columns",
			len(values), len(rows.names)))
	case rows.strict && len(values) != len(rows.names):
		rows.reject(end, Syntax, fmt.Sprintf("the row has %d cells, the table %d columns, and a quote before it "+
			"was never closed", len(values), len(rows.names)))
	default:
		line := r.line
		r.line += int64(bytes.Count(r.buf[rows.at:end], []byte{'\n'}))
		rows.at = end
		after := rows.after(end)
		r.addConverted(rowJSON(nil, rows.names, values), at, after, line, !whole, rows.skip, after.Element, 2)
		rows.skip = 0
	}
}

// oddQuote says that a row ends inside the quotes of a cell.
func oddQuote(row []byte, comma byte) bool {
	_, ok, _ := rowEnd(append(bytes.Clone(row), '\n'), 0, comma)
	return !ok
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
// number of them that were read before; the elements of their positions count from
// base in steps.
func (r *reading) addConverted(raw []byte, at int64, after Position, line int64, tail bool, skip, base, step uint32) {
	from := len(r.chunk.Records)
	err := r.convert.apply(raw, func(ev []byte, k, n int) {
		if uint32(k) <= skip {
			return
		}
		end := after
		if k < n {
			end = Position{r.object, at, base + step*uint32(k)}
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
