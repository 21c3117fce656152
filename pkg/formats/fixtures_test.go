package formats

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
)

var update = flag.Bool("update", false, "rewrite what the fixtures want")

// readAll is what a file is read as, a line for each record: an event in the spec's form, or why it is none.
func readAll(t *testing.T, o source.Options) []string {
	t.Helper()
	shapes, err := Shapes()
	if err != nil {
		t.Fatal(err)
	}
	o.Shapes = shapes
	src, err := source.Open(context.Background(), o)
	if err != nil {
		return []string{"! " + err.Error()}
	}
	defer src.Close()
	sel := selection.Selection{Rules: &normalize.Rules{Order: o.DateOrder}}
	read := func(from source.Position) (out []string, ends []source.Position) {
		for r, err := range sel.Records(context.Background(), src, journal.Mark{Position: from}) {
			switch {
			case err != nil:
				return append(out, "! "+err.Error()), ends
			case r.Bad != nil:
				out = append(out, "! "+string(r.Bad.Reason)+": "+r.Bad.Detail)
			default:
				out = append(out, canonical(t, r.Event.Raw()))
			}
			ends = append(ends, r.End)
		}
		return out, ends
	}
	all, ends := read(source.Position{})
	for i, end := range ends { // whoever goes on reads the rest, the same
		rest, _ := read(end)
		if strings.Join(rest, "\n") != strings.Join(all[i+1:], "\n") {
			t.Errorf("after record %d: %q, want %q", i+1, rest, all[i+1:])
		}
	}
	return all
}

// canonical is JSON with sorted members and digits as they are.
func canonical(t *testing.T, raw []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// TestFixtures reads a file of every kind that is known, and compares the events value by value. A fixture is a txtar
// archive: files, each followed by what it is read as, under its name and ".want". The options of a file are in the
// archive's comment, a line each: NAME KEY=VALUE …. No event opts out of destinations of everybody's: the fixtures are
// sent on as well, elsewhere.
func TestFixtures(t *testing.T) {
	list, malformed := filepath.Glob("testdata/*.txtar")
	if malformed != nil || len(list) < 5 {
		t.Fatal(list, malformed)
	}
	covered := map[string]bool{}
	for _, path := range list {
		archive, broken := txtar.ParseFile(path)
		if broken != nil {
			t.Fatal(broken)
		}
		dir := t.TempDir()
		options := map[string]source.Options{}
		for line := range strings.Lines(string(archive.Comment)) {
			if fields := strings.Fields(line); len(fields) > 1 && !strings.HasPrefix(line, "#") {
				options[fields[0]] = fixtureOptions(t, fields[1:])
			}
		}
		var out []txtar.File
		want := map[string]string{}
		for _, f := range archive.Files {
			if name, ok := strings.CutSuffix(f.Name, ".want"); ok {
				want[name] = strings.TrimSpace(string(f.Data))
			}
		}
		for _, f := range archive.Files {
			if strings.HasSuffix(f.Name, ".want") {
				continue
			}
			t.Run(filepath.Base(path)+"/"+f.Name, func(t *testing.T) {
				in := filepath.Join(dir, f.Name)
				if err := os.MkdirAll(filepath.Dir(in), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(in, f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
				o := options[f.Name]
				o.From = []string{in}
				got := strings.ReplaceAll(strings.Join(readAll(t, o), "\n"), dir+string(filepath.Separator), "")
				covered[strings.TrimSuffix(filepath.Base(f.Name), filepath.Ext(f.Name))] = true
				out = append(out, f, txtar.File{Name: f.Name + ".want", Data: []byte(got + "\n")})
				if !*update && got != want[f.Name] {
					t.Errorf("read as\n%s\nwant\n%s", got, want[f.Name])
				}
			})
		}
		if *update {
			archive.Files = out
			if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	shapes, err := Shapes()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shapes {
		if !covered[s.Name] {
			t.Errorf("format %s has no fixture of its name", s.Name)
		}
	}
}

func fixtureOptions(t *testing.T, words []string) (o source.Options) {
	t.Helper()
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "format":
			o.Format = value
		case "unwrap":
			o.Unwrap = value
		case "types":
			o.Types = strings.Split(value, ",")
		case "date-order":
			o.DateOrder = map[string]event.DateOrder{"mdy": event.MonthFirst, "dmy": event.DayFirst}[value]
		case "encoding":
			o.Encoding = value
		case "columns":
			o.Columns = strings.Split(value, ",")
		default:
			t.Fatalf("a fixture has no option %s", key)
		}
	}
	return o
}
