package cassette

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// Rule says that a part of a request may differ from the recorded one. It can ask that
// the part keeps its shape.
type Rule struct {
	part  string         // which part: body, query, header or path
	path  []string       // in the body: names, * for every member, [*] for every element, ** for any depth
	name  string         // in the query or the headers
	index int            // number of a path segment
	globs []string       // path segments; * stands for any
	names bool           // the names of an object's members may differ
	re    *regexp.Regexp // matches the parts of a text that may differ
	want  shape
	text  string
}

type shape string

// The shapes for which a rule can ask.
const (
	shapeAny       shape = "any"       // anything, or nothing at all
	shapeTime      shape = "time"      // RFC 3339, a date, or seconds or milliseconds since 1970
	shapeID        shape = "id"        // a text or a whole number, not empty
	shapeUUID      shape = "uuid"      // 8-4-4-4-12 hexadecimal digits
	shapeNumber    shape = "number"    // any number, or text of one
	shapeString    shape = "string"    // any text
	shapeOptional  shape = "optional"  // null is equal to a missing member
	shapeUnordered shape = "unordered" // the elements may be in any order
)

var shapesKnown = []shape{shapeAny, shapeTime, shapeID, shapeUUID, shapeNumber, shapeString, shapeOptional,
	shapeUnordered}

// ParseRule reads a rule:
//
//	body.batch[*].messageId  a member; **.sentAt at any depth; "a.b" for a name with dots
//	sentAt                   any member of that name
//	body.users{}             the names of an object's members
//	body.note~\d+            parts of a text; body~… of a body that is text
//	query.ts, header.X-Y     a parameter, a header
//	path[2]                  a segment of the path, from 0
//	path~/orders/*           those that * stands for
//
// =SHAPE at the end requires the value to be a time, id, uuid, number or string.
// =optional makes null equal to a missing member. =unordered ignores the order of
// elements.
func ParseRule(s string) (Rule, error) {
	r := Rule{text: s, want: shapeAny}
	path, err := r.parseEnd(s)
	if err != nil {
		return r, err
	}
	part, rest, ok := strings.Cut(path, ".")
	switch {
	case ok && part == "query", ok && part == "header":
		r.part, r.name = part, rest
		if part == "header" {
			r.name = http.CanonicalHeaderKey(rest)
		}
	case r.globs != nil && path == "path":
		r.part = "path"
	case strings.HasPrefix(path, "path[") && strings.HasSuffix(path, "]"):
		r.part = "path"
		if r.index, err = strconv.Atoi(path[5 : len(path)-1]); err != nil || r.index < 0 {
			return r, r.none()
		}
	case r.re != nil && path == "body":
		r.part = "body"
	case ok && part == "body", strings.HasPrefix(path, "body["):
		r.part = "body"
		if r.path, err = segments(strings.TrimPrefix(strings.TrimPrefix(path[4:], "."), "$.")); err != nil {
			return r, r.none()
		}
	case !ok && path != "":
		r.part, r.path = "body", []string{"**", path}
	}
	if r.part == "" || (r.part == "query" || r.part == "header") && r.name == "" || slices.Contains(r.path, "") {
		return r, r.none()
	}
	return r, nil
}

func (r *Rule) none() error {
	return fmt.Errorf("the rule %q is none: write body.PATH, query.NAME, header.NAME, "+
		"path[N], path~/PATTERN, or the name of a member", r.text)
}

// parseEnd reads what follows the place in a rule: =SHAPE, ~EXPRESSION or {}.
func (r *Rule) parseEnd(s string) (place string, err error) {
	at := outside(s, "=~")
	place = s
	if at >= 0 {
		place = s[:at]
	}
	if at >= 0 && s[at] == '~' && place == "path" {
		pattern, want, ok := strings.Cut(s[at+1:], "=")
		if ok {
			r.want = shape(want)
		}
		r.globs = strings.Split(strings.Trim(pattern, "/"), "/")
		if !slices.Contains(r.globs, "*") {
			return "", fmt.Errorf("the rule %q has no * for a segment that may differ, as in path~/orders/*", s)
		}
	} else if at >= 0 && s[at] == '~' {
		if r.re, err = regexp.Compile(s[at+1:]); err != nil {
			return "", fmt.Errorf("the rule %q: %w", s, err)
		}
	} else if at >= 0 {
		r.want = shape(s[at+1:])
	}
	if !slices.Contains(shapesKnown, r.want) {
		return "",
			fmt.Errorf("the rule %q asks for the shape %q: "+
				"there are any, time, id, uuid, number, string, optional and unordered", s, r.want)
	}
	if inner, ok := strings.CutSuffix(place, "{}"); ok {
		place, r.names = inner, true
	}
	return place, nil
}

// outside is the index of the first of the given bytes that is not within quotes.
func outside(s, any string) int {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(any, s[i]) >= 0:
			return i
		}
	}
	return -1
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

// matches is true if a rule for the body applies to a path. The path has array elements
// as "[3]".
func (r *Rule) matches(path []string) bool { return matchSegments(r.path, path) }

// Is implements [redact.Place].
func (r *Rule) Is(part string, path []string) bool {
	switch {
	case r.part != part:
		return false
	case part == "body":
		return r.matches(path)
	}
	return len(path) == 1 && r.name == path[0]
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

// segment returns the placeholder for segment i of a path. ok is false if the rule does
// not apply to it.
func (r *Rule) segment(all []string, i int) (string, bool) {
	held := r.globs == nil && r.index == i
	for from := i - len(r.globs) + 1; r.globs != nil && from <= i && !held; from++ {
		if from < 0 || from+len(r.globs) > len(all) || r.globs[i-from] != "*" {
			continue
		}
		held = true
		for k, g := range r.globs {
			held = held && (g == "*" || g == all[from+k])
		}
	}
	if !held {
		return "", false
	}
	plain, err := url.PathUnescape(all[i])
	return "<" + string(r.want) + ">", err == nil && r.want.has(plain)
}

var uuidRE = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// timeLayouts are the formats of time that are recognised.
var timeLayouts = []string{time.RFC3339Nano, time.DateOnly, time.DateTime, http.TimeFormat, time.RFC1123Z,
	"2006-01-02T15:04:05", "2006-01-02T15:04:05.999999999", "20060102T150405Z"}

// has is true if a value has the shape.
func (s shape) has(v any) bool {
	text, isText := v.(string)
	num, isNum := v.(json.Number)
	switch s {
	case shapeAny:
		return true
	case shapeString:
		return isText
	case shapeUUID:
		return isText && uuidRE.MatchString(text)
	case shapeID:
		return isText && text != "" || isNum && !strings.ContainsAny(string(num), ".eE")
	case shapeNumber:
		if isText {
			_, err := strconv.ParseFloat(text, 64)
			return err == nil
		}
		return isNum
	case shapeTime:
		if isText {
			for _, layout := range timeLayouts {
				if _, err := time.Parse(layout, text); err == nil {
					return true
				}
			}
			num = json.Number(text)
		}
		f, err := strconv.ParseFloat(string(num), 64)
		return err == nil && f >= 1e8 && f < 1e14 // from 1973 in seconds to 5138 in milliseconds
	}
	return false
}

// shapeOf returns the narrowest shape that two values share, or shapeAny.
func shapeOf(a, b any) shape {
	for _, s := range []shape{shapeUUID, shapeTime, shapeNumber} {
		if s.has(a) && s.has(b) {
			return s
		}
	}
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	if ok1 && ok2 && isIdentifier(x) && isIdentifier(y) {
		return shapeID
	}
	return shapeAny
}

// isIdentifier is true for a text that looks like an id, rather than like words.
func isIdentifier(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsAny(s, " \t\n") &&
		(hasDigit(s) || redact.IsToken(s) || len(s) >= 16)
}
