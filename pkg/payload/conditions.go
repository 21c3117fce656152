package payload

import (
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// find is the value of a member before coercion; nil: it is missing.
func find(members []given, key string) []byte {
	for i := range members {
		if members[i].key == key {
			return members[i].raw
		}
	}
	return nil
}

// memberOf returns the text of an object's member, or nil.
func memberOf(obj []byte, key string) (found []byte) {
	if jsonval.KindOf(obj) == event.Object {
		event.EachMember(obj, func(k, v []byte) {
			if event.IsQuoted(k, key) {
				found = v
			}
		})
	}
	return found
}

// nullLike says whether the validator's coercion would turn a value into null when null is expected, which is how
// Segment tests a single condition.
func nullLike(raw []byte) bool {
	if jsonval.KindOf(raw) == event.Array {
		if only, one := jsonval.OnlyElement(raw); one {
			raw = only
		}
	}
	k := jsonval.KindOf(raw)
	return k < event.Array && !jsonval.Truthy(k, raw)
}

// asked is a condition in the form in which it is asked of every payload.
type asked struct {
	all   bool
	tests []askedTest
}

type askedTest struct {
	parent, child string // child: "": the field itself is tested
	not           bool
	want          []byte // nil: whether it is absent, or null
}

// asked compiles a condition: payloads are many, and conditions few.
func (c *Condition) asked() (out asked) {
	out.all = c.All
	for _, t := range c.Tests {
		a := askedTest{not: t.Not}
		a.parent, a.child, _ = strings.Cut(t.Field, ".")
		if !t.Value.IsZero() {
			a.want = []byte(t.Value.String())
		}
		out.tests = append(out.tests, a)
	}
	return out
}

func (c *asked) holds(r *Resolver) bool {
	for i := range c.tests {
		if c.tests[i].holds(r, len(c.tests) > 1) != c.all {
			return !c.all
		}
	}
	return c.all && len(c.tests) > 0
}

func (t *askedTest) holds(r *Resolver, several bool) bool {
	raw := find(r.now.given, t.parent)
	if t.child != "" && raw != nil {
		if jsonval.KindOf(raw) != event.Object {
			return true // JSON Schema: a condition on members says nothing about other types
		}
		raw = memberOf(raw, t.child)
	}
	if t.want == nil && t.child == "" {
		absent := raw == nil || !several && nullLike(raw)
		return absent != t.not
	}
	if raw == nil {
		return false
	}
	return jsonval.Same(raw, t.want) != t.not
}

// note keeps a member's value before coercion, for the conditions that test it.
func (p *Program) note(r *Resolver, key string, v *mapping.Result) {
	if len(p.schema.tested) == 0 || v.Kind == event.String && len(v.Raw) == 2 && !p.batch ||
		!slices.Contains(p.schema.tested, key) {
		return
	}
	r.now.given = append(r.now.given, given{key: key, raw: r.Store(v.Raw)})
}

func isMissing(where, key string) string {
	return where + " is missing the required field '" + key + "'."
}

// missing appends the required fields that are not in the payload.
func (p *Program) missing(r *Resolver, problems []byte) []byte {
	s := &r.now
	for i := range p.schema.rules {
		rl := &p.schema.rules[i]
		before := len(problems)
		if !rl.cond.holds(r) {
			continue
		}
		f := p.schema.byKey[rl.path[0]]
		if s.refs[f.number] == absent {
			problems = append(problems, f.lacked.noted...)
		} else if len(rl.path) == 2 {
			raw := find(s.given, rl.path[0])
			g := f.byKey[rl.path[1]]
			if v := memberOf(raw, rl.path[1]); jsonval.KindOf(raw) == event.Object && g.drops(v, true) {
				problems = append(append(problems, isMissing(f.title, rl.path[1])...), endOfProblem...)
			}
		}
		if len(problems) > before {
			problems = append(append(problems, `The root value must match "then" schema.`...), endOfProblem...)
		}
	}
	for _, f := range p.schema.needed {
		if s.refs[f.number] == absent {
			problems = append(problems, f.lacked.noted...)
		}
	}
	return problems
}
