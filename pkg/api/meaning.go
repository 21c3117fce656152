package api

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"

	"github.com/fanfold/fanfold/pkg/destination"
)

// meaning is what an answer can mean.
type meaning struct {
	outcome destination.Outcome
	reason  destination.Reason
}

// meanings are those that an answer can have, whatever its status, by the words of a description.
func meanings() map[string]meaning {
	return map[string]meaning{
		"delivered":    {destination.Delivered, ""},
		"refused":      {destination.Rejected, destination.Refused},
		"unauthorized": {destination.Retry, destination.Unauthorized},
		"rate_limited": {destination.Retry, destination.RateLimited},
		"unavailable":  {destination.Retry, destination.Unavailable},
		"conflict":     {destination.Retry, destination.Conflict},
	}
}

// Meanings are the words for what an answer can mean.
func Meanings() []string { return slices.Sorted(maps.Keys(meanings())) }

// longestWait is the longest time that a description may have an answer wait for: as long as a Retry-After is kept.
const longestWait = 24 * time.Hour

// answers reads the answers that mean something else than their status says.
func (r *reader) answers(n *yaml.Node) (list []destination.Saying) {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.add(n, "answers has to be a list, like [{status: 403, contains: quota, means: rate_limited, wait: 1m}]")
		return nil
	}
	for _, one := range n.Content {
		list = append(list, r.answer(one))
	}
	return list
}

// answer reads one of them.
func (r *reader) answer(n *yaml.Node) destination.Saying {
	s := destination.Saying{Docs: r.docs}
	means, wait := "", (*yaml.Node)(nil)
	at := func(n *yaml.Node, path string, ok bool) {
		if s.At != "" || !ok {
			r.add(n, "answers: what tells an answer from others is one path of its JSON, like error.code, one of its headers, "+
				"or what it contains")
		}
		s.At = path
	}
	keys := []string{"status", "contains", "json", "headers", "means", "wait"}
	r.table(n, "answers", keys, func(key string, _, v *yaml.Node) {
		switch key {
		case "status":
			for _, text := range r.texts(v, key) {
				s.Status = append(s.Status, r.statusOrClass(v, text))
			}
		case "contains":
			at(v, ".", true)
			for _, text := range r.texts(v, key) {
				if text == "" {
					r.add(v, "answers: contains is empty, which every answer contains")
				}
				s.Is = append(s.Is, "*"+text+"*")
			}
		case "json":
			r.table(v, "answers: json", nil, func(path string, k, v *yaml.Node) {
				keys, ok := keysOf(path)
				at(k, strings.Join(keys, "."), ok && len(keys) > 0)
				s.Is = append(s.Is, r.texts(v, "answers: json")...)
			})
		case "headers":
			r.table(v, "answers: headers", nil, func(name string, k, v *yaml.Node) {
				at(k, destination.InHeader+name, httpguts.ValidHeaderFieldName(name))
				s.Is = append(s.Is, r.texts(v, "answers: headers")...)
			})
		case "means":
			means = r.text(v, key)
		case "wait":
			d, err := time.ParseDuration(v.Value)
			if wait, s.After = v, d; err != nil || d <= 0 || d > longestWait {
				r.add(v, "answers: wait has to be a time of up to 24h, like 30s or 5m, not %q", cut(v.Value))
			}
		}
	})
	m, ok := meanings()[means]
	s.Then, s.Reason = m.outcome, m.reason
	switch again := m.outcome == destination.Retry && m.reason != destination.Unauthorized; {
	case !ok:
		r.add(n, "answers: means has to be one of %s, not %q", strings.Join(Meanings(), ", "), cut(means))
	case len(s.Status) == 0 && s.At == "":
		r.add(n, "answers: this means every answer: say which by status, contains, json or headers")
	case wait != nil && !again:
		r.add(wait, "answers: nobody waits for what is %s: take wait out", means)
	case m.outcome == destination.Delivered && (len(s.Status) == 0 || slices.Min(s.Status) < 100):
		r.add(n, "answers: delivered needs the statuses, such as status: 409: otherwise every proxy could say so")
	}
	return s
}

// statusOrClass reads a status, or a class of them: 4 for 4xx.
func (r *reader) statusOrClass(n *yaml.Node, text string) int {
	if len(text) == 3 && text[1:] == "xx" && text[0] >= '2' && text[0] <= '5' {
		return int(text[0] - '0')
	}
	status, err := strconv.Atoi(text)
	if err != nil || status < 200 || status > 599 {
		r.add(n, "answers: %q is no status from 200 to 599, and no class such as 4xx", cut(text))
	}
	return status
}

// taken are the successes that answers mean: those that an action names do not know their statuses.
func taken(sayings []destination.Saying) (list []destination.Success) {
	for _, s := range sayings {
		if s.Then == destination.Delivered {
			list = append(list, destination.Success{Docs: s.Docs, Status: s.Status, Any: true})
		}
	}
	return list
}
