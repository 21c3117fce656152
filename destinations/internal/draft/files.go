package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
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
	type seen struct {
		items   string // as the contract says it
		members map[string]any
		form    bool
	}
	all := map[endpoint]*seen{}
	hosts := map[string]bool{}
	for _, r := range d.rows {
		for i, q := range r.Requests {
			u, err := url.Parse(q.URL)
			if err != nil {
				continue
			}
			hosts[u.Host] = true
			at := endpoint{q.Method, "/" + strings.TrimPrefix(u.Path, "/")}
			if shapes := d.shapes[cmp.Or(q.Action, r.Action)]; i < len(shapes) && len(shapes) == len(r.Requests) {
				_, path := d.address(shapes[i])
				path, _, _ = strings.Cut(path, "?")
				at.path = names.ReplaceAllString(path, "{$1}")
			}
			if all[at] == nil {
				all[at] = &seen{items: "none", members: map[string]any{}}
			}
			all[at].form = look(q.Body, &all[at].items, all[at].members) || all[at].form
		}
	}
	p("hosts: [%s]\n", strings.Join(slices.Sorted(maps.Keys(hosts)), ", "))
	p("auth: # TODO\n  kind: %s\n  docs: TODO\n", d.kindOfAuth())
	p("# TODO: limited; of every endpoint docs, caps, success, answer, refused, too_large.\nendpoints:\n")
	order := func(a, b endpoint) int { return strings.Compare(a.path+a.method, b.path+b.method) }
	for _, at := range slices.SortedFunc(maps.Keys(all), order) {
		p("  - method: %s\n    path: %s\n    docs: TODO\n", at.method, quoted(at.path))
		if all[at].form {
			p("    content_type: application/x-www-form-urlencoded\n    form: '*'\n    items: single\n")
		} else {
			p("    items: %s\n", all[at].items)
		}
		if members := all[at].members; len(members) > 0 {
			p("    item:\n      fields:\n")
			for _, k := range slices.Sorted(maps.Keys(members)) {
				p("        %s: {type: %s, optional: true}\n", quoted(k), kindOf(members[k]))
			}
		}
		p("    success: {any: true} # TODO\n")
	}
	if len(all) == 0 {
		p("  - {path: /, docs: TODO, items: single, success: {any: true}} # TODO\n")
	}
	return b.String()
}

// names are what stands in a path for settings and fields.
var names = regexp.MustCompile(`\{(?:settings\.)?(?:[^}]*\.)?([^}.]+)\}`)

// look takes from a body where its events are, and their members; form says that it is no JSON.
func look(body json.RawMessage, items *string, members map[string]any) (form bool) {
	var v any
	if json.Unmarshal(body, &v) != nil || v == nil {
		return false
	}
	take := func(where string, list ...any) {
		*items = where
		for _, e := range list {
			m, _ := e.(map[string]any)
			for k, x := range m {
				if was, ok := members[k]; ok && x != nil && kindOf(was) != kindOf(x) {
					members[k] = any(nil) // it may be of any type
				} else if x != nil {
					members[k] = x
				}
			}
		}
	}
	switch v := v.(type) {
	case string:
		return v != ""
	case []any:
		take("array", v...)
	case map[string]any:
		for k, x := range v {
			if list, ok := x.([]any); ok && len(v) == 1 && len(list) > 0 {
				if _, ok := list[0].(map[string]any); ok {
					take(k, list...)
					return false
				}
			}
		}
		take("single", v)
	}
	return false
}

// kindOfAuth is how a contract calls what auth has found.
func (d *definition) kindOfAuth() string {
	auth := d.auth()
	for call, kind := range map[string]string{"destination.Bearer(": "bearer", "destination.Basic(": "basic"} {
		if strings.HasPrefix(auth, call) {
			return kind
		}
	}
	for call, kind := range map[string]string{"destination.HeaderAuth(": "header", "destination.QueryAuth(": "query"} {
		if rest, ok := strings.CutPrefix(auth, call); ok {
			name, _, _ := strings.Cut(rest, ",")
			return kind + "\n  name: " + strings.Trim(name, `"`)
		}
	}
	return "none"
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

// cases are one case for every action of which a request was observed. An action that needs what no event has by
// itself brings a mapping along.
func (d *definition) cases() string {
	var b strings.Builder
	b.WriteString("# TODO: name events of ../events/standard.yaml where they do.\nwritten: from documentation\n" +
		"date: 2000-01-01 # TODO\ndocs: TODO\ncases:\n")
	seen := map[string]bool{}
	for _, r := range d.rows {
		name := snake(r.Action)
		if r.Action == "" || r.Event == nil || seen[name] {
			continue
		}
		seen[name] = true
		fmt.Fprintf(&b, "  %s:\n    action: %s\n", quoted(name), quoted(r.Action))
		unmapped := func(f fact) bool { return f.Required && f.Default == nil }
		if slices.ContainsFunc(d.Actions, func(a action) bool {
			return a.Action == r.Action && slices.ContainsFunc(a.Fields, unmapped)
		}) {
			fmt.Fprintf(&b, "    mapping: %s\n", quoted(compact(r.Mapping)))
		}
		fmt.Fprintf(&b, "    events:\n      - %s\n", quoted(compact(r.Event)))
	}
	return b.String()
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}
