package source

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Layout says where the paths of an archive contain the time.
//
// A pattern is one or more folders, in which {Y}, {M}, {D} and {H} stand for year, month, day and hour (one digit
// or two), {date} for 2026-01-31, {mdy} for 01-31-2026, {ymd} for 20260131, {epoch} for Unix seconds or
// milliseconds of the day, and * for anything within the folder's name. The pattern may match anywhere in a path.
type Layout struct {
	Name     string
	Patterns []string // the most precise first
}

// layout is one compiled pattern.
type layout struct {
	name   string
	parts  []*regexp.Regexp
	tokens [][]string // the placeholders of each part
	depth  int        // where in the path it begins; -1: not always at the same depth
}

var layoutToken = regexp.MustCompile(`\{[A-Za-z]+\}|\*`)

var layoutTokens = map[string]string{
	"{Y}": `(\d{4})`, "{M}": `(\d{1,2})`, "{D}": `(\d{1,2})`, "{H}": `(\d{1,2})`,
	"{date}": `(\d{4}-\d{2}-\d{2})`,
	"{mdy}":  `(\d{2}-\d{2}-\d{4})`, "{ymd}": `(\d{8})`, "{epoch}": `(\d{13}|\d{10})`, "*": `.*?`,
}

func parseLayout(pattern string) (*layout, error) {
	l := &layout{name: pattern, depth: -1}
	dated := false
	for part := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		expr, tokens, at := "^", []string(nil), 0
		for _, m := range layoutToken.FindAllStringIndex(part, -1) {
			expr += regexp.QuoteMeta(part[at:m[0]])
			at = m[1]
			token := part[m[0]:m[1]]
			re, ok := layoutTokens[token]
			if !ok {
				return nil, fmt.Errorf("the layout %q has an unknown %s: there are {Y} {M} {D} {H} {date} {mdy} "+
					"{ymd} {epoch} and *", pattern, token)
			}
			expr += re
			if token != "*" {
				tokens = append(tokens, token)
			}
			dated = dated || token == "{Y}" || len(token) > 3
		}
		expr += regexp.QuoteMeta(part[at:]) + "$"
		l.parts = append(l.parts, regexp.MustCompile(expr))
		l.tokens = append(l.tokens, tokens)
	}
	if !dated {
		return nil, fmt.Errorf("the layout %q says nowhere which day it is: it needs {Y}, {date}, {mdy}, {ymd} "+
			"or {epoch}", pattern)
	}
	return l, nil
}

// span is the time range that a path stands for.
type span struct{ from, to time.Time }

// overlaps says whether an object with this span may contain events of the requested time. A file may have been
// opened in the unit of time before, and may have been written as late as Lateness allows.
func (s span) overlaps(o Options) bool {
	unit := s.to.Sub(s.from)
	return (o.Since.IsZero() || s.to.Add(unit).After(o.Since)) &&
		(o.Until.IsZero() || s.from.Before(o.Until.Add(o.Lateness)))
}

// span reads the time range from a path.
func (l *layout) span(path string) (span, bool) {
	if l == nil {
		return span{}, false
	}
	at, sp := l.find(strings.Split(path, "/"))
	return sp, at >= 0
}

// find returns where in a path the pattern begins, or -1.
func (l *layout) find(parts []string) (int, span) {
	for i := 0; i+len(l.parts) <= len(parts); i++ {
		if sp, all, ok := l.match(parts[i:]); ok && all {
			return i, sp
		}
	}
	return -1, span{}
}

// match compares folders with the beginning of the pattern. all says whether the whole pattern matched. The span
// is as precise as the part that matched, and zero if that part has no year.
func (l *layout) match(parts []string) (sp span, all, ok bool) {
	y, m, d, h := 0, 0, 0, -1
	var epoch time.Time
	for i, re := range l.parts {
		if i >= len(parts) {
			break
		}
		found := re.FindStringSubmatch(parts[i])
		if found == nil {
			return span{}, false, false
		}
		for k, token := range l.tokens[i] {
			text := found[k+1]
			n, err := strconv.ParseInt(strings.ReplaceAll(text, "-", ""), 10, 64)
			if err != nil {
				return span{}, false, false
			}
			switch token {
			case "{Y}":
				y = int(n)
			case "{M}":
				m = int(n)
			case "{D}":
				d = int(n)
			case "{H}":
				h = int(n)
			case "{date}", "{ymd}":
				y, m, d = int(n/10000), int(n/100%100), int(n%100)
			case "{mdy}":
				y, m, d = int(n%10000), int(n/1000000), int(n/10000%100)
			case "{epoch}":
				if len(text) == 13 {
					epoch = time.UnixMilli(n).UTC()
				} else {
					epoch = time.Unix(n, 0).UTC()
				}
			}
		}
	}
	all = len(parts) >= len(l.parts)
	if !epoch.IsZero() {
		y, m, d = epoch.Year(), int(epoch.Month()), epoch.Day()
	}
	switch {
	case y == 0:
		return span{}, all, true
	case y < 1990 || y > 2200 || m > 12 || d > 31 || h > 24:
		return span{}, false, false
	case m == 0:
		from := time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC)
		return span{from, from.AddDate(1, 0, 0)}, all, true
	case d == 0:
		from := time.Date(y, time.Month(m), 1, 0, 0, 0, 0, time.UTC)
		return span{from, from.AddDate(0, 1, 0)}, all, true
	}
	from := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	if from.Day() != d {
		return span{}, false, false
	}
	if h < 0 {
		return span{from, from.AddDate(0, 0, 1)}, all, true
	}
	from = from.Add(time.Duration(h) * time.Hour)
	return span{from, from.Add(time.Hour)}, all, true
}

// folder reads the time range of a folder, which may match only the first parts of the pattern. ok is false if it
// has no time yet, or if the pattern is not at the same depth in all paths.
func (l *layout) folder(path string) (span, bool) {
	if l == nil || l.depth < 0 {
		return span{}, false
	}
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	if len(parts) <= l.depth {
		return span{}, false
	}
	sp, _, ok := l.match(parts[l.depth:])
	return sp, ok && !sp.from.IsZero()
}

// chooseLayout returns the pattern of the paths: the one that the user gave, by name or as a pattern, or else the
// first known one that nearly every path matches.
func (o *Options) chooseLayout(paths []string) (*layout, error) {
	candidates := o.Layouts
	explicit := o.Layout != "" && o.Layout != formatAuto
	if explicit {
		i := slices.IndexFunc(candidates, func(l Layout) bool { return l.Name == o.Layout })
		if i >= 0 {
			candidates = candidates[i : i+1]
		} else if strings.Contains(o.Layout, "{") {
			candidates = []Layout{{Name: o.Layout, Patterns: []string{o.Layout}}}
		} else {
			var names []string
			for _, l := range candidates {
				names = append(names, l.Name)
			}
			return nil, inputf("unknown layout %q: there are %s, or a pattern such as {Y}/{M}/{D}/{H}",
				o.Layout, strings.Join(names, ", "))
		}
	}
	for _, c := range candidates {
		for _, pattern := range c.Patterns {
			l, err := parseLayout(pattern)
			if err != nil {
				return nil, &InputError{Err: err}
			}
			l.name = c.Name
			if c.Name != pattern {
				l.name += " (" + pattern + ")"
			}
			n, depth := 0, -1
			for _, p := range paths {
				at, _ := l.find(strings.Split(p, "/"))
				if at < 0 {
					continue
				}
				if n == 0 {
					depth = at
				} else if depth != at {
					depth = -1
				}
				n++
			}
			if n > 0 && (explicit || n*10 >= len(paths)*9) {
				l.depth = depth
				return l, nil
			}
		}
	}
	return nil, nil
}
