package mapping

import (
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/fanfold/fanfold/pkg/jsonval"
)

// check reports everything that is wrong with a mapping before it runs. It checks what Segment checks: the members
// of objects, but not the elements of arrays or the argument of @literal. Mistakes there are reported only when
// they are resolved.
func check(t *tree) error {
	c := checker{}
	c.any(t, nil)
	if len(c.problems) > 0 {
		return &SyntaxError{c.problems}
	}
	return nil
}

type checker struct{ problems []string }

// fail notes a problem and returns false, so that a caller can stop there.
func (c *checker) fail(stack []string, format string, args ...any) bool {
	c.problems = append(c.problems, "/"+strings.Join(stack, "/")+" "+fmt.Sprintf(format, args...)+".")
	return false
}

func (c *checker) wrong(stack []string, wanted string, t *tree) bool {
	k := t.jsType()
	if k == "fault" {
		return c.fail(stack, "is not JSON: %v", t.err)
	}
	return c.fail(stack, "should be %s but it is %s %s", wanted, jsonval.Article(k), k)
}

func push(stack []string, s string) []string { return append(stack[:len(stack):len(stack)], s) }

// any checks a mapping at any place.
func (c *checker) any(t *tree, stack []string) bool {
	switch t.jsType() {
	case "directive":
		return c.directive(t, stack)
	case "object":
		return c.object(t, stack)
	case "fault":
		return c.wrong(stack, "JSON", t)
	}
	return true
}

func (c *checker) object(t *tree, stack []string) bool {
	if t.jsType() != "object" {
		return c.wrong(stack, "an object", t)
	}
	ok := true
	for i, k := range t.keys {
		ok = c.any(t.vals[i], push(stack, k)) && ok
	}
	return ok
}

func (c *checker) directive(t *tree, stack []string) bool {
	n, others := 0, 0
	name := ""
	var arg *tree
	for i, k := range t.keys {
		switch {
		case strings.HasPrefix(k, "@"):
			if n++; n == 1 {
				name, arg = k, t.vals[i]
			}
		case k != "_metadata":
			others++
		}
	}
	if n > 1 {
		return c.fail(stack, "should only have one @-prefixed key but it has %d keys", n)
	}
	if others > 0 {
		return c.fail(stack, "should only have one @-prefixed key but it has %d keys", len(t.keys))
	}
	d, known := directiveOf(name)
	if !known {
		if name == "@liquid" {
			return c.fail(
				stack,
				"has an invalid directive: @liquid, which fanfold does not have; @template, @if and @join cover "+
					"most of its uses",
			)
		}
		if near := nearest(name); near != "" {
			return c.fail(stack, "has an invalid directive: %s (did you mean %s?)", name, near)
		}
		return c.fail(stack, "has an invalid directive: %s", name)
	}
	return d.check(c, arg, push(stack, name))
}

func (c *checker) text(t *tree, stack []string) bool {
	if t.jsType() != "string" {
		return c.wrong(stack, "a string", t)
	}
	return true
}

func (c *checker) boolean(t *tree, stack []string) bool {
	if t.jsType() != "boolean" {
		return c.wrong(stack, "a boolean", t)
	}
	return true
}

func (c *checker) integer(t *tree, stack []string) bool {
	if t.jsType() != "number" || !jsonval.IsPlainInteger(t.raw) || t.raw[0] == '-' || len(t.raw) > 9 {
		return c.wrong(stack, "a whole number", t)
	}
	return true
}

func (c *checker) textOrDirective(t *tree, stack []string) bool {
	switch t.jsType() {
	case "directive":
		return c.directive(t, stack)
	case "string":
		return true
	}
	return c.wrong(stack, "a string or a mapping directive", t)
}

func (c *checker) objectOrDirective(t *tree, stack []string) bool {
	switch t.jsType() {
	case "directive":
		return c.directive(t, stack)
	case "object":
		return c.object(t, stack)
	}
	return c.wrong(stack, "a object or a mapping directive", t)
}

// raw accepts any value; only a directive is looked into.
func (c *checker) raw(t *tree, stack []string) bool {
	switch t.jsType() {
	case "directive":
		return c.directive(t, stack)
	case "undefined", "fault":
		return c.wrong(stack, "a mapping directive or a JSON value", t)
	}
	return true
}

func (c *checker) array(t *tree, stack []string) bool {
	if t.jsType() != "array" {
		return c.wrong(stack, "an array", t)
	}
	return true
}

// elements is array with every element checked too, for our own directives.
func (c *checker) elements(t *tree, stack []string) bool {
	if !c.array(t, stack) {
		return false
	}
	ok := true
	for i, e := range t.vals {
		ok = c.any(e, push(stack, fmt.Sprint(i))) && ok
	}
	return ok
}

func oneOf(words ...string) check1 {
	return func(c *checker, t *tree, stack []string) bool {
		s, ok := t.text()
		if !ok {
			return c.text(t, stack)
		}
		for _, w := range words {
			if strings.EqualFold(w, s) {
				return true
			}
		}
		return c.fail(stack, "should be one of %s but it is %q", strings.Join(words, ", "), s)
	}
}

func length(lo, hi int) check1 {
	return func(c *checker, t *tree, stack []string) bool {
		s, ok := t.text()
		if !ok {
			return c.text(t, stack)
		}
		n := units(s)
		if n < lo {
			return c.fail(stack, "should be a string of length %d or greater", lo)
		}
		if n > hi {
			return c.fail(stack, "should be a string of length %d or less", hi)
		}
		return true
	}
}

// units is the length of a text as JavaScript counts.
func units(s string) int { return len(utf16.Encode([]rune(s))) }

type check1 func(c *checker, t *tree, stack []string) bool

// option is one key of a directive's argument.
type option struct {
	key      string
	required bool
	check    check1
}

func need(key string, f check1) option { return option{key, true, f} }
func may(key string, f check1) option  { return option{key, false, f} }

// withOptions checks an argument object: first all of its members as
// mappings, then those that the directive knows.
func withOptions(opts ...option) check1 {
	return func(c *checker, t *tree, stack []string) bool {
		if !c.object(t, stack) {
			return false
		}
		ok := true
		for _, o := range opts {
			v := t.get(o.key)
			switch {
			case v != nil:
				ok = o.check(c, v, push(stack, o.key)) && ok
			case o.required:
				ok = c.fail(stack, "should have field %q but it doesn't", o.key)
			}
		}
		return ok
	}
}

// strictOptions is withOptions that refuses unknown keys. It is for our own directives, which need no
// compatibility.
func strictOptions(opts ...option) check1 {
	lenient := withOptions(opts...)
	return func(c *checker, t *tree, stack []string) bool {
		if !lenient(c, t, stack) {
			return false
		}
		ok := true
	keys:
		for _, k := range t.keys {
			var known []string
			for _, o := range opts {
				if o.key == k {
					continue keys
				}
				known = append(known, o.key)
			}
			ok = c.fail(stack, "does not know the field %q; it has %s", k, strings.Join(known, ", "))
		}
		return ok
	}
}

// nearest returns the directive that a misspelled name most likely means.
func nearest(name string) string {
	best, dist := "", 3
	for _, k := range directiveNames() {
		if d := editDistance(name, k); d < dist || d == dist && best != "" && k < best {
			best, dist = k, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	if len(a) > 40 {
		return 40
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(diag+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
