package destination

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// Success declares an answer by which a partner confirms that it has accepted a request, as its documentation
// describes it. An answer that matches none of them is no delivery, whatever its status: it may come from a proxy,
// a login page, or a partner in trouble.
//
// Without Text, Contains, Matches, Members and Any the body has to be empty. Of several of them, all have to hold.
type Success struct {
	Docs     string         // the partner's URL that describes the answer
	Status   []int          // the statuses; none: 200
	Text     string         // the body is this text, apart from blanks around it
	Contains []string       // all of these stand in the body: for XML and other text
	Matches  *regexp.Regexp // it is found in the body
	Members  []Member       // the body is JSON with these members, at least
	Any      bool           // the body may be anything that the others allow, and an empty Status means every 2xx
}

// Member is a condition on one member of a JSON answer.
type Member struct {
	Path     string     // dotted, a number being an element of a list; "" is the answer itself
	Kind     event.Kind // of its value; Missing: any but null
	Is       []any      // one of these bools, ints, texts, or nil for null; none: anything but null
	Counts   bool       // must be the number of accepted deliveries: a number, or an Array with so many elements
	Some     bool       // a number above zero
	Optional bool       // may be missing or null
}

// Is asks for a member with one of these values: bools, ints and texts.
func Is(path string, values ...any) Member { return Member{Path: path, Is: values} }

// Text asks for a member that is a text, whatever it says.
func Text(path string) Member { return Member{Path: path, Kind: event.String} }

// Number asks for a member that is a number.
func Number(path string) Member { return Member{Path: path, Kind: event.Number} }

// List asks for a member that is an array.
func List(path string) Member { return Member{Path: path, Kind: event.Array} }

// Counts requires a number that equals what was sent minus what was refused one by one.
func Counts(path string) Member { return Member{Path: path, Kind: event.Number, Counts: true} }

// Lists requires an array with one element for each delivery that was sent and not refused one by one.
func Lists(path string) Member { return Member{Path: path, Kind: event.Array, Counts: true} }

// IfThere makes the condition apply only when the member is in the answer.
func (m Member) IfThere() Member {
	m.Optional = true
	return m
}

// Some requires a number above zero: a count of something other than deliveries, such as the users they are about.
func Some(path string) Member { return Member{Path: path, Kind: event.Number, Some: true} }

// JSON is a Success with the status 200 and a JSON object.
func JSON(docs string, members ...Member) Success { return Success{Docs: docs, Members: members} }

// Words is a Success with the status 200 and a body of plain text.
func Words(docs, text string) Success { return Success{Docs: docs, Text: text} }

// NoBody is a Success with one of these statuses and no body.
func NoBody(docs string, status ...int) Success { return Success{Docs: docs, Status: status} }

// With returns the Success with these statuses instead.
func (s Success) With(status ...int) Success {
	s.Status = status
	return s
}

// String describes the condition, for the partner's documentation page.
func (m Member) String() string {
	s := m.name()
	switch {
	case m.Counts:
		s += " = number taken"
	case m.Some:
		s += " > 0"
	case len(m.Is) > 0:
		var words []string
		for _, v := range m.Is {
			words = append(words, literal(v))
		}
		s += " = " + strings.Join(words, " or ")
	}
	if m.Optional {
		s += ", if there"
	}
	return s
}

// name is the path as people write it.
func (m *Member) name() string {
	if m.Path == "" {
		return "$"
	}
	return m.Path
}

func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case nil:
		return "null"
	}
	return fmt.Sprint(v)
}

// String describes the answer, for the partner's documentation page.
func (s Success) String() string {
	status := "200"
	switch {
	case len(s.Status) > 0:
		words := make([]string, len(s.Status))
		for i, n := range s.Status {
			words[i] = itoa(n)
		}
		status = strings.Join(words, " or ")
	case s.Any:
		status = "2xx"
	}
	var all []string
	if s.Text != "" {
		all = append(all, "the body "+s.Text)
	}
	for _, text := range s.Contains {
		all = append(all, "a body that contains "+text)
	}
	if s.Matches != nil {
		all = append(all, "a body that matches "+s.Matches.String())
	}
	if len(s.Members) > 0 {
		words := make([]string, len(s.Members))
		for i, m := range s.Members {
			words[i] = m.String()
		}
		all = append(all, "JSON: "+strings.Join(words, "; "))
	}
	switch {
	case len(all) > 0:
		return status + " with " + strings.Join(all, " and ")
	case s.Any:
		return status
	}
	return status + " with no body"
}

// Confirm changes Delivered results to a retry when no success describes the answer; if that never changes, they
// end as dead letters. Every result that is read from an answer passes through it; an action's own Send has to
// call it.
func Confirm(successes []Success, a *Answer, rs []Result) []Result {
	taken := 0
	for i := range rs {
		if rs[i].Outcome == Delivered {
			taken++
		}
	}
	if taken == 0 {
		return rs
	}
	why := "the destination declares no success"
	for i := range successes {
		told, near := successes[i].lacks(a, taken, len(rs))
		if told == "" {
			return rs
		}
		if near || i == 0 {
			why = told
		}
	}
	detail := "the partner's documentation describes no such answer for a success (" + why + ")"
	if words := a.Words(); words != "" {
		detail += ": " + words
	}
	for i := range rs {
		if rs[i].Outcome == Delivered {
			rs[i] = Result{Outcome: Retry, Reason: Unexpected, Status: a.Status, Detail: detail}
		}
	}
	return rs
}

// lacks says how an answer differs from the success; "": it does not. near means that the status matches, so that
// the difference is worth reporting.
func (s *Success) lacks(a *Answer, taken, sent int) (why string, near bool) {
	ok := slices.Contains(s.Status, a.Status)
	if len(s.Status) == 0 {
		ok = a.Status == 200 || s.Any && a.OK()
	}
	if !ok {
		return "the status is " + itoa(a.Status), false
	}
	body := bytes.TrimSpace(a.Body)
	plain := s.Text == "" && len(s.Contains) == 0 && s.Matches == nil
	switch {
	case plain && len(s.Members) == 0:
		if !s.Any && len(body) > 0 {
			return "there is a body", true
		}
		return "", true
	case s.Text != "" && string(body) != s.Text:
		return "the body is not " + s.Text, true
	case s.Matches != nil && !s.Matches.Match(a.Body):
		return "the body does not match " + s.Matches.String(), true
	}
	for _, text := range s.Contains {
		if !bytes.Contains(a.Body, []byte(text)) {
			return "the body does not contain " + text, true
		}
	}
	switch {
	case len(s.Members) == 0:
		return "", true
	case len(body) == 0:
		return "there is no body", true
	case a.JSON.Kind() == event.Object, a.JSON.Kind() == event.Array && s.isList():
	default:
		return "the body is no JSON object", true
	}
	for _, m := range s.Members {
		if why := m.lacks(a.JSON, taken, sent); why != "" {
			return why, true
		}
	}
	return "", true
}

// isList says that the answer may be a list itself: a path asks for the answer, or for an element.
func (s *Success) isList() bool {
	return slices.ContainsFunc(s.Members, func(m Member) bool {
		first, _, _ := strings.Cut(m.Path, ".")
		_, err := strconv.ParseUint(first, 10, 31)
		return m.Path == "" || err == nil
	})
}

func (m *Member) lacks(v event.Value, taken, sent int) string {
	v = at(v, m.Path)
	if v.Nullish() && m.Optional {
		return ""
	}
	switch {
	case v.Nullish() && !slices.Contains(m.Is, nil):
		return m.name() + " is missing"
	case m.Kind != event.Missing && v.Kind() != m.Kind:
		return fmt.Sprintf("%s is no %s", m.name(), m.Kind)
	case m.Counts:
		n, ok := v.Int()
		if v.Kind() == event.Array {
			n, ok = int64(v.Len()), true
		}
		if !ok {
			return m.name() + " is no count"
		}
		if n < int64(taken) || n > int64(sent) {
			return fmt.Sprintf("%s says %d of %d", m.name(), n, sent)
		}
	case m.Some:
		if n, ok := v.Int(); !ok || n <= 0 {
			return m.name() + " is not above zero"
		}
	case len(m.Is) > 0 && !slices.ContainsFunc(m.Is, func(want any) bool { return is(v, want) }):
		return m.name() + " is another"
	}
	return ""
}

// is says whether a value equals this bool, int or text, or null.
func is(v event.Value, want any) bool {
	switch want := want.(type) {
	case string:
		return v.Kind() == event.String && v.IsText(want)
	case nil:
		return v.Kind() == event.Null
	case bool:
		return v.Kind() == event.Bool && v.Bool() == want
	case int:
		n, ok := v.Int()
		return ok && v.Kind() == event.Number && n == int64(want)
	}
	return false
}
