package cmd

import (
	"strings"
	"testing"
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
