// Package cassette owns the files of recorded HTTP conversations: their format, their sidecars,
// the crash journal of a recording under way, and what tells the files of other programs apart.
//
// A cassette is a file in format 1 of go-vcr v2, which every user of that library can load. What
// the format has no field for is in a sidecar, <case>.meta.yaml: where and when the cassette was
// recorded, the names of the upstreams, and how requests are matched. [Load] and [Cassette.Save]
// read and write both files. Before anything is written, a [redact.Redactor] scans the final text
// for secrets that were missed; [ScanFile] does the same for files. A cassette with a leak is not
// written.
//
// The packages below this folder use each other in one direction only: redact takes secrets out,
// wire knows messages of HTTP, match compares requests; this package keeps files; record makes
// cassettes, replay answers from them, foreign reads and writes the files of other programs, and
// browse shows cassettes; serve is what programs talk to.
package cassette

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/wholefile"
	"go.yaml.in/yaml/v3"
	yamlv2 "gopkg.in/yaml.v2"
)

// Interaction is a request and its answer, as go-vcr keeps it.
type Interaction = redact.Interaction

// Cassette is a recorded conversation.
type Cassette struct {
	// Path is the file, with .yaml.
	Path         string
	Interactions []*Interaction
	Meta         Meta
}

// Case is the cassette's name: the name of its file, without .yaml.
func (c *Cassette) Case() string { return strings.TrimSuffix(filepath.Base(c.Path), ".yaml") }

// Meta is the sidecar.
type Meta struct {
	// Provenance is "recorded: live", "written: from documentation" or
	// "imported: …".
	Provenance string `yaml:"provenance,omitempty"`
	URL        string `yaml:"url,omitempty"`  // of the documentation
	Date       string `yaml:"date,omitempty"` // 2006-01-02, of the recording
	Tool       string `yaml:"tool,omitempty"` // what wrote it

	// Upstreams are the base URLs by name: shop: https://api.shop.example.
	Upstreams map[string]string `yaml:"upstreams,omitempty"`
	// Proxy lists the hosts that were recorded through a forward proxy.
	Proxy []string `yaml:"proxy,omitempty"`
	// Ignore lists the rules of matching that are added to the default ones.
	Ignore []string `yaml:"ignore,omitempty"`
	// Exact switches off the default rules.
	Exact bool `yaml:"exact,omitempty"`
	// Key is the fingerprint of the key that made the redaction tokens.
	Key string `yaml:"key,omitempty"`
	// Details hold what the cassette's format has no field for.
	Details []Details `yaml:"details,omitempty"`
	// Failures are requests that got no answer. Only older sidecars have them.
	Failures []Failure `yaml:"failures,omitempty"`
	// Unrecorded lists requests that were passed on but not recorded, and why.
	Unrecorded []string `yaml:"unrecorded,omitempty"`

	// The other fields describe a test case of a destination: its events, the settings
	// and action with which they are sent, the written answers, and the expected
	// outcome of each delivery.
	Settings map[string]any `yaml:"settings,omitempty"` // beyond the examples
	Presets  string         `yaml:"presets,omitempty"`
	Action   string         `yaml:"action,omitempty"`  // instead of the presets: this action for every event
	Mapping  string         `yaml:"mapping,omitempty"` // of that action, instead of its defaults
	Now      string         `yaml:"now,omitempty"`
	Events   []string       `yaml:"events,omitempty"`
	Answers  []Answer       `yaml:"answers,omitempty"`
	Want     []string       `yaml:"want,omitempty"` // one a delivery: action outcome [reason]
}

// Answer is an answer that was written by hand, from documentation.
type Answer struct {
	Status  int               `yaml:"status"`
	Body    string            `yaml:"body"`
	Headers map[string]string `yaml:"headers,omitempty"`
}

// Failure is a request that got no answer.
type Failure struct {
	Method string `yaml:"method"`
	URL    string `yaml:"url"`
	Error  string `yaml:"error"`
}

// Age is the time since the recording. ok is false if the sidecar has no date.
func (m *Meta) Age(now time.Time) (age time.Duration, ok bool) {
	t, err := time.Parse("2006-01-02", m.Date)
	if err != nil {
		return 0, false
	}
	return now.Sub(t), true
}

// maxFile limits the size of a cassette file, so that a huge file cannot fill the
// memory.
const maxFile = 512 << 20

// MetaPath is the path of a cassette's sidecar.
func MetaPath(path string) string { return strings.TrimSuffix(path, ".yaml") + ".meta.yaml" }

// partialPath is the crash journal's path.
func partialPath(path string) string { return strings.TrimSuffix(path, ".yaml") + ".partial.jsonl" }

// LoadMeta reads a sidecar. Unknown members are an error.
func LoadMeta(path string) (Meta, error) {
	var m Meta
	data, err := readBounded(path)
	if err != nil {
		return m, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func readBounded(path string) ([]byte, error) {
	if err := readable(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// readable returns an error for a file that should not be read: one that is too large,
// or is no regular file and so may have no end.
func readable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file", path)
	case info.Size() > maxFile:
		return fmt.Errorf("%s has %d bytes, more than a cassette may have (%d)", path, info.Size(), maxFile)
	}
	return nil
}

// Load reads a cassette and its sidecar, if it has one.
func Load(path string) (*Cassette, error) {
	c := &Cassette{Path: path}
	if err := readable(path); err != nil {
		return nil, err
	}
	v, err := vcr.Load(strings.TrimSuffix(path, ".yaml"))
	if err != nil || v.Version != 1 || len(v.Interactions) == 0 || hasNoAddress(v) {
		if other := foreign(path); other != nil {
			return nil, other
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s is no cassette: %w", path, err)
	case v.Version != 1:
		return nil, fmt.Errorf("%s is no cassette: it says version %d, and 1 is known", path, v.Version)
	}
	for n, i := range v.Interactions {
		if i == nil {
			return nil, fmt.Errorf("%s: interaction %d is empty", path, n)
		}
	}
	c.Interactions = v.Interactions
	c.Meta, err = LoadMeta(MetaPath(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return c, nil
}

// hasNoAddress is true if the interactions lack the address that all interactions of
// go-vcr have. Files of other programs have it under another name.
func hasNoAddress(v *vcr.Cassette) bool {
	return len(v.Interactions) > 0 && v.Interactions[0] != nil && v.Interactions[0].Request.URL == ""
}

// foreign returns an error that names the importer for another program's file, or says
// that the file has nothing of a cassette. For all other files it is nil.
func foreign(path string) error {
	data, err := readBounded(path)
	if err != nil {
		return err
	}
	if i, ok := Recognize(data); ok {
		return fmt.Errorf("%s looks like %s: make it a cassette of ours with `fanfold cassettes import %s %s -o OTHER.yaml`",
			path, i.What, i.Name, path)
	}
	if doc, err := ReadTree(data); err == nil && !has(doc, "interactions") && !has(doc, "version") {
		return fmt.Errorf("%s is no cassette: there are no interactions in it", path)
	}
	return nil
}

// Form returns the values of a urlencoded body, which go-vcr stores beside the body. Without any, it
// is empty.
func Form(i *Interaction) url.Values {
	if strings.HasPrefix(i.Request.Headers.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if v, err := url.ParseQuery(i.Request.Body); err == nil {
			return v
		}
	}
	return url.Values{}
}

// encode returns the content of the file, byte for byte as go-vcr writes it.
func (c *Cassette) encode() ([]byte, error) {
	v := vcr.New("")
	v.Interactions = c.Interactions
	data, err := yamlv2.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append([]byte("---\n"), data...), nil
}

// Save writes the cassette and its sidecar, each of them atomically. Before that, gate
// redacts the secrets that it has learnt since, and scans the final text. If it finds a
// leak, nothing is written and Save returns a *redact.LeakError.
func (c *Cassette) Save(gate *redact.Redactor) error {
	gate.Settle(c.Interactions)
	var leaks []redact.Leak
	for n, i := range c.Interactions {
		leaks = append(leaks, gate.Scan(n, i)...)
	}
	return c.Write(gate, leaks)
}

// Write is Save for interactions that were already scanned; leaks are the results.
func (c *Cassette) Write(gate *redact.Redactor, leaks []redact.Leak) error {
	data, err := c.encode()
	if err != nil {
		return fmt.Errorf("writing %s: %w", c.Path, err)
	}
	meta, err := yaml.Marshal(&c.Meta)
	if err != nil {
		return fmt.Errorf("writing %s: %w", MetaPath(c.Path), err)
	}
	if leaks = gate.ScanFiles(leaks, data, meta); len(leaks) > 0 {
		return &redact.LeakError{Path: c.Path, Leaks: leaks}
	}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o755); err != nil {
		return err
	}
	if err := WriteFile(MetaPath(c.Path), meta); err != nil {
		return err
	}
	return WriteFile(c.Path, data)
}

// WriteFile replaces a file atomically: after a crash there is either the old or the
// new content.
func WriteFile(path string, data []byte) error {
	return wholefile.Write(path, data, 0o644)
}
