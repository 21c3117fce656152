package suppress_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/suppress"
)

func list(t *testing.T, text string) *suppress.Set {
	t.Helper()
	s, err := suppress.Read(map[string]io.Reader{"list": strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sha(email string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(email))) }

func TestHas(t *testing.T) {
	s := list(t, "\ufeffu-1\r\n\n  a-1  \n42\n"+sha("ann@shop.example")+"\n"+
		strings.ToUpper(sha("bob@shop.example"))+"\nCay@Shop.example\n"+
		"6f9619ff-8b86-d011-b42d-00cf4fc964ff\n\"a,b\"\nj\u00f6rg\nj\u00f6rg@shop.example\n\ufeffsecond\r\n"+"last")
	for text, want := range map[string]bool{
		`{"type":"track","userId":"u-1"}`:                                                           true,
		`{"type":"track","userId":" u-1 "}`:                                                         true,
		`{"type":"track","userId":"U-1"}`:                                                           false,
		`{"type":"track","userId":"u-10"}`:                                                          false,
		`{"type":"track","userId":"u\u002d1"}`:                                                      true, // escapes hide nobody
		`{"type":"track","userId":42}`:                                                              true,
		`{"type":"track","userId":42.0}`:                                                            false,
		`{"type":"track","userId":null}`:                                                            false,
		`{"type":"track","userId":""}`:                                                              false,
		`{"type":"page","anonymousId":"a-1"}`:                                                       true,
		`{"type":"track","userId":"last"}`:                                                          true,
		`{"type":"alias","userId":"x","previousId":"u-1"}`:                                          true,
		`{"type":"track","userId":"x","previousId":"u-1"}`:                                          true,
		`{"type":"track","userId":"ANN@shop.example"}`:                                              true,
		`{"type":"track","userId":"bob@shop.example"}`:                                              true,
		`{"type":"track","userId":"cay@shop.EXAMPLE"}`:                                              true,
		`{"type":"identify","traits":{"email":" Ann@Shop.example "}}`:                               true,
		`{"type":"track","context":{"traits":{"email":"bob@shop.example"}}}`:                        true,
		`{"type":"track","properties":{"email":"cay@shop.example"}}`:                                true,
		`{"type":"track","properties":{"traits":{"email":"cay@shop.example"}}}`:                     true,
		`{"type":"track","properties":{"email":"dan@shop.example"}}`:                                false,
		`{"type":"track","properties":{"email":5},"traits":"cay@shop.example"}`:                     false,
		`{"type":"track","properties":{"note":"cay@shop.example"}}`:                                 false,
		`{"type":"track","properties":{"customer":{"E-Mail":"cay@shop.example"}}}`:                  true,
		`{"type":"track","properties":{"billing_email":"Cay <CAY@shop.example>"}}`:                  true,
		`{"type":"track","properties":{"$set":{"emailAddress":"cay@shop.example"}}}`:                true,
		`{"type":"identify","traits":{"emails":["dan@shop.example",{"value":"cay@shop.example"}]}}`: true,
		`{"type":"identify","traits":{"Email":"` + strings.ToUpper(sha("bob@shop.example")) + `"}}`: true,
		`{"type":"identify","traits":{"email":"\u00a0\u200bcay@shop.example\u00a0"}}`:               true,
		`{"type":"track","context":{"externalIds":[{"id":"x"},{"id":"u-1","type":"user_id"}]}}`:     true,
		`{"type":"identify","traits":{"userId":"u-1"}}`:                                             true,
		`{"type":"group","groupId":"g","traits":{"userId":"u-1"}}`:                                  false,
		`{"type":"track","context":{"traits":{"anonymousId":"a-1"}}}`:                               true,
		`{"type":"track","anonymousId":"6F9619FF-8B86-D011-B42D-00CF4FC964FF"}`:                     true,
		`{"type":"track","userId":"a,b"}`:                                                           true,
		`{"type":"track","userId":"jo\u0308rg"}`:                                                    true,
		`{"type":"identify","traits":{"email":"JO\u0308RG@shop.example"}}`:                          true,
		`{"type":"track","userId":"second"}`:                                                        true,
		`{"type":"track","userId":["u-1"]}`:                                                         false,
		`{"type":"track","userId":"` + strings.Repeat("u", 5000) + `"}`:                             false,
		`{"type":"track","userId":"` + sha("ann@shop.example") + `"}`:                               true,
	} {
		ev, err := event.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Has(ev); got != want {
			t.Errorf("%.90s: %v", text, got)
		}
	}
	ev, err := event.Parse([]byte(`{"type":"track","userId":"u-1"}`))
	if err != nil {
		t.Fatal(err)
	}
	var nobody *suppress.Set
	if nobody.Has(ev) || nobody.Len() != 0 || list(t, "\n\n").Has(ev) || list(t, "").Len() != 0 {
		t.Error("an empty list has somebody")
	}
}

// TestPackings reads lists as they come.
func TestPackings(t *testing.T) {
	var gz, zs bytes.Buffer
	w := gzip.NewWriter(&gz)
	enc, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, packer := range []io.WriteCloser{w, enc} {
		if _, err = io.WriteString(packer, "u-2\nu-3\n"); err != nil {
			t.Fatal(err)
		}
		if err = packer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := suppress.Read(map[string]io.Reader{"a": strings.NewReader("u-1\nu-2\n"), "b": &gz, "c": &zs})
	if err != nil || s.Len() != 3 {
		t.Errorf("%d ids, %v", s.Len(), err)
	}
}

// TestWrongLists: nothing is sent without a list that was asked for, so what is none is refused, and no line is told.
func TestWrongLists(t *testing.T) {
	for text, want := range map[string]string{
		"u-1\n" + strings.Repeat("secret", 1000): "line 2 is longer",
		"u-1,secret\n":                           "line 1 has more than an id",
		"user_id\temail\n":                       "line 1 has more than an id",
		"u-1\n{\"userId\":\"secret\"}\n":         "line 2 has more than an id",
		"u-1\nu\x00-\x002\n":                     "line 2 is no text",
		"\x1f\x8bsecret":                         "list list",
		"\x28\xb5\x2f\xfdsecret":                 "line 1",
	} {
		_, err := suppress.Read(map[string]io.Reader{"list": strings.NewReader(text)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.20q: %v, want %s", text, err, want)
		}
	}
	broken := errors.New("no disk")
	_, err := suppress.Read(map[string]io.Reader{"list": io.MultiReader(strings.NewReader("u-1\n"), failing{broken})})
	if !errors.Is(err, broken) {
		t.Errorf("a list that breaks off: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestManyIDs finds everybody in a long list, and nobody else.
func TestManyIDs(t *testing.T) {
	const n = 200000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "user-%d\n", i)
	}
	s := list(t, b.String())
	if s.Len() != n {
		t.Fatalf("%d of %d ids", s.Len(), n)
	}
	for i := 0; i < 2*n; i += 97 {
		ev, err := event.Parse(fmt.Appendf(nil, `{"type":"track","userId":"user-%d"}`, i))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Has(ev); got != (i < n) {
			t.Fatalf("user-%d: %v", i, got)
		}
	}
}
