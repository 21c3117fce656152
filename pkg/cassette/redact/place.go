package redact

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Place is a part of messages: a parameter, a header, or the values at a path in bodies.
type Place struct {
	Part string // body, query or header
	// Path is the name of the parameter or header. In a body it has the names of members: * is
	// every member, [*] every element, [3] one of them, and ** any depth.
	Path []string
}

// isPlace tells places from regular expressions.
func isPlace(s string) bool {
	return slices.ContainsFunc([]string{"body.", "query.", "header.", "body["},
		func(begin string) bool { return strings.HasPrefix(s, begin) })
}

// ParsePlace reads a place: body.batch[*].card, body.**.owner, body."a.b" for a name with dots, query.sid,
// header.X-Shop-Key.
func ParsePlace(s string) (Place, error) {
	p := Place{}
	part, rest, _ := strings.Cut(s, ".")
	switch {
	case part == "query" && rest != "":
		p = Place{part, []string{rest}}
	case part == "header" && rest != "":
		p = Place{part, []string{http.CanonicalHeaderKey(rest)}}
	case part == "body", strings.HasPrefix(s, "body["):
		path, err := segments(strings.TrimPrefix(strings.TrimPrefix(s[len("body"):], "."), "$."))
		if err == nil && !slices.Contains(path, "") {
			p = Place{"body", path}
		}
	}
	if p.Path == nil {
		return p, fmt.Errorf("%q is no place: write body.PATH, query.NAME or header.NAME", s)
	}
	return p, nil
}

// Is is true if a part of a message at a path belongs to the place. The path is a name or, in a
// body, the names of the members, with array elements as [3].
func (p *Place) Is(part string, path []string) bool {
	return p.Part == part && matchSegments(p.Path, path)
}

// segments reads the path of a body: names separated by dots, in quotes if they contain
// dots or brackets, and [N] or [*] for elements.
func segments(s string) (out []string, err error) {
	for s != "" {
		switch s[0] {
		case '"':
			end := strings.IndexByte(s[1:], '"')
			if end < 0 {
				return nil, strconv.ErrSyntax
			}
			out, s = append(out, s[1:end+1]), s[end+2:]
		case '[':
			end := strings.IndexByte(s, ']')
			if end < 0 {
				return nil, strconv.ErrSyntax
			}
			out, s = append(out, s[:end+1]), s[end+1:]
		default:
			end := strings.IndexAny(s, ".[")
			if end < 0 {
				end = len(s)
			}
			if end == 0 {
				return nil, strconv.ErrSyntax
			}
			out, s = append(out, s[:end]), s[end:]
		}
		if strings.HasPrefix(s, ".") {
			if s = s[1:]; s == "" {
				return nil, strconv.ErrSyntax
			}
		}
	}
	if len(out) == 0 {
		return nil, strconv.ErrSyntax
	}
	return out, nil
}

func matchSegments(rule, path []string) bool {
	for len(rule) > 0 {
		if rule[0] == "**" {
			for n := 0; n <= len(path); n++ {
				if matchSegments(rule[1:], path[n:]) {
					return true
				}
			}
			return false
		}
		if len(path) == 0 || rule[0] != path[0] && rule[0] != "*" && !(rule[0] == "[*]" && strings.HasPrefix(path[0],
			"[")) {
			return false
		}
		rule, path = rule[1:], path[1:]
	}
	return len(path) == 0
}
