package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// mapped is the call that maps a field to its default: ".From(…)"; "" for none.
func mapped(v any) string {
	if v == nil {
		return ""
	}
	if paths, ok := pathsOf(v); ok {
		return ".From(" + strings.Join(paths, ", ") + ")"
	}
	if m, ok := v.(map[string]any); ok {
		if t, ok := m["@template"].(string); ok {
			return fmt.Sprintf(".Template(%q)", t)
		}
		if c, ok := m["@if"].(map[string]any); ok {
			if paths, ok := pathsOf(c["then"]); ok && scalar(c["else"]) && fmt.Sprint(c["exists"]) == fmt.Sprint(c["then"]) {
				return ".From(" + strings.Join(paths, ", ") + ").Else(" + literal(c["else"]) + ")"
			}
		}
		if len(m) == 0 {
			return ""
		}
	}
	if scalar(v) {
		return ".Always(" + literal(v) + ")"
	}
	return ".Mapped(" + value(v) + ")"
}

// pathsOf are the paths of which a mapping takes the first.
func pathsOf(v any) ([]string, bool) {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return nil, false
	}
	if p, ok := m["@path"].(string); ok {
		return []string{strconv.Quote(p)}, true
	}
	c, ok := m["@if"].(map[string]any)
	if !ok || fmt.Sprint(c["exists"]) != fmt.Sprint(c["then"]) || len(c) != 3 {
		return nil, false
	}
	first, ok := pathsOf(c["then"])
	if !ok {
		return nil, false
	}
	rest, ok := pathsOf(c["else"])
	return append(first, rest...), ok
}

func scalar(v any) bool {
	switch v.(type) {
	case string, bool, float64:
		return true
	}
	return false
}

// literal is a constant in Go.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case nil:
		return "nil"
	}
	return fmt.Sprintf("%#v", v)
}

// value is a mapping in Go.
func value(v any) string {
	if paths, ok := pathsOf(v); ok {
		if len(paths) == 1 {
			return "mapping.Path(" + paths[0] + ")"
		}
		return "mapping.Paths(" + strings.Join(paths, ", ") + ")"
	}
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 1 {
			for k, arg := range v {
				if text, ok := directive(k, arg); ok {
					return text
				}
			}
		}
		var members []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			members = append(members, fmt.Sprintf("mapping.M(%q, %s)", k, value(v[k])))
		}
		return "mapping.Object(" + strings.Join(members, ", ") + ")"
	case []any:
		var elements []string
		for _, e := range v {
			elements = append(elements, value(e))
		}
		return "mapping.Array(" + strings.Join(elements, ", ") + ")"
	case nil:
		return "mapping.Null()"
	}
	return "mapping.Literal(" + literal(v) + ")"
}

func directive(name string, arg any) (text string, ok bool) {
	switch m, _ := arg.(map[string]any); name {
	case "@template":
		t, ok := arg.(string)
		return fmt.Sprintf("mapping.Template(%q)", t), ok
	case "@if":
		part := func(key string) string {
			if m[key] == nil {
				return "mapping.Value{}"
			}
			return value(m[key])
		}
		if m["blank"] != nil {
			return fmt.Sprintf("mapping.IfNotBlank(%s, %s, %s)", part("blank"), part("then"), part("else")), true
		}
		return fmt.Sprintf("mapping.If(%s, %s, %s)", part("exists"), part("then"), part("else")), true
	case "@arrayPath":
		list, _ := arg.([]any)
		if len(list) == 2 {
			if path, ok := list[0].(string); ok {
				return fmt.Sprintf("mapping.ArrayPath(%q, %s)", path, value(list[1])), true
			}
		}
	case "@merge":
		list, _ := m["objects"].([]any)
		var of []string
		for _, o := range list {
			of = append(of, value(o))
		}
		return fmt.Sprintf("mapping.Merge(%q, %s)", m["direction"], strings.Join(of, ", ")), len(of) > 0
	}
	if strings.HasPrefix(name, "@") {
		return "mapping.Value{} /* TODO: " + name + " */", true
	}
	return "", false
}
