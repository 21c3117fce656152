// Command draft writes the first version of a partner from facts: keys, types, default
// mappings, triggers and presets of its actions, and which member of an observed request
// comes from where.
//
//	go run ./destinations/internal/draft SLUG
//
// writes destinations/SLUG/SLUG.go, cassettes/SLUG/contract.yaml and one case for every
// action, and adds the partner's observed requests to the rows of TestFieldsAgree. Where it
// says TODO, a person has to read the partner's documentation: what the fields mean, limits,
// success and refusal, what a backfill does. A draft compiles; it is no partner yet.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	from := flag.String("from", "../shared/segment",
		"the folder with definitions.jsonl.gz, shapes.jsonl.gz and requests-all.jsonl.gz")
	to := flag.String("to", ".", "the project's root")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go run ./destinations/internal/draft [flags] SLUG")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*from, *to, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "draft:", err)
		os.Exit(1)
	}
}

func run(from, to, slug string) error {
	all, err := facts(from)
	if err != nil {
		return fmt.Errorf("reading the facts (-from says where they are): %w", err)
	}
	d := all[slug]
	if d == nil {
		return fmt.Errorf("nothing is known of %q; known are %v", slug, slices.Sorted(maps.Keys(all)))
	}
	files, err := draft(d)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		// What somebody owns already stays as it is.
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			fmt.Println("is there already:", path)
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.Write(files[name])
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Println("written:", path)
	}
	n, err := addRows(from, to, slug)
	if n > 0 {
		fmt.Println("written:", rowsOf(slug), "with", n, "rows")
	}
	return err
}
