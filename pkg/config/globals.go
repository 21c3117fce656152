package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// GlobalOption is an option of fanfold as a whole: it may be a flag, an environment
// variable FANFOLD_NAME, or a key of the file, and the first of these wins.
type GlobalOption struct {
	Name    string
	Usage   string // one line
	Default string
	check   func(value string) error
}

// Check says what a value has to be when it is not that. No value at all is none.
func (g GlobalOption) Check(value string) error {
	if value == "" || g.check == nil {
		return nil
	}
	return g.check(value)
}

// GlobalOptions are all of them, in the order of the documentation.
func GlobalOptions() []GlobalOption {
	return []GlobalOption{
		{Name: "state-dir", Usage: "where runs are kept (default $XDG_STATE_HOME/fanfold)"},
		{Name: "log-level", Usage: "debug, info, warn or error", Default: "warn", check: words("debug", "info", "warn",
			"error")},
		{Name: "log-format", Usage: "text or json", Default: "text", check: words("text", "json")},
		{Name: "progress", Usage: "auto, always or never", Default: "auto", check: words("auto", "always", "never")},
		{
			Name: "memory", check: size,
			Usage: "memory for blocks and deliveries (default 256MiB, and 8MiB for each destination beyond 16)",
		},
	}
}

// globalOption returns the one with a name.
func globalOption(name string) (GlobalOption, bool) {
	all := GlobalOptions()
	if i := slices.IndexFunc(all, func(g GlobalOption) bool { return g.Name == name }); i >= 0 {
		return all[i], true
	}
	return GlobalOption{}, false
}

func globalNames() []string {
	var names []string
	for _, g := range GlobalOptions() {
		names = append(names, g.Name)
	}
	return names
}

func words(list ...string) func(string) error {
	return func(s string) error {
		if _, want := oneOf(list...)(s); want != "" {
			return fmt.Errorf("has to be %s, not %q", want, s)
		}
		return nil
	}
}

func size(s string) error {
	_, err := Bytes(s)
	return err
}

// largestSize is more than any machine has, and far from what an int64 cannot hold.
const largestSize = 1 << 50

// Bytes reads a size such as 256MiB. Its error begins with "has to be".
func Bytes(s string) (int64, error) {
	units := []struct {
		suffix string
		n      float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B",
		1}, {"", 1}}
	for _, u := range units {
		num, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if errors.Is(err, strconv.ErrRange) || err == nil && f*u.n > largestSize {
			return 0, fmt.Errorf("has to be a size that a machine can have, not %q", s)
		}
		if err == nil && f*u.n >= 1 {
			return int64(f * u.n), nil
		}
	}
	return 0, fmt.Errorf("has to be a size like 256MiB, not %q", s)
}

// Share reads a percentage below 100 such as 30%, as a number below 1. Its error
// begins with "has to be".
func Share(s string) (float64, error) {
	num, ok := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(num, 64)
	if !ok || err != nil || math.IsNaN(f) || f < 0 || f >= 100 {
		return 0, fmt.Errorf("has to be a percentage below 100%%, like 30%%, not %q", s)
	}
	return f / 100, nil
}
