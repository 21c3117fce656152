package cassette

import (
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// RedactOptions are a user's additions to the default rules of redaction.
type RedactOptions struct {
	// Redact lists further things to replace. Each is a path (body.card.number,
	// query.sid, header.X-Shop-Key), a regular expression (only its first group is
	// replaced, if it has one), or one of the words ip and names.
	Redact []string
	// Allow lists values that are no secrets, or regular expressions for such values.
	Allow []string
}

// NewRedactor returns a redactor with the given secrets, the default rules, and the
// user's rules: see [redact.New]. If a rule is not valid, the error names it.
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

// ScanFile looks for secrets in a file: see [redact.Redactor.ScanFile].
func ScanFile(red *redact.Redactor, path string) (redact.FileScan, error) {
	data, err := readBounded(path)
	if err != nil {
		return redact.FileScan{}, err
	}
	scan := red.ScanFile(path, data)
	scan.Written = scan.Written || writtenBeside(path)
	return scan, nil
}

// writtenBeside is true if a cassette's sidecar says that it was written from
// documentation.
func writtenBeside(path string) bool {
	m, err := LoadMeta(metaPath(path))
	return err == nil && strings.HasPrefix(m.Provenance, "written:")
}
