package redact

import "strings"

// maxColumns limits how many columns are searched, and maxHeader the length of the
// header line.
const (
	maxColumns = 1 << 10
	maxHeader  = 1 << 14
)

// columns finds secrets in tables, that is, in lines of values separated by commas,
// tabs, semicolons or bars. It appends the values below a column name that announces a
// secret.
func (r *Redactor) columns(s string, found []match) []match {
	end := strings.IndexByte(s, '\n')
	if end < 3 || end > maxHeader || end+4 > len(s) {
		return found
	}
	header := strings.TrimSuffix(s[:end], "\r")
	between, kinds := r.header(header)
	if between == 0 {
		return found
	}
	var below []match
	column, rows := 0, 0
	for at := end + 1; at < len(s); {
		from, to, next := cell(s, at, between)
		last := next >= len(s) || s[next] == '\n'
		if column < len(kinds) && tellable(kinds[column], s[from:to]) {
			below = append(below, match{from: from, to: to, kind: kinds[column]})
		}
		column++
		if last {
			if column != len(kinds) && (column > 1 || to > from) {
				return found // not a table
			}
			column, rows = 0, rows+1
		}
		at = next + 1
	}
	return append(found, below...)
}

// tellable is true if a value in a column can be what the name of the column says. A
// column of tokens may just as well hold words.
func tellable(kind, v string) bool {
	switch {
	case kind == "" || len(v) < 4:
		return false
	case kind == "password" || kind == "secret" || personal(kind):
		return true
	}
	return len(v) >= MinShort && HasDigit(v)
}

// header reads the column names and their separator. The separator is 0 if the line is
// no header, or if no name announces a secret.
func (r *Redactor) header(line string) (between byte, kinds []string) {
	at := strings.IndexAny(line, ",;\t|")
	if at < 0 || line[0] == '|' { // tables of Markdown are documentation
		return 0, nil
	}
	between = line[at]
	names := strings.Split(line, string(between))
	if len(names) > maxColumns {
		return 0, nil
	}
	any := false
	kinds = make([]string, len(names))
	for n, name := range names {
		if n > 0 && strings.HasPrefix(name, " ") {
			return 0, nil // a sentence
		}
		name = strings.Trim(name, " \"\ufeff")
		for i := range len(name) {
			if !isName(name[i]) && name[i] != ' ' && name[i] < 0x80 {
				return 0, nil
			}
		}
		kinds[n] = r.keyKind(last(name))
		any = any || kinds[n] != ""
	}
	if !any {
		return 0, nil
	}
	return between, kinds
}

// cell returns the value at an index, without its quotes, and the index of the
// separator behind it.
func cell(s string, at int, between byte) (from, to, next int) {
	if s[at] == '"' {
		for i := at + 1; i < len(s); i++ {
			switch {
			case s[i] != '"':
			case i+1 < len(s) && s[i+1] == '"':
				i++
			default:
				next = i + 1
				for next < len(s) && s[next] != between && s[next] != '\n' {
					next++
				}
				return at + 1, i, next
			}
		}
		return at, len(s), len(s)
	}
	next = at
	for next < len(s) && s[next] != between && s[next] != '\n' {
		next++
	}
	to = next
	for to > at && (s[to-1] == '\r' || s[to-1] == ' ') {
		to--
	}
	for from = at; from < to && s[from] == ' '; from++ {
	}
	return from, to, next
}
