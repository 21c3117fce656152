package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

func numbered(from, to int) []byte {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, `{"type":"track","n":%d,"x":"%s"}`+"\n", i, strings.Repeat("x", i%500))
	}
	return b.Bytes()
}

func spool(t testing.TB, dir string, in io.Reader, o source.SpoolOptions) *source.Spool {
	t.Helper()
	s, err := source.OpenSpool(context.Background(), dir, in, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSpool(t *testing.T) {
	const n = 20_000
	data := numbered(0, n)
	want := mustRead(t, open(t, source.Options{From: []string{write(t, "in", data)}}), source.Position{})
	for _, codec := range []string{"plain", "gzip", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			s := spool(t, dir, bytes.NewReader(pack(t, codec, data)), source.SpoolOptions{SegmentBytes: 1})
			if got := mustRead(t, s, source.Position{}); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("read %d records, want %d, or others", len(got), len(want))
			}
			for _, i := range []int{0, 1, n / 2, n - 2, n - 1} {
				if got := mustRead(t, s, want[i].end); fmt.Sprint(got) != fmt.Sprint(want[i+1:]) {
					t.Fatalf("after %v: %d records, want %d, or others", want[i].end, len(got), len(want)-i-1)
				}
			}
			if err := s.Release(want[n/2].end); err != nil {
				t.Fatal(err)
			}
			if got := mustRead(t, s, want[n/2].end); len(got) != n/2-1 {
				t.Errorf("after the release %d records, want %d", len(got), n/2-1)
			}
			if _, err := read(t, s, source.Position{}); err == nil || !strings.Contains(err.Error(), "released") {
				t.Errorf("reading what was released: %v", err)
			}
			info, err := os.Stat(dir)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the folder: %v %v", info.Mode(), err)
			}
		})
	}
}

// TestSpoolResumes kills the first process in the middle of a frame.
func TestSpoolResumes(t *testing.T) {
	data := numbered(0, 30_000)
	dir := t.TempDir()
	pr, pw := io.Pipe()
	go pw.Write(data[:len(data)/2])
	s := spool(t, dir, pr, source.SpoolOptions{SegmentBytes: 1})
	var last source.Position
	n := 0
	for c, err := range s.Chunks(context.Background(), source.Position{}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		last = c.End
		if n += len(c.Records); n > 5000 {
			break
		}
	}
	print := s.Manifest().At(0).ID()
	s.Close()
	segments, err := filepath.Glob(filepath.Join(dir, "segment-*"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	f, err := os.OpenFile(segments[len(segments)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("half of a frame")
	f.Close()

	again := spool(t, dir, bytes.NewReader(data), source.SpoolOptions{SegmentBytes: 1})
	if got := mustRead(t, again, last); len(got) != 30_000-n {
		t.Errorf("resumed with %d records, want %d", len(got), 30_000-n)
	}
	if got := mustRead(t, again, source.Position{}); len(got) != 30_000 {
		t.Errorf("%d records in all", len(got))
	}
	if again.Manifest().At(0).ID() != print {
		t.Error("the stream has got another id")
	}
	// A complete stream needs its input no more.
	third := spool(t, dir, strings.NewReader(""), source.SpoolOptions{})
	if got := mustRead(t, third, source.Position{}); len(got) != 30_000 {
		t.Errorf("%d records in a complete spool", len(got))
	}
}

// TestSpoolMeetsAnotherStream: what begins as the stream did goes on where it was, anything else
// follows what was spooled, on a line of its own, and is known again in turn.
func TestSpoolMeetsAnotherStream(t *testing.T) {
	data, whole := numbered(0, 5000), numbered(5000, 5100)
	dir := t.TempDir()
	pr, pw := io.Pipe()
	go pw.Write(append(bytes.Clone(data), "{\"torn"...))
	s := spool(t, dir, pr, source.SpoolOptions{})
	for c, err := range s.Chunks(context.Background(), source.Position{}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Records[len(c.Records)-1].End.Offset >= int64(len(data)) {
			break
		}
	}
	s.Close()
	open := func(in []byte, want int, said bool) []rec {
		t.Helper()
		told, asked := make(chan bool, 1), false
		s = spool(t, dir, bytes.NewReader(in), source.SpoolOptions{Told: func(same bool, _ int64, _ string) { told <- same }})
		got := mustRead(t, s, source.Position{})
		select {
		case same := <-told:
			asked = true
			if same != said {
				t.Errorf("it says that the stream is the same: %v", same)
			}
		default:
		}
		if len(got) != want || len(in) > 0 && !asked {
			t.Errorf("%d records, want %d; it was told: %v", len(got), want, asked)
		}
		s.Close()
		return got
	}
	got := open(whole, 5101, false) // the torn line is one
	if string(got[5001].raw) != string(bytes.SplitN(whole, []byte("\n"), 2)[0]) {
		t.Errorf("behind the torn line is %s", got[5001].raw)
	}
	open(nil, 5101, false)
	open(whole, 5101, true)
	open(append(bytes.Clone(whole), numbered(0, 3)...), 5104, true)
	open(numbered(7000, 7001), 5105, false)
	// A beginning of what was read is neither.
	s = spool(t, dir, bytes.NewReader(numbered(7000, 7001)[:5]), source.SpoolOptions{})
	var changed *source.ChangedError
	if _, err := read(t, s, source.Position{}); !errors.As(err, &changed) {
		t.Errorf("read a part of the stream: %v", err)
	}
}

// TestSpoolIsLive sees each line as soon as it is written.
func TestSpoolIsLive(t *testing.T) {
	pr, pw := io.Pipe()
	lines := make(chan string)
	go func() {
		for l := range lines {
			io.WriteString(pw, l)
		}
		pw.Close()
	}()
	go func() { lines <- "{\"n\":0}\n" }()
	s := spool(t, t.TempDir(), pr, source.SpoolOptions{})
	n := 0
	for c, err := range s.Chunks(context.Background(), source.Position{}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Records {
			if got, want := string(r.Raw), fmt.Sprintf(`{"n":%d}`, n); got != want {
				t.Fatalf("read %s, want %s", got, want)
			}
			if n++; n == 5 {
				close(lines)
			} else if n < 5 {
				lines <- fmt.Sprintf("{\"n\":%d}\n", n)
			}
		}
	}
	if n != 5 {
		t.Errorf("%d lines", n)
	}
}

// TestSpoolWaitsForRoom never has more on the disk than the cap and one frame.
func TestSpoolWaitsForRoom(t *testing.T) {
	data := numbered(0, 40_000)
	dir := t.TempDir()
	const limit = 256 << 10
	s := spool(t, dir, bytes.NewReader(data), source.SpoolOptions{Cap: limit, SegmentBytes: 1})
	n := 0
	for c, err := range s.Chunks(context.Background(), source.Position{}, source.First) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(c.Records)
		if err := s.Release(c.End); err != nil {
			t.Fatal(err)
		}
		var size int64
		names, _ := filepath.Glob(filepath.Join(dir, "segment-*"))
		for _, name := range names {
			if info, err := os.Stat(name); err == nil {
				size += info.Size()
			}
		}
		if size > limit+(1<<20) {
			t.Fatalf("%d bytes on the disk", size)
		}
	}
	if n != 40_000 {
		t.Errorf("%d records", n)
	}
}

func TestSpoolOfBrokenInput(t *testing.T) {
	packed := pack(t, "gzip", numbered(0, 5000))
	s := spool(t, t.TempDir(), bytes.NewReader(packed[:len(packed)-100]), source.SpoolOptions{})
	got := mustRead(t, s, source.Position{})
	if len(got) < 1000 || got[len(got)-1].reason != source.Truncated {
		t.Errorf("%d records, the last %v", len(got), got[len(got)-1].reason)
	}
	boom := errors.New("the disk is on fire")
	s = spool(t, t.TempDir(), io.MultiReader(bytes.NewReader(numbered(0, 5000)), failing{boom}), source.SpoolOptions{})
	got, err := read(t, s, source.Position{})
	if len(got) < 4999 || err == nil || !strings.Contains(err.Error(), boom.Error()) {
		t.Errorf("%d records, %v", len(got), err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestSpoolOfNothing(t *testing.T) {
	if got := mustRead(t, spool(t, t.TempDir(), strings.NewReader(""), source.SpoolOptions{}),
		source.Position{}); len(got) != 0 {
		t.Errorf("read %v", got)
	}
}

// TestSpoolAnew needs what was released: the stream is copied anew, and nothing
// is read of one that is another.
func TestSpoolAnew(t *testing.T) {
	const n = 20_000
	data := numbered(0, n)
	dir := t.TempDir()
	first := spool(t, dir, bytes.NewReader(data), source.SpoolOptions{SegmentBytes: 1})
	want := mustRead(t, first, source.Position{})
	if err := first.Release(want[n/2].end); err != nil {
		t.Fatal(err)
	}
	first.Close()

	// A stream that differs early changes nothing on the disk.
	early := append([]byte(`{"type":"other"}`), data...)
	for _, other := range [][]byte{nil, early, data[:1000]} {
		s := spool(t, dir, bytes.NewReader(other), source.SpoolOptions{SegmentBytes: 1})
		s.Close()
		s, err := source.OpenSpool(context.Background(), dir, bytes.NewReader(other),
			source.SpoolOptions{SegmentBytes: 1, Need: want[10].end})
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(t, s, want[10].end)
		var changed *source.ChangedError
		if len(got) > 0 || !errors.As(err, &changed) {
			t.Errorf("read %d records of another stream: %v", len(got), err)
		}
		s.Close()
		s = spool(t, dir, strings.NewReader(""), source.SpoolOptions{SegmentBytes: 1, Need: want[n/2].end})
		if got := mustRead(t, s, want[n/2].end); fmt.Sprint(got) != fmt.Sprint(want[n/2+1:]) {
			t.Fatalf("%d records are left, want %d, or others", len(got), n/2-1)
		}
		s.Close()
	}
	// One that differs late is refused there.
	late := bytes.Clone(data)
	late[len(late)-10] ^= 1
	s := spool(t, dir, bytes.NewReader(late), source.SpoolOptions{SegmentBytes: 1, Need: want[10].end})
	got, err := read(t, s, want[10].end)
	var changed *source.ChangedError
	if len(got) == 0 || len(got) >= n-11 || !errors.As(err, &changed) {
		t.Errorf("read %d records of a stream that differs late: %v", len(got), err)
	}
	s.Close()
	// The right one is whole again, also when its process is killed half-way.
	half := spool(t, dir, io.MultiReader(bytes.NewReader(data[:len(data)/2]), failing{errors.New("boom")}),
		source.SpoolOptions{SegmentBytes: 1, Need: want[10].end})
	if _, err := read(t, half, want[10].end); err == nil {
		t.Error("a broken standard input was read to its end")
	}
	half.Close()
	s = spool(t, dir, bytes.NewReader(data), source.SpoolOptions{SegmentBytes: 1, Need: want[10].end})
	if got := mustRead(t, s, want[10].end); fmt.Sprint(got) != fmt.Sprint(want[11:]) {
		t.Errorf("%d records, want %d, or others", len(got), n-11)
	}
}

// TestSpoolOfNobody: waiting for whoever gives the stream again ends with the context.
func TestSpoolOfNobody(t *testing.T) {
	dir := t.TempDir()
	s, err := source.OpenSpool(t.Context(), dir, strings.NewReader("{\"n\":1}\n"), source.SpoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustRead(t, s, source.Position{})
	s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	defer w.Close()
	asked := make(chan struct{})
	var once sync.Once
	in := readFunc(func(p []byte) (int, error) { once.Do(func() { close(asked) }); return r.Read(p) })
	s, err = source.OpenSpool(t.Context(), dir, in, source.SpoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := 0
	for c, err := range s.Chunks(ctx, source.Position{}, source.First) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if c != nil {
			n += len(c.Records)
			<-asked
			cancel()
		}
	}
	if n != 1 {
		t.Errorf("%d records of what was spooled", n)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// TestSpoolOfInputThatFailsOnce: what a stream is told by is not looked for again
// behind a failure.
func TestSpoolOfInputThatFailsOnce(t *testing.T) {
	data := pack(t, "gzip", numbered(0, 100))
	for fails := range 3 {
		dir := t.TempDir()
		calls, r := 0, bytes.NewReader(data)
		once := readFunc(func(p []byte) (int, error) {
			if calls++; calls == fails+1 {
				return 0, syscall.EIO
			}
			return r.Read(p[:min(len(p), 300)])
		})
		s, err := source.OpenSpool(t.Context(), dir, once, source.SpoolOptions{})
		if err == nil {
			_, err = read(t, s, source.Position{})
			s.Close()
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("read %d fails: %v", fails, err)
		}
		if s, err = source.OpenSpool(t.Context(), dir, bytes.NewReader(data), source.SpoolOptions{}); err != nil {
			t.Fatalf("read %d failed: %v", fails, err)
		}
		if n := len(mustRead(t, s, source.Position{})); n != 100 {
			t.Errorf("read %d failed: %d records afterwards", fails, n)
		}
		s.Close()
	}
}
