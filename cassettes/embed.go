// Package cassettes carries the partners' contracts in the binary, so that
// --rehearse needs neither the repository nor a network.
package cassettes

import (
	"bytes"
	"embed"
	"fmt"
)

//go:embed */contract.yaml
var files embed.FS

//go:embed events/standard.yaml
var standard []byte

// Standard is the file of the events that cases of all partners name, as written.
func Standard() []byte { return bytes.Clone(standard) }

// Contract returns the contract of a partner, as written.
func Contract(slug string) ([]byte, error) {
	data, err := files.ReadFile(slug + "/contract.yaml")
	if err != nil {
		return nil, fmt.Errorf("there is no contract for %s: cassettes/%s/contract.yaml is missing", slug, slug)
	}
	return data, nil
}
