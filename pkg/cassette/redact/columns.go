package redact

import "strings"

// maxColumns bounds the columns that are looked at, and maxHeader the line that names
// them.
const (
	maxColumns = 1 << 10
	maxHeader  = 1 << 14
)

// columns appends the values that stand, in lines of values between commas, tabs,
// semicolons or bars, below a name that announces a secret.
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
				return found // no table
			}
			column, rows = 0, rows+1
		}
		at = next + 1
	}
	return append(found, below...)
}

// tellable says that what stands in a column is what its name says: a column of tokens
// may be one of words.
func tellable(kind, v string) bool {
	switch {
	case kind == "" || len(v) < 4:
		return false
	case kind == "password" || kind == "secret" || personal(kind):
		return true
	}
	return len(v) >= MinShort && hasDigit(v)
}

// header reads the names of columns, and the sign between them: 0 where a line is no
// such names, or none of them announces anything.
func (r *Redactor) header(line string) (between byte, kinds []string) {
	at := strings.IndexAny(line, ",;\t|")
	if at < 0 || line[0] == '|' { // Markdown has tables, too, of what is explained
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

// cell is the value that begins at a place, without its quotes, and where the sign
// behind it stands.
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
