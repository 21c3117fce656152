package report

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/fanfold/fanfold/pkg/verify"
)

// Verified writes what was found out about cassettes, as text, json or junit.
func Verified(w io.Writer, form string, list []verify.Result) error {
	suite := Suite{Name: "fanfold replay verify"}
	for _, v := range list {
		switch form {
		case "json":
			if err := JSON(w, v); err != nil {
				return err
			}
		case "junit":
			c := Check{
				File: filepath.Dir(v.Cassette), Name: strings.TrimSuffix(filepath.Base(v.Cassette), ".yaml"),
				Seconds: v.Seconds, Findings: v.Findings,
			}
			switch v.Status {
			case verify.Drift:
				c.Failed = fmt.Sprintf("%d differences", len(v.Findings))
			case verify.Skipped:
				c.Skipped = v.Detail
			}
			suite.Add(c)
		default:
			if err := verified(w, v); err != nil {
				return err
			}
		}
	}
	if form == "junit" {
		return suite.Write(w)
	}
	return nil
}

func verified(w io.Writer, v verify.Result) error {
	text := fmt.Sprintf("%-8s%s", v.Status, v.Cassette)
	if v.Detail != "" {
		text += ": " + v.Detail
	}
	for _, f := range v.Findings {
		text += "\n        " + strings.ReplaceAll(f, "\n", "\n        ")
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
