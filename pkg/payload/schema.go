package payload

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// field returns the index of the field with a key; -1: there is none.
func (s *schema) field(key string) int {
	if s.buckets == nil {
		return -1
	}
	i := int(s.buckets[hashOf(key)]) - 1
	for i >= 0 && s.keys[i] != key {
		i = int(s.chain[i]) - 1
	}
	return i
}

// schema is the compiled form of a field, or of the whole payload.
type schema struct {
	Field
	title    string                 // begins with a capital
	prefix   []byte                 // "key":
	str      bool                   // it is one of the text types
	checked  bool                   // there is more to check than the type
	obeyed   func(event.Value) bool // if checked: whether a value is valid
	props    []*schema
	byKey    map[string]*schema
	path     string        // of a root field, for messages
	number   int           // of a root field
	lacked   *InvalidError // of a root field: the error if it is all that is missing; nobody changes it
	buckets  *[256]uint16  // of the root: from the hash of a key to the index of a field, from 1
	chain    []uint16      // for each field, the next one in the same bucket
	keys     []string      // of its fields
	needed   []*schema
	required bool
	nullable bool
	asIs     [event.Object + 1]bool // kinds that need neither coercion nor checks
	enum     [][]byte               // choices as JSON
	choices  string                 // the same in words
	wants    [2]string              // the types that it accepts in words, without null and with it
	rules    []rule                 // the conditions of the root's fields
	tested   []string               // root fields that conditions test
}

type rule struct {
	path []string // field, or object and member
	cond asked
}

func (s *schema) init(root bool) error {
	s.title = capitalize(cmp.Or(s.Label, s.Key))
	s.path = "/" + s.Key
	s.prefix = append(event.AppendQuoted(nil, s.Key), ':')
	s.str = s.Type <= TypePassword
	s.required = s.Required
	// As in Segment, an object with properties is an object or nothing.
	s.nullable = s.AllowNull && !s.Multiple && (s.Type != TypeObject || s.Properties == nil)
	for _, c := range s.Choices {
		if s.str || s.Type == TypeDatetime {
			s.enum = append(s.enum, event.AppendQuoted(nil, c))
		} else if event.Valid([]byte(c)) == nil {
			s.enum = append(s.enum, []byte(c))
		} else {
			return fmt.Errorf("mapping: field %s: the choice %q is no %s", s.Key, c, s.Type)
		}
	}
	s.words()
	s.checked = s.enum != nil || s.Type == TypeString && (s.Format != "" || s.Minimum != 0 || s.Maximum != 0) ||
		s.Type == TypeNumber && (s.Minimum != 0 || s.Maximum != 0)
	s.obeyed = func(v event.Value) bool { return s.rulesOf(nil, v.Raw(), false) }
	if !s.Multiple && !s.checked {
		s.asIs[event.String] = s.str
		s.asIs[event.Number] = s.Type == TypeNumber
		s.asIs[event.Bool] = s.Type == TypeBoolean
		s.asIs[event.Object] = s.Type == TypeObject && s.Properties == nil
		if s.Type == TypeAny {
			s.asIs = [...]bool{event.Bool: true, event.Number: true, event.String: true, event.Array: true, event.Object: true}
		}
	}
	if s.Properties == nil {
		return nil
	}
	s.byKey = map[string]*schema{}
	for _, f := range s.Properties {
		c := &schema{Field: f}
		if err := c.init(false); err != nil {
			return err
		}
		if s.byKey[f.Key] != nil {
			return fmt.Errorf("mapping: the field %s is declared twice", f.Key)
		}
		s.byKey[f.Key] = c
		s.props = append(s.props, c)
	}
	conditional := slices.ContainsFunc(s.Properties, func(f Field) bool { return f.RequiredIf != nil })
	for i, c := range s.props {
		// In Segment an object with a conditionally required member loses
		// its unconditional requirements.
		c.required = c.required && (root || !conditional)
		c.number, c.lacked = i, invalid(isMissing("The root value", c.Key)+endOfProblem)
		if c.required {
			s.needed = append(s.needed, c)
		}
	}
	if root {
		s.hash()
		s.conditions()
	}
	return nil
}

// words prepares what messages say of the field.
func (s *schema) words() {
	if s.enum != nil {
		var list []string
		for _, c := range s.enum {
			list = append(list, string(c))
		}
		if s.AllowNull {
			list = append(list, "null")
		}
		s.choices = humanList(list)
	}
	types := []string{s.Type.String()}
	switch s.Type {
	case TypeDatetime:
		types = []string{"string", "number"}
	case TypeText, TypePassword:
		types = []string{"string"}
	}
	for i := range s.wants {
		s.wants[i] = jsonval.Article(types[0]) + " " + humanList(types)
		types = append(types, "null")
	}
}

// hash fills the hash table of the root's fields.
func (s *schema) hash() {
	s.buckets = new([256]uint16)
	for i, c := range s.props {
		b := &s.buckets[hashOf(c.Key)]
		s.chain = append(s.chain, *b)
		s.keys = append(s.keys, c.Key)
		*b = uint16(i) + 1
	}
}

// conditions collects the conditions of the root's fields and of their members.
func (s *schema) conditions() {
	for _, f := range s.Properties {
		if f.Type == TypeObject {
			for _, g := range f.Properties {
				if g.RequiredIf != nil && !g.Required {
					s.rules = append(s.rules, rule{[]string{f.Key, g.Key}, g.RequiredIf.asked()})
				}
			}
		}
		if f.RequiredIf != nil && !f.Required {
			s.rules = append(s.rules, rule{[]string{f.Key}, f.RequiredIf.asked()})
		}
	}
	for _, rl := range s.rules {
		if len(rl.path) == 2 {
			s.tested = append(s.tested, rl.path[0])
		}
		for _, t := range rl.cond.tests {
			s.tested = append(s.tested, t.parent)
		}
	}
}

// keeps says whether a value needs neither coercion nor checks.
func (f *schema) keeps(v event.Value) bool {
	k := v.Kind()
	switch {
	case f.asIs[k]:
		return true
	case f.Multiple:
		return false
	case f.checked:
		return (k == event.String && f.str || k == event.Number && f.Type == TypeNumber) && f.obeyed(v)
	}
	switch {
	case f.Type == TypeDatetime:
		return k == event.Number || k == event.String && isDateLike(v)
	case f.Type == TypeInteger:
		return k == event.Number && isInteger(v)
	}
	return false
}

// coerced writes the coerced form of a value of the event, in the cases that scalar handles.
func (f *schema) coerced(r *Resolver, v event.Value) (ok bool) {
	r.now.out, ok = f.scalar(r.now.out, v.Raw(), v.Kind())
	return ok
}

// wraps says whether a value of a kind becomes the only element of the field's array, and needs no other change.
func (f *schema) wraps(k event.Kind) bool {
	return f.Multiple && f.str && f.enum == nil && k == event.String
}

func isDateLike(v event.Value) bool {
	return jsonval.IsPlainISO(v.Raw()) || jsonval.IsDateLike(v.Raw())
}

func isInteger(v event.Value) bool { return jsonval.IsPlainInteger(v.Raw()) }
