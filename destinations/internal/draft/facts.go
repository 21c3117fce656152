package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// definition is what is known of a destination: keys, types and mappings.
type definition struct {
	Destination, Name, Auth string
	Settings                []string
	Actions                 []action
	Presets                 []preset

	shapes map[string][]shape // by action, in the order of its requests
	rows   []row
	values map[string]any      // of the settings that the rows were made with
	taken  map[string][]sample // of shapes, see samples
	common []common            // fields that several actions have
}

type action struct {
	Action, Trigger string
	Batch           bool
	Fields          []fact
}

// fact is what is known of a field. Members of an object follow it, as "object.member".
type fact struct {
	Key, Type string
	Required  bool
	Multiple  bool
	Choices   int
	Format    string `json:"f"`
	Default   any
}

type preset struct {
	Name, Type, Action, Sub string
	Mapping                 map[string]any
}

// shape is one request that was observed, and where its members come from.
type shape struct {
	Request     string
	Method      string
	URLs        []string
	Headers     map[string]string
	Form        bool
	Explained   [][]any
	Unexplained []any
}

// row is an event and what was sent of it.
type row struct {
	Destination, Action string
	Mapping             json.RawMessage
	Settings            map[string]any
	Event               json.RawMessage
	Requests            []struct {
		Action, Method, URL string
		Headers             map[string]string
		Body                json.RawMessage
	}
}

// controls are fields of the one who sends, of no meaning to a partner.
var controls = map[string]bool{"enable_batching": true, "batch_size": true, "batch_keys": true, "batch_bytes": true}

// facts reads what a folder knows of destinations, by slug.
func facts(dir string) (map[string]*definition, error) {
	all := map[string]*definition{}
	err := lines(filepath.Join(dir, "definitions.jsonl.gz"), func(line []byte) error {
		d := &definition{shapes: map[string][]shape{}, values: map[string]any{}, taken: map[string][]sample{}}
		if err := json.Unmarshal(line, d); err != nil {
			return err
		}
		d.Name = strings.TrimPrefix(d.Name, "Actions ")
		for i := range d.Actions {
			d.Actions[i].Trigger = trigger(d.Actions[i].Trigger)
			var own []fact
			for _, f := range d.Actions[i].Fields {
				if !controls[f.Key] {
					own = append(own, f)
				}
			}
			d.Actions[i].Fields = own
		}
		for i := range d.Presets {
			d.Presets[i].Sub = trigger(d.Presets[i].Sub)
		}
		all[d.Destination] = d
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = lines(filepath.Join(dir, "shapes.jsonl.gz"), func(line []byte) error {
		var s shape
		if err := json.Unmarshal(line, &s); err != nil {
			return err
		}
		slug, rest, _ := strings.Cut(s.Request, ".")
		name, _, _ := strings.Cut(rest, "#")
		if d := all[slug]; d != nil {
			d.shapes[name] = append(d.shapes[name], s)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, lines(filepath.Join(dir, "requests-all.jsonl.gz"), func(line []byte) error {
		var r row
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		if d := all[r.Destination]; d != nil && len(r.Requests) > 0 {
			d.rows = append(d.rows, r)
			for k, v := range r.Settings {
				if d.values[k] == nil {
					d.values[k] = v
				}
			}
		}
		return nil
	})
}

// lines calls f with every line of a compressed file.
func lines(path string, f func(line []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 16<<20)
	for n := 1; s.Scan(); n++ {
		if err := f(s.Bytes()); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, n, err)
		}
	}
	return s.Err()
}

var operators = regexp.MustCompile(`"[^"]*"|\b(?:AND|OR)\b|= (?:track|identify|page|screen|group|alias)\b`)

// trigger is a filter as this project reads it: operators are in lower case, and types in quotes.
func trigger(s string) string {
	return operators.ReplaceAllStringFunc(s, func(part string) string {
		switch part[0] {
		case '"':
			return part
		case '=':
			return "= " + strconv.Quote(part[2:])
		}
		return strings.ToLower(part)
	})
}
