package flagvalue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// What is wrong with a command line is said in the user's words, with the flag's name
// and what it was given.
func TestExplain(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--output=xml", `-o has to be table, json or csv, not "xml"`},
		{"-o xml", `-o has to be table, json or csv, not "xml"`},
		{"-output json", `there is no flag -output; did you mean --output?`},
		{"--outptu json", `there is no flag --outptu; did you mean --output?`},
		{"--limit -1", `--limit has to be a whole number of at least 0, not "-1"`},
		{"--limit 2147483648", `--limit has to be a whole number of at least 0, not "2147483648"`},
		{"--bytes ten", `--bytes has to be a whole number, not "ten"`},
		{"--share x", `--share has to be a number, not "x"`},
		{"--fresh=maybe", `--fresh has to be true or false, not "maybe"`},
		{"--wait 5", `--wait has to be a duration like 30s, not "5"`},
		{"--at= -o json", `--at has to be a time like 2024-05-01T12:00:00Z, a date, or a duration like 72h or 3d, not ""`},
		{"--at soon", `--at has to be a time like 2024-05-01T12:00:00Z, a date, or a duration like 72h or 3d, not "soon"`},
		{"--even 3", `--even has to be even, not "3"`},
		{"--zzz", `there is no flag --zzz`},
		{"-z", `there is no flag -z`},
	} {
		f := pflag.NewFlagSet("t", pflag.ContinueOnError)
		var out, even string
		var limit int
		Choice(f, &out, "output", "o", "form", "table", "json", "csv")
		Count(f, &limit, "limit", 3, "how many")
		Checked(f, &even, "even", "an even number", func(s string) error {
			if strings.HasSuffix(s, "3") {
				return errors.New("has to be even, not \"3\"")
			}
			return nil
		})
		Moment(f, new(string), "at", "a time")
		f.Int64("bytes", 0, "")
		f.Float64("share", 0, "")
		f.Bool("fresh", false, "")
		f.Duration("wait", 0, "")
		err := f.Parse(strings.Fields(c.args))
		if err == nil {
			t.Errorf("%s is taken", c.args)
		} else if got := Explain(f, err).Error(); got != c.want {
			t.Errorf("%s: %s, want %s", c.args, got, c.want)
		}
		if out != "table" || limit != 3 || even != "" {
			t.Errorf("%s changed a value: %q %d %q", c.args, out, limit, even)
		}
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	for s, want := range map[string]string{
		"": "0001-01-01T00:00:00Z", "36h": "2024-05-30T12:00:00Z", "2024-05-01": "2024-05-01T00:00:00Z",
		"2024-05-01T12:00:00.5+02:00": "2024-05-01T12:00:00.5+02:00",
		"7d":                          "2024-05-25T00:00:00Z", "1w": "2024-05-25T00:00:00Z",
	} {
		got, relative, err := Time(s, now)
		if err != nil || got.Format(time.RFC3339Nano) != want || relative != (s != "" && len(s) < 4) {
			t.Errorf("%q is %v, relative %v, %v", s, got, relative, err)
		}
	}
	for _, s := range []string{"yesterday", "05/01/2024", "2024-13-01", "-1h", "-1d", "1.5d", "7days"} {
		if got, _, err := Time(s, now); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
	for s, want := range map[string]time.Duration{"30d": 720 * time.Hour, "4w": 672 * time.Hour, "12h": 12 * time.Hour} {
		if got, err := Age(s); got != want || err != nil {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "d", "-3d", "-1h", "1.5d", "99999999999d", "30", "month"} {
		if got, err := Age(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

func TestRanges(t *testing.T) {
	for s, want := range map[string]string{"0": "[0]", "0,3-5": "[0 3 4 5]", " 5 ,5,4-4": "[4 5]"} {
		got, err := Ranges(s, "letters", 6)
		if text := fmt.Sprint(slices.Sorted(maps.Keys(got))); text != want || err != nil {
			t.Errorf("%q is %s, %v", s, text, err)
		}
	}
	for _, s := range []string{"", "6", "-1", "3-2", "1-6", "a", "1,,2", "1-2-3"} {
		if got, err := Ranges(s, "letters", 6); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		} else if !strings.Contains(err.Error(), "of letters, which go from 0 to 5") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// The forms of what commands print have the same names everywhere, and keep those that they had.
func TestOutput(t *testing.T) {
	var form string
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	Output(flags, &form, "", "text", "json", "csv")
	for given, want := range map[string]string{"text": "text", "table": "text", "json": "json", "jsonl": "json",
		"csv": "csv"} {
		if err := flags.Parse([]string{"-o", given}); err != nil || form != want {
			t.Errorf("-o %s is %q, %v", given, form, err)
		}
	}
	if err := flags.Parse([]string{"-o", "html"}); err == nil || !strings.Contains(err.Error(), "text, json or csv") {
		t.Errorf("-o html: %v", err)
	}
}
