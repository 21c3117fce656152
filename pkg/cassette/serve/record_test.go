package serve

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	vcr "github.com/dnaeon/go-vcr/v2/cassette"
	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/replay"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
	"github.com/klauspost/compress/gzip"
)

func newRecorder(t testing.TB, path string, o record.Options) *record.Recorder {
	t.Helper()
	if o.Redactor == nil {
		o.Redactor = sample.Redactor("key")
	}
	if o.Network == nil {
		o.Network = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	}
	r, err := record.New(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// played is a replayer of one cassette.
type played struct {
	*replay.Replayer
	c *cassette.Cassette
}

// finish saves the cassette, loads it, and returns a replayer for it.
func finish(t testing.TB, r *record.Recorder, o replay.Options) played {
	t.Helper()
	c, err := r.Finish(cassette.Meta{Provenance: "recorded: live"})
	if err != nil {
		t.Fatal(err)
	}
	back, err := cassette.Load(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	if o.Redactor == nil {
		o.Redactor = sample.Redactor("key")
	}
	p, err := replay.New([]*cassette.Cassette{back}, o)
	if err != nil {
		t.Fatal(err)
	}
	return played{p, back}
}

// TestParallel records 3,200 interactions, 64 at a time, and replays them in the same
// way. None may be lost or mixed up, and the file has to be in the order of the
// requests.
func TestParallel(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, `{"path":%q,"got":"%x"}`, r.URL.Path, sha256.Sum256(data))
	}))
	defer server.Close()
	const workers, each = 64, 50
	want := make([][]byte, workers*each)
	run := func(rt http.RoundTripper, check bool) {
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for k := range each {
					n := w*each + k
					got := sample.Ask(t, rt, "POST", fmt.Sprintf("%s/v1/%d", server.URL, n%97), "application/json",
						fmt.Appendf(nil, `{"n":%d,"text":"%s"}`, n, strings.Repeat("x", n%50)))
					if !check {
						want[n] = got.Body
					} else if got.Status != 200 || !bytes.Equal(got.Body, want[n]) {
						t.Errorf("%d: %d %s, recorded %s", n, got.Status, got.Body, want[n])
					}
				}
			})
		}
		wg.Wait()
	}
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	run(rec, false)
	p := finish(t, rec, replay.Options{})
	server.Close()
	run(p, true)
	if u := p.Usage(); u.Used != workers*each || len(u.Unused) > 0 || len(u.Missed) > 0 {
		t.Errorf("%d used, %d unused, %d missed", u.Used, len(u.Unused), len(u.Missed))
	}
	if _, err := os.Stat(strings.TrimSuffix(p.c.Path, ".yaml") + ".partial.jsonl"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the crash journal is still there: %v", err)
	}
}

// TestBodies checks for every kind of body that a client sends and gets the same bytes
// live, recorded and replayed.
func TestBodies(t *testing.T) {
	every := make([]byte, 256)
	for n := range every {
		every[n] = byte(n)
	}
	bodies := map[string][]byte{
		"empty": {}, "every byte": every, "invalid UTF-8": []byte("a\xff\xfe\x80b"),
		"text": []byte("Zürich \u2028 \u0085 \ufeff"), "newlines": []byte("\n\n a\r\nb\r\n\t"),
		"yaml": []byte("- a: b\n# c\n--- \n'\"|>"),
		"nul":  {0}, "json": []byte(`{"a": [1,2.50,"\u00e9"] }`),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		switch r.URL.Query().Get("as") {
		case "gzip":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(data)
			_ = z.Close()
		case "br":
			w.Header().Set("Content-Encoding", "br")
			z := brotli.NewWriter(w)
			_, _ = z.Write(data)
			_ = z.Close()
		case "chunked":
			for part := range bytes.SplitSeq(data, []byte("5")) {
				if _, err := w.Write(part); err != nil {
					return
				}
				_, _ = w.Write([]byte("5"))
				if len(data) < 1000 {
					w.(http.Flusher).Flush()
				}
			}
		default:
			_, _ = w.Write(data)
		}
	}))
	defer server.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	plain := func(a sample.Answer) []byte {
		data, ok := wire.Decode(a.Header.Get("Content-Encoding"), a.Body, 16<<20)
		if !ok {
			t.Errorf("the answer's encoding is %q, and it is not in it", a.Header.Get("Content-Encoding"))
		}
		return data
	}
	live := map[string][]byte{}
	each := func(f func(name string, send func(rt http.RoundTripper) sample.Answer)) {
		for name, body := range bodies {
			for _, as := range []string{"identity", "gzip", "br", "chunked"} {
				f(name+" "+as, func(rt http.RoundTripper) sample.Answer {
					return sample.Ask(t, rt, "POST", server.URL+"/?as="+as, "application/octet-stream", body)
				})
			}
		}
	}
	each(func(name string, send func(http.RoundTripper) sample.Answer) { live[name] = plain(send(rec)) })
	p := finish(t, rec, replay.Options{})
	server.Close()
	each(func(name string, send func(http.RoundTripper) sample.Answer) {
		if got := plain(send(p)); !bytes.Equal(got, live[name]) {
			t.Errorf("%s: %d bytes are replayed, %d were recorded", name, len(got), len(live[name]))
		}
	})
}

// TestEightMiB checks the largest body that is kept by default, to the byte.
func TestEightMiB(t *testing.T) {
	line := []byte("lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do\n")
	body := bytes.Repeat(line, 8<<20/len(line)+1)[:8<<20]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(body)
	}))
	defer server.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	sample.Ask(t, rec, "GET", server.URL, "", nil)
	p := finish(t, rec, replay.Options{})
	server.Close()
	if got := sample.Ask(t, p, "GET", server.URL, "", nil); !bytes.Equal(got.Body, body) {
		t.Errorf("%d bytes are replayed", len(got.Body))
	}
}

// TestBodiless checks answers without a body, and HEAD, whose Content-Length is that of
// GET.
func TestBodiless(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Length", "1234")
			w.WriteHeader(http.StatusOK)
		}
	}))
	defer server.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	check := func(rt http.RoundTripper) {
		t.Helper()
		for _, c := range []struct {
			method, path string
			status       int
		}{{"GET", "/204", 204}, {"DELETE", "/204", 204}, {"GET", "/304", 304}, {"HEAD", "/x", 200}} {
			got := sample.Ask(t, rt, c.method, server.URL+c.path, "", nil)
			if got.Status != c.status || len(got.Body) > 0 || c.method == "HEAD" && got.Header.Get("Content-Length") != "1234" {
				t.Errorf("%s %s: %+v", c.method, c.path, got)
			}
		}
	}
	check(rec)
	p := finish(t, rec, replay.Options{})
	server.Close()
	check(p)
	// The same over a real connection.
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p.Reset("")
	local := httptest.NewServer(Reverse([]cassette.Upstream{{Name: "x", URL: u}}, p, nil, nil))
	defer local.Close()
	server.URL, server = local.URL, local
	check(http.DefaultTransport)
}

// TestRepeated checks that repeated requests get their answers in order, and what
// happens when the answers are used up.
func TestRepeated(t *testing.T) {
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		fmt.Fprintf(w, "answer %d", n)
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "c.yaml")
	rec := newRecorder(t, path, record.Options{})
	for range 3 {
		sample.Ask(t, rec, "GET", server.URL+"/same", "", nil)
	}
	p := finish(t, rec, replay.Options{})
	for want := 1; want <= 3; want++ {
		if got := sample.Ask(t, p, "GET", server.URL+"/same", "", nil); string(got.Body) != fmt.Sprintf("answer %d", want) {
			t.Errorf("answer %q, want the %d", got.Body, want)
		}
	}
	got := sample.Ask(t, p, "GET", server.URL+"/same", "", nil)
	if got.Status != 501 || !strings.Contains(string(got.Body), "recorded 3 times") {
		t.Errorf("the fourth: %d %s", got.Status, got.Body)
	}
	for repeat, want := range map[string]string{"last": "1 2 3 3 3", "cycle": "1 2 3 1 2"} {
		c, err := cassette.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := replay.New([]*cassette.Cassette{c}, replay.Options{Repeat: repeat})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for range 5 {
			all = append(all, strings.TrimPrefix(string(sample.Ask(t, p, "GET", server.URL+"/same", "", nil).Body), "answer "))
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("repeat %s: %s, want %s", repeat, got, want)
		}
	}
}

// TestOrderIsThatOfRequests checks that a slow answer comes first in the file if its
// request began first.
func TestOrderIsThatOfRequests(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-release
		}
	}))
	defer server.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		sample.Ask(t, rec, "GET", server.URL+"/slow", "", nil)
	}()
	<-began
	sample.Ask(t, rec, "GET", server.URL+"/fast", "", nil)
	close(release)
	<-done
	c, err := rec.Finish(cassette.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Interactions[0].Request.URL; !strings.HasSuffix(got, "/slow") {
		t.Errorf("the first is %s", got)
	}
}

// TestGoVCRLoadsIt checks that the file is byte for byte what go-vcr writes, and that
// go-vcr can load it.
func TestGoVCRLoadsIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Two"] = []string{"a", "b"}
		fmt.Fprint(w, "Zürich\n\xff")
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "c.yaml")
	rec := newRecorder(t, path, record.Options{})
	sample.Ask(t, rec, "POST", server.URL+"/x?a=1", "application/x-www-form-urlencoded", []byte("a=1&b=%20c"))
	sample.Ask(t, rec, "POST", server.URL+"/bad-form", "application/x-www-form-urlencoded", []byte("a=%zz"))
	if _, err := rec.Finish(cassette.Meta{}); err != nil {
		t.Fatal(err)
	}
	v, err := vcr.Load(strings.TrimSuffix(path, ".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Interactions[0].Request.Form.Encode(); got != "a=1&b=+c" ||
		v.Interactions[0].Response.Body != "Zürich\n\xff" || v.Interactions[1].Request.Body != "a=%zz" {
		t.Errorf("loaded: %q %+v %+v", got, v.Interactions[0].Response, v.Interactions[1].Request)
	}
	ours, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err = v.Save(); err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours, theirs) {
		t.Errorf("the file differs from what go-vcr writes:\n%s\n%s", ours, theirs)
	}
}

// TestWhatIsNotRecorded checks that a body which is too large to record is still passed
// on.
func TestWhatIsNotRecorded(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 100_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/large":
			_, _ = w.Write(large)
		case "/stream":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: 1\n\n")
		case "/gone":
			panic(http.ErrAbortHandler)
		default:
			fmt.Fprint(w, n)
		}
	}))
	defer server.Close()
	var warned []string
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"),
		record.Options{MaxBody: 1000, Warn: func(s string) { warned = append(warned, s) }})
	if got := sample.Ask(t, rec, "GET", server.URL+"/large", "", nil); len(got.Body) != len(large) {
		t.Errorf("%d bytes", len(got.Body))
	}
	if got := sample.Ask(t, rec, "POST", server.URL+"/sent", "text/plain", large); string(got.Body) != "100000" {
		t.Errorf("the server got %s bytes", got.Body)
	}
	if got := sample.Ask(t, rec, "GET", server.URL+"/stream", "", nil); string(got.Body) != "data: 1\n\n" {
		t.Errorf("the stream is %q", got.Body)
	}
	req, err := http.NewRequest("GET", server.URL+"/gone?api_key=abcdefghijkl", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = rec.RoundTrip(req); err == nil {
		t.Error("a broken connection gave an answer")
	}
	sample.Ask(t, rec, "GET", server.URL+"/fine", "", nil)
	c, err := rec.Finish(cassette.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Interactions) != 3 || len(warned) != 2 || len(c.Meta.Unrecorded) != 2 || len(c.Meta.Details) != 2 {
		t.Errorf("%d interactions, warned %q, %+v", len(c.Interactions), warned, c.Meta)
	}
	if strings.Contains(c.Interactions[1].Request.URL, "abcdefghijkl") {
		t.Errorf("a secret is in %s", c.Interactions[1].Request.URL)
	}
}

// TestConversationModes checks the mode "new": recorded requests are answered, and
// others are recorded once.
func TestConversationModes(t *testing.T) {
	hits := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		fmt.Fprint(w, hits)
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "c.yaml")
	rec := newRecorder(t, path, record.Options{})
	sample.Ask(t, rec, "POST", server.URL+"/a", "application/json", []byte(`{"messageId":"1","x":1}`))
	p := finish(t, rec, replay.Options{})
	rec2 := newRecorder(t, path, record.Options{})
	rec2.Add(&cassette.Cassette{Interactions: []*cassette.Interaction{p.c.Interactions[0]}})
	conv := &Conversation{Old: p.Replayer, Rec: rec2}
	if got := sample.Ask(t, conv, "POST", server.URL+"/a", "application/json",
		[]byte(`{"x":1,"messageId":"2"}`)); string(got.Body) != "1" || hits != 1 {
		t.Errorf("%s, %d hits", got.Body, hits)
	}
	if got := sample.Ask(t, conv, "POST", server.URL+"/b", "application/json", []byte(`{"x":2}`)); string(got.Body) != "2" ||
		hits != 2 {
		t.Errorf("%s, %d hits", got.Body, hits)
	}
	c, err := rec2.Finish(cassette.Meta{})
	if err != nil || len(c.Interactions) != 2 {
		t.Errorf("%d interactions, %v", len(c.Interactions), err)
	}
}
