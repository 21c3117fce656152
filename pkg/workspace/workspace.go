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

// Filter changes or drops events before they reach a destination.
type Filter struct {
	Name string
	If   string   // which events, in FQL
	Drop bool     // they are not sent
	Does []string // what else is done to them, in the tool's words
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
	return &reader{byID: map[string]*Destination{}, sources: map[string]string{}, pages: map[string]map[string]int{}}
}

// reader walks an export.
type reader struct {
	order   []*Destination
	byID    map[string]*Destination
	sources map[string]string // names by id
	orphans []orphan
	pages   map[string]map[string]int // by what they list and how they are called: how often they are missing
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
		for _, page := range slices.Sorted(maps.Keys(r.pages[kind])) {
			if r.pages[kind][page] > 0 {
				out.Left = append(out.Left, fmt.Sprintf("%s: the export lacks the next page of them (pagination.next is %s): "+
					"ask for it, and put it behind the others", kind, page))
			}
		}
	}
	for i, d := range r.order {
		for n, id := range d.Sources {
			if name := r.sources[id]; name != "" {
				d.Sources[n] = name
			}
		}
		if len(d.Subscriptions) > 0 {
			d.Bare = false
		}
		out.Destinations[i] = *d
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
	r.page(o)
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
	case o.text("if") != "" && o.text("destinationId") != "":
		r.filter(o)
		return true
	case action != "" && (trigger != "" || o.text("destinationId") != ""):
		s := Subscription{Name: o.text("name"), Action: action, Trigger: trigger, Disabled: o.off("enabled")}
		mapped := settings
		if mapped == nil {
			mapped = o.object("mapping")
		}
		s.Mapping = map[string]any(mapped)
		r.orphans = append(r.orphans, orphan{Subscription: s, destination: o.text("destinationId")})
		return true
	case metadata != nil && settings != nil && o.get("writeKeys") == nil:
		d := &Destination{ID: o.text("id"), Name: o.text("name"), Disabled: o.off("enabled"), Settings: settingsOf(settings)}
		if d.Kind = metadata.text("slug"); d.Kind == "" {
			d.Kind = metadata.text("name")
		}
		actions, _ := metadata.get("actions").([]any)
		d.Bare = len(actions) > 0 || strings.HasPrefix(d.Kind, "actions-")
		if from := o.text("sourceId"); from != "" {
			d.Sources = append(d.Sources, from)
		}
		d = r.add(d)
		before := len(r.orphans)
		walk(o.get("subscriptions"), r.segment, 1)
		for i := before; i < len(r.orphans); i++ {
			if r.orphans[i].destination == "" || r.orphans[i].destination == d.ID {
				r.orphans[i].of = d
			}
		}
		return true
	case o.get("writeKeys") != nil && o.text("name") != "": // a source
		r.sources[o.text("id")] = o.text("name")
	}
	return false
}

// page notes which pages of an answer are there, and which are said to come next.
func (r *reader) page(o object) {
	p := o.object("pagination")
	if p == nil {
		return
	}
	for _, kind := range []string{"destinations", "filters", "sources", "subscriptions"} {
		if o.get(kind) == nil {
			continue
		}
		if r.pages[kind] == nil {
			r.pages[kind] = map[string]int{}
		}
		r.pages[kind][p.text("current")]--
		if next := p.text("next"); next != "" {
			r.pages[kind][next]++
		}
	}
}

// filter keeps a filter of a destination, unless it is switched off.
func (r *reader) filter(o object) {
	f := &Filter{Name: cmp.Or(o.text("title"), o.text("id")), If: o.text("if")}
	list, _ := o.get("actions").([]any)
	for _, one := range list {
		a, _ := one.(map[string]any)
		switch kind := object(a).text("type"); kind {
		case "DROP":
			f.Drop = true
		case "SAMPLE":
			f.Does = append(f.Does, fmt.Sprintf("SAMPLE to %v", object(a).get("percent")))
		default:
			f.Does = append(f.Does, cmp.Or(kind, "?"))
		}
	}
	if !o.off("enabled") {
		r.orphans = append(r.orphans, orphan{Filter: f, destination: o.text("destinationId")})
	}
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
	config := o.object("config")
	d := &Destination{ID: o.text("id"), Name: o.text("name"), Disabled: o.off("enabled"), Filters: namedEvents(config)}
	for _, s := range settingsOf(config) {
		if !slices.Contains([]string{eventFiltering, allowedEvents, deniedEvents}, s.Key) {
			d.Settings = append(d.Settings, s)
		}
	}
	d.Code = definition.text("name")
	d.Kind = cmp.Or(definition.text("displayName"), d.Code)
	if list, _ := o.get("transformations").([]any); len(list) > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("its %d transformations are code: see `fanfold help transform` for steps",
			len(list)))
	}
	r.add(d)
	return true
}

// The settings by which RudderStack keeps track events away from a destination: which of the two lists holds.
const eventFiltering, allowedEvents, deniedEvents = "eventFilteringOption", "whitelistedEvents", "blacklistedEvents"

// namedEvents is the filter of a destination of RudderStack's that has a list of events.
func namedEvents(config object) []Filter {
	which := config.text(eventFiltering)
	list, _ := config.get(which).([]any)
	var names []string
	for _, one := range list {
		o, _ := one.(map[string]any)
		if name := strings.TrimSpace(object(o).text("eventName")); name != "" {
			names = append(names, `event = "`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)+`"`)
		}
	}
	if len(names) == 0 {
		return nil
	}
	f := Filter{Name: which, Drop: true, If: `type = "track" and (` + strings.Join(names, " or ") + ")"}
	if which == allowedEvents {
		f.If = `type = "track" and !(` + strings.Join(names, " or ") + ")"
	}
	return []Filter{f}
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
