package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/trial"
)

// Trials writes what the tests of a configuration found, as text, json or junit.
// redact takes secrets out.
func Trials(w io.Writer, path, form string, results []trial.Result, redact func(string) string) error {
	suite := Suite{Name: "fanfold config test"}
	for _, t := range results {
		lines := findings(t, redact)
		status, failed := "ok", ""
		if len(lines) > 0 {
			status, failed = "failed", fmt.Sprintf("line %d: %s", t.Test.Line, printable.Count(len(lines), "finding"))
		}
		suite.Add(Check{File: path, Name: t.Test.Name, Failed: failed, Findings: lines})
		switch form {
		case "json":
			if err := JSON(w, struct {
				Test     string   `json:"test"`
				Line     int      `json:"line"`
				Status   string   `json:"status"`
				Findings []string `json:"findings,omitempty"`
			}{t.Test.Name, t.Test.Line, status, lines}); err != nil {
				return err
			}
		case "text":
			fmt.Fprintf(w, "%-6s %s\n", status, t.Test.Name)
			for _, l := range lines {
				fmt.Fprintf(w, "%s:%d: %s\n", path, t.Test.Line, strings.TrimRight(l, "\n"))
			}
		}
	}
	if form == "junit" {
		return suite.Write(w)
	}
	return nil
}

// findings are what a test found, each with its diff below.
func findings(t trial.Result, redact func(string) string) (lines []string) {
	for _, f := range t.Findings {
		line := f.What
		if f.Destination != "" {
			line = f.Destination + ": " + line
		}
		if f.Want != f.Got {
			line += "\n" + string(diff.Diff("expected", []byte(f.Want), "made", []byte(f.Got)))
		}
		lines = append(lines, redact(line))
	}
	return lines
}
