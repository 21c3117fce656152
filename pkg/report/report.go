// Package report renders what commands found out: as text for people, as JSON or
// JUnit's XML for programs. It finds out nothing itself, and writes to nothing but
// the writer that it is given.
package report

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/shell"
)

// JSON writes a document on one line, with < and > as they are.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Commands are command lines with one more flag each, one a line, to be copied to a shell.
func Commands(args []string, flags ...string) string {
	var b strings.Builder
	for _, flag := range flags {
		b.WriteString("\n  fanfold")
		for _, arg := range append(slices.Clone(args), flag) {
			b.WriteString(" " + shell.Word(arg))
		}
	}
	return b.String()
}
