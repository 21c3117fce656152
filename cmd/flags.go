package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/pkg/setting"
)

// group is a command that only has commands below it: on its own it prints its help.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(commands...)
	return c
}

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

// counted is a flag that takes a number of things.
type counted struct{ n *int }

// count adds a flag that takes a whole number of at least 0 to flags.
func count(flags *pflag.FlagSet, n *int, name string, value int, usage string) {
	*n = value
	flags.Var(counted{n}, name, usage)
}

func (c counted) String() string {
	if c.n == nil { // pflag asks a zero value what it is
		return "0"
	}
	return strconv.Itoa(*c.n)
}
func (c counted) Type() string { return "number" }

func (c counted) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return errors.New("has to be a whole number of at least 0")
	}
	*c.n = int(n)
	return nil
}

// orList is "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// flagError says what is wrong with a command's flags in the words of the user,
// not in those of the parser. Where a command is missing, its flags are no flags
// either: then the command is what is wrong.
func flagError(c *cobra.Command, err error) error {
	if args := c.Flags().Args(); c.HasSubCommands() && len(args) > 0 {
		if wrong := c.ValidateArgs(args); wrong != nil {
			return wrong
		}
	}
	return usagef("%w (see `%s --help`)", plainFlagError(c.Flags(), err), c.CommandPath())
}

func plainFlagError(flags *pflag.FlagSet, err error) error {
	var none *pflag.NotExistError
	if errors.As(err, &none) {
		if letters := none.GetSpecifiedShortnames(); letters != "" {
			return noFlag(flags, "-", letters)
		}
		return noFlag(flags, "--", none.GetSpecifiedName())
	}
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	f := invalid.GetFlag()
	// -output is read as -o with the value utput.
	if word, _, _ := strings.Cut(f.Shorthand+invalid.GetValue(), "="); f.Shorthand != "" && flags.Lookup(word) != nil {
		return noFlag(flags, "-", word)
	}
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
	default: // a reader of ours, whose words may name the value
		want = strings.TrimSuffix(errors.Unwrap(invalid).Error(), fmt.Sprintf(", not %q", invalid.GetValue()))
	}
	return fmt.Errorf("%s %s, not %q", name, want, invalid.GetValue())
}

// noFlag says that there is no such flag, and which one may be meant.
func noFlag(flags *pflag.FlagSet, dashes, name string) error {
	name, _, _ = strings.Cut(name, "=")
	msg := "there is no flag " + dashes + name
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := setting.Nearest(name, names); near != "" && len(name) > 1 {
		msg += "; did you mean --" + near + "?"
	}
	return errors.New(msg)
}
