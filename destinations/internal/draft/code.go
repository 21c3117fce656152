package main

import (
	"cmp"
	"fmt"
	"go/format"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// draft returns the files of a partner, by their path in the project.
func draft(d *definition) (map[string][]byte, error) {
	src, err := format.Source([]byte(d.code()))
	if err != nil {
		return nil, fmt.Errorf("%s: the code that was written is none: %w\n%s", d.Destination, err, d.code())
	}
	files := map[string][]byte{
		"destinations/" + d.Destination + "/" + packageName(d.Destination) + ".go": src,
		"cassettes/" + d.Destination + "/contract.yaml":                            []byte(d.contract()),
		"cassettes/" + d.Destination + "/cases.yaml":                               []byte(d.cases()),
	}
	return files, nil
}

func packageName(slug string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, strings.TrimSuffix(slug, "-actions"))
	if name[0] >= '0' && name[0] <= '9' {
		return "p" + name
	}
	return name
}

var notWord = regexp.MustCompile(`[^A-Za-z0-9]+`)

var words = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)

// snake is a name as settings have it: accountId is account_id, as accountID is.
func snake(name string) string {
	name = notWord.ReplaceAllString(name, "_")
	return strings.ToLower(words.ReplaceAllString(name, "${1}${3}_${2}${4}"))
}

// camel is a name as Go has it.
func camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(snake(name), "_") {
		if part == "id" || part == "url" || part == "api" {
			b.WriteString(strings.ToUpper(part))
		} else if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	if s := b.String(); s != "" && (s[0] < '0' || s[0] > '9') {
		return s
	}
	return "S" + b.String()
}

// title is a name in words: createOrUpdateContact is Create or update contact.
func title(name string) string {
	words := strings.ReplaceAll(snake(name), "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

var secretName = regexp.MustCompile(`(?i)key|token|secret|password`)

// code is the Go file.
func (d *definition) code() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	var body strings.Builder
	d.spec(&body)
	text := body.String()
	p("// Package %s delivers to %s: TODO.\npackage %[1]s\n\nimport (\n", packageName(d.Destination), d.Name)
	for _, name := range []string{"body", "destination", "field", "mapping"} {
		if strings.Contains(text, name+".") {
			p("%q\n", "github.com/fanfold/fanfold/pkg/"+name)
		}
	}
	p(")\n\n// Settings of an account.\ntype Settings struct {\n")
	for _, s := range d.settings(text, d.auth()) {
		p("%s\n", s)
	}
	p("}\n\n// TODO: the documentation of the API.\nconst docs = \"\"\n\n%s", text)
	return b.String()
}

// spec writes the constructor.
func (d *definition) spec(b *strings.Builder) {
	p := func(format string, args ...any) { fmt.Fprintf(b, format, args...) }
	p("// New declares the destination.\nfunc New() destination.Destination {\n")
	d.common = commonFields(d.Actions)
	for i, c := range d.common {
		p("%s := field.Together( // TODO: a name for what they are\n", commonName(i))
		p("%s)\n", strings.Join(together(c.lines), ""))
	}
	p("return destination.Spec[Settings]{\n")
	p("Info: destination.Info{\nSlug: %q, Name: %q, Summary: \"\", Docs: docs,\nIntegrations: []string{%q},\n",
		d.Destination, strings.TrimSuffix(d.Name, " (Actions)"), d.Name)
	automatic := slices.DeleteFunc(slices.Clone(d.Presets), func(p preset) bool {
		known := slices.ContainsFunc(d.Actions, func(a action) bool { return a.Action == p.Action })
		return p.Type != "automatic" || !known // a plugin for browsers
	})
	if len(automatic) == 0 {
		p("Minimal: true,\n")
	}
	p("Backfill: \"\", // TODO: what a backfill does there\n},\n")
	base := ""
	for _, s := range d.all() {
		if base == "" {
			base, _ = d.address(s)
		}
	}
	p("BaseURL: func(s *Settings) string { return %s },\n", inGo(base))
	if auth := d.auth(); auth != "" {
		p("Auth: func(s *Settings) destination.Auth {\nreturn %s\n},\n", auth)
	}
	if common := d.everywhere(); len(common) > 0 {
		p("Headers: map[string]body.Value{")
		for _, k := range slices.Sorted(maps.Keys(common)) {
			p("%q: %s, ", http.CanonicalHeaderKey(k), common[k])
		}
		p("},\n")
	}
	p("// TODO: Limits, each number with its URL.\n")
	p("Success: []destination.Success{{Docs: docs, Any: true}}, // TODO: as the documentation describes it\n")
	p("Actions: destination.Actions{\n")
	for i := range d.Actions {
		d.action(b, &d.Actions[i], base)
	}
	p("},\n")
	if len(automatic) > 0 {
		p("Presets: []destination.Preset{\n")
		for _, x := range automatic {
			line := fmt.Sprintf("{Name: %q, Action: %q", x.Name, x.Action)
			if !slices.ContainsFunc(d.Actions, func(a action) bool { return a.Action == x.Action && a.Trigger == x.Sub }) {
				line += ", Subscribe: `" + strings.ReplaceAll(x.Sub, "`", "'") + "`" // not the action's own
			}
			if with := d.presetMapping(x); len(line)+len(with) > 100 {
				p("%s%s},\n", line, strings.Replace(with, ", ", ",\n", 1))
			} else {
				p("%s%s},\n", line, with)
			}
		}
		p("},\n")
	}
	p("}.Destination()\n}\n")
}

// settings are the lines of the settings; text is the constructor, and auth how requests are signed.
func (d *definition) settings(text, auth string) (lines []string) {
	all := d.Settings
	given := func(k string) bool { return camel(k) == "AccessToken" }
	if strings.Contains(auth, "s.AccessToken") && !slices.ContainsFunc(all, given) {
		all = append(slices.Clone(all), "access_token")
	}
	for _, k := range all {
		kind, tag := "string", snake(k)
		example, _ := written(d.values[k])
		switch d.values[k].(type) {
		case bool:
			kind, example = "bool", ""
		case float64:
			kind = "int"
		default:
			if d.always(k) {
				tag += ",required"
			}
		}
		if strings.Contains(text, "{ return s."+camel(k)+" }") && !strings.Contains(example, "://") {
			example = "https://partner.example"
		}
		if secretName.MatchString(k) {
			tag += ",secret"
			example = cmp.Or(strings.Repeat("0", max(0, 16-len(example))), "0") + example
		}
		if strings.Contains(auth, "s."+camel(k)+")") || strings.Contains(auth, "s."+camel(k)+",") {
			tag += ",transport"
		}
		line := fmt.Sprintf("%s %s `setting:%q doc:\"TODO\"", camel(k), kind, tag)
		if kind == "string" {
			line += fmt.Sprintf(" example:%q", cmp.Or(example, "TODO"))
		}
		lines = append(lines, line+"`")
	}
	return lines
}

func (d *definition) action(b *strings.Builder, a *action, base string) {
	p := func(format string, args ...any) { fmt.Fprintf(b, format, args...) }
	p("destination.Action(%q, %q)", a.Action, title(a.Action))
	if a.Trigger != "" {
		p(".On(`%s`)", strings.ReplaceAll(a.Trigger, "`", "'"))
	}
	p(".Doc(\"TODO\").\n")
	if fields := d.fieldsOf(a); len(fields) > 0 {
		p("Fields(\n%s).\n", strings.Join(fields, ""))
	}
	shapes := d.shapes[a.Action]
	if len(shapes) == 0 {
		p("// TODO: no request of it was observed.\nPost(\"/\", body.Payload()),\n")
		return
	}
	common := d.everywhere()
	for _, s := range shapes {
		for _, k := range slices.Sorted(maps.Keys(d.headers(s))) {
			if v := d.headers(s)[k]; common[k] != v {
				p("Header(%q, %s).\n", http.CanonicalHeaderKey(k), v)
				common[k] = v
			}
		}
		p("%s", d.unexplained(a, s))
	}
	elsewhere := func(s shape) string {
		if at, _ := d.address(s); at != base {
			return ".At(" + strconv.Quote(at) + ")"
		}
		return ""
	}
	var requests strings.Builder
	if !d.single(&requests, a, elsewhere(shapes[0])) {
		d.steps(&requests, a, elsewhere)
	}
	if left := unused(a, requests.String()); len(left) > 0 {
		p("// TODO: no request was seen with these fields, so that they are sent nowhere: %s\n", strings.Join(left, ", "))
	}
	b.WriteString(requests.String())
}

// single writes the request of an action that has one; false: it needs steps.
func (d *definition) single(b *strings.Builder, a *action, elsewhere string) bool {
	shapes := d.shapes[a.Action]
	verb := map[string]string{"POST": "Post", "PUT": "Put", "PATCH": "Patch", "GET": "Get"}[shapes[0].Method]
	if len(shapes) > 1 || elsewhere != "" || verb == "" {
		return false
	}
	if verb == "Post" && shapes[0].Form {
		verb = "PostForm"
	}
	_, path := d.address(shapes[0])
	fmt.Fprintf(b, "%s(%q, %s),\n", verb, path, d.body(a, shapes[0]))
	return true
}

// steps writes the requests of an action, one after the other.
func (d *definition) steps(b *strings.Builder, a *action, elsewhere func(shape) string) {
	shapes := d.shapes[a.Action]
	b.WriteString("Steps(\n")
	for i, s := range shapes {
		_, path := d.address(s)
		as := elsewhere(s)
		if s.Form {
			as += ".AsForm()"
		} else if s.Method == "GET" {
			as += ".AsQuery()"
		}
		if i > 0 {
			b.WriteString("// TODO: what it needs of an earlier answer (TakeAt, body.MaybeTaken, IfTaken), and what is\n" +
				"// sent when something was found.\n")
		}
		fmt.Fprintf(b, "destination.Send(%q, %q, %s)%s,\n", s.Method, path,
			d.body(&action{Action: a.Action, Fields: a.Fields, Batch: a.Batch && len(shapes) == 1}, s), as)
	}
	b.WriteString("),\n")
}

// unused are the fields that stand in no request.
func unused(a *action, requests string) (keys []string) {
	if strings.Contains(requests, "body.Fields(") || strings.Contains(requests, "body.Payload(") {
		return nil
	}
	for _, f := range a.Fields {
		below := strings.Contains(f.Key, ".") && hasParent(a.Fields, f.Key)
		used := regexp.MustCompile(`["{ ]` + regexp.QuoteMeta(f.Key) + `["}.]`)
		if !below && !used.MatchString(requests) {
			keys = append(keys, f.Key)
		}
	}
	return keys
}

// presetMapping is what a preset maps otherwise than its action does.
func (d *definition) presetMapping(x preset) string {
	var own, lines []string
	for _, a := range d.Actions {
		if a.Action != x.Action {
			continue
		}
		for _, f := range a.Fields {
			v, ok := x.Mapping[f.Key]
			if ok && !reflect.DeepEqual(v, f.Default) {
				own = append(own, fmt.Sprintf("%q: %s", f.Key, value(v)))
				if text, ok := v.(string); ok && !strings.ContainsAny(text+f.Key, "`\"\\{.") {
					lines = append(lines, "`"+f.Key+` = "`+text+"\"`")
				}
			}
		}
	}
	switch {
	case own == nil:
		return ""
	case len(lines) == len(own):
		return ", Mapping: mapping.Lines(" + wrapped(lines) + ")"
	}
	return ", Mapping: map[string]mapping.Value{" + strings.Join(own, ", ") + "}"
}

// common are fields that several actions have, with all that is said of them.
type common struct {
	actions []string
	lines   []string
}

// commonFields are the fields that are worth a name of their own: together they spare at least three lines.
func commonFields(all []action) (list []common) {
	having := map[string][]string{} // actions, by line
	var lines []string
	for _, a := range all {
		for _, l := range plainLines(a.Fields, "") {
			if !slices.Contains(lines, l) {
				lines = append(lines, l)
			}
			having[l] = append(having[l], a.Action)
		}
	}
	for _, l := range lines {
		of := having[l]
		i := slices.IndexFunc(list, func(c common) bool { return slices.Equal(c.actions, of) })
		if i < 0 {
			i = len(list)
			list = append(list, common{actions: of})
		}
		list[i].lines = append(list[i].lines, l)
	}
	return slices.DeleteFunc(list, func(c common) bool {
		n := len(strings.Split(strings.Join(together(c.lines), ""), "\n")) - 1
		return len(c.actions) < 2 || (n-1)*(len(c.actions)-1) < 3
	})
}

// commonName is what the author of a draft finds a better name for.
func commonName(i int) string { return "common" + strconv.Itoa(i+1) }

// fieldsOf are the lines of an action's fields, those that it has in common with others by their name.
func (d *definition) fieldsOf(a *action) (out []string) {
	own := plainLines(a.Fields, "")
	for i, c := range d.common {
		if slices.Contains(c.actions, a.Action) {
			out = append(out, commonName(i)+",\n")
			own = slices.DeleteFunc(own, func(l string) bool { return slices.Contains(c.lines, l) })
		}
	}
	return append(out, together(own)...)
}

// plural is a line of a field that is nothing but its type and its paths, which several can share.
var plural = regexp.MustCompile(`^field\.(Text|Number|Integer|Boolean)\("([^" ]+)"\)(\.List\(\))?` +
	`(?:\.From\("\$\.([^",]+)"((?:, "\$\.[^",]+")*)\))?,\n$`)

// together are lines of which those that follow each other and say but a type and its paths are one.
func together(lines []string) (out []string) {
	kind, list, keys := "", "", []string(nil)
	flush := func() {
		switch {
		case len(keys) == 1:
			out = append(out, lines[0])
		case len(keys) > 1:
			with := ""
			if list != "" {
				with = ".With(field.Line.List)"
			}
			out = append(out, "field."+kind+"s("+wrapped(keys)+")"+with+",\n")
		}
		lines, keys = lines[len(keys):], nil
	}
	for _, line := range slices.Clone(lines) {
		m := plural.FindStringSubmatch(line)
		if m == nil {
			flush()
			out, lines = append(out, line), lines[1:]
			continue
		}
		if m[1] != kind || m[3] != list {
			flush()
		}
		key := m[2]
		if m[4] != "" {
			key += " = " + m[4] + strings.NewReplacer(`"$.`, "", `"`, "").Replace(m[5])
		}
		kind, list, keys = m[1], m[3], append(keys, strconv.Quote(key))
	}
	flush()
	return out
}

// wrapped are texts with commas between them, in lines that can be read.
func wrapped(texts []string) string {
	var b strings.Builder
	n := 0
	for i, t := range texts {
		if i > 0 {
			b.WriteString(", ")
		}
		if n += len(t) + 2; n > 100 {
			b.WriteString("\n")
			n = len(t)
		}
		b.WriteString(t)
	}
	return b.String()
}

// fieldLines are the fields below an object, one a line, but for those that share one.
func fieldLines(all []fact, below string) []string { return together(plainLines(all, below)) }

// plainLines are the same, each on a line of its own.
func plainLines(all []fact, below string) []string {
	var out []string
	for _, f := range all {
		key, ok := strings.CutPrefix(f.Key, below)
		if !ok || strings.Contains(key, ".") && (below != "" || hasParent(all, f.Key)) {
			continue
		}
		line := fieldLine(all, f, key)
		if f.Choices > 0 {
			line += fmt.Sprintf(", // TODO: OneOf: there are %d choices", f.Choices)
		} else {
			line += ","
		}
		out = append(out, line+"\n")
	}
	return out
}

func hasParent(all []fact, key string) bool {
	parent := key[:strings.LastIndexByte(key, '.')]
	return slices.ContainsFunc(all, func(f fact) bool { return f.Key == parent })
}

var kinds = map[string]string{
	"number": "Number", "integer": "Integer", "boolean": "Boolean", "datetime": "Time", "object": "Object",
}

func fieldLine(all []fact, f fact, key string) string {
	var members []fact
	for _, m := range all {
		if strings.HasPrefix(m.Key, f.Key+".") {
			members = append(members, m)
		}
	}
	from := mapped(f.Default)
	if len(members) > 0 {
		from = intoMembers(f, members, from)
	}
	line := "field." + cmp.Or(kinds[f.Type], "Text") + "(" + strconv.Quote(key)
	if lines := fieldLines(members, f.Key+"."); len(lines) > 0 {
		line += ",\n" + strings.Join(lines, "")
	}
	line += ")"
	switch f.Format {
	case "email":
		line += ".Email()"
	case "uri", "uri-reference", "ipv4", "uuid", "date":
		line += fmt.Sprintf(".Format(%q)", f.Format)
	}
	if f.Required {
		line += ".Required()"
	}
	if f.Multiple && !strings.HasPrefix(from, ".EachOf") {
		line += ".List()"
	}
	line += from
	for _, s := range sets {
		if head, ok := strings.CutSuffix(line, s.mapping); ok && strings.HasPrefix(line, "field."+s.kind+"(") {
			line = "field." + s.name + strings.TrimPrefix(head, "field."+s.kind)
		}
	}
	return line
}

// sets are the field sets that stand for a type and a mapping.
var sets = []struct{ kind, mapping, name string }{
	{"Text", `.From("$.userId")`, "UserID"},
	{"Text", `.From("$.anonymousId")`, "AnonymousID"},
	{"Text", `.From("$.userId", "$.anonymousId")`, "AnyID"},
	{"Time", `.From("$.timestamp")`, "Timestamp"},
	{"Text", `.From("$.messageId")`, "MessageID"},
	{"Text", `.From("$.context.ip")`, "IP"},
	{"Text", `.From("$.context.userAgent")`, "UserAgent"},
	{"Text", `.From("$.context.page.url")`, "PageURL"},
	{"Text", `.From("$.properties.currency")`, "Currency"},
}

// intoMembers gives an object's mapping to its members, and returns what is left of it.
func intoMembers(f fact, members []fact, from string) string {
	shape, rest := f.Default, ""
	if m, ok := f.Default.(map[string]any); ok && len(m) == 1 {
		if list, ok := m["@arrayPath"].([]any); ok && len(list) == 2 {
			path, ok := list[0].(string)
			if !ok {
				return from
			}
			shape, rest = list[1], fmt.Sprintf(".EachOf(%q)", path)
		}
	}
	m, ok := shape.(map[string]any)
	if !ok {
		return from
	}
	for k := range m {
		if !slices.ContainsFunc(members, func(x fact) bool { return x.Key == f.Key+"."+k }) {
			return from // the whole is mapped to something else
		}
	}
	for i := range members {
		if v, ok := m[strings.TrimPrefix(members[i].Key, f.Key+".")]; ok && members[i].Default == nil {
			members[i].Default = v
		}
	}
	return rest
}
