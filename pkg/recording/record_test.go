package recording

import (
	"slices"
	"testing"
)

// TestHostsApart: hosts may stand between commas, and expressions stay whole.
func TestHostsApart(t *testing.T) {
	for in, want := range map[string][]string{
		"api.shop.example":                 {"api.shop.example"},
		"api.shop.example,*.other.example": {"api.shop.example", "*.other.example"},
		"127.0.0.1:8080, [::1]":            {"127.0.0.1:8080, [::1]"},
		" a.example , b.example:443":       {"a.example", "b.example:443"},
		`public-\d{1,3}`:                   {`public-\d{1,3}`},
		"a.example,":                       {"a.example,"},
	} {
		if got := hostsApart([]string{in}); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
