package destinations_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/destinations"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/setting"
	"github.com/fanfold/fanfold/pkg/transport"
)

// reference is one line of testdata/segment: what Segment's own code sends for
// an event.
type reference struct {
	ID          string
	Destination string
	Presets     string
	Action      string
	Subscribe   string
	Mapping     json.RawMessage
	Settings    map[string]any
	Event       json.RawMessage
	Events      []json.RawMessage // of a batch
	Requests    []struct {
		Action, Method, URL string
		Headers             map[string]string
		Body                json.RawMessage
	}
}

// sentItem is one event of a request, taken out of whatever envelope it is in.
type sentItem struct {
	host, auth string
	fields     map[string]any
}

// TestAgreement compares what we would send with what Segment's own
// destinations send for the same events, settings and mappings: the same
// events sent and not sent, host, credentials, and every field and value.
// Members that we add (insert ids) are no difference; members that we lack or
// that differ are, unless they are on the destination's documented list.
func TestAgreement(t *testing.T) {
	type row struct {
		of string // "requests", or "pasted"
		reference
	}
	rows := map[string][]row{}
	for _, of := range []string{"requests", "pasted"} {
		readReferences(t, of+".jsonl", func(r reference) { rows[r.Destination] = append(rows[r.Destination], row{of, r}) })
	}
	compared := 0
	for _, d := range destinations.All() {
		list := rows[d.Info.Slug]
		if len(list) == 0 {
			continue
		}
		compared++
		t.Run(d.Info.Slug, func(t *testing.T) {
			agreed, totals := map[string]int{}, map[string]int{}
			for _, r := range list {
				if why := notCompared(r.reference); why != "" || len(r.Requests) == 0 && bookOf(r.Destination).Differs.More != "" {
					t.Logf("%s: not compared: %s", r.ID, why)
					continue
				}
				key := strings.TrimSuffix(r.of+"/"+r.Destination+"."+r.Action, ".")
				totals[key]++
				if diff := compareReference(d, r.reference); diff != "" {
					t.Errorf("%s: %s", r.ID, diff)
					continue
				}
				agreed[key]++
			}
			for _, k := range slices.Sorted(maps.Keys(totals)) {
				t.Logf("%s: %d of %d agree", k, agreed[k], totals[k])
			}
		})
	}
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

// readReferences calls f with every row of a file of testdata/segment.
func readReferences(t *testing.T, file string, f func(r reference)) {
	t.Helper()
	packed, err := os.Open("testdata/segment/" + file + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		var r reference
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		f(r)
	}
	if err := errors.Join(s.Err(), packed.Close()); err != nil {
		t.Fatal(err)
	}
}

// settingsOf turns Segment's settings into ours.
func settingsOf(d destination.Destination, in map[string]any) map[string]any {
	out := map[string]any{}
	plain := func(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }
	for k, v := range in {
		i := slices.IndexFunc(d.Settings.Fields, func(f setting.Field) bool { return plain(f.Key) == plain(k) })
		if i < 0 {
			continue
		}
		f := d.Settings.Fields[i]
		if n, ok := v.(float64); ok && n == float64(int(n)) {
			v = int(n) // as it is in YAML
		}
		if text, ok := v.(string); ok && len(f.Choices) > 0 {
			word := strings.ToLower(strings.TrimSpace(strings.Map(func(c rune) rune {
				if c > 0x2000 {
					return -1
				}
				return c
			}, text)))
			switch {
			case strings.Contains(word, "europe") || strings.Contains(word, "eu.") || word == "eu":
				word = "eu"
			case strings.Contains(word, "north_america") || strings.Contains(word, "united") || strings.Contains(word, "us."):
				word = "us"
			}
			if slices.Contains(f.Choices, word) {
				v = word
			}
		}
		out[f.Key] = v
	}
	if _, ok := d.Settings.Field("access_token"); ok && out["access_token"] == nil {
		out["access_token"] = "test-access-token" // what the references were made with
	}
	for k, v := range d.Settings.Examples() {
		if f, _ := d.Settings.Field(k); f.Required && out[k] == nil {
			out[k] = v
		}
	}
	return out
}

func compareReference(d destination.Destination, r reference) string {
	c := destination.Config{Settings: settingsOf(d, r.Settings), Presets: r.Presets, BatchEvents: 1}
	if r.Action != "" {
		m, err := mapping.Parse(r.Mapping)
		if err != nil {
			return err.Error()
		}
		c.Presets, c.Actions = "", []destination.Subscription{{Action: r.Action, Subscribe: r.Subscribe, Mapping: m}}
	}
	s, err := d.Open(c)
	if err != nil {
		return err.Error()
	}
	ev, err := event.Parse(r.Event)
	if err != nil {
		return err.Error()
	}
	now := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	var list destination.Deliveries
	s.Route(ev, &destination.Env{Now: now, Fallback: "fallback"}, &list)
	var ours []sentItem
	net := &transport.Capture{Answer: "{}"}
	rt := transport.New(transport.Options{Network: net, Auth: s.Plan().Auth.WithToken("test-access-token")})
	var whyNot []string
	for i := range list.List {
		del := &list.List[i]
		if r := del.Settled; r != nil {
			whyNot = append(whyNot, string(r.Reason)+" "+r.Detail)
			continue
		}
		if _, err := s.Send(context.Background(), rt, &destination.Batch{Deliveries: []*destination.Delivery{del},
			Now: now}); err != nil && !errors.Is(err, destination.ErrNotSent) {
			return err.Error()
		}
		for _, q := range net.Take() {
			ours = append(ours, itemsOf(d, q.URL, q.Header.Get("Authorization"), q.Body)...)
		}
	}
	var theirs []sentItem
	for _, q := range r.Requests {
		body := []byte(q.Body)
		var text string
		if json.Unmarshal(body, &text) == nil {
			body = []byte(text)
		}
		theirs = append(theirs, itemsOf(d, q.URL, q.Headers["authorization"], body)...)
	}
	if len(ours) == 0 && len(theirs) > 0 && len(whyNot) > 0 && needsIdentity(d, whyNot) {
		return ""
	}
	if len(ours) != len(theirs) {
		return fmt.Sprintf("we send %d items, Segment %d %v", len(ours), len(theirs), whyNot)
	}
	for _, want := range theirs {
		best := ""
		found := false
		for i, got := range ours {
			diff := diffItems(d, got, want)
			if diff == "" {
				ours = slices.Delete(ours, i, i+1)
				found = true
				break
			}
			if best == "" || len(diff) < len(best) {
				best = diff
			}
		}
		if !found {
			return best
		}
	}
	return ""
}

// needsIdentity says that we rightly send nothing of an event: the partner
// documents an identity that it lacks, and we say so.
func needsIdentity(d destination.Destination, whyNot []string) bool {
	return !slices.ContainsFunc(whyNot, func(why string) bool {
		return !strings.HasPrefix(
			why, string(destination.MissingIdentity))
	}) &&
		slices.ContainsFunc(d.Info.Differences, func(diff destination.Difference) bool {
			return strings.Contains(diff.What, "rejected as "+string(destination.MissingIdentity))
		})
}

// itemsOf takes the items out of a request: an array, an envelope's array, a
// form's JSON, or the body itself.
func itemsOf(d destination.Destination, rawURL, auth string, body []byte) []sentItem {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil
	}
	item := func(v any) sentItem {
		m, ok := v.(map[string]any)
		if !ok {
			m = map[string]any{"": v}
		}
		return sentItem{u.Host, auth, m}
	}
	var v any
	if json.Unmarshal(body, &v) != nil {
		form, err := url.ParseQuery(string(body))
		if err != nil || len(form) == 0 {
			return []sentItem{item(string(body))}
		}
		if data := form.Get("data"); data != "" && json.Unmarshal([]byte(data), &v) == nil {
			return itemsOf(d, rawURL, auth, []byte(data))
		}
		m := map[string]any{}
		for k := range form {
			var inner any
			if json.Unmarshal([]byte(form.Get(k)), &inner) == nil {
				if list, ok := inner.([]any); ok && len(list) == 1 {
					inner = list[0] // where the partner takes one or many
				}
				m[k] = inner
			} else {
				m[k] = form.Get(k)
			}
		}
		return []sentItem{item(m)}
	}
	switch b := v.(type) {
	case []any:
		var out []sentItem
		for _, el := range b {
			out = append(out, item(el))
		}
		return out
	case map[string]any:
		if list, ok := b["batches"].([]any); ok { // of envelopes
			var out []sentItem
			for _, one := range list {
				if raw, err := json.Marshal(one); err == nil {
					out = append(out, itemsOf(d, rawURL, auth, raw)...)
				}
			}
			return out
		}
		if list, ok := jobItems(b); ok {
			var out []sentItem
			for _, el := range list {
				out = append(out, item(el))
			}
			return out
		}
		for _, path := range itemLists(d) {
			list, around, ok := listIn(b, path)
			if !ok {
				continue
			}
			var out []sentItem
			for _, el := range list {
				it := item(el)
				it.fields = maps.Clone(it.fields)
				for k, v := range around {
					if _, has := it.fields[k]; !has {
						it.fields[k] = v
					}
				}
				out = append(out, it)
			}
			return out
		}
		return []sentItem{item(b)}
	}
	return []sentItem{item(v)}
}

// itemLists are the paths at which a body may have a list of items: where the partner's own bodies have it, and where
// others do, since a partner may take one event in another form than many.
func itemLists(d destination.Destination) [][]string {
	var paths [][]string
	for _, a := range d.Actions {
		if f := a.Framing; f != nil && len(f.Path) > 0 {
			paths = append(paths, f.Path)
		}
	}
	for _, key := range []string{"batch", "events", "data", "attributes", "purchases", "user_aliases", "users", "inputs",
		"subscribers", "contacts"} {
		paths = append(paths, []string{key})
	}
	return paths
}

// listIn returns the list at a path, and what stands around it.
func listIn(doc map[string]any, path []string) (list []any, around map[string]any, ok bool) {
	around = maps.Clone(doc)
	key := path[0]
	delete(around, key)
	if len(path) == 1 {
		list, ok = doc[key].([]any)
		return list, around, ok
	}
	inner, is := doc[key].(map[string]any)
	if !is {
		return nil, nil, false
	}
	list, rest, ok := listIn(inner, path[1:])
	if len(rest) > 0 {
		around[key] = rest
	}
	return list, around, ok
}

// jobItems takes the items out of a JSON:API document for a bulk job, each in
// the form of a document of its own.
func jobItems(doc map[string]any) (items []any, ok bool) {
	data, _ := doc["data"].(map[string]any)
	kind, _ := data["type"].(string)
	if !strings.HasSuffix(kind, "-job") {
		return nil, false
	}
	attributes, _ := data["attributes"].(map[string]any)
	for _, v := range attributes {
		list, _ := v.(map[string]any)["data"].([]any)
		for _, el := range list {
			e := el.(map[string]any)
			a, _ := e["attributes"].(map[string]any)
			if events, ok := a["events"].(map[string]any); ok { // under their profile
				for _, one := range events["data"].([]any) {
					inner := one.(map[string]any)["attributes"].(map[string]any)
					inner["profile"] = a["profile"]
					items = append(items, map[string]any{"data": map[string]any{"type": "event", "attributes": inner}})
				}
				continue
			}
			items = append(items, map[string]any{"data": e})
		}
	}
	return items, true
}

// leftovers are Segment's own, of no meaning to the partner.
var leftovers = map[string]bool{"enable_batching": true, "batch_size": true, "use_batch_endpoint": true,
	"options": true}

// documented replaces times in Segment's fields by seconds where we say that
// the partner documents them so, and texts where we say that ours is another.
func documented(d destination.Destination, fields map[string]any) {
	for k, v := range fields {
		text, ok := v.(string)
		if !ok || !slices.ContainsFunc(d.Info.Differences, func(diff destination.Difference) bool {
			return strings.HasPrefix(diff.What, k+" is a Unix time in seconds")
		}) {
			continue
		}
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			fields[k] = float64(at.Unix())
		}
	}
	for _, diff := range d.Info.Differences {
		if k, _, ok := strings.Cut(diff.What, " is not sent, unless it is mapped"); ok {
			delete(fields, k)
		}
		k, v, ok := strings.Cut(diff.What, ` is "`)
		if own, _ := fields[k].(string); ok && strings.EqualFold(own, "segment") {
			fields[k], _, _ = strings.Cut(v, `"`)
		}
	}
}

func diffItems(d destination.Destination, got, want sentItem) string {
	documented(d, want.fields)
	if got.host != want.host {
		return fmt.Sprintf("host %s, Segment's is %s", got.host, want.host)
	}
	if want.auth != "" && !strings.HasSuffix(want.auth, " undefined") && got.auth != want.auth && !documentedField(
		d, "header Authorization", nil) {
		a, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(got.auth, "Basic "))
		b, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(want.auth, "Basic "))
		return fmt.Sprintf("credentials %q, Segment's are %q", a, b)
	}
	var out []string
	diffValues("", got.fields, want.fields, &out)
	return strings.Join(out, "; ")
}

func diffValues(path string, got, want any, out *[]string) {
	if w, ok := want.(map[string]any); ok {
		if g, ok := got.(map[string]any); ok {
			for _, k := range slices.Sorted(maps.Keys(w)) {
				if leftovers[k] {
					continue
				}
				x, has := g[k]
				if !has {
					*out = append(*out, path+"."+k+" is missing")
					continue
				}
				diffValues(path+"."+k, x, w[k], out)
			}
			return
		}
	}
	if !reflect.DeepEqual(got, want) {
		*out = append(*out, fmt.Sprintf("%s is %v, Segment's is %v", path, got, want))
	}
}
