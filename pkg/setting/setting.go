// Package setting turns one tagged struct into everything that a destination's
// settings need: decoding, defaults, validation, documentation, and which
// values are secret. Nothing about a setting is written twice.
//
//	type Settings struct {
//		ProjectToken string `setting:"project_token,required" doc:"Token of the project." example:"0123456789abcdef"`
//		APISecret    string `setting:"api_secret,required,secret" doc:"Secret of the project." example:"fedcba9876543210"`
//		APIRegion    string `setting:"api_region" doc:"Where the data lives." default:"us" choices:"us,eu,in"`
//	}
//
// Tags: setting is the key and its flags (required, secret, and transport or
// stamp, see Field); doc is one or two sentences; default stands in for a value
// that is not given; choices bound it; pattern is a regular expression for the
// whole value; example is a value that is right in form and opens nothing:
// cassettes hold it in the place of a secret. Fields are string, bool, int,
// float64, []string, map[string]string or time.Duration.
//
// Values come as text (environment, flags) or as decoded YAML; a table as text is
// a JSON object, or NAME: VALUE lines. All problems are reported at once.
package setting

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Field documents one setting.
type Field struct {
	Key      string `json:"key"`
	Type     string `json:"type"` // text, boolean, integer, number, list, table, duration
	Doc      string `json:"doc"`
	Required bool   `json:"required"`
	Secret   bool   `json:"secret"`
	// Transport says that only where and how requests go depends on it, not
	// what becomes of an event.
	Transport bool `json:"-"`
	// Stamp says that what becomes of an event depends on it only in that the
	// text itself stands in it.
	Stamp   bool     `json:"-"`
	Default string   `json:"default,omitempty"`
	Choices []string `json:"choices,omitempty"`
	// Places are where the first of the choices are, such as us and eu, where these are codes of the partner's.
	Places []string `json:"-"`
	// Elsewhere is the value that comes to what other tools do, where these have no such setting.
	Elsewhere string `json:"-"`
	Pattern   string `json:"pattern,omitempty"`
	Example   string `json:"example,omitempty"`
	index     []int
}

// Schema is what the tags of a struct say.
type Schema struct {
	Fields []Field
	typ    reflect.Type
}

// Problem is one thing that is wrong with the values given.
type Problem struct {
	Key string // the setting
	Msg string // what is wrong and what would be right; never holds a value
	// Missing says that a required setting has no value at all, so that the
	// caller can name the places where it could come from.
	Missing bool
}

func (p *Problem) Error() string { return "setting " + p.Key + ": " + p.Msg }

// Problems unwraps err into the problems it holds.
func Problems(err error) []*Problem {
	var out []*Problem
	var walk func(error)
	walk = func(err error) {
		var p *Problem
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
		} else if errors.As(err, &p) {
			out = append(out, p)
		}
	}
	walk(err)
	return out
}

// Of returns the schema of the struct type S. It panics on tags that make no
// sense, since those are part of the program.
func Of[S any]() Schema {
	t := reflect.TypeFor[S]()
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("setting: %s is no struct", t))
	}
	s := Schema{typ: t}
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("setting")
		if !ok {
			continue
		}
		key, flags, _ := strings.Cut(tag, ",")
		field := Field{Key: key, Doc: f.Tag.Get("doc"), Default: f.Tag.Get("default"), Pattern: f.Tag.Get("pattern"),
			Example: f.Tag.Get("example"), Elsewhere: f.Tag.Get("elsewhere"), Type: typeName(f.Type), index: f.Index}
		if c := f.Tag.Get("choices"); c != "" {
			field.Choices = strings.Split(c, ",")
		}
		if p := f.Tag.Get("places"); p != "" {
			field.Places = strings.Split(p, ",")
		}
		for flag := range strings.SplitSeq(flags, ",") {
			switch flag {
			case "":
			case "required":
				field.Required = true
			case "secret":
				field.Secret = true
			case "transport":
				field.Transport = true
			case "stamp":
				field.Stamp = true
			default:
				panic(fmt.Sprintf("setting: %s.%s: unknown flag %q", t, f.Name, flag))
			}
		}
		if field.Type == "" || field.Pattern != "" && regexp.MustCompile(field.Pattern) == nil {
			panic(fmt.Sprintf("setting: %s.%s: %s cannot be a setting", t, f.Name, f.Type))
		}
		if field.Example != "" && !field.fits(field.Example) {
			panic(fmt.Sprintf("setting: %s.%s: its example does not have its own form: the pattern is of the whole value", t,
				f.Name))
		}
		if len(field.Places) > len(field.Choices) {
			panic(fmt.Sprintf("setting: %s.%s: there are more places than choices", t, f.Name))
		}
		if field.Stamp && (field.Type != "text" || slices.ContainsFunc(s.Fields, func(f Field) bool { return f.Stamp })) {
			panic(fmt.Sprintf("setting: %s.%s: a stamp is a text, and there is only one", t, f.Name))
		}
		s.Fields = append(s.Fields, field)
	}
	return s
}

// fits says that a text has the form that the setting asks for.
func (f *Field) fits(text string) bool {
	return f.Pattern == "" || regexp.MustCompile(`\A(?:`+f.Pattern+`)\z`).MatchString(text)
}

// Dynamic are settings whose schema is made when the program runs: see [Declare].
type Dynamic struct{ values reflect.Value }

// Declare is the schema of settings with these fields, for [Dynamic]. The error joins one
// *Problem for each field that makes no sense.
func Declare(fields []Field) (Schema, error) {
	types := map[string]reflect.Type{
		"text": reflect.TypeFor[string](), "boolean": reflect.TypeFor[bool](), "integer": reflect.TypeFor[int64](),
		"number": reflect.TypeFor[float64](), "list": reflect.TypeFor[[]string](),
		"table": reflect.TypeFor[map[string]string](), "duration": reflect.TypeFor[time.Duration](),
	}
	var errs []error
	var members []reflect.StructField
	s := Schema{}
	for i, f := range fields {
		if f.Type == "" {
			f.Type = "text"
		}
		switch _, twice := s.Field(f.Key); {
		case !keyForm.MatchString(f.Key):
			errs = append(errs, &Problem{Key: f.Key, Msg: "has to be called in letters, digits and _"})
		case twice:
			errs = append(errs, &Problem{Key: f.Key, Msg: "is declared twice"})
		case types[f.Type] == nil:
			errs = append(errs, &Problem{Key: f.Key, Msg: Unknown(f.Type, "type", slices.Sorted(maps.Keys(types)))})
		default:
			if _, err := regexp.Compile(f.Pattern); err != nil {
				errs = append(errs, &Problem{Key: f.Key, Msg: "its pattern is no regular expression: " + err.Error()})
			} else if f.Example != "" && !f.fits(f.Example) {
				errs = append(errs, &Problem{Key: f.Key, Msg: "its example does not have its own form: the pattern is of the " +
					"whole value"})
			}
			f.index = []int{i}
			members = append(members, reflect.StructField{Name: "F" + strconv.Itoa(i), Type: types[f.Type]})
			s.Fields = append(s.Fields, f)
		}
	}
	if len(errs) > 0 {
		return Schema{}, errors.Join(errs...)
	}
	s.typ = reflect.StructOf(members)
	return s, nil
}

var keyForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$`)

// valuesOf is the struct that settings are in.
func valuesOf(settings any) reflect.Value {
	if d, ok := settings.(*Dynamic); ok {
		return d.values
	}
	return reflect.Indirect(reflect.ValueOf(settings))
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return "integer"
	case t.Kind() == reflect.Float64:
		return "number"
	case t == reflect.TypeFor[[]string]():
		return "list"
	case t == reflect.TypeFor[map[string]string]():
		return "table"
	}
	return ""
}

// Field returns the field with a key.
func (s Schema) Field(key string) (Field, bool) {
	for _, f := range s.Fields {
		if f.Key == key {
			return f, true
		}
	}
	return Field{}, false
}

// Keys returns all keys, in the order of the struct.
func (s Schema) Keys() []string {
	keys := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		keys[i] = f.Key
	}
	return keys
}

// Examples returns an example for every setting that has one, or else its
// default: values with which a destination opens, for rehearsals and tests.
func (s Schema) Examples() map[string]any {
	m := map[string]any{}
	for _, f := range s.Fields {
		if f.Example != "" {
			m[f.Key] = f.Example
		}
	}
	return m
}

// Decode fills a new S from values. The error joins one *Problem for each
// thing that is wrong.
func Decode[S any](s Schema, values map[string]any) (*S, error) {
	out := new(S)
	v := reflect.ValueOf(out).Elem()
	if d, ok := any(out).(*Dynamic); ok {
		d.values = reflect.New(s.typ).Elem()
		v = d.values
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if _, ok := s.Field(key); !ok {
			msg := "there is no such setting"
			if near := Nearest(key, s.Keys()); near != "" {
				msg += "; did you mean " + near + "?"
			} else if len(s.Fields) > 0 {
				msg += "; the settings are " + strings.Join(s.Keys(), ", ")
			}
			errs = append(errs, &Problem{Key: key, Msg: msg})
		}
	}
	for _, f := range s.Fields {
		given, ok := values[f.Key]
		if t, isText := given.(string); !ok || given == nil || isText && t == "" && f.Type != "text" {
			given = nil
			if f.Default != "" {
				given = f.Default
			}
		}
		if t, isText := given.(string); given == nil || isText && t == "" {
			if f.Required {
				errs = append(errs, &Problem{Key: f.Key, Msg: "is required", Missing: true})
			} else if isText && f.Default != "" && len(f.Choices) > 0 { // nothing is no choice, and not the default
				errs = append(errs, f.check(""))
			}
			continue
		}
		if err := f.assign(v.FieldByIndex(f.index), given); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

// assign puts a value into the field of a struct, or says what it has to be.
func (f Field) assign(dst reflect.Value, given any) error {
	switch f.Type {
	case "text":
		text, ok := textOf(given)
		if !ok {
			return f.wrong("text", given)
		}
		if err := f.check(text); err != nil {
			return err
		}
		dst.SetString(text)
	case "boolean":
		b, ok := booleanOf(given)
		if !ok {
			return f.wrong("true or false", given)
		}
		dst.SetBool(b)
	case "integer":
		n, ok := integerOf(given)
		if !ok {
			return f.wrong("a whole number", given)
		}
		dst.SetInt(n)
	case "number":
		n, ok := numberOf(given)
		if !ok {
			return f.wrong("a number", given)
		}
		dst.SetFloat(n)
	case "duration":
		text, isText := given.(string)
		d, err := time.ParseDuration(text)
		if err != nil || !isText || d < 0 {
			return f.wrong("a duration such as 30s or 5m", given)
		}
		dst.SetInt(int64(d))
	case "list":
		return f.assignList(dst, given)
	case "table":
		return f.assignTable(dst, given)
	}
	return nil
}

// wrong says what a value has to be, and what kind of value it is: the value itself may be
// a secret.
func (f Field) wrong(want string, given any) error {
	return &Problem{Key: f.Key, Msg: "has to be " + want + ", not " + kindOf(given)}
}

// kindOf is what kind of value it is.
func kindOf(given any) string {
	switch given.(type) {
	case nil:
		return "nothing"
	case string:
		return "text"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case bool:
		return "a boolean"
	case int, int64, uint64, float64:
		return "a number"
	}
	return fmt.Sprintf("a %T", given)
}

func booleanOf(given any) (b, ok bool) {
	if b, ok = given.(bool); ok {
		return b, true
	}
	text, _ := given.(string)
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return true, true
	case "false", "no", "off", "0":
		return false, true
	}
	return false, false
}

func integerOf(given any) (int64, bool) {
	switch g := given.(type) {
	case int:
		return int64(g), true
	case int64:
		return g, true
	case string:
		n, err := strconv.ParseInt(g, 10, 64)
		return n, err == nil
	}
	return 0, false
}

// numberOf takes only what can be counted with.
func numberOf(given any) (n float64, ok bool) {
	switch g := given.(type) {
	case int:
		n = float64(g)
	case int64:
		n = float64(g)
	case float64:
		n = g
	case string:
		var err error
		if n, err = strconv.ParseFloat(g, 64); err != nil {
			return 0, false
		}
	default:
		return 0, false
	}
	return n, !math.IsNaN(n) && !math.IsInf(n, 0)
}

func (f Field) assignList(dst reflect.Value, given any) error {
	var items []string
	switch g := given.(type) {
	case string:
		for item := range strings.SplitSeq(g, ",") {
			items = append(items, strings.TrimSpace(item))
		}
	case []any:
		for _, item := range g {
			text, ok := textOf(item)
			if !ok {
				return &Problem{Key: f.Key, Msg: "has to be a list of texts"}
			}
			items = append(items, text)
		}
	default:
		return f.wrong("a list", given)
	}
	for _, item := range items {
		if err := f.check(item); err != nil {
			return err
		}
	}
	dst.Set(reflect.ValueOf(items))
	return nil
}

func (f Field) assignTable(dst reflect.Value, given any) error {
	m, ok := map[string]string{}, false
	switch g := given.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(g)) {
			if m[k], ok = textOf(g[k]); !ok {
				return &Problem{Key: f.Key, Msg: "has to be a table of texts, and " + k + " is " + kindOf(g[k])}
			}
		}
	case map[string]string:
		maps.Copy(m, g)
	case string: // as on the command line
		var err error
		if m, err = parseTable(g); err != nil {
			return &Problem{Key: f.Key, Msg: err.Error()}
		}
	default:
		return f.wrong("a table", given)
	}
	dst.Set(reflect.ValueOf(m))
	return nil
}

// textOf is the text of a value that stands for itself: no list, no table.
func textOf(given any) (string, bool) {
	switch v := given.(type) {
	case string:
		return v, true
	case int, int64, uint64, bool:
		return fmt.Sprint(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

// parseTable reads a table from text: a JSON object, or NAME: VALUE lines. Its
// errors hold nothing of the text.
func parseTable(text string) (map[string]string, error) {
	m := map[string]string{}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		var members map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &members) != nil {
			return nil, errors.New("begins like a JSON object, but is none")
		}
		for k, raw := range members {
			switch raw[0] {
			case '{', '[', 'n':
				return nil, errors.New("has to be a JSON object of texts")
			case '"':
				var v string
				if err := json.Unmarshal(raw, &v); err != nil {
					return nil, errors.New("begins like a JSON object, but is none")
				}
				m[k] = v
			default: // numbers stay as they are written
				m[k] = string(raw)
			}
		}
		return m, nil
	}
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errors.New("has to be NAME: VALUE lines, or a JSON object")
		}
		m[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return m, nil
}

func (f Field) check(text string) error {
	if len(f.Choices) > 0 && !slices.Contains(f.Choices, text) {
		msg := "has to be one of " + strings.Join(f.Choices, ", ")
		if !f.Secret {
			msg += ", not " + strconv.Quote(text)
		}
		return &Problem{Key: f.Key, Msg: msg}
	}
	if !f.fits(text) {
		msg := "does not have the right form"
		if f.Example != "" {
			msg += ", which is like " + f.Example
		}
		return &Problem{Key: f.Key, Msg: msg}
	}
	return nil
}

// Content is a text that is the same for settings that differ in nothing but
// fields of the transport, and a stamp that takes as much room in JSON.
func (s Schema) Content(settings any) string {
	v := valuesOf(settings)
	var b strings.Builder
	for _, f := range s.Fields {
		switch x := v.FieldByIndex(f.index); {
		case f.Transport:
		case f.Stamp:
			fmt.Fprintf(&b, "%s of %d bytes\n", f.Key, len(event.AppendQuoted(nil, x.String())))
		default:
			fmt.Fprintf(&b, "%s=%#v\n", f.Key, x.Interface())
		}
	}
	return b.String()
}

// Values are the settings by their keys, as the fields of the struct hold them.
func (s Schema) Values(settings any) map[string]any {
	v := valuesOf(settings)
	values := map[string]any{}
	for _, f := range s.Fields {
		values[f.Key] = v.FieldByIndex(f.index).Interface()
	}
	return values
}

// Stamp is the JSON text of the setting that is a stamp; "": there is none.
func (s Schema) Stamp(settings any) string {
	for _, f := range s.Fields {
		if f.Stamp {
			return string(event.AppendQuoted(nil, valuesOf(settings).FieldByIndex(f.index).String()))
		}
	}
	return ""
}

// Secrets returns the values of secret settings in s, a pointer to the struct
// that the schema describes.
func (s Schema) Secrets(settings any) []string {
	v := valuesOf(settings)
	var out []string
	for _, f := range s.Fields {
		if !f.Secret {
			continue
		}
		switch x := v.FieldByIndex(f.index).Interface().(type) {
		case string:
			if x != "" {
				out = append(out, x)
			}
		case []string:
			out = append(out, x...)
		case map[string]string:
			for _, k := range slices.Sorted(maps.Keys(x)) {
				out = append(out, x[k])
			}
		}
	}
	return out
}

// Starred returns values by key with stars in the place of secrets of less than so many
// bytes, as many as there were, where these cannot be told from other text afterwards.
// values stay as they are.
func (s Schema) Starred(values map[string]any, less int) map[string]any {
	var star func(any) any
	star = func(v any) any {
		switch x := v.(type) {
		case string:
			if len(x) < less {
				return strings.Repeat("*", len(x))
			}
		case []any:
			out := make([]any, len(x))
			for i := range x {
				out[i] = star(x[i])
			}
			return out
		case map[string]any:
			out := map[string]any{}
			for k := range x {
				out[k] = star(x[k])
			}
			return out
		}
		return v
	}
	out := maps.Clone(values)
	for _, f := range s.Fields {
		if v, ok := out[f.Key]; ok && f.Secret {
			out[f.Key] = star(v)
		}
	}
	return out
}

// Unknown says that there is no such name among those of what (a key, a type), and
// which one may be meant, or which there are.
func Unknown(name, what string, names []string) string {
	msg := fmt.Sprintf("there is no %s %q", what, name)
	if near := Nearest(name, names); near != "" {
		return msg + "; did you mean " + near + "?"
	}
	return msg + "; there is " + strings.Join(names, ", ")
}

// Nearest returns the one of names that is most like name, or "" when none is
// near enough to be what was meant.
func Nearest(name string, names []string) string {
	best, at := "", 1+len(name)/3
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d <= at && (best == "" || d < at) {
			best, at = n, d
		}
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
