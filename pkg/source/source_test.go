package source_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/source"
)

// rec is a record in a form that tests can compare.
type rec struct {
	raw    string
	end    source.Position
	reason source.Reason
	line   int64
}

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, o source.Options) source.Source {
	t.Helper()
	s, err := source.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t testing.TB, s source.Source, after source.Position) ([]rec, error) {
	t.Helper()
	var out []rec
	last := after
	for c, err := range s.Chunks(context.Background(), after, source.First) {
		if err != nil {
			return out, err
		}
		if len(c.Records) == 0 {
			t.Fatal("an empty chunk")
		}
		for _, r := range c.Records {
			if r.End.Compare(last) <= 0 {
				t.Fatalf("position %v after %v", r.End, last)
			}
			last = r.End
			x := rec{raw: string(r.Raw), end: r.End, line: r.Line}
			if r.Err != nil {
				x.reason = r.Err.Reason
			}
			out = append(out, x)
		}
		if c.End != last {
			t.Fatalf("the chunk ends at %v, its last record at %v", c.End, last)
		}
		c.Release()
	}
	return out, nil
}

func mustRead(t testing.TB, s source.Source, after source.Position) []rec {
	t.Helper()
	out, err := read(t, s, after)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func raws(rs []rec) string {
	var out []string
	for _, r := range rs {
		if r.reason != "" {
			out = append(out, "!"+string(r.reason))
		} else {
			out = append(out, r.raw)
		}
	}
	return strings.Join(out, " ")
}

// pack compresses with each codec that the package reads.
func pack(t testing.TB, codec string, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	var w io.WriteCloser
	var err error
	switch codec {
	case "plain":
		return data
	case "gzip":
		w = gzip.NewWriter(&buf)
	case "zstd":
		w, err = zstd.NewWriter(&buf)
	case "xz":
		w, err = xz.NewWriter(&buf)
	case "lz4":
		w = lz4.NewWriter(&buf)
	case "snappy":
		w = snappy.NewBufferedWriter(&buf)
	default:
		t.Fatalf("no codec %s", codec)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

var codecs = []string{"plain", "gzip", "zstd", "xz", "lz4", "snappy"}

func TestShapes(t *testing.T) {
	const a, b, c = `{"type":"a","x":"}{\"\n]"}`, `{"type":"b","y":[1,{"z":2}]}`, `{"type":"c"}`
	long := `{"type":"long","x":"` + strings.Repeat("x", 300) + `"}`
	nl := strings.ReplaceAll
	one := nl(a, "\n", "") // JSON holds no raw line end in a text
	cases := []struct{ name, in, want string }{
		{"lines", one + "\n" + b + "\n" + c + "\n", one + " " + b + " " + c},
		{"no line end at the end", one + "\n" + c, one + " " + c},
		{"CRLF and blank lines", "\r\n\n" + one + "\r\n  \r\n\t" + b + " \r\n\n", one + " " + b},
		{"BOM at the start and inside", "\xef\xbb\xbf" + one + "\n\xef\xbb\xbf" + b + "\n", one + " " + b},
		{"broken line between", one + "\n{\"type\":\"x\n" + b + "\n", one + ` {"type":"x ` + b},
		{"array as a line", one + "\n[1,2]\n" + b + "\n", one + " [1,2] " + b},
		{"array as the first line", "[1,2]\n" + b + "\n" + c + "\n", "[1,2] " + b + " " + c},
		{"line separator U+2028", `{"type":"` + "\u2028" + `"}` + "\n" + c, `{"type":"` + "\u2028" + `"} ` + c},
		{"lone CR", c + "\r" + c + "\n" + c, c + " " + c + " " + c},
		{"too long", one + "\n" + long + "\n" + c + "\n", one + " !too_long " + c},
		{"too long at the end", one + "\n" + long, one + " !too_long"},
		{"glued", one + b + c, one + " " + b + " " + c},
		{"glued lines", one + b + "\n" + c, one + " " + b + " " + c},
		{"glued with a broken one", one + `{"type":"x","y":tru}` + c + b, one + " !syntax " + c + " " + b},
		{"glued with an open text", one + b + `{"type":"x}` + "\n" + c + "\n" + b, one + " " + b + " !syntax " + c + " " + b},
		{"glued and cut", one + b + `{"type":"c`, one + " " + b + " !truncated"},
		{"pretty", "{\n \"type\": \"a\"\n}\n{\n \"type\": \"b\"\n}\n", "{\n \"type\": \"a\"\n} {\n \"type\": \"b\"\n}"},
		{"array", "[" + one + ",\n" + b + " , " + c + "]\n", one + " " + b + " " + c},
		{"array over lines", "[\n" + one + ",\n" + b + "\n]", one + " " + b},
		{"empty array", "[]", ""},
		{"array not closed", "[" + one + "," + b, one + " " + b + " !truncated"},
		{"array cut", "[" + one + "," + b[:10], one + " !truncated"},
		{"array with scalars", `[` + one + `,5,"x",null,` + b + `]`, one + ` 5 "x" null ` + b},
		{"array with a broken element", `[` + one + `,{"a":tru},` + b + `,` + c + `]`, one + " !syntax " + b + " " + c},
		{"envelope", `{"sentAt":"now","batch":[` + one + `,` + b + `],"n":{"batch":[1]}}`,
			`{"sentAt":"now",` + one[1:] + ` {"sentAt":"now",` + b[1:]},
		{"envelope over lines", "{\n \"Records\": [\n  " + one + ",\n  " + b + "\n ]\n}\n", one + " " + b},
		{"envelopes, one a line", `{"batch":[` + one + `,` + b + `]}` + "\n" + `{"batch":[` + c + `]}` + "\n" +
			`{"batch":[]}` + "\n" + one + "\n", one + " " + b + " " + c + ` {"batch":[]} ` + one},
		{"an event with a member called data", `{"type":"a","data":[{"type":"x"}]}` + "\n" + c,
			`{"type":"a","data":[{"type":"x"}]} ` + c},
		{"white space only", " \n\t\n", ""},
		{"empty", "", ""},
		{"no JSON at all", "hello\nworld", "hello world"},
		{"UTF-16", "\xff\xfe{\x00}\x00\n\x00{\x00\"\x00\xe9\x00\"\x00:\x001\x00}\x00", `{} {"é":1}`},
	}
	for _, codec := range codecs {
		for _, tc := range cases {
			t.Run(codec+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				s := open(t, source.Options{From: []string{write(t, "in", pack(t, codec, []byte(tc.in)))}, MaxRecord: 200})
				if codec != "plain" && strings.HasPrefix(tc.name, "UTF-16") {
					return // UTF-16 is recognised in plain files only
				}
				all := mustRead(t, s, source.Position{})
				want := tc.want
				if tc.name == "envelopes, one a line" {
					want = strings.Replace(want, `{"batch":[]} `, "", 1)
				}
				if got := raws(all); got != want {
					t.Fatalf("read\n%s\nwant\n%s", got, want)
				}
				for i, r := range all {
					rest := mustRead(t, s, r.end)
					if fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
						t.Fatalf("after %v:\n%v\nwant\n%v", r.end, rest, all[i+1:])
					}
				}
			})
		}
	}
}

// TestManyChunks reads a stream that takes many chunks, in every codec, and
// starts again at positions all over it.
func TestManyChunks(t *testing.T) {
	var plain bytes.Buffer
	if err := eventgen.Write(&plain, eventgen.Options{Seed: 3, Events: 3000, Messy: true, LongLine: 3 << 20}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.SplitSeq(strings.TrimSuffix(plain.String(), "\n"), "\n") {
		if line = strings.Trim(line, " \r"); line != "" {
			want = append(want, line)
		}
	}
	for _, codec := range codecs {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			s := open(t, source.Options{From: []string{write(t, "in", pack(t, codec, plain.Bytes()))}, MaxRecord: 2 << 20})
			all := mustRead(t, s, source.Position{})
			if len(all) != len(want) {
				t.Fatalf("%d records, want %d", len(all), len(want))
			}
			long := 0
			for i, r := range all {
				if r.reason == source.TooLong {
					long++
				} else if r.raw != want[i] {
					t.Fatalf("record %d is\n%.200s\nwant\n%.200s", i, r.raw, want[i])
				}
			}
			if long != 1 {
				t.Errorf("%d over-long records, want 1", long)
			}
			for i := 0; i < len(all); i += 1411 {
				rest := mustRead(t, s, all[i].end)
				if len(rest) != len(all)-i-1 || len(rest) > 0 && rest[0] != all[i+1] {
					t.Fatalf("after record %d: %d records, want %d", i, len(rest), len(all)-i-1)
				}
			}
		})
	}
}

func TestManyGlued(t *testing.T) {
	var plain bytes.Buffer
	if err := eventgen.Write(&plain, eventgen.Options{Seed: 3, Events: 4000}); err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(plain.String(), "\n"), "\n")
	for shape, text := range map[string]string{
		"glued": strings.Join(want, ""), "array": "[" + strings.Join(want, ",") + "]",
		"envelope": `{"sentAt":"x","batch":[` + strings.Join(want, ",") + `]}`,
		"bodies": `{"batch":[` + strings.Join(want[:2000], ",") + "]}\n" + `{"batch":[` + strings.Join(want[2000:], ",") +
			"]}\n",
	} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := open(t, source.Options{From: []string{write(t, "in", []byte(text))}})
			all := mustRead(t, s, source.Position{})
			if len(all) != len(want) {
				t.Fatalf("%d records, want %d", len(all), len(want))
			}
			for i := range all {
				if all[i].raw != want[i] {
					t.Fatalf("record %d is %.100s, want %.100s", i, all[i].raw, want[i])
				}
			}
			for i := 0; i < len(all); i += 1397 {
				if rest := mustRead(t, s, all[i].end); len(rest) != len(all)-i-1 {
					t.Fatalf("after record %d: %d records, want %d", i, len(rest), len(all)-i-1)
				}
			}
		})
	}
}

func TestCompressedTraps(t *testing.T) {
	const a, b = `{"type":"a"}` + "\n", `{"type":"b"}` + "\n"
	big := strings.Repeat(a, 50000)
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	skippable := append([]byte{0x53, 0x2a, 0x4d, 0x18, 4, 0, 0, 0}, "skip"...)
	window, err := func() ([]byte, error) {
		var buf bytes.Buffer
		w, err := zstd.NewWriter(&buf, zstd.WithWindowSize(64<<20))
		if err != nil {
			return nil, err
		}
		io.WriteString(w, big)
		err = w.Close()
		return buf.Bytes(), err
	}()
	if err != nil {
		t.Fatal(err)
	}
	gz, zs := pack(t, "gzip", []byte(big)), pack(t, "zstd", []byte(big))
	for _, tc := range []struct {
		name    string
		in      []byte
		records int // good ones, at least
		reasons string
	}{
		{"two gzip members", cat(pack(t, "gzip", []byte(a)), pack(t, "gzip", []byte(b))), 2, ""},
		{"an empty gzip member", cat(pack(t, "gzip", nil), pack(t, "gzip", []byte(a))), 1, ""},
		{"gzip and NUL padding", cat(pack(t, "gzip", []byte(a)), make([]byte, 512)), 1, ""},
		{"gzip and garbage", cat(pack(t, "gzip", []byte(a)), []byte("xyz")), 1, "truncated"},
		{"gzip truncated", gz[:len(gz)-len(gz)/4], 1000, "truncated"},
		{"gzip cut in its header", gz[:5], 0, "truncated"},
		{"gzip with a flipped byte", flip(gz, len(gz)/2), 0, "truncated"},
		{"two zstd frames", cat(pack(t, "zstd", []byte(a)), pack(t, "zstd", []byte(b))), 2, ""},
		{"a skippable frame between", cat(pack(t, "zstd", []byte(a)), skippable, pack(t, "zstd", []byte(b))), 2, ""},
		{"a skippable frame first", cat(skippable, pack(t, "zstd", []byte(a))), 1, ""},
		{"zstd truncated", zs[:len(zs)-5], 0, "truncated"},
		{"zstd and garbage", cat(pack(t, "zstd", []byte(a)), []byte("xyzw")), 1, "truncated"},
		{"zstd with a large window", window, 50000, ""},
		{"two lz4 frames", cat(pack(t, "lz4", []byte(a)), pack(t, "lz4", []byte(b))), 2, ""},
		{"two xz streams", cat(pack(t, "xz", []byte(a)), pack(t, "xz", []byte(b))), 2, ""},
		{"parquet", []byte("PAR1xxxx"), 0, "truncated"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, source.Options{From: []string{write(t, "in.gz", tc.in)}})
			good, reasons := 0, []string{}
			all := mustRead(t, s, source.Position{})
			for _, r := range all {
				if r.reason == "" {
					good++
				} else {
					reasons = append(reasons, string(r.reason))
				}
			}
			if good < tc.records || strings.Join(reasons, " ") != tc.reasons {
				t.Errorf("%d good records and %q, want %d and %q", good, reasons, tc.records, tc.reasons)
			}
			if len(all) > 0 {
				if rest := mustRead(t, s, all[len(all)-1].end); len(rest) != 0 {
					t.Errorf("after the end: %v", rest)
				}
				if len(all) > 1 {
					if rest := mustRead(t, s, all[len(all)-2].end); len(rest) != 1 || rest[0] != all[len(all)-1] {
						t.Errorf("before the end: %v", rest)
					}
				}
			}
		})
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0x55
	return b
}

func TestBzip2(t *testing.T) {
	if _, err := exec.LookPath("bzip2"); err != nil {
		t.Skip("skipped: there is no bzip2 program to make a file with")
	}
	cmd := exec.Command("bzip2", "-c")
	cmd.Stdin = strings.NewReader(`{"type":"a"}` + "\n" + `{"type":"b"}`)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(out))); err != nil {
		t.Fatal(err)
	}
	s := open(t, source.Options{From: []string{write(t, "in", append(out, out...))}})
	if got := raws(mustRead(t, s, source.Position{})); got != `{"type":"a"} {"type":"b"}{"type":"a"} {"type":"b"}` {
		t.Errorf("read %s", got)
	}
}

func TestSelection(t *testing.T) {
	dir := t.TempDir()
	put := func(name, data string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("b/2.jsonl", "{\"n\":2}\n")
	put("a/1.jsonl.gz", string(pack(t, "gzip", []byte("{\"n\":1}\n"))))
	put("c.jsonl", "{\"n\":3}")
	put("_SUCCESS", "")
	put("a/.part.crc", "x")
	put("empty.jsonl", "")
	var z bytes.Buffer
	zw := zip.NewWriter(&z)
	for _, n := range []string{"p/x.json.gz", "p/y.json"} {
		w, err := zw.Create(n)
		if err != nil {
			t.Fatal(err)
		}
		body := []byte("{\"n\":\"" + n + "\"}\n")
		if strings.HasSuffix(n, ".gz") {
			body = pack(t, "gzip", body)
		}
		w.Write(body)
	}
	zw.Close()
	put("d.zip", z.String())
	s := open(t, source.Options{From: []string{dir, filepath.Join(dir, "c.jsonl")}})
	if got, want := raws(mustRead(t, s,
		source.Position{})), `{"n":1} {"n":2} {"n":3} {"n":"p/x.json.gz"} {"n":"p/y.json"}`; got != want {
		t.Errorf("directory: read %s, want %s", got, want)
	}
	s = open(t, source.Options{From: []string{filepath.Join(dir, "*", "*.jsonl*")}})
	if got, want := raws(mustRead(t, s, source.Position{})), `{"n":1} {"n":2}`; got != want {
		t.Errorf("glob: read %s, want %s", got, want)
	}
	for from, want := range map[string]string{
		filepath.Join(dir, "c.json"): "no such file or directory; there is " + filepath.Join(dir, "c.jsonl"),
		filepath.Join(dir, "*.x"):    "no file matches", filepath.Join(dir, "[*"): "malformed",
	} {
		_, err := source.Open(context.Background(), source.Options{From: []string{from}})
		var input *source.InputError
		if !errors.As(err, &input) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", from, err, want)
		}
	}
}

// TestHiddenFolders: what lies in a folder with a dot in front is read only when
// that is asked for.
func TestHiddenFolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".given")
	files := map[string]string{}
	b := &bucket{objects: map[string][]byte{}}
	for i, name := range []string{"a/1.jsonl", "a/.git/2.jsonl", "a/.git/deep/3.jsonl", ".snapshot/4.jsonl", ".5.jsonl",
		"6.jsonl"} {
		text := fmt.Sprintf("{\"n\":%d}\n", i+1)
		files[name] = text
		b.objects["logs/"+name] = []byte(text)
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var z bytes.Buffer
	zw := zip.NewWriter(&z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := zw.Create("./" + name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[name])
	}
	zw.Close()
	t.Chdir(dir)
	for _, tc := range []struct {
		from, want string
		passed     int
	}{
		{dir, `{"n":6} {"n":1}`, 3},
		{".", `{"n":6} {"n":1}`, 3},
		{"a/.git", `{"n":2} {"n":3}`, 0},
		{"a/.git/2.jsonl", `{"n":2}`, 0},
		{dir + "/*/*.jsonl", `{"n":1}`, 1},
		{"./*/?git/*.jsonl", "", 0},
		{"./.*/*.jsonl", `{"n":4}`, 0},
		{"*/.git/*/*.jsonl", `{"n":3}`, 0},
		{write(t, "a.zip", z.Bytes()), `{"n":6} {"n":1}`, 0},
		{"s3://my/logs/", `{"n":6} {"n":1}`, 4},
		{"s3://my/logs", `{"n":6} {"n":1}`, 4},
		{"s3://my/logs/a/.git/", `{"n":2} {"n":3}`, 0},
	} {
		o := source.Options{From: []string{tc.from}}
		o.Schemes = source.Schemes{source.Files(), source.S3(&source.S3Options{Store: b})}
		s, err := source.Open(context.Background(), o)
		if err != nil {
			if tc.want != "" || !strings.Contains(err.Error(), "no file matches") {
				t.Errorf("%s: %v", tc.from, err)
			}
			continue
		}
		if got := raws(mustRead(t, s, source.Position{})); got != tc.want {
			t.Errorf("%s: read %s, want %s", tc.from, got, tc.want)
		}
		if n := s.Stats().Skipped; n != tc.passed {
			t.Errorf("%s: %d passed over, want %d", tc.from, n, tc.passed)
		}
		s.Close()
	}
}

func TestChangedInputIsRefused(t *testing.T) {
	path := write(t, "in", []byte("{\"n\":1}\n{\"n\":2}\n"))
	first := open(t, source.Options{From: []string{path}})
	frozen := first.Manifest().Objects()
	if err := os.WriteFile(path, []byte("{\"n\":1}\n{\"n\":3}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, source.Options{From: []string{path}, Frozen: frozen})
	var changed *source.ChangedError
	if _, err := read(t, s, source.Position{}); !errors.As(err, &changed) {
		t.Errorf("changed: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, first, source.Position{}); !errors.As(err, &changed) {
		t.Errorf("removed: %v", err)
	}
}

// TestMemoryIsBounded reads 160 MB that are a zstd file of a few kilobytes, with a record far over the cap in it.
func TestMemoryIsBounded(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	line := []byte(`{"type":"track","x":"` + strings.Repeat("a", 1000) + `"}` + "\n")
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat(line, 1000)
	for range 60 {
		w.Write(block)
	}
	for range 100 {
		w.Write(bytes.Repeat([]byte("y"), 1<<20))
	}
	w.Write([]byte("\n"))
	w.Write(line)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, source.Options{From: []string{write(t, "in", packed.Bytes())}, MaxRecord: 4 << 20})
	var peak, n uint64
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	for c, err := range s.Chunks(context.Background(), source.Position{}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		n += uint64(len(c.Records))
		c.Release()
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	if n != 60_002 {
		t.Errorf("%d records, want 60002", n)
	}
	if used := (int64(peak) - int64(before)) >> 20; used > 100 {
		t.Errorf("reading took %d MiB of heap", used)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"{}\n{}", "{}{}", "[{},1", `{"batch":[{},{"a":"]}"}]}`, "{\n\"a\":1}\n{",
		"\xef\xbb\xbf{}\r\n", "{\"a\":\"\n\"}\n{}", "[[1],[2]]\n[3]", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd",
		`{"batch":[{}]}{"batch":[{}]}`} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint8) {
		s := open(t, source.Options{From: []string{write(t, "in", data)}, MaxRecord: 50})
		all := mustRead(t, s, source.Position{})
		if len(all) == 0 {
			return
		}
		i := int(at) % len(all)
		rest := mustRead(t, s, all[i].end)
		if fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
			t.Fatalf("%q: after %v:\n%v\nwant\n%v", data, all[i].end, rest, all[i+1:])
		}
	})
}

func BenchmarkRead(b *testing.B) {
	var plain bytes.Buffer
	if err := eventgen.Write(&plain, eventgen.Options{Seed: 1, Events: 50_000}); err != nil {
		b.Fatal(err)
	}
	for _, codec := range codecs {
		s := open(b, source.Options{From: []string{write(b, "in", pack(b, codec, plain.Bytes()))}})
		b.Run(codec, func(b *testing.B) {
			b.SetBytes(int64(plain.Len()))
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for c, err := range s.Chunks(context.Background(), source.Position{}, source.First) {
					if err != nil {
						b.Fatal(err)
					}
					n += len(c.Records)
					c.Release()
				}
				if n != 50_000 {
					b.Fatal(n)
				}
			}
		})
	}
}

// TestPassed says how much of the input a reading has gone through, in bytes as they
// are stored; a reading again beside it is none of it.
func TestPassed(t *testing.T) {
	dir := t.TempDir()
	all := int64(0)
	for i := range 3 {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		for n := range 20000 {
			fmt.Fprintf(z, `{"type":"track","messageId":"%d-%d","r":"%x"}`+"\n", i, n, n*n*7919)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		all += int64(b.Len())
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".gz")), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in, err := source.Open(t.Context(), source.Options{From: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	last, middle := int64(0), source.Position{}
	for c, err := range in.Chunks(t.Context(), source.Position{}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		n, of := in.Passed()
		if n < last || n > all || of != all {
			t.Fatalf("%d of %d bytes after %d, there are %d", n, of, last, all)
		}
		if last = n; c.End.Object == 1 {
			middle = c.End
		}
		c.Release()
	}
	for c, err := range in.Chunks(t.Context(), source.Position{}, source.Again) {
		if err != nil {
			t.Fatal(err)
		}
		c.Release()
	}
	if n, of := in.Passed(); n != all || of != all {
		t.Errorf("%d of %d bytes in the end, there are %d", n, of, all)
	}
	for c, err := range in.Chunks(t.Context(), middle, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		c.Release()
		if n, _ := in.Passed(); n < all/3 {
			t.Fatalf("%d of %d bytes from the middle on", n, all)
		}
	}
}

// TestTar: the files of a tar archive are read one behind the other, compressed or
// not, also from a stream.
func TestTar(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, kind byte, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Mode: 0o600, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add("logs/", tar.TypeDir, nil)
	add("logs/1.jsonl", tar.TypeReg, []byte("{\"n\":1}\n{\"n\":2}"))
	add("logs/._1.jsonl", tar.TypeReg, []byte("no data"))
	add("logs/2.jsonl.gz", tar.TypeReg, pack(t, "gzip", []byte("{\"n\":3}\n")))
	add("logs/empty", tar.TypeReg, nil)
	add("logs/3.jsonl.zst", tar.TypeReg, pack(t, "zstd", []byte("{\"n\":4}\n{\"n\":5}")))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := `{"n":1} {"n":2} {"n":3} {"n":4} {"n":5}`
	for _, codec := range []string{"plain", "gzip", "zstd"} {
		data := pack(t, codec, b.Bytes())
		s := open(t, source.Options{From: []string{write(t, "in.tar", data)}})
		all := mustRead(t, s, source.Position{})
		if got := raws(all); got != want {
			t.Errorf("%s: read %s, want %s", codec, got, want)
		}
		for i, r := range all {
			if rest := mustRead(t, s, r.end); fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
				t.Errorf("%s: after %v: %s", codec, r.end, raws(rest))
			}
		}
		dir := t.TempDir()
		for _, again := range []string{"spooled", "given again"} {
			spool, err := source.OpenSpool(t.Context(), dir, bytes.NewReader(data), source.SpoolOptions{})
			if err != nil {
				t.Fatalf("%s, %s: %v", codec, again, err)
			}
			if got := raws(mustRead(t, spool, source.Position{})); got != want {
				t.Errorf("%s, %s: read %s, want %s", codec, again, got, want)
			}
			spool.Close()
		}
	}
	cut := b.Bytes()[:3080]
	if got := raws(mustRead(t, open(t, source.Options{From: []string{write(t, "in.tar", cut)}}),
		source.Position{})); !strings.HasSuffix(got, "!truncated") {
		t.Errorf("cut off: read %s", got)
	}
}

// TestCopiesAreShared: who asks for a copy of a record while holding the chunk gets the same one as others, which
// outlives the chunk.
func TestCopiesAreShared(t *testing.T) {
	data := []byte("first second")
	c := &source.Chunk{Data: data}
	c.Retain()
	one, other := c.Copy(data[:5]), c.Copy(data[6:])
	if again := c.Copy(data[:5]); &again[0] != &one[0] || &one[0] == &data[0] {
		t.Error("a second holder got another copy, or none")
	}
	if short := c.Copy(data[:3]); string(short) != "fir" {
		t.Errorf("%q is the copy of a part", short)
	}
	if c.Copy(nil) != nil {
		t.Error("nothing has become an empty text")
	}
	c.Release()
	c.Release()
	copy(data, "overwritten!")
	if string(one) != "first" || string(other) != "second" {
		t.Errorf("the copies are %q and %q", one, other)
	}
	if again := c.Copy(data[:5]); string(again) != "overw" {
		t.Errorf("the next use of the chunk got %q", again)
	}
}
