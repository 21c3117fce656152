package api

import (
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/standin"
)

// StandIn is the contract of an API of which no documentation is at hand, for rehearsals: it
// takes every request, and answers as the description says that it would.
func StandIn(d destination.Destination) (*standin.Contract, error) {
	status, text, each := 200, "", ""
	var answer any
	var frames []map[string]any
	plain := false // the answer is a text
	for _, a := range d.Actions {
		if f := a.Framing; f != nil {
			frames = append(frames, map[string]any{"path": f.Path, "open": f.Open, "sep": f.Sep, "close": f.Close,
				"above": f.Above})
		}
		if path, element, ok := sampleOf(a.Verdicts); ok {
			list := []any{}
			if element != nil {
				data, err := json.Marshal(element)
				if err != nil {
					return nil, fmt.Errorf("the stand-in of %s: %w", d.Info.Name, err)
				}
				list, each = []any{"{items}"}, string(data)
			}
			answer = put(answer, keysIn(path), list)
		}
		for _, s := range a.Success[:1] {
			if len(s.Status) > 0 {
				status = s.Status[0]
			}
			if body, ok := textOf(&s); ok {
				text, plain = body, true
			}
			for _, m := range s.Members {
				answer = put(answer, keysIn(m.Path), valueOf(m))
			}
		}
	}
	if !plain {
		if answer == nil {
			answer = map[string]any{}
		}
		data, err := json.Marshal(answer)
		if err != nil {
			return nil, fmt.Errorf("the stand-in of %s: %w", d.Info.Name, err)
		}
		text = strings.NewReplacer(`"{n}"`, "{n}", `"{items}"`, "{items}").Replace(string(data))
	}
	var endpoints []map[string]any
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "GET"} {
		endpoints = append(endpoints, map[string]any{
			"method": method, "path": "/**", "docs": "https://www.rfc-editor.org/rfc/rfc9110#section-9", "items": "either",
			"frames": frames, "content_type": []string{"*/*"}, "form": "*", "gzip": true, "success": map[string]any{"any": true},
			"answer": map[string]any{"status": status, "body": text, "each": each},
		})
	}
	// which is YAML, and has no way of its own for texts that begin with a line end
	doc, err := json.Marshal(map[string]any{
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

// sampleOf is what an answer has that names no event as refused.
func sampleOf(v *destination.Verdicts) (path string, element any, ok bool) {
	if v == nil {
		return "", nil, false
	}
	return v.Sample()
}

// textOf is a body that is known by its text, or is empty; false: it is JSON, or anything.
func textOf(s *destination.Success) (text string, ok bool) {
	of := func(parts ...string) string { return strings.Join(parts, " ") }
	contains := of(s.Contains...)
	switch {
	case s.Text != "":
		return s.Text, true
	case s.Matches != nil:
		m := matching(s.Matches)
		for _, text = range []string{m, of(m, contains), of(contains, m)} {
			lacks := func(part string) bool { return !strings.Contains(text, part) }
			if s.Matches.MatchString(text) && !slices.ContainsFunc(s.Contains, lacks) {
				break
			}
		}
		return text, true
	}
	return contains, contains != "" || !s.Any && len(s.Members) == 0
}

// matching is a short text that matches a pattern, if there is one without looking around.
func matching(re *regexp.Regexp) string {
	parsed, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	var write func(re *syntax.Regexp)
	write = func(re *syntax.Regexp) {
		times := 1
		switch re.Op {
		case syntax.OpLiteral:
			_, _ = b.WriteString(string(re.Rune))
		case syntax.OpCharClass:
			if len(re.Rune) > 0 {
				_, _ = b.WriteRune(re.Rune[0])
			}
		case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
			_ = b.WriteByte('x')
		case syntax.OpRepeat:
			times = re.Min
		case syntax.OpStar, syntax.OpQuest:
			times = 0
		}
		for range times {
			for i, sub := range re.Sub {
				if i == 0 || re.Op != syntax.OpAlternate {
					write(sub)
				}
			}
		}
	}
	write(parsed)
	return b.String()
}

// valueOf is what a member of an answer may be.
func valueOf(m destination.Member) any {
	switch {
	case m.Kind == event.Array:
		return []any{}
	case m.Path == "":
		return map[string]any{}
	case m.Counts:
		return "{n}"
	case len(m.Is) > 0:
		return m.Is[0]
	}
	return "1"
}

// keysIn are the keys of a path with dots.
func keysIn(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, ".")
}

// mostElements bounds the lists of an answer that is made up.
const mostElements = 100

// put is a document with a value at a path, unless something else is there.
func put(in any, path []string, v any) any {
	if len(path) == 0 {
		if in == nil {
			return v
		}
		return in
	}
	if i, err := strconv.ParseUint(path[0], 10, 31); err == nil && i < mostElements {
		list, ok := in.([]any)
		if in != nil && !ok {
			return in
		}
		for uint64(len(list)) <= i {
			list = append(list, nil)
		}
		list[i] = put(list[i], path[1:], v)
		return list
	}
	object, ok := in.(map[string]any)
	if in != nil && !ok {
		return in
	}
	if object == nil {
		object = map[string]any{}
	}
	object[path[0]] = put(object[path[0]], path[1:], v)
	return object
}
