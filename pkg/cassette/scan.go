package cassette

import (
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

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
	m, err := LoadMeta(MetaPath(path))
	return err == nil && strings.HasPrefix(m.Provenance, "written:")
}
