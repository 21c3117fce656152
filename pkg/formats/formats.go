// Package formats holds the record shapes and path layouts that are known by name, one
// file each, and reads a user's own file of the same form.
package formats

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/setting"
	"github.com/fanfold/fanfold/pkg/source"
)

//go:embed *.yaml
var files embed.FS

const (
	layouts  = "layouts.yaml"
	wrappers = "wrappers.yaml" // formats that say only where records lie
)

// format is one record shape as its file says it.
type format struct {
	Name    string    `yaml:"name"` // of one among others in a file
	Title   string    `yaml:"title"`
	Docs    string    `yaml:"docs"`
	Marks   []string  `yaml:"marks"`   // what every record of the shape has
	Never   []string  `yaml:"never"`   // what none has
	Unwrap  string    `yaml:"unwrap"`  // where the event, or an array of them, lies
	Columns []string  `yaml:"columns"` // of a table without a header
	Filled  []string  `yaml:"filled"`  // those that are never empty
	Rows    bool      `yaml:"rows"`    // what is unwrapped is a row of a table
	Mapping yaml.Node `yaml:"mapping"`
}

// Names are the shapes that are built in and have a file of their own, in order.
func Names() ([]string, error) {
	list, err := fs.ReadDir(files, ".")
	var names []string
	for _, f := range list {
		if f.Name() != layouts && f.Name() != wrappers {
			names = append(names, strings.TrimSuffix(f.Name(), ".yaml"))
		}
	}
	return names, err
}

// Shapes are the shapes that are built in, in order.
func Shapes() ([]source.Shape, error) {
	names, err := Names()
	if err != nil {
		return nil, err
	}
	var out []source.Shape
	var s source.Shape
	var data []byte
	for _, name := range names {
		if data, err = fs.ReadFile(files, name+".yaml"); err != nil {
			return nil, err
		}
		if s, err = builtIn(name, data); err != nil {
			return nil, fmt.Errorf("format %s: %w", name, err)
		}
		out = append(out, s)
	}
	list, err := wrapped()
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if s, err = f.shape(f.Name); err != nil {
			return nil, fmt.Errorf("format %s: %w", f.Name, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// wrapped are the formats that say only where records lie.
func wrapped() (list []format, err error) {
	data, err := fs.ReadFile(files, wrappers)
	if err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err = d.Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", wrappers, err)
	}
	return list, nil
}

// pathLayouts are the path layouts that are built in, in order.
func pathLayouts() (out []source.Layout, err error) {
	data, err := fs.ReadFile(files, layouts)
	if err != nil {
		return nil, err
	}
	return out, yaml.Unmarshal(data, &out)
}

// Into gives a source all shapes and layouts that are built in, and the format of a user's file, which it reads the
// input in; nil: there is none.
func Into(o *source.Options, own []byte) (err error) {
	if o.Shapes, err = Shapes(); err != nil {
		return err
	}
	if o.Layouts, err = pathLayouts(); err != nil || own == nil {
		return err
	}
	shape, err := ownShape(own)
	o.Format, o.Shapes = shape.Name, append(o.Shapes, shape)
	return err
}

// ownShape reads a user's file: a whole format, or its mapping alone.
func ownShape(data []byte) (source.Shape, error) {
	var keys map[string]yaml.Node
	if err := yaml.Unmarshal(data, &keys); err != nil {
		return source.Shape{}, err
	}
	_, whole := keys["mapping"]
	if _, unwraps := keys["unwrap"]; !whole && !unwraps {
		data = []byte("mapping:\n  " + indented(data))
	}
	return shape("map", data)
}

// shape reads a format's file.
func shape(name string, data []byte) (source.Shape, error) {
	var f format
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		return source.Shape{}, err
	}
	return f.shape(name)
}

// builtIn reads a format's file, whose mapping is its last member and is read when a record of the format is there:
// every command knows all formats, and most need none of them.
func builtIn(name string, data []byte) (source.Shape, error) {
	head, _, mapped := bytes.Cut(data, []byte("\nmapping:\n"))
	s, err := shape(name, head)
	if err == nil && mapped {
		s.Mapping = sync.OnceValues(func() (mapping.Value, error) {
			whole, broken := shape(name, data)
			if broken != nil {
				return mapping.Value{}, broken
			}
			return whole.Mapping()
		})
	}
	return s, err
}

// shape is the format as the source knows it.
func (f *format) shape(name string) (source.Shape, error) {
	s := source.Shape{Name: name, All: f.Marks, None: f.Never, Unwrap: f.Unwrap, Columns: f.Columns, Filled: f.Filled,
		Rows: f.Rows}
	if f.Mapping.Kind == 0 {
		return s, nil
	}
	var tree any
	if err := f.Mapping.Decode(&tree); err != nil {
		return s, err
	}
	doc, err := json.Marshal(tree)
	if err != nil {
		return s, err
	}
	m, err := mapping.Parse(doc)
	s.Mapping = func() (mapping.Value, error) { return m, nil }
	return s, err
}

// List writes the names of the formats and layouts that are built in, the formats with what they are.
func List(w io.Writer) error {
	names, err := Names()
	if err != nil {
		return err
	}
	var list []format
	for _, name := range names {
		var f format
		data, failed := fs.ReadFile(files, name+".yaml")
		if failed == nil {
			failed = yaml.Unmarshal(data, &f)
		}
		if failed != nil {
			return failed
		}
		f.Name = name
		list = append(list, f)
	}
	others, err := wrapped()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString("\n")
	for _, f := range append(list, others...) {
		fmt.Fprintf(&b, "  %-21s %s\n", f.Name, f.Title)
	}
	paths, err := pathLayouts()
	if err != nil {
		return err
	}
	b.WriteString("\nLAYOUTS\n\n")
	for _, l := range paths {
		fmt.Fprintf(&b, "  %-21s %s\n", l.Name, strings.Join(l.Patterns, "  "))
	}
	_, err = w.Write(b.Bytes())
	return err
}

// Show writes the file of a format as --map takes it, or, for the name layouts, that of the layouts.
func Show(w io.Writer, name string) error {
	names, err := Names()
	if err != nil {
		return err
	}
	var data []byte
	if name == "layouts" || slices.Contains(names, name) {
		if data, err = fs.ReadFile(files, name+".yaml"); err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	if data, err = fs.ReadFile(files, wrappers); err != nil {
		return err
	}
	var list []yaml.Node
	if err = yaml.Unmarshal(data, &list); err != nil {
		return err
	}
	for i := range list {
		var f format
		if err = list[i].Decode(&f); err != nil {
			return err
		}
		if names = append(names, f.Name); f.Name != name {
			continue
		}
		// What --map takes has its name from the file.
		n := &list[i]
		for k := 0; k < len(n.Content); k += 2 {
			if n.Content[k].Value == "name" {
				n.Content = slices.Delete(n.Content, k, k+2)
				break
			}
		}
		text, err := yaml.Marshal(n)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	return errors.New(setting.Unknown(name, "format", append(names, "layouts")))
}

// Reference writes every built-in format and layout, whole.
func Reference(w io.Writer) error {
	names, err := Names()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	var data []byte
	for _, name := range names {
		if data, err = fs.ReadFile(files, name+".yaml"); err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n%s\n\n  %s\n", name, indented(data))
	}
	if data, err = fs.ReadFile(files, wrappers); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nWRAPPERS\n\n  %s\n", indented(data))
	if data, err = fs.ReadFile(files, layouts); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nLAYOUTS\n\n  %s\n", indented(data))
	_, err = w.Write(b.Bytes())
	return err
}

func indented(data []byte) string {
	return strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "\n  ")
}
