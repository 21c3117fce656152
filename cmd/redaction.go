package cmd

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/pkg/cassette"
)

// redactionFlags are what a user adds to the rules of redaction.
type redactionFlags struct{ redact, allow []string }

// allowUsage is that of --allow, where it means values only.
const allowUsage = "a value that is no secret, or a regular expression of such values (repeatable)"

func (r *redactionFlags) add(f *pflag.FlagSet) {
	f.StringArrayVar(&r.allow, "allow", nil, allowUsage)
	r.addRedact(f)
}

func (r *redactionFlags) addRedact(f *pflag.FlagSet) {
	f.StringArrayVar(&r.redact, "redact", nil,
		"also take out: a path (body.card.owner, query.sid, header.X-Shop), "+
			"a regular expression, or the word ip or names (repeatable; see help cassettes)")
}

// redactor makes a redactor with the rules of the flags and of fanfold.yaml.
func (a *app) redactor(key []byte, secrets []cassette.Secret, flags *redactionFlags) (*cassette.Redactor, error) {
	f, err := a.loadConfig()
	if f == nil {
		return nil, err
	}
	// What else is wrong with the configuration is not this command's affair.
	if err := f.CassettesError; err != nil {
		return nil, &usageError{err}
	}
	red, err := cassette.NewRedactorWith(key, secrets, cassette.RedactOptions{
		Redact: slices.Concat(f.Redact, flags.redact), Allow: slices.Concat(f.Allow, flags.allow),
	})
	if err != nil {
		return nil, usagef("--redact: %w", err)
	}
	for _, name := range red.Short() {
		fmt.Fprintf(a.err,
			"fanfold: the value of %s has less than %d characters: what is replaced for it may be something else\n", name,
			cassette.MinSecret)
	}
	return red, nil
}

// secretEnv are the environment's values that look like credentials by the
// names of their variables, and those that the user names.
func (a *app) secretEnv(more []string) (out []cassette.Secret, err error) {
	values := map[string]string{}
	for _, e := range os.Environ() {
		name, value, _ := strings.Cut(e, "=")
		values[name] = value
		if namesCredential(name) {
			out = append(out, secretsIn(name, value)...)
		}
	}
	for _, name := range more {
		v, ok := values[name]
		if !ok {
			return nil, usagef("--secret %s: there is no such environment variable", name)
		}
		if len(v) < cassette.MinShort {
			return nil, usagef("--secret %s: its value has less than %d characters, too few to be told from ordinary text",
				name, cassette.MinShort)
		}
		out = append(out, cassette.Secret{Name: name, Value: v})
	}
	return out, nil
}

// namesCredential says that the name of an environment variable looks like that of
// a credential.
func namesCredential(name string) bool {
	upper := strings.ToUpper(name)
	if strings.HasSuffix(upper, "PASS") {
		return true
	}
	for _, mark := range []string{"KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "_AUTH"} {
		if strings.Contains(upper, mark) {
			return true
		}
	}
	return false
}

// secretsIn are the secrets in the value of a variable: the whole of it, but of an
// address only the credentials, and nothing of a switch, a number, or the name of a
// file that is there.
func secretsIn(name, value string) []cassette.Secret {
	switch _, err := strconv.ParseBool(value); {
	case err == nil || value == "":
		return nil
	case strings.HasPrefix(value, "/"):
		if _, err := os.Stat(value); err == nil {
			return nil
		}
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return []cassette.Secret{{Name: name, Value: value}}
	}
	var out []cassette.Secret
	if password, ok := u.User.Password(); ok {
		out = append(out, cassette.Secret{Name: name, Value: password})
	}
	for _, vs := range u.Query() {
		for _, v := range vs {
			if len(v) >= 12 {
				out = append(out, cassette.Secret{Name: name, Value: v})
			}
		}
	}
	return out
}

// keyFile holds the key of the tokens that stand for secrets.
const keyFile = ".fanfold-redaction-key"

// minKey is the least length of a key in characters: with a shorter one, whoever has
// a cassette could try keys and phone numbers until a token comes out.
const minKey = 16

// redactionKey returns the key for cassettes at a path: from the environment,
// or from a file beside or above it, up to the repository's root. With create
// a missing one is made, and kept out of the repository.
func (a *app) redactionKey(cassettePath string, create bool) ([]byte, error) {
	if v, ok := a.env("FANFOLD_REDACTION_KEY"); ok && v != "" {
		if len(v) < minKey {
			return nil,
				usagef("FANFOLD_REDACTION_KEY has less than %d characters: "+
					"it could be found by trying, and phone numbers with it", minKey)
		}
		a.secrets.add(v)
		return []byte(v), nil
	}
	place, root, key, err := findKey(cassettePath)
	if err != nil || key != nil || !create {
		return key, err
	}
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	text := []byte(hex.EncodeToString(fresh))
	if err := os.MkdirAll(place, 0o755); err != nil {
		return nil, err
	}
	kept := ""
	if root {
		if err := ignoreFile(place, keyFile); err != nil {
			return nil, err
		}
		kept = ", and " + filepath.Join(place, ".gitignore") + " keeps it out of the repository"
	}
	if err := os.WriteFile(filepath.Join(place, keyFile), append(slices.Clone(text), '\n'), 0o600); err != nil {
		return nil, err
	}
	fmt.Fprintf(a.err,
		"fanfold: made %s: with it, equal values get equal tokens%s. "+
			"Elsewhere $FANFOLD_REDACTION_KEY holds it; whoever has it can try out what tokens stand for.\n",
		filepath.Join(place, keyFile), kept)
	return text, nil
}

// findKey looks for the file of the key beside and above a cassette, up to the
// repository's root. Without one, place is where it belongs, and root says that this
// is the root of a repository.
func findKey(cassettePath string) (place string, root bool, key []byte, err error) {
	dir, err := filepath.Abs(filepath.Dir(cassettePath))
	if err != nil {
		return "", false, nil, err
	}
	for at := dir; ; at = filepath.Dir(at) {
		data, err := os.ReadFile(filepath.Join(at, keyFile))
		switch {
		case err == nil && len(bytes.TrimSpace(data)) < minKey:
			return "", false, nil, usagef("%s holds less than %d characters: remove it, and record anew", filepath.Join(at,
				keyFile), minKey)
		case err == nil:
			return at, false, bytes.TrimSpace(data), nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", false, nil, err
		}
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			return at, true, nil, nil
		}
		if at == filepath.Dir(at) {
			return dir, false, nil, nil
		}
	}
}

// ignoreFile adds a name to the .gitignore of a folder, unless it is there.
func ignoreFile(dir, name string) error {
	path := filepath.Join(dir, ".gitignore")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == name || line == "/"+name {
			return nil
		}
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n')
	}
	return os.WriteFile(path, append(data, "/"+name+"\n"...), 0o644)
}
