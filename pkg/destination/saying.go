package destination

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Saying is a kind of answer that means something else than its status says, such as a 200 with a body that
// reports a failure.
type Saying struct {
	Docs   string // the partner's URL that describes it
	Status []int  // none: any; a number below 10 stands for a class: 2 for 2xx
	// At is the path in the JSON body of the word to compare, "." for the body as a text (its first 4 KiB), or
	// [InHeader] and the name of a header. Is lists the words: * at the end of one stands for anything, and *word*
	// matches anywhere, in any case; "" means that there is no such value. Without At, the status is enough.
	At string
	Is []string
	// What the answer means.
	Then   Outcome
	Reason Reason
	After  time.Duration // with Retry: how long to wait when the partner does not say
	Detail string        // is added to the partner's words
}

// InHeader stands before the name of a header in [Saying.At].
const InHeader = "header "

// Means is a Saying about all answers with one of some statuses.
func Means(o Outcome, r Reason, docs string, status ...int) Saying {
	return Saying{Docs: docs, Status: status, Then: o, Reason: r}
}

// When narrows it to answers with one of some words at a path: see Saying.At.
func (s Saying) When(at string, is ...string) Saying { s.At, s.Is = at, is; return s }

// Wait is how long to wait when the partner does not say.
func (s Saying) Wait(d time.Duration) Saying { s.After = d; return s }

// Tell adds words to the partner's.
func (s Saying) Tell(detail string) Saying { s.Detail = detail; return s }

// describes says whether the answer is of this kind.
func (s *Saying) describes(a *Answer) bool {
	if len(s.Status) > 0 && !slices.ContainsFunc(s.Status, func(n int) bool {
		return n == a.Status || n == a.Status/100
	}) {
		return false
	}
	if s.At == "" {
		return true
	}
	text := ""
	if name, ok := strings.CutPrefix(s.At, InHeader); ok {
		text = a.Header.Get(name)
	} else if s.At == "." {
		text = strings.TrimSpace(string(a.Body[:min(len(a.Body), 4<<10)]))
	} else if v := at(a.JSON, s.At); v.Exists() && v.Kind() != event.Null {
		text = v.Text()
		if v.Kind() >= event.Array {
			var compact bytes.Buffer
			if json.Compact(&compact, v.Raw()) == nil {
				text = compact.String()
			}
		}
	}
	return slices.ContainsFunc(s.Is, func(word string) bool {
		begin, open := strings.CutSuffix(word, "*")
		inside, anywhere := strings.CutPrefix(begin, "*")
		switch {
		case !open:
			return text == word
		case anywhere && inside != "":
			return strings.Contains(strings.ToLower(text), strings.ToLower(inside))
		}
		return strings.HasPrefix(text, begin)
	})
}

// of returns the meaning of the first saying that matches the answer; zero: none does.
func (a *Answer) of(sayings []Saying, now time.Time) Result {
	for i := range sayings {
		s := &sayings[i]
		if !s.describes(a) {
			continue
		}
		r := Result{Outcome: s.Then, Reason: s.Reason, Status: a.Status, Detail: a.Words()}
		if s.Then == Retry {
			r.RetryAfter = cmp.Or(a.RetryAfter(now), s.After)
		}
		if s.Detail != "" {
			r.Detail = strings.TrimPrefix(r.Detail+": "+s.Detail, ": ")
		}
		if s.Then == Delivered {
			r = a.Took()
		}
		return r
	}
	return Result{}
}

// String describes the answer and what it means, for the partner's documentation page.
func (s Saying) String() string {
	var parts []string
	for _, n := range s.Status {
		text := strconv.Itoa(n)
		if n < 10 {
			text += "xx"
		}
		parts = append(parts, text)
	}
	out := cmp.Or(strings.Join(parts, " or "), "any status")
	words := strings.Join(s.Is, ", ")
	switch {
	case s.At == ".":
		var all []string // words of the body, and the body itself
		for _, word := range s.Is {
			if inside, ok := strings.CutPrefix(strings.TrimSuffix(word, "*"), "*"); ok && inside != "" {
				word = inside + " in its body"
			} else {
				word = "the body " + word
			}
			all = append(all, word)
		}
		out += " with " + strings.Join(all, " or ")
	case s.At != "" && slices.Equal(s.Is, []string{"*"}):
		out += " with any other " + s.At
	case s.At != "":
		out += " with " + s.At + " " + strings.TrimPrefix(strings.ReplaceAll(", "+words, ", , ", ", none, "), ", ")
	}
	out += ": " + s.Then.String()
	if s.Reason != "" {
		out += " (" + string(s.Reason) + ")"
	}
	return out
}
