package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/mapping"
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
		if !strings.HasPrefix(p, "$") {
			p = "$." + p // both are read from the event
		}
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
	if scalar(v) {
		return "mapping.Literal(" + literal(v) + ")"
	}
	text, err := json.Marshal(v)
	if err == nil {
		_, err = mapping.Parse(text)
	}
	if err != nil {
		return fmt.Sprintf("mapping.Value{} /* TODO: %s */", strings.ReplaceAll(err.Error(), "*/", "* /"))
	}
	if strings.Contains(string(text), "`") {
		return "mapping.Doc(" + strconv.Quote(string(text)) + ")"
	}
	return "mapping.Doc(`" + string(text) + "`)"
}
