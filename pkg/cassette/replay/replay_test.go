package replay

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
	"github.com/fanfold/fanfold/pkg/cassette/wire"
)

func replayerOf(t testing.TB, list []*cassette.Interaction, o Options) *Replayer {
	t.Helper()
	p, err := New([]*cassette.Cassette{{Path: "shop/order.yaml", Interactions: list}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCases checks that each case has cursors of its own, and that the name of a
// cassette selects it.
func TestCases(t *testing.T) {
	one, two := sample.Events(1), sample.Events(1)
	two[0].Response.Body = "two"
	p, err := New([]*cassette.Cassette{{Path: "shop/one.yaml", Interactions: one},
		{Path: "shop/two.yaml", Interactions: two}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	q := match.Recorded(one[0])
	for _, c := range []struct{ name, want string }{{"two", "two"}, {"two#a", "two"}, {"two#b", "two"},
		{"one", `{"ok":true,"n":0}`}, {"", `{"ok":true,"n":0}`}, {"", "two"}, {"worker-7", `{"ok":true,"n":0}`}} {
		i, err := p.Answer(c.name, q)
		if err != nil || i.Response.Body != c.want {
			t.Errorf("case %q: %v %v, want %s", c.name, i, err, c.want)
		}
	}
	if _, err := p.Answer("two#a", q); err == nil {
		t.Error("a case answers twice")
	}
}

// TestKnows checks that an upstream is known by a request whose id in the path is another one than the recorded.
func TestKnows(t *testing.T) {
	i := sample.Order()
	i.Request.URL = "https://api.shop.example/v1/orders/17/lines?x=1"
	for rule, want := range map[string]bool{"path~/orders/*": true, "path[2]=number": true, "query.x": false} {
		p := replayerOf(t, []*cassette.Interaction{i}, Options{Ignore: []string{rule}})
		if got := p.Knows("POST", "https://api.shop.example/v1/orders/18/lines"); got != want {
			t.Errorf("with %s: %v", rule, got)
		}
	}
}

// TestForeignKey checks that tokens are compared by their place if the recording's key
// is missing: equal tokens still have to be equal.
func TestForeignKey(t *testing.T) {
	there := sample.Redactor("there")
	i := sample.Order()
	i.Request.Body = `{"from":"a@real.io","to":"b@real.io","again":"a@real.io"}`
	q := match.Recorded(i)
	q.Header = i.Request.Headers.Clone()
	there.Interaction(i)
	c := &cassette.Cassette{Path: "c.yaml", Interactions: []*cassette.Interaction{i},
		Meta: cassette.Meta{Key: there.Fingerprint()}}
	p, err := New([]*cassette.Cassette{c}, Options{Redactor: sample.Redactor("here")})
	if err != nil || !p.Foreign() {
		t.Fatal(err, p.Foreign())
	}
	other := q
	other.Body = `{"from":"a@real.io","to":"b@real.io","again":"b@real.io"}`
	if _, err := p.Answer("", other); err == nil {
		t.Error("another pattern of equal values matches")
	}
	if _, err := p.Answer("", q); err != nil {
		t.Error(err)
	}
}

// TestReplayNeverGoesLive checks that a missing cassette is an error and a miss an
// answer, and that the address is never dialled.
func TestReplayNeverGoesLive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err = cassette.Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	p, err := New(nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := sample.Ask(t, p, "GET", "http://"+l.Addr().String()+"/x", "", nil); got.Status != 501 ||
		!strings.Contains(string(got.Body), "the cassette is empty") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("somebody called: %v", err)
	}
}

const someKey = "a key of some length"

// answersItself records interactions, and checks that the same requests are answered.
func answersItself(t *testing.T, made func() []*cassette.Interaction) {
	t.Helper()
	c := &cassette.Cassette{Interactions: made()}
	red := sample.Redactor(someKey)
	for _, i := range c.Interactions {
		red.Interaction(i)
	}
	red.Settle(c.Interactions)
	p, err := New([]*cassette.Cassette{c}, Options{Redactor: sample.Redactor(someKey)})
	if err != nil {
		t.Fatal(err)
	}
	for n, i := range made() {
		if _, err := p.Answer("", match.Recorded(i)); err != nil {
			t.Errorf("request %d: %v", n, err)
		}
	}
}

// TestEncodedLaterIsTheSameToken checks that a client gets its answer even if it sends
// the secret in another encoding than before.
func TestEncodedLaterIsTheSameToken(t *testing.T) {
	const secret = "Kq7Zt2MnV9xWb4RcYh6P"
	made := func() []*cassette.Interaction {
		a, b, c := sample.Order(), sample.Order(), sample.Order()
		a.Request.Body = `{"password":"` + secret + `"}`
		b.Request.Body = `{"x":"` + hex.EncodeToString([]byte(secret)) + `"}`
		c.Request.Headers.Set("Content-Type", "text/plain")
		c.Request.Body = "b64 " + base64.StdEncoding.EncodeToString([]byte(secret))
		d := sample.Order() // only the answer shows that the value in the request is secret
		d.Request.URL, d.Request.Body = "https://api.shop.example/v1/other", `{"x":"`+hex.EncodeToString([]byte(secret+"-2"))+
			`"}`
		d.Response.Body = `{"token":"` + secret + `-2"}`
		return []*cassette.Interaction{a, b, c, d}
	}
	answersItself(t, made)
}

// TestSecretThatIsAWord checks that a request is found again if its secret is a word that
// also stands elsewhere in it, as a value or as a name: when it is recorded, only the
// announced value is replaced.
func TestSecretThatIsAWord(t *testing.T) {
	made := func() (list []*cassette.Interaction) {
		for _, body := range []string{
			`username=admin&password=admin`, `{"username":"admin","password":"admin"}`, `{"password":"password"}`,
			`{"private_key":"private_key"}`, `{"password":"letmein","note":"letmein"}`, `{"email":"anna","password":"anna1"}`,
		} {
			i := sample.Order()
			if body[0] != '{' {
				i.Request.Headers.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			i.Request.Body = body
			list = append(list, i)
		}
		return list
	}
	answersItself(t, made)
}

// TestRequestEncodings checks that a request which was recorded compressed, as go-vcr
// does, is found again.
func TestRequestEncodings(t *testing.T) {
	body, err := wire.Encode("gzip", []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	i := sample.Order()
	i.Request.Method, i.Request.Body = "POST", string(body)
	i.Request.Headers = http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"application/json"}}
	p := replayerOf(t, []*cassette.Interaction{i}, Options{})
	if got := sample.Ask(t, p, "POST", i.Request.URL, "application/json", body, "Content-Encoding",
		"gzip"); got.Status != i.Response.Code {
		t.Errorf("status %d: %s", got.Status, got.Body)
	}
}
