package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// cellTypes are the types of a table's cells, by column. They have to be declared, because in a table of texts
// nobody can tell that 007 is a name and 7 a number.
type cellTypes struct {
	byColumn map[string]string
	order    event.DateOrder // how dates are read
}

// The types of cells that --types knows.
const (
	cellText    = "text"
	cellNumber  = "number"
	cellBoolean = "boolean"
	cellJSON    = "json"
	cellTime    = "time"
)

// readCellTypes reads "price=number" and the like.
func readCellTypes(given []string, order event.DateOrder) (cellTypes, error) {
	types := cellTypes{map[string]string{}, order}
	for _, g := range given {
		i := strings.LastIndexByte(g, '=')
		if i < 1 {
			return types, inputf("--types has to be COLUMN=TYPE, not %q", g)
		}
		switch name, typ := strings.TrimSpace(g[:i]), strings.TrimSpace(g[i+1:]); typ {
		case cellText, cellNumber, cellBoolean, cellJSON, cellTime:
			if was, ok := types.byColumn[name]; ok && was != typ {
				return types, inputf("--types: %s cannot be both %s and %s", name, was, typ)
			}
			types.byColumn[name] = typ
		default:
			return types, inputf("--types: a column is number, boolean, json, time or text, not %q", typ)
		}
	}
	return types, nil
}

// read converts a cell to JSON by its column's type.
func (t cellTypes) read(name, v event.Value) (json.RawMessage, error) {
	if len(t.byColumn) == 0 {
		return v.Raw(), nil
	}
	column := name.Text()
	typ := t.byColumn[column]
	if typ == "" || v.Kind() != event.String && typ != cellText && typ != cellTime {
		return v.Raw(), nil
	}
	wrong := func(what string) (json.RawMessage, error) {
		shown := v.Raw()
		if len(shown) > 60 {
			shown = append(bytes.Clone(shown[:60]), "…"...)
		}
		return nil, fmt.Errorf("column %s: %s is no %s, as --types says it is", column, shown, what)
	}
	text := bytes.TrimSpace(v.AppendString(nil))
	switch typ {
	case cellText:
		if v.Kind() == event.String {
			return v.Raw(), nil
		}
		return event.AppendQuoted(nil, v.Raw()), nil
	case cellNumber:
		plain := bytes.TrimPrefix(text, []byte("+"))
		n, err := event.ParseValue(plain)
		if err != nil || n.Kind() != event.Number {
			return wrong("number")
		}
		return plain, nil
	case cellBoolean:
		switch strings.ToLower(string(text)) {
		case "true", "t", "yes", "1":
			return json.RawMessage("true"), nil
		case "false", "f", "no", "0":
			return json.RawMessage("false"), nil
		}
		return wrong("boolean")
	case cellTime:
		if v.Kind() != event.String {
			text = v.Raw()
		}
		at, err := event.ReadTimeText(text, t.order)
		if errors.Is(err, event.ErrAmbiguousDate) {
			return wrong("time (" + err.Error() + "; --date-order mdy or dmy says which comes first)")
		}
		if err != nil {
			return wrong("time (" + err.Error() + ")")
		}
		return at.UTC().AppendFormat([]byte{'"'}, time.RFC3339Nano+`"`), nil
	}
	if event.Valid(text) != nil {
		return wrong("JSON")
	}
	return text, nil
}

// fromCells turns a row back into the record that it was made of: a cell with a whole object or array of JSON
// becomes that value, and an empty cell is left out. lower converts the columns' names to lower case.
func fromCells(row event.Value, lower bool) []byte {
	out := make([]byte, 1, len(row.Raw()))
	out[0] = '{'
	for k, v := range row.Members() {
		raw := v.Raw()
		if v.Kind() == event.String {
			text := bytes.TrimSpace(v.AppendString(nil))
			if len(text) == 0 {
				continue
			}
			if (text[0] == '{' || text[0] == '[') && event.Valid(text) == nil {
				raw = text
			}
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		name := k.Raw()
		if lower {
			name = bytes.ToLower(name)
		}
		out = append(append(out, name...), ':')
		out = append(out, raw...)
	}
	return append(out, '}')
}

// isCapital says whether a record comes from a warehouse that writes all column names in capitals, as Snowflake
// does by default.
func isCapital(v event.Value) bool {
	capitals := false
	for k := range v.Members() {
		for _, c := range k.Raw() {
			if c >= 'a' && c <= 'z' || c == '\\' {
				return false
			}
			capitals = capitals || c >= 'A' && c <= 'Z'
		}
	}
	return capitals
}

// looksLikeNumber says whether a cell could be meant as a number.
func looksLikeNumber(cell string) bool {
	v, err := event.ParseValue([]byte(cell))
	return err == nil && v.Kind() == event.Number
}
