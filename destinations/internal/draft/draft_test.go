package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/standin"
)

// known is where the facts are, beside the project.
const known = "../../../../shared/segment"

// TestDrafts writes a draft of everything that is known: each compiles, and its contract can be read.
func TestDrafts(t *testing.T) {
	all, err := facts(known)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("skipped: the facts are not here:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 200 {
		t.Fatalf("only %d destinations are known", len(all))
	}
	files := map[string]map[string][]byte{}
	for slug, d := range all {
		if files[slug], err = draft(d); err != nil {
			t.Fatal(err)
		}
		if _, err := standin.ParseContract(files[slug]["cassettes/"+slug+"/contract.yaml"]); err != nil {
			t.Errorf("%s: %v", slug, err)
		}
	}
	rows := t.TempDir()
	for range 2 { // the second time they are there
		if _, err := addRows(known, rows, "loops"); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err = lines(filepath.Join(rows, rowsOf("loops")), func([]byte) error {
		n++
		return nil
	})
	if err != nil || n != 25 {
		t.Errorf("%d rows of Loops, %v; want 25", n, err)
	}
	check := typeChecker(t)
	for _, slug := range slices.Sorted(maps.Keys(files)) {
		name := "destinations/" + slug + "/" + packageName(slug) + ".go"
		if err := check(name, files[slug][name]); err != nil {
			t.Errorf("a draft does not compile: %v", err)
		}
	}
}

// typeChecker says whether a file compiles against the packages that partners are declared with, as they are compiled.
func typeChecker(t *testing.T) func(name string, src []byte) error {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", "./pkg/body",
		"./pkg/destination", "./pkg/field", "./pkg/mapping")
	cmd.Dir = "../../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	compiled := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		compiled[path] = file
	}
	set := token.NewFileSet()
	config := types.Config{Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(compiled[path])
	})}
	return func(name string, src []byte) error {
		file, err := parser.ParseFile(set, name, src, 0)
		if err != nil {
			return err
		}
		_, err = config.Check(name, set, []*ast.File{file}, nil)
		return err
	}
}

// TestTogether puts fields that say but a type and where they come from into one line.
func TestTogether(t *testing.T) {
	got := together([]string{
		"field.Text(\"a\").From(\"$.userId\"),\n", "field.Text(\"b\"),\n", "field.Text(\"c\").Required(),\n",
		"field.Number(\"d\"),\n", "field.Text(\"e\").From(\"$.x\", \"$.y z\"),\n", "field.Text(\"f\").From(\"x\"),\n",
		"field.Boolean(\"g\"),\n", "field.Boolean(\"h\"), // TODO: OneOf\n",
	})
	want := []string{
		"field.Texts(\"a = userId\", \"b\"),\n", "field.Text(\"c\").Required(),\n", "field.Number(\"d\"),\n",
		"field.Text(\"e\").From(\"$.x\", \"$.y z\"),\n", "field.Text(\"f\").From(\"x\"),\n", "field.Boolean(\"g\"),\n",
		"field.Boolean(\"h\"), // TODO: OneOf\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	got = together([]string{"field.Text(\"e\").From(\"$.x\", \"$.y z\"),\n", "field.Text(\"f\"),\n"})
	if want := "field.Texts(\"e = x, y z\", \"f\"),\n"; len(got) != 1 || got[0] != want {
		t.Errorf("%q, want %q", got, want)
	}
}

var update = flag.Bool("update", false, "write what a draft is anew")

// TestDraft drafts a partner that does not exist, whose facts have one of each thing that a draft has to find: settings
// and fields in addresses and headers, what signs a request, constants that are none, members beside an object that is
// spread, times and hashes that nobody has explained, a body that is one field, and requests that follow each other.
func TestDraft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"definitions", "shapes", "requests-all"} {
		plain, err := os.ReadFile("testdata/" + name + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(plain); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".jsonl.gz")
		if err := errors.Join(z.Close(), os.WriteFile(path, packed.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := facts(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := draft(all["acme"])
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&got, "-- %s --\n%s", path, files[path])
	}
	if *update {
		if err := os.WriteFile("testdata/draft.txt", got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/draft.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s\nis the draft; it was (testdata/draft.txt, -update writes it anew)\n%s", got.Bytes(), want)
	}
}

// TestTriggers reads filters as they are written elsewhere.
func TestTriggers(t *testing.T) {
	for in, want := range map[string]string{
		`type = "track" AND event = "A OR B"`: `type = "track" and event = "A OR B"`,
		"type = track or type = page":         `type = "track" or type = "page"`,
		`traits.score = tracker`:              `traits.score = tracker`,
	} {
		if got := trigger(in); got != want {
			t.Errorf("%s is read as %s, want %s", in, got, want)
		}
	}
}

// TestSnake names settings as the project does.
func TestSnake(t *testing.T) {
	for in, want := range map[string]string{"accountId": "account_id", "accountID": "account_id", "apiKey": "api_key",
		"pushAPIKey": "push_api_key", "eu_2 Region": "eu_2_region"} {
		if got := snake(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

// TestCommon gives fields that several actions have one place, if that spares lines, and leaves the others where they
// are.
func TestCommon(t *testing.T) {
	one := func(key string) fact {
		return fact{Key: key, Type: "object", Default: map[string]any{"@path": "$." + key}}
	}
	many := []fact{one("a"), one("b"), one("c"), one("d")}
	all := []action{
		{Action: "x", Fields: append(slices.Clone(many), one("own"))},
		{Action: "y", Fields: many},
		{Action: "z", Fields: []fact{one("pair"), one("own2")}},
		{Action: "w", Fields: []fact{one("pair")}},
	}
	d := &definition{Actions: all, common: commonFields(all)}
	if len(d.common) != 1 || !slices.Equal(d.common[0].actions, []string{"x", "y"}) || len(d.common[0].lines) != 4 {
		t.Fatalf("%+v", d.common)
	}
	for i, want := range []string{
		"common1,\nfield.Object(\"own\").From(\"$.own\"),\n", "common1,\n",
		"field.Object(\"pair\").From(\"$.pair\"),\nfield.Object(\"own2\").From(\"$.own2\"),\n",
		"field.Object(\"pair\").From(\"$.pair\"),\n",
	} {
		if got := strings.Join(d.fieldsOf(&all[i]), ""); got != want {
			t.Errorf("%s has\n%swant\n%s", all[i].Action, got, want)
		}
	}
}
