package report

import (
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Entry is a line of the catalogue as JSON. Scripts rely on the names of its members,
// and of those below; what is zero is left out.
type Entry struct {
	Slug    string `json:"slug"`
	Name    string `json:"name"`
	Summary string `json:"summary"`
	Docs    string `json:"docs,omitempty"`
}

// Destination is all that is known of a destination, as JSON.
type Destination struct {
	Entry
	Integrations []string         `json:"integrations,omitempty"`
	Backfill     string           `json:"backfill,omitempty"`
	Differences  []differenceView `json:"differences,omitempty"`
	Settings     []setting.Field  `json:"settings"`
	Limits       limitsView       `json:"limits"`
	Actions      []actionView     `json:"actions"`
	Presets      []presetView     `json:"presets"`
	OwnPresets   bool             `json:"own_presets,omitempty"` // Segment has none
	Order        bool             `json:"order,omitempty"`       // a user's events arrive in their order
}

type differenceView struct {
	What string `json:"what"`
	Docs string `json:"docs"`
}

type limitsView struct {
	Rates       []rateView  `json:"rates,omitempty"`
	Concurrency *capView    `json:"concurrency,omitempty"`
	BatchEvents *capView    `json:"batch_events,omitempty"`
	BatchBytes  *capView    `json:"batch_bytes,omitempty"`
	EventBytes  *capView    `json:"event_bytes,omitempty"`
	Window      *windowView `json:"window,omitempty"`
	Dedupe      *dedupeView `json:"dedupe,omitempty"`
	Gzip        bool        `json:"gzip,omitempty"`
	Retry       *retryView  `json:"retry,omitempty"`
}

type rateView struct {
	N          float64 `json:"n"`
	PerSeconds float64 `json:"per_seconds"`
	Of         string  `json:"of"`
	Docs       string  `json:"docs,omitempty"`
}

type capView struct {
	N    int    `json:"n"`
	Docs string `json:"docs,omitempty"`
}

type windowView struct {
	PastSeconds   float64   `json:"past_seconds,omitempty"`
	FutureSeconds float64   `json:"future_seconds,omitempty"`
	Since         time.Time `json:"since,omitzero"`
	But           *butView  `json:"but,omitempty"`
	Violation     string    `json:"violation,omitempty"`
	Docs          string    `json:"docs,omitempty"`
}

type butView struct {
	Field       string  `json:"field"`
	Value       string  `json:"value"`
	PastSeconds float64 `json:"past_seconds"`
	Docs        string  `json:"docs,omitempty"`
}

type retryView struct {
	Attempts       int     `json:"attempts,omitempty"`
	MaxSeconds     float64 `json:"max_seconds,omitempty"`
	FirstSeconds   float64 `json:"first_wait_seconds,omitempty"`
	LongestSeconds float64 `json:"longest_wait_seconds,omitempty"`
	Docs           string  `json:"docs,omitempty"`
}

type dedupeView struct {
	Field         string  `json:"field"`
	WindowSeconds float64 `json:"window_seconds,omitempty"`
	Docs          string  `json:"docs,omitempty"`
}

type actionView struct {
	Slug    string      `json:"slug"`
	Title   string      `json:"title,omitempty"`
	Doc     string      `json:"doc,omitempty"`
	Trigger string      `json:"trigger,omitempty"`
	Live    *liveView   `json:"live,omitempty"` // what it does for events of long ago, too
	Job     *jobView    `json:"job,omitempty"`  // that its requests are worked through by, later
	Fields  []fieldView `json:"fields"`
	Limits  limitsView  `json:"limits"`
}

type jobView struct {
	PatienceSeconds float64 `json:"patience_seconds"`
	Docs            string  `json:"docs"`
}

type liveView struct {
	Does         string  `json:"does"`
	Docs         string  `json:"docs"`
	Sometimes    bool    `json:"sometimes,omitempty"`
	UntilSeconds float64 `json:"until_seconds,omitempty"` // of an event's age
}

type fieldView struct {
	Key        string        `json:"key"`
	Doc        string        `json:"doc,omitempty"`
	Type       string        `json:"type"`
	Multiple   bool          `json:"multiple,omitempty"`
	Required   bool          `json:"required,omitempty"`
	AllowNull  bool          `json:"allow_null,omitempty"`
	Choices    []string      `json:"choices,omitempty"`
	Minimum    float64       `json:"minimum,omitempty"`
	Maximum    float64       `json:"maximum,omitempty"`
	Format     string        `json:"format,omitempty"`
	Properties []fieldView   `json:"properties,omitempty"`
	Additional bool          `json:"additional_properties,omitempty"`
	Default    mapping.Value `json:"default,omitzero"`
}

type presetView struct {
	Name      string                   `json:"name"`
	Action    string                   `json:"action"`
	Subscribe string                   `json:"subscribe"`
	Mapping   map[string]mapping.Value `json:"mapping,omitempty"`
	Otherwise string                   `json:"otherwise,omitempty"`
}

// EntryOf is the line of a destination.
func EntryOf(d destination.Destination) Entry {
	return Entry{Slug: d.Info.Slug, Name: d.Info.Name, Summary: d.Info.Summary, Docs: d.Info.Docs}
}

// DestinationOf is the document of a destination.
func DestinationOf(d destination.Destination) Destination {
	v := Destination{
		Entry: EntryOf(d), Integrations: d.Info.Integrations, Backfill: d.Info.Backfill, OwnPresets: d.Info.Minimal,
		Order:    d.Order,
		Settings: append([]setting.Field{}, d.Settings.Fields...), Limits: limitsOf(d.Limits),
		Actions: []actionView{}, Presets: []presetView{},
	}
	for _, x := range d.Info.Differences {
		v.Differences = append(v.Differences, differenceView(x))
	}
	for _, a := range d.Actions {
		var live *liveView
		if l := a.Live; l.Does != "" {
			live = &liveView{l.Does, l.Docs, l.Sometimes, l.Until.Seconds()}
		}
		var job *jobView
		if j := a.Job; j != nil {
			job = &jobView{j.Patience.Seconds(), j.Docs}
		}
		v.Actions = append(v.Actions, actionView{
			Slug: a.Slug, Title: a.Title, Doc: a.Doc, Trigger: a.Trigger, Live: live, Job: job,
			Fields: append([]fieldView{}, fieldsOf(a.Fields)...), Limits: limitsOf(a.Limits.Alone()),
		})
	}
	for _, p := range d.Presets {
		v.Presets = append(v.Presets, presetView(p))
	}
	return v
}

func fieldsOf(fields []payload.Field) []fieldView {
	var out []fieldView
	for _, f := range fields {
		out = append(out, fieldView{
			Key: f.Key, Doc: f.Doc, Type: f.Type.String(), Multiple: f.Multiple, Required: f.Required,
			AllowNull: f.AllowNull, Choices: f.Choices, Minimum: f.Minimum, Maximum: f.Maximum, Format: f.Format,
			Properties: fieldsOf(f.Properties), Additional: f.AdditionalProperties, Default: f.Default,
		})
	}
	return out
}

func limitsOf(l destination.Limits) limitsView {
	seconds := func(d time.Duration) float64 { return d.Seconds() }
	limit := func(c destination.Cap) *capView {
		if c.N == 0 {
			return nil
		}
		v := capView(c)
		return &v
	}
	v := limitsView{
		Concurrency: limit(l.Concurrency), BatchEvents: limit(l.BatchEvents), BatchBytes: limit(l.BatchBytes),
		EventBytes: limit(l.EventBytes), Gzip: l.Gzip.N > 0,
	}
	for _, r := range l.Rates {
		v.Rates = append(v.Rates, rateView{r.N, seconds(r.Per), r.Of.String(), r.Docs})
	}
	if w := l.Window; w != (destination.Window{}) {
		v.Window = &windowView{seconds(w.Past), seconds(w.Future), w.Since, nil, w.Violation, w.Docs}
		if b := w.But; b != nil {
			v.Window.But = &butView{b.Field, b.Value, seconds(b.Past), b.Docs}
		}
	}
	if r := l.Retries; r != (destination.Retries{}) {
		v.Retry = &retryView{r.Attempts, seconds(r.MaxTime), seconds(r.First), seconds(r.Longest), r.Docs}
	}
	if d := l.Dedupe; d.Field != "" {
		v.Dedupe = &dedupeView{d.Field, seconds(d.Window), d.Docs}
	}
	return v
}
