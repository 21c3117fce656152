package destination_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
)

// queueing takes a job, which is over after so many looks, and knows what was wrong with it.
type queueing struct {
	after  int
	errors string // answers, one a line; the last of them for ever
	seen   []string
}

func (q *queueing) RoundTrip(req *http.Request) (*http.Response, error) {
	q.seen = append(q.seen, req.Method+" "+req.URL.Path)
	body, status := `{"id":"j-1"}`, 200
	switch {
	case strings.HasSuffix(req.URL.Path, "/errors"):
		first, rest, more := strings.Cut(q.errors, "\n")
		if body = cmp.Or(first, `{"errors":[{"index":1,"why":"no"}]}`); more {
			q.errors = rest
		}
		if body == "500" {
			body, status = "", 500
		}
	case req.Method == http.MethodGet:
		state := "busy"
		if q.after--; q.after <= 0 {
			state = "done"
		}
		body = fmt.Sprintf(`{"state":%q}`, state)
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

// TestJob: what the partner works through later is waited for, as long as there is time, and what
// it then finds wrong is rejected; whatever keeps us from asking, what was taken stays taken.
func TestJob(t *testing.T) {
	type settings struct{}
	d := destination.Spec[settings]{
		Info:    destination.Info{Slug: "jobs", Name: "Jobs"},
		BaseURL: func(*settings) string { return "https://jobs.example" },
		Success: []destination.Success{destination.JSON("https://jobs.example/docs", destination.Text("id"))},
		Actions: destination.Actions{destination.Action("send", "Send").On(`type = "track"`).
			Fields(field.Text("name").From("$.event")).
			Post("/jobs", body.Object(body.Member("items", body.Items(body.Object(body.Same("name")))))).
			Job(destination.Job{Docs: "https://jobs.example/docs", ID: "id", Status: "/jobs/{job}", State: "state",
				Over: []string{"done"}, Errors: "/jobs/{job}/errors", Patience: time.Minute,
				Verdicts: destination.ByIndex("errors", "index", "why")})},
	}.Destination()
	s, err := d.Open(destination.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Plan().Actions[0].Patience; got != time.Minute {
		t.Errorf("patience %s", got)
	}
	var list destination.Deliveries
	for i := range 2 {
		ev, err := event.Parse(fmt.Appendf(nil, `{"type":"track","event":"A","messageId":"m-%d"}`, i))
		if err != nil {
			t.Fatal(err)
		}
		s.Route(ev, &destination.Env{}, &list)
	}
	for _, c := range []struct {
		after, mayWait int // looks; -1: nobody waits
		want           string
		asked          int // requests
		errors         string
	}{
		{1, 9, "[delivered rejected]", 3, ""},
		{4, 9, "[delivered rejected]", 6, ""},
		{4, 2, "[delivered delivered]", 3, ""}, // the run is to stop
		{3, -1, "[delivered rejected]", 5, ""},
		{4, -1, "[delivered delivered]", 4, ""},
		{1, 9, "[delivered delivered]", 3, `{"errors":[]}`},
		// An error that names nobody makes the engine look for whom it is about.
		{1, 9, "[rejected rejected]", 3, `{"errors":[{"index":0,"why":"no"},{"why":"one of them"}]}`},
		{1, 9, "[rejected rejected]", 3, `{"errors":[{"index":7,"why":"no"}]}`},
		// Errors that nobody can read are asked for again.
		{1, 9, "[delivered rejected]", 5, "<html>wait</html>\n{\"errors\":[{\"ind\n{\"errors\":[{\"index\":1}]}"},
		{1, 9, "[rejected delivered]", 5, "500\n{}\n{\"errors\":[{\"index\":0}]}"},
		{1, 3, "[delivered delivered]", 5, "{}"},
		{1, -1, "[delivered delivered]", 6, "{}"},
	} {
		q := &queueing{after: c.after, errors: c.errors}
		b := &destination.Batch{}
		for i := range list.List {
			b.Deliveries = append(b.Deliveries, &list.List[i])
		}
		if waits := c.mayWait; waits >= 0 {
			b.Pause = func(context.Context, time.Duration) error {
				if waits--; waits < 0 {
					return errors.New("stopping")
				}
				return nil
			}
		}
		rs, err := s.Send(context.Background(), q, b)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rs {
			got = append(got, r.Outcome.String())
		}
		if fmt.Sprint(got) != c.want || len(q.seen) != c.asked ||
			c.want == "[rejected rejected]" && rs[0].Detail != rs[1].Detail {
			text, _ := json.Marshal(q.seen)
			t.Errorf("over after %d looks, %d waits: %v after %s", c.after, c.mayWait, got, text)
		}
	}
}

// TestJobByItsState: of some jobs the state is all that can be read: that nothing was taken, or how much was not.
func TestJobByItsState(t *testing.T) {
	type settings struct{}
	for _, c := range []struct {
		state, errors string
		want          string
		asked         int
	}{
		{`{"state":"done","refused":0}`, "", "delivered delivered", 2},
		{`{"state":"done","refused":0}`, "/errors", "delivered delivered", 2},
		{`{"state":"done","refused":1}`, "/errors", "delivered rejected", 3},
		{`{"state":"done","refused":1}`, "", "rejected the partner's job refused 1 of 2, and does not say which " +
			"rejected the partner's job refused 1 of 2, and does not say which", 2},
		{`{"state":"done"}`, "", "delivered delivered", 2},
		{`{"state":"done","refused":"1"}`, "", "rejected the partner's job refused 1 of 2, and does not say which " +
			"rejected the partner's job refused 1 of 2, and does not say which", 2},
		{`{"state":"broken","why":"no such column"}`, "/errors", "rejected no such column rejected no such column", 2},
		{`{"state":"broken"}`, "", "rejected the partner's job ended as broken " +
			"rejected the partner's job ended as broken", 2},
	} {
		s, wrong := destination.Spec[settings]{
			Info:    destination.Info{Slug: "jobs", Name: "Jobs"},
			BaseURL: func(*settings) string { return "https://jobs.example" },
			Success: []destination.Success{destination.JSON("https://jobs.example/docs", destination.Text("id"))},
			Actions: destination.Actions{destination.Action("send", "Send").On(`type = "track"`).
				Fields(field.Text("name").From("$.event")).Post("/jobs", body.Batch("items", body.Object(body.Same("name")))).
				Job(destination.Job{Docs: "https://jobs.example/docs", ID: "id", Status: "/jobs/{job}", State: "state",
					Over: []string{"done"}, Failed: []string{"broken"}, Message: "why", Refused: "refused", Errors: c.errors,
					Patience: time.Minute, Verdicts: destination.ByIndex("errors", "index", "")})},
		}.Destination().Open(destination.Config{})
		if wrong != nil {
			t.Fatal(wrong)
		}
		p := &partner{answers: []string{`200 {"id":"j-1"}`, "200 " + c.state, `200 {"errors":[{"index":1}]}`}}
		var list destination.Deliveries
		b := &destination.Batch{Pause: func(context.Context, time.Duration) error { return nil }}
		for i := range 2 {
			ev, err := event.Parse(fmt.Appendf(nil, `{"type":"track","event":"A","messageId":"m-%d"}`, i))
			if err != nil {
				t.Fatal(err)
			}
			s.Route(ev, &destination.Env{}, &list)
		}
		for i := range list.List {
			b.Deliveries = append(b.Deliveries, &list.List[i])
		}
		rs, err := s.Send(context.Background(), p, b)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rs {
			got = append(got, r.Outcome.String())
			if r.Detail != "" && r.Detail[0] != '{' {
				got = append(got, r.Detail)
			}
		}
		if strings.Join(got, " ") != c.want || len(p.asked) != c.asked {
			t.Errorf("%s: %q after %q, want %s", c.state, got, p.asked, c.want)
		}
	}
}
