package api

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
)

// answers reads what answers mean.
func (a *action) answers(d *destination.Declared) {
	success := a.success()
	if n := a.m["results"]; n != nil {
		list, others := a.results(d, n)
		success = named(success, list)
		if others {
			// An answer that names some has taken the others, whatever it calls itself.
			success = append(success, destination.Success{Docs: a.r.docs, Status: []int{400, 422}, Any: true})
		}
	}
	d.Success(append(success, a.r.taken...)...)
	var rules []destination.StatusRule
	for _, key := range []string{"retry_on", "reject_on"} {
		if n := a.m[key]; n != nil {
			for _, text := range a.r.texts(n, key) {
				rules = append(rules, a.rule(n, key, text)...)
			}
		}
	}
	if len(rules) == 0 {
		return
	}
	// One status says more than a class of them.
	slices.SortStableFunc(rules, func(x, y destination.StatusRule) int { return (x.To - x.From) - (y.To - y.From) })
	d.Statuses(rules...)
}

// meant are statuses with a meaning of their own, which only their own number changes: who
// asks is not known, or asks too early.
func meant() []int { return []int{401, 403, 407, 408, 425, 429} }

// rule reads a status, or a class of them, which leaves out those that are meant.
func (a *action) rule(n *yaml.Node, key, text string) (rules []destination.StatusRule) {
	outcome := destination.Retry
	if key == "reject_on" {
		outcome = destination.Rejected
	}
	if status, err := strconv.Atoi(text); err == nil && status >= 300 && status <= 599 {
		return []destination.StatusRule{{From: status, To: status, Outcome: outcome}}
	}
	if len(text) != 3 || text[1:] != "xx" || text[0] < '3' || text[0] > '5' {
		a.add(n, "%s: %q is no status from 300 to 599, and no class such as 4xx or 5xx", key, cut(text))
		return nil
	}
	from := int(text[0]-'0') * 100
	for _, status := range append(meant(), from+100) {
		if status < from || status > from+100 {
			continue
		}
		rules = append(rules, destination.StatusRule{From: from, To: status - 1, Outcome: outcome})
		from = status + 1
	}
	return rules
}

// success reads by which answers the API says that it has taken a request.
func (a *action) success() []destination.Success {
	n := a.m["success"]
	if n == nil {
		return []destination.Success{{Docs: a.r.docs, Any: true}}
	}
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	var out []destination.Success
	var plain []int
	for _, one := range list {
		if one.Kind == yaml.MappingNode {
			out = append(out, a.described(one))
			continue
		}
		if one.Value == "2xx" {
			out = append(out, destination.Success{Docs: a.r.docs, Any: true})
		} else if status, ok := a.status(one); ok {
			plain = append(plain, status)
		}
	}
	if len(plain) > 0 {
		out = append(out, destination.Success{Docs: a.r.docs, Status: plain, Any: true})
	}
	if len(out) == 0 {
		a.add(n, "success lists nothing: a status such as 202, 2xx, or {status: 200, json: {ok: true}}")
	}
	return out
}

func (a *action) status(n *yaml.Node) (status int, ok bool) {
	status, err := strconv.Atoi(n.Value)
	if err != nil || status < 200 || status > 299 {
		a.add(n, "success: %q is no status from 200 to 299", cut(n.Value))
		return 0, false
	}
	return status, true
}

// described reads an answer that is known by its body.
func (a *action) described(n *yaml.Node) destination.Success {
	s := destination.Success{Docs: a.r.docs}
	none := false
	a.r.table(n, a.what+": success", []string{"status", "text", "contains", "matches", "json", "has", "counts"},
		func(key string, _, v *yaml.Node) {
			switch key {
			case "status":
				if v.Value == "2xx" {
					s.Any = true
				} else if status, ok := a.status(v); ok {
					s.Status = []int{status}
				}
			case "text":
				s.Text = strings.TrimSpace(a.r.text(v, key))
				none = s.Text == ""
			case "contains":
				s.Contains = a.r.texts(v, key)
				if slices.Contains(s.Contains, "") {
					a.add(v, "success: contains is empty, which every answer contains; text: \"\" is one without a body")
				}
			case "matches":
				var err error
				if s.Matches, err = regexp.Compile(a.r.text(v, key)); err != nil {
					a.add(v, "success: matches has to be a regular expression, like <code>\\s*0\\s*</code>: %v", err)
				} else if !s.Matches.MatchString(matching(s.Matches)) {
					a.add(v, "success: matches: no answer could match %q", cut(v.Value))
				}
			case "json":
				a.r.table(v, "json", nil, func(path string, k, v *yaml.Node) {
					s.Members = append(s.Members, destination.Is(a.pathIn(k, "json", path), a.values(v, path)...))
				})
			case "has":
				for _, path := range a.r.texts(v, key) {
					s.Members = append(s.Members, destination.Member{Path: a.pathIn(v, key, path)})
				}
			case "counts":
				s.Members = append(s.Members, destination.Member{Path: a.pathIn(v, key, a.r.text(v, key)), Counts: true})
			}
		})
	plain := s.Text == "" && len(s.Contains) == 0 && s.Matches == nil && len(s.Members) == 0
	switch {
	case plain && none && s.Any:
		s.Any, s.Status = false, every(nil)
	case plain:
		s.Any = !none
	case none:
		a.add(n, "success: text: \"\" is an answer without a body, of which nothing else can be said")
	}
	return s
}

// values are those that a member of an answer may have: one, or a list.
func (a *action) values(n *yaml.Node, path string) (list []any) {
	if n.Kind == yaml.SequenceNode && len(n.Content) > 0 {
		for _, e := range n.Content {
			list = append(list, a.values(e, path)...)
		}
		return list
	}
	var is any
	if err := n.Decode(&is); err != nil {
		a.add(n, "success: %v", err)
	}
	switch is.(type) {
	case bool, int, string:
		return []any{is}
	}
	a.add(n, "success: %s has to be a text, a whole number, or true or false, or a list of them", path)
	return nil
}

// pathIn is a path in an answer with dots: errors.0.code, which may also be written $.errors[0].code or /errors/0/code.
// $ is the answer itself, "" here.
func (a *action) pathIn(n *yaml.Node, what, path string) string {
	keys, ok := keysOf(path)
	if !ok {
		a.add(n, "%s: %q is no path of an answer: it is like errors or data.errors, an element of a list like "+
			"results.0.code, "+
			"and the answer itself is $", what, cut(path))
	}
	return strings.Join(keys, ".")
}

// keysOf are the keys of a path in an answer; none: it is the answer itself.
func keysOf(path string) (keys []string, ok bool) {
	if path == "$" {
		return nil, true
	}
	if rest, is := strings.CutPrefix(path, "/"); is {
		keys = strings.Split(rest, "/")
		for i, key := range keys {
			keys[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		}
	} else {
		path = strings.TrimPrefix(strings.TrimPrefix(path, "$."), "$")
		keys = strings.Split(strings.TrimPrefix(elements.ReplaceAllString(path, ".$1"), "."), ".")
	}
	for _, key := range keys {
		if key == "" || strings.ContainsAny(key, ".[]* ") {
			return keys, false // dots are what separates keys
		}
	}
	return keys, true
}

// elements are the elements of lists in a path.
var elements = regexp.MustCompile(`\[([0-9]+)\]`)

// named is what successes are when answers list at a path what was refused: one of which nothing
// but its status is known
// has to be readable, or it would be a delivery although nobody knows what it says. It is JSON in which a list stands
// there, or nothing, or it has no body: many APIs name errors only when there are some.
func named(list []destination.Success, at *destination.Member) (out []destination.Success) {
	if at == nil {
		return list
	}
	for _, s := range list {
		if !s.Any || s.Text != "" || len(s.Contains) > 0 || s.Matches != nil || len(s.Members) > 0 {
			out = append(out, s)
			continue
		}
		s.Members = []destination.Member{*at}
		out = append(out, s, destination.NoBody(s.Docs, every(s.Status)...))
	}
	return out
}

// every is a list of statuses, of which none stands for all that say that a request was taken.
func every(status []int) []int {
	if len(status) > 0 {
		return status
	}
	return []int{200, 201, 202, 203, 204, 205, 206, 207, 208}
}

// ways are the ways in which an answer names events, and what each has to be told.
func ways() map[string]string {
	return map[string]string{"index": "index", "id": "id", "pointer": "pointer", "position": "status"}
}

// results reads how an answer names single events. list is what every success has to have, of which nothing else is
// said; nil: nothing. othersTaken says that the events which an answer does not name are taken, whatever its status.
func (a *action) results(d *destination.Declared, n *yaml.Node) (list *destination.Member, othersTaken bool) {
	m, at := map[string]string{}, map[string]*yaml.Node{}
	var accepted, passing []string
	word := ""
	a.r.table(n, a.what+": results",
		[]string{"by", "list", "index", "id", "pointer", "status", "message", "item", "taken", "others", "again"},
		func(key string, _, v *yaml.Node) {
			switch at[key] = v; key {
			case "by", "others":
				m[key] = a.r.text(v, key)
			case "taken":
				accepted = a.r.texts(v, key)
			case "again":
				a.r.table(v, a.what+": results: again", nil, func(path string, k, v *yaml.Node) {
					if passing != nil {
						a.add(k, "results: again is one path in an error, and the words there of errors that pass with time")
					}
					word, passing = a.pathIn(k, "results: again", path), a.r.texts(v, "results: again")
				})
			case "message":
				for path := range strings.FieldsSeq(a.r.text(v, key)) {
					m[key] = strings.TrimSpace(m[key] + " " + a.pathIn(v, "results: "+key, path))
				}
			default:
				m[key] = a.pathIn(v, "results: "+key, a.r.text(v, key))
			}
		})
	by := m["by"]
	name, ok := ways()[by]
	switch {
	case !ok:
		a.add(n, "results: by has to be index, id, pointer or position: how an error says which event it is about")
		return nil, false
	case at["list"] == nil || at[name] == nil:
		a.add(n, "results: by %s needs list, the path of the errors in an answer ($: it is the list itself), and %s, the "+
			"path in each of them", by, name)
		return nil, false
	case a.m["batch"] == nil:
		a.add(n, "results: without batch a request holds one event, and the status says what became of it")
		return nil, false
	}
	for _, other := range []string{"index", "id", "pointer", "status", "item", "taken"} {
		if at[other] != nil && other != name && (other != "item" || by != "id") && (other != "taken" || by != "position") {
			a.add(n, "results: by %s does not read %s: take it out", by, other)
		}
	}
	var v destination.Verdicts
	switch by {
	case "index":
		v = destination.ByIndex(m["list"], m["index"], m["message"])
	case "id":
		v = destination.ByID(m["list"], m["id"], m["message"], m["item"])
	case "pointer":
		v = destination.ByPointer(m["list"], m["pointer"], m["message"])
	case "position":
		v = destination.ByPosition(m["list"], m["status"], m["message"]).Accepted(accepted...)
	}
	if by != "position" { // which doubts answers itself
		list = &destination.Member{Path: m["list"], Kind: event.Array, Optional: true}
	}
	v = v.Again(word, passing...)
	switch m["others"] {
	case "", "again":
	case "taken":
		v, othersTaken = v.OthersTaken(), true
	default:
		a.add(n, "results: others has to be taken or again: what is true of the events that an answer which is no success "+
			"does not name")
	}
	d.Verdicts(v)
	return list, othersTaken
}

// limits reads what the API documents.
func (r *reader) limits(n *yaml.Node) (l destination.Limits) {
	r.table(n, "limits", []string{"rate", "concurrency", "gzip", "window", "event_bytes"},
		func(key string, _, v *yaml.Node) {
			switch key {
			case "rate":
				for _, text := range r.texts(v, key) {
					rate, err := destination.ParseRate(text)
					if err != nil || rate == nil {
						r.add(v, "limits: rate has to be like %s, not %q", destination.RateForms, cut(text))
						continue
					}
					rate.Docs = r.docs
					l.Rates = append(l.Rates, *rate)
				}
			case "concurrency":
				l.Concurrency = r.cap("limits: concurrency", v)
			case "event_bytes":
				l.EventBytes = r.cap("limits: event_bytes", v)
			case "gzip":
				if l.Gzip = (destination.Cap{Docs: r.docs}); v.Value == "true" {
					l.Gzip.N = 1
				} else if v.Value != "false" {
					r.add(v, "limits: gzip has to be true or false, not %q", cut(v.Value))
				}
			case "window":
				l.Window = r.window(v)
			}
		})
	return l
}

// window reads how old and how new events may be.
func (r *reader) window(n *yaml.Node) destination.Window {
	w := destination.Window{Violation: "refuses", Docs: r.docs}
	r.table(n, "limits: window", []string{"past", "future"}, func(key string, _, v *yaml.Node) {
		d, err := time.ParseDuration(v.Value)
		if days, is := strings.CutSuffix(v.Value, "d"); is {
			var k int
			k, err = strconv.Atoi(days)
			d = time.Duration(min(max(k, 0), 36500)) * 24 * time.Hour
		}
		if err != nil || d <= 0 {
			r.add(v, "limits: window: %s has to be a duration such as 72h or 30d, not %q", key, cut(v.Value))
		}
		if key == "past" {
			w.Past = d
		} else {
			w.Future = d
		}
	})
	return w
}
