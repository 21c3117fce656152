package mapping

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// The directives for structures that exports write instead of an object: pairs of a key and a value, members with
// a common prefix, and documents that name their own schema.

// members collects members by name. For a repeated name, the last value is kept, in the place of the first.
type members struct {
	names  []string
	values map[string][]byte
}

func (m *members) add(name string, raw []byte) {
	if m.values == nil {
		m.values = map[string][]byte{}
	}
	if _, ok := m.values[name]; !ok {
		m.names = append(m.names, name)
	}
	m.values[name] = raw
}

func (m *members) append(dst []byte) ([]byte, bool) {
	if len(m.names) == 0 {
		return dst, false
	}
	dst = append(dst, '{')
	for i, name := range m.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(event.AppendQuoted(dst, name), ':')
		dst = append(dst, m.values[name]...)
	}
	return append(dst, '}'), true
}

// writePairs makes an object of [{"key": "a", "value": 1}, …]. A value may be an object with a member for each
// type, such as {"string_value": null, "int_value": "1"}: then the one that is not null is it.
func writePairs(_ *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
	if v.Kind != event.Array {
		return append(dst, v.Raw...), v.Kind != event.Missing
	}
	var m members
	event.EachElement(v.Raw, func(pair []byte) {
		if jsonval.KindOf(pair) != event.Object {
			return
		}
		var key, value []byte
		event.EachMember(pair, func(name, raw []byte) {
			switch string(name) {
			case `"key"`, `"name"`:
				key = raw
			case `"value"`:
				value = raw
			}
		})
		if jsonval.KindOf(key) == event.String && value != nil {
			if value = typedValue(value); jsonval.KindOf(value) != event.Null {
				m.add(jsonval.Text(key), value)
			}
		}
	})
	return m.append(dst)
}

// typedValue is the value in an object that has a member for each type; any other value is itself.
func typedValue(raw []byte) []byte {
	if jsonval.KindOf(raw) != event.Object {
		return raw
	}
	typed, found := true, []byte("null")
	event.EachMember(raw, func(name, val []byte) {
		key := jsonval.Text(name)
		if !strings.HasSuffix(key, "_value") {
			// when it was set, and the like: no type
			typed = typed && strings.HasPrefix(key, "set_timestamp")
			return
		}
		if jsonval.KindOf(val) == event.Null || jsonval.KindOf(found) != event.Null {
			return
		}
		found = val
		if key == "int_value" && jsonval.KindOf(val) == event.String { // 64 bits, as a text to keep their digits
			if digits := jsonval.Text(val); areDigits(digits) {
				found = []byte(digits)
			}
		}
	})
	if !typed {
		return raw
	}
	return found
}

func areDigits(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// open puts the members of objects, and of the objects in arrays, together.
func (m *members) open(raw []byte) {
	switch jsonval.KindOf(raw) {
	case event.Object:
		event.EachMember(raw, func(name, val []byte) { m.add(jsonval.Text(name), val) })
	case event.Array:
		event.EachElement(raw, m.open)
	}
}

// compileMembers keeps the members whose names begin with prefix, without it; with open their own members.
func compileMembers(arg *tree, stack []string) node {
	prefix, open := textOption(arg, "prefix"), arg.get("open").truthy()
	return onValue(arg, stack, func(_ *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
		if v.Kind != event.Object {
			return dst, false
		}
		var m members
		event.EachMember(v.Raw, func(name, val []byte) {
			rest, ok := strings.CutPrefix(jsonval.Text(name), prefix)
			switch {
			case !ok, rest == "", jsonval.KindOf(val) == event.Null:
			case open:
				m.open(val)
			default:
				m.add(rest, val)
			}
		})
		return m.append(dst)
	})
}

// compileAfter is what stands behind a prefix of a text.
func compileAfter(arg *tree, stack []string) node {
	prefix := textOption(arg, "prefix")
	return onValue(arg, stack, func(_ *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
		if v.Kind != event.String {
			return dst, false
		}
		rest, ok := strings.CutPrefix(jsonval.Text(v.Raw), prefix)
		if !ok || rest == "" {
			return dst, false
		}
		return event.AppendQuoted(dst, rest), true
	})
}

// compileUnless is a value, unless it is equal to another or begins with a prefix.
func compileUnless(arg *tree, stack []string) node {
	prefix := textOption(arg, "prefix")
	var other node = undefinedNode{}
	if equals := arg.get("equals"); equals != nil {
		other = compile(equals, push(stack, "equals"))
	}
	return onValue(arg, stack, func(r *Resolver, dst []byte, v Result, in event.Value) ([]byte, bool) {
		if v.Kind <= event.Null || v.Kind == event.String && prefix != "" && strings.HasPrefix(jsonval.Text(v.Raw), prefix) {
			return dst, false
		}
		if o := other.eval(r, in); o.Kind == v.Kind && (bytes.Equal(o.Raw, v.Raw) ||
			v.Kind == event.String && jsonval.Text(o.Raw) == jsonval.Text(v.Raw)) {
			return dst, false
		}
		return append(dst, v.Raw...), true
	})
}

// writeValues makes a list of the values of an object's members; those that are lists themselves are put into it.
func writeValues(_ *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
	if v.Kind != event.Object {
		return append(dst, v.Raw...), v.Kind == event.Array
	}
	dst = append(dst, '[')
	start := len(dst)
	add := func(raw []byte) {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, raw...)
	}
	event.EachMember(v.Raw, func(_, val []byte) {
		if jsonval.KindOf(val) == event.Array {
			event.EachElement(val, add)
		} else {
			add(val)
		}
	})
	return append(dst, ']'), true
}

// mostDescribed bounds documents inside documents.
const mostDescribed = 4

// compileDescribed makes an object of documents that name their schema: of
// {"schema": "iglu:com.acme/user/jsonschema/1-0-0", "data": …} the member com_acme_user_1 has the data. A document
// whose data are such documents stands for these; what a list of them holds is in arrays, since a name may stand in
// it more than once. With open it has the members of the data.
func compileDescribed(arg *tree, stack []string) node {
	open := arg.get("open").truthy()
	return onValue(arg, stack, func(_ *Resolver, dst []byte, v Result, _ event.Value) ([]byte, bool) {
		raw := v.Raw
		if v.Kind == event.String {
			raw = event.AppendUnquoted(nil, raw)
			if event.Valid(raw) != nil {
				return dst, false
			}
		}
		d := described{open: open}
		d.add(raw, false, 0)
		for name, list := range d.lists {
			d.values[name] = append(list, ']')
		}
		return d.members.append(dst)
	})
}

type described struct {
	members
	lists map[string][]byte // those of a list, not closed yet
	open  bool
}

func (d *described) add(raw []byte, inList bool, depth int) {
	if depth > mostDescribed {
		return
	}
	switch jsonval.KindOf(raw) {
	case event.Array:
		event.EachElement(raw, func(el []byte) { d.add(el, true, depth+1) })
	case event.Object:
		var schema, data []byte
		event.EachMember(raw, func(name, val []byte) {
			switch string(name) {
			case `"schema"`:
				schema = val
			case `"data"`:
				data = val
			}
		})
		name := schemaName(schema)
		switch {
		case name == "" || data == nil:
		case isDescribed(data):
			d.add(data, inList, depth+1)
		case d.open:
			d.members.open(data)
		case inList:
			if d.lists == nil {
				d.lists = map[string][]byte{}
			}
			if list, ok := d.lists[name]; ok {
				d.lists[name] = append(append(list, ','), data...)
				return
			}
			d.members.add(name, nil)
			d.lists[name] = append([]byte{'['}, data...)
		default:
			d.members.add(name, data)
		}
	}
}

// isDescribed says that a value is a document that names its schema, or a list of such.
func isDescribed(raw []byte) bool {
	switch jsonval.KindOf(raw) {
	case event.Array:
		is := false
		event.EachElement(raw, func(el []byte) { is = is || isDescribed(el) })
		return is
	case event.Object:
		found := 0
		event.EachMember(raw, func(name, val []byte) {
			if string(name) == `"schema"` && bytes.HasPrefix(val, []byte(`"iglu:`)) || string(name) == `"data"` {
				found++
			}
		})
		return found == 2
	}
	return false
}

// schemaName is com_acme_user_1 of "iglu:com.acme/user/jsonschema/1-0-0", words apart and in lower case.
func schemaName(raw []byte) string {
	if jsonval.KindOf(raw) != event.String {
		return ""
	}
	path, ok := strings.CutPrefix(jsonval.Text(raw), "iglu:")
	parts := strings.Split(path, "/")
	if !ok || len(parts) != 4 {
		return ""
	}
	major, _, _ := strings.Cut(parts[3], "-")
	var b strings.Builder
	for _, part := range parts[:2] {
		lower := false
		for _, c := range part {
			switch {
			case c == '.' || c == '-':
				c = '_'
			case unicode.IsUpper(c):
				if lower {
					b.WriteByte('_')
				}
			}
			lower = unicode.IsLower(c) || unicode.IsDigit(c)
			b.WriteRune(unicode.ToLower(c))
		}
		b.WriteByte('_')
	}
	return b.String() + major
}
