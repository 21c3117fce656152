// Package config reads fanfold.yaml: values with the lines they stand on, and
// everything that is wrong with them at once.
//
// It works in three steps. [World.Parse] reads the text of a file into a [File].
// [World.Choose] takes the destinations that a command asks for out of it, and
// adds what stands in the environment and on the command line. [World.Open]
// validates them and makes each an [Opened] destination, which is what a run
// takes.
//
// The package prints nothing, and reads nothing but what its World gives it.
package config

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/transform"
)

// World is what a configuration may ask of its surroundings.
type World struct {
	// Catalogue holds the destinations that there are.
	Catalogue destination.Catalogue
	// Env looks up an environment variable.
	Env func(name string) (value string, ok bool)
	// ReadFile returns the contents of a file that the user named.
	ReadFile func(path string) ([]byte, error)
	// Fetch returns what a reference of another scheme than env and file stands for:
	// exec, aws-secretsmanager, aws-ssm. Its errors hold no secret.
	Fetch func(scheme, name string) (string, error)
	// Profile is merged over the rest of the file; "": none is.
	Profile string
	// Secret is told every value that must never be printed or stored.
	Secret func(values ...string)
}

// File is what stands in a configuration file. The zero File is that of a user
// who has none.
type File struct {
	Path         string // as it was named; "": there is no file
	Steps        *yaml.Node
	Transform    []transform.Step
	Pipeline     *transform.Pipeline
	Destinations []*Destination // in the order of the file
	Globals      map[string]Global
	Profiles     []string // names of those that there are
	// Suppress are the files that list who must not be sent anything.
	Suppress     []string
	SuppressLine int // where they are named
	Tests        []Test
	takenOut     []string // destinations that the profile takes out
	Notes        []string // warnings about what stands outside of the destinations
	// Piped says that the file was read from a pipe: its path is of no use later. The
	// caller of Parse sets it.
	Piped bool
	// Unusable says that no command can go on with it: it is no YAML, or an option of
	// fanfold as a whole is wrong.
	Unusable bool

	// Redact and Allow are the rules of `cassettes:`, for the redaction of record;
	// CassettesError says what is wrong with that part alone.
	Redact, Allow  []string
	CassettesError error
}

// Global is an option of fanfold as a whole, such as memory.
type Global struct {
	Value string
	Line  int
}

// Destination is one destination as the user wrote it.
type Destination struct {
	Name     string
	Slug     string         // its type
	Line     int            // of the name; 0: it is in no file
	Settings map[string]any // by key, decoded from YAML or text from elsewhere
	// Written holds the options by name, as they were written.
	Written map[string]*yaml.Node
	// Lines are those of settings and options, by key.
	Lines map[string]int
	// Notes are warnings.
	Notes []string
	// Own is the destination that the user describes; nil: it is the catalogue's.
	Own *destination.Destination
	// Described is its description where that stands in the configuration.
	Described *yaml.Node
	// Description is the file in which it is described; "": there is none of its own.
	Description string

	givenBy       map[string]string // what gave settings and options that are not of the file, see given
	unset         []error           // one for each variable that is referred to and not set
	unsetSettings []string          // keys of the settings that refer to such a variable
	unsetOptions  []string          // and of the options
}

// given notes what gave a setting (kind "set") or an option ("opt") from outside of the
// file, so that it is blamed for the value.
func (d *Destination) given(kind, key, by string) {
	if d.givenBy == nil {
		d.givenBy = map[string]string{}
	}
	d.givenBy[kind+" "+key] = by
}

// Opened is a destination that is ready to be sent to.
type Opened struct {
	*Destination
	Spec        destination.Destination // of the catalogue
	Sender      destination.Sender
	Filter      *filter.Filter // nil: every event
	Options     engine.Options
	Compression string             // auto (also ""), gzip or none
	Config      destination.Config // with which it was opened

	// Consent are the categories that an event's consent has to grant.
	Consent []string

	actionLines  []int // of Config.Actions
	actionsWrong bool  // and it was said what is wrong with them
}

// Problem is one thing that is wrong with a configuration. Several are joined.
type Problem struct {
	File string // or the flag or the variable that gave what is wrong
	Line int    // 0: of no line in particular
	Err  error
}

// Error names the place, and what is wrong there.
func (p *Problem) Error() string { return place(p.File, p.Line) + ": " + p.Err.Error() }

// Unwrap returns what is wrong, without the place.
func (p *Problem) Unwrap() error { return p.Err }

func place(file string, line int) string {
	if line > 0 {
		return file + ":" + strconv.Itoa(line)
	}
	return file
}

// EnvName is the environment variable that holds a setting.
func EnvName(slug, key string) string {
	return "FANFOLD_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(slug+"_"+key))
}

// Slugs are those of the catalogue, in its order.
func (w *World) Slugs() []string {
	out := make([]string, len(w.Catalogue))
	for i, d := range w.Catalogue {
		out[i] = d.Slug
	}
	return out
}

// fromEnvironment fills in the settings that only the environment has.
func (w *World) fromEnvironment(d *Destination) {
	spec := w.SpecOf(d)
	for _, f := range spec.Settings.Fields {
		if _, ok := d.Settings[f.Key]; ok {
			continue
		}
		if v, ok := w.Env(d.EnvName(f.Key)); ok {
			d.Settings[f.Key] = v
			d.given("set", f.Key, "$"+d.EnvName(f.Key))
			if f.Secret {
				w.hide(v)
			}
		}
	}
}

// shortestSecret is the length from which a value that comes from a reference is
// told from ordinary text, in bytes.
const shortestSecret = 8

// hide makes a value a secret of the run.
func (w *World) hide(value string) {
	if len(value) >= shortestSecret {
		w.conceal(value)
	}
}

// conceal makes secrets of values, but of the names of variables that stand there because they are not set.
func (w *World) conceal(values ...string) {
	for _, v := range values {
		if v == "" || envRef.ReplaceAllString(v, "") != "" {
			w.Secret(v)
		}
	}
}

// problems collects what is wrong with one file.
type problems struct {
	file  string
	by    string // what has given that which is being looked at; "": the file
	errs  []error
	notes []string // of what is no mistake for certain
}

func (p *problems) add(line int, format string, args ...any) {
	file, line := p.at(line)
	p.errs = append(p.errs, &Problem{file, line, fmt.Errorf(format, args...)})
}

func (p *problems) note(line int, format string, args ...any) {
	p.notes = append(p.notes, place(p.at(line))+": warning: "+fmt.Sprintf(format, args...))
}

// at is the place of a line, or of what was given instead of it.
func (p *problems) at(line int) (string, int) {
	if p.by != "" {
		return p.by, 0
	}
	return p.file, line
}
