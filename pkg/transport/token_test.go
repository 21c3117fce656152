package transport_test

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/transport"
)

// issuer gives tokens t1, t2, … and takes only the last one.
type issuer struct {
	mu      sync.Mutex
	n       int               // tokens given
	asked   []url.Values      // what tokens were asked for with
	served  []string          // requests that were signed rightly
	answers map[string]string // instead of a token: status and body
	revoked bool              // no token is taken
	life    int               // seconds
	once    bool              // a refresh token is taken once
	current string            // which one
	denied  int               // how often another one was tried
}

func (p *issuer) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	status, text := 200, "{}"
	switch {
	case req.URL.Path == "/token":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		p.asked = append(p.asked, form)
		if a := p.answers["token"]; a != "" {
			fmt.Sscan(a, &status)
			_, text, _ = strings.Cut(a, " ")
			break
		}
		if p.once {
			if form.Get("refresh_token") != p.current {
				status, text = 400, `{"error":"invalid_grant"}`
				p.denied++
				break
			}
			p.current = fmt.Sprintf("r%d", p.n+1)
		}
		p.n++
		text = fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":"%d","refresh_token":"r%d"}`, p.n,
			p.life, p.n)
	case p.revoked || req.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", p.n):
		status, text = 401, `{"error":"who are you?"}`
	default:
		p.served = append(p.served, string(body))
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)),
		Request: req}, nil
}

// seen notes what a recorder would.
type seen struct {
	next http.RoundTripper
	mu   sync.Mutex
	all  []string
}

func (s *seen) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.all = append(s.all, req.URL.Path+" "+req.Header.Get("Authorization"))
	s.mu.Unlock()
	return s.next.RoundTrip(req)
}

func lane(p *issuer, now func() time.Time) (http.RoundTripper, *seen, *[]string) {
	var secrets []string
	rec := &seen{}
	rt := transport.New(transport.Options{
		Network: p, Now: now, Auth: destination.RefreshToken("https://id.example/token", "client", "hush", "r0"),
		Secret: func(v ...string) { secrets = append(secrets, v...) },
		Hook:   func(next http.RoundTripper) http.RoundTripper { rec.next = next; return rec },
	})
	return rt, rec, &secrets
}

func post(t *testing.T, rt http.RoundTripper, body string) (status int, text string, err error) {
	t.Helper()
	req, err := destination.NewRequest(t.Context(), "POST", "https://api.example/events", "application/json", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

func TestOneTokenForALane(t *testing.T) {
	p := &issuer{life: 3600}
	rt, rec, secrets := lane(p, func() time.Time { return time.Unix(0, 0) })
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if status, _, err := post(t, rt, fmt.Sprint(i)); status != 200 || err != nil {
				t.Errorf("request %d: status %d, %v", i, status, err)
			}
		})
	}
	all.Wait()
	if len(p.asked) != 1 || len(p.served) != 20 {
		t.Errorf("%d tokens were asked for, %d requests served", len(p.asked), len(p.served))
	}
	if got := p.asked[0].Encode(); got != "client_id=client&client_secret=hush&grant_type=refresh_token&refresh_token=r0" {
		t.Errorf("asked with %s", got)
	}
	for _, what := range rec.all {
		if what != "/events " {
			t.Errorf("the recorder sees %q", what)
		}
	}
	if got := strings.Join(*secrets, " "); got != "t1 r1" {
		t.Errorf("told secrets %q", got)
	}
}

func TestTokenIsRenewed(t *testing.T) {
	p := &issuer{life: 3600}
	now := time.Unix(0, 0)
	rt, _, _ := lane(p, func() time.Time { return now })
	for _, c := range []struct {
		at     int // seconds
		tokens int
	}{{0, 1}, {3569, 1}, {3570, 2}, {3571, 2}} {
		now = time.Unix(int64(c.at), 0)
		if status, _, err := post(t, rt, "x"); status != 200 || err != nil || p.n != c.tokens {
			t.Errorf("after %d s: status %d, %v, %d tokens; want %d", c.at, status, err, p.n, c.tokens)
		}
	}
	if got := p.asked[1].Get("refresh_token"); got != "r1" {
		t.Errorf("asked again with %q, and the partner had given r1", got)
	}
}

// A token that is not taken any more costs one repeat, of the same body.
func TestTokenAfter401(t *testing.T) {
	p := &issuer{life: 3600}
	rt, _, _ := lane(p, nil)
	if status, _, _ := post(t, rt, "a"); status != 200 {
		t.Fatal(status)
	}
	p.n++ // the partner does not take t1 any more
	big := strings.Repeat("b", 100_000)
	if status, _, err := post(t, rt, big); status != 200 || err != nil || p.served[1] != big {
		t.Errorf("status %d, %v", status, err)
	}
	if len(p.asked) != 2 {
		t.Errorf("%d tokens were asked for", len(p.asked))
	}
	p.revoked = true
	if status, text, err := post(t, rt, "c"); status != 401 || err != nil || !strings.Contains(text, "who are you") {
		t.Errorf("status %d, %q, %v", status, text, err)
	}
	if len(p.asked) != 3 {
		t.Errorf("%d tokens were asked for, once after a 401 is enough", len(p.asked))
	}
}

// TestRotation: a partner that takes every refresh token once locks nobody out: not the next process, not one that
// works at the same time, and not the user who configures a new one. Nothing of it is readable in the folder.
func TestRotation(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "tokens")
	p := &issuer{once: true, current: "r0"}
	var saying sync.Mutex
	var said []error
	process := func(configured string) http.RoundTripper {
		auth := destination.RefreshToken("https://id.example/token", "client", "hush", configured)
		kept, err := transport.NewKept(folder, auth.Grant())
		if err != nil {
			t.Fatal(err)
		}
		return transport.New(transport.Options{Network: p, Auth: auth, Kept: kept,
			Saying: func(err error) { saying.Lock(); said = append(said, err); saying.Unlock() }})
	}
	sends := func(rt http.RoundTripper, want int) {
		t.Helper()
		if status, text, err := post(t, rt, "x"); status != want || err != nil {
			t.Fatalf("status %d %s, %v", status, text, err)
		}
	}
	first := process("r0")
	sends(first, 200)
	second := process("r0")
	sends(second, 200) // its token takes the place of the first one's
	sends(first, 200)
	sends(second, 200)
	sends(process("r0"), 200)
	var all sync.WaitGroup
	for range 8 { // processes at the same time
		rt := process("r0")
		all.Go(func() {
			if status, text, err := post(t, rt, "x"); err != nil || status != 200 && !strings.Contains(text, "who are you") {
				t.Errorf("status %d %s, %v", status, text, err)
			}
		})
	}
	all.Wait()
	if p.denied > 0 {
		t.Errorf("a spent token was tried %d times", p.denied)
	}
	files, err := os.ReadDir(folder)
	files = slices.DeleteFunc(files, func(f os.DirEntry) bool { return strings.HasSuffix(f.Name(), ".lock") })
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(filepath.Join(folder, files[0].Name()))
	if err != nil || strings.Contains(string(data), p.current) {
		t.Errorf("%q, %v", data, err)
	}
	if info, err := files[0].Info(); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	p.current = "new" // the app was authorized again
	sends(process("r0"), 401)
	sends(process("new"), 200)
	sends(process("new"), 200)
	for _, err := range said {
		if err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, files[0].Name()), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.current, said = "r0", nil
	sends(process("r0"), 200)
	if len(said) != 2 || said[0] == nil || !strings.Contains(said[0].Error(), "is damaged") || said[1] != nil {
		t.Errorf("said %v", said)
	}
}

func TestNoToken(t *testing.T) {
	for _, c := range []struct{ answer, text, err string }{
		{`400 {"error":"invalid_grant"}`, `no token is given (status 400): {"error":"invalid_grant"}`, ""},
		{`503 later`, "", "asking for a token: the answer is a status 503"},
		{`429 later`, "", "asking for a token: the answer is a status 429"},
		{`200 {"access_token":"a\nb"}`, "", "asking for a token: the answer has no access_token that can be used"},
		{`200 {"access_token":"abc","token_type":"mac"}`, "",
			"asking for a token: the answer has no access_token that can be used"},
		{`200 hush`, "", "asking for a token: the answer has no access_token that can be used"},
	} {
		p := &issuer{answers: map[string]string{"token": c.answer}}
		rt, _, _ := lane(p, nil)
		status, text, err := post(t, rt, "x")
		if c.err != "" && (err == nil || err.Error() != c.err) ||
			c.err == "" && (err != nil || status != 401 || text != c.text) {
			t.Errorf("%s: status %d, %q, %v", c.answer, status, text, err)
		}
		if len(p.served) > 0 {
			t.Errorf("%s: a request was sent", c.answer)
		}
	}
}

// exchanger gives tokens in a way of its own, and takes those whose request it has noted.
type exchanger struct {
	asked   []string // method, query, type, body and user of the requests for tokens
	answer  string   // with a token; # stands for its number
	header  string   // that carries it
	n       int
	refuse  string // with a 200, to the first use of the first token
	served  int
	refused int
}

func (p *exchanger) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		req.Body.Close()
	}
	text := `{"success":true}`
	switch sent := req.Header.Get(p.header); {
	case req.URL.Path == "/token":
		user, _, _ := req.BasicAuth()
		p.asked = append(p.asked, strings.Join([]string{req.Method, req.URL.RawQuery, req.Header.Get("Content-Type"),
			string(body), user}, "|"))
		p.n++
		text = strings.ReplaceAll(p.answer, "#", fmt.Sprint(p.n))
	case !strings.HasSuffix(sent, fmt.Sprint("tok", p.n)) || p.refuse != "" && p.n == 1:
		text = p.refuse
		p.refused++
	default:
		p.served++
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)),
		Request: req}, nil
}

// TestExchanges: a token is asked for, found in the answer and carried as the partner wants it.
func TestExchanges(t *testing.T) {
	const address = "https://id.example/token"
	usual := `{"access_token":"tok#","token_type":"bearer","expires_in":3600}`
	for _, c := range []struct {
		name                  string
		auth                  destination.Auth
		answer, asked, header string
		refuse                string
		secrets               []string
	}{
		{name: "client credentials", answer: usual,
			auth: destination.ClientCredentials(address, "me", "hush hush", "scope", "a b"),
			asked: "POST||application/x-www-form-urlencoded|" +
				"client_id=me&client_secret=hush+hush&grant_type=client_credentials&scope=a+b|",
			secrets: []string{"hush hush", "hush+hush"}},
		{name: "JSON", auth: destination.Exchange(destination.Grant{URL: address, JSON: true, Header: "X-Token",
			Token: "data.tokens.0.token", Ends: "data.tokens.0.ttl",
			Send: []string{"key", "k\"1", "secret", "hush", "account", ""}}), header: "X-Token",
			answer: `{"data":{"tokens":[{"token":"tok#","ttl":"60"}]}}`,
			asked:  `POST||application/json|{"key":"k\"1","secret":"hush"}|`, secrets: []string{"hush"}},
		{name: "a query", auth: destination.Exchange(destination.Grant{URL: address + "?v=1", Query: true,
			Send: []string{"grant_type", "client_credentials", "client_secret", "h&h"}}), answer: usual,
			asked: "GET|v=1&client_secret=h%26h&grant_type=client_credentials|||", secrets: []string{"h&h", "h%26h"}},
		{name: "basic", auth: destination.Exchange(destination.Grant{URL: address, User: "me", Password: "hush",
			Prefix: "Token ", Header: "Authorization", Send: []string{"grant_type", "client_credentials"}}), answer: usual,
			asked: "POST||application/x-www-form-urlencoded|grant_type=client_credentials|me", secrets: []string{"hush"}},
		{name: "refused with a 200", auth: destination.Exchange(destination.Grant{URL: address,
			Send: []string{"client_id", "me"}, Refused: []string{`"code":"602"`}}), answer: usual,
			refuse: `{"success":false,"errors":[{"code":"602"}]}`,
			asked:  "POST||application/x-www-form-urlencoded|client_id=me|"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &exchanger{answer: c.answer, header: cmp.Or(c.header, "Authorization"), refuse: c.refuse}
			now := time.Unix(0, 0)
			rt := transport.New(transport.Options{Network: p, Auth: c.auth, Now: func() time.Time { return now }})
			want := 1
			if c.refuse != "" {
				want = 2
			}
			for range 2 {
				if status, text, err := post(t, rt, "{}"); status != 200 || err != nil || text != `{"success":true}` {
					t.Fatalf("status %d %s, %v", status, text, err)
				}
			}
			if p.served != 2 || p.refused != want-1 || len(p.asked) != want || p.asked[0] != c.asked {
				t.Errorf("%d served, %d refused, asked as\n%q, want\n%q", p.served, p.refused, p.asked, c.asked)
			}
			for _, s := range c.secrets {
				if !slices.Contains(c.auth.Secrets(), s) {
					t.Errorf("%q is no secret of %q", s, c.auth.Secrets())
				}
			}
			if slices.ContainsFunc(c.auth.Secrets(), func(s string) bool { return s == "client_credentials" || s == "me" }) {
				t.Errorf("the secrets are %q", c.auth.Secrets())
			}
			now = now.Add(2 * time.Hour) // the token has ended
			if _, _, err := post(t, rt, "{}"); err != nil || len(p.asked) != want+1 {
				t.Errorf("after its end another token is asked for: %d times, %v", len(p.asked), err)
			}
		})
	}
}

// TestRefusedOnce: a token that is refused again and again is renewed once for a request, and the partner's words
// arrive.
func TestRefusedOnce(t *testing.T) {
	no := strings.Repeat(" ", 20<<10) + `{"code":"602"}`
	for text, asked := range map[string]int{`{"code":"602"}`: 2, no: 1} {
		p := &exchanger{answer: `{"access_token":"tok#"}`, header: "Nothing", refuse: text}
		rt := transport.New(transport.Options{Network: p, Auth: destination.Exchange(destination.Grant{
			URL: "https://id.example/token", Refused: []string{`"602"`}})})
		if _, got, err := post(t, rt, "{}"); err != nil || got != text || len(p.asked) != asked {
			t.Errorf("asked for %d tokens, want %d: %d bytes, %v", len(p.asked), asked, len(got), err)
		}
	}
}

// TestSignedWithTheToken: a signature is of the request with the token in it, and each has a nonce of its own. Another
// host than the one that the credentials are for gets neither.
func TestSignedWithTheToken(t *testing.T) {
	type sent struct{ host, token, signed, nonce string }
	var got []sent
	p := &exchanger{answer: `{"access_token":"tok#"}`, header: "Authorization", refuse: `{"code":"602"}`}
	net := roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path != "/token" {
			h := req.Header
			got = append(got, sent{req.URL.Host, h.Get("Authorization"), h.Get("X-Signed"), h.Get("X-Nonce")})
		}
		return p.RoundTrip(req)
	})
	auth := destination.Exchange(destination.Grant{URL: "https://id.example/token", Refused: []string{`"602"`}}).
		And(destination.SignRequest(func(s *destination.Signing) {
			s.Header.Set("X-Signed", s.Header.Get("X-Signed")+"of "+s.Header.Get("Authorization"))
			s.Header.Set("X-Nonce", s.Nonce())
		})).Only("https://api.example")
	rt := transport.New(transport.Options{Network: net, Auth: auth})
	for _, address := range []string{"https://api.example/a", "https://other.example/a"} {
		req, err := http.NewRequest(http.MethodPost, address, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if len(got) != 3 || got[0].signed != "of Bearer tok1" || got[1].signed != "of Bearer tok2" ||
		got[0].nonce == got[1].nonce || got[2] != (sent{host: "other.example"}) {
		t.Errorf("sent were %q", got)
	}
}
