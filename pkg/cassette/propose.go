package cassette

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Proposal is a list of rules with which missed requests would match.
type Proposal struct {
	Ignore  []string // rules
	Missed  int      // missed requests, equal ones counted once
	Matched int      // how many of them match with the rules, each with an interaction of its own
	// Sidecars are the files to which the rules should be added.
	Sidecars []string
}

// maxRounds limits how often the search for rules is repeated with those already found.
// A rule can reveal the next difference.
const maxRounds = 4

// Propose looks for rules with which the missed requests match the unused interactions.
// If possible, a rule keeps the shape of the differing values. The rules are a guess: a
// request may differ because the program itself changed.
func (p *Replayer) Propose() (Proposal, error) {
	p.mu.Lock()
	missed := distinct(p.match, p.missed)
	used := make([]bool, len(p.entries))
	for _, s := range p.sessions {
		for n := range s.used {
			used[n] = used[n] || s.used[n]
		}
	}
	p.mu.Unlock()
	out := Proposal{Missed: len(missed)}
	var free []int
	for n := range p.entries {
		if !used[n] {
			free = append(free, n)
		}
	}
	var rules []string
	for range maxRounds {
		m, err := p.matchingWith(rules)
		if err != nil {
			return out, err
		}
		more := rules
		for _, pair := range p.pairUp(m, missed, free) {
			if d := m.compare(&pair.was, &pair.now); !d.hard {
				more = mergeRules(more, d.rules)
			}
		}
		if slices.Equal(more, rules) {
			break
		}
		rules = more
	}
	m, err := p.matchingWith(rules)
	if err != nil {
		return out, err
	}
	out.Ignore = rules
	left := map[key]int{}
	for _, n := range free {
		q := recorded(p.entries[n].i)
		left[m.canon(&q, false).key]++
		if side := filepath.Base(metaPath(p.entries[n].cassette.Path)); !slices.Contains(out.Sidecars, side) {
			out.Sidecars = append(out.Sidecars, side)
		}
	}
	for i := range missed {
		if k := m.canon(&missed[i], false).key; left[k] > 0 {
			left[k]--
			out.Matched++
		}
	}
	return out, nil
}

// distinct drops repeated requests. Clients send a request again when they get no
// answer, and a rule for one is a rule for all.
func distinct(m *Matching, list []Request) (out []Request) {
	seen := map[key]bool{}
	for i := range list {
		if k := m.canon(&list[i], false).key; !seen[k] {
			seen[k] = true
			out = append(out, list[i])
		}
	}
	return out
}

// matchingWith returns the replayer's matching with additional rules.
func (p *Replayer) matchingWith(rules []string) (*Matching, error) {
	m, err := NewMatching(slices.Concat(p.rules, rules), !p.match.credentials)
	if err != nil {
		return nil, err
	}
	m.anonymous, m.fields = p.match.anonymous, p.match.fields
	return m, nil
}

type pair struct{ was, now Request }

// pairUp pairs each missed request with the unused interaction that differs least from
// it. No interaction is used twice.
func (p *Replayer) pairUp(m *Matching, missed []Request, free []int) (out []pair) {
	taken := map[int]bool{}
	for i := range missed {
		q := &missed[i]
		head, _ := m.splitURL(q.URL)
		best, least := -1, 0
		for n, at := range free {
			e := &p.entries[at]
			if taken[n] || e.i.Request.Method != q.Method {
				continue
			}
			if h, _ := m.splitURL(e.url); hostOf(h) != hostOf(head) || strings.Count(h, "/") != strings.Count(head, "/") {
				continue
			}
			was := recorded(e.i)
			d := m.compare(&was, q)
			cost := len(d.list)
			if d.hard {
				cost += 1000
			}
			if best < 0 || cost < least {
				best, least = n, cost
			}
			if cost == 0 {
				break
			}
		}
		if best >= 0 {
			taken[best] = true
			out = append(out, pair{recorded(p.entries[free[best]].i), *q})
		}
	}
	return out
}

// mergeRules adds rules to a list. Two rules for the same place with different shapes
// become one rule without a shape.
func mergeRules(list, more []string) []string {
	list = slices.Clone(list)
	place := func(r string) string {
		if at := outside(r, "=~"); at >= 0 && r[at] == '=' {
			return r[:at]
		}
		if i := strings.LastIndexByte(r, '='); strings.HasPrefix(r, "path~") && i >= 0 {
			return r[:i]
		}
		return r
	}
	for _, r := range more {
		i := slices.IndexFunc(list, func(l string) bool { return l == r || place(l) == place(r) })
		switch {
		case i < 0:
			list = append(list, r)
		case list[i] != r:
			list[i] = place(r)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// YAML returns the proposal as a part of a sidecar.
func (p Proposal) YAML() ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b,
		"# With these rules, %d of %d requests that were not in the cassettes are. "+
			"A guess: a\n# request may differ because the program does. They belong in the sidecar", p.Matched, p.Missed)
	if len(p.Sidecars) > 0 && len(p.Sidecars) <= 4 {
		fmt.Fprintf(&b, " (%s)", strings.Join(p.Sidecars, ", "))
	}
	b.WriteString(",\n# or on the command line, each behind --ignore.\n")
	data, err := yaml.Marshal(map[string][]string{"ignore": p.Ignore})
	if err != nil {
		return nil, err
	}
	return append([]byte(b.String()), data...), nil
}
