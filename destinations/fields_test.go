package destinations_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/standin"
	"github.com/fanfold/fanfold/pkg/transport"
)

// enough is the share of fields that has to agree with what Segment sends.
const enough = 0.97

// TestFieldsAgree holds partners against more of what Segment's own code sends: all of
// their actions, each also by itself, and batches. Whether something is sent has to be the
// same for every event; of the fields (members of bodies, methods, addresses, headers) at
// least 97 in 100 are, and what is not is said in the log. Members that we add are no
// difference.
func TestFieldsAgree(t *testing.T) {
	compared := 0
	for _, d := range destinations.All() {
		slug := d.Info.Slug
		name := "partners/" + slug + ".jsonl"
		if _, err := os.Stat("testdata/segment/" + name + ".gz"); err != nil {
			continue // it has no rows
		}
		compared++
		var list []reference
		readReferences(t, name, func(r reference) { list = append(list, r) })
		t.Run(slug, func(t *testing.T) {
			var c fieldCount
			for _, r := range list {
				c.row(t, d, r)
			}
			c.report(t, len(list))
			if c.total == 0 || float64(c.same) < enough*float64(c.total) {
				t.Errorf("%d of %d fields agree with what Segment sends", c.same, c.total)
			}
		})
	}
	if all, err := filepath.Glob("testdata/segment/partners/*"); err != nil || compared == 0 || compared != len(all) {
		t.Errorf("%d partners were compared, and %q are there: %v", compared, all, err)
	}
}

// notCompared says why a row is not compared; "": it is.
func notCompared(r reference) string {
	for id, why := range bookOf(r.Destination).Differs.Rows {
		if strings.HasPrefix(r.ID, id) {
			return why
		}
	}
	return ""
}

// fieldCount counts fields, and keeps what is different, by field and by problem, with the row that has it first.
type fieldCount struct {
	same, total int
	differ      map[string]*differing
	failed      map[string]*differing
}

type differing struct {
	n     int
	first string
}

func note(in *map[string]*differing, key, first string) {
	if *in == nil {
		*in = map[string]*differing{}
	}
	if (*in)[key] == nil {
		(*in)[key] = &differing{first: first}
	}
	(*in)[key].n++
}

// report says how much agrees and, the most frequent first, what does not.
func (c *fieldCount) report(t *testing.T, rows int) {
	t.Logf("%d rows, %d of %d fields agree", rows, c.same, c.total)
	for _, problem := range slices.Sorted(maps.Keys(c.failed)) {
		t.Errorf("%s (in %d rows, the first is %s)", problem, c.failed[problem].n, c.failed[problem].first)
	}
	keys := slices.SortedFunc(maps.Keys(c.differ), func(a, b string) int {
		return cmp.Or(c.differ[b].n-c.differ[a].n, strings.Compare(a, b))
	})
	for _, k := range keys {
		t.Logf("%s differs in %d requests: %s", k, c.differ[k].n, c.differ[k].first)
	}
}

// sent is one request, with one event, as a list of fields.
type sent map[string]any

func (c *fieldCount) row(t *testing.T, d destination.Destination, r reference) {
	if why := notCompared(r); why != "" {
		t.Logf("%s: not compared: %s", r.ID, why)
		return
	}
	ours, whyNot, err := sendRow(d, r, false)
	if err == nil && len(ours) < len(r.Requests) {
		ours, whyNot, err = sendRow(d, r, true)
	}
	if err != nil {
		note(&c.failed, err.Error(), r.ID)
		return
	}
	var theirs []sent
	for _, q := range r.Requests {
		if documentedRequest(d, q.URL) {
			continue
		}
		header := http.Header{}
		for k, v := range q.Headers {
			header.Set(k, v)
		}
		body := []byte(q.Body)
		var text string
		if json.Unmarshal(body, &text) == nil {
			body = []byte(text)
		}
		theirs = append(theirs, fieldsOf(d, q.Method, q.URL, header, body)...)
	}
	if len(ours) == 0 && needsIdentity(d, whyNot) {
		return
	}
	if len(r.Events) > 0 && len(theirs) == 0 && len(r.Requests) > 0 {
		t.Logf("%s: not compared: we say that we do not send such a batch", r.ID)
		return
	}
	if len(whyNot) > 0 && len(ours)+len(whyNot) == len(theirs) && needsIdentity(d, whyNot) {
		theirs = theirs[:0] // which of a batch they are cannot be told
		ours = nil
	}
	if len(ours) != len(theirs) && (bookOf(d.Info.Slug).Differs.More == "" || len(ours) < len(theirs)) {
		slices.Sort(whyNot)
		note(&c.failed, fmt.Sprintf("we send %d, Segment %d %v", len(ours), len(theirs), slices.Compact(whyNot)), r.ID)
		return
	}
	for _, want := range theirs {
		best, at := []difference(nil), -1
		for i, got := range ours {
			if diff := got.lacks(d, want); at < 0 || len(diff) < len(best) {
				best, at = diff, i
			}
		}
		ours = slices.Delete(ours, at, at+1)
		c.total += len(want)
		c.same += len(want) - len(best)
		for _, x := range best {
			note(&c.differ, x.field, fmt.Sprintf("in %s it is %v, Segment's is %v", r.ID, x.ours, x.theirs))
		}
	}
}

// sendRow sends the events of a row, each by itself; see answering for inWords.
func sendRow(d destination.Destination, r reference, inWords bool) (ours []sent, whyNot []string, err error) {
	c := destination.Config{Settings: settingsOf(d, r.Settings), Presets: r.Presets, BatchEvents: 1}
	if r.Action != "" {
		var m mapping.Value
		if m, err = mapping.Parse(r.Mapping); err != nil {
			return nil, nil, err
		}
		c.Presets, c.Actions = "", []destination.Subscription{{Action: r.Action, Subscribe: r.Subscribe, Mapping: m}}
	}
	s, err := d.Open(c)
	if err != nil {
		return nil, nil, err
	}
	events := r.Events
	if r.Event != nil {
		events = []json.RawMessage{r.Event}
	}
	now := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	var list destination.Deliveries
	for _, raw := range events {
		var ev *event.Event
		if ev, err = event.Parse(raw); err != nil {
			return nil, nil, err
		}
		s.Route(ev, &destination.Env{Now: now, Fallback: "fallback"}, &list)
	}
	net, err := newAnswering(d, inWords)
	if err != nil {
		return nil, nil, err
	}
	rt := transport.New(transport.Options{Network: net, Auth: s.Plan().Auth.WithToken("test-access-token")})
	for i := range list.List {
		del := &list.List[i]
		if r := del.Settled; r != nil {
			whyNot = append(whyNot, string(r.Reason)+" "+r.Detail)
			continue
		}
		_, err = s.Send(context.Background(), rt, &destination.Batch{Deliveries: []*destination.Delivery{del}, Now: now})
		if err != nil && !errors.Is(err, destination.ErrNotSent) {
			return nil, nil, err
		}
		for _, q := range net.Take() {
			ours = append(ours, fieldsOf(d, q.Method, q.URL, q.Header, q.Body)...)
		}
	}
	return ours, whyNot, nil
}

// answering keeps requests and takes everything: with an empty object, as when the rows were made, or in the words of
// the partner's contract, where a conversation goes on with nothing less. It finds nothing.
type answering struct {
	transport.Capture
	partner *standin.Partner // nil: an empty object
}

func newAnswering(d destination.Destination, inWords bool) (*answering, error) {
	a := &answering{transport.Capture{Answer: "{}"}, nil}
	if !inWords {
		return a, nil
	}
	data, err := cassettes.Contract(d.Info.Slug)
	if err != nil {
		return nil, err
	}
	contract, err := standin.ParseContract(data)
	if err != nil {
		return nil, err
	}
	a.partner = standin.New(contract)
	return a, nil
}

func (a *answering) RoundTrip(req *http.Request) (*http.Response, error) {
	a.Answer = "{}"
	if strings.HasSuffix(req.URL.Path, "/search") {
		a.Answer = `{"type":"list","data":[],"total_count":0}`
	}
	if a.partner == nil {
		return a.Capture.RoundTrip(req)
	}
	data, err := casebook.ReadBody(req)
	if err != nil {
		return nil, err
	}
	again := req.Clone(req.Context())
	req.Body, again.Body = io.NopCloser(bytes.NewReader(data)), io.NopCloser(bytes.NewReader(data))
	plain, err := a.Capture.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if told, err := a.partner.RoundTrip(again); err == nil && told.StatusCode < 300 {
		return told, plain.Body.Close()
	}
	return plain, nil
}

// fieldsOf takes a request apart: its method, address and headers, and the members of
// every event in it.
func fieldsOf(d destination.Destination, method, address string, header http.Header, body []byte) []sent {
	base := sent{"method": method}
	if u, err := url.Parse(address); err == nil {
		base["host"], base["path"] = u.Host, "/"+strings.TrimPrefix(u.Path, "/")
		for k := range u.Query() {
			base["query "+k] = u.Query().Get(k)
		}
	}
	for k, v := range header {
		if k != "User-Agent" && k != "Content-Type" && k != "Content-Length" {
			base["header "+k] = v[0]
		}
	}
	if len(bytes.TrimSpace(body)) == 0 || string(body) == "null" {
		return []sent{base}
	}
	var out []sent
	for _, item := range itemsOf(d, address, "", body) {
		one := sent{}
		for k, v := range base {
			one[k] = v
		}
		one.flatten("", item.fields)
		out = append(out, one)
	}
	return out
}

func (s sent) flatten(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, m := range v {
			if !leftovers[k] {
				s.flatten(path+"."+k, m)
			}
		}
		if len(v) > 0 {
			return
		}
	case []any:
		for i, e := range v {
			s.flatten(fmt.Sprintf("%s[%d]", path, i), e)
		}
		if len(v) > 0 {
			return
		}
	}
	s[path] = v
}

// lacks says which fields are missing or others, but for those whose difference is
// documented: as `member is "value"`, or by naming the end of our path.
func (s sent) lacks(d destination.Destination, want sent) (diff []difference) {
	for k, w := range want {
		g, ok := s[k]
		if ok && reflect.DeepEqual(g, w) || documentedField(d, k, g) || bookOf(d.Info.Slug).Differs.Fields[k] != "" {
			continue
		}
		diff = append(diff, difference{k, g, w})
	}
	return diff
}

type difference struct {
	field        string
	ours, theirs any
}

// documentedRequest says that we declare not to make a request, as "no request to /path".
func documentedRequest(d destination.Destination, address string) bool {
	u, err := url.Parse(address)
	return err == nil && slices.ContainsFunc(d.Info.Differences, func(diff destination.Difference) bool {
		return strings.HasPrefix(diff.What, "no request to "+u.Path)
	})
}

func documentedField(d destination.Destination, key string, got any) bool {
	return slices.ContainsFunc(d.Info.Differences, func(diff destination.Difference) bool {
		if key == "header Authorization" {
			return strings.HasPrefix(diff.What, "Authorization is ")
		}
		if path, ok := got.(string); ok && key == "path" {
			return strings.Contains(diff.What, path[strings.LastIndexByte(path, '/'):])
		}
		return strings.HasPrefix(diff.What, fmt.Sprintf("%s is %q", strings.TrimPrefix(key, "."), got))
	})
}
