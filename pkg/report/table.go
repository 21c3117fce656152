package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/printable"
)

// table is a table for people: each column is as wide as its widest cell. Where a terminal is too narrow for that,
// the columns that matter least stand below their row, with their names, so that nothing is cut off. A file or a
// pipe has no width.
type table struct {
	w       io.Writer
	columns []column
	rows    [][]string
	written string // the head, as it was written last
}

// column is one column of a table.
type column struct {
	name  string
	right bool // its cells are aligned to the right, as numbers are
	// below says how soon the column stands below its rows: those with the highest number first, of these the ones
	// that are empty. 0: never.
	below int
}

// between are the spaces between two columns, and before what stands below a row.
const between, indent = "  ", "    "

// row adds a row. A cell without a text, and a number that is 0 or -, is nothing: below a row it is left out.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = printable.Text(strings.NewReplacer("\t", " ", "\n", " ", "\r", " ").Replace(c))
	}
	t.rows = append(t.rows, cells)
}

// leaveOut takes a column out of the table.
func (t *table) leaveOut(column int) {
	t.columns = slices.Delete(slices.Clone(t.columns), column, column+1)
	for i, row := range t.rows {
		t.rows[i] = slices.Delete(row, column, column+1)
	}
}

// numbers are cells of numbers.
func numbers(ns ...uint64) (cells []string) {
	for _, n := range ns {
		cells = append(cells, strconv.FormatUint(n, 10))
	}
	return cells
}

// nothing says whether a cell says nothing. In a column of texts 0 may be somebody's name.
func (c column) nothing(cell string) bool {
	return cell == "" || c.right && (cell == "0" || cell == "-")
}

// flush writes the rows, and the head where it is not the one that stands above them already. Without a terminal there
// is one head, for programs that leave out the first line.
func (t *table) flush() error {
	names := make([]string, len(t.columns))
	sizes, empty := make([]int, len(names)), make([]bool, len(names))
	for i, c := range t.columns {
		names[i], sizes[i], empty[i] = c.name, printable.Width(c.name), true
		for _, row := range t.rows {
			sizes[i] = max(sizes[i], printable.Width(row[i]))
			empty[i] = empty[i] && c.nothing(row[i])
		}
	}
	most := printable.Columns(t.w)
	below := t.choose(most, sizes, empty)
	var b strings.Builder
	if head := t.line(names, sizes, below); t.written == "" || most > 0 && head != t.written {
		b.WriteString(head)
		t.written = head
	}
	for _, row := range t.rows {
		b.WriteString(t.line(row, sizes, below))
		b.WriteString(t.rest(row, most, below))
	}
	t.rows = nil
	_, err := io.WriteString(t.w, b.String())
	return err
}

// choose says which columns stand below their rows, so that a line has at most so many characters; 0: any number.
func (t *table) choose(most int, sizes []int, empty []bool) []bool {
	below := make([]bool, len(sizes))
	for most > 0 {
		width, next := -len(between), -1
		for i, size := range sizes {
			if below[i] {
				continue
			}
			width += size + len(between)
			c := t.columns[i]
			if c.below > 0 && (next < 0 || empty[i] && !empty[next] ||
				empty[i] == empty[next] && c.below > t.columns[next].below) {
				next = i
			}
		}
		if width <= most || next < 0 {
			break
		}
		below[next] = true
	}
	return below
}

// line is one line of the table.
func (t *table) line(cells []string, sizes []int, below []bool) string {
	var b strings.Builder
	first := slices.Index(below, false)
	for i, cell := range cells {
		if below[i] {
			continue
		}
		if i > first {
			b.WriteString(between)
		}
		space := strings.Repeat(" ", sizes[i]-printable.Width(cell))
		if t.columns[i].right {
			cell = space + cell
		} else {
			cell += space
		}
		b.WriteString(cell)
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}

// rest is what stands below a row.
func (t *table) rest(cells []string, most int, below []bool) string {
	var words []string
	for i, cell := range cells {
		if !below[i] || t.columns[i].nothing(cell) {
			continue
		}
		first := len(words)
		words = append(words, strings.Fields(strings.ToLower(t.columns[i].name)+" "+cell)...)
		if first > 0 {
			words[first-1] += ";"
		}
	}
	if len(words) == 0 {
		return ""
	}
	var b strings.Builder
	width := 0
	for i, word := range words {
		size := printable.Width(word)
		if i == 0 || width+1+size > most {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprint(&b, indent, word)
			width = len(indent) + size
			continue
		}
		b.WriteString(" " + word)
		width += 1 + size
	}
	return b.String() + "\n"
}
