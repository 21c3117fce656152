package cmd

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/source"
)

// formats are the record shapes and path layouts that are known by name.
//
//go:embed formats/*.yaml
var formats embed.FS

// format is one record shape as its file says it.
type format struct {
	Title   string    `yaml:"title"`
	Docs    string    `yaml:"docs"`
	Marks   []string  `yaml:"marks"`  // what every record of the shape has
	Never   []string  `yaml:"never"`  // what none has
	Unwrap  string    `yaml:"unwrap"` // where the event, or an array of them, lies
	Mapping yaml.Node `yaml:"mapping"`
}

// shape reads a format's file.
func shape(name string, data []byte) (source.Shape, format, error) {
	var f format
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		return source.Shape{}, f, err
	}
	s := source.Shape{Name: name, All: f.Marks, None: f.Never, Unwrap: f.Unwrap}
	if f.Mapping.Kind != 0 {
		var tree any
		if err := f.Mapping.Decode(&tree); err != nil {
			return s, f, err
		}
		doc, err := json.Marshal(tree)
		if err != nil {
			return s, f, err
		}
		if s.Mapping, err = mapping.Parse(doc); err != nil {
			return s, f, err
		}
		s.Mapped = true
	}
	return s, f, nil
}

// formatNames are the shapes that are built in, in order.
func formatNames() ([]string, error) {
	files, err := fs.ReadDir(formats, "formats")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		if name := strings.TrimSuffix(f.Name(), ".yaml"); name != "layouts" {
			names = append(names, name)
		}
	}
	return names, nil
}

// recordShapes gives the source the shapes and layouts, and the mapping of
// --map.
func (s *selection) recordShapes(o *source.Options) error {
	names, err := formatNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := fs.ReadFile(formats, path.Join("formats", name+".yaml"))
		if err != nil {
			return err
		}
		sh, _, err := shape(name, data)
		if err != nil {
			return fmt.Errorf("format %s: %w", name, err)
		}
		o.Shapes = append(o.Shapes, sh)
	}
	data, err := fs.ReadFile(formats, "formats/layouts.yaml")
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(data, &o.Layouts); err != nil {
		return err
	}
	if s.mapFile == "" {
		return nil
	}
	if s.format != "" && s.format != "auto" {
		return usagef("--map and --format %s exclude each other: a mapping makes a format of its own", s.format)
	}
	if data, err = s.mapData(); err != nil {
		return usagef("--map: %v", err)
	}
	own, err := mapShape(data)
	if err != nil {
		return usagef("--map %s: %v", s.mapFile, err)
	}
	o.Format = own.Name
	o.Shapes = append(o.Shapes, own)
	return nil
}

// mapShape reads a --map file: a whole format, or its mapping alone.
func mapShape(data []byte) (source.Shape, error) {
	var keys map[string]yaml.Node
	if err := yaml.Unmarshal(data, &keys); err != nil {
		return source.Shape{}, err
	}
	_, whole := keys["mapping"]
	if _, unwraps := keys["unwrap"]; !whole && !unwraps {
		indented := "mapping:\n  " + strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "\n  ")
		data = []byte(indented)
	}
	s, _, err := shape("map", data)
	return s, err
}

// formatReference prints every built-in format with its mapping.
func formatReference(w io.Writer) error {
	names, err := formatNames()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString("\nFORMATS\n\n--format auto knows these by their marks. Each is a file like the one --map takes;\ncopy one to change it.\n")
	for _, name := range names {
		data, err := fs.ReadFile(formats, path.Join("formats", name+".yaml"))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n%s\n\n  %s\n", name, strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "\n  "))
	}
	data, err := fs.ReadFile(formats, "formats/layouts.yaml")
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nLAYOUTS\n\n  %s\n", strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", "\n  "))
	_, err = w.Write(b.Bytes())
	return err
}

// mapText is the text of the --map file: another mapping is another run.
func (s *selection) mapText() string {
	if s.mapFile == "" {
		return ""
	}
	data, err := s.mapData()
	if err != nil {
		return s.mapFile // recordShapes says what is wrong
	}
	return string(data)
}

// mapData reads the --map file once: it may be a pipe.
func (s *selection) mapData() (data []byte, err error) {
	if s.mapRead == nil {
		if data, err = os.ReadFile(s.mapFile); err != nil {
			return nil, err
		}
		s.mapRead = &data
	}
	return *s.mapRead, nil
}
