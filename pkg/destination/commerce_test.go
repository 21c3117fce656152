package destination_test

import (
	"reflect"
	"testing"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
)

// TestCommerce names every event: each has one preset, which takes it and nothing else, and
// what none of them takes is Others'.
func TestCommerce(t *testing.T) {
	var c destination.Commerce
	all := reflect.ValueOf(&c).Elem()
	for i := range all.NumField() {
		all.Field(i).SetString(all.Type().Field(i).Name)
	}
	presets := c.Presets(func(m destination.Moment) destination.Preset { return destination.Preset{Action: m.Name} })
	if len(presets) != all.NumField() {
		t.Fatalf("%d presets for %d names", len(presets), all.NumField())
	}
	takes := func(trigger, text string) bool {
		t.Helper()
		f, err := filter.Compile(trigger)
		if err != nil {
			t.Fatalf("%s: %v", trigger, err)
		}
		ev, err := event.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return f.Match(ev.Root())
	}
	other := `{"type":"track","event":"Something Else"}`
	for i, m := range c.Moments() {
		text := `{"type":"track","event":"` + m.Event + `"}`
		if m.Event == "Page Viewed" {
			text = `{"type":"page"}`
		}
		for k, p := range presets {
			if got := takes(p.Subscribe, text); got != (i == k) {
				t.Errorf("the preset %s takes %s: %v", p.Name, text, got)
			}
		}
		if takes(c.Others(), text) || takes(m.Trigger, other) || c.Trigger(m.Name) != m.Trigger {
			t.Errorf("%s: %s is not told from others", m.Event, m.Trigger)
		}
	}
	if !takes(c.Others(), other) || takes(c.Others(), `{"type":"page"}`) {
		t.Errorf("others are %s", c.Others())
	}
}
