package cassette

import (
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// RedactOptions are what a user adds to the default rules of redaction.
type RedactOptions struct {
	// Redact are further things to take out: a path (body.card.number, query.sid,
	// header.X-Shop-Key), a regular expression, of which the first group counts if
	// it has one, or one of the words ip and names.
	Redact []string
	// Allow are values that are no secrets, or regular expressions of them.
	Allow []string
}

// NewRedactor returns a redactor of the secrets given, of everything that the default
// rules know, and of rules of the user's: see [redact.New]. The error names the rule
// that is none.
func NewRedactor(key []byte, secrets []redact.Secret, o RedactOptions) (*redact.Redactor, error) {
	opts := redact.Options{Allow: o.Allow}
	for _, text := range o.Redact {
		if !isPath(text) {
			opts.Patterns = append(opts.Patterns, text)
			continue
		}
		rule, err := ParseRule(text)
		if err != nil {
			return nil, err
		}
		opts.Places = append(opts.Places, &rule)
	}
	return redact.New(key, secrets, opts)
}

func isPath(s string) bool {
	for _, p := range []string{"body.", "query.", "header.", "body["} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// ScanFile looks for secrets in a file as it is: see [redact.Redactor.ScanFile].
func ScanFile(red *redact.Redactor, path string) (redact.FileScan, error) {
	data, err := readBounded(path)
	if err != nil {
		return redact.FileScan{}, err
	}
	scan := red.ScanFile(path, data)
	scan.Written = scan.Written || writtenBeside(path)
	return scan, nil
}

// writtenBeside says that the sidecar of a cassette says so.
func writtenBeside(path string) bool {
	m, err := LoadMeta(metaPath(path))
	return err == nil && strings.HasPrefix(m.Provenance, "written:")
}
