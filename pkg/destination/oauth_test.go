package destination_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
)

// Whoever sends everything to another address gets the question for a token, too: no
// credentials go to the partner then.
func TestGrantMovesWithTheAddress(t *testing.T) {
	spec := destination.Spec[declaredSettings]{
		Info:    destination.Info{Slug: "test", Name: "Test"},
		BaseURL: func(*declaredSettings) string { return "https://api.partner.example" },
		Auth: func(*declaredSettings) destination.Auth {
			return destination.RefreshToken("https://id.partner.example/v2/token?tenant=1", "client", "hush", "r0")
		},
		Success: []destination.Success{{Any: true}},
		Actions: destination.Actions{destination.Action("a", "A").Post("/", body.Payload())},
	}.Destination()
	for base, want := range map[string]string{
		"":                              "https://id.partner.example/v2/token?tenant=1",
		"http://127.0.0.1:8080/partner": "http://127.0.0.1:8080/partner/v2/token?tenant=1",
	} {
		s, err := spec.Open(destination.Config{BaseURL: base})
		if err != nil {
			t.Fatal(err)
		}
		auth := s.Plan().Auth
		if got := auth.Grant().URL; got != want {
			t.Errorf("with the address %q tokens come from %s", base, got)
		}
		if !auth.Grant().Renews() || destination.ClientCredentials("https://a.example", "a", "b").Grant().Renews() {
			t.Error("only a refresh token may be replaced by another")
		}
		if !slices.Contains(auth.Secrets(), "hush") || !slices.Contains(auth.Secrets(), "r0") {
			t.Errorf("the secrets are %v", auth.Secrets())
		}
		req := &http.Request{Header: http.Header{}}
		if auth.WithToken("t1").Apply(req, time.Time{}, nil); req.Header.Get("Authorization") != "Bearer t1" {
			t.Errorf("a token that is given is sent as %v", req.Header)
		}
	}
}
