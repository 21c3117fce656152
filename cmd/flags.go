package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// oneOf is a flag that takes a few words.
type oneOf struct {
	value *string
	words []string
}

// choiceP adds a flag that takes one of a few words to flags: the usage says
// which, other words are refused with them, and shells complete them.
func choiceP(flags *pflag.FlagSet, value *string, name, short, usage string, words ...string) {
	if *value = words[0]; usage != "" {
		usage += ": "
	}
	flags.VarP(&oneOf{value, words}, name, short, usage+orList(words))
}

func (o *oneOf) String() string { return *o.value }
func (o *oneOf) Type() string   { return "string" }

func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.words, s) {
		return errors.New("has to be " + orList(o.words))
	}
	*o.value = s
	return nil
}

// orList is "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// flagError says what a flag takes in the words of the user, not in those of
// the parser.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	f := invalid.GetFlag()
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand
	}
	want := ""
	switch f.Value.Type() {
	case "int", "int64":
		want = "has to be a whole number"
	case "float64":
		want = "has to be a number"
	case "bool":
		want = "has to be true or false"
	case "duration":
		want = "has to be a duration like 30s"
	default:
		want = errors.Unwrap(invalid).Error()
	}
	return fmt.Errorf("%s %s, not %q", name, want, invalid.GetValue())
}
