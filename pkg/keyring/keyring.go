// Package keyring finds what the redaction of a recording needs: the secrets in an
// environment, and the key of the tokens that stand for secrets, which lies in a file
// beside or above the cassettes.
package keyring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/wholefile"
)

// Secrets are the values of an environment (NAME=VALUE) that look like credentials by
// the names of their variables, and those of the variables that are named.
func Secrets(environment, named []string) (out []redact.Secret, err error) {
	values := map[string]string{}
	for _, e := range environment {
		name, value, _ := strings.Cut(e, "=")
		values[name] = value
		if namesCredential(name) {
			out = append(out, secretsIn(name, value)...)
		}
	}
	for _, name := range named {
		v, ok := values[name]
		if !ok {
			return nil, fmt.Errorf("%s: there is no such environment variable", name)
		}
		if len(v) < redact.MinShort {
			return nil, fmt.Errorf("%s: its value has less than %d characters, too few to be told from ordinary text",
				name, redact.MinShort)
		}
		out = append(out, redact.Secret{Name: name, Value: v})
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
func secretsIn(name, value string) []redact.Secret {
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
		return []redact.Secret{{Name: name, Value: value}}
	}
	var out []redact.Secret
	if password, ok := u.User.Password(); ok {
		out = append(out, redact.Secret{Name: name, Value: password})
	}
	for _, vs := range u.Query() {
		for _, v := range vs {
			if len(v) >= 12 {
				out = append(out, redact.Secret{Name: name, Value: v})
			}
		}
	}
	return out
}

// File holds the key of the tokens that stand for secrets.
const File = ".fanfold-redaction-key"

// MinKey is the least length of a key in characters: with a shorter one, whoever has
// a cassette could try keys and phone numbers until a token comes out.
const MinKey = 16

// Place is where a key belongs.
type Place struct {
	Dir  string
	Root bool // of a repository
}

// Find looks for the file of the key beside and above a cassette, up to the
// repository's root. Without one, it says where it belongs.
func Find(cassettePath string) (key []byte, place Place, err error) {
	dir, err := filepath.Abs(filepath.Dir(cassettePath))
	if err != nil {
		return nil, place, err
	}
	for at := dir; ; at = filepath.Dir(at) {
		path := filepath.Join(at, File)
		data, err := os.ReadFile(path)
		switch {
		case err == nil && len(bytes.TrimSpace(data)) < MinKey:
			return nil, place, &ShortError{path}
		case err == nil:
			return bytes.TrimSpace(data), Place{Dir: at}, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, place, err
		}
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			return nil, Place{Dir: at, Root: true}, nil
		}
		if at == filepath.Dir(at) {
			return nil, Place{Dir: dir}, nil
		}
	}
}

// ShortError is a key in a file that could be found by trying.
type ShortError struct{ Path string }

func (e *ShortError) Error() string {
	return fmt.Sprintf("%s holds less than %d characters: remove it, and record anew", e.Path, MinKey)
}

// Create writes a new key, and keeps its file out of the repository.
func (p Place) Create(random io.Reader) (key []byte, path string, err error) {
	fresh := make([]byte, 32)
	if _, err := io.ReadFull(random, fresh); err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return nil, "", err
	}
	if p.Root {
		if err := ignoreFile(p.Dir, File); err != nil {
			return nil, "", err
		}
	}
	text := hex.EncodeToString(fresh)
	path = filepath.Join(p.Dir, File)
	return []byte(text), path, wholefile.Write(path, []byte(text+"\n"), 0o600)
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
	return wholefile.Write(path, append(data, "/"+name+"\n"...), 0o644)
}
