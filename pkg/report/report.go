// Package report renders what commands found out: as text for people, as JSON or
// JUnit's XML for programs. It finds out nothing itself, and writes to nothing but
// the writer that it is given.
package report

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
)

// JSON writes a document on one line, with < and > as they are.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
