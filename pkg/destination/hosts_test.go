package destination_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
	"github.com/fanfold/fanfold/pkg/transport"
)

// regional are the settings of a partner in two regions.
type regional struct {
	Mode   string `setting:"mode" doc:"A mode." default:"a" choices:"a,b"`
	Region string `setting:"region" doc:"A region." default:"eu" choices:"us,eu"`
}

func inRegions(hosts map[string]string) destination.Destination {
	return destination.Spec[regional]{
		Info:    destination.Info{Slug: "test", Name: "Test"},
		Hosts:   hosts,
		Headers: map[string]body.Value{"X-Version": body.Const("7"), "X-Region": body.Setting("region")},
		Success: []destination.Success{{Docs: "https://test.example", Any: true}},
		Actions: destination.Actions{declaredAction().On(`type = "track"`).Post("/v1", body.Object(body.Same("user")))},
	}.Destination()
}

// TestHosts: requests go to the address of the region that is set, with the headers of all actions.
func TestHosts(t *testing.T) {
	d := inRegions(map[string]string{"us": "https://us.test.example", "eu": "https://eu.test.example"})
	for region, want := range map[string]string{"": "eu", "us": "us"} {
		settings := map[string]any{}
		if region != "" {
			settings["region"] = region
		}
		s, err := d.Open(destination.Config{Settings: settings})
		if err != nil {
			t.Fatal(err)
		}
		ev, err := event.Parse([]byte(track("1", `{}`)))
		if err != nil {
			t.Fatal(err)
		}
		var list destination.Deliveries
		s.Route(ev, &destination.Env{}, &list)
		net := &transport.Capture{}
		_, err = s.Send(context.Background(), net, &destination.Batch{Deliveries: []*destination.Delivery{&list.List[0]}})
		if err != nil && !errors.Is(err, destination.ErrNotSent) {
			t.Fatal(err)
		}
		sent := net.Take()
		if len(sent) != 1 || sent[0].URL != "https://"+want+".test.example/v1" || sent[0].Header.Get("X-Version") != "7" ||
			sent[0].Header.Get("X-Region") != want {
			t.Errorf("region %q: %+v", region, sent)
		}
	}
}

// TestHostsOfNoSetting: addresses that no setting chooses between are a mistake of the program.
func TestHostsOfNoSetting(t *testing.T) {
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "no setting has the choices ca, eu") {
			t.Errorf("panics with %q", text)
		}
	}()
	inRegions(map[string]string{"ca": "https://ca.test.example", "eu": "https://eu.test.example"})
}

// TestContradictions: a declaration that contradicts itself says all that is wrong with it at once, and where.
func TestContradictions(t *testing.T) {
	defer func() {
		text, _ := recover().(string)
		for _, want := range []string{"destination toy:", `two actions are called "a"`, `action "b" has no request`,
			`action "a" does not say what a success looks like`, `action "b" has two fields that are called "x"`,
			`preset "p" names the unknown action "c"`, "no setting has the choices eu, us"} {
			if !strings.Contains(text, want) {
				t.Errorf("it is not said that %s: %s", want, text)
			}
		}
	}()
	destination.Spec[struct{}]{
		Info: destination.Info{Slug: "toy"}, Hosts: map[string]string{"us": "https://a.example", "eu": "https://b.example"},
		Actions: destination.Actions{
			destination.Action("a", "A").Post("/", body.Payload()), destination.Action("a", "A").Post("/", body.Payload()),
			destination.Action("b", "B").Fields(field.Text("x"), field.Number("x")),
		},
		Presets: destination.Presets("p: c"),
	}.Destination()
}
