package replay

import (
	"net/http"
	"slices"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

// TestProposeForRetries checks that a client which repeats a missed request does not
// cause a rule for an interaction that it has not reached yet. It also checks that
// the rule for a time within a text is a pattern for times.
func TestProposeForRetries(t *testing.T) {
	ask := func(body string) *cassette.Interaction {
		i := sample.Order()
		i.Request.Method, i.Request.URL, i.Request.Body = "POST", "https://api.shop.example/v1/chat", body
		i.Request.Headers = http.Header{"Content-Type": {"application/json"}}
		return i
	}
	c := &cassette.Cassette{Interactions: []*cassette.Interaction{
		ask(`{"text":"hi","user":"962b903d-93bf-48d6-bf6c-5b09e59acab1"}`),
		ask(`{"text":"at 2026-11-28T12:54:50.882Z","stream":true}`),
	}}
	p, err := New([]*cassette.Cassette{c}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	again := `{"text":"hi","user":"5661006b-cd28-45e0-8275-db71c4e59b80"}`
	for _, body := range []string{again, again, again, `{"text":"at 2027-01-02T03:04:05Z","stream":true}`} {
		got := sample.Ask(t, p, "POST", "https://api.shop.example/v1/chat", "application/json", []byte(body))
		if got.Header.Get(MissHeader) == "" {
			t.Fatalf("%+v", got)
		}
	}
	got, err := p.Propose()
	want := []string{`body.text~at \d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?`, "body.user=uuid"}
	if err != nil || !slices.Equal(got.Ignore, want) || got.Missed != 2 || got.Matched != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}
