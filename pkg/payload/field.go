// Package payload turns an event into what an action takes, using a mapping. An action has a list of [Field].
// [Compile] combines it with a mapping (pkg/mapping) into a [Program], which resolves the mapping, drops empty
// values, coerces to the fields' types, removes what the action does not know, and validates. The result is a
// [Payload], or an [*InvalidError] that lists every violation. The rules and the messages are Segment's.
//
// Programs are immutable and safe for concurrent use. Each goroutine has its own [Resolver] and reuses it for
// every event, so that a steady stream of events allocates nothing.
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
	TypePassword      // a secret, which is not shown
	TypeNumber
	TypeInteger
	TypeBoolean
	TypeDatetime // a string or number that can be read as a time; it is not converted
	TypeObject
	TypeAny // any value, unchanged
)

// String returns the type's name in Segment's field definitions.
func (t Type) String() string {
	return [...]string{"string", "text", "password", "number", "integer", "boolean", "datetime", "object", "any"}[t]
}

// Field is one line of an action's mapping: the name of a member of the payload, its allowed values, and the
// default mapping.
type Field struct {
	Key   string
	Label string // used in messages; "": Key is used
	Doc   string
	Type  Type

	Multiple   bool       // an array of Type; a single value is wrapped
	Required   bool       // must be there after empty values are dropped
	RequiredIf *Condition // required when the condition holds
	AllowNull  bool       // null is kept instead of dropped

	Choices []string // the allowed values, as text; for types other than strings as JSON

	// Minimum and Maximum bound a TypeNumber's value and a TypeString's length
	// in characters. Zero is no bound, and other types ignore them, as in
	// Segment.
	Minimum, Maximum float64

	// Format of a TypeString: "date", "time", "date-time", "duration",
	// "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "uuid",
	// "json-pointer" or "regex". Any other is not checked.
	Format string

	// Properties are the members of a TypeObject. Other members are dropped unless AdditionalProperties is set. An
	// object without Properties is used unchanged.
	Properties           []Field
	AdditionalProperties bool

	Default mapping.Value // the mapping when the user gives none
}

// Condition says when a field is required: when any test holds, or with All, when all do.
type Condition struct {
	All   bool
	Tests []Test
}

// Test tests another field of the payload. Field may name a member of an object field as "object.member". A zero
// Value tests whether the field is absent or null.
type Test struct {
	Field string
	Not   bool
	Value mapping.Value // a literal
}

// InvalidError lists every rule that a payload breaks. Payloads that break the same rules share one: nobody changes it.
type InvalidError struct {
	Problems []string
	noted    string // see payloadScratch.problems
	text     string
}

// invalid makes the error of what was noted: texts that each end in endOfProblem.
func invalid(noted string) *InvalidError {
	problems := strings.Split(strings.TrimSuffix(noted, endOfProblem), endOfProblem)
	return &InvalidError{problems, noted, strings.Join(problems, " ")}
}

// endOfProblem ends each problem that is noted. It stands in none: they consist of names that partners declare.
const endOfProblem = "\x00"

func (e *InvalidError) Error() string { return e.text }

// Defaults is the mapping that consists of the fields' defaults.
func Defaults(fields []Field) mapping.Value {
	var ms []mapping.Member
	for _, f := range fields {
		if !f.Default.IsZero() {
			ms = append(ms, mapping.M(f.Key, f.Default))
		}
	}
	return mapping.Object(ms...)
}
