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

func (c *Condition) holds(r *Resolver) bool {
	for _, t := range c.Tests {
		if t.holds(r, len(c.Tests) > 1) != c.All {
			return !c.All
		}
	}
	return c.All && len(c.Tests) > 0
}

func (t *Test) holds(r *Resolver, several bool) bool {
	parent, child, nested := strings.Cut(t.Field, ".")
	raw := find(r.now.given, parent)
	if nested && raw != nil {
		if jsonval.KindOf(raw) != event.Object {
			return true // JSON Schema: a condition on members says nothing about other types
		}
		raw = memberOf(raw, child)
	}
	if t.Value.IsZero() && !nested {
		absent := raw == nil || !several && nullLike(raw)
		return absent != t.Not
	}
	if raw == nil {
		return false
	}
	var want []byte
	if !t.Value.IsZero() {
		want = []byte(t.Value.String())
	}
	return jsonval.Same(raw, want) != t.Not
}

// note keeps a member's value before coercion, for the conditions that test it.
func (p *Program) note(r *Resolver, key string, v *mapping.Result) {
	if len(p.schema.tested) == 0 || v.Kind == event.String && len(v.Raw) == 2 && !p.batch ||
		!slices.Contains(p.schema.tested, key) {
		return
	}
	r.now.given = append(r.now.given, given{key: key, raw: r.Store(v.Raw)})
}

// missing lists the required fields that are not in the payload.
func (p *Program) missing(r *Resolver) []string {
	var problems []string
	s := &r.now
	report := func(where, key string) {
		problems = append(problems, where+" is missing the required field '"+key+"'.")
	}
	for _, rl := range p.schema.rules {
		before := len(problems)
		if !rl.cond.holds(r) {
			continue
		}
		f := p.schema.byKey[rl.path[0]]
		if s.refs[f.number] == absent {
			report("The root value", rl.path[0])
		} else if len(rl.path) == 2 {
			raw := find(s.given, rl.path[0])
			g := f.byKey[rl.path[1]]
			if v := memberOf(raw, rl.path[1]); jsonval.KindOf(raw) == event.Object && g.drops(v, true) {
				report(capitalize(f.title), rl.path[1])
			}
		}
		if len(problems) > before {
			problems = append(problems, `The root value must match "then" schema.`)
		}
	}
	for _, f := range p.schema.needed {
		if s.refs[f.number] == absent {
			report("The root value", f.Key)
		}
	}
	return problems
}
