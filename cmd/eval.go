package cmd

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/eval"
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
			run, flag, err := eval.Func(nil), "--mapping", error(nil)
			if hasFilter {
				flag = "--filter"
				run, err = eval.Filter(filterArg)
			} else {
				run, err = eval.MappingOf(mappingArg)
			}
			if err != nil {
				return usagef("%s: %w", flag, err)
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
