package cmd

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/eval"
	"github.com/fanfold/fanfold/pkg/event"
)

// newEvalCommand is `fanfold eval`: a mapping or a filter tried on JSON from
// standard input, one result a line.
func newEvalCommand() *cobra.Command {
	var mappingArg, filterArg string
	c := &cobra.Command{
		Use:   "eval (--mapping FILE|JSON | --filter FQL)",
		Short: "Try a mapping or a filter on events from standard input",
		Long: `eval reads JSON objects from standard input, one after another, and prints
one result a line: what the mapping makes of the object ("undefined" when it
makes nothing of it), or whether the filter matches (true or false).

A mapping is given as JSON or as the name of a file that holds it. Any JSON
object is taken as the event; it need not look like one of Segment's.

See also: fanfold help mapping, fanfold help filters.`,
		Example: `  echo '{"userId":"u1"}' | fanfold eval --mapping '{"id": {"@path": "$.userId"}}'
  zstdcat events.jsonl.zst | fanfold eval --filter 'type = "track" and properties.total > 100'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			hasFilter := c.Flags().Changed("filter")
			if hasFilter == c.Flags().Changed("mapping") {
				return usagef("eval: give either --mapping or --filter")
			}
			run, err := evaluator(hasFilter, filterArg, mappingArg)
			if err != nil {
				return err
			}
			var wrong *eval.InputError
			if err = eval.Each(c.InOrStdin(), c.OutOrStdout(), run); errors.As(err, &wrong) {
				return usagef("eval: %w", err)
			}
			return err
		},
	}
	c.Flags().StringVar(&mappingArg, "mapping", "", "mapping to resolve: JSON, or a file that holds it")
	c.Flags().StringVar(&filterArg, "filter", "", "filter to match, in FQL")
	return c
}

func evaluator(isFilter bool, fql, mapping string) (run eval.Func, err error) {
	if isFilter {
		if run, err = eval.Filter(fql); err != nil {
			return nil, usagef("--filter: %w", err)
		}
		return run, nil
	}
	src, err := mappingSource(mapping)
	if err == nil {
		run, err = eval.Mapping(src)
	}
	if err != nil {
		return nil, usagef("--mapping: %w", err)
	}
	return run, nil
}

// mappingSource takes an argument for a file's name when there is such a file,
// and for JSON otherwise.
func mappingSource(arg string) ([]byte, error) {
	if s := strings.TrimSpace(arg); s == "" {
		return nil, errors.New("is empty; give JSON or the name of a file")
	} else if s[0] == '{' || s[0] == '[' || s[0] == '"' {
		return []byte(arg), nil
	}
	src, err := os.ReadFile(arg)
	if err == nil {
		return src, nil
	}
	if event.Valid([]byte(arg)) == nil {
		return []byte(arg), nil
	}
	return nil, fmt.Errorf("neither JSON nor a file that can be read: %w", err)
}
