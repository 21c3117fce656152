package destinations_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/setting"
)

// anotherSetting is another value than the example or the default; nil: there is none.
func anotherSetting(f setting.Field) any {
	switch f.Type {
	case "table":
		return map[string]any{"X-Other": "other"}
	case "boolean":
		return f.Default != "true"
	case "text":
	default:
		return nil
	}
	for _, c := range f.Choices {
		if c != f.Default {
			return c
		}
	}
	switch {
	case len(f.Choices) > 0:
		return nil
	case f.Pattern != "" || f.Key == "url" || f.Key == "endpoint":
		b := []byte(f.Example)
		if len(b) == 0 {
			return nil
		}
		b[len(b)-1] ^= 1
		return string(b)
	case f.Stamp:
		return strings.Repeat("z", len(f.Example))
	}
	return f.Example + "x"
}

// TestContent: destinations that differ in settings of the transport alone have
// the same Content, and make the same of every event; those that differ in a
// stamp, too, but for the places that are said to bear it; those that differ in
// another setting have another Content.
func TestContent(t *testing.T) {
	var text bytes.Buffer
	if err := eventgen.Write(&text, eventgen.Options{Seed: 3, Events: 1500}); err != nil {
		t.Fatal(err)
	}
	var parser event.Parser
	var events []*event.Event
	for line := range bytes.Lines(text.Bytes()) {
		ev, err := parser.Parse(bytes.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, ev)
	}
	route := func(s destination.Sender) *destination.Deliveries {
		var out destination.Deliveries
		env := destination.Env{Now: time.Date(2024, 3, 2, 0, 0, 0, 0, time.UTC)}
		for _, ev := range events {
			s.Route(ev, &env, &out)
		}
		return &out
	}
	transport, stamps, content, left := 0, 0, 0, 0
	try := func(t *testing.T, d destination.Destination) {
		open := func(settings map[string]any) (destination.Sender, error) {
			return d.Open(destination.Config{Settings: settings, Presets: "all"})
		}
		base, err := open(d.Settings.Examples())
		if err != nil {
			t.Fatal(err)
		}
		want := route(base)
		for _, f := range d.Settings.Fields {
			other := anotherSetting(f)
			if other == nil {
				continue
			}
			settings := d.Settings.Examples()
			settings[f.Key] = other
			s, err := open(settings)
			if err != nil {
				continue // not with the others' examples
			}
			same := s.Plan().Content == base.Plan().Content
			switch {
			case f.Transport && !same:
				t.Errorf("%s is of the transport, but changes the content", f.Key)
			case f.Stamp && !same:
				t.Errorf("%s is a stamp, but changes the content", f.Key)
			case f.Stamp:
				got := route(s)
				for _, st := range got.Stamps {
					at := got.List[st.Delivery].Item[st.At:]
					if !bytes.HasPrefix(at, []byte(s.Plan().Stamp)) {
						t.Fatalf("no stamp at %.60s", at)
					}
					copy(at, base.Plan().Stamp)
				}
				if len(got.Stamps) == 0 || !reflect.DeepEqual(got.List, want.List) || !reflect.DeepEqual(got.Stamps, want.Stamps) {
					t.Errorf("what becomes of an event depends on %s in more than %d stamps", f.Key, len(got.Stamps))
				}
			case f.Transport && !reflect.DeepEqual(route(s).List, want.List):
				t.Errorf("what becomes of an event depends on %s: take the flag transport off it", f.Key)
			case !f.Transport && !f.Stamp && same:
				t.Errorf("%s does not change the content", f.Key)
			}
			switch {
			case f.Transport:
				transport++
			case f.Stamp:
				stamps++
			default:
				content++
			}
		}
	}
	for _, d := range destinations.All() {
		if !d.Local {
			left++
			t.Run(d.Info.Slug, func(t *testing.T) { left--; try(t, d) })
		}
	}
	if left > 0 {
		return // -run asks for some
	}
	if transport < 15 || stamps < 1 || content < 5 {
		t.Errorf("%d settings of the transport, %d stamps and %d others were tried", transport, stamps, content)
	}
}
