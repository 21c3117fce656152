package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/setting"
	"github.com/fanfold/fanfold/pkg/transform"
)

// config is what of fanfold.yaml keeps its case and its line numbers.
type config struct {
	path         string
	transform    []transform.Step
	pipeline     *transform.Pipeline
	steps        *yaml.Node // as written
	destinations []*destConfig
	notes        []string // warnings about the rest
}

// destConfig is one destination as the user wrote it.
type destConfig struct {
	name     string
	slug     string
	line     int
	settings map[string]any
	unset    []error  // references to environment variables that are not set
	without  []string // settings that consist of them
	blank    []string // options that do
	notes    []string // warnings
	options  map[string]*yaml.Node
	lines    map[string]int // of settings and options
}

// topLevel are the keys of fanfold.yaml.
var topLevel = []string{"transform", "destinations", "state-dir", "log-level", "log-format", "progress", "memory"}

// optionKeys are the options that every destination takes.
var optionKeys = []string{"presets", "filter", "rate", "concurrency", "batch_events", "batch_bytes", "compression", "timeout", "base_url", "retry", "in_doubt", "override_limits", "actions"}

type problems struct {
	file  string
	errs  []error
	notes []string // of what is no mistake for certain
}

func (p *problems) add(line int, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(p.at(line)+": "+format, args...))
}

func (p *problems) at(line int) string {
	if line > 0 {
		return p.file + ":" + strconv.Itoa(line)
	}
	return p.file
}

func (p *problems) err() error {
	if len(p.errs) == 0 {
		return nil
	}
	return &usageError{errors.Join(p.errs...)}
}

// loadConfig reads the configuration file, if there is one, and reports all of
// its problems at once.
func (a *app) loadConfig() (*config, error) {
	path := a.findConfig()
	if path == "" {
		return &config{}, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("%s: no such file; `fanfold config init` prints one to start from", path)
	}
	if err != nil {
		return nil, usagef("reading the configuration: %w", err)
	}
	if len(data) > 16<<20 {
		return nil, usagef("%s is larger than 16 MiB", path)
	}
	c := &config{path: path}
	p := &problems{file: path}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		p.addSyntax(data, err)
		return nil, p.err()
	}
	if len(doc.Content) == 0 {
		return c, nil
	}
	eachPair(doc.Content[0], p, "the configuration", func(key, value *yaml.Node) {
		if key.Value != "destinations" {
			a.expand(value, p)
		}
		switch key.Value {
		case "transform":
			steps, wrong := transform.Parse(value)
			pipeline, err := transform.Compile(steps)
			c.transform, c.steps, c.pipeline = steps, value, pipeline
			for _, e := range transform.Errors(wrong, err) {
				line := e.Line
				e.Line = 0
				p.add(line, "%w", e)
			}
		case "destinations":
			eachPair(value, p, "destinations", func(name, body *yaml.Node) { c.addDestination(a, name, body, p) })
		default:
			if !slices.Contains(topLevel, key.Value) {
				p.add(key.Line, "%s", unknown(key.Value, "key", topLevel))
			}
		}
	})
	c.notes = p.notes
	return c, p.err()
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// addSyntax adds what the parser says of a file that is no YAML. Its line is often
// that of what the culprit is part of: the culprit is the line without which the
// parser would not say this.
func (p *problems) addSyntax(data []byte, err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits
		msg = msg[len(m[0]):]
	}
	if lines := bytes.SplitAfter(data, []byte("\n")); len(data) < 1<<20 { // else it takes long
		n := sort.Search(len(lines), func(i int) bool {
			head := 0
			for _, l := range lines[:i+1] {
				head += len(l)
			}
			var doc yaml.Node
			e := yaml.Unmarshal(data[:head], &doc)
			return e != nil && e.Error() == err.Error()
		})
		if n < len(lines) {
			line = n + 1
			text := lines[n]
			indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
			if bytes.ContainsRune(indent, '\t') && (strings.Contains(msg, "tab") || strings.Contains(msg, "cannot start any token")) {
				msg = "it is indented with a tab; YAML takes spaces only"
			}
		}
	}
	p.add(line, "%s", msg)
}

func unknown(name, what string, names []string) string {
	msg := fmt.Sprintf("there is no %s %q", what, name)
	if near := setting.Nearest(name, names); near != "" {
		return msg + "; did you mean " + near + "?"
	}
	return msg + "; there is " + strings.Join(names, ", ")
}

func eachPair(n *yaml.Node, p *problems, what string, f func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.add(n.Line, "%s has to be a table of keys and values, not %s", what, nodeKind(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		for v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		if at, twice := seen[k.Value]; twice {
			p.add(k.Line, "%s stands twice, first on line %d", k.Value, at)
			continue
		}
		seen[k.Value] = k.Line
		f(k, v)
	}
}

func nodeKind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a table"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return "the value " + strconv.Quote(n.Value)
}

// nearlyRef is what a shell would take for a variable.
var nearlyRef = regexp.MustCompile(`^\$[A-Z_][A-Z0-9_]*$`)

var envRef = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand replaces ${NAME} in every value by the environment's; such values are
// secrets when they are long enough to be told from ordinary text. One that is not
// set stays as it is, so that it is not called missing for a second time.
func (a *app) expand(n *yaml.Node, p *problems) {
	if n.Kind == yaml.ScalarNode && nearlyRef.MatchString(n.Value) { // not a value that comes from the environment
		p.notes = append(p.notes, fmt.Sprintf("%s: warning: the value looks like an environment variable, but is a text: ${NAME} is one", p.at(n.Line))) // it may be a secret after all
	}
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "${") {
		n.Value = envRef.ReplaceAllStringFunc(n.Value, func(ref string) string {
			name := ref[2 : len(ref)-1]
			v, ok := a.env(name)
			if !ok {
				p.add(n.Line, "the environment variable %s is not set", name)
				return ref
			}
			if len(v) >= 8 {
				a.secrets.add(v)
			}
			return v
		})
		if n.Style == 0 && n.Tag == "!!str" {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, c := range n.Content {
		a.expand(c, p)
	}
}

// refersToNothing says that a value names an environment variable that is not
// set.
func (a *app) refersToNothing(n *yaml.Node) bool {
	if n.Kind == yaml.ScalarNode {
		for _, ref := range envRef.FindAllString(n.Value, -1) {
			if _, ok := a.env(ref[2 : len(ref)-1]); !ok {
				return true
			}
		}
	}
	return slices.ContainsFunc(n.Content, a.refersToNothing)
}

func (c *config) addDestination(a *app, name, body *yaml.Node, p *problems) {
	d := &destConfig{name: name.Value, line: name.Line, settings: map[string]any{}, options: map[string]*yaml.Node{}, lines: map[string]int{}}
	if strings.ContainsAny(name.Value, ",= \t") || name.Value == "" || name.Value == "_source" {
		p.add(name.Line, "%q cannot name a destination: it is written in --to lists and file names", name.Value)
		return
	}
	// What one destination lacks is of no interest to a run to others.
	lacks := &problems{file: p.file}
	eachPair(body, lacks, name.Value, func(key, value *yaml.Node) {
		if key.Value == "settings" && value.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(value.Content); i += 2 {
				if a.refersToNothing(value.Content[i+1]) {
					d.without = append(d.without, value.Content[i].Value)
				}
			}
		} else if value.Kind == yaml.ScalarNode && a.refersToNothing(value) {
			d.blank = append(d.blank, key.Value)
		}
	})
	lacks.errs = nil
	a.expand(body, lacks)
	d.unset, d.notes = lacks.errs, lacks.notes
	keys := append([]string{"type", "settings"}, optionKeys...)
	eachPair(body, p, "destination "+name.Value, func(key, value *yaml.Node) {
		switch key.Value {
		case "type":
			d.slug = value.Value
		case "settings":
			eachPair(value, p, "settings of "+name.Value, func(k, v *yaml.Node) {
				var x any
				if err := v.Decode(&x); err != nil {
					p.add(v.Line, "%s: %v", k.Value, err)
				}
				d.settings[k.Value], d.lines[k.Value] = x, k.Line
			})
		default:
			if !slices.Contains(keys, key.Value) {
				p.add(key.Line, "%s: %s", name.Value, unknown(key.Value, "option", keys))
				return
			}
			d.options[key.Value], d.lines[key.Value] = value, key.Line
		}
	})
	slugs := slugsOf(a.catalogue())
	if d.slug == "" && slices.Contains(slugs, name.Value) {
		d.slug = name.Value // there is no need to say it twice
	}
	if d.slug == "" {
		if body.Kind == yaml.MappingNode {
			p.add(name.Line, "destination %s has no type: which destination of the catalogue is it? `fanfold destinations list` shows them", name.Value)
		}
		return
	}
	if !slices.Contains(slugs, d.slug) {
		p.add(name.Line, "destination %s: %s", name.Value, unknown(d.slug, "type", slugs))
		return
	}
	c.destinations = append(c.destinations, d)
}

func slugsOf(all []destination.Destination) []string {
	var out []string
	for _, d := range all {
		out = append(out, d.Info.Slug)
	}
	return out
}

// opened is a destination ready to run.
type opened struct {
	conf    *destConfig
	dest    destination.Destination
	sender  destination.Sender
	filter  *filter.Filter
	options engine.Options
	gzip    string
	config  destination.Config
}

// pick resolves --to: names of the configuration file, or slugs with their
// settings from the environment. Nothing asked for means everything
// configured.
func (a *app) pick(c *config, to, sets, opts []string, rehearse bool) ([]*destConfig, error) {
	all := a.catalogue()
	bySlug := map[string]bool{}
	for _, s := range slugsOf(all) {
		bySlug[s] = true
	}
	var out []*destConfig
	var errs []error
	if len(to) == 0 {
		out = append(out, c.destinations...)
		if len(out) == 0 && rehearse {
			for _, s := range slugsOf(all) {
				out = append(out, &destConfig{name: s, slug: s})
			}
		}
		if len(out) == 0 {
			return nil, usagef("no destination: name one with --to (%s), or configure some in fanfold.yaml (`fanfold config init` prints one to start from)", strings.Join(slugsOf(all), ", "))
		}
	}
	seen := map[string]bool{}
	for _, list := range to {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "" || seen[name] {
				continue
			}
			seen[name] = true
			i := slices.IndexFunc(c.destinations, func(d *destConfig) bool { return d.name == name })
			switch {
			case i >= 0:
				out = append(out, c.destinations[i])
			case bySlug[name]:
				out = append(out, &destConfig{name: name, slug: name})
			default:
				names := slugsOf(all)
				for _, d := range c.destinations {
					names = append(names, d.name)
				}
				errs = append(errs, fmt.Errorf("--to: %s (see `fanfold destinations list`)", unknown(name, "destination", names)))
			}
		}
	}
	for _, d := range out {
		if d.settings == nil {
			d.settings = map[string]any{}
		}
		if d.options == nil {
			d.options = map[string]*yaml.Node{}
		}
		if rehearse { // examples take their place
			for _, key := range d.without {
				delete(d.settings, key)
			}
		}
		schema := find(all, d.slug).Settings
		for _, f := range schema.Fields {
			if _, ok := d.settings[f.Key]; ok {
				continue
			}
			if v, ok := a.env(envName(d.slug, f.Key)); ok {
				d.settings[f.Key] = v
				if len(v) >= 8 && f.Secret {
					a.secrets.add(v)
				}
			}
		}
	}
	apply := func(flag, text string, put func(d *destConfig, key, value string) error) {
		left, value, ok := strings.Cut(text, "=")
		name, key, ok2 := strings.Cut(left, ".")
		if !ok || !ok2 {
			errs = append(errs, fmt.Errorf("%s %s: has to be NAME.KEY=VALUE", flag, left))
			return
		}
		hit := false
		for _, d := range out {
			if d.name == name || d.slug == name {
				hit = true
				if err := put(d, key, value); err != nil {
					errs = append(errs, fmt.Errorf("%s %s: %w", flag, left, err))
				}
			}
		}
		if !hit {
			var names []string
			for _, d := range out {
				names = append(names, d.name)
			}
			errs = append(errs, fmt.Errorf("%s %s: %s", flag, left, unknown(name, "destination", names)))
		}
	}
	for _, s := range sets {
		apply("--set", s, func(d *destConfig, key, value string) error {
			v, err := a.value(value)
			d.settings[key] = v
			return err
		})
	}
	for _, o := range opts {
		apply("--opt", o, func(d *destConfig, key, value string) error {
			if !slices.Contains(optionKeys, key) {
				return errors.New(unknown(key, "option", optionKeys))
			}
			var n yaml.Node
			if err := yaml.Unmarshal([]byte(value), &n); err != nil || len(n.Content) == 0 {
				n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
			} else {
				n = *n.Content[0]
			}
			if n.Kind == yaml.ScalarNode {
				n.Value = value
			}
			d.options[key] = &n
			return nil
		})
	}
	if len(errs) > 0 {
		return nil, &usageError{errors.Join(errs...)}
	}
	return out, nil
}

func find(all []destination.Destination, slug string) destination.Destination {
	for _, d := range all {
		if d.Info.Slug == slug {
			return d
		}
	}
	return destination.Destination{}
}

func envName(slug, key string) string {
	return "FANFOLD_" + strings.ToUpper(strings.NewReplacer("-", "_").Replace(slug+"_"+key))
}

// value reads what --set gives: env:NAME, file:PATH or a literal.
func (a *app) value(s string) (string, error) {
	if name, ok := strings.CutPrefix(s, "env:"); ok {
		v, ok := a.env(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		if len(v) >= 8 {
			a.secrets.add(v)
		}
		return v, nil
	}
	if path, ok := strings.CutPrefix(s, "file:"); ok {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		v := strings.TrimRight(string(b), "\r\n")
		if len(v) >= 8 {
			a.secrets.add(v)
		}
		return v, nil
	}
	return s, nil
}

// open validates destinations and makes them ready; all problems at once.
func (a *app) open(c *config, confs []*destConfig, rehearse bool, edit func(*opened)) ([]*opened, error) {
	file := c.path
	if file == "" {
		file = "command line"
	}
	p := &problems{file: file}
	all := a.catalogue()
	notes := c.notes
	for _, d := range confs {
		notes = append(notes, d.notes...)
	}
	for _, note := range notes {
		fmt.Fprintln(a.err, note)
	}
	var out []*opened
	for _, d := range confs {
		o := &opened{conf: d, dest: find(all, d.slug)}
		if !rehearse {
			p.errs = append(p.errs, d.unset...)
			for _, key := range d.blank {
				delete(d.options, key)
			}
		}
		if rehearse {
			for k, v := range o.dest.Settings.Examples() {
				if _, ok := d.settings[k]; !ok {
					d.settings[k] = v
				}
			}
		}
		for _, f := range o.dest.Settings.Fields {
			if v, ok := d.settings[f.Key].(string); ok && f.Secret && !rehearse {
				a.secrets.add(v)
			}
		}
		o.readOptions(p)
		o.config.Settings = d.settings
		if edit != nil {
			edit(o)
		}
		sender, err := o.dest.Open(o.config)
		if err != nil {
			for _, e := range flatten(err) {
				key, missing := settingOf(e)
				if !rehearse && slices.Contains(d.without, key) {
					continue // what is wrong with it is that it refers to nothing
				}
				if missing {
					p.add(d.line, "%s: setting %s is required: set %s, --set %s.%s=…, or settings in fanfold.yaml; --rehearse needs none", d.name, key, envName(d.slug, key), d.name, key)
					continue
				}
				if key == "" {
					key = "actions"
				}
				line := d.line
				if l := d.lines[key]; l > 0 {
					line = l
				}
				p.add(line, "%s: %w", d.name, e)
			}
			continue
		}
		o.sender = sender
		a.secrets.add(sender.Plan().Secrets...)
		a.secrets.add(sender.Plan().Auth.Secrets()...)
		out = append(out, o)
	}
	return out, p.err()
}

var ofSetting = regexp.MustCompile(`^setting ([a-z0-9_]+): `)

// settingOf says which setting an error is about, if any, and whether that is not
// there. Destinations' own checks write what the settings' problems write.
func settingOf(err error) (key string, missing bool) {
	var p *setting.Problem
	if errors.As(err, &p) {
		return p.Key, p.Missing
	}
	if m := ofSetting.FindStringSubmatch(err.Error()); m != nil {
		return m[1], false
	}
	return "", false
}

func flatten(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range j.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []error{err}
}

// readOptions reads the options that every destination takes.
func (o *opened) readOptions(p *problems) {
	d := o.conf
	override := false
	text := func(key string) (string, bool) {
		n := d.options[key]
		if n == nil {
			return "", false
		}
		if n.Kind != yaml.ScalarNode {
			p.add(n.Line, "%s: %s has to be a single value, not %s", d.name, key, nodeKind(n))
			return "", false
		}
		return n.Value, n.Tag != "!!null"
	}
	bad := func(key, want string) {
		line := d.lines[key]
		p.add(line, "%s: %s has to be %s, not %q", d.name, key, want, d.options[key].Value)
	}
	number := func(key string, into *int) {
		if s, ok := text(key); ok {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 {
				bad(key, "a whole number of at least 1")
				return
			}
			*into = n
		}
	}
	if s, ok := text("override_limits"); ok {
		b, err := strconv.ParseBool(s)
		if err != nil {
			bad("override_limits", "true or false")
		}
		override = b
	}
	if s, ok := text("presets"); ok {
		if s != "automatic" && s != "all" {
			bad("presets", "automatic or all")
		}
		o.config.Presets = s
	}
	if s, ok := text("filter"); ok {
		f, err := filter.Compile(s)
		if err != nil {
			p.add(d.lines["filter"], "%s: %w", d.name, err)
		}
		o.filter = f
	}
	number("concurrency", &o.options.Concurrency)
	limits := o.dest.Limits
	if c := limits.Concurrency; c.N > 0 && o.options.Concurrency > c.N && !override {
		p.add(d.lines["concurrency"], "%s: concurrency %d is above the partner's %d (%s); set override_limits: true if you know better", d.name, o.options.Concurrency, c.N, c.Docs)
	}
	number("batch_events", &o.config.BatchEvents)
	number("batch_bytes", &o.config.BatchBytes)
	if s, ok := text("compression"); ok {
		if s != "auto" && s != "gzip" && s != "none" {
			bad("compression", "auto, gzip or none")
		}
		o.gzip = s
	}
	duration := func(key string, into *time.Duration) {
		if s, ok := text(key); ok {
			t, err := time.ParseDuration(s)
			if err != nil || t <= 0 {
				bad(key, "a duration such as 30s or 5m")
				return
			}
			*into = t
		}
	}
	duration("timeout", &o.options.Timeout)
	if s, ok := text("base_url"); ok {
		if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
			bad("base_url", "an http or https address")
		}
		o.config.BaseURL = s
	}
	if s, ok := text("in_doubt"); ok {
		if s != "resend" && s != "hold" {
			bad("in_doubt", "resend or hold")
		}
		o.options.Hold = s == "hold"
	}
	if n := d.options["retry"]; n != nil {
		o.readRetry(n, p)
	}
	if s, ok := text("rate"); ok {
		r, err := parseRate(s)
		switch {
		case err != nil:
			p.add(d.lines["rate"], "%s: %w", d.name, err)
		case r == nil && !override:
			p.add(d.lines["rate"], "%s: rate none lifts the partner's limit and needs override_limits: true", d.name)
		case r == nil:
			o.options.Rates = []destination.Rate{}
		default:
			for _, have := range limits.Rates {
				if have.Of != r.Of {
					o.options.Rates = append(o.options.Rates, have)
				} else if r.N/r.Per.Seconds() > have.N/have.Per.Seconds()*1.0001 && !override {
					p.add(d.lines["rate"], "%s: rate %s is above the partner's limit (%s); set override_limits: true if you know better", d.name, s, have.Docs)
				}
			}
			o.options.Rates = append(o.options.Rates, *r)
		}
	}
	if n := d.options["actions"]; n != nil {
		o.readActions(n, p)
	}
}

func (o *opened) readRetry(n *yaml.Node, p *problems) {
	set := func(line int, key, value string) {
		switch key {
		case "attempts":
			k, err := strconv.Atoi(value)
			if err != nil || k < 1 {
				p.add(line, "%s: retry attempts have to be a whole number of at least 1, not %q", o.conf.name, value)
			}
			o.options.Attempts = k
		case "max_time":
			t, err := time.ParseDuration(value)
			if err != nil || t <= 0 {
				p.add(line, "%s: retry max_time has to be a duration such as 10m, not %q", o.conf.name, value)
			}
			o.options.MaxTime = t
		default:
			p.add(line, "%s: retry: %s", o.conf.name, unknown(key, "key", []string{"attempts", "max_time"}))
		}
	}
	if n.Kind == yaml.MappingNode {
		eachPair(n, p, "retry", func(k, v *yaml.Node) { set(k.Line, k.Value, v.Value) })
		return
	}
	// On the command line: 5, 10m, or attempts=5,max_time=10m.
	for part := range strings.SplitSeq(n.Value, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			value = key
			if key = "max_time"; regexp.MustCompile(`^\d+$`).MatchString(value) {
				key = "attempts"
			}
		}
		set(n.Line, key, value)
	}
}

// parseRate reads 50/s, 1000/m, 20MB/s or none (nil).
func parseRate(s string) (*destination.Rate, error) {
	if s == "none" {
		return nil, nil
	}
	m := regexp.MustCompile(`^\s*([0-9.]+)\s*(requests?|events?|[kKMG]?B|)\s*/\s*(s|sec|m|min|h|d|day)\s*$`).FindStringSubmatch(s)
	if m == nil {
		return nil, fmt.Errorf("rate has to be like 50/s, 1000/m, 100events/s or 20MB/s, not %q", s)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n <= 0 {
		return nil, fmt.Errorf("rate has to be like 50/s, 1000/m or 20MB/s, not %q", s)
	}
	r := &destination.Rate{N: n, Per: map[string]time.Duration{"s": time.Second, "sec": time.Second, "m": time.Minute, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour}[m[3]]}
	switch u := m[2]; {
	case strings.HasPrefix(u, "event"):
		r.Of = destination.Events
	case strings.HasSuffix(u, "B"):
		r.Of = destination.Bytes
		r.N *= map[string]float64{"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9}[u]
	}
	return r, nil
}

// readActions reads the subscriptions that replace the presets: our own form,
// in which Segment's mapping JSON can stand as it is.
func (o *opened) readActions(n *yaml.Node, p *problems) {
	if n.Kind != yaml.SequenceNode {
		p.add(n.Line, "%s: actions have to be a list, not %s", o.conf.name, nodeKind(n))
		return
	}
	o.config.Actions = []destination.Subscription{}
	for _, item := range n.Content {
		var s destination.Subscription
		keys := []string{"action", "subscribe", "mapping"}
		eachPair(item, p, "an action", func(k, v *yaml.Node) {
			switch k.Value {
			case "action":
				s.Action = v.Value
			case "subscribe":
				s.Subscribe = v.Value
			case "mapping":
				doc, err := nodeJSON(v)
				if err == nil {
					s.Mapping, err = mapping.Parse(doc)
				}
				if err != nil {
					p.add(v.Line, "%s: action %s: %w", o.conf.name, s.Action, err)
				}
			default:
				p.add(k.Line, "%s: %s", o.conf.name, unknown(k.Value, "key of an action", keys))
			}
		})
		if s.Action == "" {
			p.add(item.Line, "%s: an entry of actions does not say which action", o.conf.name)
			continue
		}
		o.config.Actions = append(o.config.Actions, s)
	}
}

// nodeJSON writes a YAML value as JSON, keeping the order of keys and the
// digits of numbers. A text that holds a JSON object is that object.
func nodeJSON(n *yaml.Node) ([]byte, error) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		var b bytes.Buffer
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			key, err := json.Marshal(n.Content[i].Value)
			if err != nil {
				return nil, err
			}
			value, err := nodeJSON(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			b.Write(key)
			b.WriteByte(':')
			b.Write(value)
		}
		b.WriteByte('}')
		return b.Bytes(), nil
	case yaml.SequenceNode:
		var b bytes.Buffer
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			value, err := nodeJSON(c)
			if err != nil {
				return nil, err
			}
			b.Write(value)
		}
		b.WriteByte(']')
		return b.Bytes(), nil
	}
	switch n.Tag {
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return []byte(n.Value), nil
		}
	case "!!bool", "!!null":
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
	if t := strings.TrimSpace(n.Value); strings.HasPrefix(t, "{") && json.Valid([]byte(t)) && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return []byte(t), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(n.Value)
	return bytes.TrimSpace(b.Bytes()), err
}
