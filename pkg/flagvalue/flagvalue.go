// Package flagvalue has the kinds of values that flags take, and says in the user's
// words what is wrong with a command line.
package flagvalue

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/pkg/setting"
)

// oneOf is a flag that takes a few words.
type oneOf struct {
	value *string
	words []string
	other map[string]string // further names of words
}

// Choice adds a flag that takes one of a few words, the first of which is the default:
// the usage says which, and other words are refused with them.
func Choice(flags *pflag.FlagSet, value *string, name, short, usage string, words ...string) {
	if *value = words[0]; usage != "" {
		usage += ": "
	}
	flags.VarP(&oneOf{value, words, nil}, name, short, usage+orList(words))
}

// Output adds the flag --output, or -o, as [Choice] does. The forms have the same names at all commands: text, which is
// also called table, and json, also jsonl; value never gets the second name.
func Output(flags *pflag.FlagSet, value *string, usage string, words ...string) {
	if *value = words[0]; usage != "" {
		usage += ": "
	}
	others := map[string]string{"table": "text", "jsonl": "json"}
	flags.VarP(&oneOf{value, words, others}, "output", "o", usage+orList(words))
}

// Choices are the words that a flag of Choice takes; nil for other flags.
func Choices(v pflag.Value) []string {
	if o, ok := v.(*oneOf); ok {
		return o.words
	}
	return nil
}

func (o *oneOf) String() string { return *o.value }
func (o *oneOf) Type() string   { return "string" }

func (o *oneOf) Set(s string) error {
	if word := o.other[s]; word != "" {
		s = word
	}
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

// counted is a flag that takes a number of things.
type counted struct{ n *int }

// Count adds a flag that takes a whole number of at least 0.
func Count(flags *pflag.FlagSet, n *int, name string, value int, usage string) {
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

// checked is a flag whose value is held against what it has to be as it is given.
type checked struct {
	value *string
	check func(string) error
}

// Checked adds a flag whose text has to pass a check; the default does not have to.
func Checked(flags *pflag.FlagSet, value *string, name, usage string, check func(string) error) {
	flags.Var(&checked{value, check}, name, usage)
}

func (c *checked) String() string { return *c.value }
func (c *checked) Type() string   { return "string" }

func (c *checked) Set(s string) error {
	if err := c.check(s); err != nil {
		return err
	}
	*c.value = s
	return nil
}

// Moment adds a flag for a time, as [Time] has it. An empty one is refused, because a
// variable that is not set ($SINCE) would select everything.
func Moment(flags *pflag.FlagSet, value *string, name, usage string) {
	Checked(flags, value, name, usage, func(s string) error {
		_, _, err := Time(s, time.Time{})
		if s == "" {
			err = errNoTime(s)
		}
		return err
	})
}

func errNoTime(s string) error {
	return fmt.Errorf("has to be a time like 2024-05-01T12:00:00Z, a date, or a duration like 72h or 3d, not %q", s)
}

// Time reads a time in RFC 3339, a date, or a duration back from now (relative, see [Age]);
// "" is the zero time.
func Time(s string, now time.Time) (t time.Time, relative bool, err error) {
	if s == "" {
		return time.Time{}, false, nil
	}
	if d, err := Age(s); err == nil {
		return now.Add(-d), true, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, false, nil
		}
	}
	return time.Time{}, false, errNoTime(s)
}

// Age reads a duration of at least 0 that may be in days or weeks: 30d, 4w, 12h.
func Age(s string) (time.Duration, error) {
	units := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if n := len(s); n > 1 && units[s[n-1]] > 0 {
		count, err := strconv.ParseUint(s[:n-1], 10, 16)
		if err == nil {
			return time.Duration(count) * units[s[n-1]], nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%q is no time like 30d, 4w or 12h", s)
}

// Words are the words of lists that are separated by commas.
func Words(lists []string) []string {
	var words []string
	for _, list := range lists {
		for word := range strings.SplitSeq(list, ",") {
			if word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

// Ranges reads numbers and ranges of them that are separated by commas, like 0,3-5. They go from 0 up to below limit;
// what is the plural of what they count.
func Ranges(s, what string, limit int) (map[int]bool, error) {
	numbers := map[int]bool{}
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || from > to || from < 0 || to >= limit {
			return nil, fmt.Errorf("%q is no number or range of %s, which go from 0 to %d", part, what, limit-1)
		}
		for n := from; n <= to; n++ {
			numbers[n] = true
		}
	}
	return numbers, nil
}

// Explain says what is wrong with a command's flags in the words of the user, not in
// those of the parser.
func Explain(flags *pflag.FlagSet, err error) error {
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
