package destination

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Destination is a Spec with its settings type erased: what the catalogue holds
// and what commands show.
type Destination struct {
	Info     Info
	Settings setting.Schema
	Made     string            // see Spec.Made
	Parts    map[string]string // see Spec.Parts
	Actions  []ActionInfo
	Presets  []Preset
	Limits   Limits
	Order    bool
	Local    bool
	Sayings  []Saying // answers that mean something else than their status does
	// Unused are the options of Spec.Unused.
	Unused []string
	// Open makes a Sender from a user's configuration. The error joins all problems, *setting.Problem among them;
	// nothing is sent.
	Open func(Config) (Sender, error)
}

// ActionInfo documents an action.
type ActionInfo struct {
	Slug, Title, Doc, Trigger string
	Fields                    []payload.Field
	Limits                    ActionLimits // with the destination's defaults filled in
	Rung                      int          // see the package comment
	Success                   []Success
	Live                      LiveInfo // what it starts for old events, too
	// Verdicts is how an answer names single items; nil: it does not, or in Go.
	Verdicts *Verdicts
	Job      *Job // that a success promises; nil: the answer is final
	// Framing is where items stand in a body; nil: it is a list of them, or has one event.
	Framing *Framing
}

// Framing is how items stand in a body: in a list of an object, or in text, see [body.Framed].
type Framing struct {
	Path             []string // of the list; none: the body is text
	Open, Sep, Close string
	Above            bool // each has a line of its own above it
}

// info documents an action without binding it to settings: every command builds the whole catalogue, but opens
// only a few of its destinations.
func (d *Declared) info(limits Limits, success []Success) ActionInfo {
	info := ActionInfo{Slug: d.slug, Title: d.title, Doc: d.doc, Trigger: d.trigger, Fields: d.fields,
		Limits: d.limits.Or(limits), Rung: 1, Verdicts: d.verdicts, Job: d.job}
	if info.Success = d.success; info.Success == nil {
		for _, st := range d.steps {
			info.Success = append(info.Success, st.success...)
		}
	}
	if info.Success == nil {
		info.Success = success
	}
	if len(d.steps) == 1 {
		if open, sep, end, above, ok := body.Framing(d.steps[0].node); ok {
			info.Framing = &Framing{nil, open, sep, end, above}
		} else if path, ok := body.ItemsAt(d.steps[0].node); ok && len(path) > 0 {
			info.Framing = &Framing{Path: path}
		}
	}
	switch {
	case slices.ContainsFunc(d.steps, Step.talks):
		info.Rung = 5
	case d.results != nil:
		info.Rung = 4
	case d.item != nil:
		info.Rung = 3
	case len(d.checks) > 0:
		info.Rung = 2
	}
	return info
}

// Rung is the highest rung that an action of the destination needs.
func (d Destination) Rung() int {
	r := 1
	for _, a := range d.Actions {
		r = max(r, a.Rung)
	}
	return r
}

// Config is how a user configured a destination.
type Config struct {
	Settings map[string]any
	Presets  string         // "automatic" (also ""), or "all"
	Actions  []Subscription // not nil: used instead of the presets
	BaseURL  string         // not "": replaces the partner's scheme, host and path prefix
	// BatchEvents and BatchBytes lower the declared limits; 0: as declared.
	BatchEvents, BatchBytes int
	// Order keeps each user's events in order, even if the partner does not require it.
	Order bool
}

// Destination erases the settings type. It panics when the spec contradicts itself, with all that is wrong: that is a
// mistake in the program, and every test finds it.
func (s Spec[S]) Destination() Destination {
	if problems := s.problems(); len(problems) > 0 {
		panic("destination " + s.Info.Slug + ": " + strings.Join(problems, "; "))
	}
	d := Destination{
		Info: s.Info, Settings: s.schema(), Made: s.Made, Parts: s.Parts, Limits: s.Limits, Order: s.Order,
		Local:  s.Local != nil,
		Unused: s.Unused, Sayings: s.Sayings,
	}
	if slices.ContainsFunc(s.Actions, (*Declared).isTimed) && len(s.Info.Differences) > 0 {
		d.Info.Differences = append(slices.Clip(s.Info.Differences), times())
	}
	for _, a := range s.Actions {
		info := a.info(s.Limits, s.Success)
		info.Live = a.liveInfo(s.Live)
		d.Actions = append(d.Actions, info)
	}
	if s.Presets == nil {
		s.Presets = triggered(d.Actions)
	}
	d.Presets = s.Presets
	for i := range s.Presets {
		p := &s.Presets[i]
		at := slices.IndexFunc(d.Actions, func(a ActionInfo) bool { return a.Slug == p.Action })
		p.Subscribe = cmp.Or(p.Subscribe, d.Actions[at].Trigger)
	}
	schema := d.Settings
	s.region(schema)
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		for _, a := range s.Actions {
			a.Header(name, s.Headers[name])
		}
	}
	d.Open = func(c Config) (Sender, error) {
		settings, err := setting.Decode[S](schema, c.Settings)
		if err != nil {
			return nil, err
		}
		if s.Check != nil {
			if errs := s.Check(settings); len(errs) > 0 {
				return nil, errors.Join(errs...)
			}
		}
		if s.Local != nil {
			local, err := s.Local(settings)
			if err != nil {
				return nil, err
			}
			return smaller(local, c), nil
		}
		return s.open(settings, c, schema)
	}
	return d
}

// problems are the ways in which a declaration contradicts itself.
func (s *Spec[S]) problems() (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	seen := map[string]bool{}
	for _, a := range s.Actions {
		if seen[a.slug] {
			say("two actions are called %q", a.slug)
		}
		seen[a.slug] = true
		if s.Local != nil {
			continue
		}
		if len(a.steps) == 0 {
			say("action %q has no request: Post, Steps or another", a.slug)
		}
		if len(a.info(s.Limits, s.Success).Success) == 0 {
			say("action %q does not say what a success looks like: Success, of it or of the spec", a.slug)
		}
		fields := map[string]bool{}
		for _, f := range a.fields {
			if fields[f.Key] {
				say("action %q has two fields that are called %q", a.slug, f.Key)
			}
			fields[f.Key] = true
		}
	}
	for _, p := range s.Presets {
		if !seen[p.Action] {
			say("preset %q names the unknown action %q", p.Name, p.Action)
		}
	}
	if s.Hosts != nil && s.regional(s.schema()) < 0 {
		say("Hosts: no setting has the choices %s", strings.Join(slices.Sorted(maps.Keys(s.Hosts)), ", "))
	}
	return list
}

// regional is the index of the setting that has the choices of Hosts; -1: none has.
func (s *Spec[S]) regional(schema setting.Schema) int {
	names := slices.Sorted(maps.Keys(s.Hosts))
	return slices.IndexFunc(schema.Fields, func(f setting.Field) bool {
		return slices.Equal(slices.Sorted(slices.Values(f.Choices)), names)
	})
}

// region makes BaseURL of Hosts.
func (s *Spec[S]) region(schema setting.Schema) {
	if s.Hosts == nil {
		return
	}
	i := s.regional(schema)
	s.BaseURL = func(settings *S) string {
		chosen, _ := schema.Values(settings)[schema.Fields[i].Key].(string)
		return s.Hosts[chosen]
	}
}

// schema describes the settings.
func (s *Spec[S]) schema() setting.Schema {
	if s.Schema != nil {
		return *s.Schema
	}
	return setting.Of[S]()
}

// triggered makes presets that fire every action by its own trigger.
func triggered(actions []ActionInfo) (list []Preset) {
	for _, a := range actions {
		if a.Trigger != "" {
			list = append(list, Preset{Name: a.Title, Action: a.Slug, Subscribe: a.Trigger})
		}
	}
	return list
}

// opened is what the actions can know about the destination.
func (s *Spec[S]) opened(schema setting.Schema, settings *S) *opened {
	o := &opened{values: schema.Values(settings), live: s.Live}
	for _, f := range schema.Fields {
		if f.Stamp {
			o.stamp = f.Key
		}
	}
	return o
}

// smallerBatches wraps the Sender of a local destination, with the user's batch limits and order.
type smallerBatches struct {
	Sender
	plan Plan
}

func (s *smallerBatches) Plan() *Plan { return &s.plan }

// Age implements [Aging], for a Sender that does.
func (s *smallerBatches) Age(now time.Time) error {
	if a, ok := s.Sender.(Aging); ok {
		return a.Age(now)
	}
	return nil
}

func (s *smallerBatches) Close() error {
	if c, ok := s.Sender.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// smaller lowers the batch limits to those of the configuration, and turns on the order that it asks for.
func smaller(s Sender, c Config) Sender {
	if c.BatchEvents == 0 && c.BatchBytes == 0 && !c.Order {
		return s
	}
	out := &smallerBatches{s, *s.Plan()}
	out.plan.Order = out.plan.Order || c.Order
	out.plan.Actions = slices.Clone(out.plan.Actions)
	for i := range out.plan.Actions {
		limits := &out.plan.Actions[i].Limits
		limits.BatchEvents.lower(c.BatchEvents)
		limits.BatchBytes.lower(c.BatchBytes)
	}
	return out
}

// lower makes a limit smaller; 0 leaves it alone.
func (c *Cap) lower(to int) {
	if to > 0 && (c.N == 0 || to < c.N) {
		c.N = to
	}
}

// action is an action of a destination, with its settings.
type action struct {
	Slug, Trigger string

	Fields    []payload.Field
	Limits    ActionLimits
	TimeField string
	dated     bool // it sends the time of the event, though no field holds it
	live      Live
	ages      bool      // it behaves differently for old events
	success   []Success // nil: the spec's

	requests int          // the most that a delivery takes; 0: one
	places   *body.Places // that its bodies read

	job  *Job   // nil: the answer is final
	once string // path in an item of a value that may occur only once in a request; "": none

	// successOf returns the answers that count as success for a group's requests, by its Key, where the steps
	// differ; nil: success is used.
	successOf func(key string) []Success

	request func() Request                     // nil: a POST of the item
	item    func(in *Input, out *Output)       // nil: the payload is the item
	results func(a *Answer, b *Batch) []Result // nil: by the status
	// converse makes the requests of one delivery, where one depends on the answer to another. judge says what a
	// single answer means.
	converse func(ctx context.Context, t Transport, b *Batch, judge func(*Answer, []Success) (Result, error)) (Result,
		error)
}

// sender is a Spec opened with settings.
type sender struct {
	sayings []Saying
	keys    Keys
	base    string
	moved   bool // the user has set base
	plan    Plan
	actions []openAction
	subs    []subscription
	names   []string                // in the integrations object, in lower case
	lacks   [event.Alias + 1]string // why no action takes events of a type, where the type alone decides

	plain   atomic.Bool // bodies are interpreted, not compiled; see check
	differs atomic.Pointer[string]
}

type openAction struct {
	action
	request Request
	limits  ActionLimits
	base    string
	single  bool
}

type subscription struct {
	action  int
	filter  *filter.Filter
	types   typeSet        // the types that the filter can match
	rest    *filter.Filter // what the filter still has to check once the type matches
	trigger trigger        // rest, as it is shared; see MapAlike
	program *payload.Program
	written mapping.Value // the mapping as written; zero: the fields' defaults
	terms   []term        // the conditions in rest, which must all hold
	dated   bool          // the partner is told when the event happened

	otherwise *subscription // takes the events that lack what the action needs; nil: there is none
}

// typeSet is a set of types of events, a bit for each.
type typeSet uint16

const allTypes = ^typeSet(0)

// typesOf returns the set of the types with these names; false: a name is not a type of the spec.
func typesOf(texts []string) (set typeSet, ok bool) {
	for _, text := range texts {
		t := event.TypeOf(text)
		if t == event.Other {
			return 0, false
		}
		set |= 1 << t
	}
	return set, true
}

// bind finds out which types the filter can match. Most subscriptions are for one type of event, and a destination
// has several: looking at the type first halves the time that filters take.
func (s *subscription) bind() {
	s.types, s.rest = allTypes, s.filter
	if texts, rest, ok := s.filter.Bound("type"); ok {
		if types, ok := typesOf(texts); ok {
			s.types, s.rest = types, rest
		}
	}
}

// takes says whether the filter matches.
func (s *subscription) takes(ev *event.Event) bool {
	return s.types>>ev.Type()&1 != 0 && s.rest.Match(ev.Root())
}

func (s *Spec[S]) open(settings *S, c Config, schema setting.Schema) (Sender, error) {
	o := &sender{sayings: s.Sayings}
	if s.Keys != nil {
		o.keys = s.Keys(settings)
	}
	o.plan = Plan{
		Limits: s.Limits.Lane(), Order: s.Order || c.Order, Secrets: schema.Secrets(settings), Stamp: schema.Stamp(settings),
	}
	if err := s.address(o, settings, c); err != nil {
		return nil, err
	}
	var actions []action
	var err error
	if s.Actions != nil {
		if actions, err = s.Actions.open(s.opened(schema, settings)); err != nil {
			return nil, err
		}
	}
	for _, a := range actions {
		if err := s.act(o, a, c); err != nil {
			return nil, err
		}
	}
	for _, n := range append([]string{s.Info.Name, s.Info.Slug}, s.Info.Integrations...) {
		o.names = append(o.names, strings.ToLower(n))
	}
	subs := c.Actions
	if subs == nil {
		if subs, err = s.presets(actions, c.Presets); err != nil {
			return nil, err
		}
	}
	var errs []error
	var content strings.Builder
	fmt.Fprintf(&content, "%s\n%s\n%s", s.Info.Slug, schema.Content(settings), s.Made)
	for i, sub := range subs {
		errs = append(errs, s.subscribe(o, i, sub))
		fmt.Fprintf(&content, "%s\n%s\n%s\n", sub.Action, sub.Subscribe, sub.Mapping)
	}
	o.plan.Content = content.String()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	o.tellSubscriptions()
	return o, nil
}

// address determines the base address and the credentials of requests.
func (s *Spec[S]) address(o *sender, settings *S, c Config) (err error) {
	if s.Auth != nil {
		o.plan.Auth = s.Auth(settings)
	}
	switch {
	case c.BaseURL != "":
		o.base, o.moved = c.BaseURL, true
		if o.plan.Auth, err = o.plan.Auth.moved(c.BaseURL); err != nil {
			return err
		}
	case s.BaseURL != nil:
		o.base = s.BaseURL(settings)
	}
	if o.plan.Auth, o.base, err = o.plan.Auth.withUser(o.base); err != nil {
		return err
	}
	return o.plan.Auth.check()
}

// act adds an action to a sender.
func (s *Spec[S]) act(o *sender, a action, c Config) (err error) {
	oa := openAction{action: a, limits: a.Limits.Or(s.Limits), base: o.base}
	if a.request != nil {
		oa.request = a.request()
	}
	if oa.request.BaseURL != "" && c.BaseURL == "" {
		if o.plan.Auth, oa.base, err = o.plan.Auth.withUser(oa.request.BaseURL); err != nil {
			return err
		}
	}
	if oa.success == nil {
		oa.success = s.Success
	}
	if oa.request.Method == "" {
		oa.request.Method = http.MethodPost
	}
	if oa.request.ContentType == "" && oa.request.Method != http.MethodGet {
		oa.request.ContentType = "application/json"
	}
	if oa.single = oa.request.Open == "" && oa.request.Sep == ""; oa.single {
		oa.limits.BatchEvents.N = 1
	}
	oa.limits.BatchEvents.lower(c.BatchEvents)
	oa.limits.BatchBytes.lower(c.BatchBytes)
	o.actions = append(o.actions, oa)
	o.plan.Actions = append(o.plan.Actions, ActionPlan{
		Slug: a.Slug, Limits: oa.limits,
		Overhead: len(oa.request.Open) + len(oa.request.Close), PerItem: len(oa.request.Sep),
		OverheadFor: oa.request.overhead(), Requests: a.requests, Once: a.once, Live: a.live, Patience: a.patience(),
	})
	return nil
}

// patience is how long to wait for the action's job.
func (a *action) patience() time.Duration {
	if a.job == nil {
		return 0
	}
	return a.job.Patience
}

// subscribe adds the ith subscription to a sender.
func (s *Spec[S]) subscribe(o *sender, i int, sub Subscription) error {
	out, err := s.subscription(o, i, sub)
	if sub.otherwise != "" && err == nil {
		var instead subscription
		instead, err = s.subscription(o, i, Subscription{Action: sub.otherwise, Subscribe: sub.Subscribe})
		out.otherwise = &instead
	}
	o.plan.Subscribed = append(o.plan.Subscribed, sub.Action+": "+sub.Subscribe)
	o.subs = append(o.subs, out)
	return err
}

// subscription compiles one subscription.
func (s *Spec[S]) subscription(o *sender, i int, sub Subscription) (out subscription, err error) {
	at := slices.IndexFunc(o.actions, func(a openAction) bool { return a.Slug == sub.Action })
	if at < 0 {
		var slugs []string
		for _, a := range o.actions {
			slugs = append(slugs, a.Slug)
		}
		slices.Sort(slugs)
		msg := fmt.Sprintf("actions[%d]: %s has no action %q", i, s.Info.Slug, sub.Action)
		if near := setting.Nearest(sub.Action, slugs); near != "" {
			return out, errors.New(msg + "; did you mean " + near + "?")
		}
		return out, errors.New(msg + "; its actions are " + strings.Join(slugs, ", "))
	}
	out = subscription{action: at, written: sub.Mapping, dated: o.actions[at].isDated(sub.Mapping)}
	var errs []error
	if sub.Subscribe != "" {
		if out.filter, err = filter.Compile(sub.Subscribe); err != nil {
			errs = append(errs, fmt.Errorf("actions[%d] (%s): subscribe: %w", i, sub.Action, err))
		}
	}
	out.bind()
	a := &o.actions[at]
	out.program, err = payload.Compile(a.Fields, sub.Mapping, payload.Deeper(a.places.List()))
	if err != nil {
		return out, errors.Join(append(errs, fmt.Errorf("actions[%d] (%s): %w", i, sub.Action, err))...)
	}
	if paths := out.program.Paths(); paths != nil {
		o.plan.Paths = append(o.plan.Paths, paths)
	}
	return out, errors.Join(errs...)
}

// presets returns the subscriptions that apply when the user has configured none.
func (s *Spec[S]) presets(actions []action, name string) ([]Subscription, error) {
	var subs []Subscription
	switch name {
	case "", "automatic":
		for _, p := range s.Presets {
			sub := Subscription{Action: p.Action, Subscribe: p.Subscribe, otherwise: p.Otherwise}
			if len(p.Mapping) > 0 {
				i := slices.IndexFunc(actions, func(a action) bool { return a.Slug == p.Action })
				var ms []mapping.Member
				seen := map[string]bool{}
				for _, f := range actions[i].Fields {
					v, ok := p.Mapping[f.Key]
					if !ok {
						v = f.Default
					}
					seen[f.Key] = true
					if !v.IsZero() {
						ms = append(ms, mapping.M(f.Key, v))
					}
				}
				for key := range p.Mapping {
					if !seen[key] {
						return nil, fmt.Errorf("%s: preset %q maps the unknown field %q", s.Info.Slug, p.Name, key)
					}
				}
				sub.Mapping = mapping.Object(ms...)
			}
			subs = append(subs, sub)
		}
	case "all":
		for _, a := range actions {
			if a.Trigger != "" {
				subs = append(subs, Subscription{Action: a.Slug, Subscribe: a.Trigger})
			}
		}
	default:
		return nil, fmt.Errorf("presets has to be automatic or all, not %q", name)
	}
	return subs, nil
}

func (o *sender) Plan() *Plan { return &o.plan }

// Route implements Sender.
func (o *sender) Route(ev *event.Event, env *Env, out *Deliveries) {
	if out.joint == apart {
		out.Next()
	}
	out.interpret(o.plain.Load())
	from, size := len(out.List), len(out.arena)
	o.route(ev, env, out)
	if out.body.Plain {
		return
	}
	if out.routed++; out.routed%checkEvery == 0 {
		o.check(ev, env, out, from, size)
	}
}

// checkEvery is how many events pass for each one that the interpreter checks. It is a prime, so that several
// destinations that take turns are all checked.
const checkEvery = 1009

// Interpreted returns a copy of s, the Sender of a Spec, that interprets its bodies instead of running them
// compiled.
func Interpreted(s Sender) Sender {
	o, ok := s.(*sender)
	if !ok {
		return s
	}
	c := &sender{sayings: o.sayings, keys: o.keys,
		base: o.base, moved: o.moved, plan: o.plan, actions: o.actions, subs: o.subs,
		names: o.names, lacks: o.lacks}
	c.plain.Store(true)
	return c
}

// Checked is a [Sender] that now and then compares what its compiled bodies write with what the interpreter
// writes.
type Checked interface {
	// Difference describes the first difference that was found; "": none. From then on everything is interpreted,
	// which is slower but correct.
	Difference() string
}

// Difference implements [Checked].
func (o *sender) Difference() string {
	if d := o.differs.Load(); d != nil {
		return *d
	}
	return ""
}

// check routes an event a second time with the interpreter, and compares. When the two differ, the interpreter's
// result counts, for this event and for all that follow.
func (o *sender) check(ev *event.Event, env *Env, out *Deliveries, from, size int) {
	var plain Deliveries
	plain.begin()
	defer plain.Rest()
	plain.interpret(true)
	o.route(ev, env, &plain)
	plain.interpret(false)
	if sameDeliveries(out.List[from:], plain.List) {
		return
	}
	o.plain.Store(true)
	what := "event " + idOf(ev, env) +
		": the compiled body is not what the declaration says; from here on bodies are interpreted"
	o.differs.CompareAndSwap(nil, &what)
	out.Cut(from)
	out.arena = out.arena[:size]
	out.interpret(true)
	o.route(ev, env, out)
}

func sameDeliveries(a, b []Delivery) bool {
	return slices.EqualFunc(a, b, func(a, b Delivery) bool {
		return bytes.Equal(a.Item, b.Item) && a.InsertID == b.InsertID && a.Address() == b.Address() &&
			a.Verdict() == b.Verdict() &&
			a.Action == b.Action && a.Step == b.Step && a.Wait == b.Wait && a.Live == b.Live
	})
}

func (o *sender) route(ev *event.Event, env *Env, out *Deliveries) {
	from := len(out.List)
	settle := func(reason Reason, detail string) {
		out.List = append(out.List, Delivery{Settled: out.settled(Skipped, reason, detail)})
	}
	if o.optedOut(ev) {
		settle(OptedOut, "the event's integrations object")
		return
	}
	root := ev.Root()
	id := ""
	var some [8]int
	sent := some[:0] // actions
	for i := range o.subs {
		sub := &o.subs[i]
		if !out.takes(sub, ev) {
			continue
		}
		if id == "" {
			id = idOf(ev, env)
		}
		// The first delivery has the event's own insert id. Each further one has its own, also within the same
		// action.
		own := id
		if len(sent) > 0 {
			n := 1
			for _, action := range sent[1:] {
				if action == sub.action {
					n++
				}
			}
			if own = out.key(&out.body, id, ":", o.actions[sub.action].Slug); n > 1 {
				own = out.key(&out.body, own, ".", strconv.Itoa(n))
			}
		}
		sent = append(sent, sub.action)
		n := len(out.List)
		o.fire(sub, ev, root, own, env, out)
		if sub.otherwise != nil && lacks(out.List[n:]) {
			out.Cut(n)
			o.fire(sub.otherwise, ev, root, own, env, out)
		}
	}
	if len(out.List) == from {
		settle(Unsupported, o.unsubscribed(ev))
	}
}

// lacks says whether an action has rejected an event because the event lacks something.
func lacks(made []Delivery) bool {
	r := made[0].Settled
	return len(made) == 1 && r != nil && r.Outcome == Rejected && r.Reason == Invalid
}

// NeedsFallback says whether an event has no messageId that can serve as insert id, so that Env.Fallback is
// needed.
func NeedsFallback(ev *event.Event) bool {
	v := ev.MessageID()
	return v.Kind() != event.String || v.IsEmptyText() || v.IsText("null")
}

// idOf is an event's insert id.
func idOf(ev *event.Event, env *Env) string {
	if id := ev.ID(); id != "" && id != "null" {
		return id
	}
	return env.Fallback
}

// fire maps one event for one action and appends the deliveries.
func (o *sender) fire(sub *subscription, ev *event.Event, root event.Value, id string, env *Env, out *Deliveries) {
	a := &o.actions[sub.action]
	w := out.output(sub.action, id, a.limits.EventBytes.N)
	if sub.dated {
		if why := timeless(ev); why != "" {
			w.Reject(NoTime, why)
			return
		}
	}
	mapped, err := out.mapping(sub.program, root)
	if err != nil {
		reason := Invalid
		if invalid, ok := errors.AsType[*payload.InvalidError](err); ok && missingIdentity(invalid, a.Fields) {
			reason = MissingIdentity
		}
		w.Reject(reason, err.Error())
		return
	}
	if win := a.limits.Window; win.Past > 0 || win.Future > 0 || !win.Since.IsZero() {
		var field event.Value
		if a.TimeField != "" {
			field = mapped.Get(a.TimeField)
		}
		if but := win.But; but != nil && mapped.Get(but.Field).IsText(but.Value) {
			win.Past = but.Past
		}
		if r, out := outside(win, ev, field, env); out {
			w.settle(r.Outcome, r.Reason, r.Detail)
			return
		}
	}
	if a.item == nil {
		w.buf = mapped.AppendJSON(w.buf)
	} else {
		in := &out.in
		*in = Input{Event: ev, Payload: mapped, id: id, now: env.Now, asked: env.TriggerLive}
		if a.ages {
			in.old, in.age = historyOf(ev, env.Now)
		}
		a.item(in, w)
	}
	w.finish()
}

// outside says whether the time of an event (or the payload field that holds it) is outside a window, and returns
// the result for it.
func outside(win Window, ev *event.Event, field event.Value, env *Env) (Result, bool) {
	if env.Now.IsZero() {
		return Result{}, false
	}
	var at time.Time
	var ok bool
	if field.Exists() {
		at, ok = event.ParseTime(field)
	} else {
		at, ok = ev.Timestamp()
	}
	if !ok {
		return Result{}, false
	}
	switch age := env.Now.Sub(at); {
	case at.Before(win.Since):
		return Result{Outcome: Skipped, Reason: TooOld,
			Detail: fmt.Sprintf("the event is from %s; the partner takes those from %s on", at.UTC().Format(time.RFC3339),
				win.Since.Format(time.DateOnly))}, true
	case win.Past > 0 && age > win.Past:
		return Result{Outcome: Skipped, Reason: TooOld,
			Detail: fmt.Sprintf("the event is from %s; the partner takes the last %s", at.UTC().Format(time.RFC3339),
				span(win.Past))}, true
	case win.Future > 0 && -age > win.Future:
		return Result{Outcome: Skipped, Reason: TooNew,
			Detail: fmt.Sprintf(
				"the event is from %s; the partner takes at most %s ahead",
				at.UTC().Format(time.RFC3339),
				span(win.Future),
			)}, true
	}
	return Result{}, false
}

// span formats a duration in the unit that people use for windows.
func span(d time.Duration) string {
	if d%(24*time.Hour) == 0 && d > 48*time.Hour {
		return strconv.Itoa(int(d/(24*time.Hour))) + " days"
	}
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// missingIdentity says whether a missing field that identifies the user is all that an action lacks, so that the
// event is counted under that reason.
func missingIdentity(err *payload.InvalidError, fields []payload.Field) bool {
	if len(err.Problems) != 1 {
		return false
	}
	_, rest, _ := strings.Cut(err.Problems[0], "missing the required field '")
	key, _, ok := strings.Cut(rest, "'")
	return ok && slices.ContainsFunc(fields, func(f payload.Field) bool { return f.Required && f.Key == key }) &&
		slices.ContainsFunc(identities[:], func(name string) bool { return strings.EqualFold(name, key) })
}

// identities are names of fields that identify the user.
var identities = [...]string{"user_id", "userid", "distinct_id", "external_id", "email", "person_id", "client_id",
	"clientid", "identity", "anonymous_id"}

// optedOut reads the event's integrations object: one of the destination's names decides, else "All", else the
// event is sent.
func (o *sender) optedOut(ev *event.Event) bool {
	v := ev.Integrations()
	if v.Kind() != event.Object || v.Size() == len(`{}`) {
		return false
	}
	all, own := false, 0 // own: 1 opted in, -1 opted out
	for k, m := range v.Members() {
		off := m.Kind() == event.Bool && !m.Bool()
		name := k.Text()
		if strings.EqualFold(name, "all") {
			all = off
			continue
		}
		if slices.Contains(o.names, strings.ToLower(name)) {
			if own = 1; off {
				own = -1
			}
		}
	}
	return own < 0 || own == 0 && all
}

// Send implements Sender.
func (o *sender) Send(ctx context.Context, t Transport, b *Batch) ([]Result, error) {
	first := b.Deliveries[0]
	a := &o.actions[first.Action]
	if a.converse != nil {
		own := *b
		own.BaseURL, own.moved = strings.TrimRight(a.base, "/"), o.moved
		r, err := a.converse(ctx, t, &own, func(answer *Answer, success []Success) (Result, error) {
			if success == nil {
				success = a.success
			}
			rs, err := o.results(a, answer, b)
			if err != nil {
				return Result{}, err
			}
			return Confirm(success, answer, rs)[0], nil
		})
		if err != nil {
			return nil, err
		}
		return b.same(r), nil
	}
	req, err := o.request(ctx, a, b)
	if err != nil {
		return nil, err
	}
	answer, err := Do(t, req)
	if err != nil {
		return nil, err
	}
	rs, err := o.results(a, answer, b)
	if err != nil {
		return nil, err
	}
	success := a.success
	if a.successOf != nil {
		if own := a.successOf(b.Deliveries[0].Address().Key); own != nil {
			success = own
		}
	}
	if rs = Confirm(success, answer, rs); a.job != nil && rs[0].Outcome == Delivered {
		a.job.follow(ctx, t, a, answer, b, rs)
	}
	return rs, nil
}

// results interprets an answer: first by the spec's rules for the whole answer, then by the action's for each
// delivery, else by the status.
func (o *sender) results(a *openAction, answer *Answer, b *Batch) ([]Result, error) {
	if r := answer.of(o.sayings, b.Now); r.Outcome != Undecided {
		return b.same(r), nil
	}
	if a.results != nil {
		if rs := a.results(answer, b); rs != nil {
			if len(rs) != len(b.Deliveries) {
				return nil, fmt.Errorf(
					"%s: %d results for %d deliveries: a mistake in the destination",
					a.Slug,
					len(rs),
					len(b.Deliveries),
				)
			}
			return rs, nil
		}
	}
	return b.same(answer.Verdict(b.Now)), nil
}

// around is what stands before and after the items of a group's requests.
func (r *Request) around(key string) (open, end string) {
	open, end = r.Open, r.Close
	if r.envelope != nil {
		if before, behind, ok := r.envelope(key); ok {
			open, end = before, behind
		}
	}
	return open, end
}

// overhead returns a function for the length of what stands around the items; nil: it is the same for all groups.
func (r Request) overhead() func(key string) int {
	if r.envelope == nil {
		return nil
	}
	return func(key string) int {
		open, end := r.around(key)
		return len(open) + len(end)
	}
}

func (o *sender) request(ctx context.Context, a *openAction, b *Batch) (*http.Request, error) {
	first := b.Deliveries[0]
	open, end := a.request.around(first.Address().Key)
	whole := &content{items: b.Deliveries, open: []byte(open), sep: []byte(a.request.Sep), close: []byte(end)}
	method, path := a.where(first)
	header := first.Address().headers(a.request.Header)
	req, err := whole.request(ctx, method, join(a.base, path), a.request.ContentType, header)
	if err == nil {
		o.keys.put(req.Header, b.Deliveries, b.Now)
	}
	return req, err
}

// headers joins the headers of an address with those of all requests.
func (a Address) headers(of http.Header) http.Header {
	if a.Header == "" {
		return of
	}
	all := of.Clone()
	for line := range strings.Lines(a.Header) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		all.Set(name, value)
	}
	return all
}

// join appends a path to a base URL. Without a path, the base is used unchanged: the address of a webhook may end
// in a slash that matters.
func join(base, path string) string {
	if path == "" {
		return base
	}
	return strings.TrimRight(base, "/") + path
}

// where is the method and path of a delivery's request.
func (a *openAction) where(d *Delivery) (method, path string) {
	to := d.Address()
	return cmp.Or(to.Method, a.request.Method), cmp.Or(to.Path, a.request.Path)
}

// same is [Same] for all deliveries of the batch, and reuses the memory in Room.
func (b *Batch) same(r Result) []Result {
	n := len(b.Deliveries)
	if cap(b.Room) < n {
		return Same(r, n)
	}
	rs := b.Room[:n]
	for i := range rs {
		rs[i] = r
	}
	return rs
}

// Same returns the same result n times, for a whole request.
func Same(r Result, n int) []Result {
	rs := make([]Result, n)
	for i := range rs {
		rs[i] = r
	}
	return rs
}
