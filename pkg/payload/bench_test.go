package payload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/refcase"
)

// benchFields are twenty typical fields of an analytics destination.
func benchFields() []Field {
	f := func(key string, t Type, v mapping.Value) Field {
		return Field{Key: key, Type: t, Default: v}
	}
	return []Field{
		f("event", TypeString, mapping.Path("$.event")),
		f("user_id", TypeString, mapping.Path("$.userId")),
		f("distinct_id", TypeString, mapping.If(mapping.Path("$.userId"), mapping.Path("$.userId"),
			mapping.Path("$.anonymousId"))),
		f("anonymous_id", TypeString, mapping.Path("$.anonymousId")),
		f("insert_id", TypeString, mapping.Path("$.messageId")),
		f("time", TypeDatetime, mapping.Path("$.timestamp")),
		f("ip", TypeString, mapping.Path("$.context.ip")),
		f("locale", TypeString, mapping.Path("$.context.locale")),
		f("user_agent", TypeString, mapping.Path("$.context.userAgent")),
		f("page_url", TypeString, mapping.Path("$.context.page.url")),
		f("page_title", TypeString, mapping.Path("$.context.page.title")),
		f("page_path", TypeString, mapping.Path("$.context.page.path")),
		f("referrer", TypeString, mapping.Path("$.context.page.referrer")),
		f("library", TypeString, mapping.Template("{{context.library.name}} {{context.library.version}}")),
		f("timezone", TypeString, mapping.Path("$.context.timezone")),
		f("utm_source", TypeString, mapping.Path("$.context.campaign.source")),
		f("utm_medium", TypeString, mapping.Path("$.context.campaign.medium")),
		f("name", TypeString, mapping.Path("$.name")),
		f("os", TypeString, mapping.Path("$.context.os.name")),
		f("properties", TypeObject, mapping.Path("$.properties")),
	}
}

func benchEvents(tb testing.TB) (raws [][]byte, size int) {
	tb.Helper()
	g := eventgen.New(eventgen.Options{Seed: 1})
	for range 1000 {
		raw := bytes.TrimSpace(g.Append(nil))
		raws = append(raws, raw)
		size += len(raw)
	}
	return raws, size
}

// BenchmarkMapping sets twenty fields side by side: indexing an event alone,
// indexing and mapping it, and the same mapping with encoding/json and maps.
func BenchmarkMapping(b *testing.B) {
	raws, size := benchEvents(b)
	program, err := Compile(benchFields(), mapping.Value{})
	if err != nil {
		b.Fatal(err)
	}
	m, err := mapping.Compile(Defaults(benchFields()))
	if err != nil {
		b.Fatal(err)
	}
	perEvent := func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(size / len(raws)))
	}
	b.Run("index", func(b *testing.B) {
		perEvent(b)
		var p event.Parser
		for i := 0; b.Loop(); i++ {
			p.Reset()
			if _, err := p.Parse(raws[i%len(raws)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("index+mapping", func(b *testing.B) {
		perEvent(b)
		var p event.Parser
		var r Resolver
		var out []byte
		for i := 0; b.Loop(); i++ {
			p.Reset()
			ev, err := p.Parse(raws[i%len(raws)])
			if err != nil {
				b.Fatal(err)
			}
			if out, _, err = m.Append(&r.Resolver, out[:0], ev.Root()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("index+fields", func(b *testing.B) {
		perEvent(b)
		var p event.Parser
		var r Resolver
		for i := 0; b.Loop(); i++ {
			p.Reset()
			ev, err := p.Parse(raws[i%len(raws)])
			if err != nil {
				b.Fatal(err)
			}
			if _, err := program.Run(&r, ev.Root()); err != nil {
				b.Fatal(err)
			}
		}
	})
	events := make([]*event.Event, len(raws))
	for i, raw := range raws {
		if events[i], err = event.Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("mapping", func(b *testing.B) {
		perEvent(b)
		var r Resolver
		var out []byte
		for i := 0; b.Loop(); i++ {
			if out, _, err = m.Append(&r.Resolver, out[:0], events[i%len(events)].Root()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fields", func(b *testing.B) {
		perEvent(b)
		var r Resolver
		for i := 0; b.Loop(); i++ {
			if _, err := program.Run(&r, events[i%len(events)].Root()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		perEvent(b)
		for i := 0; b.Loop(); i++ {
			if _, err := mapWithMaps(raws[i%len(raws)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// mapWithMaps is the same mapping as one would first write it.
func mapWithMaps(raw []byte) ([]byte, error) {
	var e map[string]any
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	at := func(m map[string]any, key string) map[string]any {
		sub, _ := m[key].(map[string]any)
		return sub
	}
	out := map[string]any{}
	set := func(key string, v any) {
		if v != nil && v != "" {
			out[key] = v
		}
	}
	ctx := at(e, "context")
	page, campaign, library := at(ctx, "page"), at(ctx, "campaign"), at(ctx, "library")
	set("event", e["event"])
	set("user_id", e["userId"])
	if e["userId"] != nil {
		set("distinct_id", e["userId"])
	} else {
		set("distinct_id", e["anonymousId"])
	}
	set("anonymous_id", e["anonymousId"])
	set("insert_id", e["messageId"])
	set("time", e["timestamp"])
	set("ip", ctx["ip"])
	set("locale", ctx["locale"])
	set("user_agent", ctx["userAgent"])
	set("page_url", page["url"])
	set("page_title", page["title"])
	set("page_path", page["path"])
	set("referrer", page["referrer"])
	text := func(v any) any {
		if v == nil {
			return ""
		}
		return v
	}
	set("library", fmt.Sprintf("%v %v", text(library["name"]), text(library["version"])))
	set("timezone", ctx["timezone"])
	set("utm_source", campaign["source"])
	set("utm_medium", campaign["medium"])
	set("name", e["name"])
	set("os", at(ctx, "os")["name"])
	set("properties", e["properties"])
	return json.Marshal(out)
}

// The baseline must do the same work, or comparing means nothing.
func TestBaselineAgrees(t *testing.T) {
	raws, _ := benchEvents(t)
	program, err := Compile(benchFields(), mapping.Value{})
	if err != nil {
		t.Fatal(err)
	}
	var r Resolver
	for _, raw := range raws[:200] {
		ev, err := event.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := program.Run(&r, ev.Root())
		if err != nil {
			t.Fatal(err)
		}
		want, err := mapWithMaps(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := refcase.Same(want, got.AppendJSON(nil)); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	}
}

// A steady stream of events through paths, @if and templates must not
// allocate.
func TestNoAllocations(t *testing.T) {
	raws, _ := benchEvents(t)
	program, err := Compile(benchFields(), mapping.Value{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mapping.Compile(Defaults(benchFields()))
	if err != nil {
		t.Fatal(err)
	}
	events := make([]*event.Event, len(raws))
	for i, raw := range raws {
		if events[i], err = event.Parse(raw); err != nil {
			t.Fatal(err)
		}
	}
	var r Resolver
	var out []byte
	n := testing.AllocsPerRun(5, func() {
		for _, ev := range events {
			if _, err := program.Run(&r, ev.Root()); err != nil {
				t.Fatal(err)
			}
			if out, _, err = m.Append(&r.Resolver, out[:0], ev.Root()); err != nil {
				t.Fatal(err)
			}
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for %d events", n, len(events))
	}
}
