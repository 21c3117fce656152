package selection_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/normalize"
	"github.com/fanfold/fanfold/pkg/selection"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/suppress"
	"github.com/fanfold/fanfold/pkg/transform"
)

const archive = `{"type":"track","event":"A","userId":"u1","messageId":"m1","timestamp":"2024-03-10T00:00:00Z"}
{"type":"track","event":"B","userId":"u2","messageId":"m2","timestamp":"2024-03-11T00:00:00Z"}
{"broken
{"event":"no type"}
[1]
{"type":"Track","event":"A","userId":"gone","timestamp":1710115200}
{"type":"track","event":"A","userId":"u3"}
{"type":"page","name":"Home","userId":"","anonymousId":"a1","timestamp":"2024-03-12T00:00:00Z"}
{"type":"track","event":"A","userId":"u4","timestamp":"2024-03-13T00:00:00Z"}
`

func open(t *testing.T, text string) *source.Input {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := source.Open(t.Context(), source.Options{From: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

func fql(t *testing.T, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func steps(t *testing.T, text string) *transform.Pipeline {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	list, err := transform.Parse(doc.Content[0])
	if err != nil {
		t.Fatal(err)
	}
	p, err := transform.Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func day(d int) time.Time { return time.Date(2024, 3, d, 0, 0, 0, 0, time.UTC) }

// verdicts are what becomes of each record, in short, and the ends of the records.
func verdicts(
	t *testing.T, s *selection.Selection, src source.Source, from journal.Mark,
) (out []string, recs []selection.Record) {
	t.Helper()
	for r, err := range s.Records(context.Background(), src, from) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Bad != nil:
			out = append(out, "!"+string(r.Bad.Reason))
		case r.Dropped != "":
			out = append(out, "-"+r.Dropped)
		default:
			name := r.Event.Name().Text() + r.Event.Root().Get("name").Text() + r.Event.Root().Get("n").Text()
			if r.Suppressed {
				name += " suppressed"
			}
			out = append(out, name)
		}
		r.Event = nil // of this turn only
		recs = append(recs, r)
	}
	return out, recs
}

func TestVerdicts(t *testing.T) {
	gone, err := suppress.Read(map[string]io.Reader{"list": strings.NewReader("gone\n")})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    selection.Selection
		want string
	}{
		"everything": {selection.Selection{}, "A B !syntax !not_an_event !not_an_event A A Home A"},
		"a range": {selection.Selection{Since: day(11), Until: day(13)},
			"-time_range B !syntax !not_an_event !not_an_event A -time_range Home -time_range"},
		"from a day on": {selection.Selection{Since: day(12)},
			"-time_range -time_range !syntax !not_an_event !not_an_event -time_range -time_range Home A"},
		"a filter": {selection.Selection{Filter: fql(t, `type = "track" and event = "A"`), Rules: &normalize.Rules{}},
			"A -filter !syntax !not_an_event !not_an_event A A -filter A"},
		"a filter of what was read": {selection.Selection{Filter: fql(t, `type = "track"`)},
			"A B !syntax !not_an_event !not_an_event -filter A -filter A"},
		"suppressed": {selection.Selection{Suppress: gone, Rules: &normalize.Rules{}},
			"A B !syntax !not_an_event !not_an_event A suppressed A Home A"},
		"undated": {selection.Selection{SkipUndated: true, Rules: &normalize.Rules{}},
			"A B !syntax !not_an_event !not_an_event A -no_time Home A"},
		"undated is now": {selection.Selection{SkipUndated: true, Rules: &normalize.Rules{Undated: day(20)}, Since: day(20)},
			"-time_range -time_range !syntax !not_an_event !not_an_event -time_range A -time_range -time_range"},
		"a limit counts events": {selection.Selection{Limit: 3}, "A B !syntax !not_an_event !not_an_event A"},
		"a limit behind a filter": {selection.Selection{Limit: 2, Filter: fql(t, `event = "A"`)},
			"A -filter !syntax !not_an_event !not_an_event A"},
		"a step drops, after the limit has counted": {selection.Selection{Limit: 2, Steps: steps(t, `[drop: event = "B"]`)},
			"A -transform"},
		"a step makes somebody of nobody": {selection.Selection{Suppress: gone, Limit: 1,
			Steps: steps(t, `[set: {userId: gone}]`)}, "A suppressed"},
		"a step writes what rules bring to form": {selection.Selection{Limit: 1, Rules: &normalize.Rules{},
			Steps: steps(t, `[set: {userId: " ", n: x}]`)}, "Ax"},
	} {
		t.Run(name, func(t *testing.T) {
			src := open(t, archive)
			all, recs := verdicts(t, &c.s, src, journal.Mark{})
			if got := strings.Join(all, " "); got != c.want {
				t.Fatalf("%s\nwant %s", got, c.want)
			}
			// Whoever goes on from any record decides the same of the rest.
			mark := journal.Mark{Dropped: map[string]uint64{}}
			for i, r := range recs {
				mark.Ordinal, mark.Position = r.Ordinal+1, r.End
				if r.Bad != nil {
					mark.Bad++
				} else if r.Dropped != "" {
					mark.Dropped[r.Dropped]++
				}
				rest, _ := verdicts(t, &c.s, src, mark)
				if !slices.Equal(rest, all[i+1:]) && len(rest)+len(all[i+1:]) > 0 {
					t.Errorf("after record %d: %q, want %q", i+1, rest, all[i+1:])
				}
				if full := c.s.Limit > 0 && i == len(recs)-1; c.s.Full(mark) != full {
					t.Errorf("after record %d: full is %v", i+1, !full)
				}
			}
		})
	}
}

// TestPlaces: a record knows where it lies, and an event without an id has one that is its place.
func TestPlaces(t *testing.T) {
	src := open(t, archive)
	_, recs := verdicts(t, &selection.Selection{}, src, journal.Mark{})
	ids := map[string]bool{}
	for i, r := range recs {
		line := strings.Split(archive, "\n")[i]
		if r.Line != int64(i+1) || r.Ordinal != uint64(i) || archive[r.Offset:r.Offset+int64(len(line))] != line {
			t.Errorf("record %d: line %d, ordinal %d, offset %d", i, r.Line, r.Ordinal, r.Offset)
		}
		ids[selection.Fallback(src.Manifest(), r.End)] = true
	}
	if len(ids) != len(recs) {
		t.Errorf("%d ids for %d records", len(ids), len(recs))
	}
	id := selection.Fallback(src.Manifest(), source.Position{Offset: 5, Element: 2})
	if !strings.HasSuffix(id, "-5-2") {
		t.Error(id)
	}
}

// TestSeen: types are told only where none is known, and only so many.
func TestSeen(t *testing.T) {
	for text, want := range map[string][]string{
		archive: nil,
		`{"type":"PushEvent"}` + "\n" + `{"type":"WatchEvent"}` + "\n" + `{"type":"PushEvent"}`: {"PushEvent", "WatchEvent"},
		`{"type":"PushEvent"}` + "\n" + `{"type":"track","event":"A"}`:                          nil,
		`{"a":1}`: nil,
	} {
		s := selection.Selection{Seen: &selection.Seen{}, Rules: &normalize.Rules{}}
		verdicts(t, &s, open(t, text), journal.Mark{})
		if got := s.Seen.Foreign(); !slices.Equal(got, want) {
			t.Errorf("%.60s: %q", text, got)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `{"type":"x%d%s"}`+"\n", i, strings.Repeat("y", 1000))
	}
	s := selection.Selection{Seen: &selection.Seen{}}
	verdicts(t, &s, open(t, many.String()), journal.Mark{})
	if got := s.Seen.Foreign(); len(got) > 20 || len(got[0]) > 100 {
		t.Errorf("%d types of %d bytes are kept", len(got), len(got[0]))
	}
	var nobody *selection.Seen
	if nobody.Foreign() != nil {
		t.Error("nobody has seen something")
	}
}

// TestWatch is told what steps make of an event.
func TestWatch(t *testing.T) {
	var seen []string
	s := selection.Selection{Steps: steps(t, `[set: {n: x}, drop: event = "B"]`), Limit: 2,
		Watch: func(ev *event.Event, _ source.Position, _ transform.Applied) { seen = append(seen, ev.Name().Text()) }}
	verdicts(t, &s, open(t, archive), journal.Mark{})
	if len(seen) == 0 || seen[0] != "A" {
		t.Errorf("told of %q", seen)
	}
}
