package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/shell"
	"github.com/fanfold/fanfold/pkg/verify"
)

// Ages writes a table of where cassettes come from, and how old they are.
func Ages(w io.Writer, list []verify.Age) error {
	t := &table{w: w, columns: []column{{"CASSETTE", false, 0}, {"INTERACTIONS", false, 2}, {"BYTES", false, 3},
		{"AGE", false, 0}, {"PROVENANCE", false, 1}}}
	for _, r := range list {
		age := "unknown"
		if r.AgeDays != nil {
			age = fmt.Sprintf("%d days", *r.AgeDays)
		}
		if r.Stale {
			age += ", stale"
		}
		from := r.Provenance
		if from == "" {
			from = "unknown"
		}
		if r.Interrupted {
			from += " (an interrupted recording lies beside it)"
		}
		t.row(r.Path, strconv.Itoa(r.Interactions), strconv.FormatInt(r.Bytes, 10), age, from)
	}
	return t.flush()
}

// Cassette shows what is in a cassette, with body also the bodies.
func Cassette(w io.Writer, k *cassette.Cassette, body bool) {
	fmt.Fprintf(w, "%s: %s, %s %s\n", k.Path, printable.Count(len(k.Interactions), "interaction"), k.Meta.Provenance,
		k.Meta.Date)
	for n, i := range k.Interactions {
		fmt.Fprintf(w, "%4d  %s %s  %d bytes -> %s, %d bytes, %s\n", n, i.Request.Method, i.Request.URL,
			len(i.Request.Body), i.Response.Status, len(i.Response.Body), i.Response.Duration.Round(time.Millisecond))
		if body {
			fmt.Fprintf(w, "      > %s\n      < %s\n", OneLine(i.Request.Body), OneLine(i.Response.Body))
		}
	}
	for _, d := range k.Meta.Details {
		fmt.Fprintf(w, "%4d  is %s\n", d.Interaction, d.String())
	}
	for _, f := range k.Meta.Failures {
		fmt.Fprintf(w, "   -  %s %s: no answer: %s\n", f.Method, f.URL, f.Error)
	}
	for _, f := range k.Meta.Unrecorded {
		fmt.Fprintf(w, "   -  %s\n", f)
	}
}

// Diff shows in which interactions two cassettes differ, and returns how many.
func Diff(w io.Writer, m *match.Matcher, before, after *cassette.Cassette) (found int) {
	old, now := before.Interactions, after.Interactions
	line := func(mark string, n int, i *cassette.Interaction) {
		found++
		fmt.Fprintf(w, "%s %d %s %s\n", mark, n, i.Request.Method, i.Request.URL)
	}
	for n := range max(len(old), len(now)) {
		switch {
		case n >= len(now):
			line("-", n, old[n])
		case n >= len(old):
			line("+", n, now[n])
		default:
			ds := m.CompareInteractions(old[n], now[n])
			if len(ds) > 0 {
				line("!", n, old[n])
			}
			for _, d := range ds {
				fmt.Fprintf(w, "    %s: %s -> %s\n", d.Path, d.Recorded, d.Sent)
			}
		}
	}
	return found
}

// Unused names interactions that a replay did not use, and the commands that take them
// out. size is how many interactions a cassette has, by its path.
func Unused(unused []replay.Seen, size func(path string) int) (lines []string) {
	sayf := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	byFile := map[string][]int{}
	for n, s := range unused {
		byFile[s.Cassette] = append(byFile[s.Cassette], s.Interaction)
		switch {
		case n < 20:
			sayf("not used: %s %s (%s, interaction %d)", s.Method, OneLine(s.URL),
				s.Cassette, s.Interaction)
		case n == 20:
			sayf("and %d more that were not used", len(unused)-n)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(byFile)) {
		numbers := byFile[path]
		if len(numbers) == size(path) {
			sayf("nothing in it is used; to delete it: rm %s %s",
				shell.Word(path), shell.Word(strings.TrimSuffix(path, ".yaml")+".meta.yaml"))
			continue
		}
		sayf("to delete what is not used: fanfold cassettes drop %s %s", shell.Word(path),
			ranges(numbers))
	}
	return lines
}

// ranges writes numbers as 0,3-5.
func ranges(list []int) string {
	list = slices.Clone(list)
	slices.Sort(list)
	var out []string
	for n := 0; n < len(list); n++ {
		first := list[n]
		for n+1 < len(list) && list[n+1] == list[n]+1 {
			n++
		}
		if list[n] == first {
			out = append(out, strconv.Itoa(first))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", first, list[n]))
		}
	}
	return strings.Join(out, ",")
}

// OneLine shows a body so that a terminal stays as it is.
func OneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return ' '
		}
		return r
	}, s)
	if len(s) > 2000 {
		return s[:2000] + "…"
	}
	return s
}
