package destination_test

import (
	"reflect"
	"testing"
	"time"

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

// TestUnder puts the partner's names into a field of one action.
func TestUnder(t *testing.T) {
	list := destination.Commerce{OrderCompleted: "PURCHASE", SignedUp: "SIGN_UP"}.Under("report", "name", `source = "website"`)
	if len(list) != 2 || list[0].Name != "Order Completed" || list[0].Action != "report" ||
		list[0].Mapping["name"].String() != `"PURCHASE"` || list[1].Mapping["source"].String() != `"website"` {
		t.Errorf("%+v", list)
	}
}

// TestRates reads rates as partners document them.
func TestRates(t *testing.T) {
	got := destination.Rates("docs", "10/s", "1666/10s", "1500events/30s", "20MB/m", "2GiB/m", "50/h", "300000/d")
	want := []destination.Rate{
		{N: 10, Per: time.Second, Docs: "docs"}, {N: 1666, Per: 10 * time.Second, Docs: "docs"},
		{N: 1500, Per: 30 * time.Second, Of: destination.Events, Docs: "docs"},
		{N: 20e6, Per: time.Minute, Of: destination.Bytes, Docs: "docs"},
		{N: 2 << 30, Per: time.Minute, Of: destination.Bytes, Docs: "docs"},
		{N: 50, Per: time.Hour, Docs: "docs"}, {N: 300_000, Per: destination.Day, Docs: "docs"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, wrong := range []string{"none", "", "10", "10/0s", "10/w", "10/-1s", "0/s", "10/1234567s"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is taken for a rate", wrong)
				}
			}()
			destination.Rates("docs", wrong)
		}()
	}
}
