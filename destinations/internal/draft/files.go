package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// contract is the skeleton of the partner's rules: where its requests went, and the
// members of their bodies.
func (d *definition) contract() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("# TODO: written from the documentation, not from the code beside it.\n")
	p("partner: %s\nwritten: from documentation\n", quoted(strings.TrimSuffix(d.Name, " (Actions)")))
	p("date: 2000-01-01 # TODO: the day it was read\ndocs: [TODO]\n")
	type endpoint struct{ method, path string }
	seen := map[endpoint]map[string]any{}
	hosts := map[string]bool{}
	form := map[endpoint]bool{}
	for _, r := range d.rows {
		for _, q := range r.Requests {
			u, err := url.Parse(q.URL)
			if err != nil {
				continue
			}
			hosts[u.Host] = true
			at := endpoint{q.Method, "/" + strings.TrimPrefix(u.Path, "/")}
			if seen[at] == nil {
				seen[at] = map[string]any{}
			}
			var members map[string]any
			if json.Unmarshal(q.Body, &members) == nil {
				maps.Copy(seen[at], members)
			} else if len(q.Body) > 0 {
				form[at] = true
			}
		}
	}
	p("hosts: [%s]\n", strings.Join(slices.Sorted(maps.Keys(hosts)), ", "))
	p("# TODO: auth, limited; of every endpoint docs, caps, success, answer, refused, too_large.\nendpoints:\n")
	order := func(a, b endpoint) int { return strings.Compare(a.path+a.method, b.path+b.method) }
	for _, at := range slices.SortedFunc(maps.Keys(seen), order) {
		p("  - method: %s\n    path: %s\n    docs: TODO\n", at.method, quoted(at.path))
		if form[at] {
			p("    content_type: application/x-www-form-urlencoded\n    form: TODO\n")
		}
		if len(seen[at]) == 0 {
			p("    items: none\n")
			continue
		}
		p("    items: single\n    item:\n      fields:\n")
		for _, k := range slices.Sorted(maps.Keys(seen[at])) {
			p("        %s: {type: %s, optional: true}\n", quoted(k), kindOf(seen[at][k]))
		}
	}
	if len(seen) == 0 {
		p("  - {path: /, docs: TODO, items: single}\n")
	}
	return b.String()
}

// quoted is a text as YAML has it in one line.
func quoted(s string) string {
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case float64:
		return "number"
	case bool:
		return "boolean"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	}
	return "any"
}

// cases are one case for every action of which a request was observed.
func (d *definition) cases() string {
	var b strings.Builder
	b.WriteString("# TODO: name events of ../events/standard.yaml where they do.\nwritten: from documentation\n" +
		"date: 2000-01-01 # TODO\ndocs: TODO\ncases:\n")
	seen := map[string]bool{}
	for _, r := range d.rows {
		if name := snake(r.Action); r.Action != "" && r.Event != nil && !seen[name] {
			seen[name] = true
			fmt.Fprintf(&b, "  %s:\n    action: %s\n    events:\n      - %s\n", quoted(name), quoted(r.Action),
				quoted(string(r.Event)))
		}
	}
	return b.String()
}
