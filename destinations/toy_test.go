package destinations_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/standin"
)

// ToySettings and newToy are a whole destination: what a stranger writes to add
// a partner, in one file, beside a line in the catalogue and a cassette.
type ToySettings struct {
	Key    string `setting:"api_key,required,secret" doc:"Key of the account." example:"toy-key-1"`
	Region string `setting:"region" doc:"Where the data lives." default:"us" choices:"us,eu"`
}

func newToy() destination.Destination {
	return destination.Spec[ToySettings]{
		Info: destination.Info{Slug: "toy", Name: "Toy", Summary: "an example", Docs: "https://toy.example/docs",
			Backfill: "Nothing is triggered."},
		BaseURL: func(s *ToySettings) string { return "https://" + s.Region + ".toy.example" },
		Auth:    func(s *ToySettings) destination.Auth { return destination.Bearer(s.Key) },
		Limits: destination.Limits{
			// https://toy.example/docs/limits
			Rates:       []destination.Rate{{N: 10, Per: time.Second, Docs: "https://toy.example/docs/limits"}},
			BatchEvents: destination.Cap{N: 100, Docs: "https://toy.example/docs/limits"},
			Window: destination.Window{Past: 30 * 24 * time.Hour, Violation: "refuses",
				Docs: "https://toy.example/docs/limits"},
		},
		Success: []destination.Success{destination.JSON("https://toy.example/docs/events", destination.Is("ok", true),
			destination.Counts("taken"))},
		Actions: destination.Actions{
			destination.Action("track", "Track").On(`type = "track"`).Doc("An event.").
				Fields(
					field.MessageID("id").Required(),
					field.AnyID("user_id").Required(),
					field.Text("name").Required().From("$.event"),
					field.Timestamp("at"),
					field.Object("data").From("$.properties"),
				).
				Post("/v1/events", body.Object(
					body.Member("events", body.Items(body.Object(
						body.Same("id", "user_id", "name"),
						body.Member("at", body.From("at").Seconds()),
						body.Same("data"),
					))),
				)),
		},
		Presets: []destination.Preset{{Name: "Track calls", Action: "track", Subscribe: `type = "track"`}},
	}.Destination()
}

func TestToy(t *testing.T) {
	s, err := newToy().Open(destination.Config{Settings: map[string]any{"api_key": "k"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newToy().Open(destination.Config{Settings: map[string]any{"api_key": "toy-key-2\n"}}); err == nil ||
		!strings.Contains(err.Error(), "which the header Authorization cannot") || strings.Contains(
		err.Error(), "toy-key-2") {
		t.Errorf("a key with a line end: %v", err)
	}
	now := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	var list destination.Deliveries
	for _, text := range []string{
		`{"type":"track","messageId":"m1","userId":"u","event":"E","timestamp":"2024-05-29T10:00:00Z",` +
			`"properties":{"n":12345678901234567890}}`,
		`{"type":"track","messageId":"m2","userId":"u","event":"E","timestamp":"2023-01-01T00:00:00Z"}`,
		`{"type":"track","messageId":"m3","event":"E","timestamp":"2024-05-29T10:00:00Z"}`,
		`{"type":"page","messageId":"m4","userId":"u"}`,
		`{"type":"track","messageId":"m5","userId":"u","event":"E","integrations":{"All":false}}`,
		`{"type":"track","messageId":"m6","userId":"u","event":"E","integrations":{"All":false,"Toy":true},` +
			`"timestamp":"2024-05-29T10:00:00Z"}`,
	} {
		ev, err := event.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s.Route(ev, &destination.Env{Now: now}, &list)
	}
	for i, want := range []destination.Reason{"", destination.TooOld, destination.MissingIdentity, destination.Unsupported,
		destination.OptedOut, ""} {
		if got := list.List[i].Verdict().Reason; got != want {
			t.Errorf("event %d: reason %q, want %q", i+1, got, want)
		}
	}
	if got, want := string(list.List[0].Item), `{"id":"m1","user_id":"u","name":"E","at":1716976800,`+
		`"data":{"n":12345678901234567890}}`; got != want {
		t.Errorf("item %s, want %s", got, want)
	}
}

// heard keeps what is logged.
type heard struct {
	*testing.T
	lines []string
}

func (h *heard) Logf(format string, args ...any) {
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

// TestWhyIsSaid: the author of a case hears why one of its events is not sent, which is not written down.
func TestWhyIsSaid(t *testing.T) {
	contract, err := standin.ParseContract([]byte("partner: Toy\nwritten: from documentation\ndate: 2024-06-01\n" +
		"docs: [https://toy.example/docs]\nhosts: [us.toy.example]\nendpoints: [{path: /v1/events, items: events, " +
		"docs: https://toy.example/docs/events, success: {any: true}}]"))
	if err != nil {
		t.Fatal(err)
	}
	_, cases, err := casebook.Read([]byte(`{written: from documentation, date: 2024-06-01, docs: "https://toy.example/docs",
		cases: {nobody: {events: ['{"type":"track","event":"E","messageId":"m","timestamp":"2024-05-29T10:00:00Z"}']}}}`),
		nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{T: t}
	casebook.Walk(h, newToy(), contract, cases[0], true)
	said := strings.Join(h.lines, "\n")
	if !strings.Contains(said, "missing_identity") || !strings.Contains(said, "user_id") {
		t.Errorf("what is said: %q", said)
	}
}
