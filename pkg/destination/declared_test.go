package destination_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/field"
)

// partner answers what is said for each request, in turn, and notes what was asked.
type partner struct {
	asked   []string
	answers []string // status and body
}

func (p *partner) RoundTrip(r *http.Request) (*http.Response, error) {
	data, _ := destination.RequestBytes(r)
	asked := r.Method + " " + r.URL.RequestURI() + " " + string(data)
	for _, name := range []string{"X-Key", "X-Region"} {
		if v := r.Header.Get(name); v != "" {
			asked += " " + name + "=" + v
		}
	}
	p.asked = append(p.asked, asked)
	status, text := 200, `{}`
	if len(p.answers) > 0 {
		if _, err := fmt.Sscanf(p.answers[0], "%d", &status); err != nil {
			return nil, err
		}
		_, text, _ = strings.Cut(p.answers[0], " ")
		p.answers = p.answers[1:]
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)),
		Request: r}, nil
}

type declaredSettings struct {
	Token  string `setting:"token" doc:"Token." example:"t0"`
	Region string `setting:"region" doc:"Region." default:"eu"`
}

// declare opens a destination of one action.
func declare(t *testing.T, a *destination.Declared) destination.Sender {
	t.Helper()
	s, err := destination.Spec[declaredSettings]{
		Info:    destination.Info{Slug: "test", Name: "Test"},
		BaseURL: func(*declaredSettings) string { return "https://test.example" },
		Success: []destination.Success{destination.JSON("https://test.example", destination.Is("error", nil).IfThere()).
			With(200, 400)},
		Actions: destination.Actions{a},
	}.Destination().Open(destination.Config{Settings: map[string]any{"token": "t1"},
		Actions: []destination.Subscription{{Action: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// send routes events and sends the batches that come of them; it returns the requests
// and what became of each delivery.
func send(t *testing.T, s destination.Sender, answers []string, events ...string) (asked, results []string) {
	t.Helper()
	p := &partner{answers: answers}
	var list destination.Deliveries
	now := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, text := range events {
		ev, err := event.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s.Route(ev, &destination.Env{Now: now}, &list)
	}
	result := func(r destination.Result) string {
		return strings.TrimSpace(fmt.Sprint(r.Outcome, " ", r.Reason, " ", r.Detail))
	}
	for i := 0; i < len(list.List); {
		if list.List[i].Settled != nil {
			results = append(results, result(*list.List[i].Settled))
			i++
			continue
		}
		b := destination.Batch{Now: now}
		plan, names := s.Plan().Actions[list.List[i].Action], map[string]bool{}
		goesOn := func(g destination.Group) bool {
			return i < len(list.List) && list.List[i].Settled == nil && list.List[i].Group() == g &&
				(plan.Limits.BatchEvents.N == 0 || len(b.Deliveries) < plan.Limits.BatchEvents.N) &&
				!names[plan.Name(&list.List[i])]
		}
		for g := list.List[i].Group(); goesOn(g); i++ {
			b.Deliveries = append(b.Deliveries, &list.List[i])
			if name := plan.Name(&list.List[i]); name != "" {
				names[name] = true
			}
		}
		rs, err := s.Send(context.Background(), p, &b)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			results = append(results, result(r))
		}
	}
	return p.asked, results
}

func track(id, properties string) string {
	return `{"type":"track","messageId":"` + id + `","event":"E","userId":"u ` + id + `","properties":` + properties + `}`
}

// declaredCase is events that an action takes, the answers, and what was asked and came of it.
type declaredCase struct {
	name    string
	action  *destination.Declared
	events  []string
	answers []string
	asked   []string
	results []string
}

// declaredAction begins the action of a case.
func declaredAction() *destination.Declared {
	return destination.Action("a", "A").Fields(
		field.UserID("user"), field.Text("source").From("$.properties.source"),
		field.Object("data").From("$.properties.data"),
		field.Texts("email", "phone").Below("$.properties"), field.Products("products", field.Text("sku").From("$.sku")),
	)
}

func TestDeclaredActions(t *testing.T) {
	for _, c := range slices.Concat(requestCases(), settingCases(), textCases(), bodilessCases(), answerCases(),
		verdictCases()) {
		t.Run(c.name, func(t *testing.T) {
			asked, results := send(t, declare(t, c.action), c.answers, c.events...)
			if got, want := strings.Join(asked, "\n"), strings.Join(c.asked, "\n"); got != want {
				t.Errorf("requests\n%s\nwant\n%s", got, want)
			}
			if got, want := strings.Join(results, "\n"), strings.Join(c.results, "\n"); got != want {
				t.Errorf("results\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// requestCases are about what is sent.
func requestCases() []declaredCase {
	a, m, from := declaredAction, body.Member, body.From
	return []declaredCase{
		{
			"one request an event", a().Put("/v1/users/{user}?region={settings.region}",
				body.Object(body.Same("email"), m("t", body.Setting("token")))),
			[]string{track("1", `{"email":"x"}`), `{"type":"track","messageId":"2"}`}, nil,
			[]string{`PUT /v1/users/u%201?region=eu {"email":"x","t":"t1"}`},
			[]string{"delivered", "rejected missing_identity user is required: it stands in the address of the request"},
		},
		{
			"headers of an event's own", a().Header("X-Key", from("email")).Header("X-Region", body.Setting("region")).
				Post("/v1", body.Object(body.Same("email"))),
			[]string{track("1", `{"email":"x"}`), track("2", `{"email":"y\nX-Other: z"}`), track("3", `{"email":"z"}`)}, nil,
			[]string{`POST /v1 {"email":"x"} X-Key=x X-Region=eu`, `POST /v1 {"email":"z"} X-Key=z X-Region=eu`},
			[]string{"delivered", "rejected invalid the header X-Key cannot hold the value of this event", "delivered"},
		},
		{
			"the payload", a().Post("/v1", nil), []string{track("1", `{"email":"x"}`)}, nil,
			[]string{`POST /v1 {"user":"u 1","email":"x"}`}, []string{"delivered"},
		},
		{
			"a batch, apart where the envelopes differ",
			a().Post("/v1/batch", body.Object(m("source", from("source")), m("list", body.Items(body.Object(body.Same("user")))),
				m("end", body.Const(1)))),
			[]string{track("1", `{"source":"x"}`), track("2", `{"source":"x"}`), track("3", `{}`)}, nil,
			[]string{`POST /v1/batch {"source":"x","list":[{"user":"u 1"},{"user":"u 2"}],"end":1}`,
				`POST /v1/batch {"list":[{"user":"u 3"}],"end":1}`},
			[]string{"delivered", "delivered", "delivered"},
		},
		{
			"a batch, apart by something else", a().Group(from("source")).Post(
				"/v1/batch", body.Items(body.Object(body.Same("user")))),
			[]string{track("1", `{"source":"x"}`), track("2", `{"source":"y"}`)}, nil,
			[]string{`POST /v1/batch [{"user":"u 1"}]`, `POST /v1/batch [{"user":"u 2"}]`}, []string{"delivered", "delivered"},
		},
		{
			"several items of an event", a().Post("/v1/batch", body.Lines(
				body.Object(m("order", body.InsertID())),
				body.Each("products", body.Object(m("sku", body.This("sku")), m("id", body.InsertID()), m("of", body.EventID()),
					m("user", body.Outer("user")))),
			)),
			[]string{track("1", `{"products":[{"sku":"s1"},{"sku":"s2"}]}`)}, nil,
			[]string{"POST /v1/batch {\"order\":\"1\"}\n{\"sku\":\"s1\",\"id\":\"1:1\",\"of\":\"1\",\"user\":\"u " +
				"1\"}\n{\"sku\":\"s2\",\"id\":\"1:2\",\"of\":\"1\",\"user\":\"u 1\"}\n"},
			[]string{"delivered", "delivered", "delivered"},
		},
	}
}

// settingCases are about settings, forms, needs and steps.
func settingCases() []declaredCase {
	a, m, from := declaredAction, body.Member, body.From
	return []declaredCase{
		{
			"what settings decide", a().Steps(
				destination.Send("{settings.region}", "/never", nil).If(body.Setting("token").Is("t0")),
				destination.Send("P{settings.region}", "", body.Object(body.Same("user"))).If(body.Setting("region").Is("eu")).
					To(body.First(from("source"), body.Const("/else"))),
			),
			[]string{track("1", `{}`), track("2", `{"source":"/a b?c"}`)}, nil,
			[]string{`Peu /else {"user":"u 1"}`, `Peu /a%20b?c {"user":"u 2"}`}, []string{"delivered", "delivered"},
		},
		{
			"settings in Go", a().Check(func(c *body.Context) string {
				if c.Field("source").Text() != c.Setting("token").Text() {
					return "source has to be " + c.Setting("token").Text()
				}
				return ""
			}).Item(func(in *destination.Input, out *destination.Output) {
				out.Append(func(dst []byte) []byte {
					if in.Setting("nothing").Exists() {
						return dst
					}
					return append(append(append(dst, `{"token":`...), in.Setting("token").Raw()...), '}')
				})
			}).Post("/v1", nil),
			[]string{track("1", `{"source":"t1"}`), track("2", `{"source":"t2"}`)}, nil,
			[]string{`POST /v1 {"token":"t1"}`}, []string{"delivered", "rejected invalid source has to be t1"},
		},
		{
			"a form", a().PostForm("/v1", body.Object(m("To", from("phone")), m("Body", body.Const("a&b")),
				m("Media", body.List(body.Const("x"), body.Const("y"))))),
			[]string{track("1", `{"phone":"+49 1"}`)}, nil, []string{"POST /v1 To=%2B49+1&Body=a%26b&Media=x&Media=y"},
			[]string{"delivered"},
		},
		{
			"a query", a().Get("/pixel", body.Object(m("u", from("user")), m("e", from("email")))),
			[]string{track("1", `{"email":"a@b.c"}`)}, nil, []string{"GET /pixel?u=u+1&e=a%40b.c "}, []string{"delivered"},
		},
		{
			"needs", a().NeedsOneOf("email", "phone").Needs(body.Not(from("source").Is("bad")), "source must not be bad").
				Only(from("source"), destination.Unneeded, "it has no source").Post("/v1", body.Object(body.Same("email"))),
			[]string{track("1", `{"email":""}`), track("2", `{"phone":"1","source":"bad"}`), track("3", `{"phone":"1"}`),
				track("4", `{"phone":"1","source":"x"}`)}, nil, nil,
			[]string{"rejected missing_identity one of email and phone is required", "rejected invalid source must not be bad",
				"skipped unneeded it has no source", "skipped unneeded the action has nothing to send for it"},
		},
		{
			"steps", a().Steps(
				destination.Send("POST", "/users", body.Object(body.Same("user"), m("id", body.InsertID()))),
				destination.Send("PUT", "/sources/{source}", body.Object(body.Same("source"), m("id", body.InsertID()))).
					If(body.Has("source")).After(),
			),
			[]string{track("1", `{"source":"x"}`), track("2", `{}`)}, nil,
			[]string{`POST /users {"user":"u 1","id":"1"}`, `PUT /sources/x {"source":"x","id":"1:1"}`,
				`POST /users {"user":"u 2","id":"2"}`},
			[]string{"delivered", "delivered", "delivered"},
		},
	}
}

// answerCases are about requests that depend on others.
func answerCases() []declaredCase {
	a, m, from := declaredAction, body.Member, body.From
	return []declaredCase{
		{
			"a conversation", a().Steps(
				destination.Send("PUT", "/companies", body.Object(body.Same("source"))),
				destination.Send("PUT", "/people/{answer.1.data.id}", body.Object(
					m("company", body.Answer(1, "data.id")), body.Same("user"))),
			),
			[]string{track("1", `{"source":"x"}`), track("2", `{"source":"y"}`), track("3", `{"source":"z"}`)},
			[]string{`200 {"data":{"id":"c 1"}}`, `200 {}`, `400 {"error":"no"}`, `200 {"data":{}}`},
			[]string{`PUT /companies {"source":"x"}`, `PUT /people/c%201 {"company":"c 1","user":"u 1"}`,
				`PUT /companies {"source":"y"}`, `PUT /companies {"source":"z"}`},
			[]string{"delivered", `rejected refused {"error":"no"}`,
				"retry unexpected the answer to request 1 has no data.id, which the next request needs"},
		},
		{
			"an answer behind characters that may be written in several ways", a().Steps(
				destination.Send("PUT", "/companies", body.Object(body.Same("source"))),
				destination.Send("PUT", "/people", body.Object(body.Same("source"), m("company", body.Answer(1, "data.id")))),
			),
			[]string{track("1", `{"source":"<x> &  "}`)},
			[]string{`200 {"data":{"id":"c 1"}}`, `200 {}`},
			[]string{`PUT /companies {"source":"<x> &  "}`, `PUT /people {"source":"<x> &  ","company":"c 1"}`},
			[]string{"delivered"},
		},
		{
			"the same thing once a request, with answers of the steps' own", a().Once("user").Steps(
				destination.Send("POST", "/made", body.Items(body.Object(m("user", from("source")), m("n", body.InsertID())))).
					If(from("phone")).
					Success(destination.JSON("https://test.example", destination.Is("made", true)).With(201)),
				destination.Send("POST", "/kept", body.Items(body.Object(m("user", from("source")), m("n", body.InsertID())))).
					If(body.Not(from("phone"))).
					Success(destination.JSON("https://test.example", destination.Is("kept", true))),
			),
			[]string{track("1", `{"source":"x"}`), track("2", `{"source":"X"}`), track("3", `{"source":"y"}`),
				track("4", `{"phone":"1"}`), track("5", `{}`)},
			[]string{`200 {"kept":true}`, `200 {"kept":true}`, `201 {"made":true}`, `201 {"made":true}`},
			[]string{
				`POST /kept [{"user":"x","n":"1"}]`, `POST /kept [{"user":"X","n":"2"},{"user":"y","n":"3"}]`,
				`POST /made [{"n":"4"}]`, `POST /kept [{"n":"5"}]`,
			},
			[]string{"delivered", "delivered", "delivered", "delivered",
				"retry unexpected the partner's documentation describes no such answer for a success " +
					`(the status is 201): {"made":true}`},
		},
		{
			"one item of several that is too large", a().MemberFits("sku", 10, "the sku is too long").
				Post("/v1/batch", body.Items(body.Each("products", body.Object(body.Same("sku"), m("id", body.InsertID()))))),
			[]string{track("1", `{"products":[{"sku":"s1"},{"sku":"a very long one"},{"sku":"s3"}]}`)}, nil,
			[]string{`POST /v1/batch [{"sku":"s1","id":"1"}]`, `POST /v1/batch [{"sku":"s3","id":"1:2"}]`},
			[]string{"delivered", "rejected too_large the sku is too long", "delivered"},
		},
		{
			"a look-up", a().Steps(
				destination.Send("POST", "/search", body.Object(body.Same("user"))).
					Take("id", func(a *destination.Answer) string { return a.JSON.Get("id").Text() }),
				destination.Send("POST", "/people", body.Object(body.Same("user"))).UnlessTaken("id").
					TakeRefused("id", func(a *destination.Answer) string { return a.JSON.Get("duplicate").Text() }),
				destination.Send("PUT", "/people/{answer.id}", body.Object(m("id", body.Taken("id")), body.Same("user"))).
					IfTaken("id"),
			),
			[]string{track("1", `{}`), track("2", `{}`), track("3", `{}`), track("4", `{}`)},
			[]string{`200 {"id":"p/1"}`, `200 {}`, `200 {}`, `200 {}`, `200 {}`, `409 {"error":"x","duplicate":"p3"}`, `200 {}`,
				`200 {}`, `409 {"error":"x"}`},
			[]string{
				`POST /search {"user":"u 1"}`, `PUT /people/p%2F1 {"id":"p/1","user":"u 1"}`,
				`POST /search {"user":"u 2"}`, `POST /people {"user":"u 2"}`,
				`POST /search {"user":"u 3"}`, `POST /people {"user":"u 3"}`, `PUT /people/p3 {"id":"p3","user":"u 3"}`,
				`POST /search {"user":"u 4"}`, `POST /people {"user":"u 4"}`,
			},
			[]string{"delivered", "delivered", "delivered", `rejected refused {"error":"x"}`},
		},
		{
			"a look-up by the place in the answer", a().Steps(
				destination.Send("POST", "/search", body.Object(body.Same("user"))).TakeAt("id", "data.items.0.id"),
				destination.Send("POST", "/people", body.Object(body.Same("user"))).UnlessTaken("id"),
				destination.Send("PUT", "/people/{answer.id}", body.Object(m("id", body.Taken("id")))).IfTaken("id"),
			),
			[]string{track("1", `{}`), track("2", `{}`), track("3", `{}`), track("4", `{}`)},
			[]string{`200 {"data":{"items":[{"id":71}]}}`, `200 {}`, `200 {"data":{"items":[]}}`, `200 {}`,
				`200 {"data":{"items":[{"id":null}]}}`, `200 {}`, `200 {"data":{"items":[{"id":"7/1"}]}}`, `200 {}`},
			[]string{
				`POST /search {"user":"u 1"}`, `PUT /people/71 {"id":71}`, `POST /search {"user":"u 2"}`,
				`POST /people {"user":"u 2"}`, `POST /search {"user":"u 3"}`, `POST /people {"user":"u 3"}`,
				`POST /search {"user":"u 4"}`, `PUT /people/7%2F1 {"id":"7/1"}`,
			},
			[]string{"delivered", "delivered", "delivered", "delivered"},
		},
		{
			"a later look-up that finds nothing", a().Steps(
				destination.Send("POST", "/a", body.Object(body.Same("user"))).TakeAt("id", "id"),
				destination.Send("POST", "/b", body.Object(body.Same("user"))).TakeAt("id", "id"),
				destination.Send("PUT", "/all", body.Object(m("id", body.MaybeTaken("id")), body.Same("user"))),
				destination.Send("PUT", "/taken", body.Object(body.Same("user"))).IfTaken("id"),
			),
			[]string{track("1", `{}`)}, []string{`200 {"id":1}`, `200 {}`, `200 {}`},
			[]string{`POST /a {"user":"u 1"}`, `POST /b {"user":"u 1"}`, `PUT /all {"user":"u 1"}`}, []string{"delivered"},
		},
		{
			"an answer in a query", a().Steps(
				destination.Send("POST", "/a", body.Object(body.Same("user"))).TakeAt("id", "id"),
				destination.Send("PUT", "/b/{answer.id}?of={answer.id}", body.Object(body.Same("user"))),
			),
			[]string{track("1", `{}`)}, []string{`200 {"id":"a+b&c=1"}`, `200 {}`},
			[]string{`POST /a {"user":"u 1"}`, `PUT /b/a+b&c=1?of=a%2Bb%26c%3D1 {"user":"u 1"}`}, []string{"delivered"},
		},
		{
			"members that are left out when nothing was found", a().Steps(
				destination.Send("POST", "/a", body.Object(body.Same("user"))).TakeAt("a", "id"),
				destination.Send("POST", "/b", body.Object(body.Same("user"))).TakeAt("b", "id"),
				destination.Send("POST", "/all", body.Object(m("a", body.MaybeTaken("a")), m(`"\`, body.MaybeTaken("b")),
					m("c", body.Always(body.Object(m("b", body.MaybeTaken("b"))))), body.Same("user"), m("l", body.List(
						body.MaybeTaken("a"), body.Const(1), body.MaybeTaken("b"))), m("z", body.MaybeTaken("a")))),
			),
			[]string{track("1", `{}`), track("2", `{}`), track("3", `{}`)},
			[]string{`200 {"id":1}`, `200 {"id":"two"}`, `200 {}`, `200 {"id":1}`, `200 {}`, `200 {}`, `200 {}`, `200 {"id":2}`,
				`200 {}`},
			[]string{
				`POST /a {"user":"u 1"}`, `POST /b {"user":"u 1"}`,
				`POST /all {"a":1,"\"\\":"two","c":{"b":"two"},"user":"u 1","l":[1,1,"two"],"z":1}`,
				`POST /a {"user":"u 2"}`, `POST /b {"user":"u 2"}`, `POST /all {"a":1,"c":{},"user":"u 2","l":[1,1],"z":1}`,
				`POST /a {"user":"u 3"}`, `POST /b {"user":"u 3"}`, `POST /all {"\"\\":2,"c":{"b":2},"user":"u 3","l":[1,2]}`,
			},
			[]string{"delivered", "delivered", "delivered"},
		},
		{
			"deliveries that wait, with a look-up that finds nothing", a().Steps(
				destination.Send("POST", "/first", body.Object(body.Same("user"))),
				destination.Send("POST", "/search", body.Object(body.Same("user"))).After().
					Take("id", func(a *destination.Answer) string { return a.JSON.Get("id").Text() }).
					Otherwise(destination.Skipped, destination.Unneeded, "nobody is there"),
				destination.Send("PUT", "/people/{answer.id}", nil),
			),
			[]string{track("1", `{}`)}, []string{`200 {}`, `200 {}`},
			[]string{`POST /first {"user":"u 1"}`, `POST /search {"user":"u 1"}`},
			[]string{"delivered", "skipped unneeded nobody is there"},
		},
	}
}

// textCases are about bodies that are no JSON.
func textCases() []declaredCase {
	a := declaredAction
	return []declaredCase{
		{
			"a file of rows", a().Steps(destination.Send("POST", "/files?table={source}", body.Framed("--b\r\n\r\nmail,user\n",
				"\n", "\r\n--b--\r\n", body.Row(",", body.From("email"), body.From("user")))).
				Of("multipart/form-data; boundary=b")),
			[]string{track("1", `{"email":"a@b.c","source":"x"}`), track("2", `{"email":"d,\r\n--b","source":"x"}`)},
			[]string{`200 {}`},
			[]string{"POST /files?table=x --b\r\n\r\nmail,user\na@b.c,u 1\n\"d,  --b\",u 2\r\n--b--\r\n"},
			[]string{"delivered", "delivered"},
		},
		{
			"files of rows, by the column", a().Steps(destination.Send("POST", "/files", body.Around(body.Plain("{source}\n"),
				"\n", body.Plain("\n"), body.Row(",", body.From("email")))).Of("text/csv")),
			[]string{track("1", `{"email":"a","source":"x"}`), track("2", `{"email":"b","source":"x"}`),
				track("3", `{"email":"c","source":"y"}`), track("4", `{"email":"d"}`)}, []string{`200 {}`, `200 {}`},
			[]string{"POST /files x\na\nb\n", "POST /files y\nc\n"},
			[]string{"delivered", "delivered", "delivered",
				"skipped unneeded the action has nothing to send for it"},
		},
		{
			"a frame of anything", a().Steps(destination.Send("POST", "/files", body.Around(body.Plain("{source}\n"),
				"\n", body.Plain("\nend"), body.Row(",", body.From("email")))).Of("text/csv")),
			[]string{track("1", `{"email":"a","source":"x\u0000y"}`), track("2", `{"email":"b","source":"x"}`)},
			[]string{`200 {}`, `200 {}`},
			[]string{"POST /files xy\na\nend", "POST /files x\nb\nend"}, []string{"delivered", "delivered"},
		},
		{
			"markup", a().Steps(destination.Send("POST", "/xml",
				body.Markup("<a t='{settings.token}'>{email}</a>")).Of("text/xml")),
			[]string{track("1", `{"email":"<a@b.c>"}`), track("2", `{}`)}, []string{`200 {}`},
			[]string{"POST /xml <a t='t1'>&lt;a@b.c&gt;</a>"},
			[]string{"delivered", "skipped unneeded the action has nothing to send for it"},
		},
	}
}

// bodilessCases are requests without a body.
func bodilessCases() []declaredCase {
	return []declaredCase{
		{
			"a DELETE of a path", declaredAction().Steps(destination.Send("DELETE", "/people/{user}", nil)),
			[]string{track("1", `{"email":"a@b.c"}`)}, []string{`200 {}`},
			[]string{"DELETE /people/u%201 "}, []string{"delivered"},
		},
		{
			"a GET, and what comes of it", declaredAction().Steps(
				destination.Send("GET", "/people?mail={email}", nil),
				destination.Send("{settings.region}", "/people/{answer.1.id}", nil)),
			[]string{track("1", `{"email":"a@b.c"}`)}, []string{`200 {"id":7}`, `200 {}`},
			[]string{"GET /people?mail=a%40b.c ", `eu /people/7 {"user":"u 1","email":"a@b.c"}`}, []string{"delivered"},
		},
	}
}

// TestTextsThatCannotBe: a body that is text needs its content type, and is no form and no part of a conversation.
func TestTextsThatCannotBe(t *testing.T) {
	text := body.Markup("<a>{email}</a>")
	for _, steps := range [][]destination.Step{
		{destination.Send("POST", "/", text)},
		{destination.Send("POST", "/", text).Of("text/xml").AsForm()},
		{destination.Send("POST", "/", body.Payload()).Take("x", func(*destination.Answer) string { return "" }),
			destination.Send("POST", "/", text).Of("text/xml")},
	} {
		spec := destination.Spec[declaredSettings]{Info: destination.Info{Slug: "test", Name: "Test"},
			BaseURL: func(*declaredSettings) string { return "https://test.example" },
			Success: []destination.Success{{Any: true}}, Actions: destination.Actions{declaredAction().Steps(steps...)}}
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.Contains(p, "text") {
					t.Errorf("%d steps: %s", len(steps), p)
				}
			}()
			if _, err := spec.Destination().Open(destination.Config{}); err != nil {
				panic(err)
			}
		}()
	}
}

// verdictCases are about answers.
func verdictCases() []declaredCase {
	a := declaredAction
	return []declaredCase{
		{
			"verdicts by index", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByIndex("errors", "index", "message")),
			[]string{track("1", `{}`), track("2", `{}`)}, []string{`200 {"errors":[{"index":1,"message":"too bad"}]}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 2"}]`}, []string{"delivered", "rejected refused too bad"},
		},
		{
			"verdicts by id", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByID("failed", "who", "why.text", "user")),
			[]string{track("1", `{}`), track("2", `{}`)}, []string{`400 {"failed":[{"who":"u 2","why":{"text":"too bad"}}]}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 2"}]`}, []string{"retry conflict refused together with others",
				"rejected refused too bad"},
		},
		{
			"verdicts by id, of several events of one", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByID("failed", "who", "why", "user")),
			[]string{track("1", `{}`), track("1", `{}`), track("2", `{}`)},
			[]string{`200 {"failed":[{"who":"u 1","why":"no"}]}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 1"},{"user":"u 2"}]`},
			[]string{"rejected refused no", "rejected refused no", "delivered"},
		},
		{
			"verdicts by the members of an object", a().Post("/v1", body.Batch("ids", body.From("user"))).
				Verdicts(destination.ByID("data.errors", "", "2008", ".")),
			[]string{track("1", `{}`), track("2", `{}`)}, []string{`200 {"data":{"errors":{"u 2":{"2008":"nobody"}}}}`},
			[]string{`POST /v1 {"ids":["u 1","u 2"]}`}, []string{"delivered", "rejected refused nobody"},
		},
		{
			"no verdicts in an empty object", a().Post("/v1", body.Batch("ids", body.From("user"))).
				Verdicts(destination.ByID("data.errors", "", "2008", ".")),
			[]string{track("1", `{}`)}, []string{`200 {"data":{"errors":{}}}`},
			[]string{`POST /v1 {"ids":["u 1"]}`}, []string{"delivered"},
		},
		{
			"verdicts by the members of an object, which are indexes",
			a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByIndex("errors", "", "")),
			[]string{track("1", `{}`), track("2", `{}`)}, []string{`200 {"errors":{"0":["too bad"]}}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 2"}]`}, []string{`rejected refused ["too bad"]`, "delivered"},
		},
		{
			"verdicts by any member", a().Post("/v1", body.Items(body.Object(body.Same("user"), body.Spread("data")))).
				Verdicts(destination.ByID("errors", "", "", "*")),
			[]string{track("1", `{"data":{"mail":"a@b.c","name":"x"}}`), track("2", `{"data":{"mail":"d@e.f"}}`),
				track("3", `{"data":{"mail":"d@e.f"}}`)},
			[]string{`200 {"errors":{"d@e.f":"no"}}`},
			[]string{`POST /v1 [{"user":"u 1","mail":"a@b.c","name":"x"},{"user":"u 2","mail":"d@e.f"},` +
				`{"user":"u 3","mail":"d@e.f"}]`},
			[]string{"delivered", `rejected refused "no"`, `rejected refused "no"`},
		},
		{
			"verdicts by any member, which may be two",
			a().Post("/v1", body.Items(body.Object(body.Same("user"), body.Spread("data")))).
				Verdicts(destination.ByID("errors", "", "", "*")),
			[]string{track("1", `{"data":{"mail":"x"}}`), track("2", `{"data":{"name":"x"}}`)},
			[]string{`200 {"errors":{"x":"no"}}`},
			[]string{`POST /v1 [{"user":"u 1","mail":"x"},{"user":"u 2","name":"x"}]`},
			[]string{`retry unexpected it is a success with errors of no event of the request: errors is {"x":"no"}`,
				`retry unexpected it is a success with errors of no event of the request: errors is {"x":"no"}`},
		},
		{
			"verdicts by any member, where two are the same",
			a().Post("/v1", body.Items(body.Object(body.Same("user"), body.Spread("data")))).
				Verdicts(destination.ByID("errors", "", "", "*")),
			[]string{track("1", `{"data":{"mail":"u 1"}}`), track("2", `{"data":{"mail":"x"}}`)},
			[]string{`200 {"errors":{"u 1":"no"}}`},
			[]string{`POST /v1 [{"user":"u 1","mail":"u 1"},{"user":"u 2","mail":"x"}]`},
			[]string{`rejected refused "no"`, "delivered"},
		},
		{
			"verdicts by index, where the others were taken", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByIndex("errors", "index", "message").OthersTaken()),
			[]string{track("1", `{}`), track("2", `{}`)}, []string{`400 {"errors":[{"index":1,"message":"too bad"}]}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 2"}]`}, []string{"delivered", "rejected refused too bad"},
		},
		{
			"verdicts by position", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByPosition("list", "status", "error.message")),
			[]string{track("1", `{}`), track("2", `{}`), track("3", `{}`)},
			[]string{`200 {"list":[{"status":201},{"status":400,"error":{"message":"no such user"}},{"status":429}]}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 2"},{"user":"u 3"}]`},
			[]string{"delivered", "rejected refused no such user", "retry rate_limited Too Many Requests"},
		},
		{
			"verdicts by position, of others than were sent", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByPosition("list", "status", "error.message")),
			[]string{track("1", `{}`)}, []string{`400 {"list":[{"status":201},{"status":400}]}`},
			[]string{`POST /v1 [{"user":"u 1"}]`}, []string{`rejected refused {"list":[{"status":201},{"status":400}]}`},
		},
		{
			"verdicts by lists of indexes", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByLists("why", "silent", "missing.*")),
			[]string{track("1", `{}`), track("2", `{}`), track("3", `{}`)},
			[]string{`400 {"why":"no","silent":[2],"missing":{"time":[0,7],"type":[]}}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 2"},{"user":"u 3"}]`},
			[]string{"rejected refused time: no", "retry conflict refused together with others", "rejected refused silent: no"},
		},
		{
			"verdicts by lists of names", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByLists("", "bad of mail user").Counted("failed")),
			[]string{track("1", `{}`), track("2", `{}`)}, []string{`200 {"bad":["U 2"],"failed":1}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 2"}]`}, []string{"delivered", "rejected refused bad"},
		},
		{
			"verdicts by lists of fewer than were refused", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByLists("", "bad of user").Counted("failed")),
			[]string{track("1", `{}`), track("2", `{}`)}, []string{`200 {"bad":["u 2"],"failed":2}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 2"}]`},
			[]string{"rejected refused some of the request was refused, and which is not said", "rejected refused bad"},
		},
		{
			"verdicts by pointer", a().Post("/v1", body.Items(body.Object(body.Same("user")))).
				Verdicts(destination.ByPointer("errors", "source.pointer", "detail")),
			[]string{track("1", `{}`), track("2", `{}`)},
			[]string{`400 {"errors":[{"source":{"pointer":"/data/profiles/0/email"},"detail":"no email"}]}`},
			[]string{`POST /v1 [{"user":"u 1"},{"user":"u 2"}]`}, []string{"rejected refused no email",
				"retry conflict refused together with others"},
		},
	}
}

// looks is a transport that sends nothing.
type looks struct{ partner }

func (l *looks) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := l.partner.RoundTrip(r); err != nil {
		return nil, err
	}
	return nil, destination.ErrNotSent
}

// TestLookingAtRequests: who looks at what would be sent sees all that belongs together, as if
// the partner knew nothing.
func TestLookingAtRequests(t *testing.T) {
	id := func(a *destination.Answer) string { return a.JSON.Get("id").Text() }
	user := body.Object(body.Same("user"))
	action := func() *destination.Declared { return destination.Action("a", "A").Fields(field.UserID("user")) }
	for name, c := range map[string]struct {
		action *destination.Declared
		want   string
	}{
		"a conversation": {action().Steps(
			destination.Send("POST", "/search", user).Take("id", id),
			destination.Send("POST", "/people", user).UnlessTaken("id"),
			destination.Send("PUT", "/people/{answer.id}", user).IfTaken("id"),
			destination.Send("POST", "/joined", body.Object(body.Member("id", body.Answer(2, "data.id")))),
		), `POST /search {"user":"u 1"} POST /people {"user":"u 1"} POST /joined {"id":"{answer.2.data.id}"}`},
	} {
		s := declare(t, c.action)
		ev, err := event.Parse([]byte(track("1", `{}`)))
		if err != nil {
			t.Fatal(err)
		}
		var list destination.Deliveries
		s.Route(ev, &destination.Env{}, &list)
		b := &destination.Batch{Deliveries: []*destination.Delivery{&list.List[0]}}
		var l looks
		if _, err := s.Send(context.Background(), &l, b); !errors.Is(err, destination.ErrNotSent) {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(l.asked, " "); got != c.want {
			t.Errorf("%s shows\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// TestCheckedBodies: a body that writes something else each time, which no declaration
// may, is found out, and everything is interpreted from then on.
func TestCheckedBodies(t *testing.T) {
	n := 0
	s := declare(t, destination.Action("a", "A").Fields(field.UserID("user")).Post("/v1", body.Object(
		body.Member("n", body.From("user").As("another each time", func(dst []byte, _ event.Value, _ *body.Context) []byte {
			n++
			return fmt.Append(dst, n)
		})),
	)))
	ev, err := event.Parse([]byte(track("1", `{}`)))
	if err != nil {
		t.Fatal(err)
	}
	c := s.(destination.Checked)
	var list destination.Deliveries
	for range 1200 {
		s.Route(ev, &destination.Env{}, &list)
	}
	if got := c.Difference(); !strings.Contains(got, "event 1") {
		t.Errorf("difference %q, want the event that differed", got)
	}
	if len(list.List) != 1200 {
		t.Errorf("%d deliveries of 1200 events", len(list.List))
	}
}

// TestWindows: each side of a partner's window is kept, also alone.
func TestWindows(t *testing.T) {
	const docs = "https://test.example"
	at := func(text string) string {
		return `{"type":"track","messageId":"1","timestamp":"` + text + `","properties":{"kind":"shop"}}`
	}
	old, late := at("2020-06-01T00:00:00Z"), at("2024-06-05T00:00:00Z") // now is 2024-06-01
	for name, c := range map[string]struct {
		window  destination.Window
		old, of string // what becomes of the old event, and of the new one
	}{
		"none":   {old: "delivered", of: "delivered"},
		"past":   {window: destination.Window{Past: time.Hour, Docs: docs}, old: "skipped too_old", of: "delivered"},
		"future": {window: destination.Window{Future: time.Hour, Docs: docs}, old: "delivered", of: "skipped too_new"},
		"since": {window: destination.Window{Since: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC), Docs: docs},
			old: "skipped too_old", of: "delivered"},
		"but": {window: destination.Window{Past: time.Hour, Docs: docs, But: &destination.PastOf{Field: "kind", Value: "shop",
			Past: 5 * 365 * destination.Day, Docs: docs}}, old: "delivered", of: "delivered"},
	} {
		s := declare(t, destination.Action("a", "A").On(`type = "track"`).Fields(field.Text("kind").From("$.properties.kind")).
			Limits(destination.ActionLimits{Window: c.window}).Post("/e", body.Payload()))
		_, got := send(t, s, nil, old, late)
		if len(got) != 2 || !strings.HasPrefix(got[0], c.old) || !strings.HasPrefix(got[1], c.of) {
			t.Errorf("%s: %q, want %s and %s", name, got, c.old, c.of)
		}
	}
}
