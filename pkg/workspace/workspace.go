// Package workspace reads the exports of other tools' workspaces and makes a fanfold.yaml
// of them.
//
// What it takes is found by what it looks like, not by where it stands: answers of
// Segment's Public API, one after the other, `terraform show -json` with its resources of
// Segment, a workspace configuration of RudderStack. Secrets are not carried over: the
// file names a variable for each. What could not be carried over stands there as a comment.
package workspace

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/encoding"
	xunicode "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/fanfold/fanfold/pkg/destination"
)

// Workspace is what an export holds.
type Workspace struct {
	Destinations []Destination
	// Left is what belongs to none of the destinations, or is missing in the export.
	Left []string
	// Notes say what of it means nothing here.
	Notes []string
}

// Destination is one as the other tool has it.
type Destination struct {
	ID      string
	Name    string // the user's
	Kind    string // the tool's name for what it is
	Code    string // another name of the tool's for that
	Filters []Filter
	// Bare says that a destination of its kind sends nothing without subscriptions, and none of it are there.
	Bare          bool
	Disabled      bool
	Off           string // why else nothing is sent to it; "": it is
	Sources       []string
	Settings      []Setting
	Consent       []string // categories all of which an event's user has to have consented to
	Subscriptions []Subscription
	// Notes say what of it means nothing here; Losses without what it is sent other requests.
	Notes, Losses []string
}

// Setting is one value, in the tool's own words.
type Setting struct {
	Key   string
	Value any
}

// Subscription is an action of Segment's.
type Subscription struct {
	Name, Action, Trigger string
	Disabled              bool
	Mapping               any    // JSON, with numbers as json.Number
	Model                 string // what feeds it with rows instead of events
	ID                    string // of the action, where nothing but that is said of it
	Notes                 []string
}

// Filter changes or drops events before they reach a destination.
type Filter struct {
	Name string
	If   string   // which events, in FQL
	Drop bool     // they are not sent
	Does []string // what else is done to them, in the tool's words
	// Disabled says that it does nothing.
	Disabled bool
	Notes    []string
}

// maxDepth bounds how deep an export is looked into.
const maxDepth = 40

// Segment reads an export of a Segment workspace.
func Segment(data []byte) (*Workspace, error) {
	r := newReader()
	if err := r.read(data, r.segment); err != nil {
		return nil, err
	}
	return r.result("Segment's Public API or `terraform show -json`")
}

// RudderStack reads a workspace configuration of RudderStack.
func RudderStack(data []byte) (*Workspace, error) {
	r := newReader()
	if err := r.read(data, r.rudder); err != nil {
		return nil, err
	}
	return r.result("RudderStack's workspace configuration")
}

func newReader() *reader {
	return &reader{byID: map[string]*Destination{}, sources: map[string]origin{}, pages: map[string]*pages{},
		seen: map[string]bool{}, actions: map[string]string{}, left: map[string][]string{}, notes: map[string][]string{}}
}

// reader walks an export.
type reader struct {
	order   []*Destination
	byID    map[string]*Destination
	sources map[string]origin // by id
	orphans []orphan
	pages   map[string]*pages // by what they list
	seen    map[string]bool   // subscriptions and filters, by kind and id: an export may hold them twice
	actions map[string]string // slugs of actions by their ids
	// left and notes are what was not understood, and what means nothing here: labels by kind.
	left, notes map[string][]string
}

// origin is a source of events.
type origin struct {
	name string
	off  bool // it sends nothing
}

// orphan is a subscription or a filter that stands apart from its destination.
type orphan struct {
	Subscription
	*Filter
	destination string       // its id
	of          *Destination // in which it stands
}

func (o *orphan) label() string {
	if o.Filter != nil {
		return "filter " + o.Filter.Name
	}
	return strings.TrimSpace("subscription " + o.Subscription.Name)
}

// hcl is how a resource begins in Terraform's own language.
var hcl = regexp.MustCompile(`(?m)^\s*resource\s+"segment_`)

// inUTF8 is an export in UTF-8, without marks: shells of Windows write UTF-16, or a mark before what is none.
func inUTF8(data []byte) (string, error) {
	text, _, err := transform.Bytes(xunicode.BOMOverride(encoding.Nop.NewDecoder()), data)
	return strings.ReplaceAll(string(text), "\ufeff", ""), err
}

// read walks the documents of an export; see may take an object.
func (r *reader) read(data []byte, see func(object) bool) error {
	text, err := inUTF8(data)
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	for n := 0; ; n++ {
		var v any
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) && n > 0 {
			return nil
		}
		if err != nil && n == 0 && hcl.MatchString(text) {
			return errors.New("it is written in Terraform's own language: what `terraform show -json` prints is the same as " +
				"JSON, once the state is there (terraform init, terraform apply for the import blocks)")
		}
		if err != nil {
			return fmt.Errorf("it is no JSON (document %d): %w", n+1, err)
		}
		if !r.walk(v, see, 0) {
			r.leave("", v)
		}
	}
}

// result returns what was found.
func (r *reader) result(of string) (*Workspace, error) {
	if len(r.order) == 0 {
		return nil, fmt.Errorf("no destination is in it: it has to be JSON of %s", of)
	}
	out := &Workspace{Destinations: make([]Destination, len(r.order))}
	for _, o := range r.orphans {
		d := o.of
		if d == nil && o.destination != "" {
			d = r.byID[o.destination]
		}
		switch {
		case d == nil:
			out.Left = append(out.Left, fmt.Sprintf("%s: it belongs to destination %s, which is not in the export", o.label(),
				cmp.Or(o.destination, "?")))
		case o.Filter != nil:
			d.Filters = append(d.Filters, *o.Filter)
		default:
			d.Subscriptions = append(d.Subscriptions, o.Subscription)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(r.pages)) {
		out.Left = append(out.Left, r.pages[kind].missing(kind)...)
	}
	out.Left = append(out.Left, listed(r.left, "not carried over")...)
	out.Notes = listed(r.notes, "it means nothing here")
	for i, d := range r.order {
		off := 0
		for n, id := range d.Sources {
			from := r.sources[id]
			if d.Sources[n] = cmp.Or(from.name, id); from.off {
				d.Sources[n] += " (switched off there)"
				off++
			}
		}
		if off > 0 && off == len(d.Sources) {
			d.Off = "its source is switched off"
		}
		d.named(r.actions)
		if len(d.Subscriptions) > 0 {
			d.Bare = false
		}
		out.Destinations[i] = *d
	}
	return out, nil
}

// named gives subscriptions that name their action by an id the name that it has elsewhere in the export.
func (d *Destination) named(actions map[string]string) {
	for i := range d.Subscriptions {
		if s := &d.Subscriptions[i]; s.Action == "" {
			s.Action = cmp.Or(actions[s.ID], "with the id "+s.ID)
		}
	}
}

// add keeps a destination, once.
func (r *reader) add(d *Destination) *Destination {
	if have := r.byID[d.ID]; have != nil && d.ID != "" {
		if have.Disabled && !d.Disabled { // each source has a connection of its own
			have.Disabled, have.Sources = false, nil
		}
		for _, s := range d.Sources {
			if have.Disabled == d.Disabled && !slices.Contains(have.Sources, s) {
				have.Sources = append(have.Sources, s)
			}
		}
		return have
	}
	r.order = append(r.order, d)
	r.byID[d.ID] = d
	return d
}

// object is a JSON object whose keys are compared without case and underscores: camelCase
// and snake_case are the same.
type object map[string]any

func (o object) get(key string) any {
	if v, ok := o[key]; ok {
		return v
	}
	found, as := any(nil), ""
	for k, v := range o {
		if same(k, key) && (as == "" || k < as) { // of two that are the same, always the same one
			found, as = v, k
		}
	}
	return found
}

// same says that two keys are, without case and underscores.
func same(a, b string) bool {
	for a != "" || b != "" {
		switch {
		case a != "" && (a[0] == '_' || a[0] == '-' || a[0] == ' '):
			a = a[1:]
		case b != "" && (b[0] == '_' || b[0] == '-' || b[0] == ' '):
			b = b[1:]
		case a == "" || b == "" || a[0]|0x20 != b[0]|0x20:
			return false
		default:
			a, b = a[1:], b[1:]
		}
	}
	return true
}

func (o object) text(key string) string {
	s, _ := o.get(key).(string)
	return s
}

func (o object) object(key string) object {
	switch v := o.get(key).(type) {
	case map[string]any:
		return v
	case string: // JSON as a text, as Terraform has it
		var inner map[string]any
		d := json.NewDecoder(strings.NewReader(v))
		d.UseNumber()
		if d.Decode(&inner) == nil {
			return inner
		}
	}
	return nil
}

func (o object) off(key string) bool {
	on, ok := o.get(key).(bool)
	return ok && !on
}

func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// settingsOf are the members of an object, sorted.
func settingsOf(o object) (list []Setting) {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		list = append(list, Setting{key, o[key]})
	}
	return list
}

// find is the destination of the catalogue that another tool calls one of kinds.
func find(catalogue []destination.Destination, kinds ...string) (destination.Destination, bool) {
	for _, kind := range kinds {
		wanted := plain(kind)
		for _, d := range catalogue {
			for _, name := range slices.Concat([]string{d.Info.Slug, d.Info.Name}, d.Info.Integrations, d.Info.Elsewhere) {
				if plain(name) == wanted && wanted != "" {
					return d, true
				}
			}
		}
	}
	return destination.Destination{}, false
}

// plain is a name without what tools add to it.
func plain(name string) string {
	name = strings.ToLower(name)
	for _, word := range []string{"(actions)", "actions", "cloud mode", "cloud", "(ga4)"} {
		name = strings.ReplaceAll(name, word, "")
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, name)
}
