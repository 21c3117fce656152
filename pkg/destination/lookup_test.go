package destination_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
)

type lookupSettings struct {
	File  string `setting:"file" doc:"File." default:"https://files.example/{env}/list.json?v=1"`
	Token string `setting:"token,secret" doc:"Token." default:"t-0123456789"`
}

// lookup opens a destination that fetches a list, and looks up in it what it sends.
func lookup(t *testing.T, c destination.Config) destination.Sender {
	t.Helper()
	c.Actions = []destination.Subscription{{Action: "a"}}
	s, err := destination.Spec[lookupSettings]{
		Info:    destination.Info{Slug: "test", Name: "Test"},
		BaseURL: func(*lookupSettings) string { return "https://api.example" },
		Auth: func(s *lookupSettings) destination.Auth {
			return destination.Bearer(s.Token).Only(s.File)
		},
		Actions: destination.Actions{
			destination.Action("a", "A").Fields(field.UserID("user")).Steps(
				destination.Send("GET", "", body.Empty()).AsQuery().From("file").Kept(time.Minute).
					Success(destination.JSON("https://test.example", destination.List("users"))),
				destination.Send("POST", "/v1", body.Object(body.Same("user"))).Success(destination.Success{Any: true}).
					Revise(func(text []byte, answer func(int) event.Value) ([]byte, destination.Result) {
						for e := range answer(1).Get("users").Elements() {
							if strings.Contains(string(text), e.Text()) {
								return append(text, ' '), destination.Result{}
							}
						}
						return nil, destination.Result{Outcome: destination.Skipped, Reason: destination.Unneeded, Detail: "unknown"}
					}),
			),
		},
	}.Destination().Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signedPartner notes where requests with credentials go.
type signedPartner struct {
	partner
	mu   sync.Mutex
	auth destination.Auth
	to   []string
}

func (p *signedPartner) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.auth.Apply(r, time.Time{}, nil)
	p.to = append(p.to, strings.TrimSpace(r.URL.Scheme+"://"+r.URL.Host+r.URL.RequestURI()+" "+
		r.Header.Get("Authorization")))
	if r.Method == "GET" {
		p.answers = append([]string{`200 {"users":["u 1","u 3"]}`}, p.answers...)
	}
	return p.partner.RoundTrip(r)
}

// A list that is fetched from the user's address serves many events for a while, and nobody
// but that address gets the credentials for it.
func TestLookupIsKept(t *testing.T) {
	s := lookup(t, destination.Config{})
	p := &signedPartner{auth: s.Plan().Auth}
	now := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		user string
		at   time.Duration
		want destination.Outcome
	}{{"1", 0, destination.Delivered}, {"2", 59 * time.Second, destination.Skipped},
		{"3", time.Minute, destination.Delivered}} {
		var list destination.Deliveries
		ev, err := event.Parse([]byte(track(c.user, `{}`)))
		if err != nil {
			t.Fatal(err)
		}
		s.Route(ev, &destination.Env{Now: now}, &list)
		rs, err := s.Send(context.Background(), p, &destination.Batch{
			Deliveries: []*destination.Delivery{&list.List[0]}, Now: now.Add(c.at)})
		if err != nil || rs[0].Outcome != c.want {
			t.Errorf("user %s: %v, %v", c.user, rs, err)
		}
	}
	file := "https://files.example/%7Benv%7D/list.json?v=1 Bearer t-0123456789"
	want := []string{file, "https://api.example/v1", file, "https://api.example/v1"}
	if got := strings.Join(p.to, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("requests\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// One request asks while others wait for its answer; with another base address nothing goes
// to the user's.
func TestLookupBySeveral(t *testing.T) {
	s := lookup(t, destination.Config{BaseURL: "http://127.0.0.1:1/x"})
	p := &signedPartner{auth: s.Plan().Auth}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			var list destination.Deliveries
			ev, err := event.Parse([]byte(track("1", `{}`)))
			if err != nil {
				t.Error(err)
				return
			}
			s.Route(ev, &destination.Env{}, &list)
			if _, err := s.Send(context.Background(), p,
				&destination.Batch{Deliveries: []*destination.Delivery{&list.List[0]}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	files := 0
	for _, to := range p.to {
		if !strings.HasPrefix(to, "http://127.0.0.1:1/x/") || strings.Contains(to, "Bearer") {
			t.Errorf("a request went to %s", to)
		}
		if strings.Contains(to, "list.json") {
			files++
		}
	}
	if got := s.Plan().Actions[0].Requests; got != 1 {
		t.Errorf("a delivery takes %d requests: what is kept is no more than one", got)
	}
	if files != 1 || len(p.to) != 9 {
		t.Errorf("the list was fetched %d times in %d requests", files, len(p.to))
	}
}

func TestLookupWantsAnAddress(t *testing.T) {
	for _, address := range []string{"list.json", "file:///etc/passwd", "https://"} {
		s := destination.Spec[lookupSettings]{
			Info: destination.Info{Slug: "test", Name: "Test"}, Success: []destination.Success{{Any: true}},
			Actions: destination.Actions{destination.Action("a",
				"A").Steps(destination.Send("GET", "", body.Empty()).From("file"))},
		}.Destination()
		_, err := s.Open(destination.Config{Settings: map[string]any{"file": address}})
		if err == nil || !strings.Contains(err.Error(), "the setting file has to be an address") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
