package standin

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/event"
)

// Success describes, as the documentation does, an answer by which the partner says
// that it took a request, or the counted part of it. Without text, any, contains and fields,
// the answer has no body.
type Success struct {
	Status []int  `yaml:"status"` // 200 by default
	Docs   string `yaml:"docs"`   // the endpoint's by default
	Text   string `yaml:"text"`   // the whole body, without white space around it
	Any    bool   `yaml:"any"`    // any body; without a status also any 2xx
	// Contains are texts that all stand in the body, for XML and other text.
	Contains Texts `yaml:"contains"`
	// Fields are rules for the members of the answer's JSON object.
	Fields Fields `yaml:"fields"`
	// Counts is the member that says how many items were taken: a number, or one of
	// Fields that is an array. Each array of the request may have a member of its own.
	Counts Counts `yaml:"counts"`
	// Some lists members that count something other than items, for example the users
	// in them. They have to be above zero.
	Some Counts `yaml:"some"`

	schema Schema
}

// Counts names the member of the answer that counts the items of an array in the
// request. Such a member is checked only if the array has items and the answer has the
// member. The name "" stands for the member that counts all items; it is required. In
// YAML that one may stand alone.
type Counts map[string]string

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *Counts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*c = Counts{"": n.Value}
		return nil
	}
	return n.Decode((*map[string]string)(c))
}

// Successes is a list of answers. In YAML it may be a single answer.
type Successes []Success

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *Successes) UnmarshalYAML(n *yaml.Node) error {
	return oneOrMore(n, (*[]Success)(s))
}

func (s Successes) compile(docs string) error {
	for i := range s {
		x := &s[i]
		if x.Docs == "" {
			x.Docs = docs
		}
		if len(x.Status) == 0 && !x.Any {
			x.Status = []int{http.StatusOK}
		}
		x.schema.Fields = x.Fields
		if err := x.schema.compile(x.Docs); err != nil {
			return err
		}
	}
	return nil
}

// Describes checks whether an answer is a documented success, by which the partner took
// all items of the request except for refused of them; nil: it is one. It also returns
// an error if there is no such endpoint, or if the contract describes no success. body
// is that of the request, and answer that of the response.
func (c *Contract) Describes(req *http.Request, body []byte, status int, answer []byte, refused int) error {
	v := c.check(time.Time{}, req, body)
	defer c.release(v)
	if v.endpoint == nil {
		return fmt.Errorf("there is no endpoint %s %s", req.Method, req.URL.Path)
	}
	return v.endpoint.Success.describe(status, answer, v.items, refused)
}

func (s Successes) describe(status int, body []byte, items []item, refused int) error {
	err := fmt.Errorf("no success is documented")
	for i := range s {
		why, near := s[i].differs(status, bytes.TrimSpace(body), items, refused)
		if why == "" {
			return nil
		}
		if near || i == 0 {
			err = fmt.Errorf("%s (%s)", why, s[i].Docs)
		}
	}
	return err
}

// differs says in what an answer differs from this one; "": in nothing. near is true if
// the status is right. If refused is negative, the counts are not compared.
func (s *Success) differs(status int, body []byte, items []item, refused int) (why string, near bool) {
	switch {
	case len(s.Status) > 0 && !slices.Contains(s.Status, status), status/100 != 2 && len(s.Status) == 0:
		return fmt.Sprintf("the status %d is not documented", status), false
	case s.Any:
		return "", true
	case s.Text != "":
		if string(body) != s.Text {
			return "the body is not " + s.Text, true
		}
		return "", true
	case len(s.Contains) > 0:
		for _, text := range s.Contains {
			if !bytes.Contains(body, []byte(text)) {
				return "the body does not contain " + text, true
			}
		}
		return "", true
	case len(s.Fields) == 0 && len(s.Counts) == 0 && len(s.Some) == 0:
		if len(body) > 0 {
			return "there is a body", true
		}
		return "", true
	}
	root, err := event.ParseValue(body)
	if err != nil || root.Kind() != event.Object {
		return "the body is no JSON object", true
	}
	if bad := s.schema.check(root, root, s.Docs); bad != nil {
		return bad.Msg, true
	}
	for in, name := range s.Counts {
		if why := s.miscounts(root, in, name, items, refused, true); why != "" {
			return why, true
		}
	}
	for in, name := range s.Some {
		if why := s.miscounts(root, in, name, items, refused, false); why != "" {
			return why, true
		}
	}
	return "", true
}

// miscounts returns a message if a member does not hold the number of taken items of an
// array. If exact is false, any number above zero will do.
func (s *Success) miscounts(root event.Value, in, name string, items []item, refused int, exact bool) string {
	sent := 0
	for _, it := range items {
		if in == "" || it.in == in {
			sent++
		}
	}
	v := at(root, strings.Split(name, "."))
	at := slices.IndexFunc(s.Fields, func(f Field) bool { return f.Name == name })
	n, ok := v.Int()
	switch {
	case refused < 0, in != "" && (v.Nullish() || sent == 0):
		return ""
	case v.Kind() == event.Array && at >= 0 && s.Fields[at].kinds&(1<<event.Array) != 0:
		n, ok = int64(v.Len()), true
	}
	if !exact && ok && n > 0 {
		return ""
	}
	if !ok || !exact || n < int64(sent-refused) || n > int64(sent) {
		return fmt.Sprintf("%s does not count the %d of %d items that were taken", name, sent-refused, sent)
	}
	return ""
}
