package replay

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
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
	used := p.used()
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
			if d := m.Compare(&pair.was, &pair.now); !d.Hard {
				more = match.MergeRules(more, d.Rules)
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
	left := map[match.Key]int{}
	for _, n := range free {
		q := match.Recorded(p.entries[n].i)
		left[m.Key(&q)]++
		if side := filepath.Base(cassette.MetaPath(p.entries[n].cassette.Path)); !slices.Contains(out.Sidecars, side) {
			out.Sidecars = append(out.Sidecars, side)
		}
	}
	for i := range missed {
		if k := m.Key(&missed[i]); left[k] > 0 {
			left[k]--
			out.Matched++
		}
	}
	return out, nil
}

// distinct drops repeated requests. Clients send a request again when they get no
// answer, and a rule for one is a rule for all.
func distinct(m *match.Matcher, list []match.Request) (out []match.Request) {
	seen := map[match.Key]bool{}
	for i := range list {
		if k := m.Key(&list[i]); !seen[k] {
			seen[k] = true
			out = append(out, list[i])
		}
	}
	return out
}

// matchingWith returns the replayer's matching with additional rules.
func (p *Replayer) matchingWith(rules []string) (*match.Matcher, error) {
	o := p.rules
	o.Ignore = slices.Concat(o.Ignore, rules)
	return match.New(o)
}

type pair struct{ was, now match.Request }

// pairUp pairs each missed request with the unused interaction that differs least from
// it. No interaction is used twice.
func (p *Replayer) pairUp(m *match.Matcher, missed []match.Request, free []int) (out []pair) {
	taken := map[int]bool{}
	for i := range missed {
		q := &missed[i]
		head := m.Resource(q.URL)
		best, least := -1, 0
		for n, at := range free {
			e := &p.entries[at]
			if taken[n] || e.i.Request.Method != q.Method {
				continue
			}
			if h := m.Resource(e.url); hostOf(h) != hostOf(head) || strings.Count(h, "/") != strings.Count(head, "/") {
				continue
			}
			was := match.Recorded(e.i)
			d := m.Compare(&was, q)
			cost := len(d.Differences)
			if d.Hard {
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
			out = append(out, pair{match.Recorded(p.entries[free[best]].i), *q})
		}
	}
	return out
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
