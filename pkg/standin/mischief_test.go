package standin

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
)

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func misbehave(t testing.TB, s Script, next http.Handler) *Mischief {
	t.Helper()
	m, err := Misbehave(s, next, noon)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// both runs a test with the partner in process and behind a socket, because both have
// to break in the same way.
func both(t *testing.T, s Script, do func(t *testing.T, m *Mischief, client *http.Client, url string)) {
	t.Helper()
	t.Run("in process", func(t *testing.T) {
		m := misbehave(t, s, nil)
		do(t, m, &http.Client{Transport: m}, "http://partner.example")
	})
	t.Run("socket", func(t *testing.T) {
		m := misbehave(t, s, nil)
		srv := httptest.NewServer(m)
		defer srv.Close()
		defer m.Stop() // ends requests that hang, for which Close would wait
		transport := &http.Transport{DisableKeepAlives: true}
		do(t, m, &http.Client{Transport: transport}, srv.URL)
	})
}

func post(ctx context.Context, client *http.Client, url, body string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp, data, err
}

func TestFaults(t *testing.T) {
	const body = `[{"id":"e1"},{"id":"e2"}]`
	for _, c := range []struct {
		name   string
		fault  Fault
		status int // 0: no answer
		fails  bool
		header string
		has    string
		taken  int // of e1
	}{
		{name: "answer", fault: Fault{Kind: Answer, Reply: Reply{Body: `{"n":{n}}`}}, status: 200, has: `{"n":2}`, taken: 1},
		{name: "unavailable", fault: Fault{Kind: Answer, Reply: Reply{Status: 503}}, status: 503},
		{name: "unauthorized", fault: Fault{Kind: Answer, Reply: Reply{Status: 401}}, status: 401},
		{name: "slow down", fault: Fault{Kind: Answer, Reply: Reply{Status: 429}, RetryAfter: 2500 * time.Millisecond},
			status: 429, header: "3"},
		{name: "slow down until", fault: Fault{Kind: Answer, Reply: Reply{Status: 429}, RetryAfter: time.Minute,
			RetryAfterDate: true}, status: 429, header: "Mon, 23 Nov 2026 12:01:00 GMT"},
		{name: "partial", fault: Fault{Kind: Partial, RejectIDs: []string{"e1"},
			Reply: Reply{Status: 207, Body: `{"taken":{n},"failed":[{failed}]}`,
				Failed: `{"i":{index},"id":"{id}"}`}}, status: 207, has: `{"taken":1,"failed":[{"i":0,"id":"e1"}]}`},
		{name: "all rejected", fault: Fault{Kind: Partial, Reject: 1, Reply: Reply{Status: 400, Body: `{"taken":{n}}`}},
			status: 400, has: `{"taken":0}`},
		{name: "reset", fault: Fault{Kind: Reset}, fails: true},
		{name: "reset, but taken", fault: Fault{Kind: Reset, Took: true}, fails: true, taken: 1},
		{name: "reset in the body", fault: Fault{Kind: ResetBody, Took: true, Reply: Reply{Body: `{"n":{n}}`}}, status: 200,
			fails: true, taken: 1},
		{name: "truncated", fault: Fault{Kind: Truncated, Reply: Reply{Body: `{"n":{n}}`}}, status: 200, fails: true},
		{name: "huge", fault: Fault{Kind: Huge, Reply: Reply{Status: 500}}, status: 500, has: strings.Repeat(" ", 1<<20)},
		{name: "garbage", fault: Fault{Kind: Garbage}, fails: true},
		{name: "malformed chunk", fault: Fault{Kind: BadChunk, Reply: Reply{Body: `{"n":{n}}`}}, status: 200, fails: true},
		{name: "late", fault: Fault{Kind: Answer, Delay: time.Nanosecond}, status: 200, taken: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(
				t,
				Script{Rules: []Rule{{Fault: c.fault}}, IDs: Texts{"[].id"}},
				func(t *testing.T, m *Mischief, client *http.Client, url string) {
					resp, data, err := post(t.Context(), client, url, body)
					if (err != nil) != c.fails {
						t.Fatalf("got error %v", err)
					}
					if resp != nil {
						if resp.StatusCode != c.status || resp.Header.Get("Retry-After") != c.header {
							t.Errorf("got %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
						}
					} else if c.status != 0 {
						// After a reset, the client may not even have read the headers.
						if c.fault.Kind != ResetBody || !errors.Is(err, syscall.ECONNRESET) {
							t.Errorf("no answer: %v", err)
						}
					}
					if !strings.Contains(string(data), c.has) {
						t.Errorf("got %.100q", data)
					}
					if got := m.Events()["e1"]; got != (Count{Seen: 1, Taken: c.taken}) {
						t.Errorf("e1: %+v", got)
					}
				},
			)
		})
	}
}

func TestResetIsAReset(t *testing.T) {
	both(
		t,
		Script{Rules: []Rule{{Fault: Fault{Kind: Reset}}}},
		func(t *testing.T, _ *Mischief, client *http.Client, url string) {
			if _, _, err := post(t.Context(), client, url, "{}"); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v", err)
			}
		},
	)
}

func TestHangEndsWithTheClientOrStop(t *testing.T) {
	both(
		t,
		Script{Rules: []Rule{{Fault: Fault{Kind: Hang}}}},
		func(t *testing.T, m *Mischief, client *http.Client, url string) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				_, _, err := post(ctx, client, url, "{}")
				done <- err
			}()
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			go func() {
				_, _, err := post(t.Context(), client, url, "{}")
				done <- err
			}()
			m.Stop()
			m.Stop()
			if err := <-done; err == nil {
				t.Error("a request was answered that hangs")
			}
		},
	)
}

// Delays use the clock of a synctest bubble, so that simulations take no real time.
func TestDelayInSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := misbehave(t, Script{Rules: []Rule{{Fault: Fault{Kind: Answer, Delay: time.Hour}}}}, nil)
		client := &http.Client{Transport: m}
		start := time.Now()
		if _, _, err := post(t.Context(), client, "http://partner.example", "{}"); err != nil ||
			time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := post(ctx, client, "http://partner.example", "{}"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUntrustedCertificate(t *testing.T) {
	var unknown x509.UnknownAuthorityError
	m := misbehave(t, Script{Rules: []Rule{{Fault: Fault{Kind: Untrusted}}}}, nil)
	if _, _, err := post(t.Context(), &http.Client{Transport: m}, "https://partner.example", "{}"); !errors.As(
		err,
		&unknown,
	) {
		t.Errorf("in process: %v", err)
	}
	m = misbehave(t, Script{}, nil)
	srv := httptest.NewUnstartedServer(m)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshake is meant to fail
	srv.StartTLS()
	defer srv.Close()
	_, _, err := post(t.Context(), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, srv.URL, "{}")
	if err == nil || !strings.Contains(err.Error(), "certificate") || m.Requests() != 0 {
		t.Errorf("socket: %v, %d requests", err, m.Requests())
	}
}

func TestRulesChoose(t *testing.T) {
	fail := func(status int) Fault { return Fault{Kind: Answer, Reply: Reply{Status: status}} }
	for _, c := range []struct {
		name  string
		rules []Rule
		want  []int // statuses of the requests, in order
	}{
		{"first three", []Rule{{Times: 3, Fault: fail(503)}}, []int{503, 503, 503, 200, 200}},
		{"after two, once", []Rule{{Skip: 2, Times: 1, Fault: fail(503)}}, []int{200, 200, 503, 200}},
		{"every second", []Rule{{Every: 2, Fault: fail(503)}}, []int{200, 503, 200, 503}},
		{"every second, after one, twice", []Rule{{Skip: 1, Every: 2, Times: 2, Fault: fail(503)}},
			[]int{200, 200, 503, 200, 503, 200, 200}},
		{"in order", []Rule{{Times: 1, Fault: fail(500)}, {Times: 1, Fault: fail(429)}}, []int{500, 429, 200}},
		{"other path", []Rule{{Path: "/other", Fault: fail(500)}}, []int{200, 200}},
		{"this path", []Rule{{Path: "/{x}", Fault: fail(500)}}, []int{500, 500}},
		{"other method", []Rule{{Method: "GET", Fault: fail(500)}}, []int{200}},
		{"this event", []Rule{{ID: "2", Fault: fail(400)}}, []int{200, 200, 400, 200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := misbehave(t, Script{Rules: c.rules, IDs: Texts{"id"}}, nil)
			var got []int
			for i := range c.want {
				resp, _, err := post(
					t.Context(),
					&http.Client{Transport: m},
					"http://partner.example/in",
					fmt.Sprintf(`{"id":%d}`, i),
				)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, resp.StatusCode)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestSeeds(t *testing.T) {
	run := func(seed uint64) (out string) {
		m := misbehave(
			t,
			Script{Seed: seed, Rules: []Rule{{Rate: 0.5, Fault: Fault{Kind: Answer, Reply: Reply{Status: 503}}}}},
			nil,
		)
		for range 64 {
			resp, _, err := post(t.Context(), &http.Client{Transport: m}, "http://partner.example", "{}")
			if err != nil {
				t.Fatal(err)
			}
			out += fmt.Sprint(resp.StatusCode/100, " ")
		}
		if n := m.Fired()[0]; n < 10 || n > 54 {
			t.Errorf("seed %d: half of 64 requests were to fail, %d did", seed, n)
		}
		return out
	}
	first, again := run(1), run(1)
	if first != again {
		t.Error("the same seed misbehaves in two ways")
	}
	if first == run(2) {
		t.Error("two seeds misbehave in the same way")
	}
}

// An event that a partial failure rejected is rejected every time, whatever other
// events are sent with it.
func TestPartialIsSteady(t *testing.T) {
	m := misbehave(
		t,
		Script{
			Seed:  7,
			IDs:   Texts{"batch[].id"},
			Rules: []Rule{{Fault: Fault{Kind: Partial, Reject: 0.3, Reply: Reply{Status: 207}}}},
		},
		nil,
	)
	for _, n := range []int{1, 7, 100} {
		for from := 0; from < 100; from += n {
			var list []string
			for i := from; i < min(from+n, 100); i++ {
				list = append(list, fmt.Sprintf(`{"id":"e%d"}`, i))
			}
			if _, _, err := post(t.Context(), &http.Client{Transport: m}, "http://partner.example",
				`{"batch":[`+strings.Join(list, ",")+`]}`); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused := 0
	for id, c := range m.Events() {
		if c.Seen != 3 || c.Taken != 0 && c.Taken != 3 {
			t.Errorf("%s: %+v", id, c)
		}
		if c.Taken == 0 {
			refused++
		}
	}
	if refused < 10 || refused > 50 {
		t.Errorf("%d of 100 were refused", refused)
	}
}

func TestIDs(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(`[{"id":"a"},{"id":"b"}]`))
	_ = z.Close()
	for _, c := range []struct {
		name, path, body, encoding string
		want                       []string
	}{
		{"array", "[].id", `[{"id":"a"},{"id":"b"},{}]`, "", []string{"a", "b"}},
		{"member", "batch[].p.id", `{"batch":[{"p":{"id":"a"}}]}`, "", []string{"a"}},
		{"number", "id", `{"id":7}`, "", []string{"7"}},
		{"lines", "id", "{\"id\":\"a\"}\n{\"id\":\"b\"}\n", "", []string{"a", "b"}},
		{"compressed", "[].id", packed.String(), "gzip", []string{"a", "b"}},
		{"broken", "id", `{"id":`, "", nil},
		{"not compressed", "id", `{"id":1}`, "gzip", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := misbehave(t, Script{IDs: Texts{c.path}}, nil)
			req, err := http.NewRequest("POST", "http://partner.example", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Encoding", c.encoding)
			resp, err := m.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := slices.Sorted(maps.Keys(m.Events())); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// A misbehaving partner can follow a contract otherwise, and can answer that it is too
// busy as the contract's documentation says.
func TestMischiefOverAContract(t *testing.T) {
	c := parse(t, acme)
	p := New(c)
	m := misbehave(
		t,
		Script{IDs: Texts{"events[].id"}, Rules: []Rule{{Times: 1, Fault: Fault{Kind: Answer, Reply: c.Limited}}}},
		p,
	)
	send := func(body string) (int, http.Header) {
		resp, err := m.RoundTrip(request(t, "POST", eventsURL, "application/json", body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header
	}
	ok := `{"events":[` + good + `]}`
	if status, h := send(ok); status != 429 || h.Get("Retry-After") != "7" {
		t.Errorf("got %d, %v", status, h)
	}
	if status, _ := send(ok); status != 200 {
		t.Errorf("got %d", status)
	}
	if status, _ := send(`{"events":{"id":"i1"}}`); status != 422 {
		t.Errorf("got %d", status)
	}
	if got := m.Events()["i1"]; got != (Count{Seen: 2, Taken: 1}) || p.Stats().Requests != 2 {
		t.Errorf("got %+v, %+v", got, p.Stats())
	}
}

func TestMischiefConcurrently(t *testing.T) {
	both(t, Script{Seed: 3, IDs: Texts{"id"}, Rules: []Rule{
		{Every: 5, Fault: Fault{Kind: Reset, Took: true}},
		{Rate: 0.2, Fault: Fault{Kind: Answer, Reply: Reply{Status: 503}}},
	}}, func(t *testing.T, m *Mischief, client *http.Client, url string) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 10 {
					// The outcome does not matter here, only that every request is
					// counted.
					_, _, _ = post(t.Context(), client, url, fmt.Sprintf(`{"id":"%d-%d"}`, g, i))
				}
			})
		}
		wg.Wait()
		seen := 0
		for _, c := range m.Events() {
			seen += c.Seen
		}
		if len(m.Events()) != 80 || seen != m.Requests() {
			t.Errorf("%d events seen %d times in %d requests", len(m.Events()), seen, m.Requests())
		}
	})
}

func TestParseScript(t *testing.T) {
	s, err := ParseScript([]byte(`
seed: 4
ids: "[].id"
rules:
  - {path: /track, skip: 1, times: 2, fault: {kind: answer, delay: 1s, retry_after: 30s, reply: {status: 429}}}
  - {rate: 0.1, fault: {kind: huge}}
answer: {body: '{"taken":{n}}'}
`))
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Rules[0]; s.Seed != 4 || r.Fault.Delay != time.Second || r.Fault.RetryAfter != 30*time.Second ||
		s.Rules[1].Fault.Size != 1<<30 ||
		s.Answer.Status != 200 {
		t.Errorf("got %+v", s)
	}
	for text, want := range map[string]string{
		"rules: [{fault: {kind: fire}}]":                                     "fire",
		"rules: [{fualt: {}}]":                                               "fualt",
		"rules: [{rate: 2, fault: {kind: hang}}]":                            "rate",
		"rules: [{rate: .nan, fault: {kind: hang}}]":                         "rate",
		"rules: [{skip: -1, fault: {kind: hang}}]":                           "below zero",
		"rules: [{path: x, fault: {kind: hang}}]":                            "path",
		"rules: [{fault: {kind: answer, reply: {status: 99}}}]":              "99",
		"rules: [{fault: {kind: answer, reply: {body: '{\"n\":\"{n}}'}}}]":   "JSON",
		"answer: {status: 1000}":                                             "1000",
		"rules: [{fault: {kind: answer, delay: later}}]":                     "later",
		"rules: [{fault: {kind: partial, reject: 1.5, reply: {status: 1}}}]": "reject",
	} {
		if _, err := ParseScript([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error that names %s", text, err, want)
		}
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add(
		[]byte(
			"seed: 4\nids: '[].id'\nrules: [{path: /x, every: 2, fault: {kind: truncated, reply: {body: '{\"n\":{n}}'}}}]",
		),
		[]byte(`[{"id":"a"}]`),
	)
	f.Fuzz(func(t *testing.T, text, body []byte) {
		s, err := ParseScript(text)
		if err != nil {
			return
		}
		for i := range s.Rules {
			s.Rules[i].Fault.Delay = 0
		}
		m := misbehave(t, *s, nil)
		m.Stop() // ends hanging requests at once
		req, err := http.NewRequest("POST", "http://partner.example/x", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := m.RoundTrip(req)
		if (resp == nil) == (err == nil) {
			t.Fatalf("got %v, %v", resp, err)
		}
	})
}

// TestBrokenAnswersBeginAsTheRealOnes checks that a broken answer begins like the one
// of the partner behind it, unless the script has an answer of its own.
func TestBrokenAnswersBeginAsTheRealOnes(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Real", "yes")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "the real answer")
	})
	for kind, want := range map[FaultKind]string{Truncated: "the rea", ResetBody: "the rea", BadChunk: "the rea",
		Dribble: "the real answer", Answer: "the real answer"} {
		m, err := Misbehave(Script{Rules: []Rule{{Fault: Fault{Kind: kind, Delay: time.Nanosecond}}}}, next, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(m)
		for way, get := range map[string]func() (*http.Response, error){
			"socket": func() (*http.Response, error) { return http.Get(s.URL) },
			"memory": func() (*http.Response, error) {
				req, err := http.NewRequest("GET", "http://partner.example/", http.NoBody)
				if err != nil {
					return nil, err
				}
				return m.RoundTrip(req)
			},
		} {
			resp, err := get()
			if err != nil {
				if kind != ResetBody { // a reset may come before the data that was sent earlier
					t.Errorf("%s by %s: %v", kind, way, err)
				}
				continue
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 201 || resp.Header.Get("X-Real") != "yes" ||
				kind != ResetBody && !strings.HasPrefix(string(body), want) {
				t.Errorf("%s by %s: %d %v %q, want %q", kind, way, resp.StatusCode, resp.Header, body, want)
			}
			if broken := kind != Dribble && kind != Answer; broken != (err != nil) {
				t.Errorf("%s by %s ends in %v", kind, way, err)
			}
		}
		m.Stop()
		s.Close()
	}
}
