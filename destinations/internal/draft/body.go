package main

import (
	"cmp"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// tree is a part of an observed body.
type tree struct {
	name    string // of a member; "[0]" and "[]" for elements
	node    string // Go, for what is no container
	members []*tree
	spread  string // Go, of an object whose members stand here, too
	each    string // path of the list that the elements are of
	same    bool   // it was the same in all samples
	always  bool   // it was there with nothing in it
}

func (t *tree) at(names []string) *tree {
	if len(names) == 0 {
		return t
	}
	i := slices.IndexFunc(t.members, func(m *tree) bool { return m.name == names[0] })
	if i < 0 {
		i = len(t.members)
		t.members = append(t.members, &tree{name: names[0]})
	}
	return t.members[i].at(names[1:])
}

// segments are the names in a path such as ".events[0].user.*".
func segments(path string) []string {
	path = strings.NewReplacer("[", ".[").Replace(path)
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' })
}

// body is the node that makes an observed body.
func (d *definition) body(a *action, s shape) string {
	root := &tree{}
	list := d.samples(s)
	for _, e := range s.Explained {
		path, _ := e[0].(string)
		how, _ := e[1].(string)
		names := segments(path)
		if len(names) == 0 {
			field, whole := strings.CutPrefix(how, "copy:")
			switch {
			case how == "const":
				return "body.Empty()"
			case whole && hasField(a, field):
				return fmt.Sprintf("body.From(%q)", field) // the body is one field
			}
			continue
		}
		_, of, _ := strings.Cut(how, ":")
		switch {
		case strings.HasPrefix(how, "spread:"):
			t := root.at(names[:len(names)-1])
			if t.spread = fmt.Sprintf("body.Spread(%q)", of); of == "" {
				t.spread = "body.Fields()"
			}
		case strings.HasPrefix(how, "each "):
			list, how, _ := strings.Cut(strings.TrimPrefix(how, "each "), " ")
			_, of, _ = strings.Cut(how, ":")
			for i, n := range names {
				if n == "[]" {
					root.at(names[:i+1]).each = list
					break
				}
			}
			root.at(names).node = transformed(how, fmt.Sprintf("body.This(%q)", of))
		case how == "const" && len(e) > 2:
			m := root.at(names)
			m.node, m.same = cmp.Or(moved(a, list, names), constant(e[2])), true
		case strings.HasPrefix(how, "setting:"):
			// In a query it signs the request, see auth.
			if slices.Contains(d.Settings, of) && !(s.Method == http.MethodGet && secretName.MatchString(of)) {
				root.at(names).node = fmt.Sprintf("body.Setting(%q)", snake(of))
			}
		default:
			if hasField(a, of) {
				root.at(names).node = transformed(how, fmt.Sprintf("body.From(%q)", of))
			}
		}
	}
	for _, path := range s.Unexplained {
		if names := segments(fmt.Sprint(path)); len(names) > 0 {
			root.at(names).node = solved(list, names)
		}
	}
	root.prune(list)
	root.keep(list, nil)
	return cmp.Or(root.write(a.Batch || root.lone()), "body.Payload()")
}

// lone says that a body is nothing but a list of one object: an envelope of events.
func (t *tree) lone() bool {
	if len(t.members) != 1 || t.spread != "" {
		return false
	}
	list := t.members[0]
	if strings.HasPrefix(list.name, "[") {
		return list.each == "" && list.node == ""
	}
	return len(list.members) == 1 && list.members[0].name == "[0]" && list.members[0].each == "" &&
		list.members[0].node == "" && list.spread == ""
}

// moved is a member that was the same in all samples although it is no constant: the field of its name had that
// value, too. "" says that there is no such field.
func moved(a *action, list []sample, names []string) string {
	plain := func(s string) string {
		return strings.ToLower(notWord.ReplaceAllString(strings.ReplaceAll(s, "_", ""), ""))
	}
	name := names[len(names)-1]
	for _, f := range a.Fields {
		if last := f.Key[strings.LastIndexByte(f.Key, '.')+1:]; plain(last) != plain(name) {
			continue
		}
		as, seen := "", false
		for _, x := range list {
			want, got := at(x.body, names), at(x.payload, strings.Split(f.Key, "."))
			if want == nil {
				continue
			}
			as = ""
			if one, ok := want.([]any); ok && len(one) == 1 {
				if _, ok := got.([]any); !ok {
					want, as = one[0], ".Wrapped()"
				}
			}
			if !reflect.DeepEqual(want, got) {
				x, ok := written(want)
				y, also := written(got)
				if !ok || !also || x != y {
					seen = false
					break
				}
				if _, is := want.(string); is {
					as = ".Text()" + as
				} else {
					as = ".Number()" + as
				}
			}
			seen = true
		}
		if seen {
			if f.Multiple {
				as = strings.TrimSuffix(as, ".Wrapped()") // the field is a list already
			}
			return fmt.Sprintf("body.From(%q)", f.Key) + as
		}
	}
	return ""
}

// unexplained are the members of a shape of which nobody could tell where they come from, for a comment.
func (d *definition) unexplained(a *action, s shape) string {
	var names []string
	for _, v := range s.Unexplained {
		if path := segments(fmt.Sprint(v)); len(path) == 0 || solved(d.samples(s), path) == "" {
			names = append(names, fmt.Sprint(v))
		}
	}
	for _, e := range s.Explained {
		how, _ := e[1].(string)
		kind, of, _ := strings.Cut(how, ":")
		if kind != "spread" && kind != "setting" && kind != "const" && !strings.HasPrefix(kind, "each ") && !hasField(a, of) {
			names = append(names, fmt.Sprint(e[0], " (", how, ")"))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "// TODO: nobody could tell where these come from: " + strings.Join(names, ", ") + "\n"
}

// hasField says that a path begins with a field, or with an object's member.
func hasField(a *action, path string) bool {
	name, _, _ := strings.Cut(path, ".")
	return slices.ContainsFunc(a.Fields, func(f fact) bool { return f.Key == name })
}

// transformed is a value after what was seen to be done with it.
func transformed(how, from string) string {
	kind, _, _ := strings.Cut(how, ":")
	switch kind {
	case "text", "lower", "seconds", "millis":
		return from + "." + strings.ToUpper(kind[:1]) + kind[1:] + "()"
	case "one":
		return from + ".Wrapped()"
	case "sha", "shaRaw":
		return from + `.Hash("")`
	case "shaOne":
		return "body.List(" + from + `.Hash(""))`
	}
	return from
}

func constant(v any) string {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			return "body.Empty()"
		}
	case []any:
		if len(v) == 0 {
			return "body.Always(body.List())"
		}
	}
	if v == nil {
		return "body.Const(nil)"
	}
	return "body.Const(" + literal(v) + ")"
}

// prune takes out what stands beside an object that is spread and is a member of it, unchanged: constants were the
// same in all samples.
func (t *tree) prune(list []sample) {
	if t.spread != "" {
		path := ""
		if of, ok := strings.CutPrefix(t.spread, `body.Spread("`); ok {
			path = strings.TrimSuffix(of, `")`) + "."
		}
		t.members = slices.DeleteFunc(t.members, func(m *tree) bool {
			there := slices.ContainsFunc(list, func(x sample) bool {
				return at(x.payload, strings.Split(path+m.name, ".")) != nil
			})
			return there && m.same || m.node == fmt.Sprintf("body.From(%q)", path+m.name)
		})
	}
	for _, m := range t.members {
		isObject := func(x sample) bool {
			_, ok := x.payload[m.name].(map[string]any)
			return ok
		}
		if t.spread == "body.Fields()" && m.node == "" && m.spread == "" && slices.ContainsFunc(list, isObject) {
			m.spread = fmt.Sprintf("body.Spread(%q)", m.name) // what was not in any sample goes, too
		}
		m.prune(list)
	}
}

// keep marks objects and lists that were sent without members.
func (t *tree) keep(list []sample, names []string) {
	t.always = len(names) > 0 && slices.ContainsFunc(list, func(x sample) bool {
		switch v := at(x.body, names).(type) {
		case map[string]any:
			return len(v) == 0
		case []any:
			return len(v) == 0
		}
		return false
	})
	for _, m := range t.members {
		m.keep(list, append(slices.Clip(names), m.name))
	}
}

// write is [tree.written], and what was sent empty stays so.
func (t *tree) write(batch bool) string {
	node := t.written(batch)
	kind, _, _ := strings.Cut(node, "(")
	if t.always && slices.Contains([]string{"body.Object", "body.List", "body.Each"}, kind) {
		return "body.Always(" + node + ")"
	}
	return node
}

// written writes the node; batch says that the first list in it has the events.
func (t *tree) written(batch bool) string {
	if t.node != "" {
		return t.node
	}
	if len(t.members) == 0 && t.spread == "" {
		return ""
	}
	if len(t.members) > 0 && strings.HasPrefix(t.members[0].name, "[") {
		of := t.members[0]
		inner := of.write(false)
		switch {
		case inner == "":
			return ""
		case of.each != "":
			return fmt.Sprintf("body.Each(%q, %s)", of.each, inner)
		case batch:
			return "body.Items(" + inner + ")"
		}
		return "body.List(" + inner + ")"
	}
	var out []string
	if t.spread != "" {
		out = append(out, t.spread)
	}
	var same, copied []string
	for _, m := range t.members {
		node := m.write(batch)
		path, simple := strings.CutPrefix(strings.TrimSuffix(node, `")`), `body.From("`)
		switch {
		case node == "":
		case simple && path == m.name:
			same = append(same, strconv.Quote(m.name))
		case simple && !strings.Contains(path, `"`):
			copied = append(copied, strconv.Quote(m.name+" = "+path))
		case strings.HasPrefix(node, "body.Items(") && len(t.members) == 1 && t.spread == "":
			return fmt.Sprintf("body.Batch(%q, %s", m.name, strings.TrimPrefix(node, "body.Items("))
		default:
			out = append(out, fmt.Sprintf("body.Member(%q, %s)", m.name, node))
		}
	}
	if len(copied) > 0 {
		out = append(out, "body.Copy("+wrapped(copied)+")")
	}
	if len(same) > 0 {
		out = append(out, "body.Same("+wrapped(same)+")")
	}
	if len(out) == 0 {
		return ""
	}
	return "body.Object(\n" + strings.Join(out, ",\n") + ",\n)"
}
