package jsonval_test

import (
	"net/url"
	"testing"

	"github.com/fanfold/fanfold/pkg/jsonval"
)

// TestEscapes compares with net/url over every byte.
func TestEscapes(t *testing.T) {
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
		one := string([]byte{byte(c), 'x'})
		if got, want := string(jsonval.AppendQueryEscaped(nil, one)), url.QueryEscape(one); got != want {
			t.Errorf("in a query %q became %q, want %q", one, got, want)
		}
		if got, want := string(jsonval.AppendPathEscaped(nil, one)), url.PathEscape(one); got != want {
			t.Errorf("in a path %q became %q, want %q", one, got, want)
		}
	}
	if got, want := string(jsonval.AppendQueryEscaped([]byte("a="), all)), "a="+url.QueryEscape(string(all)); got != want {
		t.Errorf("all bytes became %q, want %q", got, want)
	}
}
