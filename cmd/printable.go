package cmd

import (
	"io"

	"github.com/fanfold/fanfold/pkg/printable"
)

// under is the file or the terminal that a command prints to, for what is no text of
// ours: the output of a child, bars, data.
func under(w io.Writer) io.Writer {
	for {
		p, ok := w.(*printable.Writer)
		if !ok {
			return w
		}
		w = p.Under()
	}
}
