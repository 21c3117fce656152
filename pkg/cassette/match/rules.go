package match

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

// rule says that a part of a request may differ from the recorded one. It can ask that
// the part keeps its shape.
type rule struct {
	redact.Place                // in the path, index or globs say where
	index        int            // number of a path segment
	globs        []string       // path segments; * stands for any
	names        bool           // the names of an object's members may differ
	re           *regexp.Regexp // matches the parts of a text that may differ
	want         shape
	text         string
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

// parseRule reads a rule:
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
func parseRule(s string) (rule, error) {
	r := rule{text: s, want: shapeAny}
	path, err := r.parseEnd(s)
	if err != nil {
		return r, err
	}
	switch {
	case r.globs != nil && path == "path":
		r.Part = "path"
	case strings.HasPrefix(path, "path[") && strings.HasSuffix(path, "]"):
		r.Part = "path"
		if r.index, err = strconv.Atoi(path[5 : len(path)-1]); err != nil || r.index < 0 {
			return r, r.none()
		}
	case r.re != nil && path == "body":
		r.Part = "body"
	case path != "" && !strings.Contains(path, ".") && !strings.HasPrefix(path, "body["):
		r.Place = redact.Place{Part: "body", Path: []string{"**", path}}
	default:
		if r.Place, err = redact.ParsePlace(path); err != nil {
			return r, r.none()
		}
	}
	return r, nil
}

func (r *rule) none() error {
	return fmt.Errorf("the rule %q is none: write body.PATH, query.NAME, header.NAME, "+
		"path[N], path~/PATTERN, or the name of a member", r.text)
}

// parseEnd reads what follows the place in a rule: =SHAPE, ~EXPRESSION or {}.
func (r *rule) parseEnd(s string) (place string, err error) {
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

// matches is true if a rule for the body applies to a path. The path has array elements
// as "[3]".
func (r *rule) matches(path []string) bool { return r.Is("body", path) }

// segment returns the placeholder for segment i of a path. ok is false if the rule does
// not apply to it.
func (r *rule) segment(all []string, i int) (string, bool) {
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
		return isText && redact.IsUUID(text)
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
		(redact.HasDigit(s) || redact.IsToken(s) || len(s) >= 16)
}

// MergeRules adds rules to a list. Two rules for the same place with different shapes
// become one rule without a shape.
func MergeRules(list, more []string) []string {
	list = slices.Clone(list)
	place := func(r string) string {
		if at := outside(r, "=~"); at >= 0 && r[at] == '=' {
			return r[:at]
		}
		if i := strings.LastIndexByte(r, '='); strings.HasPrefix(r, "path~") && i >= 0 {
			return r[:i]
		}
		return r
	}
	for _, r := range more {
		i := slices.IndexFunc(list, func(l string) bool { return l == r || place(l) == place(r) })
		switch {
		case i < 0:
			list = append(list, r)
		case list[i] != r:
			list[i] = place(r)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
