package main

import (
	"cmp"
	"fmt"
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
	for _, e := range s.Explained {
		path, _ := e[0].(string)
		how, _ := e[1].(string)
		names := segments(path)
		if len(names) == 0 {
			if how == "const" {
				return "body.Empty()"
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
			root.at(names).node = constant(e[2])
		case strings.HasPrefix(how, "setting:"):
			if slices.Contains(d.Settings, of) {
				root.at(names).node = fmt.Sprintf("body.Setting(%q)", snake(of))
			}
		default:
			if hasField(a, of) {
				root.at(names).node = transformed(how, fmt.Sprintf("body.From(%q)", of))
			}
		}
	}
	root.prune()
	return cmp.Or(root.write(a.Batch), "body.Payload()")
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

// prune takes out constants beside an object that is spread: they are the object's
// members, which were the same in all examples.
func (t *tree) prune() {
	if t.spread != "" {
		path := strings.TrimSuffix(strings.TrimPrefix(t.spread, `body.Spread("`), `")`)
		t.members = slices.DeleteFunc(t.members, func(m *tree) bool {
			return strings.HasPrefix(m.node, "body.Const(") ||
				strings.HasPrefix(m.node, fmt.Sprintf("body.From(%q", path+"."+m.name))
		})
	}
	for _, m := range t.members {
		m.prune()
	}
}

// write writes the node; batch says that the first list in it has the events.
func (t *tree) write(batch bool) string {
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
