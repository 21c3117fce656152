// Package payload makes of an event and a mapping what an action takes. An action has a list of [Field]; [Compile]
// makes of that and a mapping (pkg/mapping) a [Program], which resolves the mapping, drops what is
// empty, coerces to the
// fields' types, strips what the action does not know and validates. The result is a [Payload], or an [*InvalidError]
// that names every violation. The rules, and the messages, are Segment's.
//
// Programs are immutable and safe for concurrent use; each goroutine has a [Resolver] of its own, which it uses again
// for every event, so that a steady stream of events allocates nothing.
package payload

import (
	"strings"

	"github.com/fanfold/fanfold/pkg/mapping"
)

// Type is the type of an action's field.
type Type uint8

// The types. TypeString is the zero value.
const (
	TypeString   Type = iota
	TypeText          // a long string
	TypePassword      // a string that is not shown
	TypeNumber
	TypeInteger
	TypeBoolean
	TypeDatetime // a string or number that can be read as a time; kept as it is
	TypeObject
	TypeAny // whatever it is, as it is
)

// String returns the type's name in Segment's field definitions.
func (t Type) String() string {
	return [...]string{"string", "text", "password", "number", "integer", "boolean", "datetime", "object", "any"}[t]
}

// Field is one line of an action's mapping: what a member of the payload is
// called, what it may be, and where it comes from unless the user says
// otherwise.
type Field struct {
	Key   string
	Label string // used in error texts; Key when empty
	Doc   string
	Type  Type

	Multiple   bool       // an array of Type; a lone value is wrapped
	Required   bool       // must be there after empty values are dropped
	RequiredIf *Condition // required when the condition holds
	AllowNull  bool       // null is kept instead of dropped

	Choices []string // the values allowed, as text; for other types than strings their JSON

	// Minimum and Maximum bound a TypeNumber's value and a TypeString's length
	// in characters. Zero is no bound, and other types ignore them, as in
	// Segment.
	Minimum, Maximum float64

	// Format of a TypeString: "date", "time", "date-time", "duration",
	// "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "uuid",
	// "json-pointer" or "regex". Any other is not checked.
	Format string

	// Properties are the members of a TypeObject; members beyond them are
	// dropped unless AdditionalProperties. An object without Properties is
	// taken as it is.
	Properties           []Field
	AdditionalProperties bool

	Default mapping.Value // the mapping when the user gives none
}

// Condition says when a field is required: when any (or with All, every) one
// of its tests holds.
type Condition struct {
	All   bool
	Tests []Test
}

// Test looks at another field of the payload. Field may name a member of an
// object field as "object.member". A zero Value asks whether the field is
// absent or null.
type Test struct {
	Field string
	Not   bool
	Value mapping.Value // a literal
}

// InvalidError names every way in which a payload breaks its fields' rules.
type InvalidError struct{ Problems []string }

func (e *InvalidError) Error() string { return strings.Join(e.Problems, " ") }

// Defaults is the mapping made of the fields' defaults.
func Defaults(fields []Field) mapping.Value {
	var ms []mapping.Member
	for _, f := range fields {
		if !f.Default.IsZero() {
			ms = append(ms, mapping.M(f.Key, f.Default))
		}
	}
	return mapping.Object(ms...)
}
