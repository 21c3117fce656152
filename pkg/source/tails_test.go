package source_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/unicode"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/walk"
)

// growing is a file that somebody writes to while it is read again and again, each time as by another process.
type growing struct {
	path   string
	now    time.Time
	frozen []source.Object
	tails  map[int]source.Tail
	barren []int
	ended  source.Position
	at     source.Position
	good   []string
	bad    int // records that were cut off, and are not whole by now
}

// process reads what there is, up to so many records, as far as it is settled.
func (g *growing) process(t *testing.T, most int) {
	t.Helper()
	o := source.Options{From: []string{g.path}, Frozen: g.frozen, Tails: g.tails, Barren: g.barren, Ended: g.ended,
		Rest: time.Millisecond, Now: func() time.Time { return g.now }}
	o.Freeze = func(added []source.Object) error { g.frozen = append(slices.Clone(g.frozen), added...); return nil }
	o.NotedTail = func(entry int, tail source.Tail) error {
		g.tails = maps.Clone(g.tails)
		if g.tails == nil {
			g.tails = map[int]source.Tail{}
		}
		g.tails[entry] = tail
		return nil
	}
	o.NotedBarren = func(entry int) error { g.barren = append(g.barren, entry); return nil }
	ended := g.ended
	o.NotedEnd = func(end source.Position) error { ended = end; return nil }
	s, err := source.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, n := range s.Completed() {
		g.bad -= n
	}
	n := 0
	for c, err := range s.Chunks(t.Context(), g.at, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			if n++; n > most {
				return
			}
			g.at = r.End
			if r.Err != nil || event.Valid(r.Raw) != nil {
				g.bad++
			} else {
				g.good = append(g.good, string(r.Raw))
			}
		}
	}
	g.ended = ended
	var again []string
	for c, err := range s.Chunks(t.Context(), source.Position{}, source.Again) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			if r.Err == nil && event.Valid(r.Raw) == nil {
				again = append(again, string(r.Raw))
			}
		}
	}
	if !slices.Equal(again, g.good) {
		t.Fatalf("read again: %d records, %d before\n%s\n%s", len(again), len(g.good), again, g.good)
	}
}

// write has the file be so long, and as old.
func (g *growing) write(t *testing.T, data []byte, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(g.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	at := g.now.Add(-age)
	if err := os.Chtimes(g.path, at, at); err != nil {
		t.Fatal(err)
	}
}

// TestTails: a file that is cut off anywhere while it is being written gives each record once, and whole, when it has
// grown, however it is written and compressed, and wherever the processes that read it stop.
//
// Each shape is met in each compression once; FANFOLD_TAILS=5000 go test -run TestTails ./pkg/source is the long form,
// of as many files.
func TestTails(t *testing.T) {
	t.Parallel()
	shapes := []string{"lines", "rows", "array", "documents", "glued", "envelope"}
	codecs := []string{"plain", "gzip", "zstd", "lz4", "xz", "snappy", "UTF-16"}
	cases := len(shapes) * len(codecs)
	if s := os.Getenv("FANFOLD_TAILS"); s != "" {
		var err error
		if cases, err = strconv.Atoi(s); err != nil {
			t.Fatalf("FANFOLD_TAILS: %v", err)
		}
	}
	for seed := range cases {
		rng := rand.New(rand.NewPCG(uint64(seed), 23))
		shape, codec := shapes[seed%len(shapes)], codecs[seed/len(shapes)%len(codecs)]
		t.Run(fmt.Sprintf("%d-%s-%s", seed, shape, codec), func(t *testing.T) {
			t.Parallel()
			text := textOf(rng, shape)
			data := packedIn(t, rng, codec, text)
			g := &growing{path: filepath.Join(t.TempDir(), "in"), now: time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)}
			g.write(t, []byte(text), time.Hour)
			want := mustRead(t, open(t, source.Options{From: []string{g.path}}), source.Position{})
			var cuts []int
			for range rng.IntN(6) {
				cuts = append(cuts, 1+rng.IntN(len(data)))
			}
			slices.Sort(cuts)
			for _, n := range cuts {
				age := time.Duration(0)
				if shape == "rows" && codec == "plain" && isCutRow(text[:n]) || shape == "lines" {
					age = time.Duration(rng.IntN(2)) * time.Hour // that it is cut shows
				}
				g.write(t, data[:n], age)
				for range 1 + rng.IntN(2) {
					g.process(t, rng.IntN(30))
				}
				// Whoever does not finish before the file grows finishes later; that is not of interest here.
				g.process(t, 1<<30)
			}
			g.write(t, data, time.Hour)
			g.process(t, 1<<30)
			g.process(t, 1<<30)
			var texts []string
			late := strings.NewReplacer(`"sentAt":"2024-05-01T10:00:00Z",`, "") // too late for what was read before it
			for _, r := range want {
				texts = append(texts, late.Replace(r.raw))
			}
			for i, text := range g.good {
				g.good[i] = late.Replace(text)
			}
			if !slices.Equal(g.good, texts) {
				t.Errorf("cut at %v of %d: read %d records, want %d\n%s\n%s", cuts, len(data), len(g.good), len(texts),
					strings.Join(g.good, "\n"), strings.Join(texts, "\n"))
			}
			if g.bad != 0 {
				t.Errorf("%d records are left that were cut off", g.bad)
			}
		})
	}
}

// textOf is an archive of a few records.
func textOf(rng *rand.Rand, shape string) string {
	var b strings.Builder
	if shape == "rows" {
		b.WriteString("type,event,messageId,note\n")
	}
	n := 3 + rng.IntN(20)
	for i := range n {
		note := []string{"", "x", "two words", "a, comma", "a \"quote\"", "two\nlines", "\u00fc"}[rng.IntN(7)]
		switch shape {
		case "rows":
			cell := strings.ReplaceAll(note, `"`, `""`)
			if strings.ContainsAny(note, "\n,\"") || rng.IntN(2) == 0 {
				cell = `"` + cell + `"`
			}
			fmt.Fprintf(&b, "track,E,m%d,%s\n", i, cell)
		case "lines":
			fmt.Fprintf(&b, `{"type":"track","event":"E","messageId":"m%d","note":%q}`+"\n", i, note)
		case "documents":
			fmt.Fprintf(&b, "{\n \"type\":\"track\",\n \"event\":\"E\", \"messageId\":\"m%d\", \"note\":%q\n}\n", i, note)
		case "glued":
			fmt.Fprintf(&b, `{"type":"track","event":"E","messageId":"m%d","note":%q}`, i, note)
		default:
			sep := ","
			switch {
			case i == 0 && shape == "envelope":
				sep = `{"context":{"ip":"1"},"batch":[`
			case i == 0:
				sep = "["
			}
			fmt.Fprintf(&b, `%s{"type":"track","event":"E","messageId":"m%d","note":%q}`, sep, i, note)
		}
	}
	switch shape {
	case "array":
		b.WriteString("]\n")
	case "envelope":
		b.WriteString(`],"sentAt":"2024-05-01T10:00:00Z"}` + "\n")
	}
	if text := b.String(); rng.IntN(2) == 0 {
		return strings.TrimSuffix(text, "\n")
	}
	return b.String()
}

// packedIn is a text in one or several streams one behind the other.
func packedIn(t *testing.T, rng *rand.Rand, codec, text string) (data []byte) {
	t.Helper()
	if codec == "UTF-16" {
		out, err := unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(out)
	}
	for len(text) > 0 {
		n := len(text)
		if codec != "xz" && rng.IntN(3) > 0 {
			n = 1 + rng.IntN(n)
		}
		data = append(data, pack(t, codec, []byte(text[:n]))...)
		text = text[n:]
	}
	return data
}

// isCutRow says that a table ends in a row that shows that it is not whole: a cell is missing, or a quote.
func isCutRow(text string) bool {
	_, text, ok := strings.Cut(text, "\n") // the header
	quoted, commas, begun := false, 0, false
	for _, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			commas++
		case c == '\n' && !quoted:
			commas, begun = 0, false
			continue
		}
		begun = true
	}
	return ok && (quoted || begun && commas < 3)
}

// TestFollowedTails has files written in two pieces into a folder that is followed, cut at every place: nothing is read
// before it is whole, and nothing is bad, or read twice.
//
// Of the places between two brackets, commas or line ends one in six is cut; FANFOLD_WALKS=all go test -run
// TestFollowedTails ./pkg/source cuts at all of them.
func TestFollowedTails(t *testing.T) {
	t.Parallel()
	w := walk.New(t, os.Getenv("FANFOLD_WALKS"), os.Getenv("FANFOLD_SEED"))
	for shape, text := range map[string]string{
		"indented":   "{\n \"messageId\":\"m1\",\n \"type\":\"track\"\n}\n{\n \"messageId\":\"m2\",\n \"type\":\"track\"\n}\n",
		"array":      `[{"type":"track","messageId":"m1"},{"type":"track","messageId":"m2"}]`,
		"envelope":   `{"batch":[{"type":"track","messageId":"m1"},{"type":"track","messageId":"m2"}],"sentAt":"2024-05-01"}`,
		"no end":     `{"type":"track","messageId":"m1"}` + "\n" + `{"type":"track","messageId":"m2"}`,
		"gzip":       string(pack(t, "gzip", []byte(`{"type":"track","messageId":"m1"}`+"\n"+`{"type":"track","messageId":"m2"}`+"\n"))),
		"gzip of []": string(pack(t, "gzip", []byte(`[{"type":"track","messageId":"m1"},{"type":"track","messageId":"m2"}]`))),
	} {
		for cut := 1; cut < len(text); cut++ {
			if !strings.ContainsAny(text[cut-1:cut+1], "[]{},\n") && !w.Takes(0, cut, 6) {
				continue
			}
			path := filepath.Join(t.TempDir(), "in")
			wake := make(chan struct{})
			clock := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
			write := func(data string) {
				f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
				if err == nil {
					_, err = f.WriteString(data)
				}
				if err = errors.Join(err, f.Close()); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, clock.Add(-time.Hour), clock.Add(-time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			write(text[:cut])
			s := open(t, source.Options{From: []string{filepath.Dir(path)}, Follow: &source.Follow{Wake: wake},
				Rest: time.Second, Now: func() time.Time { return clock }}).(*source.Input)
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan string)
			go func() {
				defer close(got)
				for c, err := range s.Chunks(ctx, source.Position{}, source.First) {
					if err != nil {
						if ctx.Err() == nil {
							got <- err.Error()
						}
						return
					}
					for _, r := range c.Records {
						if r.Err != nil || event.Valid(r.Raw) != nil {
							got <- fmt.Sprintf("%s %v", r.Raw, r.Err)
						} else {
							got <- idsOf([]rec{{raw: string(r.Raw)}})
						}
					}
				}
			}()
			wake <- struct{}{}
			wake <- struct{}{}
			write(text[cut:])
			var ids []string
			for len(ids) < 2 || len(s.Held()) > 0 {
				select {
				case wake <- struct{}{}:
				case id := <-got:
					ids = append(ids, id)
				}
			}
			wake <- struct{}{}
			wake <- struct{}{}
			cancel()
			for id := range got {
				ids = append(ids, id)
			}
			if strings.Join(ids, " ") != "m1 m2" || s.Failures() != nil {
				t.Fatalf("%s cut at %d of %d: %v, %v", shape, cut, len(text), ids, s.Failures())
			}
			s.Close()
		}
	}
}
