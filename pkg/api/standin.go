package api

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/standin"
)

// StandIn is the contract of an API of which no documentation is at hand, for rehearsals: it
// takes every request, and answers as the description says that it would.
func StandIn(d destination.Destination) (*standin.Contract, error) {
	status, text := 200, ""
	answer := map[string]any{}
	for _, a := range d.Actions {
		for _, s := range a.Success[:1] {
			if len(s.Status) > 0 {
				status = s.Status[0]
			}
			if s.Text != "" {
				text = s.Text
			}
			for _, m := range s.Members {
				put(answer, strings.Split(m.Path, "."), valueOf(m))
			}
		}
	}
	if text == "" {
		data, err := json.Marshal(answer)
		if err != nil {
			return nil, fmt.Errorf("the stand-in of %s: %w", d.Info.Name, err)
		}
		text = strings.ReplaceAll(string(data), `"{n}"`, "{n}")
	}
	var endpoints []map[string]any
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "GET"} {
		endpoints = append(endpoints, map[string]any{
			"method": method, "path": "/**", "docs": "https://www.rfc-editor.org/rfc/rfc9110#section-9", "items": "either",
			"content_type": []string{"application/json", "application/x-ndjson", "application/x-www-form-urlencoded"},
			"form":         "*", "gzip": true, "success": map[string]any{"any": true},
			"answer": map[string]any{"status": status, "body": text},
		})
	}
	doc, err := yaml.Marshal(map[string]any{
		"partner": d.Info.Name, "written": "from documentation", "date": "2026-11-28",
		"docs": []string{"https://www.rfc-editor.org/rfc/rfc9110"}, "endpoints": endpoints,
	})
	if err != nil {
		return nil, fmt.Errorf("the stand-in of %s: %w", d.Info.Name, err)
	}
	c, err := standin.ParseContract(doc)
	if err != nil {
		return nil, fmt.Errorf("the stand-in of %s: %w", d.Info.Name, err)
	}
	return c, nil
}

// valueOf is what a member of an answer may be.
func valueOf(m destination.Member) any {
	switch {
	case m.Counts:
		return "{n}"
	case len(m.Is) > 0:
		return m.Is[0]
	}
	return "1"
}

// put puts a value at a path, unless something else is there.
func put(object map[string]any, path []string, v any) {
	inner, ok := object[path[0]]
	if len(path) == 1 {
		if !ok {
			object[path[0]] = v
		}
		return
	}
	if !ok {
		inner = map[string]any{}
		object[path[0]] = inner
	}
	if m, is := inner.(map[string]any); is {
		put(m, path[1:], v)
	}
}
