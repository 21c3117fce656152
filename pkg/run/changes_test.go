package run

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/api"
)

// TestWhatADescriptionChanges: of a destination that is described in the configuration the parts are
// named that differ; only those that make other deliveries of an event stop a run that is
// in its middle.
func TestWhatADescriptionChanges(t *testing.T) {
	const before = `base_url: https://a.example
actions:
  - {action: send, subscribe: type = "track", path: "/u/{{user}}", mapping: {user: {"@path": $.userId}, plan: basic}}
  - {action: other, subscribe: type = "page", path: /p}`
	identity := func(text string) destinationIdentity {
		t.Helper()
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		d, problems := api.Read(doc.Content[0], "own")
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return destinationIdentity{Name: "own", Type: "http", Actions: []string{described + hashBefore(d.Made, 32)},
			Parts: d.Parts}
	}
	for _, c := range []struct {
		old, now string
		keys     string
		rerouted bool
	}{
		{"plan: basic", "plan: pro", "actions.send.mapping.plan", false},
		{", plan: basic", "", "actions.send.mapping.plan", false},
		{"/u/", "/users/", "actions.send.path", false},
		{"a.example", "b.example", "base_url", false},
		{`subscribe: type = "page"`, `subscribe: type = "page", method: PUT`, "actions.other.method", false},
		{`type = "page"`, `type = "screen"`, "actions.other.subscribe", true},
		{"action: other", "action: another",
			"actions, actions.another.action, actions.another.path, actions.another.subscribe, actions.other.action, " +
				"actions.other.path, actions.other.subscribe", true},
		{"\n  - {action: other, subscribe: type = \"page\", path: /p}", "",
			"actions, actions.other.action, actions.other.path, actions.other.subscribe", true},
		{"example", "example", "", false},
	} {
		keys, rerouted := keysThatDiffer(identity(before), identity(strings.Replace(before, c.old, c.now, 1)))
		if got := strings.Join(keys, ", "); got != c.keys || rerouted != c.rerouted {
			t.Errorf("%s instead of %s: %s, rerouted %v; want %s, %v", c.now, c.old, got, rerouted, c.keys, c.rerouted)
		}
	}
	// What an earlier fanfold kept has no parts: it is the same, as long as the whole is.
	now := identity(before)
	p := picked{kept: keepStored(identityWith(now.partless())), dir: t.TempDir()}
	if p.compare(&World{}, identityWith(now)); len(p.differs) > 0 {
		t.Errorf("it differs from itself: %v", p.differs)
	}
}

// identityWith is the identity of a job with one destination.
func identityWith(d destinationIdentity) identity {
	return identity{Destinations: []destinationIdentity{d}}
}

// TestWhatAKilledRunHasDelivered: what a process that was killed has noted may be less than what it has done.
func TestWhatAKilledRunHasDelivered(t *testing.T) {
	err := &ChangedError{Run: "r1", Differences: []Difference{{Destination: "a", Keys: []string{"filter"}, Delivered: 5},
		{Destination: "b", Keys: []string{"filter"}, Delivered: 7, Pending: 2, AtLeast: true}}}
	want := "the configuration has changed since run r1: 5 events were delivered to a with another " +
		"configuration: filter; " +
		"at least 7 events were delivered to b (2 are pending) with another configuration: filter. --continue"
	if got := err.Error(); !strings.HasPrefix(got, want) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
