package mapping

import (
	"slices"

	"github.com/fanfold/fanfold/pkg/event"
)

// What bodies do with single values is what directives do with them; the functions
// here are for those who have a value and no mapping.

// TimeFormats are the formats of [Time].
func TimeFormats() []string { return slices.Clone(timeFormats) }

// NormalForms are the forms of [Normalize].
func NormalForms() []string { return slices.Clone(normalForms) }

// AppendNumberOf appends the number that a value is, as [Number] does. It reports
// false, with nothing appended, when it is none.
func AppendNumberOf(dst []byte, v event.Value) ([]byte, bool) {
	return numberOf(dst, v.Kind(), v.Raw())
}

// AppendBoolOf appends the boolean that a value is, as [Bool] does. It reports false,
// with nothing appended, when it is none.
func AppendBoolOf(dst []byte, v event.Value) ([]byte, bool) {
	return boolOf(dst, v.Kind(), v.Raw())
}

// TrimText is a text without what JavaScript holds to be white space at its ends.
func TrimText(text []byte) []byte { return trimJS(text) }
