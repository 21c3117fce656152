package destinations_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/standin"
	"github.com/fanfold/fanfold/pkg/transport"
	"github.com/fanfold/fanfold/pkg/verify"
)

// answer is what a partner, or something on the way to it, says.
type answer struct {
	what   string
	status int
	kind   string // Content-Type
	body   string
}

// strange are answers of proxies, login pages and partners in trouble.
func strange() []answer {
	const js, page = "application/json", `<!DOCTYPE html><html><body><form action="/login">Sign in</form></body></html>`
	list := []answer{
		{"a login page", 200, "text/html; charset=utf-8", page},
		{"a login page that says it is JSON", 200, js, page},
		{"nothing", 200, "", ""},
		{"blanks", 200, "text/plain", " \n"},
		{"an empty object", 200, js, "{}"},
		{"an empty list", 200, js, "[]"},
		{"a list", 200, js, `[{"status":"ok"}]`},
		{"JSON of another shape", 200, js, `{"hello":"world"}`},
		{"JSON of a proxy", 200, js, `{"status":"ok","message":"please sign in"}`},
		{"a failure", 200, js, `{"success":false}`},
		{"an error", 200, js, `{"error":"internal"}`},
		{"errors", 200, js, `{"errors":[{"message":"internal"}]}`},
		{"two documents", 200, js, `{"a":1}{"b":2}`},
		{"text", 200, "text/plain", "It works!"},
		{"invalid UTF-8", 200, js, "{\"a\":\"\xff\"}"},
	}
	for _, word := range []string{"0", "1", "null", "true", "false", `"ok"`, "ok", "OK", "success"} {
		list = append(list, answer{"the word " + word, 200, js, word})
	}
	for status := 201; status < 400; status++ {
		if status <= 208 || status == 226 || status >= 300 && status <= 308 {
			list = append(list, answer{"an empty " + strconv.Itoa(status), status, "", ""}, answer{"a page with " +
				strconv.Itoa(status), status, "text/html", page})
		}
	}
	return list
}

// spoiled are answers that a real one turns into: cut off, wrapped, with another
// status, or with a member that is gone or says something else.
func spoiled(good answer) []answer {
	var list []answer
	add := func(what, body string) { list = append(list, answer{what, good.status, good.kind, body}) }
	for status := 200; status < 400; status++ {
		if status <= 208 || status >= 300 && status <= 308 {
			list = append(list, answer{"the real answer with " + strconv.Itoa(status), status, good.kind, good.body})
		}
	}
	for _, n := range []int{1, len(good.body) / 3, len(good.body) / 2, len(good.body) - 1} {
		if n > 0 && n < len(good.body) {
			add("cut off after "+strconv.Itoa(n)+" bytes", good.body[:n])
		}
	}
	add("in a list", "["+good.body+"]")
	add("with something behind it", good.body+"<script>")
	var object map[string]any
	if json.Unmarshal([]byte(good.body), &object) != nil {
		return list
	}
	change := func(what, key string, v any) {
		other := maps.Clone(object)
		if other[key] = v; v == nil {
			delete(other, key)
		}
		text, _ := json.Marshal(other)
		add(what+" "+key, string(text))
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		change("without", key, nil)
		change("another kind of", key, []any{map[string]any{}})
		change("another text in", key, "other")
		switch v := object[key].(type) {
		case float64:
			change("one less in", key, v-1)
			change("a hundred more in", key, v+100)
			change("zero in", key, 0)
		case bool:
			change("the opposite in", key, !v)
		case []any:
			change("an empty list in", key, []any{})
		}
	}
	return list
}

// crooked answers as the partner documents, but for one request.
type crooked struct {
	partner *standin.Partner
	at      int // request that gets the odd answer; below 0: none
	odd     answer
	n       int
	seen    []*http.Request
	bodies  [][]byte
	good    []answer
}

func (c *crooked) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := casebook.ReadBody(req)
	if err != nil {
		return nil, err
	}
	i := c.n
	c.n++
	c.seen, c.bodies = append(c.seen, req), append(c.bodies, body)
	if i == c.at {
		h := http.Header{}
		if c.odd.kind != "" {
			h.Set("Content-Type", c.odd.kind)
		}
		return &http.Response{StatusCode: c.odd.status, Header: h, Body: io.NopCloser(strings.NewReader(c.odd.body)),
			Request: req}, nil
	}
	again := req.Clone(req.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := c.partner.RoundTrip(again)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	c.good = append(c.good, answer{"", resp.StatusCode, resp.Header.Get("Content-Type"), string(text)})
	return resp, nil
}

// batchOf is one request's worth of deliveries of one action.
type batchOf struct {
	sender     destination.Sender
	action     string
	now        time.Time
	deliveries []*destination.Delivery
	own        bool // the action's own Send
	later      bool // the partner works through it later, and is asked what came of it
}

// batches are requests of every action of a destination: of the cases of its
// cassettes, of one delivery and of several, and of events of every kind.
func batches(t *testing.T, d destination.Destination) []batchOf {
	t.Helper()
	var out []batchOf
	seen := map[string]int{}
	route := func(s destination.Sender, events []string, now time.Time) {
		plan := s.Plan()
		order, groups := grouped(madeOf(t, s, events, now))
		for _, g := range order {
			dels := groups[g]
			info := d.Actions[slices.IndexFunc(d.Actions,
				func(a destination.ActionInfo) bool { return a.Slug == plan.Actions[g.Action].Slug })]
			few := min(len(dels), 3)
			if most := info.Limits.BatchEvents.N; most > 0 {
				few = min(few, most)
			}
			for _, n := range []int{1, few} {
				key := fmt.Sprint(info.Slug, " ", n, " ", g.Path)
				if seen[key]++; seen[key] > 1 {
					continue
				}
				out = append(out, batchOf{s, info.Slug, now, dels[:n], info.Rung == 5, plan.Actions[g.Action].Patience > 0})
			}
		}
	}
	for _, k := range casesOf(t, d.Info.Slug) {
		c, now, err := verify.Case(d, k.Meta())
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Open(c)
		if err != nil {
			continue // a case about settings
		}
		route(s, k.Events, now)
	}
	events := generated(7, 100)
	if s, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Presets: "all"}); err == nil {
		route(s, events, time.Date(2024, 3, 1, 1, 0, 0, 0, time.UTC))
	}
	reached := func(slug string) bool {
		return slices.ContainsFunc(out, func(b batchOf) bool { return b.action == slug })
	}
	for _, a := range d.Actions {
		if !reached(a.Slug) {
			// Neither a case nor a generated event makes a request of it: with the
			// choices made that a user has to make, one does.
			sub := destination.Subscription{Action: a.Slug, Mapping: filled(a.Fields)}
			s, err := d.Open(destination.Config{Settings: d.Settings.Examples(), Actions: []destination.Subscription{sub}})
			if err != nil {
				t.Fatal(err)
			}
			route(s, events, time.Date(2024, 3, 1, 1, 0, 0, 0, time.UTC))
		}
		if !reached(a.Slug) {
			t.Errorf("%s: no case and no generated event makes a request of the action %s", d.Info.Slug, a.Slug)
		}
	}
	return out
}

// grouped are the deliveries that have still to be sent, by what may share a request.
func grouped(list *destination.Deliveries) ([]destination.Group, map[destination.Group][]*destination.Delivery) {
	var order []destination.Group
	groups := map[destination.Group][]*destination.Delivery{}
	for i := range list.List {
		if del := &list.List[i]; del.Settled == nil {
			if groups[del.Group()] == nil {
				order = append(order, del.Group())
			}
			groups[del.Group()] = append(groups[del.Group()], del)
		}
	}
	return order, groups
}

// filled is the mapping of an action whose required fields always have a value.
func filled(fields []payload.Field) mapping.Value {
	var members []mapping.Member
	for _, f := range fields {
		v := f.Default
		switch {
		case !f.Required || f.Type == payload.TypeObject || f.Type == payload.TypeDatetime:
		case len(f.Choices) > 0:
			v = mapping.Literal(f.Choices[0])
		case f.Type == payload.TypeNumber || f.Type == payload.TypeInteger:
			v = mapping.Literal(1)
		case v.IsZero():
			v = mapping.Literal("x")
		}
		if !v.IsZero() {
			members = append(members, mapping.M(f.Key, v))
		}
	}
	return mapping.Object(members...)
}

// TestOnlyDocumentedAnswersDeliver gives every request of every action of every
// partner answers that something else may give, and the partner's own, spoiled.
// What the partner's contract does not describe is no delivery; what it describes
// is. The destination's own declaration and the contract are written apart from
// each other, so that each checks the other.
func TestOnlyDocumentedAnswersDeliver(t *testing.T) {
	for _, d := range destinations.All() {
		if d.Local {
			continue
		}
		t.Run(d.Info.Slug, func(t *testing.T) {
			t.Parallel()
			contract, asked := contractOf(t, d), 0
			for _, b := range batches(t, d) {
				asked += b.interrogate(t, contract)
			}
			t.Logf("%d answers", asked)
		})
	}
}

// send makes the batch's requests and counts what is delivered.
func (b *batchOf) send(t *testing.T, c *crooked) (delivered int, rs []destination.Result) {
	t.Helper()
	b.now = b.now.Add(time.Hour) // answers that are kept for later requests are not kept so long
	rt := transport.New(transport.Options{Network: c, Auth: b.sender.Plan().Auth.WithToken("test-access-token")})
	rs, err := b.sender.Send(context.Background(), rt, &destination.Batch{Deliveries: b.deliveries, Now: b.now})
	if err != nil || len(rs) != len(b.deliveries) {
		t.Fatalf("%s: %d results: %v", b.action, len(rs), err)
	}
	for _, r := range rs {
		if r.Outcome == destination.Delivered {
			delivered++
		}
	}
	return delivered, rs
}

// interrogate tries every answer at every request of the batch.
func (b *batchOf) interrogate(t *testing.T, contract *standin.Contract) (asked int) {
	t.Helper()
	plain := &crooked{partner: standin.New(contract), at: -1}
	most, _ := b.send(t, plain)
	if most == 0 {
		return 0 // an event that the partner refuses
	}
	if b.later { // the rest asks about what was taken
		plain.n = 1
	}
	for at := range plain.n {
		for _, odd := range append(strange(), spoiled(plain.good[at])...) {
			asked++
			c := &crooked{partner: standin.New(contract), at: at, odd: odd}
			delivered, rs := b.send(t, c)
			refused := len(b.deliveries) - delivered
			if b.own {
				refused = 0 // of the request that is asked about, nobody can say
			}
			describes := contract.Describes(plain.seen[at], plain.bodies[at], odd.status, []byte(odd.body), refused)
			all := contract.Describes(plain.seen[at], plain.bodies[at], odd.status, []byte(odd.body), 0) == nil
			switch {
			case plain.n > 1:
				// Other requests settle other deliveries, and a later one may go
				// another way after another answer.
				if describes != nil && delivered == most {
					t.Errorf("%s: all counts as delivered although request %d was answered with %s (%d %s): %v", b.action, at,
						odd.what, odd.status, odd.body, describes)
				}
			case delivered > 0 && describes != nil:
				t.Errorf("%s: %d count as delivered after %s (%d %s), which is not documented: %v", b.action, delivered,
					odd.what, odd.status, odd.body, describes)
			case delivered == 0 && all && rs[0].Reason == destination.Unexpected:
				t.Errorf("%s: %s (%d %s) is documented as a success and counts as %v", b.action, odd.what, odd.status,
					odd.body, rs[0])
			}
		}
	}
	return asked
}
