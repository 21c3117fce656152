package cmd

import (
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/destination"
)

// TestSecretAddress: of an address that is a secret, its path is one, too.
func TestSecretAddress(t *testing.T) {
	var s secrets
	s.add("https://hooks.slack.com/services/T00000000/B00000000/EXAMPLEEXAMPLEEXAMPLEEX")
	for _, text := range []string{
		"POST https://hooks.slack.com/services/T00000000/B00000000/EXAMPLEEXAMPLEEXAMPLEEX",
		"no route /services/T00000000/B00000000/EXAMPLEEXAMPLEEXAMPLEEX",
		"token EXAMPLEEXAMPLEEXAMPLEEX is not known",
	} {
		if got := s.redact(text); strings.Contains(got, "EXAMPLEEXAMPLE") {
			t.Errorf("%s became %s", text, got)
		}
	}
	if got := s.redact("hooks.slack.com said no"); got != "hooks.slack.com said no" {
		t.Errorf("the host is no secret: %s", got)
	}
}

// TestSecretCutOff: what is left of a secret where a text was cut is none of the
// reader's business either.
func TestSecretCutOff(t *testing.T) {
	const secret = "SECRETTOKEN-abcdefghijklmnop"
	var s secrets
	s.add(secret, "another-secret-value")
	for lead := range 60 {
		text := destination.Cut(strings.Repeat("x", lead)+" key "+secret+" is wrong", 40)
		if got := s.redact("given up; the last: " + text + ", and " + text); strings.Contains(got, "SEC") {
			t.Errorf("%s became %s", text, got)
		}
	}
	for _, text := range []string{"SE…", "no secret at all…", "…", "a… b… c", "an…"} {
		if got := s.redact(text); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
	long := destination.Cut("key "+strings.Repeat(" ", 300)+strings.Repeat("y ", 10)+secret[:20], 80)
	if !strings.HasSuffix(long, destination.Ellipsis) {
		t.Errorf("%q was cut and does not say so", long)
	}
}
