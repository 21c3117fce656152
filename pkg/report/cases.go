package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/printable"
)

// Cases writes what the cases of a destination found, as text, json or junit.
func Cases(w io.Writer, path, form string, results []casebook.Result) error {
	suite := Suite{Name: "fanfold destinations test"}
	for _, r := range results {
		status, failed := "ok", ""
		if len(r.Findings) > 0 {
			status, failed = "failed", printable.Count(len(r.Findings), "finding")
		}
		suite.Add(Check{File: path, Name: r.Case, Failed: failed, Findings: r.Findings})
		switch form {
		case "json":
			if err := JSON(w, struct {
				Case     string   `json:"case"`
				Status   string   `json:"status"`
				Findings []string `json:"findings,omitempty"`
			}{r.Case, status, r.Findings}); err != nil {
				return err
			}
		case "text":
			fmt.Fprintf(w, "%-6s %s\n", status, r.Case)
			for _, f := range r.Findings {
				fmt.Fprintf(w, "%s: %s: %s\n", path, r.Case, strings.TrimRight(f, "\n"))
			}
		}
	}
	if form == "junit" {
		return suite.Write(w)
	}
	return nil
}
