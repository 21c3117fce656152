package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fanfold/fanfold/pkg/standin"
)

// known is where the facts are, beside the project.
const known = "../../../../shared/segment"

// TestDrafts writes a draft of everything that is known: each is Go, and its contract can
// be read. Some are compiled.
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
	err = lines(filepath.Join(rows, "destinations/testdata/segment/catalogue.jsonl.gz"), func([]byte) error {
		n++
		return nil
	})
	if err != nil || n != 25 {
		t.Errorf("%d rows of Loops, %v; want 25", n, err)
	}
	// go build sees them where they would stand.
	overlay := map[string]string{}
	args := []string{"build"}
	dir := t.TempDir()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	some := []string{"loops", "drip", "reddit-conversions-api", "attio", "twilio", "algolia-insights", "rokt-capi"}
	for _, slug := range some {
		name := packageName(slug) + ".go"
		src := filepath.Join(dir, name)
		if err := os.WriteFile(src, files[slug]["destinations/"+slug+"/"+name], 0o644); err != nil {
			t.Fatal(err)
		}
		overlay[filepath.Join(root, "destinations", "internal", "drafts", packageName(slug), name)] = src
		args = append(args, "./destinations/internal/drafts/"+packageName(slug))
	}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, list, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append([]string{"build", "-overlay", path}, args[1:]...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("a draft does not compile: %v\n%s", err, out)
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
