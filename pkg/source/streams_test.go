package source_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"golang.org/x/text/encoding/unicode"

	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/walk"
)

// arrangement is a way in which a stream may arrange its records.
type arrangement struct {
	name            string
	head, sep, tail string
	record          func(id string) string
	pack            func(t testing.TB, text string, end bool) []byte // end: it is the whole stream
	options         source.SpoolOptions
	whole           bool // nothing of it is read before its end is there
}

func asEvent(id string) string {
	return `{"type":"track","event":"E","userId":"u","messageId":"` + id + `"}`
}

func asRow(comma string) func(string) string {
	return func(id string) string {
		return strings.Join([]string{"track", `"E, ` + "\n" + `F"`, "u", id, "z"}, comma)
	}
}

// flusher is an encoder that can be made to write what it has.
type flusher interface {
	io.WriteCloser
	Flush() error
}

func packedBy(make func(io.Writer) flusher) func(testing.TB, string, bool) []byte {
	return func(t testing.TB, text string, end bool) []byte {
		var buf bytes.Buffer
		w := make(&buf)
		_, err := io.WriteString(w, text)
		if err == nil && end {
			err = w.Close()
		} else if err == nil {
			err = w.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
}

func arrangements(t testing.TB) []arrangement {
	const columns = "type,event,userId,messageId,properties.z"
	mapped := shape(t, "clicks", "", `{"type":"track","event":"E","messageId":{"@path":"$.key"}}`, "key", "at")
	all := []arrangement{
		{name: "lines", sep: "\n", record: asEvent},
		{name: "lines of batches", sep: "\n", record: func(id string) string { return `{"batch":[` + asEvent(id) + `]}` }},
		{name: "lines of a shape", sep: "\n", options: source.SpoolOptions{Shapes: []source.Shape{mapped}},
			record: func(id string) string { return `{"at":1,"key":"` + id + `"}` }},
		{name: "documents", sep: "\n", record: func(id string) string {
			return strings.ReplaceAll(asEvent(id), ",", ",\n  ")
		}},
		{name: "glued documents", record: asEvent},
		{name: "an array of lines", head: "[\n", sep: ",\n", tail: "\n]\n", record: asEvent},
		{name: "an array", head: "[", sep: ",", tail: "]", record: asEvent},
		{name: "an envelope", head: `{"context":{"ip":"1"},"batch":[` + "\n", sep: ",\n", tail: "]}", record: asEvent,
			whole: true}, // it is read only once it is known what it says about all its events
		{name: "csv", head: columns + "\n", sep: "\n", record: asRow(",")},
		{name: "tsv", head: strings.ReplaceAll(columns, ",", "\t") + "\n", sep: "\n", record: asRow("\t")},
		{name: "csv of a spreadsheet", head: "\xef\xbb\xbfsep=;\r\n" + strings.ReplaceAll(columns, ",", ";") + "\r\n",
			sep: "\r\n", record: asRow(";")},
		{name: "csv with columns", sep: "\n", record: asRow(","),
			options: source.SpoolOptions{Columns: strings.Split(columns, ",")}},
		{name: "csv in Latin-1", head: columns + ",properties.é\n", sep: "\n",
			options: source.SpoolOptions{Encoding: "latin1"},
			record:  func(id string) string { return asRow(",")(id) + ",\xe9" }},
		{name: "UTF-16", sep: "\n", record: asEvent, pack: func(t testing.TB, text string, _ bool) []byte {
			out, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(text)
			if err != nil {
				t.Fatal(err)
			}
			return []byte(out)
		}},
		{name: "tar", sep: "\n", record: asEvent, whole: true, pack: func(t testing.TB, text string, _ bool) []byte {
			var buf bytes.Buffer
			w := tar.NewWriter(&buf)
			err := w.WriteHeader(&tar.Header{Name: "a.jsonl", Size: int64(len(text)), Mode: 0o600})
			if err == nil {
				_, err = io.WriteString(w, text)
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			return buf.Bytes()
		}},
		{name: "xz", sep: "\n", record: asEvent, whole: true, pack: func(t testing.TB, text string, _ bool) []byte {
			return pack(t, "xz", []byte(text))
		}},
	}
	for name, make := range map[string]func(io.Writer) flusher{
		"gzip":   func(w io.Writer) flusher { return gzip.NewWriter(w) },
		"lz4":    func(w io.Writer) flusher { return lz4.NewWriter(w) },
		"snappy": func(w io.Writer) flusher { return snappy.NewBufferedWriter(w) },
		"zstd": func(w io.Writer) flusher {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
	} {
		a := arrangement{name: name, sep: "\n", record: asEvent, pack: packedBy(make), whole: name == "lz4"}
		table := a
		table.name, table.head, table.record = "csv in "+name, columns+"\n", asRow(",")
		all = append(all, a, table)
	}
	return all
}

// bytes are those of a whole stream, or of one that was stopped behind so many records, or in the middle of the next.
func (a *arrangement) bytes(t testing.TB, letter string, from, to int, end, torn bool) []byte {
	var records []string
	for i := from; i <= to; i++ {
		records = append(records, a.record(fmt.Sprintf("%s%d", letter, i)))
	}
	text := a.head + strings.Join(records, a.sep)
	switch {
	case end:
		text += a.tail
	case len(records) > 0:
		text += a.sep
	}
	if next := a.record(letter + "9"); torn {
		text += next[:len(next)*2/3]
	}
	if a.pack != nil {
		return a.pack(t, text, end)
	}
	return []byte(text)
}

var idIn = regexp.MustCompile(`"messageId":"(\w+)"`)

// idsOf lists what was read: the ids of events, and the reasons of bad records.
func idsOf(rs []rec) string {
	var out []string
	for _, r := range rs {
		switch m := idIn.FindStringSubmatch(r.raw); {
		case r.reason != "":
			out = append(out, "!"+string(r.reason))
		case m == nil:
			out = append(out, "?"+r.raw)
		default:
			out = append(out, m[1])
		}
	}
	return strings.Join(out, " ")
}

// stopped is a process that is given the beginning of a stream, reads so many records of it, and is stopped. It returns
// the positions behind them.
func stopped(
	t testing.TB, dir string, given []byte, o source.SpoolOptions, n int, ended bool,
) (ends []source.Position) {
	t.Helper()
	pr, pw := io.Pipe()
	go func() {
		pw.Write(given)
		if ended {
			pw.Close()
		}
	}()
	s := spool(t, dir, pr, o)
	for c, err := range s.Chunks(context.Background(), source.Position{}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			ends = append(ends, r.End)
		}
		if len(ends) >= n {
			break
		}
	}
	s.Close()
	pr.Close()
	return ends
}

// TestStreamsFollow gives a process that was stopped another stream, of every arrangement that is read: the same one
// goes on where it was, another one follows it and is read for itself, and nothing of either is lost or read twice.
//
// Each arrangement meets every next stream once, torn or not and from one of the places: which, the seed says, so that
// any two of these meet. FANFOLD_WALKS=all go test -run TestStreamsFollow ./pkg/source walks them all.
func TestStreamsFollow(t *testing.T) {
	all := arrangements(t)
	w := walk.New(t, os.Getenv("FANFOLD_WALKS"), os.Getenv("FANFOLD_SEED"))
	for i, a := range all {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for l, torn := range []bool{false, true} {
				if torn && a.whole {
					continue
				}
				old := "a1 a2 a3"
				if torn {
					old += " !truncated"
				}
				other := all[(i+1)%len(all)]
				for k, c := range []struct {
					name string
					next []byte
					want string
				}{
					{"the same and more", a.bytes(t, "a", 1, 6, true, false), "a1 a2 a3 a4 a5 a6"},
					{"a new one", a.bytes(t, "b", 1, 3, true, false), old + " b1 b2 b3"},
					{"nothing", nil, old},
					{"another kind", other.bytes(t, "c", 1, 3, true, false), old + " c1 c2 c3"},
				} {
					if a.whole && c.name == "the same and more" {
						c.next, c.want = a.bytes(t, "a", 1, 3, true, false), "a1 a2 a3"
					}
					o := a.options
					if c.name == "another kind" {
						o.Encoding, o.Columns = "", nil
						if a.options.Encoding != "" || a.options.Columns != nil || other.options.Columns != nil ||
							other.options.Encoding != "" {
							continue // one command has the options of one of them
						}
						o.Shapes = append(slices.Clone(o.Shapes), other.options.Shapes...)
					}
					for j, done := range []int{0, 3} {
						if !w.Takes(0, i+k+j, 2) || !a.whole && !w.Takes(1, (i+k)/2+l, 2) {
							continue
						}
						t.Run(fmt.Sprintf("%s, torn %v, behind %d", c.name, torn, done), func(t *testing.T) {
							dir := t.TempDir()
							ends := stopped(t, dir, a.bytes(t, "a", 1, 3, a.whole, torn), o, 3, a.whole)
							var from source.Position
							if done > 0 {
								from = ends[done-1]
							}
							want := strings.TrimSpace(strings.TrimPrefix(c.want, strings.Join(strings.Fields(c.want)[:done], " ")))
							o.Need, o.Reached = from, from
							for range 2 { // the process that reads it all is killed, and another one does it again
								s := spool(t, dir, bytes.NewReader(c.next), o)
								got := mustRead(t, s, from)
								if idsOf(got) != want {
									t.Fatalf("read %s\nwant %s\nof %q", idsOf(got), want, c.next)
								}
								for i, r := range got { // a lane that comes later reads the same
									if again := mustRead(t, s, r.end); fmt.Sprint(again) != fmt.Sprint(got[i+1:]) {
										t.Fatalf("behind %v: %v\nwant %v", r.end, again, got[i+1:])
									}
								}
								s.Close()
							}
						})
					}
				}
			}
		})
	}
}

// TestLiveEnvelopes: of a live stream of envelopes, one a line, only the first may have come when
// it has to be known what
// the stream is, and everything in it is passed, and released, line by line.
func TestLiveEnvelopes(t *testing.T) {
	line := func(ids ...string) string {
		var all []string
		for _, id := range ids {
			all = append(all, asEvent(id))
		}
		return `{"batch":[` + strings.Join(all, ",") + `],"sentAt":"2024-05-01T10:00:00Z"}` + "\n"
	}
	for _, next := range []string{line("a1", "a2") + line("b1"), line("b1")} {
		dir, o := t.TempDir(), source.SpoolOptions{SegmentBytes: 1}
		ends := stopped(t, dir, []byte(line("a1", "a2")), o, 2, false)
		for i, want := range []string{"a2 b1", "b1"} {
			o.Need, o.Reached = ends[i], ends[i]
			s := spool(t, dir, strings.NewReader(next), o)
			if got := idsOf(mustRead(t, s, ends[i])); got != want {
				t.Errorf("behind %v: %s, want %s", ends[i], got, want)
			}
			s.Close()
		}
	}
	dir := t.TempDir()
	s := spool(t, dir, strings.NewReader(line("a1")+strings.Repeat(line("b1", "b2", "b3"), 20_000)),
		source.SpoolOptions{SegmentBytes: 1})
	end := mustRead(t, s, source.Position{})
	if err := s.Release(end[len(end)-1].end); err != nil {
		t.Fatal(err)
	}
	if left := s.OnDisk(); left > 1<<20 {
		t.Errorf("%d bytes are still on the disk", left)
	}
}

// TestTablesFollow gives a process that was stopped in a table what users pipe next: the header again or not, other
// columns, a header and nothing else, no table at all, and what is unclear, which is refused once and not for ever.
func TestTablesFollow(t *testing.T) {
	const head = "type,event,userId,messageId\n"
	old := head + "track,E,u,a1\ntrack,E,u,a2\n"
	for _, c := range []struct {
		name, format, old, next string
		want, how               string
		lines                   string // line numbers of what is new
		refused                 string
	}{
		{name: "header again", old: old, next: head + "track,E,u,b1\n", want: "a1 a2 b1", lines: "2"},
		{name: "no header", old: old, next: "track,E,u,b1\ntrack,E,u,b2\n", want: "a1 a2 b1 b2", lines: "1 2",
			how: "it has no header, so that its columns are those of the one before: type, event, userId, messageId"},
		{name: "no header, as csv", format: "csv", old: old, next: "track,E,u,b1\ntrack,E,u,b2\n", want: "a1 a2 b1 b2"},
		{name: "an event called name", old: old, next: "track,name,u,b1\n", want: "a1 a2 b1"},
		{name: "other columns", old: old, next: "messageId,type,event\nb1,track,E\n", want: "a1 a2 b1",
			how: "it is a table of 3 columns, read as table"},
		{name: "columns in another order", old: old, next: "messageId,userId,type,event\nb1,u,track,E\n", want: "a1 a2 b1"},
		{name: "another separator", old: old, next: "type;event;userId;messageId\ntrack;E, F;u;b1\n", want: "a1 a2 b1"},
		{name: "only the header", old: old, next: head, want: "a1 a2"},
		{name: "the header without its end", old: old, next: strings.TrimSpace(head), want: "a1 a2"},
		{name: "behind only the header", old: head, next: head + "track,E,u,b1\n", want: "b1"},
		{name: "JSON", old: old, next: asEvent("b1") + "\n", want: "a1 a2 b1",
			how: "it is JSON lines of Segment-spec events"},
		{name: "a table behind JSON", old: asEvent("a1") + "\n", next: old, want: "a1 a1 a2",
			how: "it is a table of 4 columns, read as table"},
		{name: "blank lines first", old: old, next: "\n\n" + head + "track,E,u,b1\n", want: "a1 a2 b1", lines: "4"},
		{name: "what is unclear", old: old, next: "user_id,plan\nu,pro\n", want: "a1 a2", refused: "not clear how its rows"},
		{name: "unclear first", old: "user_id,plan\nu,pro\n", next: old, want: "a1 a2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, o := t.TempDir(), source.SpoolOptions{Format: c.format}
			pr, pw := io.Pipe()
			defer pr.Close()
			go pw.Write([]byte(c.old))
			s, err := source.OpenSpool(context.Background(), dir, pr, o)
			if err == nil {
				if strings.Contains(c.old, "a1") {
					for range s.Chunks(context.Background(), source.Position{}, source.First) {
						break
					}
				}
				s.Close()
			} else if !strings.Contains(err.Error(), "not clear how its rows") {
				t.Fatal(err)
			}
			var how string
			o.Told = func(_ bool, _ int64, text string) { how = text }
			if c.refused != "" {
				next := spool(t, dir, strings.NewReader(c.next), o)
				got, err := read(t, next, source.Position{})
				if idsOf(got) != c.want || err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("read %s, %v", idsOf(got), err)
				}
				next.Close()
				c.next, c.want = head+"track,E,u,c1\n", c.want+" c1"
			}
			s = spool(t, dir, strings.NewReader(c.next), o)
			got := mustRead(t, s, source.Position{})
			if idsOf(got) != c.want || c.how != "" && how != c.how {
				t.Errorf("read %s, want %s; said %q, want %q", idsOf(got), c.want, how, c.how)
			}
			var lines []string
			for _, r := range got {
				if r.end.Object > 0 {
					lines = append(lines, fmt.Sprint(r.line))
				}
			}
			if c.lines != "" && strings.Join(lines, " ") != c.lines {
				t.Errorf("lines %v, want %s", lines, c.lines)
			}
		})
	}
}
