package source

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/fanfold/fanfold/pkg/event"
)

// runParquet reads an object that stores rows by columns. A row's position is its number. In its JSON, integers
// and decimals have their exact digits, times are in RFC 3339, and nested columns are objects and arrays.
//
// If the library cannot read the file, it is tried once more in the form that [mend] gives it.
func (r *reading) runParquet(at io.ReaderAt, size int64, from Position) (err error) {
	f, err := r.openParquet(at, size, false)
	if err == nil {
		err = r.runTable(f, from)
	}
	if errors.Is(err, errToMend) {
		if f, err = r.openParquet(at, size, true); err == nil {
			r.mended = true
			if r.chunk != nil {
				from = r.last
			}
			err = r.runTable(f, from)
		}
	}
	var damaged *damagedTable
	if errors.As(err, &damaged) {
		r.last = from
		return r.breaks(from.Offset, damaged.err)
	}
	return err
}

// errToMend says that the library cannot read a file that may be undamaged.
var errToMend = errors.New("to be mended")

// damagedTable is the reason why a table cannot be opened at all.
type damagedTable struct{ err error }

func (e *damagedTable) Error() string { return e.err.Error() }

// openParquet opens a table, as it is or mended.
func (r *reading) openParquet(at io.ReaderAt, size int64, again bool) (f *parquet.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &damagedTable{fmt.Errorf("%v", p)}
		}
	}()
	footer, err := readFooter(at, size)
	if err != nil {
		return nil, &damagedTable{err}
	}
	if again {
		var m *mended
		if m, err = mend(at, footer); err != nil {
			return nil, &damagedTable{err}
		}
		at, size = m, m.size
	}
	f, err = openGuarded(at, size)
	if err != nil {
		if fatal := r.raw.fatal(); fatal != nil {
			return nil, fatal
		}
		if !again && errors.As(err, new(*thrift.MissingField)) {
			return nil, errToMend
		}
		return nil, &damagedTable{err}
	}
	if again {
		return f, nil
	}
	return f, r.packed(f.Metadata())
}

// readFooter reads the metadata at the place that the end of the file gives. It checks the lengths in it, because the
// library takes them at their word: it would read before the file's beginning, or take memory for a list of any length.
func readFooter(at io.ReaderAt, size int64) ([]byte, error) {
	var tail [8]byte
	if size < 12 {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := at.ReadAt(tail[:], size-8); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	switch {
	case string(tail[4:]) == "PARE":
		return nil, errors.New("the file is encrypted")
	case string(tail[4:]) != "PAR1":
		return nil, errors.New("the end of the file is missing")
	case length > size-12, length > mostFooter:
		return nil, errThrift
	}
	footer := make([]byte, length)
	if _, err := at.ReadAt(footer, size-8-length); err != nil {
		return nil, err
	}
	_, err := skipStruct(footer, 0)
	return footer, err
}

func (r *reading) runTable(f *parquet.File, from Position) (err error) {
	r.last, r.line, r.skip = from, 0, from.Element
	done := from.Offset
	defer func() {
		// With a damaged file, the library may panic instead of returning an error.
		if p := recover(); p != nil {
			err = r.breaks(done, fmt.Errorf("%v", p))
		}
	}()
	schema := f.Schema()
	columns := leafColumns(f.Root(), nil)
	r.take()
	r.chunk.Start = from
	var number int64 // number of the row group's first row
	first := true
	for _, group := range f.RowGroups() {
		n := group.NumRows()
		if done >= number+n && number+n > 0 && done > 0 && !first {
			number += n
			continue
		}
		stop, err := r.readGroup(group, schema, columns, number, &done, &first)
		if stop || err != nil {
			return err
		}
		number += n
	}
	return r.flushRows()
}

// packed returns errToMend if columns are compressed with LZ4: for those the library has returned empty values,
// and asks for ever more memory when pages are damaged. LZO is not supported at all.
func (r *reading) packed(m *format.FileMetaData) error {
	for _, g := range m.RowGroups {
		for _, c := range g.Columns {
			switch codec := c.MetaData.Codec; codec {
			case format.Lz4, format.Lz4Raw:
				return errToMend
			case format.LZO:
				return inputf("%s is compressed with %s, which is not read in Parquet: write it anew with zstd, snappy or gzip",
					r.name, codec)
			}
		}
	}
	return nil
}

// breaks yields a bad record for the rest of a table that is damaged from a row on.
func (r *reading) breaks(row int64, cause error) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.chunk != nil {
		if err := r.flushRows(); err != nil {
			return err
		}
	}
	if err := r.raw.fatal(); err != nil {
		return err // the table itself may be intact
	}
	if !r.mended && errors.As(cause, new(*thrift.MissingField)) {
		return errToMend
	}
	// Nothing follows, so the end position is after any possible row.
	end := Position{r.object, math.MaxInt64, 0}
	if r.last == end {
		return nil // it was yielded before
	}
	c := &Chunk{Start: r.last, End: end, Name: r.name}
	c.Records = []Record{{End: end, Err: &RecordError{Truncated, fmt.Sprintf("the table of columns breaks off "+
		"at row %d: %v", row+1, cause), r.name, row, 0}}}
	if !r.yield(c) {
		return errStopped
	}
	return nil
}

func (r *reading) readGroup(
	group parquet.RowGroup, schema *parquet.Schema, columns []*guardedColumn, number int64, done *int64, first *bool,
) (stop bool, err error) {
	rows := newTableRows(group, columns)
	defer rows.close()
	writer := rowWriter{most: r.max}
	var json []byte
	row := number
	// The first row decides what the rows are, in every reading.
	if !*first && *done > row {
		if err := rows.seek(*done - number); err != nil {
			return true, r.breaks(*done, err)
		}
		row = *done
	}
	for {
		values, long, readErr := rows.next(r.max)
		if err := r.ctx.Err(); err != nil {
			return true, err
		}
		if err := r.raw.fatal(); err != nil {
			return true, r.breaks(*done, err)
		}
		if readErr == io.EOF {
			return false, nil
		}
		if readErr != nil {
			return true, r.breaks(*done, readErr)
		}
		if row++; *first || row > *done {
			json = writer.group(json[:0], schema, values, 0, 0)
		}
		if *first {
			if err := r.chooseColumns(json, fieldNames(schema)); err != nil {
				return true, err
			}
			*first = false
			if r.noted != nil {
				r.noted(r.why)
			}
		}
		if row > *done {
			r.addRow(json, long, row)
			*done = row
			if len(r.chunk.Records) >= chunkRecords || len(r.buf) >= ChunkBytes {
				if err := r.flushRows(); err != nil {
					return true, err
				}
			}
			continue
		}
		if err := rows.seek(min(*done-number, group.NumRows())); err != nil {
			return true, r.breaks(*done, err)
		}
		row = number + min(*done-number, group.NumRows())
	}
}

// addRow adds a row to the chunk. A long one has more values than a row of the most bytes can have.
func (r *reading) addRow(json []byte, long bool, row int64) {
	end := Position{r.object, row, 0}
	if long || len(json) > r.max {
		detail := fmt.Sprintf("the row has more than %d bytes", r.max)
		if long {
			detail += fmt.Sprintf(", or more than %d values", mostRowValues)
		}
		r.add(Record{Raw: bytes.Clone(cut(json)), End: end, Err: &RecordError{TooLong, detail, r.name, row - 1, 0}})
		return
	}
	if r.convert != nil {
		r.buf = append(r.buf, json...) // its length decides when the chunk is full
		r.addConverted(append([]byte(nil), json...), row-1, end, 0, false, r.skip, 0, 1)
		r.skip = 0
		return
	}
	if cap(r.buf)-len(r.buf) < len(json) {
		// Records keep the memory alive that they are in.
		r.buf = append(make([]byte, 0, max(ChunkBytes, 2*len(json))), json...)
		r.add(Record{Raw: r.buf[:len(json):len(json)], End: end})
		return
	}
	at := len(r.buf)
	r.buf = append(r.buf, json...)
	r.add(Record{Raw: r.buf[at:len(r.buf):len(r.buf)], End: end})
}

func (r *reading) flushRows() error {
	c := r.chunk
	if len(c.Records) == 0 {
		return r.halt()
	}
	c.End = c.Records[len(c.Records)-1].End
	c.Data = r.buf
	r.last = c.End
	r.take()
	if !r.yield(c) {
		return errStopped
	}
	return r.halt()
}

// chooseColumns decides from the first row what the rows are.
func (r *reading) chooseColumns(row []byte, columns []string) error {
	name := r.choose.format
	if name == "" {
		name = formatAuto
	}
	if name == formatSegment && r.choose.unwrap == "" {
		r.why = "a table of columns whose rows are events"
		return nil
	}
	var kind tableKind
	chain := []string{name}
	switch {
	case r.choose.unwrap != "" && name == formatAuto, name == formatAuto:
		var outer []string
		if r.choose.unwrap != "" {
			outer = []string{unwrapped}
		}
		v, err := event.ParseValue(row)
		if err != nil { // it is too large, so the column names have to suffice
			if v, err = event.ParseValue(rowJSON(columns, columns)); err != nil {
				return err
			}
		}
		f := &finder{choose: r.choose, object: r.name}
		if outer != nil || len(fitting(r.choose.shapes, v)) > 0 {
			f.look(v, outer)
		}
		if f.err != nil {
			return f.err
		}
		if chain = f.chain; chain != nil {
			break
		}
		if kind = tableOf(columns, r.name); kind == undecided {
			return unclearTable(r.name, "a table of columns")
		}
		chain = []string{formatTable}
	case r.choose.unwrap != "":
		chain = []string{unwrapped, name}
	case name == formatTable:
		if kind = tableOf(columns, r.name); kind == undecided {
			kind = eachRow
		}
	}
	var err error
	r.convert, err = newConverter(chain, r.choose, nil)
	if err != nil {
		return err
	}
	if r.convert.rows != nil && chain[0] == formatTable {
		r.convert.rows.kind = kind
	}
	r.convert.cells = r.convert.builtIn
	r.why = describeTable("a table of columns", chain, kind)
	return nil
}

// rowWriter writes rows as JSON. What is longer than the most bytes is not written to its end.
type rowWriter struct{ most int }

// group writes the members of a group. columns are the values of its leaves; def and rep are the levels of the group.
func (w rowWriter) group(dst []byte, n parquet.Node, columns [][]parquet.Value, def, rep int) []byte {
	dst = append(dst, '{')
	at, begun := 0, false
	for _, f := range n.Fields() {
		if len(dst) > w.most {
			return dst
		}
		k := leavesOf(f)
		if begun {
			dst = append(dst, ',')
		}
		begun = true
		dst = append(event.AppendQuoted(dst, f.Name()), ':')
		dst = w.node(dst, f, columns[at:at+k], def, rep)
		at += k
	}
	return append(dst, '}')
}

func fieldNames(n parquet.Node) (names []string) {
	for _, f := range n.Fields() {
		names = append(names, f.Name())
	}
	return names
}

func leavesOf(n parquet.Node) int {
	if n.Leaf() {
		return 1
	}
	k := 0
	for _, f := range n.Fields() {
		k += leavesOf(f)
	}
	return k
}

// defined is the definition level of the first value; -1: there is none.
func defined(columns [][]parquet.Value) int {
	if len(columns) == 0 || len(columns[0]) == 0 {
		return -1
	}
	return columns[0][0].DefinitionLevel()
}

func (w rowWriter) node(dst []byte, n parquet.Node, columns [][]parquet.Value, def, rep int) []byte {
	switch {
	case n.Optional():
		if defined(columns) <= def {
			return append(dst, "null"...)
		}
		return w.present(dst, n, columns, def+1, rep)
	case n.Repeated():
		return w.elements(dst, columns, def, rep, '[', ']', func(dst []byte, columns [][]parquet.Value) []byte {
			return w.present(dst, n, columns, def+1, rep+1)
		})
	}
	return w.present(dst, n, columns, def, rep)
}

// elements writes the elements of a repeated node.
func (w rowWriter) elements(
	dst []byte, columns [][]parquet.Value, def, rep int, open, end byte, one func([]byte, [][]parquet.Value) []byte,
) []byte {
	dst = append(dst, open)
	if defined(columns) > def {
		rest := append([][]parquet.Value(nil), columns...)
		element := make([][]parquet.Value, len(columns))
		for k := 0; len(rest[0]) > 0 && len(dst) <= w.most; k++ {
			for i, c := range rest {
				n := min(1, len(c))
				for n < len(c) && c[n].RepetitionLevel() > rep+1 {
					n++
				}
				element[i], rest[i] = c[:n], c[n:]
			}
			if k > 0 {
				dst = append(dst, ',')
			}
			dst = one(dst, element)
		}
	}
	return append(dst, end)
}

// present writes a node that is present.
func (w rowWriter) present(dst []byte, n parquet.Node, columns [][]parquet.Value, def, rep int) []byte {
	if n.Leaf() {
		if len(columns[0]) == 0 || columns[0][0].IsNull() {
			return append(dst, "null"...)
		}
		return appendValue(dst, n.Type(), columns[0][0])
	}
	lt := n.Type().LogicalType()
	fields := n.Fields()
	if len(fields) == 1 && fields[0].Repeated() && lt != nil {
		inner := fields[0]
		switch {
		case isList(lt):
			return w.elements(dst, columns, def, rep, '[', ']', func(dst []byte, columns [][]parquet.Value) []byte {
				if !inner.Leaf() && len(inner.Fields()) == 1 {
					return w.node(dst, inner.Fields()[0], columns, def+1, rep+1)
				}
				return w.present(dst, inner, columns, def+1, rep+1)
			})
		case isMap(lt) && !inner.Leaf() && len(inner.Fields()) == 2 && inner.Fields()[0].Leaf():
			return w.elements(dst, columns, def, rep, '{', '}', func(dst []byte, columns [][]parquet.Value) []byte {
				key := w.present(nil, inner.Fields()[0], columns[:1], def+1, rep+1)
				if len(key) == 0 || key[0] != '"' {
					key = event.AppendQuoted(nil, key)
				}
				dst = append(append(dst, key...), ':')
				return w.node(dst, inner.Fields()[1], columns[1:], def+1, rep+1)
			})
		}
	}
	return w.group(dst, n, columns, def, rep)
}

func isList(lt *format.LogicalType) bool { _, ok := lt.Value.(*format.ListType); return ok }
func isMap(lt *format.LogicalType) bool  { _, ok := lt.Value.(*format.MapType); return ok }

func appendValue(dst []byte, t parquet.Type, v parquet.Value) []byte {
	var logical any
	if lt := t.LogicalType(); lt != nil {
		logical = lt.Value
	}
	quotedTime := func(at time.Time) []byte {
		return append(at.UTC().AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
	}
	switch l := logical.(type) {
	case *format.DateType:
		day := time.Unix(0, 0).UTC().AddDate(0, 0, int(v.Int32()))
		return append(day.AppendFormat(append(dst, '"'), time.DateOnly), '"')
	case *format.TimestampType:
		switch l.Unit.Value.(type) {
		case *format.MilliSeconds:
			return quotedTime(time.UnixMilli(v.Int64()))
		case *format.MicroSeconds:
			return quotedTime(time.UnixMicro(v.Int64()))
		}
		return quotedTime(time.Unix(0, v.Int64()))
	case *format.TimeType:
		return append(clockTime(v, l.Unit).AppendFormat(append(dst, '"'), "15:04:05.999999999"), '"')
	case *format.Float16Type:
		if b := v.ByteArray(); len(b) == 2 {
			return appendFloat(dst, float64(halfFloat(binary.LittleEndian.Uint16(b))), 32)
		}
	case *format.DecimalType:
		// No writer has more digits, and writing millions of them takes hours.
		if kind := v.Kind(); l.Scale <= 256 && (kind != parquet.ByteArray && kind != parquet.FixedLenByteArray ||
			len(v.ByteArray()) <= 64) {
			return appendDecimal(dst, unscaled(v), int(l.Scale))
		}
	case *format.UUIDType:
		if b := v.ByteArray(); len(b) == 16 {
			return fmt.Appendf(dst, `"%x-%x-%x-%x-%x"`, b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		}
	case *format.JsonType:
		if b := v.ByteArray(); event.Valid(b) == nil {
			return append(dst, b...)
		}
	case *format.IntType:
		if !l.IsSigned {
			if v.Kind() == parquet.Int32 {
				return strconv.AppendUint(dst, uint64(v.Uint32()), 10)
			}
			return strconv.AppendUint(dst, v.Uint64(), 10)
		}
	}
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.AppendBool(dst, v.Boolean())
	case parquet.Int32:
		return strconv.AppendInt(dst, int64(v.Int32()), 10)
	case parquet.Int64:
		return strconv.AppendInt(dst, v.Int64(), 10)
	case parquet.Float:
		return appendFloat(dst, float64(v.Float()), 32)
	case parquet.Double:
		return appendFloat(dst, v.Double(), 64)
	case parquet.Int96:
		// The old form of a time: nanoseconds of the day, and the Julian day.
		x := v.Int96()
		var b [8]byte
		binary.LittleEndian.PutUint32(b[:], x[0])
		binary.LittleEndian.PutUint32(b[4:], x[1])
		const unixEpochJulian = 2440588
		return quotedTime(time.Unix((int64(x[2])-unixEpochJulian)*86400, int64(binary.LittleEndian.Uint64(b[:]))))
	}
	b := v.ByteArray()
	if utf8.Valid(b) {
		return event.AppendQuoted(dst, b)
	}
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"')
}

// appendFloat writes a number. JSON cannot express infinity and NaN.
func appendFloat(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}

// clockTime is a time of the day.
func clockTime(v parquet.Value, unit format.TimeUnit) time.Time {
	midnight := time.Unix(0, 0).UTC()
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		return midnight.Add(time.Duration(v.Int32()) * time.Millisecond)
	case *format.MicroSeconds:
		return midnight.Add(time.Duration(v.Int64()) * time.Microsecond)
	}
	return midnight.Add(time.Duration(v.Int64()))
}

// halfFloat converts a 16-bit floating-point number: a sign, 5 bits of exponent, 10 of fraction.
func halfFloat(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch {
	case exponent == 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	case exponent > 0:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
	}
	tiny := float32(fraction) / (1 << 24)
	if sign != 0 {
		return -tiny
	}
	return tiny
}

// unscaled is a decimal without its point.
func unscaled(v parquet.Value) *big.Int {
	n := new(big.Int)
	switch v.Kind() {
	case parquet.Int32:
		return n.SetInt64(int64(v.Int32()))
	case parquet.Int64:
		return n.SetInt64(v.Int64())
	}
	return twosComplement(v.ByteArray())
}

// twosComplement converts big-endian bytes to a number.
func twosComplement(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

func appendDecimal(dst []byte, n *big.Int, scale int) []byte {
	if scale <= 0 {
		return n.Append(dst, 10)
	}
	digits := new(big.Int).Abs(n).String()
	for len(digits) <= scale {
		digits = "0" + digits
	}
	if n.Sign() < 0 {
		dst = append(dst, '-')
	}
	dst = append(dst, digits[:len(digits)-scale]...)
	dst = append(dst, '.')
	return append(dst, digits[len(digits)-scale:]...)
}

var errNoPlaces = &InputError{Err: errors.New("a Parquet file inside an archive or on standard input is not read: " +
	"give the file itself")}
