package cmd

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/keyring"
)

// allowUsage is that of --allow, where it means values only.
const allowUsage = "a value that is no secret, or a regular expression of such values (repeatable)"

// redactionFlags are what a user adds to the rules of redaction.
func redactionFlags(f *pflag.FlagSet, redact, allow *[]string) {
	f.StringArrayVar(allow, "allow", nil, allowUsage)
	redactFlag(f, redact)
}

func redactFlag(f *pflag.FlagSet, redact *[]string) {
	f.StringArrayVar(redact, "redact", nil,
		"also take out: a path (body.card.owner, query.sid, header.X-Shop), "+
			"a regular expression, or the word ip or names (repeatable; see help cassettes)")
}

// redactor makes a redactor with the rules of the flags and of fanfold.yaml.
func (a *app) redactor(key []byte, secrets []redact.Secret, also, allow []string) (*redact.Redactor, error) {
	f, err := a.loadConfig()
	if f == nil {
		return nil, err
	}
	// What else is wrong with the configuration is not this command's affair.
	if err := f.CassettesError; err != nil {
		return nil, &usageError{err}
	}
	red, err := redact.New(key, secrets, redact.Options{
		Redact: slices.Concat(f.Redact, also), Allow: slices.Concat(f.Allow, allow),
	})
	if err != nil {
		return nil, usagef("--redact: %w", err)
	}
	for _, name := range red.Short() {
		a.sayf("the value of %s has less than %d characters: other text may be taken for it",
			name, redact.MinSecret)
	}
	return red, nil
}

// secretEnv are the environment's values that look like credentials by the
// names of their variables, and those that the user names.
func (a *app) secretEnv(more []string) ([]redact.Secret, error) {
	secrets, err := keyring.Secrets(os.Environ(), more)
	if err != nil {
		return nil, usagef("--secret %w", err)
	}
	return secrets, nil
}

// redactionKey returns the key for cassettes at a path: from the environment, or from
// its file. With create a missing one is made.
func (a *app) redactionKey(cassettePath string, create bool) ([]byte, error) {
	if v, ok := a.env("FANFOLD_REDACTION_KEY"); ok && v != "" {
		if len(v) < keyring.MinKey {
			return nil, usagef("FANFOLD_REDACTION_KEY has less than %d characters: "+
				"it could be found by trying, and phone numbers with it", keyring.MinKey)
		}
		a.secrets.add(v)
		return []byte(v), nil
	}
	key, place, err := keyring.Find(cassettePath)
	var short *keyring.ShortError
	if errors.As(err, &short) {
		return nil, &usageError{err}
	}
	if err != nil || key != nil || !create {
		return key, err
	}
	key, path, err := place.Create(rand.Reader)
	if err != nil {
		return nil, err
	}
	kept := ""
	if place.Root {
		kept = ", and " + filepath.Join(place.Dir, ".gitignore") + " keeps it out of the repository"
	}
	a.sayf("made %s: with it, equal values get equal tokens%s. Elsewhere $FANFOLD_REDACTION_KEY holds it; "+
		"whoever has it can try out what tokens stand for.", path, kept)
	return key, nil
}
