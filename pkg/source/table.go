package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
)

// separators are the possible separators of a table's columns. The most frequent one in the header is used; of
// equally frequent ones the first.
const separators = ",\t;|"

// headerOf splits a table's first line at a separator; "": at the most frequent one.
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
	for _, f := range cells(line, comma, false) {
		names = append(names, strings.TrimSpace(f))
	}
	return names, comma
}

// firstRow is the first row of a table, and the separator that a spreadsheet may have written on a line before it.
func firstRow(b []byte) (row []byte, sep string) {
	row, rest, _ := bytes.Cut(b, []byte{'\n'})
	if c, ok := bytes.CutPrefix(bytes.TrimRight(row, "\r"), []byte("sep=")); ok && len(c) == 1 {
		row, _, _ = bytes.Cut(rest, []byte{'\n'})
		return row, string(c)
	}
	return row, ""
}

// mostTableColumns bounds the number of columns in a header.
const mostTableColumns = 10000

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
	if len(h.Names) > mostTableColumns {
		return inputf("%s is a table of %d columns; at most %d are read", r.name, len(h.Names), mostTableColumns)
	}
	if err := r.checkEncoding(rest); err != nil {
		return err
	}
	var twice []string
	h.Read = h.Names
	if h.Names, twice = numbered(h.Names); len(twice) == 0 {
		h.Read = nil
	}
	chain, err := r.chainOf(h.Names, format, "a table", &h)
	if err != nil {
		return err
	}
	return r.readTable(h, chain, rest, twice)
}

// chooseColumnsOf reads a table without a header, by the columns of a shape.
func (r *reading) chooseColumnsOf(s *Shape, _ string) error {
	return r.readTable(tableHeader{Names: s.Columns, Comma: "\t", Given: true, Plain: true}, []string{s.Name}, nil, nil)
}

// chainOf decides what the rows of a table are, for every file format.
func (r *reading) chainOf(names []string, format, what string, h *tableHeader) ([]string, error) {
	if r.choose.unwrap != "" {
		if format == formatAuto {
			format = formatSegment
		}
		return []string{unwrapped, format}, nil
	}
	if format != formatAuto && format != formatTable {
		return []string{format}, nil
	}
	row := rowJSON(names, names)
	v, err := event.ParseValue(row)
	if err != nil {
		return nil, err
	}
	if fits := fitting(r.choose.shapes, v); format == formatAuto && len(fits) == 1 {
		return []string{fits[0].Name}, nil
	} else if format == formatAuto && len(fits) > 1 {
		return nil, unsure(r.name, fits)
	}
	kind := tableOf(names, r.name)
	switch {
	case kind != undecided:
		h.Kind = kind
	case format == formatAuto:
		return nil, unclearTable(r.name, what)
	}
	return []string{formatTable}, nil
}

// readTable reads rows as the shapes of a chain.
func (r *reading) readTable(h tableHeader, chain []string, head []byte, twice []string) error {
	header, err := json.Marshal(h)
	if err != nil {
		return err
	}
	c, err := newConverter(chain, r.choose, header)
	if err != nil {
		return err
	}
	r.convert = c
	r.why = describeTable(fmt.Sprintf("a table of %d columns", len(h.Names)), chain, h.Kind)
	if len(twice) > 0 {
		r.why += fmt.Sprintf("; of the columns named %s all but the first have a number behind their name",
			strings.Join(twice, ", "))
	}
	if c.rows != nil {
		r.why += c.rows.types.note(h, head)
	}
	return nil
}

func describeTable(what string, chain []string, kind tableKind) string {
	what += ", read as " + strings.Join(chain, " in ")
	if kind != eachRow && kind != undecided {
		what += " of " + string(kind)
	}
	return what
}

// note says which columns look like numbers but stay texts, and which declared types are for columns that do not
// exist.
func (t cellTypes) note(h tableHeader, head []byte) (note string) {
	var alike, unknown []string
	filled, numbers := make([]int, len(h.Names)), make([]int, len(h.Names))
	for k, line := range bytes.SplitN(head, []byte{'\n'}, 22) {
		row := cells(bytes.TrimRight(line, "\r"), h.Comma[0], h.Plain)
		if k == 0 && !h.Given || k > 20 || len(row) != len(h.Names) {
			continue
		}
		for i, cell := range row {
			if cell != "" {
				filled[i]++
			}
			if looksLikeNumber(cell) {
				numbers[i]++
			}
		}
	}
	for i, n := range h.Names {
		if filled[i] > 0 && numbers[i] == filled[i] && t.byColumn[n] == "" && specName(n) == "" {
			alike = append(alike, n)
		}
	}
	for n := range t.byColumn {
		if !slices.Contains(h.Names, n) {
			unknown = append(unknown, n)
		}
	}
	slices.Sort(unknown)
	if len(alike) > 0 {
		note = fmt.Sprintf("; what looks like numbers stays text (--types %s=number makes numbers of it)",
			strings.Join(alike[:min(len(alike), 8)], "=number,"))
	}
	if len(unknown) > 0 {
		note += "; it has no column " + strings.Join(unknown, ", ") + ", which --types names"
	}
	return note
}

// cells splits one row. A quoted cell may contain separators, line ends and doubled quotes. plain says that a
// quote is an ordinary character.
func cells(row []byte, comma byte, plain bool) []string {
	var out []string
	for i := 0; ; {
		if i < len(row) && row[i] == '"' && !plain {
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
			for i < len(row) && row[i] != comma { // after the closing quote
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
func rowJSON(names, values []string) []byte {
	dst := []byte{'{'}
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

// rowEnd returns the offset after the row that begins at i: after the first line end outside quotes. ok is false
// if b ends before. open says that a quote in the row is never closed: the cell goes over several lines and has
// text right after its closing quote, so that this quote more likely opens a later cell.
func rowEnd(b []byte, i int, comma byte) (end int, ok, open bool) {
	for i < len(b) {
		if b[i] == '"' { // a quoted cell
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
	read   []string // the names in the header
	header bool     // the first line is a header
	plain  bool     // a quote is an ordinary character
	at     int      // offset in buf of the next row
	// strict is set after a quote that was never closed: the following lines may have been part of a cell, so only
	// those with a cell for each column count as rows. Positions store it in the lowest bit of Element, for
	// readings that resume; the other bits count the events of a row that were read.
	strict bool
	skip   uint32 // events of the next row that were read before
}

// readRows yields the rows of a table as events.
func (r *reading) readRows(element uint32) error {
	h := &r.convert.table
	rows := &rowReader{reading: r, comma: h.Comma[0], names: h.Names, read: h.Read, header: !h.Given, plain: h.Plain}
	if rows.read == nil {
		rows.read = h.Names
	}
	rows.strict, rows.skip = element&1 == 1, element>>1
	for {
		if len(r.chunk.Records) >= chunkRecords {
			if err := r.flush(r.buf[rows.at:]); err != nil {
				return err
			}
			rows.at = 0
		}
		end, ok, open := rows.end(rows.at)
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
		case !open && end-rows.at > r.max+len("\r\n"):
			rows.reject(end, TooLong, fmt.Sprintf("the row has %d bytes; at most %d are read", end-rows.at, r.max))
		case !ok && len(r.buf)-rows.at > r.max:
			rows.reject(line, TooLong, fmt.Sprintf("the row has more than %d bytes", r.max))
		case !ok && r.eof && !open && line < len(r.buf) &&
			(r.open != Closed && r.failed == nil || (r.broken == nil || r.broken == errCut) &&
				!oddQuote(r.buf[rows.at:], rows.comma)):
			rows.row(len(r.buf), false) // a cell over several lines, the last of which has no line end
		case open:
			rows.strict = true
			rows.reject(line, Syntax, "a quote opens in this row and is never closed")
		case !ok && line < len(r.buf):
			rows.strict = true
			rows.reject(line, Truncated, "a quote opens in this row and is not closed before the object ends")
		default:
			rows.row(end, ok)
		}
	}
}

// end is rowEnd for the row that begins at an offset of buf.
func (rows *rowReader) end(i int) (end int, ok, open bool) {
	if !rows.plain {
		return rowEnd(rows.buf, i, rows.comma)
	}
	if n := bytes.IndexByte(rows.buf[min(i, len(rows.buf)):], '\n'); n >= 0 {
		return i + n + 1, true, false
	}
	return len(rows.buf), false, false
}

// refill reads more when the row is not complete yet.
func (rows *rowReader) refill() error {
	_, err := rows.forward(rows.at)
	rows.at = 0
	return err
}

// lineEnd is the offset after the first line of the row.
func (rows *rowReader) lineEnd() int {
	if n := bytes.IndexByte(rows.buf[rows.at:], '\n'); n >= 0 {
		return rows.at + n + 1
	}
	return len(rows.buf)
}

// after is the position after the row that ends at an offset of buf.
func (rows *rowReader) after(end int) Position {
	p := Position{rows.object, rows.off + int64(end), 0}
	if rows.strict {
		p.Element = 1
	}
	return p
}

// reject treats a line as a broken row; reading continues after it.
func (rows *rowReader) reject(end int, reason Reason, detail string) {
	at := rows.off + int64(rows.at)
	rows.add(Record{Raw: cut(rows.buf[rows.at:end]), End: rows.after(end), Line: rows.line,
		Err: &RecordError{reason, detail, rows.name, at, rows.line}})
	rows.line += int64(bytes.Count(rows.buf[rows.at:end], []byte{'\n'}))
	rows.at = end
}

// row yields the row that ends at an offset of buf. whole is false if the object ends in the row.
func (rows *rowReader) row(end int, whole bool) {
	r := rows.reading
	row := bytes.TrimRight(r.buf[rows.at:end], "\r\n")
	at := r.off + int64(rows.at)
	values := cells(row, rows.comma, rows.plain)
	for i, v := range values {
		if v == `\N` { // what databases write for NULL
			values[i] = ""
		}
	}
	first := at == 0 || at == int64(len(bom))
	switch {
	case len(bytes.TrimSpace(row)) == 0,
		first && bytes.HasPrefix(row, []byte("sep=")),
		rows.header && sameRow(values, rows.read): // also where files were joined
		r.line += int64(bytes.Count(r.buf[rows.at:end], []byte{'\n'}))
		rows.at = end
	case !whole && (r.open == OpenLine || r.open == OpenRow && r.broken == nil):
		r.held, r.broken = true, nil
		rows.at = len(r.buf)
	case !whole && r.broken != nil:
		rows.reject(end, Truncated, "the object breaks off: "+r.broken.Error())
		r.chunk.Records[len(r.chunk.Records)-1].End.Offset++ // see records
		r.broken = nil                                       // no separate record reports it
	case !whole && !rows.plain && oddQuote(row, rows.comma):
		rows.reject(end, Truncated, "the object ends inside the quotes of a cell")
	case !whole && rows.header && len(values) < len(rows.names):
		rows.reject(end, Truncated, fmt.Sprintf("the object ends in the middle of a row: it has %d of %d cells, and no "+
			"line end", len(values), len(rows.names)))
	case !utf8.Valid(row):
		rows.reject(end, Syntax, "the row is not UTF-8: --encoding latin1 reads it as Latin-1 (Windows-1252)")
	case len(values) > len(rows.names) && rows.header || len(values) > len(rows.names)+mostNewColumns:
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
		r.addConverted(rowJSON(rows.names, values), at, after, line, !whole, rows.skip, after.Element, 2)
		rows.skip = 0
	}
}

// oddQuote says whether a row ends inside a quoted cell.
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

// mostNewColumns is how many more cells a row may have than its shape, which has no header, has columns: newer
// writers have added some.
const mostNewColumns = 40

// addConverted adds the events that a shape makes from a record. skip is the number of them that were read before.
// The elements of their positions count from base, in steps.
func (r *reading) addConverted(raw []byte, at int64, after Position, line int64, tail bool, skip, base, step uint32) {
	r.found = r.convert.apply(raw, r.found[:0])
	r.addFound(raw, at, after, line, tail, skip, base, step)
}

// addFound adds what was found in a record.
func (r *reading) addFound(raw []byte, at int64, after Position, line int64, tail bool, skip, base, step uint32) {
	n := len(r.found)
	for i, c := range r.found {
		k := uint32(i + 1)
		if k <= skip {
			continue
		}
		end := after
		if i+1 < n {
			end = Position{r.object, at, base + step*k}
		}
		if c.err == nil {
			r.add(Record{Raw: c.event, End: end, Line: line, Tail: tail})
			continue
		}
		reason := NotEvent
		if n == 1 && event.Valid(raw) != nil {
			reason = Syntax
			if tail {
				reason = Truncated
			}
		}
		r.add(Record{Raw: cut(raw), End: end, Line: line, Err: &RecordError{reason, c.err.Error(), r.name, at, line}})
	}
	clear(r.found)
}
