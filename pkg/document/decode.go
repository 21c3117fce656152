package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode reads a document of YAML into a value. Keys that it does not have are refused. The error says on which line
// something is wrong and what may stand there; of several mistakes, all.
func Decode(data []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	err := d.Decode(into)
	var wrong *yaml.TypeError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case errors.As(err, &wrong):
	case strings.HasPrefix(err.Error(), "yaml: "):
		return errors.New(syntax(err.Error()))
	default:
		return err // of a type that reads itself
	}
	types := map[string]reflect.Type{}
	collect(reflect.TypeOf(into), types)
	var all []error
	for _, text := range wrong.Errors {
		all = append(all, errors.New(said(text, types)))
	}
	return errors.Join(all...)
}

// DecodeNode is [Decode] of a part of a document in which nothing refers to something else. All mistakes are said to be
// on its line.
func DecodeNode(n *yaml.Node, into any) error {
	data, err := yaml.Marshal(n)
	if err != nil {
		return err
	}
	if err = Decode(data, into); err != nil {
		return errors.New(anyLine.ReplaceAllString(err.Error(), fmt.Sprintf("line %d:", n.Line)))
	}
	return nil
}

// syntax is what is wrong with a text that is no YAML.
func syntax(text string) string {
	text = strings.TrimPrefix(text, "yaml: ")
	if !strings.HasPrefix(text, "line ") {
		text = "line 1: " + text
	}
	if strings.Contains(text, "cannot start any token") {
		text += ": a line begins with blanks, not with a tab, and a text that begins with @, ` or % needs quotes"
	}
	return text
}

// collect finds the types within a type, by their names.
func collect(t reflect.Type, types map[string]reflect.Type) {
	if types[t.String()] != nil {
		return
	}
	types[t.String()] = t
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collect(t.Elem(), types)
	case reflect.Struct:
		for i := range t.NumField() {
			collect(t.Field(i).Type, types)
		}
	}
}

// keysOf are the keys that a table of a type may have.
func keysOf(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		key, more, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(more, "inline"):
			keys = append(keys, keysOf(f.Type)...)
		case key != "" && key != "-":
			keys = append(keys, key)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(keys)))
}

var (
	unknownKey = regexp.MustCompile(`^(line \d+): field (.*) not found in type (\S+)$`)
	anyLine    = regexp.MustCompile(`line \d+:`)
	otherKind  = regexp.MustCompile("^(line \\d+): cannot unmarshal (!!\\S+)(?: `.*`)? into (\\S+)$")
)

// said is a mistake in words of YAML instead of Go's.
func said(text string, types map[string]reflect.Type) string {
	if m := unknownKey.FindStringSubmatch(text); m != nil {
		if t := types[m[3]]; t != nil && t.Kind() == reflect.Struct {
			return fmt.Sprintf("%s: there is no key %q; there is %s", m[1], m[2], strings.Join(keysOf(t), ", "))
		}
		return fmt.Sprintf("%s: there is no key %q", m[1], m[2])
	}
	if m := otherKind.FindStringSubmatch(text); m != nil {
		what := map[string]string{"!!seq": "a list", "!!map": "a table", "!!str": "a text", "!!null": "nothing"}[m[2]]
		if what == "" {
			what = "a value"
		}
		return fmt.Sprintf("%s: %s stands where %s has to be", m[1], what, kind(m[3], types))
	}
	return text
}

// kind is what a type is in a document.
func kind(name string, types map[string]reflect.Type) string {
	k := reflect.String
	if t := types[name]; t != nil {
		k = t.Kind()
	}
	switch {
	case k == reflect.Struct || k == reflect.Map || strings.HasPrefix(name, "map["):
		return "a table"
	case k == reflect.Slice || strings.HasPrefix(name, "[]"):
		return "a list"
	case k == reflect.Int || name == "int":
		return "a whole number"
	case k == reflect.Bool || name == "bool":
		return "true or false"
	}
	return "a text"
}
