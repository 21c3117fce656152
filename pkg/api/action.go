package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/document"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/setting"
)

// ActionKeys are those of an action, in the order of the documentation.
func ActionKeys() []string {
	return []string{"action", "name", "doc", "enabled", "subscribe", "method", "path", "headers", "mapping", "types",
		"required",
		"one_of", "body", "encoding", "content_type", "batch", "event_bytes", "success", "retry_on", "reject_on", "results"}
}

// Methods are those of requests.
func Methods() []string { return []string{"POST", "PUT", "PATCH", "DELETE", "GET"} }

// Encodings are those of a body.
func Encodings() []string { return []string{"json", "form", "query"} }

// Types are what fields may have to be.
func Types() []string {
	return slices.Sorted(maps.Keys(typeNames()))
}

// fields are an action's, for its declaration.
type fields []payload.Field

// Fields implements [field.Set].
func (f fields) Fields() []payload.Field { return f }

// action is one that is being read.
type action struct {
	scope
	m      map[string]*yaml.Node
	slug   string
	what   string // for errors
	fields fields
	limits destination.ActionLimits
}

func (r *reader) actions(n *yaml.Node) (list destination.Actions) {
	if n.Kind != yaml.SequenceNode {
		r.add(n, "actions has to be a list")
		return nil
	}
	slugs := map[string]bool{}
	for _, item := range n.Content {
		a := &action{scope: scope{r: r}, m: map[string]*yaml.Node{}}
		before := len(r.problems)
		r.table(item, "an action", ActionKeys(), func(key string, _, v *yaml.Node) { a.m[key] = v })
		if e := a.m["enabled"]; e != nil && e.Value == "false" {
			continue
		} else if e != nil && e.Value != "true" {
			r.add(e, "enabled of an action has to be true or false, not %q", e.Value)
		}
		if a.slug = a.text("action"); a.slug == "" && len(r.problems) == before {
			r.add(item, "an action has no name: action: send")
		}
		if slugs[a.slug] && a.slug != "" {
			r.add(item, "two actions are called %s", a.slug)
		}
		slugs[a.slug], a.what = true, "action "+a.slug
		list = append(list, a.declare(item))
	}
	if len(list) == 0 {
		r.add(n, "actions lists none that is enabled, which would send nothing")
	}
	return list
}

func (a *action) text(key string) string {
	if n := a.m[key]; n != nil {
		return a.r.text(n, key)
	}
	return ""
}

func (a *action) add(n *yaml.Node, format string, args ...any) {
	a.r.add(n, a.what+": "+format, args...)
}

// declare makes the declared action of what was read.
func (a *action) declare(item *yaml.Node) *destination.Declared {
	title := a.text("name")
	if title == "" {
		title = a.slug
	}
	trigger := a.text("subscribe")
	if strings.TrimSpace(trigger) == "" {
		a.add(item, "it has no subscribe: say which events it is for, like type = \"track\"")
	} else if _, err := filter.Written(trigger); err != nil {
		a.add(a.m["subscribe"], "subscribe: %v", err)
	}
	whole := a.mapping()
	d := destination.Action(a.slug, title).On(trigger).Doc(a.text("doc"))
	a.types()
	d.Fields(a.fields)
	path := a.path(item)
	a.headers(d)
	if n := a.m["one_of"]; n != nil {
		list := a.r.texts(n, "one_of")
		for _, key := range list {
			a.known(n, "one_of", key)
		}
		d.NeedsOneOf(list...)
	}
	d.Steps(a.step(path, whole))
	d.Limits(a.limits)
	a.answers(d)
	return d
}

// known finds fields that are not there.
func (a *action) known(n *yaml.Node, what, key string) bool {
	if slices.Contains(a.scope.fields, key) {
		return true
	}
	a.add(n, "%s: %s", what, setting.Unknown(key, "field", a.scope.fields))
	return false
}

// wholeField is the field of a mapping that is one directive.
const wholeField = "body"

// mapping reads where the fields come from; whole says that it makes the body as one value.
func (a *action) mapping() (whole bool) {
	n := a.m["mapping"]
	if n == nil {
		return false
	}
	text, err := document.JSON(n)
	if err == nil {
		_, err = mapping.Parse(text)
	}
	if err != nil {
		a.add(n, "%v", err)
		for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 { // so that what refers to them is right
			a.scope.fields = append(a.scope.fields, n.Content[i].Value)
		}
		return false
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		a.add(n, "mapping has to be a table of fields, and where each comes from")
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if strings.HasPrefix(k.Value, "@") && len(n.Content) == 2 {
			k, v, whole = &yaml.Node{Value: wholeField, Line: k.Line}, n, true
		}
		text, err := document.JSON(v)
		var value mapping.Value
		if err == nil {
			value, err = mapping.Parse(text)
		}
		switch {
		case err != nil:
			a.add(v, "%v", err)
		case slices.Contains([]string{"settings", insertID, items}, k.Value) || k.Value == "":
			a.add(k, "no field can be called %q: {{%s}} is something else", k.Value, k.Value)
		default:
			a.scope.fields = append(a.scope.fields, k.Value)
			a.fields = append(a.fields, payload.Field{Key: k.Value, Type: payload.TypeAny, Default: value})
		}
	}
	if _, err := payload.Compile(a.fields, mapping.Value{}); err != nil {
		a.add(n, "%v", err)
	}
	return whole
}

// typeNames are what a field may be said to be.
func typeNames() map[string]payload.Type {
	return map[string]payload.Type{"text": payload.TypeString, "number": payload.TypeNumber,
		"integer": payload.TypeInteger,
		"boolean": payload.TypeBoolean, "time": payload.TypeDatetime, "object": payload.TypeObject, "any": payload.TypeAny}
}

// types reads what the fields have to be.
func (a *action) types() {
	field := func(key string) *payload.Field {
		i := slices.IndexFunc(a.fields, func(f payload.Field) bool { return f.Key == key })
		if i < 0 {
			return new(payload.Field) // what is wrong with it was said
		}
		return &a.fields[i]
	}
	if n := a.m["types"]; n != nil {
		a.r.table(n, a.what+": types", nil, func(key string, k, v *yaml.Node) {
			t, ok := typeNames()[v.Value]
			if !ok {
				a.add(v, "types: %s", setting.Unknown(v.Value, "type", Types()))
			} else if a.known(k, "types", key) {
				field(key).Type = t
			}
		})
	}
	if n := a.m["required"]; n != nil {
		for _, key := range a.r.texts(n, "required") {
			if a.known(n, "required", key) {
				field(key).Required = true
			}
		}
	}
}

// path reads where the requests go, below the base URL.
func (a *action) path(item *yaml.Node) string {
	n := a.m["path"]
	if n == nil {
		if item.Kind == yaml.MappingNode {
			a.add(item, "it has no path: where below base_url the requests go, like /events")
		}
		return "/"
	}
	t, err := parse(a.text("path"))
	if err == nil {
		err = a.check(t, true)
	}
	if err != nil {
		a.add(n, "path: %v", err)
		return "/"
	}
	a.use(t)
	plain := t.filled(func(string) string { return "x" })
	u, err := url.Parse(plain)
	if err != nil || !strings.HasPrefix(plain, "/") || u.Host != "" || u.Fragment != "" ||
		strings.ContainsAny(plain, "#\\ ") ||
		slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }) {
		a.add(n, "path has to begin with / and to stand below base_url, like /users/{{userId}}/events")
		return "/"
	}
	if slices.Contains(t.names(), insertID) || slices.Contains(t.names(), items) {
		a.add(n, "path: {{%s}} cannot stand in a path", t.names()[0])
		return "/"
	}
	text, err := t.format("%7B", "%7D")
	if err != nil {
		a.add(n, "path: %v", err)
	}
	return text
}

// headers reads those that the action sends.
func (a *action) headers(d *destination.Declared) {
	n := a.m["headers"]
	if n == nil {
		return
	}
	seen := map[string]bool{}
	a.r.table(n, a.what+": headers", nil, func(name string, k, v *yaml.Node) {
		key := http.CanonicalHeaderKey(name)
		msg := headerName(name)
		if list := a.r.auth.authorize(); msg == "" && key == "Authorization" && len(list) > 0 {
			msg = "auth says it, by " + list[0]
		}
		if msg != "" || seen[key] {
			if msg == "" {
				msg = "it stands twice"
			}
			a.add(k, "header %s: %s", cut(name), msg)
			return
		}
		seen[key] = true
		t, err := parse(a.r.text(v, "header "+name))
		if err == nil {
			err = a.check(t, true)
		}
		var value body.Value
		if err == nil {
			value, err = a.value(t)
		}
		if err != nil || slices.Contains(t.names(), items) || strings.ContainsAny(v.Value, "\r\n") {
			a.add(v, "header %s: it has to be a text without line ends, in which {{field}} may stand: %v", name, err)
			return
		}
		a.use(t)
		d.Header(key, value)
	})
}

// step reads what is sent.
func (a *action) step(path string, whole bool) destination.Step {
	method := http.MethodPost
	if n := a.m["method"]; n != nil {
		method = n.Value
		if known := Methods(); !slices.Contains(known, method) {
			a.add(n, "method: %s", setting.Unknown(method, "method", known))
			method = http.MethodPost
		}
	}
	encoding := "json"
	if method == http.MethodGet {
		encoding = "query"
	}
	if n := a.m["encoding"]; n != nil {
		encoding = n.Value
		if known := Encodings(); !slices.Contains(known, encoding) {
			a.add(n, "encoding: %s", setting.Unknown(encoding, "encoding", known))
		}
	}
	var content body.Node
	switch n := a.m["body"]; {
	case n != nil && n.Kind == yaml.ScalarNode && n.Value == "none":
		content, encoding = body.Empty(), "query"
	case n != nil:
		content = a.node(n, a.what+": body", 0)
	case whole:
		content = body.From(wholeField)
	case len(a.fields) > 0:
		content = body.Payload(a.used...)
	case encoding == "query":
		content = body.Empty()
	default:
		content = destination.EventLine()
	}
	lines := false
	if n := a.m["batch"]; n != nil {
		if encoding != "json" {
			a.add(n, "batch: only bodies of JSON hold several events")
		}
		content, lines = a.readBatch(n, content)
	}
	st := destination.Send(method, path, content)
	switch encoding {
	case "form":
		st = st.AsForm()
	case "query":
		st = st.AsQuery()
	}
	if lines {
		st = st.Of("application/x-ndjson")
	}
	if n := a.m["content_type"]; n != nil {
		if t := a.text("content_type"); strings.ContainsAny(t, "\r\n") || !strings.Contains(t, "/") {
			a.add(n, "content_type has to be like application/json")
		} else {
			st = st.Of(t)
		}
	}
	a.limits.EventBytes = a.cap("event_bytes", a.m["event_bytes"])
	return st
}

// cap reads a number of the API's.
func (a *action) cap(what string, n *yaml.Node) (c destination.Cap) {
	if n == nil {
		return c
	}
	return a.r.cap(a.what+": "+what, n)
}

func (r *reader) cap(what string, n *yaml.Node) destination.Cap {
	k, err := strconv.Atoi(n.Value)
	if err != nil || k < 1 || n.Kind != yaml.ScalarNode {
		r.add(n, "%s has to be a whole number of at least 1, not %q", what, cut(n.Value))
	}
	return destination.Cap{N: k, Docs: r.docs}
}

// readBatch reads how many events share a request: content is what is sent of each. lines says that it is text in
// lines.
func (a *action) readBatch(n *yaml.Node, content body.Node) (whole body.Node, lines bool) {
	m := map[string]*yaml.Node{}
	a.r.table(n, a.what+": batch", batchKeys(), func(key string, _, v *yaml.Node) { m[key] = v })
	a.limits.BatchEvents, a.limits.BatchBytes = a.cap("batch: events", m["events"]), a.cap("batch: bytes", m["bytes"])
	text := m["open"] != nil || m["close"] != nil || m["sep"] != nil
	if before := m["before"]; before != nil {
		if before.Kind == yaml.ScalarNode {
			a.add(before, "batch: before is a line of JSON, as a table or a list, like {create: {}}")
		}
		line := scope{r: a.r, fields: a.scope.fields, always: true}
		content = body.Above(line.node(before, a.what+": batch: before", 0), content)
	}
	switch e := m["envelope"]; {
	case e != nil && text:
		a.add(n, "batch: envelope says what open, sep and close do: take one of them out")
	case e != nil && e.Kind == yaml.ScalarNode && e.Value == "lines", e == nil && !text && m["before"] != nil:
		return body.Lines(content), true
	case e == nil && text:
		return a.framed(n, m, content)
	case m["before"] != nil:
		a.add(m["before"], "batch: before is a line above each event, which a list of JSON has none of: envelope: lines")
	case e != nil:
		return a.envelope(e, content), false
	}
	return body.Items(content), false
}

// batchKeys are those of a batch.
func batchKeys() []string {
	return []string{"envelope", "before", "open", "sep", "close", "events", "bytes"}
}

// framed reads a batch whose envelope is text: of JSON, in which it is an envelope of tables and lists, or of lines or
// other text, which are sent as they stand.
func (a *action) framed(n *yaml.Node, m map[string]*yaml.Node, content body.Node) (whole body.Node, lines bool) {
	text := func(key string) string {
		if m[key] == nil {
			return ""
		}
		s := a.r.text(m[key], key)
		if at := strings.IndexFunc(s, func(c rune) bool { return c < ' ' && !strings.ContainsRune("\t\n\r", c) }); at >= 0 {
			a.add(m[key], "batch: %s holds a control character, %q", key, s[at:at+1])
		}
		return s
	}
	open, sep, end := text("open"), text("sep"), text("close")
	var doc yaml.Node // JSON is YAML
	list := (*yaml.Node)(nil)
	if err := yaml.Unmarshal([]byte(open+`"{{items}}"`+end), &doc); err == nil && len(doc.Content) > 0 {
		list = unlisted(doc.Content[0])
	}
	plain := strings.TrimSpace(sep) == "," || sep == ""
	switch {
	case plain && m["before"] != nil:
		a.add(m["before"], "batch: before is a line above each event: sep has to be a line end, \"\\n\"")
	case plain && list == nil:
		a.add(n, "batch: open and close have to be JSON around the events of a list, [ and ], "+
			"with , between these: envelope "+
			"says it in YAML. Of what is no JSON, sep is the text between two events, such as \"\\n\"")
	case plain:
		shift(list, n.Line)
		return a.envelope(list, content), false
	case list != nil:
		a.add(n, "batch: open and close are JSON around a list, and between its events stands a comma, not %q", sep)
	case m["before"] != nil && !(strings.HasSuffix(sep, "\n") && (open == "" || strings.HasSuffix(open, "\n"))):
		a.add(m["before"], "batch: before is a line above each event: open and sep have to end with a line end, \"\\n\"")
	case strings.Contains(open+sep+end, "{{"):
		a.add(n, "batch: open, sep and close are sent as they stand: {{…}} is for envelope, and for before, the line above "+
			"each event")
	default:
		return body.Framed(open, sep, end, content), strings.Contains(sep, "\n")
	}
	return body.Items(content), false
}

// unlisted is a document with "{{items}}" in the place of ["{{items}}"]; nil: it has none.
func unlisted(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 1 && n.Content[0].Value == "{{items}}" {
		return n.Content[0]
	}
	found := false
	for i, c := range n.Content {
		if u := unlisted(c); u != nil {
			n.Content[i], found = u, true
		}
	}
	if !found {
		return nil
	}
	return n
}

// shift puts all of a document on one line of another.
func shift(n *yaml.Node, line int) {
	n.Line = line
	for _, c := range n.Content {
		shift(c, line)
	}
}

// envelope is what stands around the events.
func (a *action) envelope(n *yaml.Node, content body.Node) body.Node {
	around := scope{r: a.r, fields: a.scope.fields, batch: body.Items(content)}
	node := around.node(n, a.what+": envelope", 0)
	if around.put != 1 {
		a.add(n, "batch: in the envelope {{items}} has to stand once, and stands %d times", around.put)
		return body.Items(content)
	}
	return node
}
