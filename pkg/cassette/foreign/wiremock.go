package foreign

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

// The parts of WireMock's mappings that a conversation has
// (https://wiremock.org/docs/stubbing/).
type wireMappings struct {
	Mappings []wireMapping `json:"mappings"`
}

type wireMapping struct {
	Name     string       `json:"name,omitempty"`
	Request  wireRequest  `json:"request"`
	Response wireResponse `json:"response"`

	Scenario string `json:"scenarioName,omitempty"`
	Required string `json:"requiredScenarioState,omitempty"`
	New      string `json:"newScenarioState,omitempty"`
}

type wireRequest struct {
	Method   string                     `json:"method"`
	URL      string                     `json:"url,omitempty"`
	Path     string                     `json:"urlPath,omitempty"`
	Pattern  string                     `json:"urlPattern,omitempty"`
	PathLike string                     `json:"urlPathPattern,omitempty"`
	Template string                     `json:"urlPathTemplate,omitempty"`
	Query    map[string]json.RawMessage `json:"queryParameters,omitempty"`
	Headers  map[string]json.RawMessage `json:"headers,omitempty"`
	Body     []json.RawMessage          `json:"bodyPatterns,omitempty"`
}

type wireResponse struct {
	Status     int             `json:"status"`
	Message    string          `json:"statusMessage,omitempty"`
	Headers    map[string]any  `json:"headers,omitempty"`
	Text       string          `json:"body,omitempty"`
	JSON       json.RawMessage `json:"jsonBody,omitempty"`
	Base64     string          `json:"base64Body,omitempty"`
	File       string          `json:"bodyFileName,omitempty"`
	Fault      string          `json:"fault,omitempty"`
	DelayMS    int64           `json:"fixedDelayMilliseconds,omitempty"`
	Transforms []string        `json:"transformers,omitempty"`
}

// templated is true if an answer is marked as a template and is one, because some users
// mark every answer. A body in a separate file is assumed to be one.
func (r *wireResponse) templated() bool {
	if r.File != "" || strings.Contains(r.Text, "{{") || bytes.Contains(r.JSON, []byte("{{")) {
		return true
	}
	for _, v := range r.Headers {
		if strings.Contains(fmt.Sprint(v), "{{") {
			return true
		}
	}
	return false
}

// plain is true if a pattern for addresses matches only itself.
func plain(pattern string) bool { return pattern != "" && regexp.QuoteMeta(pattern) == pattern }

// wireFaults maps the faults of WireMock to breaks.
var wireFaults = map[string]wire.Break{"CONNECTION_RESET_BY_PEER": wire.BreakReset, "EMPTY_RESPONSE": wire.BreakClosed}

// importWireMock reads mappings of WireMock. They have no host, so the base address is
// required. Mappings that match by patterns are left out, because they stand for no single
// request.
func importWireMock(data []byte, o Options) (*Imported, error) {
	var all wireMappings
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("they are no mappings of WireMock: %w", err)
	}
	if all.Mappings == nil {
		var one wireMapping
		if err := json.Unmarshal(data, &one); err != nil || one.Response.Status == 0 && one.Response.Fault == "" {
			return nil, errors.New("they are no mappings of WireMock: " +
				"there is neither a list of mappings nor a request and a response in it")
		}
		all.Mappings = []wireMapping{one}
	}
	if o.Base == "" {
		return nil, errors.New("mappings of WireMock have no host: say whose they are with --base-url https://HOST")
	}
	out := &Imported{}
	for n := range all.Mappings {
		m := &all.Mappings[n]
		i, why, err := m.interaction(o)
		if err != nil {
			return nil, fmt.Errorf("mapping %d: %w", n, err)
		}
		if why != "" {
			out.leave("mapping %d, %s %s: %s", n, m.Request.Method, withoutQuery(m.Request.place()), why)
			continue
		}
		if m.Response.Fault != "" {
			out.Details = append(out.Details, cassette.Details{
				Interaction: len(out.Interactions), Broken: wireFaults[m.Response.Fault], Error: m.Response.Fault,
			})
			i.Response.Code, i.Response.Status = 0, "0 no answer"
		}
		out.Interactions = append(out.Interactions, complete(i))
	}
	return out, nil
}

// place is the mapping's address or pattern, as the file has it.
func (q *wireRequest) place() string {
	for _, s := range []string{q.URL, q.Path, q.Pattern, q.PathLike, q.Template} {
		if s != "" {
			return s
		}
	}
	return "/"
}

// interaction converts a mapping to the form of go-vcr. If that is not possible, why
// gives the reason.
func (m *wireMapping) interaction(o Options) (i *cassette.Interaction, why string, err error) {
	q, r := &m.Request, &m.Response
	if plain(q.Pattern) {
		q.URL, q.Pattern = q.Pattern, ""
	}
	if plain(q.PathLike) {
		q.Path, q.PathLike = q.PathLike, ""
	}
	switch _, known := wireFaults[r.Fault]; {
	case q.Pattern != "" || q.PathLike != "" || q.Template != "":
		return nil, "it matches addresses by a pattern, and says none", nil
	case q.URL == "" && q.Path == "":
		return nil, "it matches every address, and says none", nil
	case r.Fault != "" && !known:
		return nil, "nothing here breaks like " + r.Fault, nil
	case slices.Contains(r.Transforms, "response-template") && r.templated():
		return nil, "its answer is a template", nil
	}
	i = &cassette.Interaction{}
	i.Request.Method = q.Method
	if i.Request.Method == "" || strings.EqualFold(q.Method, "ANY") {
		i.Request.Method = http.MethodGet
	}
	target := q.URL
	if target == "" {
		target = q.Path
	}
	i.Request.URL = strings.TrimSuffix(o.Base, "/") + target
	query := url.Values{}
	for name, p := range q.Query {
		value, ok := equalTo(p)
		if !ok {
			return nil, "it matches the parameter " + name + " by a pattern", nil
		}
		query.Set(name, value)
	}
	if len(query) > 0 {
		i.Request.URL += "?" + query.Encode()
	}
	i.Request.Headers = http.Header{}
	for name, p := range q.Headers {
		if value, ok := equalTo(p); ok {
			i.Request.Headers.Set(name, value)
		}
	}
	for _, p := range q.Body {
		body, ok := equalTo(p)
		if !ok {
			return nil, "it matches the body by a pattern", nil
		}
		i.Request.Body = body
	}
	if i.Request.Body != "" && i.Request.Headers.Get("Content-Type") == "" && json.Valid([]byte(i.Request.Body)) {
		i.Request.Headers.Set("Content-Type", "application/json")
	}
	i.Response.Code, i.Response.Status = r.Status, statusOf(r.Status, r.Message)
	i.Response.Headers = headersOf(r.Headers)
	i.Response.Duration = time.Duration(min(max(r.DelayMS, 0), 3600_000)) * time.Millisecond
	i.Response.Body, why, err = r.body(o)
	return i, why, err
}

// equalTo returns the value for which a pattern asks. ok is false if the pattern does
// not ask for one value.
func equalTo(data json.RawMessage) (string, bool) {
	var p struct {
		Equal  *string         `json:"equalTo"`
		JSON   json.RawMessage `json:"equalToJson"`
		Binary *string         `json:"binaryEqualTo"`
	}
	if json.Unmarshal(data, &p) != nil {
		return "", false
	}
	switch {
	case p.Equal != nil:
		return *p.Equal, true
	case len(p.JSON) > 0:
		var text string
		if json.Unmarshal(p.JSON, &text) == nil {
			return text, true
		}
		return compact(p.JSON), true
	case p.Binary != nil:
		raw, err := base64.StdEncoding.DecodeString(*p.Binary)
		return string(raw), err == nil
	}
	return "", false
}

func (r *wireResponse) body(o Options) (body, why string, err error) {
	switch {
	case r.File != "" && o.File == nil:
		return "", "its body lies in a file, " + r.File + " (--files DIR reads it)", nil
	case r.File != "":
		data, err := o.File(r.File)
		return string(data), "", err
	case len(r.JSON) > 0:
		return compact(r.JSON), "", nil
	case r.Base64 != "":
		data, err := base64.StdEncoding.DecodeString(r.Base64)
		return string(data), "", err
	}
	return r.Text, "", nil
}

// WireMock writes the conversation as mappings of WireMock. Requests that were sent
// several times become a scenario, so that their answers keep their order.
func WireMock(c *cassette.Cassette) ([]byte, error) {
	details := c.DetailsByNumber()
	same := map[string][]int{} // indexes of interactions with the same request
	key := func(i *cassette.Interaction) string {
		return i.Request.Method + " " + i.Request.URL + "\n" + i.Request.Body
	}
	for n, i := range c.Interactions {
		same[key(i)] = append(same[key(i)], n)
	}
	out := wireMappings{Mappings: []wireMapping{}}
	for n, i := range c.Interactions {
		m := wireMapping{Name: fmt.Sprintf("%s %d", c.Case(), n)}
		_, target := wire.SplitAddress(i.Request.URL)
		m.Request.Method = i.Request.Method
		if m.Request.URL = target; target == "" || target[0] == '?' {
			m.Request.URL = "/" + target
		}
		if p, err := bodyPattern(i.Request.Body); err != nil {
			return nil, err
		} else if p != nil {
			m.Request.Body = []json.RawMessage{p}
		}
		m.Response = wireAnswer(i, details[n])
		if list := same[key(i)]; len(list) > 1 {
			at := slices.Index(list, n)
			m.Scenario = fmt.Sprintf("%s %d", c.Case(), list[0])
			if m.Required = fmt.Sprint(at); at == 0 {
				m.Required = "Started"
			}
			if at+1 < len(list) {
				m.New = fmt.Sprint(at + 1)
			}
		}
		out.Mappings = append(out.Mappings, m)
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(out)
	return buf.Bytes(), err
}

// bodyPattern is the pattern for a body, or nil if there is none.
func bodyPattern(body string) (json.RawMessage, error) {
	switch {
	case body == "":
		return nil, nil
	case json.Valid([]byte(body)):
		return json.Marshal(map[string]string{"equalToJson": body})
	case utf8.ValidString(body):
		return json.Marshal(map[string]string{"equalTo": body})
	}
	return json.Marshal(map[string]string{"binaryEqualTo": base64.StdEncoding.EncodeToString([]byte(body))})
}

func wireAnswer(i *cassette.Interaction, d *cassette.Details) wireResponse {
	if d != nil && d.Broken != "" && i.Response.Code == 0 {
		for fault, how := range wireFaults {
			if how == d.Broken {
				return wireResponse{Fault: fault}
			}
		}
		return wireResponse{Fault: "EMPTY_RESPONSE"} // the nearest fault that WireMock has
	}
	r := wireResponse{Status: i.Response.Code, Headers: map[string]any{}, DelayMS: i.Response.Duration.Milliseconds()}
	for name, values := range i.Response.Headers {
		if r.Headers[name] = any(values); len(values) == 1 {
			r.Headers[name] = values[0]
		}
	}
	if r.Text = i.Response.Body; !utf8.ValidString(r.Text) {
		r.Text, r.Base64 = "", base64.StdEncoding.EncodeToString([]byte(i.Response.Body))
	}
	return r
}
