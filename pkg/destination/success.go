package destination

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// Success declares an answer by which a partner says that it has taken a request,
// as its documentation describes it. An answer that none of a list of them
// describes is no delivery, whatever its status: it may come from a proxy, a login
// page, or a partner in trouble.
//
// Without Text, Members and Any the body has to be empty.
type Success struct {
	Docs    string   // the partner's URL that describes the answer
	Status  []int    // the statuses; none: 200
	Text    string   // the body is this text, blanks around it aside
	Members []Member // the body is a JSON object with these members, at least
	Any     bool     // the body may be anything, and a Status of none means every 2xx
}

// Member is what is asked of one member of a JSON answer.
type Member struct {
	Path     string     // dotted
	Kind     event.Kind // of its value; Missing: any but null
	Is       []any      // the bools, ints and texts of which it is one, nil for null; none: anything but null
	Counts   bool       // how many deliveries were taken: a number, or with Kind Array its elements
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

// Counts asks for a number that is all that was sent and not refused one by one.
func Counts(path string) Member { return Member{Path: path, Kind: event.Number, Counts: true} }

// Lists asks for an array with an element for all that was sent and not refused
// one by one.
func Lists(path string) Member { return Member{Path: path, Kind: event.Array, Counts: true} }

// IfThere is the Member, asked for only where it stands in the answer.
func (m Member) IfThere() Member {
	m.Optional = true
	return m
}

// Some asks for a number above zero: a count of something else than deliveries,
// such as the users they are about.
func Some(path string) Member { return Member{Path: path, Kind: event.Number, Some: true} }

// JSON is a Success with the status 200 and a JSON object.
func JSON(docs string, members ...Member) Success { return Success{Docs: docs, Members: members} }

// Words is a Success with the status 200 and a body of plain text.
func Words(docs, text string) Success { return Success{Docs: docs, Text: text} }

// NoBody is a Success with one of these statuses and no body.
func NoBody(docs string, status ...int) Success { return Success{Docs: docs, Status: status} }

// With is the Success with these statuses instead.
func (s Success) With(status ...int) Success {
	s.Status = status
	return s
}

// String says what is asked for, for the documentation of a partner.
func (m Member) String() string {
	s := m.Path
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

func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case nil:
		return "null"
	}
	return fmt.Sprint(v)
}

// String says what the answer looks like, for the documentation of a partner.
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
	switch {
	case s.Any:
		return status
	case len(s.Members) > 0:
		words := make([]string, len(s.Members))
		for i, m := range s.Members {
			words[i] = m.String()
		}
		return status + " with JSON: " + strings.Join(words, "; ")
	case s.Text != "":
		return status + " with the body " + s.Text
	}
	return status + " with no body"
}

// Confirm takes back what a reading of an answer called Delivered, when no
// success describes the answer: that is tried again, and a dead letter in the end.
// Every result that a destination makes of an answer goes through it; an action's
// own Send calls it.
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

// lacks says how an answer differs; "": it does not. near says that the status is
// right, so that the difference is worth telling.
func (s *Success) lacks(a *Answer, taken, sent int) (why string, near bool) {
	ok := slices.Contains(s.Status, a.Status)
	if len(s.Status) == 0 {
		ok = a.Status == 200 || s.Any && a.OK()
	}
	if !ok {
		return "the status is " + itoa(a.Status), false
	}
	body := bytes.TrimSpace(a.Body)
	switch {
	case s.Any:
		return "", true
	case s.Text != "":
		if string(body) != s.Text {
			return "the body is not " + s.Text, true
		}
		return "", true
	case len(s.Members) == 0:
		if len(body) > 0 {
			return "there is a body", true
		}
		return "", true
	case len(body) == 0:
		return "there is no body", true
	case a.JSON.Kind() != event.Object:
		return "the body is no JSON object", true
	}
	for _, m := range s.Members {
		if why := m.lacks(a.JSON, taken, sent); why != "" {
			return why, true
		}
	}
	return "", true
}

func (m *Member) lacks(v event.Value, taken, sent int) string {
	for name := range strings.SplitSeq(m.Path, ".") {
		v = v.Get(name)
	}
	if v.Nullish() && m.Optional {
		return ""
	}
	switch {
	case v.Nullish() && !slices.Contains(m.Is, nil):
		return m.Path + " is missing"
	case m.Kind != event.Missing && v.Kind() != m.Kind:
		return fmt.Sprintf("%s is no %s", m.Path, m.Kind)
	case m.Counts:
		n, ok := v.Int()
		if v.Kind() == event.Array {
			n, ok = int64(v.Len()), true
		}
		if !ok {
			return m.Path + " is no count"
		}
		if n < int64(taken) || n > int64(sent) {
			return fmt.Sprintf("%s says %d of %d", m.Path, n, sent)
		}
	case m.Some:
		if n, ok := v.Int(); !ok || n <= 0 {
			return m.Path + " is not above zero"
		}
	case len(m.Is) > 0 && !slices.ContainsFunc(m.Is, func(want any) bool { return is(v, want) }):
		return m.Path + " is another"
	}
	return ""
}

// is says that a value is this bool, int or text, or null.
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
