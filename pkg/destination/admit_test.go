package destination_test

import (
	"testing"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
)

// TestConsent: what is not plainly granted is denied, in whatever form an event says it.
func TestConsent(t *testing.T) {
	for context, want := range map[string]bool{
		`{"consent":{"categoryPreferences":{"Advertising":true}}}`:                     true,
		`{"consent":{"categoryPreferences":{"advertising":true,"Other":false}}}`:       true,
		`{"consent":{"categoryPreferences":{"advertising":true,"ADVERTISING":false}}}`: false,
		`{"consent":{"categoryPreferences":{"Advertising":false}}}`:                    false,
		`{"consent":{"categoryPreferences":{"Advertising":null}}}`:                     false,
		`{"consent":{"categoryPreferences":{"Advertising":"true"}}}`:                   false,
		`{"consent":{"categoryPreferences":{"Advertising":1}}}`:                        false,
		`{"consent":{"categoryPreferences":{"Other":true}}}`:                           false,
		`{"consent":{"categoryPreferences":["Advertising"]}}`:                          false,
		`{"consent":{"categoryPreferences":"{\"Advertising\":true}"}}`:                 true,
		`{"consent":{"categoryPreferences":"{\"Advertising\":"}}`:                      false,
		`{"consent":{"categoryPreferences":null}}`:                                     false,
		`{"consent":[]}`:   false,
		`{"consent":true}`: false,
		`{}`:               false,
		`null`:             false,
		`{"consentManagement":{"allowedConsentIds":["advertising"]}}`:                                    true,
		`{"consentManagement":{"allowedConsentIds":["x"],"deniedConsentIds":[]}}`:                        false,
		`{"consentManagement":{"allowedConsentIds":["advertising"],"deniedConsentIds":["Advertising"]}}`: false,
		`{"consentManagement":{"allowedConsentIds":{"advertising":true}}}`:                               false,
		`{"consent":{"categoryPreferences":{"Advertising":false}},` +
			`"consentManagement":{"allowedConsentIds":["advertising"]}}`: false,
		`{"consent":{"categoryPreferences":{"Advertising":true}},` +
			`"consentManagement":{"deniedConsentIds":["advertising"]}}`: false,
	} {
		ev, err := event.Parse([]byte(`{"type":"track","context":` + context + `}`))
		if err != nil {
			t.Fatal(err)
		}
		env := destination.Env{Consent: []string{"Advertising"}}
		if r, ok := env.Admit(ev); ok != want || !ok && r.Reason != destination.NoConsent {
			t.Errorf("%s: %v %v", context, ok, r)
		}
	}
	ev, err := event.Parse([]byte(
		`{"type":"track","context":{"consent":{"categoryPreferences":{"ad_targeting":true,"A":true}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for category, want := range map[string]bool{"Ad Targeting": true, "ad-targeting": true, "A": true, "B": false,
		"-": false} {
		env := destination.Env{Consent: []string{category}}
		if _, ok := env.Admit(ev); ok != want {
			t.Errorf("%s: %v", category, ok)
		}
	}
	env := destination.Env{Consent: []string{"A", "B"}}
	if _, ok := env.Admit(ev); ok {
		t.Error("one of two categories was enough")
	}
}
