// Package convert makes a cassette from the recordings of other programs. It finds
// their files, recognises the formats, and combines the contents. The importers
// themselves are in pkg/cassette.
package convert

import (
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/foreign"
)

// maxBytes is the largest file that is read, in bytes.
const maxBytes = 512 << 20

// Formats lists the known formats, one per line.
func Formats() string {
	var b strings.Builder
	for _, i := range foreign.Importers() {
		fmt.Fprintf(&b, "  %-10s  %s\n", i.Name, i.What)
	}
	return b.String()
}

// known is true if there is a format with this name.
func known(name string) bool {
	_, ok := importer(name)
	return ok
}

func importer(name string) (foreign.Importer, bool) {
	all := foreign.Importers()
	n := slices.IndexFunc(all, func(i foreign.Importer) bool { return i.Name == name })
	if n < 0 {
		return foreign.Importer{}, false
	}
	return all[n], true
}

// Files returns the files that paths name: of folders the files that may be in a known
// format, and all other paths as they are.
func Files(paths []string) (files []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if ext := filepath.Ext(p); err == nil && d.Type().IsRegular() &&
				slices.Contains([]string{".json", ".yaml", ".yml", ".har"}, ext) {
				files = append(files, p)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// folder returns a function that reads files in a folder, for bodies that a format
// stores in files of their own. No name can lead out of the folder.
func folder(dir string) (func(name string) ([]byte, error), error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return func(name string) ([]byte, error) {
		f, err := root.Open(filepath.FromSlash(name))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return ReadAll(f)
	}, nil
}

// ReadAll reads a file. A file with more than 512 MiB is an error.
func ReadAll(f fs.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxBytes {
		return nil, fmt.Errorf("it has %d bytes, more than a cassette may have", info.Size())
	}
	return io.ReadAll(io.LimitReader(f, maxBytes))
}

// reader reads files into a cassette.
type reader struct {
	Format  string // "": recognised for each file
	Options foreign.Options
	// Left is called for each part of a file that gave no interaction.
	Left func(path, what string)
}

// add appends the interactions of a file to a cassette. They are not redacted yet.
func (r *reader) add(k *cassette.Cassette, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := ReadAll(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	i, err := r.importer(path, data)
	if err != nil {
		return err
	}
	got, err := i.Read(data, r.Options)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, what := range got.Left {
		r.Left(path, what)
	}
	for _, d := range got.Details {
		d.Interaction += len(k.Interactions)
		k.Meta.Details = append(k.Meta.Details, d)
	}
	k.Interactions = append(k.Interactions, got.Interactions...)
	k.Meta.Provenance = "imported: " + i.Name
	if info, err := f.Stat(); err == nil {
		if day := info.ModTime().UTC().Format("2006-01-02"); k.Meta.Date == "" || day < k.Meta.Date {
			k.Meta.Date = day
		}
	}
	return nil
}

// importer returns the importer for a file: the one for the format that the user asked
// for, or else the one whose format the file has. If the file has another format than
// the user asked for, it returns an error.
func (r *reader) importer(path string, data []byte) (foreign.Importer, error) {
	looks, ok := foreign.For(data)
	if r.Format == "" {
		if !ok {
			return looks, fmt.Errorf("%s is of no format that is known here; these are\n%s", path, Formats())
		}
		return looks, nil
	}
	asked, known := importer(r.Format)
	if !known {
		return asked, fmt.Errorf("there is no format %s; the formats are\n%s", r.Format, Formats())
	}
	// A recording of Polly is a HAR file with additional members.
	har := func(name string) bool { return name == "har" || name == "polly" }
	if ok && looks.Name != asked.Name && !(har(looks.Name) && har(asked.Name)) {
		return asked, fmt.Errorf("%s looks like %s, and not like %s: import it with `fanfold cassettes import %s %s`",
			path, looks.What, asked.Name, looks.Name, path)
	}
	return asked, nil
}

// Upstreams writes the services to which a cassette's requests went into its sidecar.
func Upstreams(k *cassette.Cassette) {
	k.Meta.Upstreams = map[string]string{}
	for _, i := range k.Interactions {
		if u, err := url.Parse(i.Request.URL); err == nil && u.Host != "" {
			name := strings.NewReplacer(".", "_", ":", "_", "-", "_").Replace(u.Host)
			k.Meta.Upstreams[name] = u.Scheme + "://" + u.Host
		}
	}
}
