package payload

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Explained is one field of a payload: where it comes from, what it became, and which of its rules it breaks.
type Explained struct {
	Field    Field
	From     mapping.Value // its mapping; zero: none
	Default  bool          // the mapping is the field's own default
	Value    []byte        // JSON, as in the payload; nil: it is missing
	Required bool
	Problems []string
}

// Explain says what becomes of an event in every field that the mapping m (with which the program was compiled)
// sets, or that has rules. It works member by member, as a plain [Resolver] does. rest are the problems that
// belong to no single field.
func (p *Program) Explain(m mapping.Value, in event.Value) (fields []Explained, rest []string) {
	r := &Resolver{Plain: true}
	_, err := p.Run(r, in)
	if m.IsZero() {
		m = Defaults(p.schema.Properties)
	}
	for _, f := range p.schema.props {
		x := Explained{Field: f.Field, Required: f.required}
		x.From = m.Member(f.Key)
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

// fieldOf is the index of the field that a problem is about; -1: none.
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
