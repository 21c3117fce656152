package report

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// screen is a terminal of some width.
type screen struct {
	strings.Builder
	width int
}

func (s *screen) Columns() int { return s.width }

// tables are all that there are, filled with what is as wide as it gets.
func tables(w *screen) []*table {
	dead := make([]column, len(deadColumns))
	copy(dead, deadColumns)
	long := &table{w: w, columns: dead}
	long.row("product-analytics", "trackEvent", "required_field", "400", "5c2a2f2e-8f2b-4f0e-9d0a-1c5f0b7f3a11",
		"Order Completed",
		"user-1234567", "/data/archive/2024/05/01/events-0001.jsonl.gz", "123456", "8", "2024-05-01T10:00:00.000Z",
		"2024-05-01T10:15:00.000Z", "k3v5q7w2xy", strings.Repeat("what the partner said ", 5)+"ende")
	long.row("b", "", "refused", "", "m-2", "Änderung\nzweite", "", "", "0", "1", "", "", "", "kurz")
	counts := &table{w: w, columns: []column{{"", false, 0}, {"delivered", true, 0}, {"skipped", true, 2},
		{"filtered", true, 3},
		{"rejected", true, 0}, {"pending", true, 1}, {"requests", true, 4}, {"retries", true, 5}, {"events/s", true, 6}}}
	counts.row("product-analytics", "10000000", "12345", "0", "17", "0", "5000", "3", "12000")
	counts.row("b", "1", "0", "0", "0", "0", "1", "0", "-")
	return []*table{long, counts}
}

// On a terminal no line is wider than it, and nothing is lost: what does not fit stands below its row, with its name.
func TestTablesFit(t *testing.T) {
	for _, width := range []int{0, 60, 80, 100, 132, 200, 400} {
		w := &screen{width: width}
		for _, tab := range tables(w) {
			var words []string
			for _, row := range tab.rows {
				for i, cell := range row {
					if !tab.columns[i].nothing(cell) {
						words = append(words, strings.Fields(cell)...)
					}
				}
			}
			w.Reset()
			if err := tab.flush(); err != nil {
				t.Fatal(err)
			}
			text := w.String()
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); width > 0 && n > width {
					t.Errorf("%d: a line has %d characters: %q", width, n, line)
				}
			}
			for _, word := range words {
				if !strings.Contains(text, word) {
					t.Errorf("%d: %q is missing in\n%s", width, word, text)
				}
			}
			if width == 0 && strings.Count(text, "\n") != 3 {
				t.Errorf("a table without a width is not a line a row:\n%s", text)
			}
		}
	}
}

// What is called 0 or - stands below its row as other names do; a count of 0 does not.
func TestNamesOfNothing(t *testing.T) {
	w := &screen{width: 34}
	tab := &table{w: w, columns: []column{{"DESTINATION", false, 0}, {"EVENT", false, 3}, {"USER", false, 4},
		{"LETTERS", true, 5}, {"DETAIL", false, 6}}}
	tab.row("product-analytics-of-somebody", "0", "-", "0", "")
	if err := tab.flush(); err != nil {
		t.Fatal(err)
	}
	if want := "DESTINATION\nproduct-analytics-of-somebody\n    event 0; user -\n"; w.String() != want {
		t.Errorf("%q, want %q", w.String(), want)
	}
}

// A file or a pipe gets one head, also where later rows are wider.
func TestOneHeadWithoutTerminal(t *testing.T) {
	w := &screen{}
	tab := &table{w: w, columns: []column{{"NAME", false, 0}, {"DONE", true, 0}}}
	for _, name := range []string{"a", "a-longer-one"} {
		tab.row(name, "5")
		if err := tab.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if want := "NAME  DONE\na        5\na-longer-one     5\n"; w.String() != want {
		t.Errorf("%q, want %q", w.String(), want)
	}
}

// What is nothing everywhere goes first, and is not told below; the head comes once, as long as it stays the same.
func TestTableInTwoParts(t *testing.T) {
	w := &screen{width: 30}
	tab := &table{w: w, columns: []column{{"NAME", false, 0}, {"DONE", true, 0}, {"FAILED", true, 1}, {"LEFT", true, 2}}}
	for range 2 {
		tab.row("some-destination", "5", "0", "7")
		if err := tab.flush(); err != nil {
			t.Fatal(err)
		}
	}
	row := "some-destination     5     7\n"
	if want := "NAME              DONE  LEFT\n" + row + row; w.String() != want {
		t.Errorf("%q, want %q", w.String(), want)
	}
}

// TestWideCells: what follows a cell with wide characters stands below what follows others.
func TestWideCells(t *testing.T) {
	var b strings.Builder
	tab := &table{w: &b, columns: []column{{name: "name"}, {name: "n", right: true}}}
	tab.row("日本", "1")
	tab.row("abcdef", "22")
	if err := tab.flush(); err != nil || b.String() != "name     n\n日本     1\nabcdef  22\n" {
		t.Errorf("%v\n%s", err, b.String())
	}
}
