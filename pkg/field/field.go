// Package field declares what an action takes of an event: one line a field, in words.
//
//	field.Text("email").Email().From("$.traits.email", "$.email")
//	field.Text("source").From("$.traits.source").Else("fanfold")
//	field.Object("location",
//		field.Text("city").From("$.traits.address.city"),
//		field.Text("country").From("$.traits.address.country"),
//	)
//
// Fields that say but a type and where they come from share a line:
//
//	field.Texts("website = traits.website", "phone = traits.phone, context.traits.phone")
//	field.Texts("gender", "zip = .address.postalCode").Below("$.context.traits", "$.properties")
//
// A line says the field's key and type, what it has to be (Required, Email, OneOf, …),
// and where it comes from unless the user maps it otherwise. What the rules mean is
// told at [payload.Field], which is what a line becomes.
//
// Sets are fields that stand in many partners: [UserID], [Campaign], [Products].
// Fields takes both.
package field

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
)

// Set is some fields: a [Line], or several that go together.
type Set interface{ Fields() []payload.Field }

// Of are the fields of several sets, one after the other.
func Of(sets ...Set) []payload.Field {
	var out []payload.Field
	for i, s := range sets {
		more := s.Fields()
		if len(more) > 0 {
			out = slices.Grow(out, len(more)+len(sets)-i-1) // most sets are one field, which is large
		}
		out = append(out, more...)
	}
	return out
}

// Lines are fields that go together.
type Lines []Line

// Fields implements [Set].
func (ls Lines) Fields() []payload.Field {
	if len(ls) == 0 {
		return nil
	}
	out := make([]payload.Field, len(ls))
	for i, l := range ls {
		out[i] = l.f
	}
	return out
}

// Together are the lines of several sets as one.
func Together(sets ...Set) Lines {
	var out Lines
	for _, s := range sets {
		switch s := s.(type) {
		case Line:
			out = append(out, s)
		case Lines:
			out = append(out, s...)
		default:
			for _, f := range s.Fields() {
				out = append(out, Line{f: f})
			}
		}
	}
	return out
}

// Line is one field. It is immutable: every method returns another.
type Line struct {
	f    payload.Field
	path string // where Below finds it; "": by its key
}

// Fields implements [Set].
func (l Line) Fields() []payload.Field { return []payload.Field{l.f} }

func of(key string, t payload.Type) Line { return Line{f: payload.Field{Key: key, Type: t}} }

// Text is a text.
func Text(key string) Line { return of(key, payload.TypeString) }

// LongText is a text of any length.
func LongText(key string) Line { return of(key, payload.TypeText) }

// Number is a number.
func Number(key string) Line { return of(key, payload.TypeNumber) }

// Integer is a number without decimals.
func Integer(key string) Line { return of(key, payload.TypeInteger) }

// Boolean is true or false.
func Boolean(key string) Line { return of(key, payload.TypeBoolean) }

// Time is a text or a number that can be read as a time. It stays as it is.
func Time(key string) Line { return of(key, payload.TypeDatetime) }

// Object is an object. With members it has no others, see [Line.Open]; and unless
// the whole is mapped by From, it is made of what its members are mapped to.
func Object(key string, members ...Set) Line {
	l := of(key, payload.TypeObject)
	l.f.Properties = Of(members...)
	l.f.Default = fromMembers(l.f.Properties)
	return l
}

// fromMembers is an object of the members' own mappings; zero when none has one.
func fromMembers(fields []payload.Field) mapping.Value {
	d := payload.Defaults(fields)
	if d.String() == "{}" {
		return mapping.Value{}
	}
	return d
}

// Texts are texts. A key may have its paths behind it: Texts("os = context.os.name, context.device.type") is
// Text("os").From("$.context.os.name", "$.context.device.type"); a path that begins with a dot is for [Lines.Below].
// So for all that stand in the plural.
func Texts(keys ...string) Lines { return each(keys, Text) }

// Numbers are numbers.
func Numbers(keys ...string) Lines { return each(keys, Number) }

// Integers are numbers without decimals.
func Integers(keys ...string) Lines { return each(keys, Integer) }

// Booleans are true or false.
func Booleans(keys ...string) Lines { return each(keys, Boolean) }

func each(keys []string, of func(string) Line) (ls Lines) {
	for _, k := range keys {
		key, path, mapped := strings.Cut(k, " = ")
		l := of(key)
		if rest, below := strings.CutPrefix(path, "."); below {
			l.path = rest
		} else if mapped {
			l = l.From(strings.Split("$."+strings.ReplaceAll(path, ", ", ",$."), ",")...)
		}
		ls = append(ls, l)
	}
	return ls
}

// Below maps every line that has no mapping to the first of some objects of the event that has it, such as
// "$.properties"; with "" to the element, see [Line.EachOf]. It is looked for by its key, or by the path that begins
// with a dot: Texts("email", "zip = .address.postalCode").Below("$.traits", "$.properties").
func (ls Lines) Below(objects ...string) Lines {
	var out Lines
	for _, l := range ls {
		if l.f.Default.IsZero() {
			var paths []string
			for _, object := range objects {
				paths = append(paths, strings.TrimPrefix(object+"."+cmp.Or(l.path, l.f.Key), "."))
			}
			l = l.From(paths...)
		}
		out = append(out, l)
	}
	return out
}

// With changes every line.
func (ls Lines) With(change func(Line) Line) Lines {
	var out Lines
	for _, l := range ls {
		out = append(out, change(l))
	}
	return out
}

// Key is the field's name.
func (l Line) Key() string { return l.f.Key }

// Mapping is what the field is mapped to.
func (l Line) Mapping() mapping.Value { return l.f.Default }

// Called is the field under another name.
func (l Line) Called(key string) Line { l.f.Key = key; return l }

// Doc says what the field is for, where its name does not.
func (l Line) Doc(s string) Line { l.f.Doc = s; return l }

// Label is what error texts call the field.
func (l Line) Label(s string) Line { l.f.Label = s; return l }

// Required: without it the event is rejected.
func (l Line) Required() Line { l.f.Required = true; return l }

// RequiredWhen makes the field required when another one has one of some values.
func (l Line) RequiredWhen(key string, values ...any) Line {
	c := &payload.Condition{}
	for _, v := range values {
		c.Tests = append(c.Tests, payload.Test{Field: key, Value: mapping.Literal(v)})
	}
	l.f.RequiredIf = c
	return l
}

// RequiredWith makes the field required when another one is there.
func (l Line) RequiredWith(key string) Line {
	l.f.RequiredIf = &payload.Condition{All: true, Tests: []payload.Test{{Field: key, Not: true}}}
	return l
}

// RequiredUntil makes the field required until another one has a value.
func (l Line) RequiredUntil(key string, value any) Line {
	l.f.RequiredIf = &payload.Condition{All: true,
		Tests: []payload.Test{{Field: key, Not: true, Value: mapping.Literal(value)}}}
	return l
}

// RequiredUnless makes the field required when all of some others are missing.
func (l Line) RequiredUnless(keys ...string) Line {
	c := &payload.Condition{All: true}
	for _, k := range keys {
		c.Tests = append(c.Tests, payload.Test{Field: k})
	}
	l.f.RequiredIf = c
	return l
}

// Nullable keeps null instead of leaving the field out.
func (l Line) Nullable() Line { l.f.AllowNull = true; return l }

// List makes it a list of its type. A lone value becomes one.
func (l Line) List() Line { l.f.Multiple = true; return l }

// Open lets an object keep members beyond those that are declared.
func (l Line) Open() Line { l.f.AdditionalProperties = true; return l }

// OneOf are the values allowed.
func (l Line) OneOf(choices ...string) Line { l.f.Choices = choices; return l }

// AtLeast bounds a number, or the length of a text in characters.
func (l Line) AtLeast(n float64) Line { l.f.Minimum = n; return l }

// AtMost bounds a number, or the length of a text in characters.
func (l Line) AtMost(n float64) Line { l.f.Maximum = n; return l }

// Format is one of the formats of [payload.Field]: "email", "uri", "ipv4", …
func (l Line) Format(name string) Line { l.f.Format = name; return l }

// Email has to be an e-mail address.
func (l Line) Email() Line { return l.Format("email") }

// From maps the field to the first of these paths of the event that is not null.
func (l Line) From(paths ...string) Line { l.f.Default = mapping.Paths(paths...); return l }

// Else is a constant that stands in when there is nothing at the paths of From, which
// has to stand before it.
func (l Line) Else(v any) Line {
	l.f.Default = mapping.If(l.f.Default, l.f.Default, mapping.Literal(v))
	return l
}

// Always maps the field to a constant.
func (l Line) Always(v any) Line { l.f.Default = mapping.Literal(v); return l }

// Template maps the field to a text with {{path}} in it.
func (l Line) Template(t string) Line { l.f.Default = mapping.Template(t); return l }

// Mapped maps the field as a mapping says.
func (l Line) Mapped(m mapping.Value) Line { l.f.Default = m; return l }

// EachOf maps a list of objects to a list of the event, member by member: the members'
// own paths begin at the element.
func (l Line) EachOf(path string) Line {
	l.f.Multiple = true
	l.f.Default = mapping.ArrayPath(path, fromMembers(l.f.Properties))
	return l
}

// Unmapped takes the field's mapping away: the user may give one.
func (l Line) Unmapped() Line { l.f.Default = mapping.Value{}; return l }
