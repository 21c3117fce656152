// Package workspace reads the exports of other tools' workspaces and makes a fanfold.yaml
// of them.
//
// What it takes is found by what it looks like, not by where it stands: answers of
// Segment's Public API, one after the other, `terraform show -json` with its resources of
// Segment, a workspace configuration of RudderStack. Secrets are not carried over: the
// file names a variable for each. What could not be carried over stands there as a comment.
package workspace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/encoding"
	xunicode "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/fanfold/fanfold/pkg/destination"
)

// Destination is one as the other tool has it.
type Destination struct {
	ID            string
	Name          string // the user's
	Kind          string // the tool's name for what it is
	Disabled      bool
	Sources       []string
	Settings      []Setting
	Subscriptions []Subscription
	// Notes say what of it means nothing here.
	Notes []string
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
	Mapping               any // JSON, with numbers as json.Number
}

// maxDepth bounds how deep an export is looked into.
const maxDepth = 40

// Segment reads an export of a Segment workspace.
func Segment(data []byte) ([]Destination, error) {
	r := &reader{byID: map[string]*Destination{}, sources: map[string]string{}}
	if err := r.read(data, r.segment); err != nil {
		return nil, err
	}
	for _, s := range r.orphans {
		if d := r.byID[s.destination]; d != nil {
			d.Subscriptions = append(d.Subscriptions, s.Subscription)
		}
	}
	return r.result("Segment's Public API or `terraform show -json`")
}

// RudderStack reads a workspace configuration of RudderStack.
func RudderStack(data []byte) ([]Destination, error) {
	r := &reader{byID: map[string]*Destination{}, sources: map[string]string{}}
	if err := r.read(data, r.rudder); err != nil {
		return nil, err
	}
	return r.result("RudderStack's workspace configuration")
}

// reader walks an export.
type reader struct {
	order   []*Destination
	byID    map[string]*Destination
	sources map[string]string // names by id
	orphans []orphan
}

// orphan is a subscription that stands apart from its destination.
type orphan struct {
	Subscription
	destination string
}

// hcl is how a resource begins in Terraform's own language.
var hcl = regexp.MustCompile(`(?m)^\s*resource\s+"segment_`)

// inUTF8 is an export in UTF-8, without marks: shells of Windows write UTF-16, or a mark before what is none.
func inUTF8(data []byte) (string, error) {
	text, _, err := transform.Bytes(xunicode.BOMOverride(encoding.Nop.NewDecoder()), data)
	return strings.ReplaceAll(string(text), "\ufeff", ""), err
}

// read walks the documents of an export; see may take an object, and returns what to call
// with what stands inside of it.
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
		walk(v, see, 0)
	}
}

// result returns what was found.
func (r *reader) result(of string) ([]Destination, error) {
	if len(r.order) == 0 {
		return nil, fmt.Errorf("no destination is in it: it has to be JSON of %s", of)
	}
	out := make([]Destination, len(r.order))
	for i, d := range r.order {
		for n, id := range d.Sources {
			if name := r.sources[id]; name != "" {
				d.Sources[n] = name
			}
		}
		out[i] = *d
	}
	return out, nil
}

// add keeps a destination, once.
func (r *reader) add(d *Destination) *Destination {
	if have := r.byID[d.ID]; have != nil && d.ID != "" {
		for _, s := range d.Sources {
			if !slices.Contains(have.Sources, s) {
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
	for k, v := range o {
		if fold(k) == fold(key) {
			return v
		}
	}
	return nil
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
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
}

// walk shows every object to see, the outer ones first. Where see has taken one, what is
// inside of it is not looked at.
func walk(v any, see func(object) bool, depth int) {
	if depth > maxDepth {
		return
	}
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			walk(one, see, depth+1)
		}
	case map[string]any:
		if see(v) {
			return
		}
		for _, key := range sortedKeys(v) {
			walk(v[key], see, depth+1)
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// settingsOf are the members of an object, sorted.
func settingsOf(o object) (list []Setting) {
	for _, key := range sortedKeys(o) {
		list = append(list, Setting{key, o[key]})
	}
	return list
}

// segment sees an object of Segment's API, or of a resource of Terraform.
func (r *reader) segment(o object) bool {
	if values := o.object("values"); values != nil { // a resource
		kind := o.text("type")
		if strings.HasPrefix(kind, "segment_destination") || kind == "segment_source" {
			o = values
			if name := o.text("name"); kind == "segment_source" && name != "" {
				r.sources[o.text("id")] = name
			}
		}
	}
	action := o.text("actionSlug")
	if action == "" {
		action = o.text("partnerAction")
	}
	trigger := o.text("trigger")
	if trigger == "" {
		trigger = o.text("subscribe")
	}
	metadata, settings := o.object("metadata"), o.object("settings")
	switch {
	case action != "" && trigger != "":
		s := Subscription{Name: o.text("name"), Action: action, Trigger: trigger, Disabled: o.off("enabled")}
		mapped := settings
		if mapped == nil {
			mapped = o.object("mapping")
		}
		s.Mapping = map[string]any(mapped)
		r.orphans = append(r.orphans, orphan{s, o.text("destinationId")})
		return true
	case metadata != nil && settings != nil && o.get("writeKeys") == nil:
		d := &Destination{ID: o.text("id"), Name: o.text("name"), Disabled: o.off("enabled"), Settings: settingsOf(settings)}
		if d.Kind = metadata.text("slug"); d.Kind == "" {
			d.Kind = metadata.text("name")
		}
		if from := o.text("sourceId"); from != "" {
			d.Sources = append(d.Sources, from)
		}
		d = r.add(d)
		before := len(r.orphans)
		walk(o.get("subscriptions"), r.segment, 1)
		for i := before; i < len(r.orphans); i++ {
			if r.orphans[i].destination == "" {
				d.Subscriptions = append(d.Subscriptions, r.orphans[i].Subscription)
			}
		}
		return true
	case o.get("writeKeys") != nil && o.text("name") != "": // a source
		r.sources[o.text("id")] = o.text("name")
	}
	return false
}

// rudder sees an object of a workspace configuration.
func (r *reader) rudder(o object) bool {
	definition := o.object("destinationDefinition")
	if definition == nil {
		if o.object("sourceDefinition") != nil && o.text("name") != "" {
			r.sources[o.text("id")] = o.text("name")
			walk(o.get("destinations"), func(inner object) bool {
				taken := r.rudder(inner)
				if taken && len(r.order) > 0 {
					if d := r.byID[inner.text("id")]; d != nil && !slices.Contains(d.Sources, o.text("id")) {
						d.Sources = append(d.Sources, o.text("id"))
					}
				}
				return taken
			}, 1)
			return true
		}
		return false
	}
	d := &Destination{ID: o.text("id"), Name: o.text("name"), Disabled: o.off("enabled"),
		Settings: settingsOf(o.object("config"))}
	if d.Kind = definition.text("displayName"); d.Kind == "" {
		d.Kind = definition.text("name")
	}
	if list, _ := o.get("transformations").([]any); len(list) > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("its %d transformations are code: see `fanfold help transform` for steps",
			len(list)))
	}
	r.add(d)
	return true
}

// find is the destination of the catalogue that another tool calls kind.
func find(catalogue []destination.Destination, kind string) (destination.Destination, bool) {
	wanted := plain(kind)
	for _, d := range catalogue {
		for _, name := range append([]string{d.Info.Slug, d.Info.Name}, d.Info.Integrations...) {
			if plain(name) == wanted && wanted != "" {
				return d, true
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
