package foreign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
)

// The parts of Postman's collections, version 2, that an example has
// (https://schema.postman.com/collection/json/v2.1.0/draft-07/docs/).
type postmanItem struct {
	Name     string           `json:"name"`
	Item     []postmanItem    `json:"item"`
	Request  json.RawMessage  `json:"request"`
	Response []postmanExample `json:"response"`
}

type postmanRequest struct {
	Method string          `json:"method"`
	URL    json.RawMessage `json:"url"`
	Header json.RawMessage `json:"header"`
	Body   *postmanBody    `json:"body"`
}

type postmanPair struct {
	Key      string `json:"key"`
	Value    string `json:"value"`
	Disabled bool   `json:"disabled"`
	Type     string `json:"type"`
}

type postmanBody struct {
	Mode    string        `json:"mode"`
	Raw     string        `json:"raw"`
	Encoded []postmanPair `json:"urlencoded"`
	Form    []postmanPair `json:"formdata"`
	GraphQL struct {
		Query     string `json:"query"`
		Variables string `json:"variables"`
	} `json:"graphql"`
	Options struct {
		Raw struct {
			Language string `json:"language"`
		} `json:"raw"`
	} `json:"options"`
}

type postmanExample struct {
	Name     string          `json:"name"`
	Original json.RawMessage `json:"originalRequest"`
	Status   string          `json:"status"`
	Code     int             `json:"code"`
	Header   json.RawMessage `json:"header"`
	Body     string          `json:"body"`
	Time     json.RawMessage `json:"responseTime"`
}

// importPostman reads the examples of a collection of Postman.
func importPostman(data []byte, o Options) (*Imported, error) {
	var c struct {
		Info     map[string]any `json:"info"`
		Item     []postmanItem  `json:"item"`
		Variable []struct {
			Key, ID string
			Value   any
		} `json:"variable"`
		Collection json.RawMessage `json:"collection"` // the collection is inside, if it comes from Postman's API
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("it is no collection of Postman: %w", err)
	}
	if c.Info == nil && c.Collection != nil {
		return importPostman(c.Collection, o)
	}
	if c.Info == nil || c.Item == nil {
		return nil, errors.New("it is no collection of Postman, version 2: there are no info and item in it")
	}
	p := &postman{base: o.Base, variables: map[string]string{}}
	for _, v := range c.Variable {
		p.variables[v.Key] = textOf(v.Value)
	}
	for name, value := range o.Variables {
		p.variables[name] = value
	}
	if err := p.items("", c.Item, 0); err != nil {
		return nil, err
	}
	return &p.out, nil
}

// postman is a collection that is being read.
type postman struct {
	base      string
	variables map[string]string
	out       Imported
}

func (p *postman) items(folder string, list []postmanItem, depth int) error {
	if depth > cassette.MaxNesting {
		return errors.New("its folders are nested too deep")
	}
	for _, it := range list {
		name := strings.TrimPrefix(folder+" / "+it.Name, " / ")
		if len(it.Item) > 0 {
			if err := p.items(name, it.Item, depth+1); err != nil {
				return err
			}
			continue
		}
		if len(it.Response) == 0 {
			p.out.leave("%s: it has no example of an answer", name)
		}
		for _, ex := range it.Response {
			original := ex.Original
			if len(original) == 0 {
				original = it.Request
			}
			i, why, err := p.example(original, &ex)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if why != "" {
				p.out.leave("%s, example %q: %s", name, ex.Name, why)
				continue
			}
			p.out.Interactions = append(p.out.Interactions, complete(i))
		}
	}
	return nil
}

func (p *postman) example(original json.RawMessage, ex *postmanExample) (
	i *cassette.Interaction, why string, err error,
) {
	var q postmanRequest
	if err = json.Unmarshal(original, &q); err != nil {
		var address string // a GET request may be only its address
		if json.Unmarshal(original, &address) != nil {
			return nil, "", err
		}
		q = postmanRequest{Method: http.MethodGet, URL: original}
	}
	if ex.Code == 0 {
		return nil, "it has no status", nil
	}
	i = &cassette.Interaction{}
	if i.Request.Method = q.Method; q.Method == "" {
		i.Request.Method = http.MethodGet
	}
	if i.Request.URL, why = p.address(q.URL); why != "" {
		return nil, why, nil
	}
	var unset []string
	i.Request.Headers = withoutConnection(p.headers(q.Header, &unset))
	if i.Request.Body, why, err = p.body(q.Body, i.Request.Headers, &unset); err != nil || why != "" {
		return nil, why, err
	}
	if len(unset) > 0 {
		return nil, sayUnset(unset), nil
	}
	i.Response.Code, i.Response.Status = ex.Code, statusOf(ex.Code, ex.Status)
	i.Response.Headers = withoutConnection(p.headers(ex.Header, nil))
	i.Response.Headers.Del("Content-Encoding") // Postman stores decoded bodies
	i.Response.Body = ex.Body
	var ms float64
	if json.Unmarshal(ex.Time, &ms) == nil && ms > 0 && ms < 1e8 {
		i.Response.Duration = time.Duration(ms * float64(time.Millisecond))
	}
	return i, "", nil
}

func sayUnset(names []string) string {
	slices.Sort(names)
	return "these variables have no value: " + strings.Join(slices.Compact(names), ", ") + " (--var NAME=VALUE)"
}

// fill replaces {{names}} by their values, and appends the names without a value to
// unset.
func (p *postman) fill(s string, unset *[]string) string {
	for range 10 { // a value may contain names, too
		var b strings.Builder
		rest, changed := s, false
		for {
			before, after, ok := strings.Cut(rest, "{{")
			name, behind, closed := strings.Cut(after, "}}")
			if !ok || !closed {
				b.WriteString(rest)
				break
			}
			b.WriteString(before)
			if value, known := p.variables[strings.TrimSpace(name)]; known {
				b.WriteString(value)
				changed = true
			} else {
				b.WriteString("{{" + name + "}}")
				if unset != nil {
					*unset = append(*unset, strings.TrimSpace(name))
				}
			}
			rest = behind
		}
		s = b.String()
		if !changed {
			break
		}
	}
	return s
}

// address reads a URL. It is a text, or an object with the URL in its member raw and
// the path's variables in another.
func (p *postman) address(data json.RawMessage) (address, why string) {
	var u struct {
		Raw      string        `json:"raw"`
		Variable []postmanPair `json:"variable"`
	}
	if json.Unmarshal(data, &u.Raw) != nil && json.Unmarshal(data, &u) != nil {
		return "", "it has no address"
	}
	s := u.Raw
	if s == "" {
		s = addressOfParts(data)
	}
	if name, rest, ok := strings.Cut(strings.TrimPrefix(s, "{{"), "}}"); ok && strings.HasPrefix(s, "{{") &&
		p.base != "" {
		if _, known := p.variables[strings.TrimSpace(name)]; !known {
			s = strings.TrimSuffix(p.base, "/") + rest
		}
	}
	var unset []string
	s = p.fill(s, &unset)
	if len(unset) > 0 {
		return "", sayUnset(unset)
	}
	path, query, hasQuery := strings.Cut(s, "?")
	for _, v := range u.Variable {
		if v.Key != "" {
			path = strings.ReplaceAll(path+"/", "/:"+v.Key+"/", "/"+url.PathEscape(p.fill(v.Value, nil))+"/")
			path = path[:len(path)-1]
		}
	}
	if hasQuery {
		path += "?" + query
	}
	if !strings.Contains(path, "://") {
		path = "https://" + path
	}
	if err := checkAddress(path); err != nil {
		return "", err.Error()
	}
	return path, ""
}

// addressOfParts builds an address from its parts, for collections that were made by
// programs and have no full address. It is "" without a host.
func addressOfParts(data json.RawMessage) string {
	var u struct {
		Protocol string          `json:"protocol"`
		Host     json.RawMessage `json:"host"`
		Port     string          `json:"port"`
		Path     json.RawMessage `json:"path"`
		Query    []postmanPair   `json:"query"`
	}
	_ = json.Unmarshal(data, &u) // a member of another type counts as missing
	host := joined(u.Host, ".")
	if host == "" {
		return ""
	}
	s := host
	if u.Protocol != "" && !strings.Contains(host, "://") {
		s = u.Protocol + "://" + host
	}
	if u.Port != "" {
		s += ":" + u.Port
	}
	if path := joined(u.Path, "/"); path != "" {
		s += "/" + strings.TrimPrefix(path, "/")
	}
	between := "?"
	for _, q := range u.Query {
		if !q.Disabled && q.Key != "" {
			s += between + url.QueryEscape(q.Key) + "=" + escapeAround(q.Value)
			between = "&"
		}
	}
	return s
}

// escapeAround escapes the value of a parameter, except the names of variables in it.
func escapeAround(s string) string {
	return strings.NewReplacer("%7B%7B", "{{", "%7D%7D", "}}").Replace(url.QueryEscape(s))
}

// joined reads a text, or joins a list of texts.
func joined(data json.RawMessage, with string) string {
	var one string
	if json.Unmarshal(data, &one) == nil {
		return one
	}
	var list []json.RawMessage
	if json.Unmarshal(data, &list) != nil {
		return ""
	}
	var parts []string
	for _, e := range list {
		var named struct {
			Value string `json:"value"`
		}
		if json.Unmarshal(e, &one) != nil {
			if json.Unmarshal(e, &named) != nil {
				continue
			}
			one = named.Value
		}
		parts = append(parts, one)
	}
	return strings.Join(parts, with)
}

// headers reads [{key, value}] or lines of text.
func (p *postman) headers(data json.RawMessage, unset *[]string) http.Header {
	h := http.Header{}
	var list []postmanPair
	var text string
	switch {
	case json.Unmarshal(data, &list) == nil:
	case json.Unmarshal(data, &text) == nil:
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(line, ":"); ok {
				list = append(list, postmanPair{Key: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
			}
		}
	}
	for _, k := range list {
		if !k.Disabled && k.Key != "" {
			h.Add(k.Key, p.fill(k.Value, unset))
		}
	}
	return h
}

// body writes the body of a request. It also sets the content type if the headers have
// none.
func (p *postman) body(b *postmanBody, h http.Header, unset *[]string) (body, why string, err error) {
	if b == nil {
		return "", "", nil
	}
	typed := func(t string) {
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", t)
		}
	}
	switch b.Mode {
	case "", "none":
		return "", "", nil
	case "raw":
		if b.Options.Raw.Language == "json" {
			typed("application/json")
		}
		return p.fill(b.Raw, unset), "", nil
	case "urlencoded":
		form := url.Values{}
		for _, k := range b.Encoded {
			if !k.Disabled {
				form.Add(p.fill(k.Key, unset), p.fill(k.Value, unset))
			}
		}
		typed("application/x-www-form-urlencoded")
		return form.Encode(), "", nil
	case "graphql":
		typed("application/json")
		variables := json.RawMessage(p.fill(b.GraphQL.Variables, unset))
		if !json.Valid(variables) {
			variables = json.RawMessage("{}")
		}
		data, err := json.Marshal(map[string]any{"query": p.fill(b.GraphQL.Query, unset), "variables": variables})
		return string(data), "", err
	case "formdata":
		var buf bytes.Buffer
		w := multipart.NewWriter(&buf)
		if err := w.SetBoundary("postman-form"); err != nil {
			return "", "", err
		}
		for _, k := range b.Form {
			if k.Type == "file" {
				return "", "its body holds a file", nil
			}
			if k.Disabled {
				continue
			}
			if err := w.WriteField(p.fill(k.Key, unset), p.fill(k.Value, unset)); err != nil {
				return "", "", err
			}
		}
		h.Set("Content-Type", w.FormDataContentType())
		err := w.Close()
		return buf.String(), "", err
	}
	return "", "its body is of the mode " + b.Mode, nil
}
