package mapping

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// Explained is one field of a payload: where it comes from, what it became, and which of its rules
// that breaks.
type Explained struct {
	Field    Field
	From     Value  // what the mapping says of it; zero: nothing
	Default  bool   // the mapping is the field's own default
	Value    []byte // JSON, as it goes into the payload; nil: it is not there
	Required bool
	Problems []string
}

// Explain says of every field that the mapping m, with which the program was compiled, or the
// field's rules are about what it becomes of an event. It goes member by member, as a plain
// [Resolver] does. rest are the problems of no field in particular.
func (p *Program) Explain(m Value, in event.Value) (fields []Explained, rest []string) {
	r := &Resolver{Plain: true}
	_, err := p.Run(r, in)
	if m.t == nil {
		m = Defaults(p.schema.Properties)
	}
	for _, f := range p.schema.props {
		x := Explained{Field: f.Field, Required: f.required}
		if m.t.form == object {
			x.From = Value{m.t.get(f.Key)}
		}
		x.Default = !f.Default.IsZero() && x.From.String() == f.Default.String()
		if f.number < len(r.now.refs) && r.now.refs[f.number] != absent {
			x.Value = bytes.Clone(r.raw(uint16(f.number)))
		}
		fields = append(fields, x)
	}
	for _, problem := range problemsOf(err) {
		if i := fieldOf(fields, problem); i >= 0 {
			fields[i].Problems = append(fields[i].Problems, problem)
			fields[i].Required = fields[i].Required || strings.Contains(problem, "required")
		} else {
			rest = append(rest, problem)
		}
	}
	return fields, rest
}

func problemsOf(err error) []string {
	switch e := err.(type) {
	case nil:
		return nil
	case *InvalidError:
		return e.Problems
	}
	return []string{err.Error()}
}

// fieldOf is which of the fields a problem is of; -1: of none.
func fieldOf(fields []Explained, problem string) int {
	found, length := -1, 0
	for i, f := range fields {
		for _, name := range []string{f.Field.Key, f.Field.Label} {
			quoted := fmt.Sprintf("'%s'", name)
			begins := len(problem) > len(name) && strings.EqualFold(problem[:len(name)], name) && problem[len(name)] == ' '
			if name != "" && len(name) > length && (begins || strings.Contains(problem, quoted)) {
				found, length = i, len(name)
			}
		}
	}
	return found
}

// Where says in a few words where a value comes from: paths as they are, texts in quotes, anything else as
// the JSON that it is written in.
func (v Value) Where() string {
	switch {
	case v.t == nil:
		return ""
	case v.t.form == function:
		return "computed"
	case v.t.form == object && len(v.t.keys) == 1:
		switch text, isText := v.t.vals[0].text(); {
		case isText && v.t.keys[0] == "@path":
			return text
		case isText && v.t.keys[0] == "@template":
			return "template " + text
		case v.t.keys[0] == "@first" && v.t.vals[0].form == array:
			var parts []string
			for _, one := range v.t.vals[0].vals {
				parts = append(parts, Value{one}.Where())
			}
			return "the first of " + strings.Join(parts, ", ")
		case v.t.keys[0] == "@if" && v.t.vals[0].form == object:
			o := v.t.vals[0]
			exists, then, otherwise := Value{o.get("exists")}, Value{o.get("then")}, Value{o.get("else")}
			if !exists.IsZero() && exists.String() == then.String() {
				return strings.TrimSuffix(then.Where()+", else "+otherwise.Where(), ", else ")
			}
		}
	}
	return v.String()
}
