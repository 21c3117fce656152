package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette"
)

// A request that cannot be carried out says what is wrong with it; one that can takes the
// format from a flag, from the first argument, or from the file.
func TestRequests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.har")
	if err := os.WriteFile(path, []byte(har), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "none.har")
	without := har[:strings.Index(har, `"entries":[`)+len(`"entries":[`)] + "]}}"
	if err := os.WriteFile(empty, []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q   Request
		err string
	}{
		{Request{Args: []string{path}}, ""},
		{Request{Args: []string{"har", path}}, ""},
		{Request{Args: []string{path}, HAR: true}, ""},
		{Request{Args: []string{path, path}, Variables: []string{"a=b=c"}}, ""},
		{Request{Args: []string{path}, HAR: true, V4: true}, "--har or --go-vcr-v4"},
		{Request{Args: []string{"hra", path}}, "no file and no format hra"},
		{Request{Args: []string{"nowhere.har"}}, "nowhere.har"},
		{Request{Args: []string{"vcrpy", path}}, "looks like a HAR file"},
		{Request{Args: []string{path}, Base: "shop"}, "--base-url"},
		{Request{Args: []string{path}, Variables: []string{"x"}}, "--var"},
		{Request{Args: []string{path}, Bodies: filepath.Join(path, "x")}, "--files"},
		{Request{Args: []string{empty}}, "no conversation"},
	} {
		c.q.Left = func(path, what string) { t.Errorf("%s: left: %s", path, what) }
		k := &cassette.Cassette{}
		err := c.q.Do(k)
		if c.err == "" && (err != nil || len(k.Interactions) == 0) ||
			c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: %v, %d interactions, want %q", c.q.Args, err, len(k.Interactions), c.err)
		}
	}
}
