package main

import (
	"cmp"
	"fmt"
	"go/format"
	"maps"
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

// snake is a name as settings have it: accountId is account_id.
func snake(name string) string {
	var b strings.Builder
	last := '_'
	for _, c := range notWord.ReplaceAllString(name, "_") {
		if unicode.IsUpper(c) && last != '_' && !unicode.IsUpper(last) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
		last = c
	}
	return b.String()
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
	for _, s := range d.Settings {
		tag := snake(s) + ",required"
		if secretName.MatchString(s) {
			tag += ",secret,transport"
		}
		p("%s string `setting:%q doc:\"TODO\" example:\"TODO\"`\n", camel(s), tag)
	}
	p("}\n\n// TODO: the documentation of the API.\nconst docs = \"\"\n\n%s", text)
	return b.String()
}

// spec writes the constructor.
func (d *definition) spec(b *strings.Builder) {
	p := func(format string, args ...any) { fmt.Fprintf(b, format, args...) }
	p("// New declares the destination.\nfunc New() destination.Destination {\nreturn destination.Spec[Settings]{\n")
	p("Info: destination.Info{\nSlug: %q, Name: %q, Summary: \"\", Docs: docs, Integrations: []string{%q},\n",
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
	for _, a := range d.Actions {
		for _, s := range d.shapes[a.Action] {
			if base == "" {
				base, _ = d.address(s)
			}
		}
	}
	p("BaseURL: func(s *Settings) string { return %q },\n", base)
	p("%s// TODO: Limits, each number with its URL; Success as the documentation describes it.\n", d.auth())
	p("Actions: destination.Actions{\n")
	for i := range d.Actions {
		d.action(b, &d.Actions[i], base)
	}
	p("},\n")
	if len(automatic) > 0 {
		p("Presets: []destination.Preset{\n")
		for _, x := range automatic {
			trigger := ", Subscribe: `" + strings.ReplaceAll(x.Sub, "`", "'") + "`"
			if slices.ContainsFunc(d.Actions, func(a action) bool { return a.Action == x.Action && a.Trigger == x.Sub }) {
				trigger = "" // the action's own
			}
			p("{Name: %q, Action: %q%s%s},\n", x.Name, x.Action, trigger, d.presetMapping(x))
		}
		p("},\n")
	}
	p("}.Destination()\n}\n")
}

// auth is how the observed requests were signed.
func (d *definition) auth() string {
	header := ""
	for _, list := range d.shapes {
		for _, s := range list {
			header = cmp.Or(header, s.Headers["authorization"])
		}
	}
	secret := ""
	for _, s := range d.Settings {
		if secretName.MatchString(s) && secret == "" {
			secret = "s." + camel(s)
		}
	}
	kind, _, _ := strings.Cut(header, " ")
	how := ""
	switch secret = cmp.Or(secret, `""`); kind {
	case "Bearer":
		how = "Bearer(" + secret + ")"
	case "Basic":
		how = "Basic(" + secret + `, "")`
	case "":
		return ""
	default:
		how = `HeaderAuth("Authorization", ` + secret + ")"
	}
	return "Auth: func(s *Settings) destination.Auth { return destination." + how + " },\n"
}

// address splits a request's address into the part above the path, and the path with the
// names of settings in it.
func (d *definition) address(s shape) (base, path string) {
	if len(s.URLs) == 0 {
		return "", "/"
	}
	url := s.URLs[0]
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return "", "/"
	}
	host, path, _ := strings.Cut(rest, "/")
	known := d.settings()
	for _, k := range slices.SortedFunc(maps.Keys(known), func(a, b string) int { return len(known[b]) - len(known[a]) }) {
		if slices.Contains(d.Settings, k) {
			path = strings.ReplaceAll(path, known[k], "{settings."+snake(k)+"}")
		}
	}
	return scheme + "://" + host, "/" + path
}

func (d *definition) action(b *strings.Builder, a *action, base string) {
	p := func(format string, args ...any) { fmt.Fprintf(b, format, args...) }
	p("destination.Action(%q, %q)", a.Action, title(a.Action))
	if a.Trigger != "" {
		p(".On(`%s`)", strings.ReplaceAll(a.Trigger, "`", "'"))
	}
	p(".Doc(\"TODO\").\n")
	if fields := fieldLines(a.Fields, ""); len(fields) > 0 {
		p("Fields(\n%s).\n", strings.Join(fields, ""))
	}
	shapes := d.shapes[a.Action]
	if len(shapes) == 0 {
		p("// TODO: no request of it was observed.\nPost(\"/\", body.Payload()),\n")
		return
	}
	if at, _ := d.address(shapes[0]); at != base {
		p("At(%q).\n", at)
	}
	if len(shapes) == 1 {
		_, path := d.address(shapes[0])
		verb := map[string]string{"POST": "Post", "PUT": "Put", "PATCH": "Patch", "GET": "Get"}[shapes[0].Method]
		if verb == "Post" && shapes[0].Form {
			verb = "PostForm"
		}
		if verb != "" {
			p("%s(%q, %s),\n", verb, path, d.body(a, shapes[0]))
			return
		}
	}
	p("Steps(\n")
	for _, s := range shapes {
		_, path := d.address(s)
		as := ""
		if s.Form {
			as = ".AsForm()"
		} else if s.Method == "GET" {
			as = ".AsQuery()"
		}
		p("destination.Send(%q, %q, %s)%s,\n", s.Method, path, d.body(&action{Action: a.Action, Fields: a.Fields}, s), as)
	}
	p("),\n")
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

// plural is a line of a field that is nothing but its type and its paths, which several can share.
var plural = regexp.MustCompile(`^field\.(Text|Number|Integer|Boolean)\("([^" ]+)"\)(?:\.From\("\$\.([^",]+)"((?:, "\$\.[^",]+")*)\))?,\n$`)

// together are lines of which those that follow each other and say but a type and its paths are one.
func together(lines []string) (out []string) {
	kind, keys := "", []string(nil)
	flush := func() {
		switch {
		case len(keys) == 1:
			out = append(out, lines[0])
		case len(keys) > 1:
			out = append(out, "field."+kind+"s("+wrapped(keys)+"),\n")
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
		if m[1] != kind {
			flush()
		}
		key := m[2]
		if m[3] != "" {
			key += " = " + m[3] + strings.NewReplacer(`"$.`, "", `"`, "").Replace(m[4])
		}
		kind, keys = m[1], append(keys, strconv.Quote(key))
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
func fieldLines(all []fact, below string) []string {
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
	return together(out)
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
