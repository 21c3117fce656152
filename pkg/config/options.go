package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/setting"
)

// option is one option that destinations take beside their settings.
type option struct {
	key string
	doc string // one sentence
	// form says what an editor may expect: see [schema].
	form form
	// read takes the value as it was written; what is wrong with it goes to p.
	read reader
}

type reader func(o *Opened, key string, n *yaml.Node, p *problems)

// options are those of every destination, in the order of the documentation. A further
// one is a line here, and where the engine keeps it a field of one of the parts of
// [engine.Options].
func options() []option {
	presets, doubts := []string{"automatic", "all"}, []string{"resend", "hold"}
	compressions := []string{"auto", "gzip", "none"}
	return []option{
		{"presets", "which of the destination's own subscriptions run: automatic (default) or all",
			wordForm(presets...), text(oneOf(presets...), func(o *Opened, s string) { o.Config.Presets = s })},
		{"filter", "which events this destination gets, in FQL", textForm(), (*Opened).readFilter},
		{"consent", "categories that the event's consent has to grant, like [advertising]: " +
			"context.consent.categoryPreferences. Events that do not say so are skipped (no_consent)",
			textsForm(), (*Opened).readConsent},
		{"actions", "instead of the presets: a list of {action, subscribe, mapping}; Segment's subscriptions can be " +
			"pasted whole, as their API has them (actionSlug, trigger, settings, enabled)", form{}, (*Opened).readActions},
		{"rate", destination.RateForms + "; may lower the partner's limit. Raising it, or none, needs " +
			"override_limits: true", likeForm(destination.RatePattern + `|^\s*none\s*$`), (*Opened).readRate},
		{"order", "user keeps the order of a user's events, also while some are tried again: what comes later waits. " +
			"`destinations show` says which destinations do so anyhow", wordForm("user"),
			text(oneOf("user"), func(o *Opened, _ string) { o.Config.Order = true })},
		{"concurrency", "requests in flight; 1 sends one request after the other", countForm(), (*Opened).readConcurrency},
		{"batch_events", "events in a request", countForm(),
			text(count, func(o *Opened, n int) { o.Config.BatchEvents = n })},
		{"batch_bytes", "bytes in a request", countForm(),
			text(count, func(o *Opened, n int) { o.Config.BatchBytes = n })},
		{"compression", "of requests: auto (default), gzip or none", wordForm(compressions...),
			text(oneOf(compressions...), func(o *Opened, s string) { o.Compression = s })},
		{"timeout", "of one request, like 30s", likeForm(`^(?:[0-9.]+(?:ns|us|µs|ms|s|m|h))+$`),
			text(duration, func(o *Opened, d time.Duration) { o.Options.Timeout = d })},
		{"base_url", "instead of the partner's scheme, host and path prefix", likeForm(`^[Hh][Tt][Tt][Pp][Ss]?://`),
			text(address, func(o *Opened, s string) { o.Config.BaseURL = s })},
		{"retry", "{attempts: 8, max_time: 15m}, or on the command line attempts=8,max_time=15m; may lower what the " +
			"partner declares, more needs override_limits: true. A partner that only says 429 is asked again, later each " +
			"time, without end, or until max_time, if you set it: then the destination stops", retryForm(), (*Opened).readRetry},
		{"in_doubt", "what becomes of requests that were without an answer at a crash: resend (default) or hold",
			wordForm(doubts...), text(oneOf(doubts...), func(o *Opened, s string) { o.Options.Hold = s == "hold" })},
		{"trigger_live", "true has events of more than a day ago start what new ones start: messages, campaigns, " +
			"deletions (see help backfill); without it a run stops before the first that would",
			form{"type": list("boolean", "string")}, text(boolean, func(o *Opened, b bool) { o.Options.TriggerLive = b })},
		{"override_limits", "true lets rate, concurrency and retry exceed the partner's limits",
			form{"type": list("boolean", "string")}, text(boolean, overriding)},
	}
}

// overriding does nothing: rate, concurrency and retry look at what was written.
func overriding(*Opened, bool) {}

// OptionReference lists the options of destinations for help: each with what it is, in
// lines of at most 80 characters.
func OptionReference() string {
	var b strings.Builder
	for _, o := range options() {
		line := fmt.Sprintf("  %-16s", o.key)
		for word := range strings.FieldsSeq(o.doc) {
			if len(line)+1+len(word) > 80 {
				b.WriteString(line + "\n")
				line = strings.Repeat(" ", 18)
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// OptionKeys are the names of the options that destinations take, in the order of
// the documentation.
func OptionKeys() []string {
	var keys []string
	for _, o := range options() {
		keys = append(keys, o.key)
	}
	return keys
}

// onlyHTTP are the options that say how requests are made of events, and where they
// go.
var onlyHTTP = []string{"presets", "compression", "base_url", "actions", "trigger_live"}

// readOptions reads the options that were written. Each is used, or refused.
func (o *Opened) readOptions(p *problems) {
	for _, opt := range options() {
		n := o.Written[opt.key]
		p.by = o.givenBy["opt "+opt.key]
		switch {
		case n == nil:
		case n.Tag == "!!null":
			p.add(o.at(opt.key, n), "%s: %s has no value: give it one, or take the line out", o.Name, opt.key)
		case o.Spec.Local && slices.Contains(onlyHTTP, opt.key), slices.Contains(o.Spec.Unused, opt.key):
			p.add(o.at(opt.key, n), "%s: %s is of no use to a destination of type %s: take it out%s", o.Name, opt.key, o.Slug,
				o.instead(opt.key))
		default:
			opt.read(o, opt.key, n, p)
		}
	}
	p.by = ""
}

// instead names the setting that does what an option would do elsewhere.
func (o *Opened) instead(key string) string {
	if _, ok := o.Spec.Settings.Field(key); ok {
		return "; there is a setting of that name"
	}
	return ""
}

// checkBatches refuses caps that change nothing, since the destination's own are
// smaller.
func (o *Opened) checkBatches(p *problems) {
	check := func(key string, given int, capOf func(destination.ActionLimits) destination.Cap) {
		n := o.Written[key]
		if n == nil {
			return
		}
		if written, wrong := count(n.Value); wrong != "" || written != given {
			return // it was wrong, or the caller wants another
		}
		most, docs := 0, ""
		for _, a := range o.Sender.Plan().Actions {
			c := capOf(a.Limits)
			if c.N == given {
				return
			}
			if c.N > most {
				most, docs = c.N, c.Docs
			}
		}
		if docs != "" {
			docs = " (" + docs + ")"
		}
		p.by = o.givenBy["opt "+key]
		p.add(o.at(key, n), "%s: %s %d would change nothing: the largest request here has %d%s", o.Name, key, given, most,
			docs)
		p.by = ""
	}
	check("batch_events", o.Config.BatchEvents, func(l destination.ActionLimits) destination.Cap { return l.BatchEvents })
	check("batch_bytes", o.Config.BatchBytes, func(l destination.ActionLimits) destination.Cap { return l.BatchBytes })
}

// at is the line of an option.
func (o *Opened) at(key string, n *yaml.Node) int {
	if line := o.Lines[key]; line > 0 {
		return line
	}
	return n.Line
}

// text makes a reader of an option that is a single value: parse understands it, or
// says what it has to be.
func text[T any](parse func(string) (v T, want string), put func(*Opened, T)) reader {
	return func(o *Opened, key string, n *yaml.Node, p *problems) {
		if n.Kind != yaml.ScalarNode {
			p.add(n.Line, "%s: %s has to be a single value, not %s", o.Name, key, nodeKind(n))
			return
		}
		v, want := parse(n.Value)
		if want != "" {
			p.add(o.at(key, n), "%s: %s has to be %s, not %q", o.Name, key, want, n.Value)
			return
		}
		put(o, v)
	}
}

func oneOf(words ...string) func(string) (string, string) {
	return func(s string) (string, string) {
		if !slices.Contains(words, s) {
			return "", alternatives(words)
		}
		return s, ""
	}
}

// alternatives are words of which one is meant.
func alternatives(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func anyText(s string) (string, string) { return s, "" }

func count(s string) (int, string) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, "a whole number of at least 1"
	}
	return n, ""
}

func duration(s string) (time.Duration, string) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, "a duration such as 30s or 5m"
	}
	return d, ""
}

func boolean(s string) (bool, string) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, "true or false"
	}
	return b, ""
}

func address(s string) (string, string) {
	if strings.Contains(s, "{{") {
		return "", "an http or https address without {{…}}: nothing is filled in there"
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", "an http or https address"
	}
	return s, ""
}

// overrides says whether the user knows better than the partner's documentation.
func (o *Opened) overrides() bool {
	n := o.Written["override_limits"]
	if n == nil {
		return false
	}
	b, want := boolean(n.Value)
	return b && want == ""
}

func (o *Opened) readFilter(key string, n *yaml.Node, p *problems) {
	text(anyText, func(o *Opened, s string) {
		f, err := filter.Written(s)
		if err != nil {
			p.add(o.at(key, n), "%s: %w", o.Name, err)
		}
		o.Filter = f
	})(o, key, n, p)
}

// readConsent reads the categories.
func (o *Opened) readConsent(key string, n *yaml.Node, p *problems) {
	var list []string
	if n.Kind == yaml.ScalarNode {
		list = strings.Split(n.Value, ",")
	} else if err := n.Decode(&list); err != nil || len(list) == 0 {
		p.add(o.at(key, n), "%s: consent has to be a category, or a list of categories", o.Name)
		return
	}
	for _, c := range list {
		if c = strings.TrimSpace(c); c == "" {
			p.add(o.at(key, n), "%s: consent has an empty category in it", o.Name)
		} else {
			o.Consent = append(o.Consent, c)
		}
	}
}

func (o *Opened) readConcurrency(key string, n *yaml.Node, p *problems) {
	text(count, func(o *Opened, k int) {
		o.Options.Concurrency = k
		if c := o.Spec.Limits.Concurrency; c.N > 0 && k > c.N && !o.overrides() {
			p.add(o.at(key, n), "%s: concurrency %d is above the partner's %d (%s); "+
				"set override_limits: true if you know better",
				o.Name, k, c.N, c.Docs)
		}
	})(o, key, n, p)
}

// readRate reads the rate of the whole lane, which takes the place of the declared
// one that counts the same unit.
func (o *Opened) readRate(key string, n *yaml.Node, p *problems) {
	text(anyText, func(o *Opened, s string) {
		line := o.at(key, n)
		r, err := destination.ParseRate(s)
		if r != nil && o.Spec.Local && r.Of == destination.Requests {
			if strings.Contains(s, "request") {
				err = fmt.Errorf("rate %s counts requests, and a destination of type %s makes none: count events, like 50/s", s,
					o.Slug)
			}
			r.Of = destination.Events
		}
		switch {
		case err != nil:
			p.add(line, "%s: %w", o.Name, err)
		case r == nil && !o.overrides():
			p.add(line, "%s: rate none lifts the partner's limit and needs override_limits: true", o.Name)
		case r == nil:
			o.Options.NoRates = true
		default:
			o.Options.Rate, o.Options.Override = r, o.overrides()
			if most, ok := o.Spec.MostRate(r.Of); ok && r.PerSecond() > most.PerSecond()*1.0001 && !o.overrides() {
				p.add(line, "%s: rate %s is above the partner's limit (%s); set override_limits: true if you know better",
					o.Name, s, most.Docs)
			}
		}
	})(o, key, n, p)
}

// readRetry reads {attempts: 5, max_time: 10m}, or, as on the command line, 5, 10m
// or attempts=5,max_time=10m.
func (o *Opened) readRetry(_ string, n *yaml.Node, p *problems) {
	declared := o.Spec.Limits.Retries
	above := func(line int, what, partners string) {
		if !o.overrides() {
			p.add(line, "%s: retry %s above the partner's %s (%s); set override_limits: true if you know better",
				o.Name, what, partners, declared.Docs)
		}
	}
	set := func(line int, key, value string) {
		switch key {
		case "attempts":
			k, want := count(value)
			if want != "" {
				p.add(line, "%s: retry attempts have to be %s, not %q", o.Name, want, value)
			}
			if o.Options.Attempts = k; declared.Attempts > 0 && k > declared.Attempts {
				above(line, "attempts "+value+" are", strconv.Itoa(declared.Attempts))
			}
		case "max_time":
			d, want := duration(value)
			if want != "" {
				p.add(line, "%s: retry max_time has to be %s, not %q", o.Name, want, value)
			}
			if o.Options.MaxTime = d; declared.MaxTime > 0 && d > declared.MaxTime {
				above(line, "max_time "+value+" is", declared.MaxTime.String())
			}
		default:
			p.add(line, "%s: retry: %s", o.Name, setting.Unknown(key, "key", []string{"attempts", "max_time"}))
		}
	}
	switch n.Kind {
	case yaml.MappingNode:
		eachPair(n, p, "retry", func(k, v *yaml.Node) { set(k.Line, k.Value, v.Value) })
	case yaml.ScalarNode:
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
	default:
		p.add(n.Line, "%s: retry has to be a table, not %s", o.Name, nodeKind(n))
	}
}
