package source

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

const (
	// rowValues is how many values of a column are taken from the library at a time.
	rowValues = 64
	// mostRowValues is how many values a row has at most: each takes some 50 bytes of memory while it is read.
	mostRowValues = 1 << 20
)

// rowSpace is what is left for the values of a row.
type rowSpace struct{ bytes, values int }

func (s rowSpace) none() bool { return s.bytes < 0 || s.values < 0 }

// tableRows reads the rows of a row group. The library's own reader takes memory for a row of any number of values.
type tableRows struct {
	group   parquet.RowGroup
	columns []rowColumn
	values  [][]parquet.Value
	read    int64
}

// rowColumn is one column of a row group.
type rowColumn struct {
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	shared bool            // values point into the memory of their page
	flat   bool            // each row has one value
	buf    []parquet.Value // values that are not in a row yet
	room   []parquet.Value
	row    []parquet.Value // of a row that is not in one piece
}

func newTableRows(group parquet.RowGroup, columns []*guardedColumn) *tableRows {
	chunks := group.ColumnChunks()
	t := &tableRows{group: group, columns: make([]rowColumn, min(len(columns), len(chunks))),
		values: make([][]parquet.Value, len(columns))}
	room := make([]parquet.Value, rowValues*len(t.columns))
	for i := range t.columns {
		c := &t.columns[i]
		kind := columns[i].kind
		c.shared = kind == parquet.ByteArray || kind == parquet.FixedLenByteArray
		c.flat = columns[i].repetition == 0
		c.pages = chunks[i].Pages()
		c.room = room[rowValues*i : rowValues*(i+1)]
	}
	return t
}

func (t *tableRows) close() {
	for i := range t.columns {
		t.columns[i].drop()
		_ = t.columns[i].pages.Close() // nothing was written
	}
}

// seek goes to a row of the group.
func (t *tableRows) seek(row int64) error {
	t.read = row
	for i := range t.columns {
		c := &t.columns[i]
		c.drop()
		c.buf = nil
		if err := c.pages.SeekToRow(row); err != nil {
			return err
		}
	}
	return nil
}

// next returns the values of the next row by columns, which are valid until the next call. A row that is long has
// more of them than a row may have, or than fit into so many bytes; the rest was passed over.
func (t *tableRows) next(most int) (values [][]parquet.Value, long bool, err error) {
	left, ended := rowSpace{most, mostRowValues}, 0
	for i := range t.columns {
		c := &t.columns[i]
		t.values[i], err = c.next(&left)
		switch {
		case err == io.EOF:
			ended++
		case err != nil:
			return nil, false, err
		}
	}
	switch n := t.group.NumRows(); {
	case ended == 0 && len(t.columns) > 0:
		t.read++
		return t.values, left.none(), nil
	case ended < len(t.columns):
		return nil, false, errors.New("some of its columns end before the others")
	case t.read < n:
		return nil, false, fmt.Errorf("its columns end after %d of %d rows", t.read, n)
	}
	return nil, false, io.EOF
}

// next returns the column's values of the next row, as long as there is space for them.
func (c *rowColumn) next(left *rowSpace) ([]parquet.Value, error) {
	if len(c.buf) == 0 {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	if c.row = c.row[:0]; cap(c.row) > 1<<16 {
		c.row = nil
	}
	for n := 1; ; n = 0 {
		for !c.flat && n < len(c.buf) && c.buf[n].RepetitionLevel() != 0 {
			n++
		}
		row := c.buf[:n]
		for i := range row {
			left.values--
			if c.shared && !row[i].IsNull() {
				left.bytes -= len(row[i].ByteArray())
			}
		}
		if left.none() {
			row = nil
		}
		whole := n < len(c.buf)
		if c.buf = c.buf[n:]; !whole && !c.flat {
			c.row = append(c.row, row...)
			err := c.fill()
			if err == nil {
				continue
			}
			if err != io.EOF {
				return nil, err
			}
			return c.row, nil
		}
		if len(c.row) > 0 {
			c.row = append(c.row, row...)
			row = c.row
		}
		return row, nil
	}
}

// fill reads values, from the next page where one is at its end.
func (c *rowColumn) fill() error {
	for {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if err != nil {
				return err
			}
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(c.room)
		if c.buf = c.room[:n]; n > 0 {
			return nil
		}
		if err == nil {
			return io.ErrNoProgress
		}
		if err != io.EOF {
			return err
		}
		c.drop()
	}
}

// drop gives the memory of the page back to the library, unless values of the row may point into it.
func (c *rowColumn) drop() {
	if c.page != nil && !c.shared {
		parquet.Release(c.page)
	}
	c.page, c.values = nil, nil
}
