// Package api makes a destination of an HTTP API that is described in YAML: `type: http`
// in fanfold.yaml, or a file of its own that several configurations share.
//
// A description is read into the same declared values that a partner written in Go has
// ([destination.Action], package body), so that there is one way in which bodies are
// written, requests made and answers judged. What is wrong with a description is found
// when it is read, all of it, each with its line.
//
// In a description {{name}} stands for a field of the action, and {{settings.key}} for a
// setting. What such a value may do depends on where it stands: in a path it is escaped,
// and never . or .. or nothing; in a header it holds no line end; in a body it is JSON.
// The host of requests is the configuration's: no value of an event reaches it.
package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/document"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Type is the type of a destination that is described in the configuration.
const Type = "http"

// Keys are those of a description, in the order of the documentation.
func Keys() []string {
	return []string{"name", "summary", "docs", "base_url", "settings", "auth", "limits", "order", "idempotency_header",
		"answers", "actions"}
}

// Problem is one thing that is wrong with a description.
type Problem struct {
	Line int
	Msg  string
}

// Error is what is wrong, without the place.
func (p *Problem) Error() string { return p.Msg }

// Read reads a description; name is what the destination is called where it has no name of
// its own. The destination is of use only without problems.
func Read(n *yaml.Node, name string) (destination.Destination, []*Problem) {
	r := &reader{name: name, docs: "the description of " + name, at: map[string]*yaml.Node{}}
	spec := r.document(n)
	if len(r.problems) > 0 {
		return destination.Destination{}, r.problems
	}
	return spec.Destination(), nil
}

// reader reads one description.
type reader struct {
	name, docs string
	problems   []*Problem
	schema     setting.Schema
	auth       authentication
	base       template
	key        string                // header of requests' keys
	at         map[string]*yaml.Node // settings, for errors
	taken      []destination.Success // by answers that mean so
}

func (r *reader) add(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, &Problem{n.Line, fmt.Sprintf(format, args...)})
}

// table calls f with each key of a table, if it is one, and finds those that nobody reads.
func (r *reader) table(n *yaml.Node, what string, keys []string, f func(key string, k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.add(n, "%s has to be a table of keys and values", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case seen[k.Value]:
			r.add(k, "%s: %s stands twice", what, k.Value)
		case keys != nil && !slices.Contains(keys, k.Value):
			r.add(k, "%s: %s", what, setting.Unknown(k.Value, "key", keys))
		case v.Tag == "!!null":
			r.add(k, "%s: %s has no value: give it one, or take the line out", what, k.Value)
		default:
			f(k.Value, k, v)
		}
		seen[k.Value] = true
	}
}

// text is a single value.
func (r *reader) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode {
		r.add(n, "%s has to be a single value", what)
		return ""
	}
	return n.Value
}

// texts are a list of single values; one needs no list.
func (r *reader) texts(n *yaml.Node, what string) (list []string) {
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	if n.Kind != yaml.SequenceNode {
		r.add(n, "%s has to be a text, or a list of texts", what)
		return nil
	}
	for _, e := range n.Content {
		list = append(list, r.text(e, what))
	}
	return list
}

// document reads the whole. Settings and docs come first: the rest refers to them.
func (r *reader) document(n *yaml.Node) (spec destination.Spec[setting.Dynamic]) {
	members := map[string]*yaml.Node{}
	r.table(n, "the API", Keys(), func(key string, _, v *yaml.Node) { members[key] = v })
	get := func(key string) string {
		if m := members[key]; m != nil {
			return r.text(m, key)
		}
		return ""
	}
	if d := get("docs"); d != "" {
		if r.docs = d; !strings.HasPrefix(d, "https://") {
			r.add(members["docs"], "docs has to be an address of documentation, like https://docs.example.com/api")
		}
	}
	if name := get("name"); name != "" {
		r.name = name
	}
	r.settings(members["settings"])
	r.readAuth(members["auth"])
	if members["auth"] == nil {
		r.auth = ownAuth()
	}
	r.declare(n)
	spec.Info = destination.Info{Slug: Type, Name: r.name, Summary: get("summary"), Docs: r.docs, Minimal: true,
		Backfill: "What the API does with old events is its own affair."}
	if spec.Info.Summary == "" {
		spec.Info.Summary = "an HTTP API that the configuration describes"
	}
	if members["limits"] != nil {
		spec.Limits = r.limits(members["limits"])
	}
	if m := members["order"]; m != nil {
		if spec.Order = m.Value == "user"; !spec.Order {
			r.add(m, "order has to be user, not %q", m.Value)
		}
	}
	r.baseURL(n, members["base_url"])
	r.idempotency(members["idempotency_header"])
	spec.Sayings = r.answers(members["answers"])
	r.taken = taken(spec.Sayings)
	if m := members["actions"]; m == nil {
		r.add(n, "it has no actions: each says which events are sent (subscribe), where (path) and as what (mapping)")
	} else {
		spec.Actions = r.actions(m)
	}
	if _, err := document.JSON(n); err != nil && len(r.problems) == 0 { // otherwise it was said where the value stands
		r.add(n, "%v", err)
	}
	spec.Made, spec.Parts = partsOf(n)
	r.finish(&spec)
	return spec
}

// finish gives the spec what depends on a user's settings.
func (r *reader) finish(spec *destination.Spec[setting.Dynamic]) {
	schema, auth, base, key := r.schema, r.auth, r.base, r.key
	text := func(s *setting.Dynamic) func(string) string {
		values := schema.Values(s)
		return func(key string) string {
			if v, ok := values[key]; ok {
				return fmt.Sprint(v)
			}
			return ""
		}
	}
	spec.Schema = &schema
	spec.BaseURL = func(s *setting.Dynamic) string { return base.filled(text(s)) }
	spec.Auth = func(s *setting.Dynamic) destination.Auth {
		a, _ := auth.of(text(s)) // Check says what is wrong with it
		return a
	}
	spec.Keys = func(s *setting.Dynamic) destination.Keys {
		return destination.Keys{Header: key, Webhook: auth.signs(text(s))}
	}
	spec.Check = func(s *setting.Dynamic) (errs []error) {
		_, errs = auth.of(text(s))
		for _, name := range base.names() {
			if key := strings.TrimPrefix(name, "settings."); !hostPart(text(s)(key)) {
				errs = append(errs, &setting.Problem{Key: key,
					Msg: "is part of the API's address, and has to be of letters, digits, - and ."})
			}
		}
		return errs
	}
}

// hostPart says that a text can stand in the name of a host without ending it.
func hostPart(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.'
	})
}

// baseURL reads where the API is. Settings may be part of it, such as a region.
func (r *reader) baseURL(whole, n *yaml.Node) {
	if n == nil {
		r.add(whole, "it has no base_url: where the API is, like https://api.example.com/v1")
		return
	}
	text := r.text(n, "base_url")
	t, err := parse(text)
	if err != nil {
		r.add(n, "base_url: %v", err)
		return
	}
	for _, name := range t.names() {
		key, is := strings.CutPrefix(name, "settings.")
		if _, ok := r.schema.Field(key); !is || !ok {
			r.add(n, "base_url: {{%s}} is no setting, and nothing of an event says where requests go", name)
			return
		}
	}
	u, err := url.Parse(t.filled(func(string) string { return "x" }))
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		r.add(n, "base_url has to be an http or https address without a query, like https://api.example.com/v1")
	case u.User != nil:
		r.add(n, "base_url has a user in it: auth says who is calling, and nothing shows it there")
	}
	r.base = t
}

// idempotency reads the header of the key of requests.
func (r *reader) idempotency(n *yaml.Node) {
	r.key = "Idempotency-Key"
	if n == nil {
		return
	}
	if r.key = r.text(n, "idempotency_header"); r.key == "none" {
		r.key = ""
	} else if !httpguts.ValidHeaderFieldName(r.key) {
		r.add(n, "idempotency_header has to be the name of a header, like Idempotency-Key, or none")
	}
}

// settings reads what a user of the API has to say.
func (r *reader) settings(n *yaml.Node) {
	if n == nil {
		return
	}
	r.table(n, "settings", nil, func(key string, k, v *yaml.Node) {
		f := setting.Field{Key: key, Type: "text"}
		r.table(v, "setting "+key, []string{"type", "doc", "required", "secret", "default", "choices", "pattern", "example"},
			func(what string, _, v *yaml.Node) {
				yes := func() bool {
					if v.Value != "true" && v.Value != "false" {
						r.add(v, "setting %s: %s has to be true or false, not %q", key, what, v.Value)
					}
					return v.Value == "true"
				}
				switch what {
				case "type":
					f.Type = v.Value
				case "doc":
					f.Doc = r.text(v, what)
				case "required":
					f.Required = yes()
				case "secret":
					f.Secret = yes()
				case "default":
					f.Default = r.text(v, what)
				case "choices":
					f.Choices = r.texts(v, what)
				case "pattern":
					f.Pattern = r.text(v, what)
				case "example":
					f.Example = r.text(v, what)
				}
			})
		if f.Example == "" && f.Default == "" && f.Type == "text" && f.Pattern == "" {
			if f.Example = "example-" + key; len(f.Choices) > 0 {
				f.Example = f.Choices[0]
			}
		}
		r.schema.Fields = append(r.schema.Fields, f)
		r.at[key] = k
	})
}

// declare makes the schema of the settings.
func (r *reader) declare(n *yaml.Node) {
	fields := append(r.schema.Fields, r.auth.fields...)
	for i := range fields {
		if slices.Contains(r.auth.secrets, fields[i].Key) {
			fields[i].Secret, fields[i].Transport = true, true
		}
	}
	schema, err := setting.Declare(fields)
	for _, p := range setting.Problems(err) {
		at := n
		if r.at[p.Key] != nil {
			at = r.at[p.Key]
		}
		r.add(at, "%v", p)
	}
	if err == nil {
		r.schema = schema
	}
}

// headerName finds what no request could carry, or what is not the description's to say.
func headerName(name string) string {
	switch key := http.CanonicalHeaderKey(name); {
	case !httpguts.ValidHeaderFieldName(name):
		return "no header can have this name: letters, digits and - are what names are made of"
	case key == "Content-Type":
		return "content_type says what the type of the body is"
	case slices.Contains([]string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Content-Encoding",
		"Upgrade",
		"Trailer", "Te", "Keep-Alive", "Proxy-Connection"}, key):
		return "this header is not the description's to say: the connection has its own"
	}
	return ""
}
